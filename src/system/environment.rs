//! Environment variables and folders of the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
