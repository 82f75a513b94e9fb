//! The plan against the best there is, on sites so small that all ways can be tried.

use scaling::allocation::Allocation;
use scaling::observation::Resources;
use scaling::reason::Reason;

use crate::small::{Jobs, Small, SmallFlavor, cloud, flavor, jobs, made, nova};

/// A generator whose numbers are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }
}

/// The least that nodes for all of `items` can cost: every set of them that one node holds, for each set of what is left.
fn optimum(items: &[Resources], nodes: &[(Resources, f64)]) -> f64 {
    let sets = 1usize << items.len();
    let mut node_for = vec![f64::INFINITY; sets];
    for (set, cost) in node_for.iter_mut().enumerate() {
        let sum = items
            .iter()
            .enumerate()
            .filter(|(position, _)| set >> position & 1 == 1)
            .fold(Resources::default(), |sum, (_, item)| sum.plus(item));
        let fitting = nodes.iter().filter(|(space, _)| sum.fits(space));
        *cost = fitting.map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
    }
    let mut best = vec![f64::INFINITY; sets];
    best[0] = 0.0;
    for set in 1..sets {
        let lowest = set & set.wrapping_neg();
        let rest = set ^ lowest;
        // Every part of the rest, with the lowest: it has to go somewhere.
        let mut part = rest;
        loop {
            let chosen = part | lowest;
            best[set] = best[set].min(node_for[chosen] + best[set ^ chosen]);
            if part == 0 {
                break;
            }
            part = (part - 1) & rest;
        }
    }
    best[sets - 1]
}

/// At most `most` jobs in a few groups, each of which fits the largest node; every other time twice.
fn waiting(dice: &mut Dice, most: u64, largest: &Resources) -> Vec<Jobs> {
    let mut left = dice.between(2, most);
    let parts = dice.between(1, 2);
    let mut groups: Vec<Jobs> = Vec::new();
    while left > 0 {
        let count = dice.between(1, left.min(4));
        let cpus = dice.between(1, (largest.cpus / parts).max(1));
        let memory = dice.between(1, largest.memory_mb / 128 / parts) * 128;
        let group = jobs(count, cpus, memory);
        if groups.iter().any(|other| other.request == group.request) {
            continue;
        }
        left -= count;
        groups.push(group);
    }
    groups
}

fn items(groups: &[Jobs]) -> Vec<Resources> {
    groups
        .iter()
        .flat_map(|group| (0..group.jobs).map(|_| group.request.rounded()))
        .collect()
}

struct Ratios {
    worst: f64,
    sum: f64,
    optimal: usize,
    cases: usize,
}

impl Ratios {
    fn new() -> Ratios {
        Ratios {
            worst: 0.0,
            sum: 0.0,
            optimal: 0,
            cases: 0,
        }
    }

    fn add(&mut self, ratio: f64) {
        assert!(ratio > 0.999_999, "{ratio}: better than the best");
        self.worst = self.worst.max(ratio);
        self.sum += ratio;
        self.optimal += usize::from(ratio < 1.000_001);
        self.cases += 1;
    }

    fn tell(&self, what: &str) {
        println!(
            "{what}: {} cases, mean {:.4}, worst {:.3}, optimal {:.1} %",
            self.cases,
            self.mean(),
            self.worst,
            self.optimal as f64 * 100.0 / self.cases as f64
        );
    }

    fn mean(&self) -> f64 {
        self.sum / self.cases as f64
    }
}

/// What the plan makes of the flavors, by their positions.
fn nodes(small: &Small) -> Vec<usize> {
    let plan = small.plan();
    let placed = |why: &Reason| matches!(why, Reason::NewNodes { .. } | Reason::FitsNew { .. });
    assert!(
        plan.groups.iter().all(|group| group.why.iter().all(placed)),
        "all find room"
    );
    made(&plan)
        .into_iter()
        .flat_map(|((_, flavor), count)| {
            let position: usize = flavor[1..].parse().unwrap();
            std::iter::repeat_n(position, count as usize)
        })
        .collect()
}

const CASES: u64 = 2000;

fn space(flavor: &SmallFlavor) -> Resources {
    nova(0, flavor).expected_capacity()
}

#[test]
fn as_few_nodes_of_one_flavor_as_there_can_be() {
    let mut ratios = Ratios::new();
    for seed in 1..=CASES {
        let mut dice = Dice::new(seed);
        let node = flavor(dice.between(2, 16), dice.between(4, 64) * 1024, None);
        let groups = waiting(&mut dice, 10, &space(&node));
        let best = optimum(&items(&groups), &[(space(&node), 1.0)]);
        let small = Small::new(vec![cloud("a", vec![node])], groups);
        ratios.add(nodes(&small).len() as f64 / best);
    }
    ratios.tell("one flavor, fewest nodes");
    assert!(ratios.worst <= ONE_FLAVOR.0 && ratios.mean() <= ONE_FLAVOR.1);
}

/// Worst and mean, as measured.
const ONE_FLAVOR: (f64, f64) = (1.5, 1.008);

fn several(by: Allocation, what: &str) -> Ratios {
    let mut ratios = Ratios::new();
    for seed in 1..=CASES {
        let mut dice = Dice::new(seed);
        let count = dice.between(2, 3);
        let flavors: Vec<SmallFlavor> = (0..count)
            .map(|_| {
                let cores = dice.between(1, 16);
                let ram_mb = cores * dice.between(1, 4) * 1024 + 1024;
                // By the core, give or take a third, as real price lists are.
                let price = cores as f64 * dice.between(67, 133) as f64 / 100.0;
                flavor(cores, ram_mb, Some(price))
            })
            .collect();
        let largest = flavors
            .iter()
            .map(space)
            .max_by_key(|space| (space.cpus, space.memory_mb))
            .unwrap();
        let groups = waiting(&mut dice, 9, &largest);
        let costs: Vec<(Resources, f64)> = flavors
            .iter()
            .map(|flavor| (space(flavor), flavor.price.unwrap()))
            .collect();
        let best = optimum(&items(&groups), &costs);
        let mut small = Small::new(vec![cloud("a", flavors)], groups).by(by);
        small.policy.node_cost = Some(0.0);
        let cost: f64 = nodes(&small)
            .iter()
            .map(|position| costs[*position].1)
            .sum();
        ratios.add(cost / best);
    }
    ratios.tell(what);
    ratios
}

#[test]
fn nearly_as_cheap_as_it_can_be() {
    let cheapest = several(Allocation::Cheapest, "2 or 3 flavors, cheapest");
    let least_waste = several(Allocation::LeastWaste, "2 or 3 flavors, least-waste");
    let first = several(Allocation::FillFirst, "2 or 3 flavors, the first that fits");
    assert!(cheapest.worst <= CHEAPEST.0 && cheapest.mean() <= CHEAPEST.1);
    assert!(cheapest.mean() < least_waste.mean() && least_waste.mean() < first.mean());
}

/// Worst and mean, as measured.
const CHEAPEST: (f64, f64) = (1.75, 1.014);

#[test]
fn the_best_of_all_ways_is_found() {
    let item = |cpus| Resources {
        cpus,
        ..Resources::default()
    };
    let items = [item(4), item(3), item(3), item(2), item(2), item(2)];
    assert_eq!(optimum(&items, &[(item(8), 1.0)]), 2.0);
    // One large node for 3 + 3 + 2, two small ones for 4 and 2 + 2.
    assert_eq!(optimum(&items, &[(item(8), 1.0), (item(4), 0.375)]), 1.75);
    assert_eq!(optimum(&[item(9)], &[(item(8), 1.0)]), f64::INFINITY);
}
