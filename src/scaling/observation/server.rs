//! Servers as clouds list them, and the proof that a server belongs to this pool.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sorting::IntoMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::NodeId;
use crate::signing::SigningKeys;

/// Metadata key of the pool that a server belongs to.
pub const METADATA_CLUSTER: &str = "ehos_cluster";
/// Metadata key of what a server is for (`execute`, `master`, `builder`).
pub const METADATA_ROLE: &str = "ehos_role";
/// Metadata key of the node id.
pub const METADATA_NODE: &str = "ehos_node";
/// Metadata key of the flavor's name, as configured.
pub const METADATA_FLAVOR: &str = "ehos_flavor";
/// Metadata key of the image, as configured.
pub const METADATA_IMAGE: &str = "ehos_image";
/// Metadata key of a builder's lifetime in seconds, from its creation on Nova's clock.
pub const METADATA_LIFETIME: &str = "ehos_lifetime";
/// Metadata: the central manager of a node (`condor.host_ip`), if configured.
pub const METADATA_CONDOR_HOST: &str = "ehos_condor_host";

/// Metadata key of how long a node's token is good for: seconds from the server's creation, on Nova's clock.
pub const METADATA_TOKEN_LIFETIME: &str = "ehos_token_lifetime";
/// Metadata key of the identity of a node's token (`sub`), where it is this node's alone.
pub const METADATA_TOKEN_IDENTITY: &str = "ehos_token_identity";
/// Metadata key of the id of a node's token (`jti`), by which it can be revoked.
pub const METADATA_TOKEN_ID: &str = "ehos_token_id";

/// The lifetime of a builder whose metadata says none, or none that can be read.
pub const BUILDER_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A server as a cloud lists it, of any owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Its UUID.
    pub id: String,
    /// Its name, which proves nothing.
    pub name: String,
    /// What Nova says it does.
    pub status: ServerStatus,
    /// The same in Nova's own word (`status`), where it said one: a later Nova may have others.
    #[serde(default)]
    pub nova_status: Option<String>,
    /// Nova is deleting it (`OS-EXT-STS:task_state` is `deleting`, or it is gone but still listed).
    pub deleting: bool,
    /// The metadata of the server.
    pub metadata: BTreeMap<String, String>,
    /// How long ago it was made (`created`, against the `Date` of the answer).
    pub age: Duration,
    /// Nova's fault message when the status is ERROR.
    pub fault: Option<String>,
    /// The volumes that are attached to it.
    #[serde(default)]
    pub volumes: Vec<AttachedVolume>,
    /// Its availability zone, where Nova says one.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its addresses (`addresses`), where Nova says them.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// A volume that is attached to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedVolume {
    /// Its id.
    pub id: String,
    /// It is to go with the server (`delete_on_termination`).
    #[serde(rename = "deleted_with_server", alias = "goes")]
    pub goes: bool,
}

/// The states of a server that make a difference (Nova's `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServerStatus {
    /// Being made.
    Build,
    /// Running, also while it reboots.
    Active,
    /// Switched off, or put aside with its disk (SHUTOFF, SHELVED, SHELVED_OFFLOADED).
    Shutoff,
    /// Held still (PAUSED, SUSPENDED) or in an operator's hands (RESCUE, RESIZE, VERIFY_RESIZE, PASSWORD, UNKNOWN …).
    Other,
    /// Failed.
    Error,
}

impl ServerStatus {
    /// The name in Nova, for the statuses that ehos distinguishes.
    pub fn name(self) -> &'static str {
        match self {
            ServerStatus::Build => "BUILD",
            ServerStatus::Active => "ACTIVE",
            ServerStatus::Shutoff => "SHUTOFF",
            ServerStatus::Other => "no status that ehos knows",
            ServerStatus::Error => "ERROR",
        }
    }
}

impl ServerRecord {
    /// What Nova says it does, in Nova's word.
    pub fn status_word(&self) -> &str {
        self.nova_status.as_deref().unwrap_or(self.status.name())
    }

    /// Whether an operator has put it aside: it exists, runs nothing, and is theirs to bring back (Compute API guide,
    /// "Server concepts").
    pub fn is_put_aside(&self) -> bool {
        const PUT_ASIDE: [&str; 5] = [
            "PAUSED",
            "SUSPENDED",
            "RESCUE",
            "SHELVED",
            "SHELVED_OFFLOADED",
        ];
        self.nova_status
            .as_deref()
            .is_some_and(|status| PUT_ASIDE.contains(&status))
    }
}

