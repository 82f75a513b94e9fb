//! The packages of scripts/package: a Debian package in a machine with systemd, from its installation to its purge, with two
//! pools on that host; an RPM in a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machines::{Answer, Nova, Testbed, config, run, step, wait};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const HOST: &str = "story-package";
const USER_DATA: &str = "#cloud-config\nfinal_message: The EHOS vm is up after $UPTIME seconds\n";

/// Builds a package of the program of these tests.
fn build(kind: &str, version: &str) -> PathBuf {
    let script = Path::new(PROJECT).join("scripts/package");
    let mut command = Command::new(script);
    command.args([kind, "--binary", testkit::program!()]);
    command.args(["--version", version]);
    run(&mut command, b"").ok();
    let out = Path::new(PROJECT).join("target/package/out");
    let files = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_it = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.contains(version) && name.ends_with(kind)
    };
    files.into_iter().find(is_it).unwrap()
}

/// Builds the Debian package of this version.
pub fn debian(version: &str) -> PathBuf {
    build("deb", version)
}

/// A machine that is nothing but Debian.
struct Host {
    testbed: Testbed,
    nova: Nova,
}

impl Host {
    fn up() -> Option<Host> {
        let testbed = Testbed::find()?;
        let nova = Nova::new(&testbed.dir);
        let host = Host { testbed, nova };
        host.clear();
        step("boots the machine");
        host.testbed.boot(HOST, "Debian 13", USER_DATA);
        // The testbed's machines have no documentation.
        host.sh("rm -f /etc/dpkg/dpkg.cfg.d/testbed").ok();
        Some(host)
    }

    fn clear(&self) {
        for server in self.nova.servers().iter().filter(|one| one.name == HOST) {
            self.nova.delete(&server.id);
        }
    }

    fn run(&self, args: &[&str], stdin: &[u8]) -> Answer {
        self.testbed.exec(HOST, args, stdin)
    }

    fn sh(&self, script: &str) -> Answer {
        self.run(&["sh", "-c", script], b"")
    }

    fn install(&self, package: &Path) -> String {
        let bytes = fs::read(package).unwrap();
        self.run(&["sh", "-c", "cat >/root/ehos.deb"], &bytes).ok();
        self.sh("dpkg -i /root/ehos.deb 2>&1").ok()
    }

    /// Files of ehos, and its user.
    fn left(&self) -> BTreeSet<String> {
        let find = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root \\) -prune \
                    -o -name '*ehos*' -print; getent passwd ehos || true";
        let found = self.sh(find).ok();
        // The machine's own.
        let is_ours = |line: &&str| !line.contains("/etc/host") && !line.contains("cloud");
        found.lines().filter(is_ours).map(str::to_owned).collect()
    }

    fn enabled(&self, unit: &str) -> String {
        self.sh(&format!("systemctl is-enabled {unit}"))
            .stdout
            .trim()
            .to_owned()
    }

    fn active(&self, unit: &str) -> String {
        self.sh(&format!("systemctl is-active {unit}"))
            .stdout
            .trim()
            .to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::env::var_os("EHOS_STORY_KEEP").is_none() {
            self.clear();
        }
    }
}

