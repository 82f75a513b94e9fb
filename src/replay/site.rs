//! The simulated site: clouds with quotas, nodes that boot and join, a queue and its negotiator.
//!
//! Owns: what a server, a startd and a job do over time, and the seconds that they cost.
//! Must not: decide how many nodes there are; that is a rule's.
//! Source: HTCondor manual, "Negotiation" (order of users and jobs, NEGOTIATOR_PRE_JOB_RANK), `CLAIM_WORKLIFETIME`,
//! `PRIORITY_HALFLIFE`; times of the real services are in `tests/testbed/FACTS.md`.

#![warn(missing_docs)]

mod clock;
mod negotiator;
mod queue;

use std::collections::BTreeMap;

use scaling::next_pass::Events;
use scaling::observation::{Flavor, Resources};

use crate::model::Model;
use crate::random::Random;
use crate::record::Record;
use crate::workload::{Job, NEVER, Seconds, Workload};
use clock::{Clock, Event};
use negotiator::Cycle;
use queue::Queue;

/// A node by the number of its create.
pub type NodeNumber = u32;

/// A cloud of the site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SiteCloud {
    /// Its name in the configuration.
    pub name: String,
    /// Quota of servers; `None` is unlimited.
    pub instances: Option<u64>,
    /// Quota of cores; `None` is unlimited.
    pub cores: Option<u64>,
    /// Quota of memory in MiB; `None` is unlimited.
    pub ram_mb: Option<u64>,
    /// The configured flavors, in the order of preference.
    pub flavors: Vec<SiteFlavor>,
}

/// A flavor of a cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteFlavor {
    /// Its name in the configuration.
    pub name: String,
    /// Nova's view of it.
    pub flavor: Flavor,
    /// What a node of it offers to jobs.
    pub capacity: Resources,
    /// Price of a server for an hour, where the configuration has one.
    pub price: Option<f64>,
    /// Started periods are paid whole, in seconds.
    pub billing_period: Option<Seconds>,
}

/// The progress of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its server boots, or never joins.
    Booting,
    /// Its startd is in the pool.
    Joined {
        /// Since when.
        at: Seconds,
    },
    /// Its server is being deleted.
    Deleting,
}

/// A running job, or a claim without one.
#[derive(Debug, Clone, Copy)]
struct Claim {
    class: u32,
    job: u32,
    started: Seconds,
    ends: Seconds,
    claimed: Seconds,
}

/// A server and the startd on it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its place in the site's clouds.
    pub cloud: usize,
    /// Its place in the flavors of the cloud.
    pub flavor: usize,
    /// The time of its create.
    pub created: Seconds,
    /// Its progress.
    pub stage: Stage,
    /// All that it offers.
    pub total: Resources,
    /// What no job uses.
    pub free: Resources,
    /// Since when its claims are as they are.
    pub unchanged_since: Seconds,
    /// It accepts no jobs any more.
    pub draining: bool,
    claims: Vec<Claim>,
}

impl Node {
    /// Running jobs on it.
    pub fn jobs(&self) -> u64 {
        self.claims.len() as u64
    }

    /// Whether it is in the pool and runs no job.
    pub fn is_idle(&self) -> bool {
        self.has_joined() && self.claims.is_empty()
    }

    /// Whether its startd is in the pool.
    pub fn has_joined(&self) -> bool {
        matches!(self.stage, Stage::Joined { .. })
    }

    /// Whether its server is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.stage == Stage::Deleting
    }

    fn takes(&self, request: &Resources) -> bool {
        self.has_joined() && !self.draining && request.fits(&self.free)
    }
}

/// Jobs of one class that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleJobs {
    /// The class, by its place in the workload.
    pub class: u32,
    /// How many wait.
    pub jobs: u64,
    /// Of these, the ones that no negotiation cycle has considered yet.
    pub young: u64,
    /// Since when the first of them has waited.
    pub since: Seconds,
}

/// Why a cloud creates no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The project's quota.
    Quota,
}

