//! Finds the records of one node in the history.
//!
//! Days are searched as bytes, and only lines that name the node are parsed: a year takes seconds, and a node whose id
//! contains the time of its create takes less.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use jiff::civil::Date;
use memchr::{memchr, memmem, memrchr};

use super::{Day, Record, UnreadDay, days};
use crate::TickReport;
use crate::tick_report::exists;
use scaling::sorting;

/// The keys of a record under which a node is named.
const KEYS: [&str; 4] = ["node", "name", "server", "machine"];

/// Names that are suggested where none is found.
const SUGGESTIONS: usize = 5;

/// Days whose nodes are looked through for a name that is nearly the one that was asked for.
const RECENT_DAYS: usize = 7;

/// How much alike two names must be for one to be suggested.
const ALIKE: f64 = 0.8;

/// Days without a word of a node that was gone, after which no more are looked through.
const SILENT_DAYS: u32 = 3;

/// What a search came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A node, by its id, with the records that name it, the oldest first.
    Node {
        /// Its id.
        node: String,
        /// They.
        records: Vec<Record>,
    },
    /// None, but there are these.
    Nothing {
        /// Names that contain what was asked for, or are nearly it.
        suggestions: Vec<String>,
    },
}

/// Searches the node that has this id, this server's name or UUID, or this host name: the newest that has it. Also
/// returns the days that could not be read.
///
/// # Errors
/// When the folder of the history cannot be read.
pub fn search(
    folder: &Path,
    last: &TickReport,
    asked: &str,
) -> io::Result<(Found, Vec<UnreadDay>)> {
    let mut days = Days {
        all: days(folder)?,
        unread: BTreeMap::new(),
    };
    let found = find(&mut days, last, asked);
    Ok((found, days.unread.into_values().collect()))
}

/// The days that are searched.
struct Days {
    all: Vec<Day>,
    unread: BTreeMap<Date, UnreadDay>,
}

impl Days {
    /// The content of a day; nothing of one that cannot be read.
    fn bytes(&mut self, day: &Day) -> Vec<u8> {
        day.bytes().unwrap_or_else(|error| {
            self.unread.insert(day.date, day.unread(&error));
            Vec::new()
        })
    }
}

fn find(days: &mut Days, last: &TickReport, asked: &str) -> Found {
    let nearly = of_last(last, asked).or_else(|| in_name(asked).map(str::to_owned));
    if let Some(node) = nearly {
        let records = life(days, &node);
        if !records.is_empty() || last.nodes.iter().any(|one| one.node == node) {
            return Found::Node { node, records };
        }
    }
    match newest(days, asked) {
        Some(node) => {
            let records = life(days, &node);
            Found::Node { node, records }
        }
        None => Found::Nothing {
            suggestions: suggestions(days, last, asked),
        },
    }
}

/// The records that name the node, from the day on which it was made until it was gone for some days.
fn life(days: &mut Days, node: &str) -> Vec<Record> {
    let made = made(node);
    let mut records: Vec<Record> = Vec::new();
    let mut silent_days = 0;
    for day in &days.all.clone() {
        // The clocks of two machines may differ.
        let before = made.and_then(|made| made.yesterday().ok());
        if before.is_some_and(|before| day.date < before) {
            continue;
        }
        let bytes = days.bytes(day);
        let of_day = naming(&bytes, node, &["node"]);
        silent_days = if of_day.is_empty() {
            silent_days + 1
        } else {
            0
        };
        records.extend(of_day);
        if silent_days >= SILENT_DAYS && records.last().is_some_and(|last| is_over(last, node)) {
            break;
        }
    }
    records
}

/// The node was forgotten by this tick, or never made.
fn is_over(record: &Record, node: &str) -> bool {
    let mut events = record.events.iter().filter(|event| event.node == node);
    events.any(|event| !exists(&event.phase))
}

/// A node that the last tick has seen.
fn of_last(last: &TickReport, asked: &str) -> Option<String> {
    let found = last.nodes.iter().find(|node| node.is_called(asked));
    found.map(|node| node.node.clone())
}

/// The id at the end of a server's name.
fn in_name(name: &str) -> Option<&str> {
    let starts = name.match_indices('-').map(|(index, _)| index + 1);
    let ends = [0].into_iter().chain(starts);
    ends.filter_map(|start| name.get(start..))
        .find(|end| made(end).is_some())
}

