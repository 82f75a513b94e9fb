//! `ehos check --fix`: safe changes are shown first, made after a yes, and checked again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::check::{self, check};
use crate::cloud_setup::{self, GROUPS, KEYS, PUBLIC_KEY, RULES, key, no_groups, no_keys};
use crate::double::{Double, Line, Reply, always, once};
use crate::harness::{Run, Site};

const SERVER_GROUPS: &str = "/v2.1/os-server-groups";
const REMEDY: &str = "`ehos check --fix` shows changes that would help";

/// The group with all rules of `ehos cloud setup` and those that Neutron gives each group.
fn group() -> Reply {
    let egress = r#"{"direction":"egress","ethertype":"IPv4","protocol":null,"port_range_min":null,"port_range_max":null,
                     "remote_group_id":null,"remote_ip_prefix":null}"#;
    let rules = r#""security_group_rules":["#;
    cloud_setup::group().replace(rules, &format!("{rules}{egress},"))
}

/// A cloud without keypair and security group, which it has after the changes: the check, the plan and the changes look
/// before, a look and a check come after.
fn script() -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(once("GET", KEYS, no_keys()));
        lines.push(once("GET", GROUPS, no_groups()));
    }
    lines.push(always("GET", KEYS, key()));
    lines.push(always("GET", GROUPS, group()));
    lines.push(always("POST", KEYS, Reply::fixture("nova-keypair-import")));
    lines.push(always("POST", RULES, Reply::fixture("neutron-rule-create")));
    lines.push(always(
        "POST",
        GROUPS.split('?').next().unwrap(),
        Reply::fixture("neutron-security-group-create"),
    ));
    check::script(lines)
}

fn site(double: &Double) -> Site {
    let site = check::site(double).over("ehos: {security_groups: [ehos]}\n");
    site.write("home/.ssh/id_ed25519.pub", PUBLIC_KEY);
    let home = site.path().join("home").display().to_string();
    site.set("HOME", &home)
}

fn made(double: &Double) -> usize {
    let posts = [KEYS, GROUPS, RULES, SERVER_GROUPS];
    posts
        .iter()
        .map(|target| double.count("POST", target))
        .sum()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// The command at a terminal, where somebody types `answer`.
fn at_a_terminal(site: &Site, answer: &[u8]) -> Run {
    let (config, state) = (site.config(), site.state());
    let paths = (config.to_str().unwrap(), state.to_str().unwrap());
    let words = [
        "check",
        "--fix",
        "--config",
        paths.0,
        "--state-dir",
        paths.1,
    ];
    site.at_a_terminal(&words, "Make these changes? [y/N]", answer)
}

#[test]
fn without_a_terminal_and_a_yes_the_changes_are_shown_only() {
    let double = Double::start(script());
    let site = site(&double);
    check(&site, &[]).exits(1).says(REMEDY).never_says("would:");
    let double = Double::start(script());
    let site = self::site(&double);
    check(&site, &["--fix"])
        .exits(1)
        .says("cloud lab: would: add keypair ehos (")
        .says("cloud lab: would: make security group ehos\n")
        .says("cloud lab: would: let through security group ehos: in tcp 9618 from the group itself (IPv4)\n")
        .says("--fix: nothing changed; add --yes\n")
        .never_says("in tcp 22");
    assert_eq!(made(&double), 0);
    check(&site, &["--yes"]).exits(2).warns("--fix");
}

#[test]
fn with_a_yes_the_changes_are_made_and_checked_again() {
    let double = Double::start(script());
    let site = site(&double);
    check(&site, &["--fix", "--yes"])
        .exits(0)
        .says("cloud lab: done: add keypair ehos (")
        .says("cloud lab: done: make security group ehos\n")
        .says("FAILED   key")
        .says("ok       key              ehos\n")
        .says("ok       port-9618        open within the group\n");
    // Two rules: SSH is nobody's business here.
    assert_eq!(made(&double), 4);
    check(&site, &["--fix", "--yes"])
        .exits(0)
        .says("--fix: no change that ehos can make would help\n");
    assert_eq!(made(&double), 4);
}

#[test]
fn a_terminal_is_asked_and_its_no_is_a_no() {
    for (answer, code, count) in [
        (&b"n\n"[..], 1, 0),
        (b"\n", 1, 0),
        (b"\x04", 1, 0),
        (b"yes, all of them\n", 1, 0),
        (b"\xff\xfe\n", 1, 0),
        (b"yes\n", 0, 4),
    ] {
        let double = Double::start(script());
        let site = site(&double);
        at_a_terminal(&site, answer).exits(code);
        assert_eq!(made(&double), count, "{answer:?}");
    }
}

#[test]
fn a_program_reads_the_changes_and_is_asked_nothing() {
    let double = Double::start(script());
    let site = site(&double);
    let plain = check(&site, &["-o", "json"]).exits(1).json();
    assert!(plain.get("fixes").is_none());
    let double = Double::start(script());
    let site = self::site(&double);
    let shown = check(&site, &["--fix", "-o", "json"]).exits(1).json();
    let results = |report: &Value| -> Vec<Value> {
        let fixes = report["fixes"].as_array().unwrap().iter();
        fixes.map(|fix| fix["result"].clone()).collect()
    };
    assert_eq!(
        results(&shown),
        [
            json!("planned"),
            json!("planned"),
            json!("planned"),
            json!("planned")
        ]
    );
    assert_eq!(shown["fixes"][0]["area"], "cloud lab");
    assert_eq!(made(&double), 0);
    let double = Double::start(script());
    let site = self::site(&double);
    let done = check(&site, &["--fix", "--yes", "-o", "json"])
        .exits(0)
        .json();
    assert!(
        results(&done).iter().all(|result| result == "done"),
        "{done}"
    );
    assert_eq!(done["exit"], 0);
}

#[test]
fn names_that_the_configuration_lacks_are_written_down() {
    let double = Double::start(script());
    let site = site(&double);
    let text = fs::read_to_string(site.config()).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().starts_with("key:"))
        .collect();
    site.write("ehos.yaml", &lines.join("\n"));
    check(&site, &["--fix"]).says("cloud lab: would: name ehos in 40-cloud.yaml\n");
    let double = Double::start(script());
    let lab = lines.join("\n");
    site.write("ehos.yaml", &lab);
    let site = site.over(&format!(
        "clouds: {{lab: {{auth_url: '{}'}}}}\n",
        double.url()
    ));
    check(&site, &["--fix", "--yes"]).says("configuration: done: write the names to ");
    let written = fs::read_to_string(site.path().join("ehos.d/40-cloud.yaml")).unwrap();
    assert!(written.contains("key: ehos\n"), "{written}");
    assert!(!written.contains("security_groups"), "{written}");
}

