//! Runs side by side: the frontier of cost and wait, its knee, and one sentence of advice.
//!
//! Owns: what the table, the JSON document (docs/json.md) and the page of `ehos simulate` show.

#![warn(missing_docs)]

use scaling::sorting;
use scaling::sorting::IntoSet;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::figures::Figures;
use crate::rule::peers::LowerBound;
use crate::workload::{Notes, Workload};

/// Runs whose time series are drawn.
const MAX_SERIES: usize = 40;

/// The layout of the JSON document.
const VERSION: u32 = 1;

/// Runs of one workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The layout of this document.
    pub version: u32,
    /// The workload.
    pub workload: WorkloadFigures,
    /// The runs: the configuration first, then the sweep, then other rules.
    pub runs: Vec<Run>,
    /// The counts of an interrupted sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<Interrupted>,
    /// What to change, in one sentence with the keys to set; `None` without a sweep.
    pub advice: Option<String>,
}

/// A sweep that ended before all of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interrupted {
    /// Runs that the comparison has.
    pub finished_runs: u64,
    /// Runs that were to be done.
    pub planned_runs: u64,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interrupted {
            finished_runs,
            planned_runs,
        } = self;
        write!(
            f,
            "interrupted: {finished_runs} of {planned_runs} runs finished"
        )
    }
}

/// The workload of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadFigures {
    /// Where it comes from: a file, a generator, the site.
    pub source: String,
    /// The time of the first submission; `None` where the input has no calendar time.
    pub start: Option<Timestamp>,
    /// Its jobs.
    pub jobs: u64,
    /// Their owners.
    pub owners: u64,
    /// Core-hours that they use.
    pub core_hours: f64,
    /// From the first submission to the last, in hours.
    pub hours: f64,
    /// The core-hours of the lower bound: no rule pays less with these flavors.
    pub bound_core_hours: f64,
    /// The cost of the lower bound: its core-hours at the least price for each core; `None` unless every flavor has a price.
    pub bound_cost: Option<f64>,
    /// What the reader had to say of the input.
    pub notes: Notes,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its name: `current`, the changed keys, or the rule.
    pub name: String,
    /// The keys that differ from the configuration, with their values.
    pub settings: BTreeMap<String, String>,
    /// The run of the configuration as it is.
    pub is_current: bool,
    /// No other run of ehos is cheaper and waits less.
    pub is_on_frontier: bool,
    /// The point of the frontier from which on less waiting costs most.
    pub is_knee: bool,
    /// Its figures.
    pub figures: Figures,
}

impl Run {
    /// A run of ehos with these changed keys; none: the configuration as it is.
    pub fn of_ehos(settings: BTreeMap<String, String>, figures: Figures) -> Run {
        let words = settings.iter().map(|(key, value)| format!("{key}={value}"));
        let name = words.collect::<Vec<_>>().join(" ");
        Run {
            is_current: settings.is_empty(),
            name: if settings.is_empty() {
                "current".to_owned()
            } else {
                name
            },
            settings,
            is_on_frontier: false,
            is_knee: false,
            figures,
        }
    }

    /// A run of another rule.
    pub fn of_peer(figures: Figures) -> Run {
        Run {
            name: figures.rule.clone(),
            settings: BTreeMap::new(),
            is_current: false,
            is_on_frontier: false,
            is_knee: false,
            figures,
        }
    }

    /// A run that has a name in a plot.
    pub fn is_named(&self) -> bool {
        self.is_current || self.is_on_frontier || !self.is_of_ehos()
    }

    /// A run of ehos, not of another rule.
    pub fn is_of_ehos(&self) -> bool {
        self.is_current || !self.settings.is_empty()
    }

    /// What it costs: money where there are prices, else core-hours.
    pub fn cost(&self) -> f64 {
        self.figures.cost.unwrap_or(self.figures.paid_core_hours)
    }

    /// The mean wait in seconds. Jobs that could run and never started make it worthless.
    pub fn wait(&self) -> f64 {
        match self.figures.jobs.never_started {
            0 => self.figures.wait.mean_seconds,
            _ => f64::INFINITY,
        }
    }
}

