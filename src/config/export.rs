//! The configuration as the central manager gets it: without anything secret, which goes there by another way, and
//! without what is true of this machine alone ([`Rule::Machine`]).

use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;

use super::settings::Config;
pub use super::there::secret;
use super::there::{FOLDER, POOL_PASSWORD, WEBHOOK, file_of, influx_secret, template};
pub use super::there::{plain_files, secret_files};
use keys::{Kind, Rule, Settings, Value};
use openstack::{Auth, AuthMethod, CloudSettings, NameOrId, ServiceSettings};
use scaling::budget::Budget;
use scaling::schedule::{Window, day_name};
use scaling::submitter::SubmitterLimit;
use yaml::{list, scalar};

/// The merged configuration as the text of the central manager's `ehos.yaml`. It is valid there once
/// [`secret_files`] and [`plain_files`] are in place; where the clouds' access came from clouds.yaml or variables it
/// stands in it by itself. It has no secret in it. Left out is what is about this machine (`state_dir`,
/// `condor.bin`, `condor.pool`), the nodes' token or the key that signs them, which are the central manager's own, and a
/// simulation.
pub fn public(config: &Config) -> String {
    let policy = &config.policy;
    let mut text = Text(String::from(
        "# Written by `ehos master deploy`; what stands in ehos.d/ goes over it. Secrets stand in their own files.\n",
    ));
    text.section(0, "ehos");
    text.line(2, "cluster", &scalar(&policy.cluster));
    text.line(2, "project_prefix", &scalar(&policy.prefix));
    daemon(&mut text, config);
    let Text(more) = metrics(config);
    text.0.push_str(&more);
    if config.notify.webhook.is_some() {
        text.section(0, "notify");
        text.line(2, "webhook_file", WEBHOOK);
        text.settings(2, &config.notify, &["after_ticks", "repeat", "timeout"]);
    }
    let Text(condor) = condor(config);
    if !condor.is_empty() {
        text.section(0, "condor");
        text.0.push_str(&condor);
    }
    if !config.clouds.is_empty() {
        text.section(0, "clouds");
    }
    for settings in &config.clouds {
        cloud(&mut text, config, settings);
    }
    text.0
}

/// What is said of services alone, key by key.
pub fn services(
    settings: &CloudSettings,
) -> impl Iterator<Item = (&'static str, &BTreeMap<String, String>)> {
    let ServiceSettings {
        endpoint_overrides,
        interfaces,
        region_names,
    } = &settings.services;
    let all = [
        ("endpoint_overrides", endpoint_overrides),
        ("interfaces", interfaces),
        ("region_names", region_names),
    ];
    all.into_iter().filter(|(_, values)| !values.is_empty())
}