/// The day in the id of a node (`20261126t090200-01`).
fn made(node: &str) -> Option<Date> {
    let (day, _) = node.split_once('t')?;
    let digits = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Date::strptime("%Y%m%d", day).ok())?
}

/// The id of the newest node of this name.
fn newest(days: &mut Days, asked: &str) -> Option<String> {
    for day in days.all.clone().iter().rev() {
        let bytes = days.bytes(day);
        for record in naming(&bytes, asked, &KEYS).iter().rev() {
            let mut events = record.events.iter().rev();
            let event = events.find(|event| event.is_called(asked));
            let action = || record.actions.iter().find(|action| action.node == asked);
            let id = event.map(|event| &event.node);
            if let Some(id) = id.or_else(|| action().map(|action| &action.node)) {
                return Some(id.clone());
            }
        }
    }
    None
}

/// The records in which one of `keys` is `name`. What cannot be read, a line that a killed tick left half written, is
/// none.
fn naming(bytes: &[u8], name: &str, keys: &[&str]) -> Vec<Record> {
    // As serde_json writes it, with what must be escaped.
    let name = serde_json::Value::from(name).to_string();
    let finder = memmem::Finder::new(name.as_bytes());
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\":")).collect();
    let mut records = Vec::new();
    let mut from = 0;
    while let Some(found) = bytes.get(from..).and_then(|rest| finder.find(rest)) {
        let at = from + found;
        let before = bytes.get(..at).unwrap_or_default();
        if !keys.iter().any(|key| before.ends_with(key.as_bytes())) {
            from = at + name.len();
            continue;
        }
        let (line, end) = line_around(bytes, at);
        from = end;
        records.extend(serde_json::from_slice::<Record>(line));
    }
    records
}

/// The line in which a position is, and where it ends.
fn line_around(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let before = bytes.get(..at).unwrap_or_default();
    let begin = memrchr(b'\n', before).map_or(0, |index| index + 1);
    let after = bytes.get(at..).unwrap_or_default();
    let end = memchr(b'\n', after).map_or(bytes.len(), |index| at + index);
    (bytes.get(begin..end).unwrap_or_default(), end)
}

