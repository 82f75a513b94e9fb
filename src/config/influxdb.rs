//! `metrics:` and `influxdb:`, who gets the figures of a tick.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::context::Context;
use super::file::{Daemon, File, InfluxdbKeys};
use super::given::{Given, MASK};
use crate::metrics::{InfluxLogin, InfluxSettings, MetricsSettings};

/// Longer than this nothing is sent: systemd ends a tick a while after its own time is over.
const LONGEST: Duration = Duration::from_secs(10);

/// The database, when none is given.
const DATABASE: &str = "ehos";

/// An address, which may have a password in it.
#[derive(Debug, Clone)]
pub(super) struct WriteUrl(SecretString);

impl WriteUrl {
    pub(super) fn new(text: &str) -> WriteUrl {
        WriteUrl(SecretString::from(text))
    }

    /// It without what nobody may see.
    pub(super) fn shown(&self) -> String {
        let Some(parts) = Parts::of(self.0.expose_secret()) else {
            return MASK.to_owned();
        };
        let mut shown = format!("{}://", parts.scheme);
        if parts.user.is_some() {
            shown.push_str(MASK);
            shown.push('@');
        }
        shown.push_str(parts.host);
        shown.push_str(parts.path);
        for (index, (name, value)) in parts.query.iter().enumerate() {
            let value = if SECRET_PARAMETERS.contains(name) {
                MASK
            } else {
                value
            };
            shown.push(if index == 0 { '?' } else { '&' });
            shown.push_str(&format!("{name}={value}"));
        }
        shown
    }
}

/// Of a query, what says who writes.
const SECRET_PARAMETERS: [&str; 2] = ["u", "p"];

/// A URL, taken apart.
struct Parts<'u> {
    scheme: &'u str,
    /// What stands before the `@`.
    user: Option<&'u str>,
    host: &'u str,
    path: &'u str,
    query: Vec<(&'u str, &'u str)>,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Option<Parts<'u>> {
        let (scheme, rest) = url.split_once("://")?;
        if !["http", "https"].contains(&scheme) || url.contains(char::is_whitespace) {
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        (!host.is_empty()).then(|| Parts {
            scheme,
            user,
            host,
            path: path.trim_end_matches('/'),
            query: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .collect(),
        })
    }

    fn parameter(&self, name: &str) -> Option<&'u str> {
        let found = self.query.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    }

    /// User and password that stand in it.
    fn login(&self) -> Option<(String, String)> {
        if let Some(user) = self.user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            return Some((decoded(name), decoded(password)));
        }
        let password = self.parameter("p")?;
        let name = self.parameter("u").unwrap_or_default();
        Some((decoded(name), decoded(password)))
    }

    /// The address with this path and these parameters besides its own, without a login.
    fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut address = format!("{}://{}{path}", self.scheme, self.host);
        let own = self.query.iter();
        let own = own.filter(|(name, _)| !SECRET_PARAMETERS.contains(name));
        let own = own.map(|(name, value)| format!("{name}={value}"));
        let more = more
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        for (index, pair) in own.chain(more).enumerate() {
            address.push(if index == 0 { '?' } else { '&' });
            address.push_str(&pair);
        }
        address
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// Who gets the figures of a tick.
pub(super) fn metrics(context: &mut Context<'_>, daemon: &Daemon, file: &File) -> MetricsSettings {
    let mut settings = MetricsSettings {
        hostname: daemon.hostname.value(),
        ..MetricsSettings::default()
    };
    if let Some(metrics) = &file.metrics {
        if let Some(path) = metrics.prometheus_textfile.get() {
            settings.prometheus_textfile = Some(textfile(context, path));
        }
        if let Some(timeout) = metrics.timeout.value() {
            if timeout.is_zero() || timeout > LONGEST {
                context.problem(
                    &["metrics", "timeout"],
                    format!(
                        "must be longer than 0 and at most {} s: a tick waits for it",
                        LONGEST.as_secs()
                    ),
                );
            }
            settings.timeout = timeout;
        }
    }
    settings.influxdb = match (&file.influxdb, &daemon.influxdb) {
        (Some(_), Some(_)) => {
            context.problem(
                &["daemon", "influxdb"],
                "`influxdb:` stands at the top level, too, and is the same: keep one of them",
            );
            None
        }
        (Some(influxdb), None) => server(context, &["influxdb"], &influxdb.0),
        (None, Some(influxdb)) => server(context, &["daemon", "influxdb"], &influxdb.0),
        (None, None) => None,
    };
    settings
}

fn textfile(context: &mut Context<'_>, path: &Path) -> std::path::PathBuf {
    let key = ["metrics", "prometheus_textfile"];
    let path = context.env.path(path);
    if path.extension().is_none_or(|extension| extension != "prom") {
        context.problem(
            &key,
            "must end in `.prom`: node_exporter reads no other files",
        );
    } else if !path.parent().is_some_and(Path::is_dir) {
        context.note(
            &key,
            "its folder is not there: make it, writable by the user that runs ehos, and give it to node_exporter \
             (--collector.textfile.directory); under systemd name it in ReadWritePaths= of ehos.service, too",
        );
    }
    path
}

