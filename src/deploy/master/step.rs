//! What is to be done next for a central manager, as a pure function of what was seen. A run that goes on where another
//! one was interrupted begins with the same question.

use std::time::Duration;

use crate::deploy::console::Boot;
use crate::scaling::observation::ServerStatus;

/// How long a server that was asked for may be missing in Nova's list, when the answer was lost, before it is asked for
/// once more.
const UNSEEN: Duration = Duration::from_secs(60);
/// How often a server is asked for.
const ASKS: u32 = 2;
/// How long a server that is up may refuse connections: its sshd starts at about the time of the final message, and a
/// floating IP takes a moment.
const UNREACHED: Duration = Duration::from_secs(120);

/// What there is of the central manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its server, if there is one.
    pub server: Option<Server>,
    /// What this run has asked Nova for.
    pub asked: Asked,
    /// How its boot goes, as far as its console tells; `None`: no console is to be had.
    pub boot: Option<Boot>,
    /// Its floating IP.
    pub floating_ip: FloatingIp,
    /// How far the installation is in this run.
    pub installation: Installation,
}

/// The server of the central manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Nova's word for it.
    pub status: ServerStatus,
    /// It is being deleted.
    pub deleting: bool,
    /// Nova's fault message.
    pub fault: Option<String>,
    /// A whole installation has marked it as ready: never deleted from then on.
    pub ready: bool,
    /// This run asked for it.
    pub made_here: bool,
    /// It was made of what this run would make it of.
    pub as_ordered: bool,
}

/// Creates that were sent and whose answer was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// How many.
    pub times: u32,
    /// How long ago the last one was.
    pub ago: Duration,
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
        /// What ssh says.
        why: String,
    },
    /// Something of it failed.
    Failed(String),
    /// All is in place.
    Done,
    /// And the server is marked as ready: it is never deleted from here on.
    Marked,
    /// And its timer runs.
    Started,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for a server.
    Create,
    /// Delete a server that an earlier run left.
    Remove {
        /// What is wrong with it.
        why: String,
    },
    /// Look again in a moment.
    Wait {
        /// What for.
        what: String,
    },
    /// Let a floating IP lead to it.
    LeadFloatingIp,
    /// Put ehos onto it.
    Install,
    /// Mark it as ready.
    MarkReady,
    /// Start its timer. Only now can it have nodes and jobs.
    Start,
    /// All is done.
    Done,
    /// It cannot be done.
    GiveUp {
        /// Why not.
        why: String,
    },
}

/// What is to be done next.
pub fn next(seen: &Seen) -> Step {
    let Some(server) = &seen.server else {
        return without_server(seen.asked);
    };
    if server.deleting {
        return wait("the old server to go");
    }
    if server.ready {
        return ready(server, seen);
    }
    match server.status {
        ServerStatus::Error => {
            let fault = server.fault.as_deref().unwrap_or("Nova does not say why");
            failed(server, format!("its server has failed: {fault}"))
        }
        ServerStatus::Shutoff => failed(
            server,
            "its server has switched itself off before it was ready".to_owned(),
        ),
        _ if !server.made_here && !server.as_ordered => Step::Remove {
            why: "an earlier run began it from other files or another image".to_owned(),
        },
        ServerStatus::Build => wait("the server to be built"),
        ServerStatus::Other => wait("the server to run"),
        ServerStatus::Active => match &seen.boot {
            Some(Boot::Failed(line)) => failed(server, format!("its boot failed: {line}")),
            Some(Boot::Finished) => reach(seen),
            Some(Boot::Running(_)) => wait("the final message of its first boot"),
            None => wait("its console"),
        },
    }
}

fn without_server(asked: Asked) -> Step {
    if asked.times > 0 && asked.ago < UNSEEN {
        return wait("Nova to list the server that was asked for");
    }
    if asked.times >= ASKS {
        return Step::GiveUp {
            why: format!(
                "Nova was asked {ASKS} times for a server, gave no proper answer, and lists none"
            ),
        };
    }
    Step::Create
}

/// A server that an earlier run has finished: it is brought up to date.
fn ready(server: &Server, seen: &Seen) -> Step {
    match server.status {
        ServerStatus::Active => reach(seen),
        ServerStatus::Build | ServerStatus::Other => wait("the server to run"),
        ServerStatus::Shutoff => Step::GiveUp {
            why: "it is switched off: start it (openstack server start), then run this again"
                .to_owned(),
        },
        ServerStatus::Error => {
            let fault = server.fault.as_deref().unwrap_or("Nova does not say why");
            Step::GiveUp {
                why: format!(
                    "its server is in ERROR: {fault}; it may hold jobs and the keys of the pool, so look at it \
                     yourself"
                ),
            }
        }
    }
}

