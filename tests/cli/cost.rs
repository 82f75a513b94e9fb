//! `ehos cost`: who pays for which node, and sums that agree.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Run, Site};
use crate::json::{documented, fields};

/// A day of November, in seconds since 1970.
fn at(day: i64, hour: i64) -> i64 {
    let first: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    first.as_second() + (day - 1) * 86_400 + hour * 3600
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

fn event(node: &str, flavor: &str, vcpus: u64, price: f64, phase: &str) -> Value {
    json!({"node": node, "name": format!("ehos-v1-execute-{node}"), "machine": format!("host-{node}"), "cloud": "lab",
        "flavor": flavor, "image": "i", "vcpus": vcpus, "memory_mb": 2048 * vcpus, "per_hour": price, "phase": phase,
        "decision": "keep", "reason": "free", "text": "t"})
}

fn record(seconds: i64, events: Value, actions: Value) -> String {
    json!({"version": 2, "at": time(seconds), "events": events, "actions": actions}).to_string()
}

/// Two nodes: one for a day at 0.3333 an hour, one that still runs at 0.1.
fn site() -> Site {
    let site = Site::with_cloud("http://127.0.0.1:9");
    let create =
        |node: &str| json!([{"action": "create", "node": node, "cloud": "lab", "result": "done"}]);
    let delete = json!([{"action": "delete", "node": "a", "cloud": "lab", "result": "done"}]);
    let first = [
        record(
            at(2, 0),
            json!([event("a", "m1.large", 4, 0.3333, "new")]),
            create("a"),
        ),
        record(
            at(2, 1),
            json!([event("a", "m1.large", 4, 0.3333, "busy")]),
            json!([]),
        ),
        "{\"at\": torn".to_owned(),
        record(
            at(2, 23),
            json!([event("a", "m1.large", 4, 0.3333, "draining")]),
            json!([]),
        ),
    ];
    let second = [
        record(
            at(3, 0),
            json!([event("a", "m1.large", 4, 0.3333, "deleting")]),
            delete,
        ),
        record(
            at(3, 0),
            json!([event("b", "m1.small", 1, 0.1, "new")]),
            create("b"),
        ),
        record(
            at(3, 1),
            json!([event("b", "m1.small", 1, 0.1, "idle")]),
            json!([]),
        ),
    ];
    site.write("state/history/2026-11-02.jsonl", &(first.join("\n") + "\n"));
    site.write(
        "state/history/2026-11-03.jsonl",
        &(second.join("\n") + "\n"),
    );
    let last = json!({"version": 2, "at": time(at(4, 12)), "nodes": [{"node": "b", "name": "ehos-v1-execute-b", "cloud": "lab",
        "flavor": "m1.small", "server": {"vcpus": 1, "per_hour": 0.1, "age_seconds": 100}, "phase": "idle", "decision": "keep",
        "reason": "free", "text": "t"}]});
    site.write("state/history/last.json", &last.to_string());
    site.answers(
        "condor_history",
        ENDS,
        "out|[\nout|{\nout|  \"ClusterId\": 1\nout|}\nout|]\nexit=0\n",
    )
}

fn ad(id: &str, owner: &str, host: &str, cpus: u64, from: i64, to: i64) -> Value {
    json!({"GlobalJobId": id, "ClusterId": 9, "ProcId": id.bytes().fold(0, |sum, byte| sum * 256 + u64::from(byte)), "Owner": owner, "AcctGroup": format!("group_{owner}"), "JobStatus": 4,
        "JobUniverse": 5, "JobCurrentStartDate": from, "CompletionDate": to, "EnteredCurrentStatus": to,
        "RemoteWallClockTime": to - from, "RequestCpus": cpus, "RequestMemory": 512,
        "LastRemoteHost": format!("slot1_1@{host}")})
}

/// As `-json` prints ads.
fn answer(ads: &[Value]) -> String {
    let text = serde_json::to_string_pretty(&Value::from(ads)).unwrap();
    let text = text
        .lines()
        .map(|line| format!("out|{}\n", line.strip_prefix("  ").unwrap_or(line)));
    text.collect::<String>() + "exit=0\n"
}

fn with_jobs(site: Site) -> Site {
    let mut evicted = ad("e#1", "carol", "host-b", 1, at(3, 5), at(3, 6));
    evicted["RemoteWallClockTime"] = json!(3 * 3600);
    let ended = [
        ad("a#1", "alice", "host-a", 2, at(2, 2), at(2, 4)),
        ad("b#1", "bob", "host-a.example.org", 1, at(2, 2), at(2, 10)),
        evicted,
        ad("d#1", "dave", "desktop", 8, at(3, 5), at(3, 6)),
    ];
    let mut running = ad("r#1", "bob", "host-b", 1, at(4, 2), 0);
    running["JobStatus"] = json!(2);
    running["ServerTime"] = json!(at(4, 12));
    running["RemoteHost"] = running["LastRemoteHost"].take();
    site.answers("condor_history", "any", &answer(&ended))
        .answers("condor_q", "-constraint", &answer(&[running]))
}

fn cost(site: &Site, more: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let named = [
        "cost",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    site.run(&[&named[..], more].concat())
}

/// A number of JSON in its smallest parts.
fn parts(value: &Value, per_unit: f64) -> i64 {
    (value.as_f64().unwrap() * per_unit).round() as i64
}

/// What is asked of a history to find how far it reaches back.
const ENDS: &str = "ClusterId,EnteredCurrentStatus";

const BY: [&str; 6] = [
    "owner",
    "accounting-group",
    "cloud",
    "flavor",
    "day",
    "node",
];

#[test]
fn every_breakdown_has_the_total_of_the_history() {
    let site = with_jobs(site());
    // 24 hours of one, and 36 hours of the other until the last tick.
    let total = 24 * 333_300 + 36 * 100_000;
    for apart in [&[][..], &["--apart"]] {
        for by in BY {
            let run = cost(&site, &[&["--by", by, "-o", "json"], apart].concat());
            let found = run.exits(0).json();
            let lines = found["rows"].as_array().unwrap().iter();
            let overhead = found["overhead"].as_object();
            let lines = lines.chain(overhead.into_iter().flat_map(|one| one.values()));
            let lines: Vec<&Value> = lines.chain([&found["unattributed"]]).collect();
            for (field, unit) in [
                ("cost", 1e6),
                ("paid_core_seconds", 1e3),
                ("used_core_seconds", 1e3),
                ("jobs", 1.0),
            ] {
                let sum: i64 = lines.iter().map(|line| parts(&line[field], unit)).sum();
                assert_eq!(
                    sum,
                    parts(&found["total"][field], unit),
                    "{by} {field} {found:#}"
                );
            }
            assert_eq!(parts(&found["total"]["cost"], 1e6), total, "{by}");
            let csv = cost(&site, &[&["--by", by, "-o", "csv"], apart].concat());
            let csv = csv.exits(0).stdout.clone();
            let costs = csv
                .lines()
                .skip(1)
                .map(|line| line.rsplit(',').next().unwrap().replace('.', ""));
            let costs: Vec<i64> = costs.map(|cost| cost.parse().unwrap()).collect();
            let (last, rows) = costs.split_last().unwrap();
            assert_eq!((rows.iter().sum::<i64>(), *last), (total, total), "{csv}");
        }
    }
}

#[test]
fn owners_pay_in_proportion_to_their_use_and_what_is_not_known_is_said() {
    let site = with_jobs(site()).set("COLUMNS", "100");
    let found = cost(&site, &["-o", "json"]).exits(0).json();
    let of = |name: &str, field: &str| {
        let rows = found["rows"].as_array().unwrap();
        parts(
            &rows.iter().find(|row| row["name"] == name).unwrap()[field],
            1e6,
        )
    };
    // Of the first node alice has 4 core-hours and bob 8; of the second one carol has the 3rd, and bob the 4th.
    assert_eq!(of("alice", "cost"), 8 * 333_300);
    assert_eq!(of("bob", "cost"), 16 * 333_300 + 12 * 100_000);
    assert_eq!(of("carol", "cost"), 24 * 100_000);
    assert_eq!(found["unattributed"]["earlier_runs"], 1);
    assert_eq!(
        parts(&found["unattributed"]["used_core_seconds"], 1.0),
        2 * 3600
    );
    assert_eq!(
        parts(&found["unmanaged"]["used_core_seconds"], 1.0),
        8 * 3600
    );
    cost(&site, &[])
        .exits(0)
        .says("bob ")
        .says("(unattributed)")
        .says("earlier runs of 1 job (evicted, requeued)")
        .says("1 job with 8.00 core-hours ran on machines that ehos does not manage")
        .says("damaged lines of the history, left out: 1");
    let told = site
        .run(&[
            "explain",
            "--state-dir",
            site.state().to_str().unwrap(),
            "-o",
            "json",
            "b",
        ])
        .exits(0)
        .json();
    let by_node = cost(&site, &["--by", "node", "-o", "json"]).exits(0).json();
    let rows = by_node["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "b").unwrap();
    assert_eq!(told["cost"], row["cost"], "ehos explain says the same");
}

#[test]
fn a_period_is_days_both_included_and_at_most_until_the_last_tick() {
    let site = with_jobs(site());
    let total = |more: &[&str]| {
        let run = cost(&site, &[more, &["--by", "day", "-o", "json"]].concat());
        parts(&run.exits(0).json()["total"]["cost"], 1e6)
    };
    assert_eq!(
        total(&["--from", "2026-11-03", "--to", "2026-11-03"]),
        24 * 100_000
    );
    assert_eq!(
        total(&["--from", "2026-11-02", "--to", "2026-11-02"]),
        24 * 333_300
    );
    assert_eq!(total(&["--month", "2026-11"]), total(&[]));
    assert_eq!(total(&["--month", "2026-10"]), 0);
    cost(&site, &["--from", "2026-11-03", "--to", "2026-11-02"])
        .exits(1)
        .warns("give the earlier day as --from");
    for wrong in [
        &["--month", "2026-13"][..],
        &["--from", "yesterday"],
        &["--to", "2026-11-02"],
        &["--by", "moon"],
    ] {
        cost(&site, wrong).exits(2);
    }
}

#[test]
fn a_schedd_that_does_not_answer_or_a_short_history_leaves_nodes_unattributed() {
    let down = with_jobs(site()).answers(
        "condor_history",
        ENDS,
        "err|Error: communication error\nexit=1\n",
    );
    let found = cost(&down, &["-o", "json"]).exits(75).json();
    assert_eq!(found["rows"], json!([]));
    assert_eq!(found["unattributed"]["cost"], found["total"]["cost"]);
    assert!(
        found["unknown"].to_string().contains("communication error"),
        "{found:#}"
    );
    // The schedd is down, and its history is there: what the known jobs did not use is nobody's.
    let down = with_jobs(site()).answers(
        "condor_q",
        "-constraint",
        "err|Error: communication error\nexit=1\n",
    );
    let found = cost(&down, &["-o", "json"]).exits(75).json();
    assert_eq!(
        parts(&found["total"]["cost"], 1e6),
        24 * 333_300 + 36 * 100_000
    );
    assert!(found["unknown"].to_string().contains("communication error"));
    assert!(parts(&found["unattributed"]["cost"], 1e6) > 0, "{found:#}");
    let jobs = answer(&[ad("x#1", "alice", "host-b", 1, at(3, 10), at(3, 12))]);
    let short = with_jobs(site())
        .answers("condor_history", ENDS, &jobs)
        .answers("condor_history", "any", &jobs);
    let found = cost(&short, &["-o", "json"]).exits(0).json();
    // The first node, and ten hours of the second one, in which she does not run it.
    assert_eq!(
        parts(&found["unattributed"]["cost"], 1e6),
        24 * 333_300 + 10 * 100_000
    );
    assert!(
        found["unknown"]
            .to_string()
            .contains("jobs that ended before 2026-11-03 12:00 UTC are unknown"),
        "{found:#}"
    );
}

#[test]
fn names_of_others_reach_no_terminal_and_are_bounded() {
    let site = site();
    let ads: Vec<Value> = (0..50)
        .map(|number| {
            let owner = format!("=u{number}\u{1b}[31m\u{202e}\t{}", "x".repeat(500));
            ad(
                &format!("{number}"),
                &owner,
                "host-a",
                1,
                at(2, 2),
                at(2, 3) + number,
            )
        })
        .collect();
    let site = site
        .answers("condor_history", "any", &answer(&ads))
        .answers("condor_q", "-constraint", "exit=0\n");
    for output in ["table", "csv", "json"] {
        let run = cost(&site, &["-o", output]);
        run.exits(0).never_says("\u{1b}").never_says("\u{202e}");
        assert!(!run.stdout.contains(&"x".repeat(300)), "{}", run.stdout);
    }
    let table = cost(&site, &[]);
    table.says("(30 others)");
    assert_eq!(
        table
            .stdout
            .lines()
            .filter(|line| line.starts_with("=u"))
            .count(),
        20
    );
}

#[test]
fn every_field_is_documented() {
    let site = with_jobs(site());
    let found = cost(&site, &["--apart", "-o", "json"]).exits(0).json();
    let mut names = std::collections::BTreeSet::new();
    fields(&found, "", &mut names);
    let documented = documented("ehos cost");
    let is_named = |name: &String| {
        let last = name.rsplit('.').next().unwrap_or(name);
        let ending = format!(".{last}");
        documented.contains(last) || documented.iter().any(|one| one.ends_with(&ending))
    };
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !name.starts_with("notes.") && !is_named(name))
        .collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
}

#[test]
fn a_simulated_site_has_nodes_and_jobs_with_owners() {
    let site = Site::simulated();
    for _ in 0..6 {
        site.tick(&[]).exits(0);
    }
    assert!(fs::exists(site.state().join("history/last.json")).unwrap());
    let run = cost(&site, &["--by", "flavor"]);
    run.exits(0).says(" in ");
    cost(&site, &["--by", "owner"])
        .exits(0)
        .never_says("jobs are unknown")
        .says("alice")
        .says("bob");
    let cents = |by: &str| {
        let json = cost(&site, &["--by", by, "-o", "json"]).json();
        json["total"]["cost"].as_f64().unwrap()
    };
    assert!(cents("owner") > 0.0);
    assert!((cents("owner") - cents("flavor")).abs() < 1e-9);
}
