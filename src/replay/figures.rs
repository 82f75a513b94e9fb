//! The figures of a run: what it paid, what jobs waited, what limited it.
//!
//! Owns: every number that `ehos simulate` prints, with its unit in the name. The table, JSON and the page are made of this.

#![warn(missing_docs)]

use std::collections::BTreeMap;

use scaling::observation::Resources;
use scaling::sorting;
use serde::Serialize;

use crate::record::{NOT_STARTED, Record, Sum};
use crate::site::SiteCloud;
use crate::workload::{Seconds, Workload};

/// Groups of jobs that are listed one by one; the others are summed up.
const MAX_GROUPS: usize = 20;

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// The rule, in a word.
    pub rule: String,
    /// Core-hours of servers, from the create until the server was gone.
    pub paid_core_hours: f64,
    /// Core-hours that jobs used until they ended.
    pub used_core_hours: f64,
    /// Core-hours of jobs that were lost with their nodes.
    pub lost_core_hours: f64,
    /// Paid core-hours for each used one; `None` where none is used.
    pub paid_per_used: Option<f64>,
    /// Money, by the prices of the configuration, started billing periods whole; `None` without a price.
    pub cost: Option<f64>,
    /// Jobs by their end.
    pub jobs: Jobs,
    /// Waits from the submission to the first start.
    pub wait: Wait,
    /// The same by owner, those with the most jobs first.
    pub wait_by_owner: Vec<GroupWait>,
    /// The same by request, those with the most jobs first.
    pub wait_by_request: Vec<GroupWait>,
    /// Nodes.
    pub nodes: Nodes,
    /// The passes of the rule, and its creates, drains and deletes.
    pub passes: Passes,
    /// Waiting by limit, the dearest first.
    pub limits: Vec<LimitFigures>,
    /// Seconds from the first submission to the end of the last job.
    pub makespan_seconds: u64,
    /// The time series.
    pub series: Series,
}

/// Jobs by their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Jobs {
    /// All of the workload.
    pub submitted: u64,
    /// Jobs that ended.
    pub ended: u64,
    /// Jobs that their users removed while they were idle.
    pub removed: u64,
    /// Jobs that no node can run: no flavor is large enough.
    pub too_large: u64,
    /// Other jobs that never started.
    pub never_started: u64,
    /// Times that a job was ended by the delete of its node.
    pub lost: u64,
}

/// Waits of jobs that started, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Wait {
    /// The mean.
    pub mean_seconds: f64,
    /// The median.
    pub median_seconds: Seconds,
    /// The 95th percentile.
    pub p95_seconds: Seconds,
    /// The longest.
    pub max_seconds: Seconds,
}

/// Waits of a group of jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupWait {
    /// The owner or the request.
    pub name: String,
    /// The number of owners or requests: 1, but for those that are shown together.
    pub groups: u64,
    /// Jobs that started.
    pub jobs: u64,
    /// Their waits.
    #[serde(flatten)]
    pub wait: Wait,
}

/// Nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Nodes {
    /// Creates.
    pub created: u64,
    /// The most at one time.
    pub peak: u64,
    /// The most cores at one time.
    pub peak_cores: u64,
    /// The mean over the makespan.
    pub mean: f64,
    /// The mean time from create to join, in seconds; `None` where none joined.
    pub boot_seconds: Option<f64>,
}

/// Passes of the rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Passes {
    /// How many there were.
    pub count: u64,
    /// Creates, drains and deletes of all.
    pub actions: u64,
    /// The most of one pass.
    pub max_actions: u64,
}

/// The waiting that a limit has cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitFigures {
    /// Its name, as in the reasons of a plan (docs/json.md).
    pub limit: String,
    /// Hours during which it kept nodes from being created.
    pub hours: f64,
    /// Jobs that waited for such nodes, times hours.
    pub job_hours: f64,
}

/// Means over equal steps of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// Seconds of a step.
    pub step_seconds: Seconds,
    /// Idle jobs.
    pub idle_jobs: Vec<f64>,
    /// Cores that jobs use.
    pub used_cores: Vec<f64>,
    /// Cores of servers.
    pub paid_cores: Vec<f64>,
    /// Servers.
    pub nodes: Vec<f64>,
}

const HOUR: f64 = 3600.0;

impl Figures {
    /// The figures of a record.
    pub fn of(rule: &str, workload: &Workload, clouds: &[SiteCloud], record: &Record) -> Figures {
        let paid = record.paid_core_seconds as f64 / HOUR;
        let used = record.used_core_seconds as f64 / HOUR;
        let started = |wait: &&Seconds| **wait != NOT_STARTED;
        let mut waits: Vec<Seconds> = record.waits.iter().filter(started).copied().collect();
        Figures {
            rule: rule.to_owned(),
            paid_core_hours: paid,
            used_core_hours: used,
            lost_core_hours: record.lost_core_seconds as f64 / HOUR,
            paid_per_used: (used > 0.0).then(|| paid / used),
            cost: record.cost,
            jobs: jobs(workload, clouds, record),
            wait: wait(&mut waits),
            wait_by_owner: by(workload, record, |class| class.owner.clone()),
            wait_by_request: by(workload, record, |class| class.request.to_string()),
            nodes: Nodes {
                created: record.created,
                peak: record.peak_nodes,
                peak_cores: record.peak_cores,
                mean: record.node_seconds as f64 / f64::from(record.last_end.max(1)),
                boot_seconds: (record.joined.0 > 0)
                    .then(|| record.joined.1 as f64 / record.joined.0 as f64),
            },
            passes: Passes {
                count: record.passes,
                actions: record.actions,
                max_actions: record.most_actions,
            },
            limits: limits(record),
            makespan_seconds: record.last_end.into(),
            series: series(record),
        }
    }
}

