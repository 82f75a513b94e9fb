//! What must hold at every step, whatever happens. Judged from what ehos saw and did and from what is true in the
//! world; of the planner's own words only where a rule is about them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scaling::action::{CloudAction, FailureKind, PoolAction};
use scaling::job_requirements::MatchAnswer;
use scaling::money::Money;
use scaling::node::drain_mark;
use scaling::observation::{
    CollectorView, Demand, NodeId, Observation, Observed, OwnedServer, Role, StartdView,
};
use scaling::plan::{Action, NodeDecision, NodeEntry, Plan, plan};
use scaling::policy::Policy;
use scaling::reason::Reason;
use scaling::sender::Sender;
use scaling::state::{NodeType, Outcome, State, UnmanagedMachines};
use simulation::{JobState, SimulatedJob, World};

use super::events::{Event, THERE};
use super::faults::CloudAnswer;
use super::history::is_execute;
use crate::attacker;

/// The id of a port that is somebody else's.
pub const FOREIGN_PORT: &str = "x-port";

/// One tick, as it was.
pub struct Tick<'a> {
    pub observation: &'a Observation,
    pub policy: &'a Policy,
    /// The state before it.
    pub before: &'a State,
    pub plan: &'a Plan,
    pub outcomes: &'a [Outcome],
    /// The world after it.
    pub world: &'a World,
}

/// When a drain of a node was last taken back: what had happened until then.
struct Returned {
    waits: u64,
    events: u64,
    exchanged: u64,
}

/// When the faults ended.
struct Quiet {
    at: u64,
    waits: u64,
    made: u64,
    servers: u64,
    /// Jobs that have been in the way of others since then.
    in_the_way: BTreeSet<usize>,
}

/// What is counted over a whole history.
pub struct Tally {
    random: u64,
    /// Servers that must not be touched: somebody else's, and the central manager.
    pub foreign: Vec<String>,
    /// Servers of another ehos with a copy of our configuration.
    pub theirs: BTreeSet<String>,
    /// Servers that the state has called unsigned.
    unsigned: BTreeSet<String>,
    /// Copies of our servers that nobody can tell from their originals: only the rule about adopted ones holds.
    pub unknowable: BTreeSet<String>,
    /// How often jobs waited that were withdrawn since.
    pub withdrawn: u64,
    /// Two servers may have one name: what is asked of the one reaches the other.
    twins: bool,
    /// Some servers of ours are not to be seen for a while, or there are some that ehos did not make.
    hides: bool,
    most_nodes_max: u64,
    /// Steps in which something was made to happen.
    events: u64,
    returned: BTreeMap<NodeId, Returned>,
    /// How often a node was to make room for one that is like it but newer: others stay for it.
    exchanged: u64,
    /// Servers that were asked for, and made as far as ehos knows.
    made: u64,
    /// Servers of ours whose startds have joined.
    joined: BTreeSet<String>,
    /// Nodes that one who makes the worst choice of flavors needs for all that was submitted, batch by batch; `None`
    /// when there was anything else but jobs.
    enough: Option<u64>,
    /// Nodes that faults may make one have in vain.
    in_vain: u64,
    quiet: Option<Quiet>,
    /// How often jobs were submitted.
    batches: u64,
    /// What each server of ours has used, in money.
    used: BTreeMap<String, f64>,
    /// Something happens after which it cannot be known what was used.
    loses_money: bool,
}

/// How often a job has begun to wait: when it was submitted, and when its machine failed it.
pub fn waits(world: &World) -> u64 {
    let waits = |job: &SimulatedJob| {
        u64::from(job.starts) + u64::from(matches!(job.state, JobState::Idle(_)))
    };
    world.jobs.iter().map(waits).sum()
}

/// The flavors, the smallest first: name, cores and memory for jobs.
const FLAVORS: [(&str, u64, u64); 3] = [
    ("small", 2, 3584),
    ("medium", 4, 7536),
    ("large", 8, 15_074),
];

/// The number of the smallest flavor that takes the job.
fn smallest(job: &SimulatedJob) -> Option<usize> {
    let memory_mb = job.request.memory_mb.next_multiple_of(128);
    let takes = |(name, cpus, mb): &(&str, u64, u64)| {
        let has = job.needs.is_empty() || *name != "small";
        has && job.request.cpus <= *cpus && memory_mb <= *mb
    };
    FLAVORS.iter().position(takes)
}

