//! What can happen to a site, to its clouds, to its pool and to ehos itself.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use scaling::observation::{self, builder_metadata, execute_metadata};
use simulation::{IMAGE, SimulatedServer};

use super::faults::{CloudAnswer, PoolAnswer};
use crate::attacker::Attack;

/// What an operator requests of the nodes whose number is `index`, or of the clouds.
#[derive(Debug, Clone)]
pub enum Act {
    /// Of blue, green or all clouds.
    Pause {
        cloud: usize,
        minutes: Option<u64>,
        deletes: bool,
    },
    Resume {
        cloud: usize,
    },
    Keep {
        index: usize,
        minutes: Option<u64>,
    },
    Release {
        index: usize,
    },
    Drain {
        index: usize,
        replace: bool,
    },
    DrainAll {
        replace: bool,
    },
    WithdrawDrain {
        index: usize,
    },
    Delete {
        index: usize,
    },
}

impl Act {
    pub fn any() -> impl Strategy<Value = Act> {
        use Act::*;
        let index = || 0..10usize;
        let minutes = || prop::option::of(1..90u64);
        prop_oneof![
            3 => (0..3usize, minutes(), any::<bool>())
                .prop_map(|(cloud, minutes, deletes)| Pause { cloud, minutes, deletes }),
            2 => (0..3usize).prop_map(|cloud| Resume { cloud }),
            3 => (index(), minutes()).prop_map(|(index, minutes)| Keep { index, minutes }),
            2 => index().prop_map(|index| Release { index }),
            3 => (index(), any::<bool>()).prop_map(|(index, replace)| Drain { index, replace }),
            1 => any::<bool>().prop_map(|replace| DrainAll { replace }),
            2 => index().prop_map(|index| WithdrawDrain { index }),
            3 => index().prop_map(|index| Delete { index }),
        ]
    }
}

#[derive(Debug, Clone)]
pub enum Event {
    /// Not among those of [`event`]: histories with operators have a number of their own.
    Operator(Act),
    Submit {
        count: u64,
        cpus: u64,
        memory_mb: u64,
        runs: u64,
        unmatchable: bool,
    },
    /// Jobs that need what only some flavors have, or none has.
    SubmitNeeding {
        needs: &'static str,
        count: u64,
        cpus: u64,
        runs: u64,
    },
    /// Between the look and the act, and a minute goes by.
    SubmitMeanwhile {
        count: u64,
        runs: u64,
    },

    /// Jobs that are submitted say that they have waited since 1970.
    ForgedWaits(bool),

    // HTCondor
    /// True: it does not answer. False: it starts anew.
    Collector(bool),
    Schedd(bool),
    Negotiator(bool),
    /// Nobody says which jobs would run where.
    NoMatches(bool),
    /// What servers have is not known before the first of their kind was in the pool.
    Unlearnt(bool),
    /// The schedd that has the jobs does not answer; one that has none does.
    HalfQueue(bool),
    /// The collector hears of everything so many seconds late, and takes it for new.
    LateAds(u64),
    /// What the collector shows is so many seconds old, and it says so.
    OldAds(u64),
    /// Startds say nothing of themselves when they are asked; they drain as ever.
    Mute(bool),
    /// Ads that nobody renews stay for so many minutes.
    Ghosts(u64),
    /// How it answers what it is asked to do, call by call.
    PoolAnswers(Vec<PoolAnswer>),
    /// By condor_defrag or an operator, who need not wait until it is idle.
    DrainByOther {
        index: usize,
        busy: bool,
    },
    /// They take their drains back.
    DefragEnds,
    /// Root on a node forges ads, or stops it.
    Forge(Option<Attack>),

    // Clouds
    /// These clouds do not answer.
    Clouds(u8),
    /// In this look alone: collector, schedd, blue, green do not answer.
    Blink(u8),
    /// The server list of a cloud is so many seconds old.
    Lag {
        cloud: usize,
        seconds: u64,
    },
    /// In this look alone a server is missing from its cloud's list.
    Missing {
        cloud: usize,
        index: usize,
    },
    /// How the clouds answer what they are asked to do, call by call.
    Answers(Vec<CloudAnswer>),
    Image(bool),
    /// These of the images are broken.
    Images(u8),
    Spawn(bool),
    /// Servers made from now on take so many minutes longer to join.
    SlowBoots(u64),
    /// Nodes that join from now on take no jobs.
    Closed(bool),
    Deletes(bool),
    /// Deletes leave port and volume behind.
    Leaks(bool),
    /// Neutron and Cinder do not answer.
    Things(bool),
    DeleteErrors(bool),
    /// Cores and servers that blue may have.
    Quota {
        cores: u64,
        instances: Option<u64>,
    },

