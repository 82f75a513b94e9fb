//! SSH keys that this user can log in with: whose private half is in a file here, or in an agent.
//!
//! Must not: read a private key further than its public half, which OpenSSH's format keeps in clear before it.
//! Source: OpenSSH, PROTOCOL.key; ssh_config(5), `IdentityFile`; ssh-add(1), `-L`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use scaling::sorting;

use system::advice::Advice;
use system::child;
use system::deadline::Deadline;
use system::environment::Environment;

/// How long the agent may take to list its keys: it may be at the other end of a connection.
const AGENT: Duration = Duration::from_secs(5);
/// A longer file is no private key.
const MAX_KEY: u64 = 64 * 1024;
/// What a private key of OpenSSH's own format holds first.
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A key that this user can log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// Its public half, in base64.
    body: String,
    /// Where its private half is.
    place: String,
}

/// The keys of this user.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LocalKeys {
    held: Vec<Held>,
    /// Public halves whose private ones were not found.
    halves: Vec<Held>,
    /// Private keys that do not tell their public half: any could be the one.
    sealed: Vec<PathBuf>,
    /// There was nowhere to look.
    unknown: bool,
}

/// Where the private half of a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivateHalf {
    /// In this file, or in the agent.
    Here(String),
    /// Its public half is here, and nothing else of it.
    PublicOnly(String),
    /// Nothing of it is here.
    Nowhere,
    /// It cannot be known.
    Unknown,
}

/// The middle of a public key's line, which is the key itself.
fn body(line: &str) -> Option<&str> {
    line.split_whitespace().nth(1)
}

impl LocalKeys {
    /// Looks for them: in ~/.ssh, in the files that its `config` names, and in the agent.
    pub fn look(environment: &Environment) -> LocalKeys {
        let variable = |name: &str| {
            let value = environment.variables.get(name);
            value.filter(|value| !value.is_empty())
        };
        let mut keys = LocalKeys::default();
        let home = variable("HOME").map(PathBuf::from);
        let agent = variable("SSH_AUTH_SOCK").is_some();
        if let Some(home) = &home {
            keys.of_files(home);
        }
        if agent {
            keys.of_agent();
        }
        keys.unknown = home.is_none() && !agent;
        keys
    }

    fn of_files(&mut self, home: &Path) {
        let folder = home.join(".ssh");
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.extend(configured(home));
        sorting::ascending(&mut files);
        files.dedup();
        for file in &files {
            if file.extension().is_some_and(|ending| ending == "pub") {
                self.of_public(file);
            } else {
                self.of_private(file);
            }
        }
    }

    fn of_public(&mut self, file: &Path) {
        let Ok(text) = fs::read_to_string(file) else {
            return;
        };
        let Some(body) = body(&text) else { return };
        let private = file.with_extension("");
        let (list, place) = if private.is_file() {
            (&mut self.held, private)
        } else {
            (&mut self.halves, file.to_owned())
        };
        list.push(Held {
            body: body.to_owned(),
            place: place.display().to_string(),
        });
    }

