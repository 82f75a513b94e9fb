//! The plan: from what was seen, the policy and what is remembered to what is to be done, and why. Pure.

mod builders;
mod choosing;
mod contradictions;
mod creating;
mod cycle;
mod demand;
mod floating_ips;
mod held_back;
mod leftovers;
mod lifetime;
mod look_again;
mod removing;
mod retiring;
mod rotating;
mod tokens;
mod unsigned;

pub use held_back::MANY_STARTS;
pub use look_again::NEXT_DRAIN_LOOK;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{CloudAction, PoolAction};
use super::amounts;
use super::brakes::{Brake, brakes};
use super::budget::{self, BudgetSpent, Costs};
use super::console::ConsoleExcerpt;
use super::failing::ProtectedKind;
use super::figures::{
    self, BackoffFigures, CloudFigures, CoreFigures, PolicyFigures, ServerFigures, StartdFigures,
};
use super::leftover::LeftoverKind;
use super::limits::Planned;
use super::memory::{Kind, Outcome, State};
use super::names::{ActionName, PhaseName, names};
use super::needs::{self, Answer, JobFault, JobKind, Needs, OwnerBound};
use super::node::{JobListed, Node, Phase, job_listed};
use super::obscure;
use super::observation::{CloudName, JobCounts, NodeId, Observation, Resources, Seen};
use super::pace::ActionCounts;
use super::policy::Policy;
use super::reason::{Reason, Unheard, seconds};
use super::schedule::InForce;
use super::source::{Source, SourceKind};
use super::stranded::{StrandedJobs, stranded};
use super::submitter::{ChargedNodes, Submitters};
use super::survey::{Survey, survey};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // A tick has few of them.
pub enum Action {
    /// By a cloud.
    Cloud {
        /// Which.
        cloud: CloudName,
        /// What.
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
    pub enum Fate {
        /// It stays as it is.
        Keeps = "keeps",
        /// It is created.
        Creates = "creates",
        /// It is drained.
        Drains = "drains",
        /// Its drain is cancelled.
        Returns = "returns",
        /// Its server is deleted.
        Deletes = "deletes",
        /// Its server is gone; it is forgotten.
        Forgets = "forgets",
        /// A floating IP: it is disassociated from its node, and stays the project's.
        Frees = "frees",
    }
}

/// One node in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLine {
    /// Its id.
    pub node: NodeId,
    /// Its server's name.
    pub name: String,
    /// Its cloud.
    pub cloud: CloudName,
    /// Its flavor.
    pub flavor: String,
    /// Its availability zone, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its server.
    pub server: ServerFigures,
    /// Its startd, when the collector has an ad of it.
    pub startd: Option<StartdFigures>,
    /// Where it is in its life, in a word.
    pub phase: PhaseName,
    /// What happens to it.
    pub fate: Fate,
    /// Why.
    #[serde(flatten)]
    pub why: Reason,
}

/// One builder in the plan: a server that becomes an image, and no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuilderLine {
    /// Its id (`ehos_node`), or its server's UUID.
    pub node: NodeId,
    /// Its server's UUID.
    pub server: String,
    /// Its server's name.
    pub name: String,
    /// Its cloud.
    pub cloud: CloudName,
    /// What happens to it.
    pub fate: Fate,
    /// Why.
    #[serde(flatten)]
    pub why: Reason,
}

/// One thing in the plan that a server has left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftoverLine {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: LeftoverKind,
    /// Its name, or the address of a floating IP; a port has none.
    pub name: String,
    /// Its cloud.
    pub cloud: CloudName,
    /// The UUID of the server that it was made for, where that is known.
    pub server: Option<String>,
    /// What happens to it.
    pub fate: Fate,
    /// Why.
    #[serde(flatten)]
    pub why: Reason,
}

/// One floating IP in the plan that leads to a node and is to be taken off it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FloatingIpLine {
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
    pub fate: Fate,
    /// Why.
    #[serde(flatten)]
    pub why: Reason,
}

/// One group of jobs in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupLine {
    /// What each job asks for.
    pub request: Resources,
    /// A digest of what they need besides room (Requirements); groups with another one are other groups.
    #[serde(skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
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
    pub why: Vec<Reason>,
}

/// A source that did not answer, or something configured that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Its name.
    pub source: Source,
    /// Why.
    pub why: String,
}

