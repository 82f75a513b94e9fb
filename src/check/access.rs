//! Who ehos is on a cloud: whether the login works and for how long, and whether the clocks agree.

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use openstack::{Error, identity::ApplicationCredential};

/// Before its end a credential is renewed best in the week that is left.
const EARLY: SignedDuration = SignedDuration::from_hours(8 * 24);
/// Beyond this a clock is wrong …
const CLOCK_WARNING: SignedDuration = SignedDuration::from_secs(30);
/// … and beyond this it breaks what depends on it: the ends of tokens, the ages of jobs.
const CLOCK_FAILURE: SignedDuration = SignedDuration::from_mins(5);

/// A login that failed.
pub fn login(url: &str, error: &Error) -> Finding {
    let mut finding = Finding::by_error("login", error.advice());
    if let Some(hint) = scheme(url, error) {
        finding.remedy = Some(hint);
    }
    finding
}

/// http where the service speaks TLS, or the reverse.
fn scheme(url: &str, error: &Error) -> Option<String> {
    let (said, other) = match url.split_once("://")? {
        ("http", _) => ("http", "https"),
        ("https", _) => ("https", "http"),
        _ => return None,
    };
    let looks_so = match (said, error) {
        // A redirect, or a server's word that it speaks TLS only.
        ("http", Error::Refused(refusal)) => {
            (300..400).contains(&refusal.status)
                || (refusal.status == 400 && refusal.message.to_lowercase().contains("https"))
        }
        // Each hangs up on the other's first words.
        (_, Error::NoAnswer { timed_out, .. }) => !timed_out,
        _ => false,
    };
    looks_so.then(|| {
        format!(
            "auth_url begins with {said}://: if the service speaks {other}, correct it; otherwise retry later"
        )
    })
}

/// When a credential ends.
pub fn end(what: &str, expires_at: Option<Timestamp>, now: Timestamp, remedy: &str) -> Finding {
    const CHECK: &str = "credentials";
    let Some(end) = expires_at else {
        return Finding::ok(CHECK, format!("{what} does not expire"));
    };
    let left = end.duration_since(now);
    let day = end.strftime("%Y-%m-%d %H:%M UTC");
    if left <= SignedDuration::ZERO {
        Finding::failed(CHECK, format!("{what} expired on {day}"), remedy)
    } else if left <= EARLY {
        let days = left.as_hours() / 24;
        let plural = if days == 1 { "" } else { "s" };
        Finding::warning(
            CHECK,
            format!("{what} expires in {days} day{plural}, on {day}"),
            remedy,
        )
    } else {
        Finding::ok(CHECK, format!("{what} expires on {day}"))
    }
}

/// The end of the application credential, where one is used.
pub fn application_credential(
    shown: &Result<Option<ApplicationCredential>, Error>,
    now: Timestamp,
) -> Finding {
    match shown {
        Ok(Some(credential)) => end(
            &format!("application credential {}", credential.name),
            credential.expires_at,
            now,
            "create one by `openstack application credential create`, and write it to the configuration",
        ),
        Ok(None) => Finding::skipped(
            "credentials",
            "Keystone does not show this application credential: its expiry is unknown",
        ),
        Err(error) => Finding::by_error("credentials", error.advice()),
    }
}

/// How far a clock is ahead of this machine's.
pub fn clock(whose: &str, ahead: Option<SignedDuration>) -> Finding {
    const CHECK: &str = "clock";
    let Some(ahead) = ahead else {
        return Finding::skipped(CHECK, format!("the time of {whose} is unknown"));
    };
    let off = ahead.abs();
    let way = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let what = format!(
        "{whose}'s clock is {} s {way} this machine's",
        off.as_secs()
    );
    let remedy = "synchronize both machines by NTP (chrony, systemd-timesyncd)";
    if off > CLOCK_FAILURE {
        Finding::failed(CHECK, what, remedy)
    } else if off > CLOCK_WARNING {
        Finding::warning(CHECK, what, remedy)
    } else {
        Finding::ok(CHECK, format!("{whose}'s clock agrees with this machine's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn an_end_is_told_from_eight_days_before() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let of = |text: &str| end("it", Some(text.parse().unwrap()), now, "renew").outcome;
        assert_eq!(of("2026-12-22T12:00:00Z"), Outcome::Ok);
        assert_eq!(of("2026-11-30T12:00:01Z"), Outcome::Ok);
        assert_eq!(of("2026-11-30T12:00:00Z"), Outcome::Warning);
        assert_eq!(of("2026-11-22T12:00:01Z"), Outcome::Warning);
        assert_eq!(of("2026-11-22T12:00:00Z"), Outcome::Failed);
        assert_eq!(end("it", None, now, "renew").outcome, Outcome::Ok);
    }

    #[test]
    fn a_clock_may_be_off_a_little_either_way() {
        let of = |seconds| clock("Keystone", Some(SignedDuration::from_secs(seconds)));
        assert_eq!(of(0).outcome, Outcome::Ok);
        assert_eq!(of(-30).outcome, Outcome::Ok);
        assert_eq!(of(31).outcome, Outcome::Warning);
        assert_eq!(of(-31).outcome, Outcome::Warning);
        assert_eq!(of(301).outcome, Outcome::Failed);
        assert!(of(-400).what.contains("400 s behind"), "{:?}", of(-400));
        assert!(of(400).what.contains("400 s ahead"), "{:?}", of(400));
        assert_eq!(clock("Keystone", None).outcome, Outcome::Skipped);
    }
}
