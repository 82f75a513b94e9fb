//! A random cloud, by weight, from a seed in the state.

use super::{Basis, Strategy, Turns};

pub(super) struct Random;

impl Strategy for Random {
    fn basis(&self, weight: u64, weights: u64) -> Basis {
        Basis::Random { weight, weights }
    }

    fn turn(&self, turns: &mut Turns<'_>, open: &[(&str, u64)]) -> Option<usize> {
        *turns.seed = next_random(*turns.seed);
        // The upper bits of the generator are the good ones.
        Some(draw(*turns.seed >> 33, open))
    }
}

/// One step of a linear congruential generator (Knuth's MMIX constants): enough to choose a cloud, and the same
/// again from the same state.
fn next_random(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

/// One of `open`, each as likely as its weight says, by a number that is as likely to be any.
fn draw(number: u64, open: &[(&str, u64)]) -> usize {
    let weights = open
        .iter()
        .fold(0u64, |sum, (_, weight)| sum.saturating_add(*weight));
    let mut left = number.checked_rem(weights).unwrap_or(0);
    for (position, (_, weight)) in open.iter().enumerate() {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return position,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_as_likely_as_the_weight() {
        let open = [("a", 3), ("b", 0), ("c", 1)];
        let drawn: Vec<usize> = (0..8).map(|number| draw(number, &open)).collect();
        assert_eq!(drawn, [0, 0, 0, 2, 0, 0, 0, 2]);
        assert_eq!(draw(5, &[("a", 0), ("b", 0)]), 0);
    }
}
