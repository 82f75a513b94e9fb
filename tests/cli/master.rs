//! `ehos master deploy`: the central manager is made, watched, reached over SSH and marked; what fails is cleaned up;
//! what is ready is never deleted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::double::{Double, Line, Received, Reply, always, once};
use crate::harness::cloud::{self, CREATE, SERVER_ID, SERVERS};
use crate::harness::{PASSWORD, POOL_PASSWORD, Run, Site, repository};

/// What the fake `ssh` does on a master where all goes well: it keeps what it is given.
pub const WELL: &str = r#"
for script; do :; done
case $script in
    *'id -u'*) echo 1000 ;;
    *'cat >'*) n=$(ls "$dir" | grep -c '^put'); echo "$script" >"$dir/put$n"; cat >>"$dir/put$n" ;;
    *--version*) echo 'ehos 9.9.9' ;;
    *'systemctl start ehos.service'*) printf '0\nplan     nothing to do\n' ;;
esac"#;

/// What the fake `ssh` does on a master whose files are in the folder `root`: it really deals with them, and with a timer
/// whose state is in the file `timer`.
const IN_A_FOLDER: &str = r#"
for script; do :; done
root=$dir/root; mkdir -p "$root"
there() {
    sh -c "$(printf %s "$script" | sed "s|/etc/ehos|$root/etc/ehos|g; s|/usr/|$root/usr/|g; \
        s|/var/lib/ehos|$root/var/lib/ehos|g; s|chown root:[a-z]* |: |g")"
}
case $script in
    *'id -u'*) echo 0 ;;
    *'cat >'* | *is-enabled*) there ;;
    *--version*) echo 'ehos 9.9.9' ;;
    *'systemctl start ehos.service'*)
        mkdir -p "$root/var/lib/ehos"; : >"$root/var/lib/ehos/state.json"
        echo ticked >>"$dir/ticks"; printf '0\nplan     nothing to do\n' ;;
esac"#;

/// A server that is this pool's central manager.
fn master(status: &str, more: &[(&str, &str)]) -> Value {
    let mut metadata = json!({"ehos_cluster": "pool-1", "ehos_role": "master"});
    for (key, value) in more {
        metadata[*key] = json!(value);
    }
    let created = "2026-11-22T10:31:13Z";
    let server = json!({
        "id": SERVER_ID, "name": "ehos-v1-master", "status": status, "created": created, "metadata": metadata,
    });
    cloud::signed(server, created.parse().unwrap())
}

fn listed(servers: &[Value]) -> Reply {
    Reply::status(200, &json!({ "servers": servers }).to_string())
}

fn then(servers: &[Value]) -> Line {
    once("GET", SERVERS, listed(servers))
}

fn from_then_on(servers: &[Value]) -> Line {
    always("GET", SERVERS, listed(servers))
}

fn action() -> String {
    format!("{CREATE}/{SERVER_ID}/action")
}

fn says_on_console(text: &str) -> Line {
    let body = json!({ "output": text }).to_string();
    always("POST", &action(), Reply::status(200, &body))
}

/// The console of a real machine.
fn booted() -> Line {
    let file = "tests/fixtures/console/host-keys-debian-13.txt";
    says_on_console(&fs::read_to_string(repository().join(file)).unwrap())
}

fn shown() -> Reply {
    let mut server = master("ACTIVE", &[]);
    server["addresses"] = json!({"dualStack": [
        {"addr": "2001:db8::7", "version": 6, "OS-EXT-IPS:type": "fixed"},
        {"addr": "10.0.0.7", "version": 4, "OS-EXT-IPS:type": "fixed"},
    ]});
    server["image"] = json!({"id": "image"});
    Reply::status(200, &json!({ "server": server }).to_string())
}

