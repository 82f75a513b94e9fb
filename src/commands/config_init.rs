//! `ehos config init`: a first `ehos.yaml`, with what is found on the cloud.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use secrecy::ExposeSecret;

use crate::cli::ConfigInit;
use crate::init::choice::{self, Choice};
use crate::init::{source, text};
use config::{self, export, new_file, others_can_read};
use openstack::auth::Session;
use openstack::{self, compute, image, network};
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::plain::line;
use system::rights;

/// For all that is asked of the cloud.
const TIMEOUT: Duration = Duration::from_secs(120);
/// One request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes the file, and the secret beside it, and tells what was chosen and what comes next.
///
/// # Errors
/// Access that is missing or refused, and files that are there already. What is not found on the cloud is no error: it
/// is left to be filled in, and the exit code says so.
pub fn run(
    args: &ConfigInit,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let print = args.output == Path::new("-");
    let output = environment.working_directory.join(&args.output);
    if !print && output.exists() {
        bail!(
            "{}: exists, and is not overwritten; remove it, or name another file with -o",
            output.display()
        );
    }
    let mut access = source::access(
        args.openrc.as_deref(),
        args.os_cloud.as_deref(),
        args.name.as_deref(),
        environment,
    )?;
    let (secret, secret_name) = export::secret(&access.settings);
    let secret = secret.clone();
    let secret_file = output.with_file_name(&secret_name);
    let keep_secret = !print && !is_kept(&secret_file, secret.expose_secret())?;

    let deadline = Deadline::within(TIMEOUT);
    let session = Session::new(&access.settings, REQUEST_TIMEOUT, None)?;
    let region = session.token(deadline)?.catalog.region(&access.settings)?;
    let choices = choices(args, &session, environment, deadline);
    access.settings.region = Some(region);

    let cluster = config::new_cluster()?;
    let yaml = text::ehos_yaml(&access, &cluster, Path::new(&secret_name), &choices);
    let complete = choices
        .iter()
        .all(|choice| choice.value.is_some() || !choice.needed);
    let mut words = format!("cloud {}: {}\n", access.settings.name, access.origin);
    for note in &access.notes {
        words.push_str(&format!("note: {note}\n"));
    }
    for Choice {
        key, value, why, ..
    } in &choices
    {
        let value = value.as_deref().unwrap_or("-");
        // Names are what somebody on the cloud made of them.
        words.push_str(&line!("{key:<16} {value}: {why}"));
    }
    if print {
        out.write_all(yaml.as_bytes())?;
        words.push_str(&format!(
            "the secret is not printed: put it alone into a file {secret_name} beside this one (chmod 600)\n"
        ));
        eprint!("{words}");
    } else {
        // The secret first: a run that is stopped between the two can be repeated.
        if keep_secret {
            new_file(
                &secret_file,
                &format!("{}\n", secret.expose_secret()),
                0o600,
            )?;
        }
        new_file(&output, &yaml, 0o644)?;
        words.push_str(&format!(
            "\n{} is written; the secret is in {}{}\n",
            output.display(),
            secret_file.display(),
            if keep_secret {
                ", for its owner alone"
            } else if others_can_read(&secret_file) {
                ", where it was already; every user of this machine can read it: chmod 600 it"
            } else {
                ", where it was already"
            }
        ));
        words.push_str(&next(&output, complete, environment));
        out.write_all(words.as_bytes())?;
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
}

/// Whether the secret is in the file already.
fn is_kept(file: &Path, secret: &str) -> anyhow::Result<bool> {
    match std::fs::read_to_string(file) {
        Ok(there) if there.trim_end_matches(['\n', '\r']) == secret => Ok(true),
        Ok(_) => bail!(
            "{} is there already with another secret, and is not overwritten: remove it, or call the cloud otherwise \
             with --name",
            file.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => bail!(
            "cannot read {}: {}",
            file.display(),
            rights::told(file, &error)
        ),
    }
}

/// What is found on the cloud. Of a service that does not answer nothing is chosen, and why is told.
fn choices(
    args: &ConfigInit,
    session: &Session<'_>,
    environment: &Environment,
    deadline: Deadline,
) -> Vec<Choice> {
    let silent =
        |key, needed| move |error: openstack::Error| Choice::none(key, needed, error.to_string());
    let images = image::images(session, deadline);
    let (image_choice, image) = match &images {
        Ok(images) => choice::base_image(images),
        Err(error) => (Choice::none("base_image", true, error.to_string()), None),
    };
    let mut volume = None;
    let flavor = compute::flavors(session, deadline)
        .map(|flavors| {
            let ram_mb = mebibytes(args.min_ram);
            let chosen = choice::flavor(&flavors.read, args.min_cores, ram_mb, image);
            volume = choice::boot_volume(&flavors.read, &chosen, image);
            chosen
        })
        .unwrap_or_else(silent("flavor", true));
    let network = network::networks(session, deadline)
        .map(|networks| choice::network(&networks))
        .unwrap_or_else(silent("network", true));
    let key = compute::keypairs(session, deadline)
        .map(|keypairs| choice::key(&keypairs, &public_keys(environment)))
        .unwrap_or_else(silent("key", false));
    let group = network::security_groups(session, deadline)
        .map(|groups| choice::security_group(&groups))
        .unwrap_or_else(silent("security_groups", false));
    let mut choices = vec![image_choice, flavor];
    choices.extend(volume);
    choices.extend([network, key, group]);
    choices
}

/// The public keys of this user.
fn public_keys(environment: &Environment) -> Vec<String> {
    let Some(home) = environment.variables.get("HOME") else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(Path::new(home).join(".ssh")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    files.sort();
    // One that cannot be read is not this user's.
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

/// What comes next, with the file where it is not found by itself.
fn next(output: &Path, complete: bool, environment: &Environment) -> String {
    let found = config::template("ehos.yaml", environment);
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    let by_itself = !environment.variables.contains_key("EHOS_CONFIG")
        && found.as_deref().and_then(canonical) == canonical(output);
    let option = if by_itself {
        String::new()
    } else {
        let file = output
            .strip_prefix(&environment.working_directory)
            .unwrap_or(output);
        format!(" --config {}", file.display())
    };
    let mut words = String::new();
    if !complete {
        words.push_str("fill in what stands in < > first\n");
    }
    if !by_itself {
        words.push_str(&format!(
            "ehos looks for its configuration in {}; for this file say{option}, or set EHOS_CONFIG\n",
            config::folders(environment)
                .iter()
                .map(|folder| folder.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    words.push_str("next:\n");
    for (command, what) in [
        ("cloud setup", "adds keypair and security group"),
        ("check", "finds what is wrong before a server is made"),
        ("image build", "makes the golden image of nodes"),
        ("master deploy", "makes the central manager"),
    ] {
        words.push_str(&format!("  ehos {command}{option}  # {what}\n"));
    }
    words
}

/// GB in MiB, as everywhere in the configuration.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates.
fn mebibytes(gigabytes: f64) -> u64 {
    (gigabytes * 1024.0).ceil() as u64
}
