//! A small site: some clouds with flavors, quotas and nodes, and some jobs that wait.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use scaling::action::CloudAction;
use scaling::allocation::Allocation;
use scaling::failure_tracking::Protected;
use scaling::job_names::PoolJobs;
use scaling::job_requirements::Matches;
use scaling::leftover::Leftovers;
use scaling::observation::{
    CloudView, CollectorView, Demand, Flavor, JobCounts, NegotiatorView, NodeId, Observation,
    Observed, OwnedServer, PoolView, Quota, Resources, ScheddView, SecondaryQuota, ServerRecord,
    ServerStatus, SlotView, StartdView, Usage, execute_metadata,
};
use scaling::plan::{Action, Plan, plan};
use scaling::policy::{CloudPolicy, Policy};
use scaling::state::{Claims, Join, NodeState, NodeType, State};

pub const CLUSTER: &str = "pool-small";
pub const IMAGE: &str = "execute";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Free,
    Backoff,
    Protected,
}

#[derive(Debug, Clone)]
pub struct SmallFlavor {
    pub vcpus: u64,
    pub ram_mb: u64,
    pub price: Option<f64>,
    pub standing: Standing,
    pub joined: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmallPhase {
    Building,
    Idle { seconds: u64 },
    Busy { cpus: u64 },
    Failed,
}

#[derive(Debug, Clone)]
pub struct SmallNode {
    /// By its position, when there are so many.
    pub flavor: usize,
    pub phase: SmallPhase,
}

#[derive(Debug, Clone)]
pub struct SmallCloud {
    pub name: String,
    pub flavors: Vec<SmallFlavor>,
    /// Limit, and what others use of it.
    pub instances: Option<(u64, u64)>,
    pub cores: Option<(u64, u64)>,
    pub ram_mb: Option<(u64, u64)>,
    pub min_instances: u64,
    pub min_cores: u64,
    pub min_ram_mb: u64,
    pub nodes_max: Option<u64>,
    pub cores_max: Option<u64>,
    pub weight: u64,
    pub answers: bool,
    pub nodes: Vec<SmallNode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jobs {
    pub request: Resources,
    pub jobs: u64,
    pub seconds: u64,
}

#[derive(Debug, Clone)]
pub struct Small {
    pub clouds: Vec<SmallCloud>,
    pub schedds: Vec<Vec<Jobs>>,
    pub policy: Policy,
    pub turn: u64,
}

pub fn flavor(vcpus: u64, ram_mb: u64, price: Option<f64>) -> SmallFlavor {
    SmallFlavor {
        vcpus,
        ram_mb,
        price,
        standing: Standing::Free,
        joined: 1000,
    }
}

/// Without any limit.
pub fn cloud(name: &str, flavors: Vec<SmallFlavor>) -> SmallCloud {
    SmallCloud {
        name: name.to_owned(),
        flavors,
        instances: None,
        cores: None,
        ram_mb: None,
        min_instances: 0,
        min_cores: 0,
        min_ram_mb: 0,
        nodes_max: None,
        cores_max: None,
        weight: 1,
        answers: true,
        nodes: Vec::new(),
    }
}

pub fn jobs(count: u64, cpus: u64, memory_mb: u64) -> Jobs {
    Jobs {
        request: Resources {
            cpus,
            memory_mb,
            disk_kb: 1024,
            gpus: 0,
        },
        jobs: count,
        seconds: 10,
    }
}

pub fn flavor_name(position: usize) -> String {
    format!("f{position}")
}

impl Small {
    pub fn new(clouds: Vec<SmallCloud>, waiting: Vec<Jobs>) -> Small {
        Small {
            clouds,
            schedds: vec![waiting],
            policy: Policy {
                nodes_max: 1000,
                max_actions: 1000,
                ..Policy::new(CLUSTER)
            },
            turn: 1,
        }
    }

    pub fn by(mut self, allocation: Allocation) -> Small {
        self.policy.allocation = allocation;
        self
    }

