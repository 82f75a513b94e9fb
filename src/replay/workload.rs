//! A workload: the jobs that users submit to a pool, in the order of their submission.
//!
//! Owns: the shape that all readers produce, and the count of the records that a reader could not use.
//! Must not: know where a workload comes from; the readers are the modules below.

#![warn(missing_docs)]

mod ad;
mod condor_json;
mod condor_long;
mod csv;
mod distribution;
mod ehos_history;
mod error;
mod event_log;
mod format;
mod generator;
mod input;
mod known;
mod read;
mod requirements;
mod swf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use scaling::observation::Resources;
use scaling::sorting;
use scaling::sorting::{IntoMap, IntoSet};
use serde::Serialize;

pub use ad::attribute_names;
pub use csv::write as write_csv;
pub use error::WorkloadError;
pub use format::Format;
pub use generator::{KINDS as GENERATORS, is_generator};
pub use read::{ReadOptions, read, read_from};

/// Seconds since the start of a workload.
pub type Seconds = u32;

/// A job that is never removed while it is idle.
pub const NEVER: Seconds = Seconds::MAX;

/// Most jobs of a workload: 480 MB while it is read.
pub const JOBS_MAX: usize = 20_000_000;

/// Most classes of a workload. A job of a further class shares one with similar jobs of all owners.
const CLASSES_MAX: usize = 100_000;

/// Longest run time. Longer ones are errors of a clock.
pub(crate) const RUNS_MAX: i64 = 366 * 86_400;

/// Largest distance of a submission from the median one. Larger ones are errors of a clock.
const DISTANCE_MAX: i64 = 10 * 366 * 86_400;

/// Larger requests are errors of a record: 2^20 cores or GPUs, and 1 PiB of memory (MiB) or disk (KiB).
const REQUEST_MAX: Resources = Resources {
    cpus: 1 << 20,
    memory_mb: 1 << 30,
    disk_kb: 1 << 40,
    gpus: 1 << 20,
};

/// Longest name of an owner, of an accounting group or of an attribute.
const NAME_MAX: usize = 200;

/// Most attributes of Requirements that are told apart.
const ATTRIBUTES_MAX: usize = 1000;

/// Run time of jobs that never started, where no other job of the workload did either.
const RUNS_ASSUMED: Seconds = 3600;

