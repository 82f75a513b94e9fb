//! What is put onto the central manager: files with owner and mode, and the commands between them, in order. All of it
//! may be done again, at any time, on a machine where it runs already: that is the way to a newer ehos.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::conffile::{self, Brought, Care, Occasion};
use super::package;
use config::{Config, export};
use system::environment::Environment;
use userdata::builtin_templates;

/// The configuration there.
const MAIN: &str = "/etc/ehos/ehos.yaml";
/// The keys that sign servers, besides those that its ticks may have made.
const PROOF: &str = "/etc/ehos/proof.key";
/// The user that ticks, as the units name it.
const USER: &str = "ehos";
/// The group of what everybody may read.
const ROOT: &str = "root";

/// Paths there, with the texts of files of this repository.
macro_rules! shared {
    ($($path:literal from $file:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../", $file)))),*]
    };
}

/// What a package would put there too: its path and its text.
const SHARED: [(&str, &str); 15] = shared![
    "/usr/lib/sysusers.d/ehos.conf" from "systemd/ehos.sysusers",
    "/usr/lib/tmpfiles.d/ehos.conf" from "systemd/ehos.tmpfiles",
    "/usr/lib/systemd/system/ehos.service" from "systemd/ehos.service",
    "/usr/lib/systemd/system/ehos.timer" from "systemd/ehos.timer",
    "/usr/lib/systemd/system/ehos.path" from "systemd/ehos.path",
    "/usr/lib/systemd/system/ehos-soon.service" from "systemd/ehos-soon.service",
    "/usr/lib/systemd/system/ehos-frontend.service" from "systemd/ehos-frontend.service",
    "/usr/lib/systemd/system/ehos@.service" from "systemd/ehos@.service",
    "/usr/lib/systemd/system/ehos@.timer" from "systemd/ehos@.timer",
    "/usr/lib/systemd/system/ehos@.path" from "systemd/ehos@.path",
    "/usr/lib/systemd/system/ehos-soon@.service" from "systemd/ehos-soon@.service",
    "/usr/lib/systemd/system/ehos-frontend@.service" from "systemd/ehos-frontend@.service",
    "/usr/share/ehos/base.yaml" from "configs/base.yaml",
    "/usr/share/ehos/master.yaml" from "configs/master.yaml",
    "/usr/share/ehos/execute.yaml" from "configs/execute.yaml",
];

/// Where the program comes from.
#[derive(Debug, Clone)]
pub enum Program {
    /// This file, sent over.
    File(PathBuf),
    /// This .deb or .rpm, sent over.
    PackageFile(PathBuf),
    /// An address from which the master loads it: a .deb, a .rpm, or the program itself.
    Package {
        url: String,
        /// SHA-256 of what is there, in hexadecimal.
        sha256: String,
    },
}

impl Program {
    /// The package of this file, or of this address and checksum; else the program of this file, or the one that runs here.
    ///
    /// # Errors
    /// When there is no such file, or an address has no checksum.
    pub fn new(
        package: Option<&str>,
        sha256: Option<&str>,
        binary: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Program> {
        let there = |flag: &str, file: &Path| {
            let file = environment.path(file);
            match file.is_file() {
                true => Ok(file),
                false => anyhow::bail!("{flag} {}: there is no such file", file.display()),
            }
        };
        match (package, sha256, binary) {
            (Some(url), Some(sha256), _) if url.contains("://") => Ok(Program::Package {
                url: url.to_owned(),
                sha256: sha256.to_owned(),
            }),
            (Some(url), None, _) if url.contains("://") => {
                anyhow::bail!("--package {url}: an address needs a checksum; add --sha256")
            }
            (Some(file), _, _) if package::kind(file).is_none() => {
                anyhow::bail!(
                    "--package {file}: neither a .deb nor an .rpm; give a program with --binary"
                )
            }
            (Some(_), Some(_), _) => {
                anyhow::bail!("--sha256: is for an address; a file is sent as it is")
            }
            (Some(file), None, _) => Ok(Program::PackageFile(there("--package", Path::new(file))?)),
            (None, _, None) => Ok(Program::File(PathBuf::from("/proc/self/exe"))),
            (None, _, Some(file)) => Ok(Program::File(there("--binary", file)?)),
        }
    }
}

/// One thing that is done.
#[derive(Debug)]
pub enum Work {
    /// A file is written, whole or not at all.
    File(File),
    /// A shell script is run as root.
    Script(Script),
}

/// A shell script on the central manager.
#[derive(Debug)]
pub struct Script {
    /// What it does, for people.
    pub what: &'static str,
    pub text: String,
    /// What to do when it fails.
    pub remedy: &'static str,
}

/// A file on the central manager.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    /// Its mode, in octal.
    pub mode: &'static str,
    /// Its group; its owner is root.
    pub group: &'static str,
    /// What is in it.
    pub content: Content,
    /// How one that is there is dealt with.
    pub care: Care,
}

/// What is in a file.
#[derive(Debug)]
pub enum Content {
    Text(&'static str),
    /// What is in this file here.
    Local(PathBuf),
    /// Nobody else may read it.
    Secret(SecretString),
    /// A text that was made for it.
    Made(String),
}

impl File {
    /// The script that deals with what it reads from its standard input, which must be `length` bytes.
    pub fn script(&self, length: usize, occasion: Occasion) -> String {
        let brought = Brought {
            path: &self.path,
            mode: self.mode,
            group: self.group,
            length,
            secret: matches!(self.content, Content::Secret(_)),
            care: self.care,
        };
        conffile::script(&brought, occasion, conffile::LIST)
    }
}

impl Content {
    /// The bytes.
    ///
    /// # Errors
    /// When a file here cannot be read.
    pub fn bytes(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Content::Text(text) => Ok(text.as_bytes().to_vec()),
            Content::Made(text) => Ok(text.as_bytes().to_vec()),
            Content::Local(path) => match builtin_templates::text(path) {
                Some(text) => Ok(text.into()),
                None => std::fs::read(path),
            },
            // As in a file that one writes by hand: with a newline at its end.
            Content::Secret(secret) => Ok(format!("{}\n", secret.expose_secret()).into_bytes()),
        }
    }
}

/// All that is done for this configuration, in order, up to and with the check of the configuration there. `proof` are the
/// keys that sign servers here: what was signed here is to be known there.
pub fn everything(program: &Program, config: &Config, proof: Option<SecretString>) -> Vec<Work> {
    let secrets = export::secret_files(config);
    let plain = export::plain_files(config);
    work(program, secrets, plain, export::public(config), proof)
}

/// The same with what [`config::export`] makes: files of secrets, plain files, and the text of ehos.yaml.
fn work(
    program: &Program,
    secrets: Vec<(PathBuf, SecretString)>,
    plain: Vec<(PathBuf, PathBuf)>,
    main: String,
    proof: Option<SecretString>,
) -> Vec<Work> {
    let mut work = of_program(program);
    work.push(script(
        "the user ehos",
        include_str!("scripts/user.sh"),
        "look at the message, and at `getent passwd ehos` there",
    ));
    work.extend(
        plain
            .into_iter()
            .map(|(path, here)| file(path, "644", ROOT, Content::Local(here), Care::KeepEdited)),
    );
    work.extend(
        secrets.into_iter().map(|(path, secret)| {
            file(path, "640", USER, Content::Secret(secret), Care::KeepEdited)
        }),
    );
    work.extend(proof.map(|keys| {
        let path = PathBuf::from(PROOF);
        file(path, "640", USER, Content::Secret(keys), Care::Replace)
    }));
    // What its first boot wrote, and its administrator may have changed: it is never touched.
    let main = Content::Made(main);
    work.push(file(PathBuf::from(MAIN), "640", USER, main, Care::Compare));
    work.push(script(
        "who may read what",
        include_str!("scripts/rights.sh"),
        "look at the message",
    ));
    work.push(script(
        "the check of its configuration",
        "exec runuser -u ehos -- env HOME=/var/lib/ehos /usr/bin/ehos config check 2>&1",
        "correct the configuration here, or /etc/ehos/ehos.d/*.yaml there",
    ));
    work
}

/// The program: a package, or one of the files that make one.
fn of_program(program: &Program) -> Vec<Work> {
    let is_packaged = match program {
        Program::File(_) => false,
        Program::PackageFile(_) => true,
        Program::Package { url, .. } => package::kind(url).is_some(),
    };
    let mut work = Vec::new();
    if !is_packaged {
        work.extend(SHARED.map(|(path, text)| {
            let path = PathBuf::from(path);
            file(path, "644", ROOT, Content::Text(text), Care::KeepEdited)
        }));
    }
    work.push(match program {
        Program::File(here) => {
            let path = PathBuf::from("/usr/bin/ehos.new-version");
            file(
                path,
                "755",
                ROOT,
                Content::Local(here.clone()),
                Care::Replace,
            )
        }
        Program::PackageFile(here) => {
            let content = Content::Local(here.clone());
            file(package::place(here), "600", ROOT, content, Care::Replace)
        }
        Program::Package { url, sha256 } => package::download(url, sha256),
    });
    if let Program::PackageFile(here) = program {
        work.push(package::sent(here));
    }
    if !is_packaged {
        work.push(script(
            "ehos",
            "set -e; if ! said=$(/usr/bin/ehos.new-version --version 2>&1); then echo \"$said; this machine is \
             $(uname -m), $(ldd --version 2>&1 | head -n 1)\" >&2; exit 1; fi; \
             mv -f /usr/bin/ehos.new-version /usr/bin/ehos; echo \"$said\"",
            "give a program that runs there with --binary FILE (built for its architecture and C library)",
        ));
        work.push(package::pack(SHARED.iter().map(|(path, _)| *path)));
    }
    work
}

/// What starts it. The server is marked as ready before: it can have nodes and jobs from here on.
///
/// On one that was ready before, the timer stays as it is, for an administrator may have turned it off; unless no tick has
/// ever run there, as when a deploy was interrupted between the mark and the timer.
pub fn timer(occasion: Occasion) -> Script {
    let text = match occasion {
        Occasion::First => {
            format!("set -e\nsystemctl enable --now ehos.timer >&2\n{PAGE}\n{TIMER}")
        }
        Occasion::Again => {
            format!(
                "set -e\n[ -e {STATE} ] || {{ systemctl enable --now ehos.timer >&2; {PAGE}; }}\n{PATH}\n{TIMER}"
            )
        }
        Occasion::DryRun => TIMER.to_owned(),
    };
    Script {
        what: "the timer",
        text,
        remedy: "look at `systemctl status ehos.timer` there",
    }
}

/// The page listens on the loopback address, and starts when the first tick has created its token.
const PAGE: &str = "systemctl enable --now ehos-frontend.service >&2 || true";

/// A timer that runs has started the units that it wanted then: a first ehos.path is started here. One that is masked stays so.
const PATH: &str = "if systemctl is-active --quiet ehos.timer; then systemctl try-restart ehos.path >&2 || true; systemctl start ehos.path >&2 || true; fi";

/// What the first tick leaves.
const STATE: &str = "/var/lib/ehos/state.json";

/// Prints the state of the timer.
const TIMER: &str = "printf '%s %s\\n' \"$(systemctl is-enabled ehos.timer 2>/dev/null)\" \
                     \"$(systemctl is-active ehos.timer 2>/dev/null)\"";

/// The timer of the ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timer {
    /// It starts with the machine.
    pub enabled: bool,
    /// It runs.
    pub active: bool,
}

