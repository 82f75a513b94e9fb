//! All nodes of a site: servers, startds and memory put together, and what is learnt from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::capacity::Capacity;
use super::matching::{GhostFinder, Match, StartdFinder, by_what_it_says};
use super::memory::{BuilderMemory, Departed, Kind, Moment, NodeMemory, State, UnmanagedMachines};
use super::node::{
    Facts, JobListed, Node, hearing, hidden, is_fresh, is_held, lists_job, node_listed,
};
use super::obscure::{Obscured, hides_builder, obscured};
use super::observation::{
    CloudName, METADATA_FLAVOR, METADATA_IMAGE, NodeId, Observation, OwnedServer, Role, Seen,
    ServerStatus, StartdView,
};
use super::policy::Policy;
use super::sender::Sender;
use super::stranded::learn_jobless;

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
    /// Builders, in the order of their servers' UUIDs.
    pub builders: Vec<Builder<'a>>,
    /// Those of `nodes` whose servers cannot be read, or may be among those that cannot.
    pub obscured: BTreeSet<NodeId>,
    /// Servers that cannot be read and may be nodes, besides those of `nodes`, by cloud.
    pub uncounted: BTreeMap<CloudName, u64>,
    /// Fresh startds that say that they are a node, and are not, with that node.
    pub impostors: Vec<(NodeId, &'a StartdView)>,
}

/// A server that becomes an image: neither a node nor capacity.
#[derive(Debug)]
pub struct Builder<'a> {
    /// Its cloud.
    pub cloud: CloudName,
    /// Its server.
    pub server: &'a OwnedServer,
    /// A startd that runs on it all the same, heard of or not.
    pub startd: Option<&'a StartdView>,
}

/// For how long a token must be seen to end before anything follows from it. Where Nova does not tell the time, a server's
/// age is by this machine's clock, which may jump, and jump back: an hour is little of `token_margin`.
fn token_patience(policy: &Policy) -> Duration {
    Duration::from_secs(3600).min(policy.token_margin / 8)
}

/// The same for `max_lifetime`, and for that and `max_lifetime_kill` together.
fn age_patience(limit: Duration) -> Duration {
    Duration::from_secs(3600).min(limit / 8)
}

/// How long the ads of a departed node are remembered to mean nothing: they live for up to 30 minutes
/// (`CLASSAD_LIFETIME` and the collector's housekeeping of 15 minutes each).
const GHOST_MEMORY: Duration = Duration::from_secs(2 * 3600);

/// How long a departed server is remembered whose cloud has not said what it has left behind, or on which a schedd lists a
/// running job.
const SEARCH_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// More departed servers are not remembered.
const MOST_DEPARTED: usize = 1000;

