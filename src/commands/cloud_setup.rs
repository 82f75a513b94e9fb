//! `ehos cloud setup`: creates keypair, security group and server group where they are missing. It never changes
//! existing ones.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::cli::{CloudSetup, Output};
use config::{self, Config, Names};
use deploy::local_keys::LocalKeys;
use deploy::prerequisites::{self, Asked, Change, NAME, PublicKey, There};
use openstack::CloudSettings;
use openstack::auth::Session;
use openstack::{self, compute, network, server_group};
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::plain::line;

/// Where `ssh-keygen` puts public keys, the better kinds first.
const PUBLIC_KEYS: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];
/// The version of the JSON layout: raised when a field changes its meaning or is removed.
const VERSION: u32 = 2;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// The configuration or the public key is invalid, or 40-cloud.yaml cannot be written. Failures on a cloud are part of the
/// report.
pub fn run(
    args: &CloudSetup,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    if config.simulation.is_some() {
        bail!("the configuration describes a simulated site without clouds; remove `simulation:`");
    }
    let clouds = config.chosen(&args.clouds.names)?;
    let public_key = public_key(args, environment)?;
    let here = LocalKeys::look(environment);
    // In sequence: two entries may name the same project, and each would create a group of the same name.
    let reports: Vec<Report> = clouds
        .iter()
        .map(|settings| one(args, &config, settings, public_key.clone(), &here))
        .collect();
    let mut all = All {
        version: VERSION,
        dry_run: args.dry_run,
        file: None,
        exit: exit(&reports) as u8,
        clouds: &reports,
    };
    // The report is printed even if the file cannot be written.
    let kept = if args.dry_run {
        Ok(None)
    } else {
        keep(&config, &clouds, &reports)
    };
    if let Ok(file) = &kept {
        all.file.clone_from(file);
    }
    let printed = match args.output {
        Output::Text => all.text(),
        Output::Json => serde_json::to_string_pretty(&all)? + "\n",
    };
    out.write_all(printed.as_bytes())
        .context("the report cannot be printed")?;
    kept?;
    Ok(exit(&reports))
}

fn exit(reports: &[Report]) -> Exit {
    if reports.iter().all(|report| report.error.is_none()) {
        Exit::Done
    } else if reports.iter().all(|report| report.unanswered) {
        Exit::Unavailable
    } else {
        Exit::Failed
    }
}

/// The result of one cloud.
#[derive(Debug, Serialize)]
struct Report {
    cloud: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    changes: Vec<Step>,
    /// The remedy if no private key here fits the keypair.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    unanswered: bool,
}

/// A change and its result.
#[derive(Debug, Serialize)]
struct Step {
    change: &'static str,
    name: String,
    #[serde(rename = "text")]
    what: String,
    /// `planned`, `done`, `failed`, or `not_done` after another failed.
    result: &'static str,
}

impl Step {
    fn new(change: &Change, result: &'static str) -> Step {
        let (kind, name) = match change {
            Change::ImportKey { name, .. } => ("import_key", name),
            Change::CreateGroup { name, .. } => ("create_security_group", name),
            Change::CreateServerGroup { name, .. } => ("create_server_group", name),
            Change::AddRule { group, .. } => ("add_rule", group),
        };
        Step {
            change: kind,
            name: name.clone(),
            what: change.to_string(),
            result,
        }
    }
}

#[derive(Debug, Serialize)]
struct All<'a> {
    version: u32,
    dry_run: bool,
    clouds: &'a [Report],
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    exit: u8,
}

impl All<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        for report in self.clouds {
            let name = &report.cloud;
            for step in &report.changes {
                let result = match step.result {
                    "planned" => "would",
                    "not_done" => "not done",
                    other => other,
                };
                text.push_str(&line!("{name}: {result}: {}", step.what));
            }
            match &report.error {
                Some(error) => text.push_str(&line!("{name}: {error}")),
                None if report.changes.is_empty() => {
                    text.push_str(&line!("{name}: nothing to do"));
                }
                None => {}
            }
            if let Some(note) = &report.note {
                text.push_str(&line!("{name}: note: {note}"));
            }
        }
        if let Some(file) = &self.file {
            text.push_str(&line!(
                "{}: names keypair and security group from now on",
                file.display()
            ));
        }
        text
    }
}

