//! All nodes of a site, joined from servers, startds and state.

mod adopting;
mod departing;
mod learning;
mod node_startds;

use std::collections::{BTreeMap, BTreeSet};

use super::index::Names;
use super::matching::{Match, SenderNames, StaleAdFinder, by_what_it_says};
use super::node::{Facts, Node, StateFacts, TypeFacts, is_fresh};
use super::numbers::{NumberedNode, Numbers};
use super::obscure::{Obscured, hides_builder, obscured};
use super::observation::{CloudName, NodeId, Observation, Observed, OwnedServer, Role, StartdView};
use super::policy::Policy;
use super::sender::Sender;
use super::state::{BuilderState, NodeState, NodeType, Shared, State, UnmanagedMachines};
use super::stranded::learn_jobless;
use crate::sorting::{self, IntoSet};
pub(crate) use adopting::Listed;
use adopting::{AllHolders, servers_of_nodes};
use departing::{forget_departed, set_aside_removed_clouds};
use learning::learn;
use node_startds::NodeStartds;

/// All nodes, and the startds that are not ours.
#[derive(Debug)]
pub struct NodeInventory<'a> {
    /// In the order of their ids, which is that of their making.
    pub nodes: Vec<Node<'a>>,
    /// The types of all nodes, by number.
    pub node_types: Vec<NodeType>,
    /// Fresh startds of other machines in the pool: their free slots serve demand, and nothing is ever done to them.
    pub others: Vec<&'a StartdView>,
    /// Ads of nodes whose servers are gone.
    pub stale_ads: Vec<(NodeId, &'a StartdView)>,
    /// Nodes that were found on a cloud without a memory of them, this tick.
    pub adopted: Vec<NodeId>,
    /// Builders, in the order of their servers' UUIDs.
    pub builders: Vec<Builder<'a>>,
    /// Those of `nodes` whose servers cannot be read, or may be among those that cannot.
    pub obscured: BTreeSet<NodeId>,
    /// Servers that cannot be read and may be nodes, besides those of `nodes`, by cloud.
    pub uncounted: BTreeMap<CloudName, u64>,
    /// Fresh startds that say that they are a node, and are not, with that node.
    pub impostors: Vec<(NodeId, &'a StartdView)>,
}

/// The server and the startd of a node of the state.
#[derive(Default)]
struct Sight<'a> {
    server: Option<&'a OwnedServer>,
    found: Match<'a>,
}

/// A server that becomes an image: neither a node nor capacity.
#[derive(Debug)]
pub struct Builder<'a> {
    pub cloud: CloudName,
    pub server: &'a OwnedServer,
    /// A startd that runs on the server nevertheless, silent or not.
    pub startd: Option<&'a StartdView>,
}

/// Joins servers, startds and state, and updates `state`.
pub(crate) fn survey<'a>(
    observation: &'a Observation,
    policy: &Policy,
    state: &mut State,
    mut numbers: Numbers<'a>,
) -> NodeInventory<'a> {
    learn_jobless(observation, policy, state);
    forget_departed(observation, state);
    set_aside_removed_clouds(observation, state, &mut numbers);
    let holders = AllHolders::new(observation, state, &numbers);
    let (servers, adopted) = servers_of_nodes(observation, state, &mut numbers, &holders);
    let obscured = obscured(observation, policy, state, &servers);
    let several_carry = |node: &NodeId| {
        let number = numbers.id(&node.0);
        number.is_some_and(|number| holders.several_carry(number))
    };
    let builders = builders(observation, state, several_carry);
    let collector = observation.pool.collector.known();
    let startds: &'a [StartdView] = collector.map_or(&[], |collector| collector.startds.as_slice());
    let mut node_startds = NodeStartds::new(startds, &numbers, policy.update_interval);
    let mut impostors = Vec::new();
    let names = node_startds.names();
    let sight = |place: usize, id: &NodeId, memory: &NodeState| {
        let Some(node) = numbers.nodes.get(place) else {
            return Sight::default();
        };
        let server = servers.get(place).copied().flatten();
        let (found, others) = node_startds.find(node, server.as_ref(), (id, memory));
        impostors.extend(others.into_iter().map(|startd| (id.clone(), startd)));
        let server = server.map(|server| server.server);
        Sight { server, found }
    };
    state.forget_failures(policy);
    state.forget_zones(policy);
    state.forget_kinds(policy);
    let look = Look::new(observation, policy, &numbers, &obscured, names);
    let (nodes, sights) = look.learn(state, sight);
    add_impostors(&mut impostors, startds, policy);
    let mut survey = NodeInventory {
        nodes,
        node_types: Vec::new(),
        others: Vec::new(),
        stale_ads: Vec::new(),
        adopted,
        builders,
        obscured: obscured.nodes.into_keys().into_set(),
        uncounted: obscured.uncounted,
        impostors,
    };
    survey.sort_out(startds, &node_startds, &sights, policy, state);
    survey.node_types = numbers.node_types.into_list();
    // An ad that cannot be read may be of such a machine, too.
    if collector.is_some_and(|collector| !collector.unreadable.is_empty()) {
        state.unmanaged = UnmanagedMachines::Seen;
    }
    survey
}

