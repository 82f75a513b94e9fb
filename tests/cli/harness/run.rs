//! What came of one run of the command.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    pub fn new(output: Output, took: Duration) -> Run {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took,
        }
    }

    /// It ended with this exit code.
    pub fn exits(&self, code: i32) -> &Run {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Its exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// These words are on standard output.
    pub fn says(&self, words: &str) -> &Run {
        assert!(self.stdout.contains(words), "no {words:?} in {self}");
        self
    }

    /// These words are on standard error.
    pub fn warns(&self, words: &str) -> &Run {
        assert!(self.stderr.contains(words), "no {words:?} in {self}");
        self
    }

    /// These words are nowhere.
    pub fn never_says(&self, words: &str) -> &Run {
        let there = self.stdout.contains(words) || self.stderr.contains(words);
        assert!(!there, "{words:?} in {self}");
        self
    }

    /// Nothing is on standard output, or on standard error.
    pub fn is_silent(&self) -> &Run {
        assert!(self.stdout.is_empty() && self.stderr.is_empty(), "{self}");
        self
    }

    /// Nothing is on standard error.
    pub fn warns_nothing(&self) -> &Run {
        assert!(self.stderr.is_empty(), "{self}");
        self
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a run that ended with {:?} after {:?}\n--- stdout\n{}--- stderr\n{}---",
            self.code, self.took, self.stdout, self.stderr
        )
    }
}
