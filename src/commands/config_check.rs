//! `ehos config check`: checks the configuration without a query to any service.

use std::io::Write;

use crate::cli::ConfigCheck;
use system::environment::Environment;
use system::exit::Exit;

/// Loads the configuration and prints its files, notes, and that it is valid.
///
/// # Errors
/// Every problem of the configuration ([`config::Error`]).
pub fn run(
    args: &ConfigCheck,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let named = &args.common.config;
    for file in config::files(named, environment)? {
        writeln!(out, "file {}", file.display())?;
    }
    // Nothing is written: the first command that needs a pool id creates it.
    let config = config::ensure_cluster(named, environment, true)?;
    let more = config
        .files
        .iter()
        .skip(config::files(named, environment)?.len());
    for file in more {
        writeln!(out, "file {}", file.display())?;
    }
    for note in &config.notes {
        writeln!(out, "note: {note}")?;
    }
    let clouds: Vec<&str> = config.clouds.iter().map(|cloud| &*cloud.name).collect();
    let what = match (&config.simulation, clouds.as_slice()) {
        (Some(_), _) => "a simulated site".to_owned(),
        (None, [only]) => format!("cloud {only}"),
        (None, several) => format!("clouds {}", several.join(", ")),
    };
    writeln!(out, "the configuration is valid: {what}")?;
    Ok(Exit::Done)
}