    pub fn at() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    pub fn policy(&self) -> Policy {
        let cloud = |cloud: &SmallCloud| {
            let flavors = cloud.flavors.iter().enumerate();
            let prices = flavors.filter_map(|(at, flavor)| Some((flavor_name(at), flavor.price?)));
            CloudPolicy {
                nodes_max: cloud.nodes_max,
                cores_max: cloud.cores_max,
                weight: cloud.weight,
                min_cores: cloud.min_cores,
                min_ram_mb: cloud.min_ram_mb,
                min_instances: cloud.min_instances,
                prices: prices.collect(),
                ..CloudPolicy::new(
                    &cloud.name,
                    (0..cloud.flavors.len()).map(flavor_name).collect(),
                    IMAGE,
                )
            }
        };
        Policy {
            clouds: self.clouds.iter().map(cloud).collect(),
            ..self.policy.clone()
        }
    }

    /// What the planner is given.
    pub fn scene(&self) -> (Observation, Policy, State) {
        let at = Small::at();
        let earlier = State::default().at(at - Duration::from_secs(3600));
        let mut state = earlier.at(at);
        state.turn = self.turn;
        let mut startds = Vec::new();
        let mut clouds = BTreeMap::new();
        for cloud in &self.clouds {
            state.clouds.insert(cloud.name.clone());
            let mut servers = Vec::new();
            let mut used = (0, 0, 0);
            for (position, flavor) in cloud.flavors.iter().enumerate() {
                let kind = kind(cloud, position);
                let until = state.now.plus(Duration::from_secs(300));
                let now = state.now;
                let memory = state.node_type_mut(&kind);
                memory.joined = flavor.joined;
                if flavor.standing != Standing::Free {
                    memory.failures = 1;
                    memory.failed_at = Some(now);
                    memory.last_failure = Some("no more".to_owned());
                }
                match flavor.standing {
                    Standing::Free => {}
                    Standing::Backoff => memory.backoff_until = Some(until),
                    Standing::Protected => {
                        memory.protected = Some(Protected {
                            since: at,
                            failures: 5,
                        });
                    }
                }
            }
            for (number, node) in cloud.nodes.iter().enumerate() {
                let position = node.flavor.min(cloud.flavors.len() - 1);
                let flavor = &cloud.flavors[position];
                used = (used.0 + 1, used.1 + flavor.vcpus, used.2 + flavor.ram_mb);
                let id = NodeId(format!("{}-{number:03}", cloud.name).into());
                let record = server(&id, position, node.phase);
                let startd = startd(&id, &record.id, flavor, node.phase);
                let memory = NodeState {
                    server_id: Some(record.id.clone()),
                    listed: true,
                    join: Join {
                        machine: startd.as_ref().map(|startd| startd.machine.clone()),
                        joined: startd.as_ref().map(|_| state.now),
                        proven: startd.is_some(),
                        ..Join::default()
                    },
                    claims: Claims {
                        taken: true,
                        ..Claims::default()
                    },
                    ..NodeState::new(kind(cloud, position), &record.name, at, state.now)
                };
                state.nodes.insert(id, memory.into());
                startds.extend(startd);
                servers.push(OwnedServer::recognise(record, CLUSTER).unwrap());
            }
            let usage = |limit: Option<(u64, u64)>, ours: u64| Usage {
                limit: limit.map(|(limit, _)| limit),
                used: limit.map_or(0, |(_, others)| others) + ours,
            };
            let view = CloudView {
                obscure: Vec::new(),
                image_tested: false,
                unread_flavors: BTreeMap::new(),
                unread: Vec::new(),
                servers,
                quota: Quota {
                    instances: usage(cloud.instances, used.0),
                    cores: usage(cloud.cores, used.1),
                    ram_mb: usage(cloud.ram_mb, used.2),
                },
                flavors: cloud
                    .flavors
                    .iter()
                    .enumerate()
                    .map(|(position, flavor)| (flavor_name(position), nova(position, flavor)))
                    .collect(),
                leftovers: Observed::Known(Leftovers::default()),
                parts: Observed::Known(SecondaryQuota::default()),
            };
            let seen = if cloud.answers {
                Observed::Known(view)
            } else {
                Observed::Unknown("down".to_owned())
            };
            clouds.insert(cloud.name.clone(), seen);
        }
        let schedds = self.schedds.iter().enumerate().map(|(number, waiting)| {
            let demand: Vec<Demand> = waiting
                .iter()
                .map(|jobs| Demand {
                    request: jobs.request,
                    jobs: jobs.jobs,
                    waiting: Duration::from_secs(jobs.seconds),
                    ..Demand::default()
                })
                .collect();
            let view = ScheddView {
                demand,
                jobs: JobCounts::default(),
                ..ScheddView::default()
            };
            (format!("schedd{number}"), Observed::Known(view))
        });
        let pool = PoolView {
            collector: Observed::Known(CollectorView {
                up_for: Duration::from_secs(86_400),
                negotiation_period: None,
                cycle_began: None,
                startds,
                unreadable: Vec::new(),
                forged: Vec::new(),
            }),
            schedds: schedds.collect(),
            negotiator: Observed::Known(NegotiatorView::default()),
            jobs: PoolJobs::default(),
            central_managers: None,
        };
        let observation = Observation {
            at,
            pool,
            clouds,
            matches: Matches::default(),
        };
        (observation, self.policy(), state)
    }

