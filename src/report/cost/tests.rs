use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::time::Duration;

use super::node_time::{Span, Stage};
use super::share::Apart;
use super::*;
use scaling::money::Money;

const HOUR: i64 = 3_600_000;

fn begin() -> i64 {
    "2026-11-01T00:00:00Z"
        .parse::<Timestamp>()
        .unwrap()
        .as_millisecond()
}

fn november() -> Period {
    let now = "2026-11-11T00:00:00Z".parse().unwrap();
    Period::month(Date::constant(2026, 11, 1), &TimeZone::UTC, now)
}

fn span(from: i64, to: i64, stage: Stage, price: f64) -> Span {
    Span {
        from: begin() + from,
        to: begin() + to,
        stage,
        per_hour: Some(Money::new(price)),
    }
}

/// A node of 4 cores and 8 GiB that boots for an hour, and drains for one.
fn node(name: &str, from: i64, to: i64, price: f64) -> NodeTime {
    NodeTime {
        node: name.to_owned(),
        cloud: "green".to_owned(),
        flavor: "m".to_owned(),
        cores: Some(4),
        memory_mb: Some(8192),
        hosts: vec![name.to_owned()],
        spans: vec![
            span(from, from + HOUR, Stage::Boot, price),
            span(from + HOUR, to - HOUR, Stage::Joined, price),
            span(to - HOUR, to, Stage::Drain, price),
        ],
    }
}

fn job(owner: &str, host: &str, cpus: u64, memory_mb: u64, from: i64, to: i64) -> Job {
    Job {
        owner: owner.to_owned(),
        group: None,
        cpus,
        memory_mb,
        host: Some(host.to_owned()),
        queued: None,
        run: Some((begin() + from, begin() + to)),
        earlier_ms: 0,
    }
}

fn shares<'a>(nodes: &'a [NodeTime], period: &'a Period, jobs: &[Job]) -> Shares<'a> {
    let mut shares = Shares::new(nodes, period, i64::MIN, |_| None);
    jobs.iter().for_each(|job| shares.add(job));
    shares
}

/// Cost in millionths by name.
fn costs(total: &Total) -> Vec<(&str, u128)> {
    let rows = total.rows.iter();
    rows.map(|(name, amount)| (name.as_str(), amount.cost))
        .collect()
}

#[test]
fn a_node_is_paid_by_the_dominant_share_and_by_time() {
    let nodes = [node("n", 0, 12 * HOUR, 1.0)];
    let period = november();
    let jobs = [
        // Half of the memory, a quarter of the cores.
        job("alice", "n", 1, 4096, HOUR, 3 * HOUR),
        // Half of the cores, a quarter of the memory; for twice as long.
        job("bob", "n.example.org", 2, 2048, HOUR, 5 * HOUR),
    ];
    let shares = shares(&nodes, &period, &jobs);
    let total = shares.total(By::Owner, false);
    assert_eq!(costs(&total), [("alice", 4_000_000), ("bob", 8_000_000)]);
    let bob = total.rows["bob"];
    assert_eq!((bob.jobs, bob.used_core_ms), (1, 8 * HOUR as u128));
    assert_eq!(bob.paid_core_ms, 32 * HOUR as u128);
    let apart = shares.total(By::Owner, true);
    assert_eq!(costs(&apart), [("alice", 1_000_000), ("bob", 2_000_000)]);
    let overhead: Vec<_> = apart.overhead.values().map(|one| one.cost).collect();
    assert_eq!(
        overhead,
        [1_000_000, 7_000_000, 1_000_000],
        "boot, idle, drain"
    );
    assert_eq!(apart.all, total.all);
}

#[test]
fn an_idle_day_is_paid_by_those_who_used_the_others_and_a_pool_without_jobs_by_nobody() {
    let nodes = [
        node("n", 0, 24 * HOUR, 1.0),
        node("idle", 24 * HOUR, 48 * HOUR, 1.0),
    ];
    let period = november();
    let jobs = [
        job("alice", "n", 4, 1, 2 * HOUR, 3 * HOUR),
        job("bob", "n", 2, 1, 4 * HOUR, 5 * HOUR),
    ];
    let total = shares(&nodes, &period, &jobs).total(By::Owner, false);
    assert_eq!(costs(&total), [("alice", 32_000_000), ("bob", 16_000_000)]);
    let none = shares(&nodes, &period, &[]).total(By::Owner, false);
    assert_eq!((none.rows.len(), none.unattributed.cost), (0, 48_000_000));
    let by_node = shares(&nodes, &period, &[]).total(By::Node, false);
    assert_eq!(costs(&by_node), [("idle", 24_000_000), ("n", 24_000_000)]);
}

