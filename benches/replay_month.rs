//! `ehos simulate` without its input and output: days of jobs on nodes of 8 cores, with a tick a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use divan::Bencher;
use jiff::Timestamp;
use replay::model::Model;
use replay::rule::ehos::Ehos;
use replay::run;
use replay::site::{Site, SiteCloud, SiteFlavor};
use replay::workload::{ReadOptions, Workload, read};
use scaling::observation::{Flavor, Observation};
use scaling::plan::{Plan, plan};
use scaling::policy::{CloudPolicy, Policy};
use scaling::state::State;

/// About 33,000 jobs a day of 8 users, which keep some 50 nodes busy and come in no rhythm.
fn workload(days: u32) -> Workload {
    let text = format!("poisson:rate=1389/h,days={days},runs=exponential(10m),cpus=1|2,owners=8");
    read(&[text.into()], &ReadOptions::default()).unwrap()
}

fn clouds() -> Vec<SiteCloud> {
    let flavor = Flavor {
        id: "large".to_owned(),
        vcpus: 8,
        ram_mb: 32_768,
        disk_gb: 160,
        gpus: 0,
    };
    vec![SiteCloud {
        name: "cloud".to_owned(),
        flavors: vec![SiteFlavor {
            name: "large".to_owned(),
            capacity: flavor.expected_capacity(),
            flavor,
            price: None,
            billing_period: None,
        }],
        ..SiteCloud::default()
    }]
}

/// Nanoseconds in the planner, and its passes.
static PLANNED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

fn timed(observation: &Observation, policy: &Policy, state: &State) -> Plan {
    let begin = Instant::now();
    let plan = plan(observation, policy, state);
    let took = u64::try_from(begin.elapsed().as_nanos()).unwrap();
    PLANNED[0].fetch_add(took, Ordering::Relaxed);
    PLANNED[1].fetch_add(1, Ordering::Relaxed);
    plan
}

fn played(bencher: Bencher, days: u32) {
    let workload = workload(days);
    let policy = Policy {
        nodes_max: 200,
        idle_timeout: Duration::from_secs(120),
        clouds: vec![CloudPolicy::new("cloud", vec!["large".to_owned()], "image")],
        ..Policy::new("pool")
    };
    bencher.bench(|| {
        let [before, passes] = [0, 1].map(|of| PLANNED[of].load(Ordering::Relaxed));
        let begin = Instant::now();
        let mut site = Site::new(&workload, clouds(), Model::default(), 1);
        let mut rule = Ehos::new(policy.clone(), Duration::ZERO, Timestamp::UNIX_EPOCH);
        rule.planner = timed;
        run::run(&mut site, &mut rule, &mut |_| true);
        let took = begin.elapsed();
        assert_eq!(site.record.ended, workload.jobs.len() as u64);
        let planned = Duration::from_nanos(PLANNED[0].load(Ordering::Relaxed) - before);
        let passes = PLANNED[1].load(Ordering::Relaxed) - passes;
        // In one run: another machine changes both times, and hardly their ratio.
        println!(
            "{days} days: {took:.1?}, {planned:.1?} of it in {passes} plans, ratio {:.2}",
            took.as_secs_f64() / planned.as_secs_f64()
        );
    });
}

#[divan::bench(args = [1, 2, 4], sample_count = 1, sample_size = 1)]
fn days(bencher: Bencher, days: u32) {
    played(bencher, days);
}

/// A million jobs.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn month_30d(bencher: Bencher) {
    played(bencher, 30);
}
