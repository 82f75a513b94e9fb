//! Keys that ehos does not know: all of a file, with what could be meant by them.

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::Problem;
use super::file::{
    Auth, Budget, Cloud, Condor, Daemon, Ehos, File, InfluxdbKeys, MERGE_KEY, Metrics, Section,
    SubmitterKeys, Window,
};
use super::position;
use super::schedules::skip;
use super::text;

/// Each section's keys, for hints.
const SECTIONS: [(&str, &[&str]); 4] = [
    ("clouds.NAME:", Cloud::KEYS),
    ("ehos:", Ehos::KEYS),
    ("daemon:", Daemon::KEYS),
    ("condor:", Condor::KEYS),
];

/// The unknown keys of the file with this text, which is one that the parser takes.
pub(super) fn keys(path: &Path, text: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let walk = Walk {
        at: At::File,
        path: &mut Vec::new(),
        found: &mut found,
    };
    // Errors of the text are told by the parser.
    let _: Result<(), serde_yaml::Error> =
        walk.deserialize(serde_yaml::Deserializer::from_str(text));
    let problem = |(keys, known): (Vec<String>, &[&str])| {
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        Problem {
            file: Some(path.to_owned()),
            place: position::find(text, &names),
            key: Some(keys.join(".")),
            what: hint(names.last().copied().unwrap_or_default(), known),
        }
    };
    found.into_iter().map(problem).collect()
}

/// What could be meant by `unknown` where the keys `known` can stand.
pub(super) fn hint(unknown: &str, known: &[&str]) -> String {
    let likeness = |key: &str| strsim::jaro_winkler(unknown, key);
    let nearest = known
        .iter()
        .copied()
        .filter(|key| likeness(key) > 0.8)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let elsewhere = SECTIONS.iter().find(|(_, keys)| keys.contains(&unknown));
    if let Some((_, blank)) = text::odd_blank_in(unknown) {
        return format!("there is no such key; there is {blank} in it: put a space in its place");
    }
    let hint = match (elsewhere, nearest) {
        (Some((section, _)), _) => format!("it belongs under `{section}`"),
        (None, Some(key)) => format!("the nearest known key is `{key}`"),
        (None, None) => format!("the known keys here are {}", known.join(", ")),
    };
    format!("there is no such key; {hint}")
}

/// Where the walk is.
#[derive(Clone, Copy)]
enum At {
    File,
    Clouds,
    Cloud,
    Windows,
    Submitters,
    Keys(&'static [&'static str]),
    Value,
}

impl At {
    /// The keys that can stand here; `None`: any.
    fn known(self) -> Option<&'static [&'static str]> {
        match self {
            At::File => Some(File::KEYS),
            At::Cloud => Some(Cloud::KEYS),
            At::Keys(keys) => Some(keys),
            At::Clouds | At::Windows | At::Submitters | At::Value => None,
        }
    }

    fn below(self, key: &str) -> At {
        match (self, key) {
            (At::File, "clouds") => At::Clouds,
            (At::File, "ehos") => At::Keys(Ehos::KEYS),
            (At::File, "daemon") => At::Keys(Daemon::KEYS),
            (At::File, "condor") => At::Keys(Condor::KEYS),
            (At::File, "metrics") => At::Keys(Metrics::KEYS),
            (At::File | At::Keys(_), "influxdb") => At::Keys(InfluxdbKeys::KEYS),
            (At::Clouds, _) => At::Cloud,
            (At::Cloud | At::Keys(_), "budget") => At::Keys(Budget::KEYS),
            (At::Keys(_), "user_limits" | "accounting_group_limits") => At::Submitters,
            (At::Submitters, _) => At::Keys(SubmitterKeys::KEYS),
            (At::Keys(_), "schedules") => At::Windows,
            (At::Windows, _) => At::Keys(Window::KEYS),
            (At::Cloud, "auth") => At::Keys(Auth::KEYS),
            _ => At::Value,
        }
    }
}

struct Walk<'w> {
    at: At,
    path: &'w mut Vec<String>,
    found: &'w mut Vec<(Vec<String>, &'static [&'static str])>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.at {
            At::Value => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        // An address where a mapping can stand, too.
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if matches!(self.at, At::Value) {
            return skip(&mut seq);
        }
        // Elsewhere a list can only stand at a merge key.
        if !matches!(self.at, At::Windows) {
            while seq
                .next_element_seed(Walk {
                    at: self.at,
                    path: &mut *self.path,
                    found: &mut *self.found,
                })?
                .is_some()
            {}
            return Ok(());
        }
        for number in 1_usize.. {
            self.path.push(number.to_string());
            let next = seq.next_element_seed(Walk {
                at: self.at.below(""),
                path: &mut *self.path,
                found: &mut *self.found,
            })?;
            self.path.pop();
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            // What is merged has the keys of the section that it is merged into.
            if key == MERGE_KEY && !matches!(self.at, At::Value) {
                map.next_value_seed(Walk {
                    at: self.at,
                    path: &mut *self.path,
                    found: &mut *self.found,
                })?;
                continue;
            }
            let at_top = matches!(self.at, At::File);
            let below = self.at.below(&key);
            self.path.push(key);
            let unknown = self.at.known().filter(|known| {
                let key = self.path.last().map(String::as_str);
                // A place for anchors.
                let of_the_site = at_top && key.is_some_and(|key| key.starts_with("x-"));
                !of_the_site && !known.iter().any(|name| Some(*name) == key)
            });
            if let Some(known) = unknown {
                self.found.push((self.path.clone(), known));
            }
            map.next_value_seed(Walk {
                at: below,
                path: &mut *self.path,
                found: &mut *self.found,
            })?;
            self.path.pop();
        }
        Ok(())
    }
}