/// Puts together servers, startds and memory; what it learns goes into `state`.
pub fn survey<'a>(observation: &'a Observation, policy: &Policy, state: &mut State) -> Survey<'a> {
    learn_jobless(observation, policy, state);
    forget_departed(observation, state);
    set_aside_removed_clouds(observation, state);
    let (servers, adopted) = servers_by_node(observation, state);
    let obscured = obscured(observation, policy, state, &servers);
    let mut builders = builders(observation, state);

    let startds: &'a [StartdView] = observation
        .pool
        .collector
        .known()
        .map_or(&[], |collector| collector.startds.as_slice());
    let finder = StartdFinder::new(startds, policy.update_interval);
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

    let impostors = impostors(&finder, startds, policy, state, &servers);

    state.forget_failures(policy);
    state.forget_zones(policy);
    state.forget_kinds(policy);
    learn(observation, policy, state, &servers, &obscured, &matches);

    let now = state.now;
    let for_long = |since: Option<Moment>, limit: Option<Duration>| match (since, limit) {
        (Some(since), Some(limit)) => now.since(since) >= age_patience(limit),
        _ => false,
    };
    // An age that is told wrong, or a limit that is new, ends no job at once: a node must have been seen to be too old for as
    // long as its jobs are waited for.
    let overdue = |memory: &NodeMemory| {
        let more = policy.max_lifetime_kill?;
        let most = policy.max_lifetime(&memory.kind.cloud)?;
        let waited = now.since(memory.outlived?) >= more;
        Some(waited && for_long(memory.overdue, Some(most.saturating_add(more))))
    };
    let mut nodes: Vec<Node<'a>> = Vec::new();
    for (id, memory) in &state.nodes {
        let server = servers.get(id).copied();
        let found = matches.get(id).copied().unwrap_or(Match::None);
        let cloud_known = !obscured.nodes.contains_key(id)
            && observation
                .clouds
                .get(&memory.kind.cloud)
                .is_some_and(Seen::is_known);
        let facts = Facts {
            id,
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
            name: memory.name.clone(),
            kind: memory.kind.clone(),
            memory: memory.clone(),
            server,
            startd: found.startd(),
            contested: match found {
                Match::Contested(_, other) => Some(other),
                _ => None,
            },
            own_identity: finder.needs_own_identity(memory, server),
            cloud_known,
            unchanged_for: facts.unchanged_for(),
            token_ends: memory
                .token_ending
                .is_some_and(|since| state.now.since(since) >= token_patience(policy)),
            outlived: for_long(memory.outlived, policy.max_lifetime(&memory.kind.cloud)),
            overdue: overdue(memory).unwrap_or(false),
            cloud_retires: policy.retires(&memory.kind.cloud),
            phase,
        });
    }

    let ours: BTreeSet<&str> = matches
        .values()
        .filter_map(|found| found.startd())
        .map(|startd| startd.machine.as_str())
        .collect();
    // What runs on a builder is not there to stay. Its UUID says which it is; without one its node id does.
    let on = |builder: &Builder<'_>, startd: &StartdView| match startd.instance_id.as_deref() {
        // A builder has no token of a node.
        _ if matches!(startd.sender, Sender::Node(_)) => false,
        Some(id) => id == builder.server.id(),
        None => startd.node.is_some() && startd.node.as_ref() == builder.server.node(),
    };
    for builder in &mut builders {
        // A host name may have changed: of several, the one that shows the most claims.
        let here = startds.iter().filter(|startd| on(builder, startd));
        builder.startd = here.max_by_key(|startd| startd.claims());
    }
    let departed = GhostFinder::new(&state.departed);
    let mut others = Vec::new();
    let mut ghosts = Vec::new();
    for startd in startds
        .iter()
        .filter(|startd| !ours.contains(startd.machine.as_str()))
        .filter(|startd| {
            !impostors
                .iter()
                .any(|(_, other)| std::ptr::eq(*other, *startd))
        })
        .filter(|startd| !builders.iter().any(|builder| on(builder, startd)))
    {
        match departed.find(startd) {
            Some(node) => ghosts.push((node.clone(), startd)),
            // A token outlives its node, and whoever has it may say anything: no room is counted by it.
            None if matches!(startd.sender, Sender::Node(_)) => {}
            None if is_fresh(startd, policy) => {
                state.unmanaged = UnmanagedMachines::Seen;
                others.push(startd);
            }
            None => state.unmanaged = UnmanagedMachines::Seen,
        }
    }
    // An ad that cannot be read may be of such a machine, too.
    let collector = observation.pool.collector.known();
    if collector.is_some_and(|collector| !collector.unreadable.is_empty()) {
        state.unmanaged = UnmanagedMachines::Seen;
    }
    ghosts.sort_unstable_by(|a, b| (&a.0, &a.1.machine).cmp(&(&b.0, &b.1.machine)));
    Survey {
        nodes,
        others,
        ghosts,
        adopted,
        builders,
        obscured: obscured.nodes.into_keys().collect(),
        uncounted: obscured.uncounted,
        impostors,
    }
}

