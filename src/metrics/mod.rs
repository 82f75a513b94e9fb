//! A tick in figures for those who collect them: Prometheus, and InfluxDB. Both are rendered from a [`Snapshot`] alone.

pub mod influx;
pub mod prometheus;
mod send;
mod settings;
mod textfile;

use std::collections::BTreeMap;
use std::path::Path;

use log::warn;

use crate::report::Snapshot;
use crate::report::snapshot::exists;
use crate::scaling::source::SourceKind;
pub use settings::{InfluxLogin, InfluxSettings, MetricsSettings};

/// Writes the textfile of Prometheus, where there is to be one. It is a warning when it cannot be.
pub fn write(settings: &MetricsSettings, now: &Snapshot) {
    let Some(path) = &settings.prometheus_textfile else {
        return;
    };
    if let Err(error) = textfile::write(path, &prometheus::text(now)) {
        warn!(
            "{}: the metrics of this tick are not written: {error}. Its folder must be there, and writable by this user; \
             under systemd `systemctl edit ehos` must name it, too: [Service] ReadWritePaths={}",
            path.display(),
            path.parent().unwrap_or(Path::new("/")).display()
        );
    }
}

/// Sends the figures to InfluxDB, where there is one, within `metrics.timeout`. It is a warning when they do not arrive.
pub fn send(settings: &MetricsSettings, now: &Snapshot) {
    let Some(influxdb) = &settings.influxdb else {
        return;
    };
    let lines = influx::lines(now, &host(settings));
    if let Err(why) = send::send(influxdb, lines, settings.timeout) {
        warn!("{}: {why}; this tick is missing there", shown(influxdb));
    }
}

fn shown(influxdb: &InfluxSettings) -> String {
    let address = influxdb.address.split('?').next().unwrap_or_default();
    format!("InfluxDB at {address}")
}

/// The machine's name as metrics have it (`daemon.hostname`).
pub fn host(settings: &MetricsSettings) -> String {
    match &settings.hostname {
        Some(name) => name.clone(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    }
}

/// Every schedd has answered: a sum without one of them would be a fall that there was none of.
fn sees_jobs(now: &Snapshot) -> bool {
    now.queue.schedds > 0 && now.knows(SourceKind::Schedd)
}

/// The cores of all servers are known: of a cloud that does not answer, and of which no node has ever joined, they are not.
pub(crate) fn sees_paid(now: &Snapshot) -> bool {
    let mut nodes = now.nodes.iter().filter(|node| exists(&node.phase));
    nodes.all(|node| node.phase == "new" || node.server.vcpus.is_some())
}

/// Brakes that say that the collector has not heard from all its startds.
const UNHEARD: [&str; 2] = ["collector_young", "nodes_vanished"];

/// The collector has answered, and heard from all nodes: else nothing is known of claims.
pub(crate) fn sees_claims(now: &Snapshot) -> bool {
    let mut brakes = now.brakes.iter();
    now.knows(SourceKind::Collector) && !brakes.any(|brake| UNHEARD.contains(&brake.brake.as_str()))
}

/// Phases that only the collector can tell.
const IN_POOL: [&str; 5] = ["idle", "busy", "closed", "draining", "drained"];

/// Phases that a cloud shows a number for, also when that is 0.
const PHASES: [&str; 12] = [
    "requested",
    "building",
    "booting",
    "idle",
    "busy",
    "closed",
    "draining",
    "drained",
    "silent",
    "failed",
    "lost",
    "deleting",
];

/// Nodes of each cloud by phase, before the tick did anything.
fn nodes(now: &Snapshot) -> BTreeMap<(&str, &str), u64> {
    let mut counts = BTreeMap::new();
    for cloud in &now.clouds {
        let seen = |phase: &&str| sees_claims(now) || !IN_POOL.contains(phase);
        for phase in PHASES.into_iter().filter(seen) {
            counts.insert((cloud.cloud.as_str(), phase), 0);
        }
    }
    for node in now.nodes.iter().filter(|node| node.phase != "new") {
        let key = (node.cloud.as_str(), node.phase.as_str());
        *counts.entry(key).or_default() += 1;
    }
    counts
}
