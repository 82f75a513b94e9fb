//! Servers that become images: no nodes, no capacity, and not for ever.

use std::time::Duration;

use scaling::observation::{NodeId, builder_metadata, master_metadata};
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::seconds::Seconds;
use scaling::state::State;
use simulation::locked;

use crate::site::Site;

fn builder(site: &Site, lifetime_minutes: u64) -> String {
    let lifetime = Duration::from_secs(lifetime_minutes * 60);
    let number = locked(&site.world).servers.len() + 1;
    let metadata = builder_metadata("pool-1", &NodeId(format!("b-{number}").into()), lifetime);
    locked(&site.world).create_signed("blue", "ehos-v1-builder-b-1", "medium", metadata)
}

#[test]
fn a_forgotten_builder_goes_when_two_looks_have_found_it_too_old() {
    let mut site = Site::simple();
    let id = builder(&site, 30);
    for _ in 0..30 {
        site.tick();
        let line = &site.plan().builders[0];
        assert_eq!(
            (line.server.as_str(), line.decision),
            (id.as_str(), NodeDecision::Keep)
        );
        assert!(site.plan().nodes.is_empty(), "it is no node");
    }
    site.tick();
    let once = Reason::BuilderExpiredOnce {
        age_seconds: Seconds(31 * 60),
        lifetime_seconds: Seconds(30 * 60),
    };
    assert_eq!(site.plan().builders[0].why, once);
    assert_eq!(site.servers(), 1);
    // Without memory the first look is the first one again.
    site.state = State::default();
    site.tick();
    assert_eq!(site.plan().builders[0].decision, NodeDecision::Keep);
    site.tick();
    let line = &site.plan().builders[0];
    assert_eq!(line.decision, NodeDecision::Delete);
    let expired = Reason::BuilderExpired {
        age_seconds: Seconds(33 * 60),
        lifetime_seconds: Seconds(30 * 60),
    };
    assert_eq!(line.why, expired);
    site.tick();
    assert_eq!(site.servers(), 0);
    assert!(site.plan().builders.is_empty() && site.state.builders.is_empty());
}

#[test]
fn it_needs_its_cloud_and_no_collector() {
    let mut site = Site::simple();
    builder(&site, 5);
    locked(&site.world).broken.clouds.push("blue".to_owned());
    site.ticks(20);
    assert_eq!(site.servers(), 1, "what is not seen is not touched");
    {
        let mut world = locked(&site.world);
        world.broken.clouds.clear();
        world.broken.collector = true;
        world.broken.schedd = true;
    }
    site.ticks(3);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn its_delete_is_asked_for_again_after_delete_timeout() {
    let mut site = Site::simple();
    builder(&site, 5);
    locked(&site.world).broken.deletes = true;
    let mut asked = 0;
    for _ in 0..19 {
        site.tick();
        asked += site.plan().actions.len();
    }
    assert_eq!(asked, 3, "in the 7th, 12th and 17th minute");
    assert!(matches!(
        site.plan().builders[0].why,
        Reason::DeleteUnderWay {
            seconds: Seconds(120)
        }
    ));
    locked(&site.world).broken.deletes = false;
    site.until(6, "gone", |world| world.servers.is_empty());
}

#[test]
fn builders_and_masters_are_neither_nodes_nor_capacity() {
    let mut site = Site::simple();
    site.policy.nodes_max = 1;
    site.policy.max_actions = 1;
    builder(&site, 10);
    let master = locked(&site.world).create("blue", "cm", "medium", master_metadata("pool-1"));
    site.submit(4, 1, 1024, 1800);
    site.tick();
    assert_eq!(site.created(), 1, "{}", site.describe());
    site.until(15, "the builder is gone", |world| world.servers.len() == 2);
    site.until(60, "the node too", |world| world.servers.len() == 1);
    site.ticks(30);
    assert_eq!(site.names(), [master]);
}

#[test]
fn what_runs_a_job_does_not_go_and_serves_no_demand() {
    let mut site = Site::simple();
    let id = builder(&site, 5);
    locked(&site.world).servers.get_mut(&id).unwrap().joins_at = Some(3700);
    site.ticks(3);
    assert!(!site.world().ads.is_empty(), "its image joins the pool");
    site.submit(4, 1, 1024, 1200);
    locked(&site.world).broken.negotiator = true;
    site.ticks(3);
    assert_eq!(site.servers(), 2, "a node is made\n{}", site.describe());
    locked(&site.world).broken.negotiator = false;
    let took = site.until(60, "all gone", |world| world.servers.is_empty());
    assert!(took > 19, "{took}");
    assert!(site.world().jobs.iter().all(|job| job.starts == 1));
}

#[test]
fn deletes_of_builders_count_towards_max_actions() {
    let mut site = Site::simple();
    site.policy.max_actions = 2;
    for _ in 0..5 {
        builder(&site, 1);
    }
    site.ticks(2);
    assert_eq!(site.plan().actions.len(), 0);
    let mut most = 0;
    for _ in 0..3 {
        site.tick();
        most = most.max(site.plan().actions.len());
    }
    assert_eq!(most, 2);
    site.tick();
    assert_eq!(site.servers(), 0);
}
