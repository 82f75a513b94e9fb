//! A workload: the jobs that users submit to a pool, in the order of their submission.
//!
//! Owns: the shape that all readers produce, and the count of the records that a reader could not use.
//! Must not: know where a workload comes from; the readers are the modules below.

#![warn(missing_docs)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use scaling::observation::Resources;
use serde::Serialize;

/// Seconds since the start of a workload.
pub type Seconds = u32;

/// A job that is never removed while it is idle.
pub const NEVER: Seconds = Seconds::MAX;

/// One job. A workload has millions of them, so a job is 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Time of its submission (`QDate`).
    pub submitted: Seconds,
    /// Time that it runs on a core of the site, at least one second.
    pub runs: Seconds,
    /// Time at which its user removes it if it is still idle then; [`NEVER`] for most jobs.
    pub removed: Seconds,
    /// Its place in [`Workload::classes`].
    pub class: u32,
}

/// The properties that jobs of one class share.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct JobClass {
    /// The user that submits them (`Owner`).
    pub owner: String,
    /// Their accounting group (`AcctGroup`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounting_group: Option<String>,
    /// The request of each (`RequestCpus`, `RequestMemory` …), as [`Resources::rounded`] has it.
    pub request: Resources,
}

/// Jobs in the order of their submission, and what the reader says of its input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// The time of second 0; `None` where the input has no calendar time.
    pub start: Option<Timestamp>,
    /// The jobs, by `submitted`.
    pub jobs: Vec<Job>,
    /// The classes of the jobs.
    pub classes: Vec<JobClass>,
    /// Records of the input that became no job, or not the whole job.
    pub notes: Notes,
}

/// What a reader has to say of its input. Nothing is dropped without a count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Records of the input.
    pub records: u64,
    /// Records by what is odd about them, in plain words ("ends before it starts", "no RequestMemory: 128 MB assumed").
    pub counts: BTreeMap<String, Count>,
}

/// Records that are odd in the same way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many there are.
    pub records: u64,
    /// The first of them: its line, or its job id.
    pub example: String,
}

impl Notes {
    /// Counts a record that is odd in this way.
    pub fn count(&mut self, what: &str, example: impl FnOnce() -> String) {
        match self.counts.get_mut(what) {
            Some(count) => count.records += 1,
            None => {
                let count = Count {
                    records: 1,
                    example: example(),
                };
                self.counts.insert(what.to_owned(), count);
            }
        }
    }
}

/// Builds a workload from jobs in any order.
#[derive(Debug, Default)]
pub struct Builder {
    jobs: Vec<(i64, Job)>,
    classes: BTreeMap<JobClass, u32>,
    /// What the reader has to say of its input.
    pub notes: Notes,
}

impl Builder {
    /// Adds a job that was submitted at this second of any epoch, and, where its user removed it while it was idle, the second
    /// of that.
    pub fn add(&mut self, submitted: i64, runs: Seconds, removed: Option<i64>, class: &JobClass) {
        let next = u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        let class = match self.classes.get(class) {
            Some(class) => *class,
            None => *self.classes.entry(class.clone()).or_insert(next),
        };
        let waits = removed.map_or(NEVER, |removed| within(removed.saturating_sub(submitted)));
        let job = Job {
            submitted: 0,
            runs: runs.max(1),
            removed: waits,
            class,
        };
        self.jobs.push((submitted, job));
    }

    /// The workload. Its second 0 is the first submission; `calendar`: seconds are of the Unix epoch.
    pub fn build(self, calendar: bool) -> Workload {
        let mut jobs = self.jobs;
        // Stable: jobs of one second keep the order of the input.
        jobs.sort_by_key(|(submitted, _)| *submitted);
        let first = jobs.first().map_or(0, |(submitted, _)| *submitted);
        let jobs = jobs.into_iter().map(|(submitted, job)| {
            let submitted = within(submitted.saturating_sub(first));
            let removed = match job.removed {
                NEVER => NEVER,
                waits => submitted.saturating_add(waits).min(NEVER - 1),
            };
            Job {
                submitted,
                removed,
                ..job
            }
        });
        let mut classes: Vec<(JobClass, u32)> = self.classes.into_iter().collect();
        classes.sort_by_key(|(_, number)| *number);
        Workload {
            start: calendar
                .then(|| Timestamp::from_second(first).ok())
                .flatten(),
            jobs: jobs.collect(),
            classes: classes.into_iter().map(|(class, _)| class).collect(),
            notes: self.notes,
        }
    }
}

/// A time within the range of [`Seconds`], which is 136 years.
fn within(seconds: i64) -> Seconds {
    Seconds::try_from(seconds.max(0))
        .unwrap_or(NEVER - 1)
        .min(NEVER - 1)
}

impl Workload {
    /// The class of a job.
    pub fn class(&self, job: &Job) -> Option<&JobClass> {
        self.classes.get(job.class as usize)
    }

    /// Core-seconds that its jobs use: cores of each request times the time that the job runs.
    pub fn core_seconds(&self) -> u64 {
        let cores: Vec<u64> = self
            .classes
            .iter()
            .map(|class| class.request.cpus)
            .collect();
        let of = |job: &Job| cores.get(job.class as usize).copied().unwrap_or_default();
        self.jobs
            .iter()
            .map(|job| of(job) * u64::from(job.runs))
            .sum()
    }
}
