//! What one odd thing in a configuration does: it is named by its place, and the rest counts.

use super::tests::{PASSWORD, REST, TEMPLATE, cloud, environment, world};
use super::*;
use openstack::{AuthMethod, NameOrId};

/// The configuration with this text, with `shown` for its notes.
fn read_text(text: &str) -> Result<Config, String> {
    let folder = world(&[("etc/ehos/ehos.yaml", text), TEMPLATE]);
    load(&[], &environment(folder.path(), &[])).map_err(|error| error.to_string())
}

/// Its only note, from the place on.
fn note(text: &str) -> String {
    let config = read_text(text).unwrap();
    assert_eq!(config.notes.len(), 1, "{:?}", config.notes);
    let note = config.notes[0].to_string();
    let start = note.find("ehos.yaml:").unwrap();
    note[start..].to_owned()
}

#[test]
fn what_is_of_no_use_is_noted_and_the_rest_counts() {
    let of_cloud = |more: &str| cloud(&format!("{PASSWORD}, {more}"));
    let of_all = |more: &str| cloud(PASSWORD).replace("flavor: f", &format!("flavor: f, {more}"));
    let beside = |section: &str| format!("{}{section}\n", cloud(PASSWORD));
    for (text, said) in [
        (
            of_cloud("prices: {gone: 1}"),
            "3:121: clouds.one.prices.gone: not a flavor of new nodes, this price counts only for nodes that still run; \
             the flavors are: f",
        ),
        (
            of_cloud("gpus: {gone: 1}"),
            "clouds.one.gpus.gone: not a flavor of new nodes; these are: f",
        ),
        (
            of_all("prices: {gone: 1, f: 2}"),
            "ehos.prices.gone: no cloud has it as a flavor of new nodes: this price counts only for nodes that still run",
        ),
        (
            of_all("gpus: {gone: 1}"),
            "ehos.gpus.gone: not used: no cloud has it as a flavor of new nodes",
        ),
        (
            of_cloud("boot_volume_type: ssd"),
            "clouds.one.boot_volume_type: not used: nodes boot from the disk of their flavor; set \
             boot_volume_size to boot them from a volume",
        ),
        (
            beside("daemon: {schedules: [{days: sun}]}"),
            "daemon.schedules.1: changes nothing: it has none of nodes_min, nodes_max, nodes_spare, \
             idle_timeout",
        ),
        (
            beside("daemon: {schedules: [{nodes_max: 3}, {days: sun, nodes_max: 4}]}"),
            "daemon.schedules.2: is never active: window 1 is always active, and the first active one counts",
        ),
        (
            beside("daemon: {max_lifetime_kill: 1h}"),
            "daemon.max_lifetime_kill: not used: there is no max_lifetime, so no node expires",
        ),
        (
            beside("daemon: {max_lifetime: 2150h}"),
            "daemon.max_lifetime: is longer than condor.token_lifetime minus daemon.token_renew_before, 1992 h: ehos replaces \
             nodes at that age",
        ),
        (
            beside("condor: {token_key_directory: /keys}"),
            "condor.token_key_directory: not used: token_key is missing, so the pool's key signs tokens",
        ),
        (
            beside("daemon: {nodes_max: 0, nodes_min: 2}"),
            "daemon.nodes_min: 2 is more than nodes_max, 0: nodes_max counts",
        ),
        (
            beside("daemon: {nodes_max: 1, nodes_spare: 2}"),
            "daemon.nodes_spare: 2 is more than nodes_max, 1: nodes_max counts",
        ),
        (
            beside("daemon: {schedules: [{nodes_min: 11}]}"),
            "daemon.schedules.1.nodes_min: nodes_min 11 is more than nodes_max 10 in this window: nodes_max counts",
        ),
    ] {
        let note = note(&text);
        assert!(note.ends_with(said), "{note}");
    }
    let policy = read_text(&beside("daemon: {nodes_max: 0, nodes_min: 2}"))
        .unwrap()
        .policy;
    assert_eq!((policy.nodes_min, policy.nodes_max), (0, 0));
    let policy = read_text(&beside("daemon: {schedules: [{nodes_min: 11}]}"))
        .unwrap()
        .policy;
    assert_eq!(policy.schedules[0].nodes_min, Some(10));
    let policy = read_text(&of_cloud("prices: {gone: 1, f: 2}"))
        .unwrap()
        .policy;
    assert!(
        policy.clouds[0].price("gone").is_some(),
        "what runs of it costs"
    );
}