/// Keys and their values as YAML.
pub(crate) type Keys = Vec<(&'static str, String)>;

/// YAML that is written.
struct Text(String);

impl Text {
    fn section(&mut self, indent: usize, name: &str) {
        self.0.push_str(&format!("{:indent$}{name}:\n", ""));
    }

    fn line(&mut self, indent: usize, key: &str, value: &str) {
        self.0.push_str(&format!("{:indent$}{key}: {value}\n", ""));
    }

    /// The keys of `settings` whose values are not the default, and those of `always`.
    fn settings<T: Settings + Default>(&mut self, indent: usize, settings: &T, always: &[&str]) {
        let default = T::default();
        for key in T::KEYS {
            let written = |settings: &T| {
                let mut text = Text(String::new());
                if let Some(value) = settings.get(key.name) {
                    text.value(indent, key.name, &value);
                }
                text.0
            };
            let here = key.is(Rule::Machine) || matches!(key.kind, Kind::Secret);
            let text = written(settings);
            if !here && (text != written(&default) || always.contains(&key.name)) {
                self.0.push_str(&text);
            }
        }
    }

    fn value(&mut self, indent: usize, key: &str, value: &Value) {
        match (value, value.text(), value.entries()) {
            (Value::List(items), ..) => self.line(indent, key, &list(items)),
            (Value::Text(_) | Value::Path(_), Some(text), _) => {
                self.line(indent, key, &scalar(&text));
            }
            (_, Some(text), _) => self.line(indent, key, &text),
            (_, None, Some(entries)) if !entries.is_empty() => {
                self.section(indent, key);
                for (name, value) in entries {
                    self.line(indent + 2, &scalar(name), &scalar(&value));
                }
            }
            _ => {}
        }
    }

    /// None of it where there is none.
    fn budget(&mut self, indent: usize, budget: &Budget) {
        if *budget != Budget::default() {
            self.section(indent, "budget");
            self.settings(indent + 2, budget, &[]);
        }
    }
}

fn daemon(text: &mut Text, config: &Config) {
    let policy = &config.policy;
    text.section(0, "daemon");
    // How many there are is what people look for first.
    text.settings(2, policy, &["nodes_max"]);
    text.settings(2, &config.timeouts, &[]);
    text.settings(2, config, &[]);
    let zone = policy.time_zone.iana_name();
    let is_given = config.time_zone_given || policy.time_zone != TimeZone::UTC;
    if let Some(name) = zone.filter(|_| is_given) {
        text.line(2, "time_zone", &scalar(name));
    }
    text.budget(2, &policy.budget);
    submitters(text, "user_limits", &policy.submitter_limits.users);
    let groups = &policy.submitter_limits.accounting_groups;
    submitters(text, "accounting_group_limits", groups);
    if !policy.schedules.is_empty() {
        text.section(2, "schedules");
    }
    for window in &policy.schedules {
        schedule(text, window);
    }
    if let Some(name) = &config.metrics.hostname {
        text.line(2, "hostname", &scalar(name));
    }
}

/// The limits by name; nothing where there are none.
fn submitters(text: &mut Text, key: &str, limits: &BTreeMap<String, SubmitterLimit>) {
    if !limits.is_empty() {
        text.section(2, key);
    }
    for (name, limit) in limits {
        text.section(4, &scalar(name));
        text.settings(6, limit, &[]);
        text.budget(6, &limit.budget);
    }
}

fn schedule(text: &mut Text, window: &Window) {
    let days = list(window.days.iter().map(|day| day_name(*day)));
    text.line(4, "- days", &days);
    text.line(6, "hours", &scalar(&window.hours.to_string()));
    if let Some(name) = window.time_zone.iana_name() {
        text.line(6, "time_zone", &scalar(name));
    }
    text.settings(6, window, &[]);
}

fn metrics(config: &Config) -> Text {
    let mut text = Text(String::new());
    text.settings(2, &config.metrics, &[]);
    if !text.0.is_empty() {
        text.0.insert_str(0, "metrics:\n");
    }
    if let Some(influxdb) = &config.metrics.influxdb {
        text.section(0, "influxdb");
        text.line(2, "url", &scalar(&influxdb.address));
        if let Some(login) = &influxdb.login {
            if let report::metrics::InfluxLogin::Password { username, .. } = login {
                text.line(2, "username", &scalar(username));
            }
            let (key, file) = influx_secret(login);
            text.line(2, key, file);
        }
    }
    text
}

fn condor(config: &Config) -> Text {
    let condor = &config.condor;
    let mut text = Text(String::new());
    text.settings(2, condor, &[]);
    if condor.ignore_requirements {
        text.line(2, "match_requirements", "false");
    }
    if condor.universes != [5] {
        let universes = list(condor.universes.iter().map(u32::to_string));
        text.line(2, "universes", &universes);
    }
    if condor.noclaim_shutdown.is_some() {
        text.line(2, "scale_down", "self-shutdown");
    }
    if condor.password.is_some() {
        text.line(2, "password_file", POOL_PASSWORD);
    }
    text
}

fn cloud(text: &mut Text, config: &Config, settings: &CloudSettings) {
    text.section(2, &scalar(&settings.name));
    let (_, secret_name) = secret(settings);
    for (key, value) in access(&settings.auth, &Path::new(FOLDER).join(secret_name)) {
        text.line(4, key, &value);
    }
    // A cloud without a golden image yet has its nodes boot from the base image.
    if settings.base_image.as_ref() != Some(&settings.image) && !settings.image.is_empty() {
        text.line(4, "image", &scalar(&settings.image));
    }
    let there = CloudSettings {
        cacert: settings.cacert.as_ref().map(|_| file_of(settings, "pem")),
        ..copy(settings)
    };
    text.settings(4, &there, &[]);
    let template = template(config, settings).display().to_string();
    text.line(4, "userdata_file", &scalar(&template));
    for (key, values) in services(settings) {
        text.value(4, key, &Value::Texts(values.clone()));
    }
    if let Some(policy) = config.policy.cloud(&settings.name) {
        text.settings(4, policy, &[]);
        if policy.min_ram_mb > 0 {
            text.line(4, "min_ram", &gigabytes(policy.min_ram_mb));
        }
        text.budget(4, &policy.budget);
    }
}

/// The settings that have keys.
fn copy(settings: &CloudSettings) -> CloudSettings {
    let mut copy = CloudSettings::default();
    for key in CloudSettings::KEYS {
        if let Some(value) = settings.get(key.name) {
            copy.set(key.name, value);
        }
    }
    copy
}

/// Who ehos is on a cloud, with the secret in a file of its own.
pub fn access(auth: &Auth, secret_file: &Path) -> Keys {
    let user = |user, domain| [(["username", "user_id"], user), (USER_DOMAIN, domain)];
    let project = |project, domain| {
        [
            (["project_name", "project_id"], project),
            (PROJECT_DOMAIN, domain),
        ]
    };
    let (names, secret) = match &auth.method {
        AuthMethod::Password {
            user: name,
            user_domain,
            project: of,
            project_domain,
            ..
        } => {
            let user = user(Some(name), user_domain.as_ref());
            let project = project(Some(of), project_domain.as_ref());
            ([user, project].concat(), "password_file")
        }
        AuthMethod::ApplicationCredential {
            credential,
            user: name,
            user_domain,
            ..
        } => {
            let mut names = vec![(CREDENTIAL, Some(credential))];
            names.extend(user(name.as_ref(), user_domain.as_ref()));
            (names, "application_credential_secret_file")
        }
        AuthMethod::Token {
            project: of,
            project_domain,
            ..
        } => (
            project(of.as_ref(), project_domain.as_ref()).to_vec(),
            "token_file",
        ),
    };
    let mut keys = vec![("auth_url", scalar(&auth.url))];
    for ([by_name, by_id], value) in names {
        match value {
            Some(NameOrId::Name(value)) => keys.push((by_name, scalar(value))),
            Some(NameOrId::Id(value)) => keys.push((by_id, scalar(value))),
            None => {}
        }
    }
    keys.push((secret, scalar(&secret_file.display().to_string())));
    keys
}

const USER_DOMAIN: [&str; 2] = ["user_domain_name", "user_domain_id"];
const PROJECT_DOMAIN: [&str; 2] = ["project_domain_name", "project_domain_id"];
const CREDENTIAL: [&str; 2] = ["application_credential_name", "application_credential_id"];

/// MiB as the configuration takes memory.
#[allow(clippy::cast_precision_loss)] // Nobody has 8 EiB.
fn gigabytes(mebibytes: u64) -> String {
    (mebibytes as f64 / 1024.0).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::settings::Timeouts;
    use condor::CondorSettings;
    use keys::Key;
    use report::metrics::MetricsSettings;
    use report::notify;
    use scaling::policy::{CloudPolicy, Policy};

    /// Another value than the default.
    fn other(key: &Key) -> Value {
        let pair = |value: &str| ("a".to_owned(), value.to_owned());
        match key.kind {
            Kind::Flag => Value::Flag(!matches!((key.default)(), Some(Value::Flag(true)))),
            Kind::Whole => Value::Whole(7),
            Kind::Number => Value::Number(0.75),
            Kind::Time => Value::Time(Duration::from_millis(7500)),
            Kind::Path => Value::Path(PathBuf::from("/a: b")),
            Kind::Secret => Value::Secret("hush".into()),
            Kind::List => Value::List(vec!["a b".to_owned(), "c".to_owned()]),
            Kind::Texts => Value::Texts(BTreeMap::from([pair("0123")])),
            Kind::Wholes => Value::Wholes(BTreeMap::from([("a".to_owned(), 3)])),
            Kind::Numbers => Value::Numbers(BTreeMap::from([("a".to_owned(), 0.5)])),
            Kind::Choice(words) => Value::Text(words[words.len() - 1].to_owned()),
            Kind::Form(form) => {
                let mut texts = ["internal", "5%"].into_iter();
                let text = texts.find(|text| (form.check)(text).is_ok());
                Value::Text(text.unwrap().to_owned())
            }
            _ => Value::Text("0123".to_owned()),
        }
    }

    fn every_key_of<T: Settings + Default>(seen: &mut Vec<&'static str>) {
        for key in T::KEYS {
            assert!(!key.text.trim().is_empty(), "{key:?} has no text");
            let mut settings = T::default();
            let before = format!("{:?}", settings.get(key.name));
            settings.set(key.name, other(key));
            let after = format!("{:?}", settings.get(key.name));
            assert_ne!(before, after, "{key:?}");
            assert_eq!(after, format!("{:?}", Some(other(key))), "{key:?}");
            let mut text = Text(String::new());
            text.settings(2, &settings, &[]);
            let here = key.is(Rule::Machine) || matches!(key.kind, Kind::Secret);
            let begins = format!("  {}:", key.name);
            assert_eq!(text.0.starts_with(&begins), !here, "{key:?}: {}", text.0);
            seen.push(key.name);
        }
    }

    #[test]
    fn every_key_is_set_and_read_and_goes_to_the_central_manager_unless_it_is_of_this_machine() {
        let mut seen = Vec::new();
        every_key_of::<Policy>(&mut seen);
        every_key_of::<CloudPolicy>(&mut seen);
        every_key_of::<CloudSettings>(&mut seen);
        every_key_of::<CondorSettings>(&mut seen);
        every_key_of::<Timeouts>(&mut seen);
        every_key_of::<Config>(&mut seen);
        every_key_of::<MetricsSettings>(&mut seen);
        every_key_of::<notify::Settings>(&mut seen);
        every_key_of::<Budget>(&mut seen);
        every_key_of::<SubmitterLimit>(&mut seen);
        every_key_of::<Window>(&mut seen);
        assert!(seen.len() > 90, "{}", seen.len());
    }
}
