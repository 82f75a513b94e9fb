//! The split of a whole number by weights, without a remainder.

use scaling::sorting;
use std::cmp::Reverse;

/// Splits `total` in proportion to `weights`. The parts are whole and their sum is `total`: what rounding down leaves goes, one
/// each, to the parts that lost most by it (largest remainder; of equals, to the first). Without any weight every part is 0.
pub fn split(total: u128, weights: &[u128]) -> Vec<u128> {
    let (weights, sum) = scaled(total, weights);
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let mut parts: Vec<u128> = weights.iter().map(|weight| total * weight / sum).collect();
    let mut rest = total - parts.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let lost = |index: &usize| weights.get(*index).map_or(0, |weight| total * weight % sum);
    sorting::by_key(&mut order, |index| Reverse(lost(index)));
    for index in order {
        if rest == 0 {
            break;
        }
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
            rest -= 1;
        }
    }
    parts
}

/// The weights and their sum, halved until a product with `total` fits. Only weights of no real pool are.
fn scaled(total: u128, weights: &[u128]) -> (Vec<u128>, u128) {
    let mut weights = weights.to_vec();
    loop {
        let sum = weights
            .iter()
            .try_fold(0_u128, |sum, weight| sum.checked_add(*weight));
        if let Some(sum) = sum.filter(|sum| total.checked_mul((*sum).max(1)).is_some()) {
            return (weights, sum);
        }
        for weight in &mut weights {
            *weight /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_rounding_leaves_goes_to_those_that_lost_most() {
        assert_eq!(split(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(split(10, &[1, 2, 4]), [1, 3, 6]);
        assert_eq!(split(1, &[0, 5, 5]), [0, 1, 0]);
        assert_eq!(split(7, &[0, 0]), [0, 0]);
        assert_eq!(split(7, &[]), [0; 0]);
        assert_eq!(
            split(1_000_000, &[u128::MAX, u128::MAX]),
            [500_000, 500_000]
        );
    }

    proptest! {
        #[test]
        fn the_parts_are_whole_and_add_up(
            total in any::<u64>(),
            weights in prop::collection::vec(any::<u128>(), 1..20),
        ) {
            let total = u128::from(total);
            let parts = split(total, &weights);
            let used = if weights.iter().all(|weight| *weight == 0) { 0 } else { total };
            prop_assert_eq!(parts.iter().sum::<u128>(), used);
        }
    }
}
