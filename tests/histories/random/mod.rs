//! Random histories: jobs, faults and crashes of ehos itself, with the rules checked at every step, and everything
//! served and nothing leaked when the faults end.
//!
//! Each history is made of one number. Without a variable in the environment it is the first three thousand, the same
//! each time; `EHOS_HISTORIES=N` runs N new ones on all cores. One that fails is shrunk to the events that matter and
//! printed with its number: `EHOS_HISTORY_SEED=NUMBER` runs that one again.

mod events;
mod faults;
mod history;
mod rules;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use events::{Act, Event, Forgery, THERE, event};
use faults::CloudAnswer;
use history::{History, MINUTES};

use crate::attacker::{Attack, Lie};
use crate::corpus::{self, Recorder};

/// Histories that have failed once.
const FAILED: [u64; 4] = [
    1883198132846800,
    1883198132846838,
    1883209467955459,
    1883209467957041,
];

/// How many there are when no number is given.
const USUAL: u64 = 3000;

/// Those whose plans are compared with the recorded ones.
const RECORDED: u64 = 100;

/// Those that run with a limit on cores.
const CORE_LIMITED: u64 = 60;

/// So many different failures are looked for before the test ends.
const FAILURES: usize = 5;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}: {value} is no number")))
}

fn runner(seed: u64) -> TestRunner {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    // Of what proptest has, the one that is quick in a debug build, too.
    let seeds = [seed, !seed].map(u64::to_le_bytes).concat();
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &seeds);
    TestRunner::new_with_rng(config, rng)
}

/// The seed of a world, and what happens in it when.
fn histories() -> impl Strategy<Value = (u64, Vec<(u8, Event)>)> {
    let events = prop::collection::vec((0..MINUTES, event()), 0..30);
    (any::<u64>(), events)
}

/// The same with an operator at work. They are others than those without, which stay as they are.
fn operated() -> impl Strategy<Value = (u64, Vec<(u8, Event)>)> {
    let act = || Act::any().prop_map(Event::Operator);
    let acts = prop::collection::vec((0..MINUTES, act()), 1..12);
    (histories(), acts).prop_map(|((world, mut events), acts)| {
        events.extend(acts);
        (world, events)
    })
}

/// One history, and when it fails, the least of it that still does.
fn run(seed: u64) -> Result<(), String> {
    run_of(seed, histories())
}

fn run_of(
    seed: u64,
    histories: impl Strategy<Value = (u64, Vec<(u8, Event)>)>,
) -> Result<(), String> {
    let result = runner(seed).run(&histories, |(world, mut events)| {
        events.sort_by_key(|(minute, _)| *minute);
        let history = History::new(world, &events);
        history.run(&events).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Abort(why)) => Err(why.to_string()),
        Err(TestError::Fail(why, (world, mut events))) => {
            events.sort_by_key(|(minute, _)| *minute);
            let mut history = History::new(world, &events);
            history.log = Some(Vec::new());
            let told = history.told(&events);
            Err(format!(
                "EHOS_HISTORY_SEED={seed} fails: {why}\n{}\nof a world with the seed {world}, events (minute, what):\n  \
                 {}",
                told.join("\n"),
                events
                    .iter()
                    .map(|event| format!("{event:?}"))
                    .collect::<Vec<_>>()
                    .join("\n  ")
            ))
        }
    }
}

/// The first seed of histories that no run had before: far from those of the last run, however many they were.
fn first_new() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs() << 20
}

/// Runs them on all cores; the failures by their seeds.
fn run_all(
    first: u64,
    count: u64,
    run: impl Fn(u64) -> Result<(), String> + Sync,
) -> BTreeMap<u64, String> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || failures.lock().unwrap().len() >= FAILURES {
                return;
            }
            if number > 0 && number.is_multiple_of(5000) {
                let seconds = began.elapsed().as_secs();
                eprintln!("{number} of {count} histories after {seconds} s");
            }
            let seed = first.wrapping_add(number);
            if let Err(failure) = run(seed) {
                eprintln!("{failure}");
                failures.lock().unwrap().insert(seed, failure);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let run = next.into_inner().min(count);
    eprintln!(
        "{run} histories from the seed {first} on in {:.1} s on {cores} cores",
        began.elapsed().as_secs_f64()
    );
    failures.into_inner().unwrap()
}

