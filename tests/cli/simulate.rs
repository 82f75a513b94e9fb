//! `ehos simulate` as a command: its input, its repeatability, and what it says of mistakes.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Run, Site, cloud};
use testkit::double::Double;

/// A site without any configuration: the built-in one of `ehos simulate`.
fn simulate(site: &Site, more: &[&str]) -> Run {
    site.run(&[&["simulate"], more].concat())
}

const JOBS: [&str; 2] = ["--jobs", "poisson:rate=60/h,days=0.5"];

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_other_jobs() {
    let site = Site::simulated();
    let run = |seed: &str, output: &str| {
        let more = [&JOBS[..], &["--seed", seed, "-o", output]].concat();
        let run = simulate(&site, &more);
        run.exits(0);
        run.stdout.clone()
    };
    for output in ["table", "json"] {
        assert_eq!(run("7", output), run("7", output));
    }
    assert_ne!(run("7", "json"), run("8", "json"));
}

#[test]
fn a_changed_key_a_sweep_and_other_rules_are_runs_beside_the_configuration() {
    let site = Site::simulated();
    let sweep = [
        "--set",
        "daemon.nodes_max=20",
        "--sweep",
        "daemon.idle_timeout=1m,10m",
        "--sweep",
        "daemon.nodes_spare=0,1",
        "--against",
        "all",
        "--against",
        "fixed:3",
        "-o",
        "json",
    ];
    let run = simulate(&site, &[&JOBS[..], &sweep].concat());
    let found = run.exits(0).json();
    let names: Vec<&str> = found["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 1 + 4 + 4 + 1, "{names:?}");
    assert_eq!(names[0], "current");
    assert_eq!(names[1], "daemon.idle_timeout=1m daemon.nodes_spare=0");
    assert_eq!(names[9], "fixed:3");
    assert!(found["advice"].is_string());
    let bound = &found["workload"];
    let cost = bound["bound_cost"].as_f64().unwrap() / bound["bound_core_hours"].as_f64().unwrap();
    // Each core of the built-in site costs the same.
    assert!((cost - 0.05).abs() < 1e-9, "{bound}");
    for run in found["runs"].as_array().unwrap() {
        assert!(
            run["figures"]["cost"].as_f64() >= bound["bound_cost"].as_f64(),
            "{run}"
        );
    }
    for run in found["runs"].as_array().unwrap() {
        assert!(
            run["figures"]["nodes"]["peak"].as_u64().unwrap() <= 20,
            "{run}"
        );
    }
}

#[test]
fn owners_without_a_row_are_counted() {
    let site = Site::simulated();
    let jobs = [
        "--jobs",
        "poisson:rate=100/h,days=1,owners=60,runs=lognormal(5m,1)",
    ];
    let groups = |found: &Value, group: &str| {
        let figures = &found["runs"][0]["figures"][group];
        let groups = figures.as_array().unwrap().iter();
        groups.map(|one| one["groups"].as_u64().unwrap()).collect()
    };
    let found = simulate(&site, &[&jobs[..], &["-o", "json"]].concat())
        .exits(0)
        .json();
    let owners: Vec<u64> = groups(&found, "wait_by_owner");
    assert_eq!(owners.len(), 20);
    assert_eq!((owners[0], owners[19]), (1, 41));
    let total = found["runs"][0]["figures"]["jobs"]["submitted"].as_u64();
    let shown: u64 = (0..6)
        .map(|number| &found["runs"][0]["figures"]["wait_by_owner"][number]["jobs"])
        .map(|jobs| jobs.as_u64().unwrap())
        .sum();
    let rest = total.unwrap() - shown;
    simulate(&site, &jobs)
        .exits(0)
        .says(&format!("and {rest} jobs of 54 owners more: -o json"));
}

#[test]
fn mistakes_are_named_with_what_to_write_instead() {
    let site = Site::simulated();
    for (more, code, words) in [
        (
            &["--set", "daemon.nodes_max"][..],
            1,
            "write it as KEY=VALUE",
        ),
        (
            &["--set", "daemon.node_max=3"],
            78,
            "the nearest known key is `nodes_max`",
        ),
        (
            &["--sweep", "daemon.nodes_max="],
            1,
            "write it as KEY=V1,V2",
        ),
        (
            &["--sweep", "daemon.nodes_max=many,3"],
            78,
            "daemon.nodes_max",
        ),
        (&["--against", "magic"], 1, "queue-cores"),
        (&["--flavor", "big=many"], 1, "NAME=CORES,GB[,PRICE]"),
        (&["--boot", "soon"], 1, "90s or 2m"),
        (&["--boot-failures", "NaN"], 2, "a number from 0 to 1"),
        (&["--boot-failures", "1.5"], 2, "a number from 0 to 1"),
        (
            &["--flavor", "big=18446744073709551615,1"],
            1,
            "flavor big: a size or the price is out of range",
        ),
        (&["--flavor", "big=1,1e300"], 1, "out of range"),
        (&["--flavor", "big=1,1,1e308"], 1, "out of range"),
        (&["--flavor", "big=1,1,NaN"], 1, "out of range"),
        (&["--flavor", "big=1,NaN"], 1, "NAME=CORES,GB[,PRICE]"),
    ] {
        let run = simulate(&site, &[&JOBS[..], more].concat());
        run.exits(code).warns(words);
    }
    simulate(&site, &["--jobs", "/nowhere.json"])
        .exits(1)
        .warns("/nowhere.json");
    simulate(&site, &[]).exits(2).warns("--jobs");
    let values: Vec<String> = (0..10_001).map(|value| value.to_string()).collect();
    let sweep = format!("daemon.nodes_max={}", values.join(","));
    simulate(&site, &[&JOBS[..], &["--sweep", &sweep]].concat())
        .exits(1)
        .warns("10001 points are more than 10000");
}

#[test]
fn a_flavor_of_unknown_size_is_asked_for_and_can_be_said() {
    let site = Site::with_cloud("http://127.0.0.1:9");
    simulate(
        &site,
        &[&JOBS[..], &["--config", site.config().to_str().unwrap()]].concat(),
    )
    .exits(1)
    .warns("--flavor m1.small=CORES,GB");
    let sizes = ["--flavor", "m1.small=4,8,0.1"];
    let config = site.config();
    let config = ["--config", config.to_str().unwrap(), "-o", "json"];
    let run = simulate(&site, &[&JOBS[..], &sizes, &config].concat());
    let figures = run.exits(0).json()["runs"][0]["figures"].clone();
    assert_eq!(figures["jobs"]["submitted"], figures["jobs"]["ended"]);
}

/// Two jobs of a schedd's history, the newest first as condor_history prints them.
const HISTORY: &str = r#"out|[
out|{"ClusterId":2,"ProcId":0,"Owner":"bob","JobUniverse":5,"JobStatus":4,"QDate":1800000600,"JobStartDate":1800000700,"JobCurrentStartDate":1800000700,"CompletionDate":1800001300,"EnteredCurrentStatus":1800001300,"RemoteWallClockTime":600.0,"NumJobStarts":1,"RequestCpus":1,"RequestMemory":512,"RequestDisk":1024}
out|,
out|{"ClusterId":1,"ProcId":0,"Owner":"ann","JobUniverse":5,"JobStatus":4,"QDate":1800000000,"JobStartDate":1800000100,"JobCurrentStartDate":1800000100,"CompletionDate":1800000400,"EnteredCurrentStatus":1800000400,"RemoteWallClockTime":300.0,"NumJobStarts":1,"RequestCpus":2,"RequestMemory":512,"RequestDisk":1024}
out|]
exit=0
"#;

