//! Servers that come to nothing, hang, or are changed by others; and what servers are made of, gone.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::proxy::{Fault, What};
use super::rig::{Rig, Server, within};
use crate::machines::step;

const ONLY_BIG: &str = "small: {nodes_max: 0}";
const ONE_CORE: &str = "request_cpus = 1\nrequest_memory = 512";

fn nothing_left(rig: &Rig) -> bool {
    rig.servers().is_empty()
}

fn queue_is_empty(rig: &Rig) -> bool {
    rig.pool
        .rows("condor_q", &["-allusers"], &["ClusterId"])
        .is_empty()
}

/// The lines of what was said that have one of these words.
fn tell(said: &str, words: &[&str]) {
    let lines: BTreeSet<&str> = said
        .lines()
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .collect();
    for line in lines {
        println!("    | {line}");
    }
}

#[test]
fn servers_that_come_to_nothing_are_deleted_and_others_made() {
    if !super::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let daemon = "nodes_max: 4\nidle_timeout: 2 s\nbackoff_first: 1 s\nbackoff_longest: 4 s";
    let Some(rig) = Rig::up("spawns", daemon) else {
        return;
    };
    let big_only = |more: &str| rig.over(&format!("clouds: {{{ONLY_BIG}}}\n{more}"));
    big_only("");

    step("every second spawn ends in ERROR");
    rig.hypervisor_faults(json!({"spawn_fail_every": 2, "spawn_fail_mode": "abort"}));
    rig.pool.submit(4, "5", ONE_CORE);
    rig.tick_until("all jobs are done", 120, &[0, 1], queue_is_empty);
    rig.hypervisor_faults(json!({}));
    rig.tick_until("and all servers gone", 60, &[0, 1], nothing_left);
    let said = rig.said(&["aborted: testbed fault"]);
    tell(&said, &["testbed fault", "back-off"]);
    let made = rig.made.lock().unwrap().len();
    println!("    {made} servers for 4 jobs");

    step("no host for the first two tries");
    rig.hypervisor_faults(json!({"spawn_fail_every": 1, "spawn_fail_mode": "reschedule"}));
    rig.pool.submit(1, "1", ONE_CORE);
    rig.tick_until("a server has failed", 60, &[0, 1], |rig| {
        rig.servers().iter().any(|server| server.status == "ERROR")
    });
    rig.hypervisor_faults(json!({}));
    rig.tick_until("the job is done", 90, &[0, 1], queue_is_empty);
    rig.tick_until("and all servers gone", 60, &[0, 1], nothing_left);
    let said = rig.said(&["Exhausted all hosts"]);
    tell(&said, &["Exhausted"]);

    step("a spawn hangs");
    // Never while a server could still join: a busy testbed takes its time.
    big_only("daemon: {boot_timeout: 10 s}");
    rig.hypervisor_faults(json!({"spawn_hang_s": 25}));
    rig.pool.submit(1, "1", ONE_CORE);
    rig.tick_until("the server is given up", 60, &[0, 1], |rig| {
        rig.have_said("never joined the pool")
    });
    rig.hypervisor_faults(json!({}));
    big_only("");
    rig.tick_until("the job is done on another", 120, &[0, 1], queue_is_empty);
    rig.tick_until("and all servers gone", 60, &[0, 1], nothing_left);
    tell(&rig.said(&[]), &["building", "has not", "delete"]);

    step("a node never joins, and its console fails");
    rig.joins.store(false, Ordering::SeqCst);
    big_only("daemon: {boot_timeout: 10 s}");
    rig.hypervisor_faults(json!({"console_fail": "error"}));
    rig.pool.submit(1, "1", ONE_CORE);
    rig.tick_until("a server is there", 60, &[0], |rig| {
        rig.servers().len() == 1
    });
    let first = rig.servers().remove(0).id;
    rig.tick_until("it is deleted all the same", 60, &[0, 1], |rig| {
        !rig.servers().iter().any(|server| server.id == first)
    });
    big_only("");
    rig.joins.store(true, Ordering::SeqCst);
    rig.hypervisor_faults(json!({}));
    rig.tick_until("the job is done on another", 90, &[0, 1], queue_is_empty);
    tell(&rig.said(&[]), &["console", "joined"]);
    rig.tick_until("and all servers gone", 60, &[0, 1], nothing_left);
    super::assert_nobody_was_evicted(&rig);
}

