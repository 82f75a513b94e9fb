//! What is asked for is refused, or comes to nothing, for a long time: demand is served all the same, and nobody pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use scaling::action::{CloudAction, Done, Failure, FailureKind, PoolAction};
use scaling::allocation::Allocation;
use scaling::failure_tracking::Cause;
use scaling::observation::{CloudView, ServerRecord, ServerStatus};
use scaling::plan::NodeDecision;
use scaling::state::{NodeType, NodeTypeState};
use simulation::{World, locked, machine};
use system::deadline::Deadline;
use tick::backends::Backends as Asked;
use tick::cloud::{Cloud, LeftoverQuery};

use crate::refusing_pool::RefusingPool;
use crate::site::{Site, cloud, running, scenario};

fn refused(what: &str) -> Failure {
    Failure {
        kind: FailureKind::NotDone,
        message: format!("{what}: no connection"),
    }
}

/// Startds that cannot be told to go on.
fn deaf(action: &PoolAction) -> Option<Failure> {
    match action {
        PoolAction::CancelDrain { slot, .. } => Some(refused(slot)),
        _ => None,
    }
}

/// A cloud that takes no deletes, or lists no servers, while the switches are on.
struct BadCloud<'a> {
    cloud: Box<dyn Cloud + 'a>,
    no_deletes: Arc<AtomicBool>,
    empty: Arc<AtomicBool>,
}

impl Cloud for BadCloud<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }
    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        let mut view = self.cloud.observe(traces, deadline)?;
        if self.empty.load(Ordering::Relaxed) {
            view.servers.clear();
        }
        Ok(view)
    }
    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        self.cloud.look(server_id, deadline)
    }
    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        match action {
            CloudAction::Delete { .. } if self.no_deletes.load(Ordering::Relaxed) => {
                Err(refused("delete"))
            }
            _ => self.cloud.perform(action, deadline),
        }
    }
}

/// The switches `no_deletes` and `empty` of its clouds.
fn bad_clouds(site: &mut Site) -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let no_deletes = Arc::new(AtomicBool::new(false));
    let empty = Arc::new(AtomicBool::new(false));
    let switches = (Arc::clone(&no_deletes), Arc::clone(&empty));
    site.between = Box::new(move |mut asked: Asked<'_>| {
        let bad = |cloud| -> Box<dyn Cloud + '_> {
            Box::new(BadCloud {
                cloud,
                no_deletes: Arc::clone(&no_deletes),
                empty: Arc::clone(&empty),
            })
        };
        asked.clouds = asked.clouds.into_iter().map(bad).collect();
        asked
    });
    switches
}

fn drained(world: &World) -> bool {
    let mut startds = world
        .servers
        .values()
        .filter_map(|server| server.startd.as_ref());
    startds.any(|startd| startd.drain.is_some())
}

#[test]
fn a_drain_that_cannot_be_taken_back_holds_no_demand_for_ever() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    site.until(12, "a drain", drained);
    let id = site.names()[0].clone();
    site.between = Box::new(|mut asked: Asked<'_>| {
        asked.pool = Box::new(RefusingPool {
            pool: asked.pool,
            refusal: deaf,
        });
        asked
    });
    // It is not deleted before there is demand for it.
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.submit(2, 1, 1024, 120);
    site.ticks(2);
    locked(&site.world).broken.clouds.clear();
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::CancelDrain),
        1,
        "{}",
        site.describe()
    );
    site.until(40, "another node runs them", |world| {
        world.unfinished() == 0
    });
    site.until(60, "all go", |world| !world.servers.contains_key(&id));
}

