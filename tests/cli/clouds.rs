//! Clouds that say no, say nonsense, or say nothing.

use serde_json::json;

use crate::double::{Double, Line, Reply, always, once};
use crate::harness::Site;
use crate::harness::cloud::{self, CREATE, LOGIN, SERVERS};

/// A site with a waiting job and a cloud that first says this.
fn site(first: Vec<Line>) -> (Double, Site) {
    let double = Double::start(cloud::script(first));
    let site = Site::with_cloud(double.url()).waiting(1);
    (double, site)
}

/// The configuration of what servers are made of is wrong: the create is not even sent.
fn rejected(double: &Double, site: &Site, why: &str) {
    site.tick(&[])
        .exits(1)
        .says("failed   create ")
        .says(why)
        .says("; correct the configuration of this cloud");
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(site.remembered().len(), 0, "nothing is on its way");
    // It would be refused again: asked after a while, and said meanwhile.
    site.tick(&[])
        .exits(0)
        .says("plan     nothing to do")
        .says("1 waiting for 1 more node, limited by backoff of m1.small in lab for ")
        .says(why);
}

#[test]
fn nodes_that_cannot_be_reached_are_told_the_broker() {
    use base64::Engine;
    for (more, expected) in [
        ("", "    CCB_ADDRESS = \n"),
        (
            "clouds: {lab: {ccb: true}}\n",
            "    CCB_ADDRESS = 10.0.0.1:9618\n",
        ),
        (
            "ehos: {ccb: true}\nclouds: {lab: {ccb: false}}\n",
            "    CCB_ADDRESS = \n",
        ),
    ] {
        let (double, site) = site(vec![]);
        site.over(more).tick(&[]).exits(0);
        let create = double.wait_for("POST", CREATE).json();
        let user_data = base64::engine::general_purpose::STANDARD
            .decode(create["server"]["user_data"].as_str().unwrap())
            .unwrap();
        let user_data = String::from_utf8(user_data).unwrap();
        assert!(user_data.contains(expected), "{more}: {user_data}");
    }
}

#[test]
fn a_node_is_made_for_a_waiting_job_and_not_twice() {
    let (double, site) = site(vec![]);
    site.tick(&[])
        .exits(0)
        .warns_nothing()
        .says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);
    // The list does not have it yet.
    site.tick(&[]).exits(0).says("1 can run on starting nodes");
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    double.play(cloud::script(vec![cloud::list(&[server])]));
    site.tick(&[])
        .exits(0)
        .says("nodes    1 of at most 10: 1 building");
    assert_eq!(double.count("POST", CREATE), 1);
    assert_eq!(double.count("POST", LOGIN), 1, "the token is kept");
}

#[test]
fn a_wrong_password() {
    let wrong = always("POST", LOGIN, Reply::fixture("token-password-wrong"));
    let (double, site) = site(vec![wrong]);
    for args in [&[][..], &["--dry-run"]] {
        site.tick(args)
            .exits(75)
            .says("unknown  cloud lab: POST /v3/auth/tokens: Keystone does not accept user ehos for project ehos: ")
            .says("check names, domains, project and secret")
            .says("nothing to do");
    }
    // Several in a row could lock the user out.
    assert_eq!(double.received().len(), 2, "once a tick");
}

#[test]
fn an_unknown_flavor() {
    let (double, site) = site(vec![]);
    let site = site.over("ehos: {flavors: [m1.huge]}\n");
    for args in [&[][..], &["--dry-run"]] {
        site.tick(args)
            .exits(1)
            .says("unknown  flavor m1.huge of cloud lab: ")
            .says("limited by unknown flavor m1.huge of cloud lab")
            .warns("(there are: m1.small, m1.medium, m1.large, m1.xlarge, impossible)");
    }
    assert_eq!(double.count("POST", CREATE), 0);
    // Another one that is there serves meanwhile.
    let site = site.over("ehos: {flavors: [m1.huge, m1.medium]}\n");
    site.tick(&[])
        .exits(1)
        .says("unknown  flavor m1.huge of cloud lab: ")
        .says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);
}