/// Jobs that run where one that waits could, though they fit in a smaller flavor that this one does not fit in: the negotiator
/// gave them the room that was made for it.
fn in_the_way(world: &World) -> BTreeSet<usize> {
    let waiting = world.jobs.iter();
    let waiting = waiting.filter(|job| matches!(job.state, JobState::Idle(_)));
    let wanted: BTreeSet<usize> = waiting.filter_map(smallest).collect();
    let jobs = world.jobs.iter().enumerate();
    let in_the_way = jobs.filter(|(_, job)| {
        let JobState::Running { server, .. } = &job.state else {
            return false;
        };
        let Some(server) = world.servers.get(server) else {
            return false;
        };
        let mut flavors = FLAVORS.iter();
        let flavor = flavors.position(|(name, ..)| *name == server.flavor);
        flavor.is_some_and(|flavor| wanted.contains(&flavor) && smallest(job) < Some(flavor))
    });
    in_the_way.map(|(number, _)| number).collect()
}

/// Nodes for jobs, each of the flavor that takes the fewest of them.
fn nodes_for(count: u64, cpus: u64, memory_mb: u64) -> u64 {
    let holds = FLAVORS.map(|(_, node_cpus, node_mb)| {
        let memory_mb = memory_mb.next_multiple_of(128);
        u64::min(node_cpus / cpus, node_mb / memory_mb)
    });
    let worst = holds.into_iter().find(|holds| *holds > 0);
    worst.map_or(0, |holds| count.div_ceil(holds))
}

/// What an event may make one make in vain.
fn in_vain(event: &Event) -> u64 {
    match event {
        // What is there is lost, or not seen to be there.
        Event::Crash(_)
        | Event::PowerOff(_)
        | Event::CutOff(_)
        | Event::BootAgain { .. }
        | Event::RestartStartd { .. }
        | Event::DeleteBehindOurBack(_)
        | Event::DrainByOther { .. }
        | Event::Missing { .. } => 1,
        Event::Submit {
            unmatchable: true, ..
        } => 2,
        // One of each flavor is tried.
        Event::SubmitNeeding { .. } | Event::Unlearnt(_) => 3,
        Event::NodesMin { min, spare } => min + spare,
        // All of it, once more.
        Event::Operator(_) => 16,
        // Those that are there go sooner than else.
        Event::MaxLifetime(_) | Event::Money { .. } | Event::NodesMax(_) => 8,
        // All of it, and again after each boot_timeout in which the ad of no new node comes: it looks as if none had joined.
        Event::LateAds(seconds) => 8 + 8 * (seconds / 900),
        // All of it, at the worst.
        Event::Lag { .. }
        | Event::OldState { .. }
        | Event::Configure(..)
        | Event::Ghosts(_)
        | Event::OldAds(_)
        | Event::Collector(_)
        | Event::Deletes(_)
        | Event::Answers(_)
        | Event::Closed(_)
        | Event::Negotiator(true)
        | Event::DeleteErrors(_) => 8,
        _ => 0,
    }
}

/// Whether a server may have been there and ehos cannot know for how long.
fn loses_money(event: &Event) -> bool {
    matches!(
        event,
        Event::LoseState
            | Event::OldState { .. }
            | Event::Lag { .. }
            | Event::Missing { .. }
            | Event::SecondEhos { .. }
            | Event::Answers(_)
            | Event::Clock(_)
            | Event::Pause(_)
            | Event::HostRestart { .. }
            | Event::Builder(_)
    )
}

impl Tally {
    pub fn new(seed: u64, events: &[(u8, Event)]) -> Tally {
        let twins = |(_, event): &(u8, Event)| matches!(event, Event::Answers(answers) if answers.contains(&CloudAnswer::Twice));
        let hides = |event_and_minute: &(u8, Event)| match &event_and_minute.1 {
            Event::Lag { .. }
            | Event::Missing { .. }
            | Event::OldState { .. }
            | Event::SecondEhos { same_pool: true } => true,
            _ => twins(event_and_minute),
        };
        let submits = |(_, event): &(u8, Event)| {
            matches!(
                event,
                Event::Submit { .. } | Event::SubmitNeeding { .. } | Event::SubmitMeanwhile { .. }
            )
        };
        let need = |(_, event): &(u8, Event)| match *event {
            Event::Submit {
                count,
                cpus,
                memory_mb,
                unmatchable: false,
                ..
            } => Some(nodes_for(count, cpus, memory_mb)),
            Event::SubmitNeeding {
                needs, count, cpus, ..
            } => (needs == THERE).then(|| nodes_for(count, cpus, 1024)),
            Event::SubmitMeanwhile { count, .. } => Some(nodes_for(count, 1, 512)),
            _ => None,
        };
        Tally {
            random: seed,
            foreign: Vec::new(),
            theirs: BTreeSet::new(),
            unsigned: BTreeSet::new(),
            unknowable: BTreeSet::new(),
            withdrawn: 0,
            twins: events.iter().any(twins),
            hides: events.iter().any(hides),
            most_nodes_max: 0,
            events: 0,
            returned: BTreeMap::new(),
            exchanged: 0,
            made: 0,
            joined: BTreeSet::new(),
            enough: events.iter().map(need).sum(),
            used: BTreeMap::new(),
            loses_money: events.iter().any(|(_, event)| loses_money(event)),
            in_vain: events.iter().map(|(_, event)| in_vain(event)).sum(),
            quiet: None,
            batches: events.iter().filter(|event| submits(event)).count() as u64,
        }
    }

