//! The history of one node for the page.

use serde::Serialize;

use super::decisions::Decision;
use report::history::UnreadDay;
use report::tick_report::NodeReport;

/// It, and what happened to it.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// As the last tick saw it; none when it is gone.
    pub node: Option<&'a NodeReport>,
    /// The oldest first.
    pub events: Vec<Decision>,
    /// Days that are missing from them.
    pub unread: Vec<UnreadDay>,
}
