//! Packs job groups into grouped space: first fit, the smallest space first. The work grows with groups and kinds of space,
//! not with jobs and nodes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::observation::Resources;

/// Which jobs a space is for: those that its class takes. Spaces of nodes of one kind are of one class.
pub type Class = usize;

/// Space of equal size and class, and whose it is.
type Spaces = BTreeMap<(Resources, bool, Class), VecDeque<usize>>;

/// Free space: slots, or whole nodes that are coming.
#[derive(Debug, Default)]
pub struct Stock {
    spaces: Spaces,
}

impl Stock {
    /// Adds the space of `owner`. `settled` space has been as it is for several negotiation cycles: a job that has
    /// waited beside it will not take it.
    pub fn add(&mut self, free: Resources, settled: bool, class: Class, owner: usize) {
        let owners = self.spaces.entry((free, settled, class)).or_default();
        owners.push_back(owner);
    }

    /// The smallest space after `after` that fits `request`. What fits is not smaller in anything, so it is not
    /// before the request in the order of the map.
    fn next_fitting(
        &self,
        request: &Resources,
        takes: &impl Fn(bool, Class) -> bool,
        after: Bound<(Resources, bool, Class)>,
    ) -> Option<(Resources, bool, Class)> {
        self.spaces
            .range((after, Bound::Unbounded))
            .map(|(key, _)| *key)
            .find(|(free, settled, class)| takes(*settled, *class) && request.fits(free))
    }

    /// Places up to `jobs` of `request` into space for which `takes` (settled or not, class) is true, and reports each used
    /// space with its number of jobs to `used`. Returns the number of placed jobs.
    pub fn place(
        &mut self,
        request: &Resources,
        jobs: u64,
        takes: impl Fn(bool, Class) -> bool,
        mut used: impl FnMut(usize, u64),
    ) -> u64 {
        let mut left = jobs;
        let mut after = Bound::Included((*request, false, 0));
        // What is left of a space is smaller than it, so it is behind the cursor and not looked at again.
        while left > 0
            && let Some(key) = self.next_fitting(request, &takes, after)
        {
            after = Bound::Excluded(key);
            let (free, settled, class) = key;
            // A request of nothing fits without end; it takes a space all the same, so that it is seen to be used.
            let each = request.times_in(&free).min(left).max(1);
            let Some(owners) = self.spaces.get_mut(&key) else {
                continue;
            };
            let full = usize::try_from(left / each)
                .unwrap_or(usize::MAX)
                .min(owners.len());
            let taken: Vec<usize> = owners.drain(..full).collect();
            left -= each * taken.len() as u64;
            let last = if left > 0 { owners.pop_front() } else { None };
            if owners.is_empty() {
                self.spaces.remove(&key);
            }
            for owner in taken {
                used(owner, each);
                self.add(free.minus(request, each), settled, class, owner);
            }
            if let Some(owner) = last {
                used(owner, left);
                self.add(free.minus(request, left), settled, class, owner);
                left = 0;
            }
        }
        jobs - left
    }
}

/// The parts of a whole that shares are counted in.
pub const WHOLE: u64 = 1 << 20;

/// How large a request is against `whole`: its largest share of any resource, in parts of [`WHOLE`]. Requests are placed
/// in decreasing order of it (first-fit-decreasing by dominant resource).
pub fn dominant_share(request: &Resources, whole: &Resources) -> u64 {
    let share = |need: u64, have: u64| match have {
        0 if need == 0 => 0,
        0 => u64::MAX,
        have => need.saturating_mul(WHOLE) / have,
    };
    share(request.cpus, whole.cpus)
        .max(share(request.memory_mb, whole.memory_mb))
        .max(share(request.disk_kb, whole.disk_kb))
        .max(share(request.gpus, whole.gpus))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpus(cpus: u64) -> Resources {
        Resources {
            cpus,
            memory_mb: cpus * 1000,
            ..Resources::default()
        }
    }

    #[test]
    fn jobs_fill_the_smallest_space_first_and_leave_the_rest() {
        let mut stock = Stock::default();
        stock.add(cpus(8), false, 0, 1);
        stock.add(cpus(2), false, 0, 2);
        stock.add(cpus(8), true, 0, 3);
        let mut used = Vec::new();
        let fresh = |settled: bool, _: Class| !settled;
        let placed = stock.place(&cpus(2), 4, fresh, |owner, jobs| used.push((owner, jobs)));
        assert_eq!(placed, 4);
        assert_eq!(used, [(2, 1), (1, 3)]);
        assert_eq!(
            stock.place(&cpus(4), 1, fresh, |_, _| {}),
            0,
            "settled space is not for it"
        );
        assert_eq!(stock.place(&cpus(4), 3, |_, _| true, |_, _| {}), 2);
    }

    #[test]
    fn jobs_leave_space_alone_that_does_not_take_them() {
        let mut stock = Stock::default();
        stock.add(cpus(4), false, 1, 1);
        stock.add(cpus(4), false, 2, 2);
        stock.add(cpus(6), false, 2, 3);
        let mut used = Vec::new();
        let second = |_: bool, class: Class| class == 2;
        let placed = stock.place(&cpus(2), 9, second, |owner, jobs| used.push((owner, jobs)));
        assert_eq!((placed, used), (5, vec![(2, 2), (3, 3)]));
        assert_eq!(
            stock.place(&cpus(4), 1, |_, class| class == 1, |_, _| {}),
            1
        );
    }

    fn resources(most: u64) -> impl Strategy<Value = Resources> {
        (1..=most, 1..=most, 0..=most, 0..=2u64).prop_map(|(cpus, memory_mb, disk_kb, gpus)| {
            Resources {
                cpus,
                memory_mb,
                disk_kb,
                gpus,
            }
        })
    }

    proptest! {
        /// Space is neither lost nor used twice, and grouping places exactly what one job after the other would.
        #[test]
        fn grouped_placing_keeps_the_books(
            spaces in prop::collection::vec((resources(16), any::<bool>()), 0..12),
            groups in prop::collection::vec((resources(8), 0..40u64), 0..6),
        ) {
            let mut stock = Stock::default();
            let mut left: Vec<Resources> = Vec::new();
            for (owner, (free, settled)) in spaces.iter().enumerate() {
                stock.add(*free, *settled, owner % 3, owner);
                left.push(*free);
            }
            for (request, jobs) in &groups {
                let mut told = 0;
                let placed = stock.place(request, *jobs, |_, _| true, |owner, jobs| {
                    told += jobs;
                    assert!(request.times_in(&left[owner]) >= jobs, "no more than fits");
                    left[owner] = left[owner].minus(request, jobs);
                });
                prop_assert_eq!(told, placed);
                prop_assert!(placed <= *jobs);
                let room: u64 = left.iter().map(|free| request.times_in(free)).sum();
                prop_assert!(placed == *jobs || room == 0, "nothing is left out while there is room");
            }
        }
    }
}
