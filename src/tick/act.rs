//! Performs the actions of a plan in parallel, within the deadline, and returns their outcomes. A recheck precedes each action
//! that would end a node.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backends::Backends;
use crate::cloud::Cloud;
use crate::in_flight::{InFlight, ServiceAnswer};
use crate::internal_errors::asking;
use crate::recheck;
use scaling::action::{CloudAction, Done, Failure, FailureKind, PoolAction};
use scaling::console::ConsoleExcerpt;
use scaling::observation::{CloudName, NodeId};
use scaling::plan::Action;
use scaling::sorting;
use scaling::state::Outcome;
use system::deadline::Deadline;

/// HTCondor's tools that run at the same time: processes of this machine.
const MAX_TOOLS: usize = 8;

/// What was done.
#[derive(Debug, Default)]
pub struct Acted {
    /// What came of each action, in their order.
    pub outcomes: Vec<Outcome>,
    /// What the consoles of nodes that failed said before they were deleted.
    pub consoles: BTreeMap<NodeId, ConsoleExcerpt>,
}

/// Performs the actions as [`act_and_listen`] does, and returns what came of each.
pub fn act(
    backends: &Backends<'_>,
    actions: &[Action],
    max_in_flight: usize,
    deadline: Deadline,
) -> Vec<Outcome> {
    act_and_listen(backends, actions, max_in_flight, deadline).outcomes
}

/// Performs the actions, in the order of each service. HTCondor and every cloud work in parallel, each with at most
/// `max_in_flight` requests (HTCondor: [`MAX_TOOLS`]); with 1, all actions follow each other. Actions that the deadline
/// prevents were certainly not started: a request that would hardly be answered in time is left to a later tick. The
/// outcome of invalidating its ads follows each accepted delete.
pub fn act_and_listen(
    backends: &Backends<'_>,
    actions: &[Action],
    max_in_flight: usize,
    deadline: Deadline,
) -> Acted {
    let consoles = Mutex::new(BTreeMap::new());
    let results: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(actions.len()));
    let perform = |index: usize, last: Option<Duration>| {
        let action = actions.get(index)?;
        let cloud = action.cloud().cloned();
        let work = || perform(backends, action, &consoles, last, deadline);
        let Performed { result, took } = asking(cloud, work);
        let failure = result.as_ref().err().map(|failure| failure.kind);
        let outcome = Outcome {
            action: action.clone(),
            result,
        };
        let follow_up = invalidate_after_delete(backends, &outcome, deadline);
        results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(
                [Some(outcome), follow_up]
                    .into_iter()
                    .flatten()
                    .map(|outcome| (index, outcome)),
            );
        took.map(|took| ServiceAnswer { took, failure })
    };
    if max_in_flight <= 1 || actions.len() <= 1 {
        for index in 0..actions.len() {
            perform(index, None);
        }
    } else {
        let services = services(actions, max_in_flight);
        std::thread::scope(|scope| {
            for service in &services {
                for _ in 0..service.workers() {
                    scope.spawn(|| service.work(perform));
                }
            }
        });
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    sorting::by_key(&mut results, |(index, _)| *index);
    Acted {
        outcomes: results.into_iter().map(|(_, outcome)| outcome).collect(),
        consoles: consoles
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    }
}

/// The actions by the service that answers them.
fn services(actions: &[Action], max_in_flight: usize) -> Vec<InFlight> {
    let mut by_cloud: BTreeMap<Option<&CloudName>, Vec<usize>> = BTreeMap::new();
    for (index, action) in actions.iter().enumerate() {
        by_cloud.entry(action.cloud()).or_default().push(index);
    }
    let max = |cloud: Option<&CloudName>| match cloud {
        None => max_in_flight.min(MAX_TOOLS),
        Some(_) => max_in_flight,
    };
    by_cloud
        .into_iter()
        .map(|(cloud, indices)| InFlight::new(indices, max(cloud)))
        .collect()
}

/// Takes the ads of a node out of the collector as soon as its cloud has accepted the delete: until then the negotiator
/// matches jobs with them. `None` where there are none, or another machine has ads of the same name. A failure costs
/// little: the node is forgotten with its ads in any case.
fn invalidate_after_delete(
    backends: &Backends<'_>,
    outcome: &Outcome,
    deadline: Deadline,
) -> Option<Outcome> {
    let Action::Cloud {
        action: CloudAction::Delete { node, startd, .. },
        ..
    } = &outcome.action
    else {
        return None;
    };
    if outcome.result.is_err() || deadline.passed() {
        return None;
    }
    let action = PoolAction::Invalidate {
        node: node.clone(),
        machine: startd.own_ads.clone()?,
    };
    let result = backends.pool.perform(&action, deadline);
    Some(Outcome {
        action: Action::Pool(action),
        result,
    })
}

