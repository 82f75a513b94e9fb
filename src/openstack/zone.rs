//! Availability zones of Nova.

use serde::Deserialize;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use system::deadline::Deadline;

/// An availability zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    /// One of its hosts at least is up.
    pub available: bool,
}

/// All zones that servers can be in.
pub fn zones(session: &Session, deadline: Deadline) -> Result<Vec<Zone>, Error> {
    let answer = session.get(Service::Compute, "/os-availability-zone", deadline)?;
    let zones: Vec<WireZone> = session.list(&answer, "availabilityZoneInfo", "zone")?;
    Ok(zones
        .into_iter()
        .map(|zone| Zone {
            name: zone.name,
            available: zone.state.available,
        })
        .collect())
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
