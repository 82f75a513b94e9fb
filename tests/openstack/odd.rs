//! One odd item of a list: it is named, and all else is read.

use openstack::{compute, image, network, server_group, volume, zone};
use scaling::observation::{CloudView, NodeId, Observed, Role};
use serde_json::{Value, json};
use tick::cloud::{Cloud, LeftoverQuery};

use crate::double::{Double, Reply, always};
use crate::{cloud, login, session, settings, soon};

const ODD: &str = "11111111-2222-3333-4444-555555555555";
const GOOD: &str = "99999999-8888-7777-6666-555555555555";

/// A server as Nova lists it.
fn server(id: &str, name: &str, metadata: Value) -> Value {
    json!({
        "id": id, "name": name, "status": "ACTIVE", "created": "2026-11-22T10:30:44Z", "metadata": metadata,
        "OS-EXT-STS:task_state": null, "OS-EXT-STS:power_state": 1, "OS-EXT-AZ:availability_zone": "nova",
        "os-extended-volumes:volumes_attached": [], "flavor": {"id": "1"}, "image": {"id": "i"},
        "addresses": {}, "tags": [],
    })
}

fn ours(node: &str) -> Value {
    json!({"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": node})
}

/// Each shape that one field was seen or may be with, and whether the server can be read all the same. `None`: it is
/// missing.
fn shapes() -> Vec<(&'static str, Option<Value>, bool)> {
    vec![
        ("status", Some(json!(null)), false),
        ("status", None, false),
        ("status", Some(json!(7)), false),
        ("status", Some(json!("")), false),
        ("status", Some(json!("BANANA")), false),
        ("status", Some(json!("UNKNOWN")), false),
        ("name", Some(json!(null)), true),
        ("name", None, true),
        ("name", Some(json!({"a": 1})), true),
        ("created", Some(json!(null)), false),
        ("created", None, false),
        ("created", Some(json!("yesterday")), false),
        ("created", Some(json!(1_700_000_000)), false),
        ("metadata", Some(json!(null)), false),
        ("metadata", None, false),
        ("metadata", Some(json!([])), false),
        ("metadata", Some(json!("x")), false),
        ("id", Some(json!(null)), false),
        ("id", None, false),
        ("id", Some(json!(12)), false),
        ("id", Some(json!("")), false),
        ("fault", Some(json!(null)), true),
        ("fault", Some(json!("broken")), true),
        ("fault", Some(json!({"code": 500})), true),
        ("fault", Some(json!({"message": null})), true),
        ("OS-EXT-STS:task_state", Some(json!(3)), false),
        ("OS-EXT-STS:task_state", None, true),
        ("OS-EXT-STS:power_state", Some(json!("on")), true),
        (
            "os-extended-volumes:volumes_attached",
            Some(json!(null)),
            false,
        ),
        (
            "os-extended-volumes:volumes_attached",
            Some(json!([{"id": null}])),
            false,
        ),
        (
            "os-extended-volumes:volumes_attached",
            Some(json!({})),
            false,
        ),
        ("os-extended-volumes:volumes_attached", None, true),
        ("OS-EXT-AZ:availability_zone", Some(json!(["a"])), true),
        ("flavor", Some(json!(null)), true),
        ("flavor", None, true),
        ("image", Some(json!(null)), true),
        ("addresses", Some(json!(null)), true),
        ("addresses", Some(json!({"net": [{"addr": 1}]})), true),
        ("tags", Some(json!(null)), true),
        ("tags", Some(json!([1])), true),
    ]
}

/// The cloud whose servers are these.
fn seen(servers: &[Value]) -> CloudView {
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::status(200, &json!({ "servers": servers }).to_string()),
        ),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
    ]);
    cloud(&settings(double.url()))
        .observe(&LeftoverQuery::default(), soon())
        .unwrap()
}

fn with(mut server: Value, field: &str, value: &Option<Value>) -> Value {
    let fields = server.as_object_mut().unwrap();
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    }
    server
}

