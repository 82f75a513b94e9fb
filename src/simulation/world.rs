//! One deterministic world that is both clouds and a pool: servers that boot, startds that join, jobs that run.
//! It follows what the real services were measured to do, and keeps a record of what must never happen.

#[cfg(feature = "engine")]
mod faults;
mod jobs;
mod servers;
mod startds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::scenario::Scenario;
use scaling::leftover::LeftoverKind;
use scaling::observation::{METADATA_NODE, NodeId, Resources, ServerStatus};
use scaling::policy::retires_after;
use scaling::state::NodeType;

/// Seconds from the start of the world.
pub type Seconds = u64;

/// How finely the world moves: nothing in it is quicker.
const STEP: Seconds = 5;

/// After this long without its startd a schedd gives a job up (`JobLeaseDuration`, 40 minutes, and what it takes to
/// notice).
pub(super) const LEASE: Seconds = 51 * 60;

/// A server and the machine in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatedServer {
    pub id: String,
    pub name: String,
    pub cloud: String,
    pub flavor: String,
    /// Its availability zone.
    #[serde(default)]
    pub zone: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// When it was asked for.
    pub created: Seconds,
    /// When it is ACTIVE.
    pub active_at: Seconds,
    /// When its startd joins; `None`: never.
    pub joins_at: Option<Seconds>,
    /// What Nova says.
    pub status: ServerStatus,
    /// Nova's own word for it, where it is another one.
    #[serde(default)]
    pub nova_status: Option<String>,
    /// When a delete is done.
    pub gone_at: Option<Seconds>,
    /// The startd, while it runs.
    pub startd: Option<SimulatedStartd>,
    /// Its updates do not reach the collector, since then; its jobs go on.
    pub cut_off_since: Option<Seconds>,
    /// When it last proved itself to the collector by its token.
    #[serde(default)]
    pub proved: Option<Seconds>,
    /// When the collector last got an ad of it.
    #[serde(default)]
    pub heard: Option<Seconds>,
}

/// A startd with one partitionable slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatedStartd {
    pub started: Seconds,
    /// All of its slot.
    pub total: Resources,
    /// `NumDynamicSlotsTime`, `LastDrainStopTime` and the start, whichever is the latest.
    pub unchanged_since: Seconds,
    /// `DrainReason` and `DrainingRequestId`.
    pub drain: Option<(String, String)>,
    /// How many drains it has had.
    pub drains: u64,
    /// `Start` is false.
    pub closed: bool,
}

/// What the collector knows of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatedAd {
    /// `Machine`, which two servers of one name have in common.
    pub machine: String,
    /// `CloudInstanceID`.
    pub server: String,
    /// `EhosNode`.
    pub node: Option<String>,
    /// The startd as it last said.
    pub startd: SimulatedStartd,
    pub free: Resources,
    /// Dynamic slots.
    pub claims: u64,
    pub heard: Seconds,
    /// How much earlier it was sent: what it says of times is of then.
    #[serde(default)]
    pub late: Seconds,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waiting since then.
    Idle(Seconds),
    /// Running on that server since then.
    Running { server: String, since: Seconds },
    /// Finished then.
    Done(Seconds),
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatedJob {
    pub request: Resources,
    /// How long it runs.
    pub runs: Seconds,
    /// No machine satisfies its Requirements, and nothing foretells that.
    pub unmatchable: bool,
    /// What a machine must have for it; nothing when empty.
    #[serde(default)]
    pub needs: String,
    /// Its owner; nobody when empty.
    #[serde(default)]
    pub owner: String,
    /// `NumJobStarts`.
    pub starts: u32,
    pub state: JobState,
    /// The machine and the start of its last run.
    #[serde(default)]
    pub last_run: Option<(String, Seconds)>,
    /// The time of its runs that did not end.
    #[serde(default)]
    pub lost_seconds: Seconds,
    pub submitted: Seconds,
    /// Its `QDate` says that it has waited since 1970.
    #[serde(default)]
    pub claims_to_wait: bool,
}