#[test]
fn a_change_that_the_cloud_refuses_is_told_and_the_others_are_made() {
    let refused =
        r#"{"forbidden": {"code": 403, "message": "Quota exceeded, too many key pairs."}}"#;
    let mut lines = vec![
        always("GET", KEYS, no_keys()),
        always("POST", KEYS, Reply::status(403, refused)),
    ];
    lines.extend(script());
    let double = Double::start(lines);
    let site = site(&double);
    site.write("secret", "x");
    let file = site.path().join("ehos.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    check(&site, &["--fix", "--yes"])
        .exits(1)
        .says("configuration: done: chmod o-rwx ")
        .says("cloud lab: failed: add keypair ehos (")
        .says("too many key pairs")
        .says("cloud lab: not done: make security group ehos\n");
    assert_eq!(mode(&file), 0o640);
}

#[test]
fn a_missing_server_group_is_made() {
    let mut lines = Vec::new();
    // A check looks twice, for the group and for its quota.
    for _ in 0..4 {
        let none = Reply::status(200, r#"{"server_groups": []}"#);
        lines.push(once("GET", SERVER_GROUPS, none));
    }
    lines.push(always(
        "GET",
        SERVER_GROUPS,
        Reply::fixture("nova-server-groups"),
    ));
    lines.push(always(
        "POST",
        SERVER_GROUPS,
        Reply::fixture("nova-server-group-create"),
    ));
    lines.push(always("GET", KEYS, key()));
    lines.push(always("GET", GROUPS, group()));
    let double = Double::start(check::script(lines));
    let site = site(&double).over("ehos: {server_group: nodes}\n");
    check(&site, &["--fix", "--yes"])
        .says("cloud lab: done: make server group nodes (soft-anti-affinity)\n");
    assert_eq!(made(&double), 1);
    // An id names a group that somebody else deletes.
    let site = site.over("ehos: {server_group: 69bb5a8d-15f0-4b2f-bf33-61027181cd66}\n");
    double.play(check::script(vec![
        always(
            "GET",
            SERVER_GROUPS,
            Reply::status(200, r#"{"server_groups": []}"#),
        ),
        always("GET", KEYS, key()),
        always("GET", GROUPS, group()),
    ]));
    check(&site, &["--fix", "--yes"])
        .exits(1)
        .says("--fix: no change that ehos can make would help\n");
}

#[test]
fn files_of_the_state_directory_are_given_to_its_owner() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    let site = Site::simulated();
    let state = site.state();
    fs::create_dir_all(state.join("history")).unwrap();
    for file in ["state.json", "tick.lock", "history/2026-11-29.jsonl"] {
        site.write(&format!("state/{file}"), "");
    }
    fs::hard_link(site.config(), state.join("hard")).unwrap();
    std::os::unix::fs::chown(&state, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).unwrap();
    check(&site, &["--fix", "--yes"])
        .exits(1)
        .says("done: chmod u+rwx ");
    check(&site, &["--fix", "--yes"])
        .exits(1)
        .says("done: chown nobody:65534 ")
        .says("history/2026-11-29.jsonl")
        .says("/state/hard: neither a directory nor a file of one name; remove it");
    fs::remove_file(state.join("hard")).unwrap();
    check(&site, &["--fix", "--yes"]).exits(0).says("no change");
    let owner = |file: &str| fs::metadata(state.join(file)).unwrap().uid();
    for file in [
        "state.json",
        "tick.lock",
        "history",
        "history/2026-11-29.jsonl",
    ] {
        assert_eq!(owner(file), 65534, "{file}");
    }
    assert_eq!(fs::metadata(site.config()).unwrap().uid(), 0);
}
