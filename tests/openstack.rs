//! The OpenStack client against a scripted server with captured answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use testkit::double;

#[path = "openstack/gzip.rs"]
mod gzip;
#[path = "openstack/lookups.rs"]
mod kept_lookups;
#[path = "openstack/odd.rs"]
mod odd;
#[path = "openstack/rights.rs"]
mod rights;
#[path = "openstack/parts.rs"]
mod secondary_quota;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use double::{Double, Line, Reply, always, once};
use openstack::rule::{Direction, Family, Remote, Traffic};
use openstack::{Auth, AuthMethod, CloudSettings, NameOrId};
use openstack::{OpenStackCloud, Service, auth::Session, compute, identity, image, network};
use scaling::action::{CloudAction, Done, Expected, Failure, FailureKind, Intent, StartdIdentity};
use scaling::console::{ConsoleExcerpt, ConsoleSource};
use scaling::floating_ip::NodeFloatingIp;
use scaling::leftover::{FloatingIpRecord, Leftover, Leftovers, PortRecord, VolumeRecord};
use scaling::observation::{NodeId, Observed, OwnedServer, ServerRecord, ServerStatus};
use scaling::refusal::About;
use serde_json::json;
use system::deadline::Deadline;
use tick::cloud::{Cloud, LeftoverQuery};

const PASSWORD: &str = "pa55-w0rd-of-the-test";
const TOKEN: &str = "gAAAAAB-token-of-the-test";
const USER_DATA: &str = "#cloud-config\n# secret of the node: join-me-4711\n";
const IMAGE_ID: &str = "0e4c6d5f-fded-4bc5-be67-209bf2879d6b";
const NETWORK_ID: &str = "a9dd2f7e-0a35-486a-bf43-e76b66cf61fc";
const GROUP_ID: &str = "dc7e4c7e-bf86-482d-8e5d-1a2f4393e733";
const SERVER_ID: &str = "1fdb8980-b119-4068-9441-dc9d9e014e00";
const PROJECT_ID: &str = "b9b88f6ba68141e7823bee98ea1986a7";

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

fn settings(url: &str) -> CloudSettings {
    let default = || Some(NameOrId::Name("Default".to_owned()));
    CloudSettings {
        name: "lab".to_owned(),
        auth: Auth {
            url: url.to_owned(),
            method: AuthMethod::Password {
                user: NameOrId::Name("ehos".to_owned()),
                user_domain: default(),
                password: PASSWORD.into(),
                project: NameOrId::Name("ehos".to_owned()),
                project_domain: default(),
            },
        },
        image: "GOLD CentOS 7".to_owned(),
        flavors: vec!["m1.small".to_owned(), "m1.gone".to_owned()],
        networks: vec!["dualStack".to_owned()],
        key: Some("ehos".to_owned()),
        security_groups: vec!["ehos".to_owned()],
        user_data_file: PathBuf::from("execute.yaml"),
        metadata: BTreeMap::from([("owner".to_owned(), "grid".to_owned())]),
        ..CloudSettings::default()
    }
}

fn cloud(settings: &CloudSettings) -> OpenStackCloud<'_> {
    OpenStackCloud::new(
        settings,
        "pool-1",
        Duration::from_secs(10),
        None,
        Box::new(|_, _, _| Ok(USER_DATA.into())),
    )
    .unwrap()
}

fn session(settings: &CloudSettings) -> Session<'_> {
    Session::new(settings, Duration::from_secs(10), None).unwrap()
}

fn login() -> Line {
    always("POST", "/v3/auth/tokens", token(TOKEN))
}

fn token(token: &str) -> Reply {
    Reply::fixture("token-password").with("X-Subject-Token", token)
}

/// All that a create asks for before it.
fn lookups() -> Vec<Line> {
    vec![
        login(),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
        always(
            "GET",
            "/v2/images?name=",
            Reply::fixture("glance-images-by-name"),
        ),
        always(
            "GET",
            "/v2.0/networks?name=",
            Reply::fixture("neutron-networks-by-name"),
        ),
        always(
            "GET",
            "/v2.0/security-groups?name=",
            Reply::fixture("neutron-security-groups-by-name"),
        ),
        always(
            "GET",
            "/v2.1/os-keypairs",
            Reply::status(
                200,
                r#"{"keypairs": [{"keypair": {"name": "ehos", "fingerprint": "x"}}]}"#,
            ),
        ),
    ]
}

fn with_create(reply: Reply) -> Double {
    let mut script = lookups();
    script.push(always("POST", "/v2.1/servers", reply));
    Double::start(script)
}

fn intent() -> Intent {
    Intent {
        node: NodeId("n-1".into()),
        name: "ehos-v1-20261122-1".to_owned(),
        cloud: "lab".to_owned(),
        flavor: "m1.small".to_owned(),
        image: "GOLD CentOS 7".to_owned(),
        zone: None,
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// Asks for a server once and returns what came of it.
fn create(double: &Double) -> Result<Done, Failure> {
    let settings = settings(double.url());
    let result = cloud(&settings).perform(&CloudAction::Create(intent()), soon());
    if let Err(failure) = &result {
        no_secret_in(&failure.message);
        no_secret_in(&format!("{failure:?}"));
    }
    result
}

fn no_secret_in(text: &str) {
    let encoded = BASE64.encode(USER_DATA);
    for secret in [PASSWORD, TOKEN, "join-me-4711", &encoded, "b3RegyvnbXFZ"] {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
}

fn server(id: &str) -> OwnedServer {
    OwnedServer::recognise(
        ServerRecord {
            id: id.to_owned(),
            name: "ehos-v1-20261122-1".to_owned(),
            status: ServerStatus::Error,
            nova_status: None,
            deleting: false,
            metadata: scaling::observation::execute_metadata(
                "pool-1",
                &NodeId("n-1".into()),
                "m1.small",
                "GOLD CentOS 7",
            ),
            age: Duration::ZERO,
            fault: Some("No valid host was found.".to_owned()),
            volumes: Vec::new(),
            zone: None,
            addresses: Vec::new(),
        },
        "pool-1",
    )
    .unwrap()
}

fn delete(double: &Double) -> Result<Done, Failure> {
    let settings = settings(double.url());
    cloud(&settings).perform(
        &CloudAction::Delete {
            node: NodeId("n-1".into()),
            server: server(SERVER_ID),
            expects: Expected::NeverJoined {
                schedds_known: true,
            },
            startd: StartdIdentity {
                server_id: Some(SERVER_ID.to_owned()),
                node: NodeId("n-1".into()),
                shares_node: false,
                machine: None,
                own_ads: None,
                address: None,
                former: Vec::new(),
                own_identity: false,
                addresses: Vec::new(),
                update_interval: Duration::from_secs(300),
            },
            keep_console: false,
            again: false,
        },
        soon(),
    )
}

// Keystone

#[test]
fn password_and_application_credential_say_what_keystone_expects() {
    let double = Double::start(vec![login()]);
    session(&settings(double.url())).token(soon()).unwrap();

    let mut with_credential = settings(&format!("{}/v3", double.url()));
    with_credential.auth.method = AuthMethod::ApplicationCredential {
        credential: NameOrId::Id("0fb637e0".to_owned()),
        user: None,
        user_domain: None,
        secret: PASSWORD.into(),
    };
    session(&with_credential).token(soon()).unwrap();

    let received = double.received();
    assert_eq!(
        received[0].json(),
        json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "ehos", "domain": {"name": "Default"}, "password": PASSWORD}}},
            "scope": {"project": {"name": "ehos", "domain": {"name": "Default"}}},
        }})
    );
    assert_eq!(
        received[1].json(),
        json!({"auth": {"identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": "0fb637e0", "secret": PASSWORD},
        }}})
    );
    assert_eq!(received[1].target, "/v3/auth/tokens");
}

#[test]
fn a_token_is_a_login_with_or_without_a_project() {
    let double = Double::start(vec![login()]);
    let mut with_token = settings(double.url());
    for project in [Some(NameOrId::Id("p1".to_owned())), None] {
        with_token.auth.method = AuthMethod::Token {
            token: PASSWORD.into(),
            project,
            project_domain: None,
        };
        session(&with_token).token(soon()).unwrap();
    }
    let identity = json!({"methods": ["token"], "token": {"id": PASSWORD}});
    let received = double.received();
    assert_eq!(
        received[0].json(),
        json!({"auth": {"identity": identity, "scope": {"project": {"id": "p1"}}}})
    );
    assert_eq!(received[1].json(), json!({"auth": {"identity": identity}}));
}

#[test]
fn what_is_said_of_one_service_goes_before_the_catalog() {
    let double = Double::start(vec![login()]);
    let mut own = settings(double.url());
    let token = session(&own).token(soon()).unwrap();
    let url =
        |own: &CloudSettings, service| token.catalog.url(service, own).map_err(|e| e.to_string());
    let given = |service: &str, url: &str| BTreeMap::from([(service.to_owned(), url.to_owned())]);
    for (service, given_url, expected) in [
        (Service::Compute, "https://n:8774", "https://n:8774/v2.1"),
        (
            Service::Compute,
            "https://n/compute/v2.1/",
            "https://n/compute/v2.1",
        ),
        (Service::Network, "https://n:9696/", "https://n:9696/v2.0"),
        (
            Service::Network,
            "https://n:9696/v2.0",
            "https://n:9696/v2.0",
        ),
        (Service::Image, "https://n/image", "https://n/image/v2"),
        (Service::Volume, "https://n/v3/p", "https://n/v3/p"),
    ] {
        own.services.endpoint_overrides = given(service.name(), given_url);
        assert_eq!(url(&own, service).unwrap(), expected);
    }
    own.services = openstack::ServiceSettings {
        interfaces: given("image", "nowhere"),
        ..Default::default()
    };
    let error = url(&own, Service::Image).unwrap_err();
    assert!(
        error.contains("no nowhere endpoint of the image service"),
        "{error}"
    );
    assert!(url(&own, Service::Compute).is_ok());
    own.services = openstack::ServiceSettings {
        region_names: given("network", "Mars"),
        ..Default::default()
    };
    let error = url(&own, Service::Network).unwrap_err();
    assert!(
        error.contains("of the network service in region Mars"),
        "{error}"
    );
    assert!(url(&own, Service::Image).is_ok());
}

#[test]
fn a_wrong_password_is_told_with_the_user_and_without_the_password() {
    let double = Double::start(vec![always(
        "POST",
        "/v3/auth/tokens",
        Reply::fixture("token-password-wrong"),
    )]);
    let failure = cloud(&settings(double.url()))
        .observe(&LeftoverQuery::default(), soon())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotAuthorized);
    assert_eq!(
        failure.message,
        "cloud lab: POST /v3/auth/tokens: Keystone does not accept user ehos for project ehos: The request you \
         have made requires authentication.; check names, domains, project and secret"
    );
    no_secret_in(&failure.message);
}

