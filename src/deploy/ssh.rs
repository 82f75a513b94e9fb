//! Commands on a server as root, by the system's own `ssh`: what its user has in ~/.ssh/config (a jump host) and in an
//! agent works. Nobody is asked anything, and no host key is believed that is not known.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use system::child::{self, described};
use system::deadline::Deadline;

/// How long a connection may take to come about, in seconds.
const CONNECT_SECONDS: u64 = 10;
/// How long a first, small command may take.
const HELLO: Duration = Duration::from_secs(30);
/// The exit code of ssh when it is ssh that failed, not the command (ssh(1)).
const SSH_FAILED: i32 = 255;
/// What is kept of an answer.
const ANSWER_MAX: usize = 64 * 1024;
/// What an error tells of standard error.
const TOLD: usize = 600;

/// How a server is logged in to.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    /// A private key; `None`: those of ssh itself and of an agent.
    pub identity: Option<PathBuf>,
    /// Where the host keys stand.
    pub known_hosts: PathBuf,
    /// The name that they stand under there: a server's id, which no other server ever has, as addresses do.
    pub host_key_alias: String,
    /// A host key that is not known is believed and kept.
    pub accept_host_key: bool,
    /// The program, `ssh`.
    pub program: PathBuf,
}

/// A server that can be logged in to, and where one is root then.
#[derive(Debug, Clone)]
pub struct Ssh {
    login: Login,
    /// The address that answered.
    pub address: String,
    root: bool,
}

/// What can go wrong on the way to a command on a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start ssh: {0}; install OpenSSH's client")]
    NotStarted(#[source] io::Error),
    /// No address answers.
    #[error(
        "SSH does not answer at {addresses}: {said}; let the security group allow port 22 from here (ehos cloud setup), \
         give the master an address that can be reached with --floating-ip NETWORK, name a jump host in ~/.ssh/config, \
         or run this where the network of the cloud is reached"
    )]
    NotReached {
        /// Those that were tried.
        addresses: String,
        /// What ssh says of the last.
        said: String,
    },
    /// The server does not let us in.
    #[error(
        "{user}@{address} refuses our keys: {said}; name the private key of the configured keypair with --identity \
         FILE (or add it to the agent), or another user with --ssh-user"
    )]
    KeyRefused {
        /// As whom.
        user: String,
        address: String,
        said: String,
    },
    /// Its host key is not the one that its console told.
    #[error(
        "{address} shows a host key that is not known for this server: {said}; somebody else may answer there. If its \
         console tells no key and you trust the network, give --accept-host-key; if it was rebuilt, forget its old key \
         before (ssh-keygen -R {alias} -f {}, openstack server unset --property ehos_host_key {alias})",
        known_hosts.display()
    )]
    HostKey {
        address: String,
        /// The name that its keys stand under.
        alias: String,
        /// Where they stand.
        known_hosts: PathBuf,
        said: String,
    },
    /// The user may not become root.
    #[error(
        "{user} of {address} may not become root without a password: {said}; log in as a user who may (--ssh-user), \
         or give it that right in the image (sudo: NOPASSWD:ALL)"
    )]
    SudoRefused {
        user: String,
        address: String,
        said: String,
    },
    /// The command itself failed.
    #[error("{what} failed on {address} ({status}): {said}")]
    Failed {
        what: String,
        address: String,
        /// Exit code or signal.
        status: String,
        said: String,
    },
    /// It took too long, or ssh itself broke.
    #[error("{what} did not end on {address}: {why}; run this again")]
    NoEnd {
        what: String,
        address: String,
        why: String,
    },
}

impl Error {
    /// It may well go in a moment: the server has only just started.
    pub fn is_passing(&self) -> bool {
        matches!(self, Error::NotReached { .. })
    }
}

impl Ssh {
    /// The user that is logged in as.
    pub fn user(&self) -> &str {
        &self.login.user
    }

