//! `ehos retire`: takes a whole pool away, deletes only what has the mark of the pool, and goes on after each crash.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crashes::{KILLED, Points, Proxy};
use crate::double::{Double, Line, Reply, always};
use crate::harness::cloud::{self, CREATE, SERVER_ID, SERVERS};
use crate::harness::{Run, Site, condor};

const PROJECT: &str = "b9b88f6ba68141e7823bee98ea1986a7";
const IMAGE: &str = "6a3a3c4e-1111-4222-8333-444455556666";
const GROUP: &str = "265a23a1-6986-4f77-a211-cdabf33b06f8";
const OTHERS_GROUP: &str = "365a23a1-6986-4f77-a211-cdabf33b06f8";
const RULE: &str = "765a23a1-6986-4f77-a211-cdabf33b06f8";
const SERVER_GROUP: &str = "865a23a1-6986-4f77-a211-cdabf33b06f8";
const BUILDER: &str = "965a23a1-6986-4f77-a211-cdabf33b06f8";
const MARKED_KEY: &str = "ssh-ed25519 AAAAC3 me@here ehos-pool=pool-1";

const IMAGES: &str = "/v2/images";
const SERVERS_OF: &str = "/v2.1/servers";
const KEYS: &str = "/v2.1/os-keypairs";
const GROUPS: &str = "/v2.0/security-groups";
const RULES: &str = "/v2.0/security-group-rules";
const SERVER_GROUPS: &str = "/v2.1/os-server-groups";

/// The objects of a cloud.
#[derive(Clone)]
struct Objects {
    images: Vec<Value>,
    keys: Vec<Value>,
    server_groups: Vec<Value>,
    groups: Vec<Value>,
}

fn image(id: &str, more: Value) -> Value {
    let mut image = json!({
        "id": id, "name": "golden", "status": "active", "visibility": "private", "owner": PROJECT,
        "created_at": "2026-11-22T10:32:00Z", "protected": false, "ehos_cluster": "pool-1", "ehos_role": "image",
        "ehos_image_name": "golden", "ehos_builder": BUILDER, "instance_uuid": BUILDER,
    });
    for (key, value) in more.as_object().unwrap() {
        image[key] = value.clone();
    }
    image
}

fn key(public_key: &str) -> Value {
    json!({"name": "ehos", "fingerprint": "aa:bb", "public_key": public_key})
}

fn rule(id: &str, description: &str) -> Value {
    json!({"id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 9618,
           "port_range_max": 9618, "remote_group_id": null, "remote_ip_prefix": null, "description": description})
}

fn group(id: &str, name: &str, description: &str, rules: &[Value]) -> Value {
    json!({"id": id, "name": name, "description": description, "project_id": PROJECT, "security_group_rules": rules})
}

/// One of each that ehos created, and a group of others with a rule of ehos.
fn ours() -> Objects {
    Objects {
        images: vec![image(IMAGE, json!({}))],
        keys: vec![key(MARKED_KEY)],
        server_groups: vec![
            json!({"id": SERVER_GROUP, "name": "nodes-pool-1", "policies": ["soft-anti-affinity"],
                                   "members": []}),
        ],
        groups: vec![
            group(GROUP, "ehos", "servers of the ehos pool pool-1", &[]),
            group(
                OTHERS_GROUP,
                "site",
                "of the site",
                &[rule(RULE, "rule of the ehos pool pool-1"), rule("r-2", "")],
            ),
        ],
    }
}

fn reply(value: &Value) -> Reply {
    Reply::status(200, &value.to_string())
}