/// A port, a volume or a floating IP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimulatedThing {
    pub kind: LeftoverKind,
    pub cloud: String,
    /// The server that it was made for, if it was for one; of a floating IP, the one that it leads to.
    pub server: Option<String>,
    /// What its maker wrote to it: the name of a port or volume, the description of a floating IP.
    pub mark: String,
    /// It does not go with its server.
    pub stays: bool,
}

/// What is broken at the moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Broken {
    /// Users write into their jobs that these have waited since 1970.
    #[serde(default)]
    pub forged_waits: bool,
    /// The collector does not answer.
    pub collector: bool,
    /// The schedd does not answer.
    pub schedd: bool,
    /// The negotiator does not match.
    pub negotiator: bool,
    /// Nobody says which jobs would run where.
    #[serde(default)]
    pub matches: bool,
    /// What servers have is not known before the first of their kind was in the pool.
    #[serde(default)]
    pub unlearnt: bool,
    /// These clouds do not answer.
    pub clouds: Vec<String>,
    /// Servers made now never join: the image is broken.
    pub image: bool,
    /// Servers made now of one of these images never join.
    #[serde(default)]
    pub images: Vec<String>,
    /// What the consoles of servers say.
    #[serde(default)]
    pub console: Option<String>,
    /// Servers made now end in ERROR with this fault.
    pub spawn: Option<String>,
    /// Flavors and zones that have no host for another server.
    #[serde(default)]
    pub full: BTreeSet<String>,
    /// Deletes are accepted and never done.
    pub deletes: bool,
    /// Deletes leave port and volume behind.
    #[serde(default)]
    pub leaks: bool,
    /// Servers made now get a floating IP by themselves, which stays in the project when they go.
    #[serde(default)]
    pub floating_ips: bool,
    /// Neutron and Cinder do not answer.
    #[serde(default)]
    pub things: bool,
    /// Deletes are accepted, and their servers end in ERROR.
    #[serde(default)]
    pub delete_errors: bool,
    /// Servers made now need so much longer to join.
    #[serde(default)]
    pub slow_boots: Seconds,
    /// Nodes that join now take no jobs.
    #[serde(default)]
    pub closed: bool,
    /// The collector hears of things so much later, in their order, and takes them for new.
    #[serde(default)]
    pub late_ads: Seconds,
    /// What the collector shows is so old, and it says so.
    #[serde(default)]
    pub old_ads: Seconds,
    /// Startds say nothing of themselves when they are asked; they drain as ever.
    #[serde(default)]
    pub mute: bool,
}

/// The whole world.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct World {
    /// What it is made of.
    pub scenario: Scenario,
    pub now: Seconds,
    /// Servers of all clouds, everybody's, by UUID.
    pub servers: BTreeMap<String, SimulatedServer>,
    /// Ports, volumes and floating IPs, everybody's, by id.
    #[serde(default)]
    pub things: BTreeMap<String, SimulatedThing>,
    /// The collector's ads, by the UUID of the server.
    pub ads: BTreeMap<String, SimulatedAd>,
    /// Ads on their way to the collector, and when they arrive.
    #[serde(default)]
    pub under_way: VecDeque<(Seconds, SimulatedAd)>,
    /// How far the clock of the machine that ehos runs on is off, in seconds.
    #[serde(default)]
    pub clock_ahead: i64,
    /// Since when the collector runs.
    pub collector_started: Seconds,
    /// When the last negotiation cycle was.
    #[serde(default)]
    pub cycle_began: Option<Seconds>,
    /// Node types whose nodes HTCondor's answers have been about: what these have is remembered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub learnt: BTreeSet<NodeType>,
    /// The names of all servers that there ever were, by UUID: a schedd goes on naming the machine of a job.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// Jobs that were submitted.
    pub jobs: Vec<SimulatedJob>,
    /// How many of the scenario's submissions have been made.
    pub submitted: usize,
    pub broken: Broken,
    /// `ehos image build` has made the image of all nodes.
    #[serde(default)]
    pub image_tested: bool,
    /// After how long without a claim nodes power themselves off; `None`: never.
    #[serde(default)]
    pub noclaim_shutdown: Option<Seconds>,
    /// Nodes of this age take no new jobs; `None`: of any age.
    #[serde(default)]
    pub max_lifetime: Option<Seconds>,
    /// Jobs on nodes of this age may be ended; `None`: never.
    #[serde(default)]
    pub jobs_end: Option<Seconds>,
    /// Servers whose jobs may be ended: an operator has said so.
    #[serde(default)]
    pub condemned: BTreeSet<String>,
    /// Things that must never happen, as they happened.
    pub violations: Vec<String>,
    /// Seconds of servers, summed: what was paid for.
    pub server_seconds: u64,
    random: u64,
    made: u64,
}

