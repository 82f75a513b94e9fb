//! Single operations whose instructions valgrind counts. `scripts/bench --instructions` starts them, and compares the
//! counts with those of instructions.txt.

use std::hint::black_box;

use jiff::tz::TimeZone;
use report::metrics;
use report::status::{View, table};
use scaling::plan::plan;

use crate::scene::{Size, scene};
use crate::{condor, seen};

/// What callgrind counts: this function alone.
#[inline(never)]
fn counted<T>(operation: impl FnOnce() -> T) {
    black_box(operation());
}

/// Runs the operation of this name once. Whether there is one.
pub fn run(case: &str) -> bool {
    match case {
        "plan-100" => planned(100, 10),
        "plan-1000" => planned(1000, 100),
        "plan-quiet" => settled(),
        "slots" => condor::read_slots(1000),
        "queue" => condor::read_queue(1000),
        "report" => rendered(1000),
        "growth" => crate::plan::growth(),
        _ => return false,
    }
    true
}

/// A site of this size, with ten jobs for each node and 20 flavors.
fn planned(nodes: usize, requests: u64) {
    let scene = scene(Size {
        jobs: nodes as u64 * 10,
        requests,
        nodes,
        flavors: 20,
    });
    counted(|| plan(&scene.observation, &scene.policy, &scene.state));
}

/// The second of two equal passes of a site without idle jobs.
fn settled() {
    let scene = scene(Size {
        jobs: 0,
        requests: 1,
        nodes: 1000,
        flavors: 1,
    });
    let first = plan(&scene.observation, &scene.policy, &scene.state);
    let state = first.after(&[], &scene.policy);
    counted(|| plan(&scene.observation, &scene.policy, &state));
}

fn rendered(nodes: usize) {
    let snapshot = seen::snapshot(nodes);
    let view = View {
        width: 80,
        colour: false,
        all: true,
        time_zone: TimeZone::UTC,
    };
    counted(|| {
        let json = serde_json::to_string(&snapshot);
        let metrics = metrics::prometheus::text(&snapshot);
        let shown = table(&snapshot, snapshot.at, &view);
        (json.map(|json| json.len()), metrics.len(), shown)
    });
}