#[test]
fn random_histories_have_the_recorded_plans() {
    let digest = |seed: u64| {
        let tree = histories().new_tree(&mut runner(seed)).unwrap();
        let (world, mut events) = tree.current();
        events.sort_by_key(|(minute, _)| *minute);
        let mut history = History::new(world, &events);
        history.plans = Some(Recorder::unchecked(format!("random-{seed}")));
        history.digest(&events)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let part = |first: u64| {
        (first..RECORDED)
            .step_by(cores as usize)
            .map(|seed| (seed, digest(seed)))
    };
    let digests: BTreeMap<u64, String> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..cores)
            .map(|first| scope.spawn(move || part(first).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    });
    // Ten at a time, so that a change of few shows as one.
    let digests: Vec<String> = digests.into_values().collect();
    for (number, ten) in digests.chunks(10).enumerate() {
        corpus::check(&format!("random-{number}0"), &corpus::digest(ten.concat()));
    }
}

#[test]
fn whatever_happens_no_job_is_lost_and_nothing_leaks() {
    if let Some(seed) = variable("EHOS_HISTORY_SEED") {
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
        return;
    }
    let failures = match variable("EHOS_HISTORIES") {
        Some(count) => run_all(first_new(), count, run),
        None => {
            let failed = FAILED.into_iter();
            let mut failures: BTreeMap<u64, String> = failed
                .filter_map(|seed| Some((seed, run(seed).err()?)))
                .collect();
            failures.extend(run_all(0, USUAL, run));
            failures
        }
    };
    let seeds: Vec<_> = failures.keys().collect();
    assert!(
        failures.is_empty(),
        "EHOS_HISTORY_SEED={seeds:?}, printed above"
    );
}

/// The rules check `cores_max` at every step. The limit is lifted when the faults end.
#[test]
fn whatever_happens_nodes_never_have_more_cores_than_cores_max() {
    for seed in 0..CORE_LIMITED {
        let tree = histories().new_tree(&mut runner(seed)).unwrap();
        let (world, mut events) = tree.current();
        events.sort_by_key(|(minute, _)| *minute);
        let mut history = History::new(world, &events);
        history.limit_cores(seed % 24, seed % 13);
        if let Err(failure) = history.run(&events) {
            panic!("seed {seed}: {failure}");
        }
    }
}

#[test]
fn whatever_operators_request_no_other_job_is_lost_and_nothing_leaks() {
    let (first, count) = match variable("EHOS_HISTORIES") {
        Some(count) => (first_new(), count),
        None => (0, USUAL / 3),
    };
    let failures = match variable("EHOS_OPERATED_SEED") {
        Some(seed) => run_of(seed, operated()).err().into_iter().collect(),
        None => run_all(first, count, |seed| run_of(seed, operated()))
            .into_values()
            .collect::<Vec<_>>(),
    };
    assert!(
        failures.is_empty(),
        "EHOS_OPERATED_SEED=NUMBER runs one of them: {}",
        failures.join("\n")
    );
}

