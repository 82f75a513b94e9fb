//! What holds of every plan, whatever the site is.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scaling::allocation::Allocation;
use scaling::plan::{NodeDecision, Plan, plan};
use scaling::reason::Reason;
use scaling::schedule::Spare;

use crate::small::{
    Jobs, Small, SmallCloud, SmallFlavor, SmallNode, SmallPhase, Standing, cloud, flavor_name,
    jobs, made, nova,
};

const ALL: [Allocation; 5] = [
    Allocation::RoundRobin,
    Allocation::Random,
    Allocation::FillFirst,
    Allocation::Cheapest,
    Allocation::LeastWaste,
];

fn flavors() -> impl Strategy<Value = Vec<SmallFlavor>> {
    let standing = prop_oneof![
        8 => Just(Standing::Free),
        1 => Just(Standing::Backoff),
        1 => Just(Standing::Protected),
    ];
    let price = prop::option::of((1..=40u64).prop_map(|price| price as f64 / 100.0));
    let joined = prop_oneof![Just(0u64), Just(3), Just(1000)];
    let one = (1..=8u64, 1..=4u64, price, standing, joined).prop_map(
        |(vcpus, gb, price, standing, joined)| SmallFlavor {
            vcpus,
            ram_mb: vcpus * gb * 1024 + 1024,
            price,
            standing,
            joined,
        },
    );
    prop::collection::vec(one, 1..=4)
}

fn nodes() -> impl Strategy<Value = Vec<SmallNode>> {
    let phase = prop_oneof![
        Just(SmallPhase::Building),
        Just(SmallPhase::Idle { seconds: 20 }),
        Just(SmallPhase::Idle { seconds: 900 }),
        (1..=8u64).prop_map(|cpus| SmallPhase::Busy { cpus }),
        Just(SmallPhase::Failed),
    ];
    let one = (0..4usize, phase).prop_map(|(flavor, phase)| SmallNode { flavor, phase });
    prop::collection::vec(one, 0..5)
}

fn quota(most: u64) -> impl Strategy<Value = Option<(u64, u64)>> {
    prop::option::of((0..=most, 0..=most / 3))
}

fn clouds(
    nodes: impl Strategy<Value = Vec<SmallNode>> + Clone,
) -> impl Strategy<Value = Vec<SmallCloud>> {
    let limits = (
        quota(12),
        quota(40),
        quota(100 * 1024),
        (0..3u64, 0..6u64, 0..3u64),
        (prop::option::of(0..8u64), prop::option::of(0..40u64)),
        prop_oneof![1 => Just(0u64), 6 => 1..4u64],
        prop::bool::weighted(0.9),
    );
    let one = (flavors(), limits, nodes).prop_map(
        |(flavors, (instances, cores, ram_mb, headroom, most, weight, answers), nodes)| {
            SmallCloud {
                instances,
                cores,
                ram_mb,
                min_instances: headroom.0,
                min_cores: headroom.1,
                min_ram_mb: headroom.2 * 1024,
                nodes_max: most.0,
                cores_max: most.1,
                weight,
                answers,
                nodes,
                ..cloud("", flavors)
            }
        },
    );
    prop::collection::vec(one, 1..=3).prop_map(|mut clouds| {
        for (cloud, name) in clouds.iter_mut().zip(["a", "b", "c"]) {
            name.clone_into(&mut cloud.name);
        }
        clouds
    })
}

fn waiting() -> impl Strategy<Value = Vec<Jobs>> {
    let one = (
        0..=20u64,
        1..=8u64,
        1..=100u64,
        prop_oneof![Just(10u64), Just(900)],
    );
    let one = one.prop_map(|(count, cpus, memory, seconds)| Jobs {
        seconds,
        ..jobs(count, cpus, memory * 128)
    });
    prop::collection::vec(one, 0..5)
}

prop_compose! {
    fn small()(
        clouds in clouds(nodes().boxed()),
        schedds in prop::collection::vec(waiting(), 1..=2),
        (nodes_min, nodes_max, nodes_spare) in (0..4u64, 0..14u64, 0..3u64),
        cores_max in prop::option::of(0..60u64),
        (max_actions, max_unproven) in (1..10u64, 1..6u64),
        (allocation, straggler_overhead) in (prop::sample::select(&ALL[..]), prop_oneof![Just(0.0), Just(0.05)]),
        turn in any::<u64>(),
    ) -> Small {
        let mut small = Small::new(clouds, Vec::new()).by(allocation);
        small.schedds = schedds;
        small.turn = turn;
        small.policy.nodes_min = nodes_min.min(nodes_max);
        small.policy.nodes_max = nodes_max;
        small.policy.cores_max = cores_max;
        small.policy.nodes_spare = Spare::Count(nodes_spare.min(nodes_max));
        small.policy.max_actions = max_actions;
        small.policy.max_unproven = max_unproven;
        small.policy.straggler_overhead = straggler_overhead;
        small
    }
}

