//! The world as ehos meets it: a cloud on one side, a pool on the other.

mod pool;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scaling::sorting::IntoMap;
use secrecy::SecretString;

use ::tick::backends::Backends;

use super::world::{SimulatedServer, SimulatedThing, World};
use scaling::action::{CloudAction, Done, Failure, FailureKind};
use scaling::console::{ConsoleExcerpt, excerpt};
use scaling::floating_ip::NodeFloatingIp;
use scaling::leftover::{
    FloatingIpRecord, Leftover, LeftoverKind, Leftovers, PortRecord, Unmarked, VolumeRecord,
};
use scaling::observation::{
    CloudView, Flavor, METADATA_TOKEN_LIFETIME, Observed, OwnedServer, Quota, SecondaryQuota,
    ServerRecord, ServerStatus, Usage, execute_metadata,
};
use scaling::policy::Policy;
use scaling::signing::SigningKeys;
use system::deadline::Deadline;
use tick::cloud::{Cloud, LeftoverQuery};

/// One cloud of a world.
pub struct SimulatedCloud<'a> {
    pub world: &'a Mutex<World>,
    pub name: String,
    pub cluster: String,
}

/// The pool of a world.
pub struct SimulatedPool<'a> {
    pub world: &'a Mutex<World>,
    /// Only jobs that have been idle for longer than this are demand.
    pub negotiation_cycle: Duration,
}

/// The world behind its lock. A panic elsewhere does not make it less true.
pub fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message }
}

impl Cloud for SimulatedCloud<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn keep_console(&self, _server: &OwnedServer, _deadline: Deadline) -> Option<ConsoleExcerpt> {
        let world = locked(self.world);
        world.broken.console.as_deref().map(excerpt)
    }

    fn observe(&self, traces: &LeftoverQuery, _deadline: Deadline) -> Result<CloudView, Failure> {
        let world = locked(self.world);
        self.answers(&world)?;
        let Some(cloud) = world.scenario.clouds.get(&self.name) else {
            return Err(failure(
                FailureKind::NotDone,
                format!("the world has no cloud {}", self.name),
            ));
        };
        let mine = world
            .servers
            .values()
            .filter(|server| server.cloud == self.name);
        let records = mine.clone().map(|server| record(&world, server));
        let sizes = mine.filter_map(|server| cloud.flavors.get(&server.flavor));
        let used = sizes.fold((0, 0, 0), |sum, flavor| {
            (sum.0 + 1, sum.1 + flavor.vcpus, sum.2 + flavor.ram_mb)
        });
        let flavors = cloud.flavors.iter().map(|(name, flavor)| {
            let flavor = Flavor {
                id: name.clone(),
                vcpus: flavor.vcpus,
                ram_mb: flavor.ram_mb,
                disk_gb: flavor.disk_gb,
                gpus: flavor.gpus,
            };
            (name.clone(), flavor)
        });
        Ok(CloudView {
            obscure: Vec::new(),
            image_tested: world.image_tested,
            unread_flavors: BTreeMap::new(),
            unread: Vec::new(),
            servers: records
                .filter_map(|record| OwnedServer::recognise(record, &self.cluster))
                .map(|server| server.checked(&keys(), world.at()))
                .collect(),
            quota: Quota {
                instances: Usage {
                    limit: cloud.instances,
                    used: used.0,
                },
                cores: Usage {
                    limit: cloud.cores,
                    used: used.1,
                },
                ram_mb: Usage {
                    limit: cloud.ram_mb,
                    used: used.2,
                },
            },
            parts: Observed::Known(SecondaryQuota::default()),
            flavors: flavors.into_map(),
            leftovers: self.leftovers(&world, traces),
        })
    }

    fn look(&self, server_id: &str, _deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        let world = locked(self.world);
        self.answers(&world)?;
        let server = world.servers.get(server_id);
        let server = server.filter(|server| server.cloud == self.name);
        Ok(server.map(|server| record(&world, server)))
    }

    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        match action {
            CloudAction::Create(intent) => {
                let quota = self.observe(&LeftoverQuery::default(), deadline)?.quota;
                let mut world = locked(self.world);
                let flavor = world
                    .scenario
                    .clouds
                    .get(&self.name)
                    .and_then(|cloud| cloud.flavors.get(&intent.flavor));
                let (vcpus, ram_mb) = flavor.map_or((0, 0), |flavor| (flavor.vcpus, flavor.ram_mb));
                let over = |usage: Usage, more: u64| usage.left().is_some_and(|left| left < more);
                if over(quota.instances, 1)
                    || over(quota.cores, vcpus)
                    || over(quota.ram_mb, ram_mb)
                {
                    return Err(failure(
                        FailureKind::Quota,
                        format!("cloud {}: quota exceeded", self.name),
                    ));
                }
                let mut metadata =
                    execute_metadata(&self.cluster, &intent.node, &intent.flavor, &intent.image);
                let lifetime = world.scenario.token_lifetime_seconds;
                metadata.extend(
                    lifetime
                        .map(|seconds| (METADATA_TOKEN_LIFETIME.to_owned(), seconds.to_string())),
                );
                let server_id =
                    world.create_signed(&self.name, &intent.name, &intent.flavor, metadata);
                world.place(&server_id, intent.zone.as_deref());
                Ok(Done::Created { server_id })
            }
            CloudAction::Delete { server, .. } => {
                let mut world = locked(self.world);
                self.answers(&world)?;
                Ok(if world.delete(server.id()) {
                    Done::Accepted
                } else {
                    Done::AlreadyGone
                })
            }
            CloudAction::Remove { leftover, .. } => {
                let mut world = locked(self.world);
                self.answers(&world)?;
                let server = leftover.server();
                if server.is_some_and(|server| world.servers.contains_key(server)) {
                    return Err(failure(
                        FailureKind::NotIdle,
                        "its server is there after all".to_owned(),
                    ));
                }
                Ok(if world.remove(leftover.id()) {
                    Done::Accepted
                } else {
                    Done::AlreadyGone
                })
            }
            CloudAction::Disassociate { floating_ip, .. } => {
                let mut world = locked(self.world);
                self.answers(&world)?;
                let thing = world.things.get(floating_ip.id());
                let leads = thing.and_then(|thing| thing.server.as_deref());
                if leads.is_some_and(|server| server != floating_ip.server().id()) {
                    return Err(failure(
                        FailureKind::Changed,
                        "it leads elsewhere now".to_owned(),
                    ));
                }
                Ok(if world.disassociate(floating_ip.id()) {
                    Done::Accepted
                } else {
                    Done::AlreadyGone
                })
            }
        }
    }
}

