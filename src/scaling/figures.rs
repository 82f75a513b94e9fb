//! Figures of each node, each cloud and the whole pool. For reports only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::money::Money;
use super::node::Node;
use super::observation::{CloudName, Observation, Observed, StartdView, Usage};
use super::plan::NodeEntry;
use super::policy::{CloudPolicy, Policy};
use super::shared_text::SharedText;
use super::state::{NodeType, State};
use crate::sorting;

/// The server of a node, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFigures {
    /// The UUID, once Nova has answered the create.
    pub id: Option<String>,
    /// What it boots from, as configured.
    pub image: SharedText,
    /// How long ago it was made, by its cloud's clock.
    pub age_seconds: Option<u64>,
    /// Cores of its flavor, where its cloud answers.
    pub vcpus: Option<u64>,
    /// What it costs an hour, where its flavor has a price.
    pub per_hour: Option<Money>,
}

/// The startd of a node, when the collector has an ad of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartdFigures {
    /// `Machine`: its host name.
    pub machine: String,
    /// Claimed slots.
    pub claims: u64,
    /// Cores of all its slots.
    pub cpus: u64,
    pub claimed_cpus: u64,
    /// Memory of all its slots, in MiB.
    pub memory_mb: u64,
    pub claimed_memory_mb: u64,
    /// GPUs of all its slots.
    pub gpus: u64,
    pub claimed_gpus: u64,
    /// Claimed cores by the user of the jobs, of the [`OWNERS`] with most cores, and of all [`OTHERS`] together. Cores of claims
    /// whose user is unknown are in none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, u64>,
}

/// The name for all further owners.
pub const OTHERS: &str = "(others)";

/// Owners that a report names.
pub const OWNERS: usize = 20;

/// The cores of all, by owner: those of most by name. The one place at which names of owners enter a report.
pub fn by_owner<'a>(all: impl IntoIterator<Item = (&'a String, &'a u64)>) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (owner, cores) in all {
        let sum = sums.entry(owner).or_default();
        *sum = sum.saturating_add(*cores);
    }
    let mut sums: Vec<(&str, u64)> = sums.into_iter().filter(|(_, cores)| *cores > 0).collect();
    // Stable: of equals the first by name.
    sorting::by_key(&mut sums, |(owner, cores)| {
        (*owner == OTHERS, std::cmp::Reverse(*cores))
    });
    let mut named = BTreeMap::new();
    for (number, (owner, cores)) in sums.into_iter().enumerate() {
        let owner = if number < OWNERS { owner } else { OTHERS };
        let sum: &mut u64 = named.entry(owner.to_owned()).or_default();
        *sum = sum.saturating_add(cores);
    }
    named
}

impl StartdFigures {
    fn of(startd: &StartdView) -> StartdFigures {
        let (total, free) = (startd.total(), startd.free());
        StartdFigures {
            machine: startd.machine.clone(),
            claims: startd.claims(),
            cpus: total.cpus,
            claimed_cpus: total.cpus.saturating_sub(free.cpus),
            memory_mb: total.memory_mb,
            claimed_memory_mb: total.memory_mb.saturating_sub(free.memory_mb),
            gpus: total.gpus,
            claimed_gpus: total.gpus.saturating_sub(free.gpus),
            owners: match startd.slots.iter().all(|slot| slot.owners.is_empty()) {
                true => BTreeMap::new(),
                false => by_owner(startd.slots.iter().flat_map(|slot| &slot.owners)),
            },
        }
    }
}

/// Cores: what is paid for, and what is used of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoreFigures {
    /// Of all servers of nodes that exist, taking jobs or not.
    pub paid: u64,
    /// Of nodes that are in the pool.
    pub joined: u64,
    /// Of these, the ones that are claimed.
    pub claimed: u64,
    /// Of nodes that take jobs, those that are free.
    pub free: u64,
    /// Of machines in the pool that are not ehos's.
    #[serde(rename = "unmanaged", alias = "others")]
    pub others: u64,
    /// Of these, the ones that are claimed.
    #[serde(rename = "unmanaged_claimed", alias = "others_claimed")]
    pub others_claimed: u64,
}

/// A limit of a project and what is used of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageFigures {
    /// Used by the whole project, others too.
    pub used: u64,
    /// None: unlimited.
    pub limit: Option<u64>,
}

impl From<Usage> for UsageFigures {
    fn from(Usage { limit, used }: Usage) -> UsageFigures {
        UsageFigures { used, limit }
    }
}

