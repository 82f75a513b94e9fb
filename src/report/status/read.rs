//! The last tick, or why there is none to show.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error as ThisError;

use crate::TickReport;
use crate::history;
use crate::tick_report::VERSION;
use system::exit::Exit;
use system::own_file;
use system::rights;

/// Why nothing can be shown.
#[derive(Debug, ThisError)]
pub enum Error {
    /// There was no tick.
    #[error(
        "no tick yet: there is no {path}. Is the timer on (systemctl status ehos.timer)? Is the state elsewhere (--state-dir)?",
        path = path.display()
    )]
    NoTick {
        /// What is not there.
        path: PathBuf,
    },
    /// It may not be read.
    #[error("{path} may not be read by this user: permission denied; {remedy}", path = path.display())]
    Denied {
        /// What may not be read.
        path: PathBuf,
        /// What to do.
        remedy: String,
    },
    /// It cannot be read.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says. Not a `source`, which would be printed once more.
        error: io::Error,
    },
    /// It is no tick.
    #[error(
        "{path} is damaged: {error}. The next tick writes it anew: ehos tick, or wait a minute",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A newer ehos wrote it.
    #[error(
        "{path} was written by a newer ehos (version {version}, this one reads {VERSION}): use that one",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Error {
    /// The exit code that it stands for.
    pub fn exit(&self) -> Exit {
        match self {
            Error::NoTick { .. } => Exit::Unavailable,
            Error::Denied { .. } | Error::Io { .. } | Error::Damaged { .. } => Exit::State,
            Error::Newer { .. } => Exit::Configuration,
        }
    }

    /// What the system says of a file, or of a folder, of the history.
    pub fn of_file(folder: &Path, path: &Path, error: io::Error) -> Error {
        let remedy = rights::remedy(path, folder.parent(), error.kind());
        let path = path.to_owned();
        match remedy {
            Some(remedy) => Error::Denied { path, remedy },
            None if error.kind() == io::ErrorKind::NotFound => Error::NoTick { path },
            None => Error::Io { path, error },
        }
    }
}

/// The version of a tick is looked at first: what a newer program wrote is not garbage.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: u32,
}

/// The last tick of the history in `folder`.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn last(folder: &Path) -> Result<TickReport, Error> {
    let path = folder.join(history::LAST);
    let text = own_file::read(&path).map_err(|error| Error::of_file(folder, &path, error))?;
    let damaged = |error| Error::Damaged {
        path: path.clone(),
        error,
    };
    if !text.trim_ascii_start().starts_with(b"{") {
        // A list would do for a structure.
        return Err(damaged(serde::de::Error::custom("it is no JSON object")));
    }
    let Version { version } = serde_json::from_slice(&text).map_err(damaged)?;
    if version > VERSION {
        return Err(Error::Newer { path, version });
    }
    TickReport::read(&text).map_err(damaged)
}
