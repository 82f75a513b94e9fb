//! The idle jobs of all classes, and the usage of their owners.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use scaling::observation::Resources;

use super::IdleJobs;
use crate::model::Model;
use crate::workload::{NEVER, Seconds, Workload};

/// Idle jobs of one class, the longest waiting one first: (idle since, job).
type Waiting = BTreeSet<(Seconds, u32)>;

/// The removal of a job by its user: (time, class, idle since, job).
type Removal = (Seconds, u32, Seconds, u32);

/// The idle jobs of a schedd.
pub struct Queue {
    requests: Vec<Resources>,
    waiting: Vec<Waiting>,
    /// Classes with idle jobs.
    occupied: BTreeSet<u32>,
    removals: BinaryHeap<Reverse<Removal>>,
    /// The owner of each class.
    pub owner_of: Vec<usize>,
    /// Core-seconds of each owner that count for the priority, and when that was.
    usage: Vec<(f64, Seconds)>,
    length: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(workload: &Workload) -> Queue {
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        let mut owner_of = Vec::with_capacity(workload.classes.len());
        for class in &workload.classes {
            let next = owners.len();
            owner_of.push(*owners.entry(&class.owner).or_insert(next));
        }
        let requests = workload.classes.iter().map(|class| class.request.rounded());
        Queue {
            requests: requests.collect(),
            waiting: vec![Waiting::new(); workload.classes.len()],
            occupied: BTreeSet::new(),
            removals: BinaryHeap::new(),
            usage: vec![(0.0, 0); owners.len()],
            owner_of,
            length: 0,
        }
    }

    /// How many jobs wait.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The request of each job of a class.
    pub fn request(&self, class: u32) -> Resources {
        self.requests
            .get(class as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The cores of each job of a class.
    pub fn cores(&self, class: u32) -> u64 {
        self.request(class).cpus
    }

    /// Adds a job that has waited since then.
    pub fn push(&mut self, class: u32, job: u32, since: Seconds) {
        if let Some(waiting) = self.waiting.get_mut(class as usize) {
            waiting.insert((since, job));
            self.occupied.insert(class);
            self.length += 1;
        }
    }

    /// Notes when the user of a job that has waited since then removes it.
    pub fn removal(&mut self, class: u32, job: u32, since: Seconds, removed: Seconds) {
        if removed != NEVER {
            self.removals.push(Reverse((removed, class, since, job)));
        }
    }

    /// The next removal of a job by its user.
    pub fn next_removal(&self) -> Option<Seconds> {
        self.removals.peek().map(|Reverse((time, ..))| *time)
    }

    /// Takes the jobs out that their users remove until `now`, if they still wait; how many.
    pub fn remove_due(&mut self, now: Seconds) -> u64 {
        let mut removed = 0;
        while let Some(Reverse((time, class, since, job))) = self.removals.peek().copied() {
            if time > now {
                break;
            }
            self.removals.pop();
            let Some(waiting) = self.waiting.get_mut(class as usize) else {
                continue;
            };
            if waiting.remove(&(since, job)) {
                self.length -= 1;
                removed += 1;
                if waiting.is_empty() {
                    self.occupied.remove(&class);
                }
            }
        }
        removed
    }

    /// The longest waiting job of a class, after the time since when it has.
    pub fn first(&self, class: u32) -> Option<(Seconds, u32)> {
        self.waiting.get(class as usize)?.first().copied()
    }

    /// Takes it.
    pub fn pop(&mut self, class: u32) -> Option<u32> {
        let waiting = self.waiting.get_mut(class as usize)?;
        let (_, job) = waiting.pop_first()?;
        self.length -= 1;
        if waiting.is_empty() {
            self.occupied.remove(&class);
        }
        Some(job)
    }

    /// Classes with idle jobs.
    pub fn occupied(&self) -> impl Iterator<Item = u32> {
        self.occupied.iter().copied()
    }

    /// Idle jobs by class; those that became idle after `cycle` are young.
    pub fn idle(&self, cycle: Option<Seconds>) -> Vec<IdleJobs> {
        let of = |class: u32| {
            let waiting = self.waiting.get(class as usize)?;
            let (since, _) = *waiting.first()?;
            let young = match cycle.filter(|cycle| since < *cycle) {
                // They are few.
                Some(cycle) => waiting.range((cycle, 0)..).count(),
                None => waiting.len(),
            };
            Some(IdleJobs {
                class,
                jobs: waiting.len() as u64,
                young: young as u64,
                since,
            })
        };
        self.occupied
            .iter()
            .filter_map(|class| of(*class))
            .collect()
    }

    /// Counts what a job of this class used for the priority of its owner.
    pub fn used(&mut self, class: u32, started: Seconds, ended: Seconds, model: &Model) {
        let cores = self.cores(class) as f64;
        let owner = self.owner_of.get(class as usize);
        if let Some((usage, at)) = owner.and_then(|owner| self.usage.get_mut(*owner)) {
            *usage *= model.decay(ended.saturating_sub(*at));
            *usage += cores * f64::from(ended.saturating_sub(started));
            *at = ended;
        }
    }

    /// The usage of an owner at `now` that counts for its priority.
    pub fn usage(&self, owner: usize, now: Seconds, model: &Model) -> f64 {
        self.usage.get(owner).map_or(0.0, |(usage, at)| {
            usage * model.decay(now.saturating_sub(*at))
        })
    }
}
