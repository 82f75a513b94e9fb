//! Scale-down: the rules that drain or delete nodes in one list, and the gates before all of them in one place.
//!
//! Owns: the order of the rules, and the gates: kept nodes, cloud, pauses, brakes, `max_actions`, the share of the pool that may leave at a time.
//! Must not: delete without a drain that an earlier tick observed, but by the rules for failed and lost nodes and by
//! `max_lifetime_kill` (docs/design-rules.md#rule-2).

mod above_maximum;
mod cloud_retires;
mod delete_requested;
mod deleting;
mod drain_requested;
mod drained;
mod expired;
mod failed;
mod image;
mod lost;
mod surplus;
mod takes_no_jobs;
mod token;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use super::planner::{NodePlan, Planner};
use super::{NodeDecision, status_word};
use crate::action::PoolAction;
use crate::brakes::Brake;
use crate::node::{Node, Phase, after_mark, drain_mark};
use crate::observation::ServerStatus;
use crate::reason::Reason;
use crate::sorting::IntoSet;
pub(super) use drain_requested::NAME as DRAIN_REQUESTED;
pub(super) use surplus::LEAVING;

/// A rule by which nodes go.
pub(super) trait Rule {
    /// Its name. What a startd keeps as the reason of a drain names the rule, whatever becomes of the state.
    fn name(&self) -> &'static str;

