//! Numbers for names: the ids of nodes and servers, and node types.
//!
//! Servers, startds and the state name the same nodes. A plan searches each name once; further look-ups are places in a
//! list.

use super::index::{Index, index};
use super::node::NodeTypeNumber;
use super::observation::{NodeId, Observation, OwnedServer, Role, StartdView};
use super::sender::Sender;
use super::state::{NodeType, State};

/// The number of an id: of a node or of a server, as one may stand for the other.
pub(crate) type IdNumber = u32;

/// The number of each id that nothing else in the observation has.
const UNSEEN: IdNumber = IdNumber::MAX;

/// A node of the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberedNode {
    pub(crate) id: IdNumber,
    pub(crate) server: Option<IdNumber>,
    pub(crate) node_type: NodeTypeNumber,
}

/// A listed server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberedServer<'a> {
    pub(crate) server: &'a OwnedServer,
    pub(crate) is_execute: bool,
    /// The place of its cloud among those of the observation.
    pub(crate) cloud: usize,
    pub(crate) id: IdNumber,
    /// The node id in its metadata.
    pub(crate) node: Option<IdNumber>,
}

/// What a startd says of itself, and the node that has sent its ads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberedStartd {
    pub(crate) instance: Option<IdNumber>,
    pub(crate) node: Option<IdNumber>,
    pub(crate) sender: Option<IdNumber>,
}

/// All names of a site.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    ids: Index<&'a str, IdNumber>,
    pub(crate) node_types: NodeTypes,
    /// In the order of the state.
    pub(crate) nodes: Vec<NumberedNode>,
    /// Cloud by cloud, in the order of its list.
    pub(crate) servers: Vec<NumberedServer<'a>>,
    /// In the order of the collector's list.
    pub(crate) startds: Vec<NumberedStartd>,
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(observation: &'a Observation, state: &'a State) -> Numbers<'a> {
        // A node has an id and a server.
        let mut ids = Ids {
            numbers: index(2 * state.nodes.len()),
            beside: Vec::with_capacity(2 * state.nodes.len()),
        };
        let mut node_types = NodeTypes::default();
        let nodes = state.nodes.iter().map(|(id, memory)| {
            let (id, server) = ids.pair(&id.0, memory.server_id.as_deref());
            NumberedNode {
                id,
                server,
                node_type: node_types.number(&memory.node_type),
            }
        });
        let nodes = nodes.collect();
        let clouds = observation.clouds.values().enumerate();
        let clouds = clouds.filter_map(|(cloud, view)| Some((cloud, view.known()?)));
        let servers = clouds.flat_map(|(cloud, view)| {
            let servers = view.servers.iter();
            servers.map(move |server| (cloud, server))
        });
        let servers = servers.map(|(cloud, server)| {
            let id = ids.number(server.id());
            NumberedServer {
                server,
                is_execute: server.role() == Role::Execute,
                cloud,
                id,
                node: server
                    .node()
                    .map(|node| ids.number_beside(Some(id), &node.0)),
            }
        });
        let servers = servers.collect();
        let collector = observation.pool.collector.known();
        let startds = collector.iter().flat_map(|view| &view.startds);
        let startds = startds.map(|startd: &'a StartdView| {
            let instance = startd.instance_id.as_deref().map(|id| ids.number(id));
            let mut beside = |node: &'a NodeId| ids.number_beside(instance, &node.0);
            NumberedStartd {
                instance,
                node: startd.node.as_ref().map(&mut beside),
                sender: match &startd.sender {
                    Sender::Node(node) => Some(beside(node)),
                    _ => None,
                },
            }
        });
        let startds = startds.collect();
        Numbers {
            ids: ids.numbers,
            node_types,
            nodes,
            servers,
            startds,
        }
    }

    /// The same observation with the nodes of another state.
    pub(crate) fn renumber(&mut self, state: &State) {
        let mut node_types = NodeTypes::default();
        let nodes = state.nodes.iter().map(|(id, memory)| NumberedNode {
            id: self.id(&id.0).unwrap_or(UNSEEN),
            server: (memory.server_id.as_deref()).map(|id| self.id(id).unwrap_or(UNSEEN)),
            node_type: node_types.number(&memory.node_type),
        });
        self.nodes = nodes.collect();
        self.node_types = node_types;
    }

    /// The number of an id, if anything has it.
    pub(crate) fn id(&self, id: &str) -> Option<IdNumber> {
        self.ids.get(id).copied()
    }

    /// A table with a row for each id.
    pub(crate) fn table<T: Copy + Default>(&self) -> Table<T> {
        Table(vec![T::default(); self.ids.len()])
    }
}

