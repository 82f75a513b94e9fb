//! Files on the central manager that its configuration refers to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::settings::Config;
use openstack::{AuthMethod, CloudSettings};
use report::metrics::InfluxLogin;

/// Where the central manager keeps its configuration.
pub(super) const FOLDER: &str = "/etc/ehos";
/// The template of nodes' user data there.
const EXECUTE: &str = "/etc/ehos/execute.yaml";
/// The address of notifications there; no cloud's file is called so.
pub(super) const WEBHOOK: &str = "/etc/ehos/notify.webhook";
/// The pool password of the original program there.
pub(super) const POOL_PASSWORD: &str = "/etc/ehos/pool-password";

/// The secrets that [`crate::export`] refers to, and where on the central manager each of them is to stand.
pub fn secret_files(config: &Config) -> Vec<(PathBuf, SecretString)> {
    let mut files = Vec::new();
    for settings in &config.clouds {
        let (secret, name) = secret(settings);
        files.push((Path::new(FOLDER).join(name), secret.clone()));
    }
    if let Some(webhook) = &config.notify.webhook {
        files.push((PathBuf::from(WEBHOOK), webhook.clone()));
    }
    if let Some(login) = config
        .metrics
        .influxdb
        .as_ref()
        .and_then(|it| it.login.as_ref())
    {
        files.push((
            PathBuf::from(influx_secret(login).1),
            login.secret().clone(),
        ));
    }
    if let Some(password) = &config.condor.password {
        files.push((PathBuf::from(POOL_PASSWORD), password.clone()));
    }
    files
}

/// The secret with which ehos proves who it is on the cloud, and what the file with it is called.
pub fn secret(settings: &CloudSettings) -> (&SecretString, String) {
    let name = file_name(&settings.name);
    match &settings.auth.method {
        AuthMethod::Password { password, .. } => (password, format!("{name}.password")),
        AuthMethod::ApplicationCredential { secret, .. } => (secret, format!("{name}.secret")),
        AuthMethod::Token { token, .. } => (token, format!("{name}.token")),
    }
}

/// The other files that [`crate::export`] refers to: where on the central manager each is to stand, and where it is here.
pub fn plain_files(config: &Config) -> Vec<(PathBuf, PathBuf)> {
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    for settings in &config.clouds {
        if let Some(cacert) = &settings.cacert {
            files.push((file_of(settings, "pem"), cacert.clone()));
        }
        let template = (template(config, settings), settings.user_data_file.clone());
        if !files.contains(&template) {
            files.push(template);
        }
    }
    files
}

/// The key of the file with the secret for InfluxDB, and where on the central manager that is; no cloud's file is called
/// so.
pub(super) fn influx_secret(login: &InfluxLogin) -> (&'static str, &'static str) {
    match login {
        InfluxLogin::Password { .. } => ("password_file", "/etc/ehos/influxdb-password"),
        InfluxLogin::Token(_) => ("token_file", "/etc/ehos/influxdb-token"),
    }
}

/// The template of the cloud's nodes on the central manager: the first cloud's is `execute.yaml`, and so are those
/// of others that have the same one.
pub(super) fn template(config: &Config, settings: &CloudSettings) -> PathBuf {
    let first = config.clouds.first().map(|cloud| &cloud.user_data_file);
    if first == Some(&settings.user_data_file) {
        return PathBuf::from(EXECUTE);
    }
    Path::new(FOLDER).join(format!("execute-{}.yaml", file_name(&settings.name)))
}

/// The file of the central manager that belongs to this cloud alone.
pub(super) fn file_of(settings: &CloudSettings, ending: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{}.{ending}", file_name(&settings.name)))
}

/// `name` in the name of a file; different names stay different.
fn file_name(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte.into()),
            // Writing to a string cannot fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}
