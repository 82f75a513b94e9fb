//! The shares of jobs in the cells of nodes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::node_time::{NodeTime, Stage};
use super::period::Period;
use super::split::split;
use scaling::money::Money;
use system::plain::clean;

/// A whole node, in the unit of shares.
const WHOLE: u128 = 1_000_000;

/// Pairs of owner and accounting group. Further ones are one payer.
const PAYERS_MAX: usize = 100_000;

/// Longest name of an owner or an accounting group, in characters.
const NAME_MAX: usize = 200;

/// The payer of jobs that have too many of them.
const MANY: &str = "(others)";

/// A job that ran, or runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    pub owner: String,
    pub group: Option<String>,
    pub cpus: u64,
    pub memory_mb: u64,
    /// The host of its last run, in small letters.
    pub host: Option<String>,
    /// The time of its submit, in milliseconds of Unix time.
    pub queued: Option<i64>,
    /// Begin and end of its last run, in milliseconds of Unix time.
    pub run: Option<(i64, i64)>,
    /// How long its earlier runs took, on hosts that are not known.
    pub earlier_ms: u64,
}

/// What was paid and used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Jobs. One that ran on two days counts on the second.
    pub jobs: u64,
    /// Cores of jobs × milliseconds.
    pub used_core_ms: u128,
    /// Cores of servers × milliseconds.
    pub paid_core_ms: u128,
    /// Millionths of the site's money.
    pub cost: u128,
}

impl Amount {
    pub(super) fn add(&mut self, other: &Amount) {
        self.jobs += other.jobs;
        self.used_core_ms += other.used_core_ms;
        self.paid_core_ms += other.paid_core_ms;
        self.cost += other.cost;
    }
}

/// By what the shares are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Owner,
    Group,
    Cloud,
    Flavor,
    Day,
    Node,
}

/// Who a part of a cell is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    Payer(usize),
    Overhead(Stage),
    Unattributed,
}

/// The use of a cell by one payer.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    jobs: u64,
    /// Shares × milliseconds.
    weight: u128,
    core_ms: u128,
}

/// One node on one day.
#[derive(Debug)]
struct Cell {
    node: usize,
    day: usize,
    from: i64,
    to: i64,
    /// Every job that ran in it is known.
    is_known: bool,
    core_ms: u128,
    cost: u128,
    stages: [(Stage, u128); 3],
    uses: BTreeMap<usize, Use>,
}

impl Cell {
    fn used(&self) -> u128 {
        self.uses.values().map(|one| one.weight).sum()
    }

    /// What no job has used, by stage: use comes off the time in the pool first.
    fn unused(&self) -> [(Stage, u128); 3] {
        let mut used = self.used();
        let mut stages = self.stages;
        for (_, left) in &mut stages {
            let part = used.min(*left);
            *left -= part;
            used -= part;
        }
        stages
    }

    fn has_cost(&self) -> bool {
        self.core_ms > 0 || self.cost > 0
    }
}

/// Jobs that ran without a node that pays for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apart {
    pub jobs: u64,
    pub core_ms: u128,
}

impl Apart {
    fn add(&mut self, core_ms: u128) {
        if core_ms > 0 {
            self.jobs += 1;
            self.core_ms += core_ms;
        }
    }
}

/// All sums of a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// By name.
    pub rows: BTreeMap<String, Amount>,
    /// Boot, idle and drain, if these are apart.
    pub overhead: BTreeMap<Stage, Amount>,
    /// What no job is known for.
    pub unattributed: Amount,
    /// All of it.
    pub all: Amount,
}

/// The cells of a period, to which jobs are added.
#[derive(Debug)]
pub struct Shares<'a> {
    nodes: &'a [NodeTime],
    period: &'a Period,
    cells: Vec<Cell>,
    /// The cells of each node: the first one and the one after the last.
    of_node: Vec<(usize, usize)>,
    hosts: HashMap<&'a str, Vec<usize>>,
    payers: Vec<(String, Option<String>)>,
    numbers: HashMap<(String, Option<String>), usize>,
    /// Earlier runs of jobs: their hosts are not known.
    pub earlier: Apart,
    /// Runs without a host or a time, and time on a node when it did not exist.
    pub unplaced: Apart,
    /// Runs on machines that are no nodes.
    pub unmanaged: Apart,
    /// Nodes whose flavors have no price, or no known size: these are not in the sums.
    pub without_price: u64,
    pub without_size: u64,
}

