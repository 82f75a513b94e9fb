//! The working state of a plan: each node with its decision, counts for the limits, and actions.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use super::choosing::Allowances;
use super::{Action, BuilderEntry, FloatingIpEntry, LeftoverEntry, NodeDecision};
use crate::action::{CloudAction, PoolAction};
use crate::brakes::Brake;
use crate::budget::{BudgetSpent, Costs};
use crate::high_availability::Standby;
use crate::job_requirements::{self, JobFault, JobGroupKey, MatchAnswer};
use crate::limits::Planned;
use crate::machine_names::MachineNames;
use crate::node::{JobListed, Node, Phase};
use crate::node_inventory::NodeInventory;
use crate::observation::{CloudName, NodeId, Observation, Observed};
use crate::pace::ActionCounts;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::seconds::{Seconds, seconds};
use crate::state::{NodeState, NodeType, State};
use crate::submitter::{ChargedNodes, Submitters};

/// A node, and what becomes of it.
pub(super) struct NodePlan<'a> {
    pub(super) node: &'a Node<'a>,
    /// Jobs that were placed on it.
    pub(super) jobs: u64,
    /// What happens to it and why, once a pass has decided that. Most nodes are decided last, and passes go over all of them.
    pub(super) decision: Option<Box<(NodeDecision, Reason)>>,
    outline: Outline,
}

/// Properties of a node that do not change in a plan: passes over all nodes read little besides these.
#[derive(Clone, Copy)]
struct Outline {
    exists: bool,
    alive: bool,
    coming: bool,
    idle: bool,
    kept_by_operator: bool,
    replaced: bool,
    retires: bool,
}

impl Outline {
    fn of(node: &Node<'_>) -> Outline {
        Outline {
            exists: node.exists(),
            alive: node.alive(),
            coming: node.coming(),
            idle: matches!(node.phase, Phase::Idle { .. }),
            kept_by_operator: node.is_kept_by_operator(),
            replaced: node.is_replaced(),
            retires: node.retires(),
        }
    }
}

impl<'a> Deref for NodePlan<'a> {
    type Target = Node<'a>;

    fn deref(&self) -> &Node<'a> {
        self.node
    }
}

/// See [`Node`].
impl NodePlan<'_> {
    pub(super) fn exists(&self) -> bool {
        self.outline.exists
    }

    pub(super) fn alive(&self) -> bool {
        self.outline.alive
    }

    pub(super) fn coming(&self) -> bool {
        self.outline.coming
    }

    pub(super) fn is_idle(&self) -> bool {
        self.outline.idle
    }

    pub(super) fn is_kept_by_operator(&self) -> bool {
        self.outline.kept_by_operator
    }

    pub(super) fn retires(&self) -> bool {
        self.outline.retires
    }
}

impl<'a> NodePlan<'a> {
    fn new(node: &'a Node<'a>) -> NodePlan<'a> {
        NodePlan {
            node,
            jobs: 0,
            decision: None,
            outline: Outline::of(node),
        }
    }

    pub(super) fn is_decided(&self) -> bool {
        self.decision.is_some()
    }

    pub(super) fn is(&self, decision: NodeDecision) -> bool {
        (self.decision.as_deref()).is_some_and(|(decided, _)| *decided == decision)
    }

    /// Whether it exists, and is not being deleted.
    pub(super) fn is_kept(&self) -> bool {
        self.exists() && !matches!(self.phase, Phase::Deleting { .. })
    }

    /// Whether it exists, is not being deleted, and no operator keeps it.
    pub(super) fn may_be_replaced(&self) -> bool {
        self.is_kept() && !self.is_kept_by_operator()
    }

    /// Whether the node accepts jobs or will: with a cancelled drain, but not while drained or being replaced. One that an
    /// operator has requested to drain does until it is idle, unless it is to be replaced.
    pub(super) fn stays(&self) -> bool {
        self.alive() && !self.outline.replaced && !self.is(NodeDecision::Drain)
            || self.is(NodeDecision::CancelDrain)
    }

    fn is_unclaimed(&self) -> bool {
        self.is_idle() || self.phase == Phase::StartFalse
    }

    fn is_noticed(&self) -> bool {
        self.other_image || self.expiry.retires() || self.contested.is_some()
    }

    /// Whether any rule may delete it. Of what is in the pool or on its way to it, only an operator or its age may.
    fn may_end(&self) -> bool {
        let is_well = self.alive() || self.phase == Phase::StartFalse;
        !is_well || self.expiry.forced || self.requests.delete.is_some()
    }

    pub(super) fn is_unneeded(&self) -> bool {
        let idle = self.is_idle() || self.is(NodeDecision::CancelDrain);
        self.stays() && (idle || self.coming()) && self.jobs == 0
    }
}

