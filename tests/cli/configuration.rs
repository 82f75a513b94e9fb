//! Configurations that will not do: told with file, line and key, exit code 78, and nothing is touched.

use std::fs;

use crate::harness::{Run, Site};

const NOWHERE: &str = "http://127.0.0.1:1";

/// Nothing was asked, made or written.
fn refused(site: &Site, args: &[&str]) -> Run {
    let run = site.tick(args);
    run.exits(78);
    assert_eq!(run.stdout, "", "{run}");
    assert_eq!(site.calls(), "", "{run}");
    assert_eq!(site.state_files(), None, "{run}");
    run
}

#[test]
fn a_typo_is_told_with_its_place_and_the_nearest_key() {
    let site = Site::with_cloud(NOWHERE).over("# a comment\ndaemon:\n  nodes_mx: 3\n");
    for args in [&[][..], &["--dry-run"], &["-o", "json"]] {
        refused(&site, args)
            .warns("ehos.d/01.yaml:3:3: daemon.nodes_mx: ")
            .warns("`nodes_max`");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let site = Site::with_cloud(NOWHERE)
        .over("daemon: {nodes_max: many, idle_timeout: 5 parsecs}\n")
        .over("ehos: {image: <IMAGE>, userdata_file: nowhere.yaml}\n");
    refused(&site, &[])
        .warns("01.yaml:1:10: daemon.nodes_max: ")
        .warns("01.yaml:1:27: daemon.idle_timeout: ")
        .warns("02.yaml:1:8: ehos.image: ")
        .warns("there is no user data template nowhere.yaml");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let site = Site::with_cloud(NOWHERE).over("daemon:\n  nodes_max: [1\n");
    refused(&site, &[]).warns("ehos.d/01.yaml:");
}

#[test]
fn files_that_are_not_there() {
    let site = Site::simulated();
    fs::remove_file(site.config()).unwrap();
    refused(&site, &[]).warns("ehos.yaml: cannot be read: No such file");
    // Nor is there one where they are searched.
    site.run(&["tick"])
        .exits(78)
        .warns("no configuration: there is no ehos.yaml in /etc/ehos")
        .warns("name one with --config or $EHOS_CONFIG");
}

#[test]
fn certificates_that_are_none() {
    let site = Site::with_cloud(NOWHERE).over("clouds: {lab: {cacert: ca.pem}}\n");
    site.write("ca.pem", "not a certificate\n");
    site.tick(&[])
        .exits(78)
        .warns("cloud lab: cacert ")
        .warns("no certificate in it");
    assert_eq!(site.calls(), "");
}

#[test]
fn a_secret_that_others_can_read_is_noted() {
    let site = Site::with_cloud(NOWHERE);
    site.tick(&["--dry-run"]).never_says("chmod");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(site.config(), mode).unwrap();
    site.tick(&["--dry-run"]).says("chmod o-r");
}

#[test]
fn files_and_state_directory_may_come_from_the_environment() {
    let site = Site::simulated();
    let (config, state) = (site.config(), site.path().join("elsewhere"));
    let site = site
        .set("EHOS_CONFIG", config.to_str().unwrap())
        .set("STATE_DIRECTORY", state.to_str().unwrap());
    site.run(&["tick"]).exits(0);
    assert!(state.join("state.json").exists());
    let other = site.path().join("other");
    let site = site.set("EHOS_STATE_DIR", other.to_str().unwrap());
    site.run(&["tick"]).exits(0);
    assert!(other.join("state.json").exists());
}

#[test]
fn the_pools_id_is_made_once_and_not_by_a_dry_run() {
    let site = Site::with_cloud(NOWHERE);
    let text = fs::read_to_string(site.config()).unwrap();
    site.write("ehos.yaml", &text.replace("  cluster: pool-1\n", ""));
    let kept = site.path().join("ehos.d/10-cluster.yaml");
    site.tick(&["--dry-run"])
        .exits(75)
        .says("the pool has no id");
    assert!(!kept.exists());
    site.tick(&[])
        .exits(75)
        .says("the pool had no id: it is pool-");
    let id = fs::read_to_string(&kept).unwrap();
    site.tick(&[]).exits(75).never_says("no id");
    assert_eq!(fs::read_to_string(&kept).unwrap(), id);
}
