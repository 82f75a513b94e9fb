//! Settings of one cloud: how ehos logs in, and how it creates servers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use keys::{Form, Kind, settings};
use scaling::policy::NodeFootprint;

/// Policies of server groups that Nova has; the first is the default: nodes are spread over hosts as far as there are enough.
pub const SERVER_GROUP_POLICIES: [&str; 4] = [
    "soft-anti-affinity",
    "anti-affinity",
    "soft-affinity",
    "affinity",
];

/// Interfaces of an endpoint in the catalog.
pub const INTERFACES: [&str; 3] = ["public", "internal", "admin"];

/// An interface, which may end in `URL` as in openstacksdk.
pub const INTERFACE: Form = Form {
    name: "choice",
    pattern: "^(public|internal|admin)(URL)?$",
    check: |text| {
        let interface = text.trim_end_matches("URL");
        match INTERFACES.contains(&interface) {
            true => Ok(()),
            false => Err(format!("`{text}` is none of {}", INTERFACES.join(", "))),
        }
    },
};

settings! {
    /// How ehos logs in to one cloud, and how it creates servers there. A field with a key is that key of an entry of
    /// `clouds:`.
    #[derive(Debug)]
    pub struct CloudSettings {
        /// Region of the catalog.
        region as "region_name": Option<String> = None, "the only one of the catalog";
        /// Interface of the catalog's endpoints: `public`, `internal` or `admin`.
        interface: String as [Kind::Form(&INTERFACE)] = "public".to_owned();
        /// Certificates to trust instead of the system's.
        cacert: Option<PathBuf> = None, "the system's";
        /// Image that golden images are built from, name or id. Nodes boot from it where there is no `image`.
        base_image [For("ehos")]: Option<String> = None, "none";
        /// Flavors of nodes, names or ids, in order of preference.
        flavors [For("ehos"), Also("flavor")]: Vec<String> = Vec::new(), "required";
        /// Networks of nodes, names or ids. A node gets a port in each, in this order.
        networks [For("ehos"), Also("network")]: Vec<String> = Vec::new(), "required";
        /// Keypair.
        key [For("ehos")]: Option<String> = None, "none";
        /// Security groups, names or ids.
        security_groups [For("ehos")]: Vec<String> = Vec::new(), "the project's default";
        /// Availability zones of nodes. Over several of them nodes are spread, the zone with the fewest first. A zone without
        /// capacity is skipped for `backoff_initial`, doubling; the flavor waits only when all zones are full. Builders and
        /// central managers take the first.
        availability_zones [For("ehos"), Also("availability_zone")]: Vec<String> = Vec::new(), "the cloud's choice";
        /// Server group of nodes, name or id; `ehos cloud setup` creates a missing one. The members have a quota of their own,
        /// 10 by default in Nova.
        server_group [For("ehos")]: Option<String> = None, "none";
        /// Policy of the server group if `ehos cloud setup` creates it. A group of hard anti-affinity takes as many nodes as there are hosts.
        server_group_policy [For("ehos")]: String as [Kind::Choice(&SERVER_GROUP_POLICIES)] =
            "soft-anti-affinity".to_owned();
        /// Size in GB of a volume, made of the image, that nodes boot from; it is deleted with the server. For flavors without a
        /// disk, whose disk counts with this size then; 0 is none. Images are built on the disk of a flavor.
        boot_volume_size_gb as "boot_volume_size" [For("ehos")]: Option<u64> = None, "none";
        /// Type of that volume.
        boot_volume_type [For("ehos")]: Option<String> = None, "the cloud's";
        /// `true`: servers have their user data on a drive, for clouds without a metadata service.
        config_drive [For("ehos")]: bool = false;
        /// Tags of nodes' servers, besides metadata: at most 50, of 60 characters, without `/` and `,`.
        tags [For("ehos")]: Vec<String> = Vec::new(), "none";
        /// GPUs of a node, by flavor: `{g1.large: 2}`. For clouds that do not show the extra specs of flavors, and where
        /// `pci_passthrough:alias` means other devices (0).
        gpus [For("ehos")]: BTreeMap<String, u64> = BTreeMap::new(), "`pci_passthrough:alias`, `resources:VGPU`";
        /// Size in GB of a blank volume that is created and deleted with the server; 0 is none. ehos removes one that outlived its server.
        scratch_size_gb as "scratch_size" [For("ehos")]: Option<u64> = None, "none";
        /// `true`: the central manager cannot reach the nodes, see [below](#nodes-behind-nat).
        ccb [For("ehos")]: bool = false;
        /// More metadata of servers.
        metadata [For("ehos")]: BTreeMap<String, String> = BTreeMap::new(), "none";
        /// Attributes of the startds of new nodes besides those that every startd has, ClassAd expressions by name:
        /// `{HasDocker: 'true', OpSysAndVer: '"AlmaLinux9"'}`. Until the first node of a node type has joined, jobs are matched
        /// with them; then its own ad counts. `START` can stand here, too.
        startd_attributes as "startd_attrs" [For("ehos")]: BTreeMap<String, String> = BTreeMap::new(), "none";
        /// `true`: certificates are not checked (noted). `verify: false` is the same.
        insecure: bool = false;
    }
    beside {
        /// Its name in the configuration.
        name: String = String::new();
        /// Who ehos is there.
        auth: Auth = Auth::nobody();
        /// What is said of one service alone.
        services: ServiceSettings = ServiceSettings::default();
        /// Image of nodes: name or id.
        image: String = String::new();
        /// User data template of nodes (`userdata_file`).
        user_data_file: PathBuf = PathBuf::new();
    }
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
    pub fn takes(&self) -> NodeFootprint {
        let volumes = [self.boot_volume_size_gb, self.scratch_size_gb];
        NodeFootprint {
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

impl Auth {
    /// Nobody, while the rest of an entry is checked.
    pub fn nobody() -> Auth {
        Auth {
            url: String::new(),
            method: AuthMethod::Token {
                token: SecretString::default(),
                project: None,
                project_domain: None,
            },
        }
    }
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
        /// Secret of the application credential.
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
