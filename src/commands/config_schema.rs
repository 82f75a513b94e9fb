//! `ehos config schema`: the JSON schema of ehos.yaml.

use std::io::Write;

use config::schema;
use system::exit::Exit;
use system::json;

/// Prints the schema.
///
/// # Errors
/// When it cannot be printed.
pub fn run(out: &mut dyn Write) -> anyhow::Result<Exit> {
    json::write_pretty(out, &schema::schema())?;
    Ok(Exit::Done)
}
