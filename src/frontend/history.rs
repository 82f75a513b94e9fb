//! The history as the page asks for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::answer::{Answer, JSON};
use super::costs::Costs;
use super::decisions::{DAYS, NodeShown, Quiet, of_node};
use super::last::{Last, LastTick};
use super::series::{Range, Shown};
use super::view::View;
use report::history;
use report::history::life::Life;
use report::history::search::{Found, search};
use system::json;

/// Answers that need days read, one after the other, for which as many wait: they would take every connection else.
const READING: usize = 8;

/// A folder of the history.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    last: LastTick,
    days: Mutex<Quiet>,
    /// Those that are being answered from the days' files, and wait for it.
    reading: AtomicUsize,
}

impl History {
    /// The history in this folder, which needs not be there yet.
    pub fn new(folder: PathBuf) -> History {
        History {
            folder,
            last: LastTick::default(),
            days: Mutex::default(),
            reading: AtomicUsize::new(0),
        }
    }

    /// An answer for which days are read, or the word that too many wait for one.
    fn read_days(&self, read: impl FnOnce(&mut Quiet) -> io::Result<Answer>) -> io::Result<Answer> {
        let answer = if self.reading.fetch_add(1, Ordering::Relaxed) < READING {
            read(&mut self.days.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            let busy = "too many requests for the history; retry in a moment";
            Ok(Answer::error(503, busy))
        };
        self.reading.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last tick; none before the first one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last(&self) -> io::Result<Option<Arc<Last>>> {
        self.last.read(&history::last_file(&self.folder))
    }

    /// What time it is for the pool: of a simulated one that of its last tick.
    pub fn now(&self) -> Timestamp {
        let simulated = self.known_last().filter(|last| last.snapshot.simulated);
        simulated.map_or_else(Timestamp::now, |last| last.snapshot.at)
    }

    /// The last tick where it can be read: what is long ago does not depend on it.
    fn known_last(&self) -> Option<Arc<Last>> {
        self.last().ok().flatten()
    }

    /// The last tick as JSON.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn status(&self) -> io::Result<Answer> {
        Ok(match self.last()? {
            Some(last) => last.answer.clone(),
            None => Answer::ok(JSON, *b"null"),
        })
    }

    /// The last tick as JSON with the page's view of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn page(&self) -> io::Result<Answer> {
        let last = self.last()?;
        let view = View::of(last.as_ref().map(|last| &last.snapshot), self.now());
        let mut text = b"{\"tick\":".to_vec();
        text.extend_from_slice(&self.status()?.body);
        text.extend_from_slice(b",\"view\":");
        json::write(&mut text, &view)?;
        text.push(b'}');
        Ok(Answer::ok(JSON, text))
    }

    /// The data of the charts.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn series(&self, range: Range) -> io::Result<Answer> {
        let now = self.now();
        self.read_days(|_| Answer::json(&Shown::read(&self.folder, range, now)?))
    }

    /// Use and cost by owner in this month.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn costs(&self) -> io::Result<Answer> {
        let now = self.now();
        let last = self.known_last();
        let are_hidden = last.is_some_and(|last| last.snapshot.owners_hidden);
        self.read_days(|_| Answer::json(&Costs::read(&self.folder, now, are_hidden)))
    }

    /// The newest decisions before a time.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn decisions(&self, limit: usize, before: Option<Timestamp>) -> io::Result<Answer> {
        let now = self.now();
        self.read_days(|quiet| Answer::json(&quiet.decisions(&self.folder, limit, before, now)?))
    }

    /// One node, and all that happened to it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn node(&self, name: &str) -> io::Result<Answer> {
        let last = self.known_last();
        let mut nodes = last.iter().flat_map(|last| &last.snapshot.nodes);
        let node = nodes.find(|node| node.is_called(name));
        self.read_days(|_| {
            let (events, unread) = of_node(&self.folder, name, self.now())?;
            match unread.first() {
                _ if node.is_some() || !events.is_empty() => Answer::json(&NodeShown {
                    node,
                    events,
                    unread,
                }),
                Some(day) => Err(io::Error::other(format!("{}: {}", day.file, day.why))),
                None => Ok(Answer::error(
                    404,
                    &format!(
                        "no node {name:?} is there, nor in the history of the last {DAYS} days"
                    ),
                )),
            }
        })
    }

    /// The life of a node, as `ehos explain NODE` tells it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn life(&self, name: &str) -> io::Result<Answer> {
        let Some(last) = self.known_last() else {
            return Ok(Answer::error(404, "no tick yet"));
        };
        let last = &last.snapshot;
        self.read_days(|_| {
            let (found, _) = search(&self.folder, last, name)?;
            let suggestions = match found {
                Found::Node { node, records } => match Life::of(&node, &records, last) {
                    Some(life) => return Answer::json(&life),
                    None => Vec::new(),
                },
                Found::Nothing { suggestions } => suggestions,
            };
            let similar = match suggestions.as_slice() {
                [] => String::new(),
                names => format!("; similar names: {}", names.join(", ")),
            };
            Ok(Answer::error(
                404,
                &format!("no node of this name in the history{similar}"),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_wait_for_what_is_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::new(folder.path().to_owned());
        let statuses = || {
            let node = history.node("n").unwrap().status;
            assert_eq!(history.life("n").unwrap().status, 404);
            let series = history.series(Range::Hour).unwrap().status;
            let decisions = history.decisions(10, None).unwrap();
            (node, series, decisions.status)
        };
        history.reading.fetch_add(READING, Ordering::Relaxed);
        assert_eq!(statuses(), (503, 503, 503));
        history.reading.fetch_sub(READING, Ordering::Relaxed);
        assert_eq!(statuses(), (404, 200, 200));
    }
}
