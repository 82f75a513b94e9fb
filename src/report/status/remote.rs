//! Reads from the page of another host: the last tick (`URL/api/status`), and the history of a node (`URL/api/life/NAME`).

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderValue, Request};

use crate::TickReport;
use crate::history::life::{Life, VERSION as LIFE_VERSION};
use crate::tick_report::VERSION;
use system::http_client::{agents, percent_encoded, told};

/// One request, without a second attempt.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longer reports are not read.
const BYTES_MAX: u64 = 64 << 20;

/// A node that the page was asked for.
#[derive(Debug)]
pub enum RemoteNode {
    Found(Box<Life>),
    /// Its words about that.
    Missing(String),
}

/// The last tick that the page at `url` shows.
///
/// # Errors
/// The page does not answer, wants another token, or shows no tick; in a sentence with the remedy.
pub fn fetch(url: &str, token: Option<&str>) -> Result<TickReport, String> {
    let (status, body) = get(url, "api/status", token)?;
    match status {
        200 => {}
        404 | 503 => {
            return Err(format!(
                "{url}: answer {status}: no tick there; check the address"
            ));
        }
        _ => return Err(format!("{url}: answer {status}; check the address")),
    }
    let report = TickReport::read(&body)
        .map_err(|error| format!("{url}: no report of a tick: {error}; check the address"))?;
    newer(url, report.version, VERSION)?;
    Ok(report)
}

/// The history of the node of this name, as the page at `url` has it.
///
/// # Errors
/// The page does not answer, or wants another token; in a sentence with the remedy.
pub fn fetch_node(url: &str, token: Option<&str>, name: &str) -> Result<RemoteNode, String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let (status, body) = get(url, &format!("api/life/{}", percent_encoded(name)), token)?;
    match status {
        200 => {}
        400 | 404 => {
            let refusal = serde_json::from_slice::<Refusal>(&body);
            let words = refusal.map_or_else(|_| "check the address".to_owned(), |one| one.error);
            return Ok(RemoteNode::Missing(words));
        }
        _ => {
            return Err(format!(
                "{url}: answer {status} for the history of {name}; try again in a minute"
            ));
        }
    }
    let life: Life = serde_json::from_slice(&body)
        .map_err(|error| format!("{url}: no history of a node: {error}; check the address"))?;
    newer(url, life.version, LIFE_VERSION)?;
    Ok(RemoteNode::Found(Box::new(life)))
}

fn newer(url: &str, version: u32, known: u32) -> Result<(), String> {
    match version > known {
        true => Err(format!("{url}: a newer ehos; use the newer ehos here")),
        false => Ok(()),
    }
}

/// The answer of the page: its status, and its body.
fn get(url: &str, path: &str, token: Option<&str>) -> Result<(u16, Vec<u8>), String> {
    let address = format!("{}/{path}", url.trim_end_matches('/'));
    let mut request = Request::get(&address);
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        // The error would repeat nothing of it.
        let mut value = value.map_err(|_| "the token contains an invalid character".to_owned())?;
        value.set_sensitive(true);
        request = request.header("Authorization", value);
    }
    let request = request
        .body(())
        .map_err(|error| format!("{url}: {error}; give an address like http://localhost:5000"))?;
    let agents = agents(TIMEOUT);
    let route = agents.route(request.uri())?;
    let answer = route.agent.run(request);
    let mut answer = answer.map_err(|error| {
        let error = told(error.to_string(), route.proxy);
        format!("{url}: {error}; check the address and that `ehos frontend` runs there")
    })?;
    let status = answer.status().as_u16();
    if matches!(status, 401 | 403) {
        return Err(format!(
            "{url}: answer {status}: the page asks for a token; give --token-file FILE"
        ));
    }
    let body = answer
        .body_mut()
        .with_config()
        .limit(BYTES_MAX)
        .read_to_vec();
    let body = body.map_err(|error| format!("{url}: {error}"))?;
    Ok((status, body))
}
