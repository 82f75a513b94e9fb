//! The plan of an ehos beside a central manager that is not active: nothing is done, and all that is observed is remembered.
//!
//! The state stays warm: nodes that the active ehos creates are adopted, their joins, failures and costs count, and nodes
//! that it deletes are forgotten. So a take-over begins with the timers of this host, and with the money that was spent.

use super::planner::Planner;
use crate::reason::Reason;

impl Planner<'_> {
    /// Places demand into what there is, and forgets what is gone, without an action.
    pub(super) fn stand_by(&mut self) {
        self.place_demand();
        self.forget();
        // Ads of nodes that are gone: the active ehos invalidates them.
        self.actions.all.clear();
        for group in self.groups.iter_mut().filter(|group| group.left > 0) {
            group.why.push(Reason::Standby { jobs: group.left });
        }
    }
}
