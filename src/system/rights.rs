//! Remedies for "permission denied": the command that works, with the user who owns what was denied in it.
//!
//! Owns: the one place that names `sudo -u OWNER ehos …`.
//! Must not: change anything; start a process.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::geteuid;

use crate::advice::Advice;
use crate::environment::Environment;

/// The state directory of a system.
pub const SYSTEM_DIRECTORY: &str = "/var/lib/ehos";

/// Variables that `sudo` drops, and the flags that stand for them.
const FLAGS: [(&str, &str); 2] = [
    ("EHOS_CONFIG", "--config"),
    ("EHOS_STATE_DIR", "--state-dir"),
];

/// The command line of this process, and the state directory that it names.
#[derive(Debug)]
struct Invocation {
    command: String,
    state_directory: PathBuf,
}

static INVOCATION: OnceLock<Invocation> = OnceLock::new();

/// Keeps the command line (the program's name first), so that a remedy can repeat it.
pub fn remember(args: &[OsString], environment: &Environment) {
    let words: Vec<String> = args
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let value = |name: &str| {
        let value = environment.variables.get(name)?;
        (!value.is_empty()).then(|| value.clone())
    };
    let given = flag(&words, "--state-dir").or_else(|| value("EHOS_STATE_DIR"));
    let state_directory = given
        .or_else(|| value("STATE_DIRECTORY"))
        .unwrap_or_else(|| SYSTEM_DIRECTORY.to_owned());
    // Only the first run of a process counts: there is one command line.
    let _ = INVOCATION.set(Invocation {
        command: command_line(&words, value),
        state_directory: environment.working_directory.join(state_directory),
    });
}

fn flag(words: &[String], name: &str) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == name {
            return words.next().cloned();
        }
        if let Some(value) = word
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
        {
            return Some(value.to_owned());
        }
    }
    None
}

/// The command as it can be typed once more, by a user whose environment is another one.
fn command_line(words: &[String], variable: impl Fn(&str) -> Option<String>) -> String {
    let mut command = String::from("ehos");
    for word in words {
        command.push(' ');
        command.push_str(&shell_word(word));
    }
    for (name, option) in FLAGS {
        if let Some(value) = variable(name)
            && flag(words, option).is_none()
            && !words.is_empty()
        {
            command.push_str(&format!(" {option} {}", shell_word(&value)));
        }
    }
    command
}

/// `text` as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The command line of this process, to be typed by another user.
pub fn command() -> &'static str {
    INVOCATION
        .get()
        .map_or("ehos", |invocation| invocation.command.as_str())
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// The users in /etc/passwd. One that only a directory service knows is named by its number.
fn users() -> Vec<User> {
    parse_users(&fs::read_to_string("/etc/passwd").unwrap_or_default())
}

fn parse_users(text: &str) -> Vec<User> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { name, uid, gid })
    };
    text.lines().filter_map(user).collect()
}

/// The name of the user of this process.
pub fn own_name() -> String {
    user_name(geteuid().as_raw())
}

/// The name of the user `uid`; `#UID`, as sudo and people read it, where it has none.
pub fn user_name(uid: u32) -> String {
    name_in(&users(), uid)
}

fn name_in(users: &[User], uid: u32) -> String {
    users
        .iter()
        .find(|user| user.uid == uid)
        .map_or_else(|| format!("#{uid}"), |user| user.name.clone())
}

/// The command line of this process as the user `uid` types it with sudo.
pub fn command_as(uid: u32) -> String {
    format!("{} {}", sudo(&users(), uid), command())
}

/// The command line of this process as the user types it with sudo who owns `path`, or the deepest folder above it that
/// can be looked at; nothing where that is this user.
pub fn command_as_owner(path: &Path) -> Option<String> {
    let owner = path.ancestors().find_map(Entry::of)?.uid;
    (owner != geteuid().as_raw()).then(|| command_as(owner))
}

/// The start of a command that runs as `uid`.
fn sudo(users: &[User], uid: u32) -> String {
    match (uid, name_in(users, uid)) {
        (0, _) => "sudo".to_owned(),
        // A `#` begins a comment.
        (_, name) if name.starts_with('#') => format!("sudo -u '{name}'"),
        (_, name) => format!("sudo -u {name}"),
    }
}

/// A user as `chown` takes it.
fn chown_word(users: &[User], uid: u32) -> String {
    let name = name_in(users, uid);
    name.strip_prefix('#').map_or(name.clone(), str::to_owned)
}

/// Owner and mode of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    uid: u32,
    gid: u32,
    mode: u32,
    is_dir: bool,
}

