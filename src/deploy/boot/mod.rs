//! The boot loop: looks for a server of the pool, creates it where there is none, follows its first boot, does what comes
//! next, and goes on where an interrupted run stopped.
//!
//! Owns: the loop, its patience with errors that pass, and the clean-up. A kind of server is one [`Ending`].
//! Must not: know what the server is for.

mod spec;
mod step;

use std::fmt;
use std::time::{Duration, Instant};

use log::{info, warn};

use openstack::Error;
use system::deadline::Deadline;
use system::progress::{Line, Remains};

pub use spec::{METADATA_DIGEST, ServerSpec, hexadecimal, look_up_values};
pub use step::{
    BootFailure, BootView, CreateRequest, Leftover, Server, Step, Wait, failed, first_boot,
    not_running, remove, without_server,
};

/// How long one question to the cloud may take, with what it takes to answer it. It is not the time of the whole: when
/// that is over, there is still something to clean up.
const QUESTION: Duration = Duration::from_secs(60);
/// How long the clean-up after a failure may take; it has time of its own when all is up.
const CLEAN_UP: Duration = Duration::from_secs(180);
/// The longest value of metadata (`maxLength` of Nova's schema).
pub const MAX_VALUE: usize = 255;

/// The deadline of one question to the cloud.
pub fn soon() -> Deadline {
    Deadline::within(QUESTION)
}

/// What becomes of a server, and how: a kind of server to boot.
pub trait Ending {
    /// Everything that the next step depends on.
    type View;
    /// What is done apart from the boot.
    type Action;
    /// What can go wrong apart from what the cloud says.
    type Failure: From<BootFailure> + fmt::Display;

    /// The creates of this run.
    fn creates(&mut self) -> &mut Creates;
    /// Asks the cloud. Remembers a server that this run goes on with.
    fn look(&mut self) -> Result<Self::View, Failure<Self::Failure>>;
    /// The server in a view.
    fn server(view: &Self::View) -> Option<&Server>;
    /// Decides, without asking.
    fn next(&mut self, view: &Self::View) -> Step<Self::Action, Self::Failure>;
    /// What a step does, for the line of progress.
    fn told(&self, step: &Step<Self::Action, Self::Failure>) -> String;
    /// What the server is called for people, once it is known or before.
    fn title(&self, server: Option<&Server>) -> String;
    /// Sends one create.
    fn create(&mut self) -> Result<String, Error>;
    /// Deletes a leftover of an earlier run.
    fn remove(&mut self, leftover: &Leftover) -> Result<(), Error>;
    /// Does one action.
    fn perform(
        &mut self,
        action: &Self::Action,
        view: &Self::View,
    ) -> Result<(), Failure<Self::Failure>>;
    /// Whether a step is taken even when the time is up.
    fn is_urgent(_step: &Step<Self::Action, Self::Failure>) -> bool {
        false
    }
    /// Does the next thing of the clean-up after a failure. Returns whether nothing is left.
    fn clean(&mut self) -> Result<bool, Failure<Self::Failure>>;
    /// Lets some time pass, at most `longest`.
    fn pause(&mut self, longest: Duration);
}

/// Why a run ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure<F> {
    /// The cloud's answer. Where it may be another one in a moment, the loop asks again.
    Cloud(Error),
    /// The cloud's answer, which is final.
    Refused(Error),
    TimedOut {
        /// What was going on.
        during: String,
    },
    /// What the ending says.
    Ending(F),
}

impl<F> From<Error> for Failure<F> {
    fn from(error: Error) -> Failure<F> {
        Failure::Cloud(error)
    }
}

impl<F: fmt::Display> fmt::Display for Failure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Cloud(error) | Failure::Refused(error) => error.fmt(f),
            Failure::TimedOut { during } => f.write_str(during),
            Failure::Ending(failure) => failure.fmt(f),
        }
    }
}

/// Why a run ended without success, and the last view where there was one.
pub type Stopped<E> = (Failure<<E as Ending>::Failure>, Option<<E as Ending>::View>);

/// What a run has asked for.
#[derive(Debug, Clone)]
pub struct Creates {
    /// The server that this run has created, or goes on with.
    pub own: Option<String>,
    /// For how long a server is looked for whose create was not answered.
    appearance: Duration,
    times: u32,
    last: Option<Instant>,
}

impl Creates {
    /// None yet; a server whose create was not answered appears within `appearance`, or not at all.
    pub fn new(appearance: Duration) -> Creates {
        Creates {
            own: None,
            appearance,
            times: 0,
            last: None,
        }
    }

