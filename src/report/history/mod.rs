//! The history: a record for each tick in `history/YYYY-MM-DD.jsonl`, and the last tick report in `history/last.json`.
//!
//! For people, programs and the page. No decision depends on it.
//!
//! Every user can read the folder, so that a page can run as a user of its own. Reports contain no secrets.

pub mod life;
mod previous;
mod read;
mod record;
mod rollup;
mod sample;
pub mod search;
pub mod steps;
mod write;

#[cfg(test)]
mod rollup_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use previous::{Previous, PreviousGroup, PreviousNode};
pub use read::{Day, UnreadDay, days, last, parse};
pub use record::{CloudCounts, CostCounts, Event, GroupCounts, Record, VERSION, limits, owners};
pub use rollup::{Steps, first_tick, steps};
pub use write::{write, write_last};

/// The folder of the history in the state directory.
pub fn folder(state_directory: &Path) -> PathBuf {
    state_directory.join(tick::state_directory::HISTORY)
}

/// The file of the last tick in the folder of the history.
pub fn last_file(folder: &Path) -> PathBuf {
    folder.join(LAST)
}

/// The name of the last tick's file.
pub(crate) const LAST: &str = "last.json";

/// How the names of the days' files end.
const DAY: &str = ".jsonl";

/// How the names of their files of steps end.
const STEPS: &str = ".steps";
