//! Owners and modes of files. Changes go through an open file, so that no link leads them to another one.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, openat};

use super::Fix;
use system::rights;

/// The change in words.
pub(super) fn text(fix: &Fix) -> String {
    match fix {
        Fix::HideFile { path } => format!("chmod o-rwx {}", path.display()),
        Fix::DirectoryMode { path, set, clear } => {
            let mut words: Vec<&str> = Vec::new();
            words.extend((*set != 0).then_some("u+rwx"));
            words.extend((*clear != 0).then_some("go-w"));
            format!("chmod {} {}", words.join(","), path.display())
        }
        Fix::Owner {
            directory,
            entry,
            uid,
            gid,
        } => format!(
            "chown {}:{gid} {}",
            rights::user_name(*uid).trim_start_matches('#'),
            directory.join(entry).display()
        ),
        // Steps of their own, one for each object.
        Fix::Prerequisite(_) => String::new(),
    }
}

/// Makes the change.
///
/// # Errors
/// The reason with the remedy.
pub(super) fn perform(fix: &Fix) -> Result<(), String> {
    let done = match fix {
        Fix::HideFile { path } => hide(path),
        Fix::DirectoryMode { path, set, clear } => directory_mode(path, *set, *clear),
        Fix::Owner {
            directory,
            entry,
            uid,
            gid,
        } => give(directory, entry, *uid, *gid),
        Fix::Prerequisite(_) => Ok(()),
    };
    done.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; run this as root: sudo {}", rights::command())
        }
        _ => error.to_string(),
    })
}

/// A file of the configuration may be a link, as the reader follows it.
fn hide(path: &Path) -> io::Result<()> {
    let file = fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    file.set_permissions(fs::Permissions::from_mode(mode & 0o7770))
}

fn directory_mode(path: &Path, set: u32, clear: u32) -> io::Result<()> {
    let changed = |mode: u32| (mode & 0o7777 & !clear) | set;
    match openat(
        CWD,
        path,
        OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    ) {
        Ok(folder) => {
            let mode = fstat(&folder)?.st_mode;
            Ok(fchmod(&folder, Mode::from_raw_mode(changed(mode)))?)
        }
        // The owner lacks the right to open it: no other user's path can be meant.
        Err(error) => {
            let found = fs::symlink_metadata(path)?;
            if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
                return Err(error.into());
            }
            fs::set_permissions(path, fs::Permissions::from_mode(changed(found.mode())))
        }
    }
}

/// Gives `entry` of the state directory to its owner. A second name of a file could be that of a file elsewhere.
fn give(directory: &Path, entry: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut at: OwnedFd = openat(CWD, directory, folder, Mode::empty())?;
    if fstat(&at)?.st_uid != uid {
        return Err(io::Error::other("the directory has another owner now"));
    }
    let names: Vec<&OsStr> = entry
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let Some((last, folders)) = names.split_last() else {
        return Err(io::Error::other("no entry of the directory"));
    };
    for name in folders {
        at = openat(at.as_fd(), *name, folder, Mode::empty())?;
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = openat(at.as_fd(), *last, flags, Mode::empty())?;
    let found = fstat(&opened)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if !(kind.is_dir() || (kind.is_file() && found.st_nlink == 1)) {
        return Err(io::Error::other(
            "neither a directory nor a file of one name; remove it",
        ));
    }
    Ok(fchown(
        &opened,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn modes_change_by_the_named_bits_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ehos.yaml");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o647)).unwrap();
        perform(&Fix::HideFile { path: file.clone() }).unwrap();
        assert_eq!(mode(&file), 0o640);
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        for (before, after) in [(0o2522, 0o2700), (0o022, 0o700), (0o500, 0o700)] {
            fs::set_permissions(&state, fs::Permissions::from_mode(before)).unwrap();
            let fix = Fix::DirectoryMode {
                path: state.clone(),
                set: 0o700,
                clear: 0o022,
            };
            perform(&fix).unwrap();
            assert_eq!(mode(&state), after);
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&state, &link).unwrap();
        let fix = Fix::DirectoryMode {
            path: link,
            set: 0,
            clear: 0o077,
        };
        assert!(perform(&fix).is_err(), "a link is not followed");
    }

    #[test]
    fn an_owner_gets_only_files_of_the_directory() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        const NOBODY: u32 = 65534;
        let dir = tempfile::tempdir().unwrap();
        let (state, other) = (dir.path().join("state"), dir.path().join("other"));
        fs::create_dir(&state).unwrap();
        fs::create_dir_all(state.join("history")).unwrap();
        std::os::unix::fs::chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("secret"), "").unwrap();
        fs::write(state.join("tick.lock"), "").unwrap();
        fs::write(state.join("history/day"), "").unwrap();
        fs::hard_link(other.join("secret"), state.join("hard")).unwrap();
        std::os::unix::fs::symlink(other.join("secret"), state.join("soft")).unwrap();
        std::os::unix::fs::symlink(&other, state.join("folder")).unwrap();
        let give = |entry: &str| {
            perform(&Fix::Owner {
                directory: state.clone(),
                entry: entry.into(),
                uid: NOBODY,
                gid: NOBODY,
            })
        };
        for entry in ["tick.lock", "history", "history/day"] {
            give(entry).unwrap();
            assert_eq!(fs::metadata(state.join(entry)).unwrap().uid(), NOBODY);
        }
        for entry in ["hard", "soft", "folder/secret", "", "../other/secret"] {
            assert!(give(entry).is_err(), "{entry}");
        }
        assert_eq!(fs::metadata(other.join("secret")).unwrap().uid(), 0);
    }
}
