//! All nodes of a site: servers, startds and memory put together, and what is learnt from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::matching::{GhostFinder, Match, StartdFinder};
use super::memory::{Kind, NodeMemory, State};
use super::node::{Facts, Node, hearing, is_fresh};
use super::observation::{
    METADATA_FLAVOR, METADATA_IMAGE, NodeId, Observation, OwnedServer, Resources, Role, Seen,
    StartdView,
};
use super::policy::Policy;

/// All nodes, and the startds that are not ours.
#[derive(Debug)]
pub struct Survey<'a> {
    /// In the order of their ids, which is that of their making.
    pub nodes: Vec<Node<'a>>,
    /// Fresh startds of other machines in the pool: their free slots serve demand, and nothing is ever done to them.
    pub others: Vec<&'a StartdView>,
    /// Ads of nodes whose servers are gone.
    pub ghosts: Vec<(NodeId, &'a StartdView)>,
    /// Nodes that were found on a cloud without a memory of them, this tick.
    pub adopted: Vec<NodeId>,
}

/// How long the ads of a departed node are remembered to mean nothing: they live for up to 30 minutes
/// (`CLASSAD_LIFETIME` and the collector's housekeeping of 15 minutes each).
const GHOST_MEMORY: Duration = Duration::from_secs(2 * 3600);

/// Puts together servers, startds and memory; what it learns goes into `state`.
pub fn survey<'a>(observation: &'a Observation, policy: &Policy, state: &mut State) -> Survey<'a> {
    let now = state.now;
    state
        .departed
        .retain(|_, departed| now.since(departed.at) < GHOST_MEMORY);
    let (servers, adopted) = servers_by_node(observation, state);

    let startds: &'a [StartdView] = observation
        .pool
        .collector
        .known()
        .map_or(&[], |collector| collector.startds.as_slice());
    let finder = StartdFinder::new(startds);
    let matches: BTreeMap<NodeId, Match<'a>> = state
        .nodes
        .iter()
        .map(|(id, memory)| {
            (
                id.clone(),
                finder.find(id, memory, servers.get(id).copied()),
            )
        })
        .collect();

    learn(observation, policy, state, &servers, &matches);

    let mut nodes: Vec<Node<'a>> = Vec::new();
    for (id, memory) in &state.nodes {
        let server = servers.get(id).copied();
        let found = matches.get(id).copied().unwrap_or(Match::None);
        let cloud_known = observation
            .clouds
            .get(&memory.kind.cloud)
            .is_some_and(Seen::is_known);
        let facts = Facts {
            observation,
            policy,
            state,
            memory,
            server,
            found,
            cloud_known,
        };
        let phase = facts.phase();
        nodes.push(Node {
            id: id.clone(),
            name: memory.name.clone(),
            kind: memory.kind.clone(),
            server,
            startd: found.startd(),
            cloud_known,
            phase,
        });
    }

    let ours: BTreeSet<&str> = matches
        .values()
        .filter_map(|found| found.startd())
        .map(|startd| startd.machine.as_str())
        .collect();
    let departed = GhostFinder::new(&state.departed);
    let mut others = Vec::new();
    let mut ghosts = Vec::new();
    for startd in startds
        .iter()
        .filter(|startd| !ours.contains(startd.machine.as_str()))
    {
        match departed.find(startd) {
            Some(node) => ghosts.push((node.clone(), startd)),
            None if is_fresh(startd, policy) => others.push(startd),
            None => {}
        }
    }
    Survey {
        nodes,
        others,
        ghosts,
        adopted,
    }
}

