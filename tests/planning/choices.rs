//! Which cloud and flavor, and the words for it.

use scaling::allocation::Allocation;
use scaling::job_requirements::{MatchResult, RequirementsDigest};
use scaling::observation::Observed;
use scaling::plan::{Plan, plan};

use crate::small::{Small, SmallCloud, Standing, cloud, flavor, jobs, kind, made_in_order};

/// Two clouds with a small and a large flavor each, beta's dearer.
fn clouds() -> Vec<SmallCloud> {
    let of = |name, small, large| {
        let flavors = vec![flavor(1, 3072, small), flavor(8, 20_480, large)];
        cloud(name, flavors)
    };
    vec![
        of("alpha", Some(0.05), Some(0.32)),
        of("beta", Some(0.06), Some(0.40)),
    ]
}

fn order(small: &Small) -> Vec<String> {
    made_in_order(&small.plan())
}

fn first_node(plan: &Plan) -> String {
    plan.nodes[0].why.to_string()
}

fn group(plan: &Plan) -> String {
    let why: Vec<String> = plan.groups[0].why.iter().map(ToString::to_string).collect();
    why.join("; ")
}

#[test]
fn cheapest_is_a_small_node_for_one_job_and_a_large_one_for_many() {
    let of = |count| {
        let small = Small::new(clouds(), vec![jobs(count, 1, 1024)]);
        order(&small.by(Allocation::Cheapest))
    };
    assert_eq!(of(1), ["alpha/f0"]);
    assert_eq!(of(8), ["alpha/f1"]);
    // With its node the small one costs 0.06, the large one 0.33: what is left after a large one goes to small ones.
    assert_eq!(of(9), ["alpha/f1", "alpha/f0"]);
    assert_eq!(of(14), ["alpha/f1", "alpha/f1"]);
}

#[test]
fn what_is_cheaper_by_the_core_is_no_use_when_it_stays_empty() {
    let flavors = vec![flavor(2, 8192, Some(0.2)), flavor(8, 16_384, Some(0.4))];
    let small = Small::new(vec![cloud("a", flavors)], vec![jobs(1, 2, 1024)]);
    assert_eq!(order(&small.by(Allocation::Cheapest)), ["a/f0"]);
}

#[test]
fn memory_counts_where_it_is_what_is_short() {
    // Three nodes of 8 cores, or one with much memory for half as much again.
    let flavors = vec![flavor(8, 8192, Some(0.2)), flavor(8, 32_768, Some(0.3))];
    let of = |memory| {
        let waiting = vec![jobs(4, 1, memory)];
        let small = Small::new(vec![cloud("a", flavors.clone())], waiting);
        order(&small.by(Allocation::Cheapest))
    };
    assert_eq!(of(512), ["a/f0"]);
    assert_eq!(of(7000), ["a/f1"]);
}

#[test]
fn least_waste_takes_what_fits_best_whatever_it_costs() {
    let flavors = vec![
        flavor(16, 65_536, Some(0.1)),
        flavor(4, 16_384, Some(5.0)),
        flavor(3, 16_384, Some(0.1)),
    ];
    let of = |waiting| {
        let small = Small::new(vec![cloud("a", flavors.clone())], waiting);
        order(&small.by(Allocation::LeastWaste))
    };
    assert_eq!(of(vec![jobs(1, 4, 1024)]), ["a/f1"]);
    assert_eq!(of(vec![jobs(4, 4, 1024)]), ["a/f0"], "one, not four");
    // The group behind fills it.
    assert_eq!(of(vec![jobs(1, 3, 1024), jobs(1, 1, 1024)]), ["a/f1"]);
}

/// Without a cost for each node a hundred small ones would be as good as a large one.
#[test]
fn a_node_costs_something_beside_its_cores() {
    let flavors = vec![flavor(1, 4096, None), flavor(16, 65_536, None)];
    for allocation in [Allocation::Cheapest, Allocation::LeastWaste] {
        let mut small = Small::new(vec![cloud("a", flavors.clone())], vec![jobs(16, 1, 1024)]);
        small.policy.allocation = allocation;
        assert_eq!(order(&small), ["a/f1"], "{allocation:?}");
        small.policy.node_cost = Some(0.0);
        assert_eq!(
            order(&small).len(),
            16,
            "{allocation:?}: the first of equals"
        );
        small.policy.node_cost = Some(0.25);
        small.policy.straggler_overhead = 0.1;
        assert_eq!(
            order(&small).len(),
            16,
            "{allocation:?}: held up by the longest"
        );
    }
}

#[test]
fn a_flavor_without_a_price_counts_as_the_dearest_unless_told() {
    let clouds = vec![
        cloud("a", vec![flavor(4, 16_384, None)]),
        cloud("b", vec![flavor(4, 16_384, Some(0.4))]),
        cloud("c", vec![flavor(4, 16_384, Some(0.5))]),
    ];
    let mut small = Small::new(clouds, vec![jobs(1, 1, 1024)]).by(Allocation::Cheapest);
    assert_eq!(order(&small), ["b/f0"]);
    small.policy.core_price = Some(0.01);
    assert_eq!(order(&small), ["a/f0"]);
}