/// What a server is asked for that is there.
fn details() -> Vec<Line> {
    let path = format!("{CREATE}/{SERVER_ID}");
    let marked = Reply::status(200, r#"{"metadata": {}}"#);
    vec![
        always("POST", &format!("{path}/metadata"), marked),
        always("GET", &path, shown()),
    ]
}

/// A cloud in which a master comes about, with these lines before.
fn cloud_with(first: Vec<Line>) -> Double {
    let lines = first.into_iter().chain(details());
    Double::start(cloud::script(lines.collect()))
}

/// A cloud without a master: one that is asked for is there at once.
pub fn empty_cloud(first: Vec<Line>) -> Double {
    let made = vec![then(&[]), then(&[master("BUILD", &[])])];
    let made = first.into_iter().chain(made);
    cloud_with(
        made.chain([from_then_on(&[master("ACTIVE", &[])]), booted()])
            .collect(),
    )
}

/// A server that is gone when it has been asked for its details so often.
fn gone_after(looks: usize) -> Vec<Line> {
    let path = format!("{CREATE}/{SERVER_ID}");
    let body = r#"{"itemNotFound": {"code": 404, "message": "Instance could not be found."}}"#;
    let mut lines: Vec<Line> = (0..looks).map(|_| once("GET", &path, shown())).collect();
    lines.push(always("GET", &path, Reply::status(404, body)));
    lines
}

pub fn site(double: &Double, ssh: &str) -> Site {
    let site = Site::with_cloud(double.url()).set("EHOS_POLL_SECONDS", "0.02");
    let replay = repository().join("tests/fixtures/condor/replay");
    symlink(replay, site.tools().join("ssh")).unwrap();
    let dir = site.tools().display().to_string();
    site.script("ssh", "any", &format!("dir={dir}\n{ssh}"))
}

pub fn deploy(site: &Site, more: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let template = repository().join("configs/master.yaml");
    let args: Vec<PathBuf> = ["master", "deploy", "--config"]
        .map(PathBuf::from)
        .into_iter()
        .chain([
            config,
            "--state-dir".into(),
            state,
            "--master".into(),
            template,
        ])
        // The program itself is large.
        .chain(["--binary".into(), "/bin/true".into()])
        .chain(more.iter().map(PathBuf::from))
        .collect();
    site.run(&args)
}

/// The files that came to the master: the script that wrote each, and what it held.
fn put(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    while let Ok(text) = fs::read(site.tools().join(format!("put{}", found.len()))) {
        found.push(String::from_utf8_lossy(&text).into_owned());
    }
    found
}

fn asked(double: &Double) -> Received {
    let received = double.received();
    let create = |request: &&Received| request.method == "POST" && request.target == CREATE;
    received.iter().find(create).cloned().unwrap()
}

fn deletes(double: &Double) -> usize {
    double.count("DELETE", &format!("{CREATE}/{SERVER_ID}"))
}

#[test]
fn a_master_is_made_installed_and_marked() {
    let double = empty_cloud(vec![]);
    let site = site(&double, WELL);
    let run = deploy(&site, &[]);
    run.exits(0)
        .says("the central manager ehos-v1-master")
        .says("is ready: 2001:db8::7, 10.0.0.7")
        .says("ehos 9.9.9")
        .says("plan     nothing to do")
        .says("debian@10.0.0.7")
        .says("condor_submit");
    assert_eq!(double.count("POST", CREATE), 1 + console_looks(&double) + 1);

    // Its user data is for every user there: no secret is in it, in whatever form.
    let server = &asked(&double).json()["server"];
    assert_eq!(server["metadata"]["ehos_role"], "master");
    assert_eq!(server["key_name"], "ehos");
    let text = |base64: &str| String::from_utf8(BASE64.decode(base64).unwrap()).unwrap();
    let user_data = text(server["user_data"].as_str().unwrap());
    let carried: Vec<String> = user_data
        .lines()
        .filter_map(|line| line.trim().strip_prefix("content: \""))
        .map(|content| text(content.trim_end_matches('"')))
        .collect();
    assert_eq!(carried.len(), 2, "{user_data}");
    assert!(carried[1].contains("cluster: pool-1"), "{}", carried[1]);
    assert!(carried[0].contains("#cloud-config"), "{}", carried[0]);
    for text in carried.iter().chain([&user_data]) {
        assert!(
            !text.contains(PASSWORD) && !text.contains(POOL_PASSWORD),
            "{text}"
        );
    }
    assert!(user_data.contains("TRUST_DOMAIN = testbed"), "{user_data}");

    // The secrets went in by standard input, to files that only ehos reads.
    let put = put(&site);
    let secret = put.iter().find(|file| file.contains("lab.password"));
    let secret = secret.unwrap_or_else(|| panic!("{put:#?}"));
    assert!(
        secret.contains(PASSWORD) && secret.contains("chmod 640"),
        "{secret}"
    );
    assert!(secret.contains("chown root:ehos"), "{secret}");
    for name in [
        "/usr/bin/ehos",
        "ehos.service",
        "ehos.timer",
        "ehos.path",
        "ehos-soon.service",
        "ehos-frontend.service",
        "sysusers.d",
    ] {
        assert!(
            put.iter().any(|file| file.contains(name)),
            "{name} in {put:#?}"
        );
    }
    let calls = site.calls();
    assert!(calls.contains("enable --now ehos.timer"), "{calls}");
    assert!(calls.contains("sudo -n"), "{calls}");

    // The host keys are those of the console, under a name that no other server has.
    let known = fs::read_to_string(site.state().join("known_hosts")).unwrap();
    assert_eq!(known.lines().count(), 3, "{known}");
    assert!(
        known.contains(&format!("{SERVER_ID} ssh-ed25519 AAAA")),
        "{known}"
    );

    let marks = double.received();
    let mark = marks
        .iter()
        .find(|request| request.target.ends_with("/metadata"));
    let mark = mark.unwrap().json();
    assert!(mark["metadata"]["ehos_ready"].is_string(), "{mark}");
    assert_eq!(mark["metadata"]["ehos_login"], "debian");
    let key = mark["metadata"]["ehos_host_key"].as_str().unwrap();
    assert!(key.starts_with("ssh-ed25519 AAAA"), "{key}");
    assert_eq!(deletes(&double), 0);
}

fn console_looks(double: &Double) -> usize {
    double.count("POST", &action())
}

#[test]
fn a_leftover_of_the_same_files_goes_on() {
    let double = empty_cloud(vec![]);
    let site = site(&double, WELL);
    deploy(&site, &[]).exits(0);
    let digest = asked(&double).json()["server"]["metadata"]["ehos_digest"].clone();
    let digest = digest.as_str().unwrap();

    // As if that run had been killed before it marked the server.
    let before = double.count("POST", CREATE) - console_looks(&double);
    let left = master("ACTIVE", &[("ehos_digest", digest)]);
    let lines = vec![from_then_on(&[left]), booted()];
    double.play(cloud::script(lines.into_iter().chain(details()).collect()));
    deploy(&site, &[]).exits(0).says("is ready");
    // One more mark, and no create.
    let after = double.count("POST", CREATE) - console_looks(&double);
    assert_eq!(after, before + 1);
    assert_eq!(deletes(&double), 0);
}

#[test]
fn a_leftover_of_other_files_or_one_that_failed_is_made_anew() {
    for left in [
        master("ACTIVE", &[("ehos_digest", "another")]),
        master("ERROR", &[]),
    ] {
        let mut left = left;
        left["fault"] = json!({"code": 500, "message": "No valid host was found. "});
        let double = empty_cloud(vec![then(&[left])]);
        let site = site(&double, WELL);
        deploy(&site, &[]).exits(0).warns("deletes ehos-v1-master");
        assert_eq!(deletes(&double), 1);
        assert_eq!(asked(&double).json()["server"]["name"], "ehos-v1-master");
    }
}

/// A master that a deploy has marked as ready.
fn ready() -> Value {
    let marks = [
        ("ehos_ready", "2026-11-22T10:40:00Z"),
        ("ehos_login", "debian"),
        ("ehos_host_key", "ssh-ed25519 AAAAtrue"),
    ];
    master("ACTIVE", &marks)
}

fn known_hosts(site: &Site) -> String {
    fs::read_to_string(site.state().join("known_hosts")).unwrap_or_default()
}

#[test]
fn a_user_of_a_ready_master_tells_neither_its_host_key_nor_who_logs_in() {
    // The kernel writes the names of programs that crash to the console, and users choose those.
    let crash = |name: &str| {
        format!("[ 99.0] x[7]: segfault at 0 ip 0 sp 0 error 4 in {name} [1000+1000]\n")
    };
    let forged = [
        "-----BEGIN SSH HOST KEY KEYS-----",
        "ssh-ed25519 AAAAforged",
        "-----END SSH HOST KEY KEYS-----",
        "Authorized keys from me for user mallory",
    ];
    let forged: String = forged.into_iter().map(crash).collect();
    let double = cloud_with(vec![from_then_on(&[ready()]), says_on_console(&forged)]);

    let elsewhere = site(&double, WELL);
    deploy(&elsewhere, &[]).exits(0).says("debian@10.0.0.7");
    assert_eq!(
        known_hosts(&elsewhere),
        format!("{SERVER_ID} ssh-ed25519 AAAAtrue\n")
    );
    assert!(
        !elsewhere.calls().contains("mallory"),
        "{}",
        elsewhere.calls()
    );

    // What is known here counts before all.
    let here = site(&double, WELL);
    let known = format!("{SERVER_ID} ssh-ed25519 AAAAlearnt\n");
    fs::create_dir_all(here.state()).unwrap();
    fs::write(here.state().join("known_hosts"), &known).unwrap();
    deploy(&here, &[]).exits(0);
    assert_eq!(known_hosts(&here), known);

    // One whose key nobody has kept is not believed.
    let mut bare = ready();
    bare["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ehos_host_key");
    let double = cloud_with(vec![from_then_on(&[bare]), says_on_console(&forged)]);
    let careful = site(&double, WELL);
    deploy(&careful, &[]).exits(1).warns("--accept-host-key");
    assert_eq!(careful.calls(), "");
    assert_eq!(deletes(&double), 0);
}

#[test]
fn one_that_is_ready_is_installed_again_and_never_deleted() {
    let ready = ready();
    let double = cloud_with(vec![from_then_on(&[ready]), booted()]);
    let well = site(&double, WELL);
    deploy(&well, &[])
        .exits(0)
        .says("was there and ready")
        .says("is ready")
        // What it was made of is not what a new one would be made of.
        .never_says("domain testbed");
    assert!(put(&well).iter().any(|file| file.contains("lab.password")));
    let broken = site(
        &double,
        "echo 'debian@x: Permission denied (publickey).' >&2; exit 255",
    );
    deploy(&broken, &[])
        .exits(1)
        .warns("--identity")
        .warns("Its server was kept as it is");
    assert_eq!(double.count("POST", CREATE), console_looks(&double) + 1);
    assert_eq!(deletes(&double), 0);
}

/// A master that has been deployed into a folder, and is ready now; its timer is on.
fn deployed_in_a_folder() -> (Double, Site) {
    let double = empty_cloud(vec![]);
    let site = site(&double, IN_A_FOLDER);
    let replay = repository().join("tests/fixtures/condor/replay");
    symlink(replay, site.tools().join("systemctl")).unwrap();
    let timer = site.tools().join("timer");
    let site = site.script(
        "systemctl",
        "any",
        &format!(
            "read -r enabled active <{}; case $1 in is-enabled) echo $enabled ;; is-active) echo $active; [ $active = active ] ;; esac",
            timer.display()
        ),
    );
    fs::write(&timer, "enabled active\n").unwrap();
    deploy(&site, &[]).exits(0).never_says(".ehos-new");
    assert_eq!(turned_on(&site), 1);
    let lines = vec![from_then_on(&[ready()])];
    double.play(cloud::script(lines.into_iter().chain(details()).collect()));
    (double, site)
}

/// How often the timer was turned on.
fn turned_on(site: &Site) -> usize {
    let calls = site.calls();
    let enables = calls
        .lines()
        .filter(|line| *line == "systemctl enable --now ehos.timer");
    enables.count()
}

fn ticks(site: &Site) -> usize {
    let ticks = fs::read_to_string(site.tools().join("ticks")).unwrap_or_default();
    ticks.lines().count()
}

#[test]
fn what_was_edited_on_a_ready_master_is_kept_and_shown_beforehand() {
    let (_double, site) = deployed_in_a_folder();
    let there = |name: &str| site.tools().join("root/etc/ehos").join(name);
    let text = |name: &str| fs::read_to_string(there(name)).unwrap_or_default();
    let whole = text("execute.yaml");
    assert!(whole.contains("#cloud-config"), "{whole}");

    // Nothing is new, nothing was edited; ehos.yaml is its first boot's.
    deploy(&site, &["-n"])
        .exits(0)
        .says("which is ready")
        .never_says("execute.yaml")
        .says("the program: ehos 9.9.9 there");
    // What is not ehos's own stays as it is: ehos.yaml and its drop-ins.
    fs::create_dir(there("ehos.d")).unwrap();
    fs::write(there("ehos.d/60-site.yaml"), "daemon:\n  nodes_max: 7\n").unwrap();
    fs::write(there("ehos.yaml"), "ehos:\n  cluster: pool-1\n# mine\n").unwrap();
    fs::write(
        there("execute.yaml"),
        format!("{whole}# a mount of this site\n"),
    )
    .unwrap();
    let before: Vec<String> = ["execute.yaml", "ehos.yaml", ".installed"].map(text).into();
    let dry = deploy(&site, &["-n"]);
    dry.exits(0)
        .says("/etc/ehos/execute.yaml: would be kept as it was edited there\n")
        .says("/etc/ehos/ehos.yaml: left as it is there")
        .says("-# a mount of this site\n")
        .says("-# mine\n");
    assert_eq!(known_hosts(&site).lines().count(), 3, "as it was");
    let run = deploy(&site, &[]);
    run.exits(0)
        .says("/etc/ehos/execute.yaml: kept as it was edited there\n")
        .says("-# a mount of this site\n")
        .says("/etc/ehos/ehos.yaml: left as it is there");
    let after: Vec<String> = ["execute.yaml", "ehos.yaml", ".installed"].map(text).into();
    assert_eq!(before[..2], after[..2]);
    assert!(!there("execute.yaml.ehos-new").exists());

    // Something new comes here: a template that was edited, a secret that was not, and one that was.
    site.write("new.yaml", &format!("{whole}# of the new version\n"));
    let file = site.path().join("new.yaml");
    let new = ["--execute", file.to_str().unwrap()];
    let dry = deploy(&site, &[&new[..], &["-n", "-o", "json"]].concat())
        .exits(0)
        .json();
    let changed = dry["files"].as_array().unwrap().iter();
    let changed: Vec<_> = changed.filter(|file| file["change"] != "same").collect();
    assert_eq!(changed[0]["path"], "/etc/ehos/execute.yaml");
    assert_eq!(changed[0]["change"], "new-beside");
    let run = deploy(&site, &new);
    run.exits(0)
        .says("mv /etc/ehos/execute.yaml.ehos-new /etc/ehos/execute.yaml")
        .says("+# of the new version\n");
    assert_eq!(text("execute.yaml"), before[0]);
    assert!(text("execute.yaml.ehos-new").ends_with("# of the new version\n"));
    assert_eq!(text("ehos.d/60-site.yaml"), "daemon:\n  nodes_max: 7\n");

    fs::write(there("lab.password"), "rotated-there\n").unwrap();
    let run = deploy(&site, &[]);
    run.exits(0)
        .says("/etc/ehos/lab.password: kept as it was edited there")
        .never_says("rotated-there");
    assert_eq!(text("lab.password"), "rotated-there\n");
    // What nobody edited is replaced.
    let unit = site
        .tools()
        .join("root/usr/lib/systemd/system/ehos.service");
    let list = text(".installed");
    assert!(list.contains("ehos.service"), "{list}");
    assert!(fs::read_to_string(&unit).unwrap().contains("ExecStart="));
}

#[test]
fn a_timer_that_was_turned_off_stays_off() {
    let (_double, site) = deployed_in_a_folder();
    let timer = site.tools().join("timer");
    let before = ticks(&site);
    for (state, words) in [
        ("disabled inactive", "its timer is off, as it was before"),
        ("enabled inactive", "its timer is stopped, as it was before"),
    ] {
        fs::write(&timer, format!("{state}\n")).unwrap();
        deploy(&site, &["-n"]).exits(0).says(words);
        deploy(&site, &[])
            .exits(0)
            .says(words)
            .says("its first tick was not started");
        let report = deploy(&site, &["-o", "json"]).exits(0).json();
        assert_eq!(report["timer"]["active"], false);
        assert_eq!(report["tick"]["exit"], Value::Null);
    }
    assert_eq!(
        (turned_on(&site), ticks(&site)),
        (1, before),
        "nothing ticks"
    );
    let path_started = || {
        let calls = site.calls();
        calls
            .lines()
            .any(|line| line == "systemctl start ehos.path")
    };
    assert!(!path_started());
    fs::write(&timer, "disabled active\n").unwrap();
    deploy(&site, &[])
        .exits(0)
        .says("its timer runs, and is disabled");
    assert_eq!((turned_on(&site), ticks(&site)), (1, before + 1));
    assert!(path_started(), "a timer that runs did not want it before");

    // One that was interrupted before its timer was turned on has never ticked.
    fs::write(&timer, "disabled inactive\n").unwrap();
    fs::remove_dir_all(site.tools().join("root/var/lib/ehos")).unwrap();
    deploy(&site, &[]);
    assert_eq!(turned_on(&site), 2);
}

#[test]
fn an_interrupt_says_what_stays_and_what_to_type() {
    let stays = format!("interrupted: ehos-v1-master ({SERVER_ID}) stays and costs; ");
    for signal in [Signal::INT, Signal::KILL] {
        let lines = vec![
            then(&[]),
            from_then_on(&[master("ACTIVE", &[])]),
            says_on_console("still at it\n"),
        ];
        let double = cloud_with(lines);
        let site = site(&double, WELL);
        let (config, state) = (site.config(), site.state());
        let template = repository().join("configs/master.yaml");
        let words = [
            testkit::program!(),
            "master",
            "deploy",
            "--config",
            config.to_str().unwrap(),
            "--state-dir",
            state.to_str().unwrap(),
            "--binary",
            "/bin/true",
            "--master",
            template.to_str().unwrap(),
        ];
        let deploy = site
            .words(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        double.wait_for("POST", &action());
        // It is known by then.
        double.wait_for("GET", SERVERS);
        let pid = Pid::from_child(&deploy);
        kill_process(pid, signal).unwrap();
        let run = site.end(deploy);
        run.warns(&stays)
            .warns("to continue, run: ehos master deploy --config ")
            .warns(&format!("type: openstack server delete {SERVER_ID}\n"));
        assert_eq!(deletes(&double), 0);
    }
    // An end is none.
    let double = empty_cloud(vec![]);
    let whole = site(&double, WELL);
    let run = deploy(&whole, &[]);
    run.exits(0);
    assert!(!run.stderr.contains("interrupted"), "{run}");
    let failing = empty_cloud(vec![says_on_console("EHOS: FAILED: no\n")]);
    let site = site(&failing, WELL);
    let run = deploy(&site, &["--keep-failed"]);
    run.exits(1);
    assert!(!run.stderr.contains("interrupted"), "{run}");
}

#[test]
fn a_new_master_in_the_place_of_one_that_goes_is_a_new_one() {
    let mut going = ready();
    going["OS-EXT-STS:task_state"] = json!("deleting");
    going["id"] = json!("11111111-0000-4000-8000-000000000000");
    let double = empty_cloud(vec![then(std::slice::from_ref(&going)), then(&[going])]);
    let site = site(&double, WELL);
    let report = deploy(&site, &["-o", "json"]).exits(0).json();
    assert_eq!(report["created"], true);
    assert_eq!(report["image"], "GOLD CentOS 7");
    let notices = report["notices"].to_string();
    assert!(!notices.contains("was there"), "{notices}");
}

#[test]
fn what_failed_is_deleted_and_says_why_unless_it_is_to_be_kept() {
    let failed = "one\nEHOS: FAILED: no signing key of the pool\n";
    let lines = || {
        let mut lines = gone_after(0);
        lines.push(says_on_console(failed));
        lines
    };
    let double = empty_cloud(lines());
    let site = site(&double, WELL);
    deploy(&site, &[])
        .exits(1)
        .warns("its boot failed: EHOS: FAILED: no signing key of the pool")
        .warns("from the console of")
        .warns("Its server was deleted");
    assert_eq!(deletes(&double), 1);

    let double = empty_cloud(lines());
    let kept = self::site(&double, WELL);
    deploy(&kept, &["--keep-failed"])
        .exits(1)
        .warns("Its server was kept");
    assert_eq!(deletes(&double), 0);
}

#[test]
fn a_refused_login_says_what_to_do() {
    let hosts =
        "printf '%s\\n' 'No host key is known' 'Host key verification failed.' >&2; exit 255";
    let cases = [
        (
            "echo 'Permission denied (publickey).' >&2; exit 255",
            "--identity",
        ),
        (hosts, "--accept-host-key"),
        (
            "case $* in *'id -u'*) echo 1000; exit ;; esac; echo 'sudo: a password is required' >&2; exit 1",
            "--ssh-user",
        ),
        (
            "for script; do :; done; case $script in *'id -u'*) echo 0 ;; *--version*) echo 'Exec format error' >&2; \
             exit 126 ;; *) cat >/dev/null ;; esac",
            "--binary",
        ),
        (
            "for script; do :; done; case $script in *'id -u'*) echo 0 ;; *'config check'*) echo 'no such key'; exit 78 \
             ;; *) cat >/dev/null ;; esac",
            "no such key",
        ),
    ];
    for (ssh, words) in cases {
        // Its addresses are asked for before it is deleted.
        let double = empty_cloud(gone_after(1));
        let site = site(&double, ssh);
        deploy(&site, &[]).exits(1).warns(words);
        assert_eq!(deletes(&double), 1, "{words}");
    }
}

#[test]
fn without_a_host_key_on_the_console_nobody_is_believed() {
    let silent = "ci-info: +Authorized keys from /home/debian/.ssh/authorized_keys for user debian+\n\
                  The EHOS vm is up after 9 seconds\n";
    let double = empty_cloud(vec![says_on_console(silent)]);
    let careful = site(&double, WELL);
    deploy(&careful, &["--keep"])
        .exits(1)
        .warns("does not show its SSH host key");
    assert_eq!(careful.calls(), "");

    let double = empty_cloud(vec![says_on_console(silent)]);
    let trusting = site(&double, WELL);
    deploy(&trusting, &["--accept-host-key"]).exits(0);
    let calls = trusting.calls();
    assert!(
        calls.contains("StrictHostKeyChecking=accept-new"),
        "{calls}"
    );
}

#[test]
fn two_masters_are_an_error_that_names_them() {
    let mut other = master("ACTIVE", &[("ehos_ready", "2026-11-22T10:40:00Z")]);
    other["id"] = json!("aaaaaaaa-0000-4000-8000-000000000001");
    let double = cloud_with(vec![from_then_on(&[master("ACTIVE", &[]), other])]);
    let site = site(&double, WELL);
    deploy(&site, &[])
        .exits(1)
        .warns(SERVER_ID)
        .warns("aaaaaaaa-0000-4000-8000-000000000001, ready since");
    assert_eq!(deletes(&double), 0);
    assert_eq!(double.count("POST", CREATE), 0);
}

#[test]
fn a_create_without_an_answer_is_looked_for_before_another_one() {
    let double = empty_cloud(vec![]);
    let site = site(&double, WELL);
    deploy(&site, &[]).exits(0);
    let creates = || {
        let received = double.received();
        let create = |r: &&Received| r.method == "POST" && r.target == CREATE;
        received.iter().filter(create).count()
    };
    assert_eq!(creates(), 1);
    let digest = asked(&double).json()["server"]["metadata"]["ehos_digest"].clone();
    let made = |status| master(status, &[("ehos_digest", digest.as_str().unwrap())]);
    let lines = vec![
        then(&[]),
        then(&[]),
        then(&[made("BUILD")]),
        from_then_on(&[made("ACTIVE")]),
        booted(),
        says_nothing(),
    ];
    let lines = details().into_iter().chain(lines);
    double.play(cloud::script(lines.collect()));
    deploy(&site, &[])
        .exits(0)
        .warns("the next list of servers shows the effect");
    assert_eq!(creates(), 2);
}

/// The answer to the create is lost.
fn says_nothing() -> Line {
    once("POST", CREATE, Reply::Reset)
}

#[test]
fn a_floating_ip_is_taken_and_given_back_after_a_failure() {
    let net = "22222222-2222-4222-8222-222222222222";
    let fixture = || {
        let network = json!({"networks": [{"id": net, "name": "public", "status": "ACTIVE",
                                           "router:external": true, "shared": true, "subnets": []}]});
        let network = network.to_string();
        let ports = json!({"ports": [
            {"id": "port-6", "network_id": "n", "fixed_ips": [{"ip_address": "2001:db8::7"}]},
            {"id": "port-4", "network_id": "n", "fixed_ips": [{"ip_address": "10.0.0.7"}]}]});
        vec![
            always(
                "GET",
                "/v2.0/networks?name=public",
                Reply::status(200, &network),
            ),
            always(
                "GET",
                "/v2.0/networks?name=",
                Reply::fixture("neutron-networks-by-name"),
            ),
            always("GET", "/v2.0/networks", Reply::status(200, &network)),
            always(
                "GET",
                "/v2.0/ports?device_id=",
                Reply::status(200, &ports.to_string()),
            ),
        ]
    };
    let ips = |description: &str, port: Value| {
        json!({"floatingips": [{"id": "fip-1", "floating_ip_address": "203.0.113.9", "floating_network_id": net,
                                "port_id": port, "description": description}]})
        .to_string()
    };
    let none = || Reply::status(200, r#"{"floatingips": []}"#);
    let list = "/v2.0/floatingips";
    let mark = "ehos pool-1 master";
    let made = json!({"floatingip": {"id": "fip-1", "floating_ip_address": "203.0.113.9",
                                     "floating_network_id": net, "port_id": "port-4", "description": mark}});

    // None is there: one is taken, and comes first among the addresses.
    let mut lines = fixture();
    lines.extend([
        once("GET", list, none()),
        once("GET", list, none()),
        always("GET", list, Reply::status(200, &ips(mark, json!("port-4")))),
        always("POST", list, Reply::status(201, &made.to_string())),
    ]);
    let double = empty_cloud(lines);
    let well = site(&double, WELL);
    deploy(&well, &["--floating-ip", "public"])
        .exits(0)
        .says("is ready: 203.0.113.9, ")
        .says("debian@203.0.113.9");
    let taken = double.received();
    let taken = taken
        .iter()
        .find(|r| r.method == "POST" && r.target == list);
    let taken = taken.unwrap().json();
    assert_eq!(taken["floatingip"]["port_id"], "port-4");
    assert_eq!(taken["floatingip"]["description"], mark);

    // A free one of ours is taken again; somebody else's is not.
    let mut lines = fixture();
    lines.extend([
        once("GET", list, Reply::status(200, &ips(mark, Value::Null))),
        once("GET", list, Reply::status(200, &ips(mark, Value::Null))),
        always("GET", list, Reply::status(200, &ips(mark, json!("port-4")))),
        always(
            "PUT",
            "/v2.0/floatingips/fip-1",
            Reply::status(200, &made.to_string()),
        ),
    ]);
    let double = empty_cloud(lines);
    let again = site(&double, WELL);
    deploy(&again, &["--floating-ip", "public"]).exits(0);
    assert_eq!(double.count("POST", list), 0);
    assert_eq!(double.count("PUT", "/v2.0/floatingips/fip-1"), 1);

    // What was taken for a master that failed is given back.
    let mut lines = fixture();
    lines.extend([
        always("GET", list, Reply::status(200, &ips(mark, json!("port-4")))),
        always("DELETE", "/v2.0/floatingips/fip-1", Reply::status(204, "")),
    ]);
    lines.extend(gone_after(1));
    let double = empty_cloud(lines);
    let broken = site(
        &double,
        "echo 'Permission denied (publickey).' >&2; exit 255",
    );
    deploy(&broken, &["--floating-ip", "public"]).exits(1);
    assert_eq!(deletes(&double), 1);
    assert_eq!(double.count("DELETE", "/v2.0/floatingips/fip-1"), 1);

    // One that leads to another server by now is somebody's.
    let mut lines = fixture();
    lines.extend([
        once("GET", list, Reply::status(200, &ips(mark, json!("port-4")))),
        once("GET", list, Reply::status(200, &ips(mark, json!("port-4")))),
        always(
            "GET",
            list,
            Reply::status(200, &ips(mark, json!("port-of-another"))),
        ),
    ]);
    lines.extend(gone_after(1));
    let double = empty_cloud(lines);
    let broken = site(
        &double,
        "echo 'Permission denied (publickey).' >&2; exit 255",
    );
    deploy(&broken, &["--floating-ip", "public"]).exits(1);
    assert_eq!(deletes(&double), 1);
    assert_eq!(double.count("DELETE", "/v2.0/floatingips"), 0);

    // A network that is not external gives none, which is said before anything is made.
    let double = empty_cloud(vec![always(
        "GET",
        "/v2.0/networks",
        Reply::fixture("neutron-networks-by-name"),
    )]);
    let wrong = site(&double, WELL);
    deploy(&wrong, &["--floating-ip", "dualStack"]).exits(1);
    assert_eq!(double.count("POST", CREATE), 0);
}

#[test]
fn a_dry_run_makes_nothing() {
    let double = empty_cloud(vec![]);
    let site = site(&double, WELL);
    deploy(&site, &["-n"])
        .exits(0)
        .says("make the server ehos-v1-master of image");
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(site.calls(), "");
    assert!(!site.state().exists());
}

#[test]
fn what_cannot_work_is_said_before_anything_is_made() {
    let cases = [
        ("  key: ehos\n", "", "no keypair is configured"),
        (
            "  key: ehos\n",
            "  key: other\n",
            "there is no keypair 'other'",
        ),
        (
            "  image: GOLD CentOS 7\n",
            "  base_image: GOLD CentOS 7\n",
            "there is no golden image yet",
        ),
    ];
    for (old, new, words) in cases {
        let double = empty_cloud(vec![]);
        let site = site(&double, WELL);
        let config = fs::read_to_string(site.config()).unwrap();
        assert!(config.contains(old), "{config}");
        site.write("ehos.yaml", &config.replace(old, new));
        deploy(&site, &[]).exits(1).warns(words);
        assert_eq!(double.count("POST", CREATE), 0, "{words}");
    }
    let double = empty_cloud(vec![]);
    let site = site(&double, WELL);
    site.write("configs/master.yaml", "#cloud-config\nruncmd: [true]\n");
    let (config, state) = (site.config(), site.state());
    let args = [
        "master",
        "deploy",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    site.run(&args).exits(1).warns("{ehos_yaml}");
    deploy(&site, &["--trust-domain", "a b"])
        .exits(1)
        .warns("is no domain");
    assert_eq!(double.count("POST", CREATE), 0);
}

#[test]
fn a_first_tick_that_fails_is_shown_and_the_master_stays() {
    let bad = WELL.replace(
        "printf '0\\nplan     nothing to do\\n'",
        "printf '75\\nno answer\\n'",
    );
    let double = empty_cloud(vec![]);
    let site = site(&double, &bad);
    deploy(&site, &[])
        .exits(1)
        .says("FAILED with exit code 75")
        .says("no answer");
    assert_eq!(deletes(&double), 0);
}

#[test]
fn what_is_installed_stays_when_the_first_tick_is_not_heard_or_it_is_not_marked() {
    // The connection breaks in the first tick, which goes on there, and may make nodes.
    let broken = WELL.replace(
        "printf '0\\nplan     nothing to do\\n'",
        "echo 'Timeout, server not responding.' >&2; exit 255",
    );
    let double = empty_cloud(vec![]);
    let site = site(&double, &broken);
    deploy(&site, &[])
        .exits(1)
        .says("is ready")
        .says("has no exit code")
        .says("Timeout, server not responding");
    assert_eq!(deletes(&double), 0);

    // It is marked though the answer to that is lost, or Nova has a moment's trouble.
    let metadata = format!("{CREATE}/{SERVER_ID}/metadata");
    for reply in [Reply::Reset, Reply::status(503, "{}")] {
        let double = empty_cloud(vec![once("POST", &metadata, reply)]);
        let site = self::site(&double, WELL);
        deploy(&site, &[]).exits(0).says("is ready");
        assert_eq!(double.count("POST", &metadata), 2);
        assert_eq!(deletes(&double), 0);
    }

    // And where it cannot be marked, it stays all the same, and has neither nodes nor jobs: a later run may make it anew.
    let double = empty_cloud(vec![always("POST", &metadata, Reply::status(403, "{}"))]);
    let site = self::site(&double, WELL);
    deploy(&site, &[])
        .exits(1)
        .warns("so that it is marked as ready and its timer starts");
    assert!(!site.calls().contains("enable --now ehos.timer"));
    assert_eq!(deletes(&double), 0);
}

#[test]
fn no_second_master_is_made_beside_one_in_another_cloud() {
    let other = |lines: Vec<Line>| Double::start(cloud::script(lines));
    let two = |other: &Double| {
        let double = empty_cloud(vec![then(&[]), then(&[])]);
        let site =
            site(&double, WELL).over(&format!("clouds:\n{}", cloud::access("far", other.url())));
        (double, site)
    };
    let far = other(vec![from_then_on(&[ready()])]);
    let (double, site) = two(&far);
    deploy(&site, &["--cloud", "lab"])
        .exits(1)
        .warns("is in cloud far: ehos-v1-master")
        .warns("--cloud far");
    assert_eq!(double.count("POST", CREATE), 0);

    // What is not seen is unknown, never empty.
    let far = other(vec![always("GET", SERVERS, Reply::status(403, "{}"))]);
    let (double, site) = two(&far);
    deploy(&site, &["--cloud", "lab"])
        .exits(1)
        .warns("cloud far: whether the central manager of this pool is there cannot be seen");
    assert_eq!(double.count("POST", CREATE), 0);

    let far = other(vec![]);
    let (_double, site) = two(&far);
    deploy(&site, &["--cloud", "lab"]).exits(0);
}

#[test]
fn a_state_that_knows_nodes_is_told() {
    let double = Double::start(cloud::script(vec![]));
    let ticking = site(&double, WELL).waiting(1);
    ticking.tick(&[]).exits(0);
    let lines: Vec<Line> = vec![then(&[]), from_then_on(&[master("ACTIVE", &[])]), booted()];
    double.play(cloud::script(lines.into_iter().chain(details()).collect()));
    deploy(&ticking, &[])
        .exits(0)
        .says("stop the timer of this machine");
}

#[test]
fn every_field_of_its_json_is_documented() {
    let double = empty_cloud(vec![then(&[])]);
    let site = site(&double, WELL);
    let dry = deploy(&site, &["-n", "-o", "json"]).exits(0).json();
    let done = deploy(&site, &["-o", "json"]).exits(0).json();
    assert_eq!(done["server"]["id"], SERVER_ID);
    assert_eq!(done["tick"]["exit"], 0);
    assert_eq!(done["created"], true);
    let mut found = BTreeSet::new();
    for report in [dry, done] {
        crate::json::fields(&report, "", &mut found);
    }
    let documented = crate::json::documented("ehos master deploy");
    let missing: Vec<_> = found.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
}

#[test]
fn nothing_is_installed_on_a_server_that_only_says_it_is_the_master() {
    let mut forged = master("ACTIVE", &[("ehos_ready", "2026-11-22T10:40:00Z")]);
    forged["metadata"]["ehos_host_key"] = json!("ssh-ed25519 AAAA");
    forged["metadata"]["ehos_proof"] = json!("1:forged");
    let double = cloud_with(vec![from_then_on(&[forged])]);
    let site = site(&double, WELL);
    for more in [&[][..], &["--dry-run"]] {
        deploy(&site, more)
            .exits(1)
            .warns(SERVER_ID)
            .warns("without a valid ehos_proof")
            .warns("--trust-server UUID");
    }
    let calls = fs::read_to_string(site.path().join("ssh-calls")).unwrap_or_default();
    assert_eq!(calls, "", "nobody logs in there");
    assert_eq!((deletes(&double), double.count("POST", CREATE)), (0, 0));
}
