//! The lock of ticks, on a machine where others log in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::harness::Site;

/// Somebody else holds the lock, until this is dropped.
struct Holder(Child);

impl Holder {
    fn of(site: &Site) -> Holder {
        let lock = site.state().join("tick.lock");
        let words = ["flock", "--no-fork", lock.to_str().unwrap(), "sleep", "120"];
        let child = site.words(&words).stdin(Stdio::null()).spawn();
        // From here on it is ended and waited for.
        let holder = Holder(child.unwrap());
        let held = || {
            let mut try_it = site.words(&["flock", "--nonblock", lock.to_str().unwrap(), "true"]);
            !try_it.status().unwrap().success()
        };
        for _ in 0..100 {
            if held() {
                return holder;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the lock is not held");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn age(site: &Site, name: &str, seconds: u64) {
    let file = fs::File::options()
        .write(true)
        .open(site.state().join(name))
        .unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

#[test]
fn a_holder_that_is_no_tick_is_told_of() {
    let site = Site::simulated().over("daemon:\n  tick_timeout: 60\n");
    site.tick(&[]).exits(0);
    let holder = Holder::of(&site);
    // It may be a tick that is about to sign.
    site.tick(&[]).exits(0).is_silent();
    age(&site, "tick.lock", 3600);
    site.tick(&[]).exits(0).is_silent();
    age(&site, "state.json", 3600);
    site.tick(&[])
        .exits(75)
        .warns("no tick can run")
        .warns("not a tick of ehos")
        .warns(&format!("kill {}", holder.0.id()));
    drop(holder);
    site.tick(&[]).exits(0);
}

#[test]
fn nobody_else_can_open_the_lock() {
    let site = Site::simulated();
    site.tick(&[]).exits(0);
    let mode = |name: &str| {
        let path = site.state().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("tick.lock")), (0o711, 0o600));
    // As an earlier ehos made both.
    for (name, old) in [("", 0o755), ("tick.lock", 0o644)] {
        fs::set_permissions(site.state().join(name), fs::Permissions::from_mode(old)).unwrap();
    }
    site.tick(&[]).exits(0);
    assert_eq!(mode("tick.lock"), 0o600);
    let lock = site.state().join("tick.lock");
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "flock",
        "--nonblock",
    ];
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let words = [&nobody[..], &[lock.to_str().unwrap(), "true"]].concat();
        let run = site.finish(&mut site.words(&words));
        assert_ne!(run.code(), Some(0), "{run}");
        assert!(run.stderr.contains("Permission denied"), "{run}");
    }
}

#[test]
fn links_in_the_state_directory_lead_nowhere() {
    let site = Site::simulated();
    site.tick(&[]).exits(0);
    let elsewhere = site.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
    let history = site.state().join("history");
    fs::remove_dir_all(&history).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &history).unwrap();
    site.tick(&[]).warns("this tick is not recorded");
    let mode = fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_file(&history).unwrap();
    site.tick(&[]).exits(0);
    for name in [
        "state.json",
        "history/last.json",
        "proof.key",
        "frontend.token",
        "notices.json",
    ] {
        let path = site.state().join(name);
        let kept = site.path().join("kept");
        let there = path.exists();
        if there {
            fs::rename(&path, &kept).unwrap();
        }
        let secret = site.path().join("secret");
        fs::write(&secret, "somebody else's").unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        site.tick(&[]).never_says("somebody else");
        assert_eq!(
            fs::read_to_string(&secret).unwrap(),
            "somebody else's",
            "{name}"
        );
        let _ = fs::remove_file(&path);
        if there {
            fs::rename(&kept, &path).unwrap();
        }
    }
}
