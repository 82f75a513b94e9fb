//! One cloud after the other, spread smoothly by weight.

use std::collections::BTreeMap;

use super::{Basis, Strategy, Turns};
use crate::observation::CloudName;

pub(super) struct RoundRobin;

impl Strategy for RoundRobin {
    fn basis(&self, weight: u64, weights: u64) -> Basis {
        Basis::RoundRobin { weight, weights }
    }

    fn turn(&self, turns: &mut Turns<'_>, open: &[(&str, u64)]) -> Option<usize> {
        Some(next_turn(turns.owed, open))
    }
}

/// The next in turn, by its position among `open` (names with their weights, in the order of the configuration), and
/// remembers what each is owed: each gets its weight in every round, the others between its turns (nginx's smooth
/// weighted round-robin).
fn next_turn(owed: &mut BTreeMap<CloudName, i64>, open: &[(&str, u64)]) -> usize {
    let mut best: Option<(i64, usize)> = None;
    let mut weights: i64 = 0;
    for (position, (name, weight)) in open.iter().enumerate() {
        let weight = i64::try_from(*weight).unwrap_or(i64::MAX);
        weights = weights.saturating_add(weight);
        let owed = owed.entry((*name).to_owned()).or_default();
        *owed = owed.saturating_add(weight);
        if best.is_none_or(|(most, _)| *owed > most) {
            best = Some((*owed, position));
        }
    }
    let position = best.map_or(0, |(_, position)| position);
    if let Some((name, _)) = open.get(position)
        && let Some(owed) = owed.get_mut(*name)
    {
        *owed = owed.saturating_sub(weights);
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(open: &[(&str, u64)], count: usize) -> String {
        let mut owed = BTreeMap::new();
        (0..count)
            .map(|_| open[next_turn(&mut owed, open)].0)
            .collect()
    }

    #[test]
    fn turns_are_as_many_as_weights_and_not_in_one_piece() {
        assert_eq!(turns(&[("a", 1), ("b", 1), ("c", 1)], 6), "abcabc");
        assert_eq!(turns(&[("a", 3), ("b", 1)], 8), "aabaaaba");
        assert_eq!(turns(&[("a", 1), ("b", 4), ("c", 2)], 7), "bcbabcb");
        assert_eq!(turns(&[("a", 0), ("b", 0)], 3), "aaa", "of none the first");
    }

    #[test]
    fn a_cloud_that_was_closed_gets_no_turns_for_that_time() {
        let mut owed = BTreeMap::new();
        for _ in 0..100 {
            next_turn(&mut owed, &[("a", 1)]);
        }
        let open = [("a", 1), ("b", 1)];
        let next: String = (0..4)
            .map(|_| open[next_turn(&mut owed, &open)].0)
            .collect();
        assert_eq!(next, "abab");
    }
}
