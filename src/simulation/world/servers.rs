//! Servers of the world: how they are created and deleted, and what befalls them.

use std::collections::BTreeMap;

use scaling::leftover::LeftoverKind;
use scaling::observation::{METADATA_IMAGE, METADATA_LIFETIME, METADATA_ROLE, ServerStatus};

use super::{SimulatedServer, SimulatedThing, World};

impl World {
    /// Puts a server that was just made into a zone; where zone or flavor is full, there is no host for it.
    pub fn place(&mut self, id: &str, zone: Option<&str>) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.zone = zone.map(str::to_owned);
        let full = &self.broken.full;
        if full.contains(&server.flavor) || zone.is_some_and(|zone| full.contains(zone)) {
            server.status = ServerStatus::Error;
            server.joins_at = None;
        }
    }

    /// The machine dies: no goodbye, its server stays as Nova last saw it.
    pub fn crash(&mut self, id: &str) {
        if let Some(server) = self.servers.get_mut(id) {
            server.startd = None;
            server.joins_at = None;
        }
    }

    /// Asks a cloud for a server. It may never join, or fail, as `broken` says.
    pub fn create(
        &mut self,
        cloud: &str,
        name: &str,
        flavor: &str,
        metadata: BTreeMap<String, String>,
    ) -> String {
        self.made += 1;
        // The form of a UUID, from the seed and a number: no two alike.
        let high = self.draw();
        let id = format!("{:08x}-0000-4000-8000-{:012x}", high >> 32, self.made);
        let (build, boot) = self
            .scenario
            .clouds
            .get(cloud)
            .map_or((20, (40, 90)), |cloud| {
                (cloud.build_seconds, cloud.boot_seconds)
            });
        let boots = boot.0 + self.draw() % (boot.1.saturating_sub(boot.0) + 1);
        let boots = boots + self.broken.slow_boots;
        let active_at = self.now + build;
        let failed = self.broken.spawn.is_some();
        let image = metadata.get(METADATA_IMAGE);
        let broken =
            self.broken.image || image.is_some_and(|image| self.broken.images.contains(image));
        // Builders and central managers have no startd.
        let role = metadata.get(METADATA_ROLE);
        let execute = role.is_none_or(|role| role == "execute");
        self.names.insert(id.clone(), name.to_owned());
        let server = SimulatedServer {
            id: id.clone(),
            name: name.to_owned(),
            cloud: cloud.to_owned(),
            flavor: flavor.to_owned(),
            zone: None,
            metadata,
            created: self.now,
            active_at,
            joins_at: (execute && !failed && !broken).then_some(active_at + boots),
            nova_status: None,
            status: if failed {
                ServerStatus::Error
            } else {
                ServerStatus::Build
            },
            gone_at: None,
            startd: None,
            cut_off_since: None,
            proved: None,
            heard: None,
        };
        self.servers.insert(id.clone(), server);
        let thing = |kind, mark: String| SimulatedThing {
            kind,
            cloud: cloud.to_owned(),
            server: Some(id.clone()),
            mark,
            stays: false,
        };
        let port = thing(LeftoverKind::Port, String::new());
        self.things.insert(format!("port-of-{id}"), port);
        let volume = thing(LeftoverKind::Volume, format!("{id}-blank-vol"));
        self.things.insert(format!("volume-of-{id}"), volume);
        if self.broken.floating_ips {
            let ip = thing(LeftoverKind::FloatingIp, String::new());
            self.things.insert(format!("floating-ip-of-{id}"), ip);
        }
        id
    }

    /// Takes a floating IP off the server it leads to; false when it leads nowhere. That of a server that is no execute
    /// server is a violation.
    pub fn disassociate(&mut self, id: &str) -> bool {
        let thing = self.things.get_mut(id);
        let Some(server) = thing.and_then(|thing| thing.server.take()) else {
            return false;
        };
        let role = self.servers.get(&server);
        let role = role.and_then(|server| server.metadata.get(METADATA_ROLE));
        if role.is_none_or(|role| role != "execute") {
            self.violations
                .push(format!("{}: {id} taken off {server}", self.now));
        }
        true
    }

    /// Removes a port, a volume or a floating IP; false when there is none. That of a server that is there, one that was
    /// told to stay, and one that bears no mark of this pool's are violations.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(thing) = self.things.remove(id) else {
            return false;
        };
        let server = thing.server.as_ref();
        let of_a_server = server.is_some_and(|server| self.servers.contains_key(server));
        let of_nobody = server.is_none() && thing.kind != LeftoverKind::FloatingIp;
        if of_a_server || of_nobody || thing.mark.contains("somebody") {
            self.violations
                .push(format!("{}: {id} removed: {thing:?}", self.now));
        }
        true
    }

    /// Deletes a server; false when there is none. A delete that ends a live job is a violation, unless the node has
    /// been cut off for longer than any lease; so is that of a builder within its lifetime, and of a central manager.
    pub fn delete(&mut self, id: &str) -> bool {
        let now = self.now;
        let jobs = self.jobs_on(id);
        let mute = self.broken.mute;
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        let age = now - server.created;
        let lifetime = server.metadata.get(METADATA_LIFETIME);
        let lifetime = lifetime.and_then(|seconds| seconds.parse().ok());
        let role = server.metadata.get(METADATA_ROLE);
        if lifetime.is_some_and(|lifetime: u64| age <= lifetime)
            || role.is_some_and(|role| role == "master")
        {
            self.violations
                .push(format!("{now}: {} deleted {age} s old", server.name));
        }
        let lease_over = server
            .cut_off_since
            .is_some_and(|since| now >= since + 60 * 60);
        // Neither the collector has heard of it for that long, nor does it say anything now: as good as cut off.
        let lease_over = lease_over || (mute && server.heard.is_some_and(|at| now >= at + 60 * 60));
        let ended = self.jobs_end.is_some_and(|end| age >= end) || self.condemned.contains(id);
        if jobs > 0 && server.startd.is_some() && !lease_over && !ended {
            self.violations.push(format!(
                "{now}: {} deleted with {jobs} jobs on it",
                server.name
            ));
        }
        if self.broken.delete_errors {
            server.status = ServerStatus::Error;
            server.startd = None;
            server.joins_at = None;
        } else if !self.broken.deletes {
            server.gone_at.get_or_insert(now + 2);
            server.startd = None;
            if self.broken.leaks {
                let things = self.things.values_mut();
                for thing in things.filter(|thing| thing.server.as_deref() == Some(id)) {
                    thing.stays = true;
                }
            }
        }
        true
    }

    /// The collector starts anew: it knows nobody until they say something.
    pub fn restart_collector(&mut self) {
        self.ads.clear();
        self.under_way.clear();
        self.collector_started = self.now;
        self.broken.collector = false;
    }
}
