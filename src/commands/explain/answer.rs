//! The answer about jobs, as programs read it (docs/json.md).

use jiff::Timestamp;
use serde::Serialize;

use condor::job::{Job, JobState};
use report::explain::{JobGroupAnswer, JobNode, StartingNode, TickAnswer};
use scaling::money::Money;
use scaling::observation::JobCounts;

/// The version of the JSON layout: raised when a field changes its meaning or is removed.
pub const VERSION: u32 = 1;

scaling::names! {
    /// The kind of the question.
    pub enum Kind {
        Job = "job",
        Cluster = "cluster",
        User = "user",
    }
}

impl Kind {
    pub fn label(self) -> &'static str {
        match self {
            Kind::Job => "job      ",
            Kind::Cluster => "cluster  ",
            Kind::User => "user     ",
        }
    }
}

scaling::names! {
    /// The state of one job.
    pub enum JobCondition {
        Idle = "idle",
        Running = "running",
        Held = "held",
        Removed = "removed",
        Completed = "completed",
        Unknown = "unknown",
    }
}

impl From<JobState> for JobCondition {
    fn from(state: JobState) -> JobCondition {
        match state {
            JobState::Idle => JobCondition::Idle,
            JobState::Running => JobCondition::Running,
            JobState::Removed => JobCondition::Removed,
            JobState::Completed => JobCondition::Completed,
            JobState::Held => JobCondition::Held,
            JobState::Unknown => JobCondition::Unknown,
        }
    }
}

/// The answer about jobs.
#[derive(Debug, Clone, Serialize)]
pub struct JobAnswer {
    pub version: u32,
    pub asked: String,
    pub kind: Kind,
    /// The state of a single job.
    pub condition: Option<JobCondition>,
    pub owner: Option<String>,
    /// The time since which it has been in this state.
    pub since: Option<Timestamp>,
    /// HoldReason or RemoveReason.
    pub condor_reason: Option<String>,
    /// From submit to the start of its last run.
    pub waited_seconds: Option<u64>,
    pub ran_seconds: Option<u64>,
    /// The share of a finished job in the cost of its node, about.
    pub cost: Option<Money>,
    /// The jobs in question that are in the queue.
    pub jobs: JobCounts,
    /// The job groups of those that wait.
    pub groups: Vec<JobGroupAnswer>,
    /// Job groups that are not listed.
    pub other_groups: usize,
    /// Nodes that start, if jobs wait for some.
    pub starting: Vec<StartingNode>,
    /// The nodes of those that run; of a finished job, its last one.
    pub nodes: Vec<JobNode>,
    /// Hosts that are not listed.
    pub other_nodes: usize,
    /// What would help, besides the advice of each job group.
    pub advice: Vec<String>,
    /// The last tick; null if it cannot be read.
    pub tick: Option<TickAnswer>,
}

impl JobAnswer {
    pub fn new(asked: String, kind: Kind) -> JobAnswer {
        JobAnswer {
            version: VERSION,
            asked,
            kind,
            condition: None,
            owner: None,
            since: None,
            condor_reason: None,
            waited_seconds: None,
            ran_seconds: None,
            cost: None,
            jobs: JobCounts::default(),
            groups: Vec::new(),
            other_groups: 0,
            starting: Vec::new(),
            nodes: Vec::new(),
            other_nodes: 0,
            advice: Vec::new(),
            tick: None,
        }
    }

    /// Adds what the ad of a single job says.
    pub fn learn(&mut self, job: &Job) {
        let time = |seconds: Option<i64>| Timestamp::from_second(seconds?).ok();
        let between =
            |from: Option<i64>, to: Option<i64>| u64::try_from(to?.saturating_sub(from?)).ok();
        self.condition = Some(job.state.into());
        self.owner.clone_from(&job.owner);
        self.condor_reason.clone_from(&job.reason);
        self.since = time(match job.state {
            JobState::Running => job.started.or(job.entered),
            JobState::Removed | JobState::Completed => job.ended,
            _ => job.entered,
        });
        let id = job.id;
        match job.state {
            JobState::Idle => self.jobs.idle = 1,
            JobState::Running => self.jobs.running = 1,
            JobState::Held => self.jobs.held = 1,
            _ => {}
        }
        let has_started = !matches!(job.state, JobState::Idle | JobState::Held);
        if has_started && job.started.is_some() {
            self.waited_seconds = between(job.queued, job.started);
        }
        if matches!(job.state, JobState::Removed | JobState::Completed) && job.wall_seconds > 0 {
            self.ran_seconds = Some(job.wall_seconds);
        }
        match job.state {
            JobState::Held => self.advice.push(format!(
                "correct the cause, then release the job: condor_release {id}"
            )),
            JobState::Idle if job.starts > 0 => self.advice.push(format!(
                "check why its {} earlier starts ended: condor_q -long {id}, and the job's log",
                job.starts
            )),
            _ => {}
        }
    }
}
