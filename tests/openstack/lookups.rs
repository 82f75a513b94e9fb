//! Look-ups that are kept from one tick to the next.

use std::path::Path;

use serde_json::json;

use super::double::{Double, Line, Reply, always, once};
use super::{
    Cloud, CloudAction, CloudSettings, Done, Failure, FailureKind, IMAGE_ID, LeftoverQuery,
    NETWORK_ID, OpenStackCloud, SERVER_ID, USER_DATA, intent, login, lookups, settings, soon,
};
use std::time::Duration;

const CREATE: &str = "/v2.1/servers";
const NETWORKS: &str = "/v2.0/networks?name=";

/// The cloud of a tick, with what earlier ones have kept in `folder`.
fn tick<'s>(settings: &'s CloudSettings, folder: &Path) -> OpenStackCloud<'s> {
    let user_data = Box::new(|_: &_, _: &_, _| Ok(USER_DATA.into()));
    OpenStackCloud::new(settings, "pool-1", Duration::from_secs(10), None, user_data)
        .unwrap()
        .keeping_lookups(Some(openstack::lookups_file(folder, "lab")))
}

fn create(settings: &CloudSettings, folder: &Path) -> Result<Done, Failure> {
    tick(settings, folder).perform(&CloudAction::Create(intent()), soon())
}

fn double(changes: Vec<Line>) -> Double {
    let created = always("POST", CREATE, Reply::fixture("server-create"));
    Double::start(
        changes
            .into_iter()
            .chain(lookups())
            .chain([created])
            .collect(),
    )
}

/// Requests other than those for tokens, creates and images by their name.
fn asked(double: &Double) -> usize {
    let received = double.received();
    let is_lookup = |target: &str| {
        ["/v2.1/flavors", "/v2.0/", "/v2.1/os-keypairs"]
            .iter()
            .any(|start| target.starts_with(start))
    };
    received
        .iter()
        .filter(|request| is_lookup(&request.target))
        .count()
}

#[test]
fn creates_of_later_ticks_look_up_only_the_image_by_its_name() {
    let (double, folder) = (double(vec![]), tempfile::tempdir().unwrap());
    let settings = settings(double.url());
    create(&settings, folder.path()).unwrap();
    let first = asked(&double);
    assert_eq!(first, 4, "flavors, keypairs, network, security group");
    create(&settings, folder.path()).unwrap();
    // Flavors are kept where all that are configured are found: m1.gone is not.
    assert_eq!(asked(&double) - first, 1);
    assert_eq!(double.count("GET", "/v2/images?name="), 2);
    let bodies: Vec<_> = double
        .received()
        .into_iter()
        .filter(|r| r.target == CREATE)
        .collect();
    assert_eq!(bodies[0].json(), bodies[1].json());
}

#[test]
fn a_create_that_is_refused_for_a_kept_id_looks_it_up_again() {
    let (double, folder) = (double(vec![]), tempfile::tempdir().unwrap());
    let settings = settings(double.url());
    create(&settings, folder.path()).unwrap();
    let gone = format!("Network {NETWORK_ID} could not be found.");
    let refusal = json!({"badRequest": {"code": 400, "message": gone}}).to_string();
    let new = "b9dd2f7e-0a35-486a-bf43-e76b66cf61fc";
    let renewed = Reply::fixture("neutron-networks-by-name").replace(NETWORK_ID, new);
    let mut script = vec![
        once("POST", CREATE, Reply::status(400, &refusal)),
        always("GET", NETWORKS, renewed),
    ];
    script.extend(lookups());
    script.push(always("POST", CREATE, Reply::fixture("server-create")));
    double.play(script);
    let done = create(&settings, folder.path()).unwrap();
    let server_id = SERVER_ID.to_owned();
    assert_eq!(done, Done::Created { server_id });
    let creates: Vec<_> = double
        .received()
        .into_iter()
        .filter(|r| r.target == CREATE)
        .collect();
    let networks: Vec<_> = creates
        .iter()
        .map(|create| create.json()["server"]["networks"][0]["uuid"].clone())
        .collect();
    assert_eq!(networks, [json!(NETWORK_ID), json!(NETWORK_ID), json!(new)]);
    // The next tick goes on with the new one.
    create(&settings, folder.path()).unwrap();
    assert_eq!(double.count("GET", NETWORKS), 2);
}

#[test]
fn what_this_tick_looked_up_is_not_asked_for_again_after_a_refusal() {
    let refusal = json!({"badRequest": {"code": 400, "message": "Network x could not be found."}});
    let refused = always("POST", CREATE, Reply::status(400, &refusal.to_string()));
    let (double, folder) = (double(vec![refused]), tempfile::tempdir().unwrap());
    let settings = settings(double.url());
    let failure = create(&settings, folder.path()).unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::Refused(_)),
        "{failure:?}"
    );
    assert_eq!(double.count("POST", CREATE), 1);
    // Other creates of that tick use the same look-ups.
    let cloud = tick(&settings, tempfile::tempdir().unwrap().path());
    let before = asked(&double);
    for _ in 0..3 {
        let intent = CloudAction::Create(intent());
        cloud.perform(&intent, soon()).unwrap_err();
    }
    assert_eq!(
        (asked(&double) - before, double.count("POST", CREATE)),
        (4, 4)
    );
    // Kept for the next tick, whose create is refused twice: with them, and with those that it finds itself.
    create(&settings, folder.path()).unwrap_err();
    assert_eq!(double.count("POST", CREATE), 6);
}

