//! The document of a cost report, and its text and CSV.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use scaling::sorting::IntoMap;
use serde::{Serialize, Serializer};

use super::node_time::Stage;
use super::period::Period;
use super::share::{Amount, Apart, By, Shares, money};
use crate::status::layout::{cut, labelled, width};
use crate::text::count;
use scaling::sorting;
use system::plain::clean;

/// The version of the JSON layout: raised when a field changes its meaning or is removed.
const VERSION: u32 = 1;

/// Lines of the text; the rest is one line.
const TEXT_LINES: usize = 20;

/// Lines for programs.
const LINES_MAX: usize = 10_000;

/// Most columns of a name in the text.
const NAME_WIDTH: usize = 40;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The owner, accounting group, cloud, flavor, day or node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub jobs: u64,
    #[serde(rename = "used_core_seconds", serialize_with = "seconds")]
    used: u128,
    #[serde(rename = "paid_core_seconds", serialize_with = "seconds")]
    paid: u128,
    #[serde(serialize_with = "amount")]
    cost: Option<u128>,
}

/// Thousandths of seconds, as seconds.
fn seconds<S: Serializer>(milliseconds: &u128, to: S) -> Result<S::Ok, S::Error> {
    #[allow(clippy::cast_precision_loss)] // 280,000 years of a core.
    to.serialize_f64(*milliseconds as f64 / 1000.0)
}

#[allow(clippy::ref_option)] // serde asks so.
fn amount<S: Serializer>(millionths: &Option<u128>, to: S) -> Result<S::Ok, S::Error> {
    millionths.map(money).serialize(to)
}

/// Use that no node pays for, and nodes that no job is known for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unattributed {
    #[serde(flatten)]
    pub line: Line,
    /// Jobs with earlier runs, whose hosts HTCondor does not keep.
    pub earlier_runs: u64,
    /// Runs without a host, or at a time at which the node did not exist.
    pub without_node: u64,
}

/// Jobs on machines that ehos does not pay for: not part of any sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmanaged {
    pub jobs: u64,
    #[serde(rename = "used_core_seconds", serialize_with = "seconds")]
    used: u128,
}

/// What the command was asked for, and what it could not find out.
#[derive(Debug, Clone)]
pub struct Options {
    pub by: By,
    pub apart: bool,
    pub time_zone: TimeZone,
    /// What is unknown, in sentences.
    pub unknown: Vec<String>,
    /// Odd job ads, by what is odd about them.
    pub notes: BTreeMap<String, u64>,
}

/// A cost report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    version: u32,
    from: Timestamp,
    to: Timestamp,
    /// The period is not over.
    open: bool,
    time_zone: String,
    by: &'static str,
    /// By cost, the largest first; days in their order.
    rows: Vec<Line>,
    /// The rows that are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<Line>,
    /// Of nodes for no job: `boot`, `idle` and `drain`, if they are apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead: Option<BTreeMap<&'static str, Line>>,
    unattributed: Unattributed,
    total: Line,
    unmanaged: Unmanaged,
    nodes_without_price: u64,
    nodes_without_size: u64,
    unknown: Vec<String>,
    notes: BTreeMap<String, u64>,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Owner => "owner",
            By::Group => "accounting-group",
            By::Cloud => "cloud",
            By::Flavor => "flavor",
            By::Day => "day",
            By::Node => "node",
        }
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Boot => "boot",
        Stage::Joined => "idle",
        Stage::Drain => "drain",
    }
}

