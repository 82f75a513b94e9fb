//! Slots of an answer, put together to startds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scaling::observation::{DrainView, NodeId, StartdView, UnreadableAd};
use scaling::sender::Sender;

use super::{MAX_UNREADABLE, MAX_UPDATE_INTERVAL, Slot, since};

/// What tells startds apart: two machines can have one host name, and one can send ads that say that they are another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StartdKey {
    pub machine: String,
    pub instance_id: Option<String>,
    pub node: Option<String>,
    pub address: Option<String>,
    pub sender: Sender,
}

/// The slots of one startd.
pub(super) type Machine = Vec<Slot>;

/// All slots of an answer, by startd.
#[derive(Debug, Default)]
pub(super) struct Startds {
    pub machines: BTreeMap<StartdKey, Machine>,
    /// Slots of which it cannot be read whose they are, with their machines: a claim on each startd there.
    strays: Vec<(String, Slot)>,
    pub unreadable: Vec<UnreadableAd>,
    /// The first line that is none of an answer.
    pub no_answer: Option<String>,
}

impl Startds {
    pub fn add(&mut self, line: &str, identity: Option<&str>) {
        let mut slot = match Slot::read(line) {
            Ok(slot) => slot,
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
        let sender = Sender::of(slot.sender.as_deref(), identity);
        if let (Sender::Node(node), None) = (&sender, &slot.node) {
            // Whatever its ad says, or does not: no other node's ad is hidden by it.
            slot.node = Some(node.0.clone());
        }
        if !slot.wrong.is_empty() {
            self.cannot_read(slot.unreadable());
        }
        let named = slot.instance_id.is_some() || slot.node.is_some();
        let Some(machine) = slot.machine.clone().or(named.then(String::new)) else {
            return;
        };
        if slot.owner_known() {
            let key = StartdKey {
                machine,
                instance_id: slot.instance_id.clone(),
                node: slot.node.clone(),
                address: slot.address.clone(),
                sender,
            };
            self.machines.entry(key).or_default().push(slot);
        } else {
            self.strays.push((machine, slot));
        }
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
                what: "cannot be read, like more than can be told".to_owned(),
            };
        }
    }

    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.machines.values().flatten()
    }

    pub fn views(mut self, now: i64) -> (Vec<StartdView>, Vec<UnreadableAd>) {
        let unreadable = std::mem::take(&mut self.unreadable);
        let mut claims: BTreeMap<String, Vec<Slot>> = BTreeMap::new();
        for (machine, slot) in self.strays {
            claims.entry(machine).or_default().push(slot);
        }
        let mut views: Vec<StartdView> = Vec::with_capacity(self.machines.len());
        let mut there: BTreeSet<String> = BTreeSet::new();
        for (key, slots) in self.machines {
            let mut view = view(&key.machine, key.sender, &slots, now);
            for stray in claims.get(&key.machine).into_iter().flatten() {
                add_stray(&mut view, stray, now);
            }
            there.insert(key.machine);
            views.push(view);
        }
        for (machine, slots) in claims {
            if !there.contains(&machine) {
                views.push(view(&machine, Sender::Unknown, &slots, now));
            }
        }
        (views, unreadable)
    }
}

/// Another slot of a startd, which is claimed, is neither drained nor free.
pub(super) fn add_stray(startd: &mut StartdView, stray: &Slot, now: i64) {
    startd.slots.push(stray.view(now, Duration::ZERO));
    if let Some(drain) = &mut startd.draining {
        drain.complete = false;
    }
}

pub(super) fn view(machine: &str, sender: Sender, slots: &[Slot], now: i64) -> StartdView {
    let ago = |slot: &Slot| slot.heard.map_or(Duration::ZERO, |heard| since(now, heard));
    // By the name of the first one the startd is drained.
    let (readable, others): (Vec<&Slot>, Vec<&Slot>) =
        slots.iter().partition(|slot| slot.name.is_some());
    let slots = || readable.iter().chain(&others).copied();
    let drain = slots().find_map(|slot| slot.draining.clone());
    let complete = slots().all(|slot| slot.drained && slot.claims == 0);
    let up_for = |slot: &Slot| {
        let sent = slot.sent.unwrap_or(now);
        Some(since(sent, slot.started?) + ago(slot))
    };
    StartdView {
        machine: machine.to_owned(),
        instance_id: slots().find_map(|slot| slot.instance_id.clone()),
        node: slots().find_map(|slot| slot.node.clone()).map(NodeId),
        address: slots().find_map(|slot| slot.address.clone()),
        heard_ago: slots().map(ago).min().unwrap_or_default(),
        update_interval: slots()
            .find_map(|slot| slot.update_interval)
            .map(|interval| Duration::from_secs(interval).min(MAX_UPDATE_INTERVAL)),
        sender,
        up_for: slots().filter_map(up_for).min().unwrap_or_default(),
        draining: drain.map(|(reason, request_id)| DrainView {
            reason,
            request_id,
            complete,
        }),
        slots: slots().map(|slot| slot.view(now, ago(slot))).collect(),
    }
}
