//! The text of a first `ehos.yaml`. Pure.

use std::fmt::Write as _;
use std::path::Path;

use super::choice::Choice;
use super::source::Access;
use config::export;
use openstack::{AuthMethod, CloudSettings};
use yaml::{list, scalar};

/// Characters in a line of a comment.
const WIDTH: usize = 100;

/// The configuration of a pool with the id `cluster` whose nodes are made of `choices`, in the cloud of `access`; its
/// secret stands in `secret_file`.
pub fn ehos_yaml(access: &Access, cluster: &str, secret_file: &Path, choices: &[Choice]) -> String {
    let Access {
        settings, origin, ..
    } = access;
    let mut text = String::new();
    comment(
        &mut text,
        0,
        &format!("The configuration of ehos, created by `ehos config init` from {origin}."),
    );
    comment(
        &mut text,
        0,
        "Every key is described in docs/configuration.md. What is commented out is the default, or one of the choices.",
    );
    _ = write!(text, "\nclouds:\n  {}:\n", scalar(&settings.name));
    comment(
        &mut text,
        4,
        "Who ehos is. The secret stands in a file beside this one.",
    );
    for (key, value) in export::access(&settings.auth, secret_file) {
        line(&mut text, 4, key, &value);
    }
    if matches!(settings.auth.method, AuthMethod::Password { .. }) {
        application_credential(&mut text, settings);
    }
    endpoint(&mut text, settings);
    text.push('\n');
    for choice in choices {
        choose(&mut text, choice);
    }
    _ = write!(
        text,
        "\nehos:\n  \
         # The pool's id: its servers carry it, and ehos touches no others. Another pool needs another one.\n  \
         cluster: {cluster}\n  \
         # project_prefix: ehos-v1           # names of servers begin with it\n\
         \ndaemon:\n  \
         nodes_max: 10                       # never more nodes than this\n  \
         # nodes_min: 0                      # never fewer\n  \
         # nodes_spare: 0                    # idle nodes kept beyond what the queue needs\n  \
         # A surplus node is deleted when it has been idle for this long. About the time that a new node takes until\n  \
         # its first job costs least; a longer one serves bursts sooner.\n  \
         idle_timeout: 2m\n  \
         # A collector that has just started has heard from all nodes by then: those of execute.yaml say\n  \
         # every 30 s that they are there. With machines that ehos did not make: 6m, the default.\n  \
         collector_grace: 2m\n\
         \n\
         # `ehos master deploy` makes the central manager and puts these in; for one that you have:\n\
         condor:\n  \
         # host_ip: 10.0.0.10                # the central manager, as nodes reach it\n  \
         # trust_domain: example.org         # TRUST_DOMAIN of the pool\n  \
         # token_key: EHOS                   # signs the token with which each node joins\n  \
         # token_key_directory: /etc/ehos/keys\n"
    );
    text
}

/// What is better than a password.
fn application_credential(text: &mut String, settings: &CloudSettings) {
    comment(
        text,
        4,
        "An application credential is better than a password: it is valid for this project only and can be revoked. \
         Make one with `openstack application credential create ehos`, and put these in the place of the keys from \
         username to password_file:",
    );
    let (_, name) = export::secret(settings);
    let stem = name.strip_suffix(".password").unwrap_or(&name);
    _ = writeln!(text, "    # application_credential_id: ID");
    _ = writeln!(
        text,
        "    # application_credential_secret_file: {}",
        scalar(&format!("{stem}.secret"))
    );
}

fn endpoint(text: &mut String, settings: &CloudSettings) {
    if let Some(region) = &settings.region {
        line(text, 4, "region_name", &scalar(region));
    }
    if settings.interface != "public" {
        line(text, 4, "interface", &scalar(&settings.interface));
    }
    for (key, values) in export::services(settings) {
        _ = writeln!(text, "    {key}:");
        for (service, value) in values {
            line(text, 6, service, &scalar(value));
        }
    }
    if let Some(cacert) = &settings.cacert {
        line(text, 4, "cacert", &scalar(&cacert.display().to_string()));
    }
    if settings.insecure {
        line(text, 4, "insecure", "true");
    }
}

/// A key with what was chosen for it, a placeholder, or nothing but the comment.
fn choose(text: &mut String, choice: &Choice) {
    let what = match choice.key {
        "base_image" => "What golden images are built from (`ehos image build`)",
        "flavor" => "What nodes are; a list under `flavors:` in order of preference",
        "flavors" => "Nodes of several sizes",
        "network" => "Where nodes are",
        "key" => "With which key people log in",
        "boot_volume_size" => "GB of the volume that a node boots from",
        _ => "Must let nodes and central manager reach each other on port 9618",
    };
    comment(text, 4, &format!("{what}: {}.", choice.why));
    match &choice.value {
        Some(value) if choice.key == "security_groups" => {
            line(text, 4, choice.key, &list([value]));
        }
        Some(value) if choice.key == "flavors" => _ = writeln!(text, "    # flavors: {value}"),
        // A number stays one.
        Some(value) if choice.key == "boot_volume_size" => line(text, 4, choice.key, value),
        Some(value) => line(text, 4, choice.key, &scalar(value)),
        None if choice.needed => {
            let placeholder = format!("<{}>", choice.key.to_ascii_uppercase());
            line(text, 4, choice.key, &placeholder);
        }
        None if choice.key == "security_groups" => text.push_str("    # security_groups: [ehos]\n"),
        None => _ = writeln!(text, "    # {}: NAME", choice.key),
    }
}

fn line(text: &mut String, indent: usize, key: &str, value: &str) {
    _ = writeln!(text, "{:indent$}{key}: {value}", "");
}

/// A comment, in as many lines as it needs.
fn comment(text: &mut String, indent: usize, words: &str) {
    let mut length = 0;
    // No character of a name may end it, or be one that YAML does not take.
    let words = words.replace(
        |c: char| c.is_control() || "\u{feff}\u{fffe}\u{ffff}".contains(c),
        " ",
    );
    for word in words.split_whitespace() {
        if length == 0 || length + 1 + word.chars().count() > WIDTH {
            if length > 0 {
                text.push('\n');
            }
            _ = write!(text, "{:indent$}#", "");
            length = indent + 1;
        }
        text.push(' ');
        text.push_str(word);
        length += 1 + word.chars().count();
    }
    text.push('\n');
}
