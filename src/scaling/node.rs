//! The life of a node: where each one is, from its server, its startd and what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::memory::{Departed, Kind, NodeMemory, State};
use super::observation::{
    CollectorView, METADATA_FLAVOR, METADATA_IMAGE, NodeId, Observation, OwnedServer, PoolView,
    Resources, Role, Seen, ServerStatus, StartdView,
};
use super::policy::Policy;

/// What `DrainReason` begins with when the drain is this pool's ehos's.
pub fn drain_mark(cluster: &str) -> String {
    format!("ehos {cluster}:")
}

/// Where a node is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The intent is on disk; no list has had its server yet.
    Requested,
    /// Nova BUILD.
    Building,
    /// Nova ACTIVE, no startd yet.
    Booting,
    /// No claim on it.
    Idle {
        /// Since when, by the startd's own record.
        idle_for: Duration,
    },
    /// At least one claim on it.
    Busy,
    /// No claim, and it takes no jobs.
    Closed,
    /// Draining or drained.
    Draining {
        /// The drain's reason is this pool's.
        ours: bool,
        /// Every slot drained and idle.
        complete: bool,
    },
    /// It has joined, and the collector has not heard of it lately: offers nothing from the first stale minute on.
    Silent {
        /// For how long.
        silent_for: Duration,
        /// Whether a schedd lists a running job on it.
        job: JobListed,
    },
    /// It has joined, and the collector cannot say.
    Unheard,
    /// Nova SHUTOFF.
    Stopped {
        /// Certainly without a job.
        without_job: bool,
        /// Its startd is not heard of any more.
        silent: bool,
    },
    /// It did not join: Nova's fault, or `None` when its boot took too long.
    Failed {
        /// What Nova or ehos says.
        fault: Option<String>,
    },
    /// It has joined, is silent for too long, and no job is listed on it, or for longer than any lease.
    Lost {
        /// For how long.
        silent_for: Duration,
    },
    /// A delete is under way.
    Deleting {
        /// Ehos asked for it.
        ours: bool,
        /// It was accepted a while ago, and the server is still there: time to ask again.
        again: bool,
    },
    /// A whole list of its cloud's servers has it no more, as ehos asked.
    Gone,
    /// A whole list of its cloud's servers has it no more, and ehos did not delete it.
    Vanished,
    /// An intent without a server, for too long.
    Lapsed,
    /// Startd and server disagree about who they are.
    Contradiction {
        /// What the startd says.
        instance_id: String,
        /// What the startd says.
        node: String,
    },
    /// Adopted, overdue, and no adopted node has ever been seen in this pool.
    Untrusted,
}

/// Whether a schedd lists a running job on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobListed {
    /// One does.
    Yes,
    /// All answered, none does.
    No,
    /// None that answered does, and one did not answer.
    Unknown,
}

/// A node with all that is known of it.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its id.
    pub id: NodeId,
    /// What it is made of.
    pub kind: Kind,
    /// Its server, when its cloud lists it.
    pub server: Option<&'a OwnedServer>,
    /// Its startd, when the collector has an ad of it, fresh or stale.
    pub startd: Option<&'a StartdView>,
    /// Its cloud answered.
    pub cloud_known: bool,
    /// Where it is in its life.
    pub phase: Phase,
}

impl Node<'_> {
    /// Whether a server of it exists, or may exist: what nodes_max counts.
    pub fn exists(&self) -> bool {
        !matches!(self.phase, Phase::Gone | Phase::Vanished | Phase::Lapsed)
    }

    /// Whether it is on its way to take jobs.
    pub fn coming(&self) -> bool {
        matches!(
            self.phase,
            Phase::Requested | Phase::Building | Phase::Booting
        )
    }

    /// Whether it is there to take jobs, or will be.
    pub fn alive(&self) -> bool {
        self.coming() || matches!(self.phase, Phase::Idle { .. } | Phase::Busy)
    }
}

/// All nodes, and the startds that are not ours.
#[derive(Debug)]
pub struct Survey<'a> {
    /// In the order of their ids, which is that of their making.
    pub nodes: Vec<Node<'a>>,
    /// Fresh startds of other machines in the pool: their free slots serve demand, and nothing is ever done to them.
    pub others: Vec<&'a StartdView>,
    /// Ads of nodes whose servers are gone.
    pub ghosts: Vec<(NodeId, &'a StartdView)>,
    /// Nodes that were found on a cloud without a memory of them, this tick.
    pub adopted: Vec<NodeId>,
}

