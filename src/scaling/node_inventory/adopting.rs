//! Assigns listed servers to nodes, and adopts those that the state does not know.
//!
//! An adopted server is not judged as failed or lost until a node that was adopted with it or later
//! has joined, or an operator says so: a copied configuration must not delete the nodes of the
//! first central manager. Then it waits for `lost_job_timeout`.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;

use crate::index::{Index, Names, index};
use crate::observation::{
    CloudName, METADATA_FLAVOR, METADATA_IMAGE, NodeId, Observation, Observed, OwnedServer, Role,
};
use crate::state::{Claims, Join, NodeState, NodeType, State, Tombstone};

/// The listed execute servers, by the ids of their nodes.
pub(crate) type Listed<'a> = Index<&'a str, &'a OwnedServer>;

/// Node ids in the metadata of servers: whose signature was copied, only the state knows.
pub(super) struct Carriers<'a>(Index<&'a str, (&'a str, bool)>);

impl Carriers<'_> {
    /// Whether several servers carry it.
    pub(super) fn several_have(&self, node: &str) -> bool {
        self.0.get(node).is_some_and(|(_, several)| *several)
    }

    /// Whether no server but this one carries it.
    fn only_has(&self, node: &str, server: &str) -> bool {
        let of_it = |(first, several): &(&str, bool)| !several && *first == server;
        self.0.get(node).is_none_or(of_it)
    }
}

/// The servers that carry each node id.
pub(super) fn carriers(observation: &Observation) -> Carriers<'_> {
    let views = observation.clouds.values().filter_map(Observed::known);
    let mut carriers: Index<&str, (&str, bool)> =
        index(views.clone().map(|view| view.servers.len()).sum());
    for server in views.flat_map(|view| &view.servers) {
        let Some(node) = server.node() else { continue };
        // Two entries of the configuration may be one project.
        let (first, several) = carriers.entry(&node.0).or_insert((server.id(), false));
        *several |= *first != server.id();
    }
    Carriers(carriers)
}

/// The cloud that lists a server.
struct Listing<'a> {
    cloud: &'a CloudName,
    /// No other cloud lists it, and the state knows it of none.
    alone: bool,
}

/// The execute servers by UUID, and the nodes of the state by id.
fn listings<'a, 's>(
    observation: &'a Observation,
    state: &'s State,
) -> (Index<&'a str, Listing<'a>>, Index<&'s str, &'s NodeState>) {
    let mut listings: Index<&'a str, Listing<'a>> = index(state.nodes.len());
    let mut nodes = index(state.nodes.len());
    for (cloud, server) in execute_servers(observation) {
        match listings.entry(server.id()) {
            Entry::Occupied(mut listing) => listing.get_mut().alone = false,
            Entry::Vacant(entry) => {
                entry.insert(Listing { cloud, alone: true });
            }
        }
    }
    for (id, memory) in &state.nodes {
        nodes.insert(id.0.as_str(), &**memory);
        let server_id = memory.server_id.as_deref();
        if let Some(listing) = server_id.and_then(|id| listings.get_mut(id)) {
            listing.alone &= *listing.cloud == memory.node_type.cloud;
        }
    }
    (listings, nodes)
}

fn execute_servers(observation: &Observation) -> impl Iterator<Item = (&CloudName, &OwnedServer)> {
    let views = observation.clouds.iter();
    let views = views.filter_map(|(cloud, view)| Some((cloud, view.known()?)));
    let servers = views.flat_map(|(cloud, view)| view.servers.iter().map(move |one| (cloud, one)));
    servers.filter(|(_, server)| server.role() == Role::Execute)
}

/// The node id of a server: that of its metadata, or else its UUID.
fn own_id(server: &OwnedServer) -> &str {
    server.node().map_or(server.id(), |node| node.0.as_str())
}

/// The listed execute servers by node; those without a memory are adopted.
pub(super) fn servers_by_node<'a>(
    observation: &'a Observation,
    state: &mut State,
    carriers: &Carriers<'a>,
) -> (Listed<'a>, Vec<NodeId>) {
    let (mut by_node, others) = known_servers(observation, state, carriers);
    if others.is_empty() {
        return (by_node, Vec::new());
    }
    let adopted = assign(others, &mut by_node, observation, state, carriers);
    (by_node, adopted)
}

/// Servers with their clouds.
type Servers<'a> = Vec<(&'a CloudName, &'a OwnedServer)>;

/// The servers that the state knows by node id, UUID and cloud, as the only ones with either id; and all others.
fn known_servers<'a>(
    observation: &'a Observation,
    state: &State,
    carriers: &Carriers<'a>,
) -> (Listed<'a>, Servers<'a>) {
    let (listings, nodes) = listings(observation, state);
    let departed: Names<'_> = state.departed.keys().map(|id| id.0.as_str()).collect();
    let mut by_node = index(state.nodes.len());
    let mut others = Vec::new();
    for (cloud, server) in execute_servers(observation) {
        let (own, uuid) = (own_id(server), server.id());
        let is_it = |memory: &&NodeState| {
            memory.server_id.as_deref() == Some(uuid) && memory.node_type.cloud == *cloud
        };
        let is_known = listings.get(uuid).is_some_and(|listing| listing.alone)
            && nodes.get(own).is_some_and(is_it)
            && carriers.only_has(own, uuid)
            // Neither id is the other's of another server.
            && (own == uuid
                || carriers.only_has(uuid, uuid)
                    && !listings.contains_key(own)
                    && !nodes.contains_key(uuid))
            && !departed.contains(own);
        if is_known {
            by_node.insert(own, server);
        } else {
            others.push((cloud, server));
        }
    }
    (by_node, others)
}

/// Assigns servers that the state does not know, or does not know alone. The ids of those that were adopted.
fn assign<'a>(
    mut servers: Servers<'a>,
    by_node: &mut Listed<'a>,
    observation: &Observation,
    state: &mut State,
    carriers: &Carriers<'_>,
) -> Vec<NodeId> {
    let mut adopted = Vec::new();
    // Servers and the clouds that they are known to be of.
    let mut clouds_of: BTreeSet<(String, CloudName)> = BTreeSet::new();
    let uuids: Names<'_> = servers.iter().map(|(_, server)| server.id()).collect();
    for memory in state.nodes.values() {
        if let Some(server_id) = &memory.server_id
            && uuids.contains(server_id.as_str())
        {
            clouds_of.insert((server_id.clone(), memory.node_type.cloud.clone()));
        }
    }
    // Not the order of the list: which of two with one node id keeps it must not depend on that.
    // One with a signature comes before one that has copied its node id.
    servers.sort_by_key(|(cloud, server)| (*cloud, !server.is_signed(), server.id()));
    for (cloud, server) in servers {
        let own = NodeId(own_id(server).to_owned());
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
        let by_uuid = NodeId(server.id().to_owned());
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
        let signed = server.is_signed() && !carriers.several_have(&own.0);
        let foreign = !signed && !is_known(state, &own, server.id());
        let copy = taken(&own) || (foreign && is_remembered(state, &own));
        let is_own = is_known(state, &own, server.id()) || (signed && (!copy || own == by_uuid));
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
        by_node.insert(name, server);
    }
    adopted.sort_unstable();
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
