//! Maps for look-ups by name. Nothing depends on their order.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

/// The hasher has fixed keys: equal input costs equal time, and the planner has no random source (design rule 7).
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A map by name.
pub(crate) type Index<K, V> = HashMap<K, V, Hasher>;

/// A set of names.
pub(crate) type Names<'a> = HashSet<&'a str, Hasher>;
