//! Configuration keys: each is declared once, beside the settings that it fills.
//!
//! Owns: kinds of values, how each is read and written, and `settings!`, which makes a struct, its defaults and the rows
//! of its keys from one list.
//! Must not: know where a file is, or read one.

mod value;

use std::fmt;

pub use value::{Invalid, Setting, Value, duration, duration_text, flag};

/// What a key takes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number of 0 or more.
    Whole,
    /// A number of 0 or more.
    Number,
    /// A duration.
    Time,
    Text,
    /// A file or a folder.
    Path,
    /// A text that is never shown. `NAME_file` can name a file with it instead.
    Secret,
    /// An address that may have a password in it.
    Address,
    /// A list of texts, or one.
    List,
    /// Texts by name.
    Texts,
    /// Whole numbers by name.
    Wholes,
    /// Numbers by name.
    Numbers,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text of a form of its own.
    Form(&'static Form),
    /// A mapping of known keys.
    Table(&'static Table),
    /// An address, or a mapping of known keys with it as `url`.
    AddressOr(&'static Table),
    /// Such mappings by name. The noun is what one of them is.
    Named(&'static str, &'static Table),
    /// A list of such mappings, which replaces an earlier one as a whole.
    Tables(&'static Table),
    /// A simulated site, which has a reader of its own.
    World,
    /// A key of another program that ehos does not use, and why.
    Unused(&'static str),
}

/// A form of text.
pub struct Form {
    pub name: &'static str,
    /// A regular expression for it.
    pub pattern: &'static str,
    /// Why a text is not of this form.
    pub check: fn(&str) -> Result<(), String>,
}

/// Something about a key besides its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It is about this machine: the central manager gets another value, or none.
    Machine,
    /// 0 makes no sense.
    Positive,
    /// More than 0, and at most 1.
    Share,
    /// No more than this; of a duration, seconds.
    AtMost(u64),
    /// It can stand in this section, too, and counts there for all clouds.
    For(&'static str),
    /// Another spelling of it.
    Also(&'static str),
    /// Its name in earlier versions: it is read, and noted.
    Was(&'static str),
    /// A word in earlier versions, and the word now.
    WordWas(&'static str, &'static str),
}

/// One key: its row in the table of keys.
pub struct Key {
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What else holds for it.
    pub rules: &'static [Rule],
    pub default: fn() -> Option<Value>,
    /// The default in words, where no value says it.
    pub default_text: Option<&'static str>,
    /// What it does: its text on the reference page.
    pub text: &'static str,
}

impl Key {
    /// Whether this rule holds for it.
    pub fn is(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    /// Its other spellings.
    pub fn others(&self) -> impl Iterator<Item = &'static str> {
        self.rules.iter().filter_map(|rule| match rule {
            Rule::Also(name) => Some(*name),
            _ => None,
        })
    }

    /// Its name in earlier versions.
    pub fn former(&self) -> Option<&'static str> {
        self.rules.iter().find_map(|rule| match rule {
            Rule::Was(name) => Some(*name),
            _ => None,
        })
    }

    /// The word in the place of one of earlier versions.
    pub fn word_now(&self, written: &str) -> Option<&'static str> {
        // As a choice reads its words.
        let written = written.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        self.rules.iter().find_map(|rule| match rule {
            Rule::WordWas(old, new) if *old == written => Some(*new),
            _ => None,
        })
    }

    /// The key of a file with its value, where it has one.
    pub fn file_key(&self) -> Option<String> {
        matches!(self.kind, Kind::Secret).then(|| format!("{}_file", self.name))
    }

    /// Why this value is out of bounds.
    pub fn out_of_bounds(&self, value: &Value) -> Option<String> {
        self.rules.iter().find_map(|rule| match (rule, value) {
            (Rule::Positive, Value::Whole(0)) => Some("must be at least 1".to_owned()),
            (Rule::Positive, Value::Time(time)) if time.is_zero() => {
                Some("must be longer than 0".to_owned())
            }
            (Rule::Share, Value::Number(share)) if !(*share > 0.0 && *share <= 1.0) => {
                Some("must be a share of the nodes: more than 0 and at most 1".to_owned())
            }
            (Rule::AtMost(most), Value::Whole(number)) if number > most => {
                Some(format!("must be at most {most}"))
            }
            (Rule::AtMost(most), Value::Time(time)) if time.as_secs_f64() > *most as f64 => {
                Some(format!("must be at most {most} s: a tick waits for it"))
            }
            _ => None,
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The keys of a section: rows of several places.
pub struct Table {
    /// The rows.
    pub groups: &'static [Group],
}

/// Rows, all of them or those that [`Rule::For`] lets stand in a section.
pub struct Group {
    /// The rows.
    pub keys: &'static [Key],
    /// The section.
    pub of: Option<&'static str>,
}

impl Group {
    /// All of these rows.
    pub const fn all(keys: &'static [Key]) -> Group {
        Group { keys, of: None }
    }

    /// Those that may stand in this section for all clouds.
    pub const fn of(section: &'static str, keys: &'static [Key]) -> Group {
        Group {
            keys,
            of: Some(section),
        }
    }
}

impl Table {
    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().flat_map(|group| {
            let stands = |key: &&Key| group.of.is_none_or(|section| key.is(Rule::For(section)));
            group.keys.iter().filter(stands)
        })
    }

    /// The key that is spelled so, and what it is called: `flavors` for `flavor`.
    pub fn find(&self, written: &str) -> Option<(&'static Key, String)> {
        self.keys().find_map(|key| {
            let name = match key.file_key() {
                _ if key.name == written || key.others().any(|other| other == written) => key.name,
                _ if key.former() == Some(written) => key.name,
                Some(file) if file == written => return Some((key, file)),
                _ => return None,
            };
            Some((key, name.to_owned()))
        })
    }

    /// Every spelling of every key, but those of earlier versions.
    pub fn spellings(&self) -> Vec<String> {
        let of = |key: &'static Key| {
            let names = std::iter::once(key.name).chain(key.others());
            names.map(str::to_owned).chain(key.file_key())
        };
        self.keys().flat_map(of).collect()
    }
}

/// Settings with keys.
pub trait Settings {
    /// The rows of the table.
    const KEYS: &'static [Key];

    /// Sets the field of this key. A value of another kind changes nothing.
    fn set(&mut self, key: &str, value: Value);

    /// The value of the field of this key; `None` where it has none.
    fn get(&self, key: &str) -> Option<Value>;
}

/// The name of a key: its own, where it has one, else its field's.
pub const fn name(names: &[&'static str]) -> &'static str {
    match names {
        [.., last] => last,
        [] => "",
    }
}

/// The kind of a key: its own, where it has one, else its type's.
pub const fn kind(kinds: &[Kind]) -> Kind {
    match kinds {
        [.., last] => *last,
        [] => Kind::Text,
    }
}

/// Settings and their keys from one list. The comment of a field is its text on the reference page, `as "…"` its name in
/// the configuration, `[…]` its rules, `as […]` its kind where the type does not say it, and a text after the default says that in words. Below `beside` stand fields
/// without a key.
///
/// Makes [`Default`] and [`Settings`].
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident $(as $key:literal)? $([$($rule:ident $(($($argument:expr),+))?),*])? : $type:ty $(as [$kind:expr])? =
                    $default:expr $(, $shown:literal)?;
            )*
        }
        beside {
            $($(#[$other_meta:meta])* $other:ident: $other_type:ty = $other_default:expr;)*
        }
    ) => {
        $(#[$meta])*
        pub struct $struct {
            $($(#[doc = $doc])* pub $field: $type,)*
            $($(#[$other_meta])* pub $other: $other_type,)*
        }

        impl Default for $struct {
            fn default() -> $struct {
                $struct {
                    $($field: $default,)*
                    $($other: $other_default,)*
                }
            }
        }

        impl $crate::Settings for $struct {
            const KEYS: &'static [$crate::Key] = &[$(
                $crate::Key {
                    name: $crate::name(&[stringify!($field) $(, $key)?]),
                    kind: $crate::kind(&[<$type as $crate::Setting>::KIND $(, $kind)?]),
                    rules: &[$($($crate::Rule::$rule $(($($argument),+))?),*)?],
                    default: || {
                        let value: $type = $default;
                        $crate::Setting::value(&value)
                    },
                    default_text: $crate::shown(&[$($shown)?]),
                    text: concat!($($doc),*),
                },
            )*];

            fn set(&mut self, key: &str, value: $crate::Value) {
                $(
                    if key == $crate::name(&[stringify!($field) $(, $key)?]) {
                        if let Some(value) = $crate::Setting::of(value) {
                            self.$field = value;
                        }
                        return;
                    }
                )*
                _ = (key, value);
            }

            fn get(&self, key: &str) -> Option<$crate::Value> {
                $(
                    if key == $crate::name(&[stringify!($field) $(, $key)?]) {
                        return $crate::Setting::value(&self.$field);
                    }
                )*
                None
            }
        }
    };
}

/// The default in words.
pub const fn shown(texts: &[&'static str]) -> Option<&'static str> {
    match texts {
        [text, ..] => Some(text),
        [] => None,
    }
}

/// Keys that fill no field by themselves: `name [rules]: kind, "the default in words";` below its text.
#[macro_export]
macro_rules! keys {
    (
        $(
            $(#[doc = $doc:literal])*
            $name:ident $([$($rule:ident $(($($argument:expr),+))?),*])? : $kind:expr $(, $shown:literal)?;
        )*
    ) => {
        &[$(
            $crate::Key {
                name: stringify!($name),
                kind: $kind,
                rules: &[$($($crate::Rule::$rule $(($($argument),+))?),*)?],
                default: || None,
                default_text: $crate::shown(&[$($shown)?]),
                text: concat!($($doc),*),
            },
        )*]
    };
}

#[cfg(test)]
mod tests;