/// The role of a server of this pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs a startd: what the tick makes and unmakes.
    Execute,
    /// The central manager.
    Master,
    /// Becomes an image. It is no node: the tick only deletes it when it has outlived its lifetime.
    Builder,
}

impl Role {
    /// The role that [`METADATA_ROLE`] names.
    pub fn of(word: &str) -> Option<Role> {
        match word {
            "execute" => Some(Role::Execute),
            "master" => Some(Role::Master),
            "builder" => Some(Role::Builder),
            _ => None,
        }
    }
}

/// A server of this pool, as its metadata says; with a signature ([`OwnedServer::is_signed`]) that is proven. There is no other way to get one than
/// [`OwnedServer::recognise`], and a delete takes nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedServer {
    record: ServerRecord,
    role: Role,
    node: Option<NodeId>,
    signed: bool,
    /// What the metadata say of its token.
    token: TokenFacts,
}

/// The metadata do not change, and a plan reads this of each server several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TokenFacts {
    lifetime: Option<Duration>,
    own_identity: bool,
}

impl TokenFacts {
    fn of(record: &ServerRecord) -> TokenFacts {
        let seconds = record.metadata.get(METADATA_TOKEN_LIFETIME);
        let seconds = seconds.and_then(|seconds| seconds.trim().parse().ok());
        TokenFacts {
            lifetime: seconds.map(Duration::from_secs),
            own_identity: record.metadata.contains_key(METADATA_TOKEN_IDENTITY),
        }
    }
}

impl OwnedServer {
    /// Returns `record` as a server of this pool if its metadata name this `cluster` and a role, else `None`.
    pub fn recognise(record: ServerRecord, cluster: &str) -> Option<OwnedServer> {
        if cluster.is_empty()
            || record.metadata.get(METADATA_CLUSTER).map(String::as_str) != Some(cluster)
        {
            return None;
        }
        let role = Role::of(record.metadata.get(METADATA_ROLE)?)?;
        let node = record
            .metadata
            .get(METADATA_NODE)
            .filter(|node| !node.is_empty())
            .cloned()
            .map(|node| NodeId(node.into()));
        Some(OwnedServer {
            token: TokenFacts::of(&record),
            record,
            role,
            node,
            signed: false,
        })
    }

    /// The same, with its signature checked. `now` is the time at which its age was observed.
    #[must_use]
    pub fn checked(mut self, keys: &SigningKeys, now: Timestamp) -> OwnedServer {
        self.signed = keys.has_signed(&self.record, now);
        self
    }

    /// The same server a little later, as the cloud that listed it once lists it again: what it is has not changed.
    pub fn seen_again(&mut self, status: ServerStatus, age: Duration, deleting: bool) {
        self.record.status = status;
        self.record.age = age;
        self.record.deleting = deleting;
    }

    /// Whether the server carries a valid signature: ehos created it. Without one, only the state can prove that.
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// Its UUID.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// All that the cloud said of it.
    pub fn record(&self) -> &ServerRecord {
        &self.record
    }

    /// The role of the server.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The intent that made it.
    pub fn node(&self) -> Option<&NodeId> {
        self.node.as_ref()
    }

    /// The central manager of the node, if its metadata name one.
    pub fn condor_host(&self) -> Option<&str> {
        let host = self.record.metadata.get(METADATA_CONDOR_HOST);
        host.map(String::as_str).filter(|host| !host.is_empty())
    }

    /// Its flavor, as configured when it was made.
    pub fn flavor(&self) -> Option<&str> {
        self.record
            .metadata
            .get(METADATA_FLAVOR)
            .map(String::as_str)
    }

    /// Whether its token has an identity that is this node's alone.
    pub fn has_own_identity(&self) -> bool {
        self.token.own_identity
    }

    /// How long it may exist, from its creation: `ehos_lifetime` of its metadata, else [`BUILDER_LIFETIME`]. It means
    /// something for a builder only.
    pub fn lifetime(&self) -> Duration {
        let seconds = self.record.metadata.get(METADATA_LIFETIME);
        seconds
            .and_then(|seconds| seconds.trim().parse().ok())
            .map_or(BUILDER_LIFETIME, Duration::from_secs)
    }

