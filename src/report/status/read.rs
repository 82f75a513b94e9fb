//! Reads the last tick of a history.

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

/// The reason why there is no last tick to show.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error(
        "{path}: no tick yet; check the timer (systemctl status ehos.timer), or give the state directory by --state-dir",
        path = path.display()
    )]
    NoTick { path: PathBuf },
    #[error("{path}: permission denied; {remedy}", path = path.display())]
    Denied { path: PathBuf, remedy: String },
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Io {
        path: PathBuf,
        /// Not a `source`, which would be printed twice.
        error: io::Error,
    },
    #[error(
        "{path}: damaged: {error}; run `ehos tick`, or wait a minute: the next tick replaces the file",
        path = path.display()
    )]
    Damaged {
        path: PathBuf,
        error: serde_json::Error,
    },
    #[error(
        "{path}: written by a newer ehos (version {version}, this one reads {VERSION}); use the newer ehos",
        path = path.display()
    )]
    Newer { path: PathBuf, version: u32 },
}

impl Error {
    /// The exit code of a command that fails with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Error::NoTick { .. } => Exit::Unavailable,
            Error::Denied { .. } | Error::Io { .. } | Error::Damaged { .. } => Exit::State,
            Error::Newer { .. } => Exit::Configuration,
        }
    }

    /// The error of a file or folder of the history.
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

/// The version is read first: a report of a newer ehos is not damaged.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: u32,
}

/// Reads the last tick of the history in `folder`.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn last(folder: &Path) -> Result<TickReport, Error> {
    let path = folder.join(history::LAST);
    let text = own_file::read(&path).map_err(|error| Error::of_file(folder, &path, error))?;
    let damaged = |error| Error::Damaged {
        path: path.clone(),
        error,
    };
    if !text.trim_ascii_start().starts_with(b"{") {
        // serde accepts a list for a structure.
        return Err(damaged(serde::de::Error::custom("not a JSON object")));
    }
    let Version { version } = serde_json::from_slice(&text).map_err(damaged)?;
    if version > VERSION {
        return Err(Error::Newer { path, version });
    }
    TickReport::read(&text).map_err(damaged)
}
