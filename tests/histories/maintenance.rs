//! What operators request: pauses, kept nodes, drains and deletes of single nodes.

use jiff::Timestamp;
use scaling::action::{CloudAction, Failure, FailureKind, PoolAction};
use scaling::limits::Limit;
use scaling::maintenance::{DeleteRequest, DrainRequest, Keep, NodeChange, OperatorPause};
use scaling::observation::NodeId;
use scaling::plan::{Action, NodeDecision};
use scaling::reason::Reason;
use simulation::{JobState, locked};

use crate::refusing_pool::RefusingPool;
use crate::site::{Site, cloud, running, scenario};

const HOUR: u64 = 3600;

fn now(site: &Site) -> Timestamp {
    site.state.last_tick.unwrap_or_default()
}

fn by() -> String {
    "alice".to_owned()
}

fn pause(site: &Site, minutes: Option<i64>, deletes: bool) -> OperatorPause {
    let since = now(site);
    OperatorPause {
        since,
        until: minutes.map(|minutes| since + jiff::SignedDuration::from_mins(minutes)),
        deletes,
        reason: Some("storage".to_owned()),
        by: by(),
        retiring: false,
    }
}

fn keep(site: &mut Site, node: &NodeId, minutes: Option<i64>) {
    let since = now(site);
    let until = minutes.map(|minutes| since + jiff::SignedDuration::from_mins(minutes));
    let keep = Keep {
        since,
        until,
        by: by(),
    };
    site.state.nodes.get_mut(node).unwrap().requests.keep = Some(keep.into());
}

fn drain(site: &mut Site, node: &NodeId, replace: bool) {
    let since = now(site);
    let request = DrainRequest {
        since,
        by: by(),
        replace,
    };
    site.state.nodes.get_mut(node).unwrap().requests.drain = Some(request.into());
}

fn delete(site: &mut Site, node: &NodeId) {
    let since = now(site);
    let request = DeleteRequest { since, by: by() };
    site.state.nodes.get_mut(node).unwrap().requests.delete = Some(request.into());
}

fn node(site: &Site, position: usize) -> NodeId {
    site.state.nodes.keys().nth(position).unwrap().clone()
}

/// The reason of a node in the last plan.
fn why(site: &Site, node: &NodeId) -> Reason {
    let nodes = &site.plan().nodes;
    let entry = nodes.iter().find(|entry| entry.node == *node);
    entry.unwrap().why.clone()
}

/// A site with `nodes` busy nodes of 4 cores, whose jobs run for `seconds`.
fn busy(nodes: u64, seconds: u64) -> Site {
    let mut site = Site::simple();
    running(&mut site, 4 * nodes, seconds);
    assert_eq!(site.servers() as u64, nodes, "{}", site.describe());
    site
}

/// The number of nodes that this plan drains or deletes.
fn ends(site: &Site) -> usize {
    site.plan().count(NodeDecision::Drain) + site.plan().count(NodeDecision::Delete)
}

#[test]
fn a_pause_creates_nothing_until_it_ends_and_deletes_what_is_idle() {
    let mut site = busy(1, 300);
    site.state.paused = Some(pause(&site, Some(30), false));
    site.submit(8, 1, 1024, 60);
    site.policy.nodes_spare = scaling::schedule::Spare::Count(1);
    let mut idle = 0;
    for _ in 0..29 {
        site.tick();
        assert_eq!(site.created(), 0, "{}", site.describe());
        idle += ends(&site);
    }
    let entry = &site.plan().pauses[0];
    assert_eq!(entry.cloud, None);
    assert_eq!(entry.pause.by, "alice");
    assert_eq!(idle, 0, "the spare node stays");
    site.submit(8, 1, 1024, 60);
    site.tick();
    site.tick();
    site.tick();
    assert!(site.plan().pauses.is_empty());
    assert!(site.servers() > 1, "{}", site.describe());
    // The entry has ended and stays: a clock that returns ends it once more, and not for good.
    assert!(site.state.paused.is_some());
}

