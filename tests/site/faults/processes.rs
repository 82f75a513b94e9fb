//! Processes that are stopped as a debugger would stop them, and go on whatever becomes of the test.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A stopped service goes on after so many seconds even when the test was killed.
const MAX_SECONDS: u32 = 90;

/// Frozen processes: connections to them are taken by the kernel, and nobody answers. They go on when this is dropped.
pub struct Frozen {
    pids: Vec<String>,
    watchdog: Child,
}

impl Frozen {
    /// Freezes these.
    pub fn new(pids: Vec<String>) -> Frozen {
        let frozen = Frozen::later(pids);
        frozen.signal("-STOP");
        frozen
    }

    /// Somebody else freezes them, later.
    pub fn later(pids: Vec<String>) -> Frozen {
        Frozen::with(pids, "sleep \"$0\"; kill -CONT \"$@\"")
    }

    /// They run for a tenth of a second each second.
    pub fn slowly(pids: Vec<String>) -> Frozen {
        let script = "i=0; while [ $i -lt \"$0\" ]; do kill -STOP \"$@\"; sleep 0.9; kill -CONT \"$@\"; sleep 0.1
            i=$((i + 1)); done";
        Frozen::with(pids, script)
    }

    /// The script ends it even when the test does not live to do so.
    fn with(pids: Vec<String>, script: &str) -> Frozen {
        assert!(!pids.is_empty(), "there is nothing to freeze");
        let watchdog = Command::new("sh")
            .args(["-c", script])
            .arg(MAX_SECONDS.to_string())
            .args(&pids)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Frozen { pids, watchdog }
    }

    fn signal(&self, signal: &str) {
        // One that has ended meanwhile is no reason to leave the others.
        for pid in &self.pids {
            let _ = Command::new("kill").args([signal, pid]).status();
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let group = format!("-{}", self.watchdog.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.watchdog.wait();
        self.signal("-CONT");
    }
}

/// The processes of which this is so: parent, session, name (of at most 15 characters).
pub fn processes(which: impl Fn(&str, &str, &str) -> bool) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| {
            let pid = entry.unwrap().file_name().into_string().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (head, tail) = stat.rsplit_once(") ")?;
            let name = head.split_once('(')?.1;
            let mut fields = tail.split(' ');
            let parent = fields.nth(1)?;
            let session = fields.nth(1)?;
            which(parent, session, name).then_some(pid)
        })
        .collect()
}
