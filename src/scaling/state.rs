//! The state that a tick passes on to the next. Losing it costs timers, never servers or jobs.

mod after;
mod age;
mod node;
mod node_fields;
mod shared;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::sorting::{IntoMap, IntoSet};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{Done, Failure, Intent};
use super::budget::Spending;
use super::capacity::Capacity;
use super::failure_tracking::Protected;
use super::first_seen::ClusterMarks;
use super::job_requirements::JobGroupKey;
use super::leftover::{LeftoverKind, LeftoverQuery, MAX_SERVERS};
use super::maintenance::OperatorPause;
use super::observation::{AttachedVolume, CloudName, NodeId};
use super::pace::RecentActions;
use super::plan::Action;
use super::policy::{CloudPolicy, Policy};
use super::totals::Totals;
use super::zones::ZoneState;
use crate::sorting;

pub use age::{Age, Expiry};
pub use node::{Claims, DeleteState, DrainState, Join, NodeState, Place, Silence};
pub use shared::Shared;
pub(crate) use shared::set;

/// The longest time that one tick adds to the watched time: after a longer pause (or a jump of the clock) nothing
/// is known of what lay between.
const MAX_STEP: Duration = Duration::from_secs(300);
/// A moment on ehos's own clock: the time it has watched the site, in milliseconds. Each tick moves it on by the
/// time since the last one, but never by more than five minutes and never back, so that neither a jump of the
/// machine's clock nor a night without ticks makes a timer expire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TickInstant(u64);

impl TickInstant {
    /// How long ago `earlier` was.
    pub fn since(self, earlier: TickInstant) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// `duration` earlier; never before the beginning.
    pub fn minus(self, duration: Duration) -> TickInstant {
        TickInstant(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// `duration` later.
    pub fn plus(self, duration: Duration) -> TickInstant {
        TickInstant(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// What a server is made of, as configured: what fails or proves itself together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeType {
    pub cloud: CloudName,
    pub flavor: String,
    pub image: String,
}

impl NodeType {
    /// A flavor of a cloud, with the image that is configured there.
    pub fn of(cloud: &CloudPolicy, flavor: &str) -> NodeType {
        NodeType {
            cloud: cloud.name.clone(),
            flavor: flavor.to_owned(),
            image: cloud.image.clone(),
        }
    }

    /// What an intent asks for.
    fn asked(intent: &Intent) -> NodeType {
        NodeType {
            cloud: intent.cloud.clone(),
            flavor: intent.flavor.clone(),
            image: intent.image.clone(),
        }
    }

    /// Whether nodes of it are made.
    pub(crate) fn is_configured(&self, policy: &Policy) -> bool {
        policy
            .cloud(&self.cloud)
            .is_some_and(|cloud| cloud.image == self.image && cloud.flavors.contains(&self.flavor))
    }
}

/// The record of a deleted server: its ads may stay for a while, and it may have leftovers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub server_id: Option<String>,
    /// `Machine` of its ads.
    pub machine: Option<String>,
    /// When it went.
    pub at: TickInstant,
    /// Its ads were taken out of the collector.
    pub invalidated: bool,
    #[serde(default)]
    pub cloud: CloudName,
    /// The volumes that were attached to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<AttachedVolume>,
    /// Whether its cloud was searched for leftovers since then.
    #[serde(default)]
    pub searched: bool,
    /// It was found to have failed, and that was counted: a list may show it once more.
    #[serde(default)]
    pub failed: bool,
    /// No schedd lists a running job on it any more: none can begin there.
    #[serde(default)]
    pub jobless: bool,
}

/// The state of a leftover, or a possible one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverState {
    pub cloud: CloudName,
    pub kind: LeftoverKind,
    /// The server it was made for: asked about until it is gone.
    pub server: Option<String>,
    /// It bears our mark.
    pub ours: bool,
    /// Since when it has been seen, at each look that could see it.
    pub since: TickInstant,
    /// When its removal was last decided.
    pub removed: Option<TickInstant>,
}

/// What is remembered of a builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderState {
    pub cloud: CloudName,
    /// It had no valid signature when it was found: it is not touched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsigned: bool,
    /// Since when it has been seen to be older than its lifetime.
    pub expired: Option<TickInstant>,
    /// A delete was decided.
    pub delete_intended: Option<TickInstant>,
    /// The cloud has accepted a delete.
    pub delete_accepted: Option<TickInstant>,
}

/// What is remembered of a kind of node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTypeState {
    #[serde(alias = "kind")]
    pub node_type: NodeType,
    /// How many of it have joined.
    pub joined: u64,
    /// A node of it has been seen to run a job, or a trace of one.
    #[serde(default)]
    pub ran_jobs: bool,
    /// What the last one to join really offered; none before, and once that is doubted.
    pub capacity: Option<Capacity>,
    /// When the last of those that showed it had joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_shown: Option<TickInstant>,
    /// Failures since the last one that joined.
    pub failures: u32,
    /// Of these, those that show that it is broken.
    #[serde(default)]
    pub faults: u32,
    /// When it last failed.
    #[serde(default)]
    pub failed_at: Option<TickInstant>,
    /// No new ones until then.
    pub backoff_until: Option<TickInstant>,
    /// What failed last.
    pub last_failure: Option<String>,
    /// Nothing more is made of it.
    #[serde(default)]
    pub protected: Option<Protected>,
}

