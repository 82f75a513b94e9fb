//! Asks the schedd for the jobs, and the tick report for their job groups.

use std::time::Duration;

use jiff::Timestamp;

use super::answer::{JobAnswer, JobCondition, Kind};
use super::queue::Queue;
use condor::Tools;
use condor::job::{Job, JobQueue, JobState, Which};
use config::ForReader;
use report::TickReport;
use report::explain::{self, JobNode, LISTED_MAX, TickAnswer};
use report::history::life::Life;
use scaling::job_names::{JobId, JobQuery};
use scaling::sorting;
use simulation::World;
use system::deadline::Deadline;

/// The time for all queries together, and for one of them.
const LIMIT: Duration = Duration::from_secs(60);
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A question about jobs.
pub(super) struct Inquiry<'s> {
    queue: Queue,
    report: Option<&'s TickReport>,
    life_of: LifeOf<'s>,
}

/// The history of a node by its host name, if there is one.
pub(super) type LifeOf<'s> = Box<dyn Fn(&str) -> Option<Life> + 's>;

impl<'s> Inquiry<'s> {
    /// A question about the jobs of a schedd (`None`: this machine's), or about those of a simulated world.
    pub fn new(
        settings: ForReader,
        schedd: Option<&str>,
        world: Option<World>,
        report: Option<&'s TickReport>,
        life_of: LifeOf<'s>,
    ) -> Inquiry<'s> {
        let tools = Tools::new(settings.condor_bin, CALL_LIMIT);
        // A schedd of this machine is asked without the collector.
        let pool = settings.condor_pool.filter(|_| schedd.is_some());
        Inquiry {
            queue: match world {
                Some(world) => Queue::Simulated(Box::new(world)),
                None => Queue::Schedd(JobQueue::new(tools.of_pool(pool.as_deref()), schedd)),
            },
            report,
            life_of,
        }
    }

    /// The answer; `None` where neither queue nor history has such a job.
    ///
    /// # Errors
    /// HTCondor's tools.
    pub fn answer(&self, which: &Which, now: Timestamp) -> anyhow::Result<Option<JobAnswer>> {
        let answer = match which {
            Which::Job(id) => self.one(which, *id, now)?,
            Which::Cluster(cluster) => {
                let mut answer = JobAnswer::new(cluster.to_string(), Kind::Cluster);
                self.several(which, &mut answer, now)?.then_some(answer)
            }
            Which::Owner(owner) => {
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

    fn one(&self, which: &Which, id: JobId, now: Timestamp) -> anyhow::Result<Option<JobAnswer>> {
        let deadline = Deadline::within(LIMIT);
        let mut answer = JobAnswer::new(id.to_string(), Kind::Job);
        let Some(job) = self.queue.job(id, deadline)? else {
            return Ok(None);
        };
        answer.learn(&job);
        match job.state {
            JobState::Idle => {
                let (demand, _) = self.queue.waiting(which, &self.query(), now, deadline)?;
                self.place(&demand, job.entered.max(job.queued), &mut answer);
                if demand.is_empty() {
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
        let (demand, jobs) = self.queue.waiting(which, &self.query(), now, deadline)?;
        answer.jobs = jobs;
        self.place(&demand, None, answer);
        if jobs.running > 0 {
            let hosts = self.queue.running(which, deadline)?;
            let mut hosts: Vec<(u64, String)> =
                hosts.into_iter().map(|(host, jobs)| (jobs, host)).collect();
            sorting::by(&mut hosts, |one, two| (two.0, &one.1).cmp(&(one.0, &two.1)));
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
        let since = since.and_then(|since| Timestamp::from_second(since).ok());
        (answer.groups, answer.other_groups) = explain::groups(demand, self.report, since);
        if let Some(report) = self.report {
            answer.starting = explain::starting(&answer.groups, report);
        }
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

    /// A node that is gone: the history has its flavor and size, or else another node of that flavor has its size.
    fn find_gone(&self, node: &mut JobNode) {
        let Some(life) = (self.life_of)(&node.host) else {
            return;
        };
        // A history of an older ehos has no sizes.
        let size_of_same = || {
            let mut nodes = self.report?.nodes.iter();
            let same = nodes.find(|one| {
                one.cloud == life.cloud && one.flavor == life.flavor && one.server.vcpus.is_some()
            })?;
            let memory = same.startd.as_ref().map(|startd| startd.memory_mb);
            Some((same.server.vcpus?, memory))
        };
        let size = life.vcpus.map(|cores| (cores, life.memory_mb));
        node.size = size.or_else(size_of_same);
        node.per_hour = life.per_hour;
        node.cloud = Some(life.cloud);
        node.flavor = Some(life.flavor);
        node.node = Some(life.node);
    }
}
