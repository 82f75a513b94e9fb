//! Nova: servers, flavors, keypairs.
//!
//! Each request names the lowest microversion that has what it needs. Lists stay far below 2.96, from which on
//! Nova 31 answers 500 while a server of the project is over quota.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use ureq::http::Method;

use super::auth::Session;
use super::catalog::Service;
use super::error::{Call, Error, RequestKind};
use super::http::{Answer, Request};
use super::items::{self, Items};
pub use super::limits::quota;
use super::message;
pub use super::new_server::{BootVolume, NewServer, TAGS, VOLUME_TYPE, create, try_create};
use super::server::{self, Entry, Fault};
pub use super::server::{ImagesInUse, Servers};
use scaling::action::Done;
use scaling::observation::{Flavor, ServerRecord};
use system::deadline::Deadline;
use system::http_client::percent_encoded;

/// The first version: lists, limits, flavors, keypairs, console.
pub(super) const FIRST: &str = "2.1";
/// Lists that say which servers are in a cell that is down ("Handling Down Cells" in Nova's API guide).
const DOWN_CELLS: &str = "2.69";
/// `extra_specs` in the list of flavors.
const EXTRA_SPECS: &str = "2.61";
/// What Nova answers when it does not have a microversion.
const NOT_ACCEPTABLE: u16 = 406;
/// As many lines of a console as there may be: a hypervisor keeps some 100 KiB (`MAX_CONSOLE_BYTES` of Nova's libvirt driver).
pub const ALL_LINES: usize = 20_000;
/// From here on the answer to createImage has the image's id in its body; before, in a header of a form of its own.
const IMAGE_ID_IN_BODY: &str = "2.45";

/// A flavor and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFlavor {
    pub name: String,
    /// Its root disk alone in GiB, which an image's `min_disk` is about; 0: as large as the image.
    pub root_disk_gb: u64,
    pub flavor: Flavor,
}

/// All servers of the project, whoever made them: every page, or an error. An error too when a cell of the cloud is
/// down: Nova then lists what it has of its servers (from 2.69 on), or keeps silent about them (an older Nova, where
/// nothing can be done about it).
pub fn servers(session: &Session, deadline: Deadline) -> Result<Servers, Error> {
    at_best(DOWN_CELLS, |version| {
        server::servers_at(session, version, deadline)
    })
}

/// How many servers of the project, whoever made them, boot from which image (its id): every page, or an error. A server
/// that boots from a volume needs no image any more.
pub fn images_in_use(session: &Session, deadline: Deadline) -> Result<ImagesInUse, Error> {
    at_best(DOWN_CELLS, |version| {
        server::images_in_use_at(session, version, deadline)
    })
}

/// What is asked at `best`, or at the first version where Nova does not have that.
fn at_best<T>(
    best: &'static str,
    ask: impl Fn(&'static str) -> Result<T, Error>,
) -> Result<T, Error> {
    match ask(best) {
        Err(error) if error.status() == Some(NOT_ACCEPTABLE) => ask(FIRST),
        answer => answer,
    }
}

/// Why a server is in ERROR, by its id. The list does not say so of a server that never got a host ("No valid host
/// was found"): Nova looks for the faults of a list in one cell's database, and such a server is in another (cell0).
pub fn fault(session: &Session, id: &str, deadline: Deadline) -> Result<Option<String>, Error> {
    let answer = session.get(Service::Compute, &format!("/servers/{id}"), deadline)?;
    let server: Shown = answer.field("server")?;
    Ok(server
        .fault
        .map(|fault| message::shorten(&fault.message))
        .filter(|message| !message.is_empty()))
}

/// Deletes a server. One that is gone already is no error.
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<Done, Error> {
    session.delete(Service::Compute, &format!("/servers/{id}"), deadline)
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
    let output: String = answer.field("output")?;
    let kept: Vec<String> = output
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect())
        .collect();
    // Not every driver heeds the length.
    let first = kept.len().saturating_sub(lines);
    Ok(kept.get(first..).unwrap_or_default().join("\n"))
}

/// All flavors that the project may use, read one by one.
pub fn flavors(session: &Session, deadline: Deadline) -> Result<Items<NamedFlavor>, Error> {
    let all = at_best(EXTRA_SPECS, |version| {
        flavors_at(session, version, deadline)
    })?;
    session.tell(all.unread.iter().map(|item| &item.told));
    Ok(all)
}

