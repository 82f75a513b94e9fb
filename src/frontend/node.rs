//! One node.

use serde::Serialize;

use super::decisions::Decision;
use crate::report::snapshot::NodeShown;

/// It, and what happened to it.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// As the last tick saw it; none when it is gone.
    pub node: Option<&'a NodeShown>,
    /// The oldest first.
    pub events: Vec<Decision>,
}

/// Whether it is called so: its id, its server's name or UUID, or its host name.
pub fn is(node: &NodeShown, name: &str) -> bool {
    node.node == name
        || node.name == name
        || node.server.id.as_deref() == Some(name)
        || node
            .startd
            .as_ref()
            .is_some_and(|startd| startd.machine == name)
}
