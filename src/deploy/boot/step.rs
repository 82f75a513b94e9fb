//! Decides how a server gets to the end of its first boot. Pure.
//!
//! Owns: the steps up to there, the same for every kind of server; its ending decides what comes next.
//! Must not: ask any service; decide for a server that an earlier run has finished.

use crate::console::Boot;
use scaling::observation::ServerStatus;

/// How many times a server is asked for.
const CREATES: u32 = 2;

/// The server, and what this run knows of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootView {
    /// The server, if there is one.
    pub server: Option<Server>,
    /// This run has created a server, or goes on with one.
    pub has_own: bool,
    /// The creates of this run.
    pub request: CreateRequest,
    /// The state of its first boot, as its console tells; `None`: the console cannot be read, or was not asked for.
    pub boot: Option<Boot>,
}

/// A server that boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub id: String,
    pub name: String,
    /// Nova's word for it.
    pub status: ServerStatus,
    /// Nova is deleting it.
    pub deleting: bool,
    /// What Nova is doing with it (`task_state`).
    pub task: Option<String>,
    /// Why it is in ERROR.
    pub fault: Option<String>,
    /// It is this run's: what fails is a failure of this run, not a leftover of another one.
    pub is_own: bool,
    /// An earlier run has finished it.
    pub is_ready: bool,
}

/// Creates that were sent, and are not seen in Nova's list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// How many.
    pub times: u32,
    /// The last one may still appear in the list.
    pub may_appear: bool,
}

/// Something of ours that no run goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    Server {
        id: String,
        name: String,
        /// Why it is of no use.
        why: String,
    },
    /// An image that was never whole, whose builder is gone.
    Image { id: String, name: String },
}

impl Leftover {
    pub fn id(&self) -> &str {
        match self {
            Leftover::Server { id, .. } | Leftover::Image { id, .. } => id,
        }
    }
}

/// The next step, with the actions `A` and the failures `F` of an ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<A, F> {
    /// Delete what an earlier run has left.
    Remove(Leftover),
    /// Ask for the server.
    Create,
    /// Look again after a while.
    Wait(Wait),
    /// Do what the ending says.
    Act(A),
    /// All is done.
    Done,
    /// It cannot be done.
    Fail(F),
}

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A create was not answered: the server may appear.
    Appearing,
    /// Nova creates the server.
    Building,
    /// The first boot; the last line of the console.
    Booting(Option<String>),
    /// The first boot, while the console cannot be read.
    Console,
    /// Nova is busy with the server (`task_state`).
    Task(String),
    /// An image of it is on its way; Glance's status.
    Imaging(String),
    /// The server is being deleted.
    Deleting,
    /// The server is paused, in rescue or the like.
    Unusual,
}

impl Wait {
    /// The newest that is seen meanwhile.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Wait::Booting(last) => last.as_deref(),
            Wait::Imaging(status) => Some(status),
            _ => None,
        }
    }
}

/// Why a server does not get to the end of its first boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootFailure {
    /// No create was answered, and Nova lists no server.
    NoServer {
        /// How many were sent.
        creates: u32,
    },
    /// Nova could not create it, or lost it.
    Fault(Option<String>),
    /// Something failed in the first boot: the line that says so.
    Boot(String),
    /// It switched itself off before its first boot was over; the last line of its console.
    PoweredOff(Option<String>),
}

/// The step where there is no server.
pub fn without_server<A, F: From<BootFailure>>(request: CreateRequest) -> Step<A, F> {
    if request.may_appear {
        return Step::Wait(Wait::Appearing);
    }
    if request.times >= CREATES {
        let creates = request.times;
        return Step::Fail(BootFailure::NoServer { creates }.into());
    }
    Step::Create
}

/// The step of a server that does not run; `None`: it runs, or is switched off.
pub fn not_running<A, F: From<BootFailure> + ToString>(server: &Server) -> Option<Step<A, F>> {
    match server.status {
        ServerStatus::Error => Some(failed(server, BootFailure::Fault(server.fault.clone()))),
        ServerStatus::Build => Some(Step::Wait(Wait::Building)),
        ServerStatus::Other => Some(Step::Wait(Wait::Unusual)),
        ServerStatus::Active | ServerStatus::Shutoff => {
            server.task.clone().map(|task| Step::Wait(Wait::Task(task)))
        }
    }
}

/// The step of a server up to the end of its first boot; `None`: that is over, and went well.
pub fn first_boot<A, F: From<BootFailure> + ToString>(
    server: &Server,
    boot: Option<&Boot>,
) -> Option<Step<A, F>> {
    not_running(server).or_else(|| match boot {
        Some(Boot::Failed(line)) => Some(failed(server, BootFailure::Boot(line.clone()))),
        // A template may end with switching off.
        Some(Boot::Finished) => None,
        Some(Boot::Running(line)) if server.status == ServerStatus::Shutoff => {
            Some(failed(server, BootFailure::PoweredOff(line.clone())))
        }
        Some(Boot::Running(line)) => Some(Step::Wait(Wait::Booting(line.clone()))),
        // A console that cannot be read in one moment may be there in the next, also of a server that is off.
        None => Some(Step::Wait(Wait::Console)),
    })
}

/// The step after a failure: a leftover of an earlier run is created anew.
pub fn failed<A, F: From<BootFailure> + ToString>(server: &Server, why: BootFailure) -> Step<A, F> {
    let why = F::from(why);
    if server.is_own {
        Step::Fail(why)
    } else {
        remove(server, why.to_string())
    }
}

/// Deletes a server that an earlier run has left.
pub fn remove<A, F>(server: &Server, why: String) -> Step<A, F> {
    Step::Remove(Leftover::Server {
        id: server.id.clone(),
        name: server.name.clone(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_waited_for_then_asked_once_more_then_given_up() {
        let asked = |times, may_appear| {
            without_server::<(), BootFailure>(CreateRequest { times, may_appear })
        };
        assert_eq!(asked(0, false), Step::Create);
        assert_eq!(asked(1, true), Step::Wait(Wait::Appearing));
        assert_eq!(asked(1, false), Step::Create);
        assert_eq!(asked(2, true), Step::Wait(Wait::Appearing));
        assert_eq!(
            asked(2, false),
            Step::Fail(BootFailure::NoServer { creates: 2 })
        );
    }
}
