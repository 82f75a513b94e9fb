//! What charts are drawn from: the means over steps of time, as many as a chart has room for.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::answer::{Answer, JSON};
use super::day::{Column, Columns, DAY, DayRead, Row, SAMPLE_VALIDITY, STEP, Sample};
use report::history::{self, UnreadDay};

/// For how long an answer is given again when no tick has come (milliseconds).
const FRESH: i64 = 10_000;

const HOUR: i64 = 3_600_000;

/// How far back a chart goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Its length and that of its steps, in milliseconds: 240 to 360 of them.
    fn lengths(self) -> (i64, i64) {
        match self {
            Range::Hour => (HOUR, 15_000),
            Range::Day => (DAY, STEP),
            Range::Week => (7 * DAY, 30 * 60_000),
            Range::Month => (30 * DAY, 2 * HOUR),
        }
    }
}

/// The days that have been read, and the last answers.
#[derive(Debug, Default)]
pub struct Series {
    columns: Columns,
    days: BTreeMap<Date, DayRead>,
    /// Days of the last look that could not be read.
    unread: Vec<UnreadDay>,
    answers: BTreeMap<Range, Drawn>,
}

#[derive(Debug)]
struct Drawn {
    now: i64,
    answer: Answer,
}

fn date(at: i64) -> Date {
    let at = Timestamp::from_millisecond(at).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).date()
}