    fn of_private(&mut self, file: &Path) {
        let is_small =
            fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= MAX_KEY);
        let mut public = file.as_os_str().to_owned();
        public.push(".pub");
        // One with its public half beside it is told by that.
        if !is_small || Path::new(&public).is_file() {
            return;
        }
        let Ok(text) = fs::read_to_string(file) else {
            return;
        };
        if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY-----") {
            return;
        }
        match public_half(&text) {
            Some(body) => self.held.push(Held {
                body,
                place: file.display().to_string(),
            }),
            None => self.sealed.push(file.to_owned()),
        }
    }

    fn of_agent(&mut self) {
        let mut command = Command::new("ssh-add");
        command.arg("-L");
        let mut text = Vec::new();
        // Without an agent, or without ssh-add, there is no key in it.
        let ended = child::run(&mut command, Vec::new(), Deadline::within(AGENT), |piece| {
            text.extend_from_slice(piece);
        });
        if !ended.is_ok_and(|ended| ended.status.success()) {
            return;
        }
        let keys = String::from_utf8_lossy(&text);
        self.held
            .extend(keys.lines().filter_map(body).map(|body| Held {
                body: body.to_owned(),
                place: "the SSH agent".to_owned(),
            }));
    }

    /// Where the private half of the key with this public line is.
    pub fn private_half(&self, public: &str) -> PrivateHalf {
        let Some(body) = body(public) else {
            return PrivateHalf::Unknown;
        };
        let find = |list: &[Held]| {
            let found = list.iter().find(|held| held.body == body);
            found.map(|held| held.place.clone())
        };
        match (find(&self.held), find(&self.halves)) {
            (Some(place), _) => PrivateHalf::Here(place),
            _ if self.unknown || !self.sealed.is_empty() => PrivateHalf::Unknown,
            (None, Some(file)) => PrivateHalf::PublicOnly(file),
            (None, None) => PrivateHalf::Nowhere,
        }
    }

    /// What to know of keypair `name`, whose private half is not here, and what to do about it; nothing where it is, or may
    /// be.
    pub fn missing(&self, name: &str, public: &str) -> Option<Advice> {
        let here = match self.private_half(public) {
            PrivateHalf::Here(_) | PrivateHalf::Unknown => return None,
            PrivateHalf::PublicOnly(file) => format!(
                "the private half of keypair {name} is missing here: {file} has no private key beside it, and no agent has it"
            ),
            PrivateHalf::Nowhere => format!(
                "the private half of keypair {name} is missing here: neither ~/.ssh nor an agent has it"
            ),
        };
        let own = self.held.iter().find(|held| held.place.contains("/.ssh/"));
        let adds = own.map_or_else(
            || "create a key by `ssh-keygen`, remove".to_owned(),
            |_| "remove".to_owned(),
        );
        let remedy = format!(
            "{adds} `key: {name}` from the configuration (`ehos config show` prints its file) and run `ehos cloud \
             setup`, which adds yours; or give the private half to `ehos master deploy` with --identity FILE"
        );
        Some((here, remedy).into())
    }
}

/// The files of `IdentityFile` in ~/.ssh/config. Those of a `Match` or `Host` that is not this one's do no harm.
fn configured(home: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(home.join(".ssh/config")).unwrap_or_default();
    let file = |line: &str| {
        let line = line.trim();
        let (word, value) = line.split_once(|c: char| c.is_whitespace() || c == '=')?;
        if !word.eq_ignore_ascii_case("IdentityFile") {
            return None;
        }
        let value = value.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '"');
        let value = value
            .strip_prefix("~/")
            .or_else(|| value.strip_prefix("%d/"))
            .map_or_else(|| PathBuf::from(value), |rest| home.join(rest));
        Some(value)
    };
    let named: Vec<PathBuf> = text.lines().filter_map(file).collect();
    let public = named.iter().map(|file| {
        let mut public = file.as_os_str().to_owned();
        public.push(".pub");
        PathBuf::from(public)
    });
    let public: Vec<PathBuf> = public.filter(|file| file.is_file()).collect();
    named.into_iter().chain(public).collect()
}

/// The public half of a private key in OpenSSH's own format, in base64. Other formats keep it with the private one.
fn public_half(text: &str) -> Option<String> {
    let inner = text
        .strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----")?
        .split("-----END")
        .next()?;
    let inner: String = inner.split_whitespace().collect();
    let bytes = BASE64.decode(inner).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC)?;
    // The names of cipher and key derivation, and what that needs.
    for _ in 0..3 {
        rest = string(rest)?.1;
    }
    let (count, rest) = rest.split_at_checked(4)?;
    if count != [0, 0, 0, 1] {
        return None;
    }
    Some(BASE64.encode(string(rest)?.0))
}

