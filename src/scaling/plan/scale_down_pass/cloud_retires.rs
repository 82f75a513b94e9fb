//! Nodes of clouds with `retire`: all idle ones go at once, and what runs a job runs on.

use super::{Drain, Rule, Verdict, unclaimed_for};
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;

pub(super) struct CloudRetires;

impl Rule for CloudRetires {
    fn name(&self) -> &'static str {
        "its cloud retires"
    }

    fn wants(&mut self, _: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let idle_for = unclaimed_for(node).filter(|_| node.cloud_retires)?;
        let idle_seconds = seconds(idle_for);
        let words = format!("{}, idle {} s", self.name(), idle_for.as_secs());
        let why = Reason::DrainCloudRetires { idle_seconds };
        Some(Verdict::Drain(Drain::new(idle_for, words, why)))
    }
}
