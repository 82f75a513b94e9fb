//! The lines of an `-af:t` answer: values with tabs between them.
//!
//! Jobs and machines can put what they like into their ads. So that no value can hold a tab or a line break and tear
//! a line apart, tools are asked for strings as `unparse(X)`, which is quoted and escaped, and for numbers as
//! `int(X)` or the like, which is a number, `undefined` or `error`.

use std::borrow::Cow;
use std::time::Duration;

/// The values of one line.
pub fn columns(line: &str) -> Vec<&str> {
    let mut columns = Vec::with_capacity(32);
    let mut start = 0;
    // Values are short: to begin a search with wide registers for each costs more than to look at every byte.
    for (at, byte) in line.bytes().enumerate() {
        if byte == b'\t' {
            columns.push(line.get(start..at).unwrap_or_default());
            start = at + 1;
        }
    }
    columns.push(line.get(start..).unwrap_or_default());
    columns
}

/// The `N` values of one line.
pub fn values<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let values = columns(line);
    let count = values.len();
    values.try_into().map_err(|_| {
        format!(
            "a line with {count} values instead of {N}: {}",
            excerpt(line)
        )
    })
}

/// A whole number; `None` for `undefined`, `error` and all else.
pub fn integer(value: &str) -> Option<i64> {
    value.parse().ok()
}

/// A number that is not below zero; `None` for `undefined`, `error` and all else, and for more than any machine has
/// (an ad may claim anything, and amounts are added up).
pub fn amount(value: &str) -> Option<u64> {
    value.parse().ok().filter(|amount| *amount <= 1 << 50)
}

/// The string that `unparse` has written; `None` for an attribute that is absent, an expression or no string.
pub fn string(value: &str) -> Option<String> {
    text(value).map(Cow::into_owned)
}

/// The same, borrowed from the line if nothing in it is escaped.
pub fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = match value.as_bytes() {
        [b'"', .., b'"'] => value.get(1..value.len() - 1)?,
        _ => return None,
    };
    if !inner.bytes().any(|byte| matches!(byte, b'"' | b'\\')) {
        return Some(Cow::Borrowed(inner));
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'"' {
            // More than one literal: an expression.
            return None;
        }
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            first @ b'0'..=b'7' => {
                let mut code = u32::from(first - b'0');
                for _ in 0..2 {
                    match rest.peek() {
                        Some(digit @ b'0'..=b'7') => {
                            code = code * 8 + u32::from(digit - b'0');
                            rest.next();
                        }
                        _ => break,
                    }
                }
                u8::try_from(code).ok()?
            }
            other => other,
        });
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What a tool is asked for a string of an ad with (`-af:tV`): whatever the ad has there, the answer is one line of at most
/// a few thousand bytes. It is `undefined` where there is none, and `error` where there is no string or a longer one. `V` puts
/// the value into quotes and escapes these alone: control characters and backslashes become spaces.
pub fn short_string(attribute: &str) -> String {
    let clean = format!(r#"replaceAll("[[:cntrl:]\\\\]", {attribute}, " ")"#);
    format!(
        "ifThenElse(isString({attribute}), ifThenElse(size({attribute}) <= 2048, {clean}, error), \
         ifThenElse(isUndefined({attribute}), undefined, error))"
    )
}

/// An attribute is there, and is no string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoString;

/// The answer to [`short_string`]; nothing where the attribute is absent.
///
/// # Errors
/// It is no string.
pub fn readable_text(value: &str) -> Result<Option<Cow<'_, str>>, NoString> {
    match value {
        // As fixtures of `unparse` have it.
        "undefined" | "" => Ok(None),
        value => text(value).map(Some).ok_or(NoString),
    }
}

/// `text` as a string in a ClassAd expression.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// The beginning of a line, for an error.
pub fn excerpt(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_control() || *c == '\t')
        .take(120)
        .collect()
}

/// How long before `now` something was; nothing for the future, and for the never.
pub fn since(now: i64, then: i64) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_has_as_many_values_as_were_asked_for() {
        assert_eq!(values("1\tundefined\t"), Ok(["1", "undefined", ""]));
        let wrong = values::<2>("1\t2\t3").unwrap_err();
        assert!(wrong.contains("3 values instead of 2"), "{wrong}");
    }

    #[test]
    fn numbers_are_numbers_or_nothing() {
        assert_eq!(integer("-5"), Some(-5));
        assert_eq!(amount("-5"), None);
        assert_eq!(amount("3001"), Some(3001));
        assert_eq!(amount("9223372036854775807"), None);
        for other in ["undefined", "error", "", "1.5", "1e300", "true"] {
            assert_eq!(integer(other), None, "{other}");
        }
    }

    #[test]
    fn strings_come_back_as_the_ad_has_them() {
        // As condor_status of 23.9.6 printed unparse(DrainReason).
        assert_eq!(
            string(r#""ehos: \"a\"\ttab\nnew\\line \303\251""#).as_deref(),
            Some("ehos: \"a\"\ttab\nnew\\line é")
        );
        assert_eq!(string(""), None);
        assert_eq!(string("undefined"), None);
        assert_eq!(string(r#"strcat("a", "b")"#), None);
        assert_eq!(string(r#""a" + "b""#), None);
    }

    proptest! {
        #[test]
        fn garbage_is_never_worse_than_nothing(text in ".*") {
            let _ = (values::<3>(&text), integer(&text), amount(&text), string(&text), excerpt(&text));
        }

        #[test]
        fn what_is_quoted_is_read_back(text in "[^\\p{C}]*") {
            prop_assert_eq!(string(&quoted(&text)), Some(text));
        }
    }
}
