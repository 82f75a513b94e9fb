//! The cloud-init files that are part of the program, for a machine that has nothing but the binary: taken where no
//! folder has one of that name.

use std::io;
use std::path::{Path, PathBuf};

/// Stands for the folder in their paths. There is no such folder.
const FOLDER: &str = "(built into ehos)";

/// Names and texts.
pub const TEMPLATES: [(&str, &str); 3] = [
    ("base.yaml", include_str!("../../configs/base.yaml")),
    ("master.yaml", include_str!("../../configs/master.yaml")),
    ("execute.yaml", include_str!("../../configs/execute.yaml")),
];

/// The path that stands for the file `name`; `None` when there is none.
pub fn path(name: &str) -> Option<PathBuf> {
    let known = TEMPLATES.iter().any(|(known, _)| *known == name);
    known.then(|| Path::new(FOLDER).join(name))
}

/// The text that `path` stands for.
pub fn text(path: &Path) -> Option<&'static str> {
    TEMPLATES
        .iter()
        .find(|(name, _)| path == Path::new(FOLDER).join(name))
        .map(|(_, text)| *text)
}

/// The text of a file: of one that is built in, when `path` stands for it.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn read(path: &Path) -> io::Result<String> {
    match text(path) {
        Some(text) => Ok(text.to_owned()),
        None => std::fs::read_to_string(path),
    }
}

/// As [`read`], for a file that may be no text.
///
/// # Errors
/// When it cannot be read.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    match text(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => std::fs::read(path),
    }
}
