//! Which startd runs on which node's server: by UUID or by node id, never by host name.

use std::collections::BTreeMap;

use super::action::StartdIdentity;
use super::memory::{Departed, NodeMemory};
use super::observation::{NodeId, OwnedServer, StartdView};

/// Which startd runs on a node's server.
#[derive(Clone, Copy)]
pub(crate) enum Match<'a> {
    /// None does.
    None,
    /// This one.
    Startd(&'a StartdView),
    /// This one says so, and says something else too.
    Contradiction(&'a StartdView),
}

impl<'a> Match<'a> {
    pub(crate) fn startd(self) -> Option<&'a StartdView> {
        match self {
            Match::None => None,
            Match::Startd(startd) | Match::Contradiction(startd) => Some(startd),
        }
    }
}

/// Startds by what they say of themselves.
pub(crate) struct StartdFinder<'a> {
    by_instance: BTreeMap<&'a str, &'a StartdView>,
    by_node: BTreeMap<&'a NodeId, &'a StartdView>,
}

impl<'a> StartdFinder<'a> {
    pub(crate) fn new(startds: &'a [StartdView]) -> StartdFinder<'a> {
        let mut finder = StartdFinder {
            by_instance: BTreeMap::new(),
            by_node: BTreeMap::new(),
        };
        let order = |startd: &'a StartdView| (startd.heard_ago, &startd.machine);
        for startd in startds {
            // Of two with one id, the one heard of last: a host name may have changed.
            if let Some(id) = startd.instance_id.as_deref() {
                let kept = finder.by_instance.entry(id).or_insert(startd);
                if order(startd) < order(kept) {
                    *kept = startd;
                }
            }
            if let Some(node) = &startd.node {
                let kept = finder.by_node.entry(node).or_insert(startd);
                if order(startd) < order(kept) {
                    *kept = startd;
                }
            }
        }
        finder
    }

    /// UUID or node id suffices; when both are there and disagree, the node is not to be touched.
    pub(super) fn find(
        &self,
        id: &NodeId,
        memory: &NodeMemory,
        server: Option<&OwnedServer>,
    ) -> Match<'a> {
        let named = server.and_then(OwnedServer::node).unwrap_or(id);
        self.which(memory.server_id.as_deref(), named, named == id)
    }

    /// The same for a last look.
    pub(crate) fn identified(&self, startd: &StartdIdentity) -> Match<'a> {
        let uuid = startd.server_id.as_deref();
        self.which(uuid, &startd.node, !startd.shares_node)
    }

    fn which(&self, uuid: Option<&str>, named: &NodeId, unique: bool) -> Match<'a> {
        if let Some(startd) = uuid.and_then(|uuid| self.by_instance.get(uuid)).copied() {
            return match &startd.node {
                Some(node) if node != named => Match::Contradiction(startd),
                _ => Match::Startd(startd),
            };
        }
        // One that goes by its UUID shares its node id with another: that alone does not tell them apart.
        if !unique {
            return Match::None;
        }
        match self.by_node.get(named).copied() {
            None => Match::None,
            Some(startd) => match (startd.instance_id.as_deref(), uuid) {
                (Some(says), Some(is)) if says != is => Match::Contradiction(startd),
                _ => Match::Startd(startd),
            },
        }
    }
}

/// Nodes whose servers are gone, by what their ads still say.
pub(super) struct GhostFinder<'a> {
    by_instance: BTreeMap<&'a str, &'a NodeId>,
    departed: &'a BTreeMap<NodeId, Departed>,
}

impl<'a> GhostFinder<'a> {
    pub(super) fn new(departed: &'a BTreeMap<NodeId, Departed>) -> GhostFinder<'a> {
        let mut by_instance = BTreeMap::new();
        for (id, gone) in departed {
            if let Some(server_id) = gone.server_id.as_deref() {
                by_instance.entry(server_id).or_insert(id);
            }
        }
        GhostFinder {
            by_instance,
            departed,
        }
    }

    /// The node that the ads of `startd` are left of, by UUID or node id; of two the older.
    pub(super) fn find(&self, startd: &StartdView) -> Option<&'a NodeId> {
        let by_instance = startd
            .instance_id
            .as_deref()
            .and_then(|id| self.by_instance.get(id).copied());
        let by_node = startd
            .node
            .as_ref()
            .and_then(|id| self.departed.get_key_value(id))
            .map(|(id, _)| id);
        by_instance.into_iter().chain(by_node).min()
    }
}
