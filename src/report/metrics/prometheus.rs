//! A tick in Prometheus' text format (0.0.4).

mod exposition;

use exposition::{Text, bytes, number, seconds, unix};
use scaling::sorting::IntoMap;
use std::collections::BTreeMap;

use super::nodes;
use crate::TickReport;
use crate::history::{limits, owners};
use crate::names::BrakeName;
use scaling::figures::{CloudFigures, UsageFigures};
use scaling::money::Money;
use scaling::totals::{NodeTotal, Totals, UNSEEN_KINDS};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a tick. Unknown figures have no sample.
pub fn text(now: &TickReport) -> String {
    let mut text = Text::default();
    of_tick(&mut text, now);
    of_maintenance(&mut text, now);
    of_jobs(&mut text, now);
    of_nodes(&mut text, now);
    of_clouds(&mut text, now);
    of_money(&mut text, now);
    counted_nodes(&mut text, &now.totals);
    counted(&mut text, &now.totals);
    text.0
}

fn of_tick(text: &mut Text, now: &TickReport) {
    text.gauge(
        "ehos_build_info",
        "The version of ehos; always 1.",
        [([("version", &*now.program)], 1)],
    );
    text.value(
        "ehos_last_tick_timestamp_seconds",
        "Time of the last acting tick's observation.",
        (!now.dry_run).then(|| unix(now.at)),
    );
    text.value(
        "ehos_last_success_timestamp_seconds",
        "Time of the observation of the last tick that ended with exit code 0.",
        now.totals.last_success.map(unix),
    );
    text.value(
        "ehos_tick_exit_code",
        "The exit code of the last tick.",
        Some(now.exit),
    );
    text.value(
        "ehos_tick_duration_seconds",
        "Duration of the last tick.",
        Some(seconds(now.milliseconds)),
    );
    let took = now.source_milliseconds.iter();
    text.gauge(
        "ehos_source_duration_seconds",
        "Response time of each source in the last tick.",
        took.map(|(source, took)| ([("source", source.as_str())], seconds(*took))),
    );
    let mut unseen: BTreeMap<&str, u64> = UNSEEN_KINDS.iter().map(|kind| (*kind, 0)).into_map();
    for source in &now.unknown_sources {
        *unseen.entry(source.source.kind.name()).or_default() += 1;
    }
    text.gauge(
        "ehos_sources_unknown",
        "Sources of a kind that did not answer in the last tick.",
        unseen.into_iter().map(|(kind, n)| ([("source", kind)], n)),
    );
    text.value(
        "ehos_active",
        "Whether this ehos acts: 0 beside a central manager that is not active.",
        Some(u8::from(now.standby.is_none())),
    );
    let none = BrakeName::ALL.iter().map(|name| (name.to_string(), 0));
    let mut brakes: BTreeMap<String, u8> = none.into_map();
    brakes.extend(now.brakes.iter().map(|one| (one.brake.to_string(), 1)));
    text.gauge(
        "ehos_brake",
        "Whether this brake blocks deletes, or creates as well.",
        brakes.iter().map(|(brake, on)| ([("brake", &**brake)], on)),
    );
}

/// Pauses and kept nodes. An empty label `cloud` stands for all clouds.
fn of_maintenance(text: &mut Text, now: &TickReport) {
    let pauses = now.pauses.iter().map(|one| {
        let cloud = one.what.cloud.as_deref().unwrap_or_default();
        let deletes = if one.what.pause.deletes {
            "true"
        } else {
            "false"
        };
        ([("cloud", cloud), ("deletes", deletes)], 1)
    });
    text.gauge(
        "ehos_paused",
        "A pause that an operator has requested; no cloud: all clouds.",
        pauses,
    );
    let kept = now.kept.as_ref().map(|kept| &kept.what);
    text.value(
        "ehos_nodes_kept",
        "Nodes that an operator keeps.",
        Some(kept.map_or(0, |kept| kept.nodes)),
    );
    text.value(
        "ehos_nodes_kept_cost_per_hour",
        "Cost of the nodes that an operator keeps, per hour.",
        kept.and_then(|kept| kept.per_hour)
            .map(|money| number(&money)),
    );
}

