//! A site of any size, as one tick sees and remembers it: nodes in all phases of their lives, and a queue.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use scaling::capacity::Capacity;
use scaling::job_names::PoolJobs;
use scaling::job_requirements::Matches;
use scaling::leftover::Leftovers;
use scaling::node::drain_mark;
use scaling::observation::{
    CloudView, CollectorView, Demand, DrainView, Flavor, JobCounts, NegotiatorView, NodeId,
    Observation, Observed, OwnedServer, PoolView, Quota, Resources, ScheddView, SecondaryQuota,
    ServerRecord, ServerStatus, SlotView, StartdView, Usage, execute_metadata,
};
use scaling::policy::{CloudPolicy, Policy};
use scaling::schedule::Spare;
use scaling::state::{Claims, Join, NodeState, NodeType, State, Tombstone};

const CLUSTER: &str = "pool-bench";
const CLOUDS: [&str; 2] = ["one", "two"];
const IMAGE: &str = "execute";

/// The flavor at a place in the order of preference: the first has 8 cores, the others 1, 2, 3 and so on.
fn flavor(place: usize) -> (String, Flavor) {
    let vcpus = match place {
        0 => 8,
        _ => place as u64 + u64::from(place >= 8),
    };
    let flavor = Flavor {
        id: place.to_string(),
        vcpus,
        ram_mb: vcpus * 2048,
        disk_gb: 160,
        gpus: 0,
    };
    (format!("m{vcpus}.xlarge"), flavor)
}

/// The flavor of a node: each has nodes in all phases.
fn flavor_of(number: usize, flavors: usize) -> (String, Flavor) {
    flavor(number / 20 % flavors)
}

fn whole(flavor: &Flavor) -> Resources {
    Resources {
        cpus: flavor.vcpus,
        memory_mb: flavor.vcpus * 1875,
        disk_kb: 160 << 20,
        gpus: 0,
    }
}

/// How much there is of everything.
#[derive(Clone, Copy)]
pub struct Size {
    pub jobs: u64,
    /// Different requests among them.
    pub requests: u64,
    pub nodes: usize,
    /// Of each cloud.
    pub flavors: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size {
            jobs,
            requests,
            nodes,
            flavors,
        } = self;
        write!(
            f,
            "{nodes} nodes of {flavors} flavors, {jobs} jobs, {requests} requests"
        )
    }
}

/// What the planner is given.
pub struct Scene {
    pub observation: Observation,
    pub policy: Policy,
    pub state: State,
}

/// Of 20 nodes 13 are busy, 3 idle, 1 drained, 1 draining, 1 booting and 1 building. Beside them the pool has other
/// machines, one for 20 nodes, and as many nodes have gone within the last hours.
pub fn scene(size: Size) -> Scene {
    let at: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let policy = policy(&size);
    let earlier = State::default().at(at - Duration::from_secs(60));
    let mut state = earlier.at(at);
    state.clouds = CLOUDS.iter().map(|name| (*name).to_owned()).collect();
    let mut startds = Vec::new();
    let mut servers: BTreeMap<&str, Vec<OwnedServer>> = BTreeMap::new();
    for number in 0..size.nodes {
        let cloud = CLOUDS[number % 2];
        let id = NodeId(format!("20261121t{:06}-01", number).into());
        let status = if number % 20 == 19 {
            ServerStatus::Build
        } else {
            ServerStatus::Active
        };
        let (name, flavor) = flavor_of(number, size.flavors);
        let record = server(number, &id, status, &name);
        let whole = whole(&flavor);
        let startd = (number % 20 < 18).then(|| startd(number, &id, &record.id, whole));
        let kind = NodeType {
            cloud: cloud.to_owned(),
            flavor: name,
            image: IMAGE.to_owned(),
        };
        if startd.is_some() {
            let memory = state.node_type_mut(&kind);
            memory.joined += 1;
            memory.capacity = Some(Capacity::whole(whole));
        }
        let memory = NodeState {
            server_id: Some(record.id.clone()),
            listed: true,
            join: Join {
                machine: startd.as_ref().map(|startd| startd.machine.clone()),
                joined: startd.as_ref().map(|_| earlier.now),
                proven: startd.is_some(),
                ..Join::default()
            },
            claims: startd
                .as_ref()
                .map_or_else(Claims::default, |startd| Claims {
                    claimed: startd.claims() > 0,
                    count: Some(startd.claims()),
                    changed: None,
                    taken: true,
                }),
            ..NodeState::new(kind, &record.name, at, earlier.now)
        };
        state.nodes.insert(id, memory.into());
        startds.extend(startd);
        let server = OwnedServer::recognise(record, CLUSTER).unwrap();
        servers.entry(cloud).or_default().push(server);
    }
    for number in 0..size.nodes / 20 {
        let other = NodeId(format!("other{number:06}").into());
        let mut machine = startd(number, &other, "", whole(&flavor(0).1));
        machine.instance_id = None;
        machine.node = None;
        startds.push(machine);
        let gone = Tombstone {
            jobless: true,
            server_id: Some(uuid(size.nodes + number)),
            machine: Some(format!("gone{number}")),
            at: earlier.now,
            invalidated: true,
            cloud: CLOUDS[number % CLOUDS.len()].to_owned(),
            volumes: Vec::new(),
            searched: true,
            failed: false,
        };
        let id = NodeId(format!("20261120t{number:06}-01").into());
        state.departed.insert(id, gone);
    }
    let clouds = CLOUDS.iter().map(|name| {
        let view = CloudView {
            obscure: Vec::new(),
            image_tested: false,
            unread_flavors: BTreeMap::new(),
            unread: Vec::new(),
            servers: servers.remove(name).unwrap_or_default(),
            quota: quota(),
            parts: Observed::Known(SecondaryQuota::default()),
            flavors: (0..size.flavors).map(flavor).collect(),
            leftovers: Observed::Known(Leftovers::default()),
        };
        ((*name).to_owned(), Observed::Known(view))
    });
    let clouds = clouds.collect();
    let schedd = ScheddView {
        demand: demand(size),
        jobs: JobCounts {
            idle: size.jobs,
            running: size.nodes as u64 * 5,
            held: 3,
        },
        ..ScheddView::default()
    };
    let pool = PoolView {
        collector: Observed::Known(CollectorView {
            up_for: Duration::from_secs(86_400),
            negotiation_period: None,
            cycle_began: None,
            startds,
            unreadable: Vec::new(),
            forged: Vec::new(),
        }),
        schedds: BTreeMap::from([("local".to_owned(), Observed::Known(schedd))]),
        negotiator: Observed::Known(NegotiatorView::default()),
        jobs: PoolJobs::default(),
        central_managers: None,
    };
    Scene {
        observation: Observation {
            at,
            pool,
            clouds,
            matches: Matches::default(),
        },
        policy,
        state,
    }
}

