//! A disk that is really full, and one that is really read-only.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Run, Site};

/// A small file system of its own, until this is dropped.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    /// At this place, or `None` where that is not allowed.
    fn mount(place: &'a Path) -> Option<Disk<'a>> {
        fs::create_dir_all(place).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k", "ehos-test"])
            .arg(place)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk(place)),
            _ => {
                println!("skipped: no file system may be mounted here: this needs root");
                None
            }
        }
    }

    /// A command of the shell that makes it read-only for all that is opened from then on, as a fault of a disk would.
    fn freezing(&self) -> String {
        let place = self.0.display();
        format!("mount --bind '{place}' '{place}' && mount -o remount,bind,ro '{place}'")
    }

    /// Undoes that.
    fn thaw(&self) {
        assert!(self.unmount());
    }

    fn unmount(&self) -> bool {
        let done = Command::new("umount").arg("-l").arg(self.0).output();
        done.is_ok_and(|output| output.status.success())
    }

    /// A command of the shell that leaves no room on it.
    fn filling(&self) -> String {
        format!(
            "head -c 1000000 /dev/zero >'{}/ballast' 2>/dev/null",
            self.0.display()
        )
    }

    fn fill(&self) {
        let mut shell = Command::new("sh");
        // It ends when there is no room any more.
        shell.args(["-c", &self.filling()]).status().unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        while self.unmount() {}
    }
}

fn site() -> (Double, Site) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    (double, site)
}

/// `check` asks once for a server that cannot be made: whether it may.
const TRIED: usize = 1;

fn checked(site: &Site) -> Run {
    let (config, state) = (site.config(), site.state());
    site.run(&[
        "check".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
        "--state-dir".as_ref(),
        state.as_os_str(),
    ])
}

/// Besides the ballast.
fn names(site: &Site) -> Vec<String> {
    let names = site.state_names().into_iter();
    names.filter(|name| name != "ballast").collect()
}

#[test]
fn a_full_disk() {
    let (double, site) = site();
    let metrics = site.path().join("ehos.prom");
    let site = site.over(&format!(
        "metrics: {{prometheus_textfile: '{}'}}\n",
        metrics.display()
    ));
    let state = site.state();
    let Some(disk) = Disk::mount(&state) else {
        return;
    };
    // Full from the beginning: nothing is made, since no intent can be on disk.
    disk.fill();
    for _ in 0..3 {
        site.tick(&[])
            .exits(74)
            .warns("no action: intents could not be saved: state directory ")
            .warns("No space left on device");
    }
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(names(&site), ["tick.lock"], "nothing half written");
    // A dry run needs no room.
    site.tick(&["--dry-run"])
        .exits(0)
        .says("plan     create 1 node (dry run)");

    // Full after the intents were written.
    disk.make_room();
    let full = site.script(
        "condor_token_create",
        "any",
        &format!("{}; echo a.b.c", disk.filling()),
    );
    full.tick(&[])
        .exits(1)
        .warns("state not saved after the actions, the next tick observes their results: ")
        .warns("No space left on device")
        .says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);
    assert_eq!(full.remembered().len(), 1, "the intent");
    // A counter that goes back counts as begun anew, with all that it had.
    let told = fs::read_to_string(&metrics).unwrap();
    assert!(told.contains("ehos_cloud_up"), "{told}");
    assert!(!told.contains("ehos_ticks_total"), "not on disk: {told}");
    let whole = fs::read(state.join("state.json")).unwrap();

    // And full in the ticks that follow: the state on it stays as it was, and whole.
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    double.play(cloud::script(vec![cloud::list(&[server])]));
    for _ in 0..3 {
        full.tick(&[]).exits(74).warns("No space left on device");
    }
    assert_eq!(fs::read(state.join("state.json")).unwrap(), whole);
    checked(&full)
        .says("FAILED   state ")
        .says("No space left on device");
    disk.make_room();
    full.tick(&[])
        .exits(0)
        .says("1 building")
        .never_says("adopted");
    assert_eq!(double.count("POST", CREATE), 1 + TRIED);
    assert_eq!(names(&full), crate::harness::STATE_NAMES);
}

#[test]
fn a_disk_that_is_read_only() {
    let (double, site) = site();
    let state = site.state();
    let Some(disk) = Disk::mount(&state) else {
        return;
    };
    // A file system with faults in it becomes so in mid tick: here after the intents were written.
    let site = site.script(
        "condor_token_create",
        "any",
        &format!("{} && echo a.b.c", disk.freezing()),
    );
    site.tick(&[])
        .exits(1)
        .warns("state not saved after the actions, the next tick observes their results: ")
        .warns("Read-only file system");
    assert_eq!(double.count("POST", CREATE), 1);
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    double.play(cloud::script(vec![cloud::list(&[server])]));
    for _ in 0..2 {
        site.tick(&[])
            .exits(74)
            .warns("tick.lock: cannot be created or locked: Read-only file system");
    }
    site.tick(&["--dry-run"]).exits(0).says("1 building");
    checked(&site)
        .says("FAILED   state ")
        .says("Read-only file system");
    // It makes a token to see that it can, which freezes the disk once more.
    while fs::write(state.join("trial"), "").is_err() {
        disk.thaw();
    }
    fs::remove_file(state.join("trial")).unwrap();
    site.tick(&[])
        .exits(0)
        .says("1 building")
        .never_says("adopted");
    assert_eq!(double.count("POST", CREATE), 1 + TRIED);
}
