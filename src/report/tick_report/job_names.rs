//! Owners and jobs in a tick report: named in bounded lists, or hidden (`daemon.show_owners: false`).
//!
//! Owns: every field of a report that names an owner of jobs or a job.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobGroupReport, NodeReport, TickReport};
use crate::history::{Previous, PreviousGroup};
use scaling::job_names::{JobId, NAMED_MAX, PoolJobs, group_id};
use scaling::limits::Limit;
use scaling::observation::{Demand, Observed, PoolView};
use scaling::plan::Plan;
use scaling::reason::Reason;
use scaling::sorting;
use scaling::sorting::IntoMap;
use scaling::source::SourceKind;
use scaling::submitter::{Submitter, SubmitterLimits, Submitters};

/// In place of a hidden user.
const HIDDEN: &str = "hidden";

/// The source of names for a report.
#[derive(Debug, Clone, Copy)]
pub struct JobSource<'a> {
    pub pool: &'a PoolView,
    /// Jobs of other submitters are other job groups.
    pub limits: &'a SubmitterLimits,
    /// `daemon.show_owners`.
    pub shows_owners: bool,
}

/// An owner of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerJobs {
    pub owner: String,
    /// Waiting jobs of this owner in the job group.
    pub jobs: u64,
}

/// Names of one job group.
#[derive(Default)]
struct GroupNames {
    owners: BTreeMap<String, u64>,
    /// With the name of the schedd, where several are queried.
    ids: BTreeSet<(JobId, Option<String>)>,
}

impl GroupNames {
    fn add(&mut self, demand: &Demand, schedd: Option<&str>) {
        if let Some(owner) = &demand.owner {
            let jobs = self.owners.entry(owner.clone()).or_default();
            *jobs = jobs.saturating_add(demand.jobs);
        }
        for id in demand.job_ids.iter() {
            self.ids.insert((id, schedd.map(str::to_owned)));
            if self.ids.len() > NAMED_MAX {
                self.ids.pop_last();
            }
        }
    }

    /// The owners with the most jobs first, and the number of owners that are not listed.
    fn owners(&self) -> (Vec<OwnerJobs>, u64) {
        let owners = self.owners.iter().map(|(owner, jobs)| OwnerJobs {
            owner: owner.clone(),
            jobs: *jobs,
        });
        let mut owners: Vec<OwnerJobs> = owners.collect();
        sorting::by(&mut owners, |one, two| {
            (two.jobs, &one.owner).cmp(&(one.jobs, &two.owner))
        });
        let others = owners.len().saturating_sub(NAMED_MAX);
        owners.truncate(NAMED_MAX);
        (owners, others as u64)
    }

    fn ids(&self) -> Vec<String> {
        let id = |(id, schedd): &(JobId, Option<String>)| match schedd {
            Some(schedd) => format!("{schedd}#{id}"),
            None => id.to_string(),
        };
        self.ids.iter().map(id).collect()
    }
}

impl JobSource<'_> {
    /// Names owners and jobs in a report.
    pub(super) fn name(&self, report: &mut TickReport) {
        let PoolJobs { query, running } = &self.pool.jobs;
        report.job_query.clone_from(query);
        report.owners_hidden = !self.shows_owners;
        if !self.shows_owners {
            return;
        }
        let names = self.by_group();
        for group in &mut report.groups {
            if let Some(names) = names.get(&group.id) {
                (group.owners, group.other_owners) = names.owners();
                group.job_ids = names.ids();
            }
        }
        for node in &mut report.nodes {
            let machine = node.startd.as_ref().map(|startd| &startd.machine);
            if let Some(jobs) = machine.and_then(|machine| running.get(machine)) {
                node.running_jobs = jobs.named.iter().cloned().collect();
            }
        }
    }

    fn by_group(&self) -> BTreeMap<String, GroupNames> {
        let schedds = self.pool.schedds.iter();
        let several = schedds.len() > 1;
        let mut groups: BTreeMap<String, GroupNames> = BTreeMap::new();
        for (name, schedd) in schedds {
            let Observed::Known(schedd) = schedd else {
                continue;
            };
            for demand in &schedd.demand {
                let id = group_id(&demand.key(), &self.limits.submitters(demand));
                let group = groups.entry(id).or_default();
                group.add(demand, several.then_some(name));
            }
        }
        groups
    }
}

impl JobGroupReport {
    /// Whether one of its jobs is of this owner, as far as the report names owners.
    pub fn has_owner(&self, owner: &str) -> bool {
        self.owners.iter().any(|one| one.owner == owner)
    }