/// How many sources answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcesSeen {
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
    pub nodes: Vec<NodeLine>,
    /// Every builder.
    pub builders: Vec<BuilderLine>,
    /// What servers have left behind, and what looks so.
    pub leftovers: Vec<LeftoverLine>,
    /// Floating IPs that lead to nodes, with `purge_floating_ips`.
    pub floating_ips: Vec<FloatingIpLine>,
    /// Every group of waiting jobs, the largest request first.
    pub groups: Vec<GroupLine>,
    /// What stops deletes.
    pub brakes: Vec<Brake>,
    /// What nothing more is made of, until an operator says so.
    pub protected: Vec<ProtectedKind>,
    /// Months' budgets that are spent.
    pub budgets_spent: Vec<BudgetSpent>,
    /// Jobs that run on no machine.
    pub stranded: Option<StrandedJobs>,
    /// What nodes cost, with those that are made; `None` without any price.
    pub cost: Option<Costs>,
    /// The window of `schedules` that holds.
    pub window: Option<InForce>,
    /// What did not answer or is not there.
    pub unseen: Vec<Unseen>,
    /// How many sources did.
    #[serde(skip)]
    pub sources_seen: SourcesSeen,
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
        !self.unseen.iter().any(|unseen| unseen.source.kind == kind)
    }

    /// Nodes with this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.nodes.iter().filter(|node| node.fate == fate).count()
    }

    /// Adds what consoles said to the reasons of nodes that failed, and to what is remembered and told of their kinds.
    pub fn learn_consoles(&mut self, consoles: &BTreeMap<NodeId, ConsoleExcerpt>) {
        for line in &mut self.nodes {
            let Some(console) = consoles.get(&line.node) else {
                continue;
            };
            let before = line.why.to_string();
            line.why.learn_console(console);
            let after = line.why.to_string();
            // A failure that was counted as another one, or not at all, keeps its own words.
            let same = |last: &String| *last == before;
            for memory in &mut self.next.kinds {
                let of_it = memory.kind.cloud == line.cloud && memory.kind.flavor == line.flavor;
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
        next.totals.did(self, outcomes);
        next
    }
}

/// Plans one tick. The same observation, policy and state give the same plan.
pub fn plan(observation: &Observation, policy: &Policy, state: &State) -> Plan {
    let (policy, window) = policy.in_force(observation.at);
    let policy = &*policy;
    let (observation, cut) = amounts::bounded(observation, state);
    let observation = &*observation;
    let mut next = state.at(observation.at);
    let survey = survey(observation, policy, &mut next);
    let brakes = brakes(observation, policy, &next, &survey);
    let vanished = brakes
        .iter()
        .any(|brake| matches!(brake, Brake::NodesVanished { .. }));
    next.vanished = vanished.then(|| next.vanished.unwrap_or(next.now));
    let costs = budget::count(observation.at, policy, &mut next, &survey.nodes, state.now);
    let mut planner = Planner::new(observation, policy, next, survey, brakes, costs);
    planner.window = window;
    planner.notices.extend(cut);
    planner.stranded = stranded(observation, policy, &planner.next, &planner.survey);
    planner.drain_ending_tokens();
    planner.drain_retiring();
    planner.drain_outlived();
    planner.drain_above_nodes_max();
    planner.remember_images();
    planner.drain_older_images();
    let groups = planner.place_demand();
    planner.take_back_drains();
    planner.choose_removals();
    planner.choose_builders();
    planner.choose_leftovers(state);
    let groups = planner.create(groups);
    planner.remove_builders();
    planner.remove();
    planner.remove_leftovers();
    planner.take_off_floating_ips();
    planner.try_newer_images();
    planner.drain_surplus();
    planner.drain_closed();
    planner.forget();
    planner.ask_for_cycle();
    planner.count_actions();
    let mut plan = planner.into_plan(groups);
    let mut totals = std::mem::take(&mut plan.next.totals);
    totals.saw(state, &plan, policy);
    plan.next.totals = totals;
    plan
}

/// A group of jobs on its way through the plan.
struct Group {
    asks: JobKind,
    /// The submitters of its jobs that have a limit.
    submitters: Submitters,
    jobs: u64,
    /// One of its jobs.
    example: Option<String>,
    waiting: Duration,
    left: u64,
    /// Of those that are left, the young ones.
    young: u64,
    /// Of its jobs, those that find room beside others on nodes that are made for these.
    beside: u64,
    why: Vec<Reason>,
    /// New nodes that may be made for it; none while it takes none of our slots.
    may_buy: u64,
    /// Of its jobs, those that took none of the nodes made for them: neither placed nor bought for.
    refused: u64,
    /// Why it could not be read.
    fault: Option<JobFault>,
}

/// Servers of ours that exist or may, with those that the plan makes: what limits are judged by, counted once.
struct Counts {
    nodes: u64,
    in_cloud: BTreeMap<CloudName, u64>,
    /// Those that are on their way, or have joined and take no jobs.
    unjoined_of_kind: BTreeMap<Kind, u64>,
    charged: ChargedNodes,
}

impl Counts {
    fn of(survey: &Survey<'_>, observation: &Observation, state: &State) -> Counts {
        let cores = |node: &Node<'_>| cores(&node.kind, observation, state);
        let mut counts = Counts {
            nodes: 0,
            in_cloud: BTreeMap::new(),
            unjoined_of_kind: BTreeMap::new(),
            charged: ChargedNodes::count(&survey.nodes, state, cores),
        };
        for (cloud, servers) in &survey.uncounted {
            counts.nodes += servers;
            counts.in_cloud.insert(cloud.clone(), *servers);
        }
        for node in survey.nodes.iter().filter(|node| node.exists()) {
            let proven = state
                .nodes
                .get(&node.id)
                .is_some_and(|memory| memory.proven);
            // One that takes no jobs proves nothing; one that is going or lost is not on its way.
            let unproven = node.coming() || (node.phase == Phase::Closed && !proven);
            counts.add(&node.kind, unproven);
        }
        counts
    }

    fn add(&mut self, kind: &Kind, unproven: bool) {
        self.nodes += 1;
        match self.in_cloud.get_mut(&kind.cloud) {
            Some(count) => *count += 1,
            None => drop(self.in_cloud.insert(kind.cloud.clone(), 1)),
        }
        if unproven {
            *self.unjoined_of_kind.entry(kind.clone()).or_default() += 1;
        }
    }
}

/// The cores of a flavor, or else those that nodes of it were seen to have.
fn cores(kind: &Kind, observation: &Observation, state: &State) -> u64 {
    let view = observation.clouds.get(&kind.cloud).and_then(Seen::known);
    let flavor = view.and_then(|view| view.flavors.get(&kind.flavor));
    let capacity = || needs::capacity(kind, state, &observation.clouds);
    flavor.map_or_else(
        || capacity().map_or(0, |capacity| capacity.total().cpus),
        |flavor| flavor.vcpus,
    )
}

/// A new node of the plan.
struct NewNode {
    id: NodeId,
    name: String,
    zone: Option<String>,
    kind: Kind,
    why: Reason,
}

struct Planner<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    next: State,
    survey: Survey<'a>,
    brakes: Vec<Brake>,
    costs: Costs,
    budgets_spent: Vec<BudgetSpent>,
    window: Option<InForce>,
    stranded: Option<StrandedJobs>,
    /// Jobs that were placed on each node, by its index in the survey.
    placed: Vec<u64>,
    /// What happens to each node, by its index in the survey.
    fates: Vec<Option<(Fate, Reason)>>,
    /// Indexes of nodes whose servers are to be deleted, in order.
    removals: Vec<(usize, Reason)>,
    builders: Vec<BuilderLine>,
    leftovers: Vec<LeftoverLine>,
    floating_ips: Vec<FloatingIpLine>,
    /// The creates, deletes and removals of the last minute.
    changes_before: u64,
    /// The nodes that are drained, with those of the last minute.
    drains: u64,
    new_nodes: Vec<NewNode>,
    counts: Counts,
    /// Of kinds whose images are tested: how many nodes may be on their way before one has joined.
    first_nodes: BTreeMap<Kind, u64>,
    planned: BTreeMap<CloudName, Planned>,
    actions: Vec<Action>,
    notices: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(
        observation: &'a Observation,
        policy: &'a Policy,
        mut next: State,
        survey: Survey<'a>,
        brakes: Vec<Brake>,
        costs: Costs,
    ) -> Planner<'a> {
        let before = next.recent.count(next.now);
        let budgets_spent = costs.spent(policy);
        let count = survey.nodes.len();
        let counts = Counts::of(&survey, observation, &next);
        Planner {
            observation,
            policy,
            next,
            survey,
            brakes,
            costs,
            budgets_spent,
            window: None,
            stranded: None,
            placed: vec![0; count],
            fates: vec![None; count],
            removals: Vec::new(),
            builders: Vec::new(),
            leftovers: Vec::new(),
            floating_ips: Vec::new(),
            changes_before: before.changes,
            drains: before.drains,
            new_nodes: Vec::new(),
            counts,
            first_nodes: BTreeMap::new(),
            planned: BTreeMap::new(),
            actions: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Whether a node of `kind` takes jobs that ask for this.
    fn answer(&self, kind: &Kind, asks: &JobKind) -> Answer<'a> {
        self.observation.matches.answer(kind, asks)
    }

    /// How many more creates, deletes and removals `max_actions` leaves, beside these.
    fn changes_left(&self, planned: u64) -> u64 {
        let changes = self.changes_before.saturating_add(planned);
        self.policy.max_actions.saturating_sub(changes)
    }

    /// Remembers how many actions the plan has.
    fn count_actions(&mut self) {
        let is_change = |action: &&Action| matches!(action, Action::Cloud { .. });
        let is_drain = |action: &&Action| matches!(action, Action::Pool(PoolAction::Drain { .. }));
        let counts = ActionCounts {
            changes: self.actions.iter().filter(is_change).count() as u64,
            drains: self.actions.iter().filter(is_drain).count() as u64,
        };
        self.next.recent.add(self.next.now, counts);
    }

    fn needed(&self, index: usize) -> bool {
        self.placed.get(index).is_some_and(|jobs| *jobs > 0)
    }

    fn settle(&mut self, index: usize, fate: Fate, why: Reason) {
        if let Some(entry) = self.fates.get_mut(index) {
            *entry = Some((fate, why));
        }
    }

    fn settled(&self, index: usize) -> bool {
        self.fates.get(index).is_some_and(Option::is_some)
    }

    /// The brake that stops new nodes.
    fn create_brake(&self) -> Option<String> {
        self.brakes
            .iter()
            .find(|brake| brake.stops_creates())
            .map(ToString::to_string)
    }

    /// Indexes of nodes for which `which` holds.
    fn nodes_where(&self, which: impl Fn(&Node<'a>) -> bool) -> Vec<usize> {
        self.survey
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| which(node))
            .map(|(index, _)| index)
            .collect()
    }

    fn has_fate(&self, index: usize, fate: Fate) -> bool {
        matches!(self.fates.get(index), Some(Some((settled, _))) if *settled == fate)
    }

    /// Nodes that take jobs or will, of those there are and of the new ones: with drains that are taken back, without
    /// those that are drained or whose tokens end.
    fn alive(&self) -> u64 {
        let nodes = self.survey.nodes.iter().enumerate();
        let there = nodes
            .filter(|(index, node)| {
                node.alive() && !node.retires() && !self.has_fate(*index, Fate::Drains)
                    || self.has_fate(*index, Fate::Returns)
            })
            .count();
        (there + self.new_nodes.len()) as u64
    }

    /// Nodes that take jobs or will and that no job needs: what nodes_spare counts.
    fn unneeded(&self) -> u64 {
        let idle = |node: &Node<'_>| node.coming() || matches!(node.phase, Phase::Idle { .. });
        let nodes = self.survey.nodes.iter().enumerate();
        let there = nodes.filter(|(index, node)| {
            let there = idle(node) && !node.retires() && !self.has_fate(*index, Fate::Drains)
                || self.has_fate(*index, Fate::Returns);
            there && !self.needed(*index)
        });
        let new = self
            .new_nodes
            .iter()
            .filter(|node| !matches!(node.why, Reason::CreateForDemand { .. }));
        (there.count() + new.count()) as u64
    }

    /// How many idle nodes are kept beyond those that are needed.
    fn spare(&self) -> u64 {
        let needed = self.alive().saturating_sub(self.unneeded());
        self.policy.nodes_spare.nodes(needed)
    }

    fn spare_reason(&self) -> Reason {
        Reason::Spare {
            nodes_spare: self.spare(),
            percent: self.policy.nodes_spare.percent(),
        }
    }

    fn into_plan(mut self, groups: Vec<Group>) -> Plan {
        let look_again = self.look_again();
        let mut told = self.outlived();
        told.extend(self.ending_tokens());
        told.extend(self.older_images());
        told.extend(self.retiring());
        let mut nodes = Vec::with_capacity(self.survey.nodes.len() + self.new_nodes.len());
        // Counted once, while all fates are there.
        let spare = self.spare_reason();
        for index in 0..self.survey.nodes.len() {
            let (fate, why) = match self.fates.get_mut(index).and_then(Option::take) {
                Some(settled) => settled,
                None => (Fate::Keeps, self.kept_because(index, &spare)),
            };
            let Some(node) = self.survey.nodes.get(index) else {
                continue;
            };
            let why = match why {
                // Its cloud does answer.
                Reason::CloudUnknown
                | Reason::Unheard {
                    cause: Unheard::CloudUnknown { .. },
                } if self.survey.obscured.contains(&node.id) => Reason::ServerUnread,
                why => why,
            };
            nodes.push(NodeLine {
                node: node.id.clone(),
                name: node.name.clone(),
                cloud: node.kind.cloud.clone(),
                flavor: node.kind.flavor.clone(),
                zone: self
                    .next
                    .nodes
                    .get(&node.id)
                    .and_then(|memory| memory.zone.clone()),
                server: figures::server_of(self.observation, self.policy, &self.next, node),
                startd: figures::startd_of(node),
                phase: phase_name(&node.phase),
                fate,
                why,
            });
        }
        let (observation, policy) = (self.observation, self.policy);
        nodes.extend(self.new_nodes.into_iter().map(|new| NodeLine {
            server: figures::server(
                observation,
                policy.cloud(&new.kind.cloud),
                &new.kind.flavor,
                &new.kind.image,
            ),
            startd: None,
            node: new.id,
            name: new.name,
            cloud: new.kind.cloud,
            flavor: new.kind.flavor,
            zone: new.zone,
            phase: PhaseName::New,
            fate: Fate::Creates,
            why: new.why,
        }));
        let contradictions = contradictions::told(&self.survey);
        let mut notices = self.notices;
        notices.extend(obscure::told(self.observation));
        notices.extend(obscure::counted(&self.survey.uncounted));
        notices.extend(unsigned::told(&self.survey, &self.next));
        notices.extend(told);
        notices.extend(self.next.full_zones(self.policy));
        let foreign = |node: &&NodeId| {
            let memory = self.next.nodes.get(node);
            memory.is_some_and(|memory| memory.other_condor_host.is_some())
        };
        let unsigned = |node: &&NodeId| {
            let memory = self.next.nodes.get(node);
            memory.is_some_and(|memory| memory.unsigned.is_some())
        };
        let adopted = self.survey.adopted.iter().filter(|node| !unsigned(node));
        let (foreign, adopted): (Vec<&NodeId>, Vec<&NodeId>) = adopted.partition(foreign);
        for (nodes, found, what) in [
            (adopted, "adopted", "that this state did not know"),
            (
                foreign,
                "found",
                "with this ehos.cluster and another central manager, not touched",
            ),
        ] {
            let servers = match nodes.len() {
                0 => continue,
                1 => "a server",
                _ => "servers",
            };
            let names: Vec<&str> = nodes.iter().map(|node| node.0.as_str()).collect();
            notices.push(format!("{found} {servers} {what}: {}", names.join(", ")));
        }
        Plan {
            at: self.observation.at,
            policy: PolicyFigures::of(self.policy),
            queue: queue(self.observation),
            to_come: to_come(self.observation),
            cores: figures::cores(self.observation, self.policy, &self.next, &self.survey),
            clouds: figures::clouds(self.observation, self.policy, &self.next, &self.survey),
            backoffs: figures::backoffs(self.policy, &self.next),
            nodes,
            builders: self.builders,
            leftovers: self.leftovers,
            floating_ips: self.floating_ips,
            groups: groups
                .into_iter()
                .map(|group| GroupLine {
                    request: group.asks.request,
                    by_machine: self.observation.matches.depends_on_machine(&group.asks),
                    needs: group.asks.needs,
                    submitters: group.submitters,
                    example: group.example,
                    jobs: group.jobs,
                    waiting_seconds: seconds(group.waiting),
                    why: group.why,
                })
                .collect(),
            brakes: self.brakes,
            protected: self.next.protected(self.policy),
            budgets_spent: self.budgets_spent,
            stranded: self.stranded,
            cost: self.costs.known(self.policy).then_some(self.costs),
            window: self.window,
            unseen: unseen(self.observation, self.policy, &self.next)
                .into_iter()
                .chain(contradictions)
                .collect(),
            sources_seen: SourcesSeen {
                schedds: self
                    .observation
                    .pool
                    .schedds
                    .values()
                    .filter(|schedd| schedd.is_known())
                    .count(),
                clouds: self
                    .observation
                    .clouds
                    .values()
                    .filter(|cloud| cloud.is_known())
                    .count(),
            },
            notices,
            actions: self.actions,
            look_again,
            next: self.next,
        }
    }

    /// For how long a node's startd has been seen to take no jobs.
    fn closed_seconds(&self, node: &Node<'_>) -> u64 {
        let memory = self.next.nodes.get(&node.id);
        let closed = memory.and_then(|memory| memory.closed);
        closed.map_or(0, |since| seconds(self.next.now.since(since)))
    }

    /// Whether a schedd lists a running job on a node.
    fn listed_job(&self, node: &Node<'_>) -> JobListed {
        let memory = self.next.nodes.get(&node.id);
        let machine = memory.and_then(|memory| memory.machine.as_deref());
        machine.map_or(JobListed::Unknown, |machine| {
            job_listed(&self.observation.pool, machine)
        })
    }

    fn drain_not_complete(&self, node: &Node<'_>) -> Reason {
        let memory = self.next.nodes.get(&node.id);
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        let contradicted = memory.and_then(|memory| memory.contradicted);
        match contradicted.filter(|_| drain.is_some_and(|drain| drain.complete)) {
            Some(at) => Reason::DrainContradicted {
                unlisted_seconds: seconds(self.next.now.since(at)),
                lost_job_timeout_seconds: seconds(self.policy.lost_job_timeout),
            },
            None => Reason::DrainNotComplete,
        }
    }

    /// A schedd that does not answer.
    fn unknown_schedd(&self) -> Option<String> {
        let mut schedds = self.observation.pool.schedds.iter();
        let unknown = schedds.find(|(_, schedd)| !schedd.is_known());
        unknown.map(|(name, _)| name.clone())
    }

    /// Why nothing is known of a node.
    fn unheard(&self, node: &Node<'_>, age: u64) -> Unheard {
        let memory = self.next.nodes.get(&node.id);
        let joined = memory.is_some_and(|memory| memory.joined.is_some());
        match &self.observation.pool.collector {
            _ if !node.cloud_known && !joined => Unheard::CloudUnknown { seconds: age },
            Seen::Unknown(_) => Unheard::CollectorUnknown,
            Seen::Known(collector) => Unheard::CollectorYoung {
                up_seconds: seconds(collector.up_for),
                collector_grace_seconds: seconds(self.policy.collector_grace),
            },
        }
    }

    /// Why an idle node whose server is not known to run is not drained.
    fn not_drained(&self, node: &Node<'_>) -> Reason {
        match node.server {
            Some(_) if node.cloud_known => Reason::NotActive {
                status: status_word(node),
            },
            _ => Reason::CloudUnknown,
        }
    }

    /// The name under which a schedd lists a running job on a node whose startd says that it is drained.
    fn drained_with_job(&self, node: &Node<'_>) -> Option<String> {
        let startd = node.startd?;
        let drained = startd.draining.as_ref().is_some_and(|drain| drain.complete);
        let memory = self.next.nodes.get(&node.id)?;
        let pool = &self.observation.pool;
        let mut machines = memory.machines().chain([memory.name.as_str()]);
        let listed = machines.find(|machine| job_listed(pool, machine) == JobListed::Yes);
        listed
            .filter(|_| drained && startd.claims() == 0)
            .map(str::to_owned)
    }

    /// Why a node that nothing happens to is as it is.
    fn kept_because(&self, index: usize, spare: &Reason) -> Reason {
        let Some(node) = self.survey.nodes.get(index) else {
            return Reason::CloudUnknown;
        };
        let age = self
            .next
            .nodes
            .get(&node.id)
            .map(|memory| seconds(self.next.now.since(memory.started)))
            .unwrap_or_default();
        let jobs = self.placed.get(index).copied().unwrap_or_default();
        let policy = self.policy;
        if let Some((other, startd)) = node.contested.zip(node.startd) {
            return Reason::Contested {
                first: startd.called(),
                second: other.called(),
            };
        }
        match &node.phase {
            Phase::Requested => Reason::Requested { seconds: age },
            Phase::Building => Reason::Building { seconds: age },
            Phase::Booting if !node.cloud_known => Reason::CloudUnknown,
            Phase::Booting => Reason::Booting {
                seconds: age,
                boot_timeout_seconds: seconds(policy.boot_timeout),
            },
            Phase::Busy => {
                let total = node
                    .startd
                    .map(|startd| startd.total().cpus)
                    .unwrap_or_default();
                let free = node
                    .startd
                    .map(|startd| startd.free().cpus)
                    .unwrap_or_default();
                Reason::Busy {
                    claimed_cpus: total.saturating_sub(free),
                    total_cpus: total,
                }
            }
            Phase::Idle { .. } if jobs > 0 => Reason::NeededByDemand { jobs },
            Phase::Idle { .. } if !node.cloud_known => Reason::CloudUnknown,
            Phase::Idle { .. } => spare.clone(),
            Phase::Closed => Reason::TakesNoJobs {
                closed_seconds: self.closed_seconds(node),
            },
            Phase::Draining { ours: false, .. } => Reason::DrainedByOther {
                drain_reason: node
                    .startd
                    .and_then(|startd| startd.draining.as_ref())
                    .map(|drain| drain.reason.clone())
                    .unwrap_or_default(),
            },
            Phase::Draining { complete: true, .. } if !node.cloud_known => Reason::CloudUnknown,
            Phase::Draining { .. } => match self.drained_with_job(node) {
                Some(machine) => Reason::DrainedWithJob { machine },
                None => self.drain_not_complete(node),
            },
            Phase::Silent { silent_for, job } => {
                let silent_seconds = seconds(*silent_for);
                let lost_job_timeout_seconds = seconds(policy.lost_job_timeout);
                let memory = self.next.nodes.get(&node.id);
                let joined = memory.is_some_and(|memory| memory.joined.is_some());
                match job {
                    _ if !joined => Reason::SilentAdopted {
                        silent_seconds,
                        lost_job_timeout_seconds,
                    },
                    JobListed::Unknown => Reason::SilentOnUnknownSchedd {
                        silent_seconds,
                        lost_job_timeout_seconds,
                        schedd: self.unknown_schedd(),
                    },
                    job => {
                        let job_listed = *job == JobListed::Yes;
                        let timeout = if job_listed {
                            policy.lost_job_timeout
                        } else {
                            policy.lost_timeout
                        };
                        Reason::Silent {
                            silent_seconds,
                            lost_timeout_seconds: seconds(timeout),
                            job_listed,
                        }
                    }
                }
            }
            Phase::Unheard => Reason::Unheard {
                cause: self.unheard(node, age),
            },
            Phase::Inactive => Reason::Inactive {
                status: status_word(node),
                job: self.listed_job(node),
            },
            Phase::Unreachable {
                silent_for,
                job,
                unlisted_for,
            } => Reason::Unreachable {
                silent_seconds: seconds(*silent_for),
                unlisted_seconds: seconds(*unlisted_for),
                lost_job_timeout_seconds: seconds(policy.lost_job_timeout),
                job_left: *job,
            },
            Phase::Stopped { silent, .. } => Reason::Stopped {
                silent: *silent,
                job: self.listed_job(node),
            },
            Phase::Deleting { ours: true, .. } => {
                let memory = self.next.nodes.get(&node.id);
                let since =
                    memory.and_then(|memory| memory.delete_accepted.or(memory.delete_intended));
                let seconds = since
                    .map(|since| seconds(self.next.now.since(since)))
                    .unwrap_or_default();
                Reason::DeleteUnderWay { seconds }
            }
            Phase::Deleting { .. } => Reason::DeletedByOther,
            Phase::Vanished | Phase::Gone => Reason::GoneFromCloud,
            Phase::Lapsed => Reason::IntentLapsed { seconds: age },
            Phase::Contradiction { instance_id, node } => Reason::Contradiction {
                says_instance_id: instance_id.clone(),
                says_node: node.clone(),
            },
            Phase::Unsigned { counts } => Reason::Unsigned { counts: *counts },
            Phase::Untrusted => {
                let memory = self.next.nodes.get(&node.id);
                let elsewhere = memory.and_then(|memory| memory.other_condor_host.as_ref());
                match (elsewhere, &policy.condor_host) {
                    (Some(host), Some(ours)) => Reason::AnotherCondorHost {
                        condor_host: host.clone(),
                        configured_condor_host: ours.clone(),
                    },
                    _ => Reason::AdoptedUntrusted { seconds: age },
                }
            }
            Phase::Failed { .. } | Phase::Lost { .. } if !node.cloud_known => Reason::CloudUnknown,
            Phase::Failed { .. } | Phase::Lost { .. } => Reason::MaxActions {
                max_actions: policy.max_actions,
            },
        }
    }
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
        Phase::Closed => PhaseName::Closed,
        Phase::Draining { complete: true, .. } => PhaseName::Drained,
        Phase::Draining { .. } => PhaseName::Draining,
        Phase::Silent { .. } => PhaseName::Silent,
        Phase::Unheard => PhaseName::Unheard,
        Phase::Inactive => PhaseName::Inactive,
        Phase::Stopped { .. } => PhaseName::Stopped,
        Phase::Failed { .. } => PhaseName::Failed,
        Phase::Lost { .. } => PhaseName::Lost,
        Phase::Unreachable { .. } => PhaseName::Unreachable,
        Phase::Deleting { .. } => PhaseName::Deleting,
        Phase::Gone | Phase::Vanished => PhaseName::Gone,
        Phase::Lapsed => PhaseName::Lapsed,
        Phase::Contradiction { .. } => PhaseName::Unclear,
        Phase::Unsigned { .. } => PhaseName::Unsigned,
        Phase::Untrusted => PhaseName::Untrusted,
    }
}

