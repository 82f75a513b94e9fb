//! The interface to a cloud. The real and the simulated cloud implement it.

#![warn(missing_docs)]

use scaling::action::{CloudAction, Done, Failure};
use scaling::console::ConsoleExcerpt;
use scaling::observation::{CloudView, OwnedServer, ServerRecord};
use system::deadline::Deadline;

pub use scaling::leftover::LeftoverQuery;

/// One OpenStack project in one region, or something that behaves like one.
pub trait Cloud: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// The servers that are ours, the quota and the flavors: whole, or an error. And what the servers of `traces` have left
    /// behind, which may be unknown for itself.
    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure>;

    /// One server, whosever it is, as it is at this moment; `None`: gone.
    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure>;

    /// Puts the end of a failed server's console into the log, and returns what it says of the cause. `None`: it cannot be
    /// had.
    fn keep_console(&self, _server: &OwnedServer, _deadline: Deadline) -> Option<ConsoleExcerpt> {
        None
    }

    /// Performs one action. A create has an effect once at most; the kind of a failure shows whether it took effect.
    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure>;
}
