//! The state directory, as the user who runs the ticks meets it: owner, mode, room.
//!
//! Must not: leave anything behind there.

use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::process::geteuid;
use scaling::sorting;

use super::fix::Fix;
use super::{Finding, Outcome};
use report::history;
use system::rights;

const CHECK: &str = "state";
/// Below this a tick cannot keep its intents: the state of 1,000 nodes and a line of the history are less.
const LEAST_BYTES: u64 = 1 << 20;
/// Below this the directory is full within days: 1,440 ticks a day write some MB.
const FEW_BYTES: u64 = 64 << 20;
/// As files: a tick makes some and deletes them.
const LEAST_FILES: u64 = 8;
const FEW_FILES: u64 = 1_000;
/// Entries that are looked at: the history has two a day.
const MAX_ENTRIES: usize = 10_000;

/// Looks at the directory: who may use it, and how much room it has.
pub fn check(directory: &Path) -> Vec<Finding> {
    let found = match fs::metadata(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![missing(directory)];
        }
        Err(error) => return vec![unreadable(directory, &error)],
    };
    if !found.is_dir() {
        return vec![Finding::failed(
            CHECK,
            format!("{} is not a directory", directory.display()),
            "move it away, or name another directory with --state-dir or daemon.state_dir",
        )];
    }
    let me = geteuid().as_raw();
    if me != 0 && me != found.uid() {
        return vec![of_another_user(directory, &found)];
    }
    let rights = rights_of_owner(directory, &found).or_else(|| foreign_entry(directory, &found));
    rights
        .into_iter()
        .chain([room_for(directory, &found, me)])
        .collect()
}

/// The room that the ticks of its owner have there.
fn room_for(directory: &Path, found: &Metadata, me: u32) -> Finding {
    if me == found.uid()
        && let Err(error) = try_to_write(directory)
    {
        return Finding::failed(
            CHECK,
            format!("{} cannot be written to: {error}", directory.display()),
            "free space on its disk, or mount it for writing: no tick acts before its intents are saved",
        );
    }
    let owner = rights::user_name(found.uid());
    match statvfs(directory) {
        Ok(disk) => {
            // Root has what is reserved, too.
            let blocks = if found.uid() == 0 {
                disk.f_bfree
            } else {
                disk.f_bavail
            };
            let it = Room {
                read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
                bytes: disk.f_frsize.saturating_mul(blocks),
                // Some file systems have no such limit, and say 0 of 0.
                files: (disk.f_files > 0).then_some(disk.f_favail),
            };
            room(directory, &owner, it)
        }
        Err(error) => Finding::skipped(
            CHECK,
            format!("{}: free space unknown: {error}", directory.display()),
        ),
    }
}

/// A directory that the first tick has to make.
fn missing(directory: &Path) -> Finding {
    let there = directory.ancestors().skip(1).find(|above| above.exists());
    let above = there.unwrap_or(Path::new("/"));
    let place = directory.display();
    if access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        return Finding::ok(
            CHECK,
            format!("{place} does not exist yet: the first tick creates it"),
        );
    }
    let me = rights::user_name(geteuid().as_raw());
    Finding::failed(
        CHECK,
        format!(
            "{place} does not exist, and the user {me} may not create it in {}",
            above.display()
        ),
        format!("sudo install -d -o {me} -m 711 {place}"),
    )
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Finding {
    let remedy = rights::remedy(directory, Some(directory), error.kind());
    Finding {
        check: CHECK,
        outcome: Outcome::Failed,
        what: format!("{}: {error}", directory.display()),
        remedy,
        fixes: Vec::new(),
    }
}

fn of_another_user(directory: &Path, found: &Metadata) -> Finding {
    let owner = rights::user_name(found.uid());
    Finding {
        check: CHECK,
        outcome: Outcome::Skipped,
        what: format!(
            "{} belongs to the user {owner}: this user cannot read it",
            directory.display()
        ),
        remedy: Some(format!(
            "run this as the user that runs the ticks: {}",
            rights::command_as(found.uid())
        )),
        fixes: Vec::new(),
    }
}

