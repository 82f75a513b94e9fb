//! Server groups of Nova: on which hosts servers may be beside each other.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use ureq::http::Method;

use super::auth::Session;
use super::catalog::Service;
use super::error::{Error, RequestKind};
use super::http::Request;
use super::items::{self, Items};
use super::{ambiguous, among, called, not_found};
use system::deadline::Deadline;

/// The soft policies.
const SOFT: &str = "2.15";
/// One policy for each group, no list of them.
const ONE_POLICY: &str = "2.64";
/// What Nova answers when it does not have a microversion.
const NOT_ACCEPTABLE: u16 = 406;

/// A server group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerGroup {
    pub id: String,
    /// Its name, which need not be one group's alone.
    pub name: String,
    /// `anti-affinity`, `soft-anti-affinity`, `affinity` or `soft-affinity`.
    pub policy: String,
    /// How many servers are in it.
    pub members: u64,
}

/// The project's server groups: the first page of them, which has a thousand where Nova is as it comes.
pub fn server_groups(session: &Session, deadline: Deadline) -> Result<Vec<ServerGroup>, Error> {
    all(session, deadline).map(|groups| groups.read.into_iter().map(Group::record).collect())
}

fn all(session: &Session, deadline: Deadline) -> Result<Items<Group>, Error> {
    let answer = session.get(Service::Compute, "/os-server-groups", deadline)?;
    let server_groups: Vec<&RawValue> = answer.field("server_groups")?;
    let groups = items::each("server group", &server_groups);
    session.tell(groups.unread.iter().map(|item| &item.told));
    Ok(groups)
}

/// The server group of this id or name. Several of one name are an error.
pub fn find(session: &Session, wanted: &str, deadline: Deadline) -> Result<ServerGroup, Error> {
    let Items { read, unread } = all(session, deadline)?;
    let there: Vec<ServerGroup> = read.into_iter().map(Group::record).collect();
    // One of this name or id that cannot be read may be it.
    if let Some(item) = unread.iter().find(|item| item.is(wanted)) {
        return Err(Error::Unreadable {
            cloud: session.settings().name.clone(),
            unread: item.told.clone(),
        });
    }
    let called = called(&there, wanted, |group| [&group.id, &group.name]);
    match called.as_slice() {
        [only] => Ok((*only).clone()),
        [] => {
            let names: Vec<&str> = there.iter().map(|group| group.name.as_str()).collect();
            let hint = format!("{}: run `ehos cloud setup` to create it", among(&names));
            Err(not_found(session, "server group", wanted, hint))
        }
        several => {
            let ids = several.iter().map(|group| group.id.as_str());
            Err(ambiguous(session, "server group", wanted, ids))
        }
    }
}

/// Makes a server group. Sent once.
pub fn create(
    session: &Session,
    name: &str,
    policy: &str,
    deadline: Deadline,
) -> Result<ServerGroup, Error> {
    let send = |fields: serde_json::Value, microversion: &'static str| {
        let body = json!({ "server_group": fields });
        let request = Request::json(Method::POST, RequestKind::Once, &body).at(microversion);
        session.send(Service::Compute, "/os-server-groups", &request, deadline)
    };
    let answer = match send(json!({ "name": name, "policy": policy }), ONE_POLICY) {
        Err(error) if error.status() == Some(NOT_ACCEPTABLE) => {
            send(json!({ "name": name, "policies": [policy] }), SOFT)
        }
        answer => answer,
    }?;
    answer.field("server_group").map(Group::record)
}

/// Deletes a server group; its servers stay. One that is gone already is no error.
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/os-server-groups/{id}");
    session.delete(Service::Compute, &path, deadline).map(drop)
}

#[derive(Deserialize)]
struct Group {
    id: String,
    name: String,
    /// Below 2.64.
    #[serde(default, deserialize_with = "items::readable")]
    policies: Vec<String>,
    #[serde(default, deserialize_with = "items::lenient")]
    policy: Option<String>,
    #[serde(default)]
    members: Vec<serde::de::IgnoredAny>,
}

impl Group {
    fn record(self) -> ServerGroup {
        ServerGroup {
            policy: self
                .policy
                .or_else(|| self.policies.into_iter().next())
                .unwrap_or_default(),
            members: self.members.len() as u64,
            id: self.id,
            name: self.name,
        }
    }
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    drop(items::field::<Group>(body, "server_group"));
    if let Ok(list) = items::field::<Vec<&RawValue>>(body, "server_groups") {
        let groups = items::each::<Group>("server group", &list);
        groups
            .read
            .into_iter()
            .for_each(|group| drop(group.record()));
    }
}