#[test]
fn an_unknown_image() {
    let none = always(
        "GET",
        "/v2/images?name=",
        Reply::fixture("glance-images-none"),
    );
    let (double, site) = site(vec![none]);
    rejected(
        &double,
        &site,
        "cloud lab: there is no image 'GOLD CentOS 7'",
    );
}

#[test]
fn an_unknown_network() {
    let none = always(
        "GET",
        "/v2.0/networks?name=",
        Reply::fixture("neutron-networks-none"),
    );
    let (double, site) = site(vec![none]);
    rejected(&double, &site, "cloud lab: there is no network 'dualStack'");
}

#[test]
fn an_unknown_key() {
    let (double, site) = site(vec![]);
    let site = site.over("ehos: {key: other}\n");
    rejected(
        &double,
        &site,
        "cloud lab: there is no keypair 'other' of this user (there are: ehos)",
    );
}

#[test]
fn a_quota_that_the_limits_did_not_show() {
    let full = always(
        "POST",
        CREATE,
        Reply::fixture("server-create-quota-instances"),
    );
    let (double, site) = site(vec![full]);
    let why = "cloud lab: POST /v2.1/servers: status 403: Quota exceeded for instances: Requested 1, but already \
               used 2 of 2 instances (req-";
    site.tick(&[])
        .exits(1)
        .says(why)
        .says("; ask for a larger quota or lower nodes_max");
    assert_eq!(site.remembered().len(), 0, "nothing is on its way");
    site.tick(&[])
        .exits(0)
        .says("limited by pause of cloud lab for ")
        .says(why);
    assert_eq!(double.count("POST", CREATE), 1);
}

