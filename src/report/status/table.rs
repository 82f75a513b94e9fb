//! The table of `ehos status`: the last tick on a terminal.

mod words;

use std::collections::BTreeMap;
use words::{budget_left, join, memory, money_left, of_maximum, quota_left, took};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::layout::{Cell, Style, columns, paint, width, wrap};
use super::sheet::{ITEM, Sheet};
use crate::TickReport;
use crate::history;
use crate::names::{Named, ReasonName};
use crate::problem::{Level, age_seconds, problems};
use crate::text::{count, request, waiting};
use crate::tick_report::{ActionResult, JobGroupReport, NodeReport};
use scaling::figures::{BackoffFigures, UsageFigures};
use scaling::names::PhaseName;
use scaling::plan::NodeDecision;
use scaling::seconds::Seconds;
use scaling::sorting;
use system::plain::clean;

/// More nodes than this are only counted, unless --all.
const NODES: usize = 20;

/// The same for job groups.
const GROUPS: usize = 10;

/// On narrower terminals nodes are named by their ids, which are part of their names.
const WIDE: usize = 120;

/// The columns that a reason needs beside the row of its node.
const BESIDE: usize = 40;

/// The least width of a terminal.
const MIN_WIDTH: usize = 40;

/// The width of the labels at the top.
const LABEL: usize = 11;

/// The layout of the table.
#[derive(Debug, Clone)]
pub struct View {
    /// Columns of the terminal.
    pub width: usize,
    pub colour: bool,
    /// Shows every node and every job group.
    pub all: bool,
    pub time_zone: TimeZone,
}

struct Page {
    view: View,
    room: usize,
    sheet: Sheet,
}

/// Returns the table of the last tick, as of `now`.
pub fn table(snapshot: &TickReport, now: Timestamp, view: &View) -> String {
    let room = view.width.max(MIN_WIDTH);
    let mut page = Page {
        room,
        view: view.clone(),
        sheet: Sheet::new(room, view.colour, LABEL),
    };
    for problem in problems(snapshot, now) {
        let style = match problem.level {
            Level::Error => Style::Bad,
            Level::Warning => Style::Warn,
            // The lines below show them.
            Level::Note => continue,
        };
        page.entry(problem.word, &problem.text, style);
    }
    for one in &snapshot.pauses {
        page.entry("paused", &one.text, Style::Warn);
    }
    if let Some(standby) = &snapshot.standby
        && standby
            .standby
            .known()
            .is_some_and(|name| !name.is_problem())
    {
        page.entry("standby", &standby.text, Style::Plain);
    }
    for notice in &snapshot.notices {
        page.entry("note", notice, Style::Plain);
    }
    page.entry("tick", &tick(snapshot, now, view), Style::Plain);
    let limits = history::limits(snapshot);
    if !limits.is_empty() {
        let limits = limits
            .iter()
            .map(|(name, jobs)| format!("{name} ({})", count(*jobs, "job")));
        page.entry("limited by", &join(limits), Style::Warn);
    }
    if let Some(window) = &snapshot.window {
        page.entry("window", &window.text, Style::Plain);
    }
    page.entry("queue", &queue(snapshot), Style::Plain);
    page.nodes_in_short(snapshot);
    if let Some(kept) = &snapshot.kept {
        page.entry("kept", &kept.text, Style::Plain);
    }
    page.entry("cores", &cores(snapshot), Style::Plain);
    if let Some(cost) = &snapshot.cost {
        let mut text = format!(
            "{} per hour, {} spent in {}",
            cost.per_hour, cost.spent_this_month, cost.month
        );
        if let Some(since) = cost.counted_since {
            text += &format!(" (counted since {since:.0})");
        }
        page.entry("cost", &text, Style::Plain);
    }
    let others = [
        (snapshot.builders.len(), "builder"),
        (snapshot.leftovers.len(), "leftover"),
        (snapshot.floating_ips.len(), "floating IP of a node"),
    ];
    let others: Vec<String> = others
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if !others.is_empty() {
        page.entry("also", &join(others), Style::Plain);
    }
    page.groups(&snapshot.groups);
    page.backoffs(&snapshot.backoffs);
    page.clouds(snapshot);
    page.nodes(&snapshot.nodes);
    page.sheet.text
}