#[test]
fn a_job_that_waits_in_a_pause_has_its_reason_and_the_other_cloud() {
    let blue = cloud(&[("medium", 4, 8192)]);
    let mut site = Site::new(scenario(&[("blue", blue.clone()), ("green", blue)]));
    site.tick();
    let entry = pause(&site, None, false);
    site.state
        .paused_clouds
        .insert("blue".to_owned(), entry.clone());
    site.submit(4, 1, 1024, 60);
    site.until(5, "a node in green", |world| !world.servers.is_empty());
    assert!(
        site.world()
            .servers
            .values()
            .all(|server| server.cloud == "green")
    );
    site.state.paused_clouds.insert("green".to_owned(), entry);
    site.submit(40, 1, 1024, 60);
    site.ticks(2);
    let reasons = site.plan().groups.iter().flat_map(|group| &group.why);
    let limits: Vec<String> = reasons
        .filter_map(|why| match why {
            Reason::Limited { limit, .. } => Some(limit),
            _ => None,
        })
        .map(|limit| {
            assert!(matches!(limit, Limit::OperatorPause { .. }), "{limit}");
            limit.to_string()
        })
        .collect();
    assert_eq!(
        limits,
        ["`ehos pause` of cloud blue by alice: storage; end it with `ehos resume blue`"],
        "{}",
        site.describe()
    );
}

#[test]
fn a_pause_of_deletes_neither_drains_nor_deletes() {
    let mut site = busy(2, 120);
    site.state
        .paused_clouds
        .insert("blue".to_owned(), pause(&site, None, true));
    for _ in 0..30 {
        site.tick();
        assert_eq!(ends(&site), 0, "{}", site.describe());
    }
    assert!(matches!(why(&site, &node(&site, 0)), Reason::Paused { .. }));
    // An explicit delete is not held up, and a drain is.
    let (first, second) = (node(&site, 0), node(&site, 1));
    delete(&mut site, &first);
    drain(&mut site, &second, false);
    site.ticks(5);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    site.state.paused_clouds.clear();
    site.ticks(5);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn a_kept_node_outlives_every_rule_and_counts_as_a_node() {
    let mut site = busy(3, 120);
    let kept = node(&site, 1);
    keep(&mut site, &kept, None);
    site.policy.nodes_min = 1;
    site.policy.max_lifetime = Some(std::time::Duration::from_secs(600));
    site.policy.max_lifetime_kill = Some(std::time::Duration::from_secs(600));
    for cloud in &mut site.policy.clouds {
        cloud.retire = true;
    }
    site.ticks(120);
    assert_eq!(
        site.state.nodes.keys().collect::<Vec<_>>(),
        [&kept],
        "{}",
        site.describe()
    );
    assert_eq!(site.servers(), 1);
    assert!(
        matches!(why(&site, &kept), Reason::Kept { .. }),
        "{}",
        site.describe()
    );
    assert_eq!(site.plan().kept.as_ref().unwrap().nodes, 1);
    // It satisfies nodes_min, and runs jobs.
    assert_eq!(site.created(), 0);
    site.submit(4, 1, 1024, 60);
    site.until(5, "the jobs run on it", |world| {
        world
            .jobs
            .iter()
            .all(|job| !matches!(job.state, JobState::Idle(_)))
    });
    let requests = &mut site.state.nodes.get_mut(&kept).unwrap().requests;
    requests.keep = None;
    site.until(30, "it goes as the others", |world| {
        world.servers.is_empty()
    });
}

#[test]
fn a_keep_that_has_ended_does_not_begin_anew_with_the_clock() {
    let mut site = Site::simple();
    site.policy.nodes_min = 1;
    site.ticks(6);
    let node = site.plan().nodes[0].node.clone();
    keep(&mut site, &node, Some(2));
    site.ticks(4);
    let request = DeleteRequest {
        since: now(&site),
        by: by(),
    };
    let changed = site.state.request_delete(&node, request);
    assert_eq!(changed, Some(NodeChange::Changed));
    locked(&site.world).clock_ahead = -1080;
    site.tick();
    let decision = site.plan().nodes[0].decision;
    assert_eq!(decision, NodeDecision::Delete, "{}", site.describe());
}

#[test]
fn a_keep_ends_by_itself_and_a_server_that_vanishes_is_forgotten() {
    let mut site = busy(2, 120);
    let (first, second) = (node(&site, 0), node(&site, 1));
    keep(&mut site, &first, Some(60));
    keep(&mut site, &second, None);
    site.ticks(55);
    assert_eq!(site.servers(), 2, "{}", site.describe());
    site.ticks(10);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    site.world().servers.clear();
    site.ticks(30);
    assert!(site.state.nodes.is_empty(), "{}", site.describe());
    assert!(site.plan().kept.is_none());
}

#[test]
fn a_kept_node_gets_its_drain_cancelled() {
    let mut site = busy(1, 60);
    site.until(30, "it is drained", |world| {
        world.servers.values().any(|server| {
            let startd = server.startd.as_ref();
            startd.is_some_and(|startd| startd.drain.is_some())
        })
    });
    let kept = node(&site, 0);
    keep(&mut site, &kept, None);
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::CancelDrain),
        1,
        "{}",
        site.describe()
    );
    site.ticks(30);
    assert_eq!(site.servers(), 1, "{}", site.describe());
    assert_eq!(ends(&site), 0);
}

