//! Reads the history back. What cannot be read of it, a line that a killed tick left half written, is skipped.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;

use super::{DAY, LAST};
use crate::report::Snapshot;

/// The last tick that is on disk; none before the first one.
///
/// # Errors
/// When there is one that cannot be read.
pub fn last(folder: &Path) -> io::Result<Option<Snapshot>> {
    match fs::read(folder.join(LAST)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One day of the history (UTC).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// Its file.
    pub path: PathBuf,
}

/// The days that are there, the oldest first.
///
/// # Errors
/// When the folder cannot be read. One that is not there has no days.
pub fn days(folder: &Path) -> io::Result<Vec<Day>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut days = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let date = name.and_then(|name| name.strip_suffix(DAY));
        if let Some(date) = date.and_then(|date| date.parse().ok()) {
            days.push(Day { date, path });
        }
    }
    days.sort_unstable();
    Ok(days)
}

impl Day {
    /// Its lines, whole or not; none when a tick has removed it for its age since it was listed.
    ///
    /// # Errors
    /// When the file cannot be opened; a line that cannot be read ends them.
    pub fn lines(&self) -> io::Result<impl Iterator<Item = String>> {
        let file = there(File::open(&self.path))?.into_iter();
        let lines = file.flat_map(|file| BufReader::with_capacity(1 << 18, file).split(b'\n'));
        Ok(lines
            .map_while(Result::ok)
            .filter_map(|line| String::from_utf8(line).ok()))
    }

    /// All of it; nothing when a tick has removed it for its age since it was listed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        Ok(there(fs::read(&self.path))?.unwrap_or_default())
    }
}

/// `None` for what is not there.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// A line of which `what` is wanted.
pub fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Option<T> {
    serde_json::from_str(line).ok()
}
