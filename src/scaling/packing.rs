//! Packs job groups into grouped space: first fit, the smallest space first. The work grows with groups and kinds of space,
//! not with jobs and nodes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::observation::Resources;

/// Which jobs a space is for: those that its class takes. Spaces of nodes of one kind are of one class.
pub type Class = usize;

/// Space of equal size and class, and whose it is.
type Spaces = BTreeMap<(Resources, Class), VecDeque<usize>>;

/// Spaces with equal numbers of cores.
#[derive(Debug, Default)]
struct Shelf {
    spaces: Spaces,
    /// No space is larger than this in anything. It may be too large.
    most: Resources,
}

/// Shelves by the number of cores.
type Shelves = BTreeMap<u64, Shelf>;

/// A place in the order of spaces: by size, settled ones after others, by class.
type Place = (Resources, bool, Class);

/// Free space: slots, or whole nodes that are coming.
#[derive(Debug, Default)]
pub struct Stock {
    unsettled: Shelves,
    settled: Shelves,
}

/// The smallest space of these shelves after `after` that fits `request`. What fits is not smaller in anything, so it is
/// not before the request in the order of its shelf.
fn next_fitting(
    shelves: &Shelves,
    request: &Resources,
    takes: &impl Fn(Class) -> bool,
    after: Bound<(Resources, Class)>,
) -> Option<(Resources, Class)> {
    let passed = match after {
        Bound::Excluded(passed) | Bound::Included(passed) => Some(passed),
        Bound::Unbounded => None,
    };
    let begin = passed.map_or(0, |(free, _)| free.cpus);
    let shelves = shelves.range(request.cpus.max(begin)..);
    let mut shelves = shelves.filter(|(_, shelf)| request.fits(&shelf.most));
    shelves.find_map(|(cpus, shelf)| {
        let least = Resources {
            cpus: *cpus,
            ..*request
        };
        let begin = match passed {
            Some(passed) if passed >= (least, 0) => after,
            _ => Bound::Included((least, 0)),
        };
        let mut spaces = shelf.spaces.range((begin, Bound::Unbounded));
        let fits = spaces.find(|((free, class), _)| takes(*class) && request.fits(free));
        fits.map(|(key, _)| *key)
    })
}

impl Stock {
    fn shelves(&mut self, settled: bool) -> &mut Shelves {
        match settled {
            true => &mut self.settled,
            false => &mut self.unsettled,
        }
    }

    /// Adds the space of `owner`. `settled` space has been as it is for several negotiation cycles: a job that has
    /// waited beside it will not take it.
    pub fn add(&mut self, free: Resources, settled: bool, class: Class, owner: usize) {
        let shelf = self.shelves(settled).entry(free.cpus).or_default();
        shelf.most = shelf.most.each(&free, u64::max);
        let owners = shelf.spaces.entry((free, class)).or_default();
        owners.push_back(owner);
    }

    /// The first space after `after`, in the order of both, that fits.
    fn next(
        &self,
        request: &Resources,
        settled_too: bool,
        takes: &impl Fn(Class) -> bool,
        after: Option<Place>,
    ) -> Option<Place> {
        let bound = |settled: bool| match after {
            None => Bound::Unbounded,
            Some((free, was_settled, class)) => match (was_settled, settled) {
                // Of equal size those that are settled come later.
                (false, true) => Bound::Included((free, 0)),
                (true, false) => Bound::Excluded((free, Class::MAX)),
                _ => Bound::Excluded((free, class)),
            },
        };
        let find = |shelves, settled| {
            let found = next_fitting(shelves, request, takes, bound(settled));
            found.map(|(free, class)| (free, settled, class))
        };
        let settled = if settled_too {
            find(&self.settled, true)
        } else {
            None
        };
        find(&self.unsettled, false)
            .into_iter()
            .chain(settled)
            .min()
    }

