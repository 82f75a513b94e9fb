//! The history in steps: `history/YYYY-MM-DD.steps` has five minutes and half hours of the day beside it, a line each.
//!
//! Owns: these files, and the steps that no file has yet. A tick adds the half hours that are over.
//! A file of steps saves time and nothing else: steps that a killed tick did not write are worked out from the lines of
//! the day. Of two lines for the same step the later one counts: a clock was set back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use log::{debug, warn};
use serde::{Deserialize, Serialize};

use super::read::{Day, UnreadDay, there};
use super::sample::{Sample, time};
use super::steps::{Row, SAMPLE_VALIDITY, Step};
use super::{DAY, STEPS, write};
use scaling::sorting;
use system::json;
use system::own_file;

/// The shorter steps, in milliseconds.
const FINE: i64 = 300_000;

/// The longer steps.
const COARSE: i64 = 1_800_000;

/// Shorter steps in a longer one.
const FINE_STEPS: usize = 6;

/// A day of UTC has no leap seconds here.
const DAY_LENGTH: i64 = 86_400_000;

/// Days before today that get steps if they have none: as many as a reader asks for.
const DAYS: i64 = 31;

/// Longest line of a day. A longer one falls into pieces that are no lines.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// What counts of a day, in bytes: its ticks are kept in memory until they are added up.
const MAX_DAY: u64 = 256 * 1024 * 1024;

/// Longest file of steps; a day of two clouds has 0.2 MB.
const MAX_STEPS: u64 = 8 * 1024 * 1024;

/// Ticks of a day that count: one a second.
const MAX_TICKS: usize = 86_400;

/// First distance from the end at which the beginning of a time is looked for.
const PROBE: u64 = 64 * 1024;

/// Beginning of every line of steps.
const ANY: &str = "{\"step_seconds\":";

/// One line of a file of steps.
#[derive(Serialize, Deserialize)]
struct Line {
    step_seconds: i64,
    from: i64,
    step: Step,
}

/// The files of a date.
struct Files {
    day: Day,
    steps: PathBuf,
    begin: i64,
}

impl Files {
    fn of(folder: &Path, date: Date) -> Files {
        let start = date.in_tz("UTC").map(|start| start.timestamp());
        Files {
            day: Day {
                date,
                path: folder.join(format!("{date}{DAY}")),
            },
            steps: folder.join(format!("{date}{STEPS}")),
            begin: start.unwrap_or_default().as_millisecond(),
        }
    }

    fn end(&self) -> i64 {
        self.begin + DAY_LENGTH
    }

    /// The steps of this length that are on disk, by their start. Lines that are none are named; a torn one is skipped.
    fn read(&self, length: i64, unread: &mut Vec<UnreadDay>) -> io::Result<BTreeMap<i64, Step>> {
        let mut steps = BTreeMap::new();
        let Some(file) = there(own_file::open(&self.steps))? else {
            return Ok(steps);
        };
        let wanted = format!("{ANY}{},", length / 1000);
        let mut odd = None;
        let lines = BufReader::with_capacity(1 << 16, file.take(MAX_STEPS)).split(b'\n');
        for (number, line) in (1..).zip(lines) {
            let line = line?;
            if line.starts_with(ANY.as_bytes()) && !line.starts_with(wanted.as_bytes()) {
                continue;
            }
            let parsed = serde_json::from_slice(&line);
            if parsed.as_ref().is_err_and(serde_json::Error::is_eof) {
                continue;
            }
            match parsed.ok().and_then(|line| self.step(line, length)) {
                Some((from, step)) => {
                    steps.insert(from, step);
                }
                None => odd = odd.or(Some(number)),
            }
        }
        if let Some(number) = odd {
            let name = self.steps.file_name().unwrap_or_default();
            unread.push(UnreadDay {
                file: name.to_string_lossy().into_owned(),
                why: format!(
                    "line {number} is no step of this day; remove the file, and ehos writes it anew"
                ),
            });
        }
        Ok(steps)
    }

    /// The step of a line.
    #[allow(clippy::cast_precision_loss)] // Half an hour.
    fn step(&self, line: Line, length: i64) -> Option<(i64, Step)> {
        let from = line.from.checked_mul(1000)?;
        let is_of_day = (self.begin..self.end()).contains(&from) && from % length == 0;
        (is_of_day && line.step.is_within(length as f64 / 1000.0)).then_some((from, line.step))
    }

