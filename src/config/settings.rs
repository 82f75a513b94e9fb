//! The checked configuration: what every part of ehos gets to see of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::error::{Error, Problem};
use crate::notify;
use crate::scaling::policy::{Policy, Takes};

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

/// Who gets the figures of a tick.
#[derive(Debug)]
pub struct MetricsSettings {
    /// The file for node_exporter's textfile collector.
    pub prometheus_textfile: Option<PathBuf>,
    /// The InfluxDB that they are sent to.
    pub influxdb: Option<InfluxSettings>,
    /// What this machine is called there (`daemon.hostname`); `None`: its name.
    pub hostname: Option<String>,
    /// How long sending may take.
    pub timeout: Duration,
}

impl Default for MetricsSettings {
    fn default() -> MetricsSettings {
        MetricsSettings {
            prometheus_textfile: None,
            influxdb: None,
            hostname: None,
            timeout: Duration::from_secs(2),
        }
    }
}

/// An InfluxDB.
#[derive(Debug)]
pub struct InfluxSettings {
    /// Where lines are written, with the database, or the organization and the bucket. It has no secret in it.
    pub address: String,
    /// How ehos proves who it is.
    pub login: Option<InfluxLogin>,
}

/// How ehos proves who it is to InfluxDB.
#[derive(Debug)]
pub enum InfluxLogin {
    /// Version 1.
    Password {
        /// The user.
        username: String,
        /// Its password.
        password: SecretString,
    },
    /// Version 2.
    Token(SecretString),
}

impl InfluxLogin {
    /// What nobody may see of it.
    pub fn secret(&self) -> &SecretString {
        match self {
            InfluxLogin::Password { password, .. } => password,
            InfluxLogin::Token(token) => token,
        }
    }
}

/// Time limits of one tick.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The whole tick.
    pub tick: Duration,
    /// One HTTP request.
    pub request: Duration,
    /// One child process.
    pub command: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            tick: Duration::from_secs(100),
            request: Duration::from_secs(30),
            command: Duration::from_secs(30),
        }
    }
}

/// How HTCondor is asked.
#[derive(Debug, Default)]
pub struct CondorSettings {
    /// The central manager's address as nodes reach it (`host_ip`): the `{host_ip}` of user data.
    pub host_ip: Option<String>,
    /// Another pool's collector (`-pool`); else what this machine's HTCondor is configured for.
    pub pool: Option<String>,
    /// Schedds to ask, by name; empty: the one of this machine.
    pub schedds: Vec<String>,
    /// A site's own limit on which jobs count, ANDed to the demand query.
    pub job_constraint: Option<String>,
    /// Room alone decides where jobs may run (`match_requirements: false`), not their Requirements.
    pub ignore_requirements: bool,
    /// Folder of the condor_* tools; else `$PATH`.
    pub bin: Option<PathBuf>,
    /// HTCondor's global event log, where it is not [`CondorSettings::EVENT_LOG`].
    pub event_log: Option<PathBuf>,
    /// Universes whose idle jobs need nodes (5 vanilla).
    pub universes: Vec<u32>,
    /// `UID_DOMAIN`/`TRUST_DOMAIN` for tokens and user data, when not asked of `condor_config_val`.
    pub trust_domain: Option<String>,
    /// The shared pool password of the original ehos: the `{password}` of user data.
    pub password: Option<SecretString>,
    /// The token with which all nodes join; else `condor_token_create` makes one for each.
    pub token: Option<SecretString>,
    /// The name of the key that signs such tokens; `None`: the pool's.
    pub token_key: Option<String>,
    /// The folder in which that key is ehos's own file; `None`: HTCondor's.
    pub token_key_directory: Option<PathBuf>,
    /// The identity of tokens that ehos makes (`execute@TRUST_DOMAIN` by default).
    pub token_identity: Option<String>,
    /// How long such a token is good for; by default [`CondorSettings::TOKEN_LIFETIME`].
    pub token_lifetime: Option<Duration>,
    /// With `scale_down: node`, after how long without a claim a node powers itself off (`idle_timeout`): the
    /// `{noclaim_shutdown}` of user data.
    pub noclaim_shutdown: Option<Duration>,
}

impl CondorSettings {
    /// The lifetime of tokens that ehos makes, when none is configured: a node that gets old is replaced before.
    pub const TOKEN_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

    /// `$(LOG)/EventLog` of HTCondor's packages, which ehos.path watches.
    pub const EVENT_LOG: &str = "/var/log/condor/EventLog";

    /// HTCondor's global event log, if there is one.
    pub fn event_log(&self) -> &Path {
        let given = self.event_log.as_deref();
        given.unwrap_or(Path::new(Self::EVENT_LOG))
    }

    /// The lifetime of tokens that ehos makes.
    pub fn token_lifetime(&self) -> Duration {
        self.token_lifetime.unwrap_or(Self::TOKEN_LIFETIME)
    }
}

