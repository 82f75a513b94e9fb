//! Nodes that an earlier tick has drained: what a drained node is deleted by.

use super::{Delete, Rule, Verdict};
use crate::node::Phase;
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;

pub(super) struct Drained;

impl Rule for Drained {
    fn name(&self) -> &'static str {
        "drained"
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let drained = Phase::Draining {
            ours: true,
            complete: true,
        };
        let idle_since = node.memory.drain.idle_since;
        let why = Reason::Drained {
            idle_seconds: idle_since.map(|since| planner.since(Some(since))),
        };
        (node.phase == drained).then_some(Verdict::Delete(Delete::new(why)))
    }
}
