//! Two central managers: a command saves its request in the state of this host alone.

use std::path::Path;

use anyhow::bail;
use serde_json::Value;

use config::Config;
use report::{history, status};
use system::plain::line;

const NOTE: &str = "condor.high_availability: run the same command on the other central manager";

/// `ehos retire` is refused there.
const RETIRE_NOTE: &str = "condor.high_availability: run `ehos pause` on the other central manager, which creates nodes \
                           once it is active";

/// A delete is refused there.
const DELETE_NOTE: &str = "condor.high_availability: if the other central manager becomes active before the delete, run \
                           the same command on the other central manager";

/// What a request of the operator needs elsewhere.
pub(super) fn note(config: &Config) -> Option<&'static str> {
    config.condor.high_availability.then_some(NOTE)
}

pub(super) fn delete_note(config: &Config) -> Option<&'static str> {
    config.condor.high_availability.then_some(DELETE_NOTE)
}

pub(super) fn retire_note(config: &Config) -> Option<String> {
    let note = config.condor.high_availability.then_some(RETIRE_NOTE);
    note.map(str::to_owned)
}

/// The line of a note.
pub(super) fn note_line(note: Option<&str>) -> String {
    note.map_or_else(String::new, |note| line!("{note}"))
}

/// The result with the note.
pub(super) fn with_note(mut result: Value, note: Option<&str>) -> Value {
    if let (Some(fields), Some(note)) = (result.as_object_mut(), note) {
        fields.insert("note".to_owned(), Value::from(note));
    }
    result
}

/// Refuses what only the active ehos does, if this host was on standby at its last tick.
pub(super) fn refuse_standby(config: &Config, directory: &Path) -> anyhow::Result<()> {
    if !config.condor.high_availability {
        return Ok(());
    }
    // Without a report, no tick has acted here either.
    let last = status::last(&history::folder(directory)).ok();
    match last.and_then(|report| report.standby) {
        Some(standby) => bail!(
            "this host is on standby: nothing changed; run the command on the active central manager: {}",
            standby.text
        ),
        None => Ok(()),
    }
}
