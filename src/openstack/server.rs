//! Servers of Nova: the list of them, read one by one.
//!
//! The list is asked for at 2.69, which names the servers of cells that are down; then the cloud is
//! unknown. Metadata is checked on each server: Nova ignores filters that it does not know. A
//! server in ERROR is asked for once more by its id, for lists omit some faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::auth::Session;
use super::compute::{Link, each_page, local_now};
use super::error::Error;
use super::http::Answer;
use super::items::{self, Object, UnreadItem};
use super::message;
use scaling::observation::{
    AttachedVolume, METADATA_CLUSTER, METADATA_NODE, METADATA_ROLE, NodeId, ObscureServer, Role,
    ServerRecord, ServerStatus, Unread,
};
use system::deadline::Deadline;
use system::json;

/// Nova's word for a server of which it knows nothing, above all where its cell is down.
const UNKNOWN: &str = "UNKNOWN";

/// The servers of a project, whoever made them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Those that can be read.
    pub records: Vec<ServerRecord>,
    /// Those that cannot.
    pub unread: Vec<UnreadServer>,
    /// What of the first decides nothing and cannot be read.
    pub odd: Vec<Unread>,
}

impl Servers {
    /// Those that cannot be read and are of the pool `cluster`, or may be.
    pub fn obscure(&self, cluster: &str) -> Vec<ObscureServer> {
        let unread = self.unread.iter();
        unread.filter_map(|server| server.of(cluster)).collect()
    }

    /// All that cannot be read.
    pub fn told(&self) -> impl Iterator<Item = &Unread> {
        let servers = self.unread.iter().map(|server| &server.item.told);
        servers.chain(&self.odd)
    }

    /// Every id that can be read.
    pub fn ids(&self) -> BTreeSet<String> {
        let read = self.records.iter().map(|record| record.id.clone());
        let unread = self.unread.iter();
        read.chain(unread.filter_map(|server| server.item.id.clone()))
            .collect()
    }
}

/// A server that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadServer {
    /// Which, and why.
    pub item: UnreadItem,
    metadata: Option<Metadata>,
}

impl UnreadServer {
    /// What it may be to the pool `cluster`; `None`: nothing, for its metadata say so.
    pub fn of(&self, cluster: &str) -> Option<ObscureServer> {
        let obscure = |role, node| {
            Some(ObscureServer {
                id: self.item.id.clone(),
                name: self.item.name.clone(),
                node,
                role,
            })
        };
        let Some(metadata) = &self.metadata else {
            return obscure(None, None);
        };
        let node = metadata.read.get(METADATA_NODE);
        let node = node
            .filter(|node| !node.is_empty())
            .map(|node| NodeId(node.clone().into()));
        if [METADATA_CLUSTER, METADATA_ROLE]
            .iter()
            .any(|key| metadata.odd.contains(*key))
        {
            return obscure(None, node);
        }
        if metadata.read.get(METADATA_CLUSTER).map(String::as_str) != Some(cluster) {
            return None;
        }
        let role = Role::of(metadata.read.get(METADATA_ROLE)?)?;
        obscure(Some(role), node)
    }
}

/// Metadata, entry by entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Metadata {
    read: BTreeMap<String, String>,
    /// Keys of values that are no strings.
    odd: BTreeSet<String>,
}

impl Metadata {
    fn of(raw: &RawValue) -> Result<Metadata, serde_json::Error> {
        let entries: BTreeMap<String, &RawValue> = json::read(raw.get())?;
        let mut metadata = Metadata::default();
        for (key, value) in entries {
            match json::read(value.get()) {
                Ok(text) => drop(metadata.read.insert(key, text)),
                Err(_) => drop(metadata.odd.insert(key)),
            }
        }
        Ok(metadata)
    }
}

/// What one entry of a list is.
pub(super) enum Entry {
    Read {
        record: Box<ServerRecord>,
        odd: Vec<Unread>,
    },
    Unread(Box<UnreadServer>),
    /// Its cell is down: Nova lists it with its id and few more fields, without metadata and with the status UNKNOWN
    /// ("Handling Down Cells" in the Compute API guide).
    CellDown,
}

