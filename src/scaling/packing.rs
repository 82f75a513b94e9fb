//! Packs job groups into grouped space: first fit, the smallest space first. The work grows with groups and kinds of space,
//! not with jobs and nodes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::observation::Resources;

/// Which jobs a space is for: those that its class takes. Spaces of nodes of one kind are of one class.
pub type Class = usize;

/// A space among those with as many cores, in the order in which spaces are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Space {
    memory_mb: u64,
    disk_kb: u64,
    gpus: u64,
    class: Class,
}

/// Whose spaces of equal size and class are, in the order of their addition: mostly one owner's.
#[derive(Debug)]
struct Owners {
    first: usize,
    others: VecDeque<usize>,
}

/// Spaces with equal numbers of cores.
#[derive(Debug, Default)]
struct Shelf {
    cpus: u64,
    spaces: BTreeMap<Space, Owners>,
    /// No space has more memory.
    most_memory_mb: u64,
    /// No space has more of these. They may be too large.
    most_disk_kb: u64,
    most_gpus: u64,
}

/// Shelves in the order of their cores.
#[derive(Debug, Default)]
struct Shelves(Vec<Shelf>);

/// A space with its cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    cpus: u64,
    space: Space,
}

/// Free space: slots, or whole nodes that are coming.
#[derive(Debug, Default)]
pub struct Stock {
    /// No request is smaller in anything: a space that does not fit this is of no use.
    least: Resources,
    unsettled: Shelves,
    settled: Shelves,
}

impl Place {
    fn new(free: &Resources, class: Class) -> Place {
        let Resources {
            cpus,
            memory_mb,
            disk_kb,
            gpus,
        } = *free;
        let space = Space {
            memory_mb,
            disk_kb,
            gpus,
            class,
        };
        Place { cpus, space }
    }

    fn free(&self) -> Resources {
        let Space {
            memory_mb,
            disk_kb,
            gpus,
            ..
        } = self.space;
        Resources {
            cpus: self.cpus,
            memory_mb,
            disk_kb,
            gpus,
        }
    }
}

impl Owners {
    fn new(owner: usize) -> Owners {
        Owners {
            first: owner,
            others: VecDeque::new(),
        }
    }

    fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Takes away the first `count` of several; one more stays at least.
    fn split(&mut self, count: usize) -> Owners {
        let mut rest = self.others.split_off(count.saturating_sub(1));
        let first = rest.pop_front().unwrap_or(self.first);
        let stay = Owners {
            first,
            others: rest,
        };
        std::mem::replace(self, stay)
    }

    fn each(self) -> impl Iterator<Item = usize> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl Shelf {
    fn may_hold(&self, request: &Resources) -> bool {
        request.memory_mb <= self.most_memory_mb
            && request.disk_kb <= self.most_disk_kb
            && request.gpus <= self.most_gpus
    }

    fn add(&mut self, space: Space, owner: usize) {
        self.most_memory_mb = self.most_memory_mb.max(space.memory_mb);
        self.most_disk_kb = self.most_disk_kb.max(space.disk_kb);
        self.most_gpus = self.most_gpus.max(space.gpus);
        match self.spaces.entry(space) {
            Entry::Occupied(mut owners) => owners.get_mut().others.push_back(owner),
            Entry::Vacant(entry) => {
                entry.insert(Owners::new(owner));
            }
        }
    }

    /// Takes away the first owners of a space, at most `most` of them.
    fn take(&mut self, space: Space, most: usize) -> Option<Owners> {
        let Entry::Occupied(mut owners) = self.spaces.entry(space) else {
            return None;
        };
        if owners.get().len() > most {
            return Some(owners.get_mut().split(most));
        }
        let taken = owners.remove();
        if space.memory_mb == self.most_memory_mb {
            let last = self.spaces.last_key_value();
            self.most_memory_mb = last.map_or(0, |(space, _)| space.memory_mb);
        }
        Some(taken)
    }
}

impl Shelves {
    /// The index of the first shelf with at least that many cores.
    fn from(&self, cpus: u64) -> usize {
        self.0.partition_point(|shelf| shelf.cpus < cpus)
    }

    fn shelf(&mut self, cpus: u64) -> Option<&mut Shelf> {
        let index = self.from(cpus);
        self.0.get_mut(index).filter(|shelf| shelf.cpus == cpus)
    }

