//! Hours of the week in which other numbers count: a window is what the wall clock says in its time zone.
//!
//! The first window that is active counts, and is applied once, at the head of the plan. A clock
//! that jumps costs a wrong window and no more.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::policy::Policy;
use super::seconds::seconds;
use keys::{Form, Kind, Setting, Value, settings};

/// Idle nodes that are kept beyond what the queue needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spare {
    /// So many.
    Count(u64),
    /// So many for each hundred nodes that are needed, rounded up.
    Percent(u64),
}

impl Spare {
    /// How many that is when so many nodes are needed.
    pub fn nodes(self, needed: u64) -> u64 {
        match self {
            Spare::Count(count) => count,
            Spare::Percent(percent) => needed.saturating_mul(percent).div_ceil(100),
        }
    }

    /// The share, where it is one.
    pub fn percent(self) -> Option<u64> {
        match self {
            Spare::Count(_) => None,
            Spare::Percent(percent) => Some(percent),
        }
    }
}

impl fmt::Display for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spare::Count(count) => write!(f, "{count}"),
            Spare::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Spare {
    type Err = String;

    /// `2`, or `10%`.
    fn from_str(text: &str) -> Result<Spare, String> {
        let (number, share) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (text, false),
        };
        match (number.parse(), share) {
            (Ok(count), false) => Ok(Spare::Count(count)),
            (Ok(percent), true) if percent <= 1000 => Ok(Spare::Percent(percent)),
            _ => Err(format!(
                "`{text}` is neither a whole number of 0 or more, nor a share of the nodes like `10%`"
            )),
        }
    }
}

impl Setting for Spare {
    const KIND: Kind = Kind::Form(&Form {
        name: "number or share",
        pattern: "^[0-9]+ ?%?$",
        check: |text| text.parse::<Spare>().map(drop),
    });

    fn of(value: Value) -> Option<Spare> {
        value.text()?.parse().ok()
    }

    fn value(&self) -> Option<Value> {
        Some(Value::Text(self.to_string()))
    }
}

/// A part of the day, in minutes after midnight: from the first, to but without the second. It may pass midnight, and
/// belongs to the day on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Its first minute.
    pub from: u16,
    /// The minute after its last: up to 1440.
    pub to: u16,
}

impl Hours {
    /// The whole day.
    pub const ALL: Hours = Hours { from: 0, to: 1440 };
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hours { from, to } = self;
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

settings! {
    /// A schedule window: hours of the week, and the numbers that count in them.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Window {
        /// `daemon.nodes_min` in the window.
        nodes_min: Option<u64> = None, "as outside";
        /// `daemon.nodes_max` in the window.
        nodes_max: Option<u64> = None, "as outside";
        /// `daemon.nodes_spare` in the window.
        nodes_spare: Option<Spare> = None, "as outside";
        /// `daemon.idle_timeout` in the window.
        idle_timeout: Option<Duration> = None, "as outside";
    }
    beside {
        /// On these days.
        days: Vec<Weekday> = Vec::new();
        /// In these hours.
        hours: Hours = Hours::ALL;
        /// By the clocks of this time zone.
        time_zone: TimeZone = TimeZone::UTC;
    }
}

/// What a day is called in a window.
pub fn day_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

impl Window {
    /// Whether the clocks there show an hour of it.
    pub fn holds(&self, at: Timestamp) -> bool {
        let there = at.to_zoned(self.time_zone.clone());
        let minute = i32::from(there.hour()) * 60 + i32::from(there.minute());
        let (from, to) = (i32::from(self.hours.from), i32::from(self.hours.to));
        let today = self.days.contains(&there.weekday());
        let yesterday = self.days.contains(&there.weekday().previous());
        if from < to {
            today && (from..to).contains(&minute)
        } else {
            today && minute >= from || yesterday && minute < to
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.len() < 7 {
            let days: Vec<&str> = self.days.iter().map(|day| day_name(*day)).collect();
            write!(f, "{} ", days.join(","))?;
        }
        write!(f, "{}", self.hours)?;
        if let Some(name) = self.time_zone.iana_name() {
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// The window that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveWindow {
    /// Its place in the list, from 1.
    pub number: usize,
    /// It.
    pub window: Window,
}

impl fmt::Display for ActiveWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds ({})", self.number, self.window)?;
        let Window {
            nodes_min,
            nodes_max,
            nodes_spare,
            idle_timeout,
            ..
        } = &self.window;
        let mut parts = Vec::new();
        parts.extend(nodes_min.map(|nodes| format!("nodes_min {nodes}")));
        parts.extend(nodes_max.map(|nodes| format!("nodes_max {nodes}")));
        parts.extend(nodes_spare.map(|spare| format!("nodes_spare {spare}")));
        parts.extend(idle_timeout.map(|time| format!("idle_timeout {}", seconds(time))));
        write!(f, ": {}", parts.join(", "))
    }
}

impl Serialize for ActiveWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let window = &self.window;
        let days: Vec<&str> = window.days.iter().map(|day| day_name(*day)).collect();
        let mut out = serializer.serialize_struct("ActiveWindow", 4)?;
        out.serialize_field("number", &self.number)?;
        out.serialize_field("days", &days)?;
        out.serialize_field("hours", &window.hours.to_string())?;
        out.serialize_field("time_zone", &window.time_zone.iana_name())?;
        out.end()
    }
}

