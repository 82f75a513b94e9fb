//! Nodes of a period alone have the same sums as all nodes of the history.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

use super::node_time::Stage;
use super::*;
use crate::TickReport;
use crate::tick_report::exists;
use scaling::money::Money;

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440 * MINUTE;
const PHASES: [&str; 8] = [
    "new", "building", "booting", "busy", "idle", "draining", "deleting", "gone",
];

/// An event of a node at a minute of the history: which node, and its phase.
type Step = (i64, usize, usize);

fn begin() -> i64 {
    let begin: Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
    begin.as_millisecond()
}

fn time(minute: i64) -> Timestamp {
    Timestamp::from_millisecond(begin() + minute * MINUTE).unwrap()
}

fn price(node: usize, minute: i64) -> f64 {
    // Prices change now and then.
    [0.1, 0.3333, 1.7][(node + usize::try_from(minute / 40_000).unwrap()) % 3]
}

fn record(at: Timestamp, events: &Value, actions: &Value) -> TickOfNodes {
    let record = json!({"at": at.to_string(), "events": events, "actions": actions});
    serde_json::from_value(record).unwrap()
}

/// The records of these steps, and the last tick.
fn history(steps: &[Step], deleted: &[bool]) -> (Vec<TickOfNodes>, TickReport) {
    let mut was = vec![None; deleted.len()];
    let mut records = Vec::new();
    for (minute, node, phase) in steps {
        let phase = PHASES[*phase];
        let event = json!({"node": format!("n{node}"), "name": format!("v{node}"), "cloud": "green",
            "flavor": format!("m{}", node % 2), "vcpus": if phase == "busy" { json!(4) } else { Value::Null },
            "machine": format!("host{node}"), "per_hour": price(*node, *minute), "was": was[*node], "phase": phase,
            "decision": "keep", "reason": "free", "text": "t"});
        let done = |action: &str| json!([{"action": action, "node": format!("n{node}"), "cloud": "green", "result": "done"}]);
        let actions = match phase {
            "new" => done("create"),
            "deleting" if deleted[*node] => done("delete"),
            _ => json!([]),
        };
        was[*node] = Some(phase);
        records.push(record(time(*minute), &json!([event]), &actions));
    }
    let there = was.iter().enumerate().filter_map(|(node, phase)| {
        let phase = phase.filter(|phase| *phase != "gone" && node % 5 > 0)?;
        Some(json!({"node": format!("n{node}"), "name": format!("v{node}"), "cloud": "green", "flavor": format!("m{}", node % 2),
            "server": {"vcpus": 4, "per_hour": 0.1, "age_seconds": 600}, "phase": phase, "decision": "keep", "reason": "free",
            "text": "t"}))
    });
    let there: Vec<Value> = there.collect();
    let last = json!({"version": 2, "at": time(150 * 1440).to_string(), "nodes": there});
    (records, serde_json::from_value(last).unwrap())
}

fn always() -> Period {
    Period {
        from: i64::MIN,
        to: i64::MAX,
        days: Vec::new(),
        is_open: false,
    }
}

fn read(period: &Period, records: &[TickOfNodes], last: &TickReport) -> (usize, Vec<NodeTime>) {
    let mut times = NodeTimes::within(period, last);
    let mut most = 0;
    for record in records {
        times.add(record);
        most = most.max(times.kept());
    }
    (most, times.build(last))
}

fn jobs(steps: &[Step]) -> Vec<Job> {
    let of = |(number, (minute, node, _)): (usize, &Step)| Job {
        owner: format!("user{}", number % 3),
        group: None,
        cpus: 1 + number as u64 % 4,
        memory_mb: 512,
        host: Some(format!("host{node}")),
        queued: Some(begin() + (minute - 30) * MINUTE),
        run: Some((begin() + minute * MINUTE, begin() + (minute + 200) * MINUTE)),
        earlier_ms: 0,
    };
    steps.iter().enumerate().map(of).collect()
}

