//! What else nodes are made of and take of a project: zones, server groups, boot volumes, tags, GPUs, and their quotas.

use std::collections::BTreeMap;

use openstack::CloudSettings;
use openstack::{compute, limits, server_group, zone};
use scaling::action::{CloudAction, FailureKind, Intent};
use scaling::observation::{CloudView, Observed, SecondaryQuota, Usage};
use scaling::refusal::About;
use serde_json::{Value, json};
use tick::cloud::{Cloud, LeftoverQuery};

use crate::double::{Double, Line, Reply, always, once};
use crate::{
    IMAGE_ID, cloud, create, intent, login, lookups, session, settings, soon, with_create,
};

const GROUPS: &str = "/v2.1/os-server-groups";
const GROUP: &str = "52dc0faf-dfd3-46bc-9ec8-46d35b985856";
const PORTS: &str = "/v2.0/quotas/b9b88f6ba68141e7823bee98ea1986a7/details";
const LIMITS: &str = "/limits";

/// The volume service of the recorded catalog.
fn cinder(path: &str) -> String {
    format!("/v3/b9b88f6ba68141e7823bee98ea1986a7{path}")
}

/// A create with these settings: its microversion and its body.
fn asked(change: impl Fn(&mut CloudSettings)) -> (String, Value) {
    let mut script = lookups();
    script.push(always("GET", GROUPS, Reply::fixture("nova-server-groups")));
    script.push(always(
        "POST",
        "/v2.1/servers",
        Reply::fixture("server-create"),
    ));
    let double = Double::start(script);
    let mut settings = settings(double.url());
    change(&mut settings);
    cloud(&settings)
        .perform(&CloudAction::Create(intent()), soon())
        .unwrap();
    let request = double.wait_for("POST", "/v2.1/servers");
    let version = request.header("OpenStack-API-Version").unwrap().to_owned();
    (version, request.json())
}

#[test]
fn a_server_is_put_into_its_group_and_has_what_is_configured() {
    let (version, body) = asked(|settings| {
        settings.server_group = Some("nodes".to_owned());
        settings.config_drive = true;
    });
    assert_eq!(version, "compute 2.19");
    assert_eq!(body["os:scheduler_hints"], json!({ "group": GROUP }));
    assert_eq!(body["server"]["config_drive"], true);
    assert_eq!(body["server"]["imageRef"], IMAGE_ID);
    assert_eq!(body["server"]["availability_zone"], Value::Null);
    assert_eq!(body["server"]["tags"], Value::Null);

    let (version, body) = asked(|settings| settings.tags = vec!["grid".to_owned()]);
    assert_eq!(version, "compute 2.52");
    assert_eq!(body["server"]["tags"], json!(["grid"]));
    assert_eq!(body.as_object().unwrap().len(), 1, "no hints");
}

#[test]
fn a_server_boots_from_a_volume() {
    let volume = json!({
        "boot_index": 0, "uuid": IMAGE_ID, "source_type": "image", "destination_type": "volume",
        "volume_size": 40, "delete_on_termination": true,
    });
    let (version, body) = asked(|settings| settings.boot_volume_size_gb = Some(40));
    assert_eq!(version, "compute 2.19");
    assert_eq!(body["server"]["imageRef"], Value::Null);
    assert_eq!(body["server"]["block_device_mapping_v2"], json!([volume]));

    let (version, body) = asked(|settings| {
        settings.boot_volume_size_gb = Some(40);
        settings.boot_volume_type = Some("fast".to_owned());
        settings.scratch_size_gb = Some(7);
        settings.tags = vec!["grid".to_owned()];
    });
    assert_eq!(version, "compute 2.67");
    let disks = &body["server"]["block_device_mapping_v2"];
    assert_eq!(disks[0]["volume_type"], "fast");
    assert_eq!(disks[1]["volume_size"], 7);
    assert_eq!(disks[1]["boot_index"], -1);
}

