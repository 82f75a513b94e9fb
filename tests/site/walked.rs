//! README.md, docs/quickstart.md and docs/install.md, walked as a new user: the very commands of their code blocks, in order, on
//! a bare machine that has a clone, the binary and an entry of clouds.yaml, and on the central manager that the quick start makes.
//!
//! Each block has a place here. One that has none fails the test: a page cannot get a command that nobody has run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::machines::{Answer, Nova, Server, Testbed, run, step};

const MACHINE: &str = "walked-bare";
const USER: &str = "newcomer";
/// The entry of clouds.yaml that the quick start uses.
const CLOUD: &str = "ehos-appcred";

/// The code blocks of a page: lines that are indented by four columns, not by more, which is output or goes on a line that
/// ends with a backslash.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let mut blocks: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        let goes_on = is_open && blocks.last().is_some_and(|block| block.ends_with('\\'));
        let command = line
            .strip_prefix("    ")
            .filter(|rest| goes_on || !rest.starts_with("    "));
        match command.filter(|rest| !rest.is_empty()) {
            Some(command) if is_open => {
                let block = blocks.last_mut().unwrap();
                *block += "\n";
                *block += command;
            }
            Some(command) => blocks.push(command.to_owned()),
            None => {}
        }
        is_open = command.is_some();
    }
    blocks
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Not run here, with the reason.
    Elsewhere(&'static str),
    /// On the bare machine, in the clone.
    Bare,
    /// On the central manager, as the user that logs in.
    Manager,
    /// There too, for a few seconds: it follows.
    Follows,
    /// There, at a terminal.
    Terminal,
    /// There, in a folder with the configuration of that pool.
    Folder,
    /// Lines for a configuration file of HTCondor there.
    Condor,
    /// A line for cron: its command, there.
    Cron,
    /// On the bare machine, as root.
    Root,
}

/// The blocks of docs/quickstart.md, by their first words.
const QUICKSTART: [(&str, Place); 10] = [
    (
        "openstack application credential create",
        Place::Elsewhere("the testbed has one"),
    ),
    ("cargo build", Place::Elsewhere("scripts/test has built it")),
    ("ehos config init", Place::Bare),
    ("ehos cloud setup", Place::Bare),
    ("ehos check", Place::Bare),
    ("ehos image build", Place::Bare),
    ("ehos master deploy", Place::Bare),
    ("condor_submit", Place::Manager),
    ("journalctl -fu ehos", Place::Follows),
    ("condor_status", Place::Manager),
];

/// Those of README.md.
const README: [(&str, Place); 5] = [
    (
        "$ ehos tick --dry-run",
        Place::Elsewhere("scripts/demo prints it"),
    ),
    (
        "scripts/demo",
        Place::Elsewhere("scripts/demo has its own test"),
    ),
    (
        "ehos config init",
        Place::Elsewhere("the five commands of the quick start"),
    ),
    ("sudo -u ehos ehos status --watch", Place::Follows),
    (
        "daemon:",
        Place::Elsewhere("a configuration, which tests/cli checks"),
    ),
];

/// Those of docs/install.md. The quick start has made the pool whose central manager runs them.
const INSTALL: [(&str, Place); 20] = [
    (
        "scripts/package deb rpm musl",
        Place::Elsewhere("package.rs builds and installs each package"),
    ),
    ("ALLOW_ADVERTISE_STARTD", Place::Condor),
    ("COLLECTOR_UPDATE_INTERVAL", Place::Condor),
    ("sudo condor_reconfig", Place::Manager),
    ("(umask 077; head -c 48", Place::Root),
    (
        "ehos config init --os-cloud MY_CLOUD -o ehos.yaml",
        Place::Elsewhere("the commands of the quick start, with --config"),
    ),
    (
        "condor:",
        Place::Elsewhere("a configuration, which tests/cli checks"),
    ),
    ("sudo install -m 640 -g ehos ehos.yaml", Place::Folder),
    (
        "sudo systemctl enable --now ehos@blue.timer",
        Place::Elsewhere("package.rs has two pools on one host"),
    ),
    (
        "ehos config init --os-cloud MY_CLOUD -o /etc/ehos/ehos.yaml",
        Place::Elsewhere("tests/cli/config_init.rs; /etc/ehos/ehos.yaml exists there"),
    ),
    (
        "[Service]",
        Place::Elsewhere("a drop-in, as the one that config init writes"),
    ),
    ("sudo systemd-run --pty", Place::Terminal),
    ("* * * * * ehos", Place::Cron),
    (
        "openstack server create --wait --flavor FLAVOR --image IMAGE",
        Place::Elsewhere("image.rs; the machine has no openstack client"),
    ),
    (
        "openstack server stop ehos-base",
        Place::Elsewhere("as above"),
    ),
    (
        "ehos config render master.yaml",
        Place::Elsewhere("machines.rs makes its central managers in this way"),
    ),
    (
        "scp target/package/out",
        Place::Elsewhere("package.rs installs each package"),
    ),
    (
        "sudo install -m 640 -g ehos configs/MY_CLOUD.secret",
        Place::Elsewhere("the same command as in the section before"),
    ),
    ("sudo systemctl enable --now ehos.timer", Place::Manager),
    (
        "sudo -u ehos ehos config render execute.yaml",
        Place::Elsewhere("templates.rs; the machine has no openstack client"),
    ),
];

