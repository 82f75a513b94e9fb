//! Metrics for Prometheus and InfluxDB, rendered from a [`TickReport`].

pub mod influx;
pub mod prometheus;
mod send;
mod settings;
mod textfile;

use std::collections::BTreeMap;
use std::path::Path;

use log::warn;

use crate::TickReport;
use crate::names::Named;
use scaling::names::PhaseName;
pub use settings::{InfluxLogin, InfluxSettings, MetricsSettings};

/// Writes the textfile of Prometheus, if configured. A failure is a warning.
pub fn write(settings: &MetricsSettings, now: &TickReport) {
    let Some(path) = &settings.prometheus_textfile else {
        return;
    };
    if let Err(error) = textfile::write(path, &prometheus::text(now)) {
        warn!(
            "{}: the metrics of this tick are not written: {error}; make its folder writable for this user, and under systemd \
             add with `systemctl edit ehos`: [Service] ReadWritePaths={}",
            path.display(),
            path.parent().unwrap_or(Path::new("/")).display()
        );
    }
}

/// Sends the metrics to InfluxDB, if configured, within `metrics.timeout`. A failure is a warning.
pub fn send(settings: &MetricsSettings, now: &TickReport) {
    let Some(influxdb) = &settings.influxdb else {
        return;
    };
    let lines = influx::lines(now, &host(settings));
    if let Err(why) = send::send(influxdb, lines, settings.timeout) {
        warn!("{}: metrics of this tick not sent: {why}", shown(influxdb));
    }
}

fn shown(influxdb: &InfluxSettings) -> String {
    let address = influxdb.address.split('?').next().unwrap_or_default();
    format!("InfluxDB at {address}")
}

/// The name of this machine in metrics (`daemon.hostname`).
pub fn host(settings: &MetricsSettings) -> String {
    match &settings.hostname {
        Some(name) => name.clone(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    }
}

/// Phases that depend on the collector.
const IN_POOL: [PhaseName; 5] = [
    PhaseName::Idle,
    PhaseName::Busy,
    PhaseName::Closed,
    PhaseName::Draining,
    PhaseName::Drained,
];

/// Phases that a cloud shows a number for, also when that is 0.
const PHASES: [PhaseName; 12] = [
    PhaseName::Requested,
    PhaseName::Building,
    PhaseName::Booting,
    PhaseName::Idle,
    PhaseName::Busy,
    PhaseName::Closed,
    PhaseName::Draining,
    PhaseName::Drained,
    PhaseName::Silent,
    PhaseName::Failed,
    PhaseName::Lost,
    PhaseName::Deleting,
];

/// Nodes of each cloud by phase, before the tick did anything; in the order of the names of both.
fn nodes(now: &TickReport) -> Vec<(&str, Named<PhaseName>, u64)> {
    let mut counts = BTreeMap::new();
    let claims = now.knows_claims();
    for cloud in &now.clouds {
        for phase in PHASES {
            if claims || !IN_POOL.contains(&phase) {
                counts.insert((cloud.cloud.as_str(), phase.to_string()), (phase.into(), 0));
            }
        }
    }
    for node in now
        .nodes
        .iter()
        .filter(|node| !node.phase.is(PhaseName::New))
    {
        let key = (node.cloud.as_str(), node.phase.to_string());
        let entry = counts.entry(key);
        entry.or_insert_with(|| (node.phase.clone(), 0)).1 += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|((cloud, _), (phase, count))| (cloud, phase, count))
        .collect()
}
