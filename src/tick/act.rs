//! Does what a plan asks for: several things at once, within the deadline, and says what came of each. What would end a
//! node is looked at once more right before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::backends::Backends;
use crate::recheck;
use scaling::action::{CloudAction, Done, Failure, FailureKind, PoolAction};
use scaling::console::ConsoleExcerpt;
use scaling::observation::NodeId;
use scaling::plan::Action;
use scaling::state::Outcome;
use system::deadline::Deadline;

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
    at_once: usize,
    deadline: Deadline,
) -> Vec<Outcome> {
    act_and_listen(backends, actions, at_once, deadline).outcomes
}

/// Performs the actions, `at_once` of them at a time, in their order as far as that goes. What the deadline leaves
/// undone has certainly not been done. After each delete that its cloud has accepted comes what became of its ads.
pub fn act_and_listen(
    backends: &Backends<'_>,
    actions: &[Action],
    at_once: usize,
    deadline: Deadline,
) -> Acted {
    let next = AtomicUsize::new(0);
    let consoles = Mutex::new(BTreeMap::new());
    let results: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(actions.len()));
    let work = || {
        while let Some((index, action)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            actions.get(index).map(|action| (index, action))
        } {
            let result = perform(backends, action, &consoles, deadline);
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
        }
    };
    let workers = at_once.min(actions.len());
    if workers <= 1 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(work);
            }
        });
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Acted {
        outcomes: results.into_iter().map(|(_, outcome)| outcome).collect(),
        consoles: consoles
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    }
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

fn perform(
    backends: &Backends<'_>,
    action: &Action,
    consoles: &Mutex<BTreeMap<NodeId, ConsoleExcerpt>>,
    deadline: Deadline,
) -> Result<Done, Failure> {
    if deadline.passed() {
        let message = format!(
            "{} of node {}: not begun, the tick's time was over",
            action.verb(),
            action.node()
        );
        return Err(Failure {
            kind: FailureKind::NotDone,
            message,
        });
    }
    match action {
        Action::Pool(action) => {
            if let PoolAction::Drain { startd, slot, .. } = action {
                recheck::before_drain(&*backends.pool, startd, slot, deadline)?;
            }
            backends.pool.perform(action, deadline)
        }
        Action::Cloud { cloud, action } => {
            let Some(known) = backends.clouds.iter().find(|known| known.name() == cloud) else {
                return Err(Failure {
                    kind: FailureKind::NotDone,
                    message: format!("cloud {cloud} is not in the configuration"),
                });
            };
            // A console takes its time: before the last look, not after it.
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
            if as_planned {
                known.perform(action, deadline)
            } else {
                Ok(Done::AlreadyGone)
            }
        }
    }
}