#[test]
fn a_server_group_that_is_not_there_makes_nothing() {
    let mut script = lookups();
    script.push(always("GET", GROUPS, Reply::fixture("nova-server-groups")));
    let double = Double::start(script);
    let mut settings = settings(double.url());
    settings.server_group = Some("others".to_owned());
    let failure = cloud(&settings)
        .perform(&CloudAction::Create(intent()), soon())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused(About::Configuration));
    assert!(
        failure.message.contains(
            "there is no server group 'others' (there are: nodes): run `ehos cloud setup` to create it"
        ),
        "{}",
        failure.message
    );
}

#[test]
fn ports_that_run_out_are_want_of_room() {
    let double = with_create(Reply::fixture("server-create-ports"));
    let failure = create(&double).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Quota, "{}", failure.message);
    assert!(failure.message.contains("Maximum number of ports exceeded"));
}

/// What a look at a cloud with these settings and answers sees.
fn view(first: Vec<Line>, change: impl Fn(&mut CloudSettings)) -> (Double, CloudView) {
    let mut script = first;
    script.extend([
        login(),
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-empty"),
        ),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors-extra-specs"),
        ),
        always("GET", PORTS, Reply::fixture("neutron-quota-details")),
        always("GET", &cinder(LIMITS), Reply::fixture("cinder-limits")),
        always("GET", GROUPS, Reply::fixture("nova-server-groups")),
    ]);
    let double = Double::start(script);
    let mut settings = settings(double.url());
    change(&mut settings);
    let view = cloud(&settings)
        .observe(&LeftoverQuery::default(), soon())
        .unwrap();
    (double, view)
}

fn of(limit: u64, used: u64) -> Usage {
    Usage {
        limit: Some(limit),
        used,
    }
}

fn all(settings: &mut CloudSettings) {
    settings.scratch_size_gb = Some(1);
    settings.server_group = Some(GROUP.to_owned());
}

#[test]
fn only_what_nodes_take_is_asked_for() {
    let (double, seen) = view(vec![], |_| {});
    assert_eq!(double.count("GET", &cinder(LIMITS)), 0);
    assert_eq!(double.count("GET", GROUPS), 0);
    let unlimited = SecondaryQuota {
        ports: Usage {
            limit: None,
            used: 1,
        },
        ..SecondaryQuota::default()
    };
    assert_eq!(seen.parts, Observed::Known(unlimited), "-1 is unlimited");
    let (_, seen) = view(vec![], all);
    let every = SecondaryQuota {
        volumes: of(10, 0),
        volume_gb: of(100, 0),
        server_group_members: of(10, 1),
        ..unlimited
    };
    assert_eq!(seen.parts, Observed::Known(every));
}

#[test]
fn what_the_cloud_does_not_have_limits_nothing_and_what_fails_is_unknown() {
    for status in [403, 404] {
        let refused = Reply::status(status, "{}");
        let first = vec![
            always("GET", PORTS, refused.clone()),
            always("GET", &cinder(LIMITS), refused),
        ];
        let (_, seen) = view(first, |settings| settings.scratch_size_gb = Some(1));
        assert_eq!(
            seen.parts,
            Observed::Known(SecondaryQuota::default()),
            "{status}"
        );
    }
    for target in [PORTS.to_owned(), cinder(LIMITS), GROUPS.to_owned()] {
        let first = vec![always("GET", &target, Reply::status(503, ""))];
        let (_, seen) = view(first, all);
        let Observed::Unknown(why) = seen.parts else {
            panic!("{target}: {:?}", seen.parts);
        };
        assert!(why.contains(&target) && why.contains("503"), "{why}");
    }
    let (_, seen) = view(vec![], |settings| {
        settings.server_group = Some("gone".to_owned());
    });
    assert!(
        matches!(&seen.parts, Observed::Unknown(why) if why.contains("there is no server group 'gone'")),
        "{:?}",
        seen.parts
    );
}

