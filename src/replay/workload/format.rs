//! The formats of workloads, and their recognition.
//!
//! Each line of a sample votes, so that a damaged first line decides nothing. Must not: look at the name of a file.

use std::fmt;
use std::str::FromStr;

use super::WorkloadError;
use super::input::excerpt;

/// A format of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Job ads as JSON: `condor_history -json` or `-jsonl`.
    CondorJson,
    /// Job ads as text: the history file of a schedd, or `condor_history -long`.
    CondorLong,
    /// A job event log of HTCondor, of a user or of the pool.
    EventLog,
    /// The history of ehos: `history/YYYY-MM-DD.jsonl`.
    EhosHistory,
    /// The Standard Workload Format.
    Swf,
    /// A table with a header.
    Csv,
}

impl Format {
    const ALL: [(Format, &'static str); 6] = [
        (Format::CondorJson, "condor-json"),
        (Format::CondorLong, "condor-long"),
        (Format::EventLog, "event-log"),
        (Format::EhosHistory, "ehos-history"),
        (Format::Swf, "swf"),
        (Format::Csv, "csv"),
    ];

    /// The names of all formats.
    pub fn list() -> String {
        Format::ALL.map(|(_, name)| name).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = Format::ALL.iter().find(|(format, _)| format == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Format {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Format, WorkloadError> {
        let format = Format::ALL.iter().find(|(_, name)| *name == text);
        let unknown = || WorkloadError::UnknownFormat {
            name: text.to_owned(),
        };
        format.map(|(format, _)| *format).ok_or_else(unknown)
    }
}

/// Recognizes the format of a sample, the beginning of an input.
///
/// # Errors
/// Compressed and binary data, and the formats of HTCondor that ehos does not read.
pub(super) fn recognize(place: &str, sample: &[u8]) -> Result<Format, WorkloadError> {
    check_text(place, sample)?;
    let lines = || {
        sample
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
    };
    let first = lines().next().unwrap_or_default();
    // A header comes first, and only the first line can be one.
    if is_table(first) {
        return Ok(Format::Csv);
    }
    let votes = |format: Format| lines().filter(|line| vote(line) == Some(format)).count();
    let winner = Format::ALL
        .iter()
        .map(|(format, _)| (votes(*format), *format))
        .max_by_key(|(votes, format)| (*votes, std::cmp::Reverse(*format)));
    match winner {
        Some((1.., format)) => Ok(format),
        _ => Err(WorkloadError::NotRecognized {
            place: place.to_owned(),
            line: excerpt(first),
        }),
    }
}

fn check_text(place: &str, sample: &[u8]) -> Result<(), WorkloadError> {
    let place = place.to_owned();
    let compressed = |method, tool: &str| WorkloadError::Compressed {
        method,
        command: format!("{tool} {place}"),
        place: place.clone(),
    };
    let other = |found, remedy| WorkloadError::OtherFormat {
        place: place.clone(),
        found,
        remedy,
    };
    let is_odd = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let start = sample.trim_ascii_start();
    let as_json = "print job ads with condor_history -json";
    Err(match start {
        [0x1f, 0x8b, ..] => compressed("gzip", "gunzip -c"),
        [b'B', b'Z', b'h', ..] => compressed("bzip2", "bunzip2 -c"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => compressed("xz", "xz -dc"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => compressed("zstd", "zstd -dc"),
        [b'P', b'K', 3, 4, ..] => compressed("zip", "unzip -p"),
        [b'<', ..] => other("XML", as_json),
        [b'I', b'D', b' ', b' ', ..] if memchr::memmem::find(start, b"RUN_TIME").is_some() => {
            other("the table of condor_history", as_json)
        }
        _ if sample.iter().filter(|byte| is_odd(byte)).count() * 20 > sample.len() => {
            WorkloadError::Binary { place }
        }
        _ => return Ok(()),
    })
}

fn is_table(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let is_word = |name: &[u8]| {
        let name = name.trim_ascii();
        let is_letter =
            |byte: &u8| byte.is_ascii_alphabetic() || matches!(*byte, b'_' | b' ' | b'"');
        !name.is_empty() && name.iter().all(is_letter)
    };
    line.contains(&b',') && line.split(|byte| matches!(*byte, b',' | b';')).all(is_word)
}

fn vote(line: &[u8]) -> Option<Format> {
    let has = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
    if line.starts_with(b"*** ") {
        return Some(Format::CondorLong);
    }
    if is_event(line) {
        return Some(Format::EventLog);
    }
    if matches!(line.first(), Some(b'{' | b'[' | b'"')) {
        if has("\"queue\":") && has("\"at\":") {
            return Some(Format::EhosHistory);
        }
        let is_attribute = line.first() == Some(&b'"') && has("\":");
        let is_ad = has("\"ClusterId\"") || has("\"QDate\"") || has("\"JobStatus\"");
        return (is_attribute || is_ad || matches!(line, b"[" | b"{"))
            .then_some(Format::CondorJson);
    }
    if line.starts_with(b";") || is_swf(line) {
        return Some(Format::Swf);
    }
    is_attribute(line).then_some(Format::CondorLong)
}

/// `005 (014.000.000) 11/29 12:36:10 Job terminated.`
fn is_event(line: &[u8]) -> bool {
    let Some((code, rest)) = line.split_at_checked(3) else {
        return false;
    };
    code.iter().all(u8::is_ascii_digit) && rest.starts_with(b" (") && rest.contains(&b')')
}

fn is_swf(line: &[u8]) -> bool {
    let mut fields = 0;
    for field in line
        .split(u8::is_ascii_whitespace)
        .filter(|f| !f.is_empty())
    {
        if !field
            .iter()
            .all(|byte| byte.is_ascii_digit() || b"+-.e".contains(byte))
        {
            return false;
        }
        fields += 1;
    }
    fields >= 11
}

/// `RequestCpus = 1`
fn is_attribute(line: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(line, b" = ") else {
        return false;
    };
    let name = line.get(..end).unwrap_or_default();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(*byte, b'_' | b'.');
    !name.is_empty() && name.iter().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> Result<Format, String> {
        recognize("FILE", text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn formats_are_recognized_by_their_contents() {
        let attributes = "AcctGroup = \"a\"\nClusterId = 1\n";
        let json = "[\n{\n  \"ClusterId\": 1,\n  \"Owner\": \"a,b\"\n}\n";
        let swf = "1 0 -1 83 1 -1 -1 -1 1200 -1 -1 1 1 -1 -1 1 -1 -1\n";
        for (text, expected) in [
            (attributes, Format::CondorLong),
            (json, Format::CondorJson),
            ("{\"ClusterId\":1,\"QDate\":5}\n", Format::CondorJson),
            ("[{\"ClusterId\":1,\"QDate\":5},\n", Format::CondorJson),
            (
                "000 (001.000.000) 11/29 12:36:06 Job submitted from host: <a>\n...\n",
                Format::EventLog,
            ),
            (
                "{\"version\":1,\"at\":\"2026-11-29T00:00:00Z\",\"queue\":null}\n",
                Format::EhosHistory,
            ),
            (swf, Format::Swf),
            ("; UnixStartTime: 0\n", Format::Swf),
            ("submitted,runs\n0,60\n", Format::Csv),
            ("\u{feff}submitted,\"runs\"\r\n0,60\r\n", Format::Csv),
            ("when,what\n", Format::Csv),
        ] {
            assert_eq!(format(text), Ok(expected), "{text}");
            let damaged = format!("#\u{fffd} damaged\n{text}{text}");
            if expected != Format::Csv {
                assert_eq!(format(&damaged), Ok(expected), "{damaged}");
            }
        }
    }

    #[test]
    fn other_data_is_named_with_a_remedy() {
        let shown = |sample: &[u8]| recognize("FILE", sample).unwrap_err().to_string();
        assert_eq!(
            shown(b"\x1f\x8b\x08rest"),
            "FILE: cannot be read: this file is compressed (gzip); decompress it, for example gunzip -c FILE | ehos simulate --jobs -"
        );
        assert_eq!(
            shown(b"\0\0\0\x7fELF\0\0\0"),
            "FILE: cannot be read: this is no text file; expected one of: condor-json, condor-long, event-log, ehos-history, swf, csv"
        );
        assert_eq!(
            shown(b" ID     OWNER          SUBMITTED   RUN_TIME     ST COMPLETED   CMD\n"),
            "FILE: cannot be read: this is the table of condor_history; print job ads with condor_history -json"
        );
        assert!(shown(b"<?xml version=\"1.0\"?>\n").contains("this is XML"));
        assert_eq!(
            shown(b"Dear all,\x1b[1mthis is a letter\n"),
            "FILE: format not recognized: the first line is `Dear all, [1mthis is a letter`; name the format, one of: condor-json, condor-long, event-log, ehos-history, swf, csv"
        );
    }

    #[test]
    fn each_name_is_read_back() {
        for (format, name) in Format::ALL {
            assert_eq!(format.to_string(), name);
            assert_eq!(name.parse::<Format>().unwrap(), format);
        }
        assert_eq!(
            "xml".parse::<Format>().unwrap_err().to_string(),
            "unknown format `xml`: expected one of: condor-json, condor-long, event-log, ehos-history, swf, csv"
        );
    }
}
