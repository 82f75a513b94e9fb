//! Short names of runs: keys without their sections, where that leaves no doubt.

use std::collections::{BTreeMap, BTreeSet};

use replay::comparison::Run;
use scaling::sorting::IntoSet;

/// A name for each run, in their order.
pub(super) fn short(runs: &[Run]) -> Vec<String> {
    let keys: BTreeSet<&str> = runs
        .iter()
        .flat_map(|run| run.settings.keys().map(String::as_str))
        .into_set();
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for key in &keys {
        *ends.entry(end(key)).or_default() += 1;
    }
    let short = |key: &str| match ends.get(end(key)) {
        Some(1) => end(key).to_owned(),
        _ => key.to_owned(),
    };
    let name = |run: &Run| {
        if run.settings.is_empty() {
            return run.name.clone();
        }
        let settings = run.settings.iter();
        let words = settings.map(|(key, value)| format!("{}={value}", short(key)));
        words.collect::<Vec<_>>().join(" ")
    };
    runs.iter().map(name).collect()
}

/// The key without its section.
fn end(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
