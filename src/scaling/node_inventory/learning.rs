//! Writes what an observation shows of each node into its state.

use std::time::Duration;

use super::{Look, Sight};
use crate::capacity::Capacity;
use crate::matching::Match;
use crate::node::{
    JobListed, NodeTypeNumber, TypeFacts, hidden, is_fresh, is_held, lists_job, mature_collector,
    node_listed,
};
use crate::obscure::Obscured;
use crate::observation::{NodeId, Observation, Observed, OwnedServer, ServerStatus, StartdView};
use crate::policy::Policy;
use crate::sender::Sender;
use crate::sorting;
use crate::state::{NodeState, NodeType, NodeTypeState, Shared, Silence, State, TickInstant, set};

/// What nodes show of their kinds and zones.
#[derive(Default)]
struct Learnt {
    /// A node of these has been seen to take jobs for the first time.
    proven: Vec<NodeType>,
    /// By the numbers of the types.
    node_types: Vec<Shown>,
    roomy: Vec<(NodeType, String, TickInstant)>,
    /// Those that were adopted until then are this pool's.
    trusted: Option<TickInstant>,
}

/// What the nodes of one type show of it.
#[derive(Default)]
struct Shown {
    /// The first node that ran jobs.
    ran_jobs: Option<usize>,
    /// Those that have joined within `unclaimed_backoff`. Later a node says nothing new of nodes that are still to come, and may
    /// be in somebody else's hands.
    recent: Sizes,
    /// The others: they count for a type that the state does not know.
    earlier: Sizes,
}

/// What several nodes of one type show of its size.
#[derive(Default)]
struct Sizes {
    /// The first of the smallest nodes.
    smallest: Option<(Size, usize)>,
    /// Of several that are there the largest: one that says less than it has makes no other look smaller.
    largest: Option<(Size, Capacity)>,
    /// When the last of them joined.
    joined: Option<TickInstant>,
}

/// Cores and memory.
type Size = (u64, u64);

/// One node, with all that shows something of it.
struct Lesson<'s> {
    observation: &'s Observation,
    policy: &'s Policy,
    now: TickInstant,
    previous: TickInstant,
    id: &'s NodeId,
    /// Its place among the nodes.
    position: usize,
    type_number: NodeTypeNumber,
    max_lifetime: Option<Duration>,
    server: Option<&'s OwnedServer>,
    found: Match<'s>,
}

/// Writes into the memory what this observation shows of each node by its `sight`, and passes both on to `learnt_of`.
pub(super) fn learn<'a>(
    look: &Look<'a, '_>,
    state: &mut State,
    mut sight: impl FnMut(usize, &NodeId, &NodeState) -> Sight<'a>,
    mut learnt_of: impl FnMut(usize, &NodeId, &Shared<NodeState>, Sight<'a>),
) {
    let Look {
        observation,
        policy,
        types,
        numbered,
        obscured,
        ..
    } = look;
    let mut learnt = Learnt {
        trusted: state.adopted_trusted,
        node_types: types.iter().map(|_| Shown::default()).collect(),
        ..Learnt::default()
    };
    let nodes = state.nodes.iter_mut().zip(*numbered);
    for (position, ((id, memory), node)) in nodes.enumerate() {
        let sight = sight(position, id, memory);
        let lesson = Lesson {
            observation,
            policy,
            now: state.now,
            previous: state.previous,
            id,
            position,
            type_number: node.node_type,
            max_lifetime: (types.get(node.node_type)).and_then(|facts| facts.max_lifetime),
            server: sight.server,
            found: sight.found,
        };
        lesson.learn_server(memory, obscured, &mut learnt);
        lesson.learn_startd(memory, &mut learnt);
        learnt_of(position, id, memory, sight);
    }
    learnt.tell(state, types);
    learn_sources(observation, state);
}

