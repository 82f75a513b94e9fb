//! Ads of a node whose delete was accepted: they leave the collector in the same tick, and nothing hangs on them.

use scaling::action::{Done, Failure, FailureKind, PoolAction};
use scaling::brakes::Brake;
use scaling::plan::{Action, NodeDecision};
use scaling::reason::Reason;
use simulation::locked;
use tick::backends::Backends as Asked;

use crate::refusing_pool::RefusingPool;
use crate::site::{Site, running};

/// Ticks until the delete of the only node was asked for; its server.
fn deleted(site: &mut Site) -> String {
    running(site, 4, 120);
    let id = site.names()[0].clone();
    for _ in 0..20 {
        site.tick();
        if site.plan().count(NodeDecision::Delete) > 0 {
            return id;
        }
    }
    panic!("no delete\n{}", site.describe());
}

/// What came of the invalidates of the last tick.
fn invalidates(site: &Site) -> Vec<Result<Done, Failure>> {
    let (_, outcomes) = site.last.as_ref().unwrap();
    let invalidates = outcomes
        .iter()
        .filter(|outcome| matches!(outcome.action, Action::Pool(PoolAction::Invalidate { .. })));
    invalidates.map(|outcome| outcome.result.clone()).collect()
}

#[test]
fn ads_leave_the_collector_in_the_tick_in_which_the_delete_was_accepted() {
    let mut site = Site::simple();
    let id = deleted(&mut site);
    assert_eq!(invalidates(&site), [Ok(Done::Accepted)]);
    assert!(site.world().servers.contains_key(&id), "Nova is at it");
    assert!(!site.world().ads.contains_key(&id), "{}", site.describe());
    site.tick();
    assert_eq!(site.plan().count(NodeDecision::Forget), 1);
    assert_eq!(invalidates(&site), [], "there are none any more");
}

#[test]
fn an_ad_that_a_startd_sends_after_the_delete_is_taken_out_when_the_node_is_forgotten() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    let id = site.names()[0].clone();
    let mut last = site.world().ads[&id].clone();
    while site.last.is_none() || site.plan().count(NodeDecision::Delete) == 0 {
        last = site.world().ads[&id].clone();
        site.tick();
    }
    last.heard = site.world().now;
    site.world().ads.insert(id.clone(), last);
    site.tick();
    assert_eq!(
        site.plan().count(NodeDecision::Forget),
        1,
        "{}",
        site.describe()
    );
    assert_eq!(invalidates(&site), [Ok(Done::Accepted)]);
    assert!(!site.world().ads.contains_key(&id));
}

#[test]
fn the_ads_of_a_namesake_stay_when_a_node_is_deleted() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    let id = site.names()[0].clone();
    let mut namesake = site.world().ads[&id].clone();
    namesake.server = "static-1".to_owned();
    namesake.node = None;
    namesake.claims = 1;
    for _ in 0..20 {
        namesake.heard = site.world().now + 60;
        site.world()
            .ads
            .insert("static-1".to_owned(), namesake.clone());
        site.tick();
        assert!(site.world().ads.contains_key("static-1"));
        assert_eq!(invalidates(&site), []);
    }
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

#[test]
fn ads_stay_where_the_delete_was_not_accepted() {
    let mut site = Site::simple();
    running(&mut site, 4, 120);
    let id = site.names()[0].clone();
    let mut planned = 0;
    for _ in 0..20 {
        site.tick_while(&mut |world| locked(world).broken.clouds = vec!["blue".to_owned()]);
        planned += site.plan().count(NodeDecision::Delete);
        assert_eq!(invalidates(&site), []);
        assert!(site.world().ads.contains_key(&id), "{}", site.describe());
        site.world().broken.clouds.clear();
    }
    assert!(planned > 0, "{}", site.describe());
}

/// ehos may not invalidate.
fn may_not_invalidate(action: &PoolAction) -> Option<Failure> {
    match action {
        PoolAction::Invalidate { .. } => Some(Failure {
            kind: FailureKind::NotAuthorized,
            message: "not allowed".to_owned(),
        }),
        _ => None,
    }
}

#[test]
fn an_invalidate_that_fails_is_told_and_makes_no_delete_fail() {
    let mut site = Site::simple();
    site.between = Box::new(|site: Asked<'_>| Asked {
        pool: Box::new(RefusingPool {
            pool: site.pool,
            refusal: may_not_invalidate,
        }),
        clouds: site.clouds,
    });
    let id = deleted(&mut site);
    let refused = invalidates(&site);
    assert!(
        matches!(&refused[..], [Err(failure)] if failure.message == "not allowed"),
        "{refused:?}"
    );
    assert!(site.world().ads.contains_key(&id));
    let memory = site.state.nodes.values().next().unwrap();
    assert!(memory.delete.accepted.is_some());
    site.ticks(2);
    assert_eq!(site.servers(), 0, "{}", site.describe());
}

/// Nova accepts deletes and does none of them. The startds go on, or have ended.
fn deletes_that_are_never_done(startds_end: bool) -> (usize, Site) {
    let mut site = Site::simple();
    site.policy.max_unproven = 10;
    running(&mut site, 24, 300);
    site.world().broken.deletes = true;
    let names = site.names();
    assert_eq!(names.len(), 6);
    let mut again = 0;
    for _ in 0..40 {
        site.tick();
        if startds_end && site.plan().count(NodeDecision::Delete) > 0 {
            for id in &names {
                site.world().crash(id);
            }
        }
        let brakes = &site.plan().brakes;
        let vanished = brakes
            .iter()
            .any(|brake| matches!(brake, Brake::NodesVanished { .. }));
        assert!(!vanished, "{}", site.describe());
        let asked = |node: &&scaling::plan::NodeEntry| {
            matches!(node.why, Reason::DeleteAgain { .. } | Reason::Lost { .. })
                && node.decision == NodeDecision::Delete
        };
        again += site.plan().nodes.iter().filter(asked).count();
    }
    (again, site)
}

#[test]
fn a_delete_that_is_never_done_is_asked_for_again_though_the_ads_are_gone() {
    for startds_end in [false, true] {
        let (again, mut site) = deletes_that_are_never_done(startds_end);
        assert!(again >= 6, "asked again {again} times\n{}", site.describe());
        site.world().broken.deletes = false;
        site.until(40, "all gone", |world| world.servers.is_empty());
    }
}
