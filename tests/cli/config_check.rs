//! `ehos config check`: no network, no tools, no writing.

use crate::harness::{JOIN_TOKEN, Run, Site};

const NOWHERE: &str = "http://127.0.0.1:1";

fn check(site: &Site) -> Run {
    let config = site.config();
    let run = site.run(&["config", "check", "--config", config.to_str().unwrap()]);
    assert_eq!(site.calls(), "", "{run}");
    assert_eq!(site.state_files(), None, "{run}");
    run
}

#[test]
fn a_valid_configuration_is_told_with_its_files_and_notes() {
    let site = Site::with_cloud(NOWHERE).over("daemon: {sleep: 10}\n");
    check(&site)
        .exits(0)
        .warns_nothing()
        .says("/ehos.yaml\n")
        .says("/ehos.d/01.yaml\n")
        .says("note: ")
        .says("daemon.sleep: not used")
        .says("the configuration is valid: cloud lab\n");
    check(&Site::simulated())
        .exits(0)
        .says("valid: a simulated site");
}

#[test]
fn every_unknown_key_is_told() {
    let site = Site::with_cloud(NOWHERE)
        .over("daemon: {nodes_mx: 3, nodes_mn: 1}\nehso: {}\n")
        .over("clouds: {lab: {imge: x, auth: {usernam: y}}}\n");
    let run = check(&site);
    run.exits(78)
        .warns("01.yaml:1:10: daemon.nodes_mx: there is no such key; the nearest known key is `nodes_max`")
        .warns("01.yaml:1:23: daemon.nodes_mn: ")
        .warns("01.yaml:2:1: ehso: ")
        .warns("02.yaml:1:16: clouds.lab.imge: ")
        .warns("clouds.lab.auth.usernam: ")
        .never_says("is valid");
}

#[test]
fn a_token_that_is_none_and_one_that_is_not_there() {
    let site = Site::with_cloud(NOWHERE).over("condor: {token_file: join}\n");
    check(&site)
        .exits(78)
        .warns("condor.token_file: cannot read the secret in ")
        .warns("condor_token_create -identity execute@TRUST_DOMAIN");
    for wrong in ["no-token", "a.b", "a..c", "a.b.c d", "a.b.c.d"] {
        site.write("ehos.d/join", &format!("{wrong}\n"));
        check(&site)
            .exits(78)
            .warns("condor.token_file: is not a token of HTCondor")
            .never_says(wrong);
    }
    site.write("ehos.d/join", &format!("{JOIN_TOKEN}\n"));
    check(&site).exits(0);
}