/// Fresh startds that say that they are a node, and are not: by their senders, or because another one is.
fn impostors<'a>(
    finder: &StartdFinder<'a>,
    startds: &'a [StartdView],
    policy: &Policy,
    state: &State,
    servers: &BTreeMap<NodeId, &OwnedServer>,
) -> Vec<(NodeId, &'a StartdView)> {
    let mut all: Vec<(NodeId, &'a StartdView)> = Vec::new();
    for (id, memory) in &state.nodes {
        let found = finder.impostors(id, memory, servers.get(id).copied());
        all.extend(found.into_iter().map(|startd| (id.clone(), startd)));
    }
    // What a node sends of nodes that ehos does not know is left out as well.
    for startd in startds.iter().filter(|startd| is_fresh(startd, policy)) {
        let known = all.iter().any(|(_, other)| std::ptr::eq(*other, startd));
        if let (Sender::Node(sender), Some(node)) = (&startd.sender, &startd.node)
            && sender != node
            && !known
        {
            all.push((node.clone(), startd));
        }
    }
    // Not the order of the list.
    all.sort_by(|(node, startd), (other, another)| {
        let by_node = node.cmp(other);
        by_node.then_with(|| by_what_it_says(startd, another))
    });
    all
}

/// The nodes of a cloud that is not in the configuration any more are no capacity, and nothing can be done to them: they
/// are set aside until it is configured again.
fn set_aside_removed_clouds(observation: &Observation, state: &mut State) {
    let configured = |cloud: &CloudName| observation.clouds.contains_key(cloud);
    let nodes = std::mem::take(&mut state.nodes);
    let (kept, aside): (BTreeMap<_, _>, BTreeMap<_, _>) = nodes
        .into_iter()
        .partition(|(_, memory)| configured(&memory.kind.cloud));
    state.nodes = kept;
    for (id, memory) in aside {
        let cloud = memory.kind.cloud.clone();
        // A create that no list has shown, and a server whose delete the cloud has accepted, are no servers to tell of.
        if memory.server_id.is_some() && memory.delete_accepted.is_none() {
            let of_cloud = state.removed_clouds.entry(cloud).or_default();
            of_cloud.insert(id, memory);
        }
    }
    let removed = std::mem::take(&mut state.removed_clouds);
    for (cloud, nodes) in removed {
        for (id, mut memory) in nodes {
            // Its cloud may only be called otherwise now.
            if !configured(&cloud)
                && let Some(renamed) = lists(observation, memory.server_id.as_deref())
            {
                memory.kind.cloud.clone_from(renamed);
            }
            if configured(&memory.kind.cloud) {
                memory.was_not_watched();
                state.nodes.insert(id, memory);
            } else {
                let of_cloud = state.removed_clouds.entry(cloud.clone()).or_default();
                of_cloud.insert(id, memory);
            }
        }
    }
}

/// The cloud that lists this server.
fn lists<'o>(observation: &'o Observation, server: Option<&str>) -> Option<&'o CloudName> {
    let mut clouds = observation.clouds.iter();
    let listed = clouds.find(|(_, view)| {
        let servers = view.known().map_or(&[][..], |view| &view.servers);
        servers.iter().any(|listed| server == Some(listed.id()))
    });
    listed.map(|(name, _)| name)
}

/// Forgets those that went long ago: when their ads are gone, and their clouds have said what they have left behind.
fn forget_departed(observation: &Observation, state: &mut State) {
    let now = state.now;
    state
        .leftovers
        .retain(|_, memory| observation.clouds.contains_key(&memory.cloud));
    let leftovers = state.leftovers.values();
    let with_leftovers: BTreeSet<&String> = leftovers
        .filter_map(|leftover| leftover.server.as_ref())
        .collect();
    state.departed.retain(|_, departed| {
        let gone_for = now.since(departed.at);
        let server = departed.server_id.as_ref();
        let to_search = !departed.searched
            && server.is_some()
            && observation.clouds.contains_key(&departed.cloud);
        // A lease may be longer than its ads live.
        let to_ask = !departed.jobless && departed.machine.is_some();
        gone_for < GHOST_MEMORY
            || (to_ask && gone_for < SEARCH_MEMORY)
            || (to_search && gone_for < SEARCH_MEMORY)
            || server.is_some_and(|server| with_leftovers.contains(server))
    });
    while state.departed.len() > MOST_DEPARTED {
        let oldest = state.departed.iter().min_by_key(|(_, gone)| gone.at);
        let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
            break;
        };
        state.departed.remove(&oldest);
    }
}

