//! Creates the prerequisites of a cloud where they are missing: keypair, security group with its rules, server group.
//!
//! Owns: the requests behind `ehos cloud setup` and `ehos check --fix`. Existing objects never change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use scaling::sorting::IntoMap;

use crate::local_keys::LocalKeys;
use crate::prerequisites::{self, Asked, Change, Part, PublicKey, There};
use config::{Config, Names};
use openstack::auth::Session;
use openstack::rule::Prefix;
use openstack::{CloudSettings, compute, network, server_group};
use system::deadline::Deadline;
use system::environment::Environment;

/// Where `ssh-keygen` puts public keys, the better kinds first.
const PUBLIC_KEYS: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];

/// The request for one or more clouds.
#[derive(Debug)]
pub struct SetupRequest<'a> {
    pub config: &'a Config,
    pub public_key: Option<PublicKey>,
    pub here: &'a LocalKeys,
    /// The networks from which SSH is permitted.
    pub ssh_from: &'a [Prefix],
    pub external: bool,
    pub parts: &'a [Part],
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepResult {
    Planned,
    Done,
    Failed,
    /// Another change failed before.
    NotDone,
}

/// The result of one cloud.
#[derive(Debug, Default)]
pub struct CloudResult {
    pub steps: Vec<(Change, StepResult)>,
    /// The keypair that exists, or would.
    pub key: Option<String>,
    /// The names that the configuration does not have yet.
    pub names: Names,
    /// The remedy if no private key here fits the keypair.
    pub note: Option<String>,
    pub error: Option<anyhow::Error>,
}

impl CloudResult {
    pub fn is_unanswered(&self) -> bool {
        let error = self.error.as_ref();
        error
            .and_then(|error| error.downcast_ref::<openstack::Error>())
            .is_some_and(openstack::Error::is_unanswered)
    }
}

impl SetupRequest<'_> {
    /// Creates missing items in one cloud.
    pub fn perform(&self, settings: &CloudSettings) -> CloudResult {
        let mut result = CloudResult::default();
        if let Err(error) = self.create(settings, &mut result) {
            result.error = Some(error);
            result.key = None;
            result.note = None;
        }
        result
    }

    fn create(&self, settings: &CloudSettings, result: &mut CloudResult) -> anyhow::Result<()> {
        let deadline = Deadline::within(self.config.timeouts.tick);
        let session = Session::new(settings, self.config.timeouts.request, None)?;
        let there = look(&session, deadline)?;
        let cluster = &self.config.policy.cluster;
        let default_group = prerequisites::group_name(&there, cluster);
        let mut groups: Vec<&str> = settings
            .security_groups
            .iter()
            .map(String::as_str)
            .collect();
        if groups.is_empty() {
            groups.push(&default_group);
        }
        let asked = Asked {
            key: settings.key.as_deref(),
            public_key: self.public_key.clone(),
            groups,
            server_group: settings
                .server_group
                .as_deref()
                .map(|name| (name, settings.server_group_policy.as_str())),
            ssh_from: self.ssh_from,
            external: self.external,
            cluster,
        };
        let changes = prerequisites::wanted(&there, &asked, self.parts)?;
        let key = prerequisites::key_name(&there, &asked);
        result.note = not_held(&there, &asked, &key, self.here);
        let has = |part| self.parts.contains(&part);
        result.names = Names {
            key: (settings.key.is_none() && has(Part::Key)).then(|| key.clone()),
            security_group: (settings.security_groups.is_empty() && has(Part::SecurityGroup))
                .then(|| default_group.clone()),
        };
        result.key = Some(key);
        if self.dry_run || changes.is_empty() {
            let planned = changes
                .into_iter()
                .map(|change| (change, StepResult::Planned));
            result.steps.extend(planned);
            return Ok(());
        }
        make(&session, &there, changes, result, deadline)?;
        let missing = prerequisites::wanted(&look(&session, deadline)?, &asked, self.parts)?;
        if let Some(change) = missing.first() {
            bail!(
                "accepted by the cloud, but not listed: {change}; run this command again, or check `openstack security group \
                 rule list`, `openstack server group list` and `openstack keypair list`"
            );
        }
        Ok(())
    }
}