/// Reads one server, the one at `position` of a list. `now` is Nova's clock.
pub(super) fn entry(raw: &RawValue, position: usize, now: Timestamp) -> Entry {
    let usual: Option<Object<Usual>> = json::read(raw.get()).ok();
    match usual.and_then(|Object(usual)| usual.record(now)) {
        Some(record) => Entry::Read {
            record: Box::new(record),
            odd: Vec::new(),
        },
        None => entry_by_fields(raw, position, now),
    }
}

/// Reads a server field by field, whatever is odd about it.
fn entry_by_fields(raw: &RawValue, position: usize, now: Timestamp) -> Entry {
    let text = raw.get();
    let fields = items::fields(text);
    let is_null = |key: &str| fields.get(key).is_some_and(|value| value.get() == "null");
    let status = fields.get("status");
    let status: Option<String> = status.and_then(|status| json::read(status.get()).ok());
    if !fields.contains_key("metadata") && status.as_deref() == Some(UNKNOWN) {
        return Entry::CellDown;
    }
    let metadata = fields.get("metadata").map(|raw| Metadata::of(raw));
    let unread = |why: String| {
        let metadata = match &metadata {
            Some(Ok(metadata)) => Some(metadata.clone()),
            _ => None,
        };
        let item = items::unread("server", position, raw, why);
        Entry::Unread(Box::new(UnreadServer { item, metadata }))
    };
    let server: Server = match json::read(text) {
        Ok(server) => server,
        Err(error) => return unread(items::why(text, &error)),
    };
    let read = match &metadata {
        Some(Ok(metadata)) => metadata,
        Some(Err(error)) => {
            return unread(format!("metadata: {}", items::why("", error)));
        }
        None => return unread("missing field `metadata`".to_owned()),
    };
    if let Some(key) = read.odd.iter().find(|key| key.starts_with("ehos_")) {
        return unread(format!("metadata.{key}: not a string"));
    }
    if is_null("id") || server.id.is_empty() {
        return unread("id: empty".to_owned());
    }
    let Some(status) = server_status(&server.status) else {
        let word = message::shorten(&server.status);
        return unread(format!("status: {word} is unknown"));
    };
    let mut odd = Vec::new();
    let mut note = |why: String| odd.push(items::unread("server", position, raw, why).told);
    for key in &read.odd {
        note(format!("metadata.{key}: not a string"));
    }
    let name = decorative(&fields, "name", &mut note).unwrap_or_else(|| server.id.clone());
    let zone = decorative(&fields, "OS-EXT-AZ:availability_zone", &mut note);
    let fault: Option<Fault> = decorative(&fields, "fault", &mut note);
    let addresses: Option<BTreeMap<String, Vec<Address>>> =
        decorative(&fields, "addresses", &mut note);
    let metadata = read.read.clone();
    let mut record = server.record(now, status, name, metadata, fault, zone);
    let addresses = addresses.unwrap_or_default().into_values().flatten();
    record.addresses = addresses.map(|address| address.addr).collect();
    let record = Box::new(record);
    Entry::Read { record, odd }
}

/// A field that decides nothing about what may be done to a server.
fn decorative<'a, T: Deserialize<'a>>(
    fields: &BTreeMap<String, &'a RawValue>,
    key: &str,
    note: &mut impl FnMut(String),
) -> Option<T> {
    let raw = fields.get(key)?;
    match json::read::<Option<T>>(raw.get()) {
        // Nova gives no name that is null.
        Ok(None) if key == "name" => note("name: null".to_owned()),
        Ok(value) => return value,
        Err(error) => note(format!("{key}: {}", items::why("", &error))),
    }
    None
}

/// A page of the list that was read.
struct ReadPage {
    servers: usize,
    /// Servers without details: their cell is down.
    without_details: usize,
    links: Vec<Link>,
}

/// Reads every page with `read`, which gets the number of the servers before it. With servers without details, the list is an
/// error.
fn pages(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
    mut read: impl FnMut(&Answer, usize) -> Result<ReadPage, Error>,
) -> Result<(), Error> {
    let path = "/servers/detail";
    let (mut listed, mut servers) = (0, 0);
    let call = each_page(session, path, microversion, deadline, |answer| {
        let page = read(answer, listed)?;
        listed += page.servers;
        servers += page.without_details;
        Ok(page.links)
    })?;
    match servers {
        0 => Ok(()),
        servers => Err(Error::CellDown { call, servers }),
    }
}

