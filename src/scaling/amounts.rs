//! Bounds the resources that a node advertises by its flavor: root on a node can advertise any amount.

use std::borrow::Cow;

use super::numbers::{IdNumber, Numbers, Table};
use super::observation::{Observation, Observed, SlotView, StartdView};

/// The sizes of flavors, and the nodes and servers that have them.
struct Sizes {
    all: Vec<Option<Size>>,
    by_node: Table<Option<usize>>,
    by_server: Table<Option<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    cpus: u64,
    memory_mb: u64,
}

impl Sizes {
    fn new(observation: &Observation, numbers: &Numbers<'_>) -> Sizes {
        let size_of = |cloud: &str, flavor: &str| {
            let view = observation.clouds.get(cloud).and_then(Observed::known)?;
            let flavor = view.flavors.get(flavor)?;
            Some(Size {
                cpus: flavor.vcpus,
                memory_mb: flavor.ram_mb,
            })
        };
        let of_types = numbers.node_types.iter();
        let of_types = of_types.map(|node_type| size_of(&node_type.cloud, &node_type.flavor));
        let mut sizes = Sizes {
            all: of_types.collect(),
            by_node: numbers.table(),
            by_server: numbers.table(),
        };
        for node in &numbers.nodes {
            if let Some(Some(_)) = sizes.all.get(node.node_type) {
                let size = |row: &mut Option<usize>| *row = Some(node.node_type);
                sizes.by_node.change(node.id, size);
                if let Some(server) = node.server {
                    sizes.by_server.change(server, size);
                }
            }
        }
        // Servers that the state does not know yet.
        let clouds: Vec<&str> = observation.clouds.keys().map(String::as_str).collect();
        for listed in &numbers.servers {
            let is_known = sizes.by_server.get(listed.id).is_some()
                && (listed.node).is_none_or(|node| sizes.by_node.get(node).is_some());
            if is_known || !listed.is_execute {
                continue;
            }
            let cloud = clouds.get(listed.cloud).copied().unwrap_or_default();
            let flavor = listed.server.flavor();
            if let Some(size) = flavor.and_then(|flavor| size_of(cloud, flavor)) {
                let place = sizes.all.len();
                sizes.all.push(Some(size));
                let or_this = |row: &mut Option<usize>| *row = row.or(Some(place));
                sizes.by_server.change(listed.id, or_this);
                if let Some(node) = listed.node {
                    sizes.by_node.change(node, or_this);
                }
            }
        }
        sizes
    }

    fn get(&self, table: &Table<Option<usize>>, id: Option<IdNumber>) -> Option<Size> {
        let place = table.get(id?)?;
        self.all.get(place).copied().flatten()
    }
}

/// Returns the observation with each node cut to its flavor, and a notice for each cut.
pub(super) fn bounded<'o>(
    observation: &'o Observation,
    numbers: &Numbers<'_>,
) -> (Cow<'o, Observation>, Vec<String>) {
    let Observed::Known(collector) = &observation.pool.collector else {
        return (Cow::Borrowed(observation), Vec::new());
    };
    let sizes = Sizes::new(observation, numbers);
    let above = |startd: &StartdView, size: Size| {
        let total = startd.total();
        total.cpus > size.cpus || total.memory_mb > size.memory_mb
    };
    let startds = collector.startds.iter().zip(&numbers.startds);
    let cut: Vec<(usize, Size)> = startds
        .enumerate()
        .filter_map(|(index, (startd, says))| {
            // A startd that claims to be several nodes gets the smallest size.
            let all = [
                sizes.get(&sizes.by_server, says.instance),
                sizes.get(&sizes.by_node, says.node),
                sizes.get(&sizes.by_node, says.sender),
            ];
            let all = all.into_iter().flatten();
            let size = all.min_by_key(|size| (size.cpus, size.memory_mb))?;
            above(startd, size).then_some((index, size))
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
