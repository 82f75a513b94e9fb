//! `ehos cloud setup`.

use std::io::Write;

use crate::cli::CloudSetup;
use crate::config::Environment;
use crate::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// None yet.
pub fn run(
    _args: &CloudSetup,
    _environment: &Environment,
    _out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    anyhow::bail!("ehos cloud setup does not work yet")
}
