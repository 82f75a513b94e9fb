//! Two ticks at once, and ticks that are killed.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::double::{Double, Reply, always};
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE, SERVERS};

#[test]
fn the_second_of_two_ticks_leaves_quietly() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    let fifo = site.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // The first one waits for the end of the fifo.
    let site = site.script(
        "condor_status",
        "-collector",
        &format!(
            "cat '{}' >/dev/null\nprintf '1795353048\\t3600\\t\"ehos-cm\"\\n'",
            fifo.display()
        ),
    );
    let first = site.start_tick(&[]);
    double.wait_for("GET", SERVERS);
    // It is written beside the query of the servers.
    let lookups = site.state().join("lookups-lab.json");
    let end = Instant::now() + Duration::from_secs(30);
    while !lookups.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = site.state_files();
    site.tick(&[]).exits(0).is_silent();
    site.tick(&["-o", "json"]).exits(0).is_silent();
    site.tick(&["-v"])
        .exits(0)
        .warns(": another tick holds the lock");
    assert_eq!(site.state_files(), before);
    assert_eq!(double.count("GET", SERVERS), 1, "only the first one asks");

    drop(fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    site.end(first).exits(0).says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);
}

#[test]
fn a_tick_killed_while_it_looks_has_changed_nothing() {
    let double = Double::start(cloud::script(vec![always("GET", SERVERS, Reply::Stall)]));
    let site = Site::with_cloud(double.url()).waiting(1);
    let mut tick = site.start_tick(&[]);
    double.wait_for("GET", SERVERS);
    tick.kill().unwrap();
    tick.wait().unwrap();
    assert!(!site.state().join("state.json").exists());
    // The lock went with it.
    double.play(cloud::script(vec![]));
    site.tick(&[]).exits(0).says("plan     create 1");
}

#[test]
fn a_tick_killed_during_a_create_makes_no_second_server() {
    let double = Double::start(cloud::script(vec![always("POST", CREATE, Reply::Stall)]));
    let site = Site::with_cloud(double.url()).waiting(1);
    let mut tick = site.start_tick(&[]);
    let create = double.wait_for("POST", CREATE);
    // SIGKILL: nothing of it runs any more.
    tick.kill().unwrap();
    tick.wait().unwrap();

    let asked = create.json()["server"]["metadata"]["ehos_node"].clone();
    assert_eq!(
        site.remembered(),
        [asked.as_str().unwrap()],
        "the intent was on disk first"
    );
    let names = [
        "lookups-lab.json",
        "state.json",
        "tick.lock",
        "token-lab.json",
    ];
    assert_eq!(site.state_names(), names, "nothing half written");

    // The server is not listed yet: still, there is one on its way.
    double.play(cloud::script(vec![]));
    site.tick(&[])
        .exits(0)
        .says("1 requested")
        .says("nothing to do");
    // Now it is, and known by its metadata.
    let server = cloud::asked_for(&create);
    double.play(cloud::script(vec![cloud::list(&[server])]));
    site.tick(&[])
        .exits(0)
        .says("1 building")
        .says("nothing to do")
        .never_says("adopted");
    let nodes = site.saved()["nodes"].clone();
    assert_eq!(
        nodes[asked.as_str().unwrap()]["server_id"],
        cloud::SERVER_ID
    );
    assert_eq!(double.count("POST", CREATE), 1, "in three ticks");
}

#[test]
fn a_server_that_a_killed_tick_asked_for_is_found_without_the_state_too() {
    let double = Double::start(cloud::script(vec![always("POST", CREATE, Reply::Stall)]));
    let site = Site::with_cloud(double.url()).waiting(1);
    let mut tick = site.start_tick(&[]);
    let create = double.wait_for("POST", CREATE);
    tick.kill().unwrap();
    tick.wait().unwrap();
    fs::remove_dir_all(site.state()).unwrap();
    double.play(cloud::script(vec![cloud::list(&[cloud::asked_for(
        &create,
    )])]));
    site.tick(&[])
        .exits(0)
        .says("1 building")
        .says("adopted a server");
    assert_eq!(double.count("POST", CREATE), 1);
}

/// A signal to a process that this test has started.
fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

#[test]
fn a_tick_that_is_stopped_with_the_lock_is_told_of_once_it_is_too_late() {
    let double = Double::start(cloud::script(vec![always("GET", SERVERS, Reply::Stall)]));
    let site = Site::with_cloud(double.url())
        .over("daemon: {tick_timeout: 3s, request_timeout: 3s, command_timeout: 3s}\n")
        .waiting(1);
    let mut first = site.start_tick(&[]);
    double.wait_for("GET", SERVERS);
    signal(&first, Signal::STOP);
    // It may be at work still.
    site.tick(&[]).exits(0).is_silent();
    let before = site.state_files();
    std::thread::sleep(Duration::from_millis(7500));
    for args in [&[][..], &["-o", "json"]] {
        let late = site.tick(args);
        late.exits(75)
            .warns(&format!(
                ": no tick can run: another tick, process {}, has held the lock for ",
                first.id()
            ))
            .warns("longer than daemon.tick_timeout 3 s: it is stopped or hangs in the kernel")
            .warns(&format!("or end it (kill -KILL {})", first.id()));
        assert_eq!(late.stdout, "");
    }
    // Only the lock is in the way of nothing else.
    site.tick(&["--dry-run"]).warns_nothing();
    assert_eq!(site.state_files(), before);

    // It goes on, finds that its time is over, and is done.
    signal(&first, Signal::CONT);
    let code = first.wait().unwrap().code();
    assert_eq!(code, Some(75), "no cloud had answered");
    double.play(cloud::script(vec![]));
    site.tick(&[]).exits(0).says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);

    // The same with one that is ended.
    let double = Double::start(cloud::script(vec![always("GET", SERVERS, Reply::Stall)]));
    let site = Site::with_cloud(double.url()).waiting(1);
    let mut first = site.start_tick(&[]);
    double.wait_for("GET", SERVERS);
    signal(&first, Signal::STOP);
    signal(&first, Signal::KILL);
    first.wait().unwrap();
    double.play(cloud::script(vec![]));
    site.tick(&[]).exits(0).says("plan     create 1");
}

#[test]
fn a_host_that_restarts_in_mid_tick() {
    let double = Double::start(cloud::script(vec![always("POST", CREATE, Reply::Stall)]));
    let site = Site::with_cloud(double.url()).waiting(1);
    let mut tick = site.start_tick(&[]);
    let create = double.wait_for("POST", CREATE);
    tick.kill().unwrap();
    tick.wait().unwrap();
    // What lies on the disk is of the time before: a lock of a process whose number is another's now, files that were
    // being written, a token that Keystone has forgotten.
    let me = std::process::id();
    site.write("state/tick.lock", &format!("{me} 0\n"));
    site.write("state/state.json.new-q1w2e3", "{\"version\":1,\"sta");
    site.write("state/.token-q1w2e3", "");
    let server = cloud::asked_for(&create);
    let refused = crate::double::once("GET", SERVERS, Reply::fixture("nova-401-invalid"));
    double.play(cloud::script(vec![refused, cloud::list(&[server])]));
    site.tick(&[])
        .exits(0)
        .warns_nothing()
        .says("1 building")
        .says("nothing to do");
    assert_eq!(site.state_names(), crate::harness::STATE_NAMES);
    assert_eq!(double.count("POST", CREATE), 1);
}