fn of_jobs(text: &mut Text, now: &TickReport) {
    let queue = now.knows_jobs().then_some(now.queue);
    let demand = queue.map(|_| now.demand);
    let states = queue.map(|queue| {
        [
            ("idle", queue.idle),
            ("running", queue.running),
            ("held", queue.held),
        ]
    });
    let states = states.into_iter().flatten();
    text.gauge(
        "ehos_jobs",
        "Jobs by state.",
        states.map(|(state, jobs)| ([("state", state)], jobs)),
    );
    text.value(
        "ehos_jobs_stranded",
        "Running jobs whose machine no longer exists.",
        queue.map(|queue| queue.stranded),
    );
    text.value(
        "ehos_jobs_waiting",
        "Idle jobs that ehos counts as demand.",
        queue.map(|queue| queue.waiting),
    );
    text.value(
        "ehos_jobs_waiting_longest_seconds",
        "Longest waiting time of a waiting job.",
        queue.map(|queue| queue.longest_seconds),
    );
    text.value(
        "ehos_jobs_unmatched",
        "Waiting jobs that match no node type, or are larger than any.",
        queue.map(|queue| queue.unmatched),
    );
    let limited = queue.map(|_| limits(now)).into_iter().flatten();
    let limited: Vec<_> = limited.collect();
    text.gauge(
        "ehos_jobs_limited",
        "Waiting jobs for which this limit blocks creates.",
        limited
            .iter()
            .map(|(limit, jobs)| ([("limit", &**limit)], jobs)),
    );
    text.value(
        "ehos_demand_cores",
        "Cores that all waiting jobs request.",
        demand.map(|demand| demand.cpus),
    );
    text.value(
        "ehos_demand_memory_bytes",
        "Memory that all waiting jobs request.",
        demand.map(|demand| bytes(demand.memory_mb)),
    );
    text.value(
        "ehos_demand_gpus",
        "GPUs that all waiting jobs request.",
        demand.map(|demand| demand.gpus),
    );
}

fn of_nodes(text: &mut Text, now: &TickReport) {
    let nodes: Vec<_> = nodes(now)
        .into_iter()
        .map(|(cloud, phase, count)| (cloud, phase.to_string(), count))
        .collect();
    text.gauge(
        "ehos_nodes",
        "Nodes by cloud and phase.",
        nodes
            .iter()
            .map(|(cloud, phase, count)| ([("cloud", *cloud), ("phase", phase)], count)),
    );
    let limits = (now.policy.nodes_max > 0).then_some(&now.policy);
    text.value(
        "ehos_nodes_min",
        "Least number of nodes, as configured and scheduled.",
        limits.map(|policy| policy.nodes_min),
    );
    text.value(
        "ehos_nodes_max",
        "Largest number of nodes, as configured and scheduled.",
        limits.map(|policy| policy.nodes_max),
    );
    text.value(
        "ehos_cores_max",
        "Largest number of cores of nodes, as configured; none without a limit.",
        limits.and_then(|policy| policy.cores_max),
    );
    of_cores(text, now);
    of_failures(text, now);
}

fn of_cores(text: &mut Text, now: &TickReport) {
    let known = now.knows_claims().then_some(now.cores);
    text.value(
        "ehos_cores_paid",
        "Cores of all servers of nodes.",
        now.knows_paid().then_some(now.cores.paid),
    );
    text.value(
        "ehos_cores_joined",
        "Cores of nodes that have joined the pool.",
        known.map(|cores| cores.joined),
    );
    text.value(
        "ehos_cores_claimed",
        "Claimed cores of nodes.",
        known.map(|cores| cores.claimed),
    );
    text.value(
        "ehos_cores_free",
        "Unclaimed cores of nodes that accept jobs.",
        known.map(|cores| cores.free),
    );
    text.value(
        "ehos_cores_unmanaged",
        "Cores of unmanaged machines in the pool.",
        known.map(|cores| cores.others),
    );
    text.value(
        "ehos_cores_unmanaged_claimed",
        "Claimed cores of unmanaged machines in the pool.",
        known.map(|cores| cores.others_claimed),
    );
    let used = known.map(|_| owners(now)).unwrap_or_default();
    text.gauge(
        "ehos_owner_cores",
        "Claimed cores of nodes by owner of the jobs: the 20 owners with most cores, and all others.",
        used.iter().map(|(owner, cores)| ([("owner", &**owner)], cores)),
    );
}

