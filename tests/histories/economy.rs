//! Spare nodes, hours of the week, money, paid periods and the age of nodes.

use std::time::Duration;

use jiff::tz::TimeZone;
use scaling::limits::Limit;
use scaling::money::Money;
use scaling::observation::Observed;
use scaling::plan::{NodeDecision, NodeEntry, Plan};
use scaling::policy::Policy;
use scaling::reason::Reason;
use scaling::schedule::{Hours, Spare, Window};
use scaling::state::State;
use simulation::{JobState, World, locked};

use crate::site::{Site, cloud, minutes, running, scenario};
use crate::suspicions::see_pool;

const HOUR: u64 = 3600;

/// One cloud, blue, with nodes of 4 cores at 2 an hour.
fn priced() -> Site {
    let mut blue = cloud(&[("medium", 4, 8192)]);
    blue.flavors.get_mut("medium").unwrap().price = Some(2.0);
    Site::new(scenario(&[("blue", blue)]))
}

fn done(world: &World) -> bool {
    let done =
        |job: &simulation::SimulatedJob| matches!(job.state, JobState::Done(_)) && job.starts == 1;
    world.jobs.iter().all(done)
}

fn whys(plan: &Plan, which: impl Fn(&Reason) -> bool) -> usize {
    plan.nodes.iter().filter(|line| which(&line.why)).count()
}

/// What was really paid in the world until now, where what is used is paid.
fn used(site: &Site) -> f64 {
    site.world().server_seconds as f64 * 2.0 / 3600.0
}

/// From so many minutes after now on, for so many.
fn window(site: &Site, after: u64, lasts: u64) -> Window {
    let at = site.world().at().to_zoned(TimeZone::UTC);
    let minute = u64::try_from(at.hour()).unwrap() * 60 + u64::try_from(at.minute()).unwrap();
    let of_day = |minute: u64| u16::try_from(minute % 1440).unwrap();
    let mut days = vec![at.weekday()];
    days.extend((1..7).map(|days| at.weekday().wrapping_add(days)));
    Window {
        days,
        hours: Hours {
            from: of_day(minute + after),
            to: of_day(minute + after + lasts),
        },
        time_zone: TimeZone::UTC,
        nodes_min: None,
        nodes_max: None,
        nodes_spare: None,
        idle_timeout: None,
    }
}