/// The result of one action.
struct Performed {
    result: Result<Done, Failure>,
    /// The time of the request itself; `None` where a recheck or the deadline prevented it.
    took: Option<Duration>,
}

impl From<Result<Done, Failure>> for Performed {
    fn from(result: Result<Done, Failure>) -> Performed {
        Performed { result, took: None }
    }
}

impl Performed {
    fn timed(request: impl FnOnce() -> Result<Done, Failure>) -> Performed {
        let start = Instant::now();
        Performed {
            result: request(),
            took: Some(start.elapsed()),
        }
    }
}

fn perform(
    backends: &Backends<'_>,
    action: &Action,
    consoles: &Mutex<BTreeMap<NodeId, ConsoleExcerpt>>,
    last: Option<Duration>,
    deadline: Deadline,
) -> Performed {
    if let Some(message) = too_late(action, deadline.left(), last) {
        let kind = FailureKind::NotDone;
        return Err(Failure { kind, message }).into();
    }
    match may_perform(backends, action, consoles, deadline) {
        Ok(Some(Service::Pool(action))) => {
            Performed::timed(|| backends.pool.perform(action, deadline))
        }
        Ok(Some(Service::Cloud(cloud, action))) => {
            Performed::timed(|| cloud.perform(action, deadline))
        }
        Ok(None) => Ok(Done::AlreadyGone).into(),
        Err(failure) => Err(failure).into(),
    }
}

/// Why an action is not begun with this time left; `last` is the time of the service's last request.
///
/// A request that the deadline cuts has an unknown effect. The next one may take somewhat longer than the last.
fn too_late(action: &Action, left: Duration, last: Option<Duration>) -> Option<String> {
    let time = match last {
        _ if left.is_zero() => "tick deadline exceeded".to_owned(),
        Some(last) if left < last * 5 / 4 => format!(
            "{} of the tick left, and the last request took {}",
            seconds(left),
            seconds(last)
        ),
        _ => return None,
    };
    Some(format!(
        "{} of node {}: skipped: {time}; raise daemon.tick_timeout",
        action.verb(),
        action.node()
    ))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The service of an action that may be performed.
enum Service<'a> {
    Pool(&'a PoolAction),
    Cloud(&'a dyn Cloud, &'a CloudAction),
}

/// The service that performs the action after its recheck; `None` if nothing is left to do.
fn may_perform<'a>(
    backends: &'a Backends<'_>,
    action: &'a Action,
    consoles: &Mutex<BTreeMap<NodeId, ConsoleExcerpt>>,
    deadline: Deadline,
) -> Result<Option<Service<'a>>, Failure> {
    match action {
        Action::Pool(action) => {
            if let PoolAction::Drain { startd, slot, .. } = action {
                recheck::before_drain(&*backends.pool, startd, slot, deadline)?;
            }
            Ok(Some(Service::Pool(action)))
        }
        Action::Cloud { cloud, action } => {
            let Some(known) = backends.clouds.iter().find(|known| known.name() == cloud) else {
                return Err(Failure {
                    kind: FailureKind::NotDone,
                    message: format!("cloud {cloud} is not in the configuration"),
                });
            };
            // A console takes long, so it is read before the recheck.
            if let CloudAction::Delete {
                node,
                server,
                keep_console: true,
                ..
            } = action
                && let Some(console) = known.keep_console(server, deadline)
            {
                let mut consoles = consoles.lock().unwrap_or_else(PoisonError::into_inner);
                consoles.insert(node.clone(), console);
            }
            let as_planned = match action {
                CloudAction::Disassociate { floating_ip, .. } => {
                    recheck::before_disassociate(&**known, floating_ip, deadline)?
                }
                _ => recheck::before_delete(&*backends.pool, &**known, action, deadline)?,
            };
            Ok(as_planned.then_some(Service::Cloud(&**known, action)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hardly_be_answered_in_time_is_not_begun() {
        let action = Action::Pool(PoolAction::CancelDrain {
            node: NodeId("n".into()),
            slot: "slot1@n".to_owned(),
            request_id: "r".to_owned(),
        });
        let message = |left, last: Option<u64>| {
            let left = Duration::from_millis(left);
            too_late(&action, left, last.map(Duration::from_millis))
        };
        assert_eq!(message(1, None), None, "nothing says how long it takes");
        assert_eq!(message(5000, Some(4000)), None);
        let begin = format!("{} of node n: skipped: ", action.verb());
        let end = "; raise daemon.tick_timeout";
        for last in [None, Some(0), Some(4000)] {
            let why = "tick deadline exceeded";
            assert_eq!(message(0, last), Some(format!("{begin}{why}{end}")));
        }
        assert_eq!(
            message(4990, Some(4000)),
            Some(format!(
                "{begin}5.0 s of the tick left, and the last request took 4.0 s{end}"
            ))
        );
    }
}
