//! Planner input: typed views of the pool and of each cloud at one point in time.
//!
//! An observation carries one time stamp, `at`, and otherwise ages: how long ago something happened,
//! worked out in the adapter on the clock of the daemon that stamped it. The planner never compares clocks.

#![warn(missing_docs)]

mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job_names::{JobIds, PoolJobs};
use super::job_requirements::{JobFault, JobGroupKey, Matches, RequirementsDigest};
use super::leftover::Leftovers;
use super::sender::Sender;
use super::shared_text::SharedText;

pub use server::{
    AttachedVolume, BUILDER_LIFETIME, METADATA_CLUSTER, METADATA_CONDOR_HOST, METADATA_FLAVOR,
    METADATA_IMAGE, METADATA_LIFETIME, METADATA_NODE, METADATA_ROLE, METADATA_TOKEN_ID,
    METADATA_TOKEN_IDENTITY, METADATA_TOKEN_LIFETIME, OwnedServer, Role, ServerRecord,
    ServerStatus, builder_metadata, execute_metadata, master_metadata,
};

/// Something that was asked for: its answer, or why there is none.
///
/// There is no default and no way to take an unknown for an empty answer: what was not seen is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// The whole answer.
    Known(T),
    /// No answer, or a partial one; the text says what failed, where, and what to do.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The answer, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Observed::Known(value) => Some(value),
            Observed::Unknown(_) => None,
        }
    }

    /// Why there is no answer.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Observed::Known(_) => None,
            Observed::Unknown(why) => Some(why),
        }
    }

    /// Whether there is an answer.
    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }
}

/// An item of a list that cannot be read, while the rest of the list can.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unread {
    /// The item by its kind, name and id, as far as these can be read: `server web-7 (UUID)`.
    pub item: String,
    /// The field that cannot be read, and why.
    pub why: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be read: {}", self.item, self.why)
    }
}

/// An amount of what a machine offers or a job asks for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Resources {
    /// Cores (`Cpus`, `RequestCpus`).
    pub cpus: u64,
    /// Memory in MiB (`Memory`, `RequestMemory`).
    pub memory_mb: u64,
    /// Scratch disk in KiB (`Disk`, `RequestDisk`).
    pub disk_kb: u64,
    /// GPUs (`GPUs`, `RequestGPUs`).
    pub gpus: u64,
}

impl Resources {
    /// Whether a request of this size fits into `space`.
    pub fn fits(&self, space: &Resources) -> bool {
        self.cpus <= space.cpus
            && self.memory_mb <= space.memory_mb
            && self.disk_kb <= space.disk_kb
            && self.gpus <= space.gpus
    }

    /// How many requests of this size fit side by side into `space`.
    pub fn times_in(&self, space: &Resources) -> u64 {
        let share = |need: u64, have: u64| have.checked_div(need).unwrap_or(u64::MAX);
        share(self.cpus, space.cpus)
            .min(share(self.memory_mb, space.memory_mb))
            .min(share(self.disk_kb, space.disk_kb))
            .min(share(self.gpus, space.gpus))
    }

    /// What is left when `count` requests of `each` are taken away; never below zero.
    pub fn minus(&self, each: &Resources, count: u64) -> Resources {
        let left = |have: u64, need: u64| have.saturating_sub(need.saturating_mul(count));
        Resources {
            cpus: left(self.cpus, each.cpus),
            memory_mb: left(self.memory_mb, each.memory_mb),
            disk_kb: left(self.disk_kb, each.disk_kb),
            gpus: left(self.gpus, each.gpus),
        }
    }

    /// The sum of both.
    pub fn plus(&self, other: &Resources) -> Resources {
        self.each(other, u64::saturating_add)
    }

    /// The sum of `count` equal requests.
    pub fn times(&self, count: u64) -> Resources {
        self.each(self, |have, _| have.saturating_mul(count))
    }

    /// Of each resource what `choose` makes of both.
    pub fn each(&self, other: &Resources, choose: impl Fn(u64, u64) -> u64) -> Resources {
        Resources {
            cpus: choose(self.cpus, other.cpus),
            memory_mb: choose(self.memory_mb, other.memory_mb),
            disk_kb: choose(self.disk_kb, other.disk_kb),
            gpus: choose(self.gpus, other.gpus),
        }
    }

