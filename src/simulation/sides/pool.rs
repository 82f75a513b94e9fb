//! The pool of a world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scaling::action::{Done, Failure, FailureKind, PoolAction, StartdIdentity};
use scaling::idle_time::{Clocks, IdleTimes, Waiting, young};
use scaling::job_names::{JobId, JobIds, MachineJobs, PoolJobs, RunningJob};
use scaling::job_requirements::{
    JobGroupKey, MatchResult, MatchTarget, Matches, RequirementsDigest,
};
use scaling::observation::{
    CollectorView, Demand, DrainView, JobCounts, NegotiatorView, NodeId, Observed, PoolView,
    Resources, RunningJobs, ScheddView, SlotView, StartdView,
};
use scaling::sender::Sender;
use scaling::sorting::IntoSet;
use system::deadline::Deadline;
use tick::pool::{JobThere, JobsThere, Pool, TrackedMachines};

use super::{SimulatedPool, failure, locked};
use crate::world::{JobState, LEASE, Seconds, SimulatedAd, SimulatedJob, World, machine};

impl Pool for SimulatedPool<'_> {
    fn observe(&self, watch: &TrackedMachines, _deadline: Deadline) -> PoolView {
        let world = locked(self.world);
        let collector = if world.broken.collector {
            Observed::Unknown("the collector does not answer".to_owned())
        } else {
            Observed::Known(CollectorView {
                up_for: Duration::from_secs(world.now - world.collector_started),
                negotiation_period: Some(Duration::from_secs(world.scenario.negotiation_seconds)),
                cycle_began: world
                    .cycle_began
                    .map(|began| Duration::from_secs(world.now - began)),
                startds: startds(&world),
                unreadable: Vec::new(),
                forged: Vec::new(),
            })
        };
        let schedd = if world.broken.schedd {
            Observed::Unknown("the schedd does not answer".to_owned())
        } else {
            let young = young(collector.known(), self.negotiation_cycle);
            Observed::Known(schedd(&world, watch, young))
        };
        PoolView {
            collector,
            schedds: BTreeMap::from([(SCHEDD.to_owned(), schedd)]),
            negotiator: Observed::Known(NegotiatorView::default()),
            jobs: PoolJobs {
                query: None,
                running: running(&world),
            },
            central_managers: None,
        }
    }

    fn matches(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        nodes: &[MatchTarget],
        _deadline: Deadline,
    ) -> Matches {
        let mut world = locked(self.world);
        let mut matches = Matches::default();
        let examples = nodes.iter().filter(|node| node.example.is_some());
        let examples: BTreeSet<_> = examples.map(|node| node.node_type.clone()).into_set();
        world.learnt.extend(examples);
        if world.broken.matches {
            matches.fail("it does not answer which jobs would run".to_owned());
        }
        for node in nodes {
            let cloud = world.scenario.clouds.get(&node.node_type.cloud);
            let flavor = cloud.and_then(|cloud| cloud.flavors.get(&node.node_type.flavor));
            for jobs in jobs {
                let answer = if world.broken.matches {
                    Observed::Unknown("it does not answer which jobs would run".to_owned())
                } else if world.broken.unlearnt && !world.learnt.contains(&node.node_type) {
                    let clause = Some(format!("TARGET.{}", jobs.needs.0));
                    Observed::Known(MatchResult::Undetermined { clause })
                } else if flavor.is_some_and(|flavor| flavor.has.contains(&jobs.needs.0)) {
                    Observed::Known(MatchResult::Matches)
                } else {
                    let clause = Some(format!("TARGET.{}", jobs.needs.0));
                    Observed::Known(MatchResult::JobRefuses { clause })
                };
                matches.insert(node.node_type.clone(), jobs.clone(), answer);
            }
        }
        matches
    }

    fn look(
        &self,
        startd: &StartdIdentity,
        _deadline: Deadline,
    ) -> Result<Vec<StartdView>, Failure> {
        let world = locked(self.world);
        Self::collector_answers(&world)?;
        let mut startds = startds(&world);
        startds.retain(|there| {
            there.node.as_ref() == Some(&startd.node)
                || startd.server_id.is_some() && there.instance_id == startd.server_id
                || startd.machine.as_ref() == Some(&there.machine)
        });
        Ok(startds)
    }

    fn has_job_on(&self, machine: &str, _deadline: Deadline) -> Result<bool, Failure> {
        let world = locked(self.world);
        if world.broken.schedd {
            let message = "the schedd does not answer".to_owned();
            return Err(failure(FailureKind::Unknown, message));
        }
        let watch = TrackedMachines::from_iter([(machine.to_owned(), String::new())]);
        Ok(!schedd(&world, &watch, Duration::ZERO).running_on.is_empty())
    }

    fn jobs_on(
        &self,
        machines: &BTreeSet<String>,
        _deadline: Deadline,
    ) -> Result<JobsThere, Failure> {
        let world = locked(self.world);
        if world.broken.schedd {
            let message = "the schedd does not answer".to_owned();
            return Err(failure(FailureKind::Unknown, message));
        }
        let jobs = world.jobs.iter().enumerate().filter_map(|(number, job)| {
            let JobState::Running { server, .. } = &job.state else {
                return None;
            };
            let name = machine(world.names.get(server)?);
            let short = name.split('.').next().unwrap_or_default();
            let is_there = machines.contains(&name) || machines.contains(short);
            is_there.then(|| JobThere {
                schedd: SCHEDD.to_owned(),
                id: id(number).to_string(),
                owner: job.owner(),
                machine: Some(name),
            })
        });
        Ok(jobs.collect::<Vec<_>>().into())
    }

    fn ask(&self, address: &str, _deadline: Deadline) -> Result<Vec<StartdView>, Failure> {
        let world = locked(self.world);
        let said = world.own_ad(address).ok_or_else(|| {
            let message = format!("the startd at {address} does not answer");
            failure(FailureKind::Unknown, message)
        })?;
        Ok(vec![view(&world, &said)])
    }

    fn perform(&self, action: &PoolAction, _deadline: Deadline) -> Result<Done, Failure> {
        let mut world = locked(self.world);
        Self::collector_answers(&world)?;
        let machine_of = |slot: &str| {
            slot.split_once('@')
                .map_or(slot, |(_, machine)| machine)
                .to_owned()
        };
        let done = match action {
            PoolAction::Drain {
                startd,
                slot,
                reason,
                ..
            } => world.drain_checked(&machine_of(slot), startd.server_id.as_deref(), reason),
            PoolAction::CancelDrain {
                slot, request_id, ..
            } => world.cancel_drain(&machine_of(slot), request_id),
            PoolAction::Invalidate { machine, .. } => {
                world.ads.retain(|_, ad| ad.machine != *machine);
                Ok(())
            }
            PoolAction::Reschedule { .. } => {
                world.reschedule();
                Ok(())
            }
        };
        done.map(|()| Done::Accepted)
            .map_err(|message| failure(FailureKind::NotIdle, message))
    }
}

