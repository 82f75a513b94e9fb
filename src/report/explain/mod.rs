//! Why jobs wait: the decisions of the last tick about some idle jobs, and where jobs run.
//!
//! Owns: how a job finds its job group in a tick report, and the advice for each reason.
//! Must not: query HTCondor or read a file.

mod advice;

use std::collections::BTreeSet;

use jiff::Timestamp;
use scaling::sorting::IntoSet;
use serde::Serialize;

use crate::names::{Named, ReasonName};
use crate::problem::{age_seconds, is_late};
use crate::tick_report::{
    JobGroupReport, NodeReport, ReasonReport, TickReport, possible_submitters,
};
use scaling::job_names::group_id;
use scaling::job_requirements::JobFault;
use scaling::money::Money;
use scaling::names::PhaseName;
use scaling::observation::{Demand, Resources};
use scaling::sorting;
use scaling::source::SourceKind;
use scaling::submitter::Submitters;

pub use advice::advice;

/// Job groups, nodes and starting nodes of an answer.
pub const LISTED_MAX: usize = 20;

/// The timer starts a tick each minute.
const TICK_SECONDS: u64 = 60;

/// The last tick, as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TickAnswer {
    pub at: Timestamp,
    pub age_seconds: u64,
    /// Seconds until the next tick, at the latest.
    pub next_seconds: u64,
    /// The next tick is missing.
    pub is_late: bool,
    /// The report names no owners.
    pub owners_hidden: bool,
}

impl TickAnswer {
    pub fn of(report: &TickReport, now: Timestamp) -> TickAnswer {
        let age_seconds = age_seconds(report, now);
        TickAnswer {
            at: report.at,
            age_seconds,
            next_seconds: TICK_SECONDS.saturating_sub(age_seconds),
            is_late: is_late(report, now),
            owners_hidden: report.owners_hidden,
        }
    }
}

/// Why the report does not list a job group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlisted {
    /// The jobs are younger than the last tick.
    Younger,
    /// A schedd did not answer the last tick.
    ScheddUnknown,
    /// The jobs are no longer the same as at the last tick, or another pool's.
    NotFound,
    /// There is no report.
    NoTick,
}

/// Some idle jobs in one job group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobGroupAnswer {
    /// The id of the job group, as in a tick report.
    pub id: String,
    pub request: Resources,
    /// Of the jobs in question, those in this group.
    pub jobs: u64,
    pub waiting_seconds: u64,
    /// One of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// All jobs of the group in the last tick; none if the report does not list it.
    pub group_jobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<Unlisted>,
    /// The first tick with these reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    pub reasons: Vec<ReasonReport>,
    /// What would help, each an imperative sentence.
    pub advice: Vec<String>,
}

/// The job groups of these idle jobs, submitted or idle since `since`, in the last tick. The number of groups beyond the first
/// ones comes with them.
pub fn groups(
    demand: &[Demand],
    report: Option<&TickReport>,
    since: Option<Timestamp>,
) -> (Vec<JobGroupAnswer>, usize) {
    let mut answers: Vec<JobGroupAnswer> = Vec::new();
    for one in demand.iter().filter(|one| one.jobs > 0) {
        let listed = report.and_then(|report| listed(one, report));
        let id = match listed {
            Some(group) => group.id.clone(),
            None => group_id(&one.key(), Submitters::NONE),
        };
        if let Some(known) = answers.iter_mut().find(|known| known.id == id) {
            known.jobs = known.jobs.saturating_add(one.jobs);
            known.waiting_seconds = known.waiting_seconds.max(one.waiting.as_secs());
            continue;
        }
        answers.push(answer(one, id, listed, report, since));
    }
    sorting::by_key(&mut answers, |one| {
        std::cmp::Reverse((one.jobs, one.waiting_seconds))
    });
    let others = answers.len().saturating_sub(LISTED_MAX);
    answers.truncate(LISTED_MAX);
    (answers, others)
}

fn answer(
    demand: &Demand,
    id: String,
    listed: Option<&JobGroupReport>,
    report: Option<&TickReport>,
    since: Option<Timestamp>,
) -> JobGroupAnswer {
    let reasons = listed.map_or_else(Vec::new, |group| group.why.clone());
    let example = demand.example.as_deref();
    let mut advice: Vec<String> = Vec::new();
    for why in &reasons {
        for sentence in self::advice(why, example) {
            if !advice.contains(&sentence) {
                advice.push(sentence);
            }
        }
    }
    if reasons.is_empty() && matches!(demand.fault, Some(JobFault::OwnerBound { .. })) {
        advice.push("make the requests and Requirements of the jobs equal and shorter".to_owned());
    }
    JobGroupAnswer {
        id,
        request: demand.key().request,
        jobs: demand.jobs,
        waiting_seconds: demand.waiting.as_secs(),
        example: demand.example.clone(),
        group_jobs: listed.map(|group| group.jobs),
        unlisted: listed.is_none().then(|| unlisted(report, since)),
        since: listed.and_then(|group| group.since),
        reasons,
        advice,
    }
}

/// The group of such jobs: of several with other limited submitters, the one with the most of the job's own.
fn listed<'r>(demand: &Demand, report: &'r TickReport) -> Option<&'r JobGroupReport> {
    let key = demand.key();
    let group = demand.accounting_group.as_deref();
    let mut ids: Vec<(usize, String)> = possible_submitters(demand.owner.as_deref(), group)
        .iter()
        .map(|submitters| (submitters.0.len(), group_id(&key, submitters)))
        .collect();
    sorting::by_key(&mut ids, |(submitters, _)| std::cmp::Reverse(*submitters));
    let find = |(_, id): &(usize, String)| report.groups.iter().find(|group| group.id == *id);
    ids.iter().find_map(find)
}

