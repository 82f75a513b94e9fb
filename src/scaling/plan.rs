//! The plan: from observation, policy and state to decisions and actions, with reasons. Pure.

#![warn(missing_docs)]

mod builders;
mod cancelling;
mod choosing;
mod cycle;
mod demand;
mod finishing;
mod floating_ips;
mod forgetting;
mod identity_mismatches;
mod images;
mod keeping;
mod leftovers;
mod look_again;
mod negotiator_limits;
mod placing;
mod planner;
mod retiring;
mod returning;
mod scale_down_pass;
mod scale_up_pass;
mod standing_by;
mod unknown_sources;
mod unsigned;

pub use look_again::NEXT_DRAIN_LOOK;
pub use negotiator_limits::MANY_STARTS;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{CloudAction, PoolAction};
use super::amounts;
use super::brakes::{Brake, brakes};
use super::budget::{self, BudgetSpent, Costs};
use super::console::ConsoleExcerpt;
use super::failure_tracking::ProtectedKind;
use super::figures::{
    BackoffFigures, CloudFigures, CoreFigures, PolicyFigures, ServerFigures, StartdFigures,
};
use super::high_availability::{Standby, standby};
use super::job_requirements::RequirementsDigest;
use super::leftover::LeftoverKind;
use super::maintenance::{KeptNodes, PauseEntry, Requests};
use super::names::{ActionName, PhaseName};
use super::node::{Node, Phase};
use super::node_inventory::survey;
use super::numbers::Numbers;
use super::observation::{CloudName, JobCounts, NodeId, Observation, Observed, Resources};
use super::policy::Policy;
use super::reason::Reason;
use super::schedule::ActiveWindow;
use super::shared_text::SharedText;
use super::source::{Source, SourceKind};
use super::state::{Outcome, State};
use super::stranded::{StrandedJobs, stranded};
use super::submitter::Submitters;
use crate::names;
use planner::Planner;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // A tick has few of them.
pub enum Action {
    /// An action of a cloud.
    Cloud {
        /// The cloud.
        cloud: CloudName,
        /// The action.
        action: CloudAction,
    },
    /// By HTCondor.
    Pool(PoolAction),
}

impl Action {
    /// Its name in reports.
    pub fn name(&self) -> ActionName {
        match self {
            Action::Cloud { action, .. } => match action {
                CloudAction::Create(_) => ActionName::Create,
                CloudAction::Delete { .. } => ActionName::Delete,
                CloudAction::Remove { .. } => ActionName::Remove,
                CloudAction::Disassociate { .. } => ActionName::Disassociate,
            },
            Action::Pool(action) => match action {
                PoolAction::Drain { .. } => ActionName::Drain,
                PoolAction::CancelDrain { .. } => ActionName::CancelDrain,
                PoolAction::Invalidate { .. } => ActionName::Invalidate,
                PoolAction::Reschedule { .. } => ActionName::Reschedule,
            },
        }
    }

    /// The same as text.
    pub fn verb(&self) -> &'static str {
        self.name().as_str()
    }

    /// The cloud that does it; `None`: HTCondor.
    pub fn cloud(&self) -> Option<&CloudName> {
        match self {
            Action::Cloud { cloud, .. } => Some(cloud),
            Action::Pool(_) => None,
        }
    }

    /// The node that it is about.
    pub fn node(&self) -> &NodeId {
        match self {
            Action::Cloud { action, .. } => action.node(),
            Action::Pool(action) => action.node(),
        }
    }
}

names! {
    /// The decision for a node in this tick.
    pub enum NodeDecision {
        /// It stays as it is.
        Keep = "keep" | "keeps",
        /// It is created.
        Create = "create" | "creates",
        /// It is drained.
        Drain = "drain" | "drains",
        /// Its drain is cancelled.
        CancelDrain = "cancel_drain" | "returns",
        /// Its server is deleted.
        Delete = "delete" | "deletes",
        /// Its server is gone; it is forgotten.
        Forget = "forget" | "forgets",
        /// A floating IP: it is disassociated from its node, and stays the project's.
        Disassociate = "disassociate" | "frees",
    }
}

