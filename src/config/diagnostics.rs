//! Context of a check: the texts, for places of keys, and the problems found so far.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::document::{Item, Section, is_placeholder};
use super::error::Diagnostic;
use super::secrets;
use keys::{Key, Kind, Rule, Settings, Value};
use system::advice::Advice;
use system::environment::Environment;
use yaml::{self, Place};

/// For a value that stands in two places.
pub(super) const KEEP_ONE: &str = "keep one of them";

/// A file and its text.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Collects problems and notes.
pub(super) struct Diagnostics<'e> {
    pub(super) env: &'e Environment,
    /// In the order in which they were merged; never empty.
    pub(super) sources: Vec<Source>,
    /// Files of other programs that were read too.
    pub(super) more_files: Vec<PathBuf>,
    pub(super) problems: Vec<Diagnostic>,
    pub(super) notes: Vec<Diagnostic>,
}

impl Diagnostics<'_> {
    /// The file and place of `key`, or of the nearest key above it. The last file that has it is what counts.
    fn locate(&self, key: &[&str]) -> (Option<PathBuf>, Option<Place>) {
        let mut key = key;
        while !key.is_empty() {
            for source in self.sources.iter().rev() {
                if let Some(place) = yaml::find(&source.text, key) {
                    return (Some(source.path.clone()), Some(place));
                }
            }
            key = key.split_last().map_or(&[], |(_, above)| above);
        }
        (self.sources.first().map(|source| source.path.clone()), None)
    }

    fn at(&self, key: &[&str], what: impl Into<Advice>) -> Diagnostic {
        let (file, place) = self.locate(key);
        Diagnostic {
            file,
            place,
            key: Some(key.join(".").into()),
            ..Diagnostic::general(what)
        }
    }

    /// `key` is wrong.
    pub(super) fn problem(&mut self, key: &[&str], what: impl Into<Advice>) {
        let problem = self.at(key, what);
        self.problems.push(problem);
    }

    /// Something about `key` is worth knowing.
    pub(super) fn note(&mut self, key: &[&str], what: impl Into<Advice>) {
        let note = self.at(key, what);
        self.notes.push(note);
    }

    /// Whether `key` stands in a file.
    pub(super) fn has(&self, key: &[&str]) -> bool {
        self.sources
            .iter()
            .any(|source| yaml::find(&source.text, key).is_some())
    }

    /// The folder of the file in which `key` stands.
    pub(super) fn folder(&self, key: &[&str]) -> PathBuf {
        let (file, _) = self.locate(key);
        file.as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned)
            .unwrap_or_default()
    }

    /// Puts the values of `from` into the fields of `target`: of each key that of the first section where it can stand.
    /// Sections after the first hold what counts for all clouds.
    pub(super) fn fill<T: Settings>(&mut self, target: &mut T, from: &[(&[&str], &Section)]) {
        for key in T::KEYS {
            let stands = |index: usize, section: &[&str]| {
                index == 0
                    || section.iter().any(|name| {
                        key.rules
                            .iter()
                            .any(|rule| matches!(rule, Rule::For(of) if of == name))
                    })
            };
            let mut places = from.iter().enumerate();
            let found = places.find_map(|(index, (path, section))| {
                let item = section.get(key.name).filter(|_| stands(index, path))?;
                Some((path, item))
            });
            // Secrets are read with the files that hold them.
            if let Some((path, Item::Value(value))) = found
                && !matches!(key.kind, Kind::Secret)
            {
                self.check_bounds(path, key, value);
                target.set(key.name, self.resolved(value.clone()));
            }
        }
    }

    fn check_bounds(&mut self, path: &[&str], key: &Key, value: &Value) {
        if let Some(why) = key.out_of_bounds(value) {
            let path: Vec<&str> = path.iter().copied().chain([key.name]).collect();
            self.problem(&path, why);
        }
    }

    fn resolved(&self, value: Value) -> Value {
        match value {
            Value::Path(path) => Value::Path(self.env.path(&path)),
            value => value,
        }
    }

    /// The secret `name` of `keys`, the section at `section`: from its own key or from the file that `NAME_file` names.
    /// `missing` is what to do when there is no such file.
    pub(super) fn secret(
        &mut self,
        section: &[&str],
        name: &str,
        keys: &Section,
        missing: &str,
    ) -> Option<SecretString> {
        let file_key = format!("{name}_file");
        let key: Vec<&str> = section.iter().copied().chain([file_key.as_str()]).collect();
        let Some(path) = keys.value::<PathBuf>(&file_key) else {
            return keys.value(name);
        };
        if keys.has(name) {
            self.problem(&key, (format!("`{name}` is given too"), KEEP_ONE));
            return None;
        }
        match secrets::read(&path, &self.folder(&key), self.env, missing) {
            Ok((secret, path)) => {
                if secrets::others_can_read(&path) {
                    self.notes.push(secrets::warning(&path));
                }
                Some(secret)
            }
            Err(why) => {
                self.problem(&key, why);
                None
            }
        }
    }

    /// Refuses what would end the ClassAd string that the execute template puts `value` into.
    pub(super) fn quotable(&mut self, key: &[&str], value: &str) {
        if !is_quotable(value) {
            self.problem(
                key,
                (
                    "has a quote, a backslash or a control character: HTCondor's configuration cannot hold it",
                    "name it by its id",
                ),
            );
        }
    }
}

/// A value that is none of these.
pub(super) fn unknown_value(value: &str, known: &[&str]) -> Advice {
    (format!("unknown value `{value}`"), one_of(known)).into()
}

pub(super) fn one_of(known: &[&str]) -> String {
    format!("expected one of {}", known.join(", "))
}

/// Whether `name`, as a cloud has it, can stand in the configuration; else its id must.
pub fn can_be_named(name: &str) -> bool {
    is_quotable(name) && !["", "None"].contains(&name) && !is_placeholder(name)
}

fn is_quotable(value: &str) -> bool {
    !value.contains(|c: char| c.is_control() || c == '"' || c == '\\')
}
