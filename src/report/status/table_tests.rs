use super::*;
use crate::problem::is_late;
use proptest::prelude::*;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

fn snapshot(value: Value) -> TickReport {
    serde_json::from_value(value).unwrap()
}

fn view(width: usize) -> View {
    View {
        width,
        colour: false,
        all: false,
        time_zone: TimeZone::UTC,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn node(number: usize, phase: &str, decision: &str, reason: &str, text: &str) -> Value {
    let id = format!("20261126t0900{number:02}-01");
    let startd = json!({"machine": format!("host-{number}"), "cpus": 8, "claimed_cpus": if phase == "busy" { 6 } else { 0 }});
    json!({
        "node": id, "name": format!("ehos-v1-execute-{id}"), "cloud": if number.is_multiple_of(2) { "blue" } else { "green" },
        "flavor": "m1.large", "server": {"id": "5f1c", "image": "ehos-2026-11-20", "age_seconds": 600 * number, "vcpus": 8},
        "startd": if ["busy", "idle", "drained"].contains(&phase) { startd } else { Value::Null },
        "phase": phase, "decision": decision, "reason": reason, "text": text,
    })
}

/// A site of which a good deal is wrong.
fn site() -> Value {
    let mut nodes = vec![
        node(
            1,
            "failed",
            "delete",
            "failed_in_cloud",
            "the cloud says ERROR: No valid host was found",
        ),
        node(
            2,
            "drained",
            "delete",
            "drained",
            "drained, no claim left, idle 8 min",
        ),
        node(
            3,
            "booting",
            "keep",
            "booting",
            "booting for 4 min, boot_timeout 15 min",
        ),
        node(
            4,
            "idle",
            "keep",
            "idle_not_long_enough",
            "idle 2 min, kept until 5 min",
        ),
        node(
            60,
            "new",
            "create",
            "create_for_demand",
            "for 8 waiting jobs of 1 cpu, 2048 MB: m1.large in green, the first flavor",
        ),
    ];
    nodes.extend((10..40).map(|number| node(number, "busy", "keep", "busy", "busy 6 of 8 cpus")));
    json!({
        "version": 1, "at": "2026-11-26T09:30:00Z", "exit": 1, "milliseconds": 3456,
        "source_milliseconds": {"pool": 210, "cloud blue": 3010, "cloud green": 420, "matches": 0},
        "policy": {"cluster": "p", "nodes_min": 0, "nodes_max": 40, "nodes_spare": "0", "budget": {"per_month": 1000.0}},
        "queue": {"schedds": 2, "idle": 120, "running": 200, "held": 3, "waiting": 110, "longest_seconds": 5400, "unmatched": 4, "limited": 60},
        "cores": {"paid": 272, "joined": 256, "claimed": 180, "free": 60, "unmanaged": 64, "unmanaged_claimed": 12},
        "notices": ["the password can be read by others: chmod 600 /etc/ehos/ehos.yaml"],
        "unknown_sources": [{"source": "limits of cloud green", "cause": "GET https://green.example.org:9696/v2.0/quotas: no answer within 10 s"}],
        "brakes": [{"brake": "collector_young", "text": "the collector runs for 30 s", "stops_creates": true}],
        "protected": [{"cloud": "blue", "flavor": "m1.small", "image": "ehos-2026-11-20", "since": "2026-11-26T08:00:00Z", "failures": 5,
            "last_failure": "never joined", "text": "cloud blue: no more nodes of m1.small since 2026-11-26T08:00:00Z. Mend what is broken, then: ehos resume blue"}],
        "budgets_spent": [{"cloud": "green", "per_month": 100.0, "spent": 99.5, "committed": 1.25, "text": "cloud green: 99.50 of 100.00 this month"}],
        "cost": {"month": "2026-11", "counted_since": null, "per_hour": 13.6, "spent_this_month": 812.25, "clouds": [
            {"cloud": "blue", "per_hour": 6.4, "spent_this_month": 712.75}, {"cloud": "green", "per_hour": 7.2, "spent_this_month": 99.5}]},
        "clouds": [
            {"cloud": "blue", "answers": true, "nodes": 16, "nodes_max": 20, "quota": {"instances": {"used": 18, "limit": 30},
                "cores": {"used": 140, "limit": 200}, "ram_mb": {"used": 286_720, "limit": 409_600}}, "pause": {"seconds": 240, "cause": "429 Too Many Requests"}},
            {"cloud": "green", "answers": true, "nodes": 18, "quota": {"instances": {"used": 18, "limit": null},
                "cores": {"used": 144, "limit": null}, "ram_mb": {"used": 294_912, "limit": null}}, "budget": {"per_month": 100.0}},
            {"cloud": "red", "answers": false, "nodes": 0}],
        "backoffs": [{"cloud": "blue", "flavor": "m1.huge", "image": "ehos-2026-11-20", "seconds": 420, "failures": 2, "last_failure": "No valid host was found"}],
        "builders": [{"text": "within its lifetime"}],
        "nodes": nodes,
        "job_groups": [
            {"request": {"cpus": 1, "memory_mb": 2048, "disk_kb": 0, "gpus": 0}, "jobs": 100, "waiting_seconds": 1200, "example": "12.0", "reasons": [
                {"reason": "new_nodes", "text": "40 on 5 new nodes: m1.large in green"},
                {"reason": "limited", "text": "60: the quota of blue: 60 cores left", "jobs": 60, "limit": {"name": "cores"}}]},
            {"request": {"cpus": 64, "memory_mb": 2048, "disk_kb": 0, "gpus": 0}, "jobs": 4, "waiting_seconds": 5400, "reasons": [
                {"reason": "too_large", "text": "no flavor is large enough: requested 64 CPUs; largest node 8 CPUs"}]}],
        "actions": [{"action": "create", "node": "20261126t093000-09", "cloud": "blue", "result": "failed", "message": "403: Quota exceeded for cores"},
            {"action": "drain", "node": "20261126t090002-01", "result": "done"}],
    })
}

#[test]
fn a_site_at_80_and_140_columns() {
    let site = snapshot(site());
    let now = at("2026-11-26T09:35:00Z");
    for width in [80, 140] {
        let text = table(&site, now, &view(width));
        insta::assert_snapshot!(format!("site_{width}"), text);
    }
}

#[test]
fn what_is_wrong_comes_first_and_decides_the_exit_code() {
    let whole = site();
    let now = at("2026-11-26T09:30:10Z");
    let wrong = |keep: &[&str]| {
        let mut some = json!({"version": 1, "at": "2026-11-26T09:30:00Z", "exit": 0});
        for key in keep {
            some[*key] = whole[*key].clone();
        }
        let found = problems(&snapshot(some), now);
        (
            found.len(),
            found.iter().any(|one| one.level == Level::Error),
        )
    };
    assert_eq!(wrong(&[]), (0, false));
    assert_eq!(wrong(&["unknown_sources"]), (1, true));
    assert_eq!(wrong(&["protected"]), (1, true));
    assert_eq!(wrong(&["exit"]), (1, true));
    assert_eq!(wrong(&["exit", "actions"]), (2, true));
    assert_eq!(
        wrong(&["brakes"]),
        (1, false),
        "a young collector gets older"
    );
    assert_eq!(wrong(&["budgets_spent"]), (1, false), "as it is configured");
    let stranded = snapshot(with_stranded());
    let found = problems(&stranded, now);
    assert_eq!((found.len(), found[0].word), (1, "stranded"));
    assert!(found[0].level == Level::Warning, "it ends with the leases");
    let vanished =
        json!({"at": "2026-11-26T09:30:00Z", "brakes": [{"brake": "nodes_silent", "text": "t"}]});
    assert!(
        problems(&snapshot(vanished), now)
            .iter()
            .all(|one| one.level == Level::Error)
    );
}

fn with_stranded() -> Value {
    json!({"at": "2026-11-26T09:30:00Z", "queue": {"schedds": 1, "running": 9, "stranded": 4}, "stranded": {
        "jobs": 4, "until": "2026-11-26T09:50:00Z", "seconds_left": 1200, "machines": [], "text": "4 jobs run on no machine, until …"}})
}

#[test]
fn jobs_on_machines_that_are_gone_are_told_at_the_top_and_counted() {
    let site = snapshot(with_stranded());
    let text = table(&site, site.at, &view(80));
    assert!(
        text.starts_with("stranded   4 jobs run on no machine, until …\n"),
        "{text}"
    );
    assert!(
        text.contains("0 idle, 9 running, 0 held; 4 running on deleted machines\n"),
        "{text}"
    );
}

#[test]
fn a_last_tick_that_is_long_ago_is_told_but_of_a_simulated_site() {
    let tick =
        |simulated: bool| snapshot(json!({"at": "2026-11-26T09:00:00Z", "simulated": simulated}));
    let late = |simulated: bool, now: &str| is_late(&tick(simulated), at(now));
    assert!(!late(false, "2026-11-26T09:03:00Z"));
    assert!(late(false, "2026-11-26T09:03:01Z"));
    assert!(!late(true, "2026-11-27T09:00:00Z"));
    assert!(
        !late(false, "2026-11-26T08:00:00Z"),
        "a clock that was set back"
    );
    let ahead = problems(&tick(false), at("2026-11-26T08:00:00Z"));
    assert_eq!((ahead[0].word, ahead[0].level), ("clock", Level::Error));
    assert_eq!(problems(&tick(true), at("2026-11-26T08:00:00Z")), []);
}

#[test]
fn all_of_it_is_shown_when_asked_for() {
    let site = snapshot(site());
    let all = View {
        all: true,
        ..view(80)
    };
    let text = table(&site, site.at, &all);
    assert_eq!(text.matches("m1.large  busy").count(), 30, "{text}");
    assert!(!text.contains("--all"), "{text}");
}

#[test]
fn colours_change_no_character() {
    let site = snapshot(site());
    let colour = View {
        colour: true,
        ..view(100)
    };
    let painted = table(&site, site.at, &colour);
    assert!(
        painted.contains("\u{1b}[31mprotected\u{1b}[0m"),
        "{painted}"
    );
    let mut plain = String::new();
    for (index, part) in painted.split("\u{1b}[").enumerate() {
        let text = if index == 0 {
            part
        } else {
            part.split_once('m').unwrap().1
        };
        plain.push_str(text);
    }
    let lines = |text: &str| {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&plain), lines(&table(&site, site.at, &view(100))));
}

#[test]
fn nothing_at_all() {
    let text = table(&TickReport::default(), Timestamp::UNIX_EPOCH, &view(80));
    insta::assert_snapshot!("nothing", text);
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal(
        words in proptest::collection::vec("\\PC{0,40}", 12),
        width in 40usize..160,
        numbers in proptest::collection::vec(any::<u64>(), 4),
        all: bool,
    ) {
        let word = |index: usize| words[index].as_str();
        let mut site = site();
        for (index, node) in site["nodes"].as_array_mut().unwrap().iter_mut().enumerate() {
            for (key, at) in [("node", 0), ("name", 1), ("cloud", 2), ("flavor", 3), ("text", 4)] {
                node[key] = json!(words[(at + index) % words.len()]);
            }
            node["server"]["age_seconds"] = json!(numbers[0]);
            node["phase"] = json!(word(5));
        }
        site["notices"] = json!([word(6)]);
        site["unknown_sources"] = json!([{"source": word(7), "cause": word(8)}]);
        site["clouds"][0]["cloud"] = json!(word(9));
        site["clouds"][0]["quota"]["cores"] = json!({"used": numbers[1] / 2, "limit": numbers[2]});
        site["clouds"][0]["quota"]["ram_mb"] = json!({"used": numbers[3] / 2, "limit": numbers[2]});
        site["job_groups"][0]["reasons"][0]["text"] = json!(word(10));
        site["backoffs"][0]["last_failure"] = json!(word(11));
        let view = View { all, ..view(width) };
        let text = table(&snapshot(site), at("2026-11-26T09:35:00Z"), &view);
        for line in text.lines() {
            prop_assert!(line.width() <= width, "{} columns of {width}: {line:?}", line.width());
        }
    }
}

#[test]
fn what_was_not_seen_is_unknown_and_not_0() {
    let mut site = site();
    site["unknown_sources"] = json!([{"source": "collector", "cause": "no answer"}]);
    site["cores"] = json!({"paid": 272});
    let told = table(&snapshot(site), at("2026-11-26T09:30:40Z"), &view(140));
    let cores = told.lines().find(|line| line.starts_with("cores")).unwrap();
    assert!(
        cores.contains("272 paid") && cores.contains("unknown"),
        "{cores}"
    );
    assert!(!cores.contains(" 0 "), "{cores}");
}

#[test]
fn a_tick_that_takes_long_is_not_one_that_is_missing() {
    let mut site = site();
    site["milliseconds"] = json!(95_000);
    // The one after it began after 120 s and has not ended yet.
    let told = |now: &str| table(&snapshot(site.clone()), at(now), &view(140));
    assert!(!told("2026-11-26T09:33:35Z").contains("late "));
    assert!(told("2026-11-26T09:34:36Z").contains("late "));
}
