//! The file for the textfile collector of node_exporter.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes `text` to `path` atomically. The temporary file does not end in `.prom`, which node_exporter would read.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "not a file name");
    let name = path.file_name().ok_or_else(none)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut new = OsString::from(".");
    new.push(name);
    new.push(".new-");
    sweep(folder, &new)?;
    let mut file = tempfile::Builder::new()
        .prefix(&new)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    // The mode is set explicitly, whatever the umask.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes unfinished files of killed ticks.
fn sweep(folder: &Path, new: &OsString) -> io::Result<()> {
    let beginning = new.as_encoded_bytes();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(beginning) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole_readable_by_all_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ehos.prom");
        fs::write(folder.path().join(".ehos.prom.new-killed"), "half").unwrap();
        fs::write(folder.path().join(".other.prom.new-1"), "another's").unwrap();
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        write(&path, "a 1\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a 1\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [".other.prom.new-1", "ehos.prom"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("none/ehos.prom"), "a 1\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(write(Path::new("/"), "").is_err());
    }
}
