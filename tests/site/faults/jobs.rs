//! Many short jobs through many scale-ups and scale-downs: none is ended by ehos, as the schedd's own history shows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::long;
use super::rig::Rig;
use crate::machines::step;

const DAEMON: &str = "nodes_max: 8
    max_unproven: 8
    idle_timeout: 1 s
    delete_timeout: 20 s";

/// What the ticks did, by action and result.
#[derive(Default)]
struct Deeds(BTreeMap<String, usize>);

impl Deeds {
    fn add(&mut self, report: &str) {
        let report: Value =
            serde_json::from_str(report).unwrap_or_else(|e| panic!("{e}: {report}"));
        let passes = [&report, &report["second_pass"]];
        let actions = passes.iter().filter_map(|pass| pass["actions"].as_array());
        for action in actions.flatten() {
            let word = |key: &str| action[key].as_str().unwrap_or("").to_owned();
            // What the startd answers: 10001 it drains already, 10003 its own check says no.
            let message = word("message");
            let code = message.split_once("error code ").map(|(_, rest)| rest);
            let result = match code.and_then(|rest| rest.split(':').next()) {
                Some(code) => format!("refused {code}"),
                None => word("result"),
            };
            *self
                .0
                .entry(format!("{} {result}", word("action")))
                .or_default() += 1;
        }
    }

    fn count(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or(0)
    }
}

/// Jobs that come while nodes drain and go: what loses them would show here.
fn submit(rig: &Rig, count: usize) -> usize {
    // Of one, two and three seconds.
    for (seconds, count) in [
        ("1", count - 2 * (count / 3)),
        ("2", count / 3),
        ("3", count / 3),
    ] {
        if count > 0 {
            rig.pool
                .submit(count, seconds, "request_cpus = 1\nrequest_memory = 128");
        }
    }
    count
}

#[test]
fn short_jobs_outlive_every_scale_down() {
    let (total, cycles): (usize, usize) = if long() { (1050, 10) } else { (150, 2) };
    let Some(rig) = Rig::up("jobs", DAEMON) else {
        return;
    };
    rig.over("clouds: {small: {nodes_max: 0}}\nehos: {flavors: [m1.medium]}");
    let began = Instant::now();
    let mut deeds = Deeds::default();
    let mut submitted = 0;
    let mut ticks = 0;
    let mut seen_cycles = 0;
    let mut wave = 0;
    while submitted < total || seen_cycles < cycles {
        wave += 1;
        // The last ones are for the gaps.
        let share = (total / cycles)
            .saturating_sub(6)
            .min(total.saturating_sub(submitted));
        submitted += submit(&rig, share.max(1));
        let mut late = 3;
        let mut most = 0;
        loop {
            let tick = rig.tick(&["-o", "json"]);
            ticks += 1;
            // 75: a request to a busy testbed took too long.
            assert!([0, 1, 75].contains(&tick.code), "{tick}");
            deeds.add(
                tick.text
                    .lines()
                    .filter(|line| !line.starts_with('['))
                    .collect::<String>()
                    .as_str(),
            );
            let servers = rig.last.lock().unwrap().len();
            most = most.max(servers);
            // A job for each time that a node is about to go: some come before the drain, some after it.
            if late > 0 && !rig.pool.draining().is_empty() {
                submitted += submit(&rig, 2);
                late -= 1;
            }
            if servers == 0 && most > 0 && rig.pool.jobs(1) + rig.pool.jobs(2) == 0 {
                break;
            }
            let limit = Duration::from_secs(if long() { 1500 } else { 240 });
            assert!(began.elapsed() < limit, "it does not end: {tick}");
        }
        seen_cycles += 1;
        step(&format!(
            "wave {wave}: {submitted} jobs so far, {most} nodes at most"
        ));
    }

    let history = rig.pool.rows(
        "condor_history",
        &[],
        &[
            "JobStatus",
            "NumJobStarts",
            "ExitCode",
            "NumShadowStarts",
            "LastVacateTime",
            "NumHolds",
            "NumSystemHolds",
        ],
    );
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for job in &history {
        *kinds.entry(job.join(" ")).or_default() += 1;
    }
    println!(
        "    status, starts, exit code, shadows, vacated, holds, system holds: jobs\n    {kinds:?}"
    );
    let log = rig.pool.job_log();
    let events = |code: &str| log.lines().filter(|line| line.starts_with(code)).count();
    let made = rig.made.lock().unwrap().len();
    println!(
        "    {submitted} jobs, {seen_cycles} cycles from no node to no node, {ticks} ticks in {:.0} s
    {made} servers made; {:?}
    events: {} executing, {} ended, {} evicted, {} shadow exceptions, {} disconnected",
        began.elapsed().as_secs_f64(),
        deeds.0,
        events("001 ("),
        events("005 ("),
        events("004 ("),
        events("007 ("),
        events("022 ("),
    );
    assert_eq!(history.len(), submitted);
    for job in &history {
        let first: Vec<&str> = job.iter().take(5).map(String::as_str).collect();
        assert_eq!(first, ["4", "1", "0", "1", "undefined"], "{job:?}");
    }
    assert_eq!((events("001 ("), events("005 (")), (submitted, submitted));
    assert_eq!(events("022 ("), 0);
    super::assert_nobody_was_evicted(&rig);
    assert!(deeds.count("drain done") >= cycles, "{:?}", deeds.0);
    assert_eq!(deeds.count("delete done"), made, "{:?}", deeds.0);
}
