//! Where in a YAML text a key stands: the parser itself is asked, so that every way to write YAML is understood.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::MERGE_KEY;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// The place of the key at the end of `path` in `text`; `None` when it is not there.
pub fn find(text: &str, path: &[&str]) -> Option<Place> {
    // What stands at the place itself goes before what is merged into it.
    search(text, path, false).or_else(|| search(text, path, true))
}

fn search(text: &str, path: &[&str], merges: bool) -> Option<Place> {
    let error = Find { path, merges }
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .err()?;
    // Any other error is one of the text.
    if !error.to_string().contains(FOUND) {
        return None;
    }
    error.location().map(|at| Place {
        line: at.line(),
        column: at.column(),
    })
}

/// The parser tells the place of an error alone, so finding is one.
const FOUND: &str = "\u{1}found";

/// Walks down a path, with `merges` through merge keys as well.
#[derive(Clone, Copy)]
struct Find<'p> {
    path: &'p [&'p str],
    merges: bool,
}

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list")
    }

    /// The place of an element is its number, from 1.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.path.split_first() else {
            return Ok(());
        };
        if self.merges && index(wanted).is_none() {
            while seq.next_element_seed(self)?.is_some() {}
            return Ok(());
        }
        for _ in 0..index(wanted).unwrap_or(usize::MAX) {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Find { path: rest, ..self })?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.path.split_first() else {
            return Ok(());
        };
        let last = rest.is_empty();
        while let Some(found) = map.next_key_seed(Key { wanted, last })? {
            match found {
                Found::Wanted => map.next_value_seed(Find { path: rest, ..self })?,
                Found::Merge if self.merges => map.next_value_seed(self)?,
                Found::Merge | Found::Other => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

/// An element's index, of its number from 1.
fn index(key: &str) -> Option<usize> {
    key.parse::<usize>().ok()?.checked_sub(1)
}

/// The next key.
enum Found {
    Wanted,
    Merge,
    Other,
}

/// Whether the next key is the wanted one.
struct Key<'p> {
    wanted: &'p str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Found, E> {
        if key != self.wanted {
            Ok(if key == MERGE_KEY {
                Found::Merge
            } else {
                Found::Other
            })
        } else if self.last {
            Err(E::custom(FOUND))
        } else {
            Ok(Found::Wanted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &[&str]) -> Option<(usize, usize)> {
        find(text, path).map(|place| (place.line, place.column))
    }

    #[test]
    fn keys_are_found_however_they_are_written() {
        let text = "# comment\nclouds:\n  a.b: {image: x, auth: {\n     'password': y}}\n  c:\n    image: z\n\
                    ehos:\n    list: [1, {image: 2}]\n    \"odd\\u0020key\": |\n      image: no\n    image: 3\n";
        assert_eq!(at(text, &["clouds"]), Some((2, 1)));
        assert_eq!(at(text, &["clouds", "a.b", "image"]), Some((3, 9)));
        assert_eq!(
            at(text, &["clouds", "a.b", "auth", "password"]),
            Some((4, 6))
        );
        assert_eq!(at(text, &["clouds", "c", "image"]), Some((6, 5)));
        assert_eq!(at(text, &["ehos", "odd key"]), Some((9, 5)));
        assert_eq!(at(text, &["ehos", "image"]), Some((11, 5)));
        assert_eq!(at(text, &["ehos", "list", "image"]), None);
        assert_eq!(at(text, &["ehos", "list", "2", "image"]), Some((8, 16)));
        assert_eq!(at(text, &["ehos", "list", "3", "image"]), None);
        assert_eq!(at(text, &["daemon"]), None);
        let text = "x-a: &a\n  flavor: f\n  image: i\nclouds:\n  b:\n    <<: *a\n    image: own\n  c: {<<: [*a]}\n";
        assert_eq!(at(text, &["clouds", "b", "flavor"]), Some((2, 3)));
        assert_eq!(at(text, &["clouds", "b", "image"]), Some((7, 5)));
        assert_eq!(at(text, &["clouds", "c", "image"]), Some((3, 3)));
        assert_eq!(at("", &["daemon"]), None);
        assert_eq!(at("a: [", &["daemon"]), None);
    }
}
