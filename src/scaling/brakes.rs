//! The brakes: safety conditions that block deletes, and some of them creates, for this tick.
//!
//! Each brake is one function of observation, policy and state.

use super::node::{Node, Phase};
use super::node_inventory::NodeInventory;
use super::observation::{Observation, Observed};
use super::policy::Policy;
use super::seconds::{Seconds, seconds};
use super::sentence::{sentences, when};
use super::state::{State, TickInstant, UnmanagedMachines};

sentences! {
/// A safety condition that blocks drains and deletes, with its numbers.
#[serde(tag = "brake")]
pub enum Brake {
    CollectorUnknown "collector_unknown" { #[serde(rename = "cause")] why: String } => "collector unknown: {why}";
    CollectorYoung "collector_young" {
        up_seconds: Seconds, collector_grace_seconds: Seconds,
        /** No startd can be missing, so creates do not wait. */
        #[serde(skip_serializing_if = "std::ops::Not::not")] creates_continue: bool,
    } => "the collector started {up_seconds} ago; waiting until {collector_grace_seconds} (collector_grace), when every \
        startd has reported{}",
        when(*creates_continue, "; creates continue: no node that has joined is missing, and the pool never had an unmanaged machine");
    ScheddUnknown "schedd_unknown" { schedd: String, #[serde(rename = "cause")] why: String, unknown_seconds: Seconds } =>
        "schedd {schedd} unknown for {unknown_seconds}: {why}";
    NodesVanished "nodes_silent" {
        silent: u64, joined: u64,
        /** Nodes that were created since then are silent too, so further nodes would not help. */
        #[serde(skip_serializing_if = "std::ops::Not::not")] new_too: bool,
    } => "{silent} of {joined} nodes are silent, which suggests a fault of the network or the collector; restore it, or if \
        the nodes are lost, run `ehos tick --trust-silence`{}",
        when(*new_too, "; nodes created since then are silent too: ehos creates none");
}
}

impl Brake {
    /// Whether the brake blocks creates as well.
    pub fn stops_creates(&self) -> bool {
        matches!(
            self,
            Brake::CollectorUnknown { .. }
                | Brake::CollectorYoung {
                    creates_continue: false,
                    ..
                }
                | Brake::NodesVanished { new_too: true, .. }
        )
    }

    /// Whether the collector may lack ads of running startds.
    pub fn hides_startds(&self) -> bool {
        self.stops_creates() || matches!(self, Brake::CollectorYoung { .. })
    }
}

/// Returns the brakes of this tick.
pub fn brakes(
    observation: &Observation,
    policy: &Policy,
    state: &State,
    survey: &NodeInventory<'_>,
) -> Vec<Brake> {
    let mut all = Vec::new();
    all.extend(collector(observation, policy, state, survey));
    all.extend(schedds(observation, policy, state));
    all.extend(vanished(policy, state, &survey.nodes));
    all
}

/// Whether a young collector may still lack the ad of a startd with free slots: an unmanaged machine, or a node that
/// joined before the collector started. A node that has never joined counts as starting capacity with or without an ad, so
/// no node too many is created.
fn startds_are_expected(
    observation: &Observation,
    state: &State,
    survey: &NodeInventory<'_>,
) -> bool {
    let may_be_missing = |node: &Node<'_>| match node.phase {
        Phase::Gone | Phase::IntentExpired => false,
        // The collector has its ad.
        Phase::Idle { .. } | Phase::Busy | Phase::StartFalse | Phase::Draining { .. } => false,
        // An adopted node may have joined before.
        Phase::Requested | Phase::Building | Phase::Booting => node.memory.adopted,
        _ => true,
    };
    state.unmanaged != UnmanagedMachines::NeverSeen
        || !state.removed_clouds.is_empty()
        || !observation.clouds.values().all(Observed::is_known)
        || !survey.uncounted.is_empty()
        || survey.nodes.iter().any(may_be_missing)
}

fn collector(
    observation: &Observation,
    policy: &Policy,
    state: &State,
    survey: &NodeInventory<'_>,
) -> Option<Brake> {
    match &observation.pool.collector {
        Observed::Unknown(why) => Some(Brake::CollectorUnknown { why: why.clone() }),
        Observed::Known(collector) if collector.up_for < policy.collector_grace => {
            Some(Brake::CollectorYoung {
                up_seconds: seconds(collector.up_for),
                collector_grace_seconds: seconds(policy.collector_grace),
                creates_continue: !startds_are_expected(observation, state, survey),
            })
        }
        Observed::Known(_) => None,
    }
}

/// A schedd that does not answer may have jobs for the idle nodes, until `schedd_grace` has passed.
fn schedds(observation: &Observation, policy: &Policy, state: &State) -> Option<Brake> {
    observation.pool.schedds.iter().find_map(|(name, schedd)| {
        let Observed::Unknown(why) = schedd else {
            return None;
        };
        let unknown_for = state
            .unknown_schedds
            .get(name)
            .map(|since| state.now.since(*since))
            .unwrap_or_default();
        (unknown_for < policy.schedd_grace).then(|| Brake::ScheddUnknown {
            schedd: name.clone(),
            why: why.clone(),
            unknown_seconds: seconds(unknown_for),
        })
    })
}

/// If many nodes fall silent together, the network or the collector has probably failed.
fn vanished(policy: &Policy, state: &State, nodes: &[Node<'_>]) -> Option<Brake> {
    let is_silent = |node: &Node<'_>| {
        matches!(
            node.phase,
            Phase::Silent { .. }
                | Phase::Lost { .. }
                | Phase::DeletedExternally
                | Phase::Unobserved
        )
    };
    let heard = |node: &Node<'_>| {
        matches!(
            node.phase,
            Phase::Idle { .. } | Phase::Busy | Phase::StartFalse | Phase::Draining { .. }
        )
    };
    let new_too = |node: &Node<'_>, since: TickInstant| {
        let started = Some(node.memory.started).filter(|_| !node.memory.adopted);
        match node.phase {
            // The node should have joined since then.
            Phase::Failed { fault: None } => {
                started.is_some_and(|at| at.plus(policy.boot_timeout) > since)
            }
            _ => is_silent(node) && started > Some(since),
        }
    };
    let (mut silent, mut joined) = (0, 0);
    for node in nodes {
        // After an accepted delete, ehos itself invalidated the ads.
        let is_silent = is_silent(node) && !node.memory.delete.invalidated;
        silent += u64::from(is_silent);
        joined += u64::from(is_silent || heard(node));
    }
    #[allow(clippy::cast_precision_loss)] // Counts of nodes.
    let too_many =
        silent > policy.max_silent_count && silent as f64 > policy.max_silent_share * joined as f64;
    too_many.then(|| Brake::NodesVanished {
        silent,
        joined,
        new_too: (state.vanished)
            .is_some_and(|since| nodes.iter().any(|node| new_too(node, since))),
    })
}
