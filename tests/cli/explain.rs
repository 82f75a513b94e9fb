//! `ehos explain`: why a node was made and deleted, from the history.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use crate::harness::{Run, Site};
use crate::json::{documented, fields};
use crate::status::after;

fn explain(site: &Site, more: &[&str]) -> Run {
    let state = site.state();
    let mut args = vec!["explain", "--utc", "--state-dir", state.to_str().unwrap()];
    args.extend(more);
    site.run(&args)
}

/// A node of which the history tells, by its first event.
fn first(site: &Site) -> serde_json::Value {
    let folder = site.state().join("history");
    let days = fs::read_dir(folder).unwrap().map(|day| day.unwrap().path());
    let day = days
        .into_iter()
        .find(|day| day.extension().unwrap() == "jsonl");
    let text = fs::read_to_string(day.unwrap()).unwrap();
    let mut events = text.lines().flat_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["events"].as_array().unwrap().clone()
    });
    // Its host name is known by then.
    events.find(|event| event["machine"].is_string()).unwrap()
}

#[test]
fn a_life_from_the_first_wish_to_the_end_by_each_name() {
    let site = after(20).set("COLUMNS", "250");
    let event = first(&site);
    let mut told = BTreeSet::new();
    for name in ["node", "name", "server", "machine"] {
        let run = explain(&site, &[event[name].as_str().unwrap()]);
        run.exits(0)
            .warns_nothing()
            .says(" create requested: for ")
            .says(" [create: done]\n")
            .says(" UTC  busy: 4 of 4 CPUs claimed\n")
            .says("drain requested: idle for ")
            .says(" [delete: done] [invalidate: done]\n")
            .says("\nphases   new 2 min, busy ")
            .says("\ncost     about ")
            .says("\nehos deleted the node at ")
            .says(": drained, no claim left, idle for ");
        told.insert(run.stdout);
    }
    assert_eq!(told.len(), 1);
}

#[test]
fn one_that_is_still_there() {
    let site = after(5);
    let node = first(&site)["node"].as_str().unwrap().to_owned();
    explain(&site, &[&node])
        .exits(0)
        .says("The node exists, busy: ");
}

#[test]
fn json_has_documented_fields() {
    let site = after(20);
    let node = first(&site)["node"].as_str().unwrap().to_owned();
    let life = explain(&site, &[&node, "-o", "json"]).exits(0).json();
    assert_eq!(life["version"], 2);
    assert_eq!(life["end"]["end"], "deleted");
    let mut found = BTreeSet::new();
    fields(&life, "", &mut found);
    let documented = documented("ehos explain");
    found.retain(|field| !field.starts_with("events.numbers."));
    let missing: Vec<_> = found.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
}

#[test]
fn a_torn_line_costs_that_line_alone() {
    let site = after(20);
    let node = first(&site)["node"].as_str().unwrap().to_owned();
    let whole = explain(&site, &[&node]).exits(0).stdout.clone();
    let folder = site.state().join("history");
    for day in fs::read_dir(folder).unwrap() {
        let path = day.unwrap().path();
        if path.extension().unwrap() == "jsonl" {
            let mut file = fs::File::options().append(true).open(path).unwrap();
            write!(file, r#"{{"version":1,"events":[{{"node":"{node}","na"#).unwrap();
            file.write_all(b"\n\xff\xfe\n").unwrap();
        }
    }
    assert_eq!(explain(&site, &[&node]).exits(0).stdout, whole);
}

#[test]
fn one_that_nobody_knows() {
    let site = Site::simulated();
    explain(&site, &["n-1"]).exits(75).warns("no tick yet");
    let site = after(3);
    let node = first(&site)["node"].as_str().unwrap().to_owned();
    let nearly = node.replace("-01", "-09");
    explain(&site, &[&nearly])
        .exits(1)
        .warns(&format!("error: node {nearly}: not found in "))
        .warns("similar names: ")
        .warns(&node);
    explain(&site, &["elsewhere.example.org"])
        .exits(1)
        .warns("the node may be older than daemon.history_days");
}
