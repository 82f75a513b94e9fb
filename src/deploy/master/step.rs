//! Decides what comes after the first boot of a central manager: floating IP, installation, mark, timer. Pure.
//!
//! A run that goes on where another one was interrupted begins with the same question.

use std::time::Duration;

use super::error::DeployFailure;
use crate::boot::{self, BootFailure, BootView, Server, Wait};
use scaling::observation::ServerStatus;

/// How long a server that is up may refuse connections: its sshd starts at about the time of the final message, and a
/// floating IP takes a moment.
const UNREACHED: Duration = Duration::from_secs(120);

/// What there is of the central manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployView {
    /// Its server. Once it is ready it is never deleted.
    pub boot: BootView,
    /// It was made of what this run would make it of.
    pub is_as_specified: bool,
    pub floating_ip: FloatingIp,
    /// How far the installation is in this run.
    pub installation: Installation,
}

/// The address by which the central manager is reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatingIp {
    /// None was asked for.
    NotWanted,
    /// It is still to be had.
    Missing,
    /// It leads to the server.
    There,
}

/// The installation of ehos on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installation {
    /// Not begun.
    NotYet,
    /// Its SSH does not answer.
    NotReached {
        /// For how long it has been tried.
        tried: Duration,
        why: String,
    },
    /// All is in place.
    Done,
    /// And the server is marked as ready: it is never deleted from here on.
    Marked,
    /// And its timer runs.
    Started,
}

/// What is done with a server that has booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Let a floating IP lead to it.
    LeadFloatingIp,
    /// Put ehos onto it.
    Install,
    MarkReady,
    /// Start its timer. Only now can it have nodes and jobs.
    Start,
}

/// What is to be done.
pub type Step = boot::Step<Action, DeployFailure>;

/// The next step.
pub fn next(view: &DeployView) -> Step {
    let Some(server) = &view.boot.server else {
        return boot::without_server(view.boot.request);
    };
    match server.status {
        _ if server.deleting => Step::Wait(Wait::Deleting),
        _ if server.is_ready => ready(server, view),
        ServerStatus::Shutoff => boot::failed(server, BootFailure::PoweredOff(None)),
        ServerStatus::Build | ServerStatus::Active | ServerStatus::Other
            if !server.is_own && !view.is_as_specified =>
        {
            let why = "an earlier run began it from other files or another image";
            boot::remove(server, why.to_owned())
        }
        _ => boot::first_boot(server, view.boot.boot.as_ref()).unwrap_or_else(|| reach(view)),
    }
}

/// A server that an earlier run has finished: it is brought up to date.
fn ready(server: &Server, view: &DeployView) -> Step {
    match server.status {
        ServerStatus::Active => reach(view),
        ServerStatus::Build | ServerStatus::Other => Step::Wait(Wait::Unusual),
        ServerStatus::Shutoff => give_up(
            "it is switched off: start it (openstack server start), then run this again".to_owned(),
        ),
        ServerStatus::Error => {
            let fault = server.fault.as_deref().unwrap_or("Nova gives no reason");
            give_up(format!(
                "its server is in ERROR: {fault}; it may hold jobs and the keys of the pool, so look at it yourself"
            ))
        }
    }
}

/// A server that has booted.
fn reach(view: &DeployView) -> Step {
    if view.floating_ip == FloatingIp::Missing {
        return Step::Act(Action::LeadFloatingIp);
    }
    match &view.installation {
        Installation::NotReached { tried, why } if *tried >= UNREACHED => give_up(why.clone()),
        Installation::NotYet | Installation::NotReached { .. } => Step::Act(Action::Install),
        Installation::Done => Step::Act(Action::MarkReady),
        Installation::Marked => Step::Act(Action::Start),
        Installation::Started => Step::Done,
    }
}

