//! A node as it stands in a state file: all fields side by side.
//!
//! `#[serde(flatten)]` would read each field into a value of any type first, once for each part of the node.

use jiff::Timestamp;
use serde::Deserialize;

use super::node::{Claims, DeleteState, DrainState, Join, NodeState, Place, Silence};
use super::{Age, NodeType, TickInstant};
use crate::job_requirements::JobGroupKey;
use crate::maintenance::{DeleteRequest, DrainRequest, Keep, Requests};
use crate::observation::AttachedVolume;
use crate::shared_text::SharedText;
use crate::submitter::Submitters;

/// The fields of a node. An alias is the name in a state file of layout 1.
#[derive(Deserialize)]
pub(super) struct NodeFields {
    #[serde(alias = "kind")]
    node_type: NodeType,
    name: SharedText,
    zone: Option<String>,
    server_id: Option<String>,
    since: Timestamp,
    started: TickInstant,
    adopted: bool,
    unsigned: Option<TickInstant>,
    other_condor_host: Option<String>,
    #[serde(default)]
    unanswered: bool,
    abandoned: Option<TickInstant>,
    listed: bool,
    missing: Option<TickInstant>,
    made_for: Option<JobGroupKey>,
    #[serde(default)]
    submitters: Submitters,
    failed: bool,
    #[serde(default)]
    volumes: Vec<AttachedVolume>,
    machine: Option<String>,
    address: Option<String>,
    #[serde(default)]
    former: Vec<Place>,
    #[serde(default)]
    identified: bool,
    joined: Option<TickInstant>,
    proven: bool,
    closed: Option<TickInstant>,
    silent: Option<TickInstant>,
    job_listed: bool,
    unlisted: Option<TickInstant>,
    claimed: bool,
    claims: Option<u64>,
    claims_changed: Option<TickInstant>,
    taken: bool,
    #[serde(alias = "returned")]
    drain_cancelled: Option<TickInstant>,
    cancelled: Option<String>,
    cancelled_since: Option<TickInstant>,
    drain_accepted: Option<TickInstant>,
    idle_since: Option<TickInstant>,
    contradicted: Option<TickInstant>,
    delete_intended: Option<TickInstant>,
    delete_accepted: Option<TickInstant>,
    #[serde(default)]
    invalidated: bool,
    #[serde(alias = "outlived")]
    expired: Option<TickInstant>,
    #[serde(alias = "overdue")]
    force_expired: Option<TickInstant>,
    #[serde(alias = "token_ending")]
    token_expiring: Option<TickInstant>,
    keep: Option<Box<Keep>>,
    drain_request: Option<Box<DrainRequest>>,
    delete_request: Option<Box<DeleteRequest>>,
}

impl From<NodeFields> for NodeState {
    fn from(node: NodeFields) -> NodeState {
        NodeState {
            node_type: node.node_type,
            name: node.name,
            zone: node.zone,
            server_id: node.server_id,
            since: node.since,
            started: node.started,
            adopted: node.adopted,
            unsigned: node.unsigned,
            other_condor_host: node.other_condor_host,
            unanswered: node.unanswered,
            abandoned: node.abandoned,
            listed: node.listed,
            missing: node.missing,
            made_for: node.made_for,
            submitters: node.submitters,
            failed: node.failed,
            volumes: node.volumes,
            join: Join {
                machine: node.machine,
                address: node.address,
                former: node.former,
                identified: node.identified,
                joined: node.joined,
                proven: node.proven,
                closed: node.closed,
            },
            silence: Silence {
                silent: node.silent,
                job_listed: node.job_listed,
                unlisted: node.unlisted,
            },
            claims: Claims {
                claimed: node.claimed,
                count: node.claims,
                changed: node.claims_changed,
                taken: node.taken,
            },
            drain: DrainState {
                returned: node.drain_cancelled,
                cancelled: node.cancelled,
                cancelled_since: node.cancelled_since,
                accepted: node.drain_accepted,
                idle_since: node.idle_since,
                contradicted: node.contradicted,
            },
            delete: DeleteState {
                intended: node.delete_intended,
                accepted: node.delete_accepted,
                invalidated: node.invalidated,
            },
            age: Age {
                outlived: node.expired,
                overdue: node.force_expired,
                token_ending: node.token_expiring,
            },
            requests: Requests {
                keep: node.keep,
                drain: node.drain_request,
                delete: node.delete_request,
            },
        }
    }
}
