//! The ending of the boot loop that makes a central manager: floating IP, installation over SSH, mark, timer.
//!
//! Must not: delete a server that is ready, or one on which all is installed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::warn;

use super::conffile::Occasion;
use super::error::{CleanUp, DeployFailure, Error};
use super::find::{METADATA_READY, the_master};
use super::install::Work;
use super::installer::{InstallError, InstallPreview, Installed, Installer};
use super::known_hosts::short_host_key;
use super::login::{METADATA_HOST_KEY, METADATA_LOGIN, login};
use super::spec::MasterSpec;
use super::step::{Action, DeployView, FloatingIp, Installation, Step, next};
use super::{DeployOptions, Deployed, floating_ip};
use crate::boot::{
    self, BootView, Creates, Ending, Failure, Leftover, METADATA_DIGEST, Server, Wait, soon,
};
use crate::console::Boot;
use crate::ssh::Ssh;
use openstack::auth::Session;
use openstack::network::{self, Port};
use openstack::{self, compute};
use scaling::console::before_failure;
use scaling::observation::{ServerRecord, ServerStatus};
use scaling::sorting;
use system::deadline::Deadline;
use system::progress::Line;

/// How long a server that was asked for may be missing in Nova's list, when the answer was lost.
const APPEARANCE: Duration = Duration::from_secs(60);
/// Lines of the console of a failed server that are told.
const TOLD_LINES: usize = 25;

/// A run of a deploy.
pub(super) struct Deploy<'r> {
    session: &'r Session<'r>,
    spec: &'r MasterSpec,
    options: &'r DeployOptions<'r>,
    work: &'r [Work],
    line: &'r Line,
    deadline: Deadline,
    creates: Creates,
    /// The server that is installed, and whether it was ready when it was first seen.
    was_ready: Option<(String, bool)>,
    /// All of its console, as last seen.
    console: String,
    has_booted: bool,
    first_try: Option<Instant>,
    installation: Installation,
    installed: Option<Installed>,
    /// The server to delete after a failure.
    doomed: Option<String>,
    /// The ports that it had; `None`: its delete was not asked for yet.
    ports: Option<Vec<Port>>,
}

/// A look at the central manager.
pub(super) struct DeployLook {
    record: Option<ServerRecord>,
    view: DeployView,
}

