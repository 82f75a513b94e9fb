//! Random numbers of workloads: distributions, choices, and their text form.
//!
//! | text | value |
//! | --- | --- |
//! | `20m` | always the same |
//! | `uniform(1m,1h)` | each value between both is equally likely |
//! | `exponential(20m)` | the mean |
//! | `lognormal(20m,2.0)` | the median, and the standard deviation of the natural logarithm |
//! | `pareto(1m,1.2)` | the smallest value, and the exponent: heavy tail below 2, no mean at 1 or below |
//!
//! A choice is `1\|2\|8`, each equally likely, or with weights `1:8\|2:1\|8:1`.

use crate::random::Random;

/// A distribution of positive numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Distribution {
    Fixed(f64),
    Uniform(f64, f64),
    Exponential(f64),
    Lognormal(f64, f64),
    Pareto(f64, f64),
}

impl Distribution {
    /// Reads a distribution whose values `unit` reads. None if the text is none.
    pub(super) fn parse(text: &str, unit: impl Fn(&str) -> Option<f64>) -> Option<Distribution> {
        let value = |text: &str| unit(text).filter(|value| *value > 0.0);
        let Some((name, rest)) = text.split_once('(') else {
            return value(text).map(Distribution::Fixed);
        };
        let arguments: Vec<&str> = rest.strip_suffix(')')?.split(',').map(str::trim).collect();
        let factor = |text: &str| {
            let factor: f64 = text.parse().ok()?;
            (factor > 0.0 && factor <= 100.0).then_some(factor)
        };
        match (name.trim(), arguments.as_slice()) {
            ("uniform", [low, high]) => {
                let (low, high) = (value(low)?, value(high)?);
                (low <= high).then_some(Distribution::Uniform(low, high))
            }
            ("exponential", [mean]) => Some(Distribution::Exponential(value(mean)?)),
            ("lognormal", [median, sigma]) => {
                Some(Distribution::Lognormal(value(median)?, factor(sigma)?))
            }
            ("pareto", [low, exponent]) => {
                Some(Distribution::Pareto(value(low)?, factor(exponent)?))
            }
            _ => None,
        }
    }

    pub(super) fn draw(&self, random: &mut Random) -> f64 {
        // From 0, without, to 1.
        let open = |random: &mut Random| 1.0 - random.unit();
        match *self {
            Distribution::Fixed(value) => value,
            Distribution::Uniform(low, high) => low + (high - low) * random.unit(),
            Distribution::Exponential(mean) => -mean * open(random).ln(),
            Distribution::Lognormal(median, sigma) => {
                // Source: Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).
                let radius = (-2.0 * open(random).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * random.unit()).cos();
                median * (sigma * normal).exp()
            }
            Distribution::Pareto(low, exponent) => low / open(random).powf(1.0 / exponent),
        }
    }
}

/// One of several numbers, each with a weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice(Vec<(u64, f64)>);

impl Choice {
    /// Reads a choice. None if the text is none.
    pub(super) fn parse(text: &str) -> Option<Choice> {
        let option = |text: &str| {
            let (value, weight) = text.split_once(':').unwrap_or((text, "1"));
            let weight: f64 = weight.trim().parse().ok()?;
            let value: u64 = value.trim().parse().ok()?;
            (weight > 0.0 && weight.is_finite()).then_some((value, weight))
        };
        text.split('|')
            .map(option)
            .collect::<Option<_>>()
            .map(Choice)
    }

    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        // A single value needs no random number, so that another value changes no other draw.
        if let [(value, _)] = self.0.as_slice() {
            return *value;
        }
        let total: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut left = random.unit() * total;
        for (value, weight) in &self.0 {
            left -= weight;
            if left < 0.0 {
                return *value;
            }
        }
        self.0.last().map_or(0, |(value, _)| *value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(value, _)| *value)
    }
}

/// Reads a duration such as `90`, `90s`, `20m`, `1.5h`, `7d`, in seconds.
pub(super) fn duration(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some(positive(number)? * seconds(unit)?)
}

/// Reads a rate such as `30/h`, in events a second.
pub(super) fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    match unit.trim() {
        "" => None,
        unit => Some(positive(number)? / seconds(unit)?),
    }
}

/// Reads a number that is not negative.
pub(super) fn positive(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    (number >= 0.0 && number.is_finite()).then_some(number)
}

fn seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> Vec<f64> {
        let distribution = Distribution::parse(text, duration).unwrap();
        let mut random = Random::new(7);
        let mut all: Vec<f64> = (0..20_000)
            .map(|_| distribution.draw(&mut random))
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn distributions_have_the_shape_that_they_name() {
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.05;
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
        assert!(drawn("20m").iter().all(|value| *value == 1200.0));
        let uniform = drawn("uniform(1m, 1h)");
        assert!(uniform[0] >= 60.0 && uniform[19_999] <= 3600.0);
        assert!(near(mean(&uniform), 1830.0));
        assert!(near(mean(&drawn("exponential(20m)")), 1200.0));
        let lognormal = drawn("lognormal(20m,2.0)");
        assert!(near(lognormal[10_000], 1200.0));
        // One standard deviation above the median.
        assert!(near(lognormal[16_827], 1200.0 * 2_f64.exp()));
        let pareto = drawn("pareto(1m,1.5)");
        assert!(pareto[0] >= 60.0);
        assert!(near(pareto[10_000], 60.0 * 2_f64.powf(1.0 / 1.5)));
    }

    #[test]
    fn choices_follow_their_weights() {
        let choice = Choice::parse("1:8|2:1|8:1").unwrap();
        let mut random = Random::new(7);
        let drawn: Vec<u64> = (0..10_000).map(|_| choice.draw(&mut random)).collect();
        let count = |value| drawn.iter().filter(|drawn| **drawn == value).count();
        assert!(count(1).abs_diff(8000) < 200 && count(2).abs_diff(1000) < 150);
        assert_eq!(count(1) + count(2) + count(8), 10_000);
        for wrong in ["", "a", "1|", "1:0", "1:-1", "-1", "1.5", "1:x"] {
            assert_eq!(Choice::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn wrong_numbers_are_none() {
        for (text, expected) in [
            ("90", 90.0),
            ("20m", 1200.0),
            ("1.5h", 5400.0),
            ("7d", 604_800.0),
        ] {
            assert_eq!(duration(text), Some(expected));
        }
        for wrong in ["", "m", "-5m", "5w", "5 m m", "nan", "inf", "1e999"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(rate("30/min"), Some(0.5));
        for wrong in ["30", "30/", "/h", "30/week"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
        for wrong in [
            "0",
            "uniform(1h,1m)",
            "uniform(1m)",
            "lognormal(1m,0)",
            "pareto(0,1)",
            "normal(1,2)",
            "lognormal(1m,2",
            "exponential()",
        ] {
            assert_eq!(Distribution::parse(wrong, duration), None, "{wrong}");
        }
    }
}
