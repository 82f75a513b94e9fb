//! A tick in Prometheus' text format (0.0.4).

mod exposition;

use exposition::{Text, bytes, number, seconds, unix};
use std::collections::BTreeMap;

use super::nodes;
use crate::TickReport;
use crate::history::limits;
use crate::names::BrakeName;
use scaling::figures::{CloudFigures, UsageFigures};
use scaling::money::Money;
use scaling::totals::{Totals, UNSEEN_KINDS};

/// The content type of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a tick. What was not seen has no sample.
pub fn text(now: &TickReport) -> String {
    let mut text = Text::default();
    of_tick(&mut text, now);
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
        |samples| samples.add(&[("version", &now.program)], 1),
    );
    text.value(
        "ehos_last_tick_timestamp_seconds",
        "When the last acting tick looked.",
        (!now.dry_run).then(|| unix(now.at)),
    );
    text.value(
        "ehos_last_success_timestamp_seconds",
        "When the last tick looked that ended with exit code 0.",
        now.totals.last_success.map(unix),
    );
    text.value(
        "ehos_tick_exit_code",
        "The exit code of the last tick.",
        Some(now.exit),
    );
    text.value(
        "ehos_tick_duration_seconds",
        "How long the last tick took.",
        Some(seconds(now.milliseconds)),
    );
    text.gauge(
        "ehos_source_duration_seconds",
        "How long each source took to answer in the last tick.",
        |samples| {
            for (source, took) in &now.source_milliseconds {
                samples.add(&[("source", source)], seconds(*took));
            }
        },
    );
    text.gauge(
        "ehos_sources_unknown",
        "Sources of a kind that did not answer in the last tick.",
        |samples| {
            let mut counts: BTreeMap<&str, u64> =
                UNSEEN_KINDS.iter().map(|kind| (*kind, 0)).collect();
            for unseen in &now.unseen {
                *counts.entry(unseen.source.kind.name()).or_default() += 1;
            }
            for (kind, count) in counts {
                samples.add(&[("source", kind)], count);
            }
        },
    );
    text.gauge(
        "ehos_brake",
        "Whether this brake stops deletes, or creates as well.",
        |samples| {
            let none = BrakeName::ALL.iter().map(|name| (name.to_string(), 0));
            let mut brakes: BTreeMap<String, u8> = none.collect();
            brakes.extend(now.brakes.iter().map(|one| (one.brake.to_string(), 1)));
            for (brake, on) in brakes {
                samples.add(&[("brake", brake.as_str())], on);
            }
        },
    );
}

fn of_jobs(text: &mut Text, now: &TickReport) {
    let queue = now.knows_jobs().then_some(now.queue);
    let demand = queue.map(|_| now.demand);
    text.gauge("ehos_jobs", "Jobs by state.", |samples| {
        if let Some(queue) = queue {
            let states = [
                ("idle", queue.idle),
                ("running", queue.running),
                ("held", queue.held),
            ];
            for (state, jobs) in states {
                samples.add(&[("state", state)], jobs);
            }
        }
    });
    text.value(
        "ehos_jobs_stranded",
        "Running jobs whose machine is gone.",
        queue.map(|queue| queue.stranded),
    );
    text.value(
        "ehos_jobs_waiting",
        "Idle jobs that ehos counts as demand.",
        queue.map(|queue| queue.waiting),
    );
    text.value(
        "ehos_jobs_waiting_longest_seconds",
        "For how long the longest waiting job has waited.",
        queue.map(|queue| queue.longest_seconds),
    );
    text.value(
        "ehos_jobs_unmatched",
        "Waiting jobs that no node would run, or that are larger than any.",
        queue.map(|queue| queue.unmatched),
    );
    text.gauge(
        "ehos_jobs_limited",
        "Waiting jobs for which this limit keeps nodes from being made.",
        |samples| {
            if queue.is_some() {
                for (limit, jobs) in limits(now) {
                    samples.add(&[("limit", &limit)], jobs);
                }
            }
        },
    );
    text.value(
        "ehos_demand_cores",
        "Cores that all waiting jobs ask for.",
        demand.map(|demand| demand.cpus),
    );
    text.value(
        "ehos_demand_memory_bytes",
        "Memory that all waiting jobs ask for.",
        demand.map(|demand| bytes(demand.memory_mb)),
    );
    text.value(
        "ehos_demand_gpus",
        "GPUs that all waiting jobs ask for.",
        demand.map(|demand| demand.gpus),
    );
}

