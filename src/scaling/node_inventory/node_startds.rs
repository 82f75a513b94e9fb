//! Finds the startd of each node by the numbers of ids.
//!
//! One startd advertises nearly each node. Only for the others, [`StartdFinder`] compares what all of them say.

use std::cell::OnceCell;
use std::time::Duration;

use crate::matching::{Match, SenderNames, StartdFinder};
use crate::numbers::{IdNumber, NumberedNode, NumberedServer, NumberedStartd, Numbers, Table};
use crate::observation::{NodeId, OwnedServer, StartdView};
use crate::sender::Sender;
use crate::state::NodeState;

/// Which startd advertises something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Advertiser {
    #[default]
    None,
    /// The one at this index.
    One(u32),
    Several,
}

/// The startds of a plan.
pub(super) struct NodeStartds<'a, 'n> {
    startds: &'a [StartdView],
    numbered: &'n [NumberedStartd],
    by_instance: Table<Advertiser>,
    by_node: Table<Advertiser>,
    /// Of startds that are the only ones of their nodes.
    is_found: Vec<bool>,
    update_interval: Duration,
    finder: OnceCell<StartdFinder<'a>>,
    names: SenderNames,
}

impl Advertiser {
    fn add(&mut self, index: u32) {
        *self = match self {
            Advertiser::None => Advertiser::One(index),
            Advertiser::One(_) | Advertiser::Several => Advertiser::Several,
        };
    }
}

impl<'a, 'n> NodeStartds<'a, 'n> {
    pub(super) fn new(
        startds: &'a [StartdView],
        numbers: &'n Numbers<'_>,
        update_interval: Duration,
    ) -> NodeStartds<'a, 'n> {
        let (mut by_instance, mut by_node) = (numbers.table(), numbers.table());
        for (index, says) in (0..).zip(&numbers.startds) {
            let add = |advertiser: &mut Advertiser| advertiser.add(index);
            says.instance
                .into_iter()
                .for_each(|id| by_instance.change(id, add));
            says.node.into_iter().for_each(|id| by_node.change(id, add));
        }
        NodeStartds {
            startds,
            numbered: &numbers.startds,
            by_instance,
            by_node,
            is_found: vec![false; startds.len()],
            update_interval,
            finder: OnceCell::new(),
            names: SenderNames::of(startds),
        }
    }

    /// The startd of a node, and fresh startds that say that they are this node, and are not: [`StartdFinder::find`].
    pub(super) fn find(
        &mut self,
        node: &NumberedNode,
        server: Option<&NumberedServer<'_>>,
        (id, memory): (&NodeId, &NodeState),
    ) -> (Match<'a>, Vec<&'a StartdView>) {
        let named = server.and_then(|server| server.node).unwrap_or(node.id);
        // A node that is identified by its UUID shares its node id with another: the id does not distinguish them.
        let unique = Some(named).filter(|named| *named == node.id);
        let by_instance = node.server.map(|server| self.by_instance.get(server));
        let by_node = unique.map(|id| self.by_node.get(id));
        let server = server.map(|server| server.server);
        let only = match (by_instance.unwrap_or_default(), by_node.unwrap_or_default()) {
            (Advertiser::None, Advertiser::None) => return (Match::None, Vec::new()),
            (Advertiser::One(one), Advertiser::One(other)) if one == other => Some(one),
            (Advertiser::One(one), Advertiser::None) | (Advertiser::None, Advertiser::One(one)) => {
                Some(one)
            }
            _ => None,
        };
        if let Some(index) = only.map(|index| index as usize)
            && let (Some(startd), Some(says)) = (self.startds.get(index), self.numbered.get(index))
            && self.may_send(startd, says.sender == Some(named), memory, server)
        {
            let same = |says: Option<IdNumber>, is: Option<IdNumber>| {
                says.is_none() || is.is_none() || says == is
            };
            if let Some(found) = self.is_found.get_mut(index) {
                *found = true;
            }
            let is_meant = same(says.instance, node.server)
                && (says.node.is_none() || says.node == Some(named));
            return match is_meant {
                true => (Match::Startd(startd), Vec::new()),
                false => (Match::Contradiction(startd), Vec::new()),
            };
        }
        let by_names = || StartdFinder::new(self.startds, self.update_interval);
        self.finder.get_or_init(by_names).find(id, memory, server)
    }

    /// A collector that names no sender does not discredit every ad; `own`: the sender is the node itself.
    fn may_send(
        &self,
        startd: &StartdView,
        own: bool,
        memory: &NodeState,
        server: Option<&OwnedServer>,
    ) -> bool {
        !self.names.any
            || match startd.sender {
                Sender::Node(_) => own,
                Sender::Unknown | Sender::AnyNode => !self.names.needs_own_identity(memory, server),
                Sender::Other => true,
            }
    }

    /// What the collector says of senders.
    pub(super) fn names(&self) -> SenderNames {
        self.names
    }

    /// The startds that are no node's, as far as that is known without a look at their names.
    pub(super) fn others(&self) -> impl Iterator<Item = &'a StartdView> {
        let startds = self.startds.iter().zip(&self.is_found);
        let others = startds.filter(|(_, is_found)| !**is_found);
        others.map(|(startd, _)| startd)
    }
}