struct Ids<'a> {
    numbers: Index<&'a str, IdNumber>,
    /// Of the server of a node, the id of the node. Whatever names the server mostly names that node, too.
    beside: Vec<Option<(&'a str, IdNumber)>>,
}

impl<'a> Ids<'a> {
    fn number(&mut self, id: &'a str) -> IdNumber {
        #[allow(clippy::cast_possible_truncation)] // Four billion ids do not fit into the memory.
        let next = self.numbers.len() as IdNumber;
        *self.numbers.entry(id).or_insert(next)
    }

    /// The numbers of a node and of its server.
    fn pair(&mut self, id: &'a str, server: Option<&'a str>) -> (IdNumber, Option<IdNumber>) {
        let number = self.number(id);
        let server = server.map(|server| self.number(server));
        if let Some(server) = server.map(|server| server as usize) {
            let rows = self.beside.len().max(server + 1);
            self.beside.resize(rows, None);
            if let Some(row) = self.beside.get_mut(server) {
                *row = Some((id, number));
            }
        }
        (number, server)
    }

    /// The number of a node id that is named beside the id of a server.
    fn number_beside(&mut self, server: Option<IdNumber>, node: &'a str) -> IdNumber {
        let row = server.and_then(|server| self.beside.get(server as usize));
        match row {
            Some(Some((id, number))) if *id == node => *number,
            _ => self.number(node),
        }
    }
}

/// A row for each id.
pub(crate) struct Table<T>(Vec<T>);

impl<T: Copy + Default> Table<T> {
    pub(crate) fn get(&self, id: IdNumber) -> T {
        self.0.get(id as usize).copied().unwrap_or_default()
    }

    pub(crate) fn change(&mut self, id: IdNumber, change: impl FnOnce(&mut T)) {
        if let Some(row) = self.0.get_mut(id as usize) {
            change(row);
        }
    }
}

/// The node types of nodes, numbered in the order of the nodes.
#[derive(Debug, Default)]
pub(crate) struct NodeTypes {
    numbers: Index<NodeType, NodeTypeNumber>,
    all: Vec<NodeType>,
}

impl NodeTypes {
    fn number(&mut self, node_type: &NodeType) -> NodeTypeNumber {
        if let Some(number) = self.numbers.get(node_type) {
            return *number;
        }
        let next = self.all.len();
        self.numbers.insert(node_type.clone(), next);
        self.all.push(node_type.clone());
        next
    }

    /// In the order of their numbers.
    pub(crate) fn into_list(self) -> Vec<NodeType> {
        self.all
    }

    /// In the order of their numbers.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, NodeType> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::job_names::PoolJobs;
    use crate::job_requirements::Matches;
    use crate::observation::{Observed, PoolView};
    use crate::state::{NodeState, TickInstant};

    #[test]
    fn an_id_that_nothing_else_has_is_an_id_all_the_same() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let observation = Observation {
            at,
            pool: PoolView {
                collector: Observed::Unknown(String::new()),
                schedds: BTreeMap::new(),
                negotiator: Observed::Unknown(String::new()),
                jobs: PoolJobs::default(),
                central_managers: None,
            },
            clouds: BTreeMap::new(),
            matches: Matches::default(),
        };
        let (mut state, empty) = (State::default(), State::default());
        let mut numbers = Numbers::new(&observation, &empty);
        let node_type = NodeType {
            cloud: "blue".to_owned(),
            flavor: "small".to_owned(),
            image: "i".to_owned(),
        };
        let node = NodeState {
            server_id: Some("u".to_owned()),
            ..NodeState::new(node_type, "n", at, TickInstant::default())
        };
        state.nodes.insert(NodeId("n".into()), node.into());
        numbers.renumber(&state);
        let known: Vec<_> = (numbers.nodes.iter())
            .map(|node| (node.id, node.server))
            .collect();
        assert_eq!(known, [(UNSEEN, Some(UNSEEN))]);
    }
}
