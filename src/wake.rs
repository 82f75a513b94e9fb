//! When the next pass is due before the timer's minute, and the two files that say so.
//!
//! Owns: `wake.json`, written at the end of each acting pass, and the empty file `wake`, which is there exactly while a pass
//! is due later but before the timer's. ehos.path starts `ehos due` while it is there, or when the event log changes.
//! Must not: decide anything about nodes; ask any service. All of it can be lost: the timer's next pass runs without it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::debug;
use serde::{Deserialize, Serialize};

use condor::event_log::{self, Events, Mark};
use system::lock;
use system::own_file;

/// The record of the last pass.
pub const RECORD: &str = "wake.json";
/// The file that asks for another look.
const WAKE: &str = "wake";

/// From this age on a pass leaves what is due to the timer, which comes every minute and may come a second early.
const TIMER: Duration = Duration::from_secs(55);
/// The last passes have failed, or the timer is off: only the timer tries again.
const STALE: Duration = Duration::from_secs(150);
/// A pass rests for at least this many times its duration.
const REST: u32 = 2;

/// What the last pass left for the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastPass {
    /// The time since it began.
    pub age: Duration,
    /// How long it took.
    pub took: Duration,
    /// After how long, from its beginning, it asked to look again.
    pub look_again: Option<Duration>,
    /// The jobs that it saw waiting.
    pub idle_jobs: u64,
    /// `idle_timeout`, as it holds.
    pub idle_timeout: Duration,
}

/// When the next pass is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPass {
    /// Now.
    Due,
    /// In this time, which is before the timer's.
    In(Duration),
    /// When the timer says.
    OfTimer,
}

/// When a pass is due after the last one, where `events` were seen since and `interval` (`daemon.event_interval`) is the
/// shortest distance of passes.
///
/// Jobs that wait need nodes, so they are a reason. Jobs that ended are one only where none waits any more, as far as starts
/// are counted: else the next job gets the slot. Nothing is to be done about a node that is idle before its `idle_timeout` is over,
/// and the next pass sees since when it is. A pass that took long rests for longer, so that slow services are not asked without a pause.
pub fn next_pass(last: &LastPass, events: Events, interval: Duration) -> NextPass {
    if interval.is_zero() || last.age >= STALE {
        return NextPass::OfTimer;
    }
    let rest = last.took * REST;
    let none_waits = last.idle_jobs <= events.started;
    let due = [
        (events.waiting > 0).then_some(interval),
        (events.ended > 0 && none_waits).then_some(interval.max(last.idle_timeout)),
        last.look_again,
    ];
    match due.into_iter().flatten().min().map(|due| due.max(rest)) {
        Some(due) if due <= last.age => NextPass::Due,
        Some(due) if due < TIMER => NextPass::In(due.saturating_sub(last.age)),
        Some(_) | None => NextPass::OfTimer,
    }
}

/// `wake.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// The boot of this machine in which the clock below counts.
    boot: String,
    began: Duration,
    took: Duration,
    look_again: Option<Duration>,
    idle_jobs: u64,
    #[serde(default)]
    idle_timeout: Duration,
    /// `daemon.event_interval` and `condor.event_log` of the pass, so that `ehos due` need not read the configuration.
    interval: Duration,
    log: PathBuf,
    mark: Option<Mark>,
}

impl Record {
    /// The record in the state directory, when it is of this boot.
    fn load(directory: &Path) -> Option<Record> {
        let text = own_file::read(&directory.join(RECORD)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        (record.boot == boot()).then_some(record)
    }

    fn save(&self, directory: &Path) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(tick::state_directory::new_file::WAKE)
            .tempfile_in(directory)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.persist(directory.join(RECORD))?;
        Ok(())
    }

    fn next_pass(&self) -> NextPass {
        // Of the future it is nothing to go by.
        let Some(age) = lock::uptime().checked_sub(self.began) else {
            return NextPass::OfTimer;
        };
        let last = LastPass {
            age,
            took: self.took,
            look_again: self.look_again,
            idle_jobs: self.idle_jobs,
            idle_timeout: self.idle_timeout,
        };
        next_pass(
            &last,
            event_log::since(&self.log, self.mark.as_ref()),
            self.interval,
        )
    }
}

/// The beginning of a pass.
#[derive(Debug)]
pub struct Begun {
    began: Duration,
    idle_timeout: Duration,
    interval: Duration,
    log: PathBuf,
    mark: Option<Mark>,
}

impl Begun {
    /// Now, before anything is observed: what is logged from here on may not have been seen.
    pub fn now(interval: Duration, idle_timeout: Duration, log: &Path) -> Begun {
        Begun {
            idle_timeout,
            began: lock::uptime(),
            interval,
            log: log.to_owned(),
            mark: Mark::of(log),
        }
    }

