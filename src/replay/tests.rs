//! Small workloads whose outcome can be worked out by hand, and the laws that hold for all.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use scaling::observation::{Flavor, Observation, Resources};
use scaling::plan::{Plan, plan};
use scaling::policy::{CloudPolicy, Policy};
use scaling::schedule::Spare;
use scaling::state::State;

use crate::figures::Figures;
use crate::model::Model;
use crate::record::{NOT_STARTED, Record};
use crate::rule::Rule;
use crate::rule::ehos::Ehos;
use crate::rule::peers::{Peer, PeerRule, lower_bound};
use crate::run;
use crate::site::{Site, SiteCloud, SiteFlavor};
use crate::workload::{Builder, JobClass, Workload};

fn flavor(cores: u64) -> SiteFlavor {
    SiteFlavor {
        name: format!("c{cores}"),
        flavor: Flavor {
            id: format!("c{cores}"),
            vcpus: cores,
            ram_mb: cores * 4096,
            disk_gb: cores * 20,
            gpus: 0,
        },
        capacity: Resources {
            cpus: cores,
            memory_mb: cores * 3700,
            disk_kb: cores * 18 * 1024 * 1024,
            gpus: 0,
        },
        price: Some(cores as f64 * 0.5),
        billing_period: None,
    }
}

fn clouds(cores: &[u64]) -> Vec<SiteCloud> {
    vec![SiteCloud {
        name: "cloud".to_owned(),
        flavors: cores.iter().copied().map(flavor).collect(),
        ..SiteCloud::default()
    }]
}

fn policy(cores: &[u64]) -> Policy {
    let names = cores.iter().map(|cores| format!("c{cores}")).collect();
    Policy {
        nodes_max: 50,
        idle_timeout: Duration::from_secs(120),
        clouds: vec![CloudPolicy::new("cloud", names, "image")],
        ..Policy::new("pool")
    }
}

fn class(owner: &str, cores: u64) -> JobClass {
    JobClass {
        owner: owner.to_owned(),
        accounting_group: None,
        request: Resources {
            cpus: cores,
            memory_mb: 1024,
            disk_kb: 1024,
            gpus: 0,
        },
    }
}

/// Jobs as (submitted, runs, cores).
fn workload(jobs: &[(i64, u32, u64)]) -> Workload {
    let mut builder = Builder::default();
    for (submitted, runs, cores) in jobs {
        builder.add(*submitted, *runs, None, &class("ann", *cores));
    }
    builder.build(false)
}

fn ehos(policy: Policy) -> Ehos {
    Ehos::new(policy, Duration::ZERO, Timestamp::UNIX_EPOCH)
}

fn model() -> Model {
    Model {
        boot_seconds: vec![60],
        ..Model::default()
    }
}

fn played(workload: &Workload, cores: &[u64], rule: &mut dyn Rule) -> Figures {
    let clouds = clouds(cores);
    let record = run::record(Site::new(workload, clouds.clone(), model(), 1), rule);
    Figures::of("rule", workload, &clouds, &record)
}

#[test]
fn one_job_waits_for_tick_boot_and_cycle_and_its_node_is_paid_until_it_was_idle_for_the_time_out() {
    // Submitted at second 0, with the first tick.
    let figures = played(&workload(&[(0, 600, 1)]), &[4], &mut ehos(policy(&[4])));
    assert_eq!(figures.jobs.ended, 1);
    assert_eq!(figures.nodes.created, 1);
    // The boot of 60 s; the tick that sees the node has the negotiator begin a cycle.
    assert_eq!(figures.wait.max_seconds, 60);
    // 0 to 660 s, idle for 120 s, and until the tick after that.
    let seconds = figures.paid_core_hours * 3600.0 / 4.0;
    assert!((780.0..=840.0).contains(&seconds), "{seconds}");
    let cost = figures.paid_core_hours * 0.5;
    assert!((figures.cost.unwrap() - cost).abs() < 1e-9);
}

