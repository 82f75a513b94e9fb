//! Asks the schedd for the jobs, and the tick report for their job groups.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use log::debug;

use super::answer::{JobAnswer, JobCondition, Kind};
use condor::Tools;
use condor::job::{Job, JobQueue, JobState, Which};
use config::ForReader;
use report::TickReport;
use report::explain::{self, JobNode, LISTED_MAX, TickAnswer};
use report::history::search::{Found, search};
use scaling::job_names::JobQuery;
use scaling::observation::Resources;
use system::deadline::Deadline;

/// The time for all queries together, and for one of them.
const LIMIT: Duration = Duration::from_secs(60);
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A question about jobs.
pub(super) struct Inquiry<'s> {
    queue: JobQueue,
    report: Option<&'s TickReport>,
    history: Option<&'s Path>,
}

impl<'s> Inquiry<'s> {
    pub fn new(
        settings: ForReader,
        schedd: Option<&str>,
        report: Result<&'s TickReport, &String>,
        history: Option<&'s Path>,
    ) -> Inquiry<'s> {
        let tools = Tools::new(settings.condor_bin, CALL_LIMIT);
        // A schedd of this machine is asked without the collector.
        let pool = settings.condor_pool.filter(|_| schedd.is_some());
        Inquiry {
            queue: JobQueue::new(tools.of_pool(pool.as_deref()), schedd),
            report: report.ok(),
            history,
        }
    }

    /// The answer; `None` where neither queue nor history has such a job.
    ///
    /// # Errors
    /// HTCondor's tools.
    pub fn answer(&self, which: &Which, now: Timestamp) -> anyhow::Result<Option<JobAnswer>> {
        let simulated = self.report.filter(|report| report.simulated);
        let answer = match (simulated, which) {
            (Some(report), which) => simulated_answer(report, which),
            (None, Which::Job(id)) => self.one(which, *id, now)?,
            (None, Which::Cluster(cluster)) => {
                let mut answer = JobAnswer::new(cluster.to_string(), Kind::Cluster);
                self.several(which, &mut answer, now)?.then_some(answer)
            }
            (None, Which::Owner(owner)) => {
                let mut answer = JobAnswer::new(owner.clone(), Kind::User);
                answer.owner = Some(owner.clone());
                self.several(which, &mut answer, now)?.then_some(answer)
            }
        };
        Ok(answer.map(|answer| JobAnswer {
            tick: self.report.map(|report| TickAnswer::of(report, now)),
            ..answer
        }))
    }

    fn one(
        &self,
        which: &Which,
        id: scaling::job_names::JobId,
        now: Timestamp,
    ) -> anyhow::Result<Option<JobAnswer>> {
        let deadline = Deadline::within(LIMIT);
        let mut answer = JobAnswer::new(id.to_string(), Kind::Job);
        let job = match self.queue.job(id, deadline)? {
            Some(job) => job,
            None => match self.queue.finished(id, deadline)? {
                Some(job) => job,
                None => return Ok(None),
            },
        };
        answer.learn(&job);
        match job.state {
            JobState::Idle => {
                let waiting = self.queue.waiting(which, &self.query(), now, deadline)?;
                self.place(&waiting.demand, job.entered.max(job.queued), &mut answer);
                if waiting.demand.is_empty() {
                    answer.advice.push(self.not_counted(&job));
                }
            }
            JobState::Running | JobState::Removed | JobState::Completed => {
                self.add_node(&job, &mut answer);
            }
            JobState::Held | JobState::Unknown => {}
        }
        Ok(Some(answer))
    }

    fn not_counted(&self, job: &Job) -> String {
        let query = self.query();
        let universe = u32::try_from(job.universe).unwrap_or(0);
        if query.universes.contains(&universe) {
            "ask the administrator about condor.job_constraint: ehos does not count this job"
                .to_owned()
        } else {
            format!(
                "submit to the vanilla universe, or ask the administrator to add {universe} to condor.universes: ehos creates no \
                 node for jobs of this universe"
            )
        }
    }

    /// Fills in several jobs; whether there are any.
    fn several(
        &self,
        which: &Which,
        answer: &mut JobAnswer,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let deadline = Deadline::within(LIMIT);
        let waiting = self.queue.waiting(which, &self.query(), now, deadline)?;
        answer.jobs = waiting.jobs;
        self.place(&waiting.demand, None, answer);
        let jobs = waiting.jobs;
        if jobs.running > 0 {
            let hosts = self.queue.running(which, deadline)?;
            let mut hosts: Vec<(u64, String)> =
                hosts.into_iter().map(|(host, jobs)| (jobs, host)).collect();
            hosts.sort_by(|one, two| (two.0, &one.1).cmp(&(one.0, &two.1)));
            answer.other_nodes = hosts.len().saturating_sub(LISTED_MAX);
            hosts.truncate(LISTED_MAX);
            let node = |(jobs, host): &(u64, String)| JobNode::of(host, *jobs, self.report);
            answer.nodes = hosts.iter().map(node).collect();
        }
        if jobs.held > 0 {
            answer.advice.push(format!(
                "show why jobs are held: condor_q -hold {}",
                answer.asked
            ));
        }
        Ok(jobs.idle + jobs.running + jobs.held > 0)
    }

    /// Finds the job groups in the last tick.
    fn place(
        &self,
        demand: &[scaling::observation::Demand],
        since: Option<i64>,
        answer: &mut JobAnswer,
    ) {
        let empty = TickReport::default();
        let report = self.report.unwrap_or(&empty);
        let since = since.and_then(|since| Timestamp::from_second(since).ok());
        (answer.groups, answer.other_groups) = explain::groups(demand, report, since);
        answer.starting = explain::starting(&answer.groups, report);
    }

    /// How the last tick queried idle jobs.
    fn query(&self) -> JobQuery {
        let known = self.report.and_then(|report| report.job_query.clone());
        known.unwrap_or_else(|| JobQuery {
            universes: vec![5],
            match_requirements: true,
            ..JobQuery::default()
        })
    }

    fn add_node(&self, job: &Job, answer: &mut JobAnswer) {
        let Some(host) = job.host() else { return };
        let mut node = JobNode::of(host, 1, self.report);
        if node.node.is_none() {
            self.find_gone(&mut node);
        }
        let is_over = answer.condition.is_some_and(|condition| {
            matches!(condition, JobCondition::Removed | JobCondition::Completed)
        });
        if is_over && job.wall_seconds > 0 {
            answer.cost = node.share(job.cpus.unwrap_or(1), job.memory_mb, job.wall_seconds);
        }
        answer.nodes.push(node);
    }

    /// A node that is gone: the history has its flavor, and another node of that flavor its size.
    fn find_gone(&self, node: &mut JobNode) {
        let (Some(folder), Some(report)) = (self.history, self.report) else {
            return;
        };
        let found = match search(folder, report, &node.host) {
            Ok((Found::Node { node, records }, _)) => (node, records),
            Ok((Found::Nothing { .. }, _)) => return,
            Err(error) => return debug!("{}: {error}", folder.display()),
        };
        let (id, records) = found;
        let events = records.iter().rev().flat_map(|record| &record.events);
        if let Some(event) = events.into_iter().find(|event| event.node == id) {
            node.node = Some(id);
            node.cloud = Some(event.cloud.clone());
            node.flavor = Some(event.flavor.clone());
            node.per_hour = event.per_hour;
            let same = report.nodes.iter().find(|one| {
                one.cloud == event.cloud && one.flavor == event.flavor && one.server.vcpus.is_some()
            });
            node.size = same.and_then(|one| {
                let memory = one.startd.as_ref().map(|startd| startd.memory_mb);
                Some((one.server.vcpus?, memory))
            });
        }
    }
}

