//! The part of the configuration on which decisions depend. It contains no credentials.

#![warn(missing_docs)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::allocation::Allocation;
use super::budget::Budget;
use super::money::Money;
use super::observation::{CloudName, NodeId, OwnedServer};
use super::schedule::{Spare, Window};
use super::submitter::SubmitterLimits;
use keys::{settings, words};

/// Who ends surplus nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleDown {
    /// Ehos drains them.
    #[default]
    Drain,
    /// They end by themselves: ehos has no right to drain.
    SelfShutdown,
}

words!(ScaleDown: Drain "drain", SelfShutdown "self-shutdown");

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

settings! {
    /// All that decides. A field with a key is that key of `daemon:`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Policy {
        /// Never fewer nodes than this.
        nodes_min [For("ehos")]: u64 = 0;
        /// Never more servers than this, in all clouds together.
        nodes_max [For("ehos")]: u64 = 10;
        /// Never more cores than this, of all servers in all clouds together; one that starts counts. A create that would
        /// pass it waits, or gets a smaller flavor. Nodes above a lowered number stay until they are surplus.
        cores_max: Option<u64> = None, "no limit";
        /// Idle nodes above the demand: a number, or a share of the nodes that the demand needs, rounded up (`10%`).
        nodes_spare [For("ehos")]: Spare = Spare::Count(0);
        /// Choice of cloud and flavor for a new node, see [below](#choice-of-cloud-and-flavor).
        allocation as "node_allocation": Allocation = Allocation::RoundRobin;
        /// Price of one core for an hour, for flavors without a price.
        core_price: Option<f64> = None, "that of the dearest core with a price; 1 without any price";
        /// Cost of each node for an hour besides its price, in the same money.
        node_cost: Option<f64> = None, "a quarter of the cheapest core";
        /// How much longer a node is kept, as a share, with each doubling of the jobs that it runs at the same time.
        straggler_overhead [Was("hold_up")]: f64 = 0.0;
        /// Creates and deletes in a minute, and as many drains.
        max_actions [Positive]: u64 = 20;
        /// A surplus node is drained when it has been idle for this long, or will have been before the middle of the time
        /// until the next tick: at most 30 s and a quarter of it sooner.
        idle_timeout: Duration = minutes(5);
        /// A server that has not joined within this time has failed.
        boot_timeout [Positive]: Duration = minutes(15);
        /// A silent node without a job is lost after this.
        lost_timeout [Positive]: Duration = minutes(15);
        /// A silent node with a job on a schedd's list is lost after this. The time must be longer than the job's lease
        /// (`JOB_DEFAULT_LEASE_DURATION`: 15 min of master.yaml, 40 min of HTCondor) and the 16 min in which the schedd notices.
        lost_job_timeout: Duration = minutes(60);
        /// A create without an answer counts as a starting node for this long; one whose tick was killed, for
        /// `request_timeout` and 5 s.
        intent_grace: Duration = minutes(5);
        /// A younger collector has not heard from all nodes. Creates do not wait for it while every node that has joined is
        /// heard of and no unmanaged machine was ever seen.
        collector_grace: Duration = minutes(6);
        /// A schedd that is unknown for longer no longer keeps idle nodes.
        schedd_grace [Was("unknown_grace")]: Duration = minutes(60);
        /// A delete that is not done after this time is requested again.
        delete_timeout [Positive]: Duration = minutes(5);
        /// Longest time until a negotiation cycle has considered a job: at least NEGOTIATOR_INTERVAL of the pool (10 s of
        /// master.yaml, 60 s of HTCondor).
        // NEGOTIATOR_INTERVAL from start to start, and what a cycle may take.
        negotiation_cycle: Duration = Duration::from_secs(80);
        /// UPDATE_INTERVAL of startds that do not publish EhosUpdateInterval.
        update_interval [Positive]: Duration = minutes(5);
        /// Servers of one node type (cloud, flavor, image) until the first of them joined. A tested image, which
        /// `ehos image build` made or the central manager runs from, starts with half of the nodes that the demand needs, at
        /// most 10. After a failure it counts as any other.
        max_unproven [Positive]: u64 = 3;
        /// After this many consecutive failures that show that a node type is broken, ehos creates no node of it until
        /// `ehos resume CLOUD` or until one of its nodes joins (protected mode).
        protect_after [Positive]: u64 = 5;
        /// Failures are forgotten when the last one is older than this.
        backoff_reset [Was("failure_memory")]: Duration = minutes(180);
        /// First backoff of a node type after a failure; each further one is twice as long.
        backoff_initial [Positive, Was("backoff_first")]: Duration = minutes(5);
        /// Longest backoff.
        backoff_max [Was("backoff_longest")]: Duration = minutes(60);
        /// Deletes stop when more than this share of the nodes, and more than `max_silent_count`, become silent at once.
        max_silent_share [Share, Was("vanish_share")]: f64 = 0.45;
        /// See `max_silent_share`.
        max_silent_count [Was("vanish_count")]: u64 = 3;
        /// How long ehos creates no further node for a job group after a node created for it stayed unclaimed, and how long it counts the capacity of nodes that joined, if that is too small for waiting jobs.
        unclaimed_backoff [Was("refusal_memory")]: Duration = minutes(60);
        /// `true`: ehos disassociates floating IPs from nodes, for clouds that give one to each server; see
        /// [below](#floating-ips).
        purge_floating_ips: bool = false;
        /// A node gets no new demand, and is replaced when it is idle, this long before its token expires.
        token_renew_before [Was("token_margin")]: Duration = minutes(7 * 24 * 60);
        /// A node of nearly this age takes no new jobs, and is replaced when it is idle. The time must be longer than `boot_timeout`, and at most
        /// `condor.token_lifetime` less `token_renew_before`. See [below](#node-lifetime).
        max_lifetime [Positive]: Option<Duration> = None, "no limit";
        /// **ehos ends jobs** on a node that is older than `max_lifetime` by this much: it deletes the node.
        max_lifetime_kill [Positive]: Option<Duration> = None, "never";
    }
    beside {
        /// The pool's id (`ehos_cluster` of every server).
        cluster: String = String::new();
        /// The central manager that nodes join (`condor.host_ip`).
        condor_host: Option<String> = None;
        /// The prefix of server names (`ehos.project_prefix`).
        prefix: String = "ehos-v1".to_owned();
        /// Who ends surplus nodes (`condor.scale_down`).
        scale_down: ScaleDown = ScaleDown::Drain;
        /// The clouds, in the order of the configuration.
        clouds: Vec<CloudPolicy> = Vec::new();
        /// The longest time that one request to a cloud takes (`request_timeout`).
        request_timeout: Duration = Duration::from_secs(30);
        /// The longest time of a tick (`tick_timeout`).
        tick_timeout: Duration = Duration::from_secs(100);
        /// Schedule windows; the first active one counts.
        schedules: Vec<Window> = Vec::new();
        /// The time zone of months.
        time_zone: TimeZone = TimeZone::UTC;
        /// The budget of all clouds together.
        budget: Budget = Budget::default();
        /// Limits on the nodes for the jobs of one user or accounting group.
        submitter_limits: SubmitterLimits = SubmitterLimits::default();
        /// An operator says, for this tick, that silent nodes are gone.
        trust_silence: bool = false;
        /// How soon after this one another pass can be had (`ehos tick --look-again`); `None`: with the timer's minute.
        look_again: Option<Duration> = None;
    }
}