/// The owner may read, write and search it; where root owns it, nobody else may write to it.
fn rights_of_owner(directory: &Path, found: &Metadata) -> Option<Finding> {
    let place = directory.display();
    let owner = rights::user_name(found.uid());
    let mode = found.mode() & 0o7777;
    let fix = |set, clear| Fix::DirectoryMode {
        path: directory.to_owned(),
        set,
        clear,
    };
    if found.uid() != 0 && mode & 0o700 != 0o700 {
        let finding = Finding::failed(
            CHECK,
            format!("{place} has mode {mode:04o}: its owner {owner} cannot work in it"),
            format!("sudo chmod u+rwx {place}"),
        );
        return Some(finding.fixed_by([fix(0o700, 0)]));
    }
    let group_writes = mode & 0o020 != 0 && found.gid() != 0;
    if found.uid() == 0 && (group_writes || mode & 0o002 != 0) {
        let finding = Finding::warning(
            CHECK,
            format!("{place} is root's, and other users can write to it"),
            format!("sudo chmod go-w {place}"),
        );
        return Some(finding.fixed_by([fix(0, 0o022)]));
    }
    None
}

/// The files that the owner of the directory cannot use, as a run as another user leaves them; the first is named.
fn foreign_entry(directory: &Path, found: &Metadata) -> Option<Finding> {
    let history = history::folder(directory);
    let entries = |folder: &Path| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .take(MAX_ENTRIES)
    };
    let bad = entries(directory).chain(entries(&history)).filter(|entry| {
        entry.metadata().is_ok_and(|it| {
            let path = entry.path();
            // All others are replaced as a whole, which is the right of the directory's owner.
            let is_written = it.is_dir()
                || path.starts_with(&history)
                || path.extension().is_some_and(|ending| ending == "lock");
            // root is let in everywhere.
            found.uid() != 0
                && it.uid() != found.uid()
                && !may(&it, found, if is_written { 6 } else { 4 })
        })
    });
    let mut bad: Vec<PathBuf> = bad.map(|entry| entry.path()).collect();
    sorting::ascending(&mut bad);
    let first = bad.first()?;
    let of = fs::symlink_metadata(first).map_or(0, |it| it.uid());
    let (owner, place) = (rights::user_name(found.uid()), directory.display());
    let word = owner.trim_start_matches('#');
    let finding = Finding::failed(
        CHECK,
        format!(
            "{} belongs to the user {}: the ticks of {owner} cannot use it",
            first.display(),
            rights::user_name(of)
        ),
        format!("sudo chown -R {word}: {place}"),
    );
    let fixes = bad.iter().filter_map(|path| {
        Some(Fix::Owner {
            directory: directory.to_owned(),
            entry: path.strip_prefix(directory).ok()?.to_owned(),
            uid: found.uid(),
            gid: found.gid(),
        })
    });
    Some(finding.fixed_by(fixes))
}

/// Whether the owner of `directory` has these rights (4 to read, 2 to write) for an entry of another user.
fn may(entry: &Metadata, directory: &Metadata, rights: u32) -> bool {
    let mode = entry.mode();
    let granted = if entry.gid() == directory.gid() {
        mode >> 3
    } else {
        mode
    };
    granted & rights == rights
}

/// Writes to a file that has no name: a quota is seen in no other way.
fn try_to_write(directory: &Path) -> std::io::Result<()> {
    let mut file = tempfile::tempfile_in(directory)?;
    file.write_all(&[b'x'; 1 << 16])?;
    file.sync_all()
}

#[derive(Debug, Clone, Copy)]
struct Room {
    read_only: bool,
    bytes: u64,
    files: Option<u64>,
}

