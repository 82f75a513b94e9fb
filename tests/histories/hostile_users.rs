//! Users whose jobs say what is not true, and users who take what is everybody's.

use std::time::Duration;

use scaling::submitter::{DEFAULT, SubmitterLimit};
use simulation::{JobState, locked};

use crate::site::{Site, running};

/// Servers that were made for jobs beside nodes whose free slots serve most of them.
fn servers_made(forged: bool) -> usize {
    let mut site = Site::simple();
    site.policy.nodes_max = 10;
    site.policy.nodes_min = 2;
    running(&mut site, 8, 120);
    // Long enough for the slots to count as settled.
    for _ in 0..15 {
        site.tick();
    }
    locked(&site.world).broken.forged_waits = forged;
    // The negotiator comes after ehos.
    locked(&site.world).scenario.negotiation_seconds = 180;
    let before = site.world().servers.len();
    // One core of eight stays free in the next cycle.
    site.submit(7, 1, 1024, 1800);
    let mut most = before;
    for _ in 0..6 {
        site.tick();
        most = most.max(site.world().servers.len());
    }
    let idle = |world: &simulation::World| {
        let jobs = world.jobs.iter();
        jobs.filter(|job| matches!(job.state, JobState::Idle(_)))
            .count()
    };
    assert_eq!(idle(&site.world()), 0);
    most - before
}

#[test]
fn a_made_up_wait_buys_no_node_beside_free_slots() {
    assert_eq!(servers_made(false), 0);
    assert_eq!(servers_made(true), 0);
}

/// Jobs of the simulated site have no owner: they are nobody's, so that the limit of each user says nothing of them.
#[test]
fn jobs_of_nobody_have_no_limit() {
    let mut site = Site::simple();
    let limit = SubmitterLimit {
        nodes_max: Some(0),
        ..SubmitterLimit::default()
    };
    let users = &mut site.policy.submitter_limits.users;
    users.insert(DEFAULT.to_owned(), limit);
    site.policy.idle_timeout = Duration::from_secs(300);
    running(&mut site, 4, 60);
}
