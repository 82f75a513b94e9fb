//! The decisions for nodes and their reasons, from the history.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::last::Mark;
use report::history::{self, Day, Event, Record, UnreadDay};
use report::names::{Named, ReasonName};
use report::tick_report::{ActionReport, ActionResult, NodeReport};
use scaling::names::{ActionName, PhaseName};
use scaling::plan::NodeDecision;
use scaling::sorting;

/// Days that are looked through for one answer.
pub const DAYS: i64 = 31;

/// Decisions of one answer.
pub const LIMIT: usize = 1000;

/// Phases that say of themselves that something is wrong.
const WRONG: [PhaseName; 9] = [
    PhaseName::Failed,
    PhaseName::Gone,
    PhaseName::Inactive,
    PhaseName::Lost,
    PhaseName::Silent,
    PhaseName::Stopped,
    PhaseName::Unclear,
    PhaseName::Unheard,
    PhaseName::Unreachable,
];

/// One decision, or something that happened to a node.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    pub at: Timestamp,
    node: String,
    name: String,
    cloud: String,
    flavor: String,
    /// Where it was in its life before.
    #[serde(rename = "previous_phase")]
    pub was: Option<Named<PhaseName>>,
    phase: Named<PhaseName>,
    decision: Named<NodeDecision>,
    reason: Named<ReasonName>,
    text: String,
    result: Option<Named<ActionResult>>,
    message: Option<String>,
}

impl Decision {
    fn new(event: Event, record: &Record) -> Decision {
        let verb = event.decision.known().and_then(|decision| match decision {
            NodeDecision::Create => Some(ActionName::Create),
            NodeDecision::Drain => Some(ActionName::Drain),
            NodeDecision::CancelDrain => Some(ActionName::CancelDrain),
            NodeDecision::Delete => Some(ActionName::Delete),
            NodeDecision::Keep | NodeDecision::Forget | NodeDecision::Disassociate => None,
        });
        let of_it = |action: &&ActionReport| {
            action.node == event.node && verb.is_some_and(|verb| action.action.is(verb))
        };
        let action = record.actions.iter().find(of_it);
        Decision {
            at: record.at,
            result: action.map(|action| action.result.clone()),
            message: action.and_then(|action| action.message.clone()),
            node: event.node,
            name: event.name,
            cloud: event.cloud,
            flavor: event.flavor,
            was: event.was,
            phase: event.phase,
            decision: event.decision,
            reason: event.reason,
            text: event.text,
        }
    }

    fn matters(&self) -> bool {
        !self.decision.is(NodeDecision::Keep) || self.phase.is_one_of(&WRONG)
    }
}

/// Some of them.
#[derive(Debug, Serialize)]
pub struct Decisions {
    decisions: Vec<Decision>,
    more: bool,
    /// Older ones were not looked for.
    since: Option<Timestamp>,
    /// Days that are missing from them.
    unread: Vec<UnreadDay>,
}

/// One node, and what happened to it.
#[derive(Debug, Serialize)]
pub struct NodeShown<'a> {
    /// As the last tick saw it; none when it is gone.
    pub node: Option<&'a NodeReport>,
    /// The oldest first.
    pub events: Vec<Decision>,
    /// Days that are missing from them.
    pub unread: Vec<UnreadDay>,
}

/// Past days in which nothing was decided.
#[derive(Debug, Default)]
pub struct Quiet(HashMap<Date, Mark>);

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The newest day that is not to come yet: a clock that was ahead for one tick has left such a day behind. When the own
/// clock is that far back, the newest of all.
fn newest(days: &[Day], now: Timestamp) -> Option<Date> {
    let tomorrow = date(now).tomorrow().unwrap_or(Date::MAX);
    let come = days.iter().rfind(|day| day.date <= tomorrow);
    come.or(days.last()).map(|day| day.date)
}

/// The decisions of one tick's line, in its order.
fn of_line(line: &str) -> Vec<Decision> {
    // Most ticks decide nothing.
    if line.contains("\"events\":[]") {
        return Vec::new();
    }
    let Some(mut record) = history::parse::<Record>(line) else {
        return Vec::new();
    };
    let events = std::mem::take(&mut record.events);
    events
        .into_iter()
        .map(|event| Decision::new(event, &record))
        .collect()
}

