//! Nodes that are given up: silent for too long, unreachable without a job, or switched off.

use super::{Delete, Rule, Verdict};
use crate::node::{JobLeft, Phase};
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;

pub(super) struct Lost;

impl Rule for Lost {
    fn name(&self) -> &'static str {
        "lost"
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let why = match &node.phase {
            Phase::Lost { silent_for } => Reason::Lost {
                silent_seconds: seconds(*silent_for),
            },
            Phase::Unreachable {
                silent_for,
                job: JobLeft::None,
                unlisted_for,
            } if *unlisted_for >= planner.policy.lost_job_timeout => {
                Reason::UnreachableWithoutJob {
                    silent_seconds: seconds(*silent_for),
                    unlisted_seconds: seconds(*unlisted_for),
                }
            }
            Phase::Stopped {
                without_job: true, ..
            } => Reason::StoppedInCloud,
            _ => return None,
        };
        Some(Verdict::Delete(Delete::new(why)))
    }
}