    /// For how long yet the token of this node is good, by its metadata and its age; `None` when it has no end, or
    /// nothing is known of it.
    pub fn token_left(&self) -> Option<Duration> {
        Some(self.token.lifetime?.saturating_sub(self.record.age))
    }
}

/// The metadata of an execute server for `node`; [`OwnedServer::recognise`] is its reverse.
pub fn execute_metadata(
    cluster: &str,
    node: &NodeId,
    flavor: &str,
    image: &str,
) -> BTreeMap<String, String> {
    texts(&[
        (METADATA_CLUSTER, cluster),
        (METADATA_ROLE, "execute"),
        (METADATA_NODE, &node.0),
        (METADATA_FLAVOR, flavor),
        (METADATA_IMAGE, image),
    ])
}

/// The metadata of a builder: a server that becomes an image. A tick deletes it when it is older than `lifetime` (whole
/// seconds), whatever has become of the build.
pub fn builder_metadata(
    cluster: &str,
    node: &NodeId,
    lifetime: Duration,
) -> BTreeMap<String, String> {
    let lifetime = lifetime.as_secs().to_string();
    texts(&[
        (METADATA_CLUSTER, cluster),
        (METADATA_ROLE, "builder"),
        (METADATA_NODE, &node.0),
        (METADATA_LIFETIME, &lifetime),
    ])
}

/// The metadata of a central manager. No tick ever touches such a server.
pub fn master_metadata(cluster: &str) -> BTreeMap<String, String> {
    texts(&[(METADATA_CLUSTER, cluster), (METADATA_ROLE, "master")])
}

fn texts(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .into_map()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(metadata: BTreeMap<String, String>) -> OwnedServer {
        let record = ServerRecord {
            id: "u".to_owned(),
            name: "n".to_owned(),
            status: ServerStatus::Active,
            nova_status: None,
            deleting: false,
            metadata,
            age: Duration::ZERO,
            fault: None,
            volumes: Vec::new(),
            zone: None,
            addresses: Vec::new(),
        };
        OwnedServer::recognise(record, "pool-1").unwrap()
    }

    #[test]
    fn what_is_made_is_recognised_as_what_it_is_for() {
        let node = NodeId("n-1".into());
        let builder = recognised(builder_metadata("pool-1", &node, Duration::from_secs(7200)));
        assert_eq!(builder.role(), Role::Builder);
        assert_eq!(builder.node(), Some(&node));
        assert_eq!(builder.lifetime(), Duration::from_secs(7200));
        assert_eq!(recognised(master_metadata("pool-1")).role(), Role::Master);
        let execute = recognised(execute_metadata("pool-1", &node, "f", "i"));
        assert_eq!(execute.role(), Role::Execute);
    }

    #[test]
    fn a_token_ends_by_the_age_of_its_server() {
        let node = NodeId("n".into());
        let mut metadata = execute_metadata("pool-1", &node, "f", "i");
        assert_eq!(recognised(metadata.clone()).token_left(), None);
        let mut left = |lifetime: &str, age: u64| {
            metadata.insert(METADATA_TOKEN_LIFETIME.to_owned(), lifetime.to_owned());
            let mut server = recognised(metadata.clone());
            server.record.age = Duration::from_secs(age);
            server.token_left().map(|left| left.as_secs())
        };
        assert_eq!(left("600", 0), Some(600));
        assert_eq!(left("600", 599), Some(1));
        assert_eq!(left("600", 601), Some(0));
        for unreadable in ["", "-1", "1h"] {
            assert_eq!(left(unreadable, 0), None, "{unreadable:?}");
        }
    }

    #[test]
    fn a_builder_without_a_readable_lifetime_has_a_day() {
        let mut metadata = builder_metadata("pool-1", &NodeId("n".into()), Duration::ZERO);
        for unreadable in ["", "-1", "1h", "99999999999999999999999"] {
            metadata.insert(METADATA_LIFETIME.to_owned(), unreadable.to_owned());
            let day = Duration::from_secs(86_400);
            assert_eq!(
                recognised(metadata.clone()).lifetime(),
                day,
                "{unreadable:?}"
            );
        }
        metadata.remove(METADATA_LIFETIME);
        assert_eq!(recognised(metadata).lifetime(), BUILDER_LIFETIME);
    }
}