#[test]
fn time_before_the_known_jobs_is_paid_by_nobody() {
    let nodes = [node("n", 0, 10 * HOUR, 1.0)];
    let period = november();
    let mut shares = Shares::new(&nodes, &period, begin() + 6 * HOUR, |_| None);
    shares.add(&job("alice", "n", 4, 1, 4 * HOUR, 7 * HOUR));
    let total = shares.total(By::Owner, false);
    // Two hours of the unknown six are hers, and the four after it.
    assert_eq!(costs(&total), [("alice", 6_000_000)]);
    assert_eq!(total.unattributed.cost, 4_000_000);
}

#[test]
fn use_without_a_node_is_counted_apart() {
    let nodes = [node("n", 0, 10 * HOUR, 1.0)];
    let period = november();
    let mut evicted = job("alice", "n", 2, 1, HOUR, 2 * HOUR);
    evicted.earlier_ms = HOUR as u64;
    // Only half an hour of its earlier runs can be in the period.
    let mut submitted = job("alice", "n", 1, 1, 5 * HOUR, 6 * HOUR);
    submitted.queued = Some(begin() + 5 * HOUR - HOUR / 2);
    submitted.earlier_ms = 2 * HOUR as u64;
    let mut later = job("alice", "n", 1, 1, -9 * HOUR, -8 * HOUR);
    later.earlier_ms = HOUR as u64;
    let mut desktop = job("alice", "desktop", 8, 1, HOUR, 2 * HOUR);
    desktop.earlier_ms = HOUR as u64;
    let mut nowhere = job("alice", "", 1, 1, HOUR, 2 * HOUR);
    nowhere.host = None;
    let jobs = [
        evicted,
        submitted,
        nowhere,
        desktop,
        // An hour longer than the node.
        job("alice", "n", 1, 1, 9 * HOUR, 11 * HOUR),
        // In another month.
        later,
    ];
    let shares = shares(&nodes, &period, &jobs);
    let hours = |apart: Apart| (apart.jobs, apart.core_ms / HOUR as u128);
    assert_eq!(
        (shares.earlier.jobs, shares.earlier.core_ms),
        (2, 5 * HOUR as u128 / 2)
    );
    assert_eq!(hours(shares.unplaced), (1, 2), "one is counted on its node");
    assert_eq!(hours(shares.unmanaged), (1, 8));
    let total = shares.total(By::Owner, false);
    assert_eq!(total.unattributed.used_core_ms, 9 * HOUR as u128 / 2);
    assert_eq!((total.unattributed.cost, total.all.jobs), (0, 4));
}

#[test]
fn a_started_billing_period_is_paid_whole_when_it_starts() {
    let nodes = [node("n", 22 * HOUR, 25 * HOUR, 1.0)];
    let period = november();
    let billing = Some(Duration::from_secs(2 * 3600));
    let mut shares = Shares::new(&nodes, &period, i64::MIN, |_| billing);
    shares.add(&job("alice", "n", 1, 1, 23 * HOUR, 25 * HOUR));
    let total = shares.total(By::Day, false);
    assert_eq!(
        costs(&total),
        [("2026-11-01", 2_000_000), ("2026-11-02", 2_000_000)]
    );
}

#[test]
fn names_are_bounded_and_no_formula() {
    let nodes = [node("n", 0, 10 * HOUR, 1.0)];
    let period = november();
    let name = |number: i64| format!("=u{number}\u{202e}\n\"");
    let mut jobs: Vec<Job> = (0..30)
        .map(|number| job(&name(number), "n", 1, 1, HOUR, (number + 2) * HOUR / 4))
        .collect();
    jobs.push(job("\u{202e}(total)", "n", 1, 1, HOUR, 2 * HOUR));
    let shares = shares(&nodes, &period, &jobs);
    let options = Options {
        by: By::Owner,
        apart: false,
        time_zone: TimeZone::UTC,
        unknown: Vec::new(),
        notes: Default::default(),
    };
    let summary = Summary::new(&shares, &period, options);
    let text = summary.text(80, &TimeZone::UTC);
    assert!(text.contains("others)"), "{text}");
    assert!(!text.contains('\u{202e}'));
    let csv = summary.csv();
    assert!(
        csv.lines().skip(1).all(|line| line.starts_with("\"'=u")
            || line.starts_with("\"(total)")
            || line.starts_with("\"'(total)")),
        "{csv}"
    );
    assert_eq!(csv.matches("\"(total)\"").count(), 1, "{csv}");
    let costs = csv
        .lines()
        .skip(1)
        .map(|line| line.rsplit(',').next().unwrap().replace('.', ""));
    let costs: Vec<u64> = costs.map(|cost| cost.parse().unwrap()).collect();
    let (total, rows) = costs.split_last().unwrap();
    assert_eq!((*total, rows.iter().sum::<u64>()), (10_000_000, 10_000_000));
}

