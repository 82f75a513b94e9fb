//! Files of every layout: the next program reads them, and an older one refuses with words.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Run, Site, repository};

const STEPS: &str = "history/2027-01-15.steps";

/// A simulated site with the state directory of this layout.
fn of_layout(layout: &str) -> Site {
    let site = Site::simulated();
    let fixture = repository().join("tests/fixtures").join(layout);
    for file in [
        "state.json",
        "history/last.json",
        "history/2027-01-15.jsonl",
        STEPS,
    ] {
        match fs::read_to_string(fixture.join(file)) {
            Ok(text) => site.write(&format!("state/{file}"), &text),
            // The first layout had none.
            Err(_) => assert_eq!((layout, file), ("layout-1", STEPS)),
        }
    }
    site
}

/// Every command that reads the state or the history, with its name.
fn readers(site: &Site) -> Vec<(String, Run)> {
    let (config, state) = (site.config(), site.state());
    let places = [
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let page = site.path().join("page.html");
    let commands: [&[&str]; 8] = [
        &["status"],
        &["status", "-o", "json"],
        &["status", "-o", "influx"],
        &["status", "-o", "prometheus"],
        &["explain", "20270115t090200-01"],
        &["frontend", "--once", page.to_str().unwrap()],
        &["tick", "--dry-run"],
        &["tick"],
    ];
    let run = |words: &&[&str]| (words.join(" "), site.run(&[words, &places[..]].concat()));
    commands.iter().map(run).collect()
}

#[test]
fn every_command_reads_files_of_every_layout() {
    for layout in ["layout-1", "layout-2"] {
        let site = of_layout(layout);
        let steps = fs::read_to_string(site.state().join(STEPS)).unwrap_or_default();
        for (command, run) in readers(&site) {
            assert!(
                matches!(run.code(), Some(0 | 1)),
                "{layout}: {command}: {run}"
            );
            for word in ["damaged", "cannot be read", "newer", "no step"] {
                assert!(!run.stderr.contains(word), "{layout}: {command}: {run}");
            }
        }
        let now = fs::read_to_string(site.state().join(STEPS)).unwrap_or_default();
        assert!(now.starts_with(&steps), "{layout}: {now}");
    }
}

#[test]
fn a_downgrade_is_refused_with_words_by_every_command() {
    let site = of_layout("layout-2");
    let newer = |file: &Path| {
        let mut value: serde_json::Value =
            serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        value["version"] = json!(99);
        fs::write(file, value.to_string()).unwrap();
        fs::read(file).unwrap()
    };
    let files = [
        site.state().join("state.json"),
        site.state().join("history/last.json"),
    ];
    let before = files.each_ref().map(|file| newer(file));
    for (command, run) in readers(&site) {
        assert_eq!(run.code(), Some(78), "{command}: {run}");
        assert!(
            run.stderr
                .contains("written by a newer ehos (version 99, this one reads 2)"),
            "{command}: {run}"
        );
    }
    assert!(!site.path().join("page.html").exists());
    assert_eq!(files.each_ref().map(|file| fs::read(file).unwrap()), before);
    // What needs the state of a real cloud only.
    let real = Site::with_cloud("http://127.0.0.1:1");
    real.write("state/state.json", &String::from_utf8_lossy(&before[0]));
    let (config, state) = (real.config(), real.state());
    let places = [
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let commands: [&[&str]; 2] = [&["resume", "lab"], &["tick"]];
    for words in commands {
        let run = real.run(&[words, &places[..]].concat());
        assert_eq!(run.code(), Some(78), "{words:?}: {run}");
    }
}
