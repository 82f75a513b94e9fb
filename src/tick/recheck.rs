//! The recheck, right before a drain, a delete, or the disassociation of a floating IP.
//!
//! Seconds lie between observation and action, on a slow cloud half a minute. The recheck queries one server by its id, and
//! the startds of one node.
//!
//! The startd is queried directly, for its ad in the collector may be older than it claims, and a delete by a late ad would
//! end the job that the ad lacks. Only the startd itself confirms a drain. If it does not answer, the drain is renewed, for
//! which the startd checks that no slot is claimed. All else is taken from the ad if the startd is not reached.
//!
//! The comparisons are pure. Their expectations are part of the action: the planner decides, the recheck only compares.

use std::time::Duration;

use crate::cloud::Cloud;
use crate::pool::Pool;
use scaling::action::{CloudAction, Expected, Failure, FailureKind, PoolAction, StartdIdentity};
use scaling::floating_ip::NodeFloatingIp;
use scaling::matching::{Match, StartdFinder, host_of};
use scaling::node::is_fresh_within;
use scaling::observation::{
    DrainView, METADATA_CLUSTER, NodeId, OwnedServer, ServerRecord, ServerStatus, StartdView,
};
use scaling::sender::Sender;
use system::deadline::Deadline;

/// A startd that hangs answers no drain either, and HTCondor's tools wait for it for a minute.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// What a last look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecheckResult {
    /// All is as the plan has it.
    AsPlanned,
    /// The server is gone already.
    Gone,
    /// Something else, in words that follow "nothing was done: ".
    Changed(String),
    /// By an ad that may be late it is drained as planned; its startd has not said so.
    DrainedByAd {
        slot: String,
        /// Why the startd has not said it.
        why: String,
    },
    /// The same, and its drain cannot be renewed: the startd hangs, or its ad has no slot.
    Unsaid(String),
}

/// What the startd of a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnWord {
    Is(Box<StartdView>),
    /// It is another node's.
    OfAnother,
    /// The startd refuses, does not answer, or has no known address.
    None(String),
    /// It was asked, and its time is over.
    Hangs(String),
    /// Another one answers where it should be, and would get what is meant for it.
    Elsewhere(String),
}

/// Queries the startd of a node directly, at its address in the collector or its last known one.
fn own_word(
    pool: &dyn Pool,
    identity: &StartdIdentity,
    startds: &[StartdView],
    deadline: Deadline,
) -> OwnWord {
    let ad = finder(identity, startds).identified(identity).startd();
    let address = ad.and_then(|ad| ad.address.as_ref());
    let Some(address) = address.or(identity.address.as_ref()) else {
        return OwnWord::None("its address is unknown".to_owned());
    };
    let word = word_at(pool, identity, address, deadline);
    // If the ad was forged, the startd still answers at an earlier address: its claims count.
    let former = identity.former.iter();
    let former = former.filter_map(|place| place.address.as_ref());
    let elsewhere = identity.address.iter().chain(former);
    for former in elsewhere.filter(|former| host_of(former) != host_of(address)) {
        match word_at(pool, identity, former, deadline) {
            OwnWord::Is(own) if own.claims() > 0 => return OwnWord::Is(own),
            _ => {}
        }
    }
    word
}

/// The finder for the startds of an answer.
fn finder<'a>(identity: &StartdIdentity, startds: &'a [StartdView]) -> StartdFinder<'a> {
    StartdFinder::new(startds, identity.update_interval)
}

fn word_at(
    pool: &dyn Pool,
    identity: &StartdIdentity,
    address: &str,
    deadline: Deadline,
) -> OwnWord {
    let deadline = deadline.at_most(ASK_LIMIT);
    let said = match pool.ask(address, deadline) {
        Ok(said) => said,
        Err(failure) if deadline.passed() => return OwnWord::Hangs(failure.message),
        Err(failure) => return OwnWord::None(failure.message),
    };
    // A direct answer does not contain the sender that a collector adds.
    let identity = &StartdIdentity {
        own_identity: false,
        ..identity.clone()
    };
    match finder(identity, &said).identified(identity) {
        Match::Startd(startd) => OwnWord::Is(Box::new(startd.clone())),
        Match::Contradiction(_) | Match::Contested(..) => OwnWord::OfAnother,
        Match::None if said.is_empty() => {
            OwnWord::None(format!("the startd at {address} sends no ad"))
        }
        Match::None => OwnWord::Elsewhere(format!("another startd answers at {address}")),
    }
}

