//! `ehos explain JOB` of a real HTCondor, for a user who neither submitted the jobs nor may read the configuration.

use std::process::Command;

use crate::faults::rig::{Rig, within};
use crate::machines::{Answer, run, step};

/// `ehos explain` as user bob of the pool, with a configuration that names the tools alone.
fn explain(rig: &Rig, arguments: &[&str]) -> Answer {
    let config = rig.path("bob.yaml");
    if !config.exists() {
        let tools = rig.path("tools");
        std::fs::write(&config, format!("condor:\n  bin: {}\n", tools.display())).unwrap();
    }
    let answer = run(
        Command::new(testkit::program!())
            .args(["explain", "--utc", "--config"])
            .arg(&config)
            .arg("--state-dir")
            .arg(rig.path("state"))
            .args(arguments)
            .env_clear()
            .env("TESTBED_USER", "bob")
            .env("COLUMNS", "200")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        b"",
    );
    println!(
        "$ ehos explain {}\n{}{}",
        arguments.join(" "),
        answer.stdout,
        answer.stderr
    );
    answer
}

#[track_caller]
fn tells(rig: &Rig, subject: &str, words: &[&str]) {
    let answer = explain(rig, &[subject]);
    assert_eq!(answer.code, 0, "{subject}");
    for words in words {
        assert!(
            answer.stdout.contains(words),
            "no {words:?} about {subject}"
        );
    }
}

/// The id of the newest job of alice.
fn newest(rig: &Rig) -> String {
    let rows = rig
        .pool
        .rows("condor_q", &["-allusers"], &["ClusterId", "ProcId"]);
    let last = rows.iter().max_by_key(|row| row[0].parse::<u64>().unwrap());
    last.unwrap().join(".")
}

#[test]
fn a_user_learns_why_a_job_waits_and_where_it_runs() {
    let Some(rig) = Rig::up("explain", "nodes_max: 1\nidle_timeout: 1 h") else {
        return;
    };
    rig.over("ehos: {prices: {m1.small: 0.4, m1.medium: 0.8}}");
    let small = "request_cpus = 1\nrequest_memory = 512";

    step("a job that is younger than the last tick");
    rig.steady_tick();
    rig.pool.submit(1, "100000", small);
    let running = newest(&rig);
    tells(
        &rig,
        &running,
        &[" of alice: waiting since ", "younger than the last tick"],
    );

    step("a clause that only a node can answer, before the first one has joined");
    let clause = format!("{small}\nrequirements = TARGET.HasWindows =?= true");
    rig.pool.submit(1, "1", &clause);
    let refused = newest(&rig);
    rig.tick(&[]);
    tells(
        &rig,
        &refused,
        &[
            "until the first node of its type has joined",
            "TARGET.HasWindows is true",
        ],
    );

    step("it is placed on a node that starts, and runs there");
    let placed = within(60, || {
        rig.tick(&[]);
        let answer = explain(&rig, &[&running]);
        answer.stdout.contains("create ") || answer.stdout.contains("starting nodes")
    });
    assert!(placed, "no answer about a new node");
    rig.tick_until("the job runs", 120, &[0], |rig| rig.pool.jobs(2) == 1);
    // The collector and the report know of the claim a little later.
    let told = within(60, || {
        rig.tick(&[]);
        explain(&rig, &[&running]).stdout.contains(" per hour")
    });
    assert!(told, "the node of the running job is not told");
    tells(&rig, &running, &[": running since ", "waited ", " in big"]);
    // The slot's ad names the job with the startd's next update.
    let mut report = serde_json::Value::Null;
    let named = within(60, || {
        rig.tick(&[]);
        let text = std::fs::read_to_string(rig.path("state/history/last.json")).unwrap();
        report = serde_json::from_str(&text).unwrap();
        let job = &report["nodes"][0]["running_jobs"][0];
        job["job"] == running.as_str() && job["owner"] == "alice"
    });
    assert!(named, "{:#}", report["nodes"]);

    step("jobs beyond nodes_max, and too large ones");
    rig.pool
        .submit(3, "100000", "request_cpus = 1\nrequest_memory = 1400");
    let limited = newest(&rig);
    rig.pool
        .submit(1, "1", "request_cpus = 64\nrequest_memory = 512");
    let large = newest(&rig);
    rig.tick_until("all are decided", 60, &[0], |rig| {
        explain(rig, &[&limited]).stdout.contains("nodes_max 1")
    });
    tells(
        &rig,
        &limited,
        &[
            "3 waiting jobs with equal request",
            "raise nodes_max (now 1)",
        ],
    );
    tells(
        &rig,
        &large,
        &[
            "no flavor is large enough",
            "lower request_cpus to at most 2",
        ],
    );
    let cluster = limited.split('.').next().unwrap();
    tells(
        &rig,
        cluster,
        &["3 waiting, 0 running, 0 held", "3 × 1 CPU, 1408 MB"],
    );
    tells(
        &rig,
        "alice",
        &["5 waiting, 1 running, 0 held", "1 job on n-"],
    );

    step("a held, a removed and a finished job are told apart, and one that is nowhere");
    rig.pool
        .tool("condor_hold", &["-reason", "to be looked at", &large]);
    tells(
        &rig,
        &large,
        &[": held since ", "to be looked at", "condor_release"],
    );
    rig.pool.tool("condor_rm", &[&refused]);
    assert!(within(30, || explain(&rig, &[&refused])
        .stdout
        .contains(": removed at ")));
    // They would take the node before the short one.
    rig.pool.tool("condor_rm", &[&running, cluster]);
    rig.pool.submit(1, "3", small);
    let short = newest(&rig);
    rig.tick_until("the short job has ended", 120, &[0], |rig| {
        explain(rig, &[&short]).stdout.contains(": completed at ")
    });
    tells(
        &rig,
        &short,
        &["waited ", "ran ", "its share of the node's cost is about "],
    );
    let nowhere = explain(&rig, &["999999.0"]);
    assert_eq!(nowhere.code, 1, "{}", nowhere.stdout);
    assert!(
        nowhere
            .stderr
            .contains("neither in the queue nor in the job history")
    );

    step("a site that hides owners hides them in its reports, and each user's query still answers");
    rig.over("daemon: {show_owners: false}");
    rig.pool.tool("condor_release", &[&large]);
    rig.tick_until("a tick has hidden them", 60, &[0], |rig| {
        let report = std::fs::read_to_string(rig.path("state/history/last.json")).unwrap();
        report.contains("\"owners_hidden\":true") && report.contains("too_large")
    });
    let report = std::fs::read_to_string(rig.path("state/history/last.json")).unwrap();
    assert!(!report.contains("alice"), "{report}");
    tells(
        &rig,
        &large,
        &[" of alice: waiting since ", "no flavor is large enough"],
    );
    step("done");
}