fn of_failures(text: &mut Text, now: &TickReport) {
    let mut protected: BTreeMap<_, u64> = BTreeMap::new();
    for told in &now.protected {
        *protected
            .entry(of_type(&told.what.cloud, &told.what.flavor))
            .or_default() += 1;
    }
    text.gauge(
        "ehos_protected",
        "Node types in protected mode: ehos creates no more nodes of them.",
        protected,
    );
    let mut longest: BTreeMap<_, u64> = BTreeMap::new();
    for backoff in &now.backoffs {
        let left = longest
            .entry(of_type(&backoff.cloud, &backoff.flavor))
            .or_default();
        *left = backoff.seconds.max(*left);
    }
    text.gauge(
        "ehos_backoff_seconds",
        "Time until ehos creates a node of this type again, after failures.",
        longest,
    );
}

/// The labels of a node type.
fn of_type<'l>(cloud: &'l str, flavor: &'l str) -> [(&'static str, &'l str); 2] {
    [("cloud", cloud), ("flavor", flavor)]
}

/// A resource of a quota: names of its limit and use, its figures, and its unit.
type Resource = (
    &'static str,
    &'static str,
    fn(&CloudFigures) -> Option<UsageFigures>,
    fn(u64) -> f64,
);

#[allow(clippy::cast_precision_loss)] // A float is what Prometheus has.
const RESOURCES: [Resource; 3] = [
    (
        "ehos_quota_servers_limit",
        "ehos_quota_servers_used",
        |cloud| cloud.quota.map(|quota| quota.instances),
        |count| count as f64,
    ),
    (
        "ehos_quota_cores_limit",
        "ehos_quota_cores_used",
        |cloud| cloud.quota.map(|quota| quota.cores),
        |count| count as f64,
    ),
    (
        "ehos_quota_memory_limit_bytes",
        "ehos_quota_memory_used_bytes",
        |cloud| cloud.quota.map(|quota| quota.ram_mb),
        bytes,
    ),
];

