//! The systemd units: instances for several pools are the same as the units of one pool, all are well-formed, and all are
//! fenced in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The most that `systemd-analyze security` may say of a unit.
const MOST_EXPOSURE: f64 = 2.0;

/// What an instance changes in each unit.
const CHANGES: [(&str, &[(&str, &str)]); 5] = [
    (
        "ehos.service",
        &[
            (
                "Description=One tick of ehos: scale the HTCondor pool on OpenStack",
                "Description=One tick of ehos: scale the HTCondor pool %i on OpenStack",
            ),
            ("ehos tick ", "ehos tick --config /etc/ehos/%i/ehos.yaml "),
            ("StateDirectory=ehos\n", "StateDirectory=ehos/%i\n"),
        ],
    ),
    (
        "ehos.timer",
        &[
            (
                "Description=Tick of ehos, every minute",
                "Description=Tick of ehos for the pool %i, every minute",
            ),
            ("Wants=ehos.path", "Wants=ehos@%i.path"),
        ],
    ),
    (
        "ehos.path",
        &[
            (
                "Description=Events of the HTCondor pool, for ehos",
                "Description=Events of the HTCondor pool %i, for ehos",
            ),
            ("PartOf=ehos.timer", "PartOf=ehos@%i.timer"),
            ("After=ehos.timer", "After=ehos@%i.timer"),
            (
                "PathExists=/var/lib/ehos/wake",
                "PathExists=/var/lib/ehos/%i/wake",
            ),
            ("Unit=ehos-soon.service", "Unit=ehos-soon@%i.service"),
        ],
    ),
    (
        "ehos-soon.service",
        &[
            (
                "Description=Tick of ehos, if one is due",
                "Description=Tick of ehos for the pool %i, if one is due",
            ),
            ("PartOf=ehos.path", "PartOf=ehos@%i.path"),
            ("ehos due ", "ehos due --config /etc/ehos/%i/ehos.yaml "),
            ("--no-block ehos.service", "--no-block ehos@%i.service"),
            ("StateDirectory=ehos\n", "StateDirectory=ehos/%i\n"),
        ],
    ),
    (
        "ehos-frontend.service",
        &[
            (
                "Description=Page of ehos, which shows the HTCondor pool on OpenStack",
                "Description=Page of ehos, which shows the HTCondor pool %i on OpenStack",
            ),
            (
                "[Service]\nExecStart=/usr/bin/ehos frontend --history /var/lib/ehos/history\n",
                "[Service]\n# Each pool has a port of its own: LISTEN=127.0.0.1:5001 in this file.\n\
                 Environment=LISTEN=127.0.0.1:5000\nEnvironmentFile=-/etc/ehos/%i/frontend.env\n\
                 ExecStart=/usr/bin/ehos frontend --history /var/lib/ehos/%i/history --listen ${LISTEN}\n",
            ),
            (
                "frontend.token:/var/lib/ehos/frontend.token",
                "frontend.token:/var/lib/ehos/%i/frontend.token",
            ),
            (
                "BindReadOnlyPaths=/var/lib/ehos/history",
                "BindReadOnlyPaths=/var/lib/ehos/%i/history",
            ),
        ],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// `ehos@.service` of `ehos.service`.
fn instance_name(name: &str) -> String {
    name.replace('.', "@.")
}

/// The instance of a unit: its head names the unit that it is made of.
fn instance(name: &str, changes: &[(&str, &str)]) -> String {
    let text = text(name);
    let (_, body) = text.split_once("\n\n").unwrap();
    let mut body = body.to_owned();
    for (from, to) in changes {
        assert_eq!(
            body.matches(from.trim_end()).count(),
            body.matches(from).count().max(1),
            "{name}: {from}"
        );
        assert!(body.contains(from), "{name}: {from}");
        body = body.replace(from, to);
    }
    format!(
        "# {name} for one of several pools of a host: /etc/ehos/POOL/ehos.yaml, state in /var/lib/ehos/POOL.\n\
         # tests/units.rs makes this file of {name}, which explains it: EHOS_BLESS=1 cargo test --test units\n\n{body}"
    )
}

#[test]
fn instances_are_the_units_with_the_name_of_a_pool() {
    for (name, changes) in CHANGES {
        let expected = instance(name, changes);
        let file = folder().join(instance_name(name));
        if std::env::var_os("EHOS_BLESS").is_some() {
            fs::write(&file, &expected).unwrap();
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(there, expected, "{}", file.display());
    }
    let units = all().len();
    assert_eq!(units, 2 * CHANGES.len(), "a unit has no instance");
}

/// The names of all units.
fn all() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_unit = |name: &String| {
        [".service", ".timer", ".path"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let mut names: Vec<String> = names.filter(is_unit).collect();
    names.sort();
    names
}

/// What systemd-analyze says; `None` where there is none, or one that cannot judge files.
fn analyze(arguments: &[&str], units: &[PathBuf]) -> Option<Output> {
    let version = Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else {
        println!("skipped: systemd-analyze is not installed");
        return None;
    };
    let said = String::from_utf8_lossy(&version.stdout).into_owned();
    let number = said.split_whitespace().nth(1);
    if number.and_then(|number| number.parse::<u32>().ok()) < Some(250) {
        println!("skipped: security --offline needs systemd 250, this is {said}");
        return None;
    }
    let mut command = Command::new("systemd-analyze");
    Some(command.args(arguments).args(units).output().unwrap())
}

/// The units as an installation of this build has them, with an instance of each that is one for several pools.
fn installed(folder: &Path) -> Vec<PathBuf> {
    let program = testkit::program!();
    let names = all().into_iter();
    let copied = names.map(|name| {
        let file = folder.join(&name);
        fs::write(&file, text(&name).replace("/usr/bin/ehos", program)).unwrap();
        folder.join(name.replace("@.", "@one."))
    });
    copied.collect()
}

#[test]
fn systemd_finds_no_mistake_in_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let units = installed(folder.path());
    let Some(output) = analyze(&["verify", "--man=no", "--recursive-errors=no"], &units) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // Units of the machine may have mistakes of their own.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("ehos")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");

    // A mistake is seen.
    let file = folder.path().join("ehos.service");
    let wrong = fs::read_to_string(&file)
        .unwrap()
        .replace("UMask=", "UMusk=");
    fs::write(&file, wrong).unwrap();
    let output = analyze(&["verify", "--man=no"], &[file]).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("UMusk"));
}

#[test]
fn every_service_is_fenced_in() {
    let folder = tempfile::tempdir().unwrap();
    installed(folder.path());
    for name in all().iter().filter(|name| name.ends_with(".service")) {
        let file = folder.path().join(name);
        let Some(output) = analyze(&["security", "--offline=true", "--no-pager"], &[file]) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, level) = said.split_once("Overall exposure level").expect("a level");
        let number = level.split_once(": ").unwrap().1.split_whitespace().next();
        let exposure: f64 = number.unwrap().parse().unwrap();
        assert!(exposure <= MOST_EXPOSURE, "{said}");
    }
}

#[test]
fn what_is_installed_has_every_unit() {
    let root = tempfile::tempdir().unwrap();
    let status = Command::new(folder().with_file_name("scripts").join("install"))
        .arg("--destdir")
        .arg(root.path())
        .args(["--binary", testkit::program!()])
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    for name in all() {
        let file = root.path().join("usr/lib/systemd/system").join(&name);
        assert_eq!(fs::read_to_string(file).unwrap(), text(&name));
    }
    for file in [
        "usr/bin/ehos",
        "usr/lib/sysusers.d/ehos.conf",
        "usr/lib/tmpfiles.d/ehos.conf",
        "usr/share/man/man1/ehos.1",
        "usr/share/man/man1/ehos-config-init.1",
        "usr/share/bash-completion/completions/ehos",
        "usr/share/zsh/vendor-completions/_ehos",
        "usr/share/fish/vendor_completions.d/ehos.fish",
        "usr/share/ehos/ehos.yaml.example",
    ] {
        assert!(root.path().join(file).exists(), "{file}");
    }
    // Without a configuration no tick runs.
    assert!(!root.path().join("etc").exists());
}
