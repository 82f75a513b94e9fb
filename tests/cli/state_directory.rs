//! The state directory: not usable, of another version, damaged, or lost. Nothing else is lost with it.

use std::fs;

use crate::double::Double;
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE};

fn site() -> (Double, Site) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    (double, site)
}

fn nothing_was_asked(double: &Double, site: &Site) {
    assert_eq!(double.received().len(), 0);
    assert_eq!(site.calls(), "");
}

#[test]
fn a_file_in_its_place() {
    let (double, site) = site();
    site.write("state", "something of somebody's\n");
    for (args, what) in [
        (&[][..], "cannot be created: "),
        (&["--dry-run"], "cannot be read: "),
    ] {
        let run = site.tick(args);
        run.exits(74)
            .warns("error: state directory ")
            .warns(what)
            .warns("; check that it is a directory, that this user can write to it, and that the disk is not full\n");
        assert_eq!(run.stderr.matches("os error").count(), 1, "{run}");
        assert_eq!(run.stdout, "");
    }
    let kept = fs::read_to_string(site.state()).unwrap();
    assert_eq!(kept, "something of somebody's\n");
    nothing_was_asked(&double, &site);
}

#[test]
fn a_state_file_that_cannot_be_read() {
    let (double, site) = site();
    fs::create_dir_all(site.state().join("state.json")).unwrap();
    for args in [&[][..], &["--dry-run"]] {
        site.tick(args)
            .exits(74)
            .warns("state.json: cannot be read: Is a directory");
    }
    nothing_was_asked(&double, &site);
}

#[test]
fn a_lock_that_cannot_be_taken() {
    let (double, site) = site();
    fs::create_dir_all(site.state().join("tick.lock")).unwrap();
    site.tick(&[])
        .exits(74)
        .warns("tick.lock: cannot be created or locked: Is a directory");
    nothing_was_asked(&double, &site);
}

#[test]
fn a_state_file_of_a_newer_version_is_left_alone() {
    let (double, site) = site();
    let newer = r#"{"version": 99, "state": {"strange": true}}"#;
    site.write("state/state.json", newer);
    for args in [&[][..], &["--dry-run"]] {
        site.tick(args)
            .exits(78)
            .warns("state.json: written by a newer ehos (version 99, this one reads 2)")
            .warns("install the newer version, or move the file away");
    }
    let kept = fs::read_to_string(site.state().join("state.json")).unwrap();
    assert_eq!(kept, newer);
    nothing_was_asked(&double, &site);
}

#[test]
fn garbage_is_set_aside_and_the_nodes_are_found_again() {
    for garbage in [
        "",
        "\0\0\0",
        r#"{"version": 1, "state": {"nodes": 7}}"#,
        r#"{"version": 1, "sta"#,
    ] {
        let (double, site) = site();
        site.tick(&[]).exits(0).says("plan     create 1");
        let server = cloud::asked_for(&double.wait_for("POST", CREATE));
        double.play(cloud::script(vec![cloud::list(&[server])]));
        let nodes = site.remembered();
        fs::write(site.state().join("state.json"), garbage).unwrap();

        let before = site.state_files();
        site.tick(&["--dry-run"])
            .exits(0)
            .says("state.json: damaged: ")
            .says("; a tick would move it away");
        assert_eq!(site.state_files(), before);

        let run = site.tick(&[]);
        run.exits(0)
            .says("saved as ")
            .says("timers restart, and ehos adopts the nodes again by their metadata")
            .says("1 can run on starting nodes");
        assert_eq!(site.remembered(), nodes);
        assert_eq!(double.count("POST", CREATE), 1, "no second server");
        let aside = site
            .state_files()
            .unwrap()
            .into_iter()
            .find(|(path, _)| path.to_string_lossy().contains("state.json.damaged-"));
        assert_eq!(
            aside.unwrap().1.0,
            garbage.as_bytes(),
            "the garbage is kept"
        );
        site.tick(&[]).exits(0).never_says("saved as");
    }
}

#[test]
fn without_a_place_for_intents_nothing_is_made() {
    let (double, site) = site();
    let state = site.state().display().to_string();
    // It goes while the tick looks.
    let site = site.script(
        "condor_q",
        "-totals",
        &format!("rm -r '{state}'\nprintf 'Summary\\t1\\t1\\t0\\t0\\t0\\t1795353048\\n'"),
    );
    let run = site.tick(&[]);
    run.exits(74)
        .warns("no action: intents could not be saved: state directory ")
        .warns("cannot be written to: No such file");
    assert_eq!(run.stdout, "");
    assert_eq!(double.count("POST", CREATE), 0);
    assert!(!site.calls().contains("condor_token_create"));
}

#[test]
fn what_was_done_is_reported_even_if_it_cannot_be_written_down() {
    let (double, site) = site();
    let state = site.state().display().to_string();
    // It goes after the intents were written.
    let site = site.script(
        "condor_token_create",
        "any",
        &format!("rm -r '{state}'\necho a.b.c"),
    );
    for args in [&[][..], &["-o", "json"]] {
        let created = double.count("POST", CREATE);
        let run = site.tick(args);
        run.exits(1).warns(
            "state not saved after the actions, the next tick observes their results: state directory ",
        );
        assert_eq!(double.count("POST", CREATE), created + 1);
        if args.is_empty() {
            run.says("plan     create 1");
        } else {
            assert_eq!(run.json()["actions"][0]["result"], "done");
            assert_eq!(run.json()["exit"], 1);
        }
    }
    // The next one finds it by its metadata.
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    double.play(cloud::script(vec![cloud::list(&[server])]));
    site.tick(&[])
        .exits(0)
        .says("adopted a server unknown to the state")
        .says("1 can run on starting nodes");
    assert_eq!(double.count("POST", CREATE), 2);
}

#[test]
fn a_lost_state_directory_loses_no_server() {
    let (double, site) = site();
    site.tick(&[]).exits(0);
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    double.play(cloud::script(vec![cloud::list(&[server])]));
    let nodes = site.remembered();
    fs::remove_dir_all(site.state()).unwrap();
    site.tick(&[]).exits(0).says("adopted a server");
    assert_eq!(site.remembered(), nodes);
    assert_eq!(double.count("POST", CREATE), 1);
    assert_eq!(double.count("DELETE", ""), 0);
}
