//! The part of the configuration that decides. It holds no credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

pub use super::allocation::Allocation;
use super::budget::Budget;
use super::money::Money;
use super::observation::{CloudName, NodeId, OwnedServer};
use super::schedule::{Spare, Window};
use super::submitter::SubmitterLimits;

/// How nodes that nobody needs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleDown {
    /// Ehos drains them.
    #[default]
    Drain,
    /// They end by themselves: ehos has no right to drain.
    Node,
}

/// All that decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The pool's id (`ehos_cluster` of every server).
    pub cluster: String,
    /// The central manager that nodes are told to join (`condor.host_ip`).
    pub condor_host: Option<String>,
    /// What server names begin with (`project_prefix`).
    pub prefix: String,
    /// Never fewer nodes than this.
    pub nodes_min: u64,
    /// Never more servers than this.
    pub nodes_max: u64,
    /// Idle nodes kept beyond what the queue needs.
    pub nodes_spare: Spare,
    /// Creates and deletes in a minute, at most.
    pub max_actions: u64,
    /// How the next cloud is chosen.
    pub allocation: Allocation,
    /// What a core of a flavor without a price costs an hour.
    pub core_price: Option<f64>,
    /// What each node costs an hour beside its price.
    pub node_cost: Option<f64>,
    /// How much longer a node is kept, as a share, with each doubling of the jobs on it: the longest of them holds it up.
    pub hold_up: f64,
    /// How surplus nodes go.
    pub scale_down: ScaleDown,
    /// The clouds, in the order of the configuration.
    pub clouds: Vec<CloudPolicy>,
    /// A surplus node drains when it has been idle for this long.
    pub idle_timeout: Duration,
    /// A server that has not joined by then has failed.
    pub boot_timeout: Duration,
    /// A node that has been silent for this long, with no job on it, is lost.
    pub lost_timeout: Duration,
    /// A silent node that a schedd still lists a job on is lost after this: longer than the job's lease.
    pub lost_job_timeout: Duration,
    /// How long a create without an answer counts as coming capacity.
    pub intent_grace: Duration,
    /// The longest time that one request to a cloud takes (`request_timeout`).
    pub request_timeout: Duration,
    /// A collector younger than this has not heard from all startds yet.
    pub collector_grace: Duration,
    /// A schedd that is unknown for longer than this no longer keeps idle nodes up.
    pub unknown_grace: Duration,
    /// A delete that is not done after this is asked again.
    pub delete_timeout: Duration,
    /// What can be matched is matched within this: one negotiation interval and what a cycle takes.
    pub negotiation_cycle: Duration,
    /// How often a startd is heard that does not say (`UPDATE_INTERVAL` of HTCondor).
    pub update_interval: Duration,
    /// Servers of one (cloud, flavor, image) that have not joined, until one of them has.
    pub max_unproven: u64,
    /// After so many failures in a row with no success nothing more is made of a (cloud, flavor, image) until an operator
    /// says so or one of it joins.
    pub protect_after: u64,
    /// Failures are forgotten when the last one is older than this.
    pub failure_memory: Duration,
    /// Back-off after a failure: the first …
    pub backoff_first: Duration,
    /// … and, doubling, the longest.
    pub backoff_longest: Duration,
    /// When more than this share of the nodes, and more than `vanish_count`, fall silent, deletes stop.
    pub vanish_share: f64,
    /// See `vanish_share`.
    pub vanish_count: u64,
    /// How long a group buys no more nodes after one that was made for it took none of its jobs.
    pub refusal_memory: Duration,
    /// Floating IPs are taken off nodes, and those that are unused and that nothing marks are told of.
    pub purge_floating_ips: bool,
    /// A node takes no new demand, and is drained when it is idle, this long before its token ends.
    pub token_margin: Duration,
    /// Hours of the week in which other numbers count; the first one that holds does.
    pub schedules: Vec<Window>,
    /// The time zone of months.
    pub time_zone: TimeZone,
    /// What all clouds together may cost.
    pub budget: Budget,
    /// Limits on the nodes for the jobs of one user or accounting group.
    pub submitter_limits: SubmitterLimits,
    /// A node that is older is replaced when it is idle.
    pub max_lifetime: Option<Duration>,
    /// A node that is older by so much more is deleted with its jobs; `None`: never.
    pub max_lifetime_kill: Option<Duration>,
    /// An operator says, for this tick, that nodes which are not heard of are gone.
    pub trust_silence: bool,
    /// How soon after this one another pass can be had (`ehos tick --look-again`); `None`: with the timer's minute.
    pub look_again: Option<Duration>,
}

