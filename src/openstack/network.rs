//! Neutron: networks, security groups and their rules, ports, floating IPs.

#[cfg(fuzzing)]
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use ureq::http::Method;

use super::auth::Session;
use super::catalog::Service;
use super::error::{Error, RequestKind};
use super::http::Request;
use super::items::{self, Items, lenient, readable};
use super::rule::Rule;
use super::{ambiguous, looks_like_id, not_found};
use scaling::action::Done;
use scaling::leftover::PortRecord;
use system::deadline::Deadline;
use system::http_client::percent_encoded;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Network {
    pub id: String,
    pub name: String,
    /// `ACTIVE`, where it works.
    #[serde(default, deserialize_with = "lenient")]
    pub status: String,
    /// It leads out of the cloud: floating IPs come from it.
    #[serde(rename = "router:external", default, deserialize_with = "lenient")]
    pub external: bool,
    /// Several projects have it.
    #[serde(default, deserialize_with = "lenient")]
    pub shared: bool,
    /// The ids of its subnets; a network without one gives no addresses.
    #[serde(default, deserialize_with = "readable")]
    pub subnets: Vec<String>,
}

/// A security group and its rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    pub name: String,
    /// The text of its creator: the only mark of a group.
    #[serde(default, deserialize_with = "lenient")]
    pub description: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub project_id: Option<String>,
    /// What it lets through, as far as that can be read.
    #[serde(
        rename = "security_group_rules",
        default,
        deserialize_with = "readable"
    )]
    pub rules: Vec<Rule>,
}

/// A subnet: the addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subnet {
    pub id: String,
    pub network_id: String,
    /// Its block of addresses.
    pub cidr: String,
}

/// A port: where a server is in a network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Port {
    pub id: String,
    pub network_id: String,
    /// Its addresses.
    #[serde(default, deserialize_with = "readable")]
    pub fixed_ips: Vec<FixedIp>,
}

/// An address of a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FixedIp {
    pub ip_address: String,
}

/// A floating IP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FloatingIp {
    pub id: String,
    pub floating_ip_address: String,
    pub floating_network_id: String,
    /// The port it leads to; `None`: it is free. It must be there: without it nothing is known to be free.
    #[serde(deserialize_with = "Option::deserialize")]
    pub port_id: Option<String>,
    /// What its maker wrote to it: the only mark there is.
    #[serde(default)]
    pub description: Option<String>,
    /// What it leads to, where Neutron has the extension `fip-port-details`.
    #[serde(default, deserialize_with = "lenient")]
    pub port_details: Option<PortDetails>,
}

/// What a floating IP says of the port it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PortDetails {
    /// The UUID of the server that the port is of.
    #[serde(default)]
    pub device_id: Option<String>,
}

/// All networks that the project sees.
pub fn networks(session: &Session, deadline: Deadline) -> Result<Vec<Network>, Error> {
    list(session, "networks", "", deadline)
}

/// All subnets that the project sees.
pub fn subnets(session: &Session, deadline: Deadline) -> Result<Vec<Subnet>, Error> {
    list(session, "subnets", "", deadline)
}

/// The project's security groups with their rules.
pub fn security_groups(session: &Session, deadline: Deadline) -> Result<Vec<SecurityGroup>, Error> {
    // Each project has a group `default`.
    let filter = format!("?{}", session.of_project(deadline)?);
    list(session, "security-groups", &filter, deadline)
}

/// Makes a security group. Neutron gives it rules that let everything out.
pub fn create_security_group(
    session: &Session,
    name: &str,
    description: &str,
    deadline: Deadline,
) -> Result<SecurityGroup, Error> {
    let fields = json!({ "name": name, "description": description });
    create(session, "security_group", &fields, deadline)
}

