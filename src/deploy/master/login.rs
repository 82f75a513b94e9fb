//! The way into a central manager: its user, its host key, and the private key of this machine.
//!
//! Must not: believe the console of a server that has users.

use std::fs;
use std::path::{Path, PathBuf};

use super::DeployOptions;
use super::error::DeployFailure;
use super::find::METADATA_READY;
use super::known_hosts::{keep_host_keys, knows};
use super::spec::{DeployOverrides, MasterSpec};
use crate::console::{host_keys, login_user};
use crate::prerequisites::same_key;
use crate::ssh::Login;
use openstack::CloudSettings;
use scaling::observation::ServerRecord;
use system::rights;

/// The user to log in as: its console may have forgotten.
pub(super) const METADATA_LOGIN: &str = "ehos_login";
/// One of its public host keys. Who reads the metadata of a server may also read its console, but only the console can
/// be written to from within.
pub(super) const METADATA_HOST_KEY: &str = "ehos_host_key";

/// How to log in.
pub(super) fn login(
    record: &ServerRecord,
    console: &str,
    spec: &MasterSpec,
    options: &DeployOptions,
) -> Result<Login, DeployFailure> {
    let file = &options.proof.known_hosts;
    let unkept = |source: std::io::Error| DeployFailure::KnownHosts {
        path: file.clone(),
        why: rights::told(file, &source).to_string(),
    };
    let said = |key: &str| record.metadata.get(key).cloned();
    // Once it is ready it has users, and any of them can have a line written to the console: the kernel tells there
    // the name of a program that crashes. So what was learnt before counts, and no console.
    let is_ready = record.metadata.contains_key(METADATA_READY);
    let was_known = knows(file, &record.id).map_err(unkept)?;
    let keys = match (is_ready, was_known) {
        (true, true) => Vec::new(),
        (true, false) => said(METADATA_HOST_KEY).into_iter().collect(),
        (false, _) => host_keys(console),
    };
    if !keys.is_empty() {
        keep_host_keys(file, &record.id, &keys).map_err(unkept)?;
    }
    let is_known = was_known || !keys.is_empty();
    if !is_known && !options.accept_host_key {
        return Err(DeployFailure::GaveUp(no_host_key(is_ready, file)));
    }
    let on_console = (!is_ready).then(|| login_user(console)).flatten();
    let user = match (options.user, on_console) {
        (Some(user), _) => user.to_owned(),
        (None, Some(login)) if login.has_key => login.name,
        (None, Some(login)) => {
            return Err(DeployFailure::GaveUp(format!(
                "its user {} has no key: keypair {} did not come into the server",
                login.name, spec.key.name
            )));
        }
        (None, None) => said(METADATA_LOGIN).ok_or_else(|| {
            let place = if is_ready { "metadata" } else { "console" };
            DeployFailure::GaveUp(format!(
                "its {place} does not name the user for the login; give --ssh-user"
            ))
        })?,
    };
    Ok(Login {
        user,
        identity: spec.identity.clone(),
        known_hosts: file.clone(),
        host_key_alias: record.id.clone(),
        accept_host_key: !is_known && options.accept_host_key,
        program: PathBuf::from("ssh"),
    })
}

fn no_host_key(is_ready: bool, known_hosts: &Path) -> String {
    let why = if is_ready {
        format!(
            "its SSH host key is neither in {} nor in its metadata ({METADATA_HOST_KEY}), and the console of a server \
             that has users is not believed",
            known_hosts.display()
        )
    } else {
        "its console does not show its SSH host key (cloud-init's ssh.emit_keys_to_console)"
            .to_owned()
    };
    format!(
        "{why}, so its identity cannot be verified; give --accept-host-key if you trust the network"
    )
}

/// The private key that belongs to `public_key` (a keypair's): the one that was given, else one of ~/.ssh, so that ssh need
/// not try all.
///
/// # Errors
/// When the public half of the given one lies beside it and is not this key, or it is not there.
pub(super) fn identity(
    overrides: &DeployOverrides,
    public_key: &str,
    settings: &CloudSettings,
) -> anyhow::Result<Option<PathBuf>> {
    let environment = overrides.environment;
    let is_same = |file: &Path| {
        fs::read_to_string(file)
            .ok()
            .map(|text| same_key(&text, public_key))
    };
    if let Some(given) = overrides.identity {
        let given = environment.working_directory.join(given);
        if !given.is_file() {
            anyhow::bail!("--identity {}: there is no such file", given.display());
        }
        let public = PathBuf::from(format!("{}.pub", given.display()));
        if is_same(&public) == Some(false) && !public_key.is_empty() {
            anyhow::bail!(
                "--identity {} is not the key of the keypair `{}` of cloud {}: give the private half of that, or \
                 configure another `key`",
                given.display(),
                settings.key.as_deref().unwrap_or_default(),
                settings.name
            );
        }
        return Ok(Some(given));
    }
    let home = environment.variables.get("HOME");
    let entries = home.and_then(|home| fs::read_dir(Path::new(home).join(".ssh")).ok());
    Ok(entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "pub"))
        .filter(|path| is_same(path) == Some(true))
        .map(|path| path.with_extension(""))
        .find(|path| path.is_file()))
}
