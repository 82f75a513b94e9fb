//! Leftovers: deleted when two observations have found them. Those without a mark are only listed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::planner::Planner;
use super::{LeftoverEntry, NodeDecision};
use crate::action::CloudAction;
use crate::leftover::{Leftover, LeftoverKind, Unmarked};
use crate::observation::{CloudName, CloudView, NodeId, Observation, OwnedServer, Role};
use crate::pace::MINUTE;
use crate::reason::Reason;
use crate::seconds::seconds;
use crate::state::{LeftoverState, NodeState};

/// An unassociated floating IP is deleted after this: a central manager that is being deployed uses its own sooner.
const UNUSED_AFTER: Duration = Duration::from_secs(3600);

/// Resources without a mark are listed after this: new ones may not be attached yet.
const UNMARKED_AFTER: Duration = Duration::from_secs(600);

/// So many leftovers of a cloud are remembered; others are found when these are gone.
const MAX_REMEMBERED: usize = 200;

/// One thing that a cloud shows.
enum Found<'a> {
    Ours(&'a Leftover),
    Unmarked(&'a Unmarked),
}

impl Found<'_> {
    fn kind(&self) -> LeftoverKind {
        match self {
            Found::Ours(leftover) => leftover.kind(),
            Found::Unmarked(thing) => thing.kind,
        }
    }

    fn server(&self) -> Option<&str> {
        match self {
            Found::Ours(leftover) => leftover.server(),
            Found::Unmarked(_) => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Found::Ours(leftover) => leftover.name(),
            Found::Unmarked(thing) => &thing.name,
        }
    }
}

/// The clouds that have listed leftovers.
pub(super) fn answered(
    observation: &Observation,
) -> impl Iterator<Item = (&CloudName, &CloudView)> {
    let clouds = observation.clouds.iter();
    let known = clouds.filter_map(|(name, cloud)| cloud.known().map(|view| (name, view)));
    known.filter(|(_, view)| view.leftovers.is_known())
}

/// All that is shown, each once, by id: two entries of the configuration may be one project.
fn found(observation: &Observation) -> BTreeMap<&str, (&CloudName, &CloudView, Found<'_>)> {
    let mut all = BTreeMap::new();
    for (cloud, view) in answered(observation) {
        let Some(leftovers) = view.leftovers.known() else {
            continue;
        };
        // What is of a server that is listed is left alone, whatever is remembered of it.
        let listed = |leftover: &&Leftover| {
            let server = leftover.server();
            server.is_some_and(|id| view.servers.iter().any(|server| server.id() == id))
        };
        for leftover in leftovers.ours.iter().filter(|leftover| !listed(leftover)) {
            all.entry(leftover.id())
                .or_insert((cloud, view, Found::Ours(leftover)));
        }
        for thing in &leftovers.unmarked {
            all.entry(thing.id.as_str())
                .or_insert((cloud, view, Found::Unmarked(thing)));
        }
    }
    all
}

