//! `ehos cloud setup`: what is missing is made, once; what is there is never touched.

use std::fs;

use serde_json::{Value, json};

use crate::double::{Double, Line, Reply, always, once};
use crate::harness::cloud::{self};
use crate::harness::{Run, Site};

pub const KEYS: &str = "/v2.1/os-keypairs";
pub const GROUPS: &str = "/v2.0/security-groups";
pub const RULES: &str = "/v2.0/security-group-rules";
pub const GROUP_ID: &str = "265a23a1-6986-4f77-a211-cdabf33b06f8";

/// The public key of the site, and the keypair that the recorded cloud has.
pub const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUhVnZPOriKrXB/vStXczwVcBNnhujwr5EFqFHqe8pQ me";

pub fn no_keys() -> Reply {
    Reply::status(200, r#"{"keypairs": []}"#)
}

pub fn no_groups() -> Reply {
    Reply::status(200, r#"{"security_groups": []}"#)
}

pub fn key() -> Reply {
    let pair = json!({"name": "ehos", "fingerprint": "aa:bb", "public_key": PUBLIC_KEY});
    Reply::status(200, &json!({"keypairs": [{"keypair": pair}]}).to_string())
}

/// The group with all rules of a default run.
pub fn group() -> Reply {
    let rule = |family: &str, port: u16, group: Option<&str>| {
        json!({"direction": "ingress", "ethertype": family, "protocol": "tcp", "port_range_min": port,
               "port_range_max": port, "remote_group_id": group, "remote_ip_prefix": null})
    };
    let rules: Vec<Value> = ["IPv4", "IPv6"]
        .iter()
        .flat_map(|family| [rule(family, 22, None), rule(family, 9618, Some(GROUP_ID))])
        .collect();
    let group = json!({"id": GROUP_ID, "name": "ehos", "security_group_rules": rules});
    Reply::status(200, &json!({"security_groups": [group]}).to_string())
}

/// A cloud that has nothing, takes everything, and then has it.
pub fn takes_all() -> Vec<Line> {
    cloud::script(vec![
        once("GET", KEYS, no_keys()),
        always("GET", KEYS, key()),
        once("GET", GROUPS, no_groups()),
        always("GET", GROUPS, group()),
        always("POST", KEYS, Reply::fixture("nova-keypair-import")),
        always("POST", RULES, Reply::fixture("neutron-rule-create")),
        always(
            "POST",
            GROUPS,
            Reply::fixture("neutron-security-group-create"),
        ),
    ])
}

/// A site whose configuration names no keypair and no security group.
pub fn site(double: &Double) -> Site {
    let site = Site::with_cloud(double.url());
    let text = fs::read_to_string(site.config()).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.trim().starts_with("key:") && !line.trim().starts_with("security_groups:")
        })
        .collect();
    site.write("ehos.yaml", &lines.join("\n"));
    site.write("home/.ssh/id_ed25519.pub", PUBLIC_KEY);
    let home = site.path().join("home").display().to_string();
    site.set("HOME", &home)
}

pub fn setup(site: &Site, more: &[&str]) -> Run {
    let config = site.config();
    let args = ["cloud", "setup", "--config", config.to_str().unwrap()];
    site.run(&[&args, more].concat())
}

fn made(double: &Double) -> usize {
    [KEYS, GROUPS, RULES]
        .iter()
        .map(|target| double.count("POST", target))
        .sum::<usize>()
}

