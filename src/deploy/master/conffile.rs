//! Files on the central manager that somebody there may have edited: replaced only where they are as a deploy left them, as
//! dpkg does with its conffiles. The new one is then beside the edited one.
//!
//! Source: deb-conffiles(5), "Automatic handling of conffiles by dpkg" in the Debian Policy Manual, 10.7.3.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ssh::quoted;

/// SHA-256 of each file as the last deploy brought it, and its path, as `sha256sum` prints them.
pub const LIST: &str = "/etc/ehos/.installed";
/// What is put behind the name of a new file whose old one was edited.
pub const NEW: &str = ".ehos-new";
/// What is put behind the name of an old file of which nobody knows whether it was edited.
pub const OLD: &str = ".ehos-old";
/// Deals with a file, as the variables before it say.
const SCRIPT: &str = include_str!("scripts/file.sh");

/// How a file is dealt with where there is one already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It is replaced.
    Replace,
    /// It is replaced unless it was edited there.
    KeepEdited,
    /// It is only compared.
    Compare,
}

/// What became of a file, or would. Its names are the words of the script, and of the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// There was none.
    Added,
    Same,
    /// It was as a deploy had left it.
    Replaced,
    /// It was edited there, and there is nothing new to be put beside it.
    Kept,
    /// It was edited there: the new one is beside it.
    NewBeside,
    /// Nobody knows whether it was edited: the old one is beside it.
    OldBeside,
    /// It is another one there, and none of a deploy's business.
    Differs,
}

/// A file that was looked at, or dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// What changes in it, as `diff -u` prints it; nothing for a secret, and where there is no diff.
    pub difference: String,
}

impl FileChange {
    /// Reads what [`script`] prints.
    pub fn read(path: &Path, said: &str) -> Option<FileChange> {
        let (word, difference) = said.split_once('\n').unwrap_or((said, ""));
        Some(FileChange {
            path: path.display().to_string(),
            change: serde_json::from_value(word.trim().into()).ok()?,
            difference: without_secrets(difference.trim_end()),
        })
    }

    /// In a sentence; nothing of one that is the same. `would`: nothing was done.
    pub fn told(&self, would: bool) -> Option<String> {
        let FileChange {
            path,
            change,
            difference: _,
        } = self;
        let will = if would { "would be " } else { "" };
        Some(match change {
            Change::Same => return None,
            Change::Added => format!("{path}: {will}added"),
            Change::Replaced => format!("{path}: {will}replaced; nobody had edited it"),
            Change::Kept => format!("{path}: {will}kept as it was edited there"),
            Change::NewBeside => format!(
                "{path}: {will}kept as it was edited there; the new one {} {path}{NEW}: to take it, mv {path}{NEW} {path}",
                if would { "would be" } else { "is" }
            ),
            Change::OldBeside => format!(
                "{path}: {will}replaced, for no deploy has noted how it was; the old one {} {path}{OLD}",
                if would { "would be" } else { "is" }
            ),
            Change::Differs => format!(
                "{path}: left as it is there; what is new here goes into /etc/ehos/ehos.d there"
            ),
        })
    }
}

/// What stands before a secret, where somebody has written one into a file that is shown.
const BEFORE_SECRETS: [&str; 6] = [
    "password",
    "passwd",
    "secret",
    "token",
    "webhook",
    "private_key",
];

/// A difference without what stands behind such a word, and in the block below it. Addresses lose their passwords, too.
fn without_secrets(difference: &str) -> String {
    let mut shown: Vec<String> = Vec::new();
    // How far the key of a secret of several lines is indented.
    let mut block: Option<usize> = None;
    for line in difference.lines() {
        let depth = |line: &str| {
            let text = line.get(1..).unwrap_or_default();
            text.len() - text.trim_start().len()
        };
        let in_block = block.is_some_and(|key| depth(line) > key);
        if in_block && !line.starts_with("@@") {
            if let Some(sign) = line.get(..1) {
                shown.push(format!("{sign}***"));
            }
            continue;
        }
        block = None;
        match secret_at(line) {
            Some(at) => {
                let (before, value) = line.split_at_checked(at).unwrap_or((line, ""));
                let value = value.trim();
                if value.is_empty() || value.starts_with(['|', '>']) {
                    block = Some(depth(line));
                }
                shown.push(format!("{before} ***"));
            }
            None => shown.push(without_login(line)),
        }
    }
    shown.join("\n")
}

