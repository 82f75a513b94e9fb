//! One file for each subcommand.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use crate::cli::{Common, Output};
use config::{self, Config};
use report::history;
use scaling::state::State;
use system::environment::Environment;
use system::json;
use system::lock::{Lock, try_lock};

pub mod check;
pub mod cloud_setup;
pub mod completions;
pub mod config_check;
pub mod config_init;
pub mod config_render;
pub mod config_schema;
pub mod config_show;
pub mod cost;
pub mod delete;
pub mod drain;
pub mod due;
pub mod explain;
pub mod frontend;
mod high_availability;
pub mod image_build;
pub mod image_list;
pub mod image_prune;
pub mod keep;
pub mod man;
pub mod master_deploy;
mod nodes;
pub mod pause;
pub mod resume;
pub mod retire;
pub mod simulate;
mod state_change;
pub mod status;
pub mod tick;
mod until;

/// Takes the lock `name` of a state directory, or fails while another `command` holds it.
fn only_one(directory: &Path, name: &str, command: &str) -> anyhow::Result<Lock> {
    let lock = try_lock(directory, name)
        .map_err(|error| ::tick::state_directory::unlockable(directory, name, error))?;
    lock.ok_or_else(|| {
        anyhow!(
            "state directory {}: locked by another `{command}`; wait until it ends, or give another --state-dir",
            directory.display()
        )
    })
}

/// Checks that the configuration has these clouds.
///
/// # Errors
/// A name that it does not have; the error lists the known names.
fn known_clouds(config: &Config, names: &[String]) -> Result<(), config::Error> {
    let simulated = config
        .simulation
        .iter()
        .flat_map(|scenario| scenario.clouds.keys());
    let known: Vec<&String> = simulated.collect();
    let others = names.iter().filter(|name| !known.contains(name));
    let others: Vec<String> = others.cloned().collect();
    match others.is_empty() {
        true => Ok(()),
        false => config.chosen(&others).map(drop),
    }
}

/// Writes a result to `out`, for people or for programs.
fn print(
    out: &mut dyn Write,
    output: Output,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> anyhow::Result<()> {
    let printed = match output {
        Output::Text => text(),
        Output::Json => json::pretty(&json())?,
    };
    out.write_all(printed.as_bytes())
        .context("the result cannot be printed")
}

/// The state directory of the command line, the environment or the configuration.
fn state_directory(
    common: &Common,
    config: &Config,
    environment: &Environment,
) -> Result<PathBuf, ::tick::state_directory::Error> {
    match common.state_dir.as_ref().or(config.state_dir.as_ref()) {
        Some(directory) => Ok(environment.working_directory.join(directory)),
        None => ::tick::state_directory::default_directory(
            |name| environment.variables.get(name).cloned(),
            ::tick::state_directory::owns_system_directory(),
        ),
    }
}

/// The id of another pool, if the state is that pool's. A state that no tick of this version has saved has none.
fn other_pool<'s>(state: &'s State, config: &Config) -> Option<&'s str> {
    let configured = &config.policy.cluster;
    let saved = state.cluster.as_deref();
    saved.filter(|saved| !configured.is_empty() && saved != configured)
}

/// Refuses a state of another pool.
fn refuse_other_pool(state: &State, config: &Config, directory: &Path) -> anyhow::Result<()> {
    let Some(other) = other_pool(state, config) else {
        return Ok(());
    };
    bail!(
        "state directory {}: of pool {other}, and the configuration is of pool {}: nothing changed; give --state-dir",
        directory.display(),
        config.policy.cluster
    )
}

/// The state directory of the default pool of this host.
fn system_directory(environment: &Environment) -> PathBuf {
    let path = system::rights::SYSTEM_DIRECTORY.trim_start_matches('/');
    environment.root.join(path)
}

/// Where the ticks keep their state, for a user who may be another one than theirs: where nothing names the directory and
/// this user has none, that of the system is meant.
fn directory_of_ticks(
    common: &Common,
    config: &Config,
    environment: &Environment,
) -> Result<PathBuf, ::tick::state_directory::Error> {
    let own = state_directory(common, config, environment);
    let is_given = common.state_dir.is_some() || config.state_dir.is_some();
    let system = system_directory(environment);
    match own {
        Ok(own) if is_given || own.exists() || !system.exists() => Ok(own),
        Err(error) if !system.exists() => Err(error),
        Ok(_) | Err(_) => Ok(system),
    }
}

/// Where the state is kept, for who only looks at it: the configuration need not be there, nor be readable, where it is not
/// named. Where this user's own folder has no history, that of the system is meant.
fn state_directory_of_reader(
    common: &Common,
    environment: &Environment,
) -> anyhow::Result<PathBuf> {
    let given = match &common.state_dir {
        Some(directory) => Some(directory.clone()),
        None => config::for_reader(&common.config, environment)?.state_dir,
    };
    if let Some(directory) = given {
        return Ok(environment.working_directory.join(directory));
    }
    let variable = |name: &str| environment.variables.get(name).cloned();
    let own = ::tick::state_directory::default_directory(
        variable,
        ::tick::state_directory::owns_system_directory(),
    );
    let system = system_directory(environment);
    match own {
        Ok(own) if history::folder(&own).exists() || !system.exists() => Ok(own),
        Err(error) if !system.exists() => Err(error.into()),
        Ok(_) | Err(_) => Ok(system),
    }
}