impl World {
    /// Makes a server as ehos does, with a signature.
    pub fn create_signed(
        &mut self,
        cloud: &str,
        name: &str,
        flavor: &str,
        mut metadata: BTreeMap<String, String>,
    ) -> String {
        keys().sign(&mut metadata, name, self.at());
        self.create(cloud, name, flavor, metadata)
    }
}

/// The keys of a simulated site: one that is always the same.
pub fn keys() -> SigningKeys {
    SigningKeys::new(vec![SecretString::from("simulation".to_owned())])
}

fn record(world: &World, server: &SimulatedServer) -> ServerRecord {
    ServerRecord {
        id: server.id.clone(),
        name: server.name.clone(),
        status: server.status,
        nova_status: server.nova_status.clone(),
        deleting: server.gone_at.is_some(),
        metadata: server.metadata.clone(),
        age: Duration::from_secs(world.now - server.created),
        fault: match server.status {
            ServerStatus::Error => world
                .broken
                .spawn
                .clone()
                .or(Some("No valid host was found.".to_owned())),
            _ => None,
        },
        volumes: Vec::new(),
        zone: server.zone.clone(),
        addresses: vec![server.id.clone()],
    }
}

fn floating_ip(id: &str, thing: &SimulatedThing) -> FloatingIpRecord {
    FloatingIpRecord {
        id: id.to_owned(),
        address: "192.0.2.1".to_owned(),
        port: thing.server.clone(),
        server: thing.server.clone(),
        description: thing.mark.clone(),
    }
}

impl SimulatedCloud<'_> {
    fn leftovers(&self, world: &World, traces: &LeftoverQuery) -> Observed<Leftovers> {
        if world.broken.things {
            return Observed::Unknown("Neutron does not answer".to_owned());
        }
        let mine = world
            .things
            .iter()
            .filter(|(_, thing)| thing.cloud == self.name);
        let ours = mine.clone().filter_map(|(id, thing)| {
            let server = thing.server.clone().unwrap_or_default();
            let attached = world.servers.contains_key(&server);
            match thing.kind {
                LeftoverKind::Port => {
                    let port = PortRecord {
                        id: id.clone(),
                        name: thing.mark.clone(),
                        device_id: server,
                        device_owner: "compute:nova".to_owned(),
                    };
                    Leftover::port(&port, traces)
                }
                LeftoverKind::Volume => {
                    let status = if attached { "in-use" } else { "available" };
                    let volume = VolumeRecord {
                        id: id.clone(),
                        name: thing.mark.clone(),
                        size_gb: 1,
                        status: status.to_owned(),
                        attached,
                    };
                    Leftover::volume(&volume, traces)
                }
                LeftoverKind::FloatingIp => {
                    Leftover::floating_ip(&floating_ip(id, thing), &self.cluster, false)
                }
            }
        });
        let floating_ips = mine.filter(|(_, thing)| thing.kind == LeftoverKind::FloatingIp);
        let unused = floating_ips
            .clone()
            .filter(|(_, thing)| thing.server.is_none() && thing.mark.is_empty());
        let of_nodes = floating_ips.filter_map(|(id, thing)| {
            let server = world.servers.get(thing.server.as_ref()?)?;
            let server = OwnedServer::recognise(record(world, server), &self.cluster)?;
            NodeFloatingIp::new(&floating_ip(id, thing), &server)
        });
        Observed::Known(Leftovers {
            ours: ours.collect(),
            unmarked: unused
                .map(|(id, thing)| Unmarked {
                    kind: thing.kind,
                    id: id.clone(),
                    name: floating_ip(id, thing).address,
                })
                .collect(),
            of_nodes: of_nodes.collect(),
        })
    }

    fn answers(&self, world: &World) -> Result<(), Failure> {
        if world.broken.clouds.contains(&self.name) {
            return Err(failure(
                FailureKind::NotDone,
                format!("cloud {} does not answer", self.name),
            ));
        }
        Ok(())
    }
}

/// The backends of a tick on `world`.
pub fn backends<'a>(world: &'a Mutex<World>, policy: &Policy) -> Backends<'a> {
    let names: Vec<String> = locked(world).scenario.clouds.keys().cloned().collect();
    let cloud = |name| -> Box<dyn Cloud + 'a> {
        Box::new(SimulatedCloud {
            world,
            name,
            cluster: policy.cluster.clone(),
        })
    };
    Backends {
        pool: Box::new(SimulatedPool {
            world,
            negotiation_cycle: policy.negotiation_cycle,
        }),
        clouds: names.into_iter().map(cloud).collect(),
    }
}