impl Summary {
    /// The report of these shares.
    pub fn new(shares: &Shares<'_>, period: &Period, options: Options) -> Summary {
        let Options { by, apart, .. } = options;
        let total = shares.total(by, apart);
        // Without any price there is no money at all.
        let has_price = total.all.cost > 0 || shares.without_price == 0;
        let line = |name: &str, amount: &Amount| Line {
            name: clean(name),
            jobs: amount.jobs,
            used: amount.used_core_ms,
            paid: amount.paid_core_ms,
            cost: has_price.then_some(amount.cost),
        };
        let mut rows: Vec<(&String, &Amount)> = total.rows.iter().collect();
        if by != By::Day {
            let key = |amount: &Amount| (amount.cost, amount.paid_core_ms, amount.used_core_ms);
            sorting::by_key(&mut rows, |(_, amount)| Reverse(key(amount)));
        }
        let mut others = Amount::default();
        let rest = rows.split_off(rows.len().min(LINES_MAX));
        rest.iter().for_each(|(_, amount)| others.add(amount));
        let overhead = total.overhead.iter();
        let overhead = overhead.map(|(stage, one)| (stage_name(*stage), line("", one)));
        let at = |at: i64| Timestamp::from_millisecond(at).unwrap_or_default();
        let Apart { jobs, core_ms } = shares.unmanaged;
        Summary {
            version: VERSION,
            from: at(period.from),
            to: at(period.to),
            open: period.is_open,
            time_zone: options.time_zone.iana_name().unwrap_or("local").to_owned(),
            by: by.name(),
            rows: rows.iter().map(|(name, one)| line(name, one)).collect(),
            others: (!rest.is_empty()).then(|| line(&others_name(rest.len()), &others)),
            overhead: apart.then(|| overhead.into_map()),
            unattributed: Unattributed {
                line: line("", &total.unattributed),
                earlier_runs: shares.earlier.jobs,
                without_node: shares.unplaced.jobs,
            },
            total: line("", &total.all),
            unmanaged: Unmanaged {
                jobs,
                used: core_ms,
            },
            nodes_without_price: shares.without_price,
            nodes_without_size: shares.without_size,
            unknown: options.unknown.iter().map(|text| clean(text)).collect(),
            notes: options.notes,
        }
    }

    /// The sums by name, as CSV. A name that a spreadsheet would take for a formula has a quote before it.
    pub fn csv(&self) -> String {
        let mut text = format!(
            "{},jobs,used_core_seconds,paid_core_seconds,cost\n",
            self.by.replace('-', "_")
        );
        for line in self.all_lines(usize::MAX) {
            let cost = line.cost.map_or(String::new(), decimal::<6>);
            let (used, paid) = (decimal::<3>(line.used), decimal::<3>(line.paid));
            let mut name = line.name.replace('"', "\"\"");
            if name.starts_with(['=', '+', '-', '@']) {
                name.insert(0, '\'');
            }
            let _ = writeln!(text, "\"{name}\",{},{used},{paid},{cost}", line.jobs);
        }
        text
    }

    /// The rows, and the lines that make up the total with them.
    fn all_lines(&self, most: usize) -> Vec<Line> {
        let named = |line: &Line, name: &str| Line {
            name: name.to_owned(),
            ..line.clone()
        };
        let mut lines: Vec<Line> = self.rows.iter().take(most).cloned().collect();
        let rest = self.rows.get(most..).unwrap_or_default();
        let rest: Vec<&Line> = rest.iter().chain(&self.others).collect();
        if let Some((first, more)) = rest.split_first() {
            let count = self.rows.len().saturating_sub(lines.len());
            let mut sum = match count {
                0 => (*first).clone(),
                _ => named(first, &others_name(count)),
            };
            for line in more {
                sum.jobs += line.jobs;
                sum.used += line.used;
                sum.paid += line.paid;
                sum.cost = sum.cost.zip(line.cost).map(|(one, other)| one + other);
            }
            lines.push(sum);
        }
        for (name, line) in self.overhead.iter().flatten() {
            lines.push(named(line, &format!("({name})")));
        }
        let rest = &self.unattributed.line;
        if rest.used > 0 || rest.paid > 0 || rest.cost.is_some_and(|cost| cost > 0) {
            lines.push(named(rest, "(unattributed)"));
        }
        lines.push(named(&self.total, "(total)"));
        lines
    }

    /// The report for people, in `room` columns.
    pub fn text(&self, room: usize, time_zone: &TimeZone) -> String {
        let at = |at: Timestamp| {
            at.to_zoned(time_zone.clone())
                .strftime("%Y-%m-%d %H:%M %Z")
                .to_string()
        };
        let until = if self.open { ", not over" } else { "" };
        let mut text = format!("period   {} to {}{until}\n", at(self.from), at(self.to));
        text += match &self.overhead {
            Some(_) => "overhead boot, idle and drain time apart\n\n",
            None => "overhead boot, idle and drain time shared in proportion to use\n\n",
        };
        let lines = self.all_lines(match self.by {
            "day" => usize::MAX,
            _ => TEXT_LINES,
        });
        let head = [
            "jobs",
            "core-hours used",
            "core-hours paid",
            "cost",
            "share",
        ]
        .map(str::to_owned);
        let mut table = vec![(self.by.replace('-', " "), head)];
        table.extend(
            lines
                .iter()
                .map(|line| (line.name.clone(), self.cells(line))),
        );
        text += &columns(&table);
        for sentence in self.sentences() {
            text.push('\n');
            text += &labelled("note     ", &sentence, room).join("\n");
        }
        text.push('\n');
        text
    }