#[test]
fn a_delete_that_hangs_or_fails_is_asked_again() {
    if !super::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let daemon = "nodes_max: 1\nidle_timeout: 1 s\ndelete_timeout: 4 s";
    let Some(rig) = Rig::up("deletes", daemon) else {
        return;
    };
    rig.over(&format!("clouds: {{{ONLY_BIG}}}"));
    for (name, faults) in [
        ("a delete hangs", json!({"destroy_hang_s": 15})),
        ("a delete ends in ERROR", json!({"destroy_fail_every": 1})),
    ] {
        step(name);
        rig.hypervisor_faults(faults);
        rig.pool.submit(1, "1", ONE_CORE);
        rig.tick_until("the job is done", 90, &[0], queue_is_empty);
        rig.said(&[]);
        rig.tick_until("the delete is asked again", 60, &[0, 1], |rig| {
            let said = rig.tick(&["--dry-run"]);
            said.says("repeated") || said.says("again")
        });
        rig.hypervisor_faults(json!({}));
        rig.tick_until("the server is gone", 60, &[0, 1], nothing_left);
        tell(&rig.said(&[]), &["delet"]);
    }
    assert_eq!(rig.made.lock().unwrap().len(), 2);
}

#[test]
fn servers_that_others_stop_reboot_rename_delete_or_copy() {
    if !super::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let daemon = "nodes_min: 4\nnodes_max: 6\nidle_timeout: 2 s\nlost_timeout: 20 s";
    let Some(rig) = Rig::up("others", daemon) else {
        return;
    };
    rig.over(&format!("clouds: {{{ONLY_BIG}}}"));
    let whole = |rig: &Rig| {
        let servers = rig.servers();
        servers.len() == 4
            && servers.iter().all(|server| server.status == "ACTIVE")
            && servers.iter().all(|server| {
                rig.pool
                    .machines()
                    .contains(&super::rig::machine_of(server))
            })
    };
    rig.tick_until("four nodes are there", 120, &[0], whole);
    let nova = rig.nova.project("big").clone();
    let place = |id: &str| format!(":8774/v2.1/servers/{id}");
    let action = |id: &str, body: Value| {
        nova.ok("POST", &format!("{}/action", place(id)), Some(&body));
    };
    let ids = |rig: &Rig| -> BTreeSet<String> {
        rig.servers().into_iter().map(|server| server.id).collect()
    };
    let first = rig.servers();

    step("one is renamed, one rebooted");
    let new_name = json!({"server": {"name": "somebody-elses"}});
    nova.ok("PUT", &place(&first[0].id), Some(&new_name));
    action(&first[1].id, json!({"reboot": {"type": "HARD"}}));
    for _ in 0..4 {
        rig.steady_tick().expect(&[0], &[]);
        thread::sleep(Duration::from_secs(1));
    }
    rig.tick_until("nothing has come of it", 30, &[0], whole);
    assert_eq!(
        ids(&rig),
        first.iter().map(|server| server.id.clone()).collect()
    );

    step("one is stopped, one deleted");
    action(&first[2].id, json!({"os-stop": null}));
    nova.ok("DELETE", &place(&first[3].id), None);
    rig.said(&[]);
    rig.tick_until("both are replaced", 120, &[0, 1], |rig| {
        let now = ids(rig);
        whole(rig) && !now.contains(&first[2].id) && !now.contains(&first[3].id)
    });
    tell(&rig.said(&[]), &["lost", "SHUTOFF", "missing", "gone"]);
    assert!(ids(&rig).contains(&first[0].id) && ids(&rig).contains(&first[1].id));
    assert_eq!(rig.made.lock().unwrap().len(), 6);

    step("somebody makes a copy of one, with its name and metadata");
    let shown = nova.ok("GET", &place(&first[0].id), None);
    let copied = json!({"server": {
        "name": shown["server"]["name"], "metadata": shown["server"]["metadata"],
        "imageRef": shown["server"]["image"]["id"], "flavorRef": shown["server"]["flavor"]["id"],
        "networks": [{"uuid": network(&nova)}]}});
    nova.ok("POST", ":8774/v2.1/servers", Some(&copied));
    rig.said(&[]);
    assert!(within(60, || rig
        .servers()
        .iter()
        .all(|server| server.status == "ACTIVE")));
    rig.tick_until("one of the five goes", 180, &[0, 1], |rig| {
        ids(rig).len() == 4 && rig.tick(&["--dry-run"]).code == 0
    });
    tell(&rig.said(&[]), &["somebody-elses"]);
    rig.tick_until("and all is quiet", 60, &[0], |rig| {
        whole(rig) && rig.tick(&["--dry-run"]).says("nothing to do")
    });
}

fn network(api: &super::rig::Api) -> Value {
    let networks = api.ok("GET", ":9696/v2.0/networks?name=dualStack", None);
    networks["networks"][0]["id"].clone()
}