/// Calls `take` for each server of a page, with its number. `take` says whether Nova gave details of it.
fn each_server(
    answer: &Answer,
    listed: usize,
    mut take: impl FnMut(&RawValue, usize) -> bool,
) -> Result<ReadPage, Error> {
    let page: ServersPage<'_> = answer.json()?;
    let raw = page.servers.iter().enumerate();
    let without_details = raw.filter(|(place, raw)| !take(raw, listed + place));
    Ok(ReadPage {
        without_details: without_details.count(),
        servers: page.servers.len(),
        links: page.servers_links,
    })
}

/// Reads a page in one go; `None` if anything in it is odd.
fn usual_page(body: &str, now: Timestamp) -> Option<(Vec<ServerRecord>, Vec<Link>)> {
    let page: UsualPage = json::read(body).ok()?;
    let records = page
        .servers
        .into_iter()
        .map(|Object(usual)| usual.record(now));
    Some((records.collect::<Option<_>>()?, page.servers_links))
}

/// All servers at this microversion: every page, or an error.
pub(super) fn servers_at(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<Servers, Error> {
    let mut records: BTreeMap<String, ServerRecord> = BTreeMap::new();
    let mut all = Servers::default();
    pages(session, microversion, deadline, |answer, listed| {
        let now = answer.date.unwrap_or_else(local_now);
        if let Some((usual, links)) = usual_page(answer.body(), now) {
            let servers = usual.len();
            records.extend(usual.into_iter().map(|record| (record.id.clone(), record)));
            return Ok(ReadPage {
                servers,
                without_details: 0,
                links,
            });
        }
        each_server(answer, listed, |raw, position| {
            match entry(raw, position, now) {
                Entry::Read { record, odd } => {
                    records.insert(record.id.clone(), *record);
                    all.odd.extend(odd);
                }
                Entry::Unread(server) => all.unread.push(*server),
                Entry::CellDown => return false,
            }
            true
        })
    })?;
    all.records = records.into_values().collect();
    Ok(all)
}

/// How many servers of the project boot from which image (its id), whoever made them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagesInUse {
    /// By the image's id.
    pub servers: BTreeMap<String, u64>,
    /// Servers whose image cannot be read: each may boot from any.
    pub unread: Vec<Unread>,
}

pub(super) fn images_in_use_at(
    session: &Session,
    microversion: &'static str,
    deadline: Deadline,
) -> Result<ImagesInUse, Error> {
    let mut servers: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut unread = Vec::new();
    pages(session, microversion, deadline, |answer, listed| {
        each_server(answer, listed, |raw, position| {
            match booted(raw) {
                // One without a readable id is another one each time: none is counted twice but by a page that was shifted.
                Ok(Some((id, image))) => {
                    servers.insert(id.unwrap_or_else(|| format!("{position}")), image);
                }
                Ok(None) => return false,
                Err(why) => unread.push(items::unread("server", position, raw, why).told),
            }
            true
        })
    })?;
    let mut all = ImagesInUse {
        unread,
        ..ImagesInUse::default()
    };
    for image in servers.into_values().flatten() {
        *all.servers.entry(image).or_insert(0) += 1;
    }
    Ok(all)
}

/// A server's id and image; `None` in it where it boots from a volume, `None` where its cell is down.
#[allow(clippy::type_complexity)] // It goes no further than the function above.
fn booted(raw: &RawValue) -> Result<Option<(Option<String>, Option<String>)>, String> {
    let fields = items::fields(raw.get());
    let text = |key: &str| -> Option<String> {
        let raw = fields.get(key)?;
        json::read(raw.get()).ok()
    };
    let Some(image) = fields.get("image") else {
        return match text("status").as_deref() {
            Some(UNKNOWN) => Ok(None),
            _ => Err("missing field `image`".to_owned()),
        };
    };
    // One that boots from a volume has an empty string there.
    if image.get() == "\"\"" {
        return Ok(Some((text("id"), None)));
    }
    match json::read::<Reference>(image.get()) {
        Ok(image) => Ok(Some((text("id"), Some(image.id)))),
        Err(error) => Err(format!("image: {}", items::why(image.get(), &error))),
    }
}

#[derive(Deserialize)]
pub(super) struct Reference {
    pub(super) id: String,
}

