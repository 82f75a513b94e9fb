//! Logs on standard error: for people, or with journald's levels when systemd runs it.

use std::io::Write;
use std::os::fd::AsFd;

use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::plain::clean;
use crate::progress;

/// Whether `stream` goes to journald, as `journal_stream` (`$JOURNAL_STREAM`: device and inode of its socket, see
/// systemd.exec(5)) says: then each line may begin with its level.
pub fn is_journal(stream: impl AsFd, journal_stream: Option<&str>) -> bool {
    let Some(expected) = journal_stream else {
        return false;
    };
    rustix::fs::fstat(stream)
        .is_ok_and(|stat| format!("{}:{}", stat.st_dev, stat.st_ino) == expected)
}

/// How much is logged, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verbosity {
    /// The number of `-v`.
    pub more: u8,
    /// Each line begins with its level for journald.
    pub journal: bool,
    /// Levels have colors.
    pub color: bool,
}

/// Starts logging: 0 × `-v` shows warnings, 1 what is done, 2 each request, 3 everything of ehos. Other crates
/// never log below info: at trace, HTTP crates print headers, tokens included.
pub fn start(verbosity: Verbosity) {
    let level = match verbosity.more {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = Builder::new();
    builder
        .target(Target::Stderr)
        .write_style(match verbosity.color {
            true => WriteStyle::Always,
            false => WriteStyle::Never,
        })
        .filter_level(level.min(LevelFilter::Info))
        .filter_module("ehos", level);
    if verbosity.journal {
        builder.format(|out, record| {
            // sd-daemon(3): the level as a prefix, the time is journald's.
            let priority = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            for line in lines(record) {
                writeln!(out, "<{priority}>{line}")?;
            }
            Ok(())
        });
    } else {
        builder.format(|out, record| {
            let level = record.level();
            let style = out.default_level_style(level);
            let name = level.as_str().to_lowercase();
            let mut lines = lines(record);
            let first = lines.next().unwrap_or_default();
            writeln!(out, "{style}{name}{style:#}: {first}")?;
            lines.try_for_each(|line| writeln!(out, "{line}"))
        });
    }
    let logger = builder.build();
    let level = logger.filter();
    // A second start in one process (tests) keeps the first.
    if log::set_boxed_logger(Box::new(Aside(logger))).is_ok() {
        log::set_max_level(level);
    }
}

/// The lines of a record. Each but the first is indented, so that no value in it begins a line that looks like another
/// record or like a line of a report.
fn lines(record: &Record<'_>) -> impl Iterator<Item = String> {
    let text = record.args().to_string();
    let lines: Vec<String> = text.lines().map(clean).collect();
    lines.into_iter().enumerate().map(|(index, line)| {
        if index == 0 {
            line
        } else {
            format!("  {line}")
        }
    })
}

/// A logger that does not write into the live lines of a long command.
struct Aside(env_logger::Logger);

impl Log for Aside {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if self.0.matches(record) {
            progress::aside(|| self.0.log(record));
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