impl World {
    /// A world at its beginning. Its collector has been running for an hour.
    pub fn new(scenario: Scenario) -> World {
        let random = scenario.seed ^ 0x9E37_79B9_7F4A_7C15;
        let mut world = World {
            scenario,
            now: 3600,
            servers: BTreeMap::new(),
            things: BTreeMap::new(),
            ads: BTreeMap::new(),
            under_way: VecDeque::new(),
            learnt: BTreeSet::new(),
            clock_ahead: 0,
            collector_started: 0,
            cycle_began: None,
            names: BTreeMap::new(),
            jobs: Vec::new(),
            submitted: 0,
            broken: Broken::default(),
            image_tested: false,
            noclaim_shutdown: None,
            max_lifetime: None,
            jobs_end: None,
            condemned: BTreeSet::new(),
            violations: Vec::new(),
            server_seconds: 0,
            random,
            made: 0,
        };
        world.submit_due();
        world
    }

    /// The world's time as a time stamp, by the clock of the machine that ehos runs on.
    pub fn at(&self) -> Timestamp {
        // The first hour of the world is before its scenario's start.
        let start = Timestamp::new(1_800_000_000, 0).unwrap_or(Timestamp::UNIX_EPOCH);
        let now = i64::try_from(self.now).unwrap_or(i64::MAX);
        let since = SignedDuration::from_secs(now.saturating_add(self.clock_ahead));
        start.checked_add(since).unwrap_or(start)
    }

    /// Seconds since the scenario's start.
    pub fn elapsed(&self) -> Seconds {
        self.now.saturating_sub(3600)
    }

    /// Moves the world on.
    pub fn advance(&mut self, seconds: Seconds) {
        let end = self.now + seconds;
        while self.now < end {
            let before = self.now;
            self.now = (self.now + STEP).min(end);
            self.server_seconds += (self.now - before) * self.servers.len() as u64;
            self.step(before);
        }
    }

