//! Maps for look-ups by name. Nothing depends on their order.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by name.
pub(crate) type Index<K, V> = HashMap<K, V, BuildHasherDefault<NameHasher>>;

/// A set of names.
pub type Names<'a> = HashSet<&'a str, BuildHasherDefault<NameHasher>>;

/// A hasher without a random source (design rule 7): equal input costs equal time.
///
/// Names that somebody chose to collide make a look-up as slow as a search of a list.
#[derive(Debug, Default)]
pub struct NameHasher(u64);

/// The fractional part of the golden ratio, and an odd number without a pattern.
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

impl NameHasher {
    /// Both halves of a product depend on all bits of both factors.
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ FIRST) * u128::from(SECOND);
        #[allow(clippy::cast_possible_truncation)] // The halves.
        let halves = (product as u64, (product >> 64) as u64);
        self.0 = halves.0 ^ halves.1;
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let word = rest
                .iter()
                .fold(1, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
    }

    fn write_u8(&mut self, end: u8) {
        self.mix(u64::from(end));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An empty map with room for `names`.
pub(crate) fn index<K, V>(names: usize) -> Index<K, V> {
    Index::with_capacity_and_hasher(names, BuildHasherDefault::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_a_little_do_not_collide() {
        let name = |number: u32| format!("20261121t{number:06}-01");
        let hash = |name: &str| {
            let mut hasher = NameHasher::default();
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
            hasher.finish()
        };
        let all: HashSet<u64> = (0..100_000).map(|number| hash(&name(number))).collect();
        assert_eq!(all.len(), 100_000);
        // A table takes its place from the low bits, and a mark from the high ones.
        let low: HashSet<u64> = all.iter().map(|hash| hash % 65_536).collect();
        let high: HashSet<u64> = all.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 45_000 && high.len() == 128, "{}", low.len());
        assert_ne!(hash("a"), hash("a\0"), "the length counts");
    }
}
