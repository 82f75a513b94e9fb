//! Settings of the central manager and of nodes that are there.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{MAX_AD_LIFETIME_SECONDS, MAX_CYCLE_DELAY_SECONDS, MAX_NEGOTIATOR_INTERVAL_SECONDS};
use crate::check::Finding;
use condor::inspect::NodeSettings;
use condor::{Tools, inspect};
use config::Config;
use scaling::sorting;
use system::deadline::Deadline;

/// Settings of the central manager, where this machine is it.
pub(super) fn central_manager(config: &Config, tools: &Tools, deadline: Deadline) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let daemons = inspect::setting(tools, "MASTER", "DAEMON_LIST", deadline);
    let daemons = daemons.ok().flatten().unwrap_or_default().to_uppercase();
    if config.condor.pool.is_some() || !daemons.contains("COLLECTOR") {
        return vec![Finding::skipped(
            CHECK,
            "settings of the central manager can be checked on it only",
        )];
    }
    let lifetime = inspect::setting(tools, "COLLECTOR", "CLASSAD_LIFETIME", deadline);
    let update = inspect::setting(
        tools,
        "NEGOTIATOR",
        "NEGOTIATOR_UPDATE_AFTER_CYCLE",
        deadline,
    );
    let negotiation_interval = |name: &str, longest, consequence: &str| {
        inspect::setting(tools, "NEGOTIATOR", name, deadline).map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| at_most(name, value.as_deref(), longest, consequence),
        )
    };
    let mut findings = vec![
        lifetime.map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| ad_lifetime(value.as_deref()),
        ),
        update.map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| update_after_cycle(value.as_deref()),
        ),
        negotiation_interval(
            "NEGOTIATOR_INTERVAL",
            MAX_NEGOTIATOR_INTERVAL_SECONDS,
            "a joined node may wait that long for its first job",
        ),
        negotiation_interval(
            "NEGOTIATOR_CYCLE_DELAY",
            MAX_CYCLE_DELAY_SECONDS,
            "new jobs and nodes may wait that long after a cycle ends",
        ),
    ];
    // Only a schedd writes it.
    if daemons.contains("SCHEDD") && !config.event_interval.is_zero() {
        let log = inspect::setting(tools, "SCHEDD", "EVENT_LOG", deadline);
        findings.push(log.map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| event_log(value.as_deref(), config.condor.event_log()),
        ));
    }
    findings
}

/// Without an event log that ehos can read, a tick comes with the timer's minute: that is slower, and no fault.
pub(super) fn event_log(value: Option<&str>, expected: &Path) -> Finding {
    const CHECK: &str = "settings";
    let place = expected.display();
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Finding::warning(
            CHECK,
            "EVENT_LOG is not set: jobs wait for the tick of the next minute",
            format!(
                "set EVENT_LOG = {place} on the central manager and run condor_reconfig; or set daemon.event_interval: 0"
            ),
        );
    };
    if Path::new(value) != expected {
        return Finding::warning(
            CHECK,
            format!("EVENT_LOG is {value}, and ehos reads {place}"),
            format!(
                "set condor.event_log: {value} here, and PathModified={value} by `systemctl edit ehos.path`"
            ),
        );
    }
    match File::open(expected) {
        Ok(_) => Finding::ok(CHECK, format!("EVENT_LOG = {value}")),
        // It comes with the first job.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::ok(
            CHECK,
            format!("EVENT_LOG = {value}; no job has been logged yet"),
        ),
        Err(error) => Finding::warning(
            CHECK,
            format!("EVENT_LOG = {value} cannot be read: {error}"),
            "let the user that runs the ticks read the file and its folder",
        ),
    }
}

pub(super) fn ad_lifetime(value: Option<&str>) -> Finding {
    const CHECK: &str = "settings";
    match value.and_then(|value| value.parse::<u64>().ok()) {
        Some(seconds) if seconds <= MAX_AD_LIFETIME_SECONDS => {
            Finding::ok(CHECK, format!("CLASSAD_LIFETIME = {seconds}"))
        }
        seconds => Finding::warning(
            CHECK,
            format!(
                "CLASSAD_LIFETIME is {}: ads of deleted nodes stay that long, and up to twice that long",
                // The manual's default.
                seconds.unwrap_or(900)
            ),
            format!(
                "set COLLECTOR.CLASSAD_LIFETIME = {MAX_AD_LIFETIME_SECONDS} on the central manager, longer than \
                 UPDATE_INTERVAL of the nodes"
            ),
        ),
    }
}

pub(super) fn update_after_cycle(value: Option<&str>) -> Finding {
    const CHECK: &str = "settings";
    if value.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Finding::ok(CHECK, "NEGOTIATOR_UPDATE_AFTER_CYCLE = True");
    }
    Finding::warning(
        CHECK,
        "NEGOTIATOR_UPDATE_AFTER_CYCLE is not True: the duration of cycles is up to five minutes old",
        "set NEGOTIATOR_UPDATE_AFTER_CYCLE = True on the central manager",
    )
}

/// A setting in seconds against the longest that suits a pool of elastic nodes.
pub(super) fn at_most(name: &str, value: Option<&str>, longest: u64, consequence: &str) -> Finding {
    const CHECK: &str = "settings";
    match value.map(str::parse::<u64>) {
        Some(Ok(seconds)) if seconds <= longest => {
            Finding::ok(CHECK, format!("{name} = {seconds}"))
        }
        Some(Ok(seconds)) => Finding::warning(
            CHECK,
            format!("{name} is {seconds} s: {consequence}"),
            format!(
                "set {name} = {longest}, or less, on the central manager, unless negotiation cycles take longer than 5 s"
            ),
        ),
        // An expression, which HTCondor evaluates.
        _ => Finding::skipped(CHECK, format!("{name} is not a number of seconds")),
    }
}

/// Nodes that are there must let jobs finish, and say how often they report.
pub(super) fn nodes_settings(found: &[NodeSettings], cluster: &str) -> Vec<Finding> {
    const CHECK: &str = "nodes";
    let ours: Vec<&NodeSettings> = found
        .iter()
        .filter(|node| node.cluster.as_deref().is_none_or(|of| of == cluster))
        .collect();
    if ours.is_empty() {
        return vec![Finding::skipped(CHECK, "no node of this pool exists yet")];
    }
    let named = |which: fn(&&&NodeSettings) -> bool| {
        let mut machines: Vec<&str> = ours
            .iter()
            .filter(which)
            .map(|node| node.machine.as_str())
            .collect();
        sorting::ascending(&mut machines);
        machines.dedup();
        machines
    };
    let mut findings = Vec::new();
    let evicting = named(|node| {
        node.max_job_retirement_seconds
            .is_some_and(|time| time <= 0)
    });
    if let Some(first) = evicting.first() {
        findings.push(Finding::failed(
            CHECK,
            format!(
                "a drain would end running jobs on {} nodes, such as {first}: their MaxJobRetirementTime is 0",
                evicting.len()
            ),
            "set MAXJOBRETIREMENTTIME in the nodes' template (execute.yaml), and replace these nodes",
        ));
    }
    let silent = named(|node| node.update_interval_seconds.is_none());
    if let Some(first) = silent.first() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "{} nodes, such as {first}, do not publish EhosUpdateInterval: ehos uses daemon.update_interval",
                silent.len()
            ),
            "publish EhosUpdateInterval in the nodes' template (execute.yaml)",
        ));
    }
    if findings.is_empty() {
        let machines = named(|_| true).len();
        findings.push(Finding::ok(
            CHECK,
            format!("{machines} let jobs finish when they are drained"),
        ));
    }
    findings
}