    // Machines
    Crash(usize),
    PowerOff(usize),
    /// Somebody switches a machine on again, or reboots it.
    BootAgain {
        index: usize,
        seconds: u64,
    },
    RestartStartd {
        index: usize,
        jobs_go_on: bool,
    },
    CutOff(usize),
    Rejoin,
    DeleteBehindOurBack(usize),
    /// An ehos of another pool, or one with a copy of our configuration, makes a server in our project.
    SecondEhos {
        same_pool: bool,
    },

    /// Somebody else in the project makes a server that looks like one of ours.
    Neighbour {
        forgery: Forgery,
        index: usize,
    },

    // ehos
    LoseState,
    /// A backup of the state that is so many ticks old is put back: all of it, its nodes, or all but its nodes.
    OldState {
        ticks: usize,
        part: u8,
    },
    /// Another image is configured for blue, green or both.
    Configure(u8, usize),
    NodesMax(u64),
    NodesMin {
        min: u64,
        spare: u64,
    },
    /// Nodes that are so many minutes old are replaced, and take no jobs by themselves.
    MaxLifetime(Option<u64>),
    /// A started period of so many minutes is paid whole.
    Billing(Option<u64>),
    /// What may be spent in an hour and in a month.
    Money {
        per_hour: Option<u64>,
        per_month: Option<u64>,
    },
    /// Somebody builds an image, for so many minutes at most, and forgets it.
    Builder(u64),
    /// ehos is killed after its intents were saved and so many of its actions were done.
    Killed(usize),
    /// ehos does not run for so many minutes.
    Pause(u64),
    /// The host restarts: ehos is killed in mid tick and does not run for so many minutes.
    HostRestart {
        after: usize,
        minutes: u64,
    },
    /// The machine's clock jumps by so many seconds.
    Clock(i64),
}

/// What a neighbour forges.
#[derive(Debug, Clone, Copy)]
pub enum Forgery {
    /// An execute server with an id of its own.
    Execute,
    /// An execute server under a name that breaks lines.
    Hostile,
    /// A builder whose time is over.
    Builder,
    /// A second server with all metadata and the name of one of ours.
    Copy,
    /// A second server with the node id of one of ours.
    NodeId,
}

impl Forgery {
    fn any() -> impl Strategy<Value = Forgery> {
        use Forgery::{Builder, Copy, Execute, Hostile, NodeId};
        prop::sample::select(vec![Execute, Hostile, Builder, Copy, NodeId])
    }

    /// Name and metadata of the server.
    pub fn server(
        self,
        cluster: &str,
        now: u64,
        copied: Option<&SimulatedServer>,
    ) -> (String, BTreeMap<String, String>) {
        let node = observation::NodeId(format!("forged-{now}").into());
        let execute = |node: &observation::NodeId| execute_metadata(cluster, node, "large", IMAGE);
        let forged = format!("ehos-v1-execute-forged-{now}");
        match (self, copied) {
            (Forgery::Builder, _) => {
                let metadata = builder_metadata(cluster, &node, Duration::ZERO);
                (forged, metadata)
            }
            (Forgery::Hostile, _) => {
                let mut metadata = execute(&node);
                let hostile = "large\n<3>PROTECTED MODE\u{1b}[2J\u{202e}".to_owned();
                metadata.insert("ehos_flavor".to_owned(), hostile.clone());
                (hostile, metadata)
            }
            (Forgery::Copy, Some(server)) => (server.name.clone(), server.metadata.clone()),
            (Forgery::NodeId, Some(server)) => {
                let node = server
                    .metadata
                    .get("ehos_node")
                    .cloned()
                    .unwrap_or_default();
                (forged, execute(&observation::NodeId(node.into())))
            }
            (Forgery::Execute | Forgery::Copy | Forgery::NodeId, _) => {
                let metadata = execute(&node);
                (forged, metadata)
            }
        }
    }
}

/// What jobs can need that some flavors have, and that none has.
pub const THERE: &str = "docker";
const NOWHERE: &str = "windows";

/// How many images there are to configure.
pub const IMAGES: usize = 3;