    /// How it stands.
    pub fn request(&self) -> CreateRequest {
        CreateRequest {
            times: self.times,
            may_appear: self
                .last
                .is_some_and(|last| last.elapsed() < self.appearance),
        }
    }
}

/// What follows a turn of the loop.
enum Turn {
    Done,
    Look,
    Pause,
}

/// Runs until the ending is done, and returns the last view; else why not, and the last view where there was one.
pub fn run<E: Ending>(
    ending: &mut E,
    timeout: Duration,
    line: &Line,
) -> Result<E::View, Stopped<E>> {
    let deadline = Deadline::within(timeout);
    let mut view = None;
    loop {
        let mut doing = "the cloud does not answer, looking again".to_owned();
        let failure = match turn(ending, &mut view, &mut doing, deadline, line) {
            Ok(Turn::Done) => match view.take() {
                Some(view) => return Ok(view),
                None => continue,
            },
            Ok(Turn::Look) => continue,
            Ok(Turn::Pause) => {
                ending.pause(deadline.left());
                continue;
            }
            Err(Failure::Cloud(error)) if passes(&error) => {
                info!("{error}");
                let during = format!("{doing}: {error}");
                if !deadline.passed() {
                    line.doing(&during);
                    ending.pause(deadline.left());
                    continue;
                }
                Failure::TimedOut { during }
            }
            Err(failure) => failure,
        };
        return Err((failure, view));
    }
}

fn turn<E: Ending>(
    ending: &mut E,
    last: &mut Option<E::View>,
    doing: &mut String,
    deadline: Deadline,
    line: &Line,
) -> Result<Turn, Failure<E::Failure>> {
    let view = last.insert(ending.look()?);
    if let Some(server) = E::server(view) {
        let name = ending.title(Some(server));
        line.leaves(match (server.deleting, server.is_ready) {
            (true, _) => None,
            (false, true) => Some(Remains::Half { name }),
            (false, false) => Some(Remains::Server {
                name,
                id: server.id.clone(),
            }),
        });
    }
    let step = ending.next(view);
    *doing = ending.told(&step);
    if deadline.passed() && !matches!(step, Step::Done | Step::Fail(_)) && !E::is_urgent(&step) {
        return Err(Failure::TimedOut {
            during: doing.clone(),
        });
    }
    Ok(match step {
        Step::Done => Turn::Done,
        Step::Fail(failure) => return Err(Failure::Ending(failure)),
        Step::Wait(wait) => {
            line.doing(doing);
            if let Some(detail) = wait.detail() {
                line.detail(detail);
            }
            Turn::Pause
        }
        Step::Create => {
            line.doing(doing);
            create(ending, line)?
        }
        Step::Remove(leftover) => {
            line.doing(doing);
            ending.remove(&leftover)?;
            Turn::Pause
        }
        // The ending says itself what it does.
        Step::Act(action) => {
            ending.perform(&action, view)?;
            Turn::Look
        }
    })
}

/// Sends one create. One without an answer is looked for before another one is sent.
fn create<E: Ending>(ending: &mut E, line: &Line) -> Result<Turn, Failure<E::Failure>> {
    let created = ending.create();
    let name = ending.title(None);
    let creates = ending.creates();
    let turn = match created {
        Ok(id) => {
            line.leaves(Some(Remains::Server {
                name,
                id: id.clone(),
            }));
            creates.own = Some(id);
            // Nova may list it a moment later.
            creates.times = creates.times.max(1);
            Turn::Look
        }
        Err(error) if error.may_have_acted() => {
            warn!("{error}; the next list of servers shows the effect");
            creates.times += 1;
            Turn::Pause
        }
        Err(error) => return Err(Failure::Refused(error)),
    };
    creates.last = Some(Instant::now());
    Ok(turn)
}

/// Whether the cloud may answer otherwise in a moment: it was silent or busy, or the next look tells what was done.
fn passes(error: &Error) -> bool {
    error.is_unanswered() || error.may_have_acted() || error.status() == Some(409)
}

/// Deletes what there is after a failure.
///
/// # Errors
/// Why something is left.
pub fn clean<E: Ending>(ending: &mut E) -> Result<(), String> {
    let deadline = Deadline::within(CLEAN_UP);
    let mut why = "it is not gone after a while".to_owned();
    while !deadline.passed() {
        match ending.clean() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Failure::Cloud(error)) if passes(&error) => why = error.to_string(),
            Err(failure) => return Err(failure.to_string()),
        }
        ending.pause(deadline.left());
    }
    Err(why)
}

#[cfg(test)]
mod tests;
