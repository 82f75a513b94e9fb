//! Formats of the numbers in the table.

use scaling::figures::{CloudFigures, UsageFigures};
use scaling::money::Money;

use crate::TickReport;

pub(super) fn of_maximum(number: u64, maximum: Option<u64>) -> String {
    match maximum {
        Some(maximum) => format!("{number}/{maximum}"),
        None => number.to_string(),
    }
}

pub(super) fn quota_left(usage: UsageFigures, unit: &dyn Fn(u64) -> String) -> String {
    match usage.limit {
        Some(limit) => {
            let left = limit.saturating_sub(usage.used);
            format!("{}/{}", unit(left), unit(limit))
        }
        None => "unlimited".to_owned(),
    }
}

pub(super) fn budget_left(snapshot: &TickReport, cloud: &CloudFigures) -> (String, String) {
    let costs = snapshot.cost.iter().flat_map(|cost| &cost.clouds);
    let cost = costs.into_iter().find(|cost| cost.cloud == cloud.cloud);
    (
        money_left(
            cloud.budget.per_month,
            cost.map(|cost| cost.spent_this_month),
        ),
        money_left(cloud.budget.per_hour, cost.map(|cost| cost.per_hour)),
    )
}

pub(super) fn money_left(budget: Option<Money>, spent: Option<Money>) -> String {
    match budget {
        Some(budget) => {
            let left = budget.minus(spent.unwrap_or_default());
            format!("{left}/{budget}")
        }
        None => "-".to_owned(),
    }
}

#[allow(clippy::cast_precision_loss)] // One decimal of it is shown.
pub(super) fn memory(mb: u64) -> String {
    if mb < 10 * 1024 {
        format!("{mb} MB")
    } else {
        format!("{:.0} GB", mb as f64 / 1024.0)
    }
}

#[allow(clippy::cast_precision_loss)] // One decimal of it is shown.
pub(super) fn took(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{:.1} s", milliseconds as f64 / 1000.0)
    }
}

pub(super) fn join(parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let parts: Vec<String> = parts
        .into_iter()
        .map(|part| part.as_ref().to_owned())
        .collect();
    parts.join(", ")
}