pub fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let index = || 0..10usize;
    let demand = prop_oneof![
        6 => (1..30u64, 1..5u64, 1..9000u64, 1..40u64, prop::bool::weighted(0.05)).prop_map(
            |(count, cpus, memory_mb, minutes, unmatchable)| Submit {
                count, cpus, memory_mb, runs: minutes * 60, unmatchable
            }
        ),
        2 => (prop::bool::weighted(0.8), 1..10u64, 1..5u64, 1..40u64).prop_map(
            |(there, count, cpus, minutes)| SubmitNeeding {
                needs: if there { THERE } else { NOWHERE }, count, cpus, runs: minutes * 60
            }
        ),
        1 => prop::bool::weighted(0.8).prop_map(ForgedWaits),
        2 => (1..5u64, 1..10u64).prop_map(|(count, minutes)| SubmitMeanwhile { count, runs: minutes * 60 }),
    ];
    let pool = prop_oneof![
        3 => any::<bool>().prop_map(Collector),
        3 => any::<bool>().prop_map(Schedd),
        2 => any::<bool>().prop_map(Negotiator),
        2 => any::<bool>().prop_map(NoMatches),
        2 => any::<bool>().prop_map(Unlearnt),
        2 => any::<bool>().prop_map(HalfQueue),
        2 => prop_oneof![0..120u64, 0..1200u64, 0..10_000u64].prop_map(LateAds),
        1 => prop::bool::weighted(0.7).prop_map(Mute),
        2 => (0..600u64).prop_map(OldAds),
        2 => (15..50u64).prop_map(Ghosts),
        4 => prop::collection::vec(PoolAnswer::any(), 0..6).prop_map(PoolAnswers),
        2 => (index(), any::<bool>()).prop_map(|(index, busy)| DrainByOther { index, busy }),
        1 => Just(DefragEnds),
        3 => prop::option::weighted(0.8, Attack::any()).prop_map(Forge),
    ];
    let clouds = prop_oneof![
        3 => (0..4u8).prop_map(Clouds),
        4 => (1..16u8).prop_map(Blink),
        3 => (0..2usize, 0..600u64).prop_map(|(cloud, seconds)| Lag { cloud, seconds }),
        3 => (0..2usize, index()).prop_map(|(cloud, index)| Missing { cloud, index }),
        6 => prop::collection::vec(CloudAnswer::any(), 0..8).prop_map(Answers),
        2 => any::<bool>().prop_map(Image),
        2 => (0..8u8).prop_map(Images),
        2 => any::<bool>().prop_map(Spawn),
        2 => (0..25u64).prop_map(SlowBoots),
        1 => any::<bool>().prop_map(Closed),
        2 => any::<bool>().prop_map(Deletes),
        3 => prop::bool::weighted(0.8).prop_map(Leaks),
        2 => any::<bool>().prop_map(Things),
        2 => any::<bool>().prop_map(DeleteErrors),
        2 => (0..40u64, prop::option::of(0..8u64)).prop_map(|(cores, instances)| Quota { cores, instances }),
    ];
    let machines = prop_oneof![
        3 => index().prop_map(Crash),
        2 => index().prop_map(PowerOff),
        3 => (index(), 20..300u64).prop_map(|(index, seconds)| BootAgain { index, seconds }),
        2 => (index(), any::<bool>()).prop_map(|(index, jobs_go_on)| RestartStartd { index, jobs_go_on }),
        3 => index().prop_map(CutOff),
        2 => Just(Rejoin),
        2 => index().prop_map(DeleteBehindOurBack),
        2 => any::<bool>().prop_map(|same_pool| SecondEhos { same_pool }),
        4 => (Forgery::any(), index()).prop_map(|(forgery, index)| Neighbour { forgery, index }),
    ];
    let ehos = prop_oneof![
        2 => Just(LoseState),
        2 => (1..30usize, 0..3u8).prop_map(|(ticks, part)| OldState { ticks, part }),
        5 => (1..4u8, 0..IMAGES).prop_map(|(clouds, image)| Configure(clouds, image)),
        2 => (1..11u64).prop_map(NodesMax),
        2 => (0..3u64, 0..3u64).prop_map(|(min, spare)| NodesMin { min, spare }),
        2 => prop::option::of(20..200u64).prop_map(MaxLifetime),
        2 => prop::option::of(10..90u64).prop_map(Billing),
        2 => (prop::option::of(0..20u64), prop::option::of(0..60u64))
            .prop_map(|(per_hour, per_month)| Money { per_hour, per_month }),
        3 => (0..50u64).prop_map(Builder),
        5 => (0..6usize).prop_map(Killed),
        2 => (2..600u64).prop_map(Pause),
        2 => (0..6usize, 1..200u64).prop_map(|(after, minutes)| HostRestart { after, minutes }),
        // Whole minutes now and then: then a tick has the time stamp of one before it.
        2 => (-120..120i64).prop_map(|minutes| Clock(minutes * 60)),
        1 => (-90_000..90_000i64).prop_map(Clock),
    ];
    prop_oneof![4 => demand, 3 => pool, 4 => clouds, 3 => machines, 4 => ehos]
}
