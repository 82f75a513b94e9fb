//! What is written is read again, and what is not whole does no harm.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::TickReport;
use crate::names::Named;
use crate::tick_report::ReasonReport;
use scaling::names::PhaseName;
use scaling::plan::NodeDecision;
use scaling::reason::Reason;
use scaling::seconds::Seconds;

/// A tick at this time, with nodes of these (id, phase, fate).
fn tick(at: &str, nodes: &[(&str, &str, &str)]) -> TickReport {
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(id, phase, decision)| {
            json!({"node": id, "name": format!("ehos-{id}"), "cloud": "blue", "flavor": "small",
                "server": {"id": format!("uuid-of-{id}"), "image": "gold", "vcpus": 4},
                "startd": {"machine": format!("{id}.site"), "cpus": 4, "claimed_cpus": 3},
                "phase": phase, "decision": decision, "reason": "busy", "text": "busy with 3 of 4 cpus", "claimed_cpus": 3})
        })
        .collect();
    serde_json::from_value(json!({
        "version": 2, "at": at, "nodes": nodes, "queue": {"schedds": 1, "idle": 2},
        "clouds": [{"cloud": "blue", "answers": true}],
    }))
    .unwrap()
}

fn records(folder: &std::path::Path) -> Vec<Record> {
    let days = days(folder).unwrap();
    let mut lines = Vec::new();
    for day in &days {
        day.each_line(|line| lines.push(line)).unwrap();
    }
    let lines = lines.into_iter();
    lines.filter_map(|line| parse(&line)).collect()
}

#[test]
fn a_tick_is_a_line_of_its_day_and_what_happened_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let mut ticks = [
        tick("2026-11-26T23:58:00Z", &[("n1", "new", "create")]),
        tick("2026-11-26T23:59:00Z", &[("n1", "building", "keep")]),
        tick("2026-11-27T00:00:00Z", &[("n1", "building", "keep")]),
        tick("2026-11-27T00:01:00Z", &[("n1", "idle", "drain")]),
        tick("2026-11-27T00:02:00Z", &[("n1", "idle", "drain")]),
        tick("2026-11-27T00:03:00Z", &[("n1", "deleted", "forget")]),
        tick("2026-11-27T00:04:00Z", &[]),
    ];
    for tick in &mut ticks {
        write(dir.path(), tick, 30).unwrap();
    }
    assert_eq!(last(&folder).unwrap().as_ref(), ticks.last());
    let names: Vec<_> = days(&folder).unwrap();
    let names: Vec<_> = names.iter().map(|day| day.date.to_string()).collect();
    assert_eq!(names, ["2026-11-26", "2026-11-27"]);
    let records = records(&folder);
    assert_eq!(records.len(), ticks.len());
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let events = record.events.iter();
            let known = |phase: &Named<PhaseName>| phase.known().unwrap();
            let told = events.map(|event| {
                let was = event.was.as_ref().map(known);
                (was, known(&event.phase), event.decision.known().unwrap())
            });
            told.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        told,
        [
            vec![(None, PhaseName::New, NodeDecision::Create)],
            vec![(
                Some(PhaseName::New),
                PhaseName::Building,
                NodeDecision::Keep
            )],
            vec![],
            vec![(
                Some(PhaseName::Building),
                PhaseName::Idle,
                NodeDecision::Drain
            )],
            vec![],
            vec![(Some(PhaseName::Idle), PhaseName::Gone, NodeDecision::Forget)],
            vec![],
        ]
    );
    // What is only planned is no node yet, and what is gone costs nothing.
    let cores: Vec<_> = records
        .iter()
        .map(|record| record.clouds["blue"].paid_cores)
        .collect();
    assert_eq!(cores, [0, 4, 4, 4, 4, 0, 0]);
    assert_eq!(records[1].nodes[&PhaseName::Building.into()], 1);
    assert_eq!(records[3].events[0].numbers["claimed_cpus"], 3);
}