#[test]
fn a_debian_package_from_its_installation_to_its_purge() {
    let Some(host) = Host::up() else {
        return;
    };
    let (first, second) = (debian("0.0.8"), debian("0.0.9"));
    if run(&mut lintian("--version", Path::new("")), b"").code == 0 {
        run(&mut lintian("--fail-on=error", &first), b"").ok();
    }

    step("installs");
    host.install(&first);
    let version = host.sh("ehos --version").ok();
    assert!(version.starts_with("ehos "), "{version}");
    let page = host.sh("zcat /usr/share/man/man1/ehos-tick.1.gz").ok();
    assert!(page.contains("EXAMPLES"), "{page}");
    let listed = host.sh("dpkg -L ehos").ok();
    for file in [
        "/usr/lib/systemd/system/ehos@.timer",
        "/usr/share/bash-completion/completions/ehos",
        "/usr/share/doc/ehos/sbom.cdx.json.gz",
        "/usr/share/doc/ehos/third-party-licences.gz",
        "/usr/share/ehos/ehos.yaml.example",
    ] {
        assert!(
            listed.lines().any(|line| line == file),
            "no {file} in {listed}"
        );
    }
    host.sh("dpkg --verify ehos && dpkg --audit").ok();
    let folders = host.sh("stat -c '%n %U %a' /etc/ehos /var/lib/ehos").ok();
    assert_eq!(folders, "/etc/ehos root 755\n/var/lib/ehos ehos 711");
    assert_eq!(host.enabled("ehos.timer"), "disabled");
    step("no tick runs without a configuration");
    let tick = host.sh("systemctl start ehos; systemctl show -p ExecMainStatus --value ehos");
    assert_eq!(tick.stdout.trim(), "78", "{tick:#?}");

    two_pools(&host);

    step("an upgrade keeps the configuration and what runs");
    let edited = "/etc/ehos/one/ehos.yaml";
    let before = host
        .sh(&format!("sha256sum {edited}; stat -c '%U:%G %a' {edited}"))
        .ok();
    let drop_in = "[Service]\nNice=5\n";
    let write = "mkdir -p /etc/systemd/system/ehos@.service.d; cat >/etc/systemd/system/ehos@.service.d/site.conf";
    host.run(&["sh", "-c", write], drop_in.as_bytes()).ok();
    let page = host
        .sh("systemctl show -p MainPID --value ehos-frontend@one")
        .ok();
    let said = host.install(&second);
    assert!(said.contains("0.0.8") && said.contains("0.0.9"), "{said}");
    let after = host
        .sh(&format!("sha256sum {edited}; stat -c '%U:%G %a' {edited}"))
        .ok();
    assert_eq!(before, after);
    let nice = host
        .sh("systemctl show -p Nice --value ehos@one.service")
        .ok();
    assert_eq!(nice, "5");
    assert_eq!(host.enabled("ehos@one.timer"), "enabled");
    assert_eq!(host.active("ehos@one.timer"), "active");
    let new_page = host
        .sh("systemctl show -p MainPID --value ehos-frontend@one")
        .ok();
    assert_ne!(page, new_page, "the page of the version before still runs");

    step("a removal leaves configuration and state");
    host.sh("dpkg --remove ehos").ok();
    assert_eq!(host.active("ehos@one.timer"), "inactive");
    assert_ne!(host.active("ehos-frontend@one"), "active");
    host.sh("test ! -e /usr/bin/ehos && test -e /var/lib/ehos/one/state.json && test -e /etc/ehos/one/ehos.yaml")
        .ok();
    step("an installation after it finds them");
    host.install(&second);
    assert_eq!(host.enabled("ehos@one.timer"), "enabled");
    host.sh("systemctl start ehos@one.timer ehos@one.service")
        .ok();

    step("a purge leaves the files of the site, and the user");
    host.sh("dpkg --purge ehos").ok();
    let left = host.left();
    let user = left
        .iter()
        .filter(|line| line.starts_with("ehos:x:"))
        .count();
    let files: Vec<&String> = left.iter().filter(|line| line.starts_with('/')).collect();
    let is_of_site = |file: &&&String| {
        file.starts_with("/etc/ehos") || file.starts_with("/etc/systemd/system/ehos@.service.d")
    };
    let more: Vec<_> = files.iter().filter(|file| !is_of_site(file)).collect();
    assert_eq!((user, more.len()), (1, 0), "{left:#?}");
    host.sh("rm -r /etc/ehos /etc/systemd/system/ehos@.service.d")
        .ok();
    host.install(&second);
    host.sh("dpkg --purge ehos && test ! -e /etc/ehos && test ! -e /var/lib/ehos")
        .ok();
    step("done");
}

fn lintian(flag: &str, package: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "command -v lintian >/dev/null && exec lintian $0 $1"]);
    command.arg(flag).arg(package);
    command
}

/// Two pools of one host tick by timers of their own, keep states of their own, and show pages of their own.
fn two_pools(host: &Host) {
    step("two pools on one host");
    for (pool, port) in [("one", 5001), ("two", 5002)] {
        let yaml = config("demo.yaml").replace("cluster: demo", &format!("cluster: {pool}"));
        let write = format!(
            "install -d -m 750 -g ehos /etc/ehos/{pool} && cat >/etc/ehos/{pool}/ehos.yaml && chgrp ehos \
             /etc/ehos/{pool}/ehos.yaml && chmod 640 /etc/ehos/{pool}/ehos.yaml && \
             echo LISTEN=127.0.0.1:{port} >/etc/ehos/{pool}/frontend.env"
        );
        host.run(&["sh", "-c", &write], yaml.as_bytes()).ok();
        // systemd starts the service before the timer does.
        host.sh(&format!("systemctl start ehos@{pool}.service"))
            .ok();
        host.sh(&format!(
            "systemctl enable --now ehos@{pool}.timer ehos-frontend@{pool} 2>&1"
        ))
        .ok();
        assert_eq!(host.active(&format!("ehos@{pool}.path")), "active");
    }
    for (pool, port) in [("one", 5001), ("two", 5002)] {
        let last = format!("/var/lib/ehos/{pool}/history/last.json");
        let json = host.sh(&format!("cat {last}")).ok();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["exit"], 0, "{json:#}");
        let url = format!(
            "runuser -u ehos -- ehos frontend --url --state-dir /var/lib/ehos/{pool} --listen 127.0.0.1:{port}"
        );
        let url = host.sh(&url).ok();
        assert!(url.contains(&format!("http://127.0.0.1:{port}/")), "{url}");
        let get = format!(
            "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/healthz', timeout=5).status)"
        );
        wait(&format!("the page of {pool}"), 60, || {
            host.run(&["python3", "-c", &get], b"").stdout.trim() == "200"
        });
    }
    let ticks = |pool: &str| {
        let lines = format!("cat /var/lib/ehos/{pool}/history/*.jsonl | wc -l");
        host.sh(&lines).ok().parse::<u32>().unwrap()
    };
    wait("each timer to tick", 150, || {
        ticks("one") > 1 && ticks("two") > 1
    });
    // Errors have their level in the journal, and nothing of the sandbox failed.
    let journal = host
        .sh("journalctl -u 'ehos@*' -u 'ehos-soon@*' -p err -q -o cat --no-pager")
        .ok();
    assert_eq!(journal, "");
    let foreign = host.sh("find /var/lib/ehos ! -user ehos").ok();
    assert_eq!(foreign, "");
}

