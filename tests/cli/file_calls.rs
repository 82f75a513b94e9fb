//! A tick that is killed at each call to the system that touches the state directory, and one for which each of them
//! fails: strace does both.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Run, Site};

/// A call of the main thread that names a file of the state directory, or has it open.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    /// The how manieth of its name.
    pub number: usize,
    line: String,
}

struct World {
    double: Double,
    site: Site,
    /// The state directory has been used before.
    used: bool,
}

impl World {
    fn new(used: bool) -> World {
        let double = Double::start(cloud::script(vec![]));
        let site = Site::with_cloud(double.url()).waiting(1);
        let path = format!("{}:/usr/bin:/bin:/usr/local/bin", site.tools().display());
        World {
            site: site.set("PATH", &path),
            double,
            used,
        }
    }

    /// A state directory that is not there, or that an idle tick has left, with what a killed one leaves.
    fn begin(&self) {
        let state = self.site.state();
        if state.exists() {
            fs::remove_dir_all(&state).unwrap();
        }
        self.double.play(cloud::script(vec![]));
        if self.used {
            let idle = ["-totals", "-group-by"].map(|word| {
                let file = self.site.tools().join(format!("condor_q.{word}"));
                let busy = fs::read(&file).unwrap();
                (file, busy)
            });
            let answer = |word, text: &str| {
                crate::harness::condor::answer(&self.site.tools(), "condor_q", word, text);
            };
            answer("-totals", &crate::harness::condor::totals(0, 0));
            answer("-group-by", "exit=0\n");
            self.site.tick(&[]).exits(0);
            for (file, busy) in idle {
                fs::write(file, busy).unwrap();
            }
            for name in ["state.json.new-abcdef", ".token-abcdef"] {
                fs::write(state.join(name), "{\"vers").unwrap();
            }
        }
    }

    fn strace(&self, how: &str) -> Run {
        let log = self.site.path().join("strace.log");
        // Not what it runs: each thread counts its calls, and so would each of these.
        let trace = ["strace", "-f", "-b", "execve", "-y", "-o"];
        let trace = [&trace[..], &[log.to_str().unwrap(), "-e", how]].concat();
        self.site.finish(&mut self.site.under(&trace, &[]))
    }

    /// The calls of a tick that nothing happens to.
    fn calls(&self) -> Vec<Call> {
        self.begin();
        self.strace("trace=%file,%desc").exits(0);
        let log = fs::read_to_string(self.site.path().join("strace.log")).unwrap();
        let calls = calls_in(&log, &self.site.state().display().to_string());
        assert!(calls.len() > 10, "{log}");
        calls
    }

    /// What holds after whatever happened to a tick, and after the next one.
    #[track_caller]
    fn assert_nothing_is_lost(&self, asked_before: usize, what: &str) {
        let asked = || self.double.count("POST", CREATE) - asked_before;
        let file = self.site.state().join("state.json");
        assert!(asked() <= 1, "{what}");
        if asked() == 1 {
            // The intent was on disk, and still is.
            let create = self.double.received();
            let create = create.iter().rfind(|r| r.target == CREATE).unwrap();
            let node = create.json()["server"]["metadata"]["ehos_node"].clone();
            assert_eq!(self.site.remembered(), [node.as_str().unwrap()], "{what}");
            let server = cloud::asked_for(create);
            self.double
                .play(cloud::script(vec![cloud::list(&[server])]));
        } else if let Ok(text) = fs::read(&file) {
            serde_json::from_slice::<serde_json::Value>(&text)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        self.site.tick(&[]).exits(0).never_says("moved");
        assert!(asked() <= 1, "made twice: {what}");
        assert_eq!(self.site.remembered().len(), 1, "{what}");
        let names = self.site.state_names();
        assert_eq!(names, crate::harness::STATE_NAMES, "left after: {what}");
    }
}

/// The calls of the main thread in a log of strace that name the folder `state`, or have a file of it open.
pub fn calls_in(log: &str, state: &str) -> Vec<Call> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    let main = log.split_whitespace().next().unwrap();
    for line in log.lines() {
        let (pid, call) = line.split_once(' ').unwrap();
        let Some((name, arguments)) = call.trim_start().split_once('(') else {
            continue;
        };
        if pid != main || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let number = counts.entry(name).or_default();
        *number += 1;
        // What these do leaves nothing on the disk (std asks F_GETFD in a debug build).
        let harmless = ["close", "execve", "fcntl", "newfstatat"].contains(&name);
        if !harmless && arguments.contains(state) {
            calls.push(Call {
                name: name.to_owned(),
                number: *number,
                line: call.to_owned(),
            });
        }
    }
    calls
}

