//! Puts grouped jobs into grouped space: first fit, the smallest space that fits first. The work grows with groups
//! and kinds of space, not with jobs and nodes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::observation::Resources;

/// Space of equal size, and whose it is.
type Spaces = BTreeMap<(Resources, bool), VecDeque<usize>>;

/// Free space: slots, or whole nodes that are coming.
#[derive(Debug, Default)]
pub struct Stock {
    spaces: Spaces,
}

impl Stock {
    /// Adds the space of `owner`. `settled` space has been as it is for several negotiation cycles: a job that has
    /// waited beside it will not take it.
    pub fn add(&mut self, free: Resources, settled: bool, owner: usize) {
        let owners = self.spaces.entry((free, settled)).or_default();
        owners.push_back(owner);
    }

    /// The smallest space after `after` that fits `request`. What fits is not smaller in anything, so it is not
    /// before the request in the order of the map.
    fn next_fitting(
        &self,
        request: &Resources,
        settled_too: bool,
        after: Bound<(Resources, bool)>,
    ) -> Option<(Resources, bool)> {
        self.spaces
            .range((after, Bound::Unbounded))
            .map(|(key, _)| *key)
            .find(|(free, settled)| (settled_too || !settled) && request.fits(free))
    }

    /// Places up to `jobs` of `request`, into settled space only when `settled_too`; whose space it was is told by
    /// `used`, with the number of jobs there. Returns how many were placed.
    pub fn place(
        &mut self,
        request: &Resources,
        jobs: u64,
        settled_too: bool,
        mut used: impl FnMut(usize, u64),
    ) -> u64 {
        let mut left = jobs;
        let mut after = Bound::Included((*request, false));
        // What is left of a space is smaller than it, so it is behind the cursor and not looked at again.
        while left > 0
            && let Some(key) = self.next_fitting(request, settled_too, after)
        {
            after = Bound::Excluded(key);
            let (free, settled) = key;
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
                self.add(free.minus(request, each), settled, owner);
            }
            if let Some(owner) = last {
                used(owner, left);
                self.add(free.minus(request, left), settled, owner);
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
        stock.add(cpus(8), false, 1);
        stock.add(cpus(2), false, 2);
        stock.add(cpus(8), true, 3);
        let mut used = Vec::new();
        let placed = stock.place(&cpus(2), 4, false, |owner, jobs| used.push((owner, jobs)));
        assert_eq!(placed, 4);
        assert_eq!(used, [(2, 1), (1, 3)]);
        assert_eq!(
            stock.place(&cpus(4), 1, false, |_, _| {}),
            0,
            "settled space is not for it"
        );
        assert_eq!(stock.place(&cpus(4), 3, true, |_, _| {}), 2);
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
                stock.add(*free, *settled, owner);
                left.push(*free);
            }
            for (request, jobs) in &groups {
                let mut told = 0;
                let placed = stock.place(request, *jobs, true, |owner, jobs| {
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
