//! A neighbour in the project: servers with this pool's id that ehos did not make.

use std::time::Duration;

use scaling::observation::{
    METADATA_NODE, METADATA_ROLE, NodeId, builder_metadata, execute_metadata,
};
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::state::State;
use simulation::{IMAGE, locked};

use crate::site::Site;

fn forged(site: &Site, number: usize) -> String {
    let node = NodeId(format!("20260101T000000-{number:02}").into());
    let metadata = execute_metadata("pool-1", &node, "medium", IMAGE);
    let mut world = locked(&site.world);
    let id = world.create(
        "blue",
        &format!("ehos-v1-execute-{node}"),
        "medium",
        metadata,
    );
    world.servers.get_mut(&id).unwrap().joins_at = None;
    id
}

fn told(site: &Site) -> Vec<&String> {
    let notices = site.plan().notices.iter();
    notices
        .filter(|notice| notice.contains("ehos_proof"))
        .collect()
}

#[test]
fn forged_nodes_neither_serve_demand_nor_hold_nodes_max() {
    let mut site = Site::simple();
    site.policy.nodes_max = 2;
    // A state that knows its nodes.
    for _ in 0..40 {
        site.tick();
    }
    let forged = [forged(&site, 1), forged(&site, 2)];
    locked(&site.world).submit(4, 4, 1024, 600, false);
    site.until(60, "the jobs have run", |world| world.unfinished() == 0);
    for _ in 0..120 {
        site.tick();
        assert_eq!(told(&site).len(), 1, "{}", site.describe());
    }
    for id in &forged {
        assert!(
            locked(&site.world).servers.contains_key(id),
            "{id} was deleted"
        );
        assert!(told(&site)[0].contains(id.as_str()));
    }
    assert!(
        site.plan()
            .nodes
            .iter()
            .all(|node| node.phase.as_str() == "unsigned")
    );
    assert!(site.state.node_types.iter().all(|kind| kind.failures == 0));
}

#[test]
fn a_state_that_is_younger_than_a_boot_counts_them_towards_nodes_max() {
    let mut site = Site::simple();
    site.policy.nodes_max = 2;
    let (_, _) = (forged(&site, 1), forged(&site, 2));
    locked(&site.world).submit(4, 4, 1024, 600, false);
    for _ in 0..site.policy.boot_timeout.as_secs() / 60 {
        site.tick();
        assert_eq!(site.servers(), 2, "{}", site.describe());
        assert!(matches!(
            site.plan().nodes[0].why,
            Reason::Unsigned { counts: true }
        ));
    }
    site.until(60, "the jobs have run", |world| world.unfinished() == 0);
    assert!(matches!(
        site.plan().nodes[0].why,
        Reason::Unsigned { counts: false }
    ));
}

#[test]
fn a_forged_builder_is_not_deleted() {
    let mut site = Site::simple();
    let metadata = builder_metadata("pool-1", &NodeId("b-1".into()), Duration::ZERO);
    let id = locked(&site.world).create("blue", "ehos-v1-builder-b-1", "medium", metadata);
    for _ in 0..10 {
        site.tick();
        let line = &site.plan().builders[0];
        assert_eq!(
            (line.decision, &line.why),
            (NodeDecision::Keep, &Reason::Unsigned { counts: false })
        );
        assert!(told(&site)[0].contains(&id));
    }
    assert!(site.state.trust_server(&id));
    site.until(5, "it is gone", |world| world.servers.is_empty());
}

#[test]
fn a_copy_of_all_metadata_is_not_the_node() {
    let mut site = Site::simple();
    locked(&site.world).submit(1, 4, 1024, 3600, false);
    site.until(20, "the job runs", |world| {
        world.servers.values().any(|server| server.startd.is_some())
    });
    site.tick();
    let real = locked(&site.world).servers.values().next().unwrap().clone();
    let copy = {
        let mut world = locked(&site.world);
        let id = world.create("blue", &real.name, "medium", real.metadata.clone());
        world.servers.get_mut(&id).unwrap().joins_at = None;
        id
    };
    site.tick();
    let phase = |site: &Site, server: &str| {
        let memory = site.state.nodes.iter();
        let mut memory = memory.filter(|(_, memory)| memory.server_id.as_deref() == Some(server));
        let (id, memory) = memory.next().unwrap();
        (id.clone(), memory.unsigned.is_some())
    };
    assert_eq!(
        phase(&site, &real.id),
        (NodeId(real.metadata[METADATA_NODE].clone().into()), false)
    );
    assert_eq!(phase(&site, &copy), (NodeId(copy.clone().into()), true));
    // Without memory the startd says which one it is.
    site.state = State::default();
    site.tick();
    site.tick();
    assert!(!phase(&site, &real.id).1, "{}", site.describe());
    assert!(phase(&site, &copy).1);
    site.until(240, "the node has gone", |world| {
        !world.servers.contains_key(&real.id)
    });
    for _ in 0..300 {
        site.tick();
    }
    assert!(
        locked(&site.world).servers.contains_key(&copy),
        "the copy was deleted"
    );
}

#[test]
fn a_lost_key_costs_no_node_that_the_state_knows_and_none_that_has_joined() {
    for lose_state in [false, true] {
        let mut site = Site::simple();
        locked(&site.world).submit(1, 4, 1024, 7200, false);
        site.until(20, "the job runs", |world| {
            world.servers.values().any(|server| server.startd.is_some())
        });
        site.tick();
        for server in locked(&site.world).servers.values_mut() {
            server.metadata.remove("ehos_proof");
        }
        if lose_state {
            site.state = State::default();
        }
        site.tick();
        site.tick();
        assert!(told(&site).is_empty(), "{}", site.describe());
        site.until(240, "job and node are done", |world| {
            world.unfinished() == 0 && world.servers.is_empty()
        });
    }
}

#[test]
fn an_operator_may_say_that_a_server_is_of_this_pool() {
    let mut site = Site::simple();
    let id = forged(&site, 1);
    site.tick();
    assert!(!site.state.trust_server("another"));
    assert!(site.state.trust_server(&id));
    site.until(300, "it has failed", |world| world.servers.is_empty());
    assert!(told(&site).is_empty());
}

#[test]
fn a_floating_ip_of_a_forged_node_stays_and_so_does_what_it_leaves_behind() {
    let mut site = Site::simple();
    site.policy.purge_floating_ips = true;
    let id = forged(&site, 1);
    {
        let mut world = locked(&site.world);
        world.broken.leaks = true;
        let thing = simulation::SimulatedThing {
            kind: scaling::leftover::LeftoverKind::FloatingIp,
            cloud: "blue".to_owned(),
            server: Some(id.clone()),
            mark: String::new(),
            stays: false,
        };
        world.things.insert("ip".to_owned(), thing);
    }
    for _ in 0..5 {
        site.tick();
        assert!(site.plan().floating_ips.is_empty());
    }
    let record = locked(&site.world).servers[&id].metadata[METADATA_ROLE].clone();
    assert_eq!(record, "execute");
    locked(&site.world).servers.remove(&id);
    for _ in 0..5 {
        site.tick();
    }
    assert!(site.state.nodes.is_empty() && site.state.departed.is_empty());
}