/// Marks a run time in [`Builder::jobs`] that is not known.
const UNKNOWN: Seconds = 0;

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
    /// Records that became no job. Each is in `counts`, too.
    pub left_out: u64,
    /// Jobs beyond one for each record: parts of parallel jobs that were split.
    pub added: u64,
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
    /// Counts a record that could not be read as one.
    pub(crate) fn lose(&mut self, what: &str, example: impl FnOnce() -> String) {
        self.records += 1;
        self.leave_out(what, example);
    }

    /// Counts a record that became no job, and the cause.
    pub fn leave_out(&mut self, what: &str, example: impl FnOnce() -> String) {
        self.left_out += 1;
        self.count(what, example);
    }

    /// Counts a record that is odd in this way.
    pub fn count(&mut self, what: &str, example: impl FnOnce() -> String) {
        self.count_many(what, 1, example);
    }

    /// Counts records that are odd in the same way.
    pub fn count_many(&mut self, what: &str, records: u64, example: impl FnOnce() -> String) {
        match self.counts.get_mut(what) {
            Some(count) => count.records += records,
            None => {
                let example = example();
                let count = Count { records, example };
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
    /// Jobs whose Requirements name this attribute, and the first of them.
    requirements: BTreeMap<String, Count>,
    /// What the reader has to say of its input.
    pub notes: Notes,
}

impl Builder {
    /// Adds a job that was submitted at this second of any epoch, and, where its user removed it while it was idle, the second
    /// of that.
    pub fn add(&mut self, submitted: i64, runs: Seconds, removed: Option<i64>, class: &JobClass) {
        self.push(submitted, runs.max(1), removed, class);
    }

    /// Adds a job that never started, so that its run time is unknown. It gets the median of its class.
    pub fn add_unstarted(&mut self, submitted: i64, removed: Option<i64>, class: &JobClass) {
        let what = "never started: the median run time of similar jobs is assumed";
        self.notes.count(what, || class.owner.clone());
        self.push(submitted, UNKNOWN, removed, class);
    }

    fn push(&mut self, submitted: i64, runs: Seconds, removed: Option<i64>, class: &JobClass) {
        if self.jobs.len() >= JOBS_MAX {
            let what = format!("more than {JOBS_MAX} jobs: left out");
            self.notes.leave_out(&what, || class.owner.clone());
            return;
        }
        let class = match self.classes.get(class) {
            Some(number) => *number,
            None if !class.request.fits(&REQUEST_MAX) => {
                let what = "requests more than 1048576 cores or GPUs, or 1 PiB: left out";
                return self.notes.leave_out(what, || class.owner.clone());
            }
            None => self.new_class(class),
        };
        let waits = removed.map_or(NEVER, |removed| within(removed.saturating_sub(submitted)));
        let job = Job {
            submitted: 0,
            runs,
            removed: waits,
            class,
        };
        self.jobs.push((submitted, job));
    }

    fn new_class(&mut self, class: &JobClass) -> u32 {
        let next = u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        if self.classes.len() < CLASSES_MAX {
            let class = JobClass {
                owner: name(&class.owner),
                accounting_group: class.accounting_group.as_deref().map(name),
                request: class.request,
            };
            return *self.classes.entry(class).or_insert(next);
        }
        let what = format!(
            "more than {CLASSES_MAX} combinations of owner and request: the request is rounded up to powers of two"
        );
        self.notes.count(&what, || class.owner.clone());
        let power = |amount: u64| amount.checked_next_power_of_two().unwrap_or(amount);
        let request = class.request;
        let coarse = JobClass {
            owner: "(others)".to_owned(),
            accounting_group: None,
            request: Resources {
                cpus: power(request.cpus),
                memory_mb: power(request.memory_mb),
                disk_kb: power(request.disk_kb),
                gpus: match request.gpus {
                    0 => 0,
                    gpus => power(gpus),
                },
            },
        };
        *self.classes.entry(coarse).or_insert(next)
    }

    /// Counts a job whose Requirements name an attribute besides those of size.
    pub(crate) fn requires(&mut self, attribute: &str, example: impl FnOnce() -> String) {
        let attribute = match self.requirements.len() {
            ATTRIBUTES_MAX.. if !self.requirements.contains_key(attribute) => "others".to_owned(),
            _ => name(attribute),
        };
        let count = self.requirements.entry(attribute);
        count
            .or_insert_with(|| Count {
                records: 0,
                example: example(),
            })
            .records += 1;
    }

    fn note_requirements(&mut self) {
        let jobs = self.requirements.values().map(|count| count.records).sum();
        let most = self
            .requirements
            .iter()
            .max_by_key(|(_, count)| count.records);
        if let Some((attribute, count)) = most {
            let what = format!(
                "Requirements name more than the size, most often {attribute} ({} jobs): not checked, such a job runs on \
                 each node that is large enough",
                count.records
            );
            let example = &count.example;
            self.notes.count_many(&what, jobs, || example.clone());
        }
    }

    /// The number of jobs so far.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The workload. Its second 0 is the first submission; `calendar`: seconds are of the Unix epoch.
    pub fn build(mut self, calendar: bool) -> Workload {
        // Stable: jobs of one second keep the order of the input.
        sorting::by_key(&mut self.jobs, |(submitted, _)| *submitted);
        self.leave_out_distant(calendar);
        self.assume_run_times();
        self.note_requirements();
        let jobs = self.jobs;
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
        sorting::by_key(&mut classes, |(_, number)| *number);
        Workload {
            start: calendar
                .then(|| Timestamp::from_second(first).ok())
                .flatten(),
            jobs: jobs.collect(),
            classes: classes.into_iter().map(|(class, _)| class).collect(),
            notes: self.notes,
        }
    }

    /// A single submission in 1970 or 2100 would stretch the simulation by decades.
    fn leave_out_distant(&mut self, calendar: bool) {
        let Some((median, _)) = self.jobs.get(self.jobs.len() / 2).copied() else {
            return;
        };
        let notes = &mut self.notes;
        self.jobs.retain(|(submitted, _)| {
            let is_near = submitted.abs_diff(median) <= DISTANCE_MAX.unsigned_abs();
            if !is_near {
                let what =
                    "submitted more than 10 years before or after the median submission: left out";
                notes.leave_out(what, || match Timestamp::from_second(*submitted) {
                    Ok(time) if calendar => time.to_string(),
                    _ => format!("second {submitted}"),
                });
            }
            is_near
        });
    }

    /// Gives jobs that never started the median run time of their class, else of all jobs.
    fn assume_run_times(&mut self) {
        let unknown: BTreeSet<u32> = (self.jobs.iter())
            .filter(|(_, job)| job.runs == UNKNOWN)
            .map(|(_, job)| job.class)
            .into_set();
        if unknown.is_empty() {
            return;
        }
        let mut all: Vec<Seconds> = Vec::new();
        let mut of_class: BTreeMap<u32, Vec<Seconds>> = BTreeMap::new();
        for (_, job) in self.jobs.iter().filter(|(_, job)| job.runs != UNKNOWN) {
            all.push(job.runs);
            if unknown.contains(&job.class) {
                of_class.entry(job.class).or_default().push(job.runs);
            }
        }
        let general = median(&mut all).unwrap_or(RUNS_ASSUMED);
        let medians: BTreeMap<u32, Seconds> = of_class
            .iter_mut()
            .filter_map(|(class, runs)| Some((*class, median(runs)?)))
            .into_map();
        for (_, job) in &mut self.jobs {
            if job.runs == UNKNOWN {
                job.runs = medians.get(&job.class).copied().unwrap_or(general);
            }
        }
    }
}

/// The beginning of a name: names are text of others.
fn name(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

/// The middle one of these numbers, the upper one of two.
fn median(numbers: &mut [Seconds]) -> Option<Seconds> {
    let middle = numbers.len() / 2;
    (middle < numbers.len()).then(|| *numbers.select_nth_unstable(middle).1)
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
            .map(|job| of(job).saturating_mul(u64::from(job.runs)))
            .fold(0, u64::saturating_add)
    }
}
