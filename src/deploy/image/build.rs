//! The loop that makes an image in one cloud: look, ask for the next step, do it.

use std::fmt;
use std::time::{Duration, Instant};

use log::info;

use super::error::{Cause, Error, Left};
use super::step::{Attempt, Goal, Leftover, Seen, Step, Wait, clean, next};
use crate::deadline::Deadline;
use crate::openstack::{self, Effect};
use crate::progress::{Line, Remains};

/// A server whose create was not answered comes within this, or not at all.
pub const APPEARANCE: Duration = Duration::from_secs(120);
/// How long the clean-up after a failure may take; it has time of its own when all is up.
const CLEANING: Duration = Duration::from_secs(180);

/// One cloud, as the loop sees it.
pub trait Site {
    /// What is there now. Remembers in `attempt` the builder that it goes on with.
    fn look(&mut self, attempt: &mut Attempt, deadline: Deadline)
    -> Result<Seen, openstack::Error>;
    /// Does one step that is neither a wait nor an end.
    fn perform(
        &mut self,
        step: &Step,
        seen: &Seen,
        attempt: &mut Attempt,
        deadline: Deadline,
    ) -> Result<(), openstack::Error>;
    /// Lets some time pass.
    fn pause(&mut self, deadline: Deadline);
    /// What of the console belongs to a failure.
    fn console(&self) -> Option<String>;
    /// Remarks that a build gave cause for.
    fn notes(&mut self) -> Vec<String>;
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

/// An image that was made.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its id.
    pub image_id: String,
    /// Its name.
    pub image_name: String,
    /// The image that it began with: name and id.
    pub source: String,
    /// How long each part took in this run.
    pub took: Vec<(Part, Duration)>,
    /// What cloud-init warned of, flavors that are too small for it, and the like.
    pub notes: Vec<String>,
    /// The server, where it is still there: why.
    pub server_left: Option<String>,
}

/// What came of the loop: the image's id, times, and why the server is still there.
#[derive(Debug)]
pub struct Outcome {
    /// The image's id.
    pub image_id: String,
    /// How long each part took.
    pub took: Vec<(Part, Duration)>,
    /// Why the server is still there.
    pub server_left: Option<String>,
}

/// How the loop runs.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may take in all.
    pub timeout: Duration,
    /// What failed is left as it is.
    pub keep: bool,
    /// For how long a create without an answer is waited for: [`APPEARANCE`].
    pub appearance: Duration,
}

/// Makes the image.
///
/// # Errors
/// When there will be no image; what this run or the one that it went on with has made is deleted then, unless it is to
/// be kept.
pub fn run(
    site: &mut dyn Site,
    cloud: &str,
    goal: Goal,
    limits: Limits,
    line: &Line,
) -> Result<Outcome, Error> {
    let mut attempt = Attempt::default();
    let deadline = Deadline::within(limits.timeout);
    match forward(site, cloud, goal, limits, &mut attempt, line, deadline) {
        Ok(outcome) => Ok(outcome),
        Err(cause) => {
            let console = site.console();
            let left = if attempt.builder.is_none() {
                None
            } else if limits.keep {
                Some(keep(site, &mut attempt, &cause))
            } else {
                line.doing("it failed; deleting the server");
                Some(clean_up(site, &mut attempt))
            };
            Err(Error {
                cloud: cloud.to_owned(),
                cause: Box::new(cause),
                console,
                left,
            })
        }
    }
}

