//! Another image is configured: idle nodes of the older one are replaced, and a broken image does not eat the pool.

use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::state::State;
use simulation::{IMAGE, JobState, SimulatedServer, World, locked};

use crate::site::{Site, cloud, running, scenario};

fn configure(site: &mut Site, image: &str) {
    for cloud in &mut site.policy.clouds {
        cloud.image = image.to_owned();
    }
}

fn image(server: &SimulatedServer) -> &str {
    &server.metadata["ehos_image"]
}

fn of(world: &World, wanted: &str) -> usize {
    let servers = world.servers.values();
    servers.filter(|server| image(server) == wanted).count()
}

/// Nodes that run and take jobs.
fn up(world: &World) -> usize {
    let servers = world.servers.values();
    let up = |server: &&SimulatedServer| {
        let startd = server.startd.as_ref();
        startd.is_some_and(|startd| startd.drain.is_none())
    };
    servers.filter(up).count()
}

fn nothing_was_killed(site: &Site) {
    assert!(site.world().jobs.iter().all(|job| job.starts <= 1));
}

/// Drains that this tick takes back.
fn returns(site: &Site) -> usize {
    site.plan().count(NodeDecision::CancelDrain)
}

/// One job of a whole node each two minutes, nine to eleven minutes long: about five nodes, sometimes one is idle.
fn steady(site: &mut Site, minute: u64) {
    if minute.is_multiple_of(2) {
        site.submit(1, 4, 1024, 500 + minute * 37 % 200);
    }
}

/// Short jobs for all nodes that are up: what the new image is worth is known when one has run on it.
fn work(site: &Site) {
    let startds = |world: &World| -> u64 {
        let servers = world.servers.values();
        let cpus = servers.filter_map(|server| Some(server.startd.as_ref()?.total.cpus));
        cpus.sum()
    };
    let cpus = startds(&site.world());
    site.submit(cpus, 1, 512, 60);
}

/// As [`Site::until`], with such work each ten minutes.
fn until_worked(site: &mut Site, most: usize, what: &str, done: impl Fn(&World) -> bool) {
    for minute in 0..most {
        if done(&site.world()) {
            return;
        }
        if minute % 10 == 5 {
            work(site);
        }
        site.tick();
    }
    panic!("not within {most} ticks: {what}\n{}", site.describe());
}

#[test]
fn under_steady_demand_all_nodes_are_replaced_and_no_job_is_killed() {
    let mut site = Site::simple();
    for minute in 0..40 {
        steady(&mut site, minute);
        site.tick();
    }
    let nodes = of(&site.world(), IMAGE);
    assert!((4..=7).contains(&nodes), "{nodes}");
    configure(&mut site, "new");
    let mut minute = 40;
    while of(&site.world(), IMAGE) > 0 {
        assert!(minute < 120, "{}", site.describe());
        steady(&mut site, minute);
        site.tick();
        assert_eq!(returns(&site), 0, "{}", site.describe());
        minute += 1;
    }
    for minute in minute..minute + 30 {
        steady(&mut site, minute);
        site.tick();
    }
    let world = site.world();
    assert_eq!(of(&world, IMAGE), 0);
    let waiting = |job: &&simulation::SimulatedJob| matches!(job.state, JobState::Idle(_));
    let waiting = world.jobs.iter().filter(waiting).count();
    assert!(waiting <= 3, "{waiting} jobs wait");
    drop(world);
    nothing_was_killed(&site);
}

#[test]
fn nodes_min_is_replaced_one_first_and_then_the_others() {
    let mut site = Site::simple();
    site.policy.nodes_min = 5;
    site.until(20, "five are up", |world| up(world) == 5);
    site.ticks(10);
    configure(&mut site, "new");
    site.tick();
    let drained: Vec<Reason> = site
        .plan()
        .nodes
        .iter()
        .filter(|node| node.decision == NodeDecision::Drain)
        .map(|node| node.why.clone())
        .collect();
    assert!(
        matches!(
            drained.as_slice(),
            [Reason::DrainToTryImage { image, configured_image, .. }]
                if image == IMAGE && configured_image == "new"
        ),
        "{}",
        site.describe()
    );
    assert!(
        site.plan()
            .notices
            .iter()
            .any(|notice| notice.contains("outdated image (configured: new): 5;")),
        "{:?}",
        site.plan().notices
    );
    let mut fewest = 5;
    while of(&site.world(), "new") == 0 || up(&site.world()) < 5 {
        site.tick();
        let proven = site
            .state
            .node_types
            .iter()
            .any(|kind| kind.node_type.image == "new" && kind.joined > 0);
        if !proven {
            fewest = fewest.min(up(&site.world()));
        }
    }
    assert_eq!(fewest, 4, "none followed before the first had joined");
    for _ in 0..30 {
        site.tick();
        assert_eq!(of(&site.world(), "new"), 1, "nor before it has run a job");
    }
    until_worked(&mut site, 30, "all are new", |world| {
        of(world, "new") == 5 && world.servers.len() == 5
    });
    assert!(site.state.replacements.is_empty());
    site.ticks(30);
    assert_eq!(of(&site.world(), "new"), 5, "and that is that");
}