#[test]
fn a_surplus_is_counted_without_kept_nodes() {
    let mut site = busy(3, 120);
    let kept = node(&site, 0);
    keep(&mut site, &kept, None);
    site.policy.nodes_spare = scaling::schedule::Spare::Count(2);
    site.ticks(40);
    assert_eq!(
        site.servers(),
        2,
        "the kept node is one of the two: {}",
        site.describe()
    );
}

#[test]
fn a_requested_drain_waits_for_the_jobs_and_serves_no_demand() {
    let mut site = busy(2, 600);
    let drained = node(&site, 0);
    drain(&mut site, &drained, false);
    // The other node is kept by what waits when the jobs have ended.
    site.submit(4, 1, 1024, HOUR);
    let mut seen = false;
    for _ in 0..25 {
        site.tick();
        seen |= matches!(why_if(&site, &drained), Some(Reason::DrainRequested { .. }));
    }
    assert!(seen, "{}", site.describe());
    let there = site.state.nodes.contains_key(&drained);
    assert!(!there, "{}", site.describe());
    assert!(site.world().jobs.iter().all(|job| job.starts <= 1));
}

fn why_if(site: &Site, node: &NodeId) -> Option<Reason> {
    let mut nodes = site.plan().nodes.iter();
    let entry = nodes.find(|entry| entry.node == *node)?;
    Some(entry.why.clone())
}

#[test]
fn a_drain_that_replaces_makes_up_the_minimum_first_and_takes_turns() {
    let mut site = Site::simple();
    site.policy.nodes_min = 4;
    site.ticks(8);
    let nodes: Vec<NodeId> = site.state.nodes.keys().cloned().collect();
    for node in &nodes {
        drain(&mut site, node, true);
    }
    site.tick();
    assert!(site.created() > 0, "{}", site.describe());
    let away = |site: &Site| site.plan().count(NodeDecision::Drain);
    assert!(away(&site) <= 2, "{}", site.describe());
    site.ticks(40);
    assert!(
        nodes
            .iter()
            .all(|node| !site.state.nodes.contains_key(node))
    );
    assert_eq!(site.servers(), 4, "{}", site.describe());

    // Without a replacement they go at once; then the minimum is made up again.
    let nodes: Vec<NodeId> = site.state.nodes.keys().cloned().collect();
    for node in &nodes {
        drain(&mut site, node, false);
    }
    site.tick();
    assert_eq!(away(&site), 4, "{}", site.describe());
}

#[test]
fn a_withdrawn_drain_is_cancelled() {
    let mut site = Site::simple();
    site.policy.nodes_min = 2;
    site.ticks(8);
    let drained = node(&site, 0);
    drain(&mut site, &drained, false);
    site.policy.nodes_min = 1;
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::Drain),
        1,
        "{}",
        site.describe()
    );
    site.state.nodes.get_mut(&drained).unwrap().requests.drain = None;
    site.tick();
    let cancelled = |why: &Reason| matches!(why, Reason::DrainWithdrawn);
    assert!(cancelled(&why(&site, &drained)), "{}", site.describe());
    // One of both is surplus now: the one that has been idle for longer.
    site.ticks(2);
    let there = site.state.nodes.contains_key(&drained);
    assert!(there, "{}", site.describe());
}

