//! `ehos config init`: access from openrc files, clouds.yaml and variables, and what is found on the cloud.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::double::{Double, Line, Reply, always};
use crate::harness::cloud::{LOGIN, login};
use crate::harness::{PASSWORD, Run, Site};

/// As the dashboard of a cloud hands it out.
fn openrc(url: &str) -> String {
    format!(
        r#"#!/usr/bin/env bash
# To use an OpenStack cloud you need to authenticate against the Identity
# service named keystone, which returns a **Token** and **Service Catalog**.
# *NOTE*: Using the 3 *Identity API* does not necessarily mean any other
# OpenStack API is version 3.
export OS_AUTH_URL={url}/v3
# With the addition of Keystone we have standardized on the term **project**
# as the entity that owns the resources.
export OS_PROJECT_ID=12b4b72ab6f54023985b3759c68da43d
export OS_PROJECT_NAME="my farm"
export OS_USER_DOMAIN_NAME="Default"
if [ -z "$OS_USER_DOMAIN_NAME" ]; then unset OS_USER_DOMAIN_NAME; fi
export OS_PROJECT_DOMAIN_ID="default"
if [ -z "$OS_PROJECT_DOMAIN_ID" ]; then unset OS_PROJECT_DOMAIN_ID; fi
# unset v2.0 items in case set
unset OS_TENANT_ID
unset OS_TENANT_NAME
# In addition to the owning entity (tenant), OpenStack stores the entity
# performing the action as the **user**.
export OS_USERNAME="ehos"
# With Keystone you pass the keystone password.
echo "Please enter your OpenStack Password for project $OS_PROJECT_NAME as user $OS_USERNAME: "
read -sr OS_PASSWORD_INPUT
export OS_PASSWORD=$OS_PASSWORD_INPUT
# If your configuration has multiple regions, we set that information here.
# OS_REGION_NAME is optional and only valid in certain environments.
export OS_REGION_NAME="RegionOne"
# Don't leave a blank variable, unset it if it was empty
if [ -z "$OS_REGION_NAME" ]; then unset OS_REGION_NAME; fi
export OS_INTERFACE=public
export OS_IDENTITY_API_VERSION=3
"#
    )
}

fn image(name: &str, more: Value) -> Value {
    let mut image = json!({
        "id": format!("{name} id"), "name": name, "status": "active", "visibility": "public", "min_disk": 3,
        "min_ram": 0, "size": 123_586_293, "protected": false, "owner": "o", "created_at": "2026-11-01T00:00:00Z",
    });
    image
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    image
}

fn network(name: &str, external: bool, shared: bool) -> Value {
    json!({
        "id": format!("{name} id"), "name": name, "status": "ACTIVE", "router:external": external, "shared": shared,
        "subnets": ["s"],
    })
}

/// A cloud with these images and networks, and with flavors as recorded.
fn script(images: &[Value], networks: &[Value]) -> Vec<Line> {
    let answer = |body: Value| Reply::status(200, &body.to_string());
    let keypair =
        json!({"name": "laptop", "public_key": "ssh-ed25519 AAAA me\n", "fingerprint": "x"});
    let other =
        json!({"name": "office", "public_key": "ssh-ed25519 BBBB me\n", "fingerprint": "y"});
    let keypairs = json!({"keypairs": [{"keypair": other}, {"keypair": keypair}]});
    let groups =
        json!({"security_groups": [{"id": "g", "name": "default", "security_group_rules": []}]});
    vec![
        always("POST", LOGIN, login()),
        always(
            "GET",
            "/v2/images?limit=",
            answer(json!({"images": images})),
        ),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
        always(
            "GET",
            "/v2.0/networks",
            answer(json!({"networks": networks})),
        ),
        always("GET", "/v2.1/os-keypairs", answer(keypairs)),
        always("GET", "/v2.0/security-groups", answer(groups)),
    ]
}

fn usual() -> Vec<Line> {
    script(
        &[
            image("GOLD CentOS 7", json!({})),
            image("Debian 13", json!({})),
            image(
                "Debian 13 of another pool",
                json!({"ehos_cluster": "pool-2"}),
            ),
        ],
        &[
            network("public", true, false),
            network("everybody", false, true),
            network("mine", false, false),
        ],
    )
}

/// A folder where nothing is configured, on a laptop.
fn laptop() -> Site {
    let site = Site::simulated();
    fs::remove_file(site.config()).unwrap();
    site.write("configs/execute.yaml", "#cloud-config\nx: {token}\n");
    site.write(".ssh/id_ed25519.pub", "ssh-ed25519 AAAA me@laptop\n");
    let home = site.path().to_str().unwrap().to_owned();
    site.set("HOME", &home)
}