#[test]
fn jobs_that_no_flavor_holds_are_counted_and_buy_nothing() {
    let figures = played(
        &workload(&[(0, 60, 8), (5, 60, 1)]),
        &[4],
        &mut ehos(policy(&[4])),
    );
    assert_eq!((figures.jobs.too_large, figures.jobs.ended), (1, 1));
    assert_eq!(figures.nodes.created, 1);
}

#[test]
fn a_limit_is_charged_with_the_waiting_that_it_costs() {
    let mut one = policy(&[1]);
    one.nodes_max = 1;
    let figures = played(&workload(&[(0, 3600, 1), (0, 60, 1)]), &[1], &mut ehos(one));
    assert_eq!(figures.limits.len(), 1);
    let limit = &figures.limits[0];
    assert_eq!(limit.limit, "nodes_max");
    assert!((limit.job_hours - 1.0).abs() < 0.05, "{limit:?}");
}

#[test]
fn a_claim_takes_the_next_job_of_its_class_at_once_and_another_class_waits_for_a_cycle() {
    let mut builder = Builder::default();
    for (submitted, owner) in [(0, "ann"), (1, "ann"), (2, "bob")] {
        builder.add(submitted, 100, None, &class(owner, 1));
    }
    let workload = builder.build(false);
    let mut one = policy(&[1]);
    one.nodes_max = 1;
    let record = run::record(
        Site::new(&workload, clouds(&[1]), model(), 1),
        &mut ehos(one),
    );
    assert_eq!(record.waits[1] + 1, record.waits[0] + 100);
    let began = record.waits[2] + 2;
    let end = record.waits[1] + 1 + 100;
    assert!(began >= end && began <= end + 10, "{began} {end}");
}

#[test]
fn of_two_users_the_one_who_used_less_starts_first() {
    let mut builder = Builder::default();
    for second in 0..10 {
        builder.add(second, 600, None, &class("ann", 1));
    }
    builder.add(1000, 600, None, &class("ann", 1));
    builder.add(1001, 600, None, &class("bob", 1));
    let workload = builder.build(false);
    let mut one = policy(&[1]);
    one.nodes_max = 1;
    let short_claims = Model {
        claim_worklife: 0,
        ..model()
    };
    let record = run::record(
        Site::new(&workload, clouds(&[1]), short_claims, 1),
        &mut ehos(one),
    );
    assert!(record.waits[11] < record.waits[9], "{:?}", record.waits);
}

#[test]
fn a_removed_job_leaves_the_queue_if_it_has_not_started() {
    let mut builder = Builder::default();
    builder.add(0, 600, Some(30), &class("ann", 1));
    builder.add(0, 600, Some(400), &class("ann", 1));
    let workload = builder.build(false);
    let record = run::record(
        Site::new(&workload, clouds(&[1]), model(), 1),
        &mut ehos(policy(&[1])),
    );
    assert_eq!((record.removed, record.ended), (1, 1));
    assert_eq!(record.waits[0], NOT_STARTED);
}

#[test]
fn servers_that_never_join_are_given_up_and_paid() {
    let never = Model {
        boot_failures: 1.0,
        ..model()
    };
    let workload = workload(&[(0, 60, 1)]);
    let clouds = clouds(&[1]);
    let record = run::record(
        Site::new(&workload, clouds.clone(), never, 1),
        &mut ehos(policy(&[1])),
    );
    assert!(record.created > 1 && record.deleted == record.created);
    let figures = Figures::of("ehos", &workload, &clouds, &record);
    assert_eq!((figures.jobs.never_started, figures.jobs.ended), (1, 0));
    assert!(figures.limits.iter().any(|limit| limit.limit == "backoff"));
}

