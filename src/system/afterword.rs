//! What a long command says when it is interrupted: what stays, and what to type.
//!
//! These commands have no signal handlers (docs/design-rules.md#rule-5): an interrupt is a crash. So a shell of a process group of its own,
//! which no Ctrl-C reaches, waits at the end of a pipe. It keeps the last line that it was told, and prints it when the pipe
//! breaks, however the process ended. At an orderly end that line is empty.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use log::debug;

use crate::child;
use crate::plain::clean;
use crate::rights;

const SHELL: &str = "trap '' HUP INT TERM; said=; while IFS= read -r line; do said=$line; done; \
                     [ -z \"$said\" ] || printf '\\n%s\\n' \"$said\" >&2";

/// What stays after an interrupt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remains {
    /// This server, which nothing needs yet.
    Server {
        /// Its name, or what it is.
        name: String,
        id: String,
    },
    /// A machine that works, with a part of what was to be put there.
    Half { name: String },
}

/// The words for after an interrupt.
#[derive(Debug)]
pub struct Afterword {
    shell: Mutex<Option<(Child, ChildStdin)>>,
    left: Mutex<BTreeMap<String, Remains>>,
}

impl Afterword {
    /// From now on an interrupt is followed by words.
    pub fn begin() -> Afterword {
        let words = Afterword::start();
        words.tell();
        words
    }

    /// From now on an interrupt is followed by this line.
    pub fn of(line: &str) -> Afterword {
        let words = Afterword::start();
        words.send(line);
        words
    }

    fn start() -> Afterword {
        let started = child::clean(Command::new("/bin/sh").args(["-c", SHELL]))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        let shell = match started {
            Ok(mut child) => child.stdin.take().map(|stdin| (child, stdin)),
            Err(error) => {
                debug!("no words after an interrupt: {error}");
                None
            }
        };
        Afterword {
            shell: Mutex::new(shell),
            left: Mutex::default(),
        }
    }

    /// What `subject` (a cloud, a server) would leave from now on; `None`: nothing.
    pub fn leaves(&self, subject: &str, left: Option<Remains>) {
        let changed = {
            let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            match left {
                Some(left) => all.insert(subject.to_owned(), left.clone()) != Some(left),
                None => all.remove(subject).is_some(),
            }
        };
        if changed {
            self.tell();
        }
    }

    fn tell(&self) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let line = words(&left, rights::command());
        self.send(&line);
    }

    fn send(&self, line: &str) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stdin)) = shell.as_mut()
            && let Err(error) = writeln!(stdin, "{}", clean(line))
        {
            debug!("no words after an interrupt: {error}");
        }
    }
}

impl Drop for Afterword {
    fn drop(&mut self) {
        self.send("");
        let shell = self
            .shell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((mut child, stdin)) = shell {
            // The end of the pipe is its end.
            drop(stdin);
            if let Err(error) = child.wait() {
                debug!("the shell that would have told of an interrupt: {error}");
            }
        }
    }
}

/// One line: what stays, and what to type.
fn words(left: &BTreeMap<String, Remains>, command: &str) -> String {
    let servers: Vec<(&str, &str)> = left
        .values()
        .filter_map(|left| match left {
            Remains::Server { name, id } => Some((name.as_str(), id.as_str())),
            Remains::Half { .. } => None,
        })
        .collect();
    let halves: Vec<&str> = left
        .values()
        .filter_map(|left| match left {
            Remains::Half { name } => Some(name.as_str()),
            Remains::Server { .. } => None,
        })
        .collect();
    let mut said = Vec::new();
    if !halves.is_empty() {
        said.push(format!(
            "{} has perhaps only a part of what is new",
            halves.join(", ")
        ));
    }
    let mut remove = String::new();
    if !servers.is_empty() {
        let named: Vec<String> = servers
            .iter()
            .map(|(name, id)| format!("{name} ({id})"))
            .collect();
        let verb = if servers.len() == 1 {
            "stays and costs"
        } else {
            "stay and cost"
        };
        said.push(format!("{} {verb}", named.join(", ")));
        let ids: Vec<&str> = servers.iter().map(|(_, id)| *id).collect();
        remove = format!(
            "; to delete instead, type: openstack server delete {}",
            ids.join(" ")
        );
    }
    if said.is_empty() {
        said.push("nothing is known to stay".to_owned());
    }
    let line = format!(
        "interrupted: {}; to continue, run: {command}{remove}",
        said.join("; ")
    );
    // Names are what somebody made of them, and a line is one line.
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_with_what_to_type() {
        let server = |name: &str, id: &str| Remains::Server {
            name: name.to_owned(),
            id: id.to_owned(),
        };
        let mut left = BTreeMap::new();
        let mut said = vec![words(&left, "ehos image build")];
        left.insert("lab".to_owned(), server("the builder in cloud lab", "id-1"));
        said.push(words(&left, "ehos image build"));
        left.insert(
            "sky".to_owned(),
            server("the builder in\ncloud sky", "id-2"),
        );
        said.push(words(&left, "ehos image build"));
        left.clear();
        let name = "ehos-v1-master".to_owned();
        left.insert("master".to_owned(), Remains::Half { name });
        said.push(words(&left, "ehos master deploy"));
        insta::assert_snapshot!(said.join("\n"), @r"
        interrupted: nothing is known to stay; to continue, run: ehos image build
        interrupted: the builder in cloud lab (id-1) stays and costs; to continue, run: ehos image build; to delete instead, type: openstack server delete id-1
        interrupted: the builder in cloud lab (id-1), the builder in cloud sky (id-2) stay and cost; to continue, run: ehos image build; to delete instead, type: openstack server delete id-1 id-2
        interrupted: ehos-v1-master has perhaps only a part of what is new; to continue, run: ehos master deploy
        ");
    }
}
