//! Does what a plan asks for: several things at once, within the deadline, and says what came of each. What would end a
//! node is looked at once more right before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::deadline::Deadline;
use crate::last_look;
use crate::scaling::action::{CloudAction, Done, Failure, FailureKind, PoolAction};
use crate::scaling::memory::Outcome;
use crate::scaling::plan::Action;
use crate::site::Site;

/// Performs the actions, `at_once` of them at a time, in their order as far as that goes. What the deadline leaves
/// undone has certainly not been done.
pub fn act(
    site: &Site<'_>,
    actions: &[Action],
    at_once: usize,
    deadline: Deadline,
) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(actions.len()));
    let work = || {
        while let Some((index, action)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            actions.get(index).map(|action| (index, action))
        } {
            let result = perform(site, action, deadline);
            let outcome = Outcome {
                action: action.clone(),
                result,
            };
            results
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((index, outcome));
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
    let mut results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, outcome)| outcome).collect()
}

fn perform(site: &Site<'_>, action: &Action, deadline: Deadline) -> Result<Done, Failure> {
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
                last_look::before_drain(&*site.pool, startd, slot, deadline)?;
            }
            site.pool.perform(action, deadline)
        }
        Action::Cloud { cloud, action } => {
            let Some(known) = site.clouds.iter().find(|known| known.name() == cloud) else {
                return Err(Failure {
                    kind: FailureKind::NotDone,
                    message: format!("cloud {cloud} is not in the configuration"),
                });
            };
            // A console takes its time: before the last look, not after it.
            if let CloudAction::Delete {
                server,
                keep_console: true,
                ..
            } = action
            {
                known.keep_console(server, deadline);
            }
            let as_planned = match action {
                CloudAction::Disassociate { floating_ip, .. } => {
                    last_look::before_disassociate(&**known, floating_ip, deadline)?
                }
                _ => last_look::before_delete(&*site.pool, &**known, action, deadline)?,
            };
            if as_planned {
                known.perform(action, deadline)
            } else {
                Ok(Done::AlreadyGone)
            }
        }
    }
}
