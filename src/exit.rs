//! The one table of exit codes.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing to do, or another tick has the lock.
    Done = 0,
    /// An action or a check failed, the view was partial and that was said, or a kind of node is in protected mode.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// The state directory is not usable; nothing was done (sysexits' EX_IOERR).
    State = 74,
    /// HTCondor or all clouds did not answer, or a tick that does not run any more has the lock: try later (EX_TEMPFAIL).
    Unavailable = 75,
    /// The configuration, or a state file of a newer version (EX_CONFIG).
    Configuration = 78,
}

impl Exit {
    /// In a word, as metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::State => "state",
            Exit::Unavailable => "unavailable",
            Exit::Configuration => "configuration",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
