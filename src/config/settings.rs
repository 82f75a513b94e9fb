//! The checked configuration: what every part of ehos gets to see of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Error, Problem};
use crate::condor::CondorSettings;
use crate::deadline::Timeouts;
use crate::metrics::MetricsSettings;
use crate::notify;
use crate::openstack::CloudSettings;
use crate::scaling::policy::Policy;

/// Days of the history that are kept, when the configuration says nothing.
pub const HISTORY_DAYS: u64 = 400;

/// The least time between two passes for events, when the configuration says nothing.
pub const EVENT_INTERVAL: Duration = Duration::from_secs(10);

/// The whole configuration, merged and checked.
#[derive(Debug)]
pub struct Config {
    /// The files it was read from, in the order they were merged.
    pub files: Vec<PathBuf>,
    /// What decides.
    pub policy: Policy,
    /// How HTCondor is asked.
    pub condor: CondorSettings,
    /// How each cloud is asked, in the order of the configuration.
    pub clouds: Vec<CloudSettings>,
    /// The one cloud is that of `$OS_CLOUD` or of the `OS_*` variables: no file describes it under `clouds:`.
    pub cloud_of_environment: bool,
    /// A simulated world instead of HTCondor and clouds.
    pub simulation: Option<crate::simulation::Scenario>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// `state_dir`, where it is given.
    pub state_dir: Option<PathBuf>,
    /// Who is told of what is wrong.
    pub notify: notify::Settings,
    /// Days of the history that are kept; 0 keeps none.
    pub history_days: u64,
    /// The least time between two passes for what happened to jobs; 0: only the timer's.
    pub event_interval: Duration,
    /// Who gets the figures of a tick.
    pub metrics: MetricsSettings,
    /// What is worth knowing about the configuration: keys without a meaning any more, and the like.
    pub notes: Vec<String>,
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
                return Err(Problem::general(format!(
                    "there is no cloud `{name}` in the configuration; the clouds are: {}",
                    there.join(", ")
                ))
                .into());
            }
        }
        let chosen = |cloud: &&CloudSettings| names.is_empty() || names.contains(&cloud.name);
        Ok(self.clouds.iter().filter(chosen).collect())
    }
}
