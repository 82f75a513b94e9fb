//! The last tick as the next one needs it: what has changed since, and since when.
//!
//! Most of a tick report is left unread here: with 10,000 nodes it takes 5 MB.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::LAST;
use super::read::there;
use crate::names::{Named, ReasonName};
use scaling::maintenance::Requests;
use scaling::names::PhaseName;
use scaling::plan::NodeDecision;
use system::own_file;

/// The last tick.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Previous {
    pub at: Timestamp,
    pub nodes: Vec<PreviousNode>,
    #[serde(rename = "job_groups", alias = "groups")]
    pub groups: Vec<PreviousGroup>,
}

/// A group of waiting jobs in the last tick.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreviousGroup {
    pub id: String,
    pub since: Option<Timestamp>,
    #[serde(rename = "reasons", alias = "why")]
    pub why: Vec<PreviousReason>,
}

/// A reason of such a group.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreviousReason {
    pub reason: Named<ReasonName>,
    limit: Value,
}

impl PreviousReason {
    /// The name of the limit in it.
    pub fn limit(&self) -> Option<&str> {
        self.limit.get("name")?.as_str()
    }
}

/// A node in the last tick.
#[derive(Debug, Deserialize)]
pub struct PreviousNode {
    pub node: String,
    pub phase: Named<PhaseName>,
    #[serde(default)]
    pub requests: Requests,
    #[serde(alias = "fate")]
    pub decision: Named<NodeDecision>,
    #[serde(default)]
    pub reason: Named<ReasonName>,
}

impl Previous {
    /// The tick of the last report on disk; `None` before the first one.
    ///
    /// # Errors
    /// The report cannot be read.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Previous>> {
        let text = there(own_file::read(&folder.join(LAST)))?;
        let parsed = text.map(|text| serde_json::from_slice(&text));
        Ok(parsed.transpose()?)
    }
}
