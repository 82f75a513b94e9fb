//! Room for nodes in the project's quota.

use super::Finding;
use openstack::compute::NamedFlavor;
use scaling::observation::{Quota, SecondaryQuota, Usage};
use scaling::policy::CloudPolicy;

/// How many more servers of `flavor` the quota allows beyond the headroom, and what stops the next.
fn room(
    (quota, parts): (&Quota, &SecondaryQuota),
    policy: &CloudPolicy,
    flavor: &NamedFlavor,
) -> (u64, &'static str) {
    let more = |left: Option<u64>, headroom: u64, each: u64| {
        left.map_or(u64::MAX, |left| {
            left.saturating_sub(headroom)
                .checked_div(each)
                .unwrap_or(u64::MAX)
        })
    };
    let size = &flavor.flavor;
    let takes = &policy.takes;
    // What a node does not take limits nothing.
    let of_part = |usage: Usage, each: u64| {
        if each == 0 {
            u64::MAX
        } else {
            more(usage.left(), 0, each)
        }
    };
    [
        (
            more(quota.instances.left(), policy.min_instances, 1),
            "servers",
        ),
        (
            more(quota.cores.left(), policy.min_cores, size.vcpus),
            "cores",
        ),
        (
            more(quota.ram_mb.left(), policy.min_ram_mb, size.ram_mb),
            "memory",
        ),
        (of_part(parts.ports, takes.ports), "ports"),
        (of_part(parts.volumes, takes.volumes), "volumes"),
        (
            of_part(parts.volume_gb, takes.volume_gb),
            "gigabytes of volumes",
        ),
        (
            of_part(parts.server_group_members, takes.server_group_members),
            "places in the server group",
        ),
    ]
    .into_iter()
    .min_by_key(|(count, _)| *count)
    .unwrap_or((u64::MAX, "servers"))
}

/// Room for one node of each flavor, and for all that may be made; `nodes` are there already.
pub fn quota(
    quota: (&Quota, &SecondaryQuota),
    policy: &CloudPolicy,
    nodes_max: u64,
    flavors: &[&NamedFlavor],
    nodes: u64,
) -> Vec<Finding> {
    const CHECK: &str = "quota";
    let nodes_max = policy.nodes_max.unwrap_or(nodes_max).min(nodes_max);
    let rooms: Vec<_> = flavors
        .iter()
        .map(|flavor| (flavor.name.as_str(), room(quota, policy, flavor)))
        .collect();
    let ask = "ask the cloud's operators for more, delete unused servers, or lower min_cores, min_ram, \
               min_instances";
    let mut findings: Vec<Finding> = rooms
        .iter()
        .filter(|(_, (count, _))| *count == 0 && nodes < nodes_max)
        .map(|(name, (_, what))| {
            let text = format!("the quota has no {what} left for one more {name}");
            if nodes == 0 {
                Finding::failed(CHECK, text, ask)
            } else {
                Finding::warning(CHECK, format!("{text}; {nodes} nodes are there"), ask)
            }
        })
        .collect();
    if !findings.is_empty() {
        return findings;
    }
    let most = rooms.iter().max_by_key(|(_, (count, _))| *count);
    if let Some((name, (count, what))) = most {
        let wanted = nodes_max.saturating_sub(nodes);
        findings.push(if *count >= wanted {
            Finding::ok(CHECK, format!("room for {nodes_max} nodes (nodes_max)"))
        } else {
            Finding::warning(
                CHECK,
                format!(
                    "room for {count} more nodes of {name}, then there are no {what} left; nodes_max is {nodes_max}"
                ),
                "ask for a larger quota, or lower nodes_max",
            )
        });
    }
    findings
}

