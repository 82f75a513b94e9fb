//! What a request gets.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::request::Head;
use system::json;
use system::plain;

/// JSON.
pub const JSON: &str = "application/json; charset=utf-8";
/// Text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// An answer, as it can be sent several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Arc<[u8]>,
    /// What changes when the body does; none for an answer that is not worth keeping.
    pub etag: Option<String>,
    /// What else the head says: whole lines.
    pub head: String,
}

impl Answer {
    /// An answer with what was asked for.
    pub fn ok(content_type: &'static str, body: impl Into<Arc<[u8]>>) -> Answer {
        let mut body = body.into();
        // An older program wrote the history as it found it.
        if content_type == JSON
            && let Ok(text) = std::str::from_utf8(&body)
            && text.chars().any(|c| c != '\n' && plain::is_hostile(c))
        {
            body = plain::json(text).into_owned().into_bytes().into();
        }
        let digest = Sha256::digest(&body);
        let digest: String = digest
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Answer {
            status: 200,
            content_type,
            body,
            etag: Some(format!("\"{digest}\"")),
            head: String::new(),
        }
    }

    /// JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> io::Result<Answer> {
        Ok(Answer::ok(JSON, json::bytes(value)?))
    }

    fn not_kept(status: u16, content_type: &'static str, body: String) -> Answer {
        Answer {
            status,
            content_type,
            body: body.into_bytes().into(),
            etag: None,
            head: String::new(),
        }
    }

    /// A line of text.
    pub fn text(status: u16, text: &str) -> Answer {
        Answer::not_kept(status, TEXT, format!("{text}\n"))
    }

    /// An error as JSON.
    pub fn error(status: u16, text: &str) -> Answer {
        let body = serde_json::json!({ "error": text });
        Answer::not_kept(status, JSON, format!("{body}\n"))
    }

    /// The same with lines in its head.
    #[must_use]
    pub fn with_head(mut self, lines: &str) -> Answer {
        self.head += lines;
        self
    }

    /// Whether the client of this `If-None-Match` has it already. nginx weakens a tag when it compresses.
    fn is_known(&self, if_none_match: Option<&str>) -> bool {
        let known = if_none_match.zip(self.etag.as_deref());
        known.is_some_and(|(known, etag)| known == "*" || known.contains(etag))
    }

    /// The whole answer to a request, with these lines in its head too.
    pub fn bytes(&self, request: &Head, lines: &str) -> Vec<u8> {
        let is_known = self.is_known(request.if_none_match.as_deref());
        let status = if is_known { 304 } else { self.status };
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let mut text = format!("HTTP/1.1 {status} \r\nDate: {date}\r\n{lines}{}", self.head);
        if let Some(etag) = &self.etag {
            text += &format!("ETag: {etag}\r\n");
        }
        if !is_known {
            let (kind, length) = (self.content_type, self.body.len());
            text += &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n");
        }
        let mut bytes = (text + "\r\n").into_bytes();
        if !request.head_only && !is_known {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_there_already_is_known_by_its_tag() {
        let answer = Answer::ok(TEXT, *b"text");
        let tag = answer.etag.clone().unwrap();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".to_owned(),
        ] {
            assert!(answer.is_known(Some(&known)), "{known}");
        }
        assert!(!answer.is_known(Some("\"x\"")));
        assert!(!answer.is_known(None));
        assert_ne!(Answer::ok(TEXT, *b"other").etag, answer.etag);
        assert!(!Answer::text(503, "no").is_known(Some("*")));
    }
}
