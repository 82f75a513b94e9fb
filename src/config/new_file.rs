//! Files that appear whole or not at all, and never in the place of another.

use std::path::Path;

use super::drop_in::write_whole;
use super::error::{Diagnostic, Error};
use system::rights;

/// Writes `text` to the file `path`, which must not be there yet, with these permissions.
///
/// # Errors
/// When it is there, or cannot be written.
pub fn new_file(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    write_whole(path, text, mode, false).map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::AlreadyExists => (
                "exists, and is not overwritten",
                "remove it, or choose another name",
            )
                .into(),
            _ => {
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new("."));
                rights::told(folder, &error).at("cannot be written")
            }
        };
        Diagnostic::of_file(path, what).into()
    })
}
