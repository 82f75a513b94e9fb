//! `ehos image`: what is asked of the cloud, what is written, what is said.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::double::{Double, Line, Reply, always, once};
use crate::harness::cloud::{self, CREATE, LOGIN, SERVER_ID, SERVERS};
use crate::harness::{Run, Site, repository};

const IMAGE_ID: &str = "6a3a3c4e-1111-4222-8333-444455556666";
const PROJECT_ID: &str = "b9b88f6ba68141e7823bee98ea1986a7";
const BASE: &str = "#cloud-config\nruncmd:\n- echo one\nfinal_message: \"The EHOS vm is up after $UPTIME seconds\"\n";
const FINISHED: &str = "[ 12.0] cloud-init[1105]: The EHOS vm is up after 12.00 seconds\n";

fn action() -> String {
    format!("/v2.1/servers/{SERVER_ID}/action")
}

fn show() -> String {
    format!("/v2.1/servers/{SERVER_ID}")
}

/// The builder, as Nova shows it.
fn builder(status: &str, booted: bool) -> Reply {
    let mut metadata = json!({
        "ehos_cluster": "pool-1", "ehos_role": "builder", "ehos_node": "b-1", "ehos_lifetime": "5400",
        "ehos_image_name": "golden", "ehos_cloud": "lab",
    });
    if booted {
        metadata["ehos_booted"] = json!("true");
    }
    let server = json!({
        "id": SERVER_ID, "name": "ehos-v1-builder-b-1", "status": status, "created": "2026-11-22T10:31:13Z",
        "metadata": metadata, "image": {"id": "x"}, "addresses": {},
    });
    Reply::status(200, &json!({"server": server}).to_string())
}

fn image(id: &str, name: &str, status: &str, created: &str, more: Value) -> Value {
    let mut image = json!({
        "id": id, "name": name, "status": status, "visibility": "private", "owner": PROJECT_ID,
        "created_at": created, "size": 3_000_000_000u64, "min_disk": 20, "min_ram": 0, "protected": false,
        "ehos_cluster": "pool-1", "ehos_role": "image", "ehos_image_name": name, "ehos_builder": SERVER_ID,
        "instance_uuid": SERVER_ID, "ehos_built": created, "ehos_source": "GOLD (x)", "ehos_cloud": "lab",
    });
    for (key, value) in more.as_object().unwrap() {
        image[key] = value.clone();
    }
    image
}

fn images(list: &[Value]) -> Reply {
    Reply::status(200, &json!({ "images": list }).to_string())
}

fn console(text: &str) -> Reply {
    Reply::status(200, &json!({ "output": text }).to_string())
}