#[derive(Deserialize)]
struct ServersPage<'a> {
    #[serde(borrow)]
    servers: Vec<&'a RawValue>,
    #[serde(default)]
    servers_links: Vec<Link>,
}

/// The same page, if all of its servers are as Nova documents them.
#[derive(Deserialize)]
struct UsualPage {
    servers: Vec<Object<Usual>>,
    #[serde(default)]
    servers_links: Vec<Link>,
}

/// What decides what may be done to a server.
#[derive(Deserialize)]
struct Server {
    id: String,
    status: String,
    created: Timestamp,
    #[serde(rename = "OS-EXT-STS:task_state")]
    task_state: Option<String>,
    #[serde(rename = "os-extended-volumes:volumes_attached", default)]
    volumes: Vec<Attached>,
}

/// A server of which all that is read is as Nova documents it: read in one go, as a list may have thousands.
#[derive(Deserialize)]
struct Usual {
    id: String,
    status: String,
    created: Timestamp,
    #[serde(rename = "OS-EXT-STS:task_state")]
    task_state: Option<String>,
    #[serde(rename = "os-extended-volumes:volumes_attached", default)]
    volumes: Vec<Attached>,
    name: String,
    metadata: BTreeMap<String, String>,
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    zone: Option<String>,
    fault: Option<Fault>,
    addresses: Option<BTreeMap<String, Vec<Address>>>,
}

impl Usual {
    /// `None`: it has an odd value, of which [`entry_by_fields`] says what it means.
    fn record(self, now: Timestamp) -> Option<ServerRecord> {
        let status = server_status(&self.status).filter(|_| !self.id.is_empty())?;
        let server = Server {
            id: self.id,
            status: self.status,
            created: self.created,
            task_state: self.task_state,
            volumes: self.volumes,
        };
        let mut record =
            server.record(now, status, self.name, self.metadata, self.fault, self.zone);
        let addresses = self.addresses.unwrap_or_default().into_values().flatten();
        record.addresses = addresses.map(|address| address.addr).collect();
        Some(record)
    }
}

#[derive(Deserialize)]
struct Attached {
    id: String,
    /// From 2.3 on. What is attached by a create of ehos goes with the server.
    delete_on_termination: Option<bool>,
}

/// One address of a server (`addresses`, by network).
#[derive(Deserialize)]
struct Address {
    addr: String,
}

#[derive(Deserialize)]
pub(super) struct Fault {
    pub(super) message: String,
}

impl Server {
    fn record(
        self,
        now: Timestamp,
        status: ServerStatus,
        name: String,
        metadata: BTreeMap<String, String>,
        fault: Option<Fault>,
        zone: Option<String>,
    ) -> ServerRecord {
        let gone = matches!(self.status.as_str(), "DELETED" | "SOFT_DELETED");
        let task = self.task_state.as_deref();
        ServerRecord {
            status,
            nova_status: status_word(&self.status),
            deleting: gone || matches!(task, Some("deleting" | "soft-deleting")),
            age: Duration::try_from(now.duration_since(self.created)).unwrap_or_default(),
            fault: fault
                .map(|fault| message::shorten(&fault.message))
                .filter(|message| !message.is_empty()),
            volumes: self
                .volumes
                .into_iter()
                .map(|volume| AttachedVolume {
                    id: volume.id,
                    goes: volume.delete_on_termination.unwrap_or(true),
                })
                .collect(),
            zone: zone.filter(|zone| !zone.is_empty()),
            addresses: Vec::new(),
            id: self.id,
            name,
            metadata,
        }
    }
}

/// Nova's `status` (Compute API reference, "Servers"); `None` for a word that is not there, and for Nova's own UNKNOWN.
fn server_status(word: &str) -> Option<ServerStatus> {
    Some(match word {
        "BUILD" => ServerStatus::Build,
        "ACTIVE" | "REBOOT" | "HARD_REBOOT" | "MIGRATING" => ServerStatus::Active,
        "SHUTOFF" | "SHELVED" | "SHELVED_OFFLOADED" => ServerStatus::Shutoff,
        "ERROR" => ServerStatus::Error,
        "DELETED" | "SOFT_DELETED" | "PASSWORD" | "PAUSED" | "REBUILD" | "RESCUE" | "RESIZE"
        | "REVERT_RESIZE" | "SUSPENDED" | "VERIFY_RESIZE" => ServerStatus::Other,
        _ => return None,
    })
}