/// Rechecks the startd before a drain of `slot`.
///
/// # Errors
/// [`FailureKind::Changed`] if it is not as planned, [`FailureKind::NotDone`] if that is unknown.
pub fn before_drain(
    pool: &dyn Pool,
    startd: &StartdIdentity,
    slot: &str,
    deadline: Deadline,
) -> Result<(), Failure> {
    let startds = pool.look(startd, deadline).map_err(unseen)?;
    as_planned(may_drain(startd, slot, &startds))?;
    match own_word(pool, startd, &startds, deadline) {
        OwnWord::Is(own) => as_planned(may_drain(startd, slot, &[*own])).map(|_| ()),
        OwnWord::OfAnother => as_planned(contradiction()).map(|_| ()),
        // The startd itself checks the drain.
        OwnWord::None(_) => Ok(()),
        OwnWord::Hangs(why) | OwnWord::Elsewhere(why) => {
            Err(not_done(&format!("its startd does not answer: {why}")))
        }
    }
}

/// Rechecks server and startd before a delete; false if the server is gone already.
///
/// # Errors
/// [`FailureKind::Changed`] if it is not as planned, [`FailureKind::NotDone`] if that is unknown.
pub fn before_delete(
    pool: &dyn Pool,
    cloud: &dyn Cloud,
    action: &CloudAction,
    deadline: Deadline,
) -> Result<bool, Failure> {
    let CloudAction::Delete {
        node,
        server,
        expects,
        startd,
        ..
    } = action
    else {
        return Ok(true);
    };
    // The startd comes last, for it changes more quickly.
    let record = cloud.look(server.id(), deadline).map_err(unseen)?;
    if !as_planned(still_ours(server, record))? {
        return Ok(false);
    }
    let startds = match pool.look(startd, deadline) {
        Ok(startds) => startds,
        // A builder is no node, and an operator has seen what is unknown: the answer of the cloud suffices.
        Err(_) if matches!(expects, Expected::NoClaim | Expected::Requested) => Vec::new(),
        Err(failure) => return Err(unseen(failure)),
    };
    let own = own_word(pool, startd, &startds, deadline);
    match (may_delete(expects, startd, &startds, &own), expects) {
        (RecheckResult::DrainedByAd { slot, why }, Expected::Drained(drain)) => {
            renew(pool, (node, startd), &slot, drain, &why, deadline).map(|()| true)
        }
        (RecheckResult::AsPlanned, Expected::NeverJoined { schedds_known })
            if !is_dead(server.record()) =>
        {
            let name = &server.record().name;
            let has_job = pool.has_job_on(name, deadline.at_most(ASK_LIMIT));
            without_job(name, has_job, *schedds_known).map(|()| true)
        }
        // A schedd that still has its claim starts the next job there without the collector.
        (RecheckResult::AsPlanned, Expected::Silent { long: false, .. })
            if !is_dead(server.record()) =>
        {
            for machine in hosts(&server.record().name, startd) {
                let has_job = pool.has_job_on(machine, deadline.at_most(ASK_LIMIT));
                without_job(machine, has_job, true)?;
            }
            Ok(true)
        }
        (found, _) => as_planned(found),
    }
}

/// The names by which a schedd may know the host of a node.
fn hosts<'a>(server: &'a str, startd: &'a StartdIdentity) -> Vec<&'a str> {
    let mut hosts = vec![server];
    let former = startd.former.iter().map(|place| &place.machine);
    for machine in startd.machine.iter().chain(former) {
        if !hosts.iter().any(|host| names_one_host(machine, host)) {
            hosts.push(machine);
        }
    }
    hosts
}

/// The ads of a node that has joined may be hidden. A schedd with a job there still lists the job.
fn without_job(
    machine: &str,
    has_job: Result<bool, Failure>,
    schedds_known: bool,
) -> Result<(), Failure> {
    match has_job {
        Ok(false) => Ok(()),
        Ok(true) => Err(changed(&format!(
            "a schedd lists a running job on {machine}"
        ))),
        Err(failure) if schedds_known => Err(unseen(failure)),
        // The planner knew that this schedd does not answer.
        Err(_) => Ok(()),
    }
}

/// Whether these are names of one host, with its domain or without.
fn names_one_host(one: &str, other: &str) -> bool {
    let host = |name: &str| name.split('.').next().map(str::to_ascii_lowercase);
    host(one) == host(other)
}

fn is_dead(server: &ServerRecord) -> bool {
    matches!(server.status, ServerStatus::Shutoff | ServerStatus::Error)
}

