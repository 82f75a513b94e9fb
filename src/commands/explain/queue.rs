//! The queue of jobs: that of HTCondor's schedd, or that of a simulated site.

use std::collections::BTreeMap;

use jiff::Timestamp;

use condor::job::{Job, JobQueue, JobState, Which};
use scaling::job_names::{JobId, JobQuery};
use scaling::observation::{Demand, JobCounts};
use simulation::{SimulatedJob, World};
use system::deadline::Deadline;

/// The queue that answers.
pub(super) enum Queue {
    Schedd(JobQueue),
    Simulated(Box<World>),
}

impl Queue {
    /// The job, in the queue or finished.
    ///
    /// # Errors
    /// A tool of HTCondor could not be run, failed, or took too long.
    pub fn job(&self, id: JobId, deadline: Deadline) -> Result<Option<Job>, condor::Error> {
        match self {
            Queue::Schedd(queue) => match queue.job(id, deadline)? {
                Some(job) => Ok(Some(job)),
                None => queue.finished(id, deadline),
            },
            Queue::Simulated(world) => Ok(world.job(id).map(|job| simulated(world, id, job))),
        }
    }

    /// Idle jobs, and the numbers of all jobs in question.
    ///
    /// # Errors
    /// As for [`Queue::job`].
    pub fn waiting(
        &self,
        which: &Which,
        query: &JobQuery,
        at: Timestamp,
        deadline: Deadline,
    ) -> Result<(Vec<Demand>, JobCounts), condor::Error> {
        match self {
            Queue::Schedd(queue) => {
                let waiting = queue.waiting(which, query, at, deadline)?;
                Ok((waiting.demand, waiting.jobs))
            }
            Queue::Simulated(world) => Ok(world.queue(|id, job| is_one_of(which, id, job))),
        }
    }

    /// Numbers of running jobs by host.
    ///
    /// # Errors
    /// As for [`Queue::job`].
    pub fn running(
        &self,
        which: &Which,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, u64>, condor::Error> {
        match self {
            Queue::Schedd(queue) => queue.running(which, deadline),
            Queue::Simulated(world) => Ok(world.hosts(|id, job| is_one_of(which, id, job))),
        }
    }
}

fn is_one_of(which: &Which, id: JobId, job: &SimulatedJob) -> bool {
    match which {
        Which::Job(asked) => *asked == id,
        Which::Cluster(cluster) => *cluster == id.cluster,
        Which::Owner(owner) => *owner == job.owner,
    }
}

fn simulated(world: &World, id: JobId, job: &SimulatedJob) -> Job {
    let time = |at: u64| world.unix_time(at);
    let run = job.run(world.now);
    let (state, entered) = match job.state {
        simulation::JobState::Idle(since) => (JobState::Idle, since),
        simulation::JobState::Running { since, .. } => (JobState::Running, since),
        simulation::JobState::Done(at) => (JobState::Completed, at),
    };
    let last = run.map_or(0, |(from, to)| to.saturating_sub(from));
    Job {
        id,
        state,
        owner: job.owner(),
        accounting_group: None,
        universe: 5,
        queued: Some(time(job.submitted)),
        entered: Some(time(entered)),
        started: run.map(|(from, _)| time(from)),
        ended: (state == JobState::Completed).then(|| time(entered)),
        slot: job
            .last_run
            .as_ref()
            .map(|(machine, _)| format!("slot1_1@{machine}")),
        reason: None,
        wall_seconds: job.lost_seconds.saturating_add(last),
        starts: job.starts.into(),
        cpus: Some(job.request.cpus),
        memory_mb: Some(job.request.memory_mb),
    }
}
