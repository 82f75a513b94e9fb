//! A whole site whose nodes are cheap: a real HTCondor pool, a real OpenStack whose servers are records (its fake
//! hypervisor), and for each server that is ACTIVE a startd of that pool, as a process of its own.
//!
//! `EHOS_TEST_CONDOR_DIR` names a built pool that is down, `EHOS_TEST_MACHINES_DIR` a running testbed; root only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::processes::{Frozen, processes};
use super::proxy::Proxy;
use crate::machines::{Answer, run, step};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// The clouds of the rig's configuration, in their order, and their projects on the testbed. `small` has room for two
/// servers.
pub const CLOUDS: [(&str, &str); 2] = [("big", "ehos"), ("small", "ehos-small")];

/// The longest tick of the rig's configuration.
pub const TICK_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest request of the rig's configuration. A busy testbed takes some seconds for one.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// OpenStack's API for one user, apart from ehos's own client. Nothing in it waits for long or panics.
#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    url: String,
    pub token: String,
    pub project: String,
    pub user: String,
}

impl Api {
    /// Logs in with a password.
    pub fn login(url: &str, user: &str, password: &str, project: &str) -> Result<Api, String> {
        let domain = json!({"name": "Default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": user, "domain": domain, "password": password}}},
            "scope": {"project": {"name": project, "domain": domain}}}});
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let mut answer = agent
            .post(format!("{url}:5000/v3/auth/tokens"))
            .send_json(&body)
            .map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let token = answer.headers().get("X-Subject-Token");
        let token = token.and_then(|token| token.to_str().ok());
        let token = token.ok_or_else(|| format!("no token for {user}: {text}"))?;
        let body: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let id = |key: &str| body["token"][key]["id"].as_str().unwrap_or("").to_owned();
        Ok(Api {
            agent,
            url: url.to_owned(),
            token: token.to_owned(),
            project: id("project"),
            user: id("user"),
        })
    }

    /// Status and body of one request; `place` is port and path, as `:8774/v2.1/servers`.
    pub fn call(
        &self,
        method: &str,
        place: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{place}", self.url))
            .header("X-Auth-Token", &self.token);
        let text = match body {
            Some(body) => {
                request = request.header("Content-Type", "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        let request = request.body(text).map_err(|error| error.to_string())?;
        let mut answer = self.agent.run(request).map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((answer.status().as_u16(), body))
    }

    /// The body of a request that has to succeed.
    #[track_caller]
    pub fn ok(&self, method: &str, place: &str, body: Option<&Value>) -> Value {
        match self.call(method, place, body) {
            Ok((status, body)) if status < 300 => body,
            other => panic!("{method} {place}: {other:?}"),
        }
    }
}

impl Api {
    /// Ends the life of a token.
    pub fn revoke(&self, token: &str) {
        let answer = self
            .agent
            .delete(format!("{}:5000/v3/auth/tokens", self.url))
            .header("X-Auth-Token", &self.token)
            .header("X-Subject-Token", token)
            .call()
            .unwrap();
        assert_eq!(answer.status().as_u16(), 204);
    }

    /// The data of an image.
    pub fn upload(&self, image: &str, data: &[u8]) {
        let answer = self
            .agent
            .put(format!("{}:9292/v2/images/{image}/file", self.url))
            .header("X-Auth-Token", &self.token)
            .header("Content-Type", "application/octet-stream")
            .send(data)
            .unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

/// A server, as Nova lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub id: String,
    pub name: String,
    pub status: String,
    pub cloud: &'static str,
    pub metadata: BTreeMap<String, String>,
}

/// Nova as the owner of both projects sees it.
pub struct Nova {
    projects: Vec<(&'static str, Api)>,
    cluster: String,
}

impl Nova {
    /// The servers of the rig, or none when it does not answer.
    pub fn look(&self) -> Option<Vec<Server>> {
        let mut all = Vec::new();
        for (cloud, api) in &self.projects {
            let (status, body) = api.call("GET", ":8774/v2.1/servers/detail", None).ok()?;
            if status != 200 {
                return None;
            }
            for server in body["servers"].as_array()? {
                let metadata: BTreeMap<String, String> =
                    serde_json::from_value(server["metadata"].clone()).ok()?;
                let text = |key: &str| server[key].as_str().unwrap_or("").to_owned();
                if metadata.get("ehos_cluster") == Some(&self.cluster) {
                    all.push(Server {
                        id: text("id"),
                        name: text("name"),
                        status: text("status"),
                        cloud,
                        metadata,
                    });
                }
            }
        }
        all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Some(all)
    }

    pub fn project(&self, cloud: &str) -> &Api {
        let found = self.projects.iter().find(|(name, _)| *name == cloud);
        &found.unwrap().1
    }
}

/// The pool: the testbed's scripts, the tools, and stubs of these that ehos is given.
pub struct Pool {
    dir: PathBuf,
    work: PathBuf,
    scripts: AtomicUsize,
}

impl Pool {
    fn up(dir: PathBuf, work: &Path) -> Pool {
        let up = fs::read_dir(dir.join("pids")).map_or(0, Iterator::count) > 0;
        assert!(!up, "the pool in {} is up already", dir.display());
        let pool = Pool {
            dir,
            work: work.to_owned(),
            scripts: AtomicUsize::new(0),
        };
        pool.script("up", &[], "");
        pool.make_stubs();
        pool
    }

    /// A script of tests/testbed/condor. Its output goes to a file: the daemons that it leaves would keep a pipe open.
    fn script(&self, name: &str, args: &[&str], stdin: &str) -> bool {
        let number = self.scripts.fetch_add(1, Ordering::SeqCst);
        let out = self.work.join(format!("script-{number}"));
        let file = fs::File::create(&out).unwrap();
        let mut child = Command::new(Path::new(PROJECT).join("tests/testbed/condor").join(name))
            .args(args)
            .env("TESTBED_DIR", &self.dir)
            .env("NO_WAIT", "1")
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let good = child.wait().unwrap().success();
        if !good {
            println!(
                "{name} {args:?}: {}",
                fs::read_to_string(&out).unwrap_or_default()
            );
        }
        good
    }

    fn stubs(&self) -> PathBuf {
        self.work.join("tools")
    }

    /// Each tool of HTCondor does first what a hook says, once, then its work.
    fn make_stubs(&self) {
        fs::create_dir_all(self.stubs()).unwrap();
        for entry in fs::read_dir(self.dir.join("bin")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("condor_") {
                continue;
            }
            let stub = self.stubs().join(name);
            let text = format!(
                "#!/bin/sh\nhook=$0.hook\nif mv \"$hook\" \"$hook.$$\" 2>/dev/null; then . \"$hook.$$\"; fi\n\
                 exec '{}' \"$@\"\n",
                path.display()
            );
            fs::write(&stub, text).unwrap();
            fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The next call of `tool` by ehos does this first.
    pub fn hook(&self, tool: &str, script: &str) {
        fs::write(
            self.stubs().join(format!("{tool}.hook")),
            format!("{script}\n"),
        )
        .unwrap();
    }

    /// No hook waits any more; whether none was left.
    pub fn unhook(&self, tool: &str) -> bool {
        fs::remove_file(self.stubs().join(format!("{tool}.hook"))).is_err()
    }

    /// A tool of HTCondor, as root.
    pub fn tool(&self, name: &str, args: &[&str]) -> Answer {
        run(
            Command::new(self.dir.join("bin").join(name)).args(args),
            b"",
        )
    }

    /// What a tool prints, line by line, in columns.
    pub fn rows(&self, name: &str, args: &[&str], columns: &[&str]) -> Vec<Vec<String>> {
        let answer = self.tool(name, &[args, &["-af:t"], columns].concat());
        let lines = answer.stdout.lines();
        lines
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }

    /// Submits jobs of the ordinary user alice; `more` are further lines of the submit file.
    #[track_caller]
    pub fn submit(&self, count: usize, seconds: &str, more: &str) {
        let text = format!(
            "executable = /bin/sleep\ntransfer_executable = false\narguments = {seconds}\n\
             log = /home/alice/jobs.log\n{more}\nqueue {count}\n"
        );
        run(
            Command::new(self.dir.join("bin/condor_submit"))
                .env("TESTBED_USER", "alice")
                .arg("-terse"),
            text.as_bytes(),
        )
        .ok();
    }

    /// The event log of alice's jobs.
    pub fn job_log(&self) -> String {
        fs::read_to_string(self.dir.join("root/home/alice/jobs.log")).unwrap_or_default()
    }

    /// How many jobs are in this state (1 idle, 2 running, 5 held).
    pub fn jobs(&self, status: u32) -> usize {
        let constraint = format!("JobStatus == {status}");
        let args = ["-allusers", "-constraint", &constraint];
        self.rows("condor_q", &args, &["ClusterId"]).len()
    }

    /// The machines in the pool that drain.
    pub fn draining(&self) -> BTreeSet<String> {
        let args = ["-constraint", "Draining =?= true"];
        let rows = self.rows("condor_status", &args, &["Machine"]);
        rows.into_iter().map(|mut row| row.remove(0)).collect()
    }

    /// The machines in the pool.
    pub fn machines(&self) -> BTreeSet<String> {
        let rows = self.rows(
            "condor_status",
            &["-constraint", "PartitionableSlot"],
            &["Machine"],
        );
        rows.into_iter().map(|mut row| row.remove(0)).collect()
    }

    /// The pids of the daemons of this name that belong to the central manager, or to a node.
    pub fn daemons(&self, of: &str, name: &str) -> Vec<String> {
        let master = fs::read_to_string(self.dir.join("pids").join(of)).unwrap();
        let master = master.split(' ').next().unwrap().to_owned();
        // The kernel keeps 15 characters of a name.
        let name = name.get(..15).unwrap_or(name).to_owned();
        processes(|parent, _, process| parent == master && process == name)
    }

    fn start_node(&self, name: &str, server: &Server) {
        let (cpus, memory) = match server.metadata.get("ehos_flavor").map(String::as_str) {
            Some("m1.medium") => ("2", "3584"),
            _ => ("1", "1536"),
        };
        let node = server
            .metadata
            .get("ehos_node")
            .cloned()
            .unwrap_or_default();
        let config = format!(
            "CloudInstanceID = \"{}\"\nEhosNode = \"{node}\"\nEhosUpdateInterval = 5\n\
             STARTD_ATTRS = $(STARTD_ATTRS) CloudInstanceID EhosNode EhosUpdateInterval\n",
            server.id
        );
        self.script("node-start", &[name, cpus, memory, "-"], &config);
    }

    fn stop_node(&self, name: &str) {
        self.script("node-stop", &[name, "--crash"], "");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.script("down", &[], "");
    }
}

/// The startd of a server is called so.
pub fn machine_of(server: &Server) -> String {
    format!("n-{}", server.id.get(..8).unwrap_or("none"))
}

/// Gives each ACTIVE server a startd, and takes it away as a power cut would.
struct Hypervisor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hypervisor {
    fn start(
        pool: Arc<Pool>,
        nova: Arc<Nova>,
        joins: Arc<AtomicBool>,
        made: Arc<Mutex<BTreeSet<String>>>,
        last: Arc<Mutex<Vec<Server>>>,
    ) -> Hypervisor {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut running: BTreeSet<String> = BTreeSet::new();
            while !asked.load(Ordering::SeqCst) {
                if let Some(servers) = nova.look() {
                    last.lock().unwrap().clone_from(&servers);
                    made.lock()
                        .unwrap()
                        .extend(servers.iter().map(|server| server.id.clone()));
                    let on = |server: &&Server| server.status == "ACTIVE";
                    let there: BTreeMap<String, &Server> = servers
                        .iter()
                        .filter(on)
                        .map(|server| (machine_of(server), server))
                        .collect();
                    for name in running.clone() {
                        if !there.contains_key(&name) {
                            pool.stop_node(&name);
                            running.remove(&name);
                        }
                    }
                    for (name, server) in there {
                        if joins.load(Ordering::SeqCst) && running.insert(name.clone()) {
                            pool.start_node(&name, server);
                        }
                    }
                }
                // Nova has other things to do as well.
                thread::sleep(Duration::from_millis(1500));
            }
        });
        Hypervisor {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Hypervisor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What one tick said.
#[derive(Debug)]
pub struct Tick {
    pub code: i32,
    pub text: String,
    pub took: Duration,
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code {} after {:.1?}\n{}",
            self.code, self.took, self.text
        )
    }
}

impl Tick {
    /// The exit code, the words, and that it kept its time.
    #[track_caller]
    pub fn expect(&self, codes: &[i32], words: &[&str]) -> &Tick {
        assert!(codes.contains(&self.code), "not {codes:?}: {self}");
        for words in words {
            assert!(
                self.text.contains(words),
                "it does not say `{words}`: {self}"
            );
        }
        // A child that was killed, the report.
        let longest = TICK_TIMEOUT + Duration::from_secs(3);
        assert!(self.took < longest, "too long: {self}");
        self
    }

    /// A request to a testbed that is busy with other things may take too long: that is said, and passes.
    fn testbed_was_busy(&self) -> bool {
        [1, 75].contains(&self.code) && self.says("not within the time given")
    }

    /// Whether it says so.
    pub fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }
}

/// What there is to lose: the servers, the nodes that drain, the jobs that run and how often each was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    pub servers: Vec<String>,
    pub draining: BTreeSet<String>,
    pub running: Vec<Vec<String>>,
}

/// The site.
pub struct Rig {
    hypervisor: Option<Hypervisor>,
    pub pool: Arc<Pool>,
    pub nova: Arc<Nova>,
    /// The way of ehos to the cloud `big`.
    pub big: Proxy,
    /// The way of ehos to the cloud `small`.
    pub small: Proxy,
    /// Whether servers that become ACTIVE join.
    pub joins: Arc<AtomicBool>,
    /// Every server that was ever seen, by id.
    pub made: Arc<Mutex<BTreeSet<String>>>,
    /// The servers when the hypervisor last looked, a few seconds ago.
    pub last: Arc<Mutex<Vec<Server>>>,
    pub testbed: PathBuf,
    pub address: String,
    pub password: String,
    pub name: String,
    /// What the ticks have said since the last look at it.
    said: Mutex<String>,
    /// The hypervisor has faults.
    faulty: AtomicBool,
    work: tempfile::TempDir,
}

impl Rig {
    /// A site of this name with these further lines of `daemon:`; none when there is no testbed.
    pub fn up(name: &str, daemon: &str) -> Option<Rig> {
        let variable = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            if value.is_none() {
                println!("skipped: {name} is not set");
            }
            value
        };
        let testbed = variable("EHOS_TEST_MACHINES_DIR")?;
        let condor = variable("EHOS_TEST_CONDOR_DIR")?;
        let clouds = fs::read_to_string(testbed.join("openstack/clouds.yaml")).unwrap();
        let clouds: serde_yaml::Value = serde_yaml::from_str(&clouds).unwrap();
        let auth = &clouds["clouds"]["ehos"]["auth"];
        let text = |key: &str| auth[key].as_str().unwrap().to_owned();
        let url = text("auth_url");
        let address = url.split(&['/', ':'][..]).nth(3).unwrap().to_owned();
        let password = text("password");
        let user = text("username");

        step(&format!("{name}: the pool starts"));
        let work = tempfile::tempdir().unwrap();
        let cluster = format!("faults-{name}-{}", std::process::id());
        let projects = CLOUDS.map(|(cloud, project)| {
            let api = Api::login(&format!("http://{address}"), &user, &password, project).unwrap();
            (cloud, api)
        });
        let nova = Arc::new(Nova {
            projects: Vec::from(projects),
            cluster: cluster.clone(),
        });
        let pool = Arc::new(Pool::up(condor, work.path()));
        let _ = fs::remove_file(pool.dir.join("root/home/alice/jobs.log"));
        let joins = Arc::new(AtomicBool::new(true));
        let made = Arc::default();
        let last = Arc::default();
        let rig = Rig {
            hypervisor: Some(Hypervisor::start(
                Arc::clone(&pool),
                Arc::clone(&nova),
                Arc::clone(&joins),
                Arc::clone(&made),
                Arc::clone(&last),
            )),
            last,
            pool,
            nova,
            big: Proxy::to(&address),
            small: Proxy::to(&address),
            joins,
            made,
            testbed,
            address,
            password,
            name: name.to_owned(),
            said: Mutex::default(),
            faulty: AtomicBool::new(false),
            work,
        };
        rig.configure(&cluster, &user, daemon);
        // In its first second a collector has no ad of itself.
        assert!(within(60, || rig.tick(&["--dry-run"]).code == 0));
        Some(rig)
    }

    fn configure(&self, cluster: &str, user: &str, daemon: &str) {
        let daemon: String = daemon
            .lines()
            .map(|line| format!("  {}\n", line.trim()))
            .collect();
        self.write("ehos.d/10.yaml", &format!("daemon:\n{daemon}"));
        let access = |cloud: &str, project: &str, proxy: &Proxy| {
            format!(
                "  {cloud}:\n    auth_url: {}\n    username: {user}\n    password: {}\n    project_name: {project}\n    \
                 user_domain_name: Default\n    project_domain_name: Default\n    region_name: RegionOne\n",
                proxy.auth_url(),
                self.password,
            )
        };
        let text = format!(
            "clouds:\n{}{}ehos:
  cluster: {cluster}
  project_prefix: faults-{}
  image: GOLD CentOS 7
  flavors: [m1.small, m1.medium]
  network: dualStack
  userdata_file: {}
condor:
  host_ip: 127.0.0.1
  bin: {}
daemon:
  node_allocation: fill-first
  tick_timeout: {} s
  request_timeout: {} s
  command_timeout: 8 s
  boot_timeout: 2 min
  lost_timeout: 1 min
  intent_grace: 20 s
  collector_grace: 5 s
  negotiation_cycle: 6 s
  update_interval: 5 s
  delete_timeout: 20 s
  backoff_initial: 5 s
",
            access("big", CLOUDS[0].1, &self.big),
            access("small", CLOUDS[1].1, &self.small),
            self.name,
            self.path("node.yaml").display(),
            self.pool.stubs().display(),
            TICK_TIMEOUT.as_secs(),
            REQUEST_TIMEOUT.as_secs(),
        );
        fs::write(
            self.path("node.yaml"),
            "#cloud-config\nfinal_message: node {ehos_node} is up\n",
        )
        .unwrap();
        self.write("ehos.yaml", &text);
    }

    /// A file of the folder of this site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// From now on this goes over the configuration.
    pub fn over(&self, yaml: &str) {
        self.write("ehos.d/50.yaml", yaml);
    }

    /// Runs a command of ehos with the rig's configuration and state.
    pub fn ehos(&self, command: &str, more: &[&str]) -> Answer {
        run(
            Command::new(testkit::program!())
                .arg(command)
                .args(["--config".as_ref(), self.path("ehos.yaml").as_os_str()])
                .args(["--state-dir".as_ref(), self.path("state").as_os_str()])
                .args(more)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            b"",
        )
    }

    /// Runs `ehos tick`, with more arguments.
    pub fn tick(&self, more: &[&str]) -> Tick {
        let began = Instant::now();
        let answer = self.ehos("tick", more);
        let tick = Tick {
            code: answer.code,
            text: answer.stdout + &answer.stderr,
            took: began.elapsed(),
        };
        *self.said.lock().unwrap() += &format!("{tick}\n");
        tick
    }

    /// A tick while nothing is wrong.
    pub fn steady_tick(&self) -> Tick {
        let ticks = (0..5).map(|_| self.tick(&[]));
        let mut ticks = ticks.skip_while(Tick::testbed_was_busy);
        ticks.next().unwrap_or_else(|| self.tick(&[]))
    }

    /// Whether one has said so since the last call of [`Rig::said`].
    pub fn have_said(&self, words: &str) -> bool {
        self.said.lock().unwrap().contains(words)
    }

    /// What the ticks have said since the last call of this; it has to have these words.
    #[track_caller]
    pub fn said(&self, words: &[&str]) -> String {
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        for words in words {
            assert!(said.contains(words), "nobody said `{words}`: {said}");
        }
        said
    }

    /// The faults of the hypervisor from now on, for servers of this site alone; see the head of the testbed's driver.
    pub fn hypervisor_faults(&self, faults: Value) {
        let mut faults = faults;
        faults["match"] = json!(format!("^faults-{}-", self.name));
        self.faulty.store(true, Ordering::SeqCst);
        let file = self.testbed.join("openstack/faults.json");
        fs::write(file, faults.to_string()).unwrap();
    }

    /// It has none any more.
    pub fn no_hypervisor_faults(&self) {
        if !self.faulty.swap(false, Ordering::SeqCst) {
            return;
        }
        fs::write(self.testbed.join("openstack/faults.json"), "{}\n").unwrap();
    }

    /// Whoever may do anything.
    pub fn admin(&self) -> Api {
        let url = format!("http://{}", self.address);
        Api::login(&url, "admin", &self.password, "admin").unwrap()
    }

    /// Ticks until `reached`; each has to end with one of `codes`.
    #[track_caller]
    pub fn tick_until(
        &self,
        what: &str,
        seconds: u64,
        codes: &[i32],
        reached: impl Fn(&Rig) -> bool,
    ) {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut last = None;
        while !reached(self) {
            assert!(
                Instant::now() < end,
                "never: {what}\n{:#?}\n{}",
                self.nova.look(),
                last.map_or_else(String::new, |tick: Tick| tick.to_string())
            );
            let tick = self.tick(&[]);
            assert!(
                codes.contains(&tick.code) || tick.testbed_was_busy(),
                "while waiting for {what}: {tick}"
            );
            last = Some(tick);
            thread::sleep(Duration::from_millis(500));
        }
        step(what);
    }

    /// The servers of this site; Nova has to answer within a minute.
    #[track_caller]
    pub fn servers(&self) -> Vec<Server> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(servers) = self.nova.look() {
                return servers;
            }
            assert!(Instant::now() < end, "Nova does not answer");
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// All that there is to lose. Collector, schedd and Nova have to answer.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            servers: self.servers().into_iter().map(|server| server.id).collect(),
            draining: self.pool.draining(),
            running: self.pool.rows(
                "condor_q",
                &["-allusers", "-constraint", "JobStatus == 2"],
                &["ClusterId", "ProcId", "RemoteHost", "NumJobStarts"],
            ),
        }
    }

    /// A real service of OpenStack, frozen until this is dropped.
    pub fn freeze(&self, service: &str) -> Frozen {
        self.freezer(service)()
    }

    /// Freezes it when it is called.
    pub fn freezer(&self, service: &str) -> impl Fn() -> Frozen + Send + Sync + 'static {
        let file = self.testbed.join(format!("openstack/run/{service}.pid"));
        move || {
            let leader = fs::read_to_string(&file).unwrap().trim().to_owned();
            Frozen::new(processes(|_, session, _| session == leader))
        }
    }

    /// The token of a cloud that ehos keeps for its next tick.
    pub fn kept_token(&self, cloud: &str) -> String {
        let files = self.token_files();
        let file = files
            .iter()
            .find(|file| file.to_string_lossy().contains(cloud))
            .unwrap_or_else(|| panic!("no token of {cloud} in {files:?}"));
        let text: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        text["token"].as_str().unwrap().to_owned()
    }

    /// Keystone takes that token no more.
    pub fn revoke_kept_token(&self, cloud: &str) {
        self.admin().revoke(&self.kept_token(cloud));
    }

    /// Takes away the tokens that ehos keeps.
    pub fn forget_tokens(&self) {
        for file in self.token_files() {
            fs::remove_file(file).unwrap();
        }
    }

    fn token_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("state")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("token"))
            .collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.no_hypervisor_faults();
        self.hypervisor.take();
        if thread::panicking() {
            println!("{:#?}", self.nova.look());
        }
        // Deletes of the fake hypervisor take a second.
        for _ in 0..20 {
            match self.nova.look() {
                Some(servers) if servers.is_empty() => break,
                Some(servers) => {
                    for server in servers {
                        let place = format!(":8774/v2.1/servers/{}", server.id);
                        let _ = self.nova.project(server.cloud).call("DELETE", &place, None);
                    }
                }
                None => {}
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Looks every 0.3 s until `reached`; whether it was within so many seconds.
pub fn within(seconds: u64, mut reached: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !reached() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(300));
    }
    true
}