/// A cloud with these objects and servers; `first` goes before.
fn script(objects: &Objects, servers: &[Value], first: Vec<Line>) -> Vec<Line> {
    let mut lines = first;
    let rules = objects.groups.iter();
    let rules = rules.filter_map(|group| group["security_group_rules"].as_array());
    for rule in rules.flatten() {
        let path = format!("{RULES}/{}", rule["id"].as_str().unwrap());
        lines.push(always(
            "GET",
            &path,
            reply(&json!({"security_group_rule": rule})),
        ));
    }
    for group in &objects.groups {
        let path = format!("{GROUPS}/{}", group["id"].as_str().unwrap());
        lines.push(always(
            "GET",
            &path,
            reply(&json!({"security_group": group})),
        ));
    }
    for image in &objects.images {
        let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
        lines.push(always("GET", &path, reply(image)));
    }
    for key in &objects.keys {
        let path = format!("{KEYS}/{}", key["name"].as_str().unwrap());
        lines.push(always("GET", &path, reply(&json!({"keypair": key}))));
    }
    let gone = Reply::status(404, r#"{"itemNotFound": {"code": 404, "message": "gone"}}"#);
    for collection in [IMAGES, KEYS, GROUPS, RULES] {
        lines.push(always("GET", &format!("{collection}/"), gone.clone()));
    }
    for collection in [IMAGES, KEYS, GROUPS, RULES, SERVER_GROUPS] {
        lines.push(always(
            "DELETE",
            &format!("{collection}/"),
            Reply::status(204, ""),
        ));
    }
    let keys: Vec<Value> = objects
        .keys
        .iter()
        .map(|key| json!({"keypair": key}))
        .collect();
    lines.push(always(
        "GET",
        "/v2/images?limit=500",
        reply(&json!({"images": objects.images})),
    ));
    lines.push(always("GET", KEYS, reply(&json!({"keypairs": keys}))));
    lines.push(always(
        "GET",
        "/v2.0/security-groups?project_id=",
        reply(&json!({"security_groups": objects.groups})),
    ));
    lines.push(always(
        "GET",
        SERVER_GROUPS,
        reply(&json!({"server_groups": objects.server_groups})),
    ));
    lines.push(cloud::list(servers));
    lines.extend(servers.iter().map(cloud::shown));
    cloud::script(lines)
}

fn site(double: &Double) -> Site {
    Site::with_cloud(double.url())
        .over("ehos: {server_group: nodes-pool-1, security_groups: [site]}\n")
}

fn words(site: &Site, more: &[&str]) -> Vec<String> {
    let named = ["retire", "--config"].map(str::to_owned);
    let state = ["--state-dir".to_owned(), site.state().display().to_string()];
    let config = [site.config().display().to_string()];
    let more = more.iter().map(|&word| word.to_owned());
    named
        .into_iter()
        .chain(config)
        .chain(state)
        .chain(more)
        .collect()
}

fn retire(site: &Site, more: &[&str]) -> Run {
    site.run(&words(site, more))
}

fn master() -> Value {
    let server = json!({
        "id": "a65a23a1-6986-4f77-a211-cdabf33b06f8", "name": "ehos-master", "status": "ACTIVE",
        "created": "2026-11-22T10:31:13Z",
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "master", "ehos_ready": "2026-11-22T10:40:00Z"},
    });
    cloud::signed(server, "2026-11-22T10:31:13Z".parse().unwrap())
}

/// Reports with as much in them as there can be.
pub fn reports() -> Vec<Value> {
    let double = Double::start(script(&ours(), &[], vec![]));
    let site = site(&double).over(&format!(
        "clouds:\n{}",
        cloud::access("field", "http://127.0.0.1:1")
    ));
    vec![
        retire(&site, &["-n", "-o", "json"]).exits(75).json(),
        retire(&site, &["--yes", "-o", "json"]).exits(75).json(),
    ]
}

