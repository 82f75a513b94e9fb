//! What a long command is doing, for the people who wait for it: live lines with the elapsed time on a terminal, plain
//! lines elsewhere. All of it goes to standard error.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::afterword::Afterword;
pub use crate::afterword::Remains;
use crate::plain::{clean, is_like_level};

/// How often the elapsed time is drawn anew.
const REDRAW: Duration = Duration::from_millis(250);

/// The live lines of this process, while there are any.
static LIVE: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Nothing is said of what is going on (`--quiet`).
static SILENT: AtomicBool = AtomicBool::new(false);

/// From now on nothing is said of what is going on.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Lets `write` write to the terminal, with the live lines out of the way.
pub fn aside<T>(write: impl FnOnce() -> T) -> T {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match live {
        Some(live) => live.suspend(write),
        None => write(),
    }
}

/// All that is going on at once.
#[derive(Debug)]
pub struct Progress {
    live: Option<MultiProgress>,
    afterword: Option<Arc<Afterword>>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Progress {
    /// Live lines where standard error is a terminal.
    pub fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal() && !is_silent();
        let live = terminal.then(MultiProgress::new);
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&live);
        Progress {
            live,
            afterword: None,
        }
    }

    /// The same; after an interrupt it is said what stays, as its lines tell.
    pub fn with_afterword() -> Progress {
        let mut progress = Progress::new();
        progress.afterword = Some(Arc::new(Afterword::begin()));
        progress
    }

    /// Plain lines, whatever standard error is.
    pub fn plain() -> Progress {
        Progress {
            live: None,
            afterword: None,
        }
    }

    /// A line of its own for what is done about `subject` (a cloud, a server).
    pub fn line(&self, subject: &str) -> Line {
        let bar = self.live.as_ref().map(|all| {
            let bar = all.add(ProgressBar::new_spinner());
            // The template is fixed: that it parses is shown by every run on a terminal, and the default will do.
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:.bold} {elapsed:>4}  {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(clean(subject));
            bar.enable_steady_tick(REDRAW);
            bar
        });
        Line {
            subject: subject.to_owned(),
            began: Instant::now(),
            doing: Mutex::default(),
            bar,
            afterword: self.afterword.clone(),
        }
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

/// What is going on about one subject.
#[derive(Debug)]
pub struct Line {
    subject: String,
    began: Instant,
    doing: Mutex<String>,
    bar: Option<ProgressBar>,
    afterword: Option<Arc<Afterword>>,
}

impl Line {
    /// What an interrupt would leave of it from now on.
    pub fn leaves(&self, left: Option<Remains>) {
        if let Some(afterword) = &self.afterword {
            afterword.leaves(&self.subject, left);
        }
    }

    /// What is being done now. Said once, however often it is told.
    pub fn doing(&self, what: &str) {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        if *doing == what {
            return;
        }
        what.clone_into(&mut doing);
        match &self.bar {
            Some(bar) => bar.set_message(clean(what)),
            None => self.print(what),
        }
    }

    /// The newest of what is seen meanwhile (the last line of a console): for the live line only.
    pub fn detail(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
            bar.set_message(clean(&format!("{doing}: {detail}")));
        }
    }

    /// A line for those who see no live line.
    pub fn note(&self, what: &str) {
        if self.bar.is_none() {
            self.print(what);
        }
    }

    /// How it ended. The line stays.
    pub fn done(&self, what: &str) {
        self.leaves(None);
        match &self.bar {
            Some(bar) => bar.finish_with_message(clean(what)),
            None => self.print(what),
        }
    }

    fn print(&self, what: &str) {
        if is_silent() {
            return;
        }
        let seconds = self.began.elapsed().as_secs();
        let line = clean(&format!("{} {seconds:>4} s  {what}", self.subject));
        // No subject becomes a level of the journal.
        let space = if is_like_level(&line) { " " } else { "" };
        // A terminal that is gone ends nothing.
        let _ = writeln!(std::io::stderr(), "{space}{line}");
    }
}