    /// Ticks of this day between two times.
    fn samples(&self, from: i64, to: i64, samples: &mut Vec<Sample>) -> io::Result<()> {
        let Some(file) = there(own_file::open(&self.day.path))? else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let start = start(&mut file, length, from)?;
        file.seek(SeekFrom::Start(start))?;
        let mut file = file.take(MAX_DAY);
        let times = from.max(self.begin)..to.min(self.end());
        let mut line = Vec::new();
        let mut ticks = 0;
        while ticks < MAX_TICKS {
            line.clear();
            // Half a line is read again when its other half is there.
            if next_line(&mut file, &mut line)? == 0 || !line.ends_with(b"\n") {
                break;
            }
            let sample = Sample::read(&line);
            if let Some(sample) = sample.filter(|sample| times.contains(&sample.at)) {
                ticks += 1;
                samples.push(sample);
            }
        }
        Ok(())
    }
}

fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    file.take(MAX_LINE).read_until(b'\n', line)
}

/// A position in a file of a day before every line of `from` and later, near the first one.
fn start(file: &mut BufReader<File>, length: u64, from: i64) -> io::Result<u64> {
    let mut back = PROBE;
    while back < length {
        file.seek(SeekFrom::Start(length - back))?;
        let mut line = Vec::new();
        next_line(file, &mut line)?;
        let position = file.stream_position()?;
        line.clear();
        next_line(file, &mut line)?;
        if time(&line).is_some_and(|at| at < from) {
            return Ok(position);
        }
        back *= 4;
    }
    Ok(0)
}

fn date(at: i64) -> Date {
    let at = Timestamp::from_millisecond(at).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).date()
}

/// The dates from one time to another, both included.
fn dates(from: i64, to: i64) -> impl Iterator<Item = Date> {
    let last = date(to);
    let next = |date: &Date| date.tomorrow().ok();
    std::iter::successors(Some(date(from)), next).take_while(move |date| *date <= last)
}

/// Ticks between two times, in their order. A clock that was set back: each tick is where it says that it was.
fn samples(folder: &Path, from: i64, to: i64, unread: &mut Vec<UnreadDay>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for date in dates(from, to - 1) {
        let files = Files::of(folder, date);
        if let Err(error) = files.samples(from, to, &mut samples) {
            unread.push(files.day.unread(&error));
        }
    }
    sorting::by_key(&mut samples, |sample| sample.at);
    samples
}

/// Steps from the history, and the days that are missing from them.
pub struct Steps {
    /// The steps.
    pub row: Row,
    /// Days that cannot be read.
    pub unread: Vec<UnreadDay>,
}

/// Reads `count` steps from `from` on, as far as they are before `now`. Times are in milliseconds.
pub fn steps(folder: &Path, from: i64, length: i64, count: usize, now: i64) -> Steps {
    let mut row = Row::new(from, length, count);
    let mut unread = Vec::new();
    let to = row.end().min(now + 1);
    for date in dates(from, to - 1) {
        let files = Files::of(folder, date);
        let mut done = files.begin;
        // Shorter steps than those on disk are worked out.
        if let Some(on_disk) = [COARSE, FINE].into_iter().find(|one| length % one == 0) {
            match files.read(on_disk, &mut unread) {
                Ok(steps) => {
                    // A clock that was ahead has written later ones.
                    for (at, step) in steps.range(..=to - on_disk) {
                        done = at + on_disk;
                        if let Some(own) = row.step(*at) {
                            own.add(step);
                        }
                    }
                }
                Err(error) => debug!("{}: {error}", files.steps.display()),
            }
        }
        let end = files.end().min(to);
        if done < end {
            let since = done.max(from);
            let samples = samples(folder, since - SAMPLE_VALIDITY, end, &mut unread);
            // The last one is known now.
            let known = samples.last().map_or(end, |last| end.max(last.at + 1));
            row.fill(&samples, since, known);
        }
    }
    sorting::by(&mut unread, |one, other| one.file.cmp(&other.file));
    unread.dedup();
    Steps { row, unread }
}

