//! `ehos pause`, `resume`, `drain`, `keep` and `delete`, as an operator meets them.

use std::fs;

use serde_json::{Value, json};

use crate::double::Double;
use crate::file_calls::{calls_in, strace_works};
use crate::harness::cloud::{self, SERVER_ID};
use crate::harness::{Run, Site, condor};

fn args(site: &Site, words: &[&str]) -> Vec<String> {
    let (config, state) = (site.config(), site.state());
    let paths = [
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let (command, more) = words.split_first().unwrap();
    let all = [&[*command], &paths[..], more].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn ehos(site: &Site, words: &[&str]) -> Run {
    site.run(&args(site, words))
}

/// A simulated site with a busy node and idle ones.
fn site() -> Site {
    let site = Site::simulated().set("SUDO_USER", "alice");
    for _ in 0..7 {
        site.tick(&[]).exits(0);
    }
    site
}

/// The nodes of the state whose last ad had claims, or had none.
fn nodes(site: &Site, claimed: bool) -> Vec<String> {
    let saved = site.saved();
    let nodes = saved["nodes"].as_object().unwrap().iter();
    let nodes = nodes.filter(|(_, node)| node["claimed"] == claimed);
    nodes.map(|(id, _)| id.clone()).collect()
}

pub fn reports() -> Vec<Value> {
    let site = site();
    let (busy, idle) = (nodes(&site, true), nodes(&site, false));
    let words: [&[&str]; 7] = [
        &[
            "pause",
            "--until",
            "2h",
            "--reason",
            "new disks",
            "-o",
            "json",
        ],
        &["pause", "blue", "--deletes", "-o", "json"],
        &["keep", &idle[0], "--until", "90min", "-o", "json"],
        &["drain", &idle[1], "--replace", "-o", "json"],
        &["delete", &busy[0], "--yes", "-o", "json"],
        &["resume", "-o", "json"],
        &["resume", "blue", "-o", "json"],
    ];
    let mut reports: Vec<Value> = Vec::new();
    for words in words {
        reports.push(ehos(&site, words).exits(0).json());
        reports.push(site.tick(&["-n", "-o", "json"]).exits(0).json());
    }
    reports
}

#[test]
fn a_pause_is_in_every_output_and_is_no_problem() {
    let site = site();
    ehos(&site, &["pause", "blue", "--until", "2h", "--reason", "new\ndisks\u{202e}", "--deletes"])
        .exits(0)
        .says("paused: no creates, drains or deletes: `ehos pause` of cloud blue by alice until 2027-01-15T11:14:00Z: new disks; end it with `ehos resume blue`\n");
    site.tick(&[])
        .exits(0)
        .says("paused   no creates, drains or deletes: `ehos pause` of cloud blue by alice until ");
    ehos(&site, &["status"])
        .exits(0)
        .says("paused     no creates, drains or deletes")
        .never_says("late ");
    let json = ehos(&site, &["status", "-o", "json"]).exits(0).json();
    assert_eq!(json["pauses"][0]["cloud"], "blue");
    assert_eq!(json["pauses"][0]["by"], "alice");
    assert_eq!(json["pauses"][0]["reason"], "new disks");
    ehos(&site, &["status", "-o", "prometheus"])
        .exits(0)
        .says("ehos_paused{cloud=\"blue\",deletes=\"true\"} 1\n");
    ehos(&site, &["status", "-o", "influx"])
        .exits(0)
        .says("ehos_paused,");
    ehos(&site, &["check"])
        .says("no creates, drains or deletes: `ehos pause` of cloud blue by alice");
    let history = fs::read_dir(site.state().join("history")).unwrap();
    let history = history.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    assert!(
        history
            .into_iter()
            .any(|text| text.contains("\"pauses\":[\"no creates"))
    );
    ehos(&site, &["resume"])
        .exits(0)
        .says("no pause of all clouds\n")
        .says("still paused: no creates, drains or deletes");
    ehos(&site, &["resume", "blue"])
        .exits(0)
        .says("cloud blue: pause ended: `ehos pause` of cloud blue by alice");
    site.tick(&[]).exits(0).never_says("paused");
    // It ends by itself as well.
    ehos(&site, &["pause", "--until", "3min"]).exits(0);
    site.tick(&[]).exits(0).says("paused   no creates: ");
    site.tick(&[]).exits(0).never_says("paused");
}

#[test]
fn a_request_is_not_saved_in_the_state_of_another_pool() {
    let site = site();
    let node = nodes(&site, true).remove(0);
    let mut file: Value =
        serde_json::from_str(&fs::read_to_string(site.state().join("state.json")).unwrap())
            .unwrap();
    file["state"]["cluster"] = json!("other-pool");
    fs::write(site.state().join("state.json"), file.to_string()).unwrap();
    let before = site.saved();
    for words in [
        &["pause"][..],
        &["resume"],
        &["keep", &node],
        &["drain", &node],
        &["delete", &node, "--yes"],
        &["retire", "--yes"],
    ] {
        ehos(&site, words)
            .exits(1)
            .warns("of pool other-pool")
            .warns("give --state-dir");
    }
    assert_eq!(site.saved(), before);
    site.tick(&[])
        .exits(0)
        .warns("the last tick here was of pool other-pool");
    ehos(&site, &["pause"]).exits(0);
}

#[test]
fn with_two_central_managers_each_request_names_the_other() {
    let site = site().over("condor: {high_availability: true}\n");
    let node = nodes(&site, true).remove(0);
    for words in [
        &["pause"][..],
        &["resume"],
        &["keep", &node],
        &["keep", "--release", &node],
        &["drain", &node],
        &["delete", &node, "--yes"],
    ] {
        ehos(&site, words)
            .exits(0)
            .says("the same command on the other central manager\n");
        let run = ehos(&site, &[words, &["-o", "json"]].concat());
        let json = run.exits(0).json();
        assert!(json["note"].is_string(), "{words:?}");
    }
    let last = site.state().join("history/last.json");
    let mut report: Value = serde_json::from_str(&fs::read_to_string(&last).unwrap()).unwrap();
    report["standby"] = json!({"standby": "active_elsewhere", "text": "the other acts"});
    fs::write(&last, report.to_string()).unwrap();
    let before = site.saved();
    for words in [&["delete", &node, "--yes"][..], &["retire", "--yes"]] {
        ehos(&site, words)
            .exits(1)
            .warns("this host is on standby: nothing changed");
    }
    assert_eq!(site.saved(), before);
}

#[test]
fn a_time_of_day_is_in_the_configured_time_zone_even_if_that_is_utc() {
    let paused = |site: Site| ehos(&site, &["pause", "--until", "18:30"]);
    let site = || Site::simulated().set("TZ", "Asia/Kolkata");
    paused(site()).exits(0).says("T13:00:00Z");
    paused(site().over("daemon: {time_zone: UTC}\n"))
        .exits(0)
        .says("T18:30:00Z");
}

#[test]
fn what_is_no_cloud_no_time_and_no_node_is_refused() {
    let site = site();
    let before = site.saved();
    ehos(&site, &["pause", "red"]).exits(78).warns("red");
    ehos(&site, &["pause", "--until", "soon"])
        .exits(1)
        .warns("--until soon: not a time; give a span");
    ehos(&site, &["pause", "--until", "2020-01-01T00:00:00Z"])
        .exits(1)
        .warns("is not after");
    let long = "x".repeat(201);
    ehos(&site, &["pause", "--reason", &long])
        .exits(2)
        .warns("201 characters; write at most 200");
    for words in [
        &["keep", "nix"][..],
        &["drain", "nix"],
        &["delete", "nix", "--yes"],
    ] {
        ehos(&site, words)
            .exits(1)
            .warns("node nix: not in the state; give an id");
    }
    ehos(&site, &["drain"]).exits(2);
    ehos(&site, &["drain", "--flavor", "nix"])
        .exits(1)
        .says("no node of the state matches");
    ehos(&site, &["drain", "--all", "--flavor", "nix"]).exits(2);
    assert_eq!(site.saved(), before);
}

#[test]
fn a_kept_node_stays_and_every_report_says_what_it_costs() {
    let site = site();
    let idle = nodes(&site, false);
    ehos(&site, &["keep", &idle[0]])
        .exits(0)
        .says("kept; ehos neither drains nor deletes it until `ehos keep --release`\n");
    ehos(&site, &["keep", &idle[0]])
        .exits(0)
        .says("kept before");
    for words in [&["drain", &idle[0]][..], &["delete", &idle[0], "--yes"]] {
        ehos(&site, words)
            .exits(1)
            .says("not changed: kept by alice; first run `ehos keep --release ");
    }
    ehos(&site, &["drain", "--all"])
        .exits(0)
        .says("kept by alice")
        .says("drain requested");
    for _ in 0..15 {
        site.tick(&[])
            .exits(0)
            .says("kept     1 node, 0.08 per hour; ehos drains");
    }
    assert_eq!(nodes(&site, false), idle[..1]);
    ehos(&site, &["status"])
        .exits(0)
        .says("kept       1 node, 0.08 per hour");
    ehos(&site, &["keep", "--release", &idle[0]])
        .exits(0)
        .says("released");
    ehos(&site, &["keep", "--release", &idle[0]])
        .exits(0)
        .says("it was not kept");
    for _ in 0..6 {
        site.tick(&[]).exits(0).never_says("kept ");
    }
    assert!(nodes(&site, false).is_empty());
}

#[test]
fn a_drain_lets_jobs_end_and_can_be_withdrawn() {
    let site = site();
    let busy = nodes(&site, true);
    ehos(&site, &["drain", &busy[0], &busy[1]])
        .exits(0)
        .says("drain requested; ehos deletes the node once it is idle\n");
    ehos(&site, &["drain", &busy[0]])
        .exits(0)
        .says("drain requested before\n");
    site.tick(&[]).exits(0).says("; drain requested by alice");
    ehos(&site, &["drain", "--cancel", &busy[1]])
        .exits(0)
        .says("drain request withdrawn\n");
    ehos(&site, &["explain", &busy[0]])
        .exits(0)
        .says("drain requested by alice");
    let mut said = false;
    for _ in 0..8 {
        let run = site.tick(&[]);
        said |= run.exits(0).stdout.contains("drain requested by alice");
    }
    assert!(said);
    assert!(!site.remembered().contains(&busy[0]));
}

#[test]
fn a_delete_names_the_jobs_and_needs_consent() {
    let site = site();
    let busy = nodes(&site, true);
    let refused = ehos(&site, &["delete", &busy[0]]);
    refused
        .exits(1)
        .says("running jobs that END: 1 (claimed slots as of the last tick: 1)\n  carol: 15.0\n")
        .warns("no terminal to ask at; add --yes");
    site.tick(&[]).exits(0).never_says("delete requested");
    ehos(&site, &["delete", &busy[0], "-o", "json"]).exits(1);
    ehos(&site, &["delete", &busy[0], "--yes"])
        .exits(0)
        .says("delete requested; the next tick deletes its server\n");
    ehos(&site, &["delete", &busy[0], "--cancel"])
        .exits(0)
        .says("delete request withdrawn\n");
    site.tick(&[]).exits(0).never_says("delete requested");
    ehos(&site, &["delete", &busy[0], "--yes"]).exits(0);
    site.tick(&[]).exits(0).says("delete requested by alice");
    assert!(!site.remembered().contains(&busy[0]));
}

#[test]
fn at_a_terminal_only_a_yes_deletes() {
    let site = site();
    let busy = nodes(&site, true);
    let (config, state) = (site.config(), site.state());
    let paths = (config.to_str().unwrap(), state.to_str().unwrap());
    let words = [
        "delete",
        &busy[0],
        "--config",
        paths.0,
        "--state-dir",
        paths.1,
    ];
    let question = format!("Delete node {}? [y/N]", busy[0]);
    let refusals: [&[u8]; 6] = [
        b"n\n",
        b"\n",
        b"\x04",
        b"yes please\n",
        b"\xff\xfe\n",
        b"\x1b[A\n",
    ];
    for typed in refusals {
        site.at_a_terminal(&words, &question, typed)
            .exits(1)
            .says("running jobs that END: ")
            .says("the answer is not yes: not deleted");
    }
    site.at_a_terminal(&words, &question, b"\x03").exits(130);
    site.tick(&["--dry-run"]).never_says("delete requested");
    site.at_a_terminal(&words, &question, b"Yes\n")
        .exits(0)
        .says("delete requested; the next tick deletes its server");
    site.tick(&[]).exits(0).says("delete requested by ");
    site.tick(&[]).exits(0);
    site.tick(&[]).exits(0);
    assert!(!site.remembered().contains(&busy[0]));
}

/// A site of one cloud whose server is a node with a claimed slot.
fn lab() -> (Double, Site) {
    let server = cloud::server(SERVER_ID, "n-1", "ACTIVE");
    let shown = cloud::shown(&server);
    let double = Double::start(cloud::script(vec![shown, cloud::list(&[server])]));
    let site = Site::with_cloud(double.url()).set("SUDO_USER", "alice");
    let slot = condor::slot("n1", SERVER_ID, "n-1", 900);
    let site = site.answers("condor_status", "any", &(slot + "exit=0\n"));
    site.tick(&[]).exits(0);
    (double, site)
}

#[test]
fn the_schedd_names_owners_and_what_it_does_not_say_is_unknown() {
    let (_double, site) = lab();
    // A constraint without the machines lists jobs of all, and jobs that have none yet.
    let jobs = "out|slot1_1@N1.example\talice\t12.0\nout|slot1_2@n1\tbob\t7.1\n\
                out|slot1@other\tcarol\t8.0\nout|\tcarol\t8.1\nexit=0\n";
    let site = site.answers("condor_q", "-constraint", jobs);
    let json = ehos(&site, &["delete", "n-1", "--yes", "-o", "json"])
        .exits(0)
        .json();
    let named = json!([
        {"schedd": "local", "id": "12.0", "owner": "alice", "machine": "N1.example"},
        {"schedd": "local", "id": "7.1", "owner": "bob", "machine": "n1"},
    ]);
    assert_eq!(json["jobs"], named);
    assert_eq!(json["jobs_total"], 2);
    let constraint = site.calls();
    let constraint = constraint
        .lines()
        .rfind(|line| line.starts_with("condor_q"))
        .unwrap()
        .to_owned();
    assert!(
        constraint.contains("\"n1\"") && constraint.contains("Owner"),
        "{constraint}"
    );
    ehos(&site, &["delete", "n-1", "--cancel"]).exits(0);

    let site = site.answers(
        "condor_q",
        "-constraint",
        "err|Failed to fetch ads\nexit=1\n",
    );
    ehos(&site, &["delete", "n-1"])
        .exits(1)
        .says("running jobs: UNKNOWN (claimed slots as of the last tick: 0): ")
        .warns("no terminal");
    let json = ehos(&site, &["delete", "n-1", "--yes", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["jobs"], Value::Null);
    assert!(
        json["jobs_unknown"].as_str().unwrap().contains("condor_q"),
        "{json}"
    );
}

#[test]
fn more_jobs_than_are_listed_are_counted() {
    let (_double, site) = lab();
    let mut jobs: String = (0..1203)
        .map(|id| format!("out|slot1@n1\talice\t{id}.0\n"))
        .collect();
    jobs += "exit=0\n";
    let site = site.answers("condor_q", "-constraint", &jobs);
    ehos(&site, &["delete", "n-1"])
        .exits(1)
        .says("running jobs that END: 1203 (")
        .says("  the first 1000 of them:\n");
    let json = ehos(&site, &["delete", "n-1", "--yes", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["jobs"].as_array().unwrap().len(), 1000);
    assert_eq!(json["jobs_total"], 1203);
}

#[test]
fn a_requested_delete_needs_no_collector() {
    let (double, site) = lab();
    ehos(&site, &["delete", "n-1", "--yes"]).exits(0);
    let silent = "err|Error: communication error\nexit=1\n";
    let site = site.answers("condor_status", "any", silent);
    site.tick(&[]).says("delete requested by alice");
    assert_eq!(
        double.count("DELETE", &format!("/v2.1/servers/{SERVER_ID}")),
        1
    );
}

#[test]
fn a_command_that_is_killed_at_any_call_loses_no_request_and_does_none_twice() {
    if !strace_works() {
        return;
    }
    let site = site();
    let (busy, idle) = (nodes(&site, true), nodes(&site, false));
    let file = site.state().join("state.json");
    let log = site.path().join("strace.log");
    let strace = |how: &str, words: &[&str]| {
        let ehos = args(&site, words);
        let trace = [
            "strace",
            "-f",
            "-b",
            "execve",
            "-y",
            "-o",
            log.to_str().unwrap(),
            "-e",
            how,
        ];
        let mut all = trace.to_vec();
        all.push(testkit::program!());
        all.extend(ehos.iter().map(String::as_str));
        site.finish(&mut site.words(&all))
    };
    let read = || -> Value { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    // Without the times at which it was requested.
    let requests = |state: &Value| -> Value {
        let node = |id: &str| {
            let node = &state["state"]["nodes"][id];
            let has = |field: &str| !node[field].is_null();
            json!([has("keep"), has("drain_request"), has("delete_request")])
        };
        json!([
            !state["state"]["paused"].is_null(),
            node(&busy[0]),
            node(&idle[0])
        ])
    };
    let commands: [&[&str]; 4] = [
        &["pause", "--reason", "a"],
        &["keep", &idle[0]],
        &["delete", &busy[0], "--yes"],
        &["resume"],
    ];
    for words in commands {
        let before = fs::read(&file).unwrap();
        let old = requests(&read());
        strace("trace=%file,%desc", words).exits(0);
        let new = requests(&read());
        assert_ne!(old, new, "{words:?}");
        let calls = calls_in(
            &fs::read_to_string(&log).unwrap(),
            &site.state().display().to_string(),
        );
        assert!(calls.len() > 5, "{calls:?}");
        for call in &calls {
            fs::write(&file, &before).unwrap();
            let how = format!("inject={}:signal=KILL:when={}", call.name, call.number);
            let run = strace(&how, words);
            assert_eq!(run.code(), None, "{words:?} {call:?}: {run}");
            let now = requests(&read());
            assert!(now == old || now == new, "{words:?} {call:?}: {now}");
            ehos(&site, words).exits(0);
            assert_eq!(requests(&read()), new, "{words:?} {call:?}");
        }
    }
    // What killed commands have left goes with the next tick, which does what is left of the requests.
    site.tick(&[]).exits(0).says("delete requested by alice");
    assert_eq!(
        site.state_names()
            .iter()
            .filter(|name| name.contains("new-"))
            .count(),
        0
    );
}
