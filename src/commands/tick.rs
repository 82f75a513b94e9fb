//! `ehos tick`: lock → load state → observe → plan → save intents → act → save outcomes → unlock → report.

pub(super) mod backends;
mod held;
mod pass;
mod passes;

use std::io::{IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context;
use jiff::Timestamp;
use log::warn;

use self::passes::Passes;
use crate::cli::{Output, Tick};
use crate::commands::{other_pool, state_directory};
use condor::MatchFile;
use config::{self, Config};
use report::TextOptions;
use scaling::state::State;
use simulation::{self, World};
use system::afterword::Afterword;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::lock::{self, Lock, try_lock};
use system::rights;
use tick::internal_errors;
use tick::signing_key;
use tick::state_directory;
use userdata::node::NodeUserData;

/// Runs one tick and writes its report to `out`.
///
/// # Errors
/// The configuration ([`config::Error`]) and the state directory ([`state_directory::Error`]). What a source or an action says
/// is no error: it is in the report.
pub fn run(
    args: &Tick,
    environment: &Environment,
    text: TextOptions,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let acting = !args.dry_run;
    let config = configuration(args, environment)?;
    let directory = state_directory(&args.common, &config, environment)?;
    let lock = match acting.then(|| lock(&directory)).transpose()? {
        Some(None) => return Ok(held::leave(&directory, config.timeouts.tick)),
        lock => lock.flatten(),
    };
    let _afterword = acting.then(afterword).flatten();
    let loaded = state_directory::load(&directory, acting)?;
    if let Some(other) = other_pool(&loaded.state, &config) {
        warn!(
            "state directory {}: the last tick here was of pool {other}, this one is of pool {}; if both pools exist, \
             give --state-dir",
            directory.display(),
            config.policy.cluster
        );
    }
    let world = open_world(&config, &directory)?;
    let keys = match acting {
        true => signing_key::load_or_make(&directory, config.folder(), environment),
        false => signing_key::load(&directory, config.folder(), environment),
    };
    let user_data = NodeUserData::new(&config.condor, &config.policy, config.timeouts.command);
    let token_folder = acting.then_some(&*directory);
    let matches = MatchFile::new(&directory, acting);
    let backends = match &world {
        Some(world) => simulation::backends(world, &config.policy),
        None => backends::real(&config, &user_data, token_folder, matches, &keys)?,
    };
    if acting {
        internal_errors::keep(&directory);
    }
    let is_text = args.output == Output::Text;
    let passes = Passes {
        backends: &internal_errors::leave_out(backends, &directory, Timestamp::now()),
        config: &config,
        environment,
        directory: &directory,
        world: world.as_ref(),
        acting,
        deadline: Deadline::within(config.timeouts.tick),
        text: is_text.then_some(text),
    };
    let notices = config
        .notes
        .iter()
        .map(ToString::to_string)
        .chain(loaded.notice);
    let mut said = Ok(());
    let mut print = |text: &str| {
        if is_text && said.is_ok() {
            said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    };
    let state = ManuallyDrop::new(trusted(loaded.state, args));
    let passed = passes.run(&state, notices.collect(), start, &mut print)?;
    // The process ends: nothing is gained by freeing thousands of nodes one by one.
    let mut passed = ManuallyDrop::new(passed);
    if !is_text {
        said = passed.write_json(out);
    }
    if acting {
        passed.publish(&passes);
        // Sending may take long: the next tick does not wait for it.
        drop(lock);
        passed.send(&config.metrics);
    }
    said.context("the report cannot be printed")?;
    passed.exit()
}

/// Takes the lock and removes unfinished files of killed ticks; `None` if another process holds the lock.
fn lock(directory: &Path) -> Result<Option<Lock>, state_directory::Error> {
    state_directory::prepare(directory)?;
    let lock = try_lock(directory, lock::TICK)
        .map_err(|error| state_directory::unlockable(directory, lock::TICK, error))?;
    if lock.is_some() {
        state_directory::sweep(directory);
    }
    Ok(lock)
}

/// The message after an interrupt at a terminal.
fn afterword() -> Option<Afterword> {
    std::io::stderr().is_terminal().then(|| {
        let again = rights::command();
        Afterword::of(&format!(
            "interrupted: begun creates and deletes stay, and the next tick completes them; wait for the timer, or run: {again}"
        ))
    })
}

/// The state, with the servers that the command line trusts.
fn trusted(mut state: State, args: &Tick) -> State {
    if args.trust_adopted {
        state.trust_adopted();
    }
    for server in &args.trust_server {
        if !state.trust_server(server) {
            warn!(
                "--trust-server {server}: not in the state; give the UUID of a server that a tick has reported"
            );
        }
    }
    state
}

fn configuration(args: &Tick, environment: &Environment) -> Result<Config, config::Error> {
    let mut config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    if let Some(scenario) = &config.simulation {
        config.policy.clouds = scenario.cloud_policies();
    }
    if args.trust_silence {
        // Any share of the nodes may be silent.
        config.policy.max_silent_share = 1.0;
        config.policy.trust_silence = true;
    }
    // Without passes for events, only the timer starts one.
    config.policy.look_again = args
        .look_again
        .filter(|soon| !soon.is_zero() && !config.event_interval.is_zero());
    Ok(config)
}

/// The simulated world, advanced by one step, if the configuration has one.
fn open_world(
    config: &Config,
    directory: &Path,
) -> Result<Option<Mutex<World>>, state_directory::Error> {
    let Some(scenario) = &config.simulation else {
        return Ok(None);
    };
    let mut world = simulation::file::load(directory, scenario)
        .map_err(|error| state_directory::unwritable(directory, error))?;
    let noclaim_shutdown = config.condor.noclaim_shutdown;
    world.noclaim_shutdown = noclaim_shutdown.map(|time| time.as_secs());
    let lifetime = config.policy.max_lifetime;
    let killed = lifetime.zip(config.policy.max_lifetime_kill);
    world.max_lifetime = lifetime.map(|time| time.as_secs());
    world.jobs_end = killed.map(|(time, more)| time.saturating_add(more).as_secs());
    world.advance(scenario.step_seconds);
    Ok(Some(Mutex::new(world)))
}
