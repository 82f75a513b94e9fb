//! The configuration as the central manager gets it: without anything secret, which goes there by another way, and
//! without what is true of this machine alone.
//!
//! Every field of the configuration is named here, so that a new one is not forgotten.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use secrecy::SecretString;

use super::given::duration_text;
use super::schedules;
use super::settings::{Config, EVENT_INTERVAL, HISTORY_DAYS};
use super::yaml::{list, scalar};
use crate::condor::CondorSettings;
use crate::deadline::Timeouts;
use crate::metrics::{InfluxLogin, InfluxSettings, MetricsSettings};
use crate::notify;
use crate::openstack::{Auth, AuthMethod, CloudSettings, NameOrId, ServiceSettings};
use crate::scaling::budget::Budget;
use crate::scaling::policy::{Allocation, CloudPolicy, Policy};
use crate::scaling::submitter::{SubmitterLimit, SubmitterLimits};

/// Where the central manager keeps its configuration.
const FOLDER: &str = "/etc/ehos";
/// The template of nodes' user data there.
const EXECUTE: &str = "/etc/ehos/execute.yaml";
/// The pool password of the original program there; no cloud's file is called so.
const WEBHOOK: &str = "/etc/ehos/notify.webhook";

/// Where the pool password stands on the central manager.
const POOL_PASSWORD: &str = "/etc/ehos/pool-password";

/// The merged configuration as the text of the central manager's `ehos.yaml`. It is valid there once
/// [`secret_files`] and [`plain_files`] are in place; where the clouds' access came from clouds.yaml or variables it
/// stands in it by itself. It has no secret in it. Left out is what is about this machine (`state_dir`,
/// `condor.bin`, `condor.pool`), the nodes' token or the key that signs them, which are the central manager's own, and a
/// simulation.
pub fn public(config: &Config) -> String {
    let Config {
        files: _,
        policy,
        condor,
        clouds,
        cloud_of_environment: _,
        simulation: _,
        timeouts,
        state_dir: _,
        notify,
        history_days,
        event_interval,
        metrics,
        notes: _,
    } = config;
    let mut text = String::from(
        "# Written by `ehos master deploy`; what stands in ehos.d/ goes over it. Secrets stand in their own files.\n",
    );
    entries(
        &mut text,
        0,
        "ehos",
        &[
            ("cluster", scalar(&policy.cluster)),
            ("project_prefix", scalar(&policy.prefix)),
        ],
    );
    let defaults = daemon(&Policy::new(""), &Timeouts::default());
    let mut given = daemon(policy, timeouts);
    // How many there are is what people look for first.
    given.retain(|key| key.0 == "nodes_max" || !defaults.contains(key));
    entries(&mut text, 0, "daemon", &given);
    economy(&mut text, policy);
    if *history_days != HISTORY_DAYS {
        line(&mut text, 2, "history_days", &history_days.to_string());
    }
    if *event_interval != EVENT_INTERVAL {
        line(
            &mut text,
            2,
            "event_interval",
            &duration_text(*event_interval),
        );
    }
    if let Some(name) = &metrics.hostname {
        line(&mut text, 2, "hostname", &scalar(name));
    }
    metrics_text(&mut text, metrics);
    notices(&mut text, notify);
    let condor = condor_keys(condor);
    if !condor.is_empty() {
        entries(&mut text, 0, "condor", &condor);
    }
    if !clouds.is_empty() {
        text.push_str("clouds:\n");
    }
    for settings in clouds {
        let name = scalar(&settings.name);
        entries(&mut text, 2, &name, &cloud(config, settings));
        for (key, values) in services(settings) {
            mapping(&mut text, key, values);
        }
        mapping(&mut text, "metadata", &settings.metadata);
        mapping(&mut text, "startd_attrs", &settings.startd_attributes);
        mapping(&mut text, "gpus", &settings.gpus);
        if let Some(policy) = config.policy.cloud(&settings.name) {
            mapping(&mut text, "prices", &policy.prices);
            budget(&mut text, 4, &policy.budget);
        }
    }
    text
}