#[test]
fn a_quota_that_the_limits_show() {
    let limits = Reply::fixture("nova-limits")
        .replace(r#""totalInstancesUsed":0"#, r#""totalInstancesUsed":2000"#);
    let (double, site) = site(vec![always("GET", "/v2.1/limits", limits)]);
    site.tick(&[])
        .exits(0)
        .says("1 waiting for 1 more node, limited by instances quota of cloud lab: 0 left");
    assert_eq!(double.count("POST", CREATE), 0);
}

#[test]
fn an_answer_that_is_not_whole_is_no_answer() {
    let servers = json!({"servers": [cloud::server("id-1", "n-1", "ACTIVE")]}).to_string();
    let half = servers[..servers.len() / 2].to_owned();
    let cut = Reply::Cut {
        status: 200,
        body: servers.clone(),
        bytes: servers.len() / 2,
    };
    for (reply, why) in [
        (
            Reply::status(200, &half),
            "cannot read the answer: it is cut off at line 1",
        ),
        (
            Reply::status(200, "<html>"),
            "cannot read the answer: it is not JSON at line 1",
        ),
        (
            Reply::status(200, r#"{"server": []}"#),
            "missing field `servers`",
        ),
        (cut, "no whole answer: "),
        (
            Reply::status(502, "<html><title>Bad gateway</title>"),
            "status 502: Bad gateway; retry later, or ask the cloud's operators",
        ),
    ] {
        let (double, site) = site(vec![cloud::list(&[cloud::server("id-1", "n-1", "ACTIVE")])]);
        site.tick(&[]).exits(0).says("1 booting");
        double.play(cloud::script(vec![always("GET", SERVERS, reply)]));
        let unknown = site.tick(&[]);
        unknown
            .exits(75)
            .says("unknown  cloud lab: GET /v2.1/servers/detail: ")
            .says(why)
            .says("nodes    1 of at most 10: 1 booting")
            .says("plan     nothing to do");
        assert_eq!(site.remembered(), ["n-1"], "its nodes are not forgotten");
        assert_eq!(double.count("DELETE", ""), 0);
        assert_eq!(double.count("POST", CREATE), 0);
    }
}

#[test]
fn a_truncated_answer_of_keystone_tells_no_token() {
    let cut = Reply::status(201, r#"{"token": {"issued_at": "2026"#)
        .with("X-Subject-Token", crate::harness::TOKEN);
    let (_double, site) = site(vec![always("POST", LOGIN, cut)]);
    site.tick(&["-vvv"])
        .exits(75)
        .says("unknown  cloud lab: POST /v3/auth/tokens: cannot read the answer: it is cut off");
}

#[test]
fn one_cloud_of_two_that_does_not_answer_holds_up_nothing_in_the_other() {
    let (lab, field) = (
        Double::start(cloud::script(vec![])),
        Double::start(cloud::script(vec![])),
    );
    let site = Site::with_cloud(lab.url())
        .over(&format!("clouds:\n{}", cloud::access("field", field.url())));
    site.tick(&[]).exits(0);
    lab.play(vec![always("GET", "", Reply::status(404, "gone"))]);
    let site = site.waiting(2);
    site.tick(&[])
        .exits(1)
        .says("unknown  cloud lab: ")
        .says("plan     create 2")
        .never_says("unknown  cloud field");
    assert_eq!(field.count("POST", CREATE), 2);
    assert_eq!(lab.count("POST", CREATE), 0);
}

#[test]
fn when_no_cloud_answers_the_tick_is_to_be_tried_later() {
    let (lab, field) = (Double::start(vec![]), "http://127.0.0.1:1");
    let site = Site::with_cloud(lab.url())
        .over(&format!("clouds:\n{}", cloud::access("field", field)))
        .waiting(1);
    site.tick(&[])
        .exits(75)
        .says("unknown  cloud lab: POST /v3/auth/tokens: status 418: ")
        .says("unknown  cloud field: POST /v3/auth/tokens: cannot connect to 127.0.0.1:1: ")
        .says("check the address, the network and that the service runs")
        .says("plan     nothing to do");
}

#[test]
fn a_create_of_unknown_effect_is_waited_for() {
    // The answer to a create holds the administrator's password of the server.
    let Reply::Answer { body, .. } = Reply::fixture("server-create") else {
        panic!("a recorded answer");
    };
    let half = body[..body.len() - 2].to_owned();
    let cut = Reply::Cut {
        status: 202,
        bytes: half.len(),
        body,
    };
    for (reply, why) in [
        (Reply::status(504, "<html>"), "status 504"),
        (Reply::status(202, &half), "it is cut off"),
        (cut, "no whole answer"),
        (Reply::Reset, "no whole answer"),
    ] {
        let (double, site) = site(vec![always("POST", CREATE, reply)]);
        site.tick(&["-vvv"]).exits(1).says(why);
        assert_eq!(site.remembered().len(), 1, "it may come yet");
        site.tick(&[]).exits(0).says(": 1 requested");
        assert_eq!(double.count("POST", CREATE), 1);
    }
}

#[test]
fn a_look_up_that_fails_in_passing_is_tried_again_by_the_next_tick() {
    let half = Reply::status(200, r#"{"images": [{"id": "x"#);
    let (double, site) = site(vec![once("GET", "/v2/images?name=", half)]);
    site.tick(&[])
        .exits(1)
        .says("cloud lab: GET /v2/images: cannot read the answer: it is cut off");
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(site.remembered().len(), 0);
    site.tick(&[]).exits(0).says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);
}

/// Odd records of servers, each beside a good node of this pool: one bad item is told by name, and the tick goes on.
#[test]
fn one_odd_server_stops_no_tick() {
    const ODD: &str = "11111111-2222-3333-4444-555555555555";
    let changes = [
        ("status", json!(null)),
        ("status", json!("BANANA")),
        ("status", json!(7)),
        ("name", json!(null)),
        ("name", json!(5)),
        ("created", json!(null)),
        ("created", json!("yesterday")),
        ("metadata", json!(null)),
        ("metadata", json!([])),
        ("metadata", json!({"a": 1})),
        ("id", json!(null)),
        ("id", json!(9)),
        ("fault", json!("broken")),
        ("fault", json!({"message": 3})),
        ("OS-EXT-STS:task_state", json!({})),
        ("os-extended-volumes:volumes_attached", json!(null)),
        ("os-extended-volumes:volumes_attached", json!([7])),
        ("OS-EXT-AZ:availability_zone", json!(1)),
    ];
    for (field, value) in changes {
        let mut odd = json!({
            "id": ODD, "name": "alice-7", "status": "ACTIVE", "created": "2026-11-22T10:31:13Z", "metadata": {"x": "y"},
        });
        odd[field] = value.clone();
        let good = cloud::server("aaaaaaaa-0000-4000-8000-000000000001", "n-1", "BUILD");
        let (_double, site) = site(vec![cloud::list(&[odd, good])]);
        let run = site.tick(&["-o", "json"]);
        let report = run.exits(0).json();
        let notices = report["notices"].as_array().unwrap();
        let told = notices.iter().filter_map(|notice| notice.as_str());
        let told: Vec<&str> = told
            .filter(|notice| notice.contains("cannot be read"))
            .collect();
        assert_eq!(told.len(), 1, "{field} {value}: {notices:?}");
        let named = told[0].contains("alice-7") || told[0].contains(ODD);
        assert!(
            named && told[0].contains(field),
            "{field} {value}: {told:?}"
        );
        assert_eq!(
            report["nodes"].as_array().unwrap().len(),
            1,
            "{field} {value}: {report}"
        );
        assert_eq!(report["unknown_sources"], json!([]), "{field} {value}");
    }
}

#[test]
fn an_odd_server_of_ours_is_a_node_that_is_left_alone() {
    for (field, value) in [
        ("status", json!(null)),
        ("created", json!(null)),
        ("metadata", json!(null)),
        ("id", json!(null)),
        ("os-extended-volumes:volumes_attached", json!(null)),
    ] {
        let mut odd = cloud::server("aaaaaaaa-0000-4000-8000-000000000001", "n-1", "ERROR");
        odd[field] = value.clone();
        let (double, site) = site(vec![cloud::list(&[odd])]);
        let site = site.over("daemon: {nodes_max: 1}\n");
        for _ in 0..3 {
            site.tick(&[])
                .exits(0)
                .says("cannot be read: ")
                .says("1 of the unreadable servers may be nodes of this pool")
                .says("nothing to do");
        }
        assert_eq!(
            double.count("POST", CREATE),
            0,
            "{field}: it counts for nodes_max"
        );
        assert_eq!(double.count("DELETE", ""), 0, "{field}");
    }
}

#[test]
fn a_project_that_is_over_a_unified_limit_waits_and_is_never_protected() {
    let body = json!({"forbidden": {"code": 403, "message":
        "Project 0123456789abcdef0123456789abcdef is over a limit for [Resource class:PCPU is over limit of 8 due to current usage 8 and delta 2]"}});
    let refused = always("POST", CREATE, Reply::status(403, &body.to_string()));
    let (double, site) = site(vec![refused]);
    let site = site.over("daemon: {protect_after: 2, backoff_initial: 1ms, backoff_max: 2ms}\n");
    for _ in 0..8 {
        site.tick(&[]).never_says("PROTECTED").says("over a limit");
    }
    assert!(
        double.count("POST", CREATE) >= 4,
        "it is tried again by itself"
    );
    double.play(cloud::script(vec![]));
    site.tick(&[]).exits(0).says("plan     create 1");
}

#[test]
fn a_flavor_without_a_disk_is_refused_for_itself() {
    let body = json!({"forbidden": {"code": 403, "message": "Only volume-backed servers are allowed for flavors with zero disk."}});
    let refused = always("POST", CREATE, Reply::status(403, &body.to_string()));
    let (_double, site) = site(vec![refused]);
    site.tick(&[])
        .exits(1)
        .says("Only volume-backed servers are allowed for flavors with zero disk.")
        .says("set `boot_volume_size` of this cloud");
}

#[test]
fn one_request_that_the_access_rules_lack_is_told_and_nodes_are_made() {
    let body = r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}"#;
    let (double, site) = site(vec![always(
        "GET",
        "/v2.0/quotas/",
        Reply::status(401, body),
    )]);
    site.tick(&[])
        .exits(0)
        .says("quota of ports cannot be read: GET /v2.0/quotas/")
        .says("plan     create 1");
    let server = cloud::asked_for(&double.wait_for("POST", CREATE));
    let lacks = always("GET", "/v2.0/quotas/", Reply::status(401, body));
    double.play(cloud::script(vec![lacks, cloud::list(&[server])]));
    for _ in 0..5 {
        site.tick(&[]).exits(0);
    }
    assert_eq!(
        double.count("POST", LOGIN),
        2,
        "the token is good for all else"
    );
}
