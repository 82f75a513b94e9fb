//! ehos panics in a request to a cloud. Without unwinding that would end this process, so another one of it panics.

use std::path::PathBuf;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use scaling::action::{CloudAction, Done, Failure};
use scaling::observation::{CloudView, Observed, ServerRecord};
use scaling::state::State;
use simulation::backends;
use system::deadline::Deadline;
use system::exit;
use tempfile::TempDir;
use tick::backends::Backends;
use tick::cloud::{Cloud, LeftoverQuery};
use tick::internal_errors::{keep, leave_out};
use tick::observe::observe;

use crate::site::{Site, cloud, minutes, scenario};

/// The state directory of the process that panics.
const DIRECTORY: &str = "EHOS_TEST_PANICS";

/// Panics in its queries or in its actions.
struct Panicking<'a> {
    cloud: Box<dyn Cloud + 'a>,
    in_queries: bool,
}

impl Cloud for Panicking<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }
    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        assert!(!self.in_queries, "an answer that nobody foresaw");
        self.cloud.observe(traces, deadline)
    }
    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        self.cloud.look(server_id, deadline)
    }
    fn perform(&self, _: &CloudAction, _: Deadline) -> Result<Done, Failure> {
        panic!("an answer that nobody foresaw")
    }
}

/// The site with one cloud in which ehos panics.
fn with_bad<'a>(mut site: Backends<'a>, in_queries: bool) -> Backends<'a> {
    let panicking = |cloud: Box<dyn Cloud + 'a>| match cloud.name() {
        "bad" => Box::new(Panicking { cloud, in_queries }),
        _ => cloud,
    };
    site.clouds = site.clouds.into_iter().map(panicking).collect();
    site
}

fn site() -> Site {
    let flavors = [("medium", 4, 8192)];
    Site::new(scenario(&[
        ("bad", cloud(&flavors)),
        ("good", cloud(&flavors)),
    ]))
}

/// The state directory after this test has panicked in another process; there, `work` panics.
fn after_panic(test: &str, work: impl FnOnce()) -> TempDir {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        exit::at_panic();
        keep(&PathBuf::from(directory));
        work();
    }
    let directory = tempfile::tempdir().unwrap();
    let process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("internal_errors::{test}"),
            "--nocapture",
        ])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&process.stderr);
    assert_eq!(process.status.code(), Some(exit::PANIC), "{said}");
    assert!(
        !String::from_utf8_lossy(&process.stdout).contains("FAILED"),
        "ended at once"
    );
    assert!(said.contains("an answer that nobody foresaw"), "{said}");
    directory
}

/// Whether the clouds `bad` and `good` are asked at this number of minutes after now.
fn asked(directory: &TempDir, after: i64) -> [bool; 2] {
    let site = site();
    let at = Timestamp::now() + SignedDuration::from_mins(after);
    let backends = leave_out(backends(&site.world, &site.policy), directory.path(), at);
    let deadline = Deadline::within(minutes(1));
    let (observation, _) = observe(&backends, &site.policy, &State::default(), at, deadline);
    ["bad", "good"].map(|cloud| match &observation.clouds[cloud] {
        Observed::Known(_) => true,
        Observed::Unknown(why) => {
            assert!(why.contains("not asked until "), "{why}");
            false
        }
    })
}

#[test]
fn a_panic_in_the_query_of_one_cloud_leaves_that_cloud_out_for_some_minutes() {
    let test = "a_panic_in_the_query_of_one_cloud_leaves_that_cloud_out_for_some_minutes";
    let directory = after_panic(test, || {
        let site = site();
        let backends = with_bad(backends(&site.world, &site.policy), true);
        let deadline = Deadline::within(minutes(1));
        let at = Timestamp::now();
        observe(&backends, &site.policy, &State::default(), at, deadline);
    });
    assert_eq!(asked(&directory, 0), [false, true]);
    assert_eq!(asked(&directory, 9), [false, true]);
    assert_eq!(asked(&directory, 11), [true, true]);
    assert_eq!(
        asked(&directory, -60),
        [true, true],
        "the clock was set back"
    );
}

#[test]
fn a_panic_in_an_action_of_one_cloud_leaves_that_cloud_out() {
    let test = "a_panic_in_an_action_of_one_cloud_leaves_that_cloud_out";
    let directory = after_panic(test, || {
        let mut site = site();
        site.between = Box::new(|site| with_bad(site, false));
        site.submit(200, 4, 1024, 600);
        site.ticks(10);
    });
    assert_eq!(asked(&directory, 0), [false, true]);
}