fn queue(observation: &Observation) -> JobCounts {
    observation
        .pool
        .schedds
        .values()
        .filter_map(Seen::known)
        .fold(JobCounts::default(), |sum, schedd| JobCounts {
            idle: sum.idle + schedd.jobs.idle,
            running: sum.running + schedd.jobs.running,
            held: sum.held + schedd.jobs.held,
        })
}

fn to_come(observation: &Observation) -> u64 {
    let schedds = observation.pool.schedds.values().filter_map(Seen::known);
    schedds.fold(0, |sum, schedd| sum.saturating_add(schedd.to_come))
}

/// Owners whose jobs are named beyond their share; of more only the first are.
const MAX_OWNERS_TOLD: usize = 20;

/// The jobs that are not read because their owner's share is used up, those of the owners with the most first.
fn beyond_shares(observation: &Observation) -> Vec<Unseen> {
    let mut jobs: BTreeMap<(&Option<String>, OwnerBound), u64> = BTreeMap::new();
    let schedds = observation.pool.schedds.values().filter_map(Seen::known);
    for demand in schedds.flat_map(|schedd| &schedd.demand) {
        if let Some(JobFault::OwnerBound { owner, bound }) = &demand.fault {
            let sum = jobs.entry((owner, *bound)).or_default();
            *sum = sum.saturating_add(demand.jobs);
        }
    }
    let mut jobs: Vec<_> = jobs.into_iter().collect();
    jobs.sort_by_key(|(which, jobs)| (std::cmp::Reverse(*jobs), *which));
    let told = jobs.into_iter().take(MAX_OWNERS_TOLD);
    let unseen = told.map(|((owner, bound), jobs)| Unseen {
        source: Source::new(
            SourceKind::Jobs,
            owner.as_deref().unwrap_or("an unknown owner"),
        ),
        why: format!("no node is created for {jobs} of them: {bound}"),
    });
    unseen.collect()
}