/// Flavors of which `cores_max` allows not one node.
pub fn cores_max(
    pool: Option<u64>,
    policy: &CloudPolicy,
    flavors: &[&NamedFlavor],
) -> Vec<Finding> {
    let Some(most) = policy.cores_max.into_iter().chain(pool).min() else {
        return Vec::new();
    };
    let large = flavors.iter().filter(|flavor| flavor.flavor.vcpus > most);
    large
        .map(|flavor| {
            let (name, cores) = (&flavor.name, flavor.flavor.vcpus);
            let text = format!("one {name} has {cores} cores; cores_max is {most}");
            let remedy = "raise cores_max, or remove the flavor from `flavors`";
            Finding::warning("cores_max", text, remedy)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;
    use scaling::observation::Flavor;
    use scaling::policy::NodeFootprint;

    fn flavor(name: &str, vcpus: u64) -> NamedFlavor {
        NamedFlavor {
            name: name.to_owned(),
            root_disk_gb: 20,
            flavor: Flavor {
                id: name.to_owned(),
                vcpus,
                ram_mb: 2048 * vcpus,
                disk_gb: 20,
                gpus: 0,
            },
        }
    }

    fn policy(min_cores: u64) -> CloudPolicy {
        CloudPolicy {
            min_cores,
            ..CloudPolicy::new("lab", Vec::new(), "")
        }
    }

    #[test]
    fn there_must_be_room_for_one_and_should_be_for_all() {
        let small = flavor("small", 1);
        let large = flavor("large", 8);
        let cores = |limit| Quota {
            cores: Usage {
                limit: Some(limit),
                used: 4,
            },
            ..Quota::default()
        };
        let of = |limit, min_cores, nodes| {
            let findings = quota(
                (&cores(limit), &SecondaryQuota::default()),
                &policy(min_cores),
                10,
                &[&small, &large],
                nodes,
            );
            findings.iter().map(|f| f.outcome).collect::<Vec<_>>()
        };
        assert_eq!(of(14, 0, 0), [Outcome::Ok]);
        assert_eq!(of(13, 0, 0), [Outcome::Warning]);
        assert_eq!(of(14, 1, 0), [Outcome::Warning], "headroom");
        // The large one does not fit any more, or none does.
        assert_eq!(of(11, 0, 0), [Outcome::Failed]);
        assert_eq!(of(4, 0, 0), [Outcome::Failed, Outcome::Failed]);
        // What the nodes themselves take is no fault.
        assert_eq!(of(4, 0, 4), [Outcome::Warning, Outcome::Warning]);
        assert_eq!(of(4, 0, 10), [Outcome::Ok]);
    }

    #[test]
    fn a_flavor_that_cores_max_never_allows_is_named() {
        let (small, large) = (flavor("small", 1), flavor("large", 8));
        let of = |pool, cloud| {
            let policy = CloudPolicy {
                cores_max: cloud,
                ..policy(0)
            };
            let found = cores_max(pool, &policy, &[&small, &large]);
            found.into_iter().map(|one| one.what).collect::<Vec<_>>()
        };
        assert_eq!(of(None, None), [""; 0]);
        assert_eq!(of(Some(8), None), [""; 0]);
        let text = "one large has 8 cores; cores_max is 7";
        assert_eq!(of(Some(7), Some(9)), [text]);
        assert_eq!(of(Some(9), Some(7)), [text]);
    }

    #[test]
    fn what_else_nodes_take_must_have_room_too() {
        let small = flavor("small", 1);
        let parts = SecondaryQuota {
            ports: Usage {
                limit: Some(10),
                used: 5,
            },
            ..SecondaryQuota::default()
        };
        let of = |ports| {
            let policy = CloudPolicy {
                takes: NodeFootprint {
                    ports,
                    ..NodeFootprint::default()
                },
                ..policy(0)
            };
            let found = quota((&Quota::default(), &parts), &policy, 5, &[&small], 0);
            (found[0].outcome, found[0].what.clone())
        };
        assert_eq!(of(0).0, Outcome::Ok, "not used");
        assert_eq!(of(1).0, Outcome::Ok);
        let (outcome, what) = of(2);
        assert_eq!(outcome, Outcome::Warning);
        assert!(
            what.contains("room for 2 more nodes of small, then there are no ports left"),
            "{what}"
        );
        let (outcome, what) = of(6);
        assert_eq!(outcome, Outcome::Failed);
        assert!(
            what.contains("has no ports left for one more small"),
            "{what}"
        );
    }
}
