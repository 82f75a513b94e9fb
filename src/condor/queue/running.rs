//! Running jobs on machines that are silent.

use std::collections::BTreeMap;
use std::time::Duration;

use scaling::observation::RunningJobs;

use crate::answer::{amount, integer, values};

/// The machine in a job's RemoteHost.
pub(super) const MACHINE: &str =
    "split(unparse(RemoteHost), \"@\\\"\")[size(split(unparse(RemoteHost), \"@\\\"\")) - 1]";

/// A running job on a machine that is silent or gone.
#[derive(Debug, Clone)]
pub(super) struct RunningJob {
    id: String,
    lease: Option<u64>,
    /// When the schedd lost the connection of this run, on its clock. A run that began since has another one.
    disconnected: Option<i64>,
}

impl RunningJob {
    /// The lease may be an expression, and a job may say what it likes: what is no number is not known.
    pub const ATTRIBUTES: [&'static str; 4] = [
        "RemoteHost",
        "JobLeaseDuration",
        "JobDisconnectedDate",
        "JobCurrentStartDate",
    ];
    /// They follow its RemoteHost.
    pub const COLUMNS: [&'static str; 4] = [
        "int(JobLeaseDuration)",
        "int(JobDisconnectedDate)",
        "int(JobCurrentStartDate)",
        "strcat(ClusterId, \".\", ProcId)",
    ];

    /// Its RemoteHost, and it.
    pub fn read(line: &str) -> Option<(&str, RunningJob)> {
        let [host, lease, disconnected, started, id] = values(line).ok()?;
        let started = integer(started).unwrap_or(i64::MIN);
        let job = RunningJob {
            id: id.to_owned(),
            lease: amount(lease),
            disconnected: integer(disconnected).filter(|at| *at >= started),
        };
        Some((host, job))
    }
}

/// What is known of these jobs at a time of the schedd's clock.
pub(super) fn since(
    running_on: BTreeMap<String, Vec<RunningJob>>,
    now: i64,
) -> BTreeMap<String, RunningJobs> {
    let known = |job: RunningJob| {
        let lease = job.lease.map(Duration::from_secs);
        let lost_for = job
            .disconnected
            .and_then(|at| u64::try_from(now.saturating_sub(at)).ok());
        let lost_for = lost_for.map(Duration::from_secs);
        RunningJobs {
            jobs: 1,
            example: Some(job.id),
            lease_left: lease
                .zip(lost_for)
                .map(|(lease, lost_for)| lease.saturating_sub(lost_for)),
            lease,
        }
    };
    let of_machine = |(machine, jobs): (String, Vec<RunningJob>)| {
        let jobs = jobs.into_iter().map(known);
        let none = RunningJobs::default();
        (machine, jobs.fold(none, |sum, job| sum.and(&job)))
    };
    running_on.into_iter().map(of_machine).collect()
}
