//! Stranded jobs: a schedd lists them as running on deleted machines, until their leases expire.
//!
//! Owns: the list of these jobs, and the time until which HTCondor keeps them. For reports only.
//! Must not: count a job on a machine that may still run (silent, paused): the reason of its node covers that.
//! Source: HTCondor manual, "Job Leases"; `JobLeaseDuration`, `JobDisconnectedDate`.

use std::fmt;
use std::time::Duration;

use crate::sorting;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::index::Names;
use super::node::{Phase, is_fresh};
use super::node_inventory::NodeInventory;
use super::observation::{NodeId, Observation, Observed, RunningJobs, ScheddView};
use super::policy::Policy;
use super::sentence::{count, first_few};
use super::state::State;

/// A schedd loses the connection to a machine that is gone within this: after `TCP_KEEPALIVE_INTERVAL` (6 min) and five
/// probes where nothing is on its way, else when the kernel gives up what is (`tcp_retries2`, 15.4 min). Source: HTCondor's
/// `Sock::set_keepalive`, tcp(7); 11 min were measured.
const NOTICED_WITHIN: Duration = Duration::from_secs(16 * 60);

/// Machines of a report.
const MACHINES: usize = 50;

/// Jobs that run on deleted machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StrandedJobs {
    pub jobs: u64,
    /// When the last of them is idle again, at the latest; none where a lease is not known.
    pub until: Option<Timestamp>,
    /// The same as seconds from the observation.
    pub seconds_left: Option<u64>,
    /// Where they are listed: those of the last end first.
    pub machines: Vec<StrandedOn>,
}

/// Such jobs of one schedd on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StrandedOn {
    /// `Machine` of the node's ads, as `RemoteHost` of the jobs has it.
    pub machine: String,
    pub node: String,
    /// The schedd that lists them.
    pub schedd: String,
    pub jobs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// Seconds until the last of them is idle again, at the latest.
    pub seconds_left: Option<u64>,
}

/// A machine that is gone, and for how long it certainly has been.
struct Gone<'a> {
    node: &'a NodeId,
    machine: &'a str,
    gone_for: Duration,
}

/// Jobs that run on no machine of the pool and on no server that exists.
pub(super) fn stranded(
    observation: &Observation,
    policy: &Policy,
    state: &State,
    survey: &NodeInventory<'_>,
) -> Option<StrandedJobs> {
    let schedds = &observation.pool.schedds;
    let lists_some = |view: &ScheddView| !view.running_on.is_empty();
    if !schedds.values().filter_map(Observed::known).any(lists_some) {
        return None;
    }
    let heard = heard(observation, policy);
    let mut machines = Vec::new();
    for gone in gone(state, survey) {
        // Another machine of that name has joined: the jobs may run on either.
        if heard.contains(gone.machine) {
            continue;
        }
        for (schedd, view) in &observation.pool.schedds {
            let running = view
                .known()
                .and_then(|view| view.running_on.get(gone.machine));
            if let Some(running) = running.filter(|running| running.jobs > 0) {
                machines.push(StrandedOn {
                    machine: gone.machine.to_owned(),
                    node: gone.node.to_string(),
                    schedd: schedd.clone(),
                    jobs: running.jobs,
                    example: running.example.clone(),
                    seconds_left: left(running, gone.gone_for).map(|left| left.as_secs()),
                });
            }
        }
    }
    let jobs = machines.iter().map(|one| one.jobs).sum();
    if jobs == 0 {
        return None;
    }
    let ends: Option<Vec<u64>> = machines.iter().map(|one| one.seconds_left).collect();
    let seconds_left = ends.and_then(|ends| ends.into_iter().max());
    let until = seconds_left.and_then(|left| {
        let left = jiff::SignedDuration::from_secs(i64::try_from(left).ok()?);
        observation.at.checked_add(left).ok()
    });
    sorting::by_key(&mut machines, |one| {
        let unknown_first = one.seconds_left.is_some();
        (
            unknown_first,
            std::cmp::Reverse(one.seconds_left),
            one.machine.clone(),
        )
    });
    machines.truncate(MACHINES);
    Some(StrandedJobs {
        jobs,
        until,
        seconds_left,
        machines,
    })
}

/// Machines of which the collector has a fresh ad.
pub(super) fn heard<'a>(observation: &'a Observation, policy: &Policy) -> Names<'a> {
    let collector = observation.pool.collector.known();
    let startds = collector.iter().flat_map(|collector| &collector.startds);
    startds
        .filter(|startd| is_fresh(startd, policy))
        .map(|startd| startd.machine.as_str())
        .collect()
}

/// Nodes without a server, and silent nodes whose server is SHUTOFF.
fn gone<'a>(state: &'a State, survey: &'a NodeInventory<'_>) -> Vec<Gone<'a>> {
    let departed = state.departed.iter().filter_map(|(node, departed)| {
        Some(Gone {
            node,
            machine: departed.machine.as_deref()?,
            gone_for: state.now.since(departed.at),
        })
    });
    let nodes = survey.nodes.iter().filter_map(|node| {
        let over = matches!(
            node.phase,
            Phase::Gone | Phase::DeletedExternally | Phase::Stopped { silent: true, .. }
        );
        let memory = state.nodes.get(&node.id).filter(|_| over)?;
        let since = memory.silence.silent.or(memory.missing);
        Some(Gone {
            node: &node.id,
            machine: memory.join.machine.as_deref()?,
            gone_for: since.map_or(Duration::ZERO, |since| state.now.since(since)),
        })
    });
    departed.chain(nodes).collect()
}

