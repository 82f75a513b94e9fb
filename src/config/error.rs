//! Problems of a configuration, with their places.

use std::fmt;
use std::path::{Path, PathBuf};

use system::advice::Advice;
use system::rights;
use yaml::Place;

/// All problems of a configuration, as far as it could be read. Holds no value of a secret.
#[derive(Debug)]
pub struct Error {
    /// At least one.
    pub problems: Vec<Diagnostic>,
}

/// One problem, or one note.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// `None` for an environment variable, or where no file was found.
    pub file: Option<PathBuf>,
    pub place: Option<Place>,
    /// The key path, with dots.
    pub key: Option<Box<str>>,
    pub what: Advice,
    /// The file holds a secret, and every user of this machine can read it.
    pub exposes_secret: bool,
}

impl Diagnostic {
    /// A problem with a whole file.
    pub(super) fn of_file(file: &Path, what: impl Into<Advice>) -> Diagnostic {
        Diagnostic {
            file: Some(file.to_owned()),
            ..Diagnostic::general(what)
        }
    }

    /// A file or folder that cannot be read.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Diagnostic {
        Diagnostic::of_file(file, rights::told(file, error).at("cannot be read"))
    }

    /// A problem with no file in particular.
    pub(super) fn general(what: impl Into<Advice>) -> Diagnostic {
        Diagnostic {
            file: None,
            place: None,
            key: None,
            what: what.into(),
            exposes_secret: false,
        }
    }

    /// The problem with its place, and its remedy.
    pub fn advice(&self) -> Advice {
        let mut advice = self.what.clone();
        if let Some(key) = &self.key {
            advice = advice.at(key);
        }
        match (&self.file, self.place) {
            (Some(file), Some(place)) => advice.at(format_args!(
                "{}:{}:{}",
                file.display(),
                place.line,
                place.column
            )),
            (Some(file), None) => advice.at(file.display()),
            (None, _) => advice,
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

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.advice(), f)
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
