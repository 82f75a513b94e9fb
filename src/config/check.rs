//! From what is written to what is meant: defaults put in, and everything checked that can be without asking
//! HTCondor or a cloud.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::clouds;
use super::cluster;
use super::context::Context;
use super::costs;
use super::file::{Condor, Daemon, Ehos, File};
use super::given::Given;
use super::influxdb;
use super::money;
use super::notify;
use super::settings::{Config, EVENT_INTERVAL, HISTORY_DAYS};
use crate::condor::CondorSettings;
use crate::condor::token::is_json_web_token;
use crate::deadline::Timeouts;
use crate::scaling::policy::{Allocation, Policy, ScaleDown};
use crate::scaling::schedule::Spare;
use crate::scaling::submitter::SubmitterLimits;

/// Universes whose jobs run on the machine of their schedd, or on another service.
const WITHOUT_NODES: [(u32, &str); 3] = [(7, "scheduler"), (9, "grid"), (12, "local")];

/// `file` as a configuration. It is one only if `context` has no problem afterwards. `cluster` is the pool's id
/// when the file gives none.
pub(super) fn check(context: &mut Context<'_>, mut file: File, cluster: Option<&str>) -> Config {
    let ehos = file.ehos.take().unwrap_or_default();
    let daemon = file.daemon.take().unwrap_or_default();
    let condor = file.condor.take().unwrap_or_default();
    let simulation = file.simulation.take();

    let mut policy = policy(context, &ehos, &daemon);
    policy.cluster = match (&ehos.cluster, cluster) {
        (Given::Value(id), _) => {
            if let Err(why) = cluster::check(id) {
                context.problem(&["ehos", "cluster"], why);
            }
            id.clone()
        }
        (Given::Wrong(_), _) => String::new(),
        (Given::Absent, Some(id)) => id.to_owned(),
        // A simulated world has no servers that could be another pool's.
        (Given::Absent, None) if simulation.is_some() => "simulation".to_owned(),
        (Given::Absent, None) => {
            let id = cluster::make().unwrap_or_else(|_| "pool-SOMETHING-RANDOM".to_owned());
            context.problem(
                &["ehos", "cluster"],
                format!(
                    "this pool has no id yet, by which ehos knows its own servers; put this line under `ehos:` \
                     and keep it: `cluster: {id}`"
                ),
            );
            String::new()
        }
    };

    let mut settings = Vec::new();
    let cloud_of_environment = file
        .clouds
        .as_ref()
        .is_none_or(|clouds| clouds.0.is_empty());
    if simulation.is_none() {
        let (clouds, policies) = clouds::check(context, &mut file, &ehos, &daemon);
        settings = clouds;
        policy.clouds = policies;
        costs::unlisted(context, &ehos, &policy);
        costs::check(context, &policy);
    }
    money::time(context, &daemon, &mut policy);
    money::check(context, &daemon, &policy, simulation.is_some());
    let timeouts = timeouts(context, &daemon);
    policy.request_timeout = timeouts.request;
    policy.scale_down = scale_down(context, &condor);
    let mut settings_of_condor = condor_settings(context, &condor);
    policy.condor_host.clone_from(&settings_of_condor.host_ip);
    if !policy.drains() {
        settings_of_condor.noclaim_shutdown = Some(policy.idle_timeout);
        not_zero(context, "idle_timeout", policy.idle_timeout);
    }
    if settings_of_condor.token_lifetime() <= policy.token_margin {
        let section = if condor.token_lifetime.is_absent() {
            ["daemon", "token_margin"]
        } else {
            ["condor", "token_lifetime"]
        };
        context.problem(
            &section,
            "condor.token_lifetime must be longer than daemon.token_margin (7 days where it is not given): nodes are \
             drained that long before their tokens end",
        );
    }
    let metrics = influxdb::metrics(context, &daemon, &file);
    money::lifetimes(context, &policy, settings_of_condor.token_lifetime());
    Config {
        files: Vec::new(),
        policy,
        condor: settings_of_condor,
        clouds: settings,
        cloud_of_environment,
        simulation,
        timeouts,
        state_dir: daemon
            .state_dir
            .get()
            .map(|folder| context.env.path(folder)),
        notify: notify::settings(context, file.notify.as_ref()),
        history_days: daemon.history_days.value().unwrap_or(HISTORY_DAYS),
        event_interval: daemon.event_interval.value().unwrap_or(EVENT_INTERVAL),
        metrics,
        notes: Vec::new(),
    }
}

