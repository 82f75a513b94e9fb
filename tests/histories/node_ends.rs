//! A pool in which ehos may not drain (`condor.scale_down: self-shutdown`): nodes end by themselves, and ehos takes away what is left.

use scaling::action::PoolAction;
use scaling::plan::{Action, NodeDecision};
use scaling::policy::ScaleDown;
use scaling::reason::Reason;
use scaling::schedule::Spare;
use simulation::{JobState, locked};

use crate::site::{Site, running};

fn site() -> Site {
    let mut site = Site::simple();
    site.policy.scale_down = ScaleDown::SelfShutdown;
    let patience = site.policy.idle_timeout.as_secs();
    locked(&site.world).noclaim_shutdown = Some(patience);
    site
}

/// Ticks, and never drains nor takes a drain back.
fn tick(site: &mut Site) {
    site.tick();
    let drains = |action: &Action| {
        matches!(
            action,
            Action::Pool(PoolAction::Drain { .. } | PoolAction::CancelDrain { .. })
        )
    };
    assert!(
        !site.plan().actions.iter().any(drains),
        "{}",
        site.describe()
    );
}

#[test]
fn the_pool_shrinks_without_a_drain_and_that_is_no_failure() {
    let mut site = site();
    running(&mut site, 20, 600);
    assert_eq!(site.servers(), 5);
    let mut said = false;
    for _ in 0..25 {
        tick(&mut site);
        let ends = |why: &Reason| matches!(why, Reason::SelfShutdown { .. });
        said |= site.plan().nodes.iter().any(|node| ends(&node.why));
        assert!(
            !site
                .plan()
                .nodes
                .iter()
                .any(|node| node.phase.as_str() == "failed"),
            "{}",
            site.describe()
        );
    }
    assert!(said, "what happens to idle nodes is said");
    assert_eq!(site.servers(), 0, "{}", site.describe());
    assert!(site.state.node_types.iter().all(|kind| kind.failures == 0));
    let jobs = &site.world().jobs;
    assert!(
        jobs.iter()
            .all(|job| job.starts == 1 && matches!(job.state, JobState::Done(_)))
    );
}

#[test]
fn many_that_end_at_once_are_no_fault_of_the_network() {
    let mut site = site();
    site.policy.nodes_max = 20;
    site.policy.max_unproven = 20;
    running(&mut site, 48, 300);
    assert_eq!(site.servers(), 12);
    for _ in 0..18 {
        tick(&mut site);
    }
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn nodes_min_and_nodes_spare_are_made_anew() {
    let mut site = site();
    site.policy.nodes_min = 2;
    site.policy.nodes_spare = Spare::Count(1);
    let mut made = 0;
    for _ in 0..60 {
        tick(&mut site);
        made += site.created();
    }
    assert!(
        (10..=24).contains(&made),
        "made {made} in an hour\n{}",
        site.describe()
    );
}

#[test]
fn nodes_of_an_older_image_serve_until_they_end() {
    let mut site = site();
    running(&mut site, 4, 900);
    let old = site.names()[0].clone();
    site.policy.clouds[0].image = "second".to_owned();
    for _ in 0..5 {
        tick(&mut site);
    }
    let says =
        |text: &&String| text.contains("outdated image") && text.contains("shuts itself down");
    assert!(
        site.plan().notices.iter().any(|note| says(&note)),
        "{:?}",
        site.plan().notices
    );
    site.until(20, "done", |world| world.unfinished() == 0);
    // Idle, it takes jobs that come.
    tick(&mut site);
    site.submit(2, 1, 1024, 300);
    for _ in 0..4 {
        tick(&mut site);
    }
    assert_eq!(site.names(), [old], "{}", site.describe());
    site.until(20, "gone", |world| world.servers.is_empty());
}

#[test]
fn a_drain_of_ours_from_before_still_leads_to_a_delete() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    site.until(12, "a drain", |world| {
        let mut startds = world
            .servers
            .values()
            .filter_map(|server| server.startd.as_ref());
        startds.any(|startd| startd.drain.is_some())
    });
    site.policy.scale_down = ScaleDown::SelfShutdown;
    site.submit(4, 1, 1024, 60);
    tick(&mut site);
    assert_eq!(
        site.plan().nodes[0].decision,
        NodeDecision::Delete,
        "{}",
        site.describe()
    );
}