settings! {
    /// The part of one cloud that decides. A field with a key is that key of an entry of `clouds:`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CloudPolicy {
        /// Never more servers of the pool than this in the cloud.
        nodes_max: Option<u64> = None, "`daemon.nodes_max`";
        /// Never more cores of the pool's servers than this in the cloud, see `daemon.cores_max`.
        cores_max: Option<u64> = None, "`daemon.cores_max`";
        /// Part of the turns of `round-robin` and `random`. With 0, nodes are created in it only when no other cloud can,
        /// whatever `node_allocation` is.
        weight [AtMost(1000)]: u64 = 1;
        /// Cores of the project's quota that ehos leaves free.
        min_cores [For("daemon")]: u64 = 0;
        /// Servers of the project's quota that ehos leaves free.
        min_instances [For("daemon")]: u64 = 0;
        /// Price of a server of a flavor for an hour, by flavor, in money of your own: `{m1.small: 0.05}`.
        prices [For("ehos")]: BTreeMap<String, f64> = BTreeMap::new(), "none";
        /// Billing period, such as `1h`, where a started period is paid whole. A surplus node is kept until five minutes before
        /// the end of what is paid, and at most one period longer than `idle_timeout`.
        billing_period [Positive]: Option<Duration> = None, "none: what is used is paid";
        /// A node of nearly this age is replaced, see `daemon.max_lifetime`.
        max_lifetime [Positive]: Option<Duration> = None, "`daemon.max_lifetime`";
        /// `true`: the cloud is to be removed from the configuration, see [below](#removal-of-a-cloud).
        retire: bool = false;
    }
    beside {
        /// Its name.
        name: CloudName = CloudName::new();
        /// Flavors of nodes, as configured, in order of preference.
        flavors: Vec<String> = Vec::new();
        /// The image of nodes, as configured.
        image: String = String::new();
        /// Memory of the quota in MiB that ehos leaves free (`min_ram`, which the original has in GB).
        min_ram_mb: u64 = 0;
        /// Availability zones over which nodes are spread; none: the cloud's choice.
        zones: Vec<String> = Vec::new();
        /// What each node takes of the project besides a server, cores and memory.
        takes: NodeFootprint = NodeFootprint::default();
        /// Its own budget.
        budget: Budget = Budget::default();
        /// Its server group is a hard one: a host that does not suit is none.
        hard_server_group: bool = false;
    }
}