/// Cancels a drain by its id and requests it again. If both succeed the drain was in force, and the startd has checked
/// that no slot is claimed and accepts no job.
fn renew(
    pool: &dyn Pool,
    (node, startd): (&NodeId, &StartdIdentity),
    slot: &str,
    drain: &DrainView,
    why: &str,
    deadline: Deadline,
) -> Result<(), Failure> {
    let cancel = PoolAction::CancelDrain {
        node: node.clone(),
        slot: slot.to_owned(),
        request_id: drain.request_id.clone(),
    };
    let again = PoolAction::Drain {
        node: node.clone(),
        startd: startd.clone(),
        slot: slot.to_owned(),
        reason: drain.reason.clone(),
    };
    for action in [&cancel, &again] {
        pool.perform(action, deadline)
            .map_err(|failure| match failure.kind {
                FailureKind::NotIdle => {
                    changed(&format!("its drain has ended: {}", failure.message))
                }
                _ => not_done(&format!(
                    "its startd does not confirm the drain: {why}; and the drain cannot be renewed: {}",
                    failure.message
                )),
            })?;
    }
    Ok(())
}

/// Rechecks the server before its floating IP is disassociated; false if the server is gone already. The cloud checks the
/// association itself.
///
/// # Errors
/// [`FailureKind::Changed`] if it is not as planned, [`FailureKind::NotDone`] if that is unknown.
pub fn before_disassociate(
    cloud: &dyn Cloud,
    floating_ip: &NodeFloatingIp,
    deadline: Deadline,
) -> Result<bool, Failure> {
    let server = floating_ip.server();
    let record = cloud.look(server.id(), deadline).map_err(unseen)?;
    as_planned(still_ours(server, record))
}

/// Missing data is unknown: after any failure of a recheck the action is not done.
fn unseen(failure: Failure) -> Failure {
    Failure {
        kind: FailureKind::NotDone,
        message: format!("no action: the recheck failed: {}", failure.message),
    }
}

fn as_planned(found: RecheckResult) -> Result<bool, Failure> {
    match found {
        RecheckResult::AsPlanned => Ok(true),
        RecheckResult::Gone => Ok(false),
        RecheckResult::Changed(how) => Err(changed(&how)),
        RecheckResult::DrainedByAd { why, .. } | RecheckResult::Unsaid(why) => Err(not_done(
            &format!("its startd does not confirm the drain: {why}"),
        )),
    }
}

fn changed(how: &str) -> Failure {
    Failure {
        kind: FailureKind::Changed,
        message: format!("no action: {how}"),
    }
}

fn not_done(why: &str) -> Failure {
    Failure {
        kind: FailureKind::NotDone,
        message: format!("no action: {why}"),
    }
}

/// Whether the server is still as planned: of this pool, this node, and as dead as it was.
pub fn still_ours(planned: &OwnedServer, now: Option<ServerRecord>) -> RecheckResult {
    let Some(record) = now else {
        return RecheckResult::Gone;
    };
    let cluster = planned.record().metadata.get(METADATA_CLUSTER);
    let cluster = cluster.map_or("", String::as_str);
    let (status, deleting) = (record.status, record.deleting);
    let Some(server) = OwnedServer::recognise(record, cluster) else {
        return RecheckResult::Changed(
            "the metadata of its server no longer name this pool".to_owned(),
        );
    };
    if server.role() != planned.role() || server.node() != planned.node() {
        return RecheckResult::Changed(
            "the metadata of its server now name another node".to_owned(),
        );
    }
    if is_dead(planned.record()) && status != planned.record().status && !deleting {
        return RecheckResult::Changed(
            "the Nova status of its server has changed: it may be running".to_owned(),
        );
    }
    RecheckResult::AsPlanned
}