fn of_nodes(text: &mut Text, now: &TickReport) {
    text.gauge("ehos_nodes", "Nodes by cloud and phase.", |samples| {
        for (cloud, phase, count) in nodes(now) {
            samples.add(&[("cloud", cloud), ("phase", &phase.to_string())], count);
        }
    });
    let limits = (now.policy.nodes_max > 0).then_some(&now.policy);
    text.value(
        "ehos_nodes_min",
        "Never fewer nodes than this, as configured and scheduled.",
        limits.map(|policy| policy.nodes_min),
    );
    text.value(
        "ehos_nodes_max",
        "Never more nodes than this, as configured and scheduled.",
        limits.map(|policy| policy.nodes_max),
    );
    let seen = now.knows_claims().then_some(now.cores);
    text.value(
        "ehos_cores_paid",
        "Cores of all servers of nodes.",
        now.knows_paid().then_some(now.cores.paid),
    );
    text.value(
        "ehos_cores_joined",
        "Cores of nodes that are in the pool.",
        seen.map(|cores| cores.joined),
    );
    text.value(
        "ehos_cores_claimed",
        "Cores of nodes that are claimed.",
        seen.map(|cores| cores.claimed),
    );
    text.value(
        "ehos_cores_free",
        "Cores of nodes that take jobs and are not claimed.",
        seen.map(|cores| cores.free),
    );
    text.value(
        "ehos_cores_unmanaged",
        "Cores of machines in the pool that are not of ehos.",
        seen.map(|cores| cores.others),
    );
    text.value(
        "ehos_cores_unmanaged_claimed",
        "Claimed cores of machines in the pool that are not of ehos.",
        seen.map(|cores| cores.others_claimed),
    );
    text.gauge(
        "ehos_protected",
        "Kinds of node in protected mode: nothing more is made of them.",
        |samples| {
            let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for told in &now.protected {
                let key = (told.what.cloud.as_str(), told.what.flavor.as_str());
                *counts.entry(key).or_default() += 1;
            }
            for ((cloud, flavor), count) in counts {
                samples.add(&[("cloud", cloud), ("flavor", flavor)], count);
            }
        },
    );
    text.gauge(
        "ehos_backoff_seconds",
        "For how long yet no node of this kind is made, after failures.",
        |samples| {
            let mut longest: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for backoff in &now.backoffs {
                let key = (backoff.cloud.as_str(), backoff.flavor.as_str());
                let left = longest.entry(key).or_default();
                *left = backoff.seconds.max(*left);
            }
            for ((cloud, flavor), left) in longest {
                samples.add(&[("cloud", cloud), ("flavor", flavor)], left);
            }
        },
    );
}

/// What a quota is measured in.
type Resource = (
    &'static str,
    &'static str,
    fn(&CloudFigures) -> Option<UsageFigures>,
    fn(u64) -> f64,
);

