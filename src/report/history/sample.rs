//! The numbers of one tick, read from its line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use scaling::sorting::IntoMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::record::{CloudCounts, CostCounts};
use super::steps::{CloudStep, Integral, Series, Step};
use crate::names::{BrakeName, Named};
use crate::tick_report::{ActionResult, Queue};
use scaling::figures::{CoreFigures, OWNERS};
use scaling::names::{ActionName, PhaseName};
use scaling::observation::Resources;
use scaling::source::{Source, SourceKind};

/// Longest name of a cloud or phase that has a series.
const MAX_NAME: usize = 256;

/// One tick.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Milliseconds of Unix time.
    pub at: i64,
    /// What happened, and the values of one second.
    pub second: Step,
}

/// The parts of a line that have numbers. An odd part of another kind costs nothing here.
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
    owners: BTreeMap<String, u64>,
    clouds: BTreeMap<String, CloudCounts>,
    cost: Option<CostCounts>,
    #[serde(alias = "unseen")]
    unknown_sources: Vec<Unknown>,
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
            owners: BTreeMap::new(),
            clouds: BTreeMap::new(),
            cost: None,
            unknown_sources: Vec::new(),
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

#[allow(clippy::cast_precision_loss)] // No site has so many.
fn number(count: u64) -> f64 {
    count as f64
}

/// The time of a line; none if the line is no tick.
pub(super) fn time(line: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Time {
        at: Timestamp,
    }
    let time: Time = serde_json::from_slice(line).ok()?;
    Some(time.at.as_millisecond())
}

impl Sample {
    /// Reads a line; none if the line is no tick.
    pub(super) fn read(line: &[u8]) -> Option<Sample> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        if line.at == Timestamp::MIN {
            return None;
        }
        let done = |verb| line.done(verb);
        let mut second = Step {
            ticks: 1,
            ticks_failed: u64::from(line.exit != 0),
            nodes_created: done(ActionName::Create),
            nodes_deleted: done(ActionName::Delete),
            seconds: 1.0,
            ..Step::default()
        };
        let values = line.values();
        let known = |(series, value): (Series, Option<f64>)| Some((series, Integral(value?, 1.0)));
        second.values = values.into_iter().filter_map(known).into_map();
        let nodes = line.nodes.into_iter();
        second.nodes = nodes
            .map(|(phase, count)| (phase.to_string(), number(count)))
            .filter(|(phase, _)| phase.len() <= MAX_NAME)
            .into_map();
        let owners = line.owners.into_iter().take(OWNERS + 1);
        second.owners = owners
            .filter(|(owner, _)| owner.len() <= MAX_NAME)
            .map(|(owner, cores)| (owner, number(cores)))
            .into_map();
        let clouds = line.clouds.into_iter();
        second.clouds = clouds
            .filter(|(name, counts)| counts.answers && name.len() <= MAX_NAME)
            .map(|(name, counts)| {
                let cloud = CloudStep {
                    nodes: Integral(number(counts.nodes.values().sum()), 1.0),
                    paid_cores: Integral(number(counts.paid_cores), 1.0),
                };
                (name, cloud)
            })
            .into_map();
        Some(Sample {
            at: line.at.as_millisecond(),
            second,
        })
    }
}

impl Line<'_> {
    /// Values of the pool; none of what this tick does not know.
    fn values(&self) -> [(Series, Option<f64>); 12] {
        // A sum without one of the schedds would be a fall that there was none of.
        let schedd = |unknown_sources: &Unknown| unknown_sources.source.kind == SourceKind::Schedd;
        let queue = self
            .queue
            .filter(|_| !self.unknown_sources.iter().any(schedd));
        let jobs = |count: fn(&Queue) -> u64| queue.as_ref().map(|queue| number(count(queue)));
        // Nor are the cores of a cloud that does not answer known, as far as there are any.
        let mut clouds = self.clouds.values();
        let paid = clouds.all(|cloud| cloud.answers || cloud.nodes.is_empty());
        let paid = paid.then_some(number(self.cores.paid));
        let mut brakes = self.brakes.keys().filter_map(Named::known);
        let heard = self.collector && !brakes.any(BrakeName::hides_claims);
        let claimed = heard.then_some(number(self.cores.claimed));
        let both = paid.zip(claimed);
        let unclaimed = both.map(|(paid, claimed)| (paid - claimed).max(0.0));
        let cost = self.cost.map(|cost| cost.per_hour.amount());
        let waste = cost.and_then(|cost| match paid.zip(unclaimed)? {
            (paid, unclaimed) if paid > 0.0 => Some(cost * unclaimed / paid),
            _ => (cost == 0.0).then_some(0.0),
        });
        [
            (Series::Idle, jobs(|queue| queue.idle)),
            (Series::Running, jobs(|queue| queue.running)),
            (Series::Held, jobs(|queue| queue.held)),
            (Series::Waiting, jobs(|queue| queue.waiting)),
            (Series::Unmatched, jobs(|queue| queue.unmatched)),
            (Series::DemandCpus, queue.map(|_| number(self.demand.cpus))),
            (Series::PaidCores, paid),
            (Series::ClaimedCores, claimed),
            (
                Series::OtherCores,
                claimed.map(|_| number(self.cores.others)),
            ),
            (Series::UnclaimedCores, unclaimed),
            (Series::CostPerHour, cost),
            (Series::WastePerHour, waste),
        ]
    }

    /// Successful actions of this kind. A repeated delete counts once.
    fn done(&self, verb: ActionName) -> u64 {
        let again = |one: &Done<'_>| {
            let mut events = self.events.iter();
            events.any(|event| event.node == one.node && event.phase.is(PhaseName::Deleting))
        };
        let done = self
            .actions
            .iter()
            .filter(|one| one.action.is(verb) && one.result.is(ActionResult::Done) && !again(one));
        done.count() as u64
    }
}