#[test]
fn an_application_credential_that_was_deleted_is_no_wrong_address() {
    let refused_with = |body: &str| {
        let reply = Reply::status(404, body);
        let double = Double::start(vec![always("POST", "/v3/auth/tokens", reply)]);
        let mut settings = settings(double.url());
        settings.auth.method = AuthMethod::ApplicationCredential {
            credential: NameOrId::Id("0fb637e0".to_owned()),
            user: None,
            user_domain: None,
            secret: PASSWORD.into(),
        };
        cloud(&settings)
            .observe(&LeftoverQuery::default(), soon())
            .unwrap_err()
    };
    let failure = refused_with(
        r#"{"error": {"code": 404, "message": "Could not find Application Credential: 0fb637e0.", "title": "Not Found"}}"#,
    );
    assert_eq!(failure.kind, FailureKind::NotAuthorized);
    let words = "Keystone does not accept application credential 0fb637e0: Could not find Application Credential";
    assert!(failure.message.contains(words), "{}", failure.message);
    let failure = refused_with("<html><title>404 Not Found</title></html>");
    assert_eq!(failure.kind, FailureKind::Refused(About::Configuration));
}

#[test]
fn a_keystone_that_repeats_the_request_does_not_give_the_password_away() {
    let echo =
        json!({"error": {"message": format!("'{PASSWORD}' is not of type 'x'"), "code": 400}});
    let double = Double::start(vec![always(
        "POST",
        "/v3/auth/tokens",
        Reply::status(400, &echo.to_string()),
    )]);
    let settings = settings(double.url());
    let error = session(&settings).token(soon()).unwrap_err();
    no_secret_in(&error.to_string());
    no_secret_in(&format!("{error:?}"));
    assert!(
        error.to_string().contains("does not understand user"),
        "{error}"
    );
}

#[test]
fn a_token_without_a_project_is_told() {
    let double = Double::start(vec![always(
        "POST",
        "/v3/auth/tokens",
        Reply::fixture("token-unscoped"),
    )]);
    let settings = settings(double.url());
    let error = session(&settings).token(soon()).unwrap_err();
    assert!(
        error.to_string().contains("no catalog: name the project"),
        "{error}"
    );
}

#[test]
fn a_refused_token_is_renewed_once() {
    let refused = Reply::fixture("nova-401-invalid");
    let double = Double::start(vec![
        once("POST", "/v3/auth/tokens", token("first")),
        always("POST", "/v3/auth/tokens", token("second")),
        once("GET", "/v2.1/limits", refused.clone()),
        once("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always("GET", "/v2.1/limits", refused),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    compute::quota(&session, soon()).unwrap();
    let tokens: Vec<String> = double
        .received()
        .iter()
        .filter_map(|r| r.header("X-Auth-Token").map(str::to_owned))
        .collect();
    assert_eq!(tokens, ["first", "second"]);

    let failure: Failure = compute::quota(&session, soon()).unwrap_err().into();
    assert_eq!(failure.kind, FailureKind::NotAuthorized);
    assert_eq!(double.count("POST", "/v3/auth/tokens"), 3);
    assert_eq!(double.count("GET", "/v2.1/limits"), 4);
}

#[test]
fn a_token_is_kept_for_this_user_alone() {
    let double = Double::start(vec![
        login(),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token.json");
    let ask = |settings: &CloudSettings| {
        let session = Session::new(settings, Duration::from_secs(10), Some(file.clone())).unwrap();
        compute::quota(&session, soon()).unwrap();
        double.count("POST", "/v3/auth/tokens")
    };
    let mine = settings(double.url());
    assert_eq!(ask(&mine), 1);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(&mine), 1, "the kept token serves");

    let mut other = settings(double.url());
    if let AuthMethod::Password { project, .. } = &mut other.auth.method {
        *project = NameOrId::Name("another".to_owned());
    }
    assert_eq!(ask(&other), 2, "another project's token does not");

    fs::write(&file, "{\"owner\": \"x").unwrap();
    assert_eq!(ask(&other), 3, "nor does a damaged file");
    assert_eq!(ask(&other), 3, "which was replaced");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ask(&other), 4, "nor one that others can read");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_token_about_to_end_is_renewed() {
    let ending = token("ending").replace("2026-11-22T11:30:16", "2026-11-22T10:31:00");
    let double = Double::start(vec![
        once("POST", "/v3/auth/tokens", ending),
        login(),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    for _ in 0..3 {
        compute::quota(&session, soon()).unwrap();
    }
    assert_eq!(double.count("POST", "/v3/auth/tokens"), 2);
}

#[test]
fn region_and_interface_are_chosen_from_the_catalog() {
    let two = token(TOKEN).replace(
        r#""interface":"internal","region":"RegionOne","region_id":"RegionOne""#,
        r#""interface":"public","region":"RegionTwo","region_id":"RegionTwo""#,
    );
    let double = Double::start(vec![
        once("POST", "/v3/auth/tokens", two.clone()),
        always("POST", "/v3/auth/tokens", two),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
    ]);
    let quota = |region: Option<&str>, interface: &str| {
        let mut settings = settings(double.url());
        settings.region = region.map(str::to_owned);
        settings.interface = interface.to_owned();
        compute::quota(&session(&settings), soon()).map_err(|error| error.to_string())
    };
    assert_eq!(
        quota(None, "public").unwrap_err(),
        "cloud lab: several regions have the compute service; set `region_name` to one of: RegionOne, RegionTwo"
    );
    quota(Some("RegionTwo"), "public").unwrap();
    quota(Some("RegionOne"), "publicURL").unwrap();
    quota(None, "admin").unwrap();
    assert_eq!(
        quota(Some("RegionThree"), "public").unwrap_err(),
        "cloud lab: no public endpoint of the compute service in region RegionThree: the catalog has: admin in \
         RegionOne, public in RegionOne, public in RegionTwo; correct `region_name` or `interface`, or the roles \
         on the project"
    );
    assert!(
        quota(None, "internal")
            .unwrap_err()
            .contains("no internal endpoint")
    );
}

// Looking at a cloud

#[test]
fn a_cloud_is_seen_whole_and_foreign_servers_are_not() {
    let mine = r#"{"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": "n-7"}"#;
    let page = Reply::fixture("servers-page-3")
        .replace(r#"{"ehos":"capture"}"#, mine)
        .with("Date", "Sun, 22 Nov 2026 10:41:10 GMT");
    let double = Double::start(vec![
        login(),
        once(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-page-1"),
        ),
        once(
            "GET",
            "/v2.1/servers/detail?limit=2&marker=",
            Reply::fixture("servers-page-2"),
        ),
        once("GET", "/v2.1/servers/detail?limit=2&marker=", page),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
    ]);
    let view = cloud(&settings(double.url()))
        .observe(&LeftoverQuery::default(), soon())
        .unwrap();
    assert_eq!(double.count("GET", "/v2.1/servers/detail"), 3);
    assert_eq!(
        double.count("POST", "/v3/auth/tokens"),
        1,
        "one token for all"
    );

    assert_eq!(view.servers.len(), 1);
    let server = &view.servers[0];
    assert_eq!(server.node(), Some(&NodeId("n-7".into())));
    assert_eq!(server.record().name, "page1");
    assert_eq!(server.record().status, ServerStatus::Active);
    assert_eq!(server.record().age, Duration::from_secs(600));
    assert!(!server.record().deleting);

    assert_eq!(view.quota.instances.limit, Some(2000));
    assert_eq!(view.quota.cores.left(), Some(8000));
    assert_eq!(view.flavors.keys().collect::<Vec<_>>(), ["m1.small"]);
    let flavor = &view.flavors["m1.small"];
    assert_eq!(
        (
            flavor.id.as_str(),
            flavor.vcpus,
            flavor.ram_mb,
            flavor.disk_gb
        ),
        ("1", 1, 2048, 20)
    );
    for request in double.received() {
        let microversion = request.header("OpenStack-API-Version");
        if request.target.starts_with("/v2.1/servers") {
            // What says which servers are in a cell that is down.
            assert_eq!(microversion, Some("compute 2.69"));
        } else if request.target.starts_with("/v2.1/flavors") {
            // What has their extra specs.
            assert_eq!(microversion, Some("compute 2.61"));
        } else if request.target.starts_with("/v2.1") {
            assert_eq!(microversion, Some("compute 2.1"));
        }
    }
}

#[test]
fn a_cloud_with_a_cell_down_is_unknown() {
    // As Nova's API guide shows it: id, status, project and creation time are all that is left of a server.
    let cut = r#"{"servers": [{"id": "1fdb8980-b119-4068-9441-dc9d9e014e00", "status": "UNKNOWN",
        "tenant_id": "p", "created": "2026-11-22T10:31:10Z", "links": []}]}"#;
    let double = Double::start(vec![
        login(),
        once("GET", "/v2.1/servers/detail", Reply::status(200, cut)),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
    ]);
    let failure = cloud(&settings(double.url()))
        .observe(&LeftoverQuery::default(), soon())
        .unwrap_err();
    assert!(
        failure.message.contains("a cell of the cloud is down"),
        "{}",
        failure.message
    );
}

#[test]
fn a_nova_that_is_too_old_for_that_is_asked_in_its_own_version() {
    let double = Double::start(vec![
        login(),
        once(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("nova-406-microversion"),
        ),
        once(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-page-3"),
        ),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
    ]);
    assert!(
        cloud(&settings(double.url()))
            .observe(&LeftoverQuery::default(), soon())
            .is_ok()
    );
    assert_eq!(double.count("GET", "/v2.1/servers/detail"), 2);
}

#[test]
fn a_failed_server_carries_its_fault() {
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-error-abort"),
        ),
    ]);
    let settings = settings(double.url());
    let servers = compute::servers(&session(&settings), soon()).unwrap();
    let servers = servers.records;
    assert_eq!(servers[0].status, ServerStatus::Error);
    assert!(
        servers[0]
            .fault
            .as_ref()
            .unwrap()
            .starts_with("Build of instance")
    );
}

#[test]
fn a_fault_that_the_list_leaves_out_is_asked_for_and_never_spoils_the_view() {
    let id = "a7c50bbf-2b7f-493c-a2a2-d6ba7b7678d9";
    let listed = |metadata: &str, fault: &str| {
        let text = format!(
            r#"{{"servers": [{{"id": "{id}", "name": "fails", "status": "ERROR",
            "created": "2026-11-22T10:31:13Z", "metadata": {metadata}{fault}}}]}}"#
        );
        Reply::status(200, &text)
    };
    let mine = r#"{"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": "n-7"}"#;
    let shown = Reply::fixture("server-show-no-valid-host");
    let no_host = Some("No valid host was found.");
    for (list, show, fault, looks) in [
        (listed(mine, ""), shown.clone(), no_host, 1),
        (
            listed(mine, ""),
            Reply::fixture("server-delete-404"),
            None,
            1,
        ),
        (listed(mine, ""), Reply::status(200, "{"), None, 1),
        (listed(mine, ""), Reply::status(500, ""), None, 3),
        (
            listed(mine, r#", "fault": {"message": "known"}"#),
            shown.clone(),
            Some("known"),
            0,
        ),
        // Another's server is none of our business.
        (listed("{}", ""), shown, None, 0),
    ] {
        let double = Double::start(vec![
            login(),
            always("GET", "/v2.1/servers/detail", list.clone()),
            always("GET", &format!("/v2.1/servers/{id}"), show),
            always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
            always(
                "GET",
                "/v2.1/flavors/detail",
                Reply::fixture("nova-flavors"),
            ),
        ]);
        let view = cloud(&settings(double.url()))
            .observe(&LeftoverQuery::default(), soon())
            .unwrap();
        let seen = view
            .servers
            .first()
            .and_then(|s| s.record().fault.as_deref());
        assert_eq!(seen, fault);
        assert_eq!(double.count("GET", &format!("/v2.1/servers/{id}")), looks);
    }
}