#[test]
fn the_site_answers_with_its_history_quotas_and_flavors_and_nothing_is_changed() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url())
        .answers("condor_history", "any", HISTORY)
        .answers(
            "condor_config_val",
            "NEGOTIATOR_INTERVAL",
            "out|60\nexit=0\n",
        )
        .answers(
            "condor_config_val",
            "NEGOTIATOR_CYCLE_DELAY",
            "out|20\nexit=0\n",
        );
    let before = site.state_files();
    let config = site.config();
    let state = site.state();
    let config = ["--site", "--config", config.to_str().unwrap(), "-o", "json"];
    let state = ["--state-dir", state.to_str().unwrap()];
    let run = simulate(&site, &[&config[..], &state].concat());
    let found: Value = run.exits(0).json();
    assert_eq!(found["workload"]["source"], "condor_history of 30 days");
    assert_eq!(found["workload"]["jobs"], 2, "{}", found["workload"]);
    let notes = found["workload"]["notes"]["counts"].as_object().unwrap();
    let late = notes
        .iter()
        .find(|(what, _)| what.starts_with("the job history begins later"));
    let example = late.unwrap().1["example"].as_str().unwrap();
    assert_eq!(example, "this machine: 2 jobs since 2027-01-15T08:06:40Z");
    // The cloud's m1.small has one core.
    let jobs = &found["runs"][0]["figures"]["jobs"];
    assert_eq!(
        (&jobs["ended"], &jobs["too_large"]),
        (&Value::from(1), &Value::from(1))
    );
    assert_eq!(site.state_files(), before);
    let changes = double.received().into_iter();
    let changes = changes.filter(|request| !["GET", "HEAD"].contains(&request.method.as_str()));
    let changes: Vec<_> = changes
        .filter(|request| !request.target.ends_with("/auth/tokens"))
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_long_sweep_has_time_series_of_the_runs_that_are_shown() {
    let site = Site::simulated();
    let values: Vec<String> = (0..60).map(|value| format!("{}s", 30 + value)).collect();
    let sweep = format!("daemon.idle_timeout={}", values.join(","));
    let few = [
        "--jobs",
        "poisson:rate=60/h,days=0.05",
        "--against",
        "fixed:3",
        "-o",
        "json",
    ];
    let long = simulate(&site, &[&few[..], &["--sweep", &sweep]].concat());
    let long = long.exits(0).json();
    let runs = long["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 62);
    let has_series = |run: &Value| {
        let points = run["figures"]["series"]["paid_cores"].as_array().unwrap();
        !points.is_empty()
    };
    let is = |run: &Value, field: &str| run[field].as_bool().unwrap();
    let is_of_sweep = |run: &Value| !run["settings"].as_object().unwrap().is_empty();
    let frontier: Vec<&Value> = runs
        .iter()
        .filter(|run| is(run, "is_on_frontier"))
        .collect();
    assert!(frontier.iter().any(|run| is_of_sweep(run)), "{long}");
    for run in runs {
        let is_shown = is(run, "is_current") || is(run, "is_on_frontier") || !is_of_sweep(run);
        assert_eq!(has_series(run), is_shown, "{}", run["name"]);
    }
    // A run of its own has the same.
    let one = frontier.iter().find(|run| is_of_sweep(run)).unwrap();
    let value = &one["settings"]["daemon.idle_timeout"];
    let set = format!("daemon.idle_timeout={}", value.as_str().unwrap());
    let alone = simulate(&site, &[&few[..], &["--set", &set]].concat());
    let alone = alone.exits(0).json();
    assert_eq!(alone["runs"][0]["figures"], one["figures"]);
}

/// A sweep that runs for minutes, without a terminal.
fn long_sweep(site: &Site, output: &str, shell: &str) -> (Child, impl BufRead + use<>) {
    let values: Vec<String> = (0..10_000)
        .map(|value| format!("{}s", 30 + value))
        .collect();
    let sweep = format!("daemon.idle_timeout={}", values.join(","));
    // The program follows the shell's words as its arguments.
    let words = ["/bin/sh", "-c", shell, "sh", testkit::program!()];
    let more = ["simulate", "--sweep", &sweep, "-o", output];
    let mut child = site
        .words(&[&words[..], &more, &JOBS].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    (child, errors)
}

fn read(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    pipe.unwrap().read_to_string(&mut text).unwrap();
    text
}

fn line(errors: &mut impl BufRead) -> String {
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    line
}

#[test]
fn an_interrupted_sweep_prints_the_runs_that_have_finished() {
    let site = Site::simulated();
    let before = site.state_files();
    let sweeps = [
        (Signal::INT, "table"),
        (Signal::TERM, "json"),
        (Signal::HUP, "html"),
    ];
    let started =
        sweeps.map(|(signal, output)| (signal, output, long_sweep(&site, output, "exec \"$@\"")));
    for (signal, output, (mut child, mut errors)) in started {
        let (first, second) = (line(&mut errors), line(&mut errors));
        assert!(first.contains("10001 runs"), "{first}");
        // Some runs have finished.
        assert!(second.contains("10001 runs, about "), "{second}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let printed = read(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{output}");
        let told = read(Some(errors));
        let words = told.split_once("interrupted: ").expect(&told).1;
        let (finished, words) = words.split_once(' ').unwrap();
        assert!(words.starts_with("of 10001 runs finished"), "{told}");
        let finished: usize = finished.parse().unwrap();
        assert!((1..10_001).contains(&finished), "{told}");
        match output {
            "json" => {
                let found: Value = serde_json::from_str(&printed).unwrap();
                let runs = found["runs"].as_array().unwrap();
                assert_eq!(runs.len(), finished);
                assert_eq!(runs[0]["name"], "current");
                let expected =
                    serde_json::json!({"finished_runs": finished, "planned_runs": 10_001});
                assert_eq!(found["interrupted"], expected);
            }
            "table" => {
                let words = format!("interrupted: {finished} of 10001 runs finished");
                assert!(printed.contains(&words), "{printed}");
                assert!(printed.contains("current"), "{printed}");
            }
            _ => {
                let words = format!("\"finished_runs\":{finished}");
                assert!(printed.contains(&words));
                assert!(printed.trim_end().ends_with("</html>"));
            }
        }
    }
    assert_eq!(site.state_files(), before);
}

#[test]
fn a_second_signal_ends_a_sweep_at_once_and_nohup_is_respected() {
    let site = Site::simulated();
    let (mut child, mut errors) = long_sweep(&site, "json", "trap '' HUP; exec \"$@\"");
    let pid = Pid::from_child(&child);
    assert!(line(&mut errors).contains("10001 runs"));
    kill_process(pid, Signal::HUP).unwrap();
    // It goes on, and says how long it takes.
    assert!(line(&mut errors).contains("about "));
    kill_process(pid, Signal::INT).unwrap();
    // Nobody reads the result, which is larger than a pipe.
    assert!(line(&mut errors).contains("interrupted: "));
    assert!(child.try_wait().unwrap().is_none());
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn a_sweep_that_is_interrupted_before_its_first_run_ends_has_no_result() {
    let site = Site::simulated();
    let run = format!("exec {} simulate \"$@\"", testkit::program!());
    let words = [
        "/bin/sh",
        "-c",
        &run,
        "sh",
        "--jobs",
        "poisson:rate=900/h,days=300",
    ];
    let mut child = site
        .words(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    assert!(line(&mut errors).contains("1 run"));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(read(child.stdout.take()), "");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let told = read(Some(errors));
    assert!(
        told.contains("interrupted: 0 of 1 runs finished: there is no result"),
        "{told}"
    );
}

#[test]
fn a_mistake_in_the_last_point_of_a_sweep_is_told_before_the_first_run() {
    let site = Site::simulated();
    for (sweep, code, words) in [
        ("daemon.nodes_max=5,6,many", 78, "daemon.nodes_max"),
        ("daemon.no_such_key=1,2", 78, "no_such_key"),
        ("daemon.nodes_max=5", 1, "daemon.nodes_max is given twice"),
    ] {
        let sweeps = ["--sweep", "daemon.nodes_max=3,4", "--sweep", sweep];
        let sweeps = if words.contains("twice") {
            &sweeps[..]
        } else {
            &sweeps[2..]
        };
        let run = simulate(&site, &[&JOBS[..], sweeps].concat());
        run.exits(code).warns(words);
        assert!(!run.stderr.contains(" runs"), "{}", run.stderr);
    }
}

#[test]
fn each_point_of_a_sweep_has_its_own_flavors() {
    let site = Site::with_cloud("http://127.0.0.1:9");
    let config = site.config();
    let config = ["--config", config.to_str().unwrap(), "-o", "json"];
    let sweep = ["--sweep", "ehos.flavors=[m1.small],[m1.large]"];
    let small = ["--flavor", "m1.small=4,8,0.1"];
    let large = ["--flavor", "m1.large=16,32,0.2"];
    simulate(&site, &[&JOBS[..], &config, &sweep, &small].concat())
        .exits(1)
        .warns("--flavor m1.large=CORES,GB");
    let run = simulate(
        &site,
        &[&JOBS[..], &config, &sweep, &small, &large].concat(),
    );
    let found = run.exits(0).json();
    for run in found["runs"].as_array().unwrap() {
        let jobs = &run["figures"]["jobs"];
        assert_eq!(jobs["submitted"], jobs["ended"], "{}", run["name"]);
    }
    let cost = |run: usize| found["runs"][run]["figures"]["cost"].as_f64().unwrap();
    assert!((cost(0), cost(1)).0 == cost(1) && cost(1) != cost(2));
    // The large one is cheaper by the core.
    let workload = &found["workload"];
    let bound =
        workload["bound_cost"].as_f64().unwrap() / workload["bound_core_hours"].as_f64().unwrap();
    assert!((bound - 0.0125).abs() < 1e-9, "{workload}");
}
