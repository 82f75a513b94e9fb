//! YAML as a tree: any keys, merge keys resolved, and each scalar as it is written (`0123` is no number here).

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{Error, MERGE_KEY};

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Null,
    Text(String),
    /// A number, a truth value: its text is read in a second pass.
    Untold,
    /// Something with a tag of its own (`!tag value`).
    Tagged,
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What stands at a key; of a key that stands there twice, the last, as other readers of YAML take it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Node::Map(entries) = self else {
            return None;
        };
        let mut entries = entries.iter().rev();
        entries.find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Its entries, when it is a mapping.
    pub fn entries(&self) -> &[(String, Node)] {
        match self {
            Node::Map(entries) => entries,
            _ => &[],
        }
    }
}

/// The tree of the text.
pub fn parse(text: &str) -> Result<Node, Error> {
    let mut node = Shape.deserialize(serde_yaml::Deserializer::from_str(text))?;
    Texts(&mut node).deserialize(serde_yaml::Deserializer::from_str(text))?;
    merge(&mut node);
    Ok(node)
}

/// Puts what merge keys name into their mappings, below what stands there (YAML's type "merge").
fn merge(node: &mut Node) {
    match node {
        Node::List(items) => items.iter_mut().for_each(merge),
        Node::Map(entries) => {
            entries.iter_mut().for_each(|(_, value)| merge(value));
            let mut under = Vec::new();
            entries.retain_mut(|(key, value)| {
                if key == MERGE_KEY {
                    under.push(std::mem::replace(value, Node::Null));
                }
                key != MERGE_KEY
            });
            for node in under {
                let maps = match node {
                    Node::List(items) => items,
                    one => vec![one],
                };
                for map in maps {
                    let Node::Map(more) = map else { continue };
                    for (key, value) in more {
                        if entries.iter().all(|(there, _)| *there != key) {
                            entries.push((key, value));
                        }
                    }
                }
            }
        }
        Node::Null | Node::Text(_) | Node::Untold | Node::Tagged => {}
    }
}

/// First pass: the shape.
struct Shape;

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! untold {
    ($($name:ident: $type:ty),*) => {$(
        fn $name<E>(self, _: $type) -> Result<Node, E> {
            Ok(Node::Untold)
        }
    )*};
}

impl<'de> Visitor<'de> for Shape {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    untold!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Shape)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, map.next_value_seed(Shape)?));
        }
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Node, A::Error> {
        let (_, value) = data.variant::<IgnoredAny>()?;
        value.newtype_variant::<IgnoredAny>()?;
        Ok(Node::Tagged)
    }
}

/// Second pass: the texts of what YAML takes for something else.
struct Texts<'n>(&'n mut Node);

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Node::Untold => deserializer.deserialize_str(self),
            Node::List(_) => deserializer.deserialize_seq(self),
            Node::Map(_) => deserializer.deserialize_map(self),
            Node::Null | Node::Text(_) | Node::Tagged => {
                deserializer.deserialize_ignored_any(IgnoredAny).map(drop)
            }
        }
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same YAML")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        *self.0 = Node::Text(text.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Node::List(items) = self.0 {
            for item in items {
                seq.next_element_seed(Texts(item))?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Node::Map(entries) = self.0 {
            for (_, value) in entries {
                if map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value_seed(Texts(value))?;
                }
            }
        }
        // The end of the mapping.
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_their_text_wherever_they_stand() {
        let tree = parse(
            "a: &a {n: 0123, f: 1e5, b: yes, t: True, h: 0x1F, s: '12'}\nb: {<<: *a, n: 007}\nc: [12345678, {<<: [*a]}]\nd:\ne: ~\n\
             f: !tag x\n7: 1_000\n",
        )
        .unwrap();
        let text = |path: &[&str]| {
            let node = path.iter().fold(&tree, |node, key| node.get(key).unwrap());
            match node {
                Node::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            }
        };
        for (path, expected) in [
            (["a", "n"], "0123"),
            (["a", "f"], "1e5"),
            (["a", "b"], "yes"),
            (["a", "t"], "True"),
            (["a", "h"], "0x1F"),
            (["a", "s"], "12"),
            (["b", "n"], "007"),
            (["b", "f"], "1e5"),
        ] {
            assert_eq!(text(&path), expected, "{path:?}");
        }
        assert_eq!(text(&["7"]), "1_000");
        let Some(Node::List(items)) = tree.get("c") else {
            panic!("{tree:?}");
        };
        assert_eq!(items[0], Node::Text("12345678".to_owned()));
        assert_eq!(items[1].get("n"), Some(&Node::Text("0123".to_owned())));
        assert_eq!(tree.get("f"), Some(&Node::Tagged));
        for null in ["d", "e"] {
            assert_eq!(tree.get(null), Some(&Node::Null), "{null}");
        }
    }

    #[test]
    fn json_is_yaml() {
        let text = "{\n\t\"clouds\": {\n\t\t\"a\": {\"auth\": {\"auth_url\": \"https:\\/\\/a\", \"n\": 12, \"t\": true, \"x\": null}}\n\t}\n}\n";
        let auth = parse(text).unwrap();
        let auth = auth
            .get("clouds")
            .unwrap()
            .get("a")
            .unwrap()
            .get("auth")
            .unwrap();
        assert_eq!(
            auth.get("auth_url"),
            Some(&Node::Text("https://a".to_owned()))
        );
        assert_eq!(auth.get("n"), Some(&Node::Text("12".to_owned())));
        assert_eq!(auth.get("t"), Some(&Node::Text("true".to_owned())));
        assert_eq!(auth.get("x"), Some(&Node::Null));
    }
}
