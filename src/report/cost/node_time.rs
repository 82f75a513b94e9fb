//! The times of nodes, collected from the records of ticks: when a node existed, what of it boots and drains, and its price.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use scaling::sorting::IntoSet;
use serde::Deserialize;

use super::Period;
use crate::TickReport;
use crate::history::Event;
use crate::names::Named;
use crate::tick_report::{ActionReport, ActionResult, exists};
use scaling::money::Money;
use scaling::names::{ActionName, PhaseName};

/// What a node does in a span of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From its create until it joins.
    Boot,
    /// In the pool: jobs or idle.
    Joined,
    /// From its drain to its delete.
    Drain,
}

impl Stage {
    fn of(phase: &Named<PhaseName>) -> Stage {
        match phase.known() {
            Some(
                PhaseName::New
                | PhaseName::Requested
                | PhaseName::Building
                | PhaseName::Booting
                | PhaseName::Failed,
            ) => Stage::Boot,
            Some(PhaseName::Draining | PhaseName::Drained | PhaseName::Deleting) => Stage::Drain,
            _ => Stage::Joined,
        }
    }
}

/// A part of a node's time, in milliseconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Its begin.
    pub from: i64,
    /// Its end, which is the begin of the next one.
    pub to: i64,
    /// What the node does in it.
    pub stage: Stage,
    /// The price of an hour, where it is known.
    pub per_hour: Option<Money>,
}

/// The time of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeTime {
    /// Its id.
    pub node: String,
    pub cloud: String,
    pub flavor: String,
    /// Its cores, where they are known.
    pub cores: Option<u64>,
    /// Its memory in MiB, where it is known.
    pub memory_mb: Option<u64>,
    /// What `LastRemoteHost` may call its host, in small letters.
    pub hosts: Vec<String>,
    /// When it existed, in order.
    pub spans: Vec<Span>,
}

impl NodeTime {
    /// What it has cost until `at`, where a started `period` is paid whole; `None` without any price.
    pub fn cost_until(&self, at: i64, period: Option<Duration>) -> Option<Money> {
        let spans = self.spans.iter().filter(|span| span.from < at);
        let spans = spans.map(|span| (span.per_hour, span.to.min(at) - span.from));
        paid(spans, period)
    }

    /// Its time, from its first span to its last.
    pub fn range(&self) -> Option<(i64, i64)> {
        Some((self.spans.first()?.from, self.spans.last()?.to))
    }
}

/// The cost of spans that follow each other: prices of an hour, and milliseconds. Spans of one price are one. `None` if none has
/// a price.
pub fn paid(
    spans: impl IntoIterator<Item = (Option<Money>, i64)>,
    period: Option<Duration>,
) -> Option<Money> {
    let mut runs: Vec<(Money, i64)> = Vec::new();
    for (price, length) in spans {
        let Some(price) = price else { continue };
        match runs.last_mut() {
            Some((last, sum)) if *last == price => *sum += length,
            _ => runs.push((price, length)),
        }
    }
    let cost = |(price, length): &(Money, i64)| {
        let time = Duration::from_millis(u64::try_from(*length).unwrap_or_default());
        scaling::budget::paid(*price, time, period)
    };
    (!runs.is_empty()).then(|| runs.iter().map(cost).sum())
}

/// The part of a record that has nodes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TickOfNodes {
    pub at: Timestamp,
    pub events: Vec<Event>,
    pub actions: Vec<ActionReport>,
}

/// One change of a node, as a record has it.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: i64,
    exists: bool,
    stage: Stage,
    per_hour: Option<Money>,
}

impl Change {
    fn is_like(&self, other: &Change) -> bool {
        let of = |one: &Change| (one.exists, one.stage, one.per_hour);
        of(self) == of(other)
    }
}

/// Nodes that end so long before a period, or begin so long after it, are not kept: their jobs did not run in it.
const MARGIN: i64 = 7 * DAY;

/// Milliseconds.
const DAY: i64 = 86_400_000;

/// A node of which records are read.
#[derive(Debug, Default)]
struct Open {
    time: NodeTime,
    /// Without those that only repeat the one before.
    changes: Vec<Change>,
    /// All of them.
    count: u64,
    /// The time of the last one.
    latest: i64,
    is_created: bool,
    is_refused: bool,
    /// It existed before the first record.
    is_older: bool,
    deleted: Option<i64>,
}

/// Cores and memory of flavors, by cloud and flavor.
type Sizes = BTreeMap<(String, String), (Option<u64>, Option<u64>)>;