/// Where a secret may begin in a line: behind one of these words and a `:` or `=`.
fn secret_at(line: &str) -> Option<usize> {
    let small = line.to_ascii_lowercase();
    let ends = BEFORE_SECRETS.iter().flat_map(|word| {
        let found = small.match_indices(word);
        found.map(move |(at, _)| at + word.len())
    });
    let behind = ends.filter_map(|end| {
        let rest = small.get(end..)?;
        let sign = rest.trim_start_matches([' ', '"', '\'']);
        let at = end + (rest.len() - sign.len());
        sign.starts_with([':', '=']).then_some(at + 1)
    });
    behind.min()
}

/// A line without the user and the password of the addresses in it.
fn without_login(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', ' ', '"', '\'']).unwrap_or(part.len());
        let (host, rest) = part.split_at_checked(end).unwrap_or((part, ""));
        let host = host
            .rsplit_once('@')
            .map_or_else(|| host.to_owned(), |(_, host)| format!("***@{host}"));
        shown.push_str("://");
        shown.push_str(&host);
        shown.push_str(rest);
    }
    shown
}

/// A file as it is brought.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'f> {
    pub path: &'f Path,
    /// Its mode, in octal.
    pub mode: &'f str,
    /// Its group; its owner is root.
    pub group: &'f str,
    /// How many bytes it has: a connection that breaks must not leave half a file.
    pub length: usize,
    /// Its contents are shown to nobody.
    pub secret: bool,
    /// How one that is there is dealt with.
    pub care: Care,
}

/// On which machine the files are brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It was never ready: nobody has edited anything.
    First,
    /// It is in use.
    Again,
    /// It is in use, and nothing is to be changed.
    DryRun,
}