impl<'a> Planner<'a> {
    /// What is seen is remembered, what is not seen any more is forgotten, and each thing gets its fate. The clouds were
    /// asked by the state before this tick. No brake holds: a server that is there after all is found by the look before the removal.
    pub(super) fn choose_leftovers(&mut self) {
        let asked = self.previous;
        let now = self.next.now;
        let observation: &'a Observation = self.observation;
        let found = found(observation);
        for (cloud, _) in answered(observation) {
            let traces = asked.traces(cloud);
            let was_asked = |server: &Option<String>| {
                server
                    .as_ref()
                    .is_none_or(|server| traces.servers.contains(server))
            };
            self.next.leftovers.retain(|id, memory| {
                memory.cloud != *cloud
                    || !was_asked(&memory.server)
                    || found.contains_key(id.as_str())
            });
            for departed in self.next.departed.values_mut() {
                departed.searched |= departed.cloud == *cloud && was_asked(&departed.server_id);
            }
        }
        for (id, (cloud, view, thing)) in found {
            let remembered = self.next.leftovers.values();
            let of_cloud = remembered.filter(|memory| memory.cloud == *cloud).count();
            if !self.next.leftovers.contains_key(id) && of_cloud >= MAX_REMEMBERED {
                continue;
            }
            let ours = matches!(thing, Found::Ours(_));
            let new = || LeftoverState {
                cloud: cloud.clone(),
                kind: thing.kind(),
                server: thing.server().map(str::to_owned),
                ours,
                since: now,
                removed: None,
            };
            let memory = self.next.leftovers.entry(id.to_owned()).or_insert_with(new);
            if memory.ours != ours {
                // It has got a mark, or lost it: seen for the first time as what it is.
                *memory = new();
            }
            memory.cloud.clone_from(cloud);
            let memory = memory.clone();
            let (decision, why) = match &thing {
                Found::Ours(leftover) => match self.held(cloud, &memory) {
                    Some(why) => (NodeDecision::Keep, why),
                    None => self.fate_of(leftover, &memory, view),
                },
                Found::Unmarked(_) if now.since(memory.since) < UNMARKED_AFTER => continue,
                Found::Unmarked(thing)
                    if thing.kind == LeftoverKind::FloatingIp
                        && !self.policy.purge_floating_ips =>
                {
                    continue;
                }
                Found::Unmarked(_) => {
                    let seconds = seconds(now.since(memory.since));
                    (NodeDecision::Keep, Reason::LeftoverUnmarked { seconds })
                }
            };
            self.leftovers.push(LeftoverEntry {
                id: id.to_owned(),
                kind: thing.kind(),
                name: thing.name().to_owned(),
                cloud: cloud.clone(),
                server: memory.server.clone(),
                decision,
                why,
            });
        }
    }

    /// The pause or the kept node that keeps a leftover.
    fn held(&self, cloud: &str, memory: &LeftoverState) -> Option<Reason> {
        let at = self.observation.at;
        let of_server =
            |node: &NodeState| memory.server.is_some() && node.server_id == memory.server;
        let node = self.next.nodes.values().find(|node| of_server(node));
        let keep = node.and_then(|node| node.requests.at(at).keep);
        let pause = || self.next.pause_of(cloud, |pause| pause.deletes);
        match keep {
            Some(keep) => Some(Reason::from(&*keep)),
            None => pause().map(Reason::from),
        }
    }

    fn fate_of(
        &self,
        leftover: &Leftover,
        memory: &LeftoverState,
        view: &CloudView,
    ) -> (NodeDecision, Reason) {
        let now = self.next.now;
        let seen_for = now.since(memory.since);
        let seconds = seconds(seen_for);
        if leftover.kind() == LeftoverKind::FloatingIp {
            let master = |server: &OwnedServer| server.role() == Role::Master;
            if view.servers.iter().any(master) && !leftover.another_leads() {
                return (NodeDecision::Keep, Reason::FloatingIpForMaster);
            }
            if seen_for < UNUSED_AFTER {
                let unused_after_seconds = UNUSED_AFTER.into();
                return (
                    NodeDecision::Keep,
                    Reason::FloatingIpUnused {
                        seconds,
                        unused_after_seconds,
                    },
                );
            }
        }
        if let Some(removed) = memory.removed {
            let asked_for = now.since(removed);
            let seconds = asked_for.into();
            return if asked_for < self.policy.delete_timeout {
                (NodeDecision::Keep, Reason::DeleteUnderWay { seconds })
            } else {
                (NodeDecision::Delete, Reason::DeleteAgain { seconds })
            };
        }
        if now.since(memory.since) < MINUTE {
            (NodeDecision::Keep, Reason::LeftoverSeenOnce)
        } else {
            (NodeDecision::Delete, Reason::LeftBehind { seconds })
        }
    }

    /// Removes them, as many as `max_actions` leaves after creates and deletes.
    pub(super) fn remove_leftovers(&mut self) {
        let found = found(self.observation);
        for line in &mut self.leftovers {
            if line.decision != NodeDecision::Delete {
                continue;
            }
            if self.actions.changes_left() == 0 {
                line.decision = NodeDecision::Keep;
                line.why = self.actions.used_up();
                continue;
            }
            let (Some((_, _, Found::Ours(leftover))), Some(memory)) = (
                found.get(line.id.as_str()),
                self.next.leftovers.get_mut(&line.id),
            ) else {
                continue;
            };
            memory.removed = Some(self.next.now);
            let action = CloudAction::Remove {
                node: NodeId(line.id.clone().into()),
                leftover: (*leftover).clone(),
            };
            self.actions.ask_cloud(&line.cloud, action);
        }
    }
}
