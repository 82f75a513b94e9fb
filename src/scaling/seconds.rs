//! Durations of reports.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Whole seconds: a number in JSON, and `45 s`, `7 min` or `2 h 5 min` in a sentence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{} min", seconds / 60),
            _ if seconds % 3600 < 60 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Seconds {
        Seconds(duration.as_secs())
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Duration {
        Duration::from_secs(seconds.0)
    }
}

/// Whole seconds of a duration.
pub fn seconds(duration: Duration) -> Seconds {
    duration.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_the_unit_that_matters() {
        let told = |seconds| Seconds(seconds).to_string();
        let all = [0, 119, 120, 7199, 7200, 7259, 7260, 90_000].map(told);
        assert_eq!(
            all,
            [
                "0 s",
                "119 s",
                "2 min",
                "119 min",
                "2 h",
                "2 h",
                "2 h 1 min",
                "25 h"
            ]
        );
        assert_eq!(serde_json::to_value(Seconds(90)).unwrap(), 90);
    }
}
