//! What stands at one key of a configuration file.
//!
//! A value of the wrong kind is kept as that, not as an error of the parser: so that all of them are reported
//! together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::file::{MERGE_KEY, Merged};
use super::influxdb::WriteUrl;
use super::yaml;
use crate::scaling::schedule::Spare;

/// What stands at a key: nothing (also `None`, as the original program writes it), a value, or something else.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Given<T> {
    #[default]
    Absent,
    Value(T),
    Wrong(String),
}

impl<T> Given<T> {
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Wrong(_) => None,
        }
    }

    pub(super) fn take(&mut self) -> Given<T> {
        std::mem::replace(self, Given::Absent)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Given::Absent)
    }
}

impl<T: Clone> Given<T> {
    pub(super) fn value(&self) -> Option<T> {
        self.get().cloned()
    }
}

/// A key that says nothing any more; anything may stand there.
#[derive(Debug, Default)]
pub(super) struct Obsolete(pub(super) bool);

impl<'de> Deserialize<'de> for Obsolete {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Obsolete, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Obsolete(true))
    }
}

/// A kind of value.
pub(super) trait Value: Sized {
    /// Whether it must not be shown.
    const SECRET: bool = false;

    /// What people are shown of it.
    fn show(&self) -> String;

    /// Reads one that is not null.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Given<Self>, D::Error>;
}

impl<'de, T: Value> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
        struct NotNull<T>(std::marker::PhantomData<T>);
        impl<'de, T: Value> Visitor<'de> for NotNull<T> {
            type Value = Given<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_none<E>(self) -> Result<Given<T>, E> {
                Ok(Given::Absent)
            }
            fn visit_unit<E>(self) -> Result<Given<T>, E> {
                Ok(Given::Absent)
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Given<T>, D::Error> {
                T::read(d)
            }
        }
        deserializer.deserialize_option(NotNull(std::marker::PhantomData))
    }
}

/// A scalar as it is written, whatever YAML takes it for (`0123` and `1e5` are names and passwords here).
struct Text;

impl Visitor<'_> for Text {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }
    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// `<IN_ANGLE_BRACKETS>`, as the examples of the original program write what is to be filled in.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .is_some_and(|inner| {
            inner.starts_with(|c: char| c.is_ascii_uppercase()) && !inner.contains(['<', '>'])
        })
}

const PLACEHOLDER: &str = "is still a placeholder: put the real value in its place";

pub(super) fn scalar<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Given<T> {
    match text {
        "None" => Given::Absent,
        _ if is_placeholder(text) => Given::Wrong(PLACEHOLDER.to_owned()),
        "" => Given::Wrong("is empty: give a value, or leave the key out".to_owned()),
        _ => match parse(text) {
            Ok(value) => Given::Value(value),
            Err(why) => Given::Wrong(why),
        },
    }
}

macro_rules! scalars {
    ($($type:ty: $parse:expr, $show:expr;)*) => {$(
        impl Value for $type {
            fn show(&self) -> String {
                $show(self)
            }
            fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Given<Self>, D::Error> {
                Ok(scalar(&d.deserialize_str(Text)?, $parse))
            }
        }
    )*};
}

scalars! {
    String: |text| Ok(text.to_owned()), String::clone;
    PathBuf: |text| Ok(PathBuf::from(text)), |path: &PathBuf| path.display().to_string();
    u64: whole_number, u64::to_string;
    f64: number, f64::to_string;
    bool: flag, bool::to_string;
    Duration: duration, |value: &Duration| duration_text(*value);
    Spare: spare, Spare::to_string;
    WriteUrl: |text| Ok(WriteUrl::new(text)), WriteUrl::shown;
}

impl Value for SecretString {
    const SECRET: bool = true;
    fn show(&self) -> String {
        MASK.to_owned()
    }
    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Given<Self>, D::Error> {
        Ok(scalar(&d.deserialize_str(Text)?, |text| {
            Ok(SecretString::from(text))
        }))
    }
}

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

fn whole_number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a whole number of 0 or more"))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| format!("`{text}` is not a number of 0 or more"))
}