fn give_up(why: String) -> Step {
    Step::Fail(DeployFailure::GaveUp(why))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::boot::CreateRequest;
    use crate::console::Boot;

    fn server(status: ServerStatus) -> Server {
        Server {
            id: "s-1".to_owned(),
            name: "master".to_owned(),
            status,
            deleting: false,
            task: None,
            fault: None,
            is_own: true,
            is_ready: false,
        }
    }

    fn seen(server: Option<Server>) -> DeployView {
        DeployView {
            boot: BootView {
                server,
                has_own: true,
                request: CreateRequest::default(),
                boot: Some(Boot::Finished),
            },
            is_as_specified: true,
            floating_ip: FloatingIp::NotWanted,
            installation: Installation::NotYet,
        }
    }

    fn leftover(server: Server) -> Server {
        Server {
            is_own: false,
            ..server
        }
    }

    #[test]
    fn what_failed_is_given_up_here_and_removed_when_it_is_a_leftover() {
        for status in [ServerStatus::Error, ServerStatus::Shutoff] {
            let here = server(status);
            assert!(matches!(next(&seen(Some(here.clone()))), Step::Fail(_)));
            let left = leftover(here);
            assert!(matches!(next(&seen(Some(left))), Step::Remove(_)));
        }
        let mut broken = seen(Some(server(ServerStatus::Active)));
        broken.boot.boot = Some(Boot::Failed("EHOS: FAILED: no".to_owned()));
        assert!(
            matches!(next(&broken), Step::Fail(why) if why.to_string().contains("EHOS: FAILED: no"))
        );
    }

    #[test]
    fn a_leftover_of_other_files_is_made_anew_and_one_of_the_same_goes_on() {
        let left = seen(Some(leftover(server(ServerStatus::Active))));
        assert_eq!(next(&left), Step::Act(Action::Install));
        let other = DeployView {
            is_as_specified: false,
            ..left
        };
        assert!(matches!(next(&other), Step::Remove(_)));
    }

    #[test]
    fn the_floating_ip_is_there_before_anybody_logs_in() {
        let missing = DeployView {
            floating_ip: FloatingIp::Missing,
            ..seen(Some(server(ServerStatus::Active)))
        };
        assert_eq!(next(&missing), Step::Act(Action::LeadFloatingIp));
        let there = DeployView {
            floating_ip: FloatingIp::There,
            ..missing
        };
        assert_eq!(next(&there), Step::Act(Action::Install));
    }

    #[test]
    fn a_server_that_does_not_answer_is_tried_for_two_minutes() {
        let tried = |seconds| {
            next(&DeployView {
                installation: Installation::NotReached {
                    tried: Duration::from_secs(seconds),
                    why: "no route".to_owned(),
                },
                ..seen(Some(server(ServerStatus::Active)))
            })
        };
        assert_eq!(tried(119), Step::Act(Action::Install));
        assert_eq!(tried(120), give_up("no route".to_owned()));
    }

    fn any_seen() -> impl Strategy<Value = DeployView> {
        let status = prop_oneof![
            Just(ServerStatus::Build),
            Just(ServerStatus::Active),
            Just(ServerStatus::Shutoff),
            Just(ServerStatus::Other),
            Just(ServerStatus::Error)
        ];
        let server = (status, any::<[bool; 3]>()).prop_map(|(status, [a, b, c])| Server {
            deleting: a,
            is_ready: b,
            is_own: c,
            ..server(status)
        });
        let boot = prop_oneof![
            Just(None),
            Just(Some(Boot::Running(None))),
            Just(Some(Boot::Failed("x".to_owned()))),
            Just(Some(Boot::Finished))
        ];
        let floating_ip = prop_oneof![
            Just(FloatingIp::NotWanted),
            Just(FloatingIp::Missing),
            Just(FloatingIp::There)
        ];
        let installation = prop_oneof![
            Just(Installation::NotYet),
            (0u64..300).prop_map(|seconds| Installation::NotReached {
                tried: Duration::from_secs(seconds),
                why: "x".to_owned()
            }),
            Just(Installation::Done),
            Just(Installation::Marked),
            Just(Installation::Started)
        ];
        let request = (0u32..4, any::<bool>())
            .prop_map(|(times, may_appear)| CreateRequest { times, may_appear });
        let server = proptest::option::of(server);
        let booting = (server, request, boot);
        (booting, any::<bool>(), floating_ip, installation).prop_map(
            |((server, request, boot), is_as_specified, floating_ip, installation)| DeployView {
                boot: BootView {
                    server,
                    has_own: false,
                    request,
                    boot,
                },
                is_as_specified,
                floating_ip,
                installation,
            },
        )
    }

    /// A world in which all goes well, but for what an earlier run left.
    #[derive(Clone, Debug)]
    struct World {
        servers: Vec<Left>,
        floating_ips: usize,
    }

    #[derive(Clone, Debug)]
    struct Left {
        server: Server,
        is_as_specified: bool,
        /// Looks that it has had: it is ACTIVE after two, and its boot is through after four.
        looks: u32,
        floating_ip: bool,
        started: bool,
    }

    /// A run that is interrupted after `steps` steps.
    fn run(world: &mut World, steps: usize, wants_floating_ip: bool) -> Option<Step> {
        let mut installation = Installation::NotYet;
        for left in &mut world.servers {
            left.server.is_own = false;
        }
        for _ in 0..steps {
            let found = world.servers.first_mut().map(|left| {
                left.looks += 1;
                if left.looks > 2 && left.server.status == ServerStatus::Build {
                    left.server.status = ServerStatus::Active;
                }
                left.clone()
            });
            let there = found.as_ref().is_some_and(|left| left.floating_ip);
            let mut view = DeployView {
                is_as_specified: found.as_ref().is_some_and(|left| left.is_as_specified),
                floating_ip: match (wants_floating_ip, there) {
                    (false, _) => FloatingIp::NotWanted,
                    (true, false) => FloatingIp::Missing,
                    (true, true) => FloatingIp::There,
                },
                installation: installation.clone(),
                ..seen(found.as_ref().map(|left| left.server.clone()))
            };
            view.boot.boot = match found.as_ref().map(|left| left.looks) {
                Some(looks) if looks > 4 => Some(Boot::Finished),
                _ => Some(Boot::Running(None)),
            };
            let step = next(&view);
            match &step {
                Step::Create => world.servers.push(Left {
                    server: server(ServerStatus::Build),
                    is_as_specified: true,
                    looks: 0,
                    floating_ip: false,
                    started: false,
                }),
                Step::Remove(_) => {
                    let gone = world.servers.remove(0);
                    assert!(!gone.server.is_ready && !gone.started);
                }
                Step::Wait(_) => {}
                Step::Act(Action::LeadFloatingIp) => {
                    world.servers[0].floating_ip = true;
                    world.floating_ips += 1;
                }
                Step::Act(Action::Install) => installation = Installation::Done,
                Step::Act(Action::MarkReady) => {
                    world.servers[0].server.is_ready = true;
                    installation = Installation::Marked;
                }
                Step::Act(Action::Start) => {
                    assert!(world.servers[0].server.is_ready, "before it has jobs");
                    world.servers[0].started = true;
                    installation = Installation::Started;
                }
                Step::Done | Step::Fail(_) => return Some(step),
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_server_that_is_ready_or_going_is_never_removed(seen in any_seen()) {
            if let Step::Remove(_) = next(&seen) {
                let server = seen.boot.server.unwrap();
                prop_assert!(!(server.is_ready || server.deleting || server.is_own));
            }
        }

        #[test]
        fn nothing_is_made_beside_a_server_that_is_there(seen in any_seen()) {
            prop_assert!(next(&seen) != Step::Create || seen.boot.server.is_none());
        }

        #[test]
        fn it_is_ready_only_when_all_is_installed(seen in any_seen()) {
            let installed = matches!(
                seen.installation,
                Installation::Done | Installation::Marked | Installation::Started
            );
            let step = next(&seen);
            if matches!(step, Step::Act(Action::MarkReady | Action::Start) | Step::Done) {
                prop_assert!(installed && seen.floating_ip != FloatingIp::Missing);
            }
        }

        #[test]
        fn interrupted_anywhere_and_run_again_there_is_one_master_and_it_is_ready(
            interruptions in proptest::collection::vec(0usize..16, 0..6),
            wants_floating_ip in any::<bool>(),
            leftover in proptest::option::of((any::<bool>(), any::<bool>())),
        ) {
            let leftover = leftover.map(|(failed, is_as_specified)| {
                let status = if failed { ServerStatus::Error } else { ServerStatus::Active };
                let server = server(status);
                Left { server, is_as_specified, looks: 0, floating_ip: false, started: false }
            });
            let mut world = World { servers: leftover.into_iter().collect(), floating_ips: 0 };
            for steps in interruptions {
                run(&mut world, steps, wants_floating_ip);
                prop_assert!(world.servers.len() <= 1);
            }
            prop_assert_eq!(run(&mut world, 100, wants_floating_ip), Some(Step::Done));
            prop_assert_eq!(world.servers.len(), 1);
            prop_assert!(world.servers[0].server.is_ready && world.servers[0].started);
            prop_assert_eq!(world.servers[0].floating_ip, wants_floating_ip);
        }
    }
}