    pub fn something_happened(&mut self) {
        self.events += 1;
    }

    pub fn end_faults(&mut self, world: &World, policy: &Policy) {
        self.events += 1;
        let started: u64 = world.jobs.iter().map(|job| u64::from(job.starts)).sum();
        let ours = world.servers.values();
        let ours = ours.filter(|server| is_execute(server, policy));
        self.quiet = Some(Quiet {
            at: world.now,
            waits: started,
            made: self.made,
            servers: ours.count() as u64,
            in_the_way: BTreeSet::new(),
        });
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = self.random.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below
    }

    fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let other = self.draw(last + 1);
            things.swap(last, other);
        }
    }
}

/// Fails with a sentence unless something holds.
macro_rules! must {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

/// All rules.
pub fn check(tick: &Tick<'_>, tally: &mut Tally) -> Result<(), String> {
    the_order_of_lists_makes_no_difference(tick, tally)?;
    nothing_of_others_is_touched(tick, tally)?;
    no_server_is_deleted_twice_in_a_pass(tick)?;
    what_operators_request_is_done(tick)?;
    no_job_is_ended(tick)?;
    what_is_not_seen_is_left_alone(tick)?;
    limits_hold(tick, tally)?;
    nothing_is_made_for_jobs_that_would_not_run_there(tick)?;
    every_server_is_accounted_for(tick)?;
    no_drain_for_an_image_is_taken_back(tick)?;
    no_drain_for_its_age_is_taken_back(tick)?;
    money_is_counted(tick, tally)?;
    nothing_flaps(tick, tally)
}

/// The same observation, everything in it listed in another order, and groups of jobs told in two halves.
fn another_order(mut observation: Observation, tally: &mut Tally) -> Observation {
    if let Observed::Known(collector) = &mut observation.pool.collector {
        tally.shuffle(&mut collector.startds);
    }
    for cloud in observation.clouds.values_mut() {
        if let Observed::Known(cloud) = cloud {
            tally.shuffle(&mut cloud.servers);
            if let Observed::Known(leftovers) = &mut cloud.leftovers {
                tally.shuffle(&mut leftovers.ours);
                tally.shuffle(&mut leftovers.of_nodes);
            }
        }
    }
    for schedd in observation.pool.schedds.values_mut() {
        if let Observed::Known(schedd) = schedd {
            let halves = |demand: Demand| {
                let half = demand.jobs / 2;
                let young = demand.young.min(half);
                let other = Demand {
                    jobs: demand.jobs - half,
                    young: demand.young - young,
                    ..demand.clone()
                };
                [
                    Demand {
                        jobs: half,
                        young,
                        ..demand
                    },
                    other,
                ]
            };
            schedd.demand = schedd.demand.drain(..).flat_map(halves).collect();
            tally.shuffle(&mut schedd.demand);
        }
    }
    observation
}

fn the_order_of_lists_makes_no_difference(
    tick: &Tick<'_>,
    tally: &mut Tally,
) -> Result<(), String> {
    let shuffled = another_order(tick.observation.clone(), tally);
    let again = plan(&shuffled, tick.policy, tick.before);
    let alike = *tick.plan == again;
    must!(
        alike,
        "the order in which things are listed makes a difference"
    );
    Ok(())
}

fn nothing_of_others_is_touched(tick: &Tick<'_>, tally: &Tally) -> Result<(), String> {
    let port = tick.world.things.contains_key(FOREIGN_PORT);
    must!(port, "a port that is not ours was removed");
    for foreign in &tally.foreign {
        let there = tick.world.servers.contains_key(foreign) || tally.unknowable.contains(foreign);
        must!(there, "{foreign}, which is not ours, was deleted");
    }
    for outcome in tick.outcomes {
        let Some((node, server)) = deleted(&outcome.action) else {
            continue;
        };
        // Another's with our pool's id: only when one that was adopted with it was seen in our pool, or an operator said
        // so.
        let memory = tick.plan.next.nodes.get(node);
        let trusted = memory.is_none_or(|memory| {
            !memory.adopted || tick.plan.next.adopted_trusted >= Some(memory.started)
        });
        let theirs = tally.theirs.contains(server.id());
        // An operator has named the server, and its signature is valid, or nobody can know that it is not.
        let is_copy = tally.foreign.iter().any(|id| id == server.id())
            && !tally.unknowable.contains(server.id());
        let named = is_condemned(tick, node) && !is_copy;
        must!(
            !theirs || trusted || named,
            "{node}, which another ehos made, was deleted"
        );
    }
    Ok(())
}

/// Whether a neighbour has made the server, or nobody can know who has.
fn may_be_forged(plan: &Plan, tally: &Tally, server: &str) -> bool {
    let mut memories = plan.next.nodes.values();
    let memory = memories.find(|memory| memory.server_id.as_deref() == Some(server));
    tally.foreign.iter().any(|id| id == server)
        || memory.is_some_and(|memory| memory.unsigned.is_some())
}

fn deleted(action: &Action) -> Option<(&NodeId, &OwnedServer)> {
    match action {
        Action::Cloud {
            action: CloudAction::Delete { node, server, .. },
            ..
        } => Some((node, server)),
        _ => None,
    }
}

/// Whether an operator has requested to delete the node, whatever is known of it.
fn is_condemned(tick: &Tick<'_>, node: &NodeId) -> bool {
    let memory = tick.before.nodes.get(node);
    memory.is_some_and(|memory| memory.requests.delete.is_some())
}

/// By what the state says, and not the plan: of a pause, of kept nodes, and of nodes that are to be deleted.
fn what_operators_request_is_done(tick: &Tick<'_>) -> Result<(), String> {
    let at = tick.observation.at;
    let lasts = |until: Option<jiff::Timestamp>| until.is_none_or(|until| at < until);
    let paused = |cloud: &str, deletes: bool| {
        let of_cloud = tick.before.paused_clouds.get(cloud);
        let mut all = tick.before.paused.iter().chain(of_cloud);
        all.any(|pause| lasts(pause.until) && (pause.deletes || !deletes))
    };
    for action in &tick.plan.actions {
        let node = action.node();
        let memory = tick.before.nodes.get(node);
        let ends = matches!(action, Action::Pool(PoolAction::Drain { .. }))
            || deleted(action).is_some_and(|(_, server)| server.role() != Role::Builder);
        let keep = memory.and_then(|memory| memory.requests.keep.as_ref());
        must!(
            !ends || !keep.is_some_and(|keep| lasts(keep.until)),
            "{} {node}, which is kept",
            action.verb()
        );
        if let Action::Cloud { cloud, .. } = action {
            must!(
                action.verb() != "create" || !paused(cloud, false),
                "{node} is created in {cloud}, which is paused"
            );
        }
        let cloud = memory.map(|memory| memory.node_type.cloud.as_str());
        must!(
            !ends || is_condemned(tick, node) || !paused(cloud.unwrap_or_default(), true),
            "{} {node} in {cloud:?}, whose deletes are paused",
            action.verb()
        );
    }
    // A request to delete is carried out as soon as the cloud shows the server, unless max_actions is reached.
    let changes = |action: &&Action| matches!(action.verb(), "create" | "delete" | "remove");
    let before = tick.before.at(at);
    let recent = before.recent.clone().count(before.now).changes;
    let all = tick.plan.actions.iter().filter(changes).count() as u64;
    if recent + all >= tick.policy.max_actions {
        return Ok(());
    }
    for line in &tick.plan.nodes {
        let idle_or_busy = matches!(
            line.phase.as_str(),
            "idle" | "busy" | "booting" | "building"
        );
        let memory = tick.plan.next.nodes.get(&line.node);
        let sent = memory.is_some_and(|memory| memory.delete.intended.is_some());
        let contested = line.why.name() == "contested";
        let known = tick.observation.clouds.get(line.cloud.as_str());
        let listed = known.and_then(Observed::known).is_some_and(|view| {
            let mut servers = view.servers.iter();
            servers.any(|server| Some(server.id()) == line.server.id.as_deref())
        });
        must!(
            !is_condemned(tick, &line.node) || !idle_or_busy || !listed || sent || contested,
            "{} is to be deleted and is not: {}",
            line.node,
            line.why
        );
    }
    Ok(())
}

fn collector<'a>(tick: &'a Tick<'_>) -> Option<&'a CollectorView> {
    let known = tick.observation.pool.collector.known();
    known.filter(|collector| collector.up_for >= tick.policy.collector_grace)
}

fn startds_of<'a>(tick: &'a Tick<'_>, server: &'a str) -> impl Iterator<Item = &'a StartdView> {
    let all = tick.observation.pool.collector.known();
    all.into_iter()
        .flat_map(|collector| &collector.startds)
        .filter(move |startd| startd.instance_id.as_deref() == Some(server))
        // What an attacker says of a server is nothing that was seen of it.
        .filter(|startd| startd.address.as_deref() != Some(attacker::ADDRESS))
}