    /// The request as a startd grants it: memory in steps of 128 MiB, disk in steps of 1024 KiB, at least one
    /// core (`MODIFY_REQUEST_EXPR_REQUESTMEMORY`, `…DISK` and `…CPUS` of the HTCondor manual).
    pub fn rounded(&self) -> Resources {
        Resources {
            cpus: self.cpus.max(1),
            memory_mb: multiple_of(self.memory_mb, 128),
            disk_kb: multiple_of(self.disk_kb, 1024),
            gpus: self.gpus,
        }
    }
}

/// The next multiple of `step`, at least one step.
fn multiple_of(amount: u64, step: u64) -> u64 {
    amount
        .max(1)
        .checked_next_multiple_of(step)
        .unwrap_or(u64::MAX)
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.cpus == 1 { "" } else { "s" };
        write!(f, "{} CPU{plural}, {} MB", self.cpus, self.memory_mb)?;
        if self.gpus > 0 {
            write!(
                f,
                ", {} GPU{}",
                self.gpus,
                if self.gpus == 1 { "" } else { "s" }
            )?;
        }
        Ok(())
    }
}

/// The id of a node: the id of the intent that made it, kept in its server's metadata (`ehos_node`) and
/// published by its startd (`EhosNode`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub SharedText);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a cloud: its key under `clouds:` in the configuration.
pub type CloudName = String;

/// Everything that one tick has seen.
#[derive(Debug, Clone)]
pub struct Observation {
    /// When, on this machine's clock.
    pub at: Timestamp,
    /// What HTCondor said.
    pub pool: PoolView,
    /// What each configured cloud said.
    pub clouds: BTreeMap<CloudName, Observed<CloudView>>,
    /// Which jobs HTCondor would match with which nodes.
    pub matches: Matches,
}

/// What HTCondor said.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// The collector: which startds there are.
    pub collector: Observed<CollectorView>,
    /// Each schedd that was asked, by its name (`local` for the one of this machine when none is configured).
    pub schedds: BTreeMap<String, Observed<ScheddView>>,
    /// What the negotiator would hold jobs back for; asked only when a waiting job may be held back.
    pub negotiator: Observed<NegotiatorView>,
    /// What the answers say of single jobs. For reports only.
    pub jobs: PoolJobs,
    /// The negotiators of a pool with several central managers; `None` without `condor.high_availability`.
    pub central_managers: Option<Observed<CentralManagers>>,
}

/// The negotiators of a pool whose central managers take over from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CentralManagers {
    /// How often a negotiator updates its ad (`NEGOTIATOR_UPDATE_INTERVAL`).
    pub update_interval: Duration,
    /// Each negotiator of which the collector has an ad; after a crash the ad stays for a while.
    pub negotiators: Vec<NegotiatorAd>,
}

/// The ad of one negotiator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatorAd {
    /// `Machine`.
    pub machine: String,
    /// It runs on the host of this ehos (`FULL_HOSTNAME`).
    pub is_here: bool,
    /// The age of the last update (`LastHeardFrom`, on the clock of the collector).
    pub heard_ago: Duration,
    /// How long the negotiator has been running (`DaemonStartTime`, on its own clock).
    pub up_for: Duration,
}

/// What keeps the negotiator from starting jobs however many nodes there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NegotiatorView {
    /// Concurrency limits that jobs name, by name in small letters.
    pub concurrency_limits: BTreeMap<String, Ceiling>,
    /// Accounting groups that may not use more than their quota, in slot weights (cores), by name in small letters.
    pub group_quotas: BTreeMap<String, Ceiling>,
    /// Limits and groups that could not be read, by name, and why: they hold nothing back.
    pub unread: Vec<String>,
}

/// How much there may be of something, and how much there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// At most.
    pub limit: f64,
    /// In use.
    pub used: f64,
}

impl Ceiling {
    /// The unused amount.
    pub fn left(&self) -> f64 {
        (self.limit - self.used).max(0.0)
    }
}

