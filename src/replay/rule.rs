//! The rules that a workload can be replayed under.

#![warn(missing_docs)]

pub mod ehos;
pub mod peers;

use std::collections::BTreeMap;

use crate::site::Site;
use crate::workload::Seconds;

/// What a pass of a rule did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Creates, drains and deletes.
    pub actions: u64,
    /// Jobs that wait for nodes that a limit forbids, by the name of the limit.
    pub limited: BTreeMap<String, u64>,
    /// The rule passes once more after so many seconds, whatever happens.
    pub again_after: Option<Seconds>,
}

/// A rule of scaling: decides at each pass which nodes are created, drained and deleted.
pub trait Rule {
    /// One pass at `site.now`.
    fn pass(&mut self, site: &mut Site<'_>) -> Pass;

    /// Time without any progress after which no more is to be expected.
    fn patience(&self) -> Seconds {
        3 * 86_400
    }

    /// When the next pass begins, seen from `site.now`: at the latest with the next tick of the timer, at `timer`.
    fn next_pass(&self, site: &Site<'_>, timer: Seconds) -> Seconds {
        let _ = site;
        timer
    }
}
