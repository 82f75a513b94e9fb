//! `metrics:` and `influxdb:`, the receivers of the figures of a tick.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::address::Parts;
use super::diagnostics::{Diagnostics, KEEP_ONE};
use super::document::{Item, Section};
use keys::Value;
use report::metrics::{InfluxLogin, InfluxSettings, MetricsSettings};

/// The database, when none is given.
const DATABASE: &str = "ehos";

/// The settings of `metrics:`, of `influxdb:`, and of what the original has of them under `daemon:`.
pub(super) fn metrics(context: &mut Diagnostics<'_>, file: &Section) -> MetricsSettings {
    let daemon = file.section("daemon");
    let mut settings = MetricsSettings {
        hostname: daemon.value("hostname"),
        ..MetricsSettings::default()
    };
    context.fill(&mut settings, &[(&["metrics"], file.section("metrics"))]);
    if let Some(path) = &settings.prometheus_textfile {
        textfile(context, path);
    }
    settings.influxdb = match (file.has("influxdb"), daemon.has("influxdb")) {
        (true, true) => {
            context.problem(
                &["daemon", "influxdb"],
                ("`influxdb:` is given at the top level too", KEEP_ONE),
            );
            None
        }
        (true, false) => server(context, &["influxdb"], file.section("influxdb")),
        (false, true) => server(context, &["daemon", "influxdb"], daemon.section("influxdb")),
        (false, false) => None,
    };
    settings
}

fn textfile(context: &mut Diagnostics<'_>, path: &Path) {
    let key = ["metrics", "prometheus_textfile"];
    if path.extension().is_none_or(|extension| extension != "prom") {
        context.problem(
            &key,
            "must end in `.prom`: node_exporter reads no other files",
        );
    } else if !path.parent().is_some_and(Path::is_dir) {
        context.note(
            &key,
            (
                "its folder does not exist",
                "create it, writable by the user that runs ehos; name it in --collector.textfile.directory of \
                 node_exporter and, under systemd, in ReadWritePaths= of ehos.service",
            ),
        );
    }
}

/// The InfluxDB of the section at `section`; none where nothing is given.
fn server(
    context: &mut Diagnostics<'_>,
    section: &[&str],
    keys: &Section,
) -> Option<InfluxSettings> {
    let password = context.secret(
        section,
        "password",
        keys,
        "write the password of InfluxDB into it, readable by its owner only (chmod 600)",
    );
    let token = context.secret(
        section,
        "token",
        keys,
        "write a token of InfluxDB that may write to the bucket into it (chmod 600)",
    );
    let url = match keys.get("url") {
        Some(Item::Value(Value::Address(url))) => url.expose_secret(),
        // Said already.
        Some(_) => return None,
        None => {
            if password.is_some() || token.is_some() || keys.has("db") {
                context.problem(section, ("`url` is missing", "set it: http://HOST:8086"));
            }
            return None;
        }
    };
    let Some(parts) = Parts::of(url) else {
        // It may have a password in it: it is not repeated.
        context.problem(
            &at(section, "url"),
            "is not an address: it must begin with http:// or https://, without a space",
        );
        return None;
    };
    if parts.login().is_some() {
        context.note(
            &at(section, "url"),
            (
                "has a password in it",
                "move it to a file (`username` and `password_file` of `influxdb:`)",
            ),
        );
    }
    let by_token = token.is_some();
    let has_login = by_token || password.is_some() || parts.login().is_some();
    let address = address(context, section, keys, &parts, by_token, has_login);
    let login = login(context, section, keys, &parts, token, password);
    Some(InfluxSettings { address, login })
}

/// The address of version 1 or 2, with the parameters that it needs.
fn address(
    context: &mut Diagnostics<'_>,
    section: &[&str],
    keys: &Section,
    parts: &Parts<'_>,
    by_token: bool,
    has_login: bool,
) -> String {
    let version_2 = parts.path.ends_with("/api/v2/write")
        || keys.has("org")
        || keys.has("bucket")
        || (by_token && !parts.path.ends_with("/write"));
    let mut parameters: Vec<(&str, String)> = Vec::new();
    let end = if version_2 {
        for key in ["org", "bucket"] {
            if !keys.has(key) && parts.parameter(key).is_none() {
                let problem = format!("InfluxDB 2 needs `{key}`, which is missing");
                context.problem(section, problem);
            }
            parameters.extend(parameter(context, section, keys, parts, key));
        }
        if !has_login {
            context.problem(section, "InfluxDB 2 needs a `token` or a `token_file`");
        }
        if parts.parameter("precision").is_none() {
            parameters.push(("precision", "s".to_owned()));
        }
        "/api/v2/write"
    } else {
        let given = parameter(context, section, keys, parts, "db");
        if given.is_some() || parts.parameter("db").is_none() {
            parameters.push(given.unwrap_or(("db", DATABASE.to_owned())));
        }
        "/write"
    };
    let path = if parts.path.ends_with(end) {
        parts.path.to_owned()
    } else {
        format!("{}{end}", parts.path)
    };
    let parameters: Vec<(&str, &str)> = parameters
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    parts.address(&path, &parameters)
}

/// A parameter that is given by its key, and not in the address.
fn parameter<'k>(
    context: &mut Diagnostics<'_>,
    section: &[&str],
    keys: &Section,
    parts: &Parts<'_>,
    key: &'k str,
) -> Option<(&'k str, String)> {
    let given = keys.text(key)?;
    if parts.parameter(key).is_some() {
        context.problem(&at(section, key), ("is given in `url` too", KEEP_ONE));
        return None;
    }
    Some((key, given.to_owned()))
}

/// How ehos proves who it is.
fn login(
    context: &mut Diagnostics<'_>,
    section: &[&str],
    keys: &Section,
    parts: &Parts<'_>,
    token: Option<SecretString>,
    password: Option<SecretString>,
) -> Option<InfluxLogin> {
    match (token, password, parts.login()) {
        (Some(_), Some(_), _) => {
            context.problem(&at(section, "token"), ("a password is given too", KEEP_ONE));
            None
        }
        (Some(token), None, _) => Some(InfluxLogin::Token(token)),
        (None, Some(password), _) => match keys.value("username") {
            Some(username) => Some(InfluxLogin::Password { username, password }),
            None => {
                context.note(section, ("the password is not sent", "set `username`"));
                None
            }
        },
        (None, None, Some((username, password))) => Some(InfluxLogin::Password {
            username,
            password: SecretString::from(password),
        }),
        (None, None, None) => None,
    }
}

fn at<'s>(section: &[&'s str], key: &'s str) -> Vec<&'s str> {
    section.iter().copied().chain([key]).collect()
}