/// The security group of this id; `None` when it is gone.
pub fn security_group(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<SecurityGroup>, Error> {
    show(session, "security-groups", id, "security_group", deadline)
}

/// Deletes a security group. One that is gone already is no error; one that a port has is refused (409).
pub fn delete_security_group(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/security-groups/{id}");
    session.delete(Service::Network, &path, deadline).map(drop)
}

/// Adds a rule to the security group `group`, with its mark. One that is there already is no error.
pub fn create_rule(
    session: &Session,
    group: &str,
    rule: &Rule,
    description: &str,
    deadline: Deadline,
) -> Result<(), Error> {
    let fields = json!({
        "security_group_id": group,
        "description": description,
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol,
        "port_range_min": rule.port_range_min,
        "port_range_max": rule.port_range_max,
        "remote_group_id": rule.remote_group_id,
        "remote_ip_prefix": rule.remote_ip_prefix,
    });
    match create::<Rule>(session, "security_group_rule", &fields, deadline) {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The rule of this id; `None` when it is gone.
pub fn rule(session: &Session, id: &str, deadline: Deadline) -> Result<Option<Rule>, Error> {
    show(
        session,
        "security-group-rules",
        id,
        "security_group_rule",
        deadline,
    )
}

/// Deletes a rule. One that is gone already is no error.
pub fn delete_rule(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/security-group-rules/{id}");
    session.delete(Service::Network, &path, deadline).map(drop)
}

/// The ports of a server.
pub fn ports(session: &Session, server_id: &str, deadline: Deadline) -> Result<Vec<Port>, Error> {
    let filter = format!("?device_id={}", percent_encoded(server_id));
    list(session, "ports", &filter, deadline)
}

/// Asks for a port in a network that no cloud has: Neutron looks at the rights first, so this tells of them and creates
/// nothing.
pub fn try_create_port(session: &Session, deadline: Deadline) -> Result<(), Error> {
    let nowhere = "00000000-0000-0000-0000-000000000000";
    create::<Thing>(session, "port", &json!({ "network_id": nowhere }), deadline).map(|_| ())
}

/// The ports of these servers, which may be gone: as many as fit into the line of a request.
pub fn ports_of(
    session: &Session,
    server_ids: &[&str],
    deadline: Deadline,
) -> Result<Vec<PortRecord>, Error> {
    ports_by(session, "device_id", server_ids, deadline)
}

/// The ports of these ids that still exist: as many as fit into the line of a request.
pub fn ports_with(
    session: &Session,
    ids: &[&str],
    deadline: Deadline,
) -> Result<Vec<PortRecord>, Error> {
    ports_by(session, "id", ids, deadline)
}

fn ports_by(
    session: &Session,
    key: &str,
    values: &[&str],
    deadline: Deadline,
) -> Result<Vec<PortRecord>, Error> {
    let ids = values.iter();
    let ids: Vec<String> = ids
        .map(|id| format!("{key}={}", percent_encoded(id)))
        .collect();
    // Without a filter it would be every port.
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ports: Vec<DevicePort> = list(session, "ports", &format!("?{}", ids.join("&")), deadline)?;
    Ok(ports.into_iter().map(DevicePort::record).collect())
}

/// The port of this id; `None` when it is gone.
pub fn port(session: &Session, id: &str, deadline: Deadline) -> Result<Option<PortRecord>, Error> {
    let port: Option<DevicePort> = show(session, "ports", id, "port", deadline)?;
    Ok(port.map(DevicePort::record))
}

/// Deletes a port. One that is gone already is no error.
pub fn delete_port(session: &Session, id: &str, deadline: Deadline) -> Result<Done, Error> {
    session.delete(Service::Network, &format!("/ports/{id}"), deadline)
}

/// The project's floating IPs.
pub fn floating_ips(session: &Session, deadline: Deadline) -> Result<Vec<FloatingIp>, Error> {
    let filter = format!("?{}", session.of_project(deadline)?);
    list(session, "floatingips", &filter, deadline)
}

/// The floating IP of this id; `None` when it is gone.
pub fn floating_ip(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<FloatingIp>, Error> {
    show(session, "floatingips", id, "floatingip", deadline)
}

/// Takes a floating IP of the external network `network_id` and lets it lead to `port_id`.
pub fn create_floating_ip(
    session: &Session,
    network_id: &str,
    port_id: &str,
    description: &str,
    deadline: Deadline,
) -> Result<FloatingIp, Error> {
    let fields = json!({
        "floating_network_id": network_id,
        "port_id": port_id,
        "description": description,
    });
    create(session, "floatingip", &fields, deadline)
}

/// Lets the floating IP `id` lead to `port_id`.
pub fn associate_floating_ip(
    session: &Session,
    id: &str,
    port_id: &str,
    deadline: Deadline,
) -> Result<(), Error> {
    let body = json!({ "floatingip": { "port_id": port_id } });
    let request = Request::json(Method::PUT, RequestKind::Repeatable, &body);
    let path = format!("/floatingips/{id}");
    session
        .send(Service::Network, &path, &request, deadline)
        .map(|_| ())
}

/// Takes the floating IP `id` off the port it leads to; it stays the project's. Sent once: a repetition could come after
/// somebody has led it elsewhere. One that is gone already is no error.
pub fn disassociate_floating_ip(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Done, Error> {
    let body = json!({ "floatingip": { "port_id": null } });
    let request = Request::json(Method::PUT, RequestKind::Once, &body);
    let path = format!("/floatingips/{id}");
    match session.send(Service::Network, &path, &request, deadline) {
        Ok(_) => Ok(Done::Accepted),
        Err(error) if error.status() == Some(404) => Ok(Done::AlreadyGone),
        Err(error) => Err(error),
    }
}

/// Gives a floating IP back. One that is gone already is no error.
pub fn delete_floating_ip(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/floatingips/{id}");
    session.delete(Service::Network, &path, deadline).map(drop)
}

/// The id of the network that is called `network` or has this id. Several of one name are an error.
pub fn network_id(session: &Session, network: &str, deadline: Deadline) -> Result<String, Error> {
    the_only(session, "network", "networks", "", network, deadline)
}

/// The id of the project's security group that is called `group` or has this id. Several of one name are an error.
pub fn security_group_id(
    session: &Session,
    group: &str,
    deadline: Deadline,
) -> Result<String, Error> {
    // Each project has a group `default`.
    let project = format!("&{}", session.of_project(deadline)?);
    the_only(
        session,
        "security group",
        "security-groups",
        &project,
        group,
        deadline,
    )
}

fn the_only(
    session: &Session,
    what: &'static str,
    collection: &str,
    filter: &str,
    name: &str,
    deadline: Deadline,
) -> Result<String, Error> {
    let value = percent_encoded(name);
    let look = |by: &str| -> Result<Items<Thing>, Error> {
        let query = format!("?{by}={value}&fields=id{filter}");
        items_of(session, collection, &query, deadline)
    };
    let mut found = if looks_like_id(name) {
        look("id")?
    } else {
        Items::default()
    };
    if found.read.is_empty() {
        found = look("name")?;
    }
    match (found.read.as_slice(), found.unread.first()) {
        ([only], None) => Ok(only.id.clone()),
        // The one that cannot be read is one of this name, too.
        (_, Some(unread)) => Err(Error::Unreadable {
            cloud: session.settings().name.clone(),
            unread: unread.told.clone(),
        }),
        ([], None) => Err(not_found(session, what, name, String::new())),
        (several, None) => {
            let ids = several.iter().map(|thing| thing.id.as_str());
            Err(ambiguous(session, what, name, ids))
        }
    }
}

/// A collection. Neutron gives all of it at once unless it is asked for pages (or its operators limit them, which
/// then is beyond what one project has).
fn list<T: serde::de::DeserializeOwned>(
    session: &Session,
    collection: &str,
    query: &str,
    deadline: Deadline,
) -> Result<Vec<T>, Error> {
    items_of(session, collection, query, deadline).map(|items| items.read)
}

/// The same, with the items that cannot be read.
fn items_of<T: serde::de::DeserializeOwned>(
    session: &Session,
    collection: &str,
    query: &str,
    deadline: Deadline,
) -> Result<Items<T>, Error> {
    let path = format!("/{collection}{query}");
    let answer = session.get(Service::Network, &path, deadline)?;
    let things: Vec<&RawValue> = answer.field(&collection.replace('-', "_"))?;
    let items = items::each(&kind(collection), &things);
    session.tell(items.unread.iter().map(|item| &item.told));
    Ok(items)
}

/// The word for a thing of this collection.
fn kind(collection: &str) -> String {
    match collection {
        "floatingips" => "floating IP".to_owned(),
        other => other.trim_end_matches('s').replace('-', " "),
    }
}

/// One thing by its id; `None` when it is gone.
fn show<T: serde::de::DeserializeOwned>(
    session: &Session,
    collection: &str,
    id: &str,
    what: &str,
    deadline: Deadline,
) -> Result<Option<T>, Error> {
    let path = format!("/{collection}/{id}");
    let answer = session.find(Service::Network, &path, deadline)?;
    answer.map(|answer| answer.field(what)).transpose()
}

/// Makes one thing: sent once.
fn create<T: serde::de::DeserializeOwned>(
    session: &Session,
    what: &str,
    fields: &serde_json::Value,
    deadline: Deadline,
) -> Result<T, Error> {
    let path = format!("/{}s", what.replace('_', "-"));
    let (kind, body) = (RequestKind::Once, json!({ what: fields }));
    session
        .post(Service::Network, &path, kind, &body, deadline)?
        .field(what)
}

#[derive(Deserialize)]
struct DevicePort {
    id: String,
    /// One that has a name is somebody's: what cannot be read is none without.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    device_id: String,
    /// It must be there: without it nothing is known to be Nova's.
    device_owner: String,
}

impl DevicePort {
    fn record(self) -> PortRecord {
        PortRecord {
            id: self.id,
            name: self.name.unwrap_or_default(),
            device_id: self.device_id,
            device_owner: self.device_owner,
        }
    }
}

#[derive(Deserialize)]
struct Thing {
    id: String,
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    let Ok(lists) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body) else {
        return;
    };
    for list in lists.values() {
        let things: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
        drop(items::each::<Network>("network", &things));
        drop(items::each::<SecurityGroup>("security group", &things));
        drop(items::each::<Subnet>("subnet", &things));
        drop(items::each::<Port>("port", &things));
        drop(items::each::<DevicePort>("port", &things));
        drop(items::each::<FloatingIp>("floating IP", &things));
    }
}