/// How long the ads of a departed node are remembered to mean nothing: they live for up to 30 minutes
/// (`CLASSAD_LIFETIME` and the collector's housekeeping of 15 minutes each).
const GHOST_MEMORY: Duration = Duration::from_secs(2 * 3600);

/// A startd is fresh for three of its update intervals.
pub fn is_fresh(startd: &StartdView, policy: &Policy) -> bool {
    startd.heard_ago
        <= startd
            .update_interval
            .unwrap_or(policy.update_interval)
            .saturating_mul(3)
}

/// The collector, when it answers and is old enough to have heard from all its startds.
pub fn hearing<'a>(pool: &'a PoolView, policy: &Policy) -> Option<&'a CollectorView> {
    pool.collector
        .known()
        .filter(|collector| collector.up_for >= policy.collector_grace)
}

/// Puts together servers, startds and memory; what it learns goes into `state`.
pub fn survey<'a>(observation: &'a Observation, policy: &Policy, state: &mut State) -> Survey<'a> {
    let now = state.now;
    state
        .departed
        .retain(|_, departed| now.since(departed.at) < GHOST_MEMORY);
    let (servers, adopted) = servers_by_node(observation, state);

    let startds: &'a [StartdView] = observation
        .pool
        .collector
        .known()
        .map_or(&[], |collector| collector.startds.as_slice());
    let finder = StartdFinder::new(startds);
    let matches: BTreeMap<NodeId, Match<'a>> = state
        .nodes
        .iter()
        .map(|(id, memory)| {
            (
                id.clone(),
                finder.find(id, memory, servers.get(id).copied()),
            )
        })
        .collect();

    learn(observation, policy, state, &servers, &matches);

    let mut nodes: Vec<Node<'a>> = Vec::new();
    for (id, memory) in &state.nodes {
        let server = servers.get(id).copied();
        let found = matches.get(id).copied().unwrap_or(Match::None);
        let cloud_known = observation
            .clouds
            .get(&memory.kind.cloud)
            .is_some_and(Seen::is_known);
        let facts = Facts {
            observation,
            policy,
            state,
            memory,
            server,
            found,
            cloud_known,
        };
        let phase = facts.phase();
        nodes.push(Node {
            id: id.clone(),
            kind: memory.kind.clone(),
            server,
            startd: found.startd(),
            cloud_known,
            phase,
        });
    }

    let ours: BTreeSet<&str> = matches
        .values()
        .filter_map(|found| found.startd())
        .map(|startd| startd.machine.as_str())
        .collect();
    let mut others = Vec::new();
    let mut ghosts = Vec::new();
    for startd in startds
        .iter()
        .filter(|startd| !ours.contains(startd.machine.as_str()))
    {
        match ghost_of(startd, &state.departed) {
            Some(node) => ghosts.push((node, startd)),
            None if is_fresh(startd, policy) => others.push(startd),
            None => {}
        }
    }
    Survey {
        nodes,
        others,
        ghosts,
        adopted,
    }
}

/// The listed execute servers by node; those without a memory are adopted.
fn servers_by_node<'a>(
    observation: &'a Observation,
    state: &mut State,
) -> (BTreeMap<NodeId, &'a OwnedServer>, Vec<NodeId>) {
    let mut by_node = BTreeMap::new();
    let mut adopted = Vec::new();
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        for server in view
            .servers
            .iter()
            .filter(|server| server.role() == Role::Execute)
        {
            let own = server
                .node()
                .cloned()
                .unwrap_or_else(|| NodeId(server.id().to_owned()));
            // A second server with the same node id (a copied configuration, say) goes by its UUID.
            let taken = |id: &NodeId| {
                by_node.contains_key(id)
                    || state.nodes.get(id).is_some_and(|memory| {
                        memory
                            .server_id
                            .as_deref()
                            .is_some_and(|known| known != server.id())
                            || memory.kind.cloud != *cloud
                    })
            };
            let id = if taken(&own) {
                NodeId(server.id().to_owned())
            } else {
                own
            };
            if let Some(memory) = state.nodes.get_mut(&id) {
                memory.server_id = Some(server.id().to_owned());
            } else {
                // An intent that had lapsed and came late after all is no stranger.
                let known = state.departed.remove(&id).is_some();
                adopt(state, cloud, &id, server, !known, observation);
                adopted.push(id.clone());
            }
            by_node.insert(id, server);
        }
    }
    (by_node, adopted)
}