fn of_clouds(text: &mut Text, now: &TickReport) {
    #[allow(clippy::cast_precision_loss)]
    fn plain(count: u64) -> f64 {
        count as f64
    }
    text.gauge(
        "ehos_cloud_up",
        "Whether the cloud answered in the last tick.",
        |samples| {
            for cloud in &now.clouds {
                samples.add(&[("cloud", &cloud.cloud)], u8::from(cloud.answers));
            }
        },
    );
    text.gauge(
        "ehos_cloud_pause_seconds",
        "For how long yet nothing is made in this cloud, as it has asked.",
        |samples| {
            for cloud in &now.clouds {
                if let Some(pause) = &cloud.pause {
                    samples.add(&[("cloud", &cloud.cloud)], pause.seconds);
                }
            }
        },
    );
    text.gauge(
        "ehos_cloud_nodes_max",
        "Never more nodes than this in the cloud, as configured.",
        |samples| {
            for cloud in &now.clouds {
                if let Some(most) = cloud.nodes_max {
                    samples.add(&[("cloud", &cloud.cloud)], most);
                }
            }
        },
    );
    let resources: [Resource; 3] = [
        (
            "ehos_quota_servers_limit",
            "ehos_quota_servers_used",
            |cloud| cloud.quota.map(|quota| quota.instances),
            plain,
        ),
        (
            "ehos_quota_cores_limit",
            "ehos_quota_cores_used",
            |cloud| cloud.quota.map(|quota| quota.cores),
            plain,
        ),
        (
            "ehos_quota_memory_limit_bytes",
            "ehos_quota_memory_used_bytes",
            |cloud| cloud.quota.map(|quota| quota.ram_mb),
            bytes,
        ),
    ];
    for (limit, used, of, unit) in resources {
        text.gauge(
            limit,
            "The project's quota; none where it is unlimited.",
            |samples| {
                for cloud in &now.clouds {
                    if let Some(limit) = of(cloud).and_then(|usage| usage.limit) {
                        samples.add(&[("cloud", &cloud.cloud)], unit(limit));
                    }
                }
            },
        );
        text.gauge(
            used,
            "What of the project's quota is used, by others too.",
            |samples| {
                for cloud in &now.clouds {
                    if let Some(usage) = of(cloud) {
                        samples.add(&[("cloud", &cloud.cloud)], unit(usage.used));
                    }
                }
            },
        );
    }
}

fn of_money(text: &mut Text, now: &TickReport) {
    let costs = now.cost.iter().flat_map(|cost| &cost.clouds);
    let costs: Vec<_> = costs.collect();
    text.gauge(
        "ehos_cost_per_hour",
        "What exists of ours in the cloud costs an hour, in the money of the prices.",
        |samples| {
            for cost in &costs {
                samples.add(&[("cloud", &cost.cloud)], number(&cost.per_hour));
            }
        },
    );
    text.gauge(
        "ehos_spent_this_month",
        "What was spent in the cloud in this calendar month.",
        |samples| {
            for cost in &costs {
                samples.add(&[("cloud", &cost.cloud)], number(&cost.spent_this_month));
            }
        },
    );
    let budget = now.policy.budget;
    let amount = |money: Option<Money>| money.map(|money| number(&money));
    text.value(
        "ehos_budget_per_hour",
        "What all that runs at once may cost an hour.",
        amount(budget.per_hour),
    );
    text.value(
        "ehos_budget_per_month",
        "What may be spent in a calendar month.",
        amount(budget.per_month),
    );
    text.gauge(
        "ehos_cloud_budget_per_hour",
        "What all that runs at once in the cloud may cost an hour.",
        |samples| {
            for cloud in &now.clouds {
                if let Some(money) = amount(cloud.budget.per_hour) {
                    samples.add(&[("cloud", &cloud.cloud)], money);
                }
            }
        },
    );
    text.gauge(
        "ehos_cloud_budget_per_month",
        "What may be spent in the cloud in a calendar month.",
        |samples| {
            for cloud in &now.clouds {
                if let Some(money) = amount(cloud.budget.per_month) {
                    samples.add(&[("cloud", &cloud.cloud)], money);
                }
            }
        },
    );
    text.value(
        "ehos_budgets_spent",
        "Budgets of the month that have no room for one more node.",
        Some(now.budgets_spent.len()),
    );
}

