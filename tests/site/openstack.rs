//! The OpenStack client against a real control plane: `EHOS_TEST_CLOUDS_YAML` names its clouds.yaml. It needs what
//! the project's testbed has: clouds ehos, ehos-appcred and ehos-small (with a quota of 2 servers), image
//! 'GOLD CentOS 7', network dualStack, flavors m1.small and impossible, keypair and security group ehos.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use openstack::{Auth, AuthMethod, CloudSettings, NameOrId};
use openstack::{OpenStackCloud, Service, server_group};
use scaling::action::{CloudAction, Done, Expected, FailureKind, Intent, StartdIdentity};
use scaling::leftover::Leftovers;
use scaling::observation::{CloudView, NodeId, Observed, OwnedServer, ServerStatus};
use scaling::state::State;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use system::deadline::Deadline;
use tick::cloud::{Cloud, LeftoverQuery};

/// One entry of the clouds.yaml, or `None` with a word why not.
fn settings(cloud: &str) -> Option<CloudSettings> {
    let Ok(file) = std::env::var("EHOS_TEST_CLOUDS_YAML") else {
        println!("skipped: EHOS_TEST_CLOUDS_YAML does not name a clouds.yaml");
        return None;
    };
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let clouds: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let entry = &clouds["clouds"][cloud];
    let text = |key: &str| entry["auth"][key].as_str().map(str::to_owned);
    let name = |key: &str| text(key).map(NameOrId::Name);
    let method = match text("application_credential_id") {
        Some(id) => AuthMethod::ApplicationCredential {
            credential: NameOrId::Id(id),
            user: None,
            user_domain: None,
            secret: text("application_credential_secret").unwrap().into(),
        },
        None => AuthMethod::Password {
            user: name("username").unwrap(),
            user_domain: name("user_domain_name"),
            password: text("password").unwrap().into(),
            project: name("project_name").unwrap(),
            project_domain: name("project_domain_name"),
        },
    };
    Some(CloudSettings {
        name: cloud.to_owned(),
        auth: Auth {
            url: text("auth_url").unwrap(),
            method,
        },
        region: entry["region_name"].as_str().map(str::to_owned),
        image: "GOLD CentOS 7".to_owned(),
        flavors: vec!["m1.small".to_owned()],
        networks: vec!["dualStack".to_owned()],
        key: Some("ehos".to_owned()),
        security_groups: vec!["ehos".to_owned()],
        metadata: BTreeMap::from([("purpose".to_owned(), "test".to_owned())]),
        ..CloudSettings::default()
    })
}

/// A pool id of this test alone.
fn cluster(test: &str) -> String {
    format!("site-{test}-{}", process::id())
}

fn cloud<'c>(settings: &'c CloudSettings, cluster: &str) -> OpenStackCloud<'c> {
    OpenStackCloud::new(
        settings,
        cluster,
        Duration::from_secs(30),
        None,
        Box::new(|intent, _, _| {
            Ok(format!("#cloud-config\nfinal_message: \"{} is up\"\n", intent.node).into())
        }),
    )
    .unwrap()
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(60))
}

fn intent(cluster: &str, number: usize) -> Intent {
    Intent {
        node: NodeId(format!("{cluster}-{number}").into()),
        name: format!("osclient-{cluster}-{number}"),
        cloud: "ehos".to_owned(),
        flavor: "m1.small".to_owned(),
        image: "GOLD CentOS 7".to_owned(),
        zone: None,
        at: jiff::Timestamp::now(),
    }
}

