//! The time at which the next pass has something to do, if that is before the next minute.

use std::time::Duration;

use super::NodeDecision;
use super::planner::{NodePlan, Planner};
use super::scale_down_pass::LEAVING;
use crate::brakes::Brake;
use crate::node::Phase;
use crate::reason::Reason;

/// After this time ehos looks again for a drain that was accepted and that no ad shows yet.
pub const NEXT_DRAIN_LOOK: Duration = Duration::from_secs(5);

/// A pass begins so long before what it is for: the planner takes what is nearer than half its distance as reached.
const LEAD: Duration = Duration::from_secs(2);

/// A node that boots joins no sooner.
const FIRST_BOOT_LOOK: Duration = Duration::from_secs(10);

/// A negotiator that begins a cycle so often serves a node that has joined sooner than a pass could ask for one.
const SHORT_PERIOD: Duration = Duration::from_secs(20);

impl Planner<'_> {
    /// How long it takes until the first of: a surplus node reaches `idle_timeout`, a drain that was accepted is seen, a node that jobs wait for may have joined, the collector has been up for `collector_grace`.
    pub(super) fn look_again(&self) -> Option<Duration> {
        if self.standby.is_some() {
            return None;
        }
        let nodes = self.nodes.iter();
        let of_nodes = nodes.filter_map(|node| self.node_changes_in(node));
        let new = self.new_nodes.first().map(|_| FIRST_BOOT_LOOK);
        let new = new.filter(|_| self.is_worth_a_cycle());
        let brakes = self.brakes.iter().filter_map(|brake| match brake {
            Brake::CollectorYoung {
                up_seconds,
                collector_grace_seconds,
                ..
            } => Duration::from(*collector_grace_seconds).checked_sub((*up_seconds).into()),
            _ => None,
        });
        of_nodes.chain(new).chain(brakes).min()
    }

    /// Whether nodes that join would wait for the negotiator.
    fn is_worth_a_cycle(&self) -> bool {
        let collector = self.observation.pool.collector.known();
        let period = collector.and_then(|collector| collector.negotiation_period);
        self.policy.drains() && period.is_none_or(|period| period > SHORT_PERIOD)
    }

    fn node_changes_in(&self, node: &NodePlan<'_>) -> Option<Duration> {
        match node.decision.as_deref() {
            Some((
                NodeDecision::Keep,
                Reason::IdleNotLongEnough {
                    idle_seconds,
                    idle_timeout_seconds,
                },
            )) => Some(
                Duration::from(*idle_timeout_seconds)
                    .saturating_sub((*idle_seconds).into())
                    .saturating_sub(LEAD),
            ),
            Some((
                NodeDecision::Keep,
                Reason::Paid {
                    paid_seconds_left, ..
                },
            )) => Some(Duration::from(*paid_seconds_left).saturating_sub(LEAVING)),
            // Its ad does not say yet that it drains.
            None if !node.alive()
                && matches!(node.phase, Phase::Draining { ours: true, .. })
                && node.startd.is_some_and(|startd| startd.draining.is_none()) =>
            {
                Some(NEXT_DRAIN_LOOK)
            }
            None if node.coming() && node.jobs > 0 && self.is_worth_a_cycle() => {
                let age = self.next.now.since(node.memory.started);
                // A boot of minutes is looked at less often than one of seconds.
                Some(FIRST_BOOT_LOOK.max(age / 4))
            }
            _ => None,
        }
    }
}