/// All that nodes are put together of.
struct Look<'a, 's> {
    observation: &'a Observation,
    policy: &'s Policy,
    types: Vec<TypeFacts<'s>>,
    numbered: &'s [NumberedNode],
    obscured: &'s Obscured,
    names: SenderNames,
}

impl<'a, 's> Look<'a, 's> {
    fn new(
        observation: &'a Observation,
        policy: &'s Policy,
        numbers: &'s Numbers<'_>,
        obscured: &'s Obscured,
        names: SenderNames,
    ) -> Look<'a, 's> {
        let is_known = |cloud: &CloudName| {
            let view = observation.clouds.get(cloud);
            view.is_some_and(Observed::is_known)
        };
        let types = numbers.node_types.iter();
        let types = types.map(|one| TypeFacts::new(one, policy, is_known(&one.cloud)));
        Look {
            observation,
            policy,
            types: types.collect(),
            numbered: &numbers.nodes,
            obscured,
            names,
        }
    }

    /// Writes into the state what this observation shows of each node: each node right after that, while its parts are in the
    /// caches.
    fn learn(
        &self,
        state: &mut State,
        sight: impl FnMut(usize, &NodeId, &NodeState) -> Sight<'a>,
    ) -> (Vec<Node<'a>>, Vec<Sight<'a>>) {
        let before = StateFacts::of(state);
        let mut nodes = Vec::with_capacity(state.nodes.len());
        let mut sights = Vec::with_capacity(state.nodes.len());
        let mut adopted = Vec::new();
        let learnt_of = |place, id: &NodeId, memory: &Shared<NodeState>, sight: Sight<'a>| {
            nodes.push(self.node(&before, place, (id, memory), &sight));
            sights.push(sight);
            if memory.adopted {
                adopted.push(place);
            }
        };
        learn(self, state, sight, learnt_of);
        let after = StateFacts::of(state);
        // Another node may have shown that adopted ones are of this pool.
        adopted.retain(|_| after.adopted_trusted != before.adopted_trusted);
        for place in adopted {
            if let (Some(node), Some(sight)) = (nodes.get_mut(place), sights.get(place))
                && let Some((id, memory)) = state.nodes.get_key_value(&node.id)
            {
                *node = self.node(&after, place, (id, memory), sight);
            }
        }
        (nodes, sights)
    }

    fn node(
        &self,
        state: &StateFacts,
        place: usize,
        (id, memory): (&NodeId, &Shared<NodeState>),
        sight: &Sight<'a>,
    ) -> Node<'a> {
        let Sight { server, found } = *sight;
        #[allow(clippy::indexing_slicing)] // Each node has a number, and that of one of the types.
        let (number, node_type) = {
            let number = self.numbered[place].node_type;
            (number, &self.types[number])
        };
        let facts = Facts {
            id,
            observation: self.observation,
            policy: self.policy,
            state,
            memory,
            server,
            found,
            cloud_known: node_type.cloud_known && !self.obscured.nodes.contains_key(id),
        };
        let own_identity = self.names.needs_own_identity(memory, server);
        facts.node(number, node_type, own_identity)
    }
}