/// The word itself, where it is one: it goes into reports.
fn status_word(word: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    let plain = !word.is_empty() && word.len() <= 40 && word.chars().all(is_plain);
    plain.then(|| word.to_owned())
}

/// What tests/fuzz reads: the servers in `body`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) -> Servers {
    let text = String::from_utf8_lossy(body);
    let Ok(page) = json::read::<ServersPage<'_>>(&text) else {
        return Servers::default();
    };
    let mut all = Servers::default();
    for (position, raw) in page.servers.into_iter().enumerate() {
        drop(booted(raw));
        match entry(raw, position, Timestamp::UNIX_EPOCH) {
            Entry::Read { record, odd } => {
                all.records.push(*record);
                all.odd.extend(odd);
            }
            Entry::Unread(server) => all.unread.push(*server),
            Entry::CellDown => {}
        }
    }
    if let Some((usual, _)) = usual_page(&text, Timestamp::UNIX_EPOCH) {
        assert_eq!(usual, all.records);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an entry says, to be compared.
    fn said(entry: Entry) -> String {
        match entry {
            Entry::Read { record, odd } => format!("{record:?} {odd:?}"),
            Entry::Unread(server) => format!("{server:?}"),
            Entry::CellDown => "cell down".to_owned(),
        }
    }

    #[test]
    fn a_server_reads_the_same_in_one_go_and_field_by_field() {
        let now = Timestamp::UNIX_EPOCH;
        let whole = json!({
            "id": "a", "name": "web", "status": "ACTIVE", "created": "2026-11-22T10:30:16Z",
            "metadata": {"ehos_cluster": "pool"}, "OS-EXT-STS:task_state": null,
            "OS-EXT-AZ:availability_zone": "nova", "fault": {"message": "No valid host", "code": 500},
            "os-extended-volumes:volumes_attached": [{"id": "v", "delete_on_termination": true}],
            "addresses": {"net": [{"addr": "10.0.0.1", "version": 4}]}, "flavor": {"id": "1"},
        });
        let values = [
            json!(null),
            json!(""),
            json!("UNKNOWN"),
            json!("BANANA"),
            json!("deleting"),
            json!(7),
            json!([]),
            json!([1]),
            json!({}),
            json!({"a": "b"}),
            json!({"a": 1}),
            json!({"ehos_role": 1}),
            json!({"net": [{"addr": 1}]}),
            json!("2026-11-22T10:30:16Z"),
        ];
        // serde reads a list as a struct, too.
        let list = json!([
            "a",
            "ACTIVE",
            "2026-11-22T10:30:16Z",
            null,
            [],
            "web",
            {},
            null,
            null,
            null
        ]);
        assert!(Usual::deserialize(&list).is_ok());
        let mut texts = vec![whole.to_string(), list.to_string()];
        texts.extend(["[]", "7"].map(str::to_owned));
        for (key, _) in whole.as_object().unwrap() {
            let mut changed = whole.clone();
            changed.as_object_mut().unwrap().remove(key);
            texts.push(changed.to_string());
            for value in &values {
                changed[key] = value.clone();
                texts.push(changed.to_string());
                // The key a second time.
                let twice = format!("{{{}:{value},", json!(key)) + &whole.to_string()[1..];
                texts.push(twice);
            }
        }
        assert!(matches!(
            serde_json::from_str::<Usual>(&texts[0]).map(|usual| usual.record(now)),
            Ok(Some(_))
        ));
        let usual = texts[0].clone();
        let page = format!(r#"{{"servers": [{usual}]}}"#);
        assert!(usual_page(&page, now).is_some());
        for text in texts {
            let page = format!(r#"{{"servers": [{usual}, {text}]}}"#);
            let in_page = usual_page(&page, now).map(|(mut records, _)| {
                let record = Box::new(records.pop().unwrap());
                let odd = Vec::new();
                said(Entry::Read { record, odd })
            });
            let raw: &RawValue = serde_json::from_str(&text).unwrap();
            let fast = said(entry(raw, 3, now));
            assert_eq!(fast, said(entry_by_fields(raw, 3, now)), "{text}");
            assert!(in_page.is_none_or(|in_page| in_page == fast), "{text}");
        }
    }
}
