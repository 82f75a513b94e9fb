//! `ehos config render`: prints user data for a server that is created by hand.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::ConfigRender;
use config::{self, export, new_file};
use openstack::CloudSettings;
use scaling::action::Intent;
use scaling::observation::NodeId;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::rights;
use userdata::builtin_templates;
use userdata::cloudinit::Template;
use userdata::node::NodeUserData;

/// The template of nodes.
const EXECUTE: &str = "execute.yaml";
/// HTCondor may be asked for the trust domain and a token.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Prints the template with its tags filled in, or writes it to a file.
///
/// # Errors
/// The configuration ([`config::Error`]), a template that does not do, a value that is not to be had, and a file
/// that is there already.
pub fn run(
    args: &ConfigRender,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::ensure_cluster(&args.common.config, environment, true)?;
    let names: Vec<String> = args.cloud.iter().cloned().collect();
    let Some(settings) = config.chosen(&names)?.into_iter().next() else {
        bail!("a simulated site has no cloud for a server");
    };
    let path = template(&args.template, settings, environment)?;
    let template = Template::load(&path)?;

    let encoded = |text: &str| SecretString::from(BASE64.encode(text));
    let file = &settings.user_data_file;
    let execute = builtin_templates::read(file).map_err(|error| {
        anyhow!(
            "{}: cannot be read: {}",
            file.display(),
            rights::told(file, &error)
        )
    })?;
    let more = BTreeMap::from([
        ("execute_yaml", encoded(&execute)),
        ("ehos_yaml", encoded(&export::public(&config))),
    ]);
    let intent = Intent {
        // ehos identifies its nodes by the metadata of their servers, which this server will lack.
        node: NodeId(format!("by-hand-{}", Timestamp::now().as_second()).into()),
        name: String::new(),
        cloud: settings.name.clone(),
        flavor: settings.flavors.first().cloned().unwrap_or_default(),
        image: settings.image.clone(),
        zone: None,
        at: Timestamp::now(),
    };
    let user_data = NodeUserData::new(&config.condor, &config.policy, config.timeouts.command)
        .fill(
            &template,
            settings,
            &intent,
            settings.region.as_deref().unwrap_or_default(),
            more,
            Deadline::within(TIMEOUT),
        )
        .map_err(|failure| anyhow::anyhow!("{}", failure.message))?
        .text;
    for note in &config.notes {
        log::info!("{note}");
    }
    match &args.output {
        Some(file) => {
            let file = environment.working_directory.join(file);
            new_file(&file, user_data.expose_secret(), 0o600)?;
            log::info!(
                "{}: readable by its owner only, for it may contain a token",
                file.display()
            );
        }
        None => out.write_all(user_data.expose_secret().as_bytes())?,
    }
    Ok(Exit::Done)
}

/// The file of the template: that of the nodes of the cloud, one of a configuration folder, or any file.
fn template(
    wanted: &Path,
    settings: &CloudSettings,
    environment: &Environment,
) -> anyhow::Result<PathBuf> {
    if wanted == Path::new(EXECUTE) {
        return Ok(settings.user_data_file.clone());
    }
    let name = wanted.to_str().filter(|name| !name.contains('/'));
    let file = environment.working_directory.join(wanted);
    match name.and_then(|name| config::template(name, environment)) {
        _ if file.is_file() => Ok(file),
        Some(found) => Ok(found),
        None => {
            let folders: Vec<String> = config::folders(environment)
                .iter()
                .map(|folder| folder.display().to_string())
                .collect();
            bail!(
                "{}: no such template, neither here nor in {}",
                file.display(),
                folders.join(", ")
            )
        }
    }
}