/// Whether the ads of the collector and the direct answer permit the delete of a node for this reason.
pub fn may_delete(
    expects: &Expected,
    startd: &StartdIdentity,
    startds: &[StartdView],
    own: &OwnWord,
) -> RecheckResult {
    let ad = finder(startd, startds).identified(startd);
    if let (Match::Contested(one, other), false) = (ad, *expects == Expected::NoClaim) {
        return contested(one, other);
    }
    let another = matches!(ad, Match::Contradiction(_)) || *own == OwnWord::OfAnother;
    match (expects, own) {
        (Expected::NoClaim, OwnWord::Is(own)) if own.claims() > 0 => claimed(own),
        (Expected::NoClaim, _) => on_builder(startd, startds),
        _ if another => contradiction(),
        // max_lifetime_kill or an operator permits the end of its jobs.
        (Expected::Overdue | Expected::Requested, _) => RecheckResult::AsPlanned,
        (Expected::Drained(drain), OwnWord::Is(own)) => still_drained(drain, own),
        (Expected::Drained(drain), _) => match ad.startd() {
            Some(ad) => drained_by_ad(drain, ad, startds, own),
            None => RecheckResult::Changed("the collector no longer has the ad of its startd".to_owned()),
        },
        (
            Expected::Silent {
                update_interval,
                long,
            },
            own,
        ) => match (ad.startd(), own) {
            (Some(ad), _) if is_fresh_within(ad, *update_interval) => {
                RecheckResult::Changed("its startd is no longer silent".to_owned())
            }
            (_, OwnWord::Is(own)) if own.claims() > 0 => RecheckResult::Changed(format!(
                "its startd answers a direct query, and {} of its slots are claimed",
                own.claims()
            )),
            // Its ads may have been invalidated; the negotiator may match the next one at any moment.
            (_, OwnWord::Is(_)) if !long => RecheckResult::Changed(
                "its startd answers a direct query, but the collector lacks its ad; check the CollectorLog"
                    .to_owned(),
            ),
            _ => RecheckResult::AsPlanned,
        },
        (Expected::NeverJoined { .. }, own) => match (ad.startd(), own) {
            (None, OwnWord::None(_) | OwnWord::Hangs(_) | OwnWord::Elsewhere(_)) => {
                RecheckResult::AsPlanned
            }
            _ => RecheckResult::Changed("it has joined the pool since".to_owned()),
        },
    }
}

/// Whether a startd is drained by this very drain, without a claim.
fn still_drained(drain: &DrainView, startd: &StartdView) -> RecheckResult {
    match &startd.draining {
        _ if startd.claims() > 0 => claimed(startd),
        None => RecheckResult::Changed("its drain was cancelled".to_owned()),
        Some(now) if now == drain => RecheckResult::AsPlanned,
        Some(now) if !now.complete => {
            RecheckResult::Changed("its drain is no longer complete".to_owned())
        }
        Some(now) => RecheckResult::Changed(format!(
            "its drain was requested outside ehos ({:?})",
            now.reason
        )),
    }
}

/// The same by the ad of the collector, if the startd does not answer.
fn drained_by_ad(
    drain: &DrainView,
    ad: &StartdView,
    startds: &[StartdView],
    own: &OwnWord,
) -> RecheckResult {
    let found = still_drained(drain, ad);
    let slot = ad.slots.first().map(|slot| slot.name.clone());
    // Ids of drains are small numbers, and a namesake may have the same.
    let slot = slot.filter(|slot| !is_ambiguous(slot, startds));
    match (found, own, slot) {
        (RecheckResult::AsPlanned, OwnWord::None(why), Some(slot)) => RecheckResult::DrainedByAd {
            slot,
            why: why.clone(),
        },
        (
            RecheckResult::AsPlanned,
            OwnWord::None(why) | OwnWord::Hangs(why) | OwnWord::Elsewhere(why),
            _,
        ) => RecheckResult::Unsaid(why.clone()),
        (found, ..) => found,
    }
}

/// Whether the ads permit a drain through this slot.
pub fn may_drain(startd: &StartdIdentity, slot: &str, startds: &[StartdView]) -> RecheckResult {
    let has_slot = |startd: &&StartdView| startd.slots.iter().any(|has| has.name == slot);
    match finder(startd, startds).identified(startd) {
        Match::None => {
            RecheckResult::Changed("the collector no longer has the ad of its startd".to_owned())
        }
        Match::Contradiction(_) => contradiction(),
        Match::Contested(one, other) => contested(one, other),
        Match::Startd(startd) if startd.claims() > 0 => claimed(startd),
        Match::Startd(startd) if startd.draining.is_some() => {
            RecheckResult::Changed("it is draining already".to_owned())
        }
        Match::Startd(startd) if !has_slot(&startd) => {
            RecheckResult::Changed(format!("it no longer has slot {slot}"))
        }
        // condor_drain addresses slots by name only. The startd that it reaches checks the UUID of its server itself.
        Match::Startd(_) if is_ambiguous(slot, startds) => RecheckResult::Changed(format!(
            "several machines have a slot {slot}, one of them without CloudInstanceID; give each node a unique host name, or \
             publish CloudInstanceID"
        )),
        Match::Startd(_) => RecheckResult::AsPlanned,
    }
}

