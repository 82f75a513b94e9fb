//! Quotas of ports, volumes and server group members: how many further nodes they permit.

use super::limits::{Case, Limit, quota};
use super::observation::{CloudView, Observed, SecondaryQuota, Usage};
use super::policy::NodeFootprint;

/// One of the quotas.
struct SecondaryResource {
    usage: Usage,
    /// What one node takes of it.
    each: u64,
    /// Nodes that the cloud does not count there yet.
    uncounted: u64,
    limit: fn(String, u64, u64) -> Limit,
}

fn resources(case: &Case<'_>, seen: &SecondaryQuota) -> [SecondaryResource; 4] {
    let NodeFootprint {
        ports,
        volumes,
        volume_gb,
        server_group_members,
    } = case.cloud.takes;
    let planned = case.planned.instances;
    let uncounted = planned.saturating_add(case.planned.building);
    [
        SecondaryResource {
            usage: seen.ports,
            each: ports,
            uncounted,
            limit: |cloud, left, each| Limit::Ports { cloud, left, each },
        },
        SecondaryResource {
            usage: seen.volumes,
            each: volumes,
            uncounted,
            limit: |cloud, left, each| Limit::Volumes { cloud, left, each },
        },
        SecondaryResource {
            usage: seen.volume_gb,
            each: volume_gb,
            uncounted,
            limit: |cloud, left_gb, each_gb| Limit::VolumeGigabytes {
                cloud,
                left_gb,
                each_gb,
            },
        },
        SecondaryResource {
            usage: seen.server_group_members,
            each: server_group_members,
            // Members from the create on.
            uncounted: planned,
            limit: |cloud, left, _| Limit::ServerGroupMembers { cloud, left },
        },
    ]
}

/// How many more nodes each of them allows.
pub(super) fn all(case: &Case<'_>, view: &CloudView) -> Vec<(u64, Limit)> {
    let cloud = || case.cloud.name.clone();
    let seen = match &view.parts {
        Observed::Known(seen) => seen,
        // Nobody knows whether a node would get them.
        Observed::Unknown(why) => {
            let unknown = Limit::SecondaryQuotaUnknown {
                cloud: cloud(),
                why: why.clone(),
            };
            return vec![(0, unknown)];
        }
    };
    let used = resources(case, seen)
        .into_iter()
        .filter(|part| part.each > 0);
    used.filter_map(|part| {
        let taken = part.uncounted.saturating_mul(part.each);
        let (left, more) = quota(part.usage, taken, 0, part.each)?;
        Some((more, (part.limit)(cloud(), left, part.each)))
    })
    .collect()
}

/// What stands in the way of one node in the place of another of its cloud, which takes and gives back the same: a quota
/// that is passed already.
pub(super) fn exchange(case: &Case<'_>, view: &CloudView) -> Option<Limit> {
    let seen = match &view.parts {
        Observed::Known(seen) => seen,
        Observed::Unknown(why) => {
            return Some(Limit::SecondaryQuotaUnknown {
                cloud: case.cloud.name.clone(),
                why: why.clone(),
            });
        }
    };
    let passed = |part: &SecondaryResource| {
        let taken = part.uncounted.saturating_mul(part.each);
        let needed = part.usage.used.saturating_add(taken);
        part.each > 0 && part.usage.limit.is_some_and(|limit| needed > limit)
    };
    let part = resources(case, seen).into_iter().find(passed)?;
    Some((part.limit)(case.cloud.name.clone(), 0, part.each))
}

