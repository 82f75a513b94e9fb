//! Assigns startds to servers of nodes: by UUID or by node id, never by host name.
//!
//! Root on one node can advertise another node. The sender decides between two ads if each node has an identity of its own,
//! else the addresses that Nova lists for the server. If neither decides, two fresh startds of one node are a mismatch: ehos
//! neither drains nor deletes the node until one of them is gone.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::action::StartdIdentity;
use super::index::{Index, index};
use super::node::is_fresh_within;
use super::observation::{NodeId, OwnedServer, StartdView};
use super::sender::Sender;
use super::state::{NodeState, Tombstone};
use crate::sorting;

/// Which startd runs on a node's server.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Match<'a> {
    /// None does.
    #[default]
    None,
    Startd(&'a StartdView),
    /// This one says so, and says something else too.
    Contradiction(&'a StartdView),
    /// Both say so, and nothing shows which one is true: the one with more claims first.
    Contested(&'a StartdView, &'a StartdView),
}

impl<'a> Match<'a> {
    pub fn startd(self) -> Option<&'a StartdView> {
        match self {
            Match::None => None,
            Match::Startd(startd) | Match::Contradiction(startd) | Match::Contested(startd, _) => {
                Some(startd)
            }
        }
    }
}

/// Startds by what they say of themselves.
pub struct StartdFinder<'a> {
    by_instance: Index<&'a str, Ads<'a>>,
    by_node: Index<&'a str, Ads<'a>>,
    /// The update interval of startds that do not publish one.
    update_interval: Duration,
    names: SenderNames,
}

/// What the collector says of senders.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SenderNames {
    /// It names them.
    pub(super) any: bool,
    /// The same, and nodes have identities of their own.
    nodes: bool,
}

/// The startds that say one thing of themselves: nearly always one.
struct Ads<'a> {
    first: &'a StartdView,
    others: Vec<&'a StartdView>,
}

impl<'a> Ads<'a> {
    fn add(index: &mut Index<&'a str, Ads<'a>>, name: &'a str, startd: &'a StartdView) {
        match index.entry(name) {
            Entry::Occupied(mut ads) => ads.get_mut().others.push(startd),
            Entry::Vacant(entry) => {
                let others = Vec::new();
                entry.insert(Ads {
                    first: startd,
                    others,
                });
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = &'a StartdView> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// In the order of what they say, not in that of the list.
    fn sort(&mut self) {
        if self.others.is_empty() {
            return;
        }
        let mut all: Vec<&'a StartdView> = self.each().collect();
        sorting::by(&mut all, |one, other| by_what_it_says(one, other));
        let mut all = all.into_iter();
        self.first = all.next().unwrap_or(self.first);
        self.others = all.collect();
    }
}

/// A node whose startd is searched.
struct Wanted<'i> {
    uuid: Option<&'i str>,
    node: &'i NodeId,
    /// Its node id is no other server's.
    unique: bool,
    /// Ads of it come from its own identity alone.
    own_identity: bool,
    /// Addresses of its server, where Nova says them.
    addresses: &'i [String],
}

impl Wanted<'_> {
    /// UUID and node id do not disagree with it.
    fn is_meant(&self, startd: &StartdView) -> bool {
        let uuid = match (startd.instance_id.as_deref(), self.uuid) {
            (Some(says), Some(is)) => says == is,
            _ => true,
        };
        let node = startd.node.as_ref();
        uuid && node.is_none_or(|node| node == self.node)
    }

    fn is_proven(&self, startd: &StartdView) -> bool {
        matches!(&startd.sender, Sender::Node(node) if node == self.node)
    }

    fn is_at_its_address(&self, startd: &StartdView) -> bool {
        let Some(address) = startd.address.as_deref() else {
            return false;
        };
        host_of(address).is_some_and(|host| self.addresses.iter().any(|known| known == host))
    }
}

impl SenderNames {
    pub(super) fn of(startds: &[StartdView]) -> SenderNames {
        let mut names = SenderNames::default();
        for startd in startds {
            names.any |= startd.sender != Sender::Unknown;
            names.nodes |= matches!(startd.sender, Sender::Node(_));
        }
        names
    }

