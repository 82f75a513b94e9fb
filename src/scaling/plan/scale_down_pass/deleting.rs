//! Deletes of servers: sends them, and repeats those that did not complete.

use super::{Delete, Rule, Verdict};
use crate::action::{CloudAction, Expected, StartdIdentity};
use crate::machine_names::MachineNames;
use crate::node::{Node, Phase, is_fresh};
use crate::observation::{NodeId, Observed, StartdView};
use crate::plan::NodeDecision;
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;

/// A delete was accepted a while ago, and the server is still there.
pub(super) struct NotDeletedYet;

impl Rule for NotDeletedYet {
    fn name(&self) -> &'static str {
        "not deleted yet"
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        if !matches!(node.phase, Phase::Deleting { again: true, .. }) {
            return None;
        }
        let mut delete = Delete::new(Reason::DeleteAgain {
            seconds: planner.since(node.memory.delete.accepted),
        });
        delete.without_job = !node.memory.silence.job_listed;
        Some(Verdict::Delete(delete))
    }
}

impl Planner<'_> {
    /// Deletes what was chosen, as much as `max_actions` leaves after the creates.
    pub(in crate::plan) fn delete_nodes(&mut self) {
        let now = self.next.now;
        for (index, why) in std::mem::take(&mut self.removals) {
            if self.actions.changes_left() == 0 {
                self.decide(index, NodeDecision::Keep, self.actions.used_up());
                continue;
            }
            let node = self.node(index);
            let Some(server) = node.server else { continue };
            let again = node.memory.delete.intended.is_some();
            let action = CloudAction::Delete {
                node: node.id.clone(),
                server: server.clone(),
                expects: match why {
                    Reason::ForcefulExpiration { .. } => Expected::Overdue,
                    Reason::DeleteRequested { .. } => Expected::Requested,
                    _ => self.expected(node),
                },
                startd: self.startd_identity(node),
                keep_console: !again && matches!(node.phase, Phase::Failed { .. }),
                again,
            };
            let cloud = node.node_type().cloud.clone();
            self.actions.ask_cloud(&cloud, action);
            self.remember(index, |memory| {
                memory.delete.intended = Some(now);
                memory.delete.accepted = None;
            });
            self.decide(index, NodeDecision::Delete, why);
        }
    }

    /// What a delete of this node, in its present phase, is for.
    fn expected(&self, node: &Node<'_>) -> Expected {
        let heard = node.startd.filter(|startd| is_fresh(startd, self.policy));
        let silent = node.memory.silence.silent;
        let long = |since| self.next.now.since(since) >= self.policy.lost_job_timeout;
        match heard.and_then(|startd| startd.draining.clone()) {
            Some(drain) => Expected::Drained(drain),
            None if node.memory.join.joined.is_none() => Expected::NeverJoined {
                schedds_known: self.knows_every_schedd(),
            },
            None => Expected::Silent {
                update_interval: self.policy.update_interval,
                long: silent.is_some_and(long),
            },
        }
    }

    fn knows_every_schedd(&self) -> bool {
        let schedds = &self.observation.pool.schedds;
        schedds.values().all(Observed::is_known)
    }

    /// How a last look finds the startd of a node.
    pub(super) fn startd_identity(&self, node: &Node<'_>) -> StartdIdentity {
        let memory = &node.memory;
        let named = node.server.and_then(|server| server.node());
        let addresses = node.server.map(|server| server.record().addresses.clone());
        let own = node.startd.map(|startd| startd.machine.clone());
        StartdIdentity {
            server_id: memory.server_id.clone(),
            node: named.unwrap_or(&node.id).clone(),
            shares_node: named.is_some_and(|named| *named != node.id),
            machine: memory.join.machine.clone(),
            own_ads: own.filter(|machine| !self.has_namesake(&node.id, machine)),
            address: memory.join.address.clone(),
            former: memory.join.former.clone(),
            own_identity: node.own_identity,
            addresses: addresses.unwrap_or_default(),
            update_interval: self.policy.update_interval,
        }
    }

    /// Whether the collector has an ad of another machine that is called like that of this node.
    pub(in crate::plan) fn has_namesake(&self, id: &NodeId, machine: &str) -> bool {
        let departed = self.next.departed.get(id);
        let departed = departed.and_then(|departed| departed.server_id.as_deref());
        let memory = self.next.nodes.get(id);
        let server = memory.and_then(|memory| memory.server_id.as_deref());
        let server = server.or(departed);
        let is_it = |startd: &StartdView| match (startd.instance_id.as_deref(), server) {
            (Some(says), Some(server)) => says == server,
            _ => startd.node.as_ref() == Some(id),
        };
        let names = self.machine_names.get_or_init(|| {
            let collector = self.observation.pool.collector.known();
            MachineNames::new(collector.map_or(&[], |collector| &collector.startds))
        });
        names.named(machine).any(|startd| !is_it(startd))
    }
}
