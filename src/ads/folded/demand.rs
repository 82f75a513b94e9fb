//! The demand of jobs that were read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ending::Shape;
use super::{Folded, ONE_CORE, beyond};
use crate::concurrency_limits::concurrency_limits;
use scaling::idle_time::{Clocks, Waiting};
use scaling::job_names::JobIds;
use scaling::job_requirements::{JobFault, RequirementsDigest};
use scaling::observation::{Demand, Resources};

impl Folded {
    /// The demand as of these clocks; `unread` more jobs are in the queue than could be read.
    pub fn demand(&self, clocks: Clocks<'_>, unread: u64) -> Vec<Demand> {
        let mut demand: Vec<Demand> = Vec::new();
        // Deferred jobs of a minute are one, though each may have a time of its own.
        let mut minutes: BTreeMap<_, usize> = BTreeMap::new();
        for (&(request, place), idle) in &self.jobs {
            let waiting = idle.times.waiting(clocks);
            let shape = self.shapes.get(place).cloned().unwrap_or_default();
            let (deferral, limits) = (shape.deferral, shape.concurrency_limits.clone());
            let mut one = one_demand(request, shape, waiting, clocks.schedd);
            one.example = idle.ids.first().map(|id| id.to_string());
            one.job_ids.clone_from(&idle.ids);
            if deferral.is_none() {
                demand.push(one);
                continue;
            }
            let minute = one.deferred.map(|time| time.as_secs() / 60);
            let key = (
                (request, one.needs.clone(), minute),
                (limits, one.accounting_group.clone()),
                one.owner.clone(),
            );
            let known = minutes.get(&key).and_then(|place| demand.get_mut(*place));
            match known {
                Some(known) => {
                    known.jobs = known.jobs.saturating_add(one.jobs);
                    known.young = known.young.saturating_add(one.young);
                    known.waiting = known.waiting.max(one.waiting);
                    known.deferred = known.deferred.min(one.deferred);
                    known.job_ids.extend(one.job_ids.iter());
                }
                None => {
                    minutes.insert(key, demand.len());
                    demand.push(one);
                }
            }
        }
        for ((owner, bound), jobs) in &self.unread {
            let shape = beyond(owner.clone(), *bound);
            let waiting = Waiting {
                jobs: *jobs,
                ..Waiting::default()
            };
            demand.push(one_demand(ONE_CORE, shape, waiting, clocks.schedd));
        }
        if unread > 0 {
            let problem = match self.torn_example.as_str() {
                "" => "condor_q did not list them".to_owned(),
                torn => format!("condor_q printed a line with other columns: {torn}"),
            };
            demand.push(Demand {
                request: ONE_CORE,
                jobs: unread,
                needs: RequirementsDigest::unread("line"),
                fault: Some(JobFault::Unread {
                    attribute: None,
                    problem,
                }),
                ..Demand::default()
            });
        }
        demand
    }
}

fn one_demand(request: Resources, shape: Shape, waiting: Waiting, now: i64) -> Demand {
    let since =
        |then: i64| Duration::from_secs(u64::try_from(now.saturating_sub(then)).unwrap_or(0));
    let mut one = Demand {
        request,
        needs: shape.needs,
        jobs: waiting.jobs.saturating_mul(shape.nodes.max(1)),
        young: waiting.young.saturating_mul(shape.nodes.max(1)),
        waiting: waiting.longest,
        example: None,
        job_ids: JobIds::default(),
        owner: shape.owner,
        starts: shape.starts,
        concurrency_limits: concurrency_limits(&shape.concurrency_limits),
        accounting_group: shape.accounting_group,
        fault: shape.fault,
        deferred: None,
    };
    if let Some((begins, ends)) = shape.deferral {
        // Before that time no negotiator has looked at them.
        one.waiting = one.waiting.min(since(begins));
        if now >= ends && one.fault.is_none() {
            one.fault = Some(JobFault::Missed);
            one.needs = RequirementsDigest::unread("missed");
        } else if begins > now {
            one.deferred = Some(Duration::from_secs(begins.abs_diff(now)));
        }
    }
    one
}
