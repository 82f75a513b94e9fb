//! A last look, right before a drain and right before a delete: seconds lie between the observation and the act, and on a
//! slow cloud half a minute. It asks for what it needs and no more: one server by its id, the startds of one node.
//!
//! The judgements are pure. What they compare with stands in the action: the planner decides, this only compares.

use crate::cloud::Cloud;
use crate::deadline::Deadline;
use crate::pool::Pool;
use crate::scaling::action::{CloudAction, Expected, Failure, FailureKind, StartdIdentity};
use crate::scaling::matching::{Match, StartdFinder};
use crate::scaling::node::is_heard;
use crate::scaling::observation::{
    METADATA_CLUSTER, OwnedServer, ServerRecord, ServerStatus, StartdView,
};

/// What a last look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// All is as the plan has it.
    AsPlanned,
    /// The server is gone already.
    Gone,
    /// Something else, in words that follow "nothing was done: ".
    Changed(String),
}

/// The last look before a drain of `slot`.
///
/// # Errors
/// [`FailureKind::Changed`] when it is not as planned, [`FailureKind::NotDone`] when nobody can say.
pub fn before_drain(
    pool: &dyn Pool,
    startd: &StartdIdentity,
    slot: &str,
    deadline: Deadline,
) -> Result<(), Failure> {
    let startds = pool.look(startd, deadline).map_err(unseen)?;
    as_planned(may_drain(startd, slot, &startds)).map(|_| ())
}

/// The last look before a delete: false when the server is gone already.
///
/// # Errors
/// [`FailureKind::Changed`] when it is not as planned, [`FailureKind::NotDone`] when nobody can say.
pub fn before_delete(
    pool: &dyn Pool,
    cloud: &dyn Cloud,
    action: &CloudAction,
    deadline: Deadline,
) -> Result<bool, Failure> {
    let CloudAction::Delete {
        server,
        expects,
        startd,
        ..
    } = action
    else {
        return Ok(true);
    };
    // The startd last: it changes more quickly.
    let record = cloud.look(server.id(), deadline).map_err(unseen)?;
    if !as_planned(still_ours(server, record))? {
        return Ok(false);
    }
    let startds = match pool.look(startd, deadline) {
        Ok(startds) => startds,
        // A builder is no node: its cloud's word is enough.
        Err(_) if *expects == Expected::NoClaim => Vec::new(),
        Err(failure) => return Err(unseen(failure)),
    };
    as_planned(may_delete(expects, startd, &startds))
}

/// What was not seen is unknown: whatever the kind of the failure, nothing is done.
fn unseen(failure: Failure) -> Failure {
    Failure {
        kind: FailureKind::NotDone,
        message: format!(
            "nothing was done, because a last look failed: {}",
            failure.message
        ),
    }
}

fn as_planned(found: Found) -> Result<bool, Failure> {
    match found {
        Found::AsPlanned => Ok(true),
        Found::Gone => Ok(false),
        Found::Changed(how) => Err(Failure {
            kind: FailureKind::Changed,
            message: format!("nothing was done: {how}"),
        }),
    }
}

/// Whether the server is still the one that was planned with: ours, this node, and as dead as it was.
pub fn still_ours(planned: &OwnedServer, now: Option<ServerRecord>) -> Found {
    let Some(record) = now else {
        return Found::Gone;
    };
    let cluster = planned.record().metadata.get(METADATA_CLUSTER);
    let cluster = cluster.map_or("", String::as_str);
    let (status, deleting) = (record.status, record.deleting);
    let Some(server) = OwnedServer::recognise(record, cluster) else {
        return Found::Changed(
            "its metadata do not say any more that it is this pool's".to_owned(),
        );
    };
    if server.role() != planned.role() || server.node() != planned.node() {
        return Found::Changed("its metadata say now that it is another node".to_owned());
    }
    let was = planned.record().status;
    let dead = matches!(was, ServerStatus::Shutoff | ServerStatus::Error);
    if dead && status != was && !deleting {
        return Found::Changed("Nova's status of it has changed: it may be running".to_owned());
    }
    Found::AsPlanned
}

/// Whether the startds that were found let a node be deleted for this reason.
pub fn may_delete(expects: &Expected, startd: &StartdIdentity, startds: &[StartdView]) -> Found {
    let finder = StartdFinder::new(startds);
    match (expects, finder.identified(startd)) {
        (Expected::NoClaim, _) => on_builder(startd, startds),
        (_, Match::Contradiction(_)) => contradiction(),
        (Expected::Drained(_), Match::None) => {
            Found::Changed("the collector does not know its startd any more".to_owned())
        }
        (Expected::Drained(drain), Match::Startd(startd)) => match &startd.draining {
            _ if startd.claims() > 0 => claimed(startd),
            None => Found::Changed("its drain was taken back".to_owned()),
            Some(now) if now == drain => Found::AsPlanned,
            Some(now) if !now.complete => {
                Found::Changed("its drain is not complete any more".to_owned())
            }
            Some(now) => Found::Changed(format!(
                "it is drained by somebody else now ({:?})",
                now.reason
            )),
        },
        (Expected::Silent { .. } | Expected::NeverJoined, Match::None) => Found::AsPlanned,
        (Expected::Silent { update_interval }, Match::Startd(startd))
            if !is_heard(startd, *update_interval) =>
        {
            Found::AsPlanned
        }
        (Expected::Silent { .. }, Match::Startd(_)) => {
            Found::Changed("its startd is heard of again".to_owned())
        }
        (Expected::NeverJoined, Match::Startd(_)) => {
            Found::Changed("it has joined the pool meanwhile".to_owned())
        }
    }
}

/// Whether the startds that were found let a node be drained by this slot.
pub fn may_drain(startd: &StartdIdentity, slot: &str, startds: &[StartdView]) -> Found {
    let has_slot = |startd: &&StartdView| startd.slots.iter().any(|has| has.name == slot);
    let finder = StartdFinder::new(startds);
    match finder.identified(startd) {
        Match::None => Found::Changed("the collector does not know its startd any more".to_owned()),
        Match::Contradiction(_) => contradiction(),
        Match::Startd(startd) if startd.claims() > 0 => claimed(startd),
        Match::Startd(startd) if startd.draining.is_some() => {
            Found::Changed("it is being drained already".to_owned())
        }
        Match::Startd(startd) if !has_slot(&startd) => {
            Found::Changed(format!("it has no slot {slot} any more"))
        }
        // condor_drain knows names alone.
        Match::Startd(_) if startds.iter().filter(has_slot).count() > 1 => Found::Changed(format!(
            "several machines have a slot {slot}: give each node a host name of its own"
        )),
        Match::Startd(_) => Found::AsPlanned,
    }
}

fn contradiction() -> Found {
    Found::Changed("its startd says that it is another node".to_owned())
}

fn claimed(startd: &StartdView) -> Found {
    Found::Changed(format!("{} of its slots are claimed", startd.claims()))
}

/// Of a builder all that may be its startd is looked at: whatever shows a claim.
fn on_builder(identity: &StartdIdentity, startds: &[StartdView]) -> Found {
    let here = |startd: &&StartdView| match startd.instance_id.as_deref() {
        Some(id) => Some(id) == identity.server_id.as_deref(),
        None => startd.node.as_ref() == Some(&identity.node),
    };
    let mut claims = startds.iter().filter(here);
    match claims.find(|startd| startd.claims() > 0) {
        Some(startd) => claimed(startd),
        None => Found::AsPlanned,
    }
}
