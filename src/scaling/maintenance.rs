//! Maintenance: pauses, kept nodes, and requests to drain or delete a node, as an operator's commands leave them in the state.
//!
//! A time at which one of them ends is a time of day, as a schedule window has it: it is compared with the time of the
//! observation. An entry that has ended stays in the state until a command replaces it, so that a clock which jumps and
//! returns ends nothing for good.

#![warn(missing_docs)]

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::money::Money;
use super::observation::{CloudName, NodeId};
use super::sentence::after;
use super::state::{NodeState, State};
use crate::names;

/// A pause: ehos creates no node until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPause {
    /// The time of the command.
    pub since: Timestamp,
    /// Its end; without one an operator ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// ehos drains and deletes no node either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    /// The text of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The user who gave the command.
    pub by: String,
    /// The whole pool is being taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retiring: bool,
}

/// A node that ehos neither drains nor deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The time of the command.
    pub since: Timestamp,
    /// Its end; without one an operator ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The user who gave the command.
    pub by: String,
}

/// A node that gets no new demand, and is deleted when it is idle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// The time of the command.
    pub since: Timestamp,
    /// The user who gave the command.
    pub by: String,
    /// Another node takes its place, as for an expired node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// A node that is deleted, whatever runs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// The time of the command.
    pub since: Timestamp,
    /// The user who gave the command.
    pub by: String,
}

/// The requests of operators for one node. Nearly all nodes have none, so these are small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// ehos neither drains nor deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Box<Keep>>,
    /// It is drained.
    #[serde(
        default,
        rename = "drain_request",
        skip_serializing_if = "Option::is_none"
    )]
    pub drain: Option<Box<DrainRequest>>,
    /// It is deleted.
    #[serde(
        default,
        rename = "delete_request",
        skip_serializing_if = "Option::is_none"
    )]
    pub delete: Option<Box<DeleteRequest>>,
}

fn lasts(until: Option<Timestamp>, at: Timestamp) -> bool {
    until.is_none_or(|until| at < until)
}

impl OperatorPause {
    /// Whether it has not ended.
    pub fn is_active(&self, at: Timestamp) -> bool {
        lasts(self.until, at)
    }
}

impl Keep {
    /// Whether it has not ended.
    pub fn is_active(&self, at: Timestamp) -> bool {
        lasts(self.until, at)
    }
}

impl Requests {
    /// Those that have not ended. A keep excludes the others.
    pub(crate) fn at(&self, at: Timestamp) -> Requests {
        let keep = self.keep.clone().filter(|keep| keep.is_active(at));
        match keep {
            Some(_) => Requests {
                keep,
                ..Requests::default()
            },
            None => Requests {
                keep,
                ..self.clone()
            },
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Requests::default()
    }
}

impl State {
    /// The pauses that are active, that of all clouds first.
    pub fn active_pauses(&self, at: Timestamp) -> impl Iterator<Item = PauseEntry> {
        let clouds = self.paused_clouds.iter();
        let clouds = clouds.map(|(cloud, pause)| (Some(cloud.clone()), pause));
        let all = self.paused.iter().map(|pause| (None, pause)).chain(clouds);
        let active = all.filter(move |(_, pause)| pause.is_active(at));
        active.map(|(cloud, pause)| PauseEntry {
            cloud,
            pause: pause.clone(),
        })
    }

    /// The first active pause of a cloud for which `which` holds.
    pub(crate) fn pause_of(
        &self,
        cloud: &str,
        which: impl Fn(&OperatorPause) -> bool,
    ) -> Option<PauseEntry> {
        let mut all = self.active_pauses(self.last_tick.unwrap_or_default());
        all.find(|entry| {
            entry.cloud.as_deref().is_none_or(|name| name == cloud) && which(&entry.pause)
        })
    }

    /// The nodes that the state knows under this name: their id, the name or UUID of their server, or their host name.
    pub fn nodes_called(&self, name: &str) -> Vec<NodeId> {
        let is_it = |id: &NodeId, memory: &NodeState| {
            id.0 == name
                || memory.name == name
                || memory.server_id.as_deref() == Some(name)
                || memory.join.machine.as_deref() == Some(name)
        };
        let nodes = self.nodes.iter().filter(|(id, memory)| is_it(id, memory));
        nodes.map(|(id, _)| id.clone()).collect()
    }
}

names! {
    /// The effect of an operator's request on one node.
    pub enum NodeChange {
        /// The state has changed.
        Changed = "changed",
        /// There was nothing to change.
        Unchanged = "unchanged",
        /// An operator keeps the node.
        Kept = "kept",
        /// The delete of its server has been decided.
        Deleting = "deleting",
        /// Its signature is invalid, or it was created for another central manager.
        NotOurs = "not_ours",
    }
}

/// Changes of the state by commands, under the lock of the ticks. Each is the same when it is repeated.
impl State {
    /// Begins a pause of a cloud, or of all clouds; it takes the place of an earlier one.
    pub fn pause(&mut self, cloud: Option<&str>, pause: OperatorPause) {
        match cloud {
            Some(cloud) => drop(self.paused_clouds.insert(cloud.to_owned(), pause)),
            None => self.paused = Some(pause),
        }
    }

