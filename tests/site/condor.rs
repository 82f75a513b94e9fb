//! The HTCondor adapter against a real pool.
//!
//! `EHOS_TEST_CONDOR_DIR` names a built testbed whose pool is down; it is started, used and stopped.
//! `EHOS_TEST_CONDOR_SCRIPTS` names the folder of its scripts when that is not `tests/testbed/condor`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use condor::CondorSettings;
use condor::{CondorPool, Tools, token};
use scaling::action::{Done, FailureKind, PoolAction, StartdIdentity};
use scaling::observation::{Demand, NodeId, Observed, PoolView, ScheddView, StartdView};
use secrecy::ExposeSecret;
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

/// A running testbed; dropped, it is stopped.
pub struct Testbed {
    dir: PathBuf,
    scripts: PathBuf,
    wrappers: tempfile::TempDir,
}

impl Testbed {
    /// It, unless none is named.
    pub fn start() -> Option<Testbed> {
        let Some(dir) = std::env::var_os("EHOS_TEST_CONDOR_DIR") else {
            println!("skipped: EHOS_TEST_CONDOR_DIR names no HTCondor testbed");
            return None;
        };
        let scripts = std::env::var_os("EHOS_TEST_CONDOR_SCRIPTS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/condor"),
            PathBuf::from,
        );
        let testbed = Testbed {
            dir: PathBuf::from(dir),
            scripts,
            wrappers: tempfile::tempdir().unwrap(),
        };
        assert!(
            fs::read_dir(testbed.dir.join("pids")).map_or(0, Iterator::count) == 0,
            "the pool in {} is up already",
            testbed.dir.display()
        );
        fs::write(testbed.second_schedd(), SECOND_SCHEDD).unwrap();
        testbed.script("up", &[], "");
        Some(testbed)
    }

    /// Where the daemons' files are.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn second_schedd(&self) -> PathBuf {
        self.dir
            .join("root/etc/condor/config.d/70-second-schedd.config")
    }

    /// Runs a script of the testbed.
    pub fn script(&self, name: &str, args: &[&str], stdin: &str) {
        let (status, _, stderr) = self.run(&self.scripts.join(name), args, stdin, None);
        assert_eq!(status, Some(0), "{name} {args:?}: {stderr}");
    }

    /// What a tool answers with success.
    pub fn tool(&self, name: &str, args: &[&str]) -> String {
        let (status, stdout, stderr) = self.run(&self.bin().join(name), args, "", None);
        assert_eq!(status, Some(0), "{name} {args:?}: {stderr}");
        stdout
    }

    /// Submits as an ordinary user; the cluster id.
    pub fn submit(&self, schedd: Option<&str>, description: &str) -> String {
        self.submit_as("alice", schedd, description)
    }

    /// Submits as this user of the testbed; the cluster id.
    pub fn submit_as(&self, user: &str, schedd: Option<&str>, description: &str) -> String {
        let args = match schedd {
            Some(name) => vec!["-terse", "-name", name],
            None => vec!["-terse"],
        };
        let job = format!(
            "executable = /bin/sleep\ntransfer_executable = false\narguments = 900\n{description}\n"
        );
        let (status, stdout, stderr) =
            self.run(&self.bin().join("condor_submit"), &args, &job, Some(user));
        let begin: String = job.chars().take(500).collect();
        assert_eq!(status, Some(0), "{begin}: {stdout}{stderr}");
        stdout.split('.').next().unwrap().trim().to_owned()
    }

    /// What a tool answers with success that has the rights of one token alone.
    pub fn tool_with(&self, token: &str, name: &str, args: &[&str]) -> String {
        let (status, stdout, stderr) = self.run(&self.bin_of(token).join(name), args, "", None);
        assert_eq!(status, Some(0), "{name} {args:?}: {stderr}");
        stdout
    }

    /// Exit code, standard output and error of a program.
    pub fn run(
        &self,
        program: &Path,
        args: &[&str],
        stdin: &str,
        user: Option<&str>,
    ) -> (Option<i32>, String, String) {
        // Into files: the daemons that a script leaves behind would keep a pipe open.
        let out = self.wrappers.path().join("stdout");
        let err = self.wrappers.path().join("stderr");
        let mut command = Command::new(program);
        command
            .args(args)
            .env("TESTBED_DIR", &self.dir)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&err).unwrap());
        if let Some(user) = user {
            command.env("TESTBED_USER", user);
        }
        let mut child = command.spawn().unwrap();
        // A script that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let status = child.wait().unwrap().code();
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        (status, text(out), text(err))
    }

    /// A script of the testbed, to be given arguments and run.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.scripts.join(script));
        command.env("TESTBED_DIR", &self.dir);
        command
    }

    /// The folder of the tools.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// The tools with the rights of one token alone.
    pub fn bin_of(&self, token: &str) -> PathBuf {
        let bin = self.wrappers.path().join(token);
        fs::create_dir_all(&bin).unwrap();
        for tool in [
            "condor_drain",
            "condor_advertise",
            "condor_status",
            "condor_ping",
            "condor_off",
            "condor_reschedule",
            "condor_submit",
        ] {
            let script = format!(
                "#!/bin/sh\nTESTBED_TOKEN={token} exec '{}' \"$@\"\n",
                self.bin().join(tool).display()
            );
            fs::write(bin.join(tool), script).unwrap();
            fs::set_permissions(bin.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    /// The daemons of the central manager with this name.
    fn daemons(&self, name: &str) -> Vec<Daemon> {
        self.daemons_of("cm", name)
    }

    /// Those of a node.
    fn daemons_of(&self, node: &str, name: &str) -> Vec<Daemon> {
        let master = fs::read_to_string(self.dir.join("pids").join(node)).unwrap();
        let master = master.split(' ').next().unwrap();
        // The kernel keeps 15 characters of it.
        let name = name.get(..15).unwrap_or(name);
        let daemons: Vec<Daemon> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| {
                let pid = entry.unwrap().file_name().into_string().unwrap();
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                let (head, tail) = stat.rsplit_once(") ")?;
                let command = head.split_once('(')?.1;
                let parent = tail.split(' ').nth(1)?;
                (parent == master && command == name).then(|| Daemon(pid))
            })
            .collect();
        assert!(!daemons.is_empty(), "{node} has no {name}");
        daemons
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.second_schedd());
        let (status, _, stderr) = self.run(&self.scripts.join("down"), &[], "", None);
        if status != Some(0) {
            eprintln!("down: {stderr}");
        }
    }
}

