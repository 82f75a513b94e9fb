//! Startds of the world: their ads and drains.

use scaling::observation::METADATA_TOKEN_LIFETIME;

use super::{Seconds, SimulatedAd, World, ad};

impl World {
    pub(super) fn update_all(&mut self) {
        let ids: Vec<String> = self.servers.keys().cloned().collect();
        for id in ids {
            self.update(&id);
        }
    }

    /// The startd tells the collector how it is, if it can.
    pub(super) fn update(&mut self, id: &str) {
        let (used, claims) = self.used_on(id);
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let (Some(startd), None, false) =
            (&server.startd, server.cut_off_since, self.broken.collector)
        else {
            return;
        };
        // A collector that knows the startd asks it for no token; one that has restarted does.
        let known = server.proved.is_some_and(|at| at >= self.collector_started);
        let lifetime = server.metadata.get(METADATA_TOKEN_LIFETIME);
        let ends = lifetime.and_then(|seconds| seconds.parse::<Seconds>().ok());
        if !known && ends.is_some_and(|ends| self.now >= server.created + ends) {
            return;
        }
        let proved = if known { server.proved } else { Some(self.now) };
        let mut ad = ad(server, startd, (used, claims), self.now);
        if let Some(server) = self.servers.get_mut(id) {
            server.proved = proved;
        }
        // What is under way arrives before it.
        let last = self.under_way.back().map_or(0, |(due, _)| *due);
        let due = last.max(self.now + self.broken.late_ads.max(self.broken.old_ads));
        if due > self.now {
            ad.late = self.broken.late_ads;
            ad.heard += ad.late;
            self.under_way.push_back((due, ad));
        } else {
            self.arrive(ad);
        }
    }

    /// The collector gets an ad.
    pub(super) fn arrive(&mut self, ad: SimulatedAd) {
        if let Some(server) = self.servers.get_mut(&ad.server) {
            server.heard = Some(self.now);
        }
        self.ads.insert(ad.server.clone(), ad);
    }

    /// What the startd on this server says of itself, when it is asked and answers.
    pub fn own_ad(&self, id: &str) -> Option<SimulatedAd> {
        let server = self.servers.get(id).filter(|_| self.answers(id))?;
        let startd = server.startd.as_ref()?;
        Some(ad(server, startd, self.used_on(id), self.now))
    }

    /// Whether the startd on this server is reached and says how it is.
    pub(super) fn answers(&self, id: &str) -> bool {
        let server = self.servers.get(id);
        !self.broken.mute && server.is_some_and(|server| server.cut_off_since.is_none())
    }

    /// Drains a machine if it is idle; `Err` says what the startd or the network says.
    pub fn drain(&mut self, machine_name: &str, reason: &str) -> Result<(), String> {
        let id = self.reachable(machine_name)?;
        self.drain_server(&id, reason)
    }

    /// Drains the startd that answers to this name if it is on this server: of two of one name the same one always
    /// answers.
    pub fn drain_checked(
        &mut self,
        machine_name: &str,
        server: Option<&str>,
        reason: &str,
    ) -> Result<(), String> {
        let id = self.reachable(machine_name)?;
        if server.is_some_and(|server| server != id) {
            return Err("Draining check expression is false".to_owned());
        }
        self.drain_server(&id, reason)
    }

    pub(super) fn drain_server(&mut self, id: &str, reason: &str) -> Result<(), String> {
        if self.jobs_on(id) > 0 {
            return Err("Draining check expression is false".to_owned());
        }
        let now = self.now;
        if let Some(startd) = self
            .servers
            .get_mut(id)
            .and_then(|server| server.startd.as_mut())
        {
            if startd.drain.is_some() {
                return Err("Draining already in progress".to_owned());
            }
            startd.drains += 1;
            let request_id = startd.started + startd.drains;
            startd.drain = Some((reason.to_owned(), request_id.to_string()));
            // NumDynamicSlotsTime stays as it is under a drain; a drained node was also seen to say "idle 0 s". ehos must do
            // with the worse of the two.
            startd.unchanged_since = now;
        }
        self.update(id);
        Ok(())
    }

    /// Takes back the drain with this request id.
    pub fn cancel_drain(&mut self, machine_name: &str, request_id: &str) -> Result<(), String> {
        let id = self.reachable(machine_name)?;
        let now = self.now;
        if let Some(startd) = self
            .servers
            .get_mut(&id)
            .and_then(|server| server.startd.as_mut())
        {
            if startd.drain.as_ref().is_none_or(|(_, id)| id != request_id) {
                return Err("No matching draining request id".to_owned());
            }
            startd.drain = None;
            startd.unchanged_since = now;
        }
        self.update(&id);
        Ok(())
    }

    /// The server whose startd is meant: of two with one name, the first that the collector has.
    pub(super) fn reachable(&self, machine_name: &str) -> Result<String, String> {
        let mut ads = self.ads.values();
        let ad = ads
            .find(|ad| ad.machine == machine_name)
            .ok_or("Can't find address for startd")?;
        let server = self.servers.get(&ad.server);
        let up = server.filter(|server| server.startd.is_some() && server.cut_off_since.is_none());
        up.map(|server| server.id.clone())
            .ok_or_else(|| "failed to send the request to the startd".to_owned())
    }
}
