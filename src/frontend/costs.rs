//! Cost and use by owner, for each day of the current month: from the steps of the history.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use report::history::steps::{Series, Step};
use report::history::{self, UnreadDay};
use scaling::figures::OTHERS;
use scaling::sorting;

/// A day of UTC in milliseconds.
const DAY: i64 = 86_400_000;

const HOUR: f64 = 3600.0;

/// Owners that have a colour; the others are one.
const OWNERS: usize = 7;

/// The month so far.
#[derive(Debug, Serialize)]
pub struct Costs {
    /// The month (UTC), as `2026-11`.
    month: String,
    /// Those that use most, the first one most.
    owners: Vec<String>,
    days: Vec<Day>,
    unread: Vec<UnreadDay>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Day {
    /// As `2026-11-05`.
    day: String,
    /// None without any price.
    cost: Option<f64>,
    paid_core_hours: Option<f64>,
    /// Core-hours by owner.
    owners: BTreeMap<String, f64>,
}

impl Costs {
    /// Reads the month of `now`. `are_hidden`: no owner is named, also none of a record that names some.
    pub fn read(folder: &Path, now: Timestamp, are_hidden: bool) -> Costs {
        let zoned = now.to_zoned(TimeZone::UTC);
        let first = zoned.date().first_of_month();
        let from = first.to_zoned(TimeZone::UTC);
        let from = from.map_or(now, |from| from.timestamp()).as_millisecond();
        let count = usize::try_from(zoned.day()).unwrap_or(1);
        let read = history::steps(folder, from, DAY, count, now.as_millisecond());
        let mut used: BTreeMap<String, f64> = BTreeMap::new();
        for step in &read.row.steps {
            for (owner, core_seconds) in &step.owners {
                *used.entry(owner.clone()).or_default() += core_seconds;
            }
        }
        let mut owners: Vec<(String, f64)> = used.into_iter().collect();
        owners.retain(|(owner, _)| owner != OTHERS);
        sorting::by(&mut owners, |(_, one), (_, other)| other.total_cmp(one));
        let owners: Vec<String> = owners
            .into_iter()
            .take(if are_hidden { 0 } else { OWNERS })
            .map(|(name, _)| name)
            .collect();
        let steps = read.row.steps.iter().enumerate();
        let days = steps.map(|(number, step)| {
            let number = i64::try_from(number).unwrap_or_default();
            let date = first.checked_add(number.days()).unwrap_or(first);
            Day::of(date.to_string(), step, &owners)
        });
        Costs {
            month: zoned.strftime("%Y-%m").to_string(),
            days: days.collect(),
            owners,
            unread: read.unread,
        }
    }
}

impl Day {
    fn of(day: String, step: &Step, named: &[String]) -> Day {
        let hours = |series| {
            let integral = step.value(series);
            integral.mean().map(|_| integral.0 / HOUR)
        };
        let mut owners: BTreeMap<String, f64> = BTreeMap::new();
        for (owner, core_seconds) in &step.owners {
            let name = named.iter().find(|name| *name == owner);
            let name = name.map_or(OTHERS, String::as_str);
            *owners.entry(name.to_owned()).or_default() += core_seconds / HOUR;
        }
        Day {
            day,
            cost: hours(Series::CostPerHour),
            paid_core_hours: hours(Series::PaidCores),
            owners,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_days_and_the_owners_that_use_most() {
        let folder = tempfile::tempdir().unwrap();
        let line = |at: &str, owners: &str| {
            format!(
                "{{\"at\":\"{at}\",\"collector\":true,\"cores\":{{\"paid\":8,\"claimed\":4}},\"cost\":{{\"per_hour\":2.0}},\
                 \"owners\":{owners}}}\n"
            )
        };
        let many: Vec<String> = (0..9)
            .map(|number| format!("\"u{number}\":{}", number + 1))
            .collect();
        let second = line("2026-11-02T10:00:00Z", "{\"alice\":4}")
            + &line("2026-11-02T10:05:00Z", &format!("{{{}}}", many.join(",")))
            + &line("2026-11-02T10:06:00Z", "{}");
        std::fs::write(folder.path().join("2026-11-02.jsonl"), second).unwrap();
        let now = "2026-11-03T12:00:00Z".parse().unwrap();
        let costs = Costs::read(folder.path(), now, false);
        assert_eq!((costs.month.as_str(), costs.days.len()), ("2026-11", 3));
        assert_eq!(costs.days[0].owners, BTreeMap::new());
        assert_eq!(costs.days[0].paid_core_hours, None);
        let day = &costs.days[1];
        assert_eq!(day.day, "2026-11-02");
        // Five minutes and one minute; the last tick is valid for five more.
        assert_eq!(day.paid_core_hours, Some(8.0 * 660.0 / HOUR));
        assert_eq!(day.cost, Some(2.0 * 660.0 / HOUR));
        assert_eq!(day.owners["alice"], 4.0 * 300.0 / HOUR);
        assert_eq!(costs.owners.len(), OWNERS);
        assert_eq!(costs.owners[0], "alice");
        assert_eq!(day.owners[OTHERS], (1.0 + 2.0 + 3.0) * 60.0 / HOUR);
        let hidden = Costs::read(folder.path(), now, true);
        assert!(hidden.owners.is_empty());
        let owners: Vec<&String> = hidden.days[1].owners.keys().collect();
        assert_eq!(owners, [OTHERS]);
    }
}