#[test]
fn a_full_pool_makes_room_for_one() {
    let mut site = Site::simple();
    site.policy.nodes_max = 3;
    site.policy.nodes_min = 3;
    site.until(20, "three are up", |world| up(world) == 3);
    configure(&mut site, "new");
    until_worked(&mut site, 60, "all are new", |world| {
        of(world, "new") == 3 && up(world) == 3
    });
    assert_eq!(site.most_servers, 3);
}

#[test]
fn a_broken_image_costs_the_capacity_of_one_node() {
    let mut site = Site::simple();
    site.policy.nodes_min = 5;
    site.until(20, "five are up", |world| up(world) == 5);
    configure(&mut site, "new");
    locked(&site.world).broken.images.push("new".to_owned());
    for minute in 0..300u64 {
        // Demand for about three nodes, which can be seen on idle ones.
        if minute.is_multiple_of(3) {
            site.submit(1, 4, 1024, 500 + minute * 37 % 200);
        }
        site.tick();
        assert!(of(&site.world(), IMAGE) >= 4, "{}", site.describe());
        assert!(of(&site.world(), "new") <= 3);
    }
    nothing_was_killed(&site);
    assert_eq!(site.plan().protected.len(), 1, "it is not tried for ever");
    // Mended, it proves itself at the next try, and that is when an operator says so.
    locked(&site.world).broken.images.clear();
    site.ticks(30);
    assert_eq!(of(&site.world(), "new"), 0);
    assert_eq!(site.state.resume("blue").len(), 1);
    until_worked(&mut site, 120, "all are new", |world| {
        of(world, "new") == 5 && world.servers.len() == 5
    });
}

#[test]
fn an_image_that_is_refused_costs_none_once_that_is_known() {
    let mut site = Site::simple();
    running(&mut site, 8, 600);
    configure(&mut site, "new");
    locked(&site.world).broken.images.push("new".to_owned());
    // More than there is room for: the new image is tried, and fails, before a node is idle.
    site.submit(8, 1, 1024, 3000);
    site.ticks(100);
    assert_eq!(site.world().unfinished(), 0, "{}", site.describe());
    let tried = |why: &Reason| matches!(why, Reason::DrainToTryImage { .. });
    assert!(!site.plan().nodes.iter().any(|node| tried(&node.why)));
    assert!(site.state.replacements.is_empty());
    nothing_was_killed(&site);
}

#[test]
fn there_and_back_again() {
    let mut site = Site::simple();
    site.policy.nodes_min = 4;
    site.until(20, "four are up", |world| up(world) == 4);
    configure(&mut site, "new");
    site.until(30, "one of the new image is up", |world| {
        world
            .servers
            .values()
            .any(|server| image(server) == "new" && server.startd.is_some())
    });
    site.ticks(2);
    configure(&mut site, IMAGE);
    // The older image is known to be good: what is of the other goes at once.
    site.until(20, "all are as before", |world| {
        of(world, IMAGE) == 4 && world.servers.len() == 4
    });
    site.ticks(20);
    assert_eq!(of(&site.world(), IMAGE), 4);
    assert!(site.state.replacements.is_empty());
}

#[test]
fn back_before_the_new_image_was_tried_leaves_all_as_it_was() {
    let mut site = Site::simple();
    site.policy.nodes_min = 4;
    site.until(20, "four are up", |world| up(world) == 4);
    configure(&mut site, "new");
    site.tick();
    assert_eq!(site.plan().count(NodeDecision::Drain), 1);
    configure(&mut site, IMAGE);
    site.tick();
    assert_eq!(
        returns(&site),
        1,
        "it is of no older image any more\n{}",
        site.describe()
    );
    assert!(site.state.replacements.is_empty());
    site.ticks(20);
    assert_eq!(site.most_servers, 4);
}

#[test]
fn state_that_is_lost_in_the_middle_costs_time() {
    let mut site = Site::simple();
    site.policy.nodes_min = 5;
    site.until(20, "five are up", |world| up(world) == 5);
    configure(&mut site, "new");
    let mut lost = 0;
    for minute in 0..60 {
        if minute % 7 == 3 && of(&site.world(), IMAGE) > 0 {
            site.state = State::default();
            lost += 1;
        }
        site.submit(u64::from(minute % 3 == 0), 4, 1024, 400);
        site.tick();
    }
    assert!(lost >= 1);
    site.until(30, "all are new", |world| {
        of(world, IMAGE) == 0 && of(world, "new") == 5
    });
    nothing_was_killed(&site);
}