#[test]
fn each_peer_runs_all_jobs() {
    let jobs: Vec<(i64, u32, u64)> = (0..40).map(|n| (n * 7, 300, 1)).collect();
    let workload = workload(&jobs);
    for peer in [
        Peer::OriginalEhos,
        Peer::QueueCores,
        Peer::UtilizationFeedback,
        Peer::IdleTimeout(300),
        Peer::Fixed(5),
    ] {
        let figures = played(&workload, &[4], &mut PeerRule::new(peer, 10));
        assert_eq!(figures.jobs.ended, 40, "{peer:?}");
        assert!(figures.nodes.peak <= 10, "{peer:?}");
        assert!(
            figures.paid_core_hours >= figures.used_core_hours,
            "{peer:?}"
        );
    }
}

#[test]
fn the_bound_is_what_full_servers_would_cost() {
    let workload = workload(&[(0, 100, 1), (50, 100, 1), (50, 10, 3)]);
    // 0–50: 1 core; 50–60: 5; 60–100: 2; 100–150: 1.
    assert_eq!(lower_bound(&workload, &clouds(&[1, 4])), 50 + 50 + 80 + 50);
    assert_eq!(
        lower_bound(&workload, &clouds(&[4])),
        4 * 50 + 8 * 10 + 4 * 90
    );
}

