//! Answers to requests.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use system::plain;

/// JSON.
pub const JSON: &str = "application/json; charset=utf-8";
/// Text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// An answer, as it can be sent several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
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
            body = plain::json(text).into_bytes().into();
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

    /// A line of text.
    pub fn text(status: u16, text: &str) -> Answer {
        Answer {
            status,
            content_type: TEXT,
            body: format!("{text}\n").into_bytes().into(),
            etag: None,
            head: String::new(),
        }
    }

    /// A token is missing, or wrong.
    pub fn unauthorized(text: &str) -> Answer {
        Answer {
            head: "WWW-Authenticate: Bearer realm=\"ehos\"\r\n".to_owned(),
            ..Answer::text(401, text)
        }
    }

    /// The way to the page without the token in its address: the cookie has it from then on. The address is relative, for a
    /// web server may serve the page below a path of its own.
    pub fn with_cookie(name: &str, value: &str) -> Answer {
        Answer {
            head: format!(
                "Location: ./\r\nSet-Cookie: {name}={value}; HttpOnly; SameSite=Lax; Max-Age=31536000\r\n"
            ),
            ..Answer::text(303, "the page is at ./")
        }
    }

    /// An error as JSON.
    pub fn error(status: u16, text: &str) -> Answer {
        let body = serde_json::json!({ "error": text }).to_string() + "\n";
        Answer {
            status,
            content_type: JSON,
            body: body.into_bytes().into(),
            etag: None,
            head: String::new(),
        }
    }

    /// Whether the client of this `If-None-Match` has it already.
    pub fn is_known(&self, if_none_match: Option<&str>) -> bool {
        let (Some(etag), Some(known)) = (&self.etag, if_none_match) else {
            return false;
        };
        // nginx weakens them when it compresses.
        let same = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag;
        known.split(',').map(str::trim).any(same)
    }
}

/// What a status is called.
pub fn status_name(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
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
