//! The ending of the boot loop that makes an image: stop, snapshot, publish, delete.
//!
//! Owns: the words for each step, the times of the parts, and what is left after a failure.
//! Must not: ask the cloud but through [`BuildBackend`].

use std::fmt;
use std::time::{Duration, Instant};

use log::info;

use super::error::{Cause, Error, Left};
use super::step::{self, Action, Attempt, BuildFailure, BuildView, Step, next};
use crate::boot::{self, Creates, Ending, Failure, Leftover, Server, Wait};
use system::progress::Line;

/// A server whose create was not answered comes within this, or not at all.
pub(super) const APPEARANCE: Duration = Duration::from_secs(120);

/// One cloud, as a build asks and changes it.
pub trait BuildBackend {
    /// Asks for everything. Remembers in `attempt` the builder that it goes on with.
    fn look(&mut self, attempt: &mut Attempt) -> Result<BuildView, openstack::Error>;
    /// Sends one create.
    fn create(&mut self) -> Result<String, openstack::Error>;
    /// Deletes what an earlier build has left.
    fn remove(&mut self, leftover: &Leftover) -> Result<(), openstack::Error>;
    /// Does one action with the builder of this id.
    fn perform(
        &mut self,
        action: &Action,
        builder: &str,
        attempt: &mut Attempt,
    ) -> Result<(), openstack::Error>;
    /// Writes into the builder's metadata that no build is to go on with it.
    fn mark_failed(&mut self, builder: &str, why: &str) -> Result<(), openstack::Error>;
    /// Lets some time pass, at most `longest`.
    fn pause(&mut self, longest: Duration);
    /// The lines of the console that belong to a failure.
    fn console(&self) -> Option<String>;
}

/// The parts of a build whose time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the create to the end of the first boot.
    Boot,
    /// Switching off.
    Stop,
    /// From the snapshot to the whole image.
    Snapshot,
    /// Deleting the server.
    CleanUp,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Boot => "boot",
            Part::Stop => "stop",
            Part::Snapshot => "snapshot",
            Part::CleanUp => "clean up",
        })
    }
}

/// How a build runs.
#[derive(Debug, Clone, Copy)]
pub struct BuildLimits {
    /// How long it may take in all.
    pub timeout: Duration,
    /// What failed is left as it is.
    pub keep_failed: bool,
    /// The server stays.
    pub keep_server: bool,
    /// For how long a create without an answer is waited for.
    pub appearance: Duration,
}

/// What came of a build: the image's id, times, and why the server is still there.
#[derive(Debug)]
pub struct BuildOutcome {
    pub image_id: String,
    /// How long each part took in this run.
    pub took: Vec<(Part, Duration)>,
    /// Why the server is still there.
    pub server_left: Option<String>,
}

/// Makes the image.
///
/// # Errors
/// When there will be no image; what this run or the one that it went on with has made is deleted then, unless it is to
/// be kept.
pub fn run<B: BuildBackend>(
    backend: &mut B,
    cloud: &str,
    limits: BuildLimits,
    line: &Line,
) -> Result<BuildOutcome, Error> {
    let mut build = Build {
        backend,
        cloud,
        line,
        attempt: Attempt::new(Creates::new(limits.appearance), limits.keep_server),
        took: Vec::new(),
        part: None,
    };
    line.doing("looking");
    let ended = boot::run(&mut build, limits.timeout, line);
    build.enter(None);
    let failure = ended.err().map(|(failure, _)| failure);
    if let Some(image_id) = build.attempt.published.clone() {
        return Ok(BuildOutcome {
            image_id,
            server_left: failure.map(|failure| match failure {
                Failure::TimedOut { during } => {
                    format!("it is not gone after all this time: {during}")
                }
                failure => failure.to_string(),
            }),
            took: build.took,
        });
    }
    let cause = match failure {
        Some(Failure::Cloud(error) | Failure::Refused(error)) => Cause::Cloud(error),
        Some(Failure::Ending(failure)) => Cause::Build(failure),
        Some(Failure::TimedOut { during }) => Cause::TimedOut {
            during,
            limit: limits.timeout,
        },
        // A build is done only when its image is published.
        None => Cause::Build(BuildFailure::Vanished),
    };
    Err(build.failed(cause, limits, line))
}

struct Build<'b, B> {
    backend: &'b mut B,
    cloud: &'b str,
    line: &'b Line,
    attempt: Attempt,
    took: Vec<(Part, Duration)>,
    /// The part that is under way, and since when.
    part: Option<(Part, Instant)>,
}

impl<B: BuildBackend> Build<'_, B> {
    /// Ends the part that is under way, and begins the next one.
    fn enter(&mut self, part: Option<Part>) {
        if let Some((part, since)) = self.part.take() {
            match self.took.last_mut() {
                Some((last, time)) if *last == part => *time += since.elapsed(),
                _ => self.took.push((part, since.elapsed())),
            }
        }
        self.part = part.map(|part| (part, Instant::now()));
    }

    fn failed(&mut self, cause: Cause, limits: BuildLimits, line: &Line) -> Error {
        let console = self.backend.console();
        let left = self.attempt.creates.own.clone().map(|id| {
            if limits.keep_failed {
                return self.keep(id, &cause);
            }
            line.doing("it failed; deleting the server");
            match boot::clean(self) {
                Ok(()) => Left::Nothing,
                Err(why) => Left::Undeleted { id, why },
            }
        });
        Error {
            cloud: self.cloud.to_owned(),
            cause: Box::new(cause),
            console,
            left,
        }
    }

    /// Leaves the builder, and says in its metadata that no build is to go on with it.
    fn keep(&mut self, id: String, cause: &Cause) -> Left {
        let mut name = String::new();
        match self.backend.look(&mut self.attempt) {
            Ok(BuildView { boot, .. }) => match boot.server {
                Some(server) => name = server.name,
                None => return Left::Nothing,
            },
            Err(error) => info!("{error}"),
        }
        let goes_on = match cause {
            // Of a server in ERROR Nova takes no metadata, and its status says the same.
            Cause::Build(why) => {
                if let Err(error) = self.backend.mark_failed(&id, &why.to_string()) {
                    info!("{error}");
                }
                false
            }
            // The next build may well go on with it.
            _ => true,
        };
        Left::Kept { name, id, goes_on }
    }
}

