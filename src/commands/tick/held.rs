//! A lock that another process holds: a running tick is normal, a hanging one is an error.

use std::path::Path;
use std::time::Duration;

use log::{error, info};

use system::exit::Exit;
use system::lock::{self, Holder};
use tick::state_directory;

/// A tick that holds the lock for this multiple of its timeout is stopped: every wait in a tick ends before.
const HANGING: u32 = 2;

/// Leaves the directory to the tick that holds its lock. An error follows only if that tick has held it for much longer
/// than a tick may last.
pub fn leave(directory: &Path, timeout: Duration) -> Exit {
    let place = directory.display();
    match lock::holder(directory, lock::TICK) {
        Some(Holder { pid, since }) if since > timeout * HANGING => {
            error!(
                "{place}: no tick can run: another tick, process {pid}, has held the lock for {} s, longer than \
                 daemon.tick_timeout {} s: it is stopped or hangs in the kernel; check it (ps -o \
                 pid,user,stat,wchan,cmd {pid}), then continue it (kill -CONT {pid}) or end it (kill -KILL {pid})",
                since.as_secs(),
                timeout.as_secs()
            );
            Exit::Unavailable
        }
        Some(_) => {
            info!("{place}: another tick holds the lock");
            Exit::Done
        }
        None => unsigned(directory, timeout),
    }
}

/// The same without the name of the holder. A tick writes its name at once, so another program or user blocks every tick.
fn unsigned(directory: &Path, timeout: Duration) -> Exit {
    let place = directory.display();
    let held = lock::unsigned_for(directory, lock::TICK, &state_directory::file(directory));
    match held.filter(|held| *held > timeout * HANGING) {
        Some(held) => {
            let (who, remedy) = match lock::locked_by(directory, lock::TICK) {
                Some(pid) => (
                    format!("process {pid}"),
                    format!("check it (ps -o pid,user,cmd {pid}) and end it (kill {pid})"),
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
                "{place}: no tick can run: {who}, not a tick of ehos, has held {} for at least {} s; {remedy}, and keep other \
                 users out of the directory (chmod 700 {place})",
                lock::TICK,
                held.as_secs()
            );
            Exit::Unavailable
        }
        None => {
            info!("{place}: another process holds the lock");
            Exit::Done
        }
    }
}