/// A group of jobs on its way through the plan.
pub(super) struct JobGroup {
    pub(super) asks: JobGroupKey,
    /// The submitters of its jobs that have a limit.
    pub(super) submitters: Submitters,
    pub(super) jobs: u64,
    /// One of its jobs.
    pub(super) example: Option<String>,
    pub(super) waiting: Duration,
    pub(super) left: u64,
    /// Of those that are left, the young ones.
    pub(super) young: u64,
    /// Of its jobs, those that find room beside others on nodes that are made for these.
    pub(super) beside: u64,
    pub(super) why: Vec<Reason>,
    /// New nodes that may be made for it; none while it takes none of our slots.
    pub(super) max_new_nodes: u64,
    /// Of its jobs, those that took none of the nodes made for them: neither placed nor bought for.
    pub(super) refused: u64,
    /// Why it could not be read.
    pub(super) fault: Option<JobFault>,
}

/// Counts of nodes that exist or may exist, with the creates of this plan: the input of the limits.
pub(super) struct Counts {
    pub(super) nodes: u64,
    pub(super) in_cloud: BTreeMap<CloudName, u64>,
    pub(super) cores: u64,
    pub(super) cores_in_cloud: BTreeMap<CloudName, u64>,
    /// The types of nodes whose cores are unknown.
    pub(super) unsized_nodes: Vec<NodeType>,
    /// Those that are on their way, or have joined and take no jobs.
    pub(super) unjoined_of_kind: BTreeMap<NodeType, u64>,
    pub(super) charged: ChargedNodes,
    /// What the plan makes in each cloud, and what intents will take.
    pub(super) planned: BTreeMap<CloudName, Planned>,
    /// Of kinds whose images are tested: how many nodes may be on their way before one has joined.
    pub(super) first_nodes: BTreeMap<NodeType, u64>,
    /// The claims on all nodes, by fresh ads.
    pub(super) claims: u64,
    /// The nodes of each type before this plan, by number.
    pub(super) types: Vec<TypeCount>,
}

/// The nodes of one type that exist.
#[derive(Clone, Copy, Default)]
pub(super) struct TypeCount {
    pub(super) nodes: u64,
    /// Those that are on their way, or have joined and take no jobs.
    unjoined: u64,
}

impl Counts {
    fn of(
        survey: &NodeInventory<'_>,
        observation: &Observation,
        policy: &Policy,
        state: &State,
    ) -> Counts {
        let mut clouds = policy.clouds.iter();
        // Without a limit nobody asks.
        let counts_cores =
            policy.cores_max.is_some() || clouds.any(|cloud| cloud.cores_max.is_some());
        let cores = |node: &Node<'_>| cores(node.node_type(), observation, state);
        let mut counts = Counts {
            nodes: 0,
            in_cloud: BTreeMap::new(),
            cores: 0,
            cores_in_cloud: BTreeMap::new(),
            unsized_nodes: Vec::new(),
            unjoined_of_kind: BTreeMap::new(),
            charged: ChargedNodes::default(),
            planned: BTreeMap::new(),
            first_nodes: BTreeMap::new(),
            claims: 0,
            types: vec![TypeCount::default(); survey.node_types.len()],
        };
        if !policy.submitter_limits.is_empty() {
            counts.charged = ChargedNodes::count(&survey.nodes, cores);
        }
        for (cloud, servers) in &survey.uncounted {
            counts.nodes += servers;
            counts.in_cloud.insert(cloud.clone(), *servers);
            // The flavor of an unreadable server is unknown.
            let most = largest_flavor(cloud, observation).unwrap_or_default();
            counts.add_cores(cloud, most.saturating_mul(*servers));
        }
        for node in &survey.nodes {
            counts.claims += node.claims;
            if !node.exists() {
                continue;
            }
            if let Some(of_type) = counts.types.get_mut(node.type_number) {
                // One that takes no jobs proves nothing; one that is going or lost is not on its way.
                let closed = node.phase == Phase::StartFalse && !node.memory.join.proven;
                of_type.nodes += 1;
                of_type.unjoined += u64::from(node.coming() || closed);
            }
            if !counts_cores {
                continue;
            }
            match counted_cores(node, observation, state) {
                Some(cores) => counts.add_cores(&node.node_type().cloud, cores),
                None => counts.unsized_nodes.push(node.node_type().clone()),
            }
        }
        for (node_type, of_type) in survey.node_types.iter().zip(&counts.types) {
            counts.nodes += of_type.nodes;
            count(&mut counts.in_cloud, &node_type.cloud, of_type.nodes);
            count(&mut counts.unjoined_of_kind, node_type, of_type.unjoined);
        }
        counts
    }

