//! One day of the history as numbers: what each tick saw, and the means over five minutes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::last::Mark;
use report::history::{CloudCounts, CostCounts};
use report::names::{BrakeName, Named};
use report::tick_report::{ActionResult, Queue};
use scaling::figures::CoreFigures;
use scaling::names::{ActionName, PhaseName};
use scaling::observation::Resources;
use scaling::source::{Source, SourceKind};
use system::own_file;

/// What a tick saw holds until the next one, and at most for so long (in milliseconds, as all times here).
pub const SAMPLE_VALIDITY: i64 = 300_000;

/// The finest step of what is kept of a day. It is not shorter than [`SAMPLE_VALIDITY`]: what is seen at the end of a day holds for
/// the first step of the next one at most.
pub const STEP: i64 = 300_000;

/// A day of UTC has no leap seconds here.
pub const DAY: i64 = 86_400_000;

/// Lines of a day that count: one a second.
const LINES: usize = 86_400;

/// Different series: more than these are not drawn.
const COLUMNS: usize = 1024;

/// How much of the last line is compared before it is read on from there: its time is in it.
const BEGINNING: usize = 64;

/// One thing that has a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// A tick: known as long as any is.
    Tick,
    /// Jobs.
    Idle,
    /// Jobs.
    Running,
    /// Jobs.
    Held,
    /// Jobs.
    Waiting,
    /// Jobs.
    Unmatched,
    /// Cores that waiting jobs ask for.
    Demand,
    /// Cores.
    Paid,
    /// Cores.
    Claimed,
    /// Cores.
    Others,
    /// Of paid cores those that are not claimed, where both are known.
    Wasted,
    /// An hour.
    Cost,
    /// An hour.
    Waste,
    /// Nodes in a phase.
    Phase(String),
    /// Cores in a cloud.
    CloudPaid(String),
    /// Nodes in a cloud.
    CloudNodes(String),
    /// How many there were, not a mean.
    Ticks,
    /// Of these, those that did not end well.
    Failed,
    /// Nodes that were made.
    Created,
    /// Nodes that were deleted.
    Deleted,
}

/// The columns that there are, by number.
#[derive(Debug, Default)]
pub struct Columns {
    numbers: HashMap<Column, u16>,
    names: Vec<Column>,
}

impl Columns {
    fn number(&mut self, column: Column) -> Option<u16> {
        if let Some(&number) = self.numbers.get(&column) {
            return Some(number);
        }
        let number = u16::try_from(self.names.len()).ok();
        let number = number.filter(|number| usize::from(*number) < COLUMNS)?;
        self.names.push(column.clone());
        self.numbers.insert(column, number);
        Some(number)
    }

    /// The number of one that occurs.
    pub fn find(&self, column: &Column) -> Option<u16> {
        self.numbers.get(column).copied()
    }

    /// All that occur.
    pub fn names(&self) -> &[Column] {
        &self.names
    }
}

/// What one tick saw.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// When, in milliseconds of Unix time.
    pub at: i64,
    /// What is known.
    means: Box<[(u16, f64)]>,
    /// What happened.
    counts: Box<[(u16, f64)]>,
}

/// The parts of a line that have numbers. What is not known of it is skipped.
#[derive(Deserialize)]
#[serde(default)]
struct Line<'a> {
    at: Timestamp,
    exit: u8,
    queue: Option<Queue>,
    demand: Resources,
    cores: CoreFigures,
    collector: bool,
    brakes: BTreeMap<Named<BrakeName>, IgnoredAny>,
    nodes: BTreeMap<Named<PhaseName>, u64>,
    clouds: BTreeMap<String, CloudCounts>,
    cost: Option<CostCounts>,
    #[serde(rename = "unknown_sources", alias = "unseen")]
    unseen: Vec<Unknown>,
    #[serde(borrow)]
    events: Vec<Happened<'a>>,
    #[serde(borrow)]
    actions: Vec<Done<'a>>,
}

