//! Reads the Standard Workload Format.
//!
//! One line is a job of 18 numbers, -1 where a number is missing; `;` begins a line of the header. A parallel job requests its
//! processors as the cores of one node, or becomes single-core jobs ([`ReadOptions::split`]).
//! Source: <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>.

use std::ops::RangeInclusive;

use scaling::observation::Resources;

use super::input::{Source, excerpt};
use super::read::{Calendar, ReadOptions};
use super::{Builder, JOBS_MAX, JobClass, Notes, RUNS_MAX, Seconds, WorkloadError};

/// Memory of a job that names none, in KiB for each processor.
const MEMORY_ASSUMED_KB: u64 = 128 * 1024;
/// More processors are an error of the file.
const PROCESSORS_MAX: u64 = 1 << 20;
const FIELDS: usize = 18;
/// Seconds since 1970 until the year 9999, the last one of a calendar time.
const TIMES: RangeInclusive<i64> = 1..=253_370_764_800;

/// The fields of a line that matter here, in the order of the format.
struct Record {
    submitted: i64,
    waited: i64,
    ran: i64,
    allocated: i64,
    used_memory_kb: i64,
    requested: i64,
    requested_memory_kb: i64,
    status: i64,
    user: i64,
    group: i64,
}

pub(super) fn read(
    source: &mut Source,
    options: &ReadOptions,
    builder: &mut Builder,
) -> Result<Option<Calendar>, WorkloadError> {
    let mut start = None;
    let place = source.place.clone();
    while let Some((number, text)) = source.next_record()? {
        if let Some(header) = text.strip_prefix(b";") {
            match start_time(header) {
                Some(time) if TIMES.contains(&time) => start = start.or(Some(time)),
                Some(_) => {
                    let what = "UnixStartTime is no time: the trace has no calendar time";
                    builder.notes.count(what, || format!("{place}:{number}"));
                }
                None => {}
            }
            continue;
        }
        let example = || format!("{place}:{number}");
        builder.notes.records += 1;
        match Record::parse(text) {
            Some(record) => record.add(start.unwrap_or_default(), options, builder, example),
            None => builder.notes.leave_out("not 18 numbers: left out", || {
                format!("{} `{}`", example(), excerpt(text))
            }),
        }
    }
    Ok(Some(match start {
        Some(_) => Calendar::Unix,
        None => Calendar::None,
    }))
}

/// Of the line `UnixStartTime: 1132444805`.
fn start_time(header: &[u8]) -> Option<i64> {
    let header = std::str::from_utf8(header).ok()?;
    let (name, value) = header.split_once(':')?;
    let value: i64 = value.trim().parse().ok()?;
    // Traces without it have 0 or -1.
    (name.trim() == "UnixStartTime" && value > 0).then_some(value)
}

impl Record {
    fn parse(line: &[u8]) -> Option<Record> {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = [-1; FIELDS];
        let mut words = line.split_ascii_whitespace();
        for field in &mut fields {
            *field = number(words.next()?)?;
        }
        let [
            _,
            submitted,
            waited,
            ran,
            allocated,
            _,
            used_memory_kb,
            requested,
            _,
            requested_memory_kb,
            status,
            user,
            group,
            ..,
        ] = fields;
        words.next().is_none().then_some(Record {
            submitted,
            waited,
            ran,
            allocated,
            used_memory_kb,
            requested,
            requested_memory_kb,
            status,
            user,
            group,
        })
    }

    fn add(
        &self,
        start: i64,
        options: &ReadOptions,
        builder: &mut Builder,
        example: impl Fn() -> String,
    ) {
        let room = JOBS_MAX.saturating_sub(builder.len()) as u64;
        let notes = &mut builder.notes;
        let checked = self
            .check()
            .and_then(|()| self.processors(notes, &example))
            .map(|processors| (processors, self.memory_kb(notes, &example)));
        let (processors, memory_kb) = match checked {
            Ok(found) => found,
            Err(problem) => return notes.leave_out(problem, example),
        };
        let oddity = match (self.status, self.ran) {
            (5, ..=0) => Some("removed while idle (status 5)"),
            (5, _) => Some("removed while running (status 5)"),
            (0, _) => Some("failed (status 0): its run time counts"),
            (_, 0) => Some("ran 0 s: 1 s assumed"),
            _ => None,
        };
        if let Some(oddity) = oddity {
            notes.count(oddity, &example);
        }
        let (jobs, cpus) = match options.split {
            true => (processors, 1),
            false => (1, processors),
        };
        if jobs > room {
            let what = format!("more than {JOBS_MAX} jobs: left out");
            return notes.leave_out(&what, example);
        }
        if jobs > 1 {
            notes.count("parallel: split into single-core jobs", &example);
            notes.added += jobs - 1;
        }
        let class = JobClass {
            owner: match self.user {
                0.. => format!("user{}", self.user),
                _ => "unknown".to_owned(),
            },
            accounting_group: (self.group >= 0).then(|| format!("group{}", self.group)),
            request: Resources {
                cpus,
                memory_mb: memory_kb.div_ceil(1024).saturating_mul(cpus),
                disk_kb: 1024,
                gpus: 0,
            }
            .rounded(),
        };
        let submitted = start.saturating_add(self.submitted);
        for _ in 0..jobs {
            match (self.status, self.ran) {
                (5, ..=0) => {
                    let removed = submitted.saturating_add(self.waited);
                    builder.add_unstarted(submitted, Some(removed), &class);
                }
                _ => {
                    let ran = Seconds::try_from(self.ran).unwrap_or_default();
                    builder.add(submitted, ran, None, &class);
                }
            }
        }
    }

