//! The data of the charts: means over steps of time, as many as a chart has room for.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use scaling::sorting::IntoMap;
use serde::Serialize;

use report::history::steps::{Integral, Row, Series, Step};
use report::history::{self, UnreadDay};

/// Milliseconds, as all times here.
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The range of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// 30 days.
    Month,
}

impl Range {
    /// All of them.
    pub const ALL: [Range; 4] = [Range::Hour, Range::Day, Range::Week, Range::Month];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Day => "24h",
            Range::Week => "7d",
            Range::Month => "30d",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Range> {
        Range::ALL.into_iter().find(|range| range.name() == name)
    }

    /// Its length and that of its steps: 240 to 360 of them.
    fn lengths(self) -> (i64, i64) {
        match self {
            Range::Hour => (HOUR, MINUTE / 4),
            Range::Day => (DAY, 5 * MINUTE),
            Range::Week => (7 * DAY, 30 * MINUTE),
            Range::Month => (30 * DAY, 2 * HOUR),
        }
    }
}

type Means = Vec<Option<f64>>;

/// The answer for a range.
#[derive(Serialize)]
pub struct Shown {
    range: &'static str,
    from: i64,
    to: i64,
    step_seconds: i64,
    t: Vec<i64>,
    queue: QueueShown,
    demand_cpus: Means,
    nodes: BTreeMap<String, Means>,
    cores: CoresShown,
    cost_per_hour: Option<Means>,
    waste_per_hour: Option<Means>,
    clouds: BTreeMap<String, CloudShown>,
    totals: Totals,
    unread: Vec<UnreadDay>,
}

#[derive(Serialize)]
struct QueueShown {
    idle: Means,
    running: Means,
    held: Means,
    waiting: Means,
    unmatched: Means,
}

#[derive(Serialize)]
struct CoresShown {
    paid: Means,
    claimed: Means,
    #[serde(rename = "unmanaged")]
    others: Means,
}

#[derive(Serialize)]
struct CloudShown {
    paid_cores: Means,
    nodes: Means,
}

#[derive(Serialize)]
struct Totals {
    paid_core_hours: f64,
    claimed_core_hours: f64,
    wasted_core_hours: f64,
    cost: Option<f64>,
    wasted_cost: Option<f64>,
    ticks: u64,
    ticks_failed: u64,
    missing_seconds: f64,
    nodes_created: u64,
    nodes_deleted: u64,
}

impl Shown {
    /// The answer for a range that ends `now`.
    ///
    /// # Errors
    /// When the folder of the history cannot be read.
    pub fn read(folder: &Path, range: Range, now: Timestamp) -> io::Result<Shown> {
        let now = now.as_millisecond();
        let (length, step) = range.lengths();
        // The last step is the one that `now` is in.
        let from = (now.div_euclid(step) + 1) * step - length;
        let days = history::days(folder)?;
        let first = days.iter().find_map(history::first_tick);
        let count = usize::try_from(length / step).unwrap_or_default();
        let found = history::steps(folder, from, step, count, now);
        let mut all = Step::default();
        for step in &found.row.steps {
            all.add(step);
        }
        let begins = first.unwrap_or(now).clamp(from, now);
        let missing = (seconds(now - begins) - all.seconds).max(0.0).round();
        let row = &found.row;
        let values = |series: Series| means(row, |step| step.value(series));
        let known = |series: Series| all.value(series).1 > 0.0;
        let money = |series: Series| known(series).then(|| values(series));
        Ok(Shown {
            range: range.name(),
            from: from / 1000,
            to: row.end() / 1000,
            step_seconds: step / 1000,
            t: row.each().map(|(at, _)| at / 1000).collect(),
            queue: QueueShown {
                idle: values(Series::Idle),
                running: values(Series::Running),
                held: values(Series::Held),
                waiting: values(Series::Waiting),
                unmatched: values(Series::Unmatched),
            },
            demand_cpus: values(Series::DemandCpus),
            nodes: phases(row, &all),
            cores: CoresShown {
                paid: values(Series::PaidCores),
                claimed: values(Series::ClaimedCores),
                others: values(Series::OtherCores),
            },
            cost_per_hour: money(Series::CostPerHour),
            waste_per_hour: money(Series::WastePerHour),
            clouds: clouds(row, &all),
            totals: Totals::of(&all, missing),
            unread: found.unread,
        })
    }
}

