//! Files of a state directory, opened without following a link: whoever may write to the directory leads no other user
//! elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file to be read.
///
/// # Errors
/// When it is not there, cannot be read, is a link, or is no file (a pipe would be waited for).
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            io::Error::other(
                "it is a link, and links are not followed here; put the file itself there",
            )
        } else {
            error
        }
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(rustix::io::Errno::ISDIR.into())
    } else {
        Err(io::Error::other("it is no file; remove it"))
    }
}

/// Reads a whole file.
///
/// # Errors
/// As [`open`], and when it cannot be read to its end.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let link = folder.path().join("link");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&file).unwrap(), b"x");
        assert!(
            read(&link)
                .unwrap_err()
                .to_string()
                .contains("it is a link")
        );
        assert!(read(folder.path()).is_err());
        let missing = read(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