fn no_job_is_ended(tick: &Tick<'_>) -> Result<(), String> {
    let violations = &tick.world.violations;
    must!(violations.is_empty(), "{violations:?}");
    let mark = drain_mark(&tick.policy.cluster);
    for action in &tick.plan.actions {
        let Some((node, server)) = deleted(action) else {
            continue;
        };
        if is_condemned(tick, node) {
            continue;
        }
        let memory = tick.plan.next.nodes.get(node);
        let identified = memory.is_some_and(|memory| memory.join.identified);
        for startd in startds_of(tick, server.id()) {
            // Nodes had identities of their own, and the collector shows them no more: whose ad it is, nobody can know.
            if identified && !matches!(startd.sender, Sender::Node(_)) {
                continue;
            }
            let fresh = startd.heard_ago <= Duration::from_secs(3 * 60);
            let drained = startd
                .draining
                .as_ref()
                .is_some_and(|drain| drain.complete && drain.reason.starts_with(&mark));
            must!(
                !fresh || server.role() == Role::Builder || drained && startd.claims() == 0,
                "{node} is deleted, and was not seen to be drained by us"
            );
        }
    }
    Ok(())
}

/// Whether a collector that has just started may hide a startd that offers room: of a node that has joined, or may have,
/// and is not heard of.
fn hides_startds(tick: &Tick<'_>) -> bool {
    let nodes = &tick.plan.next.nodes;
    let new = |node: &NodeId| !tick.before.nodes.contains_key(node);
    let mut old = nodes.iter().filter(|(node, _)| !new(node));
    !tick.observation.pool.collector.is_known()
        || !tick.observation.clouds.values().all(Observed::is_known)
        || tick.plan.next.unmanaged != UnmanagedMachines::NeverSeen
        || old.any(|(_, memory)| {
            let server = memory.server_id.as_deref().unwrap_or_default();
            let heard = startds_of(tick, server)
                .any(|startd| startd.heard_ago <= Duration::from_secs(3 * 60));
            (memory.join.joined.is_some() || memory.adopted) && !heard
        })
}

