//! `ehos tick`: lock → load state → observe → plan → save intents → act → save outcomes → unlock → report.

mod backends;
mod pass;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;
use log::{debug, error, info, warn};

use self::pass::{DRAIN_TIME, Passes};
use crate::afterword::Afterword;
use crate::cli::{Output, Tick};
use crate::commands::state_directory;
use crate::condor::MatchFile;
use crate::config::{self, Config};
use crate::deadline::Deadline;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::frontend;
use crate::history;
use crate::lock::{self, Holder, try_lock};
use crate::metrics;
use crate::notify;
use crate::report::json;
use crate::rights;
use crate::signing_key;
use crate::simulation::{self, World};
use crate::state;
use crate::user_data::NodeUserData;

/// A tick that has the lock for so many times its time-out does not run any more: what can block in it ends before.
const HANGING: u32 = 2;

/// Runs one tick and writes its report to `out`; with `levels`, each line for people begins with journald's level.
///
/// # Errors
/// The configuration ([`config::Error`]) and the state directory ([`state::Error`]). What a source or an action says
/// is no error: it is in the report.
pub fn run(
    args: &Tick,
    environment: &Environment,
    levels: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let acting = !args.dry_run;
    let config = configuration(args, environment)?;
    let directory = state_directory(&args.common, &config, environment)?;

    let lock = if acting {
        state::prepare(&directory)?;
        match try_lock(&directory, lock::TICK)
            .map_err(|error| state::unlockable(&directory, lock::TICK, error))?
        {
            Some(lock) => {
                state::sweep(&directory);
                Some(lock)
            }
            None => return Ok(leave(&directory, config.timeouts.tick)),
        }
    } else {
        None
    };
    // Somebody watches: the timer's ticks need no words.
    let _afterword = (acting && std::io::stderr().is_terminal()).then(|| {
        let again = rights::command();
        Afterword::of(&format!(
            "interrupted: what this tick has begun stays, and the next one goes on with it: the timer's, or type: {again}"
        ))
    });
    let loaded = state::load(&directory, acting)?;
    let mut remembered = loaded.state;
    if args.trust_adopted {
        remembered.trust_adopted();
    }
    for server in &args.trust_server {
        if !remembered.trust_server(server) {
            warn!(
                "--trust-server {server}: the state knows no such server; give the UUID of one that a tick has named"
            );
        }
    }

    let deadline = Deadline::within(config.timeouts.tick);
    let world = open_world(&config, &directory)?;
    let keys = match acting {
        true => signing_key::load_or_make(&directory, config.folder(), environment),
        false => signing_key::load(&directory, config.folder(), environment),
    };
    let user_data = NodeUserData::new(&config.condor, &config.policy, config.timeouts.command);
    let backends = match &world {
        Some(world) => simulation::backends(world, &config.policy),
        None => backends::real(
            &config,
            &user_data,
            acting.then_some(&*directory),
            MatchFile::new(&directory, acting),
            &keys,
        )?,
    };
    let passes = Passes {
        config: &config,
        environment,
        directory: &directory,
        backends: &backends,
        world: world.as_ref(),
        acting,
        deadline,
    };
    let notices = config.notes.iter().cloned().chain(loaded.notice);
    let first = passes.run(&remembered, notices.collect(), start, levels)?;
    let mut said = print(out, args.output, &first.text);
    // What has drained need not wait for the next tick to be deleted.
    let mut failed = None;
    let mut second = None;
    if first.has_drained && passes.has_time() {
        passes.let_drain();
        match passes.run(&first.next, config.notes.clone(), Instant::now(), levels) {
            Ok(pass) => {
                let heading = format!("\nsecond pass, {} s later:\n", DRAIN_TIME.as_secs());
                said = said.and_then(|()| print(out, args.output, &(heading + &pass.text)));
                second = Some(pass);
            }
            // The first one is told, and goes on record, all the same.
            Err(error) => failed = Some(error),
        }
    }
    if args.output == Output::Json {
        let json = json(&first.snapshot, second.as_ref().map(|pass| &pass.snapshot))?;
        said = said.and_then(|()| writeln!(out, "{json}"));
    }
    let all = || [Some(&first), second.as_ref()].into_iter().flatten();
    let last = match &second {
        Some(second) => second.snapshot.after(&first.snapshot),
        None => first.snapshot.clone(),
    };
    if acting {
        if second.is_some() && first.exit != Exit::Done {
            passes.record(history::write_last(&directory, &last));
        }
        metrics::write(&config.metrics, &last);
        notify::tell(&config.notify, &directory, &last);
        // The page asks for it, and nothing of a tick does.
        if let Err(error) = frontend::token::Token::kept(&directory) {
            debug!("{}: {error}", frontend::token::FILE);
        }
        second.as_ref().unwrap_or(&first).ask_for_next(&directory);
        // What is sent may take its time: the next tick need not wait for it.
        drop(lock);
        for pass in all() {
            metrics::send(&config.metrics, &pass.snapshot);
        }
    }
    said.context("the report could not be printed")?;
    match failed {
        Some(error) => Err(error),
        None => Ok(all().fold(Exit::Done, |exit, pass| exit.worse(pass.exit))),
    }
}