impl Lesson<'_> {
    fn learn_server(
        &self,
        memory: &mut Shared<NodeState>,
        obscured: &Obscured,
        learnt: &mut Learnt,
    ) {
        if memory.unanswered {
            set!(memory.abandoned = memory.abandoned.or(Some(self.now)));
        }
        if let Some(server) = self.server {
            set!(memory.unanswered = false);
            set!(memory.abandoned = None);
            set!(memory.listed = true);
            set!(memory.missing = None);
            if let Some(zone) = &server.record().zone
                && memory.zone.as_ref() != Some(zone)
            {
                memory.zone = Some(zone.clone());
            }
            if memory.unsigned.is_none()
                && let (ServerStatus::Active, Some(zone)) = (server.record().status, &memory.zone)
            {
                let room = (memory.node_type.clone(), zone.clone(), memory.started);
                learnt.roomy.push(room);
            }
            let elsewhere = self.policy.other_condor_host(server);
            let elsewhere = elsewhere.filter(|_| memory.adopted);
            if memory.other_condor_host.as_deref() != elsewhere {
                memory.other_condor_host = elsewhere.map(str::to_owned);
            }
            let mut age = memory.age.clone();
            age.learn(server, self.policy, self.max_lifetime, self.now);
            set!(memory.age = age);
            // On its way out it loses them one by one.
            let volumes = &server.record().volumes;
            if !server.record().deleting && memory.volumes != *volumes {
                memory.volumes.clone_from(volumes);
            }
        } else if let Some(server_id) = obscured.nodes.get(self.id) {
            // It is there, or may be: whatever it does, it is not missing.
            set!(memory.missing = None);
            if let Some(server_id) = server_id {
                set!(memory.listed = true);
                if memory.server_id.is_none() {
                    memory.server_id = Some(server_id.clone());
                }
            }
        } else if memory.listed {
            let cloud = self.observation.clouds.get(&memory.node_type.cloud);
            if cloud.is_some_and(Observed::is_known) {
                set!(memory.missing = memory.missing.or(Some(self.now)));
            }
        }
    }

    fn learn_startd(&self, memory: &mut Shared<NodeState>, learnt: &mut Learnt) {
        let fresh = self
            .found
            .startd()
            .filter(|startd| is_fresh(startd, self.policy));
        let contradicted = matches!(self.found, Match::Contradiction(_) | Match::Contested(..));
        if let Some(startd) = fresh.filter(|_| contradicted) {
            // Somebody is there: what it is, is not learnt from that, and its silence begins after it.
            set!(memory.silence = memory.silence.ended());
            set!(memory.claims.claimed = memory.claims.claimed || startd.claims() > 0);
            return;
        }
        if memory.unsigned.is_some() {
            if fresh.is_none() {
                return;
            }
            // It has joined with a token of this pool: that is a proof as well.
            set!(memory.unsigned = None);
        }
        let pool = &self.observation.pool;
        let machine = memory.join.machine.as_deref();
        match fresh {
            Some(startd) => self.hear(startd, memory, learnt),
            None if mature_collector(pool, self.policy).is_some()
                && !hidden(pool, machine, self.server) =>
            {
                self.miss(memory);
            }
            None => set!(memory.silence = memory.silence.ended()),
        }
    }

    /// A fresh ad of it.
    fn hear(&self, startd: &StartdView, memory: &mut Shared<NodeState>, learnt: &mut Learnt) {
        let pool = &self.observation.pool;
        set!(memory.delete.invalidated = false);
        if memory.adopted {
            // Those that were found together belong together; those that are found later may be another's.
            learnt.trusted = learnt.trusted.max(Some(memory.started));
        }
        let drain = startd.draining.as_ref();
        let deleting = self.server.is_none_or(|server| server.record().deleting);
        if !deleting && memory.delete.accepted.is_none() && drain.is_none() {
            // The delete had no effect, and the node accepts jobs again: a later loss of its server is not the work of ehos.
            set!(memory.delete.intended = None);
        }
        let open = startd.slots.iter().any(|slot| slot.accepts_jobs);
        match drain {
            None => {
                set!(memory.join.closed = (!open).then(|| memory.join.closed.unwrap_or(self.now)))
            }
            Some(_) => set!(memory.drain.accepted = None),
        }
        if !memory.join.is_known_at(startd) {
            memory.join.is_at(startd);
        }
        let drained = drain.is_some_and(|drain| drain.complete) && startd.claims() == 0;
        if drained && lists_job(pool, memory) {
            set!(memory.drain.contradicted = Some(self.now));
        } else if drain.is_none() {
            set!(memory.drain.contradicted = None);
        }
        let named = self.server.and_then(|server| server.node());
        let own = matches!(&startd.sender, Sender::Node(node) if node == named.unwrap_or(self.id));
        set!(memory.join.identified = memory.join.identified || own);
        set!(memory.silence = Silence::default());
        let since_previous = self.now.since(self.previous);
        let joined = memory.join.joined;
        let mut claims = memory.claims.clone();
        claims.learn(startd, joined, self.now, since_previous);
        set!(memory.claims = claims);
        if let Some(shown) = learnt.node_types.get_mut(self.type_number) {
            // The earlier jobs of an adopted node are unknown.
            if memory.claims.claimed || (memory.claims.taken && !memory.adopted) {
                shown.ran_jobs.get_or_insert(self.position);
            }
            if drain.is_none() {
                let joined = joined.unwrap_or(self.now);
                let is_recent = self.now.since(joined) <= self.policy.unclaimed_backoff;
                let sizes = match is_recent {
                    true => &mut shown.recent,
                    false => &mut shown.earlier,
                };
                sizes.joined = sizes.joined.max(Some(joined));
                sizes.learn(startd, self.position);
            }
        }
        set!(memory.join.joined = memory.join.joined.or(Some(self.now)));
        if !memory.join.proven && open {
            memory.join.proven = true;
            learnt.proven.push(memory.node_type.clone());
        }
    }

    /// No fresh ad of it, though the collector hears.
    fn miss(&self, memory: &mut Shared<NodeState>) {
        let (pool, now) = (&self.observation.pool, self.now);
        // One that its cloud holds still is waited for: its silence begins when it runs again.
        if self.server.is_some_and(is_held) {
            set!(memory.silence.silent = Some(now));
        }
        let mut silence = memory.silence.clone();
        let silent = silence.silent.get_or_insert(now);
        let old = match self.found {
            Match::Startd(startd) => Some(startd),
            _ => None,
        };
        // A late node is silent for at most the age of its last ad.
        if let Some(startd) = old {
            *silent = now.minus(startd.heard_ago).max(*silent);
        }
        let listed = node_listed(pool, memory);
        silence.job_listed |= listed == JobListed::Yes;
        silence.unlisted = (listed == JobListed::No).then(|| silence.unlisted.unwrap_or(now));
        set!(memory.silence = silence);
        // An old ad: it has joined all the same, and jobs may run on it.
        if let Some(startd) = old {
            if memory.join.machine.is_none() {
                memory.join.is_at(startd);
            }
            set!(memory.join.joined = memory.join.joined.or(Some(now)));
            set!(memory.claims.claimed = startd.claims() > 0);
        }
    }
}

