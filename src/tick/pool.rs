//! The interface to an HTCondor pool. The real and the simulated pool implement it.

#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use serde::Serialize;

use scaling::action::{Done, Failure, FailureKind, PoolAction, StartdIdentity};
use scaling::first_seen::ClusterMarks;
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches};
use scaling::observation::{PoolView, StartdView};
use system::deadline::Deadline;

/// The nodes that have joined: their machines (`Machine`) and the UUIDs of their servers. For silent ones, each schedd is
/// queried for running jobs there, and for nodes whose servers are deleted while a job may remain.
pub type Machines = BTreeSet<(String, String)>;

/// A running job, as an operator is told of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct JobThere {
    /// The schedd that lists it.
    pub schedd: String,
    /// `ClusterId.ProcId`.
    pub id: String,
    /// `Owner`, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The machine where it runs; absent if that cannot be read: it may run on any of those in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Running jobs: the first of them, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsThere {
    /// The first of them.
    pub jobs: Vec<JobThere>,
    /// The number of all.
    pub total: usize,
}

impl JobsThere {
    /// Counts a job, and keeps it if less than `max` are kept.
    pub fn add(&mut self, job: JobThere, max: usize) {
        self.total = self.total.saturating_add(1);
        if self.jobs.len() < max {
            self.jobs.push(job);
        }
    }

    /// Adds those of another schedd.
    pub fn extend(&mut self, other: JobsThere) {
        self.total = self.total.saturating_add(other.total);
        self.jobs.extend(other.jobs);
    }
}

impl From<Vec<JobThere>> for JobsThere {
    fn from(jobs: Vec<JobThere>) -> JobsThere {
        let total = jobs.len();
        JobsThere { jobs, total }
    }
}

/// Knowledge of earlier ticks that an observation needs.
#[derive(Debug, Clone, Default)]
pub struct TrackedMachines {
    /// Nodes that may have fallen silent.
    pub machines: Machines,
    /// The newest clusters that were idle on each schedd.
    pub clusters: BTreeMap<String, ClusterMarks>,
    /// The time of the observation.
    pub at: Timestamp,
}

impl FromIterator<(String, String)> for TrackedMachines {
    /// Of these machines, without any earlier tick.
    fn from_iter<T: IntoIterator<Item = (String, String)>>(machines: T) -> TrackedMachines {
        TrackedMachines {
            machines: machines.into_iter().collect(),
            ..TrackedMachines::default()
        }
    }
}

/// An HTCondor pool, or something that behaves like one.
pub trait Pool: Sync {
    /// Startds first, then queues, so that a job which starts in between delays a create and never causes one.
    /// Each source that does not answer is [`scaling::observation::Observed::Unknown`] in the view.
    fn observe(&self, watch: &TrackedMachines, deadline: Deadline) -> PoolView;

    /// The startds that this may be, as the collector knows them at this moment: of the machine, the server and the node
    /// it names (several can share a host name). None is an answer.
    fn look(&self, startd: &StartdIdentity, deadline: Deadline)
    -> Result<Vec<StartdView>, Failure>;

    /// How the startd at `address` (its `MyAddress`) is, as it says itself: claims, drain, and which server it is on. One
    /// startd, or several where its ads contradict each other; an ad that cannot be read counts as a claimed slot.
    ///
    /// # Errors
    /// It is not reached before the deadline, refuses to say, or its answer cannot be read: nothing is known then.
    fn ask(&self, address: &str, deadline: Deadline) -> Result<Vec<StartdView>, Failure>;

    /// Whether a schedd lists a running job on this machine (a host name with or without its domain) at this moment.
    ///
    /// # Errors
    /// No schedd lists one, and a schedd does not answer.
    fn has_job_on(&self, machine: &str, deadline: Deadline) -> Result<bool, Failure>;

    /// The running jobs that a schedd lists on these machines (host names with or without their domain), for the operator who
    /// ends them. A job that cannot be read is in the list without its machine.
    ///
    /// # Errors
    /// A schedd does not answer, or the pool cannot say.
    fn jobs_on(
        &self,
        machines: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<JobsThere, Failure> {
        let _ = (machines, deadline);
        Err(Failure {
            kind: FailureKind::NotDone,
            message: "this pool does not list jobs by machine".to_owned(),
        })
    }

    /// Whether jobs that the last observation found would run on nodes of these kinds. What is not answered in time is
    /// unknown, or missing.
    fn matches(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        nodes: &[MatchTarget],
        deadline: Deadline,
    ) -> Matches;

    /// Does one thing.
    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure>;
}
