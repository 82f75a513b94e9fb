//! Reads job event logs of HTCondor: of a user (`log = FILE`), or of the pool (`EVENT_LOG`).
//!
//! A log has no time zone: its times count as UTC. Those of the older date format (`11/29 12:36:10`) have no year. It is taken
//! from the head of the pool's log or from the first job that says when it terminated; without either there is no calendar.
//! Owners are known where `EVENT_LOG_JOB_AD_INFORMATION_ATTRS` has `Owner`.
//! Source: HTCondor manual, "Job Event Log Codes", `EVENT_LOG_FORMAT_OPTIONS`.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use scaling::observation::Resources;

use super::ad::Value;
use super::condor_long::{attribute, value_of};
use super::input::{Line, Source, excerpt};
use super::known::{Identity, Known};
use super::read::Calendar;
use super::{Builder, JobClass, RUNS_MAX, Seconds, WorkloadError};

/// Cluster and process.
type JobId = (i64, i64);

/// A year for logs without one. It has a 29 February.
const YEAR_ASSUMED: i16 = 2000;
/// A date that is this much earlier than the one before is of the next year.
const HALF_A_YEAR: i64 = 183 * 86_400;

/// Most jobs at a time that have begun and not ended.
const OPEN_MAX: usize = 5_000_000;

/// A job between its first and its last event.
#[derive(Debug, Default)]
struct Open {
    submitted: Option<i64>,
    /// The start of the current run.
    started: Option<i64>,
    /// The time of the run before.
    ran: Option<i64>,
    is_held: bool,
    request: Resources,
    owner: Option<Box<str>>,
}

/// One event.
#[derive(Debug)]
struct Event {
    code: u16,
    job: JobId,
    at: i64,
    request: Resources,
    owner: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Terminated,
    Aborted,
    /// The log ends before the job does.
    Open,
}

struct Reader<'a> {
    place: String,
    known: &'a mut Known,
    builder: &'a mut Builder,
    open: BTreeMap<JobId, Open>,
    year: Option<i16>,
    last: Option<i64>,
}

pub(super) fn read(
    source: &mut Source,
    sample: &[u8],
    known: &mut Known,
    builder: &mut Builder,
) -> Result<Option<Calendar>, WorkloadError> {
    let year = year_of(sample);
    let mut reader = Reader {
        place: source.place.clone(),
        known,
        builder,
        open: BTreeMap::new(),
        year,
        last: None,
    };
    let mut event: Option<Event> = None;
    let mut is_inside = false;
    while let Some((number, line)) = source.next_line()? {
        let text = match line {
            Line::Text(text) => text,
            Line::TooLong => b"",
        };
        if text == b"..." {
            is_inside = false;
            if let Some(event) = event.take() {
                reader.apply(event);
            }
            continue;
        }
        match reader.head(text) {
            Some(head) => {
                if let Some(before) = event.replace(head) {
                    reader.note("an event without its end (...)", number, text);
                    reader.apply(before);
                }
                is_inside = true;
            }
            None if text.trim_ascii().is_empty() || text.starts_with(b"008 ") => is_inside = true,
            None if text.first().is_some_and(u8::is_ascii_digit) => {
                reader.note("an unreadable event: ignored", number, text);
                is_inside = true;
            }
            None if !is_inside => reader.note("text outside of an event: ignored", number, text),
            None => {
                if let Some(event) = &mut event {
                    event.read_line(text);
                }
            }
        }
    }
    if let Some(event) = event {
        let what = "the last event is cut off: ignored";
        reader.builder.notes.count(what, || event.example());
    }
    let end = reader.last.unwrap_or_default();
    for (job, open) in std::mem::take(&mut reader.open) {
        reader.finish(job, open, End::Open, end);
    }
    if year.is_none() && reader.year.is_some() {
        let what = "dates without a year: the workload has no calendar";
        reader.builder.notes.count(what, || reader.place.clone());
        return Ok(Some(Calendar::None));
    }
    Ok(Some(Calendar::Unix))
}