    /// Whether an ad of this sender may be of a node; `is_own`: a node that is named as the sender is this one. A collector that
    /// names no sender (of another version or configuration) does not discredit every ad.
    pub(super) fn may_send(self, sender: &Sender, is_own: bool, needs_own_identity: bool) -> bool {
        !self.any
            || match sender {
                Sender::Node(_) => is_own,
                Sender::Unknown | Sender::AnyNode => !needs_own_identity,
                Sender::Other => true,
            }
    }

    /// Whether only ads with the node's own identity are its: the collector has shown one of this node, or its token has one
    /// and the collector shows those of others. Where it maps all identities to one, it shows none.
    pub(super) fn needs_own_identity(
        self,
        memory: &NodeState,
        server: Option<&OwnedServer>,
    ) -> bool {
        let given = server.is_some_and(OwnedServer::has_own_identity);
        memory.join.identified || (given && self.nodes)
    }
}

/// The host in a daemon's address (`<10.0.0.1:9618?addrs=…>`).
pub fn host_of(address: &str) -> Option<&str> {
    let inner = address.strip_prefix('<')?.strip_suffix('>')?;
    let place = inner.split('?').next()?;
    let (host, _) = place.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

/// An order of startds that is not that of the list.
pub(super) fn by_what_it_says(one: &StartdView, other: &StartdView) -> Ordering {
    let place = |startd: &StartdView| (startd.heard_ago, startd.claims());
    let by_name = one.machine.cmp(&other.machine);
    by_name
        .then_with(|| one.address.cmp(&other.address))
        .then_with(|| one.instance_id.cmp(&other.instance_id))
        .then_with(|| one.node.cmp(&other.node))
        .then_with(|| one.sender.cmp(&other.sender))
        .then_with(|| place(one).cmp(&place(other)))
}

impl<'a> StartdFinder<'a> {
    /// Over `startds`; one that does not say how often it reports does so every `update_interval`.
    pub fn new(startds: &'a [StartdView], update_interval: Duration) -> StartdFinder<'a> {
        let mut finder = StartdFinder {
            by_instance: index(startds.len()),
            by_node: index(startds.len()),
            update_interval,
            names: SenderNames::of(startds),
        };
        for startd in startds {
            if let Some(id) = startd.instance_id.as_deref() {
                Ads::add(&mut finder.by_instance, id, startd);
            }
            if let Some(node) = &startd.node {
                Ads::add(&mut finder.by_node, &node.0, startd);
            }
        }
        let all = finder.by_instance.values_mut();
        all.chain(finder.by_node.values_mut()).for_each(Ads::sort);
        finder
    }

    /// The startd of the node: UUID or node id suffices; when both are there and disagree, the node is not to be touched.
    /// Beside it, fresh startds that say that they are this node, and are not.
    pub(super) fn find(
        &self,
        id: &NodeId,
        memory: &NodeState,
        server: Option<&OwnedServer>,
    ) -> (Match<'a>, Vec<&'a StartdView>) {
        let wanted = self.wanted(id, memory, server);
        let found = self.which(&wanted);
        (found, self.impostors(&wanted, found))
    }

    fn impostors(&self, wanted: &Wanted<'_>, which: Match<'a>) -> Vec<&'a StartdView> {
        let found = match which {
            Match::None => [None, None],
            Match::Startd(one) | Match::Contradiction(one) => [Some(one), None],
            Match::Contested(one, other) => [Some(one), Some(other)],
        };
        let found = found.map(|startd| startd.and_then(|startd| startd.address.as_deref()));
        let mut others = self.candidates(wanted);
        others.retain(|startd| {
            let same = found.contains(&startd.address.as_deref());
            self.is_fresh(startd)
                && (!same || !self.may_send(wanted, startd) || !wanted.is_meant(startd))
        });
        if let Match::Contradiction(startd) = which {
            others.retain(|other| !std::ptr::eq(*other, startd));
        }
        others
    }

    /// The same for a last look.
    pub fn identified(&self, startd: &StartdIdentity) -> Match<'a> {
        self.which(&Wanted {
            uuid: startd.server_id.as_deref(),
            node: &startd.node,
            unique: !startd.shares_node,
            own_identity: startd.own_identity,
            addresses: &startd.addresses,
        })
    }

    fn wanted<'i>(
        &self,
        id: &'i NodeId,
        memory: &'i NodeState,
        server: Option<&'i OwnedServer>,
    ) -> Wanted<'i> {
        let node = server.and_then(OwnedServer::node).unwrap_or(id);
        Wanted {
            uuid: memory.server_id.as_deref(),
            node,
            unique: node == id,
            own_identity: self.names.needs_own_identity(memory, server),
            addresses: server.map_or(&[], |server| &server.record().addresses),
        }
    }

    fn is_fresh(&self, startd: &StartdView) -> bool {
        is_fresh_within(startd, self.update_interval)
    }

    fn may_send(&self, wanted: &Wanted<'_>, startd: &StartdView) -> bool {
        let is_own = wanted.is_proven(startd);
        (self.names).may_send(&startd.sender, is_own, wanted.own_identity)
    }

    /// The startds that advertise the UUID of this node, and those that advertise its node id.
    fn ads(&self, wanted: &Wanted<'_>) -> [Option<&Ads<'a>>; 2] {
        // A node that is identified by its UUID shares its node id with another: the id does not distinguish them.
        let node = wanted.unique.then_some(wanted.node.0.as_str());
        [
            wanted.uuid.and_then(|uuid| self.by_instance.get(uuid)),
            node.and_then(|node| self.by_node.get(node)),
        ]
    }

    /// All startds that advertise this node, whatever their sender.
    fn candidates(&self, wanted: &Wanted<'_>) -> Vec<&'a StartdView> {
        let mut all: Vec<&'a StartdView> = Vec::new();
        for startd in self.ads(wanted).into_iter().flatten().flat_map(Ads::each) {
            if !all.iter().any(|known| std::ptr::eq(*known, startd)) {
                all.push(startd);
            }
        }
        all
    }

    fn which(&self, wanted: &Wanted<'_>) -> Match<'a> {
        let mut all = self.candidates(wanted);
        all.retain(|startd| self.may_send(wanted, startd));
        if all.iter().any(|startd| self.is_fresh(startd)) {
            all.retain(|startd| self.is_fresh(startd));
        }
        let (mut meant, odd): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|startd| wanted.is_meant(startd));
        let last_heard = |startds: &[&'a StartdView]| {
            let order = |startd: &&&'a StartdView| (startd.heard_ago, &startd.machine);
            startds.iter().min_by_key(order).copied()
        };
        let Some(last) = last_heard(&meant) else {
            return last_heard(&odd).map_or(Match::None, Match::Contradiction);
        };
        prefer(&mut meant, |startd| wanted.is_proven(startd));
        prefer(&mut meant, |startd| wanted.is_at_its_address(startd));
        // Stale ads contain the earlier address: of two with one id, the latest counts, for a host name may have changed.
        if !self.is_fresh(last) {
            return Match::Startd(last_heard(&meant).unwrap_or(last));
        }
        let busiest = |startds: &[&'a StartdView]| {
            let order = |startd: &&&'a StartdView| {
                let drained = startd.draining.as_ref().is_some_and(|drain| drain.complete);
                (
                    startd.claims(),
                    !drained,
                    std::cmp::Reverse(startd.heard_ago),
                )
            };
            startds.iter().max_by_key(order).copied()
        };
        let Some(one) = busiest(&meant) else {
            return Match::Startd(last);
        };
        meant.retain(|startd| startd.address != one.address);
        match busiest(&meant) {
            Some(other) => Match::Contested(one, other),
            None => Match::Startd(one),
        }
    }
}

