//! Cancels drains for demand: quicker and cheaper than a new server. Those of kept nodes, and those whose request was
//! withdrawn, are cancelled without it.

use super::NodeDecision;
use super::planner::{NodePlan, Planner};
use super::scale_down_pass::DRAIN_REQUESTED;
use crate::action::PoolAction;
use crate::brakes::Brake;
use crate::node::{Node, Phase};
use crate::reason::Reason;

impl Planner<'_> {
    /// Whether ehos may cancel a drain of the node. Without the right to drain it may not cancel either.
    pub(super) fn may_return(&self, node: &NodePlan<'_>) -> bool {
        self.policy.drains()
            && node.memory.delete.intended.is_none()
            && !node.retires()
            && !self.stays_drained(node)
            && !self.keeps_drained(node)
    }

    /// Whether an operator has requested the drain, and the request no more.
    fn is_withdrawn(&self, node: &Node<'_>) -> bool {
        node.requests.drain.is_none() && self.is_drained_by(node, DRAIN_REQUESTED)
    }

    /// Whether the cancel has been pending for so long that it fails: the node no longer counts as capacity.
    fn stays_drained(&self, node: &Node<'_>) -> bool {
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        let request_id = drain.map(|drain| &drain.request_id);
        let since = node.memory.drain.cancelled_since;
        request_id.is_some()
            && node.memory.drain.cancelled.as_ref() == request_id
            && since.is_some_and(|at| self.next.now.since(at) >= self.policy.delete_timeout)
    }

    /// Takes back the drains that demand, nodes_min or nodes_spare can use.
    pub(super) fn cancel_drains(&mut self) {
        if self.brakes.iter().any(Brake::hides_startds) {
            return;
        }
        let ours =
            self.ending_where(|node| matches!(node.phase, Phase::Draining { ours: true, .. }));
        let mut standing = self.standing();
        let nodes_spare = self.spare(standing.alive, standing.unneeded);
        let mut with_silent = self.with_silent(standing);
        let nodes_min = self.policy.nodes_min;
        let now = self.next.now;
        for index in ours {
            let node = self.node(index);
            let by_operator = node.is_kept_by_operator() || self.is_withdrawn(node);
            if !self.may_return(node) || standing.alive >= self.policy.nodes_max && !by_operator {
                continue;
            }
            let jobs = node.jobs;
            let why = if let Some(keep) = node.requests.keep.as_deref() {
                keep.into()
            } else if self.is_withdrawn(node) {
                Reason::DrainWithdrawn
            } else if jobs > 0 {
                Reason::DrainTakenBack { jobs }
            } else if with_silent.alive < nodes_min {
                Reason::Minimum { nodes_min }
            } else if with_silent.unneeded < nodes_spare {
                self.spare_reason(nodes_spare)
            } else {
                continue;
            };
            let drain = node.startd.and_then(|startd| {
                let slot = startd.slots.first()?.name.clone();
                Some((slot, startd.draining.as_ref()?.request_id.clone()))
            });
            let Some((slot, request_id)) = drain else {
                continue;
            };
            let action = PoolAction::CancelDrain {
                node: node.id.clone(),
                slot,
                request_id: request_id.clone(),
            };
            self.actions.ask_pool(action);
            self.remember(index, |memory| {
                memory.drain.returned = Some(now);
                memory.drain.accepted = None;
                if memory.drain.cancelled.replace(request_id.clone()) != Some(request_id) {
                    memory.drain.cancelled_since = Some(now);
                }
            });
            self.decide(index, NodeDecision::CancelDrain, why);
            standing.alive += 1;
            with_silent.alive += 1;
            with_silent.unneeded += u64::from(jobs == 0);
        }
    }
}
