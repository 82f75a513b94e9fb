//! `ehos status`: the last tick as the history has it; nothing else is read, and nothing is asked.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::double::{Double, Reply, always};
use crate::harness::cloud::{self, LOGIN};
use crate::harness::{Run, Site};

fn status(site: &Site, more: &[&str]) -> Run {
    let state = site.state();
    let mut args = vec!["status", "--state-dir", state.to_str().unwrap()];
    args.extend(more);
    site.run(&args)
}

/// A simulated site after so many ticks.
pub fn after(ticks: usize) -> Site {
    let site = Site::simulated();
    for _ in 0..ticks {
        site.tick(&[]).exits(0);
    }
    site
}

#[test]
fn the_last_tick_of_a_simulated_site_at_80_columns_without_colour() {
    let site = after(12);
    // Without the configuration.
    fs::remove_file(site.config()).unwrap();
    let calls = site.calls();
    let run = status(&site, &["--utc"]);
    run.exits(0)
        .warns_nothing()
        .says("\ntick       20")
        .says("\nqueue      ")
        .says("\nnodes      ")
        .says("\nclouds (nodes, and the rest of each quota or budget / its limit)\n")
        .says("\nwaiting jobs\n")
        .never_says("\u{1b}");
    let widest = run.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{run}");
    assert_eq!(site.calls(), calls, "nobody was asked");
    let site = site.set("COLUMNS", "160");
    let wide = status(&site, &["--utc"]);
    assert!(
        wide.stdout.lines().count() < run.stdout.lines().count(),
        "{wide}"
    );
}

#[test]
fn json_is_what_the_tick_printed() {
    let site = after(5);
    let tick = site.tick(&["-o", "json"]).exits(0).json();
    let shown = status(&site, &["-o", "json"]).exits(0).json();
    assert_eq!(shown, tick);
}

#[test]
fn metrics_of_the_last_tick_for_collectors() {
    let site = after(5);
    status(&site, &["-o", "influx"])
        .exits(0)
        .says("condor,host=")
        .says(" jobs_total=");
    status(&site, &["-o", "prometheus"])
        .exits(0)
        .says("\nehos_last_success_timestamp_seconds ");
    site.write("named.yaml", "daemon: {hostname: of-the-site}\n");
    status(&site, &["-o", "influx", "--config", "named.yaml"])
        .exits(0)
        .says("condor,host=of-the-site ");
}

#[test]
fn the_state_directory_is_found_as_a_tick_finds_it() {
    let site = Site::simulated();
    let config = site.config();
    let yaml = fs::read_to_string(&config).unwrap();
    site.tick(&[]).exits(0);
    // A credential that is missing is nothing to who only looks.
    fs::write(
        &config,
        yaml.replacen("daemon:\n", "daemon:\n  state_dir: here\n", 1)
            + "\nclouds: {lab: {password_file: /nowhere}}\n",
    )
    .unwrap();
    let state = site.state();
    fs::rename(&state, site.path().join("here")).unwrap();
    let config = config.to_str().unwrap();
    site.run(&["status", "--config", config]).says("\nqueue ");
    site.run(&["status", "--config", "nowhere.yaml"])
        .exits(78)
        .warns("nowhere.yaml: cannot be read: ");
    let site = site.set("EHOS_STATE_DIR", "here");
    site.run(&["status"]).says("\nqueue ");
}

#[test]
fn what_is_wrong_is_told_first() {
    let double = Double::start(vec![always(
        "POST",
        LOGIN,
        Reply::fixture("token-password-wrong"),
    )]);
    let site = Site::with_cloud(double.url());
    site.tick(&[]).exits(75);
    let run = status(&site, &[]);
    run.exits(1)
        .says("failed     the last tick ended with exit code 75");
    assert!(run.stdout.starts_with("unknown    cloud lab: "), "{run}");
    status(&site, &["-o", "json"]).exits(1);
    // Collectors (Telegraf) throw away what comes with another exit code, and it is now that they are needed.
    for output in ["influx", "prometheus"] {
        status(&site, &["-o", output]).exits(0).says("tick");
    }
}

#[test]
fn a_timer_that_is_off_is_told() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url());
    site.tick(&[]).exits(0);
    status(&site, &[]).exits(0);
    let path = site.state().join("history/last.json");
    let mut last: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    last["at"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, last.to_string()).unwrap();
    let run = status(&site, &[]);
    run.exits(1).says("systemctl status");
    // Its figures are not those of now, as lines without a time would say.
    status(&site, &["-o", "influx"]).exits(1);
    assert!(
        run.stdout.starts_with("late       the last tick was "),
        "{run}"
    );
}

#[test]
fn nothing_to_show() {
    let site = Site::simulated();
    status(&site, &[])
        .exits(75)
        .warns(": no tick yet; check the timer");
    let folder = site.state().join("history");
    fs::create_dir_all(&folder).unwrap();
    for (garbage, code, what) in [
        ("", 74, "last.json: damaged: "),
        ("\0\0", 74, "last.json: damaged: "),
        ("[1]", 74, "last.json: damaged: "),
        (
            r#"{"version": 1, "nodes": 7}"#,
            74,
            "the next tick replaces the file",
        ),
        (
            r#"{"version": 99, "nodes": 7}"#,
            78,
            "written by a newer ehos (version 99, this one reads 2)",
        ),
    ] {
        fs::write(folder.join("last.json"), garbage).unwrap();
        for output in ["table", "json"] {
            let run = status(&site, &["-o", output]);
            run.exits(code).warns(what);
            assert_eq!(run.stdout, "");
        }
    }
    fs::remove_file(folder.join("last.json")).unwrap();
    fs::create_dir(folder.join("last.json")).unwrap();
    status(&site, &[])
        .exits(74)
        .warns("last.json: cannot be read: Is a directory");
}

#[test]
fn who_may_not_read_it_is_told_who_may() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let site = after(1);
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(site.path(), 0o755);
    open(&site.state(), 0o700);
    let binary = site.path().join("ehos");
    fs::copy(testkit::program!(), &binary).unwrap();
    for (command, arg) in [("status", "--utc"), ("explain", "node")] {
        let words = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        let ehos = [
            binary.to_str().unwrap(),
            command,
            arg,
            "--state-dir",
            "state",
        ];
        let run = site.finish(&mut site.words(&[&words[..], &ehos].concat()));
        run.exits(74)
            .warns("history/last.json: permission denied; ")
            .warns("permission denied; run this as the user root: ")
            .warns(&format!(": sudo ehos {command} {arg} --state-dir state"));
    }
}

#[test]
fn watching_prints_each_new_tick_once() {
    let site = after(1);
    let state = site.state();
    let mut watching = Command::new(testkit::program!())
        .args(["status", "--utc", "--watch", "50ms", "--state-dir"])
        .arg(&state)
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || loop {
        let line = lines.next().unwrap().unwrap();
        if line.starts_with("tick ") {
            return line;
        }
    };
    let mut seen = vec![next()];
    for _ in 0..2 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        site.tick(&[]).exits(0);
        seen.push(next());
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_pause_of_nothing_is_refused() {
    let site = after(1);
    status(&site, &["--watch", "0"])
        .exits(2)
        .warns("greater than 0");
}