#[test]
fn clouds_get_turns_by_their_weight_and_none_without() {
    let mut clouds = vec![
        cloud("a", vec![flavor(1, 4096, None)]),
        cloud("b", vec![flavor(1, 4096, None)]),
        cloud("c", vec![flavor(1, 4096, None)]),
    ];
    clouds[0].weight = 3;
    clouds[2].weight = 0;
    let mut small = Small::new(clouds, vec![jobs(8, 1, 1024)]);
    let turns = |small: &Small| -> String {
        let order = order(small);
        order.iter().map(|made| &made[..1]).collect()
    };
    assert_eq!(turns(&small), "aabaaaba");
    let counted = |small: &Small, name| turns(small).matches(name).count();
    small.policy.allocation = Allocation::Random;
    small.schedds[0] = vec![jobs(400, 1, 1024)];
    let of_a = counted(&small, 'a');
    assert!((270..330).contains(&of_a), "{of_a} of 400");
    assert_eq!(counted(&small, 'c'), 0);
    for allocation in [
        Allocation::RoundRobin,
        Allocation::Random,
        Allocation::FillFirst,
        Allocation::Cheapest,
        Allocation::LeastWaste,
    ] {
        small.policy.allocation = allocation;
        small.schedds[0] = vec![jobs(8, 1, 1024)];
        small.clouds.rotate_right(1);
        assert_eq!(counted(&small, 'c'), 0, "{allocation:?}: the last resort");
        small.clouds.rotate_left(1);
        for cloud in &mut small.clouds[..2] {
            cloud.nodes_max = Some(1);
        }
        assert_eq!(
            counted(&small, 'c'),
            6,
            "{allocation:?}: the others are full"
        );
        for cloud in &mut small.clouds[..2] {
            cloud.nodes_max = None;
        }
    }
}

/// The turns go on in the next tick.
#[test]
fn turns_are_remembered() {
    let clouds = vec![
        cloud("a", vec![flavor(1, 4096, None)]),
        cloud("b", vec![flavor(1, 4096, None)]),
    ];
    let small = Small::new(clouds, vec![jobs(1, 1, 1024)]);
    let (observation, policy, mut state) = small.scene();
    let mut turns = String::new();
    for _ in 0..4 {
        let plan = scaling::plan::plan(&observation, &policy, &state);
        turns += &made_in_order(&plan)[0][..1];
        state.turns = plan.next.turns;
    }
    assert_eq!(turns, "abab");
}

#[test]
fn the_reason_says_why_there_and_why_that() {
    let mut small = Small::new(clouds(), vec![jobs(3, 1, 2048)]).by(Allocation::Cheapest);
    let plan = small.plan();
    assert_eq!(
        first_node(&plan),
        "for 1 waiting job of 1 CPU, 2048 MB: cheapest, 0.06 per CPU-hour (others: f0 in beta 0.07; f1 in alpha 0.11; and 1 \
         other)"
    );
    small.clouds[0].flavors[0].standing = Standing::Backoff;
    small.clouds[1].answers = false;
    assert_eq!(
        first_node(&small.plan()),
        "for 3 waiting jobs of 1 CPU, 2048 MB: cheapest, 0.11 per CPU-hour (others: f0 in alpha 0.06: backoff of f0 in alpha \
         for 5 min after: no more; f0 in beta: unknown state of cloud beta; and 1 other)"
    );
}

#[test]
fn each_cloud_says_what_limits_it() {
    let mut small = Small::new(clouds(), vec![jobs(3, 8, 2048)]);
    small.clouds[0].flavors[1].standing = Standing::Protected;
    small.clouds[1].cores = Some((10, 3));
    assert_eq!(
        group(&small.plan()),
        "3 waiting for 3 more nodes, limited by protected mode of f1 in alpha after 5 consecutive failures, the last: no more; \
         correct the cause, then run `ehos resume alpha`, and by cores quota of cloud beta: 7 left (min_cores 0)"
    );
    small.policy.nodes_max = 0;
    assert_eq!(
        group(&small.plan()),
        "3 waiting for 3 more nodes, limited by nodes_max 0",
        "once"
    );
}

