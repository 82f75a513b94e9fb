//! What is counted is what was done, once each, and never becomes less.

use std::collections::BTreeMap;

use scaling::action::FailureKind;
use scaling::money::Money;
use scaling::plan::{Plan, plan};
use scaling::state::{Outcome, State};
use scaling::totals::Totals;

use crate::site::{Site, cloud, running, scenario};

/// One cloud, blue, with nodes of 4 cores at 2 an hour.
fn priced() -> Site {
    let mut blue = cloud(&[("medium", 4, 8192)]);
    blue.flavors.get_mut("medium").unwrap().price = Some(2.0);
    Site::new(scenario(&[("blue", blue)]))
}

/// How often each action was done, or failed, in these ticks.
#[derive(Default)]
struct Observed {
    done: BTreeMap<&'static str, u64>,
    failed: BTreeMap<&'static str, u64>,
}

impl Observed {
    fn add(&mut self, outcomes: &[Outcome]) {
        for Outcome { action, result } in outcomes {
            let counts = match result {
                Ok(_) => &mut self.done,
                Err(_) => &mut self.failed,
            };
            *counts.entry(action.verb()).or_default() += 1;
        }
    }

    fn ticks(&mut self, site: &mut Site, count: usize) {
        for _ in 0..count {
            let before = site.state.totals.clone();
            site.tick();
            never_less(&before, &site.state.totals);
            let (_, outcomes) = site.last.as_ref().unwrap();
            self.add(outcomes);
        }
    }
}

fn never_less(before: &Totals, now: &Totals) {
    for old in &before.nodes {
        let new = now
            .nodes
            .iter()
            .find(|new| new.cloud == old.cloud && new.flavor == old.flavor)
            .unwrap();
        assert!(new.created >= old.created && new.drained >= old.drained);
        assert!(new.joined >= old.joined && new.boot_seconds >= old.boot_seconds);
        assert!(new.failed >= old.failed && new.lost >= old.lost && new.returned >= old.returned);
    }
    assert!(now.paid_core_milliseconds >= before.paid_core_milliseconds);
    assert!(now.claimed_core_milliseconds >= before.claimed_core_milliseconds);
    assert!(
        now.deletes.len() >= before.deletes.len() && now.failures.len() >= before.failures.len()
    );
    for (old, new) in before.spent.iter().zip(&now.spent) {
        assert!(new.money >= old.money);
    }
}

#[test]
fn what_was_done_is_counted_once() {
    let mut site = priced();
    let mut seen = Observed::default();
    site.submit(12, 1, 1024, 900);
    seen.ticks(&mut site, 60);
    assert_eq!(site.servers(), 0, "all is over: {}", site.describe());
    let totals = &site.state.totals;
    let [nodes] = &totals.nodes[..] else {
        panic!("{totals:?}")
    };
    assert_eq!(
        (nodes.cloud.as_str(), nodes.flavor.as_str()),
        ("blue", "medium")
    );
    assert!(nodes.created >= 3);
    assert_eq!(nodes.created, seen.done["create"]);
    assert_eq!(nodes.drained, seen.done["drain"]);
    assert_eq!(nodes.joined, nodes.created);
    assert_eq!((nodes.failed, nodes.lost), (0, 0));
    // It boots for a minute or so, and a tick sees it within another.
    let boot = nodes.boot_seconds / nodes.joined;
    assert!((60..=300).contains(&boot), "{boot} s");
    let [deletes] = &totals.deletes[..] else {
        panic!("{totals:?}")
    };
    assert_eq!(
        (deletes.reason.as_str(), deletes.count),
        ("drained", nodes.created)
    );
    assert!(totals.failures.is_empty() && totals.unknown_sources.is_empty());

    // Twelve jobs of a quarter of an hour, seen once a minute.
    let claimed = totals.claimed_core_milliseconds / 1000;
    assert!(
        (10_000..=12_000).contains(&claimed),
        "{claimed} core seconds"
    );
    let paid = totals.paid_core_milliseconds / 1000;
    let really = site.world().server_seconds * 4;
    assert!(paid > claimed);
    assert!(
        paid.abs_diff(really) <= really / 10,
        "{paid} and {really} core seconds"
    );
    let spent = totals.spent[0].money;
    let month = totals.spent[0].month_money;
    assert!(spent > Money::default());
    assert_eq!(spent, month, "all in one month");
}

#[test]
fn failed_and_lost_nodes_are_counted_once() {
    let mut site = Site::simple();
    site.world().broken.image = true;
    site.submit(1, 1, 1024, 60);
    let mut seen = Observed::default();
    seen.ticks(&mut site, 40);
    let totals = site.state.totals.clone();
    let nodes = &totals.nodes[0];
    let never_joined: u64 = totals
        .deletes
        .iter()
        .filter(|row| row.reason == "never_joined")
        .map(|row| row.count)
        .sum();
    assert!(nodes.failed >= 1);
    assert_eq!(nodes.failed, never_joined);
    assert_eq!((nodes.joined, nodes.boot_seconds), (0, 0));

    let mut site = Site::simple();
    running(&mut site, 4, 36_000);
    let id = site.names()[0].clone();
    simulation::locked(&site.world).cut_off(&id, true);
    seen.ticks(&mut site, 180);
    let totals = &site.state.totals;
    let lost = totals.deletes.iter().find(|row| row.reason == "lost");
    assert_eq!(totals.nodes[0].lost, lost.map_or(0, |row| row.count));
    assert!(totals.nodes[0].lost >= 1, "{totals:?}");
}