impl Series {
    /// The answer for a range that ends `now`.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn answer(&mut self, folder: &Path, range: Range, now: Timestamp) -> io::Result<Answer> {
        let now = now.as_millisecond();
        let (length, step) = range.lengths();
        // The last step is the one that `now` is in.
        let to = (now.div_euclid(step) + 1) * step;
        let from = to - length;
        let there = history::days(folder)?;
        let new = self.read(&there, from, now, range == Range::Hour);
        if new {
            self.answers.clear();
        }
        if let Some(drawn) = self.answers.get(&range) {
            let age = now - drawn.now;
            if (0..FRESH).contains(&age) {
                return Ok(drawn.answer.clone());
            }
        }
        let begins = match there.first() {
            Some(day) if day.date < date(from) => from,
            _ => {
                let first = self.days.values().find_map(|day| day.first);
                first.unwrap_or(now).clamp(from, now)
            }
        };
        let mut row = Row::new(
            from,
            step,
            usize::try_from(length / step).unwrap_or_default(),
        );
        self.fill(&mut row, now);
        let shown = self.shown(range, &row, begins, now);
        let answer = Answer::ok(JSON, serde_json::to_vec(&shown)?);
        let drawn = Drawn {
            now,
            answer: answer.clone(),
        };
        self.answers.insert(range, drawn);
        Ok(answer)
    }

    /// Reads what is new of the days that matter. Whether anything is.
    fn read(&mut self, there: &[history::Day], from: i64, now: i64, each: bool) -> bool {
        let (first, today) = (date(from - SAMPLE_VALIDITY), date(now));
        let oldest = date(now - 31 * DAY);
        let before = self.days.len();
        self.days.retain(|date, _| {
            (oldest..=today).contains(date) && there.iter().any(|day| day.date == *date)
        });
        let mut new = before != self.days.len();
        let unread_before = std::mem::take(&mut self.unread);
        let yesterday = today.yesterday().unwrap_or(today);
        for day in there
            .iter()
            .filter(|day| (first..=today).contains(&day.date))
        {
            let read = self
                .days
                .entry(day.date)
                .or_insert_with(|| DayRead::new(day.date));
            if each && !read.is_whole() {
                *read = DayRead::new(day.date);
            }
            match read.read(&day.path, &mut self.columns) {
                Ok(more) => new |= more,
                // It was too old.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.days.remove(&day.date);
                    self.unread.push(day.unread(&error));
                    continue;
                }
            }
            if day.date < yesterday {
                read.settle();
            }
        }
        new || self.unread != unread_before
    }

    fn fill(&self, row: &mut Row, now: i64) {
        // What is seen now is known now.
        let after = |sample: &Sample| now.max(sample.at + 1);
        let end = row.from + row.step * i64::try_from(row.buckets.len()).unwrap_or_default();
        if row.step < STEP {
            let samples = self.days.values().flat_map(|day| &day.samples);
            let samples: Vec<Sample> = samples
                .filter(|sample| (row.from - SAMPLE_VALIDITY..end).contains(&sample.at))
                .cloned()
                .collect();
            if let Some(last) = samples.last() {
                row.fill(&samples, after(last));
            }
            return;
        }
        let firsts = self.days.values().map(|day| day.first);
        let mut firsts: Vec<Option<i64>> = firsts.collect();
        firsts.reverse();
        for day in self.days.values() {
            firsts.pop();
            for (number, bucket) in (0..).zip(&day.row.buckets) {
                let index = row.index(day.row.from + number * STEP);
                if let Some(mine) = index.and_then(|index| row.buckets.get_mut(index)) {
                    mine.add(bucket);
                }
            }
            if let Some(last) = day.samples.last() {
                let next = firsts.iter().rev().find_map(|first| *first);
                row.hold(last, next.unwrap_or_else(|| after(last)));
            }
        }
    }

    fn shown(&self, range: Range, row: &Row, begins: i64, now: i64) -> Shown {
        let tick = self.columns.find(&Column::Tick);
        let number = |column: &Column| self.columns.find(column);
        let means = |column: &Column| -> Vec<Option<f64>> {
            let column = number(column);
            let means = row.buckets.iter().map(|bucket| {
                let (sum, known) = bucket.sum(column);
                (known > 0.0).then(|| rounded(sum / known))
            });
            means.collect()
        };
        // A phase that a tick does not name has no nodes.
        let nodes = |column: &Column| -> Vec<Option<f64>> {
            let column = number(column);
            let means = row.buckets.iter().map(|bucket| {
                let (_, known) = bucket.sum(tick);
                (known > 0.0).then(|| rounded(bucket.sum(column).0 / known))
            });
            means.collect()
        };
        let total = |column: &Column| -> (f64, f64) {
            let column = number(column);
            let sums = row.buckets.iter().map(|bucket| bucket.sum(column));
            sums.fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1))
        };
        let hours = |column: &Column| rounded(total(column).0 / millis(HOUR));
        let known = |column: &Column| total(column).1 > 0.0;
        let money = |column: &Column| known(column).then(|| means(column));
        let spent = |column: &Column| known(column).then(|| hours(column));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // Whole numbers, never negative.
        let count = |column: &Column| total(column).0.round() as u64;
        let missing = (millis(now - begins) - total(&Column::Tick).1).max(0.0) / 1000.0;
        let mut shown = Shown {
            range: range.name(),
            from: row.from / 1000,
            to: row.from / 1000 + row.step / 1000 * row.buckets.len() as i64,
            step_seconds: row.step / 1000,
            t: (0..row.buckets.len() as i64)
                .map(|step| (row.from + step * row.step) / 1000)
                .collect(),
            queue: QueueShown {
                idle: means(&Column::Idle),
                running: means(&Column::Running),
                held: means(&Column::Held),
                waiting: means(&Column::Waiting),
                unmatched: means(&Column::Unmatched),
            },
            demand_cpus: means(&Column::Demand),
            nodes: BTreeMap::new(),
            cores: CoresShown {
                paid: means(&Column::Paid),
                claimed: means(&Column::Claimed),
                others: means(&Column::Others),
            },
            cost_per_hour: money(&Column::Cost),
            waste_per_hour: money(&Column::Waste),
            clouds: BTreeMap::new(),
            unread: self.unread.clone(),
            totals: Totals {
                paid_core_hours: hours(&Column::Paid),
                claimed_core_hours: hours(&Column::Claimed),
                wasted_core_hours: hours(&Column::Wasted),
                cost: spent(&Column::Cost),
                wasted_cost: spent(&Column::Waste),
                ticks: count(&Column::Ticks),
                ticks_failed: count(&Column::Failed),
                missing_seconds: missing.round(),
                nodes_created: count(&Column::Created),
                nodes_deleted: count(&Column::Deleted),
            },
        };
        for column in self.columns.names() {
            match column {
                Column::Phase(phase) if total(column).0 > 0.0 => {
                    shown.nodes.insert(phase.clone(), nodes(column));
                }
                Column::CloudNodes(cloud) if known(column) => {
                    let cloud_shown = CloudShown {
                        paid_cores: means(&Column::CloudPaid(cloud.clone())),
                        nodes: means(column),
                    };
                    shown.clouds.insert(cloud.clone(), cloud_shown);
                }
                _ => {}
            }
        }
        shown
    }
}

#[allow(clippy::cast_precision_loss)] // Of a month.
fn millis(time: i64) -> f64 {
    time as f64
}

/// To millionths, as money is.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

type Means = Vec<Option<f64>>;

#[derive(Serialize)]
struct Shown {
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
    /// Days that are missing from it.
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

        fn ask(&self, series: &mut Series, range: Range, now: &str) -> Value {
            let answer = series
                .answer(self.0.path(), range, now.parse().unwrap())
                .unwrap();
            serde_json::from_slice(&answer.body).unwrap()
        }

