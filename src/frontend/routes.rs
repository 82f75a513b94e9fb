//! Which path gets what. No path is ever looked for on disk.

use std::io;

use jiff::Timestamp;
use log::warn;

use super::answer::{Answer, JSON};
use super::decisions::LIMIT;
use super::history::History;
use super::page;
use super::request::{Head, decoded};
use super::series::Range;
use super::token::{COOKIE, Shown, Token};
use report::metrics::prometheus;
use report::problem::{age_seconds, clock};

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Decisions, when nothing is said.
const DECISIONS: usize = 100;

/// What is served.
#[derive(Debug)]
pub struct Router {
    history: History,
    token: Option<Token>,
}

impl Router {
    /// A page of this history.
    pub fn new(history: History) -> Router {
        Router {
            history,
            token: None,
        }
    }

    /// The same, for who has the token. The files of the program and the age of the last tick are for all.
    #[must_use]
    pub fn asking_for(mut self, token: Option<Token>) -> Router {
        self.token = token;
        self
    }

    /// What a request without the token gets; `None`: it may be answered.
    fn refused(&self, head: &Head) -> Option<Answer> {
        let token = self.token.as_ref()?;
        match token.shown_by(head) {
            Shown::Header => None,
            // The address is relative: a web server may serve the page below a path of its own.
            Shown::Address if head.path == "/" => Some(
                Answer::text(303, "the page is at ./").with_head(&format!(
                    "Location: ./\r\nSet-Cookie: {COOKIE}={}; HttpOnly; SameSite=Lax; Max-Age=31536000\r\n",
                    token.expose()
                )),
            ),
            Shown::Address => None,
            Shown::Nothing => Some(
                Answer::text(
                    401,
                    "this page asks for a token: open the address that `ehos frontend --url` prints (the service: sudo -u \
                     ehos ehos frontend --url --state-dir /var/lib/ehos)",
                )
                .with_head("WWW-Authenticate: Bearer realm=\"ehos\"\r\n"),
            ),
        }
    }

    /// The answer to a request.
    pub fn answer(&self, head: &Head) -> Answer {
        let is_open =
            head.path == "/healthz" || (head.path != "/" && page::file(&head.path).is_some());
        if !is_open && let Some(refusal) = self.refused(head) {
            return refusal;
        }
        if let Some(file) = page::file(&head.path) {
            return file;
        }
        let history = &self.history;
        let answer = match head.path.as_str() {
            "/healthz" => Ok(self.health()),
            "/metrics" => self.metrics(),
            "/api/status" => history.status(),
            "/api/page" => history.page(),
            "/api/series" => self.series(head),
            "/api/costs" => history.costs(),
            "/api/decisions" => self.decisions(head),
            path if path.starts_with("/api/life/") => {
                let name = path.strip_prefix("/api/life/").and_then(decoded);
                match name {
                    Some(name) => history.life(&name),
                    None => Ok(Answer::error(400, "the name of the node cannot be read")),
                }
            }
            path => match path.strip_prefix("/api/node/").map(decoded) {
                Some(Some(name)) => history.node(&name),
                Some(None) => Ok(Answer::error(400, "the name of the node cannot be read")),
                None if path.starts_with("/api/") => {
                    let known = "there are /api/status, /api/page, /api/series, /api/costs, /api/decisions, /api/node/NAME and /api/life/NAME";
                    Ok(Answer::error(404, known))
                }
                None => Ok(Answer::text(404, "there is nothing here; the page is at /")),
            },
        };
        answer.unwrap_or_else(|error| {
            let folder = history.folder().display();
            warn!("the history in {folder} cannot be read: {error}");
            Answer::error(503, &format!("the history cannot be read: {error}"))
        })
    }

    fn series(&self, head: &Head) -> io::Result<Answer> {
        let range = match head.parameter("range") {
            Ok(name) => Range::of(name.as_deref().unwrap_or("24h")),
            Err(_) => None,
        };
        match range {
            Some(range) => self.history.series(range),
            None => Ok(Answer::error(400, "range is 1h, 24h, 7d or 30d")),
        }
    }

    fn decisions(&self, head: &Head) -> io::Result<Answer> {
        let limit = match head.parameter("limit") {
            Ok(None) => Some(DECISIONS),
            Ok(Some(text)) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT).contains(limit)),
            Err(_) => None,
        };
        let Some(limit) = limit else {
            let text = format!("limit is a number from 1 to {LIMIT}");
            return Ok(Answer::error(400, &text));
        };
        let before = match head.parameter("before") {
            Ok(None) => Some(None),
            Ok(Some(text)) => text.parse::<Timestamp>().ok().map(Some),
            Err(_) => None,
        };
        match before {
            Some(before) => self.history.decisions(limit, before),
            None => Ok(Answer::error(
                400,
                "before is a time like 2026-01-31T12:00:00Z",
            )),
        }
    }

    fn metrics(&self) -> io::Result<Answer> {
        Ok(match self.history.last()? {
            Some(last) => {
                let text = prometheus::text(&last.snapshot);
                Answer::ok(METRICS, text.into_bytes())
            }
            None => Answer::text(503, "no tick yet"),
        })
    }

    fn health(&self) -> Answer {
        let last = match self.history.last() {
            Ok(Some(last)) => last,
            Ok(None) => return Answer::text(503, "no tick yet"),
            Err(error) => {
                return Answer::text(503, &format!("the last tick cannot be read: {error}"));
            }
        };
        let now = self.history.now();
        let age = age_seconds(&last.snapshot, now);
        match clock(&last.snapshot, now) {
            None => Answer::text(200, &format!("ok, the last tick was {age} s ago")),
            Some(problem) => Answer::text(503, &problem.text),
        }
    }

    /// All that the page shows, as one JSON object.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn all(&self) -> io::Result<Answer> {
        let written = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let mut text = format!("{{\"written\":\"{written}\",\"page\":").into_bytes();
        text.extend_from_slice(&self.history.page()?.body);
        text.extend_from_slice(b",\"series\":{");
        for (number, range) in Range::ALL.into_iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            text.extend_from_slice(format!("{comma}\"{}\":", range.name()).as_bytes());
            text.extend_from_slice(&self.history.series(range)?.body);
        }
        text.extend_from_slice(b"},\"costs\":");
        text.extend_from_slice(&self.history.costs()?.body);
        text.extend_from_slice(b",\"decisions\":");
        text.extend_from_slice(&self.history.decisions(DECISIONS, None)?.body);
        text.push(b'}');
        Ok(Answer::ok(JSON, text))
    }
}
