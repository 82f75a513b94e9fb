//! The last tick, read again when the file has changed.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::{Answer, JSON};
use report::TickReport;
use serde::Deserialize;
use system::json;
use system::own_file;

/// Which file it was, and as of when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub inode: u64,
    pub length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Mark {
    /// Of a file that is there.
    pub fn of(file: &Metadata) -> Mark {
        Mark {
            inode: file.ino(),
            length: file.len(),
            seconds: file.mtime(),
            nanoseconds: file.mtime_nsec(),
        }
    }
}

/// The version of a report's layout.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: u32,
}

/// One tick.
#[derive(Debug)]
pub struct Last {
    /// Its file.
    pub mark: Mark,
    pub snapshot: TickReport,
    /// As it is on disk, with fields that this program does not know; of an older layout in this one.
    pub answer: Answer,
}

/// The last tick that was read.
#[derive(Debug, Default)]
pub struct LastTick(Mutex<Option<Arc<Last>>>);

impl LastTick {
    /// The last tick that is on disk; none before the first one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<Option<Arc<Last>>> {
        let mark = match fs::metadata(path) {
            Ok(file) => Mark::of(&file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.mark == mark) {
            return Ok(Some(Arc::clone(last)));
        }
        // It may have been replaced since.
        let mut file = own_file::open(path)?;
        let mark = Mark::of(&file.metadata()?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let snapshot = TickReport::read(&bytes).map_err(|error| damaged(path, &error))?;
        let Version { version } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(path, &error))?;
        if version < snapshot.version {
            bytes = json::bytes(&snapshot)?;
        }
        let read = Arc::new(Last {
            mark,
            snapshot,
            answer: Answer::ok(JSON, bytes),
        });
        *last = Some(Arc::clone(&read));
        Ok(Some(read))
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> io::Error {
    // Who reads the page need not know where the state is.
    let name = path.file_name().unwrap_or_default().display();
    io::Error::new(
        ErrorKind::InvalidData,
        format!(
            "{name}: damaged: {error}; run `ehos tick`, or wait a minute: the next tick replaces the file"
        ),
    )
}
