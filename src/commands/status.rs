//! `ehos status`: shows the last tick from the history.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::{Status, StatusOutput};
use crate::commands::state_directory_of_reader;
use report::TickReport;
use report::history;
use report::metrics;
use report::metrics::MetricsSettings;
use report::problem::{Level, is_late, problems};
use report::status::layout::wrap;
use report::status::{self, View, table};
use system::environment::Environment;
use system::exit::Exit;
use system::json;

/// Where nothing says how wide a line may be.
const WIDTH: usize = 80;

/// Prints the last tick to `out`; with `--watch` again and again, until it is interrupted.
///
/// # Errors
/// When there is no tick, or it cannot be read ([`status::Error`]); with `--watch` only when it cannot be printed.
pub fn run(args: &Status, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let directory = state_directory_of_reader(&args.common, environment)?;
    let folder = history::folder(&directory);
    if let Some(pause) = args.watch {
        return watch(args, &folder, environment, pause, out);
    }
    let snapshot = status::last(&folder)?;
    let now = Timestamp::now();
    let printed = printed(args, &snapshot, now, environment)?;
    out.write_all(printed.as_bytes())
        .context("the status cannot be printed")?;
    let problems = problems(&snapshot, now);
    let wrong = match args.output {
        StatusOutput::Table | StatusOutput::Json => {
            problems.iter().any(|one| one.level == Level::Error)
        }
        // Collectors throw away what comes with an error, and are to have all but figures that are not of now.
        StatusOutput::Influx | StatusOutput::Prometheus => is_late(&snapshot, now),
    };
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

fn printed(
    args: &Status,
    snapshot: &TickReport,
    now: Timestamp,
    environment: &Environment,
) -> anyhow::Result<String> {
    Ok(match args.output {
        StatusOutput::Table => table(snapshot, now, &view(args, environment)),
        StatusOutput::Json => json::pretty(snapshot)?,
        StatusOutput::Influx => {
            let settings = MetricsSettings {
                hostname: config::for_reader(&args.common.config, environment)?.hostname,
                ..MetricsSettings::default()
            };
            metrics::influx::lines(snapshot, &metrics::host(&settings))
        }
        StatusOutput::Prometheus => metrics::prometheus::text(snapshot),
    })
}

fn view(args: &Status, environment: &Environment) -> View {
    View {
        width: width(environment),
        colour: environment.has_color(&std::io::stdout()),
        all: args.all,
        time_zone: time_zone(args.utc),
    }
}

/// As wide as the terminal; elsewhere as `$COLUMNS` says.
pub(super) fn width(environment: &Environment) -> usize {
    let of_terminal = size().map(|(columns, _)| columns);
    let told = || environment.variables.get("COLUMNS")?.parse().ok();
    of_terminal.or_else(told).unwrap_or(WIDTH)
}

/// Columns and lines of the terminal.
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let known = size.ws_col > 0 && size.ws_row > 0;
    known.then(|| (size.ws_col.into(), size.ws_row.into()))
}

pub(super) fn time_zone(utc: bool) -> TimeZone {
    if utc {
        TimeZone::UTC
    } else {
        TimeZone::system()
    }
}

/// A terminal is redrawn in place, within its height, so that the scrollback stays and an interrupt leaves the last output.
/// Elsewhere each tick is printed once. If there is no tick yet, the command reports that and waits.
fn watch(
    args: &Status,
    folder: &Path,
    environment: &Environment,
    pause: Duration,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let mut before: Option<Drawn> = None;
    loop {
        let now = Timestamp::now();
        // The others have lines of any width, which cannot be drawn over.
        let drawable = args.output == StatusOutput::Table && std::io::stdout().is_terminal();
        let terminal = size().filter(|_| drawable);
        let (tick, text) = match status::last(folder) {
            Ok(snapshot) => {
                let text = printed(args, &snapshot, now, environment)?;
                (snapshot.at.to_string(), text)
            }
            Err(error) => {
                let lines = wrap(&error.to_string(), width(environment));
                (error.to_string(), lines.join("\n") + "\n")
            }
        };
        let drawn = Drawn {
            text: match terminal {
                Some((_, lines)) => no_higher(&text, lines.saturating_sub(1).max(1)),
                None => text,
            },
            tick,
            terminal,
        };
        let written = match (&before, terminal) {
            (Some(before), Some(_)) if before.text == drawn.text => Ok(()),
            (Some(before), None) if before.tick == drawn.tick => Ok(()),
            (before, _) => {
                let back = before
                    .as_ref()
                    .map_or_else(String::new, |before| before.back(&drawn));
                out.write_all(format!("{back}{}", drawn.text).as_bytes())
                    .and_then(|()| out.flush())
            }
        };
        match written {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Done),
            written => written.context("the status cannot be printed")?,
        }
        before = Some(drawn);
        thread::sleep(pause);
    }
}

/// What stands on the terminal.
struct Drawn {
    text: String,
    tick: String,
    terminal: Option<(usize, usize)>,
}

impl Drawn {
    /// What takes the cursor back to where it began, and clears what is there.
    fn back(&self, next: &Drawn) -> String {
        match (self.terminal, next.terminal) {
            // Lines that were as wide as the terminal may be several now: the whole screen is drawn anew.
            (Some(then), Some(now)) if then != now => "\u{1b}[H\u{1b}[J".to_owned(),
            (Some(_), Some(_)) => {
                let lines = self.text.lines().count();
                format!("\u{1b}[{lines}A\r\u{1b}[J")
            }
            _ => String::new(),
        }
    }
}

/// The first `lines` lines, and the number of the others.
fn no_higher(text: &str, lines: usize) -> String {
    let count = text.lines().count();
    if count <= lines {
        return text.to_owned();
    }
    let shown = lines.saturating_sub(1);
    let mut text: String = text
        .lines()
        .take(shown)
        .map(|line| format!("{line}\n"))
        .collect();
    text += &format!("and {} more lines\n", count - shown);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_drawn_than_fits_a_terminal() {
        assert_eq!(no_higher("a\nb\nc\n", 3), "a\nb\nc\n");
        assert_eq!(no_higher("a\nb\nc\nd\n", 3), "a\nb\nand 2 more lines\n");
        assert_eq!(no_higher("a\nb\n", 1), "and 2 more lines\n");
    }

    #[test]
    fn what_was_drawn_is_drawn_over() {
        let drawn = |terminal| Drawn {
            text: "a\nb\n".to_owned(),
            tick: String::new(),
            terminal,
        };
        let (narrow, wide) = (drawn(Some((80, 24))), drawn(Some((100, 24))));
        assert_eq!(narrow.back(&drawn(Some((80, 24)))), "\u{1b}[2A\r\u{1b}[J");
        assert_eq!(narrow.back(&wide), "\u{1b}[H\u{1b}[J");
        assert_eq!(drawn(None).back(&drawn(None)), "");
    }
}
