//! `daemon.schedules`: hours of the week in which other numbers count.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::diagnostics::Diagnostics;
use super::document::Section;
use keys::Settings;
use scaling::policy::Policy;
use scaling::schedule::{self, Hours, day_name};
use scaling::sorting;

/// The time zone of this name.
pub(super) fn time_zone(context: &mut Diagnostics<'_>, key: &[&str], name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| {
        context.problem(
            key,
            (
                format!("`{name}` is not a time zone of this machine"),
                "write one like `Europe/Vienna` (package tzdata)",
            ),
        );
        TimeZone::UTC
    })
}

const DAYS: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// `mon`, or `mon-fri`, which may pass Sunday.
fn days(text: &str) -> Option<Vec<Weekday>> {
    let day = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        DAYS.into_iter().find(|day| day_name(*day) == name)
    };
    let Some((first, last)) = text.split_once('-') else {
        return Some(vec![day(text)?]);
    };
    let (last, mut here) = (day(last)?, day(first)?);
    let mut all = vec![here];
    while here != last {
        here = here.next();
        all.push(here);
    }
    Some(all)
}

/// `08:00-18:00`.
fn hours(text: &str) -> Option<Hours> {
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let all = hour.checked_mul(60)?.checked_add(minute)?;
        (hour <= 24 && minute < 60 && all <= 1440).then_some(all)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    // Midnight is the end of a day there.
    let to = if to == 0 { 1440 } else { to };
    (from < 1440 && from != to).then_some(Hours { from, to })
}

/// Every window; `policy` is what counts outside of them.
pub(super) fn check(
    context: &mut Diagnostics<'_>,
    given: &[Section],
    time_zone_of_all: &TimeZone,
    policy: &Policy,
) -> Vec<schedule::Window> {
    let mut windows: Vec<schedule::Window> = Vec::new();
    for (index, window) in given.iter().enumerate() {
        let number = (index + 1).to_string();
        let always = |window: &schedule::Window| {
            window.days.len() == DAYS.len() && window.hours == Hours::ALL
        };
        if let Some(before) = windows.iter().position(always) {
            let what = format!(
                "is never active: window {} is always active, and the first active one counts",
                before + 1
            );
            context.note(&["daemon", "schedules", &number], what);
        }
        windows.push(one(context, &number, window, time_zone_of_all, policy));
    }
    windows
}

fn one(
    context: &mut Diagnostics<'_>,
    number: &str,
    given: &Section,
    time_zone_of_all: &TimeZone,
    policy: &Policy,
) -> schedule::Window {
    let key = |name: &'static str| ["daemon", "schedules", number, name];
    let mut on: Vec<Weekday> = Vec::new();
    let words: Vec<String> = given.value("days").unwrap_or_default();
    for text in words.iter().flat_map(|words| words.split(',')) {
        match days(text) {
            Some(more) => on.extend(more),
            None => context.problem(
                &key("days"),
                (
                    format!("`{text}` is not a day"),
                    "write `mon`, `mon-fri`, or a list of them",
                ),
            ),
        }
    }
    if on.is_empty() {
        on = DAYS.to_vec();
    }
    sorting::by_key(&mut on, |day| day.to_monday_zero_offset());
    on.dedup();
    let mut within = Hours::ALL;
    if let Some(text) = given.text("hours") {
        match hours(text) {
            Some(hours) => within = hours,
            None => context.problem(
                &key("hours"),
                (
                    format!("`{text}` is not a range of hours"),
                    "write `08:00-18:00`, or `22:00-06:00` past midnight",
                ),
            ),
        }
    }
    let zone = given.text("time_zone");
    let time_zone = match zone {
        Some(name) => time_zone(context, &key("time_zone"), name),
        None => time_zone_of_all.clone(),
    };
    let mut window = schedule::Window {
        days: on,
        hours: within,
        time_zone,
        ..schedule::Window::default()
    };
    context.fill(&mut window, &[(&["daemon", "schedules", number], given)]);
    let keys = schedule::Window::KEYS;
    if keys.iter().all(|key| window.get(key.name).is_none()) {
        context.note(
            &["daemon", "schedules", number],
            "changes nothing: it has none of nodes_min, nodes_max, nodes_spare, idle_timeout",
        );
    }
    let nodes_max = window.nodes_max.unwrap_or(policy.nodes_max);
    let nodes_min = window.nodes_min.unwrap_or(policy.nodes_min);
    if nodes_min > nodes_max {
        let name = if window.nodes_min.is_some() {
            "nodes_min"
        } else {
            "nodes_max"
        };
        context.note(
            &key(name),
            format!("nodes_min {nodes_min} is more than nodes_max {nodes_max} in this window: nodes_max counts"),
        );
        window.nodes_min = Some(nodes_max);
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours() {
        let named = |text: &str| {
            let days = days(text)?;
            Some(days.into_iter().map(day_name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(named("mon-wed").as_deref(), Some("mon tue wed"));
        assert_eq!(named("Sat-mon").as_deref(), Some("sat sun mon"));
        assert_eq!(named("sun").as_deref(), Some("sun"));
        assert_eq!(named("someday"), None);
        let read = |text: &str| hours(text).map(|hours| hours.to_string());
        for fine in ["08:00-18:00", "22:00-06:30", "00:00-24:00"] {
            assert_eq!(read(fine).as_deref(), Some(fine));
        }
        for wrong in [
            "8-18",
            "08:00",
            "08:60-09:00",
            "24:00-01:00",
            "25:00-26:00",
            "08:00-08:00",
            "22:00-00:00x",
            "1100:00-12:00",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
