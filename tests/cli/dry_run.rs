//! `--dry-run` changes nothing anywhere, and the acting run does what it said.

use serde_json::{Value, json};

use crate::double::{Double, Reply, always};
use crate::harness::cloud::{self, CREATE, LOGIN};
use crate::harness::{Site, condor};

const IDLE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const DRAINED: &str = "aaaaaaaa-0000-4000-8000-000000000002";

/// What decides, of both kinds of run: all of the report but what came of it and how long it took.
fn decisions(report: &Value) -> Value {
    let actions = report["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| json!([action["action"], action["node"], action["cloud"]]));
    let mut decisions = json!({ "actions": actions.collect::<Vec<_>>() });
    for key in ["queue", "nodes", "job_groups", "brakes", "unknown_sources"] {
        assert!(!report[key].is_null(), "{key}");
        decisions[key] = report[key].clone();
    }
    // A dry run is no tick: only ticks date what they say.
    for group in decisions["job_groups"].as_array_mut().unwrap() {
        group.as_object_mut().unwrap().remove("since");
    }
    decisions
}

/// New nodes are called by the time of their making, and servers are a second older in the next tick.
fn without_times(mut decisions: Value) -> Value {
    let mut new: Vec<String> = Vec::new();
    for node in decisions["nodes"].as_array_mut().unwrap() {
        if node["decision"] == "create" {
            new.push(node["node"].as_str().unwrap().to_owned());
        }
        node["server"]["age_seconds"].take();
    }
    let mut text = decisions.take().to_string();
    for (index, id) in new.iter().enumerate() {
        text = text.replace(id.as_str(), &format!("new-{index}"));
    }
    serde_json::from_str(&text).unwrap()
}

/// A surplus node that has been idle for long, one that is drained, and a job that fits neither.
fn busy_site() -> (Double, Site) {
    let servers = [
        cloud::server(IDLE, "n-1", "ACTIVE"),
        cloud::server(DRAINED, "n-2", "ACTIVE"),
    ];
    let double = Double::start(cloud::script(vec![
        cloud::list(&servers),
        cloud::shown(&servers[0]),
        cloud::shown(&servers[1]),
    ]));
    let slots = [
        condor::slot("n1", IDLE, "n-1", 900),
        condor::drained_slot("n2", DRAINED, "n-2", "ehos pool-1: idle"),
        "exit=0\n".to_owned(),
    ];
    let site = Site::with_cloud(double.url())
        .over("ehos: {flavors: [m1.small, m1.medium]}\ndaemon: {negotiation_cycle: 10s}\n")
        .answers("condor_status", "any", &slots.concat())
        .answers("condor_q", "-totals", &condor::totals(1, 0))
        .answers("condor_q", "-group-by", &condor::group(1, 2, 512));
    (double, site)
}

/// The same, where a tick has seen both nodes before: a drain of another's is no leave to delete until the schedds were asked
/// about the machine.
pub fn known_site() -> (Double, Site) {
    let (double, site) = busy_site();
    let busy = std::fs::read_to_string(site.tools().join("condor_status.any")).unwrap();
    let fresh = [
        condor::slot("n1", IDLE, "n-1", 1),
        condor::slot("n2", DRAINED, "n-2", 1),
        "exit=0\n".to_owned(),
    ];
    let site = site
        .answers("condor_status", "any", &fresh.concat())
        .answers("condor_q", "-totals", &condor::totals(0, 0))
        .answers("condor_q", "-group-by", "exit=0\n");
    site.tick(&[]).exits(0).says("plan     nothing to do");
    let site = site
        .answers("condor_status", "any", &busy)
        .answers("condor_q", "-totals", &condor::totals(1, 0))
        .answers("condor_q", "-group-by", &condor::group(1, 2, 512))
        .over("daemon: {negotiation_cycle: 1ms}\n");
    (double, site)
}

#[test]
fn a_dry_run_touches_nothing() {
    let (double, site) = busy_site();
    for args in [&["--dry-run"][..], &["-n", "-o", "json"], &["-n", "-vvv"]] {
        site.tick(args).exits(0);
    }
    site.tick(&["-n"])
        .exits(0)
        .warns_nothing()
        .says("plan     create 1 node, drain 1 node (dry run)");
    assert_eq!(site.state_files(), None, "not even made");
    for request in double.received() {
        let reads =
            request.method == "GET" || (request.method == "POST" && request.target == LOGIN);
        assert!(reads, "{} {}", request.method, request.target);
    }
    for call in site.calls().lines() {
        let reads = call.starts_with("condor_q ") || call.starts_with("condor_status ");
        assert!(reads, "{call}");
    }

    // Nor is there a trace where there is a state already.
    site.tick(&[]).exits(0);
    std::fs::remove_file(site.state().join("token-lab.json")).unwrap();
    let (before, requests) = (site.state_files(), double.received().len());
    site.tick(&["-n"]).exits(0).warns_nothing();
    assert_eq!(site.state_files(), before);
    let more = &double.received()[requests..];
    assert!(
        more.iter()
            .all(|request| request.method == "GET" || request.target == LOGIN)
    );
}

#[test]
fn what_failed_in_the_first_pass_is_on_record_after_the_second() {
    let (double, site) = known_site();
    let servers = [
        cloud::server(IDLE, "n-1", "ACTIVE"),
        cloud::server(DRAINED, "n-2", "ACTIVE"),
    ];
    double.play(cloud::script(vec![
        always(
            "POST",
            CREATE,
            Reply::fixture("server-create-quota-instances"),
        ),
        cloud::list(&servers),
        cloud::shown(&servers[0]),
        cloud::shown(&servers[1]),
    ]));
    let report = site.tick(&["-o", "json"]).exits(1).json();
    let failed = |report: &Value| {
        let actions = report["actions"].as_array().unwrap().iter();
        actions
            .filter(|action| action["action"] == "create" && action["result"] == "failed")
            .count()
    };
    assert_eq!(failed(&report), 1, "{report:#}");
    assert_eq!(failed(&report["second_pass"]), 0, "{report:#}");
    let last = std::fs::read(site.state().join("history/last.json")).unwrap();
    let last: Value = serde_json::from_slice(&last).unwrap();
    assert_eq!((failed(&last), &last["exit"]), (1, &Value::from(1)));
    let state = site.state();
    let state = state.to_str().unwrap();
    let status = site.run(&["status", "--state-dir", state]);
    status.exits(1).says("not done");
}

#[test]
fn a_dry_run_beside_a_running_tick_does_not_wait() {
    let (_double, site) = known_site();
    let lock = std::fs::File::create(site.state().join("tick.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    site.tick(&["-n"])
        .exits(0)
        .says("plan     create 1 node, drain 1 node, delete 1 node (dry run)");
}

#[test]
fn the_acting_run_does_what_the_dry_run_said() {
    let (double, site) = known_site();
    let planned = site.tick(&["-n", "-o", "json"]).exits(0).json();
    let done = site.tick(&["-o", "json"]).exits(0).json();
    // What follows an accepted delete is no plan.
    let mut done = done;
    let follows = |action: &Value| action["action"] == "invalidate" && action["node"] == "n-2";
    let actions = done["actions"].as_array_mut().unwrap();
    assert_eq!(actions.iter().filter(|action| follows(action)).count(), 1);
    actions.retain(|action| !follows(action));
    assert_eq!(
        without_times(decisions(&planned)),
        without_times(decisions(&done))
    );
    for (report, result) in [(&planned, "planned"), (&done, "done")] {
        let actions = report["actions"].as_array().unwrap();
        let verbs: Vec<_> = actions
            .iter()
            .map(|action| action["action"].as_str().unwrap())
            .collect();
        assert_eq!(verbs.len(), 3, "{verbs:?}");
        for verb in ["create", "drain", "delete"] {
            assert!(verbs.contains(&verb), "{verbs:?}");
        }
        assert!(
            actions.iter().all(|action| action["result"] == result),
            "{actions:?}"
        );
    }
    assert_eq!(double.count("POST", CREATE), 1);
    assert_eq!(
        double.count("DELETE", &format!("/v2.1/servers/{DRAINED}")),
        1
    );
    assert_eq!(double.count("DELETE", ""), 1);
    let calls = site.calls();
    let drains: Vec<_> = calls
        .lines()
        .filter(|call| call.starts_with("condor_drain"))
        .collect();
    assert_eq!(drains.len(), 1, "{calls}");
    assert!(drains[0].contains("-graceful -check State == \"Unclaimed\" && (CloudInstanceID "));
    assert!(drains[0].contains(") -reason ehos pool-1: "));
    assert!(drains[0].ends_with(" slot1@n1"), "{}", drains[0]);
}

#[test]
fn what_the_startd_refuses_is_no_failure() {
    let (_double, site) = busy_site();
    let site = site.answers(
        "condor_drain",
        "any",
        &condor::recorded("drain-claimed.txt"),
    );
    site.tick(&[])
        .exits(0)
        .says("skipped  drain n-1: ")
        .says("Draining check expression is false");
}

#[test]
fn what_a_last_look_saves_is_said_and_is_no_failure() {
    let (double, site) = known_site();
    // In the list it is ours still, and not when it is looked at.
    let servers = [
        cloud::server(IDLE, "n-1", "ACTIVE"),
        cloud::server(DRAINED, "n-2", "ACTIVE"),
    ];
    let mut changed = servers[1].clone();
    changed["metadata"]["ehos_cluster"] = json!("pool-2");
    let lines = || {
        cloud::script(vec![
            cloud::list(&servers),
            cloud::shown(&servers[0]),
            cloud::shown(&changed),
        ])
    };
    double.play(lines());
    site.tick(&[])
        .exits(0)
        .says("skipped  delete n-2: no action: the metadata");
    double.play(lines());
    let report = site.tick(&["-o", "json"]).exits(0).json();
    let actions = report["actions"].as_array().unwrap();
    let delete = actions.iter().find(|action| action["action"] == "delete");
    assert_eq!(delete.unwrap()["result"], "changed");
    assert_eq!(double.count("DELETE", ""), 0);
}

#[test]
fn a_last_look_that_fails_is_a_failure() {
    let (double, site) = known_site();
    let servers = [
        cloud::server(IDLE, "n-1", "ACTIVE"),
        cloud::server(DRAINED, "n-2", "ACTIVE"),
    ];
    let broken = always(
        "GET",
        &format!("/v2.1/servers/{DRAINED}"),
        Reply::status(500, ""),
    );
    double.play(cloud::script(vec![cloud::list(&servers), broken]));
    site.tick(&[])
        .exits(1)
        .says("failed   delete n-2: no action: the recheck failed: cloud lab");
    assert_eq!(double.count("DELETE", ""), 0);
}

#[test]
fn a_refused_right_is_a_failure_that_says_which_right() {
    let (_double, site) = busy_site();
    let site = site.answers(
        "condor_drain",
        "any",
        "err|SECMAN: FAILED: Received \"DENIED\" from server for user ehos@testbed using method IDTOKENS.\nexit=1\n",
    );
    site.tick(&[])
        .exits(1)
        .says("failed   drain n-1: condor_drain failed for slot1@n1 (exit code 1): ")
        .says("give ehos a token with ADMINISTRATOR (drains)");
}

#[test]
fn the_demo_from_the_first_node_to_the_last() {
    let site = Site::simulated();
    let (mut most, mut last) = (0, 0);
    for _ in 0..30 {
        let before = site.state_files();
        let planned = site.tick(&["--dry-run", "-o", "json"]).exits(0).json();
        assert_eq!(site.state_files(), before);
        let done = site.tick(&["-o", "json"]).exits(0).json();
        assert_eq!(decisions(&planned), decisions(&done));
        assert_eq!(planned["at"], done["at"]);
        last = done["nodes"].as_array().unwrap().len();
        most = most.max(last);
    }
    assert!((3..=6).contains(&most), "{most} nodes");
    assert_eq!(last, 0, "the queue is empty and so is the pool");
}
