//! Reads HTCondor's global event log: whether jobs came, or ended, since a mark.
//!
//! Users write into it (notes of a submit, reasons of a hold), so it decides nothing: the most that a line can do is that a
//! tick runs at an event's rate. Source: HTCondor manual, `EVENT_LOG` and "Job Event Log Codes".

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use scaling::next_pass::Events;
use system::own_file;

/// The most that is read; more new text counts as every event.
const MAX_READ: u64 = 256 << 10;

/// The place up to which a log was written at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Mark {
    /// The end of the log at this moment; `None` where there is none, or this user cannot see it.
    pub fn of(log: &Path) -> Option<Mark> {
        let found = fs::metadata(log).ok()?;
        found.is_file().then(|| Mark {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// What cannot be read may be anything.
const UNKNOWN: Events = Events {
    waiting: 1,
    started: 0,
    ended: 1,
};

fn add(events: &mut Events, code: Code) {
    // Source: HTCondor manual, "Job Event Log Codes".
    match code.0 {
        // Submitted, evicted, shadow exception, released, reconnection failed.
        0 | 4 | 7 | 13 | 24 => events.waiting += 1,
        // Executing.
        1 => events.started += 1,
        // Terminated, aborted, held.
        5 | 9 | 12 => events.ended += 1,
        _ => {}
    }
}

/// The events since `mark`, which was taken at the end of the last pass's log, if there was one then.
pub fn since(log: &Path, mark: Option<&Mark>) -> Events {
    let (before, now) = match (mark, Mark::of(log)) {
        // While a log is rotated there is none for a moment. The new one has another inode.
        (_, None) => return Events::default(),
        (Some(before), Some(now)) if *before == now => return Events::default(),
        (Some(before), Some(now)) => (before, now),
        (None, Some(_)) => return UNKNOWN,
    };
    let is_same = before.device == now.device && before.inode == now.inode;
    match now.size.checked_sub(before.size) {
        Some(added) if is_same && added <= MAX_READ => {
            read(log, before.size, added).map_or(UNKNOWN, |text| events(&text))
        }
        _ => UNKNOWN,
    }
}

/// The `added` bytes from `start` on, with the byte before them.
fn read(log: &Path, start: u64, added: u64) -> io::Result<Vec<u8>> {
    let mut file = own_file::open(log)?;
    let before = u64::from(start > 0);
    file.seek(SeekFrom::Start(start - before))?;
    let mut text = Vec::new();
    if before == 0 {
        text.push(b'\n');
    }
    file.take(added + before).read_to_end(&mut text)?;
    Ok(text)
}

/// The events in `text`, whose first byte is the one before it.
fn events(text: &[u8]) -> Events {
    let Some((before, text)) = text.split_first() else {
        return UNKNOWN;
    };
    // In the middle of a line, whose beginning nobody has read.
    if *before != b'\n' {
        return UNKNOWN;
    }
    let mut found = Events::default();
    let mut is_log = text.is_empty();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(code) = Code::of(line) {
            is_log = true;
            add(&mut found, code);
        }
        is_log |= line == b"...";
    }
    // Such as the format of `EVENT_LOG_USE_XML`, or another file.
    if is_log { found } else { UNKNOWN }
}

/// The number of an event.
struct Code(u16);

impl Code {
    /// Of the line that an event begins with: `005 (014.000.000) 11/29 12:36:10 Job terminated.`
    fn of(line: &[u8]) -> Option<Code> {
        let (digits, rest) = line.split_at_checked(3)?;
        if !digits.iter().all(u8::is_ascii_digit) || !rest.starts_with(b" (") {
            return None;
        }
        let number = digits.iter().map(|digit| u16::from(digit - b'0'));
        Some(Code(number.fold(0, |all, digit| all * 10 + digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As HTCondor 23.9 wrote it: jobs submitted, run, ended, held, released, evicted and removed, and a late
    /// materialization.
    const LOG: &str = include_str!("../../tests/fixtures/condor/event-log.txt");
    const NOTHING: Events = Events {
        waiting: 0,
        started: 0,
        ended: 0,
    };
    const WAITING: Events = Events {
        waiting: 1,
        ..NOTHING
    };
    const STARTED: Events = Events {
        started: 1,
        ..NOTHING
    };
    const ENDED: Events = Events {
        ended: 1,
        ..NOTHING
    };

    fn written(text: impl AsRef<[u8]>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("EventLog");
        fs::write(&log, text).unwrap();
        (folder, log)
    }

    fn append(log: &Path, text: impl AsRef<[u8]>) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// Each event of the recorded log, with its number.
    fn recorded() -> Vec<(u16, &'static str)> {
        let events = LOG.split_inclusive("...\n");
        events
            .map(|event| (event[..3].parse().unwrap(), event))
            .collect()
    }

    #[test]
    fn each_recorded_event_is_read_for_what_it_is() {
        let recorded = recorded();
        let codes: std::collections::BTreeSet<u16> =
            recorded.iter().map(|(code, _)| *code).collect();
        for needed in [0, 1, 4, 5, 6, 8, 9, 12, 13, 35, 36, 40] {
            assert!(codes.contains(&needed), "{needed} is not in the log");
        }
        for (code, event) in recorded {
            let (_folder, log) = written(LOG);
            let mark = Mark::of(&log).unwrap();
            append(&log, event);
            let expected = match code {
                0 | 4 | 13 => WAITING,
                1 => STARTED,
                5 | 9 | 12 => ENDED,
                _ => NOTHING,
            };
            assert_eq!(since(&log, Some(&mark)), expected, "{event}");
        }
    }

    #[test]
    fn a_note_of_a_user_is_no_event() {
        let (_, event) = recorded()
            .into_iter()
            .find(|(_, event)| event.contains("a note"))
            .unwrap();
        assert!(event.contains("    005 (014.000.000) a note"), "{event}");
        let (_folder, log) = written(LOG);
        let mark = Mark::of(&log).unwrap();
        append(&log, event);
        assert_eq!(since(&log, Some(&mark)), WAITING);
    }

    #[test]
    fn a_log_that_stands_still_has_no_event() {
        let (_folder, log) = written(LOG);
        let mark = Mark::of(&log).unwrap();
        assert_eq!(since(&log, Some(&mark)), NOTHING);
        // HTCondor writes the first line anew now and then.
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(since(&log, Some(&mark)), NOTHING);
    }

    #[test]
    fn a_log_that_comes_or_is_rotated_or_cut_may_hold_any_event() {
        let (folder, log) = written("");
        assert_eq!(since(&log, None), UNKNOWN);
        fs::write(&log, LOG).unwrap();
        let mark = Mark::of(&log).unwrap();
        fs::rename(&log, folder.path().join("EventLog.old")).unwrap();
        assert_eq!(Mark::of(&log), None);
        assert_eq!(since(&log, Some(&mark)), NOTHING, "no log for a moment");
        fs::write(
            &log,
            "008 (-01.-01.-01) 11/29 12:36:06 Global JobLog:\n...\n",
        )
        .unwrap();
        assert_eq!(since(&log, Some(&mark)), UNKNOWN);
        // The new one is longer, and its end says nothing.
        fs::write(
            &log,
            format!("{LOG}006 (007.000.000) 11/29 Image size\n...\n"),
        )
        .unwrap();
        assert_eq!(since(&log, Some(&mark)), UNKNOWN);

        fs::write(&log, LOG).unwrap();
        let mark = Mark::of(&log).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(10).unwrap();
        assert_eq!(since(&log, Some(&mark)), UNKNOWN);
    }

    #[test]
    fn what_is_no_text_of_a_log_may_be_any_event() {
        let after = |added: &[u8]| {
            let (_folder, log) = written(LOG);
            let mark = Mark::of(&log).unwrap();
            append(&log, added);
            since(&log, Some(&mark))
        };
        assert_eq!(
            after(b"<c>\n  <a n=\"MyType\"><s>SubmitEvent</s></a>\n</c>\n"),
            UNKNOWN
        );
        assert_eq!(after(&[0; 4096]), UNKNOWN);
        assert_eq!(after(&[b'x'; 200_000]), UNKNOWN);
        // Too much of it, though each event is harmless.
        let images = "006 (007.000.000) 11/29 12:34:38 Image size of job updated: 45\n...\n";
        assert_eq!(after(images.repeat(100).as_bytes()), NOTHING);
        assert_eq!(after(images.repeat(10_000).as_bytes()), UNKNOWN);
    }

    #[test]
    fn a_mark_in_the_middle_of_a_line_hides_no_event() {
        let (_folder, log) = written(format!("{LOG}000 (0"));
        let mark = Mark::of(&log).unwrap();
        append(
            &log,
            "99.000.000) 11/29 12:36:06 Job submitted from host: <>\n...\n",
        );
        assert_eq!(since(&log, Some(&mark)), UNKNOWN);
    }

    #[test]
    fn a_log_that_cannot_be_read_tells_only_that_it_changed() {
        let (folder, log) = written(LOG);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&log, &link).unwrap();
        let mark = Mark::of(&link).unwrap();
        assert_eq!(since(&link, Some(&mark)), NOTHING);
        append(&log, "006 (007.000.000) 11/29 12:34:38 Image size\n...\n");
        assert_eq!(since(&link, Some(&mark)), UNKNOWN);
        // Neither is a folder, nor what is not there.
        assert_eq!(Mark::of(folder.path()), None);
        assert_eq!(since(&folder.path().join("none"), None), NOTHING);
    }
}