impl Default for Line<'_> {
    fn default() -> Self {
        Line {
            at: Timestamp::MIN,
            exit: 0,
            queue: None,
            demand: Resources::default(),
            cores: CoreFigures::default(),
            collector: true,
            brakes: BTreeMap::new(),
            nodes: BTreeMap::new(),
            clouds: BTreeMap::new(),
            cost: None,
            unseen: Vec::new(),
            events: Vec::new(),
            actions: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Unknown {
    source: Source,
}

#[derive(Deserialize)]
struct Happened<'a> {
    #[serde(borrow, default)]
    node: Cow<'a, str>,
    #[serde(default)]
    phase: Named<PhaseName>,
}

#[derive(Deserialize)]
struct Done<'a> {
    #[serde(borrow, default)]
    node: Cow<'a, str>,
    #[serde(default)]
    action: Named<ActionName>,
    #[serde(default)]
    result: Named<ActionResult>,
}

#[allow(clippy::cast_precision_loss)] // Nobody has so many.
fn number(count: u64) -> f64 {
    count as f64
}

impl Sample {
    /// Of a line; none when it is no tick.
    pub fn read(line: &[u8], columns: &mut Columns) -> Option<Sample> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        if line.at == Timestamp::MIN {
            return None;
        }
        let mut means = Vec::with_capacity(32);
        let mut mean = |column: Column, value: f64| {
            if let Some(number) = columns.number(column) {
                means.push((number, value));
            }
        };
        mean(Column::Tick, 1.0);
        // A sum without one of the schedds would be a fall that there was none of.
        let schedd = |unseen: &Unknown| unseen.source.kind == SourceKind::Schedd;
        if let Some(queue) = line.queue.filter(|_| !line.unseen.iter().any(schedd)) {
            mean(Column::Idle, number(queue.idle));
            mean(Column::Running, number(queue.running));
            mean(Column::Held, number(queue.held));
            mean(Column::Waiting, number(queue.waiting));
            mean(Column::Unmatched, number(queue.unmatched));
            mean(Column::Demand, number(line.demand.cpus));
        }
        // Nor are the cores of a cloud that does not answer known, as far as there are any.
        let clouds = line.clouds.values();
        let paid = clouds
            .clone()
            .all(|cloud| cloud.answers || cloud.nodes.is_empty());
        let paid = paid.then_some(number(line.cores.paid));
        let mut brakes = line.brakes.keys().filter_map(Named::known);
        let heard = line.collector && !brakes.any(BrakeName::hides_claims);
        let claimed = heard.then_some(number(line.cores.claimed));
        if let Some(paid) = paid {
            mean(Column::Paid, paid);
        }
        if let Some(claimed) = claimed {
            mean(Column::Claimed, claimed);
            mean(Column::Others, number(line.cores.others));
        }
        let unused = paid
            .zip(claimed)
            .map(|(paid, claimed)| (paid, (paid - claimed).max(0.0)));
        if let Some((_, unused)) = unused {
            mean(Column::Wasted, unused);
        }
        if let Some(cost) = line.cost {
            let cost = cost.per_hour.amount();
            mean(Column::Cost, cost);
            match unused {
                Some((paid, unused)) if paid > 0.0 => mean(Column::Waste, cost * unused / paid),
                Some(_) if cost == 0.0 => mean(Column::Waste, 0.0),
                _ => {}
            }
        }
        for (phase, count) in line.nodes {
            mean(Column::Phase(phase.to_string()), number(count));
        }
        for (cloud, counts) in line.clouds {
            if counts.answers {
                mean(
                    Column::CloudNodes(cloud.clone()),
                    number(counts.nodes.values().sum()),
                );
                mean(Column::CloudPaid(cloud), number(counts.paid_cores));
            }
        }
        let done = |verb: ActionName| {
            // A delete that is asked for again is no other one.
            let again = |one: &Done<'_>| {
                let is = |event: &Happened<'_>| {
                    event.node == one.node && event.phase.is(PhaseName::Deleting)
                };
                line.events.iter().any(is)
            };
            let done = |one: &&Done<'_>| {
                one.action.is(verb) && one.result.is(ActionResult::Done) && !again(one)
            };
            number(line.actions.iter().filter(done).count() as u64)
        };
        let counts = [
            (Column::Ticks, 1.0),
            (Column::Failed, f64::from(u8::from(line.exit != 0))),
            (Column::Created, done(ActionName::Create)),
            (Column::Deleted, done(ActionName::Delete)),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0.0);
        let counts = counts.filter_map(|(column, count)| Some((columns.number(column)?, count)));
        let counts = counts.collect();
        Some(Sample {
            at: line.at.as_millisecond(),
            means: means.into(),
            counts,
        })
    }
}