    /// Places up to `jobs` of `request` into space of classes for which `takes` is true, into settled space only if
    /// `settled_too`, and reports each used space with its number of jobs to `used`. Returns the number of placed jobs.
    pub fn place(
        &mut self,
        request: &Resources,
        jobs: u64,
        settled_too: bool,
        takes: impl Fn(Class) -> bool,
        mut used: impl FnMut(usize, u64),
    ) -> u64 {
        let mut left = jobs;
        let mut after = None;
        // What is left of a space is smaller than it, so it is behind the cursor and not looked at again.
        while left > 0
            && let Some(place) = self.next(request, settled_too, &takes, after)
        {
            after = Some(place);
            let (free, settled, class) = place;
            // A request of nothing fits without end; it takes a space all the same, so that it is seen to be used.
            let each = request.times_in(&free).min(left).max(1);
            let Some(shelf) = self.shelves(settled).get_mut(&free.cpus) else {
                continue;
            };
            let Some(owners) = shelf.spaces.get_mut(&(free, class)) else {
                continue;
            };
            let full = usize::try_from(left / each)
                .unwrap_or(usize::MAX)
                .min(owners.len());
            let taken: Vec<usize> = owners.drain(..full).collect();
            left -= each * taken.len() as u64;
            let last = if left > 0 { owners.pop_front() } else { None };
            if owners.is_empty() {
                shelf.spaces.remove(&(free, class));
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
        let all = |_: Class| true;
        let placed = stock.place(&cpus(2), 4, false, all, |owner, jobs| {
            used.push((owner, jobs))
        });
        assert_eq!(placed, 4);
        assert_eq!(used, [(2, 1), (1, 3)]);
        assert_eq!(
            stock.place(&cpus(4), 1, false, all, |_, _| {}),
            0,
            "settled space is not for it"
        );
        assert_eq!(stock.place(&cpus(4), 3, true, all, |_, _| {}), 2);
    }

    #[test]
    fn jobs_leave_space_alone_that_does_not_take_them() {
        let mut stock = Stock::default();
        stock.add(cpus(4), false, 1, 1);
        stock.add(cpus(4), false, 2, 2);
        stock.add(cpus(6), false, 2, 3);
        let mut used = Vec::new();
        let second = |class: Class| class == 2;
        let placed = stock.place(&cpus(2), 9, true, second, |owner, jobs| {
            used.push((owner, jobs))
        });
        assert_eq!((placed, used), (5, vec![(2, 2), (3, 3)]));
        assert_eq!(
            stock.place(&cpus(4), 1, true, |class| class == 1, |_, _| {}),
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

    /// First fit in one ordered list: what shelves are an index of.
    #[derive(Default)]
    struct List(BTreeMap<Place, VecDeque<usize>>);

    impl List {
        fn place(
            &mut self,
            request: &Resources,
            jobs: u64,
            settled_too: bool,
            own: Class,
        ) -> Vec<(usize, u64)> {
            let (mut left, mut used) = (jobs, Vec::new());
            let mut after = Bound::Unbounded;
            while left > 0 {
                let mut later = self.0.range((after, Bound::Unbounded)).map(|(key, _)| *key);
                let fits = |(free, settled, class): &Place| {
                    (settled_too || !settled) && *class != own && request.fits(free)
                };
                let Some(place) = later.find(fits) else { break };
                after = Bound::Excluded(place);
                let (free, settled, class) = place;
                let each = request.times_in(&free).min(left).max(1);
                for owner in self.0.remove(&place).unwrap() {
                    let jobs = each.min(left);
                    let rest = (free.minus(request, jobs), settled, class);
                    self.0.entry(rest).or_default().push_back(owner);
                    if jobs > 0 {
                        used.push((owner, jobs));
                    }
                    left -= jobs;
                }
            }
            used
        }
    }

    proptest! {
        #[test]
        fn shelves_find_what_a_search_of_all_space_finds(
            spaces in prop::collection::vec((resources(6), any::<bool>()), 0..30),
            groups in prop::collection::vec((resources(6), 1..20u64, any::<bool>(), 0..4usize), 0..12),
        ) {
            let (mut stock, mut list) = (Stock::default(), List::default());
            for (owner, (free, settled)) in spaces.iter().enumerate() {
                stock.add(*free, *settled, owner % 3, owner);
                list.0.entry((*free, *settled, owner % 3)).or_default().push_back(owner);
            }
            for (request, jobs, settled_too, own) in groups {
                let mut used = Vec::new();
                let takes = |class: Class| class != own;
                stock.place(&request, jobs, settled_too, takes, |owner, jobs| used.push((owner, jobs)));
                prop_assert_eq!(used, list.place(&request, jobs, settled_too, own));
            }
        }

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
                let placed = stock.place(request, *jobs, true, |_| true, |owner, jobs| {
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
