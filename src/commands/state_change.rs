//! A change of the state by a command: under the lock of the ticks, and saved as a whole or not at all.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use log::warn;

use crate::cli::Common;
use crate::commands::{refuse_other_pool, state_directory};
use config::Config;
use scaling::state::State;
use system::deadline::Deadline;
use system::environment::Environment;
use system::lock::{self, Lock, try_lock};
use system::plain::clean;
use system::rights;
use tick::state_directory;

/// The pause between attempts to take the lock.
const POLL: Duration = Duration::from_millis(100);

/// The longest name of a user that is kept.
const NAME_MAX: usize = 64;

/// The state, while no tick runs.
pub(super) struct StateChange {
    pub(super) state: State,
    directory: PathBuf,
    _lock: Lock,
}

impl StateChange {
    /// Waits for a running tick, which would overwrite the change, and loads the state.
    ///
    /// # Errors
    /// The state directory, or a tick that does not end.
    pub(super) fn begin(
        common: &Common,
        config: &Config,
        environment: &Environment,
    ) -> anyhow::Result<StateChange> {
        let directory = state_directory(common, config, environment)?;
        state_directory::prepare(&directory)?;
        let lock = lock_after_tick(&directory, config.timeouts.tick)?;
        let loaded = state_directory::load(&directory, true)?;
        if let Some(notice) = loaded.notice {
            warn!("{notice}");
        }
        refuse_other_pool(&loaded.state, config, &directory)?;
        Ok(StateChange {
            state: loaded.state,
            directory,
            _lock: lock,
        })
    }

    /// Saves the state in one step.
    ///
    /// # Errors
    /// The state directory; the old state is then still whole.
    pub(super) fn save(&self) -> Result<(), state_directory::Error> {
        state_directory::save(&self.directory, &self.state)
    }
}

/// The user who gives this command: of `sudo`, the one who called it.
pub(super) fn user(environment: &Environment) -> String {
    let by_sudo = environment.variables.get("SUDO_USER");
    let by_sudo = by_sudo.filter(|name| !name.is_empty());
    let name = match by_sudo {
        Some(name) => name.clone(),
        None => rights::own_name(),
    };
    clean(&name).chars().take(NAME_MAX).collect()
}

fn lock_after_tick(directory: &Path, longest_tick: Duration) -> anyhow::Result<Lock> {
    let deadline = Deadline::within(longest_tick + Duration::from_secs(5));
    loop {
        let lock = try_lock(directory, lock::TICK)
            .map_err(|error| state_directory::unlockable(directory, lock::TICK, error))?;
        match lock {
            Some(lock) => return Ok(lock),
            None if deadline.passed() => bail!(
                "state directory {}: a tick has held the lock for longer than daemon.tick_timeout {} s; check \
                 `systemctl status ehos.service`, then try again",
                directory.display(),
                longest_tick.as_secs()
            ),
            None => thread::sleep(POLL),
        }
    }
}