#[test]
fn an_unlimited_quota_has_no_limit() {
    let unlimited =
        Reply::fixture("nova-limits").replace(r#""maxTotalCores":8000"#, r#""maxTotalCores":-1"#);
    let double = Double::start(vec![login(), always("GET", "/v2.1/limits", unlimited)]);
    let settings = settings(double.url());
    let quota = compute::quota(&session(&settings), soon()).unwrap();
    assert_eq!(quota.cores.limit, None);
    assert_eq!(quota.instances.limit, Some(2000));
}

fn list(script: Vec<Line>) -> (Double, Result<Vec<ServerRecord>, openstack::Error>) {
    let double = Double::start([vec![login()], script].into_iter().flatten().collect());
    let settings = settings(double.url());
    let servers = compute::servers(&session(&settings), soon());
    (double, servers.map(|servers| servers.records))
}

#[test]
fn a_page_that_is_exactly_full_is_followed_by_an_empty_one() {
    let (double, servers) = list(vec![
        once(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-page-exactly-full"),
        ),
        once(
            "GET",
            "/v2.1/servers/detail?limit=5&marker=",
            Reply::fixture("servers-empty"),
        ),
    ]);
    assert_eq!(servers.unwrap().len(), 5);
    assert_eq!(double.count("GET", "/v2.1/servers/detail"), 2);
}

#[test]
fn a_list_without_an_end_is_an_error() {
    let (double, servers) = list(vec![always(
        "GET",
        "/v2.1/servers/detail",
        Reply::fixture("servers-page-1"),
    )]);
    let error = servers.unwrap_err();
    assert!(error.to_string().contains("an earlier one"), "{error}");
    assert_eq!(double.count("GET", "/v2.1/servers/detail"), 2);
}

#[test]
fn a_list_with_a_page_missing_is_no_list() {
    for reply in [
        Reply::fixture("servers-page-bad-marker"),
        Reply::status(500, ""),
        Reply::status(200, r#"{"servers": [{"id": "x", "na"#),
        Reply::status(200, "{}"),
        Reply::status(200, ""),
        Reply::Cut {
            status: 200,
            body: r#"{"servers": []}"#.to_owned(),
            bytes: 7,
        },
    ] {
        let (_double, servers) = list(vec![
            once(
                "GET",
                "/v2.1/servers/detail",
                Reply::fixture("servers-page-1"),
            ),
            always("GET", "/v2.1/servers/detail?limit=2", reply),
        ]);
        assert!(!servers.unwrap_err().may_have_acted());
    }
}

#[test]
fn the_token_does_not_follow_a_next_link_to_another_host() {
    let other = Double::start(vec![]);
    let lured = Reply::fixture("servers-page-1").replace(
        "http://127.0.0.1:8774/v2.1/servers/detail?",
        &format!("{}/steal?", other.url()),
    );
    let (double, servers) = list(vec![
        once("GET", "/v2.1/servers/detail", lured),
        once(
            "GET",
            "/v2.1/servers/detail?limit=2&marker=",
            Reply::fixture("servers-page-3"),
        ),
    ]);
    assert_eq!(servers.unwrap().len(), 3);
    assert_eq!(double.count("GET", "/v2.1/servers/detail"), 2);
    assert!(other.received().is_empty());
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Double::start(vec![]);
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            "/v2.1/limits",
            Reply::status(302, "").with("Location", &format!("{}/v2.1/limits", other.url())),
        ),
    ]);
    let settings = settings(double.url());
    let error = compute::quota(&session(&settings), soon()).unwrap_err();
    assert!(
        error.to_string().contains("status 302; correct auth_url"),
        "{error}"
    );
    assert!(other.received().is_empty());
}

// Faults

fn quota_after(reply: Reply) -> (Double, Result<(), openstack::Error>) {
    let double = Double::start(vec![
        login(),
        once("GET", "/v2.1/limits", reply),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
    ]);
    let settings = settings(double.url());
    let result = compute::quota(&session(&settings), soon()).map(|_| ());
    (double, result)
}

#[test]
fn a_passing_fault_of_a_reading_request_is_tried_again() {
    for reply in [
        Reply::Reset,
        Reply::status(503, ""),
        Reply::status(500, "<html>"),
        Reply::status(429, "").with("Retry-After", "0"),
        Reply::status(413, "").with("Retry-After", "1"),
        Reply::Cut {
            status: 200,
            body: "{\"limits\": 1}".to_owned(),
            bytes: 4,
        },
    ] {
        let (double, result) = quota_after(reply);
        result.unwrap();
        assert_eq!(double.count("GET", "/v2.1/limits"), 2);
    }
}

#[test]
fn what_will_be_refused_again_is_not_tried_again() {
    for reply in [
        Reply::status(404, ""),
        Reply::status(400, ""),
        Reply::status(413, "").with("Retry-After", "0"),
        Reply::status(200, "{"),
        Reply::status(429, "").with("Retry-After", "3600"),
    ] {
        let (double, result) = quota_after(reply);
        result.unwrap_err();
        assert_eq!(double.count("GET", "/v2.1/limits"), 1);
    }
}

#[test]
fn three_times_is_enough() {
    let double = Double::start(vec![
        login(),
        always("GET", "/v2.1/limits", Reply::status(503, "")),
    ]);
    let settings = settings(double.url());
    let error = compute::quota(&session(&settings), soon()).unwrap_err();
    assert_eq!(double.count("GET", "/v2.1/limits"), 3);
    assert_eq!(Failure::from(error).kind, FailureKind::NotDone);
}

#[test]
fn nobody_waits_beyond_the_deadline() {
    let double = Double::start(vec![login(), always("GET", "/v2.1/limits", Reply::Stall)]);
    let settings = settings(double.url());
    let session = session(&settings);
    session.token(soon()).unwrap();
    let began = Instant::now();
    let deadline = Deadline::within(Duration::from_millis(300));
    let error = compute::quota(&session, deadline).unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "the request timeout is 10 s"
    );
    assert!(
        error.to_string().contains("not within the time given"),
        "{error}"
    );
    let error = compute::quota(&session, deadline).unwrap_err();
    assert!(
        error.to_string().contains("skipped: deadline exceeded"),
        "{error}"
    );
    assert_eq!(double.count("GET", "/v2.1/limits"), 1);
}

