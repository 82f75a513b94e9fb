//! Two central managers of one pool: which ehos acts.
//!
//! HTCondor's HAD keeps one negotiator in the pool. The ehos beside it acts; every other one observes, keeps its state, and
//! changes nothing. An ehos acts only if its own negotiator is fresh and has run long enough that no other ehos can still act:
//! the negotiator of the other one was silent for [`lease`] at most when that one observed, and its tick has ended since.
//!
//! Must not: compare clocks. Every age is worked out on the clock of the daemon that stamped it.
//! Source: HTCondor manual, "High Availability of the Central Manager".

use std::time::Duration;

use super::observation::{CentralManagers, NegotiatorAd, Observed, PoolView};
use super::policy::Policy;
use super::seconds::{Seconds, seconds};
use super::sentence::sentences;

/// Updates that a negotiator may miss before it counts as silent.
const MISSED_UPDATES: u32 = 3;

sentences! {
/// Why this ehos changes nothing.
#[serde(tag = "standby")]
pub enum Standby {
    ActiveElsewhere "active_elsewhere" { central_manager: String, heard_seconds: Seconds } =>
        "the negotiator runs on {central_manager}, heard {heard_seconds} ago: ehos there acts, ehos here only observes";
    TakingOver "taking_over" { up_seconds: Seconds, takeover_seconds: Seconds } =>
        "the negotiator here started {up_seconds} ago; ehos here acts after {takeover_seconds}, when no other ehos can still act";
    TwoNegotiators "two_negotiators" { central_manager: String, heard_seconds: Seconds } =>
        "the negotiator runs here and on {central_manager}, heard {heard_seconds} ago: no ehos acts; check HAD_LIST and the \
        network between both hosts (HADLog)";
    NoNegotiator "no_negotiator" { silent_seconds: Seconds } =>
        "no negotiator has updated its ad for {silent_seconds}: no ehos acts; check HAD on the central managers \
        (condor_status -negotiator, HADLog)";
    Unknown "unknown" { #[serde(rename = "cause")] why: String } =>
        "the active central manager is unknown, so ehos here only observes: {why}";
}
}

/// For how long the last update of a negotiator proves that it runs.
fn lease(managers: &CentralManagers) -> Duration {
    managers.update_interval.saturating_mul(MISSED_UPDATES)
}

/// Returns the reason why this ehos changes nothing, or `None` if it acts.
pub fn standby(pool: &PoolView, policy: &Policy) -> Option<Standby> {
    let managers = match pool.central_managers.as_ref()? {
        Observed::Known(managers) => managers,
        Observed::Unknown(why) => return Some(Standby::Unknown { why: why.clone() }),
    };
    let lease = lease(managers);
    let fresh = || {
        let all = managers.negotiators.iter();
        all.filter(|negotiator| negotiator.heard_ago <= lease)
    };
    let own = fresh()
        .filter(|negotiator| negotiator.is_here)
        .min_by_key(|negotiator| negotiator.up_for);
    let other = fresh()
        .filter(|negotiator| !negotiator.is_here)
        .min_by_key(|negotiator| negotiator.heard_ago);
    let named = |other: &NegotiatorAd| (other.machine.clone(), seconds(other.heard_ago));
    // The tick of another ehos ends within tick_timeout of its observation, and Nova answers its last request later still: it
    // may list the server of an unanswered create for as long as the intent counts, which only the other ehos has.
    let late = policy.request_timeout.max(policy.intent_grace);
    let takeover = lease
        .saturating_add(policy.tick_timeout)
        .saturating_add(late);
    match (own, other.map(named)) {
        (None, None) => Some(Standby::NoNegotiator {
            silent_seconds: seconds(lease),
        }),
        (None, Some((central_manager, heard_seconds))) => Some(Standby::ActiveElsewhere {
            central_manager,
            heard_seconds,
        }),
        (Some(own), _) if own.up_for < takeover => Some(Standby::TakingOver {
            up_seconds: seconds(own.up_for),
            takeover_seconds: seconds(takeover),
        }),
        (Some(_), Some((central_manager, heard_seconds))) => Some(Standby::TwoNegotiators {
            central_manager,
            heard_seconds,
        }),
        (Some(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::job_names::PoolJobs;
    use super::super::observation::NegotiatorView;
    use super::*;

    const LEASE: u64 = 180;
    /// `tick_timeout` and `intent_grace`, which is longer than `request_timeout`.
    const TAKEOVER: u64 = LEASE + 100 + 300;

    /// Host, age of the ad, age of the negotiator.
    fn of(negotiators: &[(&str, u64, u64)]) -> Option<Standby> {
        let ad = |(machine, heard, up): &(&str, u64, u64)| NegotiatorAd {
            machine: (*machine).to_owned(),
            is_here: *machine == "here",
            heard_ago: Duration::from_secs(*heard),
            up_for: Duration::from_secs(*up),
        };
        standby(
            &pool(Some(Observed::Known(CentralManagers {
                update_interval: Duration::from_secs(60),
                negotiators: negotiators.iter().map(ad).collect(),
            }))),
            &Policy::new("p"),
        )
    }

    fn pool(central_managers: Option<Observed<CentralManagers>>) -> PoolView {
        PoolView {
            collector: Observed::Unknown(String::new()),
            schedds: BTreeMap::new(),
            negotiator: Observed::Known(NegotiatorView::default()),
            central_managers,
            jobs: PoolJobs::default(),
        }
    }

    #[test]
    fn only_a_fresh_and_lasting_negotiator_beside_it_lets_an_ehos_act() {
        let name = |negotiators: &[_]| of(negotiators).map(|standby| standby.name());
        for (negotiators, expected) in [
            (vec![("here", 0, TAKEOVER)], None),
            (vec![("here", LEASE, 9999)], None),
            (vec![("here", LEASE + 1, 9999)], Some("no_negotiator")),
            (vec![("here", 0, TAKEOVER - 1)], Some("taking_over")),
            (vec![], Some("no_negotiator")),
            (vec![("there", 0, 9999)], Some("active_elsewhere")),
            (vec![("there", LEASE + 1, 9999)], Some("no_negotiator")),
            // The ad of one that crashed, until it counts as silent.
            (
                vec![("there", LEASE, 9999), ("here", 0, 9999)],
                Some("two_negotiators"),
            ),
            (
                vec![("there", LEASE, 9999), ("here", 0, 9)],
                Some("taking_over"),
            ),
            (
                vec![("there", LEASE + 1, 9999), ("here", 0, TAKEOVER)],
                None,
            ),
            // One that was started anew has two ads under different names.
            (
                vec![("here", 60, 9999), ("here", 0, 9)],
                Some("taking_over"),
            ),
        ] {
            assert_eq!(name(&negotiators), expected, "{negotiators:?}");
        }
    }

    #[test]
    fn a_takeover_waits_for_the_longer_of_a_request_and_an_unanswered_create() {
        let here = NegotiatorAd {
            machine: "here".to_owned(),
            is_here: true,
            heard_ago: Duration::ZERO,
            up_for: Duration::ZERO,
        };
        let pool = pool(Some(Observed::Known(CentralManagers {
            update_interval: Duration::from_secs(60),
            negotiators: vec![here],
        })));
        for (request, intent, late) in [(30, 300, 300), (30, 1, 30)] {
            let policy = Policy {
                request_timeout: Duration::from_secs(request),
                intent_grace: Duration::from_secs(intent),
                ..Policy::new("p")
            };
            let expected = Standby::TakingOver {
                up_seconds: seconds(Duration::ZERO),
                takeover_seconds: seconds(Duration::from_secs(LEASE + 100 + late)),
            };
            assert_eq!(standby(&pool, &policy), Some(expected));
        }
    }

    #[test]
    fn an_unknown_negotiator_lets_nobody_act_and_one_central_manager_needs_none() {
        let policy = Policy::new("p");
        assert_eq!(standby(&pool(None), &policy), None);
        let unknown = pool(Some(Observed::Unknown("no answer".to_owned())));
        let text = standby(&unknown, &policy).map(|standby| standby.to_string());
        assert_eq!(
            text.as_deref(),
            Some("the active central manager is unknown, so ehos here only observes: no answer")
        );
    }
}
