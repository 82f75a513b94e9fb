//! Nodes that did not join: Nova reports ERROR, or `boot_timeout` has passed. Each counts once as a failure of its
//! type.

use super::{Delete, Rule, Verdict, may_be_deleted};
use crate::failure_tracking::{Cause, is_no_valid_host};
use crate::node::{Node, Phase};
use crate::observation::{Observed, ServerStatus};
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::refusal::{self, About};
use crate::secondary_quota;
use crate::state::NodeType;

pub(super) struct Failed;

impl Rule for Failed {
    fn name(&self) -> &'static str {
        "failed"
    }

    fn begin(&mut self, planner: &mut Planner<'_>) {
        for index in planner.ending.clone() {
            if may_be_deleted(planner.node(index)) {
                planner.count_failure(index);
            }
        }
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let Phase::Failed { fault } = &node.phase else {
            return None;
        };
        let mut delete = Delete::new(planner.failure(node)?);
        // Nova reports that the server does not run. A node that is only silent may run a job, for its ads may be hidden.
        // A schedd that has listed a job may have missed its end.
        delete.without_job = fault.is_some() && !node.memory.silence.job_listed;
        Some(Verdict::Delete(delete))
    }
}

impl Planner<'_> {
    fn failure(&self, node: &Node<'_>) -> Option<Reason> {
        let Phase::Failed { fault } = &node.phase else {
            return None;
        };
        let console = None;
        Some(match fault.clone() {
            Some(fault) => Reason::FailedInCloud { fault, console },
            None => Reason::NeverJoined {
                seconds: self.since(Some(node.memory.started)),
                console,
            },
        })
    }

    /// Each failed node counts once.
    fn count_failure(&mut self, index: usize) {
        let node = self.node(index);
        let Some(why) = self.failure(node).filter(|_| node.claims == 0) else {
            return;
        };
        if node.memory.failed {
            return;
        }
        let (node_type, zone, asked_for) = (
            node.node_type().clone(),
            node.memory.zone.clone(),
            node.memory.started,
        );
        let cause = self.cause(node);
        let why = why.to_string();
        self.remember(index, |memory| memory.failed = true);
        // Another zone is tried before the flavor waits.
        if let (Cause::Refused(About::Room | About::Zone), Some(zone)) = (cause, zone)
            && self
                .next
                .count_full_zone(&node_type, &zone, asked_for, &why, self.policy)
        {
            return;
        }
        self.next
            .count_failure(&node_type, asked_for, &why, cause, self.policy);
    }

    fn cause(&self, node: &Node<'_>) -> Cause {
        let in_error = |server: &crate::observation::OwnedServer| {
            server.record().status == ServerStatus::Error
        };
        match &node.phase {
            Phase::Failed { fault: Some(fault) } if node.server.is_some_and(in_error) => {
                let used_up = is_no_valid_host(fault) && self.used_up(node.node_type());
                Cause::Refused(match used_up {
                    true => About::Room,
                    false => refusal::of_fault(fault),
                })
            }
            // Or another startd advertises this node: its own ads may have been invalidated.
            _ if self.many_vanished()
                || self.survey.impostors.iter().any(|(id, _)| *id == node.id) =>
            {
                Cause::Unheard
            }
            _ => Cause::Boot,
        }
    }

    /// The cloud has no ports or volumes for another node, or may have no host that suits its server group: of servers that
    /// are made at once, Nova finds that out on the host alone.
    fn used_up(&self, node_type: &NodeType) -> bool {
        let view = self.observation.clouds.get(&node_type.cloud);
        let cloud = self.policy.cloud(&node_type.cloud);
        match (view.and_then(Observed::known), cloud) {
            (Some(view), Some(cloud)) => {
                cloud.hard_server_group || secondary_quota::used_up(&cloud.takes, view)
            }
            _ => false,
        }
    }
}
