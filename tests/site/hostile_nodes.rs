//! A node whose root forges ads with the node's token, on a real collector: none of them costs another node.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use condor::CondorSettings;
use condor::{CondorPool, Tools, token};
use jiff::Timestamp;
use scaling::action::{CloudAction, Done, Failure};
use scaling::leftover::Leftovers;
use scaling::node::drain_mark;
use scaling::observation::{
    CloudView, Flavor, METADATA_TOKEN_IDENTITY, NodeId, Observation, Observed, OwnedServer, Quota,
    SecondaryQuota, ServerRecord, ServerStatus, execute_metadata,
};
use scaling::plan::{NodeDecision, Plan, plan};
use scaling::policy::{CloudPolicy, Policy};
use scaling::state::State;
use secrecy::ExposeSecret;
use system::deadline::Deadline;
use tick::act::act;
use tick::backends::Backends;
use tick::cloud::{Cloud, LeftoverQuery};
use tick::observe::observe_in_turn;

use crate::condor::Testbed;

const CLUSTER: &str = "pool-hostile";
const VICTIM: &str = "20261129t090000-01";
const ATTACKER: &str = "20261129t090000-02";

/// A cloud whose servers only this test ends.
struct Servers {
    records: Vec<ServerRecord>,
    deleted: Arc<Mutex<Vec<String>>>,
}

impl Cloud for Servers {
    fn name(&self) -> &str {
        "lab"
    }

    fn observe(&self, _: &LeftoverQuery, _: Deadline) -> Result<CloudView, Failure> {
        let servers = self.records.iter().cloned();
        let flavor = Flavor {
            id: "f".to_owned(),
            vcpus: 4,
            ram_mb: 4096,
            disk_gb: 10,
            gpus: 0,
        };
        Ok(CloudView {
            servers: servers
                .filter_map(|record| OwnedServer::recognise(record, CLUSTER))
                .collect(),
            obscure: Vec::new(),
            image_tested: false,
            quota: Quota::default(),
            parts: Observed::Known(SecondaryQuota::default()),
            flavors: BTreeMap::from([("f".to_owned(), flavor)]),
            unread_flavors: BTreeMap::new(),
            leftovers: Observed::Known(Leftovers::default()),
            unread: Vec::new(),
        })
    }

    fn look(&self, id: &str, _: Deadline) -> Result<Option<ServerRecord>, Failure> {
        Ok(self.records.iter().find(|record| record.id == id).cloned())
    }

    fn perform(&self, action: &CloudAction, _: Deadline) -> Result<Done, Failure> {
        if let CloudAction::Delete { server, .. } = action {
            self.deleted.lock().unwrap().push(server.id().to_owned());
        }
        Ok(Done::Accepted)
    }
}

fn uuid(node: &str) -> String {
    format!("0f3c6c1e-0000-4000-8000-0000000000{}", &node[16..])
}

fn server(node: &str, own_identity: bool) -> ServerRecord {
    let mut metadata = execute_metadata(CLUSTER, &NodeId(node.into()), "f", "i");
    if own_identity {
        metadata.insert(METADATA_TOKEN_IDENTITY.to_owned(), identity(node));
    }
    ServerRecord {
        id: uuid(node),
        name: format!("ehos-v1-execute-{node}"),
        status: ServerStatus::Active,
        nova_status: None,
        deleting: false,
        metadata,
        age: Duration::from_secs(600),
        fault: None,
        volumes: Vec::new(),
        zone: None,
        addresses: Vec::new(),
    }
}

fn identity(node: &str) -> String {
    format!("execute-{node}@testbed")
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(30))
}

struct Lab<'a> {
    testbed: &'a Testbed,
    site: Backends<'static>,
    deleted: Arc<Mutex<Vec<String>>>,
    policy: Policy,
    state: State,
}