fn unlisted(report: Option<&TickReport>, since: Option<Timestamp>) -> Unlisted {
    let Some(report) = report else {
        return Unlisted::NoTick;
    };
    // QDate is a whole second.
    if since.is_some_and(|since| since.as_second() >= report.at.as_second()) {
        Unlisted::Younger
    } else if !report.knows(SourceKind::Schedd) || report.queue.schedds == 0 {
        Unlisted::ScheddUnknown
    } else {
        Unlisted::NotFound
    }
}

/// A node that has not joined yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StartingNode {
    pub node: String,
    pub cloud: String,
    pub flavor: String,
    pub phase: Named<PhaseName>,
    pub age_seconds: Option<u64>,
    /// Its create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The mean boot time of such nodes, where it is known.
    pub boot_seconds: Option<u64>,
}

/// Nodes that may take waiting jobs when they join: none unless a job group waits for one.
pub fn starting(answers: &[JobGroupAnswer], report: &TickReport) -> Vec<StartingNode> {
    let waits = |why: &ReasonReport| {
        let is_for_node = [
            ReasonName::FitsComing,
            ReasonName::NewNodes,
            ReasonName::FitsNew,
            ReasonName::FirstNodeDecides,
        ];
        why.reason.is_one_of(&is_for_node) || why.limit() == Some("unproven")
    };
    if !answers.iter().flat_map(|one| &one.reasons).any(waits) {
        return Vec::new();
    }
    let phases = [
        PhaseName::Booting,
        PhaseName::Building,
        PhaseName::Requested,
        PhaseName::New,
    ];
    let mut nodes: Vec<&NodeReport> = report
        .nodes
        .iter()
        .filter(|node| node.phase.is_one_of(&phases))
        .collect();
    sorting::by_key(&mut nodes, |node| {
        std::cmp::Reverse(node.server.age_seconds)
    });
    let boot_seconds = |node: &NodeReport| {
        let mut rows = report.totals.nodes.iter();
        let row = rows.find(|row| row.cloud == node.cloud && row.flavor == node.flavor)?;
        row.boot_seconds.checked_div(row.joined)
    };
    let starting = |node: &NodeReport| StartingNode {
        node: node.node.clone(),
        cloud: node.cloud.clone(),
        flavor: node.flavor.clone(),
        phase: node.phase.clone(),
        age_seconds: node.server.age_seconds,
        since: node.server.age_seconds.and_then(|age| {
            let age = jiff::SignedDuration::from_secs(i64::try_from(age).ok()?);
            report.at.checked_sub(age).ok()
        }),
        boot_seconds: boot_seconds(node),
    };
    nodes.into_iter().take(LISTED_MAX).map(starting).collect()
}

/// The node of running or finished jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobNode {
    /// The host name of its slots.
    pub host: String,
    /// Jobs in question on it.
    pub jobs: u64,
    /// The node's id; none for an unmanaged machine, or a node that the history does not name.
    pub node: Option<String>,
    pub cloud: Option<String>,
    pub flavor: Option<String>,
    pub per_hour: Option<Money>,
    /// Cores and memory of the node, where they are known.
    #[serde(skip)]
    pub size: Option<(u64, Option<u64>)>,
}

impl JobNode {
    /// The node with this host in the last tick.
    pub fn of(host: &str, jobs: u64, report: Option<&TickReport>) -> JobNode {
        let nodes = report.map_or(&[][..], |report| &report.nodes);
        let short = |name: &str| name.split('.').next().unwrap_or(name).to_ascii_lowercase();
        let node = nodes.iter().find(|node| node.is_host(host));
        let node = node.or_else(|| nodes.iter().find(|node| short(&node.name) == short(host)));
        let startd = node.and_then(|node| node.startd.as_ref());
        JobNode {
            host: host.to_owned(),
            jobs,
            node: node.map(|node| node.node.clone()),
            cloud: node.map(|node| node.cloud.clone()),
            flavor: node.map(|node| node.flavor.clone()),
            per_hour: node.and_then(|node| node.server.per_hour),
            size: node.and_then(|node| {
                let memory = startd.map(|startd| startd.memory_mb);
                Some((startd.map(|one| one.cpus).or(node.server.vcpus)?, memory))
            }),
        }
    }

    /// The share of the node's cost for a job of this size in this time: by the resource of which it has the largest share.
    pub fn share(&self, cpus: u64, memory_mb: Option<u64>, seconds: u64) -> Option<Money> {
        let (all_cpus, all_memory) = self.size?;
        let part = |part: u64, all: u64| match all {
            0 => 1.0,
            #[allow(clippy::cast_precision_loss)] // No node has so much.
            all => (part as f64 / all as f64).min(1.0),
        };
        let by_memory = memory_mb.zip(all_memory).map(|(mb, all)| part(mb, all));
        let share = part(cpus, all_cpus).max(by_memory.unwrap_or(0.0));
        let whole = self.per_hour?.over(std::time::Duration::from_secs(seconds));
        Some(Money::new(whole.amount() * share))
    }
}

/// Names of owners in the report, for a suggestion.
pub fn owners(report: &TickReport) -> BTreeSet<&str> {
    let waiting = report.groups.iter().flat_map(|group| &group.owners);
    let running = report.nodes.iter().flat_map(|node| &node.running_jobs);
    let waiting = waiting.map(|one| one.owner.as_str());
    waiting
        .chain(running.filter_map(|job| job.owner.as_deref()))
        .into_set()
}

#[cfg(test)]
mod tests;