/// A sample for each cloud that has a value.
fn by_cloud<V>(
    clouds: &[CloudFigures],
    value: impl Fn(&CloudFigures) -> Option<V>,
) -> impl Iterator<Item = ([(&'static str, &str); 1], V)> {
    clouds
        .iter()
        .filter_map(move |cloud| Some(([("cloud", cloud.cloud.as_str())], value(cloud)?)))
}

fn of_clouds(text: &mut Text, now: &TickReport) {
    text.gauge(
        "ehos_cloud_up",
        "Whether the cloud answered in the last tick.",
        by_cloud(&now.clouds, |cloud| Some(u8::from(cloud.answers))),
    );
    text.gauge(
        "ehos_cloud_pause_seconds",
        "Time until creates in this cloud resume, as it has asked.",
        by_cloud(&now.clouds, |cloud| Some(cloud.pause.as_ref()?.seconds)),
    );
    text.gauge(
        "ehos_cloud_nodes_max",
        "Largest number of nodes in the cloud, as configured.",
        by_cloud(&now.clouds, |cloud| cloud.nodes_max),
    );
    text.gauge(
        "ehos_cloud_cores_max",
        "Largest number of cores of nodes in the cloud, as configured; none without a limit.",
        by_cloud(&now.clouds, |cloud| cloud.cores_max),
    );
    for (limit, used, usage, unit) in RESOURCES {
        text.gauge(
            limit,
            "The project's quota; none where it is unlimited.",
            by_cloud(&now.clouds, |cloud| usage(cloud)?.limit.map(unit)),
        );
        text.gauge(
            used,
            "Used part of the project's quota, by other servers too.",
            by_cloud(&now.clouds, |cloud| {
                usage(cloud).map(|usage| unit(usage.used))
            }),
        );
    }
}

fn of_money(text: &mut Text, now: &TickReport) {
    let costs = || now.cost.iter().flat_map(|cost| &cost.clouds);
    text.gauge(
        "ehos_cost_per_hour",
        "Cost of all existing resources in the cloud per hour, in the currency of the prices.",
        costs().map(|cost| ([("cloud", &*cost.cloud)], number(&cost.per_hour))),
    );
    text.gauge(
        "ehos_spent_this_month",
        "Amount spent in the cloud in this calendar month.",
        costs().map(|cost| ([("cloud", &*cost.cloud)], number(&cost.spent_this_month))),
    );
    let budget = now.policy.budget;
    let amount = |money: Option<Money>| money.map(|money| number(&money));
    text.value(
        "ehos_budget_per_hour",
        "Budget of everything that runs at once, per hour.",
        amount(budget.per_hour),
    );
    text.value(
        "ehos_budget_per_month",
        "Budget of a calendar month.",
        amount(budget.per_month),
    );
    text.gauge(
        "ehos_cloud_budget_per_hour",
        "Budget of everything that runs at once in the cloud, per hour.",
        by_cloud(&now.clouds, |cloud| amount(cloud.budget.per_hour)),
    );
    text.gauge(
        "ehos_cloud_budget_per_month",
        "Budget of a calendar month in the cloud.",
        by_cloud(&now.clouds, |cloud| amount(cloud.budget.per_month)),
    );
    text.value(
        "ehos_budgets_spent",
        "Budgets of the month that do not cover one more node.",
        Some(now.budgets_spent.len()),
    );
}

/// A counter of nodes: its name, its help and its count.
type NodeCounter = (&'static str, &'static str, fn(&NodeTotal) -> u64);

const NODE_COUNTERS: [NodeCounter; 5] = [
    (
        "ehos_nodes_created_total",
        "Servers whose create the cloud has accepted.",
        |row| row.created,
    ),
    (
        "ehos_nodes_drained_total",
        "Drains that startds have accepted.",
        |row| row.drained,
    ),
    (
        "ehos_drains_cancelled_total",
        "Drains that were cancelled.",
        |row| row.returned,
    ),
    (
        "ehos_nodes_failed_total",
        "Nodes that failed to boot, or never ran a job.",
        |row| row.failed,
    ),
    (
        "ehos_nodes_lost_total",
        "Nodes that were lost: silent for too long.",
        |row| row.lost,
    ),
];

/// Counts of nodes since the state began.
fn counted_nodes(text: &mut Text, totals: &Totals) {
    text.counter(
        "ehos_ticks_total",
        "Acting ticks, by result.",
        totals
            .ticks
            .iter()
            .map(|row| ([("result", &*row.result)], row.count)),
    );
    for (name, help, count) in NODE_COUNTERS {
        let rows = totals.nodes.iter();
        let rows = rows.map(|row| (of_type(&row.cloud, &row.flavor), count(row)));
        text.counter(name, help, rows);
    }
    let deletes = totals.deletes.iter().map(|row| {
        let [cloud, flavor] = of_type(&row.cloud, &row.flavor);
        ([cloud, flavor, ("reason", &*row.reason)], row.count)
    });
    text.counter(
        "ehos_nodes_deleted_total",
        "Deletes of nodes that the cloud has accepted, by reason.",
        deletes,
    );
    let mut boots: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for row in &totals.nodes {
        let (seconds, count) = boots.entry(&row.cloud).or_default();
        *seconds = seconds.saturating_add(row.boot_seconds);
        *count = count.saturating_add(row.joined);
    }
    text.summary(
        "ehos_node_boot_seconds",
        "Time from the decision to create a node until it has joined the pool.",
        boots
            .into_iter()
            .map(|(cloud, sums)| ([("cloud", cloud)], sums)),
    );
}

/// Other counts since the state began.
fn counted(text: &mut Text, totals: &Totals) {
    let failures = totals.failures.iter().map(|row| {
        let labels = [
            ("cloud", &*row.cloud),
            ("action", &*row.action),
            ("kind", &*row.kind),
        ];
        (labels, row.count)
    });
    text.counter(
        "ehos_action_failures_total",
        "Actions that failed, by kind of failure.",
        failures,
    );
    text.counter(
        "ehos_sources_unknown_total",
        "Sources of a kind that did not answer, each once a tick.",
        totals
            .unknown_sources
            .iter()
            .map(|row| ([("source", &*row.source)], row.count)),
    );
    let counted = |milliseconds| totals.since.map(|_| ([], seconds(milliseconds)));
    text.counter(
        "ehos_paid_core_seconds_total",
        "Cores of all servers of nodes, times the observed time.",
        counted(totals.paid_core_milliseconds),
    );
    text.counter(
        "ehos_claimed_core_seconds_total",
        "Claimed cores of nodes, times the observed time.",
        counted(totals.claimed_core_milliseconds),
    );
    text.counter(
        "ehos_spent_total",
        "Cost of nodes, in the currency of the prices.",
        totals
            .spent
            .iter()
            .map(|row| ([("cloud", &*row.cloud)], number(&row.money))),
    );
}