    /// Records the input of the rule, whether or not ehos may drain.
    fn begin(&mut self, _planner: &mut Planner<'_>) {}

    /// Indexes of the nodes in the order in which they are drained: by default that of their making.
    fn order(&self, planner: &Planner<'_>) -> Vec<usize> {
        planner.unclaimed.clone()
    }

    /// What the rule says of a node that nothing is decided of.
    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict>;

    /// Whether its drains wait for the share of the pool that may leave at a time. What such a rule wants of a node depends on
    /// no other node.
    fn waits_for_share(&self) -> bool {
        false
    }

    /// Whether a node that is held back is kept for the rule all the same: it serves no demand, and no later rule has it.
    fn insists(&self) -> bool {
        true
    }

    /// A drain that the rule wanted is in the plan.
    fn drained(&mut self, _planner: &mut Planner<'_>, _index: usize) {}

    /// Whether another node is to take the place of this one: those take turns.
    fn replaces(&self, _planner: &Planner<'_>, _node: &Node<'_>) -> bool {
        false
    }

    /// Whether a drain is not cancelled, because the rule requested it or would again.
    fn keeps_drained(&self, _planner: &Planner<'_>, _node: &Node<'_>) -> bool {
        false
    }
}

/// What a rule says of a node.
pub(super) enum Verdict {
    /// It stays.
    Keep(Reason),
    /// It is to be drained.
    Drain(Drain),
    /// Its server is to be deleted.
    Delete(Delete),
}

/// A drain that a rule wants.
pub(super) struct Drain {
    idle_for: Duration,
    /// What the startd keeps as the reason, behind the pool's mark.
    words: String,
    why: Reason,
    /// It waits for the share of the pool that may leave at a time.
    waits: bool,
    /// The reason while the node is kept.
    waiting: Option<Reason>,
    /// Only where Nova says that the server runs.
    runs: bool,
}

impl Drain {
    fn new(idle_for: Duration, words: String, why: Reason) -> Drain {
        Drain {
            idle_for,
            words,
            why,
            waits: false,
            waiting: None,
            runs: true,
        }
    }
}

/// A delete that a rule wants.
pub(super) struct Delete {
    why: Reason,
    /// No schedd can have a job on it: one that does not answer holds up nothing.
    without_job: bool,
    /// Claims do not hold it up either.
    despite_claims: bool,
    /// An operator requested it: neither brakes nor pauses hold it up.
    requested: bool,
}

impl Delete {
    fn new(why: Reason) -> Delete {
        Delete {
            why,
            without_job: false,
            despite_claims: false,
            requested: false,
        }
    }
}

/// When rules are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before demand is placed: nodes that will be deleted serve none.
    BeforeDemand,
    /// Of servers, before new ones are made: deletes have a part of `max_actions`.
    Deletes,
    /// After new nodes are made.
    AfterCreates,
}

/// All rules: of several that want a node the first one has it.
fn rules() -> [(When, Box<dyn Rule>); 15] {
    [
        (
            When::BeforeDemand,
            Box::new(drain_requested::DrainRequested),
        ),
        (When::BeforeDemand, Box::new(token::TokenEnds)),
        (When::BeforeDemand, Box::new(cloud_retires::CloudRetires)),
        (When::BeforeDemand, Box::new(expired::Expired)),
        (
            When::BeforeDemand,
            Box::<above_maximum::AboveMaximum>::default(),
        ),
        (When::BeforeDemand, Box::new(image::OlderImage)),
        (When::Deletes, Box::new(delete_requested::DeleteRequested)),
        (When::Deletes, Box::new(failed::Failed)),
        (When::Deletes, Box::new(deleting::NotDeletedYet)),
        (When::Deletes, Box::new(lost::Lost)),
        (When::Deletes, Box::new(drained::Drained)),
        (When::Deletes, Box::new(expired::ForcefullyExpired)),
        (When::AfterCreates, Box::new(image::ImageTrial)),
        (When::AfterCreates, Box::<surplus::Surplus>::default()),
        (When::AfterCreates, Box::new(takes_no_jobs::TakesNoJobs)),
    ]
}

/// The share of the pool (1 of this number, at least one node) that may be replaced at a time.
const AWAY_SHARE: u64 = 4;

/// The number of nodes that may be drained now for replacement: most of the pool stays available.
fn share(planner: &Planner<'_>) -> u64 {
    let rules = rules();
    let leaves = |node: &NodePlan<'_>| {
        let mut rules = rules.iter();
        rules.any(|(_, rule)| rule.replaces(planner, node))
    };
    let (mut up, mut leaving, mut coming) = (0, 0, 0);
    for node in &planner.nodes {
        // What takes the place of one that is just gone is made in this tick at the earliest.
        let going = node.is(NodeDecision::Drain)
            || matches!(
                node.phase,
                Phase::Draining { ours: true, .. }
                    | Phase::Deleting { ours: true, .. }
                    | Phase::Gone
            );
        if going && leaves(node) {
            leaving += 1;
        } else if node.coming() {
            coming += 1;
        } else if node.alive() {
            up += 1;
        }
    }
    // One that leaves and one that comes for it are one.
    let away: u64 = coming.max(leaving);
    (up + away).div_ceil(AWAY_SHARE).saturating_sub(away)
}

/// Whether the status of the server permits a drain of a node that is not silent: a server in ERROR may run on after a
/// failed migration or resize.
fn runs(node: &Node<'_>) -> bool {
    let status = node.server.map(|server| server.record().status);
    matches!(status, Some(ServerStatus::Active | ServerStatus::Error))
}

/// Why an idle node whose server is not known to run is not drained.
fn not_drained(node: &Node<'_>) -> Reason {
    match node.server {
        Some(_) if node.cloud_known => Reason::NotActive {
            status: status_word(node),
        },
        _ => Reason::CloudUnknown,
    }
}

/// For how long a node has had no claim, where it is idle or takes no jobs.
fn unclaimed_for(node: &Node<'_>) -> Option<Duration> {
    match node.phase {
        Phase::Idle { idle_for } => Some(idle_for),
        Phase::StartFalse => {
            let idle_for = node.startd.and_then(|startd| startd.idle_for());
            Some(idle_for.unwrap_or_default().min(node.unchanged_for))
        }
        _ => None,
    }
}