/// The listed execute servers by node; those without a memory are adopted.
fn servers_by_node<'a>(
    observation: &'a Observation,
    state: &mut State,
) -> (BTreeMap<NodeId, &'a OwnedServer>, Vec<NodeId>) {
    let mut by_node = BTreeMap::new();
    let mut adopted = Vec::new();
    for (cloud, view) in &observation.clouds {
        let Some(view) = view.known() else { continue };
        for server in view
            .servers
            .iter()
            .filter(|server| server.role() == Role::Execute)
        {
            let own = server
                .node()
                .cloned()
                .unwrap_or_else(|| NodeId(server.id().to_owned()));
            // A second server with the same node id (a copied configuration, say) goes by its UUID.
            let taken = |id: &NodeId| {
                by_node.contains_key(id)
                    || state.nodes.get(id).is_some_and(|memory| {
                        memory
                            .server_id
                            .as_deref()
                            .is_some_and(|known| known != server.id())
                            || memory.kind.cloud != *cloud
                    })
            };
            let id = if taken(&own) {
                NodeId(server.id().to_owned())
            } else {
                own
            };
            if let Some(memory) = state.nodes.get_mut(&id) {
                memory.server_id = Some(server.id().to_owned());
            } else {
                // An intent that had lapsed and came late after all is no stranger.
                let known = state.departed.remove(&id).is_some();
                adopt(state, cloud, &id, server, !known, observation);
                adopted.push(id.clone());
            }
            by_node.insert(id, server);
        }
    }
    (by_node, adopted)
}

fn adopt(
    state: &mut State,
    cloud: &str,
    id: &NodeId,
    server: &OwnedServer,
    stranger: bool,
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
    let memory = NodeMemory {
        kind: Kind {
            cloud: cloud.to_owned(),
            flavor: metadata(METADATA_FLAVOR),
            image: metadata(METADATA_IMAGE),
        },
        name: server.record().name.clone(),
        server_id: Some(server.id().to_owned()),
        since: observation.at,
        started: state.now,
        adopted: stranger,
        listed: true,
        missing: None,
        machine: None,
        joined: None,
        silent: None,
        failed: false,
        delete_intended: None,
        delete_accepted: None,
    };
    state.nodes.insert(id.clone(), memory);
}

/// Writes into the memory what this observation shows of each node.
fn learn(
    observation: &Observation,
    policy: &Policy,
    state: &mut State,
    servers: &BTreeMap<NodeId, &OwnedServer>,
    matches: &BTreeMap<NodeId, Match<'_>>,
) {
    let now = state.now;
    let hears = hearing(&observation.pool, policy).is_some();
    let mut proven: Vec<(Kind, Option<Resources>)> = Vec::new();
    let mut trusted = state.adopted_trusted;
    for (id, memory) in &mut state.nodes {
        let cloud_known = observation
            .clouds
            .get(&memory.kind.cloud)
            .is_some_and(Seen::is_known);
        if servers.contains_key(id) {
            memory.listed = true;
            memory.missing = None;
        } else if cloud_known && memory.listed {
            memory.missing.get_or_insert(now);
        }
        let fresh = match matches.get(id) {
            Some(Match::Startd(startd)) if is_fresh(startd, policy) => Some(*startd),
            _ => None,
        };
        if let Some(startd) = fresh {
            trusted |= memory.adopted;
            memory.machine = Some(startd.machine.clone());
            memory.silent = None;
            let whole = startd.draining.is_none().then(|| startd.total());
            if memory.joined.is_none() {
                memory.joined = Some(now);
                proven.push((memory.kind.clone(), whole));
            }
        } else if memory.joined.is_some() && hears {
            memory.silent.get_or_insert(now);
        }
    }
    state.adopted_trusted = trusted;
    for (kind, capacity) in proven {
        let memory = state.kind_mut(&kind);
        memory.joined = memory.joined.saturating_add(1);
        memory.capacity = capacity.or(memory.capacity);
        memory.failures = 0;
        memory.backoff_until = None;
        memory.last_failure = None;
    }
    let answered = observation
        .clouds
        .iter()
        .filter(|(_, cloud)| cloud.is_known());
    state.clouds.extend(answered.map(|(name, _)| name.clone()));
    for (name, schedd) in &observation.pool.schedds {
        if schedd.is_known() {
            state.unknown_schedds.remove(name);
        } else {
            state.unknown_schedds.entry(name.clone()).or_insert(now);
        }
    }
    state
        .unknown_schedds
        .retain(|name, _| observation.pool.schedds.contains_key(name));
}
