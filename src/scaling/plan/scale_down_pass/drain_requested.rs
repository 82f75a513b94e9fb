//! Nodes that an operator has requested to drain: they serve no demand, and are drained once they are idle. Running jobs
//! continue. Those that are to be replaced wait for the share of the pool that may leave at a time.

use super::{Drain, Rule, Verdict, unclaimed_for};
use crate::node::{Node, Phase};
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;

pub(in crate::plan) const NAME: &str = "drain requested";

pub(super) struct DrainRequested;

impl Rule for DrainRequested {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wants(&mut self, _: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let request = node.requests.drain.as_ref()?;
        let idle_for = unclaimed_for(node)?;
        let words = format!("{NAME}, idle {} s", idle_for.as_secs());
        let by = request.by.clone();
        let why = Reason::DrainRequested {
            idle_seconds: seconds(idle_for),
            by: by.clone(),
        };
        let mut drain = Drain::new(idle_for, words, why);
        // One that takes no jobs is no capacity that another must replace first.
        drain.waits = request.replace && node.phase != Phase::StartFalse;
        drain.waiting = Some(Reason::DrainRequestWaiting { by });
        Some(Verdict::Drain(drain))
    }

    fn waits_for_share(&self) -> bool {
        true
    }

    fn replaces(&self, _: &Planner<'_>, node: &Node<'_>) -> bool {
        let request = node.requests.drain.as_ref();
        request.is_some_and(|request| request.replace)
    }

    fn keeps_drained(&self, _: &Planner<'_>, node: &Node<'_>) -> bool {
        node.requests.drain.is_some()
    }
}
