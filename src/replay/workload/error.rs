//! Errors of reading a workload: what stops the reader. Single records that cannot be used are counted in
//! [`Notes`](super::Notes) instead.

use std::io;

use thiserror::Error;

/// Why there is no workload.
#[allow(missing_docs)] // The messages say it.
#[derive(Debug, Error)]
pub enum WorkloadError {
    #[error("{place}: cannot be read: {cause}; check the path and the permissions of this user")]
    Unreadable { place: String, cause: io::Error },
    #[error("{place}: cannot be read: this is a directory; name its files, such as {place}/*")]
    Directory { place: String },
    #[error(
        "{place}: cannot be read: this file is compressed ({method}); decompress it, for example {command} | ehos simulate --jobs -"
    )]
    Compressed {
        place: String,
        method: &'static str,
        command: String,
    },
    #[error(
        "{place}: cannot be read: this is no text file; expected one of: {}",
        super::Format::list()
    )]
    Binary { place: String },
    #[error("{place}: cannot be read: this is {found}; {remedy}")]
    OtherFormat {
        place: String,
        found: &'static str,
        remedy: &'static str,
    },
    #[error(
        "{place}: format not recognized: the first line is `{line}`; name the format, one of: {}",
        super::Format::list()
    )]
    NotRecognized { place: String, line: String },
    #[error("unknown format `{name}`: expected one of: {}", super::Format::list())]
    UnknownFormat { name: String },
    #[error("{place}: cannot be used: {problem}; {remedy}")]
    Header {
        place: String,
        problem: String,
        remedy: String,
    },
    #[error("{place}: cannot be used: {problem}; {remedy}")]
    Generator {
        place: String,
        problem: String,
        remedy: String,
    },
    #[error(
        "{place}: cannot be joined with {other}: only one of them has calendar times; simulate them one by one"
    )]
    Calendar { place: String, other: String },
    #[error("{place}: no jobs: {cause}; {remedy}")]
    NoJobs {
        place: String,
        cause: String,
        remedy: &'static str,
    },
}