prop_compose! {
    fn any_node()(
        (number, cloud, flavor) in (0..6_u8, 0..2_u8, 0..3_u8),
        begin_at in -400 * HOUR..300 * HOUR,
        lengths in prop::collection::vec((1..30 * HOUR, 0..3_u8, prop::option::of(0..3_000_000_u64)), 1..6),
        cores in prop::option::of(1..64_u64),
        memory_mb in prop::option::of(1..300_000_u64),
    ) -> NodeTime {
        let mut at = begin() + begin_at;
        let spans = lengths.into_iter().map(|(length, stage, price)| {
            let from = at;
            at += length;
            Span {
                from,
                to: at,
                stage: [Stage::Boot, Stage::Joined, Stage::Drain][usize::from(stage)],
                per_hour: price.map(Money::of_millionths),
            }
        });
        NodeTime {
            node: format!("n{number}-{begin_at}"),
            cloud: format!("c{cloud}"),
            flavor: format!("f{flavor}"),
            cores,
            memory_mb,
            hosts: vec![format!("h{number}")],
            spans: spans.collect(),
        }
    }
}

prop_compose! {
    fn any_job()(
        (owner, group, host) in (0..5_u8, prop::option::of(0..3_u8), prop::option::of(0..8_u8)),
        (cpus, memory_mb) in (0..200_u64, 0..400_000_u64),
        (from, length) in (-400 * HOUR..400 * HOUR, -HOUR..60 * HOUR),
        earlier_ms in prop_oneof![3 => Just(0_u64), 1 => any::<u32>().prop_map(u64::from)],
    ) -> Job {
        Job {
            owner: format!("u{owner}"),
            group: group.map(|group| format!("g{group}")),
            cpus,
            memory_mb,
            host: host.map(|host| format!("h{host}")),
            queued: None,
            run: Some((begin() + from, begin() + from + length)),
            earlier_ms,
        }
    }
}

const ALL: [By; 6] = [
    By::Owner,
    By::Group,
    By::Cloud,
    By::Flavor,
    By::Day,
    By::Node,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_breakdown_has_the_total_of_the_nodes(
        nodes in prop::collection::vec(any_node(), 0..12),
        jobs in prop::collection::vec(any_job(), 0..40),
        known_since in -100 * HOUR..300 * HOUR,
        billing in prop::option::of(1..40_000_u64),
        apart in any::<bool>(),
    ) {
        let period = november();
        let billing = billing.map(Duration::from_secs);
        // As the history has it: what each node has cost at the end, less what it had cost at the begin.
        let mut cost = 0;
        let mut core_ms = 0;
        for node in &nodes {
            let (begin, end) = node.range().unwrap();
            let at = |at: i64| u128::from(node.cost_until(at, billing).unwrap_or_default().millionths());
            let (from, to) = (begin.max(period.from), end.min(period.to));
            if from < to {
                cost += at(to) - if from > begin { at(from) } else { 0 };
                core_ms += u128::from(node.cores.unwrap_or(0)) * (to - from) as u128;
            }
        }
        let mut shares = Shares::new(&nodes, &period, begin() + known_since, |_| billing);
        jobs.iter().for_each(|job| shares.add(job));
        for by in ALL {
            let total = shares.total(by, apart);
            prop_assert_eq!((total.all.cost, total.all.paid_core_ms), (cost, core_ms));
            let mut sum = total.unattributed;
            total.rows.values().chain(total.overhead.values()).for_each(|one| sum.add(one));
            prop_assert_eq!(sum, total.all, "{:?}", by);
            prop_assert!(apart || total.overhead.is_empty());
        }
        // The order of jobs changes nothing.
        let mut others = Shares::new(&nodes, &period, begin() + known_since, |_| billing);
        jobs.iter().rev().for_each(|job| others.add(job));
        let (one, other) = (shares.total(By::Node, apart), others.total(By::Node, apart));
        prop_assert_eq!(costs(&one), costs(&other));
    }
}
