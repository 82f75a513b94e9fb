//! A site on the testbed's machines: golden image, central manager with ehos on it, and the words to tell a story of
//! it. Nodes are Nova servers that boot real systemd and cloud-init.
//!
//! `EHOS_TEST_MACHINES_DIR` names the folder of a running testbed (`TESTBED_DIR` of tests/testbed/up); root only.
//! `EHOS_STORY_KEEP=1` leaves master and nodes for a look (`tests/testbed/machines/machine exec NAME ...`).
//!
//! Everything of a site is named `story-...`. One site at a time: the next one takes away what a killed one left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use fs2::FileExt;
use serde_json::{Value, json};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const DOMAIN: &str = "ehos";
const WITHOUT_COLLECTOR: &str = "/etc/condor/config.d/90-without-collector.config";

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; of one that was killed, what a shell says (137).
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// The standard output of a command that succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout.trim().to_owned()
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command, stdin: &[u8]) -> Answer {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read to the end says so by its exit code.
            let _ = input.write_all(stdin);
        });
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Answer {
        code: output.status.code().unwrap_or(137),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A server of Nova's list.
#[derive(Debug)]
pub struct Server {
    pub id: String,
    pub name: String,
    pub status: String,
    pub metadata: BTreeMap<String, String>,
}

/// The running testbed, for one test at a time.
pub struct Testbed {
    /// Its folder.
    pub dir: PathBuf,
    _alone: File,
}

impl Testbed {
    /// It, when there is one and no other test has it.
    pub fn find() -> Option<Testbed> {
        let Some(dir) = std::env::var_os("EHOS_TEST_MACHINES_DIR").map(PathBuf::from) else {
            println!("skipped: EHOS_TEST_MACHINES_DIR names no testbed with machines");
            return None;
        };
        let alone = File::create(dir.join("story.lock")).unwrap();
        alone.lock_exclusive().unwrap();
        Some(Testbed { dir, _alone: alone })
    }

    fn script(&self, name: &str) -> Command {
        let mut command =
            Command::new(Path::new(PROJECT).join("tests/testbed/machines").join(name));
        command
            .env("TESTBED_DIR", &self.dir)
            .env("OS_CLOUD", "ehos");
        command
    }

    /// The `openstack` command.
    #[track_caller]
    pub fn openstack(&self, args: &[&str]) -> String {
        run(self.script("cli").args(args), b"").ok()
    }

    /// A command in a machine.
    pub fn exec(&self, machine: &str, args: &[&str], stdin: &[u8]) -> Answer {
        run(
            self.script("machine").args(["exec", machine]).args(args),
            stdin,
        )
    }

    /// Creates a server and waits until its boot is through.
    pub fn boot(&self, name: &str, image: &str, user_data: &str) {
        // The client runs in the control plane's chroot.
        let file = format!("/srv/tb/{name}.user-data");
        fs::write(self.dir.join("openstack/root").join(&file[1..]), user_data).unwrap();
        self.openstack(&[
            "server",
            "create",
            name,
            "--image",
            image,
            "--flavor",
            "m1.medium",
            "--network",
            "machines",
            "--key-name",
            "ehos",
            "--user-data",
            &file,
            "--wait",
        ]);
        wait(&format!("{name} to boot"), 240, || {
            let console = run(self.script("machine").args(["console", name]), b"").stdout;
            assert!(!console.contains("EHOS: FAILED"), "{console}");
            console.contains("The EHOS vm is up after")
        });
    }

    /// The golden image, made from configs/base.yaml as an administrator would by hand: once for all tests.
    fn golden_image(&self) -> String {
        let user_data = config("base.yaml");
        let name = format!("story-golden-{:016x}", fingerprint(&user_data));
        if self
            .openstack(&[
                "image", "list", "--name", &name, "--status", "active", "-f", "value", "-c", "ID",
            ])
            .is_empty()
        {
            step(&format!("makes the image {name}"));
            self.boot("story-build", "Debian 13", &user_data);
            self.openstack(&["server", "stop", "story-build"]);
            let nova = Nova::new(&self.dir);
            wait("story-build to stop", 90, || {
                nova.servers()
                    .iter()
                    .any(|s| s.name == "story-build" && s.status == "SHUTOFF")
            });
            self.openstack(&[
                "server",
                "image",
                "create",
                "--name",
                &name,
                "--wait",
                "story-build",
            ]);
            self.openstack(&["server", "delete", "--wait", "story-build"]);
        }
        name
    }
}

/// The `openstack` command as the administrator of the testbed in `dir`.
pub fn openstack_as_admin(dir: &Path, args: &[&str]) -> Answer {
    let mut command = Command::new(Path::new(PROJECT).join("tests/testbed/machines/cli"));
    let command = command.env("TESTBED_DIR", dir).env("OS_CLOUD", "admin");
    run(command.args(args), b"")
}

/// A few words of Nova's API, apart from ehos's own client: the `openstack` command takes seconds.
pub struct Nova {
    agent: ureq::Agent,
    token: String,
    url: String,
    /// `auth:` of the cloud `ehos` in clouds.yaml.
    pub auth: BTreeMap<String, String>,
}

impl Nova {
    /// The entry `name` of `clouds:` in an ehos.yaml, with access at `url`, which is Keystone's or that of a proxy before it.
    pub fn cloud_yaml(&self, name: &str, url: &str) -> String {
        let auth = &self.auth;
        format!(
            "  {name}:
    auth_url: {url}
    username: {user}
    password: {password}
    project_name: {project}
    user_domain_name: {domain}
    project_domain_name: {domain}
    region_name: RegionOne
",
            user = auth["username"],
            password = auth["password"],
            project = auth["project_name"],
            domain = auth["user_domain_name"],
        )
    }

    /// The sections `clouds:` and `ehos:` of the ehos.yaml of a pool in the cloud `testbed`.
    pub fn pool_yaml(&self, url: &str, cluster: &str, image: &str, network: &str) -> String {
        format!(
            "clouds:
{cloud}ehos:
  cluster: {cluster}
  project_prefix: {cluster}
  image: {image}
  flavor: m1.medium
  network: {network}
  key: ehos
  security_groups: [ehos]
",
            cloud = self.cloud_yaml("testbed", url),
        )
    }

    /// With a token of the cloud `ehos`.
    pub fn new(dir: &Path) -> Nova {
        Nova::of(dir, "ehos")
    }

    /// With a token of another cloud of the testbed's clouds.yaml.
    pub fn of(dir: &Path, cloud: &str) -> Nova {
        let text = fs::read_to_string(dir.join("openstack/clouds.yaml")).unwrap();
        let clouds: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let auth: BTreeMap<String, String> =
            serde_yaml::from_value(clouds["clouds"][cloud]["auth"].clone()).unwrap();
        let agent = ureq::Agent::new_with_defaults();
        let domain = json!({"name": auth["user_domain_name"]});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": auth["username"], "domain": domain, "password": auth["password"]}}},
            "scope": {"project": {"name": auth["project_name"], "domain": domain}}}});
        let mut answer = agent
            .post(format!("{}/auth/tokens", auth["auth_url"]))
            .send_json(&body)
            .unwrap();
        let token = answer.headers()["X-Subject-Token"]
            .to_str()
            .unwrap()
            .to_owned();
        let answer: Value = answer.body_mut().read_json().unwrap();
        let services = answer["token"]["catalog"].as_array().unwrap();
        let compute = services
            .iter()
            .find(|service| service["type"] == "compute")
            .unwrap();
        let url = compute["endpoints"][0]["url"].as_str().unwrap().to_owned();
        Nova {
            agent,
            token,
            url,
            auth,
        }
    }

    /// All servers of the project.
    pub fn servers(&self) -> Vec<Server> {
        let mut answer = self
            .agent
            .get(format!("{}/servers/detail", self.url))
            .header("X-Auth-Token", &self.token)
            .call()
            .unwrap();
        let answer: Value = answer.body_mut().read_json().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let servers = answer["servers"].as_array().unwrap().iter();
        servers
            .map(|server| Server {
                id: text(&server["id"]),
                name: text(&server["name"]),
                status: text(&server["status"]),
                metadata: serde_json::from_value(server["metadata"].clone()).unwrap(),
            })
            .collect()
    }

    /// Deletes a server.
    pub fn delete(&self, id: &str) {
        // 404: it has gone by itself.
        let _ = self
            .agent
            .delete(format!("{}/servers/{id}", self.url))
            .header("X-Auth-Token", &self.token)
            .call();
    }
}