impl Timer {
    /// Reads what the script of [`timer`] prints.
    pub fn read(said: &str) -> Option<Timer> {
        let (enabled, active) = said.trim().lines().last()?.split_once(' ')?;
        Some(Timer {
            enabled: enabled.starts_with("enabled"),
            active: active.trim() == "active",
        })
    }

    /// What is to be known of one that does not run; nothing of one that does.
    pub fn told(self) -> Option<&'static str> {
        match (self.enabled, self.active) {
            (true, true) => None,
            (false, false) => Some(
                "its timer is off, as it was before (disabled): nothing is scaled; to turn it on, there: sudo systemctl \
                 enable --now ehos.timer",
            ),
            (true, false) => Some(
                "its timer is stopped, as it was before: nothing is scaled until the server starts anew; to start it, \
                 there: sudo systemctl start ehos.timer",
            ),
            (false, true) => Some(
                "its timer runs, and is disabled, as it was before: it will not run when the server starts anew; to \
                 enable it, there: sudo systemctl enable ehos.timer",
            ),
        }
    }
}

/// Runs one tick as the timer does, and tells its exit code (first line) and what it said.
pub const TICK: &str = "\
    systemctl start ehos.service 2>/dev/null\n\
    systemctl show -p ExecMainStatus --value ehos.service\n\
    journalctl --sync 2>/dev/null\n\
    journalctl -o cat --no-pager -n 60 \
    _SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value ehos.service) _SYSTEMD_UNIT=ehos.service";

