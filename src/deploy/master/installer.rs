//! Puts ehos onto a central manager over SSH, and starts it there.

use std::path::Path;

use log::info;

use super::conffile::{Care, FileChange, Occasion};
use super::install::{self, File, Script, TICK, Timer, Work};
use crate::ssh::{self, Ssh};
use system::deadline::Deadline;
use system::progress::Line;
use system::rights;

/// A central manager that can be logged in to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Installer<'i> {
    pub(super) ssh: &'i Ssh,
    pub(super) occasion: Occasion,
    pub(super) line: &'i Line,
    pub(super) deadline: Deadline,
}

/// What is known once all is in place.
#[derive(Debug)]
pub struct Installed {
    pub(super) ssh: Ssh,
    /// What became of its files, where it was there and ready.
    pub files: Vec<FileChange>,
    /// What `ehos --version` says there.
    pub version: String,
    /// Its timer, where it could be seen.
    pub timer: Option<Timer>,
    /// The exit code of the first tick there, where it could be had.
    pub tick_exit: Option<i32>,
    /// What that tick said.
    pub tick: String,
}

/// What a deploy would change on a central manager that is ready.
#[derive(Debug)]
pub struct InstallPreview {
    /// Each file, in order.
    pub files: Vec<FileChange>,
    /// Its timer, where it could be seen.
    pub timer: Option<Timer>,
    /// What `ehos --version` says there.
    pub version: String,
}

/// Why not all could be put onto the server.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    #[error("{0}")]
    Ssh(#[from] ssh::Error),
    #[error("{error}; {remedy}")]
    Work {
        error: ssh::Error,
        remedy: &'static str,
    },
    #[error(
        "{path}: what is to be put there cannot be read here: {}",
        rights::told(Path::new(path), source)
    )]
    Local {
        path: String,
        source: std::io::Error,
    },
}

impl Installer<'_> {
    /// Does all of `work`, in order.
    pub(super) fn install(&self, work: &[Work]) -> Result<Installed, InstallError> {
        let mut installed = Installed {
            ssh: self.ssh.clone(),
            files: Vec::new(),
            version: String::new(),
            timer: None,
            tick_exit: None,
            tick: String::new(),
        };
        let is_first = self.occasion == Occasion::First;
        for work in work {
            match work {
                // Its first boot has written it just now.
                Work::File(file) if file.care == Care::Compare && is_first => {}
                Work::File(file) => {
                    self.line
                        .doing(&format!("puts {} there", file.path.display()));
                    let said = self.put(file)?;
                    if !is_first && file.care != Care::Replace {
                        installed.files.extend(FileChange::read(&file.path, &said));
                    }
                }
                Work::Script(script) => {
                    let what = script.what;
                    let said = self.script(script)?;
                    let said = said.trim();
                    if said.starts_with("ehos ") && !said.contains('\n') {
                        said.clone_into(&mut installed.version);
                    } else if !said.is_empty() {
                        info!("{what}: {said}");
                    }
                }
            }
        }
        Ok(installed)
    }

    /// Compares the files of `work` with those there. Changes nothing.
    pub(super) fn compare(&self, work: &[Work]) -> Result<InstallPreview, InstallError> {
        let mut files = Vec::new();
        for work in work {
            // The program is one file that no diff can show: its version is told.
            if let Work::File(file) = work
                && file.care != Care::Replace
            {
                files.extend(FileChange::read(&file.path, &self.put(file)?));
            }
        }
        let run = |what, script: &str| self.ssh.run(what, script, Vec::new(), self.deadline);
        let version = run("ehos", "/usr/bin/ehos --version").unwrap_or_default();
        let timer = install::timer(self.occasion);
        let timer = run(timer.what, &timer.text).ok();
        Ok(InstallPreview {
            files,
            timer: timer.and_then(|said| Timer::read(&said)),
            version: version.trim().to_owned(),
        })
    }

    /// Starts the timer of a server that is marked as ready, and lets it tick.
    pub(super) fn start(&self, installed: &mut Installed) -> Result<(), InstallError> {
        installed.timer = Timer::read(&self.script(&install::timer(self.occasion))?);
        if installed.timer.is_some_and(|timer| !timer.active) {
            // Somebody has stopped it: a tick could make nodes.
            return Ok(());
        }
        self.line.doing("lets it tick for the first time");
        // The timer runs: that this tick is not heard of to its end is no failure of the installation.
        let ticked = self
            .ssh
            .run("the first tick", TICK, Vec::new(), self.deadline);
        let said = ticked.unwrap_or_else(|error| format!("\n{error}"));
        let (code, tick) = said.split_once('\n').unwrap_or((&said, ""));
        installed.tick_exit = code.trim().parse().ok();
        tick.trim_end().clone_into(&mut installed.tick);
        Ok(())
    }

    /// Brings a file, and returns what its script says.
    fn put(&self, file: &File) -> Result<String, InstallError> {
        let path = file.path.display().to_string();
        let bytes = file.content.bytes().map_err(|source| InstallError::Local {
            path: path.clone(),
            source,
        })?;
        let script = file.script(bytes.len(), self.occasion);
        Ok(self.ssh.run(&path, &script, bytes, self.deadline)?)
    }

    fn script(&self, script: &Script) -> Result<String, InstallError> {
        let Script { what, text, remedy } = script;
        self.line.doing(&format!("sees to {what}"));
        self.ssh
            .run(what, text, Vec::new(), self.deadline)
            .map_err(|error| InstallError::Work { error, remedy })
    }
}