/// A second schedd on the central manager, which is reached by its name alone.
const SECOND_SCHEDD: &str = "\
SECOND = $(SCHEDD)
SECOND_ARGS = -local-name SECOND
SECOND.SCHEDD_NAME = second@
SECOND.SPOOL = $(LOCAL_DIR)/spool/condor/second
SECOND.SCHEDD_LOG = $(LOG)/SecondLog
SECOND.SCHEDD_ADDRESS_FILE = $(LOG)/second_address
SECOND.SCHEDD_DAEMON_AD_FILE = $(LOG)/second_ad
DAEMON_LIST = $(DAEMON_LIST), SECOND
DC_DAEMON_LIST = +SECOND
";

/// A process that, once frozen, hangs until this is dropped.
struct Daemon(String);

impl Daemon {
    fn freeze(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0]).status();
        assert!(status.unwrap().success(), "kill {signal} {}", self.0);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

fn settings(bin: PathBuf) -> CondorSettings {
    CondorSettings {
        bin: Some(bin),
        ..CondorSettings::default()
    }
}

fn pool_with(settings: &CondorSettings, negotiation_cycle: u64) -> CondorPool {
    CondorPool::new(
        settings,
        Duration::from_secs(negotiation_cycle),
        Duration::from_secs(5),
        // Each tool looks up this host's own name; where nobody answers that, it takes 5 s.
        LIMIT,
    )
}

/// For one call of a tool.
const LIMIT: Duration = Duration::from_secs(12);

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(30))
}

fn see(pool: &CondorPool) -> PoolView {
    let start = Instant::now();
    let view = pool.observe(&TrackedMachines::default(), soon());
    if start.elapsed() > Duration::from_secs(1) || !view.collector.is_known() {
        println!("looked for {:?}: {view:?}", start.elapsed());
    }
    view
}

fn schedd<'a>(view: &'a PoolView, name: &str) -> &'a ScheddView {
    match &view.schedds[name] {
        Observed::Known(view) => view,
        Observed::Unknown(why) => panic!("{name}: {why}"),
    }
}

fn startd<'a>(view: &'a PoolView, machine: &str) -> Option<&'a StartdView> {
    match &view.collector {
        Observed::Known(view) => view.startds.iter().find(|startd| startd.machine == machine),
        Observed::Unknown(why) => panic!("collector: {why}"),
    }
}

/// Looks until `found` finds what it is after.
fn wait_for<T>(what: &str, pool: &CondorPool, mut found: impl FnMut(&PoolView) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let view = see(pool);
        if let Some(value) = found(&view) {
            println!("{what}: after {:?}", start.elapsed());
            return value;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what}: not within a minute: {view:#?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn identity(server_id: Option<&str>, node: &str, machine: Option<&str>) -> StartdIdentity {
    StartdIdentity {
        server_id: server_id.map(str::to_owned),
        node: NodeId(node.into()),
        shares_node: false,
        machine: machine.map(str::to_owned),
        own_ads: None,
        address: None,
        former: Vec::new(),
        own_identity: false,
        addresses: Vec::new(),
        update_interval: Duration::from_secs(5),
    }
}

/// When the claims of n1 changed, and when its last drain ended.
const STAMPS: [&str; 5] = [
    "-constraint",
    "Machine == \"n1\" && SlotType == \"Partitionable\"",
    "-af:t",
    "NumDynamicSlotsTime",
    "LastDrainStopTime",
];

fn look(pool: &CondorPool, identity: &StartdIdentity) -> Vec<StartdView> {
    let start = Instant::now();
    let found = pool.look(identity, soon()).unwrap();
    println!("a look: {:?}", start.elapsed());
    found
}

fn drain(slot: &str) -> PoolAction {
    PoolAction::Drain {
        node: NodeId("test".into()),
        startd: identity(None, "test", None),
        slot: slot.to_owned(),
        reason: "ehos test: \"idle\"\tfor\nlong".to_owned(),
    }
}

fn cancel(slot: &str, request_id: &str) -> PoolAction {
    PoolAction::CancelDrain {
        node: NodeId("test".into()),
        slot: slot.to_owned(),
        request_id: request_id.to_owned(),
    }
}

fn invalidate(machine: &str) -> PoolAction {
    PoolAction::Invalidate {
        node: NodeId("test".into()),
        machine: machine.to_owned(),
    }
}

fn refused(pool: &CondorPool, action: &PoolAction) -> FailureKind {
    let failure = pool.perform(action, soon()).unwrap_err();
    println!("{action:?}: {failure:?}");
    failure.kind
}

#[test]
fn a_real_pool() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let settings = settings(testbed.bin());
    let patient = pool_with(&settings, 80);
    let hasty = pool_with(&settings, 1);

    an_empty_pool_is_known_to_be_empty(&patient);
    without_slots_waiting_is_enough(&testbed, &patient);
    a_busy_node_is_seen_and_keeps_its_jobs(&testbed, &patient, &hasty);
    an_idle_node_drains_and_comes_back(&testbed, &patient);
    rights_are_told_from_faults(&testbed);
    static_slots_count_once(&testbed, &patient);
    every_schedd_is_asked_by_itself(&testbed);
    a_token_lets_a_node_join(&testbed, &patient);
    a_nodes_own_token_can_join_and_nothing_else(&testbed, &patient);
    a_crashed_node_is_silent_and_forgotten(&testbed, &patient);
    what_does_not_answer_is_unknown(&testbed, &patient);
}

