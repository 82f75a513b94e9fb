//! The passes of one tick: one, and a second if startds have accepted drains.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ::tick::backends::Backends;
use log::debug;

use super::pass::Pass;
use config::Config;
use report::TickReport;
use report::history;
use report::metrics::{self, MetricsSettings};
use report::notify;
use scaling::state::State;
use simulation::{World, locked};
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;

/// In this time a startd without a claim has drained, and the collector has its ad that says so (1.1 s with HTCondor 23.9).
pub const DRAIN_TIME: Duration = Duration::from_secs(2);

/// All that the passes of one tick have in common.
pub struct Passes<'a> {
    pub config: &'a Config,
    pub environment: &'a Environment,
    pub directory: &'a Path,
    pub backends: &'a Backends<'a>,
    pub world: Option<&'a Mutex<World>>,
    /// False in a dry run.
    pub acting: bool,
    pub deadline: Deadline,
    /// How the report for people is written; `None`: it is not printed.
    pub text: Option<report::TextOptions>,
}

/// All passes of a tick.
pub struct Passed {
    first: Pass,
    second: Option<Pass>,
    /// Why there is no second one.
    failed: Option<anyhow::Error>,
}

impl Passes<'_> {
    /// Makes a pass, and a second one where that can delete what has drained. The report of each is given to `print`.
    ///
    /// # Errors
    /// Those of the first [`Passes::pass`].
    pub fn run(
        &self,
        remembered: &State,
        notices: Vec<String>,
        start: Instant,
        mut print: impl FnMut(&str),
    ) -> anyhow::Result<Passed> {
        let first = self.pass(remembered, notices, start)?;
        print(&first.text);
        let mut passed = Passed {
            second: None,
            failed: None,
            first,
        };
        if passed.first.has_drained && self.has_time() {
            self.let_drain();
            let notes = self.config.notes.iter().map(ToString::to_string).collect();
            match self.pass(&passed.first.next, notes, Instant::now()) {
                Ok(pass) => {
                    // With --quiet a pass without a problem says nothing.
                    if !pass.text.is_empty() {
                        let seconds = DRAIN_TIME.as_secs();
                        print(&format!("\nsecond pass, {seconds} s later:\n{}", pass.text));
                    }
                    passed.second = Some(pass);
                }
                // The first pass is still reported and recorded.
                Err(error) => passed.failed = Some(error),
            }
        }
        Ok(passed)
    }

    /// Whether there is time left for another pass.
    fn has_time(&self) -> bool {
        self.deadline.left() > self.config.timeouts.tick / 2
    }

    /// Lets the time pass in which startds drain.
    fn let_drain(&self) {
        match self.world {
            Some(world) => locked(world).advance(DRAIN_TIME.as_secs()),
            None => std::thread::sleep(DRAIN_TIME),
        }
    }
}

impl Passed {
    fn all(&self) -> impl Iterator<Item = &Pass> {
        [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
    }

    /// Writes the report for programs.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let second = self.second.as_ref();
        report::write_json(out, &self.first.snapshot, second.map(|pass| &pass.snapshot))
    }

    fn report(&self) -> Cow<'_, TickReport> {
        match &self.second {
            Some(second) => Cow::Owned(second.snapshot.after(&self.first.snapshot)),
            None => Cow::Borrowed(&self.first.snapshot),
        }
    }

    /// Leaves for others what they read, and for `ehos due` when the next pass is due. The tick's lock must be held.
    pub fn publish(&self, passes: &Passes<'_>) {
        let directory = passes.directory;
        let report = self.report();
        if self.second.is_some() && self.first.exit != Exit::Done {
            passes.record(history::write_last(directory, &report));
        }
        metrics::write(&passes.config.metrics, &report);
        notify::tell(&passes.config.notify, directory, &report);
        // The page asks for it, and nothing of a tick does.
        if let Err(error) = frontend::token::Token::kept(directory) {
            debug!("{}: {error}", frontend::token::FILE);
        }
        let last = self.second.as_ref().unwrap_or(&self.first);
        last.ask_for_next(directory);
    }

    /// Sends each pass to InfluxDB.
    pub fn send(&self, settings: &MetricsSettings) {
        for pass in self.all() {
            metrics::send(settings, &pass.snapshot);
        }
    }

    /// How the tick ended.
    ///
    /// # Errors
    /// The second pass's.
    pub fn exit(&mut self) -> anyhow::Result<Exit> {
        let exit = self
            .all()
            .fold(Exit::Done, |exit, pass| exit.worse(pass.exit));
        self.failed.take().map_or(Ok(exit), Err)
    }
}