        fn anew(&self, range: Range, now: &str) -> Value {
            self.ask(&mut Series::default(), range, now)
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
        let shown = folder.anew(Range::Day, "2026-03-02T10:22:30Z");
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
            let same = folder.anew(range, "2026-03-02T10:22:30Z");
            near(&same["totals"]["paid_core_hours"], paid);
            near(&same["totals"]["wasted_cost"], wasted);
            near(&same["totals"]["missing_seconds"], 660.0);
            let points = same["t"].as_array().unwrap().len();
            assert!((240..=360).contains(&points), "{points}");
            assert_eq!(same["demand_cpus"].as_array().unwrap().len(), points);
        }
        // In steps of 15 s.
        let hour = folder.anew(Range::Hour, "2026-03-02T10:22:30Z");
        assert_eq!(end(&hour["cores"]["paid"], 12)[..2], [None, Some(10.0)]);
    }

    #[test]
    fn what_was_not_seen_is_a_gap() {
        let at = "2026-03-02T10:00:00Z";
        let now = "2026-03-02T10:01:00Z";
        let last = |tick: Value, path: &str| {
            let shown = Folder::of(&[tick]).anew(Range::Day, now);
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
        let shown = folder.anew(Range::Day, "2026-03-02T10:22:00Z");
        assert_eq!(shown["totals"]["nodes_deleted"], 1);
    }

    #[test]
    fn what_is_read_piece_by_piece_is_what_is_read_at_once() {
        let folder = Folder::of(&[]);
        let mut series = Series::default();
        let day = "2026-03-02";
        let mut same = |now: &str| {
            for range in Range::ALL {
                let shown = folder.ask(&mut series, range, now);
                assert!(shown == folder.anew(range, now), "{now} {}", range.name());
            }
        };
        same("2026-03-01T23:00:00Z");
        folder.add(&[tick("2026-03-01T23:58:00Z", 2, 1)]);
        same("2026-03-01T23:58:01Z");
        folder.add(&[
            tick("2026-03-01T23:59:00Z", 4, 1),
            tick("2026-03-02T00:02:00Z", 6, 1),
        ]);
        same("2026-03-02T00:02:30Z");
        let line = tick("2026-03-02T00:03:00Z", 8, 1).to_string();
        let (half, rest) = line.split_at(70);
        folder.append(day, half);
        same("2026-03-02T00:03:01Z");
        folder.append(day, rest);
        same("2026-03-02T00:03:02Z");
        folder.append(day, "\n{\"at\": \"2026-03-02T00:0\nnot JSON\n[]\n\u{0}\n");
        folder.add(&[with(
            tick("2026-03-02T00:04:00Z", 8, 1),
            "/version",
            json!(9),
        )]);
        same("2026-03-02T00:04:02Z");
        // The clock was set back.
        folder.add(&[
            tick("2026-03-01T23:59:30Z", 1, 1),
            tick("2026-03-02T00:01:00Z", 6, 1),
        ]);
        same("2026-03-02T00:04:40Z");
        // Somebody has cut it, and written something else of the same length.
        let path = folder.0.path().join(format!("{day}.jsonl"));
        std::fs::write(&path, format!("{}\n", tick("2026-03-02T00:01:00Z", 6, 1))).unwrap();
        same("2026-03-02T00:05:00Z");
        std::fs::write(&path, format!("{}\n", tick("2026-03-02T00:02:00Z", 5, 1))).unwrap();
        same("2026-03-02T00:05:10Z");
        // Longer than before, but not the same with something added.
        let other = [
            tick("2026-03-02T00:03:00Z", 5, 1),
            tick("2026-03-02T00:04:00Z", 7, 2),
        ];
        std::fs::write(&path, format!("{}\n{}\n", other[0], other[1])).unwrap();
        same("2026-03-02T00:05:20Z");
        folder.add(&[tick("2026-03-05T00:04:00Z", 9, 2)]);
        same("2026-03-05T00:05:00Z");
        // Days that are over are not kept tick by tick; and the clock may go back to them.
        same("2026-03-02T00:30:00Z");
        same("2026-03-05T00:05:00Z");
        std::fs::remove_file(&path).unwrap();
        same("2026-03-05T00:05:30Z");
        same("2026-06-01T00:00:00Z");
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
                let shown = folder.anew(range, &stamp(at));
                let total = shown["totals"]["paid_core_hours"].as_f64().unwrap();
                prop_assert!((total - expected).abs() < 1e-3, "{} {total} {expected}", range.name());
            }
            // With steps in which all is known, the drawn means say the same.
            if known == (at - start) as f64 {
                let shown = folder.anew(Range::Day, &stamp(at));
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