    /// Says why there is no job.
    fn check(&self) -> Result<(), &'static str> {
        match (self.status, self.ran) {
            // The whole job has a line of its own.
            (2..=4, _) => Err("a part of a job (status 2 to 4): left out"),
            _ if self.submitted < 0 => Err("no submit time: left out"),
            (5, ..=0) if self.waited < 0 => Err("removed while idle, at an unknown time: left out"),
            (5, ..=0) => Ok(()),
            (_, ..0) => Err("no run time: left out"),
            (_, ran) if ran > RUNS_MAX => Err("ran longer than a year: left out"),
            _ => Ok(()),
        }
    }

    fn processors(
        &self,
        notes: &mut Notes,
        example: &impl Fn() -> String,
    ) -> Result<u64, &'static str> {
        match positive([self.allocated, self.requested]) {
            Some(processors @ ..=PROCESSORS_MAX) => Ok(processors),
            Some(_) => Err("more than 1048576 processors: left out"),
            None => {
                notes.count("no number of processors: 1 assumed", example);
                Ok(1)
            }
        }
    }

    /// Of each processor.
    fn memory_kb(&self, notes: &mut Notes, example: &impl Fn() -> String) -> u64 {
        positive([self.requested_memory_kb, self.used_memory_kb]).unwrap_or_else(|| {
            notes.count("no memory: 128 MB for each processor assumed", example);
            MEMORY_ASSUMED_KB
        })
    }
}

/// The first number that is not missing.
fn positive(numbers: [i64; 2]) -> Option<u64> {
    let found = numbers.into_iter().find(|number| *number > 0)?;
    u64::try_from(found).ok()
}