fn what_is_not_seen_is_left_alone(tick: &Tick<'_>) -> Result<(), String> {
    let hears = collector(tick).is_some();
    let hides = !hears && hides_startds(tick);
    let new_unknown = tick.observation.pool.schedds.iter().any(|(name, schedd)| {
        !schedd.is_known() && !tick.before.unknown_schedds.contains_key(name)
    });
    for action in &tick.plan.actions {
        let node = action.node();
        if let Action::Cloud { cloud, .. } = action {
            let known = tick.observation.clouds.get(cloud);
            let known = known.is_some_and(Observed::is_known);
            must!(
                known,
                "{}: {node} in a cloud that was not seen",
                action.verb()
            );
        }
        let is_builder = deleted(action).is_some_and(|(_, server)| server.role() == Role::Builder);
        let ads = matches!(
            action,
            Action::Pool(PoolAction::Invalidate { .. } | PoolAction::Reschedule { .. })
        );
        // What servers have left behind is its cloud's affair alone.
        let leftover = matches!(action.verb(), "remove" | "disassociate");
        let create = action.verb() == "create" && !hides;
        let condemned = deleted(action).is_some() && is_condemned(tick, node);
        must!(
            hears || condemned || is_builder || ads || leftover || create,
            "{} {node} while the collector does not hear",
            action.verb()
        );
        let intended = tick
            .before
            .nodes
            .get(node)
            .is_some_and(|memory| memory.delete.intended.is_some());
        let memory = tick.plan.next.nodes.get(node);
        let joined = memory.is_none_or(|memory| memory.join.joined.is_some());
        let may_have_job = joined && !intended;
        let ends = deleted(action).is_some() && !is_builder && may_have_job
            || matches!(action, Action::Pool(PoolAction::Drain { .. }));
        must!(
            !new_unknown || !ends || condemned,
            "{} {node} while a schedd has just become unknown",
            action.verb()
        );
    }
    Ok(())
}

/// What is made for jobs is of a kind that HTCondor said would run them, or may.
fn nothing_is_made_for_jobs_that_would_not_run_there(tick: &Tick<'_>) -> Result<(), String> {
    for action in &tick.plan.actions {
        let Action::Cloud {
            action: CloudAction::Create(intent),
            ..
        } = action
        else {
            continue;
        };
        let memory = &tick.plan.next.nodes[&intent.node];
        let Some(asks) = &memory.made_for else {
            continue;
        };
        let answer = tick.observation.matches.answer(&memory.node_type, asks);
        must!(
            matches!(answer, MatchAnswer::Takes | MatchAnswer::Perhaps(_)),
            "{} is made for jobs that need {:?}: {answer:?}",
            intent.node,
            asks.needs
        );
    }
    Ok(())
}

