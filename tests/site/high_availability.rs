//! Two central managers with HTCondor's HAD, each with an ehos: the one beside the negotiator acts, and the other takes over
//! when the first one's HTCondor crashes.
//!
//! Servers are those of the testbed's fake hypervisor; the startd of each is started here, as in `crash`.
//! Needs `EHOS_TEST_CLOUDS_YAML` and `EHOS_TEST_CONDOR_DIR`, whose pool is down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machines::{Nova, Server, run, step, wait};

/// Both hosts, by the folders of their tools.
const HOSTS: [&str; 2] = ["cm1", "cm2"];

/// Three missed updates of 5 s, `tick_timeout` and `request_timeout` below, which is as long as `intent_grace`.
const TAKEOVER: u64 = 15 + 20 + 5;

struct Pair {
    dir: PathBuf,
    scripts: PathBuf,
    folder: tempfile::TempDir,
    nova: Nova,
    cluster: String,
    startds: BTreeMap<String, String>,
    /// Every server that there was.
    seen: BTreeSet<String>,
}

/// What a tick said.
struct Said {
    exit: i32,
    report: Value,
    text: String,
}

impl Said {
    /// Why it changed nothing; empty if it acted.
    fn standby(&self) -> &str {
        self.report["standby"]["standby"]
            .as_str()
            .unwrap_or_default()
    }

    fn actions(&self) -> usize {
        self.report["actions"].as_array().unwrap().len()
    }
}

impl Pair {
    fn up() -> Option<Pair> {
        let variable = |name| {
            let value = std::env::var_os(name).map(PathBuf::from);
            if value.is_none() {
                println!("skipped: {name} is not set");
            }
            value
        };
        let clouds = variable("EHOS_TEST_CLOUDS_YAML")?;
        let dir = variable("EHOS_TEST_CONDOR_DIR")?;
        assert!(
            fs::read_dir(dir.join("pids")).map_or(0, Iterator::count) == 0,
            "the pool in {} is up already",
            dir.display()
        );
        let pair = Pair {
            dir,
            scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/condor"),
            folder: tempfile::tempdir().unwrap(),
            nova: Nova::new(clouds.parent()?.parent()?),
            cluster: "ha-test".to_owned(),
            startds: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        pair.clear();
        wait("old servers to go", 60, || pair.servers().is_empty());
        pair.script(&["ha", "up"]);
        for host in HOSTS {
            let folder = pair.folder.path().join(host);
            fs::create_dir_all(folder.join("state")).unwrap();
            pair.write(&folder.join("ehos.yaml"), &pair.ehos_yaml(host));
            // One key for both: what one has signed is the other's, too.
            pair.write(&folder.join("proof.key"), &format!("{}\n", "5c".repeat(32)));
        }
        Some(pair)
    }

    fn write(&self, path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn script(&self, args: &[&str]) {
        let mut command = Command::new(self.scripts.join(args[0]));
        command.args(&args[1..]).env("TESTBED_DIR", &self.dir);
        // Daemons that it leaves behind would keep a pipe open.
        let log = self.folder.path().join("script.log");
        let status = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).unwrap())
            .stderr(fs::File::options().append(true).open(&log).unwrap())
            .status()
            .unwrap();
        let said = fs::read_to_string(&log).unwrap();
        assert!(status.success(), "{args:?}: {said}");
    }

    fn ehos_yaml(&self, host: &str) -> String {
        let url = &self.nova.auth["auth_url"];
        format!(
            "{pool}  userdata_file: {project_dir}/configs/execute.yaml
condor:
  bin: {bin}
  high_availability: true
  schedds: ['ap@']
  host_ip: 10.78.0.1,10.78.0.2
  trust_domain: testbed
metrics:
  prometheus_textfile: {metrics}
daemon:
  nodes_max: 4
  idle_timeout: 3 s
  boot_timeout: 2 min
  lost_timeout: 1 min
  intent_grace: 5 s
  collector_grace: 5 s
  negotiation_cycle: 6 s
  update_interval: 5 s
  command_timeout: 10 s
  tick_timeout: 20 s
  request_timeout: 5 s
",
            pool = self
                .nova
                .pool_yaml(url, &self.cluster, "GOLD CentOS 7", "dualStack"),
            project_dir = env!("CARGO_MANIFEST_DIR"),
            bin = self.dir.join(format!("bin-{host}")).display(),
            metrics = self.folder.path().join(host).join("ehos.prom").display(),
        )
    }