    /// Ends the pass: writes its record, and `wake` where the next pass is due before the timer's. `look_again` counts
    /// from the beginning. The tick's lock must be held.
    pub fn end(&self, directory: &Path, look_again: Option<Duration>, idle_jobs: u64) {
        let record = Record {
            boot: boot(),
            began: self.began,
            took: lock::uptime().saturating_sub(self.began),
            look_again,
            idle_jobs,
            idle_timeout: self.idle_timeout,
            interval: self.interval,
            log: self.log.clone(),
            mark: self.mark,
        };
        if let Err(error) = record.save(directory) {
            debug!("{RECORD}: {error}; the timer starts the next pass");
            set_wake(directory, false);
            return;
        }
        // A pass that is due now still has to be started.
        let is_ahead = record.next_pass() != NextPass::OfTimer;
        set_wake(directory, is_ahead);
    }
}

/// The size of the event log, where the last pass has left a record.
pub fn log_size(directory: &Path) -> Option<u64> {
    let record = Record::load(directory)?;
    Some(fs::metadata(&record.log).ok()?.len())
}

/// Whether ticks have left a record in this state directory lately.
pub fn has_record(directory: &Path) -> bool {
    let age = |record: Record| lock::uptime().checked_sub(record.began);
    Record::load(directory)
        .and_then(age)
        .is_some_and(|age| age < STALE)
}

/// When the next pass is due; `wake` is set for later, and removed else. Without a record all is the timer's, and while a
/// tick runs, which will see to it at its end.
pub fn look(directory: &Path) -> NextPass {
    if lock::holder(directory, lock::TICK).is_some() {
        debug!("a tick is running");
        return NextPass::OfTimer;
    }
    let next = Record::load(directory).map_or(NextPass::OfTimer, |record| record.next_pass());
    debug!("next pass: {next:?}");
    // One that is due now may find a tick that has just let go of its lock: it is asked for until a tick has answered.
    set_wake(directory, next != NextPass::OfTimer);
    next
}

fn set_wake(directory: &Path, there: bool) {
    let path = directory.join(WAKE);
    let done = if there {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&path);
        made.map(drop)
    } else {
        fs::remove_file(&path)
    };
    match done {
        Ok(()) => {}
        Err(error)
            if [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound].contains(&error.kind()) => {}
        Err(error) => debug!(
            "{}: {error}; the timer starts the next pass",
            path.display()
        ),
    }
}

