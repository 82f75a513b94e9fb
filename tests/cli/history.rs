//! What a tick leaves behind for those who look later.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::double::{Double, Reply, always};
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Site, repository};
use crate::json::fields;

/// The lines of all days.
pub fn lines(site: &Site) -> Vec<Value> {
    let files = site.state_files().unwrap().into_iter();
    files
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"))
        .flat_map(|(_, (text, _))| {
            let text = String::from_utf8(text).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            lines.collect::<Vec<Value>>()
        })
        .collect()
}

#[test]
fn the_last_tick_is_there_as_it_was_printed() {
    let site = Site::simulated();
    for number in 1..=4 {
        let mut printed = site.tick(&["-o", "json"]).exits(0).json();
        let text = fs::read(site.state().join("history/last.json")).unwrap();
        let mut kept: Value = serde_json::from_slice(&text).unwrap();
        // It was put together a moment later.
        for one in [&mut printed, &mut kept] {
            assert!(one["milliseconds"].take().is_u64());
        }
        assert_eq!(printed, kept);
        assert_eq!(lines(&site).len(), number);
    }
    // A dry run leaves none.
    site.tick(&["-n"]).exits(0);
    assert_eq!(lines(&site).len(), 4);
}

#[test]
fn every_field_of_the_history_is_documented() {
    let double = Double::start(cloud::script(vec![always(
        "POST",
        CREATE,
        Reply::fixture("server-create-quota-instances"),
    )]));
    let real = Site::with_cloud(double.url()).waiting(2);
    real.tick(&[]).exits(1);
    real.tick(&[]).exits(0);
    let unheard = real.answers(
        "condor_status",
        "any",
        "err|Error: communication error\nexit=1\n",
    );
    unheard.tick(&[]).exits(75);
    let simulated = Site::simulated();
    for _ in 0..12 {
        simulated.tick(&[]).exits(0);
    }
    let mut found = BTreeSet::new();
    for line in lines(&unheard).iter().chain(&lines(&simulated)) {
        fields(line, "", &mut found);
    }
    let numbers = fs::read_to_string(repository().join("docs/json.md")).unwrap();
    let (_, page) = numbers.split_once("\n## History record\n").unwrap();
    let page = page.split("\n## ").next().unwrap();
    let missing: Vec<_> = found
        .iter()
        .filter(|field| {
            let named = |page: &str, name: &str| page.contains(&format!("`{name}`"));
            let parts: Vec<&str> = field.split('.').collect();
            let field = match parts.as_slice() {
                // Names of clouds, phases, owners, limits and brakes.
                ["clouds", _]
                | ["nodes" | "owners" | "limits" | "brakes", _]
                | ["clouds", _, "nodes", _] => return false,
                ["clouds", _, rest @ ..] => format!("clouds.NAME.{}", rest.join(".")),
                _ => (*field).clone(),
            };
            let number = field
                .strip_prefix("events.")
                .is_some_and(|number| number.split('.').all(|name| named(&numbers, name)));
            !named(page, &field) && !number
        })
        .collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
}

#[test]
fn a_history_that_cannot_be_written_costs_a_warning() {
    let site = Site::simulated();
    site.tick(&[]).exits(0);
    let folder = site.state().join("history");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    site.tick(&[])
        .exits(0)
        .says("queue ")
        .warns("history: this tick is not recorded: ")
        .warns("check that it is a folder, that this user can write to it, and that the disk is not full");
    fs::remove_file(&folder).unwrap();
    site.tick(&[]).exits(0).warns_nothing();
    assert_eq!(lines(&site).len(), 1);
}

#[test]
fn as_many_days_are_kept_as_configured() {
    let site = Site::simulated().over("daemon: {history_days: 0}");
    site.tick(&[]).exits(0);
    assert_eq!(lines(&site).len(), 0);
    assert!(site.state().join("history/last.json").exists());
}
