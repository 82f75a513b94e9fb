//! What tests do to a world.

use scaling::observation::ServerStatus;

use crate::Seconds;
use crate::World;

impl World {
    /// The machine starts anew: switched on again, or rebooted by whoever may. Its startd knows nothing of its jobs.
    pub fn boot_again(&mut self, id: &str, seconds: Seconds) {
        let joins = self.now + seconds;
        if let Some(server) = self.servers.get_mut(id).filter(|server| {
            server.gone_at.is_none()
                && server.active_at <= self.now
                && server.status != ServerStatus::Error
        }) {
            server.startd = None;
            server.status = ServerStatus::Active;
            server.joins_at = Some(joins);
        }
    }

    /// The startd starts anew, and knows of no drain; its jobs are lost, or go on (a master that is restarted in peace).
    pub fn restart_startd(&mut self, id: &str, jobs_go_on: bool) {
        let now = self.now;
        let startd = self
            .servers
            .get_mut(id)
            .and_then(|server| server.startd.as_mut());
        let Some(startd) = startd else { return };
        startd.started = now;
        startd.unchanged_since = now;
        startd.drain = None;
        startd.drains = 0;
        if !jobs_go_on {
            self.lose_jobs(id);
        }
        self.update(id);
    }

    /// Cuts a machine off from the collector, or joins it again.
    pub fn cut_off(&mut self, id: &str, off: bool) {
        let now = self.now;
        if let Some(server) = self.servers.get_mut(id) {
            server.cut_off_since = off.then_some(server.cut_off_since.unwrap_or(now));
        }
        self.update(id);
    }
}
