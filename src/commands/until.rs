//! A time on the command line: `2h`, `18:00`, or a time stamp.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Returns the time that `text` names: a span from `now` on, the next time of day in `zone`, a date and time in `zone`, or
/// an RFC 3339 time stamp.
///
/// # Errors
/// It is none of these, or not after `now`.
pub(super) fn until(text: &str, now: Timestamp, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    let text = text.trim();
    let remedy =
        "give a span (90min, 2h), a time of day (18:00), or a time stamp (2027-01-15T18:00:00Z)";
    let Some(time) = parsed(text, now, zone) else {
        anyhow::bail!("--until {text}: not a time; {remedy}");
    };
    if time <= now {
        anyhow::bail!("--until {text}: {time:.0} is not after {now:.0}; {remedy}");
    }
    Ok(time)
}

fn parsed(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<DateTime>()
        && text.contains(['T', 't', ' '])
    {
        return Some(time.to_zoned(zone.clone()).ok()?.timestamp());
    }
    if is_time_of_day(text) {
        return next(text.parse().ok()?, now, zone);
    }
    let span = SignedDuration::try_from(keys::duration(text).ok()?).ok()?;
    now.checked_add(span).ok()
}

/// `8:30` is refused by jiff, which reads `08:30`.
fn is_time_of_day(text: &str) -> bool {
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':')
        .is_some_and(|(hours, minutes)| digits(hours) && digits(minutes))
}

/// The next time of day, today or tomorrow. An hour that the clocks leave out is the one after it.
fn next(time: Time, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = now.to_zoned(zone.clone()).date();
    let on = |date: jiff::civil::Date| {
        let at = date.to_datetime(time).to_zoned(zone.clone()).ok()?;
        Some(at.timestamp())
    };
    let first = on(today)?;
    match first > now {
        true => Some(first),
        false => on(today.checked_add(1.day()).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_span_a_time_of_day_or_a_time_stamp() {
        let now: Timestamp = "2027-01-15T12:30:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Vienna").unwrap();
        let read = |text: &str| until(text, now, &zone).map(|time| time.to_string());
        for (text, time) in [
            ("2h", "2027-01-15T14:30:00Z"),
            ("90min", "2027-01-15T14:00:00Z"),
            ("1h30m", "2027-01-15T14:00:00Z"),
            ("60", "2027-01-15T12:31:00Z"),
            ("18:00", "2027-01-15T17:00:00Z"),
            ("13:30", "2027-01-16T12:30:00Z"),
            ("08:05", "2027-01-16T07:05:00Z"),
            ("2027-01-15T18:00:00Z", "2027-01-15T18:00:00Z"),
            ("2027-01-15T18:00:00+01:00", "2027-01-15T17:00:00Z"),
            ("2027-01-16T08:00", "2027-01-16T07:00:00Z"),
        ] {
            assert_eq!(read(text).unwrap(), time, "{text}");
        }
        for wrong in [
            "",
            "0",
            "soon",
            "-2h",
            "25:00",
            "8:5",
            "2026-01-15T18:00:00Z",
            "99999999999999999h",
            "2027-01-15",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
