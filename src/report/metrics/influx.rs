//! A tick in InfluxDB's line protocol. The first two lines are those of the original ehos' `ehos_status.py`.

use std::fmt::Write as _;

use serde::Serialize;

use super::nodes;
use crate::TickReport;
use crate::history::limits;
use crate::names::Named;
use crate::tick_report::exists;
use scaling::names::PhaseName;
use system::plain::clean;

/// What a line says of one measurement.
struct Line {
    head: String,
    fields: Vec<String>,
}

impl Line {
    fn new(measurement: &str, host: &str) -> Line {
        Line {
            head: format!("{measurement},host={}", escaped(host)),
            fields: Vec::new(),
        }
    }

    /// An empty value is not allowed, and says nothing.
    fn tag(mut self, name: &str, value: &str) -> Line {
        if !value.is_empty() {
            _ = write!(self.head, ",{name}={}", escaped(value));
        }
        self
    }

    /// Numbers are floats, as the original's: a measurement keeps its types.
    fn field(mut self, name: &str, value: impl Serialize) -> Line {
        if let Ok(number) = serde_json::to_string(&value)
            && number != "null"
        {
            self.fields.push(format!("{name}={number}"));
        }
        self
    }

    fn write(self, text: &mut String) {
        if !self.fields.is_empty() {
            _ = writeln!(text, "{} {}", self.head, self.fields.join(","));
        }
    }
}

/// A tag's value. What cannot be escaped in one is a space.
fn escaped(value: &str) -> String {
    let plain = clean(value).replace('\\', " ");
    plain
        .replace(',', "\\,")
        .replace('=', "\\=")
        .replace(' ', "\\ ")
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

/// All lines of a tick, with `host` as the tag that says which ehos it is. There is no time in them: they are of now.
/// What was not seen is left out.
pub fn lines(now: &TickReport, host: &str) -> String {
    let mut text = String::new();
    originals(&mut text, now, host);
    if now.knows_jobs() {
        jobs(&mut text, now, host);
    }
    for (cloud, phase, count) in nodes(now) {
        Line::new("ehos_nodes", host)
            .tag("cloud", cloud)
            .tag("phase", &phase.to_string())
            .field("count", count)
            .write(&mut text);
    }
    let cores = now.knows_claims().then_some(now.cores);
    Line::new("ehos_cores", host)
        .field("paid", now.knows_paid().then_some(now.cores.paid))
        .field("joined", cores.map(|cores| cores.joined))
        .field("claimed", cores.map(|cores| cores.claimed))
        .field("free", cores.map(|cores| cores.free))
        .field("unmanaged", cores.map(|cores| cores.others))
        .field("unmanaged_claimed", cores.map(|cores| cores.others_claimed))
        .write(&mut text);
    for one in &now.pauses {
        Line::new("ehos_paused", host)
            .tag("cloud", one.what.cloud.as_deref().unwrap_or("all"))
            .field("deletes", u8::from(one.what.pause.deletes))
            .write(&mut text);
    }
    if let Some(kept) = &now.kept {
        Line::new("ehos_kept", host)
            .field("nodes", kept.what.nodes)
            .field("per_hour", kept.what.per_hour)
            .write(&mut text);
    }
    clouds(&mut text, now, host);
    Line::new("ehos_tick", host)
        .field("exit", now.exit)
        .field("seconds", seconds(now.milliseconds))
        .field("brakes", now.brakes.len())
        .field("protected", now.protected.len())
        .field("backoffs", now.backoffs.len())
        .field("budgets_spent", now.budgets_spent.len())
        .field("unknown_sources", now.unknown_sources.len())
        .write(&mut text);
    text
}

fn jobs(text: &mut String, now: &TickReport, host: &str) {
    let queue = now.queue;
    Line::new("ehos_jobs", host)
        .field("idle", queue.idle)
        .field("running", queue.running)
        .field("held", queue.held)
        .field("waiting", queue.waiting)
        .field("waiting_longest_seconds", queue.longest_seconds)
        .field("unmatched", queue.unmatched)
        .field("limited", queue.limited)
        .field("demand_cores", now.demand.cpus)
        .field("demand_memory_mb", now.demand.memory_mb)
        .field("demand_gpus", now.demand.gpus)
        .write(text);
    for (limit, jobs) in limits(now) {
        Line::new("ehos_limits", host)
            .tag("limit", &limit)
            .field("jobs", jobs)
            .write(text);
    }
}

fn clouds(text: &mut String, now: &TickReport, host: &str) {
    for cloud in &now.clouds {
        let quota = cloud.quota.unwrap_or_default();
        let used = |used: u64| cloud.quota.map(|_| used);
        Line::new("ehos_cloud", host)
            .tag("cloud", &cloud.cloud)
            .field("up", u8::from(cloud.answers))
            .field("nodes", cloud.nodes)
            .field("nodes_max", cloud.nodes_max)
            .field("servers_used", used(quota.instances.used))
            .field("servers_limit", quota.instances.limit)
            .field("cores_used", used(quota.cores.used))
            .field("cores_limit", quota.cores.limit)
            .field("memory_used_mb", used(quota.ram_mb.used))
            .field("memory_limit_mb", quota.ram_mb.limit)
            .field(
                "pause_seconds",
                cloud.pause.as_ref().map_or(0, |pause| pause.seconds),
            )
            .write(text);
    }
    for cost in now.cost.iter().flat_map(|cost| &cost.clouds) {
        Line::new("ehos_cost", host)
            .tag("cloud", &cost.cloud)
            .field("per_hour", cost.per_hour)
            .field("spent_this_month", cost.spent_this_month)
            .write(text);
    }
}

/// What the original's status prints, and what its daemon wrote. Suspended jobs are counted among the running ones.
fn originals(text: &mut String, now: &TickReport, host: &str) {
    let queue = now.queue;
    let jobs = now.knows_jobs();
    if jobs {
        Line::new("condor", host)
            .field("jobs_total", queue.idle + queue.running + queue.held)
            .field("jobs_idle", queue.idle)
            .field("jobs_running", queue.running)
            .field("jobs_suspended", 0)
            .write(text);
    }
    let in_phase = |which: &dyn Fn(&Named<PhaseName>) -> bool| -> u64 {
        let counts = nodes(now).into_iter();
        let counts = counts.filter(|(_, phase, _)| which(phase));
        counts.map(|(.., count)| count).sum()
    };
    let in_pool = |phase: PhaseName| {
        let counts = || in_phase(&|one| one.is(phase));
        now.knows_claims().then(counts)
    };
    Line::new("ehos", host)
        .field("nodes_total", in_phase(&exists))
        .field("nodes_idle", in_pool(PhaseName::Idle))
        .field("nodes_busy", in_pool(PhaseName::Busy))
        .write(text);
    if jobs {
        Line::new("ehos", host)
            .field("jobs_running", queue.running)
            .field("jobs_idle", queue.idle)
            .write(text);
    }
}
