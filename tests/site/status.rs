//! `ehos status` and `ehos explain` of a real HTCondor and a real OpenStack, on a terminal of 80 columns.

use std::process::Command;

use crate::faults::rig::{Rig, within};
use crate::machines::{Answer, run, step};

/// The command on a terminal of its own, which is 80 columns wide.
fn on_a_terminal(rig: &Rig, arguments: &str) -> Answer {
    let ehos = testkit::program!();
    let state = rig.path("state");
    let words = format!(
        "stty cols 80 rows 50; exec {ehos} {arguments} --state-dir {}",
        state.display()
    );
    let answer = run(
        Command::new("script")
            .args(["--quiet", "--return", "--command", &words, "/dev/null"])
            .env("TERM", "xterm"),
        b"",
    );
    println!("$ ehos {arguments}\n{}", answer.stdout.replace('\r', ""));
    answer
}

/// Without what colours it.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.replace('\r', "").split("\u{1b}[").enumerate() {
        let text = match part.split_once('m') {
            Some((_, text)) if index > 0 => text,
            _ => part,
        };
        plain.push_str(text);
    }
    plain
}

#[test]
fn what_is_there_and_why_on_80_columns() {
    let Some(rig) = Rig::up("status", "nodes_max: 3\nidle_timeout: 5 s") else {
        return;
    };
    rig.pool
        .submit(2, "100000", "request_cpus = 1\nrequest_memory = 512");
    rig.pool
        .submit(1, "1", "request_cpus = 1\nrequest_memory = 512");
    rig.pool.submit(1, "1", "request_cpus = 64");
    rig.tick_until("two jobs run", 120, &[0], |rig| rig.pool.jobs(2) == 2);
    // A startd tells the collector later than the schedd knows.
    let claimed = ["-constraint", "State == \"Claimed\""];
    rig.tick_until("the collector knows them", 60, &[0], |rig| {
        rig.pool.rows("condor_status", &claimed, &["Name"]).len() == 2
    });
    let tick = rig.steady_tick();
    assert_eq!(tick.code, 0, "{tick}");
    let answer = on_a_terminal(&rig, "status");
    assert_eq!(answer.code, 0, "{}", answer.stdout);
    assert!(answer.stdout.contains("\u{1b}["), "no colour on a terminal");
    let text = plain(&answer.stdout);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for words in ["2 running", "busy", "big", "64 CPUs", "took "] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    // The id of one that is busy.
    let busy = text.lines().find(|line| line.contains(" busy "));
    let node = busy.and_then(|line| line.split_whitespace().next());
    let node = node.unwrap().to_owned();
    assert!(
        plain(&on_a_terminal(&rig, &format!("explain {node}")).stdout)
            .contains("The node exists, busy")
    );

    step("a cloud is away");
    rig.big.close(crate::faults::proxy::NOVA);
    let tick = rig.tick(&[]);
    assert_eq!(tick.code, 1, "{tick}");
    let answer = on_a_terminal(&rig, "status");
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    assert!(plain(&answer.stdout).starts_with("unknown    cloud big: "));
    rig.big.reopen(crate::faults::proxy::NOVA);

    step("the jobs go");
    rig.pool.tool("condor_rm", &["-all"]);
    rig.tick_until("the nodes are gone", 120, &[0], |rig| {
        rig.servers().is_empty()
    });
    assert!(within(30, || {
        rig.tick(&[]);
        let life = plain(&on_a_terminal(&rig, &format!("explain {node}")).stdout);
        life.contains("ehos deleted the node at ")
    }));
    step("done");
}

#[test]
fn jobs_of_a_server_that_somebody_deleted_are_told() {
    let daemon = "nodes_max: 2\nidle_timeout: 1 h\nlost_timeout: 20 s";
    let Some(rig) = Rig::up("vanished", daemon) else {
        return;
    };
    rig.over("clouds: {small: {nodes_max: 0}}");
    rig.pool
        .submit(1, "100000", "request_cpus = 1\nrequest_memory = 512");
    rig.tick_until("the job runs", 120, &[0], |rig| rig.pool.jobs(2) == 1);
    let server = rig.servers().remove(0);
    let nova = rig.nova.project("big").clone();
    let place = format!(":8774/v2.1/servers/{}", server.id);
    nova.ok("DELETE", &place, None);

    step("its job is said to run, and by whom it is not");
    rig.tick_until("that is told", 120, &[0, 1], |rig| {
        let answer = on_a_terminal(rig, "status");
        plain(&answer.stdout).contains("running on deleted machines")
    });
    assert_eq!(rig.pool.jobs(2), 1, "HTCondor still says that it runs");
    let json = on_a_terminal(&rig, "status -o json").stdout;
    let from = json.find('{').unwrap();
    let snapshot: serde_json::Value = serde_json::from_str(json[from..].trim()).unwrap();
    let stranded = &snapshot["stranded"];
    println!("{stranded:#}");
    assert_eq!(stranded["jobs"], 1);
    assert_eq!(snapshot["queue"]["stranded"], 1);
    // The lease of HTCondor itself, and what the schedd may take to notice.
    let left = stranded["seconds_left"].as_u64().unwrap();
    assert!((600..=2400 + 16 * 60).contains(&left), "{left}");
}
