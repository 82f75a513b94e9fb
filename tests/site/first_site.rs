//! From an empty project to a job that has run: golden image and central manager in one command, which is killed on the
//! way and run again; then a job of an ordinary user, for which nobody lifts a finger; then all is taken away.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::machines::{Answer, Nova, Server, Testbed, config, edited, run, step};

const CLUSTER: &str = "first-site";

/// A project without anything of this pool, and an operator's folder with a configuration in it.
struct Project {
    testbed: Testbed,
    nova: Nova,
    folder: tempfile::TempDir,
}

impl Project {
    fn empty() -> Option<Project> {
        let testbed = Testbed::find()?;
        let nova = Nova::new(&testbed.dir);
        let folder = tempfile::tempdir().unwrap();
        let project = Project {
            testbed,
            nova,
            folder,
        };
        project.clear();
        project.write_files();
        Some(project)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self) {
        let auth: &BTreeMap<String, String> = &self.nova.auth;
        let yaml = format!(
            "clouds:
  testbed:
    auth_url: {url}
    username: {user}
    password_file: testbed.password
    project_name: {project}
    user_domain_name: {domain}
    project_domain_name: {domain}
    region_name: RegionOne
ehos:
  cluster: {CLUSTER}
  project_prefix: {CLUSTER}
  base_image: Debian 13
  flavor: m1.medium
  network: machines
  key: {CLUSTER}
  security_groups: [ehos]
daemon:
  nodes_max: 2
  idle_timeout: 5 s
  collector_grace: 10 s
  negotiation_cycle: 6 s
  update_interval: 5 s
",
            url = auth["auth_url"],
            user = auth["username"],
            project = auth["project_name"],
            domain = auth["user_domain_name"],
        );
        fs::write(self.path("ehos.yaml"), yaml).unwrap();
        fs::write(self.path("testbed.password"), &auth["password"]).unwrap();
        // The templates as they are, quicker to negotiate.
        let master = edited(
            config("master.yaml"),
            "NEGOTIATOR_INTERVAL = 10",
            "NEGOTIATOR_INTERVAL = 5",
        );
        let master = edited(
            master,
            "NEGOTIATOR_CYCLE_DELAY = 5",
            "NEGOTIATOR_CYCLE_DELAY = 1",
        );
        fs::create_dir(self.path("configs")).unwrap();
        fs::write(self.path("configs/base.yaml"), config("base.yaml")).unwrap();
        fs::write(self.path("configs/master.yaml"), master).unwrap();
        let execute = edited(
            config("execute.yaml"),
            "UPDATE_INTERVAL = 30",
            "UPDATE_INTERVAL = 5",
        );
        fs::write(self.path("configs/execute.yaml"), execute).unwrap();
        let key = self.path("key");
        run(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key),
            b"",
        )
        .ok();
        // The client runs in the control plane's chroot.
        let file = format!("/srv/tb/{CLUSTER}.pub");
        fs::copy(
            self.path("key.pub"),
            self.testbed.dir.join("openstack/root").join(&file[1..]),
        )
        .unwrap();
        let create = ["keypair", "create", "--public-key", &file, CLUSTER];
        self.testbed.openstack(&create);
    }

    fn deploy(&self, more: &[&str]) -> Command {
        let mut command = Command::new(testkit::program!());
        command
            .args(["master", "deploy", "--build-image", "--config", "ehos.yaml"])
            .args(["--state-dir", "state", "--identity", "key"])
            .args(["--timeout", "10m"])
            .args(more)
            .current_dir(self.folder.path())
            .env("EHOS_POLL_SECONDS", "1");
        command
    }

    /// Kills a deploy by SIGKILL at the first line of its progress that holds `words`.
    fn kill_at(&self, words: &str) {
        step(&format!("a deploy that is killed at: {words}"));
        let mut child = self
            .deploy(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            said.push(line.unwrap());
            if said[said.len() - 1].contains(words) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            said[said.len() - 1].contains(words),
            "never: {words} in {said:#?}"
        );
    }

    fn ours(&self) -> Vec<Server> {
        let mut servers = self.nova.servers();
        servers.retain(|server| {
            server.metadata.get("ehos_cluster").map(String::as_str) == Some(CLUSTER)
        });
        servers
    }

    fn of_role(&self, role: &str) -> usize {
        let servers = self.ours();
        let of_role = |server: &&Server| server.metadata["ehos_role"] == role;
        servers.iter().filter(of_role).count()
    }

    fn images(&self) -> Vec<String> {
        let property = format!("ehos_cluster={CLUSTER}");
        let list = [
            "image",
            "list",
            "--property",
            &property,
            "-f",
            "value",
            "-c",
            "ID",
        ];
        let ids = self.testbed.openstack(&list);
        ids.lines().map(str::to_owned).collect()
    }

    fn clear(&self) {
        for server in self.ours() {
            self.nova.delete(&server.id);
        }
        for image in self.images() {
            self.testbed.openstack(&["image", "delete", &image]);
        }
        let keys = self
            .testbed
            .openstack(&["keypair", "list", "-f", "value", "-c", "Name"]);
        if keys.lines().any(|name| name == CLUSTER) {
            self.testbed.openstack(&["keypair", "delete", CLUSTER]);
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::env::var_os("EHOS_STORY_KEEP").is_none() {
            self.clear();
        }
    }
}