#[test]
fn an_html_answer_is_told_by_its_title() {
    let double = Double::start(vec![
        login(),
        always("GET", "/v2/images/", Reply::fixture("glance-image-404")),
        always(
            "GET",
            "/v2/images?name=",
            Reply::fixture("glance-401-invalid"),
        ),
    ]);
    let settings = settings(double.url());
    let error = image::image_id(&session(&settings), IMAGE_ID, soon()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cloud lab: GET /v2/images: status 401: 401 Unauthorized (req-")
            || error
                .to_string()
                .starts_with("cloud lab: GET /v2/images: status 401: 401 Unauthorized; "),
        "{error}"
    );
}

// Looking up names

#[test]
fn images_of_one_name_are_not_guessed_among() {
    let ask = |reply: Reply| {
        let double = Double::start(vec![login(), always("GET", "/v2/images?name=", reply)]);
        let settings = settings(double.url());
        image::image_id(&session(&settings), "GOLD CentOS 7", soon()).map_err(|e| e.to_string())
    };
    let image = |id: &str, status: &str| json!({"id": id, "status": status, "name": "x", "created_at": "2026-11-22T10:31:13Z"});
    let images =
        |list: serde_json::Value| Reply::status(200, &json!({ "images": list }).to_string());
    assert_eq!(
        ask(Reply::fixture("glance-images-by-name")).unwrap(),
        IMAGE_ID
    );
    assert_eq!(
        ask(images(json!([image("a", "active"), image("b", "queued")]))).unwrap(),
        "a"
    );
    assert_eq!(
        ask(images(json!([image("a", "active"), image("b", "active")]))).unwrap_err(),
        "cloud lab: several images have the name 'GOLD CentOS 7'; configure one of the ids: a, b"
    );
    assert_eq!(
        ask(images(json!([image("a", "saving")]))).unwrap_err(),
        "cloud lab: there is no image 'GOLD CentOS 7' that is active (its status is saving); correct the \
         configuration of this cloud"
    );
    assert_eq!(
        ask(Reply::fixture("glance-images-none")).unwrap_err(),
        "cloud lab: there is no image 'GOLD CentOS 7'; correct the configuration of this cloud"
    );
}

#[test]
fn ids_are_asked_for_as_ids() {
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            &format!("/v2/images/{IMAGE_ID}"),
            Reply::status(
                200,
                &json!({"id": IMAGE_ID, "status": "active", "created_at": "2026-11-22T10:31:13Z"})
                    .to_string(),
            ),
        ),
        always(
            "GET",
            "/v2.0/networks?id=",
            Reply::fixture("neutron-networks-by-name"),
        ),
        always(
            "GET",
            "/v2.0/security-groups?id=",
            Reply::status(200, r#"{"security_groups": []}"#),
        ),
        always(
            "GET",
            "/v2.0/security-groups?name=",
            Reply::fixture("neutron-security-groups-by-name"),
        ),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    assert_eq!(
        image::image_id(&session, IMAGE_ID, soon()).unwrap(),
        IMAGE_ID
    );
    assert_eq!(
        network::network_id(&session, NETWORK_ID, soon()).unwrap(),
        NETWORK_ID
    );
    assert_eq!(
        network::security_group_id(&session, NETWORK_ID, soon()).unwrap(),
        GROUP_ID
    );
    assert!(
        double
            .received()
            .iter()
            .any(|r| r.target.contains(&format!("project_id={PROJECT_ID}")))
    );
}

#[test]
fn what_the_cloud_does_not_have_is_named() {
    let cases: [(&'static str, Reply, &str); 4] = [
        (
            "/v2/images",
            Reply::fixture("glance-images-none"),
            "there is no image 'GOLD CentOS 7'",
        ),
        (
            "/v2.0/networks",
            Reply::fixture("neutron-networks-none"),
            "there is no network 'dualStack'",
        ),
        (
            "/v2.0/security-groups",
            Reply::status(200, r#"{"security_groups": []}"#),
            "there is no security group 'ehos'",
        ),
        (
            "/v2.1/os-keypairs",
            Reply::status(200, r#"{"keypairs": [{"keypair": {"name": "other"}}]}"#),
            "there is no keypair 'ehos' of this user (there are: other)",
        ),
    ];
    for (target, reply, message) in cases {
        let mut script = vec![always("GET", target, reply)];
        script.extend(lookups());
        let double = Double::start(script);
        let failure = create(&double).unwrap_err();
        let about = match target {
            "/v2/images" => About::Image,
            _ => About::Configuration,
        };
        assert_eq!(failure.kind, FailureKind::Refused(about));
        assert!(failure.message.contains(message), "{}", failure.message);
        assert_eq!(double.count("POST", "/v2.1/servers"), 0);
    }
    let double = Double::start(lookups());
    let settings = settings(double.url());
    let mut intent = intent();
    intent.flavor = "m1.gone".to_owned();
    let failure = cloud(&settings)
        .perform(&CloudAction::Create(intent), soon())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused(About::Flavor));
    assert!(
        failure.message.contains(
            "there is no flavor 'm1.gone' (there are: m1.small, m1.medium, m1.large, m1.xlarge, "
        ),
        "{}",
        failure.message
    );
}

// Making a server

#[test]
fn a_server_is_asked_for_with_all_that_it_needs() {
    let double = with_create(Reply::fixture("server-create"));
    let mut settings = settings(double.url());
    settings.scratch_size_gb = Some(10);
    let cloud = cloud(&settings).joining(Some("10.0.0.1"));
    for _ in 0..2 {
        let intent = Intent {
            zone: Some("nova".to_owned()),
            ..intent()
        };
        let done = cloud.perform(&CloudAction::Create(intent), soon()).unwrap();
        assert_eq!(
            done,
            Done::Created {
                server_id: SERVER_ID.to_owned()
            }
        );
    }
    let received = double.received();
    let posts: Vec<_> = received
        .iter()
        .filter(|r| r.target == "/v2.1/servers")
        .collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(double.count("GET", "/v2"), 5, "names are looked up once");
    assert_eq!(
        posts[0].header("OpenStack-API-Version"),
        Some("compute 2.19")
    );
    assert_eq!(posts[0].header("X-Auth-Token"), Some(TOKEN));
    assert_eq!(
        posts[0].json(),
        json!({"server": {
            "name": "ehos-v1-20261122-1",
            "description": "execute node n-1 of the ehos pool pool-1",
            "flavorRef": "1",
            "imageRef": IMAGE_ID,
            "networks": [{"uuid": NETWORK_ID}],
            "security_groups": [{"name": GROUP_ID}],
            "key_name": "ehos",
            "availability_zone": "nova",
            "user_data": BASE64.encode(USER_DATA),
            "metadata": {
                "ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": "n-1",
                "ehos_flavor": "m1.small", "ehos_image": "GOLD CentOS 7", "owner": "grid",
                "ehos_condor_host": "10.0.0.1",
            },
            "block_device_mapping_v2": [
                {"boot_index": 0, "uuid": IMAGE_ID, "source_type": "image", "destination_type": "local",
                 "delete_on_termination": true},
                {"boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 10,
                 "delete_on_termination": true},
            ],
        }})
    );
}

#[test]
fn a_create_is_sent_once_whatever_becomes_of_it() {
    for reply in [
        Reply::Reset,
        Reply::Stall,
        Reply::status(500, ""),
        Reply::status(504, "<html><title>Gateway Time-out</title>"),
        Reply::status(202, r#"{"server": {"id": "#),
        Reply::status(202, ""),
        Reply::Cut {
            status: 202,
            body: r#"{"server": {"id": "x"}}"#.to_owned(),
            bytes: 9,
        },
    ] {
        let double = with_create(reply);
        let settings = settings(double.url());
        let cloud = cloud(&settings);
        // The lookups have all the time they want.
        let _ = cloud.observe(&LeftoverQuery::default(), soon());
        let failure = cloud
            .perform(
                &CloudAction::Create(intent()),
                Deadline::within(Duration::from_secs(2)),
            )
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown, "{}", failure.message);
        assert!(
            failure.message.contains("cloud lab: POST /v2.1/servers: "),
            "{}",
            failure.message
        );
        no_secret_in(&failure.message);
        assert_eq!(double.count("POST", "/v2.1/servers"), 1);
    }
}

#[test]
fn a_create_that_cannot_be_sent_had_no_effect() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let elsewhere = token(TOKEN).replace("http://127.0.0.1:8774", &format!("http://{closed}"));
    let double = Double::start(vec![always("POST", "/v3/auth/tokens", elsewhere)]);
    let settings = settings(double.url());
    let session = session(&settings);
    let server = compute::NewServer {
        name: "x",
        description: String::new(),
        flavor: "1",
        image: IMAGE_ID,
        networks: &[],
        key: None,
        security_groups: &[],
        availability_zone: None,
        user_data: USER_DATA.into(),
        metadata: BTreeMap::new(),
        scratch_size_gb: None,
        boot_volume: None,
        server_group: None,
        config_drive: false,
        tags: &[],
    };
    let error = compute::create(&session, &server, soon()).unwrap_err();
    assert!(!error.may_have_acted());
    assert!(
        error
            .to_string()
            .contains(&format!("cannot connect to {closed}")),
        "{error}"
    );
    assert_eq!(Failure::from(error).kind, FailureKind::NotDone);

    let mut nowhere = settings_for_nowhere();
    nowhere.auth.url = format!("http://{closed}/v3");
    let failure = cloud(&nowhere)
        .observe(&LeftoverQuery::default(), soon())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotDone);
    nowhere.auth.url = "http://no-such-host.invalid/v3".to_owned();
    let failure = cloud(&nowhere)
        .observe(&LeftoverQuery::default(), soon())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotDone, "{}", failure.message);
    nowhere.auth.url = "not an address".to_owned();
    let failure = cloud(&nowhere)
        .observe(&LeftoverQuery::default(), soon())
        .unwrap_err();
    assert!(
        failure.message.contains("correct auth_url"),
        "{}",
        failure.message
    );
}

fn settings_for_nowhere() -> CloudSettings {
    settings("http://127.0.0.1:1")
}

#[test]
fn a_refusal_is_told_from_a_quota_and_from_not_now() {
    let quota = FailureKind::Quota;
    let later = |seconds| FailureKind::Later(Some(Duration::from_secs(seconds)));
    for (reply, kind, words) in [
        (
            Reply::fixture("server-create-quota-instances"),
            quota,
            "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances",
        ),
        (
            Reply::fixture("cinder-volume-quota-413"),
            quota,
            "VolumeSizeExceedsAvailableQuota",
        ),
        (Reply::status(413, "{}"), quota, "status 413"),
        (
            Reply::status(413, "{}").with("Retry-After", "60"),
            later(60),
            "(rate limited)",
        ),
        (
            Reply::status(429, "{}").with("Retry-After", "5"),
            later(5),
            "status 429",
        ),
        (
            Reply::status(429, "{}"),
            FailureKind::Later(None),
            "status 429",
        ),
        (
            Reply::fixture("server-create-flavor-unknown"),
            FailureKind::Refused(About::Flavor),
            "Flavor 999 could not be found.",
        ),
        (
            Reply::status(
                403,
                r#"{"forbidden": {"message": "Policy doesn't allow x"}}"#,
            ),
            FailureKind::NotAuthorized,
            "Policy doesn't allow x",
        ),
        (
            Reply::status(
                403,
                r#"{"forbidden": {"code": 403, "message": "Project 0123 is over a limit for [Resource class:PCPU is over limit of 8 due to current usage 8 and delta 2]"}}"#,
            ),
            quota,
            "is over a limit for",
        ),
        (
            Reply::status(
                403,
                r#"{"forbidden": {"code": 403, "message": "Only volume-backed servers are allowed for flavors with zero disk."}}"#,
            ),
            FailureKind::Refused(About::Flavor),
            "set `boot_volume_size` of this cloud",
        ),
        (
            Reply::status(409, "{}"),
            FailureKind::Refused(About::Cloud),
            "status 409",
        ),
    ] {
        let double = with_create(reply);
        let failure = create(&double).unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
        // Other rights need another token: that is tried once.
        let sent = if kind == FailureKind::NotAuthorized {
            2
        } else {
            1
        };
        assert_eq!(double.count("POST", "/v2.1/servers"), sent);
    }
}

#[test]
fn user_data_that_nova_repeats_is_cut_out() {
    let encoded = BASE64.encode(USER_DATA);
    let too_long = format!(
        "Invalid input for field/attribute user_data. Value: {encoded}. '{encoded}' is too long"
    );
    let double = with_create(Reply::status(
        400,
        &json!({"badRequest": {"code": 400, "message": too_long}}).to_string(),
    ));
    let failure = create(&double).unwrap_err();
    assert!(
        failure
            .message
            .contains("user_data. Value: (cut). '(cut)' is too long"),
        "{}",
        failure.message
    );

    let double = with_create(Reply::fixture("server-create-unknown-field"));
    let failure = create(&double).unwrap_err();
    assert!(
        !failure.message.contains("I2Nsb3VkLWNvbmZpZwpma"),
        "{}",
        failure.message
    );
    assert!(failure.message.len() < 450, "{}", failure.message);
}