/// One node in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeEntry {
    /// Its id.
    pub node: NodeId,
    /// Its server's name.
    pub name: SharedText,
    /// Its cloud.
    pub cloud: SharedText,
    /// Its flavor.
    pub flavor: SharedText,
    /// Its availability zone, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its server.
    pub server: ServerFigures,
    /// Its startd, when the collector has an ad of it.
    pub startd: Option<StartdFigures>,
    /// Where it is in its life, in a word.
    pub phase: PhaseName,
    /// The requests of operators.
    #[serde(skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    /// What happens to it.
    pub decision: NodeDecision,
    /// The reason.
    #[serde(flatten)]
    pub why: Reason,
}

/// One builder in the plan: a server that becomes an image, and no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuilderEntry {
    /// Its id (`ehos_node`), or its server's UUID.
    pub node: NodeId,
    /// Its server's UUID.
    pub server: String,
    /// Its server's name.
    pub name: String,
    /// Its cloud.
    pub cloud: CloudName,
    /// What happens to it.
    pub decision: NodeDecision,
    /// The reason.
    #[serde(flatten)]
    pub why: Reason,
}

/// A leftover in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftoverEntry {
    /// Its id.
    pub id: String,
    /// The kind of the leftover.
    pub kind: LeftoverKind,
    /// Its name, or the address of a floating IP; a port has none.
    pub name: String,
    /// Its cloud.
    pub cloud: CloudName,
    /// The UUID of the server that it was made for, where that is known.
    pub server: Option<String>,
    /// What happens to it.
    pub decision: NodeDecision,
    /// The reason.
    #[serde(flatten)]
    pub why: Reason,
}

/// One floating IP in the plan that leads to a node and is to be taken off it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FloatingIpEntry {
    /// Its id.
    pub id: String,
    /// The address.
    pub address: String,
    /// Its cloud.
    pub cloud: CloudName,
    /// The node that it leads to (`ehos_node`), or its server's UUID.
    pub node: NodeId,
    /// The UUID of the node's server.
    pub server: String,
    /// What happens to it.
    pub decision: NodeDecision,
    /// The reason.
    #[serde(flatten)]
    pub why: Reason,
}

/// One group of jobs in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobGroupEntry {
    /// What each job asks for.
    pub request: Resources,
    /// A digest of what they need besides room (Requirements); groups with another one are other groups.
    #[serde(
        rename = "requirements",
        skip_serializing_if = "RequirementsDigest::is_empty"
    )]
    pub needs: RequirementsDigest,
    /// What they ask for depends on the machine: each kind of node has a request of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_machine: bool,
    /// The user and the accounting groups of its jobs that have a limit.
    #[serde(skip_serializing_if = "Submitters::is_empty")]
    pub submitters: Submitters,
    /// One of them, as `condor_q` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// How many wait.
    pub jobs: u64,
    /// For how long the longest waiting one has.
    pub waiting_seconds: u64,
    /// Where they go, or why they do not.
    #[serde(rename = "reasons")]
    pub why: Vec<Reason>,
}

/// A source that did not answer, or something configured that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownSource {
    /// Its name.
    pub source: Source,
    /// The reason.
    #[serde(rename = "cause", alias = "why")]
    pub why: String,
}

/// How many sources answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownSources {
    /// Schedds.
    pub schedds: usize,
    /// Clouds.
    pub clouds: usize,
}

