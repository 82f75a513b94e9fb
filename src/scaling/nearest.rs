//! The node type that comes nearest to a request which is too large for all of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::observation::Resources;
use super::state::NodeType;

/// A resource of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// `RequestCpus`.
    Cpus,
    /// `RequestMemory`, in MiB.
    MemoryMb,
    /// `RequestDisk`, in KiB.
    DiskKb,
    /// `RequestGPUs`.
    Gpus,
}

impl Resource {
    const ALL: [Resource; 4] = [
        Resource::Cpus,
        Resource::MemoryMb,
        Resource::DiskKb,
        Resource::Gpus,
    ];

    fn of(self, resources: &Resources) -> u64 {
        match self {
            Resource::Cpus => resources.cpus,
            Resource::MemoryMb => resources.memory_mb,
            Resource::DiskKb => resources.disk_kb,
            Resource::Gpus => resources.gpus,
        }
    }

    /// Both amounts with a unit in which they differ.
    fn amounts(self, requested: u64, available: u64) -> (String, String) {
        let plural = |number: u64, word: &str| {
            format!("{number} {word}{}", if number == 1 { "" } else { "s" })
        };
        match self {
            Resource::Cpus => (plural(requested, "CPU"), plural(available, "CPU")),
            Resource::Gpus => (plural(requested, "GPU"), plural(available, "GPU")),
            Resource::MemoryMb => (format!("{requested} MB"), format!("{available} MB")),
            Resource::DiskKb => {
                let in_units = |kb_each: u64, unit: &str| {
                    // The request up, the offer down: neither is told as more than it is.
                    (
                        format!("{} {unit} disk", requested.div_ceil(kb_each)),
                        format!("{} {unit} disk", available / kb_each),
                    )
                };
                if requested >= 1 << 20 {
                    in_units(1 << 20, "GB")
                } else {
                    in_units(1 << 10, "MB")
                }
            }
        }
    }
}

/// A resource that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// Which.
    pub resource: Resource,
    /// What is requested of it.
    pub requested: u64,
    /// What the node type has.
    pub available: u64,
}

/// The node type that lacks the fewest resources, and of several the one that lacks least of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Its cloud.
    pub cloud: String,
    /// Its flavor.
    pub flavor: String,
    /// Where nothing that is configured has a GPU, and one is requested.
    pub no_gpu: bool,
    /// What is too large there.
    pub too_large: Vec<Excess>,
}

