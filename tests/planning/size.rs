//! How long choosing takes where there is much to choose from.

use std::time::Instant;

use scaling::allocation::Allocation;
use scaling::plan::NodeDecision;

use crate::small::{Jobs, Small, cloud, flavor, jobs};

/// 1,000 groups, 20 flavors in 4 clouds, 20 and 1,000 nodes: told, not asserted.
#[test]
fn a_thousand_groups_and_twenty_flavors() {
    let clouds = ["a", "b", "c", "d"].map(|name| {
        let flavors = (1..=5).map(|size| {
            let cores = 1 << size;
            flavor(
                cores,
                cores * (size + 1) * 1024,
                Some(cores as f64 * (0.9 + 0.01 * size as f64)),
            )
        });
        cloud(name, flavors.collect())
    });
    let waiting: Vec<Jobs> = (0..1000)
        .map(|number| jobs(100, number % 8 + 1, 1024 + number / 8 * 128))
        .collect();
    for allocation in [
        Allocation::RoundRobin,
        Allocation::Cheapest,
        Allocation::LeastWaste,
    ] {
        for nodes in [20, 1000] {
            let mut small = Small::new(clouds.to_vec(), waiting.clone()).by(allocation);
            small.policy.max_actions = nodes;
            let (observation, policy, state) = small.scene();
            let start = Instant::now();
            let plan = scaling::plan::plan(&observation, &policy, &state);
            println!("{allocation:?}, {nodes} nodes: {:?}", start.elapsed());
            assert_eq!(plan.count(NodeDecision::Create) as u64, nodes);
        }
    }
}