/// Indexes of the idle nodes that nothing is decided of and for which `which` holds: the longest idle first.
fn longest_idle(planner: &Planner<'_>, which: impl Fn(&NodePlan<'_>) -> bool) -> Vec<usize> {
    let mut idle: Vec<(Reverse<Duration>, usize)> = Vec::new();
    for index in planner.unclaimed.iter().copied() {
        let node = planner.node(index);
        if let Phase::Idle { idle_for } = node.phase
            && !node.is_decided()
            && which(node)
        {
            idle.push((Reverse(idle_for), index));
        }
    }
    idle.sort_unstable();
    idle.into_iter().map(|(_, index)| index).collect()
}

/// Whether a drain may be asked for now.
enum Gate {
    /// Of this slot.
    Open(String),
    /// Not now, and why.
    Held(Option<Reason>),
}

/// The one place that holds drains back.
fn gate(planner: &Planner<'_>, node: &Node<'_>, drain: &Drain, share: u64) -> Gate {
    if !node.cloud_known || drain.runs && !runs(node) {
        return Gate::Held(Some(not_drained(node)));
    }
    if let Some(why) = planner.paused(node) {
        return Gate::Held(Some(why));
    }
    if let Some(brake) = planner.removal_brake(false) {
        return Gate::Held(Some(Reason::Braked { brake }));
    }
    if planner.actions.drains_left() == 0 {
        return Gate::Held(Some(planner.actions.used_up()));
    }
    if drain.waits && share == 0 {
        return Gate::Held(drain.waiting.clone());
    }
    let startd = node.startd.filter(|_| node.contested.is_none());
    let slot = startd.and_then(|startd| startd.slots.first());
    match slot {
        Some(slot) => Gate::Open(slot.name.clone()),
        None => Gate::Held(Some(Reason::NoSlot)),
    }
}