/// What the collector said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorView {
    /// How long it has been running (`COLLECTOR_StartTime` in its master's ad).
    pub up_for: Duration,
    /// How long ago the negotiator's last cycle but one began before the last one; `None` when it does not say.
    pub negotiation_period: Option<Duration>,
    /// How long ago the last negotiation cycle that has ended began (`LastNegotiationCycleTime0`), of several negotiators the
    /// one that is longest ago; `None` where none says so.
    pub cycle_began: Option<Duration>,
    /// The startds it knows, one for each machine.
    pub startds: Vec<StartdView>,
    /// Its ads that ehos cannot read: each counts as a claimed slot.
    pub unreadable: Vec<UnreadableAd>,
    /// Ads of daemons that ehos leaves out, because a node may have sent them.
    pub forged: Vec<ForgedAd>,
}

/// An ad whose sender may not speak for what the ad describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgedAd {
    /// The daemon that the ad describes, with its machine and, where the ad has one, its address.
    pub of: String,
    /// Why ehos leaves the ad out.
    pub why: String,
}

/// Two clocks are not compared with each other, and what both say of an age differs by less than this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(600);

/// The ad of a slot that ehos cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableAd {
    /// `Machine`, as far as that can be read.
    pub machine: Option<String>,
    /// `Name`, as far as that can be read.
    pub slot: Option<String>,
    /// Whose slot it is can be read: its claim is counted on its startd, and it hides no other.
    pub owner_known: bool,
    /// For how long its startd has run at least, on its own clock, as far as that can be read.
    pub up_for: Option<Duration>,
    /// What is wrong with it.
    pub what: String,
}

impl UnreadableAd {
    /// Whether it may be the ad of a node: the machine is the node's, or one of both does not say.
    pub fn may_be_of(&self, machine: Option<&str>) -> bool {
        let same = match (self.machine.as_deref(), machine) {
            (Some(of_ad), Some(of_node)) => of_ad.eq_ignore_ascii_case(of_node),
            _ => true,
        };
        !self.owner_known && same
    }

    /// Whether its startd has run for longer than a server of this age, which cannot be where it runs then.
    pub fn is_older_than(&self, server: Duration) -> bool {
        self.up_for
            .is_some_and(|up_for| up_for > server.saturating_add(CLOCKS_DIFFER))
    }

    /// The slot's name, or the machine that it is of.
    pub fn slot_name(&self) -> String {
        match (&self.slot, &self.machine) {
            (Some(slot), _) => slot.clone(),
            (None, Some(machine)) => format!("of machine {machine}"),
            (None, None) => "of an unknown machine".to_owned(),
        }
    }
}

/// One machine's startd, all of its slots folded together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartdView {
    /// `Machine`: the host name. It proves nothing about which server this is.
    pub machine: String,
    /// `CloudInstanceID`: the UUID of the server it says it runs on.
    pub instance_id: Option<String>,
    /// `EhosNode`: the node it says it is.
    pub node: Option<NodeId>,
    /// `MyAddress`: where it can be asked itself.
    pub address: Option<String>,
    /// Partitionable and static slots; dynamic slots are counted in their parents.
    pub slots: Vec<SlotView>,
    /// Sender of its ads; [`Sender::Unknown`] in what the startd says itself.
    pub sender: Sender,
    /// The age of the last update (`LastHeardFrom`, on the clock of the collector).
    pub heard_ago: Duration,
    /// The update interval (`EhosUpdateInterval`, published by nodes of ehos).
    pub update_interval: Option<Duration>,
    /// How long the startd has been running (`DaemonStartTime`, on its own clock).
    pub up_for: Duration,
    /// A running drain, by ehos or others.
    pub draining: Option<DrainView>,
}

/// One partitionable or static slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotView {
    /// `Name` exactly as the ad has it: what `condor_drain` takes.
    pub name: String,
    /// All of it (`TotalSlotCpus` …).
    pub total: Resources,
    /// What is not claimed (`Cpus`, `Memory` …); nothing for a claimed static slot.
    pub free: Resources,
    /// Dynamic slots claimed from it, or 1 for a claimed static slot.
    pub claims: u64,
    /// False when `Start` is false or the slot is in the owner's hands: it takes no jobs.
    pub accepts_jobs: bool,
    /// Claimed cores by the user whose jobs have them (`RemoteOwner`); not of claims whose user cannot be read.
    pub owners: BTreeMap<String, u64>,
    /// How long its claims have been as they are: since the latest of `NumDynamicSlotsTime` (or
    /// `EnteredCurrentState` of a static slot), `LastDrainStopTime` and `DaemonStartTime`, on the startd's clock.
    pub unchanged_for: Duration,
}