fn unseen(observation: &Observation, policy: &Policy, state: &State) -> Vec<Unseen> {
    let mut all = Vec::new();
    if let Seen::Unknown(why) = &observation.pool.collector {
        all.push(Unseen {
            source: Source::only(SourceKind::Collector),
            why: why.clone(),
        });
    }
    let collector = observation.pool.collector.known();
    for ad in collector.iter().flat_map(|view| &view.unreadable) {
        let counts = if ad.owner_known {
            "it counts as claimed; see condor_status -long, and correct what the startd publishes"
        } else {
            "it counts as claimed, and silent nodes that it may be of are left alone; see condor_status -long, and \
             correct what the startd publishes"
        };
        all.push(Unseen {
            source: Source::new(SourceKind::Slot, ad.slot_name()),
            why: format!("{}: {counts}", ad.what),
        });
    }
    let forged = collector.iter().flat_map(|view| &view.forged);
    all.extend(forged.map(|ad| Unseen {
        source: Source::new(SourceKind::Ad, ad.of.to_string()),
        why: ad.why.clone(),
    }));
    for (name, schedd) in &observation.pool.schedds {
        if let Seen::Unknown(why) = schedd {
            all.push(Unseen {
                source: Source::new(SourceKind::Schedd, name),
                why: why.clone(),
            });
        }
    }
    all.extend(beyond_shares(observation));
    for (name, cloud) in &observation.clouds {
        if let Seen::Unknown(why) = cloud {
            let source = Source::new(SourceKind::Cloud, name);
            // The client's own messages begin with it.
            let why = why.strip_prefix(&format!("{source}: ")).unwrap_or(why);
            all.push(Unseen {
                why: why.to_owned(),
                source,
            });
        }
    }
    if let Some(why) = observation.matches.failure() {
        all.push(Unseen {
            source: Source::only(SourceKind::Matches),
            why: why.to_owned(),
        });
    }
    for (name, cloud) in &observation.clouds {
        if let Some(Seen::Unknown(why)) = cloud.known().map(|cloud| &cloud.leftovers) {
            let why = why.strip_prefix(&format!("cloud {name}: ")).unwrap_or(why);
            all.push(Unseen {
                source: Source::new(SourceKind::Leftovers, name),
                why: why.to_owned(),
            });
        }
    }
    for (name, cloud) in &observation.clouds {
        if let Some(Seen::Unknown(why)) = cloud.known().map(|cloud| &cloud.parts) {
            let why = why.strip_prefix(&format!("cloud {name}: ")).unwrap_or(why);
            all.push(Unseen {
                source: Source::new(SourceKind::Limits, name),
                why: why.to_owned(),
            });
        }
    }
    all.extend(retiring::removed(state, |cloud| {
        observation.clouds.contains_key(cloud)
    }));
    for cloud in policy.clouds.iter().filter(|cloud| !cloud.retire) {
        let view = observation.clouds.get(&cloud.name).and_then(Seen::known);
        for flavor in &cloud.flavors {
            let unread = view.and_then(|view| view.unread_flavors.get(flavor));
            if let Some(why) = unread {
                all.push(Unseen {
                    source: Source::new(
 SourceKind::Flavor,
 format!("{flavor} of cloud {}", cloud.name),
),
                    why: format!(
                        "{why}: no node of it is created; ask the operators of the cloud to correct this flavor"
                    ),
                });
            } else if view.is_some_and(|view| !view.flavors.contains_key(flavor)) {
                all.push(Unseen {
                    source: Source::new(
                        SourceKind::Flavor,
                        format!("{flavor} of cloud {}", cloud.name),
                    ),
                    why: "this cloud has no such flavor for this project: no node of it is made; \
                          correct `flavor` in the configuration of this cloud"
                        .to_owned(),
                });
            }
        }
    }
    all
}