#[test]
fn an_odd_server_of_others_is_named_and_nothing_else_changes() {
    for (field, value, _) in shapes() {
        let odd = with(server(ODD, "alice-7", json!({"x": "y"})), field, &value);
        let good = server(GOOD, "ehos-v1-execute-n-1", ours("n-1"));
        let view = seen(&[odd, good]);
        let what = format!("{field}: {value:?}");
        let ids: Vec<&str> = view.servers.iter().map(|server| server.id()).collect();
        assert_eq!(ids, [GOOD], "{what}");
        let may_be_ours = field == "metadata";
        assert_eq!(view.obscure.is_empty(), !may_be_ours, "{what}");
        for item in &view.unread {
            let told = item.to_string();
            assert!(
                told.contains("alice-7") || told.contains(ODD),
                "{what}: {told}"
            );
            assert!(told.contains(field), "{what}: {told}");
        }
    }
}

#[test]
fn an_odd_server_of_ours_is_kept_and_cannot_be_deleted() {
    for (field, value, readable) in shapes() {
        let odd = with(
            server(ODD, "ehos-v1-execute-n-2", ours("n-2")),
            field,
            &value,
        );
        let good = server(GOOD, "ehos-v1-execute-n-1", ours("n-1"));
        let view = seen(&[odd, good]);
        let what = format!("{field}: {value:?}");
        assert_eq!(view.servers.len(), 1 + usize::from(readable), "{what}");
        if readable {
            assert!(view.obscure.is_empty(), "{what}");
            continue;
        }
        let [obscure] = view.obscure.as_slice() else {
            panic!("{what}: {:?}", view.obscure);
        };
        assert_eq!(obscure.id.is_some(), field != "id", "{what}");
        assert_eq!(
            obscure.name.as_deref(),
            Some("ehos-v1-execute-n-2"),
            "{what}"
        );
        if field == "metadata" {
            assert_eq!((obscure.role, &obscure.node), (None, &None), "{what}");
        } else {
            assert_eq!(obscure.role, Some(Role::Execute), "{what}");
            assert_eq!(obscure.node, Some(NodeId("n-2".into())), "{what}");
        }
        assert_eq!(view.unread.len(), 1, "{what}: {:?}", view.unread);
    }
}

#[test]
fn entries_that_are_no_objects_and_odd_metadata_spoil_nothing() {
    let good = server(GOOD, "ehos-v1-execute-n-1", ours("n-1"));
    for odd in [json!(null), json!(7), json!("x"), json!([]), json!({})] {
        let view = seen(&[odd.clone(), good.clone()]);
        assert_eq!(view.servers.len(), 1, "{odd}");
        assert_eq!(view.unread.len(), 1, "{odd}");
        assert!(
            view.unread[0].item.starts_with("server 1 of the list"),
            "{odd}"
        );
    }
    for (metadata, kept, obscure) in [
        (
            json!({"ehos_cluster": "pool-1", "ehos_role": "execute", "mine": 7}),
            2,
            0,
        ),
        (
            json!({"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": null}),
            1,
            1,
        ),
        (json!({"ehos_cluster": 1, "ehos_role": "execute"}), 1, 1),
        (
            json!({"ehos_cluster": "pool-1", "ehos_role": ["execute"]}),
            1,
            1,
        ),
        (
            json!({"ehos_cluster": "pool-2", "ehos_role": "execute", "ehos_node": null}),
            1,
            0,
        ),
        (
            json!({"ehos_cluster": "pool-1", "ehos_role": "other", "ehos_node": 1}),
            1,
            0,
        ),
    ] {
        let view = seen(&[server(ODD, "n", metadata.clone()), good.clone()]);
        assert_eq!(
            (view.servers.len(), view.obscure.len()),
            (kept, obscure),
            "{metadata}"
        );
    }
}

#[test]
fn a_cell_that_is_down_is_no_odd_server() {
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::status(
                200,
                &json!({"servers": [{"id": ODD, "status": "UNKNOWN", "created": "2026-11-22T10:30:44Z", "tenant_id": "t"}]})
                    .to_string(),
            ),
        ),
    ]);
    let settings = settings(double.url());
    let error = compute::servers(&session(&settings), soon()).unwrap_err();
    assert!(
        error.to_string().contains("a cell of the cloud is down"),
        "{error}"
    );
}