    fn same_reasons(&self, before: &PreviousGroup) -> bool {
        let now = self.why.iter().map(|why| (&why.reason, why.limit()));
        now.eq(before.why.iter().map(|why| (&why.reason, why.limit())))
    }
}

impl NodeReport {
    /// Whether this is the host of a slot (`slot1_2@HOST`), with or without its domain.
    pub fn is_host(&self, host: &str) -> bool {
        let startd = self.startd.as_ref();
        startd.is_some_and(|startd| startd.machine.eq_ignore_ascii_case(host))
    }
}

impl TickReport {
    /// Sets the time since which each job group has had its reasons: that of the report before, if these are equal.
    pub fn keep_since(&mut self, before: Option<&Previous>) {
        let before = before.iter().flat_map(|before| &before.groups);
        let before: BTreeMap<&str, &PreviousGroup> =
            before.map(|group| (group.id.as_str(), group)).into_map();
        let at = self.at;
        for group in &mut self.groups {
            let same = before.get(group.id.as_str());
            let same = same.filter(|before| group.same_reasons(before));
            let since: Option<Timestamp> = same.and_then(|before| before.since);
            group.since = since.filter(|since| *since <= at).or(Some(at));
        }
    }
}

/// The same plan without users and jobs. Accounting groups are names of the configuration, and stay.
pub(super) fn without_owners(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for group in &mut plan.groups {
        group.example = None;
        for submitter in &mut group.submitters.0 {
            hide(submitter);
        }
        for why in &mut group.why {
            hide_in_reason(why);
        }
    }
    let startds = plan
        .nodes
        .iter_mut()
        .filter_map(|node| node.startd.as_mut());
    startds.for_each(|startd| startd.owners.clear());
    for machine in plan.stranded.iter_mut().flat_map(|one| &mut one.machines) {
        machine.example = None;
    }
    if let Some(cost) = &mut plan.cost {
        let is_user = |submitter: &Submitter| matches!(submitter, Submitter::User(_));
        cost.submitters.retain(|submitter, _| !is_user(submitter));
    }
    // The cause has no name in it.
    for unknown in &mut plan.unknown_sources {
        if unknown.source.kind == SourceKind::Jobs {
            HIDDEN.clone_into(&mut unknown.source.name);
        }
    }
    plan
}

fn hide(submitter: &mut Submitter) {
    if let Submitter::User(name) = submitter {
        HIDDEN.clone_into(name);
    }
}

fn hide_in_reason(why: &mut Reason) {
    match why {
        Reason::OwnerBound { owner, .. } => *owner = None,
        // A line of condor_q, which may contain anything.
        Reason::Unread {
            attribute: None,
            problem,
            ..
        } => "condor_q printed lines that ehos cannot read".clone_into(problem),
        Reason::Limited {
            limit,
            other_limits,
            ..
        } => std::iter::once(limit)
            .chain(other_limits)
            .for_each(hide_in_limit),
        _ => {}
    }
}

fn hide_in_limit(limit: &mut Limit) {
    match limit {
        Limit::SubmitterNodesMax { submitter, .. } | Limit::SubmitterCoresMax { submitter, .. } => {
            hide(submitter);
        }
        Limit::BudgetPerHour { submitter, .. } | Limit::BudgetPerMonth { submitter, .. } => {
            submitter.iter_mut().for_each(hide);
        }
        _ => {}
    }
}

/// The id of a group of the plan.
pub(super) fn id_of(group: &scaling::plan::JobGroupEntry) -> String {
    let key = scaling::job_requirements::JobGroupKey {
        request: group.request,
        needs: group.needs.clone(),
    };
    group_id(&key, &group.submitters)
}

/// The submitters that a job of this owner and accounting group may have a limit of, as every subset that a job group can have.
pub fn possible_submitters(owner: Option<&str>, accounting_group: Option<&str>) -> Vec<Submitters> {
    let user = owner.map(|owner| Submitter::User(owner.to_owned()));
    let groups = accounting_group.filter(|group| !group.is_empty());
    let groups = groups
        .into_iter()
        .flat_map(scaling::job_requirements::with_parents)
        .map(|group| Submitter::AccountingGroup(group.to_owned()));
    // Nobody has a deeper tree of accounting groups.
    let all: Vec<Submitter> = user.into_iter().chain(groups).take(8).collect();
    let subset = |bits: usize| {
        let chosen = all.iter().enumerate();
        let chosen = chosen.filter(|(place, _)| bits & (1 << place) != 0);
        Submitters(chosen.map(|(_, one)| one.clone()).collect())
    };
    (0..1 << all.len()).map(subset).collect()
}
