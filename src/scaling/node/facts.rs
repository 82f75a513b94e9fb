//! Determines the phase of a node, from its server, its startd and its state.

use std::time::Duration;

use super::{
    JobLeft, JobListed, Node, NodeTypeNumber, Phase, after_mark, hidden, is_fresh, lists_job,
    mature_collector, node_listed,
};
use crate::maintenance::OperatorPause;
use crate::matching::Match;
use crate::observation::{NodeId, Observation, OwnedServer, ServerStatus, StartdView};
use crate::pace::MINUTE;
use crate::policy::{CloudPolicy, Policy};
use crate::retirement::requests_of;
use crate::state::{NodeState, NodeType, Shared, State, TickInstant};

/// The time for a server to show up in Nova's list once its create was answered.
const LIST_DELAY: Duration = Duration::from_secs(5);

/// A startd records the end of a claim so much later at most: its POLLING_INTERVAL (5 s), and whole seconds.
const RECORD_DELAY: Duration = Duration::from_secs(8);

/// All that a node's phase is decided by.
pub(crate) struct Facts<'a, 's> {
    pub(crate) id: &'s NodeId,
    pub(crate) observation: &'a Observation,
    pub(crate) policy: &'s Policy,
    pub(crate) state: &'s StateFacts,
    pub(crate) memory: &'s Shared<NodeState>,
    pub(crate) server: Option<&'a OwnedServer>,
    pub(crate) found: Match<'a>,
    pub(crate) cloud_known: bool,
}

/// What the state says of all nodes.
pub(crate) struct StateFacts {
    now: TickInstant,
    age: Duration,
    pub(crate) adopted_trusted: Option<TickInstant>,
    retirement: Option<OperatorPause>,
}

impl StateFacts {
    pub(crate) fn of(state: &State) -> StateFacts {
        StateFacts {
            now: state.now,
            age: state.age(),
            adopted_trusted: state.adopted_trusted,
            retirement: state.retirement().cloned(),
        }
    }
}

/// What the policy and the observation say of a node type.
pub(crate) struct TypeFacts<'p> {
    pub(crate) node_type: &'p NodeType,
    /// Its cloud has answered.
    pub(crate) cloud_known: bool,
    /// The place of its cloud in the policy.
    place: Option<usize>,
    cloud: Option<&'p CloudPolicy>,
    pub(crate) max_lifetime: Option<Duration>,
    /// It names another image than the configured one.
    other_image: bool,
}

impl<'p> TypeFacts<'p> {
    pub(crate) fn new(
        node_type: &'p NodeType,
        policy: &'p Policy,
        cloud_known: bool,
    ) -> TypeFacts<'p> {
        let NodeType { cloud, image, .. } = node_type;
        let place = policy.clouds.iter().position(|one| one.name == *cloud);
        let configured = place.and_then(|place| policy.clouds.get(place));
        TypeFacts {
            node_type,
            cloud_known,
            place,
            cloud: configured,
            max_lifetime: policy.max_lifetime(cloud),
            other_image: !image.is_empty()
                && configured.is_some_and(|configured| configured.image != *image),
        }
    }
}

impl<'a> Facts<'a, '_> {
    /// The node; `own_identity`: its ads come from its own identity alone.
    pub(crate) fn node(
        &self,
        type_number: NodeTypeNumber,
        node_type: &TypeFacts<'_>,
        own_identity: bool,
    ) -> Node<'a> {
        let (memory, policy, now) = (self.memory, self.policy, self.state.now);
        Node {
            id: self.id.clone(),
            type_number,
            memory: memory.clone(),
            server: self.server,
            startd: self.found.startd(),
            contested: match self.found {
                Match::Contested(_, other) => Some(other),
                _ => None,
            },
            own_identity,
            claims: self.fresh_startd().map_or(0, StartdView::claims),
            cloud_known: self.cloud_known,
            unchanged_for: self.unchanged_for(),
            expiry: memory.age.expiry(policy, node_type.max_lifetime, now),
            place: node_type.place,
            other_image: node_type.other_image,
            cloud_retires: node_type.cloud.is_some_and(|cloud| cloud.retire),
            requests: requests_of(memory, self.state.retirement.as_ref(), self.observation.at),
            phase: self.phase(),
        }
    }

    fn phase(&self) -> Phase {
        if let Match::Contradiction(startd) = self.found {
            return Phase::IdentityMismatch {
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
                    counts: twice || one_is || self.state.age < self.policy.boot_timeout,
                },
            };
        }
        match self.server {
            Some(server) => self.of_server(server),
            None if !self.cloud_known => self.of_unknown_cloud(),
            None if self.memory.delete.intended.is_some() => Phase::Gone,
            None if self.memory.listed => Phase::DeletedExternally,
            None if self.age() >= self.policy.intent_grace || self.is_abandoned() => {
                Phase::IntentExpired
            }
            None => Phase::Requested,
        }
    }

    fn age(&self) -> Duration {
        self.state.now.since(self.memory.started)
    }

    /// The tick that sent the create was killed, and none of its requests can still run. The time counts from the first tick
    /// that found it so, for the time of the kill is unknown.
    fn is_abandoned(&self) -> bool {
        let most = self.policy.request_timeout.saturating_add(LIST_DELAY);
        let abandoned = self.memory.abandoned;
        abandoned.is_some_and(|since| self.state.now.since(since) >= most)
    }

    fn hears(&self) -> bool {
        let pool = &self.observation.pool;
        let machine = self.memory.join.machine.as_deref();
        mature_collector(pool, self.policy).is_some() && !hidden(pool, machine, self.server)
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
            None if self.age() >= self.policy.boot_timeout => Phase::Unobserved,
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
            _ => Phase::StartFalse,
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
            let ours = after_mark(&drain.reason, &self.policy.cluster).is_some();
            // An ad from before the cancel does not show a drain. The collector may have received it late; after a while,
            // the drain is still there because the cancel failed.
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
            Some(_) if !startd.slots.iter().any(|slot| slot.accepts_jobs) => Phase::StartFalse,
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

    /// A schedd has listed a job on the node in its present drain: the ad may be forged, and the next job may start at any
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
            ServerStatus::Shutoff if !self.hears() => Phase::Unobserved,
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
            return Phase::Unobserved;
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
        // The node never joins this pool, so there is no wait.
        if self.memory.other_condor_host.is_some() {
            return Phase::Untrusted;
        }
        // Only time counts in which the collector would have received an update.
        let overdue = self.hears() && self.silent_for() >= self.policy.boot_timeout;
        let failed = match server.record().status {
            ServerStatus::Error => {
                let fault = server.record().fault.clone();
                Some(Some(fault.unwrap_or_else(|| {
                    "Nova reports ERROR without a fault message".to_owned()
                })))
            }
            ServerStatus::Shutoff if self.hears() => {
                Some(Some("server SHUTOFF before the node joined".to_owned()))
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
        // The node runs a job: hidden ads hide it from the collector, but not from the schedd.
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

    /// The time without an update in a mature collector, at most the uptime of that collector.
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

    /// The same for a node whose last ad had a claim, and whose job none of these schedds has listed since: the job may
    /// belong to another schedd.
    fn job(&self) -> JobListed {
        match self.listed() {
            JobListed::No if self.memory.claims.claimed && !self.memory.silence.job_listed => {
                JobListed::Unknown
            }
            said => said,
        }
    }
}
