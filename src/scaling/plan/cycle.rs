//! A negotiation cycle for nodes that have joined since the last one, where jobs wait for them.

use std::time::Duration;

use super::{Action, Planner};
use crate::scaling::action::PoolAction;
use crate::scaling::node::{Node, Phase};

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
        let nodes = self.survey.nodes.iter().enumerate();
        let mut unmet = nodes.filter(|(index, node)| {
            self.needed(*index) && !self.settled(*index) && has_joined_within(node, since_cycle)
        });
        if let Some((_, node)) = unmet.next() {
            let node = node.id.clone();
            self.actions
                .push(Action::Pool(PoolAction::Reschedule { node }));
        }
    }
}

/// Whether its startd has been up for no longer than this, and is free.
fn has_joined_within(node: &Node<'_>, time: Duration) -> bool {
    matches!(node.phase, Phase::Idle { .. })
        && node.startd.is_some_and(|startd| startd.up_for <= time)
}
