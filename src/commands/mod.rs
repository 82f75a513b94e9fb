//! One file for each subcommand.

use std::path::PathBuf;

use crate::cli::Common;
use crate::config::{self, Config};
use crate::environment::Environment;
use crate::history;
use crate::state;

pub mod check;
pub mod cloud_setup;
pub mod config_check;
pub mod config_init;
pub mod config_render;
pub mod config_schema;
pub mod config_show;
pub mod due;
pub mod explain;
pub mod frontend;
pub mod image_build;
pub mod image_list;
pub mod image_prune;
pub mod master_deploy;
pub mod resume;
pub mod status;
pub mod tick;

/// Where the state is kept: as the command line, the environment or the configuration says.
fn state_directory(
    common: &Common,
    config: &Config,
    environment: &Environment,
) -> Result<PathBuf, state::Error> {
    match common.state_dir.as_ref().or(config.state_dir.as_ref()) {
        Some(directory) => Ok(environment.working_directory.join(directory)),
        None => state::default_directory(
            |name| environment.variables.get(name).cloned(),
            state::owns_system_directory(),
        ),
    }
}

/// Where the ticks keep their state, for a user who may be another one than theirs: where nothing names the directory and
/// this user has none, that of the system is meant.
fn directory_of_ticks(
    common: &Common,
    config: &Config,
    environment: &Environment,
) -> Result<PathBuf, state::Error> {
    let own = state_directory(common, config, environment);
    let is_given = common.state_dir.is_some() || config.state_dir.is_some();
    let system = environment
        .root
        .join(system::rights::SYSTEM_DIRECTORY.trim_start_matches('/'));
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
    let own = state::default_directory(variable, state::owns_system_directory());
    let system = environment
        .root
        .join(system::rights::SYSTEM_DIRECTORY.trim_start_matches('/'));
    match own {
        Ok(own) if history::folder(&own).exists() || !system.exists() => Ok(own),
        Err(error) if !system.exists() => Err(error.into()),
        Ok(_) | Err(_) => Ok(system),
    }
}