    fn add(&mut self, free: Resources, least: &Resources, class: Class, owner: usize) {
        if !least.fits(&free) {
            return;
        }
        let Place { cpus, space } = Place::new(&free, class);
        if let Some(shelf) = self.shelf(cpus) {
            shelf.add(space, owner);
            return;
        }
        let mut shelf = Shelf {
            cpus,
            ..Shelf::default()
        };
        shelf.add(space, owner);
        self.0.insert(self.from(cpus), shelf);
    }

    /// The smallest space behind `after` that fits `request`. A space that fits is not smaller in anything, so it is not
    /// before the request in the order of its shelf.
    fn next_fitting(
        &self,
        request: &Resources,
        takes: &impl Fn(Class) -> bool,
        after: Option<Place>,
    ) -> Option<Place> {
        let least = Place::new(request, 0).space;
        let begin = after.map_or(0, |after| after.cpus).max(request.cpus);
        let shelves = self.0.iter().skip(self.from(begin));
        let mut shelves = shelves.filter(|shelf| shelf.may_hold(request));
        shelves.find_map(|shelf| {
            let begin = match after {
                Some(Place { cpus, space }) if cpus == shelf.cpus && space >= least => {
                    Bound::Excluded(space)
                }
                _ => Bound::Included(least),
            };
            let mut spaces = shelf.spaces.range((begin, Bound::Unbounded));
            let (space, _) = spaces.find(|(space, _)| {
                takes(space.class) && request.disk_kb <= space.disk_kb && request.gpus <= space.gpus
            })?;
            let (cpus, space) = (shelf.cpus, *space);
            Some(Place { cpus, space })
        })
    }

    /// Fills the spaces at a place, and returns how many jobs are left.
    fn fill(
        &mut self,
        place: Place,
        (request, least): (&Resources, &Resources),
        jobs: u64,
        used: &mut impl FnMut(usize, u64),
    ) -> u64 {
        let free = place.free();
        // A request of nothing fits without end; it takes a space all the same, so that it is seen to be used.
        let each = request.times_in(&free).min(jobs).max(1);
        let most = usize::try_from(jobs.div_ceil(each)).unwrap_or(usize::MAX);
        let shelf = self.shelf(place.cpus);
        let Some(owners) = shelf.and_then(|shelf| shelf.take(place.space, most)) else {
            return jobs;
        };
        let mut left = jobs;
        for owner in owners.each() {
            let here = each.min(left);
            left -= here;
            used(owner, here);
            self.add(free.minus(request, here), least, place.space.class, owner);
        }
        left
    }
}

impl Stock {
    /// For requests of which none is smaller than `least` in anything.
    pub fn for_requests(least: Resources) -> Stock {
        Stock {
            least,
            ..Stock::default()
        }
    }

    /// Adds the space of `owner`. `settled` space has been as it is for several negotiation cycles: a job that has
    /// waited beside it will not take it.
    pub fn add(&mut self, free: Resources, settled: bool, class: Class, owner: usize) {
        let shelves = match settled {
            true => &mut self.settled,
            false => &mut self.unsettled,
        };
        shelves.add(free, &self.least, class, owner);
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
        let next = |shelves: &Shelves, after| shelves.next_fitting(request, &takes, after);
        let mut unsettled = next(&self.unsettled, None);
        let mut settled = match settled_too {
            true => next(&self.settled, None),
            false => None,
        };
        while left > 0 {
            // Of equal size those that are settled come later.
            let (shelves, place) = match (unsettled, settled) {
                (Some(one), Some(other)) if other.free() < one.free() => {
                    (&mut self.settled, &mut settled)
                }
                (None, Some(_)) => (&mut self.settled, &mut settled),
                _ => (&mut self.unsettled, &mut unsettled),
            };
            let Some(found) = *place else { break };
            left = shelves.fill(found, (request, &self.least), left, &mut used);
            // What is left of a space is smaller than it, so it is behind the cursor and not looked at again.
            *place = next(shelves, Some(found));
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
    struct List(BTreeMap<(Resources, bool, Class), VecDeque<usize>>);

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
                let fits = |(free, settled, class): &(Resources, bool, Class)| {
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
            let requests = groups.iter().map(|(request, ..)| *request);
            let least = requests.reduce(|one, other| one.each(&other, u64::min));
            let mut stock = Stock::for_requests(least.unwrap_or_default());
            let mut list = List::default();
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