/// What one tick said.
#[derive(Debug)]
pub struct Tick {
    /// Its exit code, 137 when it was killed.
    pub code: i32,
    /// Standard output and error.
    pub text: String,
}

/// How a tick is started.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// As the user ehos, as the unit would.
    Hand,
    /// By systemd: `systemctl start ehos`.
    Unit,
    /// As by hand, and killed by SIGKILL after so long, if it is not through by then.
    KilledAfter(Duration),
}

/// When ehos is killed that calls a tool.
#[derive(Debug, Clone, Copy)]
pub enum TickInstant {
    /// Before the tool does its work (which it then does).
    Before,
    /// After it.
    After,
}

/// A job of the schedd's history.
#[derive(Debug)]
pub struct FinishedJob {
    /// `ClusterId.ProcId`.
    pub id: String,
    /// `JobStatus`; 4 is completed.
    pub status: i64,
    /// `NumJobStarts`.
    pub starts: i64,
    /// `ExitCode`.
    pub exit_code: i64,
    /// `Machine` of the node that ran it.
    pub machine: String,
}

/// A central manager with schedd and ehos, and the cloud it may fill with nodes.
pub struct Site {
    /// The testbed.
    pub testbed: Testbed,
    nova: Nova,
    master: String,
    /// The pool's id: `ehos_cluster` of its servers.
    pub cluster: String,
    log: Vec<Tick>,
}

