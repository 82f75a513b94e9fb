//! `ehos config render`: user data for a server that is made by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{JOIN_TOKEN, Run, Site, repository};

fn render(site: &Site, more: &[&str]) -> Run {
    let config = site.config();
    let mut args = vec!["config", "render", "--config", config.to_str().unwrap()];
    args.extend(more);
    site.run(&args)
}

fn site() -> Site {
    let site = Site::with_cloud("http://127.0.0.1:1");
    for name in ["base.yaml", "master.yaml"] {
        let text = fs::read_to_string(repository().join("configs").join(name)).unwrap();
        site.write(&format!("configs/{name}"), &text);
    }
    site
}

#[test]
fn a_node_gets_its_token_in_a_file_of_its_owner() {
    let site = site();
    render(&site, &["execute.yaml", "-o", "node"])
        .exits(0)
        .is_silent();
    let file = site.path().join("node");
    let text = fs::read_to_string(&file).unwrap();
    for part in [
        JOIN_TOKEN,
        "CONDOR_HOST = 10.0.0.1",
        "EhosNode = \"by-hand-",
        "EhosCluster = \"pool-1\"",
        "CloudVMType = \"m1.small\"",
        "CloudRegion = \"\"",
        "{{ v1.instance_id }}",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    render(&site, &["execute.yaml", "-o", "node"])
        .exits(78)
        .warns("node: exists, and is not overwritten");
}

#[test]
fn the_others_are_printed() {
    let site = site();
    render(&site, &["base.yaml"])
        .exits(0)
        .says("The golden image");
    render(&site, &["master.yaml"])
        .exits(0)
        .says("UID_DOMAIN = testbed\n");
    site.write("own.yaml", "#cloud-config\nx: {cloud} {host_ip}\n");
    render(&site, &["./own.yaml"])
        .exits(0)
        .says("x: lab 10.0.0.1\n");
    assert_eq!(site.calls(), "", "nothing is asked that no tag needs");
}

#[test]
fn what_does_not_do_is_told() {
    let site = site();
    render(&site, &["nowhere.yaml"])
        .exits(1)
        .warns(": no such template, neither here nor in ")
        .warns("/etc/ehos");
    render(&site, &["base.yaml", "--cloud", "lib"])
        .exits(78)
        .warns("there is no cloud `lib` in the configuration; expected one of lab");
    site.write("own.yaml", "#cloud-config\nx: {clowd}\n");
    render(&site, &["own.yaml"])
        .exits(1)
        .warns("own.yaml:2: there is no tag `{clowd}`");
    let nobody = site.over("condor: {bin: nowhere}\n");
    let text = fs::read_to_string(nobody.config()).unwrap();
    nobody.write("ehos.yaml", &text.replace("  trust_domain: testbed\n", ""));
    render(&nobody, &["master.yaml"])
        .exits(1)
        .warns("; or set condor.trust_domain");
    let simulated = Site::simulated();
    render(&simulated, &["base.yaml"])
        .exits(1)
        .warns("a simulated site has no cloud");
}

#[test]
fn without_a_folder_that_has_it_the_programs_own_template_is_taken() {
    let site = Site::with_cloud("http://127.0.0.1:1");
    for name in ["base.yaml", "master.yaml"] {
        let own = fs::read_to_string(repository().join("configs").join(name)).unwrap();
        let run = render(&site, &[name]);
        run.exits(0).says(own.lines().nth(1).unwrap());
    }
    let mut text = fs::read_to_string(site.config()).unwrap();
    text = text
        .lines()
        .filter(|line| !line.contains("userdata_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    site.write("ehos.yaml", &text);
    render(&site, &["execute.yaml", "-o", "node"]).exits(0);
    let node = fs::read_to_string(site.path().join("node")).unwrap();
    assert!(node.contains("EhosCluster = \"pool-1\""), "{node}");
    // A site's own goes before it.
    site.write("configs/base.yaml", "#cloud-config\n# mine\n");
    render(&site, &["base.yaml"]).exits(0).says("# mine");
}