/// The listed builders, each once; what is seen of them is remembered.
fn builders<'a>(observation: &'a Observation, state: &mut State) -> Vec<Builder<'a>> {
    let now = state.now;
    // Two entries of the configuration may be one project: a server is the first's that lists it.
    let mut listed: BTreeMap<&str, Builder<'a>> = BTreeMap::new();
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        let builders = view.servers.iter();
        for server in builders.filter(|server| server.role() == Role::Builder) {
            listed.entry(server.id()).or_insert_with(|| Builder {
                cloud: cloud.clone(),
                server,
                startd: None,
            });
        }
    }
    let gone = |(id, memory): &(&String, &BuilderMemory)| {
        let cloud = observation.clouds.get(&memory.cloud);
        // That of a cloud that is not configured any more may be there.
        !listed.contains_key(id.as_str())
            && cloud.is_some_and(Seen::is_known)
            && !hides_builder(observation, &memory.cloud, id)
    };
    let gone: Vec<String> = state
        .builders
        .iter()
        .filter(gone)
        .map(|(id, _)| id.clone())
        .collect();
    for id in &gone {
        state.depart_builder(id);
    }
    let copied = copied_nodes(observation);
    for (id, builder) in &listed {
        let memory = state
            .builders
            .entry((*id).to_owned())
            .or_insert_with(|| BuilderMemory {
                cloud: builder.cloud.clone(),
                unsigned: !builder.server.is_signed()
                    || builder
                        .server
                        .node()
                        .is_none_or(|node| copied.contains(node)),
                expired: None,
                delete_intended: None,
                delete_accepted: None,
            });
        memory.cloud.clone_from(&builder.cloud);
        let expired = builder.server.record().age > builder.server.lifetime();
        memory.expired = expired.then(|| memory.expired.unwrap_or(now));
    }
    listed.into_values().collect()
}

/// The listed execute servers by node; those without a memory are adopted.
fn servers_by_node<'a>(
    observation: &'a Observation,
    state: &mut State,
) -> (BTreeMap<NodeId, &'a OwnedServer>, Vec<NodeId>) {
    let mut by_node = BTreeMap::new();
    let mut adopted = Vec::new();
    // Servers and the clouds that they are known to be of.
    let mut clouds_of: BTreeSet<(String, CloudName)> = BTreeSet::new();
    for memory in state.nodes.values() {
        if let Some(server_id) = &memory.server_id {
            clouds_of.insert((server_id.clone(), memory.kind.cloud.clone()));
        }
    }
    let copied = copied_nodes(observation);
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        let mut servers: Vec<&OwnedServer> = view.servers.iter().collect();
        // Not the order of the list: which of two with one node id keeps it must not depend on that.
        // One with a signature comes before one that has copied its node id.
        servers.sort_unstable_by_key(|server| (!server.is_signed(), server.id()));
        for server in servers
            .into_iter()
            .filter(|server| server.role() == Role::Execute)
        {
            let own = server
                .node()
                .cloned()
                .unwrap_or_else(|| NodeId(server.id().to_owned()));
            // Two entries of the configuration may be one project: a server is of the one that made it, or the first.
            let known = |cloud: &CloudName| {
                let view = observation.clouds.get(cloud);
                view.is_some_and(Seen::is_known)
            };
            let first = (server.id().to_owned(), CloudName::new());
            let of_another = clouds_of
                .range(first..)
                .take_while(|(id, _)| id == server.id())
                .any(|(_, other)| other != cloud && known(other));
            if of_another {
                continue;
            }
            // A second server with the same node id (a copied configuration, say) goes by its UUID.
            let by_uuid = NodeId(server.id().to_owned());
            let another = |server_id: &Option<String>| {
                server_id.as_deref().is_some_and(|id| id != server.id())
            };
            let taken = |id: &NodeId| {
                by_node.contains_key(id)
                    // And goes on doing so when the first one has gone: what is remembered of that is its own.
                    || state.nodes.contains_key(&by_uuid)
                    || state
                        .departed
                        .get(id)
                        .is_some_and(|departed| another(&departed.server_id))
                    || state.nodes.get(id).is_some_and(|memory| {
                        another(&memory.server_id) || memory.kind.cloud != *cloud
                    })
            };
            // Without a signature it is none that is waited for or that has gone, but for its UUID.
            let signed = server.is_signed() && !copied.contains(&own);
            let foreign = !signed && !is_known(state, &own, server.id());
            let copy = taken(&own) || (foreign && is_remembered(state, &own));
            let is_own =
                is_known(state, &own, server.id()) || (signed && (!copy || own == by_uuid));
            let id = if copy { by_uuid } else { own };
            if let Some(memory) = state.nodes.get_mut(&id) {
                memory.server_id = Some(server.id().to_owned());
            } else {
                // An intent that had lapsed and came late after all is no stranger.
                let departed = if is_own {
                    state.departed.remove(&id)
                } else {
                    None
                };
                adopt(state, cloud, &id, server, departed, observation);
                if !is_own && let Some(memory) = state.nodes.get_mut(&id) {
                    memory.unsigned = Some(state.now);
                }
                adopted.push(id.clone());
            }
            clouds_of.insert((server.id().to_owned(), cloud.clone()));
            by_node.insert(id, server);
        }
    }
    adopted.sort_unstable();
    (by_node, adopted)
}

