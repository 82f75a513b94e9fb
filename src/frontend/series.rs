//! What charts are drawn from: the means over steps of time, as many as a chart has room for.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::answer::{Answer, JSON};
use super::day::{Column, Columns, DAY, DayRead, HOLDS, Row, STEP, Sample};
use crate::history;

/// For how long an answer is given again when no tick has come (milliseconds).
const FRESH: i64 = 2_000;

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
        let new = self.read(&there, from, now, range == Range::Hour)?;
        if new {
            self.answers.clear();
        }
        if let Some(drawn) = self.answers.get(&range) {
            let age = now - drawn.now;
            if (0..FRESH).contains(&age) || (age == 0) {
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
    fn read(
        &mut self,
        there: &[history::Day],
        from: i64,
        now: i64,
        each: bool,
    ) -> io::Result<bool> {
        let (first, today) = (date(from - HOLDS), date(now));
        let oldest = date(now - 31 * DAY);
        let before = self.days.len();
        self.days.retain(|date, _| {
            (oldest..=today).contains(date) && there.iter().any(|day| day.date == *date)
        });
        let mut new = before != self.days.len();
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
                Err(error) => return Err(error),
            }
            if day.date < yesterday {
                read.settle();
            }
        }
        Ok(new)
    }

    fn fill(&self, row: &mut Row, now: i64) {
        // What is seen now is known now.
        let after = |sample: &Sample| now.max(sample.at + 1);
        let end = row.from + row.step * i64::try_from(row.buckets.len()).unwrap_or_default();
        if row.step < STEP {
            let samples = self.days.values().flat_map(|day| &day.samples);
            let samples: Vec<Sample> = samples
                .filter(|sample| (row.from - HOLDS..end).contains(&sample.at))
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
