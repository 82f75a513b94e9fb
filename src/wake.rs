//! When the next pass is due before the timer's minute, and the two files that say so.
//!
//! Owns: `wake.json`, written at the end of each acting pass, and the empty file `wake`, which is there exactly while a pass
//! is due later but before the timer's. ehos.path starts `ehos due` while it is there, or when the event log changes.
//! Must not: decide anything about nodes; ask any service. All of it can be lost: the timer's next pass runs without it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::debug;
use serde::{Deserialize, Serialize};

use condor::event_log::{self, Mark};
use scaling::next_pass::{LastPass, NextPass, STALE, next_pass};
use system::json;
use system::lock;
use system::own_file;

/// The record of the last pass.
pub const RECORD: &str = "wake.json";
/// The file that asks for another look.
const WAKE: &str = "wake";

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
        json::write(&mut file, self)?;
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
