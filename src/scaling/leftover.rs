//! What servers of ours have left behind in a cloud, and how it is known to be ours.
//!
//! A port is ours if its device_id is the UUID of a departed server of ours, Nova owns it, and it
//! has no name. A volume is ours if Nova named it UUID-blank-vol with such a UUID, it is detached,
//! and its server did not keep it. A floating IP is ours if `master deploy` wrote the pool into its
//! description.
//!
//! Each must be observed twice. Right before the delete Nova must answer 404 for the server.
//! Deleted servers are remembered for two hours and until their cloud has answered, at most for a
//! day, 1000 of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::floating_ip::NodeFloatingIp;

/// What a cloud is asked about: servers of ours that are gone, of which something may have stayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftoverQuery {
    /// Their UUIDs, at most [`MAX_SERVERS`].
    pub servers: BTreeSet<String>,
    /// Volumes that were attached to departed servers, and whether each was to go with its server.
    pub volumes: BTreeMap<String, bool>,
    /// Images from which a node of the cloud has joined: nothing need be known of these.
    pub joined_images: BTreeSet<String>,
}

/// So many departed servers are asked about in one look at a cloud.
pub const MAX_SERVERS: usize = 100;

/// Nova calls the blank volume that it makes with a server by the server's UUID and this.
const BLANK_VOLUME: &str = "-blank-vol";

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// A port of Neutron.
    Port,
    /// A blank volume of Cinder (`scratch_size`).
    Volume,
    /// A floating IP.
    FloatingIp,
}

impl LeftoverKind {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            LeftoverKind::Port => "port",
            LeftoverKind::Volume => "volume",
            LeftoverKind::FloatingIp => "floating IP",
        }
    }
}

/// A port as Neutron lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRecord {
    /// Its id.
    pub id: String,
    /// Its name; Nova gives none.
    pub name: String,
    /// The UUID of the server that it is of.
    pub device_id: String,
    /// `compute:ZONE`; empty for a moment when Nova has just made it.
    pub device_owner: String,
}

/// A volume as Cinder lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its size in GiB.
    pub size_gb: u64,
    /// `available`, `in-use`, `error` …
    pub status: String,
    /// It is attached to something.
    pub attached: bool,
}

impl VolumeRecord {
    /// Nobody has it, and Cinder takes a delete of it.
    pub fn is_free(&self) -> bool {
        !self.attached && matches!(self.status.as_str(), "available" | "error")
    }

    /// The server that Nova made it with, as a blank volume.
    pub fn server(&self) -> Option<&str> {
        let server = self.name.strip_suffix(BLANK_VOLUME)?;
        (!server.is_empty()).then_some(server)
    }
}

/// A floating IP as Neutron lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatingIpRecord {
    /// Its id.
    pub id: String,
    /// The address.
    pub address: String,
    /// The port it leads to.
    pub port: Option<String>,
    /// The UUID of the server whose port that is, where it was said or asked for.
    pub server: Option<String>,
    /// What its maker wrote to it.
    pub description: String,
}

/// Something that was made for a server of ours and is of no use any more, as its mark says. There is no other way to
/// get one than these functions, and a removal takes nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    kind: LeftoverKind,
    id: String,
    name: String,
    server: Option<String>,
    another_leads: bool,
}

impl Leftover {
    /// A port that Nova made for one of the departed servers: their UUID is its mark. One with a name was made by
    /// somebody else, and one whose owner is not Nova is something else's.
    pub fn port(port: &PortRecord, traces: &LeftoverQuery) -> Option<Leftover> {
        let of_nova = port.device_owner.is_empty() || port.device_owner.starts_with("compute:");
        let ours = !port.device_id.is_empty() && traces.servers.contains(&port.device_id);
        (ours && of_nova && port.name.is_empty()).then(|| Leftover {
            kind: LeftoverKind::Port,
            id: port.id.clone(),
            name: String::new(),
            server: Some(port.device_id.clone()),
            another_leads: false,
        })
    }

    /// A blank volume that Nova made with one of the departed servers: its name is its mark. It must be free, and one that
    /// was told to stay when the server goes is somebody's.
    pub fn volume(volume: &VolumeRecord, traces: &LeftoverQuery) -> Option<Leftover> {
        let server = volume.server()?;
        let ours =
            traces.servers.contains(server) && traces.volumes.get(&volume.id) != Some(&false);
        (ours && volume.is_free()).then(|| Leftover {
            kind: LeftoverKind::Volume,
            id: volume.id.clone(),
            name: volume.name.clone(),
            server: Some(server.to_owned()),
            another_leads: false,
        })
    }

    /// A floating IP that was taken for a central manager of this pool and leads nowhere: its description is its mark.
    /// `another_leads` says that another one of this mark leads somewhere.
    pub fn floating_ip(
        ip: &FloatingIpRecord,
        cluster: &str,
        another_leads: bool,
    ) -> Option<Leftover> {
        (is_masters(ip, cluster) && ip.port.is_none()).then(|| Leftover {
            kind: LeftoverKind::FloatingIp,
            id: ip.id.clone(),
            name: ip.address.clone(),
            server: None,
            another_leads,
        })
    }