#[test]
fn days_go_when_they_are_old_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    fs::create_dir_all(&folder).unwrap();
    for name in [
        "2026-10-26.jsonl",
        "2026-10-26.steps",
        "2026-10-27.jsonl",
        "2026-10-27.steps",
        "2026-11-25.jsonl",
        "last.json.new-a1b2c3",
        "notes.txt",
        "2026-10-01.jsonl.gz",
    ] {
        fs::write(folder.join(name), "x\n").unwrap();
    }
    write(dir.path(), &mut tick("2026-11-26T12:00:00Z", &[]), 30).unwrap();
    let names = || {
        let entries = fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let left = [
        "2026-10-01.jsonl.gz",
        "2026-10-27.jsonl",
        "2026-10-27.steps",
        "2026-11-25.jsonl",
        "2026-11-25.steps",
        "2026-11-26.jsonl",
        "last.json",
        "notes.txt",
    ];
    assert_eq!(names(), left);
    // With 0 days there is only the last tick.
    write(dir.path(), &mut tick("2026-11-27T12:00:00Z", &[]), 0).unwrap();
    assert_eq!(names(), ["2026-10-01.jsonl.gz", "last.json", "notes.txt"]);
    // A number that no calendar has keeps all.
    write(dir.path(), &mut tick("2026-11-27T12:00:00Z", &[]), u64::MAX).unwrap();
    assert_eq!(names().len(), 4);
}

#[test]
fn a_line_that_was_not_finished_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    write(dir.path(), &mut tick("2026-11-26T12:00:00Z", &[]), 30).unwrap();
    let day = folder.join("2026-11-26.jsonl");
    let mut text = fs::read(&day).unwrap();
    let half = text[..text.len() / 2].to_vec();
    text.extend(half);
    fs::write(&day, text).unwrap();
    fs::write(folder.join(LAST), "{\"version\": 1, \"at").unwrap();
    assert!(last(&folder).is_err(), "said to who asks");
    write(dir.path(), &mut tick("2026-11-26T12:01:00Z", &[]), 30).unwrap();
    let times: Vec<Timestamp> = records(&folder).iter().map(|record| record.at).collect();
    let expected = ["2026-11-26T12:00:00Z", "2026-11-26T12:01:00Z"];
    assert_eq!(times, expected.map(|at| at.parse().unwrap()));
}

#[test]
fn all_may_read_it_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &mut tick("2026-11-26T12:00:00Z", &[]), 30).unwrap();
    let folder = folder(dir.path());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o755);
    assert_eq!(mode(&folder.join(LAST)), 0o644);
    assert_eq!(mode(&folder.join("2026-11-26.jsonl")), 0o644);
}

#[test]
fn fields_that_are_new_or_missing_hinder_nobody() {
    let line = r#"{"version": 9, "at": "2026-11-26T12:00:00Z", "later": {"a": 1}, "events": []}"#;
    let record: Record = parse(line).unwrap();
    assert_eq!((record.version, record.queue), (9, None));
    assert_eq!(parse::<Record>("{\"at\": "), None);
}

#[test]
fn a_drain_for_another_image_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let why = ReasonReport::from(&Reason::DrainOlderImage {
        idle_seconds: Seconds(60),
        image: "gold".to_owned(),
        configured_image: "silver".to_owned(),
    });
    let mut now = tick("2026-11-26T12:00:00Z", &[("n1", "idle", "drain")]);
    now.nodes[0].why = why;
    write(dir.path(), &mut now, 30).unwrap();
    let folder = folder(dir.path());
    assert_eq!(last(&folder).unwrap(), Some(now));
    let records = records(&folder);
    assert_eq!(records.len(), 1, "the line can be read");
    let event = &records[0].events[0];
    assert_eq!(event.image, "gold");
    assert_eq!(event.numbers["configured_image"], "silver");
}

#[test]
fn a_clock_that_was_wrong_for_a_while_costs_no_days() {
    let dir = tempfile::tempdir().unwrap();
    let ticks = [
        "2026-11-26T12:00:00Z",
        "2099-01-01T00:00:00Z",
        "2099-01-01T00:01:00Z",
        "2026-11-26T12:03:00Z",
    ];
    for at in ticks {
        write(dir.path(), &mut tick(at, &[]), 30).unwrap();
    }
    let times: Vec<String> = records(&folder(dir.path()))
        .iter()
        .map(|record| record.at.to_string())
        .collect();
    assert!(times.contains(&ticks[0].to_owned()), "{times:?}");
}

