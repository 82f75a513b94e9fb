//! `ehos config schema`: the JSON schema of ehos.yaml.

use std::io::Write;

use config::schema;
use system::exit::Exit;

/// Prints the schema.
///
/// # Errors
/// When it cannot be printed.
pub fn run(out: &mut dyn Write) -> anyhow::Result<Exit> {
    let text = serde_json::to_string_pretty(&schema::schema())?;
    writeln!(out, "{text}")?;
    Ok(Exit::Done)
}