impl Site {
    /// A new site without jobs and nodes, or `None` where there is no testbed. `daemon` is more of ehos.yaml's section
    /// of that name, such as `nodes_max: 2`, one key a line; timeouts are seconds already.
    pub fn up(name: &str, daemon: &str) -> Option<Site> {
        let testbed = Testbed::find()?;
        let nova = Nova::new(&testbed.dir);
        let cluster = format!("story-{name}");
        let site = Site {
            testbed,
            nova,
            master: format!("story-{name}-master"),
            cluster,
            log: Vec::new(),
        };
        site.clear();
        let image = site.testbed.golden_image();
        step("boots the master");
        site.testbed.boot(&site.master, &image, &master_user_data());
        site.install(&image, daemon);
        step("the master is ready");
        Some(site)
    }

    /// Takes away every server of a story; the image stays.
    fn clear(&self) {
        let ours = |server: &Server| {
            server.name.starts_with("story-")
                || server
                    .metadata
                    .get("ehos_cluster")
                    .is_some_and(|cluster| cluster.starts_with("story-"))
        };
        for server in self.nova.servers().iter().filter(|server| ours(server)) {
            self.nova.delete(&server.id);
        }
        wait("old servers to go", 60, || {
            !self.nova.servers().iter().any(ours)
        });
    }

    /// Installs ehos on the master, with scripts/install.
    fn install(&self, image: &str, daemon: &str) {
        let source = run(
            Command::new("tar").args(["-C", PROJECT, "-c", "scripts", "systemd", "configs"]),
            b"",
        );
        assert_eq!(source.code, 0, "{}", source.stderr);
        self.run(&["tar", "-x", "-C", "/root"], source.stdout.as_bytes())
            .ok();
        let binary = fs::read(testkit::program!()).unwrap();
        self.run(
            &["sh", "-c", "cat >/root/ehos; chmod 755 /root/ehos"],
            &binary,
        )
        .ok();
        self.write("/etc/ehos/ehos.yaml", "640", &self.ehos_yaml(image, daemon));
        self.run(&["/root/scripts/install", "--binary", "/root/ehos"], b"")
            .ok();
        self.run(&["useradd", "--create-home", "alice"], b"").ok();
    }

