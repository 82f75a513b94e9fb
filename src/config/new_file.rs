//! Files that appear whole or not at all, and never in the place of another.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::{Error, Problem};
use crate::rights;

/// Writes `text` to the file `path`, which must not be there yet, with these permissions.
///
/// # Errors
/// When it is there, or cannot be written.
pub(crate) fn new_file(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: std::io::Error| {
        let what = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "is there already, and is not overwritten: remove it, or choose another name"
                    .to_owned()
            }
            _ => format!("cannot be written: {}", rights::told(folder, &error)),
        };
        Problem::of_file(path, what)
    };
    let mut new = tempfile::Builder::new()
        .prefix(".ehos-")
        .tempfile_in(folder)
        .map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist_noclobber(path)
        .map_err(|error| failed(error.error))?;
    Ok(())
}