impl Comparison {
    /// Compares runs.
    pub fn new(
        source: &str,
        workload: &Workload,
        bound: LowerBound,
        mut runs: Vec<Run>,
    ) -> Comparison {
        let owners = workload.classes.iter().map(|class| class.owner.as_str());
        let owners: std::collections::BTreeSet<&str> = owners.into_set();
        let last = workload.jobs.last().map_or(0, |job| job.submitted);
        mark_frontier(&mut runs);
        let advice = advice(&runs);
        Comparison {
            version: VERSION,
            workload: WorkloadFigures {
                source: source.to_owned(),
                start: workload.start,
                jobs: workload.jobs.len() as u64,
                owners: owners.len() as u64,
                core_hours: workload.core_seconds() as f64 / 3600.0,
                hours: f64::from(last) / 3600.0,
                bound_core_hours: bound.core_hours(),
                bound_cost: bound.cost(),
                notes: workload.notes.clone(),
            },
            runs,
            interrupted: None,
            advice,
        }
    }
}

/// The places of the runs whose time series are drawn: those that have names in the plot, the cheapest of the frontier first.
pub fn charted(runs: &[Run]) -> Vec<usize> {
    let named = runs.iter().enumerate().filter(|(_, run)| run.is_named());
    let mut ranks: Vec<(usize, &Run)> = named.collect();
    sorting::by(&mut ranks, |(_, one), (_, two)| {
        let rank = |run: &Run| (!run.is_current, run.is_of_ehos() && !run.is_knee);
        let ranks = rank(one).cmp(&rank(two));
        ranks.then(one.cost().total_cmp(&two.cost()))
    });
    ranks.truncate(MAX_SERIES);
    ranks.into_iter().map(|(place, _)| place).collect()
}

/// Marks the runs of ehos that no other one beats in both cost and wait, and the knee of that line: the point that is farthest
/// below the straight line between its ends.
pub fn mark_frontier(runs: &mut [Run]) {
    let mut points: Vec<(f64, f64, usize)> = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.is_of_ehos() && run.wait().is_finite())
        .map(|(place, run)| (run.cost(), run.wait(), place))
        .collect();
    sorting::by(&mut points, |one, two| {
        one.0.total_cmp(&two.0).then(one.1.total_cmp(&two.1))
    });
    let mut least = f64::INFINITY;
    points.retain(|(_, wait, _)| {
        let better = *wait < least;
        least = least.min(*wait);
        better
    });
    for (_, _, place) in &points {
        if let Some(run) = runs.get_mut(*place) {
            run.is_on_frontier = true;
        }
    }
    let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
        return;
    };
    if points.len() < 3 {
        return;
    }
    let span = (last.0 - first.0, first.1 - last.1);
    let below = |point: &(f64, f64, usize)| {
        1.0 - (point.0 - first.0) / span.0 - (point.1 - last.1) / span.1
    };
    let knee = points
        .iter()
        .max_by(|one, two| below(one).total_cmp(&below(two)));
    if let Some(run) = knee.and_then(|(_, _, place)| runs.get_mut(*place)) {
        run.is_knee = true;
    }
}

/// One sentence: the cheapest run that waits no longer than the current one, else the knee, else that nothing is better.
fn advice(runs: &[Run]) -> Option<String> {
    let current = runs.iter().find(|run| run.is_current)?;
    if runs.iter().filter(|run| run.is_of_ehos()).count() < 2 {
        return None;
    }
    let saves = |run: &&Run| run.wait() <= current.wait() && run.cost() < current.cost() * 0.995;
    let frontier = runs.iter().filter(|run| run.is_on_frontier);
    let cheapest = frontier
        .filter(saves)
        .min_by(|one, two| one.cost().total_cmp(&two.cost()));
    let knee = runs.iter().find(|run| run.is_knee && !run.is_current);
    let keys = |run: &Run| {
        let keys = run.settings.iter();
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key}: {value}")).collect();
        keys.join(" and ")
    };
    let percent = |run: &Run| (run.cost() / current.cost().max(f64::MIN_POSITIVE) - 1.0) * 100.0;
    // Short waits differ in tenths.
    let seconds = |run: &Run| match run.wait() {
        wait if wait < 10.0 => format!("{wait:.1} s"),
        wait => format!("{wait:.0} s"),
    };
    Some(match (cheapest, knee) {
        (Some(run), _) => format!(
            "Set {}: it costs {:.1} % less and jobs wait {} instead of {} on average.",
            keys(run),
            -percent(run),
            seconds(run),
            seconds(current)
        ),
        (None, Some(run)) => format!(
            "The current configuration is on the frontier. The knee is {}: cost {:+.1} %, mean wait {} instead of {}.",
            keys(run),
            percent(run),
            seconds(run),
            seconds(current)
        ),
        (None, None) => {
            "Keep the current configuration: no other run is cheaper without longer waits."
                .to_owned()
        }
    })
}