/// Reads records, the oldest first.
///
/// Keeps the nodes that exist in a period, and 16 bytes of each other one. The records of all days are read: a node of the
/// period may be older, and its size and its end may be told later.
#[derive(Debug)]
pub struct NodeTimes {
    nodes: BTreeMap<String, Open>,
    sizes: Sizes,
    first: Option<i64>,
    /// Begin and end of the period, with the margin.
    period: (i64, i64),
    /// Nodes of the last tick: a node of these that ended exists again.
    listed: BTreeSet<String>,
    /// Nodes outside of the period of which more records may come.
    outside: HashSet<u128>,
    /// The day after which no node that ended has been removed.
    swept: i64,
}

impl NodeTimes {
    /// The times of nodes in a period, of which `last` is the last tick.
    pub fn within(period: &Period, last: &TickReport) -> NodeTimes {
        let listed = last.nodes.iter().map(|node| node.node.clone());
        NodeTimes {
            nodes: BTreeMap::new(),
            sizes: Sizes::new(),
            first: None,
            period: (
                period.from.saturating_sub(MARGIN),
                period.to.saturating_add(MARGIN),
            ),
            listed: listed.into_set(),
            outside: HashSet::new(),
            swept: i64::MIN,
        }
    }

    /// Removes the nodes that ended before the period.
    fn sweep(&mut self, at: i64) {
        if at.div_euclid(DAY) <= self.swept {
            return;
        }
        self.swept = at.div_euclid(DAY);
        let (from, _) = self.period;
        let (listed, outside) = (&self.listed, &mut self.outside);
        self.nodes.retain(|id, open| {
            let is_kept = listed.contains(id) || open.ended().is_none_or(|end| end >= from);
            // One that was only missing may exist again.
            if !is_kept && open.deleted.is_some() {
                outside.insert(number(id));
            }
            is_kept
        });
    }

    /// Whether a node is outside of the period, as its first event or an earlier one shows.
    fn is_outside(&mut self, at: i64, event: &Event) -> bool {
        if self.nodes.contains_key(&event.node) {
            return false;
        }
        let number = number(&event.node);
        if self.outside.contains(&number) {
            return true;
        }
        let is_older = event.was.as_ref().is_some_and(exists);
        let is_later = at >= self.period.1 && !is_older && !self.listed.contains(&event.node);
        is_later && self.outside.insert(number)
    }

    /// Adds what a record has of nodes.
    pub fn add(&mut self, record: &TickOfNodes) {
        let at = record.at.as_millisecond();
        self.first.get_or_insert(at);
        self.sweep(at);
        for event in &record.events {
            self.add_event(at, event);
        }
        for action in &record.actions {
            let Some(open) = self.nodes.get_mut(&action.node) else {
                continue;
            };
            let is_done = action.result.is(ActionResult::Done);
            if action.action.is(ActionName::Create) {
                open.is_created |= is_done;
                open.is_refused |= action.result.is(ActionResult::Failed);
            } else if action.action.is(ActionName::Delete) && is_done {
                open.deleted.get_or_insert(at);
            }
        }
    }

    fn add_event(&mut self, at: i64, event: &Event) {
        let size = (event.cloud.clone(), event.flavor.clone());
        let size = self.sizes.entry(size).or_default();
        size.0 = event.vcpus.or(size.0);
        size.1 = event.memory_mb.or(size.1);
        if self.is_outside(at, event) {
            return;
        }
        let open = self.nodes.entry(event.node.clone()).or_default();
        if open.changes.is_empty() {
            open.is_older = event.was.as_ref().is_some_and(exists);
            open.time.node.clone_from(&event.node);
            open.time.cloud.clone_from(&event.cloud);
            open.time.flavor.clone_from(&event.flavor);
            open.time.hosts.push(event.name.to_lowercase());
        }
        open.time.cores = event.vcpus.or(open.time.cores);
        open.time.memory_mb = event.memory_mb.or(open.time.memory_mb);
        open.add_host(event.machine.as_deref());
        open.add_change(Change {
            at,
            exists: exists(&event.phase),
            stage: Stage::of(&event.phase),
            per_hour: event.per_hour,
        });
    }