/// A cloud that asked for a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Until when nothing is made in it.
    pub until: TickInstant,
    /// What it said.
    #[serde(rename = "cause", alias = "why")]
    pub why: String,
}

/// A group of jobs that did not take a free slot that it fits: more nodes would not help it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnclaimedGroup {
    #[serde(rename = "request")]
    pub asks: JobGroupKey,
    pub jobs: u64,
    /// Since when the longest waiting one has been idle.
    pub oldest: Timestamp,
    /// How long this is believed; then one node is tried, and it is believed again.
    pub until: TickInstant,
}

/// A node of an older image that was drained so that the configured one can show what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    pub node: NodeId,
    /// What is to take its place.
    #[serde(alias = "kind")]
    pub node_type: NodeType,
    /// When its drain was decided.
    pub at: TickInstant,
}

/// Whether the pool has had startds on unmanaged machines, which a young collector may still lack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmanagedMachines {
    /// None since this state is empty.
    #[default]
    NeverSeen,
    /// At least one.
    Seen,
    /// The state is older than this field, or what it said was lost.
    Unknown,
}

impl UnmanagedMachines {
    /// For a state file that does not say it.
    pub fn unknown() -> UnmanagedMachines {
        UnmanagedMachines::Unknown
    }
}

/// The image that a cloud is configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfiguredImage {
    /// As configured.
    pub image: String,
    /// Since when, as far as this state knows.
    pub since: TickInstant,
}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The id of the pool (`ehos.cluster`) whose tick saved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The watched clock.
    pub now: TickInstant,
    /// The same at the pass before this one.
    #[serde(default)]
    pub previous: TickInstant,
    /// When the last tick observed, by the machine's clock.
    pub last_tick: Option<Timestamp>,
    pub nodes: BTreeMap<NodeId, Shared<NodeState>>,
    /// Nodes of clouds that are not in the configuration any more, as they were when it was last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed_clouds: BTreeMap<CloudName, BTreeMap<NodeId, Shared<NodeState>>>,
    /// Builders, by the UUIDs of their servers.
    #[serde(default)]
    pub builders: BTreeMap<String, BuilderState>,
    /// Nodes that are gone, and builders.
    pub departed: BTreeMap<NodeId, Tombstone>,
    /// Leftovers, by id.
    #[serde(default)]
    pub leftovers: BTreeMap<String, LeftoverState>,
    /// Kinds of node.
    pub node_types: Vec<NodeTypeState>,
    /// In each cloud whose image has not proven itself, the one node that was given up for it.
    #[serde(default)]
    pub replacements: BTreeMap<CloudName, Replacement>,
    /// The image of each cloud, and since when.
    #[serde(default)]
    pub images: BTreeMap<CloudName, ConfiguredImage>,
    /// Zones without room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneState>,
    /// Clouds whose servers this state has seen.
    pub clouds: BTreeSet<CloudName>,
    /// Clouds that asked for a pause.
    pub pauses: BTreeMap<CloudName, Pause>,
    /// The pause of all clouds that an operator has requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<OperatorPause>,
    /// The same of single clouds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused_clouds: BTreeMap<CloudName, OperatorPause>,
    /// Since when each schedd that does not answer has not.
    pub unknown_schedds: BTreeMap<String, TickInstant>,
    /// The newest clusters that were idle on each schedd.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, ClusterMarks>,
    /// Since when the nodes_vanished brake is on.
    #[serde(
        default,
        rename = "nodes_silent",
        skip_serializing_if = "Option::is_none"
    )]
    pub vanished: Option<TickInstant>,
    /// The actions of the last minute.
    #[serde(default, skip_serializing_if = "RecentActions::is_empty")]
    pub recent: RecentActions,
    /// Whether a machine that ehos does not manage was ever in the pool.
    #[serde(default = "UnmanagedMachines::unknown")]
    pub unmanaged: UnmanagedMachines,
    /// Groups that more nodes would not help.
    #[serde(rename = "unclaimed_groups")]
    pub refusals: Vec<UnclaimedGroup>,
    /// Nodes that were adopted until then are this pool's: one of them was seen in its collector, or an operator
    /// said so.
    pub adopted_trusted: Option<TickInstant>,
    /// The seed of `random`.
    pub turn: u64,
    /// What `round-robin` owes each cloud, in parts of a turn.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<CloudName, i64>,
    /// What nodes have cost.
    #[serde(default)]
    pub spending: Spending,
    /// What is only counted.
    #[serde(default)]
    pub totals: Totals,
}

