//! Finds the central manager of this pool among the servers of a cloud, and tells it from a forgery.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use log::warn;

use super::error::{CleanUp, DeployFailure, Error};
use super::known_hosts::knows;
use super::looking;
use crate::boot::Failure;
use config::Config;
use openstack::auth::Session;
use openstack::{self, CloudSettings, compute};
use scaling::observation::{METADATA_IMAGE, OwnedServer, Role, ServerRecord, ServerStatus};
use scaling::signing::SigningKeys;
use scaling::sorting;
use system::deadline::Deadline;

/// Metadata key: when its installation was whole.
pub(super) const METADATA_READY: &str = "ehos_ready";

/// How the central manager of this pool is told from a server of somebody else that says so.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Sign the metadata of servers.
    pub keys: SigningKeys,
    /// The host keys that this machine has learnt, by the UUIDs of servers: those were deployed from here.
    pub(super) known_hosts: PathBuf,
    /// UUIDs that an operator trusts (`--trust-server`).
    pub(super) trusted: Vec<String>,
}

impl Proof {
    /// That of the state directory `directory`, which keeps the host keys.
    pub fn new(keys: SigningKeys, directory: &Path, trusted: &[String]) -> Proof {
        Proof {
            keys,
            known_hosts: directory.join("known_hosts"),
            trusted: trusted.to_vec(),
        }
    }

    fn holds(&self, server: &OwnedServer) -> bool {
        let is_known = || knows(&self.known_hosts, server.id()).unwrap_or(false);
        let is_trusted = || self.trusted.iter().any(|id| id == server.id());
        server.is_signed() || is_trusted() || is_known()
    }
}

/// A central manager that is there.
#[derive(Debug)]
pub struct FoundMaster {
    /// Its server.
    pub record: ServerRecord,
    /// A whole installation has marked it as ready.
    pub is_ready: bool,
}

impl FoundMaster {
    /// The image, as configured, where an interrupted run has begun it and it is not ready: what is made of that image
    /// goes on, and of another one it would be made anew.
    pub fn unfinished_image(&self) -> Option<&String> {
        let record = &self.record;
        let is_alive = matches!(record.status, ServerStatus::Build | ServerStatus::Active);
        (is_alive && !record.deleting && !self.is_ready)
            .then(|| record.metadata.get(METADATA_IMAGE))
            .flatten()
    }
}

/// Finds the central manager of the pool `cluster` in the cloud of `session`. Nothing is changed.
///
/// # Errors
/// What the cloud says, and several central managers, or one that is not signed.
pub fn find(
    session: &Session,
    cluster: &str,
    proof: &Proof,
    deadline: Deadline,
) -> Result<Option<FoundMaster>, Error> {
    let found = the_master(session, cluster, proof, deadline).map_err(|cause| Error {
        cloud: session.settings().name.clone(),
        name: String::new(),
        cause: Box::new(cause),
        clean_up: CleanUp::Nothing,
    })?;
    Ok(found.map(|record| FoundMaster {
        is_ready: record.metadata.contains_key(METADATA_READY),
        record,
    }))
}

/// Checks that no other cloud of the configuration than `here` has a central manager: a pool has one.
///
/// # Errors
/// When one has, or does not say.
pub fn no_other(config: &Config, here: &str, proof: &Proof) -> anyhow::Result<()> {
    let deadline = looking();
    let find = |settings: &CloudSettings| {
        let session = Session::new(settings, config.timeouts.request, None)?;
        let found = find(&session, &config.policy.cluster, proof, deadline)?;
        anyhow::Ok(found.filter(|found| !found.record.deleting))
    };
    if config.clouds.len() < 2 {
        return Ok(());
    }
    let (own, others): (Vec<_>, Vec<_>) = config.clouds.iter().partition(|it| it.name == here);
    for own in own {
        if find(own)?.is_some() {
            return Ok(());
        }
    }
    for other in others {
        let found = find(other).with_context(|| {
            format!(
                "cloud {}: whether the central manager of this pool is there cannot be seen, and a second one would work \
                 against it; run this again when the cloud answers, or take it out of the configuration",
                other.name
            )
        })?;
        if let Some(FoundMaster { record, .. }) = found {
            bail!(
                "the central manager of this pool is in cloud {}: {} ({}); bring it up to date with --cloud {}, or \
                 delete it before you make another one in cloud {}",
                other.name,
                record.name,
                record.id,
                other.name,
                here
            );
        }
    }
    Ok(())
}

