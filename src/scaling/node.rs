//! A node and its phase, from its server, its startd and its state.
//!
//! Silent: no update for three of the node's own update intervals. A node that is late again and
//! again is silent only while its ad is older than its usual lateness.
//!
//! Idle since the first ad without a claim that the collector received, never for longer than ehos
//! has known the node, unless ehos adopted it.
//!
//! Stopped or in ERROR, and no schedd lists a job: lost at once. With a claim in the last
//! ad, and no schedd that lists the job: `lost_job_timeout`, for a schedd that is not queried may run
//! it.
//!
//! A node within `token_renew_before` of its token's expiry serves no demand and counts neither for
//! nodes_min nor nodes_spare. The expiry must be observed for an hour before, for ages may be of
//! this machine's clock.

mod facts;

use std::time::Duration;

use serde::Serialize;

use super::maintenance::Requests;
use super::observation::{
    CollectorView, NodeId, Observed, OwnedServer, PoolView, ScheddView, ServerStatus, StartdView,
};
use super::policy::{CloudPolicy, Policy};
use super::shared_text::SharedText;
use super::state::{Expiry, NodeState, NodeType, Shared};

pub(crate) use facts::{Facts, StateFacts, TypeFacts};

/// What `DrainReason` begins with when the drain is this pool's ehos's.
pub fn drain_mark(cluster: &str) -> String {
    format!("ehos {cluster}:")
}

/// The words behind the mark in a `DrainReason`, if the drain is this pool's ehos's.
pub(crate) fn after_mark<'r>(reason: &'r str, cluster: &str) -> Option<&'r str> {
    let words = reason.strip_prefix("ehos ")?.strip_prefix(cluster)?;
    words.strip_prefix(':')
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
    StartFalse,
    /// Draining or drained.
    Draining {
        /// The drain's reason is this pool's.
        ours: bool,
        /// Every slot drained and idle.
        complete: bool,
    },
    /// Joined, but silent: offers no slots from the first stale minute on.
    Silent {
        /// For how long.
        silent_for: Duration,
        /// Whether a schedd lists a running job on it.
        job: JobListed,
    },
    /// It has joined, and the collector cannot say.
    Unobserved,
    /// Nova reports PAUSED, SHELVED and the like, or the node is silent with a status that ehos does not know: it offers no
    /// slots, and ehos does not touch it while Nova reports so.
    Inactive,
    /// Nova SHUTOFF.
    Stopped {
        /// Certainly without a job.
        without_job: bool,
        /// Its startd is silent.
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
    DeletedExternally,
    /// An intent without a server for longer than `intent_grace`, or for longer than a request takes after its tick was killed.
    IntentExpired,
    /// Startd and server disagree about who they are.
    IdentityMismatch {
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
    /// Adopted, and created for another pool; or overdue while no adopted node has ever joined this pool.
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

/// Whether a job may still run on an unreachable node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobLeft {
    /// A schedd lists one.
    Listed,
    /// A schedd that may have one does not answer.
    Unknown,
    /// The last ad had a claim, or that is unknown, and no queried schedd has listed a job since: the job may belong to
    /// another schedd.
    NotAsked,
    /// All answered, none lists one.
    None,
}

/// The number of a node type among those of all nodes, in the order of the nodes.
pub type NodeTypeNumber = usize;

/// A node with all that is known of it.
#[derive(Debug)]
pub struct Node<'a> {
    pub id: NodeId,
    /// The number of its type.
    pub type_number: NodeTypeNumber,
    /// What is remembered of it, with what this observation shows.
    pub memory: Shared<NodeState>,
    /// Its server, when its cloud lists it.
    pub server: Option<&'a OwnedServer>,
    /// Its startd, when the collector has an ad of it, fresh or stale.
    pub startd: Option<&'a StartdView>,
    /// Another startd says that it is this node, and nothing shows which of both is: ehos drains and deletes nothing.
    pub contested: Option<&'a StartdView>,
    /// Its ads come from its own identity alone.
    pub own_identity: bool,
    /// Its claims, by a fresh ad.
    pub claims: u64,
    /// Its cloud answered.
    pub cloud_known: bool,
    /// For how long no change of its claims has been seen: no slot has been as it is for longer.
    pub unchanged_for: Duration,
    /// What its age says.
    pub expiry: Expiry,
    /// The place of its cloud in the policy.
    pub place: Option<usize>,
    /// It says that it was made of another image than the configured one.
    pub other_image: bool,
    /// Its cloud is to be removed from the configuration.
    pub cloud_retires: bool,
    /// The requests of operators that have not ended.
    pub requests: Requests,
    /// Where it is in its life.
    pub phase: Phase,
}

impl Node<'_> {
    /// Its server's name.
    pub fn name(&self) -> &SharedText {
        &self.memory.name
    }

    /// The policy of its cloud.
    pub(crate) fn cloud<'p>(&self, policy: &'p Policy) -> Option<&'p CloudPolicy> {
        policy.clouds.get(self.place?)
    }

    /// What it is made of.
    pub fn node_type(&self) -> &NodeType {
        &self.memory.node_type
    }

    /// Whether a server of it exists, or may exist: what nodes_max counts.
    pub fn exists(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Gone | Phase::IntentExpired | Phase::Unsigned { counts: false }
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
        self.is_replaced() || self.requests.drain.is_some()
    }

    /// Whether it counts no more, so that another node takes its place where one is needed.
    pub fn is_replaced(&self) -> bool {
        let Requests {
            keep,
            drain,
            delete,
        } = &self.requests;
        let ends = self.expiry.retires() || self.cloud_retires;
        let replace = drain.as_ref().is_some_and(|drain| drain.replace);
        keep.is_none() && (ends || replace || delete.is_some())
    }

    /// Whether an operator keeps it: ehos neither drains nor deletes it.
    pub fn is_kept_by_operator(&self) -> bool {
        self.requests.keep.is_some()
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
    is_fresh_within(startd, policy.update_interval)
}

/// The same, where one that does not say how often it reports does so every `update_interval`.
pub fn is_fresh_within(startd: &StartdView, update_interval: Duration) -> bool {
    startd.heard_ago
        <= startd
            .update_interval
            .unwrap_or(update_interval)
            .saturating_mul(3)
}

/// Whether its server exists but is silent for longer than a reboot: [`Phase::Inactive`].
pub(super) fn is_held(server: &OwnedServer) -> bool {
    let record = server.record();
    record.is_put_aside() || record.status == ServerStatus::Other
}

/// The collector, if it answers and has run long enough for every startd to have reported.
pub fn mature_collector<'a>(pool: &'a PoolView, policy: &Policy) -> Option<&'a CollectorView> {
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
    if pool.schedds.values().filter_map(Observed::known).any(lists) {
        JobListed::Yes
    } else if pool.schedds.is_empty() || schedds.any(|schedd| !schedd.is_known()) {
        JobListed::Unknown
    } else {
        JobListed::No
    }
}

/// Whether a schedd lists a running job on a node, under any name that its startd has had, or that of its server. What the
/// startd says then is no leave to delete.
pub fn lists_job(pool: &PoolView, memory: &NodeState) -> bool {
    node_listed(pool, memory) == JobListed::Yes
}

/// The same, with what is not known. Where the machine is not known, no schedd lists a job on it but by the server's name.
pub(super) fn node_listed(pool: &PoolView, memory: &NodeState) -> JobListed {
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