impl Totals {
    fn of(all: &Step, missing_seconds: f64) -> Totals {
        let hours = |series: Series| rounded(all.value(series).0 / seconds(HOUR));
        let spent = |series: Series| (all.value(series).1 > 0.0).then(|| hours(series));
        Totals {
            paid_core_hours: hours(Series::PaidCores),
            claimed_core_hours: hours(Series::ClaimedCores),
            wasted_core_hours: hours(Series::UnclaimedCores),
            cost: spent(Series::CostPerHour),
            wasted_cost: spent(Series::WastePerHour),
            ticks: all.ticks,
            ticks_failed: all.ticks_failed,
            missing_seconds,
            nodes_created: all.nodes_created,
            nodes_deleted: all.nodes_deleted,
        }
    }
}

/// The mean of each step; none of a step in which the value is unknown.
fn means(row: &Row, value: impl Fn(&Step) -> Integral) -> Means {
    let steps = row.steps.iter();
    steps.map(|step| value(step).mean().map(rounded)).collect()
}

/// Each phase in which there were nodes.
fn phases(row: &Row, all: &Step) -> BTreeMap<String, Means> {
    let phases = all.nodes.iter().filter(|(_, nodes)| **nodes > 0.0);
    let nodes = |phase: &String| {
        let nodes = |step: &Step| step.nodes.get(phase).copied().unwrap_or_default();
        (
            phase.clone(),
            means(row, |step| Integral(nodes(step), step.seconds)),
        )
    };
    phases.map(|(phase, _)| nodes(phase)).into_map()
}

/// Each cloud that answered.
fn clouds(row: &Row, all: &Step) -> BTreeMap<String, CloudShown> {
    let clouds = all.clouds.keys().map(|name| {
        let cloud = |step: &Step| step.clouds.get(name).copied().unwrap_or_default();
        let shown = CloudShown {
            paid_cores: means(row, |step| cloud(step).paid_cores),
            nodes: means(row, |step| cloud(step).nodes),
        };
        (name.clone(), shown)
    });
    clouds.into_map()
}

