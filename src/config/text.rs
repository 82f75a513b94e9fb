//! The text of a file as editors of all systems write it: with a byte order mark, in UTF-16, with blanks that look like spaces.

use std::path::Path;

use super::error::Diagnostic;
use system::advice::Advice;
use yaml::Place;

/// The text of the file, without a byte order mark.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Diagnostic> {
    let bytes = std::fs::read(path).map_err(|error| Diagnostic::unreadable(path, &error))?;
    decode(bytes).map_err(|(place, what)| Diagnostic {
        place,
        ..Diagnostic::of_file(path, what)
    })
}

fn decode(bytes: Vec<u8>) -> Result<String, (Option<Place>, Advice)> {
    if let Some(name) = other_encoding(&bytes) {
        return Err((
            None,
            (
                format!("is {name}, not UTF-8"),
                format!("save it as UTF-8, or convert it with iconv -f {name} -t UTF-8"),
            )
                .into(),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => rest.to_owned(),
            None => text,
        }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..valid).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let start = before.iter().rposition(|byte| *byte == b'\n');
            let start = start.map_or(0, |at| at + 1);
            let of_line = String::from_utf8_lossy(before.get(start..).unwrap_or_default());
            let column = of_line.chars().count() + 1;
            Err((
                Some(Place { line, column }),
                (
                    "is not UTF-8 here",
                    "save it as UTF-8, or convert it with iconv -f ISO-8859-1 -t UTF-8",
                )
                    .into(),
            ))
        }
    }
}

/// What editors of Windows begin a file with.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// UTF-16 and UTF-32, with a byte order mark or, as text begins with ASCII here, without one.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, _, 0, ..] | [0, _, 0, _, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// A blank that YAML takes for a letter, with its name.
fn odd_blank(c: char) -> Option<&'static str> {
    match c {
        '\u{a0}' | '\u{2007}' | '\u{202f}' => Some("a no-break space"),
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => Some("a character without width"),
        '\u{2000}'..='\u{2006}'
        | '\u{2008}'..='\u{200a}'
        | '\u{3000}'
        | '\u{1680}'
        | '\u{205f}' => Some("a blank that is no space"),
        _ => None,
    }
}

/// The first such blank of `line` outside a comment, in words.
pub(super) fn odd_blank_in(line: &str) -> Option<(usize, String)> {
    let code = match line.find(" #") {
        Some(comment) => line.get(..comment).unwrap_or(line),
        None if line.trim_start().starts_with('#') => "",
        None => line,
    };
    code.chars().enumerate().find_map(|(index, c)| {
        let name = odd_blank(c)?;
        Some((index + 1, format!("{name} (U+{:04X})", u32::from(c))))
    })
}

/// The first line of the text with such a blank: where, and which.
pub(super) fn first_odd_blank(text: &str) -> Option<(Place, String)> {
    text.lines().enumerate().find_map(|(index, line)| {
        let (column, name) = odd_blank_in(line)?;
        let line = index + 1;
        Some((Place { line, column }, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_left_out_and_other_encodings_are_named() {
        assert_eq!(decode(b"\xef\xbb\xbfa: 1".to_vec()).unwrap(), "a: 1");
        assert_eq!(decode("é: 1\r\n".into()).unwrap(), "é: 1\r\n");
        assert_eq!(decode(Vec::new()).unwrap(), "");
        for (bytes, said) in [
            (&b"\xff\xfea\0:\0"[..], "is UTF-16, not UTF-8"),
            (b"\xfe\xff\0a\0:", "is UTF-16, not UTF-8"),
            (b"a\0:\0 \0", "is UTF-16, not UTF-8"),
            (b"\xff\xfe\0\0a\0\0\0", "is UTF-32, not UTF-8"),
        ] {
            let (place, what) = decode(bytes.to_vec()).unwrap_err();
            assert!(place.is_none() && what.problem.starts_with(said), "{what}");
        }
        let (place, what) = decode(b"a: 1\nb: caf\xe9\n".to_vec()).unwrap_err();
        assert_eq!(place, Some(Place { line: 2, column: 7 }));
        assert!(what.problem.starts_with("is not UTF-8 here"), "{what}");
    }

    #[test]
    fn blanks_that_are_no_spaces_are_found_outside_comments() {
        let at = |text: &str| first_odd_blank(text).map(|(at, name)| (at.line, at.column, name));
        let nbsp = "a no-break space (U+00A0)".to_owned();
        assert_eq!(at("a: 1\n\u{a0}b: 2\n"), Some((2, 1, nbsp.clone())));
        assert_eq!(at("a:\u{a0}1 # x"), Some((1, 3, nbsp)));
        let nothing = "a character without width (U+200B)".to_owned();
        assert_eq!(at("a: b\u{200b}"), Some((1, 5, nothing)));
        assert_eq!(at("a: 1 # \u{a0}\n  #\u{a0}b\n"), None);
    }
}