/// Jobs as (submitted, runs, cores, owner).
fn jobs() -> impl Strategy<Value = Vec<(i64, u32, u64, usize)>> {
    let job = (
        0..7200_i64,
        prop_oneof![1..120_u32, 600..4000_u32],
        1..5_u64,
        0..3_usize,
    );
    prop::collection::vec(job, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_lost_nothing_is_free_and_rests_change_nothing(
        jobs in jobs(),
        events in any::<bool>(),
        spare in 0..2_u64,
    ) {
        let mut builder = Builder::default();
        for (submitted, runs, cores, owner) in &jobs {
            builder.add(*submitted, *runs, None, &class(["ann", "bob", "eve"][*owner], *cores));
        }
        let workload = builder.build(false);
        let interval = Duration::from_secs(if events { 10 } else { 0 });
        let played = |leaves_out: bool| {
            let mut policy = policy(&[2, 8]);
            policy.nodes_spare = Spare::Count(spare);
            let mut rule = Ehos::new(policy, interval, Timestamp::UNIX_EPOCH);
            rule.leaves_out = leaves_out;
            run::record(Site::new(&workload, clouds(&[2, 8]), model(), 7), &mut rule)
        };
        let record = played(true);
        prop_assert_eq!(record.ended, workload.jobs.len() as u64);
        prop_assert_eq!(record.used_core_seconds, workload.core_seconds());
        prop_assert_eq!(record.lost_jobs, 0);
        prop_assert_eq!(record.created, record.deleted);
        prop_assert!(record.paid_core_seconds >= lower_bound(&workload, &clouds(&[2, 8])));
        let whole = played(false);
        prop_assert_eq!(&record.waits, &whole.waits);
        prop_assert_eq!(record.paid_core_seconds, whole.paid_core_seconds);
        prop_assert_eq!(record.actions, whole.actions);
        prop_assert_eq!(record.passes, whole.passes);
    }
}

#[test]
fn jobs_that_are_ended_for_ever_come_to_an_end_of_the_run() {
    let mut kills = policy(&[1]);
    kills.max_lifetime = Some(Duration::from_secs(1800));
    kills.max_lifetime_kill = Some(Duration::from_secs(300));
    let jobs = [
        (0, 20_000, 1),
        (100, 20_000, 1),
        (700, 20_000, 1),
        (1300, 20_000, 1),
    ];
    let workload = workload(&jobs);
    let record = run::record(
        Site::new(&workload, clouds(&[1]), model(), 1),
        &mut ehos(kills),
    );
    assert!(record.lost_jobs > 4 && record.ended < 4, "{record:?}");
}

#[test]
fn the_bound_leaves_out_jobs_that_no_rule_pays_for() {
    let mut builder = Builder::default();
    builder.add(0, 360_000, Some(60), &class("ann", 1));
    builder.add(0, 360_000, None, &class("ann", 100));
    builder.add(0, 360_000, None, &class("ann", u64::MAX));
    builder.add(0, 10, None, &class("ann", 1));
    assert_eq!(lower_bound(&builder.build(false), &clouds(&[4])), 40);
}

#[test]
fn a_time_out_of_seconds_with_passes_for_events_comes_to_an_end() {
    let mut short = policy(&[1]);
    short.idle_timeout = Duration::from_secs(5);
    let workload = workload(&[(0, 1, 1), (0, 1, 1), (3, 1, 1)]);
    let events = Duration::from_secs(10);
    let mut rule = Ehos::new(short, events, Timestamp::UNIX_EPOCH);
    let record = run::record(Site::new(&workload, clouds(&[1]), model(), 1), &mut rule);
    assert_eq!(record.ended, 3);
    assert!(record.passes < 200, "{}", record.passes);
}

thread_local! {
    static PLANS: Cell<u64> = const { Cell::new(0) };
}

fn counted(observation: &Observation, policy: &Policy, state: &State) -> Plan {
    PLANS.set(PLANS.get() + 1);
    plan(observation, policy, state)
}

/// The record of a run with passes for events, and its plans.
fn plans(workload: &Workload, policy: Policy, model: Model) -> (Record, u64) {
    let events = Duration::from_secs(10);
    let mut rule = Ehos::new(policy, events, Timestamp::UNIX_EPOCH);
    rule.planner = counted;
    PLANS.set(0);
    let record = run::record(Site::new(workload, clouds(&[8]), model, 1), &mut rule);
    (record, PLANS.get())
}

#[test]
fn jobs_that_fit_beside_others_take_no_plan() {
    // A long job on each node, and one short job after the other beside it.
    let mut jobs = vec![(0, 20_000, 2)];
    jobs.extend((0..2000).map(|number| (600 + number * 7, 10, 1)));
    // Most passes find jobs that wait for the next cycle.
    let slow = Model {
        negotiation_interval: 20,
        negotiation_delay: 20,
        ..model()
    };
    let (record, plans) = plans(&workload(&jobs), policy(&[8]), slow);
    assert_eq!((record.ended, record.created), (2001, 1));
    assert!(record.passes > 1000, "{}", record.passes);
    assert!(plans < record.passes / 4, "{plans} of {}", record.passes);
}

#[test]
fn years_without_a_job_take_no_plans() {
    let years = workload(&[(0, 60, 1), (100_000_000, 60, 1), (100_000_000, 60, 1)]);
    let (record, plans) = plans(&years, policy(&[8]), model());
    assert_eq!(record.ended, 3);
    assert!(plans < 1000, "{plans}");
    // Nodes without demand may need a new one at any time.
    let mut spare = policy(&[8]);
    spare.nodes_spare = Spare::Count(1);
    let days = workload(&[(0, 60, 1), (500_000, 60, 1)]);
    let (record, _) = self::plans(&days, spare, model());
    assert_eq!((record.ended, record.waits[1]), (2, 0));
}

#[test]
fn a_lost_job_can_still_be_removed_by_its_user() {
    let mut builder = Builder::default();
    builder.add(0, 20_000, Some(2500), &class("ann", 1));
    let workload = builder.build(false);
    let mut site = Site::new(&workload, clouds(&[1]), model(), 1);
    let node = site.create(0, 0).unwrap();
    site.advance(60);
    assert_eq!(site.running(), 1);
    site.delete(node);
    assert_eq!((site.record.lost_jobs, site.idle_count()), (1, 1));
    while let Some(event) = site.next_event().filter(|event| *event <= 2500) {
        site.advance(event);
    }
    assert_eq!((site.record.removed, site.idle_count()), (1, 0));
}

#[test]
fn many_removals_in_any_order_are_quick() {
    let mut builder = Builder::default();
    for number in 0..300_000 {
        builder.add(10, 20, Some(4000 - number / 100), &class("bob", 8));
    }
    let workload = builder.build(false);
    let record = run::record(
        Site::new(&workload, clouds(&[1]), model(), 1),
        &mut ehos(policy(&[1])),
    );
    assert_eq!((record.removed, record.ended), (300_000, 0));
}
