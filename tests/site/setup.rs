//! `ehos cloud setup` and `ehos check` against a real control plane: `EHOS_TEST_CLOUDS_YAML` names its clouds.yaml, as
//! for the tests of the OpenStack client. Keypair and security group have a name of this test alone, and are deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output};
use std::time::Duration;

use openstack::CloudSettings;
use openstack::auth::Session;
use openstack::{compute, network};
use serde_json::Value;
use system::deadline::Deadline;
use system::environment::Environment;

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(60))
}

struct Site {
    folder: tempfile::TempDir,
    name: String,
}

impl Site {
    fn new() -> Option<Site> {
        let Some(clouds) = std::env::var_os("EHOS_TEST_CLOUDS_YAML") else {
            println!("skipped: EHOS_TEST_CLOUDS_YAML does not name a clouds.yaml");
            return None;
        };
        let site = Site {
            folder: tempfile::tempdir().unwrap(),
            name: format!("site-setup-{}", process::id()),
        };
        fs::copy(PathBuf::from(clouds), site.path().join("clouds.yaml")).unwrap();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/execute.yaml");
        let config = format!(
            "ehos:\n  cluster: {0}\n  image: GOLD CentOS 7\n  flavors: [m1.small]\n  network: machines\n  key: {0}\n  \
             security_groups: [{0}]\n  userdata_file: {1}\ncondor:\n  host_ip: 10.77.0.1\n  trust_domain: testbed\n  \
             bin: /nonexistent\nclouds:\n  lab: {{cloud: ehos}}\n",
            site.name,
            template.display()
        );
        fs::write(site.path().join("ehos.yaml"), config).unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(site.path().join("id"))
            .status()
            .unwrap();
        assert!(made.success());
        Some(site)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = Command::new(testkit::program!())
            .args(args)
            .args(["--config", "ehos.yaml"])
            .current_dir(self.path())
            .env("OS_CLIENT_CONFIG_FILE", self.path().join("clouds.yaml"))
            .output()
            .unwrap();
        println!(
            "{args:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn setup(&self, more: &[&str]) -> String {
        let output = self.run(&[&["cloud", "setup", "--public-key", "id.pub"], more].concat());
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The outcome of each check of the cloud.
    fn check(&self) -> Vec<(String, String)> {
        let output = self.run(&["check", "-o", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["area"] == "cloud lab")
            .map(|finding| {
                let text = |field: &str| finding[field].as_str().unwrap().to_owned();
                (text("check"), text("outcome"))
            })
            .collect()
    }

    fn settings(&self) -> Vec<CloudSettings> {
        let mut environment = Environment::of_process();
        let clouds = self.path().join("clouds.yaml").display().to_string();
        environment
            .variables
            .insert("OS_CLIENT_CONFIG_FILE".to_owned(), clouds);
        environment.working_directory = self.path().to_owned();
        config::load(&[self.path().join("ehos.yaml")], &environment)
            .unwrap()
            .clouds
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for settings in self.settings() {
            let session = Session::new(&settings, Duration::from_secs(30), None).unwrap();
            let groups = network::security_groups(&session, soon()).unwrap();
            for group in groups.iter().filter(|group| group.name == self.name) {
                if let Err(error) = network::delete_security_group(&session, &group.id, soon()) {
                    eprintln!("left behind: {error}");
                }
            }
            if let Err(error) = compute::delete_keypair(&session, &self.name, soon()) {
                eprintln!("left behind: {error}");
            }
        }
    }
}

fn of(findings: &[(String, String)], check: &str) -> String {
    let found = findings.iter().find(|(name, _)| name == check);
    found.map(|(_, outcome)| outcome.clone()).unwrap()
}

#[test]
fn a_cloud_is_set_up_once_and_checked() {
    let Some(site) = Site::new() else {
        return;
    };
    let before = site.check();
    assert_eq!(of(&before, "key"), "failed");
    assert_eq!(of(&before, "security-groups"), "failed");

    assert!(
        site.setup(&["--dry-run"])
            .contains("lab: would: make security group")
    );
    assert_eq!(site.check(), before, "a dry run makes nothing");
    assert_eq!(site.setup(&[]).matches("lab: done: ").count(), 6);
    assert_eq!(site.setup(&[]), "lab: nothing to do\n");
    assert_eq!(
        site.setup(&["--external"]).matches("lab: done: ").count(),
        2
    );
    assert_eq!(site.setup(&["--external"]), "lab: nothing to do\n");

    let after = site.check();
    for check in [
        "login",
        "credentials",
        "clock",
        "region",
        "flavors",
        "key",
        "networks",
        "security-groups",
        "port-9618",
        "egress",
        "ssh",
        "quota",
        "user-data",
    ] {
        assert_eq!(of(&after, check), "ok", "{check}");
    }
    assert_eq!(
        of(&after, "image"),
        "warning",
        "not made by ehos image build"
    );
}
