//! The life of a node: where it is, from its server, its startd and what is remembered of it.

use std::time::Duration;

use serde::Serialize;

use super::matching::Match;
use super::memory::{Kind, NodeMemory, State};
use super::observation::{
    CollectorView, NodeId, Observation, OwnedServer, PoolView, ScheddView, Seen, ServerStatus,
    StartdView,
};
use super::pace::MINUTE;
use super::policy::Policy;

/// The time for a server to show up in Nova's list once its create was answered.
const LIST_DELAY: Duration = Duration::from_secs(5);

/// A startd records the end of a claim so much later at most: its POLLING_INTERVAL (5 s), and whole seconds.
const RECORD_DELAY: Duration = Duration::from_secs(8);

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
    /// Nova says that it is put aside (PAUSED, SHELVED …), or it is not heard of and Nova says something that ehos does not
    /// know: it offers nothing, and is left alone for as long as Nova says so.
    Inactive,
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
    /// It has joined, and its token had ended when the collector did not hear of it any more: it may go on with its jobs,
    /// for a collector that restarts does not take it back.
    Unreachable {
        /// For how long it has been silent.
        silent_for: Duration,
        /// Whether a job may run on it.
        job: JobLeft,
        /// For how long every schedd has answered and none has listed a job on it.
        unlisted_for: Duration,
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
    /// An intent without a server for longer than `intent_grace`, or for longer than a request takes after its tick was killed.
    Lapsed,
    /// Startd and server disagree about who they are.
    Contradiction {
        /// What the startd says.
        instance_id: String,
        /// What the startd says.
        node: String,
    },
    /// It carries this pool's id without a valid signature, and has not joined: a forgery, or made with a lost key. It is no
    /// capacity, and is left alone.
    Unsigned {
        /// It may be of this pool: a state that is younger than a boot has not seen all of its own nodes yet, and a create
        /// may have been done twice.
        counts: bool,
    },
    /// Adopted, and told to join another pool; or overdue, and no adopted node has ever been seen in this pool.
    Untrusted,
}

/// Whether a schedd lists a running job on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobListed {
    /// One does.
    Yes,
    /// All answered, none does.
    No,
    /// None that answered does, and one did not answer.
    Unknown,
}

/// Whether a job may be left on a node that cannot be heard of any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobLeft {
    /// A schedd lists one.
    Listed,
    /// A schedd that may have one does not answer.
    Unknown,
    /// It had a claim when it was last heard of, or nobody knows, and no schedd that is asked has listed a job on it
    /// since: it may be another's.
    NotAsked,
    /// All answered, none lists one.
    None,
}

/// A node with all that is known of it.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its id.
    pub id: NodeId,
    /// Its server's name.
    pub name: String,
    /// What it is made of.
    pub kind: Kind,
    /// What is remembered of it, with what this observation shows.
    pub memory: NodeMemory,
    /// Its server, when its cloud lists it.
    pub server: Option<&'a OwnedServer>,
    /// Its startd, when the collector has an ad of it, fresh or stale.
    pub startd: Option<&'a StartdView>,
    /// Another startd says that it is this node, and nothing shows which of both is: ehos drains and deletes nothing.
    pub contested: Option<&'a StartdView>,
    /// Its ads come from its own identity alone.
    pub own_identity: bool,
    /// Its cloud answered.
    pub cloud_known: bool,
    /// For how long no change of its claims has been seen: no slot has been as it is for longer.
    pub unchanged_for: Duration,
    /// Its token ends within `token_margin`: it is to take no new demand, and to go when it is idle.
    pub token_ends: bool,
    /// It is older than `max_lifetime`: as above.
    pub outlived: bool,
    /// Its cloud is to be removed from the configuration.
    pub cloud_retires: bool,
    /// It is older than that by `max_lifetime_kill`: its jobs are not waited for.
    pub overdue: bool,
    /// Where it is in its life.
    pub phase: Phase,
}