#[test]
fn a_drain_that_is_refused_is_no_replacement() {
    let mut site = Site::simple();
    site.policy.nodes_min = 2;
    site.until(20, "two are up", |world| up(world) == 2);
    configure(&mut site, "new");
    // A job starts on each node between the look and the drain.
    site.tick_while(&mut |world| {
        let mut world = locked(world);
        world.submit(2, 4, 1024, 400, false);
        world.advance(60);
    });
    assert_eq!(site.plan().count(NodeDecision::Drain), 1);
    assert_eq!(site.state.replacements.len(), 1);
    site.tick();
    assert!(site.state.replacements.is_empty(), "{}", site.describe());
    until_worked(&mut site, 60, "all are new", |world| {
        of(world, "new") == 2 && world.servers.len() == 2
    });
    nothing_was_killed(&site);
}

#[test]
fn brakes_hold_it_and_surplus_nodes_go_as_they_always_did() {
    let mut site = Site::simple();
    site.policy.nodes_min = 2;
    site.until(20, "two are up", |world| up(world) == 2);
    configure(&mut site, "new");
    locked(&site.world).broken.schedd = true;
    site.ticks(10);
    assert_eq!(of(&site.world(), IMAGE), 2, "{}", site.describe());
    assert_eq!(site.plan().actions.len(), 0);
    locked(&site.world).broken.schedd = false;
    // Nothing needs them now: no new one is made to see whether it joins.
    site.policy.nodes_min = 0;
    site.until(15, "gone", |world| world.servers.is_empty());
    assert_eq!(site.most_servers, 2);
}

#[test]
fn what_takes_the_place_is_made_in_the_same_cloud_and_flavor() {
    let clouds = [
        ("blue", cloud(&[("medium", 4, 8192)])),
        (
            "green",
            cloud(&[("a-small", 2, 4096), ("b-large", 8, 16384)]),
        ),
    ];
    let mut site = Site::new(scenario(&clouds));
    site.policy.allocation = scaling::allocation::Allocation::FillFirst;
    site.policy.clouds.remove(0);
    site.submit(3, 8, 1024, 300);
    site.until(30, "done", |world| {
        world.unfinished() == 0 && world.servers.len() == 3
    });
    site.policy.nodes_min = 3;
    // Only green's image changes; blue comes first.
    let mut policies = locked(&site.world).scenario.cloud_policies();
    policies[1].image = "new".to_owned();
    site.policy.clouds = policies;
    let large = |world: &World| {
        let of_new = |server: &&SimulatedServer| image(server) == "new";
        world
            .servers
            .values()
            .filter(of_new)
            .map(|server| server.flavor.clone())
            .collect::<Vec<_>>()
    };
    site.until(10, "the first", |world| !large(world).is_empty());
    assert_eq!(large(&site.world()), ["b-large"]);
    until_worked(
        &mut site,
        60,
        "none of green's older image is left",
        |world| {
            world
                .servers
                .values()
                .all(|server| server.cloud == "blue" || image(server) == "new")
        },
    );
}

/// The fewest nodes that are up while all are replaced by those of the new image.
fn fewest_up(site: &mut Site, most: usize) -> usize {
    let nodes = up(&site.world());
    let mut fewest = nodes;
    for minute in 0..most {
        if minute == 20 {
            work(site);
        }
        site.tick();
        fewest = fewest.min(up(&site.world()));
        if of(&site.world(), IMAGE) == 0 && up(&site.world()) >= nodes {
            return fewest;
        }
    }
    panic!("not within {most} ticks\n{}", site.describe());
}

#[test]
fn most_of_a_pool_that_is_idle_stays_up_while_it_is_replaced() {
    for nodes_max in [12, 30] {
        let mut site = Site::simple();
        site.policy.nodes_min = 12;
        site.policy.nodes_max = nodes_max;
        site.until(30, "twelve are up", |world| up(world) == 12);
        configure(&mut site, "new");
        let fewest = fewest_up(&mut site, 120);
        assert!(fewest >= 9, "{fewest} of 12, nodes_max {nodes_max}");
    }
}