    /// Logs in at the first of the addresses that answers.
    ///
    /// # Errors
    /// All but [`Error::Failed`].
    pub fn connect(login: &Login, addresses: &[String], deadline: Deadline) -> Result<Ssh, Error> {
        let mut said = "the server has no address".to_owned();
        let mut stranger = None;
        for address in addresses {
            let mut ssh = Ssh {
                login: login.clone(),
                address: address.clone(),
                root: true,
            };
            let hello = deadline.at_most(HELLO);
            match ssh.run("a first command", "id -u", Vec::new(), hello) {
                Ok(id) => {
                    ssh.root = id.trim() == "0";
                    ssh.run("becoming root", "true", Vec::new(), hello)?;
                    return Ok(ssh);
                }
                Err(Error::NotReached { said: why, .. } | Error::NoEnd { why, .. }) => said = why,
                // A private address may be somebody else's where this runs.
                Err(error @ Error::HostKey { .. }) => stranger = stranger.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = stranger {
            return Err(error);
        }
        Err(Error::NotReached {
            addresses: addresses.join(", "),
            said,
        })
    }

    /// Runs a shell script there as root and returns its standard output. It is shown to everybody there in the list of
    /// processes: what is secret goes in by `stdin`.
    ///
    /// # Errors
    /// [`Error`], with `what` in its words.
    pub fn run(
        &self,
        what: &str,
        script: &str,
        stdin: Vec<u8>,
        deadline: Deadline,
    ) -> Result<String, Error> {
        let script = quoted(script);
        let remote = if self.root {
            format!("exec env LC_ALL=C sh -c {script}")
        } else {
            format!("exec env LC_ALL=C sudo -n -- sh -c {script}")
        };
        let mut command = self.command();
        command.arg(remote);
        let mut text = Vec::new();
        let ended = child::run(&mut command, stdin, deadline, |piece| {
            let room = ANSWER_MAX.saturating_sub(text.len());
            text.extend(piece.iter().take(room));
        })
        .map_err(|error| match error {
            child::Error::NotStarted(source) => Error::NotStarted(source),
            other => Error::NoEnd {
                what: what.to_owned(),
                address: self.address.clone(),
                why: other.to_string(),
            },
        })?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        let mut said = told(&ended.stderr);
        if said.is_empty() {
            said = told(&text);
        }
        let status = described(ended.status);
        Err(self.judged(what, ended.status.code(), status, said))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.login.program);
        // What the user's own configuration could have set otherwise: a shared connection would outlive this one, and
        // known host keys are those of this server alone.
        let strict = if self.login.accept_host_key {
            "accept-new"
        } else {
            "yes"
        };
        for option in [
            "BatchMode=yes".to_owned(),
            format!("StrictHostKeyChecking={strict}"),
            format!(
                "UserKnownHostsFile=\"{}\"",
                self.login.known_hosts.display()
            ),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            format!("HostKeyAlias={}", self.login.host_key_alias),
            "CheckHostIP=no".to_owned(),
            "HashKnownHosts=no".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            format!("ConnectTimeout={CONNECT_SECONDS}"),
            "ServerAliveInterval=10".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
            "ControlMaster=no".to_owned(),
            "ControlPath=none".to_owned(),
            "ForwardAgent=no".to_owned(),
            "ForwardX11=no".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "PermitLocalCommand=no".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        if let Some(identity) = &self.login.identity {
            command.arg("-o").arg("IdentitiesOnly=yes");
            command.arg("-i").arg(identity);
        }
        command.arg("-T").arg("-l").arg(&self.login.user);
        command.arg("--").arg(&self.address);
        command
    }

    /// ssh and sudo say by their words what is wrong (English: their messages have no translations, or `LC_ALL=C`).
    fn judged(&self, what: &str, code: Option<i32>, status: String, said: String) -> Error {
        let address = self.address.clone();
        let user = self.login.user.clone();
        let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
        if code == Some(SSH_FAILED) {
            if has(&["Permission denied", "Too many authentication failures"]) {
                return Error::KeyRefused {
                    user,
                    address,
                    said,
                };
            }
            if has(&["Host key verification failed", "HOST IDENTIFICATION"]) {
                return Error::HostKey {
                    address,
                    alias: self.login.host_key_alias.clone(),
                    known_hosts: self.login.known_hosts.clone(),
                    said,
                };
            }
            return Error::NotReached {
                addresses: address,
                said,
            };
        }
        if !self.root && has(&["sudo: ", "sudoers"]) {
            return Error::SudoRefused {
                user,
                address,
                said,
            };
        }
        Error::Failed {
            what: what.to_owned(),
            address,
            status,
            said,
        }
    }
}

/// `text` as one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The last lines as one.
fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("@@@"))
        .collect();
    let last = lines.len().saturating_sub(8);
    let mut told = lines.get(last..).unwrap_or_default().join(" | ");
    told.retain(|c| !c.is_control());
    if let Some((end, _)) = told.char_indices().nth(TOLD) {
        told.truncate(end);
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A fake `ssh`: a shell script.
    fn fake(script: &str) -> (tempfile::TempDir, Login) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("ssh");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let login = Login {
            user: "debian".to_owned(),
            identity: None,
            known_hosts: dir.path().join("known hosts"),
            host_key_alias: "id-of-server".to_owned(),
            accept_host_key: false,
            program: dir.path().join("ssh"),
        };
        (dir, login)
    }

    fn connect(script: &str) -> Result<Ssh, Error> {
        let (_dir, login) = fake(script);
        let addresses = ["192.0.2.1".to_owned(), "192.0.2.2".to_owned()];
        Ssh::connect(&login, &addresses, Deadline::within(LONG))
    }