#[test]
fn what_is_missing_is_made_once_and_named() {
    let double = Double::start(takes_all());
    let site = site(&double);
    setup(&site, &[])
        .exits(0)
        .warns_nothing()
        .says("lab: done: add keypair ehos (")
        .says("lab: done: make security group ehos\n")
        .says("lab: done: let through security group ehos: in tcp 22 from 0.0.0.0/0\n")
        .says("lab: done: let through security group ehos: in tcp 9618 from the group itself (IPv6)\n")
        .says("40-cloud.yaml: names keypair and security group from now on");
    assert_eq!(made(&double), 6);
    let asked = double.wait_for("POST", KEYS).json();
    assert_eq!(
        asked["keypair"]["public_key"],
        format!("{PUBLIC_KEY} ehos-pool=pool-1")
    );
    let asked = double.wait_for("POST", GROUPS).json();
    assert_eq!(
        asked["security_group"],
        json!({"name": "ehos", "description": "servers of the ehos pool pool-1"})
    );
    let rules: Vec<Value> = double
        .received()
        .iter()
        .filter(|request| request.method == "POST" && request.target == RULES)
        .map(|request| request.json()["security_group_rule"].clone())
        .collect();
    assert!(
        rules
            .iter()
            .all(|rule| rule["security_group_id"] == GROUP_ID)
    );
    assert_eq!(rules[2]["remote_group_id"], GROUP_ID);
    assert_eq!(rules[2]["description"], "rule of the ehos pool pool-1");
    assert_eq!(rules[0]["remote_ip_prefix"], "0.0.0.0/0");

    let file = site.path().join("ehos.d/40-cloud.yaml");
    let written = fs::read_to_string(&file).unwrap();
    assert!(
        written.ends_with("clouds:\n  lab:\n    key: ehos\n    security_groups:\n    - ehos\n"),
        "{written}"
    );
    // What it names is what the next run looks at.
    setup(&site, &[])
        .exits(0)
        .says("lab: nothing to do\n")
        .never_says("40-cloud");
    assert_eq!(made(&double), 6);
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn a_dry_run_makes_and_writes_nothing() {
    let double = Double::start(takes_all());
    let site = site(&double);
    setup(&site, &["--dry-run"])
        .exits(0)
        .says("lab: would: add keypair ehos (")
        .says("lab: would: make security group ehos\n");
    assert_eq!(made(&double), 0);
    assert!(!site.path().join("ehos.d").exists());
}

#[test]
fn external_opens_the_port_to_everybody_and_ssh_to_whom_it_is_told() {
    let double = Double::start(takes_all());
    let site = site(&double);
    setup(&site, &["-n", "--external", "--ssh-from", "192.0.2.0/24"])
        .exits(0)
        .says("in tcp 22 from 192.0.2.0/24")
        .says("in tcp 9618 from 0.0.0.0/0")
        .says("in tcp 9618 from ::/0")
        .never_says("22 from 0.0.0.0/0")
        .never_says("group itself");
    setup(&site, &["-n", "--ssh-from", "the office"])
        .exits(2)
        .warns("no block of addresses");
}

#[test]
fn keys_that_will_not_do() {
    let script = || {
        cloud::script(vec![
            always("GET", KEYS, key()),
            always("GET", GROUPS, group()),
        ])
    };
    let double = Double::start(script());
    let site = site(&double);
    site.write("other.pub", "ssh-ed25519 BBBB other");
    site.write("ehos.d/50-key.yaml", "ehos: {key: ehos}\n");
    setup(&site, &["--public-key", "other.pub"])
        .exits(1)
        .says("lab: keypair ehos exists with another key (aa:bb)")
        .says("ehos never replaces a keypair");
    site.write(
        "id",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAsecret\n-----END OPENSSH PRIVATE KEY-----\n",
    );
    setup(&site, &["--public-key", "id"])
        .exits(1)
        .warns("is a private key")
        .never_says("AAAAsecret");
    setup(&site, &["--public-key", "none.pub"])
        .exits(1)
        .warns("none.pub");
    assert_eq!(made(&double), 0);
    // There is none to add.
    double.play(cloud::script(vec![
        always("GET", KEYS, no_keys()),
        always("GET", GROUPS, group()),
    ]));
    fs::remove_dir_all(site.path().join("home")).unwrap();
    setup(&site, &[])
        .exits(1)
        .says("there is no public key to add")
        .says("ssh-keygen");
}

#[test]
fn what_another_pool_made_and_takes_away_with_itself_is_not_shared() {
    let pair = json!({"name": "ehos", "fingerprint": "aa:bb",
                      "public_key": format!("{PUBLIC_KEY} ehos-pool=pool-2")});
    let pairs = json!({"keypairs": [{"keypair": pair}]}).to_string();
    let groups = json!({"security_groups": [{"id": GROUP_ID, "name": "ehos", "security_group_rules": [],
                                             "description": "servers of the ehos pool pool-2"}]});
    let double = Double::start(cloud::script(vec![
        always("GET", KEYS, Reply::status(200, &pairs)),
        always("GET", GROUPS, Reply::status(200, &groups.to_string())),
    ]));
    let site = site(&double);
    setup(&site, &["--dry-run"])
        .exits(0)
        .says("lab: would: add keypair ehos-2 (")
        .says("lab: would: make security group ehos-2\n");
    // What the configuration names is the choice of people.
    let site = site.over("ehos: {key: ehos, security_groups: [ehos]}\n");
    setup(&site, &["--dry-run"])
        .exits(0)
        .never_says("ehos-2")
        .never_says("make security group");
}

#[test]
fn a_name_that_is_taken_by_a_key_that_the_api_hides_is_said() {
    let double = Double::start(cloud::script(vec![
        always("GET", KEYS, no_keys()),
        always("GET", GROUPS, no_groups()),
        always("POST", KEYS, Reply::fixture("nova-keypair-import-409")),
    ]));
    let site = site(&double);
    setup(&site, &[])
        .exits(1)
        .says("lab: failed: add keypair ehos (")
        .says("lab: not done: make security group ehos")
        .says("exists, although the API does not list it");
    assert_eq!(made(&double), 1);
    assert!(!site.path().join("ehos.d/40-cloud.yaml").exists());
}

#[test]
fn one_cloud_that_does_not_answer_holds_up_no_other() {
    let double = Double::start(takes_all());
    let site = site(&double).over(&format!(
        "clouds:\n{}",
        cloud::access("field", "http://127.0.0.1:1")
    ));
    setup(&site, &[])
        .exits(1)
        .says("field: cloud field: POST /v3/auth/tokens: cannot connect to 127.0.0.1:1")
        .says("lab: done: make security group ehos");
    let written = fs::read_to_string(site.path().join("ehos.d/40-cloud.yaml")).unwrap();
    assert!(!written.contains("field"), "{written}");
    setup(&site, &["--cloud", "field"]).exits(75);
    setup(&site, &["--cloud", "lab"])
        .exits(0)
        .says("lab: nothing to do");
}

/// Reports with as much in them as there can be.
pub fn reports() -> Vec<Value> {
    let double = Double::start(takes_all());
    let site = site(&double).over(&format!(
        "clouds:\n{}",
        cloud::access("field", "http://127.0.0.1:1")
    ));
    vec![setup(&site, &["-o", "json"]).exits(1).json()]
}

#[test]
fn two_entries_of_one_project_make_one_group() {
    let double = Double::start(takes_all());
    let site = site(&double);
    let text = fs::read_to_string(site.config()).unwrap();
    let (_, lab) = text.split_once("  lab:\n").unwrap();
    let lab: String = lab
        .lines()
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{line}\n"))
        .collect();
    let site = site.over(&format!("clouds:\n  other-zone:\n{lab}"));
    setup(&site, &[])
        .exits(0)
        .says("lab: done: make security group ehos\n")
        .says("other-zone: nothing to do\n");
    assert_eq!(made(&double), 6);
}

#[test]
fn a_server_group_that_is_missing_is_made_with_its_policy() {
    const SERVER_GROUPS: &str = "/v2.1/os-server-groups";
    let mut script = vec![
        once(
            "GET",
            SERVER_GROUPS,
            Reply::status(200, r#"{"server_groups": []}"#),
        ),
        always("GET", SERVER_GROUPS, Reply::fixture("nova-server-groups")),
        always(
            "POST",
            SERVER_GROUPS,
            Reply::fixture("nova-server-group-create"),
        ),
    ];
    script.extend(takes_all());
    let double = Double::start(script);
    let site = site(&double).over("ehos: {server_group: nodes}\n");
    setup(&site, &[])
        .exits(0)
        .says("lab: done: make server group nodes (soft-anti-affinity)\n");
    let asked = double.wait_for("POST", SERVER_GROUPS).json();
    assert_eq!(
        asked["server_group"],
        json!({"name": "nodes", "policy": "soft-anti-affinity"})
    );
    setup(&site, &[]).exits(0).says("lab: nothing to do\n");
    assert_eq!(double.count("POST", SERVER_GROUPS), 1);
}

#[test]
fn a_keypair_whose_private_half_is_not_here_is_told() {
    let there = cloud::script(vec![
        always("GET", KEYS, key()),
        always("GET", GROUPS, group()),
    ]);
    let double = Double::start(there);
    let site = site(&double).over("ehos: {key: ehos, security_groups: [ehos]}\n");
    // The public half alone is here.
    setup(&site, &[])
        .exits(0)
        .says("lab: nothing to do\n")
        .says("lab: note: the private half of keypair ehos is missing here")
        .says("`key: ehos` from the configuration")
        .says("--identity FILE");
    let report = setup(&site, &["-o", "json"]).json();
    let note = report["clouds"][0]["note"].as_str().unwrap();
    assert!(note.contains("private half"), "{report}");
    // With the file beside it, all is well; and who names a public key knows where the other half is.
    let public = site.path().join("home/.ssh/id_ed25519.pub");
    setup(&site, &["--public-key", public.to_str().unwrap()])
        .exits(0)
        .never_says("note:");
    site.write("home/.ssh/id_ed25519", "a private key");
    setup(&site, &[]).exits(0).never_says("note:");
    // Another's: nothing of it is here.
    site.write("home/.ssh/id_ed25519.pub", "ssh-ed25519 AAAAmine me");
    setup(&site, &[])
        .exits(0)
        .says("neither ~/.ssh nor an agent has it")
        .says("which adds yours");
}