/// `2`, or `10%`.
fn spare(text: &str) -> Result<Spare, String> {
    let (number, share) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text, false),
    };
    match (number.parse(), share) {
        (Ok(count), false) => Ok(Spare::Count(count)),
        (Ok(percent), true) if percent <= 1000 => Ok(Spare::Percent(percent)),
        _ => Err(format!(
            "`{text}` is neither a whole number of 0 or more, nor a share of the nodes like `10%`"
        )),
    }
}

/// As YAML 1.1 has it, which the original program was written for.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// `10m`, `90s`, `1h30m`, or a number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| {
            format!(
                "`{text}` is not a duration: write `10m`, `90s`, `1h30m`, or a number of seconds"
            )
        })
}

/// A duration as [`duration`] reads it.
pub(super) fn duration_text(duration: Duration) -> String {
    match jiff::SignedDuration::try_from(duration) {
        // Two words are one here: `1h30m`.
        Ok(signed) => format!("{signed:#}").replace(' ', ""),
        Err(_) => duration.as_secs().to_string(),
    }
}

/// A list, or one value for a list of one.
impl Value for Vec<String> {
    fn show(&self) -> String {
        match self.as_slice() {
            [only] => only.clone(),
            several => yaml::list(several),
        }
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Given<Self>, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Given<Vec<String>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(scalar(text, |text| Ok(vec![text.to_owned()])))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Given::Value(vec![number.to_string()]))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Given::Value(vec![number.to_string()]))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Given::Wrong(format!(
                    "YAML takes this for the number {number}: write it in quotes"
                )))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Given::Value(vec![flag.to_string()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                let mut wrong = None;
                while let Some(element) = seq.next_element::<Given<String>>()? {
                    match element {
                        Given::Value(text) => list.push(text),
                        Given::Absent => {}
                        Given::Wrong(why) => wrong = wrong.or(Some(why)),
                    }
                }
                Ok(wrong.map_or(Given::Value(list), Given::Wrong))
            }
        }
        deserializer.deserialize_any(List)
    }
}

/// Names and values.
impl Value for BTreeMap<String, String> {
    fn show(&self) -> String {
        let pair = |(key, value): (&String, &String)| format!("{key}: {value}");
        let pairs: Vec<String> = self.iter().map(pair).collect();
        format!("{{{}}}", pairs.join(", "))
    }
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Given<Self>, D::Error> {
        Pairs::deserialize(deserializer).map(|pairs| pairs.0)
    }
}

/// A mapping that is not null.
struct Pairs(Given<BTreeMap<String, String>>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        deserializer.deserialize_map(Map).map(Pairs)
    }
}

struct Map;

impl<'de> Visitor<'de> for Map {
    type Value = Given<BTreeMap<String, String>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of names to values")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        let mut wrong = None;
        let mut merged = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == MERGE_KEY {
                merged = map.next_value::<Merged<Pairs>>()?.0;
                continue;
            }
            match map.next_value::<Given<String>>()? {
                Given::Value(value) => {
                    if out.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("`{key}` stands here twice")));
                    }
                }
                Given::Absent => {}
                Given::Wrong(why) => wrong = wrong.or(Some(format!("`{key}`: {why}"))),
            }
        }
        for under in merged {
            match under.0 {
                Given::Value(under) => {
                    for (key, value) in under {
                        out.entry(key).or_insert(value);
                    }
                }
                Given::Absent => {}
                Given::Wrong(why) => wrong = wrong.or(Some(why)),
            }
        }
        Ok(wrong.map_or(Given::Value(out), Given::Wrong))
    }
}

macro_rules! by_name {
    ($($type:ty: $parse:expr;)*) => {$(
        /// Names and amounts.
        impl Value for BTreeMap<String, $type> {
            fn show(&self) -> String {
                let pair = |(key, value): (&String, &$type)| format!("{key}: {value}");
                let pairs: Vec<String> = self.iter().map(pair).collect();
                format!("{{{}}}", pairs.join(", "))
            }
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Given<Self>, D::Error> {
                let texts = match BTreeMap::<String, String>::read(deserializer)? {
                    Given::Value(texts) => texts,
                    Given::Absent => return Ok(Given::Absent),
                    Given::Wrong(why) => return Ok(Given::Wrong(why)),
                };
                let amount = |(key, text): (String, String)| match $parse(&text) {
                    Ok(amount) => Ok((key, amount)),
                    Err(why) => Err(format!("`{key}`: {why}")),
                };
                let amounts: Result<Self, String> = texts.into_iter().map(amount).collect();
                Ok(amounts.map_or_else(Given::Wrong, Given::Value))
            }
        }
    )*};
}