fn written(site: &Site) -> String {
    fs::read_to_string(site.config()).unwrap()
}

fn mode(site: &Site, name: &str) -> u32 {
    let metadata = fs::metadata(site.path().join(name)).unwrap();
    metadata.permissions().mode() & 0o777
}

fn init(site: &Site, more: &[&str]) -> Run {
    let mut args = vec!["config", "init"];
    args.extend(more);
    site.run(&args)
}

#[test]
fn flavors_without_a_disk_come_with_a_volume_to_boot_from() {
    let mut script = usual();
    let flavors =
        json!({"flavors": [{"id": "1", "name": "m1.medium", "vcpus": 2, "ram": 4096, "disk": 0}]});
    script[2] = always(
        "GET",
        "/v2.1/flavors/detail",
        Reply::status(200, &flavors.to_string()),
    );
    let double = Double::start(script);
    let site = laptop().set("OS_PASSWORD", PASSWORD);
    site.write("farm-openrc.sh", &openrc(double.url()));
    init(&site, &["--openrc", "farm-openrc.sh"])
        .exits(0)
        .says("boot_volume_size 20: flavor m1.medium has no disk");
    let text = written(&site);
    let text: Vec<&str> = text.lines().map(|line| line.trim()).collect();
    let text = text.join("\n").replace("\n# ", " ");
    assert!(
        text.contains("GB of the volume that a node boots from: flavor m1.medium has no disk"),
        "{text}"
    );
    assert!(text.contains("\nboot_volume_size: 20"), "{text}");
}

/// As the tools that install a cloud write it: what is there before is cleared in a loop.
#[test]
fn an_openrc_file_of_kolla_is_read() {
    let double = Double::start(usual());
    let site = laptop();
    let text = format!(
        "# Clear any old environment that may conflict.\n\
         for key in $( set | awk '{{FS=\"=\"}}  /^OS_/ {{print $1}}' ); do unset $key ; done\n\
         export OS_PROJECT_DOMAIN_NAME='Default'\nexport OS_USER_DOMAIN_NAME='Default'\nexport OS_PROJECT_NAME='farm'\n\
         export OS_TENANT_NAME='farm'\nexport OS_USERNAME='ehos'\nexport OS_PASSWORD='{PASSWORD}'\n\
         export OS_AUTH_URL='{}/v3'\nexport OS_INTERFACE='public'\nexport OS_ENDPOINT_TYPE='publicURL'\n\
         export OS_IDENTITY_API_VERSION='3'\nexport OS_REGION_NAME='RegionOne'\nexport OS_AUTH_PLUGIN='password'\n",
        double.url()
    );
    site.write("admin-openrc.sh", &text);
    init(&site, &["--openrc", "admin-openrc.sh"])
        .exits(0)
        .says("network          mine: ");
}