fn file(
    path: PathBuf,
    mode: &'static str,
    group: &'static str,
    content: Content,
    care: Care,
) -> Work {
    Work::File(File {
        path,
        mode,
        group,
        content,
        care,
    })
}

pub(super) fn script(what: &'static str, text: &str, remedy: &'static str) -> Work {
    Work::Script(Script {
        what,
        text: text.to_owned(),
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn all(program: &Program) -> Vec<Work> {
        work(
            program,
            vec![(
                PathBuf::from("/etc/ehos/lab.password"),
                SecretString::from("hush"),
            )],
            vec![(
                PathBuf::from("/etc/ehos/lab.pem"),
                PathBuf::from("/here/ca.pem"),
            )],
            "ehos:\n".to_owned(),
            Some(SecretString::from("key")),
        )
    }

    fn binary() -> Program {
        Program::File(PathBuf::from("/proc/self/exe"))
    }

    fn package(url: &str) -> Program {
        Program::Package {
            url: url.to_owned(),
            sha256: "AB12".to_owned(),
        }
    }

    fn told(work: &[Work]) -> Vec<String> {
        work.iter()
            .map(|work| match work {
                Work::File(file) => {
                    format!("{} {} {}", file.mode, file.group, file.path.display())
                }
                Work::Script(Script { what, .. }) => format!("({what})"),
            })
            .collect()
    }

    #[test]
    fn what_is_there_afterwards_and_in_which_order() {
        insta::assert_snapshot!(told(&all(&binary())).join("\n"), @r"
        644 root /usr/lib/sysusers.d/ehos.conf
        644 root /usr/lib/tmpfiles.d/ehos.conf
        644 root /usr/lib/systemd/system/ehos.service
        644 root /usr/lib/systemd/system/ehos.timer
        644 root /usr/lib/systemd/system/ehos.path
        644 root /usr/lib/systemd/system/ehos-soon.service
        644 root /usr/lib/systemd/system/ehos-frontend.service
        644 root /usr/lib/systemd/system/ehos@.service
        644 root /usr/lib/systemd/system/ehos@.timer
        644 root /usr/lib/systemd/system/ehos@.path
        644 root /usr/lib/systemd/system/ehos-soon@.service
        644 root /usr/lib/systemd/system/ehos-frontend@.service
        644 root /usr/share/ehos/base.yaml
        644 root /usr/share/ehos/master.yaml
        644 root /usr/share/ehos/execute.yaml
        755 root /usr/bin/ehos.new-version
        (ehos)
        (the package of what was brought)
        (the user ehos)
        644 root /etc/ehos/lab.pem
        640 ehos /etc/ehos/lab.password
        640 ehos /etc/ehos/proof.key
        640 ehos /etc/ehos/ehos.yaml
        (who may read what)
        (the check of its configuration)
        ");
        let sent = Program::PackageFile(PathBuf::from("/here/ehos_1_amd64.deb"));
        for program in [package("https://example.org/ehos_1_amd64.deb?x=1"), sent] {
            let packaged = told(&all(&program));
            assert!(
                !packaged.iter().any(|work| work.contains("/usr/")),
                "{packaged:?}"
            );
        }
        let plain = told(&all(&package("https://example.org/ehos")));
        assert!(
            plain.iter().any(|work| work.contains("ehos.timer")),
            "{plain:?}"
        );
    }

    #[test]
    fn a_secret_is_in_no_script_and_nobody_else_may_read_it() {
        let work = all(&binary());
        let debug = format!("{work:?}");
        assert!(!debug.contains("hush"), "{debug}");
        let file = work
            .iter()
            .find_map(|work| match work {
                Work::File(file) if file.path.ends_with("lab.password") => Some(file),
                _ => None,
            })
            .unwrap();
        assert_eq!((file.mode, file.group), ("640", "ehos"));
        assert_eq!(file.content.bytes().unwrap(), b"hush\n");
        assert!(!file.script(5, Occasion::Again).contains("hush"));
    }

    #[test]
    fn scripts_are_shell() {
        let programs = [
            binary(),
            package("https://example.org/it's.rpm"),
            package("https://example.org/x"),
            Program::PackageFile(PathBuf::from("/here/x.rpm")),
        ];
        for program in programs {
            for work in all(&program) {
                for occasion in [Occasion::First, Occasion::Again, Occasion::DryRun] {
                    let script = match &work {
                        Work::File(file) => file.script(7, occasion),
                        Work::Script(script) => script.text.clone(),
                    };
                    let status = Command::new("sh").args(["-n", "-c", &script]).status();
                    assert!(status.unwrap().success(), "{script}");
                }
            }
        }
        let status = Command::new("sh").args(["-n", "-c", TICK]).status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn half_a_file_takes_no_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/it's");
        let group = Command::new("id").arg("-gn").output().unwrap();
        let group = String::from_utf8(group.stdout).unwrap().trim().to_owned();
        let file = File {
            path: path.clone(),
            mode: "640",
            group: "root",
            content: Content::Text("12345"),
            care: Care::Replace,
        };
        // Only root may give files away: everybody else gives them to themselves.
        let write = |text: &str| {
            let script = file.script(5, Occasion::First);
            let script = script.replace("root:root", &format!(":{group}"));
            let script = format!("printf %s {text} | {{ {script}\n}}");
            Command::new("sh")
                .args(["-c", &script])
                .status()
                .unwrap()
                .success()
        };
        assert!(!write("123"));
        assert!(!path.exists());
        assert!(write("12345"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "12345");
    }

    #[test]
    fn a_timer_that_is_off_is_told() {
        let of = |said| Timer::read(said).and_then(Timer::told);
        assert_eq!(of("enabled active\n"), None);
        assert_eq!(of("enabled-runtime active\n"), None);
        assert!(
            of("Created symlink …\ndisabled inactive\n")
                .unwrap()
                .contains("enable --now")
        );
        assert!(
            of("enabled inactive\n")
                .unwrap()
                .contains("start ehos.timer")
        );
        assert!(of("enabled failed\n").unwrap().contains("start ehos.timer"));
        assert!(
            of("disabled active\n")
                .unwrap()
                .contains("enable ehos.timer")
        );
        assert_eq!(Timer::read(""), None);
        let script = timer(Occasion::DryRun).text;
        assert!(!script.contains("enable --now"), "{script}");
    }
}
