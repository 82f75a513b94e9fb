//! `ehos master deploy`.

use std::io::Write;

use crate::cli::MasterDeploy;
use crate::config::Environment;
use crate::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// None yet.
pub fn run(
    _args: &MasterDeploy,
    _environment: &Environment,
    _out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    anyhow::bail!("ehos master deploy does not work yet")
}