#[test]
fn every_way_to_choose_has_its_words() {
    let words = |allocation| {
        let mut clouds = clouds();
        clouds[0].weight = 2;
        let small = Small::new(clouds, vec![jobs(1, 1, 1024)]).by(allocation);
        let told = first_node(&small.plan());
        told.split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        words(Allocation::RoundRobin),
        "round-robin (weight 2 of 3) (others: f0 in beta)"
    );
    assert_eq!(
        words(Allocation::FillFirst),
        "fill-first (others: f0 in beta)"
    );
    assert!(words(Allocation::Random).contains("random (weight "));
    assert!(words(Allocation::LeastWaste).starts_with("least-waste, 20 % unused ("));
    // Where there is nothing to choose nothing is said.
    let one = vec![cloud("alpha", vec![flavor(1, 4096, None)])];
    let plan = Small::new(one, vec![jobs(1, 1, 1024)]).plan();
    assert_eq!(first_node(&plan), "for 1 waiting job of 1 CPU, 1024 MB");
    assert_eq!(group(&plan), "create 1 node for 1 job");
}

#[test]
fn a_group_says_where_its_nodes_are_and_who_goes_with_others() {
    let waiting = vec![jobs(2, 6, 1024), jobs(5, 1, 1024)];
    let plan = Small::new(clouds(), waiting).plan();
    let lines: Vec<String> = plan
        .groups
        .iter()
        .map(|group| {
            let why: Vec<String> = group.why.iter().map(ToString::to_string).collect();
            why.join("; ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "create 2 nodes for 2 jobs: f1 in alpha, f1 in beta",
            "4 can run on new nodes of other job groups; create f0 in alpha for 1 job: round-robin (weight 1 of 2) (others: f0 in \
             beta)"
        ]
    );
}

/// What HTCondor has not said takes nothing from jobs for which nodes are made: these would get another one in every tick.
#[test]
fn jobs_of_which_nothing_is_known_buy_no_nodes_by_taking_those_of_others() {
    let known = Observed::Known(MatchResult::Matches);
    let open = Observed::Known(MatchResult::Undetermined { clause: None });
    let unknown = Observed::Unknown("not read".to_owned());
    let few = vec![jobs(50, 4, 1024), jobs(2, 1, 512)];
    let beside = vec![jobs(2, 5, 1024), jobs(50, 3, 1024), jobs(6, 1, 512)];
    // With one to see whether they are taken, where that is open.
    for (waiting, many, due) in [
        (&few, &unknown, 1),
        (&few, &open, 2),
        (&beside, &unknown, 2),
        (&beside, &open, 2),
    ] {
        let mut small = Small::new(
            vec![cloud("a", vec![flavor(8, 16 * 1024, None)])],
            waiting.clone(),
        );
        small.policy.max_unproven = 100;
        let (mut observation, policy, mut state) = small.scene();
        let Some(Observed::Known(schedd)) = observation.pool.schedds.values_mut().next() else {
            panic!("no schedd");
        };
        let kind = kind(&small.clouds[0], 0);
        for demand in &mut schedd.demand {
            demand.needs = RequirementsDigest(format!("needs-{}", demand.request.cpus));
            let answer = if demand.jobs == 50 { many } else { &known };
            let asks = demand.key();
            observation
                .matches
                .insert(kind.clone(), asks, answer.clone());
        }
        let mut count = Vec::new();
        for _ in 0..4 {
            let plan = plan(&observation, &policy, &state);
            count.push(made_in_order(&plan).len());
            state = plan.next;
        }
        assert_eq!(count, [due, 0, 0, 0], "{many:?} {waiting:?}");
    }
}

/// A higher limit may not help jobs of which no node has shown whether they match.
#[test]
fn a_limit_before_any_node_has_joined_says_that_the_match_is_open() {
    let clause = Some("TARGET.HasWindows".to_owned());
    let open = Observed::Known(MatchResult::Undetermined { clause });
    let known = Observed::Known(MatchResult::Matches);
    let limited = "3 waiting for 1 more node, limited by nodes_max 0";
    let undetermined = "a match of 3 is undetermined: no node of a large enough type has joined and shows whether \
                        TARGET.HasWindows";
    // Of a type that is too small nothing is to be known.
    for (small_type, large_type, due) in [
        (&open, &open, vec![limited, undetermined]),
        (&known, &open, vec![limited, undetermined]),
        (&open, &known, vec![limited]),
    ] {
        let flavors = vec![flavor(1, 1024, None), flavor(16, 16 * 1024, None)];
        let mut small = Small::new(vec![cloud("a", flavors)], vec![jobs(3, 4, 1024)]);
        small.policy.nodes_max = 0;
        let (mut observation, policy, state) = small.scene();
        let Some(Observed::Known(schedd)) = observation.pool.schedds.values_mut().next() else {
            panic!("no schedd");
        };
        let demand = &mut schedd.demand[0];
        demand.needs = RequirementsDigest("needs".to_owned());
        for (place, answer) in [small_type, large_type].into_iter().enumerate() {
            let kind = kind(&small.clouds[0], place);
            observation
                .matches
                .insert(kind, demand.key(), answer.clone());
        }
        let plan = plan(&observation, &policy, &state);
        let why = &plan.groups[0].why;
        let why: Vec<String> = why.iter().map(ToString::to_string).collect();
        assert_eq!(why, due);
    }
}