impl Node<'_> {
    /// Whether a server of it exists, or may exist: what nodes_max counts.
    pub fn exists(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Gone | Phase::Lapsed | Phase::Unsigned { counts: false }
        )
    }

    /// Whether it is on its way to take jobs.
    pub fn coming(&self) -> bool {
        matches!(
            self.phase,
            Phase::Requested | Phase::Building | Phase::Booting
        )
    }

    /// Whether it is to take no new demand, and to go when it is idle.
    pub fn retires(&self) -> bool {
        self.token_ends || self.outlived || self.cloud_retires
    }

    /// For how long yet its token is good, where that is known and has an end.
    pub fn token_left(&self) -> Option<Duration> {
        self.server.and_then(OwnedServer::token_left)
    }

    /// Whether it is there to take jobs, or will be.
    pub fn alive(&self) -> bool {
        self.coming() || matches!(self.phase, Phase::Idle { .. } | Phase::Busy)
    }
}

/// A startd is fresh for three of its update intervals.
pub fn is_fresh(startd: &StartdView, policy: &Policy) -> bool {
    is_heard(startd, policy.update_interval)
}

/// The same, where one that does not say how often it reports does so every `update_interval`.
pub fn is_heard(startd: &StartdView, update_interval: Duration) -> bool {
    startd.heard_ago
        <= startd
            .update_interval
            .unwrap_or(update_interval)
            .saturating_mul(3)
}

/// Whether its cloud holds a server that is not heard of, for longer than a reboot: [`Phase::Inactive`].
pub(super) fn is_held(server: &OwnedServer) -> bool {
    let record = server.record();
    record.is_put_aside() || record.status == ServerStatus::Other
}

/// The collector, when it answers and is old enough to have heard from all its startds.
pub fn hearing<'a>(pool: &'a PoolView, policy: &Policy) -> Option<&'a CollectorView> {
    pool.collector
        .known()
        .filter(|collector| collector.up_for >= policy.collector_grace)
}

/// Whether an ad that cannot be read may be that of the startd on this machine, whose name may not be known: the collector says
/// nothing of it then. That of a machine that was there before the server is none.
pub(super) fn hidden(pool: &PoolView, machine: Option<&str>, server: Option<&OwnedServer>) -> bool {
    let collector = pool.collector.known();
    let mut ads = collector.iter().flat_map(|view| &view.unreadable);
    ads.any(|ad| {
        let older = server.is_some_and(|server| ad.is_older_than(server.record().age));
        ad.may_be_of(machine) && !older
    })
}

/// Whether one of the schedds that are asked lists a running job on a machine.
pub fn job_listed(pool: &PoolView, machine: &str) -> JobListed {
    let lists = |schedd: &ScheddView| schedd.running_on.contains_key(machine);
    let mut schedds = pool.schedds.values();
    if pool.schedds.values().filter_map(Seen::known).any(lists) {
        JobListed::Yes
    } else if pool.schedds.is_empty() || schedds.any(|schedd| !schedd.is_known()) {
        JobListed::Unknown
    } else {
        JobListed::No
    }
}

/// Whether a schedd lists a running job on a node, under any name that its startd has had, or that of its server. What the
/// startd says then is no leave to delete.
pub fn lists_job(pool: &PoolView, memory: &NodeMemory) -> bool {
    node_listed(pool, memory) == JobListed::Yes
}

/// The same, with what is not known. Where the machine is not known, no schedd lists a job on it but by the server's name.
pub(super) fn node_listed(pool: &PoolView, memory: &NodeMemory) -> JobListed {
    let mut all = JobListed::No;
    for machine in memory.join.machines().chain([memory.name.as_str()]) {
        match job_listed(pool, machine) {
            JobListed::Yes => return JobListed::Yes,
            JobListed::Unknown => all = JobListed::Unknown,
            JobListed::No => {}
        }
    }
    all
}

/// All that a node's phase is decided by.
pub(super) struct Facts<'a, 's> {
    pub(super) id: &'s NodeId,
    pub(super) observation: &'a Observation,
    pub(super) policy: &'s Policy,
    pub(super) state: &'s State,
    pub(super) memory: &'s NodeMemory,
    pub(super) server: Option<&'a OwnedServer>,
    pub(super) found: Match<'a>,
    pub(super) cloud_known: bool,
}

