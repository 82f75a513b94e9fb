//! HTCondor, through its own command line tools.

mod answer;
mod command;
mod control;
mod error;
#[cfg(test)]
mod fake;
mod queue;
mod slots;
pub mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use crate::config::CondorSettings;
use crate::deadline::Deadline;
use crate::pool::{Pool, Watch};
use crate::scaling::action::{Done, Failure, PoolAction};
use crate::scaling::observation::{CollectorView, PoolView, Seen};

pub use command::Tools;
pub use error::{Effect, Error};
use queue::{JobFilter, Schedd};

/// A pool of HTCondor, asked with `condor_status` and `condor_q`, told with `condor_drain` and `condor_advertise`.
#[derive(Debug)]
pub struct CondorPool {
    tools: Tools,
    pool: Option<String>,
    schedds: Vec<Schedd>,
    filter: JobFilter,
    min_wait: Duration,
    update_interval: Duration,
}

impl CondorPool {
    /// The pool of `settings`. A job counts as demand when it has been idle for `min_wait` (a negotiation cycle) or
    /// when there is no slot at all; a startd that does not say how often it reports is expected to do so every
    /// `update_interval`; each call of a tool ends within `command_timeout`.
    pub fn new(
        settings: &CondorSettings,
        min_wait: Duration,
        update_interval: Duration,
        command_timeout: Duration,
    ) -> CondorPool {
        let pool = settings.pool.clone();
        let schedds = if settings.schedds.is_empty() {
            vec![Schedd::local()]
        } else {
            settings
                .schedds
                .iter()
                .map(|name| Schedd::named(name, pool.as_deref()))
                .collect()
        };
        CondorPool {
            tools: Tools::new(settings.bin.clone(), command_timeout),
            schedds,
            filter: JobFilter::new(&settings.universes, settings.job_constraint.as_deref()),
            min_wait,
            update_interval,
            pool,
        }
    }

    /// The machines of `watch` that the collector has not heard within three of their update intervals. None while
    /// the collector is unknown: nothing is decided about a node then.
    fn silent(&self, watch: &Watch, collector: &Seen<CollectorView>) -> BTreeSet<String> {
        let Seen::Known(collector) = collector else {
            return BTreeSet::new();
        };
        let mut silent = watch.clone();
        for startd in &collector.startds {
            let interval = startd.update_interval.unwrap_or(self.update_interval);
            if startd.heard_ago <= interval.saturating_mul(3) {
                silent.remove(&startd.machine);
            }
        }
        silent
    }
}

impl Pool for CondorPool {
    fn observe(&self, watch: &Watch, deadline: Deadline) -> PoolView {
        let collector = seen(slots::observe(&self.tools, self.pool.as_deref(), deadline));
        let silent = self.silent(watch, &collector);
        let no_slot = collector
            .known()
            .is_some_and(|collector| collector.startds.is_empty());
        let min_wait = if no_slot {
            Duration::ZERO
        } else {
            self.min_wait
        };
        let schedds = thread::scope(|scope| {
            let asked: Vec<_> = self
                .schedds
                .iter()
                .map(|schedd| {
                    let silent = &silent;
                    let thread = scope.spawn(move || {
                        schedd.observe(&self.tools, &self.filter, min_wait, silent, deadline)
                    });
                    (schedd.name.clone(), thread)
                })
                .collect();
            asked
                .into_iter()
                .map(|(name, thread)| match thread.join() {
                    Ok(view) => (name, seen(view)),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect::<BTreeMap<_, _>>()
        });
        PoolView { collector, schedds }
    }

    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure> {
        let pool = self.pool.as_deref();
        match action {
            PoolAction::Drain { slot, reason, .. } => {
                control::drain(&self.tools, pool, slot, reason, deadline)
            }
            PoolAction::CancelDrain {
                slot, request_id, ..
            } => control::cancel(&self.tools, pool, slot, request_id, deadline),
            PoolAction::Invalidate { machine, .. } => {
                control::invalidate(&self.tools, pool, machine, deadline)
            }
        }
    }
}

fn seen<T>(answer: Result<T, Error>) -> Seen<T> {
    match answer {
        Ok(value) => Seen::Known(value),
        Err(error) => Seen::Unknown(error.to_string()),
    }
}