fn adopt(
    state: &mut State,
    cloud: &str,
    id: &NodeId,
    server: &OwnedServer,
    stranger: bool,
    observation: &Observation,
) {
    let metadata = |key: &str| {
        server
            .record()
            .metadata
            .get(key)
            .cloned()
            .unwrap_or_default()
    };
    let memory = NodeMemory {
        kind: Kind {
            cloud: cloud.to_owned(),
            flavor: metadata(METADATA_FLAVOR),
            image: metadata(METADATA_IMAGE),
        },
        name: server.record().name.clone(),
        server_id: Some(server.id().to_owned()),
        since: observation.at,
        started: state.now,
        adopted: stranger,
        listed: true,
        missing: None,
        machine: None,
        joined: None,
        silent: None,
        failed: false,
        delete_intended: None,
        delete_accepted: None,
    };
    state.nodes.insert(id.clone(), memory);
}

/// Which startd runs on a node's server.
#[derive(Clone, Copy)]
enum Match<'a> {
    None,
    Startd(&'a StartdView),
    Contradiction(&'a StartdView),
}

impl<'a> Match<'a> {
    fn startd(self) -> Option<&'a StartdView> {
        match self {
            Match::None => None,
            Match::Startd(startd) | Match::Contradiction(startd) => Some(startd),
        }
    }
}

struct StartdFinder<'a> {
    by_instance: BTreeMap<&'a str, &'a StartdView>,
    by_node: BTreeMap<&'a NodeId, &'a StartdView>,
}

impl<'a> StartdFinder<'a> {
    fn new(startds: &'a [StartdView]) -> StartdFinder<'a> {
        let mut finder = StartdFinder {
            by_instance: BTreeMap::new(),
            by_node: BTreeMap::new(),
        };
        for startd in startds {
            // Of two with one id, the one heard of last: a host name may have changed.
            if let Some(id) = startd.instance_id.as_deref() {
                let kept = finder.by_instance.entry(id).or_insert(startd);
                if startd.heard_ago < kept.heard_ago {
                    *kept = startd;
                }
            }
            if let Some(node) = &startd.node {
                let kept = finder.by_node.entry(node).or_insert(startd);
                if startd.heard_ago < kept.heard_ago {
                    *kept = startd;
                }
            }
        }
        finder
    }

    /// UUID or node id suffices; when both are there and disagree, the node is not to be touched.
    fn find(&self, id: &NodeId, memory: &NodeMemory, server: Option<&OwnedServer>) -> Match<'a> {
        let uuid = memory.server_id.as_deref();
        let named = server.and_then(OwnedServer::node).unwrap_or(id);
        if let Some(startd) = uuid.and_then(|uuid| self.by_instance.get(uuid)).copied() {
            return match &startd.node {
                Some(node) if node != named => Match::Contradiction(startd),
                _ => Match::Startd(startd),
            };
        }
        // One that goes by its UUID shares its node id with another: that alone does not tell them apart.
        if named != id {
            return Match::None;
        }
        match self.by_node.get(named).copied() {
            None => Match::None,
            Some(startd) => match (startd.instance_id.as_deref(), uuid) {
                (Some(says), Some(is)) if says != is => Match::Contradiction(startd),
                _ => Match::Startd(startd),
            },
        }
    }
}

fn ghost_of(startd: &StartdView, departed: &BTreeMap<NodeId, Departed>) -> Option<NodeId> {
    departed
        .iter()
        .find(|(id, gone)| {
            let by_uuid = startd.instance_id.is_some() && startd.instance_id == gone.server_id;
            by_uuid || startd.node.as_ref() == Some(id)
        })
        .map(|(id, _)| id.clone())
}

