//! The files that are merged over a configuration file: `ehos.d/*.yaml` for `ehos.yaml`.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of the files that are merged over `file`.
pub fn folder(file: &Path) -> PathBuf {
    file.with_extension("d")
}

/// Makes the folder where it is missing. Whatever the umask of who runs this, the service can read it.
///
/// # Errors
/// When it cannot be made.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Ok(()) => std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes `text`, which holds no secret, to such a file: it appears whole or not at all. Its folder is made.
///
/// # Errors
/// When folder or file cannot be made.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    // The service reads it as another user.
    write_whole(path, text, 0o644, true)
}

/// Writes `text` to a file with these permissions: it appears whole or not at all. Without `replace`, one that is there
/// is an error.
///
/// # Errors
/// When it cannot be written, or is there.
pub(super) fn write_whole(path: &Path, text: &str, mode: u32, replace: bool) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A name that begins with a dot is not read.
    let mut new = tempfile::Builder::new()
        .prefix(".ehos-")
        .tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    let kept = match replace {
        true => new.persist(path),
        false => new.persist_noclobber(path),
    };
    kept.map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}
