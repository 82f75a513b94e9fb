//! What ehos is for: the pool grows with its queue and shrinks with it.

use crate::site::{Site, cloud, scenario};
use scaling::reason::Reason;
use scaling::schedule::Spare;
use simulation::JobState;

#[test]
fn the_pool_grows_with_its_queue_and_shrinks_to_nothing() {
    let mut site = Site::simple();
    site.ticks(2);
    assert_eq!(site.servers(), 0, "nothing is made for an empty queue");
    site.submit(20, 1, 1024, 600);
    site.tick();
    assert_eq!(
        site.created(),
        3,
        "five are needed, and an unproven image may have three\n{}",
        site.describe()
    );
    site.until(10, "all run", |world| {
        world
            .jobs
            .iter()
            .all(|job| matches!(job.state, JobState::Running { .. }))
    });
    assert_eq!(
        site.servers(),
        5,
        "20 jobs of 1 core on nodes of 4\n{}",
        site.describe()
    );
    site.until(15, "all done", |world| world.unfinished() == 0);
    assert_eq!(site.most_servers, 5);
    let took = site.until(12, "all servers gone", |world| world.servers.is_empty());
    assert!(
        took <= 9,
        "idle_timeout is 5 min, then drain, delete: took {took}"
    );
    assert!(
        site.world().jobs.iter().all(|job| job.starts == 1),
        "no job was started twice"
    );
    site.tick();
    assert!(site.state.nodes.is_empty(), "{:?}", site.state.nodes);
}

#[test]
fn nodes_min_and_nodes_spare_are_kept() {
    let mut site = Site::simple();
    site.policy.nodes_min = 2;
    site.policy.nodes_spare = Spare::Count(1);
    site.ticks(6);
    assert_eq!(site.servers(), 2, "{}", site.describe());
    site.submit(8, 1, 1024, 1200);
    site.ticks(8);
    assert_eq!(
        site.servers(),
        3,
        "two busy, one spare\n{}",
        site.describe()
    );
    site.until(20, "done", |world| world.unfinished() == 0);
    site.ticks(12);
    assert_eq!(site.servers(), 2, "{}", site.describe());
}

#[test]
fn a_drained_node_is_taken_back_before_a_new_one_is_made() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    site.until(20, "done", |world| world.unfinished() == 0);
    site.until(12, "a drain", |world| {
        world.servers.values().any(|server| {
            server
                .startd
                .as_ref()
                .is_some_and(|startd| startd.drain.is_some())
        })
    });
    // The next look finds it drained, and two waiting jobs; one job has waited a cycle by then.
    {
        let mut world = simulation::locked(&site.world);
        world.broken.negotiator = true;
        world.submit(2, 1, 1024, 300, false);
        for job in world.jobs.iter_mut().filter(|job| job.starts == 0) {
            job.state = JobState::Idle(job.submitted - 100);
        }
    }
    // No earlier tick was there to see that they did not.
    site.state.clusters.clear();
    let plan = site.tick();
    assert!(
        plan.nodes
            .iter()
            .any(|node| matches!(node.why, Reason::DrainTakenBack { jobs: 2 })),
        "{}",
        site.describe()
    );
    assert_eq!(site.created(), 0);
    simulation::locked(&site.world).broken.negotiator = false;
    site.until(12, "done", |world| world.unfinished() == 0);
    assert_eq!(site.most_servers, 1);
}

#[test]
fn max_actions_and_quota_bound_a_burst() {
    let mut small = cloud(&[("medium", 4, 8192)]);
    small.cores = Some(16);
    let mut site = Site::new(scenario(&[("blue", small)]));
    site.policy.nodes_max = 100;
    site.policy.max_actions = 2;
    site.policy.max_unproven = 10;
    site.submit(100, 1, 1024, 3600);
    site.tick();
    assert_eq!(site.created(), 2);
    site.ticks(8);
    assert_eq!(site.servers(), 4, "16 cores are four nodes");
    let limited = |why: &Reason| matches!(why, Reason::Limited { nodes: 21, .. });
    assert!(
        site.plan()
            .groups
            .iter()
            .any(|group| group.why.iter().any(limited)),
        "{}",
        site.describe()
    );
}

#[test]
fn demand_is_counted_in_resources_not_in_jobs() {
    let mut site = Site::simple();
    site.policy.max_unproven = 10;
    // Memory is the narrow one: 8192 MB promise 7537, so three jobs of 2300 on a node.
    site.submit(6, 1, 2300, 600);
    site.tick();
    assert_eq!(site.created(), 2, "{}", site.describe());
    let mut site = Site::simple();
    site.submit(1, 16, 1024, 600);
    site.ticks(3);
    assert_eq!(site.servers(), 0);
    let too_large = |why: &Reason| matches!(why, Reason::TooLarge { .. });
    assert!(
        site.plan()
            .groups
            .iter()
            .any(|group| group.why.iter().any(too_large)),
        "{}",
        site.describe()
    );
}

#[test]
fn clouds_take_turns_or_are_filled_one_after_the_other() {
    let clouds = [
        ("blue", cloud(&[("medium", 4, 8192)])),
        ("green", cloud(&[("medium", 4, 8192)])),
    ];
    let used = |allocation| {
        let mut site = Site::new(scenario(&clouds));
        site.policy.allocation = allocation;
        site.policy.max_unproven = 4;
        site.policy.clouds[0].nodes_max = Some(3);
        site.submit(16, 1, 1024, 600);
        site.tick();
        let world = site.world();
        let blue = world
            .servers
            .values()
            .filter(|server| server.cloud == "blue")
            .count();
        (blue, world.servers.len() - blue)
    };
    assert_eq!(used(scaling::allocation::Allocation::RoundRobin), (2, 2));
    assert_eq!(used(scaling::allocation::Allocation::FillFirst), (3, 1));
}
