//! Random histories: jobs, faults and crashes of ehos itself, with the rules checked at every step, and everything
//! served and nothing leaked when the faults end.
//!
//! Two thousand, the same each time; `EHOS_HISTORIES` asks for so many new ones. A failing one is printed, shrunk to
//! the events that matter.

use std::sync::Mutex;

use ehos::cloud::Cloud;
use ehos::deadline::Deadline;
use ehos::scaling::action::{CloudAction, Done, Failure, FailureKind};
use ehos::scaling::memory::State;
use ehos::scaling::observation::{
    CloudView, Demand, NodeId, Observation, Seen, ServerStatus, builder_metadata, master_metadata,
};
use ehos::scaling::plan::Fate;
use ehos::scaling::policy::Allocation;
use ehos::simulation::engine::{Ticked, tick};
use ehos::simulation::{Broken, IMAGE, SimulatedServer, World, locked};
use ehos::site::Site;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::site::{cloud, scenario};

#[derive(Debug, Clone)]
enum Event {
    Submit {
        count: u64,
        cpus: u64,
        memory_mb: u64,
        runs: u64,
        unmatchable: bool,
    },
    SubmitMeanwhile {
        count: u64,
        runs: u64,
    },
    Collector(bool),
    Schedd(bool),
    Negotiator(bool),
    Clouds(u8),
    Image(bool),
    Spawn(bool),
    Deletes(bool),
    Answers(u8),
    Crash(usize),
    PowerOff(usize),
    CutOff(usize),
    Rejoin,
    DeleteBehindOurBack(usize),
    DrainByOther(usize),
    LoseState,
    /// Another image is configured for blue, green or both.
    Configure(u8, usize),
    /// These of the images are broken.
    Images(u8),
    /// Somebody builds an image, for so many minutes at most, and forgets it.
    Builder(u64),
    /// ehos is killed after its intents were saved and so many of its actions were done.
    Killed(usize),
    /// ehos does not run for so many minutes.
    Pause(u64),
}

const IMAGES: [&str; 3] = [IMAGE, "second", "third"];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..30u64, 1..5u64, 1..9000u64, 1..40u64, prop::bool::weighted(0.05)).prop_map(
            |(count, cpus, memory_mb, minutes, unmatchable)| Event::Submit {
                count, cpus, memory_mb, runs: minutes * 60, unmatchable
            }
        ),
        2 => (1..5u64, 1..10u64).prop_map(|(count, minutes)| Event::SubmitMeanwhile { count, runs: minutes * 60 }),
        1 => any::<bool>().prop_map(Event::Collector),
        1 => any::<bool>().prop_map(Event::Schedd),
        1 => any::<bool>().prop_map(Event::Negotiator),
        1 => (0..4u8).prop_map(Event::Clouds),
        1 => any::<bool>().prop_map(Event::Image),
        1 => any::<bool>().prop_map(Event::Spawn),
        1 => any::<bool>().prop_map(Event::Deletes),
        2 => (0..4u8).prop_map(Event::Answers),
        2 => (0..10usize).prop_map(Event::Crash),
        1 => (0..10usize).prop_map(Event::PowerOff),
        2 => (0..10usize).prop_map(Event::CutOff),
        1 => Just(Event::Rejoin),
        1 => (0..10usize).prop_map(Event::DeleteBehindOurBack),
        1 => (0..10usize).prop_map(Event::DrainByOther),
        1 => Just(Event::LoseState),
        3 => (1..4u8, 0..IMAGES.len()).prop_map(|(clouds, image)| Event::Configure(clouds, image)),
        1 => (0..8u8).prop_map(Event::Images),
        2 => (0..50u64).prop_map(Event::Builder),
        3 => (0..6usize).prop_map(Event::Killed),
        1 => (2..600u64).prop_map(Event::Pause),
    ]
}

struct AnsweringCloud<'a> {
    cloud: Box<dyn Cloud + 'a>,
    /// 0 well, 1 done and not answered, 2 neither done nor answered, 3 refused.
    how: u8,
}

impl Cloud for AnsweringCloud<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }

    fn observe(&self, deadline: Deadline) -> Result<CloudView, Failure> {
        self.cloud.observe(deadline)
    }

    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        let failure = |kind| Failure {
            kind,
            message: "fault".to_owned(),
        };
        match self.how {
            1 => {
                self.cloud.perform(action, deadline)?;
                Err(failure(FailureKind::Unknown))
            }
            2 => Err(failure(FailureKind::Unknown)),
            3 => Err(failure(FailureKind::Rejected)),
            _ => self.cloud.perform(action, deadline),
        }
    }
}

