//! `ehos config init`.

use std::io::Write;

use crate::cli::ConfigInit;
use crate::config::Environment;
use crate::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// None yet.
pub fn run(
    _args: &ConfigInit,
    _environment: &Environment,
    _out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    anyhow::bail!("ehos config init does not work yet")
}
