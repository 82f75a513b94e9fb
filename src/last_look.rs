//! A last look, right before a drain, right before a delete and before a floating IP is taken off: seconds lie between the observation and the act, and on a
//! slow cloud half a minute. It asks for what it needs and no more: one server by its id, the startds of one node.
//!
//! The judgements are pure. What they compare with stands in the action: the planner decides, this only compares.

use crate::cloud::Cloud;
use crate::deadline::Deadline;
use crate::pool::Pool;
use crate::scaling::action::{CloudAction, Expected, Failure, FailureKind, StartdIdentity};
use crate::scaling::floating_ip::NodeFloatingIp;
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

/// The last look before a floating IP is taken off a node: false when the server is gone already. Where the floating IP
/// leads by then its cloud asks itself.
///
/// # Errors
/// [`FailureKind::Changed`] when it is not as planned, [`FailureKind::NotDone`] when nobody can say.
pub fn before_disassociate(
    cloud: &dyn Cloud,
    floating_ip: &NodeFloatingIp,
    deadline: Deadline,
) -> Result<bool, Failure> {
    let server = floating_ip.server();
    let record = cloud.look(server.id(), deadline).map_err(unseen)?;
    as_planned(still_ours(server, record))
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
        // The site has said that its jobs are not waited for.
        (Expected::Overdue, _) => Found::AsPlanned,
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
        // condor_drain knows names alone. The one that it reaches asks itself whether it is meant, by the UUID of its server.
        Match::Startd(startd)
            if startd.instance_id.is_none() && startds.iter().filter(has_slot).count() > 1 =>
        {
            Found::Changed(format!(
                "several machines have a slot {slot}, and this one does not say which it is: give each node a host name \
                 of its own, or let it publish CloudInstanceID"
            ))
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scaling::observation::{
        DrainView, NodeId, Resources, SlotView, builder_metadata, execute_metadata,
    };

    fn identity() -> StartdIdentity {
        StartdIdentity {
            server_id: Some("uuid".to_owned()),
            node: NodeId("n".to_owned()),
            shares_node: false,
            machine: Some("m".to_owned()),
        }
    }

    fn drain(reason: &str) -> DrainView {
        DrainView {
            reason: reason.to_owned(),
            request_id: "1".to_owned(),
            complete: true,
        }
    }

    fn startd(
        says: (Option<&str>, Option<&str>),
        claims: u64,
        drain: Option<DrainView>,
    ) -> StartdView {
        StartdView {
            machine: "m".to_owned(),
            instance_id: says.0.map(str::to_owned),
            node: says.1.map(|node| NodeId(node.to_owned())),
            slots: vec![SlotView {
                name: "slot1@m".to_owned(),
                total: Resources::default(),
                free: Resources::default(),
                claims,
                accepts_jobs: true,
                unchanged_for: Duration::ZERO,
            }],
            heard_ago: Duration::from_secs(10),
            update_interval: None,
            up_for: Duration::ZERO,
            draining: drain,
        }
    }

    const OURS: (Option<&str>, Option<&str>) = (Some("uuid"), Some("n"));
    const BY_NODE: (Option<&str>, Option<&str>) = (None, Some("n"));
    /// Another machine of the same host name.
    const NAMESAKE: (Option<&str>, Option<&str>) = (Some("other"), Some("o"));
    const CONTRADICTION: (Option<&str>, Option<&str>) = (Some("uuid"), Some("o"));

    fn silent() -> Expected {
        Expected::Silent {
            update_interval: Duration::from_secs(5),
        }
    }

    fn saved(found: Found) -> bool {
        matches!(found, Found::Changed(_))
    }

    #[test]
    fn a_drained_node_goes_with_its_own_drain_alone() {
        let expects = Expected::Drained(drain("ehos c: idle"));
        let judge = |startds: &[StartdView]| may_delete(&expects, &identity(), startds);
        let ours = || Some(drain("ehos c: idle"));
        for says in [OURS, BY_NODE] {
            assert_eq!(judge(&[startd(says, 0, ours())]), Found::AsPlanned);
        }
        let namesake = startd(NAMESAKE, 3, None);
        assert_eq!(
            judge(&[startd(OURS, 0, ours()), namesake.clone()]),
            Found::AsPlanned
        );
        let again = DrainView {
            request_id: "2".to_owned(),
            ..drain("ehos c: idle")
        };
        let incomplete = DrainView {
            complete: false,
            ..drain("ehos c: idle")
        };
        for (startds, why) in [
            (vec![], "unknown"),
            (vec![namesake], "another one's"),
            (vec![startd(OURS, 1, ours())], "claimed"),
            (vec![startd(OURS, 0, None)], "taken back"),
            (
                vec![startd(OURS, 0, Some(drain("defrag")))],
                "another's drain",
            ),
            (vec![startd(OURS, 0, Some(again))], "drained anew"),
            (vec![startd(OURS, 0, Some(incomplete))], "not complete"),
            (vec![startd(CONTRADICTION, 0, ours())], "says it is another"),
        ] {
            assert!(saved(judge(&startds)), "{why}");
        }
    }

    #[test]
    fn a_silent_node_goes_as_long_as_it_is_silent() {
        let judge = |startds: &[StartdView]| may_delete(&silent(), &identity(), startds);
        let heard = |ago: u64| StartdView {
            heard_ago: Duration::from_secs(ago),
            ..startd(OURS, 1, None)
        };
        assert_eq!(judge(&[]), Found::AsPlanned);
        assert_eq!(judge(&[startd(NAMESAKE, 1, None)]), Found::AsPlanned);
        assert_eq!(judge(&[heard(16)]), Found::AsPlanned);
        assert!(saved(judge(&[heard(15)])));
        assert!(
            saved(judge(&[startd(OURS, 0, None)])),
            "even without a claim"
        );
        assert!(saved(judge(&[startd(CONTRADICTION, 0, None)])));
    }

    #[test]
    fn what_never_joined_has_no_startd_at_all() {
        let judge =
            |startds: &[StartdView]| may_delete(&Expected::NeverJoined, &identity(), startds);
        assert_eq!(judge(&[]), Found::AsPlanned);
        assert_eq!(judge(&[startd(NAMESAKE, 1, None)]), Found::AsPlanned);
        let long_ago = StartdView {
            heard_ago: Duration::from_secs(900),
            ..startd(OURS, 0, None)
        };
        assert!(saved(judge(&[long_ago])));
        // Another server of the same node id: the UUID alone tells.
        let twin = StartdIdentity {
            shares_node: true,
            ..identity()
        };
        let other = [startd((Some("other"), Some("n")), 1, None)];
        assert_eq!(
            may_delete(&Expected::NeverJoined, &twin, &other),
            Found::AsPlanned
        );
        assert!(saved(may_delete(
            &Expected::NeverJoined,
            &identity(),
            &other
        )));
    }

    #[test]
    fn a_builder_goes_without_claims() {
        let judge = |startds: &[StartdView]| may_delete(&Expected::NoClaim, &identity(), startds);
        assert_eq!(judge(&[]), Found::AsPlanned);
        assert_eq!(judge(&[startd(OURS, 0, None)]), Found::AsPlanned);
        assert_eq!(judge(&[startd(NAMESAKE, 2, None)]), Found::AsPlanned);
        assert!(saved(judge(&[startd(OURS, 1, None)])));
        assert!(saved(judge(&[
            startd(OURS, 0, None),
            startd(BY_NODE, 1, None)
        ])));
    }

    #[test]
    fn a_drain_needs_its_startd_idle_undrained_and_alone_of_its_name() {
        let judge = |startds: &[StartdView]| may_drain(&identity(), "slot1@m", startds);
        assert_eq!(judge(&[startd(OURS, 0, None)]), Found::AsPlanned);
        let elsewhere = StartdView {
            slots: Vec::new(),
            ..startd(NAMESAKE, 0, None)
        };
        assert_eq!(
            judge(&[startd(OURS, 0, None), elsewhere.clone()]),
            Found::AsPlanned
        );
        // The startd says for itself which of the two it is.
        assert_eq!(
            judge(&[startd(OURS, 0, None), startd(NAMESAKE, 0, None)]),
            Found::AsPlanned
        );
        for startds in [
            vec![],
            vec![startd(OURS, 1, None)],
            vec![startd(OURS, 0, Some(drain("defrag")))],
            vec![startd(NAMESAKE, 0, None)],
            vec![startd(CONTRADICTION, 0, None)],
            vec![startd(BY_NODE, 0, None), startd(NAMESAKE, 0, None)],
            vec![StartdView {
                slots: Vec::new(),
                ..startd(OURS, 0, None)
            }],
        ] {
            assert!(saved(judge(&startds)), "{startds:?}");
        }
    }

    fn record(status: ServerStatus) -> ServerRecord {
        ServerRecord {
            id: "uuid".to_owned(),
            name: "name".to_owned(),
            status,
            nova_status: None,
            deleting: false,
            metadata: execute_metadata("c", &NodeId("n".to_owned()), "f", "i"),
            age: Duration::ZERO,
            fault: None,
            volumes: Vec::new(),
            zone: None,
        }
    }

    #[test]
    fn a_server_goes_as_long_as_it_is_ours_and_as_dead_as_it_was() {
        let planned = |status| OwnedServer::recognise(record(status), "c").unwrap();
        let active = planned(ServerStatus::Active);
        assert_eq!(still_ours(&active, None), Found::Gone);
        let same = |status| still_ours(&active, Some(record(status)));
        assert_eq!(same(ServerStatus::Active), Found::AsPlanned);
        assert_eq!(same(ServerStatus::Shutoff), Found::AsPlanned);
        for metadata in [
            execute_metadata("other", &NodeId("n".to_owned()), "f", "i"),
            execute_metadata("c", &NodeId("m".to_owned()), "f", "i"),
            builder_metadata("c", &NodeId("n".to_owned()), Duration::ZERO),
            Default::default(),
        ] {
            let changed = ServerRecord {
                metadata,
                ..record(ServerStatus::Active)
            };
            assert!(
                saved(still_ours(&active, Some(changed.clone()))),
                "{changed:?}"
            );
        }
        for dead in [ServerStatus::Shutoff, ServerStatus::Error] {
            let now = |status| still_ours(&planned(dead), Some(record(status)));
            assert_eq!(now(dead), Found::AsPlanned);
            assert!(saved(now(ServerStatus::Active)));
        }
        let deleting = ServerRecord {
            deleting: true,
            ..record(ServerStatus::Active)
        };
        let planned = planned(ServerStatus::Error);
        assert_eq!(still_ours(&planned, Some(deleting)), Found::AsPlanned);
    }
}
