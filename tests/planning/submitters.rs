//! Limits on what ehos creates for the jobs of one user or accounting group, and jobs that start again and again.

use std::time::Duration;

use scaling::budget::Budget;
use scaling::money::Money;
use scaling::observation::{Demand, Observation, Observed, Resources};
use scaling::plan::{Plan, plan};
use scaling::policy::Policy;
use scaling::reason::Reason;
use scaling::submitter::{DEFAULT, SubmitterLimit, Submitters};

use crate::small::{Small, cloud, flavor, jobs, made_in_order};

/// `jobs` of `owner`, each of `cpus`.
fn demand(owner: &str, jobs: u64, cpus: u64) -> Demand {
    Demand {
        request: Resources {
            cpus,
            memory_mb: 512,
            ..Resources::default()
        },
        jobs,
        waiting: Duration::from_secs(5000),
        owner: Some(owner.to_owned()),
        ..Demand::default()
    }
}

/// A cloud with nodes of 4 cores at 0.5 an hour, and these jobs.
fn site(demands: Vec<Demand>, limit: impl FnOnce(&mut Policy)) -> Plan {
    let flavors = vec![flavor(4, 8192, Some(0.5))];
    let (mut observation, mut policy, state) =
        Small::new(vec![cloud("a", flavors)], vec![jobs(1, 1, 512)]).scene();
    with(&mut observation, demands);
    limit(&mut policy);
    plan(&observation, &policy, &state)
}

fn with(observation: &mut Observation, demands: Vec<Demand>) {
    match observation.pool.schedds.get_mut("schedd0") {
        Some(Observed::Known(view)) => view.demand = demands,
        other => panic!("{other:?}"),
    }
}

/// The text of each reason that limits something.
fn limited(plan: &Plan) -> Vec<String> {
    let reasons = plan.groups.iter().flat_map(|group| &group.why);
    let limited = reasons.filter(|why| matches!(why, Reason::Limited { .. }));
    limited.map(ToString::to_string).collect()
}

#[test]
fn a_limit_of_one_user_leaves_the_jobs_of_others_alone() {
    let demands = || vec![demand("bob", 400, 1), demand("alice", 8, 1)];
    let one_each = SubmitterLimit {
        nodes_max: Some(1),
        ..SubmitterLimit::default()
    };
    let both = site(demands(), |policy| policy.nodes_max = 5);
    assert_eq!(
        made_in_order(&both).len(),
        5,
        "alone, nodes_max limits them"
    );

    let plan = site(demands(), |policy| {
        policy.nodes_max = 5;
        let users = &mut policy.submitter_limits.users;
        users.insert("bob".to_owned(), one_each);
    });
    assert_eq!(made_in_order(&plan).len(), 3, "one for bob, two for alice");
    let told = limited(&plan);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("nodes_max 1 of user bob"), "{told:?}");
}

#[test]
fn the_default_is_the_limit_of_each_user_by_itself() {
    let plan = site(
        vec![
            demand("alice", 40, 1),
            demand("bob", 40, 1),
            demand("carol", 40, 1),
        ],
        |policy| {
            let limit = |cores: u64| SubmitterLimit {
                cores_max: Some(cores),
                ..SubmitterLimit::default()
            };
            let users = &mut policy.submitter_limits.users;
            users.insert(DEFAULT.to_owned(), limit(7));
            users.insert("carol".to_owned(), limit(12));
        },
    );
    // A node has 4 cores.
    assert_eq!(made_in_order(&plan).len(), 1 + 1 + 3);
    let told = limited(&plan).join("\n");
    for words in [
        "cores_max 7 of user alice: 4 cores in use by its nodes",
        "cores_max 7 of user bob: 4 cores in use by its nodes",
        "cores_max 12 of user carol: 12 cores in use by its nodes",
    ] {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_group_counts_with_the_groups_below_it() {
    let of_group = |group: &str, jobs: u64| Demand {
        accounting_group: Some(group.to_owned()),
        ..demand("alice", jobs, 4)
    };
    let plan = site(
        vec![
            of_group("physics.heavy", 2),
            of_group("physics.light", 2),
            of_group("chemistry", 1),
        ],
        |policy| {
            let groups = &mut policy.submitter_limits.accounting_groups;
            let limit = SubmitterLimit {
                nodes_max: Some(3),
                ..SubmitterLimit::default()
            };
            groups.insert("physics".to_owned(), limit);
        },
    );
    assert_eq!(made_in_order(&plan).len(), 3 + 1);
    assert!(limited(&plan)[0].contains("nodes_max 3 of accounting group physics"));
}

/// The nodes of before are counted in the next tick, by hour and by month.
#[test]
fn a_budget_of_one_user_counts_the_nodes_created_for_it() {
    let flavors = vec![flavor(4, 8192, Some(0.5))];
    let (mut observation, mut policy, state) =
        Small::new(vec![cloud("a", flavors)], vec![jobs(1, 1, 512)]).scene();
    with(
        &mut observation,
        vec![demand("bob", 2, 4), demand("alice", 1, 4)],
    );
    let budget = Budget {
        per_hour: Some(Money::new(1.0)),
        per_month: None,
    };
    policy.max_unproven = 100;
    let users = &mut policy.submitter_limits.users;
    users.insert(
        "bob".to_owned(),
        SubmitterLimit {
            budget,
            ..SubmitterLimit::default()
        },
    );
    let first = plan(&observation, &policy, &state);
    assert_eq!(made_in_order(&first).len(), 3);

    with(
        &mut observation,
        vec![demand("bob", 9, 4), demand("alice", 5, 4)],
    );
    let second = plan(&observation, &policy, &first.next);
    let told = limited(&second).join("\n");
    assert!(told.contains("budget.per_hour 1.00 of user bob"), "{told}");
    let charged = |plan: &Plan| {
        let nodes = plan.next.nodes.values();
        nodes
            .filter(|memory| memory.submitters != Submitters::default())
            .count()
    };
    assert_eq!(charged(&second), 2, "no more for bob");
    assert_eq!(
        second.next.nodes.len(),
        5,
        "three of alice fit, two more are made: {:?}",
        second.groups
    );
}

#[test]
fn jobs_that_start_again_and_again_keep_no_node_up() {
    let again = |starts: u64, waiting: u64| Demand {
        starts,
        waiting: Duration::from_secs(waiting),
        ..demand("bob", 1, 4)
    };
    let nodes = |demand: Demand| made_in_order(&site(vec![demand], |_| {})).len();
    assert_eq!(nodes(again(4, 100)), 1);
    assert_eq!(nodes(again(9, 100)), 0, "16 minutes after the tenth start");
    assert_eq!(nodes(again(9, 1000)), 1, "in the end it has its node");
    let plan = site(vec![again(9, 100), demand("alice", 1, 4)], |_| {});
    assert_eq!(made_in_order(&plan).len(), 1);
    let told: Vec<String> = plan.groups[0].why.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|why| why.contains("1 waiting in backoff: each started at least 9 times")),
        "{told:?}"
    );
}
