//! Passes are seconds to minutes apart: the bounds that hold for a minute, whatever the distance of passes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::TickInstant;

/// A minute, less what a timer's start may be late. Passes that are this far apart are independent: a fault of some seconds is
/// in two that are closer.
pub const MINUTE: Duration = Duration::from_secs(55);

/// What one pass has planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pass {
    at: TickInstant,
    /// Creates, deletes and removals.
    changes: u64,
    drains: u64,
}

/// The actions of the last minute: `max_actions` bounds them together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecentActions(Vec<Pass>);

/// Actions of several passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActionCounts {
    /// Creates, deletes and removals.
    pub changes: u64,
    /// Drains.
    pub drains: u64,
}

impl RecentActions {
    /// Forgets passes of more than a minute ago, and counts the actions of the others.
    pub fn count(&mut self, now: TickInstant) -> ActionCounts {
        self.0.retain(|pass| now.since(pass.at) < MINUTE);
        let mut counts = ActionCounts::default();
        for pass in &self.0 {
            counts.changes = counts.changes.saturating_add(pass.changes);
            counts.drains = counts.drains.saturating_add(pass.drains);
        }
        counts
    }

    /// Adds a pass.
    pub fn add(&mut self, at: TickInstant, counts: ActionCounts) {
        let ActionCounts { changes, drains } = counts;
        if changes > 0 || drains > 0 {
            self.0.push(Pass {
                at,
                changes,
                drains,
            });
        }
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_count_for_a_minute() {
        let at = |seconds| TickInstant::default().plus(Duration::from_secs(seconds));
        let mut recent = RecentActions::default();
        let done = |changes, drains| ActionCounts { changes, drains };
        recent.add(at(0), done(3, 1));
        recent.add(at(10), done(2, 0));
        recent.add(at(20), done(0, 0));
        assert_eq!(recent.count(at(20)), done(5, 1));
        assert_eq!(recent.count(at(54)), done(5, 1));
        assert_eq!(recent.count(at(55)), done(2, 0));
        assert_eq!(recent.count(at(65)), done(0, 0));
        assert!(recent.is_empty());
    }
}