#[test]
fn a_dry_run_lists_all_in_order_and_changes_nothing() {
    let double = Double::start(script(&ours(), &[], vec![]));
    let site = site(&double);
    let run = retire(&site, &["--dry-run"]);
    run.exits(0)
        .says("pool pool-1: `ehos retire` takes these away, in this order\n")
        .says(&format!(
            "lab: left: security group site ({OTHERS_GROUP}): ehos cannot prove that it created it"
        ))
        .says(&format!(
            "by hand: openstack security group delete {OTHERS_GROUP}\n"
        ))
        .says(&format!(
            "lab: left: server group nodes-pool-1 ({SERVER_GROUP}): a server group has no mark"
        ))
        .says(&format!(
            "by hand: openstack server group delete {SERVER_GROUP}\n"
        ))
        .says("--dry-run: nothing changed\n");
    let text = run.to_string();
    let places = [
        format!("lab: would delete: image golden ({IMAGE})\n"),
        "lab: would delete: keypair ehos\n".to_owned(),
        format!("lab: would delete: security group rule in site ({RULE})\n"),
        format!("lab: would delete: security group ehos ({GROUP})\n"),
    ];
    let places: Vec<Option<usize>> = places
        .iter()
        .map(|line| text.find(line.trim_end()))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?} in {text}"
    );
    assert_eq!(double.count("DELETE", ""), 0);
    assert!(!site.state().exists());
}

#[test]
fn a_pool_without_nodes_is_taken_away_and_a_second_run_does_nothing() {
    let double = Double::start(script(&ours(), &[], vec![]));
    let site = site(&double);
    retire(&site, &["--yes"])
        .exits(0)
        .says(&format!("lab: deleted: image golden ({IMAGE})\n"))
        .says("lab: deleted: keypair ehos\n")
        .says(&format!("lab: deleted: security group ehos ({GROUP})\n"))
        .says("pool pool-1: nothing that ehos created is left\n")
        .says("by hand: units: sudo systemctl disable --now ehos.timer")
        .says("by hand: state directory: sudo rm -r ");
    assert_eq!(double.count("DELETE", ""), 4);
    let mut left = ours();
    left.images.clear();
    left.keys.clear();
    left.groups = vec![group(
        OTHERS_GROUP,
        "site",
        "of the site",
        &[rule("r-2", "")],
    )];
    double.play(script(&left, &[], vec![]));
    retire(&site, &["--yes"])
        .exits(0)
        .says("nothing that ehos created is left");
    assert_eq!(double.count("DELETE", ""), 4);
}

#[test]
fn what_only_looks_like_the_pools_is_left() {
    let copy = json!({"name": "a copy"});
    let objects = Objects {
        images: vec![
            image("i-1", json!({"owner": "another"})),
            image("i-2", copy),
            image("i-3", json!({"protected": true})),
            image("i-4", json!({"visibility": "shared"})),
            image("i-5", json!({"ehos_cluster": "pool-2"})),
        ],
        keys: vec![key("ssh-ed25519 AAAAC3 somebody@else")],
        server_groups: vec![
            json!({"id": SERVER_GROUP, "name": "nodes", "policies": [], "members": []}),
        ],
        groups: vec![
            group(GROUP, "ehos", "servers of the ehos pool pool-12", &[]),
            group(
                OTHERS_GROUP,
                "site",
                "",
                &[rule(RULE, "rule of the ehos pool pool-2")],
            ),
        ],
    };
    let double = Double::start(script(&objects, &[], vec![]));
    let site = site(&double).over("ehos: {server_group: nodes}\n");
    retire(&site, &["--yes"])
        .exits(75)
        .says("lab: in use: image golden (i-3): protected in Glance; by hand: openstack image delete i-3\n")
        .says("lab: in use: image golden (i-4): shared")
        .says("lab: left: keypair ehos: ehos cannot prove that it created it: no pool id in the comment")
        .says("; by hand: openstack keypair delete ehos\n")
        .says(&format!("lab: left: server group nodes ({SERVER_GROUP}): "))
        .never_says("i-1")
        .never_says("i-2")
        .never_says("i-5");
    assert_eq!(double.count("DELETE", ""), 0);
}

