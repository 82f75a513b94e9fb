//! Every fault that can be produced, produced on a real HTCondor and a real OpenStack: what ehos says, how it ends,
//! and what it does not do. docs/faults.md is the table of them.
//!
//! These tests stop services that others use, so each runs alone (.config/nextest.toml). What they stop goes on when
//! they end, also when they fail or are killed.

mod clouds;
mod credentials;
mod htcondor;
mod jobs;
mod processes;
pub mod proxy;
pub mod rig;
mod servers;
mod services;

use std::process::Command;

use rig::{Rig, Server};

use crate::machines::step;

/// Whether all variants are produced.
fn long() -> bool {
    std::env::var("EHOS_STORY").is_ok_and(|variants| variants == "long")
}

/// Something to lose: a node that runs a job, and an idle one, which is returned. A job waits that neither has room
/// for.
#[track_caller]
fn furnished(rig: &Rig) -> Server {
    rig.pool
        .submit(1, "100000", "request_cpus = 1\nrequest_memory = 512");
    rig.pool
        .submit(1, "1", "request_cpus = 1\nrequest_memory = 512");
    rig.tick_until("a node is busy and one is idle", 120, &[0], |rig| {
        rig.servers().len() == 2
            && rig.pool.machines().len() == 2
            && rig.pool.jobs(2) == 1
            && rig.pool.jobs(1) == 0
    });
    rig.pool
        .submit(1, "100000", "request_cpus = 2\nrequest_memory = 512");
    // It has begun, as the job itself says.
    let args = ["-allusers", "-constraint", "NumJobStarts == 1"];
    let started = || rig.pool.rows("condor_q", &args, &["ClusterId"]).len() == 1;
    assert!(rig::within(30, started), "no job starts");
    let busy = rig.pool.rows("condor_q", &args, &["RemoteHost"]);
    let busy = busy[0][0].rsplit('@').next().unwrap().to_owned();
    let mut servers = rig.servers();
    servers.retain(|server| rig::machine_of(server) != busy);
    servers.remove(0)
}

fn kill(pids: &[String]) {
    let status = Command::new("kill").arg("-KILL").args(pids).status();
    assert!(status.unwrap().success(), "kill {pids:?}");
}

/// The event log of the jobs has no eviction, and nothing else that ends one before its time.
#[track_caller]
fn assert_nobody_was_evicted(rig: &Rig) {
    let log = rig.pool.job_log();
    // 004 evicted, 007 shadow exception, 009 aborted, 012 held, 022 disconnected, 024 reconnect failed.
    let bad = ["004 (", "007 (", "009 (", "012 (", "024 ("];
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| bad.iter().any(|code| line.starts_with(code)))
        .collect();
    assert!(lines.is_empty(), "{lines:#?}");
    assert!(log.contains("001 ("), "no job has run: {log}");
    step("no job was evicted");
}