/// What came of one action.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was asked.
    pub action: Action,
    /// What came of it.
    pub result: Result<Done, Failure>,
}

impl State {
    /// Clouds that are not in the configuration any more, in which something ran when they last were.
    pub fn removed(&self, configured: impl Fn(&str) -> bool) -> BTreeSet<CloudName> {
        let builders = self.builders.values().map(|builder| &builder.cloud);
        let clouds = builders.chain(self.removed_clouds.keys());
        clouds
            .filter(|cloud| !configured(cloud))
            .cloned()
            .into_set()
    }

    /// Forgets what ran in a cloud that is not in the configuration any more; how many servers that were.
    pub fn forget_removed(&mut self, cloud: &str) -> usize {
        let nodes = self.removed_clouds.remove(cloud).unwrap_or_default();
        let builders = self.builders.len();
        self.builders.retain(|_, builder| builder.cloud != cloud);
        nodes.len() + builders - self.builders.len()
    }

    /// The state at the time `at` of a new observation: the watched clock moved on.
    pub fn at(&self, at: Timestamp) -> State {
        let mut next = self.clone();
        let step = match self.last_tick {
            Some(last) => Duration::try_from(at.duration_since(last)).unwrap_or(Duration::ZERO),
            None => Duration::ZERO,
        };
        next.previous = self.now;
        next.now = self.now.plus(step.min(MAX_STEP));
        next.last_tick = Some(at);
        next
    }

    /// All that have been adopted so far, and by the next tick, are this pool's: an operator says so.
    pub fn trust_adopted(&mut self) {
        let adopted = self.nodes.values().filter(|memory| memory.adopted);
        // Of a state that is older than its nodes the clock is, too.
        let last = adopted.map(|memory| memory.started).max();
        self.adopted_trusted = last.max(Some(self.now.plus(MAX_STEP)));
    }

    /// An operator says that this server is of this pool, though its signature is not valid. Whether the state knows it.
    pub fn trust_server(&mut self, server: &str) -> bool {
        let mut known = false;
        if let Some(memory) = self.builders.get_mut(server) {
            memory.unsigned = false;
            known = true;
        }
        let is_it = |memory: &&mut Shared<NodeState>| memory.server_id.as_deref() == Some(server);
        if let Some(memory) = self.nodes.values_mut().find(is_it) {
            memory.unsigned = None;
            self.adopted_trusted = self.adopted_trusted.max(Some(memory.started));
            known = true;
        }
        known
    }

    /// For how long this state has watched the site, since it was empty.
    pub fn age(&self) -> Duration {
        self.now.since(TickInstant::default())
    }

    /// The memory of a kind, made when there is none.
    pub fn node_type_mut(&mut self, node_type: &NodeType) -> &mut NodeTypeState {
        let position = match self
            .node_types
            .iter()
            .position(|memory| memory.node_type == *node_type)
        {
            Some(position) => position,
            None => {
                self.node_types.push(NodeTypeState::new(node_type.clone()));
                self.node_types.len() - 1
            }
        };
        #[allow(clippy::indexing_slicing)]
        // The position was found, or is that of the one just pushed.
        &mut self.node_types[position]
    }

    /// The memory of a kind.
    pub fn node_type(&self, node_type: &NodeType) -> Option<&NodeTypeState> {
        self.node_types
            .iter()
            .find(|memory| memory.node_type == *node_type)
    }

    /// Whether a node of this kind has joined and run a job, and none has failed since.
    pub fn proven(&self, node_type: &NodeType) -> bool {
        self.node_type(node_type)
            .is_some_and(|memory| memory.ran_jobs && memory.failures == 0)
    }

    /// Whether a node of this kind has failed, and none has joined since.
    pub fn has_failed(&self, node_type: &NodeType) -> bool {
        self.node_type(node_type)
            .is_some_and(|memory| memory.failures > 0)
    }

