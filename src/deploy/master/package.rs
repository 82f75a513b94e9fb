//! Packages on the central manager: one that was given is installed, else what was brought becomes one.
//!
//! Source: deb-control(5), deb-version(5); the scripts of packaging/deb.

use std::path::{Path, PathBuf};

use super::install::{self, Work};
use crate::ssh::quoted;

const INSTALL: &str = include_str!("scripts/install-package.sh");
/// Scripts of the package, as those of scripts/package have them.
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("../../../packaging/deb/postinst")),
    ("prerm", include_str!("../../../packaging/deb/prerm")),
    ("postrm", include_str!("../../../packaging/deb/postrm")),
];
/// The end of a script of a package in a here-document.
const END: &str = "EHOS_END_OF_SCRIPT";

/// How a file of this name, or of this address, is installed.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next().unwrap_or(name);
    if path.ends_with(".deb") {
        Some("deb")
    } else if path.ends_with(".rpm") {
        Some("rpm")
    } else {
        None
    }
}

/// Downloads a package there, and installs it when its checksum is right.
pub(super) fn download(url: &str, sha256: &str) -> Work {
    let text = format!(
        "kind={}; url={}; sum={}\n{}{INSTALL}",
        kind(url).unwrap_or("bin"),
        quoted(url),
        quoted(&sha256.to_ascii_lowercase()),
        include_str!("scripts/download.sh")
    );
    install::script(
        "the package",
        &text,
        "check --package and --sha256, and that the master reaches the address",
    )
}

/// Where a package that is sent lies until it is installed: a folder of root alone.
pub(super) fn place(file: &Path) -> PathBuf {
    let kind = kind(&file.to_string_lossy()).unwrap_or("deb");
    PathBuf::from(format!("/root/.ehos-new.{kind}"))
}

/// Installs a package that was sent.
pub(super) fn sent(file: &Path) -> Work {
    let place = place(file);
    let text = format!(
        "set -e\nkind={}; file={}; trap 'rm -f \"$file\"' EXIT\n{INSTALL}/usr/bin/ehos --version\n",
        kind(&place.to_string_lossy()).unwrap_or("deb"),
        place.display(),
    );
    install::script(
        "the package",
        &text,
        "look at the message; the package must be one for the system and the architecture of the master",
    )
}

/// Makes a package of the files at `paths` there, and of the program.
pub(super) fn pack<'p>(paths: impl Iterator<Item = &'p str>) -> Work {
    let paths: Vec<&str> = paths.chain(["/usr/bin/ehos"]).collect();
    let mut text = format!(
        "paths='{}'\n{}",
        paths.join(" "),
        include_str!("scripts/pack.sh")
    );
    for (name, script) in SCRIPTS {
        text += &format!("script {name} <<'{END}'\n{script}{END}\n");
    }
    text += &format!(
        "dpkg-deb -Zgzip -z1 --root-owner-group --build \"$folder/tree\" \"$file\" >&2\n{INSTALL}"
    );
    install::script(
        "the package of what was brought",
        &text,
        "look at the message, and at `dpkg --audit` there",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// The script of a piece of work.
    fn text(work: Work) -> String {
        match work {
            Work::Script(script) => script.text,
            Work::File(file) => panic!("{file:?}"),
        }
    }

    #[test]
    fn what_was_brought_becomes_a_package() {
        if Command::new("dpkg-deb").arg("--version").output().is_err() {
            println!("skipped: dpkg-deb is not installed");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let tool = |name: &str, script: &str| {
            fs::write(path(name), format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        let program = path("ehos").display().to_string();
        tool("ehos", "echo 'ehos 0.1.0 (0123456789ab 2026-11-29)'");
        let package = path("new.deb").display().to_string();
        tool(
            "apt-get",
            &format!("for file; do :; done; cp \"$file\" {package}"),
        );
        let unit = path("ehos.service").display().to_string();
        fs::write(&unit, "[Service]\n").unwrap();
        let text = text(pack([unit.as_str()].into_iter())).replace("/usr/bin/ehos", &program);
        let shell = || {
            let mut command = Command::new("sh");
            let folders = std::env::var("PATH").unwrap();
            let folders = format!("{}:{folders}", root.path().display());
            command.args(["-c", &text]).env("PATH", folders);
            command.output().unwrap()
        };
        let output = shell();
        assert!(output.status.success(), "{output:?}");
        // The standard output is for the version alone.
        assert_eq!(output.stdout, b"");
        let deb = |arguments: &[&str]| {
            let output = Command::new("dpkg-deb").args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(deb(&["-f", &package, "Version"]), "0.1.0-0deploy\n");
        let files = deb(&["-c", &package]);
        assert!(files.contains("root/root"), "{files}");
        for file in [&unit, &program] {
            let end = format!(".{file}");
            assert!(files.lines().any(|line| line.ends_with(&end)), "{files}");
        }
        for (name, script) in SCRIPTS {
            assert_eq!(deb(&["-I", &package, name]), script);
        }
        // A package of the same sources is newer.
        let newer = ["--compare-versions", "0.1.0-0deploy", "lt", "0.1.0-1"];
        let newer = Command::new("dpkg").args(newer).status().unwrap();
        assert!(newer.success());

        tool("apt-get", "echo no room >&2; exit 100");
        let output = shell();
        assert!(!output.status.success(), "{output:?}");
    }

    #[test]
    fn a_package_is_known_by_its_name() {
        assert_eq!(
            kind("https://example.org/ehos_1_amd64.deb?x=1"),
            Some("deb")
        );
        assert_eq!(kind("/here/ehos.rpm"), Some("rpm"));
        assert_eq!(kind("/here/ehos"), None);
        let place = place(Path::new("/here/x.rpm"));
        assert_eq!(place, Path::new("/root/.ehos-new.rpm"));
    }
}