#[test]
fn a_cloud_without_cinder_tells_nothing_of_volumes() {
    let login = crate::token(crate::TOKEN).replace(r#""type":"volumev3""#, r#""type":"other""#);
    let double = Double::start(vec![always("POST", "/v3/auth/tokens", login)]);
    let settings = settings(double.url());
    assert!(
        limits::volumes(&session(&settings), soon())
            .unwrap()
            .is_none()
    );
}

#[test]
fn gpus_and_disks_of_flavors_are_those_that_nodes_will_have() {
    let with = |change: fn(&mut CloudSettings)| {
        let (_, seen) = view(vec![], |settings| {
            settings.flavors = vec!["g1.large".to_owned(), "m1.small".to_owned()];
            change(settings);
        });
        let flavors = seen.flavors.into_values();
        let sizes: Vec<(u64, u64)> = flavors.map(|it| (it.gpus, it.disk_gb)).collect();
        sizes
    };
    assert_eq!(with(|_| {}), [(2, 40), (0, 20)]);
    assert_eq!(
        with(|settings| {
            settings.gpus =
                BTreeMap::from([("g1.large".to_owned(), 0), ("m1.small".to_owned(), 1)]);
        }),
        [(0, 40), (1, 20)]
    );
    assert_eq!(
        with(|settings| settings.boot_volume_size_gb = Some(30)),
        [(2, 30), (0, 30)]
    );
}

#[test]
fn an_older_nova_shows_flavors_without_extra_specs() {
    let double = Double::start(vec![
        login(),
        once(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-406-microversion"),
        ),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
    ]);
    let settings = settings(double.url());
    let flavors = compute::flavors(&session(&settings), soon()).unwrap();
    assert!(flavors.read.iter().all(|flavor| flavor.flavor.gpus == 0));
    let received = double.received();
    let versions: Vec<_> = received
        .iter()
        .filter_map(|request| request.header("OpenStack-API-Version"))
        .collect();
    assert_eq!(versions, ["compute 2.61", "compute 2.1"]);
}

#[test]
fn a_server_group_is_made_by_an_older_nova_too() {
    let made = |first: Vec<Line>| {
        let mut script = first;
        script.extend([
            login(),
            always("POST", GROUPS, Reply::fixture("nova-server-group-create")),
        ]);
        let double = Double::start(script);
        let settings = settings(double.url());
        let group =
            server_group::create(&session(&settings), "nodes", "soft-anti-affinity", soon());
        let asked: Vec<Value> = double
            .received()
            .iter()
            .filter(|request| request.target == GROUPS)
            .map(|request| request.json()["server_group"].clone())
            .collect();
        (group.unwrap(), asked)
    };
    let one = json!({"name": "nodes", "policy": "soft-anti-affinity"});
    let list = json!({"name": "nodes", "policies": ["soft-anti-affinity"]});
    let (group, asked) = made(vec![]);
    assert_eq!(
        (group.policy.as_str(), group.members),
        ("soft-anti-affinity", 0)
    );
    assert_eq!(asked.as_slice(), std::slice::from_ref(&one));
    let (_, asked) = made(vec![once(
        "POST",
        GROUPS,
        Reply::fixture("nova-406-microversion"),
    )]);
    assert_eq!(asked, [one, list]);
}

#[test]
fn zones_are_those_of_the_cloud_and_of_each_server() {
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            "/v2.1/os-availability-zone",
            Reply::fixture("nova-zones"),
        ),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    let zones = zone::zones(&session, soon()).unwrap();
    assert_eq!(zones[0].name, "nova");
    assert!(zones[0].available);
    let text = r#"{"server": {"id": "1", "name": "n", "status": "ACTIVE", "created": "2026-11-22T10:31:13Z",
                   "metadata": {}, "OS-EXT-AZ:availability_zone": "ZONE"}}"#;
    for (said, seen) in [("nova", Some("nova")), ("", None)] {
        double.play(vec![
            login(),
            always(
                "GET",
                "/v2.1/servers/1",
                Reply::status(200, &text.replace("ZONE", said)),
            ),
        ]);
        let record = compute::look(&session, "1", soon()).unwrap().unwrap();
        assert_eq!(record.zone.as_deref(), seen);
    }
}