/// A string with its length before it, and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn environment(home: &Path) -> Environment {
        Environment {
            variables: BTreeMap::from([("HOME".to_owned(), home.display().to_string())]),
            root: home.to_owned(),
            working_directory: home.to_owned(),
        }
    }

    fn keygen(file: &Path, more: &[&str]) -> bool {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-f"])
            .arg(file)
            .args(more)
            .status();
        match made {
            Ok(status) => {
                assert!(status.success());
                true
            }
            Err(_) => {
                println!("skipped: no ssh-keygen");
                false
            }
        }
    }

    #[test]
    fn the_private_half_of_a_key_is_found_or_missed() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".ssh");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("id_ed25519");
        if !keygen(&file, &["-t", "ed25519"]) {
            return;
        }
        let public = fs::read_to_string(folder.join("id_ed25519.pub")).unwrap();
        let of = |line: &str| LocalKeys::look(&environment(home.path())).private_half(line);
        let here = PrivateHalf::Here(file.display().to_string());
        assert_eq!(of(&public), here);
        assert_eq!(of("ssh-ed25519 AAAAother"), PrivateHalf::Nowhere);
        assert_eq!(of(""), PrivateHalf::Unknown, "Nova may not tell it");
        // Another comment, or none, is the same key.
        let words: Vec<&str> = public.split_whitespace().take(2).collect();
        assert_eq!(of(&words.join(" ")), here);

        // A private key tells its public half, as long as it is in OpenSSH's format.
        fs::rename(folder.join("id_ed25519.pub"), home.path().join("away")).unwrap();
        assert_eq!(of(&public), here);
        // The public half alone is not enough.
        fs::rename(&file, home.path().join("elsewhere")).unwrap();
        fs::rename(home.path().join("away"), folder.join("id_ed25519.pub")).unwrap();
        assert!(matches!(of(&public), PrivateHalf::PublicOnly(_)));
        // One that ssh's configuration names counts, wherever it is.
        fs::write(
            folder.join("config"),
            "Host *\n  IdentityFile ~/elsewhere\n",
        )
        .unwrap();
        assert_eq!(
            of(&public),
            PrivateHalf::Here(home.path().join("elsewhere").display().to_string())
        );

        let keys = LocalKeys::look(&environment(home.path()));
        assert_eq!(keys.missing("ehos", &public), None);
        let Advice {
            problem: what,
            remedy,
        } = keys.missing("ehos", "ssh-rsa AAAAother").unwrap();
        let remedy = remedy.unwrap();
        assert!(what.contains("keypair ehos is missing here"), "{what}");
        assert!(
            remedy.contains("--identity FILE") && remedy.contains("`key: ehos`"),
            "{remedy}"
        );
    }

    #[test]
    fn a_private_key_that_tells_nothing_may_be_any() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".ssh");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("known_hosts"), "a b c\n").unwrap();
        let of = || LocalKeys::look(&environment(home.path())).private_half("ssh-rsa AAAA");
        assert_eq!(of(), PrivateHalf::Nowhere);
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n";
        fs::write(folder.join("id_rsa"), pem).unwrap();
        assert_eq!(of(), PrivateHalf::Unknown);
        fs::remove_file(folder.join("id_rsa")).unwrap();
        for torn in [
            "",
            "x",
            "b3BlbnNzaC1rZXktdjEA",
            "b3BlbnNzaC1rZXktdjEA/////w==",
        ] {
            let text = format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{torn}\n-----END OPENSSH PRIVATE KEY-----\n"
            );
            assert_eq!(public_half(&text), None, "{torn}");
        }
        // Without a home there is nothing to be said.
        let nowhere = Environment {
            variables: BTreeMap::new(),
            ..environment(home.path())
        };
        let keys = LocalKeys::look(&nowhere);
        assert_eq!(keys.private_half("ssh-rsa AAAA"), PrivateHalf::Unknown);
    }
}