/// Writes into the memory what this observation shows of each node.
fn learn(
    observation: &Observation,
    policy: &Policy,
    state: &mut State,
    servers: &BTreeMap<NodeId, &OwnedServer>,
    matches: &BTreeMap<NodeId, Match<'_>>,
) {
    let now = state.now;
    let hears = hearing(&observation.pool, policy).is_some();
    let mut proven: Vec<(Kind, Option<Resources>)> = Vec::new();
    let mut trusted = state.adopted_trusted;
    for (id, memory) in &mut state.nodes {
        let cloud_known = observation
            .clouds
            .get(&memory.kind.cloud)
            .is_some_and(Seen::is_known);
        if servers.contains_key(id) {
            memory.listed = true;
            memory.missing = None;
        } else if cloud_known && memory.listed {
            memory.missing.get_or_insert(now);
        }
        let fresh = match matches.get(id) {
            Some(Match::Startd(startd)) if is_fresh(startd, policy) => Some(*startd),
            _ => None,
        };
        if let Some(startd) = fresh {
            trusted |= memory.adopted;
            memory.machine = Some(startd.machine.clone());
            memory.silent = None;
            let whole = startd.draining.is_none().then(|| startd.total());
            if memory.joined.is_none() {
                memory.joined = Some(now);
                proven.push((memory.kind.clone(), whole));
            }
        } else if memory.joined.is_some() && hears {
            memory.silent.get_or_insert(now);
        }
    }
    state.adopted_trusted = trusted;
    for (kind, capacity) in proven {
        let memory = state.kind_mut(&kind);
        memory.joined = memory.joined.saturating_add(1);
        memory.capacity = capacity.or(memory.capacity);
        memory.failures = 0;
        memory.backoff_until = None;
        memory.last_failure = None;
    }
    let answered = observation
        .clouds
        .iter()
        .filter(|(_, cloud)| cloud.is_known());
    state.clouds.extend(answered.map(|(name, _)| name.clone()));
    for (name, schedd) in &observation.pool.schedds {
        if schedd.is_known() {
            state.unknown_schedds.remove(name);
        } else {
            state.unknown_schedds.entry(name.clone()).or_insert(now);
        }
    }
    state
        .unknown_schedds
        .retain(|name, _| observation.pool.schedds.contains_key(name));
}

/// All that a node's phase is decided by.
struct Facts<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    state: &'a State,
    memory: &'a NodeMemory,
    server: Option<&'a OwnedServer>,
    found: Match<'a>,
    cloud_known: bool,
}

