//! The jobs that have left a schedd's queue, as `condor_history` prints them. Nothing is changed.
//!
//! No `-since EXPR`: it ends the search at the first job for which EXPR is true. A job that stayed in the queue after its end
//! (`leave_in_queue`) has an old time, and younger jobs follow it in the file.
//!
//! Source: HTCondor manual, condor_history(1).
//! `HISTORY_HELPER_MAX_HISTORY`: a schedd reads at most that many jobs for a query by name, and says nothing when it stops.

use std::io::{self, Write};

use jiff::Timestamp;

use super::command::{Call, Tools};
use super::error::Error;
use system::deadline::Deadline;

/// Default of `HISTORY_HELPER_MAX_HISTORY`, until newer versions had 2,000,000,000.
const DEFAULT_CAP: u64 = 10_000;

/// A later begin than this share of the asked time is no accident of a quiet pool.
const QUIET: i64 = 10;

/// The name of this attribute as condor_history prints it. A text of a job has its quotes escaped, so none looks alike.
const LEFT: &str = "\"EnteredCurrentStatus\":";

/// How much of the asked time a job history holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistoryExtent {
    /// Jobs that were printed with the time at which they left the queue.
    pub jobs: u64,
    /// The first of these times, in seconds since 1970.
    pub oldest: Option<i64>,
    /// The schedd was asked by its name, and so has a cap.
    pub is_of_named: bool,
}

impl HistoryExtent {
    fn read(&mut self, line: &str) {
        for (place, name) in line.match_indices(LEFT) {
            let value = line.get(place + name.len()..).unwrap_or_default();
            let digits = value.trim_start();
            let end = digits.find(|c: char| !c.is_ascii_digit());
            let digits = digits.get(..end.unwrap_or(digits.len()));
            self.jobs += 1;
            if let Some(left) = digits.and_then(|digits| digits.parse::<i64>().ok())
                && left > 0
            {
                self.oldest = Some(self.oldest.map_or(left, |oldest| oldest.min(left)));
            }
        }
    }

    /// The gap of the history after `since` when it was asked at `now`; `None` where the answer reaches back far enough.
    pub fn gap(&self, since: i64, now: i64) -> Option<HistoryGap> {
        let oldest = self.oldest?;
        let is_late = oldest.saturating_sub(since) > now.saturating_sub(since) / QUIET;
        let is_capped = self.is_of_named && self.jobs == DEFAULT_CAP;
        (is_late || is_capped).then(|| HistoryGap {
            extent: *self,
            begins: Timestamp::from_second(oldest).unwrap_or_default(),
        })
    }
}

/// A job history that begins later than asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryGap {
    /// The answer.
    pub extent: HistoryExtent,
    /// The time at which its first job left the queue.
    pub begins: Timestamp,
}

impl std::fmt::Display for HistoryGap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HistoryGap { extent, begins } = self;
        write!(formatter, "{} jobs since {begins}", extent.jobs)
    }
}

impl HistoryGap {
    /// The problem, its cause and the remedy.
    pub fn problem(&self) -> &'static str {
        match self.extent.is_of_named {
            true => {
                "the job history begins later than asked: the schedd has no older jobs, or reads at most \
                 HISTORY_HELPER_MAX_HISTORY of them; raise it there, or run this on the host of the schedd"
            }
            false => {
                "the job history begins later than asked: older jobs are not in its files; raise MAX_HISTORY_LOG \
                 and MAX_HISTORY_ROTATIONS there, or ask for fewer days"
            }
        }
    }
}

/// Writes these `attributes` of the jobs that left the queue of a schedd (`None`: this machine's) after `since`, in seconds
/// since 1970, to `sink` as JSON. Returns how far back the answer reaches, if the attributes include EnteredCurrentStatus.
///
/// # Errors
/// condor_history could not be run, failed, or took too long; or `sink` could not be written.
pub fn write_history(
    tools: &Tools,
    schedd: Option<&str>,
    attributes: &str,
    since: i64,
    deadline: Deadline,
    sink: &mut impl Write,
) -> Result<HistoryExtent, Error> {
    let recent = format!("EnteredCurrentStatus >= {since}");
    let mut args = vec!["-json", "-attributes", attributes, "-constraint", &recent];
    args.extend(schedd.iter().flat_map(|name| ["-name", *name]));
    let call = match schedd {
        Some(name) => tools.to_pool("condor_history", &args, name),
        None => Call::new("condor_history", &args, "the schedd of this machine"),
    };
    let mut written: io::Result<()> = Ok(());
    let mut extent = HistoryExtent {
        is_of_named: schedd.is_some(),
        ..HistoryExtent::default()
    };
    tools.run(&call, deadline, (), |(), line| {
        if written.is_ok() {
            written = writeln!(sink, "{line}");
        }
        extent.read(line);
        written.as_ref().map(drop).map_err(io::Error::to_string)
    })?;
    Ok(extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn extent(lines: &[&str], is_of_named: bool) -> HistoryExtent {
        let mut extent = HistoryExtent {
            is_of_named,
            ..HistoryExtent::default()
        };
        lines.iter().for_each(|line| extent.read(line));
        extent
    }

    #[test]
    fn the_first_time_of_the_jobs_is_found_and_texts_are_no_times() {
        let lines = [
            "  \"EnteredCurrentStatus\": 1800001300,",
            r#"  "Owner": "\"EnteredCurrentStatus\": 1","#,
            r#"{"EnteredCurrentStatus":1800000700,"Owner":"a"},{"EnteredCurrentStatus": 1800000900}"#,
            "  \"EnteredCurrentStatus\": undefined",
            "  \"EnteredCurrentStatus\": 99999999999999999999999",
            "  \"EnteredCurrentStatus\":",
        ];
        let found = extent(&lines, true);
        assert_eq!((found.jobs, found.oldest), (6, Some(1_800_000_700)));
        assert_eq!(extent(&["[", "]"], true).oldest, None);
    }

    #[test]
    fn a_history_that_begins_late_has_a_gap() {
        let (since, now) = (1_800_000_000, 1_800_000_000 + 30 * DAY);
        let begins = |oldest: i64, jobs: u64, is_of_named: bool| {
            let oldest = Some(oldest);
            let extent = HistoryExtent {
                jobs,
                oldest,
                is_of_named,
            };
            extent.gap(since, now).map(|gap| gap.to_string())
        };
        assert_eq!(begins(since + 2 * DAY, 9_000, true), None);
        assert_eq!(
            begins(since + 12 * DAY, 9_990, true).unwrap(),
            "9990 jobs since 2027-01-27T08:00:00Z"
        );
        assert!(begins(since + 12 * DAY, 9, false).is_some());
        assert!(begins(since, 10_000, true).is_some());
        assert_eq!(begins(since, 10_000, false), None);
        assert_eq!(HistoryExtent::default().gap(since, now), None);
    }
}