impl SimulatedPool<'_> {
    fn collector_answers(world: &World) -> Result<(), Failure> {
        if world.broken.collector {
            return Err(failure(
                FailureKind::NotDone,
                "the collector does not answer".to_owned(),
            ));
        }
        Ok(())
    }
}

pub(super) fn startds(world: &World) -> Vec<StartdView> {
    world.ads.values().map(|ad| view(world, ad)).collect()
}

pub(super) fn view(world: &World, ad: &SimulatedAd) -> StartdView {
    let name = &ad.machine;
    let heard_ago = world.now.saturating_sub(ad.heard);
    let since = |then: u64| Duration::from_secs(world.now.saturating_sub(then + ad.late));
    let drain = ad
        .startd
        .drain
        .as_ref()
        .map(|(reason, request_id)| DrainView {
            reason: reason.clone(),
            request_id: request_id.clone(),
            complete: ad.claims == 0,
        });
    StartdView {
        machine: name.clone(),
        instance_id: Some(ad.server.clone()),
        node: ad.node.clone().map(|node| NodeId(node.into())),
        address: Some(ad.server.clone()),
        slots: vec![SlotView {
            owners: owners(world, &ad.server, ad.claims),
            name: format!("slot1@{name}"),
            total: ad.startd.total,
            free: ad.free,
            claims: ad.claims,
            accepts_jobs: !ad.startd.closed && drain.is_none(),
            unchanged_for: since(ad.startd.unchanged_since),
        }],
        sender: Sender::Unknown,
        heard_ago: Duration::from_secs(heard_ago),
        update_interval: Some(Duration::from_secs(world.scenario.update_seconds)),
        up_for: since(ad.startd.started),
        draining: drain,
    }
}

/// The id of a job by its place in the world.
fn id(number: usize) -> JobId {
    JobId {
        cluster: number as u64 + 1,
        proc: 0,
    }
}

/// Claimed cores by user.
fn owners(world: &World, server: &str, claims: u64) -> BTreeMap<String, u64> {
    let mut cores: BTreeMap<String, u64> = BTreeMap::new();
    let on = |job: &&SimulatedJob| matches!(&job.state, JobState::Running { server: on, .. } if on == server);
    for job in world.jobs.iter().filter(on).filter(|_| claims > 0) {
        if let Some(owner) = job.owner() {
            *cores.entry(owner).or_default() += job.request.cpus;
        }
    }
    cores
}

/// Running jobs by machine.
fn running(world: &World) -> BTreeMap<String, MachineJobs> {
    let mut machines: BTreeMap<String, MachineJobs> = BTreeMap::new();
    for (number, job) in world.jobs.iter().enumerate() {
        if let JobState::Running { server, .. } = &job.state
            && let Some(name) = world.names.get(server)
        {
            let jobs = machines.entry(machine(name)).or_default();
            jobs.add(RunningJob {
                job: id(number).to_string(),
                owner: job.owner(),
            });
        }
    }
    machines
}