#[test]
fn an_openrc_file_becomes_a_configuration_that_is_valid() {
    let double = Double::start(usual());
    let site = laptop().set("OS_PASSWORD", PASSWORD);
    site.write("farm-openrc.sh", &openrc(double.url()));
    init(&site, &["--openrc", "farm-openrc.sh"])
        .exits(0)
        .warns_nothing()
        .says("base_image       Debian 13: ")
        .says("flavor           m1.medium: 2 cores, 4096 MB, 40 GB of disk")
        .says("others: m1.large, m1.xlarge")
        .says("network          mine: the project's own; others: everybody")
        .says("key              laptop: ")
        .says("security_groups  -: `ehos cloud setup` creates the group `ehos`")
        .says("  ehos master deploy --config ehos.yaml");
    let text = written(&site);
    for line in [
        "  my-farm:\n",
        "    username: ehos\n",
        "    project_id: 12b4b72ab6f54023985b3759c68da43d\n",
        "    password_file: my-farm.password\n",
        "    region_name: RegionOne\n",
        "    base_image: Debian 13\n",
        "    flavor: m1.medium\n",
        "    network: mine\n",
        "    key: laptop\n",
        "    # security_groups: [ehos]\n",
        "  cluster: pool-",
        "openstack application credential create",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    let secret = fs::read_to_string(site.path().join("my-farm.password")).unwrap();
    assert_eq!(secret, format!("{PASSWORD}\n"));
    assert_eq!(mode(&site, "my-farm.password"), 0o600);

    site.run(&["config", "check", "--config", "ehos.yaml"])
        .exits(0)
        .says("the configuration is valid: cloud my-farm");
    // Nothing is written over.
    init(&site, &["--openrc", "farm-openrc.sh"])
        .exits(1)
        .warns("ehos.yaml: exists, and is not overwritten");
    assert_eq!(written(&site), text);
}

#[test]
fn an_openrc_file_without_a_password_asks_for_one() {
    let double = Double::start(usual());
    let site = laptop();
    site.write("rc", &openrc(double.url()));
    init(&site, &["--openrc", "rc"])
        .exits(1)
        .warns("no password of the user ehos in ")
        .warns("give it in $OS_PASSWORD");
    assert_eq!(double.count("POST", LOGIN), 0);
    site.write("rc", "echo hello\n");
    init(&site, &["--openrc", "rc"])
        .exits(78)
        .warns("rc: is not an openrc file: it sets no OS_AUTH_URL");
    site.write("rc", "export OS_AUTH_URL=$(pass url)\n");
    init(&site, &["--openrc", "rc"])
        .exits(78)
        .warns("rc:1:1: OS_AUTH_URL: only a shell can compute its value");
    assert!(!site.config().exists());
}

#[test]
fn an_entry_of_clouds_yaml_is_copied_with_its_secret_in_a_file() {
    let double = Double::start(usual());
    let site = laptop();
    let entry = format!(
        "clouds:\n  other: {{}}\n  lab:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: {}\n      \
         application_credential_id: abc\n      application_credential_secret: {PASSWORD}\n",
        double.url()
    );
    site.write(".config/openstack/clouds.yaml", &entry);
    init(&site, &[])
        .exits(1)
        .warns("clouds.yaml has several entries: choose one with --os-cloud NAME: other, lab");
    init(&site, &["--os-cloud", "lap"])
        .exits(78)
        .warns("there is no cloud `lap` in it; expected one of other, lab");
    init(&site, &["--os-cloud", "other"])
        .exits(78)
        .warns("clouds.yaml:2:3: clouds.other: `auth_url` is missing");
    init(&site, &["--os-cloud", "lab", "--name", "one"])
        .exits(0)
        .says("the entry `lab` of clouds.yaml");
    let text = written(&site);
    assert!(text.contains("  one:\n") && text.contains("application_credential_id: abc\n"));
    assert!(text.contains("    application_credential_secret_file: one.secret\n"));
    assert!(!text.contains("password"), "{text}");
    assert_eq!(mode(&site, "one.secret"), 0o600);
    // It does not depend on clouds.yaml any more.
    fs::remove_dir_all(site.path().join(".config")).unwrap();
    let check = ["config", "check", "--config", "ehos.yaml"];
    site.run(&check).exits(0).says("valid: cloud one");
}

#[test]
fn a_secret_that_is_there_already_is_never_overwritten() {
    let double = Double::start(usual());
    let site = laptop()
        .set("OS_AUTH_URL", double.url())
        .set("OS_USERNAME", "ehos")
        .set("OS_PASSWORD", PASSWORD)
        .set("OS_PROJECT_NAME", "ehos")
        .set("OS_USER_DOMAIN_NAME", "Default");
    site.write("ehos.password", "another\n");
    init(&site, &[])
        .exits(1)
        .warns("ehos.password: exists with another secret");
    assert!(!site.config().exists());
    site.write("ehos.password", PASSWORD);
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(site.path().join("ehos.password"), readable).unwrap();
    init(&site, &[])
        .exits(0)
        .says("the OS_* variables")
        .says("unchanged; every user of this machine can read it: run chmod 600");
    // To look at it: nothing is written, and the secret not shown.
    init(&site, &["-o", "-", "--name", "shown"])
        .exits(0)
        .says("    password_file: shown.password\n")
        .warns("the secret is not printed");
    assert!(!site.path().join("shown.password").exists());
}

#[test]
fn what_is_not_found_is_left_to_be_filled_in() {
    let double = Double::start(script(
        &[image("GOLD CentOS 7", json!({}))],
        &[network("public", true, false)],
    ));
    let site = laptop().set("OS_PASSWORD", PASSWORD);
    site.write("rc", &openrc(double.url()));
    init(&site, &["--openrc", "rc", "--min-cores", "999"])
        .exits(1)
        .says("base_image       -: the cloud has no image of Debian 12 or 13")
        .says("flavor           -: no flavor has 999 cores")
        .says("network          -: there is no network that servers can be in")
        .says("replace the placeholders in < > first");
    site.run(&["config", "check", "--config", "ehos.yaml"])
        .exits(78)
        .warns("base_image: is still a placeholder")
        .warns("flavor: is still a placeholder")
        .warns("network: is still a placeholder");

    // A service that does not answer is no reason to begin anew.
    let broken = always("GET", "/v2.0/networks", Reply::status(503, "busy"));
    double.play([broken].into_iter().chain(usual()).collect());
    init(&site, &["--openrc", "rc", "-o", "other.yaml"])
        .exits(1)
        .says("network          -: cloud my-farm: GET /v2.0/networks: ")
        .says("base_image       Debian 13: ");
}

#[test]
fn access_that_is_refused_writes_nothing() {
    let wrong = always("POST", LOGIN, Reply::fixture("token-password-wrong"));
    let double = Double::start(vec![wrong]);
    let site = laptop().set("OS_PASSWORD", PASSWORD);
    site.write("rc", &openrc(double.url()));
    init(&site, &["--openrc", "rc"])
        .exits(78)
        .warns("user ehos for project 12b4b72ab6f54023985b3759c68da43d");
    init(&laptop(), &[])
        .exits(1)
        .warns("no access to a cloud is given");
    assert!(!site.config().exists() && !site.path().join("my-farm.password").exists());
}

#[test]
fn names_of_the_cloud_stay_text() {
    let names = [
        "Debian 13 \"x: {y}\"\u{1b}[2J",
        "Debian 13: {y}\u{2028}ehos: # [z]",
        "<DEBIAN 13>",
        "Debian 13",
        "None",
    ];
    for name in names {
        let double = Double::start(script(
            &[image(
                "Debian 13 x",
                json!({"id": "an-id", "name": name, "os_distro": "debian",
                                          "os_version": "13"}),
            )],
            &[network(name, false, false)],
        ));
        let site = laptop().set("OS_PASSWORD", PASSWORD);
        site.write("rc", &openrc(double.url()));
        let run = init(&site, &["--openrc", "rc"]);
        assert!(!run.exits(0).stdout.contains('\u{1b}'), "{run}");
        let check = ["config", "check", "--config", "ehos.yaml"];
        site.run(&check).exits(0).says("valid: cloud my-farm");
        let show = ["config", "show", "--config", "ehos.yaml", "-o", "json"];
        let settings = site.run(&show).exits(0).json();
        let value = |key: &str| {
            let all = settings.as_array().unwrap();
            let found = all.iter().find(|one| one["key"] == key).unwrap();
            found["value"].as_str().unwrap().to_owned()
        };
        let by_name = [names[1], names[3]].contains(&name);
        let expected = if by_name { name } else { "an-id" };
        assert_eq!(value("clouds.my-farm.base_image"), expected);
        let expected = if by_name {
            name.to_owned()
        } else {
            format!("{name} id")
        };
        assert_eq!(value("clouds.my-farm.network"), expected);
    }
}

#[test]
fn systemd_passes_the_secret_where_a_drop_in_is_asked_for() {
    let double = Double::start(usual());
    let site = laptop().set("OS_PASSWORD", PASSWORD);
    site.write("farm-openrc.sh", &openrc(double.url()));
    let drop_in = "etc/systemd/system/ehos.service.d/50-cloud.conf";
    let arguments = [
        "--openrc",
        "farm-openrc.sh",
        "--credential-drop-in",
        drop_in,
    ];
    let run = init(&site, &arguments);
    run.exits(0)
        .says("systemctl daemon-reload")
        .never_says(PASSWORD);
    let text = fs::read_to_string(site.path().join(drop_in)).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("LoadCredential="))
        .unwrap();
    let (name, secret) = line.split_once(':').unwrap();
    // The configuration finds it by this name.
    assert!(
        written(&site).contains(&format!("password_file: {name}\n")),
        "{}",
        written(&site)
    );
    assert_eq!(fs::read_to_string(secret).unwrap(), format!("{PASSWORD}\n"));
    assert_eq!(mode(&site, drop_in), 0o644);
    assert!(!text.contains(PASSWORD), "{text}");

    // Nothing is overwritten, and nothing else is written.
    fs::remove_file(site.config()).unwrap();
    init(&site, &arguments)
        .exits(1)
        .warns("50-cloud.conf: exists, and is not overwritten");
    assert!(!site.config().exists());
    // A name that systemd would read as something else.
    let named = ["--name", "a b", "-o", "50%/ehos.yaml"];
    let odd = [
        "--openrc",
        "farm-openrc.sh",
        "--credential-drop-in",
        "other.conf",
    ];
    fs::create_dir(site.path().join("50%")).unwrap();
    init(&site, &[&odd[..], &named].concat())
        .exits(1)
        .warns("systemd cannot load a credential");
    assert!(!site.path().join("other.conf").exists());
}