#[test]
fn each_object_is_looked_at_again_before_its_delete() {
    let foreign = group(GROUP, "ehos", "mine now", &[]);
    let copied = key("ssh-ed25519 BBBB somebody@else");
    let first = vec![
        always(
            "GET",
            &format!("{GROUPS}/{GROUP}"),
            reply(&json!({"security_group": foreign})),
        ),
        always(
            "GET",
            &format!("{KEYS}/ehos"),
            reply(&json!({"keypair": copied})),
        ),
        always(
            "GET",
            &format!("{IMAGES}/{IMAGE}"),
            reply(&image(IMAGE, json!({"owner": "another"}))),
        ),
        always(
            "GET",
            &format!("{RULES}/{RULE}"),
            reply(&json!({"security_group_rule": rule(RULE, "")})),
        ),
    ];
    let double = Double::start(script(&ours(), &[], first));
    let site = site(&double);
    retire(&site, &["--yes"])
        .exits(0)
        .says("lab: left: keypair ehos: it no longer has the mark of this pool")
        .says("lab: left: image golden");
    assert_eq!(double.count("DELETE", ""), 0);
}

#[test]
fn what_is_in_use_and_what_is_refused_is_told_and_the_rest_goes_on() {
    let conflict =
        r#"{"NeutronError": {"type": "SecurityGroupInUse", "message": "in use.", "detail": ""}}"#;
    let in_use = always(
        "DELETE",
        &format!("{GROUPS}/{GROUP}"),
        Reply::status(409, conflict),
    );
    let double = Double::start(script(&ours(), &[], vec![in_use]));
    let site = site(&double);
    retire(&site, &["--yes"])
        .exits(75)
        .says(&format!(
            "lab: in use: security group ehos ({GROUP}): a server or port uses it"
        ))
        .says("not complete: run `ehos retire` again when the cause is gone\n")
        .says("lab: deleted: keypair ehos\n");
    let forbidden = r#"{"forbidden": {"code": 403, "message": "Policy does not allow it."}}"#;
    let refused = always("DELETE", &format!("{KEYS}/"), Reply::status(403, forbidden));
    double.play(script(&ours(), &[], vec![refused]));
    retire(&site, &["--yes"])
        .exits(1)
        .says("lab: FAILED: keypair ehos: ")
        .says("Policy does not allow it.")
        .says(&format!("lab: deleted: security group ehos ({GROUP})\n"));
}

#[test]
fn the_central_manager_keeps_what_it_uses() {
    let mut master = master();
    master["image"] = json!({"id": IMAGE});
    let double = Double::start(script(&ours(), &[master], vec![]));
    let site = site(&double);
    retire(&site, &["--yes"]).exits(1).warns(
        "ticks run on the central manager ehos-master, not here; run `ehos retire` there first",
    );
    assert_eq!(double.count("DELETE", ""), 0);
    site.tick(&[]);
    retire(&site, &["--yes"])
        .exits(75)
        .says(&format!(
            "lab: in use: image golden ({IMAGE}): 1 server(s) boot from it"
        ))
        .says("lab: in use: security group rule in site")
        .says("lab: left: central manager ehos-master")
        .says("by hand: openstack server delete a65a23a1-6986-4f77-a211-cdabf33b06f8\n");
    assert_eq!(double.count("DELETE", IMAGES), 0);
    assert_eq!(double.count("DELETE", RULES), 0);
    assert_eq!(double.count("DELETE", "/v2.1/servers"), 0);
}

