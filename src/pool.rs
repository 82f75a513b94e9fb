//! What the tick asks of an HTCondor pool: the whole of it, so that the real one and the simulated one are alike.

use std::collections::BTreeSet;

use crate::deadline::Deadline;
use crate::scaling::action::{Done, Failure, PoolAction, StartdIdentity};
use crate::scaling::needs::{Candidate, JobKind, Matches};
use crate::scaling::observation::{PoolView, StartdView};

/// The nodes whose startds have been seen: their machines (`Machine`) and the UUIDs of their servers. For those that the
/// collector has not heard of lately, each schedd is asked whether it lists running jobs there. So it is for nodes whose
/// servers are gone, while one may.
pub type Watch = BTreeSet<(String, String)>;

/// An HTCondor pool, or something that behaves like one.
pub trait Pool: Sync {
    /// Startds first, then queues, so that a job which starts in between delays a node and never buys one.
    /// Each source that does not answer is [`crate::scaling::observation::Seen::Unknown`] in the view.
    fn observe(&self, watch: &Watch, deadline: Deadline) -> PoolView;

    /// The startds that this may be, as the collector knows them at this moment: of the machine, the server and the node
    /// it names (several can share a host name). None is an answer.
    fn look(&self, startd: &StartdIdentity, deadline: Deadline)
    -> Result<Vec<StartdView>, Failure>;

    /// Whether jobs that the last observation found would run on nodes of these kinds. What is not answered in time is
    /// unknown, or missing.
    fn matches(&self, jobs: &BTreeSet<JobKind>, nodes: &[Candidate], deadline: Deadline)
    -> Matches;

    /// Does one thing.
    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure>;
}