fn one(
    args: &CloudSetup,
    config: &Config,
    settings: &CloudSettings,
    public_key: Option<PublicKey>,
    here: &LocalKeys,
) -> Report {
    let mut groups: Vec<&str> = settings
        .security_groups
        .iter()
        .map(String::as_str)
        .collect();
    if groups.is_empty() {
        groups.push(NAME);
    }
    let asked = Asked {
        key: settings.key.as_deref(),
        public_key,
        groups,
        server_group: settings
            .server_group
            .as_deref()
            .map(|name| (name, settings.server_group_policy.as_str())),
        ssh_from: &args.ssh_from,
        external: args.external,
        cluster: &config.policy.cluster,
    };
    let mut changes = Vec::new();
    let result = make(config, settings, &asked, here, args.dry_run, &mut changes);
    let (key, note, error) = match result {
        Ok((key, note)) => (Some(key), note, None),
        Err(error) => (None, None, Some(error)),
    };
    Report {
        key,
        note,
        cloud: settings.name.clone(),
        changes,
        unanswered: error.as_ref().is_some_and(|error| {
            let error = error.downcast_ref::<openstack::Error>();
            error.is_some_and(openstack::Error::is_unanswered)
        }),
        error: error.map(|error| format!("{error:#}")),
    }
}

/// Queries the cloud and creates missing items. Returns the name of the keypair, and the remedy without its private key.
fn make(
    config: &Config,
    settings: &CloudSettings,
    asked: &Asked,
    here: &LocalKeys,
    dry_run: bool,
    steps: &mut Vec<Step>,
) -> anyhow::Result<(String, Option<String>)> {
    let deadline = Deadline::within(config.timeouts.tick);
    let session = Session::new(settings, config.timeouts.request, None)?;
    let there = look(&session, deadline)?;
    let changes = prerequisites::wanted(&there, asked)?;
    let key = prerequisites::key_name(&there, asked);
    let note = not_held(&there, asked, &key, here);
    if dry_run || changes.is_empty() {
        steps.extend(changes.iter().map(|change| Step::new(change, "planned")));
        return Ok((key, note));
    }
    let mut made = None;
    let mut failed = None;
    for change in &changes {
        if failed.is_some() {
            steps.push(Step::new(change, "not_done"));
            continue;
        }
        match perform(&session, &there, change, &mut made, deadline) {
            Ok(()) => steps.push(Step::new(change, "done")),
            Err(error) => {
                steps.push(Step::new(change, "failed"));
                failed = Some(error);
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let missing = prerequisites::wanted(&look(&session, deadline)?, asked)?;
    if let Some(change) = missing.first() {
        bail!(
            "accepted by the cloud, but not listed: {change}; run this command again, or check `openstack security group \
             rule list`, `openstack server group list` and `openstack keypair list`"
        );
    }
    Ok((key, note))
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
        Change::AddRule { group, traffic } => {
            let id = match made {
                Some(id) => id.clone(),
                None => prerequisites::group(&there.groups, group)?
                    .map(|group| group.id.clone())
                    .with_context(|| format!("security group {group} does not exist"))?,
            };
            network::create_rule(session, &id, &traffic.rule(&id), deadline)?;
            Ok(())
        }
    }
}

/// Names of what is there now, for clouds whose configuration names none.
fn keep(
    config: &Config,
    clouds: &[&CloudSettings],
    reports: &[Report],
) -> Result<Option<PathBuf>, config::Error> {
    let names: BTreeMap<String, Names> = clouds
        .iter()
        .zip(reports)
        .filter(|(_, report)| report.error.is_none())
        .map(|(settings, report)| {
            let names = Names {
                key: report.key.clone().filter(|_| settings.key.is_none()),
                security_group: settings.security_groups.is_empty().then(|| NAME.to_owned()),
            };
            (settings.name.clone(), names)
        })
        .collect();
    config.keep_names(&names)
}

/// The public key of `--public-key`, or the first that `ssh-keygen` made for this user.
fn public_key(args: &CloudSetup, environment: &Environment) -> anyhow::Result<Option<PublicKey>> {
    if let Some(file) = &args.public_key {
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