impl Planner<'_> {
    pub(super) fn go_before_demand(&mut self) {
        self.ask_rules(When::BeforeDemand);
    }

    pub(super) fn choose_deletes(&mut self) {
        self.ask_rules(When::Deletes);
    }

    pub(super) fn go_after_creates(&mut self) {
        self.ask_rules(When::AfterCreates);
    }

    fn ask_rules(&mut self, when: When) {
        let now = rules().into_iter().filter(|(then, _)| *then == when);
        for (_, mut rule) in now {
            rule.begin(self);
            if when == When::Deletes {
                self.choose_by(&mut *rule);
            } else if self.policy.drains() {
                self.drain_by(&mut *rule);
            }
        }
    }

    /// Whether a drain is kept.
    pub(super) fn keeps_drained(&self, node: &Node<'_>) -> bool {
        let rules = rules();
        let mut rules = rules.iter();
        !node.is_kept_by_operator() && rules.any(|(_, rule)| rule.keeps_drained(self, node))
    }

    /// The pause that stops this node's end.
    fn paused(&self, node: &Node<'_>) -> Option<Reason> {
        let pause = self
            .next
            .pause_of(&node.node_type().cloud, |pause| pause.deletes);
        pause.map(Reason::from)
    }

    /// The brake that stops this node's end.
    fn removal_brake(&self, without_job: bool) -> Option<String> {
        let stops = |brake: &&Brake| !(without_job && matches!(brake, Brake::ScheddUnknown { .. }));
        self.brakes.iter().find(stops).map(ToString::to_string)
    }

    fn drain_by(&mut self, rule: &mut dyn Rule) {
        let mut order = rule.order(self);
        if rule.waits_for_share() {
            self.take_turns(&mut order);
        }
        let mut wanted = order.iter().map(|index| self.node(*index));
        // Most rules want no node.
        let mut left =
            match rule.waits_for_share() && wanted.any(|node| rule.wants(self, node).is_some()) {
                true => share(self),
                false => u64::MAX,
            };
        for index in order {
            let node = self.node(index);
            // One that is to be deleted is not drained first: a drain that is held back would hold back the delete.
            if !may_go(node) || node.requests.delete.is_some() {
                continue;
            }
            let drain = match rule.wants(self, node) {
                Some(Verdict::Drain(drain)) => drain,
                Some(Verdict::Keep(why)) => {
                    self.decide(index, NodeDecision::Keep, why);
                    continue;
                }
                Some(Verdict::Delete(_)) | None => continue,
            };
            match gate(self, node, &drain, left) {
                Gate::Open(slot) => {
                    left -= u64::from(drain.waits);
                    self.drain(index, slot, drain);
                    rule.drained(self, index);
                }
                Gate::Held(Some(why)) if rule.insists() => {
                    self.decide(index, NodeDecision::Keep, why)
                }
                Gate::Held(_) => {}
            }
        }
    }

    /// Puts nodes behind whose drain was requested before and that are not drained: one whose startd refuses each time, or that
    /// another of its name hides, must not take the others' part of the share for ever. They begin at another one each minute.
    fn take_turns(&self, order: &mut [usize]) {
        let is_tried = |index: &usize| self.node(*index).memory.drain.idle_since.is_some();
        order.sort_by_key(is_tried);
        let first_tried = order.partition_point(|index| !is_tried(index));
        if let Some(tried) = order
            .get_mut(first_tried..)
            .filter(|tried| !tried.is_empty())
        {
            let minute = self.next.age().as_secs() / 60;
            tried.rotate_left(usize::try_from(minute).unwrap_or_default() % tried.len());
        }
    }

    fn drain(&mut self, index: usize, slot: String, drain: Drain) {
        let node = self.node(index);
        let action = PoolAction::Drain {
            node: node.id.clone(),
            startd: self.startd_identity(node),
            slot,
            reason: format!("{} {}", drain_mark(&self.policy.cluster), drain.words),
        };
        self.actions.ask_pool(action);
        let idle_since = self.next.now.minus(drain.idle_for);
        self.remember(index, |memory| memory.drain.idle_since = Some(idle_since));
        self.decide(index, NodeDecision::Drain, drain.why);
    }

    /// Chooses servers to delete: those of clouds that answer, and nothing that may run a job.
    fn choose_by(&mut self, rule: &mut dyn Rule) {
        let chosen: BTreeSet<usize> = self.removals.iter().map(|(index, _)| *index).into_set();
        for index in self.ending.clone() {
            let node = self.node(index);
            if !may_go(node) || !may_be_deleted(node) || chosen.contains(&index) {
                continue;
            }
            let Some(Verdict::Delete(delete)) = rule.wants(self, node) else {
                continue;
            };
            // Whatever else is known: a fresh ad with a claim means that a job may be running.
            if !delete.despite_claims && node.claims > 0 {
                continue;
            }
            let brake = || {
                let brake = self.removal_brake(delete.without_job);
                brake.map(|brake| Reason::Braked { brake })
            };
            let held = self.paused(node).or_else(brake);
            match held.filter(|_| !delete.requested) {
                Some(why) => self.decide(index, NodeDecision::Keep, why),
                None => self.removals.push((index, delete.why)),
            }
        }
    }

    /// Whether the rule of this name requested the drain.
    pub(super) fn is_drained_by(&self, node: &Node<'_>, name: &str) -> bool {
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        let words = drain.and_then(|drain| after_mark(&drain.reason, &self.policy.cluster));
        let words = words.and_then(|words| words.strip_prefix(' ')?.strip_prefix(name));
        words.is_some_and(|words| words.starts_with(','))
    }
}

/// Whether any rule is asked about the node: none is about one that an operator keeps.
fn may_go(node: &NodePlan<'_>) -> bool {
    !node.is_decided() && !node.is_kept_by_operator()
}

fn may_be_deleted(node: &NodePlan<'_>) -> bool {
    !node.is_decided() && node.cloud_known && node.server.is_some() && node.contested.is_none()
}