/// The quota of a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaFigures {
    /// Servers.
    pub instances: UsageFigures,
    pub cores: UsageFigures,
    /// Memory in MiB.
    pub ram_mb: UsageFigures,
}

/// What may be spent, as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetFigures {
    /// By all that run at once, an hour.
    pub per_hour: Option<Money>,
    /// In a calendar month.
    pub per_month: Option<Money>,
}

impl From<Budget> for BudgetFigures {
    fn from(
        Budget {
            per_hour,
            per_month,
        }: Budget,
    ) -> BudgetFigures {
        BudgetFigures {
            per_hour,
            per_month,
        }
    }
}

/// What the configuration says that holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyFigures {
    /// The pool's id.
    pub cluster: String,
    /// Never fewer nodes than this.
    pub nodes_min: u64,
    /// Never more.
    pub nodes_max: u64,
    /// Never more cores of nodes; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_max: Option<u64>,
    /// Idle nodes beyond what the queue needs: a number, or a share (`10%`).
    pub nodes_spare: String,
    /// What may be spent.
    pub budget: BudgetFigures,
}

impl PolicyFigures {
    /// Of the policy that is in force.
    pub(super) fn of(policy: &Policy) -> PolicyFigures {
        PolicyFigures {
            cluster: policy.cluster.clone(),
            nodes_min: policy.nodes_min,
            nodes_max: policy.nodes_max,
            cores_max: policy.cores_max,
            nodes_spare: policy.nodes_spare.to_string(),
            budget: policy.budget.into(),
        }
    }
}

/// A pause that a cloud has asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PauseFigures {
    /// For how long yet.
    pub seconds: u64,
    /// What it said.
    #[serde(rename = "cause", alias = "why")]
    pub why: String,
}

/// One cloud of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudFigures {
    pub cloud: CloudName,
    /// It answered.
    pub answers: bool,
    /// What new nodes of it boot from, as configured.
    pub image: String,
    /// Servers of nodes that exist in it, as far as it is known.
    pub nodes: u64,
    /// Its own `nodes_max`.
    pub nodes_max: Option<u64>,
    /// Its own `cores_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_max: Option<u64>,
    /// The project's limits, where it answered.
    pub quota: Option<QuotaFigures>,
    /// What may be spent in it.
    pub budget: BudgetFigures,
    /// Nothing is made in it for a while.
    pub pause: Option<PauseFigures>,
    /// It is to be removed from the configuration (`retire`).
    pub retire: bool,
}

/// A kind of node of which no more is made for a while, after failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackoffFigures {
    pub cloud: CloudName,
    pub flavor: String,
    pub image: String,
    /// For how long yet.
    pub seconds: u64,
    /// Failures since the last success.
    pub failures: u32,
    pub last_failure: String,
}

/// What is known of each server of a node type.
pub(super) struct TypeFigures {
    pub(super) cloud: SharedText,
    pub(super) flavor: SharedText,
    image: SharedText,
    vcpus: Option<u64>,
    per_hour: Option<Money>,
    /// Cores that one of them has offered.
    offered: Option<u64>,
}

impl TypeFigures {
    pub(super) fn new(
        observation: &Observation,
        policy: &Policy,
        state: &State,
        node_type: &NodeType,
    ) -> TypeFigures {
        let cloud = policy.cloud(&node_type.cloud);
        let capacity = state
            .node_type(node_type)
            .and_then(|memory| memory.capacity.as_ref());
        TypeFigures {
            cloud: node_type.cloud.as_str().into(),
            flavor: node_type.flavor.as_str().into(),
            image: node_type.image.as_str().into(),
            vcpus: vcpus(observation, cloud, &node_type.flavor),
            per_hour: cloud.and_then(|cloud| cloud.price(&node_type.flavor)),
            offered: capacity.map(|capacity| capacity.total().cpus),
        }
    }

    /// What is known of a server that was not listed yet.
    pub(super) fn new_server(&self) -> ServerFigures {
        ServerFigures {
            id: None,
            image: self.image.clone(),
            age_seconds: None,
            vcpus: self.vcpus,
            per_hour: self.per_hour,
        }
    }