impl Entry {
    fn of(path: &Path) -> Option<Entry> {
        let found = fs::metadata(path).ok()?;
        Some(Entry {
            path: path.to_owned(),
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode() & 0o7777,
            is_dir: found.is_dir(),
        })
    }
}

/// What is known about a denial.
#[derive(Debug)]
struct Denial {
    /// The user of this process.
    me: u32,
    /// What was denied, or the deepest folder above it that can be looked at.
    thing: Option<Entry>,
    /// The folder that it is in.
    folder: Option<Entry>,
    /// The state directory, whose owner runs the ticks.
    state: Option<Entry>,
    users: Vec<User>,
}

impl Denial {
    fn of(path: &Path, state: Option<&Path>) -> Denial {
        let thing = path.ancestors().find_map(Entry::of);
        let folder = thing
            .as_ref()
            .and_then(|thing| thing.path.parent())
            .and_then(Entry::of);
        Denial {
            me: geteuid().as_raw(),
            thing,
            folder,
            state: state.and_then(Entry::of),
            users: users(),
        }
    }

    /// What to do, as an imperative with the command in it.
    fn remedy(&self, command: &str) -> String {
        let as_user = |uid: u32| {
            format!(
                "run this as the user {}: {} {command}",
                name_in(&self.users, uid),
                sudo(&self.users, uid)
            )
        };
        let ticker = self.state.as_ref().map(|state| state.uid);
        let Some(thing) = &self.thing else {
            return as_user(ticker.unwrap_or(0));
        };
        let path = thing.path.display();
        let me = chown_word(&self.users, self.me);
        if thing.uid == self.me {
            let rights = if thing.is_dir { "u+rwx" } else { "u+rw" };
            return format!("give its owner the right: chmod {rights} {path}");
        }
        let mine = |entry: &Option<Entry>| entry.as_ref().is_some_and(|it| it.uid == self.me);
        // What another user has left in the state directory is in the way of each tick.
        if let Some(state) = self.state.as_ref().filter(|it| {
            it.uid == self.me && thing.path != it.path && thing.path.starts_with(&it.path)
        }) {
            return format!(
                "another user has left it there, as a run as root does; sudo chown -R {me}: {}",
                state.path.display()
            );
        }
        if mine(&self.folder) {
            return format!("give it back to its folder's owner: sudo chown {me}: {path}");
        }
        if self.me == 0 {
            return format!(
                "root may not do this there (an immutable file, a network file system); {}",
                as_user(thing.uid)
            );
        }
        if thing.uid != 0 {
            return as_user(thing.uid);
        }
        // Root's, for a group to read: /etc/ehos/ehos.yaml is root:ehos 0640.
        let reader = self
            .users
            .iter()
            .find(|user| user.gid == thing.gid && user.gid != 0 && thing.mode & 0o040 != 0);
        match (reader, ticker) {
            (Some(user), _) if user.uid != self.me => as_user(user.uid),
            (_, Some(uid)) if uid != self.me => as_user(uid),
            (_, Some(_)) => format!(
                "let the user of the ticks read it: sudo chgrp {} {path} && sudo chmod g+r{} {path}",
                self.users
                    .iter()
                    .find(|user| user.uid == self.me)
                    .map_or_else(|| me.clone(), |user| user.gid.to_string()),
                if thing.is_dir { "x" } else { "" }
            ),
            (_, None) => as_user(0),
        }
    }
}

/// What the system says of `path`; where it denied access, with the command that has it.
pub fn told(path: &Path, error: &io::Error) -> Advice {
    let state = INVOCATION
        .get()
        .map(|invocation| invocation.state_directory.as_path());
    told_in(path, state, error)
}

/// The same for `path` in the state directory `state`.
pub fn told_in(path: &Path, state: Option<&Path>, error: &io::Error) -> Advice {
    Advice {
        problem: error.to_string(),
        remedy: remedy(path, state, error.kind()),
    }
}