/// The site at one moment.
pub struct Site<'w> {
    /// The time.
    pub now: Seconds,
    /// The clouds.
    pub clouds: Vec<SiteCloud>,
    /// How its services behave.
    pub model: Model,
    /// The jobs that users submit to it.
    pub workload: &'w Workload,
    /// What happens, counted.
    pub record: Record,
    /// Job events since the last pass of a rule.
    pub events: Events,
    /// Raised by each create, join, drain and delete.
    pub fleet: u64,
    nodes: BTreeMap<NodeNumber, Node>,
    used: Vec<Used>,
    queue: Queue,
    clock: Clock,
    random: Random,
    created: NodeNumber,
    submitted: usize,
    running: u64,
    running_cores: u64,
    cycle: Cycle,
}

/// What servers use of a project's quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Servers.
    pub instances: u64,
    /// Cores.
    pub cores: u64,
    /// Memory in MiB.
    pub ram_mb: u64,
}

impl<'w> Site<'w> {
    /// A site without a node at second 0.
    pub fn new(
        workload: &'w Workload,
        clouds: Vec<SiteCloud>,
        model: Model,
        seed: u64,
    ) -> Site<'w> {
        let record = Record::new(workload);
        let mut site = Site {
            now: 0,
            used: vec![Used::default(); clouds.len()],
            clouds,
            model,
            workload,
            record,
            events: Events::default(),
            fleet: 0,
            nodes: BTreeMap::new(),
            queue: Queue::new(workload),
            clock: Clock::default(),
            random: Random::new(seed),
            created: 0,
            submitted: 0,
            running: 0,
            running_cores: 0,
            cycle: Cycle::default(),
        };
        site.submit_due();
        site
    }

    /// The nodes whose servers exist, in the order of their creates.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeNumber, &Node)> {
        self.nodes.iter().map(|(number, node)| (*number, node))
    }

    /// One of them.
    pub fn node(&self, number: NodeNumber) -> Option<&Node> {
        self.nodes.get(&number)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// The flavor of a node.
    pub fn flavor_of(&self, node: &Node) -> Option<&SiteFlavor> {
        self.clouds.get(node.cloud)?.flavors.get(node.flavor)
    }

    /// What is used of a cloud's quota.
    pub fn used(&self, cloud: usize) -> Used {
        self.used.get(cloud).copied().unwrap_or_default()
    }

    /// Jobs that wait, by class.
    pub fn idle_jobs(&self) -> Vec<IdleJobs> {
        self.queue.idle(self.cycle.last)
    }

    /// How many jobs wait.
    pub fn idle_count(&self) -> u64 {
        self.queue.len()
    }

    /// How many jobs run.
    pub fn running(&self) -> u64 {
        self.running
    }

    /// Cores that running jobs use.
    pub fn running_cores(&self) -> u64 {
        self.running_cores
    }

    /// When the last negotiation cycle began.
    pub fn last_cycle(&self) -> Option<Seconds> {
        self.cycle.last
    }

    /// Whether every job has ended or was removed.
    pub fn is_done(&self) -> bool {
        self.submitted == self.workload.jobs.len() && self.running == 0 && self.queue.len() == 0
    }

    /// Whether jobs still wait for a submission or an end: without that, what waits waits for ever.
    pub fn is_stuck(&self) -> bool {
        self.submitted == self.workload.jobs.len() && self.running == 0
    }

    /// Asks a cloud for a server.
    ///
    /// # Errors
    /// The quota has no room for it.
    pub fn create(&mut self, cloud: usize, flavor: usize) -> Result<NodeNumber, Refused> {
        let refused = Err(Refused::Quota);
        let Some(of_cloud) = self.clouds.get(cloud) else {
            return refused;
        };
        let Some(chosen) = of_cloud.flavors.get(flavor) else {
            return refused;
        };
        let (vcpus, ram_mb, total) = (chosen.flavor.vcpus, chosen.flavor.ram_mb, chosen.capacity);
        let used = self.used(cloud);
        let over = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used > limit);
        if over(of_cloud.instances, used.instances + 1)
            || over(of_cloud.cores, used.cores + vcpus)
            || over(of_cloud.ram_mb, used.ram_mb + ram_mb)
        {
            return refused;
        }
        if let Some(used) = self.used.get_mut(cloud) {
            used.instances += 1;
            used.cores += vcpus;
            used.ram_mb += ram_mb;
        }
        self.created += 1;
        let number = self.created;
        let node = Node {
            cloud,
            flavor,
            created: self.now,
            stage: Stage::Booting,
            total,
            free: total,
            unchanged_since: self.now,
            draining: false,
            claims: Vec::new(),
        };
        self.nodes.insert(number, node);
        let joins = self.model.joins_after(&mut self.random);
        if let Some(joins) = joins {
            self.clock
                .at(self.now.saturating_add(joins), Event::Join(number));
        }
        self.fleet += 1;
        self.record.created(vcpus);
        Ok(number)
    }

    /// Drains a node if it runs no job; whether it does not.
    pub fn drain(&mut self, number: NodeNumber) -> bool {
        let Some(node) = self.nodes.get_mut(&number) else {
            return false;
        };
        if !node.claims.is_empty() {
            return false;
        }
        node.draining = true;
        self.fleet += 1;
        true
    }

    /// Stops jobs from starting on a node, whatever runs there; those jobs end by themselves (`condor_drain -graceful`).
    pub fn retire(&mut self, number: NodeNumber) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.draining = true;
            self.fleet += 1;
        }
    }

    /// Cancels a drain.
    pub fn cancel_drain(&mut self, number: NodeNumber) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.draining = false;
            node.unchanged_since = self.now;
            self.fleet += 1;
            self.cycle.is_due = true;
        }
    }

    /// Deletes the server of a node. Jobs that run there become idle again, and what they have done is lost.
    pub fn delete(&mut self, number: NodeNumber) -> bool {
        let Some(node) = self.nodes.get_mut(&number) else {
            return false;
        };
        if node.is_leaving() {
            return true;
        }
        node.stage = Stage::Deleting;
        let lost = std::mem::take(&mut node.claims);
        node.free = node.total;
        for claim in lost {
            self.running -= 1;
            let cores = self.queue.cores(claim.class);
            self.running_cores -= cores;
            self.record.lost(claim.started, self.now, cores);
            self.queue.push(claim.class, claim.job, self.now);
            let removed = self.workload.jobs.get(claim.job as usize);
            let removed = removed.map_or(NEVER, |job| job.removed);
            if removed > self.now {
                self.queue
                    .removal(claim.class, claim.job, self.now, removed);
            }
            self.events.waiting += 1;
            self.cycle.is_due = true;
        }
        self.clock.at(
            self.now.saturating_add(self.model.delete_seconds),
            Event::Gone(number),
        );
        self.fleet += 1;
        true
    }

    /// Has the negotiator begin a cycle now (`condor_reschedule`).
    pub fn reschedule(&mut self) {
        self.negotiate();
    }

    /// The time of the next thing that happens by itself.
    pub fn next_event(&self) -> Option<Seconds> {
        let submitted = self.workload.jobs.get(self.submitted);
        let cycle = self
            .cycle
            .is_due
            .then(|| self.next_cycle())
            .filter(|_| self.queue.len() > 0);
        [
            submitted.map(|job| job.submitted),
            self.clock.next(),
            cycle,
            self.queue.next_removal(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Moves the time on to `time` without anything in between: see [`Site::next_event`].
    pub fn advance(&mut self, time: Seconds) {
        let cycle_due = self.cycle.is_due && self.queue.len() > 0 && self.next_cycle() <= time;
        self.record.pass_time(
            self.now,
            time,
            &crate::record::Level {
                idle: self.queue.len(),
                running: self.running,
                running_cores: self.running_cores,
                nodes: self.nodes.len() as u64,
                cores: self.used.iter().map(|used| used.cores).sum(),
            },
        );
        self.now = time;
        while let Some(event) = self.clock.due(time) {
            match event {
                Event::End { node, job } => self.end(node, job),
                Event::Join(number) => self.join(number),
                Event::Gone(number) => self.gone(number),
            }
        }
        self.submit_due();
        self.remove_due();
        if cycle_due {
            self.negotiate();
        }
    }

    fn next_cycle(&self) -> Seconds {
        let Cycle { last, is_asked, .. } = self.cycle;
        self.model.next_cycle(self.now, last, is_asked)
    }

    fn submit_due(&mut self) {
        while let Some(job) = self.workload.jobs.get(self.submitted) {
            if job.submitted > self.now {
                break;
            }
            let (number, class, removed) = (self.submitted as u32, job.class, job.removed);
            self.submitted += 1;
            self.queue.push(class, number, self.now);
            self.queue.removal(class, number, self.now, removed);
            self.events.waiting += 1;
            self.cycle.is_due = true;
            self.cycle.is_asked = true;
        }
    }

    fn remove_due(&mut self) {
        let removed = self.queue.remove_due(self.now);
        if removed > 0 {
            self.record.removed(removed);
            self.events.ended += removed;
        }
    }

    fn join(&mut self, number: NodeNumber) {
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(&number)
            && node.stage == Stage::Booting
        {
            node.stage = Stage::Joined { at: now };
            node.unchanged_since = now;
            self.record.joined(node.created, now);
            self.cycle.is_due = true;
            self.fleet += 1;
        }
    }

    fn gone(&mut self, number: NodeNumber) {
        let Some(node) = self.nodes.remove(&number) else {
            return;
        };
        let Some(flavor) = self
            .clouds
            .get(node.cloud)
            .and_then(|cloud| cloud.flavors.get(node.flavor))
        else {
            return;
        };
        if let Some(used) = self.used.get_mut(node.cloud) {
            used.instances -= 1;
            used.cores -= flavor.flavor.vcpus;
            used.ram_mb -= flavor.flavor.ram_mb;
        }
        self.record.deleted(
            &self.clouds,
            node.cloud,
            node.flavor,
            node.created,
            self.now,
        );
        self.fleet += 1;
    }

    /// Ends a server that the rule has left.
    pub(crate) fn remove_at_end(&mut self, number: NodeNumber) {
        self.gone(number);
    }

    /// A job has ended. Its claim takes the next job of its class at once, else it is given up.
    fn end(&mut self, number: NodeNumber, job: u32) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let ended = |claim: &Claim| claim.job == job && claim.ends == now;
        let Some(place) = node.claims.iter().position(ended) else {
            return;
        };
        let claim = node.claims.swap_remove(place);
        let request = self.queue.request(claim.class);
        node.free = node.free.plus(&request);
        self.running -= 1;
        self.running_cores -= request.cpus;
        self.record.ended(claim.started, now, request.cpus);
        self.queue
            .used(claim.class, claim.started, now, &self.model);
        self.events.ended += 1;
        let worklife = self.model.claim_worklife;
        let is_young = now.saturating_sub(claim.claimed) < worklife;
        if is_young
            && !node.draining
            && let Some(next) = self.queue.pop(claim.class)
        {
            self.start(number, next, claim.claimed);
            return;
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.unchanged_since = now;
        }
        self.cycle.is_due = true;
    }

    /// Starts a job on a node.
    fn start(&mut self, number: NodeNumber, job: u32, claimed: Seconds) {
        let now = self.now;
        let Some(Job { runs, class, .. }) = self.workload.jobs.get(job as usize).copied() else {
            return;
        };
        let request = self.queue.request(class);
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let ends = now.saturating_add(runs);
        node.free = node.free.minus(&request, 1);
        if node.claims.is_empty() || claimed == now {
            node.unchanged_since = now;
        }
        node.claims.push(Claim {
            class,
            job,
            started: now,
            ends,
            claimed,
        });
        self.clock.at(ends, Event::End { node: number, job });
        self.running += 1;
        self.running_cores += request.cpus;
        self.events.started += 1;
        self.record.started(self.workload, job, now);
    }
}