/// The year that a log begins in: of `ctime=1795955766` in the head, or of `at 2026-11-29T12:36:09Z` of a termination.
fn year_of(sample: &[u8]) -> Option<i16> {
    let text = String::from_utf8_lossy(sample);
    let created = text.lines().find_map(|line| {
        let (_, rest) = line.strip_prefix("008 ")?.split_once(" ctime=")?;
        let seconds = rest.split(' ').next()?.parse().ok()?;
        let time = jiff::Timestamp::from_second(seconds).ok()?;
        Some(time.to_zoned(TimeZone::UTC).year())
    });
    created.or_else(|| {
        let (_, rest) = text.split_once("Job terminated of its own accord at ")?;
        rest.get(..4)?.parse().ok()
    })
}

impl Reader<'_> {
    fn note(&mut self, what: &str, line: u64, text: &[u8]) {
        let place = &self.place;
        self.builder
            .notes
            .count(what, || format!("{place}:{line} `{}`", excerpt(text)));
    }

    /// Of the line that an event begins with: `005 (014.000.000) 11/29 12:36:10 Job terminated.`
    fn head(&mut self, line: &[u8]) -> Option<Event> {
        if !line.first()?.is_ascii_digit() {
            return None;
        }
        let line = String::from_utf8_lossy(line);
        let (code, rest) = line.split_once(" (")?;
        let (id, rest) = rest.split_once(") ")?;
        let code = (code.len() == 3).then(|| code.parse().ok())??;
        let mut numbers = id.split('.');
        let job = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        // The head of the pool's log is no event of a job.
        if job.0 < 0 {
            return None;
        }
        let at = self.time(rest)?;
        self.last = self.last.max(Some(at));
        Some(Event {
            code,
            job,
            at,
            request: Resources::default(),
            owner: None,
        })
    }

    /// Reads `11/29 12:36:10`, `2026-11-29 12:36:10.123` or `2026-11-29T12:36:10Z`.
    fn time(&mut self, text: &str) -> Option<i64> {
        let mut words = text.split([' ', 'T']);
        let (day, time) = (words.next()?, words.next()?);
        // Without fractions and zone.
        let time = time.get(..8)?;
        if day.contains('-') {
            return seconds(&format!("{day}T{time}"));
        }
        let (month, day) = day.split_once('/')?;
        let of_year = |year: i16| seconds(&format!("{year:04}-{month}-{day}T{time}"));
        let year = *self.year.get_or_insert(YEAR_ASSUMED);
        let at = of_year(year);
        let Some(last) = self.last else {
            return at;
        };
        // 29 February is in one year of four.
        let is_later = at.is_none_or(|at| last.saturating_sub(at) > HALF_A_YEAR);
        if let Some(later) = of_year(year.saturating_add(1))
            .filter(|later| is_later && later.saturating_sub(last) < HALF_A_YEAR)
        {
            self.year = Some(year.saturating_add(1));
            return Some(later);
        }
        match at {
            Some(at) if at.saturating_sub(last) > HALF_A_YEAR => of_year(year - 1).or(Some(at)),
            at => at,
        }
    }

    fn apply(&mut self, event: Event) {
        let Event { code, job, at, .. } = event;
        let notes = &mut self.builder.notes;
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&job) && matches!(code, 0 | 1) {
            let what = format!("more than {OPEN_MAX} unfinished jobs: left out");
            return notes.lose(&what, || event.example());
        }
        match code {
            0 => {
                let new = Open {
                    submitted: Some(at),
                    owner: event.owner,
                    ..Open::default()
                };
                if let Some(before) = self.open.insert(job, new) {
                    self.finish(job, before, End::Open, at);
                }
            }
            5 | 9 => {
                let mut open = self.open.remove(&job).unwrap_or_default();
                open.learn(event);
                let end = if code == 5 {
                    End::Terminated
                } else {
                    End::Aborted
                };
                self.finish(job, open, end, at);
            }
            1 | 4 | 7 | 12 | 13 | 24 => {
                let example = || event.example();
                let open = self.open.entry(job).or_default();
                match code {
                    1 => open.started = Some(at),
                    13 if open.submitted.is_none_or(|submitted| submitted <= at)
                        && !open.has_run() =>
                    {
                        notes.count("was held before it ran: submitted at its release", example);
                        (open.submitted, open.is_held) = (Some(at), false);
                    }
                    13 => open.is_held = false,
                    _ => {
                        if let Some(started) = open.started.take() {
                            notes.count(
                                "stopped (evicted, held, shadow failed): its last start counts",
                                example,
                            );
                            open.ran = Some(at.saturating_sub(started));
                        }
                        open.is_held |= code == 12;
                    }
                }
                open.learn(event);
            }
            28 => {
                if let Some(open) = self.open.get_mut(&job) {
                    open.learn(event);
                }
            }
            _ => {}
        }
    }

    /// Adds a job, or counts why there is none.
    fn finish(&mut self, job: JobId, open: Open, end: End, at: i64) {
        let notes = &mut self.builder.notes;
        let place = &self.place;
        let example = || format!("{place} job {}.{}", job.0, job.1);
        notes.records += 1;
        let run = open.run(end, at);
        let submitted = match (open.submitted, open.started) {
            (Some(submitted), Some(started)) if started < submitted => {
                notes.count(
                    "starts before it is submitted: submitted at its start",
                    example,
                );
                Some(started)
            }
            (None, Some(started)) => {
                notes.count("no submit event: submitted at its start", example);
                Some(started)
            }
            (submitted, _) => submitted,
        };
        let (what, runs) = match run {
            Ok(run) => run,
            Err(problem) => return notes.leave_out(problem, example),
        };
        let Some(submitted) = submitted else {
            return notes.leave_out("no submit event: left out", example);
        };
        if let Err(problem) = self
            .known
            .check(Some(Identity::Local(job, Some(submitted))))
        {
            return notes.leave_out(problem, example);
        }
        if let Some(what) = what {
            notes.count(what, example);
        }
        if open.request == Resources::default() {
            notes.count("no request: 1 core, 128 MB assumed", example);
        }
        let class = JobClass {
            owner: open
                .owner
                .map_or_else(|| "unknown".to_owned(), String::from),
            accounting_group: None,
            request: open.request.rounded(),
        };
        match runs {
            Some(runs) => {
                let runs = Seconds::try_from(runs).unwrap_or_default();
                self.builder.add(submitted, runs, None, &class);
            }
            None => {
                let removed = (end == End::Aborted).then_some(at);
                self.builder.add_unstarted(submitted, removed, &class);
            }
        }
    }
}