#[test]
fn a_node_is_made_in_the_zone_of_its_intent() {
    let double = with_create(Reply::fixture("server-create"));
    let settings = settings(double.url());
    let intent = Intent {
        zone: Some("z2".to_owned()),
        ..intent()
    };
    cloud(&settings)
        .perform(&CloudAction::Create(intent), soon())
        .unwrap();
    let body = double.wait_for("POST", "/v2.1/servers").json();
    assert_eq!(body["server"]["availability_zone"], "z2");
}

/// A Nova whose newest microversion is this: what is asked for above it is refused (406).
fn old_nova(newest: (u32, u32), version: &str) -> bool {
    let (_, version) = version.split_once(' ').unwrap();
    let (major, minor) = version.split_once('.').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap()) <= newest
}

#[test]
fn a_create_falls_back_to_what_an_older_nova_has() {
    let refuse = Reply::fixture("nova-406-microversion");
    let tagged = |settings: &mut CloudSettings| settings.tags = vec!["grid".to_owned()];
    let typed = |settings: &mut CloudSettings| {
        settings.boot_volume_size_gb = Some(20);
        settings.boot_volume_type = Some("fast".to_owned());
    };
    type Change = fn(&mut CloudSettings);
    let plain: Change = |_| {};
    for (newest, change, refusals, sent) in [
        ((2, 100), plain, 0, Some("compute 2.19")),
        ((2, 18), plain, 1, Some("compute 2.1")),
        ((2, 60), tagged as Change, 0, Some("compute 2.52")),
        ((2, 40), tagged, 1, Some("compute 2.19")),
        ((2, 1), tagged, 2, Some("compute 2.1")),
        ((2, 67), typed as Change, 0, Some("compute 2.67")),
        ((2, 60), typed, 1, None),
    ] {
        let mut script = lookups();
        for _ in 0..refusals {
            script.push(once("POST", "/v2.1/servers", refuse.clone()));
        }
        script.push(always(
            "POST",
            "/v2.1/servers",
            Reply::fixture("server-create"),
        ));
        let double = Double::start(script);
        let mut settings = settings(double.url());
        change(&mut settings);
        let result = cloud(&settings).perform(&CloudAction::Create(intent()), soon());
        let asked: Vec<_> = double
            .received()
            .into_iter()
            .filter(|request| request.method == "POST" && request.target == "/v2.1/servers")
            .collect();
        let versions: Vec<&str> = asked
            .iter()
            .map(|request| request.header("OpenStack-API-Version").unwrap())
            .collect();
        let (last, before) = versions.split_last().unwrap();
        assert!(
            before.iter().all(|version| !old_nova(newest, version)),
            "{versions:?}"
        );
        match sent {
            Some(version) => {
                assert!(result.is_ok(), "{versions:?}");
                assert_eq!(*last, version);
                assert!(old_nova(newest, last), "{versions:?}");
                let server = &asked.last().unwrap().json()["server"];
                assert_eq!(server["description"].is_string(), version != "compute 2.1");
                let tags = !settings.tags.is_empty() && version == "compute 2.52";
                assert_eq!(server["tags"].is_array(), tags);
            }
            None => {
                let failure = result.unwrap_err();
                assert_eq!(failure.kind, FailureKind::Refused(About::Configuration));
                assert!(
                    failure
                        .message
                        .contains("lacks microversion 2.67, which `boot_volume_type` needs"),
                    "{}",
                    failure.message
                );
            }
        }
    }
}
