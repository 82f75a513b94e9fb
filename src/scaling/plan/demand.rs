//! Demand: job groups of all schedds, and those that more nodes would not help.
//!
//! All idle jobs are demand at once. A job is *young* until a negotiation cycle has begun after its
//! submit. Young jobs count every free slot that they match.
//!
//! Settled slots: a slot that has not changed for three negotiation cycles neither serves a job
//! group that has waited for as long, nor is kept for it. Such a group cancels no drain of a node
//! beside which it waited.
//!
//! If a node that was created for a group stays unclaimed for as long, ehos creates no further node
//! for the jobs of that group that wait, but for one an hour as a try. Jobs that come later count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::negotiator_limits::StartableJobs;
use super::planner::{JobGroup, Planner};
use crate::brakes::Brake;
use crate::capacity::Capacity;
use crate::job_requirements::{self, JobGroupKey};
use crate::node::Phase;
use crate::observation::Resources;
use crate::packing::dominant_share;
use crate::state::{NodeType, UnclaimedGroup};
use crate::submitter::Submitters;

/// Negotiation cycles after which a job that still waits beside a free slot is not going to take it.
const CYCLES: u32 = 3;

/// Two observations of the longest waiting job are of the same one when they differ by less.
const SAME_JOB: Duration = Duration::from_secs(60);

impl Planner<'_> {
    /// What can be matched is matched within this: the cycles that are configured, or those that the negotiator
    /// really takes.
    pub(super) fn settling_time(&self) -> Duration {
        let collector = self.observation.pool.collector.known();
        let period = collector.and_then(|collector| collector.negotiation_period);
        self.policy
            .negotiation_cycle
            .max(period.unwrap_or_default())
            .saturating_mul(CYCLES)
    }

    /// What a node of this kind offers: what one really did, else what its flavor promises.
    pub(super) fn capacity(&self, node_type: &NodeType) -> Option<Capacity> {
        job_requirements::capacity(node_type, &self.next, &self.observation.clouds)
    }

    /// The largest of everything that jobs could be placed on: what dominant shares are measured against.
    fn largest(&self) -> Resources {
        let mut largest = Resources::default();
        let mut take = |size: &Resources| largest = largest.each(size, u64::max);
        let collector = self.observation.pool.collector.known();
        let startds = collector.iter().flat_map(|collector| &collector.startds);
        for slot in startds.flat_map(|startd| &startd.slots) {
            take(&slot.total);
        }
        for (_, node_type) in self.options() {
            if let Some(capacity) = self.capacity(&node_type) {
                capacity.spaces().for_each(&mut take);
            }
        }
        largest
    }

    /// The groups of all schedds that answered, jobs that are alike together, the largest request first.
    pub(super) fn groups(&mut self) -> Vec<JobGroup> {
        let mut by_kind: BTreeMap<(JobGroupKey, Submitters), JobGroup> = BTreeMap::new();
        for StartableJobs {
            demand,
            jobs,
            held_back,
        } in self.startable()
        {
            let asks = demand.key();
            let submitters = self.policy.submitter_limits.submitters(demand);
            let key = (asks.clone(), submitters.clone());
            let group = by_kind.entry(key).or_insert_with(|| JobGroup {
                asks,
                submitters,
                jobs: 0,
                example: None,
                waiting: Duration::ZERO,
                left: 0,
                young: 0,
                beside: 0,
                why: Vec::new(),
                max_new_nodes: u64::MAX,
                refused: 0,
                fault: demand.fault.clone(),
            });
            group.jobs += demand.jobs;
            group.left += jobs;
            group.young += demand.young.min(jobs);
            if demand.waiting >= group.waiting || group.example.is_none() {
                group.example = demand.example.clone().or(group.example.take());
            }
            group.waiting = group.waiting.max(demand.waiting);
            for why in held_back {
                if !group.why.iter_mut().any(|known| known.absorb(&why)) {
                    group.why.push(why);
                }
            }
        }
        let largest = self.largest();
        let mut groups: Vec<JobGroup> = by_kind
            .into_values()
            .filter(|group| group.jobs > 0)
            .collect();
        groups.sort_by_cached_key(|group| {
            (
                std::cmp::Reverse(dominant_share(&group.asks.request, &largest)),
                group.asks.clone(),
            )
        });
        groups
    }

    /// When a node that was made for a group has been free for several negotiation cycles and none of the group's jobs
    /// took it, more nodes would not help them: those that wait now are neither placed nor bought for. Believed until
    /// one of them has gone; each `unclaimed_backoff` one node is tried.
    pub(super) fn remember_refusals(&mut self, groups: &mut [JobGroup], settling_time: Duration) {
        let hears = !self.brakes.iter().any(Brake::hides_startds);
        let now = self.next.now;
        let until = now.plus(self.policy.unclaimed_backoff);
        let at = self.observation.at;
        let mut kept = Vec::new();
        let untaken = self.untaken(settling_time);
        for group in groups {
            let oldest = at.checked_sub(group.waiting).unwrap_or(at);
            let unchanged = |refusal: &&UnclaimedGroup| {
                let moved = oldest.duration_since(refusal.oldest).unsigned_abs();
                refusal.asks == group.asks && group.jobs >= refusal.jobs && moved < SAME_JOB
            };
            // Though HTCondor said that it would take them.
            let takes = |node_type: &&NodeType| self.answer(node_type, &group.asks).may_use();
            let made_for_it = untaken.get(&group.asks);
            let beside = hears
                && group.waiting >= settling_time
                && made_for_it
                    .is_some_and(|node_types| node_types.iter().any(|node_type| takes(&node_type)));
            let refusal = match self.next.refusals.iter().find(unchanged) {
                Some(refusal) if beside => Some(UnclaimedGroup {
                    jobs: group.jobs - group.young,
                    ..refusal.clone()
                }),
                Some(refusal) => Some(refusal.clone()),
                None => beside.then_some(UnclaimedGroup {
                    asks: group.asks.clone(),
                    jobs: group.jobs - group.young,
                    oldest,
                    until,
                }),
            };
            let Some(mut refusal) = refusal else { continue };
            if refusal.until > now {
                group.refused = refusal.jobs.min(group.left);
                group.left -= group.refused;
                if group.left == 0 {
                    group.max_new_nodes = 0;
                }
            } else {
                group.max_new_nodes = 1;
                refusal.until = until;
            }
            kept.push(refusal);
        }
        self.next.refusals = kept;
    }

    /// The kinds of nodes that have been free since they joined, by what they were made for.
    fn untaken(&self, settling_time: Duration) -> BTreeMap<JobGroupKey, BTreeSet<NodeType>> {
        let mut untaken: BTreeMap<JobGroupKey, BTreeSet<NodeType>> = BTreeMap::new();
        for node in self.unclaimed.iter().map(|index| self.node(*index)) {
            if !matches!(node.phase, Phase::Idle { idle_for } if idle_for >= settling_time) {
                continue;
            }
            if let Some(asks) = node
                .memory
                .made_for
                .as_ref()
                .filter(|_| !node.memory.claims.taken)
            {
                let node_types = untaken.entry(asks.clone()).or_default();
                node_types.insert(node.node_type().clone());
            }
        }
        untaken
    }
}
