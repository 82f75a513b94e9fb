//! Names of jobs, owners and job groups: for reports only, each list bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::job_requirements::JobGroupKey;
use super::submitter::Submitters;

/// Job ids of one list, and owners of one list.
pub const NAMED_MAX: usize = 20;

/// The number of a job on its schedd, `CLUSTER.PROC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// `ClusterId`.
    pub cluster: u64,
    /// `ProcId`.
    pub proc: u64,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.cluster, self.proc)
    }
}

impl FromStr for JobId {
    type Err = ();

    fn from_str(text: &str) -> Result<JobId, ()> {
        let digits = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten().ok_or(())
        };
        let (cluster, proc) = text.split_once('.').ok_or(())?;
        Ok(JobId {
            cluster: digits(cluster)?,
            proc: digits(proc)?,
        })
    }
}

/// The lowest ids of some jobs, at most [`NAMED_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobIds(Vec<JobId>);

impl JobIds {
    /// Adds an id, in place of the highest one if the list is full.
    pub fn add(&mut self, id: JobId) {
        let full = self.0.len() >= NAMED_MAX;
        if full && self.0.last().is_some_and(|last| *last <= id) {
            return;
        }
        if let Err(place) = self.0.binary_search(&id) {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, id);
            self.0.truncate(NAMED_MAX);
        }
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = JobId> {
        self.0.iter().copied()
    }

    /// The lowest id.
    pub fn first(&self) -> Option<JobId> {
        self.0.first().copied()
    }
}

impl Extend<JobId> for JobIds {
    fn extend<T: IntoIterator<Item = JobId>>(&mut self, ids: T) {
        for id in ids {
            self.add(id);
        }
    }
}

/// How a tick queries idle jobs. A query of one job with the same settings finds the same job group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobQuery {
    /// Universes whose jobs count as demand.
    pub universes: Vec<u32>,
    /// `condor.job_constraint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_constraint: Option<String>,
    /// `condor.match_requirements`.
    pub match_requirements: bool,
    /// Attributes of jobs that the Requirements of nodes refer to: part of what makes jobs equal.
    pub node_attributes: BTreeSet<String>,
}

/// A running job in its slot's ad.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunningJob {
    /// `JobId`; its schedd is part of it where several schedds are queried.
    pub job: String,
    /// `RemoteOwner` without its domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Running jobs of one machine, the first [`NAMED_MAX`] of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineJobs {
    /// These, in the order of their names.
    pub named: BTreeSet<RunningJob>,
    /// All of them.
    pub count: u64,
}

impl MachineJobs {
    /// Adds a job.
    pub fn add(&mut self, job: RunningJob) {
        self.count = self.count.saturating_add(1);
        self.name(job);
    }

    /// Adds the jobs of another part of the machine.
    pub fn extend(&mut self, other: MachineJobs) {
        self.count = self.count.saturating_add(other.count);
        for job in other.named {
            self.name(job);
        }
    }

    fn name(&mut self, job: RunningJob) {
        self.named.insert(job);
        if self.named.len() > NAMED_MAX {
            self.named.pop_last();
        }
    }
}

/// What an observation says of single jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolJobs {
    /// How the idle jobs were queried; `None` in a simulated pool.
    pub query: Option<JobQuery>,
    /// Running jobs by `Machine`.
    pub running: BTreeMap<String, MachineJobs>,
}

/// The id of a job group: equal for equal requests, Requirements and limited submitters.
pub fn group_id(key: &JobGroupKey, submitters: &Submitters) -> String {
    let request = key.request;
    let mut text = format!(
        "{} {} {} {}\n{}\n",
        request.cpus, request.memory_mb, request.disk_kb, request.gpus, key.needs.0
    );
    for submitter in &submitters.0 {
        text += &format!("{submitter}\n");
    }
    let digest = Sha256::digest(text.as_bytes());
    let bytes = digest.iter().take(8);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submitter::Submitter;

    #[test]
    fn a_list_of_ids_is_bounded_and_has_the_lowest() {
        let mut ids = JobIds::default();
        for proc in (0..1000).rev() {
            ids.add(JobId { cluster: 7, proc });
            ids.add(JobId { cluster: 7, proc });
        }
        ids.add(JobId {
            cluster: 6,
            proc: 9,
        });
        let all: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
        assert_eq!((all.len(), &*all[0], &*all[19]), (20, "6.9", "7.18"));
        for wrong in [
            "7",
            "7.",
            ".1",
            "7.1.2",
            "a.1",
            "+7.1",
            "-1.0",
            "99999999999999999999.0",
        ] {
            assert_eq!(wrong.parse::<JobId>(), Err(()), "{wrong}");
        }
        assert_eq!(
            "6.9".parse(),
            Ok(JobId {
                cluster: 6,
                proc: 9
            })
        );
    }

    #[test]
    fn jobs_of_a_machine_are_bounded_and_counted() {
        let mut jobs = MachineJobs::default();
        for number in 0..1000 {
            jobs.add(RunningJob {
                job: format!("{number}.0"),
                owner: None,
            });
        }
        assert_eq!((jobs.named.len(), jobs.count), (20, 1000));
        jobs.extend(jobs.clone());
        assert_eq!((jobs.named.len(), jobs.count), (20, 2000));
    }

    #[test]
    fn groups_differ_by_request_requirements_and_submitters() {
        let key = JobGroupKey::default();
        let mut other = key.clone();
        other.request.cpus = 1;
        let user = Submitters(vec![Submitter::User("alice".to_owned())]);
        let ids = [
            group_id(&key, Submitters::NONE),
            group_id(&other, Submitters::NONE),
            group_id(&key, &user),
        ];
        let different: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(different.len(), 3);
        assert_eq!(ids[0], group_id(&JobGroupKey::default(), Submitters::NONE));
    }
}
