//! What the project may have, and has: Nova's limits, and those of Neutron and Cinder for what a node takes of them.

use serde::Deserialize;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::{Request, percent_encoded};
use super::server_group::{self, ServerGroup};
use crate::deadline::Deadline;
use crate::scaling::observation::{PartsQuota, Quota, Usage};

/// The first version of Nova's API.
const FIRST: &str = "2.1";

/// -1 is unlimited.
fn usage(limit: i64, used: i64) -> Usage {
    Usage {
        limit: u64::try_from(limit).ok(),
        used: u64::try_from(used).unwrap_or(0),
    }
}

/// The project's limits and what is used of them.
pub fn quota(session: &Session, deadline: Deadline) -> Result<Quota, Error> {
    let request = Request::get().at(FIRST);
    let answer = session.send(Service::Compute, "/limits", &request, deadline)?;
    let LimitsBody { limits } = answer.json()?;
    let absolute = limits.absolute;
    Ok(Quota {
        instances: usage(absolute.max_total_instances, absolute.total_instances_used),
        cores: usage(absolute.max_total_cores, absolute.total_cores_used),
        ram_mb: usage(absolute.max_total_ram_size, absolute.total_ram_used),
    })
}

/// The limits of what each node of this cloud takes besides a server, cores and memory. Only what is used is asked for; what
/// the cloud does not tell limits nothing: a create is refused then.
pub fn parts(session: &Session, deadline: Deadline) -> Result<PartsQuota, Error> {
    let settings = session.settings();
    let takes = settings.takes();
    let mut parts = PartsQuota::default();
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
    let Some(answer) = where_told(answer)? else {
        return Ok(None);
    };
    let DetailsBody { quota } = answer.json()?;
    Ok(quota.port.map(|port| {
        let used = port.used.saturating_add(port.reserved);
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
    let Some(answer) = where_told(answer)? else {
        return Ok(None);
    };
    let VolumeLimitsBody { limits } = answer.json()?;
    let absolute = limits.absolute;
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
    let MembersBody { limits } = answer.json()?;
    Ok(Usage {
        limit: u64::try_from(limits.absolute.max_server_group_members).ok(),
        used: group.members,
    })
}

/// The answer of a service; nothing where the cloud does not have the service or this part of it, or not for us.
fn where_told<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(Error::NotInCatalog { .. }) => Ok(None),
        Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
        answer => answer.map(Some),
    }
}

#[derive(Deserialize)]
struct LimitsBody {
    limits: Limits,
}

#[derive(Deserialize)]
struct Limits {
    absolute: Absolute,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Absolute {
    max_total_instances: i64,
    max_total_cores: i64,
    #[serde(rename = "maxTotalRAMSize")]
    max_total_ram_size: i64,
    total_instances_used: i64,
    total_cores_used: i64,
    #[serde(rename = "totalRAMUsed")]
    total_ram_used: i64,
}

#[derive(Deserialize)]
struct MembersBody {
    limits: MembersLimits,
}

#[derive(Deserialize)]
struct MembersLimits {
    absolute: MembersAbsolute,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MembersAbsolute {
    #[serde(default = "unlimited")]
    max_server_group_members: i64,
}

fn unlimited() -> i64 {
    -1
}

#[derive(Deserialize)]
struct DetailsBody {
    quota: Details,
}

#[derive(Deserialize)]
struct Details {
    port: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    limit: i64,
    used: i64,
    #[serde(default)]
    reserved: i64,
}

#[derive(Deserialize)]
struct VolumeLimitsBody {
    limits: VolumeLimits,
}

#[derive(Deserialize)]
struct VolumeLimits {
    absolute: VolumeAbsolute,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeAbsolute {
    max_total_volumes: i64,
    total_volumes_used: i64,
    max_total_volume_gigabytes: i64,
    total_gigabytes_used: i64,
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    drop(serde_json::from_slice::<LimitsBody>(body));
    drop(serde_json::from_slice::<MembersBody>(body));
    drop(serde_json::from_slice::<DetailsBody>(body));
    drop(serde_json::from_slice::<VolumeLimitsBody>(body));
}
