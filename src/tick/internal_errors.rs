//! Clouds in whose requests ehos has panicked: a mistake of ehos, which may come back with each request. For some minutes
//! such a cloud is not asked. It is unknown, and all others are planned as usual.
//!
//! The program is built without unwinding (`docs/performance.md`, "Size of the program"): a panic ends the tick. What it
//! had begun is in the state, as with any other crash.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::panic;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use log::{debug, error};

use crate::backends::Backends;
use crate::cloud::{Cloud, LeftoverQuery};
use crate::state_directory::new_file;
use scaling::action::{CloudAction, Done, Failure, FailureKind};
use scaling::observation::{CloudName, CloudView, ServerRecord};
use system::deadline::Deadline;
use system::json;
use system::own_file;

/// The file in the state directory: when ehos last panicked, by cloud.
const FILE: &str = "internal-errors.json";

/// With a tick each minute, one of ten is lost to a cloud that makes ehos panic each time.
const LEFT_OUT: SignedDuration = SignedDuration::from_mins(10);

type Panics = BTreeMap<CloudName, Timestamp>;

thread_local! {
    /// The cloud that this thread asks.
    static ASKED: RefCell<Option<CloudName>> = const { RefCell::new(None) };
}

/// Does the work of a request to this cloud in this thread.
pub fn asking<T>(cloud: Option<CloudName>, work: impl FnOnce() -> T) -> T {
    let outer = ASKED.replace(cloud);
    let answer = work();
    ASKED.set(outer);
    answer
}

/// Work for another thread, for the cloud that this one asks.
pub fn same_cloud<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let cloud = ASKED.with_borrow(Clone::clone);
    move || asking(cloud, work)
}

/// From now on, a panic of this process in a request to a cloud is kept in the state directory.
pub fn keep(directory: &Path) {
    let path = directory.join(FILE);
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if let Some(cloud) = ASKED.with_borrow(Clone::clone) {
            let message = message(&cloud);
            // Before anything is told: a message may be what panicked.
            let added = add(&path, cloud, Timestamp::now());
            error!("{message}");
            if let Err(error) = added {
                error!("{}: cannot be written: {error}", path.display());
            }
        }
        // It may end the process.
        tell(panic);
    }));
}

fn message(cloud: &str) -> String {
    format!(
        "cloud {cloud}: internal error of ehos in a request to it; report this with the lines that follow; the next \
         ticks ask this cloud again after {} minutes",
        LEFT_OUT.as_mins()
    )
}

fn add(path: &Path, cloud: CloudName, at: Timestamp) -> io::Result<()> {
    let mut panics = read(path);
    panics.retain(|_, earlier| is_recent(*earlier, at));
    panics.insert(cloud, at);
    let mut file = tempfile::Builder::new()
        .prefix(new_file::INTERNAL_ERRORS)
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    json::write(&mut file, &panics)?;
    file.persist(path)?;
    Ok(())
}

/// Without a file that can be read, each cloud is asked.
fn read(path: &Path) -> Panics {
    let bytes = match own_file::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                debug!("{}: {error}", path.display());
            }
            return Panics::new();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        debug!("{}: {error}", path.display());
        Panics::new()
    })
}

/// Not a time that a wrong clock has set in the future.
fn is_recent(panic: Timestamp, at: Timestamp) -> bool {
    panic <= at && at < panic + LEFT_OUT
}

/// Puts a stand-in in the place of each cloud in whose requests ehos has panicked lately: it is unknown.
pub fn leave_out<'a>(backends: Backends<'a>, directory: &Path, at: Timestamp) -> Backends<'a> {
    let panics = read(&directory.join(FILE));
    let stand_in = |cloud: Box<dyn Cloud + 'a>| match panics.get(cloud.name()) {
        Some(panic) if is_recent(*panic, at) => Box::new(LeftOut {
            name: cloud.name().to_owned(),
            panic: *panic,
        }),
        _ => cloud,
    };
    Backends {
        clouds: backends.clouds.into_iter().map(stand_in).collect(),
        ..backends
    }
}

/// A cloud that is not asked.
struct LeftOut {
    name: CloudName,
    panic: Timestamp,
}

impl LeftOut {
    fn failure(&self) -> Failure {
        Failure {
            kind: FailureKind::NotDone,
            message: format!(
                "not asked until {:.0}: an internal error of ehos in a request at {:.0}; report it with what that tick logged",
                self.panic + LEFT_OUT,
                self.panic
            ),
        }
    }
}

impl Cloud for LeftOut {
    fn name(&self) -> &str {
        &self.name
    }

    fn observe(&self, _: &LeftoverQuery, _: Deadline) -> Result<CloudView, Failure> {
        Err(self.failure())
    }

    fn look(&self, _: &str, _: Deadline) -> Result<Option<ServerRecord>, Failure> {
        Err(self.failure())
    }

    fn perform(&self, _: &CloudAction, _: Deadline) -> Result<Done, Failure> {
        Err(self.failure())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use system::threads::{joined, spawn};

    #[test]
    fn panics_are_kept_by_cloud_and_no_longer_than_they_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let at = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        assert_eq!(read(&path), Panics::new());
        add(&path, "blue".to_owned(), at(0)).unwrap();
        add(&path, "grey".to_owned(), at(9)).unwrap();
        let both = [("blue".to_owned(), at(0)), ("grey".to_owned(), at(9))];
        assert_eq!(read(&path), Panics::from(both));
        add(&path, "grey".to_owned(), at(10)).unwrap();
        assert_eq!(read(&path), Panics::from([("grey".to_owned(), at(10))]));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        let recent = |minutes| is_recent(at(10), at(minutes));
        assert_eq!([9, 10, 19, 20].map(recent), [false, true, true, false]);
        std::fs::write(&path, "{\"grey\":").unwrap();
        assert_eq!(read(&path), Panics::new());
        add(&path, "blue".to_owned(), at(0)).unwrap();
        assert_eq!(read(&path).len(), 1);
    }

    #[test]
    fn threads_ask_the_cloud_of_the_thread_that_starts_them() {
        let asked = || ASKED.with_borrow(Clone::clone);
        let blue = Some("blue".to_owned());
        asking(blue.clone(), || {
            std::thread::scope(|scope| {
                assert_eq!(joined(spawn(scope, asked)), None);
                assert_eq!(joined(spawn(scope, same_cloud(asked))), blue);
            });
            assert_eq!(asking(None, asked), None);
            assert_eq!(asked(), blue);
        });
        assert_eq!(asked(), None);
    }
}