/// What the minutes of some histories were that have found something, shrunk: one is not found again by its number when
/// there are other events.
#[test]
fn histories_that_have_found_something_hold() {
    let submit = |count, cpus, memory_mb, runs| Event::Submit {
        count,
        cpus,
        memory_mb,
        runs,
        unmatchable: false,
    };
    let forge = |lie, own_identities| {
        Event::Forge(Some(Attack {
            lie,
            victim: 0,
            own_identities,
        }))
    };
    let histories: [(u64, &[(u8, Event)]); 15] = [
        // Each time that old ads made the spare node silent, another one was created.
        (
            11_712_528_025_511_115_560,
            &[
                (0, Event::NodesMin { min: 0, spare: 1 }),
                (0, Event::OldAds(140)),
            ],
        ),
        // A node of an older image was drained to try the new one, and the drain of a spare node was taken back for it.
        (
            8_317_395_969_152_331_917,
            &[
                (0, Event::NodesMin { min: 0, spare: 2 }),
                (
                    14,
                    Event::SubmitNeeding {
                        needs: "docker",
                        count: 8,
                        cpus: 3,
                        runs: 1440,
                    },
                ),
                (17, Event::Negotiator(true)),
                (25, Event::SubmitMeanwhile { count: 1, runs: 60 }),
                (26, Event::Configure(1, 1)),
            ],
        ),
        // A delete that was not done is asked for again behind an ad from before the startd's restart.
        (
            7_325_456_115_058_893,
            &[
                (0, submit(1, 1, 7681, 180)),
                (0, Event::Deletes(true)),
                (0, Event::Crash(0)),
                (4, Event::Pause(2)),
                (10, Event::OldAds(61)),
                (44, submit(2, 3, 1, 120)),
                (
                    45,
                    Event::RestartStartd {
                        index: 0,
                        jobs_go_on: false,
                    },
                ),
            ],
        ),
        // Nodes whose first ads come late had been idle for long by then, and went before they had a chance.
        (
            12_707_629_641_734_883_770,
            &[
                (0, Event::Answers(vec![CloudAnswer::Rejected])),
                (0, submit(9, 1, 4993, 720)),
                (0, Event::OldAds(536)),
            ],
        ),
        (
            698_198_249_530_328_039,
            &[
                (0, Event::Schedd(true)),
                (0, Event::LateAds(4176)),
                (36, Event::SubmitMeanwhile { count: 1, runs: 60 }),
            ],
        ),
        (
            0,
            &[(0, Event::LateAds(4916)), (0, submit(4, 1, 4993, 960))],
        ),
        (
            0,
            &[
                (0, submit(2, 1, 3713, 60)),
                (0, submit(12, 1, 7681, 1860)),
                (3, Event::LateAds(1801)),
            ],
        ),
        // A node whose ads were taken away from the first on went with its job, for its schedd did not answer.
        (
            0,
            &[
                (0, forge(Lie::DrainedAlone, true)),
                (0, submit(17, 1, 7681, 300)),
                (14, Event::Schedd(true)),
            ],
        ),
        // Which of two startds was named first was the order of the list.
        (
            0,
            &[
                (0, forge(Lie::Drained, true)),
                (0, submit(1, 1, 7681, 960)),
                (3, forge(Lie::OtherNode, false)),
            ],
        ),
        // A neighbour's copy of a server that was a quarter of an hour old went with a lost state.
        (
            9_804_341_032_736_945_685,
            &[
                (7, submit(5, 1, 2561, 300)),
                (
                    22,
                    Event::Neighbour {
                        forgery: Forgery::Copy,
                        index: 0,
                    },
                ),
                (22, Event::LoseState),
            ],
        ),
        // A second server of one create, and a builder that was made while the clock was set, are an operator's to name.
        (
            0,
            &[
                (0, Event::Answers(vec![CloudAnswer::Twice])),
                (0, Event::Image(true)),
                (58, submit(2, 3, 1, 120)),
            ],
        ),
        (
            0,
            &[
                (0, Event::Clouds(2)),
                (2, Event::Builder(0)),
                (2, Event::Clock(-960)),
            ],
        ),
        // A schedd had listed jobs on a node that was drained by a forged ad, and the next job came right before its delete.
        (
            16_592_958_155_516_901_196,
            &[
                (0, submit(3, 1, 2561, 1380)),
                (0, forge(Lie::Room, false)),
                (18, submit(2, 3, 1, 300)),
                (30, submit(5, 3, 1, 540)),
                (
                    33,
                    Event::Forge(Some(Attack {
                        lie: Lie::IdleAlone,
                        victim: 2,
                        own_identities: false,
                    })),
                ),
                (44, Event::SubmitMeanwhile { count: 1, runs: 60 }),
            ],
        ),
        // With a copy of it there, a node of a lost state did not count.
        (
            0,
            &[
                (0, Event::Images(1)),
                (1, submit(3, 1, 2561, 1080)),
                (9, submit(4, 3, 4993, 60)),
                (10, submit(2, 1, 7425, 60)),
                (
                    12,
                    Event::SubmitNeeding {
                        needs: THERE,
                        count: 4,
                        cpus: 2,
                        runs: 1200,
                    },
                ),
                (17, Event::SubmitMeanwhile { count: 1, runs: 60 }),
                (
                    28,
                    Event::Neighbour {
                        forgery: Forgery::Copy,
                        index: 9,
                    },
                ),
                (41, Event::LoseState),
            ],
        ),
        // The negotiator gave smaller jobs the room that was made for a larger one.
        (
            8_866_201_981_573_014_269,
            &[
                (
                    0,
                    Event::Quota {
                        cores: 0,
                        instances: None,
                    },
                ),
                (0, Event::Clouds(1)),
                (11, submit(5, 1, 6401, 1020)),
                (47, submit(3, 1, 8449, 60)),
            ],
        ),
    ];
    for (world, events) in histories {
        let history = History::new(world, events);
        assert_eq!(history.run(events), Ok(()), "{events:?}");
    }
}
