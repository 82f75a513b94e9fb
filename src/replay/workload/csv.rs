//! Reads and writes workloads as a table with a header (CSV, RFC 4180).
//!
//! | column | meaning |
//! | --- | --- |
//! | `submitted` | time of submission: seconds, or RFC 3339 (`2026-11-29T12:00:00Z`), the same in all rows |
//! | `runs` | run time in seconds |
//! | `cpus` | `RequestCpus`; default 1 |
//! | `memory_mb` | `RequestMemory` in MiB; default 128 |
//! | `disk_mb` | `RequestDisk` in MiB; default 1 |
//! | `gpus` | `RequestGPUs`; default 0 |
//! | `owner` | `Owner`; default `unknown` |
//! | `accounting_group` | `AcctGroup`; default none |
//! | `removed` | time at which the user removes the job if it is still idle; default never |
//!
//! `submitted` and `runs` are required. The order of the columns is free, and an empty value is the default.

use std::io::{self, Write};

use jiff::Timestamp;
use scaling::observation::Resources;

use super::input::{Source, excerpt};
use super::read::Calendar;
use super::{Builder, JobClass, NEVER, RUNS_MAX, Seconds, Workload, WorkloadError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Submitted,
    Runs,
    Cpus,
    MemoryMb,
    DiskMb,
    Gpus,
    Owner,
    AccountingGroup,
    Removed,
}

/// In the order in which [`write()`] writes them.
const COLUMNS: [(Column, &str); 9] = [
    (Column::Submitted, "submitted"),
    (Column::Runs, "runs"),
    (Column::Cpus, "cpus"),
    (Column::MemoryMb, "memory_mb"),
    (Column::DiskMb, "disk_mb"),
    (Column::Gpus, "gpus"),
    (Column::Owner, "owner"),
    (Column::AccountingGroup, "accounting_group"),
    (Column::Removed, "removed"),
];

/// One row.
struct Row {
    submitted: (i64, Calendar),
    runs: i64,
    removed: Option<(i64, Calendar)>,
    class: JobClass,
}

pub(super) fn read(
    source: &mut Source,
    builder: &mut Builder,
) -> Result<Option<Calendar>, WorkloadError> {
    let place = source.place.clone();
    let Some((number, text)) = source.next_record()? else {
        return Ok(None);
    };
    let columns = header(text, &format!("{place}:{number}"))?;
    let mut calendar = None;
    while let Some((number, text)) = source.next_record()? {
        builder.notes.records += 1;
        let row = match Row::parse(text, &columns, calendar) {
            Ok(row) => row,
            Err(problem) => {
                builder
                    .notes
                    .leave_out(problem, || format!("{place}:{number} `{}`", excerpt(text)));
                continue;
            }
        };
        calendar = calendar.or(Some(row.submitted.1));
        let (submitted, _) = row.submitted;
        let removed = row.removed.map(|(removed, _)| removed);
        let runs = Seconds::try_from(row.runs).unwrap_or_default();
        builder.add(submitted, runs, removed, &row.class);
    }
    Ok(calendar)
}

/// The columns of a header.
fn header(line: &[u8], place: &str) -> Result<Vec<Column>, WorkloadError> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let known = COLUMNS.map(|(_, name)| name).join(",");
    let wrong = |problem: String, remedy: String| WorkloadError::Header {
        place: place.to_owned(),
        problem,
        remedy,
    };
    let names = std::str::from_utf8(line).ok().and_then(fields);
    let Some(names) = names else {
        let problem = "the header is unreadable".to_owned();
        return Err(wrong(problem, format!("write the header {known}")));
    };
    let mut columns = Vec::new();
    let mut unknown = Vec::new();
    for name in &names {
        match COLUMNS.iter().find(|(_, known)| known == &name.trim()) {
            Some((column, _)) if columns.contains(column) => {
                let problem = format!("column `{}` is there twice", name.trim());
                return Err(wrong(problem, "rename or delete one of them".to_owned()));
            }
            Some((column, _)) => columns.push(*column),
            None => unknown.push(format!("`{}`", excerpt(name.trim().as_bytes()))),
        }
    }
    if !unknown.is_empty() {
        let problem = match unknown.as_slice() {
            [one] => format!("unknown column {one}"),
            more => format!("unknown columns {}", more.join(", ")),
        };
        return Err(wrong(problem, format!("use only columns of {known}")));
    }
    for (column, name) in COLUMNS.iter().take(2) {
        if !columns.contains(column) {
            let problem = format!("no column `{name}`");
            return Err(wrong(problem, format!("write the header {known}")));
        }
    }
    Ok(columns)
}

