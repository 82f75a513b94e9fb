//! Sorting with one copy of the algorithm for all types.
//!
//! `slice::sort_by` is compiled again for each type and each order, 5 to 10 kB each time: 0.6 MB of the program. Only where
//! a tick sorts thousands of things is that worth it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Collects into a map.
pub trait IntoMap<K, V> {
    /// Inserts one entry after the other. `collect` sorts them first, with a sorting algorithm for each iterator.
    fn into_map(self) -> BTreeMap<K, V>;
}

impl<K: Ord, V, I: Iterator<Item = (K, V)>> IntoMap<K, V> for I {
    fn into_map(mut self) -> BTreeMap<K, V> {
        map_of(&mut self)
    }
}

fn map_of<K: Ord, V>(entries: &mut dyn Iterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        map.insert(key, value);
    }
    map
}

/// Collects into a set.
pub trait IntoSet<T> {
    /// Inserts one item after the other, as [`IntoMap::into_map`] does with entries.
    fn into_set(self) -> BTreeSet<T>;
}

impl<T: Ord, I: Iterator<Item = T>> IntoSet<T> for I {
    fn into_set(mut self) -> BTreeSet<T> {
        set_of(&mut self)
    }
}

fn set_of<T: Ord>(items: &mut dyn Iterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

/// Sorts as `slice::sort_by` does: equal items keep their order.
pub fn by<T>(items: &mut [T], mut order: impl FnMut(&T, &T) -> Ordering) {
    let positions = positions(items.len(), &mut |one, other| match (
        items.get(one),
        items.get(other),
    ) {
        (Some(one), Some(other)) => order(one, other),
        _ => Ordering::Equal,
    });
    arrange(items, positions);
}

/// Sorts as `slice::sort_by_key` does: equal items keep their order.
pub fn by_key<T, K: Ord>(items: &mut [T], mut key: impl FnMut(&T) -> K) {
    by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts as `slice::sort` does.
pub fn ascending<T: Ord>(items: &mut [T]) {
    by(items, T::cmp);
}

/// The places of this number of items, in their order.
fn positions(items: usize, order: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..items).collect();
    positions.sort_by(|one, other| order(*one, *other));
    positions
}

/// Brings the items from these places, one cycle of places after the other.
fn arrange<T>(items: &mut [T], mut places: Vec<usize>) {
    for begin in 0..places.len() {
        let mut to = begin;
        // A place that was filled is its own.
        while let Some(place) = places.get_mut(to)
            && *place != to
        {
            let from = std::mem::replace(place, to);
            if from == begin {
                break;
            }
            items.swap(to, from);
            to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn maps_and_sets_are_filled_as_the_library_fills_them(entries: Vec<(u8, u16)>) {
            let expected: BTreeSet<(u8, u16)> = entries.iter().copied().collect();
            prop_assert_eq!(entries.iter().copied().into_set(), expected);
            let expected: BTreeMap<u8, u16> = entries.iter().copied().collect();
            prop_assert_eq!(entries.into_iter().into_map(), expected);
        }

        #[test]
        fn items_are_sorted_as_the_library_sorts_them(mut items: Vec<(u8, u16)>) {
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key % 8);
            by_key(&mut items, |(key, _)| *key % 8);
            prop_assert_eq!(&items, &expected);
            expected.sort_by(|one, other| other.cmp(one));
            by(&mut items, |one, other| other.cmp(one));
            prop_assert_eq!(&items, &expected);
            expected.sort();
            ascending(&mut items);
            prop_assert_eq!(items, expected);
        }
    }
}
