//! Reads job ads as JSON: `condor_history -json` and `-jsonl`.
//!
//! Objects are found byte by byte, and each is parsed alone: a damaged one costs itself, and memory holds one.
//! Source: HTCondor 23.9.6; manual, condor_history(1).

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::ad::{Ad, Attribute, CUT_OFF, Value};
use super::input::Source;
use super::known::Known;
use super::read::Calendar;
use super::{Builder, WorkloadError};

/// Longest ad.
const AD_MAX: usize = 4 << 20;

pub(super) fn read(
    source: &mut Source,
    known: &mut Known,
    builder: &mut Builder,
) -> Result<Option<Calendar>, WorkloadError> {
    let place = source.place.clone();
    let mut scanner = Scanner::default();
    loop {
        let chunk = source.chunk()?;
        if chunk.is_empty() {
            break;
        }
        let mut used = 0;
        while let Some(rest) = chunk.get(used..).filter(|rest| !rest.is_empty()) {
            let (read, object) = scanner.scan(rest);
            used += read;
            if let Some(object) = object {
                let example = || format!("{place}:{}", scanner.started_at);
                add(object, &scanner.object, known, builder, example);
            }
            if std::mem::take(&mut scanner.has_stray_text) {
                let what = "text that belongs to no ad: ignored";
                builder
                    .notes
                    .count(what, || format!("{place}:{}", scanner.line + 1));
            }
        }
        source.consume(used);
    }
    if scanner.depth > 0 {
        let example = || format!("{place}:{}", scanner.started_at);
        builder.notes.lose(CUT_OFF, example);
    } else if scanner.open_lists > 0 {
        let what = "the file ends before its list of ads does";
        builder.notes.count(what, || place.clone());
    }
    Ok(Some(Calendar::Unix))
}

fn add(
    end: End,
    object: &[u8],
    known: &mut Known,
    builder: &mut Builder,
    example: impl Fn() -> String,
) {
    let ad = match end {
        End::Whole => serde_json::from_slice::<Ad>(object).map_err(|_| "not JSON: left out"),
        End::Broken => Err("not JSON: left out"),
        End::TooLong => Err("an ad of more than 4 MiB: left out"),
    };
    match ad {
        Ok(ad) => ad.add(known, builder, example),
        Err(problem) => builder.notes.lose(problem, example),
    }
}

/// How an object ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Whole,
    Broken,
    TooLong,
}

/// Finds the objects of a list, or of lines.
#[derive(Debug)]
struct Scanner {
    object: Vec<u8>,
    is_too_long: bool,
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    is_broken: bool,
    /// White space since the line break; none after other text.
    indent: Option<usize>,
    /// That of the first object: another one with it begins an object, wherever it stands.
    first_indent: Option<usize>,
    /// The object before ended where the next one began.
    is_resumed: bool,
    open_lists: i64,
    has_stray_text: bool,
    in_stray_text: bool,
    /// Line breaks so far.
    line: u64,
    /// The line of the object's beginning.
    started_at: u64,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner {
            object: Vec::new(),
            is_too_long: false,
            depth: 0,
            in_string: false,
            is_escaped: false,
            is_broken: false,
            // The first line begins without a line break.
            indent: Some(0),
            first_indent: None,
            is_resumed: false,
            open_lists: 0,
            has_stray_text: false,
            in_stray_text: false,
            line: 0,
            started_at: 0,
        }
    }
}

impl Scanner {
    /// Reads on in `bytes`: how many are done, and how an object ended, if one did.
    fn scan(&mut self, bytes: &[u8]) -> (usize, Option<End>) {
        if std::mem::take(&mut self.is_resumed) {
            self.start();
            return (1, None);
        }
        let mut done = 0;
        while let Some((byte, _)) = bytes.get(done..).and_then(<[u8]>::split_first) {
            if self.depth == 0 {
                self.outside(*byte);
                done += 1;
                if self.depth > 0 {
                    return (done, None);
                }
                continue;
            }
            if self.begins_another(*byte) {
                // The brace stays for the next call.
                self.is_resumed = true;
                self.depth = 0;
                return (done, Some(End::Broken));
            }
            self.inside(*byte);
            done += 1;
            if self.depth == 0 {
                let end = match (self.is_too_long, self.is_broken) {
                    (true, _) => End::TooLong,
                    (_, true) => End::Broken,
                    _ => End::Whole,
                };
                return (done, Some(end));
            }
            let plain = self.plain(bytes.get(done..).unwrap_or_default());
            self.keep(plain);
            done += plain.len();
        }
        (bytes.len(), None)
    }

