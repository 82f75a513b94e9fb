//! Amounts in the site's own money, in millionths: sums of them are exact, and equal ones are equal.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use keys::{Kind, Setting, Value};

/// An amount; never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(u64);

const MILLIONTHS: u64 = 1_000_000;

impl Money {
    /// An amount as the configuration has it. What is no amount is none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates; negative is 0.
    pub fn new(amount: f64) -> Money {
        Money((amount * MILLIONTHS as f64).round() as u64)
    }

    /// So many millionths of one.
    pub fn of_millionths(millionths: u64) -> Money {
        Money(millionths)
    }

    /// The amount in millionths of one.
    pub fn millionths(self) -> u64 {
        self.0
    }

    /// Both together.
    pub fn plus(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }

    /// What is left of it without `other`; nothing when that is more.
    pub fn minus(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }

    /// So much an hour, for `time`.
    pub fn over(self, time: Duration) -> Money {
        let amount = u128::from(self.0) * time.as_millis() / 3_600_000;
        Money(u64::try_from(amount).unwrap_or(u64::MAX))
    }

    /// How often `each` is in it; any number of times when `each` costs nothing.
    pub fn holds(self, each: Money) -> u64 {
        self.0.checked_div(each.0).unwrap_or(u64::MAX)
    }
}

impl Money {
    /// As programs and charts have it.
    #[allow(clippy::cast_precision_loss)] // Nobody spends nine thousand millions.
    pub fn amount(self) -> f64 {
        self.0 as f64 / MILLIONTHS as f64
    }
}

impl Setting for Money {
    const KIND: Kind = Kind::Number;

    fn of(value: Value) -> Option<Money> {
        f64::of(value).map(Money::new)
    }

    fn value(&self) -> Option<Value> {
        Some(Value::Number(self.amount()))
    }
}

impl fmt::Display for Money {
    /// With two decimals, or as many as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / MILLIONTHS, self.0 % MILLIONTHS);
        let needed = text.trim_end_matches('0').len();
        let least = text.len() - 4;
        f.write_str(text.get(..needed.max(least)).unwrap_or(&text))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.amount())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        f64::deserialize(deserializer).map(Money::new)
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::default(), Money::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_shown_with_two_decimals_or_more() {
        let shown = |amount: f64| Money::new(amount).to_string();
        assert_eq!(
            [shown(0.0), shown(12.5), shown(0.125), shown(3.0)],
            ["0.00", "12.50", "0.125", "3.00"]
        );
        let tenth: Money = (0..10).map(|_| Money::new(0.1)).sum();
        assert_eq!(tenth, Money::new(1.0));
        assert_eq!(
            Money::new(0.6).over(Duration::from_secs(600)),
            Money::new(0.1)
        );
        assert_eq!(Money::new(1.0).holds(Money::new(0.3)), 3);
        assert_eq!(Money::new(1.0).holds(Money::default()), u64::MAX);
        assert_eq!(Money::new(1.0).minus(Money::new(2.0)), Money::default());
        for amount in [0.0, 0.1, 123_456.789] {
            let text = serde_json::to_string(&Money::new(amount)).unwrap();
            let back: Money = serde_json::from_str(&text).unwrap();
            assert_eq!(back, Money::new(amount));
        }
    }
}
