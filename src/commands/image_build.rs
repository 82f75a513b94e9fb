//! `ehos image build`.

use std::io::Write;

use crate::cli::ImageBuild;
use crate::config::Environment;
use crate::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// None yet.
pub fn run(
    _args: &ImageBuild,
    _environment: &Environment,
    _out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    anyhow::bail!("ehos image build does not work yet")
}
