//! Running jobs by machine, as the ads of slots name them. For reports only: a node may advertise any job.
//!
//! The slots that a tick queries anyway list the jobs of their dynamic slots, if the node is configured for that
//! (`STARTD_PARTITIONABLE_SLOT_ATTRS`). Only for other nodes, such as those of an older image, the dynamic slots are queried.

use std::collections::BTreeMap;

use scaling::job_names::{MachineJobs, RunningJob};
use system::deadline::Deadline;

use super::{Asked, query};
use crate::command::Tools;
use crate::error::Error;
use ads::answer::{readable_text, short_string, values};
use ads::running_job::named;
use ads::startds::{OfStartd, Startds};

/// Dynamic and static slots. A partitionable slot runs no job.
const CLAIMED: &str =
    "State =?= \"Claimed\" && SlotType =!= \"Partitionable\" && isString(GlobalJobId)";

/// More machines are not listed.
const MACHINES_MAX: usize = 10_000;

/// The jobs that the slots list; `None` if a node has jobs and does not list them. With `several` schedds, a job has the name
/// of its schedd.
pub(super) fn listed(startds: &Startds, several: bool) -> Option<BTreeMap<String, MachineJobs>> {
    let mut machines = BTreeMap::new();
    for listed in &startds.slots {
        let OfStartd { startd, slot } = &**listed;
        let Some(jobs) = &slot.jobs else {
            // Reports name the jobs of nodes only.
            match startd.node.is_some() {
                true => return None,
                false => continue,
            }
        };
        if jobs.count == 0 {
            continue;
        }
        if machines.len() < MACHINES_MAX || machines.contains_key(&startd.machine) {
            let all: &mut MachineJobs = machines.entry(startd.machine.clone()).or_default();
            all.extend(match several {
                true => jobs.clone(),
                false => without_schedd(jobs.clone()),
            });
        }
    }
    Some(machines)
}

/// The jobs by their ids alone.
fn without_schedd(mut jobs: MachineJobs) -> MachineJobs {
    let short = std::mem::take(&mut jobs.named).into_iter().map(|job| {
        let id = job.job.rsplit('#').next().unwrap_or_default().to_owned();
        RunningJob { job: id, ..job }
    });
    jobs.named = short.collect();
    jobs
}

/// Queries the collector for the jobs of all claimed slots. With `several` schedds, a job has the name of its schedd.
pub(crate) fn running(
    tools: &Tools,
    several: bool,
    deadline: Deadline,
) -> Result<BTreeMap<String, MachineJobs>, Error> {
    let expressions = ["Machine", "GlobalJobId", "RemoteOwner"].map(short_string);
    query(
        tools,
        Asked::Collector,
        &["-constraint", CLAIMED],
        &expressions,
        deadline,
        BTreeMap::new(),
        |machines: &mut BTreeMap<String, MachineJobs>, line| {
            if let Some((machine, job)) = read(line, several)
                && (machines.len() < MACHINES_MAX || machines.contains_key(&machine))
            {
                machines.entry(machine).or_default().add(job);
            }
            Ok(())
        },
    )
}

/// An unreadable slot names no job: its claim is counted all the same.
fn read(line: &str, several: bool) -> Option<(String, RunningJob)> {
    let [machine, job, owner] = values(line).ok()?;
    let text = |value: &str| Some(readable_text(value).ok()??.into_owned());
    let job = named(&text(job)?, text(owner), several)?;
    Some((text(machine)?, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_slot_names_its_job_and_an_odd_one_names_none() {
        let line = "\"n1\"\t\"s@ap#7.3#1795353048\"\t\"alice@example.org\"";
        let job = |job: &str, owner: Option<&str>| RunningJob {
            job: job.to_owned(),
            owner: owner.map(str::to_owned),
        };
        let n1 = |found| Some(("n1".to_owned(), found));
        assert_eq!(read(line, false), n1(job("7.3", Some("alice"))));
        assert_eq!(read(line, true), n1(job("s@ap#7.3", Some("alice"))));
        assert_eq!(
            read("\"n1\"\t\"ap#7.3#1\"\tundefined", false),
            n1(job("7.3", None))
        );
        for odd in [
            "",
            "\"n1\"",
            "\"n1\"\t\"7.3\"\t\"a\"",
            "\"n1\"\terror\t\"a\"",
            "\"n1\"\t\"ap#x.3#1\"\t\"a\"",
            "undefined\t\"ap#7.3#1\"\t\"a\"",
        ] {
            assert_eq!(read(odd, false), None, "{odd}");
        }
    }
}
