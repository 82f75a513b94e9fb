//! Senders of ads: the collector writes the authenticated identity into each ad (`AuthenticatedIdentity`), and overwrites any
//! value of the sender.
//!
//! Source: HTCondor 23.9.6, tried with `condor_advertise` and forged ads.

use std::fmt;

use super::observation::NodeId;

/// User part of the identity that the tokens of all nodes share, where each has none of its own.
const SHARED: &str = "execute";

/// Sender of an ad.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The collector names none.
    #[default]
    Unknown,
    /// The node whose token this is.
    Node(NodeId),
    /// Any node: the token's identity is one for all nodes, or the sender did not authenticate.
    AnyNode,
    /// An identity that no node has.
    Other,
}

impl Sender {
    /// The sender with this `AuthenticatedIdentity`; `configured` is `condor.token_identity`.
    pub fn of(identity: Option<&str>, configured: Option<&str>) -> Sender {
        let Some(identity) = identity else {
            return Sender::Unknown;
        };
        let user = identity.split('@').next().unwrap_or_default();
        let id = user
            .strip_prefix(SHARED)
            .and_then(|id| id.strip_prefix('-'));
        match id.map(|id| NodeId(id.into())) {
            Some(id) if has_identity(&id) => Sender::Node(id),
            _ if [SHARED, "unauthenticated", "anonymous"].contains(&user) => Sender::AnyNode,
            _ if configured == Some(identity) => Sender::AnyNode,
            _ => Sender::Other,
        }
    }

    /// Whether a node may have sent it: such a sender speaks for no daemon of the central manager.
    pub fn may_be_node(&self) -> bool {
        matches!(self, Sender::Node(_) | Sender::AnyNode)
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Unknown => write!(f, "a sender without AuthenticatedIdentity"),
            Sender::Node(node) => write!(f, "node {node}"),
            Sender::AnyNode => write!(f, "the shared identity of nodes"),
            Sender::Other => write!(f, "an identity that is not a node"),
        }
    }
}

/// Whether a node with this id gets an identity of its own. Ids are of the planner's form (`20261129t090000-01`): so
/// the identity that a site gave to machines of its own (`execute-static@…`) is no node's.
pub fn has_identity(node: &NodeId) -> bool {
    let Some((stamp, number)) = node.0.split_once('-') else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_stamp = stamp.split_once('t').is_some_and(|(date, time)| {
        date.len() == 8 && time.len() == 6 && is_number(date) && is_number(time)
    });
    is_stamp && is_number(number)
}

/// Identity of all nodes' tokens.
pub fn shared_identity(trust_domain: &str) -> String {
    format!("{SHARED}@{trust_domain}")
}

/// Identity of this node's token.
pub fn own_identity(node: &NodeId, trust_domain: &str) -> Option<String> {
    has_identity(node).then(|| format!("{SHARED}-{node}@{trust_domain}"))
}

/// Entry of the collector's ALLOW lists that takes the identity of every node.
pub fn own_identities(trust_domain: &str) -> String {
    format!("{SHARED}-*@{trust_domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "20261129t090000-01";

    #[test]
    fn an_identity_names_a_node_all_nodes_or_neither() {
        let of = |identity| Sender::of(Some(identity), Some("worker@site"));
        let node = NodeId(NODE.into());
        let own = own_identity(&node, "example.org").unwrap();
        assert_eq!(of(&own), Sender::Node(node));
        for shared in [
            "execute@example.org",
            "worker@site",
            "unauthenticated@unmapped",
        ] {
            assert_eq!(of(shared), Sender::AnyNode, "{shared}");
        }
        for other in [
            "condor@family",
            "execute-static@example.org",
            "execute-@example.org",
            "executes@example.org",
            "worker@other",
            "",
            "execute-20261129t090000-@x",
            "execute-20261129t09000-01@x",
        ] {
            assert_eq!(of(other), Sender::Other, "{other}");
        }
        assert_eq!(Sender::of(None, None), Sender::Unknown);
    }

    #[test]
    fn only_ids_of_the_planner_have_an_identity() {
        for other in ["by-hand-1", "n-1", "9f0c1d2e-1111-2222-3333-444455556666"] {
            assert_eq!(own_identity(&NodeId(other.into()), "d"), None, "{other}");
        }
        assert_eq!(own_identities("d"), "execute-*@d");
    }
}