    /// Without `condor:`, which master.yaml writes.
    fn ehos_yaml(&self, image: &str, daemon: &str) -> String {
        let daemon: String = daemon
            .lines()
            .map(|line| format!("  {}\n", line.trim()))
            .collect();
        format!(
            "{pool}daemon:
  idle_timeout: 5 s
  boot_timeout: 2 min
  lost_timeout: 1 min
  intent_grace: 10 s
  collector_grace: 5 s
  negotiation_cycle: 6 s
  update_interval: 5 s
  delete_timeout: 20 s
  backoff_initial: 5 s
{daemon}",
            pool = self.nova.pool_yaml(
                &self.nova.auth["auth_url"],
                &self.cluster,
                image,
                "machines"
            ),
        )
    }

    /// The golden image that its nodes boot from.
    pub fn image(&self) -> String {
        self.testbed.golden_image()
    }

    /// Adds a file to ehos.d, which goes over ehos.yaml.
    pub fn configure(&self, name: &str, text: &str) {
        self.write(&format!("/etc/ehos/ehos.d/{name}"), "644", text);
    }

    /// Whether a tick said so.
    pub fn said(&self, words: &str) -> bool {
        self.log.iter().any(|tick| tick.text.contains(words))
    }

    /// A command on a machine of any name, as root.
    pub fn run_on(&self, machine: &str, args: &[&str], stdin: &[u8]) -> Answer {
        self.testbed.exec(machine, args, stdin)
    }

    /// A command on the master, as root.
    pub fn run(&self, args: &[&str], stdin: &[u8]) -> Answer {
        self.testbed.exec(&self.master, args, stdin)
    }

    fn write(&self, path: &str, mode: &str, text: &str) {
        let script = format!(
            "umask 077; mkdir -p -m 755 $(dirname {path}); cat >{path}; chmod {mode} {path}"
        );
        self.run(&["sh", "-c", &script], text.as_bytes()).ok();
    }

    /// Submits `count` jobs that sleep, as the ordinary user alice. `more` are further lines of the submit file.
    pub fn submit(&self, count: usize, seconds: u64, more: &str) {
        let submit = format!(
            "executable = /bin/sleep
arguments = {seconds}
log = /home/alice/log
should_transfer_files = yes
transfer_executable = false
request_cpus = 1
request_memory = 256
{more}
queue {count}
"
        );
        self.submit_as("alice", &submit);
    }

    /// Submits the jobs of a submit file, as an ordinary user from their home.
    pub fn submit_as(&self, user: &str, submit: &str) {
        let command = format!("HOME=/home/{user}; cd && cat >job.sub && condor_submit job.sub");
        self.run(
            &["runuser", "-u", user, "--", "sh", "-c", &command],
            submit.as_bytes(),
        )
        .ok();
    }

    /// The condor tool's answer in `columns`, one row a line. No answer is no row.
    pub fn condor(&self, tool: &str, args: &[&str], columns: &[&str]) -> Vec<Vec<String>> {
        let text = self
            .run(&[&[tool], args, &["-af:t"], columns].concat(), b"")
            .ok();
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }

    /// How many jobs are in the queue, by `JobStatus` (1 idle, 2 running).
    pub fn queue(&self) -> BTreeMap<i64, usize> {
        let mut counts = BTreeMap::new();
        for row in self.condor("condor_q", &["-allusers"], &["JobStatus"]) {
            *counts.entry(row[0].parse().unwrap()).or_default() += 1;
        }
        counts
    }

    /// The jobs that have left the queue.
    pub fn history(&self) -> Vec<FinishedJob> {
        let columns = [
            "ClusterId",
            "ProcId",
            "JobStatus",
            "NumJobStarts",
            "ExitCode",
            "LastRemoteHost",
        ];
        let number = |text: &str| text.parse().unwrap_or(-1);
        let rows = self.condor("condor_history", &[], &columns);
        rows.iter()
            .map(|row| FinishedJob {
                id: format!("{}.{}", row[0], row[1]),
                status: number(&row[2]),
                starts: number(&row[3]),
                exit_code: number(&row[4]),
                machine: row[5].rsplit('@').next().unwrap().to_owned(),
            })
            .collect()
    }

