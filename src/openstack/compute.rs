//! Nova: servers, flavors, keypairs.
//!
//! Each request names the lowest microversion that has what it needs. Lists stay far below 2.96, from which on
//! Nova 31 answers 500 while a server of the project is over quota.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::Method;

use super::auth::Session;
use super::catalog::Service;
use super::error::{Call, Error, Kind};
use super::http::{Answer, Request, percent_encoded};
pub use super::limits::quota;
use super::message;
pub use super::new_server::{BootVolume, NewServer, create};
use crate::deadline::Deadline;
use crate::scaling::action::Done;
use crate::scaling::observation::{AttachedVolume, Flavor, ServerRecord, ServerStatus};

/// The first version: lists, limits, flavors, keypairs, console.
const FIRST: &str = "2.1";
/// Lists that say which servers are in a cell that is down ("Handling Down Cells" in Nova's API guide).
const DOWN_CELLS: &str = "2.69";
/// `extra_specs` in the list of flavors.
const EXTRA_SPECS: &str = "2.61";
/// What Nova answers when it does not have a microversion.
const NOT_ACCEPTABLE: u16 = 406;
/// From here on the answer to createImage has the image's id in its body; before, in a header of a form of its own.
const IMAGE_ID_IN_BODY: &str = "2.45";

/// A flavor and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFlavor {
    /// Its name.
    pub name: String,
    /// Its root disk alone in GiB, which an image's `min_disk` is about; 0: as large as the image.
    pub root_disk_gb: u64,
    /// The rest.
    pub flavor: Flavor,
}

/// All servers of the project, whoever made them: every page, or an error. An error too when a cell of the cloud is
/// down: Nova then lists what it has of its servers (from 2.69 on), or keeps silent about them (an older Nova, where
/// nothing can be done about it).
pub fn servers(session: &Session, deadline: Deadline) -> Result<Vec<ServerRecord>, Error> {
    match servers_at(session, DOWN_CELLS, deadline) {
        Err(error) if error.status() == Some(NOT_ACCEPTABLE) => {
            servers_at(session, FIRST, deadline)
        }
        answer => answer,
    }
}

