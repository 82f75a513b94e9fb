//! Secrets are seen nowhere: not in what ehos says at its loudest, not in its state, not in what others can see of
//! its children. Each run of the harness is looked at for the secrets of the site; here are the cases that invite it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::double::{Double, Reply, always, once};
use crate::harness::cloud::{self, CREATE, LOGIN};
use crate::harness::{CREDENTIAL_SECRET, JOIN_TOKEN, PASSWORD, SIGNING_KEY, Site, TOKEN};

/// What can be recognised of user data: the head of its base64, and of its text.
fn user_data(double: &Double) -> String {
    let create = double.wait_for("POST", CREATE);
    let encoded = create.json()["server"]["user_data"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(encoded.len() > 1000);
    encoded
}

#[test]
fn the_loudest_tick_tells_none() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(2);
    let runs = [
        site.tick(&["-n", "-vvv"]),
        site.tick(&["-vvv"]),
        site.tick(&["-vvv", "-o", "json"]),
    ];
    let encoded = user_data(&double);
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD
        .decode(&encoded)
        .unwrap();
    assert!(
        String::from_utf8(text).unwrap().contains(JOIN_TOKEN),
        "the node gets it"
    );
    for run in &runs {
        run.exits(0)
            .warns("debug: cloud lab: GET /v2.1/limits: 200 in ");
        for part in [
            &encoded[..60],
            "#cloud-config",
            "X-Auth-Token",
            "X-Subject-Token",
        ] {
            run.never_says(part);
        }
    }
    // The token of the cloud is on disk for this user alone, and nowhere else.
    for (path, (content, _)) in site.state_files().unwrap() {
        let content = String::from_utf8(content).unwrap();
        let cache = path.ends_with("token-lab.json");
        assert_eq!(content.contains(TOKEN), cache, "{}", path.display());
        for secret in [PASSWORD, JOIN_TOKEN, &encoded[..60]] {
            assert!(!content.contains(secret), "{}", path.display());
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
        assert!(!cache || mode == 0, "{} {mode:o}", path.display());
    }
}

/// A site with an application credential and a key of its own that signs tokens, each in a file.
fn keyed(url: &str) -> Site {
    let site = Site::with_cloud(url);
    let by_password = cloud::access("lab", url);
    let by_credential = format!(
        "  lab:\n    auth_url: {url}\n    application_credential_id: 0123456789abcdef0123456789abcdef\n    \
         application_credential_secret_file: secret\n"
    );
    let config = fs::read_to_string(site.config()).unwrap();
    assert!(config.contains(&by_password));
    site.write("ehos.yaml", &config.replace(&by_password, &by_credential));
    site.write("secret", CREDENTIAL_SECRET);
    site.write("keys/EHOS", SIGNING_KEY);
    let keys = site.path().join("keys");
    site.over(&format!(
        "condor: {{token_key: EHOS, token_key_directory: {}}}\n",
        keys.display()
    ))
}

#[test]
fn neither_an_application_credential_nor_a_signing_key_is_shown() {
    let double = Double::start(cloud::script(vec![]));
    let site = keyed(double.url()).waiting(1).script(
        "condor_token_create",
        "any",
        // What it was told besides its arguments is not for others either.
        &format!(
            "case $_CONDOR_SEC_PASSWORD_DIRECTORY in */keys) echo {JOIN_TOKEN};; *) exit 3;; esac"
        ),
    );
    for more in [&["-n", "-vvv"][..], &["-vvv", "-o", "json"]] {
        site.tick(more).exits(0);
    }
    let create = double.wait_for("POST", CREATE);
    assert!(
        double
            .wait_for("POST", LOGIN)
            .json()
            .to_string()
            .contains(CREDENTIAL_SECRET)
    );
    assert!(create.json()["server"]["metadata"]["ehos_token_lifetime"] == "7776000");
    assert!(site.calls().contains(
        "condor_token_create -identity execute@testbed -lifetime 7776000 -key EHOS -authz "
    ));
    // A tool that shows what it has read.
    let site = site.script(
        "condor_token_create",
        "any",
        &format!("echo 'TOKEN:1:Failed to read file securely.' >&2; echo {JOIN_TOKEN}; exit 2"),
    );
    site.waiting(9)
        .tick(&["-vvv"])
        .exits(1)
        .says("Failed to read file securely");
    // Each look at the configuration.
    let site = keyed(double.url());
    let config = site.config();
    let config = config.to_str().unwrap();
    for args in [
        &["config", "show", "--config", config][..],
        &["config", "show", "-o", "json", "--config", config],
        &["config", "check", "--config", config],
        &["check", "--config", config],
        &["check", "-o", "json", "--config", config],
    ] {
        let run = site.run(args);
        assert!(run.stdout.len() > 20, "{args:?}: {run}");
    }
}

#[test]
fn services_that_repeat_what_they_were_sent() {
    let said = format!("'{PASSWORD}' is not of type 'object'");
    let keystone = Reply::status(400, &json!({"error": {"message": said}}).to_string());
    let double = Double::start(vec![always("POST", LOGIN, keystone)]);
    Site::with_cloud(double.url())
        .tick(&["-vvv"])
        .exits(75)
        .says("Keystone does not understand user, project or domain");

    // Nova repeats the user data: the next create is answered with that of the first.
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    site.tick(&[]).exits(0);
    let encoded = user_data(&double);
    let said = format!("Invalid input for field/attribute user_data. Value: {encoded}.");
    let nova = Reply::status(
        400,
        &json!({"badRequest": {"code": 400, "message": said}}).to_string(),
    );
    double.play(cloud::script(vec![once("POST", CREATE, nova)]));
    let site = site.waiting(5);
    site.tick(&["-vvv"])
        .exits(1)
        .says("status 400: Invalid input for field/attribute user_data")
        .never_says(&encoded[..40]);
}

#[test]
fn a_token_that_is_none_is_not_shown() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1).answers(
        "condor_token_create",
        "any",
        &format!("out|{JOIN_TOKEN} and more\nexit=0\n"),
    );
    site.tick(&["-vvv"]).exits(1).says(
        "condor_token_create: cannot read the answer about execute@testbed: it is not a token",
    );
    assert_eq!(double.count("POST", CREATE), 0);
}

#[test]
fn a_wrong_configuration_does_not_quote_them() {
    let site = Site::with_cloud("http://127.0.0.1:1").over(&format!(
        "condor: {{token: [{JOIN_TOKEN}]}}\nclouds: {{lab: {{password: {{x: {PASSWORD}}}}}}}\n"
    ));
    site.tick(&["-vvv"]).exits(78).warns("01.yaml:");
    let site = Site::with_cloud("http://127.0.0.1:1").over("condor: {token_file: join}\n");
    site.write("join", &format!("{JOIN_TOKEN}\n{PASSWORD}\n"));
    site.tick(&["-vvv"]).exits(78).warns("condor.token_file: ");
}

#[test]
fn a_damaged_token_cache_is_not_quoted() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url());
    site.tick(&[]).exits(0);
    let cache = site.state().join("token-lab.json");
    let text = fs::read_to_string(&cache).unwrap();
    fs::write(&cache, &text[..text.len() - 1]).unwrap();
    site.tick(&["-vvv"])
        .exits(0)
        .warns("token-lab.json: damaged at line 1");
    assert_eq!(double.count("POST", LOGIN), 2);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o644)).unwrap();
    site.tick(&["-vvv"])
        .exits(0)
        .warns("token-lab.json: others may read or write it; not used");
}
