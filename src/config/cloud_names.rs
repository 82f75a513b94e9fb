//! `40-cloud.yaml` beside the configuration: the names of what `ehos cloud setup` made for clouds whose configuration
//! names none. What people have written themselves is never touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::drop_in;
use super::error::{Diagnostic, Error};
use super::settings::Config;
use system::rights;
use yaml::{self, Mapping, Value};

const HEADER: &str = "\
# Made by `ehos cloud setup`: keypair and security group of clouds for which no other file here named any. What stands\n\
# here goes over ehos.yaml; later files of this folder go over this one.\n";

/// What a cloud's configuration is to name from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The keypair.
    pub key: Option<String>,
    pub security_group: Option<String>,
}

impl Config {
    /// Keeps `names` of clouds in `40-cloud.yaml`, which is merged over the configuration; what it holds already stays.
    /// Returns the file's path; `None` when there was nothing to keep.
    ///
    /// # Errors
    /// When it cannot be read or written, with the lines to put into the configuration by hand.
    pub fn keep_names(&self, names: &BTreeMap<String, Names>) -> Result<Option<PathBuf>, Error> {
        let some = |names: &Names| *names != Names::default();
        let Some(main) = self.files.first().filter(|_| names.values().any(some)) else {
            return Ok(None);
        };
        let path = drop_in::folder(main).join("40-cloud.yaml");
        let added = self.added(names);
        keep(&path, added.clone()).map_err(|why| {
            let lines = yaml::write(&added).unwrap_or_default();
            let remedy = format!("or put these lines into {}:\n{lines}", main.display());
            Diagnostic::of_file(&path, (format!("cannot be written: {why}"), remedy))
        })?;
        Ok(Some(path))
    }

    fn added(&self, names: &BTreeMap<String, Names>) -> Value {
        let mut clouds = Mapping::new();
        for (cloud, names) in names {
            let mut entry = Mapping::new();
            if let Some(key) = &names.key {
                entry.insert("key".into(), key.as_str().into());
            }
            if let Some(group) = &names.security_group {
                entry.insert(
                    "security_groups".into(),
                    Value::Sequence(vec![group.as_str().into()]),
                );
            }
            if entry.is_empty() {
                continue;
            }
            if self.cloud_of_environment {
                // An entry of its own would take the place of the one that the environment makes.
                return Value::Mapping(Mapping::from_iter([("ehos".into(), entry.into())]));
            }
            clouds.insert(cloud.as_str().into(), entry.into());
        }
        Value::Mapping(Mapping::from_iter([("clouds".into(), clouds.into())]))
    }
}

/// Merges `added` over what the file has and writes it: the file changes whole or not at all.
fn keep(path: &Path, added: Value) -> Result<(), String> {
    let mut all = match std::fs::read_to_string(path) {
        Ok(text) => yaml::read(&text).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(rights::told(path, &error).to_string()),
    };
    merge(&mut all, added);
    let text = yaml::write(&all).map_err(|error| error.to_string())?;
    drop_in::write(path, &format!("{HEADER}{text}"))
        .map_err(|error| rights::told(path, &error).to_string())
}

fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Mapping(under), Value::Mapping(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => {
                        under.insert(key, value);
                    }
                }
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_has_for_other_clouds_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ehos.d/40-cloud.yaml");
        let yaml = |text: &str| yaml::read::<Value>(text).unwrap();
        keep(&path, yaml("clouds: {a: {key: one}}")).unwrap();
        keep(&path, yaml("clouds: {b: {key: two, security_groups: [x]}}")).unwrap();
        keep(&path, yaml("clouds: {a: {security_groups: [y]}}")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Made by"), "{text}");
        assert_eq!(
            yaml(&text),
            yaml(
                "clouds: {a: {key: one, security_groups: [y]}, b: {key: two, security_groups: [x]}}"
            )
        );
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "nothing else is left behind");
        std::fs::write(&path, "clouds: [").unwrap();
        assert!(keep(&path, yaml("clouds: {a: {key: one}}")).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "clouds: [");
    }
}
