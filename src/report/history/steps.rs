//! Steps of time: the values of ticks over time, and the counts of what happened.
//!
//! A value is valid until the next tick, for at most [`SAMPLE_VALIDITY`]. A step in which a value is unknown has no mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sample::Sample;

/// Longest validity of an observation, in milliseconds, as all times here.
pub(super) const SAMPLE_VALIDITY: i64 = 300_000;

/// Phases and clouds that have series.
const MAX_NAMES: usize = 1024;

/// The values of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// Idle jobs.
    Idle,
    /// Running jobs.
    Running,
    /// Held jobs.
    Held,
    /// Jobs that count as demand.
    Waiting,
    /// Waiting jobs that match no node type.
    Unmatched,
    /// Requested cores of waiting jobs.
    DemandCpus,
    /// Cores of servers of nodes.
    PaidCores,
    /// Claimed cores of nodes.
    ClaimedCores,
    /// Cores of unmanaged machines.
    OtherCores,
    /// Paid cores that are not claimed, while both are known.
    UnclaimedCores,
    /// Cost.
    CostPerHour,
    /// The share of the cost for unclaimed cores.
    WastePerHour,
}

/// An integral over time: value × seconds, and the seconds in which the value was known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Integral(pub f64, pub f64);

impl Integral {
    /// The mean; none of an unknown value.
    pub fn mean(self) -> Option<f64> {
        (self.1 > 0.0).then(|| self.0 / self.1)
    }

    /// Adds `other`, `times` over.
    pub fn add(&mut self, other: Integral, times: f64) {
        self.0 += other.0 * times;
        self.1 += other.1 * times;
    }

    fn is_within(self, seconds: f64) -> bool {
        self.0.is_finite() && self.0 >= 0.0 && (0.0..=seconds).contains(&self.1)
    }
}

/// The values of one cloud.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CloudStep {
    /// Nodes.
    pub nodes: Integral,
    /// Cores of their servers.
    pub paid_cores: Integral,
}

/// One step of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Ticks.
    pub ticks: u64,
    /// Ticks with another exit code than 0.
    pub ticks_failed: u64,
    /// Successful creates.
    pub nodes_created: u64,
    /// Successful deletes.
    pub nodes_deleted: u64,
    /// The time that ticks cover.
    pub seconds: f64,
    /// Values of the pool.
    pub values: BTreeMap<Series, Integral>,
    /// Nodes by phase, × seconds. A phase that a tick does not name has no nodes.
    pub nodes: BTreeMap<String, f64>,
    /// Values of clouds, while they answer.
    pub clouds: BTreeMap<String, CloudStep>,
    /// Claimed cores by owner, × seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, f64>,
}

impl Step {
    /// A value; unknown if the step has none.
    pub fn value(&self, series: Series) -> Integral {
        self.values.get(&series).copied().unwrap_or_default()
    }

    /// Adds the values of `other`, `times` over.
    pub fn add_values(&mut self, other: &Step, times: f64) {
        self.seconds += other.seconds * times;
        for (series, value) in &other.values {
            self.values.entry(*series).or_default().add(*value, times);
        }
        for (phase, nodes) in &other.nodes {
            if let Some(own) = entry(&mut self.nodes, phase) {
                *own += nodes * times;
            }
        }
        for (owner, cores) in &other.owners {
            if let Some(own) = entry(&mut self.owners, owner) {
                *own += cores * times;
            }
        }
        for (name, cloud) in &other.clouds {
            if let Some(own) = entry(&mut self.clouds, name) {
                own.nodes.add(cloud.nodes, times);
                own.paid_cores.add(cloud.paid_cores, times);
            }
        }
    }

    fn add_counts(&mut self, other: &Step) {
        self.ticks += other.ticks;
        self.ticks_failed += other.ticks_failed;
        self.nodes_created += other.nodes_created;
        self.nodes_deleted += other.nodes_deleted;
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Step) {
        self.add_counts(other);
        self.add_values(other, 1.0);
    }

    /// Nothing happened, and nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.ticks == 0 && self.seconds == 0.0
    }

    /// A step of this length can have these values.
    pub(super) fn is_within(&self, seconds: f64) -> bool {
        const MAX_COUNT: u64 = 1 << 32;
        let counts = [
            self.ticks,
            self.ticks_failed,
            self.nodes_created,
            self.nodes_deleted,
        ];
        let clouds = self.clouds.values();
        let clouds = clouds.flat_map(|cloud| [cloud.nodes, cloud.paid_cores]);
        let mut integrals = self.values.values().copied().chain(clouds);
        // Of thousandths of seconds that were added.
        let limit = seconds + 0.1;
        counts.iter().all(|count| *count < MAX_COUNT)
            && (0.0..=limit).contains(&self.seconds)
            && integrals.all(|integral| integral.is_within(limit))
            && self
                .nodes
                .values()
                .chain(self.owners.values())
                .all(|sum| sum.is_finite() && *sum >= 0.0)
    }
}

/// The value of a name; none of one too many.
fn entry<'a, T: Default>(values: &'a mut BTreeMap<String, T>, name: &str) -> Option<&'a mut T> {
    if !values.contains_key(name) && values.len() < MAX_NAMES {
        values.insert(name.to_owned(), T::default());
    }
    values.get_mut(name)
}

/// Steps of equal length, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The start of the first step.
    pub from: i64,
    /// The length of each step.
    pub length: i64,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Row {
    /// `count` empty steps.
    pub fn new(from: i64, length: i64, count: usize) -> Row {
        Row {
            from,
            length,
            steps: vec![Step::default(); count],
        }
    }

    /// Each step with its start.
    pub fn each(&self) -> impl Iterator<Item = (i64, &Step)> {
        let starts = (0..).map(|number| self.from + number * self.length);
        starts.zip(&self.steps)
    }

    /// The end of the last step.
    pub fn end(&self) -> i64 {
        self.from + self.length * i64::try_from(self.steps.len()).unwrap_or_default()
    }

    /// The step of a time.
    pub(super) fn step(&mut self, at: i64) -> Option<&mut Step> {
        let index = usize::try_from((at - self.from).div_euclid(self.length)).ok()?;
        self.steps.get_mut(index)
    }

    /// Adds ticks, which are in the order of time, as far as they count between `from` and `to`.
    #[allow(clippy::cast_precision_loss)] // Milliseconds of minutes.
    pub(super) fn fill(&mut self, samples: &[Sample], from: i64, to: i64) {
        let nexts = samples.iter().skip(1).map(|next| next.at).chain([i64::MAX]);
        for (sample, next) in samples.iter().zip(nexts) {
            if (from..to).contains(&sample.at)
                && let Some(step) = self.step(sample.at)
            {
                step.add_counts(&sample.second);
            }
            let until = next
                .min(sample.at + SAMPLE_VALIDITY)
                .min(to)
                .min(self.end());
            let mut at = sample.at.max(from).max(self.from);
            while at < until {
                let end = self.from + ((at - self.from) / self.length + 1) * self.length;
                let seconds = (end.min(until) - at) as f64 / 1000.0;
                if let Some(step) = self.step(at) {
                    step.add_values(&sample.second, seconds);
                }
                at = end;
            }
        }
    }
}
