//! The testbed's own promise: servers that Nova deletes at the same time all go, and none ends in ERROR.
//!
//! Machines that are off, in a folder of their own: they need no network, no image and no Nova.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt;

use crate::machines::{Answer, run, wait};

const BRIDGE: &str = "ehosdel0";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder of machines, or `None` where there is no testbed (so perhaps no root).
    fn new() -> Option<Folder> {
        if std::env::var_os("EHOS_TEST_MACHINES_DIR").is_none() {
            println!("skipped: EHOS_TEST_MACHINES_DIR names no testbed with machines");
            return None;
        }
        Some(Folder(tempfile::tempdir().unwrap()))
    }

    fn machine(&self, uuid: &str) -> PathBuf {
        self.0.path().join("machines").join(uuid)
    }

    /// A machine that has been switched off.
    fn add(&self, number: usize) -> String {
        let uuid = format!("00000000-0000-4000-8000-{number:012}");
        let folder = self.machine(&uuid);
        fs::create_dir_all(folder.join("upper")).unwrap();
        let conf = format!(
            "NAME=n{number}\nUUID={uuid}\nIMAGE=none\nIP=10.98.0.{address}/24\nVETH=ehosdel{number}\nNETNS=ehosdel-{number}\n\
             DOMAIN=novalocal\nFREEZER={folder}/no-cgroup\n",
            address = number + 2,
            folder = folder.display(),
        );
        fs::write(folder.join("conf"), conf).unwrap();
        uuid
    }

    fn destroy(&self, uuid: &str) -> Answer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/machines/machine");
        let mut command = Command::new(script);
        command
            .args(["destroy", uuid])
            .env("TESTBED_DIR", self.0.path())
            .env("MACHINES_BRIDGE", BRIDGE);
        run(&mut command, b"")
    }
}

#[test]
fn machines_that_are_deleted_at_once_all_go() {
    let Some(folder) = Folder::new() else {
        return;
    };
    let machines: Vec<String> = (0..48).map(|number| folder.add(number)).collect();
    thread::scope(|scope| {
        for some in machines.chunks(4) {
            let folder = &folder;
            scope.spawn(move || {
                for uuid in some {
                    folder.destroy(uuid).ok();
                    assert!(!folder.machine(uuid).exists());
                }
            });
        }
    });
    let hosts = fs::read_to_string(folder.0.path().join("net/hosts")).unwrap();
    assert_eq!(hosts, "");
}

/// Whoever lists the machines holds a lock; none loses its configuration before it is released.
#[test]
fn a_machine_stays_whole_while_the_machines_are_listed() {
    let Some(folder) = Folder::new() else {
        return;
    };
    let uuid = folder.add(0);
    fs::create_dir_all(folder.0.path().join("net")).unwrap();
    let lock = File::create(folder.0.path().join("net/lock")).unwrap();
    lock.lock_exclusive().unwrap();
    thread::scope(|scope| {
        let destroy = scope.spawn(|| folder.destroy(&uuid));
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            assert!(folder.machine(&uuid).join("conf").exists());
            thread::sleep(Duration::from_millis(20));
        }
        FileExt::unlock(&lock).unwrap();
        destroy.join().unwrap().ok();
    });
    wait("its folder to go", 5, || !folder.machine(&uuid).exists());
}
