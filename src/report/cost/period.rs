//! The time that a report covers, and its days.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Longest period, in days.
const DAYS_MAX: usize = 3660;

/// A time in milliseconds of Unix time, with the days in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// Its begin.
    pub from: i64,
    /// Its end, which is not part of it.
    pub to: i64,
    /// The begin of each day in it, with the day.
    pub days: Vec<(i64, Date)>,
    /// A later end that was asked for: the period is not over.
    pub is_open: bool,
}

/// The begin of a day. A day whose midnight the clocks skip begins later.
fn begin(date: Date, zone: &TimeZone) -> i64 {
    let begin = date.to_zoned(zone.clone());
    begin.map_or(i64::MAX, |begin| begin.timestamp().as_millisecond())
}

impl Period {
    /// All days from `first` to `last`, both included, as far as they are before `now`.
    pub fn new(first: Date, last: Date, zone: &TimeZone, now: Timestamp) -> Period {
        let now = now.as_millisecond();
        let end = last.tomorrow().map_or(i64::MAX, |next| begin(next, zone));
        let next = |date: &Date| date.tomorrow().ok();
        let days = std::iter::successors(Some(first), next).take(DAYS_MAX);
        let days = days.map(|date| (begin(date, zone), date));
        let to = end.min(now);
        let days: Vec<(i64, Date)> = days.take_while(|(at, _)| *at < to).collect();
        let from = begin(first, zone);
        Period {
            from,
            to: to.max(from),
            days,
            is_open: end > now,
        }
    }

    /// The month of a day.
    pub fn month(day: Date, zone: &TimeZone, now: Timestamp) -> Period {
        let first = day.first_of_month();
        let last = first.checked_add(1.month()).and_then(Date::yesterday);
        Period::new(first, last.unwrap_or(first), zone, now)
    }

    /// The times between `from` and `to` at which a day begins.
    pub(super) fn borders(&self, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let begins = self.days.iter().map(|(begin, _)| *begin);
        begins.filter(move |begin| from < *begin && *begin < to)
    }

    /// The place of a time's day in [`Period::days`].
    pub(super) fn day(&self, at: i64) -> usize {
        self.days
            .partition_point(|(begin, _)| *begin <= at)
            .saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_days_in_the_time_zone_of_the_site() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now: Timestamp = "2026-12-31T00:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let october = Period::month(Date::constant(2026, 10, 9), &zone, now);
        assert_eq!(october.from, at("2026-09-30T22:00:00Z"));
        assert_eq!(
            october.to,
            at("2026-10-31T23:00:00Z"),
            "winter time since the 25th"
        );
        assert_eq!(october.days.len(), 31);
        assert!(!october.is_open);
        let night = at("2026-10-24T22:00:00Z");
        assert_eq!(
            october.days[october.day(night)].1,
            Date::constant(2026, 10, 25)
        );
        assert_eq!(
            october.days[october.day(night - 1)].1,
            Date::constant(2026, 10, 24)
        );
        let december = Period::month(Date::constant(2026, 12, 1), &zone, now);
        assert_eq!(december.to, now.as_millisecond());
        assert!(december.is_open);
        assert_eq!(december.days.len(), 31);
        let later = Period::month(Date::constant(2027, 2, 1), &zone, now);
        assert_eq!((later.to, later.days.len()), (later.from, 0));
    }
}