/// Makes the changes until one fails.
fn make(
    session: &Session,
    there: &There,
    changes: Vec<Change>,
    result: &mut CloudResult,
    deadline: Deadline,
) -> anyhow::Result<()> {
    let mut made = None;
    let mut failed = None;
    for change in changes {
        if failed.is_some() {
            result.steps.push((change, StepResult::NotDone));
            continue;
        }
        match perform(session, there, &change, &mut made, deadline) {
            Ok(()) => result.steps.push((change, StepResult::Done)),
            Err(error) => {
                result.steps.push((change, StepResult::Failed));
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The remedy if no private key here fits the keypair `name`, which exists or will be added.
fn not_held(there: &There, asked: &Asked, name: &str, here: &LocalKeys) -> Option<String> {
    let public = match there.keypairs.iter().find(|pair| pair.name == name) {
        Some(pair) => &pair.public_key,
        None => &asked.public_key.as_ref()?.line,
    };
    let given = asked.public_key.as_ref().filter(|key| key.named);
    if given.is_some_and(|key| prerequisites::same_key(public, &key.line)) {
        // A user who names a public key has its private key.
        return None;
    }
    here.missing(name, public).map(|advice| advice.to_string())
}

fn look(session: &Session, deadline: Deadline) -> Result<There, openstack::Error> {
    Ok(There {
        keypairs: compute::keypairs(session, deadline)?,
        groups: network::security_groups(session, deadline)?,
        server_groups: match session.settings().server_group {
            Some(_) => server_group::server_groups(session, deadline)?,
            None => Vec::new(),
        },
    })
}

/// Makes one change; `made` is the id of the group that was made before.
fn perform(
    session: &Session,
    there: &There,
    change: &Change,
    made: &mut Option<String>,
    deadline: Deadline,
) -> anyhow::Result<()> {
    match change {
        Change::ImportKey { name, key } => {
            match compute::import_keypair(session, name, &key.line, deadline) {
                Ok(_) => Ok(()),
                Err(error) if error.status() == Some(409) => Err(error).with_context(|| {
                    format!(
                        "keypair {name} exists, although the API does not list it; set `key:` to another name"
                    )
                }),
                Err(error) => Err(error.into()),
            }
        }
        Change::CreateGroup { name, description } => {
            let group = network::create_security_group(session, name, description, deadline)?;
            *made = Some(group.id);
            Ok(())
        }
        Change::CreateServerGroup { name, policy } => {
            server_group::create(session, name, policy, deadline)?;
            Ok(())
        }
        Change::AddRule {
            group,
            traffic,
            description,
        } => {
            let id = match made {
                Some(id) => id.clone(),
                None => prerequisites::group(&there.groups, group)?
                    .map(|group| group.id.clone())
                    .with_context(|| format!("security group {group} does not exist"))?,
            };
            network::create_rule(session, &id, &traffic.rule(&id), description, deadline)?;
            Ok(())
        }
    }
}

/// Writes the names of the created objects to 40-cloud.yaml, for clouds whose configuration has none.
///
/// # Errors
/// The file cannot be written.
pub fn keep_names(
    config: &Config,
    results: &[(&CloudSettings, CloudResult)],
) -> Result<Option<PathBuf>, config::Error> {
    let names: BTreeMap<String, Names> = results
        .iter()
        .filter(|(_, result)| result.error.is_none())
        .map(|(settings, result)| (settings.name.clone(), result.names.clone()))
        .into_map();
    config.keep_names(&names)
}

/// The public key in `file`, or the first that `ssh-keygen` made for this user.
///
/// # Errors
/// The file cannot be read, or is not a public key.
pub fn public_key(
    file: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<Option<PublicKey>> {
    if let Some(file) = file {
        let file = environment.working_directory.join(file);
        let line = read_public_key(&file)?;
        return Ok(Some(PublicKey {
            line,
            file: file.display().to_string(),
            named: true,
        }));
    }
    let Some(home) = environment.variables.get("HOME") else {
        return Ok(None);
    };
    let folder = Path::new(home).join(".ssh");
    let Some(file) = PUBLIC_KEYS
        .iter()
        .map(|name| folder.join(name))
        .find(|file| file.is_file())
    else {
        return Ok(None);
    };
    Ok(Some(PublicKey {
        line: read_public_key(&file)?,
        file: file.display().to_string(),
        named: false,
    }))
}

fn read_public_key(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| {
        format!("public key {shown}: cannot be read; give a readable file by --public-key")
    })?;
    if text.contains("PRIVATE KEY") {
        bail!("{shown}: this is a private key; give the .pub file beside it");
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) if line.split_whitespace().count() >= 2 => Ok(line.to_owned()),
        _ => {
            bail!(
                "{shown}: not a public key; give a file with one line such as `ssh-ed25519 AAAA… comment`"
            )
        }
    }
}