impl<'r> Deploy<'r> {
    pub(super) fn new(
        session: &'r Session<'r>,
        spec: &'r MasterSpec,
        options: &'r DeployOptions<'r>,
        work: &'r [Work],
        line: &'r Line,
        timeout: Duration,
    ) -> Deploy<'r> {
        Deploy {
            session,
            spec,
            options,
            work,
            line,
            deadline: Deadline::within(timeout),
            creates: Creates::new(APPEARANCE),
            was_ready: None,
            console: String::new(),
            has_booted: false,
            first_try: None,
            installation: Installation::NotYet,
            installed: None,
            doomed: None,
            ports: None,
        }
    }

    pub(super) fn run(&mut self, timeout: Duration) -> Result<Deployed, Error> {
        let line = self.line;
        match boot::run(self, timeout, line) {
            Ok(looked) => self.deployed(looked.record),
            Err((failure, looked)) => {
                let record = looked.and_then(|looked| looked.record);
                let clean_up = self.give_up(&failure, record.as_ref());
                Err(self.error(failure, record.as_ref(), clean_up))
            }
        }
    }

    /// Compares the files of a central manager that is ready with those that would come.
    pub(super) fn preview(&self, record: &ServerRecord) -> Result<InstallPreview, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let (addresses, _) = self.addresses(record).map_err(|error| text(&error))?;
        let login = login(record, "", self.spec, self.options).map_err(|error| text(&error))?;
        let ssh = Ssh::connect(&login, &addresses, self.deadline).map_err(|error| text(&error))?;
        let installer = self.installer(&ssh, Occasion::DryRun);
        installer.compare(self.work).map_err(|error| text(&error))
    }

    /// Whether the server that is installed is in use already.
    fn occasion(&self) -> Occasion {
        match self.was_ready {
            Some((_, true)) => Occasion::Again,
            Some((_, false)) | None => Occasion::First,
        }
    }

    fn installer<'i>(&'i self, ssh: &'i Ssh, occasion: Occasion) -> Installer<'i> {
        Installer {
            ssh,
            occasion,
            line: self.line,
            deadline: self.deadline,
        }
    }

    /// The server in a view, with what its record does not say.
    fn server(&self, record: &ServerRecord) -> Result<Server, openstack::Error> {
        let fault = match (&record.fault, record.status) {
            (None, ServerStatus::Error) => compute::fault(self.session, &record.id, soon())?,
            (fault, _) => fault.clone(),
        };
        Ok(Server {
            id: record.id.clone(),
            name: record.name.clone(),
            status: record.status,
            deleting: record.deleting,
            task: None,
            fault,
            is_own: self.creates.own.as_ref() == Some(&record.id),
            is_ready: record.metadata.contains_key(METADATA_READY),
        })
    }

    fn install(&mut self, record: &ServerRecord) -> Result<(), Failure<DeployFailure>> {
        let first_try = *self.first_try.get_or_insert_with(Instant::now);
        let (addresses, _) = self.addresses(record).map_err(or_give_up)?;
        let console = &self.console;
        let login = login(record, console, self.spec, self.options).map_err(Failure::Ending)?;
        self.line.doing(&format!(
            "logs in as {} at {}",
            login.user,
            addresses.join(", ")
        ));
        let installed = Ssh::connect(&login, &addresses, self.deadline)
            .map_err(InstallError::from)
            .and_then(|ssh| self.installer(&ssh, self.occasion()).install(self.work));
        self.installation = match installed {
            Ok(installed) => {
                self.installed = Some(installed);
                Installation::Done
            }
            Err(InstallError::Ssh(error)) if error.is_passing() => {
                let why = error.to_string();
                self.line.detail(&why);
                self.pause(self.deadline.left());
                let tried = first_try.elapsed();
                Installation::NotReached { tried, why }
            }
            Err(error) => return Err(gave_up(error.to_string())),
        };
        Ok(())
    }

    /// The addresses of the server, the most likely to be reached first, and its floating IP.
    fn addresses(
        &self,
        record: &ServerRecord,
    ) -> Result<(Vec<String>, Option<String>), openstack::Error> {
        let details = compute::server(self.session, &record.id, soon())?;
        let mut known = details.map(|details| details.addresses).unwrap_or_default();
        sorting::by_key(&mut known, |address| (!address.floating, address.version));
        let mut addresses: Vec<String> = known.into_iter().map(|address| address.address).collect();
        let floating = match self.spec.external_network {
            Some(_) => floating_ip::find(self.session, &record.id)?,
            None => None,
        };
        if let Some(floating) = &floating {
            // Nova may know of it only later.
            addresses.retain(|address| address != floating);
            addresses.insert(0, floating.clone());
        }
        Ok((addresses, floating))
    }

    fn mark_ready(&mut self, record: &ServerRecord) -> Result<(), openstack::Error> {
        let mut metadata = BTreeMap::new();
        metadata.insert(METADATA_READY.to_owned(), Timestamp::now().to_string());
        if let Some(installed) = &self.installed {
            let user = installed.ssh.user().to_owned();
            metadata.insert(METADATA_LOGIN.to_owned(), user);
        }
        if !record.metadata.contains_key(METADATA_HOST_KEY) {
            match short_host_key(&self.options.proof.known_hosts, &record.id) {
                Ok(Some(key)) => {
                    metadata.insert(METADATA_HOST_KEY.to_owned(), key);
                }
                Ok(None) => {}
                Err(error) => warn!("{}: {error}", self.options.proof.known_hosts.display()),
            }
        }
        compute::add_metadata(self.session, &record.id, &metadata, soon())?;
        self.installation = Installation::Marked;
        Ok(())
    }

    fn start(&mut self) -> Result<(), Failure<DeployFailure>> {
        if let Some(mut installed) = self.installed.take() {
            let ssh = installed.ssh.clone();
            let started = self.installer(&ssh, self.occasion()).start(&mut installed);
            self.installed = Some(installed);
            started.map_err(|error| gave_up(error.to_string()))?;
        }
        self.installation = Installation::Started;
        Ok(())
    }

    fn deployed(&mut self, record: Option<ServerRecord>) -> Result<Deployed, Error> {
        let cloud = |failed: openstack::Error| {
            self.error(Failure::Cloud(failed), record.as_ref(), CleanUp::Nothing)
        };
        let mut found = None;
        if let Some(record) = &record {
            let server = compute::server(self.session, &record.id, soon()).map_err(cloud)?;
            let (_, floating_ip) = self.addresses(record).map_err(cloud)?;
            found = server.map(|server| (server, floating_ip));
        }
        match (found, self.installed.take()) {
            (Some((server, floating_ip)), Some(installed)) => Ok(Deployed {
                server,
                made: self.occasion() == Occasion::First,
                floating_ip,
                installed,
            }),
            _ => {
                let why = "its server was deleted by someone else";
                Err(self.error(gave_up(why.to_owned()), None, CleanUp::Nothing))
            }
        }
    }

    fn error(
        &self,
        cause: Failure<DeployFailure>,
        record: Option<&ServerRecord>,
        clean_up: CleanUp,
    ) -> Error {
        let name = record.map_or(&self.spec.name, |record| &record.name);
        Error {
            cloud: self.session.settings().name.clone(),
            name: name.clone(),
            cause: Box::new(cause),
            clean_up,
        }
    }

    /// Cleans up after a failure, where there is nothing that stays.
    fn give_up(
        &mut self,
        failure: &Failure<DeployFailure>,
        record: Option<&ServerRecord>,
    ) -> CleanUp {
        match failure {
            Failure::Cloud(_) | Failure::Refused(_) if self.creates.own.is_some() => {
                return CleanUp::Unknown;
            }
            Failure::Ending(DeployFailure::GaveUp(_)) | Failure::TimedOut { .. } => {}
            _ => return CleanUp::Nothing,
        }
        let Some(record) = record else {
            return CleanUp::Nothing;
        };
        // The last look may be older than the server of this run.
        if self
            .creates
            .own
            .as_ref()
            .is_some_and(|own| *own != record.id)
        {
            return CleanUp::Unknown;
        }
        if record.metadata.contains_key(METADATA_READY) {
            return CleanUp::Ready;
        }
        if self.installed.is_some() {
            return CleanUp::Installed;
        }
        if self.options.keep_failed {
            return CleanUp::Kept;
        }
        let tail = before_failure(&self.console, TOLD_LINES);
        // What fails after a good boot is not told by the console.
        if !self.has_booted && !tail.is_empty() {
            warn!("from the console of {}:\n{tail}", record.name);
        }
        self.line
            .doing(&format!("deletes {}, which failed", record.name));
        self.doomed = Some(record.id.clone());
        match boot::clean(self) {
            Ok(()) => CleanUp::Deleted,
            Err(why) => CleanUp::Failed(why),
        }
    }
}

