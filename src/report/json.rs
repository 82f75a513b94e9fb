//! A tick in JSON.

use super::{Report, Snapshot};

/// The report as one JSON object.
///
/// # Errors
/// None that a report can cause.
pub fn json(report: &Report<'_>) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Snapshot::of(report))
}