#[test]
fn nodes_and_builders_are_left_to_the_ticks_which_create_nothing_more() {
    let mut node = cloud::server("aaaaaaaa-0000-4000-8000-000000000001", "n-1", "ACTIVE");
    node["image"] = json!({"id": IMAGE});
    let builder = json!({
        "id": BUILDER, "name": "ehos-v1-builder-b1", "status": "ACTIVE", "image": "", "created": jiff::Timestamp::now().to_string(),
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "builder", "ehos_node": "b1", "ehos_lifetime": "7200"},
    });
    let builder = cloud::signed(builder, jiff::Timestamp::now());
    let servers = [node, builder];
    let double = Double::start(script(&ours(), &servers, vec![]));
    let site = site(&double);
    site.tick(&[]).exits(0);
    retire(&site, &["--yes"])
        .exits(75)
        .says("lab: waits: node ehos-v1-execute-n-1 (aaaaaaaa-0000-4000-8000-000000000001): ")
        .says(&format!("lab: waits: builder ehos-v1-builder-b1 ({BUILDER}): ticks delete it, and its build ends\n"))
        .says(&format!("lab: waits: image golden ({IMAGE}): until nodes, builders and leftovers are gone\n"))
        .says("ticks drain and delete nodes once a minute; run `ehos retire` again\n");
    assert_eq!(double.count("DELETE", ""), 0);
    assert_eq!(site.saved()["paused"]["retiring"], true);
    let state = site.state().display().to_string();
    let config = site.config().display().to_string();
    site.run(&["pause", "--config", &config, "--state-dir", &state])
        .exits(1)
        .warns("the pool is being retired; run `ehos resume` first");
    assert_eq!(site.saved()["paused"]["retiring"], true);
    let site = site.waiting(3);
    site.tick(&[]).says("`ehos retire` by ");
    let creates = double.received();
    let creates = creates
        .iter()
        .filter(|it| it.method == "POST" && it.target == CREATE);
    assert_eq!(creates.count(), 0);
    assert_eq!(
        double.count("DELETE", &format!("/v2.1/servers/{BUILDER}")),
        1
    );
    // A node that nobody drains, and a node that is kept.
    let config = site.config();
    let state = site.state();
    let resume = [
        "resume",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    site.run(&resume).exits(0).says("pause ended: ");
    assert!(site.saved().get("paused").is_none());
    site.tick(&["--dry-run"]).never_says("ehos retire");
}

#[test]
fn a_cloud_that_does_not_answer_is_told_and_the_others_go_on() {
    let double = Double::start(script(&ours(), &[], vec![]));
    let site = site(&double).over(&format!(
        "clouds:\n{}",
        cloud::access("field", "http://127.0.0.1:1")
    ));
    retire(&site, &["--yes"])
        .exits(75)
        .says("field: UNKNOWN, nothing is deleted there: ")
        .says(&format!("lab: deleted: image golden ({IMAGE})\n"))
        .says("not complete: run `ehos retire` again");
    // A list that fails leaves what it would have shown unknown.
    double.play(script(
        &ours(),
        &[],
        vec![always("GET", KEYS, Reply::status(500, "{}"))],
    ));
    let before = double.count("DELETE", "");
    retire(&site, &["--yes"])
        .exits(75)
        .says("lab: UNKNOWN, nothing is deleted there: ");
    assert_eq!(double.count("DELETE", ""), before);
    // A server that cannot be read may be a node.
    let odd = json!({"id": "b65a23a1-6986-4f77-a211-cdabf33b06f8", "name": "odd", "status": 7,
                     "metadata": {"ehos_cluster": "pool-1", "ehos_role": "execute"}});
    double.play(script(
        &ours(),
        &[],
        vec![always("GET", SERVERS, reply(&json!({"servers": [odd]})))],
    ));
    retire(&site, &["--yes"])
        .exits(75)
        .says("server odd cannot be read and may be a node of this pool");
    assert_eq!(double.count("DELETE", ""), before);
}