#[test]
fn a_node_that_came_back_while_its_delete_failed_is_a_node_like_others() {
    let mut site = Site::simple();
    let (no_deletes, empty) = bad_clouds(&mut site);
    running(&mut site, 4, 120);
    site.until(12, "done", |world| world.unfinished() == 0);
    let id = site.names()[0].clone();
    locked(&site.world).cut_off(&id, true);
    no_deletes.store(true, Ordering::Relaxed);
    site.ticks(22);
    assert_eq!(
        site.plan().count(NodeDecision::Delete),
        1,
        "{}",
        site.describe()
    );
    locked(&site.world).cut_off(&id, false);
    no_deletes.store(false, Ordering::Relaxed);
    site.submit(4, 1, 1024, 1800);
    site.until(12, "all run there", |world| world.jobs_on(&id) == 4);
    site.ticks(3);
    // One list without it proves nothing.
    empty.store(true, Ordering::Relaxed);
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::Forget),
        0,
        "{}",
        site.describe()
    );
    assert!(site.world().ads.contains_key(&id), "its ads stay");
}

#[test]
fn a_cloud_that_is_configured_again_may_hold_any_number_of_nodes_until_it_answers() {
    let blue = cloud(&[("medium", 4, 8192)]);
    let green = cloud(&[("medium", 4, 8192)]);
    let mut site = Site::new(scenario(&[("blue", blue), ("green", green)]));
    site.policy.allocation = Allocation::FillFirst;
    site.policy.nodes_max = 4;
    running(&mut site, 16, 4 * 3600);
    let configured = site.policy.clouds.clone();
    site.policy.clouds.remove(0);
    let entry = locked(&site.world).scenario.clouds.remove_entry("blue");
    site.tick();
    site.policy.clouds = configured;
    locked(&site.world).scenario.clouds.extend(entry);
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.submit(16, 1, 1024, 600);
    // No tick makes more than nodes_max.
    site.ticks(10);
    assert_eq!(site.servers(), 4, "{}", site.describe());
}

#[test]
fn ads_of_a_machine_that_is_gone_do_not_take_those_of_its_namesake_along() {
    let mut site = Site::simple();
    site.policy.nodes_min = 2;
    site.ticks(8);
    let ids = site.names();
    assert_eq!(ids.len(), 2);
    for server in locked(&site.world).servers.values_mut() {
        server.name = "localhost".to_owned();
    }
    site.ticks(2);
    locked(&site.world).servers.remove(&ids[0]);
    let mut forgotten = false;
    for _ in 0..12 {
        site.tick();
        forgotten |= !site
            .state
            .nodes
            .values()
            .any(|node| node.server_id.as_ref() == Some(&ids[0]));
        let world = site.world();
        let ad = world.ads.get(&ids[1]);
        assert_eq!(
            ad.map(|ad| &*ad.machine),
            Some(&*machine("localhost")),
            "{}",
            site.describe()
        );
    }
    assert!(forgotten, "{}", site.describe());
}

#[test]
fn an_idle_node_whose_server_is_in_error_goes_too() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    // A migration that failed: it runs on.
    for server in locked(&site.world).servers.values_mut() {
        server.status = ServerStatus::Error;
    }
    site.until(12, "done", |world| world.unfinished() == 0);
    site.until(30, "it goes", |world| world.servers.is_empty());
}

#[test]
fn images_that_were_configured_once_are_forgotten() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    let used = site.state.node_types[0].node_type.clone();
    for number in 0..1000 {
        let image = format!("image-{number}");
        site.state.node_types.push(NodeTypeState::new(NodeType {
            image,
            ..used.clone()
        }));
    }
    let broken = NodeType {
        image: "broken".to_owned(),
        ..used.clone()
    };
    let now = site.state.now;
    site.state
        .count_failure(&broken, now, "broken", Cause::Boot, &site.policy);
    site.tick();
    assert!(
        site.state.node_types.len() < 10,
        "{}",
        site.state.node_types.len()
    );
    let kinds: Vec<&str> = site
        .state
        .node_types
        .iter()
        .map(|memory| &*memory.node_type.image)
        .collect();
    assert_eq!(kinds, [&*used.image, "broken"]);
}