impl Facts<'_> {
    fn phase(&self) -> Phase {
        if let Match::Contradiction(startd) = self.found {
            return Phase::Contradiction {
                instance_id: startd.instance_id.clone().unwrap_or_default(),
                node: startd
                    .node
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            };
        }
        match self.server {
            Some(server) => self.of_server(server),
            None if !self.cloud_known => self.of_unknown_cloud(),
            None if self.memory.delete_intended.is_some() => Phase::Gone,
            None if self.memory.listed => Phase::Vanished,
            None if self.age() < self.policy.intent_grace => Phase::Requested,
            None => Phase::Lapsed,
        }
    }

    fn age(&self) -> Duration {
        self.state.now.since(self.memory.started)
    }

    fn hears(&self) -> bool {
        hearing(&self.observation.pool, self.policy).is_some()
    }

    fn fresh_startd(&self) -> Option<&StartdView> {
        self.found
            .startd()
            .filter(|startd| is_fresh(startd, self.policy))
    }

    fn of_unknown_cloud(&self) -> Phase {
        if self.memory.delete_intended.is_some() {
            return Phase::Deleting {
                ours: true,
                again: false,
            };
        }
        match self.fresh_startd() {
            Some(startd) => self.of_startd(startd),
            None if self.memory.joined.is_some() => self.silence(self.policy.lost_timeout),
            None if self.memory.server_id.is_none() => Phase::Requested,
            None => Phase::Booting,
        }
    }

    fn of_server(&self, server: &OwnedServer) -> Phase {
        let status = server.record().status;
        if server.record().deleting || self.memory.delete_accepted.is_some() {
            let overdue = self
                .memory
                .delete_accepted
                .is_some_and(|at| self.state.now.since(at) >= self.policy.delete_timeout);
            // A host that could not destroy the server leaves it in ERROR, and a new delete works.
            let failed = status == ServerStatus::Error && !server.record().deleting;
            let ours = self.memory.delete_intended.is_some();
            return Phase::Deleting {
                ours,
                again: ours && (overdue || failed),
            };
        }
        match self.fresh_startd() {
            Some(_) if status == ServerStatus::Shutoff => Phase::Stopped {
                without_job: false,
                silent: false,
            },
            Some(startd) => self.of_startd(startd),
            None if self.memory.joined.is_some() => self.of_silent(status),
            None => self.of_unjoined(server),
        }
    }

    fn of_startd(&self, startd: &StartdView) -> Phase {
        if let Some(drain) = &startd.draining {
            let ours = drain.reason.starts_with(&drain_mark(&self.policy.cluster));
            return Phase::Draining {
                ours,
                complete: drain.complete && startd.claims() == 0,
            };
        }
        match startd.idle_for() {
            None => Phase::Busy,
            Some(_) if !startd.slots.iter().any(|slot| slot.accepts_jobs) => Phase::Closed,
            Some(idle_for) => Phase::Idle { idle_for },
        }
    }

    fn of_silent(&self, status: ServerStatus) -> Phase {
        match status {
            // Nova itself says that it does not run: no need to wait, unless a job may be on it.
            ServerStatus::Shutoff => match self.silence(Duration::ZERO) {
                Phase::Lost { .. } => Phase::Stopped {
                    without_job: true,
                    silent: true,
                },
                Phase::Silent { .. } => Phase::Stopped {
                    without_job: false,
                    silent: true,
                },
                other => other,
            },
            ServerStatus::Error => self.silence(Duration::ZERO),
            ServerStatus::Build | ServerStatus::Active | ServerStatus::Other => {
                self.silence(self.policy.lost_timeout)
            }
        }
    }

    /// Silent, or lost when it has been so for `patience` and no schedd lists a job, or for longer than any lease.
    fn silence(&self, patience: Duration) -> Phase {
        if !self.hears() {
            return Phase::Unheard;
        }
        let silent_for = self
            .memory
            .silent
            .map_or(Duration::ZERO, |since| self.state.now.since(since));
        let job = self.job_listed();
        let patience = if job == JobListed::No {
            patience
        } else {
            self.policy.lost_job_timeout
        };
        if silent_for >= patience {
            Phase::Lost { silent_for }
        } else {
            Phase::Silent { silent_for, job }
        }
    }

    fn of_unjoined(&self, server: &OwnedServer) -> Phase {
        let overdue = self.hears() && self.age() >= self.policy.boot_timeout;
        let failed = match server.record().status {
            ServerStatus::Error => {
                let fault = server.record().fault.clone();
                Some(Some(fault.unwrap_or_else(|| {
                    "Nova says ERROR without a fault message".to_owned()
                })))
            }
            ServerStatus::Shutoff if self.hears() => {
                Some(Some("switched off before it joined".to_owned()))
            }
            _ if overdue => Some(None),
            _ => None,
        };
        let Some(fault) = failed else {
            return match server.record().status {
                ServerStatus::Build => Phase::Building,
                _ => Phase::Booting,
            };
        };
        if !self.memory.adopted {
            return Phase::Failed { fault };
        }
        if !self.state.adopted_trusted {
            return Phase::Untrusted;
        }
        // It may have joined and taken jobs before it was adopted: no less patience than with a silent node.
        if self.age() >= self.policy.lost_job_timeout {
            return Phase::Failed { fault };
        }
        Phase::Silent {
            silent_for: self.age(),
            job: JobListed::Unknown,
        }
    }

    fn job_listed(&self) -> JobListed {
        let Some(machine) = &self.memory.machine else {
            return JobListed::Unknown;
        };
        let schedds = &self.observation.pool.schedds;
        let lists = |schedd: &Seen<super::observation::ScheddView>| {
            schedd
                .known()
                .is_some_and(|schedd| schedd.running_on.contains(machine))
        };
        if schedds.values().any(lists) {
            JobListed::Yes
        } else if schedds.is_empty() || schedds.values().any(|schedd| !schedd.is_known()) {
            JobListed::Unknown
        } else {
            JobListed::No
        }
    }
}