/// The id of this boot; empty where the kernel does not say.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn events(letters: &str) -> Events {
        Events {
            waiting: letters.matches('w').count() as u64,
            started: letters.matches('s').count() as u64,
            ended: letters.matches('e').count() as u64,
        }
    }

    #[test]
    fn a_pass_is_due_for_jobs_that_wait_that_ended_and_at_the_time_it_asked_for() {
        use NextPass::{Due, In, OfTimer};
        // Age and duration of the last pass, what it asked for, the jobs that waited, events, the interval: what is due.
        let table = [
            // Nothing happened.
            (20, 1, None, 0, "", 10, OfTimer),
            (70, 1, None, 2, "", 10, OfTimer),
            // Jobs wait.
            (20, 1, None, 0, "w", 10, Due),
            (20, 1, None, 2, "we", 10, Due),
            (10, 1, None, 2, "w", 10, Due),
            (4, 1, None, 0, "w", 10, In(seconds(6))),
            (4, 1, None, 0, "w", 0, OfTimer),
            (20, 1, None, 0, "w", 40, In(seconds(20))),
            (20, 1, None, 0, "w", 120, OfTimer),
            // Jobs ended.
            (20, 1, None, 0, "e", 10, Due),
            (4, 1, None, 0, "e", 10, In(seconds(6))),
            (20, 1, None, 2, "e", 10, OfTimer),
            (20, 1, None, 2, "eees", 10, OfTimer),
            (20, 1, None, 2, "sse", 10, Due),
            (20, 1, None, 0, "s", 10, OfTimer),
            // It asked for it.
            (4, 1, Some(5), 0, "", 10, In(seconds(1))),
            (5, 1, Some(5), 2, "", 10, Due),
            (20, 1, Some(30), 0, "", 10, In(seconds(10))),
            (20, 1, Some(30), 0, "w", 10, Due),
            (4, 1, Some(30), 0, "w", 10, In(seconds(6))),
            (20, 1, Some(58), 0, "", 10, OfTimer),
            (58, 1, Some(58), 0, "", 10, Due),
            (6, 1, Some(5), 0, "", 0, OfTimer),
            // A pass that took long rests.
            (35, 20, None, 0, "w", 10, In(seconds(5))),
            (21, 20, Some(5), 0, "", 10, In(seconds(19))),
            (35, 30, None, 0, "w", 10, OfTimer),
            (60, 30, None, 0, "w", 10, Due),
            // The last ones failed.
            (149, 1, None, 0, "w", 10, Due),
            (150, 1, Some(5), 0, "w", 10, OfTimer),
        ];
        for (age, took, again, idle, what, interval, expected) in table {
            let last = LastPass {
                age: seconds(age),
                took: seconds(took),
                look_again: again.map(seconds),
                idle_jobs: idle,
                idle_timeout: Duration::ZERO,
            };
            let next = next_pass(&last, events(what), seconds(interval));
            assert_eq!(next, expected, "{last:?} {what:?} {interval}");
        }
        // Nodes that have become idle wait for their time-out.
        for (age, idle_timeout, what, expected) in [
            (20, 30, "e", In(seconds(10))),
            (30, 30, "e", Due),
            (20, 30, "we", Due),
            (20, 120, "e", OfTimer),
        ] {
            let last = LastPass {
                age: seconds(age),
                took: seconds(1),
                look_again: None,
                idle_jobs: 0,
                idle_timeout: seconds(idle_timeout),
            };
            let next = next_pass(&last, events(what), seconds(10));
            assert_eq!(next, expected, "{last:?} {what:?}");
        }
    }

    const SUBMIT: &str = "000 (014.000.000) 11/29 12:36:06 Job submitted from host: <>\n...\n";

    /// A state directory with a log, and a pass that began `age` ago and ended at once.
    struct World(tempfile::TempDir);

    impl World {
        fn new() -> World {
            let world = World(tempfile::tempdir().unwrap());
            fs::write(world.log(), SUBMIT).unwrap();
            world
        }

        fn log(&self) -> PathBuf {
            self.0.path().join("EventLog")
        }

        fn passed(&self, age: u64, again: Option<u64>) {
            let mut begun = Begun::now(seconds(10), Duration::ZERO, &self.log());
            begun.end_later(self.0.path(), age, again);
        }

        fn submit(&self) {
            let text = fs::read_to_string(self.log()).unwrap() + SUBMIT;
            fs::write(self.log(), text).unwrap();
        }

        fn wakes(&self) -> bool {
            self.0.path().join(WAKE).exists()
        }

        fn due(&self) -> (bool, bool) {
            (look(self.0.path()) == NextPass::Due, self.wakes())
        }
    }

    impl Begun {
        fn end_later(&mut self, directory: &Path, age: u64, again: Option<u64>) {
            let begun = Begun {
                idle_timeout: Duration::ZERO,
                began: self.began,
                interval: self.interval,
                log: self.log.clone(),
                mark: self.mark,
            };
            begun.end(directory, again.map(seconds), 0);
            let mut record = Record::load(directory).unwrap();
            record.began = record.began.saturating_sub(seconds(age));
            record.save(directory).unwrap();
        }
    }

    #[test]
    fn wake_is_there_while_a_pass_is_due_later_but_before_the_timers() {
        let world = World::new();
        assert_eq!(world.due(), (false, false), "no record");
        world.passed(4, None);
        assert!(!world.wakes());
        assert_eq!(world.due(), (false, false), "nothing happened");
        world.submit();
        assert_eq!(world.due(), (false, true), "too soon");
        assert_eq!(world.due(), (false, true), "still too soon");
        world.passed(4, None);
        assert!(!world.wakes(), "the pass has seen it");

        world.passed(20, None);
        world.submit();
        assert_eq!(world.due(), (true, true), "due, until a tick has answered");

        world.passed(0, Some(30));
        assert!(world.wakes(), "asked to look again");
        assert_eq!(world.due(), (false, true));
        world.passed(31, Some(30));
        assert_eq!(world.due(), (true, true));
        world.passed(0, Some(58));
        assert!(!world.wakes(), "the timer's");
    }

    #[test]
    fn what_is_logged_while_a_pass_runs_is_due_after_it() {
        let world = World::new();
        let begun = Begun::now(seconds(10), Duration::ZERO, &world.log());
        world.submit();
        begun.end(world.0.path(), None, 1);
        assert!(world.wakes());
        let begun = Begun::now(Duration::ZERO, Duration::ZERO, &world.log());
        world.submit();
        begun.end(world.0.path(), None, 1);
        assert!(!world.wakes(), "passes for events are off");
    }

    #[test]
    fn a_record_that_says_nothing_leaves_all_to_the_timer() {
        let world = World::new();
        let path = world.0.path().join(RECORD);
        world.passed(20, None);
        world.submit();
        let good = fs::read_to_string(&path).unwrap();
        let record = || serde_json::from_str::<Record>(&good).unwrap();
        let future = Record {
            began: lock::uptime() + seconds(60),
            ..record()
        };
        let other_boot = Record {
            boot: "another".to_owned(),
            ..record()
        };
        let words = [
            String::new(),
            "{".to_owned(),
            "\0\0".to_owned(),
            serde_json::to_string(&future).unwrap(),
            serde_json::to_string(&other_boot).unwrap(),
        ];
        for words in words {
            fs::write(&path, &words).unwrap();
            fs::write(world.0.path().join(WAKE), "").unwrap();
            assert_eq!(world.due(), (false, false), "{words}");
        }
        fs::write(&path, good).unwrap();
        assert_eq!(world.due(), (true, true));
    }

    #[test]
    fn while_a_tick_runs_nothing_is_due_and_wake_stays_as_it_is() {
        let world = World::new();
        world.passed(20, None);
        world.submit();
        let tick = lock::try_lock(world.0.path(), lock::TICK).unwrap();
        assert_eq!(world.due(), (false, false));
        fs::write(world.0.path().join(WAKE), "").unwrap();
        assert_eq!(world.due(), (false, true));
        drop(tick);
        assert_eq!(world.due(), (true, true));
    }
}