#[test]
fn an_image_or_a_flavor_that_is_gone_costs_no_node() {
    if !super::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(rig) = Rig::up(
        "gone",
        "nodes_max: 4\nidle_timeout: 1 h\nbackoff_first: 1 s",
    ) else {
        return;
    };
    let admin = rig.admin();
    let name = format!("faults-gone-{}", std::process::id());
    let flavor =
        json!({"flavor": {"name": name, "vcpus": 1, "ram": 2048, "disk": 20, "id": "auto"}});
    let flavor = admin.ok("POST", ":8774/v2.1/flavors", Some(&flavor));
    let flavor = flavor["flavor"]["id"].as_str().unwrap().to_owned();
    let image = json!({"name": name, "disk_format": "raw", "container_format": "bare"});
    let owner = rig.nova.project("big").clone();
    let image = owner.ok("POST", ":9292/v2/images", Some(&image));
    let image = image["id"].as_str().unwrap().to_owned();
    owner.upload(&image, &[0; 4096]);
    let over = |image: &str| {
        rig.over(&format!(
            "clouds: {{{ONLY_BIG}}}\nehos: {{flavors: [{name}], image: {image}}}"
        ));
    };
    over(&name);
    rig.pool.submit(1, "100000", ONE_CORE);
    rig.tick_until("a node runs a job", 90, &[0], |rig| rig.pool.jobs(2) == 1);

    step("the image is deleted");
    owner.ok("DELETE", &format!(":9292/v2/images/{image}"), None);
    rig.pool.submit(1, "100000", ONE_CORE);
    assert!(within(60, || rig.tick(&["--dry-run"]).says("create 1")));
    let tick = rig.tick(&[]);
    println!("{tick}");
    tick.expect(&[1], &["there is no image", &name]);

    step("the flavor is deleted, too");
    over("GOLD CentOS 7");
    admin.ok("DELETE", &format!(":8774/v2.1/flavors/{flavor}"), None);
    let tick = rig.tick(&[]);
    println!("{tick}");
    tick.expect(&[1], &["there is no flavor", &name]);
    assert_eq!(rig.servers().len(), 1);
    assert_eq!(rig.pool.jobs(2), 1);

    step("another flavor is configured");
    rig.over(&format!("clouds: {{{ONLY_BIG}}}"));
    rig.tick_until("the other job runs, too", 90, &[0, 1], |rig| {
        rig.pool.jobs(2) == 2
    });
    super::assert_nobody_was_evicted(&rig);
}

/// What Nova says of the limits of a project that has none.
const NO_LIMITS: &str = r#"{"limits": {"rate": [], "absolute": {
    "maxTotalInstances": -1, "maxTotalCores": -1, "maxTotalRAMSize": -1,
    "totalInstancesUsed": 0, "totalCoresUsed": 0, "totalRAMUsed": 0}}}"#;

#[test]
fn a_quota_that_is_reached_is_no_failure_of_an_image() {
    if !super::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let daemon = "nodes_max: 8\nmax_unproven: 8\nidle_timeout: 2 s\nbackoff_first: 1 s";
    let Some(rig) = Rig::up("quota", daemon) else {
        return;
    };
    rig.over("clouds: {big: {nodes_max: 0}}");

    step("the quota is known: two nodes for four jobs");
    rig.pool.submit(4, "12", ONE_CORE);
    rig.tick_until("two nodes are there", 90, &[0], |rig| {
        rig.servers().len() == 2
    });
    let tick = rig.tick(&[]);
    tick.expect(&[0], &["waiting for 2 more nodes, limited by"]);
    assert_eq!(rig.servers().len(), 2);

    step("the quota is not seen: Nova says no (403)");
    rig.small
        .set(&[Fault::each("GET", "/limits", What::Answer(200, NO_LIMITS))]);
    let tick = rig.tick(&[]);
    println!("{tick}");
    tick.expect(&[1], &["Quota exceeded for instances"]);
    assert_eq!(rig.servers().len(), 2);
    rig.small.set(&[]);
    rig.tick_until(
        "the jobs are done one after the other",
        120,
        &[0, 1],
        queue_is_empty,
    );
    rig.tick_until("the nodes are gone", 60, &[0, 1], nothing_left);
    rig.said(&[]);

    step("a burst: Nova takes all, and finds out later (413)");
    let frozen = rig.freeze("nova-conductor");
    rig.pool.submit(4, "8", ONE_CORE);
    rig.small
        .set(&[Fault::each("GET", "/limits", What::Answer(200, NO_LIMITS))]);
    rig.small.seen();
    // Each look takes the requests since the one before.
    let creates = Cell::new(0);
    rig.tick_until("four creates were taken", 60, &[0, 1], |rig| {
        let seen = rig.small.seen();
        let taken = seen.iter().filter(|seen| *seen == "POST /v2.1/servers");
        creates.set(creates.get() + taken.count());
        creates.get() >= 4
    });
    drop(frozen);
    rig.small.set(&[]);
    // The surplus is two. The conductor counts each of those that it builds at once with all others, and so may refuse more.
    let is = |server: &Server, status| server.status == status;
    assert!(within(60, || {
        let servers = rig.servers();
        let refused = servers.iter().filter(|server| is(server, "ERROR")).count();
        refused >= 2 && !servers.iter().any(|server| is(server, "BUILD"))
    }));
    rig.tick_until("the jobs are done", 120, &[0, 1], queue_is_empty);
    rig.tick_until("the nodes are gone", 60, &[0, 1], nothing_left);
    let said = rig.said(&["Quota exceeded for instances"]);
    tell(&said, &["Quota exceeded"]);
    super::assert_nobody_was_evicted(&rig);
}
