//! Scalars and lists as YAML that is read back as the same text.

use std::fmt::Write as _;

/// `text` as it stands alone or as the value of a key: plain where that is safe, else in double quotes as JSON has
/// them, which YAML understands.
pub fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// In double quotes. What YAML takes for the end of a line or does not take at all is written as JSON may have it.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a string cannot fail.
                _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A list on one line.
pub fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let item = |item: T| {
        let text = item.as_ref();
        // Between brackets a colon may end a plain scalar.
        if is_plain(text) && !text.contains(':') {
            text.to_owned()
        } else {
            quoted(text)
        }
    };
    let items: Vec<String> = items.into_iter().map(item).collect();
    format!("[{}]", items.join(", "))
}

/// Whether every YAML parser takes it for this text without quotes.
fn is_plain(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_./@:+ ".contains(c);
    let is_word = |word: &str| {
        [
            "null", "true", "false", "yes", "no", "on", "off", "y", "n", "none",
        ]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
    };
    // What looks like a number, a time or a date is none here.
    let is_number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        ["0x", "0o", "0b"]
            .iter()
            .any(|base| lower.starts_with(base))
            || (lower
                .chars()
                .all(|c| c.is_ascii_digit() || "+-.:_e".contains(c))
                && lower.matches('.').count() < 2)
    };
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with([' ', ':'])
        && text.chars().all(fine)
        && !text.contains(": ")
        && !is_word(text)
        && !is_number(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_where_it_is_safe() {
        for plain in [
            "m1.medium",
            "GOLD Debian 13",
            "https://a:5000/v3",
            "/etc/x",
            "10.0.0.10",
            "pool-00ff",
            "12b4b72ab6f54023985b3759c68da43d",
        ] {
            assert_eq!(scalar(plain), plain);
        }
        assert_eq!(scalar("0123"), "\"0123\"");
        assert_eq!(scalar("1e5"), "\"1e5\"");
        assert_eq!(scalar("null"), "\"null\"");
        assert_eq!(scalar("a: b"), "\"a: b\"");
        assert_eq!(scalar("a\"b"), "\"a\\\"b\"");
        assert_eq!(list(["a", "b:c"]), "[a, \"b:c\"]");
        assert_eq!(list::<&str>([]), "[]");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "([ -~]|[a-z0-9:. -]|é|\\n|\\t|😀|[\x07\x1b\x7f\u{85}\u{9f}\u{2028}\u{feff}\u{ffff}]){0,12}") {
            let key = format!("k: {}\n", scalar(&text));
            let read: serde_yaml::Value = serde_yaml::from_str(&key).unwrap();
            prop_assert_eq!(read["k"].as_str(), Some(text.as_str()), "{}", key);
            let key = format!("{}: 1\n", scalar(&text));
            let read: serde_yaml::Value = serde_yaml::from_str(&key).unwrap();
            prop_assert!(read.get(text.as_str()).is_some(), "{}", key);
            let key = format!("k: {}\n", list([&text]));
            let read: serde_yaml::Value = serde_yaml::from_str(&key).unwrap();
            prop_assert_eq!(read["k"][0].as_str(), Some(text.as_str()), "{}", key);
        }
    }
}
