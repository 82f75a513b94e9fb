//! What a tick leaves for others to see, and what they make of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use divan::{Bencher, black_box};
use frontend::{Head, History, Router as Site, parse_request};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use report::history::{self, Previous, Record};
use report::metrics;
use report::status::{View, table};
use report::{TickReport, TickResult};
use scaling::plan::plan;

use crate::scene::{Size, scene};

/// A tick with so many nodes.
pub fn snapshot(nodes: usize) -> TickReport {
    let scene = scene(Size {
        jobs: 10_000,
        requests: 100,
        nodes,
        flavors: 1,
    });
    let plan = plan(&scene.observation, &scene.policy, &scene.state);
    TickReport::of(&TickResult {
        plan: &plan,
        outcomes: Some(&[]),
        unsaved: false,
        notices: Vec::new(),
        simulated: false,
        jobs: None,
        durations: &Default::default(),
        took: Duration::ZERO,
        totals: Default::default(),
    })
}

const NODES: [usize; 3] = [100, 1000, 10_000];

/// A tick is added to the history.
#[divan::bench(args = NODES, max_time = 2)]
fn write(bencher: Bencher, nodes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut snapshot = snapshot(nodes);
    bencher.bench_local(|| history::write(folder.path(), black_box(&mut snapshot), 400).unwrap());
}

/// It is put into Prometheus' words.
#[divan::bench(args = NODES, max_time = 1)]
fn prometheus(bencher: Bencher, nodes: usize) {
    let snapshot = snapshot(nodes);
    bencher.bench(|| metrics::prometheus::text(black_box(&snapshot)));
}

/// It is shown on a terminal.
#[divan::bench(args = NODES, max_time = 1)]
fn status(bencher: Bencher, nodes: usize) {
    let snapshot = snapshot(nodes);
    let view = View {
        width: 80,
        colour: false,
        all: true,
        time_zone: TimeZone::UTC,
    };
    bencher.bench(|| table(black_box(&snapshot), snapshot.at, &view));
}

/// The state directory after 31 days of a tick a minute, until now, with their steps.
fn month() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let folder = history::folder(state.path());
    fs::create_dir(&folder).unwrap();
    let mut snapshot = snapshot(1000);
    let mut days: BTreeMap<String, String> = BTreeMap::new();
    let now = Timestamp::now();
    let last = serde_json::to_vec(&snapshot).unwrap();
    let before: Previous = serde_json::from_slice(&last).unwrap();
    let mut record = Record::of(&snapshot, Some(&before));
    for minute in (0..31 * 24 * 60_i64).rev() {
        record.at = now.checked_sub(minute.minutes()).unwrap();
        record.cores.claimed = minute.unsigned_abs() % 1000;
        let day = days.entry(record.at.to_string()[..10].to_owned());
        let line = serde_json::to_string(&record).unwrap();
        writeln!(day.or_default(), "{line}").unwrap();
    }
    for (day, lines) in days {
        fs::write(folder.join(format!("{day}.jsonl")), lines).unwrap();
    }
    snapshot.at = now;
    // Each tick writes the steps of one day that has none.
    for _ in 0..=31 {
        history::write(state.path(), &mut snapshot, 400).unwrap();
    }
    state
}

fn asks(path: &str) -> Head {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    parse_request(head.as_bytes()).unwrap().unwrap()
}

const RANGES: [&str; 4] = ["1h", "24h", "7d", "30d"];

/// The charts of a range.
#[divan::bench(args = RANGES, max_time = 1)]
fn series(bencher: Bencher, range: &str) {
    let state = month();
    let site = Site::new(History::new(history::folder(state.path())));
    let head = asks(&format!("/api/series?range={range}"));
    assert_eq!(site.answer(&head).status, 200);
    bencher.bench(|| site.answer(black_box(&head)));
}