impl Nearest {
    /// Of these spaces, each of a node type; none without one.
    pub fn of(request: &Resources, spaces: &[(&NodeType, Resources)]) -> Option<Nearest> {
        let excess = |space: &Resources| -> Vec<Excess> {
            let excess = Resource::ALL.into_iter().map(|resource| Excess {
                resource,
                requested: resource.of(request),
                available: resource.of(space),
            });
            excess.filter(|one| one.requested > one.available).collect()
        };
        let no_gpu = request.gpus > 0 && spaces.iter().all(|(_, space)| space.gpus == 0);
        // Thousandths of what is requested, summed over what is too large.
        let has = |space: &Resources| -> u128 {
            let excess = excess(space).into_iter();
            let share =
                |one: Excess| u128::from(one.available) * 1000 / u128::from(one.requested.max(1));
            excess.map(share).sum()
        };
        let lacks = |space: &Resources| std::cmp::Reverse(excess(space).len());
        let nearest = spaces.iter();
        let nearest =
            nearest.max_by_key(|(_, space)| (lacks(space), has(space), space.memory_mb, *space));
        let (node_type, space) = nearest?;
        Some(Nearest {
            cloud: node_type.cloud.clone(),
            flavor: node_type.flavor.clone(),
            no_gpu,
            too_large: excess(space),
        })
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self
            .too_large
            .iter()
            .filter(|one| !(self.no_gpu && one.resource == Resource::Gpus));
        let (requested, available): (Vec<String>, Vec<String>) = others
            .map(|one| one.resource.amounts(one.requested, one.available))
            .unzip();
        if self.no_gpu {
            let gpus = self
                .too_large
                .iter()
                .find(|one| one.resource == Resource::Gpus);
            let gpus = gpus.map_or(1, |one| one.requested);
            write!(
                f,
                "no flavor has a GPU: requested {}",
                Resource::Gpus.amounts(gpus, 0).0
            )?;
            if requested.is_empty() {
                return Ok(());
            }
            f.write_str("; ")?;
        }
        write!(
            f,
            "no flavor is large enough: requested {}; largest node {} ({} in {})",
            requested.join(", "),
            available.join(", "),
            self.flavor,
            self.cloud
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1024 * 1024;

    fn nearest(request: Resources, spaces: &[(&str, Resources)]) -> String {
        let spaces: Vec<(NodeType, Resources)> = spaces
            .iter()
            .map(|(flavor, space)| {
                let node_type = NodeType {
                    cloud: "blue".to_owned(),
                    flavor: (*flavor).to_owned(),
                    image: "i".to_owned(),
                };
                (node_type, *space)
            })
            .collect();
        let spaces: Vec<(&NodeType, Resources)> = spaces
            .iter()
            .map(|(node_type, space)| (node_type, *space))
            .collect();
        Nearest::of(&request, &spaces).unwrap().to_string()
    }

    fn resources(cpus: u64, memory_mb: u64, disk_gb: u64, gpus: u64) -> Resources {
        Resources {
            cpus,
            memory_mb,
            disk_kb: disk_gb * GB,
            gpus,
        }
    }

    #[test]
    fn exactly_what_is_too_large_is_named_with_units() {
        let flavors = [
            ("small", resources(2, 3500, 36, 0)),
            ("large", resources(4, 7537, 72, 0)),
        ];
        let told = |request| nearest(request, &flavors);
        insta::assert_snapshot!(told(resources(1, 128, 500, 0)), @"no flavor is large enough: requested 500 GB disk; largest node 72 GB disk (large in blue)");
        insta::assert_snapshot!(told(resources(16, 4096, 1, 0)), @"no flavor is large enough: requested 16 CPUs; largest node 4 CPUs (large in blue)");
        insta::assert_snapshot!(told(resources(16, 8192, 1, 0)), @"no flavor is large enough: requested 16 CPUs, 8192 MB; largest node 4 CPUs, 7537 MB (large in blue)");
        insta::assert_snapshot!(told(resources(1, 512, 1, 1)), @"no flavor has a GPU: requested 1 GPU");
        insta::assert_snapshot!(told(resources(9, 512, 1, 2)), @"no flavor has a GPU: requested 2 GPUs; no flavor is large enough: requested 9 CPUs; largest node 4 CPUs (large in blue)");
    }

    #[test]
    fn amounts_that_differ_by_little_differ_in_words() {
        let little = Resources {
            disk_kb: 72 * GB + 1,
            ..resources(1, 1, 0, 0)
        };
        let told = nearest(little, &[("f", resources(1, 1, 72, 0))]);
        insta::assert_snapshot!(told, @"no flavor is large enough: requested 73 GB disk; largest node 72 GB disk (f in blue)");
        let small = Resources {
            disk_kb: 1025,
            ..resources(1, 1, 0, 0)
        };
        let has = Resources {
            disk_kb: 1024,
            ..resources(1, 1, 0, 0)
        };
        let told = nearest(small, &[("f", has)]);
        insta::assert_snapshot!(told, @"no flavor is large enough: requested 2 MB disk; largest node 1 MB disk (f in blue)");
    }

    #[test]
    fn the_node_type_that_lacks_least_is_the_nearest() {
        let flavors = [
            ("big", resources(32, 64_000, 72, 0)),
            ("gpu", resources(4, 16_000, 72, 1)),
        ];
        let told = |request| nearest(request, &flavors);
        insta::assert_snapshot!(told(resources(4, 20_000, 1, 1)), @"no flavor is large enough: requested 20000 MB; largest node 16000 MB (gpu in blue)");
        insta::assert_snapshot!(told(resources(4, 8000, 1, 4)), @"no flavor is large enough: requested 4 GPUs; largest node 1 GPU (gpu in blue)");
        insta::assert_snapshot!(told(resources(64, 8000, 1, 1)), @"no flavor is large enough: requested 64 CPUs; largest node 4 CPUs (gpu in blue)");
    }
}
