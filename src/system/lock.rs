//! One process at a time: one tick, one build of images, one deploy of a central manager, on a state directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs2::FileExt;
use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::own_file;

/// The lock, held as long as this lives. The kernel gives it up when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

/// The process that has a lock, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// For how long it has had the lock, on a clock that nobody can set.
    pub since: Duration,
}

/// The lock of `ehos tick`.
pub const TICK: &str = "tick.lock";
/// The lock of `ehos image build`.
pub const IMAGE: &str = "image.lock";
/// The lock of `ehos master deploy`.
pub const MASTER: &str = "master.lock";

/// Takes the lock called `name` of `state_dir`, or `None` when another process has it. Never waits.
///
/// # Errors
/// When the lock file cannot be made or locked.
pub fn try_lock(state_dir: &Path, name: &str) -> io::Result<Option<Lock>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        // Whoever can open it can lock it.
        .mode(0o600)
        // What a lock holds is written over: no link may lead elsewhere.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(state_dir.join(name))?;
    close_to_others(&file, name);
    // std has had `File::try_lock` since 1.89; fs2 also serves the stated minimum version.
    match FileExt::try_lock_exclusive(&file) {
        Ok(()) => {
            // Only words for others: a full disk does not keep the lock from holding.
            if let Err(error) = sign(&file) {
                log::debug!("the holder of {name} is unknown: {error}");
            }
            Ok(Some(Lock(file)))
        }
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes the rights of others to a lock that an earlier ehos has made, or a hand: with them any user of this machine could
/// hold it. Only its owner can.
fn close_to_others(file: &File, name: &str) {
    let closed = file
        .metadata()
        .and_then(|metadata| match metadata.permissions().mode() & 0o077 {
            0 => Ok(()),
            _ => file.set_permissions(Permissions::from_mode(0o600)),
        });
    if let Err(error) = closed {
        log::debug!("{name} stays open to others: {error}");
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.set_len(0) {
            log::debug!("a lock file keeps the name of its last holder: {error}");
        }
    }
}

/// Who has the lock called `name` of `state_dir`, when it was found taken. `None` when that is not known: it does not
/// say so, or what it says is of a process that is no more.
pub fn holder(state_dir: &Path, name: &str) -> Option<Holder> {
    let text = String::from_utf8(own_file::read(&state_dir.join(name)).ok()?).ok()?;
    let (pid, seconds) = text.strip_suffix('\n')?.split_once(' ')?;
    let pid = pid.parse().ok()?;
    // A process that was killed leaves its words behind, until the next holder has written its own.
    if !Path::new("/proc").join(format!("{pid}")).exists() {
        return None;
    }
    let since = Duration::from_secs(seconds.parse().ok()?);
    Some(Holder {
        pid,
        since: uptime().checked_sub(since)?,
    })
}

/// For how long the lock called `name` of `state_dir` may have been held by somebody who has not signed: nothing that a
/// holder writes there, the lock and the state in `file`, has been written since. By the machine's clock, which may jump.
pub fn unsigned_for(state_dir: &Path, name: &str, file: &Path) -> Option<Duration> {
    let written = |path: &Path| fs::symlink_metadata(path).ok()?.modified().ok();
    let last = written(&state_dir.join(name)).max(written(file))?;
    SystemTime::now().duration_since(last).ok()
}

/// The process that has locked the file, as the kernel says (proc(5), /proc/locks); `None` where it does not.
pub fn locked_by(state_dir: &Path, name: &str) -> Option<u32> {
    let inode = fs::symlink_metadata(state_dir.join(name)).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let of_file = |line: &str| {
        let mut fields = line.split_whitespace();
        let is_flock = fields.nth(1) == Some("FLOCK");
        let pid = fields.nth(2)?.parse().ok()?;
        let place = fields.next()?;
        let same = place.rsplit(':').next()? == inode.to_string();
        (is_flock && same).then_some(pid)
    };
    locks.lines().find_map(of_file)
}

/// Writes down who has the lock and since when. The old words go first: half a line says nothing.
fn sign(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    let line = format!("{} {}\n", std::process::id(), uptime().as_secs());
    file.write_all(line.as_bytes())
}

/// How long this machine has been awake: it is the same for all processes, and does not jump with the time of day.
pub fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_leaves_and_the_lock_goes_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = try_lock(dir.path(), TICK).unwrap();
        assert!(first.is_some());
        assert!(try_lock(dir.path(), IMAGE).unwrap().is_some());
        assert!(try_lock(dir.path(), TICK).unwrap().is_none());
        drop(first);
        assert!(try_lock(dir.path(), TICK).unwrap().is_some());
    }

    #[test]
    fn a_lock_says_who_has_it_and_for_how_long() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path(), TICK), None);
        let lock = try_lock(dir.path(), TICK).unwrap();
        let held = holder(dir.path(), TICK).unwrap();
        assert_eq!(held.pid, std::process::id());
        assert!(held.since < Duration::from_secs(30), "{held:?}");
        drop(lock);
        assert_eq!(holder(dir.path(), TICK), None);
    }

    #[test]
    fn a_lock_is_for_its_user_alone_and_an_open_one_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TICK);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(try_lock(dir.path(), TICK).unwrap());
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(try_lock(dir.path(), TICK).unwrap());
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn the_kernel_says_who_has_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = try_lock(dir.path(), TICK).unwrap();
        // Not where /proc belongs to another namespace.
        assert!([None, Some(std::process::id())].contains(&locked_by(dir.path(), TICK)));
        drop(lock);
        assert_eq!(locked_by(dir.path(), TICK), None);
        assert_eq!(locked_by(dir.path(), MASTER), None);
    }

    #[test]
    fn words_that_are_nobodys_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let me = std::process::id();
        let later = uptime().as_secs() + 1000;
        for words in [
            String::new(),
            format!("{me}"),
            format!("{me} 0"),
            format!("{me} x\n"),
            "-1 0\n".to_owned(),
            // Beyond the highest number of a process.
            "4194305 0\n".to_owned(),
            // Of another boot, or another machine.
            format!("{me} {later}\n"),
            "\0\0\0\0".to_owned(),
        ] {
            fs::write(dir.path().join(TICK), &words).unwrap();
            assert_eq!(holder(dir.path(), TICK), None, "{words:?}");
        }
        fs::write(dir.path().join(TICK), format!("{me} 0\n")).unwrap();
        assert!(holder(dir.path(), TICK).is_some());
    }
}
