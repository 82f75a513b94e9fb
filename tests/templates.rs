//! The cloud-init files of configs/: they render, they are YAML, and the shell in them is what shellcheck passes.
//! tests/site asks cloud-init itself, and boots them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use ehos::cloudinit::{TAGS, Template};
use secrecy::{ExposeSecret, SecretString};
use serde_yaml::Value;

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
