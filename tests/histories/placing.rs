//! Where nodes are put: zones and flavors without room are passed over, and GPUs are where their flavor says.

use scaling::plan::{NodeDecision, NodeEntry};
use simulation::{JobState, locked};

use crate::site::{Site, cloud, scenario};

/// The nodes that the last tick made.
fn made(site: &Site) -> Vec<NodeEntry> {
    let nodes = site.plan().nodes.iter();
    nodes
        .filter(|node| node.decision == NodeDecision::Create)
        .cloned()
        .collect()
}

fn full(site: &Site, what: &str, is: bool) {
    let mut world = locked(&site.world);
    if is {
        world.broken.full.insert(what.to_owned());
    } else {
        world.broken.full.remove(what);
    }
}

fn zoned(zones: &[&str]) -> Site {
    let mut site = Site::simple();
    site.policy.clouds[0].zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
    site
}

fn zones(nodes: &[NodeEntry]) -> Vec<&str> {
    let zones = nodes.iter().map(|node| node.zone.as_deref());
    zones.map(Option::unwrap_or_default).collect()
}

fn runs(world: &simulation::World) -> bool {
    let mut jobs = world.jobs.iter();
    jobs.all(|job| matches!(job.state, JobState::Running { .. }))
}

#[test]
fn a_full_zone_is_passed_over_in_the_next_tick() {
    let mut site = zoned(&["z1", "z2"]);
    full(&site, "z1", true);
    site.submit(8, 1, 1024, 3600);
    site.tick();
    assert_eq!(zones(&made(&site)), ["z1", "z2"]);
    site.tick();
    assert_eq!(
        zones(&made(&site)),
        ["z2"],
        "in the place of the one that found no room:\n{}",
        site.describe()
    );
    let notices = &site.plan().notices;
    assert!(
        notices
            .iter()
            .any(|it| it.contains("zone z1 in backoff for medium, for 5 min")),
        "{notices:?}"
    );
    let mut kinds = site.state.node_types.iter();
    assert!(
        kinds.all(|kind| kind.failures == 0),
        "the flavor does not wait"
    );
    site.until(12, "all run", runs);
    // Later nodes are spread again, when there is room.
    full(&site, "z1", false);
    site.ticks(10);
    site.submit(8, 1, 1024, 3600);
    site.until(3, "more are asked for", |world| world.servers.len() > 2);
    assert_eq!(zones(&made(&site)), ["z1", "z1"], "{}", site.describe());
}

#[test]
fn when_every_zone_is_full_the_flavor_waits() {
    let mut site = zoned(&["z1", "z2"]);
    full(&site, "z1", true);
    full(&site, "z2", true);
    site.submit(4, 1, 1024, 3600);
    let mut asked = 0;
    for _ in 0..60 {
        site.tick();
        asked += site.created();
    }
    assert!((4..=14).contains(&asked), "{asked} servers in an hour");
    let groups = &site.plan().groups;
    let why: Vec<String> = groups[0].why.iter().map(ToString::to_string).collect();
    assert!(
        why.join("; ").contains("backoff of medium in blue"),
        "{why:?}"
    );
    assert_eq!(site.state.protected(&site.policy), []);
    full(&site, "z2", false);
    site.until(90, "all run", runs);
}

#[test]
fn a_flavor_without_a_host_leaves_its_place_to_the_next() {
    let flavors = [("a-large", 8, 16384), ("b-small", 4, 8192)];
    let mut site = Site::new(scenario(&[("blue", cloud(&flavors))]));
    full(&site, "a-large", true);
    site.submit(4, 1, 1024, 3600);
    site.tick();
    assert_eq!(made(&site)[0].flavor, "a-large");
    site.tick();
    let next = made(&site);
    assert_eq!(next.len(), 1, "{}", site.describe());
    assert_eq!(next[0].flavor, "b-small");
    assert!(
        site.describe().contains("failed: No valid host was found."),
        "{}",
        site.describe()
    );
    site.until(12, "all run", runs);
}

#[test]
fn a_job_that_asks_for_a_gpu_makes_a_node_of_a_flavor_with_one() {
    let flavors = [("a-plain", 4, 8192), ("b-gpu", 4, 8192)];
    let mut scene = scenario(&[("blue", cloud(&flavors))]);
    let blue = scene.clouds.get_mut("blue").unwrap();
    blue.flavors.get_mut("b-gpu").unwrap().gpus = 2;
    let mut site = Site::new(scene);
    site.submit(2, 1, 1024, 3600);
    for job in &mut locked(&site.world).jobs {
        job.request.gpus = 1;
    }
    site.tick();
    let first = made(&site);
    assert_eq!(first.len(), 1, "{}", site.describe());
    assert_eq!(first[0].flavor, "b-gpu");
    site.until(12, "both run", runs);
    assert_eq!(site.servers(), 1);

    // More than any flavor has.
    site.submit(1, 1, 1024, 3600);
    for job in &mut locked(&site.world).jobs {
        if matches!(job.state, JobState::Idle(_)) {
            job.request.gpus = 3;
        }
    }
    site.ticks(3);
    assert_eq!(site.servers(), 1);
    assert!(
        site.describe().contains(
            "no flavor is large enough: requested 3 GPUs; largest node 2 GPUs (b-gpu in blue)"
        ),
        "{}",
        site.describe()
    );
}

#[test]
fn all_hosts_tried_waits_and_protects_from_nothing() {
    for hard in [false, true] {
        let mut site = Site::simple();
        site.policy.clouds[0].hard_server_group = hard;
        site.policy.protect_after = 1;
        locked(&site.world).broken.spawn = Some(
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance 9."
                .to_owned(),
        );
        site.submit(4, 1, 1024, 3600);
        site.ticks(3);
        let protected = site.state.protected(&site.policy);
        assert!(protected.is_empty(), "{hard}: {protected:?}");
        assert_eq!(
            site.state.node_types[0].failures, 1,
            "it waits in either case"
        );
    }
}
