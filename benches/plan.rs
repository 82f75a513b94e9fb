//! The planner.

use std::time::Instant;

use divan::{Bencher, black_box};
use scaling::plan::{NodeDecision, plan};

use crate::scene::{Size, scene};

const fn sizes(nodes: usize) -> [Size; 6] {
    let mut sizes = [Size {
        jobs: 1000,
        requests: 8,
        nodes,
        flavors: 1,
    }; 6];
    sizes[1].requests = 1000;
    sizes[2].jobs = 10_000;
    sizes[3].jobs = 10_000;
    sizes[3].requests = 1000;
    sizes[4].jobs = 100_000;
    sizes[5].jobs = 100_000;
    sizes[5].requests = 1000;
    sizes
}

fn planned(bencher: Bencher, size: Size, max_actions: u64) {
    let mut scene = scene(size);
    scene.policy.max_actions = max_actions;
    let once = plan(&scene.observation, &scene.policy, &scene.state);
    assert_eq!(
        once.nodes.len(),
        size.nodes + once.count(NodeDecision::Create),
        "all nodes are in the plan"
    );
    assert_eq!(once.groups.len() as u64, size.requests);
    bencher.bench(|| {
        plan(
            black_box(&scene.observation),
            black_box(&scene.policy),
            black_box(&scene.state),
        )
    });
}

#[divan::bench(args = sizes(100), max_time = 1)]
fn nodes_100(bencher: Bencher, size: &Size) {
    planned(bencher, *size, 20);
}

#[divan::bench(args = sizes(1000), max_time = 1)]
fn nodes_1k(bencher: Bencher, size: &Size) {
    planned(bencher, *size, 20);
}

#[divan::bench(args = sizes(10_000), max_time = 2)]
fn nodes_10k(bencher: Bencher, size: &Size) {
    planned(bencher, *size, 20);
}

/// Plans sites of which each is ten times as large as the one before, and prints how the time grows.
pub fn growth() {
    let mut last: Option<f64> = None;
    for nodes in [100, 1000, 10_000, 100_000] {
        let size = Size {
            jobs: nodes as u64 * 10,
            requests: nodes as u64 / 10,
            nodes,
            flavors: 20,
        };
        let scene = scene(size);
        let runs = (200_000 / nodes).clamp(5, 200);
        let mut times: Vec<f64> = (0..runs)
            .map(|_| {
                let begin = Instant::now();
                let plan = plan(&scene.observation, &scene.policy, &scene.state);
                let took = begin.elapsed().as_secs_f64() * 1000.0;
                drop(black_box(plan));
                took
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let median = times[runs / 2];
        let ratio = last.map_or_else(String::new, |last| format!("{:.1}", median / last));
        println!("| {size} | {median:.2} ms | {ratio} |");
        last = Some(median);
    }
}

/// A thousand creates and deletes in one tick, which nobody should allow.
#[divan::bench(args = [sizes(1000)[5], sizes(10_000)[5]], max_time = 2)]
fn many_actions(bencher: Bencher, size: &Size) {
    planned(bencher, *size, 1000);
}
