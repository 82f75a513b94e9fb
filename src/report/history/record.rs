//! The record of a tick: one line of the history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use scaling::sorting::IntoMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Previous, PreviousNode};
use crate::names::{Named, ReasonName};
use crate::tick_report::{
    ActionReport, JobGroupReport, NodeReport, Queue, ReasonReport, TickReport, exists,
};
use scaling::figures::{CoreFigures, by_owner};
use scaling::money::Money;
use scaling::names::PhaseName;
use scaling::observation::{CloudName, Resources};
use scaling::plan::{NodeDecision, UnknownSource};
use scaling::sorting;
use scaling::source::SourceKind;

/// The version of the JSON layout: raised when a field changes its meaning or is removed.
pub const VERSION: u32 = 2;

/// Groups of waiting jobs that a line names, those that wait longest; the rest is in the counts.
const GROUPS: usize = 10;

/// Notices that a line repeats.
const NOTICES: usize = 10;

/// One tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Of this layout.
    pub version: u32,
    /// When it looked.
    pub at: Timestamp,
    /// The exit code.
    pub exit: u8,
    /// How long it took.
    pub milliseconds: u64,
    /// How long each source took.
    pub source_milliseconds: BTreeMap<String, u64>,
    /// The jobs; none when no schedd answered.
    pub queue: Option<Queue>,
    /// What the waiting ones ask for, all together.
    pub demand: Resources,
    /// Cores that are paid for, and used.
    pub cores: CoreFigures,
    /// Claimed cores of nodes by owner.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, u64>,
    /// Whether the collector answered: else `cores` shows nothing of what is used.
    pub collector: bool,
    /// Nodes by phase, before this tick did anything.
    pub nodes: BTreeMap<Named<PhaseName>, u64>,
    /// The same by cloud.
    pub clouds: BTreeMap<CloudName, CloudCounts>,
    /// What nodes cost; none without any price.
    pub cost: Option<CostCounts>,
    /// How many waiting jobs each limit kept nodes from, by its name.
    pub limits: BTreeMap<String, u64>,
    /// What did not answer or is not there.
    #[serde(alias = "unseen")]
    pub unknown_sources: Vec<UnknownSource>,
    /// What stopped deletes, by name, with the sentence.
    pub brakes: BTreeMap<String, String>,
    /// Pauses that operators have requested, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<String>,
    /// Nodes that operators keep, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// Why this ehos changed nothing, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<String>,
    /// Kinds of node in protected mode, in sentences.
    pub protected: Vec<String>,
    /// Budgets that are spent, in sentences.
    pub budgets_spent: Vec<String>,
    /// Jobs that run on no machine, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stranded: Option<String>,
    /// What an operator should know.
    pub notices: Vec<String>,
    /// Groups of waiting jobs, those that wait longest.
    #[serde(rename = "job_groups", alias = "groups")]
    pub groups: Vec<GroupCounts>,
    /// Nodes to which something happened, or that are not what they were.
    pub events: Vec<Event>,
    /// What was done.
    pub actions: Vec<ActionReport>,
}

/// What there is in one cloud.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudCounts {
    /// It answered.
    pub answers: bool,
    /// Nodes by phase.
    pub nodes: BTreeMap<Named<PhaseName>, u64>,
    /// Cores of its servers.
    pub paid_cores: u64,
    pub claimed_cores: u64,
    /// What exists in it, an hour; none without any price.
    pub per_hour: Option<Money>,
}

/// What nodes cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostCounts {
    /// All that exists, an hour, with what this tick makes.
    pub per_hour: Money,
    /// Of the calendar month.
    pub spent_this_month: Money,
}

/// One group of waiting jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupCounts {
    /// What each job asks for, in words.
    pub request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// How many wait.
    pub jobs: u64,
    /// For how long the longest waiting one has.
    pub waiting_seconds: u64,
    /// Where they go, or why they do not, in a word each.
    pub reasons: Vec<Named<ReasonName>>,
    /// The same in sentences.
    pub text: String,
}