#[test]
fn the_pool_id_is_the_only_yes() {
    let double = Double::start(script(&ours(), &[], vec![]));
    let site = site(&double);
    retire(&site, &[])
        .exits(1)
        .warns("no terminal to ask at: nothing changed; add --yes");
    retire(&site, &["-o", "json"]).exits(1).warns("add --yes");
    for (answer, code, deletes) in [
        (&b"yes\n"[..], 1, 0),
        (b"pool-2\n", 1, 0),
        (b"\n", 1, 0),
        (b"\x04", 1, 0),
        (b"\xff\n", 1, 0),
        (b"pool-1\n", 0, 4),
    ] {
        let words = words(&site, &[]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let question = "Type the pool id (pool-1) to take the whole pool away:";
        site.at_a_terminal(&words, question, answer).exits(code);
        assert_eq!(double.count("DELETE", ""), deletes, "{answer:?}");
    }
}

#[test]
fn a_simulated_pool_is_taken_away_by_its_ticks() {
    for now in [false, true] {
        let site = Site::simulated();
        for _ in 0..4 {
            site.tick(&[]).exits(0);
        }
        assert!(!site.remembered().is_empty());
        retire(&site, &["--dry-run"]).exits(0).says("waits: node ");
        assert!(site.saved().get("paused").is_none());
        let words = if now {
            vec!["--yes", "--now"]
        } else {
            vec!["--yes"]
        };
        let run = retire(&site, &words);
        run.exits(75).says("run `ehos retire` again");
        if now {
            run.says("running jobs");
        }
        let mut ticks = 0;
        while retire(&site, &["--yes"]).code() == Some(75) {
            site.tick(&[]);
            ticks += 1;
            assert!(ticks < 240, "{:?} is left", site.remembered());
        }
        assert_eq!(site.remembered(), Vec::<String>::new());
        println!("{ticks} ticks, now: {now}");
    }
}

/// The objects that no request has deleted.
fn left(double: &Double) -> Objects {
    let deleted = |path: String| double.count("DELETE", &path) > 0;
    let mut left = ours();
    if deleted(format!("{IMAGES}/{IMAGE}")) {
        left.images.clear();
    }
    if deleted(format!("{KEYS}/ehos")) {
        left.keys.clear();
    }
    if deleted(format!("{RULES}/{RULE}")) {
        left.groups[1]["security_group_rules"] = json!([rule("r-2", "")]);
    }
    if deleted(format!("{GROUPS}/{GROUP}")) {
        left.groups.remove(0);
    }
    left
}

#[test]
fn killed_at_every_point_at_which_it_sends_it_deletes_each_thing_once() {
    let double = Double::start(script(&ours(), &[], vec![]));
    let points = Points::new();
    let proxy = Proxy::start(&points);
    let site = Site::with_cloud(&proxy.before(double.url()))
        .over("ehos: {server_group: nodes-pool-1, security_groups: [site]}\n");
    points.arm();
    let end = Instant::now() + Duration::from_secs(240);
    let mut runs = 0;
    let binary = testkit::program!().to_owned();
    loop {
        double.play(script(&left(&double), &[], vec![]));
        let words: Vec<String> = [vec![binary.clone()], words(&site, &["--yes"])].concat();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ended = points.run(&mut site.words(&words));
        runs += 1;
        assert!(Instant::now() < end, "no end: {ended:#?}");
        match ended.code {
            KILLED => {}
            0 => break,
            _ => panic!("{ended:#?}"),
        }
    }
    println!("{runs} runs, {} points", points.hit().len());
    for path in [
        format!("{IMAGES}/{IMAGE}"),
        format!("{KEYS}/ehos"),
        format!("{RULES}/{RULE}"),
        format!("{GROUPS}/{GROUP}"),
    ] {
        assert_eq!(double.count("DELETE", &path), 1, "{path}");
    }
    assert_eq!(double.count("DELETE", ""), 4);
    assert_eq!(points.hit(), points.seen());
}

const FOREIGN: &str = "c65a23a1-6986-4f77-a211-cdabf33b06f8";

/// What the ticks and runs have left of a pool with a node, a builder, and a server of others.
fn become_what_is_left(double: &Double, site: &Site) {
    let deleted = |id: &str| double.count("DELETE", &format!("{SERVERS_OF}/{id}")) > 0;
    let mut node = cloud::server(SERVER_ID, "n-1", "ACTIVE");
    node["image"] = json!({"id": IMAGE});
    let builder = json!({
        "id": BUILDER, "name": "ehos-v1-builder-b1", "status": "ACTIVE", "image": "", "created": jiff::Timestamp::now().to_string(),
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "builder", "ehos_node": "b1", "ehos_lifetime": "7200"},
    });
    let builder = cloud::signed(builder, jiff::Timestamp::now());
    let foreign = json!({"id": FOREIGN, "name": "ehos-v1-execute-n-9", "status": "ACTIVE", "image": "",
        "created": "2026-11-22T10:31:13Z", "metadata": {}});
    let mut servers = vec![node, builder, foreign];
    servers.retain(|server| !deleted(server["id"].as_str().unwrap()));
    double.play(script(&left(double), &servers, vec![]));
    let calls = site.calls();
    let drain = calls
        .split_once(" -reason ")
        .and_then(|(_, rest)| rest.split_once(" slot1@"));
    let slot = match drain {
        _ if calls.contains("INVALIDATE_MASTER_ADS") => String::new(),
        Some((reason, _)) => condor::drained_slot("n1", SERVER_ID, "n-1", reason),
        None => condor::slot("n1", SERVER_ID, "n-1", 900),
    };
    condor::answer(&site.tools(), "condor_status", "any", &(slot + "exit=0\n"));
}

