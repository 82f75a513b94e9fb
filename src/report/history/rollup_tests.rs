//! Steps that ticks write are those of the lines, whatever happened to the files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::rollup::roll_up;
use super::steps::{Series, Step};
use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A line of a tick with this many cores, of which one is claimed.
fn line(at: &str, paid: u64) -> Value {
    json!({
        "version": 1, "at": at, "exit": 1, "queue": {"schedds": 1, "idle": paid, "running": 1},
        "demand": {"cpus": 2, "memory_mb": 0, "disk_kb": 0, "gpus": 0}, "cores": {"paid": paid, "claimed": 1, "others": 3},
        "collector": true, "nodes": {"busy": paid},
        "clouds": {"blue": {"answers": true, "nodes": {"busy": paid}, "paid_cores": paid}},
        "cost": {"per_hour": paid},
        "actions": [{"action": "create", "node": "a", "result": "done"}]
    })
}

/// The folder of a history, and the tick before.
struct Site {
    folder: tempfile::TempDir,
    before: Option<Timestamp>,
}

impl Site {
    fn new() -> Site {
        Site {
            folder: tempfile::tempdir().unwrap(),
            before: None,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut open = fs::OpenOptions::new();
        let mut file = open
            .append(true)
            .create(true)
            .open(self.file(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// A tick of a version that writes no steps.
    fn add(&self, time: &str, paid: u64) {
        self.append(
            &format!("{}.jsonl", &time[..10]),
            &format!("{}\n", line(time, paid)),
        );
    }

    fn tick(&mut self, time: &str, paid: u64) {
        self.add(time, paid);
        self.roll(time);
    }

    fn roll(&mut self, time: &str) {
        let days = days(self.folder.path()).unwrap();
        roll_up(self.folder.path(), &days, self.before, at(time));
        self.before = Some(at(time));
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// The steps of a page: those of an hour, a day, a week and a month.
fn shown(folder: &Path, now: &str) -> Vec<Steps> {
    let now = at(now).as_millisecond();
    let lengths = [
        (15_000, 240),
        (300_000, 288),
        (1_800_000, 336),
        (7_200_000, 360),
    ];
    let shown = lengths.map(|(length, count)| {
        let from = (now.div_euclid(length) + 1) * length - length * i64::try_from(count).unwrap();
        steps(folder, from, length, count, now)
    });
    shown.into()
}

fn is_near(one: &Step, other: &Step) -> bool {
    let near = |one: f64, other: f64| (one - other).abs() < 1e-3;
    let counts = |step: &Step| (step.ticks, step.ticks_failed, step.nodes_created);
    let values = |step: &Step| {
        let mut values: Vec<(String, f64)> = Vec::new();
        for (series, value) in &step.values {
            values.push((format!("{series:?}"), value.0));
            values.push((format!("{series:?}"), value.1));
        }
        values.extend(step.nodes.clone());
        for (cloud, value) in &step.clouds {
            values.push((cloud.clone(), value.nodes.0 + value.paid_cores.1));
        }
        values
    };
    let (mine, others) = (values(one), values(other));
    counts(one) == counts(other)
        && near(one.seconds, other.seconds)
        && mine.len() == others.len()
        && mine
            .iter()
            .zip(&others)
            .all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
}

/// What is read with steps is what is read without them.
fn same(site: &Site, now: &str) {
    let bare = tempfile::tempdir().unwrap();
    for day in days(site.folder.path()).unwrap() {
        fs::copy(&day.path, bare.path().join(day.path.file_name().unwrap())).unwrap();
    }
    for (mine, others) in shown(site.folder.path(), now)
        .iter()
        .zip(&shown(bare.path(), now))
    {
        assert_eq!(mine.unread, others.unread, "{now}");
        for ((from, mine), (_, others)) in mine.row.each().zip(others.row.each()) {
            assert!(
                is_near(mine, others),
                "{now}, {from}:\n{mine:?}\n{others:?}"
            );
        }
    }
}

#[test]
fn a_tick_writes_the_half_hours_that_are_over_and_else_nothing() {
    let mut site = Site::new();
    let file = "2026-03-02.steps";
    let mut written = Vec::new();
    for minute in 0..=65 {
        site.tick(
            &format!("2026-03-02T{:02}:{:02}:00Z", 10 + minute / 60, minute % 60),
            4,
        );
        written.push(site.lines(file).len());
    }
    assert_eq!((written[0], written[29]), (0, 0));
    assert_eq!((written[30], written[59]), (7, 7));
    assert_eq!((written[60], written[65]), (14, 14));
    let step: Value = serde_json::from_str(&site.lines(file)[6]).unwrap();
    assert_eq!(step["step_seconds"], 1800);
    assert_eq!(step["from"], at("2026-03-02T10:00:00Z").as_second());
    assert_eq!(
        step["step"]["values"]["paid_cores"],
        json!([7200.0, 1800.0])
    );
    assert_eq!(step["step"]["ticks"], 30);
    same(&site, "2026-03-02T11:05:30Z");
    // The page reads them: the lines of the day are not needed.
    fs::remove_file(site.file("2026-03-02.jsonl")).unwrap();
    let month = shown(site.folder.path(), "2026-03-02T11:05:30Z")
        .pop()
        .unwrap();
    let ticks: u64 = month.row.steps.iter().map(|step| step.ticks).sum();
    assert_eq!(ticks, 60);
}

#[test]
fn steps_that_a_killed_tick_did_not_finish_are_worked_out() {
    let mut site = Site::new();
    for minute in 0..40 {
        site.tick(&format!("2026-03-02T10:{minute:02}:00Z"), 4);
    }
    let file = "2026-03-02.steps";
    let whole = fs::read(site.file(file)).unwrap();
    let now = "2026-03-02T10:45:00Z";
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(site.file(file), &whole[..length]).unwrap();
        same(&site, now);
    }
    // The next half hour writes both.
    site.before = Some(at(now));
    site.tick("2026-03-02T11:00:10Z", 5);
    same(&site, "2026-03-02T11:00:10Z");
    fs::remove_file(site.file("2026-03-02.jsonl")).unwrap();
    let day = &shown(site.folder.path(), "2026-03-02T11:00:10Z")[1];
    assert_eq!(day.unread, []);
    assert_eq!(day.row.steps.iter().map(|step| step.ticks).sum::<u64>(), 40);
}

#[test]
fn a_line_that_is_no_step_is_named_and_the_others_count() {
    let mut site = Site::new();
    for minute in 0..31 {
        site.tick(&format!("2026-03-02T10:{minute:02}:00Z"), 4);
    }
    let file = "2026-03-02.steps";
    let lines = site.lines(file);
    let now = "2026-03-02T10:30:00Z";
    let paid = |steps: &Steps| {
        let values = steps
            .row
            .steps
            .iter()
            .map(|step| step.value(Series::PaidCores).0);
        values.sum::<f64>().round()
    };
    let good = paid(&shown(site.folder.path(), now)[2]);
    assert_eq!(good, 7200.0);
    let half_hour: Value = serde_json::from_str(&lines[6]).unwrap();
    let with = |path: &str, value: Value| {
        let mut odd = half_hour.clone();
        *odd.pointer_mut(path).unwrap() = value;
        odd.to_string()
    };
    for odd in [
        "[]".to_owned(),
        "\u{0}\u{0}".to_owned(),
        with("/from", json!(at("2026-03-03T10:00:00Z").as_second())),
        with("/from", json!(at("2026-03-02T10:00:01Z").as_second())),
        with("/from", json!(i64::MAX)),
        with("/step/seconds", json!(-1.0)),
        with("/step/seconds", json!(1e300)),
        with("/step/ticks", json!(u64::MAX)),
        with("/step/values/paid_cores", json!([-5.0, 300.0])),
        with("/step/values/paid_cores", json!([5.0, 1e9])),
        with("/step/values", json!({"strange": [1.0, 1.0]})),
        with("/step/nodes/busy", json!(-1.0)),
        with("/step/clouds/blue/nodes", json!([1.0, -2.0])),
    ] {
        fs::write(site.file(file), format!("{odd}\n{}\n", lines.join("\n"))).unwrap();
        let shown = shown(site.folder.path(), now);
        let week = &shown[2];
        assert_eq!(week.unread.len(), 1, "{odd}");
        assert_eq!(week.unread[0].file, file);
        assert!(week.unread[0].why.starts_with("line 1 is no step"), "{odd}");
        assert_eq!(paid(week), good, "{odd}");
    }
    // More names than any site has, and a file without an end.
    let names: serde_json::Map<String, Value> = (0..5000)
        .map(|name| (format!("p{name}"), json!(1.0)))
        .collect();
    let mut many = String::new();
    while many.len() < 12 * 1024 * 1024 {
        many += &with("/step/nodes", Value::Object(names.clone()));
        many.push('\n');
    }
    fs::write(site.file(file), many).unwrap();
    let week = &shown(site.folder.path(), now)[2];
    let most = week.row.steps.iter().map(|step| step.nodes.len()).max();
    assert_eq!(most, Some(1024));
}

#[test]
fn a_history_without_steps_gets_them_one_day_in_each_tick() {
    let mut site = Site::new();
    for day in 1..=9 {
        site.add(&format!("2026-03-0{day}T10:00:00Z"), day);
    }
    site.add("2026-01-02T10:00:00Z", 1);
    // A folder in the place of a file: an error for root too.
    fs::remove_file(site.file("2026-03-06.jsonl")).unwrap();
    fs::create_dir(site.file("2026-03-06.jsonl")).unwrap();
    site.before = Some(at("2026-03-10T10:00:00Z"));
    let there = |site: &Site| -> Vec<u64> {
        (1..=9)
            .filter(|day| site.file(&format!("2026-03-0{day}.steps")).exists())
            .collect()
    };
    let mut seen = Vec::new();
    for second in 0..10 {
        site.tick(&format!("2026-03-10T10:00:1{second}Z"), 4);
        seen.push(there(&site).len());
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]);
    assert_eq!(there(&site), [1, 2, 3, 4, 5, 7, 8, 9]);
    // Too long ago for any chart.
    assert!(!site.file("2026-01-02.steps").exists());
    let month = shown(site.folder.path(), "2026-03-10T10:01:00Z")
        .pop()
        .unwrap();
    assert_eq!(month.unread.len(), 1);
    assert_eq!(month.unread[0].file, "2026-03-06.jsonl");
    let ticks: u64 = month.row.steps.iter().map(|step| step.ticks).sum();
    assert_eq!(ticks, 8 + 10);
}

#[test]
fn the_last_half_hour_of_a_day_is_written_whenever_the_next_tick_comes() {
    for next in ["2026-03-03T00:00:20Z", "2026-03-06T07:00:00Z"] {
        let mut site = Site::new();
        for minute in 20..60 {
            site.tick(&format!("2026-03-02T23:{minute}:30Z"), 4);
        }
        site.tick(next, 2);
        same(&site, next);
        assert_eq!(site.lines("2026-03-02.steps").len(), 3 + 7, "{next}");
        site.tick(&next.replace(":00:", ":31:"), 2);
        same(&site, &next.replace(":00:", ":31:"));
    }
}

#[test]
fn a_clock_that_is_set_back_counts_nothing_twice() {
    let mut site = Site::new();
    for time in [
        "10:00:00", "10:10:00", "10:40:00", "10:05:00", "10:41:00", "11:01:00",
    ] {
        site.tick(&format!("2026-03-02T{time}Z"), 4);
        same(&site, &format!("2026-03-02T{time}Z"));
    }
    let day = &shown(site.folder.path(), "2026-03-02T11:01:00Z")[1];
    let ticks: u64 = day.row.steps.iter().map(|step| step.ticks).sum();
    assert_eq!(ticks, 6);
    assert!(day.row.steps.iter().all(|step| step.seconds <= 300.0));
}

#[test]
fn a_clock_that_was_ahead_hides_no_later_tick() {
    let mut site = Site::new();
    for time in [
        "10:00:00", "13:00:00", "13:31:00", "10:02:00", "10:31:00", "10:33:00",
    ] {
        site.tick(&format!("2026-03-02T{time}Z"), 4);
        same(&site, &format!("2026-03-02T{time}Z"));
    }
    site.tick("2026-03-02T14:01:00Z", 4);
    same(&site, "2026-03-02T14:01:00Z");
}

#[test]
fn steps_follow_no_link() {
    let mut site = Site::new();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), site.file("2026-03-02.steps")).unwrap();
    for minute in 0..31 {
        site.tick(&format!("2026-03-02T10:{minute:02}:00Z"), 4);
    }
    assert_eq!(elsewhere.path().metadata().unwrap().len(), 0);
    let day = &shown(site.folder.path(), "2026-03-02T10:30:10Z")[1];
    assert_eq!(day.row.steps.iter().map(|step| step.ticks).sum::<u64>(), 31);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Ticks at any distance, over midnight; some were killed before they wrote steps.
    #[test]
    fn steps_of_ticks_are_those_of_their_lines(
        gaps in prop::collection::vec((1_i64..2400, 0_u64..50, 0_u8..10), 1..80)
    ) {
        let mut site = Site::new();
        let mut time = at("2026-03-01T20:00:00Z").as_second();
        for (gap, paid, killed) in gaps {
            time += gap;
            let text = Timestamp::from_second(time).unwrap().to_string();
            if killed == 0 {
                site.add(&text, paid);
            } else {
                site.tick(&text, paid);
            }
        }
        same(&site, &Timestamp::from_second(time + 30).unwrap().to_string());
    }
}
