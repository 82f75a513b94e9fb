//! Keystone: what it knows about the application credential that ehos uses.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};

use super::auth::Session;
use super::error::Error;
use super::http::Request;
use crate::{AuthMethod, NameOrId};
use system::deadline::Deadline;
use system::http_client::percent_encoded;

/// An application credential.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApplicationCredential {
    pub name: String,
    /// When it ends; `None`: never.
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<Timestamp>,
}

/// The application credential of this session; `None` when it uses a password, or when Keystone does not show it.
pub fn application_credential(
    session: &Session,
    deadline: Deadline,
) -> Result<Option<ApplicationCredential>, Error> {
    let AuthMethod::ApplicationCredential { credential, .. } = &session.settings().auth.method
    else {
        return Ok(None);
    };
    let Some(user) = session.token(deadline)?.user_id.clone() else {
        return Ok(None);
    };
    let all = format!("/users/{}/application_credentials", percent_encoded(&user));
    let ask = |path: &str| session.ask_keystone(path, &Request::get(), deadline);
    let answer = match credential {
        NameOrId::Id(id) => ask(&format!("{all}/{}", percent_encoded(id))),
        NameOrId::Name(name) => ask(&format!("{all}?name={}", percent_encoded(name))),
    };
    match (answer, credential) {
        (Ok(answer), NameOrId::Id(_)) => answer.field("application_credential").map(Some),
        (Ok(answer), NameOrId::Name(name)) => {
            let all: Vec<ApplicationCredential> =
                session.list(&answer, "application_credentials", "application credential")?;
            let mut found = all.into_iter();
            Ok(found.find(|credential| credential.name == *name))
        }
        // A restricted role, or an older Keystone.
        (Err(error), _) if matches!(error.status(), Some(403 | 404)) => Ok(None),
        (Err(error), _) => Err(error),
    }
}

/// A time of Keystone: in UTC, and mostly without saying so (`2026-11-29T12:00:00.000000`).
pub(super) fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Some(moment));
    }
    text.parse::<DateTime>()
        .and_then(|civil| civil.to_zoned(TimeZone::UTC))
        .map(|zoned| Some(zoned.timestamp()))
        .map_err(serde::de::Error::custom)
}