#[test]
fn killed_at_every_point_a_pool_with_nodes_goes_whole_and_nothing_of_others() {
    let double = Double::start(script(&ours(), &[], vec![]));
    let points = Points::new();
    let proxy = Proxy::start(&points);
    let site = Site::with_cloud(&proxy.before(double.url()));
    let tools = points.before(&site.tools());
    let site = site
        .over("ehos: {server_group: nodes-pool-1, security_groups: [site]}\n")
        .over(&format!("condor: {{bin: {}}}\n", tools.display()))
        .waiting(1);
    points.arm();
    let end = Instant::now() + Duration::from_secs(400);
    let binary = testkit::program!().to_owned();
    let words: Vec<String> = [vec![binary], words(&site, &["--yes"])].concat();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut is_over = false;
    for round in 1.. {
        become_what_is_left(&double, &site);
        points.part("retire ");
        let ended = points.run(&mut site.words(&words));
        assert!(Instant::now() < end, "no end: {ended:#?}");
        match ended.code {
            KILLED | 75 => {}
            0 => {
                println!("{round} rounds, {} points", points.hit().len());
                is_over = true;
            }
            _ => panic!("{ended:#?}"),
        }
        become_what_is_left(&double, &site);
        points.part("tick ");
        let ended = points.run(&mut site.command(&[]));
        match ended.code {
            KILLED => {}
            0 | 1 if is_over => break,
            0 | 1 => {}
            _ => panic!("{ended:#?}"),
        }
    }
    for path in [
        format!("{SERVERS_OF}/{SERVER_ID}"),
        format!("{SERVERS_OF}/{BUILDER}"),
        format!("{IMAGES}/{IMAGE}"),
        format!("{KEYS}/ehos"),
        format!("{RULES}/{RULE}"),
        format!("{GROUPS}/{GROUP}"),
    ] {
        assert_eq!(double.count("DELETE", &path), 1, "{path}");
    }
    assert_eq!(double.count("DELETE", ""), 6, "nothing of others");
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(site.calls().matches("condor_drain ").count(), 1);
    assert_eq!(site.saved()["nodes"], json!({}));
    // A second pass, which no later tick needs, looks at the startds once more.
    let (seen, hit) = (points.seen(), points.hit());
    let missed = seen.difference(&hit);
    let missed: Vec<_> = missed
        .filter(|point| !point.starts_with("tick condor_status 4 "))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
    for point in [
        "retire GET v2.1:servers:detail 1 after",
        "retire DELETE v2:images:ID 1 before",
        "tick condor_drain 1 after",
        "tick DELETE v2.1:servers:ID 1 after",
    ] {
        assert!(points.hit().contains(point), "{point}: {:#?}", points.hit());
    }
}