impl Page {
    fn line(&mut self, line: &str) {
        self.sheet.line(line);
    }

    fn entry(&mut self, label: &str, text: &str, style: Style) {
        self.sheet.entry(label, text, style);
    }

    fn heading(&mut self, heading: &str) {
        self.sheet.heading(heading);
    }

    fn item(&mut self, text: &str, style: Style) {
        self.sheet.item(text, style);
    }

    fn nodes_in_short(&mut self, snapshot: &TickReport) {
        let there: Vec<&NodeReport> = snapshot
            .nodes
            .iter()
            .filter(|node| node.is_there())
            .collect();
        let by = |of: &dyn Fn(&NodeReport) -> String| {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for node in &there {
                *counts.entry(of(node)).or_default() += 1;
            }
            let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
            sorting::by_key(&mut counts, |(_, count)| std::cmp::Reverse(*count));
            counts
        };
        let policy = &snapshot.policy;
        let mut text = format!("{} of at most {}", there.len(), policy.nodes_max);
        if let Some(most) = policy.cores_max {
            text += &format!(", {} of at most {most} cores", snapshot.cores.paid);
        }
        if !there.is_empty() {
            let phases = by(&|node| node.phase.to_string());
            let phases = phases
                .iter()
                .map(|(phase, count)| format!("{count} {phase}"));
            text += &format!(": {}", join(phases));
        }
        let new = snapshot
            .nodes
            .iter()
            .filter(|node| node.phase.is(PhaseName::New));
        match new.count() {
            0 => {}
            new => text += &format!("; {new} requested by this tick"),
        }
        self.entry("nodes", &text, Style::Plain);
        let parts = [
            ("  by cloud", by(&|node| node.cloud.clone())),
            ("  flavor", by(&|node| node.flavor.clone())),
            ("  image", by(&|node| node.server.image.to_string())),
        ];
        for (label, counts) in parts {
            if !counts.is_empty() {
                let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
                self.entry(label, &join(counts), Style::Plain);
            }
        }
    }

    fn groups(&mut self, groups: &[JobGroupReport]) {
        if groups.is_empty() {
            return;
        }
        self.heading("waiting jobs");
        let mut groups: Vec<&JobGroupReport> = groups.iter().collect();
        sorting::by_key(&mut groups, |group| {
            std::cmp::Reverse(group.waiting_seconds)
        });
        let shown = if self.view.all { groups.len() } else { GROUPS };
        for group in groups.iter().take(shown) {
            let text = format!("{}: {}", request(group), waiting(group));
            let mut reasons = group.why.iter().filter_map(|why| why.reason.known());
            let stuck = reasons.any(ReasonName::is_stuck);
            let style = if stuck { Style::Warn } else { Style::Plain };
            self.item(&text, style);
        }
        let rest = groups.get(shown..).unwrap_or_default();
        if !rest.is_empty() {
            let jobs: u64 = rest.iter().map(|group| group.jobs).sum();
            let text = format!(
                "and {} in {} more groups (--all)",
                count(jobs, "job"),
                rest.len()
            );
            self.item(&text, Style::Dim);
        }
    }

    fn backoffs(&mut self, backoffs: &[BackoffFigures]) {
        if backoffs.is_empty() {
            return;
        }
        self.heading("backoff");
        for one in backoffs {
            let text = format!(
                "no node of {} in {} for another {}, image {}: {}, the last: {}",
                one.flavor,
                one.cloud,
                Seconds(one.seconds),
                one.image,
                count(u64::from(one.failures), "failure"),
                one.last_failure
            );
            self.item(&text, Style::Warn);
        }
    }

