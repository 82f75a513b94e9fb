//! YAML: the one door to its parser, which its author no longer maintains.

mod node;
mod place;
mod write;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use node::{Node, parse};
pub use place::Place;
pub use place::find;
pub use serde_yaml::{Mapping, Value};
pub use write::{list, scalar};

/// The name of a merge key: `<<: *anchor`.
const MERGE_KEY: &str = "<<";

/// What the parser does not take.
#[derive(Debug)]
pub struct Error {
    message: String,
    /// Where it stands.
    pub place: Option<Place>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<serde_yaml::Error> for Error {
    fn from(error: serde_yaml::Error) -> Error {
        Error {
            message: error.to_string(),
            place: error.location().map(|at| Place {
                line: at.line(),
                column: at.column(),
            }),
        }
    }
}

/// The text as a type that serde reads.
///
/// # Errors
/// When it is none.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    Ok(serde_yaml::from_str(text)?)
}

/// The text of a value.
///
/// # Errors
/// When it cannot be written as YAML.
pub fn write(value: &impl Serialize) -> Result<String, Error> {
    Ok(serde_yaml::to_string(value)?)
}
