//! The limits on creates. Each limit is one function from a (cloud, flavor) to the number of further nodes.
//!
//! The smallest number applies, and the name of its limit is the reason.

use super::budget::{Budget, Costs, Payer};
use super::maintenance::PauseEntry;
use super::money::Money;
use super::observation::{CloudView, Flavor, Usage};
use super::policy::{CloudPolicy, Policy};
use super::secondary_quota;
use super::seconds::{Seconds, seconds};
use super::sentence::{after, sentences};
use super::state::{NodeType, NodeTypeState, State, TickInstant};
use super::submitter::{ChargedNodes, Submitter, Submitters};

sentences! {
/// The limit that applies, with its numbers.
#[serde(tag = "name")]
pub enum Limit {
    NodesMax "nodes_max" { nodes_max: u64 } => "nodes_max {nodes_max}";
    CloudNodesMax "cloud_nodes_max" { cloud: String, nodes_max: u64 } => "nodes_max {nodes_max} of cloud {cloud}";
    CoresMax "cores_max" { cores_max: u64, cores: u64 } => "cores_max {cores_max}: {cores} cores of nodes exist";
    CloudCoresMax "cloud_cores_max" { cloud: String, cores_max: u64, cores: u64 } =>
        "cores_max {cores_max} of cloud {cloud}: {cores} cores of nodes exist";
    Instances "instances" { cloud: String, left: u64, #[serde(rename = "reserved")] kept: u64 } =>
        "instances quota of cloud {cloud}: {left} left (min_instances {kept})";
    Cores "cores" { cloud: String, left: u64, #[serde(rename = "reserved")] kept: u64 } => "cores quota of cloud {cloud}: {left} left (min_cores {kept})";
    Ram "ram" { cloud: String, left_mb: u64, #[serde(rename = "reserved_mb")] kept_mb: u64 } =>
        "RAM quota of cloud {cloud}: {left_mb} MB left (min_ram {kept_mb} MB)";
    SubmitterNodesMax "submitter_nodes_max" { submitter: Submitter, nodes_max: u64 } => "nodes_max {nodes_max} of {submitter}";
    SubmitterCoresMax "submitter_cores_max" { submitter: Submitter, cores_max: u64, cores: u64 } =>
        "cores_max {cores_max} of {submitter}: {cores} cores in use by its nodes";
    BudgetPerHour "budget_per_hour" {
        /** All clouds when absent. */ #[serde(skip_serializing_if = "Option::is_none")] cloud: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")] submitter: Option<Submitter>,
        budget: Money, per_hour: Money,
    } => "budget.per_hour {budget}{}: {per_hour} per hour now", of(cloud, submitter);
    BudgetPerMonth "budget_per_month" {
        /** All clouds when absent. */ #[serde(skip_serializing_if = "Option::is_none")] cloud: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")] submitter: Option<Submitter>,
        budget: Money, spent: Money, #[serde(rename = "committed")] coming: Money,
    } => "budget.per_month {budget}{}: {spent} spent, {coming} committed for the next hour", of(cloud, submitter);
    Backoff "backoff" { cloud: String, flavor: String, seconds: Seconds, failure: String } =>
        "backoff of {flavor} in {cloud} for {seconds} after: {failure}";
    Protected "protected" { cloud: String, flavor: String, failures: u32, failure: String } =>
        "protected mode of {flavor} in {cloud} after {failures} consecutive failures, the last: {failure}; correct the \
         cause, then run `ehos resume {cloud}`";
    Pause "pause" { cloud: String, seconds: Seconds, #[serde(rename = "cause")] why: String } => "pause of cloud {cloud} for {seconds} after: {why}";
    Unproven "unproven" { cloud: String, flavor: String, unjoined: u64 } =>
        "max_unproven: {unjoined} of {flavor} in {cloud} not joined yet";
    MaxActions "max_actions" { max_actions: u64 } => "max_actions {max_actions} per minute";
    CloudUnknown "cloud_unknown" { cloud: String } => "unknown state of cloud {cloud}";
    OperatorPause "operator_pause" { #[serde(flatten)] pause: Box<PauseEntry> } => "{}; end it with `{}`", pause.words(), pause.end_command();
    Retire "retire" { cloud: String } => "retire: true of cloud {cloud}";
    NeverSeen "nodes_unknown" { cloud: String } =>
        "unknown node count of cloud {cloud}, which has not answered since the state file was created";
    FlavorUnknown "flavor_unknown" { cloud: String, flavor: String } =>
        "unknown flavor {flavor} of cloud {cloud}";
    Ports "ports" { cloud: String, left: u64, each: u64 } => "ports quota of cloud {cloud}: {left} left, {each} per node";
    Volumes "volumes" { cloud: String, left: u64, each: u64 } =>
        "volumes quota of cloud {cloud}: {left} left, {each} per node";
    VolumeGigabytes "volume_gigabytes" { cloud: String, left_gb: u64, each_gb: u64 } =>
        "volume size quota of cloud {cloud}: {left_gb} GB left, {each_gb} GB per node";
    ServerGroupMembers "server_group_members" { cloud: String, left: u64 } =>
        "server group quota of cloud {cloud}: {left} members left";
    SecondaryQuotaUnknown "quota_unknown" { cloud: String, #[serde(rename = "cause")] why: String } => "unknown quota of cloud {cloud}: {why}";
}
}

fn of(cloud: &Option<String>, submitter: &Option<Submitter>) -> String {
    match submitter {
        Some(submitter) => format!(" of {submitter}"),
        None => after(" of cloud ", cloud),
    }
}

/// The input of all limits for one (cloud, flavor).
pub struct Case<'a> {
    pub policy: &'a Policy,
    /// The part of the policy that concerns this cloud.
    pub cloud: &'a CloudPolicy,
    /// The observation of the cloud; `None` if the cloud did not answer.
    pub view: Option<&'a CloudView>,
    pub flavor: &'a str,
    pub state: &'a State,
    /// A cloud that does not answer and whose nodes this state has never recorded.
    pub never_seen: Option<&'a str>,
    /// Nodes in all clouds, with those that this plan creates.
    pub nodes: u64,
    /// Nodes in this cloud, with those that this plan creates.
    pub nodes_in_cloud: u64,
    /// Cores of the nodes in all clouds, with those that this plan creates.
    pub cores: u64,
    /// Cores of the nodes in this cloud, with those that this plan creates.
    pub cores_in_cloud: u64,
    /// The types of nodes whose cores are unknown: these count in neither.
    pub unsized_nodes: &'a [NodeType],
    /// Nodes of this node type that have not joined, with those that this plan creates.
    pub unjoined_of_kind: u64,
    /// The most nodes of this type that may start before one has joined, if its image is on trial.
    pub first_nodes: Option<u64>,
    /// The creates of this plan in this cloud.
    pub planned: Planned,
    /// The costs of nodes, with those that this plan creates.
    pub costs: &'a Costs,
    /// The submitters of the jobs for which the node is created.
    pub submitters: &'a Submitters,
    /// The nodes of each submitter, with those that this plan creates.
    pub charged: &'a ChargedNodes,
    /// The number of further creates and deletes in this plan.
    pub actions_left: u64,
}

/// The creates of a plan in one cloud, and the intents that the cloud does not count yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    pub instances: u64,
    pub cores: u64,
    /// RAM in MiB.
    pub ram_mb: u64,
    /// Servers in BUILD, whose ports and volumes the quota may not count yet.
    pub building: u64,
}

/// Returns the number of further nodes, and the limit with the smallest number.
pub fn allowance(case: &Case<'_>) -> (u64, Limit) {
    if let Some(limit) = retire(case) {
        return (0, limit);
    }
    let (Some(view), Some(flavor)) = (
        case.view,
        case.view.and_then(|view| view.flavors.get(case.flavor)),
    ) else {
        return (0, unknown(case));
    };
    let all = [
        operator_pause(case),
        never_seen(case),
        nodes_max(case),
        cloud_nodes_max(case),
        cores_max(case, flavor),
        cloud_cores_max(case, flavor),
        protected(case),
        backoff(case),
        pause(case),
        instances(case, view),
        cores(case, view, flavor),
        ram(case, view, flavor),
        unproven(case),
        max_actions(case),
        per_hour(case, Payer::All, &case.policy.budget),
        per_hour(case, Payer::Cloud(&case.cloud.name), &case.cloud.budget),
        per_month(case, Payer::All, &case.policy.budget),
        per_month(case, Payer::Cloud(&case.cloud.name), &case.cloud.budget),
    ];
    let submitters = case.submitters.0.iter();
    let submitters = submitters.flat_map(|submitter| of_submitter(case, submitter, flavor));
    let all = all.into_iter().flatten().chain(submitters);
    let all = all.chain(secondary_quota::all(case, view));
    let max_actions = case.policy.max_actions;
    let first = (u64::MAX, Limit::MaxActions { max_actions });
    all.fold(
        first,
        |least, next| {
            if next.0 < least.0 { next } else { least }
        },
    )
}

/// Returns the limit that blocks creates however few nodes exist: only time or an operator lifts it.
pub fn closed(case: &Case<'_>) -> Option<Limit> {
    if let Some(limit) = retire(case) {
        return Some(limit);
    }
    let there = case
        .view
        .is_some_and(|view| view.flavors.contains_key(case.flavor));
    if !there {
        return Some(unknown(case));
    }
    // The budget of a month is renewed in the next month.
    let spent = |limit: Option<(u64, Limit)>| limit.filter(|(more, _)| *more == 0);
    let all = [
        operator_pause(case),
        never_seen(case),
        protected(case),
        backoff(case),
        pause(case),
        spent(per_month(case, Payer::All, &case.policy.budget)),
        spent(per_month(
            case,
            Payer::Cloud(&case.cloud.name),
            &case.cloud.budget,
        )),
    ];
    all.into_iter().flatten().next().map(|(_, limit)| limit)
}

/// Returns the limit that blocks the replacement of a node of the flavor `leaving`, which frees its part of the quota.
///
/// Either [`closed`], or a quota or `cores_max` that is too small even then: it was lowered, servers of others use it, or
/// the new flavor has more cores.
pub fn exchange(case: &Case<'_>, leaving: Option<&Flavor>) -> Option<Limit> {
    let closed = closed(case);
    let (None, Some(view)) = (&closed, case.view) else {
        return closed;
    };
    let flavor = view.flavors.get(case.flavor)?;
    // The size of a flavor that is no longer configured is unknown: assume the size of the new one.
    let leaving = leaving.unwrap_or(flavor);
    if let Some(limit) = exchange_of_cores(case, leaving, flavor) {
        return Some(limit);
    }
    let (cloud, planned, quota) = (case.cloud, case.planned, &view.quota);
    let short = |usage: Usage, planned: u64, kept: u64, leaving: u64, each: u64| {
        let needed = usage.used.saturating_add(planned).saturating_add(kept);
        let needed = needed.saturating_add(each).saturating_sub(leaving);
        usage.limit.is_some_and(|limit| needed > limit)
    };
    let all = if short(
        quota.instances,
        planned.instances,
        cloud.min_instances,
        1,
        1,
    ) {
        instances(case, view)
    } else if short(
        quota.cores,
        planned.cores,
        cloud.min_cores,
        leaving.vcpus,
        flavor.vcpus,
    ) {
        cores(case, view, flavor)
    } else if short(
        quota.ram_mb,
        planned.ram_mb,
        cloud.min_ram_mb,
        leaving.ram_mb,
        flavor.ram_mb,
    ) {
        ram(case, view, flavor)
    } else {
        return secondary_quota::exchange(case, view);
    };
    all.map(|(_, limit)| limit)
}

/// Returns the `cores_max` that a node of `flavor` exceeds once the node of the flavor `leaving` is gone.
fn exchange_of_cores(case: &Case<'_>, leaving: &Flavor, flavor: &Flavor) -> Option<Limit> {
    let after = |cores: u64| {
        let cores = cores.saturating_add(flavor.vcpus);
        cores.saturating_sub(leaving.vcpus)
    };
    let exceeds = |limit: &Limit| match limit {
        Limit::CoresMax { cores_max, cores } => after(*cores) > *cores_max,
        Limit::CloudCoresMax {
            cores_max, cores, ..
        } => after(*cores) > *cores_max,
        // The size of a node is unknown.
        _ => true,
    };
    let all = [cores_max(case, flavor), cloud_cores_max(case, flavor)];
    let mut all = all.into_iter().flatten().map(|(_, limit)| limit);
    all.find(exceeds)
}

fn unknown(case: &Case<'_>) -> Limit {
    let cloud = case.cloud.name.clone();
    match case.view {
        None => Limit::CloudUnknown { cloud },
        Some(_) => Limit::FlavorUnknown {
            cloud,
            flavor: case.flavor.to_owned(),
        },
    }
}

/// A cloud with `retire: true` gets no node.
fn retire(case: &Case<'_>) -> Option<Limit> {
    case.cloud.retire.then(|| Limit::Retire {
        cloud: case.cloud.name.clone(),
    })
}

/// A pause that an operator has requested.
fn operator_pause(case: &Case<'_>) -> Option<(u64, Limit)> {
    let pause = case.state.pause_of(&case.cloud.name, |_| true)?;
    let pause = Box::new(pause);
    Some((0, Limit::OperatorPause { pause }))
}

fn nodes_max(case: &Case<'_>) -> Option<(u64, Limit)> {
    let nodes_max = case.policy.nodes_max;
    let more = nodes_max.saturating_sub(case.nodes);
    Some((more, Limit::NodesMax { nodes_max }))
}

/// nodes_max needs the node count of every cloud.
fn never_seen(case: &Case<'_>) -> Option<(u64, Limit)> {
    let cloud = case.never_seen?.to_owned();
    Some((0, Limit::NeverSeen { cloud }))
}

fn cloud_nodes_max(case: &Case<'_>) -> Option<(u64, Limit)> {
    let nodes_max = case.cloud.nodes_max?;
    let cloud = case.cloud.name.clone();
    let more = nodes_max.saturating_sub(case.nodes_in_cloud);
    Some((more, Limit::CloudNodesMax { cloud, nodes_max }))
}

/// cores_max needs the cores of every node.
fn cores_max(case: &Case<'_>, flavor: &Flavor) -> Option<(u64, Limit)> {
    let cores_max = case.policy.cores_max?;
    if let Some(NodeType { cloud, flavor, .. }) = case.unsized_nodes.first() {
        let (cloud, flavor) = (cloud.clone(), flavor.clone());
        return Some((0, Limit::FlavorUnknown { cloud, flavor }));
    }
    let cores = case.cores;
    let more = cores_max.saturating_sub(cores) / flavor.vcpus.max(1);
    Some((more, Limit::CoresMax { cores_max, cores }))
}

fn cloud_cores_max(case: &Case<'_>, flavor: &Flavor) -> Option<(u64, Limit)> {
    let cores_max = case.cloud.cores_max?;
    let mut unsized_nodes = case.unsized_nodes.iter();
    if let Some(node) = unsized_nodes.find(|node| node.cloud == case.cloud.name) {
        let (cloud, flavor) = (node.cloud.clone(), node.flavor.clone());
        return Some((0, Limit::FlavorUnknown { cloud, flavor }));
    }
    let cores = case.cores_in_cloud;
    let more = cores_max.saturating_sub(cores) / flavor.vcpus.max(1);
    let cloud = case.cloud.name.clone();
    let limit = Limit::CloudCoresMax {
        cloud,
        cores_max,
        cores,
    };
    Some((more, limit))
}

/// Returns the rest of a quota after the planned creates, and how many of size `each` fit above the reserved quota.
pub(super) fn quota(usage: Usage, planned: u64, kept: u64, each: u64) -> Option<(u64, u64)> {
    let left = usage.left()?.saturating_sub(planned);
    let more = left.saturating_sub(kept).checked_div(each);
    Some((left, more.unwrap_or(u64::MAX)))
}

fn instances(case: &Case<'_>, view: &CloudView) -> Option<(u64, Limit)> {
    let kept = case.cloud.min_instances;
    let (left, more) = quota(view.quota.instances, case.planned.instances, kept, 1)?;
    let cloud = case.cloud.name.clone();
    Some((more, Limit::Instances { cloud, left, kept }))
}

fn cores(case: &Case<'_>, view: &CloudView, flavor: &Flavor) -> Option<(u64, Limit)> {
    let kept = case.cloud.min_cores;
    let (left, more) = quota(view.quota.cores, case.planned.cores, kept, flavor.vcpus)?;
    let cloud = case.cloud.name.clone();
    Some((more, Limit::Cores { cloud, left, kept }))
}

fn ram(case: &Case<'_>, view: &CloudView, flavor: &Flavor) -> Option<(u64, Limit)> {
    let kept_mb = case.cloud.min_ram_mb;
    let planned = case.planned.ram_mb;
    let (left_mb, more) = quota(view.quota.ram_mb, planned, kept_mb, flavor.ram_mb)?;
    let cloud = case.cloud.name.clone();
    Some((
        more,
        Limit::Ram {
            cloud,
            left_mb,
            kept_mb,
        },
    ))
}

impl Case<'_> {
    /// What is remembered of the node type.
    fn memory(&self) -> Option<&NodeTypeState> {
        let mut node_types = self.state.node_types.iter();
        node_types.find(|memory| {
            let NodeType {
                cloud,
                flavor,
                image,
            } = &memory.node_type;
            (flavor.as_str(), cloud, image) == (self.flavor, &self.cloud.name, &self.cloud.image)
        })
    }
}

fn seconds_until(until: TickInstant, now: TickInstant) -> Option<Seconds> {
    (until > now).then_some(seconds(until.since(now)))
}

fn backoff(case: &Case<'_>) -> Option<(u64, Limit)> {
    let memory = case.memory()?;
    let seconds = seconds_until(memory.backoff_until?, case.state.now)?;
    let NodeType { cloud, flavor, .. } = memory.node_type.clone();
    let failure = memory.last_failure.clone().unwrap_or_default();
    let limit = Limit::Backoff {
        cloud,
        flavor,
        seconds,
        failure,
    };
    Some((0, limit))
}

fn protected(case: &Case<'_>) -> Option<(u64, Limit)> {
    let memory = case.memory()?;
    let failures = memory.protected.as_ref()?.failures;
    let NodeType { cloud, flavor, .. } = memory.node_type.clone();
    let failure = memory.last_failure.clone().unwrap_or_default();
    let limit = Limit::Protected {
        cloud,
        flavor,
        failures,
        failure,
    };
    Some((0, limit))
}

fn pause(case: &Case<'_>) -> Option<(u64, Limit)> {
    let pause = case.state.pauses.get(&case.cloud.name)?;
    let seconds = seconds_until(pause.until, case.state.now)?;
    let cloud = case.cloud.name.clone();
    let why = pause.why.clone();
    Some((
        0,
        Limit::Pause {
            cloud,
            seconds,
            why,
        },
    ))
}

/// More servers of a kind that has not joined are never on their way, however well its image is known.
const MAX_FIRST_NODES: u64 = 10;

/// How many nodes of a tested image are tried at first, where the demand would need `needed` of them: half, for the other
/// half may wait until one has joined.
pub fn first_nodes(needed: u64, max_unproven: u64) -> u64 {
    let half = needed.div_ceil(2).min(MAX_FIRST_NODES);
    half.max(max_unproven)
}

/// An image that has not proven itself can do little harm: `max_unproven` servers until one has joined (more of an image
/// that was seen to boot, until one of it fails), then at most as many on their way as have joined, and never fewer than
/// ten. One while the capacity of its nodes is in doubt: it shows what they have.
fn unproven(case: &Case<'_>) -> Option<(u64, Limit)> {
    let memory = case.memory();
    let joined = memory.map_or(0, |memory| memory.joined);
    let failed = memory.is_some_and(|memory| memory.failures > 0);
    let doubted = memory.is_some_and(NodeTypeState::is_doubted);
    let most = match case.first_nodes {
        _ if joined > 0 && doubted => 1,
        _ if joined > 0 => joined.max(10),
        Some(first) if !failed => first,
        _ => case.policy.max_unproven,
    };
    let unjoined = case.unjoined_of_kind;
    let limit = Limit::Unproven {
        cloud: case.cloud.name.clone(),
        flavor: case.flavor.to_owned(),
        unjoined,
    };
    Some((most.saturating_sub(unjoined), limit))
}

/// The limits of one submitter.
fn of_submitter<'a>(
    case: &'a Case<'_>,
    submitter: &'a Submitter,
    flavor: &Flavor,
) -> impl Iterator<Item = (u64, Limit)> + use<'a> {
    let limit = case.policy.submitter_limits.of(submitter);
    let limit = limit.copied().unwrap_or_default();
    let charged = case.charged.of(submitter);
    let vcpus = flavor.vcpus.max(1);
    let nodes = limit.nodes_max.map(|nodes_max| {
        let submitter = submitter.clone();
        let more = nodes_max.saturating_sub(charged.nodes);
        (
            more,
            Limit::SubmitterNodesMax {
                submitter,
                nodes_max,
            },
        )
    });
    let cores = limit.cores_max.map(|cores_max| {
        let limit = Limit::SubmitterCoresMax {
            submitter: submitter.clone(),
            cores_max,
            cores: charged.cores,
        };
        (cores_max.saturating_sub(charged.cores) / vcpus, limit)
    });
    let payer = Payer::Submitter(submitter);
    let all = [
        nodes,
        cores,
        per_hour(case, payer, &limit.budget),
        per_month(case, payer, &limit.budget),
    ];
    all.into_iter().flatten()
}

/// Cloud and submitter of a budget.
fn named(payer: Payer<'_>) -> (Option<String>, Option<Submitter>) {
    match payer {
        Payer::All => (None, None),
        Payer::Cloud(cloud) => (Some(cloud.to_owned()), None),
        Payer::Submitter(submitter) => (None, Some(submitter.clone())),
    }
}

fn per_hour(case: &Case<'_>, payer: Payer<'_>, budget: &Budget) -> Option<(u64, Limit)> {
    let budget = budget.per_hour?;
    let (more, per_hour) = case
        .costs
        .left_an_hour(payer, budget, case.cloud, case.flavor);
    let (cloud, submitter) = named(payer);
    Some((
        more,
        Limit::BudgetPerHour {
            cloud,
            submitter,
            budget,
            per_hour,
        },
    ))
}

fn per_month(case: &Case<'_>, payer: Payer<'_>, budget: &Budget) -> Option<(u64, Limit)> {
    let budget = budget.per_month?;
    let (more, spent, coming) = case
        .costs
        .left_a_month(payer, budget, case.cloud, case.flavor);
    let (cloud, submitter) = named(payer);
    Some((
        more,
        Limit::BudgetPerMonth {
            cloud,
            submitter,
            budget,
            spent,
            coming,
        },
    ))
}

fn max_actions(case: &Case<'_>) -> Option<(u64, Limit)> {
    Some((
        case.actions_left,
        Limit::MaxActions {
            max_actions: case.policy.max_actions,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_what_is_planned_and_leaves_the_headroom() {
        let usage = Usage {
            limit: Some(20),
            used: 4,
        };
        assert_eq!(quota(usage, 4, 2, 4), Some((12, 2)));
        assert_eq!(
            quota(
                Usage {
                    limit: Some(4),
                    used: 9
                },
                0,
                0,
                1
            ),
            Some((0, 0)),
            "over the quota is none left"
        );
        assert_eq!(
            quota(
                Usage {
                    limit: None,
                    used: 9
                },
                0,
                0,
                1
            ),
            None,
            "unlimited limits nothing"
        );
    }
}
