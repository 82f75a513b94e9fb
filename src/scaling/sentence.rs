//! One line per reason, limit or brake: variant, JSON name, numbers and sentence together.

/// Defines an enum of entries `Variant "name" { field: Type } => "sentence with {field}", further arguments;`.
///
/// serde writes the name under the enum's tag and the fields beside it, `Display` writes the sentence.
macro_rules! sentences {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident {
            $(
                $(#[$attribute:meta])*
                $variant:ident $name:tt
                $({ $($(#[$field_attribute:meta])* $field:ident : $type:ty),* $(,)? })?
                => $sentence:literal $(, $argument:expr)* ;
            )+
        }
    ) => {
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        $(#[$meta])*
        pub enum $enum {
            $(
                $(#[$attribute])*
                #[serde(rename = $name)]
                $variant $({ $($(#[$field_attribute])* $field: $type),* })?
            ),+
        }

        impl $enum {
            /// The name, as in JSON and in metric labels.
            pub fn name(&self) -> &'static str {
                match self {
                    $($enum::$variant { .. } => $name),+
                }
            }
        }

        impl std::fmt::Display for $enum {
            #[allow(unused_variables)] // Not every sentence contains every number.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $($enum::$variant $({ $($field),* })? => write!(f, $sentence $(, $argument)*)),+
                }
            }
        }
    };
}

pub(super) use sentences;

/// `1 node`, `2 nodes`.
pub(super) fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Returns `before` and `text`, or nothing without `text`.
pub(super) fn after(before: &str, text: &Option<impl std::fmt::Display>) -> String {
    text.as_ref()
        .map_or_else(String::new, |text| format!("{before}{text}"))
}

/// Returns `text` if `said`, else nothing.
pub(super) fn when(said: bool, text: &str) -> &str {
    if said { text } else { "" }
}

/// The most limits, node types or other items that one line names.
const NAMED: usize = 3;

/// Joins the first [`NAMED`] items, and appends the number of the others.
pub(super) fn first_few(mut all: Vec<String>, between: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let named = all.join(between);
    match more {
        0 => named,
        more => format!("{named} and {}", count(more as u64, "other")),
    }
}