#[test]
fn a_file_that_is_not_read_for_its_name_is_noted() {
    let folder = world(&[
        ("etc/ehos/ehos.yaml", &cloud(PASSWORD)),
        ("etc/ehos/ehos.d/50-site.yml", "daemon: {nodes_max: 1}\n"),
        (
            "etc/ehos/ehos.d/60-site.yaml.bak",
            "daemon: {nodes_max: 1}\n",
        ),
        TEMPLATE,
    ]);
    let config = load(&[], &environment(folder.path(), &[])).unwrap();
    assert_eq!(config.notes.len(), 1, "{:?}", config.notes);
    let said = "ehos.d/50-site.yml: not read; rename it: names of these files end in .yaml";
    assert!(
        config.notes[0].to_string().ends_with(said),
        "{:?}",
        config.notes
    );
}

#[test]
fn a_misspelt_key_stays_an_error() {
    let error = read_text(&format!("{}daemon: {{nodes_mx: 3}}\n", cloud(PASSWORD))).unwrap_err();
    assert!(
        error.ends_with("the nearest known key is `nodes_max`"),
        "{error}"
    );
}

#[test]
fn the_text_may_be_as_an_editor_of_windows_writes_it() {
    let text = format!("\u{feff}{}", cloud(PASSWORD).replace('\n', "\r\n"));
    let config = read_text(&text).unwrap();
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    assert_eq!(config.policy.cluster, "p");

    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let folder = world(&[TEMPLATE]);
    let file = folder.path().join("e.yaml");
    std::fs::write(&file, utf16).unwrap();
    let error = load(&[file], &environment(folder.path(), &[])).unwrap_err();
    assert!(
        error.to_string().contains("e.yaml: is UTF-16, not UTF-8"),
        "{error}"
    );
}

#[test]
fn odd_blanks_tabs_and_several_documents_are_named() {
    for (text, said) in [
        (
            "daemon:\n  nodes_max\u{a0}: 1\n",
            "2:3: daemon.nodes_max\u{a0}: there is no such key: there is a no-break space (U+00A0) in it; put a space in \
             its place",
        ),
        (
            "daemon:\n\tnodes_max: 1\n",
            "; indent this line by spaces, not by a tab",
        ),
        (
            "daemon: {}\n---\nehos: {}\n",
            "has several YAML documents (`---`); keep one (more of ehos.yaml can stand in files of its own in ehos.d)",
        ),
        (
            "daemon:\n  nodes_max: 1\n  nodes_max: 2\n",
            "daemon.nodes_max: this key is given twice",
        ),
    ] {
        let error = read_text(text).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let note = note(&format!(
        "{}# a\n",
        cloud(&format!("{PASSWORD}, key: \u{a0}k"))
    ));
    assert!(
        note.contains("there is a no-break space (U+00A0) here"),
        "{note}"
    );
}

#[test]
fn merge_keys_are_understood_in_every_section() {
    let text = format!(
        "{REST}x-common: &common\n  auth_url: https://a\n  username: u\n  user_domain_name: d\n  project_name: p\n  \
         password: 0123\n  prices: &prices {{f: 1}}\nclouds:\n  one: {{<<: *common}}\n  two:\n    <<: *common\n    \
         project_name: other\n    prices: {{<<: *prices, g: 2}}\n    flavors: [f, g]\n  three: {{<<: [{{password: 1e5}}, *common]}}\n"
    );
    let config = read_text(&text).unwrap();
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    let project = |index: usize| match &config.clouds[index].auth.method {
        AuthMethod::Password {
            project, password, ..
        } => {
            use secrecy::ExposeSecret;
            (project.clone(), password.expose_secret().to_owned())
        }
        other => panic!("{other:?}"),
    };
    let name = |name: &str| NameOrId::Name(name.to_owned());
    assert_eq!(project(0), (name("p"), "0123".to_owned()));
    assert_eq!(project(1), (name("other"), "0123".to_owned()));
    assert_eq!(project(2), (name("p"), "1e5".to_owned()));
    let prices = &config.policy.clouds[1].prices;
    assert_eq!(
        prices.keys().map(String::as_str).collect::<Vec<_>>(),
        ["f", "g"]
    );

    let wrong = text.replace("username: u\n", "usrname: u\n");
    let error = read_text(&wrong).unwrap_err();
    assert!(
        error.contains("4:3: clouds.one.usrname: there is no such key"),
        "{error}"
    );
}