/// Whether condor_drain, which addresses slots by name only, may reach another machine that does not notice the mistake.
fn is_ambiguous(slot: &str, startds: &[StartdView]) -> bool {
    let of_name = |startd: &&StartdView| startd.slots.iter().any(|has| has.name == slot);
    let named = || startds.iter().filter(of_name);
    named().count() > 1 && named().any(|startd| startd.instance_id.is_none())
}

fn contradiction() -> RecheckResult {
    RecheckResult::Changed("its startd advertises another node".to_owned())
}

fn contested(one: &StartdView, other: &StartdView) -> RecheckResult {
    RecheckResult::Changed(format!(
        "two startds advertise this node, {} and {}",
        one.called(),
        other.called()
    ))
}

fn claimed(startd: &StartdView) -> RecheckResult {
    RecheckResult::Changed(format!("{} of its slots are claimed", startd.claims()))
}

/// Every startd that may run on a builder counts, if it shows a claim.
fn on_builder(identity: &StartdIdentity, startds: &[StartdView]) -> RecheckResult {
    let here = |startd: &&StartdView| match startd.instance_id.as_deref() {
        // A builder has no token of a node.
        _ if matches!(startd.sender, Sender::Node(_)) => false,
        Some(id) => Some(id) == identity.server_id.as_deref(),
        None => startd.node.as_ref() == Some(&identity.node),
    };
    let mut claims = startds.iter().filter(here);
    match claims.find(|startd| startd.claims() > 0) {
        Some(startd) => claimed(startd),
        None => RecheckResult::AsPlanned,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scaling::state::Place;

    use super::*;

    const NEVER_JOINED: Expected = Expected::NeverJoined {
        schedds_known: true,
    };
    use scaling::observation::{
        DrainView, NodeId, Resources, SlotView, builder_metadata, execute_metadata,
    };

    fn identity() -> StartdIdentity {
        StartdIdentity {
            server_id: Some("uuid".to_owned()),
            node: NodeId("n".into()),
            shares_node: false,
            machine: Some("m".to_owned()),
            own_ads: None,
            address: None,
            former: Vec::new(),
            own_identity: false,
            addresses: Vec::new(),
            update_interval: Duration::from_secs(5),
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
            address: Some("<m>".to_owned()),
            instance_id: says.0.map(str::to_owned),
            node: says.1.map(|node| NodeId(node.into())),
            slots: vec![SlotView {
                owners: Default::default(),
                name: "slot1@m".to_owned(),
                total: Resources::default(),
                free: Resources::default(),
                claims,
                accepts_jobs: true,
                unchanged_for: Duration::ZERO,
            }],
            sender: Sender::Unknown,
            heard_ago: Duration::from_secs(10),
            update_interval: None,
            up_for: Duration::ZERO,
            draining: drain,
        }
    }

    /// The startd says of itself what the collector has of it.
    fn own(startds: &[StartdView]) -> OwnWord {
        match finder(&identity(), startds).identified(&identity()) {
            Match::Startd(startd) => OwnWord::Is(Box::new(startd.clone())),
            Match::Contradiction(_) | Match::Contested(..) => OwnWord::OfAnother,
            Match::None => refuses(),
        }
    }

    fn refuses() -> OwnWord {
        OwnWord::None("refused".to_owned())
    }

    fn hangs() -> OwnWord {
        OwnWord::Hangs("no answer".to_owned())
    }

    fn says(startd: StartdView) -> OwnWord {
        OwnWord::Is(Box::new(startd))
    }

    const OURS: (Option<&str>, Option<&str>) = (Some("uuid"), Some("n"));
    const BY_NODE: (Option<&str>, Option<&str>) = (None, Some("n"));
    /// Another machine of the same host name.
    const NAMESAKE: (Option<&str>, Option<&str>) = (Some("other"), Some("o"));
    const CONTRADICTION: (Option<&str>, Option<&str>) = (Some("uuid"), Some("o"));

    fn silent() -> Expected {
        Expected::Silent {
            update_interval: Duration::from_secs(5),
            long: false,
        }
    }

    fn long_silent() -> Expected {
        Expected::Silent {
            update_interval: Duration::from_secs(5),
            long: true,
        }
    }

    fn saved(found: RecheckResult) -> bool {
        matches!(found, RecheckResult::Changed(_))
    }

    #[test]
    fn a_drained_node_goes_with_its_own_drain_alone() {
        let expects = Expected::Drained(drain("ehos c: idle"));
        let judge =
            |startds: &[StartdView]| may_delete(&expects, &identity(), startds, &own(startds));
        let ours = || Some(drain("ehos c: idle"));
        for says in [OURS, BY_NODE] {
            assert_eq!(judge(&[startd(says, 0, ours())]), RecheckResult::AsPlanned);
        }
        let namesake = startd(NAMESAKE, 3, None);
        assert_eq!(
            judge(&[startd(OURS, 0, ours()), namesake.clone()]),
            RecheckResult::AsPlanned
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
    fn a_requested_delete_needs_neither_an_ad_nor_an_idle_startd() {
        let judge = |startds: &[StartdView], own: &OwnWord| {
            may_delete(&Expected::Requested, &identity(), startds, own)
        };
        let busy = || startd(OURS, 3, None);
        assert_eq!(judge(&[busy()], &says(busy())), RecheckResult::AsPlanned);
        assert_eq!(judge(&[], &refuses()), RecheckResult::AsPlanned);
        // Of another node's startd it is not known whose jobs would end.
        assert!(saved(judge(&[startd(CONTRADICTION, 0, None)], &refuses())));
    }

    #[test]
    fn the_startds_own_word_counts_more_than_the_collectors_ad() {
        let ours = || Some(drain("ehos c: idle"));
        let drained = || startd(OURS, 0, ours());
        let expects = [
            Expected::Drained(drain("ehos c: idle")),
            long_silent(),
            NEVER_JOINED,
            Expected::NoClaim,
            Expected::Overdue,
        ];
        let stale = StartdView {
            heard_ago: Duration::from_secs(3600),
            ..drained()
        };
        // What the ad says, what the startd says, for which expectations it goes.
        for (ads, own, goes) in [
            (
                vec![drained()],
                says(drained()),
                [true, false, false, true, true],
            ),
            (
                vec![stale.clone()],
                says(drained()),
                [true, true, false, true, true],
            ),
            (
                vec![stale.clone()],
                says(startd(OURS, 1, None)),
                [false, false, false, false, true],
            ),
            (
                vec![stale.clone()],
                says(startd(OURS, 0, None)),
                [false, true, false, true, true],
            ),
            (
                vec![stale],
                OwnWord::OfAnother,
                [false, false, false, true, false],
            ),
            // Its ad is gone: it was asked where it was last known to be.
            (
                vec![],
                says(startd(OURS, 2, None)),
                [false, false, false, false, true],
            ),
            (
                vec![],
                says(startd(OURS, 0, None)),
                [false, true, false, true, true],
            ),
            (vec![], refuses(), [false, true, true, true, true]),
            (vec![], hangs(), [false, true, true, true, true]),
            // A late ad says that it is claimed, or that its drain is not there yet.
            (
                vec![startd(OURS, 1, None)],
                says(drained()),
                [true, false, false, false, true],
            ),
        ] {
            for (expects, goes) in expects.iter().zip(goes) {
                let found = may_delete(expects, &identity(), &ads, &own);
                assert_eq!(
                    found == RecheckResult::AsPlanned,
                    goes,
                    "{expects:?} {ads:?} {own:?}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_silent_startd_that_answers_itself_keeps_its_node() {
        let own = says(startd(OURS, 0, None));
        let judge = |expects: &Expected| may_delete(expects, &identity(), &[], &own);
        assert!(saved(judge(&silent())));
        // In the end it is of no use: nobody can send it a job.
        assert_eq!(judge(&long_silent()), RecheckResult::AsPlanned);
    }

    #[test]
    fn two_startds_that_say_to_be_one_node_are_a_contradiction() {
        let drain = || Some(drain("ehos c: idle"));
        let forged = StartdView {
            machine: "aaa".to_owned(),
            address: Some("<a>".to_owned()),
            heard_ago: Duration::ZERO,
            ..startd(OURS, 0, drain())
        };
        let real = startd(OURS, 1, None);
        let idle = startd(OURS, 0, None);
        let expects = Expected::Drained(drain().unwrap());
        let named = |found: &RecheckResult, one: &str, other: &str| match found {
            RecheckResult::Changed(how) => how.contains(one) && how.contains(other),
            _ => false,
        };
        for others in [&real, &idle] {
            for ads in [
                [forged.clone(), others.clone()],
                [others.clone(), forged.clone()],
            ] {
                let own = says(startd(OURS, 0, drain()));
                for expects in [&expects, &silent(), &Expected::Overdue, &NEVER_JOINED] {
                    let found = may_delete(expects, &identity(), &ads, &own);
                    assert!(
                        named(&found, "aaa at <a>", "m at <m>"),
                        "{expects:?}: {found:?}"
                    );
                }
                let found = may_drain(&identity(), "slot1@m", &ads);
                assert!(named(&found, "aaa at <a>", "m at <m>"), "{found:?}");
            }
        }
        // The collector names the senders.
        let sent = |startd: StartdView, sender| StartdView { sender, ..startd };
        let node = Sender::Node(NodeId("n".into()));
        let other = Sender::Node(NodeId("a".into()));
        let drained = sent(startd(OURS, 0, drain()), node);
        let ads = [sent(forged.clone(), other.clone()), drained.clone()];
        let own = says(startd(OURS, 0, drain()));
        assert_eq!(
            may_delete(&expects, &identity(), &ads, &own),
            RecheckResult::AsPlanned
        );
        // Of the forged ad alone nothing is believed.
        assert!(saved(may_delete(
            &expects,
            &identity(),
            &ads[..1],
            &refuses()
        )));
        let identified = StartdIdentity {
            own_identity: true,
            ..identity()
        };
        let shared = [sent(forged.clone(), Sender::AnyNode)];
        assert!(saved(may_delete(
            &expects,
            &identified,
            &shared,
            &refuses()
        )));
        // Nova says where the server is.
        let there = StartdIdentity {
            addresses: vec!["10.0.0.7".to_owned()],
            ..identity()
        };
        let at_home = StartdView {
            address: Some("<10.0.0.7:9618?sock=startd_1>".to_owned()),
            ..startd(OURS, 1, None)
        };
        let ads = [forged, at_home.clone()];
        assert_eq!(
            may_delete(&expects, &there, &ads, &says(at_home)),
            claimed(&real)
        );
    }

    #[test]
    fn a_drain_that_the_startd_does_not_say_is_renewed_or_left() {
        let expects = Expected::Drained(drain("ehos c: idle"));
        let judge = |ad: StartdView, own: OwnWord| may_delete(&expects, &identity(), &[ad], &own);
        let drained = startd(OURS, 0, Some(drain("ehos c: idle")));
        let renewed = RecheckResult::DrainedByAd {
            slot: "slot1@m".to_owned(),
            why: "refused".to_owned(),
        };
        assert_eq!(judge(drained.clone(), refuses()), renewed);
        let nameless = startd((None, None), 0, Some(drain("defrag")));
        let both = [drained.clone(), nameless];
        assert_eq!(
            may_delete(&expects, &identity(), &both, &refuses()),
            RecheckResult::Unsaid("refused".to_owned())
        );
        let unsaid = RecheckResult::Unsaid("no answer".to_owned());
        assert_eq!(judge(drained.clone(), hangs()), unsaid);
        let elsewhere = OwnWord::Elsewhere("no answer".to_owned());
        assert_eq!(judge(drained.clone(), elsewhere), unsaid);
        let no_slot = StartdView {
            slots: Vec::new(),
            ..drained
        };
        assert!(matches!(
            judge(no_slot, refuses()),
            RecheckResult::Unsaid(_)
        ));
        assert!(saved(judge(startd(OURS, 1, None), refuses())));
        for found in [renewed, unsaid] {
            assert_eq!(as_planned(found).unwrap_err().kind, FailureKind::NotDone);
        }
    }

    #[test]
    fn a_silent_node_goes_as_long_as_it_is_silent() {
        let judge =
            |startds: &[StartdView]| may_delete(&silent(), &identity(), startds, &refuses());
        let heard = |ago: u64| StartdView {
            heard_ago: Duration::from_secs(ago),
            ..startd(OURS, 1, None)
        };
        assert_eq!(judge(&[]), RecheckResult::AsPlanned);
        assert_eq!(
            judge(&[startd(NAMESAKE, 1, None)]),
            RecheckResult::AsPlanned
        );
        assert_eq!(judge(&[heard(16)]), RecheckResult::AsPlanned);
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
            |startds: &[StartdView]| may_delete(&NEVER_JOINED, &identity(), startds, &refuses());
        assert_eq!(judge(&[]), RecheckResult::AsPlanned);
        assert_eq!(
            judge(&[startd(NAMESAKE, 1, None)]),
            RecheckResult::AsPlanned
        );
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
            may_delete(&NEVER_JOINED, &twin, &other, &refuses()),
            RecheckResult::AsPlanned
        );
        assert!(saved(may_delete(
            &NEVER_JOINED,
            &identity(),
            &other,
            &refuses()
        )));
    }

    #[test]
    fn a_schedd_with_a_job_there_keeps_what_never_joined() {
        let kind = |answer: Result<bool, FailureKind>, known| {
            let answer = answer.map_err(|kind| Failure {
                kind,
                message: "schedd s: no answer".to_owned(),
            });
            without_job("n", answer, known).map_err(|failure| failure.kind)
        };
        let silent = || Err(FailureKind::Unknown);
        for known in [true, false] {
            assert_eq!(kind(Ok(false), known), Ok(()));
            assert_eq!(kind(Ok(true), known), Err(FailureKind::Changed));
        }
        assert_eq!(kind(silent(), true), Err(FailureKind::NotDone));
        assert_eq!(kind(silent(), false), Ok(()));
    }

    #[test]
    fn schedds_are_asked_for_every_name_of_a_host_once() {
        let place = |machine: &str| Place {
            machine: machine.to_owned(),
            address: None,
        };
        let known = StartdIdentity {
            machine: Some("Node-1.example.org".to_owned()),
            former: ["old.example.org", "node-1", "OLD"].map(place).to_vec(),
            ..identity()
        };
        assert_eq!(hosts("node-1", &known), ["node-1", "old.example.org"]);
        assert_eq!(
            hosts("ehos-1", &known),
            ["ehos-1", "Node-1.example.org", "old.example.org"]
        );
    }

    #[test]
    fn a_builder_goes_without_claims() {
        let judge = |startds: &[StartdView]| {
            may_delete(&Expected::NoClaim, &identity(), startds, &refuses())
        };
        assert_eq!(judge(&[]), RecheckResult::AsPlanned);
        assert_eq!(judge(&[startd(OURS, 0, None)]), RecheckResult::AsPlanned);
        assert_eq!(
            judge(&[startd(NAMESAKE, 2, None)]),
            RecheckResult::AsPlanned
        );
        assert!(saved(judge(&[startd(OURS, 1, None)])));
        assert!(saved(judge(&[
            startd(OURS, 0, None),
            startd(BY_NODE, 1, None)
        ])));
    }

    #[test]
    fn a_drain_needs_its_startd_idle_undrained_and_alone_of_its_name() {
        let judge = |startds: &[StartdView]| may_drain(&identity(), "slot1@m", startds);
        assert_eq!(judge(&[startd(OURS, 0, None)]), RecheckResult::AsPlanned);
        let elsewhere = StartdView {
            slots: Vec::new(),
            ..startd(NAMESAKE, 0, None)
        };
        assert_eq!(
            judge(&[startd(OURS, 0, None), elsewhere.clone()]),
            RecheckResult::AsPlanned
        );
        // The startd says for itself which of the two it is.
        assert_eq!(
            judge(&[startd(OURS, 0, None), startd(NAMESAKE, 0, None)]),
            RecheckResult::AsPlanned
        );
        for startds in [
            vec![],
            vec![startd(OURS, 1, None)],
            vec![startd(OURS, 0, Some(drain("defrag")))],
            vec![startd(NAMESAKE, 0, None)],
            vec![startd(CONTRADICTION, 0, None)],
            vec![startd(BY_NODE, 0, None), startd(NAMESAKE, 0, None)],
            // It would be taken for the one that is meant, for it says nothing else.
            vec![startd(OURS, 0, None), startd((None, None), 0, None)],
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
            metadata: execute_metadata("c", &NodeId("n".into()), "f", "i"),
            age: Duration::ZERO,
            fault: None,
            volumes: Vec::new(),
            zone: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_server_goes_as_long_as_it_is_ours_and_as_dead_as_it_was() {
        let planned = |status| OwnedServer::recognise(record(status), "c").unwrap();
        let active = planned(ServerStatus::Active);
        assert_eq!(still_ours(&active, None), RecheckResult::Gone);
        let same = |status| still_ours(&active, Some(record(status)));
        assert_eq!(same(ServerStatus::Active), RecheckResult::AsPlanned);
        assert_eq!(same(ServerStatus::Shutoff), RecheckResult::AsPlanned);
        for metadata in [
            execute_metadata("other", &NodeId("n".into()), "f", "i"),
            execute_metadata("c", &NodeId("m".into()), "f", "i"),
            builder_metadata("c", &NodeId("n".into()), Duration::ZERO),
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
            assert_eq!(now(dead), RecheckResult::AsPlanned);
            assert!(saved(now(ServerStatus::Active)));
        }
        let deleting = ServerRecord {
            deleting: true,
            ..record(ServerStatus::Active)
        };
        let planned = planned(ServerStatus::Error);
        assert_eq!(
            still_ours(&planned, Some(deleting)),
            RecheckResult::AsPlanned
        );
    }
}
