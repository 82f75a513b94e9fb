//! JSON, read and written in one way: the code that reads a type is in the program once, and so is that which writes it.

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// JSON is written in pieces of this size: that of a tick with 10,000 nodes has 8 MB.
const PIECE: usize = 64 * 1024;

/// Reads a value from text, as `serde_json::from_slice` does from bytes: `from_str` would be another reader.
///
/// # Errors
/// It is no JSON, or not of this type.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    serde_json::from_slice(text.as_bytes())
}

/// Writes a value on one line, without a line break at its end.
///
/// # Errors
/// It cannot be written, or is no JSON (a map whose keys are no strings).
pub fn write(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    write_in(out, value, Layout::OneLine)
}

/// Writes a value for people, in lines.
///
/// # Errors
/// As [`write()`].
pub fn write_pretty(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    write_in(out, value, Layout::Lines(PrettyFormatter::new()))?;
    out.write_all(b"\n")
}

fn write_in(out: &mut dyn Write, value: &impl Serialize, layout: Layout) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE, out);
    value.serialize(&mut Serializer::with_formatter(&mut out, layout))?;
    out.flush()
}

/// Both forms as one type, so that each value has one writer.
enum Layout {
    OneLine,
    Lines(PrettyFormatter<'static>),
}

/// The parts in which the forms differ.
macro_rules! differ {
    ($($part:ident($($argument:ident: $kind:ty),*)),* $(,)?) => {$(
        #[inline]
        fn $part<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $kind)*) -> io::Result<()> {
            match self {
                Layout::OneLine => CompactFormatter.$part(writer $(, $argument)*),
                Layout::Lines(lines) => lines.$part(writer $(, $argument)*),
            }
        }
    )*};
}

impl Formatter for Layout {
    differ! {
        begin_array(),
        end_array(),
        begin_array_value(is_first: bool),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(is_first: bool),
        begin_object_value(),
        end_object_value(),
    }
}

/// A value on one line.
///
/// # Errors
/// It is no JSON.
pub fn bytes(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(&mut bytes, value)?;
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// It is no JSON.
pub fn text(value: &impl Serialize) -> io::Result<String> {
    String::from_utf8(bytes(value)?).map_err(io::Error::other)
}

/// A value for people, in lines.
///
/// # Errors
/// It is no JSON.
pub fn pretty(value: &impl Serialize) -> io::Result<String> {
    let mut bytes = Vec::new();
    write_pretty(&mut bytes, value)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_those_of_the_library() {
        let value = serde_json::json!({"name": "ü\n", "list": [1, null, {"a": {}}], "none": []});
        let one_line = serde_json::to_vec(&value).unwrap();
        assert_eq!(bytes(&value).unwrap(), one_line);
        let text = String::from_utf8(one_line).unwrap();
        assert_eq!(super::text(&value).unwrap(), text);
        assert_eq!(read::<serde_json::Value>(&text).unwrap(), value);
        let lines = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(pretty(&value).unwrap(), lines + "\n");
        let large = vec!["x".repeat(PIECE); 3];
        assert_eq!(bytes(&large).unwrap(), serde_json::to_vec(&large).unwrap());
        assert!(write(&mut &mut [0_u8; 5][..], &"longer").is_err());
    }
}