#[test]
fn user_data_that_nova_will_not_take_is_not_sent() {
    let double = with_create(Reply::fixture("server-create"));
    let settings = settings(double.url());
    let cloud_with = |length: usize| {
        OpenStackCloud::new(
            &settings,
            "pool-1",
            Duration::from_secs(10),
            None,
            Box::new(move |_, _, _| Ok("x".repeat(length).into())),
        )
        .unwrap()
    };
    // 49149 bytes are 65532 characters of base64, one more are 65536.
    let action = CloudAction::Create(intent());
    cloud_with(49149).perform(&action, soon()).unwrap();
    let failure = cloud_with(49150).perform(&action, soon()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused(About::UserData));
    assert!(
        failure.message.contains("65536 characters"),
        "{}",
        failure.message
    );
    assert_eq!(double.count("POST", "/v2.1/servers"), 1);
}

#[test]
fn user_data_that_cannot_be_made_stops_the_create() {
    let double = with_create(Reply::fixture("server-create"));
    let settings = settings(double.url());
    let broken = Failure {
        kind: FailureKind::NotDone,
        message: "no token for the node".to_owned(),
    };
    let told = broken.clone();
    let cloud = OpenStackCloud::new(
        &settings,
        "pool-1",
        Duration::from_secs(10),
        None,
        Box::new(move |_, _, _| Err(told.clone())),
    )
    .unwrap();
    let failure = cloud.perform(&CloudAction::Create(intent()), soon());
    assert_eq!(failure, Err(broken));
    assert_eq!(double.count("POST", "/v2.1/servers"), 0);
}

// A last look at a server

#[test]
fn one_server_is_looked_at_by_its_id() {
    let look = |reply: Reply| {
        let double = Double::start(vec![login(), always("GET", "/v2.1/servers/", reply)]);
        let settings = settings(double.url());
        let found = cloud(&settings).look(SERVER_ID, soon());
        let asked = double.count("GET", &format!("/v2.1/servers/{SERVER_ID}"));
        (found, asked)
    };
    let (found, asked) = look(Reply::fixture("server-show-no-valid-host"));
    let found = found.unwrap().unwrap();
    assert_eq!(asked, 1);
    assert_eq!(found.status, ServerStatus::Error);
    assert_eq!(found.metadata["ehos"], "capture");
    // Gone.
    assert_eq!(look(Reply::fixture("server-delete-404")).0, Ok(None));
    // Nobody answers.
    let (failure, _) = look(Reply::status(503, ""));
    assert!(failure.unwrap_err().message.contains("cloud lab"));
}

#[test]
fn a_server_of_a_cell_that_is_down_is_not_known() {
    let partial = json!({"server": {
        "id": SERVER_ID, "status": "UNKNOWN", "created": "2026-11-22T10:30:44Z",
        "tenant_id": PROJECT_ID, "links": [],
    }});
    let double = Double::start(vec![
        login(),
        always(
            "GET",
            "/v2.1/servers/",
            Reply::status(200, &partial.to_string()),
        ),
    ]);
    let settings = settings(double.url());
    let failure = cloud(&settings).look(SERVER_ID, soon()).unwrap_err();
    assert!(failure.message.contains("cell"), "{failure:?}");
}

// Deleting a server

#[test]
fn a_delete_is_accepted_or_there_is_nothing_left() {
    for (reply, expected) in [
        (Reply::fixture("server-delete"), Done::Accepted),
        (Reply::fixture("server-delete-again"), Done::Accepted),
        (Reply::fixture("server-delete-404"), Done::AlreadyGone),
    ] {
        let double = Double::start(vec![login(), always("DELETE", "/v2.1/servers/", reply)]);
        assert_eq!(delete(&double), Ok(expected));
        assert_eq!(
            double.count("DELETE", &format!("/v2.1/servers/{SERVER_ID}")),
            1
        );
        assert_eq!(double.count("POST", "/v2.1"), 0);
    }
    let double = Double::start(vec![
        login(),
        once("DELETE", "/v2.1/servers/", Reply::Reset),
        once(
            "DELETE",
            "/v2.1/servers/",
            Reply::fixture("server-delete-404"),
        ),
    ]);
    assert_eq!(delete(&double), Ok(Done::AlreadyGone));
    let double = Double::start(vec![
        login(),
        always("DELETE", "/v2.1/servers/", Reply::status(500, "")),
    ]);
    assert_eq!(delete(&double).unwrap_err().kind, FailureKind::Unknown);
}

#[test]
fn the_console_of_a_failed_server_is_looked_at_as_far_as_there_is_one() {
    // The cause stands far before the last forty lines, which are the art of keys.
    let art = "|  .o=.  |\n".repeat(60);
    let output = format!("boot\nEHOS: FAILED: HTCondor is not in this image\n{art}node login: ");
    let words = ConsoleExcerpt {
        source: ConsoleSource::Node,
        text: "HTCondor is not in this image".to_owned(),
    };
    for (reply, said) in [
        (
            Reply::status(200, &json!({"output": output}).to_string()),
            Some(words),
        ),
        (
            Reply::status(200, &json!({"output": ""}).to_string()),
            Some(ConsoleExcerpt {
                source: ConsoleSource::Empty,
                text: String::new(),
            }),
        ),
        (Reply::fixture("console-while-building"), None),
        (Reply::status(500, ""), None),
    ] {
        let double = Double::start(vec![login(), always("POST", "/v2.1/servers/", reply)]);
        let settings = settings(double.url());
        let console = cloud(&settings).keep_console(&server(SERVER_ID), soon());
        assert_eq!(console, said);
        let action = format!("/v2.1/servers/{SERVER_ID}/action");
        assert!(double.count("POST", &action) >= 1);
    }
}

#[test]
fn a_console_has_no_control_characters_and_an_end() {
    let double = Double::start(vec![
        login(),
        always(
            "POST",
            "/v2.1/servers/",
            Reply::status(
                200,
                &json!({"output": "one\r\n\u{1b}[31mtwo\u{7}\nthree"}).to_string(),
            ),
        ),
    ]);
    let settings = settings(double.url());
    let text = compute::console(&session(&settings), SERVER_ID, 2, soon()).unwrap();
    assert_eq!(text, "[31mtwo\nthree");
    let request = double.received().pop().unwrap();
    assert_eq!(
        request.json(),
        json!({"os-getConsoleOutput": {"length": 2}})
    );
}

#[test]
fn a_status_is_kept_in_novas_word_where_it_is_one() {
    for (status, word) in [
        ("PAUSED", Some("PAUSED")),
        ("SHELVED_OFFLOADED", Some("SHELVED_OFFLOADED")),
        // Those that say nothing are no record.
        ("of a later Nova", None),
        ("\u{1b}[31mPAUSED", None),
        ("", None),
    ] {
        let mut listed = listed(SERVER_ID, "execute");
        listed["status"] = json!(status);
        let reply = Reply::status(200, &json!({"server": listed}).to_string());
        let double = Double::start(vec![login(), always("GET", "/v2.1/servers/", reply)]);
        let settings = settings(double.url());
        let record = cloud(&settings).look(SERVER_ID, soon());
        let Some(word) = word else {
            let failure = record.unwrap_err().message;
            assert!(failure.contains("cannot be read: status: "), "{failure}");
            assert!(!failure.contains('\u{1b}'), "{failure}");
            continue;
        };
        let record = record.unwrap().unwrap();
        assert_eq!(record.nova_status.as_deref(), Some(word));
        let put_aside = ["PAUSED", "SHELVED_OFFLOADED"].contains(&status);
        assert_eq!(record.is_put_aside(), put_aside, "{status}");
    }
}

// Secrets and TLS

/// Keeps every line that is logged.
struct Lines(Mutex<Vec<String>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        // ureq's own crates print headers at TRACE: the program's logging keeps them at info.
        if record.target().starts_with("ehos") {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn nothing_secret_is_logged_or_shown() {
    static LINES: Lines = Lines(Mutex::new(Vec::new()));
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let mut script = lookups();
    script.push(once(
        "POST",
        "/v2.1/servers",
        Reply::fixture("nova-401-invalid"),
    ));
    script.push(once(
        "POST",
        "/v2.1/servers",
        Reply::fixture("server-create"),
    ));
    script.push(always("POST", "/v2.1/servers", Reply::Reset));
    let double = Double::start(script);
    let settings = settings(double.url());
    let cloud = cloud(&settings);
    for _ in 0..2 {
        let _ = cloud.perform(&CloudAction::Create(intent()), soon());
    }
    let token = cloud.session().token(soon()).unwrap();
    no_secret_in(&format!("{cloud:?} {settings:?} {token:?}"));

    let lines = LINES.0.lock().unwrap().join("\n");
    no_secret_in(&lines);
    assert!(
        lines.contains("cloud lab: GET /v2/images: 200 in "),
        "{lines}"
    );
    assert!(
        lines.contains("cloud lab: POST /v2.1/servers: 202 in "),
        "{lines}"
    );
}

#[test]
fn tls_is_trusted_by_cacert_alone() {
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, key.cert.pem()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
        )
        .unwrap();
    let double = Double::start_tls(
        vec![
            login(),
            always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        ],
        config,
    );
    let ask = |settings: &CloudSettings| compute::quota(&session(settings), soon()).map(|_| ());

    let mut with = settings(double.url());
    with.cacert = Some(file.clone());
    ask(&with).unwrap();
    with.cacert = None;
    let error = ask(&with).unwrap_err();
    assert!(
        error.to_string().contains("is not trusted") && error.to_string().contains("set `cacert`"),
        "{error}"
    );
    assert!(!error.may_have_acted());
    with.insecure = true;
    ask(&with).unwrap();

    for (text, words) in [
        ("", "no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\n!", "cacert "),
    ] {
        fs::write(&file, text).unwrap();
        with.cacert = Some(file.clone());
        let error = ask_new(&with);
        assert!(error.contains(words), "{error}");
    }
    with.cacert = Some(folder.path().join("none.pem"));
    assert!(ask_new(&with).contains("No such file"));
}

/// An authority of one's own, and what a cloud says with a certificate of it.
struct Authority {
    params: rcgen::CertificateParams,
    key: rcgen::KeyPair,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let certificate = params.self_signed(&key).unwrap();
        // A comment and another authority before it, as such files have.
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        let text = format!("# ours\n{}{}", other.cert.pem(), certificate.pem());
        fs::write(&file, text).unwrap();
        Authority {
            params,
            key,
            file,
            _folder: folder,
        }
    }

    /// A cloud whose certificate is for `name` and ended in that year.
    fn cloud(&self, name: &str, end: i32) -> Double {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(end, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let limits = always("GET", "/v2.1/limits", Reply::fixture("nova-limits"));
        Double::start_tls(vec![login(), limits], config)
    }
}

#[test]
fn a_private_authority_is_trusted_for_the_right_name_and_time() {
    let ours = Authority::new();
    let ask = |double: &Double, cacert: Option<&PathBuf>, insecure: bool| {
        let mut with = settings(double.url());
        with.cacert = cacert.cloned();
        with.insecure = insecure;
        compute::quota(&session(&with), soon())
            .map(|_| double.count("POST", "/v3/auth/tokens"))
            .map_err(|error| {
                no_secret_in(&error.to_string());
                assert!(!error.may_have_acted(), "{error}");
                assert_eq!(double.count("POST", "/v3/auth/tokens"), 0);
                error.to_string()
            })
    };
    let good = ours.cloud("127.0.0.1", 4000);
    let refused = ask(&good, None, false).unwrap_err();
    assert!(refused.contains("set `cacert`"), "{refused}");
    let another = Authority::new();
    let refused = ask(&good, Some(&another.file), false).unwrap_err();
    assert!(refused.contains("set `cacert`"), "{refused}");
    ask(&good, Some(&ours.file), false).unwrap();

    let elsewhere = ours.cloud("cloud.example.org", 4000);
    let refused = ask(&elsewhere, Some(&ours.file), false).unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    assert!(
        refused.contains("the name that the certificate is for"),
        "{refused}"
    );
    let expired = ours.cloud("127.0.0.1", 2021);
    let refused = ask(&expired, Some(&ours.file), false).unwrap_err();
    assert!(
        refused.contains("expired") && refused.contains("clock"),
        "{refused}"
    );

    for double in [&good, &elsewhere, &expired] {
        ask(double, None, true).unwrap();
    }
}

fn ask_new(settings: &CloudSettings) -> String {
    match Session::new(settings, Duration::from_secs(1), None) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    }
}