/// Puts each given value of the section into the field of the same name.
macro_rules! set {
    ($target:ident, $section:ident: $($field:ident),* $(,)?) => {
        $(if let Some(value) = $section.$field.value() { $target.$field = value; })*
    };
}

fn policy(context: &mut Context<'_>, ehos: &Ehos, daemon: &Daemon) -> Policy {
    let mut policy = Policy::new("");
    // The original's older files have these under `ehos:`.
    set!(policy, ehos: nodes_min, nodes_max, nodes_spare);
    set!(policy, daemon:
        nodes_min, nodes_max, nodes_spare, max_actions, max_unproven, idle_timeout, boot_timeout,
        lost_timeout, lost_job_timeout, intent_grace, collector_grace, unknown_grace, delete_timeout,
        negotiation_cycle, update_interval, protect_after, failure_memory, backoff_first, backoff_longest,
        refusal_memory, token_margin,
        vanish_share, vanish_count, purge_floating_ips, hold_up,
    );
    policy.core_price = daemon.core_price.value();
    policy.node_cost = daemon.node_cost.value();
    policy.max_lifetime = daemon.max_lifetime.value();
    policy.max_lifetime_kill = daemon.max_lifetime_kill.value();
    policy.budget = money::budget(daemon.budget.as_ref());
    policy.submitter_limits = SubmitterLimits {
        users: money::submitters(context, "user_limits", daemon.user_limits.as_ref()),
        accounting_groups: money::submitters(
            context,
            "accounting_group_limits",
            daemon.accounting_group_limits.as_ref(),
        ),
    };
    if let Some(prefix) = ehos.project_prefix.value() {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if prefix.len() > 40 || !prefix.chars().all(fine) {
            context.problem(
                &["ehos", "project_prefix"],
                "names of servers begin with it: at most 40 letters, digits, `-`, `_` or `.`",
            );
        }
        policy.prefix = prefix;
    }
    if let Some(name) = daemon.node_allocation.get() {
        match name.to_ascii_lowercase().replace([' ', '_'], "-").as_str() {
            "round-robin" => policy.allocation = Allocation::RoundRobin,
            "random" => policy.allocation = Allocation::Random,
            "fill-first" => policy.allocation = Allocation::FillFirst,
            "cheapest" => policy.allocation = Allocation::Cheapest,
            "least-waste" => policy.allocation = Allocation::LeastWaste,
            _ => context.problem(
                &["daemon", "node_allocation"],
                format!(
                    "`{name}` is none of round-robin, random, fill-first, cheapest, least-waste"
                ),
            ),
        }
    }

    fn section<T>(daemon: &Given<T>) -> &'static str {
        if daemon.is_absent() { "ehos" } else { "daemon" }
    }
    // Whoever sets nodes_max to 0 wants no more nodes made, and no end of all ticks.
    if policy.nodes_min > policy.nodes_max {
        context.note(
            &[section(&daemon.nodes_min), "nodes_min"],
            format!(
                "{} is more than nodes_max, {}: nodes_max counts",
                policy.nodes_min, policy.nodes_max
            ),
        );
        policy.nodes_min = policy.nodes_max;
    }
    if matches!(policy.nodes_spare, Spare::Count(spare) if spare > policy.nodes_max) {
        context.note(
            &[section(&daemon.nodes_spare), "nodes_spare"],
            format!(
                "{} is more than nodes_max, {}: nodes_max counts",
                policy.nodes_spare, policy.nodes_max
            ),
        );
    }
    for (key, value) in [
        ("max_actions", policy.max_actions),
        ("max_unproven", policy.max_unproven),
        ("protect_after", policy.protect_after),
    ] {
        if value == 0 {
            context.problem(
                &["daemon", key],
                "must be at least 1, or nothing is ever done",
            );
        }
    }
    if !(policy.vanish_share > 0.0 && policy.vanish_share <= 1.0) {
        context.problem(
            &["daemon", "vanish_share"],
            "is a share of the nodes: more than 0 and at most 1",
        );
    }
    for (key, value) in [
        ("boot_timeout", policy.boot_timeout),
        ("lost_timeout", policy.lost_timeout),
        ("delete_timeout", policy.delete_timeout),
        ("update_interval", policy.update_interval),
        ("backoff_first", policy.backoff_first),
    ] {
        not_zero(context, key, value);
    }
    if policy.lost_job_timeout < policy.lost_timeout {
        context.problem(
            &["daemon", "lost_job_timeout"],
            "is shorter than lost_timeout: a node with a job is given up later than one without",
        );
    }
    if policy.backoff_longest < policy.backoff_first {
        context.problem(
            &["daemon", "backoff_longest"],
            "is shorter than backoff_first",
        );
    }
    policy
}