fn placed(page: &str, places: &[(&str, Place)]) -> Vec<(String, Place)> {
    let place = |block: String| {
        let found = places.iter().find(|(begin, _)| block.starts_with(begin));
        let place = found
            .unwrap_or_else(|| panic!("{page}: nobody runs this:\n{block}"))
            .1;
        (block, place)
    };
    blocks(page).into_iter().map(place).collect()
}

/// Runs without a testbed: each command of the pages has a place, and both have the same five.
#[test]
fn every_command_of_the_pages_has_a_place() {
    let quick = placed("docs/quickstart.md", &QUICKSTART);
    for (begin, _) in QUICKSTART {
        assert!(
            quick.iter().any(|(block, _)| block.starts_with(begin)),
            "{begin}"
        );
    }
    let install = placed("docs/install.md", &INSTALL);
    assert_eq!(install.len(), INSTALL.len(), "{install:#?}");
    let five: Vec<String> = quick
        .iter()
        .filter(|(_, place)| *place == Place::Bare)
        .map(|(block, _)| block.replace(CLOUD, "MY_CLOUD"))
        .collect();
    let readme = placed("README.md", &README);
    let of_readme = readme
        .iter()
        .find(|(block, _)| block.starts_with("ehos config init"));
    assert_eq!(of_readme.unwrap().0, five.join("\n"));
}

struct Walk {
    testbed: Testbed,
    nova: Nova,
    pool: Option<String>,
}

impl Walk {
    fn begin() -> Option<Walk> {
        let testbed = Testbed::find()?;
        let nova = Nova::new(&testbed.dir);
        let walk = Walk {
            testbed,
            nova,
            pool: None,
        };
        walk.clear();
        step("boots a bare machine");
        let message = "#cloud-config\nfinal_message: The EHOS vm is up after $UPTIME seconds\n";
        walk.testbed.boot(MACHINE, "Debian 13", message);
        let root = env!("CARGO_MANIFEST_DIR");
        let mut pack = Command::new("tar");
        pack.args(["-C", root, "-c", "scripts", "systemd", "configs"]);
        let clone = run(&mut pack, b"");
        assert_eq!(clone.code, 0, "{}", clone.stderr);
        walk.root(
            &format!("useradd --create-home --shell /bin/bash {USER}"),
            b"",
        );
        walk.bare(
            "mkdir -p ehos/target/release .config/openstack && tar -x -C ehos",
            clone.stdout.as_bytes(),
        )
        .ok();
        let binary = fs::read(testkit::program!()).unwrap();
        walk.bare(
            "cat >ehos/target/release/ehos && chmod 755 ehos/target/release/ehos",
            &binary,
        )
        .ok();
        let clouds = fs::read(walk.testbed.dir.join("openstack/clouds.yaml")).unwrap();
        walk.bare("umask 077; cat >.config/openstack/clouds.yaml", &clouds)
            .ok();
        walk.bare(
            "mkdir -m 700 .ssh && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519",
            b"",
        )
        .ok();
        Some(walk)
    }

    fn root(&self, script: &str, stdin: &[u8]) -> Answer {
        self.testbed.exec(MACHINE, &["sh", "-c", script], stdin)
    }

    /// As the new user, at home.
    fn bare(&self, script: &str, stdin: &[u8]) -> Answer {
        self.testbed
            .exec(MACHINE, &["su", "-", USER, "-c", script], stdin)
    }

