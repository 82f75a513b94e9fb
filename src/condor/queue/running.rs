//! Running jobs on machines that are silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scaling::observation::RunningJobs;
use scaling::sorting::{IntoMap, IntoSet};
use system::deadline::Deadline;
use tick::pool::{JobThere, JobsThere};

use super::{CONSTRAINT_MAX, HOST_MAX, Schedd};
use crate::command::{Call, Tools};
use crate::error::Error;
use crate::plain;
use ads::answer::{amount, integer, quoted, values};
use ads::column;

/// More jobs of one schedd are counted, and not listed.
const JOBS_MAX: usize = 1000;

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
    running_on.into_iter().map(of_machine).into_map()
}

/// The constraint of jobs that run on these machines, and of those of which that cannot be asked.
fn constraints(attributes: &[&'static str], machines: &BTreeSet<String>) -> (String, String) {
    // 2 running, 6 transferring output, 7 suspended.
    let running = "member(unparse(JobStatus), {\"2\", \"6\", \"7\"})";
    let plain = plain::literals(attributes.iter().copied());
    let mut constraint = format!("{running} && {plain}");
    let list = machines
        .iter()
        .map(|machine| quoted(machine))
        .collect::<Vec<_>>()
        .join(", ");
    let mut odd = format!("{running} && ({plain}) =!= true");
    if list.len() <= CONSTRAINT_MAX {
        let there = format!(
            "member({MACHINE}, {{{list}}}) || member(split({MACHINE}, \".\")[0], {{{list}}})"
        );
        constraint.push_str(&format!(" && ({there})"));
        let host = plain::literals(["RemoteHost"].into_iter());
        odd.push_str(&format!(" && (({there}) =?= true || ({host}) =!= true)"));
    }
    (constraint, odd)
}

/// The machines in question, by their names in lower case: host names differ in case from one place to the other.
struct Asked<'a>(BTreeMap<String, &'a String>);

impl<'a> Asked<'a> {
    fn new(machines: &'a BTreeSet<String>) -> Asked<'a> {
        let names = machines.iter();
        Asked(
            names
                .map(|machine| (machine.to_ascii_lowercase(), machine))
                .into_map(),
        )
    }

    /// Those of them that this RemoteHost names; `None` if it cannot be read.
    fn on(&self, host: &str) -> Option<BTreeSet<&'a String>> {
        // slot1_2@MACHINE, or slot1_2@STARTD@MACHINE.
        let (_, machine) = host.rsplit_once('@')?;
        let machine = machine.to_ascii_lowercase();
        // A node whose startd was never seen is asked for by the name of its server.
        let short = machine.split('.').next().unwrap_or_default();
        let names = [machine.as_str(), short];
        let asked = names.iter().filter_map(|name| self.0.get(*name));
        Some(asked.copied().into_set())
    }
}

impl Schedd {
    /// The running jobs on these machines, with their owners.
    pub fn jobs_on(
        &self,
        tools: &Tools,
        machines: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<JobsThere, Error> {
        let (constraint, odd) = constraints(&["RemoteHost", "Owner"], machines);
        let mut args = self.args();
        let host = column::text("RemoteHost", HOST_MAX);
        let owner = column::text("Owner", HOST_MAX);
        let id = "strcat(ClusterId, \".\", ProcId)";
        args.extend(["-constraint", &constraint, "-af:t", &host, &owner, id]);
        let about = self.about();
        let call = Call::new("condor_q", &args, &about);
        let there = |id: &str, owner: &str, machine: &str| JobThere {
            schedd: self.name.clone(),
            id: id.to_owned(),
            owner: Some(owner.to_owned()).filter(|owner| !owner.is_empty()),
            machine: Some(machine.to_owned()).filter(|machine| !machine.is_empty()),
        };
        let asked = Asked::new(machines);
        let mut found = JobsThere::default();
        if self.has(tools, &odd, deadline)? {
            found.add(there("unknown", "", ""), JOBS_MAX);
        }
        tools.run(&call, deadline, found, |found, line| {
            if line.is_empty() {
                return Ok(());
            }
            let job = match values(line) {
                // It has no machine yet.
                Ok(["", _, _]) => None,
                // The constraint may be without the machines.
                Ok([host, owner, id]) => {
                    let is_asked = asked.on(host).is_none_or(|machines| !machines.is_empty());
                    let machine = host.rsplit_once('@').map_or("", |(_, machine)| machine);
                    is_asked.then(|| there(id, owner, machine))
                }
                Err(_) => Some(there("unknown", "", "")),
            };
            if let Some(job) = job {
                found.add(job, JOBS_MAX);
            }
            Ok(())
        })
    }

    /// Whether a job runs on this machine.
    pub fn has_job_on(
        &self,
        tools: &Tools,
        machine: &str,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        let machines = BTreeSet::from([machine.to_owned()]);
        Ok(!self.running_on(tools, &machines, deadline)?.is_empty())
    }

    pub(super) fn running_on(
        &self,
        tools: &Tools,
        silent: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Vec<RunningJob>>, Error> {
        if silent.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked = Asked::new(silent);
        let (constraint, odd) = constraints(&RunningJob::ATTRIBUTES, silent);
        let mut args = self.args();
        let host = column::text("RemoteHost", HOST_MAX);
        args.extend(["-constraint", &constraint, "-af:t", &host]);
        args.extend(RunningJob::COLUMNS);
        let about = self.about();
        let call = Call::new("condor_q", &args, &about);
        type Found = BTreeMap<String, Vec<RunningJob>>;
        // Jobs of which that cannot be asked may run on any of them.
        let mut found = Found::new();
        if self.has(tools, &odd, deadline)? {
            found.extend(silent.iter().map(|machine| (machine.clone(), Vec::new())));
        }
        tools.run(&call, deadline, found, |found, line| {
            if line.is_empty() {
                return Ok(());
            }
            let read = RunningJob::read(line);
            match read.map(|(host, job)| (host, asked.on(host), job)) {
                // It has no machine yet.
                Some(("", ..)) => {}
                Some((_, Some(machines), job)) => {
                    for machine in machines {
                        found.entry(machine.clone()).or_default().push(job.clone());
                    }
                }
                // A job that runs, and cannot be read where: on any of them, perhaps.
                _ => {
                    for machine in silent {
                        found.entry(machine.clone()).or_default();
                    }
                }
            }
            Ok(())
        })
    }
}