impl Row {
    fn parse(
        line: &[u8],
        columns: &[Column],
        calendar: Option<Calendar>,
    ) -> Result<Row, &'static str> {
        let line = std::str::from_utf8(line).map_err(|_| "not UTF-8: left out")?;
        let values = fields(line).ok_or("an open quote: left out")?;
        if values.len() != columns.len() {
            return Err("not as many values as columns: left out");
        }
        let (mut submitted, mut runs, mut removed) = (None, None, None);
        let mut request = Resources::default();
        let mut class = JobClass::default();
        for (column, value) in columns.iter().zip(&values) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let amount = || {
                value
                    .parse::<u64>()
                    .map_err(|_| "a value is no number: left out")
            };
            match column {
                Column::Submitted => submitted = Some(time(value)?),
                Column::Runs => runs = Some(whole(value)?),
                Column::Cpus => request.cpus = amount()?,
                Column::MemoryMb => request.memory_mb = amount()?,
                Column::DiskMb => request.disk_kb = amount()?.saturating_mul(1024),
                Column::Gpus => request.gpus = amount()?,
                Column::Owner => value.clone_into(&mut class.owner),
                Column::AccountingGroup => class.accounting_group = Some(value.to_owned()),
                Column::Removed => removed = Some(time(value)?),
            }
        }
        if class.owner.is_empty() {
            "unknown".clone_into(&mut class.owner);
        }
        class.request = request.rounded();
        let row = Row {
            submitted: submitted.ok_or("no submit time: left out")?,
            runs: runs.ok_or("no run time: left out")?,
            removed,
            class,
        };
        row.check(calendar)
    }

    fn check(self, calendar: Option<Calendar>) -> Result<Row, &'static str> {
        let (submitted, of) = self.submitted;
        let removed = self.removed.unwrap_or((i64::MAX, of));
        match self.runs {
            ..0 => return Err("ends before it starts: left out"),
            runs if runs > RUNS_MAX => return Err("ran longer than a year: left out"),
            _ => {}
        }
        if removed.0 < submitted {
            return Err("removed before it is submitted: left out");
        }
        if calendar.is_some_and(|calendar| calendar != of) || removed.1 != of {
            return Err("seconds and calendar times are mixed: left out");
        }
        Ok(self)
    }
}

fn whole(value: &str) -> Result<i64, &'static str> {
    let number: f64 = value
        .parse()
        .map_err(|_| "a value is no number: left out")?;
    match number.is_finite() {
        // A number that is too large becomes the largest one.
        true => Ok(number.ceil() as i64),
        false => Err("a value is no number: left out"),
    }
}

fn time(value: &str) -> Result<(i64, Calendar), &'static str> {
    if let Ok(time) = value.parse::<Timestamp>() {
        return Ok((time.as_second(), Calendar::Unix));
    }
    let seconds = whole(value).map_err(|_| "a time is neither seconds nor RFC 3339: left out")?;
    Ok((seconds, Calendar::None))
}

/// The fields of a line; none if a quote is open.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if is_quoted || field.trim().is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => all.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    all.push(field);
    (!is_quoted).then_some(all)
}