fn room(directory: &Path, owner: &str, room: Room) -> Finding {
    let place = directory.display();
    let mb = room.bytes / (1 << 20);
    let files = room.files.unwrap_or(u64::MAX);
    if room.read_only {
        return Finding::failed(
            CHECK,
            format!("{place} is on a file system that is mounted read-only"),
            format!(
                "check `dmesg` and the disk, then run sudo mount -o remount,rw \"$(findmnt -no TARGET -T {place})\""
            ),
        );
    }
    let make_room =
        format!("free space (df -h {place}; df -i {place}), or shorten daemon.history_days");
    if room.bytes < LEAST_BYTES || files < LEAST_FILES {
        let left = if files < LEAST_FILES {
            format!("{files} files")
        } else {
            format!("{} KB", room.bytes / 1024)
        };
        return Finding::failed(
            CHECK,
            format!("the disk of {place} is full: {left} left"),
            make_room,
        );
    }
    if room.bytes < FEW_BYTES {
        return Finding::warning(
            CHECK,
            format!("the disk of {place} has {mb} MB left"),
            make_room,
        );
    }
    if files < FEW_FILES {
        let what = format!("the disk of {place} has {files} files left");
        return Finding::warning(CHECK, what, make_room);
    }
    Finding::ok(CHECK, format!("{place} of the user {owner}, {mb} MB left"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    fn outcome(directory: &Path) -> Outcome {
        let found = check(directory).into_iter().map(|it| it.outcome);
        found.max().unwrap()
    }

    #[test]
    fn a_directory_that_is_there_or_can_be_made_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let before = fs::metadata(dir.path()).unwrap().modified().unwrap();
        assert_ne!(outcome(dir.path()), Outcome::Failed);
        assert_eq!(outcome(&dir.path().join("a/b")), Outcome::Ok);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(
            fs::metadata(dir.path()).unwrap().modified().unwrap(),
            before
        );
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(outcome(&file), Outcome::Failed);
    }

    #[test]
    fn room_is_judged_by_bytes_files_and_mount() {
        let of = |read_only, bytes, files| {
            let it = Room {
                read_only,
                bytes,
                files,
            };
            room(Path::new("/s"), "ehos", it).outcome
        };
        assert_eq!(of(false, 1 << 30, Some(100_000)), Outcome::Ok);
        assert_eq!(of(false, 1 << 30, None), Outcome::Ok);
        assert_eq!(of(true, 1 << 30, None), Outcome::Failed);
        assert_eq!(of(false, 0, None), Outcome::Failed);
        assert_eq!(of(false, 1 << 30, Some(0)), Outcome::Failed);
        assert_eq!(of(false, 32 << 20, Some(100_000)), Outcome::Warning);
        assert_eq!(of(false, 1 << 30, Some(100)), Outcome::Warning);
    }

    #[test]
    fn root_sees_what_the_owner_cannot_use() {
        if !geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        const NOBODY: Option<u32> = Some(65534);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let history = path.join("history");
        fs::create_dir(&history).unwrap();
        let own = |file: &Path| chown(file, NOBODY, NOBODY).unwrap();
        let mode = |file: &Path, mode| {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        };
        own(path);
        own(&history);
        assert_ne!(outcome(path), Outcome::Failed);
        for (name, open) in [
            ("state.json", 0o644),
            ("tick.lock", 0o666),
            ("history/2026-11-29.jsonl", 0o666),
        ] {
            let file = path.join(name);
            fs::write(&file, "").unwrap();
            mode(&file, 0o600);
            let found = check(path).remove(0);
            assert_eq!(found.outcome, Outcome::Failed, "{name}");
            assert!(
                found.what.contains(name) && found.what.contains("root"),
                "{found:?}"
            );
            let remedy = found.remedy.unwrap();
            assert!(remedy.contains("sudo chown -R "), "{remedy}");
            // One that it can use is no fault.
            mode(&file, open);
            assert_ne!(outcome(path), Outcome::Failed, "{name}");
            mode(&file, 0o600);
            own(&file);
            assert_ne!(outcome(path), Outcome::Failed, "{name}");
        }
        mode(path, 0o500);
        assert_eq!(outcome(path), Outcome::Failed);
        // Of root's own, others may not write to it.
        chown(path, Some(0), Some(0)).unwrap();
        mode(path, 0o777);
        assert_eq!(outcome(path), Outcome::Warning);
    }
}
