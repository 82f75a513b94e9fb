//! Nodes that are older than `max_lifetime`, which are replaced, and nodes above a nodes_max that has become smaller: they go
//! when they are idle. Only `max_lifetime_kill` ends a job.

use std::cmp::Reverse;
use std::time::Duration;

use super::removing::runs;
use super::{Fate, Planner, phase_name};
use crate::scaling::node::{Node, Phase, drain_mark};
use crate::scaling::policy::retires_after;
use crate::scaling::reason::{Reason, seconds, spoken};

/// What the reason of such a drain begins with, after the pool's mark: the startd keeps it, whatever becomes of the
/// state.
const OUTLIVED: &str = "older than max_lifetime,";

impl Planner<'_> {
    fn lifetimes(&self, node: &Node<'_>) -> (u64, u64) {
        let age = node.server.map(|server| server.record().age);
        let most = self.policy.max_lifetime(&node.kind.cloud);
        (
            seconds(age.unwrap_or_default()),
            seconds(most.unwrap_or_default()),
        )
    }

    /// Whether it takes no jobs because its time has come: its startd and its server's age say the same.
    fn retired(&self, node: &Node<'_>) -> bool {
        let most = self.policy.max_lifetime(&node.kind.cloud);
        let named = node.server.and_then(|server| server.node());
        let after = most.map(|most| retires_after(most, named.unwrap_or(&node.id)));
        let age = node.server.map(|server| server.record().age);
        node.phase == Phase::Closed && after.is_some_and(|after| age >= Some(after))
    }

    /// Drains the idle nodes that are older than `max_lifetime`: a part of the pool at a time, but those at once that take
    /// no jobs any more. Such a node serves no demand, and counts for neither nodes_min nor nodes_spare.
    pub(super) fn drain_outlived(&mut self) {
        if !self.policy.drains() {
            return;
        }
        let mut may_leave = self.may_leave();
        for index in self.nodes_where(|node| node.outlived || self.retired(node)) {
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let idle_for = match node.phase {
                Phase::Idle { idle_for } => idle_for,
                Phase::Closed => {
                    let idle_for = node.startd.and_then(|startd| startd.idle_for());
                    idle_for.unwrap_or_default().min(node.unchanged_for)
                }
                _ => continue,
            };
            if self.settled(index) {
                continue;
            }
            let closed = node.phase == Phase::Closed;
            let (age_seconds, max_lifetime_seconds) = self.lifetimes(node);
            let kept = if !node.cloud_known || !runs(node) {
                self.not_drained(node)
            } else if let Some(brake) = self.removal_brake(false) {
                Reason::Braked { brake }
            } else if self.drains >= self.policy.max_actions {
                Reason::MaxActions {
                    max_actions: self.policy.max_actions,
                }
            } else if may_leave == 0 && !closed {
                Reason::OutlivedWaits {
                    age_seconds,
                    max_lifetime_seconds,
                }
            } else {
                let closed_seconds = closed.then(|| self.closed_seconds(node));
                let why = Reason::DrainOutlived {
                    idle_seconds: seconds(idle_for),
                    closed_seconds,
                    age_seconds,
                    max_lifetime_seconds,
                };
                let reason = match closed_seconds {
                    Some(closed) => format!("{OUTLIVED} takes no jobs for {closed} s"),
                    None => format!("{OUTLIVED} idle {} s", seconds(idle_for)),
                };
                if self.drain(index, idle_for, &reason, why) {
                    may_leave = may_leave.saturating_sub(u64::from(!closed));
                    continue;
                }
                Reason::NoSlot
            };
            self.settle(index, Fate::Keeps, kept);
        }
    }

    /// Whether a drain of ours was begun for the node's age: it would be again.
    pub(super) fn leaves_for_its_age(&self, node: &Node<'_>) -> bool {
        let mark = format!("{} {OUTLIVED}", drain_mark(&self.policy.cluster));
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        let configured = self.policy.max_lifetime(&node.kind.cloud).is_some();
        configured && drain.is_some_and(|drain| drain.reason.starts_with(&mark))
    }

    /// Why a node with jobs on it is to be deleted all the same: it is older than `max_lifetime` and `max_lifetime_kill`.
    pub(super) fn overdue(&self, node: &Node<'_>) -> Option<Reason> {
        let there = matches!(
            node.phase,
            Phase::Busy | Phase::Idle { .. } | Phase::Closed | Phase::Draining { .. }
        );
        let memory = self.next.nodes.get(&node.id);
        let accepted = memory.and_then(|memory| memory.delete_accepted);
        let undone = matches!(node.phase, Phase::Deleting { ours: true, .. })
            && accepted.is_some_and(|at| self.next.now.since(at) >= self.policy.delete_timeout);
        if !node.overdue || !(there || undone) {
            return None;
        }
        let (age_seconds, max_lifetime_seconds) = self.lifetimes(node);
        let claims = node.startd.map_or(0, |startd| startd.claims());
        // Without a claim it is drained, as any other.
        (claims > 0).then_some(Reason::KilledForItsAge {
            age_seconds,
            max_lifetime_seconds,
            claims,
        })
    }

    /// Where nodes_max has become smaller: idle nodes above it go at once, though jobs wait. No job is ended.
    pub(super) fn drain_above_nodes_max(&mut self) {
        let nodes_max = self.policy.nodes_max;
        let mut above = self.alive().saturating_sub(nodes_max);
        if above == 0 || !self.policy.drains() || self.removal_brake(false).is_some() {
            return;
        }
        let mut idle: Vec<(Reverse<Duration>, usize)> = Vec::new();
        for (index, node) in self.survey.nodes.iter().enumerate() {
            if let Phase::Idle { idle_for } = node.phase
                && !self.settled(index)
                && node.cloud_known
                && runs(node)
                && !node.retires()
            {
                idle.push((Reverse(idle_for), index));
            }
        }
        idle.sort_unstable();
        for (Reverse(idle_for), index) in idle {
            if above == 0 || self.drains >= self.policy.max_actions {
                return;
            }
            let why = Reason::DrainAboveMaximum {
                idle_seconds: seconds(idle_for),
                nodes_max,
            };
            let reason = format!("idle {} s, above nodes_max", seconds(idle_for));
            above -= u64::from(self.drain(index, idle_for, &reason, why));
        }
    }

    /// How many there are, for an operator; those whose jobs are ended first.
    pub(super) fn outlived(&self) -> Vec<String> {
        let mut told = Vec::new();
        for (index, node) in self.survey.nodes.iter().enumerate() {
            if let Some((Fate::Deletes, why @ Reason::KilledForItsAge { .. })) =
                self.fates.get(index).and_then(Option::as_ref)
            {
                told.push(format!("{}: {why}", node.name));
            }
        }
        let nodes = self.survey.nodes.iter();
        let old: Vec<&Node<'_>> = nodes
            .filter(|node| node.outlived && node.exists())
            .filter(|node| !matches!(node.phase, Phase::Deleting { .. }))
            .collect();
        let age = |node: &&&Node<'_>| node.server.map(|server| server.record().age);
        if let Some(oldest) = old.iter().max_by_key(age) {
            let (age_seconds, _) = self.lifetimes(oldest);
            told.push(format!(
                "nodes that are older than max_lifetime: {}, the oldest is {} ({}, {}); each is replaced when it is idle",
                old.len(),
                oldest.name,
                phase_name(&oldest.phase).as_str(),
                spoken(age_seconds),
            ));
        }
        told
    }
}