by_name! {
    f64: number;
    u64: whole_number;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Value>(yaml: &str) -> Given<T> {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        assert_eq!(read("0123"), Given::Value("0123".to_owned()));
        assert_eq!(read("1e5"), Given::Value("1e5".to_owned()));
        assert_eq!(read::<String>("None"), Given::Absent);
        assert_eq!(read::<u64>("~"), Given::Absent);
        assert_eq!(read("'~'"), Given::Value("~".to_owned()));
        assert_eq!(read("'12'"), Given::Value(12_u64));
        for yes in ["True", "yes", "on", "1", "'1'"] {
            assert_eq!(read(yes), Given::Value(true), "{yes}");
        }
        assert!(matches!(read::<u64>("-1"), Given::Wrong(_)));
        assert!(matches!(read::<f64>("nan"), Given::Wrong(_)));
        assert!(matches!(read::<String>("<URL>"), Given::Wrong(_)));
        assert!(matches!(
            read::<String>("<BASE OS NAME, like X>"),
            Given::Wrong(_)
        ));
        assert!(matches!(read::<String>("''"), Given::Wrong(_)));
    }

    #[test]
    fn durations() {
        let seconds = |yaml| read::<Duration>(yaml).value().map(|d| d.as_secs_f64());
        assert_eq!(seconds("10m"), Some(600.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1 hour 30 min"), Some(5400.0));
        assert_eq!(seconds("90"), Some(90.0));
        assert_eq!(seconds("0.5s"), Some(0.5));
        for wrong in ["-5", "5 apples", "-10m", "1.5", "99999999999999999999"] {
            assert!(
                matches!(read::<Duration>(wrong), Given::Wrong(_)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn lists() {
        let list = |items: &[&str]| Given::Value(items.iter().map(|i| (*i).to_owned()).collect());
        assert_eq!(read::<Vec<String>>("a b"), list(&["a b"]));
        assert_eq!(read::<Vec<String>>("[a, 2, None]"), list(&["a", "2"]));
        assert_eq!(read::<Vec<String>>("None"), Given::Absent);
        assert_eq!(read::<Vec<String>>("2"), list(&["2"]));
        assert!(matches!(read::<Vec<String>>("[a, <B>]"), Given::Wrong(_)));
        assert!(serde_yaml::from_str::<Given<Vec<String>>>("{a: b}").is_err());
    }

    #[test]
    fn amounts_by_name() {
        let read = |yaml| read::<BTreeMap<String, f64>>(yaml);
        assert_eq!(
            read("{m1.small: 0.05, m1.large: '2'}").value(),
            Some(BTreeMap::from([
                ("m1.large".to_owned(), 2.0),
                ("m1.small".to_owned(), 0.05)
            ]))
        );
        for wrong in ["{a: -1}", "{a: cheap}", "{a: nan}"] {
            assert!(matches!(read(wrong), Given::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn counts_by_name() {
        let read = |yaml| read::<BTreeMap<String, u64>>(yaml);
        assert_eq!(
            read("{g1.large: 2, m1.small: 0}").value(),
            Some(BTreeMap::from([
                ("g1.large".to_owned(), 2),
                ("m1.small".to_owned(), 0)
            ]))
        );
        for wrong in ["{a: -1}", "{a: many}", "{a: 0.5}"] {
            assert!(matches!(read(wrong), Given::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn a_count_or_a_share() {
        assert_eq!(read("2"), Given::Value(Spare::Count(2)));
        assert_eq!(read("10%"), Given::Value(Spare::Percent(10)));
        for wrong in ["-1", "10.5%", "many", "'%'", "5000%"] {
            assert!(matches!(read::<Spare>(wrong), Given::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = read::<SecretString>("hush");
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