impl From<&JobGroupReport> for GroupCounts {
    fn from(group: &JobGroupReport) -> GroupCounts {
        let texts: Vec<&str> = group.why.iter().map(|why| why.text.as_str()).collect();
        GroupCounts {
            request: group.request.to_string(),
            example: group.example.clone(),
            jobs: group.jobs,
            waiting_seconds: group.waiting_seconds,
            reasons: group.why.iter().map(|why| why.reason.clone()).collect(),
            text: texts.join("; "),
        }
    }
}

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub node: String,
    /// Its server's name.
    pub name: String,
    /// Its server's UUID, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// `Machine` of its startd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    pub cloud: String,
    pub flavor: String,
    /// What it boots from.
    #[serde(default)]
    pub image: String,
    /// Its cores, where these are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u64>,
    /// Memory of its startd in MiB, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// What it costs an hour, where its flavor has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<Money>,
    /// Where it was in its life at the last tick; none when it was not known then.
    #[serde(
        default,
        rename = "previous_phase",
        alias = "was",
        skip_serializing_if = "Option::is_none"
    )]
    pub was: Option<Named<PhaseName>>,
    /// Where it is now.
    pub phase: Named<PhaseName>,
    /// What this tick did to it.
    #[serde(alias = "fate")]
    pub decision: Named<NodeDecision>,
    /// Why, by name.
    pub reason: Named<ReasonName>,
    /// Why, in a sentence.
    pub text: String,
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl Event {
    /// Whether this is its id, its server's name or UUID, or its host name.
    pub fn is_called(&self, name: &str) -> bool {
        self.node == name
            || self.name == name
            || self.server.as_deref() == Some(name)
            || self.machine.as_deref() == Some(name)
    }

    fn new(node: &NodeReport, was: Option<&Named<PhaseName>>) -> Event {
        let ReasonReport {
            reason,
            mut numbers,
            ..
        } = node.why.clone();
        // The reasons of a drain for another image name it again, and a key that is there twice cannot be read.
        for name in ["image", "vcpus", "memory_mb"] {
            numbers.remove(name);
        }
        let startd = node.startd.as_ref();
        let memory_mb = startd.map(|startd| startd.memory_mb);
        Event {
            node: node.node.clone(),
            name: node.name.clone(),
            server: node.server.id.clone(),
            machine: startd.map(|startd| startd.machine.clone()),
            cloud: node.cloud.clone(),
            flavor: node.flavor.clone(),
            image: node.server.image.to_string(),
            vcpus: node.server.vcpus,
            memory_mb: memory_mb.filter(|memory| *memory > 0),
            per_hour: node.server.per_hour,
            was: was.cloned(),
            phase: node.phase.clone(),
            decision: node.decision.clone(),
            reason,
            text: node.words(),
            numbers,
        }
    }
}