impl World {
    /// The job with this id.
    pub fn job(&self, asked: JobId) -> Option<&SimulatedJob> {
        let mut jobs = self.jobs.iter().enumerate();
        jobs.find_map(|(number, job)| (id(number) == asked).then_some(job))
    }

    /// Idle jobs that `is_asked`, and the numbers of all such jobs.
    pub fn queue(
        &self,
        is_asked: impl Fn(JobId, &SimulatedJob) -> bool,
    ) -> (Vec<Demand>, JobCounts) {
        let watch = TrackedMachines::default();
        let ScheddView {
            mut demand, jobs, ..
        } = schedd_of(self, &watch, Duration::ZERO, is_asked);
        for one in &mut demand {
            one.example = one.job_ids.first().map(|id| id.to_string());
        }
        (demand, jobs)
    }

    /// Numbers of running jobs that `is_asked`, by host.
    pub fn hosts(&self, is_asked: impl Fn(JobId, &SimulatedJob) -> bool) -> BTreeMap<String, u64> {
        let mut hosts = BTreeMap::new();
        for (number, job) in self.jobs.iter().enumerate() {
            if matches!(job.state, JobState::Running { .. })
                && let Some((machine, _)) = &job.last_run
                && is_asked(id(number), job)
            {
                *hosts.entry(machine.clone()).or_default() += 1;
            }
        }
        hosts
    }

    /// This time of the world as Unix time.
    pub fn unix_time(&self, at: Seconds) -> i64 {
        let before = i64::try_from(self.now.saturating_sub(at)).unwrap_or(i64::MAX);
        self.at().as_second().saturating_sub(before)
    }
}

/// The one schedd of the site.
pub(super) const SCHEDD: &str = "simulated";

pub(super) fn schedd(world: &World, watch: &TrackedMachines, young: Duration) -> ScheddView {
    schedd_of(world, watch, young, |_, _| true)
}

/// The same of the jobs that `is_asked`.
fn schedd_of(
    world: &World,
    watch: &TrackedMachines,
    young: Duration,
    is_asked: impl Fn(JobId, &SimulatedJob) -> bool,
) -> ScheddView {
    type Key = (Resources, RequirementsDigest, Option<String>);
    let mut groups: BTreeMap<Key, (IdleTimes, JobIds)> = BTreeMap::new();
    let mut newest_cluster = 0;
    let mut jobs = JobCounts::default();
    let mut running_on: BTreeMap<String, RunningJobs> = BTreeMap::new();
    let all = world.jobs.iter().enumerate();
    for (number, job) in all.filter(|(number, job)| is_asked(id(*number), job)) {
        match &job.state {
            JobState::Idle(since) => {
                jobs.idle += 1;
                let cluster = number as u64 + 1;
                newest_cluster = cluster;
                let since = if job.claims_to_wait { 0 } else { *since };
                let needs = RequirementsDigest(job.needs.clone());
                let key = (job.request, needs, job.owner());
                let (times, ids) = groups.entry(key).or_default();
                ids.add(id(number));
                times.add(i64::try_from(since).ok(), Some(cluster), 1);
            }
            JobState::Running { server, since } => {
                jobs.running += 1;
                // A schedd is only asked about machines that have fallen silent; it knows of all of its jobs.
                let name = world.names.get(server).map(|name| machine(name));
                let short = name.as_ref().and_then(|name| name.split('.').next());
                let asked = watch.machines.iter().map(|(machine, _)| machine);
                let asked = asked.filter(|asked| {
                    let asked = Some(asked.as_str());
                    asked == name.as_deref() || asked == short
                });
                for name in asked {
                    let end = (since + LEASE).saturating_sub(world.now);
                    let job = RunningJobs {
                        jobs: 1,
                        example: Some(id(number).to_string()),
                        lease: Some(Duration::from_secs(LEASE)),
                        lease_left: Some(Duration::from_secs(end)),
                    };
                    let known = running_on.remove(name).unwrap_or_default();
                    running_on.insert(name.clone(), known.and(&job));
                }
            }
            JobState::Done(_) => {}
        }
    }
    let clocks = Clocks {
        schedd: i64::try_from(world.now).unwrap_or(i64::MAX),
        at: watch.at,
        marks: watch.clusters.get(SCHEDD),
        young,
    };
    let demand = groups
        .into_iter()
        .map(|((request, needs, owner), (times, job_ids))| {
            let Waiting {
                jobs,
                young,
                longest,
            } = times.waiting(clocks);
            Demand {
                request,
                needs,
                jobs,
                young,
                waiting: longest,
                owner,
                job_ids,
                ..Demand::default()
            }
        });
    ScheddView {
        demand: demand.collect(),
        newest_cluster: Some(newest_cluster),
        jobs,
        running_on,
        ..ScheddView::default()
    }
}