#[allow(clippy::cast_precision_loss)] // Of a month.
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// To millionths, as money is.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// A tick that paid for `paid` cores at 1 a core, and used `claimed` of them.
    fn tick(at: &str, paid: u64, claimed: u64) -> Value {
        json!({
            "version": 1, "at": at, "exit": 0, "milliseconds": 1,
            "queue": {"schedds": 1, "idle": paid, "running": claimed, "held": 1, "waiting": paid, "unmatched": 0},
            "demand": {"cpus": 2 * paid, "memory_mb": 0, "disk_kb": 0, "gpus": 0},
            "cores": {"paid": paid, "claimed": claimed, "unmanaged": 3},
            "collector": true, "brakes": {}, "nodes": {"busy": claimed},
            "clouds": {"blue": {"answers": true, "nodes": {"busy": claimed}, "paid_cores": paid, "per_hour": paid}},
            "cost": {"per_hour": paid, "spent_this_month": 0.0},
            "unknown_sources": [], "events": [{"strange": 1}], "actions": []
        })
    }

    fn with(mut tick: Value, path: &str, value: Value) -> Value {
        *tick.pointer_mut(path).unwrap() = value;
        tick
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn of(lines: &[Value]) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            folder.add(lines);
            folder
        }

        fn add(&self, lines: &[Value]) {
            for line in lines {
                let day = &line["at"].as_str().unwrap()[..10];
                self.append(day, &format!("{line}\n"));
            }
        }

        fn append(&self, day: &str, text: &str) {
            let path = self.0.path().join(format!("{day}.jsonl"));
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn read(&self, range: Range, now: &str) -> Value {
            let shown = Shown::read(self.0.path(), range, now.parse().unwrap());
            serde_json::to_value(shown.unwrap()).unwrap()
        }
    }

    /// The last `count` values.
    fn end(values: &Value, count: usize) -> Vec<Option<f64>> {
        let values: Vec<Option<f64>> = values
            .as_array()
            .unwrap()
            .iter()
            .map(Value::as_f64)
            .collect();
        values[values.len() - count..].to_vec()
    }

    #[test]
    fn means_hold_for_five_minutes_and_gaps_are_gaps() {
        let folder = Folder::of(&[
            tick("2026-03-02T10:00:00Z", 8, 4),
            tick("2026-03-02T10:04:00Z", 4, 4),
            // Nothing for 16 minutes; it holds until 10:09.
            tick("2026-03-02T10:20:00Z", 10, 0),
        ]);
        let shown = folder.read(Range::Day, "2026-03-02T10:22:30Z");
        assert_eq!(shown["step_seconds"], 300);
        assert_eq!(shown["t"].as_array().unwrap().len(), 288);
        // 10:00 to 10:25; the first is 4 min of 8 and 1 min of 4.
        assert_eq!(
            end(&shown["cores"]["paid"], 6),
            [None, Some(7.2), Some(4.0), None, None, Some(10.0)]
        );
        assert_eq!(end(&shown["queue"]["idle"], 2), [None, Some(10.0)]);
        assert_eq!(
            end(&shown["nodes"]["busy"], 6)[1..],
            [Some(4.0), Some(4.0), None, None, Some(0.0)]
        );
        assert_eq!(end(&shown["clouds"]["blue"]["paid_cores"], 1), [Some(10.0)]);
        assert_eq!(end(&shown["waste_per_hour"], 1), [Some(10.0)]);
        let totals = &shown["totals"];
        // 8 × 4 min + 4 × 5 min + 10 × 2.5 min
        let paid = (32.0 + 20.0 + 25.0) / 60.0;
        let wasted = (16.0 + 0.0 + 25.0) / 60.0;
        let near = |value: &Value, expected: f64| {
            assert!(
                (value.as_f64().unwrap() - expected).abs() < 1e-5,
                "{value} {expected}"
            );
        };
        near(&totals["paid_core_hours"], paid);
        near(&totals["claimed_core_hours"], paid - wasted);
        near(&totals["wasted_core_hours"], wasted);
        near(&totals["cost"], paid);
        near(&totals["wasted_cost"], wasted);
        assert_eq!(totals["ticks"], 3);
        // From 10:09 to 10:20; before the first tick nothing is missing.
        near(&totals["missing_seconds"], 660.0);
        for range in Range::ALL {
            let same = folder.read(range, "2026-03-02T10:22:30Z");
            near(&same["totals"]["paid_core_hours"], paid);
            near(&same["totals"]["wasted_cost"], wasted);
            near(&same["totals"]["missing_seconds"], 660.0);
            let points = same["t"].as_array().unwrap().len();
            assert!((240..=360).contains(&points), "{points}");
            assert_eq!(same["demand_cpus"].as_array().unwrap().len(), points);
        }
        // In steps of 15 s.
        let hour = folder.read(Range::Hour, "2026-03-02T10:22:30Z");
        assert_eq!(end(&hour["cores"]["paid"], 12)[..2], [None, Some(10.0)]);
    }

    #[test]
    fn what_was_not_seen_is_a_gap() {
        let at = "2026-03-02T10:00:00Z";
        let now = "2026-03-02T10:01:00Z";
        let last = |tick: Value, path: &str| {
            let shown = Folder::of(&[tick]).read(Range::Day, now);
            let values = shown.pointer(path).filter(|values| values.is_array());
            values.and_then(|values| end(values, 1)[0])
        };
        let schedd = json!([{"source": "schedd a", "cause": "no \"answer\""}]);
        for (changed, path) in [
            (with(tick(at, 4, 2), "/queue", Value::Null), "/queue/idle"),
            (with(tick(at, 4, 2), "/queue", Value::Null), "/demand_cpus"),
            (
                with(tick(at, 4, 2), "/unknown_sources", schedd),
                "/queue/idle",
            ),
            (
                with(tick(at, 4, 2), "/collector", json!(false)),
                "/cores/claimed",
            ),
            (
                with(tick(at, 4, 2), "/collector", json!(false)),
                "/waste_per_hour",
            ),
            // It has not heard from all of them.
            (
                with(
                    tick(at, 4, 2),
                    "/brakes",
                    json!({"collector_young": "it is up for \"12 s\" only"}),
                ),
                "/cores/claimed",
            ),
            (
                with(tick(at, 4, 2), "/brakes", json!({"nodes_silent": "4 of 5"})),
                "/waste_per_hour",
            ),
            (
                with(tick(at, 4, 2), "/clouds/blue/answers", json!(false)),
                "/cores/paid",
            ),
            (
                with(tick(at, 4, 2), "/clouds/blue/answers", json!(false)),
                "/clouds/blue/nodes",
            ),
            (with(tick(at, 4, 2), "/cost", Value::Null), "/cost_per_hour"),
        ] {
            assert_ne!(last(tick(at, 4, 2), path), None, "{path}");
            assert_eq!(last(changed.clone(), path), None, "{path}");
            assert_ne!(last(changed, "/nodes/busy"), None, "{path}");
        }
    }

    #[test]
    fn a_node_whose_delete_is_asked_for_again_is_deleted_once() {
        let delete = |at: &str, phase: &str, result: &str| {
            let event = json!([{"node": "a", "phase": phase, "decision": "delete"}]);
            let action = json!([{"action": "delete", "node": "a", "result": result}]);
            with(with(tick(at, 4, 2), "/events", event), "/actions", action)
        };
        let folder = Folder::of(&[
            delete("2026-03-02T10:00:00Z", "drained", "failed"),
            delete("2026-03-02T10:01:00Z", "drained", "done"),
            delete("2026-03-02T10:11:00Z", "deleting", "done"),
            delete("2026-03-02T10:21:00Z", "deleting", "done"),
        ]);
        let shown = folder.read(Range::Day, "2026-03-02T10:22:00Z");
        assert_eq!(shown["totals"]["nodes_deleted"], 1);
    }

    proptest! {
        /// Means times time are the totals, whatever the steps are, and these are what each tick saw until the next one.
        #[test]
        fn mean_times_time_is_the_integral(
            gaps in prop::collection::vec((1i64..900, 0u64..50, 0u64..50, any::<bool>()), 1..40)
        ) {
            let start = "2026-03-01T20:00:00Z".parse::<Timestamp>().unwrap().as_second();
            let stamp = |second: i64| Timestamp::from_second(second).unwrap().to_string();
            let (mut at, mut lines, mut expected, mut known) = (start, Vec::new(), 0.0, 0.0);
            for (gap, paid, claimed, answers) in &gaps {
                let line = tick(&stamp(at), *paid, *claimed);
                lines.push(with(line, "/clouds/blue/answers", json!(answers)));
                let holds = (*gap).min(300) as f64;
                let seen = *answers;
                if seen {
                    expected += *paid as f64 * holds / 3600.0;
                    known += holds;
                }
                at += gap;
            }
            let folder = Folder::of(&lines);
            for range in [Range::Day, Range::Week, Range::Month] {
                let shown = folder.read(range, &stamp(at));
                let total = shown["totals"]["paid_core_hours"].as_f64().unwrap();
                prop_assert!((total - expected).abs() < 1e-3, "{} {total} {expected}", range.name());
            }
            // With steps in which all is known, the drawn means say the same.
            if known == (at - start) as f64 {
                let shown = folder.read(Range::Day, &stamp(at));
                let first = start.max(shown["from"].as_i64().unwrap());
                let mut drawn = 0.0;
                for (from, mean) in shown["t"].as_array().unwrap().iter().zip(shown["cores"]["paid"].as_array().unwrap()) {
                    let from = from.as_i64().unwrap();
                    let time = ((from + 300).min(at) - from.max(first)).max(0) as f64;
                    drawn += mean.as_f64().unwrap_or_default() * time / 3600.0;
                }
                prop_assert!((drawn - expected).abs() < 1e-3, "{drawn} {expected}");
            }
        }
    }
}