/// Node ids that several servers carry: whose signature was copied, only the state knows.
fn copied_nodes(observation: &Observation) -> BTreeSet<NodeId> {
    let mut first: BTreeMap<&NodeId, &str> = BTreeMap::new();
    let mut copied = BTreeSet::new();
    let servers = observation.clouds.values().filter_map(Seen::known);
    for server in servers.flat_map(|view| &view.servers) {
        let Some(node) = server.node() else { continue };
        // Two entries of the configuration may be one project.
        if *first.entry(node).or_insert(server.id()) != server.id() {
            copied.insert(node.clone());
        }
    }
    copied
}

/// Whether this state knows that server, or has known it, under this node id.
fn is_known(state: &State, id: &NodeId, server: &str) -> bool {
    let there = state
        .nodes
        .get(id)
        .and_then(|memory| memory.server_id.as_deref());
    let gone = state
        .departed
        .get(id)
        .and_then(|gone| gone.server_id.as_deref());
    there == Some(server) || gone == Some(server)
}

/// Whether this state has an intent, a node or one that has gone under this node id.
fn is_remembered(state: &State, id: &NodeId) -> bool {
    state.nodes.contains_key(id) || state.departed.contains_key(id)
}

fn adopt(
    state: &mut State,
    cloud: &str,
    id: &NodeId,
    server: &OwnedServer,
    departed: Option<Departed>,
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
    let kind = Kind {
        cloud: cloud.to_owned(),
        flavor: metadata(METADATA_FLAVOR),
        image: metadata(METADATA_IMAGE),
    };
    let adopted = departed.is_none();
    let failed = departed.as_ref().is_some_and(|departed| departed.failed);
    // One that had joined may have jobs.
    let machine = departed.and_then(|departed| departed.machine);
    let memory = NodeMemory {
        server_id: Some(server.id().to_owned()),
        adopted,
        listed: true,
        joined: machine.as_ref().map(|_| state.now),
        machine,
        claimed: true,
        taken: true,
        failed,
        ..NodeMemory::new(kind, &server.record().name, observation.at, state.now)
    };
    state.nodes.insert(id.clone(), memory);
}

/// How long ago the claims changed that the pass before, `since_previous` ago, has not seen. A startd sends an ad at once when a
/// claim begins or ends: it has been so since then. A later ad has the time of the change, up to RECORD_DELAY late; the
/// first one has that of the change before.
fn changed_ago(startd: &StartdView, since_previous: Duration) -> Duration {
    let recorded = startd.idle_for().filter(|time| *time <= since_previous);
    startd.heard_ago.max(recorded.unwrap_or_default())
}

