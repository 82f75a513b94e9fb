//! `ehos config init`: writes a first `ehos.yaml` from the items of a cloud.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use scaling::sorting;
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

/// The timeout of all requests to the cloud together.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes the configuration and the secret beside it, and prints the choices and the next steps.
///
/// # Errors
/// Access that is missing or refused, and files that exist already. Items missing in the cloud are no error: they become
/// placeholders, and the exit code reports them.
pub fn run(
    args: &ConfigInit,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let print = args.output == Path::new("-");
    let output = environment.working_directory.join(&args.output);
    if !print {
        refuse_existing(&output, "-o")?;
    }
    let drop_in = args.credential_drop_in.as_deref();
    let drop_in = drop_in.map(|file| environment.path(file));
    if let Some(file) = &drop_in {
        refuse_existing(file, "--credential-drop-in")?;
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
    let mut words = found(&access, &choices);
    if print {
        out.write_all(yaml.as_bytes())?;
        words.push_str(&format!(
            "the secret is not printed; write it to a file {secret_name} beside this one (chmod 600)\n"
        ));
        eprint!("{words}");
    } else {
        // The secret comes first: a run that stops between the two can be repeated.
        if keep_secret {
            new_file(
                &secret_file,
                &format!("{}\n", secret.expose_secret()),
                0o600,
            )?;
        }
        if let Some(file) = &drop_in {
            words.push_str(&write_drop_in(file, &secret_file)?);
        }
        new_file(&output, &yaml, 0o644)?;
        words.push_str(&format!(
            "\nwrote {}; the secret is in {}{}\n",
            output.display(),
            secret_file.display(),
            if keep_secret {
                ", readable by its owner only"
            } else if others_can_read(&secret_file) {
                ", unchanged; every user of this machine can read it: run chmod 600"
            } else {
                ", unchanged"
            }
        ));
        words.push_str(&next(&output, complete, environment));
        out.write_all(words.as_bytes())?;
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
}

fn refuse_existing(file: &Path, option: &str) -> anyhow::Result<()> {
    if file.exists() {
        bail!(
            "{}: exists, and is not overwritten; remove it, or give another file with {option}",
            file.display()
        );
    }
    Ok(())
}

/// The access, and the choice for each key.
fn found(access: &source::Access, choices: &[Choice]) -> String {
    let mut words = format!("cloud {}: {}\n", access.settings.name, access.origin);
    for note in &access.notes {
        words.push_str(&format!("note: {note}\n"));
    }
    for Choice {
        key, value, why, ..
    } in choices
    {
        let value = value.as_deref().unwrap_or("-");
        // Names in the cloud are hostile text.
        words.push_str(&line!("{key:<16} {value}: {why}"));
    }
    words
}

/// Writes the lines by which systemd passes the secret to a unit, and returns the next steps.
fn write_drop_in(file: &Path, secret: &Path) -> anyhow::Result<String> {
    let name = secret.file_name().unwrap_or_default().display();
    let path = secret.display();
    // systemd.exec(5): specifiers begin with %, and white space separates words.
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"%:\"'\\".contains(c);
    if !path.to_string().chars().all(is_plain) {
        bail!(
            "{path}: systemd cannot load a credential of this name; choose a name without spaces, quotes, % and :"
        );
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text = format!(
        "# Written by `ehos config init`: systemd reads the secret as root, the service finds it by its name.\n\
         [Service]\nLoadCredential={name}:{path}\n"
    );
    new_file(file, &text, 0o644)?;
    Ok(format!(
        "wrote {}; run: chown root: {path} && systemctl daemon-reload\n",
        file.display()
    ))
}

/// Whether the file contains the secret already.
fn is_kept(file: &Path, secret: &str) -> anyhow::Result<bool> {
    match std::fs::read_to_string(file) {
        Ok(there) if there.trim_end_matches(['\n', '\r']) == secret => Ok(true),
        Ok(_) => bail!(
            "{}: exists with another secret, and is not overwritten; remove it, or give the cloud another \
             name with --name",
            file.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => bail!(
            "{}: cannot be read: {}",
            file.display(),
            rights::told(file, &error)
        ),
    }
}

/// Chooses from the items of the cloud. A service that does not answer gives no choice, and the reason.
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
    let mut more: Vec<Choice> = Vec::new();
    let flavor = compute::flavors(session, deadline)
        .map(|flavors| {
            let ram_mb = mebibytes(args.min_ram);
            let chosen = choice::flavor(&flavors.read, args.min_cores, ram_mb, image);
            more.extend(choice::family(&flavors.read, &chosen));
            more.extend(choice::boot_volume(&flavors.read, &chosen, image));
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
    choices.extend(more);
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
    sorting::ascending(&mut files);
    // An unreadable file belongs to another user.
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

/// The next steps, with `--config` if ehos does not find the file by itself.
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
        words.push_str("replace the placeholders in < > first\n");
    }
    if !by_itself {
        words.push_str(&format!(
            "ehos searches its configuration in {}; for this file add{option}, or set EHOS_CONFIG\n",
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
        ("check", "finds problems before a server is created"),
        ("image build", "creates the golden image of nodes"),
        ("master deploy", "creates the central manager"),
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