    /// Adds a node that is on its way.
    pub(super) fn add(&mut self, node_type: &NodeType) {
        self.nodes += 1;
        count(&mut self.in_cloud, &node_type.cloud, 1);
        count(&mut self.unjoined_of_kind, node_type, 1);
    }

    pub(super) fn add_cores(&mut self, cloud: &str, cores: u64) {
        self.cores = self.cores.saturating_add(cores);
        let here = self.cores_in_cloud.entry(cloud.to_owned()).or_default();
        *here = here.saturating_add(cores);
    }

    /// How many of this kind are on their way.
    pub(super) fn unjoined(&self, node_type: &NodeType) -> u64 {
        self.unjoined_of_kind
            .get(node_type)
            .copied()
            .unwrap_or_default()
    }
}

/// Counts some more.
fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, key: &K, more: u64) {
    if more > 0 {
        *counts.entry(key.clone()).or_default() += more;
    }
}

/// The cores of a flavor, or else those that nodes of it were seen to have.
pub(super) fn cores(node_type: &NodeType, observation: &Observation, state: &State) -> u64 {
    let view = observation
        .clouds
        .get(&node_type.cloud)
        .and_then(Observed::known);
    let flavor = view.and_then(|view| view.flavors.get(&node_type.flavor));
    let capacity = || job_requirements::capacity(node_type, state, &observation.clouds);
    flavor.map_or_else(
        || capacity().map_or(0, |capacity| capacity.total().cpus),
        |flavor| flavor.vcpus,
    )
}

/// The cores of a node for `cores_max`; none while its size is unknown.
fn counted_cores(node: &Node<'_>, observation: &Observation, state: &State) -> Option<u64> {
    let known = Some(cores(node.node_type(), observation, state)).filter(|cores| *cores > 0);
    known.or_else(|| Some(node.startd?.total().cpus).filter(|cores| *cores > 0))
}

/// The cores of the largest flavor of a cloud, where one is known.
fn largest_flavor(cloud: &str, observation: &Observation) -> Option<u64> {
    let view = observation.clouds.get(cloud).and_then(Observed::known)?;
    view.flavors.values().map(|flavor| flavor.vcpus).max()
}

/// A new node of the plan.
pub(super) struct NewNode {
    pub(super) id: NodeId,
    pub(super) name: String,
    pub(super) zone: Option<String>,
    pub(super) node_type: NodeType,
    pub(super) why: Reason,
}

/// Counts of nodes that take jobs or will.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// All of them.
    pub(super) alive: u64,
    /// Those that no job needs: what nodes_spare counts.
    pub(super) unneeded: u64,
}

/// What is to be done, and how much of it `max_actions` allows in a minute.
pub(super) struct Actions {
    pub(super) all: Vec<Action>,
    /// Those of the last minute.
    before: ActionCounts,
    /// Those of the plan.
    planned: ActionCounts,
    most: u64,
}

impl Actions {
    pub(super) fn ask_cloud(&mut self, cloud: &str, action: CloudAction) {
        self.planned.changes += 1;
        let cloud = cloud.to_owned();
        self.all.push(Action::Cloud { cloud, action });
    }

    pub(super) fn ask_pool(&mut self, action: PoolAction) {
        self.planned.drains += u64::from(matches!(action, PoolAction::Drain { .. }));
        self.all.push(Action::Pool(action));
    }