/// Nodes that are remembered, the new ones included, have at most `cores_max` cores. Only a create is judged: a limit that
/// is lowered ends no node.
fn cores_hold(tick: &Tick<'_>) -> Result<(), String> {
    let nodes = tick.plan.next.nodes.values();
    let nodes = nodes.filter(|memory| memory.unsigned.is_none());
    let nodes: Vec<_> = nodes.map(|memory| &memory.node_type).collect();
    let clouds = &tick.world.scenario.clouds;
    let cores_in = |name: Option<&str>| -> u64 {
        let here = nodes
            .iter()
            .filter(|one| name.is_none_or(|name| name == one.cloud));
        let flavor = |node: &&&NodeType| clouds.get(&node.cloud)?.flavors.get(&node.flavor);
        here.filter_map(|node| flavor(&node))
            .map(|one| one.vcpus)
            .sum()
    };
    let cores = cores_in(None);
    let most = tick.policy.cores_max;
    must!(
        most.is_none_or(|most| cores <= most),
        "{cores} cores, cores_max {most:?}: {nodes:?}"
    );
    for cloud in &tick.policy.clouds {
        let created = |action: &&Action| matches!(action, Action::Cloud { cloud: name, action: CloudAction::Create(_) } if *name == cloud.name);
        let is_new = tick.plan.actions.iter().any(|action| created(&action));
        let (cores, most) = (cores_in(Some(&cloud.name)), cloud.cores_max);
        must!(
            !is_new || most.is_none_or(|most| cores <= most),
            "{cores} cores in {}, cores_max {most:?}",
            cloud.name
        );
    }
    Ok(())
}

fn limits_hold(tick: &Tick<'_>, tally: &mut Tally) -> Result<(), String> {
    let Tick { plan, policy, .. } = tick;
    let nodes_max = policy.nodes_max;
    tally.most_nodes_max = tally.most_nodes_max.max(nodes_max);
    let count = |verb| {
        let of_verb = plan.actions.iter().filter(|action| action.verb() == verb);
        of_verb.count() as u64
    };
    let creates = count("create");
    let deletes = count("delete") + count("remove") + count("disassociate");
    let before = tick.before.recent.clone().count(plan.next.now);
    must!(
        before.changes + creates + deletes <= policy.max_actions,
        "{creates} creates and {deletes} deletes and removals after {}, max_actions {}",
        before.changes,
        policy.max_actions
    );
    for (verb, before) in [("drain", before.drains), ("invalidate", 0)] {
        let (count, most) = (count(verb), policy.max_actions);
        must!(
            before + count <= most,
            "{count} times {verb} after {before}, max_actions {most}"
        );
    }
    let views = || {
        let views = tick.observation.clouds.iter();
        views.filter_map(|(name, view)| Some((name, view.known()?)))
    };
    if creates > 0 {
        let servers = views().flat_map(|(_, view)| &view.servers);
        let seen = servers.filter(|server| server.role() == Role::Execute);
        let seen = seen.filter(|server| !may_be_forged(plan, tally, server.id()));
        let seen = seen.count() as u64;
        must!(
            seen + creates <= nodes_max,
            "{seen} servers were seen and {creates} are made, nodes_max {nodes_max}"
        );
        let remembered = plan.next.nodes.values();
        let remembered = remembered.filter(|memory| memory.unsigned.is_none());
        let remembered = remembered.count() as u64;
        must!(
            remembered <= nodes_max,
            "{remembered} nodes are remembered, {creates} of them new, nodes_max {nodes_max}"
        );
    }
    if creates > 0 {
        cores_hold(tick)?;
    }
    let unsigned = plan.next.nodes.values();
    let unsigned = unsigned.filter(|memory| memory.unsigned.is_some());
    tally
        .unsigned
        .extend(unsigned.filter_map(|memory| memory.server_id.clone()));
    let ours = tick.world.servers.values();
    let ours = ours.filter(|server| is_execute(server, policy));
    let ours = ours.filter(|server| !may_be_forged(plan, tally, &server.id));
    // It did not count, and others were made beside it, until an operator said that it is ours.
    let ours = ours.filter(|server| !tally.unsigned.contains(&server.id));
    let ours = ours.count() as u64;
    must!(
        tally.hides || ours <= tally.most_nodes_max,
        "{ours} servers, nodes_max was never above {}",
        tally.most_nodes_max
    );
    for (name, view) in views() {
        let made = plan.actions.iter().filter_map(|action| match action {
            Action::Cloud {
                cloud,
                action: CloudAction::Create(intent),
            } if cloud == name => view.flavors.get(&intent.flavor),
            _ => None,
        });
        let made = made.fold((0, 0, 0), |sum, flavor| {
            (sum.0 + 1, sum.1 + flavor.vcpus, sum.2 + flavor.ram_mb)
        });
        let quota = view.quota;
        let fits = [
            (quota.instances, made.0),
            (quota.cores, made.1),
            (quota.ram_mb, made.2),
        ]
        .iter()
        .all(|(usage, made)| *made == 0 || usage.left().is_none_or(|left| *made <= left));
        must!(fits, "{made:?} is made in {name}, whose quota is {quota:?}");
    }
    Ok(())
}

