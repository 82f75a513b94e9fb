//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use system::rights;
use yaml::Place;

/// Everything that is wrong with a configuration, as far as it could be read. Holds no value of a secret.
#[derive(Debug)]
pub struct Error {
    /// At least one.
    pub problems: Vec<Diagnostic>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file; `None` when it is about no file (an environment variable, no file found).
    pub file: Option<PathBuf>,
    /// Where in it.
    pub place: Option<Place>,
    /// The key path, with dots.
    pub key: Option<String>,
    /// What is wrong and what to do.
    pub what: String,
}

impl Diagnostic {
    /// A problem with a whole file.
    pub(super) fn of_file(file: &Path, what: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: Some(file.to_owned()),
            place: None,
            key: None,
            what: what.into(),
        }
    }

    /// A file or folder that cannot be read.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Diagnostic {
        let said = rights::told(file, error);
        Diagnostic::of_file(file, format!("cannot be read: {said}"))
    }

    /// A problem with no file in particular.
    pub(super) fn general(what: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: None,
            place: None,
            key: None,
            what: what.into(),
        }
    }
}

impl From<Diagnostic> for Error {
    fn from(problem: Diagnostic) -> Error {
        Error {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(place) = self.place {
                write!(f, "{}:{}:", place.line, place.column)?;
            }
            f.write_str(" ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