/// A simulated site has no schedd to ask: the lists of the report answer.
fn simulated_answer(report: &TickReport, which: &Which) -> Option<JobAnswer> {
    let Which::Job(id) = which else { return None };
    let id = id.to_string();
    let mut answer = JobAnswer::new(id.clone(), Kind::Job);
    let running = report.nodes.iter().find(|node| {
        let mut jobs = node.running_jobs.iter();
        jobs.any(|job| job.job == id)
    });
    if let Some(node) = running {
        answer.condition = Some(JobCondition::Running);
        answer.jobs.running = 1;
        let host = node.startd.as_ref().map_or("", |startd| &startd.machine);
        answer.nodes.push(JobNode::of(host, 1, Some(report)));
        return Some(answer);
    }
    let group = report
        .groups
        .iter()
        .find(|group| group.job_ids.contains(&id))?;
    answer.condition = Some(JobCondition::Idle);
    answer.jobs.idle = 1;
    let demand = scaling::observation::Demand {
        request: Resources { ..group.request },
        needs: scaling::job_requirements::RequirementsDigest(group.needs.clone()),
        jobs: 1,
        waiting: Duration::from_secs(group.waiting_seconds),
        example: Some(id),
        ..Default::default()
    };
    (answer.groups, _) = explain::groups(&[demand], report, None);
    answer.starting = explain::starting(&answer.groups, report);
    Some(answer)
}