fn every_server_is_accounted_for(tick: &Tick<'_>) -> Result<(), String> {
    let next = &tick.plan.next;
    let known: BTreeSet<&str> = next
        .nodes
        .values()
        .filter_map(|memory| memory.server_id.as_deref())
        .collect();
    let views = tick.observation.clouds.values().filter_map(Observed::known);
    for server in views.flat_map(|view| &view.servers) {
        let id = server.id();
        let accounted = match server.role() {
            Role::Execute => known.contains(id),
            Role::Builder => next.builders.contains_key(id),
            Role::Master => !known.contains(id) && !next.builders.contains_key(id),
        };
        must!(
            accounted,
            "{}, which was seen, is not remembered as what it is",
            server.record().name
        );
    }
    Ok(())
}

/// Of several rules that want a node the first one has it: a second delete would bring the outcome of the first into doubt.
fn no_server_is_deleted_twice_in_a_pass(tick: &Tick<'_>) -> Result<(), String> {
    let mut servers: Vec<&str> = tick
        .plan
        .actions
        .iter()
        .filter_map(deleted)
        .map(|(_, server)| server.id())
        .collect();
    servers.sort_unstable();
    for two in servers.windows(2) {
        must!(two[0] != two[1], "two deletes of {} in one plan", two[0]);
    }
    Ok(())
}

/// Drains that ehos cancels by itself: not those of nodes that an operator keeps.
fn taken_back<'t>(tick: &'t Tick<'_>) -> impl Iterator<Item = &'t NodeEntry> {
    let lines = tick.plan.nodes.iter();
    lines.filter(|line| {
        line.decision == NodeDecision::CancelDrain && !matches!(line.why, Reason::Kept { .. })
    })
}

fn no_drain_for_an_image_is_taken_back(tick: &Tick<'_>) -> Result<(), String> {
    for line in taken_back(tick) {
        let Some(memory) = tick.plan.next.nodes.get(&line.node) else {
            continue;
        };
        let server = memory.server_id.as_deref().unwrap_or_default();
        let for_image = startds_of(tick, server).any(|startd| {
            let drain = startd.draining.as_ref();
            drain.is_some_and(|drain| drain.reason.contains("older image"))
        });
        let cloud = tick.policy.cloud(&line.cloud);
        let older = cloud.is_none_or(|cloud| cloud.image != memory.node_type.image);
        let age = tick.plan.next.now.since(memory.started);
        // What another ehos made with our pool's id may be younger than our image.
        must!(
            !(for_image && older) || memory.adopted && age < Duration::from_secs(7200),
            "{} was drained for its image and is taken back",
            line.node
        );
    }
    Ok(())
}

fn no_drain_for_its_age_is_taken_back(tick: &Tick<'_>) -> Result<(), String> {
    for line in taken_back(tick) {
        let memory = tick.plan.next.nodes.get(&line.node);
        let server = memory.and_then(|memory| memory.server_id.as_deref());
        let for_its_age = startds_of(tick, server.unwrap_or_default()).any(|startd| {
            let drain = startd.draining.as_ref();
            drain.is_some_and(|drain| drain.reason.contains("older than max_lifetime"))
        });
        must!(
            !for_its_age || tick.policy.max_lifetime.is_none(),
            "{} was drained for its age and is taken back",
            line.node
        );
    }
    Ok(())
}

/// Nothing is made over a budget, and what is told as spent is no less than what was used.
fn money_is_counted(tick: &Tick<'_>, tally: &mut Tally) -> Result<(), String> {
    let Tick { plan, policy, .. } = tick;
    let price = |cloud: &str, flavor: &str| {
        let cloud = policy.cloud(cloud);
        cloud
            .and_then(|cloud| cloud.prices.get(flavor))
            .copied()
            .unwrap_or(0.0)
    };
    let creates = plan.actions.iter().any(|action| action.verb() == "create");
    let costs = plan.cost.as_ref().unwrap();
    let remembered = plan.next.nodes.values();
    // What may be a neighbour's is no cost of this pool.
    let remembered = remembered.filter(|memory| memory.unsigned.is_none());
    let per_hour: f64 = remembered
        .map(|memory| price(&memory.node_type.cloud, &memory.node_type.flavor))
        .sum();
    if let Some(most) = policy.budget.per_hour.filter(|_| creates) {
        must!(
            Money::new(per_hour) <= most,
            "{per_hour} an hour are remembered, per_hour {most}"
        );
    }
    if let Some(most) = policy.budget.per_month.filter(|_| creates) {
        let coming: Money = costs.clouds.iter().map(|cloud| cloud.coming).sum();
        let used = costs.spent_this_month.plus(coming);
        must!(used <= most, "{used} are spent or come, per_month {most}");
    }
    let now = tick.world.now;
    for server in tick.world.servers.values() {
        if is_execute(server, policy) && !tally.theirs.contains(&server.id) {
            let each = price(&server.cloud, &server.flavor);
            tally.used.insert(
                server.id.clone(),
                each * (now - server.created) as f64 / 3600.0,
            );
        }
    }
    // What happened since it looked.
    let late = tally.used.len() as f64 * 3.5 * 4.0 / 60.0;
    let used: f64 = tally.used.values().sum();
    let told = costs.spent_this_month;
    must!(
        tally.loses_money || Money::new(used) <= told.plus(Money::new(late)),
        "{used} were used, {told} are told"
    );
    Ok(())
}

