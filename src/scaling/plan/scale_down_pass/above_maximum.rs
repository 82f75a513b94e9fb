//! Idle nodes above a lowered nodes_max: drained at once, even while jobs wait. No job is ended.

use super::{Drain, Rule, Verdict, longest_idle, runs};
use crate::node::Phase;
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;

#[derive(Default)]
pub(super) struct AboveMaximum {
    above: u64,
}

impl Rule for AboveMaximum {
    fn name(&self) -> &'static str {
        "above nodes_max"
    }

    fn begin(&mut self, planner: &mut Planner<'_>) {
        // Those that an operator has requested to drain go first.
        let leaving = planner.nodes_where(|node| node.retires() && node.stays());
        let most = planner
            .policy
            .nodes_max
            .saturating_add(leaving.len() as u64);
        self.above = planner.standing().alive.saturating_sub(most);
    }

    fn order(&self, planner: &Planner<'_>) -> Vec<usize> {
        match self.above {
            0 => Vec::new(),
            _ => longest_idle(planner, |node| {
                node.cloud_known && runs(node) && !node.retires()
            }),
        }
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let Phase::Idle { idle_for } = node.phase else {
            return None;
        };
        let words = format!("idle {} s, {}", idle_for.as_secs(), self.name());
        let why = Reason::DrainAboveMaximum {
            idle_seconds: seconds(idle_for),
            nodes_max: planner.policy.nodes_max,
        };
        (self.above > 0).then(|| Verdict::Drain(Drain::new(idle_for, words, why)))
    }

    fn insists(&self) -> bool {
        false
    }

    fn drained(&mut self, _: &mut Planner<'_>, _: usize) {
        self.above -= 1;
    }
}