fn policy(size: &Size) -> Policy {
    let flavors: Vec<String> = (0..size.flavors).map(|place| flavor(place).0).collect();
    let cloud = |name: &&str| CloudPolicy::new(name, flavors.clone(), IMAGE);
    Policy {
        nodes_max: size.nodes as u64 * 2,
        nodes_spare: Spare::Count(2),
        clouds: CLOUDS.iter().map(cloud).collect(),
        ..Policy::new(CLUSTER)
    }
}

fn quota() -> Quota {
    let usage = Usage {
        limit: Some(1 << 40),
        used: 1000,
    };
    Quota {
        instances: usage,
        cores: usage,
        ram_mb: usage,
    }
}

fn uuid(number: usize) -> String {
    // Not in the order of the node ids.
    let first = (number as u32).wrapping_mul(2_654_435_761);
    format!("{first:08x}-0000-4000-8000-{number:012}")
}

fn server(number: usize, id: &NodeId, status: ServerStatus, flavor: &str) -> ServerRecord {
    ServerRecord {
        id: uuid(number),
        name: format!("ehos-v1-execute-{id}"),
        status,
        nova_status: None,
        deleting: false,
        metadata: execute_metadata(CLUSTER, id, flavor, IMAGE),
        age: Duration::from_secs(3600),
        fault: None,
        volumes: Vec::new(),
        zone: None,
        addresses: Vec::new(),
    }
}

fn startd(number: usize, id: &NodeId, uuid: &str, whole: Resources) -> StartdView {
    let machine = format!("ehos-v1-execute-{id}.example.org");
    let draining = matches!(number % 20, 16 | 17);
    let idle = matches!(number % 20, 13..=16);
    // Busy nodes have one to eight cores in use, so of each size some are free.
    let used = if idle { 0 } else { number as u64 / 20 % 8 + 1 }.min(whole.cpus);
    let job = Resources {
        cpus: 1,
        memory_mb: 1024,
        disk_kb: 1 << 20,
        gpus: 0,
    };
    // No two disks have the same room, so no two free spaces are the same.
    let total = Resources {
        disk_kb: whole.disk_kb - number as u64 * 4,
        ..whole
    };
    StartdView {
        slots: vec![SlotView {
            owners: Default::default(),
            name: format!("slot1@{machine}"),
            total,
            free: total.minus(&job, used),
            claims: used,
            accepts_jobs: !draining,
            unchanged_for: Duration::from_secs(number as u64 * 37 % 1200),
        }],
        machine,
        address: None,
        instance_id: Some(uuid.to_owned()),
        node: Some(id.clone()),
        sender: scaling::sender::Sender::Unknown,
        heard_ago: Duration::from_secs(number as u64 % 60),
        update_interval: Some(Duration::from_secs(60)),
        up_for: Duration::from_secs(3600),
        draining: draining.then(|| DrainView {
            reason: format!("{} idle 300 s, not needed", drain_mark(CLUSTER)),
            request_id: number.to_string(),
            complete: idle,
        }),
    }
}

/// One to eight cores; memory makes them as many as there should be. It is in steps of 128 MB up to a thousand requests; more
/// requests have smaller steps, so that at each size as many of them fit a node.
fn demand(size: Size) -> Vec<Demand> {
    let group = |number: u64| Demand {
        request: Resources {
            cpus: number % 8 + 1,
            memory_mb: 1024 + number / 8 * 128_000 / size.requests.max(1000),
            disk_kb: 1 << 20,
            gpus: 0,
        },
        jobs: size.jobs / size.requests,
        waiting: Duration::from_secs(90 + number * 31 % 600),
        ..Demand::default()
    };
    (0..size.requests).map(group).collect()
}