fn flavors_at(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<Items<NamedFlavor>, Error> {
    let mut all = Items::default();
    each_page(
        session,
        "/flavors/detail",
        microversion,
        deadline,
        |answer| {
            let page: FlavorsPage<'_> = answer.json()?;
            let flavors: Items<WireFlavor> = items::each("flavor", &page.flavors);
            all.read
                .extend(flavors.read.into_iter().map(WireFlavor::named));
            all.unread.extend(flavors.unread);
            Ok(page.flavors_links)
        },
    )?;
    Ok(all)
}

/// A keypair of the user; keypairs belong to users, not to projects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Keypair {
    pub name: String,
    /// MD5 of the public key, as Nova writes it.
    #[serde(default, deserialize_with = "items::lenient")]
    pub fingerprint: String,
    /// The public key, as `authorized_keys` has it.
    #[serde(default, deserialize_with = "items::lenient")]
    pub public_key: String,
}

/// The user's keypairs: those that the API shows. Keys that were added in a dashboard may be missing.
pub fn keypairs(session: &Session, deadline: Deadline) -> Result<Vec<Keypair>, Error> {
    let answer = session.get(Service::Compute, "/os-keypairs", deadline)?;
    let keypairs: Vec<KeypairEntry> = session.list(&answer, "keypairs", "keypair")?;
    Ok(keypairs.into_iter().map(|entry| entry.keypair).collect())
}

/// The user's keypair of this name; `None` when there is none.
pub fn keypair(
    session: &Session,
    name: &str,
    deadline: Deadline,
) -> Result<Option<Keypair>, Error> {
    let path = format!("/os-keypairs/{}", percent_encoded(name));
    let answer = session.find(Service::Compute, &path, deadline)?;
    answer.map(|answer| answer.field("keypair")).transpose()
}

/// Adds a public key (`authorized_keys` form) under `name`. A name that is taken is refused with 409.
pub fn import_keypair(
    session: &Session,
    name: &str,
    public_key: &str,
    deadline: Deadline,
) -> Result<Keypair, Error> {
    let body = json!({ "keypair": { "name": name, "public_key": public_key } });
    let kind = RequestKind::Once;
    session
        .post(Service::Compute, "/os-keypairs", kind, &body, deadline)?
        .field("keypair")
}

/// Deletes a keypair. One that is gone already is no error.
pub fn delete_keypair(session: &Session, name: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/os-keypairs/{}", percent_encoded(name));
    session.delete(Service::Compute, &path, deadline).map(drop)
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
    pub network: String,
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
    let path = format!("/servers/{id}");
    let Some(answer) = session.find(Service::Compute, &path, deadline)? else {
        return Ok(None);
    };
    let record = only(session, &answer)?;
    let Whole {
        task_state,
        image,
        key_name,
        addresses,
    } = answer.field("server")?;
    let addresses = addresses.into_iter().flat_map(|(network, list)| {
        list.into_iter().map(move |entry| Address {
            network: network.clone(),
            address: entry.addr,
            version: entry.version,
            floating: entry.kind.as_deref() == Some("floating"),
        })
    });
    Ok(Some(ServerDetails {
        task_state,
        image_id: image.map(|image| image.id),
        key: key_name,
        addresses: addresses.collect(),
        record,
    }))
}

/// Whether there is a server of this id, whatever it is.
pub fn exists(session: &Session, id: &str, deadline: Deadline) -> Result<bool, Error> {
    let found = session.find(Service::Compute, &format!("/servers/{id}"), deadline)?;
    Ok(found.is_some())
}

