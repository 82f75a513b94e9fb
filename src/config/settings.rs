//! The checked configuration: what every part of ehos gets to see of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostics::one_of;
use super::error::{Diagnostic, Error};
use condor::CondorSettings;
use keys::settings;
use openstack::CloudSettings;
use report::metrics::MetricsSettings;
use report::notify;
use scaling::policy::Policy;

settings! {
    /// Time limits of one tick.
    #[derive(Debug, Clone)]
    pub struct Timeouts {
        /// Time limit of the whole tick.
        tick as "tick_timeout" [Positive]: Duration = Duration::from_secs(100);
        /// Time limit of one HTTP request.
        request as "request_timeout" [Positive]: Duration = Duration::from_secs(30);
        /// Time limit of one HTCondor command.
        command as "command_timeout" [Positive]: Duration = Duration::from_secs(30);
    }
    beside {}
}

settings! {
    /// The whole configuration, merged and checked. A field with a key is that key of `daemon:`.
    #[derive(Debug)]
    pub struct Config {
        /// Least time between two ticks for [events](#ticks-between-the-minutes); 0: only the timer's ticks.
        event_interval: Duration = Duration::from_secs(10);
        /// Creates and deletes in flight to one cloud, at most. ehos begins with 8, sends more while the cloud answers quickly,
        /// and fewer when the cloud answers 429 or 503, or slowly.
        max_in_flight [Positive]: u64 = 32;
        /// Days of the [history](operations.md#history) that are kept; 0 keeps none.
        history_days: u64 = 400;
        /// Names owners of jobs and job ids in reports, the history and the page; `false` hides them there.
        show_owners: bool = true;
        /// State directory.
        state_dir [Machine]: Option<PathBuf> = None,
            "`$STATE_DIRECTORY`; /var/lib/ehos for root and its owner; `$XDG_STATE_HOME/ehos` for others";
    }
    beside {
        /// The files it was read from, in the order they were merged.
        files: Vec<PathBuf> = Vec::new();
        /// What decides.
        policy: Policy = Policy::default();
        /// How HTCondor is queried.
        condor: CondorSettings = CondorSettings::default();
        /// How each cloud is queried, in the order of the configuration.
        clouds: Vec<CloudSettings> = Vec::new();
        /// The one cloud is that of `$OS_CLOUD` or of the `OS_*` variables: no file describes it under `clouds:`.
        cloud_of_environment: bool = false;
        /// `daemon.time_zone` is given: that of the policy is not a default, even if it is UTC.
        time_zone_given: bool = false;
        /// A simulated site instead of HTCondor and clouds.
        simulation: Option<simulation::Scenario> = None;
        /// Time limits.
        timeouts: Timeouts = Timeouts::default();
        /// The receivers of notifications.
        notify: notify::Settings = notify::Settings::default();
        /// The receivers of the figures of a tick.
        metrics: MetricsSettings = MetricsSettings::default();
        /// Notes on the configuration: keys that are not used, and the like.
        notes: Vec<Diagnostic> = Vec::new();
    }
}

impl Config {
    /// The folder of the main file.
    pub fn folder(&self) -> Option<&Path> {
        self.files.first().and_then(|file| file.parent())
    }

    /// The clouds of these names, in the order of the configuration; without any name, all of them.
    ///
    /// # Errors
    /// A name that no cloud has.
    pub fn chosen(&self, names: &[String]) -> Result<Vec<&CloudSettings>, Error> {
        for name in names {
            if !self.clouds.iter().any(|cloud| cloud.name == *name) {
                let there: Vec<&str> = self.clouds.iter().map(|cloud| &*cloud.name).collect();
                let problem = format!("there is no cloud `{name}` in the configuration");
                return Err(Diagnostic::general((problem, one_of(&there))).into());
            }
        }
        let chosen = |cloud: &&CloudSettings| names.is_empty() || names.contains(&cloud.name);
        Ok(self.clouds.iter().filter(chosen).collect())
    }
}