proptest! {
    #[test]
    fn a_period_has_the_sums_of_the_whole_history(
        mut steps in prop::collection::vec((0..150 * 1440_i64, 0..40_usize, 0..PHASES.len()), 1..200),
        deleted in prop::collection::vec(any::<bool>(), 40),
        month in 8..=12_i8,
        hours in 0..3_u64,
    ) {
        steps.sort_unstable();
        // ehos forgets a node that is gone.
        let mut gone = BTreeSet::new();
        steps.retain(|(_, node, phase)| {
            let is_known = !gone.contains(node);
            if PHASES[*phase] == "gone" {
                gone.insert(*node);
            }
            is_known
        });
        let (records, last) = history(&steps, &deleted);
        let day = Date::new(2026, month, 1).unwrap();
        let period = Period::month(day, &TimeZone::UTC, last.at);
        let (_, all) = read(&always(), &records, &last);
        let (_, some) = read(&period, &records, &last);
        let billing = |_: &str| (hours > 0).then(|| Duration::from_secs(3600 * hours));
        // No job of the period ran on a node that was deleted a week before it, or created a week after it.
        let mut jobs = jobs(&steps);
        let hosts: BTreeSet<&String> = some.iter().flat_map(|node| &node.hosts).collect();
        jobs.retain(|job| job.host.as_ref().is_some_and(|host| hosts.contains(host)));
        let of = |nodes| {
            let mut shares = Shares::new(nodes, &period, i64::MIN, billing);
            // A job of a node that is long gone is no job of the period.
            let ran = |job: &&Job| job.run.is_some_and(|(_, to)| to > period.from);
            jobs.iter().filter(ran).for_each(|job| shares.add(job));
            shares
        };
        let (all, some) = (of(&all), of(&some));
        for by in [By::Owner, By::Group, By::Cloud, By::Flavor, By::Day, By::Node] {
            for apart in [false, true] {
                let (all, some) = (all.total(by, apart), some.total(by, apart));
                let paid = |total: &Total| {
                    let amount = |amount: &Amount| (amount.jobs, amount.paid_core_ms, amount.cost);
                    // A node that did not exist in the period has lines without an amount.
                    let rows = total.rows.iter().filter(|(_, one)| one.cost + one.paid_core_ms > 0);
                    let rows = rows.map(|(name, one)| (name.clone(), amount(one)));
                    let overhead = total.overhead.values().map(|one| (one.cost, one.paid_core_ms));
                    let overhead = overhead.filter(|one| *one != (0, 0));
                    (rows.collect::<Vec<_>>(), overhead.collect::<Vec<_>>(), total.all.cost, total.all.paid_core_ms)
                };
                prop_assert_eq!(paid(&all), paid(&some));
            }
        }
        prop_assert!(all.without_price >= some.without_price && all.without_size >= some.without_size);
    }

    #[test]
    fn changes_that_repeat_one_before_make_no_difference(
        steps in prop::collection::vec((0..3000_i64, 2..6_usize), 1..40),
    ) {
        // A clock may be set back.
        let steps: Vec<Step> = steps.iter().map(|(minute, phase)| (*minute, 0, *phase)).collect();
        let (records, last) = history(&steps, &[false]);
        let (_, nodes) = read(&always(), &records, &last);
        let stage = |phase: usize| match PHASES[phase] {
            "booting" => Stage::Boot,
            "draining" => Stage::Drain,
            _ => Stage::Joined,
        };
        // Every change ends the span before it.
        let mut plain: Vec<(i64, Stage, i64)> = Vec::new();
        let mut end = i64::MIN;
        for pair in steps.windows(2) {
            let (from, to) = (begin() + pair[0].0 * MINUTE, begin() + pair[1].0 * MINUTE);
            if from < to && end.max(from) < to {
                plain.push((end.max(from), stage(pair[0].2), to));
                end = to;
            }
        }
        let minutes = |spans: &[(i64, Stage, i64)]| -> Vec<(i64, Stage)> {
            let each = spans.iter().flat_map(|(from, stage, to)| {
                (*from..*to).step_by(MINUTE as usize).map(|at| (at, *stage))
            });
            each.collect()
        };
        let spans = nodes.iter().flat_map(|node| &node.spans);
        let spans: Vec<_> = spans.map(|span| (span.from, span.stage, span.to)).collect();
        prop_assert_eq!(minutes(&spans), minutes(&plain));
        prop_assert!(spans.len() <= plain.len());
    }
}

#[test]
fn memory_is_bounded_by_the_nodes_of_the_period() {
    // A node an hour for 150 days: each lives for two.
    let nodes = 150 * 24;
    let mut steps: Vec<Step> = (0..nodes)
        .flat_map(|node| {
            let minute = node as i64 * 60;
            (0..PHASES.len()).map(move |phase| (minute + phase as i64 * 17, node, phase))
        })
        .filter(|(minute, ..)| *minute < 150 * 1440)
        .collect();
    steps.sort_unstable();
    let (records, last) = history(&steps, &vec![true; nodes]);
    let october = Period::month(Date::constant(2026, 10, 1), &TimeZone::UTC, last.at);
    let (all, _) = read(&always(), &records, &last);
    let (most, times) = read(&october, &records, &last);
    assert_eq!(all, nodes);
    let days = usize::try_from((october.to - october.from) / DAY).unwrap();
    assert!(
        most <= (days + 15) * 24 + 50,
        "{most} nodes for {days} days"
    );
    assert!(times.len() >= days * 24, "{}", times.len());
    let phases: Vec<bool> = PHASES
        .iter()
        .map(|phase| exists(&serde_json::from_value(json!(phase)).unwrap()))
        .collect();
    assert_eq!(phases, [true, true, true, true, true, true, true, false]);
    assert_eq!(Money::new(price(0, 0)), Money::new(0.1));
}