#[test]
fn from_an_empty_project_to_a_job_that_has_run() {
    let Some(project) = Project::empty() else {
        return;
    };
    project.kill_at("waits for the final message");
    assert_eq!(project.of_role("master"), 1);
    project.kill_at("puts /usr/bin/ehos");
    assert_eq!(project.of_role("master"), 1);

    step("a deploy that goes on to the end");
    let answer = run(&mut project.deploy(&["-o", "json"]), b"");
    assert_eq!(answer.code, 0, "{answer:#?}");
    let report: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(
        (project.of_role("master"), project.of_role("builder")),
        (1, 0)
    );

    let login = report["login"].as_str().unwrap().to_owned();
    let on_master = |command: &str| -> Answer {
        let script = format!("{login} -o BatchMode=yes \"$0\"");
        run(
            Command::new("sh")
                .args(["-c", &script, command])
                .current_dir(project.folder.path()),
            b"",
        )
    };
    step("a job of an ordinary user");
    on_master("sudo useradd --create-home alice").ok();
    on_master(
        "printf '%s\\n' executable=/bin/sleep arguments=5 queue | sudo -u alice -i condor_submit",
    )
    .ok();
    let wait_for = |what: &str, seconds: u64, reached: &dyn Fn() -> bool| {
        step(&format!("waits until {what}"));
        let end = Instant::now() + Duration::from_secs(seconds);
        while !reached() {
            if Instant::now() > end {
                let journal = on_master("sudo journalctl -u ehos -o cat -n 60 --no-pager");
                panic!("never: {what}\n{journal:#?}");
            }
            std::thread::sleep(Duration::from_secs(2));
        }
    };
    wait_for("it has a node", 180, &|| project.of_role("execute") == 1);
    wait_for("it is done", 180, &|| {
        let history = on_master("condor_history -af Owner JobStatus ExitCode");
        history.stdout.trim() == "alice 4 0"
    });
    wait_for("its node is gone", 300, &|| project.of_role("execute") == 0);

    step("a deploy on the master that is there");
    let digest = |name: &str| {
        let answer = on_master(&format!(
            "sudo sha256sum /etc/ehos/{name} /etc/condor/passwords.d/POOL"
        ));
        answer.ok()
    };
    let before = digest("ehos.yaml");
    let mut again = project.deploy(&["-o", "json"]);
    let again = run(&mut again, b"");
    assert_eq!(again.code, 0, "{again:#?}");
    let second: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(second["server"], report["server"]);
    assert_eq!(second["created"], false);
    assert_eq!(digest("ehos.yaml"), before);
    let unchanged = |report: &serde_json::Value| {
        let files = report["files"].as_array().unwrap().iter();
        files
            .filter(|file| file["path"] != "/etc/ehos/ehos.yaml")
            .all(|file| file["change"] == "same")
    };
    assert!(unchanged(&second), "{second:#}");

    step("a deploy on a master where a template was edited and the timer turned off");
    let change = "echo '# a mount of this site' | sudo tee -a /etc/ehos/execute.yaml >/dev/null && sudo systemctl \
                  disable --now ehos.timer 2>&1";
    on_master(change).ok();
    let edited_there = digest("execute.yaml");
    let template = project.path("configs/execute.yaml");
    let newer = fs::read_to_string(&template).unwrap() + "# of a newer version\n";
    fs::write(&template, newer).unwrap();
    for more in [&["-o", "json", "--dry-run"][..], &["-o", "json"]] {
        let answer = run(&mut project.deploy(more), b"");
        assert_eq!(answer.code, 0, "{answer:#?}");
        let report: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        let files = report["files"].as_array().unwrap();
        let execute = files
            .iter()
            .find(|file| file["path"] == "/etc/ehos/execute.yaml")
            .unwrap();
        assert_eq!(execute["change"], "new-beside");
        let difference = execute["difference"].as_str().unwrap();
        assert!(
            difference.contains("-# a mount of this site"),
            "{difference}"
        );
        assert!(difference.contains("+# of a newer version"), "{difference}");
        assert_eq!(digest("execute.yaml"), edited_there);
    }
    let beside = on_master("sudo tail -n 1 /etc/ehos/execute.yaml.ehos-new").ok();
    assert_eq!(beside.trim(), "# of a newer version");
    let timer = on_master("systemctl is-enabled ehos.timer; systemctl is-active ehos.timer");
    assert_eq!(timer.stdout, "disabled\ninactive\n");

    step("a package in the place of the one that the deploy made");
    let version = || on_master("dpkg-query -W -f '${Version} ${Status}' ehos").ok();
    let deployed = concat!(env!("CARGO_PKG_VERSION"), "-0deploy install ok installed");
    assert_eq!(version(), deployed);
    on_master(
        "sudo dpkg --verify ehos && dpkg -S /usr/bin/ehos /usr/lib/systemd/system/ehos@.timer",
    )
    .ok();
    let package = crate::package::debian(env!("CARGO_PKG_VERSION"));
    let answer = run(
        &mut project.deploy(&["-o", "json", "--package", package.to_str().unwrap()]),
        b"",
    );
    assert_eq!(answer.code, 0, "{answer:#?}");
    let packaged = concat!(env!("CARGO_PKG_VERSION"), "-1 install ok installed");
    assert_eq!(version(), packaged);
    assert_eq!(digest("execute.yaml"), edited_there);
    let timer = on_master("systemctl is-enabled ehos.timer; sudo ls -A /root");
    assert!(timer.stdout.starts_with("disabled\n"), "{timer:#?}");
    assert!(!timer.stdout.contains(".ehos-new"), "{timer:#?}");

    step("a tick as root is refused, and leaves nothing");
    let as_root = on_master("sudo ehos tick");
    assert_eq!(as_root.code, 74, "{as_root:#?}");
    assert!(
        as_root.stderr.contains("sudo -u ehos ehos tick"),
        "{as_root:#?}"
    );
    let foreign = on_master("sudo find /var/lib/ehos ! -user ehos").ok();
    assert_eq!(foreign, "");
    step("done");
}