impl<'a> Shares<'a> {
    /// The cells of nodes in a period. Jobs that ended before `known_since` are not known. `billing`: the billing period of a
    /// cloud.
    pub fn new(
        nodes: &'a [NodeTime],
        period: &'a Period,
        known_since: i64,
        billing: impl Fn(&str) -> Option<Duration>,
    ) -> Shares<'a> {
        let mut shares = Shares {
            nodes,
            period,
            cells: Vec::new(),
            of_node: Vec::new(),
            hosts: HashMap::new(),
            payers: Vec::new(),
            numbers: HashMap::new(),
            earlier: Apart::default(),
            unplaced: Apart::default(),
            unmanaged: Apart::default(),
            without_price: 0,
            without_size: 0,
        };
        for (number, node) in nodes.iter().enumerate() {
            let first = shares.cells.len();
            shares.add_node(number, node, known_since, billing(&node.cloud));
            shares.of_node.push((first, shares.cells.len()));
            for host in &node.hosts {
                shares.hosts.entry(host).or_default().push(number);
            }
        }
        shares
    }

    fn add_node(
        &mut self,
        number: usize,
        node: &NodeTime,
        known_since: i64,
        billing: Option<Duration>,
    ) {
        let Some((begin, end)) = node.range() else {
            return;
        };
        let (from, to) = (begin.max(self.period.from), end.min(self.period.to));
        if from >= to {
            return;
        }
        let mut borders: Vec<i64> = self.period.borders(from, to).collect();
        borders.extend(Some(known_since).filter(|at| from < *at && *at < to));
        borders.push(to);
        borders.sort_unstable();
        borders.dedup();
        self.without_size += u64::from(node.cores.is_none());
        self.without_price += u64::from(node.cost_until(end, None).is_none());
        let cost_until = |at: i64| {
            let cost = node.cost_until(at, billing).unwrap_or_default();
            u128::from(cost.millionths())
        };
        let mut from = from;
        // With a billing period the first one is paid at the begin.
        let mut before = match from > begin {
            true => cost_until(from),
            false => 0,
        };
        for to in borders {
            let within = |stage: Stage| {
                let spans = node.spans.iter().filter(|span| span.stage == stage);
                let spans = spans.map(|span| span.to.min(to) - span.from.max(from));
                spans
                    .filter_map(|length| u128::try_from(length).ok())
                    .sum::<u128>()
            };
            let stages = [Stage::Joined, Stage::Drain, Stage::Boot];
            let stages = stages.map(|stage| (stage, within(stage)));
            let time: u128 = stages.iter().map(|(_, time)| time).sum();
            let cost = cost_until(to);
            self.cells.push(Cell {
                node: number,
                day: self.period.day(from),
                from,
                to,
                is_known: from >= known_since,
                core_ms: time * u128::from(node.cores.unwrap_or_default()),
                cost: cost.saturating_sub(before),
                stages: stages.map(|(stage, time)| (stage, time * WHOLE)),
                uses: BTreeMap::new(),
            });
            before = cost.max(before);
            from = to;
        }
    }

    /// Not all jobs are known: what none of the known ones has used is nobody's.
    pub fn forget_unused(&mut self) {
        self.cells.iter_mut().for_each(|cell| cell.is_known = false);
    }

    /// Adds a job.
    pub fn add(&mut self, job: &Job) {
        let cores = u128::from(job.cpus);
        let nodes = job.host.as_ref().map(|host| self.nodes_of(host));
        // The earlier hosts are not known: that of the last run stands for them.
        if nodes != Some(None) {
            self.earlier.add(self.earlier_ms(job) * cores);
        }
        let run = job
            .run
            .map(|(from, to)| (from.max(self.period.from), to.min(self.period.to)));
        let Some((from, to)) = run.filter(|(from, to)| from < to) else {
            return;
        };
        let time = u128::from(to.abs_diff(from));
        let Some(nodes) = nodes else {
            return self.unplaced.add(time * cores);
        };
        let Some(nodes) = nodes else {
            return self.unmanaged.add(time * cores);
        };
        let payer = self.payer(job);
        let mut placed = 0;
        let mut last = None;
        for number in nodes {
            let share = self.nodes.get(number).map_or(0, |node| share(job, node));
            let (first, end) = self.of_node.get(number).copied().unwrap_or_default();
            let cells = self.cells.get_mut(first..end).unwrap_or_default();
            for (offset, cell) in cells.iter_mut().enumerate() {
                let length = cell.to.min(to) - cell.from.max(from);
                let Some(length) = u128::try_from(length).ok().filter(|length| *length > 0) else {
                    continue;
                };
                let one = cell.uses.entry(payer).or_default();
                one.weight += share * length;
                one.core_ms += cores * length;
                placed += length;
                last = Some(first + offset);
            }
        }
        if let Some(one) = last
            .and_then(|cell| self.cells.get_mut(cell))
            .and_then(|cell| cell.uses.get_mut(&payer))
        {
            one.jobs += 1;
        }
        let rest = time.saturating_sub(placed) * cores;
        match placed {
            0 => self.unplaced.add(rest),
            // The job is counted in a cell.
            _ => self.unplaced.core_ms += rest,
        }
    }

    /// The time of its earlier runs that can be in the period: they were between its submit and its last run.
    fn earlier_ms(&self, job: &Job) -> u128 {
        let from = job.queued.unwrap_or(i64::MIN).max(self.period.from);
        let to = job
            .run
            .map_or(i64::MAX, |(from, _)| from)
            .min(self.period.to);
        let room = if from < to { to.abs_diff(from) } else { 0 };
        u128::from(job.earlier_ms.min(room))
    }

    /// The nodes that a host name is of: the whole name, or its first part.
    fn nodes_of(&self, host: &str) -> Option<Vec<usize>> {
        let short = host.split('.').next().unwrap_or(host);
        let found = self.hosts.get(host).or_else(|| self.hosts.get(short));
        found.cloned()
    }

    fn payer(&mut self, job: &Job) -> usize {
        let mut payer = (name(&job.owner), job.group.as_deref().map(name));
        if self.payers.len() >= PAYERS_MAX && !self.numbers.contains_key(&payer) {
            payer = (MANY.to_owned(), None);
        }
        let next = self.payers.len();
        let number = *self.numbers.entry(payer.clone()).or_insert(next);
        if number == next {
            self.payers.push(payer);
        }
        number
    }

    /// The sums. `apart`: what no job has used is overhead, and not split.
    pub fn total(&self, by: By, apart: bool) -> Total {
        let mut total = Total::default();
        let fallback = Fallback::of(self);
        for cell in &self.cells {
            let parties = self.parties(cell, apart, &fallback);
            let weights: Vec<u128> = parties.iter().map(|(_, weight)| *weight).collect();
            let core_ms = split(cell.core_ms, &weights);
            let cost = split(cell.cost, &weights);
            for (((party, _), paid_core_ms), cost) in parties.iter().zip(core_ms).zip(cost) {
                let mut amount = Amount {
                    paid_core_ms,
                    cost,
                    ..Amount::default()
                };
                if let Party::Payer(payer) = party
                    && let Some(one) = cell.uses.get(payer)
                {
                    amount.jobs = one.jobs;
                    amount.used_core_ms = one.core_ms;
                }
                total.all.add(&amount);
                total.add(self.row(cell, *party, by), &amount);
            }
        }
        // The jobs of earlier runs are in the rows.
        for (jobs, core_ms) in [
            (0, self.earlier.core_ms),
            (self.unplaced.jobs, self.unplaced.core_ms),
        ] {
            let amount = Amount {
                jobs,
                used_core_ms: core_ms,
                ..Amount::default()
            };
            total.unattributed.add(&amount);
            total.all.add(&amount);
        }
        total
    }

    /// The parties of a cell, with their weights.
    fn parties(&self, cell: &Cell, apart: bool, fallback: &Fallback) -> Vec<(Party, u128)> {
        let uses = cell.uses.iter();
        let mut parties: Vec<(Party, u128)> = uses
            .map(|(payer, one)| (Party::Payer(*payer), one.weight))
            .collect();
        if !cell.is_known {
            let unused = cell.unused().iter().map(|(_, time)| time).sum();
            parties.push((Party::Unattributed, unused));
        } else if apart {
            let unused = cell.unused().into_iter();
            parties.extend(unused.map(|(stage, time)| (Party::Overhead(stage), time)));
        } else if cell.used() == 0 {
            let others = fallback.weights(cell.day);
            parties = others
                .map(|(payer, weight)| (Party::Payer(*payer), *weight))
                .collect();
        }
        // A cell without time has cost when a billing period begins at its end.
        if cell.has_cost() && parties.iter().all(|(_, weight)| *weight == 0) {
            parties.push((Party::Unattributed, 1));
        }
        parties
    }

    fn row(&self, cell: &Cell, party: Party, by: By) -> Row {
        let node = self.nodes.get(cell.node);
        let of_cell =
            |name: &dyn Fn(&NodeTime) -> String| Row::Named(node.map(name).unwrap_or_default());
        match (party, by) {
            (Party::Overhead(stage), _) => Row::Overhead(stage),
            (_, By::Cloud) => of_cell(&|node| node.cloud.clone()),
            (_, By::Flavor) => of_cell(&|node| format!("{} in {}", node.flavor, node.cloud)),
            (_, By::Node) => of_cell(&|node| node.node.clone()),
            (_, By::Day) => {
                let day = self.period.days.get(cell.day);
                Row::Named(day.map(|(_, day)| day.to_string()).unwrap_or_default())
            }
            (Party::Unattributed, _) => Row::Unattributed,
            (Party::Payer(payer), By::Owner | By::Group) => {
                let payer = self.payers.get(payer).cloned().unwrap_or_default();
                Row::Named(match by {
                    By::Group => payer.1.unwrap_or_else(|| "(none)".to_owned()),
                    _ => payer.0,
                })
            }
        }
    }
}