/// Nodes of a cloud that the plan makes, with what each has.
fn new_of<'s>(small: &'s Small, plan: &Plan, cloud: &SmallCloud) -> Vec<(u64, &'s SmallFlavor)> {
    let here = small
        .clouds
        .iter()
        .find(|one| one.name == cloud.name)
        .unwrap();
    made(plan)
        .into_iter()
        .filter(|((name, _), _)| *name == cloud.name)
        .map(|((_, flavor), count)| {
            let position: usize = flavor[1..].parse().unwrap();
            (count, &here.flavors[position])
        })
        .collect()
}

fn flavor_of<'s>(cloud: &'s SmallCloud, node: &SmallNode) -> &'s SmallFlavor {
    &cloud.flavors[node.flavor.min(cloud.flavors.len() - 1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_limit_is_passed(small in small()) {
        let plan = small.plan();
        let created = plan.count(NodeDecision::Create) as u64;
        let deleted = plan.count(NodeDecision::Delete) as u64;
        prop_assert!(created + deleted <= small.policy.max_actions);
        let there: u64 = small.clouds.iter().map(|cloud| cloud.nodes.len() as u64).sum();
        prop_assert!(created == 0 || there + created <= small.policy.nodes_max);
        let cores_there = |cloud: &SmallCloud| {
            let cores = cloud.nodes.iter().map(|node| flavor_of(cloud, node).vcpus);
            cores.sum::<u64>()
        };
        let cores_new = |cloud: &SmallCloud| {
            let new = new_of(&small, &plan, cloud).into_iter();
            new.map(|(count, flavor)| count * flavor.vcpus).sum::<u64>()
        };
        let cores: u64 = small.clouds.iter().map(cores_there).sum();
        let new_cores: u64 = small.clouds.iter().map(cores_new).sum();
        let cores_max = small.policy.cores_max;
        prop_assert!(new_cores == 0 || cores_max.is_none_or(|most| cores + new_cores <= most));
        for cloud in &small.clouds {
            let new = new_of(&small, &plan, cloud);
            let count: u64 = new.iter().map(|(count, _)| count).sum();
            if count == 0 {
                continue;
            }
            prop_assert!(cloud.answers, "nothing is made in a cloud that does not answer");
            let there = cloud.nodes.len() as u64;
            prop_assert!(cloud.nodes_max.is_none_or(|most| there + count <= most));
            let cores = cores_there(cloud) + cores_new(cloud);
            prop_assert!(cloud.cores_max.is_none_or(|most| cores <= most));
            let holds = |limit: Option<(u64, u64)>, kept: u64, each: fn(&SmallFlavor) -> u64| {
                let ours: u64 = cloud.nodes.iter().map(|node| each(flavor_of(cloud, node))).sum();
                let more: u64 = new.iter().map(|(count, flavor)| count * each(flavor)).sum();
                limit.is_none_or(|(limit, others)| others + ours + more + kept <= limit)
            };
            prop_assert!(holds(cloud.instances, cloud.min_instances, |_| 1), "instances");
            prop_assert!(holds(cloud.cores, cloud.min_cores, |flavor| flavor.vcpus), "cores");
            prop_assert!(holds(cloud.ram_mb, cloud.min_ram_mb, |flavor| flavor.ram_mb), "memory");
            for ((name, made_of), count) in made(&plan) {
                let at = (0..cloud.flavors.len()).find(|at| flavor_name(*at) == made_of);
                let Some(at) = at.filter(|_| name == cloud.name) else {
                    continue;
                };
                let flavor = &cloud.flavors[at];
                prop_assert_eq!(flavor.standing, Standing::Free, "back-off and protected mode hold");
                let building = |node: &&SmallNode| {
                    node.phase == SmallPhase::Building && node.flavor.min(cloud.flavors.len() - 1) == at
                };
                let unjoined = cloud.nodes.iter().filter(building).count() as u64;
                let most = match flavor.joined {
                    0 => small.policy.max_unproven,
                    joined => joined.max(10),
                };
                prop_assert!(unjoined + count <= most, "max_unproven");
            }
        }
    }

    #[test]
    fn every_new_node_is_asked_for(small in small()) {
        let plan = small.plan();
        let mut for_minimum = 0;
        let mut for_spare = 0;
        let mut placed: BTreeMap<_, u64> = BTreeMap::new();
        for node in plan.nodes.iter().filter(|node| node.decision == NodeDecision::Create) {
            match &node.why {
                Reason::CreateForDemand { jobs, request, .. } => {
                    prop_assert!(*jobs > 0);
                    *placed.entry(*request).or_default() += jobs;
                }
                Reason::CreateForMinimum { .. } => for_minimum += 1,
                Reason::CreateForSpare { .. } => for_spare += 1,
                other => prop_assert!(false, "{other}"),
            }
        }
        prop_assert!(for_minimum <= small.policy.nodes_min);
        let Spare::Count(nodes_spare) = small.policy.nodes_spare else {
            return Err(TestCaseError::fail("a share"));
        };
        prop_assert!(for_spare <= nodes_spare);
        for group in &plan.groups {
            let mut told = 0;
            for why in &group.why {
                told += match why {
                    Reason::FitsFree { jobs }
                    | Reason::FitsComing { jobs }
                    | Reason::FitsTakenBack { jobs }
                    | Reason::FitsNew { jobs }
                    | Reason::Refused { jobs }
                    | Reason::Limited { jobs, .. } => *jobs,
                    Reason::NewNodes { jobs, .. } => {
                        assert_eq!(placed.remove(&group.request), Some(*jobs));
                        *jobs
                    }
                    Reason::TooLarge { .. } | Reason::NothingMade { .. } => group.jobs - told,
                    _ => 0,
                };
            }
            prop_assert_eq!(told, group.jobs, "each job is told of once: {:?}", &group.why);
        }
        prop_assert!(placed.is_empty(), "no node for jobs that are not there");
    }

    /// Jobs that wait for want of a limit are told what limits each cloud that could have a node for them, each thing once.
    #[test]
    fn every_cloud_says_what_limits_it(small in small()) {
        let plan = small.plan();
        for group in &plan.groups {
            let limits = group.why.iter().find_map(|why| match why {
                Reason::Limited { limit, other_limits, .. } => {
                    Some(std::iter::once(limit).chain(other_limits).collect::<Vec<_>>())
                }
                _ => None,
            });
            let Some(limits) = limits else { continue };
            let told: Vec<serde_json::Value> =
                limits.iter().map(|limit| serde_json::to_value(limit).unwrap()).collect();
            for (position, one) in told.iter().enumerate() {
                prop_assert!(!told[..position].contains(one), "twice: {one}");
            }
            for cloud in &small.clouds {
                let holds = |flavor: &SmallFlavor| group.request.fits(&nova(0, flavor).expected_capacity());
                // Of a cloud that does not answer, the nodes that are there tell how large its flavors are.
                let may_hold = !cloud.answers && cloud.nodes.is_empty();
                if !may_hold && !cloud.flavors.iter().any(holds) {
                    continue;
                }
                let of_cloud = |limit: &serde_json::Value| {
                    // With cores_max, a node of unknown size stops creates of every cloud.
                    let blocks_all = small.policy.cores_max.is_some()
                        && (limit["name"] == "flavor_unknown" || limit["name"] == "cloud_unknown");
                    blocks_all || limit.get("cloud").is_none_or(|name| name == cloud.name.as_str())
                };
                prop_assert!(told.iter().any(of_cloud), "{} is missing: {told:?}", cloud.name);
            }
        }
    }

    #[test]
    fn equal_input_makes_an_equal_plan(small in small()) {
        let (observation, policy, state) = small.scene();
        prop_assert_eq!(
            plan(&observation, &policy, &state),
            plan(&observation, &policy, &state)
        );
    }

    /// In what order schedds, jobs, startds and servers are told, and which schedd has which jobs, changes nothing.
    #[test]
    fn order_does_not_matter(small in small(), seed in any::<u64>()) {
        let (mut observation, policy, state) = small.scene();
        let before = plan(&observation, &policy, &state);
        let turn = |length: usize| if length == 0 { 0 } else { (seed % length as u64) as usize };
        if let scaling::observation::Observed::Known(collector) = &mut observation.pool.collector {
            collector.startds.reverse();
            let by = turn(collector.startds.len());
            collector.startds.rotate_left(by);
        }
        for view in observation.clouds.values_mut() {
            if let scaling::observation::Observed::Known(view) = view {
                view.servers.reverse();
                let by = turn(view.servers.len());
                view.servers.rotate_left(by);
            }
        }
        let mut all = Vec::new();
        for schedd in observation.pool.schedds.values_mut() {
            if let scaling::observation::Observed::Known(schedd) = schedd {
                all.append(&mut schedd.demand);
            }
        }
        // Each group in two parts, on the schedds in turn.
        let mut parts = Vec::new();
        for demand in all {
            let mut half = demand.clone();
            half.jobs = demand.jobs / 2;
            parts.push(scaling::observation::Demand { jobs: demand.jobs - half.jobs, ..demand });
            parts.push(half);
        }
        parts.reverse();
        let by = turn(parts.len());
        parts.rotate_left(by);
        let names: Vec<String> = observation.pool.schedds.keys().cloned().collect();
        for (number, part) in parts.into_iter().enumerate() {
            let schedd = observation.pool.schedds.get_mut(&names[number % names.len()]).unwrap();
            if let scaling::observation::Observed::Known(schedd) = schedd {
                schedd.demand.push(part);
            }
        }
        let after = plan(&observation, &policy, &state);
        prop_assert_eq!(&before.groups, &after.groups);
        prop_assert_eq!(&before.nodes, &after.nodes);
        prop_assert_eq!(made(&before), made(&after));
    }

    /// Clouds that are equal but for their names are as good as each other.
    #[test]
    fn equal_clouds_can_change_places(
        clouds in clouds(Just(Vec::new())),
        waiting in waiting(),
        allocation in prop::sample::select(&ALL[..]),
        (nodes_max, max_actions) in (0..14u64, 1..10u64),
        turn in any::<u64>(),
    ) {
        let twin = |name: &str| SmallCloud { name: name.to_owned(), ..clouds[0].clone() };
        let by_flavor = |first: &str, second: &str| {
            let mut small = Small::new(vec![twin(first), twin(second)], waiting.clone()).by(allocation);
            small.policy.nodes_max = nodes_max;
            small.policy.max_actions = max_actions;
            small.turn = turn;
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for ((_, flavor), count) in made(&small.plan()) {
                *counts.entry(flavor).or_default() += count;
            }
            counts
        };
        prop_assert_eq!(by_flavor("a", "b"), by_flavor("b", "a"));
    }

    /// More jobs of one size never make fewer nodes where the flavor is the first that fits. `cheapest` and `least-waste` make
    /// one large node for eight jobs where seven got seven small ones: there the cores are not fewer than the jobs need.
    #[test]
    fn more_jobs_never_make_fewer_nodes(
        clouds in clouds(nodes().boxed()),
        job in waiting(),
        allocation in prop::sample::select(&ALL[..3]),
        (more, nodes_max, max_actions) in (1..20u64, 0..14u64, 1..10u64),
        turn in any::<u64>(),
    ) {
        let Some(job) = job.first() else { return Ok(()); };
        let count = |more: u64| {
            let jobs = Jobs { jobs: job.jobs + more, ..*job };
            let mut small = Small::new(clouds.clone(), vec![jobs]).by(allocation);
            small.policy.nodes_max = nodes_max;
            small.policy.max_actions = max_actions;
            small.turn = turn;
            let plan = small.plan();
            (plan.count(NodeDecision::Create), plan.count(NodeDecision::Drain))
        };
        let (few, many) = (count(0), count(more));
        prop_assert!(many.0 >= few.0, "creates {} and then {}", few.0, many.0);
        prop_assert!(many.1 <= few.1, "drains {} and then {}", few.1, many.1);
    }

    /// Whatever decides, with more jobs as many as before find room on new nodes, or more.
    #[test]
    fn more_jobs_never_get_less_room(
        flavors in flavors(),
        job in waiting(),
        allocation in prop::sample::select(&ALL[..]),
        more in 1..20u64,
    ) {
        let Some(job) = job.first() else { return Ok(()); };
        let room = |more: u64| {
            let jobs = Jobs { jobs: job.jobs + more, ..*job };
            let small = Small::new(vec![cloud("a", flavors.clone())], vec![jobs]).by(allocation);
            let plan = small.plan();
            let on_new = |why: &Reason| match why {
                Reason::NewNodes { jobs, .. } => *jobs,
                _ => 0,
            };
            plan.groups.iter().flat_map(|group| &group.why).map(on_new).sum::<u64>()
        };
        prop_assert!(room(more) >= room(0));
    }
}