    fn clouds(&mut self, snapshot: &TickReport) {
        if snapshot.clouds.is_empty() {
            return;
        }
        self.heading("clouds (nodes, and the rest of each quota or budget / its limit)");
        let head = [
            "CLOUD",
            "NODES",
            "SERVERS",
            "CORES",
            "RAM",
            "THIS MONTH",
            "PER HOUR",
        ];
        let mut rows = vec![head.map(|text| Cell::styled(text, Style::Dim)).to_vec()];
        rows.extend(snapshot.clouds.iter().map(|cloud| {
            let quota = cloud.quota.unwrap_or_default();
            let left = |usage: UsageFigures, unit: &dyn Fn(u64) -> String| match cloud.quota {
                Some(_) => quota_left(usage, unit),
                None => "unknown".to_owned(),
            };
            let plain = |number: u64| number.to_string();
            let (per_month, per_hour) = budget_left(snapshot, cloud);
            let style = if cloud.answers {
                Style::Plain
            } else {
                Style::Bad
            };
            vec![
                Cell::styled(&cloud.cloud, style),
                Cell::from(of_maximum(cloud.nodes, cloud.nodes_max)),
                Cell::from(left(quota.instances, &plain)),
                Cell::from(left(quota.cores, &plain)),
                Cell::from(left(quota.ram_mb, &memory)),
                Cell::from(per_month),
                Cell::from(per_hour),
            ]
        }));
        let budget = snapshot.policy.budget;
        if budget.per_month.or(budget.per_hour).is_some() {
            let cost = snapshot.cost.as_ref();
            let spent = cost.map(|cost| cost.spent_this_month);
            let now = cost.map(|cost| cost.per_hour);
            let mut row = vec![Cell::from("all")];
            row.resize(5, Cell::default());
            row.push(Cell::from(money_left(budget.per_month, spent)));
            row.push(Cell::from(money_left(budget.per_hour, now)));
            rows.push(row);
        }
        let (lines, _) = columns(&rows, self.room - ITEM, self.view.colour);
        for line in lines {
            self.line(&format!("  {line}"));
        }
    }

    fn nodes(&mut self, nodes: &[NodeReport]) {
        if nodes.is_empty() {
            return;
        }
        let mut nodes: Vec<&NodeReport> = nodes.iter().collect();
        sorting::by_key(&mut nodes, |node| (rank(node), &node.name, &node.node));
        let shown = if self.view.all { nodes.len() } else { NODES };
        let rest = nodes.len().saturating_sub(shown);
        nodes.truncate(shown);
        self.heading("nodes");
        let wide = self.room >= WIDE;
        let head = ["NODE", "CLOUD", "FLAVOR", "PHASE", "CPUS", "AGE"];
        let mut rows = vec![head.map(|text| Cell::styled(text, Style::Dim)).to_vec()];
        rows.extend(nodes.iter().map(|node| {
            // A name without the id was chosen by people: show it.
            let short = !wide && node.name.ends_with(&node.node);
            let name = if short { &node.node } else { &node.name };
            let cpus = match (&node.startd, node.server.vcpus) {
                (Some(startd), _) => format!("{}/{}", startd.claimed_cpus, startd.cpus),
                (None, Some(vcpus)) => format!("-/{vcpus}"),
                (None, None) => String::new(),
            };
            let age = node
                .server
                .age_seconds
                .map_or_else(String::new, |age| Seconds(age).to_string());
            vec![
                Cell::from(name),
                Cell::from(&node.cloud),
                Cell::from(&node.flavor),
                Cell::styled(node.phase.to_string(), style_of(node)),
                Cell::from(cpus),
                Cell::from(age),
            ]
        }));
        let (lines, used) = columns(&rows, self.room - ITEM, self.view.colour);
        let (plain, _) = columns(&rows, self.room - ITEM, false);
        let at = ITEM + used + 2;
        let beside = at + BESIDE <= self.room;
        for (index, (line, plain)) in lines.iter().zip(&plain).enumerate() {
            let node = index.checked_sub(1).and_then(|index| nodes.get(index));
            let why = node.map_or_else(String::new, |node| why(node));
            if !beside {
                self.line(&format!("  {line}"));
                self.sheet.wrapped(&why, 6, 6, Style::Dim);
                continue;
            }
            let heading = paint(Style::Dim, "WHY", self.view.colour);
            let mut why = match node {
                Some(_) => wrap(&clean(&why), self.room - at),
                None => vec![heading],
            }
            .into_iter();
            let space = " ".repeat(at.saturating_sub(ITEM + width(plain)));
            self.line(&format!(
                "  {line}{space}{}",
                why.next().unwrap_or_default()
            ));
            for more in why {
                self.line(&format!("{}{more}", " ".repeat(at)));
            }
        }
        if rest > 0 {
            let text = format!("and {} more (--all)", count(rest as u64, "node"));
            self.item(&text, Style::Dim);
        }
    }
}

