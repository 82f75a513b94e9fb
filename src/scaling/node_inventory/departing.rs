//! Deleted nodes, and nodes of clouds that left the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::numbers::Numbers;
use crate::observation::{CloudName, NodeId, Observation};
use crate::sorting::{self, IntoSet};
use crate::state::State;

/// How long the ads of a departed node are remembered to mean nothing: they live for up to 30 minutes
/// (`CLASSAD_LIFETIME` and the collector's housekeeping of 15 minutes each).
const GHOST_MEMORY: Duration = Duration::from_secs(2 * 3600);

/// The longest time that a deleted server is remembered while its cloud has not listed leftovers, or a schedd lists a job on
/// it.
const SEARCH_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// More departed servers are not remembered.
const MAX_DEPARTED: usize = 1000;

/// The nodes of a cloud that is not in the configuration any more are no capacity, and nothing can be done to them: they
/// are set aside until it is configured again.
pub(super) fn set_aside_removed_clouds(
    observation: &Observation,
    state: &mut State,
    numbers: &mut Numbers<'_>,
) {
    let configured = |cloud: &CloudName| observation.clouds.contains_key(cloud);
    let mut types = numbers.node_types.iter();
    if state.removed_clouds.is_empty() && types.all(|node_type| configured(&node_type.cloud)) {
        return;
    }
    let nodes = std::mem::take(&mut state.nodes);
    let (kept, aside): (BTreeMap<_, _>, BTreeMap<_, _>) = nodes
        .into_iter()
        .partition(|(_, memory)| configured(&memory.node_type.cloud));
    state.nodes = kept;
    for (id, memory) in aside {
        let cloud = memory.node_type.cloud.clone();
        // Creates that no list has shown and accepted deletes are not reported.
        if memory.server_id.is_some() && memory.delete.accepted.is_none() {
            let of_cloud = state.removed_clouds.entry(cloud).or_default();
            of_cloud.insert(id, memory);
        }
    }
    let removed = std::mem::take(&mut state.removed_clouds);
    for (cloud, nodes) in removed {
        for (id, mut memory) in nodes {
            // Its cloud may only be called otherwise now.
            if !configured(&cloud)
                && let Some(renamed) = lists(observation, memory.server_id.as_deref())
            {
                memory.node_type.cloud.clone_from(renamed);
            }
            if configured(&memory.node_type.cloud) {
                memory.was_not_watched();
                state.nodes.insert(id, memory);
            } else {
                let of_cloud = state.removed_clouds.entry(cloud.clone()).or_default();
                of_cloud.insert(id, memory);
            }
        }
    }
    numbers.renumber(state);
}

/// The cloud that lists this server.
fn lists<'o>(observation: &'o Observation, server: Option<&str>) -> Option<&'o CloudName> {
    let mut clouds = observation.clouds.iter();
    let listed = clouds.find(|(_, view)| {
        let servers = view.known().map_or(&[][..], |view| &view.servers);
        servers.iter().any(|listed| server == Some(listed.id()))
    });
    listed.map(|(name, _)| name)
}

/// Forgets deleted servers when their ads are gone and their clouds have listed leftovers.
pub(super) fn forget_departed(observation: &Observation, state: &mut State) {
    let now = state.now;
    state
        .leftovers
        .retain(|_, memory| observation.clouds.contains_key(&memory.cloud));
    let leftovers = state.leftovers.values();
    let with_leftovers: BTreeSet<&String> = leftovers
        .filter_map(|leftover| leftover.server.as_ref())
        .into_set();
    state.departed.retain(|_, departed| {
        let gone_for = now.since(departed.at);
        let server = departed.server_id.as_ref();
        let to_search = !departed.searched
            && server.is_some()
            && observation.clouds.contains_key(&departed.cloud);
        // A lease may be longer than its ads live.
        let to_ask = !departed.jobless && departed.machine.is_some();
        gone_for < GHOST_MEMORY
            || (to_ask && gone_for < SEARCH_MEMORY)
            || (to_search && gone_for < SEARCH_MEMORY)
            || server.is_some_and(|server| with_leftovers.contains(server))
    });
    let too_many = state.departed.len().saturating_sub(MAX_DEPARTED);
    if too_many > 0 {
        let mut oldest: Vec<_> = state.departed.iter().collect();
        sorting::by_key(&mut oldest, |(id, gone)| (gone.at, *id));
        let oldest = oldest.into_iter().take(too_many);
        let oldest: Vec<NodeId> = oldest.map(|(id, _)| id.clone()).collect();
        for id in oldest {
            state.departed.remove(&id);
        }
    }
}