fn answering(mut site: Site<'_>, how: u8) -> Site<'_> {
    let answers = |cloud| -> Box<dyn Cloud + '_> { Box::new(AnsweringCloud { cloud, how }) };
    site.clouds = site.clouds.into_iter().map(answers).collect();
    site
}

/// The same observation, everything in it listed the other way round, and groups of jobs told in two halves.
fn turned_around(mut observation: Observation) -> Observation {
    if let Seen::Known(collector) = &mut observation.pool.collector {
        collector.startds.reverse();
    }
    for cloud in observation.clouds.values_mut() {
        if let Seen::Known(cloud) = cloud {
            cloud.servers.reverse();
        }
    }
    for schedd in observation.pool.schedds.values_mut() {
        if let Seen::Known(schedd) = schedd {
            let halves = |demand: Demand| {
                let half = demand.jobs / 2;
                [
                    Demand {
                        jobs: half,
                        ..demand.clone()
                    },
                    Demand {
                        jobs: demand.jobs - half,
                        ..demand
                    },
                ]
            };
            schedd.demand = schedd.demand.drain(..).rev().flat_map(halves).collect();
        }
    }
    observation
}

/// Whether it is a node of the pool, or may be.
fn is_execute(server: &SimulatedServer) -> bool {
    let role = server.metadata.get("ehos_role");
    role.is_some_and(|role| role == "execute")
}

struct History {
    world: Mutex<World>,
    policy: ehos::scaling::policy::Policy,
    state: State,
    answers: u8,
    /// Servers that must not be touched: somebody else's, and the central manager.
    foreign: [String; 2],
    log: Vec<String>,
}

impl History {
    fn new(seed: u64) -> History {
        let mut blue = cloud(&[("medium", 4, 8192)]);
        blue.cores = Some(20);
        let green = cloud(&[("large", 8, 16384), ("small", 2, 4096)]);
        let mut scenario = scenario(&[("blue", blue), ("green", green)]);
        scenario.seed = seed;
        let mut policy = ehos::scaling::policy::Policy::new("pool-1");
        policy.clouds = scenario.cloud_policies();
        policy.nodes_max = 8;
        policy.max_actions = 6;
        policy.allocation = match seed % 3 {
            0 => Allocation::RoundRobin,
            1 => Allocation::Random,
            _ => Allocation::FillFirst,
        };
        let world = Mutex::new(World::new(scenario));
        let foreign = {
            let mut world = locked(&world);
            let other = world.create("blue", "somebody-elses", "medium", Default::default());
            let master = master_metadata(&policy.cluster);
            [
                other,
                world.create("green", "central-manager", "small", master),
            ]
        };
        History {
            world,
            policy,
            state: State::default(),
            answers: 0,
            foreign,
            log: Vec::new(),
        }
    }

    fn ours(world: &World, index: usize) -> Option<String> {
        let mut ours = world.servers.values().filter(|server| is_execute(server));
        let count = ours.clone().count();
        if count == 0 {
            None
        } else {
            ours.nth(index % count).map(|server| server.id.clone())
        }
    }

    /// Makes the event happen; what is to happen between look and act, and how ehos is killed, is returned.
    fn happen(&mut self, event: &Event) -> (Option<(u64, u64)>, Option<usize>) {
        let mut world = locked(&self.world);
        match *event {
            Event::Submit {
                count,
                cpus,
                memory_mb,
                runs,
                unmatchable,
            } => {
                world.submit(count, cpus, memory_mb, runs, unmatchable);
            }
            Event::SubmitMeanwhile { count, runs } => return (Some((count, runs)), None),
            Event::Collector(true) => world.broken.collector = true,
            Event::Collector(false) => world.restart_collector(),
            Event::Schedd(down) => world.broken.schedd = down,
            Event::Negotiator(down) => world.broken.negotiator = down,
            Event::Clouds(which) => {
                let names = ["blue", "green"];
                let down = names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| which & (1 << bit) != 0);
                world.broken.clouds = down.map(|(_, name)| (*name).to_owned()).collect();
            }
            Event::Image(broken) => world.broken.image = broken,
            Event::Spawn(broken) => {
                world.broken.spawn = broken.then(|| "No valid host was found. ".to_owned())
            }
            Event::Deletes(broken) => world.broken.deletes = broken,
            Event::Answers(how) => self.answers = how,
            Event::Crash(index) => {
                if let Some(id) = History::ours(&world, index) {
                    world.crash(&id);
                }
            }
            Event::PowerOff(index) => {
                if let Some(id) = History::ours(&world, index) {
                    world.crash(&id);
                    world.servers.get_mut(&id).unwrap().status = ServerStatus::Shutoff;
                }
            }
            Event::CutOff(index) => {
                if let Some(id) = History::ours(&world, index) {
                    world.cut_off(&id, true);
                }
            }
            Event::Rejoin => {
                for id in world.servers.keys().cloned().collect::<Vec<_>>() {
                    world.cut_off(&id, false);
                }
            }
            Event::DeleteBehindOurBack(index) => {
                if let Some(id) = History::ours(&world, index) {
                    world.servers.remove(&id);
                }
            }
            Event::DrainByOther(index) => {
                let machine = world.ads.keys().nth(index).cloned();
                if let Some(machine) = machine {
                    // Refused when it is busy: as it should be.
                    drop(world.drain(&machine, "defrag"));
                }
            }
            Event::LoseState => self.state = State::default(),
            Event::Configure(clouds, image) => {
                for (bit, cloud) in self.policy.clouds.iter_mut().enumerate() {
                    if clouds & (1 << bit) != 0 {
                        cloud.image = IMAGES[image].to_owned();
                    }
                }
            }
            Event::Images(which) => {
                let images = IMAGES.iter().enumerate();
                let broken = images.filter(|(bit, _)| which & (1 << bit) != 0);
                world.broken.images = broken.map(|(_, image)| (*image).to_owned()).collect();
            }
            Event::Builder(minutes) => {
                let lifetime = std::time::Duration::from_secs(minutes * 60);
                let node = NodeId(format!("builder-{}", world.now));
                let metadata = builder_metadata(&self.policy.cluster, &node, lifetime);
                world.create("green", "builder", "small", metadata);
            }
            Event::Killed(after) => return (None, Some(after)),
            Event::Pause(minutes) => world.advance(minutes * 60),
        }
        (None, None)
    }

    fn step(&mut self, events: &[Event]) -> Result<(), TestCaseError> {
        let mut meanwhile = None;
        let mut killed = None;
        for event in events {
            self.log.push(format!("    {event:?}"));
            let (submit, kill) = self.happen(event);
            meanwhile = submit.or(meanwhile);
            killed = kill.or(killed);
        }
        let how = self.answers;
        let before = locked(&self.world).clone();
        let Ticked {
            observation,
            mut plan,
            mut outcomes,
            mut next,
        } = tick(
            &self.world,
            &self.policy,
            &self.state,
            60,
            &|site| answering(site, how),
            &mut |world| {
                if let Some((count, runs)) = meanwhile {
                    let mut world = locked(world);
                    world.submit(count, 1, 512, runs, false);
                    world.advance(60);
                }
            },
        );
        for node in &plan.nodes {
            let server = before
                .servers
                .values()
                .find(|server| server.name == node.name);
            let drain = server.and_then(|server| server.startd.as_ref()?.drain.as_ref());
            let for_image = drain.is_some_and(|(reason, _)| reason.contains("older image"));
            let cloud = self.policy.cloud(&node.cloud);
            let older = server.map(|server| &server.metadata["ehos_image"])
                != cloud.map(|cloud| &cloud.image);
            prop_assert!(
                !(node.fate == Fate::Returns && for_image && older),
                "{} was drained for its image and is taken back",
                node.node
            );
        }
        let shuffled = turned_around(observation);
        let again = ehos::scaling::plan::plan(&shuffled, &self.policy, &self.state);
        prop_assert_eq!(
            &plan,
            &again,
            "the order in which things are listed makes a difference"
        );
        prop_assert_eq!(&plan.actions, &again.actions);
        prop_assert_eq!(&plan.next, &again.next);
        if let Some(after) = killed {
            // The same again, but killed: the intents are saved, the first actions done, the outcomes lost.
            self.world = Mutex::new(before);
            locked(&self.world).advance(60);
            let at = locked(&self.world).at();
            let site = answering(Site::simulated(&self.world, &self.policy), how);
            let deadline = Deadline::within(std::time::Duration::from_secs(3600));
            let (observation, _) = ehos::observe::observe(&site, &self.state, at, deadline);
            plan = ehos::scaling::plan::plan(&observation, &self.policy, &self.state);
            let done = after.min(plan.actions.len());
            outcomes = ehos::act::act(&site, &plan.actions[..done], 1, deadline);
            next = plan.next.clone();
        }
        for node in &plan.nodes {
            self.log.push(format!(
                "{} {} {:?}: {}",
                node.node, node.phase, node.fate, node.why
            ));
        }
        for group in &plan.groups {
            let why: Vec<String> = group.why.iter().map(ToString::to_string).collect();
            self.log.push(format!(
                "{} x {}: {}",
                group.jobs,
                group.request,
                why.join("; ")
            ));
        }
        for outcome in &outcomes {
            self.log.push(format!(
                "  {} {}: {:?}",
                outcome.action.verb(),
                outcome.action.node(),
                outcome.result
            ));
        }
        self.state = next;
        let world = locked(&self.world);
        prop_assert!(world.violations.is_empty(), "{:?}", world.violations);
        for foreign in &self.foreign {
            prop_assert!(world.servers.contains_key(foreign), "{foreign} was deleted");
        }
        let ours = world.servers.values().filter(|server| is_execute(server));
        let ours = ours.count() as u64;
        prop_assert!(
            ours <= self.policy.nodes_max,
            "{ours} servers, nodes_max {}",
            self.policy.nodes_max
        );
        prop_assert!(
            plan.actions.len() as u64 <= 3 * self.policy.max_actions,
            "too many actions"
        );
        let blue = world
            .servers
            .values()
            .filter(|server| server.cloud == "blue")
            .count();
        prop_assert!(blue <= 5, "{blue} servers of 4 cores in a quota of 20");
        Ok(())
    }

    fn run(&mut self, events: &[(u8, Event)]) -> Result<(), TestCaseError> {
        for minute in 0..60u8 {
            let now: Vec<Event> = events
                .iter()
                .filter(|(at, _)| *at == minute)
                .map(|(_, event)| event.clone())
                .collect();
            self.step(&now)?;
        }
        // The faults end. What others have drained or nobody can run is theirs to take away.
        {
            let mut world = locked(&self.world);
            let collector = world.broken.collector;
            world.broken = Broken::default();
            if collector {
                world.restart_collector();
            }
            for id in world.servers.keys().cloned().collect::<Vec<_>>() {
                world.cut_off(&id, false);
            }
            for server in world.servers.values_mut() {
                if let Some(startd) = server.startd.as_mut().filter(|startd| {
                    startd
                        .drain
                        .as_ref()
                        .is_some_and(|(reason, _)| reason == "defrag")
                }) {
                    startd.drain = None;
                }
            }
            world
                .jobs
                .retain(|job| !job.unmatchable && job.request.memory_mb <= 15_000);
            self.answers = 0;
            // An operator says that adopted nodes are ours, and that those which are silent are gone.
            self.state.trust_adopted();
            for cloud in ["blue", "green"] {
                self.state.resume(cloud);
            }
            self.policy.vanish_share = 1.0;
        }
        for minute in 0..420 {
            self.step(&[])?;
            let world = locked(&self.world);
            let left = world.servers.len() - self.foreign.len();
            let remembered = !self.state.nodes.is_empty() || !self.state.builders.is_empty();
            if world.unfinished() == 0 && left == 0 && !remembered {
                return Ok(());
            }
            drop(world);
            if minute == 419 {
                let world = locked(&self.world);
                prop_assert_eq!(world.unfinished(), 0, "jobs are left");
                prop_assert_eq!(left, 0, "servers are left");
                prop_assert!(!remembered, "nodes are remembered for nothing");
            }
        }
        Ok(())
    }
}

#[test]
fn whatever_happens_no_job_is_lost_and_nothing_leaks() {
    let asked = std::env::var("EHOS_HISTORIES")
        .ok()
        .and_then(|count| count.parse().ok());
    let cases = asked.unwrap_or(2000);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let events = prop::collection::vec((0..60u8, event()), 0..30);
    // The same ones each time, unless more are asked for: those are new.
    let mut runner = match asked {
        Some(_) => TestRunner::new(config),
        None => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, rng)
        }
    };
    let result = runner.run(&(any::<u64>(), events), |(seed, events)| {
        let mut history = History::new(seed);
        history.run(&events).map_err(|error| {
            let from = history.log.len().saturating_sub(60);
            TestCaseError::fail(format!("{error}\n{}", history.log[from..].join("\n")))
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
