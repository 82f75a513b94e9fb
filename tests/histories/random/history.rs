//! One history: a site, what happens to it, and ehos at work on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scaling::allocation::Allocation;
use scaling::budget::Budget;
use scaling::leftover::LeftoverKind;
use scaling::maintenance::{DeleteRequest, DrainRequest, Keep, OperatorPause};
use scaling::money::Money;
use scaling::observation::{
    NodeId, Observation, ServerStatus, builder_metadata, execute_metadata, master_metadata,
};
use scaling::plan::{Plan, plan};
use scaling::policy::Policy;
use scaling::schedule::Spare;
use scaling::signing;
use scaling::state::State;
use simulation::{Broken, IMAGE, SimulatedServer, SimulatedThing, World, locked};
use system::deadline::Deadline;
use tick::act::act;
use tick::observe::observe_in_turn;

use super::events::{Act, Event, Forgery, IMAGES, THERE};
use super::faults::{CloudAnswer, Faults};
use super::rules::{self, Tally, Tick};
use super::variable;
use crate::attacker;
use crate::corpus::Recorder;
use crate::site::{cloud, scenario};

/// Faults happen for so long.
pub const MINUTES: u8 = 60;

/// When they have ended everything is done within so many minutes, and as many more as the jobs need.
const QUIET: u64 = 420;

const NODES_MAX: u64 = 8;

const NAMES: [&str; IMAGES] = [IMAGE, "second", "third"];

pub struct History {
    world: Mutex<World>,
    policy: Policy,
    state: State,
    /// What the state was after the last ticks.
    backups: VecDeque<State>,
    keeps_backups: bool,
    /// It may not remember that a node has joined.
    forgets: bool,
    /// The machine's clock jumps.
    jumps: bool,
    /// A server of ours may look like a copy: an operator says after the faults which ones are ours.
    asks_operator: bool,
    faults: Faults,
    tally: Tally,
    /// Servers that the state knows or has known: what they leave behind is to be removed.
    known: BTreeSet<String>,
    pace: Pace,
    /// How far the next pass is from the last one.
    distance: u64,
    /// What is told of it; nothing, unless it is to be told.
    pub log: Option<Vec<String>>,
    /// What is planned in it, where that is to be compared.
    pub plans: Option<Recorder>,
}

/// When ehos passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Each minute.
    EveryMinute,
    /// Each minute, and once more some seconds after a pass that has drained.
    WithSecondPass,
    /// As jobs come and go: at any distance, some number that a generator goes on from.
    AtAnyDistance(u64),
}

/// What is to happen in a step when ehos has looked.
#[derive(Default)]
struct Then {
    submit: Option<(u64, u64)>,
    killed: Option<usize>,
}

/// Whether it is a node of this pool, or may be.
pub fn is_execute(server: &SimulatedServer, policy: &Policy) -> bool {
    let is = |key: &str, value: &str| server.metadata.get(key).is_some_and(|is| is == value);
    is("ehos_role", "execute") && is("ehos_cluster", &policy.cluster)
}

impl History {
    /// Limits the cores of the pool, and those of the first cloud.
    pub fn limit_cores(&mut self, cores_max: u64, of_first: u64) {
        self.policy.cores_max = Some(cores_max);
        if let Some(cloud) = self.policy.clouds.first_mut() {
            cloud.cores_max = Some(of_first);
        }
    }

