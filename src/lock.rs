//! One process at a time: one tick, or one build of images, on a state directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use fs2::FileExt;

/// The lock, held as long as this lives. The kernel gives it up when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

/// The lock of `ehos tick`.
pub const TICK: &str = "tick.lock";
/// The lock of `ehos image build`.
pub const IMAGE: &str = "image.lock";

/// Takes the lock called `name` of `state_dir`, or `None` when another process has it. Never waits.
///
/// # Errors
/// When the lock file cannot be made or locked.
pub fn try_lock(state_dir: &Path, name: &str) -> io::Result<Option<Lock>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(state_dir.join(name))?;
    // std has had `File::try_lock` since 1.89; fs2 also serves the stated minimum version.
    match FileExt::try_lock_exclusive(&file) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
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
}
