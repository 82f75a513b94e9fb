//! Availability zones of Nova.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::Request;
use system::deadline::Deadline;

/// The first version of Nova's API.
const FIRST: &str = "2.1";

/// An availability zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// One of its hosts at least is up.
    pub available: bool,
}

/// All zones that servers can be in.
pub fn zones(session: &Session, deadline: Deadline) -> Result<Vec<Zone>, Error> {
    let request = Request::get().at(FIRST);
    let answer = session.send(
        Service::Compute,
        "/os-availability-zone",
        &request,
        deadline,
    )?;
    let ZonesBody { zones } = answer.json()?;
    let zones: Vec<WireZone> = session.read("zone", &zones);
    Ok(zones
        .into_iter()
        .map(|zone| Zone {
            name: zone.name,
            available: zone.state.available,
        })
        .collect())
}

#[derive(Deserialize)]
struct ZonesBody<'a> {
    #[serde(rename = "availabilityZoneInfo", borrow)]
    zones: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireZone {
    #[serde(rename = "zoneName")]
    name: String,
    #[serde(rename = "zoneState")]
    state: State,
}

#[derive(Deserialize)]
struct State {
    available: bool,
}
