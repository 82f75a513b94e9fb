//! A lock that another process has: a tick that runs is left alone, one that hangs is an error.

use std::path::Path;
use std::time::Duration;

use log::{error, info};

use system::exit::Exit;
use system::lock::{self, Holder};
use tick::state_directory;

/// A tick that has the lock for so many times its time-out does not run any more: what can block in it ends before.
const HANGING: u32 = 2;

/// Leaves the directory to the tick that has its lock: quietly, unless that one has had it for much longer than a tick
/// may last.
pub fn leave(directory: &Path, timeout: Duration) -> Exit {
    let place = directory.display();
    match lock::holder(directory, lock::TICK) {
        Some(Holder { pid, since }) if since > timeout * HANGING => {
            error!(
                "another tick, process {pid}, has had the lock of {place} for {} s, and a tick may take {} s: \
                 it is stopped or hangs in the kernel, and nothing is scaled meanwhile. Look at it (ps -o \
                 pid,user,stat,wchan,cmd {pid}), let it go on (kill -CONT {pid}) or end it (kill -KILL {pid}); the \
                 next tick is the clean-up",
                since.as_secs(),
                timeout.as_secs()
            );
            Exit::Unavailable
        }
        Some(_) => {
            info!("another tick has the lock of {place}");
            Exit::Done
        }
        None => unsigned(directory, timeout),
    }
}

/// The same where the holder has not signed: a tick does so at once, so it is another program or another user, who holds up
/// every tick.
fn unsigned(directory: &Path, timeout: Duration) -> Exit {
    let place = directory.display();
    let held = lock::unsigned_for(directory, lock::TICK, &state_directory::file(directory));
    match held.filter(|held| *held > timeout * HANGING) {
        Some(held) => {
            let (who, remedy) = match lock::locked_by(directory, lock::TICK) {
                Some(pid) => (
                    format!("process {pid}"),
                    format!("look at it (ps -o pid,user,cmd {pid}) and end it (kill {pid})"),
                ),
                None => (
                    "a process".to_owned(),
                    format!(
                        "find it with `fuser -v {}` and end it",
                        directory.join(lock::TICK).display()
                    ),
                ),
            };
            error!(
                "{place}: no tick can run: {who} has had {} for at least {} s and is no tick of ehos; {remedy}, and keep other \
                 users out of the directory (chmod 700 {place})",
                lock::TICK,
                held.as_secs()
            );
            Exit::Unavailable
        }
        None => {
            info!("another process has the lock of {place}");
            Exit::Done
        }
    }
}
