//! What a service says when it says no, fit to be printed.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// The longest message that is repeated.
const LONGEST: usize = 200;
/// An unbroken word that is longer than any id, name or host is user data: Nova's schema errors echo it, in
/// base64, within whatever they complain about.
const MAX_WORD: usize = 64;

/// The words of a service in the body of a failure: Nova, Neutron and Keystone wrap them in JSON, each in its own
/// way, Glance in HTML.
pub fn of_service(body: &[u8], hidden: Option<&SecretString>) -> String {
    let found = match serde_json::from_slice::<Value>(body) {
        Ok(value) => in_json(&value),
        Err(_) => in_html(&String::from_utf8_lossy(body)),
    };
    let found = match hidden.map(ExposeSecret::expose_secret) {
        Some(secret) if !secret.is_empty() => found.replace(secret, "(cut)"),
        _ => found,
    };
    shorten(&without_long_words(&found))
}

/// `{"badRequest": {"message": …}}` and its like, or `{"message": …}`.
fn in_json(value: &Value) -> String {
    let message = |value: &Value| Some(value.get("message")?.as_str()?.to_owned());
    message(value)
        .or_else(|| value.as_object()?.values().find_map(message))
        .unwrap_or_default()
}

/// The title of a page, or the first words of a text.
fn in_html(text: &str) -> String {
    text.split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map_or(text, |(title, _)| title)
        .to_owned()
}

fn without_long_words(text: &str) -> String {
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
    let mut kept = String::new();
    for part in text.split_inclusive(|c: char| !base64(c)) {
        let word = part.trim_end_matches(|c: char| !base64(c));
        if word.len() > MAX_WORD {
            kept.push_str("(cut)");
            kept.push_str(part.get(word.len()..).unwrap_or_default());
        } else {
            kept.push_str(part);
        }
    }
    kept
}

/// The first 200 characters, on one line, without control characters.
pub fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    if line.chars().count() > LONGEST {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_is_cut_out() {
        let echoed = "I2Nsb3VkLWNvbmZpZwo=".repeat(300);
        let body = format!(
            r#"{{"badRequest": {{"code": 400, "message": "Invalid input for field/attribute user_data. Value: {echoed}. '{echoed}' is too long"}}}}"#
        );
        assert_eq!(
            of_service(body.as_bytes(), None),
            "Invalid input for field/attribute user_data. Value: (cut). '(cut)' is too long"
        );
        let secret = SecretString::from("c2hvcnQ=");
        assert_eq!(
            of_service(
                br#"{"badRequest": {"message": "'c2hvcnQ=' is bad"}}"#,
                Some(&secret)
            ),
            "'(cut)' is bad"
        );
    }

    #[test]
    fn messages_are_short_lines() {
        assert_eq!(shorten("a\u{1b}[1m\n  b"), "a[1m b");
        assert_eq!(shorten(&"ab ".repeat(200)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn html_and_other_shapes() {
        assert_eq!(
            of_service(
                b"<html>\n <head>\n  <title>404 Not Found</title>\n </head>",
                None
            ),
            "404 Not Found"
        );
        assert_eq!(
            of_service(br#"{"NeutronError": {"type": "X", "message": "Network n could not be found.", "detail": ""}}"#, None),
            "Network n could not be found."
        );
        assert_eq!(of_service(b"", None), "");
        assert_eq!(of_service(b"[1]", None), "");
    }
}
