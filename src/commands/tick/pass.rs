//! One pass of a tick: observe → plan → save intents → act → save outcomes → report.

use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use log::{error, warn};

use super::passes::Passes;
use crate::wake;
use report::history;
use report::tick_report::JobSource;
use report::{self, TickReport, TickResult};
use scaling::action::PoolAction;
use scaling::plan::{self, Action, Plan};
use scaling::state::{Outcome, State};
use simulation::{self, locked};
use system::exit::Exit;
use system::rights;
use tick::act::{Acted, act_and_listen};
use tick::observe::observe;
use tick::state_directory;

/// The share of a pass's time that looking may take: the rest is for acting.
const LOOKING: f64 = 0.6;

/// A pass that is over.
pub struct Pass {
    /// The state after it.
    pub next: State,
    /// How it ended.
    pub exit: Exit,
    /// The report for people; empty where it is not printed.
    pub text: String,
    /// The report for programs.
    pub snapshot: TickReport,
    /// When the next pass would have something to do, where that is known.
    look_again: Option<Duration>,
    idle_jobs: u64,
    begun: Option<wake::Begun>,
    /// Startds have accepted drains.
    pub has_drained: bool,
}

impl Pass {
    /// Leaves for `ehos due` when the next pass is due. The tick's lock must be held.
    pub fn ask_for_next(&self, directory: &Path) {
        if let Some(begun) = &self.begun {
            begun.end(directory, self.look_again, self.idle_jobs);
        }
    }
}

impl Passes<'_> {
    /// Observes, plans and, but for a dry run, acts and saves.
    ///
    /// # Errors
    /// The state directory: where intents cannot be saved, nothing is done.
    pub fn pass(
        &self,
        remembered: &State,
        mut notices: Vec<String>,
        start: Instant,
    ) -> anyhow::Result<Pass> {
        let policy = &self.config.policy;
        let begun = (self.acting && self.world.is_none()).then(|| {
            let idle_timeout = policy.effective_at(Timestamp::now()).0.idle_timeout;
            let (interval, log) = (self.config.event_interval, self.config.condor.event_log());
            wake::Begun::now(interval, idle_timeout, log)
        });
        let at = self
            .world
            .map_or_else(Timestamp::now, |world| locked(world).at());
        let looking = self.deadline.left().mul_f64(LOOKING);
        let looking = self.deadline.at_most(looking);
        let (observation, durations) = observe(self.backends, policy, remembered, at, looking);
        // Soon the process ends: nothing is gained by freeing thousands of ads one by one.
        let observation = ManuallyDrop::new(observation);
        let mut plan = plan::plan(&observation, policy, remembered);
        let cluster = Some(&policy.cluster).filter(|cluster| !cluster.is_empty());
        plan.next.cluster = cluster.cloned();
        let done = match self.acting {
            true => Some(self.act(&mut plan, at)?),
            false => None,
        };
        notices.extend(self.still_reachable(&plan));
        notices.extend(self.world.map(|world| locked(world).describe()));
        let report = TickResult {
            plan: &plan,
            outcomes: done.as_ref().map(|done| &*done.outcomes),
            unsaved: done.as_ref().is_some_and(|done| done.unsaved),
            notices,
            simulated: self.world.is_some(),
            jobs: Some(JobSource {
                pool: &observation.pool,
                limits: &policy.submitter_limits,
                shows_owners: self.config.show_owners,
            }),
            durations: &durations,
            took: start.elapsed(),
            totals: match &done {
                // Unsaved counters must not be reported: they would decrease later.
                Some(done) if !done.unsaved => done.next.totals.clone(),
                _ => plan.next.totals.clone(),
            },
        };
        let mut snapshot = TickReport::of(&report);
        if self.acting {
            self.record(history::write(
                self.directory,
                &mut snapshot,
                self.config.history_days,
            ));
        }
        let outcomes = done.iter().flat_map(|done| &done.outcomes);
        let has_drained = outcomes.into_iter().any(is_accepted_drain);
        // A drain that failed is tried again by the timer's pass.
        let drained = has_drained.then_some(plan::NEXT_DRAIN_LOOK);
        Ok(Pass {
            exit: report.exit(),
            text: self
                .text
                .map_or_else(String::new, |options| report::text(&snapshot, options)),
            snapshot,
            has_drained,
            look_again: [plan.look_again, drained].into_iter().flatten().min(),
            idle_jobs: plan.queue.idle,
            begun,
            next: done.map_or(plan.next, |done| done.next),
        })
    }

    fn act(&self, plan: &mut Plan, at: Timestamp) -> anyhow::Result<ActedOn> {
        if !plan.actions.is_empty() {
            state_directory::save(self.directory, &plan.next)
                .context("no action: intents could not be saved")?;
        }
        // A simulated world is deterministic.
        let max_in_flight = match self.world {
            Some(_) => 1,
            None => usize::try_from(self.config.max_in_flight).unwrap_or(usize::MAX),
        };
        let Acted { outcomes, consoles } =
            act_and_listen(self.backends, &plan.actions, max_in_flight, self.deadline);
        plan.learn_consoles(&consoles);
        if let Some(world) = self.world {
            simulation::file::save(self.directory, &locked(world))
                .map_err(|error| state_directory::unwritable(self.directory, error))?;
        }
        let mut next = plan.after(&outcomes, &self.config.policy);
        let exit = report::exit(plan, Some(&outcomes), false);
        next.totals.record_tick(at, exit.word(), exit == Exit::Done);
        let saved = state_directory::save(self.directory, &next);
        let mut unsaved = false;
        if plan.actions.is_empty() {
            saved?;
        } else if let Err(error) = saved {
            // The report still contains the actions.
            error!(
                "state not saved after the actions, the next tick observes their results: {error}"
            );
            unsaved = true;
        }
        Ok(ActedOn {
            outcomes,
            next,
            unsaved,
        })
    }

    /// Warns if the history could not be written.
    pub fn record(&self, written: io::Result<()>) {
        let directory = self.directory;
        if let Err(error) = written {
            let folder = history::folder(directory);
            warn!(
                "{}: this tick is not recorded: {}; check that it is a folder, that this user can write to it, and that the disk is \
                 not full",
                folder.display(),
                rights::told_in(&folder, Some(directory), &error)
            );
        }
    }

    /// Notices for removed clouds whose access is still in clouds.yaml.
    fn still_reachable(&self, plan: &Plan) -> Vec<String> {
        let configured = |name: &str| self.config.policy.cloud(name).is_some();
        let removed = plan.next.removed(configured);
        if removed.is_empty() {
            return Vec::new();
        }
        // The file is not part of this configuration: if it is unreadable, there is no notice.
        let entries = config::connection::entries(self.environment).unwrap_or_default();
        let there = removed.iter().filter(|name| entries.contains(name));
        there
            .map(|name| {
                format!(
                    "removed cloud {name} is an entry of clouds.yaml; to restore it, add `{name}: {{cloud: {name}, retire: true}}` \
                     under clouds:"
                )
            })
            .collect()
    }
}

struct ActedOn {
    outcomes: Vec<Outcome>,
    next: State,
    unsaved: bool,
}

fn is_accepted_drain(outcome: &Outcome) -> bool {
    let is_drain = matches!(outcome.action, Action::Pool(PoolAction::Drain { .. }));
    is_drain && outcome.result.is_ok()
}