/// What one tick is to do, with all its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The observation's time.
    pub at: Timestamp,
    /// What the configuration says that holds now.
    pub policy: PolicyFigures,
    /// Jobs on all schedds that answered.
    pub queue: JobCounts,
    /// Jobs of factories that are not in the queue yet (late materialization): no node is made for them.
    #[serde(skip)]
    pub to_come: u64,
    /// What is paid for, and what is used of it.
    pub cores: CoreFigures,
    /// Every cloud of the configuration.
    pub clouds: Vec<CloudFigures>,
    /// Kinds of node of which no more is made for a while.
    pub backoffs: Vec<BackoffFigures>,
    /// Every node, in the order of their making; new ones last.
    pub nodes: Vec<NodeEntry>,
    /// Every builder.
    pub builders: Vec<BuilderEntry>,
    /// Leftovers, and resources that may be leftovers.
    pub leftovers: Vec<LeftoverEntry>,
    /// Floating IPs that lead to nodes, with `purge_floating_ips`.
    pub floating_ips: Vec<FloatingIpEntry>,
    /// Every group of waiting jobs, the largest request first.
    #[serde(rename = "job_groups")]
    pub groups: Vec<JobGroupEntry>,
    /// What stops deletes.
    pub brakes: Vec<Brake>,
    /// Pauses that operators have requested, and that have not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseEntry>,
    /// Nodes that operators keep; `None` without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptNodes>,
    /// Why this ehos changes nothing: another central manager is active, or may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
    /// What nothing more is made of, until an operator says so.
    pub protected: Vec<ProtectedKind>,
    /// Months' budgets that are spent.
    pub budgets_spent: Vec<BudgetSpent>,
    /// Jobs that run on no machine.
    pub stranded: Option<StrandedJobs>,
    /// What nodes cost, with those that are made; `None` without any price.
    pub cost: Option<Costs>,
    /// The window of `schedules` that holds.
    pub window: Option<ActiveWindow>,
    /// What did not answer or is not there.
    pub unknown_sources: Vec<UnknownSource>,
    /// How many sources did.
    #[serde(skip)]
    pub sources_seen: KnownSources,
    /// What an operator should know.
    pub notices: Vec<String>,
    /// What is to be done, in order.
    #[serde(skip)]
    pub actions: Vec<Action>,
    /// When the next pass would have something to do, where that is known.
    #[serde(skip)]
    pub look_again: Option<Duration>,
    /// The state with the plan's intents, to be on disk before anything is done.
    #[serde(skip)]
    pub next: State,
}

impl Plan {
    /// Whether no source of this kind is unknown.
    pub fn knows(&self, kind: SourceKind) -> bool {
        !self
            .unknown_sources
            .iter()
            .any(|unseen| unseen.source.kind == kind)
    }

    /// The number of nodes with this decision.
    pub fn count(&self, decision: NodeDecision) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.decision == decision)
            .count()
    }

    /// Adds excerpts of consoles to the reasons of failed nodes, and to the failures of their node types.
    pub fn learn_consoles(&mut self, consoles: &BTreeMap<NodeId, ConsoleExcerpt>) {
        for line in &mut self.nodes {
            let Some(console) = consoles.get(&line.node) else {
                continue;
            };
            let before = line.why.to_string();
            line.why.learn_console(console);
            let after = line.why.to_string();
            // A failure of another kind, or one that did not count, keeps its own message.
            let same = |last: &String| *last == before;
            for memory in &mut self.next.node_types {
                let of_it =
                    line.cloud == memory.node_type.cloud && line.flavor == memory.node_type.flavor;
                if let Some(last) = memory
                    .last_failure
                    .as_mut()
                    .filter(|last| of_it && same(last))
                {
                    last.clone_from(&after);
                }
            }
            let protected = self.protected.iter_mut().map(|one| &mut one.last_failure);
            let backoffs = self.backoffs.iter_mut().map(|one| &mut one.last_failure);
            for last in protected.chain(backoffs).filter(|last| same(last)) {
                last.clone_from(&after);
            }
        }
    }

    /// The state after the actions came out as they did, with what was done counted.
    pub fn after(&self, outcomes: &[Outcome], policy: &Policy) -> State {
        let mut next = self.next.clone().after(outcomes, policy);
        next.totals.record_outcomes(self, outcomes);
        next
    }
}