    /// Remembers a new intent as a node.
    pub fn record_intent(&mut self, intent: &Intent) {
        let now = self.now;
        let mut memory = NodeState::new(NodeType::asked(intent), &intent.name, intent.at, now);
        memory.zone.clone_from(&intent.zone);
        memory.unanswered = true;
        self.nodes.insert(intent.node.clone(), memory.into());
    }

    /// Forgets a node whose server is gone, and remembers that its ads mean nothing any more.
    pub fn bury(&mut self, node: &NodeId) {
        let now = self.now;
        if let Some(memory) = self.nodes.remove(node) {
            // Its leftovers do not belong to the pool.
            if memory.unsigned.is_some() {
                return;
            }
            // Of one that was deleted without a claim no schedd need be asked.
            let jobless = memory.delete.intended.is_some()
                && !memory.claims.claimed
                && !memory.silence.job_listed;
            let departed = Tombstone {
                jobless,
                server_id: memory.server_id.clone(),
                machine: memory.join.machine.clone(),
                at: now,
                invalidated: false,
                cloud: memory.node_type.cloud.clone(),
                volumes: memory.volumes.clone(),
                searched: false,
                failed: memory.failed,
            };
            self.departed.insert(node.clone(), departed);
        }
    }

    /// Forgets a builder whose server is gone.
    pub fn depart_builder(&mut self, server_id: &str) {
        let now = self.now;
        if let Some(memory) = self.builders.remove(server_id) {
            if memory.unsigned {
                return;
            }
            let departed = Tombstone {
                jobless: true,
                server_id: Some(server_id.to_owned()),
                machine: None,
                at: now,
                invalidated: false,
                cloud: memory.cloud,
                volumes: Vec::new(),
                searched: false,
                failed: false,
            };
            self.departed.insert(NodeId(server_id.into()), departed);
        }
    }

    /// What `cloud` is to be asked about: servers of which something was found, then those that have not been asked about
    /// yet, then those that went last.
    pub fn traces(&self, cloud: &str) -> LeftoverQuery {
        let found = self.leftovers.values();
        let found = found.filter(|memory| memory.cloud == *cloud && memory.ours);
        let mut servers: BTreeSet<String> = found
            .filter_map(|memory| memory.server.clone())
            .take(MAX_SERVERS)
            .into_set();
        let departed = self.departed.values();
        let mut departed: Vec<(&Tombstone, &String)> = departed
            .filter(|gone| gone.cloud == *cloud)
            .filter_map(|gone| Some((gone, gone.server_id.as_ref()?)))
            .collect();
        sorting::by_key(&mut departed, |(gone, id)| {
            (gone.searched, Reverse(gone.at), *id)
        });
        for (_, id) in &departed {
            if servers.len() >= MAX_SERVERS {
                break;
            }
            servers.insert((*id).clone());
        }
        let volumes = departed.iter().flat_map(|(gone, _)| &gone.volumes);
        let node_types = self.node_types.iter().filter(|memory| memory.joined > 0);
        let node_types = node_types.filter(|memory| memory.node_type.cloud == *cloud);
        LeftoverQuery {
            joined_images: node_types
                .map(|memory| memory.node_type.image.clone())
                .into_set(),
            volumes: volumes
                .map(|volume| (volume.id.clone(), volume.goes))
                .into_map(),
            servers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn an_operator_trusts_all_that_were_adopted_so_far() {
        let mut state = State::default().at(at(0));
        let node_type = NodeType {
            cloud: "a".into(),
            flavor: "f".into(),
            image: "i".into(),
        };
        // Nodes of a later state than the rest of it: a file that was put together by hand.
        let later = state.now.plus(Duration::from_secs(7200));
        let mut memory = NodeState::new(node_type, "n", at(0), later);
        memory.adopted = true;
        state.nodes.insert(NodeId("n".into()), memory.into());
        state.trust_adopted();
        assert!(state.adopted_trusted >= Some(later));
    }

    #[test]
    fn the_watched_clock_neither_jumps_nor_goes_back() {
        let state = State::default().at(at(0));
        let minute = state.at(at(60));
        assert_eq!(minute.now.since(state.now), Duration::from_secs(60));
        assert_eq!(
            minute.at(at(-7200)).now,
            minute.now,
            "a clock set back adds nothing"
        );
        assert_eq!(
            minute.at(at(86_400)).now.since(minute.now),
            MAX_STEP,
            "a night adds five minutes"
        );
    }
}