/// Writes into the memory what this observation shows of each node.
fn learn(
    observation: &Observation,
    policy: &Policy,
    state: &mut State,
    servers: &BTreeMap<NodeId, &OwnedServer>,
    obscured: &Obscured,
    matches: &BTreeMap<NodeId, Match<'_>>,
) {
    let now = state.now;
    let since_previous = now.since(state.previous);
    let hears = hearing(&observation.pool, policy).is_some();
    let mut proven: Vec<Kind> = Vec::new();
    let mut ran_jobs: Vec<Kind> = Vec::new();
    let mut sizes: Vec<(Kind, Capacity)> = Vec::new();
    let mut roomy: Vec<(Kind, String, Moment)> = Vec::new();
    let mut trusted = state.adopted_trusted;
    for (id, memory) in &mut state.nodes {
        let cloud_known = observation
            .clouds
            .get(&memory.kind.cloud)
            .is_some_and(Seen::is_known);
        if memory.unanswered {
            memory.abandoned.get_or_insert(now);
        }
        if let Some(server) = servers.get(id) {
            memory.unanswered = false;
            memory.abandoned = None;
            memory.listed = true;
            memory.missing = None;
            if let Some(zone) = &server.record().zone {
                memory.zone = Some(zone.clone());
            }
            if memory.unsigned.is_none()
                && let (ServerStatus::Active, Some(zone)) = (server.record().status, &memory.zone)
            {
                roomy.push((memory.kind.clone(), zone.clone(), memory.started));
            }
            let elsewhere = policy.other_condor_host(server);
            let elsewhere = elsewhere.filter(|_| memory.adopted);
            memory.other_condor_host = elsewhere.map(str::to_owned);
            let ends = server
                .token_left()
                .is_some_and(|left| left <= policy.token_margin);
            let age = server.record().age;
            let most = policy.max_lifetime(&memory.kind.cloud);
            let older = most.is_some_and(|most| age >= most);
            memory.outlived = older.then(|| memory.outlived.unwrap_or(now));
            let killed = most.zip(policy.max_lifetime_kill);
            let overdue = killed.is_some_and(|(most, more)| age >= most.saturating_add(more));
            memory.overdue = overdue.then(|| memory.overdue.unwrap_or(now));
            memory.token_ending = ends.then(|| memory.token_ending.unwrap_or(now));
            // On its way out it loses them one by one.
            if !server.record().deleting {
                memory.volumes.clone_from(&server.record().volumes);
            }
        } else if let Some(server_id) = obscured.nodes.get(id) {
            // It is there, or may be: whatever it does, it is not missing.
            memory.missing = None;
            if let Some(server_id) = server_id {
                memory.listed = true;
                memory.server_id.get_or_insert_with(|| server_id.clone());
            }
        } else if cloud_known && memory.listed {
            memory.missing.get_or_insert(now);
        }
        let found = matches.get(id).copied().unwrap_or(Match::None);
        let fresh = match found {
            Match::Startd(startd) if is_fresh(startd, policy) => Some(startd),
            Match::Contradiction(startd) | Match::Contested(startd, _)
                if is_fresh(startd, policy) =>
            {
                // Somebody is there: what it is, is not learnt from that, and its silence begins after it.
                memory.silent = None;
                memory.unlisted = None;
                memory.claimed |= startd.claims() > 0;
                continue;
            }
            _ => None,
        };
        if memory.unsigned.is_some() {
            if fresh.is_none() {
                continue;
            }
            // It has joined with a token of this pool: that is a proof as well.
            memory.unsigned = None;
        }
        if let Some(startd) = fresh {
            memory.invalidated = false;
            if memory.adopted {
                // Those that were found together belong together; those that are found later may be another's.
                trusted = trusted.max(Some(memory.started));
            }
            let deleting = servers
                .get(id)
                .is_none_or(|server| server.record().deleting);
            if !deleting && memory.delete_accepted.is_none() && startd.draining.is_none() {
                // A delete came to nothing, and it takes jobs again: that its server goes would not be ehos's doing.
                memory.delete_intended = None;
            }
            let open = startd.slots.iter().any(|slot| slot.accepts_jobs);
            if startd.draining.is_none() {
                memory.closed = (!open).then(|| memory.closed.unwrap_or(now));
            }
            if startd.draining.is_some() {
                memory.drain_accepted = None;
            }
            memory.is_at(startd);
            let drain = startd.draining.as_ref();
            let drained = drain.is_some_and(|drain| drain.complete) && startd.claims() == 0;
            if drained && lists_job(&observation.pool, memory) {
                memory.contradicted = Some(now);
            } else if drain.is_none() {
                memory.contradicted = None;
            }
            let named = servers.get(id).and_then(|server| server.node());
            memory.identified |= startd.sender == Sender::Node(named.unwrap_or(id).clone());
            memory.silent = None;
            memory.job_listed = false;
            memory.unlisted = None;
            memory.claimed = startd.claims() > 0;
            if memory.claims.replace(startd.claims()) != Some(startd.claims()) {
                memory.claims_changed = memory
                    .joined
                    .map(|_| now.minus(changed_ago(startd, since_previous)));
            }
            let joined_for = memory
                .joined
                .map_or(Duration::ZERO, |joined| now.since(joined));
            memory.taken |= startd
                .idle_for()
                .is_none_or(|idle_for| idle_for + Duration::from_secs(60) < joined_for);
            // Of one that was adopted nobody knows what it had taken before.
            if memory.claimed || (memory.taken && !memory.adopted) {
                ran_jobs.push(memory.kind.clone());
            }
            if startd.draining.is_none() {
                sizes.extend(Capacity::of(startd).map(|size| (memory.kind.clone(), size)));
            }
            memory.joined.get_or_insert(now);
            if !memory.proven && open {
                memory.proven = true;
                proven.push(memory.kind.clone());
            }
        } else if hears
            && !hidden(
                &observation.pool,
                memory.machine.as_deref(),
                servers.get(id).copied(),
            )
        {
            // One that its cloud holds still is waited for: its silence begins when it runs again.
            if servers.get(id).is_some_and(|server| is_held(server)) {
                memory.silent = Some(now);
            }
            let silent = memory.silent.get_or_insert(now);
            // One that is heard late is not silent for longer than its last ad is old.
            if let Some(Match::Startd(startd)) = matches.get(id) {
                *silent = now.minus(startd.heard_ago).max(*silent);
            }
            let listed = node_listed(&observation.pool, memory);
            memory.job_listed |= listed == JobListed::Yes;
            memory.unlisted = (listed == JobListed::No).then(|| memory.unlisted.unwrap_or(now));
            // An old ad: it has joined all the same, and jobs may run on it.
            if let Some(Match::Startd(startd)) = matches.get(id) {
                if memory.machine.is_none() {
                    memory.is_at(startd);
                }
                memory.joined.get_or_insert(now);
                memory.claimed = startd.claims() > 0;
            }
        } else {
            // What was not heard while nobody listened is not silence.
            memory.silent = None;
            memory.unlisted = None;
        }
    }
    state.adopted_trusted = trusted;
    if !state.zones.is_empty() {
        for (kind, zone, asked_for) in roomy {
            state.zone_has_room(&kind, &zone, asked_for);
        }
    }
    // Of several that are there the largest: one that says less than it has makes no other look smaller.
    sizes.sort_by_cached_key(|(_, size)| {
        let total = size.total();
        (total.cpus, total.memory_mb)
    });
    for (kind, total) in sizes {
        state.kind_mut(&kind).capacity = Some(total);
    }
    for kind in ran_jobs {
        state.kind_mut(&kind).ran_jobs = true;
    }
    for kind in proven {
        let memory = state.kind_mut(&kind);
        memory.joined = memory.joined.saturating_add(1);
        memory.forgive();
    }
    let answered = observation
        .clouds
        .iter()
        .filter(|(_, cloud)| cloud.is_known());
    state.clouds.extend(answered.map(|(name, _)| name.clone()));
    // The nodes of one that is not configured any more were forgotten: when it is again, it may hold any number of them.
    state
        .clouds
        .retain(|name| observation.clouds.contains_key(name));
    for (name, schedd) in &observation.pool.schedds {
        if let Seen::Known(schedd) = schedd {
            state.unknown_schedds.remove(name);
            if let Some(newest) = schedd.newest_cluster {
                let marks = state.clusters.entry(name.clone()).or_default();
                marks.add(observation.at, newest);
            }
        } else {
            state.unknown_schedds.entry(name.clone()).or_insert(now);
        }
    }
    state
        .clusters
        .retain(|name, _| observation.pool.schedds.contains_key(name));
    state
        .unknown_schedds
        .retain(|name, _| observation.pool.schedds.contains_key(name));
}