/// The decision for a node and its reason. The row of a busy node says it already.
fn why(node: &NodeReport) -> String {
    let decision = match node.decision.known() {
        Some(NodeDecision::Keep) if node.why.reason.is(ReasonName::Busy) => return String::new(),
        Some(NodeDecision::Keep) => return node.words(),
        Some(NodeDecision::Create) => "create",
        Some(NodeDecision::Drain) => "drain",
        Some(NodeDecision::CancelDrain) => "cancel drain",
        Some(NodeDecision::Delete) => "delete",
        Some(NodeDecision::Forget) => "forget",
        Some(NodeDecision::Disassociate) => "disassociate",
        None => return format!("{}: {}", node.decision, node.words()),
    };
    format!("{decision}: {}", node.words())
}

/// The order of the nodes: problems first.
fn rank(node: &NodeReport) -> u8 {
    use PhaseName::*;
    let Named::Known(phase) = node.phase else {
        return 0;
    };
    match phase {
        Gone | Lapsed => 6,
        Busy if node.decision.is(NodeDecision::Keep) => 5,
        Idle if node.decision.is(NodeDecision::Keep) => 4,
        Drained | Draining | Deleting => 3,
        New | Requested | Building | Booting => 2,
        Busy | Idle => 1,
        _ => 0,
    }
}

fn style_of(node: &NodeReport) -> Style {
    match rank(node) {
        0 => Style::Bad,
        1..=3 => Style::Warn,
        5 => Style::Good,
        6 => Style::Dim,
        _ => Style::Plain,
    }
}

fn tick(snapshot: &TickReport, now: Timestamp, view: &View) -> String {
    let at = snapshot.at.to_zoned(view.time_zone.clone());
    let mut text = at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    if snapshot.simulated {
        text += " (simulated)";
    } else {
        text += &format!(", {} ago", Seconds(age_seconds(snapshot, now)));
    }
    text += &format!("; took {}", took(snapshot.milliseconds));
    let mut sources: Vec<(&String, &u64)> = snapshot.source_milliseconds.iter().collect();
    sources.retain(|(_, took)| **took > 0);
    sorting::by_key(&mut sources, |(name, took)| {
        (std::cmp::Reverse(**took), *name)
    });
    if !sources.is_empty() {
        let sources = sources
            .iter()
            .map(|(name, time)| format!("{name} {}", took(**time)));
        text += &format!(": {}", join(sources));
    }
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    let actions = snapshot.actions.iter();
    for action in actions.filter(|action| action.result.is(ActionResult::Done)) {
        *done.entry(action.action.to_string()).or_default() += 1;
    }
    if done.is_empty() {
        text + "; no action"
    } else {
        let done = done.iter().map(|(what, count)| format!("{what} {count}"));
        format!("{text}; actions: {}", join(done))
    }
}

fn queue(snapshot: &TickReport) -> String {
    let queue = snapshot.queue;
    if queue.schedds == 0 {
        return "unknown: no schedd answered".to_owned();
    }
    let mut text = format!(
        "{} idle, {} running, {} held",
        queue.idle, queue.running, queue.held
    );
    if queue.stranded > 0 {
        text += &format!("; {} running on deleted machines", queue.stranded);
    }
    if queue.waiting > 0 {
        text += &format!(
            "; {} waiting, the longest for {}",
            queue.waiting,
            Seconds(queue.longest_seconds)
        );
    }
    if queue.unmatched > 0 {
        text += &format!("; {} without a matching node type", queue.unmatched);
    }
    if queue.limited > 0 {
        text += &format!("; {} blocked by limits", queue.limited);
    }
    if queue.to_come > 0 {
        text += &format!("; {} to come (late materialization)", queue.to_come);
    }
    text
}

fn cores(snapshot: &TickReport) -> String {
    let cores = snapshot.cores;
    let paid = match snapshot.knows_paid() {
        true => format!("{} paid", cores.paid),
        false => format!("at least {} paid (a cloud does not answer)", cores.paid),
    };
    if !snapshot.knows_claims() {
        return format!("{paid}; used cores unknown: the collector lacks ads of nodes");
    }
    let mut text = format!(
        "{paid}, {} in the pool: {} used, {} free",
        cores.joined, cores.claimed, cores.free
    );
    if cores.others > 0 {
        text += &format!(
            "; unmanaged machines {}: {} used",
            cores.others, cores.others_claimed
        );
    }
    text
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