impl<'a> Lab<'a> {
    fn new(testbed: &'a Testbed, own_identities: bool) -> Lab<'a> {
        let settings = CondorSettings {
            bin: Some(testbed.bin()),
            ..CondorSettings::default()
        };
        let (interval, limit) = (Duration::from_secs(5), Duration::from_secs(12));
        let mut policy = Policy::new(CLUSTER);
        policy.clouds = vec![CloudPolicy::new("lab", vec!["f".to_owned()], "i")];
        policy.update_interval = interval;
        policy.collector_grace = Duration::ZERO;
        policy.negotiation_cycle = Duration::from_secs(1);
        // Only what somebody else does ends a node here.
        policy.idle_timeout = Duration::from_secs(3600);
        policy.nodes_max = 5;
        let servers = [VICTIM, ATTACKER].map(|node| server(node, own_identities));
        let deleted = Arc::new(Mutex::default());
        let pool = CondorPool::new(&settings, Duration::from_secs(1), interval, limit);
        let cloud = Servers {
            records: servers.to_vec(),
            deleted: Arc::clone(&deleted),
        };
        Lab {
            testbed,
            site: Backends {
                pool: Box::new(pool),
                clouds: vec![Box::new(cloud)],
            },
            deleted,
            policy,
            state: State::default(),
        }
    }

    fn observe(&self) -> Observation {
        let at = Timestamp::now();
        observe_in_turn(&self.site, &self.policy, &self.state, at, soon())
    }

    /// One tick. No server goes in any of them.
    fn tick(&mut self) -> Plan {
        let plan = plan(&self.observe(), &self.policy, &self.state);
        for outcome in act(&self.site, &plan.actions, 1, soon()) {
            println!("    {}: {:?}", outcome.action.verb(), outcome.result);
        }
        let deleted = self.deleted.lock().unwrap().clone();
        assert_eq!(deleted, [] as [String; 0], "{plan:#?}");
        self.state = plan.next.clone();
        plan
    }

    /// Ticks until this is so.
    fn tick_until(&mut self, what: &str, is: impl Fn(&Plan) -> bool) -> Plan {
        let start = Instant::now();
        loop {
            let plan = self.tick();
            if is(&plan) {
                println!("{what}: after {:?}", start.elapsed());
                return plan;
            }
            let late = start.elapsed() > Duration::from_secs(40);
            assert!(!late, "{what}: {plan:#?}");
            sleep(Duration::from_millis(300));
        }
    }

    /// Sends ads with the token of this name.
    fn send(&self, token: &str, command: &str, ad: &str) {
        let root = self.testbed.root();
        fs::write(root.join("tmp/forged.ad"), ad).unwrap();
        let args = ["-tcp", command, "/tmp/forged.ad"];
        let said = self.testbed.tool_with(token, "condor_advertise", &args);
        assert!(said.contains("Sent 1 of 1 ad"), "{said}");
    }

    /// An ad of another machine that says that it is the victim, drained by ehos.
    fn forge_drained(&self, token: &str) {
        let reason = format!("{} idle", drain_mark(CLUSTER));
        let uuid = uuid(VICTIM);
        let ad = slot(
            "aaa",
            &format!(
                "EhosNode = \"{VICTIM}\"\nCloudInstanceID = \"{uuid}\"\nState = \"Drained\"\nDraining = true\n\
             DrainReason = \"{reason}\"\nDrainingRequestId = \"7\"\nCpus = 4\nTotalSlotCpus = 4\n"
            ),
        );
        self.send(token, "UPDATE_STARTD_AD", &ad);
    }
}

fn slot(machine: &str, more: &str) -> String {
    format!(
        "MyType = \"Machine\"\nName = \"slot1@{machine}\"\nMachine = \"{machine}\"\nSlotType = \"Partitionable\"\n\
         PartitionableSlot = true\nActivity = \"Idle\"\nStart = true\nTotalSlotMemory = 1024\nTotalSlotDisk = 1000\n\
         Memory = 1024\nDisk = 1000\nNumDynamicSlots = 0\nNumDynamicSlotsTime = 1\nDaemonStartTime = 1\n\
         MyCurrentTime = 100000\nMyAddress = \"<127.0.0.1:1>\"\n{more}"
    )
}

fn decision(plan: &Plan, node: &str) -> (NodeDecision, &'static str) {
    let mut nodes = plan.nodes.iter();
    let line = nodes.find(|line| line.node.0 == node).unwrap();
    (line.decision, line.phase.as_str())
}

fn told(plan: &Plan, words: &[&str]) -> bool {
    let mut unseen = plan.unknown_sources.iter();
    unseen.any(|one| {
        let text = format!("{}: {}", one.source, one.why);
        words.iter().all(|word| text.contains(word))
    })
}

/// Makes a token as ehos does, into a folder of the pool.
fn make_token(testbed: &Testbed, name: &str, identity: &str) {
    let tools = Tools::new(Some(testbed.bin()), Duration::from_secs(12));
    let day = Duration::from_secs(86_400);
    let authorizations = &token::NODE_AUTHORIZATIONS;
    let signing = token::Signing::default();
    let made = token::create(&tools, identity, authorizations, day, signing, soon()).unwrap();
    let folder = testbed.root().join("srv/testbed/tokens").join(name);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token");
    fs::write(&file, made.expose_secret()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn start_node(testbed: &Testbed, name: &str, node: &str, token: &str) {
    let uuid = uuid(node);
    let config = format!(
        "EhosNode = \"{node}\"\nCloudInstanceID = \"{uuid}\"\nEhosUpdateInterval = 5\n\
         STARTD_ATTRS = $(STARTD_ATTRS) CloudInstanceID EhosNode EhosUpdateInterval\n\
         SEC_TOKEN_SYSTEM_DIRECTORY = /srv/testbed/tokens/{token}\n"
    );
    testbed.script("node-start", &[name, "4", "1024", "-"], &config);
}

#[test]
fn a_forged_ad_costs_no_other_node() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    make_token(&testbed, "victim", &identity(VICTIM));
    make_token(&testbed, "attacker", &identity(ATTACKER));

    start_node(&testbed, "victim", VICTIM, "execute");
    testbed.submit(None, "requirements = Machine == \"victim\"\nqueue 1");
    shared_identity(&testbed);
    testbed.script("node-stop", &["victim"], "");

    start_node(&testbed, "victim", VICTIM, "victim");
    own_identity(&testbed);
    daemons_of_the_central_manager(&testbed);
}

/// All nodes have one identity: nothing shows who has sent an ad.
fn shared_identity(testbed: &Testbed) {
    let mut lab = Lab::new(testbed, false);
    lab.tick_until("the job runs", |plan| {
        decision(plan, VICTIM) == (NodeDecision::Keep, "busy")
    });
    for name in ["aaa", "zzz"] {
        lab.forge_drained("execute");
        let plan = lab.tick();
        assert!(
            told(&plan, &[VICTIM, "aaa at <127.0.0.1:1>", "victim at <"]),
            "{name}: {plan:#?}"
        );
        assert_eq!(decision(&plan, VICTIM), (NodeDecision::Keep, "busy"));
    }
    // Its own ads are taken away, again and again.
    let all =
        "MyType = \"Query\"\nTargetType = \"Machine\"\nRequirements = Machine == \"victim\"\n";
    let alone = |lab: &mut Lab<'_>| {
        for _ in 0..20 {
            lab.send("execute", "INVALIDATE_STARTD_ADS", all);
            lab.forge_drained("execute");
            let plan = lab.tick();
            if !told(&plan, &["two startds"]) {
                return plan;
            }
        }
        panic!("its own ads were there all the time");
    };
    let plan = alone(&mut lab);
    let line = plan
        .nodes
        .iter()
        .find(|line| line.node.0 == VICTIM)
        .unwrap();
    let why = line.why.to_string();
    assert!(
        why.contains("a schedd lists a running job on victim"),
        "{why}"
    );
    // The forged ad is gone: all goes on as before.
    let gone = all.replace("victim", "aaa");
    lab.send("execute", "INVALIDATE_STARTD_ADS", &gone);
    let plan = lab.tick_until("it is itself again", |plan| {
        decision(plan, VICTIM) == (NodeDecision::Keep, "busy") && !told(plan, &[VICTIM])
    });
    assert!(!told(&plan, &["two startds"]), "{plan:#?}");
    testbed.tool("condor_rm", &["-all"]);
}

/// Each node has its own: what is sent for another is left out, and told with its sender.
fn own_identity(testbed: &Testbed) {
    let mut lab = Lab::new(testbed, true);
    lab.tick_until("it is idle", |plan| {
        decision(plan, VICTIM) == (NodeDecision::Keep, "idle")
    });
    for (token, sender) in [
        ("attacker", format!("node {ATTACKER}")),
        ("execute", "the shared identity of nodes".to_owned()),
    ] {
        lab.forge_drained(token);
        let plan = lab.tick();
        assert!(
            told(
                &plan,
                &["startd aaa: the startd at <127.0.0.1:1>", VICTIM, &sender]
            ),
            "{plan:#?}"
        );
        assert_eq!(
            decision(&plan, VICTIM),
            (NodeDecision::Keep, "idle"),
            "{sender}"
        );
    }
    // Room that is not there, and an ad that cannot be read.
    let room = "State = \"Unclaimed\"\nCpus = 100000\nTotalSlotCpus = 100000\n";
    lab.send("attacker", "UPDATE_STARTD_AD", &slot("aaa", room));
    let plan = lab.tick();
    let cpus: Vec<u64> = plan
        .nodes
        .iter()
        .filter_map(|line| Some(line.startd.as_ref()?.cpus))
        .collect();
    assert!(cpus.iter().all(|cpus| *cpus <= 4), "{plan:#?}");
    let odd = "State = \"Unclaimed\"\nEhosNode = {\"a\",\"b\"}\nCloudInstanceID = [a = 1]\n";
    lab.send("attacker", "UPDATE_STARTD_AD", &slot("odd", odd));
    let plan = lab.tick();
    assert_eq!(
        decision(&plan, VICTIM),
        (NodeDecision::Keep, "idle"),
        "{plan:#?}"
    );
}

fn daemons_of_the_central_manager(testbed: &Testbed) {
    let mut lab = Lab::new(testbed, true);
    let manager = testbed.tool("condor_status", &["-collector", "-af", "Machine"]);
    let manager = manager.trim();
    let now = Timestamp::now().as_second();
    for token in ["attacker", "execute"] {
        let master = format!(
            "MyType = \"DaemonMaster\"\nName = \"m-{token}\"\nMachine = \"{manager}\"\nCOLLECTOR_StartTime = {}\n\
             MyAddress = \"<127.0.0.1:1>\"\n",
            now + 100_000
        );
        lab.send(token, "UPDATE_MASTER_AD", &master);
        let negotiator = "MyType = \"Negotiator\"\nName = \"n\"\nMachine = \"aaa\"\nMyAddress = \"<127.0.0.1:1>\"\n\
                          LastNegotiationCyclePeriod0 = 100000000\n";
        lab.send(token, "UPDATE_MASTER_AD", negotiator);
        let view = lab.observe().pool.collector;
        let view = view.known().unwrap();
        assert!(view.up_for > Duration::from_secs(5), "{view:#?}");
        assert!(
            view.negotiation_period < Some(Duration::from_secs(600)),
            "{view:#?}"
        );
        let forged: Vec<&str> = view.forged.iter().map(|ad| ad.of.as_str()).collect();
        assert!(
            forged
                .iter()
                .any(|of| of.starts_with("the master of a collector")),
            "{forged:?}"
        );
        assert!(
            forged
                .iter()
                .any(|of| of.starts_with("a negotiator on machine aaa")),
            "{forged:?}"
        );
    }
    let plan = lab.tick();
    assert_eq!(plan.brakes, [], "{plan:#?}");
    assert!(told(&plan, &["a negotiator on machine aaa"]), "{plan:#?}");
}