impl<'a> Facts<'a, '_> {
    /// The node; `own_identity`: its ads come from its own identity alone.
    pub(super) fn node(&self, own_identity: bool) -> Node<'a> {
        let (memory, policy, now) = (self.memory, self.policy, self.state.now);
        let cloud = &memory.kind.cloud;
        Node {
            id: self.id.clone(),
            name: memory.name.clone(),
            kind: memory.kind.clone(),
            memory: memory.clone(),
            server: self.server,
            startd: self.found.startd(),
            contested: match self.found {
                Match::Contested(_, other) => Some(other),
                _ => None,
            },
            own_identity,
            cloud_known: self.cloud_known,
            unchanged_for: self.unchanged_for(),
            token_ends: memory.age.token_ends(policy, now),
            outlived: memory.age.is_outlived(policy, cloud, now),
            overdue: memory.age.is_overdue(policy, cloud, now),
            cloud_retires: policy.retires(cloud),
            phase: self.phase(),
        }
    }

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
        if let Some(since) = self.memory.unsigned {
            // A second server with a whole signature may be a create that the cloud has done twice.
            let signed = self.server.filter(|server| server.is_signed());
            let twice = signed.is_some() && self.state.now.since(since) < self.policy.boot_timeout;
            // One of those that carry its signature is the node, as far as anybody knows.
            let one_is = signed.is_some_and(|server| server.node() == Some(self.id));
            return match self.server {
                None if self.cloud_known => Phase::Gone,
                _ => Phase::Unsigned {
                    counts: twice || one_is || self.state.age() < self.policy.boot_timeout,
                },
            };
        }
        match self.server {
            Some(server) => self.of_server(server),
            None if !self.cloud_known => self.of_unknown_cloud(),
            None if self.memory.delete.intended.is_some() => Phase::Gone,
            None if self.memory.listed => Phase::Vanished,
            None if self.age() >= self.policy.intent_grace || self.is_abandoned() => Phase::Lapsed,
            None => Phase::Requested,
        }
    }

    fn age(&self) -> Duration {
        self.state.now.since(self.memory.started)
    }

    /// The tick that sent its create was killed, and no request of that tick can be under way any more. The time counts from
    /// the first tick that found it so: when the other one was killed nobody knows.
    fn is_abandoned(&self) -> bool {
        let most = self.policy.request_timeout.saturating_add(LIST_DELAY);
        let abandoned = self.memory.abandoned;
        abandoned.is_some_and(|since| self.state.now.since(since) >= most)
    }

    fn hears(&self) -> bool {
        let pool = &self.observation.pool;
        let machine = self.memory.join.machine.as_deref();
        hearing(pool, self.policy).is_some() && !hidden(pool, machine, self.server)
    }

    fn fresh_startd(&self) -> Option<&StartdView> {
        self.found
            .startd()
            .filter(|startd| is_fresh(startd, self.policy))
    }

    fn of_unknown_cloud(&self) -> Phase {
        if self.memory.delete.intended.is_some() {
            return Phase::Deleting {
                ours: true,
                again: false,
            };
        }
        match self.fresh_startd() {
            Some(startd) => self.of_startd(startd),
            None if self.memory.join.joined.is_some() => self.silence(self.policy.lost_timeout),
            None if self.memory.other_condor_host.is_some() => Phase::Untrusted,
            // What should have come by now is no capacity; it exists, as far as anybody knows.
            None if self.age() >= self.policy.boot_timeout => Phase::Unheard,
            None if self.memory.server_id.is_none() => Phase::Requested,
            None => Phase::Booting,
        }
    }

    fn of_server(&self, server: &OwnedServer) -> Phase {
        let status = server.record().status;
        if server.record().deleting || self.memory.delete.accepted.is_some() {
            let overdue = self
                .memory
                .delete
                .accepted
                .is_some_and(|at| self.state.now.since(at) >= self.policy.delete_timeout);
            // A host that could not destroy the server leaves it in ERROR, and a new delete works.
            let asked = self.memory.delete.accepted.or(self.memory.delete.intended);
            let failed = status == ServerStatus::Error
                && !server.record().deleting
                && asked.is_none_or(|at| self.state.now.since(at) >= MINUTE);
            let ours = self.memory.delete.intended.is_some();
            // It may have taken a job since: another node can hide it from the collector, and not from the schedd.
            let again =
                ours && (overdue || failed) && !lists_job(&self.observation.pool, self.memory);
            return if again && self.memory.join.joined.is_some() {
                self.of_undeleted(status)
            } else {
                Phase::Deleting { ours, again }
            };
        }
        match self.fresh_startd() {
            // Its last ad may be a minute old and says nothing of that.
            _ if server.record().is_put_aside() => Phase::Inactive,
            None if status == ServerStatus::Other => Phase::Inactive,
            Some(_) if status == ServerStatus::Shutoff => Phase::Stopped {
                without_job: false,
                silent: false,
            },
            Some(startd) => self.of_startd(startd),
            None if self.memory.join.joined.is_some() => self.of_silent(status),
            None => self.of_unjoined(server),
        }
    }

    /// A node of the pool whose delete was accepted and is not done: it may have taken a job since, so it is asked for
    /// again only when it is drained, or lost. No jobs are counted on it.
    fn of_undeleted(&self, status: ServerStatus) -> Phase {
        let Some(startd) = self.fresh_startd() else {
            return self.of_silent(status);
        };
        match self.of_startd(startd) {
            Phase::Draining { ours, complete } => Phase::Deleting {
                ours: true,
                again: ours && complete,
            },
            Phase::Busy => Phase::Deleting {
                ours: true,
                again: false,
            },
            _ => Phase::Closed,
        }
    }

    fn of_startd(&self, startd: &StartdView) -> Phase {
        if let Match::Contested(..) = self.found {
            return match startd.draining {
                Some(_) => Phase::Draining {
                    ours: false,
                    complete: false,
                },
                None => Phase::Busy,
            };
        }
        if let Some(drain) = &startd.draining {
            let ours = drain.reason.starts_with(&drain_mark(&self.policy.cluster));
            // An ad from before the drain was taken back does not say that it is drained. The collector may have got it
            // late; in the end the drain is still there because it was not taken back after all.
            let believed = self.memory.drain.returned.is_none_or(|returned| {
                let since = self.state.now.since(returned);
                let same = self.memory.drain.cancelled.as_ref() == Some(&drain.request_id);
                since > startd.heard_ago && (!same || since >= self.policy.lost_timeout)
            });
            // Schedds are asked about nodes that were there a tick before.
            let asked = self
                .memory
                .join
                .joined
                .is_some_and(|joined| joined < self.state.now);
            return Phase::Draining {
                ours,
                complete: drain.complete
                    && startd.claims() == 0
                    && believed
                    && asked
                    && !lists_job(&self.observation.pool, self.memory)
                    && !self.was_contradicted(),
            };
        }
        if startd.claims() == 0 && self.has_accepted_drain() {
            return Phase::Draining {
                ours: true,
                complete: false,
            };
        }
        match startd.idle_for() {
            None => Phase::Busy,
            Some(_) if !startd.slots.iter().any(|slot| slot.accepts_jobs) => Phase::Closed,
            Some(idle_for) => Phase::Idle {
                idle_for: self.idle_for(idle_for),
            },
        }
    }

    /// Its startd has accepted a drain, and the ad may not say so yet.
    fn has_accepted_drain(&self) -> bool {
        let accepted = self.memory.drain.accepted;
        accepted.is_some_and(|at| self.state.now.since(at) < MINUTE)
    }

    /// Since the last change of its claims that was seen, unless its startd says that it is newer by more than `RECORD_DELAY`.
    fn idle_for(&self, startd_says: Duration) -> Duration {
        let seen = self.unchanged_for();
        if seen < startd_says.saturating_add(RECORD_DELAY) {
            seen
        } else {
            startd_says
        }
    }

    /// A schedd has listed a job on it in its present drain: the ad may be somebody else's, and the next job may begin at any
    /// moment. No job for that long, and there is no demand that would run there.
    fn was_contradicted(&self) -> bool {
        let contradicted = self.memory.drain.contradicted;
        contradicted.is_some_and(|at| self.state.now.since(at) < self.policy.lost_job_timeout)
    }

    /// For how long no change of its claims has been seen. With the end of its last claim a startd says at once that it
    /// has none, but since when only with its next update: until then it says when that claim came. And one whose first ad
    /// came late had been idle before the negotiator could match a job with it. Of one that was adopted nobody knows when
    /// that was.
    fn unchanged_for(&self) -> Duration {
        let joined = self.memory.join.joined.filter(|_| !self.memory.adopted);
        let changed = self.memory.claims.changed.max(joined);
        changed.map_or(Duration::MAX, |at| self.state.now.since(at))
    }

    fn of_silent(&self, status: ServerStatus) -> Phase {
        match status {
            // Nova itself says that it does not run: no need to wait, unless a job may be on it.
            ServerStatus::Shutoff if !self.hears() => Phase::Unheard,
            ServerStatus::Shutoff => Phase::Stopped {
                without_job: self.listed() == JobListed::No
                    || self.silent_for() >= self.policy.lost_job_timeout,
                silent: true,
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
        if self.token_is_over() {
            return self.unreachable();
        }
        let silent_for = self.silent_for();
        let job = self.job();
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

    fn token_is_over(&self) -> bool {
        self.server
            .and_then(OwnedServer::token_left)
            .is_some_and(|left| left.is_zero())
    }

    /// Silent, with a token that is over: that says nothing about its jobs.
    fn unreachable(&self) -> Phase {
        let memory = self.memory;
        let listed = node_listed(&self.observation.pool, memory);
        let not_asked =
            memory.join.machine.is_none() || memory.claims.claimed && !memory.silence.job_listed;
        let job = match listed {
            JobListed::Yes => JobLeft::Listed,
            JobListed::Unknown => JobLeft::Unknown,
            JobListed::No if not_asked && !self.policy.trust_silence => JobLeft::NotAsked,
            JobListed::No => JobLeft::None,
        };
        Phase::Unreachable {
            silent_for: self.silent_for(),
            job,
            unlisted_for: memory
                .silence
                .unlisted
                .map_or(Duration::ZERO, |since| self.state.now.since(since)),
        }
    }

    fn of_unjoined(&self, server: &OwnedServer) -> Phase {
        // It will not come here: nobody need wait for it to be overdue.
        if self.memory.other_condor_host.is_some() {
            return Phase::Untrusted;
        }
        // Only the time counts in which it would have been heard.
        let overdue = self.hears() && self.silent_for() >= self.policy.boot_timeout;
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
        // It runs a job: whoever takes its ads away hides it from the collector, and not from the schedd.
        if lists_job(&self.observation.pool, self.memory) {
            return Phase::Silent {
                silent_for: self.age(),
                job: JobListed::Yes,
            };
        }
        if !self.memory.adopted {
            return Phase::Failed { fault };
        }
        if self.state.adopted_trusted < Some(self.memory.started) {
            return Phase::Untrusted;
        }
        if self.hears() && self.token_is_over() {
            return self.unreachable();
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

    /// For how long a collector that hears has not heard of it: for no longer than it runs, whatever the state remembers.
    fn silent_for(&self) -> Duration {
        let remembered = self.memory.silence.silent;
        let remembered = remembered.map_or(Duration::ZERO, |since| self.state.now.since(since));
        let collector = self.observation.pool.collector.known();
        collector.map_or(remembered, |collector| remembered.min(collector.up_for))
    }

    /// What the schedds that are asked say.
    fn listed(&self) -> JobListed {
        match node_listed(&self.observation.pool, self.memory) {
            JobListed::No if self.memory.join.machine.is_none() => JobListed::Unknown,
            said => said,
        }
    }

    /// The same, but for a node that had a claim when it was last heard of, and whose job none of these schedds has
    /// listed since: it may be another schedd's.
    fn job(&self) -> JobListed {
        match self.listed() {
            JobListed::No if self.memory.claims.claimed && !self.memory.silence.job_listed => {
                JobListed::Unknown
            }
            said => said,
        }
    }
}