#[test]
fn a_share_of_the_nodes_that_are_needed_is_kept_spare() {
    let mut site = Site::simple();
    site.policy.nodes_max = 20;
    site.policy.nodes_spare = Spare::Percent(30);
    site.ticks(3);
    assert_eq!(site.servers(), 0, "where none is needed none is spare");
    running(&mut site, 28, 4 * HOUR);
    site.ticks(20);
    // Seven are busy; 30 % of them are 2.1.
    assert_eq!(site.servers(), 10, "{}", site.describe());
    let spare = |why: &Reason| {
        *why == Reason::Spare {
            nodes_spare: 3,
            percent: Some(30),
        }
    };
    assert_eq!(whys(site.plan(), spare), 3, "{}", site.describe());
    site.ticks(300);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn a_spare_node_that_is_heard_late_takes_back_no_drain() {
    let mut site = Site::simple();
    site.policy.nodes_spare = Spare::Count(1);
    running(&mut site, 8, 300);
    let draining = |site: &Site| {
        let mut nodes = site.plan().nodes.iter();
        let node = nodes.find(|node| node.decision == NodeDecision::Drain)?;
        Some(node.node.to_string())
    };
    site.until(12, "the jobs end", |world| world.unfinished() == 0);
    let drained = (0..12).find_map(|_| {
        site.tick();
        draining(&site)
    });
    let drained = drained.expect("one of two is drained");
    see_pool(&mut site, move |pool| {
        if let Observed::Known(collector) = &mut pool.collector {
            collector
                .startds
                .retain(|startd| startd.machine.contains(&drained));
        }
    });
    site.tick();
    let silent = |node: &&NodeEntry| node.phase.as_str() == "silent";
    let nodes = &site.plan().nodes;
    assert_eq!(
        nodes.iter().filter(silent).count(),
        1,
        "{}",
        site.describe()
    );
    let taken_back = site.plan().count(NodeDecision::CancelDrain);
    assert_eq!(taken_back, 0, "{}", site.describe());
}

#[test]
fn in_a_window_other_numbers_count() {
    let mut site = Site::simple();
    let window = Window {
        nodes_min: Some(3),
        idle_timeout: Some(minutes(30)),
        ..window(&site, 10, 60)
    };
    site.policy.schedules = vec![window];
    site.ticks(8);
    assert_eq!((site.servers(), &site.plan().window), (0, &None));
    site.ticks(3);
    let held = site.plan().window.as_ref().unwrap();
    assert_eq!(held.number, 1);
    assert_eq!(site.servers(), 3, "{}", site.describe());
    site.ticks(57);
    assert_eq!(site.servers(), 3, "{}", site.describe());
    // What was idle for long enough outside of it goes at once.
    site.ticks(6);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn a_smaller_maximum_ends_no_job_and_lets_idle_nodes_go_at_once() {
    let mut site = Site::simple();
    site.policy.nodes_max = 6;
    let window = Window {
        nodes_max: Some(2),
        ..window(&site, 30, 300)
    };
    site.policy.schedules = vec![window];
    site.policy.idle_timeout = minutes(120);
    // Four nodes for long, two for short jobs.
    running(&mut site, 16, 2 * HOUR);
    site.submit(8, 1, 1024, 25 * 60);
    site.ticks(32);
    locked(&site.world).broken.negotiator = true;
    site.submit(50, 1, 1024, HOUR);
    let servers = |site: &Site| site.servers();
    for _ in 0..20 {
        let plan = site_tick(&mut site);
        let nodes = plan.nodes.len();
        assert_eq!(plan.count(NodeDecision::Create), 0, "{nodes}");
    }
    assert_eq!(
        servers(&site),
        4,
        "the idle ones have gone: {}",
        site.describe()
    );
    locked(&site.world).broken.negotiator = false;
    site.until(800, "all is done", |world| {
        world.unfinished() == 0 && world.servers.is_empty()
    });
    assert!(done(&site.world()), "each job has started once");
}

fn site_tick(site: &mut Site) -> Plan {
    site.tick().clone()
}

#[test]
fn an_hours_budget_is_a_limit() {
    let mut site = priced();
    site.policy.budget.per_hour = Some(Money::new(7.0));
    site.submit(40, 1, 1024, HOUR);
    site.ticks(15);
    assert_eq!(site.servers(), 3, "{}", site.describe());
    let limited = |why: &Reason| matches!(why, Reason::Limited { limit: Limit::BudgetPerHour { per_hour, .. }, .. } if *per_hour == Money::new(6.0));
    let group = &site.plan().groups[0];
    assert!(group.why.iter().any(limited), "{}", site.describe());
    let cost = site.plan().cost.as_ref().unwrap();
    assert_eq!(cost.per_hour, Money::new(6.0));
    // The cloud's own counts too.
    site.policy.clouds[0].budget.per_hour = Some(Money::new(2.0));
    site.until(400, "all is done", |world| world.unfinished() == 0);
    site.ticks(20);
    site.submit(40, 1, 1024, HOUR);
    site.ticks(10);
    assert_eq!(site.servers(), 1, "{}", site.describe());
}

#[test]
fn a_months_budget_stops_new_nodes_and_ends_no_job() {
    let mut site = priced();
    site.policy.budget.per_month = Some(Money::new(10.0));
    running(&mut site, 8, 3 * HOUR);
    assert_eq!(site.servers(), 2);
    let spent = |plan: &Plan| !plan.budgets_spent.is_empty();
    while !spent(site.plan()) {
        assert!(used(&site) <= 10.0, "{}", site.describe());
        site.tick();
    }
    // Two nodes run, and are counted for an hour ahead: with one more that would be above it.
    assert!((3.9..=6.1).contains(&used(&site)), "{}", used(&site));
    site.submit(20, 1, 1024, HOUR);
    site.ticks(5);
    assert_eq!(site.servers(), 2, "{}", site.describe());
    let limited = |why: &Reason| {
        matches!(
            why,
            Reason::Limited {
                limit: Limit::BudgetPerMonth { .. },
                ..
            }
        )
    };
    assert!(site.plan().groups[0].why.iter().any(limited));
    locked(&site.world).jobs.truncate(8);
    site.until(400, "the jobs end", |world| world.unfinished() == 0);
    // Idle nodes go at once.
    let took = site.until(10, "they go", |world| world.servers.is_empty());
    assert!(took <= 4, "{took}");
    assert!(done(&site.world()), "each job has started once");
    // What is told is what was paid.
    let told = site.plan().cost.as_ref().unwrap().spent_this_month;
    let paid = used(&site);
    let near = told >= Money::new(paid - 0.01) && told <= Money::new(paid + 0.2);
    assert!(near, "{told} told, {paid} paid");
}

#[test]
fn what_was_spent_counts_also_what_ran_while_no_tick_did() {
    let mut site = priced();
    running(&mut site, 4, 3 * HOUR);
    let told = |site: &Site| site.plan().cost.as_ref().unwrap().spent_this_month;
    locked(&site.world).advance(HOUR);
    site.tick();
    let near = |site: &Site, paid: f64| {
        let told = told(site);
        told >= Money::new(paid - 0.05) && told <= Money::new(paid + 0.2)
    };
    assert!(near(&site, used(&site)), "{} {}", told(&site), used(&site));
    // The state is lost: the ages of those that are there are known all the same.
    site.state = State::default();
    site.tick();
    assert!(near(&site, used(&site)), "{} {}", told(&site), used(&site));
    assert!(site.plan().cost.as_ref().unwrap().counted_since.is_some());
    // A clock that jumps a month on, and back.
    let before = told(&site);
    locked(&site.world).clock_ahead = 40 * 86_400;
    site.tick();
    locked(&site.world).clock_ahead = 0;
    site.tick();
    assert!(told(&site) >= before, "{} {before}", told(&site));
    assert!(near(&site, used(&site)), "{} {}", told(&site), used(&site));
}

#[test]
fn a_node_in_the_pool_costs_though_its_create_was_killed_and_its_cloud_does_not_answer() {
    let mut site = priced();
    site.submit(4, 1, 1024, 3 * HOUR);
    site.tick();
    // The tick was killed before it could remember what the cloud said.
    site.state = site.plan().next.clone();
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.ticks(60);
    let told = site.plan().cost.as_ref().unwrap().spent_this_month;
    let paid = used(&site);
    let near = told >= Money::new(paid - 0.01) && told <= Money::new(paid + 0.2);
    assert!(near, "{told} told, {paid} paid\n{}", site.describe());
}

#[test]
fn a_paid_hour_is_used() {
    let mut site = priced();
    site.policy.clouds[0].billing_period = Some(Duration::from_secs(HOUR));
    running(&mut site, 4, 20 * 60);
    let created = site.world().servers.values().next().unwrap().created;
    site.until(30, "they end", |world| world.unfinished() == 0);
    site.ticks(10);
    let paid = |why: &Reason| matches!(why, Reason::Paid { .. });
    assert_eq!(whys(site.plan(), paid), 1, "{}", site.describe());
    // What comes meanwhile uses it.
    site.submit(4, 1, 1024, 300);
    site.until(10, "they run", |world| world.unfinished() == 0);
    assert_eq!(site.servers(), 1);
    site.until(60, "it goes", |world| world.servers.is_empty());
    let lived = site.world().now - created;
    assert!((HOUR - 300..=HOUR).contains(&lived), "{lived}");
    // A started hour is told as spent.
    let told = site.plan().cost.as_ref().unwrap().spent_this_month;
    assert_eq!(told, Money::new(2.0));
}

#[test]
fn a_paid_hour_keeps_no_node_for_longer_than_one_period() {
    let mut site = priced();
    site.policy.clouds[0].billing_period = Some(Duration::from_secs(HOUR));
    running(&mut site, 4, 20 * 60);
    site.until(30, "they end", |world| world.unfinished() == 0);
    // The minutes in which it would go are those in which nobody looks.
    let ended = site.world().now;
    site.ticks(8);
    site.policy.max_actions = 0;
    site.ticks(50);
    site.policy.max_actions = 20;
    let took = site.until(30, "it goes", |world| world.servers.is_empty());
    let idle = site.world().now - ended;
    assert!(idle <= HOUR + 300 + 300, "{idle} s idle, {took} min");
}

#[test]
fn of_two_that_are_equally_idle_the_dearest_goes_first() {
    let mut blue = cloud(&[("medium", 4, 8192)]);
    blue.flavors.get_mut("medium").unwrap().price = Some(1.0);
    let mut green = blue.clone();
    green.flavors.get_mut("medium").unwrap().price = Some(3.0);
    blue.boot_seconds = (60, 60);
    green.boot_seconds = (60, 60);
    let mut site = Site::new(scenario(&[("blue", blue), ("green", green)]));
    running(&mut site, 16, 30 * 60);
    site.policy.nodes_spare = Spare::Count(2);
    site.until(60, "two go", |world| world.unfinished() == 0);
    site.until(20, "two go", |world| world.servers.len() == 2);
    let clouds: Vec<String> = site
        .world()
        .servers
        .values()
        .map(|server| server.cloud.clone())
        .collect();
    assert_eq!(clouds, ["blue", "blue"], "{}", site.describe());
}

/// Nodes of 4 cores that take no new jobs after two hours.
fn two_hours() -> Site {
    let mut site = Site::simple();
    site.policy.max_lifetime = Some(Duration::from_secs(2 * HOUR));
    locked(&site.world).max_lifetime = Some(2 * HOUR);
    site
}

fn oldest(world: &World) -> u64 {
    let ages = world
        .servers
        .values()
        .map(|server| world.now - server.created);
    ages.max().unwrap_or(0)
}

#[test]
fn a_node_that_is_never_idle_is_replaced_when_its_jobs_have_ended() {
    let mut site = two_hours();
    let mut most = 0;
    // Always more jobs than one node has room for, each of 40 minutes.
    for minute in 0..600 {
        if minute % 10 == 0 {
            site.submit(1, 1, 1024, 40 * 60);
        }
        site.tick();
        assert_eq!(
            site.plan().count(NodeDecision::CancelDrain),
            0,
            "{}",
            site.describe()
        );
        most = most.max(oldest(&site.world()));
    }
    assert!((2 * HOUR..3 * HOUR).contains(&most), "{most}");
    site.until(200, "all is done", |world| world.servers.is_empty());
    assert!(done(&site.world()), "each job has started once");
}

#[test]
fn a_quarter_of_the_idle_nodes_is_replaced_at_a_time() {
    let mut site = two_hours();
    // They do not know themselves how old they may get.
    locked(&site.world).max_lifetime = None;
    site.policy.nodes_min = 8;
    site.policy.nodes_max = 9;
    site.ticks(20);
    let first = site.names();
    assert_eq!(first.len(), 8);
    let mut drained = 0;
    let mut least = 8;
    for _ in 0..240 {
        site.tick();
        let now = site.plan().count(NodeDecision::Drain);
        assert!(now <= 2, "{}", site.describe());
        drained += now;
        let up = |line: &&NodeEntry| {
            matches!(line.phase.as_str(), "idle" | "busy") && line.decision != NodeDecision::Drain
        };
        if drained > 0 {
            least = least.min(site.plan().nodes.iter().filter(up).count());
        }
    }
    assert!(least >= 5, "{least}");
    let now = site.names();
    assert!(
        !now.iter().any(|name| first.contains(name)),
        "{}",
        site.describe()
    );
    let old = |why: &Reason| matches!(why, Reason::NeverJoined { .. });
    assert_eq!(whys(site.plan(), old), 0);
}

#[test]
fn jobs_end_only_where_the_site_says_so() {
    for (kill, ends) in [(None, false), (Some(Duration::from_secs(HOUR)), true)] {
        let mut site = two_hours();
        site.policy.max_lifetime_kill = kill;
        if ends {
            locked(&site.world).jobs_end = Some(3 * HOUR);
        }
        running(&mut site, 1, 6 * HOUR);
        let mut said = false;
        // The job that was ended waits again, and gets another node.
        for _ in 0..4 * 60 {
            site.tick();
            let kills = |line: &NodeEntry| matches!(line.why, Reason::ForcefulExpiration { .. });
            if site.plan().nodes.iter().any(kills) {
                said = true;
                let told = &site.plan().notices;
                assert!(told[0].contains("JOBS END"), "{told:?}");
                // Its age is no mistake of an hour.
                assert!(oldest(&site.world()) >= 3 * HOUR, "{}", site.describe());
            }
        }
        assert_eq!(said, ends, "{}", site.describe());
    }
}

/// Four nodes of one job each that runs for long, and a limit that nobody comes near.
fn far_from_old(kill: u64) -> Site {
    let mut site = two_hours();
    locked(&site.world).max_lifetime = None;
    locked(&site.world).advance(60 * HOUR);
    site.policy.max_lifetime = Some(Duration::from_secs(24 * HOUR));
    site.policy.max_lifetime_kill = Some(minutes(kill));
    running(&mut site, 16, 10 * HOUR);
    site
}

fn kills(site: &Site) -> usize {
    whys(site.plan(), |why| {
        matches!(why, Reason::ForcefulExpiration { .. })
    })
}

#[test]
fn an_age_that_is_wrong_for_half_an_hour_ends_no_job() {
    let mut site = far_from_old(16);
    let older = |site: &Site, by: i64| {
        for server in locked(&site.world).servers.values_mut() {
            server.created = server.created.saturating_add_signed(-by);
        }
    };
    older(&site, 40 * 3600);
    for _ in 0..30 {
        site.tick();
        assert_eq!(kills(&site), 0, "{}", site.describe());
    }
    older(&site, -40 * 3600);
    site.ticks(5);
    assert_eq!((kills(&site), site.servers()), (0, 4));
}

#[test]
fn nodes_that_are_too_old_when_the_limit_is_set_have_its_time_yet() {
    let mut site = far_from_old(5 * 60);
    site.ticks(60);
    site.policy.max_lifetime = Some(minutes(10));
    site.policy.max_lifetime_kill = Some(minutes(40));
    locked(&site.world).jobs_end = Some(0);
    for _ in 0..40 {
        site.tick();
        assert_eq!(kills(&site), 0, "{}", site.describe());
    }
    site.ticks(10);
    assert!(site.world().jobs.iter().any(|job| job.starts != 1));
}

#[test]
fn what_a_cloud_has_cost_counts_when_it_is_not_configured_for_a_while() {
    let mut blue = cloud(&[("medium", 4, 8192)]);
    blue.flavors.get_mut("medium").unwrap().price = Some(2.0);
    let green = blue.clone();
    let mut site = Site::new(scenario(&[("blue", blue), ("green", green)]));
    running(&mut site, 8, 12 * HOUR);
    site.ticks(180);
    let told = |site: &Site| site.plan().cost.as_ref().unwrap().spent_this_month;
    let near = |site: &Site, paid: f64| {
        let told = told(site);
        told >= Money::new(paid - 0.3) && told <= Money::new(paid + 0.3)
    };
    assert!(near(&site, used(&site)), "{} {}", told(&site), used(&site));
    let blue = site.policy.clouds.remove(0);
    let entry = locked(&site.world).scenario.clouds.remove_entry("blue");
    site.ticks(2);
    assert!(near(&site, used(&site)), "{} {}", told(&site), used(&site));
    site.policy.clouds.insert(0, blue);
    locked(&site.world).scenario.clouds.extend(entry);
    site.ticks(2);
    assert!(near(&site, used(&site)), "{} {}", told(&site), used(&site));
}

#[test]
fn a_retired_node_goes_at_once_and_is_said_to_be_old() {
    let mut site = two_hours();
    site.policy.max_lifetime = Some(Duration::from_secs(10 * HOUR));
    locked(&site.world).max_lifetime = Some(10 * HOUR);
    site.policy.nodes_min = 1;
    site.ticks(5);
    let first = site.names();
    let closed = |plan: &Plan| {
        plan.nodes
            .iter()
            .any(|line| line.phase.as_str() == "closed")
    };
    while !closed(site.plan()) {
        assert!(oldest(&site.world()) < 11 * HOUR, "{}", site.describe());
        site.tick();
    }
    let old = |why: &Reason| matches!(why, Reason::DrainExpired { .. });
    assert_eq!(whys(site.plan(), old), 1, "{}", site.describe());
    site.ticks(10);
    assert_ne!(site.names(), first);
    assert_eq!(site.servers(), 1, "{}", site.describe());
}

#[test]
fn a_node_that_is_too_old_when_the_state_is_lost_is_no_failure() {
    let mut site = two_hours();
    site.policy.max_lifetime = Some(Duration::from_secs(10 * HOUR));
    locked(&site.world).max_lifetime = Some(10 * HOUR);
    running(&mut site, 4, 12 * HOUR);
    while oldest(&site.world()) < 10 * HOUR + 600 {
        site.tick();
    }
    site.state = State::default();
    site.ticks(2);
    let soon = site.world().now;
    for job in &mut locked(&site.world).jobs {
        job.state = JobState::Done(soon);
    }
    site.ticks(30);
    assert_eq!(site.servers(), 0, "{}", site.describe());
    let failures: u32 = site.state.node_types.iter().map(|kind| kind.failures).sum();
    assert_eq!(failures, 0);
}

#[test]
fn nodes_that_were_made_together_do_not_go_together() {
    let mut site = two_hours();
    site.policy.max_lifetime = Some(Duration::from_secs(8 * HOUR));
    locked(&site.world).max_lifetime = Some(8 * HOUR);
    site.policy.nodes_max = 8;
    let mut least = 8;
    let mut first = Vec::new();
    for minute in 0..600 {
        // Always more jobs than they have room for.
        if minute % 10 == 0 && site.world().unfinished() < 64 {
            site.submit(64, 1, 1024, 10 * 60);
        }
        site.tick();
        if minute == 60 {
            first = site.names();
            assert_eq!(first.len(), 8);
        }
        if minute >= 60 {
            let up = |line: &&NodeEntry| matches!(line.phase.as_str(), "idle" | "busy");
            least = least.min(site.plan().nodes.iter().filter(up).count());
        }
        if oldest(&site.world()) > 8 * HOUR + 1800 {
            panic!("{}", site.describe());
        }
    }
    let now = site.names();
    assert!(!now.iter().any(|name| first.contains(name)));
    assert!(least >= 4, "{least}");
}

#[test]
fn without_any_of_it_nothing_is_told() {
    let mut site = Site::simple();
    running(&mut site, 4, 600);
    let plan = site.plan();
    assert_eq!((&plan.cost, &plan.window), (&None, &None));
    assert!(plan.budgets_spent.is_empty());
    assert_eq!(site.policy.schedules, Policy::new("x").schedules);
}
