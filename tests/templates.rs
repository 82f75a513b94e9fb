//! The cloud-init files of configs/: they render, they are YAML, and the shell in them is what shellcheck passes.
//! tests/site asks cloud-init itself, and boots them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret, SecretString};
use serde_yaml::Value;
use userdata::cloudinit::{TAGS, Template};

const FILES: [&str; 3] = ["base.yaml", "execute.yaml", "master.yaml"];

fn template(name: &str) -> Template {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("configs")
        .join(name);
    Template::load(&path).unwrap()
}

/// The file with a word for each tag, and one for each expression of Jinja.
fn rendered(name: &str) -> String {
    let values: BTreeMap<&str, SecretString> = TAGS
        .iter()
        .map(|(tag, _)| (*tag, SecretString::from("d29yZA==")))
        .collect();
    let text = template(name).render(&values).unwrap();
    let mut out = String::new();
    let mut rest = text.expose_secret();
    while let Some((before, after)) = rest.split_once("{{") {
        out += before;
        out += "jinja";
        rest = after.split_once("}}").unwrap().1;
    }
    out + rest
}

fn parsed(name: &str) -> Value {
    serde_yaml::from_str(&rendered(name)).unwrap()
}

/// Every piece of shell in it with what it is called: the commands of boot, and the files that are scripts.
fn shell(name: &str) -> Vec<(String, String)> {
    let value = parsed(name);
    let list = |key: &str| value[key].as_sequence().cloned().unwrap_or_default();
    let commands = ["bootcmd", "runcmd"].into_iter().flat_map(|key| {
        list(key).into_iter().filter_map(move |command| {
            Some((
                format!("{name}: {key}"),
                format!("#!/bin/sh\n{}", command.as_str()?),
            ))
        })
    });
    let files = list("write_files").into_iter().filter_map(|file| {
        let content = file["content"].as_str()?;
        let path = file["path"].as_str()?;
        content
            .starts_with("#!/bin/sh")
            .then(|| (format!("{name}: {path}"), content.to_owned()))
    });
    commands.chain(files).collect()
}

#[test]
fn each_is_yaml_with_the_final_message() {
    for name in FILES {
        assert_eq!(
            parsed(name)["final_message"].as_str(),
            Some("The EHOS vm is up after $UPTIME seconds"),
            "{name}"
        );
    }
}

#[test]
fn nothing_in_the_filled_in_master_looks_like_a_tag() {
    // Its own search at boot would take it for one that was not filled in.
    let text = rendered("master.yaml");
    let tag = text.split('{').skip(1).find_map(|after| {
        let name = after.split_once('}')?.0;
        name.bytes()
            .all(|b| b == b'_' || b.is_ascii_lowercase())
            .then_some(name)
    });
    assert_eq!(tag, None);
}

#[test]
fn the_fence_is_the_same_on_master_and_nodes() {
    let fence = |name: &str| {
        let text = rendered(name);
        let rules = text.split_once("RULES'").unwrap().1;
        let (_, rules) = rules.split_once('\n').unwrap();
        rules.split_once("RULES\n").unwrap().0.to_owned()
    };
    let rules = fence("master.yaml");
    assert_eq!(rules, fence("execute.yaml"));
    for address in ["ip daddr 169.254.169.254", "ip6 daddr fe80::a9fe:a9fe"] {
        for rule in ["meta skuid 0 accept", "reject", "drop"] {
            assert!(rules.contains(&format!("{address} {rule}")), "{rules}");
        }
    }
}

/// Runs the block of execute.yaml that makes the slot users, below `root`, with stand-ins for the tools that it calls.
/// `cores` is the answer of condor_config_val. Returns what the console got.
fn make_slot_users(root: &Path, cores: &str, useradd: &str) -> String {
    let tools = root.join("bin");
    for folder in ["bin", "log", "dev", "etc/condor/config.d"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let tool = |name: &str, script: &str| {
        let path = tools.join(name);
        fs::write(
            &path,
            format!(
                "#!/bin/sh\necho {name} \"$@\" >>{0}/calls\n{script}\n",
                root.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    };
    let log = root.join("log");
    tool(
        "condor_config_val",
        &format!(
            "case $1 in LOG) echo {} ;; *) echo {cores} ;; esac",
            log.display()
        ),
    );
    tool("systemctl", "");
    tool("condor_master", "");
    tool("id", "[ \"$2\" = slot1_1 ]");
    tool("useradd", useradd);
    tool("usermod", "");
    let (_, script) = shell("execute.yaml").swap_remove(1);
    let script = ["/etc/", "/var/", "/dev/console"]
        .iter()
        .fold(script, |text, path| {
            text.replace(&format!(" {path}"), &format!(" {}{path}", root.display()))
                .replace(&format!("={path}"), &format!("={}{path}", root.display()))
                .replace(&format!(">{path}"), &format!(">{}{path}", root.display()))
        });
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let done = Command::new("sh")
        .args(["-c", &script])
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    fs::read_to_string(root.join("dev/console")).unwrap_or_default()
}

#[test]
fn each_core_gets_a_slot_user() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    // The second boot finds what the first one made.
    for _ in 0..2 {
        assert_eq!(make_slot_users(root, "3", ""), "");
        assert_eq!(
            text("etc/condor/config.d/60-ehos-slots.config"),
            "EhosSlotUsers = 3\nSTARTD_ATTRS = $(STARTD_ATTRS) EhosSlotUsers\nSLOT1_1_USER = slot1_1\n\
             SLOT1_2_USER = slot1_2\nSLOT1_3_USER = slot1_3\n"
        );
    }
    assert_eq!(
        text("etc/systemd/system/condor.service.d/40-ehos-slots.conf"),
        "[Service]\nProtectProc=invisible\n"
    );
    let mode = fs::metadata(root.join("log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0);
    let calls = text("calls");
    assert!(calls.contains("systemctl daemon-reload"), "{calls}");
    // One exists already.
    let made: Vec<&str> = calls
        .lines()
        .filter(|call| call.starts_with("useradd"))
        .collect();
    assert!(
        made[0].ends_with(" slot1_2") && made[1].ends_with(" slot1_3"),
        "{calls}"
    );
    assert!(made[0].contains("--no-create-home"), "{calls}");
    for slot in 1..=3 {
        let expired = format!("usermod --expiredate 1970-01-02 slot1_{slot}\n");
        assert!(calls.contains(&expired), "{calls}");
    }
}

#[test]
fn without_slot_users_htcondor_stays_off() {
    for (cores, useradd) in [("2", "exit 1"), ("0", ""), ("", ""), ("undefined", "")] {
        let folder = tempfile::tempdir().unwrap();
        let console = make_slot_users(folder.path(), cores, useradd);
        assert!(
            console.starts_with("EHOS: FAILED: no users for the slots"),
            "{cores}: {console}"
        );
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        assert!(
            calls.contains("systemctl mask --runtime --now condor.service"),
            "{calls}"
        );
    }
}

#[test]
fn shellcheck_passes_their_shell() {
    if Command::new("shellcheck")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: shellcheck is not installed");
        return;
    }
    let pieces: Vec<_> = FILES.into_iter().flat_map(shell).collect();
    assert!(pieces.len() >= 8, "{pieces:#?}");
    let mut said = String::new();
    for (what, text) in pieces {
        let mut child = Command::new("shellcheck")
            // It does not follow /etc/os-release, which not every system has.
            .args(["--shell=sh", "--severity=style", "--exclude=SC1091", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            said += &format!("{what}:\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    assert!(said.is_empty(), "{said}");
}