    /// What is known of the server of a node.
    pub(super) fn server_of(&self, node: &Node<'_>, state: &State) -> ServerFigures {
        let listed = node.server.map(|server| server.record());
        // Of a cloud that does not answer, and of a flavor that the configuration does not name any more, the startd knows,
        // or what one of its kind has offered.
        let startd = || node.startd.map(|startd| startd.total().cpus);
        ServerFigures {
            id: listed
                .map(|record| record.id.clone())
                .or_else(|| state.nodes.get(&node.id)?.server_id.clone()),
            age_seconds: listed.map(|record| record.age.as_secs()),
            vcpus: self.vcpus.or_else(startd).or(self.offered),
            ..self.new_server()
        }
    }
}

/// Cores of a startd, and those of them that are claimed.
fn cpus(startd: &StartdView) -> (u64, u64) {
    let (total, free) = (startd.total().cpus, startd.free().cpus);
    (total, total.saturating_sub(free))
}

/// Cores of a flavor, where its cloud answers.
fn vcpus(observation: &Observation, cloud: Option<&CloudPolicy>, flavor: &str) -> Option<u64> {
    let view = cloud.and_then(|cloud| observation.clouds.get(&cloud.name));
    let flavors = view.and_then(Observed::known).map(|view| &view.flavors);
    let flavor = flavors.and_then(|flavors| flavors.get(flavor));
    flavor.map(|flavor| flavor.vcpus)
}

/// The same of its startd.
pub(super) fn startd_of(node: &Node<'_>) -> Option<StartdFigures> {
    node.startd.map(StartdFigures::of)
}

/// Cores of the whole pool, before this tick does anything: of nodes that exist, with whether they take jobs or will, and of
/// other machines.
pub(super) fn cores<'n>(
    nodes: impl Iterator<Item = (&'n NodeEntry, bool)>,
    others: &[&StartdView],
) -> CoreFigures {
    let mut sum = CoreFigures::default();
    for (NodeEntry { server, startd, .. }, alive) in nodes {
        sum.paid += server.vcpus.unwrap_or_default();
        let Some(startd) = startd else { continue };
        sum.joined += startd.cpus;
        sum.claimed += startd.claimed_cpus;
        if alive {
            sum.free += startd.cpus - startd.claimed_cpus;
        }
    }
    for startd in others {
        let (cpus, claimed) = cpus(startd);
        sum.others += cpus;
        sum.others_claimed += claimed;
    }
    sum
}

/// Every cloud of the configuration, in its order; `types` with the numbers of their nodes that exist.
pub(super) fn clouds<'t>(
    observation: &Observation,
    policy: &Policy,
    state: &State,
    types: impl Iterator<Item = (&'t NodeType, u64)> + Clone,
    uncounted: &BTreeMap<CloudName, u64>,
) -> Vec<CloudFigures> {
    let of = |cloud: &CloudPolicy| {
        let here = types
            .clone()
            .filter(|(node_type, _)| node_type.cloud == cloud.name);
        let count: u64 = here.map(|(_, nodes)| nodes).sum();
        let view = observation
            .clouds
            .get(&cloud.name)
            .and_then(Observed::known);
        let pause = state.pauses.get(&cloud.name);
        let pause = pause.filter(|pause| pause.until > state.now);
        CloudFigures {
            cloud: cloud.name.clone(),
            answers: view.is_some(),
            image: cloud.image.clone(),
            nodes: count + uncounted.get(&cloud.name).unwrap_or(&0),
            nodes_max: cloud.nodes_max,
            cores_max: cloud.cores_max,
            quota: view.map(|view| QuotaFigures {
                instances: view.quota.instances.into(),
                cores: view.quota.cores.into(),
                ram_mb: view.quota.ram_mb.into(),
            }),
            budget: cloud.budget.into(),
            pause: pause.map(|pause| PauseFigures {
                seconds: pause.until.since(state.now).as_secs(),
                why: pause.why.clone(),
            }),
            retire: cloud.retire,
        }
    };
    policy.clouds.iter().map(of).collect()
}

/// The configured kinds of which no more is made for a while.
pub(super) fn backoffs(policy: &Policy, state: &State) -> Vec<BackoffFigures> {
    let node_types = state.node_types.iter().filter_map(|memory| {
        let until = memory.backoff_until.filter(|until| *until > state.now)?;
        let node_type = &memory.node_type;
        node_type.is_configured(policy).then(|| BackoffFigures {
            cloud: node_type.cloud.clone(),
            flavor: node_type.flavor.clone(),
            image: node_type.image.clone(),
            seconds: until.since(state.now).as_secs(),
            failures: memory.failures,
            last_failure: memory.last_failure.clone().unwrap_or_default(),
        })
    });
    node_types.collect()
}
