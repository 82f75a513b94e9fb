//! Slots of an answer, put together to startds.

mod owners;
pub mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scaling::observation::{DrainView, NodeId, StartdView, UnreadableAd};
use scaling::sender::Sender;
use scaling::sorting;

use crate::answer::since;
use slot::{Slot, SlotAd};

/// The longest update interval that ehos believes: by default an ad lives for no longer without an update
/// (`CLASSAD_LIFETIME`).
const MAX_UPDATE_INTERVAL: Duration = Duration::from_secs(900);

/// More are not told by name.
const MAX_UNREADABLE: usize = 100;

/// What tells startds apart: two machines can have one host name, and one can send ads that say that they are another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StartdKey {
    pub machine: String,
    pub instance_id: Option<String>,
    pub node: Option<String>,
    pub address: Option<String>,
    pub sender: Sender,
}

/// A slot, and whose it is.
#[derive(Debug)]
pub struct OfStartd {
    pub startd: StartdKey,
    pub slot: Slot,
}

/// All slots of an answer.
#[derive(Debug, Default)]
pub struct Startds {
    /// Those of which it can be read whose they are, in no order. To sort them moves their addresses, not them: they are large.
    pub slots: Vec<Box<OfStartd>>,
    /// Slots of which it cannot be read whose they are, with their machines and addresses: a claim on each startd there.
    strays: Vec<(String, Option<String>, Slot)>,
    pub unreadable: Vec<UnreadableAd>,
    /// The first line that is none of an answer.
    pub no_answer: Option<String>,
}

impl Startds {
    pub fn add(&mut self, line: &str, identity: Option<&str>) {
        let mut ad = match SlotAd::read(line, identity) {
            Ok(ad) => ad,
            Err(what) => {
                self.cannot_read(UnreadableAd {
                    machine: None,
                    slot: None,
                    owner_known: false,
                    up_for: None,
                    what: what.clone(),
                });
                self.no_answer.get_or_insert(what);
                return;
            }
        };
        if let (Sender::Node(node), None) = (&ad.sender, &ad.node) {
            // Whatever its ad says, or does not: no other node's ad is hidden by it.
            ad.node = Some(node.to_string());
        }
        if !ad.wrong.is_empty() {
            self.cannot_read(ad.unreadable());
        }
        let named = ad.instance_id.is_some() || ad.node.is_some();
        let owner_known = ad.owner_known();
        let Some(machine) = ad.machine.or(named.then(String::new)) else {
            return;
        };
        if !owner_known {
            self.strays.push((machine, ad.address, ad.slot));
            return;
        }
        let startd = StartdKey {
            machine,
            instance_id: ad.instance_id,
            node: ad.node,
            address: ad.address,
            sender: ad.sender,
        };
        let slot = ad.slot;
        self.slots.push(Box::new(OfStartd { startd, slot }));
    }

    /// Each by its name, as many as a person reads. Of more it is only known whether each says whose it is.
    fn cannot_read(&mut self, ad: UnreadableAd) {
        if self.unreadable.len() < MAX_UNREADABLE {
            self.unreadable.push(ad);
        } else if let Some(last) = self.unreadable.last_mut() {
            *last = UnreadableAd {
                machine: None,
                slot: None,
                owner_known: last.owner_known && ad.owner_known,
                up_for: None,
                what: "cannot be read, like others without a name here".to_owned(),
            };
        }
    }

    /// When the collector has heard of them, on its clock.
    pub fn heard(&self) -> impl Iterator<Item = i64> {
        self.slots.iter().filter_map(|listed| listed.slot.heard)
    }

    pub fn views(mut self, now: i64) -> (Vec<StartdView>, Vec<UnreadableAd>) {
        let unreadable = std::mem::take(&mut self.unreadable);
        let mut claims: BTreeMap<String, (Option<String>, Vec<Slot>)> = BTreeMap::new();
        for (machine, address, slot) in self.strays {
            let there = claims.entry(machine);
            there.or_insert((address, Vec::new())).1.push(slot);
        }
        self.slots
            .sort_by(|one, other| one.startd.cmp(&other.startd));
        let mut views: Vec<StartdView> = Vec::with_capacity(self.slots.len());
        let mut there: BTreeSet<String> = BTreeSet::new();
        let mut slots = self.slots.into_iter().map(|listed| *listed).peekable();
        while let Some(OfStartd { startd, slot }) = slots.next() {
            let strays = claims.get(&startd.machine);
            if strays.is_some() {
                there.insert(startd.machine.clone());
            }
            // Most startds advertise one slot; an empty Vec would make room for four.
            let mut machine = Vec::with_capacity(1);
            machine.push(slot);
            while let Some(next) = slots.next_if(|next| next.startd == startd) {
                machine.push(next.slot);
            }
            let mut view = view(startd, machine, now);
            for stray in strays.into_iter().flat_map(|(_, slots)| slots) {
                add_stray(&mut view, stray, now);
            }
            views.push(view);
        }
        for (machine, (address, slots)) in claims {
            if !there.contains(&machine) {
                let key = StartdKey {
                    machine,
                    instance_id: None,
                    node: None,
                    address,
                    sender: Sender::Unknown,
                };
                views.push(view(key, slots, now));
            }
        }
        (views, unreadable)
    }
}

/// Another slot of a startd, which is claimed, is neither drained nor free.
fn add_stray(startd: &mut StartdView, stray: &Slot, now: i64) {
    let stray = stray.clone().into_view(now, Duration::ZERO);
    startd.slots.push(stray);
    if let Some(drain) = &mut startd.draining {
        drain.complete = false;
    }
}

fn view(key: StartdKey, mut slots: Vec<Slot>, now: i64) -> StartdView {
    let ago = |slot: &Slot| slot.heard.map_or(Duration::ZERO, |heard| since(now, heard));
    // By the name of the first one the startd is drained.
    if slots.len() > 1 {
        sorting::by_key(&mut slots, |slot| slot.name.is_none());
    }
    let drain = slots.iter_mut().find_map(|slot| slot.draining.take());
    let complete = slots.iter().all(|slot| slot.drained && slot.claims == 0);
    let up_for = |slot: &Slot| {
        let sent = slot.sent.unwrap_or(now);
        Some(since(sent, slot.started?) + ago(slot))
    };
    let heard_ago = slots.iter().map(ago).min().unwrap_or_default();
    let update_interval = slots.iter().find_map(|slot| slot.update_interval);
    let up_for = slots.iter().filter_map(up_for).min().unwrap_or_default();
    // `collect` would keep the room of the slots.
    let mut views = Vec::with_capacity(slots.len());
    views.extend(slots.into_iter().map(|slot| {
        let ago = ago(&slot);
        slot.into_view(now, ago)
    }));
    StartdView {
        machine: key.machine,
        instance_id: key.instance_id,
        node: key.node.map(|node| NodeId(node.into())),
        address: key.address,
        heard_ago,
        update_interval: update_interval
            .map(|interval| Duration::from_secs(interval).min(MAX_UPDATE_INTERVAL)),
        sender: key.sender,
        up_for,
        draining: drain.map(|drain| {
            let (reason, request_id) = *drain;
            DrainView {
                reason,
                request_id,
                complete,
            }
        }),
        slots: views,
    }
}

/// What tests/fuzz reads: the slots in `text`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> (Vec<StartdView>, Vec<UnreadableAd>) {
    let mut startds = Startds::default();
    for line in text.lines() {
        startds.add(line, None);
    }
    let now = startds.heard().max();
    startds.views(now.unwrap_or(0))
}

#[cfg(test)]
#[path = "startds_tests.rs"]
mod tests;
