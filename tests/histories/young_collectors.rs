//! A collector that has just started hides startds. Where none can be hidden, creates do not wait for it.

use scaling::brakes::Brake;
use scaling::observation::Resources;
use scaling::state::{State, UnmanagedMachines};
use simulation::{SimulatedAd, SimulatedStartd};

use crate::site::{Site, minutes, running};

/// A site whose collector starts at this moment.
fn new_site() -> Site {
    let mut site = Site::simple();
    site.policy.max_unproven = 10;
    site.world().restart_collector();
    site
}

/// A startd that ehos does not manage, without room for a job.
fn unmanaged_machine(site: &Site) {
    let mut world = site.world();
    let (machine, server) = ("static-1.pool".to_owned(), "static-1".to_owned());
    let startd = SimulatedStartd {
        started: world.now,
        total: Resources::default(),
        unchanged_since: world.now,
        drain: None,
        drains: 0,
        closed: false,
    };
    let ad = SimulatedAd {
        machine,
        server: server.clone(),
        node: None,
        startd,
        free: Resources::default(),
        claims: 0,
        heard: world.now,
        late: 0,
    };
    world.ads.insert(server, ad);
}

/// Ticks while the collector is young: creates, and whether the report says that creates continue.
fn while_young(site: &mut Site) -> (usize, bool) {
    let mut created = 0;
    let mut continues = false;
    for _ in 0..5 {
        site.tick();
        created += site.created();
        let young = site.plan().brakes.iter().find_map(|brake| match brake {
            Brake::CollectorYoung {
                creates_continue, ..
            } => Some((*creates_continue, brake.stops_creates())),
            _ => None,
        });
        let (told, stops) = young.expect("it is young, and stops deletes");
        assert_eq!(told, !stops);
        continues |= told;
    }
    (created, continues)
}

#[test]
fn the_first_jobs_of_a_new_pool_do_not_wait_for_the_collector() {
    let mut site = new_site();
    site.submit(4, 1, 1024, 600);
    site.tick();
    assert_eq!(site.created(), 1, "{}", site.describe());
    // A node that has not joined is coming capacity: nothing of it can be hidden.
    site.submit(4, 1, 1024, 600);
    site.tick();
    assert_eq!(site.created(), 1, "{}", site.describe());
    site.until(25, "done", |world| world.unfinished() == 0);
    assert_eq!(site.state.unmanaged, UnmanagedMachines::NeverSeen);
}

#[test]
fn where_all_nodes_are_heard_of_creates_do_not_wait_for_the_collector() {
    let mut site = Site::simple();
    running(&mut site, 4, 6000);
    site.world().restart_collector();
    site.submit(4, 1, 1024, 600);
    assert_eq!(while_young(&mut site), (1, true), "{}", site.describe());
}

#[test]
fn a_young_collector_still_stops_deletes_and_drains() {
    let mut site = Site::simple();
    running(&mut site, 4, 300);
    site.until(12, "done", |world| world.unfinished() == 0);
    site.policy.idle_timeout = minutes(0);
    site.world().restart_collector();
    for _ in 0..5 {
        assert!(site.tick().actions.is_empty(), "{}", site.describe());
    }
}

#[test]
fn where_an_unmanaged_machine_was_seen_creates_wait_for_the_collector() {
    let mut site = Site::simple();
    unmanaged_machine(&site);
    site.tick();
    assert_eq!(site.state.unmanaged, UnmanagedMachines::Seen);
    site.world().restart_collector();
    site.submit(4, 1, 1024, 600);
    assert_eq!(while_young(&mut site), (0, false), "{}", site.describe());
    site.ticks(2);
    assert_eq!(site.servers(), 1, "then it goes on\n{}", site.describe());
}

#[test]
fn where_a_node_may_have_joined_creates_wait_for_the_collector() {
    let mut site = Site::simple();
    running(&mut site, 4, 6000);
    site.world().restart_collector();
    // Its startd does not reach the new collector.
    let id = site.names().remove(0);
    site.world().cut_off(&id, true);
    site.submit(4, 1, 1024, 600);
    assert_eq!(while_young(&mut site), (0, false), "{}", site.describe());
    // The same with a state that is lost: the server is adopted.
    site.state = State::default();
    site.world().restart_collector();
    assert_eq!(while_young(&mut site), (0, false), "{}", site.describe());
}

#[test]
fn a_state_of_an_older_ehos_and_an_unknown_cloud_keep_the_brake() {
    let mut site = new_site();
    site.submit(4, 1, 1024, 600);
    let mut old = serde_json::to_value(State::default()).unwrap();
    old.as_object_mut().unwrap().remove("unmanaged").unwrap();
    site.state = serde_json::from_value(old).unwrap();
    assert_eq!(while_young(&mut site), (0, false), "{}", site.describe());

    let mut site = new_site();
    site.submit(4, 1, 1024, 600);
    site.tick();
    site.world().broken.clouds = vec!["blue".to_owned()];
    site.submit(4, 1, 1024, 600);
    site.tick();
    assert!(
        site.plan().brakes.iter().any(Brake::stops_creates),
        "{}",
        site.describe()
    );
}
