//! Assigns listed servers to nodes, and adopts those that the state does not know.
//!
//! An adopted server is not judged as failed or lost until a node that was adopted with it or later
//! has joined, or an operator says so: a copied configuration must not delete the nodes of the
//! first central manager. Then it waits for `lost_job_timeout`.

use std::collections::BTreeSet;

use crate::index::{Index, Names};
use crate::numbers::{IdNumber, NumberedServer, Numbers, Table};
use crate::observation::{
    CloudName, METADATA_FLAVOR, METADATA_IMAGE, NodeId, Observation, Observed, OwnedServer,
};
use crate::sorting;
use crate::state::{Claims, Join, NodeState, NodeType, State, Tombstone};

/// The listed execute server of each node of the state, in its order.
pub(crate) type Listed<'a> = Vec<Option<NumberedServer<'a>>>;

/// What has an id.
#[derive(Clone, Copy, Default)]
struct Holders {
    /// The cloud that lists an execute server with this UUID.
    listing: Option<usize>,
    /// Another cloud lists that server as well, or the state knows the server of another cloud.
    is_listed_twice: bool,
    /// The UUID of the first server that carries this node id in its metadata: whose signature was copied, only the state
    /// knows.
    carrier: Option<IdNumber>,
    several_carry: bool,
    /// The place of the node of the state.
    node: Option<usize>,
    is_departed: bool,
}

/// What has each id.
pub(super) struct AllHolders(Table<Holders>);

impl AllHolders {
    pub(super) fn new(
        observation: &Observation,
        state: &State,
        numbers: &Numbers<'_>,
    ) -> AllHolders {
        let mut all: Table<Holders> = numbers.table();
        for listed in &numbers.servers {
            if let Some(node) = listed.node {
                // Two entries of the configuration may be one project.
                all.change(node, |row| {
                    let first = *row.carrier.get_or_insert(listed.id);
                    row.several_carry |= first != listed.id;
                });
            }
            if listed.is_execute {
                all.change(listed.id, |row| {
                    row.is_listed_twice |= row.listing.is_some();
                    row.listing.get_or_insert(listed.cloud);
                });
            }
        }
        let place_of = |cloud: &CloudName| observation.clouds.keys().position(|one| one == cloud);
        let types = numbers.node_types.iter();
        let clouds: Vec<Option<usize>> =
            types.map(|node_type| place_of(&node_type.cloud)).collect();
        for (place, node) in numbers.nodes.iter().enumerate() {
            all.change(node.id, |row| row.node = Some(place));
            if let Some(server) = node.server {
                let cloud = clouds.get(node.node_type).copied().flatten();
                all.change(server, |row| {
                    row.is_listed_twice |= row.listing.is_some() && row.listing != cloud;
                });
            }
        }
        for id in state.departed.keys().filter_map(|id| numbers.id(&id.0)) {
            all.change(id, |row| row.is_departed = true);
        }
        AllHolders(all)
    }

    /// Whether several servers carry this node id.
    pub(super) fn several_carry(&self, node: IdNumber) -> bool {
        self.0.get(node).several_carry
    }

    /// Whether the state knows a server by node id, UUID and cloud, as the only one with either id: the place of its node.
    fn place_of(&self, server: &NumberedServer<'_>, numbers: &Numbers<'_>) -> Option<usize> {
        let own = server.node.unwrap_or(server.id);
        let (named, listed) = (self.0.get(own), self.0.get(server.id));
        let alone = |holders: &Holders| {
            !holders.several_carry && holders.carrier.is_none_or(|id| id == server.id)
        };
        let place = named.node?;
        let knows_server = numbers.nodes.get(place)?.server == Some(server.id);
        // Neither id is the other's of another server.
        let is_apart = || alone(&listed) && named.listing.is_none() && listed.node.is_none();
        let is_known = knows_server
            && listed.listing == Some(server.cloud)
            && !listed.is_listed_twice
            && alone(&named)
            && (own == server.id || is_apart())
            && !named.is_departed;
        is_known.then_some(place)
    }
}

/// The node id of a server: that of its metadata, or else its UUID.
fn own_id(server: &OwnedServer) -> &str {
    server.node().map_or(server.id(), |node| node.0.as_str())
}

/// The listed execute servers of the nodes; those without a memory are adopted.
pub(super) fn servers_of_nodes<'a>(
    observation: &'a Observation,
    state: &mut State,
    numbers: &mut Numbers<'a>,
    holders: &AllHolders,
) -> (Listed<'a>, Vec<NodeId>) {
    let mut listed: Listed<'a> = vec![None; numbers.nodes.len()];
    let mut others = Vec::new();
    for server in numbers.servers.iter().filter(|server| server.is_execute) {
        let place = holders.place_of(server, numbers);
        match place.and_then(|place| listed.get_mut(place)) {
            Some(entry) => *entry = Some(*server),
            None => others.push(*server),
        }
    }
    if others.is_empty() {
        return (listed, Vec::new());
    }
    let known = listed.iter().flatten();
    let mut by_node: ByNode<'a> = known.map(|one| (own_id(one.server), *one)).collect();
    let adopted = assign(others, &mut by_node, observation, state, holders);
    numbers.renumber(state);
    let nodes = state.nodes.keys();
    let listed = nodes.map(|id| by_node.get(id.0.as_str()).copied());
    (listed.collect(), adopted)
}

/// Servers by the ids of their nodes.
type ByNode<'a> = Index<&'a str, NumberedServer<'a>>;