/// One server as lists have it; `None` when it is gone. An error when its cell is down: what it is then is not known.
pub fn look(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<ServerRecord>, Error> {
    at_best(DOWN_CELLS, |version| {
        look_at(session, id, version, deadline)
    })
}

fn look_at(
    session: &Session,
    id: &str,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<Option<ServerRecord>, Error> {
    let request = Request::get().at(microversion);
    let path = format!("/servers/{id}");
    match session.send(Service::Compute, &path, &request, deadline) {
        Ok(answer) => only(session, &answer).map(Some),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The one server of an answer.
fn only(session: &Session, answer: &Answer) -> Result<ServerRecord, Error> {
    let server: &RawValue = answer.field("server")?;
    let now = answer.date.unwrap_or_else(local_now);
    match server::entry(server, 0, now) {
        Entry::Read { record, .. } => Ok(*record),
        Entry::Unread(server) => Err(Error::Unreadable {
            cloud: session.settings().name.clone(),
            unread: server.item.told,
        }),
        Entry::CellDown => Err(Error::CellDown {
            call: answer.call.clone(),
            servers: 1,
        }),
    }
}

/// Shuts a server down. One that is off already is refused with 409.
pub fn stop(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let (path, kind) = (format!("/servers/{id}/action"), RequestKind::Repeatable);
    let body = json!({ "os-stop": null });
    let answer = session.post(Service::Compute, &path, kind, &body, deadline);
    answer.map(drop)
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
    let path = format!("/servers/{server_id}/action");
    at_best(IMAGE_ID_IN_BODY, |version| {
        let request = Request::json(Method::POST, RequestKind::Once, &body).at(version);
        let answer = session.send(Service::Compute, &path, &request, deadline)?;
        // Before that version the answer is the image's address.
        let address = answer.location.as_deref().filter(|_| version == FIRST);
        if let Some(id) =
            address.and_then(|address| address.trim_end_matches('/').rsplit('/').next())
        {
            return Ok(id.to_owned());
        }
        answer.field("image_id")
    })
}

/// The newest microversion that this Nova has, as two numbers; `None` where it does not say.
pub fn newest_version(session: &Session, deadline: Deadline) -> Result<Option<(u32, u32)>, Error> {
    let answer = session.send(Service::Compute, "/", &Request::get(), deadline)?;
    let version: VersionFields = answer.field("version")?;
    Ok(parsed(&version.version))
}

/// A microversion as two numbers.
pub fn parsed(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Adds these to a server's metadata, or replaces them there.
pub fn add_metadata(
    session: &Session,
    server_id: &str,
    metadata: &BTreeMap<String, String>,
    deadline: Deadline,
) -> Result<(), Error> {
    let (path, kind) = (
        format!("/servers/{server_id}/metadata"),
        RequestKind::Repeatable,
    );
    let body = json!({ "metadata": metadata });
    let answer = session.post(Service::Compute, &path, kind, &body, deadline);
    answer.map(drop)
}

/// Asks for a list page by page, until no page names a next one; returns the last call. Of a next link only the query is taken: the
/// token goes nowhere but to the endpoint, whatever host the link names (behind a proxy often the wrong one).
pub(super) fn each_page(
    session: &Session,
    path: &str,
    microversion: &'static str,
    deadline: Deadline,
    mut take: impl FnMut(&Answer) -> Result<Vec<Link>, Error>,
) -> Result<Arc<Call>, Error> {
    let request = Request::get().at(microversion);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut page = path.to_owned();
    loop {
        let answer = session.send(Service::Compute, &page, &request, deadline)?;
        let links = take(&answer)?;
        let Some(next) = links.into_iter().find(|link| link.rel == "next") else {
            return Ok(answer.call);
        };
        let Some((_, query)) = next.href.split_once('?') else {
            return Err(answer.unparsable("the link to the next page has no marker"));
        };
        if !seen.insert(query.to_owned()) {
            return Err(Error::EndlessList { call: answer.call });
        }
        page = format!("{path}?{query}");
    }
}

pub(super) fn local_now() -> Timestamp {
    // Out of range only beyond the year 9999.
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX)
}

#[derive(Deserialize)]
pub(super) struct Link {
    rel: String,
    href: String,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default, deserialize_with = "items::lenient")]
    fault: Option<Fault>,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(rename = "OS-EXT-STS:task_state")]
    task_state: Option<String>,
    /// An empty string where it boots from a volume.
    #[serde(default, deserialize_with = "items::lenient")]
    image: Option<server::Reference>,
    #[serde(default, deserialize_with = "items::lenient")]
    key_name: Option<String>,
    #[serde(default, deserialize_with = "items::lenient")]
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
struct VersionFields {
    #[serde(default, deserialize_with = "items::lenient")]
    version: String,
}

#[derive(Deserialize)]
struct FlavorsPage<'a> {
    #[serde(borrow)]
    flavors: Vec<&'a RawValue>,
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
    /// From 2.61 on, and only for those whom the cloud lets see them. They tell of GPUs alone.
    #[serde(default, deserialize_with = "items::texts")]
    extra_specs: BTreeMap<String, String>,
}

impl WireFlavor {
    fn named(self) -> NamedFlavor {
        NamedFlavor {
            name: self.name,
            root_disk_gb: self.disk,
            flavor: Flavor {
                id: self.id,
                vcpus: self.vcpus,
                ram_mb: self.ram,
                disk_gb: self.disk.saturating_add(self.ephemeral),
                gpus: gpus(&self.extra_specs),
            },
        }
    }
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
struct KeypairEntry {
    keypair: Keypair,
}

/// What tests/fuzz reads: the servers in `body`, whatever it is; every other answer of Nova is tried on it too.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) -> Servers {
    drop(items::field::<Shown>(body, "server"));
    drop(items::field::<Whole>(body, "server"));
    drop(items::field::<VersionFields>(body, "version"));
    if let Ok(page) = serde_json::from_slice::<FlavorsPage<'_>>(body) {
        drop(items::each::<WireFlavor>("flavor", &page.flavors));
    }
    if let Ok(list) = items::field::<Vec<&RawValue>>(body, "keypairs") {
        drop(items::each::<KeypairEntry>("keypair", &list));
    }
    super::limits::read_anything(body);
    super::new_server::read_anything(body);
    super::server_group::read_anything(body);
    message::of_service(body, None);
    server::read_anything(body)
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
}
