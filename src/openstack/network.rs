//! Neutron: networks and security groups of a name.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::{Request, percent_encoded};
use super::{ambiguous, looks_like_id, not_found};
use crate::deadline::Deadline;

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
    // An administrator sees the groups of all projects, each with its `default`.
    let project = match &session.token(deadline)?.project_id {
        Some(id) => format!("&project_id={}", percent_encoded(id)),
        None => String::new(),
    };
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
    let look = |by: &str| -> Result<Vec<Thing>, Error> {
        let path = format!("/{collection}?{by}={value}&fields=id{filter}");
        let answer = session.send(Service::Network, &path, &Request::get(), deadline)?;
        let lists: BTreeMap<String, Vec<Thing>> = answer.json()?;
        let key = collection.replace('-', "_");
        lists
            .into_iter()
            .find_map(|(found, things)| (found == key).then_some(things))
            .ok_or_else(|| Error::Unparsable {
                call: answer.call,
                why: format!("it has no {key}"),
            })
    };
    let mut found = if looks_like_id(name) {
        look("id")?
    } else {
        Vec::new()
    };
    if found.is_empty() {
        found = look("name")?;
    }
    match found.as_slice() {
        [only] => Ok(only.id.clone()),
        [] => Err(not_found(session, what, name, String::new())),
        several => {
            let ids = several.iter().map(|thing| thing.id.as_str());
            Err(ambiguous(session, what, name, ids))
        }
    }
}

#[derive(Deserialize)]
struct Thing {
    id: String,
}
