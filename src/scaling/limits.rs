//! How many more nodes: each limit is one function from a (cloud, flavor) to how many more it allows. The smallest
//! wins, and its name is the reason.

use super::budget::{Budget, Costs, Payer};
use super::money::Money;
use super::observation::{CloudView, Flavor, Usage};
use super::policy::{CloudPolicy, Policy};
use super::secondary_quota;
use super::seconds::{Seconds, seconds};
use super::sentence::{after, sentences};
use super::state::{NodeType, State, TickInstant};
use super::submitter::{ChargedNodes, Submitter, Submitters};

sentences! {
/// The limit that holds, with its numbers.
#[serde(tag = "name")]
pub enum Limit {
    NodesMax "nodes_max" { nodes_max: u64 } => "nodes_max {nodes_max}";
    CloudNodesMax "cloud_nodes_max" { cloud: String, nodes_max: u64 } => "nodes_max {nodes_max} of cloud {cloud}";
    Instances "instances" { cloud: String, left: u64, #[serde(rename = "reserved")] kept: u64 } =>
        "the quota of {cloud}: {left} instances left, min_instances {kept}";
    Cores "cores" { cloud: String, left: u64, #[serde(rename = "reserved")] kept: u64 } => "the quota of {cloud}: {left} cores left, min_cores {kept}";
    Ram "ram" { cloud: String, left_mb: u64, #[serde(rename = "reserved_mb")] kept_mb: u64 } =>
        "the quota of {cloud}: {left_mb} MB of memory left, min_ram {kept_mb} MB";
    SubmitterNodesMax "submitter_nodes_max" { submitter: Submitter, nodes_max: u64 } => "nodes_max {nodes_max} of {submitter}";
    SubmitterCoresMax "submitter_cores_max" { submitter: Submitter, cores_max: u64, cores: u64 } =>
        "cores_max {cores_max} of {submitter}: its nodes have {cores} cores";
    BudgetPerHour "budget_per_hour" {
        /** All clouds when absent. */ #[serde(skip_serializing_if = "Option::is_none")] cloud: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")] submitter: Option<Submitter>,
        budget: Money, per_hour: Money,
    } => "budget.per_hour {budget}{}: {per_hour} an hour is what runs", of(cloud, submitter);
    BudgetPerMonth "budget_per_month" {
        /** All clouds when absent. */ #[serde(skip_serializing_if = "Option::is_none")] cloud: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")] submitter: Option<Submitter>,
        budget: Money, spent: Money, #[serde(rename = "committed")] coming: Money,
    } => "budget.per_month {budget}{}: {spent} spent, and {coming} for what runs in the hour that comes", of(cloud, submitter);
    Backoff "backoff" { cloud: String, flavor: String, seconds: Seconds, failure: String } =>
        "back-off of {flavor} in {cloud} for {seconds} after: {failure}";
    Protected "protected" { cloud: String, flavor: String, failures: u32, failure: String } =>
        "protected mode of {flavor} in {cloud} after {failures} failures in a row, the last: {failure}; mend it, then: \
         ehos resume {cloud}";
    Pause "pause" { cloud: String, seconds: Seconds, #[serde(rename = "cause")] why: String } => "a pause in {cloud} for {seconds} after: {why}";
    Unproven "unproven" { cloud: String, flavor: String, unjoined: u64 } =>
        "max_unproven: {unjoined} of {flavor} in {cloud} have not joined yet";
    MaxActions "max_actions" { max_actions: u64 } => "max_actions {max_actions} a minute";
    CloudUnknown "cloud_unknown" { cloud: String } => "cloud {cloud}, which could not be seen";
    Retire "retire" { cloud: String } => "retire: true of cloud {cloud}";
    NeverSeen "nodes_unknown" { cloud: String } =>
        "cloud {cloud}: it could not be seen now, and how many nodes it has has never been seen";
    FlavorUnknown "flavor_unknown" { cloud: String, flavor: String } =>
        "cloud {cloud}, whose flavor {flavor} could not be seen";
    Ports "ports" { cloud: String, left: u64, each: u64 } => "the quota of {cloud}: {left} ports left, a node takes {each}";
    Volumes "volumes" { cloud: String, left: u64, each: u64 } =>
        "the quota of {cloud}: {left} volumes left, a node takes {each}";
    VolumeGigabytes "volume_gigabytes" { cloud: String, left_gb: u64, each_gb: u64 } =>
        "the quota of {cloud}: {left_gb} GB of volumes left, a node takes {each_gb} GB";
    ServerGroupMembers "server_group_members" { cloud: String, left: u64 } =>
        "the quota of {cloud}: {left} more servers in the server group";
    SecondaryQuotaUnknown "quota_unknown" { cloud: String, #[serde(rename = "cause")] why: String } => "cloud {cloud}, whose quota could not be seen: {why}";
}
}

fn of(cloud: &Option<String>, submitter: &Option<Submitter>) -> String {
    match submitter {
        Some(submitter) => format!(" of {submitter}"),
        None => after(" of cloud ", cloud),
    }
}

/// What one (cloud, flavor) is judged by.
pub struct Case<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The cloud's part of it.
    pub cloud: &'a CloudPolicy,
    /// What the cloud said; `None` when it did not answer.
    pub view: Option<&'a CloudView>,
    /// The flavor, as configured.
    pub flavor: &'a str,
    /// What is remembered.
    pub state: &'a State,
    /// A cloud that does not answer and whose nodes this state has never seen.
    pub never_seen: Option<&'a str>,
    /// Servers of ours in all clouds, with those that this plan makes.
    pub nodes: u64,
    /// Servers of ours in this cloud, with those that this plan makes.
    pub nodes_in_cloud: u64,
    /// Nodes of this kind that have not joined, with those that this plan makes.
    pub unjoined_of_kind: u64,
    /// How many of this kind may be on their way before one has joined, where its image is tested; `None`: it is not.
    pub first_nodes: Option<u64>,
    /// What this plan makes in this cloud.
    pub planned: Planned,
    /// What nodes cost, with those that this plan makes.
    pub costs: &'a Costs,
    /// The submitters of the jobs that the node is for.
    pub submitters: &'a Submitters,
    /// The nodes of each submitter, with those that this plan makes.
    pub charged: &'a ChargedNodes,
    /// Creates and deletes that may still be planned.
    pub actions_left: u64,
}

/// What a plan makes in one cloud, and what intents that the cloud does not count yet will take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    /// Servers.
    pub instances: u64,
    /// Their cores.
    pub cores: u64,
    /// Their memory in MiB.
    pub ram_mb: u64,
    /// Servers that are being built, whose ports and volumes the cloud need not count yet.
    pub building: u64,
}

/// How many more, and what limits it: the smallest of all.
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
        never_seen(case),
        nodes_max(case),
        cloud_nodes_max(case),
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

/// What stands in the way however few nodes there are: only time or an operator takes it away.
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
    // A month's budget comes back with the next month.
    let spent = |limit: Option<(u64, Limit)>| limit.filter(|(more, _)| *more == 0);
    let all = [
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

/// What stands in the way of one in the place of a node of the flavor `leaving`, which gives back its part of the quota:
/// [`closed`], or a quota that has no room for it even then, for it was lowered, or others need what is left.
pub fn exchange(case: &Case<'_>, leaving: Option<&Flavor>) -> Option<Limit> {
    let closed = closed(case);
    let (None, Some(view)) = (&closed, case.view) else {
        return closed;
    };
    let flavor = view.flavors.get(case.flavor)?;
    // Of a flavor that is not configured any more the size is not known: as large as what is.
    let leaving = leaving.unwrap_or(flavor);
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

/// Nothing is made where all is to go.
fn retire(case: &Case<'_>) -> Option<Limit> {
    case.cloud.retire.then(|| Limit::Retire {
        cloud: case.cloud.name.clone(),
    })
}

fn nodes_max(case: &Case<'_>) -> Option<(u64, Limit)> {
    let nodes_max = case.policy.nodes_max;
    let more = nodes_max.saturating_sub(case.nodes);
    Some((more, Limit::NodesMax { nodes_max }))
}

/// Without a count of the nodes everywhere, nodes_max cannot be kept.
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

/// What is left of a quota after what is planned, and how many of size `each` fit above the headroom.
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
    fn node_type(&self) -> NodeType {
        NodeType::of(self.cloud, self.flavor)
    }
}

fn seconds_until(until: TickInstant, now: TickInstant) -> Option<Seconds> {
    (until > now).then_some(seconds(until.since(now)))
}

fn backoff(case: &Case<'_>) -> Option<(u64, Limit)> {
    let NodeType { cloud, flavor, .. } = case.node_type();
    let memory = case.state.node_type(&case.node_type())?;
    let seconds = seconds_until(memory.backoff_until?, case.state.now)?;
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
    let NodeType { cloud, flavor, .. } = case.node_type();
    let memory = case.state.node_type(&case.node_type())?;
    let failures = memory.protected.as_ref()?.failures;
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
    let cloud = case.cloud.name.clone();
    let pause = case.state.pauses.get(&cloud)?;
    let seconds = seconds_until(pause.until, case.state.now)?;
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
/// ten.
fn unproven(case: &Case<'_>) -> Option<(u64, Limit)> {
    let node_type = case.node_type();
    let joined = case
        .state
        .node_type(&node_type)
        .map_or(0, |memory| memory.joined);
    let most = match case.first_nodes {
        _ if joined > 0 => joined.max(10),
        Some(first) if !case.state.has_failed(&node_type) => first,
        _ => case.policy.max_unproven,
    };
    let unjoined = case.unjoined_of_kind;
    let NodeType { cloud, flavor, .. } = node_type;
    let limit = Limit::Unproven {
        cloud,
        flavor,
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
