//! Nodes whose servers are deleted: forgotten, with their ads invalidated.

use super::NodeDecision;
use super::planner::{NodePlan, Planner};
use crate::action::PoolAction;
use crate::node::{Phase, is_fresh};
use crate::pace::MINUTE;
use crate::reason::Reason;

impl Planner<'_> {
    /// Forgets nodes whose servers are gone, and takes their ads out of the collector.
    pub(super) fn forget(&mut self) {
        let stale_ads = self.survey.stale_ads.iter();
        let stale_ads = stale_ads.map(|(id, startd)| (id.clone(), startd.machine.clone()));
        let mut stale_ads: Vec<_> = stale_ads.collect();
        for index in self.ending.clone() {
            let node = self.node(index);
            let Some(why) = self.gone(node) else { continue };
            let id = node.id.clone();
            stale_ads.extend(
                node.startd
                    .map(|startd| (id.clone(), startd.machine.clone())),
            );
            self.next.bury(&id);
            self.decide(index, NodeDecision::Forget, why);
        }
        let departed = &self.next.departed;
        let open = |(id, machine): &(_, String)| {
            departed.get(id).is_some_and(|departed| !departed.invalidated)
                // Ads are taken out by the name of their machine: not those of another that has the same name.
                && !self.has_namesake(id, machine)
        };
        let most = usize::try_from(self.policy.max_actions).unwrap_or(usize::MAX);
        let open: Vec<_> = stale_ads.into_iter().filter(open).take(most).collect();
        for (node, machine) in open {
            self.actions
                .ask_pool(PoolAction::Invalidate { node, machine });
        }
    }

    /// Why a node is to be forgotten.
    fn gone(&self, node: &NodePlan<'_>) -> Option<Reason> {
        match node.phase {
            Phase::Gone => Some(Reason::ServerGone),
            Phase::DeletedExternally => self.is_missing(node).then_some(Reason::GoneFromCloud),
            Phase::IntentExpired => Some(Reason::IntentLapsed {
                seconds: self.since(Some(node.memory.started)),
            }),
            _ => None,
        }
    }

    /// A list can be incomplete while a cell of the cloud is down: the server must be missing twice, not with many others,
    /// and be silent.
    fn is_missing(&self, node: &NodePlan<'_>) -> bool {
        let Some(missing) = node.memory.missing else {
            return false;
        };
        let missing_for = self.next.now.since(missing);
        let heard = node
            .startd
            .is_some_and(|startd| is_fresh(startd, self.policy));
        (missing_for >= MINUTE && !self.many_vanished() && !heard)
            || missing_for >= self.policy.lost_timeout
    }
}
