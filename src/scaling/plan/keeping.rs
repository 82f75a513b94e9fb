//! The reason of each kept node.

use super::planner::{NodePlan, Planner};
use super::status_word;
use crate::node::{JobLeft, JobListed, Node, Phase, job_listed};
use crate::observation::Observed;
use crate::reason::{Reason, Unheard};
use crate::seconds::{Seconds, seconds};

impl Planner<'_> {
    /// Why; `spare` is said of those that are idle.
    pub(super) fn kept_because(&self, node: &NodePlan<'_>, spare: &Reason) -> Reason {
        let age = self.since(Some(node.memory.started));
        if let Some((other, startd)) = node.contested.zip(node.startd) {
            return Reason::Contested {
                first: startd.called(),
                second: other.called(),
            };
        }
        if let Some(keep) = node.requests.keep.as_deref()
            && self.would_go(node)
        {
            return keep.into();
        }
        match &node.phase {
            Phase::Requested => Reason::Requested { seconds: age },
            Phase::Building => Reason::Building { seconds: age },
            Phase::Booting if !node.cloud_known => Reason::CloudUnknown,
            Phase::Booting => Reason::Booting {
                seconds: age,
                boot_timeout_seconds: seconds(self.policy.boot_timeout),
            },
            Phase::Busy => busy(node),
            Phase::Idle { .. } if node.jobs > 0 => Reason::NeededByDemand { jobs: node.jobs },
            Phase::Idle { idle_for } if !self.policy.drains() => Reason::SelfShutdown {
                idle_seconds: seconds(*idle_for),
                idle_timeout_seconds: seconds(self.policy.idle_timeout),
            },
            Phase::Idle { .. } if !node.cloud_known => Reason::CloudUnknown,
            Phase::Idle { .. } => spare.clone(),
            Phase::StartFalse => Reason::TakesNoJobs {
                closed_seconds: self.since(node.memory.join.closed),
            },
            Phase::Draining { .. } => self.draining(node),
            Phase::Silent { .. } => self.silent(node),
            Phase::Unobserved => Reason::Unheard {
                cause: self.unheard(node, age),
            },
            Phase::Inactive => Reason::Inactive {
                status: status_word(node),
                job: self.listed_job(node),
            },
            Phase::Unreachable {
                silent_for,
                job,
                unlisted_for,
            } => Reason::Unreachable {
                silent_seconds: seconds(*silent_for),
                unlisted_seconds: seconds(*unlisted_for),
                lost_job_timeout_seconds: seconds(self.policy.lost_job_timeout),
                job_left: *job,
            },
            Phase::Stopped { silent, .. } => Reason::Stopped {
                silent: *silent,
                job: self.listed_job(node),
            },
            Phase::Deleting { ours: true, .. } => Reason::DeleteUnderWay {
                seconds: self.since(node.memory.delete.accepted.or(node.memory.delete.intended)),
            },
            Phase::Deleting { .. } => Reason::DeletedByOther,
            Phase::DeletedExternally | Phase::Gone => Reason::GoneFromCloud,
            Phase::IntentExpired => Reason::IntentLapsed { seconds: age },
            Phase::IdentityMismatch { instance_id, node } => Reason::Contradiction {
                says_instance_id: instance_id.clone(),
                says_node: node.clone(),
            },
            Phase::Unsigned { counts } => Reason::Unsigned { counts: *counts },
            Phase::Untrusted => self.untrusted(node, age),
            Phase::Failed { .. } | Phase::Lost { .. } if !node.cloud_known => Reason::CloudUnknown,
            Phase::Failed { .. } | Phase::Lost { .. } if self.standby.is_some() => {
                Reason::StandbyKeeps
            }
            Phase::Failed { .. } | Phase::Lost { .. } => self.actions.used_up(),
        }
    }

    /// Whether nothing but its keep holds a node that an operator keeps.
    fn would_go(&self, node: &NodePlan<'_>) -> bool {
        node.cloud_known
            && match &node.phase {
                Phase::Idle { .. } => node.jobs == 0,
                Phase::Failed { .. }
                | Phase::Lost { .. }
                | Phase::StartFalse
                | Phase::Draining { ours: true, .. } => true,
                Phase::Unreachable { job, .. } => *job == JobLeft::None,
                Phase::Stopped { without_job, .. } => *without_job,
                _ => false,
            }
    }

    fn draining(&self, node: &Node<'_>) -> Reason {
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        match node.phase {
            Phase::Draining { ours: false, .. } => {
                return Reason::DrainedByOther {
                    drain_reason: drain.map(|drain| drain.reason.clone()).unwrap_or_default(),
                };
            }
            Phase::Draining { complete: true, .. } if !node.cloud_known => {
                return Reason::CloudUnknown;
            }
            _ => {}
        }
        if let Some(machine) = self.drained_with_job(node) {
            return Reason::DrainedWithJob { machine };
        }
        match node.memory.drain.contradicted {
            Some(at) if drain.is_some_and(|drain| drain.complete) => Reason::DrainContradicted {
                unlisted_seconds: self.since(Some(at)),
                lost_job_timeout_seconds: seconds(self.policy.lost_job_timeout),
            },
            _ => Reason::DrainNotComplete,
        }
    }

    /// The name under which a schedd lists a running job on a node whose startd says that it is drained.
    fn drained_with_job(&self, node: &Node<'_>) -> Option<String> {
        let startd = node.startd?;
        let drained = startd.draining.as_ref().is_some_and(|drain| drain.complete);
        let pool = &self.observation.pool;
        let memory = &node.memory;
        let mut machines = memory.join.machines().chain([memory.name.as_str()]);
        let listed = machines.find(|machine| job_listed(pool, machine) == JobListed::Yes);
        listed
            .filter(|_| drained && startd.claims() == 0)
            .map(str::to_owned)
    }

    fn silent(&self, node: &Node<'_>) -> Reason {
        let Phase::Silent { silent_for, job } = node.phase else {
            return Reason::CloudUnknown;
        };
        let silent_seconds = seconds(silent_for);
        let lost_job_timeout_seconds = seconds(self.policy.lost_job_timeout);
        let job_listed = job == JobListed::Yes;
        match job {
            _ if node.memory.join.joined.is_none() => Reason::SilentAdopted {
                silent_seconds,
                lost_job_timeout_seconds,
            },
            JobListed::Unknown => Reason::SilentOnUnknownSchedd {
                silent_seconds,
                lost_job_timeout_seconds,
                schedd: self.unknown_schedd(),
            },
            JobListed::Yes | JobListed::No => Reason::Silent {
                silent_seconds,
                lost_timeout_seconds: match job_listed {
                    true => lost_job_timeout_seconds,
                    false => seconds(self.policy.lost_timeout),
                },
                job_listed,
            },
        }
    }

    /// A schedd that does not answer.
    fn unknown_schedd(&self) -> Option<String> {
        let mut schedds = self.observation.pool.schedds.iter();
        let unknown = schedds.find(|(_, schedd)| !schedd.is_known());
        unknown.map(|(name, _)| name.clone())
    }

    /// Why nothing is known of a node.
    fn unheard(&self, node: &Node<'_>, age: Seconds) -> Unheard {
        match &self.observation.pool.collector {
            _ if !node.cloud_known && node.memory.join.joined.is_none() => {
                Unheard::CloudUnknown { seconds: age }
            }
            Observed::Unknown(_) => Unheard::CollectorUnknown,
            Observed::Known(collector) => Unheard::CollectorYoung {
                up_seconds: seconds(collector.up_for),
                collector_grace_seconds: seconds(self.policy.collector_grace),
            },
        }
    }

    /// Whether a schedd lists a running job on a node.
    fn listed_job(&self, node: &Node<'_>) -> JobListed {
        let machine = node.memory.join.machine.as_deref();
        machine.map_or(JobListed::Unknown, |machine| {
            job_listed(&self.observation.pool, machine)
        })
    }

    fn untrusted(&self, node: &Node<'_>, age: Seconds) -> Reason {
        match (&node.memory.other_condor_host, &self.policy.condor_host) {
            (Some(host), Some(ours)) => Reason::AnotherCondorHost {
                condor_host: host.clone(),
                configured_condor_host: ours.clone(),
            },
            _ => Reason::AdoptedUntrusted { seconds: age },
        }
    }
}

fn busy(node: &Node<'_>) -> Reason {
    let cpus = node
        .startd
        .map(|startd| (startd.total().cpus, startd.free().cpus));
    let (total_cpus, free) = cpus.unwrap_or_default();
    Reason::Busy {
        claimed_cpus: total_cpus.saturating_sub(free),
        total_cpus,
    }
}
