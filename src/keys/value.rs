//! Values of keys: read from text, and written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::Kind;

/// What stands at a key.
#[derive(Debug, Clone)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Whole(u64),
    Number(f64),
    /// A duration.
    Time(Duration),
    Text(String),
    /// A file or a folder.
    Path(PathBuf),
    /// A text that is never shown.
    Secret(SecretString),
    /// An address that may have a password in it.
    Address(SecretString),
    /// Texts.
    List(Vec<String>),
    /// Texts by name.
    Texts(BTreeMap<String, String>),
    /// Whole numbers by name.
    Wholes(BTreeMap<String, u64>),
    /// Numbers by name.
    Numbers(BTreeMap<String, f64>),
}

impl Value {
    /// Its text as a single value has it; `None` for lists, mappings and secrets.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Value::Flag(flag) => flag.to_string(),
            Value::Whole(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Time(time) => duration_text(*time),
            Value::Text(text) => text.clone(),
            Value::Path(path) => path.display().to_string(),
            Value::Secret(_)
            | Value::Address(_)
            | Value::List(_)
            | Value::Texts(_)
            | Value::Wholes(_)
            | Value::Numbers(_) => return None,
        })
    }

    /// Its entries, where it is a mapping.
    pub fn entries(&self) -> Option<Vec<(&str, String)>> {
        fn texts<T: ToString>(map: &BTreeMap<String, T>) -> Vec<(&str, String)> {
            map.iter()
                .map(|(name, value)| (name.as_str(), value.to_string()))
                .collect()
        }
        match self {
            Value::Texts(map) => Some(texts(map)),
            Value::Wholes(map) => Some(texts(map)),
            Value::Numbers(map) => Some(texts(map)),
            _ => None,
        }
    }
}

/// Why a text is no value of a kind, and what to write instead.
pub type Invalid = (String, Option<String>);

impl Kind {
    /// The value that this text is; the error says why it is none. Lists and mappings are read item by item.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(&self, text: &str) -> Result<Value, Invalid> {
        Ok(match self {
            Kind::Flag => Value::Flag(flag(text).map_err(|why| (why, None))?),
            Kind::Whole | Kind::Wholes => Value::Whole(whole_number(text)?),
            Kind::Number | Kind::Numbers => Value::Number(number(text)?),
            Kind::Time => Value::Time(duration(text)?),
            Kind::Path => Value::Path(PathBuf::from(text)),
            Kind::Secret => Value::Secret(SecretString::from(text)),
            Kind::Address => Value::Address(SecretString::from(text)),
            Kind::Choice(words) => {
                let word = text.to_ascii_lowercase().replace([' ', '_'], "-");
                if !words.contains(&word.as_str()) {
                    return Err((
                        format!("unknown value `{text}`"),
                        Some(format!("expected one of {}", words.join(", "))),
                    ));
                }
                Value::Text(word)
            }
            Kind::Form(form) => {
                (form.check)(text).map_err(|why| (why, None))?;
                Value::Text(text.to_owned())
            }
            _ => Value::Text(text.to_owned()),
        })
    }
}

fn whole_number(text: &str) -> Result<u64, Invalid> {
    text.parse()
        .map_err(|_| (format!("`{text}` is not a whole number of 0 or more"), None))
}

fn number(text: &str) -> Result<f64, Invalid> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| (format!("`{text}` is not a number of 0 or more"), None))
}

/// A truth value as YAML 1.1 has it, which the original program was written for.
///
/// # Errors
/// When it is none.
pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// `10m`, `90s`, `1h30m`, or a number of seconds.
///
/// # Errors
/// When it is none of these.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| {
            let remedy = "write `10m`, `90s`, `1h30m`, or a number of seconds";
            (
                format!("`{text}` is not a duration"),
                Some(remedy.to_owned()),
            )
        })
}

/// A duration as [`duration`] reads it.
pub fn duration_text(duration: Duration) -> String {
    match jiff::SignedDuration::try_from(duration) {
        // Two words are one here: `1h30m`.
        Ok(signed) => format!("{signed:#}").replace(' ', ""),
        Err(_) => duration.as_secs().to_string(),
    }
}

/// A type that a key can have.
pub trait Setting: Sized {
    /// What the key takes.
    const KIND: Kind;

    /// The setting that the value is; `None` when it is of another kind.
    fn of(value: Value) -> Option<Self>;

    /// Its value; `None` where there is nothing.
    fn value(&self) -> Option<Value>;
}

macro_rules! plain {
    ($($type:ty: $kind:ident, $variant:ident;)*) => {$(
        impl Setting for $type {
            const KIND: Kind = Kind::$kind;
            fn of(value: Value) -> Option<$type> {
                match value {
                    Value::$variant(value) => Some(value),
                    _ => None,
                }
            }
            fn value(&self) -> Option<Value> {
                Some(Value::$variant(self.clone()))
            }
        }
    )*};
}

plain! {
    bool: Flag, Flag;
    u64: Whole, Whole;
    f64: Number, Number;
    Duration: Time, Time;
    String: Text, Text;
    PathBuf: Path, Path;
    SecretString: Secret, Secret;
    Vec<String>: List, List;
    BTreeMap<String, String>: Texts, Texts;
    BTreeMap<String, u64>: Wholes, Wholes;
    BTreeMap<String, f64>: Numbers, Numbers;
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;
    fn of(value: Value) -> Option<Option<T>> {
        T::of(value).map(Some)
    }
    fn value(&self) -> Option<Value> {
        self.as_ref().and_then(T::value)
    }
}

/// Words for the variants of an enum, and that it is a [`Setting`].
#[macro_export]
macro_rules! words {
    ($enum:ident: $($variant:ident $word:literal),* $(,)?) => {
        impl $enum {
            /// The word for it in the configuration.
            pub fn word(self) -> &'static str {
                match self {
                    $($enum::$variant => $word,)*
                }
            }
        }

        impl $crate::Setting for $enum {
            const KIND: $crate::Kind = $crate::Kind::Choice(&[$($word),*]);
            fn of(value: $crate::Value) -> Option<$enum> {
                match value.text()?.as_str() {
                    $($word => Some($enum::$variant),)*
                    _ => None,
                }
            }
            fn value(&self) -> Option<$crate::Value> {
                Some($crate::Value::Text(self.word().to_owned()))
            }
        }
    };
}
