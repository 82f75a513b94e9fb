//! What a node offers: one space for each of its slots.
//!
//! A node offers what a node of its type advertised, slot by slot. Before the first, its RAM less
//! max(512 MB, 8 %).

use serde::{Deserialize, Serialize};

use super::observation::{Resources, StartdView};

/// The spaces of a node: one of a partitionable slot, one of each static slot. A job takes one space, never two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capacity(Vec<Resources>);

impl Capacity {
    /// A node with a single partitionable slot.
    pub fn whole(space: Resources) -> Capacity {
        Capacity(vec![space])
    }

    /// What a startd advertises as its own; `None` when an ad is incomplete.
    pub fn of(startd: &StartdView) -> Option<Capacity> {
        let spaces: Vec<Resources> = startd.slots.iter().map(|slot| slot.total).collect();
        let complete = !spaces.is_empty() && spaces.iter().all(|space| space.cpus > 0);
        complete.then_some(Capacity(spaces))
    }

    pub fn spaces(&self) -> impl Iterator<Item = &Resources> {
        self.0.iter()
    }

    /// All of them together, which no job can have.
    pub fn total(&self) -> Resources {
        self.0
            .iter()
            .fold(Resources::default(), |sum, space| sum.plus(space))
    }

    /// Whether it holds a job of `request`.
    pub fn fits(&self, request: &Resources) -> bool {
        self.0.iter().any(|space| request.fits(space))
    }

    /// How many jobs of `request` it holds.
    pub fn holds(&self, request: &Resources) -> u64 {
        let each = self.0.iter().map(|space| request.times_in(space));
        each.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_slots_are_no_sum() {
        let one = Resources {
            cpus: 1,
            memory_mb: 2048,
            ..Resources::default()
        };
        let two = Resources { cpus: 2, ..one };
        let node = Capacity(vec![one, one, one]);
        assert_eq!(node.holds(&one), 3);
        assert_eq!(node.holds(&two), 0);
        assert!(node.fits(&one) && !node.fits(&two));
        assert_eq!(node.total(), one.times(3));
        assert_eq!(Capacity::whole(two).holds(&one), 1, "memory is for one");
    }
}