/// A drain as the startd publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainView {
    /// `DrainReason`.
    pub reason: String,
    /// `DrainingRequestId`: the only handle by which it may be cancelled.
    pub request_id: String,
    /// Every slot is `Drained` and `Idle`: it is over, no claim is left.
    pub complete: bool,
}

impl StartdView {
    /// Claimed slots of all kinds: above zero, a job may be running here.
    pub fn claims(&self) -> u64 {
        self.slots.iter().map(|slot| slot.claims).sum()
    }

    /// All of its slots' totals together.
    pub fn total(&self) -> Resources {
        self.slots
            .iter()
            .fold(Resources::default(), |sum, slot| sum.plus(&slot.total))
    }

    /// All of its slots' free resources together.
    pub fn free(&self) -> Resources {
        self.slots
            .iter()
            .fold(Resources::default(), |sum, slot| sum.plus(&slot.free))
    }

    /// Its machine and where it answers, for an operator.
    pub fn called(&self) -> String {
        let address = self.address.as_deref().unwrap_or("an unknown address");
        format!("{} at {address}", self.machine)
    }

    /// How long nothing has been claimed on it; `None` while something is.
    pub fn idle_for(&self) -> Option<Duration> {
        if self.claims() > 0 {
            return None;
        }
        self.slots.iter().map(|slot| slot.unchanged_for).min()
    }
}

/// What one schedd said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScheddView {
    /// Its idle jobs, grouped by equal requests.
    pub demand: Vec<Demand>,
    /// Jobs by state, all users and universes that ehos looks at.
    pub jobs: JobCounts,
    /// Of the machines that were asked about (`tick::pool::Watch`): those on which it lists running jobs.
    pub running_on: BTreeMap<String, RunningJobs>,
    /// How many jobs it runs at most, and how many it runs; `None` where that is not known.
    pub max_running: Option<MaxRunning>,
    /// Jobs of its factories that are not in the queue yet (late materialization).
    pub to_come: u64,
    /// The highest `ClusterId` of all its idle jobs; 0 where it has none, `None` where that is not known.
    pub newest_cluster: Option<u64>,
}

/// The schedd's `MAX_JOBS_RUNNING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxRunning {
    /// How many jobs the schedd runs at most.
    pub limit: u64,
    /// How many jobs the schedd runs.
    pub running: u64,
}

/// Running jobs that a schedd lists on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningJobs {
    /// The number of jobs.
    pub jobs: u64,
    /// One of them, as `condor_q` names it.
    pub example: Option<String>,
    /// The longest of their leases (`JobLeaseDuration`), during which the schedd tries to reconnect to a lost machine.
    pub lease: Option<Duration>,
    /// Time left until the last of these leases ends; `None` while the schedd has not lost one of the connections
    /// (`JobDisconnectedDate`).
    pub lease_left: Option<Duration>,
}

impl RunningJobs {
    /// Both together.
    pub fn and(self, other: &RunningJobs) -> RunningJobs {
        if self.jobs == 0 {
            return other.clone();
        }
        if other.jobs == 0 {
            return self;
        }
        RunningJobs {
            jobs: self.jobs.saturating_add(other.jobs),
            example: self.example.or_else(|| other.example.clone()),
            lease: self.lease.max(other.lease),
            lease_left: self
                .lease_left
                .zip(other.lease_left)
                .map(|(one, two)| one.max(two)),
        }
    }
}

/// How many jobs are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// Waiting to run.
    pub idle: u64,
    /// Running, transferring output or suspended.
    pub running: u64,
    /// Held.
    pub held: u64,
}

/// Idle jobs that are alike.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demand {
    /// What each of them asks for, as evaluated by HTCondor.
    pub request: Resources,
    /// What they need of a machine besides.
    pub needs: RequirementsDigest,
    /// How many there are; of a job that takes several nodes (parallel universe) each node is one.
    pub jobs: u64,
    /// Of these, the young ones: no negotiation cycle has offered them a slot yet, so that each free one may take them.
    pub young: u64,
    /// How long the longest waiting one has been idle, on the schedd's clock.
    pub waiting: Duration,
    /// One of them, as `condor_q` names it.
    pub example: Option<String>,
    /// Some of their ids. For reports only.
    pub job_ids: JobIds,
    /// The user that submitted them (`Owner`, which the schedd sets from the authenticated connection); `None` where that is
    /// not known.
    pub owner: Option<String>,
    /// What each takes of which concurrency limits.
    pub concurrency_limits: BTreeMap<String, f64>,
    /// Their accounting group (`AcctGroup`).
    pub accounting_group: Option<String>,
    /// The reason why HTCondor matches them with no slot, or why that is unknown.
    pub fault: Option<JobFault>,
    /// How often each of them was started at least (`NumShadowStarts`), and is idle again.
    pub starts: u64,
    /// For deferred jobs: time until the negotiator matches them (`DeferralTime` less `DeferralPrepTime`).
    pub deferred: Option<Duration>,
}

