//! Bounds the resources that a node advertises by its flavor: root on a node can advertise any amount.

use std::borrow::Cow;

use super::index::{Index, index};
use super::observation::{Observation, Observed, Role, SlotView, StartdView};
use super::sender::Sender;
use super::state::State;

/// Flavors of nodes, by node id and by the UUID of the server: cores and memory in MiB.
type Sizes<'a> = (Index<&'a str, Size>, Index<&'a str, Size>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    cpus: u64,
    memory_mb: u64,
}

fn sizes<'a>(observation: &'a Observation, state: &'a State) -> Sizes<'a> {
    let nodes = state.nodes.len();
    let (mut by_node, mut by_server): Sizes<'a> = (index(nodes), index(nodes));
    let size_of = |cloud: &str, flavor: &str| {
        let view = observation.clouds.get(cloud).and_then(Observed::known)?;
        let flavor = view.flavors.get(flavor)?;
        Some(Size {
            cpus: flavor.vcpus,
            memory_mb: flavor.ram_mb,
        })
    };
    // Neighbours are mostly of one type.
    let mut last: Option<(&'a str, &'a str, Option<Size>)> = None;
    let mut size = |cloud: &'a str, flavor: &'a str| match last {
        Some((of_cloud, of_flavor, size)) if (of_cloud, of_flavor) == (cloud, flavor) => size,
        _ => {
            let size = size_of(cloud, flavor);
            last = Some((cloud, flavor, size));
            size
        }
    };
    for (id, memory) in &state.nodes {
        if let Some(size) = size(&memory.node_type.cloud, &memory.node_type.flavor) {
            by_node.insert(id.0.as_str(), size);
            let server = memory.server_id.as_deref();
            by_server.extend(server.map(|server| (server, size)));
        }
    }
    // Servers that the state does not know yet.
    for (cloud, view) in &observation.clouds {
        let servers = view.known().map_or(&[][..], |view| &view.servers);
        for server in servers
            .iter()
            .filter(|server| server.role() == Role::Execute)
        {
            let is_known = by_server.contains_key(server.id())
                && (server.node()).is_none_or(|node| by_node.contains_key(node.0.as_str()));
            if is_known {
                continue;
            }
            let flavor = server.flavor().and_then(|flavor| size(cloud, flavor));
            if let Some(size) = flavor {
                by_server.entry(server.id()).or_insert(size);
                if let Some(node) = server.node() {
                    by_node.entry(node.0.as_str()).or_insert(size);
                }
            }
        }
    }
    (by_node, by_server)
}

/// Returns the observation with each node cut to its flavor, and a notice for each cut.
pub(super) fn bounded<'o>(
    observation: &'o Observation,
    state: &State,
) -> (Cow<'o, Observation>, Vec<String>) {
    let Observed::Known(collector) = &observation.pool.collector else {
        return (Cow::Borrowed(observation), Vec::new());
    };
    let (by_node, by_server) = sizes(observation, state);
    let size_of = |startd: &StartdView| {
        let server = startd.instance_id.as_deref();
        let server = server.and_then(|id| by_server.get(id));
        let node = startd.node.as_ref();
        let node = node.and_then(|id| by_node.get(id.0.as_str()));
        let sender = match &startd.sender {
            Sender::Node(node) => by_node.get(node.0.as_str()),
            _ => None,
        };
        // A startd that claims to be several nodes gets the smallest size.
        let all = [server, node, sender].into_iter().flatten();
        all.copied().min_by_key(|size| (size.cpus, size.memory_mb))
    };
    let above = |startd: &StartdView, size: Size| {
        let total = startd.total();
        total.cpus > size.cpus || total.memory_mb > size.memory_mb
    };
    let cut: Vec<(usize, Size)> = collector
        .startds
        .iter()
        .enumerate()
        .filter_map(|(index, startd)| {
            let size = size_of(startd).filter(|size| above(startd, *size))?;
            Some((index, size))
        })
        .collect();
    if cut.is_empty() {
        return (Cow::Borrowed(observation), Vec::new());
    }
    let mut notices = Vec::new();
    let mut startds = collector.startds.clone();
    for (index, size) in cut {
        let Some(startd) = startds.get_mut(index) else {
            continue;
        };
        let total = startd.total();
        notices.push(format!(
            "startd {}: advertises {} CPUs and {} MB, but the flavor of its server has {} CPUs and {} MB: ehos counts those of \
             the flavor; correct NUM_CPUS and MEMORY there",
            startd.machine, total.cpus, total.memory_mb, size.cpus, size.memory_mb
        ));
        cut_to(&mut startd.slots, size);
    }
    let mut observation = observation.clone();
    if let Observed::Known(collector) = &mut observation.pool.collector {
        collector.startds = startds;
    }
    notices.truncate(10);
    (Cow::Owned(observation), notices)
}

/// Reduces the slots, in their order, to this size.
fn cut_to(slots: &mut [SlotView], size: Size) {
    let mut left = size;
    for slot in slots {
        slot.total.cpus = slot.total.cpus.min(left.cpus);
        slot.total.memory_mb = slot.total.memory_mb.min(left.memory_mb);
        slot.free.cpus = slot.free.cpus.min(slot.total.cpus);
        slot.free.memory_mb = slot.free.memory_mb.min(slot.total.memory_mb);
        left.cpus -= slot.total.cpus;
        left.memory_mb -= slot.total.memory_mb;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::Resources;

    #[test]
    fn a_node_offers_at_most_its_flavor() {
        let slot = |cpus: u64, free: u64| SlotView {
            owners: Default::default(),
            name: String::new(),
            total: Resources {
                cpus,
                memory_mb: 1000 * cpus,
                disk_kb: 7,
                gpus: 0,
            },
            free: Resources {
                cpus: free,
                memory_mb: 1000 * free,
                disk_kb: 7,
                gpus: 0,
            },
            claims: 0,
            accepts_jobs: true,
            unchanged_for: Duration::ZERO,
        };
        let size = Size {
            cpus: 8,
            memory_mb: 4000,
        };
        let cut = |mut slots: Vec<SlotView>| {
            cut_to(&mut slots, size);
            let sizes = slots
                .iter()
                .map(|slot| (slot.total.cpus, slot.total.memory_mb, slot.free.cpus));
            sizes.collect::<Vec<_>>()
        };
        assert_eq!(cut(vec![slot(100_000, 100_000)]), [(8, 4000, 8)]);
        assert_eq!(cut(vec![slot(4, 2), slot(4, 4)]), [(4, 4000, 2), (4, 0, 4)]);
        assert_eq!(cut(vec![slot(6, 6), slot(6, 6)]), [(6, 4000, 6), (2, 0, 2)]);
        assert_eq!(cut(vec![slot(2, 1)]), [(2, 2000, 1)]);
    }
}
