//! `ehos pause`: ehos creates no node, and with `--deletes` deletes none either.

use std::io::Write;

use anyhow::bail;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;

use super::high_availability::{note, note_line};
use super::print;
use super::state_change::{StateChange, user};
use super::until::until;
use crate::cli::Pause;
use config::Config;
use scaling::maintenance::{OperatorPause, PauseEntry};
use scaling::state::State;
use system::environment::Environment;
use system::exit::Exit;
use system::plain::line;

#[derive(Serialize)]
struct Out<'a> {
    version: u32,
    exit: u8,
    pause: &'a PauseEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// The time by which commands count: a simulated site has its own.
pub(super) fn now(config: &Config, state: &State) -> Timestamp {
    let simulated = config.simulation.as_ref().and(state.last_tick);
    simulated.unwrap_or_else(Timestamp::now)
}

/// The time zone of a time of day: that of the schedules, or of this machine.
pub(super) fn zone(config: &Config) -> TimeZone {
    match config.time_zone_given {
        true => config.policy.time_zone.clone(),
        false => TimeZone::system(),
    }
}

/// Begins the pause, and writes it to `out`.
///
/// # Errors
/// The configuration, an unknown cloud, a time, the state directory, or a tick that does not end.
pub fn run(args: &Pause, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    if let Some(cloud) = &args.cloud {
        super::known_clouds(&config, std::slice::from_ref(cloud))?;
    }
    let mut change = StateChange::begin(&args.common, &config, environment)?;
    if args.cloud.is_none() && change.state.retirement().is_some() {
        bail!("the pool is being retired; run `ehos resume` first");
    }
    let now = now(&config, &change.state);
    let zone = zone(&config);
    let end = args.until.as_deref().map(|text| until(text, now, &zone));
    let pause = OperatorPause {
        since: now,
        until: end.transpose()?,
        deletes: args.deletes,
        reason: args.reason.clone(),
        by: user(environment),
        retiring: false,
    };
    change.state.pause(args.cloud.as_deref(), pause.clone());
    change.save()?;
    let cloud = args.cloud.clone();
    let entry = PauseEntry { cloud, pause };
    let note = note(&config);
    let text = || line!("paused: {entry}") + &note_line(note);
    print(out, args.output, text, || {
        json!(Out {
            version: 1,
            exit: Exit::Done as u8,
            pause: &entry,
            note,
        })
    })?;
    Ok(Exit::Done)
}
