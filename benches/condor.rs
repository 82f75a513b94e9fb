//! What HTCondor answers, read through the adapter from a tool that prints a file. The rows without jobs and nodes
//! are what the processes alone cost.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use condor::CondorPool;
use condor::CondorSettings;
use divan::Bencher;
use scaling::observation::{Observed, PoolView};
use system::deadline::Deadline;
use tempfile::TempDir;
use tick::pool::{Pool, TrackedMachines};

const LONG: Duration = Duration::from_secs(60);

/// As condor_submit writes them, but for what HTCondor has to be asked about in a second query.
const REQUIREMENTS: &str = "(TARGET.Arch == \"X86_64\") && (TARGET.OpSys == \"LINUX\") && (TARGET.Disk >= RequestDisk) && \
                            (TARGET.Memory >= RequestMemory) && (TARGET.Cpus >= RequestCpus) && (TARGET.HasFileTransfer)";

/// Tools that answer as those of HTCondor 23.9.6 do (tests/fixtures/condor).
fn tools(slots: &str, groups: &str, jobs: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let answers = [
        ("slots", slots.to_owned()),
        ("groups", groups.to_owned()),
        ("none", String::new()),
        ("collector", "1795353048\t86400\t\"cm\"\n".to_owned()),
        (
            "master",
            "\"DaemonMaster\"\t\"cm\"\t1795266648\tundefined\n".to_owned(),
        ),
        (
            "totals",
            format!("Summary\t{jobs}\t{jobs}\t0\t0\t0\t1795353048\n\n"),
        ),
    ];
    for (name, text) in answers {
        fs::write(dir.path().join(name), text).unwrap();
    }
    for (tool, cases) in [
        (
            "condor_status",
            "*' -collector '*) f=collector;; *' -any '*) f=master;; *' -schedd '*) f=none;; *) f=slots;;",
        ),
        (
            "condor_q",
            "*' -totals '*) f=totals;; *' -group-by '*) f=groups;; *' -factory '*) f=none;;",
        ),
    ] {
        let folder = dir.path().display();
        let script = format!("#!/bin/sh\ncase \" $* \" in {cases} esac\nexec cat '{folder}'/$f\n");
        let path = dir.path().join(tool);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

fn slots(nodes: u64) -> String {
    let mut text = String::new();
    for node in 0..nodes {
        let machine = format!("ehos-v1-execute-20261122t{node:06}.example.org");
        writeln!(
            text,
            "\"{machine}\"\t\"slot1@{machine}\"\t\"Partitionable\"\t\"0f3c6c1e-0000-4000-8000-{node:012}\"\t\
             \"20261122t{node:06}-01\"\t60\t\"Unclaimed\"\t\"Idle\"\tfalse\tfalse\t\t\t8\t15000\t70908088\t0\t3\t\
             9000\t70903992\t0\t2\t1795353035\tundefined\t1795353015\t1795353046\t1795353047"
        )
        .unwrap();
    }
    text
}

/// `lines` groups, of `requests` different requests.
fn groups(lines: u64, requests: u64, jobs: u64) -> String {
    let mut text = String::new();
    for line in 0..lines {
        let number = line % requests;
        let (cpus, memory) = (number % 8 + 1, 1024 + number / 8 * 128);
        writeln!(
            text,
            "{}\t{cpus}\t{memory}\t1048576\t0\t{}\t1795353034\t7.0\t5\t1\t\t\t{cpus}\t{memory}\tDiskUsage\t\t\
             undefined\tundefined\talice\t0\t{REQUIREMENTS}",
            jobs / lines,
            1_795_300_000 + line / 3
        )
        .unwrap();
    }
    text
}

/// Reads the ads of so many nodes once.
pub fn read_slots(nodes: u64) {
    checked(&tools(&slots(nodes), "", 0), nodes, 0);
}

/// Reads a queue of so many jobs once, each a submit of its own.
pub fn read_queue(jobs: u64) {
    checked(&tools("", &groups(jobs, 100, jobs), jobs), 0, 100);
}

fn observe(pool: &CondorPool) -> PoolView {
    pool.observe(&TrackedMachines::default(), Deadline::within(LONG))
}

/// The pool of these tools, after one look at it.
fn checked(tools: &TempDir, nodes: u64, requests: u64) -> CondorPool {
    let settings = CondorSettings {
        bin: Some(tools.path().to_owned()),
        ..CondorSettings::default()
    };
    let pool = CondorPool::new(&settings, Duration::from_secs(10), LONG, LONG);
    let view = observe(&pool);
    match (&view.collector, &view.schedds["local"]) {
        (Observed::Known(collector), Observed::Known(schedd)) => {
            assert_eq!(collector.startds.len() as u64, nodes);
            assert_eq!(schedd.demand.len() as u64, requests);
        }
        unknown => panic!("{unknown:?}"),
    }
    pool
}

fn observed(bencher: Bencher, tools: &TempDir, nodes: u64, requests: u64) {
    let pool = checked(tools, nodes, requests);
    bencher.bench(|| observe(&pool));
}

/// The usual queue: 8 requests in as many submits. The schedd groups, so the answer does not grow with the jobs.
#[divan::bench(args = [0, 1000, 100_000], max_time = 2)]
fn jobs_in_8_groups(bencher: Bencher, jobs: u64) {
    let requests = if jobs == 0 { 0 } else { 8 };
    let groups = groups(requests, 8, jobs);
    observed(bencher, &tools("", &groups, jobs), 0, requests);
}

/// The worst one: each job is a submit of its own, and a thousand requests differ.
#[divan::bench(args = [1000, 10_000, 100_000], max_time = 2)]
fn jobs_one_by_one(bencher: Bencher, jobs: u64) {
    let groups = groups(jobs, 1000, jobs);
    observed(bencher, &tools("", &groups, jobs), 0, 1000);
}

#[divan::bench(args = [100, 1000, 10_000], max_time = 2)]
fn nodes(bencher: Bencher, nodes: u64) {
    observed(bencher, &tools(&slots(nodes), "", 0), nodes, 0);
}
