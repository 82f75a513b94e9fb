//! The history for the page. Concurrent requests for the same part share one read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::answer::{Answer, JSON};
use super::decisions::{Quiet, of_node};
use super::last::{Last, LastTick, Mark};
use super::node;
use super::series::{Range, Series};
use super::view::View;
use report::history;

/// Answers about decisions that are kept.
const KEPT: usize = 8;

/// Answers that need days read, one after the other, for which as many wait: they would take every connection else.
const READING: usize = 8;

/// A folder of the history.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    last: LastTick,
    series: Mutex<Series>,
    decisions: Mutex<Decided>,
    nodes: Mutex<()>,
    /// Those that are being answered from the days' files, and wait for it.
    reading: AtomicUsize,
}

#[derive(Debug, Default)]
struct Decided {
    quiet: Quiet,
    as_of: Option<Mark>,
    answers: Vec<((usize, Option<Timestamp>), Answer)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counted, until it is dropped.
struct Reading<'a>(&'a AtomicUsize);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy() -> Answer {
    Answer::error(503, "too many requests for the history; retry in a moment")
}

impl History {
    /// The history in this folder, which needs not be there yet.
    pub fn new(folder: PathBuf) -> History {
        History {
            folder,
            last: LastTick::default(),
            series: Mutex::default(),
            decisions: Mutex::default(),
            nodes: Mutex::default(),
            reading: AtomicUsize::new(0),
        }
    }

    /// One more that reads days, or `None` where there are too many.
    fn reads(&self) -> Option<Reading<'_>> {
        let reading = Reading(&self.reading);
        (self.reading.fetch_add(1, Ordering::Relaxed) < READING).then_some(reading)
    }

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
        text.extend_from_slice(&serde_json::to_vec(&view)?);
        text.push(b'}');
        Ok(Answer::ok(JSON, text))
    }

    /// What charts are drawn from.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn series(&self, range: Range) -> io::Result<Answer> {
        let now = self.now();
        locked(&self.series).answer(&self.folder, range, now)
    }

    /// The newest decisions before a time.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn decisions(&self, limit: usize, before: Option<Timestamp>) -> io::Result<Answer> {
        // A tick writes its line first and itself then.
        let as_of = self.known_last().map(|last| last.mark);
        let asked = (limit, before);
        let now = self.now();
        let Some(_reading) = self.reads() else {
            return Ok(busy());
        };
        let mut decided = locked(&self.decisions);
        let Decided {
            quiet,
            as_of: known,
            answers,
        } = &mut *decided;
        if as_of.is_none() || *known != as_of {
            answers.clear();
            *known = as_of;
        }
        if let Some((_, answer)) = answers.iter().find(|(of, _)| *of == asked) {
            return Ok(answer.clone());
        }
        let found = quiet.decisions(&self.folder, limit, before, now)?;
        let answer = Answer::ok(JSON, serde_json::to_vec(&found)?);
        answers.truncate(KEPT - 1);
        answers.insert(0, (asked, answer.clone()));
        Ok(answer)
    }

    /// One node, and all that happened to it; none when nothing is known of it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn node(&self, name: &str) -> io::Result<Option<Answer>> {
        let last = self.known_last();
        let Some(_reading) = self.reads() else {
            return Ok(Some(busy()));
        };
        let _one_at_a_time = locked(&self.nodes);
        let nodes = last.iter().flat_map(|last| &last.snapshot.nodes);
        let node = nodes.clone().find(|node| node.is_called(name));
        let (events, unread) = of_node(&self.folder, name, self.now())?;
        if node.is_none() && events.is_empty() {
            return match unread.first() {
                None => Ok(None),
                Some(day) => Err(io::Error::other(format!("{}: {}", day.file, day.why))),
            };
        }
        let shown = node::Shown {
            node,
            events,
            unread,
        };
        Ok(Some(Answer::ok(JSON, serde_json::to_vec(&shown)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_wait_for_what_is_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::new(folder.path().to_owned());
        let waiting: Vec<_> = (0..READING).map(|_| history.reads().unwrap()).collect();
        let statuses = || {
            let node = history.node("n").unwrap();
            let decisions = history.decisions(10, None).unwrap();
            (node.map(|answer| answer.status), decisions.status)
        };
        assert_eq!(statuses(), (Some(503), 503));
        drop(waiting);
        assert_eq!(statuses(), (None, 200));
    }
}