impl Quiet {
    /// The newest `limit` decisions before a time, of the [`DAYS`] that end with the newest day before it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn decisions(
        &mut self,
        folder: &Path,
        limit: usize,
        before: Option<Timestamp>,
        now: Timestamp,
    ) -> io::Result<Decisions> {
        let days = history::days(folder)?;
        // The day that begins at this very time has nothing before it.
        let before_it = |at: Timestamp| date(at.checked_sub(1.nanosecond()).unwrap_or(at));
        let newest = match before.map(before_it) {
            Some(last) => days
                .iter()
                .rfind(|day| day.date <= last)
                .map(|day| day.date),
            None => newest(&days, now),
        };
        let Some(last) = newest else {
            return Ok(Decisions {
                decisions: Vec::new(),
                more: false,
                since: None,
                unread: Vec::new(),
            });
        };
        let oldest = last.checked_sub(DAYS.days()).unwrap_or(last);
        self.0
            .retain(|date, _| days.iter().any(|day| day.date == *date));
        let mut found = Vec::new();
        let mut since = None;
        let mut more = false;
        let mut unread = Vec::new();
        for day in days.iter().rev().filter(|day| day.date <= last) {
            if day.date < oldest || found.len() > limit {
                more = true;
                break;
            }
            since = Some(day.date);
            let mut of_day = self.of_day(day, &mut unread);
            of_day.retain(|decision| before.is_none_or(|before| decision.at < before));
            found.append(&mut of_day);
        }
        if let Some(next) = found.get(limit).map(|next| next.at) {
            more = true;
            // Those of one tick are not torn apart: the next page begins before the oldest of this one.
            match found.partition_point(|decision| decision.at > next) {
                0 => found.truncate(found.partition_point(|decision| decision.at >= next)),
                whole => found.truncate(whole),
            }
        }
        let start = |date: Date| date.in_tz("UTC").ok().map(|start| start.timestamp());
        Ok(Decisions {
            decisions: found,
            more,
            since: since.and_then(start),
            unread,
        })
    }

    /// Those of a day, the newest first.
    fn of_day(&mut self, day: &Day, unread: &mut Vec<UnreadDay>) -> Vec<Decision> {
        let Ok(file) = std::fs::metadata(&day.path) else {
            return Vec::new();
        };
        let mark = Mark::of(&file);
        if self.0.get(&day.date) == Some(&mark) {
            return Vec::new();
        }
        let mut found: Vec<Decision> = Vec::new();
        let read = day.each_line(|line| {
            found.extend(of_line(&line).into_iter().filter(Decision::matters));
        });
        match read {
            Ok(()) if found.is_empty() => {
                self.0.insert(day.date, mark);
            }
            Ok(()) => {}
            Err(error) => unread.push(day.unread(&error)),
        }
        sorting::by_key(&mut found, |decision| decision.at);
        found.reverse();
        found
    }
}