/// Whether ehos ticks on this central manager.
pub(crate) fn is_ready(record: &ServerRecord) -> bool {
    !record.deleting && record.metadata.contains_key(METADATA_READY)
}

/// Whether the cloud of `session` has a central manager of this pool on which ehos ticks.
///
/// # Errors
/// What the cloud says.
pub fn has_ready_master(
    session: &Session,
    cluster: &str,
    deadline: Deadline,
) -> Result<bool, openstack::Error> {
    let masters = masters(session, cluster, deadline)?;
    Ok(masters.iter().any(|master| is_ready(master.record())))
}

/// The one server of this pool that is its central manager.
pub(super) fn the_master(
    session: &Session,
    cluster: &str,
    proof: &Proof,
    deadline: Deadline,
) -> Result<Option<ServerRecord>, Failure<DeployFailure>> {
    let checked = masters(session, cluster, deadline)?
        .into_iter()
        .map(|server| server.checked(&proof.keys, Timestamp::now()));
    let (own, others): (Vec<OwnedServer>, Vec<OwnedServer>) =
        checked.partition(|server| proof.holds(server));
    let others: Vec<String> = others
        .iter()
        .map(OwnedServer::record)
        .filter(|record| !record.deleting)
        .map(in_words)
        .collect();
    if !others.is_empty() {
        if own.is_empty() {
            return Err(Failure::Ending(DeployFailure::Unsigned(others)));
        }
        warn!(
            "cloud {}: {}: carries the id of this pool as its central manager, without a valid ehos_proof: not touched; \
             delete it when it is nobody's",
            session.settings().name,
            others.join(", ")
        );
    }
    let mut masters: Vec<ServerRecord> = own.iter().map(|server| server.record().clone()).collect();
    if masters.iter().filter(|record| !record.deleting).count() > 1 {
        let masters = masters.iter().map(in_words).collect();
        return Err(Failure::Ending(DeployFailure::Several(masters)));
    }
    // One that is going counts only while there is no other.
    sorting::by_key(&mut masters, |record| record.deleting);
    Ok(masters.into_iter().next())
}

fn masters(
    session: &Session,
    cluster: &str,
    deadline: Deadline,
) -> Result<Vec<OwnedServer>, openstack::Error> {
    let servers = compute::servers(session, deadline)?;
    session.tell(servers.told());
    for server in &servers.unread {
        let role = match server.of(cluster) {
            Some(obscure) => obscure.role,
            None => continue,
        };
        let named = server.item.name.as_deref();
        // Nobody knows whether this one is it: a second one would be one too many.
        if role == Some(Role::Master)
            || role.is_none() && named.is_some_and(|name| name.ends_with("-master"))
        {
            return Err(openstack::Error::Unreadable {
                cloud: session.settings().name.clone(),
                unread: server.item.told.clone(),
            });
        }
    }
    Ok(servers
        .records
        .into_iter()
        .filter_map(|record| OwnedServer::recognise(record, cluster))
        .filter(|server| server.role() == Role::Master)
        .collect())
}

fn in_words(record: &ServerRecord) -> String {
    match record.metadata.get(METADATA_READY) {
        Some(since) => format!("{} ({}, ready since {since})", record.name, record.id),
        None => format!("{} ({}, not ready)", record.name, record.id),
    }
}
