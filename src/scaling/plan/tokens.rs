//! Nodes whose tokens end: replaced while they can still be told to drain. A node whose token has ended stays in the pool
//! until the collector restarts, and then it cannot come back.

use super::removing::runs;
use super::{Planner, phase_name};
use crate::scaling::node::Phase;
use crate::scaling::reason::{Reason, seconds, spoken};

impl Planner<'_> {
    /// Drains the idle nodes whose tokens end within `token_margin`, at once: they serve no demand any more, and count for
    /// neither nodes_min nor nodes_spare.
    pub(super) fn drain_ending_tokens(&mut self) {
        // Where nodes end by themselves these do so, too: no demand is kept for them.
        if !self.policy.drains() {
            return;
        }
        for index in self.nodes_where(|node| node.token_ends) {
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let Phase::Idle { idle_for } = node.phase else {
                continue;
            };
            let left = seconds(node.token_left().unwrap_or_default());
            let kept = if !runs(node) {
                self.not_drained(node)
            } else if let Some(brake) = self.removal_brake(false) {
                Reason::Braked { brake }
            } else if self.drains >= self.policy.max_actions {
                Reason::MaxActions {
                    max_actions: self.policy.max_actions,
                }
            } else {
                let why = Reason::DrainTokenEnds {
                    idle_seconds: seconds(idle_for),
                    token_left_seconds: left,
                };
                if self.drain(index, idle_for, "its token ends", why) {
                    continue;
                }
                Reason::NoSlot
            };
            self.settle(index, super::Fate::Keeps, kept);
        }
    }

    /// How many there are, for an operator.
    pub(super) fn ending_tokens(&self) -> Option<String> {
        let margin = spoken(seconds(self.policy.token_margin));
        let nodes = self.survey.nodes.iter();
        let ending = nodes
            .filter(|node| node.token_ends && node.exists())
            .filter(|node| !matches!(node.phase, Phase::Deleting { .. }));
        let all: Vec<_> = ending.collect();
        let first = all.first()?;
        Some(format!(
            "nodes whose tokens end within {margin}, or have ended: {}, the oldest is {} ({}); each is replaced when it \
             is idle",
            all.len(),
            first.name,
            phase_name(&first.phase).as_str(),
        ))
    }
}
