//! What the project may have, and has: Nova's limits, and those of Neutron and Cinder for what a node takes of them.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::{Answer, Request};
use super::items;
use super::server_group::{self, ServerGroup};
use scaling::observation::{Quota, SecondaryQuota, Unread, Usage};
use system::deadline::Deadline;
use system::http_client::percent_encoded;
use system::json;

/// The first version of Nova's API.
const FIRST: &str = "2.1";

/// -1 is unlimited.
fn usage(limit: Count, used: Count) -> Usage {
    Usage {
        limit: u64::try_from(limit.0).ok(),
        used: u64::try_from(used.0).unwrap_or(0),
    }
}

/// A whole number, as a number or as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count(i64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Count, D::Error> {
        let value = Value::deserialize(from)?;
        let whole = match &value {
            Value::Number(number) => number.as_i64().or_else(|| match number.as_f64() {
                #[allow(clippy::cast_possible_truncation)] // `as` saturates.
                Some(real) if real.fract() == 0.0 => Some(real as i64),
                _ => None,
            }),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        whole
            .map(Count)
            .ok_or_else(|| D::Error::custom(format!("{value} is not a whole number")))
    }
}

/// The values under `limits.absolute` of an answer of Nova or Cinder, read as one thing.
fn absolute<T: DeserializeOwned>(
    session: &Session,
    whose: &str,
    answer: &Answer,
) -> Result<T, Error> {
    let limits: Limits<'_> = answer.field("limits")?;
    let text = limits.absolute.get();
    json::read(text).map_err(|error| Error::Unreadable {
        cloud: session.settings().name.clone(),
        unread: Unread {
            item: format!("quota of {whose}"),
            why: items::why(text, &error),
        },
    })
}

/// The project's limits and what is used of them.
pub fn quota(session: &Session, deadline: Deadline) -> Result<Quota, Error> {
    let request = Request::get().at(FIRST);
    let answer = session.send(Service::Compute, "/limits", &request, deadline)?;
    let absolute: Absolute = absolute(session, "Nova", &answer)?;
    Ok(Quota {
        instances: usage(absolute.max_total_instances, absolute.total_instances_used),
        cores: usage(absolute.max_total_cores, absolute.total_cores_used),
        ram_mb: usage(absolute.max_total_ram_size, absolute.total_ram_used),
    })
}

/// The limits of what each node of this cloud takes besides a server, cores and memory. Only what is used is asked for; what
/// the cloud does not tell limits nothing: a create is refused then.
pub fn parts(session: &Session, deadline: Deadline) -> Result<SecondaryQuota, Error> {
    let settings = session.settings();
    let takes = settings.takes();
    let mut parts = SecondaryQuota::default();
    if takes.ports > 0 {
        parts.ports = ports(session, deadline)?.unwrap_or_default();
    }
    if takes.volumes > 0
        && let Some(volumes) = volumes(session, deadline)?
    {
        parts.volumes = volumes.count;
        parts.volume_gb = volumes.size_gb;
    }
    if let Some(wanted) = &settings.server_group {
        let group = server_group::find(session, wanted, deadline)?;
        parts.server_group_members = members(session, &group, deadline)?;
    }
    Ok(parts)
}

/// Ports, where Neutron tells (its extension `quota_details`).
pub fn ports(session: &Session, deadline: Deadline) -> Result<Option<Usage>, Error> {
    let token = session.token(deadline)?;
    let Some(project) = &token.project_id else {
        return Ok(None);
    };
    let path = format!("/quotas/{}/details", percent_encoded(project));
    let answer = session.send(Service::Network, &path, &Request::get(), deadline);
    let Some(answer) = where_told(session, "quota of ports", answer)? else {
        return Ok(None);
    };
    let quota: Details = answer.field("quota")?;
    Ok(quota.port.map(|port| {
        let used = Count(port.used.0.saturating_add(port.reserved.0));
        usage(port.limit, used)
    }))
}

/// Volumes and their sizes.
pub struct VolumesQuota {
    /// How many.
    pub count: Usage,
    /// In GiB.
    pub size_gb: Usage,
}

/// Volumes, where there is a Cinder that tells.
pub fn volumes(session: &Session, deadline: Deadline) -> Result<Option<VolumesQuota>, Error> {
    let answer = session.send(Service::Volume, "/limits", &Request::get(), deadline);
    let Some(answer) = where_told(session, "quota of volumes", answer)? else {
        return Ok(None);
    };
    let absolute: VolumeAbsolute = absolute(session, "Cinder", &answer)?;
    Ok(Some(VolumesQuota {
        count: usage(absolute.max_total_volumes, absolute.total_volumes_used),
        size_gb: usage(
            absolute.max_total_volume_gigabytes,
            absolute.total_gigabytes_used,
        ),
    }))
}

/// Members of a server group.
pub fn members(session: &Session, group: &ServerGroup, deadline: Deadline) -> Result<Usage, Error> {
    let request = Request::get().at(FIRST);
    let answer = session.send(Service::Compute, "/limits", &request, deadline)?;
    let absolute: MembersAbsolute = absolute(session, "Nova", &answer)?;
    Ok(Usage {
        limit: u64::try_from(absolute.max_server_group_members.0).ok(),
        used: group.members,
    })
}

/// The answer of a service; nothing where the cloud does not have the service or this part of it, or not for us. A request
/// that the access rules of an application credential do not have is told.
fn where_told<T>(
    session: &Session,
    what: &str,
    answer: Result<T, Error>,
) -> Result<Option<T>, Error> {
    match answer {
        Err(Error::Refused(refusal)) if refusal.status == 401 => {
            session.tell([&Unread {
                item: what.to_owned(),
                why: Error::Refused(refusal).advice().to_string(),
            }]);
            Ok(None)
        }
        Err(Error::NotInCatalog { .. }) => Ok(None),
        Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
        answer => answer.map(Some),
    }
}

#[derive(Deserialize)]
struct Limits<'a> {
    #[serde(borrow)]
    absolute: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Absolute {
    max_total_instances: Count,
    max_total_cores: Count,
    #[serde(rename = "maxTotalRAMSize")]
    max_total_ram_size: Count,
    total_instances_used: Count,
    total_cores_used: Count,
    #[serde(rename = "totalRAMUsed")]
    total_ram_used: Count,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MembersAbsolute {
    #[serde(default = "unlimited")]
    max_server_group_members: Count,
}

fn unlimited() -> Count {
    Count(-1)
}

#[derive(Deserialize)]
struct Details {
    port: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    limit: Count,
    used: Count,
    #[serde(default)]
    reserved: Count,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeAbsolute {
    max_total_volumes: Count,
    total_volumes_used: Count,
    max_total_volume_gigabytes: Count,
    total_gigabytes_used: Count,
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    use super::items;
    drop(items::field::<Limits<'_>>(body, "limits"));
    drop(serde_json::from_slice::<Absolute>(body));
    drop(serde_json::from_slice::<VolumeAbsolute>(body));
    drop(serde_json::from_slice::<MembersAbsolute>(body));
    drop(items::field::<Details>(body, "quota"));
}
