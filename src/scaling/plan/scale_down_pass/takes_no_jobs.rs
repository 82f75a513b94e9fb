//! Nodes with START False: drained after `idle_timeout` if they ran a job, after `boot_timeout` if they never did. The latter
//! is a failure of their node type.

use std::time::Duration;

use super::{Drain, Rule, Verdict};
use crate::failure_tracking::Cause;
use crate::node::{Node, Phase};
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;

pub(super) struct TakesNoJobs;

impl Rule for TakesNoJobs {
    fn name(&self) -> &'static str {
        "takes no jobs"
    }

    fn begin(&mut self, planner: &mut Planner<'_>) {
        for index in planner.unclaimed.clone() {
            let node = planner.node(index);
            let memory = &node.memory;
            // One that was adopted may have taken jobs for all its life, which is over.
            if node.is_decided() || memory.join.proven || memory.adopted || memory.failed {
                continue;
            }
            let Some((_, why)) = planner.takes_no_jobs(node) else {
                continue;
            };
            let (node_type, asked_for) = (node.node_type().clone(), memory.started);
            planner.remember(index, |memory| memory.failed = true);
            let why = why.to_string();
            planner
                .next
                .count_failure(&node_type, asked_for, &why, Cause::Boot, planner.policy);
        }
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let (idle_for, why) = planner.takes_no_jobs(node)?;
        let words = format!("{}, no claim for {} s", self.name(), idle_for.as_secs());
        let mut drain = Drain::new(idle_for, words, why);
        drain.runs = false;
        Some(Verdict::Drain(drain))
    }

    fn keeps_drained(&self, planner: &Planner<'_>, node: &Node<'_>) -> bool {
        planner.is_drained_by(node, self.name())
    }
}

impl Planner<'_> {
    /// For how long it has had no claim, and what is said of it.
    fn takes_no_jobs(&self, node: &Node<'_>) -> Option<(Duration, Reason)> {
        if node.phase != Phase::StartFalse || !node.cloud_known {
            return None;
        }
        let patience = match node.memory.join.proven {
            true => self.policy.idle_timeout,
            false => self.policy.boot_timeout,
        };
        let idle_for = node.startd.and_then(|startd| startd.idle_for())?;
        let idle_for = idle_for.min(node.unchanged_for);
        let why = Reason::DrainTakesNoJobs {
            idle_seconds: seconds(idle_for),
            closed_seconds: self.since(node.memory.join.closed),
        };
        (idle_for >= patience).then_some((idle_for, why))
    }
}
