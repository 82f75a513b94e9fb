//! The one table of exit codes.

use std::panic;
use std::process::{self, ExitCode};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing to do, or another tick has the lock.
    Done = 0,
    /// An action or a check failed, the view was partial and that was said, or a kind of node is in protected mode; or what
    /// was asked for is not known.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// The state directory is not usable; nothing was done (sysexits' EX_IOERR).
    State = 74,
    /// HTCondor or all clouds did not answer, there was no tick yet, or one that does not run any more has the lock: try later
    /// (EX_TEMPFAIL).
    Unavailable = 75,
    /// The configuration, or a state file of a newer version (EX_CONFIG).
    Configuration = 78,
}

impl Exit {
    /// The one of two that says more of what is wrong.
    pub fn worse(self, other: Exit) -> Exit {
        if other as u8 > self as u8 {
            other
        } else {
            self
        }
    }

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

/// The exit code of a panic, as that of any program in Rust that unwinds.
pub const PANIC: i32 = 101;

/// From now on a panic ends the process with its message and [`PANIC`]. Without unwinding it would be aborted, and a core
/// dump would have its secrets.
pub fn at_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        process::exit(PANIC);
    }));
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
