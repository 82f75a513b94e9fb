//! Negotiation cycles: which idle job starts on which node.
//!
//! Users in the order of their priorities, each up to its share of the pool first; jobs of a user in the order of their
//! submission; of the nodes that fit the one with the least free cores (the fullest), or with the most.
//! Source: HTCondor manual, "Negotiation" and NEGOTIATOR_PRE_JOB_RANK.

use std::collections::BTreeSet;

use super::{NodeNumber, Site};
use crate::workload::Seconds;
use scaling::observation::Resources;
use scaling::sorting;

/// The state of the negotiator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cycle {
    /// When the last cycle began.
    pub last: Option<Seconds>,
    /// A cycle could start something: jobs came, or room did.
    pub is_due: bool,
    /// A schedd has asked for one: jobs were submitted.
    pub is_asked: bool,
}

impl Site<'_> {
    /// One cycle.
    pub(super) fn negotiate(&mut self) {
        self.cycle = Cycle {
            last: Some(self.now),
            is_due: false,
            is_asked: false,
        };
        let owners = self.owners_by_priority();
        let mut room = Room::of(self);
        if owners.len() > 1 {
            let shares = self.shares(&owners);
            for ((_, classes), share) in owners.iter().zip(shares) {
                self.start_jobs_of(classes, share, &mut room);
            }
        }
        for (_, classes) in &owners {
            self.start_jobs_of(classes, u64::MAX, &mut room);
        }
    }

    /// Owners with idle jobs, the best priority first, each with its classes.
    fn owners_by_priority(&self) -> Vec<(usize, Vec<u32>)> {
        let mut owners: Vec<(usize, Vec<u32>)> = Vec::new();
        for class in self.queue.occupied() {
            let owner = self.queue.owner_of.get(class as usize).copied();
            let owner = owner.unwrap_or_default();
            match owners.iter_mut().find(|(there, _)| *there == owner) {
                Some((_, classes)) => classes.push(class),
                None => owners.push((owner, vec![class])),
            }
        }
        if owners.len() > 1 {
            let usage = |owner: usize| self.queue.usage(owner, self.now, &self.model);
            sorting::by(&mut owners, |(one, _), (two, _)| {
                usage(*one).total_cmp(&usage(*two)).then(one.cmp(two))
            });
        }
        owners
    }

    /// The free cores that each owner may take before the others have had their turn.
    fn shares(&self, owners: &[(usize, Vec<u32>)]) -> Vec<u64> {
        let free: u64 = self
            .nodes
            .values()
            .filter(|node| node.has_joined() && !node.draining)
            .map(|node| node.free.cpus)
            .sum();
        // A user's factor counts at least half a core of usage (priorities begin at 0.5).
        let least = self.model.least_usage();
        let weight = |owner: usize| 1.0 / self.queue.usage(owner, self.now, &self.model).max(least);
        let all: f64 = owners.iter().map(|(owner, _)| weight(*owner)).sum();
        let share = |owner: usize| (free as f64 * weight(owner) / all).ceil() as u64;
        owners.iter().map(|(owner, _)| share(*owner)).collect()
    }

    /// Starts jobs of these classes, the longest waiting first, on at most so many cores.
    fn start_jobs_of(&mut self, classes: &[u32], mut cores: u64, room: &mut Room) {
        let mut open = classes.to_vec();
        open.retain(|class| self.queue.first(*class).is_some());
        while let Some(class) = self.longest_waiting(&open) {
            let request = self.queue.request(class);
            let place = (request.cpus <= cores)
                .then(|| self.best_node(&request, room))
                .flatten();
            let Some(number) = place else {
                open.retain(|there| *there != class);
                continue;
            };
            cores -= request.cpus;
            if let Some(job) = self.queue.pop(class) {
                let before = self.nodes.get(&number).map_or(0, |node| node.free.cpus);
                self.start(number, job, self.now);
                let after = self.nodes.get(&number).map_or(0, |node| node.free.cpus);
                room.moves(number, before, after);
            }
        }
    }

    fn longest_waiting(&self, classes: &[u32]) -> Option<u32> {
        let since = |class: &u32| Some((self.queue.first(*class)?, *class));
        let (_, class) = classes.iter().filter_map(since).min()?;
        Some(class)
    }

    /// The node for a request: the fullest that has room, or the emptiest; of equal ones the oldest.
    fn best_node(&self, request: &Resources, room: &Room) -> Option<NodeNumber> {
        let takes = |number: &NodeNumber| {
            let node = self.nodes.get(number);
            node.is_some_and(|node| node.takes(request))
        };
        if self.model.breadth_first {
            room.emptiest_first(request.cpus).find(takes)
        } else {
            room.fullest_first(request.cpus).find(takes)
        }
    }
}

/// The nodes that take jobs, by their free cores: a search through all nodes for each job takes jobs × nodes steps.
struct Room(BTreeSet<(u64, NodeNumber)>);

impl Room {
    fn of(site: &Site<'_>) -> Room {
        let nodes = site.nodes.iter();
        let open = nodes.filter(|(_, node)| node.has_joined() && !node.draining);
        Room(
            open.map(|(number, node)| (node.free.cpus, *number))
                .collect(),
        )
    }

    fn moves(&mut self, number: NodeNumber, before: u64, after: u64) {
        self.0.remove(&(before, number));
        self.0.insert((after, number));
    }

    fn fullest_first(&self, cpus: u64) -> impl Iterator<Item = NodeNumber> {
        self.0.range((cpus, 0)..).map(|(_, number)| *number)
    }

    fn emptiest_first(&self, cpus: u64) -> impl Iterator<Item = NodeNumber> {
        let mut below = self.0.range(..).next_back().map(|(free, _)| *free);
        let levels = std::iter::from_fn(move || {
            let level = below.filter(|level| *level >= cpus)?;
            below = self
                .0
                .range(..(level, 0))
                .next_back()
                .map(|(free, _)| *free);
            Some(level)
        });
        levels.flat_map(|level| {
            let same = self.0.range((level, 0)..=(level, NodeNumber::MAX));
            same.map(|(_, number)| *number)
        })
    }
}