impl Open {
    fn has_run(&self) -> bool {
        self.started.is_some() || self.ran.is_some()
    }

    fn learn(&mut self, event: Event) {
        // An event that says what was requested comes after the start, which says what was granted.
        if event.request != Resources::default() {
            self.request = event.request;
        }
        self.owner = event.owner.or(self.owner.take());
    }

    /// What is odd about it, and its run time, if it ran.
    fn run(&self, end: End, at: i64) -> Result<(Option<&'static str>, Option<i64>), &'static str> {
        let last = self.started.map(|started| at.saturating_sub(started));
        let runs = last.or(self.ran);
        match runs {
            Some(..0) => return Err("ends before it starts: left out"),
            Some(runs) if runs > RUNS_MAX => return Err("ran longer than a year: left out"),
            _ => {}
        }
        let what = match (end, last.is_some(), self.has_run()) {
            (End::Terminated, true, _) => None,
            (End::Terminated, false, _) => return Err("terminated without a start: left out"),
            (End::Aborted, true, _) => {
                Some("removed while running: its run time until then counts")
            }
            (End::Open, true, _) => Some("still running: its run time until then counts"),
            (_, _, true) => Some("idle or held after a run: its last run counts"),
            _ if self.is_held => return Err("held, never started: left out"),
            (End::Aborted, ..) => Some("removed while idle, never started"),
            (End::Open, ..) => Some("still idle, never started"),
        };
        Ok((what, runs))
    }
}

impl Event {
    fn example(&self) -> String {
        format!("job {}.{}", self.job.0, self.job.1)
    }

