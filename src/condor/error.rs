//! Errors of HTCondor's tools.

use std::fmt;
use std::time::Duration;

use scaling::action::{Failure, FailureKind};
use system::advice::Advice;

/// A tool of HTCondor did not give a usable answer. No text holds what a tool printed as its answer (which can be a token),
/// only what it wrote to its standard error. `about` is the daemon or thing that the tool was run for.
#[derive(Debug)]
pub enum Error {
    NotFound {
        tool: String,
        /// The folder that was searched.
        place: String,
    },
    NotStarted {
        tool: String,
        source: std::io::Error,
    },
    /// The deadline passed before the tool was started.
    NoTime { tool: String, about: String },
    /// The tool did not end in time, and was killed with all of its process group.
    TimedOut {
        tool: String,
        about: String,
        limit: Duration,
    },
    /// The tool reached its bounds of CPU time or memory.
    OutOfBounds {
        tool: String,
        about: String,
        /// The signal.
        status: String,
    },
    /// The tool ended and reported a failure.
    Failed {
        tool: String,
        about: String,
        /// Exit code or signal.
        status: String,
        /// The first lines of its standard error.
        stderr: String,
    },
    /// The answer has another form than expected.
    Unparsable {
        tool: String,
        about: String,
        what: String,
    },
}

impl Error {
    /// Whether the tool was killed for its use of time or memory.
    pub(super) fn is_killed(&self) -> bool {
        matches!(self, Error::TimedOut { .. } | Error::OutOfBounds { .. })
    }

    /// Whether the tool may have had an effect although it failed.
    pub(super) fn may_have_acted(&self) -> bool {
        !matches!(
            self,
            Error::NotFound { .. } | Error::NotStarted { .. } | Error::NoTime { .. }
        )
    }

    /// The problem and its remedy.
    pub fn advice(&self) -> Advice {
        match self {
            Error::NotFound { tool, place } => (
                format!("{tool} not found in {place}"),
                "install HTCondor's command line tools (package condor or htcondor), or set condor.bin to their folder",
            )
                .into(),
            Error::NotStarted { tool, source } => (
                format!("{tool} could not be started: {source}"),
                "check its permissions and the limits of this user",
            )
                .into(),
            Error::NoTime { tool, about } => (
                format!("{tool} for {about} skipped: tick deadline exceeded"),
                "raise daemon.tick_timeout",
            )
                .into(),
            Error::TimedOut { tool, about, limit } => (
                format!(
                    "{tool} got no answer from {about} within {:.0} s and was killed",
                    limit.as_secs_f64()
                ),
                "check that the daemon answers, or raise daemon.command_timeout",
            )
                .into(),
            Error::OutOfBounds {
                tool,
                about,
                status,
            } => format!("{tool} reached its bounds of CPU time or memory for {about} ({status})")
                .into(),
            Error::Failed {
                tool,
                about,
                status,
                stderr,
            } => format!("{tool} failed for {about} ({status}): {stderr}").into(),
            Error::Unparsable { tool, about, what } => {
                format!("{tool}: cannot read the answer about {about}: {what}").into()
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.advice().fmt(f)
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            kind: match error.may_have_acted() {
                false => FailureKind::NotDone,
                true => FailureKind::Unknown,
            },
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_failure_that_says_whether_anything_happened() {
        let not_found = Error::NotFound {
            tool: "condor_q".to_owned(),
            place: "$PATH".to_owned(),
        };
        let failure = Failure::from(not_found);
        assert_eq!(failure.kind, FailureKind::NotDone);
        assert!(failure.message.contains("condor.bin"), "{failure:?}");

        let late = Error::TimedOut {
            tool: "condor_drain".to_owned(),
            about: "slot1@n1".to_owned(),
            limit: Duration::from_secs(30),
        };
        let failure = Failure::from(late);
        assert_eq!(failure.kind, FailureKind::Unknown);
        assert!(failure.message.contains("within 30 s"), "{failure:?}");
    }
}