/// Leaves those of which this is true, where there are any.
fn prefer(startds: &mut Vec<&StartdView>, is_true: impl Fn(&StartdView) -> bool) {
    if startds.iter().any(|startd| is_true(startd)) {
        startds.retain(|startd| is_true(startd));
    }
}

/// Nodes whose servers are gone, by what their ads still say.
pub(super) struct StaleAdFinder<'a> {
    by_instance: Index<&'a str, &'a NodeId>,
    departed: &'a BTreeMap<NodeId, Tombstone>,
}

impl<'a> StaleAdFinder<'a> {
    pub(super) fn new(departed: &'a BTreeMap<NodeId, Tombstone>) -> StaleAdFinder<'a> {
        let mut by_instance = index(departed.len());
        for (id, gone) in departed {
            if let Some(server_id) = gone.server_id.as_deref() {
                by_instance.entry(server_id).or_insert(id);
            }
        }
        StaleAdFinder {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DrainView, Resources, SlotView};

    const INTERVAL: Duration = Duration::from_secs(60);

    fn startd(
        machine: &str,
        says: (Option<&str>, Option<&str>),
        ago: u64,
        claims: u64,
    ) -> StartdView {
        StartdView {
            machine: machine.to_owned(),
            instance_id: says.0.map(str::to_owned),
            node: says.1.map(|node| NodeId(node.into())),
            address: Some(format!("<10.0.0.{}:9618>", machine.len())),
            slots: vec![SlotView {
                owners: Default::default(),
                name: format!("slot1@{machine}"),
                total: Resources::default(),
                free: Resources::default(),
                claims,
                accepts_jobs: true,
                unchanged_for: Duration::ZERO,
            }],
            sender: Sender::AnyNode,
            heard_ago: Duration::from_secs(ago),
            update_interval: None,
            up_for: Duration::ZERO,
            draining: None,
        }
    }

    fn sent(startd: StartdView, sender: Sender) -> StartdView {
        StartdView { sender, ..startd }
    }

    fn by(node: &str) -> Sender {
        Sender::Node(NodeId(node.into()))
    }

    fn wanted() -> StartdIdentity {
        StartdIdentity {
            server_id: Some("u".to_owned()),
            node: NodeId("n".into()),
            shares_node: false,
            machine: None,
            own_ads: None,
            address: None,
            former: Vec::new(),
            own_identity: false,
            addresses: Vec::new(),
            update_interval: INTERVAL,
        }
    }

    /// The machine that is taken for the node, and what is said of that.
    fn found(identity: &StartdIdentity, startds: &[StartdView]) -> String {
        match StartdFinder::new(startds, INTERVAL).identified(identity) {
            Match::None => "none".to_owned(),
            Match::Startd(one) => one.machine.clone(),
            Match::Contradiction(one) => format!("{}?", one.machine),
            Match::Contested(one, other) => format!("{} or {}", one.machine, other.machine),
        }
    }

    const OURS: (Option<&str>, Option<&str>) = (Some("u"), Some("n"));

    #[test]
    fn of_two_that_are_heard_neither_the_later_nor_the_name_decides() {
        for (real, forged) in [(1, 0), (0, 1), (100, 0), (0, 0)] {
            for forger in ["aaa", "zzzzzz"] {
                let ads = [
                    startd("real", OURS, real, 2),
                    startd(forger, OURS, forged, 0),
                ];
                assert_eq!(found(&wanted(), &ads), format!("real or {forger}"));
            }
        }
    }

    #[test]
    fn a_startd_that_came_back_under_another_name_is_itself_when_its_old_ad_is_stale() {
        let old = startd("old", OURS, 181, 2);
        let new = startd("newer", OURS, 5, 0);
        assert_eq!(found(&wanted(), &[old.clone(), new.clone()]), "newer");
        let older = startd("oldest", OURS, 900, 2);
        assert_eq!(found(&wanted(), &[older, old]), "old");
        // Two names at one address are one startd, in whatever order they are listed.
        let renamed = StartdView {
            machine: "renamed".to_owned(),
            ..new.clone()
        };
        for ads in [[renamed.clone(), new.clone()], [new, renamed]] {
            assert_eq!(found(&wanted(), &ads), "renamed");
        }
    }

    #[test]
    fn the_sender_and_the_address_tell_two_startds_apart() {
        let real = startd("real", OURS, 50, 2);
        let forged = startd("aaa", OURS, 0, 0);
        let both = |real: &StartdView, forged: &StartdView| [real.clone(), forged.clone()];
        // Old tokens beside new ones: the node's own sender counts.
        let proven = sent(real.clone(), by("n"));
        for sender in [by("a"), Sender::AnyNode, Sender::Unknown, Sender::Other] {
            let forged = sent(forged.clone(), sender);
            assert_eq!(found(&wanted(), &both(&proven, &forged)), "real");
        }
        // Another node's sender speaks for no other node.
        let other = sent(forged.clone(), by("a"));
        assert_eq!(found(&wanted(), std::slice::from_ref(&other)), "none");
        assert_eq!(found(&wanted(), &both(&real, &other)), "real");
        let own = StartdIdentity {
            own_identity: true,
            ..wanted()
        };
        assert_eq!(found(&own, std::slice::from_ref(&forged)), "none");
        // A collector that names nobody takes nothing away.
        let unnamed = sent(real.clone(), Sender::Unknown);
        assert_eq!(found(&own, std::slice::from_ref(&unnamed)), "real");
        assert_eq!(found(&own, &both(&unnamed, &forged)), "none");
        let there = StartdIdentity {
            addresses: vec!["192.0.2.1".to_owned(), "10.0.0.4".to_owned()],
            ..wanted()
        };
        assert_eq!(found(&there, &both(&real, &forged)), "real");
        assert_eq!(found(&there, std::slice::from_ref(&forged)), "aaa");
    }

    #[test]
    fn one_that_contradicts_itself_takes_nothing_from_one_that_does_not() {
        let odd = startd("odd", (Some("u"), Some("another")), 0, 0);
        assert_eq!(found(&wanted(), std::slice::from_ref(&odd)), "odd?");
        for says in [OURS, (None, Some("n")), (Some("u"), None)] {
            let real = startd("real", says, 100, 1);
            assert_eq!(found(&wanted(), &[odd.clone(), real]), "real");
        }
        let twin = StartdIdentity {
            shares_node: true,
            ..wanted()
        };
        assert_eq!(
            found(&twin, &[startd("twin", (Some("v"), Some("n")), 0, 0)]),
            "none"
        );
    }

    #[test]
    fn of_slots_at_one_address_the_least_drained_speak() {
        let mut drained = startd("real", OURS, 0, 0);
        drained.draining = Some(DrainView {
            reason: String::new(),
            request_id: String::new(),
            complete: true,
        });
        let rest = startd("real", (Some("u"), None), 0, 0);
        for ads in [[drained.clone(), rest.clone()], [rest, drained]] {
            let finder = StartdFinder::new(&ads, INTERVAL);
            let found = finder.identified(&wanted()).startd().unwrap();
            assert_eq!(found.draining, None);
        }
    }

    #[test]
    fn hosts_are_read_out_of_addresses() {
        for (address, host) in [
            (
                "<10.0.0.7:9618?addrs=10.0.0.7-9618&sock=startd_1>",
                Some("10.0.0.7"),
            ),
            ("<[2001:db8::1]:9618?x>", Some("2001:db8::1")),
            ("10.0.0.7:9618", None),
            ("<>", None),
            ("", None),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }
}