    /// Nodes of which more than a number is kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.nodes.len()
    }

    /// The time of the first record.
    pub fn first(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.first?).ok()
    }

    /// The nodes, as of the last tick.
    pub fn build(mut self, last: &TickReport) -> Vec<NodeTime> {
        let now = last.at.as_millisecond();
        let first = self.first.unwrap_or(now);
        for shown in last.nodes.iter().filter(|node| node.is_there()) {
            let memory_mb = shown.startd.as_ref().map(|startd| startd.memory_mb);
            let memory_mb = memory_mb.filter(|memory| *memory > 0);
            let size = (shown.cloud.clone(), shown.flavor.clone());
            let size = self.sizes.entry(size).or_default();
            *size = (shown.server.vcpus.or(size.0), memory_mb.or(size.1));
            let open = self.nodes.entry(shown.node.clone()).or_default();
            open.time.cores = shown.server.vcpus.or(open.time.cores);
            open.time.memory_mb = memory_mb.or(open.time.memory_mb);
            open.add_host(shown.startd.as_ref().map(|startd| startd.machine.as_str()));
            if open.changes.is_empty() {
                // It has not changed since the first record.
                let age = shown.server.age_seconds.unwrap_or(0);
                let age = i64::try_from(age).unwrap_or(i64::MAX).saturating_mul(1000);
                open.time.node.clone_from(&shown.node);
                open.time.cloud.clone_from(&shown.cloud);
                open.time.flavor.clone_from(&shown.flavor);
                open.time.hosts.push(shown.name.to_lowercase());
                open.add_change(Change {
                    at: now.saturating_sub(age).max(first),
                    exists: true,
                    stage: Stage::of(&shown.phase),
                    per_hour: shown.server.per_hour,
                });
            }
            // It is there: an earlier delete is not done.
            open.deleted = None;
            let per_hour = shown.server.per_hour;
            open.add_change(Change {
                at: now,
                exists: false,
                stage: Stage::of(&shown.phase),
                per_hour,
            });
        }
        let sizes = self.sizes;
        let nodes = self.nodes.into_values();
        nodes.filter_map(|open| open.close(first, &sizes)).collect()
    }
}

/// A number that stands for the node.
fn number(node: &str) -> u128 {
    let half = |part: u8| {
        let mut hasher = DefaultHasher::new();
        (part, node).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

impl Open {
    /// Adds a change. One that repeats the change before it makes no new span, unless a clock was set back.
    fn add_change(&mut self, change: Change) {
        self.count += 1;
        let is_back = !self.changes.is_empty() && change.at < self.latest;
        if is_back
            && let Some(last) = self.changes.last().copied()
            && last.at < self.latest
        {
            self.changes.push(Change {
                at: self.latest,
                ..last
            });
        }
        self.latest = change.at;
        if is_back
            || self
                .changes
                .last()
                .is_none_or(|last| !last.is_like(&change))
        {
            self.changes.push(change);
        }
    }

    /// The time after which it existed no more, as far as it is known.
    fn ended(&self) -> Option<i64> {
        let last = self.changes.last()?;
        let end = (!last.exists).then_some(self.latest);
        self.deleted.or(end)
    }

    fn add_host(&mut self, host: Option<&str>) {
        let host = host.map(str::to_lowercase);
        if let Some(host) = host.filter(|host| !self.time.hosts.contains(host)) {
            self.time.hosts.push(host);
        }
    }

    fn close(mut self, first: i64, sizes: &Sizes) -> Option<NodeTime> {
        if self.is_refused && !self.is_created && self.count <= 1 {
            return None;
        }
        if let Some(change) = self.changes.first_mut().filter(|_| self.is_older) {
            change.at = first.min(change.at);
        }
        if let Some(last) = self
            .changes
            .last()
            .copied()
            .filter(|last| last.at < self.latest)
        {
            self.changes.push(Change {
                at: self.latest,
                ..last
            });
        }
        let end = self.deleted.unwrap_or(i64::MAX);
        let nexts = self.changes.iter().skip(1).map(|next| next.at);
        let spans = self.changes.iter().zip(nexts).filter_map(|(change, next)| {
            let (from, to) = (change.at, next.min(end));
            (change.exists && from < to).then_some(Span {
                from,
                to,
                stage: change.stage,
                per_hour: change.per_hour,
            })
        });
        let mut time = self.time;
        // A clock that was set back would count a time twice.
        let mut last = i64::MIN;
        for mut span in spans {
            span.from = span.from.max(last);
            if span.from < span.to {
                last = span.to;
                time.spans.push(span);
            }
        }
        let size = sizes.get(&(time.cloud.clone(), time.flavor.clone()));
        let (cores, memory_mb) = size.copied().unwrap_or_default();
        time.cores = time.cores.or(cores);
        time.memory_mb = time.memory_mb.or(memory_mb);
        (!time.spans.is_empty()).then_some(time)
    }
}