/// The InfluxDB of the section at `section`; none where nothing is given.
fn server(
    context: &mut Context<'_>,
    section: &[&str],
    keys: &InfluxdbKeys,
) -> Option<InfluxSettings> {
    let at = |key| section.iter().copied().chain([key]).collect::<Vec<&str>>();
    let password = context.secret(
        section,
        "password",
        &keys.password,
        &keys.password_file,
        "put the password of InfluxDB alone into it, for its owner to read (chmod 600)",
    );
    let token = context.secret(
        section,
        "token",
        &keys.token,
        &keys.token_file,
        "put a token of InfluxDB that may write into the bucket alone into it (chmod 600)",
    );
    let url = match &keys.url {
        Given::Value(url) => url.0.expose_secret(),
        // Told already.
        Given::Wrong(_) => return None,
        Given::Absent => {
            if password.is_some() || token.is_some() || !keys.db.is_absent() {
                context.problem(section, "it has no `url`: http://HOST:8086");
            }
            return None;
        }
    };
    let Some(parts) = Parts::of(url) else {
        // It may have a password in it: it is not repeated.
        context.problem(
            &at("url"),
            "is no address: it begins with http:// or https://, and has no space in it",
        );
        return None;
    };
    if parts.login().is_some() {
        context.note(
            &at("url"),
            "has a password in it: better in a file of its own (`username` and `password_file` of `influxdb:`)",
        );
    }
    let version_2 = parts.path.ends_with("/api/v2/write")
        || !keys.org.is_absent()
        || !keys.bucket.is_absent()
        || (token.is_some() && !parts.path.ends_with("/write"));
    let mut more: Vec<(&str, &str)> = Vec::new();
    let parameter = |context: &mut Context<'_>, key, given: &'_ Given<String>| {
        match (given.get(), parts.parameter(key)) {
            (Some(_), Some(_)) => {
                context.problem(&at(key), "stands in `url`, too: keep one of them");
                None
            }
            (given, own) => given.cloned().or(own.map(str::to_owned)),
        }
        .map(|value| (key, value, parts.parameter(key).is_none()))
    };
    let mut given = Vec::new();
    let end = if version_2 {
        for (key, value) in [("org", &keys.org), ("bucket", &keys.bucket)] {
            let found = parameter(context, key, value);
            if found.is_none() && value.is_absent() {
                let problem = format!("InfluxDB 2 needs `{key}`, which is missing");
                context.problem(section, problem);
            }
            given.extend(found);
        }
        if token.is_none() && password.is_none() && parts.login().is_none() {
            context.problem(section, "InfluxDB 2 needs a `token` or a `token_file`");
        }
        more.extend(
            parts
                .parameter("precision")
                .is_none()
                .then_some(("precision", "s")),
        );
        "/api/v2/write"
    } else {
        let found = parameter(context, "db", &keys.db);
        given.push(found.unwrap_or(("db", DATABASE.to_owned(), true)));
        "/write"
    };
    let mut parameters: Vec<(&str, &str)> = given
        .iter()
        .filter(|(_, _, new)| *new)
        .map(|(key, value, _)| (*key, value.as_str()))
        .collect();
    parameters.extend(more);
    let path = if parts.path.ends_with(end) {
        parts.path.to_owned()
    } else {
        format!("{}{end}", parts.path)
    };
    let of_url = parts.login();
    let login = match (token, password, of_url) {
        (Some(_), Some(_), _) => {
            context.problem(&at("token"), "a password is given, too: keep one of them");
            None
        }
        (Some(token), None, _) => Some(InfluxLogin::Token(token)),
        (None, Some(password), _) => match keys.username.value() {
            Some(username) => Some(InfluxLogin::Password { username, password }),
            None => {
                context.note(
                    section,
                    "a password without a `username` says nothing, and is not sent",
                );
                None
            }
        },
        (None, None, Some((username, password))) => Some(InfluxLogin::Password {
            username,
            password: SecretString::from(password),
        }),
        (None, None, None) => None,
    };
    Some(InfluxSettings {
        address: parts.address(&path, &parameters),
        login,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_an_address_is_shown() {
        for (url, shown) in [
            ("http://h:8086/write?db=ehos", "http://h:8086/write?db=ehos"),
            ("http://u:hush@h:8086/", "http://***@h:8086"),
            ("https://u:hu@sh@h/write?db=x", "https://***@h/write?db=x"),
            (
                "http://h/write?db=x&u=me&p=hush",
                "http://h/write?db=x&u=***&p=***",
            ),
            ("hush", "***"),
            ("ftp://u:hush@h", "***"),
        ] {
            assert_eq!(WriteUrl::new(url).shown(), shown);
        }
        let debug = format!("{:?}", WriteUrl::new("http://u:hush@h"));
        assert!(!debug.contains("hush"), "{debug}");
    }

    #[test]
    fn an_address_keeps_its_parameters_and_loses_its_login() {
        let parts = Parts::of("http://u%40x:p%3Aw@h:1/base/?rp=a%20b&u=no&p=no").unwrap();
        assert_eq!(parts.login(), Some(("u@x".to_owned(), "p:w".to_owned())));
        assert_eq!(
            parts.address("/base/write", &[("db", "my db")]),
            "http://h:1/base/write?rp=a%20b&db=my%20db"
        );
        let parts = Parts::of("http://h/write?u=me&p=%7e%").unwrap();
        assert_eq!(parts.login(), Some(("me".to_owned(), "~%".to_owned())));
    }
}
