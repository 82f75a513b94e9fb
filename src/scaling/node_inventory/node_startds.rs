//! Finds the startd of each node by the numbers of ids.
//!
//! One startd advertises nearly each node. Only for the others, [`StartdFinder`] compares what all of them say.

use std::cell::OnceCell;
use std::time::Duration;

use crate::matching::{Match, SenderNames, StartdFinder};
use crate::numbers::{IdNumber, NumberedNode, NumberedServer, NumberedStartd, Numbers, Table};
use crate::observation::{NodeId, StartdView};
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
            && self.names.may_send(
                &startd.sender,
                says.sender == Some(named),
                self.names.needs_own_identity(memory, server),
            )
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::job_names::PoolJobs;
    use crate::job_requirements::Matches;
    use crate::observation::{
        CloudView, CollectorView, METADATA_TOKEN_IDENTITY, Observation, Observed, OwnedServer,
        PoolView, Quota, Resources, ServerRecord, ServerStatus, SlotView, execute_metadata,
    };
    use crate::sender::Sender;
    use crate::state::{NodeType, State, TickInstant};

    const INTERVAL: Duration = Duration::from_secs(60);

    fn unknown<T>() -> Observed<T> {
        Observed::Unknown(String::new())
    }

    /// One of three names, or none.
    fn name(letter: &'static str) -> impl Strategy<Value = Option<String>> {
        prop::option::weighted(
            0.7,
            (1..4).prop_map(move |number| format!("{letter}{number}")),
        )
    }

    fn startd() -> impl Strategy<Value = StartdView> {
        let sender = prop_oneof![
            Just(Sender::Unknown),
            Just(Sender::AnyNode),
            Just(Sender::Other),
            (1..4).prop_map(|number| Sender::Node(NodeId(format!("n{number}").into()))),
        ];
        let facts = (
            name("u"),
            name("n"),
            sender,
            select(vec![0, 1000]),
            0..2u64,
            1..4,
        );
        facts.prop_map(
            |(instance_id, node, sender, ago, claims, host)| StartdView {
                machine: format!("m{host}"),
                instance_id,
                node: node.map(|node| NodeId(node.into())),
                address: Some(format!("<10.0.0.{host}:9618>")),
                slots: vec![SlotView {
                    owners: BTreeMap::new(),
                    name: "slot1".to_owned(),
                    total: Resources::default(),
                    free: Resources::default(),
                    claims,
                    accepts_jobs: true,
                    unchanged_for: Duration::ZERO,
                }],
                sender,
                heard_ago: Duration::from_secs(ago),
                update_interval: None,
                up_for: Duration::ZERO,
                draining: None,
            },
        )
    }

    /// A listed server: its UUID, its node id, and whether its token has an identity of its own.
    fn server(id: usize, node: Option<String>, own_identity: bool) -> OwnedServer {
        let node = NodeId(node.unwrap_or_default().into());
        let mut metadata = execute_metadata("pool-1", &node, "f", "i");
        if own_identity {
            metadata.insert(METADATA_TOKEN_IDENTITY.to_owned(), "execute".to_owned());
        }
        let record = ServerRecord {
            id: format!("u{id}"),
            name: String::new(),
            status: ServerStatus::Active,
            nova_status: None,
            deleting: false,
            metadata,
            age: Duration::ZERO,
            fault: None,
            volumes: Vec::new(),
            zone: None,
            addresses: vec![format!("10.0.0.{id}")],
        };
        OwnedServer::recognise(record, "pool-1").unwrap()
    }

    fn observation(startds: Vec<StartdView>, servers: Vec<OwnedServer>) -> Observation {
        let cloud = CloudView {
            servers,
            obscure: Vec::new(),
            quota: Quota::default(),
            parts: unknown(),
            flavors: BTreeMap::new(),
            unread_flavors: BTreeMap::new(),
            image_tested: false,
            leftovers: unknown(),
            unread: Vec::new(),
        };
        let collector = CollectorView {
            up_for: Duration::ZERO,
            negotiation_period: None,
            cycle_began: None,
            startds,
            unreadable: Vec::new(),
            forged: Vec::new(),
        };
        Observation {
            at: Timestamp::UNIX_EPOCH,
            pool: PoolView {
                collector: Observed::Known(collector),
                schedds: BTreeMap::new(),
                negotiator: unknown(),
                jobs: PoolJobs::default(),
                central_managers: None,
            },
            clouds: BTreeMap::from([("blue".to_owned(), Observed::Known(cloud))]),
            matches: Matches::default(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Numbers decide nothing else than what startds say.
        #[test]
        fn numbers_and_names_find_the_same_startd(
            startds in prop::collection::vec(startd(), 0..5),
            servers in prop::collection::vec((name("n"), any::<bool>()), 3),
            nodes in prop::collection::vec((name("u"), any::<bool>(), any::<bool>()), 3),
        ) {
            let servers = servers.into_iter().zip(1..);
            let servers = servers.map(|((node, own_identity), id)| server(id, node, own_identity));
            let observation = observation(startds, servers.collect());
            let node_type = NodeType {
                cloud: "blue".to_owned(),
                flavor: "f".to_owned(),
                image: "i".to_owned(),
            };
            let mut state = State::default();
            for (number, (server_id, identified, _)) in (1..).zip(&nodes) {
                let at = (Timestamp::UNIX_EPOCH, TickInstant::default());
                let mut node = NodeState::new(node_type.clone(), "n", at.0, at.1);
                node.server_id.clone_from(server_id);
                node.join.identified = *identified;
                state.nodes.insert(NodeId(format!("n{number}").into()), node.into());
            }
            let numbers = Numbers::new(&observation, &state);
            let startds = &observation.pool.collector.known().unwrap().startds;
            let mut by_number = NodeStartds::new(startds, &numbers, INTERVAL);
            let by_name = StartdFinder::new(startds, INTERVAL);
            let nodes = state.nodes.iter().zip(&numbers.nodes).zip(&nodes);
            for (place, (((id, memory), node), (.., is_listed))) in nodes.enumerate() {
                let server = numbers.servers.get(place).filter(|_| *is_listed);
                let owned = server.map(|server| server.server);
                let expected = by_name.find(id, memory, owned);
                let found = by_number.find(node, server, (id, memory));
                prop_assert_eq!(found, expected);
            }
        }
    }
}
