//! Nodes whose drain can be cancelled: the first of them that fits takes the jobs.
//!
//! A search looks at the spaces with enough cores, so the work grows with jobs that are placed, not with groups times nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::placing::Terms;
use super::planner::JobGroup;
use crate::observation::Resources;
use crate::packing::Class;

/// A draining or drained node.
struct ReturningNode {
    index: usize,
    class: Class,
    /// Since before its drain; `None` when that is not known.
    idle_for: Option<Duration>,
}

/// A node among those that return, and a space of it.
type Place = (usize, usize);

/// Spaces with equal numbers of cores.
#[derive(Default)]
struct Shelf {
    spaces: BTreeMap<Place, Resources>,
    /// The first of them.
    first: Option<Place>,
    /// No space is larger than this in anything. It may be too large.
    most: Resources,
}

/// All of them, in the order of their making.
#[derive(Default)]
pub(super) struct Returning {
    /// No request is smaller in anything: a space that does not fit this is of no use.
    least: Resources,
    nodes: Vec<ReturningNode>,
    /// Their spaces, by the number of cores.
    shelves: BTreeMap<u64, Shelf>,
}

impl Returning {
    /// For requests of which none is smaller than `least` in anything.
    pub(super) fn for_requests(least: Resources) -> Returning {
        Returning {
            least,
            ..Returning::default()
        }
    }

    pub(super) fn add(
        &mut self,
        index: usize,
        class: Class,
        idle_for: Option<Duration>,
        spaces: impl Iterator<Item = Resources>,
    ) {
        for (number, space) in spaces.enumerate() {
            self.put((self.nodes.len(), number), space);
        }
        self.nodes.push(ReturningNode {
            index,
            class,
            idle_for,
        });
    }

    fn put(&mut self, place: Place, space: Resources) {
        if !self.least.fits(&space) {
            return;
        }
        let shelf = self.shelves.entry(space.cpus).or_default();
        shelf.most = shelf.most.each(&space, u64::max);
        shelf.first = Some(shelf.first.map_or(place, |first| first.min(place)));
        shelf.spaces.insert(place, space);
    }

    /// Places what is left of a group, and reports each used node with its number of jobs to `used`; how many were placed.
    pub(super) fn place(
        &mut self,
        group: &mut JobGroup,
        terms: &Terms,
        used: &mut impl FnMut(usize, u64),
    ) -> u64 {
        let before = group.left;
        let mut from = (0, 0);
        // How many jobs the node of the last space may still take.
        let mut last: Option<(usize, u64)> = None;
        while group.left > 0
            && let Some((cpus, place)) = self.next(group, terms, from)
        {
            let (position, number) = place;
            let Some(node) = self.nodes.get(position) else {
                break;
            };
            let may_take = match last {
                Some((same, left)) if same == position => left,
                _ if node.is_new_to(group) => group.left,
                _ => group.young.min(group.left),
            };
            let index = node.index;
            let request = terms.request_of(node.class, group);
            let shelf = self.shelves.get_mut(&cpus);
            let Some(space) = shelf.and_then(|shelf| shelf.take(place)) else {
                break;
            };
            let jobs = request.times_in(&space).min(may_take);
            self.put(place, space.minus(&request, jobs));
            used(index, jobs);
            group.left -= jobs;
            last = Some((position, may_take - jobs));
            from = match may_take - jobs {
                0 => (position + 1, 0),
                _ => (position, number + 1),
            };
        }
        before - group.left
    }

    /// The first space from `from` on that fits, with its number of cores.
    fn next(&mut self, group: &JobGroup, terms: &Terms, from: Place) -> Option<(u64, Place)> {
        let requests = terms.requests.iter().map(|(_, request)| *request);
        let least = requests.reduce(|one, other| one.each(&other, u64::min))?;
        let nodes = &self.nodes;
        let takes = |position: usize, space: &Resources| {
            nodes.get(position).is_some_and(|node| {
                terms.request_of(node.class, group).fits(space)
                    && !terms.closed.contains(&node.class)
                    // Jobs that have waited for as long as the node has been idle had their chance.
                    && (group.young > 0 || node.is_new_to(group))
            })
        };
        let mut first: Option<(u64, Place)> = None;
        for (cpus, shelf) in self.shelves.range_mut(least.cpus..) {
            let end = first.map_or((usize::MAX, 0), |(_, place)| place);
            if !least.fits(&shelf.most) || shelf.first.is_none_or(|first| first >= end) {
                continue;
            }
            let mut spaces = shelf.spaces.range(from..end);
            match spaces.find(|((position, _), space)| takes(*position, space)) {
                Some((place, _)) => first = Some((*cpus, *place)),
                None if from == (0, 0) && first.is_none() => shelf.measure(),
                None => {}
            }
        }
        first
    }
}