impl Policy {
    /// What counts at this time, and the window that says so: the first one that holds.
    pub fn effective_at(&self, at: Timestamp) -> (Cow<'_, Policy>, Option<ActiveWindow>) {
        let windows = self.schedules.iter().enumerate();
        let Some((index, window)) = windows.into_iter().find(|(_, window)| window.holds(at)) else {
            return (Cow::Borrowed(self), None);
        };
        let policy = Policy {
            nodes_min: window.nodes_min.unwrap_or(self.nodes_min),
            nodes_max: window.nodes_max.unwrap_or(self.nodes_max),
            nodes_spare: window.nodes_spare.unwrap_or(self.nodes_spare),
            idle_timeout: window.idle_timeout.unwrap_or(self.idle_timeout),
            ..self.clone()
        };
        let window = ActiveWindow {
            number: index + 1,
            window: window.clone(),
        };
        (Cow::Owned(policy), Some(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Weekday], hours: (u16, u16), zone: &str) -> Window {
        Window {
            days: days.to_vec(),
            hours: Hours {
                from: hours.0 * 60,
                to: hours.1 * 60,
            },
            time_zone: TimeZone::get(zone).unwrap(),
            nodes_min: None,
            nodes_max: Some(3),
            nodes_spare: None,
            idle_timeout: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_share_is_rounded_up() {
        let spare = Spare::Percent(10);
        assert_eq!(
            [0, 1, 10, 11].map(|needed| spare.nodes(needed)),
            [0, 1, 1, 2]
        );
        assert_eq!(Spare::Count(2).nodes(100), 2);
    }

    #[test]
    fn a_window_is_what_the_wall_clock_says() {
        let window = window(&[Weekday::Monday], (8, 18), "Europe/Vienna");
        // In winter an hour ahead of UTC, in summer two.
        for (time, holds) in [
            ("2026-11-23T06:59:00Z", false),
            ("2026-11-23T07:00:00Z", true),
            ("2026-11-23T16:59:59Z", true),
            ("2026-11-23T17:00:00Z", false),
            ("2026-07-06T06:00:00Z", true),
            ("2026-07-06T16:00:00Z", false),
            ("2026-11-24T10:00:00Z", false),
        ] {
            assert_eq!(window.holds(at(time)), holds, "{time}");
        }
    }

    #[test]
    fn a_window_that_passes_midnight_belongs_to_the_day_on_which_it_begins() {
        let window = window(&[Weekday::Friday], (22, 6), "UTC");
        for (time, holds) in [
            ("2026-11-27T05:00:00Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:00Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T22:30:00Z", false),
        ] {
            assert_eq!(window.holds(at(time)), holds, "{time}");
        }
    }

    #[test]
    fn an_hour_that_the_clocks_leave_out_has_no_window_and_one_that_they_show_twice_has_two() {
        let window = window(&[Weekday::Sunday], (2, 3), "Europe/Vienna");
        let minutes = |day: &str| {
            let start = at(day);
            let minute = |minute: i64| start + jiff::SignedDuration::from_mins(minute);
            (0..360).filter(|m| window.holds(minute(*m))).count()
        };
        assert_eq!(minutes("2026-03-29T00:00:00Z"), 0);
        assert_eq!(minutes("2026-10-24T23:00:00Z"), 120);
        assert_eq!(minutes("2026-11-07T23:00:00Z"), 60);
    }

    #[test]
    fn the_first_window_that_holds_counts() {
        let mut policy = Policy::new("pool");
        policy.nodes_min = 1;
        let day = window(&[Weekday::Monday], (8, 18), "UTC");
        let mut long = window(&[Weekday::Monday], (0, 20), "UTC");
        long.nodes_max = Some(7);
        long.nodes_min = Some(5);
        policy.schedules = vec![day, long];
        let held = |time: &str| {
            let (policy, window) = policy.effective_at(at(time));
            let number = window.map(|window| window.number);
            (number, policy.nodes_min, policy.nodes_max)
        };
        assert_eq!(held("2026-11-23T09:00:00Z"), (Some(1), 1, 3));
        assert_eq!(held("2026-11-23T19:00:00Z"), (Some(2), 5, 7));
        assert_eq!(held("2026-11-23T21:00:00Z"), (None, 1, 10));
    }
}
