//! Demand into what is there: free slots, then nodes on their way, then drains that can be taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::held_back::Startable;
use super::{Fate, Group, Planner};
use crate::scaling::action::PoolAction;
use crate::scaling::brakes::Brake;
use crate::scaling::capacity::Capacity;
use crate::scaling::memory::{Kind, Refusal};
use crate::scaling::needs::{self, Answer, JobKind};
use crate::scaling::node::{Node, Phase, is_fresh};
use crate::scaling::observation::{Resources, Seen, StartdView};
use crate::scaling::packing::{Class, Stock, dominant_share};
use crate::scaling::plan::Action;
use crate::scaling::reason::Reason;
use crate::scaling::sender::Sender;
use crate::scaling::submitter::Submitters;

/// Negotiation cycles after which a job that still waits beside a free slot is not going to take it.
const CYCLES: u32 = 3;

/// Two observations of the longest waiting job are of the same one when they differ by less.
const SAME_JOB: Duration = Duration::from_secs(60);

/// A drained node that can be taken back.
struct Returning {
    index: usize,
    /// Since before its drain; `None` when that is not known.
    idle_for: Option<Duration>,
    spaces: Vec<Resources>,
}

impl Returning {
    /// Places up to `jobs` of `request`; how many.
    fn place(&mut self, request: &Resources, jobs: u64, used: &mut impl FnMut(usize, u64)) -> u64 {
        let mut placed = 0;
        for space in &mut self.spaces {
            let here = request.times_in(space).min(jobs - placed);
            *space = space.minus(request, here);
            placed += here;
        }
        if placed > 0 {
            used(self.index, placed);
        }
        placed
    }
}

