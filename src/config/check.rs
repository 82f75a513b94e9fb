//! From the merged files to the configuration, with everything checked that can be without asking HTCondor or a cloud.

use secrecy::{ExposeSecret, SecretString};

use super::clouds;
use super::cluster;
use super::costs;
use super::diagnostics::Diagnostics;
use super::document::{Item, Section};
use super::influxdb;
use super::money;
use super::notify;
use super::settings::{Config, Timeouts};
use condor::CondorSettings;
use condor::token::is_json_web_token;
use scaling::policy::{Policy, ScaleDown};
use scaling::schedule::Spare;
use scaling::submitter::SubmitterLimits;

/// Universes whose jobs run on the machine of their schedd, or on another service.
const WITHOUT_NODES: [(u32, &str); 3] = [(7, "scheduler"), (9, "grid"), (12, "local")];

/// `file` as a configuration. It is one only if `context` has no problem afterwards. `cluster` is the pool's id
/// when the file gives none.
pub(super) fn check(
    context: &mut Diagnostics<'_>,
    file: &Section,
    cluster: Option<&str>,
) -> Config {
    let (ehos, daemon) = (file.section("ehos"), file.section("daemon"));
    let mut config = Config::default();
    context.fill(&mut config, &[(&["daemon"], daemon)]);
    if let Some(Item::World(world)) = file.get("simulation") {
        config.simulation = Some((**world).clone());
    }
    let simulated = config.simulation.is_some();
    let mut policy = policy(context, ehos, daemon);
    policy.cluster = pool_id(context, ehos, cluster, simulated);
    config.cloud_of_environment = file.section("clouds").0.is_empty();
    if !simulated {
        (config.clouds, policy.clouds) = clouds::check(context, file);
        costs::unlisted(context, ehos, &policy);
        costs::check(context, &policy);
    }
    money::time(context, daemon, &mut policy);
    config.time_zone_given = daemon.has("time_zone");
    money::check(context, &policy, simulated);
    config.timeouts = timeouts(context, daemon);
    policy.request_timeout = config.timeouts.request;
    policy.tick_timeout = config.timeouts.tick;
    let condor = file.section("condor");
    policy.scale_down = condor.value("scale_down").unwrap_or(ScaleDown::Drain);
    config.condor = condor_settings(context, condor);
    policy.condor_host.clone_from(&config.condor.host_ip);
    if !policy.drains() {
        config.condor.noclaim_shutdown = Some(policy.idle_timeout);
        if policy.idle_timeout.is_zero() {
            context.problem(&["daemon", "idle_timeout"], "must be longer than 0");
        }
    }
    if config.condor.token_lifetime() <= policy.token_renew_before {
        let key = match condor.has("token_lifetime") {
            true => ["condor", "token_lifetime"],
            false => ["daemon", "token_renew_before"],
        };
        context.problem(
            &key,
            "condor.token_lifetime must be longer than daemon.token_renew_before (7 days by default): ehos drains nodes that \
             long before their tokens expire",
        );
    }
    config.metrics = influxdb::metrics(context, file);
    money::lifetimes(context, &policy, config.condor.token_lifetime());
    config.policy = policy;
    config.notify = notify::settings(context, file.section("notify"));
    config
}

fn pool_id(
    context: &mut Diagnostics<'_>,
    ehos: &Section,
    cluster: Option<&str>,
    simulated: bool,
) -> String {
    match (ehos.get("cluster"), cluster) {
        (Some(_), _) => {
            let id = ehos.text("cluster").unwrap_or_default();
            if let Err(why) = cluster::check(id) {
                context.problem(&["ehos", "cluster"], why);
            }
            id.to_owned()
        }
        (None, Some(id)) => id.to_owned(),
        // A simulated site has no servers that could be another pool's.
        (None, None) if simulated => "simulation".to_owned(),
        (None, None) => {
            let id = cluster::make().unwrap_or_else(|_| "pool-SOMETHING-RANDOM".to_owned());
            context.problem(
                &["ehos", "cluster"],
                (
                    "the pool has no id, by which ehos recognizes its servers",
                    format!("put this line under `ehos:` and keep it: `cluster: {id}`"),
                ),
            );
            String::new()
        }
    }
}

