//! Jobs of a world: submitted, matched in a negotiation cycle, and ended.

use std::collections::BTreeSet;

use super::{JobState, LEASE, Seconds, SimulatedJob, World, machine};
use scaling::observation::Resources;

impl SimulatedJob {
    /// Its owner, if it has one.
    pub fn owner(&self) -> Option<String> {
        Some(self.owner.clone()).filter(|owner| !owner.is_empty())
    }

    /// Begin and end of its last run that ended, or still runs.
    pub fn run(&self, now: Seconds) -> Option<(Seconds, Seconds)> {
        let (_, from) = self.last_run.as_ref()?;
        match self.state {
            JobState::Idle(_) => None,
            JobState::Running { .. } => Some((*from, now)),
            JobState::Done(at) => Some((*from, at)),
        }
    }

    /// Its run has not ended.
    fn wait_again(&mut self, now: Seconds) {
        if let JobState::Running { since, .. } = &self.state {
            self.lost_seconds += now.saturating_sub(*since);
        }
        self.state = JobState::Idle(now);
    }
}

impl World {
    pub(super) fn submit_due(&mut self) {
        let elapsed = self.elapsed();
        while let Some(due) = self.scenario.jobs.get(self.submitted) {
            if due.at_seconds > elapsed {
                break;
            }
            let due = due.clone();
            self.submitted += 1;
            let there = self.jobs.len();
            self.submit(
                due.count,
                due.cpus,
                due.memory_mb,
                due.runs_seconds,
                due.unmatchable,
            );
            for job in self.jobs.iter_mut().skip(there) {
                job.needs.clone_from(&due.needs);
                job.owner.clone_from(&due.owner);
            }
        }
    }

    pub fn submit(
        &mut self,
        count: u64,
        cpus: u64,
        memory_mb: u64,
        runs: Seconds,
        unmatchable: bool,
    ) {
        let request = Resources {
            cpus,
            memory_mb,
            disk_kb: 1024,
            gpus: 0,
        };
        let state = JobState::Idle(self.now);
        let job = SimulatedJob {
            request,
            runs,
            unmatchable,
            needs: String::new(),
            owner: String::new(),
            starts: 0,
            state,
            last_run: None,
            lost_seconds: 0,
            submitted: self.now,
            claims_to_wait: self.broken.forged_waits,
        };
        self.jobs.extend((0..count).map(|_| job.clone()));
    }

    /// Submits jobs that need what only some machines have (`has` of a flavor).
    pub fn submit_needing(
        &mut self,
        needs: &str,
        count: u64,
        cpus: u64,
        memory_mb: u64,
        runs: Seconds,
    ) {
        let there = self.jobs.len();
        self.submit(count, cpus, memory_mb, runs, false);
        for job in self.jobs.iter_mut().skip(there) {
            needs.clone_into(&mut job.needs);
        }
    }

    /// The jobs on a server have ended before their time: they wait again.
    pub(super) fn lose_jobs(&mut self, id: &str) {
        for job in &mut self.jobs {
            if matches!(&job.state, JobState::Running { server, .. } if server == id) {
                job.wait_again(self.now);
            }
        }
    }

    pub(super) fn end_jobs(&mut self) {
        let now = self.now;
        let mut freed = BTreeSet::new();
        for job in &mut self.jobs {
            let JobState::Running { server, since } = &job.state else {
                continue;
            };
            let alive = self
                .servers
                .get(server)
                .is_some_and(|server| server.startd.is_some());
            if alive && now >= since + job.runs {
                freed.insert(server.clone());
                job.state = JobState::Done(now);
            } else if !alive && now >= since + LEASE {
                job.wait_again(now);
            }
        }
        for id in freed {
            // A startd says at once that a claim has gone, but NumDynamicSlotsTime only with its next update.
            self.update(&id);
            if let Some(startd) = self.startd_mut(&id) {
                startd.unchanged_since = now;
            }
        }
    }

    /// Jobs that run on a server.
    pub fn jobs_on(&self, id: &str) -> u64 {
        let on = |job: &&SimulatedJob| matches!(&job.state, JobState::Running { server, .. } if server == id);
        self.jobs.iter().filter(on).count() as u64
    }

    pub(super) fn used_on(&self, id: &str) -> (Resources, u64) {
        let mut used = (Resources::default(), 0);
        for job in &self.jobs {
            if matches!(&job.state, JobState::Running { server, .. } if server == id) {
                used = (used.0.plus(&job.request.rounded()), used.1 + 1);
            }
        }
        used
    }

    /// Somebody asks for a negotiation cycle.
    pub fn reschedule(&mut self) {
        if !self.broken.negotiator && !self.broken.collector {
            self.negotiate();
        }
    }

    /// One negotiation cycle: the oldest jobs first, each to the first slot that it fits.
    pub(super) fn negotiate(&mut self) {
        let now = self.now;
        self.cycle_began = Some(now);
        let mut free: Vec<(String, Resources, Vec<String>)> = Vec::new();
        for server in self.servers.values() {
            let Some(startd) = &server.startd else {
                continue;
            };
            // The negotiator works with the ads: a machine that is cut off is not matched.
            let listed = self.ads.contains_key(&server.id) && server.cut_off_since.is_none();
            if listed && startd.drain.is_none() && !startd.closed {
                let (used, _) = self.used_on(&server.id);
                let cloud = self.scenario.clouds.get(&server.cloud);
                let flavor = cloud.and_then(|cloud| cloud.flavors.get(&server.flavor));
                let has = flavor.map(|flavor| flavor.has.clone()).unwrap_or_default();
                free.push((server.id.clone(), startd.total.minus(&used, 1), has));
            }
        }
        let mut changed = Vec::new();
        for job in &mut self.jobs {
            if job.unmatchable || !matches!(job.state, JobState::Idle(_)) {
                continue;
            }
            let request = job.request.rounded();
            let takes = |has: &[String]| job.needs.is_empty() || has.contains(&job.needs);
            let Some((id, space, _)) = free
                .iter_mut()
                .find(|(_, space, has)| request.fits(space) && takes(has))
            else {
                continue;
            };
            *space = space.minus(&request, 1);
            job.starts += 1;
            job.last_run = self.names.get(id).map(|name| (machine(name), now));
            job.state = JobState::Running {
                server: id.clone(),
                since: now,
            };
            changed.push(id.clone());
        }
        changed.dedup();
        for id in changed {
            self.changed(&id);
        }
    }

    /// Jobs that are not done.
    pub fn unfinished(&self) -> usize {
        self.jobs
            .iter()
            .filter(|job| !matches!(job.state, JobState::Done(_)))
            .count()
    }
}
