//! Settings of one cloud: how ehos logs in, and how it creates servers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::scaling::policy::Takes;

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