/// With the rights of ehos alone, which no node can check.
#[test]
fn a_startd_says_how_it_is_when_it_is_asked_itself() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let config = |node: &str, more: &str| {
        format!(
            "EhosNode = \"{node}\"\nCloudInstanceID = \"uuid-{node}\"\n\
             STARTD_ATTRS = $(STARTD_ATTRS), EhosNode, CloudInstanceID\n{more}"
        )
    };
    testbed.script("node-start", &["n1", "2", "2048", "-"], &config("n1", ""));
    let strict = "SEC_READ_AUTHENTICATION = REQUIRED\nSEC_READ_ENCRYPTION = REQUIRED\nSEC_READ_INTEGRITY = REQUIRED\n";
    testbed.script(
        "node-start",
        &["n2", "2", "2048", "-"],
        &config("n2", strict),
    );
    let pool = pool_with(&settings(testbed.bin_of("ehos")), 80);
    let address = |node: &str| {
        let view = wait_for("its ad", &pool, |view| startd(view, node).cloned());
        assert_eq!(view.instance_id, Some(format!("uuid-{node}")));
        view.address.unwrap()
    };
    let (one, two) = (address("n1"), address("n2"));
    let ask = |address: &str, seconds: u64| {
        let start = Instant::now();
        let said = pool.ask(address, Deadline::within(Duration::from_secs(seconds)));
        println!("asked for {:?}: {said:?}", start.elapsed());
        said
    };
    let said = |address: &str| {
        let mut said = ask(address, 10).unwrap();
        assert_eq!(said.len(), 1);
        said.remove(0)
    };
    let idle = said(&one);
    assert_eq!((idle.machine.as_str(), idle.claims()), ("n1", 0));
    assert_eq!(idle.instance_id.as_deref(), Some("uuid-n1"));
    assert_eq!(idle.draining, None);

    // At once, also what the collector has not heard of yet.
    assert_eq!(pool.perform(&drain("slot1@n1"), soon()), Ok(Done::Accepted));
    let drained = said(&one).draining.unwrap();
    assert!(drained.complete && drained.reason.starts_with("ehos test: "));

    // It refuses to say, and its drain can be renewed.
    assert!(ask(&two, 10).is_err());
    assert_eq!(pool.perform(&drain("slot1@n2"), soon()), Ok(Done::Accepted));
    assert_eq!(
        pool.perform(&cancel("slot1@n2", "1"), soon()),
        Ok(Done::Accepted)
    );
    assert_eq!(pool.perform(&drain("slot1@n2"), soon()), Ok(Done::Accepted));
    assert_eq!(
        refused(&pool, &cancel("slot1@n2", "1")),
        FailureKind::NotIdle
    );

    // It hangs: no longer than it is given.
    let start = Instant::now();
    let frozen = testbed.daemons_of("n1", "condor_startd");
    frozen.iter().for_each(Daemon::freeze);
    assert!(ask(&one, 2).is_err());
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    drop(frozen);
    assert!(said(&one).draining.is_some());

    // It starts anew at the same address, and knows of no drain.
    for startd in testbed.daemons_of("n1", "condor_startd") {
        startd.signal("-KILL");
        std::mem::forget(startd);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let anew = loop {
        match ask(&one, 10) {
            Ok(mut said) if !said.is_empty() => break said.remove(0),
            _ => assert!(Instant::now() < deadline, "it does not start anew"),
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(anew.draining, None);

    // Its machine is gone: at once.
    testbed.script("node-stop", &["n1", "--crash"], "");
    let start = Instant::now();
    assert!(ask(&one, 10).is_err());
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

fn an_empty_pool_is_known_to_be_empty(pool: &CondorPool) {
    // In its first second a collector does not even have an ad of itself.
    let collector = wait_for("the collector", pool, |view| {
        let empty = ScheddView {
            newest_cluster: Some(0),
            ..ScheddView::default()
        };
        assert_eq!(schedd(view, "local"), &empty);
        view.collector.known().cloned()
    });
    assert!(collector.startds.is_empty());
    assert!(collector.up_for < Duration::from_secs(60), "{collector:?}");
}

fn without_slots_waiting_is_enough(testbed: &Testbed, pool: &CondorPool) {
    testbed.submit(None, "request_cpus = 1\nrequest_memory = 512\nqueue 3");
    testbed.submit(None, "request_cpus = 1\nrequest_memory = 512\nqueue 2");
    testbed.submit(
        None,
        "request_memory = ifThenElse(MemoryUsage isnt undefined, MemoryUsage, 700.5)\nrequest_gpus = 1\nqueue 2",
    );
    testbed.submit(None, "+RequestMemory = \"1\\t2\"\nqueue 4");
    testbed.submit(None, "hold = true\nqueue 1");
    testbed.submit(None, "universe = local\nhold = true\nqueue 1");
    testbed.submit(None, "+Managed = \"External\"\nqueue 1");
    let view = see(pool);
    let schedd = schedd(&view, "local");
    assert_eq!(schedd.jobs.idle, 11);
    assert_eq!(schedd.jobs.held, 1);
    let well = |demand: &&Demand| demand.fault.is_none();
    let faults = schedd.demand.iter().filter(|demand| !well(demand));
    assert_eq!(faults.map(|demand| demand.jobs).collect::<Vec<_>>(), [4]);
    let demand: Vec<_> = schedd
        .demand
        .iter()
        .filter(well)
        .map(|demand| {
            assert!(demand.waiting < Duration::from_secs(30), "{demand:?}");
            let request = demand.request;
            (demand.jobs, request.cpus, request.memory_mb, request.gpus)
        })
        .collect();
    assert_eq!(demand, [(5, 1, 512, 0), (2, 1, 701, 1)]);

    // A site's own constraint: what it refers to has to be part of the groups.
    let only = |constraint: &str| {
        let mut settings = settings(testbed.bin());
        settings.job_constraint = Some(constraint.to_owned());
        let view = see(&pool_with(&settings, 80));
        match &view.schedds["local"] {
            Observed::Known(view) => {
                let demand = view.demand.iter().filter(well);
                Ok(demand.map(|demand| demand.jobs).sum::<u64>())
            }
            Observed::Unknown(why) => Err(why.clone()),
        }
    };
    assert_eq!(only("Owner == \"alice\" && regexp(\"sleep\", Cmd)"), Ok(7));
    assert_eq!(only("Owner =!= \"alice\""), Ok(0));
    assert_eq!(only("ProcId == 0"), Ok(3));
    let why = only("Owner == (").unwrap_err();
    assert!(why.contains("Parse error"), "{why}");
}

fn a_busy_node_is_seen_and_keeps_its_jobs(
    testbed: &Testbed,
    patient: &CondorPool,
    hasty: &CondorPool,
) {
    testbed.script(
        "node-start",
        &["n1", "2", "2048", "-"],
        "CloudInstanceID = \"0f3c6c1e-0000-4000-8000-000000000001\"\n\
         EhosNode = \"20261122t1\"\n\
         EhosUpdateInterval = 5\n\
         STARTD_ATTRS = $(STARTD_ATTRS) CloudInstanceID EhosNode EhosUpdateInterval\n",
    );
    let node = wait_for("two jobs on n1", patient, |view| {
        startd(view, "n1")
            .filter(|startd| startd.claims() == 2)
            .cloned()
    });
    assert_eq!(
        node.instance_id.as_deref(),
        Some("0f3c6c1e-0000-4000-8000-000000000001")
    );
    assert_eq!(node.node, Some(NodeId("20261122t1".into())));
    assert_eq!(node.update_interval, Some(Duration::from_secs(5)));
    assert_eq!(node.slots.len(), 1);
    assert_eq!(node.slots[0].name, "slot1@n1");
    assert_eq!((node.total().cpus, node.total().memory_mb), (2, 2048));
    assert_eq!((node.free().cpus, node.free().memory_mb), (0, 1024));
    assert!(node.slots[0].accepts_jobs);
    assert_eq!(node.idle_for(), None);
    assert!(node.heard_ago <= Duration::from_secs(15), "{node:?}");
    assert!(node.up_for < Duration::from_secs(60), "{node:?}");
    assert_eq!(node.draining, None);

    let view = see(patient);
    let demand = schedd(&view, "local").demand.iter();
    let jobs: u64 = demand.map(|demand| demand.jobs).sum();
    assert_eq!(jobs, 9, "all count at once");
    assert_eq!(schedd(&view, "local").jobs.idle, 9);
    let waiting = wait_for("waited for a second", hasty, |view| {
        let demand = schedd(view, "local").demand.iter();
        let well: Vec<Demand> = demand
            .filter(|demand| demand.fault.is_none())
            .cloned()
            .collect();
        (well.len() == 2).then_some(well)
    });
    assert_eq!(waiting[0].jobs, 3);
    assert!(waiting[0].waiting >= Duration::from_secs(1));

    // A last look, whatever it is found by.
    let uuid = "0f3c6c1e-0000-4000-8000-000000000001";
    for found_by in [
        identity(Some(uuid), "unknown", None),
        identity(None, "20261122t1", None),
        identity(Some("another"), "unknown", Some("n1")),
    ] {
        let looked_at = look(patient, &found_by);
        assert_eq!(looked_at.len(), 1, "{found_by:?}");
        assert_eq!(
            (looked_at[0].claims(), looked_at[0].machine.as_str()),
            (2, "n1")
        );
        assert!(
            looked_at[0].heard_ago <= Duration::from_secs(15),
            "{looked_at:?}"
        );
    }
    assert_eq!(
        look(patient, &identity(None, "unknown", Some("nosuch"))),
        []
    );
    assert_eq!(refused(patient, &drain("slot1@n1")), FailureKind::NotIdle);
    let view = see(patient);
    assert_eq!(startd(&view, "n1").unwrap().draining, None);
    assert_eq!(startd(&view, "n1").unwrap().claims(), 2);
    assert_eq!(schedd(&view, "local").jobs.running, 2);
}

fn an_idle_node_drains_and_comes_back(testbed: &Testbed, pool: &CondorPool) {
    let stamps = || testbed.tool("condor_status", &STAMPS);
    let claims_changed = || {
        stamps()
            .split_once('\t')
            .map(|(claims, _)| claims.to_owned())
    };
    let busy = claims_changed();
    testbed.tool("condor_rm", &["-all"]);
    // The first ad after the last claim has the old NumDynamicSlotsTime yet.
    wait_for("NumDynamicSlotsTime of n1", pool, |_| {
        (claims_changed() != busy).then_some(())
    });
    let idle = wait_for("n1 idle", pool, |view| {
        startd(view, "n1").and_then(StartdView::idle_for)
    });
    assert!(idle < Duration::from_secs(30), "{idle:?}");
    assert_eq!(pool.perform(&drain("slot1@n1"), soon()), Ok(Done::Accepted));
    let drain_seen = wait_for("n1 drained", pool, |view| {
        startd(view, "n1")
            .and_then(|startd| startd.draining.clone())
            .filter(|drain| drain.complete)
    });
    assert_eq!(drain_seen.reason, "ehos test: \"idle\" for long");
    let looked_at = look(pool, &identity(None, "unknown", Some("n1")));
    assert_eq!(looked_at[0].draining.as_ref(), Some(&drain_seen));
    let drained = stamps();
    assert_eq!(refused(pool, &drain("slot1@n1")), FailureKind::NotIdle);
    assert_eq!(
        refused(pool, &cancel("slot1@n1", "77")),
        FailureKind::NotIdle
    );
    assert_eq!(
        refused(pool, &cancel("slot1@n1", "")),
        FailureKind::Rejected
    );
    assert_eq!(
        pool.perform(&cancel("slot1@n1", &drain_seen.request_id), soon()),
        Ok(Done::Accepted)
    );
    let back = wait_for("n1 back", pool, |view| {
        startd(view, "n1")
            .filter(|startd| startd.draining.is_none())
            .cloned()
    });
    // Idleness starts anew, or it would be drained again at once: NumDynamicSlotsTime has not moved, LastDrainStopTime has.
    assert!(
        back.idle_for().unwrap() < Duration::from_secs(15),
        "{back:?}"
    );
    let (before, after) = (drained.trim(), stamps());
    let pair = |text: &str| {
        text.trim()
            .split_once('\t')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let ((claims_then, stop_then), (claims_now, stop_now)) =
        (pair(before).unwrap(), pair(&after).unwrap());
    assert_eq!(claims_now, claims_then);
    assert_ne!(stop_now, stop_then, "{before} {after}");

    // Somebody else's drain, complete: the reason says so, and their id is not ours to cancel.
    testbed.tool(
        "condor_drain",
        &["-graceful", "-reason", "a new disk", "slot1@n1"],
    );
    let theirs = wait_for("n1 drained by somebody else", pool, |view| {
        let drain = startd(view, "n1")?.draining.clone();
        drain.filter(|drain| drain.complete)
    });
    assert_eq!(theirs.reason, "a new disk");
    assert_ne!(theirs.request_id, drain_seen.request_id);
    assert_eq!(
        refused(pool, &cancel("slot1@n1", &drain_seen.request_id)),
        FailureKind::NotIdle,
        "our cancel does not end it"
    );
    testbed.tool("condor_drain", &["-cancel", "slot1@n1"]);
    wait_for("n1 back again", pool, |view| {
        startd(view, "n1")
            .filter(|startd| startd.draining.is_none())
            .cloned()
    });
    assert_eq!(refused(pool, &drain("slot1@nosuch")), FailureKind::NotDone);
}

fn rights_are_told_from_faults(testbed: &Testbed) {
    let node = pool_with(&settings(testbed.bin_of("execute")), 80);
    assert_eq!(
        refused(&node, &drain("slot1@n1")),
        FailureKind::NotAuthorized
    );
    // The scaler's token may drain, and not advertise.
    let scaler = pool_with(&settings(testbed.bin_of("ehos")), 80);
    assert_eq!(
        refused(&scaler, &invalidate("nosuch")),
        FailureKind::NotAuthorized
    );
    let mut elsewhere = settings(testbed.bin());
    elsewhere.pool = Some("127.0.0.1:1".to_owned());
    let elsewhere = pool_with(&elsewhere, 80);
    assert_eq!(
        refused(&elsewhere, &invalidate("nosuch")),
        FailureKind::NotDone
    );
    assert_eq!(
        refused(&elsewhere, &drain("slot1@n1")),
        FailureKind::NotDone
    );
    let Observed::Unknown(why) = see(&elsewhere).collector else {
        panic!("there is no collector");
    };
    assert!(why.contains("127.0.0.1:1"), "{why}");
}

fn static_slots_count_once(testbed: &Testbed, pool: &CondorPool) {
    testbed.script(
        "node-start",
        &["static", "2", "2048", "-"],
        "NUM_SLOTS_TYPE_1 = 0\nSLOT_TYPE_2 = cpus=1\nNUM_SLOTS_TYPE_2 = 2\nSTART = TARGET.RequestMemory == 333\n",
    );
    let view = see(pool);
    let node = startd(&view, "static").unwrap();
    assert_eq!(node.slots.len(), 2);
    assert!(node.slots.iter().all(|slot| slot.accepts_jobs), "{node:?}");
    assert_eq!((node.claims(), node.free().cpus), (0, 2));
    assert!(node.idle_for().is_some());
    testbed.submit(
        None,
        "request_memory = 333\nrequirements = Machine == \"static\"\nqueue 1",
    );
    let node = wait_for("a static slot claimed", pool, |view| {
        startd(view, "static")
            .filter(|startd| startd.claims() == 1)
            .cloned()
    });
    assert_eq!(node.free().cpus, 1);
    assert_eq!(node.total().cpus, 2);
    assert_eq!(node.idle_for(), None);
    assert_eq!(refused(pool, &drain("slot2@static")), FailureKind::NotIdle);
    testbed.tool("condor_rm", &["-all"]);
    testbed.script("node-stop", &["static"], "");

    testbed.script(
        "node-start",
        &["refuses", "1", "512", "-"],
        "START = MY.TotalSlotCpus > 10000\n",
    );
    let view = see(pool);
    assert!(!startd(&view, "refuses").unwrap().slots[0].accepts_jobs);
    testbed.script("node-stop", &["refuses"], "");
}

fn every_schedd_is_asked_by_itself(testbed: &Testbed) {
    let cluster = testbed.submit(Some("second@"), "request_cpus = 7\nqueue 2");
    let mut both = settings(testbed.bin());
    both.schedds = vec!["second@".to_owned(), "nosuch@".to_owned()];
    let pool = pool_with(&both, 0);
    let view = see(&pool);
    assert_eq!(schedd(&view, "second@").jobs.idle, 2);
    assert_eq!(schedd(&view, "second@").demand[0].request.cpus, 7);
    let Observed::Unknown(why) = &view.schedds["nosuch@"] else {
        panic!("there is no such schedd");
    };
    assert!(why.contains("Collector has no record"), "{why}");
    testbed.tool("condor_rm", &["-name", "second@", &cluster]);
}

fn a_token_lets_a_node_join(testbed: &Testbed, pool: &CondorPool) {
    let tools = Tools::new(Some(testbed.bin()), LIMIT);
    let domain = token::trust_domain(&tools, soon()).unwrap();
    assert_eq!(domain, "testbed");
    let token = token::create(
        &tools,
        &format!("execute@{domain}"),
        &token::NODE_AUTHORIZATIONS,
        Duration::from_secs(600),
        token::Signing::default(),
        soon(),
    )
    .unwrap();
    let file = testbed.dir.join("root/srv/testbed/tokens/execute/token");
    let before = fs::read(&file).unwrap();
    fs::write(&file, format!("{}\n", token.expose_secret())).unwrap();
    testbed.script("node-start", &["joins", "1", "512"], "");
    fs::write(&file, before).unwrap();
    let view = see(pool);
    assert_eq!(startd(&view, "joins").unwrap().total().cpus, 1);
    testbed.script("node-stop", &["joins"], "");

    let error = token::create(
        &tools,
        "execute@testbed",
        &["NO SUCH RIGHT"],
        Duration::from_secs(600),
        token::Signing::default(),
        Deadline::within(Duration::ZERO),
    )
    .unwrap_err();
    assert!(error.to_string().contains("time"), "{error}");
}

/// The key EHOS: root's for the daemons, and a file of alice's own, who stands for the user ehos.
const MAKE_KEY: &str = "set -e; umask 077
head -c 48 /dev/urandom | base64 -w 0 >/etc/condor/passwords.d/EHOS
mkdir -p -m 755 /etc/ehos; rm -rf /etc/ehos/keys /etc/ehos/forged; mkdir /etc/ehos/keys /etc/ehos/forged
cp /etc/condor/passwords.d/EHOS /etc/ehos/keys/EHOS
head -c 48 /dev/urandom >/etc/ehos/keys/OTHER; cp /etc/ehos/keys/OTHER /etc/ehos/forged/EHOS
chown -R alice:alice /etc/ehos/keys /etc/ehos/forged";

fn a_nodes_own_token_can_join_and_nothing_else(testbed: &Testbed, pool: &CondorPool) {
    let root = testbed.dir.join("root");
    let in_root = |user: &str, script: &str| {
        let root = root.to_str().unwrap();
        let user = format!("--userspec={user}:{user}");
        testbed.run(
            Path::new("chroot"),
            &[&user, root, "sh", "-c", script],
            "",
            None,
        )
    };
    let (status, _, stderr) = in_root("root", MAKE_KEY);
    assert_eq!(status, Some(0), "{stderr}");

    // An ordinary user signs with a key that is its own file, root does not, and nobody with another's.
    let of_alice = testbed.wrappers.path().join("alice");
    fs::create_dir_all(&of_alice).unwrap();
    let script = format!(
        "#!/bin/sh\nTESTBED_USER=alice exec '{}' \"$@\"\n",
        testbed.bin().join("condor_token_create").display()
    );
    fs::write(of_alice.join("condor_token_create"), script).unwrap();
    fs::set_permissions(
        of_alice.join("condor_token_create"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let alice = Tools::new(Some(of_alice), LIMIT);
    let create = |tools: &Tools, identity: &str, key: &str, directory: &str, seconds: u64| {
        token::create(
            tools,
            identity,
            &token::NODE_AUTHORIZATIONS,
            Duration::from_secs(seconds),
            token::Signing {
                key: Some(key),
                directory: Some(Path::new(directory)),
            },
            soon(),
        )
    };
    let node = |key: &str, directory: &str, seconds| {
        create(&alice, "execute@testbed", key, directory, seconds).unwrap()
    };
    let keys = "/etc/ehos/keys";
    let first = node("EHOS", keys, 600);
    let claims = [&first, &node("EHOS", keys, 600)].map(|token| token::claims(token).unwrap());
    assert_ne!(claims[0].jti, claims[1].jti);
    assert_eq!(claims[0].sub.as_deref(), Some("execute@testbed"));
    let root_is = Tools::new(Some(testbed.bin()), LIMIT);
    for error in [
        create(&root_is, "execute@testbed", "EHOS", keys, 600).unwrap_err(),
        create(
            &alice,
            "execute@testbed",
            "EHOS",
            "/etc/condor/passwords.d",
            600,
        )
        .unwrap_err(),
        create(&alice, "execute@testbed", "NONE", keys, 600).unwrap_err(),
    ] {
        assert!(error.to_string().contains("securely"), "{error}");
    }
    for (mode, taken) in [("640", false), ("644", false), ("400", true), ("600", true)] {
        in_root("root", &format!("chmod {mode} /etc/ehos/keys/EHOS"));
        let token = create(&alice, "execute@testbed", "EHOS", keys, 600);
        assert_eq!(token.is_ok(), taken, "{mode}: {token:?}");
    }

    // It joins.
    let tokens = root.join("srv/testbed/tokens");
    let put = |name: &str, token: &secrecy::SecretString| {
        fs::create_dir_all(tokens.join(name)).unwrap();
        let file = tokens.join(name).join("token");
        fs::write(&file, format!("{}\n", token.expose_secret())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let before = fs::read_to_string(tokens.join("execute/token")).unwrap();
    put("execute", &first);
    testbed.script("node-start", &["own-token", "1", "512"], "");
    put("execute", &before.trim().into());
    assert!(startd(&see(pool), "own-token").is_some());

    // What it may.
    put("first", &first);
    put("other-key", &node("OTHER", keys, 600));
    put("forged", &node("EHOS", "/etc/ehos/forged", 600));
    put("ended", &node("EHOS", keys, 1));
    std::thread::sleep(Duration::from_secs(2));
    let may = |name: &str, level: &str| {
        let ping = testbed.bin_of(name).join("condor_ping");
        let args = ["-type", "COLLECTOR", level];
        testbed.run(&ping, &args, "", None).0 == Some(0)
    };
    for level in ["READ", "ADVERTISE_STARTD", "ADVERTISE_MASTER"] {
        assert!(may("first", level), "{level}");
        for name in ["other-key", "forged", "ended"] {
            assert!(!may(name, level), "{level} with {name}");
        }
    }
    for level in [
        "WRITE",
        "ADMINISTRATOR",
        "DAEMON",
        "NEGOTIATOR",
        "CONFIG",
        "ADVERTISE_SCHEDD",
    ] {
        assert!(!may("first", level), "{level}");
    }
    let tool = |name: &str, args: &[&str], stdin: &str| {
        testbed.run(&testbed.bin_of("first").join(name), args, stdin, None)
    };
    let (status, _, stderr) = tool("condor_drain", &["-graceful", "slot1@own-token"], "");
    assert_eq!(status, Some(1), "{stderr}");
    let off = [
        "-fast",
        "-startd",
        "-constraint",
        "Machine == \"own-token\"",
    ];
    println!("condor_off: {:?}", tool("condor_off", &off, ""));
    let (status, _, stderr) = tool("condor_submit", &[], "executable = /bin/true\nqueue\n");
    assert_ne!(status, Some(0), "condor_submit: {stderr}");
    let ad = "MyType = \"Scheduler\"\nTargetType = \"\"\nName = \"evil\"\nMachine = \"evil\"\nMyAddress = \"<127.0.0.1:1>\"\n";
    fs::write(root.join("srv/testbed/ad"), ad).unwrap();
    println!(
        "condor_advertise: {:?}",
        tool(
            "condor_advertise",
            &["-tcp", "UPDATE_SCHEDD_AD", "/srv/testbed/ad"],
            ""
        )
    );
    let there = testbed.tool("condor_status", &["-schedd", "-af", "Name"]);
    assert!(!there.contains("evil"), "{there}");
    std::thread::sleep(Duration::from_secs(2));
    let node_is = startd(&see(pool), "own-token").cloned().unwrap();
    assert!(node_is.draining.is_none(), "{node_is:?}");

    // No key makes its bearer the pool itself, and one token can be revoked.
    let daemon = create(&alice, "condor@testbed", "EHOS", keys, 600).unwrap();
    put("daemon", &daemon);
    assert!(may("daemon", "ADVERTISE_STARTD"), "so it would be");
    let revoked = root.join("etc/condor/config.d/80-revoked.config");
    let second = node("EHOS", keys, 600);
    put("second", &second);
    let id = claims[0].jti.as_deref().unwrap();
    fs::write(
        &revoked,
        format!(
            "SEC_TOKEN_REVOCATION_EXPR = regexp(\"^(condor|root)@\", sub)\n\
             SEC_TOKEN_REVOCATION_EXPR = $(SEC_TOKEN_REVOCATION_EXPR) || jti == \"{id}\"\n"
        ),
    )
    .unwrap();
    testbed.tool("condor_reconfig", &[]);
    std::thread::sleep(Duration::from_secs(1));
    let answers = ["daemon", "first", "second"].map(|name| may(name, "ADVERTISE_STARTD"));
    fs::remove_file(&revoked).unwrap();
    testbed.tool("condor_reconfig", &[]);
    assert_eq!(answers, [false, false, true]);
    testbed.script("node-stop", &["own-token"], "");
}

fn a_crashed_node_is_silent_and_forgotten(testbed: &Testbed, pool: &CondorPool) {
    testbed.submit(None, "request_memory = 512\nqueue 1");
    let server = wait_for("a job on n1", pool, |view| {
        let running = schedd(view, "local").jobs.running == 1;
        let startd = startd(view, "n1").filter(|startd| startd.claims() == 1 && running)?;
        Some(startd.instance_id.clone())
    });
    let server = server.unwrap_or_else(|| "server".to_owned());
    let watch: TrackedMachines = ["n1", "elsewhere"]
        .map(|machine| (machine.to_owned(), server.clone()))
        .into_iter()
        .collect();
    let view = pool.observe(&watch, soon());
    assert!(schedd(&view, "local").running_on.is_empty());
    testbed.script("node-stop", &["n1", "--crash"], "");
    let heard_ago = wait_for("n1 silent", pool, |view| {
        Some(startd(view, "n1")?.heard_ago).filter(|ago| *ago > Duration::from_secs(15))
    });
    assert!(heard_ago < Duration::from_secs(30), "{heard_ago:?}");
    let running_on = |view: &PoolView| {
        let running_on = schedd(view, "local").running_on.clone();
        running_on
            .into_iter()
            .map(|(machine, jobs)| (machine, jobs.jobs, jobs.lease))
            .collect::<Vec<_>>()
    };
    let lease = Some(Duration::from_secs(2400));
    let expected = vec![("n1".to_owned(), 1, lease)];
    assert_eq!(running_on(&pool.observe(&watch, soon())), expected);

    assert_eq!(pool.perform(&invalidate("n1"), soon()), Ok(Done::Accepted));
    let view = pool.observe(&watch, soon());
    assert_eq!(startd(&view, "n1"), None);
    assert_eq!(running_on(&view), expected);
    let left = testbed.tool(
        "condor_status",
        &["-any", "-constraint", "Machine == \"n1\"", "-af", "MyType"],
    );
    assert_eq!(left, "", "all of its ads are gone");
    assert_eq!(pool.perform(&invalidate("n1"), soon()), Ok(Done::Accepted));
}

fn what_does_not_answer_is_unknown(testbed: &Testbed, pool: &CondorPool) {
    let unknown = |view: &PoolView| match &view.schedds["local"] {
        Observed::Known(view) => panic!("{view:?}"),
        Observed::Unknown(why) => why.clone(),
    };
    {
        let frozen = testbed.daemons("condor_schedd");
        frozen.iter().for_each(Daemon::freeze);
        let view = see(pool);
        assert!(view.collector.is_known());
        let why = unknown(&view);
        assert!(why.contains("within 12 s"), "{why}");
    }
    wait_for("the schedd thawed", pool, |view| {
        view.schedds["local"].known().map(|_| ())
    });
    {
        let frozen = testbed.daemons("condor_collector");
        frozen.iter().for_each(Daemon::freeze);
        let view = see(pool);
        let Observed::Unknown(why) = &view.collector else {
            panic!("{view:?}");
        };
        assert!(why.contains("within 12 s"), "{why}");
        assert!(view.schedds["local"].is_known(), "{view:?}");
    }
    wait_for("the collector thawed", pool, |view| {
        view.collector.known().map(|_| ())
    });
    testbed.tool("condor_off", &["-fast", "-schedd"]);
    let why = wait_for(
        "the schedd off",
        pool,
        |view| match &view.schedds["local"] {
            Observed::Known(_) => None,
            Observed::Unknown(why) => Some(why.clone()),
        },
    );
    println!("{why}");
    testbed.tool("condor_on", &["-schedd"]);
    wait_for("the schedd on", pool, |view| {
        view.schedds["local"].known().map(|_| ())
    });
}