impl Demand {
    /// What makes its jobs alike.
    pub fn key(&self) -> JobGroupKey {
        JobGroupKey {
            request: self.request.rounded(),
            needs: self.needs.clone(),
        }
    }
}

/// What one cloud said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudView {
    /// The servers that ehos made, of every role, and that can be read. With `obscure` the list is whole.
    pub servers: Vec<OwnedServer>,
    /// Unreadable servers that are or may be of this pool: ehos never touches them.
    pub obscure: Vec<ObscureServer>,
    /// The project's limits and what is used of them, by others too.
    pub quota: Quota,
    /// The same for what else nodes take of the project.
    pub parts: Observed<SecondaryQuota>,
    /// The configured flavors that the cloud has, by name as configured.
    pub flavors: BTreeMap<String, Flavor>,
    /// The configured flavors that the cloud has and that cannot be read, with the reason.
    pub unread_flavors: BTreeMap<String, String>,
    /// `ehos image build` has made the configured image for this pool: it has seen its first boot go well.
    pub image_tested: bool,
    /// Leftovers of servers of this pool.
    pub leftovers: Observed<Leftovers>,
    /// Unreadable items of all these lists, of any owner: reported, without influence on decisions.
    pub unread: Vec<Unread>,
}

/// A server of which something cannot be read that decides what may be done to it. There is no way from here to an
/// [`OwnedServer`], so none of these is ever deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObscureServer {
    /// Its UUID, where that can be read.
    pub id: Option<String>,
    /// Its name, where that can be read.
    pub name: Option<String>,
    /// The node that its metadata names, where these can be read.
    pub node: Option<NodeId>,
    /// Its role, if its metadata name this pool. `None`: its owner is unknown.
    pub role: Option<Role>,
}

/// The project's limits (Nova `GET /limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Servers.
    pub instances: Usage,
    /// Cores.
    pub cores: Usage,
    /// Memory in MiB.
    pub ram_mb: Usage,
}

/// The quota of ports, volumes and server group members; unlimited if nodes use none, or if the cloud does not report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecondaryQuota {
    /// Ports (Neutron).
    pub ports: Usage,
    /// Volumes (Cinder).
    pub volumes: Usage,
    /// Their sizes in GiB.
    pub volume_gb: Usage,
    /// Members of the server group of nodes (Nova).
    pub server_group_members: Usage,
}

/// A limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// `None` is unlimited (-1 in Nova).
    pub limit: Option<u64>,
    /// Used by the whole project.
    pub used: u64,
}

impl Usage {
    /// What is left; `None` is unlimited.
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }
}

/// A flavor of a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flavor {
    /// Nova's id.
    pub id: String,
    /// Cores.
    pub vcpus: u64,
    /// Memory in MiB.
    pub ram_mb: u64,
    /// Root and ephemeral disk in GiB.
    pub disk_gb: u64,
    /// GPUs, by extra specs or the configuration.
    pub gpus: u64,
}

impl Flavor {
    /// What a node of this flavor will probably offer, before the first one has joined: memory less what kernel
    /// and system take, max(512 MiB, 8 %), and nine tenths of the disk.
    pub fn expected_capacity(&self) -> Resources {
        let system_mb = (self.ram_mb * 8 / 100).max(512);
        Resources {
            cpus: self.vcpus,
            memory_mb: self.ram_mb.saturating_sub(system_mb),
            // A flavor without a disk takes the image's or a volume's size: not known here, so it limits nothing.
            disk_kb: if self.disk_gb == 0 {
                u64::MAX / 4
            } else {
                self.disk_gb * 1024 * 1024 * 9 / 10
            },
            gpus: self.gpus,
        }
    }
}