    pub fn plan(&self) -> Plan {
        let (observation, policy, state) = self.scene();
        plan(&observation, &policy, &state)
    }
}

pub fn kind(cloud: &SmallCloud, position: usize) -> NodeType {
    NodeType {
        cloud: cloud.name.clone(),
        flavor: flavor_name(position),
        image: IMAGE.to_owned(),
    }
}

/// How many are made of each (cloud, flavor).
pub fn made(plan: &Plan) -> BTreeMap<(String, String), u64> {
    let mut made = BTreeMap::new();
    for action in &plan.actions {
        if let Action::Cloud {
            cloud,
            action: CloudAction::Create(intent),
        } = action
        {
            *made
                .entry((cloud.clone(), intent.flavor.clone()))
                .or_default() += 1;
        }
    }
    made
}

/// The same in the order of their making, as `cloud/flavor`.
pub fn made_in_order(plan: &Plan) -> Vec<String> {
    let created = |action: &Action| match action {
        Action::Cloud {
            cloud,
            action: CloudAction::Create(intent),
        } => Some(format!("{cloud}/{}", intent.flavor)),
        _ => None,
    };
    plan.actions.iter().filter_map(created).collect()
}

pub fn nova(position: usize, flavor: &SmallFlavor) -> Flavor {
    Flavor {
        id: position.to_string(),
        vcpus: flavor.vcpus,
        ram_mb: flavor.ram_mb,
        disk_gb: 0,
        gpus: 0,
    }
}

fn server(id: &NodeId, position: usize, phase: SmallPhase) -> ServerRecord {
    ServerRecord {
        id: format!("uuid-{id}"),
        name: format!("ehos-v1-execute-{id}"),
        status: match phase {
            SmallPhase::Building => ServerStatus::Build,
            SmallPhase::Idle { .. } | SmallPhase::Busy { .. } => ServerStatus::Active,
            SmallPhase::Failed => ServerStatus::Error,
        },
        nova_status: None,
        deleting: false,
        metadata: execute_metadata(CLUSTER, id, &flavor_name(position), IMAGE),
        age: Duration::from_secs(60),
        fault: None,
        volumes: Vec::new(),
        zone: None,
        addresses: Vec::new(),
    }
}

fn startd(id: &NodeId, uuid: &str, flavor: &SmallFlavor, phase: SmallPhase) -> Option<StartdView> {
    let total = nova(0, flavor).expected_capacity();
    let job = Resources {
        cpus: 1,
        memory_mb: 128,
        disk_kb: 1024,
        gpus: 0,
    };
    let (claims, unchanged) = match phase {
        SmallPhase::Building | SmallPhase::Failed => return None,
        SmallPhase::Idle { seconds } => (0, seconds),
        SmallPhase::Busy { cpus } => (cpus.clamp(1, flavor.vcpus), 30),
    };
    Some(StartdView {
        slots: vec![SlotView {
            owners: Default::default(),
            name: format!("slot1@{id}"),
            total,
            free: total.minus(&job, claims),
            claims,
            accepts_jobs: true,
            unchanged_for: Duration::from_secs(unchanged),
        }],
        machine: format!("ehos-v1-execute-{id}.example.org"),
        address: None,
        instance_id: Some(uuid.to_owned()),
        node: Some(id.clone()),
        sender: scaling::sender::Sender::Unknown,
        heard_ago: Duration::from_secs(5),
        update_interval: Some(Duration::from_secs(60)),
        up_for: Duration::from_secs(3600),
        draining: None,
    })
}