/// Writes a workload as a table that the reader reads back.
///
/// # Errors
/// Those of `out`.
pub fn write(workload: &Workload, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.map(|(_, name)| name).join(","))?;
    let time = |seconds: Seconds| match workload.start {
        Some(start) => start
            .checked_add(jiff::SignedDuration::from_secs(i64::from(seconds)))
            .map_or_else(|_| String::new(), |time| time.to_string()),
        None => seconds.to_string(),
    };
    for job in &workload.jobs {
        let Some(class) = workload.class(job) else {
            continue;
        };
        let removed = match job.removed {
            NEVER => String::new(),
            removed => time(removed),
        };
        let group = class.accounting_group.as_deref().unwrap_or_default();
        let request = class.request;
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{removed}",
            time(job.submitted),
            job.runs,
            request.cpus,
            request.memory_mb,
            request.disk_kb.div_ceil(1024),
            request.gpus,
            quoted(&class.owner),
            quoted(group),
        )?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    // The reader takes a line break for the end of a row.
    let text: String = (text.chars())
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.contains([',', '"', ' ']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReadOptions, read_from};
    use super::*;

    fn workload(text: &str) -> Result<Workload, String> {
        read_from("FILE", text.as_bytes(), &ReadOptions::default()).map_err(|e| e.to_string())
    }

    fn written(workload: &Workload) -> String {
        let mut out = Vec::new();
        write(workload, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const TABLE: &str = "\
submitted,runs,cpus,memory_mb,disk_mb,gpus,owner,accounting_group,removed
2026-11-29T12:00:00Z,60,1,128,1,0,alice,,
2026-11-29T12:00:07Z,3600,8,16000,2048,1,\"Doe, \"\"J\"\"\",group.phys,2026-11-29T13:00:00Z
";

    #[test]
    fn what_is_written_is_read_back() {
        let read = workload(TABLE).unwrap();
        assert_eq!(written(&read), TABLE);
        assert_eq!(read.start.unwrap().to_string(), "2026-11-29T12:00:00Z");
        assert_eq!((read.jobs[1].submitted, read.jobs[1].removed), (7, 3600));
        assert_eq!(read.classes[1].owner, "Doe, \"J\"");
        let relative = "\u{feff}runs;submitted".replace(';', ",") + "\r\n1.5,10\r\n2,5\r\n\r\n";
        let relative = workload(&relative).unwrap();
        assert_eq!(relative.start, None);
        assert_eq!(
            written(&relative).lines().skip(1).collect::<Vec<_>>(),
            ["0,2,1,128,1,0,unknown,,", "5,2,1,128,1,0,unknown,,"]
        );
    }

    #[test]
    fn a_wrong_header_is_told() {
        let known = "submitted,runs,cpus,memory_mb,disk_mb,gpus,owner,accounting_group,removed";
        for (header, expected) in [
            (
                "submitted,runs,memory,walltime",
                format!("unknown columns `memory`, `walltime`; use only columns of {known}"),
            ),
            (
                "submitted,runs,Cpus",
                format!("unknown column `Cpus`; use only columns of {known}"),
            ),
            (
                "submitted,cpus",
                format!("no column `runs`; write the header {known}"),
            ),
            (
                "submitted,runs,runs",
                "column `runs` is there twice; rename or delete one of them".to_owned(),
            ),
        ] {
            let text = format!("{header}\n1,2,3\n");
            assert_eq!(
                workload(&text),
                Err(format!("FILE:1: cannot be used: {expected}"))
            );
        }
    }

    #[test]
    fn odd_rows_are_counted() {
        let text = "submitted,runs,cpus,owner,removed\n\
            0,60,1,a,\n\
            1,-5,1,a,\n\
            2,60,one,a,\n\
            3,60,1,\"a,\n\
            4,60,1\n\
            ,60,1,a,\n\
            5,,1,a,\n\
            6,99999999,1,a,\n\
            7,60,1,a,3\n\
            yesterday,60,1,a,\n\
            2026-11-29T12:00:00Z,60,1,a,\n\
            8,60,1,a,2026-11-29T12:00:00Z\n\
            9,6";
        let workload = workload(text).unwrap();
        let notes = &workload.notes;
        assert_eq!(
            (workload.jobs.len(), notes.records, notes.left_out),
            (1, 13, 12)
        );
        let counts = notes.counts.iter();
        let counts: Vec<_> = counts
            .map(|(what, count)| (&**what, count.records))
            .collect();
        assert_eq!(
            counts,
            [
                ("a time is neither seconds nor RFC 3339: left out", 1),
                ("a value is no number: left out", 1),
                ("an open quote: left out", 1),
                ("ends before it starts: left out", 1),
                ("no run time: left out", 1),
                ("no submit time: left out", 1),
                ("not as many values as columns: left out", 2),
                ("ran longer than a year: left out", 1),
                ("removed before it is submitted: left out", 1),
                ("seconds and calendar times are mixed: left out", 2),
            ]
        );
    }
}