    /// What it is.
    pub fn kind(&self) -> LeftoverKind {
        self.kind
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, or the address of a floating IP; a port has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The UUID of the server it was made for; a floating IP does not say.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Of a floating IP: another one of this pool's leads somewhere, so that a central manager needs no more.
    pub fn another_leads(&self) -> bool {
        self.another_leads
    }
}

/// Whether a floating IP was taken for a central manager of the pool `cluster`.
pub fn is_masters(ip: &FloatingIpRecord, cluster: &str) -> bool {
    !cluster.is_empty() && ip.description == master_floating_ip_mark(cluster)
}

/// What marks a floating IP as that of this pool's central manager: nothing else can be written to it.
pub fn master_floating_ip_mark(cluster: &str) -> String {
    format!("ehos {cluster} master")
}

/// Something that looks as if a server of ours had left it, but bears no mark that proves it: it is told of, never touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmarked {
    /// What it is.
    pub kind: LeftoverKind,
    /// Its id.
    pub id: String,
    /// Its name or address.
    pub name: String,
}

/// What a cloud shows of leftovers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Of the servers that were asked about: all there are.
    pub ours: Vec<Leftover>,
    /// What may be ours.
    pub unmarked: Vec<Unmarked>,
    /// Floating IPs of nodes: nobody has left them, but who asks for the ones is told of the others.
    pub of_nodes: Vec<NodeFloatingIp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces() -> LeftoverQuery {
        LeftoverQuery {
            servers: BTreeSet::from(["gone".to_owned()]),
            volumes: BTreeMap::from([("kept".to_owned(), false), ("v".to_owned(), true)]),
            ..LeftoverQuery::default()
        }
    }

    fn port() -> PortRecord {
        PortRecord {
            id: "p".to_owned(),
            name: String::new(),
            device_id: "gone".to_owned(),
            device_owner: "compute:nova".to_owned(),
        }
    }

    #[test]
    fn a_port_is_ours_by_the_server_that_it_was_made_for() {
        let ours = |port: &PortRecord| Leftover::port(port, &traces()).is_some();
        assert!(ours(&port()));
        let with = |change: &dyn Fn(&mut PortRecord)| {
            let mut port = port();
            change(&mut port);
            ours(&port)
        };
        assert!(with(&|port| port.device_owner.clear()), "just made");
        assert!(!with(&|port| port.device_id = "another".to_owned()));
        assert!(!with(&|port| port.device_id.clear()));
        assert!(!with(&|port| port.device_owner = "network:dhcp".to_owned()));
        assert!(!with(&|port| port.name = "mine".to_owned()));
        let mut nothing = traces();
        nothing.servers.insert(String::new());
        let mut nobodys = port();
        nobodys.device_id.clear();
        assert!(Leftover::port(&nobodys, &nothing).is_none());
    }

    #[test]
    fn a_volume_is_ours_by_the_name_that_nova_gave_it_and_only_when_it_is_free() {
        let volume = VolumeRecord {
            id: "v".to_owned(),
            name: "gone-blank-vol".to_owned(),
            size_gb: 1,
            status: "available".to_owned(),
            attached: false,
        };
        let with = |change: &dyn Fn(&mut VolumeRecord)| {
            let mut volume = volume.clone();
            change(&mut volume);
            Leftover::volume(&volume, &traces()).is_some()
        };
        assert!(with(&|_| {}));
        assert!(with(&|volume| volume.status = "error".to_owned()));
        assert!(!with(&|volume| volume.attached = true));
        for status in ["in-use", "reserved", "creating", "deleting", "attaching"] {
            assert!(!with(&|volume| volume.status = status.to_owned()));
        }
        for name in [
            "another-blank-vol",
            "gone",
            "",
            "-blank-vol",
            "my gone-blank-vol",
        ] {
            assert!(!with(&|volume| volume.name = name.to_owned()), "{name:?}");
        }
        assert!(!with(&|volume| volume.id = "kept".to_owned()));
    }

    #[test]
    fn a_floating_ip_is_ours_by_its_description_and_only_when_it_leads_nowhere() {
        let ip = FloatingIpRecord {
            id: "f".to_owned(),
            address: "192.0.2.1".to_owned(),
            port: None,
            server: None,
            description: master_floating_ip_mark("pool-1"),
        };
        assert!(Leftover::floating_ip(&ip, "pool-1", false).is_some());
        assert!(Leftover::floating_ip(&ip, "pool-2", false).is_none());
        let leads = FloatingIpRecord {
            port: Some("p".to_owned()),
            ..ip.clone()
        };
        assert!(Leftover::floating_ip(&leads, "pool-1", false).is_none());
        let nobodys = FloatingIpRecord {
            description: String::new(),
            ..ip
        };
        assert!(Leftover::floating_ip(&nobodys, "", false).is_none());
    }
}
