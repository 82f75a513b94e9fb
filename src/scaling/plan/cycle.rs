//! Requests a negotiation cycle for nodes that have joined since the last one, while jobs wait for them.

use std::time::Duration;

use super::planner::{NodePlan, Planner};
use crate::action::PoolAction;

impl Planner<'_> {
    /// Asks the negotiator for a cycle: no ad of a startd makes it begin one before its interval is over. It takes the right
    /// that drains take (ADMINISTRATOR).
    pub(super) fn ask_for_cycle(&mut self) {
        let Some(collector) = self.observation.pool.collector.known() else {
            return;
        };
        if !self.policy.drains() {
            return;
        }
        let since_cycle = collector
            .cycle_began
            .unwrap_or(self.policy.negotiation_cycle);
        let mut nodes = self.nodes.iter();
        let unmet = nodes.find(|node| {
            node.jobs > 0 && !node.is_decided() && has_joined_within(node, since_cycle)
        });
        if let Some(node) = unmet.map(|node| node.id.clone()) {
            self.actions.ask_pool(PoolAction::Reschedule { node });
        }
    }
}

/// Whether its startd has been up for no longer than this, and is free.
fn has_joined_within(node: &NodePlan<'_>, time: Duration) -> bool {
    node.is_idle() && node.startd.is_some_and(|startd| startd.up_for <= time)
}
