//! Sends lines to InfluxDB: once, in the time that it is given.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use ureq::http::Uri;
use ureq::http::header::HeaderValue;

use crate::metrics::{InfluxLogin, InfluxSettings};
use system::http_client;

/// Of what InfluxDB says so much is shown.
const MAX_MESSAGE: usize = 200;

/// What it says is not read further.
const LARGEST_BODY: u64 = 64 * 1024;

/// Sends `lines`; the error says why they did not arrive, without a secret.
pub(super) fn send(
    settings: &InfluxSettings,
    lines: String,
    timeout: Duration,
) -> Result<(), String> {
    let agents = http_client::agents(timeout);
    let uri: Uri = settings
        .address
        .parse()
        .map_err(|error| format!("influxdb.url: {error}"))?;
    let route = agents.route(&uri)?;
    let mut request = route
        .agent
        .post(&settings.address)
        .header("Content-Type", "text/plain; charset=utf-8");
    if let Some(login) = &settings.login {
        request = request.header("Authorization", authorization(login)?);
    }
    let mut answer = request
        .send(lines)
        .map_err(|error| http_client::told(explained(&error, timeout), route.proxy))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer
        .body_mut()
        .with_config()
        .limit(LARGEST_BODY)
        .read_to_string()
        .unwrap_or_default();
    Err(refused(status.as_u16(), &body, settings))
}

fn explained(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!(
            "no answer within {} s (metrics.timeout)",
            timeout.as_secs_f64()
        ),
        error => error.to_string(),
    }
}

fn refused(status: u16, body: &str, settings: &InfluxSettings) -> String {
    let what_to_do = match status {
        300..=399 => ": it is somewhere else; give that address as influxdb.url",
        401 | 403 => {
            ": correct the user, the password or the token of influxdb in the configuration"
        }
        404 => ": there is no such database or bucket, or influxdb.url is another server's",
        _ => "",
    };
    let mut said: String = body
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let secret = settings.login.as_ref().map(|login| login.secret());
    let secret = secret.map_or("", |secret| secret.expose_secret());
    if !secret.is_empty() {
        said = said.replace(secret, "***");
    }
    let said: String = said.trim().chars().take(MAX_MESSAGE).collect();
    let said = if said.is_empty() {
        said
    } else {
        format!(" ({said})")
    };
    format!("answer {status}{what_to_do}{said}")
}

fn authorization(login: &InfluxLogin) -> Result<HeaderValue, String> {
    let value = match login {
        InfluxLogin::Password { username, password } => {
            let both = format!("{username}:{}", password.expose_secret());
            format!("Basic {}", STANDARD.encode(both))
        }
        InfluxLogin::Token(token) => format!("Token {}", token.expose_secret()),
    };
    // It does not say what is wrong with it, and it is a secret.
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| "the token has a character that no token has".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn what_it_says_is_shown_without_the_password() {
        let said = |password: &str| {
            let settings = InfluxSettings {
                address: "http://h/write".to_owned(),
                login: Some(InfluxLogin::Password {
                    username: "u".to_owned(),
                    password: SecretString::from(password),
                }),
            };
            refused(500, "no hush\n", &settings)
        };
        assert_eq!(said("hush"), "answer 500 (no ***)");
        assert_eq!(said(""), "answer 500 (no hush)");
    }
}