/// How long the schedd keeps these jobs as running, at the most.
fn left(running: &RunningJobs, gone_for: Duration) -> Option<Duration> {
    running.lease_left.or_else(|| {
        let noticed_and_over = running.lease?.saturating_add(NOTICED_WITHIN);
        Some(noticed_and_over.saturating_sub(gone_for))
    })
}

/// Records which deleted machines have no job left: schedds are no longer queried for them.
pub(super) fn learn_jobless(observation: &Observation, policy: &Policy, state: &mut State) {
    let schedds = &observation.pool.schedds;
    // While the collector is unknown, no schedd was asked about any machine.
    let asked = observation.pool.collector.is_known()
        && !schedds.is_empty()
        && schedds.values().all(Observed::is_known);
    if !asked || state.departed.values().all(|departed| departed.jobless) {
        return;
    }
    let heard = heard(observation, policy);
    for departed in state.departed.values_mut() {
        let Some(machine) = departed.machine.as_deref() else {
            continue;
        };
        let mut views = schedds.values().filter_map(Observed::known);
        let listed = views.any(|view| view.running_on.contains_key(machine));
        departed.jobless |= !listed && !heard.contains(machine);
    }
}

impl fmt::Display for StrandedJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = match self.jobs {
            1 => "1 job runs".to_owned(),
            jobs => format!("{} run", count(jobs, "job")),
        };
        write!(f, "{run} on deleted machines, ")?;
        match self.until {
            Some(until) => write!(f, "until {until:.0} at most: ")?,
            None => f.write_str("until the job leases expire: ")?,
        }
        let mut names: Vec<String> = Vec::new();
        for one in &self.machines {
            if !names.contains(&one.machine) {
                names.push(one.machine.clone());
            }
        }
        let are = if names.len() == 1 { "is" } else { "are" };
        // Measured with HTCondor 23.9.6: two minutes after condor_vacate_job -fast such a job still counted as running.
        write!(
            f,
            "{} {are} deleted, and the schedd tries to reconnect; to shorten the lease of new jobs, set \
             JOB_DEFAULT_LEASE_DURATION of the schedd",
            first_few(names, ", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(machine: &str, schedd: &str) -> StrandedOn {
        StrandedOn {
            machine: machine.to_owned(),
            node: "n".to_owned(),
            schedd: schedd.to_owned(),
            jobs: 1,
            example: Some("3.0".to_owned()),
            seconds_left: Some(60),
        }
    }

    fn told(machines: Vec<StrandedOn>) -> String {
        StrandedJobs {
            jobs: machines.len() as u64,
            until: Some(Timestamp::from_second(1_800_000_000).unwrap()),
            seconds_left: Some(60),
            machines,
        }
        .to_string()
    }

    #[test]
    fn jobs_are_told_with_their_machines_and_the_end_of_their_leases() {
        insta::assert_snapshot!(told(vec![on("n1", "local")]), @"1 job runs on deleted machines, until 2027-01-15T08:00:00Z at most: n1 is deleted, and the schedd tries to reconnect; to shorten the lease of new jobs, set JOB_DEFAULT_LEASE_DURATION of the schedd");
        let several = ["n1", "n2", "n3", "n4"].map(|machine| on(machine, "a@cm.example"));
        insta::assert_snapshot!(told(several.to_vec()), @"4 jobs run on deleted machines, until 2027-01-15T08:00:00Z at most: n1, n2, n3 and 1 other are deleted, and the schedd tries to reconnect; to shorten the lease of new jobs, set JOB_DEFAULT_LEASE_DURATION of the schedd");
    }

    #[test]
    fn the_latest_end_is_that_of_the_lease_after_the_schedd_has_noticed() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let running = |lease, lease_left| RunningJobs {
            jobs: 1,
            example: None,
            lease,
            lease_left,
        };
        let noticed = running(Some(minutes(40)), Some(minutes(12)));
        assert_eq!(left(&noticed, minutes(39)), Some(minutes(12)));
        let connected = running(Some(minutes(40)), None);
        assert_eq!(left(&connected, minutes(2)), Some(minutes(54)));
        assert_eq!(left(&connected, minutes(200)), Some(minutes(0)));
        assert_eq!(left(&running(None, None), minutes(2)), None);
    }

    #[test]
    fn of_jobs_together_the_latest_end_counts_and_none_where_one_is_not_known() {
        let jobs = |jobs, lease, left: Option<u64>| RunningJobs {
            jobs,
            example: Some(format!("{jobs}.0")),
            lease: Some(Duration::from_secs(lease)),
            lease_left: left.map(Duration::from_secs),
        };
        let both = jobs(1, 900, Some(10)).and(&jobs(2, 2400, Some(5)));
        assert_eq!(both.example.as_deref(), Some("1.0"));
        assert_eq!(
            (both.jobs, both.lease, both.lease_left),
            (
                3,
                Some(Duration::from_secs(2400)),
                Some(Duration::from_secs(10))
            )
        );
        let one_connected = jobs(1, 900, Some(10)).and(&jobs(2, 2400, None));
        assert_eq!(one_connected.lease_left, None);
        assert_eq!(RunningJobs::default().and(&both), both);
        assert_eq!(both.clone().and(&RunningJobs::default()), both);
    }
}
