//! Comparisons made by hand, as `ehos simulate` shows them.

use std::collections::BTreeMap;

use replay::comparison::{Comparison, Run};
use replay::figures::{Figures, GroupWait, Jobs, LimitFigures, Nodes, Passes, Series, Wait};
use replay::rule::peers::LowerBound;
use replay::workload::{Builder, JobClass, Workload};
use scaling::observation::Resources;

/// Jobs of the workload.
const JOBS: u32 = 1000;

/// The lower bound, of cores at 0.05 an hour.
const BOUND: LowerBound = LowerBound {
    core_seconds: 2_060 * 3600,
    core_price: Some(0.05),
};

/// A workload of three days with these owners.
pub fn workload(owners: &[&str], calendar: bool) -> Workload {
    let mut builder = Builder::default();
    for number in 0..JOBS {
        let owner = owners[number as usize % owners.len()];
        let class = JobClass {
            owner: owner.to_owned(),
            accounting_group: None,
            request: Resources {
                cpus: 1,
                memory_mb: 2048,
                disk_kb: 0,
                gpus: 0,
            },
        };
        let submitted = 1_790_000_000 + i64::from(number) * 259;
        builder.add(submitted, 7200, None, &class);
    }
    let notes = &mut builder.notes;
    notes.records = u64::from(JOBS) + 13;
    for line in 0..12 {
        notes.leave_out("ends before it starts", || format!("line {}", 17 + line));
    }
    for job in 0..40 {
        notes.count("no RequestMemory: 128 MB assumed", || {
            format!("job {job}.0")
        });
    }
    notes.leave_out("not readable", || "line 903".to_owned());
    builder.build(calendar)
}

/// The figures of a run that pays so many core-hours and lets jobs wait so long, with `points` of time series.
pub fn figures(rule: &str, paid: f64, wait: f64, points: usize) -> Figures {
    let wait = |factor: f64| Wait {
        mean_seconds: wait * factor,
        median_seconds: (wait * factor * 0.6) as u32,
        p95_seconds: (wait * factor * 4.0) as u32,
        max_seconds: (wait * factor * 31.0) as u32,
    };
    let group = |name: &str, jobs, factor| GroupWait {
        name: name.to_owned(),
        groups: 1,
        jobs,
        wait: wait(factor),
    };
    let day = |i: usize| (i as f64 / points.max(1) as f64 * 3.0 * std::f64::consts::TAU).sin();
    let cores = |i: usize| ((day(i) + 0.8).max(0.0) * 40.0).round();
    let series = |of: &dyn Fn(usize) -> f64| (0..points).map(of).collect();
    Figures {
        rule: rule.to_owned(),
        paid_core_hours: paid,
        used_core_hours: 2000.0,
        lost_core_hours: 0.0,
        paid_per_used: Some(paid / 2000.0),
        cost: None,
        jobs: Jobs {
            submitted: JOBS.into(),
            ended: 997,
            removed: 1,
            too_large: 2,
            never_started: 0,
            lost: 0,
        },
        wait: wait(1.0),
        wait_by_owner: vec![group("ada", 500, 1.3), group("grace", 497, 0.7)],
        wait_by_request: vec![group("1 cpu, 2048 MB", 997, 1.0)],
        nodes: Nodes {
            created: (paid / 40.0) as u64,
            peak: 11,
            peak_cores: 88,
            mean: 5.2,
            boot_seconds: Some(78.0),
        },
        passes: Passes {
            count: 4320,
            actions: (paid / 20.0) as u64,
            max_actions: 10,
        },
        limits: vec![
            LimitFigures {
                limit: "nodes_max".to_owned(),
                hours: 31.0,
                job_hours: 812.4,
            },
            LimitFigures {
                limit: "quota_cores".to_owned(),
                hours: 2.5,
                job_hours: 40.0,
            },
        ],
        makespan_seconds: 270_000,
        series: Series {
            step_seconds: u32::try_from(270_000 / points.max(1)).unwrap(),
            idle_jobs: series(&|i| (day(i) * wait(1.0).mean_seconds * 0.9).max(0.0).round()),
            used_cores: series(&cores),
            paid_cores: series(&|i| (cores(i) * paid / 2000.0 / 8.0).ceil() * 8.0),
            nodes: series(&|i| (cores(i) * paid / 2000.0 / 8.0).ceil()),
        },
    }
}

fn settings(of: &[(&str, String)]) -> BTreeMap<String, String> {
    let pairs = of
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    pairs.collect()
}

/// The configuration, three changes of one key, and another rule.
pub fn small() -> Comparison {
    let mut runs = vec![Run::of_ehos(
        BTreeMap::new(),
        figures("ehos", 2600.0, 41.6, 4),
    )];
    for (timeout, paid, wait) in [
        ("1m", 2280.0, 47.0),
        ("2m", 2420.0, 41.0),
        ("10m", 2900.0, 39.0),
    ] {
        let changed = settings(&[("daemon.idle_timeout", timeout.to_owned())]);
        runs.push(Run::of_ehos(changed, figures("ehos", paid, wait, 4)));
    }
    runs.push(Run::of_peer(figures("original-ehos", 2700.0, 1830.0, 4)));
    let workload = workload(&["ada", "grace"], true);
    Comparison::new("history.json", &workload, BOUND, runs)
}

/// A sweep of two keys, with other rules; `change` each run.
pub fn sweep(owners: &[&str], calendar: bool, change: impl Fn(&mut Run)) -> Comparison {
    let mut runs = vec![Run::of_ehos(
        BTreeMap::new(),
        figures("ehos", 2600.0, 64.0, 720),
    )];
    for (x, timeout) in ["1m", "2m", "5m", "10m", "20m", "40m"].iter().enumerate() {
        for spare in 0..6_u32 {
            let (x, y) = (x as f64, f64::from(spare));
            let paid = 2190.0 + x * 62.0 + y * 55.0 + (x - y).abs() * 11.0;
            let wait = 34.0 + 61.0 / (1.0 + 0.55 * x + 0.8 * y) + (x - 2.0).abs() * 1.9;
            let changed = settings(&[
                ("daemon.idle_timeout", (*timeout).to_owned()),
                ("daemon.nodes_spare", spare.to_string()),
            ]);
            runs.push(Run::of_ehos(changed, figures("ehos", paid, wait, 720)));
        }
    }
    for (rule, paid, wait) in [
        ("original-ehos", 2710.0, 1830.0),
        ("queue-cores", 2540.0, 88.0),
        ("utilization-feedback", 2890.0, 96.0),
        ("idle-timeout", 2480.0, 71.0),
        ("fixed:20", 11_500.0, 0.4),
    ] {
        runs.push(Run::of_peer(figures(rule, paid, wait, 720)));
    }
    runs.iter_mut().for_each(change);
    Comparison::new("history.json", &workload(owners, calendar), BOUND, runs)
}