/// Every server is made for a job that waits, and every drain is taken back for one: whoever makes and unmakes nodes
/// while nothing changes makes more than there were waits.
fn nothing_flaps(tick: &Tick<'_>, tally: &mut Tally) -> Result<(), String> {
    let world = tick.world;
    for server in world.servers.values() {
        // One that takes no jobs is a failed boot.
        let joined = server.startd.as_ref().is_some_and(|startd| !startd.closed);
        if joined && is_execute(server, tick.policy) && !tally.joined.contains(&server.id) {
            tally.joined.insert(server.id.clone());
        }
    }
    if let Some(quiet) = &mut tally.quiet {
        quiet.in_the_way.extend(in_the_way(world));
    }
    let makes_room = |why: &Reason| {
        matches!(
            why,
            Reason::DrainOlderImage { .. }
                | Reason::DrainToTryImage { .. }
                | Reason::DrainExpired { .. }
        )
    };
    let leaves = |node: &NodeId| {
        let mut lines = tick.plan.nodes.iter();
        lines.any(|line| line.node == *node && makes_room(&line.why))
    };
    tally.exchanged += tick
        .outcomes
        .iter()
        .filter(|outcome| match (&outcome.action, &outcome.result) {
            (Action::Pool(PoolAction::Drain { node, .. }), Ok(_)) => leaves(node),
            _ => false,
        })
        .count() as u64;
    let mut changed = false;
    for Outcome { action, result } in tick.outcomes {
        match (action, result) {
            (
                Action::Cloud {
                    action: CloudAction::Create(_),
                    ..
                },
                result,
            ) => {
                let unknown =
                    |failure: &scaling::action::Failure| failure.kind == FailureKind::Unknown;
                changed = true;
                tally.made += u64::from(result.as_ref().map_or_else(unknown, |_| true));
            }
            (Action::Pool(PoolAction::CancelDrain { node, .. }), Ok(_)) => {
                let now = Returned {
                    waits: waits(world),
                    events: tally.events,
                    exchanged: tally.exchanged,
                };
                let last = tally.returned.insert(node.clone(), now);
                let for_nothing = last.is_some_and(|last| {
                    last.waits == waits(world)
                        && last.events == tally.events
                        && last.exchanged == tally.exchanged
                });
                must!(
                    tally.twins || !for_nothing,
                    "the drain of {node} is taken back again, and no job has come to wait since the last time"
                );
            }
            _ => {}
        }
    }
    if !changed {
        return Ok(());
    }
    if let Some(enough) = tally.enough {
        let made = tally.made;
        must!(
            made <= enough,
            "{made} servers were made, where {enough} would do"
        );
    }
    let (all, joined) = (waits(world) + tally.withdrawn, tally.joined.len() as u64);
    let vain = tally.in_vain;
    must!(
        joined <= all + vain,
        "{joined} servers were made and joined; jobs waited {all} times, and faults explain {vain} more"
    );
    if let Some(quiet) = &tally.quiet {
        let made = tally.made - quiet.made;
        let waits = all.saturating_sub(quiet.waits);
        let servers = quiet.servers;
        // Jobs that did not take the node that was made for them get another one an hour, as a try.
        let tries = (world.now - quiet.at) / 3600 * tally.batches;
        let in_the_way = quiet.in_the_way.len() as u64;
        must!(
            made <= waits + servers + tries + in_the_way,
            "{made} servers were made after the faults; jobs waited {waits} times since, {in_the_way} were in the way of \
             larger ones, and of the {servers} that were there all may be of no use"
        );
    }
    Ok(())
}

/// What a tick did, in lines.
pub fn told(plan: &Plan, outcomes: &[Outcome]) -> Vec<String> {
    let nodes = plan.nodes.iter().map(|node| {
        format!(
            "{} {} {:?}: {}",
            node.node, node.phase, node.decision, node.why
        )
    });
    let groups = plan.groups.iter().map(|group| {
        let why: Vec<String> = group.why.iter().map(ToString::to_string).collect();
        format!("{} x {}: {}", group.jobs, group.request, why.join("; "))
    });
    let brakes = plan.brakes.iter().map(|brake| format!("brake: {brake}"));
    let unseen = plan
        .unknown_sources
        .iter()
        .map(|unseen| format!("unseen: {} {}", unseen.source, unseen.why));
    let outcomes = outcomes.iter().map(|outcome| {
        let Outcome { action, result } = outcome;
        format!("  {} {}: {result:?}", action.verb(), action.node())
    });
    nodes
        .chain(groups)
        .chain(brakes)
        .chain(unseen)
        .chain(outcomes)
        .collect()
}
