//! What is said of costs, taken together: flavors with prices and flavors without.

use std::collections::BTreeMap;

use super::diagnostics::Diagnostics;
use super::document::Section;
use scaling::policy::Policy;

/// Notes what `ehos:` says of flavors that no cloud has.
pub(super) fn unlisted(context: &mut Diagnostics<'_>, ehos: &Section, policy: &Policy) {
    let listed = |name: &String| policy.clouds.iter().any(|c| c.flavors.contains(name));
    let prices: BTreeMap<String, f64> = ehos.value("prices").unwrap_or_default();
    for name in prices.keys().filter(|name| !listed(name)) {
        context.note(
            &["ehos", "prices", name],
            "no cloud has it as a flavor of new nodes: this price counts only for nodes that still run",
        );
    }
    let gpus: BTreeMap<String, u64> = ehos.value("gpus").unwrap_or_default();
    for name in gpus.keys().filter(|name| !listed(name)) {
        context.note(
            &["ehos", "gpus", name],
            "not used: no cloud has it as a flavor of new nodes",
        );
    }
}

/// Notes how flavors without a price are counted beside others that have one, where that decides.
pub(super) fn check(context: &mut Diagnostics<'_>, policy: &Policy) {
    let judged = policy.allocation.judges();
    let priced = policy.clouds.iter().any(|cloud| !cloud.prices.is_empty());
    if !judged || !priced {
        return;
    }
    let how = match policy.core_price {
        Some(price) => format!("core_price, {price} an hour for each of its cores"),
        None => "the most expensive core of the others".to_owned(),
    };
    for cloud in policy.clouds.iter().filter(|cloud| !cloud.retire) {
        let without: Vec<&str> = cloud
            .flavors
            .iter()
            .filter(|flavor| !cloud.prices.contains_key(*flavor))
            .map(String::as_str)
            .collect();
        if !without.is_empty() {
            context.note(
                &["clouds", &cloud.name],
                (
                    format!(
                        "{} has no price, and other flavors have one: counted as {how}",
                        without.join(", ")
                    ),
                    "set it under `prices` (0 where it costs nothing)",
                ),
            );
        }
    }
}