// What is looked at and made before there are nodes

fn with(lines: Vec<Line>) -> Double {
    let mut script = vec![login()];
    script.extend(lines);
    Double::start(script)
}

#[test]
fn networks_subnets_and_groups_are_read_with_what_they_let_through() {
    let double = with(vec![
        always("GET", "/v2.0/networks", Reply::fixture("neutron-networks")),
        always("GET", "/v2.0/subnets", Reply::fixture("neutron-subnets")),
        always(
            "GET",
            "/v2.0/security-groups",
            Reply::fixture("neutron-security-groups"),
        ),
        always(
            "GET",
            "/v2.0/floatingips",
            Reply::fixture("neutron-floatingips-no-router"),
        ),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    let networks = network::networks(&session, soon()).unwrap();
    let dual = networks.iter().find(|n| n.name == "dualStack").unwrap();
    assert_eq!(
        (dual.status.as_str(), dual.external, dual.shared),
        ("ACTIVE", false, true)
    );
    assert_eq!(dual.subnets.len(), 2);
    let subnets = network::subnets(&session, soon()).unwrap();
    let mut cidrs: Vec<&str> = subnets
        .iter()
        .filter(|subnet| subnet.network_id == dual.id)
        .map(|subnet| subnet.cidr.as_str())
        .collect();
    cidrs.sort_unstable();
    assert_eq!(cidrs, ["10.20.0.0/16", "2001:db8:1::/64"]);

    let groups = network::security_groups(&session, soon()).unwrap();
    let asked = &double.received()[3].target;
    assert_eq!(
        *asked,
        format!("/v2.0/security-groups?project_id={PROJECT_ID}")
    );
    let group = groups.iter().find(|g| g.name == "chk-group").unwrap();
    let traffic = |direction, port, remote| Traffic {
        direction,
        family: Family::V4,
        port,
        remote,
    };
    let passes = |traffic: &Traffic| {
        let mut rules = group.rules.iter();
        rules.any(|rule| rule.covers(traffic, &[&group.id]))
    };
    use Direction::{Egress, Ingress};
    assert!(passes(&traffic(Ingress, 9618, Remote::Group)));
    assert!(!passes(&traffic(Ingress, 22, Remote::Group)));
    let office = Remote::Prefix("10.1.0.0/16".parse().unwrap());
    assert!(passes(&traffic(Ingress, 22, office)));
    assert!(passes(&traffic(Egress, 9618, Remote::Group)));

    // A Neutron without routers has none.
    let error = network::floating_ips(&session, soon()).unwrap_err();
    assert_eq!(error.status(), Some(404));
}

#[test]
fn a_group_and_its_rules_are_made_once() {
    let double = with(vec![
        always(
            "POST",
            "/v2.0/security-groups",
            Reply::fixture("neutron-security-group-create"),
        ),
        once(
            "POST",
            "/v2.0/security-group-rules",
            Reply::fixture("neutron-rule-create"),
        ),
        always(
            "POST",
            "/v2.0/security-group-rules",
            Reply::fixture("neutron-rule-create-409"),
        ),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    let group = network::create_security_group(&session, "chk-group", "a test", soon()).unwrap();
    assert_eq!(group.name, "chk-group");
    assert_eq!(group.rules.len(), 2, "everything out");
    let rule = Traffic {
        direction: Direction::Ingress,
        family: Family::V4,
        port: 9618,
        remote: Remote::Group,
    }
    .rule(&group.id);
    network::create_rule(&session, &group.id, &rule, "mark", soon()).unwrap();
    // It is there already.
    network::create_rule(&session, &group.id, &rule, "mark", soon()).unwrap();
    let received = double.received();
    assert_eq!(
        received[1].json(),
        json!({"security_group": {"name": "chk-group", "description": "a test"}})
    );
    assert_eq!(
        received[2].json(),
        json!({"security_group_rule": {
            "security_group_id": group.id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
            "port_range_min": 9618, "port_range_max": 9618, "remote_group_id": group.id, "remote_ip_prefix": null,
            "description": "mark",
        }})
    );
}

#[test]
fn keypairs_are_listed_and_added() {
    let double = with(vec![
        always("GET", "/v2.1/os-keypairs", Reply::fixture("nova-keypairs")),
        once(
            "POST",
            "/v2.1/os-keypairs",
            Reply::fixture("nova-keypair-import"),
        ),
        once(
            "POST",
            "/v2.1/os-keypairs",
            Reply::fixture("nova-keypair-import-409"),
        ),
        once(
            "POST",
            "/v2.1/os-keypairs",
            Reply::fixture("nova-keypair-import-400"),
        ),
    ]);
    let settings = settings(double.url());
    let session = session(&settings);
    let keys = compute::keypairs(&session, soon()).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].name, "ehos");
    assert!(keys[0].public_key.starts_with("ssh-ed25519 AAAA"));
    let import = || compute::import_keypair(&session, "chk-key", "ssh-ed25519 AAAA chk", soon());
    assert_eq!(import().unwrap().name, "chk-key");
    assert_eq!(
        double.received()[2].json(),
        json!({"keypair": {"name": "chk-key", "public_key": "ssh-ed25519 AAAA chk"}})
    );
    let there = import().unwrap_err();
    assert_eq!(there.status(), Some(409));
    assert!(there.to_string().contains("already exists"), "{there}");
    let no_key = import().unwrap_err();
    assert_eq!(no_key.status(), Some(400));
}

#[test]
fn images_are_listed_with_their_properties() {
    let double = with(vec![always(
        "GET",
        "/v2/images?limit=500&sort=created_at:desc",
        Reply::fixture("glance-images"),
    )]);
    let settings = settings(double.url());
    let images = image::images(&session(&settings), soon()).unwrap();
    let debian = images
        .iter()
        .find(|image| image.name.as_deref() == Some("Debian 13"))
        .unwrap();
    assert_eq!(debian.property("os_distro"), Some("debian"));
    assert_eq!(
        (debian.min_disk, debian.min_ram, debian.status.as_str()),
        (1, 0, "active")
    );
}

#[test]
fn keystone_tells_when_credentials_end_and_what_time_it_is() {
    let mut settings = settings("");
    settings.auth.method = AuthMethod::ApplicationCredential {
        credential: NameOrId::Id("69b18dc6".to_owned()),
        user: None,
        user_domain: None,
        secret: PASSWORD.into(),
    };
    let one = "/v3/users/29e60787e1734a6da2ab9ab62788358f/application_credentials";
    let end = Some("2026-11-29T12:00:00Z".parse().unwrap());
    let double = with(vec![
        once(
            "GET",
            &format!("{one}/69b18dc6"),
            Reply::fixture("keystone-application-credential"),
        ),
        once(
            "GET",
            &format!("{one}/69b18dc6"),
            Reply::fixture("keystone-application-credential-404"),
        ),
        always(
            "GET",
            &format!("{one}?name=chk-cred"),
            Reply::fixture("keystone-application-credentials"),
        ),
    ]);
    settings.auth.url = double.url().to_owned();
    let ask = |settings: &CloudSettings| {
        identity::application_credential(&session(settings), soon()).unwrap()
    };
    let shown = ask(&settings).unwrap();
    assert_eq!((shown.name.as_str(), shown.expires_at), ("chk-cred", end));
    assert_eq!(ask(&settings), None, "Keystone does not show it");
    settings.auth.method = AuthMethod::ApplicationCredential {
        credential: NameOrId::Name("chk-cred".to_owned()),
        user: Some(NameOrId::Name("ehos".to_owned())),
        user_domain: None,
        secret: PASSWORD.into(),
    };
    assert_eq!(ask(&settings).unwrap().expires_at, end);

    // A password's end, and a clock that stood still when the answer was captured.
    let ends = token(TOKEN).replace(
        r#""password_expires_at":null"#,
        r#""password_expires_at":"2026-11-29T12:00:00.000000""#,
    );
    let double = Double::start(vec![always("POST", "/v3/auth/tokens", ends)]);
    let settings = self::settings(double.url());
    let token = session(&settings).token(soon()).unwrap();
    assert_eq!(token.password_expires_at, end);
    let captured: jiff::Timestamp = "2026-11-22T10:30:16Z".parse().unwrap();
    let off = jiff::Timestamp::now().duration_since(captured) + token.clock_ahead.unwrap();
    assert!(off.abs() < jiff::SignedDuration::from_secs(20), "{off}");
}

// What was left behind

const VOLUMES: &str = "/v3/b9b88f6ba68141e7823bee98ea1986a7/volumes";

/// A cloud without servers; `first` goes before.
fn empty_cloud(first: Vec<Line>) -> Double {
    let well = [
        ("POST", "/v3/auth/tokens", token(TOKEN)),
        (
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-empty"),
        ),
        ("GET", "/v2.1/servers/", Reply::fixture("server-delete-404")),
        ("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        (
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
        (
            "GET",
            "/v2.0/ports?",
            Reply::status(200, r#"{"ports": []}"#),
        ),
        ("GET", VOLUMES, Reply::status(200, r#"{"volumes": []}"#)),
        (
            "GET",
            "/v2.0/floatingips?",
            Reply::fixture("neutron-floatingips-no-router"),
        ),
    ];
    let well = well
        .into_iter()
        .map(|(method, target, reply)| always(method, target, reply));
    Double::start(first.into_iter().chain(well).collect())
}

fn port(id: &str, server: &str) -> serde_json::Value {
    json!({"id": id, "name": "", "device_id": server, "device_owner": "compute:nova", "status": "DOWN"})
}

fn volume(id: &str, name: &str, status: &str) -> serde_json::Value {
    json!({"id": id, "name": name, "size": 20, "status": status, "attachments": []})
}

fn gone(servers: &[&str]) -> LeftoverQuery {
    LeftoverQuery {
        servers: servers.iter().map(|id| (*id).to_owned()).collect(),
        ..LeftoverQuery::default()
    }
}

#[test]
fn what_departed_servers_left_behind_is_found_by_its_mark() {
    let ports = json!({"ports": [port("p-1", "s-1"), port("p-2", "another")]});
    let there = json!({"servers": [{"id": "s-there", "name": "x", "status": "ACTIVE",
        "created": "2026-11-22T10:31:13Z", "metadata": {}}]});
    let volumes = json!({"volumes": [
        volume("v-1", "s-1-blank-vol", "available"),
        volume("v-kept", "s-1-blank-vol", "available"),
        volume("v-unknown", "s-unknown-blank-vol", "available"),
        volume("v-of-one-that-is-there", "s-there-blank-vol", "available"),
        volume("v-mine", "data", "available"),
    ]});
    let ips = json!({"floatingips": [
        {"id": "f-1", "floating_ip_address": "192.0.2.1", "floating_network_id": "n", "port_id": null,
         "description": "ehos pool-1 master"},
        {"id": "f-2", "floating_ip_address": "192.0.2.2", "floating_network_id": "n", "port_id": "p",
         "description": "ehos pool-1 master"},
        {"id": "f-3", "floating_ip_address": "192.0.2.3", "floating_network_id": "n", "port_id": null,
         "description": "ehos pool-2 master"},
        {"id": "f-4", "floating_ip_address": "192.0.2.4", "floating_network_id": "n", "port_id": null,
         "description": ""},
    ]});
    let available = format!("{VOLUMES}/detail?status=available");
    let double = empty_cloud(vec![
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::status(200, &there.to_string()),
        ),
        always(
            "GET",
            "/v2.0/ports?device_id=s-1&",
            Reply::status(200, &ports.to_string()),
        ),
        always("GET", &available, Reply::status(200, &volumes.to_string())),
        always(
            "GET",
            &format!("/v2.0/floatingips?project_id={PROJECT_ID}"),
            Reply::status(200, &ips.to_string()),
        ),
    ]);
    let mut settings = settings(double.url());
    settings.scratch_size_gb = Some(20);
    let more: Vec<String> = (0..59).map(|number| format!("s-1{number:03}")).collect();
    let mut traces = gone(&["s-1"]);
    traces.servers.extend(more);
    traces.volumes.insert("v-kept".to_owned(), false);
    let view = cloud(&settings).observe(&traces, soon()).unwrap();
    let found = view.leftovers.known().unwrap();
    let ours = |leftover: &Leftover| {
        let name = leftover.name().to_owned();
        (leftover.id().to_owned(), name, leftover.another_leads())
    };
    let ours: Vec<_> = found.ours.iter().map(ours).collect();
    let expected = [
        ("p-1", "", false),
        ("v-1", "s-1-blank-vol", false),
        ("f-1", "192.0.2.1", true),
    ];
    assert_eq!(
        ours,
        expected.map(|(id, name, leads)| (id.to_owned(), name.to_owned(), leads))
    );
    let unmarked: Vec<&str> = found.unmarked.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(unmarked, ["v-unknown", "f-4"]);
    // Sixty servers: more than fit into one line.
    assert_eq!(double.count("GET", "/v2.0/ports?device_id="), 2);
    for request in double.received() {
        assert!(request.target.len() < 4000, "{}", request.target.len());
    }
}

#[test]
fn who_left_nothing_behind_is_not_asked_about() {
    let double = empty_cloud(Vec::new());
    let settings = settings(double.url());
    let view = cloud(&settings)
        .observe(&LeftoverQuery::default(), soon())
        .unwrap();
    assert_eq!(view.leftovers.known(), Some(&Leftovers::default()));
    assert_eq!(double.count("GET", "/v2.0/ports"), 0);
    assert_eq!(double.count("GET", VOLUMES), 0);
    cloud(&settings).observe(&gone(&["s-1"]), soon()).unwrap();
    assert_eq!(double.count("GET", "/v2.0/ports"), 1);
    assert_eq!(double.count("GET", VOLUMES), 0, "they never had a volume");
}

#[test]
fn a_service_that_does_not_answer_makes_leftovers_unknown_and_nothing_else() {
    let broken = |target: &str| always("GET", target, Reply::status(503, "{}"));
    for target in ["/v2.0/ports", "/v2.0/floatingips", VOLUMES] {
        let double = empty_cloud(vec![broken(target)]);
        let mut settings = settings(double.url());
        settings.scratch_size_gb = Some(1);
        let view = cloud(&settings).observe(&gone(&["s-1"]), soon()).unwrap();
        let Observed::Unknown(why) = view.leftovers else {
            panic!("{target}: {:?}", view.leftovers);
        };
        assert!(why.contains("status 503"), "{why}");
    }
}

#[test]
fn a_cloud_without_neutron_or_cinder_has_nothing_left_behind() {
    let body = Reply::fixture("token-password")
        .with("X-Subject-Token", TOKEN)
        .replace(r#""volumev3""#, r#""other""#)
        .replace(r#""network""#, r#""other""#);
    let double = empty_cloud(vec![always("POST", "/v3/auth/tokens", body)]);
    let mut settings = settings(double.url());
    settings.scratch_size_gb = Some(1);
    let view = cloud(&settings).observe(&gone(&["s-1"]), soon()).unwrap();
    assert_eq!(view.leftovers.known(), Some(&Leftovers::default()));
}

fn remove(double: &Double, leftover: Leftover) -> Result<Done, Failure> {
    let settings = settings(double.url());
    let node = NodeId(leftover.id().into());
    cloud(&settings).perform(&CloudAction::Remove { node, leftover }, soon())
}

fn left_port() -> Leftover {
    let port = PortRecord {
        id: "p-1".to_owned(),
        name: String::new(),
        device_id: "s-1".to_owned(),
        device_owner: "compute:nova".to_owned(),
    };
    Leftover::port(&port, &gone(&["s-1"])).unwrap()
}

fn left_volume() -> Leftover {
    let volume = VolumeRecord {
        id: "v-1".to_owned(),
        name: "s-1-blank-vol".to_owned(),
        size_gb: 20,
        status: "available".to_owned(),
        attached: false,
    };
    Leftover::volume(&volume, &gone(&["s-1"])).unwrap()
}

fn left_floating_ip() -> Leftover {
    let ip = FloatingIpRecord {
        id: "f-1".to_owned(),
        address: "192.0.2.1".to_owned(),
        port: None,
        server: None,
        description: "ehos pool-1 master".to_owned(),
    };
    Leftover::floating_ip(&ip, "pool-1", false).unwrap()
}

/// What each of them is now, and its path.
fn now(id: &str) -> (String, serde_json::Value) {
    match id {
        "p-1" => (
            "/v2.0/ports/p-1".to_owned(),
            json!({"port": port("p-1", "s-1")}),
        ),
        "v-1" => (
            format!("{VOLUMES}/v-1"),
            json!({"volume": volume("v-1", "s-1-blank-vol", "available")}),
        ),
        _ => (
            "/v2.0/floatingips/f-1".to_owned(),
            json!({"floatingip": {"id": "f-1", "floating_ip_address": "192.0.2.1",
                "floating_network_id": "n", "port_id": null, "description": "ehos pool-1 master"}}),
        ),
    }
}

#[test]
fn what_was_left_behind_is_looked_at_and_then_removed() {
    for leftover in [left_port(), left_volume(), left_floating_ip()] {
        let (path, body) = now(leftover.id());
        let deleted = Reply::status(if leftover.id() == "v-1" { 202 } else { 204 }, "");
        let there = Reply::status(200, &body.to_string());
        let missing = Reply::status(404, "{}");
        let double = empty_cloud(vec![
            once("GET", &path, there.clone()),
            once("DELETE", &path, deleted),
            once("GET", &path, missing.clone()),
        ]);
        assert_eq!(remove(&double, leftover.clone()), Ok(Done::Accepted));
        assert_eq!(remove(&double, leftover.clone()), Ok(Done::AlreadyGone));
        assert_eq!(double.count("DELETE", &path), 1);
        if let Some(server) = leftover.server() {
            let path = format!("/v2.1/servers/{server}");
            assert_eq!(double.count("GET", &path), 2, "Nova is asked each time");
        }
    }
}

#[test]
fn what_is_not_certain_to_be_left_behind_is_left_alone() {
    let there = Reply::fixture("server-show-no-valid-host");
    let server = |reply: &Reply| always("GET", "/v2.1/servers/s-1", reply.clone());
    for leftover in [left_port(), left_volume()] {
        let (path, body) = now(leftover.id());
        let double = empty_cloud(vec![
            server(&there),
            always("GET", &path, Reply::status(200, &body.to_string())),
        ]);
        let failure = remove(&double, leftover.clone()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotIdle);
        assert!(
            failure.message.contains("is there after all"),
            "{failure:?}"
        );
        // A cell that is down: Nova cannot say.
        double.play(vec![
            login(),
            server(&Reply::status(500, "{}")),
            always("GET", &path, Reply::status(200, &body.to_string())),
        ]);
        let failure = remove(&double, leftover).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotDone);
        assert_eq!(double.count("DELETE", "/"), 0);
    }
    let changed = [
        (left_port(), r#""device_id":"s-1""#, r#""device_id":"s-2""#),
        (left_port(), r#""name":"""#, r#""name":"mine""#),
        (left_volume(), "[]", r#"[{"id": "v-1"}]"#),
        (left_volume(), "available", "reserved"),
        (left_volume(), "s-1-blank-vol", "data"),
        (left_floating_ip(), "null", r#""p-9""#),
        (left_floating_ip(), "pool-1", "pool-2"),
    ];
    for (leftover, was, is) in changed {
        let (path, body) = now(leftover.id());
        let body = body.to_string();
        assert!(body.contains(was), "{body}");
        let body = body.replace(was, is);
        let double = empty_cloud(vec![always("GET", &path, Reply::status(200, &body))]);
        let failure = remove(&double, leftover).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotIdle, "{is}");
        assert_eq!(double.count("DELETE", "/"), 0);
    }
}

// Floating IPs of nodes

fn listed(id: &str, role: &str) -> serde_json::Value {
    json!({"id": id, "name": id, "status": "ACTIVE", "created": "2026-11-22T10:31:13Z",
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": role, "ehos_node": format!("of-{id}")}})
}

fn floating_ip(id: &str, port: Option<&str>, server: Option<&str>) -> serde_json::Value {
    let mut ip = json!({"id": id, "floating_ip_address": "192.0.2.1", "floating_network_id": "n", "port_id": port,
        "description": ""});
    if let Some(server) = server {
        ip["port_details"] = json!({"name": "", "network_id": "n", "mac_address": "fa:16:3e:00:00:01",
            "admin_state_up": true, "status": "ACTIVE", "device_id": server, "device_owner": "compute:nova"});
    }
    ip
}

/// A cloud with a node, a builder, a central manager and a server of somebody, and these floating IPs.
fn cloud_with(ips: &[serde_json::Value], ports: &[serde_json::Value]) -> Double {
    let mut foreign = listed("s-foreign", "execute");
    foreign["metadata"] = json!({});
    let servers = json!({"servers": [listed("s-node", "execute"), listed("s-builder", "builder"),
        listed("s-master", "master"), foreign]});
    let ips = json!({ "floatingips": ips }).to_string();
    let ports = json!({ "ports": ports }).to_string();
    empty_cloud(vec![
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::status(200, &servers.to_string()),
        ),
        always("GET", "/v2.0/floatingips?", Reply::status(200, &ips)),
        always("GET", "/v2.0/ports?id=", Reply::status(200, &ports)),
    ])
}

fn ips_of_nodes(double: &Double, wanted: bool) -> Vec<(String, String)> {
    let settings = settings(double.url());
    let cloud = cloud(&settings).finding_floating_ips(wanted);
    let view = cloud.observe(&LeftoverQuery::default(), soon()).unwrap();
    let found = &view.leftovers.known().unwrap().of_nodes;
    let ip = |ip: &NodeFloatingIp| (ip.id().to_owned(), ip.server().id().to_owned());
    found.iter().map(ip).collect()
}

#[test]
fn floating_ips_that_lead_to_nodes_are_found_and_no_others() {
    let expected = [("f-node".to_owned(), "s-node".to_owned())];
    let kinds = ["node", "builder", "master", "foreign"];
    let names = |kind: &str| {
        (
            format!("f-{kind}"),
            format!("p-{kind}"),
            format!("s-{kind}"),
        )
    };
    let all: Vec<_> = kinds.into_iter().map(names).collect();
    let told = all.iter();
    let mut told: Vec<_> = told
        .map(|(ip, port, server)| floating_ip(ip, Some(port), Some(server)))
        .collect();
    told.push(floating_ip("f-unused", None, None));
    let double = cloud_with(&told, &[]);
    assert_eq!(ips_of_nodes(&double, true), expected);
    assert_eq!(ips_of_nodes(&double, false), []);
    assert_eq!(double.count("GET", "/v2.0/ports"), 0);

    // Without the extension fip-port-details.
    let silent = all.iter();
    let silent: Vec<_> = silent
        .map(|(ip, port, _)| floating_ip(ip, Some(port), None))
        .collect();
    let ports = all.iter();
    let ports: Vec<_> = ports.map(|(_, id, server)| port(id, server)).collect();
    let double = cloud_with(&silent, &ports);
    assert_eq!(ips_of_nodes(&double, false), []);
    assert_eq!(
        double.count("GET", "/v2.0/ports"),
        0,
        "nobody wants to know"
    );
    assert_eq!(ips_of_nodes(&double, true), expected);
    assert_eq!(
        double.count(
            "GET",
            "/v2.0/ports?id=p-node&id=p-builder&id=p-master&id=p-foreign"
        ),
        1
    );
}

fn disassociate(double: &Double) -> Result<Done, Failure> {
    let settings = settings(double.url());
    let record = serde_json::from_value::<network::FloatingIp>(floating_ip("f-1", None, None));
    let ip = FloatingIpRecord {
        id: record.unwrap().id,
        address: "192.0.2.1".to_owned(),
        port: Some("p-1".to_owned()),
        server: Some("s-node".to_owned()),
        description: String::new(),
    };
    let view = cloud(&settings).observe(&LeftoverQuery::default(), soon());
    let servers = view.unwrap().servers;
    let node = servers.iter().find(|server| server.id() == "s-node");
    let floating_ip = NodeFloatingIp::new(&ip, node.unwrap()).unwrap();
    let node = NodeId("of-s-node".into());
    let action = CloudAction::Disassociate { node, floating_ip };
    cloud(&settings).perform(&action, soon())
}

#[test]
fn a_floating_ip_is_taken_off_its_node_and_never_given_back() {
    let path = "/v2.0/floatingips/f-1";
    let servers = json!({"servers": [listed("s-node", "execute")]}).to_string();
    let shown = |ip: serde_json::Value| {
        let body = json!({ "floatingip": ip }).to_string();
        always("GET", path, Reply::status(200, &body))
    };
    let double = empty_cloud(Vec::new());
    let play = |more: Vec<Line>| {
        let servers = Reply::status(200, &servers);
        let port = json!({"ports": [port("p-1", "s-node")]}).to_string();
        let well = vec![
            always("POST", "/v3/auth/tokens", token(TOKEN)),
            always("GET", "/v2.1/servers/detail", servers),
            always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
            always(
                "GET",
                "/v2.1/flavors/detail",
                Reply::fixture("nova-flavors"),
            ),
            always(
                "GET",
                "/v2.0/floatingips?",
                Reply::fixture("neutron-floatingips-no-router"),
            ),
            always("GET", "/v2.0/ports?id=p-1", Reply::status(200, &port)),
        ];
        double.play(more.into_iter().chain(well).collect());
    };
    let taken = |status: u16| always("PUT", path, Reply::status(status, "{}"));
    for told in [Some("s-node"), None] {
        play(vec![
            shown(floating_ip("f-1", Some("p-1"), told)),
            taken(200),
        ]);
        assert_eq!(disassociate(&double), Ok(Done::Accepted));
        let received = double.received();
        let put = received.iter().rfind(|request| request.method == "PUT");
        let body = json!({"floatingip": {"port_id": null}});
        assert_eq!(put.unwrap().json(), body);
    }
    let puts = double.count("PUT", path);
    // It leads elsewhere, nowhere, or is gone.
    play(vec![shown(floating_ip("f-1", Some("p-2"), Some("s-2")))]);
    let failure = disassociate(&double).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Changed);
    assert!(
        failure.message.contains("does not lead to server s-node"),
        "{failure:?}"
    );
    play(vec![shown(floating_ip("f-1", None, None))]);
    assert_eq!(disassociate(&double), Ok(Done::AlreadyGone));
    play(vec![always("GET", path, Reply::status(404, "{}"))]);
    assert_eq!(disassociate(&double), Ok(Done::AlreadyGone));
    assert_eq!(double.count("PUT", path), puts);
    // Sent once, whatever comes of it.
    play(vec![
        shown(floating_ip("f-1", Some("p-1"), Some("s-node"))),
        taken(503),
    ]);
    disassociate(&double).unwrap_err();
    assert_eq!(double.count("PUT", path), puts + 1);
    assert_eq!(double.count("DELETE", "/"), 0);
}

#[test]
fn a_server_says_which_of_its_volumes_stay() {
    let servers = json!({"servers": [{"id": SERVER_ID, "name": "n", "status": "ACTIVE",
        "created": "2026-11-22T10:31:13Z",
        "metadata": {"ehos_cluster": "pool-1", "ehos_role": "execute", "ehos_node": "n-1"},
        "os-extended-volumes:volumes_attached": [
            {"id": "v-1", "delete_on_termination": true}, {"id": "v-2", "delete_on_termination": false}]}]});
    let double = empty_cloud(vec![always(
        "GET",
        "/v2.1/servers/detail",
        Reply::status(200, &servers.to_string()),
    )]);
    let view = cloud(&settings(double.url()))
        .observe(&LeftoverQuery::default(), soon())
        .unwrap();
    let volumes = view.servers[0].record().volumes.iter();
    let volumes: Vec<_> = volumes.map(|it| (it.id.as_str(), it.goes)).collect();
    assert_eq!(volumes, [("v-1", true), ("v-2", false)]);
}

#[test]
fn an_image_that_image_build_has_made_for_this_pool_is_tested() {
    let made = json!({"id": IMAGE_ID, "name": "golden", "status": "active", "created_at": "2026-11-22T10:31:13Z",
        "owner": PROJECT_ID, "ehos_cluster": "pool-1", "ehos_role": "image", "ehos_image_name": "golden",
        "ehos_builder": "b-1"});
    let with = |key: &str, value: &str| {
        let mut other = made.clone();
        other[key] = json!(value);
        Reply::status(200, &other.to_string())
    };
    let whole = Reply::status(200, &made.to_string());
    let joined = LeftoverQuery {
        joined_images: [IMAGE_ID.to_owned()].into(),
        ..LeftoverQuery::default()
    };
    for (reply, traces, tested, asked) in [
        (whole.clone(), LeftoverQuery::default(), true, 1),
        // That of another pool or project, one that is not whole, and a snapshot of a node.
        (
            with("ehos_cluster", "pool-2"),
            LeftoverQuery::default(),
            false,
            1,
        ),
        (with("owner", "another"), LeftoverQuery::default(), false, 1),
        (with("status", "saving"), LeftoverQuery::default(), false, 1),
        (
            with("name", "snapshot of a node"),
            LeftoverQuery::default(),
            false,
            1,
        ),
        (
            Reply::fixture("glance-image-404"),
            LeftoverQuery::default(),
            false,
            1,
        ),
        (Reply::status(200, "{"), LeftoverQuery::default(), false, 1),
        // A node of it has joined: it is known.
        (whole, joined, false, 0),
    ] {
        let double = Double::start(vec![
            login(),
            always(
                "GET",
                "/v2.1/servers/detail",
                Reply::fixture("servers-page-3"),
            ),
            always("GET", &format!("/v2/images/{IMAGE_ID}"), reply),
            always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
            always(
                "GET",
                "/v2.1/flavors/detail",
                Reply::fixture("nova-flavors"),
            ),
        ]);
        let mut settings = settings(double.url());
        settings.image = IMAGE_ID.to_owned();
        let view = cloud(&settings).observe(&traces, soon()).unwrap();
        assert_eq!(view.image_tested, tested);
        assert_eq!(double.count("GET", "/v2/images/"), asked);
    }
}
