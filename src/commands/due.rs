//! `ehos due`: reports whether a tick is due before the next minute.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use crate::cli::Due;
use crate::commands::state_directory;
use crate::wake::{self, NextPass};
use system::environment::Environment;
use system::exit::Exit;
use tick::state_directory;

/// The longest that it waits in all: by then the timer's tick has come.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Says by its exit code whether a tick is due: [`Exit::Done`] or [`Exit::Failed`].
///
/// With `--wait` one that is due later is waited for, with a look at the log each time: a process that systemd starts costs
/// a hundred times as much as such a look.
///
/// # Errors
/// There is no place for a state directory, or it is another user's and this is root.
pub fn run(args: &Due, environment: &Environment) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let wait = args.wait.unwrap_or_default().min(MAX_WAIT);
    thread::sleep(wait);
    let Some(directory) = directory(args, environment)? else {
        return Ok(Exit::Failed);
    };
    // Root writes to no directory of another user.
    state_directory::prepare(&directory)?;
    let mut log = wake::log_size(&directory);
    loop {
        let waits = !wait.is_zero() && began.elapsed() < MAX_WAIT;
        match wake::look(&directory) {
            NextPass::Due => return Ok(Exit::Done),
            NextPass::In(time) if waits => thread::sleep(time.min(wait)),
            // The next change of a log that changes all the time would start another process.
            NextPass::OfTimer if waits => {
                thread::sleep(wait);
                let before = std::mem::replace(&mut log, wake::log_size(&directory));
                if log == before {
                    return Ok(Exit::Failed);
                }
            }
            NextPass::In(_) | NextPass::OfTimer => return Ok(Exit::Failed),
        }
    }
}

/// The state directory that has the record of a tick. The configuration is read only where it may name another one: this is
/// run every few seconds while jobs come and end.
fn directory(args: &Due, environment: &Environment) -> anyhow::Result<Option<PathBuf>> {
    let variable = |name: &str| environment.variables.get(name).cloned();
    let usual = match &args.common.state_dir {
        Some(directory) => environment.working_directory.join(directory),
        None => {
            state_directory::default_directory(variable, state_directory::owns_system_directory())?
        }
    };
    if wake::has_record(&usual) {
        return Ok(Some(usual));
    }
    // A tick says it, once a minute; this may be run every few seconds.
    let config = match config::load(&args.common.config, environment) {
        Ok(config) => config,
        Err(error) => {
            debug!("{error}");
            return Ok(None);
        }
    };
    let configured = state_directory(&args.common, &config, environment)?;
    Ok(wake::has_record(&configured).then_some(configured))
}