/// Whether a cloud has no room for the parts of one more node: its ports may run out while a server is built, and Nova then
/// says only that it has tried all hosts.
pub(super) fn used_up(takes: &NodeFootprint, view: &CloudView) -> bool {
    let short = |usage: Usage, each: u64| usage.left().is_some_and(|left| left < each);
    view.parts.known().is_some_and(|seen| {
        short(seen.ports, takes.ports)
            || short(seen.volumes, takes.volumes)
            || short(seen.volume_gb, takes.volume_gb)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::budget::Costs;
    use crate::leftover::Leftovers;
    use crate::limits::{Planned, allowance};
    use crate::observation::{Flavor, Quota};
    use crate::policy::{CloudPolicy, Policy};
    use crate::state::State;
    use crate::submitter::{ChargedNodes, Submitters};

    const TAKES: NodeFootprint = NodeFootprint {
        ports: 2,
        volumes: 1,
        volume_gb: 20,
        server_group_members: 1,
    };

    fn view(parts: Observed<SecondaryQuota>) -> CloudView {
        let flavor = Flavor {
            id: "1".to_owned(),
            vcpus: 1,
            ram_mb: 2048,
            disk_gb: 20,
            gpus: 0,
        };
        CloudView {
            obscure: Vec::new(),
            image_tested: false,
            unread_flavors: BTreeMap::new(),
            unread: Vec::new(),
            servers: Vec::new(),
            quota: Quota::default(),
            parts,
            flavors: BTreeMap::from([("f".to_owned(), flavor)]),
            leftovers: Observed::Known(Leftovers::default()),
        }
    }

    fn left(left: u64) -> Usage {
        Usage {
            limit: Some(left + 5),
            used: 5,
        }
    }

    /// How many nodes that take these may be made, and what limits them.
    fn allowed(
        takes: NodeFootprint,
        parts: Observed<SecondaryQuota>,
        planned: Planned,
    ) -> (u64, String) {
        let policy = Policy {
            nodes_max: 1000,
            max_unproven: 1000,
            ..Policy::new("c")
        };
        let cloud = CloudPolicy {
            takes,
            ..CloudPolicy::new("blue", vec!["f".to_owned()], "i")
        };
        let view = view(parts);
        let (more, limit) = allowance(&Case {
            policy: &policy,
            cloud: &cloud,
            view: Some(&view),
            flavor: "f",
            state: &State::default(),
            never_seen: None,
            nodes: 0,
            nodes_in_cloud: 0,
            cores: 0,
            cores_in_cloud: 0,
            unsized_nodes: &[],
            unjoined_of_kind: 0,
            first_nodes: None,
            submitters: Submitters::NONE,
            charged: &ChargedNodes::default(),
            planned,
            actions_left: 100,
            costs: &Costs::default(),
        });
        (more, limit.to_string())
    }

    #[test]
    fn each_part_limits_what_takes_it() {
        let none = SecondaryQuota::default();
        let planned = Planned {
            instances: 1,
            building: 1,
            ..Planned::default()
        };
        for (parts, more, words) in [
            (none, 100, "max_actions 20 per minute"),
            (
                SecondaryQuota {
                    ports: left(9),
                    ..none
                },
                2,
                "ports quota of cloud blue: 5 left, 2 per node",
            ),
            (
                SecondaryQuota {
                    volumes: left(5),
                    ..none
                },
                3,
                "volumes quota of cloud blue: 3 left, 1 per node",
            ),
            (
                SecondaryQuota {
                    volume_gb: left(139),
                    ..none
                },
                4,
                "volume size quota of cloud blue: 99 GB left, 20 GB per node",
            ),
            (
                SecondaryQuota {
                    server_group_members: left(6),
                    ..none
                },
                5,
                "server group quota of cloud blue: 5 members left",
            ),
        ] {
            let (allowed_more, said) = allowed(TAKES, Observed::Known(parts), planned);
            assert_eq!((allowed_more, &*said), (more, words), "{parts:?}");
            let (untouched, _) = allowed(NodeFootprint::default(), Observed::Known(parts), planned);
            assert_eq!(untouched, 100, "what is not used limits nothing");
        }
    }

    #[test]
    fn what_could_not_be_seen_makes_nothing() {
        let (more, said) = allowed(
            TAKES,
            Observed::Unknown("Cinder is down".to_owned()),
            Planned::default(),
        );
        assert_eq!(more, 0);
        assert!(
            said.ends_with("unknown quota of cloud blue: Cinder is down"),
            "{said}"
        );
    }

    #[test]
    fn used_up_is_what_has_no_room_for_one() {
        let with = |ports| {
            let parts = SecondaryQuota {
                ports,
                ..SecondaryQuota::default()
            };
            used_up(&TAKES, &view(Observed::Known(parts)))
        };
        assert!(with(left(1)));
        assert!(!with(left(2)));
        assert!(!with(Usage::default()), "unlimited");
        assert!(!used_up(&TAKES, &view(Observed::Unknown(String::new()))));
    }
}