/// The secrets that [`public`] refers to, and where on the central manager each of them is to stand.
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
pub(crate) fn secret(settings: &CloudSettings) -> (&SecretString, String) {
    let name = file_name(&settings.name);
    match &settings.auth.method {
        AuthMethod::Password { password, .. } => (password, format!("{name}.password")),
        AuthMethod::ApplicationCredential { secret, .. } => (secret, format!("{name}.secret")),
        AuthMethod::Token { token, .. } => (token, format!("{name}.token")),
    }
}

/// What is said of services alone, key by key.
pub(crate) fn services(
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

/// The other files that [`public`] refers to: where on the central manager each is to stand, and where it is here.
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

/// Keys and their values as YAML.
pub(crate) type Keys = Vec<(&'static str, String)>;

/// What stands under `daemon:` for these.
pub(super) fn daemon(policy: &Policy, timeouts: &Timeouts) -> Keys {
    let Policy {
        cluster: _,
        // condor.host_ip, which is told there.
        condor_host: _,
        prefix: _,
        nodes_min,
        nodes_max,
        nodes_spare,
        max_actions,
        allocation,
        core_price,
        node_cost,
        hold_up,
        // Under `condor:`.
        scale_down: _,
        clouds: _,
        idle_timeout,
        boot_timeout,
        lost_timeout,
        lost_job_timeout,
        intent_grace,
        // One of the timeouts.
        request_timeout: _,
        collector_grace,
        unknown_grace,
        delete_timeout,
        negotiation_cycle,
        update_interval,
        max_unproven,
        protect_after,
        failure_memory,
        backoff_first,
        backoff_longest,
        vanish_share,
        vanish_count,
        refusal_memory,
        purge_floating_ips,
        token_margin,
        // They are no single values: see `economy`.
        schedules: _,
        time_zone: _,
        budget: _,
        submitter_limits: _,
        max_lifetime: _,
        max_lifetime_kill: _,
        trust_silence: _,
        // How the tick is started, no key.
        look_again: _,
    } = policy;
    let Timeouts {
        tick,
        request,
        command,
    } = timeouts;
    let allocation = match allocation {
        Allocation::RoundRobin => "round-robin",
        Allocation::Random => "random",
        Allocation::FillFirst => "fill-first",
        Allocation::Cheapest => "cheapest",
        Allocation::LeastWaste => "least-waste",
    };
    let mut keys = vec![
        ("nodes_min", nodes_min.to_string()),
        ("nodes_max", nodes_max.to_string()),
        ("nodes_spare", nodes_spare.to_string()),
        ("node_allocation", allocation.to_owned()),
        ("max_actions", max_actions.to_string()),
        ("max_unproven", max_unproven.to_string()),
        ("idle_timeout", duration_text(*idle_timeout)),
        ("boot_timeout", duration_text(*boot_timeout)),
        ("lost_timeout", duration_text(*lost_timeout)),
        ("lost_job_timeout", duration_text(*lost_job_timeout)),
        ("intent_grace", duration_text(*intent_grace)),
        ("collector_grace", duration_text(*collector_grace)),
        ("unknown_grace", duration_text(*unknown_grace)),
        ("delete_timeout", duration_text(*delete_timeout)),
        ("negotiation_cycle", duration_text(*negotiation_cycle)),
        ("update_interval", duration_text(*update_interval)),
        ("protect_after", protect_after.to_string()),
        ("failure_memory", duration_text(*failure_memory)),
        ("backoff_first", duration_text(*backoff_first)),
        ("backoff_longest", duration_text(*backoff_longest)),
        ("refusal_memory", duration_text(*refusal_memory)),
        ("purge_floating_ips", purge_floating_ips.to_string()),
        ("token_margin", duration_text(*token_margin)),
        ("vanish_share", vanish_share.to_string()),
        ("vanish_count", vanish_count.to_string()),
        ("tick_timeout", duration_text(*tick)),
        ("request_timeout", duration_text(*request)),
        ("command_timeout", duration_text(*command)),
        ("hold_up", hold_up.to_string()),
    ];
    for (key, amount) in [("core_price", core_price), ("node_cost", node_cost)] {
        keys.extend(amount.map(|amount| (key, amount.to_string())));
    }
    keys
}

/// What of `daemon:` is there only where it is given.
fn economy(text: &mut String, policy: &Policy) {
    let lifetimes = [
        ("max_lifetime", policy.max_lifetime),
        ("max_lifetime_kill", policy.max_lifetime_kill),
    ];
    for (key, time) in lifetimes {
        if let Some(time) = time {
            line(text, 2, key, &duration_text(time));
        }
    }
    let name = policy.time_zone.iana_name();
    if let Some(name) = name.filter(|_| policy.time_zone != TimeZone::UTC) {
        line(text, 2, "time_zone", &scalar(name));
    }
    budget(text, 2, &policy.budget);
    let SubmitterLimits {
        users,
        accounting_groups,
    } = &policy.submitter_limits;
    submitters(text, "user_limits", users);
    submitters(text, "accounting_group_limits", accounting_groups);
    schedules::text(text, &policy.schedules);
}

/// The limits by name; nothing where there are none.
fn submitters(text: &mut String, key: &str, limits: &BTreeMap<String, SubmitterLimit>) {
    if limits.is_empty() {
        return;
    }
    entries(text, 2, key, &[]);
    for (name, limit) in limits {
        let SubmitterLimit {
            nodes_max,
            cores_max,
            budget: money,
        } = limit;
        let mut keys = Keys::new();
        keys.extend(nodes_max.map(|nodes| ("nodes_max", nodes.to_string())));
        keys.extend(cores_max.map(|cores| ("cores_max", cores.to_string())));
        entries(text, 4, &scalar(name), &keys);
        budget(text, 6, money);
    }
}

/// Where notices are posted to. A hook command is a program of this machine.
fn notices(text: &mut String, settings: &notify::Settings) {
    if settings.webhook.is_none() {
        return;
    }
    let keys = [
        ("webhook_file", WEBHOOK.to_owned()),
        ("after_ticks", settings.after_ticks.to_string()),
        ("repeat", duration_text(settings.repeat)),
        ("timeout", duration_text(settings.timeout)),
    ];
    entries(text, 0, "notify", &keys);
}

/// None of it where there is none.
fn budget(text: &mut String, indent: usize, budget: &Budget) {
    let Budget {
        per_hour,
        per_month,
    } = budget;
    let mut keys = Keys::new();
    keys.extend(per_hour.map(|money| ("per_hour", money.to_string())));
    keys.extend(per_month.map(|money| ("per_month", money.to_string())));
    if !keys.is_empty() {
        entries(text, indent, "budget", &keys);
    }
}

fn metrics_text(text: &mut String, metrics: &MetricsSettings) {
    let MetricsSettings {
        prometheus_textfile,
        influxdb,
        // Under `daemon:`.
        hostname: _,
        timeout,
    } = metrics;
    let mut keys = Keys::new();
    if let Some(path) = prometheus_textfile {
        let path = path.display().to_string();
        keys.push(("prometheus_textfile", scalar(&path)));
    }
    if *timeout != MetricsSettings::default().timeout {
        keys.push(("timeout", duration_text(*timeout)));
    }
    if !keys.is_empty() {
        entries(text, 0, "metrics", &keys);
    }
    let Some(InfluxSettings { address, login }) = influxdb else {
        return;
    };
    let mut keys = vec![("url", scalar(address))];
    if let Some(login) = login {
        if let InfluxLogin::Password { username, .. } = login {
            keys.push(("username", scalar(username)));
        }
        let (key, file) = influx_secret(login);
        keys.push((key, file.to_owned()));
    }
    entries(text, 0, "influxdb", &keys);
}

/// The key of the file with the secret for InfluxDB, and where on the central manager that is; no cloud's file is called
/// so.
fn influx_secret(login: &InfluxLogin) -> (&'static str, &'static str) {
    match login {
        InfluxLogin::Password { .. } => ("password_file", "/etc/ehos/influxdb-password"),
        InfluxLogin::Token(_) => ("token_file", "/etc/ehos/influxdb-token"),
    }
}

fn condor_keys(condor: &CondorSettings) -> Keys {
    let CondorSettings {
        host_ip,
        pool: _,
        schedds,
        job_constraint,
        ignore_requirements,
        bin: _,
        event_log: _,
        universes,
        trust_domain,
        password,
        token: _,
        token_key: _,
        token_key_directory: _,
        token_identity,
        token_lifetime,
        noclaim_shutdown,
    } = condor;
    let mut keys = Keys::new();
    let mut put = |key, value: &Option<String>| {
        keys.extend(value.iter().map(|value| (key, scalar(value))));
    };
    put("host_ip", host_ip);
    put("trust_domain", trust_domain);
    put("job_constraint", job_constraint);
    put("token_identity", token_identity);
    if !schedds.is_empty() {
        keys.push(("schedds", list(schedds)));
    }
    if *ignore_requirements {
        keys.push(("match_requirements", "false".to_owned()));
    }
    if *universes != [5] {
        keys.push(("universes", list(universes.iter().map(u32::to_string))));
    }
    if let Some(lifetime) = token_lifetime {
        keys.push(("token_lifetime", duration_text(*lifetime)));
    }
    if noclaim_shutdown.is_some() {
        keys.push(("scale_down", "node".to_owned()));
    }
    if password.is_some() {
        keys.push(("password_file", POOL_PASSWORD.to_owned()));
    }
    keys
}

fn cloud(config: &Config, settings: &CloudSettings) -> Keys {
    let CloudSettings {
        name,
        auth,
        region,
        interface,
        services: _,
        cacert,
        insecure,
        image,
        base_image,
        flavors,
        networks,
        key,
        security_groups,
        availability_zones,
        server_group,
        server_group_policy,
        boot_volume_size_gb,
        boot_volume_type,
        config_drive,
        tags,
        gpus: _,
        user_data_file: _,
        metadata: _,
        startd_attributes: _,
        scratch_size_gb,
        ccb,
    } = settings;
    let (_, secret_name) = secret(settings);
    let mut keys = access(auth, &Path::new(FOLDER).join(secret_name));
    let mut put = |key, value: &Option<String>| {
        keys.extend(value.iter().map(|value| (key, scalar(value))));
    };
    put("region_name", region);
    // A cloud without a golden image yet has its nodes boot from the base image.
    let own = (base_image.as_ref() != Some(image) && !image.is_empty()).then(|| image.clone());
    put("image", &own);
    put("base_image", base_image);
    put("key", key);
    put("server_group", server_group);
    put("boot_volume_type", boot_volume_type);
    if server_group.is_some() {
        keys.push(("server_group_policy", scalar(server_group_policy)));
    }
    keys.extend(boot_volume_size_gb.map(|size| ("boot_volume_size", size.to_string())));
    if *config_drive {
        keys.push(("config_drive", "true".to_owned()));
    }
    for (key, values) in [("availability_zones", availability_zones), ("tags", tags)] {
        if !values.is_empty() {
            keys.push((key, list(values)));
        }
    }
    for (key, values) in [("flavors", flavors), ("networks", networks)] {
        // A cloud with `retire` needs none.
        if !values.is_empty() {
            keys.push((key, list(values)));
        }
    }
    if !security_groups.is_empty() {
        keys.push(("security_groups", list(security_groups)));
    }
    let template = template(config, settings).display().to_string();
    keys.push(("userdata_file", scalar(&template)));
    if interface != "public" {
        keys.push(("interface", scalar(interface)));
    }
    if cacert.is_some() {
        let there = file_of(settings, "pem").display().to_string();
        keys.push(("cacert", scalar(&there)));
    }
    if *insecure {
        keys.push(("insecure", "true".to_owned()));
    }
    if *ccb {
        keys.push(("ccb", "true".to_owned()));
    }
    keys.extend(scratch_size_gb.map(|size| ("scratch_size", size.to_string())));
    if let Some(policy) = config.policy.cloud(name) {
        keys.extend(limits(policy));
    }
    keys
}

fn limits(policy: &CloudPolicy) -> Keys {
    let CloudPolicy {
        name: _,
        flavors: _,
        image: _,
        nodes_max,
        weight,
        min_cores,
        min_ram_mb,
        min_instances,
        prices: _,
        zones: _,
        takes: _,
        budget: _,
        billing_period,
        max_lifetime,
        hard_server_group: _,
        retire,
    } = policy;
    let mut keys = Keys::new();
    if *weight != 1 {
        keys.push(("weight", weight.to_string()));
    }
    if *retire {
        keys.push(("retire", "true".to_owned()));
    }
    keys.extend(billing_period.map(|time| ("billing_period", duration_text(time))));
    keys.extend(max_lifetime.map(|time| ("max_lifetime", duration_text(time))));
    keys.extend(nodes_max.map(|nodes| ("nodes_max", nodes.to_string())));
    if *min_cores > 0 {
        keys.push(("min_cores", min_cores.to_string()));
    }
    if *min_ram_mb > 0 {
        keys.push(("min_ram", gigabytes(*min_ram_mb)));
    }
    if *min_instances > 0 {
        keys.push(("min_instances", min_instances.to_string()));
    }
    keys
}

/// Who ehos is on a cloud, with the secret in a file of its own.
pub(crate) fn access(auth: &Auth, secret_file: &Path) -> Keys {
    let Auth { url, method } = auth;
    let mut keys = vec![("auth_url", scalar(url))];
    let mut put = |name, id, value: Option<&NameOrId>| match value {
        Some(NameOrId::Name(value)) => keys.push((name, scalar(value))),
        Some(NameOrId::Id(value)) => keys.push((id, scalar(value))),
        None => {}
    };
    let secret = match method {
        AuthMethod::Password {
            user,
            user_domain,
            password: _,
            project,
            project_domain,
        } => {
            put("username", "user_id", Some(user));
            put("user_domain_name", "user_domain_id", user_domain.as_ref());
            put("project_name", "project_id", Some(project));
            put(
                "project_domain_name",
                "project_domain_id",
                project_domain.as_ref(),
            );
            "password_file"
        }
        AuthMethod::ApplicationCredential {
            credential,
            user,
            user_domain,
            secret: _,
        } => {
            put(
                "application_credential_name",
                "application_credential_id",
                Some(credential),
            );
            put("username", "user_id", user.as_ref());
            put("user_domain_name", "user_domain_id", user_domain.as_ref());
            "application_credential_secret_file"
        }
        AuthMethod::Token {
            token: _,
            project,
            project_domain,
        } => {
            put("project_name", "project_id", project.as_ref());
            put(
                "project_domain_name",
                "project_domain_id",
                project_domain.as_ref(),
            );
            "token_file"
        }
    };
    let file = secret_file.display().to_string();
    keys.push((secret, scalar(&file)));
    keys
}

/// A key of a cloud whose value is a mapping; none of it where that is empty.
fn mapping<T: ToString>(text: &mut String, key: &str, values: &BTreeMap<String, T>) {
    if values.is_empty() {
        return;
    }
    text.push_str(&format!("    {key}:\n"));
    for (name, value) in values {
        line(text, 6, &scalar(name), &scalar(&value.to_string()));
    }
}

/// The template of the cloud's nodes on the central manager: the first cloud's is `execute.yaml`, and so are those
/// of others that have the same one.
fn template(config: &Config, settings: &CloudSettings) -> PathBuf {
    let first = config.clouds.first().map(|cloud| &cloud.user_data_file);
    if first == Some(&settings.user_data_file) {
        return PathBuf::from(EXECUTE);
    }
    Path::new(FOLDER).join(format!("execute-{}.yaml", file_name(&settings.name)))
}

/// The file of the central manager that belongs to this cloud alone.
fn file_of(settings: &CloudSettings, ending: &str) -> PathBuf {
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

fn entries(text: &mut String, indent: usize, name: &str, keys: &[(&str, String)]) {
    _ = writeln!(text, "{:indent$}{name}:", "");
    for (key, value) in keys {
        line(text, indent + 2, key, value);
    }
}

fn line(text: &mut String, indent: usize, key: &str, value: &str) {
    _ = writeln!(text, "{:indent$}{key}: {value}", "");
}

/// MiB as the configuration takes memory.
#[allow(clippy::cast_precision_loss)] // Nobody has 8 EiB.
fn gigabytes(mebibytes: u64) -> String {
    (mebibytes as f64 / 1024.0).to_string()
}