/// What to do about an error of `kind`, where it is that access was denied.
pub fn remedy(path: &Path, state: Option<&Path>, kind: io::ErrorKind) -> Option<String> {
    (kind == io::ErrorKind::PermissionDenied).then(|| Denial::of(path, state).remedy(command()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          ehos:x:990:980::/var/lib/ehos:/usr/sbin/nologin\n\
                          alice:x:1000:1000:,,,:/home/alice:/bin/bash\n\
                          broken\n+::::::\n";

    fn entry(path: &str, uid: u32, gid: u32, mode: u32) -> Entry {
        Entry {
            path: PathBuf::from(path),
            uid,
            gid,
            mode,
            is_dir: !path.contains('.'),
        }
    }

    fn remedy_of(me: u32, thing: Entry, folder: Entry, state: Option<Entry>) -> String {
        let denial = Denial {
            me,
            thing: Some(thing),
            folder: Some(folder),
            state,
            users: parse_users(PASSWD),
        };
        denial.remedy("ehos tick")
    }

    #[test]
    fn the_owner_of_what_was_denied_is_named_with_the_command() {
        let state = || Some(entry("/var/lib/ehos", 990, 980, 0o700));
        let etc = || entry("/etc/ehos", 0, 0, 0o755);
        let of = |me, thing, folder| remedy_of(me, thing, folder, state());
        let var_lib = || entry("/var/lib", 0, 0, 0o755);
        let said = [
            // Somebody else, at the closed state directory and at the configuration.
            of(1000, entry("/var/lib/ehos", 990, 980, 0o700), var_lib()),
            of(1000, entry("/etc/ehos/ehos.yaml", 0, 980, 0o640), etc()),
            of(1000, entry("/etc/ehos/lab.secret", 0, 0, 0o600), etc()),
            // The user of the ticks, after a run as root.
            of(
                990,
                entry("/var/lib/ehos/state.json", 0, 0, 0o600),
                entry("/var/lib/ehos", 990, 980, 0o700),
            ),
            of(
                990,
                entry("/var/lib/ehos/history/2026.jsonl", 0, 0, 0o600),
                entry("/var/lib/ehos/history", 0, 0, 0o700),
            ),
            of(990, entry("/etc/ehos/lab.secret", 0, 0, 0o600), etc()),
            // Their own.
            of(
                1000,
                entry("/home/alice/a.yaml", 1000, 1000, 0),
                entry("/home/alice", 1000, 1000, 0o755),
            ),
            of(
                1000,
                entry("/home/alice/a.yaml", 0, 0, 0o600),
                entry("/home/alice", 1000, 1000, 0o755),
            ),
            // A user that only a directory service knows.
            of(
                1000,
                entry("/srv/ehos", 4711, 4711, 0o700),
                entry("/srv", 0, 0, 0o755),
            ),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        run this as the user ehos: sudo -u ehos ehos tick
        run this as the user ehos: sudo -u ehos ehos tick
        run this as the user ehos: sudo -u ehos ehos tick
        another user has left it there, as a run as root does; sudo chown -R ehos: /var/lib/ehos
        another user has left it there, as a run as root does; sudo chown -R ehos: /var/lib/ehos
        let the user of the ticks read it: sudo chgrp 980 /etc/ehos/lab.secret && sudo chmod g+r /etc/ehos/lab.secret
        give its owner the right: chmod u+rw /home/alice/a.yaml
        give it back to its folder's owner: sudo chown alice: /home/alice/a.yaml
        run this as the user #4711: sudo -u '#4711' ehos tick
        ");
        // A site whose ticks root runs, and one where nothing is known.
        let root = Some(entry("/var/lib/ehos", 0, 0, 0o700));
        let denied = || entry("/var/lib/ehos", 0, 0, 0o700);
        assert!(remedy_of(1000, denied(), var_lib(), root).ends_with("sudo ehos tick"));
        assert!(remedy_of(1000, denied(), var_lib(), None).ends_with("sudo ehos tick"));
    }

    #[test]
    fn a_command_is_repeated_as_it_was_typed() {
        let words = |text: &[&str]| -> Vec<String> { text.iter().map(|&w| w.to_owned()).collect() };
        let none = |_: &str| None;
        assert_eq!(command_line(&words(&[]), none), "ehos");
        assert_eq!(
            command_line(&words(&["resume", "it's", "a b"]), none),
            r"ehos resume 'it'\''s' 'a b'"
        );
        // sudo drops variables.
        let set = |name: &str| (name == "EHOS_STATE_DIR").then(|| "/srv/x y".to_owned());
        assert_eq!(
            command_line(&words(&["tick"]), set),
            "ehos tick --state-dir '/srv/x y'"
        );
        let given = words(&["tick", "--state-dir=/srv/a"]);
        assert_eq!(command_line(&given, set), "ehos tick --state-dir=/srv/a");
        assert_eq!(flag(&given, "--state-dir").as_deref(), Some("/srv/a"));
        assert_eq!(
            flag(&words(&["tick", "--state-dir", "b"]), "--state-dir").as_deref(),
            Some("b")
        );
    }

    #[test]
    fn only_a_denial_has_a_remedy() {
        let path = Path::new("/nowhere/at/all");
        let of = |kind: io::ErrorKind| told(path, &io::Error::from(kind)).to_string();
        assert!(!of(io::ErrorKind::NotFound).contains("sudo"));
        assert!(of(io::ErrorKind::PermissionDenied).contains("; "));
    }
}
