//! What can go wrong between ehos and a tool of HTCondor.

use std::time::Duration;

use scaling::action::{Failure, FailureKind};

/// Whether something may have happened although there was an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It certainly did not happen.
    None,
    /// It may or may not have happened.
    Unknown,
}

/// A tool of HTCondor did not give a usable answer. None of these texts holds what a tool printed as its answer
/// (which can be a token), only what it wrote to its standard error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error(
        "{tool} was not found in {place}: install HTCondor's command line tools (package condor or htcondor) or set \
         condor.bin to the folder they are in"
    )]
    NotFound {
        /// The tool.
        tool: String,
        /// Where it was looked for.
        place: String,
    },
    /// It could not be started for another reason.
    #[error(
        "{tool} could not be started: {source}; check its permissions and the limits of this user"
    )]
    NotStarted {
        /// The tool.
        tool: String,
        /// Why.
        source: std::io::Error,
    },
    /// There was no time left to start it.
    #[error("{tool} was not asked about {about}: the time of this tick is used up")]
    NoTime {
        /// The tool.
        tool: String,
        /// Whom or what it was to ask about.
        about: String,
    },
    /// It did not end in time and was killed with all of its process group.
    #[error(
        "{tool} got no answer from {about} within {:.0} s and was killed: the daemon hangs, or the limit \
         (daemon.command_timeout) is too low",
        limit.as_secs_f64()
    )]
    TimedOut {
        /// The tool.
        tool: String,
        /// Whom it asked.
        about: String,
        /// How long it had.
        limit: Duration,
    },
    /// It used up its bounds of CPU time or memory.
    #[error("{tool} used up its CPU time or memory for {about} ({status})")]
    OutOfBounds {
        /// The tool.
        tool: String,
        /// Whom or what it was asked about.
        about: String,
        /// The signal.
        status: String,
    },
    /// It ended and said that it failed.
    #[error("{tool} failed for {about} ({status}): {stderr}")]
    Failed {
        /// The tool.
        tool: String,
        /// Whom it asked.
        about: String,
        /// Exit code or signal.
        status: String,
        /// The first lines of its standard error.
        stderr: String,
    },
    /// Its answer is not what it should be.
    #[error("{tool} gave an answer about {about} that ehos cannot read: {what}")]
    Unparsable {
        /// The tool.
        tool: String,
        /// Whom it asked.
        about: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// Whether it was killed, for it took too long or too much.
    pub(super) fn is_killed(&self) -> bool {
        matches!(self, Error::TimedOut { .. } | Error::OutOfBounds { .. })
    }

    /// Whether the tool may have done something all the same.
    pub fn effect(&self) -> Effect {
        match self {
            Error::NotFound { .. } | Error::NotStarted { .. } | Error::NoTime { .. } => {
                Effect::None
            }
            Error::TimedOut { .. }
            | Error::OutOfBounds { .. }
            | Error::Failed { .. }
            | Error::Unparsable { .. } => Effect::Unknown,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            kind: match error.effect() {
                Effect::None => FailureKind::NotDone,
                Effect::Unknown => FailureKind::Unknown,
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
