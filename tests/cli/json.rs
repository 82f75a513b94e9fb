//! `-o json`: for programs, so its fields are documented and stay.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::double::{Double, Reply, always};
use crate::harness::cloud::{self, CREATE, LOGIN};
use crate::harness::{Site, condor, repository};

/// The paths of all fields, without positions in lists and without keys that are names.
pub fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = match path {
                    "" => key.clone(),
                    path if path.ends_with("source_milliseconds") => continue,
                    path => format!("{path}.{key}"),
                };
                found.insert(path.clone());
                fields(inner, &path, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| fields(inner, path, found)),
        _ => {}
    }
}

/// Reports with as much in them as there can be.
fn reports() -> Vec<Value> {
    let double = Double::start(cloud::script(vec![always(
        "POST",
        CREATE,
        Reply::fixture("server-create-quota-instances"),
    )]));
    let site = Site::with_cloud(double.url()).waiting(2);
    let mut reports = vec![
        site.tick(&["-n", "-o", "json"]).exits(0).json(),
        site.tick(&["-o", "json"]).exits(1).json(),
        site.tick(&["-o", "json"]).exits(0).json(),
    ];
    let floating_ip = r#"{"floatingips": [{"id": "f-1", "floating_ip_address": "192.0.2.1", "port_id": null,
        "floating_network_id": "n", "description": "ehos pool-1 master"}]}"#;
    double.play(cloud::script(vec![
        crate::builders::listed_at("18:00:00"),
        always("GET", "/v2.0/floatingips", Reply::status(200, floating_ip)),
    ]));
    reports.push(site.tick(&["-o", "json"]).exits(0).json());
    let mut forged = cloud::server("aaaaaaaa-0000-4000-8000-000000000001", "n-1", "ACTIVE");
    forged["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ehos_proof");
    double.play(cloud::script(vec![cloud::list(&[forged])]));
    reports.push(site.tick(&["-o", "json"]).exits(0).json());
    reports.push(crate::floating_ips::report());
    reports.push(crate::economy::report());
    double.play(vec![]);
    let site = site.answers(
        "condor_status",
        "any",
        "err|Error: communication error\nexit=1\n",
    );
    reports.push(site.tick(&["-o", "json"]).exits(75).json());
    let site = Site::simulated();
    reports.extend((0..12).map(|_| site.tick(&["-o", "json"]).exits(0).json()));
    reports.extend(crate::check::reports());
    reports.extend(crate::cloud_setup::reports());
    reports.extend(crate::retire::reports());
    let (tick, resumed) = crate::resume::report();
    reports.extend([tick, resumed]);
    reports.extend(crate::maintenance::reports());
    reports
}

fn page() -> String {
    std::fs::read_to_string(repository().join("docs/json.md")).unwrap()
}