fn forward(
    site: &mut dyn Site,
    cloud: &str,
    goal: Goal,
    limits: Limits,
    attempt: &mut Attempt,
    line: &Line,
    deadline: Deadline,
) -> Result<Outcome, Cause> {
    let mut took: Vec<(Part, Duration)> = Vec::new();
    let mut doing = "looking".to_owned();
    let mut unanswered: Option<Instant> = None;
    line.doing(&doing);
    loop {
        let began = Instant::now();
        if deadline.passed() {
            return match &attempt.published {
                Some(id) => Ok(Outcome {
                    image_id: id.clone(),
                    took,
                    server_left: Some(format!("it is not gone after all this time: {doing}")),
                }),
                None => Err(Cause::TimedOut {
                    during: doing,
                    limit: limits.timeout,
                }),
            };
        }
        attempt.may_appear = unanswered.is_some_and(|since| since.elapsed() < limits.appearance);
        let seen = match site.look(attempt, deadline) {
            Ok(seen) => seen,
            Err(error) if is_borne(&error) => {
                info!("{error}");
                doing = format!("the cloud does not answer, looking again: {error}");
                line.doing(&doing);
                site.pause(deadline);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let step = next(&seen, goal, attempt);
        let part = part(&step);
        let done = match &step {
            Step::Done { id } => {
                return Ok(Outcome {
                    image_id: id.clone(),
                    took,
                    server_left: None,
                });
            }
            Step::Fail(why) => return Err(Cause::Build(why.clone())),
            Step::Wait(wait) => {
                doing = wait.to_string();
                line.doing(&doing);
                match wait {
                    Wait::Booting(Some(last)) => line.detail(last),
                    Wait::Imaging(status) => line.detail(status),
                    _ => {}
                }
                site.pause(deadline);
                Ok(())
            }
            step => {
                doing = told(step);
                line.doing(&doing);
                site.perform(step, &seen, attempt, deadline)
            }
        };
        match done {
            Ok(()) => {}
            // Somebody was quicker, or Nova is busy with it: the next look tells.
            Err(error) if error.status() == Some(409) => {
                info!("{error}");
                site.pause(deadline);
            }
            Err(error) if step == Step::Create => {
                if error.effect() == Effect::None {
                    return Err(error.into());
                }
                unanswered = Some(Instant::now());
                info!("{error}");
                site.pause(deadline);
            }
            Err(error) if is_borne(&error) || error.effect() == Effect::Unknown => {
                info!("{error}");
                line.doing(&format!("{doing}: {error}"));
                site.pause(deadline);
            }
            Err(error) => return Err(error.into()),
        }
        line.leaves(attempt.builder.clone().map(|id| Remains::Server {
            name: format!("the builder in cloud {cloud}"),
            id,
        }));
        if let Some(part) = part {
            match took.last_mut() {
                Some((last, time)) if *last == part => *time += began.elapsed(),
                _ => took.push((part, began.elapsed())),
            }
        }
    }
}

/// Whether the cloud may answer the next time.
fn is_borne(error: &openstack::Error) -> bool {
    error.is_passing()
        || matches!(
            error,
            openstack::Error::NoAnswer { .. }
                | openstack::Error::NotReached { .. }
                | openstack::Error::DeadlinePassed { .. }
        )
}

fn part(step: &Step) -> Option<Part> {
    match step {
        Step::Create | Step::MarkBooted => Some(Part::Boot),
        Step::Wait(Wait::Appearing | Wait::Building | Wait::Booting(_) | Wait::Console) => {
            Some(Part::Boot)
        }
        Step::Wait(Wait::Task(task)) if task.starts_with("image_") => Some(Part::Snapshot),
        Step::Stop | Step::Wait(Wait::Task(_)) => Some(Part::Stop),
        Step::Snapshot | Step::Wait(Wait::Imaging(_)) => Some(Part::Snapshot),
        Step::Delete | Step::Disown | Step::Wait(Wait::Going) => Some(Part::CleanUp),
        _ => None,
    }
}

fn told(step: &Step) -> String {
    match step {
        Step::Clear(Leftover::Server { name, why, .. }) => {
            format!("deleting server {name}, which an earlier build has left: {why}")
        }
        Step::Clear(Leftover::Image { name, .. }) => {
            format!("deleting image {name}, which an earlier build has not finished")
        }
        Step::Create => "asking for a server".to_owned(),
        Step::MarkBooted => "the first boot went well".to_owned(),
        Step::Stop => "switching off".to_owned(),
        Step::Snapshot => "snapshot".to_owned(),
        Step::DeleteImage { id } => format!("deleting image {id}, which came to nothing"),
        Step::Publish { .. } => "the image is whole".to_owned(),
        Step::Disown => "leaving the server".to_owned(),
        Step::Delete => "deleting the server".to_owned(),
        Step::Wait(wait) => wait.to_string(),
        Step::Done { .. } => "done".to_owned(),
        Step::Fail(why) => why.to_string(),
    }
}

/// Deletes what is there, whatever it was that failed.
fn clean_up(site: &mut dyn Site, attempt: &mut Attempt) -> Left {
    let deadline = Deadline::within(CLEANING);
    let mut why = "it is not gone after a while".to_owned();
    while !deadline.passed() {
        let step = match site.look(attempt, deadline) {
            Ok(seen) => clean(&seen).map(|step| (step, seen)),
            Err(error) => {
                why = error.to_string();
                site.pause(deadline);
                continue;
            }
        };
        match step {
            None => return Left::Nothing,
            Some((Step::Wait(_), _)) => {}
            Some((step, seen)) => {
                if let Err(error) = site.perform(&step, &seen, attempt, deadline) {
                    why = error.to_string();
                }
            }
        }
        site.pause(deadline);
    }
    Left::Undeleted {
        id: attempt.builder.clone().unwrap_or_default(),
        why,
    }
}

/// Leaves the builder, and says in its metadata that no build is to go on with it.
fn keep(site: &mut dyn Site, attempt: &mut Attempt, cause: &Cause) -> Left {
    let deadline = Deadline::within(CLEANING);
    let id = attempt.builder.clone().unwrap_or_default();
    match site.look(attempt, deadline) {
        Ok(Seen { builder: None, .. }) => Left::Nothing,
        Ok(seen) => {
            let step = Step::Fail(match cause {
                Cause::Build(why) => why.clone(),
                // The next build may well go on with it.
                _ => return kept(&seen, id, true),
            });
            // Of a server in ERROR Nova takes no metadata, and its status says the same.
            if let Err(error) = site.perform(&step, &seen, attempt, deadline) {
                info!("{error}");
            }
            kept(&seen, id, false)
        }
        Err(error) => {
            info!("{error}");
            kept(&Seen::default(), id, !matches!(cause, Cause::Build(_)))
        }
    }
}

fn kept(seen: &Seen, id: String, goes_on: bool) -> Left {
    let name = seen.builder.as_ref().map(|builder| builder.name.clone());
    Left::Kept {
        name: name.unwrap_or_default(),
        id,
        goes_on,
    }
}

#[cfg(test)]
mod tests;
