//! `ehos.d/50-image.yaml`: which image the nodes of a cloud boot from, written by ehos.
//!
//! It has a form of its own, one that ehos reads again line by line. A file that is not in that form was edited or written
//! by hand, and is left alone.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use config::drop_in;
use system::json;
use system::rights;

/// The name of the file.
const FILE: &str = "50-image.yaml";

/// The first lines of the file.
const HEADER: &str = "# Written by `ehos image build`, which writes it anew each time. To choose an image yourself, name it in a\n\
                      # file that comes later (ehos.d/60-….yaml), or delete this one.\n\
                      clouds:\n";

/// The image of one cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub cloud: String,
    pub image: String,
    /// What it is, for people: its name and when it was made.
    pub remark: String,
}

/// Where it is, for the main file `file` of the configuration.
pub fn path(file: &Path) -> PathBuf {
    drop_in::folder(file).join(FILE)
}

/// The whole file, with these entries.
pub fn text(entries: &[Entry]) -> String {
    let mut text = HEADER.to_owned();
    for entry in entries {
        // JSON's strings are YAML's. Writing to a string cannot fail.
        let cloud = serde_json::Value::from(entry.cloud.as_str());
        let remark: String = entry
            .remark
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let _ = writeln!(text, "  {cloud}:\n    image: {}  # {remark}", entry.image);
    }
    text
}

/// The entries of such a file; `None` when it is not in its form.
fn entries(text: &str) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut lines = text.strip_prefix(HEADER)?.lines();
    while let Some(line) = lines.next() {
        let cloud = line.strip_prefix("  ")?.strip_suffix(':')?;
        let (image, remark) = lines
            .next()?
            .strip_prefix("    image: ")?
            .split_once("  # ")?;
        entries.push(Entry {
            cloud: json::read(cloud).ok()?,
            image: image.to_owned(),
            remark: remark.to_owned(),
        });
    }
    Some(entries)
}

/// Why the file was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not in its form.
    #[error("{} was written or edited by hand, and is left as it is", path.display())]
    ByHand { path: PathBuf },
    /// It cannot be read or written.
    #[error("{} cannot be written: {}", path.display(), rights::told(path, source))]
    Io { path: PathBuf, source: io::Error },
}

/// Puts `entry` into the file of the configuration whose main file is `file`, in the place of the one of that cloud; the
/// others stay. Returns the text that was there before, so that it can be put back.
///
/// # Errors
/// When the file is not ehos's, or cannot be written.
pub fn record(file: &Path, entry: &Entry) -> Result<Option<String>, Error> {
    let path = path(file);
    let failed = |source| Error::Io {
        path: path.clone(),
        source,
    };
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let mut all = match &before {
        None => Vec::new(),
        Some(text) => entries(text).ok_or_else(|| Error::ByHand { path: path.clone() })?,
    };
    match all.iter_mut().find(|known| known.cloud == entry.cloud) {
        Some(known) => known.clone_from(entry),
        None => all.push(entry.clone()),
    }
    drop_in::write(&path, &text(&all)).map_err(failed)?;
    Ok(before)
}

/// Puts back what [`record`] has found.
///
/// # Errors
/// When the file cannot be written or deleted.
pub fn put_back(file: &Path, before: Option<&str>) -> io::Result<()> {
    let path = path(file);
    match before {
        Some(text) => drop_in::write(&path, text),
        None => std::fs::remove_file(&path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cloud: &str, image: &str) -> Entry {
        Entry {
            cloud: cloud.to_owned(),
            image: image.to_owned(),
            remark: format!("name of {image}, 2026-11-22T15:00:00Z"),
        }
    }

    #[test]
    fn entries_of_other_clouds_stay_and_nothing_else_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ehos.yaml");
        assert_eq!(record(&file, &entry("lab", "i-1")).unwrap(), None);
        let first = std::fs::read_to_string(path(&file)).unwrap();
        record(&file, &entry("a \"b\": c", "i-2")).unwrap();
        assert_eq!(
            record(&file, &entry("lab", "i-3"))
                .unwrap()
                .unwrap()
                .lines()
                .count(),
            7
        );
        let text = std::fs::read_to_string(path(&file)).unwrap();
        assert_eq!(
            entries(&text).unwrap(),
            [entry("lab", "i-3"), entry("a \"b\": c", "i-2")]
        );
        let yaml: yaml::Value = yaml::read(&text).unwrap();
        assert_eq!(yaml["clouds"]["lab"]["image"], "i-3");
        assert_eq!(yaml["clouds"]["a \"b\": c"]["image"], "i-2");
        put_back(&file, Some(&first)).unwrap();
        assert_eq!(std::fs::read_to_string(path(&file)).unwrap(), first);
        let names = std::fs::read_dir(folder.path().join("ehos.d")).unwrap();
        assert_eq!(names.count(), 1);
        put_back(&file, None).unwrap();
        assert!(!path(&file).exists());
    }

    #[test]
    fn a_file_by_hand_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ehos.yaml");
        record(&file, &entry("lab", "i-1")).unwrap();
        let written = std::fs::read_to_string(path(&file)).unwrap();
        for edited in [
            "clouds: {lab: {image: mine}}\n".to_owned(),
            format!("{written}    flavor: m1.small\n"),
            written.replace("  # name", " # name"),
        ] {
            std::fs::write(path(&file), &edited).unwrap();
            let error = record(&file, &entry("lab", "i-2")).unwrap_err();
            assert!(matches!(error, Error::ByHand { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(path(&file)).unwrap(), edited);
        }
    }
}
