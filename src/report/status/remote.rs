//! Reads the last tick from the page of another host: `URL/api/status`.

use std::time::Duration;

use ureq::http::{HeaderValue, Request};

use crate::TickReport;
use crate::tick_report::VERSION;
use system::http_client::{agents, told};

/// One request, without a second attempt.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longer reports are not read.
const BYTES_MAX: u64 = 64 << 20;

/// The last tick that the page at `url` shows.
///
/// # Errors
/// The page does not answer, wants another token, or shows no tick; in a sentence with the remedy.
pub fn fetch(url: &str, token: Option<&str>) -> Result<TickReport, String> {
    let address = format!("{}/api/status", url.trim_end_matches('/'));
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
    match status {
        200 => {}
        401 | 403 => {
            return Err(format!(
                "{url}: answer {status}: the page asks for a token; give --token-file FILE"
            ));
        }
        404 | 503 => {
            return Err(format!(
                "{url}: answer {status}: no tick there; check the address"
            ));
        }
        _ => return Err(format!("{url}: answer {status}; check the address")),
    }
    let body = answer
        .body_mut()
        .with_config()
        .limit(BYTES_MAX)
        .read_to_vec();
    let body = body.map_err(|error| format!("{url}: {error}"))?;
    let report = TickReport::read(&body)
        .map_err(|error| format!("{url}: no report of a tick: {error}; check the address"))?;
    if report.version > VERSION {
        return Err(format!("{url}: a newer ehos; use the newer ehos here"));
    }
    Ok(report)
}
