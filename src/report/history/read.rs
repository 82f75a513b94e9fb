//! Reads the history. Damaged lines, such as the last one of a killed tick, are skipped.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use scaling::sorting;
use serde::{Deserialize, Serialize};

use super::{DAY, LAST};
use crate::TickReport;
use system::json;
use system::own_file;

/// The last tick that is on disk; none before the first one.
///
/// # Errors
/// When there is one that cannot be read.
pub fn last(folder: &Path) -> io::Result<Option<TickReport>> {
    match own_file::read(&folder.join(LAST)) {
        Ok(text) => Ok(Some(TickReport::read(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One day of the history (UTC).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
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
    sorting::ascending(&mut days);
    Ok(days)
}

/// A day of which a part cannot be read. Every other day is read all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadDay {
    /// The name of its file.
    pub file: String,
    /// The system's words.
    #[serde(rename = "cause")]
    pub why: String,
}

impl Day {
    /// This day as one that cannot be read for `error`.
    pub fn unread(&self, error: &io::Error) -> UnreadDay {
        let name = self.path.file_name().unwrap_or_default();
        UnreadDay {
            file: name.to_string_lossy().into_owned(),
            why: error.to_string(),
        }
    }

    /// Gives each line to `take`, whole or not; none when a tick has removed the day for its age since it was listed.
    /// A line that is no text is skipped.
    ///
    /// # Errors
    /// When the file cannot be read (any further).
    pub fn each_line(&self, mut take: impl FnMut(String)) -> io::Result<()> {
        let Some(file) = there(own_file::open(&self.path))? else {
            return Ok(());
        };
        for line in BufReader::with_capacity(1 << 18, file).split(b'\n') {
            if let Ok(line) = String::from_utf8(line?) {
                take(line);
            }
        }
        Ok(())
    }

    /// All of it; nothing when a tick has removed it for its age since it was listed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        Ok(there(own_file::read(&self.path))?.unwrap_or_default())
    }
}

/// `None` for what is not there.
pub(super) fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// A line of which `what` is wanted.
pub fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Option<T> {
    json::read(line).ok()
}