/// All that happened to nodes of this name, id, host name or server, the oldest first, of the last [`DAYS`] that there are,
/// with the days that could not be read.
///
/// # Errors
/// When the folder cannot be read.
pub fn of_node(
    folder: &Path,
    name: &str,
    now: Timestamp,
) -> io::Result<(Vec<Decision>, Vec<UnreadDay>)> {
    let word = serde_json::to_string(name)?;
    let days = history::days(folder)?;
    let Some(newest) = newest(&days, now) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let oldest = newest.checked_sub(DAYS.days()).unwrap_or(newest);
    let mut found = Vec::new();
    let mut unread = Vec::new();
    for day in days.iter().filter(|day| day.date >= oldest) {
        let read = day.each_line(|line| {
            if !line.contains(&word) {
                return;
            }
            let Some(mut record) = history::parse::<Record>(&line) else {
                return;
            };
            let mut events = std::mem::take(&mut record.events);
            events.retain(|event| event.is_called(name));
            found.extend(
                events
                    .into_iter()
                    .map(|event| Decision::new(event, &record)),
            );
        });
        if let Err(error) = read {
            unread.push(day.unread(&error));
        }
    }
    sorting::by_key(&mut found, |decision| decision.at);
    Ok((found, unread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: &str, nodes: &[&str]) -> String {
        let events: Vec<String> = nodes
            .iter()
            .map(|node| {
                format!(
                    r#"{{"node": "{node}", "name": "N {node}", "cloud": "c", "flavor": "f", "previous_phase": "idle", "phase": "drained",
                    "decision": "delete", "reason": "drained", "text": "drained", "machine": "host-{node}"}}"#
                )
            })
            .collect();
        let line = format!(
            r#"{{"version": 7, "at": "{at}", "unheard_of": {{}}, "events": [{}],
            "actions": [{{"action": "invalidate", "node": "a", "result": "done"}},
            {{"action": "delete", "node": "a", "result": "failed", "message": "no"}}]}}"#,
            events.join(",")
        );
        line.replace('\n', " ") + "\n"
    }

    fn history() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let old = line("2026-03-01T10:00:00Z", &["a"]);
        let torn = "{\"at\": \"2026-03-02T09:00:00Z\", \"events\": [{\"no\n";
        let quiet = "{\"at\":\"2026-03-02T09:30:00Z\",\"events\":[]}\n";
        let new = line("2026-03-02T10:00:00Z", &["b", "c"])
            + torn
            + quiet
            + &line("2026-03-02T10:01:00Z", &["d"]);
        std::fs::write(folder.path().join("2026-03-01.jsonl"), old).unwrap();
        std::fs::write(folder.path().join("2026-03-02.jsonl"), new).unwrap();
        std::fs::write(
            folder.path().join("2025-12-01.jsonl"),
            line("2025-12-01T00:00:00Z", &["z"]),
        )
        .unwrap();
        folder
    }

    fn names(decisions: &Decisions) -> String {
        decisions
            .decisions
            .iter()
            .map(|one| one.node.as_str())
            .collect()
    }

    #[test]
    fn what_went_wrong_with_a_node_is_told_too() {
        let folder = tempfile::tempdir().unwrap();
        for (phase, told) in [("stopped", 1), ("unreachable", 1), ("lost", 1), ("busy", 0)] {
            let kept = line("2026-03-02T10:00:00Z", &["a"])
                .replace("\"delete\"", "\"keep\"")
                .replace("\"phase\": \"drained\"", &format!("\"phase\": \"{phase}\""));
            std::fs::write(folder.path().join("2026-03-02.jsonl"), kept).unwrap();
            let found = Quiet::default().decisions(folder.path(), 10, None, now());
            assert_eq!(found.unwrap().decisions.len(), told, "{phase}");
        }
    }

    fn now() -> Timestamp {
        "2026-03-02T10:05:00Z".parse().unwrap()
    }

    #[test]
    fn a_tick_whose_clock_was_ahead_hides_no_other() {
        let folder = history();
        let path = folder.path().join("2038-01-19.jsonl");
        std::fs::write(path, line("2038-01-19T03:14:07Z", &["x"])).unwrap();
        let mut quiet = Quiet::default();
        let found = quiet.decisions(folder.path(), 9, None, now()).unwrap();
        assert_eq!(names(&found), "dcba");
        assert_eq!(of_node(folder.path(), "a", now()).unwrap().0.len(), 1);
        // The page's own clock may be the one that is wrong.
        let found = quiet.decisions(folder.path(), 9, None, Timestamp::UNIX_EPOCH);
        assert_eq!(names(&found.unwrap()), "x");
    }

    #[test]
    fn what_is_before_a_long_time_without_ticks_is_found() {
        let folder = history();
        let of = |before: &str| {
            let before = Some(before.parse().unwrap());
            let found = Quiet::default().decisions(folder.path(), 9, before, now());
            let found = found.unwrap();
            (names(&found), found.more)
        };
        assert_eq!(of("2026-03-01T00:00:00Z"), ("z".to_owned(), false));
        assert_eq!(of("2030-01-01T00:00:00Z"), ("dcba".to_owned(), true));
    }

    #[test]
    fn the_newest_first_and_no_tick_in_two() {
        let folder = history();
        let mut quiet = Quiet::default();
        for (limit, before, found, more) in [
            (10, None, "dcba", true),
            (4, None, "dcba", true),
            (3, None, "dcb", true),
            (2, None, "d", true),
            (1, None, "d", true),
            (1, Some("2026-03-02T10:01:00Z"), "cb", true),
            (9, Some("2026-03-02T10:00:00Z"), "a", true),
            (9, Some("2026-03-01T10:00:00Z"), "", true),
            (9, Some("2026-01-01T00:00:00Z"), "z", false),
            (9, Some("2025-12-01T00:00:00Z"), "", false),
        ] {
            let before = before.map(|before| before.parse().unwrap());
            let decisions = quiet
                .decisions(folder.path(), limit, before, now())
                .unwrap();
            assert_eq!(
                (names(&decisions).as_str(), decisions.more),
                (found, more),
                "{limit} {before:?}"
            );
        }
        let all = quiet.decisions(folder.path(), 9, None, now()).unwrap();
        assert_eq!(all.since, Some("2026-03-01T00:00:00Z".parse().unwrap()));
        let oldest = all.decisions.last().unwrap();
        assert_eq!(oldest.result, Some(ActionResult::Failed.into()));
        assert_eq!(oldest.message.as_deref(), Some("no"));
        assert_eq!(all.decisions[0].result, None);
    }

    #[test]
    fn a_day_that_was_quiet_is_read_again_when_something_is_added() {
        let folder = history();
        let path = folder.path().join("2026-03-02.jsonl");
        std::fs::write(&path, "{\"at\":\"2026-03-02T09:30:00Z\",\"events\":[]}\n").unwrap();
        let mut quiet = Quiet::default();
        let mut seen = || names(&quiet.decisions(folder.path(), 9, None, now()).unwrap());
        assert_eq!([seen(), seen()], ["a", "a"]);
        std::fs::write(&path, line("2026-03-02T10:00:00Z", &["b"])).unwrap();
        assert_eq!(seen(), "ba");
    }

    #[test]
    fn a_node_by_any_of_its_names() {
        let folder = history();
        // A day that is listed, and gone when it is read.
        let gone = folder.path().join("2026-02-28.jsonl");
        std::os::unix::fs::symlink("/nonexistent", gone).unwrap();
        for name in ["a", "N a", "host-a"] {
            let found = of_node(folder.path(), name, now()).unwrap();
            assert_eq!(found.0.len(), 1, "{name}");
        }
        assert!(
            of_node(folder.path(), "deletes", now())
                .unwrap()
                .0
                .is_empty()
        );
        // Its day is too long ago.
        assert!(of_node(folder.path(), "z", now()).unwrap().0.is_empty());
    }
}