#[test]
fn a_cloud_that_gives_no_more_servers_keeps_most_of_what_it_has() {
    let mut site = Site::simple();
    site.policy.nodes_min = 12;
    site.policy.nodes_max = 12;
    site.until(30, "twelve are up", |world| up(world) == 12);
    configure(&mut site, "new");
    site.until(30, "one of the new image is up", |world| {
        let new = |server: &SimulatedServer| image(server) == "new" && server.startd.is_some();
        world.servers.values().any(new)
    });
    // Somebody else takes what becomes free.
    locked(&site.world).broken.spawn = Some("No valid host was found. ".to_owned());
    for _ in 0..120 {
        site.tick();
        assert!(up(&site.world()) >= 8, "{}", site.describe());
    }
}

#[test]
fn where_the_quota_has_no_room_for_another_none_is_given_up() {
    for proven in [false, true] {
        let mut site = Site::simple();
        site.policy.nodes_min = 4;
        site.until(20, "four are up", |world| up(world) == 4);
        if proven {
            configure(&mut site, "new");
            site.until(20, "one of the new image is up", |world| {
                let new =
                    |server: &SimulatedServer| image(server) == "new" && server.startd.is_some();
                world.servers.values().any(new)
            });
            work(&site);
            site.ticks(4);
            site.policy.nodes_min = 0;
            site.until(30, "none", |world| world.servers.is_empty());
            configure(&mut site, IMAGE);
            site.policy.nodes_min = 4;
            site.until(20, "four are up again", |world| up(world) == 4);
        }
        // The project may have less than it has: what goes does not come back.
        locked(&site.world)
            .scenario
            .clouds
            .get_mut("blue")
            .unwrap()
            .cores = Some(12);
        configure(&mut site, "new");
        site.ticks(30);
        assert_eq!(of(&site.world(), IMAGE), 4, "{}", site.describe());
        locked(&site.world)
            .scenario
            .clouds
            .get_mut("blue")
            .unwrap()
            .cores = Some(16);
        until_worked(&mut site, 60, "all are new", |world| {
            of(world, IMAGE) == 0 && of(world, "new") == 4 && up(world) == 4
        });
    }
}

/// The create of a successor would be held by `cores_max`: then no node is drained for it.
#[test]
fn where_cores_max_has_no_room_for_another_none_is_given_up() {
    for is_of_cloud in [false, true] {
        let mut site = Site::simple();
        site.policy.nodes_min = 4;
        site.until(20, "four are up", |world| up(world) == 4);
        let set = |site: &mut Site, cores: u64| match is_of_cloud {
            true => site.policy.clouds[0].cores_max = Some(cores),
            false => site.policy.cores_max = Some(cores),
        };
        // Four nodes of four cores are there.
        set(&mut site, 12);
        site.policy.idle_timeout = std::time::Duration::from_secs(86_400);
        configure(&mut site, "new");
        site.ticks(30);
        assert_eq!(of(&site.world(), IMAGE), 4, "{}", site.describe());
        set(&mut site, 16);
        until_worked(&mut site, 60, "all are new", |world| {
            of(world, IMAGE) == 0 && of(world, "new") == 4 && up(world) == 4
        });
    }
}

/// Lets another ehos with the same pool id look at the same site, with another image and its own state.
fn other_tick(site: &mut Site, image: &str, state: &mut State) {
    let (ours, own) = (site.policy.clone(), site.state.clone());
    configure(site, image);
    site.state = std::mem::take(state);
    site.tick();
    *state = std::mem::replace(&mut site.state, own);
    site.policy = ours;
}

#[test]
fn two_of_one_pool_with_different_images_do_not_replace_each_others_nodes_for_ever() {
    for nodes_min in [0, 4] {
        let mut site = Site::simple();
        site.policy.nodes_min = nodes_min;
        for minute in 0..30 {
            steady(&mut site, minute);
            site.tick();
        }
        let mut other = State::default();
        let mut made = std::collections::BTreeSet::new();
        let (mut drains, mut taken_back) = (0, 0);
        let for_image = |why: &Reason| {
            matches!(
                why,
                Reason::DrainOlderImage { .. } | Reason::DrainToTryImage { .. }
            )
        };
        for minute in 30..430u64 {
            steady(&mut site, minute);
            other_tick(&mut site, "new", &mut other);
            if minute < 80 {
                continue;
            }
            let theirs = site
                .plan()
                .nodes
                .iter()
                .filter(|node| for_image(&node.why))
                .count();
            taken_back += returns(&site);
            site.tick();
            let ours = site
                .plan()
                .nodes
                .iter()
                .filter(|node| for_image(&node.why))
                .count();
            taken_back += returns(&site);
            if minute >= 230 {
                made.extend(site.names());
                drains += theirs + ours;
            }
        }
        let servers = made.len();
        assert!(
            servers <= 5 && drains == 0 && taken_back <= 4,
            "nodes_min {nodes_min}: {servers} servers, {drains} drains, {taken_back} taken back"
        );
        nothing_was_killed(&site);
    }
}
