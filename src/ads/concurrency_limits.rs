//! `ConcurrencyLimits` of a job.

use scaling::sorting::IntoMap;
use std::collections::BTreeMap;

/// `ConcurrencyLimits`: names with how much of each a job takes (`a`, `b:2`, `c.d:0.5`), with commas between them.
pub fn concurrency_limits(text: &str) -> BTreeMap<String, f64> {
    let limit = |part: &str| {
        let part = part.trim();
        let (name, weight) = match part.split_once(':') {
            // A weight that is no number, or none above zero, is 1.
            Some((name, weight)) => (name.trim(), weight.trim().parse().unwrap_or(1.0)),
            None => (part, 1.0),
        };
        let weight = if weight > 0.0 && f64::is_finite(weight) {
            weight
        } else {
            1.0
        };
        (!name.is_empty()).then(|| (name.to_ascii_lowercase(), weight))
    };
    text.split([',', ' '])
        .filter_map(limit)
        .take(100)
        .into_map()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_names_with_weights() {
        let read = |text| concurrency_limits(text).into_iter().collect::<Vec<_>>();
        let expected = [
            ("a".to_owned(), 2.0),
            ("b.c".to_owned(), 1.0),
            ("d".to_owned(), 0.5),
        ];
        assert_eq!(read("A:2, b.C,d:0.5"), expected);
        assert_eq!(read("a:x, a:-1, a:nan, :3, "), [("a".to_owned(), 1.0)]);
    }
}
