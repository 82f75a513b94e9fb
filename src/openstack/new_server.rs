//! A new server, as Nova is asked for it.
//!
//! A create is sent once; again only after a 401 or a 403 of a policy, which come before Nova
//! handles it, and after the refusal of a kept look-up (`lookups.rs`). An older Nova (406) gets it
//! without `description`, then without `tags`. `boot_volume_type` needs 2.67.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use log::warn;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::auth::Session;
use super::catalog::Service;
use super::error::{Error, RequestKind};
use super::http::Request;
use system::deadline::Deadline;

/// The first version.
const FIRST: &str = "2.1";
/// What Nova answers when it does not have a microversion.
const NOT_ACCEPTABLE: u16 = 406;
/// `description` of a server.
const DESCRIPTION: &str = "2.19";
/// `tags` of a new server.
pub const TAGS: &str = "2.52";
/// `volume_type` of a volume that is made with it.
pub const VOLUME_TYPE: &str = "2.67";
/// The longest user data that Nova takes, in characters of base64 (`maxLength` of its schema).
const MAX_USER_DATA: usize = 65535;

/// A server that is to be made. All references are ids.
pub struct NewServer<'a> {
    pub name: &'a str,
    /// What the operators of the cloud see beside it.
    pub description: String,
    /// Flavor id.
    pub flavor: &'a str,
    /// Image id.
    pub image: &'a str,
    /// Network ids; none: the only network of the project.
    pub networks: &'a [String],
    /// Keypair.
    pub key: Option<&'a str>,
    /// Security group ids; none: the project's default.
    pub security_groups: &'a [String],
    pub availability_zone: Option<&'a str>,
    /// User data, as cloud-init is to see it.
    pub user_data: SecretString,
    pub metadata: BTreeMap<String, String>,
    /// A blank volume that goes with the server, in GiB.
    pub scratch_size_gb: Option<u64>,
    /// It boots from a volume that is made of the image and goes with the server.
    pub boot_volume: Option<BootVolume<'a>>,
    /// Id of its server group.
    pub server_group: Option<&'a str>,
    /// Its user data and metadata are on a drive, too.
    pub config_drive: bool,
    pub tags: &'a [String],
}

/// The volume that a server boots from.
#[derive(Debug, Clone, Copy)]
pub struct BootVolume<'a> {
    /// Its size in GiB.
    pub size_gb: u64,
    /// Its type; `None`: the cloud's default.
    pub volume_type: Option<&'a str>,
}

/// Asks for a server and returns its id. Sent once: after an error of unknown effect it may come yet.
pub fn create(session: &Session, server: &NewServer, deadline: Deadline) -> Result<String, Error> {
    let encoded = SecretString::from(BASE64.encode(server.user_data.expose_secret()));
    let characters = encoded.expose_secret().len();
    if characters > MAX_USER_DATA {
        return Err(Error::UserDataTooLong {
            cloud: session.settings().name.clone(),
            server: server.name.to_owned(),
            characters,
        });
    }
    let send = |version: Version| {
        let request = Request {
            method: Method::POST,
            kind: RequestKind::Once,
            microversion: Some(version.name()),
            body: Some(create_body(server, version, &encoded).to_string()),
            hidden: Some(&encoded),
        };
        session.send(Service::Compute, "/servers", &request, deadline)
    };
    let cloud = &session.settings().name;
    let wanted = version(server);
    // A version that Nova does not have is refused before it looks at the rest.
    let mut answer = send(wanted);
    for version in wanted.older() {
        if !matches!(&answer, Err(error) if error.status() == Some(NOT_ACCEPTABLE)) {
            break;
        }
        if wanted == Version::VolumeType {
            let problem = format!(
                "this Nova lacks microversion {}, which `boot_volume_type` needs",
                wanted.name()
            );
            let remedy = "remove `boot_volume_type` from the configuration of this cloud";
            return Err(Error::Misconfigured {
                cloud: cloud.clone(),
                advice: (problem, remedy).into(),
            });
        }
        if wanted >= Version::Tags && *version < Version::Tags {
            warn!(
                "cloud {cloud}: this Nova is too old for `tags` of servers ({TAGS}): server {} is created without them",
                server.name
            );
        }
        answer = send(*version);
    }
    let answer = answer?;
    answer.field("server").map(|server: Created| server.id)
}