#[test]
fn what_a_cloud_refuses_is_counted_by_kind() {
    let mut site = Site::simple();
    site.world().broken.clouds = vec!["blue".to_owned()];
    site.tick();
    site.tick();
    let totals = &site.state.totals;
    assert_eq!(totals.unknown_sources.len(), 1);
    assert_eq!(
        (
            totals.unknown_sources[0].source.as_str(),
            totals.unknown_sources[0].count
        ),
        ("cloud", 2)
    );

    let mut site = Site::simple();
    running(&mut site, 4, 120);
    let plan = site.plan().clone();
    site.submit(8, 1, 1024, 60);
    site.until(12, "more are made", |world| world.servers.len() > 1);
    let (plan, outcomes) = match &site.last {
        Some((plan, outcomes)) if !outcomes.is_empty() => (plan, outcomes),
        _ => panic!("{plan:?}"),
    };
    let mut refused = outcomes.clone();
    refused[0].result = Err(scaling::action::Failure {
        kind: FailureKind::Quota,
        message: String::new(),
    });
    let next = plan.after(&refused[..1], &site.policy);
    let failure = &next.totals.failures[0];
    assert_eq!(
        (
            failure.cloud.as_str(),
            failure.action.as_str(),
            failure.kind.as_str(),
            failure.count
        ),
        ("blue", "create", "quota", 1)
    );
}

/// The state after a tick that looks at `at`, with nothing else changed.
fn tick_at(site: &Site, later: i64) -> Plan {
    let at = site.world().at() + jiff::SignedDuration::from_secs(later);
    let looked = tick::observe::observe_in_turn(
        &simulation::backends(&site.world, &site.policy),
        &site.policy,
        &site.state,
        at,
        system::deadline::Deadline::within(std::time::Duration::from_secs(60)),
    );
    plan(&looked, &site.policy, &site.state)
}

#[test]
fn a_jump_of_the_clock_adds_five_minutes_at_most() {
    let mut site = priced();
    running(&mut site, 4, 36_000);
    let before = site.state.totals.clone();
    for jump in [90 * 86_400, 40 * 86_400, 86_400, -86_400, -90 * 86_400] {
        let next = tick_at(&site, jump).next.totals;
        let paid = next.paid_core_milliseconds - before.paid_core_milliseconds;
        let expected = if jump > 0 { 4 * 300_000 } else { 0 };
        assert_eq!(paid, expected, "{jump} s");
        assert_eq!(
            next.claimed_core_milliseconds - before.claimed_core_milliseconds,
            expected
        );
        let spent = next.spent[0].money.minus(before.spent[0].money);
        // 2 an hour; of the tick's own minute a little.
        assert!(spent <= Money::new(0.2), "{jump} s: {spent}");
        never_less(&before, &next);
    }
}

#[test]
fn without_the_collector_no_core_is_counted() {
    let mut site = Site::simple();
    running(&mut site, 4, 36_000);
    let before = site.state.totals.clone();
    site.world().broken.collector = true;
    site.tick();
    let totals = &site.state.totals;
    assert_eq!(totals.paid_core_milliseconds, before.paid_core_milliseconds);
    assert_eq!(totals.unknown_sources[0].source, "collector");
    // Nor when it is up again and has not heard from the nodes yet.
    site.world().restart_collector();
    site.tick();
    let totals = &site.state.totals;
    assert_eq!(totals.paid_core_milliseconds, before.paid_core_milliseconds);
}

#[test]
fn clouds_that_are_not_configured_any_more_are_forgotten_when_they_are_many() {
    let mut site = Site::simple();
    running(&mut site, 4, 36_000);
    let mut row = site.state.totals.nodes[0].clone();
    for number in 0..250 {
        row.cloud = format!("gone-{number}");
        site.state.totals.nodes.push(row.clone());
    }
    site.tick();
    assert_eq!(site.state.totals.nodes.len(), 1);
    assert_eq!(site.state.totals.nodes[0].cloud, "blue");
}

#[test]
fn a_state_that_knows_of_no_totals_is_read() {
    let mut site = Site::simple();
    running(&mut site, 1, 600);
    let mut state = serde_json::to_value(&site.state).unwrap();
    state.as_object_mut().unwrap().remove("totals");
    let state: State = serde_json::from_value(state).unwrap();
    assert_eq!(state.totals, Totals::default());
    assert_eq!(state.nodes, site.state.nodes);
}