/// Names of the last days that contain what was asked for, or are nearly it.
fn suggestions(days: &mut Days, last: &TickReport, asked: &str) -> Vec<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for node in &last.nodes {
        known.extend([node.node.clone(), node.name.clone()]);
        known.extend(node.server.id.clone());
        known.extend(node.startd.iter().map(|startd| startd.machine.clone()));
    }
    for day in days.all.clone().iter().rev().take(RECENT_DAYS) {
        let bytes = days.bytes(day);
        let with_events = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| memmem::find(line, b"\"events\":[{").is_some());
        for record in with_events.filter_map(|line| serde_json::from_slice::<Record>(line).ok()) {
            for event in record.events {
                known.extend([event.node, event.name]);
                known.extend(event.server);
                known.extend(event.machine);
            }
        }
    }
    let alike = |name: &String| {
        let contains = name.contains(asked) || asked.contains(name.as_str());
        let score = if contains {
            1.0
        } else {
            strsim::jaro_winkler(name, asked)
        };
        (score >= ALIKE).then(|| (score, name.clone()))
    };
    let mut alike: Vec<(f64, String)> = known.iter().filter_map(alike).collect();
    // Of those that are as much alike the shorter, which are ids, and then the newer.
    sorting::by(&mut alike, |(a, one), (b, other)| {
        let by_length = || one.len().cmp(&other.len());
        b.total_cmp(a)
            .then_with(by_length)
            .then_with(|| other.cmp(one))
    });
    alike.truncate(SUGGESTIONS);
    alike.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(minute: u32, events: &str) -> String {
        format!(
            r#"{{"version":1,"at":"2027-01-15T09:{minute:02}:00Z","events":[{events}],"actions":[]}}"#
        )
    }

    fn event(node: &str, machine: &str, phase: &str) -> String {
        format!(
            r#"{{"node":"{node}","name":"ehos-execute-{node}","machine":"{machine}","cloud":"c","flavor":"f","phase":"{phase}","decision":"keep","reason":"busy","text":"t"}}"#
        )
    }

    fn history() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = ("20270114t235900-01", "20270115t090000-01");
        let first = line(1, &event(one, "host-a", "busy"));
        fs::write(dir.path().join("2027-01-14.jsonl"), &first).unwrap();
        let lines = [
            line(2, &event(two, "host-b", "booting")),
            line(3, &event(two, "host-b", "busy"))[..90].to_owned(),
            line(4, &event(two, "host-a", "idle")),
            line(5, ""),
        ];
        fs::write(dir.path().join("2027-01-15.jsonl"), lines.join("\n")).unwrap();
        dir
    }

    fn found(asked: &str) -> (String, usize) {
        let dir = history();
        match search(dir.path(), &TickReport::default(), asked).unwrap().0 {
            Found::Node { node, records } => (node, records.len()),
            Found::Nothing { suggestions } => (suggestions.join(" "), 0),
        }
    }

    #[test]
    fn a_node_is_found_by_each_of_its_names_and_torn_lines_are_skipped() {
        let (one, two) = ("20270114t235900-01", "20270115t090000-01");
        assert_eq!(found(one), (one.to_owned(), 1));
        assert_eq!(found(two), (two.to_owned(), 2));
        assert_eq!(found(&format!("ehos-execute-{one}")), (one.to_owned(), 1));
        assert_eq!(found("host-b"), (two.to_owned(), 2));
        // Of two nodes on hosts of one name the newer.
        assert_eq!(found("host-a"), (two.to_owned(), 2));
    }

    #[test]
    fn what_is_not_there_is_suggested() {
        assert_eq!(found("host").0, "host-b host-a");
        assert!(
            found("20270115t090000-02")
                .0
                .starts_with("20270115t090000-01")
        );
        assert_eq!(found("busy").0, "", "a word that is no name");
        assert_eq!(found("a\"b\n"), (String::new(), 0));
    }

    #[test]
    fn days_after_the_end_are_not_looked_through() {
        let dir = tempfile::tempdir().unwrap();
        let node = "20270110t090000-01";
        let write = |day: &str, phase: &str| {
            let path = dir.path().join(format!("2027-01-{day}.jsonl"));
            fs::write(path, line(1, &event(node, "h", phase))).unwrap();
        };
        write("08", "idle");
        write("10", "busy");
        write("20", "deleted");
        for day in 21..24 {
            fs::write(dir.path().join(format!("2027-01-{day}.jsonl")), "").unwrap();
        }
        write("25", "busy");
        let (found, _) = search(dir.path(), &TickReport::default(), node).unwrap();
        let Found::Node { records, .. } = found else {
            panic!("{found:?}");
        };
        let phases: Vec<_> = records
            .iter()
            .map(|one| one.events[0].phase.to_string())
            .collect();
        assert_eq!(phases, ["busy", "deleted"]);
    }

    #[test]
    fn a_day_that_a_tick_takes_away_meanwhile_hinders_nobody() {
        let dir = history();
        let mut all = days(dir.path()).unwrap();
        all.insert(
            0,
            Day {
                date: Date::constant(2027, 1, 14),
                path: dir.path().join("2027-01-13.jsonl"),
            },
        );
        let mut days = Days {
            all,
            unread: BTreeMap::new(),
        };
        assert_eq!(life(&mut days, "20270115t090000-01").len(), 2);
        assert_eq!(newest(&mut days, "nobody"), None);
        suggestions(&mut days, &TickReport::default(), "host");
        assert!(days.unread.is_empty());
    }

    #[test]
    fn a_day_that_cannot_be_read_is_named_and_the_others_are_searched() {
        let dir = history();
        // A folder in the place of a file: an error for root too.
        fs::create_dir(dir.path().join("2027-01-16.jsonl")).unwrap();
        for asked in ["20270115t090000-01", "host-b", "nobody"] {
            let (found, unread) = search(dir.path(), &TickReport::default(), asked).unwrap();
            let is_node = matches!(found, Found::Node { .. });
            assert_eq!(is_node, asked != "nobody", "{found:?}");
            assert_eq!(unread.len(), 1, "{asked}");
            assert_eq!(unread[0].file, "2027-01-16.jsonl");
        }
    }

    #[test]
    fn the_day_of_an_id() {
        assert_eq!(
            in_name("a-b-20270115t090000-01"),
            Some("20270115t090000-01")
        );
        assert_eq!(in_name("20270115t090000-01"), Some("20270115t090000-01"));
        assert_eq!(in_name("node-1-é"), None);
        assert_eq!(made("20270115t090000-01"), Date::new(2027, 1, 15).ok());
        for no in ["n-1", "t", "2027t", "20271315t090000-01"] {
            assert_eq!(made(no), None, "{no}");
        }
    }
}