/// tests/fixtures/layout-1 was written before the layout changed.
#[test]
fn a_history_of_the_first_layout_is_read() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/layout-1/history"
    );
    let folder = std::path::Path::new(folder);
    let last = serde_json::to_value(last(folder).unwrap().unwrap()).unwrap();
    let records = serde_json::to_value(records(folder)).unwrap();
    let node = |number: usize, field: &str| format!("/nodes/{number}/{field}");
    let event = |number: usize, field: &str| format!("/2/events/{number}/{field}");
    let group = |number: usize| format!("/job_groups/0/reasons/{number}/reason");
    let common = |at: &str| {
        [
            (format!("{at}/unknown_sources/0/source"), "matches"),
            (format!("{at}/unknown_sources/1/cause"), "no answer"),
            (format!("{at}/queue/unmaterialized"), "5"),
        ]
    };
    let of_last = [
        ("/version".to_owned(), "2"),
        (node(0, "phase"), "unknown"),
        (node(1, "decision"), "delete"),
        (node(5, "phase"), "deleted"),
        (node(5, "decision"), "forget"),
        (node(6, "decision"), "cancel_drain"),
        (node(7, "decision"), "drain"),
        ("/brakes/0/brake".to_owned(), "nodes_silent"),
        ("/floating_ips/0/decision".to_owned(), "disassociate"),
        ("/builders/0/decision".to_owned(), "keep"),
        ("/leftovers/0/decision".to_owned(), "delete"),
        ("/clouds/0/pause/cause".to_owned(), "429"),
        ("/cost/clouds/0/committed".to_owned(), "0.16"),
        ("/budgets_spent/0/committed".to_owned(), "0.2"),
        ("/cores/unmanaged".to_owned(), "0"),
        ("/job_groups/0/requirements".to_owned(), "9f86d081884c7d65"),
        (group(1), "fits_starting"),
        (group(2), "fits_cancelled_drain"),
        (group(3), "left_unclaimed"),
        (group(5), "nothing_created"),
        ("/totals/nodes/0/drains_cancelled".to_owned(), "2"),
        ("/totals/unknown_sources/0/count".to_owned(), "4"),
    ];
    let of_record = [
        ("/0/events/0/decision".to_owned(), "create"),
        ("/2/nodes/unknown".to_owned(), "1"),
        ("/2/nodes/deleted".to_owned(), "1"),
        ("/2/clouds/blue/nodes/unknown".to_owned(), "1"),
        ("/2/job_groups/0/jobs".to_owned(), "1"),
        (event(0, "previous_phase"), "busy"),
        (event(3, "phase"), "unknown"),
        (event(4, "decision"), "cancel_drain"),
        (event(6, "decision"), "forget"),
    ];
    let of_last = of_last
        .into_iter()
        .chain(common(""))
        .map(|one| (&last, one));
    let of_record = of_record
        .into_iter()
        .chain(common("/2"))
        .map(|one| (&records, one));
    for (document, (path, value)) in of_last.chain(of_record) {
        let found = document.pointer(&path).map(ToString::to_string);
        let found = found.map(|found| found.trim_matches('"').to_owned());
        assert_eq!(found.as_deref(), Some(value), "{path}");
    }
}

/// tests/fixtures/layout-2 is what this layout's program has written, with each optional field filled: nothing of it is lost.
#[test]
fn a_history_of_this_layout_is_read_whole() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/layout-2/history"
    );
    let folder = std::path::Path::new(folder);
    let value = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let text = std::fs::read_to_string(folder.join(LAST)).unwrap();
    let read = serde_json::to_value(last(folder).unwrap().unwrap()).unwrap();
    assert_eq!(read, value(&text));
    let text = std::fs::read_to_string(folder.join("2027-01-15.jsonl")).unwrap();
    let written: Vec<serde_json::Value> = text.lines().map(value).collect();
    assert_eq!(
        serde_json::to_value(records(folder)).unwrap(),
        serde_json::json!(written)
    );
    let fields = written.last().unwrap().as_object().unwrap();
    let empty = fields
        .iter()
        .filter(|(_, value)| value.is_null() || value.as_array().is_some_and(Vec::is_empty));
    let empty: Vec<&String> = empty.map(|(name, _)| name).collect();
    assert!(empty.is_empty(), "no value: {empty:?}");
}