#[test]
fn a_requested_delete_ends_its_jobs_and_those_of_no_other_node() {
    let mut site = busy(2, HOUR);
    let gone = node(&site, 0);
    delete(&mut site, &gone);
    let server = site.state.nodes[&gone].server_id.clone().unwrap();
    site.world().condemned.insert(server);
    site.tick();
    let expected = Reason::DeleteRequested {
        by: by(),
        claims: 4,
    };
    assert_eq!(why(&site, &gone), expected, "{}", site.describe());
    site.ticks(3);
    assert!(!site.state.nodes.contains_key(&gone), "{}", site.describe());
    // A schedd gives up a job whose machine is gone when its lease ends.
    site.ticks(120);
    let world = site.world();
    let again = world.jobs.iter().filter(|job| job.starts > 1);
    assert_eq!(again.count(), 4);
}

#[test]
fn neither_a_brake_nor_a_drain_that_waits_holds_up_a_requested_delete() {
    for busy_node in [false, true] {
        let mut site = busy(1, if busy_node { HOUR } else { 60 });
        site.policy.nodes_min = 1;
        site.ticks(3);
        let gone = node(&site, 0);
        drain(&mut site, &gone, true);
        delete(&mut site, &gone);
        let server = site.state.nodes[&gone].server_id.clone().unwrap();
        site.world().condemned.insert(server);
        site.world().broken.schedd = true;
        site.tick();
        assert!(!site.plan().brakes.is_empty());
        let deleted = matches!(why(&site, &gone), Reason::DeleteRequested { .. });
        assert!(deleted, "{}", site.describe());
        site.ticks(2);
        assert!(!site.state.nodes.contains_key(&gone), "{}", site.describe());
    }
}

#[test]
fn a_node_that_fails_when_its_delete_is_requested_is_deleted_once() {
    let site = || {
        let mut site = Site::simple();
        site.world().broken.image = true;
        site.policy.nodes_min = 1;
        site
    };
    let fails_after = {
        let mut site = site();
        let fails = |site: &Site| site.plan().count(NodeDecision::Delete) > 0;
        (0..60).find(|_| {
            site.tick();
            fails(&site)
        })
    };
    let mut site = site();
    site.ticks(fails_after.expect("a node that never joins is deleted"));
    let gone = node(&site, 0);
    delete(&mut site, &gone);
    site.tick();
    let deletes = site.plan().actions.iter().filter(|action| {
        matches!(action, Action::Cloud { action: CloudAction::Delete { node, .. }, .. } if *node == gone)
    });
    assert_eq!(deletes.count(), 1, "{}", site.describe());
    let requested = matches!(why(&site, &gone), Reason::DeleteRequested { .. });
    assert!(requested, "{}", site.describe());
}

/// Their startds refuse each drain: a job starts each time, or another server has the same name.
#[test]
fn nodes_that_are_never_drained_do_not_keep_the_others_from_their_turn() {
    let mut site = Site::simple();
    site.policy.nodes_min = 8;
    site.ticks(8);
    let nodes: Vec<NodeId> = site.state.nodes.keys().cloned().collect();
    for node in &nodes {
        drain(&mut site, node, true);
    }
    site.between = Box::new(|mut asked| {
        let refusal = |action: &PoolAction| {
            let refuses =
                matches!(action, PoolAction::Drain { node, .. } if node.0.contains("t090100-"));
            refuses.then(|| Failure {
                kind: FailureKind::NotIdle,
                message: "Draining check expression is false".to_owned(),
            })
        };
        asked.pool = Box::new(RefusingPool {
            pool: asked.pool,
            refusal,
        });
        asked
    });
    site.ticks(60);
    let left = nodes
        .iter()
        .filter(|node| site.state.nodes.contains_key(*node));
    assert_eq!(left.count(), 3, "{}", site.describe());
}

#[test]
fn a_node_that_takes_no_jobs_waits_for_no_replacement() {
    let mut site = Site::simple();
    site.policy.nodes_min = 1;
    site.ticks(8);
    let gone = node(&site, 0);
    site.policy.nodes_min = 0;
    for server in site.world().servers.values_mut() {
        server.startd.as_mut().unwrap().closed = true;
    }
    drain(&mut site, &gone, true);
    site.ticks(6);
    assert!(!site.state.nodes.contains_key(&gone), "{}", site.describe());
}