    /// `Machine` and `CloudInstanceID` of every partitionable slot that the collector knows.
    pub fn slots(&self) -> BTreeMap<String, String> {
        let rows = self.condor(
            "condor_status",
            &["-constraint", "PartitionableSlot"],
            &["Machine", "CloudInstanceID"],
        );
        rows.into_iter()
            .map(|mut row| (row.remove(0), row.remove(0)))
            .collect()
    }

    /// Stops the collector: condor_master is told to run without one (condor_off would need it, to come back).
    pub fn stop_collector(&self) {
        self.write(
            WITHOUT_COLLECTOR,
            "644",
            "DAEMON_LIST = MASTER, NEGOTIATOR, SCHEDD\n",
        );
        self.reconfigure();
        wait("the collector to stop", 30, || {
            self.run(&["condor_status", "-collector"], b"").code != 0
        });
    }

    /// Starts it again. It knows nothing then.
    pub fn start_collector(&self) {
        self.run(&["rm", WITHOUT_COLLECTOR], b"").ok();
        self.reconfigure();
        wait("the collector to start", 30, || {
            self.run(&["condor_status", "-collector"], b"").code == 0
        });
    }

    /// Stops the collector as a debugger would: connections to it hang.
    pub fn freeze_collector(&self) {
        self.run(&["pkill", "-STOP", "-x", "condor_collecto"], b"")
            .ok();
    }

    /// Lets it go on.
    pub fn thaw_collector(&self) {
        self.run(&["pkill", "-CONT", "-x", "condor_collecto"], b"")
            .ok();
    }

    fn reconfigure(&self) {
        self.run(
            &[
                "systemctl",
                "kill",
                "--kill-whom=main",
                "--signal=HUP",
                "condor",
            ],
            b"",
        )
        .ok();
    }

    /// The servers whose metadata says that they are nodes of this pool.
    pub fn nodes(&self) -> Vec<Server> {
        let mut servers = self.nova.servers();
        servers.retain(|server| server.metadata.get("ehos_cluster") == Some(&self.cluster));
        servers
    }

    /// Runs one tick.
    pub fn tick(&mut self, by: By) -> &Tick {
        const AS_EHOS: [&str; 7] = [
            "setpriv",
            "--reuid=ehos",
            "--regid=ehos",
            "--init-groups",
            "env",
            "HOME=/var/lib/ehos",
            "STATE_DIRECTORY=/var/lib/ehos",
        ];
        let tick = match by {
            By::Hand => {
                let answer = self.run(&[&AS_EHOS[..], &["ehos", "tick"]].concat(), b"");
                Tick {
                    code: answer.code,
                    text: answer.stdout + &answer.stderr,
                }
            }
            By::KilledAfter(after) => {
                let after = format!("{}", after.as_secs_f64());
                let answer = self.run(
                    &[
                        &["timeout", "--signal=KILL", &after],
                        &AS_EHOS[..],
                        &["ehos", "tick"],
                    ]
                    .concat(),
                    b"",
                );
                Tick {
                    code: answer.code,
                    text: answer.stdout + &answer.stderr,
                }
            }
            By::Unit => {
                // As often as one likes; then what the journal has of this run alone.
                let script = "systemctl reset-failed ehos; systemctl start ehos
                    systemctl show -p ExecMainStatus --value ehos; journalctl --sync
                    journalctl -u ehos -o cat --no-pager --cursor-file=/run/story.cursor";
                let answer = self.run(&["sh", "-c", script], b"");
                let (code, text) = answer.stdout.split_once('\n').unwrap_or_default();
                Tick {
                    code: code.parse().unwrap_or(-1),
                    text: format!("{text}{}", answer.stderr),
                }
            }
        };
        let plan = tick.text.lines().find(|line| line.starts_with("plan"));
        println!(
            "    tick {:>3}: exit code {}, {}",
            self.log.len() + 1,
            tick.code,
            plan.unwrap_or("no report")
        );
        self.log.push(tick);
        &self.log[self.log.len() - 1]
    }

