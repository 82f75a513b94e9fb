//! One file for each subcommand.

use std::path::PathBuf;

use crate::cli::Common;
use crate::config::{Config, Environment};
use crate::state;

pub mod check;
pub mod cloud_setup;
pub mod config_check;
pub mod config_init;
pub mod config_render;
pub mod config_show;
pub mod frontend;
pub mod image_build;
pub mod image_list;
pub mod image_prune;
pub mod master_deploy;
pub mod resume;
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
