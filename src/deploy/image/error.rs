//! Why a cloud has no image.

use std::fmt;
use std::time::Duration;

use super::step;
use system::advice::Advice;

/// A build that came to nothing.
#[derive(Debug)]
pub struct Error {
    pub cloud: String,
    pub cause: Box<Cause>,
    /// The end of the builder's console, or the lines before the one that says what failed.
    pub console: Option<String>,
    /// What became of the builder, where there was one.
    pub left: Option<Left>,
}

impl Error {
    /// A build that failed before there was a builder.
    pub(super) fn before_it_began(cloud: &str, cause: Cause) -> Error {
        Error {
            cloud: cloud.to_owned(),
            cause: Box::new(cause),
            console: None,
            left: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The cloud said no.
    #[error("{0}")]
    Cloud(#[from] openstack::Error),
    /// base.yaml does not do.
    #[error("{0}")]
    Template(#[from] Advice),
    /// The flavor does not fit the image to begin with.
    #[error(
        "image {image} asks for {min_disk_gb} GB of disk and {min_ram_mb} MB of memory, and {flavors}; give a larger one with \
         --flavor"
    )]
    TooSmall {
        image: String,
        /// Its `min_disk`.
        min_disk_gb: u64,
        /// Its `min_ram`.
        min_ram_mb: u64,
        /// Which flavors are smaller.
        flavors: String,
    },
    /// The build itself failed.
    #[error("{0}")]
    Build(step::BuildFailure),
    #[error("not done after {} s: {during}; give it more time with --timeout, or see what it waits for", limit.as_secs_f64().round())]
    TimedOut {
        /// What was going on.
        during: String,
        /// How long it was given.
        limit: Duration,
    },
}

/// What became of the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Everything was deleted.
    Nothing,
    /// It was left for a look, as `--keep-failed` asked.
    Kept {
        name: String,
        id: String,
        /// It is as good as before, and the next build goes on with it.
        goes_on: bool,
    },
    /// It could not be deleted.
    Undeleted { id: String, why: String },
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Left::Nothing => write!(f, "the server is deleted"),
            Left::Kept { name, id, goes_on } => {
                let then = if *goes_on {
                    "continues with it"
                } else {
                    "deletes it"
                };
                write!(
                    f,
                    "server {name} ({id}) is kept for debugging; the next build {then}, and a tick deletes it when its time \
                     is over"
                )
            }
            Left::Undeleted { id, why } => write!(
                f,
                "server {id} could not be deleted: {why}; the next build tries again, or a tick when its time is over"
            ),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Errors of the client name the cloud themselves.
        match &*self.cause {
            Cause::Cloud(error) => write!(f, "{error}")?,
            cause => write!(f, "cloud {}: {cause}", self.cloud)?,
        }
        match &self.left {
            Some(left) => write!(f, "; {left}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