impl<'a> NodeInventory<'a> {
    /// Finds those of builders, of nodes that are gone, and of other machines among the startds that are no node's.
    fn sort_out(
        &mut self,
        startds: &'a [StartdView],
        node_startds: &NodeStartds<'a, '_>,
        sights: &[Sight<'a>],
        policy: &Policy,
        state: &mut State,
    ) {
        for builder in &mut self.builders {
            // A host name may have changed: of several, the one that shows the most claims.
            let here = startds.iter().filter(|startd| builder.is_at(startd));
            builder.startd = here.max_by_key(|startd| startd.claims());
        }
        let others: Vec<&'a StartdView> = node_startds.others().collect();
        let names: Names<'_> = others
            .iter()
            .map(|startd| startd.machine.as_str())
            .collect();
        // Names of those that are called like a node's.
        let nodes = sights.iter().filter_map(|sight| sight.found.startd());
        let nodes = nodes.map(|startd| startd.machine.as_str());
        let nodes: Names<'_> = match names.is_empty() {
            true => Names::default(),
            false => nodes.filter(|name| names.contains(name)).collect(),
        };
        let departed = StaleAdFinder::new(&state.departed);
        for startd in others {
            let mut impostors = self.impostors.iter();
            if nodes.contains(startd.machine.as_str())
                || impostors.any(|(_, other)| std::ptr::eq(*other, startd))
                || self.builders.iter().any(|builder| builder.is_at(startd))
            {
                continue;
            }
            match departed.find(startd) {
                Some(node) => self.stale_ads.push((node.clone(), startd)),
                // A token outlives its node, and its holder can advertise anything: such slots do not count.
                None if matches!(startd.sender, Sender::Node(_)) => {}
                None => {
                    state.unmanaged = UnmanagedMachines::Seen;
                    self.others
                        .extend(Some(startd).filter(|startd| is_fresh(startd, policy)));
                }
            }
        }
        sorting::by(&mut self.stale_ads, |a, b| {
            (&a.0, &a.1.machine).cmp(&(&b.0, &b.1.machine))
        });
    }
}

impl Builder<'_> {
    /// Whether a startd runs on it, which is not there to stay. Its UUID says which it is; without one its node id does.
    fn is_at(&self, startd: &StartdView) -> bool {
        match startd.instance_id.as_deref() {
            // A builder has no token of a node.
            _ if matches!(startd.sender, Sender::Node(_)) => false,
            Some(id) => id == self.server.id(),
            None => startd.node.is_some() && startd.node.as_ref() == self.server.node(),
        }
    }
}

/// Adds fresh startds that nodes send of nodes that ehos does not know: they are left out as well.
fn add_impostors<'a>(
    all: &mut Vec<(NodeId, &'a StartdView)>,
    startds: &'a [StartdView],
    policy: &Policy,
) {
    for startd in startds.iter().filter(|startd| is_fresh(startd, policy)) {
        if let (Sender::Node(sender), Some(node)) = (&startd.sender, &startd.node)
            && sender != node
            && !all.iter().any(|(_, other)| std::ptr::eq(*other, startd))
        {
            all.push((node.clone(), startd));
        }
    }
    // Not the order of the list.
    sorting::by(all, |(node, startd), (other, another)| {
        let by_node = node.cmp(other);
        by_node.then_with(|| by_what_it_says(startd, another))
    });
}

/// The listed builders, each once; what is seen of them is remembered.
fn builders<'a>(
    observation: &'a Observation,
    state: &mut State,
    several_carry: impl Fn(&NodeId) -> bool,
) -> Vec<Builder<'a>> {
    let now = state.now;
    // Two entries of the configuration may be one project: a server is the first's that lists it.
    let mut listed: BTreeMap<&str, Builder<'a>> = BTreeMap::new();
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        let builders = view.servers.iter();
        for server in builders.filter(|server| server.role() == Role::Builder) {
            listed.entry(server.id()).or_insert_with(|| Builder {
                cloud: cloud.clone(),
                server,
                startd: None,
            });
        }
    }
    let gone = |(id, memory): &(&String, &BuilderState)| {
        let cloud = observation.clouds.get(&memory.cloud);
        // That of a cloud that is not configured any more may be there.
        !listed.contains_key(id.as_str())
            && cloud.is_some_and(Observed::is_known)
            && !hides_builder(observation, &memory.cloud, id)
    };
    let gone: Vec<String> = state
        .builders
        .iter()
        .filter(gone)
        .map(|(id, _)| id.clone())
        .collect();
    for id in &gone {
        state.depart_builder(id);
    }
    for (id, builder) in &listed {
        let memory = state
            .builders
            .entry((*id).to_owned())
            .or_insert_with(|| BuilderState {
                cloud: builder.cloud.clone(),
                unsigned: !builder.server.is_signed()
                    || builder.server.node().is_none_or(&several_carry),
                expired: None,
                delete_intended: None,
                delete_accepted: None,
            });
        memory.cloud.clone_from(&builder.cloud);
        let expired = builder.server.record().age > builder.server.lifetime();
        memory.expired = expired.then(|| memory.expired.unwrap_or(now));
    }
    listed.into_values().collect()
}