/// Asks for a server of a flavor and an image that no cloud has: Nova looks at the rights before it looks for these
/// (`create` of `nova/api/openstack/compute/servers.py`), so this tells of the rights and creates nothing.
pub fn try_create(session: &Session, deadline: Deadline) -> Result<String, Error> {
    let nowhere = "00000000-0000-0000-0000-000000000000";
    let body = json!({ "server": {
        "name": "ehos-check", "flavorRef": nowhere, "imageRef": nowhere, "metadata": {},
        "networks": [{ "uuid": nowhere }],
    }});
    let kind = RequestKind::Once;
    let answer = session.post(Service::Compute, "/servers", kind, &body, deadline)?;
    answer.field("server").map(|server: Created| server.id)
}

fn create_body(server: &NewServer, version: Version, user_data: &SecretString) -> Value {
    let mut body = json!({
        "name": server.name,
        "flavorRef": server.flavor,
        "user_data": user_data.expose_secret(),
        "metadata": server.metadata,
    });
    let mut add = |key: &str, value: Value| {
        if let Some(fields) = body.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
    };
    if version >= Version::Description {
        add("description", json!(server.description));
    }
    // One that boots from a volume has its image there alone, and shows none.
    if server.boot_volume.is_none() {
        add("imageRef", json!(server.image));
    }
    if !server.networks.is_empty() {
        let networks = server.networks.iter().map(|id| json!({ "uuid": id }));
        add("networks", networks.collect());
    } else if version >= Version::Tags {
        // It must be said from 2.37 on.
        add("networks", json!("auto"));
    }
    if !server.security_groups.is_empty() {
        // Nova's "name" takes an id as well.
        let groups = server
            .security_groups
            .iter()
            .map(|id| json!({ "name": id }));
        add("security_groups", groups.collect());
    }
    if let Some(key) = server.key {
        add("key_name", json!(key));
    }
    if let Some(zone) = server.availability_zone {
        add("availability_zone", json!(zone));
    }
    if server.config_drive {
        add("config_drive", json!(true));
    }
    if !server.tags.is_empty() && version >= Version::Tags {
        add("tags", json!(server.tags));
    }
    let devices = block_devices(server);
    if !devices.is_empty() {
        add("block_device_mapping_v2", Value::Array(devices));
    }
    let mut request = json!({ "server": body });
    if let (Some(group), Some(fields)) = (server.server_group, request.as_object_mut()) {
        let hints = json!({ "group": group });
        fields.insert("os:scheduler_hints".to_owned(), hints);
    }
    request
}

/// Its disks, where it has others than the one that its flavor gives.
fn block_devices(server: &NewServer) -> Vec<Value> {
    let mut devices = Vec::new();
    if server.boot_volume.is_some() || server.scratch_size_gb.is_some() {
        let mut first = json!({
            "boot_index": 0,
            "uuid": server.image,
            "source_type": "image",
            "destination_type": "local",
            "delete_on_termination": true,
        });
        if let (Some(volume), Some(fields)) = (server.boot_volume, first.as_object_mut()) {
            fields.insert("destination_type".to_owned(), json!("volume"));
            fields.insert("volume_size".to_owned(), json!(volume.size_gb));
            if let Some(volume_type) = volume.volume_type {
                fields.insert("volume_type".to_owned(), json!(volume_type));
            }
        }
        devices.push(first);
    }
    if let Some(size_gb) = server.scratch_size_gb {
        devices.push(json!({
            "boot_index": -1,
            "source_type": "blank",
            "destination_type": "volume",
            "volume_size": size_gb,
            "delete_on_termination": true,
        }));
    }
    devices
}

/// The microversions that make a difference to a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    First,
    Description,
    Tags,
    VolumeType,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Version::First => FIRST,
            Version::Description => DESCRIPTION,
            Version::Tags => TAGS,
            Version::VolumeType => VOLUME_TYPE,
        }
    }

    /// Those before it, the newest first.
    fn older(self) -> &'static [Version] {
        match self {
            Version::First => &[],
            Version::Description => &[Version::First],
            Version::Tags | Version::VolumeType => &[Version::Description, Version::First],
        }
    }
}

/// The lowest that has what the server is to have.
fn version(server: &NewServer) -> Version {
    let typed = server
        .boot_volume
        .is_some_and(|volume| volume.volume_type.is_some());
    match server {
        _ if typed => Version::VolumeType,
        _ if !server.tags.is_empty() => Version::Tags,
        _ => Version::Description,
    }
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    drop(super::items::field::<Created>(body, "server"));
}