/// What is known of a step: for each column the sum over time, and how long it was known.
#[derive(Debug, Clone, Default)]
pub struct Bucket(Vec<(f64, f64)>);

impl Bucket {
    fn at(&mut self, column: u16) -> &mut (f64, f64) {
        let index = usize::from(column);
        if self.0.len() <= index {
            self.0.resize(index + 1, (0.0, 0.0));
        }
        // It is there now.
        #[allow(clippy::indexing_slicing)]
        &mut self.0[index]
    }

    /// Both together.
    pub fn add(&mut self, other: &Bucket) {
        for (column, (sum, known)) in (0..).zip(&other.0) {
            let mine = self.at(column);
            mine.0 += sum;
            mine.1 += known;
        }
    }

    /// The value times milliseconds, and for how many of these it was known. Of what is counted: the count.
    pub fn sum(&self, column: Option<u16>) -> (f64, f64) {
        let index = column.map(usize::from);
        let found = index.and_then(|index| self.0.get(index));
        found.copied().unwrap_or_default()
    }
}

/// A row of steps of equal length.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// When the first begins.
    pub from: i64,
    /// How long each is.
    pub step: i64,
    /// They.
    pub buckets: Vec<Bucket>,
}

impl Row {
    /// `count` steps in which nothing is known.
    pub fn new(from: i64, step: i64, count: usize) -> Row {
        Row {
            from,
            step,
            buckets: vec![Bucket::default(); count],
        }
    }

    /// Which step this time is in.
    pub fn index(&self, at: i64) -> Option<usize> {
        let index = usize::try_from((at - self.from).div_euclid(self.step)).ok()?;
        (index < self.buckets.len()).then_some(index)
    }

    /// What happened in this tick.
    pub fn count(&mut self, sample: &Sample) {
        let index = self.index(sample.at);
        if let Some(bucket) = index.and_then(|index| self.buckets.get_mut(index)) {
            for &(column, count) in &sample.counts {
                bucket.at(column).0 += count;
            }
        }
    }

    /// What this tick saw holds until `until`, at most for [`SAMPLE_VALIDITY`].
    #[allow(clippy::cast_precision_loss)] // Milliseconds of minutes.
    pub fn hold(&mut self, sample: &Sample, until: i64) {
        let until = until.min(sample.at + SAMPLE_VALIDITY);
        let end = self.from + self.step * i64::try_from(self.buckets.len()).unwrap_or_default();
        let mut at = sample.at.max(self.from);
        while at < until.min(end) {
            let Some(index) = self.index(at) else {
                return;
            };
            let next = self.from + self.step * i64::try_from(index + 1).unwrap_or_default();
            let time = (next.min(until) - at) as f64;
            if let Some(bucket) = self.buckets.get_mut(index) {
                for &(column, value) in &sample.means {
                    let sum = bucket.at(column);
                    sum.0 += value * time;
                    sum.1 += time;
                }
            }
            at = next;
        }
    }