/// Numbers of the format may have decimals.
fn number(word: &str) -> Option<i64> {
    if let Ok(number) = word.parse() {
        return Some(number);
    }
    let number: f64 = word.parse().ok()?;
    // Each float in this range is within i64.
    (number.abs() < 9e18).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, NEVER, Workload, read_from};
    use super::*;

    const NASA: &str = include_str!("../../../tests/fixtures/workloads/nasa-head.swf");

    fn workload(text: &str, split: bool) -> Workload {
        let options = ReadOptions {
            format: Some(Format::Swf),
            split,
            ..ReadOptions::default()
        };
        read_from("FILE", text.as_bytes(), &options).unwrap()
    }

    fn counts(workload: &Workload) -> Vec<(&str, u64, &str)> {
        let counts = workload.notes.counts.iter();
        counts
            .map(|(what, count)| (&**what, count.records, &*count.example))
            .collect()
    }

    #[test]
    fn an_archived_trace_is_read() {
        let whole = workload(NASA, false);
        assert_eq!(whole.start.unwrap().to_string(), "1993-10-01T07:00:03Z");
        assert_eq!((whole.jobs.len(), whole.notes.left_out), (20, 0));
        let class = whole.class(&whole.jobs[0]).unwrap();
        assert_eq!(class.owner, "user1");
        assert_eq!(class.accounting_group.as_deref(), Some("group1"));
        assert_eq!((class.request.cpus, class.request.memory_mb), (128, 16_384));
        assert_eq!((whole.jobs[1].submitted, whole.jobs[1].runs), (1460, 3726));
        let split = workload(NASA, true);
        assert_eq!(split.core_seconds(), whole.core_seconds());
        assert_eq!(split.jobs.len() as u64, 20 + split.notes.added);
        assert!(split.classes.iter().all(|class| class.request.cpus == 1));
    }

    #[test]
    fn each_status_is_told_apart() {
        let text = "\
1 0 5 60 2 -1 1024 4 -1 2048 1 7 -1 -1 -1 -1 -1 -1
2 1 5 60 -1 -1 1024 4 -1 -1 0 7 -1 -1 -1 -1 -1 -1
3 2 5 60 1 -1 -1 1 -1 -1 5 7 -1 -1 -1 -1 -1 -1
4 3 5 -1 1 -1 -1 1 -1 -1 5 7 -1 -1 -1 -1 -1 -1
5 4 -1 0 1 -1 -1 1 -1 -1 5 7 -1 -1 -1 -1 -1 -1
6 5 -1 9 1 -1 -1 1 -1 -1 3 7 -1 -1 -1 -1 -1 -1
7 6 -1 0 -1 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
8 -1 -1 9 1 -1 -1 1 -1 -1 1 7 -1 -1 -1 -1 -1 -1
9 8 -1 -1 1 -1 -1 1 -1 -1 1 7 -1 -1 -1 -1 -1 -1
10 9 -1 99999999 1 -1 -1 1 -1 -1 1 7 -1 -1 -1 -1 -1 -1
11 9 -1 60 99999999 -1 -1 1 -1 -1 1 7 -1 -1 -1 -1 -1 -1
12 9 -1 60.0 1 2.5 1e3 1 -1 -1 1 7 -1 -1 -1 -1 -1 -1
13 9 -1 60 1 -1 -1 1 -1 -1
";
        let workload = workload(text, false);
        assert_eq!(workload.start, None);
        let times = |job: &super::super::Job| (job.submitted, job.runs, job.removed);
        let jobs: Vec<_> = workload.jobs.iter().map(times).collect();
        // The fourth never ran: it gets the median of its class.
        let expected = [
            (0, 60, NEVER),
            (1, 60, NEVER),
            (2, 60, NEVER),
            (3, 60, 8),
            (6, 1, NEVER),
            (9, 60, NEVER),
        ];
        assert_eq!(jobs, expected);
        let request = |job: usize| workload.class(&workload.jobs[job]).unwrap().request;
        assert_eq!((request(0).cpus, request(0).memory_mb), (2, 128));
        assert_eq!((request(1).cpus, request(1).memory_mb), (4, 128));
        assert_eq!(workload.class(&workload.jobs[4]).unwrap().owner, "unknown");
        assert_eq!(
            counts(&workload),
            [
                ("a part of a job (status 2 to 4): left out", 1, "FILE:6"),
                ("failed (status 0): its run time counts", 1, "FILE:2"),
                ("more than 1048576 processors: left out", 1, "FILE:11"),
                (
                    "never started: the median run time of similar jobs is assumed",
                    1,
                    "user7"
                ),
                ("no memory: 128 MB for each processor assumed", 3, "FILE:3"),
                ("no number of processors: 1 assumed", 1, "FILE:7"),
                ("no run time: left out", 1, "FILE:9"),
                ("no submit time: left out", 1, "FILE:8"),
                (
                    "not 18 numbers: left out",
                    1,
                    "FILE:13 `13 9 -1 60 1 -1 -1 1 -1 -1`"
                ),
                ("ran 0 s: 1 s assumed", 1, "FILE:7"),
                ("ran longer than a year: left out", 1, "FILE:10"),
                ("removed while idle (status 5)", 1, "FILE:4"),
                (
                    "removed while idle, at an unknown time: left out",
                    1,
                    "FILE:5"
                ),
                ("removed while running (status 5)", 1, "FILE:3"),
            ]
        );
        assert_eq!(workload.notes.records, 13);
        assert_eq!(workload.notes.left_out, 7);
    }

    #[test]
    fn a_start_time_beyond_all_calendars_is_told_and_changes_no_distance() {
        let job = |submitted: i64| format!("1 {submitted} 0 60 1 -1 9 1 -1 9 1 1 1 1 1 -1 -1 -1\n");
        let text = format!("; UnixStartTime: {}\n{}{}", i64::MAX, job(0), job(500));
        let odd = workload(&text, false);
        assert_eq!(odd.start, None);
        assert_eq!(odd.jobs[1].submitted, 500);
        let what = "UnixStartTime is no time: the trace has no calendar time";
        assert_eq!(counts(&odd), [(what, 1, "FILE:1")]);
    }

    #[test]
    fn jobs_beyond_the_most_are_left_out_with_their_records() {
        let line = "1 0 0 60 1048576 -1 9 1 -1 9 1 1 1 1 1 -1 -1 -1\n";
        let many = workload(&line.repeat(25), true);
        assert_eq!(many.jobs.len(), 19 << 20);
        assert_eq!((many.notes.records, many.notes.left_out), (25, 6));
        assert_eq!(many.notes.added, (19 << 20) - 19);
    }
}