    fn ehos(&self, host: &str, args: &[&str]) -> (i32, String, String) {
        let folder = self.folder.path().join(host);
        let output = Command::new(testkit::program!())
            .args(args)
            .arg("--config")
            .arg(folder.join("ehos.yaml"))
            .arg("--state-dir")
            .arg(folder.join("state"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap();
        (code, text(&output.stdout), text(&output.stderr))
    }

    fn tick(&mut self, host: &str) -> Said {
        let (exit, report, text) = self.ehos(host, &["tick", "-o", "json"]);
        let report = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}{text}"));
        let said = Said { exit, report, text };
        if !said.standby().is_empty() {
            assert_eq!(said.actions(), 0, "{:#}", said.report);
        }
        self.hypervise();
        said
    }

    fn servers(&self) -> Vec<Server> {
        let mut servers = self.nova.servers();
        servers.retain(|server| server.metadata.get("ehos_cluster") == Some(&self.cluster));
        servers
    }

    fn clear(&self) {
        for server in self.servers() {
            self.nova.delete(&server.id);
        }
    }

    /// Servers that are there run a startd, those that are gone run nothing.
    fn hypervise(&mut self) {
        let servers = self.servers();
        self.seen
            .extend(servers.iter().map(|server| server.id.clone()));
        for server in servers.iter().filter(|server| server.status == "ACTIVE") {
            if self.startds.contains_key(&server.id) {
                continue;
            }
            let node = &server.metadata["ehos_node"];
            let name = format!("n{node}");
            let mut start = Command::new(self.scripts.join("node-start"))
                .args([&name, "2", "3500", "-"])
                .env("TESTBED_DIR", &self.dir)
                .env("NO_WAIT", "1")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let config = format!(
                "CloudInstanceID = \"{}\"\nEhosNode = \"{node}\"\nEhosUpdateInterval = 5\n\
                 STARTD_ATTRS = $(STARTD_ATTRS) CloudInstanceID EhosNode EhosUpdateInterval\n",
                server.id
            );
            let mut stdin = start.stdin.take().unwrap();
            stdin.write_all(config.as_bytes()).unwrap();
            drop(stdin);
            assert!(start.wait().unwrap().success(), "node-start {name}");
            self.startds.insert(server.id.clone(), name);
        }
        let there = |id: &String| servers.iter().any(|server| server.id == *id);
        let gone: Vec<String> = self
            .startds
            .keys()
            .filter(|id| !there(id))
            .cloned()
            .collect();
        for id in gone {
            let name = self.startds.remove(&id).unwrap();
            self.script(&["node-stop", &name, "--crash"]);
        }
    }

    fn condor(
        &self,
        host: &str,
        tool: &str,
        args: &[&str],
        stdin: &str,
        user: Option<&str>,
    ) -> String {
        let mut command = Command::new(self.dir.join(format!("bin-{host}")).join(tool));
        command.args(args);
        if let Some(user) = user {
            command.env("TESTBED_USER", user);
        }
        run(&mut command, stdin.as_bytes()).ok()
    }

    /// Jobs that each take a node; the cluster.
    fn submit(&self, jobs: usize) -> String {
        let job = format!(
            "executable = /bin/sleep\ntransfer_executable = false\narguments = 900\nrequest_cpus = 2\nrequest_memory = \
             1000\nqueue {jobs}\n"
        );
        let said = self.condor("ap", "condor_submit", &["-terse"], &job, Some("alice"));
        said.split('.').next().unwrap().trim().to_owned()
    }

    fn running(&self) -> usize {
        let args = [
            "-allusers",
            "-constraint",
            "JobStatus == 2",
            "-af",
            "ClusterId",
        ];
        self.condor("ap", "condor_q", &args, "", None)
            .lines()
            .count()
    }

    /// Ticks on this host until it says so; a tool may be slow once.
    fn says(&mut self, host: &str, standby: &str) -> Said {
        for _ in 0..20 {
            let said = self.tick(host);
            if said.standby() == standby {
                return said;
            }
            println!("{host}: {}", said.report["standby"]["text"]);
            thread::sleep(Duration::from_secs(1));
        }
        panic!("{host} never says {standby:?}");
    }

    /// Ticks on both hosts in turn until `done`, which gets the host and what it said.
    fn until(
        &mut self,
        what: &str,
        seconds: u64,
        mut done: impl FnMut(&Pair, &str, &Said) -> bool,
    ) {
        step(what);
        let began = Instant::now();
        let mut last = [String::new(), String::new()];
        loop {
            for (host, last) in HOSTS.iter().zip(&mut last) {
                let said = self.tick(host);
                let line = format!(
                    "{host}: exit {} {}",
                    said.exit, said.report["standby"]["text"]
                );
                if line != *last {
                    println!("{line}");
                    last.clone_from(&line);
                }
                if done(self, host, &said) {
                    println!("{what}: after {:?}", began.elapsed());
                    return;
                }
                assert!(
                    began.elapsed() < Duration::from_secs(seconds),
                    "{what}: {host}: {:#}{}",
                    said.report,
                    said.text
                );
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.clear();
        let down = Command::new(self.scripts.join("ha"))
            .arg("down")
            .env("TESTBED_DIR", &self.dir)
            .status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("ha down failed");
        }
    }
}

#[test]
fn the_second_takes_over_from_a_central_manager_that_crashed() {
    let Some(mut pair) = Pair::up() else {
        return;
    };
    pair.until("cm1 is active", 180, |_, host, said| {
        host == "cm1" && said.standby().is_empty()
    });

    // The first makes a node; the second sees it, and says who is active.
    let first = pair.submit(1);
    pair.until("the job runs", 120, |pair, _, _| pair.running() == 1);
    let said = pair.says("cm2", "active_elsewhere");
    assert_eq!(said.exit, 0, "{:#}", said.report);
    assert_eq!(said.report["standby"]["central_manager"], "ehos-cm1");
    assert_eq!(said.report["nodes"].as_array().unwrap().len(), 1);
    let (code, status, errors) = pair.ehos("cm2", &["status"]);
    assert_eq!(code, 0, "{status}{errors}");
    let status = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        status.contains("standby the negotiator runs on ehos-cm1"),
        "{status}"
    );
    pair.says("cm1", "");
    let metrics =
        |host: &str| fs::read_to_string(pair.folder.path().join(host).join("ehos.prom")).unwrap();
    assert!(metrics("cm1").contains("\nehos_active 1\n"));
    assert!(metrics("cm2").contains("\nehos_active 0\n"));
    let (code, text, errors) = pair.ehos("cm2", &["tick"]);
    assert!([0, 75].contains(&code), "{text}{errors}");
    println!("{text}");

    // More jobs come, and the first central manager crashes; ehos beside it goes on for as long as it may.
    step("cm1 crashes");
    let crashed = Instant::now();
    pair.submit(1);
    pair.script(&["ha", "stop", "cm1", "--crash"]);
    let mut last_of_first = Duration::ZERO;
    pair.until("cm2 acts", 240, |_, host, said| {
        let acts = said.standby().is_empty();
        if acts && host == "cm1" {
            last_of_first = crashed.elapsed();
        }
        acts && host == "cm2"
    });
    let took = crashed.elapsed();
    println!("cm1 acted until {last_of_first:?}, cm2 acts after {took:?}");
    assert!(took >= Duration::from_secs(TAKEOVER), "{took:?}");
    pair.until("both jobs run", 120, |pair, _, _| pair.running() == 2);
    assert_eq!(
        pair.seen.len(),
        2,
        "one server for each job: {:?}",
        pair.seen
    );
    pair.says("cm1", "active_elsewhere");

    // The second drains and deletes what the first has made; the job of the other node goes on.
    pair.condor("ap", "condor_rm", &[&first], "", None);
    pair.until("the first node is deleted", 180, |pair, _, _| {
        pair.servers().len() == 1
    });
    assert_eq!(pair.running(), 1);

    // The primary comes back, HAD hands over to it, and its ehos follows.
    step("cm1 comes back");
    pair.script(&["ha", "start", "cm1"]);
    pair.until("cm1 is active again", 300, |_, host, said| {
        host == "cm1" && said.standby().is_empty()
    });
    let said = pair.says("cm1", "");
    assert_eq!(
        said.report["nodes"].as_array().unwrap().len(),
        1,
        "{:#}",
        said.report
    );
    pair.says("cm2", "active_elsewhere");
    assert_eq!((pair.seen.len(), pair.running()), (2, 1));
}