impl Record {
    /// What a tick adds to the history, after the last one that is known.
    pub fn of(now: &TickReport, before: Option<&Previous>) -> Record {
        let mut nodes: BTreeMap<Named<PhaseName>, u64> = BTreeMap::new();
        let mut clouds: BTreeMap<CloudName, CloudCounts> = BTreeMap::new();
        for cloud in &now.clouds {
            let counts = clouds.entry(cloud.cloud.clone()).or_default();
            counts.answers = cloud.answers;
        }
        for node in now
            .nodes
            .iter()
            .filter(|node| !node.phase.is(PhaseName::New))
        {
            *nodes.entry(node.phase.clone()).or_default() += 1;
            let counts = clouds.entry(node.cloud.clone()).or_default();
            *counts.nodes.entry(node.phase.clone()).or_default() += 1;
            if exists(&node.phase) {
                counts.paid_cores += node.server.vcpus.unwrap_or_default();
                let startd = node.startd.as_ref();
                counts.claimed_cores += startd.map_or(0, |startd| startd.claimed_cpus);
            }
        }
        for cost in now.cost.iter().flat_map(|cost| &cost.clouds) {
            let counts = clouds.entry(cost.cloud.clone()).or_default();
            counts.per_hour = Some(cost.per_hour);
        }
        let mut waiting: Vec<&JobGroupReport> = now.groups.iter().collect();
        sorting::by_key(&mut waiting, |group| {
            std::cmp::Reverse(group.waiting_seconds)
        });
        Record {
            version: VERSION,
            at: now.at,
            exit: now.exit,
            milliseconds: now.milliseconds,
            source_milliseconds: now.source_milliseconds.clone(),
            queue: (now.queue.schedds > 0).then_some(now.queue),
            demand: now.demand,
            cores: now.cores,
            owners: owners(now),
            collector: now.knows(SourceKind::Collector),
            nodes,
            clouds,
            cost: now.cost.as_ref().map(|cost| CostCounts {
                per_hour: cost.per_hour,
                spent_this_month: cost.spent_this_month,
            }),
            limits: limits(now),
            unknown_sources: now.unknown_sources.clone(),
            brakes: now
                .brakes
                .iter()
                .map(|brake| (brake.brake.to_string(), brake.text.clone()))
                .into_map(),
            pauses: now.pauses.iter().map(|one| one.text.clone()).collect(),
            kept: now.kept.as_ref().map(|kept| kept.text.clone()),
            protected: now.protected.iter().map(|one| one.text.clone()).collect(),
            budgets_spent: now
                .budgets_spent
                .iter()
                .map(|one| one.text.clone())
                .collect(),
            standby: now.standby.as_ref().map(|one| one.text.clone()),
            stranded: now.stranded.as_ref().map(|one| one.text.clone()),
            notices: now.notices.iter().take(NOTICES).cloned().collect(),
            groups: waiting
                .into_iter()
                .take(GROUPS)
                .map(GroupCounts::from)
                .collect(),
            events: events(now, before),
            actions: now.actions.clone(),
        }
    }
}

/// Claimed cores of nodes that exist, by owner.
pub fn owners(now: &TickReport) -> BTreeMap<String, u64> {
    let nodes = now.nodes.iter().filter(|node| exists(&node.phase));
    let startds = nodes.filter_map(|node| node.startd.as_ref());
    by_owner(startds.flat_map(|startd| &startd.owners))
}

/// How many jobs each limit kept nodes from, by its name.
pub fn limits(now: &TickReport) -> BTreeMap<String, u64> {
    let mut limits = BTreeMap::new();
    let reasons = now.groups.iter().flat_map(|group| &group.why);
    for why in reasons.filter(|why| why.reason.is(ReasonName::Limited)) {
        let name = why.limit().unwrap_or("unknown");
        *limits.entry(name.to_owned()).or_default() += why.jobs();
    }
    limits
}

/// Nodes to which something happened, and those that are not what they were at the last tick.
fn events(now: &TickReport, before: Option<&Previous>) -> Vec<Event> {
    let known: BTreeMap<&str, &PreviousNode> = before
        .iter()
        .flat_map(|before| &before.nodes)
        .map(|node| (node.node.as_str(), node))
        .into_map();
    let happened = |node: &NodeReport| {
        let was = known.get(node.node.as_str()).copied();
        // A node that waits for its delete says so once.
        let same = was.is_some_and(|was| {
            was.phase == node.phase
                && was.decision == node.decision
                && was.reason == node.why.reason
        });
        let changed =
            was.is_none_or(|was| was.phase != node.phase || was.requests != node.requests);
        let touched = !node.decision.is(NodeDecision::Keep) && !same;
        (changed || touched).then(|| Event::new(node, was.map(|was| &was.phase)))
    };
    now.nodes.iter().filter_map(happened).collect()
}
