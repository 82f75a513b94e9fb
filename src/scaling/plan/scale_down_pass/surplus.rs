//! Surplus nodes: idle for `idle_timeout`, above nodes_spare and nodes_min. The longest idle is drained first, then the most
//! expensive, then the oldest.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Drain, Rule, Verdict};
use crate::budget::BudgetSpent;
use crate::money::Money;
use crate::node::{Node, Phase};
use crate::pace::MINUTE;
use crate::plan::planner::{NodePlan, Planner, Standing};
use crate::reason::Reason;
use crate::seconds::{Seconds, seconds};

/// So long before the end of a paid period a node is drained: its drain, two ticks and its delete are done by then.
pub(in crate::plan) const LEAVING: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(super) struct Surplus {
    nodes_spare: u64,
    surplus: u64,
    /// How many may go now or later without falling below nodes_min.
    may_go: u64,
    looked_at: u64,
    some_leave: bool,
}

impl Rule for Surplus {
    fn name(&self) -> &'static str {
        "not needed"
    }

    fn begin(&mut self, planner: &mut Planner<'_>) {
        let Standing { alive, unneeded } = planner.standing();
        self.nodes_spare = planner.spare(alive, unneeded);
        let kept = planner.nodes_where(|node| node.is_kept_by_operator() && node.is_unneeded());
        let others = unneeded.saturating_sub(kept.len() as u64);
        self.surplus = unneeded.saturating_sub(self.nodes_spare).min(others);
        self.may_go = alive.saturating_sub(planner.policy.nodes_min);
    }

    fn order(&self, planner: &Planner<'_>) -> Vec<usize> {
        let mut idle: Vec<(Duration, usize)> = Vec::new();
        for index in planner.unclaimed.iter().copied() {
            let node = planner.node(index);
            if let Phase::Idle { idle_for } = node.phase
                && node.jobs == 0
                && !node.is_decided()
            {
                idle.push((idle_for, index));
            }
        }
        // Of nodes that became idle in the same minute, the most expensive comes first.
        idle.sort_by_cached_key(|(idle_for, index)| {
            (
                Reverse(idle_for.as_secs() / 60),
                Reverse(planner.price_of(planner.node(*index))),
                Reverse(*idle_for),
                *index,
            )
        });
        idle.into_iter().map(|(_, index)| index).collect()
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let Phase::Idle { idle_for } = node.phase else {
            return None;
        };
        self.looked_at += 1;
        if self.looked_at > self.surplus {
            return Some(Verdict::Keep(planner.spare_reason(self.nodes_spare)));
        }
        let nodes_min = planner.policy.nodes_min;
        if self.may_go == 0 {
            return Some(Verdict::Keep(Reason::Minimum { nodes_min }));
        }
        let idle_seconds = seconds(idle_for);
        let idle_timeout = planner.idle_timeout(&node.node_type().cloud);
        if !planner.has_reached(idle_for, idle_timeout, self.some_leave) {
            self.may_go -= 1;
            return Some(Verdict::Keep(Reason::IdleNotLongEnough {
                idle_seconds,
                idle_timeout_seconds: seconds(idle_timeout),
            }));
        }
        if let Some(paid_seconds_left) = planner.paid_for(node, idle_for) {
            self.may_go -= 1;
            return Some(Verdict::Keep(Reason::Paid {
                idle_seconds,
                paid_seconds_left,
            }));
        }
        let words = format!("idle {} s, {}", idle_for.as_secs(), self.name());
        let why = Reason::DrainSurplus {
            idle_seconds,
            surplus: self.surplus,
            nodes_spare: self.nodes_spare,
        };
        Some(Verdict::Drain(Drain::new(idle_for, words, why)))
    }

    fn drained(&mut self, _: &mut Planner<'_>, _: usize) {
        self.may_go -= 1;
        self.some_leave = true;
    }
}

impl Planner<'_> {
    /// Whether a node has been idle for `timeout`, or will have been before the middle of the time until the next pass: half of
    /// the nodes would leave a whole pass late otherwise, by the jitter of a timer. Nodes whose time comes before the next
    /// pass leave together with others.
    fn has_reached(&self, idle_for: Duration, timeout: Duration, some_leave: bool) -> bool {
        let since_previous = self.next.now.since(self.next.previous);
        let next_pass = self.policy.look_again.unwrap_or(since_previous.min(MINUTE));
        let early = match (self.policy.look_again, some_leave) {
            (Some(next_pass), true) => next_pass,
            _ => next_pass / 2,
        };
        idle_for + early.min(timeout / 4) >= timeout
    }

    pub(in crate::plan) fn price_of(&self, node: &Node<'_>) -> Option<Money> {
        self.policy
            .cloud(&node.node_type().cloud)?
            .price(&node.node_type().flavor)
    }

    /// The idle timeout of a surplus node: zero when a budget is spent.
    fn idle_timeout(&self, cloud: &str) -> Duration {
        let of_it = |spent: &BudgetSpent| spent.cloud.as_deref().is_none_or(|name| name == cloud);
        if self.budgets_spent.iter().any(of_it) {
            Duration::ZERO
        } else {
            self.policy.idle_timeout
        }
    }

    /// Where a started period is paid: for how many seconds yet the node is paid for, until shortly before the end of that
    /// time. It is kept for no longer than one period.
    fn paid_for(&self, node: &Node<'_>, idle_for: Duration) -> Option<Seconds> {
        let cloud = self.policy.cloud(&node.node_type().cloud)?;
        let period = cloud.billing_period?;
        let age = node.server?.record().age;
        let used = age.as_millis().checked_rem(period.as_millis())?;
        let used = Duration::from_millis(u64::try_from(used).ok()?);
        let left = period.saturating_sub(used);
        let end = self.idle_timeout(&cloud.name) + period;
        let waits = left > LEAVING && idle_for + LEAVING < end;
        waits.then_some(seconds(left))
    }
}
