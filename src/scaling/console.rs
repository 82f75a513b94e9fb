//! What the console of a node that failed says of the cause.
//!
//! Owns: the words of that. `crate::console` finds them, and has cleaned them: they are text of a machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a console that go into a report.
pub const MAX_CHARS: usize = 200;

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleSource {
    /// The template of the node (`EHOS: FAILED: …`).
    Node,
    /// The kernel, or what runs before the system.
    Boot,
    /// cloud-init, of a part of the user data.
    CloudInit,
    /// Nobody says what failed, and its first boot is finished: the line that says so.
    Finished,
    /// Nobody says what failed: the last line that says anything.
    LastLine,
    /// The console is empty.
    Empty,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleExcerpt {
    /// Who says it.
    pub source: ConsoleSource,
    /// The line; at most [`MAX_CHARS`] characters, none of them a control character.
    pub text: String,
}

impl ConsoleExcerpt {
    /// Whether it names the cause.
    pub fn is_cause(&self) -> bool {
        match self.source {
            ConsoleSource::Node | ConsoleSource::Boot | ConsoleSource::CloudInit => true,
            ConsoleSource::Finished | ConsoleSource::LastLine | ConsoleSource::Empty => false,
        }
    }
}

impl fmt::Display for ConsoleExcerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            ConsoleSource::Node | ConsoleSource::Boot => f.write_str(&self.text),
            ConsoleSource::CloudInit => write!(f, "cloud-init: {}", self.text),
            ConsoleSource::Finished => write!(f, "its first boot finished ({})", self.text),
            ConsoleSource::LastLine => write!(f, "the last line of its console is {:?}", self.text),
            ConsoleSource::Empty => f.write_str("its console is empty"),
        }
    }
}