fn timeouts(context: &mut Context<'_>, daemon: &Daemon) -> Timeouts {
    let mut timeouts = Timeouts::default();
    for (key, given, target) in [
        ("tick_timeout", &daemon.tick_timeout, &mut timeouts.tick),
        (
            "request_timeout",
            &daemon.request_timeout,
            &mut timeouts.request,
        ),
        (
            "command_timeout",
            &daemon.command_timeout,
            &mut timeouts.command,
        ),
    ] {
        if let Some(value) = given.value() {
            not_zero(context, key, value);
            *target = value;
        }
    }
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

fn not_zero(context: &mut Context<'_>, key: &str, value: Duration) {
    if value.is_zero() {
        context.problem(&["daemon", key], "must be longer than 0");
    }
}

fn scale_down(context: &mut Context<'_>, condor: &Condor) -> ScaleDown {
    match condor.scale_down.get().map(String::as_str) {
        None | Some("drain") => ScaleDown::Drain,
        Some("node") => ScaleDown::Node,
        Some(word) => {
            let problem = format!("`{word}` is none of drain, node");
            context.problem(&["condor", "scale_down"], problem);
            ScaleDown::Drain
        }
    }
}

fn condor_settings(context: &mut Context<'_>, condor: &Condor) -> CondorSettings {
    for (key, value) in [
        ("host_ip", &condor.host_ip),
        ("trust_domain", &condor.trust_domain),
        ("token_identity", &condor.token_identity),
        ("token_key", &condor.token_key),
    ] {
        if value.get().is_some_and(|v| v.contains(char::is_whitespace)) {
            context.problem(&["condor", key], "has a space in it");
        }
        if let Some(value) = value.get() {
            context.quotable(&["condor", key], value);
        }
    }
    if condor.token_lifetime.get().is_some_and(Duration::is_zero) {
        context.problem(&["condor", "token_lifetime"], "must be longer than 0");
    }
    if condor
        .token_key
        .get()
        .is_some_and(|name| name.is_empty() || name.starts_with(['-', '.']) || name.contains('/'))
    {
        context.problem(
            &["condor", "token_key"],
            "is the name of a key: that of a file in HTCondor's SEC_PASSWORD_DIRECTORY, without a folder",
        );
    }
    if condor.token_key.is_absent() && !condor.token_key_directory.is_absent() {
        context.note(
            &["condor", "token_key_directory"],
            "not used: token_key, the name of the key, is missing, so the pool's key signs tokens",
        );
    }
    let mut universes = Vec::new();
    for text in condor.universes.get().map_or(&[][..], Vec::as_slice) {
        let universe = text.parse().ok().filter(|number| (1..=13).contains(number));
        let Some(universe) = universe else {
            context.problem(
                &["condor", "universes"],
                format!("`{text}` is not the number of a universe; 5 is vanilla"),
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
    if universes.is_empty() {
        universes.push(5);
    }
    CondorSettings {
        host_ip: condor.host_ip.value(),
        pool: condor.pool.value(),
        schedds: condor.schedds.value().unwrap_or_default(),
        job_constraint: condor.job_constraint.value(),
        ignore_requirements: condor.match_requirements.value() == Some(false),
        bin: condor.bin.get().map(|folder| context.env.path(folder)),
        event_log: condor.event_log.get().map(|log| context.env.path(log)),
        universes,
        trust_domain: condor.trust_domain.value(),
        password: context.secret(
            &["condor"],
            "password",
            &condor.password,
            &condor.password_file,
            "put the pool password alone into it, for its owner to read (chmod 600)",
        ),
        token: token(context, condor),
        token_key: condor.token_key.value(),
        token_key_directory: condor
            .token_key_directory
            .get()
            .map(|folder| context.env.path(folder)),
        token_identity: condor.token_identity.value(),
        token_lifetime: condor.token_lifetime.value(),
        noclaim_shutdown: None,
    }
}

/// The token with which nodes join.
fn token(context: &mut Context<'_>, condor: &Condor) -> Option<SecretString> {
    let token = context.secret(
        &["condor"],
        "token",
        &condor.token,
        &condor.token_file,
        "make it as root on the central manager: \
         `(umask 077; condor_token_create -identity execute@TRUST_DOMAIN > FILE)`",
    )?;
    if !is_json_web_token(token.expose_secret()) {
        let key = if condor.token.is_absent() {
            "token_file"
        } else {
            "token"
        };
        context.problem(
            &["condor", key],
            "is no token of HTCondor (three parts with dots between them, as condor_token_create prints them)",
        );
    }
    Some(token)
}