#[test]
fn an_rpm_has_what_a_distribution_expects() {
    // Not a test of every host: cargo-generate-rpm is built for it.
    if std::env::var_os("EHOS_TEST_MACHINES_DIR").is_none() {
        println!("skipped: EHOS_TEST_MACHINES_DIR names no testbed with machines");
        return;
    }
    let rpm = |args: &[&str]| run(Command::new("rpm").args(args), b"");
    if run(Command::new("sh").args(["-c", "command -v rpm"]), b"").code != 0 {
        println!("skipped: rpm is not installed");
        return;
    }
    let package = build("rpm", "0.0.8");
    let package = package.to_str().unwrap();
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    // The folder is no system: it has no libraries, and no shell for the scriptlets.
    rpm(&["--root", root, "--initdb"]).ok();
    rpm(&[
        "--root",
        root,
        "-i",
        "--nodeps",
        "--noscripts",
        "--ignorearch",
        package,
    ])
    .ok();
    assert_eq!(
        rpm(&["--root", root, "-q", "ehos"]).ok(),
        "ehos-0.0.8-1.x86_64"
    );
    rpm(&["--root", root, "-V", "--nodeps", "ehos"]).ok();

    let files = rpm(&[
        "-qp",
        "--queryformat",
        "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]",
        package,
    ])
    .ok();
    let has = |line: &str| assert!(files.lines().any(|it| it == line), "no {line} in {files}");
    has("-rwxr-xr-x root /usr/bin/ehos");
    has("-rw-r--r-- root /usr/lib/systemd/system/ehos.timer");
    has("-rw-r--r-- root /usr/lib/systemd/system/ehos@.service");
    has("-rw-r--r-- root /usr/lib/sysusers.d/ehos.conf");
    has("-rw-r--r-- root /usr/lib/tmpfiles.d/ehos.conf");
    has("-rw-r--r-- root /usr/share/man/man1/ehos-tick.1.gz");
    has("-rw-r--r-- root /usr/share/zsh/site-functions/_ehos");
    has("-rw-r--r-- root /usr/share/doc/ehos/LICENSE");
    has("-rw-r--r-- root /usr/share/doc/ehos/sbom.cdx.json.gz");
    assert!(!files.contains(" /etc/"), "{files}");
    let requires = rpm(&["-qp", "--requires", package]).ok();
    assert!(requires.contains("systemd >= 243"), "{requires}");
    assert!(requires.contains("libc.so.6(GLIBC_"), "{requires}");

    let scripts = rpm(&["-qp", "--scripts", package]).ok();
    for words in [
        "postinstall scriptlet",
        "systemd-sysusers ehos.conf",
        "systemd-tmpfiles --create ehos.conf",
        "preuninstall scriptlet",
        "postuninstall scriptlet",
    ] {
        assert!(scripts.contains(words), "no {words} in {scripts}");
    }
    for name in ["post.sh", "preun.sh", "postun.sh"] {
        let file = Path::new(PROJECT).join("packaging/rpm").join(name);
        run(Command::new("sh").arg("-n").arg(file), b"").ok();
    }
    rpm(&["--root", root, "-e", "--noscripts", "ehos"]).ok();
    // A scriptlet, which has no shell here, deletes the folders.
    let find = [root, "-type", "f", "-name", "*ehos*"];
    let left = run(Command::new("find").args(find), b"").ok();
    assert_eq!(left, "");
}