    /// Runs the command that would go to the server here, as the user that `id -u` tells.
    const HERE: &str = r#"for last; do :; done; sh -c "$last""#;

    fn calls(dir: &Path) -> String {
        fs::read_to_string(dir.join("calls")).unwrap()
    }

    #[test]
    fn what_is_run_is_the_script_with_its_input() {
        // A sudo that only takes its options away.
        let (dir, login) = fake(&format!(
            "PATH=$(dirname $0):$PATH; echo \"$@\" >>$(dirname $0)/calls; {HERE}"
        ));
        let sudo = dir.path().join("sudo");
        fs::write(&sudo, "#!/bin/sh\nshift 2; exec \"$@\"\n").unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        let deadline = Deadline::within(LONG);
        let ssh = Ssh::connect(&login, &["192.0.2.1".to_owned()], deadline).unwrap();
        let script = "printf '%s|' \"it's\" '$HOME'; cat";
        let long = "x".repeat(300_000);
        let said = ssh
            .run("a try", script, long.clone().into_bytes(), deadline)
            .unwrap();
        assert_eq!(said, format!("it's|$HOME|{}", &long[..ANSWER_MAX - 11]));
        let calls = calls(dir.path());
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "HostKeyAlias=id-of-server",
            "-l debian -- 192.0.2.1",
        ] {
            assert!(calls.contains(option), "{option} in {calls}");
        }
        assert!(!calls.contains("xxx"), "{calls}");
    }

    #[test]
    fn the_first_address_that_answers_is_taken() {
        let ssh = connect(&format!(
            "case \"$*\" in *192.0.2.1*) echo 'ssh: connect to host 192.0.2.1 port 22: No route to host' >&2; exit 255;; esac; {HERE}"
        ));
        // Where the tests do not run as root there may be no sudo.
        match ssh {
            Ok(ssh) => assert_eq!(ssh.address, "192.0.2.2"),
            Err(error) => assert!(
                matches!(error, Error::SudoRefused { .. } | Error::Failed { .. }),
                "{error}"
            ),
        }
    }

    #[test]
    fn a_stranger_at_one_address_does_not_keep_from_the_next() {
        let strange =
            "case \"$*\" in *192.0.2.1*) echo 'Host key verification failed.' >&2; exit 255;; esac";
        let ssh = connect(&format!(
            "{strange}; case \"$*\" in *'id -u'*) echo 0;; esac; exit 0"
        ));
        assert_eq!(ssh.unwrap().address, "192.0.2.2");
        // The one whom nobody knows is told of, not that others are silent.
        let error = connect(&format!(
            "{strange}; echo 'ssh: connect to host x port 22: No route to host' >&2; exit 255"
        ));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::HostKey { .. }), "{error}");
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let said = |script: &str| connect(script).unwrap_err();
        let error = said("echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255");
        assert!(error.is_passing(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("192.0.2.1, 192.0.2.2") && text.contains("--floating-ip"),
            "{text}"
        );

        let error = said("echo 'debian@x: Permission denied (publickey).' >&2; exit 255");
        assert!(matches!(error, Error::KeyRefused { .. }), "{error}");
        assert!(error.to_string().contains("--identity"), "{error}");

        let error = said(
            "echo 'No ED25519 host key is known for id-of-server and you have requested strict checking.' >&2\n\
             echo 'Host key verification failed.' >&2; exit 255",
        );
        assert!(matches!(error, Error::HostKey { .. }), "{error}");
        assert!(error.to_string().contains("--accept-host-key"), "{error}");

        let error = said(
            "case \"$*\" in *'id -u'*) echo 1000; exit;; esac; echo 'sudo: a password is required' >&2; exit 1",
        );
        assert!(matches!(error, Error::SudoRefused { .. }), "{error}");
        assert!(error.to_string().contains("--ssh-user"), "{error}");

        let (_dir, login) = fake("sleep 600");
        let soon = Deadline::within(Duration::from_millis(300));
        let error = Ssh::connect(&login, &["192.0.2.1".to_owned()], soon).unwrap_err();
        assert!(error.is_passing(), "{error}");
    }

    #[test]
    fn a_command_that_fails_says_so_with_its_words() {
        let (_dir, login) = fake(
            "case \"$*\" in *'id -u'*|*' true'*|*\"'true'\"*) echo 0; exit;; esac; echo 'cannot do it' >&2; exit 3",
        );
        let deadline = Deadline::within(LONG);
        let ssh = Ssh::connect(&login, &["192.0.2.1".to_owned()], deadline).unwrap();
        let error = ssh.run("a try", "work", Vec::new(), deadline).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a try failed on 192.0.2.1 (exit code 3): cannot do it"
        );
    }

    #[test]
    fn a_word_of_a_shell_stays_one() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
