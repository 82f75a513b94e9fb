//! `ehos check`.

use std::io::Write;

use crate::cli::Check;
use crate::config::Environment;
use crate::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// None yet.
pub fn run(
    _args: &Check,
    _environment: &Environment,
    _out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    anyhow::bail!("ehos check does not work yet")
}
