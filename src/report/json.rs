//! A tick in JSON.

use serde::Serialize;

use super::Snapshot;

#[derive(Serialize)]
struct Tick<'a> {
    #[serde(flatten)]
    first: &'a Snapshot,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_pass: Option<&'a Snapshot>,
}

/// The report of a tick as one JSON object: that of its first pass, with that of the second, if there was one, as `second_pass`.
///
/// # Errors
/// None that a report can cause.
pub fn json(first: &Snapshot, second_pass: Option<&Snapshot>) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Tick { first, second_pass })
}