    /// Reads a line after the head: what was granted (001), what was requested (005), attributes of the ad (028).
    fn read_line(&mut self, line: &[u8]) {
        if self.code == 5 {
            self.read_table(line);
        } else if let Some((name, value)) = attribute(line).filter(|_| matches!(self.code, 1 | 28))
        {
            let is_ad = self.code == 28;
            match (name, value_of(value)) {
                (b"Cpus", Some(Value::Number(n))) if !is_ad => self.request.cpus = n as u64,
                (b"Memory", Some(Value::Number(n))) if !is_ad => self.request.memory_mb = n as u64,
                (b"Disk", Some(Value::Number(n))) if !is_ad => self.request.disk_kb = n as u64,
                (b"GPUs", Some(Value::Number(n))) if !is_ad => self.request.gpus = n as u64,
                (b"RequestCpus", Some(Value::Number(n))) => self.request.cpus = n as u64,
                (b"RequestMemory", Some(Value::Number(n))) => self.request.memory_mb = n as u64,
                (b"RequestDisk", Some(Value::Number(n))) => self.request.disk_kb = n as u64,
                (b"RequestGPUs", Some(Value::Number(n))) => self.request.gpus = n as u64,
                (b"Owner", Some(Value::Text(owner))) => self.owner = Some(owner.into()),
                _ => {}
            }
        }
    }

