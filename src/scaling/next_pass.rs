//! When a pass is due before the timer's minute.
//!
//! Owns: the rule by which events of jobs and the last pass ask for another pass.
//! Must not: read the event log (`condor::event_log`) or keep anything (`wake`).

#![warn(missing_docs)]

use std::time::Duration;

/// How often something happened to jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Jobs became idle: submitted, released, evicted.
    pub waiting: u64,
    /// Jobs got a slot.
    pub started: u64,
    /// Jobs left their slots for good, or the queue: ended, removed, held.
    pub ended: u64,
}

/// From this age on a pass leaves what is due to the timer, which comes every minute and may come a second early.
const TIMER: Duration = Duration::from_secs(55);
/// The last passes have failed, or the timer is off: only the timer tries again.
pub const STALE: Duration = Duration::from_secs(150);
/// A pass rests for at least this many times its duration.
const REST: u32 = 2;

/// What the last pass left for the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastPass {
    /// The time since it began.
    pub age: Duration,
    /// How long it took.
    pub took: Duration,
    /// After how long, from its beginning, it asked to look again.
    pub look_again: Option<Duration>,
    /// The jobs that it saw waiting.
    pub idle_jobs: u64,
    /// `idle_timeout`, as it holds.
    pub idle_timeout: Duration,
}

/// When the next pass is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPass {
    /// Now.
    Due,
    /// In this time, which is before the timer's.
    In(Duration),
    /// When the timer says.
    OfTimer,
}

/// When a pass is due after the last one, where `events` were seen since and `interval` (`daemon.event_interval`) is the
/// shortest distance of passes.
///
/// Jobs that wait need nodes, so they are a reason. Jobs that ended are one only where none waits any more, as far as starts
/// are counted: else the next job gets the slot. Nothing is to be done about a node that is idle before its `idle_timeout` is over,
/// and the next pass sees since when it is. A pass that took long rests for longer, so that slow services are not asked without a pause.
pub fn next_pass(last: &LastPass, events: Events, interval: Duration) -> NextPass {
    if interval.is_zero() || last.age >= STALE {
        return NextPass::OfTimer;
    }
    let rest = last.took * REST;
    let none_waits = last.idle_jobs <= events.started;
    let due = [
        (events.waiting > 0).then_some(interval),
        (events.ended > 0 && none_waits).then_some(interval.max(last.idle_timeout)),
        last.look_again,
    ];
    match due.into_iter().flatten().min().map(|due| due.max(rest)) {
        Some(due) if due <= last.age => NextPass::Due,
        Some(due) if due < TIMER => NextPass::In(due.saturating_sub(last.age)),
        Some(_) | None => NextPass::OfTimer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn events(letters: &str) -> Events {
        Events {
            waiting: letters.matches('w').count() as u64,
            started: letters.matches('s').count() as u64,
            ended: letters.matches('e').count() as u64,
        }
    }

    #[test]
    fn a_pass_is_due_for_jobs_that_wait_that_ended_and_at_the_time_it_asked_for() {
        use NextPass::{Due, In, OfTimer};
        // Age and duration of the last pass, what it asked for, the jobs that waited, events, the interval: what is due.
        let table = [
            // Nothing happened.
            (20, 1, None, 0, "", 10, OfTimer),
            (70, 1, None, 2, "", 10, OfTimer),
            // Jobs wait.
            (20, 1, None, 0, "w", 10, Due),
            (20, 1, None, 2, "we", 10, Due),
            (10, 1, None, 2, "w", 10, Due),
            (4, 1, None, 0, "w", 10, In(seconds(6))),
            (4, 1, None, 0, "w", 0, OfTimer),
            (20, 1, None, 0, "w", 40, In(seconds(20))),
            (20, 1, None, 0, "w", 120, OfTimer),
            // Jobs ended.
            (20, 1, None, 0, "e", 10, Due),
            (4, 1, None, 0, "e", 10, In(seconds(6))),
            (20, 1, None, 2, "e", 10, OfTimer),
            (20, 1, None, 2, "eees", 10, OfTimer),
            (20, 1, None, 2, "sse", 10, Due),
            (20, 1, None, 0, "s", 10, OfTimer),
            // It asked for it.
            (4, 1, Some(5), 0, "", 10, In(seconds(1))),
            (5, 1, Some(5), 2, "", 10, Due),
            (20, 1, Some(30), 0, "", 10, In(seconds(10))),
            (20, 1, Some(30), 0, "w", 10, Due),
            (4, 1, Some(30), 0, "w", 10, In(seconds(6))),
            (20, 1, Some(58), 0, "", 10, OfTimer),
            (58, 1, Some(58), 0, "", 10, Due),
            (6, 1, Some(5), 0, "", 0, OfTimer),
            // A pass that took long rests.
            (35, 20, None, 0, "w", 10, In(seconds(5))),
            (21, 20, Some(5), 0, "", 10, In(seconds(19))),
            (35, 30, None, 0, "w", 10, OfTimer),
            (60, 30, None, 0, "w", 10, Due),
            // The last ones failed.
            (149, 1, None, 0, "w", 10, Due),
            (150, 1, Some(5), 0, "w", 10, OfTimer),
        ];
        for (age, took, again, idle, what, interval, expected) in table {
            let last = LastPass {
                age: seconds(age),
                took: seconds(took),
                look_again: again.map(seconds),
                idle_jobs: idle,
                idle_timeout: Duration::ZERO,
            };
            let next = next_pass(&last, events(what), seconds(interval));
            assert_eq!(next, expected, "{last:?} {what:?} {interval}");
        }
        // Nodes that have become idle wait for their time-out.
        for (age, idle_timeout, what, expected) in [
            (20, 30, "e", In(seconds(10))),
            (30, 30, "e", Due),
            (20, 30, "we", Due),
            (20, 120, "e", OfTimer),
        ] {
            let last = LastPass {
                age: seconds(age),
                took: seconds(1),
                look_again: None,
                idle_jobs: 0,
                idle_timeout: seconds(idle_timeout),
            };
            let next = next_pass(&last, events(what), seconds(10));
            assert_eq!(next, expected, "{last:?} {what:?}");
        }
    }
}
