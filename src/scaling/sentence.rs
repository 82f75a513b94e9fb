//! One line for each thing that a report says: variant, name for programs, numbers and sentence together.

/// Defines an enum of lines `Variant "name" { field: Type } => "sentence with {field}", further arguments;`.
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
            #[allow(unused_variables)] // Not every sentence says every number.
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

/// `text` behind `before`, where there is one.
pub(super) fn after(before: &str, text: &Option<impl std::fmt::Display>) -> String {
    text.as_ref()
        .map_or_else(String::new, |text| format!("{before}{text}"))
}

/// `text`, where `said`.
pub(super) fn when(said: bool, text: &str) -> &str {
    if said { text } else { "" }
}

/// How many limits, node types or other things one line names.
const NAMED: usize = 3;

/// The first [`NAMED`] of them, and how many more there are.
pub(super) fn first_few(mut all: Vec<String>, between: &str) -> String {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let named = all.join(between);
    match more {
        0 => named,
        more => format!("{named} and {}", count(more as u64, "other")),
    }
}