fn delete(server: &OwnedServer) -> CloudAction {
    CloudAction::Delete {
        node: server.node().unwrap().clone(),
        server: server.clone(),
        expects: Expected::NeverJoined {
            schedds_known: true,
        },
        startd: StartdIdentity {
            server_id: Some(server.id().to_owned()),
            node: server.node().unwrap().clone(),
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
    }
}

/// Looks until what is seen is as it should be.
fn watch(cloud: &OpenStackCloud, what: &str, good: impl Fn(&CloudView) -> bool) -> CloudView {
    let deadline = Deadline::within(Duration::from_secs(120));
    loop {
        let view = cloud.observe(&LeftoverQuery::default(), soon()).unwrap();
        if good(&view) {
            return view;
        }
        assert!(!deadline.passed(), "{what} does not come to pass: {view:?}");
        thread::sleep(Duration::from_millis(500));
    }
}

/// Deletes what a test has made, whatever became of it.
struct CleanUp<'a, 'c>(&'a OpenStackCloud<'c>);

impl Drop for CleanUp<'_, '_> {
    fn drop(&mut self) {
        match self.0.observe(&LeftoverQuery::default(), soon()) {
            Ok(view) => {
                for server in &view.servers {
                    if let Err(failure) = self.0.perform(&delete(server), soon()) {
                        eprintln!("left behind: {}: {}", server.record().name, failure.message);
                    }
                }
            }
            Err(failure) => eprintln!("servers may be left behind: {}", failure.message),
        }
    }
}

#[test]
fn a_server_lives_and_dies() {
    let Some(mut settings) = settings("ehos") else {
        return;
    };
    settings.scratch_size_gb = Some(1);
    let cluster = cluster("life");
    let cloud = cloud(&settings, &cluster);
    let _clean_up = CleanUp(&cloud);

    let view = cloud.observe(&LeftoverQuery::default(), soon()).unwrap();
    assert!(view.servers.is_empty(), "a pool of this id is new");
    assert!(view.quota.instances.left().unwrap() > 0);
    assert_eq!(view.flavors["m1.small"].vcpus, 1);
    assert_eq!(view.flavors["m1.small"].ram_mb, 2048);

    let intent = intent(&cluster, 1);
    let Done::Created { server_id } = cloud
        .perform(&CloudAction::Create(intent.clone()), soon())
        .unwrap()
    else {
        panic!("not created");
    };
    let view = watch(&cloud, "an active server", |view| {
        view.servers
            .iter()
            .any(|server| server.record().status == ServerStatus::Active)
    });
    let [server] = view.servers.as_slice() else {
        panic!("more than one server: {:?}", view.servers);
    };
    assert_eq!(server.id(), server_id);
    assert_eq!(server.node(), Some(&intent.node));
    assert_eq!(server.record().name, intent.name);
    assert_eq!(server.record().metadata["purpose"], "test");
    assert!(server.record().age < Duration::from_secs(120));

    // Another pool does not see it.
    let other = self::cloud(&settings, "site-other");
    assert!(
        other
            .observe(&LeftoverQuery::default(), soon())
            .unwrap()
            .servers
            .is_empty()
    );

    // A last look sees the same, whatever pool asks.
    let looked_at = other.look(server.id(), soon()).unwrap().unwrap();
    assert_eq!(looked_at.metadata, server.record().metadata);
    assert_eq!(looked_at.status, server.record().status);
    cloud.keep_console(server, soon());
    assert_eq!(cloud.perform(&delete(server), soon()), Ok(Done::Accepted));
    watch(&cloud, "its end", |view| view.servers.is_empty());
    let deadline = Deadline::within(Duration::from_secs(60));
    while cloud.perform(&delete(server), soon()) != Ok(Done::AlreadyGone) {
        assert!(!deadline.passed(), "the server is still there");
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(cloud.look(server.id(), soon()), Ok(None));
}

#[test]
fn a_server_that_fails_says_why() {
    let Some(settings) = settings("ehos") else {
        return;
    };
    let cluster = cluster("failed");
    let cloud = cloud(&settings, &cluster);
    let _clean_up = CleanUp(&cloud);
    let mut intent = intent(&cluster, 1);
    // No host has its disk.
    intent.flavor = "impossible".to_owned();
    cloud.perform(&CloudAction::Create(intent), soon()).unwrap();
    let view = watch(&cloud, "a failed server", |view| {
        view.servers
            .iter()
            .any(|server| server.record().status == ServerStatus::Error)
    });
    let server = &view.servers[0];
    assert_eq!(
        server.record().fault.as_deref(),
        Some("No valid host was found.")
    );
    cloud.keep_console(server, soon());
    assert_eq!(cloud.perform(&delete(server), soon()), Ok(Done::Accepted));
    watch(&cloud, "its end", |view| view.servers.is_empty());
}

#[test]
fn an_application_credential_is_as_good_as_a_password() {
    let Some(settings) = settings("ehos-appcred") else {
        return;
    };
    let view = cloud(&settings, "site-other")
        .observe(&LeftoverQuery::default(), soon())
        .unwrap();
    assert!(view.quota.instances.limit.is_some());
}

/// Deletes a server group, whatever became of the test.
struct Group<'a, 'c>(&'a OpenStackCloud<'c>, String);

impl Drop for Group<'_, '_> {
    fn drop(&mut self) {
        if let Err(error) = server_group::delete(self.0.session(), &self.1, soon()) {
            eprintln!("a server group is left behind: {error}");
        }
    }
}

#[test]
fn a_node_is_in_its_zone_and_group_and_their_quotas_are_seen() {
    let Some(mut settings) = settings("ehos") else {
        return;
    };
    let cluster = cluster("parts");
    settings.server_group = Some(format!("osclient-{cluster}"));
    settings.tags = vec!["grid".to_owned()];
    settings.config_drive = true;
    settings.scratch_size_gb = Some(1);
    let cloud = cloud(&settings, &cluster);
    let missing = cloud.observe(&LeftoverQuery::default(), soon()).unwrap();
    assert!(
        matches!(&missing.parts, Observed::Unknown(why) if why.contains("there is no server group")),
        "{:?}",
        missing.parts
    );
    let name = settings.server_group.as_deref().unwrap();
    let group = server_group::create(cloud.session(), name, "soft-anti-affinity", soon()).unwrap();
    assert_eq!(
        (group.policy.as_str(), group.members),
        ("soft-anti-affinity", 0)
    );
    let _group = Group(&cloud, group.id);
    let _clean_up = CleanUp(&cloud);
    let intent = Intent {
        zone: Some("nova".to_owned()),
        ..intent(&cluster, 1)
    };
    cloud.perform(&CloudAction::Create(intent), soon()).unwrap();
    let view = watch(&cloud, "a server that is ACTIVE", |view| {
        let mut servers = view.servers.iter();
        servers.any(|server| server.record().status == ServerStatus::Active)
    });
    assert_eq!(view.servers[0].record().zone.as_deref(), Some("nova"));
    let Observed::Known(parts) = view.parts else {
        panic!("{:?}", view.parts);
    };
    println!("{parts:?}");
    assert_eq!(parts.server_group_members.used, 1);
    assert!(parts.server_group_members.limit.is_some());
    assert!(parts.ports.used >= 1 && parts.ports.limit.is_some());
    assert!(parts.volumes.used >= 1 && parts.volume_gb.used >= 1);
}

#[test]
fn a_full_project_says_so() {
    let Some(settings) = settings("ehos-small") else {
        return;
    };
    let cluster = cluster("quota");
    let cloud = cloud(&settings, &cluster);
    let _clean_up = CleanUp(&cloud);
    // Others may use the project too, so it may be full at once. Nova counts a server that was just created a moment late.
    let failure = (0..6)
        .find_map(|number| {
            cloud
                .perform(&CloudAction::Create(intent(&cluster, number)), soon())
                .err()
        })
        .expect("six servers in a project for two");
    println!("{}", failure.message);
    assert_eq!(failure.kind, FailureKind::Quota);
    assert!(failure.message.contains("Quota exceeded for instances"));
}

#[test]
fn what_the_cloud_does_not_have_is_said() {
    type Spoil = fn(&mut CloudSettings, &mut Intent);
    let cases: [(Spoil, &str); 7] = [
        (
            |_, intent| intent.image = "no such image".to_owned(),
            "there is no image 'no such image'",
        ),
        (
            |_, intent| intent.flavor = "m9.none".to_owned(),
            "there is no flavor 'm9.none'",
        ),
        (
            |settings, _| settings.networks = vec!["nowhere".to_owned()],
            "there is no network 'nowhere'",
        ),
        (
            |settings, _| {
                settings.networks = vec!["00000000-0000-0000-0000-000000000000".to_owned()]
            },
            "there is no network '00000000-0000-0000-0000-000000000000'",
        ),
        (
            |settings, _| settings.key = Some("lost".to_owned()),
            "there is no keypair 'lost' of this user (there are: ehos",
        ),
        (
            |settings, _| settings.security_groups = vec!["none".to_owned()],
            "there is no security group 'none'",
        ),
        (
            |_, intent| intent.zone = Some("mars".to_owned()),
            "status 400: The requested availability zone is not available",
        ),
    ];
    for (spoil, words) in cases {
        let Some(mut settings) = settings("ehos") else {
            return;
        };
        let cluster = cluster("wrong");
        let mut intent = intent(&cluster, 1);
        spoil(&mut settings, &mut intent);
        let failure = cloud(&settings, &cluster)
            .perform(&CloudAction::Create(intent), soon())
            .unwrap_err();
        println!("{}", failure.message);
        let refused = matches!(failure.kind, FailureKind::Refused(_));
        assert!(refused, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn a_wrong_password_is_said() {
    let Some(mut settings) = settings("ehos") else {
        return;
    };
    if let AuthMethod::Password { password, .. } = &mut settings.auth.method {
        *password = "not-this-one".into();
    }
    let failure = cloud(&settings, "site-other")
        .observe(&LeftoverQuery::default(), soon())
        .unwrap_err();
    println!("{}", failure.message);
    assert_eq!(failure.kind, FailureKind::NotAuthorized);
    assert!(
        failure
            .message
            .contains("does not accept user ehos for project ehos")
    );
    assert!(!failure.message.contains("not-this-one"));
}

#[test]
fn a_look_costs_little() {
    let Some(settings) = settings("ehos") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token.json");
    // What it cost is for the reader of the output: a shared machine proves no speed.
    for (what, times) in [("with a new token", 1), ("with the kept token", 20)] {
        let began = (Instant::now(), cpu_ms());
        for _ in 0..times {
            let cloud = OpenStackCloud::new(
                &settings,
                "site-other",
                Duration::from_secs(30),
                Some(file.clone()),
                Box::new(|_, _, _| unreachable!("nothing is made")),
            )
            .unwrap();
            cloud.observe(&LeftoverQuery::default(), soon()).unwrap();
        }
        println!(
            "observed {what} {times} times: {} ms, {} ms of CPU in all; {}",
            began.0.elapsed().as_millis(),
            cpu_ms() - began.1,
            resident()
        );
        assert!(file.exists());
    }
}

/// CPU time of this process so far: utime and stime, in ticks of 10 ms (proc_pid_stat(5)).
fn cpu_ms() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

fn resident() -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Neutron and Cinder of a cloud, apart from ehos's own client, and what a test has put there.
struct Things {
    token: String,
    network: String,
    volume: String,
    made: Vec<String>,
}

impl Things {
    fn new(cloud: &OpenStackCloud) -> Things {
        let session = cloud.session();
        let token = session.token(soon()).unwrap();
        let url = |service| token.catalog.url(service, session.settings()).unwrap();
        Things {
            token: token.secret.expose_secret().to_owned(),
            network: url(Service::Network),
            volume: url(Service::Volume),
            made: Vec::new(),
        }
    }

    fn get(&self, url: &str) -> Option<Value> {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.build().new_agent();
        let request = agent.get(url).header("X-Auth-Token", &self.token);
        let mut answer = request.call().unwrap();
        let there = answer.status().as_u16() == 200;
        there.then(|| answer.body_mut().read_json().unwrap())
    }

    fn post(&mut self, collection: &str, what: &str, fields: &Value) -> String {
        let mut answer = ureq::post(collection)
            .header("X-Auth-Token", &self.token)
            .send_json(json!({ what: fields }))
            .unwrap();
        let body: Value = answer.body_mut().read_json().unwrap();
        let url = format!("{collection}/{}", body[what]["id"].as_str().unwrap());
        self.made.push(url.clone());
        url
    }

    /// A port as Nova makes one for a server.
    fn port(&mut self, server: &str) -> String {
        let networks = format!("{}/networks?name=dualStack", self.network);
        let network = &self.get(&networks).unwrap()["networks"][0]["id"];
        let fields =
            json!({"network_id": network, "device_id": server, "device_owner": "compute:nova"});
        self.post(&format!("{}/ports", self.network), "port", &fields)
    }

    /// A blank volume as Nova makes one for a server.
    fn volume(&mut self, server: &str) -> String {
        let fields = json!({"size": 1, "name": format!("{server}-blank-vol")});
        let url = self.post(&format!("{}/volumes", self.volume), "volume", &fields);
        let free = || self.get(&url).unwrap()["volume"]["status"] == "available";
        let deadline = Deadline::within(Duration::from_secs(30));
        while !free() {
            assert!(!deadline.passed(), "{url} is not made");
            thread::sleep(Duration::from_millis(200));
        }
        url
    }

    fn there(&self, urls: &[&String]) -> Vec<bool> {
        urls.iter().map(|url| self.get(url).is_some()).collect()
    }
}

impl Drop for Things {
    fn drop(&mut self) {
        for url in &self.made {
            // 404: it is gone, as it should be.
            let _ = ureq::delete(url).header("X-Auth-Token", &self.token).call();
        }
    }
}

/// One tick of the real program, without a pool: what is left behind needs none.
fn tick(folder: &Path) -> Value {
    let began = Instant::now();
    let output = process::Command::new(testkit::program!())
        .args(["tick", "-o", "json", "--config", "ehos.yaml", "--state-dir"])
        .arg(folder.join("state"))
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{output:?}"));
    println!(
        "a tick of {} ms, exit {:?}: {} {} {}",
        began.elapsed().as_millis(),
        output.status.code(),
        report["source_milliseconds"],
        report["leftovers"],
        report["actions"]
    );
    report
}

#[test]
fn what_a_server_leaves_behind_is_removed_by_two_ticks() {
    let Some(mut settings) = settings("ehos") else {
        return;
    };
    settings.scratch_size_gb = Some(1);
    let cluster = cluster("left");
    let cloud = cloud(&settings, &cluster);
    let _clean_up = CleanUp(&cloud);
    let Done::Created { server_id } = cloud
        .perform(&CloudAction::Create(intent(&cluster, 1)), soon())
        .unwrap()
    else {
        panic!("not created");
    };
    let view = watch(&cloud, "an active server", |view| {
        view.servers
            .iter()
            .any(|server| server.record().status == ServerStatus::Active)
    });
    let record = view.servers[0].record();
    assert!(
        record.volumes.len() == 1 && record.volumes[0].goes,
        "{record:?}"
    );
    let mut things = Things::new(&cloud);
    let volume = format!("{}/volumes/{}", things.volume, record.volumes[0].id);
    let name = format!("{server_id}-blank-vol");
    assert_eq!(things.get(&volume).unwrap()["volume"]["name"], name);

    // As if it had gone: what it has is not left behind while it is there.
    let traces = LeftoverQuery {
        servers: [server_id.clone()].into(),
        volumes: [(record.volumes[0].id.clone(), true)].into(),
        ..LeftoverQuery::default()
    };
    let view = cloud.observe(&traces, soon()).unwrap();
    let ours = view.leftovers.known().unwrap().ours.clone();
    assert_eq!(ours.len(), 1, "its port: {ours:?}");
    let node = NodeId(ours[0].id().into());
    let leftover = ours[0].clone();
    let removal = CloudAction::Remove { node, leftover };
    let failure = cloud.perform(&removal, soon()).unwrap_err();
    println!("{}", failure.message);
    assert_eq!(failure.kind, FailureKind::NotIdle);

    let server = &view.servers[0];
    cloud.perform(&delete(server), soon()).unwrap();
    watch(&cloud, "its end", |view| view.servers.is_empty());
    let deadline = Deadline::within(Duration::from_secs(30));
    while cloud.observe(&traces, soon()).unwrap().leftovers != Observed::Known(Leftovers::default())
    {
        assert!(
            !deadline.passed(),
            "a healthy cloud leaves something behind"
        );
        thread::sleep(Duration::from_millis(200));
    }
    assert!(things.get(&volume).is_none(), "its volume went with it");

    // Now by hand: what an unhealthy one would have left, and somebody else's.
    let other = "11111111-2222-4333-8444-555555555555";
    let left = [things.port(&server_id), things.volume(&server_id)];
    let others = [things.port(other), things.volume(other)];
    let all: Vec<&String> = left.iter().chain(&others).collect();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    let mut state = State::default();
    state.record_intent(&intent(&cluster, 1));
    let node = intent(&cluster, 1).node;
    let memory = state.nodes.get_mut(&node).unwrap();
    memory.server_id = Some(server_id);
    memory.volumes = view.servers[0].record().volumes.clone();
    state.bury(&node);
    tick::state_directory::save(&folder.path().join("state"), &state).unwrap();
    let clouds = std::env::var("EHOS_TEST_CLOUDS_YAML").unwrap();
    fs::copy(clouds, folder.path().join("clouds.yaml")).unwrap();
    let yaml = format!(
        "ehos: {{cluster: {cluster}, image: GOLD CentOS 7, flavor: m1.small, network: dualStack, scratch_size: 1}}\n\
         condor: {{bin: /nonexistent, host_ip: 10.0.0.1}}\nclouds: {{ehos: {{cloud: ehos}}}}\n"
    );
    fs::write(folder.path().join("ehos.yaml"), yaml).unwrap();
    let first = tick(folder.path());
    assert_eq!(first["actions"], json!([]));
    assert_eq!(first["leftovers"].as_array().unwrap().len(), 2, "{first:#}");
    assert_eq!(things.there(&all), [true; 4]);
    // Two looks within a minute are one.
    assert_eq!(tick(folder.path())["actions"], json!([]));
    let file = folder.path().join("state/state.json");
    let mut saved: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let last: jiff::Timestamp = saved["state"]["last_tick"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    saved["state"]["last_tick"] = json!(last - jiff::SignedDuration::from_mins(1));
    fs::write(&file, saved.to_string()).unwrap();
    let second = tick(folder.path());
    let done = |action: &Value| action["action"] == "remove" && action["result"] == "done";
    assert!(
        second["actions"].as_array().unwrap().iter().all(done),
        "{second:#}"
    );
    let deadline = Deadline::within(Duration::from_secs(20));
    while things.there(&all) != [false, false, true, true] {
        assert!(!deadline.passed(), "{:?}", things.there(&all));
        thread::sleep(Duration::from_millis(200));
    }
    let third = tick(folder.path());
    assert_eq!(third["leftovers"], json!([]), "{third:#}");
}
