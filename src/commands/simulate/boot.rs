//! Boot times by the history of ehos: from the create of a node to the middle between the first tick that found it in the
//! pool and the tick before.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cli::Common;
use crate::commands::state_directory;
use config::Config;
use report::history::{self, Record};
use scaling::names::PhaseName;
use scaling::plan::NodeDecision;
use system::environment::Environment;

/// With fewer nodes a distribution says nothing.
const FEWEST: usize = 5;
/// So many quantiles stand for the distribution.
const QUANTILES: usize = 20;

/// Quantiles of the boot times in the history, in ascending order; `None` where it has too few nodes.
///
/// # Errors
/// The state directory cannot be found.
pub fn measured(
    common: &Common,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Option<Vec<u32>>> {
    let directory = state_directory(common, config, environment)?;
    let mut created: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut times: Vec<u32> = Vec::new();
    let mut before: Option<Timestamp> = None;
    for day in history::days(&history::folder(&directory)).unwrap_or_default() {
        let take = |line: String| {
            if let Some(record) = history::parse::<Record>(&line) {
                let before = before.replace(record.at).unwrap_or(record.at);
                learn(&record, before, &mut created, &mut times);
            }
        };
        if let Err(error) = day.each_line(take) {
            log::warn!("{}: left out: {error}", directory.display());
        }
    }
    times.sort_unstable();
    let quantile = |number: usize| times.get(number * (times.len() - 1) / QUANTILES).copied();
    Ok((times.len() >= FEWEST).then(|| (0..=QUANTILES).filter_map(quantile).collect()))
}

fn learn(
    record: &Record,
    before: Timestamp,
    created: &mut BTreeMap<String, Timestamp>,
    times: &mut Vec<u32>,
) {
    let since = |then: Timestamp| record.at.duration_since(then).as_secs();
    for event in &record.events {
        if event.decision.known() == Some(NodeDecision::Create) {
            created.insert(event.node.clone(), record.at);
        } else if matches!(event.phase.known(), Some(PhaseName::Idle | PhaseName::Busy))
            && let Some(then) = created.remove(&event.node)
        {
            let seconds = since(then) - since(before.max(then)) / 2;
            times.extend(u32::try_from(seconds));
        }
    }
}
