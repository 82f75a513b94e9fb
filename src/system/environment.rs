//! What a configuration depends on besides its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use std::fmt;

/// How often a command that waits looks at a cloud.
const POLL: Duration = Duration::from_secs(5);
/// The variable that says it in seconds, for clouds that are quicker or slower than most.
const POLL_VARIABLE: &str = "EHOS_POLL_SECONDS";

/// The value of `EHOS_POLL_SECONDS` that is no number of seconds.
#[derive(Debug)]
pub struct InvalidPoll(String);

impl fmt::Display for InvalidPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{POLL_VARIABLE} is `{}`, and must be a number of seconds above 0",
            self.0
        )
    }
}

/// The surroundings of the process, as a value: tests make their own. Not `Debug`: `OS_PASSWORD` may be in it.
pub struct Environment {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The folder that stands for `/` where `/etc/ehos/` and its like are searched.
    pub root: PathBuf,
    /// What relative names are relative to.
    pub working_directory: PathBuf,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        Environment {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            root: PathBuf::from("/"),
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }

    /// How long a command that waits leaves a cloud alone between two looks: `$EHOS_POLL_SECONDS`, or 5 s.
    ///
    /// # Errors
    /// When the variable is no number of seconds above 0.
    pub fn poll(&self) -> Result<Duration, InvalidPoll> {
        let Some(text) = self.variable(POLL_VARIABLE) else {
            return Ok(POLL);
        };
        match text.parse().map(Duration::try_from_secs_f64) {
            Ok(Ok(poll)) if !poll.is_zero() => Ok(poll),
            _ => Err(InvalidPoll(text.to_owned())),
        }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// `path` with a leading `~/` and what it is relative to put in.
    pub fn path(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.variable("HOME")) {
            (Ok(rest), Some(home)) => Path::new(home).join(rest),
            _ => self.working_directory.join(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_a_cloud_is_looked_at() {
        let poll = |text: Option<&str>| {
            let pair = text.map(|text| (POLL_VARIABLE.to_owned(), text.to_owned()));
            Environment {
                variables: pair.into_iter().collect(),
                root: PathBuf::from("/"),
                working_directory: PathBuf::from("/"),
            }
            .poll()
            .ok()
        };
        assert_eq!(poll(None), Some(POLL));
        assert_eq!(poll(Some("0.5")), Some(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "soon", "1e40"] {
            assert_eq!(poll(Some(wrong)), None, "{wrong}");
        }
    }
}