    /// Ends the pause of a cloud, or of all clouds; returns it if it was active.
    pub fn end_pause(&mut self, cloud: Option<&str>, at: Timestamp) -> Option<PauseEntry> {
        let pause = match cloud {
            Some(cloud) => self.paused_clouds.remove(cloud),
            None => self.paused.take(),
        };
        let pause = pause.filter(|pause| pause.is_active(at))?;
        let cloud = cloud.map(str::to_owned);
        Some(PauseEntry { cloud, pause })
    }

    /// Requests the drain of a node; `None` if there is no such node.
    pub fn request_drain(&mut self, node: &NodeId, request: DrainRequest) -> Option<NodeChange> {
        let at = request.since;
        self.change(node, at, false, |requests| {
            let same = |old: &DrainRequest| old.replace == request.replace;
            if !requests.drain.as_deref().is_some_and(same) {
                requests.drain = Some(request.into());
            }
        })
    }

    /// Requests the delete of a node.
    pub fn request_delete(&mut self, node: &NodeId, request: DeleteRequest) -> Option<NodeChange> {
        let at = request.since;
        self.change(node, at, false, |requests| {
            requests.delete.get_or_insert(request.into());
        })
    }

    /// Keeps a node. A request to drain or delete it ends.
    pub fn keep(&mut self, node: &NodeId, keep: Keep) -> Option<NodeChange> {
        let at = keep.since;
        self.change(node, at, true, |requests| {
            let kept = requests.keep.take();
            let kept = kept.filter(|old| old.until == keep.until);
            *requests = Requests {
                keep: Some(kept.unwrap_or(keep.into())),
                ..Requests::default()
            };
        })
    }

    /// Withdraws requests of a node.
    pub fn withdraw(
        &mut self,
        node: &NodeId,
        at: Timestamp,
        what: impl FnOnce(&mut Requests),
    ) -> Option<NodeChange> {
        self.change(node, at, true, what)
    }

    fn change(
        &mut self,
        node: &NodeId,
        at: Timestamp,
        of_kept: bool,
        what: impl FnOnce(&mut Requests),
    ) -> Option<NodeChange> {
        let memory = self.nodes.get_mut(node)?;
        if memory.unsigned.is_some() || memory.other_condor_host.is_some() {
            return Some(NodeChange::NotOurs);
        }
        if memory.delete.intended.is_some() {
            return Some(NodeChange::Deleting);
        }
        if !of_kept && memory.requests.at(at).keep.is_some() {
            return Some(NodeChange::Kept);
        }
        let before = memory.requests.clone();
        if !of_kept {
            // One that has ended does not begin anew when the clock is set back.
            memory.requests.keep = None;
        }
        what(&mut memory.requests);
        Some(match before == memory.requests {
            true => NodeChange::Unchanged,
            false => NodeChange::Changed,
        })
    }
}

/// A pause in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseEntry {
    /// Its cloud; all clouds when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudName>,
    /// The pause.
    #[serde(flatten)]
    pub pause: OperatorPause,
}

/// ` until 2026-11-30T08:00:00Z`, or nothing.
pub(super) fn end(time: Option<Timestamp>) -> String {
    time.map_or_else(String::new, |time| format!(" until {time:.0}"))
}

impl PauseEntry {
    /// The pause with its end and reason, without what it blocks.
    pub fn words(&self) -> String {
        let OperatorPause {
            until,
            reason,
            by,
            retiring,
            ..
        } = &self.pause;
        let what = match (retiring, &self.cloud) {
            (true, _) => "`ehos retire`".to_owned(),
            (false, Some(cloud)) => format!("`ehos pause` of cloud {cloud}"),
            (false, None) => "`ehos pause`".to_owned(),
        };
        format!("{what} by {by}{}{}", end(*until), after(": ", reason))
    }

    /// The command that ends it.
    pub fn end_command(&self) -> String {
        format!("ehos resume{}", after(" ", &self.cloud))
    }
}

impl fmt::Display for PauseEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocked = match self.pause.deletes {
            true => "no creates, drains or deletes",
            false => "no creates",
        };
        let command = self.end_command();
        write!(f, "{blocked}: {}; end it with `{command}`", self.words())
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kept by {}{}", self.by, end(self.until))
    }
}

impl fmt::Display for DrainRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replace = if self.replace { ", replaced" } else { "" };
        write!(f, "drain requested by {}{replace}", self.by)
    }
}

impl fmt::Display for DeleteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete requested by {}", self.by)
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keep = self.keep.iter().map(ToString::to_string);
        let drain = self.drain.iter().map(ToString::to_string);
        let delete = self.delete.iter().map(ToString::to_string);
        let all: Vec<String> = keep.chain(drain).chain(delete).collect();
        f.write_str(&all.join(", "))
    }
}

/// Kept nodes, and their price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptNodes {
    /// Their number.
    pub nodes: u64,
    /// Their price for an hour, of those whose flavor has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<Money>,
    /// Those without a price.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_price: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl fmt::Display for KeptNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.nodes == 1 { "" } else { "s" };
        write!(f, "{} node{plural}", self.nodes)?;
        match (self.per_hour, self.without_price) {
            (Some(price), 0) => write!(f, ", {price} per hour")?,
            (Some(price), without) => {
                write!(
                    f,
                    ", {price} per hour ({without} without a price not counted)"
                )?;
            }
            (None, _) => write!(f, ", without a price")?,
        }
        write!(
            f,
            "; ehos drains and deletes none until `ehos keep --release NODE`"
        )
    }
}