    /// As the new user, in the clone.
    fn in_clone(&self, block: &str) -> Answer {
        // The alias of the page, for a shell that is not interactive.
        self.bare(
            &format!("cd ehos && ehos() {{ target/release/ehos \"$@\"; }} && {block}"),
            b"",
        )
    }

    /// The edit that the page asks for, and quick timers.
    fn edit(&mut self) {
        let daemon = "daemon: {idle_timeout: 20s, collector_grace: 10s, negotiation_cycle: 6s, nodes_max: 3}";
        // Of two networks that are alike, the order of their ids decides which one `config init` takes.
        let network = format!("clouds: {{{CLOUD}: {{network: machines}}}}");
        self.bare(
            &format!(
                "mkdir -p ehos/configs/ehos.d && printf '%s\\n' '{daemon}' '{network}' >ehos/configs/ehos.d/30-edit.yaml"
            ),
            b"",
        )
        .ok();
        let show = self.in_clone("ehos config show | grep -m1 'cluster'").ok();
        let word = |word: &&str| word.starts_with("pool-");
        let pool = show.split([' ', '"', '\n', '`']).find(word);
        self.pool = Some(
            pool.unwrap_or_else(|| panic!("no pool id: {show}"))
                .to_owned(),
        );
    }

    /// On the central manager, as the user that logs in.
    fn on_manager(&self, login: &str, command: &str) -> Answer {
        let quoted = command.replace('\'', "'\\''");
        self.in_clone(&format!("{login} -o BatchMode=yes '{quoted}'"))
    }

    /// Runs the commands of docs/install.md for which the machines have what they need.
    fn install(&self, login: &str) {
        let on_manager = |command: &str| self.on_manager(login, command);
        let secret = on_manager("sudo ls /etc/ehos").ok();
        let secret = secret.split_whitespace().find(|name| {
            let end = Path::new(name).extension();
            end.is_some_and(|end| end == "secret" || end == "password")
        });
        let secret = secret.expect("a file with the secret of the cloud");
        let domain = on_manager("condor_config_val TRUST_DOMAIN").ok();
        // What stands in for HTCondor where there is none.
        self.root("mkdir -p /etc/condor/passwords.d", b"").ok();
        let folder =
            "mkdir -p copies && cd copies && sudo cp -r /etc/ehos/ehos.yaml /etc/ehos/ehos.d";
        on_manager(&format!(
            "{folder} /etc/ehos/{secret} . && sudo chown -R $(id -un) ."
        ))
        .ok();
        for (block, place) in placed("docs/install.md", &INSTALL) {
            let block = block.replace("MY_CLOUD.secret", secret);
            step(&format!("{place:?}: {block}"));
            match place {
                Place::Elsewhere(_) => {}
                Place::Root => {
                    self.root(&block, b"").ok();
                }
                Place::Manager => {
                    on_manager(&block).ok();
                }
                Place::Condor => {
                    let lines = block.replace("TRUST_DOMAIN", domain.trim());
                    let write = "sudo tee -a /etc/condor/config.d/60-ehos.config";
                    on_manager(&format!("cat <<'END' | {write}\n{lines}\nEND\n")).ok();
                }
                Place::Folder => {
                    let answer = on_manager(&format!("set -e; cd copies; {block}"));
                    println!("{}{}", answer.stdout, answer.stderr);
                    // Warnings of a pool that has just lost its last node.
                    assert!([0, 1].contains(&answer.code), "{answer:#?}");
                }
                Place::Terminal => {
                    let file = "cat >at-a-terminal.sh";
                    on_manager(&format!("cat <<'END' | {file}\n{block}\nEND\n")).ok();
                    let answer =
                        on_manager("timeout 60 script -qec 'sh at-a-terminal.sh' /dev/null");
                    assert!(answer.stdout.contains("collector"), "{answer:#?}");
                }
                Place::Cron => {
                    let command = block.splitn(7, ' ').last().unwrap_or_default();
                    let answer = on_manager(&format!("sudo -u ehos {command}"));
                    assert_eq!((answer.code, &*answer.stdout), (0, ""), "{answer:#?}");
                }
                Place::Bare | Place::Follows => panic!("{place:?} is a place of the quick start"),
            }
        }
        let keys = "cmp /etc/condor/passwords.d/EHOS /etc/ehos/keys/EHOS && stat -c %a /etc/ehos/keys/EHOS";
        assert_eq!(self.root(keys, b"").ok().trim(), "600");
        let interval = on_manager("condor_config_val COLLECTOR_UPDATE_INTERVAL").ok();
        assert_eq!(interval.trim(), "5");
    }

