//! The actions of a plan and their outcomes: the interface between the planner and the tick.

#![warn(missing_docs)]

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::floating_ip::NodeFloatingIp;
use super::leftover::Leftover;
use super::observation::{CloudName, DrainView, NodeId, OwnedServer};
use super::refusal::About;
use super::state::Place;

/// A node that is to be made; on disk before it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The id that its server will carry in its metadata.
    pub node: NodeId,
    /// The server's name.
    pub name: String,
    /// The cloud of the action.
    pub cloud: CloudName,
    /// The flavor, as configured.
    pub flavor: String,
    /// The image, as configured.
    pub image: String,
    /// The availability zone; `None`: the cloud's choice.
    pub zone: Option<String>,
    /// When it was decided.
    pub at: Timestamp,
}

/// One thing that a cloud is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // A tick has few of them.
pub enum CloudAction {
    /// Make the node's server. Sent once.
    Create(Intent),
    /// Delete a server of this pool.
    Delete {
        /// The node it is.
        node: NodeId,
        /// The server, recognised by its metadata.
        server: OwnedServer,
        /// What a last look must find: else it is not deleted.
        expects: Expected,
        /// How its startd would be found.
        startd: StartdIdentity,
        /// Keep the end of its console in the log first: it failed to join.
        keep_console: bool,
        /// It was asked for before.
        again: bool,
    },
    /// Delete a leftover, if it is still unused.
    Remove {
        /// Its own id: the node that it was a part of is gone.
        node: NodeId,
        /// It, recognised by its mark.
        leftover: Leftover,
    },
    /// Take a floating IP off a node, when it still leads there. It is not released: nothing says that it is ours.
    Disassociate {
        /// The node.
        node: NodeId,
        /// It, and the server that it leads to.
        floating_ip: NodeFloatingIp,
    },
}

/// What a delete is for: how the last look right before it must find the node's startd. In all cases the server must
/// still say that it is ours and this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Drained by this drain, without a claim.
    Drained(DrainView),
    /// Silent: lost, or SHUTOFF.
    Silent {
        /// The update interval of startds that do not publish one.
        update_interval: Duration,
        /// For so long that a startd which answers itself, and says that it has no claim, does not keep its node.
        long: bool,
    },
    /// Never joined. Its ads may be hidden, so a schedd that lists a job on the node prevents the delete.
    NeverJoined {
        /// Every schedd answered the observation. One that does not answer before the delete keeps the node then; else the
        /// planner has judged without it (`schedd_grace`).
        schedds_known: bool,
    },
    /// Older than `max_lifetime` and `max_lifetime_kill`: whatever runs on it.
    Overdue,
    /// An operator's request to delete it, whatever runs on it. A collector that does not answer does not hold it up.
    Requested,
    /// A builder: no claim on it, if it has a startd. A collector that does not answer does not hold it up.
    NoClaim,
}

/// By what the startd of a node is found in the collector, whatever it is called now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartdIdentity {
    /// The UUID of its server (`CloudInstanceID`).
    pub server_id: Option<String>,
    /// The node id that its server says (`EhosNode`).
    pub node: NodeId,
    /// Another server has the same node id: only the UUID identifies the node.
    pub shares_node: bool,
    /// `Machine`, when it has been seen. It proves nothing.
    pub machine: Option<String>,
    /// `Machine` of the ads that the collector has of it, where no other machine has ads of that name: with it they can be
    /// taken out.
    pub own_ads: Option<String>,
    /// Where it was last known to answer (`MyAddress`), for when the collector has no ad of it any more.
    pub address: Option<String>,
    /// Earlier addresses and names, on other hosts: a forged ad may have been taken for its own.
    pub former: Vec<Place>,
    /// Its ads come from its own identity alone.
    pub own_identity: bool,
    /// Addresses of its server, where Nova says them.
    pub addresses: Vec<String>,
    /// The update interval of startds that do not publish one.
    pub update_interval: Duration,
}

impl CloudAction {
    /// The node that it is about.
    pub fn node(&self) -> &NodeId {
        match self {
            CloudAction::Create(intent) => &intent.node,
            CloudAction::Delete { node, .. }
            | CloudAction::Remove { node, .. }
            | CloudAction::Disassociate { node, .. } => node,
        }
    }
}

/// One thing that HTCondor is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolAction {
    /// Drain a node if the startd itself finds every slot unclaimed
    /// and to be the one that is meant (`condor_drain -graceful -check CHECK -reason REASON SLOT`).
    Drain {
        /// The node.
        node: NodeId,
        /// How its startd is found for a last look.
        startd: StartdIdentity,
        /// The name of one of its slots, as the ad has it.
        slot: String,
        /// The reason, which marks the drain as this pool's.
        reason: String,
    },
    /// Cancel a drain (`condor_drain -cancel -request-id ID SLOT`).
    CancelDrain {
        /// The node.
        node: NodeId,
        /// The name of one of its slots.
        slot: String,
        /// `DrainingRequestId` of the drain whose reason is ours.
        request_id: String,
    },
    /// Take the ads of a machine whose server is gone out of the collector
    /// (`condor_advertise INVALIDATE_STARTD_ADS`, `INVALIDATE_MASTER_ADS`).
    Invalidate {
        /// The node that it was.
        node: NodeId,
        /// `Machine` of its ads.
        machine: String,
    },
    /// Ask for a negotiation cycle (`condor_reschedule`), so that nodes that have joined get jobs at once.
    Reschedule {
        /// One of the nodes.
        node: NodeId,
    },
}

impl PoolAction {
    /// The node that it is about.
    pub fn node(&self) -> &NodeId {
        match self {
            PoolAction::Drain { node, .. }
            | PoolAction::CancelDrain { node, .. }
            | PoolAction::Invalidate { node, .. }
            | PoolAction::Reschedule { node } => node,
        }
    }
}

/// The result of a completed action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A server is being made, with this UUID.
    Created {
        /// Its UUID.
        server_id: String,
    },
    /// The request was accepted.
    Accepted,
    /// There was nothing left to do: the server or the ad is gone already.
    AlreadyGone,
}

/// Why something was not done, in the terms that decide what happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of the failure.
    pub kind: FailureKind,
    /// What failed, on which cloud, host or slot, and what to do next. Holds no secret.
    pub message: String,
}

/// The failures that make a difference to the planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It may or may not have happened: no answer, a broken connection, an answer that does not parse.
    Unknown,
    /// Not now: 429, or 413 with Retry-After; with the time the service asked for, when it did.
    Later(Option<Duration>),
    /// A quota does not allow it.
    Quota,
    /// Refused by a cloud, for what.
    Refused(About),
    /// Refused by HTCondor. It will be refused again.
    Rejected,
    /// The startd is claimed or draining already, the drain is another one, or the leftover is in use.
    NotIdle,
    /// A last look found it otherwise than planned, and nothing was done.
    Changed,
    /// No right to do this.
    NotAuthorized,
    /// It certainly did not happen, for another reason (connection refused, tool not found …).
    NotDone,
}

impl FailureKind {
    /// Whether it is certain that nothing happened.
    pub fn had_no_effect(self) -> bool {
        self != FailureKind::Unknown
    }
}
