//! What a tick has to say: for people and for programs, from the same plan.

mod json;
pub mod snapshot;
mod text;

use std::time::Duration;

use crate::exit::Exit;
use crate::observe::Durations;
use crate::scaling::action::{FailureKind, PoolAction};
use crate::scaling::memory::Outcome;
use crate::scaling::plan::{Action, Plan};
use crate::scaling::source::SourceKind;
use crate::scaling::totals::Totals;

pub use json::json;
pub use snapshot::Snapshot;
pub use text::text;

/// One tick, over.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What came of it; `None` for a dry run.
    pub outcomes: Option<&'a [Outcome]>,
    /// What came of it is not on disk.
    pub unsaved: bool,
    /// What an operator should know that is not in the plan.
    pub notices: Vec<String>,
    /// The site is a simulated one.
    pub simulated: bool,
    /// How long each source took.
    pub durations: &'a Durations,
    /// How long the whole tick took.
    pub took: Duration,
    /// What was counted until now, this tick with it.
    pub totals: Totals,
}

impl Report<'_> {
    /// Actions that failed, with what was said. A startd that was not idle any more is no failure, nor what a last look
    /// stopped, and ads that may not be taken out of the collector are only ignored. A
    /// negotiation cycle that ehos may not ask for comes by itself.
    pub fn failures(&self) -> impl Iterator<Item = (&Action, &str)> {
        failures(self.outcomes)
    }

    /// Things that turned out otherwise, and need nobody.
    pub fn asides(&self) -> impl Iterator<Item = (&Action, &str)> {
        let failed: Vec<_> = self.failures().map(|(action, _)| action).collect();
        self.outcomes
            .into_iter()
            .flatten()
            .filter_map(move |outcome| {
                let failure = outcome.result.as_ref().err()?;
                (!failed.contains(&&outcome.action))
                    .then_some((&outcome.action, failure.message.as_str()))
            })
    }

    /// How the tick ended.
    pub fn exit(&self) -> Exit {
        exit(self.plan, self.outcomes, self.unsaved)
    }
}

fn failures(outcomes: Option<&[Outcome]>) -> impl Iterator<Item = (&Action, &str)> {
    outcomes.into_iter().flatten().filter_map(|outcome| {
        let failure = outcome.result.as_ref().err()?;
        let harmless = matches!(failure.kind, FailureKind::NotIdle | FailureKind::Changed)
            || matches!(
                outcome.action,
                Action::Pool(PoolAction::Invalidate { .. } | PoolAction::Reschedule { .. })
            );
        (!harmless).then_some((&outcome.action, failure.message.as_str()))
    })
}

/// How a tick ends that came to this.
pub fn exit(plan: &Plan, outcomes: Option<&[Outcome]>, unsaved: bool) -> Exit {
    let none = |kind: SourceKind, seen: usize| !plan.knows(kind) && seen == 0;
    if !plan.knows(SourceKind::Collector)
        || none(SourceKind::Schedd, plan.sources_seen.schedds)
        || none(SourceKind::Cloud, plan.sources_seen.clouds)
    {
        Exit::Unavailable
    } else if !plan.unseen.is_empty()
        || !plan.protected.is_empty()
        || unsaved
        || failures(outcomes).next().is_some()
    {
        Exit::Failed
    } else {
        Exit::Done
    }
}