    /// All of `samples`, which are in the order of time; the last one holds until `until`.
    pub fn fill(&mut self, samples: &[Sample], until: i64) {
        let ends = samples.iter().skip(1).map(|next| next.at).chain([until]);
        for (sample, end) in samples.iter().zip(ends) {
            self.count(sample);
            self.hold(sample, end);
        }
    }
}

/// A day, as far as it has been read.
#[derive(Debug, Default)]
pub struct DayRead {
    mark: Mark,
    /// How far, in bytes.
    offset: u64,
    /// Where the last line begins, and how.
    last_line: (u64, Vec<u8>),
    lines: usize,
    /// Its ticks, in the order of time; of a day that is over only the last one is kept.
    pub samples: Vec<Sample>,
    /// When the first one was.
    pub first: Option<i64>,
    /// Its steps, without what the last tick saw after it.
    pub row: Row,
}

impl DayRead {
    /// The file of a day, not read yet.
    pub fn new(date: Date) -> DayRead {
        let from = date
            .in_tz("UTC")
            .map(|start| start.timestamp().as_millisecond());
        let count = usize::try_from(DAY / STEP).unwrap_or_default();
        DayRead {
            row: Row::new(from.unwrap_or_default(), STEP, count),
            ..DayRead::default()
        }
    }

    /// Reads what was added to the file; all of it anew, when it is not what it was. Whether there was anything new.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, path: &Path, columns: &mut Columns) -> io::Result<bool> {
        if Mark::of(&std::fs::metadata(path)?) == self.mark {
            return Ok(false);
        }
        let file = own_file::open(path)?;
        let mark = Mark::of(&file.metadata()?);
        let mut file = BufReader::with_capacity(1 << 18, file);
        if !self.goes_on(&mut file, mark)? {
            let from = self.row.from;
            let count = self.row.buckets.len();
            *self = DayRead {
                row: Row::new(from, STEP, count),
                ..DayRead::default()
            };
            file.seek(SeekFrom::Start(0))?;
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = file.read_until(b'\n', &mut line)?;
            // Half a line is read again when the other half is there, or the tick's end after it.
            if length == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let beginning = line.get(..length.min(BEGINNING)).unwrap_or_default();
            self.last_line = (self.offset, beginning.to_vec());
            self.offset += length as u64;
            if self.lines >= LINES {
                continue;
            }
            let sample = Sample::read(&line, columns);
            let (from, to) = (self.row.from, self.row.from + DAY);
            if let Some(sample) = sample.filter(|sample| (from..to).contains(&sample.at)) {
                self.lines += 1;
                self.samples.push(sample);
            }
        }
        // A clock that was set back: each tick is where it says it was.
        self.samples.sort_by_key(|sample| sample.at);
        self.first = self.samples.first().map(|sample| sample.at);
        self.row = Row::new(self.row.from, STEP, self.row.buckets.len());
        if let Some(last) = self.samples.last() {
            let at = last.at;
            self.row.fill(&self.samples, at);
        }
        self.mark = mark;
        Ok(true)
    }

    /// Whether what was read of it is still what it begins with, and all of its ticks are here.
    fn goes_on(&self, file: &mut BufReader<File>, mark: Mark) -> io::Result<bool> {
        if self.offset == 0
            || mark.inode != self.mark.inode
            || mark.length < self.offset
            || mark.length == self.mark.length
            || !self.is_whole()
        {
            return Ok(false);
        }
        let (begins, expected) = &self.last_line;
        file.seek(SeekFrom::Start(*begins))?;
        let mut beginning = vec![0; expected.len()];
        io::Read::read_exact(file, &mut beginning)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(beginning == *expected)
    }

    /// All of its ticks are here.
    pub fn is_whole(&self) -> bool {
        self.samples.len() == self.lines
    }

    /// Keeps of a day that is over only its steps and its last tick.
    pub fn settle(&mut self) {
        if self.samples.len() > 1 {
            self.samples = self.samples.split_off(self.samples.len() - 1);
        }
    }
}