/// Assigns servers that the state does not know, or does not know alone. The ids of those that were adopted.
fn assign<'a>(
    mut servers: Vec<NumberedServer<'a>>,
    by_node: &mut ByNode<'a>,
    observation: &Observation,
    state: &mut State,
    holders: &AllHolders,
) -> Vec<NodeId> {
    let mut adopted = Vec::new();
    // Servers and the clouds that they are known to be of.
    let mut clouds_of: BTreeSet<(String, CloudName)> = BTreeSet::new();
    let uuids: Names<'_> = servers.iter().map(|listed| listed.server.id()).collect();
    for memory in state.nodes.values() {
        if let Some(server_id) = &memory.server_id
            && uuids.contains(server_id.as_str())
        {
            clouds_of.insert((server_id.clone(), memory.node_type.cloud.clone()));
        }
    }
    // Not the order of the list: which of two with one node id keeps it must not depend on that.
    // One with a signature comes before one that has copied its node id.
    sorting::by_key(&mut servers, |listed| {
        (listed.cloud, !listed.server.is_signed(), listed.server.id())
    });
    let clouds: Vec<&CloudName> = observation.clouds.keys().collect();
    for listed in servers {
        let server = listed.server;
        let Some(cloud) = clouds.get(listed.cloud).copied() else {
            continue;
        };
        let own = NodeId(own_id(server).into());
        // Two entries of the configuration may be one project: a server is of the one that made it, or the first.
        let known = |cloud: &CloudName| {
            let view = observation.clouds.get(cloud);
            view.is_some_and(Observed::is_known)
        };
        let first = (server.id().to_owned(), CloudName::new());
        let of_another = clouds_of
            .range(first..)
            .take_while(|(id, _)| id == server.id())
            .any(|(_, other)| other != cloud && known(other));
        if of_another {
            continue;
        }
        // A second server with the same node id (for example of a copied configuration) is identified by its UUID.
        let by_uuid = NodeId(server.id().into());
        let another =
            |server_id: &Option<String>| server_id.as_deref().is_some_and(|id| id != server.id());
        let taken = |id: &NodeId| {
            by_node.contains_key(id.0.as_str())
                // This holds after the delete of the first one, too, whose state is its own.
                || state.nodes.contains_key(&by_uuid)
                || state
                    .departed
                    .get(id)
                    .is_some_and(|departed| another(&departed.server_id))
                || state.nodes.get(id).is_some_and(|memory| {
                    another(&memory.server_id) || memory.node_type.cloud != *cloud
                })
        };
        // Without a signature it is none that is waited for or that has gone, but for its UUID.
        let is_carried_twice = holders.several_carry(listed.node.unwrap_or(listed.id));
        let signed = server.is_signed() && !is_carried_twice;
        let known = is_known(state, &own, server.id());
        let foreign = !signed && !known;
        let copy = taken(&own) || (foreign && is_remembered(state, &own));
        // One that was known as nobody's does not become ours by another id.
        let is_distrusted = (state.nodes.get(&own)).is_some_and(|memory| memory.unsigned.is_some());
        let is_own = (known && !is_distrusted) || (signed && (!copy || own == by_uuid));
        let (id, name) = match copy {
            true => (by_uuid, server.id()),
            false => (own, own_id(server)),
        };
        if let Some(memory) = state.nodes.get_mut(&id) {
            memory.server_id = Some(server.id().to_owned());
        } else {
            // An intent that had lapsed and came late after all is no stranger.
            let departed = if is_own {
                state.departed.remove(&id)
            } else {
                None
            };
            adopt(state, cloud, &id, server, departed, observation);
            if !is_own && let Some(memory) = state.nodes.get_mut(&id) {
                memory.unsigned = Some(state.now);
            }
            adopted.push(id);
        }
        clouds_of.insert((server.id().to_owned(), cloud.clone()));
        by_node.insert(name, listed);
    }
    sorting::ascending(&mut adopted);
    adopted
}

/// Whether this state knows that server, or has known it, under this node id.
fn is_known(state: &State, id: &NodeId, server: &str) -> bool {
    let there = state
        .nodes
        .get(id)
        .and_then(|memory| memory.server_id.as_deref());
    let gone = state
        .departed
        .get(id)
        .and_then(|gone| gone.server_id.as_deref());
    there == Some(server) || gone == Some(server)
}

/// Whether this state has an intent, a node or one that has gone under this node id.
fn is_remembered(state: &State, id: &NodeId) -> bool {
    state.nodes.contains_key(id) || state.departed.contains_key(id)
}

fn adopt(
    state: &mut State,
    cloud: &str,
    id: &NodeId,
    server: &OwnedServer,
    departed: Option<Tombstone>,
    observation: &Observation,
) {
    let metadata = |key: &str| {
        server
            .record()
            .metadata
            .get(key)
            .cloned()
            .unwrap_or_default()
    };
    let node_type = NodeType {
        cloud: cloud.to_owned(),
        flavor: metadata(METADATA_FLAVOR),
        image: metadata(METADATA_IMAGE),
    };
    let adopted = departed.is_none();
    let failed = departed.as_ref().is_some_and(|departed| departed.failed);
    // One that had joined may have jobs.
    let machine = departed.and_then(|departed| departed.machine);
    let memory = NodeState {
        server_id: Some(server.id().to_owned()),
        adopted,
        listed: true,
        failed,
        join: Join {
            joined: machine.as_ref().map(|_| state.now),
            machine,
            ..Join::default()
        },
        claims: Claims {
            claimed: true,
            taken: true,
            ..Claims::default()
        },
        ..NodeState::new(node_type, &server.record().name, observation.at, state.now)
    };
    state.nodes.insert(id.clone(), memory.into());
}