impl Ending for Deploy<'_> {
    type View = DeployLook;
    type Action = Action;
    type Failure = DeployFailure;

    fn creates(&mut self) -> &mut Creates {
        &mut self.creates
    }

    fn look(&mut self) -> Result<DeployLook, Failure<DeployFailure>> {
        let mut proof = self.options.proof.clone();
        proof.trusted.extend(self.creates.own.clone());
        let record = the_master(self.session, &self.spec.cluster, &proof, soon())?;
        let mut view = DeployView {
            boot: BootView {
                server: None,
                has_own: self.creates.own.is_some(),
                request: self.creates.request(),
                boot: None,
            },
            is_as_specified: false,
            floating_ip: FloatingIp::NotWanted,
            installation: self.installation.clone(),
        };
        if let Some(record) = &record {
            let server = self.server(record)?;
            // One that is being deleted is none: another one takes its place.
            let is_known = |(id, _): &(String, bool)| *id == record.id;
            if !server.deleting && !self.was_ready.as_ref().is_some_and(is_known) {
                self.was_ready = Some((record.id.clone(), server.is_ready));
            }
            if !record.deleting && record.status != ServerStatus::Build {
                let read = self.spec.server.read_boot(self.session, &record.id);
                view.boot.boot = read.map(|(boot, console)| {
                    self.has_booted = boot == Boot::Finished;
                    self.console = console;
                    boot
                });
            }
            view.boot.server = Some(server);
            let digest = record.metadata.get(METADATA_DIGEST);
            view.is_as_specified = digest == Some(&self.spec.server.digest);
            if self.spec.external_network.is_some() && record.status == ServerStatus::Active {
                view.floating_ip = match floating_ip::find(self.session, &record.id)? {
                    Some(_) => FloatingIp::There,
                    None => FloatingIp::Missing,
                };
            }
        }
        Ok(DeployLook { record, view })
    }

    fn server(looked: &DeployLook) -> Option<&Server> {
        looked.view.boot.server.as_ref()
    }

    fn next(&mut self, looked: &DeployLook) -> Step {
        next(&looked.view)
    }

    fn told(&self, step: &Step) -> String {
        match step {
            Step::Create => format!("makes {} of {}", self.spec.name, self.spec.image_name),
            Step::Remove(Leftover::Server { name, why, .. }) => format!("deletes {name}: {why}"),
            Step::Remove(Leftover::Image { name, .. }) => format!("deletes {name}"),
            Step::Wait(wait) => format!("waits for {}", waited_for(wait)),
            Step::Act(Action::LeadFloatingIp) => "gives it a floating IP".to_owned(),
            Step::Act(Action::Install) => "installs ehos there".to_owned(),
            Step::Act(Action::MarkReady) => "marks it as ready".to_owned(),
            Step::Act(Action::Start) => "starts its timer".to_owned(),
            Step::Done => "ready".to_owned(),
            Step::Fail(failure) => failure.to_string(),
        }
    }

    fn title(&self, server: Option<&Server>) -> String {
        server
            .map_or(&self.spec.name, |server| &server.name)
            .clone()
    }

    fn create(&mut self) -> Result<String, openstack::Error> {
        self.console.clear();
        self.has_booted = false;
        self.installation = Installation::NotYet;
        self.first_try = None;
        self.spec.create(self.session, &self.options.proof.keys)
    }

    fn remove(&mut self, leftover: &Leftover) -> Result<(), openstack::Error> {
        compute::delete(self.session, leftover.id(), soon()).map(|_| ())
    }

    fn perform(
        &mut self,
        action: &Action,
        looked: &DeployLook,
    ) -> Result<(), Failure<DeployFailure>> {
        let Some(record) = &looked.record else {
            return Ok(());
        };
        match action {
            Action::LeadFloatingIp => {
                let led = floating_ip::lead(self.session, self.spec, &record.id, self.line);
                if !led.map_err(or_give_up)? {
                    self.pause(self.deadline.left());
                }
                Ok(())
            }
            Action::Install => self.install(record),
            Action::MarkReady => self.mark_ready(record).map_err(or_give_up),
            Action::Start => self.start(),
        }
    }

    fn is_urgent(step: &Step) -> bool {
        // What is installed is marked even then: nodes may come from it already.
        matches!(step, Step::Act(Action::MarkReady | Action::Start))
    }

    fn clean(&mut self) -> Result<bool, Failure<DeployFailure>> {
        let Some(id) = self.doomed.clone() else {
            return Ok(true);
        };
        if self.ports.is_none() {
            let ports = match self.spec.external_network {
                Some(_) => network::ports(self.session, &id, soon())?,
                None => Vec::new(),
            };
            compute::delete(self.session, &id, soon())?;
            self.ports = Some(ports);
        }
        let there = compute::server(self.session, &id, soon())?;
        // Nova may keep what it has deleted for a while (`reclaim_instance_interval`).
        let is_there =
            |record: &ServerRecord| !record.deleting || record.status != ServerStatus::Other;
        if there.is_some_and(|details| is_there(&details.record)) {
            return Ok(false);
        }
        if self.spec.external_network.is_some() {
            let ports = self.ports.as_deref().unwrap_or_default();
            floating_ip::release(self.session, self.spec, ports)?;
        }
        Ok(true)
    }

    fn pause(&mut self, longest: Duration) {
        std::thread::sleep(self.options.poll.min(longest));
    }
}

/// An error that may pass is asked again; others end the run, and its server is deleted.
fn or_give_up(error: openstack::Error) -> Failure<DeployFailure> {
    if error.is_unanswered() || error.may_have_acted() {
        Failure::Cloud(error)
    } else {
        gave_up(error.to_string())
    }
}

fn gave_up(why: String) -> Failure<DeployFailure> {
    Failure::Ending(DeployFailure::GaveUp(why))
}

fn waited_for(wait: &Wait) -> &'static str {
    match wait {
        Wait::Appearing => "Nova to list the new server",
        Wait::Building => "the server to be built",
        Wait::Booting(_) => "the final message of its first boot",
        Wait::Console => "its console",
        Wait::Deleting => "the old server to go",
        Wait::Task(_) | Wait::Imaging(_) | Wait::Unusual => "the server to run",
    }
}
