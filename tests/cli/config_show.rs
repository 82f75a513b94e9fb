//! `ehos config show`: what is configured and where, and never a secret.

use serde_json::{Value, json};

use crate::harness::{JOIN_TOKEN, PASSWORD, POOL_PASSWORD, Run, Site};

const NOWHERE: &str = "http://127.0.0.1:1";

fn show(site: &Site, more: &[&str]) -> Run {
    let config = site.config();
    let mut args = vec!["config", "show", "--config", config.to_str().unwrap()];
    args.extend(more);
    site.run(&args)
}

fn source<'v>(settings: &'v Value, key: &str) -> &'v Value {
    let all = settings.as_array().unwrap();
    let found: Vec<&Value> = all.iter().filter(|one| one["key"] == key).collect();
    assert_eq!(found.len(), 1, "{key} in {settings:#}");
    found[0]
}

#[test]
fn each_value_is_told_with_the_place_that_counts() {
    let site = Site::with_cloud(NOWHERE)
        .over("daemon:\n  nodes_max: 7\n  nodes_min: 1\nehos: {flavor: m2}\n")
        .over("# over it\ndaemon: {nodes_max: 8}\n");
    let run = show(&site, &["-o", "json"]);
    let settings = run.exits(0).warns_nothing().json();
    let file = |name: &str| site.path().join(name).display().to_string();
    let nodes_max = source(&settings, "daemon.nodes_max");
    let expected = json!({
        "key": "daemon.nodes_max", "value": "8", "source": {"file": file("ehos.d/02.yaml"), "line": 2},
    });
    assert_eq!(*nodes_max, expected);
    assert_eq!(source(&settings, "daemon.nodes_min")["value"], "1");
    // `flavors` of the main file is the same key.
    assert_eq!(source(&settings, "ehos.flavor")["value"], "m2");
    let keys: Vec<&str> = settings
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["key"].as_str().unwrap())
        .collect();
    assert!(!keys.contains(&"ehos.flavors"), "{keys:?}");
    let idle = source(&settings, "daemon.idle_timeout");
    assert_eq!(
        (&idle["value"], &idle["source"]),
        (&json!("5m"), &json!({"default": true}))
    );
    assert_eq!(source(&settings, "clouds.lab.password")["value"], "***");

    let run = show(&site, &[]);
    run.exits(0)
        .says("clouds.lab.auth_url")
        .says("ehos.d/02.yaml:2\n");
    // One line each, whatever it says: grep finds it.
    let lines = run.stdout.lines();
    assert!(lines.clone().all(|line| line.contains('.')), "{run}");
    assert!(lines.count() > 20, "{run}");
}

/// Every key that holds a secret, wherever it can stand.
#[test]
fn no_secret_is_shown() {
    let secrets = format!(
        "condor: {{password: {POOL_PASSWORD}, token: {JOIN_TOKEN}}}\nclouds:\n  lab:\n    auth: {{password: {PASSWORD}, \
         application_credential_secret: {PASSWORD}}}\n    application_credential_secret: {PASSWORD}\n  entry: {{cloud: \
         entry}}\n"
    );
    let entry =
        format!("clouds: {{entry: {{auth: {{username: visible, password: {PASSWORD}}}}}}}\n");
    let site = Site::with_cloud(NOWHERE)
        .over(&secrets)
        .set("OS_CLIENT_CONFIG_FILE", "clouds.yaml");
    site.write("clouds.yaml", &entry);
    for args in [&[][..], &["-o", "json"]] {
        let run = show(&site, args);
        run.says("visible").says("condor.token");
        assert_eq!(run.stdout.matches("***").count(), 5, "{run}");
    }
    // Nor when it is of the wrong kind, at a key that is none, or in a file that is no YAML.
    for wrong in [
        format!("condor: {{token: [{JOIN_TOKEN}]}}\n"),
        format!("condor: {{pasword: {POOL_PASSWORD}}}\n"),
        format!("clouds: {{lab: {{password: [{PASSWORD}\n"),
    ] {
        let site = Site::with_cloud(NOWHERE).over(&wrong);
        show(&site, &[]).exits(78).says("clouds.lab.auth_url");
    }
}

#[test]
fn clouds_yaml_and_variables_are_sources_of_their_own() {
    let site = Site::with_cloud(NOWHERE)
        .over("clouds:\n  far:\n    cloud: entry\n    region_name: mine\n")
        .set("OS_CLIENT_CONFIG_FILE", "clouds.yaml");
    site.write(
        "clouds.yaml",
        "clouds:\n  entry:\n    region_name: theirs\n    auth:\n      username: them\n",
    );
    let settings = show(&site, &["-o", "json"]).exits(78).json();
    let user = source(&settings, "clouds.far.auth.username");
    let file = site.path().join("clouds.yaml").display().to_string();
    assert_eq!(user["source"], json!({"file": file, "line": 5}));
    let region = source(&settings, "clouds.far.region_name");
    assert_eq!(region["value"], "mine");

    let site = Site::with_cloud(NOWHERE)
        .set("OS_AUTH_URL", "https://a")
        .set("OS_PASSWORD", PASSWORD);
    site.write("ehos.yaml", "ehos: {cluster: p}\n");
    let settings = show(&site, &["-o", "json"]).exits(78).json();
    let url = source(&settings, "clouds.envvars.auth_url");
    assert_eq!(url["source"], json!({"variable": "OS_AUTH_URL"}));
    assert_eq!(source(&settings, "clouds.envvars.password")["value"], "***");
}

#[test]
fn what_is_wrong_is_told_after_what_can_be_read() {
    let site = Site::with_cloud(NOWHERE).over("daemon: {nodes_mx: 3, nodes_spare: many}\n");
    show(&site, &[])
        .exits(78)
        .says("clouds.lab.auth_url")
        .says("(not usable)")
        .warns("daemon.nodes_mx: there is no such key")
        .warns("daemon.nodes_spare: `many` is not a number of at least 0");
    std::fs::remove_file(site.config()).unwrap();
    show(&site, &["-o", "json"])
        .exits(78)
        .warns("cannot be read");
}

#[test]
fn a_password_in_an_address_is_refused_and_not_shown() {
    for url in [
        "https://ehos:hunter2@cloud.example.org:5000/v3",
        "ehos:hunter2@cloud.example.org",
    ] {
        let site =
            Site::with_cloud(NOWHERE).over(&format!("clouds: {{lab: {{auth_url: '{url}'}}}}\n"));
        let config = site.config();
        for command in [
            &["config", "show"][..],
            &["config", "show", "-o", "json"],
            &["config", "check"],
            &["check"],
            &["tick", "--dry-run"],
        ] {
            let run = site.run(&[command, &["--config", config.to_str().unwrap()]].concat());
            run.exits(78);
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(!all.contains("hunter2"), "{run}");
            assert!(
                all.contains("`auth_url` has a user or a password in it"),
                "{run}"
            );
        }
    }
}

#[test]
fn the_schema_for_editors_is_printed_without_a_configuration() {
    let site = Site::with_cloud(NOWHERE);
    std::fs::remove_file(site.config()).unwrap();
    let run = site.run(&["config", "schema"]);
    let printed = run.exits(0).warns_nothing().json();
    let kept = include_str!("../../configs/ehos.schema.json");
    assert_eq!(printed, serde_json::from_str::<Value>(kept).unwrap());
}