#[test]
fn a_create_that_nova_may_have_taken_is_not_sent_again() {
    for status in [408, 429, 502] {
        let (double, folder) = (double(vec![]), tempfile::tempdir().unwrap());
        let settings = settings(double.url());
        create(&settings, folder.path()).unwrap();
        let body = "the image, the flavor or the network may be gone";
        let mut script = vec![always("POST", CREATE, Reply::status(status, body))];
        script.extend(lookups());
        double.play(script);
        create(&settings, folder.path()).unwrap_err();
        assert_eq!(double.count("POST", CREATE), 2, "{status}");
    }
}

#[test]
fn a_full_quota_forgets_nothing() {
    let (double, folder) = (double(vec![]), tempfile::tempdir().unwrap());
    let settings = settings(double.url());
    create(&settings, folder.path()).unwrap();
    let before = double.count("GET", NETWORKS);
    let mut script = vec![always(
        "POST",
        CREATE,
        Reply::fixture("server-create-quota-instances"),
    )];
    script.extend(lookups());
    double.play(script);
    create(&settings, folder.path()).unwrap_err();
    assert_eq!(double.count("POST", CREATE), 2);
    assert_eq!(double.count("GET", NETWORKS), before);
}

#[test]
fn flavors_are_asked_for_once_where_all_are_found() {
    let servers = |list: &str| always("GET", "/v2.1/servers/detail", Reply::status(200, list));
    let (double, folder) = (
        double(vec![
            servers(r#"{"servers": []}"#),
            always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        ]),
        tempfile::tempdir().unwrap(),
    );
    let mut settings = settings(double.url());
    let look = |settings: &CloudSettings| {
        let cloud = tick(settings, folder.path());
        cloud
            .observe(&LeftoverQuery::default(), soon())
            .unwrap()
            .flavors
    };
    // m1.gone is not there, and may come.
    for asked in 1..=2 {
        look(&settings);
        assert_eq!(double.count("GET", "/v2.1/flavors/detail"), asked);
    }
    settings.flavors = vec!["m1.small".to_owned()];
    let found = look(&settings);
    assert_eq!(found.len(), 1);
    assert_eq!(look(&settings), found);
    assert_eq!(double.count("GET", "/v2.1/flavors/detail"), 3);
    // A new configuration asks for what it names.
    settings.flavors.push("m1.tiny".to_owned());
    look(&settings);
    assert_eq!(double.count("GET", "/v2.1/flavors/detail"), 4);
}

#[test]
fn an_image_is_kept_by_its_id() {
    let image = Reply::fixture("glance-images-by-name");
    let Reply::Answer { body, .. } = image else {
        unreachable!()
    };
    let list: serde_json::Value = serde_json::from_str(&body).unwrap();
    let path = format!("/v2/images/{IMAGE_ID}");
    let (double, folder) = (double(vec![]), tempfile::tempdir().unwrap());
    let mut script = lookups();
    script.push(always(
        "GET",
        &path,
        Reply::status(200, &list["images"][0].to_string()),
    ));
    script.push(always("POST", CREATE, Reply::fixture("server-create")));
    double.play(script);
    let settings = settings(double.url());
    for _ in 0..2 {
        let mut intent = intent();
        intent.image = IMAGE_ID.to_owned();
        tick(&settings, folder.path())
            .perform(&CloudAction::Create(intent), soon())
            .unwrap();
    }
    assert_eq!(double.count("GET", &path), 1);
    // Another image of the configuration is looked up at once.
    create(&settings, folder.path()).unwrap();
    assert_eq!(double.count("GET", "/v2/images?name="), 1);
}

#[test]
fn a_server_in_error_ends_what_an_earlier_tick_found() {
    let (double, folder) = (double(vec![]), tempfile::tempdir().unwrap());
    let settings = settings(double.url());
    create(&settings, folder.path()).unwrap();
    let file = openstack::lookups_file(folder.path(), "lab");
    assert!(file.exists());
    let broken = Reply::fixture("servers-page-1").replace("\"ACTIVE\"", "\"ERROR\"");
    let Reply::Answer { body, .. } = broken else {
        unreachable!()
    };
    let mut list: serde_json::Value = serde_json::from_str(&body).unwrap();
    list.as_object_mut().unwrap().remove("servers_links");
    list["servers"][0]["metadata"] = json!(scaling::observation::execute_metadata(
        "pool-1",
        &super::NodeId("n-1".into()),
        "m1.small",
        "GOLD CentOS 7"
    ));
    let mut script = vec![
        login(),
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::status(200, &list.to_string()),
        ),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
    ];
    script.extend(lookups());
    double.play(script);
    tick(&settings, folder.path())
        .observe(&LeftoverQuery::default(), soon())
        .unwrap();
    assert!(!file.exists());
}