impl<B: BuildBackend> Ending for Build<'_, B> {
    type View = BuildView;
    type Action = Action;
    type Failure = BuildFailure;

    fn creates(&mut self) -> &mut Creates {
        &mut self.attempt.creates
    }

    fn look(&mut self) -> Result<BuildView, Failure<BuildFailure>> {
        Ok(self.backend.look(&mut self.attempt)?)
    }

    fn server(view: &BuildView) -> Option<&Server> {
        view.boot.server.as_ref()
    }

    fn next(&mut self, view: &BuildView) -> Step {
        let step = next(view, &self.attempt);
        self.enter(part(&step));
        step
    }

    fn told(&self, step: &Step) -> String {
        told(step)
    }

    fn title(&self, _server: Option<&Server>) -> String {
        format!("the builder in cloud {}", self.cloud)
    }

    fn create(&mut self) -> Result<String, openstack::Error> {
        self.backend.create()
    }

    fn remove(&mut self, leftover: &Leftover) -> Result<(), openstack::Error> {
        self.attempt.cleared.insert(leftover.id().to_owned());
        self.backend.remove(leftover)
    }

    fn perform(&mut self, action: &Action, view: &BuildView) -> Result<(), Failure<BuildFailure>> {
        self.line.doing(&told(&Step::Act(action.clone())));
        let server = view.boot.server.as_ref();
        let builder = server.map_or("", |server| &server.id);
        Ok(self.backend.perform(action, builder, &mut self.attempt)?)
    }

    fn clean(&mut self) -> Result<bool, Failure<BuildFailure>> {
        let view = self.look()?;
        match step::clean(&view) {
            Step::Done => return Ok(true),
            Step::Act(action) => self.perform(&action, &view)?,
            _ => {}
        }
        Ok(false)
    }

    fn pause(&mut self, longest: Duration) {
        self.backend.pause(longest);
    }
}

fn part(step: &Step) -> Option<Part> {
    match step {
        Step::Create | Step::Act(Action::MarkBooted) => Some(Part::Boot),
        Step::Wait(Wait::Task(task)) if task.starts_with("image_") => Some(Part::Snapshot),
        Step::Act(Action::Stop) | Step::Wait(Wait::Task(_)) => Some(Part::Stop),
        Step::Act(Action::Snapshot) | Step::Wait(Wait::Imaging(_)) => Some(Part::Snapshot),
        Step::Act(Action::Delete | Action::Disown) | Step::Wait(Wait::Deleting) => {
            Some(Part::CleanUp)
        }
        Step::Wait(Wait::Appearing | Wait::Building | Wait::Booting(_) | Wait::Console) => {
            Some(Part::Boot)
        }
        _ => None,
    }
}

fn told(step: &Step) -> String {
    match step {
        Step::Remove(Leftover::Server { name, why, .. }) => {
            format!("deleting server {name}, which an earlier build has left: {why}")
        }
        Step::Remove(Leftover::Image { name, .. }) => {
            format!("deleting image {name}, which an earlier build has not finished")
        }
        Step::Create => "asking for a server".to_owned(),
        Step::Act(Action::MarkBooted) => "the first boot went well".to_owned(),
        Step::Act(Action::Stop) => "switching off".to_owned(),
        Step::Act(Action::Snapshot) => "snapshot".to_owned(),
        Step::Act(Action::DeleteImage { id }) => {
            format!("deleting image {id}, which came to nothing")
        }
        Step::Act(Action::Publish { .. }) => "the image is whole".to_owned(),
        Step::Act(Action::Disown) => "leaving the server".to_owned(),
        Step::Act(Action::Delete) => "deleting the server".to_owned(),
        Step::Wait(wait) => waited_for(wait),
        Step::Done => "done".to_owned(),
        Step::Fail(why) => why.to_string(),
    }
}

fn waited_for(wait: &Wait) -> String {
    match wait {
        Wait::Appearing => "the create got no answer: waiting for the server in the list",
        Wait::Building => "Nova builds the server",
        Wait::Booting(Some(_)) => "first boot",
        Wait::Booting(None) => "first boot; its console is empty",
        Wait::Console => "first boot; its console cannot be had, waiting for it",
        Wait::Task(task) if task == "powering-off" => "switching off",
        Wait::Task(task) if task.starts_with("image_") => "snapshot",
        Wait::Task(task) => return format!("Nova is at it: {task}"),
        Wait::Imaging(_) => "snapshot",
        Wait::Deleting => "deleting the server",
        Wait::Unusual => "the server is paused, in rescue or the like: waiting for it to run",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