/// What decides about one cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudPolicy {
    /// Its name.
    pub name: CloudName,
    /// Flavors for nodes, as configured, in order of preference.
    pub flavors: Vec<String>,
    /// The image of nodes, as configured.
    pub image: String,
    /// Never more servers of ours than this in it.
    pub nodes_max: Option<u64>,
    /// Its part of the turns of `round-robin` and `random`; of none is only made what no other cloud can.
    pub weight: u64,
    /// Cores of the quota that are left to others (`min_cores`).
    pub min_cores: u64,
    /// Memory of the quota in MiB that is left to others (`min_ram`, which the original gives in GB).
    pub min_ram_mb: u64,
    /// Servers of the quota that are left to others (`min_instances`).
    pub min_instances: u64,
    /// What a server of a flavor costs an hour, in the site's own money; a flavor that is not in it has no price.
    pub prices: BTreeMap<String, f64>,
    /// Availability zones over which nodes are spread; none: the cloud's choice.
    pub zones: Vec<String>,
    /// What each node takes of the project besides a server, cores and memory.
    pub takes: Takes,
    /// What it may cost.
    pub budget: Budget,
    /// A started period is paid whole; `None`: what is used is paid.
    pub billing_period: Option<Duration>,
    /// A node of it that is older is replaced when it is idle; `None`: as for all.
    pub max_lifetime: Option<Duration>,
    /// Its server group is a hard one: a host that does not suit is none.
    pub hard_server_group: bool,
    /// It is to be removed from the configuration: no node is created in it, and idle ones are drained.
    pub retire: bool,
}

/// What one node takes of a project besides a server, cores and memory; nothing, where it is not used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Takes {
    /// Ports: one in each network.
    pub ports: u64,
    /// Volumes: the one it boots from and the blank one.
    pub volumes: u64,
    /// Their sizes in GiB.
    pub volume_gb: u64,
    /// Members of the server group.
    pub server_group_members: u64,
}

impl CloudPolicy {
    /// A cloud without any limit but its quota, whose nodes are of `flavors`, the preferred one first, and of `image`.
    pub fn new(name: &str, flavors: Vec<String>, image: &str) -> CloudPolicy {
        CloudPolicy {
            name: name.to_owned(),
            flavors,
            image: image.to_owned(),
            nodes_max: None,
            weight: 1,
            min_cores: 0,
            min_ram_mb: 0,
            min_instances: 0,
            prices: BTreeMap::new(),
            zones: Vec::new(),
            takes: Takes::default(),
            budget: Budget::default(),
            billing_period: None,
            max_lifetime: None,
            hard_server_group: false,
            retire: false,
        }
    }

    /// What a server of this flavor costs an hour, where that is known.
    pub fn price(&self, flavor: &str) -> Option<Money> {
        self.prices.get(flavor).map(|price| Money::new(*price))
    }
}

impl Policy {
    /// A policy for `cluster` with every default and no cloud.
    pub fn new(cluster: &str) -> Policy {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Policy {
            cluster: cluster.to_owned(),
            condor_host: None,
            prefix: "ehos-v1".to_owned(),
            nodes_min: 0,
            nodes_max: 10,
            nodes_spare: Spare::Count(0),
            max_actions: 20,
            allocation: Allocation::RoundRobin,
            core_price: None,
            node_cost: None,
            hold_up: 0.0,
            scale_down: ScaleDown::Drain,
            clouds: Vec::new(),
            idle_timeout: minutes(5),
            boot_timeout: minutes(15),
            lost_timeout: minutes(15),
            lost_job_timeout: minutes(60),
            intent_grace: minutes(5),
            request_timeout: Duration::from_secs(30),
            collector_grace: minutes(6),
            unknown_grace: minutes(60),
            delete_timeout: minutes(5),
            // HTCondor's NEGOTIATOR_INTERVAL (60 s) from start to start, and what a cycle may take.
            negotiation_cycle: Duration::from_secs(80),
            update_interval: minutes(5),
            max_unproven: 3,
            protect_after: 5,
            failure_memory: minutes(180),
            backoff_first: minutes(5),
            backoff_longest: minutes(60),
            vanish_share: 0.45,
            vanish_count: 3,
            refusal_memory: minutes(60),
            purge_floating_ips: false,
            token_margin: minutes(7 * 24 * 60),
            schedules: Vec::new(),
            time_zone: TimeZone::UTC,
            budget: Budget::default(),
            submitter_limits: SubmitterLimits::default(),
            max_lifetime: None,
            max_lifetime_kill: None,
            trust_silence: false,
            look_again: None,
        }
    }

    /// The central manager of `server`, when that is not the one that is configured here.
    pub fn other_condor_host<'s>(&self, server: &'s OwnedServer) -> Option<&'s str> {
        let ours = self.condor_host.as_deref()?;
        server.condor_host().filter(|host| *host != ours)
    }

    /// How old a node of this cloud may get.
    pub fn max_lifetime(&self, cloud: &str) -> Option<Duration> {
        let own = self.cloud(cloud).and_then(|cloud| cloud.max_lifetime);
        own.or(self.max_lifetime)
    }

    /// Whether this cloud is to be removed from the configuration.
    pub fn retires(&self, cloud: &str) -> bool {
        self.cloud(cloud).is_some_and(|cloud| cloud.retire)
    }

    /// Whether ehos drains nodes.
    pub fn drains(&self) -> bool {
        self.scale_down == ScaleDown::Drain
    }

    /// The policy of one cloud.
    pub fn cloud(&self, name: &str) -> Option<&CloudPolicy> {
        self.clouds.iter().find(|cloud| cloud.name == name)
    }
}

/// After how long a node itself takes no new jobs: in the last eighth of `max_lifetime`, each at a time of its own, for nodes
/// that were made together are not to go together.
pub fn retires_after(max_lifetime: Duration, node: &NodeId) -> Duration {
    let draw = Sha256::digest(node.0.as_bytes());
    let draw = draw.first().copied().unwrap_or_default();
    max_lifetime - max_lifetime / (8 * 256) * u32::from(draw)
}