/// A user's name, which is never that of a line of the report, as `(total)` is.
fn name(text: &str) -> String {
    let text = clean(text);
    let quote = if text.trim_start().starts_with('(') {
        "'"
    } else {
        ""
    };
    quote.chars().chain(text.chars()).take(NAME_MAX).collect()
}

/// The dominant share of a job in a node.
fn share(job: &Job, node: &NodeTime) -> u128 {
    let of = |part: u64, whole: Option<u64>| {
        let whole = u128::from(whole.unwrap_or_default());
        let part = u128::from(part) * WHOLE;
        part.checked_div(whole).unwrap_or_default()
    };
    let share = of(job.cpus, node.cores).max(of(job.memory_mb, node.memory_mb));
    // A node of unknown size is one of equal parts.
    let is_unknown = node.cores.is_none() && node.memory_mb.is_none();
    match is_unknown {
        true => u128::from(job.cpus.clamp(1, 1 << 20)) * WHOLE / (1 << 20),
        false => share,
    }
    .clamp(1, WHOLE)
}

/// Where a part is added.
enum Row {
    Named(String),
    Overhead(Stage),
    Unattributed,
}

impl Total {
    fn add(&mut self, row: Row, amount: &Amount) {
        match row {
            Row::Named(name) => self.rows.entry(name).or_default(),
            Row::Overhead(stage) => self.overhead.entry(stage).or_default(),
            Row::Unattributed => &mut self.unattributed,
        }
        .add(amount);
    }
}

/// The use of days, for cells without any.
struct Fallback {
    days: BTreeMap<usize, BTreeMap<usize, u128>>,
    all: BTreeMap<usize, u128>,
}

impl Fallback {
    fn of(shares: &Shares<'_>) -> Fallback {
        let mut fallback = Fallback {
            days: BTreeMap::new(),
            all: BTreeMap::new(),
        };
        for cell in &shares.cells {
            for (payer, one) in &cell.uses {
                let day = fallback.days.entry(cell.day).or_default();
                *day.entry(*payer).or_default() += one.core_ms;
                *fallback.all.entry(*payer).or_default() += one.core_ms;
            }
        }
        fallback
    }

    fn weights(&self, day: usize) -> impl Iterator<Item = (&usize, &u128)> {
        let weights = self.days.get(&day).unwrap_or(&self.all);
        weights.iter()
    }
}

/// Money of a sum.
pub(super) fn money(millionths: u128) -> Money {
    Money::of_millionths(u64::try_from(millionths).unwrap_or(u64::MAX))
}