    /// Ticks, a second apart, until `reached`; each tick has to end with one of `codes`.
    #[track_caller]
    pub fn tick_until(
        &mut self,
        what: &str,
        seconds: u64,
        by: By,
        codes: &[i32],
        reached: impl Fn(&Site) -> bool,
    ) {
        step(&format!("ticks until {what}"));
        let end = Instant::now() + Duration::from_secs(seconds);
        while !reached(self) {
            assert!(Instant::now() < end, "never: {what}\n{}", self.story());
            let code = self.tick(by).code;
            assert!(
                codes.contains(&code),
                "exit code {code} while waiting for: {what}\n{}",
                self.story()
            );
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// The next ehos that calls `tool` (such as condor_drain) is killed by SIGKILL at that moment, once.
    pub fn kill_ehos_at(&self, tool: &str, moment: TickInstant) {
        let work = match moment {
            TickInstant::Before => format!("kill -KILL $PPID; exec {tool} \"$@\""),
            TickInstant::After => format!("{tool} \"$@\"; kill -KILL $PPID"),
        };
        // First in $PATH. The user ehos may not remove it, but disarm it.
        let script = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin\n[ -s /srv/{tool} ] || exec {tool} \"$@\"\n: >/srv/{tool}\n{work}\n"
        );
        self.write(&format!("/srv/{tool}"), "666", "armed");
        self.write(&format!("/usr/local/bin/{tool}"), "755", &script);
    }

    /// Whether it was.
    pub fn was_killed_at(&self, tool: &str) -> bool {
        self.run(&["test", "-s", &format!("/srv/{tool}")], b"").code != 0
    }

    /// What is worth knowing when a test fails: the last ticks, servers, slots and queue.
    /// Asks neither collector nor schedd, which may hang.
    pub fn story(&self) -> String {
        let ticks: String = self
            .log
            .iter()
            .enumerate()
            .skip(self.log.len().saturating_sub(4))
            .map(|(i, tick)| {
                format!(
                    "-- tick {}, exit code {}\n{}\n",
                    i + 1,
                    tick.code,
                    tick.text
                )
            })
            .collect();
        format!("{ticks}-- {:#?}", self.nodes())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::env::var_os("EHOS_STORY_KEEP").is_none() {
            self.clear();
        }
    }
}

/// One line of what happens, with the seconds since the first.
pub fn step(what: &str) {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    println!(
        "{:7.1} s  {what}",
        BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64()
    );
}

/// Looks every 0.3 s until `reached`; panics when it is not within so many seconds.
#[track_caller]
pub fn wait(what: &str, seconds: u64, reached: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !reached() {
        assert!(Instant::now() < end, "waited {seconds} s for {what}");
        thread::sleep(Duration::from_millis(300));
    }
}

/// A file of configs/.
pub fn config(name: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join("configs").join(name)).unwrap()
}

#[track_caller]
pub fn edited(text: String, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no `{from}` any more");
    text.replace(from, to)
}

/// configs/execute.yaml, with a startd that says soon what it does.
fn execute_template() -> String {
    edited(
        config("execute.yaml"),
        "    UPDATE_INTERVAL = 30",
        "    UPDATE_INTERVAL = 5",
    )
}

/// configs/master.yaml, filled in as by hand: quick to negotiate, to hear and to forget. ehos.yaml comes later.
fn master_user_data() -> String {
    let execute = base64::engine::general_purpose::STANDARD.encode(execute_template());
    let text = edited(config("master.yaml"), "{trust_domain}", DOMAIN);
    let text = edited(text, "{execute_yaml}", &execute);
    let text = edited(text, "{ehos_yaml}", "");
    let text = edited(text, "NEGOTIATOR_INTERVAL = 10", "NEGOTIATOR_INTERVAL = 5");
    let text = edited(text, "SCHEDD_INTERVAL = 60", "SCHEDD_INTERVAL = 5");
    let text = edited(text, "_UPDATE_INTERVAL = 60", "_UPDATE_INTERVAL = 5");
    edited(
        text,
        "NEGOTIATOR_CYCLE_DELAY = 5\n",
        "NEGOTIATOR_CYCLE_DELAY = 1
    NEGOTIATOR_MIN_INTERVAL = 1
    SCHEDD_MIN_INTERVAL = 1\n",
    )
}

/// FNV-1a.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