    fn ours(&self) -> Vec<Server> {
        let mut servers = self.nova.servers();
        servers.retain(|server| {
            let pool = server.metadata.get("ehos_cluster");
            server.name == MACHINE || (pool.is_some() && pool == self.pool.as_ref())
        });
        servers
    }

    fn clear(&self) {
        for server in self.ours() {
            self.nova.delete(&server.id);
        }
        let Some(pool) = &self.pool else { return };
        let property = format!("ehos_cluster={pool}");
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
        for image in self.testbed.openstack(&list).lines() {
            self.testbed.openstack(&["image", "delete", image]);
        }
    }

    fn wait(&self, what: &str, seconds: u64, reached: impl Fn() -> bool) {
        step(&format!("waits until {what}"));
        let end = Instant::now() + Duration::from_secs(seconds);
        while !reached() {
            assert!(Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_secs(2));
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The words of a page's shell line, without its comment.
fn without_comment(line: &str) -> &str {
    line.split("  #").next().unwrap_or(line).trim()
}

#[test]
fn the_pages_are_walked_from_first_line_to_last() {
    let Some(mut walk) = Walk::begin() else {
        return;
    };
    let mut login = String::new();
    for (block, place) in placed("docs/quickstart.md", &QUICKSTART) {
        let on_manager = |command: &str| walk.on_manager(&login, command);
        step(&format!("{place:?}: {block}"));
        match place {
            Place::Elsewhere(_) => {}
            Place::Bare => {
                let answer = walk.in_clone(&block);
                println!("{}{}", answer.stdout, answer.stderr);
                // Warnings of steps that are still to come.
                let is_check = block == "ehos check";
                assert!(
                    answer.code == 0 || (is_check && answer.code == 1),
                    "{answer:#?}"
                );
                if block.starts_with("ehos config init") {
                    walk.edit();
                }
                let line = answer.stdout.lines().map(str::trim);
                if let Some(ssh) = line.filter_map(|line| line.strip_prefix("log in:")).next() {
                    login = ssh.trim().to_owned();
                }
            }
            Place::Manager => {
                assert!(login.starts_with("ssh "), "no login was printed");
                on_manager(&block).ok();
            }
            Place::Follows => {
                let answer = on_manager(&format!("timeout 20 sudo {block}"));
                assert!(answer.stdout.contains("queue"), "{answer:#?}");
            }
            other => panic!("{other:?} is a place of docs/install.md"),
        }
    }
    let on_manager = |command: &str| walk.on_manager(&login, command);
    walk.wait("both jobs have run", 300, || {
        let done = on_manager("condor_history -af JobStatus ExitCode").stdout;
        done.lines().filter(|line| line.trim() == "4 0").count() == 2
    });
    // README: the commands of every day.
    let history = on_manager("sudo sh -c \"cat /var/lib/ehos/history/*.jsonl\"").ok();
    let records = history
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let node = records
        .filter_map(|record: serde_json::Value| {
            Some(record["events"][0]["node"].as_str()?.to_owned())
        })
        .next()
        .expect("the life of a node");
    for (block, place) in placed("README.md", &README) {
        if place != Place::Follows {
            continue;
        }
        for line in block.lines().map(without_comment) {
            let line = line.replace("NODE", &node).replace("JOB", "1.0");
            // Else the program that sudo has started would outlive it.
            let sudo = if line.starts_with("sudo ") {
                ""
            } else {
                "sudo "
            };
            let answer = on_manager(&format!("timeout 5 {sudo}{line}"));
            println!("{line}: {}\n{}", answer.code, answer.stdout);
            assert!(
                [0, 1, 124].contains(&answer.code) && !answer.stdout.is_empty(),
                "{line}: {answer:#?}"
            );
        }
    }
    walk.install(&login);
    walk.wait("all nodes are gone", 300, || {
        let execute = |server: &&Server| {
            server
                .metadata
                .get("ehos_role")
                .is_some_and(|role| role == "execute")
        };
        walk.ours().iter().filter(execute).count() == 0
    });
}