impl Sizes {
    fn learn(&mut self, startd: &StartdView, position: usize) {
        let total = startd.total();
        let size = (total.cpus, total.memory_mb);
        let is_largest = self.largest.as_ref().is_none_or(|(most, _)| size >= *most);
        let is_smallest = self.smallest.is_none_or(|(least, _)| size < least);
        if (is_largest || is_smallest)
            && let Some(capacity) = Capacity::of(startd)
        {
            if is_smallest {
                self.smallest = Some((size, position));
            }
            if is_largest {
                self.largest = Some((size, capacity));
            }
        }
    }
}

impl Learnt {
    fn tell(self, state: &mut State, types: &[TypeFacts<'_>]) {
        state.adopted_trusted = self.trusted;
        if !state.zones.is_empty() {
            for (node_type, zone, asked_for) in self.roomy {
                state.zone_has_room(&node_type, &zone, asked_for);
            }
        }
        let node_types = || {
            types
                .iter()
                .map(|facts| facts.node_type)
                .zip(&self.node_types)
        };
        // Types that the state does not know yet are added in this order.
        let sizes = node_types().filter_map(|(node_type, shown)| {
            let is_known =
                |memory: &NodeTypeState| memory.capacity.is_some() || memory.is_doubted();
            let earlier = || {
                let known = state.node_type(node_type).is_some_and(is_known);
                Some(&shown.earlier).filter(|_| !known)
            };
            let recent = Some(&shown.recent).filter(|recent| recent.smallest.is_some());
            let sizes = recent.or_else(earlier)?;
            Some((sizes.smallest?, node_type, sizes))
        });
        let mut sizes: Vec<_> = sizes.collect();
        sorting::by_key(&mut sizes, |(smallest, ..)| *smallest);
        for (_, node_type, sizes) in sizes {
            let memory = state.node_type_mut(node_type);
            let largest = sizes.largest.as_ref();
            memory.capacity = largest.map(|(_, capacity)| capacity.clone());
            memory.capacity_shown = sizes.joined;
        }
        let mut ran_jobs: Vec<_> = node_types()
            .filter_map(|(node_type, shown)| Some((shown.ran_jobs?, node_type)))
            .collect();
        sorting::by_key(&mut ran_jobs, |(position, _)| *position);
        for (_, node_type) in ran_jobs {
            state.node_type_mut(node_type).ran_jobs = true;
        }
        for node_type in self.proven {
            let memory = state.node_type_mut(&node_type);
            memory.joined = memory.joined.saturating_add(1);
            memory.reset_failures();
        }
    }
}

/// Remembers which clouds and schedds have answered.
fn learn_sources(observation: &Observation, state: &mut State) {
    let now = state.now;
    let answered = observation.clouds.iter();
    let answered = answered.filter(|(_, cloud)| cloud.is_known());
    state.clouds.extend(answered.map(|(name, _)| name.clone()));
    // The nodes of one that is not configured any more were forgotten: when it is again, it may hold any number of them.
    state
        .clouds
        .retain(|name| observation.clouds.contains_key(name));
    let schedds = &observation.pool.schedds;
    for (name, schedd) in schedds {
        let Observed::Known(schedd) = schedd else {
            state.unknown_schedds.entry(name.clone()).or_insert(now);
            continue;
        };
        state.unknown_schedds.remove(name);
        if let Some(newest) = schedd.newest_cluster {
            let marks = state.clusters.entry(name.clone()).or_default();
            marks.add(observation.at, newest);
        }
    }
    state.clusters.retain(|name, _| schedds.contains_key(name));
    state
        .unknown_schedds
        .retain(|name, _| schedds.contains_key(name));
}