fn servers_at(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<Vec<ServerRecord>, Error> {
    let mut records: BTreeMap<String, ServerRecord> = BTreeMap::new();
    let mut without_details = 0;
    let call = each_page(
        session,
        "/servers/detail",
        microversion,
        deadline,
        |page: ServersPage, answer| {
            // A server's age is a matter of the clock that stamped it.
            let now = answer.date.unwrap_or_else(local_now);
            for server in page.servers {
                if server.metadata.is_none() {
                    without_details += 1;
                }
                let record = server.record(now);
                records.insert(record.id.clone(), record);
            }
            page.servers_links
        },
    )?;
    if without_details > 0 {
        return Err(Error::CellDown {
            call,
            servers: without_details,
        });
    }
    Ok(records.into_values().collect())
}

/// How many servers of the project, whoever made them, boot from which image (its id): every page, or an error. A server
/// that boots from a volume needs no image any more.
pub fn images_in_use(
    session: &Session,
    deadline: Deadline,
) -> Result<BTreeMap<String, u64>, Error> {
    match images_in_use_at(session, DOWN_CELLS, deadline) {
        Err(error) if error.status() == Some(NOT_ACCEPTABLE) => {
            images_in_use_at(session, FIRST, deadline)
        }
        answer => answer,
    }
}

fn images_in_use_at(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<BTreeMap<String, u64>, Error> {
    let mut servers: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut without_details = 0;
    let call = each_page(
        session,
        "/servers/detail",
        microversion,
        deadline,
        |page: BootedPage, _| {
            for server in page.servers {
                match server.image {
                    Some(image) => {
                        servers.insert(server.id, image_id(&image));
                    }
                    None => without_details += 1,
                }
            }
            page.servers_links
        },
    )?;
    if without_details > 0 {
        return Err(Error::CellDown {
            call,
            servers: without_details,
        });
    }
    let mut images = BTreeMap::new();
    for image in servers.into_values().flatten() {
        *images.entry(image).or_insert(0) += 1;
    }
    Ok(images)
}

/// The id of a server's image; one that boots from a volume has an empty string there.
fn image_id(image: &Value) -> Option<String> {
    image.get("id").and_then(Value::as_str).map(str::to_owned)
}

/// Why a server is in ERROR, by its id. The list does not say so of a server that never got a host ("No valid host
/// was found"): Nova looks for the faults of a list in one cell's database, and such a server is in another (cell0).
pub fn fault(session: &Session, id: &str, deadline: Deadline) -> Result<Option<String>, Error> {
    let request = Request::get().at(FIRST);
    let path = format!("/servers/{id}");
    let answer = session.send(Service::Compute, &path, &request, deadline)?;
    let ShownBody { server } = answer.json()?;
    Ok(server.fault.map(|fault| message::shorten(&fault.message)))
}

/// Deletes a server. One that is gone already is no error.
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<Done, Error> {
    let path = format!("/servers/{id}");
    let request = Request::delete().at(FIRST);
    match session.send(Service::Compute, &path, &request, deadline) {
        Ok(_) => Ok(Done::Accepted),
        Err(error) if error.status() == Some(404) => Ok(Done::AlreadyGone),
        Err(error) => Err(error),
    }
}

/// The last `lines` lines of a server's console, without control characters.
pub fn console(
    session: &Session,
    id: &str,
    lines: usize,
    deadline: Deadline,
) -> Result<String, Error> {
    let body = json!({ "os-getConsoleOutput": { "length": lines } }).to_string();
    let answer = session.send(
        Service::Compute,
        &format!("/servers/{id}/action"),
        &Request::read_by_post(body).at(FIRST),
        deadline,
    )?;
    let ConsoleBody { output } = answer.json()?;
    let kept: Vec<String> = output
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect())
        .collect();
    // Not every driver heeds the length.
    let first = kept.len().saturating_sub(lines);
    Ok(kept.get(first..).unwrap_or_default().join("\n"))
}

/// All flavors that the project may use.
pub fn flavors(session: &Session, deadline: Deadline) -> Result<Vec<NamedFlavor>, Error> {
    match flavors_at(session, EXTRA_SPECS, deadline) {
        Err(error) if error.status() == Some(NOT_ACCEPTABLE) => {
            flavors_at(session, FIRST, deadline)
        }
        answer => answer,
    }
}

fn flavors_at(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<Vec<NamedFlavor>, Error> {
    let mut flavors = Vec::new();
    each_page(
        session,
        "/flavors/detail",
        microversion,
        deadline,
        |page: FlavorsPage, _| {
            flavors.extend(page.flavors.into_iter().map(|wire| NamedFlavor {
                name: wire.name,
                root_disk_gb: wire.disk,
                flavor: Flavor {
                    id: wire.id,
                    vcpus: wire.vcpus,
                    ram_mb: wire.ram,
                    disk_gb: wire.disk + wire.ephemeral,
                    gpus: gpus(&wire.extra_specs),
                },
            }));
            page.flavors_links
        },
    )?;
    Ok(flavors)
}

/// A keypair of the user; keypairs belong to users, not to projects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Keypair {
    /// Its name.
    pub name: String,
    /// MD5 of the public key, as Nova writes it.
    #[serde(default)]
    pub fingerprint: String,
    /// The public key, as `authorized_keys` has it.
    #[serde(default)]
    pub public_key: String,
}

/// The user's keypairs: those that the API shows. Keys that were added in a dashboard may be missing.
pub fn keypairs(session: &Session, deadline: Deadline) -> Result<Vec<Keypair>, Error> {
    let request = Request::get().at(FIRST);
    let answer = session.send(Service::Compute, "/os-keypairs", &request, deadline)?;
    let KeypairsBody { keypairs } = answer.json()?;
    Ok(keypairs.into_iter().map(|entry| entry.keypair).collect())
}

/// Adds a public key (`authorized_keys` form) under `name`. A name that is taken is refused with 409.
pub fn import_keypair(
    session: &Session,
    name: &str,
    public_key: &str,
    deadline: Deadline,
) -> Result<Keypair, Error> {
    let body = json!({ "keypair": { "name": name, "public_key": public_key } });
    let request = Request {
        method: Method::POST,
        kind: Kind::Once,
        body: Some(body.to_string()),
        ..Request::get()
    }
    .at(FIRST);
    let answer = session.send(Service::Compute, "/os-keypairs", &request, deadline)?;
    let KeypairEntry { keypair } = answer.json()?;
    Ok(keypair)
}

/// Deletes a keypair. One that is gone already is no error.
pub fn delete_keypair(session: &Session, name: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/os-keypairs/{}", percent_encoded(name));
    let request = Request::delete().at(FIRST);
    match session.send(Service::Compute, &path, &request, deadline) {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A server by its id, in more detail than lists of them are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDetails {
    /// What lists say too.
    pub record: ServerRecord,
    /// What Nova is doing with it (`OS-EXT-STS:task_state`): while it is something, another action is refused (409).
    pub task_state: Option<String>,
    /// The id of its image; `None` when it boots from a volume.
    pub image_id: Option<String>,
    /// Its keypair.
    pub key: Option<String>,
    /// Its addresses, in no order.
    pub addresses: Vec<Address>,
}

/// An address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The network's name.
    pub network: String,
    /// The address.
    pub address: String,
    /// 4 or 6.
    pub version: u8,
    /// It is a floating IP: it leads here from outside.
    pub floating: bool,
}

/// The server of this id; `None` when it is gone.
pub fn server(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<ServerDetails>, Error> {
    let request = Request::get().at(FIRST);
    let path = format!("/servers/{id}");
    let answer = match session.send(Service::Compute, &path, &request, deadline) {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let WholeBody { server } = answer.json()?;
    let now = answer.date.unwrap_or_else(local_now);
    let Whole {
        common,
        image,
        key_name,
        addresses,
    } = server;
    let addresses = addresses.into_iter().flat_map(|(network, list)| {
        list.into_iter().map(move |entry| Address {
            network: network.clone(),
            address: entry.addr,
            version: entry.version,
            floating: entry.kind.as_deref() == Some("floating"),
        })
    });
    Ok(Some(ServerDetails {
        task_state: common.task_state.clone(),
        image_id: image_id(&image),
        key: key_name,
        addresses: addresses.collect(),
        record: common.record(now),
    }))
}

/// One server as lists have it; `None` when it is gone. An error when its cell is down: what it is then is not known.
pub fn look(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<ServerRecord>, Error> {
    match look_at(session, id, DOWN_CELLS, deadline) {
        Err(error) if error.status() == Some(NOT_ACCEPTABLE) => {
            look_at(session, id, FIRST, deadline)
        }
        answer => answer,
    }
}

fn look_at(
    session: &Session,
    id: &str,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<Option<ServerRecord>, Error> {
    let request = Request::get().at(microversion);
    let path = format!("/servers/{id}");
    let answer = match session.send(Service::Compute, &path, &request, deadline) {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let SeenBody { server } = answer.json()?;
    if server.metadata.is_none() {
        return Err(Error::CellDown {
            call: answer.call,
            servers: 1,
        });
    }
    Ok(Some(server.record(answer.date.unwrap_or_else(local_now))))
}

/// Shuts a server down. One that is off already is refused with 409.
pub fn stop(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let request = Request {
        method: Method::POST,
        kind: Kind::Repeatable,
        body: Some(json!({ "os-stop": null }).to_string()),
        ..Request::get()
    }
    .at(FIRST);
    let path = format!("/servers/{id}/action");
    session
        .send(Service::Compute, &path, &request, deadline)
        .map(|_| ())
}

/// Has an image made of a server and returns the image's id; `metadata` become properties of the image. It is whole when
/// Glance says `active`; when the host cannot make it, the image vanishes. Sent once.
pub fn create_image(
    session: &Session,
    server_id: &str,
    name: &str,
    metadata: &BTreeMap<String, String>,
    deadline: Deadline,
) -> Result<String, Error> {
    let body = json!({ "createImage": { "name": name, "metadata": metadata } });
    let request = Request {
        method: Method::POST,
        kind: Kind::Once,
        body: Some(body.to_string()),
        ..Request::get()
    }
    .at(IMAGE_ID_IN_BODY);
    let path = format!("/servers/{server_id}/action");
    let answer = session.send(Service::Compute, &path, &request, deadline)?;
    let ImageBody { image_id } = answer.json()?;
    Ok(image_id)
}

/// Adds these to a server's metadata, or replaces them there.
pub fn add_metadata(
    session: &Session,
    server_id: &str,
    metadata: &BTreeMap<String, String>,
    deadline: Deadline,
) -> Result<(), Error> {
    let request = Request {
        method: Method::POST,
        kind: Kind::Repeatable,
        body: Some(json!({ "metadata": metadata }).to_string()),
        ..Request::get()
    }
    .at(FIRST);
    let path = format!("/servers/{server_id}/metadata");
    session
        .send(Service::Compute, &path, &request, deadline)
        .map(|_| ())
}

/// Asks for a list page by page, until no page names a next one; returns the last call. Of a next link only the query is taken: the
/// token goes nowhere but to the endpoint, whatever host the link names (behind a proxy often the wrong one).
fn each_page<Page: DeserializeOwned>(
    session: &Session,
    path: &str,
    microversion: &'static str,
    deadline: Deadline,
    mut take: impl FnMut(Page, &Answer) -> Vec<Link>,
) -> Result<Arc<Call>, Error> {
    let request = Request::get().at(microversion);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut page = path.to_owned();
    loop {
        let answer = session.send(Service::Compute, &page, &request, deadline)?;
        let links = take(answer.json()?, &answer);
        let Some(next) = links.into_iter().find(|link| link.rel == "next") else {
            return Ok(answer.call);
        };
        let Some((_, query)) = next.href.split_once('?') else {
            return Err(Error::Unparsable {
                call: answer.call,
                why: "the link to the next page has no marker".to_owned(),
            });
        };
        if !seen.insert(query.to_owned()) {
            return Err(Error::EndlessList { call: answer.call });
        }
        page = format!("{path}?{query}");
    }
}

fn local_now() -> Timestamp {
    // Out of range only beyond the year 9999.
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX)
}

#[derive(Deserialize)]
struct Link {
    rel: String,
    href: String,
}

#[derive(Deserialize)]
struct ServersPage {
    servers: Vec<Server>,
    #[serde(default)]
    servers_links: Vec<Link>,
}

#[derive(Deserialize)]
struct Server {
    id: String,
    #[serde(default)]
    name: String,
    status: String,
    created: Timestamp,
    /// Absent where the server's cell is down.
    metadata: Option<BTreeMap<String, String>>,
    #[serde(rename = "OS-EXT-STS:task_state")]
    task_state: Option<String>,
    fault: Option<Fault>,
    #[serde(rename = "os-extended-volumes:volumes_attached", default)]
    volumes: Vec<Attached>,
    /// Empty before it has a host, where no zone was asked for.
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    zone: Option<String>,
}

#[derive(Deserialize)]
struct Attached {
    id: String,
    /// From 2.3 on. What is attached by a create of ours goes with the server.
    delete_on_termination: Option<bool>,
}

#[derive(Deserialize)]
struct BootedPage {
    servers: Vec<Booted>,
    #[serde(default)]
    servers_links: Vec<Link>,
}

#[derive(Deserialize)]
struct Booted {
    id: String,
    /// Absent where the server's cell is down.
    image: Option<Value>,
}

#[derive(Deserialize)]
struct ShownBody {
    server: Shown,
}

#[derive(Deserialize)]
struct Shown {
    fault: Option<Fault>,
}

#[derive(Deserialize)]
struct SeenBody {
    server: Server,
}

#[derive(Deserialize)]
struct WholeBody {
    server: Whole,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    common: Server,
    #[serde(default)]
    image: Value,
    key_name: Option<String>,
    #[serde(default)]
    addresses: BTreeMap<String, Vec<WireAddress>>,
}

#[derive(Deserialize)]
struct WireAddress {
    addr: String,
    version: u8,
    #[serde(rename = "OS-EXT-IPS:type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct ImageBody {
    image_id: String,
}

#[derive(Deserialize)]
struct Fault {
    message: String,
}

impl Server {
    fn record(self, now: Timestamp) -> ServerRecord {
        let gone = matches!(self.status.as_str(), "DELETED" | "SOFT_DELETED");
        let task = self.task_state.as_deref();
        ServerRecord {
            status: status(&self.status),
            nova_status: status_word(&self.status),
            deleting: gone || matches!(task, Some("deleting" | "soft-deleting")),
            age: Duration::try_from(now.duration_since(self.created)).unwrap_or_default(),
            fault: self.fault.map(|fault| message::shorten(&fault.message)),
            volumes: self
                .volumes
                .into_iter()
                .map(|volume| AttachedVolume {
                    id: volume.id,
                    goes: volume.delete_on_termination.unwrap_or(true),
                })
                .collect(),
            zone: self.zone.filter(|zone| !zone.is_empty()),
            id: self.id,
            name: self.name,
            metadata: self.metadata.unwrap_or_default(),
        }
    }
}

/// Nova's `status` (Compute API reference, "Servers").
fn status(word: &str) -> ServerStatus {
    match word {
        "BUILD" => ServerStatus::Build,
        "ACTIVE" | "REBOOT" | "HARD_REBOOT" | "MIGRATING" => ServerStatus::Active,
        "SHUTOFF" | "SHELVED" | "SHELVED_OFFLOADED" => ServerStatus::Shutoff,
        "ERROR" => ServerStatus::Error,
        _ => ServerStatus::Other,
    }
}

/// The word itself, where it is one: it goes into reports.
fn status_word(word: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    let plain = !word.is_empty() && word.len() <= 40 && word.chars().all(is_plain);
    plain.then(|| word.to_owned())
}

#[derive(Deserialize)]
struct ConsoleBody {
    output: String,
}

#[derive(Deserialize)]
struct FlavorsPage {
    flavors: Vec<WireFlavor>,
    #[serde(default)]
    flavors_links: Vec<Link>,
}

#[derive(Deserialize)]
struct WireFlavor {
    id: String,
    name: String,
    vcpus: u64,
    ram: u64,
    disk: u64,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral", default)]
    ephemeral: u64,
    /// From 2.61 on, and only for those whom the cloud lets see them.
    #[serde(default)]
    extra_specs: BTreeMap<String, String>,
}

/// The GPUs of a flavor, as far as its extra specs tell: devices that are passed through (`pci_passthrough:alias` is
/// `ALIAS:COUNT[,ALIAS:COUNT…]`; what they are, only the operators of the cloud know) and parts of one (`resources:VGPU`).
fn gpus(extra_specs: &BTreeMap<String, String>) -> u64 {
    let aliases = extra_specs.get("pci_passthrough:alias");
    let aliases = aliases.into_iter().flat_map(|list| list.split(','));
    let counts = aliases.map(|alias| alias.rsplit(':').next());
    counts
        .chain([extra_specs.get("resources:VGPU").map(String::as_str)])
        .flatten()
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

#[derive(Deserialize)]
struct KeypairsBody {
    keypairs: Vec<KeypairEntry>,
}

#[derive(Deserialize)]
struct KeypairEntry {
    keypair: Keypair,
}

/// What tests/fuzz reads: the servers in `body`, whatever it is; every other answer of Nova is tried on it too.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) -> Vec<ServerRecord> {
    let now = Timestamp::UNIX_EPOCH;
    drop(serde_json::from_slice::<BootedPage>(body));
    drop(serde_json::from_slice::<ShownBody>(body));
    drop(serde_json::from_slice::<WholeBody>(body));
    drop(serde_json::from_slice::<FlavorsPage>(body));
    drop(serde_json::from_slice::<KeypairsBody>(body));
    drop(serde_json::from_slice::<ConsoleBody>(body));
    super::limits::read_anything(body);
    super::new_server::read_anything(body);
    super::server_group::read_anything(body);
    message::of_service(body, None);
    match serde_json::from_slice::<ServersPage>(body) {
        Ok(page) => page
            .servers
            .into_iter()
            .map(|server| server.record(now))
            .collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_of_a_flavor() {
        let of = |specs: &[(&str, &str)]| {
            let specs = specs.iter();
            gpus(
                &specs
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[("pci_passthrough:alias", "a100:2")]), 2);
        assert_eq!(of(&[("pci_passthrough:alias", "a100:2, t4:1")]), 3);
        assert_eq!(of(&[("resources:VGPU", "1"), ("hw:cpu_policy", "4")]), 1);
        assert_eq!(of(&[("pci_passthrough:alias", "nonsense")]), 0);
    }

    #[test]
    fn novas_words_for_a_server() {
        assert_eq!(status("BUILD"), ServerStatus::Build);
        assert_eq!(status("HARD_REBOOT"), ServerStatus::Active);
        assert_eq!(status("SHELVED_OFFLOADED"), ServerStatus::Shutoff);
        assert_eq!(status("ERROR"), ServerStatus::Error);
        assert_eq!(status("RESCUE"), ServerStatus::Other);
        assert_eq!(status("something new"), ServerStatus::Other);
    }
}