    /// `Memory (MB)          :        2       64       128`: usage, which may be missing, request and allocation.
    fn read_table(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let Some((name, columns)) = line.split_once(':') else {
            return;
        };
        let numbers: Vec<f64> = columns
            .split_ascii_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let requested = match numbers.as_slice() {
            [_, request, _] | [request, _] | [request] => *request as u64,
            _ => return,
        };
        match name.trim() {
            "Cpus" => self.request.cpus = requested,
            "Memory (MB)" => self.request.memory_mb = requested,
            "Disk (KB)" => self.request.disk_kb = requested,
            "GPUs" => self.request.gpus = requested,
            _ => {}
        }
    }
}

fn seconds(text: &str) -> Option<i64> {
    let time: DateTime = text.parse().ok()?;
    let zoned = time.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::super::{NEVER, ReadOptions, Workload, read_from};

    /// As HTCondor 23.9 wrote it.
    const POOL: &str = include_str!("../../../tests/fixtures/condor/event-log.txt");

    fn workload(text: &str) -> Workload {
        read_from("FILE", text.as_bytes(), &ReadOptions::default()).unwrap()
    }

    fn jobs(workload: &Workload) -> Vec<(u32, u32, u32)> {
        let jobs = workload.jobs.iter();
        jobs.map(|job| (job.submitted, job.runs, job.removed))
            .collect()
    }

    fn counts(workload: &Workload) -> Vec<(&str, u64)> {
        let counts = workload.notes.counts.iter();
        counts
            .map(|(what, count)| (&**what, count.records))
            .collect()
    }

    #[test]
    fn the_log_of_a_pool_is_read() {
        let workload = workload(POOL);
        assert_eq!(workload.start.unwrap().to_string(), "2026-11-29T12:36:06Z");
        assert_eq!(
            jobs(&workload),
            [(0, 3, NEVER), (0, 3, NEVER), (0, 3, NEVER), (19, 3, 21)]
        );
        let request = workload.class(&workload.jobs[0]).unwrap().request;
        // 64 MB were requested, 128 granted.
        assert_eq!(
            (request.cpus, request.memory_mb, request.disk_kb),
            (1, 128, 1024)
        );
        assert_eq!(
            counts(&workload),
            [
                ("idle or held after a run: its last run counts", 1),
                (
                    "never started: the median run time of similar jobs is assumed",
                    1
                ),
                ("no request: 1 core, 128 MB assumed", 1),
                ("removed while idle, never started", 1),
                (
                    "stopped (evicted, held, shadow failed): its last start counts",
                    2
                ),
            ]
        );
    }

    #[test]
    fn both_formats_of_dates_are_read() {
        let log = |dates: [&str; 3]| {
            let [submitted, started, ended] = dates;
            workload(&format!(
                "000 (001.000.000) {submitted} Job submitted from host: <a>\n...\n\
                 028 (001.000.000) {submitted} Job ad information event triggered.\nOwner = \"alice\"\nRequestCpus = 4\nRequestMemory = 3000\n...\n\
                 001 (001.000.000) {started} Job executing on host: <b>\n...\n\
                 005 (001.000.000) {ended} Job terminated.\n...\n"
            ))
        };
        let old = log(["12/31 23:59:00", "12/31 23:59:30", "01/01 00:10:00"]);
        let new = log([
            "2026-12-31 23:59:00",
            "2026-12-31T23:59:30.123Z",
            "2027-01-01 00:10:00.5",
        ]);
        assert_eq!(jobs(&old), [(0, 630, NEVER)]);
        assert_eq!(jobs(&new), jobs(&old));
        assert_eq!(new.start.unwrap().to_string(), "2026-12-31T23:59:00Z");
        assert_eq!(new.classes[0].owner, "alice");
        assert_eq!(
            (
                new.classes[0].request.cpus,
                new.classes[0].request.memory_mb
            ),
            (4, 3072)
        );
        assert_eq!(old.start, None);
        assert_eq!(
            counts(&old),
            [("dates without a year: the workload has no calendar", 1)]
        );
        assert_eq!(counts(&new), []);
    }

    #[test]
    fn lives_that_are_not_whole_are_counted() {
        let workload = workload(
            "...\n000 (001.000.000) 2026-11-29 12:00:00 Job submitted\n...\n\
             012 (001.000.000) 2026-11-29 12:01:00 Job was held.\n...\n\
             013 (001.000.000) 2026-11-29 12:10:00 Job was released.\n...\n\
             001 (001.000.000) 2026-11-29 12:11:00 Job executing\n...\n\
             005 (001.000.000) 2026-11-29 12:12:00 Job terminated.\n...\n\
             000 (002.000.000) 2026-11-29 12:13:00 Job submitted\n\
             012 (002.000.000) 2026-11-29 12:14:00 Job was held.\n...\n\
             001 (003.000.000) 2026-11-29 12:15:00 Job executing\n...\n\
             001 (004.000.000) 2026-11-29 12:15:00 Job executing\n...\n\
             005 (004.000.000) 2026-11-29 12:05:00 Job terminated.\n...\n\
             009 (005.000.000) 2026-11-29 12:16:00 Job was aborted.\n...\n\
             0x9 (005.000.000) 2026-11-29 12:16:00 damaged\n...\n\
             damaged\n\
             005 (003.000.000) 2026-11-29 12:17:00 Job termin",
        );
        assert_eq!(jobs(&workload), [(0, 60, NEVER), (300, 120, NEVER)]);
        let notes = &workload.notes;
        assert_eq!((notes.records, notes.left_out), (5, 3));
        assert_eq!(
            counts(&workload),
            [
                ("an event without its end (...)", 1),
                ("an unreadable event: ignored", 1),
                ("ends before it starts: left out", 1),
                ("held, never started: left out", 1),
                ("no request: 1 core, 128 MB assumed", 2),
                ("no submit event: left out", 1),
                ("no submit event: submitted at its start", 2),
                ("still running: its run time until then counts", 1),
                ("text outside of an event: ignored", 1),
                ("the last event is cut off: ignored", 1),
                ("was held before it ran: submitted at its release", 1),
            ]
        );
    }
}
