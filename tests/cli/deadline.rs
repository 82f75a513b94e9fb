//! Whatever hangs, the tick ends in time and says what hung.

use std::fs;
use std::time::Duration;

use crate::double::{Double, Line, Reply, always};
use crate::harness::cloud::{self, CREATE, LOGIN, SERVERS};
use crate::harness::{Run, Site};

/// Far more than the 2 s of these ticks on a busy machine, and less than any other limit would allow (30 s).
const SOON: Duration = Duration::from_secs(20);

fn site(first: Vec<Line>) -> (Double, Site) {
    let double = Double::start(cloud::script(first));
    let site = Site::with_cloud(double.url())
        .over("daemon: {tick_timeout: 2s, request_timeout: 2s, command_timeout: 2s}\n")
        .waiting(1);
    (double, site)
}

fn soon(run: &Run) -> &Run {
    assert!(run.took < SOON, "{run}");
    run
}

#[test]
fn a_cloud_that_hangs() {
    for (method, target) in [("POST", LOGIN), ("GET", SERVERS)] {
        let (double, site) = site(vec![always(method, target, Reply::Stall)]);
        soon(&site.tick(&[]))
            .exits(75)
            .says(&format!(
                "unknown  cloud lab: {method} {target}: no whole answer: not within the time given; retry later"
            ))
            .says("plan     nothing to do");
        assert_eq!(double.count(method, target), 1, "one of the threads asks");
        assert_eq!(double.count("POST", CREATE), 0);
    }
}

#[test]
fn a_create_that_hangs_may_have_been_done() {
    let (double, site) = site(vec![always("POST", CREATE, Reply::Stall)]);
    soon(&site.tick(&[]))
        .exits(1)
        .says("no whole answer: not within the time given; the effect is unknown");
    assert_eq!(double.count("POST", CREATE), 1, "sent once");
    assert_eq!(site.remembered().len(), 1, "the intent stays");
}

#[test]
fn a_tool_that_hangs_is_killed_with_all_of_its_children() {
    let (_double, site) = site(vec![]);
    let pids = site.path().join("pids");
    let site = site.script(
        "condor_status",
        "any",
        &format!(
            "trap '' TERM\nsleep 60 &\necho $$ >>'{0}'\necho $! >>'{0}'\nwait",
            pids.display()
        ),
    );
    soon(&site.tick(&[]))
        .exits(75)
        .says("unknown  collector: condor_status got no answer from the collector within ")
        .says("and was killed; check that the daemon answers, or raise ")
        .says("brake    creates and deletes blocked: collector unknown: ");
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        // A child of the tool is init's to reap: as a zombie it runs no more.
        let gone = stat.map_or(true, |stat| stat.contains(") Z "));
        assert!(gone, "process {pid} is still there");
    }
}

#[test]
fn what_there_is_no_time_for_is_not_begun() {
    let (double, site) = site(vec![]);
    let site = site
        .over("daemon: {nodes_max: 30, max_unproven: 30, max_actions: 30}\n")
        .waiting(20)
        .script("condor_token_create", "any", "sleep 60");
    soon(&site.tick(&[]))
        .exits(1)
        .says("plan     create 20")
        .says("condor_token_create got no answer")
        .says("skipped: tick deadline exceeded");
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(site.remembered().len(), 0, "none of them is on its way");
}