/// Plans one tick. The same observation, policy and state give the same plan.
pub fn plan(observation: &Observation, policy: &Policy, state: &State) -> Plan {
    let (policy, window) = policy.effective_at(observation.at);
    let policy = &*policy;
    let numbers = Numbers::new(observation, state);
    let (observation, cut) = amounts::bounded(observation, &numbers);
    let observation = &*observation;
    let mut next = state.at(observation.at);
    let survey = survey(observation, policy, &mut next, numbers);
    let mut brakes = brakes(observation, policy, &next, &survey);
    let standby = standby(&observation.pool, policy);
    if standby.is_some() {
        // The active ehos deletes nodes, and nothing is done here that this brake could block.
        brakes.retain(|brake| !matches!(brake, Brake::NodesVanished { .. }));
    }
    let stranded = stranded(observation, policy, &next, &survey);
    let costs = budget::count(observation.at, policy, &mut next, &survey.nodes, state.now);
    let mut planner = Planner::new(observation, policy, state, next, &survey, brakes, costs);
    planner.notices.extend(cut);
    planner.standby = standby;
    planner.next.vanished = match planner.many_vanished() {
        true => planner.next.vanished.or(Some(planner.next.now)),
        false => None,
    };
    match planner.standby {
        None => passes().into_iter().for_each(|pass| pass(&mut planner)),
        Some(_) => planner.stand_by(),
    }
    let mut plan = planner.into_plan();
    plan.window = window;
    plan.stranded = stranded;
    let mut totals = std::mem::take(&mut plan.next.totals);
    totals.record_plan(state, &plan, policy);
    plan.next.totals = totals;
    plan
}

/// What a plan is made by, in this order. Each pass leaves alone what an earlier one has decided.
fn passes<'a>() -> [fn(&mut Planner<'a>); 14] {
    [
        // Nodes that go although jobs wait: they serve none.
        Planner::go_before_demand,
        // Demand into what is there, before anything is made for it.
        Planner::place_demand,
        Planner::cancel_drains,
        // What is to be deleted has a part of max_actions, so it is chosen before creates and sent after them.
        Planner::choose_deletes,
        Planner::choose_builders,
        Planner::choose_leftovers,
        Planner::create,
        Planner::remove_builders,
        Planner::delete_nodes,
        Planner::remove_leftovers,
        Planner::take_off_floating_ips,
        // Surplus nodes, with the new ones counted.
        Planner::go_after_creates,
        Planner::forget,
        Planner::ask_for_cycle,
    ]
}

/// Nova's word for what a node's server does.
fn status_word(node: &Node<'_>) -> String {
    let record = node.server.map(|server| server.record());
    record.map_or_else(String::new, |record| record.status_word().to_owned())
}

/// The name of a phase.
pub fn phase_name(phase: &Phase) -> PhaseName {
    match phase {
        Phase::Requested => PhaseName::Requested,
        Phase::Building => PhaseName::Building,
        Phase::Booting => PhaseName::Booting,
        Phase::Idle { .. } => PhaseName::Idle,
        Phase::Busy => PhaseName::Busy,
        Phase::StartFalse => PhaseName::Closed,
        Phase::Draining { complete: true, .. } => PhaseName::Drained,
        Phase::Draining { .. } => PhaseName::Draining,
        Phase::Silent { .. } => PhaseName::Silent,
        Phase::Unobserved => PhaseName::Unheard,
        Phase::Inactive => PhaseName::Inactive,
        Phase::Stopped { .. } => PhaseName::Stopped,
        Phase::Failed { .. } => PhaseName::Failed,
        Phase::Lost { .. } => PhaseName::Lost,
        Phase::Unreachable { .. } => PhaseName::Unreachable,
        Phase::Deleting { .. } => PhaseName::Deleting,
        Phase::Gone | Phase::DeletedExternally => PhaseName::Gone,
        Phase::IntentExpired => PhaseName::Lapsed,
        Phase::IdentityMismatch { .. } => PhaseName::Unclear,
        Phase::Unsigned { .. } => PhaseName::Unsigned,
        Phase::Untrusted => PhaseName::Untrusted,
    }
}

fn queue(observation: &Observation) -> JobCounts {
    observation
        .pool
        .schedds
        .values()
        .filter_map(Observed::known)
        .fold(JobCounts::default(), |sum, schedd| JobCounts {
            idle: sum.idle + schedd.jobs.idle,
            running: sum.running + schedd.jobs.running,
            held: sum.held + schedd.jobs.held,
        })
}

fn to_come(observation: &Observation) -> u64 {
    let schedds = observation
        .pool
        .schedds
        .values()
        .filter_map(Observed::known);
    schedds.fold(0, |sum, schedd| sum.saturating_add(schedd.to_come))
}
