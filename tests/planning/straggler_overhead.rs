//! How much longer nodes are kept than their jobs need them, by how many jobs they run at the same time, on a trace of real
//! jobs: `EHOS_TEST_TRACE=NASA-iPSC-1993-3.1-cln.swf cargo test --test planning straggler_overhead -- --nocapture` (any file in
//! the Standard Workload Format, from the Parallel Workloads Archive).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// One job of one core: its start and how long it runs, in seconds.
type Job = (u64, u64);

/// Nodes of `cores` that are made when there is no room, filled the fullest first, and gone when their last job ends.
struct Pool {
    cores: u64,
    /// Nodes by free cores.
    free: BTreeMap<u64, BTreeSet<u64>>,
    /// Free cores and start of each.
    nodes: BTreeMap<u64, (u64, u64)>,
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    made: u64,
    paid: u64,
}

impl Pool {
    fn put(&mut self, node: u64, free: u64, started: u64) {
        self.free.entry(free).or_default().insert(node);
        self.nodes.insert(node, (free, started));
    }

    fn take(&mut self, node: u64) -> (u64, u64) {
        let (free, started) = self.nodes.remove(&node).unwrap();
        let nodes = self.free.get_mut(&free).unwrap();
        nodes.remove(&node);
        if nodes.is_empty() {
            self.free.remove(&free);
        }
        (free, started)
    }

    fn until(&mut self, time: u64) {
        while let Some(Reverse((end, node))) = self.ends.peek().copied()
            && end <= time
        {
            self.ends.pop();
            let (free, started) = self.take(node);
            if free + 1 == self.cores {
                self.paid += (end - started) * self.cores;
            } else {
                self.put(node, free + 1, started);
            }
        }
    }

    fn start(&mut self, (time, runs): Job) {
        self.until(time);
        let fullest = self.free.range(1..).next();
        let node = fullest.and_then(|(_, nodes)| nodes.first().copied());
        let node = node.unwrap_or_else(|| {
            self.made += 1;
            self.put(self.made, self.cores, time);
            self.made
        });
        let (free, started) = self.take(node);
        self.put(node, free - 1, started);
        self.ends.push(Reverse((time + runs, node)));
    }
}

/// Core-hours paid for each that is used.
fn ratio(jobs: &[Job], cores: u64) -> f64 {
    let mut pool = Pool {
        cores,
        free: BTreeMap::new(),
        nodes: BTreeMap::new(),
        ends: BinaryHeap::new(),
        made: 0,
        paid: 0,
    };
    jobs.iter().for_each(|job| pool.start(*job));
    pool.until(u64::MAX);
    let used: u64 = jobs.iter().map(|(_, runs)| runs).sum();
    pool.paid as f64 / used as f64
}

#[test]
fn a_node_is_paid_until_its_last_job_ends() {
    let jobs = [(0, 100), (0, 100), (10, 300)];
    assert_eq!(ratio(&jobs, 1), 1.0);
    assert_eq!(ratio(&jobs, 2), (200.0 + 600.0) / 500.0);
    assert_eq!(ratio(&jobs, 4), 310.0 * 4.0 / 500.0);
}

#[test]
fn hold_up_of_a_trace() {
    let Some(file) = std::env::var_os("EHOS_TEST_TRACE") else {
        println!("skipped: EHOS_TEST_TRACE does not name a trace (SWF, unpacked)");
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let rows: Vec<(u64, u64, u64)> = text
        .lines()
        .filter(|line| !line.starts_with(';'))
        .filter_map(|line| {
            let fields: Vec<i64> = line.split_whitespace().flat_map(str::parse).collect();
            let at = |field: usize| u64::try_from(*fields.get(field)?).ok();
            Some((at(1)?, at(3)?, at(4)?))
        })
        .filter(|(_, runs, _)| *runs > 0)
        .collect();
    let sizes = [1, 2, 4, 8, 16, 32];
    let tell = |what: &str, jobs: &[Job]| {
        let figures = sizes.map(|cores| format!("{:.2}", ratio(jobs, cores)));
        println!("{what}: {}", figures.join(" / "));
    };
    let together: Vec<Job> = rows
        .iter()
        .flat_map(|(time, runs, cores)| (0..*cores).map(|_| (*time, *runs)))
        .collect();
    println!("cores of a node: {sizes:?}");
    tell("each core of a job a job, which end together", &together);
    for faster in [10, 30, 100, 300] {
        let jobs: Vec<Job> = rows
            .iter()
            .map(|(time, runs, _)| (time / faster, *runs))
            .collect();
        let work: u64 = jobs.iter().map(|(_, runs)| runs).sum();
        let busy = work / jobs.last().map_or(1, |(time, _)| *time);
        let what = format!("each job one core, {faster} times as fast, {busy} cores busy");
        tell(&what, &jobs);
    }
}