fn policy(context: &mut Diagnostics<'_>, ehos: &Section, daemon: &Section) -> Policy {
    let mut policy = Policy::default();
    // The original's older files have some of these under `ehos:`.
    let from: [(&[&str], &Section); 2] = [(&["daemon"], daemon), (&["ehos"], ehos)];
    context.fill(&mut policy, &from);
    policy.budget = money::budget(context, &["daemon"], daemon);
    policy.submitter_limits = SubmitterLimits {
        users: money::submitters(context, "user_limits", daemon),
        accounting_groups: money::submitters(context, "accounting_group_limits", daemon),
    };
    if let Some(prefix) = ehos.text("project_prefix") {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if prefix.len() > 40 || !prefix.chars().all(fine) {
            context.problem(
                &["ehos", "project_prefix"],
                "must be at most 40 letters, digits, `-`, `_` or `.`: names of servers begin with it",
            );
        }
        prefix.clone_into(&mut policy.prefix);
    }
    let most = policy.nodes_max;
    let place = |key: &'static str| match daemon.has(key) {
        true => ["daemon", key],
        false => ["ehos", key],
    };
    // `nodes_max: 0` stops creates, and ends no ticks.
    if policy.nodes_min > most {
        let what = format!(
            "{} is more than nodes_max, {most}: nodes_max counts",
            policy.nodes_min
        );
        context.note(&place("nodes_min"), what);
        policy.nodes_min = most;
    }
    if let Spare::Count(spare) = policy.nodes_spare
        && spare > most
    {
        let what = format!("{spare} is more than nodes_max, {most}: nodes_max counts");
        context.note(&place("nodes_spare"), what);
    }
    if policy.lost_job_timeout < policy.lost_timeout {
        context.problem(
            &["daemon", "lost_job_timeout"],
            "is shorter than lost_timeout: a node with a job must not be lost before one without",
        );
    }
    if policy.backoff_max < policy.backoff_initial {
        context.problem(
            &["daemon", "backoff_max"],
            "is shorter than backoff_initial",
        );
    }
    policy
}

fn timeouts(context: &mut Diagnostics<'_>, daemon: &Section) -> Timeouts {
    let mut timeouts = Timeouts::default();
    context.fill(&mut timeouts, &[(&["daemon"], daemon)]);
    for (key, value) in [
        ("request_timeout", timeouts.request),
        ("command_timeout", timeouts.command),
    ] {
        if value > timeouts.tick {
            context.problem(
                &["daemon", key],
                "is longer than tick_timeout, the time for all of them",
            );
        }
    }
    timeouts
}

fn condor_settings(context: &mut Diagnostics<'_>, keys: &Section) -> CondorSettings {
    let mut condor = CondorSettings::default();
    context.fill(&mut condor, &[(&["condor"], keys)]);
    for key in ["host_ip", "trust_domain", "token_identity", "token_key"] {
        let Some(value) = keys.text(key) else {
            continue;
        };
        if value.contains(char::is_whitespace) {
            context.problem(&["condor", key], "has a space in it");
        }
        context.quotable(&["condor", key], value);
    }
    let is_name = |name: &String| !name.starts_with(['-', '.']) && !name.contains('/');
    if condor.token_key.as_ref().is_some_and(|name| !is_name(name)) {
        context.problem(
            &["condor", "token_key"],
            "must be the name of a file in HTCondor's SEC_PASSWORD_DIRECTORY, without a folder",
        );
    }
    if !keys.has("token_key") && keys.has("token_key_directory") {
        context.note(
            &["condor", "token_key_directory"],
            "not used: token_key is missing, so the pool's key signs tokens",
        );
    }
    let universes = universes(context, keys);
    if !universes.is_empty() {
        condor.universes = universes;
    }
    condor.ignore_requirements = keys.value("match_requirements") == Some(false);
    condor.password = context.secret(
        &["condor"],
        "password",
        keys,
        "write the pool password into it, readable by its owner only (chmod 600)",
    );
    condor.token = token(context, keys);
    condor
}

fn universes(context: &mut Diagnostics<'_>, keys: &Section) -> Vec<u32> {
    let mut universes = Vec::new();
    for text in keys.value::<Vec<String>>("universes").unwrap_or_default() {
        let universe = text.parse().ok().filter(|number| (1..=13).contains(number));
        let Some(universe) = universe else {
            context.problem(
                &["condor", "universes"],
                (
                    format!("`{text}` is not the number of a universe"),
                    "use 5 for vanilla",
                ),
            );
            continue;
        };
        if let Some((_, name)) = WITHOUT_NODES.iter().find(|(number, _)| *number == universe) {
            context.problem(
                &["condor", "universes"],
                format!("jobs of universe {universe} ({name}) run without nodes"),
            );
        }
        universes.push(universe);
    }
    universes
}

/// The token with which nodes join.
fn token(context: &mut Diagnostics<'_>, keys: &Section) -> Option<SecretString> {
    let token = context.secret(
        &["condor"],
        "token",
        keys,
        "create it as root on the central manager: \
         `(umask 077; condor_token_create -identity execute@TRUST_DOMAIN > FILE)`",
    )?;
    if !is_json_web_token(token.expose_secret()) {
        let key = match keys.has("token") {
            true => "token",
            false => "token_file",
        };
        context.problem(
            &["condor", key],
            "is not a token of HTCondor: three parts with dots between them, as condor_token_create prints them",
        );
    }
    Some(token)
}
