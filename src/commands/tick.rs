//! `ehos tick`: lock → load state → observe → plan → save intents → act → save outcomes → unlock → report.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use log::info;

use crate::act::act;
use crate::cli::{Output, Tick};
use crate::config::Environment;
use crate::deadline::Deadline;
use crate::exit::Exit;
use crate::lock::try_lock;
use crate::observe::observe;
use crate::report::{Report, json, text};
use crate::scaling::plan::plan;
use crate::sources::Sources;
use crate::{config, state};

/// Things that are done at once.
const AT_ONCE: usize = 8;

/// Runs one tick and writes its report to `out`.
///
/// # Errors
/// The configuration ([`config::Error`]) and the state directory ([`state::Error`]). What a source or an action
/// says is no error: it is in the report.
pub fn run(arguments: &Tick, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let acting = !arguments.dry_run;
    let mut config = config::load(&arguments.common.config, environment, acting)?;
    let directory = state::directory(arguments.common.state_dir.as_deref(), config.state_dir.as_deref(), environment)?;
    if acting {
        state::prepare(&directory)?;
    }
    let lock = if acting { Some(try_lock(&directory).map_err(|error| state::lock_error(&directory, error))?) } else { None };
    if matches!(lock, Some(None)) {
        info!("another tick has the lock of {}: left to it", directory.display());
        return Ok(Exit::Done);
    }
    let loaded = state::load(&directory, acting)?;
    let mut remembered = loaded.state;
    remembered.adopted_trusted |= arguments.trust_adopted;
    if arguments.trust_silence {
        config.policy.vanish_share = 1.0;
    }
    let mut notices: Vec<String> = std::mem::take(&mut config.notes);
    notices.extend(loaded.notice);

    let deadline = Deadline::within(config.timeouts.tick);
    let sources = Sources::open(config, &directory)?;
    let site = sources.site();
    let policy = sources.policy();
    // What is left after looking is for acting.
    let looking = deadline.at_most(sources.tick_timeout().mul_f64(0.6));
    let (observation, durations) = observe(&site, &remembered, sources.now(), looking);
    let plan = plan(&observation, policy, &remembered);

    let outcomes = if acting {
        if !plan.actions.is_empty() {
            state::save(&directory, &plan.next).context("nothing was done: intents must be on disk first")?;
        }
        let outcomes = act(&site, &plan.actions, sources.at_once(AT_ONCE), deadline);
        let after = plan.next.clone().after(&outcomes, policy);
        let saved = state::save(&directory, &after);
        sources.close(&directory)?;
        saved.context("what was done could not be written down; the next tick finds it by its metadata")?;
        Some(outcomes)
    } else {
        None
    };
    drop(lock);
    let took: Duration = start.elapsed();
    let report = Report { plan: &plan, outcomes: outcomes.as_deref(), notices, durations: &durations, took };
    let printed = match arguments.output {
        Output::Text => text(&report),
        Output::Json => json(&report).map(|json| json + "\n")?,
    };
    out.write_all(printed.as_bytes()).context("the report could not be printed")?;
    Ok(report.exit())
}
