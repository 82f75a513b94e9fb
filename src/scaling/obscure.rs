//! Unreadable servers: the nodes that they are, and the number of further nodes that they may be.
//!
//! Unknown is never empty: such a server exists, but its state is unknown. A node with such a server is treated as if its
//! cloud did not answer. A server that the state does not know, and that may be a node, counts as one.

use std::collections::{BTreeMap, BTreeSet};

use super::node_inventory::Listed;
use super::observation::{CloudName, NodeId, ObscureServer, Observation, Observed, Role};
use super::policy::Policy;
use super::state::{NodeState, State};

/// What servers that cannot be read stand for.
#[derive(Debug, Default)]
pub(super) struct Obscured {
    /// Nodes whose servers are among them, or may be: with the server's UUID where that is known.
    pub nodes: BTreeMap<NodeId, Option<String>>,
    /// How many more of them are nodes or may be, by cloud.
    pub uncounted: BTreeMap<CloudName, u64>,
    /// Clouds where a server without a readable id may be any that is missing.
    pub hide: BTreeSet<CloudName>,
}

/// Whether it may be an execute node of this pool.
fn may_be_node(server: &ObscureServer, policy: &Policy) -> bool {
    match server.role {
        Some(role) => role == Role::Execute,
        None => {
            let names = node_names(policy);
            let name = server.name.as_ref();
            name.is_some_and(|name| name.starts_with(&names))
        }
    }
}

/// What the name of every node begins with.
pub(super) fn node_names(policy: &Policy) -> String {
    format!("{}-execute-", policy.prefix)
}

/// Whether it is the server of this node.
fn is_of(server: &ObscureServer, id: &NodeId, memory: &NodeState) -> bool {
    match (&server.id, &memory.server_id) {
        (Some(server), Some(known)) => server == known,
        _ => match &server.node {
            Some(node) => node == id,
            None => server.name.as_deref() == Some(memory.name.as_str()),
        },
    }
}

/// Puts servers that cannot be read and memory together; `listed` are the servers that can be.
pub(super) fn obscured(
    observation: &Observation,
    policy: &Policy,
    state: &State,
    listed: &Listed<'_>,
) -> Obscured {
    let mut found = Obscured::default();
    let unlisted = || {
        let nodes = state.nodes.iter().zip(listed);
        let unlisted = nodes.filter(|(_, server)| server.is_none());
        unlisted.map(|(node, _)| node)
    };
    // Two entries of the configuration may be one project.
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (cloud, view) in &observation.clouds {
        let obscure = view.known().map_or(&[][..], |view| &view.obscure);
        let mut unidentified = 0_u64;
        for server in obscure {
            let mut nodes = unlisted();
            let node = nodes
                .find(|(id, memory)| !found.nodes.contains_key(*id) && is_of(server, id, memory));
            if let Some((id, _)) = node {
                found.nodes.insert(id.clone(), server.id.clone());
                continue;
            }
            match &server.id {
                Some(id) if !seen.insert(id) => {}
                Some(_) if may_be_node(server, policy) => {
                    *found.uncounted.entry(cloud.clone()).or_default() += 1;
                }
                Some(_) => {}
                None => {
                    found.hide.insert(cloud.clone());
                    unidentified += u64::from(may_be_node(server, policy));
                }
            }
        }
        if !found.hide.contains(cloud) {
            continue;
        }
        for (id, memory) in unlisted() {
            if memory.node_type.cloud == *cloud && memory.listed {
                // One of those without an id may be this one's, which counts already.
                if !found.nodes.contains_key(id) {
                    unidentified = unidentified.saturating_sub(1);
                    found.nodes.insert(id.clone(), None);
                }
            }
        }
        if unidentified > 0 {
            *found.uncounted.entry(cloud.clone()).or_default() += unidentified;
        }
    }
    found
}

/// Whether a builder that is not listed may be among them.
pub(super) fn hides_builder(observation: &Observation, cloud: &str, server_id: &str) -> bool {
    let view = observation.clouds.get(cloud).and_then(Observed::known);
    let mut obscure = view.into_iter().flat_map(|view| &view.obscure);
    obscure.any(|server| server.id.as_deref().is_none_or(|id| id == server_id))
}

/// More items of a cloud are only counted.
const MAX_TOLD: usize = 10;

/// Notices for unreadable items of each cloud.
pub(super) fn told(observation: &Observation) -> Vec<String> {
    let mut notices = Vec::new();
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        let some = view.unread.iter().take(MAX_TOLD);
        notices.extend(some.map(|item| format!("cloud {cloud}: {item}")));
        let more = view.unread.len().saturating_sub(MAX_TOLD);
        if more > 0 {
            notices.push(format!("cloud {cloud}: {more} more unreadable items"));
        }
    }
    notices
}

/// Notices for unreadable servers that may be nodes of this pool.
pub(super) fn counted(uncounted: &BTreeMap<CloudName, u64>) -> Vec<String> {
    let told = uncounted.iter().map(|(cloud, servers)| {
        format!(
            "cloud {cloud}: {servers} of the unreadable servers may be nodes of this pool: they count towards nodes_max, and ehos \
             does not touch them"
        )
    });
    told.collect()
}