    fn step(&mut self, before: Seconds) {
        let now = self.now;
        self.submit_due();
        self.servers
            .retain(|_, server| server.gone_at.is_none_or(|gone| gone > now));
        self.things.retain(|_, thing| {
            let there = |server: &String| self.servers.contains_key(server);
            let led = thing.kind == LeftoverKind::FloatingIp;
            led || thing.stays || thing.server.as_ref().is_none_or(there)
        });
        let ips = self.things.values_mut();
        for ip in ips.filter(|thing| thing.kind == LeftoverKind::FloatingIp && !thing.stays) {
            ip.server = ip
                .server
                .take()
                .filter(|server| self.servers.contains_key(server));
        }
        self.boot();
        self.retire();
        self.end_jobs();
        self.end_unclaimed();
        let cycle = self.scenario.negotiation_seconds.max(1);
        if !self.broken.negotiator && !self.broken.collector && before / cycle != now / cycle {
            self.negotiate();
        }
        let update = self.scenario.update_seconds.max(1);
        if before / update != now / update {
            self.update_all();
        }
        while self.under_way.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, ad)) = self.under_way.pop_front() {
                self.arrive(ad);
            }
        }
        let lifetime = self.scenario.classad_lifetime_seconds;
        self.ads
            .retain(|_, ad| now.saturating_sub(ad.heard) <= lifetime);
    }

    fn boot(&mut self) {
        let now = self.now;
        let mut joined = Vec::new();
        for server in self.servers.values_mut() {
            if server.status == ServerStatus::Build && now >= server.active_at {
                server.status = ServerStatus::Active;
            }
            let due = server.joins_at.is_some_and(|joins| now >= joins);
            if due && server.startd.is_none() && server.status == ServerStatus::Active {
                let flavor = self
                    .scenario
                    .clouds
                    .get(&server.cloud)
                    .and_then(|cloud| cloud.flavors.get(&server.flavor));
                let total = flavor.map_or_else(Resources::default, |flavor| Resources {
                    cpus: flavor.vcpus,
                    // What a real machine's system takes.
                    memory_mb: flavor.ram_mb - flavor.ram_mb / 20,
                    disk_kb: flavor.disk_gb * 1_000_000,
                    gpus: flavor.gpus,
                });
                server.startd = Some(SimulatedStartd {
                    started: now,
                    total,
                    unchanged_since: now,
                    drain: None,
                    drains: 0,
                    closed: self.broken.closed,
                });
                joined.push(server.id.clone());
            }
        }
        for id in joined {
            // A new startd knows nothing of the claims of one before it.
            self.lose_jobs(&id);
            self.update(&id);
        }
    }

    /// Nodes that are too old take no jobs any more.
    fn retire(&mut self) {
        let Some(lifetime) = self.max_lifetime else {
            return;
        };
        for server in self.servers.values_mut() {
            let node = server.metadata.get(METADATA_NODE).cloned();
            let node = NodeId(node.unwrap_or_default().into());
            let after = retires_after(Duration::from_secs(lifetime), &node);
            let over = self.now >= server.created + after.as_secs();
            if let Some(startd) = server.startd.as_mut().filter(|_| over) {
                startd.closed = true;
            }
        }
    }

    /// Nodes that nobody has claimed for long enough leave the pool and power themselves off.
    fn end_unclaimed(&mut self) {
        let Some(patience) = self.noclaim_shutdown else {
            return;
        };
        let over = |server: &&SimulatedServer| {
            let startd = server.startd.as_ref();
            startd.is_some_and(|startd| self.now > startd.unchanged_since + patience)
                && self.jobs_on(&server.id) == 0
        };
        let ended: Vec<String> = self
            .servers
            .values()
            .filter(over)
            .map(|s| s.id.clone())
            .collect();
        for id in ended {
            self.crash(&id);
            if let Some(server) = self.servers.get_mut(&id) {
                server.status = ServerStatus::Shutoff;
                // A startd that ends takes its ads with it.
                self.ads.remove(&server.id);
            }
        }
    }

    fn startd_mut(&mut self, id: &str) -> Option<&mut SimulatedStartd> {
        let server = self.servers.get_mut(id);
        server.and_then(|server| server.startd.as_mut())
    }

    fn changed(&mut self, id: &str) {
        let now = self.now;
        if let Some(startd) = self.startd_mut(id) {
            startd.unchanged_since = now;
        }
        self.update(id);
    }

    /// The next number of the world's generator (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// What time it is in the world, in a sentence.
    pub fn describe(&self) -> String {
        let done = self.jobs.len() - self.unfinished();
        let minutes = self.elapsed() / 60;
        format!(
            "simulated: {minutes} min have passed, {done} of {} jobs are done",
            self.jobs.len()
        )
    }
}

/// What a startd says of itself; of what it has, so much is used by so many claims.
fn ad(
    server: &SimulatedServer,
    startd: &SimulatedStartd,
    (used, claims): (Resources, u64),
    now: Seconds,
) -> SimulatedAd {
    SimulatedAd {
        machine: machine(&server.name),
        server: server.id.clone(),
        node: server.metadata.get(METADATA_NODE).cloned(),
        startd: startd.clone(),
        free: startd.total.minus(&used, 1),
        claims,
        heard: now,
        late: 0,
    }
}

/// The `Machine` of a server's startd: its name in Nova's default domain.
pub fn machine(name: &str) -> String {
    format!("{name}.novalocal")
}