/// A cloud in which a build goes well, from an empty project on.
pub fn well() -> Vec<Line> {
    let made = image(
        IMAGE_ID,
        "golden",
        "active",
        "2026-11-22T10:32:00Z",
        json!({}),
    );
    let metadata = format!("/v2.1/servers/{SERVER_ID}/metadata");
    vec![
        once("GET", &show(), builder("ACTIVE", false)),
        once("POST", &action(), console(FINISHED)),
        once("POST", &metadata, Reply::status(200, r#"{"metadata": {}}"#)),
        once("GET", &show(), builder("ACTIVE", true)),
        once("POST", &action(), Reply::status(202, "")),
        once("GET", &show(), builder("SHUTOFF", true)),
        once(
            "POST",
            &action(),
            Reply::status(202, &json!({"image_id": IMAGE_ID}).to_string()),
        ),
        once("GET", &show(), builder("SHUTOFF", true)),
        once("GET", &show(), builder("SHUTOFF", true)),
        once("GET", &show(), Reply::fixture("server-delete-404")),
        once(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc&ehos_cluster",
            images(&[]),
        ),
        once(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc&ehos_builder",
            images(&[]),
        ),
        once(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc&ehos_builder",
            images(&[]),
        ),
        always(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc",
            images(std::slice::from_ref(&made)),
        ),
        always(
            "GET",
            &format!("/v2/images/{IMAGE_ID}"),
            Reply::status(200, &made.to_string()),
        ),
    ]
}

pub fn site(first: Vec<Line>) -> (Double, Site) {
    let double = Double::start(cloud::script(first));
    let site = Site::with_cloud(double.url())
        .over("ehos: {base_image: GOLD CentOS 7}\n")
        .set("EHOS_POLL_SECONDS", "0.01");
    site.write("my-base.yaml", BASE);
    (double, site)
}

pub fn ehos(site: &Site, command: &str, more: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let mut args = vec!["image", command, "--config", config.to_str().unwrap()];
    args.extend(["--state-dir", state.to_str().unwrap()]);
    args.extend(more);
    site.run(&args)
}

pub fn build(site: &Site, more: &[&str]) -> Run {
    ehos(site, "build", &[&["--base", "my-base.yaml"], more].concat())
}

#[test]
fn an_image_is_made_and_named_in_the_configuration() {
    let (double, site) = site(well());
    let run = build(&site, &[]);
    run.exits(0)
        .says(&format!(
            "lab: image golden ({IMAGE_ID})\n    made of GOLD CentOS 7 ("
        ))
        .says("ehos.d/50-image.yaml");
    let asked = double.wait_for("POST", CREATE).json();
    let metadata = &asked["server"]["metadata"];
    assert_eq!(metadata["ehos_role"], "builder");
    assert_eq!(metadata["ehos_lifetime"], "5400");
    assert_eq!(metadata["ehos_digest"].as_str().unwrap().len(), 64);
    assert_eq!(double.count("DELETE", &show()), 1);
    let snapshot = double
        .received()
        .into_iter()
        .find(|request| request.body.contains("createImage"))
        .unwrap()
        .json();
    let properties = &snapshot["createImage"]["metadata"];
    assert_eq!(properties["ehos_role"], "image");
    assert_eq!(properties["ehos_builder"], SERVER_ID);
    let written = fs::read_to_string(site.path().join("ehos.d/50-image.yaml")).unwrap();
    assert!(
        written.contains(&format!("  \"lab\":\n    image: {IMAGE_ID}  # golden, ")),
        "{written}"
    );
    double.play(cloud::script(vec![]));
    site.tick(&["-n"]).exits(0);
}

#[test]
fn a_file_by_hand_is_left_and_the_lines_are_printed() {
    let (_double, site) = site(well());
    site.write("ehos.d/50-image.yaml", "clouds: {lab: {image: mine}}\n");
    build(&site, &[])
        .exits(0)
        .says("50-image.yaml was written or edited by hand")
        .says(&format!(
            "    clouds:\n      lab:\n        image: {IMAGE_ID}\n"
        ))
        .never_says("new nodes boot from it");
}

#[test]
fn a_later_file_that_names_another_image_is_told_of() {
    let (_double, site) = site(well());
    site.write("ehos.d/60-mine.yaml", "clouds: {lab: {image: mine}}\n");
    build(&site, &[])
        .exits(0)
        .says("which comes later, names another image");
    assert!(!site.path().join("ehos.d/50-image.yaml").exists());
}

#[test]
fn a_first_boot_that_fails_shows_its_console_and_leaves_nothing() {
    let failing = fs::read_to_string(repository().join("tests/fixtures/console/runcmd-fails.txt"));
    let (double, site) = site(vec![
        once("GET", &show(), builder("ACTIVE", false)),
        once("POST", &action(), console(&failing.unwrap())),
        once("GET", &show(), builder("ACTIVE", false)),
        once("POST", &action(), console("")),
        always("GET", &show(), Reply::fixture("server-delete-404")),
        always(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc",
            images(&[]),
        ),
    ]);
    build(&site, &[])
        .exits(1)
        .says("lab: no image: cloud lab: the first boot failed: Failed to run module scripts-user")
        .says("; the server is deleted")
        .says("    | [   38.480200] cloud-init[105]: something is missing\n");
    assert_eq!(double.count("DELETE", &show()), 1);
}

#[test]
fn a_quota_is_told_in_novas_words() {
    let (double, site) = site(vec![
        always(
            "POST",
            CREATE,
            Reply::fixture("server-create-quota-instances"),
        ),
        always(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc",
            images(&[]),
        ),
    ]);
    build(&site, &[])
        .exits(1)
        .says("Quota exceeded for instances");
    assert_eq!(double.count("POST", CREATE), 1);
    assert_eq!(double.count("DELETE", "/v2.1/servers/"), 0);
}

#[test]
fn a_dry_run_asks_and_does_nothing() {
    let empty = always(
        "GET",
        "/v2/images?limit=500&sort=created_at:desc",
        images(&[]),
    );
    let (double, site) = site(vec![empty]);
    build(&site, &["-n"])
        .exits(0)
        .says("lab: would make image ehos-v1-");
    let made = double
        .received()
        .into_iter()
        .any(|request| request.method != "GET" && !request.target.starts_with(LOGIN));
    assert!(!made);
    assert!(!site.state().exists());
}

#[test]
fn what_stops_a_build_before_it_begins() {
    let (double, site) = site(vec![]);
    fs::create_dir_all(site.state()).unwrap();
    let lock = fs::File::create(site.state().join("image.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    build(&site, &[])
        .exits(1)
        .warns("locked by another `ehos image build`");
    drop(lock);
    ehos(&site, "build", &["--base", "none.yaml"])
        .exits(1)
        .warns("cannot read");
    let site = Site::with_cloud(double.url());
    site.write("my-base.yaml", BASE);
    build(&site, &[])
        .exits(1)
        .warns("no image to begin with; name one with --from");
    assert_eq!(double.count("POST", CREATE), 0);
}

/// Old images, one that a node uses, one that is configured, one of somebody else.
pub fn old_images() -> Vec<Line> {
    let all = [
        image("i-new", "new", "active", "2026-11-22T10:00:00Z", json!({})),
        image(
            "i-used",
            "used",
            "active",
            "2026-11-20T10:00:00Z",
            json!({}),
        ),
        image("i-old", "old", "active", "2026-11-19T10:00:00Z", json!({})),
        image(
            "i-conf",
            "GOLD CentOS 7",
            "active",
            "2026-11-18T10:00:00Z",
            json!({}),
        ),
        image(
            "i-kept",
            "kept",
            "active",
            "2026-11-18T10:00:00Z",
            json!({"protected": true}),
        ),
        image(
            "i-dead",
            "dead",
            "saving",
            "2026-11-17T10:00:00Z",
            json!({}),
        ),
        // A snapshot of a node: it has the properties of the image that the node booted from.
        image(
            "i-node",
            "by hand",
            "active",
            "2026-11-16T10:00:00Z",
            json!({"instance_uuid": "n-1"}),
        ),
        image(
            "i-name",
            "by hand",
            "active",
            "2026-11-16T10:00:00Z",
            json!({"ehos_image_name": "old"}),
        ),
        image(
            "i-other",
            "other",
            "active",
            "2026-11-16T10:00:00Z",
            json!({"owner": "somebody"}),
        ),
    ];
    let server = json!({"id": "n-1", "status": "ACTIVE", "created": "2026-11-22T10:31:13Z", "image": {"id": "i-used"}, "metadata": {}});
    vec![
        always(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc",
            images(&all),
        ),
        always(
            "GET",
            SERVERS,
            Reply::status(200, &json!({"servers": [server]}).to_string()),
        ),
        always("DELETE", "/v2/images/", Reply::status(204, "")),
    ]
}

#[test]
fn only_images_of_ours_that_nothing_uses_are_pruned() {
    let (double, site) = site(old_images());
    let run = ehos(&site, "prune", &["--keep", "1", "--dry-run"]);
    run.exits(0).says("lab: would be deleted: old (i-old)");
    assert_eq!(double.count("DELETE", "/"), 0);
    ehos(&site, "prune", &["--keep", "1"])
        .exits(0)
        .says("lab: kept: new (i-new): one of the newest")
        .says("lab: kept: used (i-used): 1 server(s) boot from it")
        .says("lab: kept: GOLD CentOS 7 (i-conf): named by the configuration")
        .says("lab: kept: kept (i-kept): protected")
        .says("lab: deleted: old (i-old): unused")
        .says("lab: deleted: dead (i-dead): unused")
        .never_says("i-node")
        .never_says("i-name")
        .never_says("i-other");
    assert_eq!(double.count("DELETE", "/"), 2);
}

#[test]
fn nothing_is_pruned_that_another_configuration_or_project_may_use() {
    let master = json!({"id": "m-1", "name": "m", "status": "ACTIVE", "created": "2026-11-22T10:31:13Z",
                        "image": {"id": "i-new"},
                        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "master", "ehos_ready": "2026-11-22T10:40:00Z"}});
    let with_master = || {
        always(
            "GET",
            SERVERS,
            Reply::status(200, &json!({"servers": [master]}).to_string()),
        )
    };
    let mut lines = old_images();
    lines.insert(0, with_master());
    let (double, site) = site(lines);
    ehos(&site, "prune", &["--keep", "0"])
        .exits(0)
        .says("lab: kept: old (i-old): the configuration of the central manager may name it");
    assert_eq!(double.count("DELETE", "/"), 0);

    // Where the ticks run, the configuration is the one that counts.
    let site = site.waiting(0);
    site.tick(&[]);
    ehos(&site, "prune", &["--keep", "0"])
        .exits(0)
        .says("lab: deleted: old (i-old)");

    // A cloud that is silent may have one.
    let dark = Double::start(vec![always("POST", LOGIN, Reply::status(403, "{}"))]);
    let (double, site) = self::site(old_images());
    let site = site.over(&format!("clouds:\n{}", cloud::access("dark", dark.url())));
    ehos(&site, "prune", &["--keep", "0", "--cloud", "lab"])
        .exits(0)
        .says("lab: kept: old (i-old): a cloud that does not answer may contain a central manager");
    assert_eq!(double.count("DELETE", "/"), 0);

    // An image that other projects see is not ours alone.
    let shared = image(
        "i-shared",
        "shared",
        "active",
        "2026-11-01T10:00:00Z",
        json!({"visibility": "community"}),
    );
    let listed = images(&[shared]);
    let (double, site) = self::site(vec![always(
        "GET",
        "/v2/images?limit=500&sort=created_at:desc",
        listed,
    )]);
    ehos(&site, "prune", &["--keep", "0"]).exits(0).says(
        "lab: kept: shared (i-shared): shared, and servers of other projects may boot from it",
    );
    assert_eq!(double.count("DELETE", "/"), 0);
}

#[test]
fn nothing_is_pruned_where_servers_cannot_be_seen() {
    let mut lines = old_images();
    lines.insert(0, always("GET", SERVERS, Reply::status(403, "{}")));
    let (double, site) = site(lines);
    ehos(&site, "prune", &["--keep", "0"])
        .exits(1)
        .says("lab: no image deleted: ");
    assert_eq!(double.count("DELETE", "/"), 0);
}

#[test]
fn the_list() {
    let (_double, site) = site(old_images());
    let run = ehos(&site, "list", &[]);
    run.exits(0)
        .says("CLOUD")
        .says("i-used")
        .never_says("i-other");
    let none = site.run(&["image", "list", "--config", "none.yaml"]);
    none.exits(78);
}

/// The paths of all fields, without positions in lists.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                found.insert(path.clone());
                fields(inner, &path, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| fields(inner, path, found)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let mut found = BTreeSet::new();
    let (double, site) = site(well());
    site.write("ehos.d/50-image.yaml", "clouds: {lab: {image: mine}}\n");
    fields(
        &build(&site, &["-o", "json"]).exits(0).json(),
        "",
        &mut found,
    );
    double.play(cloud::script(old_images()));
    for args in [
        &["list"][..],
        &["prune", "--keep", "1"],
        &["prune", "-n", "--keep", "1"],
    ] {
        let args = [args, &["-o", "json"]].concat();
        fields(
            &ehos(&site, args[0], &args[1..]).exits(0).json(),
            "",
            &mut found,
        );
    }
    fields(
        &build(&site, &["-n", "-o", "json"]).exits(0).json(),
        "",
        &mut found,
    );
    double.play(vec![]);
    fields(
        &build(&site, &["-o", "json"]).exits(1).json(),
        "",
        &mut found,
    );
    let page = fs::read_to_string(repository().join("docs/json.md")).unwrap();
    let missing: Vec<_> = found
        .iter()
        .filter(|field| !page.contains(&format!("`{field}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
    for needed in [
        "recorded.by_hand.lines",
        "clouds.images.result",
        "clouds.steps.milliseconds",
        "clouds.error",
    ] {
        assert!(found.contains(needed), "{needed} in {found:?}");
    }
}

#[test]
fn ticks_go_on_beside_a_build() {
    let stall = always("POST", CREATE, Reply::Stall);
    let (double, site) = site([stall].into_iter().chain(well()).collect());
    let (config, state) = (site.config(), site.state());
    let words = [
        testkit::program!(),
        "image",
        "build",
        "--base",
        "my-base.yaml",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let mut building = site.words(&words).spawn().unwrap();
    let create = double.wait_for("POST", CREATE);
    assert!(create.body.contains("builder"));

    double.play(cloud::script(vec![]));
    let site = site.waiting(1);
    site.tick(&[])
        .exits(0)
        .warns_nothing()
        .says("plan     create 1");
    build(&site, &[])
        .exits(1)
        .warns("locked by another `ehos image build`");
    building.kill().unwrap();
    building.wait().unwrap();
    site.tick(&[]).exits(0).warns_nothing();
}

#[test]
fn no_build_goes_on_with_a_forged_builder() {
    let server = json!({
        "id": SERVER_ID, "name": "ehos-v1-builder-b-1", "status": "ACTIVE", "created": "2026-11-22T10:31:13Z",
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "builder", "ehos_node": "b-1", "ehos_lifetime": "0",
                     "ehos_cloud": "lab", "ehos_digest": "x"},
    });
    let with = |servers: &[Value]| {
        let none = always(
            "GET",
            "/v2/images?limit=500&sort=created_at:desc",
            images(&[]),
        );
        site(vec![cloud::list(servers), none])
    };
    let (_double, forged) = with(std::slice::from_ref(&server));
    build(&forged, &["--dry-run"])
        .exits(0)
        .warns("builder ehos-v1-builder-b-1")
        .warns("no valid ehos_proof")
        .never_says("would delete server");
    let created = "2026-11-22T10:31:13Z".parse().unwrap();
    let signed = cloud::signed(server, created);
    let (_double, own) = with(std::slice::from_ref(&signed));
    build(&own, &["--dry-run"])
        .exits(0)
        .says("would delete server ehos-v1-builder-b-1");
    // Of one that was copied nobody knows which one it is.
    let mut copy = signed.clone();
    copy["id"] = json!("aaaaaaaa-0000-4000-8000-000000000009");
    let (_double, copied) = with(&[signed, copy]);
    build(&copied, &["--dry-run"])
        .exits(0)
        .warns("no valid ehos_proof")
        .never_says("would delete server");
}