/// The names in the tables of a page.
fn names(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| "))
        .flat_map(|row| row.split(" | ").next().unwrap_or_default().split(", "))
        .filter_map(|name| name.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect()
}

/// The fields that docs/json.md names in the section of this command.
pub fn documented(command: &str) -> BTreeSet<String> {
    let page = page();
    let (_, section) = page.split_once(&format!("# {command} in JSON\n")).unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    names(section).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_field_is_documented() {
    let mut found = BTreeSet::new();
    for report in reports() {
        fields(&report, "", &mut found);
    }
    let page = page();
    let documented = names(&page);
    // The numbers of a reason, a limit or a brake have one meaning each, wherever they are.
    let number = |field: &str| {
        let (place, name) = field.rsplit_once('.').unwrap_or(("", field));
        let places = [
            "nodes",
            "builders",
            "leftovers",
            "floating_ips",
            "job_groups.reasons",
            "brakes",
        ];
        let place = places.iter().any(|of| place.starts_with(of));
        place && documented.contains(name)
    };
    let missing: Vec<_> = found
        .iter()
        // It is the same record.
        .map(|field| field.strip_prefix("second_pass.").unwrap_or(field))
        // Names of users are no fields.
        .filter(|field| !field.starts_with("nodes.startd.owners."))
        .filter(|field| !documented.contains(*field) && !number(field))
        .collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
    for needed in [
        "actions.message",
        "brakes.brake",
        "builders.lifetime_seconds",
        "floating_ips.reason",
        "job_groups.reasons.limit",
        "leftovers.seconds",
        "unknown_sources.cause",
    ] {
        assert!(found.contains(needed), "{needed} in {found:?}");
    }
}

#[test]
fn a_node_is_itself_whatever_its_startd_says() {
    let id = "aaaaaaaa-0000-4000-8000-000000000001";
    let server = cloud::server(id, "n-1", "ACTIVE");
    let double = Double::start(cloud::script(vec![cloud::list(&[server])]));
    let slot = condor::slot("n1", id, "n-other", 900) + "exit=0\n";
    let site = Site::with_cloud(double.url()).answers("condor_status", "any", &slot);
    let report = site.tick(&["-o", "json"]).exits(0).json();
    let node = &report["nodes"][0];
    assert_eq!(node["reason"], "contradiction");
    assert_eq!(node["decision"], "keep");
    assert_eq!(node["node"], "n-1");
    assert_eq!(node["says_node"], "n-other");
    assert_eq!(node["says_instance_id"], id);
    site.tick(&[])
        .exits(0)
        .says("identity mismatch: its startd advertises server ");
}

#[test]
fn text_and_json_tell_of_the_same_plan() {
    let text = Site::simulated();
    let json = Site::simulated();
    for _ in 0..12 {
        let said = text.tick(&[]);
        let report = json.tick(&["-o", "json"]).json();
        for node in report["nodes"].as_array().unwrap() {
            let name = node["name"].as_str().unwrap();
            let decision = node["decision"].as_str().unwrap();
            let line = said.stdout.lines().find(|line| line.contains(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in {said}"));
            let line = line.trim_start_matches("node").trim_start();
            assert!(line.starts_with(decision), "{line} is not {decision}");
        }
        for group in report["job_groups"].as_array().unwrap() {
            let cpus = &group["request"]["cpus"];
            let line = format!("{} × {cpus} CPU", group["jobs"]);
            said.says(&line);
        }
    }
}

#[test]
fn the_exit_code_is_in_it() {
    let double = Double::start(vec![always(
        "POST",
        LOGIN,
        Reply::fixture("token-password-wrong"),
    )]);
    let site = Site::with_cloud(double.url());
    let report = site.tick(&["-o", "json"]).exits(75).json();
    assert_eq!(report["exit"], 75);
    assert_eq!(report["unknown_sources"][0]["source"], "cloud lab");
    assert_eq!(report["dry_run"], false);
    assert_eq!(report["version"], 2);
}

#[test]
fn every_answer_of_the_frontend_is_documented() {
    for (section, mut answer) in crate::frontend::answers() {
        // What is called as a phase, or as a cloud, stands for all of them.
        for (list, name) in [("nodes", "PHASE"), ("clouds", "NAME")] {
            if let Some(one) = answer[list].as_object().and_then(|all| all.values().next()) {
                answer[list] = serde_json::json!({ name: one });
            }
        }
        if section.ends_with("page") {
            answer["tick"] = Value::Null;
            // This site has none.
            answer["view"]["limits"] = serde_json::json!([{"name": "", "jobs": 0, "text": ""}]);
        }
        if section.ends_with("NAME") {
            answer["node"] = Value::Null;
        }
        let page = page();
        let (_, text) = page.split_once(&format!("# {section}\n")).unwrap();
        let documented = names(text.split("\n## ").next().unwrap());
        let mut found = BTreeSet::new();
        fields(&answer, "", &mut found);
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, documented, "{section}");
    }
}