    fn cells(&self, line: &Line) -> [String; 5] {
        let cost = line
            .cost
            .map_or("unknown".to_owned(), |cost| self.rounded(cost));
        let (part, whole) = match self.total.cost.filter(|cost| *cost > 0) {
            Some(all) => (line.cost.unwrap_or_default(), all),
            None => (line.paid, self.total.paid),
        };
        let share = part.saturating_mul(1000).saturating_add(whole / 2);
        let share = share.checked_div(whole);
        let share = share.map_or(String::new(), |share| {
            format!("{}.{}%", share / 10, share % 10)
        });
        [
            line.jobs.to_string(),
            hours(line.used),
            hours(line.paid),
            cost,
            share,
        ]
    }

    /// Money with as many decimals as the total asks for.
    fn rounded(&self, cost: u128) -> String {
        let total = self.total.cost.unwrap_or_default();
        match total >= 100_000_000 {
            true => decimal::<2>((cost + 5_000) / 10_000),
            false => decimal::<4>((cost + 50) / 100),
        }
    }

    /// What a reader has to know besides.
    fn sentences(&self) -> Vec<String> {
        let mut all = self.unknown.clone();
        let unattributed = &self.unattributed;
        if unattributed.earlier_runs > 0 {
            all.push(format!(
                "unattributed: earlier runs of {} (evicted, requeued); HTCondor keeps only the last host of a job",
                jobs(unattributed.earlier_runs)
            ));
        }
        if unattributed.without_node > 0 {
            all.push(format!(
                "unattributed: {} ran without a known host, or at a time at which the node did not exist",
                jobs(unattributed.without_node)
            ));
        }
        if self.unmanaged.jobs > 0 {
            all.push(format!(
                "not in this table: {} with {} core-hours ran on machines that ehos does not manage",
                jobs(self.unmanaged.jobs),
                hours(self.unmanaged.used)
            ));
        }
        if self.nodes_without_price > 0 {
            all.push(format!(
                "the cost of {} is unknown: no price of their flavors; set `prices` of the cloud",
                nodes(self.nodes_without_price)
            ));
        }
        if self.nodes_without_size > 0 {
            all.push(format!(
                "the cores of {} are unknown, and are not in core-hours paid",
                nodes(self.nodes_without_size)
            ));
        }
        let notes = self.notes.iter();
        all.extend(notes.map(|(what, count)| format!("{}: {what}", jobs(*count))));
        all
    }
}

fn others_name(count: usize) -> String {
    format!("({count} others)")
}

fn jobs(number: u64) -> String {
    count(number, "job")
}

fn nodes(number: u64) -> String {
    count(number, "node")
}

/// A number of parts, of which one has 10^`N`, as a decimal number.
fn decimal<const N: u32>(parts: u128) -> String {
    let one = 10_u128.pow(N);
    format!(
        "{}.{:0width$}",
        parts / one,
        parts % one,
        width = N as usize
    )
}

/// Core-hours with two decimals.
fn hours(core_ms: u128) -> String {
    let hundredths = (core_ms + 18_000) / 36_000;
    decimal::<2>(hundredths)
}

/// Names to the left, numbers to the right.
fn columns(table: &[(String, [String; 5])]) -> String {
    let names = table.iter().map(|(name, _)| width(name));
    let room = names.max().unwrap_or_default().min(NAME_WIDTH);
    let of_column = |column: usize| {
        let cells = table.iter().filter_map(|(_, cells)| cells.get(column));
        cells.map(|cell| width(cell)).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(of_column);
    let mut text = String::new();
    for (name, cells) in table {
        let name = cut(name, room);
        text += &name;
        text += &" ".repeat(room.saturating_sub(width(&name)));
        for (cell, room) in cells.iter().zip(widths) {
            text += &" ".repeat(2 + room.saturating_sub(width(cell)));
            text += cell;
        }
        text.push('\n');
    }
    text
}
