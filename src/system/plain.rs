//! Plain text: the one door for text that goes to a terminal, a journal or a message.
//!
//! Names and metadata are hostile text: others write them. Owns: the characters that never get out ([`is_hostile`]), the
//! writer through which each command prints ([`PlainWriter`]), and lines that stay one line each ([`Lines`]).
//! Source: Unicode Technical Report 36 (bidirectional text); sd-daemon(3) (levels of journald).

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Whether a character can move the cursor, colour the terminal, break a line, turn text around or hide in it.
pub fn is_hostile(c: char) -> bool {
    c.is_control() || is_line_separator(c) || is_unseen(c)
}

fn is_line_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Marks of direction, joiners, variation selectors, tags, and what else has no shape of its own.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// As most text is, of which nothing has to be changed.
fn is_printable_ascii(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// The place of the first byte that is no printable ASCII. Most text has none: eight bytes are looked at together.
fn first_unprintable(bytes: &[u8]) -> Option<usize> {
    let eights = bytes.chunks_exact(8);
    let printable = eights.take_while(|eight| are_printable(eight)).count() * 8;
    let rest = bytes.get(printable..)?;
    let at = rest.iter().position(|byte| !is_printable_ascii(*byte))?;
    Some(printable + at)
}

/// Whether each of eight bytes is printable ASCII.
fn are_printable(eight: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let Ok(eight) = eight.try_into() else {
        return false;
    };
    let bytes = u64::from_ne_bytes(eight);
    // The highest bit of a byte is set: from 0x80 on it was, and 0x7f gets it; below 0x20 a byte borrows it.
    let above = bytes | bytes.wrapping_add(ONES);
    let below = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    (above | below) & (ONES * 0x80) == 0
}

/// The text on one line: control characters and line breaks become spaces, unseen characters are left out.
pub fn clean(text: &str) -> String {
    if first_unprintable(text.as_bytes()).is_none() {
        return text.to_owned();
    }
    text.chars()
        .filter(|c| !is_unseen(*c))
        .map(|c| if is_hostile(c) { ' ' } else { c })
        .collect()
}

/// One line of text with its line break, whatever its values hold: `format!` for what is printed.
#[macro_export]
macro_rules! line {
    ($($arguments:tt)*) => {
        $crate::plain::clean(&format!($($arguments)*)) + "\n"
    };
}
pub use crate::line;

/// Escapes hostile characters as JSON does (`\u202e`), and keeps those that `keep` names.
fn escape_into(out: &mut String, text: &str, keep: impl Fn(char) -> bool) {
    let mut rest = text;
    // Almost all text is harmless, and is copied whole.
    while let Some((at, c)) = first_hostile(rest, &keep) {
        let (harmless, from_there) = rest.split_at(at);
        out.push_str(harmless);
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
        rest = from_there.get(c.len_utf8()..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The first hostile character that `keep` does not name, and its place.
fn first_hostile(text: &str, keep: &impl Fn(char) -> bool) -> Option<(usize, char)> {
    let mut from = 0;
    loop {
        // Printable ASCII is most of every text, and needs no decoding.
        let rest = text.get(from..)?;
        from += first_unprintable(rest.as_bytes())?;
        let c = text.get(from..)?.chars().next()?;
        if is_hostile(c) && !keep(c) {
            return Some((from, c));
        }
        from += c.len_utf8();
    }
}

/// JSON without hostile characters: they can only stand in its strings, where an escape says the same.
pub fn json(text: &str) -> Cow<'_, str> {
    let keep = |c: char| c == '\n';
    if first_hostile(text, &keep).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text, keep);
    Cow::Owned(out)
}

/// Writes JSON as [`json`] has it, in the pieces in which serde_json writes it: each is text.
pub struct JsonWriter<W>(pub W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_all(json(text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// One formatted message, cleaned: a line break is kept at its end and where the program itself wrote the whole text.
fn formatted(arguments: fmt::Arguments<'_>) -> String {
    if let Some(own) = arguments.as_str() {
        return own.to_owned();
    }
    let text = arguments.to_string();
    match text.strip_suffix('\n') {
        Some(line) => clean(line) + "\n",
        None => clean(&text),
    }
}

/// Text in lines: a message that is formatted into it stays on its own line, whatever its values hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// No line yet.
    pub fn new() -> Lines {
        Lines::default()
    }

    /// Adds one line.
    pub fn line(&mut self, arguments: fmt::Arguments<'_>) {
        self.0.push_str(&clean(&arguments.to_string()));
        self.0.push('\n');
    }

    /// Adds an empty line.
    pub fn gap(&mut self) {
        self.0.push('\n');
    }

    /// Adds the lines of another text.
    pub fn append(&mut self, more: &Lines) {
        self.0.push_str(&more.0);
    }

    /// No line was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(&clean(text));
        Ok(())
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        self.write_str(c.encode_utf8(&mut [0; 4]))
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> fmt::Result {
        self.0.push_str(&formatted(arguments));
        Ok(())
    }
}

/// The size of the pieces in which a long text is written.
const CHUNK: usize = 64 * 1024;

/// What a command writes besides text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// Colours, and the way back to the beginning at the head of a text that is drawn anew.
    pub styles: bool,
    /// Levels of journald at the head of each line. Without them a line that begins like a level is moved by a space.
    pub levels: bool,
}

/// The writer of all commands: hostile characters that a message still holds are escaped, and JSON stays as it is.
///
/// What is formatted into it (`writeln!`) is one line. A prepared text (`write_all`) keeps its line breaks.
pub struct PlainWriter<'a> {
    inner: &'a mut dyn io::Write,
    own: Own,
    /// The last byte that was written ended a line.
    at_start: bool,
    /// The beginning of a character whose rest has not been written yet.
    partial: Vec<u8>,
}

impl<'a> PlainWriter<'a> {
    /// Writes to `inner`.
    pub fn new(inner: &'a mut dyn io::Write, own: Own) -> PlainWriter<'a> {
        PlainWriter {
            inner,
            own,
            at_start: true,
            partial: Vec::new(),
        }
    }

    /// Whether nothing of the text has to be changed: true of nearly all JSON.
    fn is_plain(&self, text: &str) -> bool {
        let begins = self.at_start && text.starts_with('<') || text.contains("\n<");
        let keep = |c: char| matches!(c, '\n' | '\t');
        !self.own.styles && (self.own.levels || !begins) && first_hostile(text, &keep).is_none()
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        if self.is_plain(text) {
            self.at_start = text.is_empty() && self.at_start || text.ends_with('\n');
            return self.inner.write_all(text.as_bytes());
        }
        let mut out = String::with_capacity(text.len().min(2 * CHUNK));
        let mut rest = text;
        if self.own.styles {
            let (back, after) = rest.split_at(way_back(rest));
            out.push_str(back);
            rest = after;
        }
        for line in rest.split_inclusive('\n') {
            if self.at_start && !self.own.levels && is_like_level(line) {
                out.push(' ');
            }
            self.put_line(&mut out, line);
            self.at_start = line.ends_with('\n');
            if out.len() >= CHUNK {
                self.inner.write_all(out.as_bytes())?;
                out.clear();
            }
        }
        self.inner.write_all(out.as_bytes())
    }

    fn put_line(&self, out: &mut String, line: &str) {
        let keep = |c: char| matches!(c, '\n' | '\t');
        let mut rest = line;
        while self.own.styles
            && let Some(at) = rest.find('\u{1b}')
        {
            let (before, after) = rest.split_at(at);
            escape_into(out, before, keep);
            // An escape that is no style is escaped alone.
            let length = style(after);
            let (code, after) = after.split_at(length.unwrap_or(1));
            escape_into(out, code, |_| length.is_some());
            rest = after;
        }
        escape_into(out, rest, keep);
    }
}

impl io::Write for PlainWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A report of 10,000 nodes is 8 MB: it is not copied where all of it is text.
        if self.partial.is_empty()
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            self.put(text)?;
            return Ok(bytes.len());
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut read = 0;
        for chunk in all.utf8_chunks() {
            text.push_str(chunk.valid());
            read += chunk.valid().len() + chunk.invalid().len();
            let torn = read == all.len()
                && std::str::from_utf8(chunk.invalid())
                    .is_err_and(|error| error.error_len().is_none());
            if torn {
                self.partial = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.put(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        self.put(&formatted(arguments))
    }
}

/// The length of a style as `status::layout::paint` writes it.
fn style(text: &str) -> Option<usize> {
    let codes = ["0", "1", "2", "31", "32", "33"];
    let codes = codes.iter().map(|code| format!("\u{1b}[{code}m"));
    codes
        .into_iter()
        .find(|code| text.starts_with(code))
        .map(|code| code.len())
}

/// The length of what takes the cursor back to where a drawn text began (`ehos status --watch`).
fn way_back(text: &str) -> usize {
    let clear = "\u{1b}[J";
    let home = "\u{1b}[H\u{1b}[J";
    if text.starts_with(home) {
        return home.len();
    }
    let up = text
        .strip_prefix("\u{1b}[")
        .and_then(|rest| rest.split_once('A'));
    match up {
        Some((lines, rest)) if !lines.is_empty() && lines.bytes().all(|b| b.is_ascii_digit()) => {
            let clears = rest
                .strip_prefix('\r')
                .is_some_and(|rest| rest.starts_with(clear));
            if clears {
                2 + lines.len() + 1 + 1 + clear.len()
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// Whether journald would read a level at the head of this line (sd-daemon(3): `<3>`).
pub fn is_like_level(line: &str) -> bool {
    let number = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    number
        .is_some_and(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;

    use super::*;

    const HOSTILE: &str =
        "a\u{1b}[2Jb\n<3>PROTECTED MODE\r\u{202e}c\u{9b}5m\u{2028}d\u{2066}e\u{61c}f\u{e0041}";

    fn written(own: Own, write: impl FnOnce(&mut PlainWriter<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut PlainWriter::new(&mut out, own));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_cannot_break_its_line() {
        let mut lines = Lines::new();
        writeln!(lines, "name {HOSTILE}").unwrap();
        lines.line(format_args!("{HOSTILE}"));
        lines.write_str(HOSTILE).unwrap();
        let text = lines.into_string();
        assert_eq!(text.lines().count(), 3, "{text:?}");
        assert!(
            !text.chars().any(|c| c != '\n' && is_hostile(c)),
            "{text:?}"
        );
        let text = written(Own::default(), |out| {
            writeln!(out, "name {HOSTILE}").unwrap()
        });
        assert_eq!(text, "name a [2Jb <3>PROTECTED MODE c 5m def\n");
    }

    #[test]
    fn what_the_program_itself_writes_keeps_its_lines() {
        let mut lines = Lines::new();
        writeln!(lines, "\nnot done").unwrap();
        assert_eq!(lines.into_string(), "\nnot done\n");
    }

    #[test]
    fn a_text_is_escaped_as_character_by_character() {
        let parts = [
            "",
            "a",
            "ä\n",
            "\u{1b}",
            "\u{202e}x",
            "\t ~",
            "\u{e0041}",
            "\u{7f}\n",
        ];
        let slow = |text: &str| -> String {
            let escaped = |c: char| match is_hostile(c) && c != '\n' {
                true => c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect(),
                false => c.to_string(),
            };
            text.chars().map(escaped).collect()
        };
        for first in parts {
            for second in parts {
                for third in parts {
                    let text = [first, second, third].concat();
                    assert_eq!(json(&text), slow(&text), "{text:?}");
                    let mut written = Vec::new();
                    let value = [first, second, third];
                    serde_json::to_writer(JsonWriter(&mut written), &value).unwrap();
                    let whole = serde_json::to_string(&value).unwrap();
                    assert_eq!(String::from_utf8(written).unwrap(), slow(&whole));
                }
            }
        }
    }

    #[test]
    fn no_byte_is_overlooked() {
        for byte in 0..=u8::MAX {
            for at in 0..17 {
                let mut bytes = [b'~'; 17];
                bytes[at] = byte;
                let found = (!is_printable_ascii(byte)).then_some(at);
                assert_eq!(first_unprintable(&bytes), found, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_level_is_found_in_a_text_that_is_plain_otherwise() {
        let texts = ["<3>a\n", "a\n<3>b\n", "<", "3>a\n<4>", "", "<5>"];
        let text = written(Own::default(), |out| {
            for text in texts {
                out.write_all(text.as_bytes()).unwrap();
            }
        });
        assert_eq!(text, " <3>a\na\n <3>b\n<3>a\n <4><5>");
    }

    #[test]
    fn a_long_text_in_pieces_is_the_same_text() {
        let line = "<3>name \u{202e}\u{e9}\n";
        let whole = line.repeat(3 * CHUNK / line.len());
        let text = written(Own::default(), |out| {
            out.write_all(whole.as_bytes()).unwrap()
        });
        assert!(text == whole.replace("<3>", " <3>").replace('\u{202e}', "\\u202e"));
    }

    #[test]
    fn the_writer_escapes_what_a_message_forgot() {
        for own in [
            Own::default(),
            Own {
                styles: true,
                levels: true,
            },
        ] {
            let text = written(own, |out| out.write_all(HOSTILE.as_bytes()).unwrap());
            assert!(
                !text.chars().any(|c| c != '\n' && is_hostile(c)),
                "{text:?}"
            );
        }
        let json = serde_json::to_string(HOSTILE).unwrap();
        let text = written(Own::default(), |out| {
            out.write_all(json.as_bytes()).unwrap()
        });
        assert!(!text.chars().any(is_hostile), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), HOSTILE);
    }

    #[test]
    fn levels_and_styles_are_the_programs_own() {
        let forged = "<3>PROTECTED MODE\n<3> x\n";
        let plain =
            |own: Own, text: &str| written(own, |out| out.write_all(text.as_bytes()).unwrap());
        assert_eq!(
            plain(Own::default(), forged),
            " <3>PROTECTED MODE\n <3> x\n"
        );
        let levels = Own {
            levels: true,
            ..Own::default()
        };
        assert_eq!(plain(levels, forged), forged);
        let styles = Own {
            styles: true,
            ..Own::default()
        };
        for text in [
            "\u{1b}[H\u{1b}[Ja",
            "\u{1b}[12A\r\u{1b}[Ja",
            "\u{1b}[31ma\u{1b}[0m\n",
        ] {
            assert_eq!(plain(styles, text), text);
        }
        assert_eq!(
            plain(styles, "a\u{1b}[2A\r\u{1b}[J\u{1b}[5m"),
            "a\\u001b[2A\\u000d\\u001b[J\\u001b[5m"
        );
        assert_eq!(plain(Own::default(), "\u{1b}[31m"), "\\u001b[31m");
    }

    #[test]
    fn a_character_may_come_in_two_parts() {
        let text = written(Own::default(), |out| {
            for byte in "ä→\u{202e}€".bytes() {
                out.write_all(&[byte]).unwrap();
            }
            out.write_all(b"\x9b5m\xff").unwrap();
        });
        assert_eq!(text, "ä→\\u202e€\u{fffd}5m\u{fffd}");
    }
}
