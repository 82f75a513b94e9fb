//! Floating IPs that clouds give to nodes: disassociated with `purge_floating_ips`, for nodes need none.

use std::collections::BTreeMap;

use super::leftovers::answered;
use super::planner::Planner;
use super::{Action, FloatingIpEntry, NodeDecision};
use crate::action::CloudAction;
use crate::observation::NodeId;
use crate::reason::Reason;

impl Planner<'_> {
    /// Takes them off, as many as `max_actions` leaves after all else. One look is enough: nothing is released, and
    /// whether a floating IP leads to a node is no matter of time. A node of another central manager keeps its own.
    pub(super) fn take_off_floating_ips(&mut self) {
        if !self.policy.purge_floating_ips {
            return;
        }
        // Each once, by id: two entries of the configuration may be one project.
        let mut all = BTreeMap::new();
        for (cloud, view) in answered(self.observation) {
            let leftovers = view.leftovers.known();
            for ip in leftovers.iter().flat_map(|found| &found.of_nodes) {
                all.entry(ip.id()).or_insert((cloud, ip));
            }
        }
        for (cloud, ip) in all.into_values() {
            let server = ip.server();
            // The port is deleted with its server, which disassociates the floating IP.
            let goes = server.record().deleting || self.deletes(server.id());
            if goes
                || self.policy.other_condor_host(server).is_some()
                || self.is_unsigned(server.id())
            {
                continue;
            }
            let own = || NodeId(server.id().into());
            let node = server.node().cloned().unwrap_or_else(own);
            let (decision, why) = if self.actions.changes_left() == 0 {
                (NodeDecision::Keep, self.actions.used_up())
            } else {
                let action = CloudAction::Disassociate {
                    node: node.clone(),
                    floating_ip: ip.clone(),
                };
                self.actions.ask_cloud(cloud, action);
                (NodeDecision::Disassociate, Reason::FloatingIpOfNode)
            };
            self.floating_ips.push(FloatingIpEntry {
                id: ip.id().to_owned(),
                address: ip.address().to_owned(),
                cloud: cloud.clone(),
                node,
                server: server.id().to_owned(),
                decision,
                why,
            });
        }
    }

    /// Whether that server may be a forgery.
    fn is_unsigned(&self, id: &str) -> bool {
        let mut nodes = self.next.nodes.values();
        // One that no memory has is none of the nodes.
        nodes
            .find(|memory| memory.server_id.as_deref() == Some(id))
            .is_none_or(|memory| memory.unsigned.is_some())
    }

    /// Whether this plan deletes that server.
    fn deletes(&self, id: &str) -> bool {
        self.actions.all.iter().any(|action| match action {
            Action::Cloud {
                action: CloudAction::Delete { server, .. },
                ..
            } => server.id() == id,
            _ => false,
        })
    }
}