    pub(super) fn planned(&self) -> ActionCounts {
        self.planned
    }

    /// How many more creates, deletes and removals there may be.
    pub(super) fn changes_left(&self) -> u64 {
        let changes = self.before.changes.saturating_add(self.planned.changes);
        self.most.saturating_sub(changes)
    }

    /// The same before the plan.
    pub(super) fn changes_at_first(&self) -> u64 {
        self.most.saturating_sub(self.before.changes)
    }

    /// How many more drains there may be.
    pub(super) fn drains_left(&self) -> u64 {
        let drains = self.before.drains.saturating_add(self.planned.drains);
        self.most.saturating_sub(drains)
    }

    /// Why there are no more of them.
    pub(super) fn used_up(&self) -> Reason {
        let max_actions = self.most;
        Reason::MaxActions { max_actions }
    }
}

/// A plan in the making.
pub(super) struct Planner<'a> {
    pub(super) observation: &'a Observation,
    pub(super) policy: &'a Policy,
    /// The state before this tick.
    pub(super) previous: &'a State,
    pub(super) next: State,
    /// What was put together of servers and startds.
    pub(super) survey: &'a NodeInventory<'a>,
    /// In the order of their making: none is added or taken away.
    pub(super) nodes: Vec<NodePlan<'a>>,
    /// Indexes of those that may be drained: they have no claim.
    pub(super) unclaimed: Vec<usize>,
    /// Indexes of those whose phase, age or operator may be a reason to delete them.
    pub(super) ending: Vec<usize>,
    /// Indexes of those that a notice may name: of another image, old, or contested.
    pub(super) noticed: Vec<usize>,
    /// The largest request first.
    pub(super) groups: Vec<JobGroup>,
    pub(super) brakes: Vec<Brake>,
    /// Another central manager is active, or may be.
    pub(super) standby: Option<Standby>,
    pub(super) costs: Costs,
    pub(super) budgets_spent: Vec<BudgetSpent>,
    pub(super) counts: Counts,
    /// Indexes of nodes whose servers are to be deleted, in order.
    pub(super) removals: Vec<(usize, Reason)>,
    pub(super) builders: Vec<BuilderEntry>,
    pub(super) leftovers: Vec<LeftoverEntry>,
    pub(super) floating_ips: Vec<FloatingIpEntry>,
    pub(super) new_nodes: Vec<NewNode>,
    pub(super) allowances: Allowances,
    /// Startds by machine, once a drain or a delete needs them.
    pub(super) machine_names: OnceCell<MachineNames<'a>>,
    pub(super) actions: Actions,
    pub(super) notices: Vec<String>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        observation: &'a Observation,
        policy: &'a Policy,
        previous: &'a State,
        mut next: State,
        survey: &'a NodeInventory<'a>,
        brakes: Vec<Brake>,
        costs: Costs,
    ) -> Planner<'a> {
        let counts = Counts::of(survey, observation, policy, &next);
        let mut nodes = Vec::with_capacity(survey.nodes.len());
        let (mut unclaimed, mut ending, mut noticed) = (Vec::new(), Vec::new(), Vec::new());
        for (index, node) in survey.nodes.iter().enumerate() {
            let node = NodePlan::new(node);
            let lists = [
                (node.is_unclaimed(), &mut unclaimed),
                (node.may_end(), &mut ending),
                (node.is_noticed(), &mut noticed),
            ];
            let lists = lists.into_iter().filter(|(is_in, _)| *is_in);
            lists.for_each(|(_, list)| list.push(index));
            nodes.push(node);
        }
        let actions = Actions {
            all: Vec::new(),
            before: next.recent.count(next.now),
            planned: ActionCounts::default(),
            most: policy.max_actions,
        };
        Planner {
            observation,
            policy,
            previous,
            survey,
            unclaimed,
            ending,
            noticed,
            nodes,
            groups: Vec::new(),
            brakes,
            standby: None,
            budgets_spent: costs.spent(policy),
            costs,
            counts,
            removals: Vec::new(),
            builders: Vec::new(),
            leftovers: Vec::new(),
            floating_ips: Vec::new(),
            new_nodes: Vec::new(),
            allowances: Allowances::default(),
            machine_names: OnceCell::new(),
            actions,
            notices: Vec::new(),
            next,
        }
    }

    /// The node at an index, which is one of `nodes`.
    #[allow(clippy::indexing_slicing)]
    pub(super) fn node(&self, index: usize) -> &NodePlan<'a> {
        &self.nodes[index]
    }

    /// What is to be remembered of a node.
    pub(super) fn remember(&mut self, index: usize, what: impl FnOnce(&mut NodeState)) {
        let id = &self.nodes.get(index).map(|plan| &plan.node.id);
        if let Some(memory) = id.and_then(|id| self.next.nodes.get_mut(id)) {
            what(memory);
        }
    }

    pub(super) fn decide(&mut self, index: usize, decision: NodeDecision, why: Reason) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.decision = Some(Box::new((decision, why)));
        }
    }

    /// Indexes of nodes for which `which` holds.
    pub(super) fn nodes_where(&self, which: impl Fn(&NodePlan<'a>) -> bool) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let chosen = nodes.filter(|(_, node)| which(node));
        chosen.map(|(index, _)| index).collect()
    }

    /// The nodes that a notice may name.
    pub(super) fn noticed(&self) -> impl Iterator<Item = &NodePlan<'a>> + Clone {
        self.noticed.iter().map(|index| self.node(*index))
    }

    /// The same of those that are not in the pool or on their way to it.
    pub(super) fn ending_where(&self, which: impl Fn(&NodePlan<'a>) -> bool) -> Vec<usize> {
        let ending = self.ending.iter().copied();
        ending.filter(|index| which(self.node(*index))).collect()
    }

    /// Whether a node of `kind` takes jobs that ask for this.
    pub(super) fn answer(&self, node_type: &NodeType, asks: &JobGroupKey) -> MatchAnswer<'a> {
        self.observation.matches.answer(node_type, asks)
    }

    /// The brake that stops new nodes.
    pub(super) fn create_brake(&self) -> Option<String> {
        let mut brakes = self.brakes.iter();
        let brake = brakes.find(|brake| brake.stops_creates());
        brake.map(ToString::to_string)
    }

    /// Whether many nodes are silent together, which is not their own fault.
    pub(super) fn many_vanished(&self) -> bool {
        let vanished = |brake: &Brake| matches!(brake, Brake::NodesVanished { .. });
        self.brakes.iter().any(vanished)
    }

    /// Counts the nodes that take jobs or will, of those there are and of the new ones.
    pub(super) fn standing(&self) -> Standing {
        let for_demand = |node: &&NewNode| matches!(node.why, Reason::CreateForDemand { .. });
        let new = self.new_nodes.iter().filter(|node| !for_demand(node));
        let mut standing = Standing {
            alive: self.new_nodes.len() as u64,
            unneeded: new.count() as u64,
        };
        for node in &self.nodes {
            standing.alive += u64::from(node.stays());
            standing.unneeded += u64::from(node.is_unneeded());
        }
        standing
    }

    /// `standing` once those that are silent or not to be seen are back. Until they are lost, no other node takes their
    /// place for nodes_min or nodes_spare: a collector whose ads are late would else get one each time.
    pub(super) fn with_silent(&self, mut standing: Standing) -> Standing {
        for node in self.ending.iter().map(|index| self.node(*index)) {
            let (is_away, is_spare) = match node.phase {
                Phase::Silent { job, .. } => (true, job == JobListed::No),
                Phase::Unobserved | Phase::DeletedExternally => (true, false),
                _ => (false, false),
            };
            standing.alive += u64::from(is_away);
            standing.unneeded += u64::from(is_spare);
        }
        standing
    }

    /// How many idle nodes are kept beyond those that are needed.
    pub(super) fn spare(&self, alive: u64, unneeded: u64) -> u64 {
        let needed = alive.saturating_sub(unneeded);
        self.policy.nodes_spare.nodes(needed)
    }

    pub(super) fn spare_reason(&self, nodes_spare: u64) -> Reason {
        let percent = self.policy.nodes_spare.percent();
        Reason::Spare {
            nodes_spare,
            percent,
        }
    }

    /// For how long something has been so.
    pub(super) fn since(&self, moment: Option<crate::state::TickInstant>) -> Seconds {
        moment.map_or(Seconds(0), |moment| seconds(self.next.now.since(moment)))
    }
}