/// What is counted of nodes since the state began.
fn counted_nodes(text: &mut Text, totals: &Totals) {
    text.counter(
        "ehos_ticks_total",
        "Acting ticks, by how they ended.",
        |samples| {
            for row in &totals.ticks {
                samples.add(&[("result", &row.result)], row.count);
            }
        },
    );
    type Count = fn(&scaling::totals::NodeTotal) -> u64;
    let of_nodes: [(&str, &str, Count); 5] = [
        (
            "ehos_nodes_created_total",
            "Servers that the cloud has said to make.",
            |row| row.created,
        ),
        (
            "ehos_nodes_drained_total",
            "Drains that their startds have taken.",
            |row| row.drained,
        ),
        (
            "ehos_drains_cancelled_total",
            "Drains that were taken back.",
            |row| row.returned,
        ),
        (
            "ehos_nodes_failed_total",
            "Nodes that failed to boot, or never took a job.",
            |row| row.failed,
        ),
        (
            "ehos_nodes_lost_total",
            "Nodes that were given up because nothing was heard of them any more.",
            |row| row.lost,
        ),
    ];
    for (name, help, count) in of_nodes {
        text.counter(name, help, |samples| {
            for row in &totals.nodes {
                samples.add(
                    &[("cloud", &row.cloud), ("flavor", &row.flavor)],
                    count(row),
                );
            }
        });
    }
    text.counter(
        "ehos_nodes_deleted_total",
        "Deletes of nodes that the cloud has accepted, by reason.",
        |samples| {
            for row in &totals.deletes {
                samples.add(
                    &[
                        ("cloud", &row.cloud),
                        ("flavor", &row.flavor),
                        ("reason", &row.reason),
                    ],
                    row.count,
                );
            }
        },
    );
    text.metric(
        "ehos_node_boot_seconds",
        "summary",
        "From the decision to make a node until it is seen in the collector.",
        |samples| {
            let mut boots: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
            for row in &totals.nodes {
                let (seconds, count) = boots.entry(&row.cloud).or_default();
                *seconds = seconds.saturating_add(row.boot_seconds);
                *count = count.saturating_add(row.joined);
            }
            for (cloud, (seconds, count)) in boots {
                samples.add_to("_sum", &[("cloud", cloud)], seconds);
                samples.add_to("_count", &[("cloud", cloud)], count);
            }
        },
    );
}

/// What else is counted since the state began.
fn counted(text: &mut Text, totals: &Totals) {
    text.counter(
        "ehos_action_failures_total",
        "Actions that were not done, by kind of failure.",
        |samples| {
            for row in &totals.failures {
                samples.add(
                    &[
                        ("cloud", &row.cloud),
                        ("action", &row.action),
                        ("kind", &row.kind),
                    ],
                    row.count,
                );
            }
        },
    );
    text.counter(
        "ehos_sources_unknown_total",
        "Sources of a kind that did not answer, each once a tick.",
        |samples| {
            for row in &totals.unseen {
                samples.add(&[("source", &row.source)], row.count);
            }
        },
    );
    let counted = totals.since.is_some();
    text.counter(
        "ehos_paid_core_seconds_total",
        "Cores of all servers of nodes, times the time that they were watched.",
        |samples| {
            if counted {
                samples.add(&[], seconds(totals.paid_core_milliseconds));
            }
        },
    );
    text.counter(
        "ehos_claimed_core_seconds_total",
        "Cores of nodes that were claimed, times the time that they were watched.",
        |samples| {
            if counted {
                samples.add(&[], seconds(totals.claimed_core_milliseconds));
            }
        },
    );
    text.counter(
        "ehos_spent_total",
        "What nodes have cost, in the money of the prices.",
        |samples| {
            for row in &totals.spent {
                samples.add(&[("cloud", &row.cloud)], number(&row.money));
            }
        },
    );
}
