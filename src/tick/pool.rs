//! What the tick asks of an HTCondor pool: the whole of it, so that the real one and the simulated one are alike.

#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use scaling::action::{Done, Failure, PoolAction, StartdIdentity};
use scaling::first_seen::ClusterMarks;
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches};
use scaling::observation::{PoolView, StartdView};
use system::deadline::Deadline;

/// The nodes whose startds have been seen: their machines (`Machine`) and the UUIDs of their servers. For those that the
/// collector has not heard of lately, each schedd is asked whether it lists running jobs there. So it is for nodes whose
/// servers are gone, while one may.
pub type Machines = BTreeSet<(String, String)>;

/// What earlier ticks know, and an observation goes by.
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
    /// Startds first, then queues, so that a job which starts in between delays a node and never buys one.
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