/// Whether strace is there and may do its work.
pub fn strace_works() -> bool {
    let traced = Command::new("strace")
        .args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "inject=close:error=EIO:when=1000",
            "true",
        ])
        .output();
    let works = traced.is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: strace (Debian package strace) is not installed, or may not trace here");
    }
    works
}

fn long() -> bool {
    std::env::var("EHOS_STORY").is_ok_and(|variants| variants == "long")
}

#[test]
fn killed_at_every_call_that_touches_the_state_directory() {
    if !strace_works() {
        return;
    }
    for used in [false, true] {
        let world = World::new(used);
        let calls = world.calls();
        for call in &calls {
            world.begin();
            let asked = world.double.count("POST", CREATE);
            let what = format!("killed at {call:?}");
            let run = world.strace(&format!(
                "inject={}:signal=KILL:when={}",
                call.name, call.number
            ));
            assert_eq!(run.code(), None, "{what}: {run}");
            world.assert_nothing_is_lost(asked, &what);
        }
        println!("{} calls: {:#?}", calls.len(), lines(&calls));
    }
}

#[test]
fn every_call_that_touches_the_state_directory_may_fail() {
    if !strace_works() {
        return;
    }
    let mut exits: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for used in [false, true] {
        let world = World::new(used);
        let calls = world.calls();
        for (index, call) in calls.iter().enumerate() {
            let errors = ["ENOSPC", "EIO", "EROFS"];
            let errors = match long() {
                true => &errors[..],
                false => &errors[index % 3..=index % 3],
            };
            for error in errors {
                world.begin();
                let asked = world.double.count("POST", CREATE);
                let what = format!("{error} of {call:?}");
                let run = world.strace(&format!(
                    "inject={}:error={error}:when={}",
                    call.name, call.number
                ));
                let asked_now = world.double.count("POST", CREATE) - asked;
                match run.code() {
                    Some(0) => {
                        assert_eq!(asked_now, 1, "{what}: {run}");
                        let nodes = world.site.saved()["nodes"].clone();
                        let node = nodes.as_object().unwrap().values().next().unwrap();
                        assert_eq!(node["server_id"], cloud::SERVER_ID, "{what}");
                    }
                    Some(1) => {
                        assert_eq!(asked_now, 1, "{what}: {run}");
                        run.warns("state not saved after the actions");
                    }
                    Some(74) => {
                        assert_eq!(asked_now, 0, "{what}: {run}");
                        assert_eq!(run.stdout, "", "{what}: {run}");
                        run.warns("error: ").warns("os error");
                    }
                    _ => panic!("{what}: {run}"),
                }
                exits
                    .entry(run.code().unwrap())
                    .or_default()
                    .push(what.clone());
                world.assert_nothing_is_lost(asked, &what);
            }
        }
    }
    for (code, what) in &exits {
        println!(
            "exit code {code}: {} times\n  {}",
            what.len(),
            what.join("\n  ")
        );
    }
    assert!(exits.keys().eq([0, 1, 74].iter()), "{:?}", exits.keys());
}

fn lines(calls: &[Call]) -> Vec<&str> {
    let short = |line: &'_ str| -> usize {
        line.char_indices()
            .nth(150)
            .map_or(line.len(), |(at, _)| at)
    };
    calls
        .iter()
        .map(|call| &call.line[..short(&call.line)])
        .collect()
}
