//! Lists, item by item: an item that cannot be read is named, and the others are read.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use scaling::sorting::IntoMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::message;
use scaling::observation::Unread;
use system::json;

/// A list of which each item was read alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T> {
    /// The items that can be read, in the order of the list.
    pub read: Vec<T>,
    /// The items that cannot.
    pub unread: Vec<UnreadItem>,
}

impl<T> Default for Items<T> {
    fn default() -> Items<T> {
        Items {
            read: Vec::new(),
            unread: Vec::new(),
        }
    }
}

/// An item that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadItem {
    /// Its id, where that can be read.
    pub id: Option<String>,
    /// Its name, where that can be read.
    pub name: Option<String>,
    /// The same for people, with the reason.
    pub told: Unread,
}

impl UnreadItem {
    /// Whether it has this id or name.
    pub fn is(&self, wanted: &str) -> bool {
        let is = |found: &Option<String>| found.as_deref() == Some(wanted);
        is(&self.id) || is(&self.name)
    }
}

/// A JSON object. serde reads a list of values as a struct, too.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Reads `items`, which are of the kind `what`.
pub fn each<'a, T: Deserialize<'a>>(what: &str, items: &[&'a RawValue]) -> Items<T> {
    let mut all = Items::default();
    for (position, item) in items.iter().enumerate() {
        match json::read(item.get()) {
            Ok(read) => all.read.push(read),
            Err(error) => all
                .unread
                .push(unread(what, position, item, why(item.get(), &error))),
        }
    }
    all
}

/// The item at `position` of a list, by what can be read of it.
pub fn unread(what: &str, position: usize, item: &RawValue, why: String) -> UnreadItem {
    let fields = fields(item.get());
    // Each keypair of Nova is in an object of its own.
    let fields = match fields.get("keypair") {
        Some(inner) if fields.len() == 1 => self::fields(inner.get()),
        _ => fields,
    };
    let text = |keys: &[&str]| {
        let mut found = keys.iter().filter_map(|key| fields.get(*key));
        found.find_map(|value| plain(value))
    };
    let id = text(&["id"]);
    let name = text(&[
        "name",
        "zoneName",
        "type",
        "floating_ip_address",
        "interface",
    ]);
    let item = match (&name, &id) {
        (Some(name), Some(id)) => format!("{what} {name} ({id})"),
        (Some(one), None) | (None, Some(one)) => format!("{what} {one}"),
        (None, None) => format!("{what} {} of the list", position + 1),
    };
    UnreadItem {
        told: Unread {
            item: message::shorten(&item),
            why,
        },
        id,
        name,
    }
}

/// The fields of an object; none of what is no object.
pub fn fields(text: &str) -> BTreeMap<String, &RawValue> {
    json::read(text).unwrap_or_default()
}

/// The field `name` of an object.
#[cfg(fuzzing)]
pub fn field<'a, T: Deserialize<'a>>(body: &'a [u8], name: &str) -> serde_json::Result<T> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(body)?;
    json::read(fields.get(name).map_or("", |value| value.get()))
}

/// A string that is not empty.
fn plain(value: &RawValue) -> Option<String> {
    let text: Option<String> = json::read(value.get()).ok();
    text.filter(|text| !text.is_empty())
}

/// Why `text` cannot be read, with the name of the field. A value may be quoted.
pub fn why(text: &str, error: &serde_json::Error) -> String {
    let words = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let words = words.strip_suffix(&place).unwrap_or(&words);
    let lines = text.split_inclusive('\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let path = path(text, before + error.column());
    message::shorten(&if path.is_empty() {
        words.to_owned()
    } else {
        format!("{path}: {words}")
    })
}

/// The field that the byte `at` of `text` is in, and the field of that one.
fn path(text: &str, at: usize) -> String {
    let mut names: Vec<String> = Vec::new();
    let (mut text, mut at) = (text, at);
    // No answer of OpenStack is deeper where ehos reads it.
    for _ in 0..8 {
        let whole = text;
        let start = |value: &RawValue| {
            let start = (value.get().as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
            (start <= at && at <= start.saturating_add(value.get().len())).then_some(start)
        };
        let in_object = fields(whole)
            .into_iter()
            .find_map(|(name, value)| Some((name, value, start(value)?)));
        let items: Vec<&RawValue> = json::read(whole).unwrap_or_default();
        let in_list = items
            .into_iter()
            .enumerate()
            .find_map(|(number, value)| Some((number.to_string(), value, start(value)?)));
        let Some((name, value, start)) = in_object.or(in_list) else {
            break;
        };
        names.push(name);
        (text, at) = (value.get(), at.saturating_sub(start));
    }
    names.join(".")
}

/// A field that decides nothing: what cannot be read of it is as if it were not there.
pub fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    from: D,
) -> Result<T, D::Error> {
    let raw = <&RawValue>::deserialize(from)?;
    Ok(json::read(raw.get()).unwrap_or_default())
}

/// Of a field that is an object, the entries that are text or numbers, as text.
pub fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let raw = <&RawValue>::deserialize(from)?;
    let text = |value: &RawValue| match json::read(value.get()) {
        Ok(serde_json::Value::String(text)) => Some(text),
        Ok(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let entries = fields(raw.get()).into_iter();
    Ok(entries
        .filter_map(|(key, value)| Some((key, text(value)?)))
        .into_map())
}

/// Of a field that is a list, the items that can be read.
pub fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let raw = <&RawValue>::deserialize(from)?;
    let items: Vec<&RawValue> = json::read(raw.get()).unwrap_or_default();
    let items = items.into_iter();
    Ok(items
        .filter_map(|item| json::read(item.get()).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Thing {
        id: String,
        size: u64,
        #[serde(default, deserialize_with = "lenient")]
        note: Option<String>,
        #[serde(default, deserialize_with = "readable")]
        parts: Vec<u64>,
    }

    fn read(list: &str) -> Items<Thing> {
        let items: Vec<&RawValue> = serde_json::from_str(list).unwrap();
        each("thing", &items)
    }

    #[test]
    fn an_item_that_cannot_be_read_is_named_with_its_field() {
        for (item, told) in [
            (
                r#"{"id": "a", "size": null}"#,
                "thing a cannot be read: size: invalid type: null, expected u64",
            ),
            (
                r#"{"id": "a"}"#,
                "thing a cannot be read: missing field `size`",
            ),
            (
                r#"{"id": "a", "name": "web", "size": {"of": [1]}}"#,
                "thing web (a) cannot be read: size: invalid type: map, expected u64",
            ),
            (
                "{\"name\": \"web\",\n \"id\": 7,\n \"size\": 1}",
                "thing web cannot be read: id: invalid type: integer `7`, expected a string",
            ),
            (
                r#"{"id": "", "size": ""}"#,
                r#"thing 2 of the list cannot be read: size: invalid type: string "", expected u64"#,
            ),
            (
                "null",
                "thing 2 of the list cannot be read: invalid type: null, expected struct Thing",
            ),
            (
                "[[]]",
                "thing 2 of the list cannot be read: 0: invalid type: sequence, expected a string",
            ),
            (
                r#"{"id": "a", "size": 1e999}"#,
                "thing a cannot be read: size: number out of range",
            ),
            (
                r#"{"id": "a", "size": 1, "id": "b"}"#,
                "thing b cannot be read: duplicate field `id`",
            ),
        ] {
            let all = read(&format!(
                r#"[{{"id": "x", "size": 1}}, {item}, {{"id": "y", "size": 2}}]"#
            ));
            let ids: Vec<&str> = all.read.iter().map(|thing| thing.id.as_str()).collect();
            assert_eq!(ids, ["x", "y"], "{item}");
            let unread: Vec<String> = all.unread.iter().map(|one| one.told.to_string()).collect();
            assert_eq!(unread, [told], "{item}");
        }
    }

    #[test]
    fn fields_that_decide_nothing_spoil_nothing() {
        let all = read(
            r#"[{"id": "x", "size": 1, "note": 7, "parts": [1, null, "2", 3]}, {"id": "y", "size": 1, "parts": null}]"#,
        );
        let parts: Vec<&[u64]> = all.read.iter().map(|thing| &*thing.parts).collect();
        assert_eq!(parts, [&[1, 3][..], &[]]);
        assert_eq!(all.read[0].note, None);
    }

    #[test]
    fn an_item_is_found_by_its_id_and_its_name() {
        let all = read(r#"[{"id": "a", "name": "web"}]"#);
        assert!(all.unread[0].is("a") && all.unread[0].is("web") && !all.unread[0].is("thing"));
    }

    /// Any JSON, deep and odd, with text that is no Unicode.
    fn anything() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1e999".to_owned()),
            Just(r#""\ud800""#.to_owned()),
            Just("[".repeat(300) + &"]".repeat(300)),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<bool>().prop_map(|yes| yes.to_string()),
            "[a-z]{0,5}".prop_map(|text| format!("\"{text}\"")),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let key = prop_oneof![Just("id"), Just("size"), Just("note"), Just("other")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec((key, inner), 0..5).prop_map(|entries| {
                    let entries: Vec<String> = entries
                        .iter()
                        .map(|(key, value)| format!("\"{key}\":{value}"))
                        .collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_one_item_is_the_others_are_read(item in anything(), at in 0_usize..4) {
            let mut items: Vec<String> =
                (0..3).map(|number| format!(r#"{{"id": "g{number}", "size": {number}}}"#)).collect();
            items.insert(at, item);
            let all = read(&format!("[{}]", items.join(",")));
            let good = all.read.iter().filter(|thing| thing.id.starts_with('g') && thing.id.len() == 2);
            prop_assert!(good.count() >= 3);
            prop_assert_eq!(all.read.len() + all.unread.len(), 4);
        }
    }
}
