//! The report of a tick, for people and programs, from one document.

pub mod cost;
pub mod explain;
pub mod history;
pub mod metrics;
pub mod names;
pub mod notify;
pub mod problem;
pub mod status;
pub mod text;
pub mod tick_report;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use scaling::action::FailureKind;
use scaling::plan::Plan;
use scaling::source::SourceKind;
use scaling::state::Outcome;
use scaling::totals::Totals;
use system::exit::Exit;
use system::json;
use tick::observe::Durations;

pub use text::{TextOptions, text};
use tick_report::JobSource;
pub use tick_report::TickReport;

/// One tick, over.
#[derive(Debug)]
pub struct TickResult<'a> {
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
    /// The source of the names of owners and jobs.
    pub jobs: Option<JobSource<'a>>,
    /// How long each source took.
    pub durations: &'a Durations,
    /// How long the whole tick took.
    pub took: Duration,
    /// What was counted until now, this tick with it.
    pub totals: Totals,
}

impl TickResult<'_> {
    /// How the tick ended.
    pub fn exit(&self) -> Exit {
        exit(self.plan, self.outcomes, self.unsaved)
    }
}

/// How a tick ends that came to this. A startd that was not idle any more is no failure, nor what a recheck stopped.
pub fn exit(plan: &Plan, outcomes: Option<&[Outcome]>, unsaved: bool) -> Exit {
    let none = |kind: SourceKind, known: usize| !plan.knows(kind) && known == 0;
    let failed = |outcome: &Outcome| {
        let harmless = [FailureKind::NotIdle, FailureKind::Changed];
        let failure = outcome.result.as_ref().err();
        failure.is_some_and(|failure| !harmless.contains(&failure.kind))
            && !outcome.action.name().is_minor()
    };
    if !plan.knows(SourceKind::Collector)
        || none(SourceKind::Schedd, plan.sources_seen.schedds)
        || none(SourceKind::Cloud, plan.sources_seen.clouds)
    {
        Exit::Unavailable
    } else if !plan.unknown_sources.is_empty()
        || !plan.protected.is_empty()
        || unsaved
        || outcomes.into_iter().flatten().any(failed)
    {
        Exit::Failed
    } else {
        Exit::Done
    }
}

#[derive(Serialize)]
struct Tick<'a> {
    #[serde(flatten)]
    first: &'a TickReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_pass: Option<&'a TickReport>,
}

/// Writes a tick as one JSON object: its first pass, with the second, if there was one, as `second_pass`.
///
/// # Errors
/// It cannot be written.
pub fn write_json(
    out: &mut dyn Write,
    first: &TickReport,
    second_pass: Option<&TickReport>,
) -> io::Result<()> {
    json::write_pretty(out, &Tick { first, second_pass })
}
