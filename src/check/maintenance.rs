//! Pauses that operators have requested: no problem, and an answer to "why does ehos create no node?".

use std::path::Path;

use jiff::Timestamp;

use super::Finding;
use config::Config;
use tick::state_directory;

const CHECK: &str = "pause";

/// The pauses that are active. A state that cannot be read is the affair of the other checks.
pub fn check(config: &Config, directory: &Path) -> Vec<Finding> {
    let Ok(loaded) = state_directory::load(directory, false) else {
        return Vec::new();
    };
    let state = loaded.state;
    let simulated = config.simulation.as_ref().and(state.last_tick);
    let at = simulated.unwrap_or_else(Timestamp::now);
    let pauses = state.active_pauses(at);
    pauses
        .map(|pause| Finding::ok(CHECK, pause.to_string()))
        .collect()
}
