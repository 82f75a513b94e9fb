//! Passes at any distance: jobs are served in the pass that first sees them, nodes leave when their time has come, and what is
//! bounded by the minute stays so.

use std::time::Duration;

use crate::site::{Site, running};
use scaling::action::PoolAction;
use scaling::plan::{Action, NodeDecision};
use scaling::reason::Reason;
use simulation::{JobState, locked};

fn idle_reason(site: &Site) -> Option<(u64, u64)> {
    site.plan().nodes.iter().find_map(|line| match line.why {
        Reason::IdleNotLongEnough {
            idle_seconds,
            idle_timeout_seconds,
        } => Some((idle_seconds.0, idle_timeout_seconds.0)),
        _ => None,
    })
}

fn asks_for_cycle(site: &Site) -> bool {
    let is_it = |action: &Action| matches!(action, Action::Pool(PoolAction::Reschedule { .. }));
    site.plan().actions.iter().any(is_it)
}

/// A node that has been idle for about `seconds`, when a job of ten minutes has ended.
fn idle_node(site: &mut Site, seconds: u64) {
    running(site, 1, 600);
    site.until(15, "the job is done", |world| world.unfinished() == 0);
    site.tick_after(seconds);
}

#[test]
fn jobs_get_nodes_in_the_pass_that_first_sees_them() {
    let mut site = Site::simple();
    running(&mut site, 4, 3600);
    assert_eq!(site.servers(), 1);
    site.submit(4, 1, 1024, 600);
    site.tick_after(5);
    assert_eq!(site.created(), 1, "{}", site.describe());
}

#[test]
fn young_jobs_take_the_slot_that_older_ones_of_their_group_have_not() {
    let mut site = Site::simple();
    site.policy.nodes_min = 1;
    site.ticks(8);
    // HTCondor matches it with no slot, and nothing foretells that.
    site.world().submit(1, 1, 1024, 60, true);
    site.ticks(10);
    let servers = site.servers();
    site.world().broken.negotiator = true;
    site.submit(2, 1, 1024, 600);
    site.tick_after(10);
    assert_eq!(
        (site.created(), site.servers()),
        (0, servers),
        "{}",
        site.describe()
    );
}

#[test]
fn max_actions_bounds_the_minute() {
    let mut site = Site::simple();
    site.policy.max_actions = 2;
    site.policy.max_unproven = 10;
    site.submit(10, 4, 1024, 3600);
    let mut made = Vec::new();
    for _ in 0..18 {
        site.tick_after(10);
        made.push(site.created());
    }
    for minute in made.windows(5) {
        assert!(minute.iter().sum::<usize>() <= 2, "{made:?}");
    }
    assert!(made.iter().sum::<usize>() >= 6, "{made:?}");
}

#[test]
fn idle_counts_from_the_end_of_the_last_claim() {
    let mut site = Site::simple();
    running(&mut site, 1, 600);
    let ends = site.world().jobs[0].runs;
    let JobState::Running { since, .. } = site.world().jobs[0].state else {
        panic!("it does not run");
    };
    let left = since + ends - site.world().now;
    site.tick_after(left - 10);
    site.tick_after(50);
    let (idle, _) = idle_reason(&site).unwrap();
    assert!((35..=40).contains(&idle), "{idle} s\n{}", site.describe());
}

#[test]
fn idle_counts_from_there_too_where_a_later_ad_is_the_first_that_is_seen() {
    let mut site = Site::simple();
    site.world().scenario.update_seconds = 30;
    running(&mut site, 1, 600);
    let now = site.world().now;
    // The job ends ten seconds after this pass, and two updates come before the next.
    let JobState::Running { since, .. } = site.world().jobs[0].state else {
        panic!("it does not run");
    };
    site.world().jobs[0].runs = now - since + 15;
    site.tick_after(5);
    site.tick_after(75);
    let (idle, _) = idle_reason(&site).unwrap();
    assert!((58..=65).contains(&idle), "{idle} s\n{}", site.describe());
}

#[test]
fn a_pass_says_when_the_next_one_has_something_to_do() {
    let mut site = Site::simple();
    site.policy.look_again = Some(Duration::from_secs(5));
    idle_node(&mut site, 10);
    let (idle, timeout) = idle_reason(&site).unwrap();
    let left = timeout - idle;
    assert_eq!(site.plan().look_again, Some(Duration::from_secs(left - 2)));
    site.tick_after(left - 5);
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        0,
        "{}",
        site.describe()
    );
    site.tick_after(5);
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        1,
        "{}",
        site.describe()
    );
    site.tick_after(4);
    assert_eq!(
        site.plan().count(NodeDecision::Delete),
        1,
        "{}",
        site.describe()
    );
    site.tick_after(60);
    assert_eq!(site.servers(), 0);
    assert_eq!(site.plan().look_again, None);
}

#[test]
fn a_node_leaves_in_the_pass_that_is_nearest_to_its_time() {
    for (idle_timeout, first) in [(120, true), (150, false)] {
        let mut site = Site::simple();
        site.policy.idle_timeout = Duration::from_secs(idle_timeout);
        running(&mut site, 1, 600);
        site.until(15, "the job is done", |world| world.unfinished() == 0);
        // Idle for 59 s when the clock of the timer was a second early.
        let before = idle_reason(&site).map_or(0, |(idle, _)| idle);
        site.tick_after(59 - before.min(58));
        site.tick_after(60);
        let drains = site.plan().count(NodeDecision::Drain);
        assert_eq!(drains == 1, first, "{}", site.describe());
    }
}