/// How one cloud is asked and what its servers are made of.
#[derive(Debug)]
pub struct CloudSettings {
    /// Its name in the configuration.
    pub name: String,
    /// Who ehos is there.
    pub auth: Auth,
    /// Region of the catalog; `None`: the only one there.
    pub region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// What is said of one service alone.
    pub services: ServiceSettings,
    /// Certificates to trust instead of the system's.
    pub cacert: Option<PathBuf>,
    /// Do not check certificates.
    pub insecure: bool,
    /// Image of nodes: name or id.
    pub image: String,
    /// Image that golden images are built from: name or id.
    pub base_image: Option<String>,
    /// Flavors of nodes: names or ids, in order of preference.
    pub flavors: Vec<String>,
    /// Networks: names or ids.
    pub networks: Vec<String>,
    /// Keypair.
    pub key: Option<String>,
    /// Security groups: names or ids.
    pub security_groups: Vec<String>,
    /// Availability zones over which nodes are spread; none: the cloud's choice.
    pub availability_zones: Vec<String>,
    /// Server group of nodes: name or id.
    pub server_group: Option<String>,
    /// Its policy, where it is made.
    pub server_group_policy: String,
    /// Size in GiB of the volume that nodes boot from; `None`: from the disk of their flavor.
    pub boot_volume_size_gb: Option<u64>,
    /// The volume's type.
    pub boot_volume_type: Option<String>,
    /// Nodes get a config drive.
    pub config_drive: bool,
    /// Tags of each server.
    pub tags: Vec<String>,
    /// GPUs of a node, by flavor, where the flavor itself does not say it right.
    pub gpus: BTreeMap<String, u64>,
    /// User data template of nodes (`userdata_file`).
    pub user_data_file: PathBuf,
    /// More metadata for each server.
    pub metadata: BTreeMap<String, String>,
    /// Size in GiB of a blank scratch volume that lives and dies with the server.
    pub scratch_size_gb: Option<u64>,
    /// The central manager cannot reach the nodes: they keep a connection to it and are told over it to call back
    /// (HTCondor's connection broker, `CCB_ADDRESS`).
    pub ccb: bool,
    /// What the ads of its nodes say (`startd_attrs`), as long as none has joined: ClassAd expressions by name.
    pub startd_attributes: BTreeMap<String, String>,
}

impl CloudSettings {
    /// The availability zone of a server that is no node.
    pub fn first_zone(&self) -> Option<&str> {
        self.availability_zones.first().map(String::as_str)
    }

    /// Whether nodes are put into a server group that leaves out hosts.
    pub fn has_hard_server_group(&self) -> bool {
        self.server_group.is_some() && !self.server_group_policy.starts_with("soft-")
    }

    /// What each node takes of the project besides a server, cores and memory.
    pub fn takes(&self) -> Takes {
        let volumes = [self.boot_volume_size_gb, self.scratch_size_gb];
        Takes {
            ports: self.networks.len() as u64,
            volumes: volumes.iter().flatten().count() as u64,
            volume_gb: volumes.iter().flatten().sum(),
            server_group_members: u64::from(self.server_group.is_some()),
        }
    }
}

/// What is said of services alone: `compute`, `image`, `network`, `volume`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Their addresses, in the place of the catalog's.
    pub endpoint_overrides: BTreeMap<String, String>,
    /// Their interfaces.
    pub interfaces: BTreeMap<String, String>,
    /// Their regions.
    pub region_names: BTreeMap<String, String>,
}

/// Who ehos is on a cloud (Keystone v3).
#[derive(Debug)]
pub struct Auth {
    /// Keystone's address, with or without `/v3`.
    pub url: String,
    /// How it proves itself.
    pub method: AuthMethod,
}

/// How ehos proves who it is.
#[derive(Debug)]
pub enum AuthMethod {
    /// User name and password, scoped to a project.
    Password {
        /// User name or id.
        user: NameOrId,
        /// The user's domain, for a name.
        user_domain: Option<NameOrId>,
        /// Its password.
        password: SecretString,
        /// Project name or id.
        project: NameOrId,
        /// The project's domain, for a name.
        project_domain: Option<NameOrId>,
    },
    /// An application credential, which carries its project.
    ApplicationCredential {
        /// Its id, or its name with the user it belongs to.
        credential: NameOrId,
        /// For a name: the user …
        user: Option<NameOrId>,
        /// … and the user's domain.
        user_domain: Option<NameOrId>,
        /// Its secret.
        secret: SecretString,
    },
    /// A token of Keystone, which ends soon and cannot be renewed.
    Token {
        /// The token.
        token: SecretString,
        /// Project name or id; `None`: the token's own.
        project: Option<NameOrId>,
        /// The project's domain, for a name.
        project_domain: Option<NameOrId>,
    },
}

/// How Keystone's objects are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrId {
    /// By name.
    Name(String),
    /// By id.
    Id(String),
}