/// The first tick of a day.
pub fn first_tick(day: &Day) -> Option<i64> {
    let file = own_file::open(&day.path).ok()?;
    let mut lines = BufReader::new(file.take(MAX_LINE)).split(b'\n');
    lines.find_map(|line| time(&line.ok()?))
}

/// Writes the steps that this tick closes, and those of one day of an older version, which wrote none: in each tick one
/// day, for a month would take seconds.
pub(super) fn roll_up(folder: &Path, days: &[Day], before: Option<Timestamp>, now: Timestamp) {
    let (before, now) = (before.map(Timestamp::as_millisecond), now.as_millisecond());
    let today = date(now);
    let half_hour = |at: i64| at.div_euclid(COARSE);
    if before.map(half_hour) != Some(half_hour(now)) {
        let earlier = days.iter().map(|day| day.date).filter(|date| *date < today);
        for date in earlier.max().into_iter().chain([today]) {
            if let Err(error) = write_steps(folder, date, before, now) {
                warn!(
                    "history: no steps of {date} for the charts, which are drawn from its ticks: {error}"
                );
            }
        }
    }
    let oldest = today.checked_sub(DAYS.days()).unwrap_or(today);
    let is_without = |day: &&Day| !Files::of(folder, day.date).steps.exists();
    let mut recent = days
        .iter()
        .filter(|day| (oldest..today).contains(&day.date));
    // The oldest gets its steps last.
    if recent.next().is_none_or(|day| !is_without(&day)) {
        return;
    }
    let all = days
        .iter()
        .rev()
        .filter(|day| (oldest..today).contains(&day.date));
    for day in all.filter(is_without) {
        match write_steps(folder, day.date, None, now) {
            Ok(()) => break,
            // Readers name it.
            Err(error) => debug!("{}: {error}", day.path.display()),
        }
    }
}

/// Adds the steps of a date that are over by `now` to their file.
fn write_steps(folder: &Path, date: Date, before: Option<i64>, now: i64) -> io::Result<()> {
    let files = Files::of(folder, date);
    let mut unread = Vec::new();
    let written = files.read(COARSE, &mut unread)?;
    let until = now.div_euclid(COARSE) * COARSE;
    let until = until.min(files.end());
    let last = written.range(..until).next_back();
    let done = last.map_or(files.begin, |(from, _)| from + COARSE);
    // The half hour of the tick before was open, even if a clock that was ahead has written it or later ones.
    let open = before.map_or(done, |before| before.div_euclid(COARSE) * COARSE);
    let done = done.min(open).max(files.begin);
    let samples = samples(folder, done - SAMPLE_VALIDITY, until, &mut unread);
    let own = files.day.path.file_name();
    if let Some(day) = unread
        .iter()
        .find(|day| own.is_some_and(|own| own == day.file.as_str()))
    {
        return Err(io::Error::other(day.why.clone()));
    }
    let count = usize::try_from((until - done) / FINE).unwrap_or_default();
    let mut row = Row::new(done, FINE, count);
    row.fill(&samples, done, until);
    let mut text = String::new();
    let steps: Vec<(i64, &Step)> = row.each().collect();
    for half_hour in steps.chunks(FINE_STEPS) {
        let from = half_hour.first().map_or(done, |(from, _)| *from);
        let mut whole = Step::default();
        let mut lines = String::new();
        for (from, step) in half_hour {
            whole.add(step);
            lines += &line(FINE, *from, step)?;
        }
        if written.get(&from) != Some(&whole) {
            // The half hour last: with it all of its steps are there.
            text += &lines;
            text += &line(COARSE, from, &whole)?;
        }
    }
    // Of a day that is over an empty file says that there are none.
    if text.is_empty() && until < files.end() {
        return Ok(());
    }
    write::append(&files.steps, text)
}

/// A step as a line; nothing of an empty one.
fn line(length: i64, from: i64, step: &Step) -> io::Result<String> {
    if step.is_empty() {
        return Ok(String::new());
    }
    let line = Line {
        step_seconds: length / 1000,
        from: from / 1000,
        step: step.clone(),
    };
    Ok(json::text(&line)? + "\n")
}
