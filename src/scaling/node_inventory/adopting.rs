//! Listed servers by the nodes that they are; those without a memory are adopted.
//!
//! An adopted server is not judged as failed or lost until a node that was adopted with it or later
//! has joined, or an operator says so: a copied configuration must not delete the nodes of the
//! first central manager. Then it waits for `lost_job_timeout`.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{
    CloudName, METADATA_FLAVOR, METADATA_IMAGE, NodeId, Observation, Observed, OwnedServer, Role,
};
use crate::state::{Claims, Join, NodeState, NodeType, State, Tombstone};

/// The listed execute servers by node; those without a memory are adopted.
pub(super) fn servers_by_node<'a>(
    observation: &'a Observation,
    state: &mut State,
) -> (BTreeMap<NodeId, &'a OwnedServer>, Vec<NodeId>) {
    let mut by_node = BTreeMap::new();
    let mut adopted = Vec::new();
    // Servers and the clouds that they are known to be of.
    let mut clouds_of: BTreeSet<(String, CloudName)> = BTreeSet::new();
    for memory in state.nodes.values() {
        if let Some(server_id) = &memory.server_id {
            clouds_of.insert((server_id.clone(), memory.node_type.cloud.clone()));
        }
    }
    let copied = copied_nodes(observation);
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        let mut servers: Vec<&OwnedServer> = view.servers.iter().collect();
        // Not the order of the list: which of two with one node id keeps it must not depend on that.
        // One with a signature comes before one that has copied its node id.
        servers.sort_unstable_by_key(|server| (!server.is_signed(), server.id()));
        for server in servers
            .into_iter()
            .filter(|server| server.role() == Role::Execute)
        {
            let own = server
                .node()
                .cloned()
                .unwrap_or_else(|| NodeId(server.id().to_owned()));
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
            // A second server with the same node id (a copied configuration, say) goes by its UUID.
            let by_uuid = NodeId(server.id().to_owned());
            let another = |server_id: &Option<String>| {
                server_id.as_deref().is_some_and(|id| id != server.id())
            };
            let taken = |id: &NodeId| {
                by_node.contains_key(id)
                    // And goes on doing so when the first one has gone: what is remembered of that is its own.
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
            let signed = server.is_signed() && !copied.contains(&own);
            let foreign = !signed && !is_known(state, &own, server.id());
            let copy = taken(&own) || (foreign && is_remembered(state, &own));
            let is_own =
                is_known(state, &own, server.id()) || (signed && (!copy || own == by_uuid));
            let id = if copy { by_uuid } else { own };
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
                adopted.push(id.clone());
            }
            clouds_of.insert((server.id().to_owned(), cloud.clone()));
            by_node.insert(id, server);
        }
    }
    adopted.sort_unstable();
    (by_node, adopted)
}

/// Node ids that several servers carry: whose signature was copied, only the state knows.
pub(super) fn copied_nodes(observation: &Observation) -> BTreeSet<NodeId> {
    let mut first: BTreeMap<&NodeId, &str> = BTreeMap::new();
    let mut copied = BTreeSet::new();
    let servers = observation.clouds.values().filter_map(Observed::known);
    for server in servers.flat_map(|view| &view.servers) {
        let Some(node) = server.node() else { continue };
        // Two entries of the configuration may be one project.
        if *first.entry(node).or_insert(server.id()) != server.id() {
            copied.insert(node.clone());
        }
    }
    copied
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
    state.nodes.insert(id.clone(), memory);
}