/// A server that has booted.
fn reach(seen: &Seen) -> Step {
    if seen.floating_ip == FloatingIp::Missing {
        return Step::LeadFloatingIp;
    }
    match &seen.installation {
        Installation::NotReached { tried, why } if *tried >= UNREACHED => {
            Step::GiveUp { why: why.clone() }
        }
        Installation::NotYet | Installation::NotReached { .. } => Step::Install,
        Installation::Failed(why) => Step::GiveUp { why: why.clone() },
        Installation::Done => Step::MarkReady,
        Installation::Marked => Step::Start,
        Installation::Started => Step::Done,
    }
}

fn failed(server: &Server, why: String) -> Step {
    if server.made_here {
        Step::GiveUp { why }
    } else {
        Step::Remove { why }
    }
}

fn wait(what: &str) -> Step {
    Step::Wait {
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(status: ServerStatus) -> Server {
        Server {
            status,
            deleting: false,
            fault: None,
            ready: false,
            made_here: true,
            as_ordered: true,
        }
    }

    fn seen(server: Option<Server>) -> Seen {
        Seen {
            server,
            asked: Asked::default(),
            boot: Some(Boot::Finished),
            floating_ip: FloatingIp::NotWanted,
            installation: Installation::NotYet,
        }
    }

    #[test]
    fn a_lost_answer_is_waited_for_then_asked_once_more_then_given_up() {
        let asked = |times, seconds| {
            next(&Seen {
                asked: Asked {
                    times,
                    ago: Duration::from_secs(seconds),
                },
                ..seen(None)
            })
        };
        assert_eq!(asked(0, 0), Step::Create);
        assert!(matches!(asked(1, 59), Step::Wait { .. }));
        assert_eq!(asked(1, 60), Step::Create);
        assert!(matches!(asked(2, 59), Step::Wait { .. }));
        assert!(matches!(asked(2, 60), Step::GiveUp { .. }));
    }

    #[test]
    fn what_failed_is_given_up_here_and_removed_when_it_is_a_leftover() {
        for status in [ServerStatus::Error, ServerStatus::Shutoff] {
            let here = server(status);
            assert!(matches!(
                next(&seen(Some(here.clone()))),
                Step::GiveUp { .. }
            ));
            let leftover = Server {
                made_here: false,
                ..here
            };
            assert!(matches!(next(&seen(Some(leftover))), Step::Remove { .. }));
        }
        let boot = Some(Boot::Failed("EHOS: FAILED: no".to_owned()));
        let broken = Seen {
            boot,
            ..seen(Some(server(ServerStatus::Active)))
        };
        assert!(matches!(next(&broken), Step::GiveUp { why } if why.contains("EHOS: FAILED: no")));
    }

    #[test]
    fn a_leftover_of_other_files_is_made_anew_and_one_of_the_same_goes_on() {
        let leftover = Server {
            made_here: false,
            ..server(ServerStatus::Active)
        };
        assert_eq!(next(&seen(Some(leftover.clone()))), Step::Install);
        let other = Server {
            as_ordered: false,
            ..leftover
        };
        assert!(matches!(next(&seen(Some(other))), Step::Remove { .. }));
    }

    #[test]
    fn the_floating_ip_is_there_before_anybody_logs_in() {
        let missing = Seen {
            floating_ip: FloatingIp::Missing,
            ..seen(Some(server(ServerStatus::Active)))
        };
        assert_eq!(next(&missing), Step::LeadFloatingIp);
        let there = Seen {
            floating_ip: FloatingIp::There,
            ..missing
        };
        assert_eq!(next(&there), Step::Install);
    }

    #[test]
    fn a_server_that_does_not_answer_is_tried_for_two_minutes() {
        let tried = |seconds| {
            next(&Seen {
                installation: Installation::NotReached {
                    tried: Duration::from_secs(seconds),
                    why: "no route".to_owned(),
                },
                ..seen(Some(server(ServerStatus::Active)))
            })
        };
        assert_eq!(tried(119), Step::Install);
        assert!(matches!(tried(120), Step::GiveUp { why } if why == "no route"));
    }

    fn any_seen() -> impl Strategy<Value = Seen> {
        let status = prop_oneof![
            Just(ServerStatus::Build),
            Just(ServerStatus::Active),
            Just(ServerStatus::Shutoff),
            Just(ServerStatus::Other),
            Just(ServerStatus::Error)
        ];
        let server = (status, any::<[bool; 4]>()).prop_map(|(status, [a, b, c, d])| Server {
            deleting: a,
            ready: b,
            made_here: c,
            as_ordered: d,
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
            Just(Installation::Failed("x".to_owned())),
            (0u64..300).prop_map(|seconds| Installation::NotReached {
                tried: Duration::from_secs(seconds),
                why: "x".to_owned()
            }),
            Just(Installation::Done),
            Just(Installation::Marked),
            Just(Installation::Started)
        ];
        let asked = (0u32..4, 0u64..200).prop_map(|(times, seconds)| Asked {
            times,
            ago: Duration::from_secs(seconds),
        });
        let server = proptest::option::of(server);
        (server, asked, boot, floating_ip, installation).prop_map(
            |(server, asked, boot, floating_ip, installation)| Seen {
                server,
                asked,
                boot,
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
        /// Looks that it has had: it is ACTIVE after two, and its boot is through after four.
        looks: u32,
        floating_ip: bool,
        started: bool,
    }

    /// A run that is interrupted after `steps` steps.
    fn run(world: &mut World, steps: usize, wants_floating_ip: bool) -> Option<Step> {
        let mut installation = Installation::NotYet;
        for left in &mut world.servers {
            left.server.made_here = false;
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
            let step = next(&Seen {
                boot: match found.as_ref().map(|left| left.looks) {
                    Some(looks) if looks > 4 => Some(Boot::Finished),
                    _ => Some(Boot::Running(None)),
                },
                floating_ip: match (wants_floating_ip, there) {
                    (false, _) => FloatingIp::NotWanted,
                    (true, false) => FloatingIp::Missing,
                    (true, true) => FloatingIp::There,
                },
                installation: installation.clone(),
                ..seen(found.map(|left| left.server))
            });
            match &step {
                Step::Create => world.servers.push(Left {
                    server: server(ServerStatus::Build),
                    looks: 0,
                    floating_ip: false,
                    started: false,
                }),
                Step::Remove { .. } => {
                    let gone = world.servers.remove(0);
                    assert!(!gone.server.ready && !gone.started);
                }
                Step::Wait { .. } => {}
                Step::LeadFloatingIp => {
                    world.servers[0].floating_ip = true;
                    world.floating_ips += 1;
                }
                Step::Install => installation = Installation::Done,
                Step::MarkReady => {
                    world.servers[0].server.ready = true;
                    installation = Installation::Marked;
                }
                Step::Start => {
                    assert!(world.servers[0].server.ready, "before it has jobs");
                    world.servers[0].started = true;
                    installation = Installation::Started;
                }
                Step::Done | Step::GiveUp { .. } => return Some(step),
            }
        }
        None
    }

    proptest! {
            #[test]
            fn a_server_that_is_ready_or_going_is_never_removed(seen in any_seen()) {
                if let Step::Remove { .. } = next(&seen) {
                    let server = seen.server.unwrap();
    prop_assert!(!(server.ready || server.deleting || server.made_here));
                }
            }

            #[test]
            fn nothing_is_made_beside_a_server_that_is_there(seen in any_seen()) {
                prop_assert!(next(&seen) != Step::Create || seen.server.is_none());
            }

            #[test]
            fn it_is_ready_only_when_all_is_installed(seen in any_seen()) {
                let installed = matches!(
                    seen.installation,
                    Installation::Done | Installation::Marked | Installation::Started
                );
                if matches!(next(&seen), Step::MarkReady | Step::Start | Step::Done) {
                    prop_assert!(installed && seen.floating_ip != FloatingIp::Missing);
                }
            }

            #[test]
            fn interrupted_anywhere_and_run_again_there_is_one_master_and_it_is_ready(
                interruptions in proptest::collection::vec(0usize..16, 0..6),
                wants_floating_ip in any::<bool>(),
                leftover in proptest::option::of((any::<bool>(), any::<bool>())),
            ) {
                let leftover = leftover.map(|(failed, as_ordered)| {
                    let status = if failed { ServerStatus::Error } else { ServerStatus::Active };
                    let server = Server { as_ordered, ..server(status) };
                    Left { server, looks: 0, floating_ip: false, started: false }
                });
                let mut world = World { servers: leftover.into_iter().collect(), floating_ips: 0 };
                for steps in interruptions {
                    run(&mut world, steps, wants_floating_ip);
                    prop_assert!(world.servers.len() <= 1);
                }
                prop_assert_eq!(run(&mut world, 100, wants_floating_ip), Some(Step::Done));
                prop_assert_eq!(world.servers.len(), 1);
                prop_assert!(world.servers[0].server.ready && world.servers[0].started);
                prop_assert_eq!(world.servers[0].floating_ip, wants_floating_ip);
            }
        }
}