/// Prints what is for people as soon as it is known.
fn print(out: &mut dyn Write, output: Output, text: &str) -> std::io::Result<()> {
    match output {
        Output::Text => out.write_all(text.as_bytes()).and_then(|()| out.flush()),
        Output::Json => Ok(()),
    }
}

/// Leaves the directory to the tick that has its lock: quietly, unless that one has had it for much longer than a tick
/// may last.
fn leave(directory: &Path, timeout: Duration) -> Exit {
    let place = directory.display();
    match lock::holder(directory, lock::TICK) {
        Some(Holder { pid, since }) if since > timeout * HANGING => {
            error!(
                "another tick, process {pid}, has had the lock of {place} for {} s, and a tick may take {} s: \
                 it is stopped or hangs in the kernel, and nothing is scaled meanwhile. Look at it (ps -o \
                 pid,user,stat,wchan,cmd {pid}), let it go on (kill -CONT {pid}) or end it (kill -KILL {pid}); the \
                 next tick is the clean-up",
                since.as_secs(),
                timeout.as_secs()
            );
            Exit::Unavailable
        }
        Some(_) => {
            info!("another tick has the lock of {place}");
            Exit::Done
        }
        None => unsigned(directory, timeout),
    }
}

/// The same where the holder has not signed: a tick does so at once, so it is another program or another user, who holds up
/// every tick.
fn unsigned(directory: &Path, timeout: Duration) -> Exit {
    let place = directory.display();
    let held = lock::unsigned_for(directory, lock::TICK, &state::file(directory));
    match held.filter(|held| *held > timeout * HANGING) {
        Some(held) => {
            let (who, remedy) = match lock::locked_by(directory, lock::TICK) {
                Some(pid) => (
                    format!("process {pid}"),
                    format!("look at it (ps -o pid,user,cmd {pid}) and end it (kill {pid})"),
                ),
                None => (
                    "a process".to_owned(),
                    format!(
                        "find it with `fuser -v {}` and end it",
                        directory.join(lock::TICK).display()
                    ),
                ),
            };
            error!(
                "{place}: no tick can run: {who} has had {} for at least {} s and is no tick of ehos; {remedy}, and keep other \
                 users out of the directory (chmod 700 {place})",
                lock::TICK,
                held.as_secs()
            );
            Exit::Unavailable
        }
        None => {
            info!("another process has the lock of {place}");
            Exit::Done
        }
    }
}

fn configuration(args: &Tick, environment: &Environment) -> Result<Config, config::Error> {
    let mut config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    if let Some(scenario) = &config.simulation {
        config.policy.clouds = scenario.cloud_policies();
    }
    if args.trust_silence {
        // All of them may fall silent.
        config.policy.vanish_share = 1.0;
        config.policy.trust_silence = true;
    }
    // Without passes for events nothing starts one before the timer.
    config.policy.look_again = args
        .look_again
        .filter(|soon| !soon.is_zero() && !config.event_interval.is_zero());
    Ok(config)
}

/// The simulated world, moved on by one step, where the configuration has one.
fn open_world(config: &Config, directory: &Path) -> Result<Option<Mutex<World>>, state::Error> {
    let Some(scenario) = &config.simulation else {
        return Ok(None);
    };
    let mut world = simulation::file::load(directory, scenario)
        .map_err(|error| state::unwritable(directory, error))?;
    let noclaim_shutdown = config.condor.noclaim_shutdown;
    world.noclaim_shutdown = noclaim_shutdown.map(|time| time.as_secs());
    let lifetime = config.policy.max_lifetime;
    let killed = lifetime.zip(config.policy.max_lifetime_kill);
    world.max_lifetime = lifetime.map(|time| time.as_secs());
    world.jobs_end = killed.map(|(time, more)| time.saturating_add(more).as_secs());
    world.advance(scenario.step_seconds);
    Ok(Some(Mutex::new(world)))
}