    pub fn new(seed: u64, events: &[(u8, Event)]) -> History {
        let mut blue = cloud(&[("medium", 4, 8192)]);
        blue.cores = Some(20);
        let mut green = cloud(&[("large", 8, 16384), ("small", 2, 4096)]);
        for (cloud, flavor, price) in [(&mut blue, "medium", 2.0), (&mut green, "large", 3.5)] {
            cloud.flavors.get_mut(flavor).unwrap().price = Some(price);
        }
        green.flavors.get_mut("small").unwrap().price = Some(1.25);
        for (cloud, flavor) in [(&mut blue, "medium"), (&mut green, "large")] {
            let flavor = cloud.flavors.get_mut(flavor).unwrap();
            flavor.has.push(THERE.to_owned());
        }
        let mut scenario = scenario(&[("blue", blue), ("green", green)]);
        scenario.seed = seed;
        let mut policy = Policy::new("pool-1");
        policy.clouds = scenario.cloud_policies();
        policy.nodes_max = NODES_MAX;
        policy.max_actions = 6;
        policy.allocation = match seed % 5 {
            0 => Allocation::RoundRobin,
            1 => Allocation::Random,
            2 => Allocation::FillFirst,
            3 => Allocation::Cheapest,
            _ => Allocation::LeastWaste,
        };
        let world = Mutex::new(World::new(scenario));
        let mut tally = Tally::new(seed, events);
        {
            let mut world = locked(&world);
            let other = world.create("blue", "somebody-elses", "medium", Default::default());
            let master = master_metadata(&policy.cluster);
            let master = world.create("green", "central-manager", "small", master);
            tally.foreign.extend([other, master]);
            let port = SimulatedThing {
                kind: LeftoverKind::Port,
                cloud: "blue".to_owned(),
                server: Some("somebody-1".to_owned()),
                mark: String::new(),
                stays: true,
            };
            world.things.insert(rules::FOREIGN_PORT.to_owned(), port);
        }
        let has = |which: fn(&Event) -> bool| events.iter().any(|(_, event)| which(event));
        let forgets = has(|event| matches!(event, Event::OldState { .. } | Event::LoseState));
        // Of one second, their nodes have one id.
        let second_ones = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::SecondEhos { same_pool: true }));
        let second_ones = second_ones.count();
        let mut faults = Faults::default();
        faults.cluster.clone_from(&policy.cluster);
        faults.keeps_lists = has(|event| matches!(event, Event::Lag { .. }));
        History {
            world,
            policy,
            state: State::default(),
            backups: VecDeque::new(),
            keeps_backups: has(|event| matches!(event, Event::OldState { .. })),
            forgets,
            jumps: has(|event| matches!(event, Event::Clock(_))),
            asks_operator: second_ones > 1
                || has(|event| match event {
                    Event::Clock(_) => true,
                    Event::Answers(answers) => answers.contains(&CloudAnswer::Twice),
                    _ => false,
                })
                || forgets
                    && has(|event| {
                        use Forgery::{Copy, NodeId};
                        matches!(
                            event,
                            Event::Neighbour {
                                forgery: Copy | NodeId,
                                ..
                            }
                        )
                    }),
            faults,
            tally,
            known: BTreeSet::new(),
            pace: match seed / 5 % 4 {
                0 => Pace::AtAnyDistance(seed | 1),
                1 => Pace::WithSecondPass,
                _ => Pace::EveryMinute,
            },
            distance: 60,
            log: None,
            plans: None,
        }
    }

    fn ours(&self, world: &World, index: usize) -> Option<String> {
        let ours = world.servers.values();
        let ours = ours.filter(|server| is_execute(server, &self.policy));
        let ours: Vec<&String> = ours
            .map(|server| &server.id)
            .filter(|id| !self.tally.theirs.contains(*id))
            .collect();
        ours.get(index.checked_rem(ours.len())?)
            .map(|id| (*id).clone())
    }

    /// Makes the event happen.
    fn happen(&mut self, event: &Event, then: &mut Then) {
        let mut world = locked(&self.world);
        let ours = |world: &World, index: &usize| self.ours(world, *index);
        match event {
            Event::Submit {
                count,
                cpus,
                memory_mb,
                runs,
                unmatchable,
            } => {
                world.submit(*count, *cpus, *memory_mb, *runs, *unmatchable);
            }
            Event::SubmitNeeding {
                needs,
                count,
                cpus,
                runs,
            } => world.submit_needing(needs, *count, *cpus, 1024, *runs),
            Event::ForgedWaits(forged) => world.broken.forged_waits = *forged,
            Event::NoMatches(none) => world.broken.matches = *none,
            Event::Unlearnt(unlearnt) => world.broken.unlearnt = *unlearnt,
            Event::SubmitMeanwhile { count, runs } => then.submit = Some((*count, *runs)),
            Event::Collector(true) => world.broken.collector = true,
            Event::Collector(false) => world.restart_collector(),
            Event::Schedd(down) => world.broken.schedd = *down,
            Event::Negotiator(down) => world.broken.negotiator = *down,
            Event::HalfQueue(half) => self.faults.half_queue = *half,
            Event::LateAds(seconds) => {
                // A state that does not know of a node's join has no address to ask it at: an ad that is later than
                // boot_timeout is that of a node that never joined, as far as anybody can tell.
                let most = if self.forgets { 600 } else { u64::MAX };
                world.broken.late_ads = most.min(*seconds);
            }
            Event::OldAds(seconds) => world.broken.old_ads = *seconds,
            Event::Mute(mute) => world.broken.mute = *mute,
            Event::Ghosts(minutes) => world.scenario.classad_lifetime_seconds = minutes * 60,
            Event::PoolAnswers(answers) => self.faults.pool_answers.clone_from(answers),
            Event::DrainByOther { index, busy } => {
                let Some(id) = ours(&world, index) else {
                    return;
                };
                let idle = world.jobs_on(&id) == 0;
                let server = world.servers.get_mut(&id);
                let startd = server.and_then(|server| server.startd.as_mut());
                if let Some(startd) = startd.filter(|startd| startd.drain.is_none())
                    && (*busy || idle)
                {
                    startd.drains += 1;
                    let request_id = startd.started + startd.drains;
                    startd.drain = Some(("defrag".to_owned(), request_id.to_string()));
                }
            }
            Event::DefragEnds => end_defrag(&mut world),
            Event::Forge(attack) => self.faults.attack = *attack,
            Event::Clouds(which) => {
                let names = ["blue", "green"];
                let down = names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| which & (1 << bit) != 0);
                world.broken.clouds = down.map(|(_, name)| (*name).to_owned()).collect();
            }
            Event::Blink(which) => self.faults.blink = *which,
            Event::Lag { cloud, seconds } => {
                let name = ["blue", "green"][*cloud].to_owned();
                self.faults.lag.insert(name, *seconds);
            }
            Event::Missing { cloud, index } => {
                self.faults.missing = Some((["blue", "green"][*cloud].to_owned(), *index));
            }
            Event::Answers(answers) => self.faults.answers.clone_from(answers),
            Event::Image(broken) => world.broken.image = *broken,
            Event::Images(which) => {
                let images = NAMES.iter().enumerate();
                let broken = images.filter(|(bit, _)| which & (1 << bit) != 0);
                world.broken.images = broken.map(|(_, image)| (*image).to_owned()).collect();
            }
            Event::Spawn(broken) => {
                world.broken.spawn = broken.then(|| "No valid host was found. ".to_owned());
            }
            Event::SlowBoots(minutes) => world.broken.slow_boots = minutes * 60,
            Event::Closed(closed) => world.broken.closed = *closed,
            Event::Deletes(broken) => world.broken.deletes = *broken,
            Event::Leaks(leaks) => world.broken.leaks = *leaks,
            Event::Things(down) => world.broken.things = *down,
            Event::DeleteErrors(broken) => world.broken.delete_errors = *broken,
            Event::Quota { cores, instances } => {
                let blue = world.scenario.clouds.get_mut("blue").unwrap();
                blue.cores = Some(*cores);
                blue.instances = *instances;
            }
            Event::Crash(index) => {
                if let Some(id) = ours(&world, index) {
                    world.crash(&id);
                }
            }
            Event::PowerOff(index) => {
                if let Some(id) = ours(&world, index) {
                    world.crash(&id);
                    world.servers.get_mut(&id).unwrap().status = ServerStatus::Shutoff;
                }
            }
            Event::BootAgain { index, seconds } => {
                if let Some(id) = ours(&world, index) {
                    world.boot_again(&id, *seconds);
                }
            }
            Event::RestartStartd { index, jobs_go_on } => {
                if let Some(id) = ours(&world, index) {
                    world.restart_startd(&id, *jobs_go_on);
                }
            }
            Event::CutOff(index) => {
                if let Some(id) = ours(&world, index) {
                    world.cut_off(&id, true);
                }
            }
            Event::Rejoin => rejoin(&mut world),
            Event::DeleteBehindOurBack(index) => {
                if let Some(id) = ours(&world, index) {
                    world.servers.remove(&id);
                }
            }
            Event::SecondEhos { same_pool } => {
                let node = NodeId(format!("theirs-{}", world.now).into());
                let pool = if *same_pool { "pool-1" } else { "pool-2" };
                let metadata = execute_metadata(pool, &node, "large", IMAGE);
                // One with a copy of the configuration has a copy of the key beside it.
                let id = world.create_signed("green", "ehos-v1-execute-theirs", "large", metadata);
                // Its startd is in their pool.
                world.servers.get_mut(&id).unwrap().joins_at = None;
                drop(world);
                if *same_pool {
                    self.tally.theirs.insert(id);
                } else {
                    self.tally.foreign.push(id);
                }
            }
            Event::Neighbour { forgery, index } => {
                let copied = ours(&world, index).and_then(|id| world.servers.get(&id).cloned());
                let since = copied.as_ref().map(|copied| world.now - copied.created);
                let soon = since.is_some_and(|since| since <= signing::WINDOW.as_secs());
                let is_copy = matches!(forgery, Forgery::Copy);
                let unknowable = is_copy && self.forgets;
                // ehos has neither an answer to its create nor a list with it.
                let is_known = copied.as_ref().is_some_and(|copied| {
                    let mut nodes = self.state.nodes.values();
                    nodes.any(|memory| memory.server_id.as_ref() == Some(&copied.id))
                });
                let (name, metadata) =
                    forgery.server(&self.policy.cluster, world.now, copied.as_ref());
                let id = world.create("green", &name, "small", metadata);
                world.servers.get_mut(&id).unwrap().joins_at = None;
                drop(world);
                if unknowable && (soon || self.jumps) || is_copy && !is_known {
                    self.tally.unknowable.insert(id.clone());
                    self.asks_operator = true;
                }
                self.tally.theirs.insert(id.clone());
                self.tally.foreign.push(id);
            }
            Event::LoseState => {
                self.state = State::default();
                self.known.clear();
            }
            Event::OldState { ticks, part } => {
                self.known.clear();
                let age = (*ticks).min(self.backups.len());
                if let Some(old) = self.backups.len().checked_sub(age.max(1)) {
                    let old = self.backups[old].clone();
                    let now = self.state.clone();
                    self.state = match part {
                        0 => old,
                        1 => State {
                            nodes: old.nodes,
                            ..now
                        },
                        _ => State {
                            nodes: now.nodes,
                            ..old
                        },
                    };
                }
            }
            Event::Configure(clouds, image) => {
                for (bit, cloud) in self.policy.clouds.iter_mut().enumerate() {
                    if clouds & (1 << bit) != 0 {
                        cloud.image = NAMES[*image].to_owned();
                    }
                }
            }
            Event::NodesMax(most) => self.policy.nodes_max = *most,
            Event::NodesMin { min, spare } => {
                self.policy.nodes_min = *min;
                self.policy.nodes_spare = Spare::Count(*spare);
            }
            Event::MaxLifetime(minutes) => {
                let seconds = minutes.map(|minutes| minutes * 60);
                self.policy.max_lifetime = seconds.map(Duration::from_secs);
                world.max_lifetime = seconds;
            }
            Event::Billing(minutes) => {
                for cloud in &mut self.policy.clouds {
                    cloud.billing_period = minutes.map(|minutes| Duration::from_secs(minutes * 60));
                }
            }
            Event::Money {
                per_hour,
                per_month,
            } => {
                let amount = |amount: &Option<u64>| amount.map(|amount| Money::new(amount as f64));
                self.policy.budget = Budget {
                    per_hour: amount(per_hour),
                    per_month: amount(per_month),
                };
                self.policy.clouds[0].budget.per_hour =
                    amount(per_hour).map(|all| all.minus(Money::new(3.0)));
            }
            Event::Builder(minutes) => {
                let lifetime = Duration::from_secs(minutes * 60);
                let node = NodeId(format!("builder-{}-{}", world.now, world.servers.len()).into());
                let metadata = builder_metadata(&self.policy.cluster, &node, lifetime);
                world.create_signed("green", "builder", "small", metadata);
            }
            Event::Killed(after) => then.killed = Some(*after),
            Event::Operator(act) => {
                let at = world.at();
                drop(world);
                self.operate(act, at);
            }
            Event::Pause(minutes) => world.advance(minutes * 60),
            Event::HostRestart { after, minutes } => {
                drop(world);
                self.killed(*after);
                locked(&self.world).advance(minutes * 60);
            }
            Event::Clock(seconds) => world.clock_ahead += seconds,
        }
    }

    /// What a command does to the state, between two ticks.
    fn operate(&mut self, act: &Act, since: Timestamp) {
        let by = "operator".to_owned();
        let end = |minutes: &Option<u64>| {
            let end = |minutes: &u64| since + SignedDuration::from_mins(*minutes as i64);
            minutes.as_ref().map(end)
        };
        let cloud = |number: &usize| [Some("blue"), Some("green"), None][*number];
        let nodes: Vec<NodeId> = self.state.nodes.keys().cloned().collect();
        let node = |index: &usize| {
            let position = index.checked_rem(nodes.len())?;
            nodes.get(position).cloned()
        };
        let state = &mut self.state;
        match act {
            Act::Pause {
                cloud: number,
                minutes,
                deletes,
            } => {
                let pause = OperatorPause {
                    since,
                    until: end(minutes),
                    deletes: *deletes,
                    reason: None,
                    by,
                    retiring: false,
                };
                state.pause(cloud(number), pause);
            }
            Act::Resume { cloud: number } => drop(state.end_pause(cloud(number), since)),
            Act::Keep { index, minutes } => {
                let until = end(minutes);
                let keep = Keep { since, until, by };
                node(index).and_then(|node| state.keep(&node, keep));
            }
            Act::Release { index } => {
                node(index)
                    .and_then(|node| state.withdraw(&node, since, |requests| requests.keep = None));
            }
            Act::Drain { index, replace } => {
                let replace = *replace;
                let request = DrainRequest { since, by, replace };
                node(index).and_then(|node| state.request_drain(&node, request));
            }
            Act::DrainAll { replace } => {
                let replace = *replace;
                for node in &nodes {
                    let by = by.clone();
                    state.request_drain(node, DrainRequest { since, by, replace });
                }
            }
            Act::WithdrawDrain { index } => {
                node(index).and_then(|node| {
                    state.withdraw(&node, since, |requests| requests.drain = None)
                });
            }
            Act::Delete { index } => {
                let request = DeleteRequest { since, by };
                node(index).and_then(|node| state.request_delete(&node, request));
            }
        }
    }

    /// One more tick that ends in the middle.
    fn killed(&mut self, after: usize) {
        let then = Then {
            killed: Some(after),
            ..Then::default()
        };
        // What it breaks is seen in the next step.
        drop(self.tick(&then));
    }

    /// The server of the node whose ad an attacker with the identity of all nodes forges, while no schedd answers for
    /// `schedd_grace` or a job starts behind the back of ehos (Limits of knowledge in tests/README.md).
    fn unprotected(&self, observation: &Observation, plan: &Plan, then: &Then) -> Option<String> {
        let attack = self.faults.attack?;
        let mut unknown = plan.next.unknown_schedds.values();
        let grace = self.policy.schedd_grace;
        let unknown = unknown.any(|since| plan.next.now.since(*since) >= grace);
        if attack.own_identities || !(unknown || then.submit.is_some()) {
            return None;
        }
        let startds = &observation.pool.collector.known()?.startds;
        let mut forged = startds.iter();
        let forged = forged.find(|one| one.address.as_deref() == Some(attacker::ADDRESS))?;
        forged.instance_id.clone()
    }

    fn tick(&mut self, then: &Then) -> Result<(), String> {
        locked(&self.world).advance(self.distance);
        let at = locked(&self.world).at();
        let site = simulation::backends(&self.world, &self.policy);
        let site = self.faults.between(site, &self.world);
        // The world answers at once: this deadline is never met.
        let deadline = Deadline::within(Duration::from_secs(3600));
        let observation = observe_in_turn(&site, &self.policy, &self.state, at, deadline);
        let plan = plan(&observation, &self.policy, &self.state);
        let condemned = plan.next.nodes.values();
        let condemned = condemned.filter(|memory| memory.requests.delete.is_some());
        let condemned = condemned.filter_map(|memory| memory.server_id.clone());
        locked(&self.world).condemned.extend(condemned);
        // In this pass alone, and of the node alone whose ad is forged.
        let unprotected = self.unprotected(&observation, &plan, then);
        let unprotected: Vec<String> = {
            let condemned = &mut locked(&self.world).condemned;
            let new = unprotected.into_iter();
            new.filter(|server| condemned.insert(server.clone()))
                .collect()
        };
        if let Some((count, runs)) = then.submit {
            let mut world = locked(&self.world);
            world.submit(count, 1, 512, runs, false);
            world.advance(60);
        }
        let last = then.killed.unwrap_or(usize::MAX).min(plan.actions.len());
        let outcomes = act(&site, &plan.actions[..last], 1, deadline);
        drop(site);
        for server in unprotected {
            locked(&self.world).condemned.remove(&server);
        }
        let next = match then.killed {
            // The intents are on disk, the outcomes are not.
            Some(_) => {
                let text = serde_json::to_string(&plan.next).unwrap();
                serde_json::from_str(&text).unwrap()
            }
            None => plan.after(&outcomes, &self.policy),
        };
        if let Some(log) = &mut self.log {
            let now = locked(&self.world).elapsed();
            log.push(format!("minute {}:{:02}", now / 60, now % 60));
            log.extend(rules::told(&plan, &outcomes));
        }
        if let Some(plans) = &mut self.plans {
            plans.add(&plan, &outcomes, &next);
        }
        let world = locked(&self.world);
        let tick = Tick {
            observation: &observation,
            policy: &self.policy,
            before: &self.state,
            plan: &plan,
            outcomes: &outcomes,
            world: &world,
        };
        let judged = rules::check(&tick, &mut self.tally);
        drop(world);
        if self.keeps_backups {
            self.backups.push_back(self.state.clone());
            if self.backups.len() > 30 {
                self.backups.pop_front();
            }
        }
        self.state = next;
        let nodes = self.state.nodes.values();
        // What an unsigned server leaves behind stays (rule 1).
        let listed = nodes.filter(|node| node.listed && node.unsigned.is_none());
        self.known
            .extend(listed.filter_map(|node| node.server_id.clone()));
        judged
    }

    /// The passes of one minute, in the first of which the events happen.
    fn minute(&mut self, events: &[(u8, Event)]) -> Result<(), String> {
        let mut left = 60;
        let mut events = events;
        while left > 0 {
            self.distance = match &mut self.pace {
                Pace::EveryMinute | Pace::WithSecondPass => left,
                Pace::AtAnyDistance(random) => {
                    *random ^= *random << 13;
                    *random ^= *random >> 7;
                    *random ^= *random << 17;
                    left.min(1 + *random % 60)
                }
            };
            left -= self.distance;
            self.step(events)?;
            events = &[];
            let drains = self.state.recent.clone().count(self.state.now).drains;
            if self.pace == Pace::WithSecondPass && drains > 0 {
                self.distance = 4;
                self.step(&[])?;
            }
        }
        self.distance = 60;
        Ok(())
    }

    fn step(&mut self, events: &[(u8, Event)]) -> Result<(), String> {
        let mut then = Then::default();
        self.faults.next_look();
        for (_, event) in events {
            if let Some(log) = &mut self.log {
                log.push(format!("    {event:?}"));
            }
            self.happen(event, &mut then);
        }
        if !events.is_empty() {
            self.tally.something_happened();
        }
        self.tick(&then)
    }

    /// The faults end. What others have drained or nobody can run is theirs to take away.
    fn end_faults(&mut self) {
        let mut world = locked(&self.world);
        let collector = world.broken.collector;
        world.broken = Broken::default();
        if collector {
            world.restart_collector();
        }
        rejoin(&mut world);
        end_defrag(&mut world);
        // Ads that were to come hours later come within ten minutes, in their order.
        let soon = world.now + 600;
        for (due, _) in &mut world.under_way {
            *due = soon.min(*due);
        }
        let blue = world.scenario.clouds.get_mut("blue").unwrap();
        blue.cores = Some(20);
        blue.instances = None;
        let waited = rules::waits(&world);
        world.jobs.retain(|job| {
            let runs = !job.unmatchable && job.request.memory_mb <= 15_000;
            runs && (job.needs.is_empty() || job.needs == THERE)
        });
        self.tally.withdrawn += waited - rules::waits(&world);
        self.faults = Faults::default();
        self.policy.nodes_max = NODES_MAX;
        self.policy.cores_max = None;
        for cloud in &mut self.policy.clouds {
            cloud.cores_max = None;
        }
        self.policy.max_lifetime = None;
        world.max_lifetime = None;
        for server in world.servers.values_mut() {
            if let Some(startd) = &mut server.startd {
                startd.closed = false;
            }
        }
        self.policy.budget = Budget::default();
        for cloud in &mut self.policy.clouds {
            cloud.billing_period = None;
            cloud.budget = Budget::default();
        }
        self.policy.nodes_min = 0;
        self.policy.nodes_spare = Spare::Count(0);
        drop(world);
        // An operator says that adopted nodes are ours, and that those which are silent are gone.
        self.state.trust_adopted();
        self.trust_servers();
        for cloud in ["blue", "green"] {
            self.state.resume(cloud);
        }
        self.policy.max_silent_share = 1.0;
        // And what is paused or kept goes on.
        self.state.paused = None;
        self.state.paused_clouds.clear();
        for memory in self.state.nodes.values_mut() {
            memory.requests.keep = None;
        }
        let world = locked(&self.world);
        self.tally.end_faults(&world, &self.policy);
        if let Some(log) = &mut self.log {
            log.push("    the faults end".to_owned());
        }
    }

    /// An operator says of the servers without a signature which ones are ours.
    fn trust_servers(&mut self) {
        let unsigned = self.state.nodes.values();
        let unsigned = unsigned.filter(|memory| memory.unsigned.is_some());
        let mut servers: Vec<String> = unsigned
            .filter_map(|memory| memory.server_id.clone())
            .collect();
        servers.extend(self.state.builders.keys().cloned());
        for server in servers
            .iter()
            .filter(|id| !self.tally.foreign.contains(*id))
        {
            self.state.trust_server(server);
        }
    }

    fn all_of_it(&mut self, events: &[(u8, Event)]) -> Result<(), String> {
        let mut left = events;
        for minute in 0..MINUTES {
            let count = left.partition_point(|(at, _)| *at <= minute);
            let (now, later) = left.split_at(count);
            left = later;
            self.minute(now)?;
        }
        self.end_faults();
        let work: u64 = locked(&self.world)
            .jobs
            .iter()
            .map(|job| job.request.cpus * job.runs / 60)
            .sum();
        let most = QUIET + work / 8;
        for _ in 0..most {
            self.minute(&[])?;
            if self.asks_operator {
                self.trust_servers();
            }
            let world = locked(&self.world);
            let foreign = |id: &&String| self.tally.foreign.contains(*id);
            let left = world.servers.keys().filter(|id| !foreign(id)).count();
            // Servers of a neighbour stay, and are told of for as long.
            let nodes = self.state.nodes.values();
            let remembered = nodes.filter(|memory| memory.unsigned.is_none()).count() > 0
                || self.state.builders.values().any(|memory| !memory.unsigned)
                || !self.state.leftovers.is_empty();
            if world.unfinished() == 0 && left == 0 && !remembered && self.left_behind(&world) == 0
            {
                return Ok(());
            }
        }
        let world = locked(&self.world);
        let mut ages: BTreeMap<&str, u64> = BTreeMap::new();
        for server in world.servers.values() {
            ages.insert(&server.name, world.now - server.created);
        }
        Err(format!(
            "{most} minutes after the faults {} jobs are left, {} nodes are remembered, {} ports and volumes are left \
             behind, {} of them remembered, and these servers are there: {ages:?}",
            world.unfinished(),
            self.state.nodes.len() + self.state.builders.len(),
            self.left_behind(&world),
            self.state.leftovers.len(),
        ))
    }

    /// How many ports and volumes there are of servers that are gone and were known.
    fn left_behind(&self, world: &World) -> usize {
        let things = world.things.values();
        let left = things.filter(|thing| {
            let server = thing.server.as_ref();
            server.is_some_and(|id| self.known.contains(id) && !world.servers.contains_key(id))
        });
        left.count()
    }

    /// All of it; an error says which rule was broken.
    pub fn run(mut self, events: &[(u8, Event)]) -> Result<(), String> {
        self.all_of_it(events)
    }

    /// All of it; the digest of its plans.
    pub fn digest(mut self, events: &[(u8, Event)]) -> String {
        drop(self.all_of_it(events));
        let plans = self.plans.take();
        plans.map(|plans| plans.digest()).unwrap_or_default()
    }

    /// All of it; what was told of it last.
    pub fn told(mut self, events: &[(u8, Event)]) -> Vec<String> {
        drop(self.all_of_it(events));
        let mut log = self.log.take().unwrap_or_default();
        let lines = variable("EHOS_HISTORY_LINES").unwrap_or(80);
        log.split_off(log.len().saturating_sub(lines as usize))
    }
}

fn rejoin(world: &mut World) {
    let ids: BTreeSet<String> = world.servers.keys().cloned().collect();
    for id in ids {
        world.cut_off(&id, false);
    }
}

fn end_defrag(world: &mut World) {
    for server in world.servers.values_mut() {
        let startd = server.startd.as_mut();
        if let Some(startd) = startd.filter(|startd| {
            let drain = startd.drain.as_ref();
            drain.is_some_and(|(reason, _)| reason == "defrag")
        }) {
            startd.drain = None;
        }
    }
}
