//! Expired nodes, older than `max_lifetime`: replaced once they are idle, a part of the pool at a time, and at once if they
//! accept no jobs. Only `max_lifetime_kill` ends a job.
//!
//! Each node stops taking jobs at a moment of its own in the last eighth of `max_lifetime`
//! (`{retire_at}` of its template): a drain with the check "no claim" cannot empty a node that
//! always has one. Its age must be observed for an hour, or an eighth of the limit if that is less.
//! The drain is not cancelled.

use super::{Delete, Drain, Rule, Verdict, unclaimed_for};
use crate::node::{Node, Phase};
use crate::plan::planner::{NodePlan, Planner};
use crate::plan::{NodeDecision, phase_name};
use crate::policy::retires_after;
use crate::reason::Reason;
use crate::seconds::{Seconds, seconds};

pub(super) struct Expired;

impl Rule for Expired {
    fn name(&self) -> &'static str {
        "older than max_lifetime"
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        if !node.expiry.expired && !planner.has_retired(node) {
            return None;
        }
        let idle_for = unclaimed_for(node)?;
        let closed = node.phase == Phase::StartFalse;
        let (age_seconds, max_lifetime_seconds) = planner.lifetimes(node);
        let closed_seconds = closed.then(|| planner.since(node.memory.join.closed));
        let words = match closed_seconds {
            Some(Seconds(closed)) => format!("{}, takes no jobs for {closed} s", self.name()),
            None => format!("{}, idle {} s", self.name(), idle_for.as_secs()),
        };
        let why = Reason::DrainExpired {
            idle_seconds: seconds(idle_for),
            closed_seconds,
            age_seconds,
            max_lifetime_seconds,
        };
        let mut drain = Drain::new(idle_for, words, why);
        drain.waits = !closed;
        drain.waiting = Some(Reason::ExpiredWaiting {
            age_seconds,
            max_lifetime_seconds,
        });
        Some(Verdict::Drain(drain))
    }

    fn waits_for_share(&self) -> bool {
        true
    }

    fn replaces(&self, _: &Planner<'_>, node: &Node<'_>) -> bool {
        node.expiry.expired
    }

    fn keeps_drained(&self, planner: &Planner<'_>, node: &Node<'_>) -> bool {
        planner
            .policy
            .max_lifetime(&node.node_type().cloud)
            .is_some()
            && planner.is_drained_by(node, self.name())
    }
}

/// Older than `max_lifetime` and `max_lifetime_kill`: its jobs are what the site has said not to wait for.
pub(super) struct ForcefullyExpired;

impl Rule for ForcefullyExpired {
    fn name(&self) -> &'static str {
        "max_lifetime_kill"
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let accepted = node.memory.delete.accepted;
        let there = match node.phase {
            Phase::Busy | Phase::Idle { .. } | Phase::StartFalse | Phase::Draining { .. } => true,
            Phase::Deleting { ours: true, .. } => accepted
                .is_some_and(|at| planner.next.now.since(at) >= planner.policy.delete_timeout),
            _ => false,
        };
        // Without a claim it is drained, as any other.
        let claims = node.startd.map_or(0, |startd| startd.claims());
        if !node.expiry.forced || !there || claims == 0 {
            return None;
        }
        let (age_seconds, max_lifetime_seconds) = planner.lifetimes(node);
        let mut delete = Delete::new(Reason::ForcefulExpiration {
            age_seconds,
            max_lifetime_seconds,
            claims,
        });
        delete.despite_claims = true;
        Some(Verdict::Delete(delete))
    }
}

impl Planner<'_> {
    fn lifetimes(&self, node: &Node<'_>) -> (Seconds, Seconds) {
        let age = node.server.map(|server| server.record().age);
        let most = self.policy.max_lifetime(&node.node_type().cloud);
        (
            seconds(age.unwrap_or_default()),
            seconds(most.unwrap_or_default()),
        )
    }

    /// Whether it takes no jobs because its time has come: its startd and its server's age say the same.
    fn has_retired(&self, node: &Node<'_>) -> bool {
        if node.phase != Phase::StartFalse {
            return false;
        }
        let most = self.policy.max_lifetime(&node.node_type().cloud);
        let named = node.server.and_then(|server| server.node());
        let after = most.map(|most| retires_after(most, named.unwrap_or(&node.id)));
        let age = node.server.map(|server| server.record().age);
        after.is_some_and(|after| age >= Some(after))
    }

    /// How many there are, for an operator; those whose jobs are ended first.
    pub(in crate::plan) fn outlived(&self) -> Vec<String> {
        let killed = self
            .nodes
            .iter()
            .filter_map(|node| match node.decision.as_deref() {
                Some((NodeDecision::Delete, why @ Reason::ForcefulExpiration { .. })) => {
                    Some(format!("{}: {why}", node.name()))
                }
                _ => None,
            });
        let mut told: Vec<String> = killed.collect();
        let old = self
            .noticed()
            .filter(|node| node.expiry.expired && node.may_be_replaced());
        let age = |node: &&NodePlan<'_>| node.server.map(|server| server.record().age);
        if let Some(oldest) = old.clone().max_by_key(age) {
            told.push(format!(
                "expired nodes (max_lifetime): {}, the oldest is {} ({}, {}); ehos replaces each once it is idle",
                old.count(),
                oldest.name(),
                phase_name(&oldest.phase).as_str(),
                self.lifetimes(oldest).0,
            ));
        }
        told
    }
}