impl ReturningNode {
    /// Whether all jobs of the group came after the node's last one.
    fn is_new_to(&self, group: &JobGroup) -> bool {
        self.idle_for
            .is_none_or(|idle_for| group.waiting < idle_for)
    }
}

impl Shelf {
    fn take(&mut self, place: Place) -> Option<Resources> {
        let space = self.spaces.remove(&place);
        if self.first == Some(place) {
            self.first = self.spaces.first_key_value().map(|(first, _)| *first);
        }
        space
    }

    fn measure(&mut self) {
        let spaces = self.spaces.values();
        self.most = spaces.fold(Resources::default(), |most, space| {
            most.each(space, u64::max)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::job_requirements::JobGroupKey;
    use crate::submitter::Submitters;

    fn resources(least: u64, most: u64) -> impl Strategy<Value = Resources> {
        let amount = || least..=most;
        (amount(), amount(), amount()).prop_map(|(cpus, memory_mb, disk_kb)| Resources {
            cpus,
            memory_mb,
            disk_kb,
            gpus: 0,
        })
    }

    fn seconds(most: u64) -> impl Strategy<Value = Duration> {
        (0..most).prop_map(Duration::from_secs)
    }

    fn group(request: Resources, (jobs, young): (u64, u64), waiting: Duration) -> JobGroup {
        JobGroup {
            asks: JobGroupKey {
                request,
                ..JobGroupKey::default()
            },
            submitters: Submitters::default(),
            jobs,
            example: None,
            waiting,
            left: jobs,
            young,
            beside: 0,
            why: Vec::new(),
            max_new_nodes: 0,
            refused: 0,
            fault: None,
        }
    }

    /// Searches all nodes in their order: what shelves are an index of.
    fn search(
        nodes: &mut [(Class, Option<Duration>, Vec<Resources>)],
        group: &mut JobGroup,
        terms: &Terms,
        used: &mut [u64],
    ) {
        for ((class, idle_for, spaces), used) in nodes.iter_mut().zip(used) {
            let most = match idle_for {
                Some(idle_for) if group.waiting >= *idle_for => group.young.min(group.left),
                _ => group.left,
            };
            if terms.closed.contains(class) {
                continue;
            }
            let request = terms.request_of(*class, group);
            let mut placed = 0;
            for space in spaces.iter_mut().filter(|space| request.fits(space)) {
                let here = request.times_in(space).min(most - placed);
                *space = space.minus(&request, here);
                placed += here;
            }
            *used += placed;
            group.left -= placed;
        }
    }

    proptest! {
        #[test]
        fn shelves_find_the_first_node_that_fits(
            mut nodes in prop::collection::vec(
                (1..4usize, prop::option::of(seconds(4)), prop::collection::vec(resources(0, 6), 0..4)), 0..12),
            groups in prop::collection::vec(
                ((resources(0, 3), resources(0, 3)), (1..20u64, 0..4u64), seconds(5), any::<bool>(), 0..5usize), 0..8),
        ) {
            let mut returning = Returning::default();
            for (index, (class, idle_for, spaces)) in nodes.iter().enumerate() {
                returning.add(index, *class, *idle_for, spaces.iter().copied());
            }
            for ((request, of_second), jobs, waiting, by_machine, closed) in groups {
                let mut requests = vec![(None, request)];
                if by_machine {
                    requests = vec![(Some(1), request), (Some(2), of_second), (Some(3), request)];
                }
                let terms = Terms {
                    closed: BTreeSet::from([closed]),
                    doubtful: false,
                    requests,
                    fresh: false,
                };
                let (mut one, mut other) = (group(request, jobs, waiting), group(request, jobs, waiting));
                let (mut used, mut expected) = (vec![0; nodes.len()], vec![0; nodes.len()]);
                let placed = returning.place(&mut one, &terms, &mut |index, jobs| used[index] += jobs);
                search(&mut nodes, &mut other, &terms, &mut expected);
                prop_assert_eq!(&used, &expected);
                prop_assert_eq!((one.left, placed), (other.left, used.iter().sum::<u64>()));
            }
        }
    }
}