/// What one node takes of a project besides a server, cores and memory; nothing, where it is not used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeFootprint {
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
            ..CloudPolicy::default()
        }
    }

    /// What a server of this flavor costs an hour, where that is known.
    pub fn price(&self, flavor: &str) -> Option<Money> {
        self.prices.get(flavor).map(|price| Money::new(*price))
    }
}

/// The addresses of `condor.host_ip`: one for each central manager.
pub fn addresses(host_ip: &str) -> impl Iterator<Item = &str> {
    host_ip.split(',').filter(|address| !address.is_empty())
}

impl Policy {
    /// A policy for `cluster` with every default and no cloud.
    pub fn new(cluster: &str) -> Policy {
        Policy {
            cluster: cluster.to_owned(),
            ..Policy::default()
        }
    }

    /// The central manager of `server`, when that is not the one that is configured here. Of several, one in common is
    /// enough: a pool gets its second central manager while nodes run.
    pub fn other_condor_host<'s>(&self, server: &'s OwnedServer) -> Option<&'s str> {
        let ours = self.condor_host.as_deref()?;
        let is_ours = |host: &str| addresses(ours).any(|own| own == host);
        server
            .condor_host()
            .filter(|host| !addresses(host).any(is_ours))
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

    /// How long to wait after so many failures in a row and one more: `backoff_initial`, doubling to `backoff_max`.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let wait = self.backoff_initial.saturating_mul(1 << failures.min(16));
        wait.min(self.backoff_max)
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

#[cfg(test)]
mod tests {
    use super::super::observation::{
        METADATA_CONDOR_HOST, NodeId, ServerRecord, ServerStatus, execute_metadata,
    };
    use super::*;

    #[test]
    fn one_central_manager_in_common_makes_a_node_ours() {
        let other = |ours: &str, host: &str| {
            let mut metadata = execute_metadata("p", &NodeId("n".into()), "f", "i");
            metadata.insert(METADATA_CONDOR_HOST.to_owned(), host.to_owned());
            let record = ServerRecord {
                id: "s".to_owned(),
                name: "n".to_owned(),
                status: ServerStatus::Active,
                nova_status: None,
                deleting: false,
                age: Duration::ZERO,
                metadata,
                fault: None,
                volumes: Vec::new(),
                zone: None,
                addresses: Vec::new(),
            };
            let server = OwnedServer::recognise(record, "p").unwrap();
            let policy = Policy {
                condor_host: Some(ours.to_owned()),
                ..Policy::new("p")
            };
            policy.other_condor_host(&server).map(str::to_owned)
        };
        let both = "10.0.0.1,10.0.0.2";
        for (ours, host) in [
            ("10.0.0.1", "10.0.0.1"),
            (both, both),
            (both, "10.0.0.2"),
            ("10.0.0.1", both),
        ] {
            assert_eq!(other(ours, host), None, "{ours} {host}");
        }
        assert_eq!(other(both, "10.0.0.3").as_deref(), Some("10.0.0.3"));
        assert_eq!(other("10.0.0.1", "10.0.0.11").as_deref(), Some("10.0.0.11"));
    }
}