    /// The bytes of an object that come next and mean nothing here.
    fn plain<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let end = match self.in_string {
            _ if self.is_escaped || self.indent.is_some() => Some(0),
            true => memchr::memchr3(b'"', b'\\', b'\n', bytes),
            false => (bytes.iter()).position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'\n')),
        };
        end.and_then(|end| bytes.get(..end)).unwrap_or(bytes)
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.object.len() + bytes.len() <= AD_MAX {
            true => self.object.extend_from_slice(bytes),
            false => self.is_too_long = true,
        }
    }

    fn start(&mut self) {
        self.object.clear();
        self.object.push(b'{');
        (self.is_too_long, self.is_broken) = (false, false);
        (self.in_string, self.is_escaped) = (false, false);
        self.depth = 1;
        self.first_indent = self.first_indent.or(self.indent);
        self.indent = None;
        self.in_stray_text = false;
        self.started_at = self.line + 1;
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b'{' => return self.start(),
            b'[' => self.open_lists += 1,
            b']' => self.open_lists -= 1,
            b',' | b' ' | b'\t' | b'\r' | b'\n' => {}
            // The mark of UTF-8.
            0xef | 0xbb | 0xbf if self.line == 0 => return,
            _ if !self.in_stray_text => {
                (self.in_stray_text, self.has_stray_text) = (true, true);
            }
            _ => {}
        }
        self.count_indent(byte);
    }

    fn count_indent(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.line += 1;
                self.indent = Some(0);
            }
            b' ' | b'\t' => self.indent = self.indent.map(|indent| indent + 1),
            b'\r' => {}
            _ => self.indent = None,
        }
    }

    /// Whether a brace stands where only the first one of an object does: the end of this one is lost.
    fn begins_another(&self, byte: u8) -> bool {
        byte == b'{' && self.indent.is_some() && self.indent == self.first_indent && !self.in_string
    }

    fn inside(&mut self, byte: u8) {
        self.keep(&[byte]);
        if self.in_string {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                // JSON has no line break in a string: its end is lost.
                b'\n' => (self.in_string, self.is_broken) = (false, true),
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' => self.depth = self.depth.saturating_add(1),
                b'}' => self.depth -= 1,
                _ => {}
            }
        }
        if byte == b'\n' || self.indent.is_some() {
            self.count_indent(byte);
        }
    }
}

impl<'de> Deserialize<'de> for Ad {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ad, D::Error> {
        deserializer.deserialize_map(AdVisitor)
    }
}

struct AdVisitor;

impl<'de> Visitor<'de> for AdVisitor {
    type Value = Ad;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a job ad")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ad, A::Error> {
        let mut ad = Ad::default();
        while let Some(Key(attribute)) = map.next_key()? {
            match attribute {
                Some(attribute) => {
                    let JsonValue(value) = map.next_value()?;
                    ad.set(attribute, value);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    ad.pass();
                }
            }
        }
        Ok(ad)
    }
}

struct Key(Option<Attribute>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the name of an attribute")
            }
            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key(Attribute::named(name.as_bytes())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct JsonValue(Option<Value>);

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonValue, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = JsonValue;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonValue, E> {
        Ok(JsonValue(Some(Value::Other)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<JsonValue, E> {
        Ok(JsonValue(Some(Value::Number(number as f64))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<JsonValue, E> {
        Ok(JsonValue(Some(Value::Number(number as f64))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<JsonValue, E> {
        Ok(JsonValue(Some(Value::Number(number))))
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
        // How HTCondor writes expressions.
        Ok(JsonValue(Some(match text.strip_prefix("/Expr(") {
            Some(inner) => {
                let inner = inner.strip_suffix(")/").unwrap_or(inner);
                Value::Expression(inner.to_owned())
            }
            None => Value::Text(text.to_owned()),
        })))
    }

    /// `null` is how HTCondor writes `undefined`.
    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(JsonValue(Some(Value::Other)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonValue, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonValue(Some(Value::Other)))
    }
}
