//! `ehos check` with each thing broken in turn: it is found, it is told what to do, and nothing is made.

use jiff::{SignedDuration, Timestamp};
use std::fs;

use serde_json::{Value, json};

use crate::double::{Double, Line, Reply, always};
use crate::harness::cloud::{self, LOGIN};
use crate::harness::{Run, Site};

const NETWORKS: &str = "/v2.0/networks";
const GROUPS: &str = "/v2.0/security-groups?project_id=";
const KEYS: &str = "/v2.1/os-keypairs";
const IMAGES: &str = "/v2/images?name=";
const LIMITS: &str = "/v2.1/limits";

/// Keystone's answer, by a clock that is so far ahead.
fn login(ahead_seconds: i64) -> Reply {
    let now = Timestamp::now() + SignedDuration::from_secs(ahead_seconds);
    cloud::login()
        .replace("2026-11-22T10:30:16.000000Z", &now.to_string())
        .replace(
            "2026-11-22T11:30:16.000000Z",
            &(now + SignedDuration::from_hours(1)).to_string(),
        )
}

const PORTS: &str = "/v2.0/ports";

fn golden(cluster: &str) -> Reply {
    let property = format!(r#""ehos_cluster":"{cluster}","os_distro""#);
    Reply::fixture("glance-images-by-name").replace(r#""os_distro""#, &property)
}

/// A cloud where all is well but for `first`.
pub fn script(first: Vec<Line>) -> Vec<Line> {
    let well = [
        (LOGIN, login(0)),
        (NETWORKS, Reply::fixture("neutron-networks")),
        ("/v2.0/subnets", Reply::fixture("neutron-subnets")),
        (GROUPS, Reply::fixture("neutron-security-groups")),
        (KEYS, Reply::fixture("nova-keypairs")),
        (IMAGES, golden("pool-1")),
        // What is asked for nothing, with the rights to it.
        (
            cloud::CREATE,
            Reply::fixture("server-create-flavor-unknown"),
        ),
        (PORTS, Reply::fixture("neutron-network-404")),
    ];
    let well = well.into_iter().map(|(target, reply)| {
        let posts = [LOGIN, cloud::CREATE, PORTS].contains(&target);
        always(if posts { "POST" } else { "GET" }, target, reply)
    });
    cloud::script(first.into_iter().chain(well).collect())
}

/// A site where all is well.
pub fn site(double: &Double) -> Site {
    let address = double.url().trim_start_matches("http://");
    Site::with_cloud(double.url())
        .over(&format!(
            "ehos: {{network: machines, security_groups: [chk-group]}}\ncondor: {{host_ip: '{address}'}}\n"
        ))
        .script(
            "condor_status",
            "-collector",
            r#"printf '%s\t3600\t"ehos-cm"\n' "$(date +%s)""#,
        )
        .answers("condor_ping", "ADMINISTRATOR", &ping("ADMINISTRATOR"))
        .answers("condor_ping", "ADVERTISE_STARTD", &ping("ADVERTISE_STARTD"))
        .answers("condor_config_val", "DAEMON_LIST", "out|MASTER, COLLECTOR, SCHEDD\nexit=0\n")
        .answers("condor_config_val", "EVENT_LOG", "out|/var/log/condor/EventLog\nexit=0\n")
        .answers("condor_config_val", "CLASSAD_LIFETIME", "out|180\nexit=0\n")
        .answers("condor_config_val", "NEGOTIATOR_UPDATE_AFTER_CYCLE", "out|True\nexit=0\n")
        .answers("condor_config_val", "NEGOTIATOR_INTERVAL", "out|20\nexit=0\n")
        .answers("condor_config_val", "NEGOTIATOR_CYCLE_DELAY", "out|5\nexit=0\n")
}

fn ping(level: &str) -> String {
    format!(
        "out|{level} command using (AES, AES, and IDTOKENS) succeeded as ehos@testbed to local collector.\nexit=0\n"
    )
}

const REFUSED: &str = "out|It failed!  Use -verbose for more information.\nexit=1\n";

pub fn check(site: &Site, more: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let args = [
        "check",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    site.run(&[&args, more].concat())
}

/// What is not well: area, check, outcome and text.
fn troubles(run: &Run) -> Vec<(String, String, String, String)> {
    let report = run.json();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or("").to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["outcome"] == "warning" || finding["outcome"] == "failed")
        .map(|finding| {
            assert!(
                !text(finding, "remedy").is_empty() || finding["check"] == "files",
                "what is to be done about {finding}?"
            );
            (
                text(finding, "area"),
                text(finding, "check"),
                text(finding, "outcome"),
                text(finding, "text"),
            )
        })
        .collect()
}

/// A request that tells of the rights: it is for something that no cloud has.
fn is_for_nothing(request: &crate::double::Received) -> bool {
    let nowhere = "00000000-0000-0000-0000-000000000000";
    let named = match request.target.as_str() {
        cloud::CREATE => request.json()["server"]["flavorRef"].clone(),
        PORTS => request.json()["port"]["network_id"].clone(),
        _ => return false,
    };
    request.method == "POST" && named == nowhere
}

/// There is this one trouble and no other, and nothing was asked for that changes anything.
fn only(double: &Double, site: &Site, area: &str, check_id: &str, outcome: &str, words: &str) {
    let run = check(site, &["-o", "json"]);
    run.exits(i32::from(outcome == "failed"));
    let troubles = troubles(&run);
    let [(place, id, found, what)] = troubles.as_slice() else {
        panic!("{check_id} {outcome} {words} alone was to be found: {troubles:?} in {run}");
    };
    assert_eq!(
        (place.as_str(), id.as_str(), found.as_str()),
        (area, check_id, outcome),
        "{what}"
    );
    assert!(what.contains(words), "{what}");
    let changes = double.received();
    let mut changes = changes
        .iter()
        .filter(|request| request.method != "GET" && request.target != LOGIN)
        .filter(|request| !is_for_nothing(request));
    assert!(changes.next().is_none());
    assert_eq!(site.state_files(), None, "no state is made");
}

#[test]
fn all_is_well() {
    let double = Double::start(script(vec![]));
    let site = site(&double);
    let run = check(&site, &[]);
    run.exits(0)
        .warns_nothing()
        .says("cloud lab\n  ok       login")
        .says("ehos@testbed to drain nodes")
        .never_says("FAILED")
        .never_says("WARNING")
        .never_says("→");
    let names: Vec<String> = check(&site, &["-o", "json"]).json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["check"].as_str().unwrap().to_owned())
        .collect();
    for needed in [
        "login",
        "credentials",
        "clock",
        "region",
        "flavors",
        "image",
        "key",
        "networks",
        "security-groups",
        "port-9618",
        "egress",
        "ssh",
        "quota",
        "user-data",
        "collector",
        "schedd",
        "negotiator",
        "drain",
        "advertise",
        "token",
        "host-ip",
        "settings",
        "nodes",
        "slot-users",
    ] {
        assert!(names.iter().any(|name| name == needed), "{needed}");
    }
}

#[test]
fn each_thing_of_a_cloud_that_is_broken_is_found() {
    let password_ends = |days: i64| {
        let end = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let end = end.strftime("%Y-%m-%dT%H:%M:%S.000000").to_string();
        login(0).replace(
            r#""password_expires_at":null"#,
            &format!(r#""password_expires_at":"{end}""#),
        )
    };
    let networks = |old: &str, new: &str| Reply::fixture("neutron-networks").replace(old, new);
    let groups = |old: &str, new: &str| Reply::fixture("neutron-security-groups").replace(old, new);
    let limits = |used: u64| {
        Reply::fixture("nova-limits").replace(
            r#""totalInstancesUsed":0"#,
            &format!(r#""totalInstancesUsed":{used}"#),
        )
    };
    let empty = |what: &str| Reply::status(200, &format!(r#"{{"{what}": []}}"#));
    let cases: Vec<(Line, &str, &str, &str)> = vec![
        (
            always("POST", LOGIN, password_ends(3)),
            "credentials",
            "warning",
            "expires in 2 days",
        ),
        (
            always("POST", LOGIN, password_ends(-1)),
            "credentials",
            "failed",
            "expired on",
        ),
        (
            always("POST", LOGIN, login(120)),
            "clock",
            "warning",
            "ahead of",
        ),
        (
            always("POST", LOGIN, login(-900)),
            "clock",
            "failed",
            "behind",
        ),
        (
            always("GET", "/v2.1/flavors/detail", empty("flavors")),
            "flavors",
            "failed",
            "there is no flavor m1.small",
        ),
        (
            always(
                "GET",
                IMAGES,
                golden("pool-1").replace(r#""min_disk":10"#, r#""min_disk":40"#),
            ),
            "flavors",
            "failed",
            "m1.small has a disk of 20 GB, and the image needs 40 GB",
        ),
        (
            always("GET", IMAGES, Reply::fixture("glance-images-none")),
            "image",
            "failed",
            "there is no image 'GOLD CentOS 7'",
        ),
        (
            always(
                "GET",
                IMAGES,
                golden("pool-1").replace(r#""active""#, r#""queued""#),
            ),
            "image",
            "failed",
            "its status is queued",
        ),
        (
            always("GET", IMAGES, Reply::fixture("glance-images-by-name")),
            "image",
            "warning",
            "was not built by ehos image build",
        ),
        (
            always("GET", IMAGES, golden("pool-2")),
            "image",
            "warning",
            "another pool (pool-2)",
        ),
        (
            always("GET", KEYS, empty("keypairs")),
            "key",
            "failed",
            "the API shows no keypair ehos",
        ),
        (
            always(
                "GET",
                NETWORKS,
                networks(r#""name":"machines""#, r#""name":"other""#),
            ),
            "networks",
            "failed",
            "there is no network machines",
        ),
        (
            always(
                "GET",
                NETWORKS,
                networks(r#""status":"ACTIVE""#, r#""status":"DOWN""#),
            ),
            "networks",
            "failed",
            "its status is DOWN",
        ),
        (
            always(
                "GET",
                GROUPS,
                groups(r#""name":"chk-group""#, r#""name":"other""#),
            ),
            "security-groups",
            "failed",
            "there is no security group chk-group",
        ),
        (
            always(
                "GET",
                GROUPS,
                groups(
                    r#""port_range_max":9618,"port_range_min":9618"#,
                    r#""port_range_max":9619,"port_range_min":9619"#,
                ),
            ),
            "port-9618",
            "failed",
            "no rule allows tcp 9618 between servers of the group",
        ),
        (
            always(
                "GET",
                GROUPS,
                groups(r#""direction":"egress""#, r#""direction":"none""#),
            ),
            "egress",
            "failed",
            "no rule allows nodes to send to tcp 9618",
        ),
        (
            always(
                "GET",
                GROUPS,
                groups(
                    r#""port_range_max":22,"port_range_min":22"#,
                    r#""port_range_max":23,"port_range_min":23"#,
                ),
            ),
            "ssh",
            "warning",
            "no rule allows ssh from outside the group",
        ),
        (
            always("GET", LIMITS, limits(2000)),
            "quota",
            "failed",
            "no servers left",
        ),
        (
            always("GET", LIMITS, limits(1995)),
            "quota",
            "warning",
            "room for 5 more nodes",
        ),
        (
            always("GET", LIMITS, Reply::status(403, "no")),
            "quota",
            "failed",
            "status 403",
        ),
    ];
    for (line, id, outcome, words) in cases {
        let double = Double::start(script(vec![line]));
        only(&double, &site(&double), "cloud lab", id, outcome, words);
    }
}

#[test]
fn each_thing_of_the_pool_that_is_broken_is_found() {
    type Broken = (
        &'static str,
        &'static str,
        String,
        &'static str,
        &'static str,
        &'static str,
    );
    let late = Timestamp::now().as_second() - 1000;
    let cases: Vec<Broken> = vec![
        (
            "condor_ping",
            "ADMINISTRATOR",
            REFUSED.to_owned(),
            "drain",
            "failed",
            "drain nodes",
        ),
        (
            "condor_ping",
            "ADVERTISE_STARTD",
            REFUSED.to_owned(),
            "advertise",
            "warning",
            "until the ads expire",
        ),
        (
            "condor_token_create",
            "any",
            "err|Failed to generate a token.\nexit=2\n".to_owned(),
            "token",
            "failed",
            "Failed to generate a token",
        ),
        (
            "condor_q",
            "-totals",
            "err|Error: Can't find address for schedd x\nexit=1\n".to_owned(),
            "schedd",
            "failed",
            "Can't find address",
        ),
        (
            "condor_status",
            "-collector",
            format!("out|{late}\t3600\t\"ehos-cm\"\nexit=0\n"),
            "clock",
            "failed",
            "behind",
        ),
        (
            "condor_status",
            "-any",
            "out|\"Negotiator\"\t\"ehos-cm\"\tundefined\t600\t1795353040\t\"<c>\"\nexit=0\n"
                .to_owned(),
            "negotiator",
            "warning",
            "a cycle takes 600 s, and daemon.negotiation_cycle is 80 s",
        ),
        (
            "condor_config_val",
            "CLASSAD_LIFETIME",
            "out|900\nexit=0\n".to_owned(),
            "settings",
            "warning",
            "CLASSAD_LIFETIME is 900",
        ),
        (
            "condor_config_val",
            "NEGOTIATOR_UPDATE_AFTER_CYCLE",
            "out|false\nexit=0\n".to_owned(),
            "settings",
            "warning",
            "NEGOTIATOR_UPDATE_AFTER_CYCLE is not True",
        ),
        (
            "condor_config_val",
            "EVENT_LOG",
            "err|Not defined: EVENT_LOG\nexit=1\n".to_owned(),
            "settings",
            "warning",
            "EVENT_LOG is not set",
        ),
        (
            "condor_config_val",
            "NEGOTIATOR_INTERVAL",
            "out|60\nexit=0\n".to_owned(),
            "settings",
            "warning",
            "NEGOTIATOR_INTERVAL is 60 s",
        ),
        (
            "condor_config_val",
            "NEGOTIATOR_CYCLE_DELAY",
            "out|20\nexit=0\n".to_owned(),
            "settings",
            "warning",
            "NEGOTIATOR_CYCLE_DELAY is 20 s",
        ),
        (
            "condor_status",
            "EhosNode =!= undefined && SlotType =!= \"Dynamic\"",
            "out|\"n1\"\t\"pool-1\"\t0\t60\t4\t4\nexit=0\n".to_owned(),
            "nodes",
            "failed",
            "MaxJobRetirementTime is 0",
        ),
        (
            "condor_status",
            "EhosNode =!= undefined && SlotType =!= \"Dynamic\"",
            "out|\"n1\"\t\"pool-1\"\t3600\t60\tundefined\t4\nexit=0\n".to_owned(),
            "slot-users",
            "warning",
            "1 of 1 nodes, as n1, run jobs of several users as one user",
        ),
    ];
    for (tool, word, answer, id, outcome, words) in cases {
        let double = Double::start(script(vec![]));
        let site = site(&double).answers(tool, word, &answer);
        only(&double, &site, "pool", id, outcome, words);
    }
}

#[test]
fn what_the_configuration_says_wrong_is_found() {
    for (yaml, area, id, outcome, words) in [
        ("ehos: {base_image: GOLD CentOS 7}", "", "", "", ""),
        (
            "clouds: {lab: {region_name: Mars}}",
            "cloud lab",
            "region",
            "failed",
            "in region Mars",
        ),
        (
            "ehos: {flavors: [m1.small, m1.gone]}",
            "cloud lab",
            "flavors",
            "failed",
            "m1.gone",
        ),
        (
            "condor: {host_ip: '127.0.0.1:1'}",
            "pool",
            "host-ip",
            "warning",
            "cannot be reached",
        ),
        // Another network: the group lets nobody in there over IPv6.
        (
            "ehos: {network: dualStack}",
            "cloud lab",
            "port-9618",
            "warning",
            "(IPv6)",
        ),
    ] {
        let double = Double::start(script(vec![]));
        let site = site(&double).over(&format!("{yaml}\n"));
        if id.is_empty() {
            check(&site, &[]).exits(0);
        } else {
            only(&double, &site, area, id, outcome, words);
        }
    }
    // What is wrong in a file is told before anything is asked.
    let double = Double::start(script(vec![]));
    let broken = site(&double).over("condor: {token: not.a-token}\n");
    check(&broken, &[]).exits(78).says("is not a token");
    // An image that is the base image, and was not made for nodes.
    let plain = always("GET", IMAGES, Reply::fixture("glance-images-by-name"));
    let double = Double::start(script(vec![plain]));
    let site = site(&double).over("ehos: {base_image: GOLD CentOS 7}\n");
    only(
        &double,
        &site,
        "cloud lab",
        "image",
        "failed",
        "is the base image",
    );
}

#[test]
fn a_configuration_that_cannot_be_used_is_all_that_is_said() {
    let double = Double::start(vec![]);
    let site = site(&double).over("daemon: {nodes_mx: 3}\nehos: {flavors: []}\n");
    let run = check(&site, &["-o", "json"]);
    run.exits(78);
    let troubles = troubles(&run);
    assert!(
        troubles.iter().all(|(area, ..)| area == "configuration"),
        "{run}"
    );
    assert!(troubles[0].3.contains("nodes_mx"), "{run}");
    check(&site, &[]).exits(78).says("FAILED").says("nodes_max");
    assert_eq!(double.received().len(), 0);
    check(&site, &["--cloud", "moon"]).exits(78);
}

#[test]
fn who_does_not_answer_and_who_says_no() {
    // Nobody answers at all: to be tried later.
    let double = Double::start(vec![]);
    let silent = site(&double)
        .over("clouds: {lab: {auth_url: 'http://127.0.0.1:1'}}\n")
        .answers(
            "condor_status",
            "-collector",
            "err|Error: communication error\nexit=1\n",
        )
        .answers("condor_q", "-totals", "err|Error: x\nexit=1\n");
    check(&silent, &[])
        .exits(75)
        .says("FAILED   login")
        .says("cannot connect to 127.0.0.1:1")
        .says("→ check the address")
        .says("FAILED   collector");
    // The pool does.
    let half = site(&double).over("clouds: {lab: {auth_url: 'http://127.0.0.1:1'}}\n");
    check(&half, &[]).exits(1);
    // A cloud that does not know us has answered.
    let wrong = always("POST", LOGIN, Reply::fixture("token-password-wrong"));
    let double = Double::start(script(vec![wrong]));
    let refused = site(&double);
    let run = check(&refused, &["-o", "json"]);
    run.exits(1);
    let troubles = troubles(&run);
    assert_eq!(troubles.len(), 1, "{run}");
    assert_eq!(troubles[0].1, "login");
    assert_eq!(
        double.count("POST", LOGIN),
        1,
        "several could lock the user out"
    );
    // TLS where plain HTTP was expected.
    let tls = Reply::status(400, "The plain HTTP request was sent to HTTPS port");
    let double = Double::start(script(vec![always("POST", LOGIN, tls)]));
    let moved = Reply::status(301, "").with("Location", "https://x/v3/auth/tokens");
    check(&site(&double), &[]).exits(1).says("FAILED   login");
    let double = Double::start(script(vec![always("POST", LOGIN, moved)]));
    check(&site(&double), &[])
        .exits(1)
        .says("→ auth_url begins with http://: if the service speaks https, correct it");
    let tls = double.url().replace("http://", "https://");
    let site = site(&double).over(&format!("clouds: {{lab: {{auth_url: '{tls}'}}}}\n"));
    check(&site, &[])
        .says("FAILED   login")
        .says("→ auth_url begins with https://: if the service speaks http, correct it");
}

#[test]
fn a_collector_that_is_off_is_no_lack_of_rights() {
    let double = Double::start(script(vec![]));
    // As where condor_master is up, and with it the shared port: condor_ping then says what it says without a right.
    let off = "err|Error: communication error\nerr|SECMAN:2011:Connection closed during command authorization. Probably due \
               to an unknown command.\nexit=1\n";
    let site = site(&double)
        .answers("condor_status", "-collector", off)
        .answers("condor_status", "any", off)
        .answers("condor_ping", "ADMINISTRATOR", REFUSED)
        .answers("condor_ping", "ADVERTISE_STARTD", REFUSED)
        .answers(
            "condor_config_val",
            "COLLECTOR_HOST",
            "out|cm.example.org\nexit=0\n",
        );
    check(&site, &[])
        .exits(1)
        .says("FAILED   collector")
        .says("no collector answers at cm.example.org:9618")
        .says("skipped  drain            the collector does not answer")
        .says("skipped  advertise        the collector does not answer")
        .never_says("ALLOW_ADMINISTRATOR")
        .never_says("ALLOW_ADVERTISE");
    site.tick(&["--dry-run"])
        .says("unknown  collector: no collector answers at cm.example.org:9618");
}

#[test]
fn a_machine_without_htcondor_checks_its_clouds() {
    let double = Double::start(script(vec![]));
    let site = site(&double).over("condor: {bin: /nonexistent}\n");
    check(&site, &[])
        .exits(0)
        .says("skipped  tools")
        .says("check the pool on the central manager");
}

#[test]
fn one_cloud_can_be_chosen() {
    let double = Double::start(script(vec![]));
    let site = site(&double).over(&format!(
        "clouds:\n{}",
        cloud::access("field", "http://127.0.0.1:1")
    ));
    check(&site, &[])
        .exits(1)
        .says("cloud field\n  FAILED   login");
    check(&site, &["--cloud", "lab"])
        .exits(0)
        .never_says("field\n");
}

/// Reports with as much in them as there can be.
pub fn reports() -> Vec<Value> {
    let double = Double::start(script(vec![always(
        "GET",
        KEYS,
        Reply::status(200, &json!({"keypairs": []}).to_string()),
    )]));
    vec![check(&site(&double), &["-o", "json"]).json()]
}

#[test]
fn a_host_ip_that_is_another_pools_collector_is_found() {
    // The configuration was copied to a second central manager, and its nodes would join the first one's pool.
    let double = Double::start(script(vec![]));
    let site = site(&double).script(
        "condor_status",
        "-collector",
        r#"case "$*" in
            *-pool*MyAddress*) echo '<10.0.0.1:9618>' ;;
            *MyAddress*) echo '<10.0.0.2:9618>' ;;
            *) printf '%s\t3600\t"ehos-cm"\n' "$(date +%s)" ;;
        esac"#,
    );
    only(
        &double,
        &site,
        "pool",
        "host-ip",
        "failed",
        "nodes would join another pool: the collector of this one is <10.0.0.2:9618>",
    );
}

#[test]
fn what_nodes_are_put_into_and_take_is_looked_at() {
    const PORTS: &str = "/v2.0/quotas/";
    const ZONES: &str = "/v2.1/os-availability-zone";
    const SERVER_GROUPS: &str = "/v2.1/os-server-groups";
    let no_ports = Reply::fixture("neutron-quota-details")
        .replace(r#""port":{"limit":-1"#, r#""port":{"limit":1"#);
    let zones = || always("GET", ZONES, Reply::fixture("nova-zones"));
    let groups = || always("GET", SERVER_GROUPS, Reply::fixture("nova-server-groups"));
    let types = || always("GET", "/v3/", Reply::fixture("cinder-types"));
    let cases = [
        (
            vec![always("GET", PORTS, no_ports)],
            "",
            "quota",
            "failed",
            "the quota has no ports left for one more m1.small",
        ),
        (
            vec![zones()],
            "availability_zones: [nova, mars]",
            "zones",
            "failed",
            "there is no availability zone mars (there are: nova)",
        ),
        (
            vec![groups()],
            "server_group: others",
            "server-group",
            "failed",
            "there is no server group 'others' (there are: nodes): run `ehos cloud setup` to create it",
        ),
        (
            vec![groups()],
            "server_group: nodes, server_group_policy: affinity",
            "server-group",
            "warning",
            "nodes: soft-anti-affinity, and server_group_policy is affinity",
        ),
        (
            vec![
                always(
                    "GET",
                    "/v3/b9b88f6ba68141e7823bee98ea1986a7/limits",
                    Reply::fixture("cinder-limits"),
                ),
                types(),
            ],
            "boot_volume_size: 30, boot_volume_type: slow",
            "boot-volume",
            "failed",
            "there is no volume type slow (there are: fake, __DEFAULT__)",
        ),
    ];
    for (lines, keys, id, outcome, words) in cases {
        let double = Double::start(script(lines));
        let site = site(&double).over(&format!("ehos: {{{keys}}}\n"));
        let run = check(&site, &["-o", "json"]);
        let troubles = troubles(&run);
        assert!(
            troubles
                .iter()
                .any(|(area, check, found, what)| area == "cloud lab"
                    && check == id
                    && found == outcome
                    && what.contains(words)),
            "{words}: {troubles:?}"
        );
    }
    let double = Double::start(script(vec![
        always("GET", PORTS, Reply::status(404, "{}")),
        zones(),
        groups(),
    ]));
    let site = site(&double).over("ehos: {availability_zone: nova, server_group: nodes}\n");
    check(&site, &[])
        .exits(0)
        .says("the quota of ports is unknown")
        .says("nodes: soft-anti-affinity");
}

#[test]
fn a_central_manager_in_the_project_is_no_node() {
    let mut master = cloud::server("aaaaaaaa-0000-4000-8000-000000000001", "m", "ACTIVE");
    master["metadata"] = json!({"ehos_cluster": "pool-1", "ehos_role": "master"});
    let full = Reply::fixture("nova-limits")
        .replace(r#""totalInstancesUsed":0"#, r#""totalInstancesUsed":2000"#);
    let lines = vec![cloud::list(&[master]), always("GET", LIMITS, full)];
    let double = Double::start(script(lines));
    let site = site(&double);
    only(
        &double,
        &site,
        "cloud lab",
        "quota",
        "failed",
        "no servers left",
    );
}

#[test]
fn a_keypair_that_nobody_here_holds_is_found_before_there_is_a_master() {
    let double = Double::start(script(vec![]));
    let site = site(&double);
    fs::create_dir_all(site.path().join("home/.ssh")).unwrap();
    let home = site.path().join("home").display().to_string();
    let site = site.set("HOME", &home);
    // On a central manager, and beside one, that is as it should be.
    check(&site, &[]).says("ok       key              ehos");
    let config = fs::read_to_string(site.config()).unwrap();
    site.write("ehos.yaml", &config.replace("  host_ip: 10.0.0.1\n", ""));
    site.write(
        "ehos.d/01.yaml",
        "ehos: {network: machines, security_groups: [chk-group]}\n",
    );
    check(&site, &[])
        .says("WARNING  key              the private half of keypair ehos is missing here")
        .says("--identity FILE");
}

#[test]
fn rights_that_a_tick_needs_are_tried_without_an_effect() {
    let nova = r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:create to be performed."}}"#;
    let neutron = r#"{"NeutronError": {"type": "PolicyNotAuthorized", "message": "(rule:create_port) is disallowed by policy", "detail": ""}}"#;
    for (target, body, words) in [
        (
            cloud::CREATE,
            nova,
            "ehos may not create servers: Policy doesn't allow os_compute_api:servers:create",
        ),
        (PORTS, neutron, "ehos may not create ports"),
    ] {
        let double = Double::start(script(vec![always(
            "POST",
            target,
            Reply::status(403, body),
        )]));
        only(
            &double,
            &site(&double),
            "cloud lab",
            "rights",
            "failed",
            words,
        );
    }
    let reader = login(0).replace(r#""name":"member""#, r#""name":"reader""#);
    let double = Double::start(script(vec![always("POST", LOGIN, reader)]));
    let words = "the only role on the project is `reader`";
    only(
        &double,
        &site(&double),
        "cloud lab",
        "rights",
        "failed",
        words,
    );
    assert_eq!(double.count("POST", cloud::CREATE), 0);
}

#[test]
fn odd_items_of_a_cloud_are_found_by_name() {
    let flavors = r#"{"flavors": [{"id": "1", "name": "m1.small", "vcpus": 1, "ram": 2048, "disk": 20},
        {"id": "9", "name": "odd", "vcpus": 1, "ram": 2048, "disk": ""}]}"#;
    let odd = always("GET", "/v2.1/flavors/detail", Reply::status(200, flavors));
    let double = Double::start(script(vec![odd]));
    let words = "flavor odd (9) cannot be read: disk: ";
    only(
        &double,
        &site(&double),
        "cloud lab",
        "answers",
        "warning",
        words,
    );
}

#[test]
fn flavors_without_a_disk_ask_for_a_volume() {
    let flavors =
        r#"{"flavors": [{"id": "1", "name": "m1.small", "vcpus": 1, "ram": 2048, "disk": 0}]}"#;
    let diskless = always("GET", "/v2.1/flavors/detail", Reply::status(200, flavors));
    let double = Double::start(script(vec![diskless]));
    let words = "flavor m1.small has no disk";
    only(
        &double,
        &site(&double),
        "cloud lab",
        "flavors",
        "warning",
        words,
    );
}