impl Planner<'_> {
    /// What can be matched is matched within this: the cycles that are configured, or those that the negotiator
    /// really takes.
    fn settling_time(&self) -> Duration {
        let collector = self.observation.pool.collector.known();
        let period = collector.and_then(|collector| collector.negotiation_period);
        self.policy
            .negotiation_cycle
            .max(period.unwrap_or_default())
            .saturating_mul(CYCLES)
    }

    /// What a node of this kind offers: what one really did, else what its flavor promises.
    pub(super) fn capacity(&self, kind: &Kind) -> Option<Capacity> {
        needs::capacity(kind, &self.next, &self.observation.clouds)
    }

    /// The largest of everything that jobs could be placed on: what dominant shares are measured against.
    fn largest(&self) -> Resources {
        let mut largest = Resources::default();
        let mut take = |size: &Resources| {
            largest = Resources {
                cpus: largest.cpus.max(size.cpus),
                memory_mb: largest.memory_mb.max(size.memory_mb),
                disk_kb: largest.disk_kb.max(size.disk_kb),
                gpus: largest.gpus.max(size.gpus),
            };
        };
        for startd in self
            .observation
            .pool
            .collector
            .known()
            .iter()
            .flat_map(|collector| &collector.startds)
        {
            startd.slots.iter().for_each(|slot| take(&slot.total));
        }
        for (_, kind) in self.options() {
            if let Some(capacity) = self.capacity(&kind) {
                capacity.spaces().for_each(&mut take);
            }
        }
        largest
    }

    /// The groups of all schedds that answered, jobs that are alike together, the largest request first.
    fn groups(&mut self) -> Vec<Group> {
        let mut by_kind: BTreeMap<(JobKind, Submitters), Group> = BTreeMap::new();
        for Startable {
            demand,
            jobs,
            held_back,
        } in self.startable()
        {
            let asks = demand.kind();
            let submitters = self.policy.submitter_limits.submitters(demand);
            let key = (asks.clone(), submitters.clone());
            let group = by_kind.entry(key).or_insert_with(|| Group {
                asks,
                submitters,
                jobs: 0,
                example: None,
                waiting: Duration::ZERO,
                left: 0,
                young: 0,
                beside: 0,
                why: Vec::new(),
                may_buy: u64::MAX,
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
        let mut groups: Vec<Group> = by_kind
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

    /// Places the demand into what is there, and marks each node that some of it needs.
    pub(super) fn place_demand(&mut self) -> Vec<Group> {
        let mut groups = self.groups();
        let settling_time = self.settling_time();
        self.remember_refusals(&mut groups, settling_time);
        let mut free = Stock::default();
        let mut idle = Stock::default();
        let mut coming = Stock::default();
        let mut returning: Vec<Returning> = Vec::new();

        let nobody = self.survey.nodes.len();
        // Class 0 are other machines of the pool: what their ads say is left to the negotiator.
        let mut kinds: BTreeMap<&Kind, Class> = BTreeMap::new();
        for node in &self.survey.nodes {
            let next = kinds.len() + 1;
            kinds.entry(&node.kind).or_insert(next);
        }
        let class = |owner: usize| {
            let node = self.survey.nodes.get(owner);
            node.and_then(|node| kinds.get(&node.kind).copied())
                .unwrap_or(0)
        };
        let nodes = self.survey.nodes.iter();
        let seen: Vec<Duration> = nodes.map(|node| node.unchanged_for).collect();
        let offer = |stock: &mut Stock, startd: &StartdView, owner: usize| {
            let seen = seen.get(owner).copied();
            // Any node may have sent this: its room is believed for as long as jobs may take to meet it, and no longer.
            let doubtful = owner == nobody && startd.sender == Sender::AnyNode;
            for slot in startd.slots.iter().filter(|slot| slot.accepts_jobs) {
                let unchanged_for = slot.unchanged_for.min(seen.unwrap_or(Duration::MAX));
                stock.add(
                    slot.free,
                    doubtful || unchanged_for >= settling_time,
                    class(owner),
                    owner,
                );
            }
        };
        let mut order: Vec<(Duration, usize)> = Vec::new();
        for (index, node) in self.survey.nodes.iter().enumerate() {
            if node.retires() {
                continue;
            }
            match (&node.phase, node.startd) {
                (Phase::Busy, Some(startd)) => offer(&mut free, startd, index),
                (Phase::Idle { idle_for }, Some(_)) if !self.settled(index) => {
                    order.push((*idle_for, index));
                }
                (Phase::Draining { ours: true, .. }, Some(startd)) if self.may_return(index) => {
                    returning.push(Returning {
                        index,
                        idle_for: self.idle_before_drain(node),
                        // It is whole again when its drain is taken back.
                        spaces: startd.slots.iter().map(|slot| slot.total).collect(),
                    });
                }
                _ if node.coming() => {
                    if let Some(capacity) = self.capacity(&node.kind) {
                        for space in capacity.spaces() {
                            coming.add(*space, false, class(index), index);
                        }
                    }
                }
                _ => {}
            }
        }
        // nodes_max may have become smaller since they were made.
        let room = self.policy.nodes_max.saturating_sub(self.alive());
        returning.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        // The node that has been idle for the shortest time is filled first, so that the longest idle one may go.
        order.sort_unstable();
        for (_, index) in order {
            if let Some(startd) = self.survey.nodes.get(index).and_then(|node| node.startd) {
                offer(&mut idle, startd, index);
            }
        }
        // Other machines of the pool serve demand too, but say nothing about nodes of ours.
        for startd in self
            .survey
            .others
            .iter()
            .filter(|startd| startd.draining.is_none())
        {
            offer(&mut free, startd, nobody);
        }

        let mut placed = std::mem::take(&mut self.placed);
        // In free slots, on coming nodes, on drains that are taken back.
        let mut fits = vec![[0; 3]; groups.len()];
        // First what HTCondor said that they take: jobs of which it did not would take the nodes that others were made
        // for, and these get more.
        for certain in [true, false] {
            for (group, [now, later, back]) in groups.iter_mut().zip(&mut fits) {
                if group.left == 0 {
                    continue;
                }
                let fresh = group.waiting < settling_time;
                let closed: BTreeSet<Class> = kinds
                    .iter()
                    .filter(|(kind, _)| {
                        let answer = self.observation.matches.answer(kind, &group.asks);
                        !answer.may_use() || certain && !matches!(answer, Answer::Takes)
                    })
                    .map(|(_, class)| *class)
                    .collect();
                let matches = &self.observation.matches;
                // What depends on the machine is another request of each kind of node.
                let requests: Vec<(Option<Class>, Resources)> =
                    match matches.depends_on_machine(&group.asks) {
                        false => vec![(None, group.asks.request)],
                        true => {
                            let of_kind = |(kind, class): (&&Kind, &Class)| {
                                (Some(*class), matches.request(kind, &group.asks))
                            };
                            let others = [(Some(0), group.asks.request)];
                            others
                                .into_iter()
                                .chain(kinds.iter().map(of_kind))
                                .collect()
                        }
                    };
                let placed = &mut placed;
                let mut used = |owner: usize, jobs: u64| {
                    if let Some(count) = placed.get_mut(owner) {
                        *count += jobs;
                    }
                };
                let mut put = |stock: &mut Stock, jobs: u64, fresh: bool| {
                    let mut placed = 0;
                    for (own, request) in &requests {
                        let takes = |settled: bool, class: Class| {
                            (fresh || !settled)
                                && !closed.contains(&class)
                                && own.is_none_or(|own| own == class)
                        };
                        placed += stock.place(request, jobs - placed, takes, &mut used);
                    }
                    placed
                };
                // A young job may still take a slot that the others of its group have been passed over for.
                let mut young = group.young.min(group.left);
                let mut old = group.left - young;
                let mut fill = |stock: &mut Stock, placed: &mut u64| {
                    let olds = put(stock, old, fresh);
                    let youngs = put(stock, young, true);
                    (old, young) = (old - olds, young - youngs);
                    *placed += olds + youngs;
                };
                fill(&mut free, now);
                fill(&mut idle, now);
                fill(&mut coming, later);
                (group.left, group.young) = (old + young, young);
                for node in &mut returning {
                    // Jobs that have waited for as long as the node has been idle had their chance.
                    let new_to_it = match node.idle_for {
                        Some(idle_for) if group.waiting >= idle_for => group.young.min(group.left),
                        _ => group.left,
                    };
                    if new_to_it > 0 && !closed.contains(&class(node.index)) {
                        let own = |(own, _): &&(Option<Class>, Resources)| {
                            own.is_none_or(|own| own == class(node.index))
                        };
                        let request = requests.iter().find(own).map(|(_, request)| *request);
                        let request = request.unwrap_or(group.asks.request);
                        let jobs = node.place(&request, new_to_it, &mut used);
                        group.left -= jobs;
                        *back += jobs;
                    }
                }
            }
        }
        self.wait_for_claims(&mut groups);
        for (group, [now, later, back]) in groups.iter_mut().zip(fits) {
            let all = [
                (now, Reason::FitsFree { jobs: now }),
                (later, Reason::FitsComing { jobs: later }),
                (back, Reason::FitsTakenBack { jobs: back }),
            ];
            let some = all.into_iter().filter(|(jobs, _)| *jobs > 0);
            group.why.extend(some.map(|(_, why)| why));
        }
        self.placed = placed;
        groups
    }

    /// Young jobs that slots are claimed for: a slot is claimed some time before its job counts as running, and a schedd keeps
    /// the claim of a job that has ended for the next one. Claims of jobs that ehos does not see hold young jobs back, too: for
    /// as long as these are young.
    fn wait_for_claims(&self, groups: &mut [Group]) {
        let nodes = self.survey.nodes.iter().filter_map(|node| node.startd);
        let startds = nodes.chain(self.survey.others.iter().copied());
        let fresh = startds.filter(|startd| is_fresh(startd, self.policy));
        let claims: u64 = fresh.map(StartdView::claims).sum();
        let schedds = self.observation.pool.schedds.values();
        let schedds = schedds.filter_map(Seen::known);
        let running: u64 = schedds.map(|schedd| schedd.jobs.running).sum();
        let mut unused = claims.saturating_sub(running);
        for group in groups {
            let jobs = group.young.min(group.left).min(unused);
            if jobs > 0 {
                unused -= jobs;
                group.left -= jobs;
                group.young -= jobs;
                group.why.push(Reason::FitsClaimed { jobs });
            }
        }
    }

    /// When a node that was made for a group has been free for several negotiation cycles and none of the group's jobs
    /// took it, more nodes would not help them: those that wait now are neither placed nor bought for. Believed until
    /// one of them has gone; each `refusal_memory` one node is tried.
    fn remember_refusals(&mut self, groups: &mut [Group], settling_time: Duration) {
        let hears = !self.brakes.iter().any(Brake::hides_startds);
        let now = self.next.now;
        let until = now.plus(self.policy.refusal_memory);
        let at = self.observation.at;
        let mut kept = Vec::new();
        let untaken = self.untaken(settling_time);
        for group in groups {
            let oldest = at.checked_sub(group.waiting).unwrap_or(at);
            let unchanged = |refusal: &&Refusal| {
                let moved = oldest.duration_since(refusal.oldest).unsigned_abs();
                refusal.asks == group.asks && group.jobs >= refusal.jobs && moved < SAME_JOB
            };
            // Though HTCondor said that it would take them.
            let takes = |kind: &&Kind| self.answer(kind, &group.asks).may_use();
            let made_for_it = untaken.get(&group.asks);
            let beside = hears
                && group.waiting >= settling_time
                && made_for_it.is_some_and(|kinds| kinds.iter().any(|kind| takes(&kind)));
            let refusal = match self.next.refusals.iter().find(unchanged) {
                Some(refusal) if beside => Some(Refusal {
                    jobs: group.jobs - group.young,
                    ..refusal.clone()
                }),
                Some(refusal) => Some(refusal.clone()),
                None => beside.then_some(Refusal {
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
                    group.may_buy = 0;
                }
            } else {
                group.may_buy = 1;
                refusal.until = until;
            }
            kept.push(refusal);
        }
        self.next.refusals = kept;
    }

    /// The kinds of nodes that have been free since they joined, by what they were made for.
    fn untaken(&self, settling_time: Duration) -> BTreeMap<JobKind, BTreeSet<Kind>> {
        let mut untaken: BTreeMap<JobKind, BTreeSet<Kind>> = BTreeMap::new();
        for node in &self.survey.nodes {
            if !matches!(node.phase, Phase::Idle { idle_for } if idle_for >= settling_time) {
                continue;
            }
            let memory = self.next.nodes.get(&node.id).filter(|memory| !memory.taken);
            if let Some(asks) = memory.and_then(|memory| memory.made_for.as_ref()) {
                let kinds = untaken.entry(asks.clone()).or_default();
                kinds.insert(node.kind.clone());
            }
        }
        untaken
    }

    /// How long a drained node has been idle, the time before its drain included.
    pub(super) fn idle_before_drain(&self, node: &Node<'_>) -> Option<Duration> {
        let since = self.next.nodes.get(&node.id)?.idle_since?;
        Some(self.next.now.since(since))
    }

    fn may_return(&self, index: usize) -> bool {
        let Some(node) = self.survey.nodes.get(index) else {
            return false;
        };
        let deleted = self
            .next
            .nodes
            .get(&node.id)
            .is_some_and(|memory| memory.delete_intended.is_some());
        // Who may not drain may not take a drain back either.
        self.policy.drains()
            && !deleted
            && !node.retires()
            && !self.stays_drained(node)
            && !self.leaves_for_its_image(node)
            && !self.leaves_for_its_age(node)
            && !self.leaves_for_taking_no_jobs(node)
    }

    /// Whether its drain has been asked to be taken back for so long that it will not be: it is no capacity any more.
    fn stays_drained(&self, node: &Node<'_>) -> bool {
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        let (Some(drain), Some(memory)) = (drain, self.next.nodes.get(&node.id)) else {
            return false;
        };
        let since = memory.cancelled_since;
        memory.cancelled.as_ref() == Some(&drain.request_id)
            && since.is_some_and(|at| self.next.now.since(at) >= self.policy.delete_timeout)
    }

    /// Takes back the drains that demand, nodes_min or nodes_spare can use: quicker and cheaper than a new server.
    pub(super) fn take_back_drains(&mut self) {
        if self.brakes.iter().any(Brake::hides_startds) {
            return;
        }
        let ours =
            self.nodes_where(|node| matches!(node.phase, Phase::Draining { ours: true, .. }));
        let mut alive = self.alive();
        let mut unneeded = self.unneeded();
        let nodes_spare = self.spare();
        let spare = self.spare_reason();
        for index in ours {
            if !self.may_return(index) || alive >= self.policy.nodes_max {
                continue;
            }
            let jobs = self.placed.get(index).copied().unwrap_or_default();
            let why = if jobs > 0 {
                Reason::DrainTakenBack { jobs }
            } else if alive < self.policy.nodes_min {
                Reason::Minimum {
                    nodes_min: self.policy.nodes_min,
                }
            } else if unneeded < nodes_spare {
                spare.clone()
            } else {
                continue;
            };
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let drain = node.startd.and_then(|startd| {
                let slot = startd.slots.first()?.name.clone();
                Some((slot, startd.draining.as_ref()?.request_id.clone()))
            });
            let Some((slot, request_id)) = drain else {
                continue;
            };
            self.actions.push(Action::Pool(PoolAction::CancelDrain {
                node: node.id.clone(),
                slot,
                request_id: request_id.clone(),
            }));
            let id = node.id.clone();
            let now = self.next.now;
            if let Some(memory) = self.next.nodes.get_mut(&id) {
                memory.returned = Some(now);
                memory.drain_accepted = None;
                if memory.cancelled.replace(request_id.clone()) != Some(request_id) {
                    memory.cancelled_since = Some(now);
                }
            }
            self.settle(index, Fate::Returns, why);
            alive += 1;
            unneeded += u64::from(jobs == 0);
        }
    }
}
