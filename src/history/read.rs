//! Reads the history back. What cannot be read of it, a line that a killed tick left half written, is skipped.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::{CloudCounts, CostCounts, DAY, LAST, Record};
use crate::report::Snapshot;
use crate::report::snapshot::Queue;
use crate::scaling::figures::CoreFigures;
use crate::scaling::observation::Resources;

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

/// The counts of a tick, without what is said in words: what charts are drawn from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// When it looked.
    pub at: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// The jobs; none when no schedd answered.
    pub queue: Option<Queue>,
    /// What the waiting ones ask for.
    pub demand: Resources,
    /// Cores that are paid for, and used.
    pub cores: CoreFigures,
    /// Whether the collector answered.
    pub collector: bool,
    /// Nodes by phase.
    pub nodes: BTreeMap<String, u64>,
    /// The same by cloud.
    pub clouds: BTreeMap<String, CloudCounts>,
    /// What nodes cost.
    pub cost: Option<CostCounts>,
}

/// The records in which a node is named by its id, its server's name or UUID, or its host name; the newest first. Only
/// lines that have the word in them are looked at.
///
/// # Errors
/// When the history cannot be read.
pub fn event_lines(folder: &Path, node: &str) -> io::Result<Vec<Record>> {
    let word = format!("\"{node}\"");
    let mut found = Vec::new();
    for day in days(folder)?.iter().rev() {
        let mut of_day: Vec<Record> = day
            .lines()?
            .filter(|line| line.contains(&word))
            .filter_map(|line| parse(&line))
            .collect();
        of_day.reverse();
        found.append(&mut of_day);
    }
    Ok(found)
}
