//! Two users on one node: a job of bob takes what it can from a job of alice, and gets nothing.

use crate::machines::{By, Site, step, wait};

/// Alice's job keeps a secret wherever a job may, and leaves a process behind.
const VICTIM: &str = r#"
import os, pwd, subprocess, time
secret = os.environ["KEY"]
for path in ["own", "/tmp/own", "/var/tmp/own", "/dev/shm/own"]:
    with open(path, "w") as file:
        file.write(secret)
subprocess.Popen(["sleep", "987"], start_new_session=True)
print(pwd.getpwuid(os.getuid()).pw_name, flush=True)
for _ in range(90):
    if os.path.exists("stop"):
        break
    time.sleep(1)
"#;

const ATTACK: &str = include_str!("hostile_users.py");

/// A file that belongs to `user` on the master.
fn give(site: &Site, user: &str, name: &str, text: &str) {
    let script = format!("cat >/home/{user}/{name}; chown {user}: /home/{user}/{name}");
    site.run(&["sh", "-c", &script], text.as_bytes()).ok();
}

/// A job of one core in python.
fn submit(site: &Site, user: &str, script: &str, more: &str) {
    site.submit_as(
        user,
        &format!(
            "executable = /usr/bin/python3\ntransfer_executable = false\ntransfer_input_files = {script}\n\
             should_transfer_files = yes\nrequest_cpus = 1\nrequest_memory = 256\noutput = out\nerror = err\nlog = log\n\
             {more}\nqueue\n"
        ),
    );
}

/// The command of `user` on the master, with their home.
fn run_as(site: &Site, user: &str, script: &str) -> String {
    let script = format!("cd && {script}");
    let answer = site.run(&["su", "-", user, "-s", "/bin/bash", "-c", &script], b"");
    println!("    {user}: {script}\n{}{}", answer.stdout, answer.stderr);
    answer.stdout
}

fn running(site: &Site) -> usize {
    site.queue().get(&2).copied().unwrap_or(0)
}

#[test]
fn a_job_gets_nothing_of_another_users_job_on_its_node() {
    let Some(mut site) = Site::up("users", "nodes_max: 1") else {
        return;
    };
    site.run(&["useradd", "--create-home", "bob"], b"").ok();
    give(&site, "alice", "victim.py", VICTIM);
    give(&site, "bob", "attack.py", ATTACK);

    submit(
        &site,
        "alice",
        "victim.py",
        "arguments = victim.py --password=ALICE-SECRET-ARGUMENT\nenvironment = \"KEY=ALICE-SECRET-ENVIRONMENT\"",
    );
    site.tick_until("alice's job runs", 90, By::Unit, &[0], |site| {
        running(site) == 1
    });
    step("bob's job beside it");
    submit(&site, "bob", "attack.py", "arguments = attack.py");
    let read = |site: &Site, path: &str| site.run(&["cat", path], b"").stdout;
    wait("bob's job to end", 60, || {
        read(&site, "/home/bob/out").ends_with("done\n")
    });
    let said = read(&site, "/home/bob/out");
    println!("{said}{}", read(&site, "/home/bob/err"));
    let got: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("got:"))
        .collect();
    assert!(got.is_empty(), "{got:#?}");
    assert!(said.contains("user: slot1_"), "{said}");

    step("alice in her job");
    let shell = run_as(
        &site,
        "alice",
        "timeout 60 condor_ssh_to_job -auto-retry 1.0 'id -un; cat own; touch stop'",
    );
    assert!(
        shell.contains("slot1_1") && shell.contains("ALICE-SECRET"),
        "{shell}"
    );
    wait("alice's job to end", 60, || site.queue().is_empty());
    let history = site.history();
    let codes: Vec<_> = history
        .iter()
        .map(|job| (job.status, job.starts, job.exit_code))
        .collect();
    assert_eq!(codes, [(4, 1, 0), (4, 1, 0)], "{history:#?}");
    assert_eq!(read(&site, "/home/alice/out"), "slot1_1\n");
    assert!(!said.contains("user: slot1_1\n"), "{said}");

    step("what is left on the node");
    let node = site.nodes().remove(0).name;
    let left = site.run_on(&node, &["pgrep", "-af", "sleep 987"], b"");
    assert_eq!(left.stdout, "", "the process that alice's job left");

    let expired = site
        .run_on(&node, &["getent", "shadow", "slot1_1"], b"")
        .ok();
    assert!(
        expired.starts_with("slot1_1:!:") && expired.ends_with(":1:"),
        "{expired}"
    );

    step("an interactive job");
    let session = run_as(
        &site,
        "bob",
        "printf 'id -un\\nexit\\n' | timeout 60 script -qec 'condor_submit -i' /dev/null",
    );
    assert!(session.contains("slot1_"), "{session}");

    step("the check, and the limits of the unit");
    let check = site.run(
        &["runuser", "-u", "ehos", "--", "ehos", "check", "-o", "json"],
        b"",
    );
    let report: serde_json::Value = serde_json::from_str(&check.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let outcomes: Vec<_> = findings
        .filter(|finding| finding["check"] == "slot-users")
        .map(|finding| finding["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["ok"], "{check:#?}");
    let limits = [
        "systemctl",
        "show",
        "ehos",
        "-p",
        "MemoryMax",
        "-p",
        "LimitCORE",
        "-p",
        "OOMPolicy",
    ];
    let limits = site.run(&limits, b"").ok();
    for limit in ["MemoryMax=1073741824", "LimitCORE=0", "OOMPolicy=continue"] {
        assert!(limits.contains(limit), "{limits}");
    }
    step("done");
}