/// The script that deals with the file that it reads from its standard input. It prints what became of it, and then the
/// difference.
pub fn script(file: &Brought<'_>, occasion: Occasion, list: &str) -> String {
    let Brought {
        path,
        mode,
        group,
        length,
        secret,
        care,
    } = file;
    // What is in /etc is its administrator's, what is in /usr a package's.
    let unknown = if path.starts_with("/etc") {
        "new-beside"
    } else {
        "old-beside"
    };
    let care = match care {
        Care::Replace => "replace",
        Care::KeepEdited => "keep-edited",
        Care::Compare => "compare",
    };
    let occasion = match occasion {
        Occasion::First => "first",
        Occasion::Again => "again",
        Occasion::DryRun => "dry-run",
    };
    format!(
        "path={}; list={}; length={length}; care={care}; occasion={occasion}; secret={}; unknown={unknown}\n\
         rights() {{ chown root:{group} \"$new\"; chmod {mode} \"$new\"; }}\n\
         {SCRIPT}",
        quoted(&path.display().to_string()),
        quoted(list),
        if *secret { "yes" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn no_secret_stands_in_a_difference() {
        let said = "differs\n--- /etc/ehos/ehos.yaml\n+++ new\n@@ -1,9 +1,2 @@\n ehos:\n-  password: hush1\n-  token: |\n-    hush2\n\
                    -    hush3\n-  nodes_max: 3\n-  influxdb: {login: a, \"Password\" : \"hush4\"}\n-  url: https://me:hush5@db.example/x\n\
                    -  # SECRET=hush6\n-  webhook:\n-    https://hooks.example/hush7\n-  token_file: /etc/ehos/a.token\n-\tx: 1\n+  nodes_max: 4\n";
        let read = FileChange::read(Path::new("/etc/ehos/ehos.yaml"), said).unwrap();
        let shown = read.difference;
        assert!(!shown.contains("hush"), "{shown}");
        for line in [
            "-  nodes_max: 3",
            "+  nodes_max: 4",
            "-  password: ***",
            "-  url: https://***@db.example/x",
            "-  token_file: /etc/ehos/a.token",
        ] {
            assert!(shown.lines().any(|there| there == line), "{line}: {shown}");
        }
        // Any text is taken.
        for odd in [
            "\u{e4}password:\u{e4}",
            "",
            "+",
            "password",
            "://@",
            "\u{e4}://\u{e4}@",
        ] {
            without_secrets(odd);
        }
    }

    struct Machine {
        dir: tempfile::TempDir,
        /// Of this user: only root may give files away.
        group: String,
    }

    impl Machine {
        fn new() -> Machine {
            let group = Command::new("id").arg("-gn").output().unwrap();
            Machine {
                dir: tempfile::tempdir().unwrap(),
                group: String::from_utf8(group.stdout).unwrap().trim().to_owned(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn text(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }

        fn run(&self, text: &str, occasion: Occasion, change: impl Fn(&mut Brought)) -> FileChange {
            let path = self.path("etc/it's one.yaml");
            let mut file = Brought {
                path: &path,
                mode: "640",
                group: &self.group,
                length: text.len(),
                secret: false,
                care: Care::KeepEdited,
            };
            change(&mut file);
            let list = self.path("etc/.installed").display().to_string();
            // The folder stands for /.
            let script = script(&file, occasion, &list).replace("chown root:", "chown :");
            let mut shell = Command::new("sh")
                .args(["-c", &script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = shell.stdin.take().unwrap();
            stdin.write_all(text.as_bytes()).unwrap();
            drop(stdin);
            let output = shell.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}\n{script}");
            FileChange::read(&path, &String::from_utf8(output.stdout).unwrap()).unwrap()
        }

        fn again(&self, text: &str) -> Change {
            self.run(text, Occasion::Again, |_| {}).change
        }

        fn edit(&self, text: &str) {
            fs::write(self.path(NAME), text).unwrap();
        }
    }

    const NAME: &str = "etc/it's one.yaml";

    fn beside(ending: &str) -> String {
        format!("{NAME}{ending}")
    }

    #[test]
    fn what_nobody_edited_is_replaced_and_what_was_edited_is_kept() {
        let machine = Machine::new();
        assert_eq!(machine.again("one\n"), Change::Added);
        assert_eq!(machine.again("one\n"), Change::Same);
        assert_eq!(machine.again("two\n"), Change::Replaced);
        let mode = fs::metadata(machine.path(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);

        machine.edit("two\nmine\n");
        assert_eq!(machine.again("two\n"), Change::Kept);
        assert_eq!(machine.text(&beside(NEW)), None);
        let changed = machine.run("three\n", Occasion::Again, |_| {});
        assert_eq!(changed.change, Change::NewBeside);
        assert!(changed.difference.contains("-mine\n"), "{changed:?}");
        assert!(changed.difference.contains("+three"), "{changed:?}");
        assert_eq!(machine.text(NAME).unwrap(), "two\nmine\n");
        assert_eq!(machine.text(&beside(NEW)).unwrap(), "three\n");
        // Once more: nothing new has come, and the same stays beside it.
        assert_eq!(machine.again("three\n"), Change::Kept);
        // Taken over, it is nobody's edit any more.
        fs::rename(machine.path(&beside(NEW)), machine.path(NAME)).unwrap();
        assert_eq!(machine.again("three\n"), Change::Same);
        assert_eq!(machine.again("four\n"), Change::Replaced);
        // One that was deleted comes again.
        fs::remove_file(machine.path(NAME)).unwrap();
        assert_eq!(machine.again("four\n"), Change::Added);
        let list = machine.text("etc/.installed").unwrap();
        assert_eq!(list.lines().count(), 1, "{list}");
    }

    #[test]
    fn where_no_deploy_has_noted_it_nothing_is_lost() {
        let machine = Machine::new();
        fs::create_dir(machine.path("etc")).unwrap();
        machine.edit("old\n");
        // Outside /etc, as this folder is.
        assert_eq!(machine.again("one\n"), Change::OldBeside);
        assert_eq!(machine.text(NAME).unwrap(), "one\n");
        assert_eq!(machine.text(&beside(OLD)).unwrap(), "old\n");
        // In /etc the file stays.
        let brought = Brought {
            path: Path::new("/etc/ehos/execute.yaml"),
            mode: "644",
            group: "root",
            length: 1,
            secret: false,
            care: Care::KeepEdited,
        };
        let script = script(&brought, Occasion::Again, LIST);
        assert!(script.contains("how=new-beside"), "{script}");
        assert!(!script.contains("how=old-beside"), "{script}");
    }

    #[test]
    fn a_link_stays_one() {
        let machine = Machine::new();
        assert_eq!(machine.again("one\n"), Change::Added);
        fs::rename(machine.path(NAME), machine.path("elsewhere")).unwrap();
        symlink(machine.path("elsewhere"), machine.path(NAME)).unwrap();
        assert_eq!(machine.again("one\n"), Change::Same);
        assert_eq!(machine.again("two\n"), Change::NewBeside);
        assert!(machine.path(NAME).is_symlink());
        assert_eq!(machine.text("elsewhere").unwrap(), "one\n");
    }

    #[test]
    fn a_first_installation_asks_nobody_and_a_dry_run_changes_nothing() {
        let machine = Machine::new();
        fs::create_dir(machine.path("etc")).unwrap();
        machine.edit("of cloud-init\n");
        let first = machine.run("one\n", Occasion::First, |_| {});
        assert_eq!(first.change, Change::Replaced);
        machine.edit("mine\n");
        let before = machine.text("etc/.installed");
        let looked = machine.run("two\n", Occasion::DryRun, |_| {});
        assert_eq!(looked.change, Change::NewBeside);
        assert!(looked.difference.contains("+two"), "{looked:?}");
        assert_eq!(machine.text(NAME).unwrap(), "mine\n");
        assert_eq!(machine.text("etc/.installed"), before);
        assert_eq!(fs::read_dir(machine.path("etc")).unwrap().count(), 2);
        let missing = machine.run("x", Occasion::DryRun, |file| {
            file.path = Path::new("/nowhere/at/all");
        });
        assert_eq!(missing.change, Change::Added);
    }

    #[test]
    fn a_secret_is_never_shown_and_what_is_only_compared_never_written() {
        let machine = Machine::new();
        machine.run("hush\n", Occasion::Again, |file| file.secret = true);
        machine.edit("other\n");
        let changed = machine.run("more\n", Occasion::Again, |file| file.secret = true);
        assert_eq!(
            (changed.change, changed.difference.as_str()),
            (Change::NewBeside, "")
        );
        let mode = fs::metadata(machine.path(&beside(NEW)))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);
        fs::remove_file(machine.path(&beside(NEW))).unwrap();

        let compared = machine.run("here\n", Occasion::Again, |file| file.care = Care::Compare);
        assert_eq!(compared.change, Change::Differs);
        assert!(compared.difference.contains("+here"), "{compared:?}");
        assert_eq!(machine.text(NAME).unwrap(), "other\n");
        assert_eq!(fs::read_dir(machine.path("etc")).unwrap().count(), 2);
        // A program is replaced, and no list has it.
        let program = machine.run("new\n", Occasion::Again, |file| file.care = Care::Replace);
        assert_eq!(
            (program.change, program.difference.as_str()),
            (Change::Replaced, "")
        );
    }

    #[test]
    fn what_is_said_can_be_read_or_is_none() {
        let path = Path::new("/etc/x");
        assert_eq!(FileChange::read(path, ""), None);
        assert_eq!(FileChange::read(path, "sudo: a word\nsame\n"), None);
        let same = FileChange::read(path, "same\n").unwrap();
        assert_eq!((same.change, same.told(false)), (Change::Same, None));
        let words = "added same replaced kept new-beside old-beside differs";
        let all: Vec<String> = words
            .split(' ')
            .flat_map(|word| {
                let change = FileChange::read(path, word).unwrap();
                [change.told(false), change.told(true)]
            })
            .flatten()
            .collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        /etc/x: added
        /etc/x: would be added
        /etc/x: replaced; nobody had edited it
        /etc/x: would be replaced; nobody had edited it
        /etc/x: kept as it was edited there
        /etc/x: would be kept as it was edited there
        /etc/x: kept as it was edited there; the new one is /etc/x.ehos-new: to take it, mv /etc/x.ehos-new /etc/x
        /etc/x: would be kept as it was edited there; the new one would be /etc/x.ehos-new: to take it, mv /etc/x.ehos-new /etc/x
        /etc/x: replaced, for no deploy has noted how it was; the old one is /etc/x.ehos-old
        /etc/x: would be replaced, for no deploy has noted how it was; the old one would be /etc/x.ehos-old
        /etc/x: left as it is there; what is new here goes into /etc/ehos/ehos.d there
        /etc/x: left as it is there; what is new here goes into /etc/ehos/ehos.d there
        ");
    }
}