/// The cloud with these flavors.
fn with_flavors(flavors: &[Value], configured: &str) -> CloudView {
    let double = Double::start(vec![
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
            Reply::status(200, &json!({ "flavors": flavors }).to_string()),
        ),
    ]);
    let mut settings = settings(double.url());
    settings.flavors = vec!["good".to_owned(), configured.to_owned()];
    cloud(&settings)
        .observe(&LeftoverQuery::default(), soon())
        .unwrap()
}

#[test]
fn an_odd_flavor_makes_that_flavor_unusable_and_no_other() {
    let flavor = |name: &str| json!({"id": format!("id-{name}"), "name": name, "vcpus": 2, "ram": 4096, "disk": 20});
    for (field, value, readable) in [
        ("disk", Some(json!("")), false),
        ("disk", Some(json!(null)), false),
        ("disk", Some(json!(-1)), false),
        ("vcpus", None, false),
        ("vcpus", Some(json!("2")), false),
        ("ram", Some(json!(1.5)), false),
        ("OS-FLV-EXT-DATA:ephemeral", Some(json!("")), false),
        ("id", Some(json!(null)), false),
        ("name", Some(json!(null)), false),
        ("extra_specs", Some(json!(null)), true),
        ("extra_specs", Some(json!([])), true),
        (
            "extra_specs",
            Some(json!({"a": null, "b": 1, "c": {}})),
            true,
        ),
        ("swap", Some(json!("")), true),
    ] {
        let what = format!("{field}: {value:?}");
        let odd = with(flavor("odd"), field, &value);
        let foreign = with_flavors(&[odd.clone(), flavor("good")], "good");
        assert_eq!(foreign.flavors.len(), 1, "{what}");
        assert_eq!(foreign.unread.is_empty(), readable, "{what}");
        assert!(foreign.unread_flavors.is_empty(), "{what}");
        let configured = if field == "name" { "id-odd" } else { "odd" };
        let mine = with_flavors(&[odd, flavor("good")], configured);
        assert_eq!(mine.flavors.contains_key(configured), readable, "{what}");
        assert!(mine.flavors.contains_key("good"), "{what}");
        if !readable {
            let why = &mine.unread_flavors[configured];
            assert!(why.contains(field) && why.contains("odd"), "{what}: {why}");
        }
    }
    let gpus = with(
        flavor("odd"),
        "extra_specs",
        &Some(json!({"resources:VGPU": 2, "x": null})),
    );
    assert_eq!(
        with_flavors(&[flavor("good"), gpus], "odd").flavors["odd"].gpus,
        2
    );
}

