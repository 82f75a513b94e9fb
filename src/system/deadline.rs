//! A moment after which nothing may go on: an argument of everything that can block.

use std::time::{Duration, Instant};

/// A moment on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// `duration` from now.
    pub fn within(duration: Duration) -> Deadline {
        let now = Instant::now();
        // A duration beyond what the clock can hold means "not in this life": a year.
        Deadline(
            now.checked_add(duration)
                .unwrap_or(now + Duration::from_secs(365 * 86_400)),
        )
    }

    /// The earlier of this and `duration` from now.
    pub fn at_most(self, duration: Duration) -> Deadline {
        self.min(Deadline::within(duration))
    }

    /// How long there is still; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_and_the_shorter_one_wins() {
        let long = Deadline::within(Duration::from_secs(60));
        assert!(!long.passed());
        assert!(long.left() > Duration::from_secs(50));
        assert!(long.at_most(Duration::ZERO).passed());
        assert!(
            long.at_most(Duration::from_secs(600)) <= Deadline::within(Duration::from_secs(60))
        );
        assert!(!Deadline::within(Duration::MAX).passed());
    }
}
