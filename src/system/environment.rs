//! Environment variables and folders of the process.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

const FORBID: &str = "NO_COLOR";
const FORCE: &str = "CLICOLOR_FORCE";

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
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                variables.insert(name, value);
            }
        }
        Environment {
            variables,
            root: PathBuf::from("/"),
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether text for `stream` has colors: never with `$NO_COLOR`, always with `$CLICOLOR_FORCE`, else on a terminal that
    /// has them. Source: no-color.org, bixense.com/clicolors.
    pub fn has_color(&self, stream: &impl IsTerminal) -> bool {
        let is_dumb = self.variable("TERM") == Some("dumb");
        let is_forced = self.variable(FORCE).is_some_and(|value| value != "0");
        self.variable(FORBID).is_none() && (is_forced || stream.is_terminal() && !is_dumb)
    }

    /// Colors everywhere.
    pub fn force_color(&mut self) {
        self.variables.remove(FORBID);
        self.variables.insert(FORCE.to_owned(), "1".to_owned());
    }

    /// No colors.
    pub fn forbid_color(&mut self) {
        self.variables.insert(FORBID.to_owned(), "1".to_owned());
    }

    /// `path` with a leading `~/` and what it is relative to put in.
    pub fn path(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.variable("HOME")) {
            (Ok(rest), Some(home)) => Path::new(home).join(rest),
            _ => self.working_directory.join(path),
        }
    }
}