fn jobs(workload: &Workload, clouds: &[SiteCloud], record: &Record) -> Jobs {
    let fits = |request: Resources| {
        let mut flavors = clouds.iter().flat_map(|cloud| &cloud.flavors);
        flavors.any(|flavor| request.fits(&flavor.capacity))
    };
    let too_large: Vec<bool> = workload
        .classes
        .iter()
        .map(|class| !fits(class.request.rounded()))
        .collect();
    let never = workload
        .jobs
        .iter()
        .zip(&record.waits)
        .filter(|(_, wait)| **wait == NOT_STARTED);
    let too_large = never.clone().filter(|(job, _)| {
        too_large
            .get(job.class as usize)
            .is_some_and(|large| *large)
    });
    let (never, too_large) = (never.count() as u64, too_large.count() as u64);
    Jobs {
        submitted: workload.jobs.len() as u64,
        ended: record.ended,
        removed: record.removed,
        too_large,
        never_started: never.saturating_sub(too_large + record.removed),
        lost: record.lost_jobs,
    }
}

fn wait(waits: &mut [Seconds]) -> Wait {
    waits.sort_unstable();
    let at = |share: f64| {
        let place = (waits.len() as f64 * share) as usize;
        waits.get(place.min(waits.len().saturating_sub(1))).copied()
    };
    let sum: u64 = waits.iter().map(|wait| u64::from(*wait)).sum();
    Wait {
        mean_seconds: sum as f64 / (waits.len() as f64).max(1.0),
        median_seconds: at(0.5).unwrap_or_default(),
        p95_seconds: at(0.95).unwrap_or_default(),
        max_seconds: waits.last().copied().unwrap_or_default(),
    }
}

/// Waits by a property of classes: the groups with the most jobs, and the others together.
fn by(
    workload: &Workload,
    record: &Record,
    name: impl Fn(&crate::workload::JobClass) -> String,
) -> Vec<GroupWait> {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let group_of: Vec<usize> = workload
        .classes
        .iter()
        .map(|class| {
            let next = numbers.len();
            *numbers.entry(name(class)).or_insert(next)
        })
        .collect();
    let mut waits: Vec<Vec<Seconds>> = vec![Vec::new(); numbers.len()];
    for (job, wait) in workload.jobs.iter().zip(&record.waits) {
        let group = group_of.get(job.class as usize);
        if let Some(list) = group.and_then(|group| waits.get_mut(*group))
            && *wait != NOT_STARTED
        {
            list.push(*wait);
        }
    }
    let mut groups: Vec<(String, u64, Vec<Seconds>)> = numbers
        .into_iter()
        .map(|(name, number)| {
            let waits = waits.get_mut(number).map(std::mem::take);
            (name, 1, waits.unwrap_or_default())
        })
        .collect();
    sorting::by(&mut groups, |(one, _, some), (two, _, others)| {
        others.len().cmp(&some.len()).then_with(|| one.cmp(two))
    });
    if groups.len() > MAX_GROUPS {
        let others = groups.split_off(MAX_GROUPS - 1);
        groups.push((
            format!("{} others", others.len()),
            others.len() as u64,
            others.into_iter().flat_map(|(.., waits)| waits).collect(),
        ));
    }
    groups
        .into_iter()
        .map(|(name, groups, mut waits)| GroupWait {
            name,
            groups,
            jobs: waits.len() as u64,
            wait: wait(&mut waits),
        })
        .collect()
}

fn limits(record: &Record) -> Vec<LimitFigures> {
    let mut limits: Vec<LimitFigures> = record
        .limits
        .iter()
        .map(|(limit, time)| LimitFigures {
            limit: limit.clone(),
            hours: time.seconds as f64 / HOUR,
            job_hours: time.job_seconds as f64 / HOUR,
        })
        .collect();
    sorting::by(&mut limits, |one, two| {
        two.job_hours.total_cmp(&one.job_hours)
    });
    limits
}

fn series(record: &Record) -> Series {
    let mean = |of: fn(&Sum) -> u64| -> Vec<f64> {
        let mean = |sum: &Sum| of(sum) as f64 / (sum.seconds as f64).max(1.0);
        record.series.iter().map(mean).collect()
    };
    Series {
        step_seconds: record.bucket,
        idle_jobs: mean(|sum| sum.idle),
        used_cores: mean(|sum| sum.running_cores),
        paid_cores: mean(|sum| sum.cores),
        nodes: mean(|sum| sum.nodes),
    }
}
