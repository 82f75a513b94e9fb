//! The keys that sign the metadata of servers (`ehos_proof`), on disk.
//!
//! Owns: `proof.key` in the state directory, created once, readable by its user only. A second place is the folder of the main
//! configuration file: `ehos master deploy` copies the key of its machine there.
//! Must not: log a key, or follow a link in a state directory.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::state_directory::new_file;
use log::warn;
use secrecy::{ExposeSecret, SecretString};

use scaling::signing::SigningKeys;
use system::environment::Environment;
use system::own_file;
use system::rights;

/// The name of a file of keys: one a line, in hexadecimal.
pub const FILE: &str = "proof.key";

/// The bytes of a key.
const BYTES: usize = 32;

/// No file of keys is longer.
const MAX_FILE: u64 = 16 * 1024;

/// The places of keys, the first of which signs.
fn places(
    directory: &Path,
    config_folder: Option<&Path>,
    environment: &Environment,
) -> Vec<PathBuf> {
    let system = environment
        .root
        .join(rights::SYSTEM_DIRECTORY.trim_start_matches('/'));
    let mut places = vec![directory.join(FILE)];
    for folder in config_folder.into_iter().chain([&*system]) {
        let file = folder.join(FILE);
        if !places.contains(&file) {
            places.push(file);
        }
    }
    places
}

/// The keys of this pool, as far as they can be read.
pub fn load(
    directory: &Path,
    config_folder: Option<&Path>,
    environment: &Environment,
) -> SigningKeys {
    SigningKeys::new(read_all(directory, config_folder, environment))
}

/// The same; where there is no key yet, one is made in the state directory. Without one a server that is created has no
/// signature, and the state alone knows it.
pub fn load_or_make(
    directory: &Path,
    config_folder: Option<&Path>,
    environment: &Environment,
) -> SigningKeys {
    set_aside(directory);
    let mut keys = read_all(directory, config_folder, environment);
    if keys.is_empty() {
        match make(directory) {
            // Another process may have written the file first.
            Ok(()) => keys = read_all(directory, config_folder, environment),
            Err(error) => warn!(
                "{}: no signing key: {}; until it can be written, new servers have no ehos_proof",
                directory.join(FILE).display(),
                rights::told_in(directory, Some(directory), &error)
            ),
        }
    }
    SigningKeys::new(keys)
}

/// The text of all keys, for the central manager; `None` without any.
pub fn text(
    directory: &Path,
    config_folder: Option<&Path>,
    environment: &Environment,
) -> Option<SecretString> {
    let keys = read_all(directory, config_folder, environment);
    let lines: Vec<&str> = keys.iter().map(ExposeSecret::expose_secret).collect();
    (!lines.is_empty()).then(|| SecretString::from(lines.join("\n")))
}

fn read_all(
    directory: &Path,
    config_folder: Option<&Path>,
    environment: &Environment,
) -> Vec<SecretString> {
    let mut all: Vec<SecretString> = Vec::new();
    for place in places(directory, config_folder, environment) {
        let own = place.parent() == Some(directory);
        let keys = match read(&place) {
            Ok(keys) => keys,
            // The file of the system belongs to its own user.
            Err(error) if !own && error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => {
                warn!(
                    "{}: keys not used: {}",
                    place.display(),
                    rights::told_in(&place, Some(directory), &error)
                );
                continue;
            }
        };
        for key in keys {
            if !all
                .iter()
                .any(|known| known.expose_secret() == key.expose_secret())
            {
                all.push(key);
            }
        }
    }
    all
}

/// Moves a file without usable keys away, so that a new key is created. The state knows the servers that the old key has
/// signed.
fn set_aside(directory: &Path) {
    let path = directory.join(FILE);
    let Err(error) = read(&path) else { return };
    // A user without read access is not the one that runs the ticks.
    if error.kind() == io::ErrorKind::PermissionDenied {
        return;
    }
    let aside = directory.join(format!("{FILE}.damaged"));
    match fs::rename(&path, &aside) {
        Ok(()) => warn!(
            "{}: moved to {}: {error}; servers in the state stay trusted",
            path.display(),
            aside.display()
        ),
        Err(moved) => warn!("{}: {error}; cannot be moved away: {moved}", path.display()),
    }
}

/// Reads the keys of a file; none if it is missing. Other lines are skipped.
fn read(path: &Path) -> io::Result<Vec<SecretString>> {
    let file = match own_file::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    if file.metadata()?.permissions().mode() & 0o007 != 0 {
        return Err(io::Error::other(
            "every user of this machine can read it; remove it",
        ));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    let is_key =
        |line: &&str| line.len() == 2 * BYTES && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    let keys: Vec<SecretString> = text
        .lines()
        .map(str::trim)
        .filter(is_key)
        .map(|line| SecretString::from(line.to_owned()))
        .collect();
    if keys.is_empty() {
        return Err(io::Error::other("contains no key; remove it"));
    }
    Ok(keys)
}

/// Creates a key, unless another process was first: the file appears whole or not at all, and is never overwritten.
fn make(directory: &Path) -> io::Result<()> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut new = tempfile::Builder::new()
        .prefix(new_file::SIGNING_KEY)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    writeln!(new, "{key}")?;
    new.as_file().sync_all()?;
    match new.persist_noclobber(directory.join(FILE)) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error.error);
        }
        Ok(_) | Err(_) => {}
    }
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(read(&path).unwrap().is_empty());
        make(folder.path()).unwrap();
        let first = read(&path).unwrap();
        make(folder.path()).unwrap();
        let second = read(&path).unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].expose_secret(), second[0].expose_secret());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        set_aside(folder.path());
        make(folder.path()).unwrap();
        set_aside(folder.path());
        assert!(path.exists());
        fs::write(&path, "garbage\n").unwrap();
        set_aside(folder.path());
        assert!(!path.exists());
        assert!(folder.path().join("proof.key.damaged").exists());
    }

    #[test]
    fn a_file_that_others_can_read_a_link_and_garbage_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).is_err());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).is_err());
        // The group of the ticks may read what a deploy has put there.
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).is_ok());
        fs::write(&path, "garbage\n").unwrap();
        assert!(read(&path).is_err());
        assert!(read(folder.path()).is_err());
    }
}