#[test]
fn a_node_that_has_joined_gets_a_negotiation_cycle() {
    let mut site = Site::simple();
    site.world().scenario.negotiation_seconds = 3600;
    site.submit(1, 1, 1024, 600);
    let mut asked = 0;
    for _ in 0..12 {
        site.tick_after(15);
        asked += usize::from(asks_for_cycle(&site));
    }
    assert_eq!(asked, 1, "{}", site.describe());
    let state = site.world().jobs[0].state.clone();
    assert!(matches!(state, JobState::Running { .. }), "{state:?}");
    // A node that has met a cycle is no reason for another one.
    site.submit(1, 1, 1024, 600);
    site.tick_after(15);
    assert!(!asks_for_cycle(&site), "{}", site.describe());
}

#[test]
fn ehos_that_may_not_drain_asks_for_no_cycle() {
    let mut site = Site::simple();
    site.policy.scale_down = scaling::policy::ScaleDown::SelfShutdown;
    site.world().scenario.negotiation_seconds = 3600;
    site.submit(1, 1, 1024, 600);
    for _ in 0..12 {
        site.tick_after(15);
        assert!(!asks_for_cycle(&site), "{}", site.describe());
    }
}

#[test]
fn a_drain_that_no_ad_says_yet_is_not_asked_for_again() {
    let mut site = Site::simple();
    site.policy.look_again = Some(Duration::from_secs(5));
    idle_node(&mut site, 10);
    let (idle, timeout) = idle_reason(&site).unwrap();
    // What the startd says from here on comes late.
    site.pass(timeout - idle, &mut |world| {
        locked(world).broken.late_ads = 30;
    });
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        1,
        "{}",
        site.describe()
    );
    for _ in 0..2 {
        site.tick_after(4);
        assert_eq!(
            site.plan().count(NodeDecision::Keep),
            1,
            "{}",
            site.describe()
        );
        assert_eq!(site.plan().look_again, Some(Duration::from_secs(5)));
    }
    site.tick_after(30);
    assert_eq!(
        site.plan().count(NodeDecision::Delete),
        1,
        "{}",
        site.describe()
    );
}

#[test]
fn two_looks_within_seconds_are_one() {
    let mut site = Site::simple();
    running(&mut site, 1, 3600);
    let id = site.names().remove(0);
    site.world().servers.remove(&id);
    site.world().ads.clear();
    for _ in 0..5 {
        site.tick_after(10);
        assert_eq!(
            site.plan().count(NodeDecision::Forget),
            0,
            "{}",
            site.describe()
        );
    }
    site.tick_after(15);
    assert_eq!(
        site.plan().count(NodeDecision::Forget),
        1,
        "{}",
        site.describe()
    );
}

#[test]
fn nodes_whose_time_comes_within_seconds_leave_together() {
    let mut site = Site::simple();
    site.policy.look_again = Some(Duration::from_secs(5));
    running(&mut site, 8, 3600);
    assert_eq!(site.servers(), 2);
    site.tick_after(5);
    // The jobs of one node end 3 s before those of the other.
    let server = site.names().remove(0);
    let now = site.world().now;
    for job in &mut site.world().jobs {
        let JobState::Running { server: on, since } = &job.state else {
            panic!("it does not run");
        };
        job.runs = now - since + if *on == server { 20 } else { 23 };
    }
    site.tick_after(23);
    let timeout = site.policy.idle_timeout.as_secs();
    site.tick_after(timeout - 5);
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        2,
        "{}",
        site.describe()
    );
}

#[test]
fn a_drain_that_no_ad_says_yet_is_no_node_that_stays() {
    let mut site = Site::simple();
    running(&mut site, 12, 600);
    assert_eq!(site.servers(), 3);
    site.until(15, "all done", |world| world.unfinished() == 0);
    site.policy.nodes_min = 2;
    site.policy.idle_timeout = Duration::ZERO;
    let late = &mut |world: &std::sync::Mutex<simulation::World>| {
        locked(world).broken.late_ads = 30;
    };
    site.pass(5, late);
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        1,
        "{}",
        site.describe()
    );
    for _ in 0..3 {
        site.tick_after(2);
        assert_eq!(
            site.plan().count(NodeDecision::Drain),
            0,
            "{}",
            site.describe()
        );
    }
}

#[test]
fn a_drain_that_was_taken_back_hides_no_room() {
    let mut site = Site::simple();
    site.world().scenario.negotiation_seconds = 3600;
    running(&mut site, 1, 600);
    site.until(15, "the job is done", |world| world.unfinished() == 0);
    let left = idle_reason(&site).map_or(0, |(idle, timeout)| timeout - idle);
    site.tick_after(left);
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        1,
        "{}",
        site.describe()
    );
    site.submit(1, 1, 1024, 600);
    site.tick_after(2);
    assert_eq!(
        site.plan().count(NodeDecision::CancelDrain),
        1,
        "{}",
        site.describe()
    );
    site.tick_after(8);
    assert_eq!(
        site.plan().nodes[0].phase.as_str(),
        "idle",
        "{}",
        site.describe()
    );
    assert_eq!(
        (site.created(), site.servers()),
        (0, 1),
        "{}",
        site.describe()
    );
}