#[test]
fn an_odd_quota_stops_creates_in_this_cloud_and_nothing_else() {
    for (old, new, known) in [
        (r#""maxTotalCores":8000"#, r#""maxTotalCores":null"#, false),
        (
            r#""maxTotalCores":8000"#,
            r#""maxTotalCores":"many""#,
            false,
        ),
        (r#""maxTotalCores":8000"#, r#""maxTotalCore":1"#, false),
        (r#""maxTotalCores":8000"#, r#""maxTotalCores":"8000""#, true),
        (r#""maxTotalCores":8000"#, r#""maxTotalCores":8000.0"#, true),
        (
            r#""maxTotalCores":8000"#,
            r#""maxTotalFloatingIps":null,"maxTotalCores":8000"#,
            true,
        ),
    ] {
        let limits = Reply::fixture("nova-limits").replace(old, new);
        let double = Double::start(vec![
            login(),
            always(
                "GET",
                "/v2.1/servers/detail",
                Reply::status(
                    200,
                    &json!({"servers": [server(GOOD, "n", ours("n"))]}).to_string(),
                ),
            ),
            always("GET", "/v2.1/limits", limits),
            always(
                "GET",
                "/v2.0/quotas",
                Reply::fixture("neutron-quota-details"),
            ),
            always(
                "GET",
                "/v2.1/flavors/detail",
                Reply::fixture("nova-flavors"),
            ),
        ]);
        let view = cloud(&settings(double.url()))
            .observe(&LeftoverQuery::default(), soon())
            .unwrap();
        assert_eq!(view.servers.len(), 1);
        match &view.parts {
            Observed::Known(_) => {
                assert!(known, "{new}");
                assert_eq!(view.quota.cores.limit, Some(8000), "{new}");
            }
            Observed::Unknown(why) => {
                assert!(!known, "{new}");
                assert!(
                    why.contains("quota of Nova cannot be read: ") && why.contains("maxTotalCore"),
                    "{why}"
                );
            }
        }
    }
}

/// What `path` answers, beside a login.
fn answering(path: &'static str, body: Value) -> Double {
    Double::start(vec![
        login(),
        always("GET", path, Reply::status(200, &body.to_string())),
    ])
}

#[test]
fn every_other_list_is_read_item_by_item() {
    let odds = [
        json!(null),
        json!([]),
        json!({}),
        json!({"id": 7}),
        json!({"id": null, "name": "odd"}),
    ];
    for odd in odds {
        let at = |path, key: &str, good: Value| {
            answering(path, json!({ key: [odd.clone(), good, odd.clone()] }))
        };
        let check = |double: &Double, read: &dyn Fn(&openstack::auth::Session) -> usize| {
            let settings = settings(double.url());
            let session = session(&settings).reporting();
            assert_eq!(read(&session), 1, "{odd}");
            assert!(!session.unread().is_empty(), "{odd}");
        };
        let named = json!({"id": "a", "name": "good"});
        check(&at("/v2.0/networks", "networks", named.clone()), &|s| {
            network::networks(s, soon()).unwrap().len()
        });
        check(
            &at("/v2.0/security-groups", "security_groups", named.clone()),
            &|s| network::security_groups(s, soon()).unwrap().len(),
        );
        let subnet = json!({"id": "a", "network_id": "n", "cidr": "10.0.0.0/8"});
        check(&at("/v2.0/subnets", "subnets", subnet), &|s| {
            network::subnets(s, soon()).unwrap().len()
        });
        let port = json!({"id": "a", "network_id": "n", "device_id": "s", "device_owner": "compute:nova", "fixed_ips": [7]});
        check(&at("/v2.0/ports", "ports", port.clone()), &|s| {
            network::ports(s, "s", soon()).unwrap().len()
        });
        check(&at("/v2.0/ports", "ports", port), &|s| {
            network::ports_of(s, &["s"], soon()).unwrap().len()
        });
        let ip = json!({"id": "a", "floating_ip_address": "10.0.0.1", "floating_network_id": "n", "port_id": null, "port_details": 7});
        check(&at("/v2.0/floatingips", "floatingips", ip), &|s| {
            network::floating_ips(s, soon()).unwrap().len()
        });
        let picture = json!({"id": "a", "name": null, "status": "active", "created_at": "2026-11-22T10:30:44Z", "odd": [1], "min_disk": null});
        check(&at("/v2/images", "images", picture), &|s| {
            image::images(s, soon()).unwrap().len()
        });
        let disk =
            json!({"id": "a", "name": null, "size": 1, "status": "available", "attachments": []});
        check(&at("/v3/", "volumes", disk), &|s| {
            volume::volumes(s, "available", soon()).unwrap().len()
        });
        check(&at("/v3/", "volume_types", named.clone()), &|s| {
            volume::volume_types(s, soon()).unwrap().len()
        });
        let group = json!({"id": "a", "name": "good", "policies": null, "members": []});
        check(
            &at("/v2.1/os-server-groups", "server_groups", group),
            &|s| server_group::server_groups(s, soon()).unwrap().len(),
        );
        let key = json!({"keypair": {"name": "good", "fingerprint": null}});
        check(&at("/v2.1/os-keypairs", "keypairs", key), &|s| {
            compute::keypairs(s, soon()).unwrap().len()
        });
        let place = json!({"zoneName": "nova", "zoneState": {"available": true}});
        check(
            &at("/v2.1/os-availability-zone", "availabilityZoneInfo", place),
            &|s| zone::zones(s, soon()).unwrap().len(),
        );
    }
}

/// What would be removed because it has no name, or leads nowhere, is read or left alone.
#[test]
fn what_decides_about_a_removal_is_not_guessed() {
    let port = json!({"id": "a", "device_id": "s", "device_owner": "compute:nova"});
    let ip = json!({"id": "a", "floating_ip_address": "10.0.0.1", "floating_network_id": "n", "description": "ehos"});
    let with = |thing: &Value, key: &str, value: Value| {
        let mut thing = thing.clone();
        thing[key] = value;
        thing
    };
    for odd in [json!(7), json!(["mine"]), json!({"of": "mine"})] {
        let list =
            json!({"ports": [with(&port, "name", odd.clone()), with(&port, "name", json!(null))]});
        let double = answering("/v2.0/ports", list);
        let settings = settings(double.url());
        let session = session(&settings).reporting();
        let read = network::ports_of(&session, &["s"], soon()).unwrap();
        assert_eq!(read.len(), 1, "{odd}");
        assert_eq!(session.unread().len(), 1, "{odd}");
    }
    let list = json!({"floatingips": [ip, with(&ip, "port_id", json!(null)), with(&ip, "port_id", json!(7))]});
    let double = answering("/v2.0/floatingips", list);
    let settings = settings(double.url());
    let session = session(&settings).reporting();
    assert_eq!(network::floating_ips(&session, soon()).unwrap().len(), 1);
    assert_eq!(session.unread().len(), 2);
}

#[test]
fn what_is_asked_for_by_name_and_cannot_be_read_is_said_so() {
    let double = answering(
        "/v2.0/networks",
        json!({"networks": [{"id": 7, "name": "net"}]}),
    );
    let settings = settings(double.url());
    let error = network::network_id(&session(&settings), "net", soon()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("network net cannot be read: id: "),
        "{error}"
    );
    let double = answering(
        "/v2/images",
        json!({"images": [{"id": "a", "name": "gold", "status": 1, "created_at": "2026-11-22T10:30:44Z"}]}),
    );
    let settings = crate::settings(double.url());
    let error = image::find(&session(&settings), "gold", soon()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("image gold (a) cannot be read: status: "),
        "{error}"
    );
}

#[test]
fn an_odd_entry_of_the_catalog_takes_no_other_service_away() {
    for odd in [
        r#"null, "#,
        r#"{"type": null, "endpoints": []}, "#,
        r#"{"type": "metric", "endpoints": null}, "#,
        r#"{"type": "compute", "endpoints": [{"interface": "public", "url": null}, 7]}, "#,
    ] {
        let reply = Reply::fixture("token-password")
            .replace(r#""catalog":["#, &format!(r#""catalog":[{odd}"#));
        let double = Double::start(vec![always("POST", "/v3/auth/tokens", reply)]);
        let settings = settings(double.url());
        let session = session(&settings).reporting();
        let token = session.token(soon()).unwrap();
        assert!(token.catalog.region(&settings).is_ok(), "{odd}");
        let told = session.unread();
        assert!(told[0].item.starts_with("catalog entry"), "{odd}: {told:?}");
    }
}

#[test]
fn an_image_that_a_server_may_boot_from_is_known_by_servers_one_by_one() {
    let one = |image: Value| with(server(ODD, "alice-7", json!({})), "image", &Some(image));
    let good = server(GOOD, "n", json!({}));
    for (image, used, unread) in [
        (json!({"id": "i"}), 2, 0),
        (json!(""), 1, 0),
        (json!(null), 1, 1),
        (json!({"id": 7}), 1, 1),
        (json!([]), 1, 1),
    ] {
        let double = answering(
            "/v2.1/servers/detail",
            json!({"servers": [one(image.clone()), good.clone()]}),
        );
        let settings = settings(double.url());
        let found = compute::images_in_use(&session(&settings), soon()).unwrap();
        assert_eq!(
            (found.servers["i"], found.unread.len()),
            (used, unread),
            "{image}"
        );
    }
    let odd_status = with(good, "status", &Some(json!(null)));
    let double = answering("/v2.1/servers/detail", json!({"servers": [odd_status]}));
    let settings = settings(double.url());
    let found = compute::images_in_use(&session(&settings), soon()).unwrap();
    assert_eq!((found.servers["i"], found.unread.len()), (1, 0));
}
