//! What a simulated world is made of and what happens in it: the `simulation:` section of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use scaling::sorting::IntoMap;
use serde::{Deserialize, Serialize};

use scaling::policy::CloudPolicy;

/// A simulated site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// By how many seconds each tick moves the world on.
    #[serde(default = "default_step_seconds")]
    pub step_seconds: u64,
    /// Chooses boot times and the like.
    #[serde(default)]
    pub seed: u64,
    /// Seconds between two negotiation cycles.
    #[serde(default = "default_negotiation_seconds")]
    pub negotiation_seconds: u64,
    /// Seconds between two updates of a startd to the collector.
    #[serde(default = "default_update_seconds")]
    pub update_seconds: u64,
    /// How long an ad lives in the collector that nobody renews.
    #[serde(default = "default_classad_lifetime_seconds")]
    pub classad_lifetime_seconds: u64,
    /// How long the token of a node is good for; without it, for ever.
    #[serde(default)]
    pub token_lifetime_seconds: Option<u64>,
    /// The clouds, in the order of their names.
    pub clouds: BTreeMap<String, ScenarioCloud>,
    /// The jobs that are submitted.
    #[serde(default)]
    pub jobs: Vec<ScenarioJobs>,
}

fn default_step_seconds() -> u64 {
    60
}
fn default_negotiation_seconds() -> u64 {
    60
}
fn default_update_seconds() -> u64 {
    60
}
fn default_classad_lifetime_seconds() -> u64 {
    900
}

/// A simulated cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioCloud {
    /// Quota of servers; unlimited when absent.
    pub instances: Option<u64>,
    /// Quota of cores; unlimited when absent.
    pub cores: Option<u64>,
    /// Quota of memory in MiB; unlimited when absent.
    pub ram_mb: Option<u64>,
    /// Seconds from the create to ACTIVE.
    #[serde(default = "default_build_seconds")]
    pub build_seconds: u64,
    /// Seconds from ACTIVE to the startd's first ad: between these two.
    #[serde(default = "default_boot_seconds")]
    pub boot_seconds: (u64, u64),
    /// A started period of so many seconds is paid whole; without it, what is used is.
    #[serde(default)]
    pub billing_period_seconds: Option<u64>,
    /// Its flavors, in the order of their names; nodes take the first that fits.
    pub flavors: BTreeMap<String, ScenarioFlavor>,
}

fn default_build_seconds() -> u64 {
    20
}
fn default_boot_seconds() -> (u64, u64) {
    (40, 90)
}

/// A flavor of a simulated cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFlavor {
    /// Cores.
    pub vcpus: u64,
    /// Memory in MiB.
    pub ram_mb: u64,
    /// Disk in GiB.
    #[serde(default = "default_disk_gb")]
    pub disk_gb: u64,
    #[serde(default)]
    pub gpus: u64,
    /// What a server of it costs an hour.
    #[serde(default)]
    pub price: Option<f64>,
    /// What jobs can need that a server of it has.
    #[serde(default)]
    pub has: Vec<String>,
}

fn default_disk_gb() -> u64 {
    40
}

/// Jobs that are submitted together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioJobs {
    /// When, in seconds from the start of the world.
    pub at_seconds: u64,
    /// How many.
    pub count: u64,
    /// `request_cpus`.
    #[serde(default = "default_cpus")]
    pub cpus: u64,
    /// `request_memory` in MiB.
    #[serde(default = "default_memory_mb")]
    pub memory_mb: u64,
    /// How long each runs.
    pub runs_seconds: u64,
    /// No machine satisfies their Requirements, and nothing foretells that.
    #[serde(default)]
    pub unmatchable: bool,
    /// What a machine must have for them (`has` of its flavor); nothing when empty.
    #[serde(default)]
    pub needs: String,
    /// Their owner; nobody when empty.
    #[serde(default)]
    pub owner: String,
}

fn default_cpus() -> u64 {
    1
}
fn default_memory_mb() -> u64 {
    1024
}

/// The image of every simulated node.
pub const IMAGE: &str = "simulated";

impl Scenario {
    /// What the planner is to know of the clouds.
    pub fn cloud_policies(&self) -> Vec<CloudPolicy> {
        let policy = |(name, cloud): (&String, &ScenarioCloud)| {
            let prices = cloud.flavors.iter();
            let prices = prices.filter_map(|(name, flavor)| Some((name.clone(), flavor.price?)));
            CloudPolicy {
                prices: prices.into_map(),
                billing_period: cloud.billing_period_seconds.map(Duration::from_secs),
                ..CloudPolicy::new(name, cloud.flavors.keys().cloned().collect(), IMAGE)
            }
        };
        self.clouds.iter().map(policy).collect()
    }
}
