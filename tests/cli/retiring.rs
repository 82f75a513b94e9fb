//! Clouds that leave the configuration: with `retire: true` first, or at once.

use std::fs;

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Run, Site};

/// A site that has asked for a node in the cloud lab, for a job that is gone.
fn site() -> (Double, Site, serde_json::Value) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    site.tick(&[]).exits(0).says("plan     create 1");
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    double.play(cloud::script(vec![cloud::list(std::slice::from_ref(
        &server,
    ))]));
    (double, site.waiting(0), server)
}

/// Calls the cloud otherwise: what was lab is in the configuration no more.
fn rename(site: &Site, from: &str, to: &str) {
    let text = fs::read_to_string(site.config()).unwrap();
    let text = text.replace(&format!("\n  {from}:"), &format!("\n  {to}:"));
    site.write("ehos.yaml", &text);
}

fn command(site: &Site, name: &str, more: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let mut args = vec![
        name,
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    args.extend(more);
    site.run(&args)
}

#[test]
fn a_cloud_with_retire_needs_nothing_for_new_nodes_and_says_what_is_left_in_it() {
    let (double, site, _) = site();
    let site = site.over("clouds: {lab: {retire: true, flavors: [gone]}}\n");
    site.tick(&[])
        .exits(0)
        .says("note     cloud lab has retire: true and still contains 1 node (1 building); ehos drains and deletes each node");
    let json = site.tick(&["-o", "json"]).exits(0).json();
    assert_eq!(json["clouds"][0]["retire"], true);
    let site = site.waiting(3);
    site.tick(&["--dry-run"])
        .exits(0)
        .says("limited by retire: true of cloud lab");
    let site = site.waiting(0);
    double.play(cloud::script(vec![cloud::list(&[])]));
    for _ in 0..4 {
        site.tick(&[]);
        site.a_minute_later();
    }
    site.tick(&[])
        .says("cloud lab has retire: true and is empty of nodes, builders and leftovers; remove it from the configuration");
    command(&site, "check", &[]).says("retire: true: no node is created in this cloud");
}

#[test]
fn a_removed_cloud_is_told_in_each_report_until_it_is_put_back() {
    let (double, site, server) = site();
    rename(&site, "lab", "other");
    double.play(cloud::script(vec![]));
    let said = "no longer in the configuration, and last contained 1 node (ehos-v1-execute-";
    for args in [&[][..], &["--dry-run"]] {
        site.tick(args)
            .exits(1)
            .says("unknown  removed cloud lab: ")
            .says(said)
            .says("restore it with `retire: true` until a report shows it empty")
            .never_says("clouds.yaml");
    }
    let json = site.tick(&["-o", "json"]).exits(1).json();
    assert_eq!(json["unknown_sources"][0]["source"], "removed cloud lab");
    command(&site, "status", &[])
        .exits(1)
        .says("removed cloud lab: ");
    rename(&site, "other", "lab");
    double.play(cloud::script(vec![cloud::list(&[server])]));
    site.tick(&[])
        .exits(0)
        .says("nodes    1 of at most 10: 1 building")
        .never_says("adopted");
}

#[test]
fn a_cloud_that_is_only_called_otherwise_keeps_its_nodes() {
    let (_double, site, _) = site();
    rename(&site, "lab", "other");
    site.tick(&[])
        .exits(0)
        .says("nodes    1 of at most 10: 1 building")
        .says("  other m1.small")
        .never_says("adopted")
        .never_says("removed cloud");
}

#[test]
fn a_removed_cloud_whose_access_is_in_clouds_yaml_is_told_so() {
    let (double, site, _) = site();
    rename(&site, "lab", "other");
    double.play(cloud::script(vec![]));
    let home = site.path().to_str().unwrap().to_owned();
    site.write(
        ".config/openstack/clouds.yaml",
        "clouds: {lab: {}, more: {}}\n",
    );
    let site = site.set("HOME", &home);
    site.tick(&[]).exits(1).says(
        "note     removed cloud lab is an entry of clouds.yaml; to restore it, add `lab: {cloud: lab, retire: true}` under clouds:",
    );
}

#[test]
fn resume_forgets_what_ran_in_a_removed_cloud() {
    let (double, site, _) = site();
    double.play(cloud::script(vec![]));
    command(&site, "resume", &["lab"]).says("cloud lab: no failures, backoff or protected mode");
    rename(&site, "lab", "other");
    command(&site, "resume", &["lab"])
        .exits(78)
        .warns("there is no cloud `lab`");
    site.tick(&[]).exits(1);
    command(&site, "resume", &["nowhere"])
        .exits(78)
        .warns("expected one of other");
    command(&site, "resume", &["lab"])
        .exits(0)
        .says("cloud lab: not in the configuration: 1 of its servers forgotten; delete by hand");
    site.tick(&[]).never_says("removed cloud");
}
