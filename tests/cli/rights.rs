//! Root at the state directory of another user, and users who are denied something: each is told the command to type.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Run, Site, repository};

const NOBODY: Option<u32> = Some(65534);

/// A site whose ticks nobody runs (the user of that name); `None` where this is not root.
fn site_of_nobody() -> Option<(Double, Site)> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be somebody else");
        return None;
    }
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    fs::create_dir(site.state()).unwrap();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o700)).unwrap();
    chown(site.state(), NOBODY, NOBODY).unwrap();
    Some((double, site))
}

fn as_nobody(site: &Site, words: &[&str]) -> Run {
    site.finish(&mut site.as_nobody(words).unwrap())
}

fn tick_as_nobody(site: &Site) -> Run {
    let (config, state) = (site.config(), site.state());
    let words = ["tick", "--config", config.to_str().unwrap(), "--state-dir"];
    as_nobody(site, &[&words[..], &[state.to_str().unwrap()]].concat())
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

#[test]
fn root_writes_nothing_where_another_user_runs_the_ticks() {
    let Some((double, site)) = site_of_nobody() else {
        return;
    };
    let (config, state) = (site.config(), site.state());
    let places = [
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let base = repository().join("configs/base.yaml");
    let master = repository().join("configs/master.yaml");
    let commands: [&[&str]; 4] = [
        &["tick"],
        &["resume", "lab"],
        &[
            "image",
            "build",
            "--from",
            "Debian 13",
            "--base",
            base.to_str().unwrap(),
        ],
        &[
            "master",
            "deploy",
            "--binary",
            "/bin/true",
            "--master",
            master.to_str().unwrap(),
        ],
    ];
    for command in commands {
        let run = site.run(&[command, &places].concat());
        run.exits(74)
            .warns("belongs to user nobody: files that root writes there would stop the ticks of nobody; run this as that user: ")
            .warns(&format!(
                "sudo -u nobody ehos {}",
                command[..2.min(command.len())].join(" ")
            ))
            .warns(&format!("--state-dir {}", state.display()));
        assert_eq!(run.stdout, "");
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "{command:?}");
    }
    assert_eq!(double.count("POST", CREATE), 0);
    // What only looks may look, and leaves nothing.
    site.tick(&["--dry-run"]).exits(0).says("create 1");
    site.run(&[&["check"], &places[..]].concat());
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);

    // The variable is told as a flag: sudo drops it.
    let run = site.set("EHOS_STATE_DIR", state.to_str().unwrap()).run(&[
        "tick",
        "--config",
        config.to_str().unwrap(),
    ]);
    run.exits(74)
        .warns(&format!("--state-dir {}\n", state.display()));
}

#[test]
fn root_follows_no_link_of_another_user() {
    let Some((_double, site)) = site_of_nobody() else {
        return;
    };
    let secret = site.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&secret, site.state().join("history")).unwrap();
    let untouched = |site: &Site| {
        site.tick(&[]).exits(74);
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o700);
    };
    untouched(&site);
    // Nor one in a directory of root's that others can write to, and neither a folder of theirs.
    chown(site.state(), Some(0), Some(0)).unwrap();
    lchown(site.state().join("history"), NOBODY, NOBODY).unwrap();
    untouched(&site);
    fs::remove_file(site.state().join("history")).unwrap();
    fs::create_dir(site.state().join("history")).unwrap();
    chown(site.state().join("history"), NOBODY, NOBODY).unwrap();
    site.tick(&[])
        .exits(74)
        .warns("history: belongs to user nobody");
    // A lock that is a link is none.
    fs::remove_dir(site.state().join("history")).unwrap();
    let victim = site.path().join("victim");
    fs::write(&victim, "text").unwrap();
    symlink(&victim, site.state().join("tick.lock")).unwrap();
    site.tick(&[])
        .exits(74)
        .warns("tick.lock: cannot be created or locked");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "text");
}

#[test]
fn root_goes_on_in_its_own_directory() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url());
    site.tick(&[]).exits(0);
    site.tick(&[]).exits(0);
    assert_eq!(owner(&site.state()), rustix::process::geteuid().as_raw());
}

#[test]
fn what_a_run_as_root_left_is_told_with_the_command_that_mends_it() {
    let Some((_double, site)) = site_of_nobody() else {
        return;
    };
    tick_as_nobody(&site).exits(0);
    for name in ["state.json", "tick.lock"] {
        let file = site.state().join(name);
        chown(&file, Some(0), Some(0)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mend = format!("sudo chown -R nobody: {}", site.state().display());
        tick_as_nobody(&site)
            .exits(74)
            .warns(name)
            .warns("Permission denied")
            .warns(&mend);
        // `check` says so beforehand, whoever runs it.
        let (config, state) = (site.config(), site.state());
        let check = ["check", "--config", config.to_str().unwrap(), "--state-dir"];
        let check = [&check[..], &[state.to_str().unwrap()]].concat();
        for run in [as_nobody(&site, &check), site.run(&check)] {
            run.says("FAILED   state ").says(name).says(&mend);
        }
        chown(&file, NOBODY, NOBODY).unwrap();
        tick_as_nobody(&site).exits(0);
    }
}

#[test]
fn who_is_denied_the_configuration_is_told_the_user_who_may_read_it() {
    let Some((_double, site)) = site_of_nobody() else {
        return;
    };
    // Another user's, and one of root's for a group: /etc/ehos/ehos.yaml is root:ehos 0640.
    let daemon = (2, 2);
    let state = site.state();
    chown(&state, Some(daemon.0), Some(daemon.1)).unwrap();
    for (uid, gid, mode) in [
        (daemon.0, daemon.1, 0o600),
        (0, daemon.1, 0o640),
        (0, 0, 0o600),
    ] {
        for command in ["tick", "resume", "check"] {
            let config = site.config();
            let words = [command, "--config", config.to_str().unwrap(), "--state-dir"];
            let words = [&words[..], &[state.to_str().unwrap()]].concat();
            let words = match command {
                "resume" => [&words[..], &["lab"]].concat(),
                _ => words,
            };
            let mut run = site.as_nobody(&words).unwrap();
            chown(&config, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
            let run = site.finish(&mut run);
            run.exits(78);
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(said.contains("Permission denied"), "{run}");
            // Whose group reads it, or who runs the ticks.
            let user = user_of(daemon.0);
            let remedy = format!("run this as the user {user}: sudo -u {user} ehos {command}");
            assert!(said.contains(&remedy), "{remedy} in {run}");
        }
        chown(site.config(), Some(0), Some(0)).unwrap();
    }
}

#[test]
fn a_secret_that_the_user_of_the_ticks_cannot_read_is_told_with_its_mend() {
    let Some((double, site)) = site_of_nobody() else {
        return;
    };
    let file = site.path().join("lab.secret");
    fs::write(&file, "hush\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let access = cloud::access("lab", double.url());
    let config = fs::read_to_string(site.config()).unwrap();
    let secret = access
        .lines()
        .find(|line| line.contains("password:"))
        .unwrap();
    let indent = &secret[..secret.len() - secret.trim_start().len()];
    let by_file = format!("{indent}password_file: {}", file.display());
    site.write("ehos.yaml", &config.replace(secret, &by_file));
    tick_as_nobody(&site)
        .exits(78)
        .warns("cannot read the secret in ")
        .warns(&format!(
            "sudo chgrp 65534 {0} && sudo chmod g+r {0}",
            file.display()
        ));
}

fn user_of(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    line.map_or_else(
        || panic!("no user {uid}"),
        |line| line.split(':').next().unwrap().to_owned(),
    )
}
