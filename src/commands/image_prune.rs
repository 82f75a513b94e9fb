//! `ehos image prune`.

use std::io::Write;

use crate::cli::ImagePrune;
use crate::config::Environment;
use crate::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// None yet.
pub fn run(
    _args: &ImagePrune,
    _environment: &Environment,
    _out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    anyhow::bail!("ehos image prune does not work yet")
}
