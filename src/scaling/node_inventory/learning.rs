//! What an observation shows of each node, written into what is remembered of it.

use std::collections::BTreeMap;

use crate::capacity::Capacity;
use crate::matching::Match;
use crate::node::{JobListed, hidden, is_fresh, is_held, lists_job, mature_collector, node_listed};
use crate::obscure::Obscured;
use crate::observation::{NodeId, Observation, Observed, OwnedServer, ServerStatus, StartdView};
use crate::policy::Policy;
use crate::sender::Sender;
use crate::state::{NodeState, NodeType, Silence, State, TickInstant};

/// What nodes show of their kinds and zones.
#[derive(Default)]
struct Learnt {
    /// A node of these has been seen to take jobs for the first time.
    proven: Vec<NodeType>,
    ran_jobs: Vec<NodeType>,
    sizes: Vec<(NodeType, Capacity)>,
    roomy: Vec<(NodeType, String, TickInstant)>,
    /// Those that were adopted until then are this pool's.
    trusted: Option<TickInstant>,
}

/// One node, with all that shows something of it.
struct Sight<'s> {
    observation: &'s Observation,
    policy: &'s Policy,
    now: TickInstant,
    previous: TickInstant,
    id: &'s NodeId,
    server: Option<&'s OwnedServer>,
    found: Match<'s>,
}

/// Writes into the memory what this observation shows of each node.
pub(super) fn learn(
    observation: &Observation,
    policy: &Policy,
    state: &mut State,
    servers: &BTreeMap<NodeId, &OwnedServer>,
    obscured: &Obscured,
    matches: &BTreeMap<NodeId, Match<'_>>,
) {
    let mut learnt = Learnt {
        trusted: state.adopted_trusted,
        ..Learnt::default()
    };
    for (id, memory) in &mut state.nodes {
        let sight = Sight {
            observation,
            policy,
            now: state.now,
            previous: state.previous,
            id,
            server: servers.get(id).copied(),
            found: matches.get(id).copied().unwrap_or(Match::None),
        };
        sight.learn_server(memory, obscured, &mut learnt);
        sight.learn_startd(memory, &mut learnt);
    }
    learnt.tell(state);
    learn_sources(observation, state);
}

impl Sight<'_> {
    fn learn_server(&self, memory: &mut NodeState, obscured: &Obscured, learnt: &mut Learnt) {
        if memory.unanswered {
            memory.abandoned.get_or_insert(self.now);
        }
        if let Some(server) = self.server {
            memory.unanswered = false;
            memory.abandoned = None;
            memory.listed = true;
            memory.missing = None;
            if let Some(zone) = &server.record().zone {
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
            memory.other_condor_host = elsewhere.map(str::to_owned);
            memory
                .age
                .learn(server, self.policy, &memory.node_type.cloud, self.now);
            // On its way out it loses them one by one.
            if !server.record().deleting {
                memory.volumes.clone_from(&server.record().volumes);
            }
        } else if let Some(server_id) = obscured.nodes.get(self.id) {
            // It is there, or may be: whatever it does, it is not missing.
            memory.missing = None;
            if let Some(server_id) = server_id {
                memory.listed = true;
                memory.server_id.get_or_insert_with(|| server_id.clone());
            }
        } else if memory.listed {
            let cloud = self.observation.clouds.get(&memory.node_type.cloud);
            if cloud.is_some_and(Observed::is_known) {
                memory.missing.get_or_insert(self.now);
            }
        }
    }

    fn learn_startd(&self, memory: &mut NodeState, learnt: &mut Learnt) {
        let fresh = self
            .found
            .startd()
            .filter(|startd| is_fresh(startd, self.policy));
        let contradicted = matches!(self.found, Match::Contradiction(_) | Match::Contested(..));
        if let Some(startd) = fresh.filter(|_| contradicted) {
            // Somebody is there: what it is, is not learnt from that, and its silence begins after it.
            memory.silence.ends();
            memory.claims.claimed |= startd.claims() > 0;
            return;
        }
        if memory.unsigned.is_some() {
            if fresh.is_none() {
                return;
            }
            // It has joined with a token of this pool: that is a proof as well.
            memory.unsigned = None;
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
            None => memory.silence.ends(),
        }
    }

    /// A fresh ad of it.
    fn hear(&self, startd: &StartdView, memory: &mut NodeState, learnt: &mut Learnt) {
        let pool = &self.observation.pool;
        memory.delete.invalidated = false;
        if memory.adopted {
            // Those that were found together belong together; those that are found later may be another's.
            learnt.trusted = learnt.trusted.max(Some(memory.started));
        }
        let drain = startd.draining.as_ref();
        let deleting = self.server.is_none_or(|server| server.record().deleting);
        if !deleting && memory.delete.accepted.is_none() && drain.is_none() {
            // A delete came to nothing, and it takes jobs again: that its server goes would not be ehos's doing.
            memory.delete.intended = None;
        }
        let open = startd.slots.iter().any(|slot| slot.accepts_jobs);
        match drain {
            None => memory.join.closed = (!open).then(|| memory.join.closed.unwrap_or(self.now)),
            Some(_) => memory.drain.accepted = None,
        }
        memory.join.is_at(startd);
        let drained = drain.is_some_and(|drain| drain.complete) && startd.claims() == 0;
        if drained && lists_job(pool, memory) {
            memory.drain.contradicted = Some(self.now);
        } else if drain.is_none() {
            memory.drain.contradicted = None;
        }
        let named = self.server.and_then(|server| server.node());
        memory.join.identified |= startd.sender == Sender::Node(named.unwrap_or(self.id).clone());
        memory.silence = Silence::default();
        let since_previous = self.now.since(self.previous);
        let joined = memory.join.joined;
        memory
            .claims
            .learn(startd, joined, self.now, since_previous);
        // Of one that was adopted nobody knows what it had taken before.
        if memory.claims.claimed || (memory.claims.taken && !memory.adopted) {
            learnt.ran_jobs.push(memory.node_type.clone());
        }
        if drain.is_none() {
            let size = Capacity::of(startd);
            learnt
                .sizes
                .extend(size.map(|size| (memory.node_type.clone(), size)));
        }
        memory.join.joined.get_or_insert(self.now);
        if !memory.join.proven && open {
            memory.join.proven = true;
            learnt.proven.push(memory.node_type.clone());
        }
    }

    /// No fresh ad of it, though the collector hears.
    fn miss(&self, memory: &mut NodeState) {
        let (pool, now) = (&self.observation.pool, self.now);
        // One that its cloud holds still is waited for: its silence begins when it runs again.
        if self.server.is_some_and(is_held) {
            memory.silence.silent = Some(now);
        }
        let silent = memory.silence.silent.get_or_insert(now);
        let old = match self.found {
            Match::Startd(startd) => Some(startd),
            _ => None,
        };
        // One that is heard late is not silent for longer than its last ad is old.
        if let Some(startd) = old {
            *silent = now.minus(startd.heard_ago).max(*silent);
        }
        let listed = node_listed(pool, memory);
        memory.silence.job_listed |= listed == JobListed::Yes;
        let unlisted = memory.silence.unlisted;
        memory.silence.unlisted = (listed == JobListed::No).then(|| unlisted.unwrap_or(now));
        // An old ad: it has joined all the same, and jobs may run on it.
        if let Some(startd) = old {
            if memory.join.machine.is_none() {
                memory.join.is_at(startd);
            }
            memory.join.joined.get_or_insert(now);
            memory.claims.claimed = startd.claims() > 0;
        }
    }
}

impl Learnt {
    fn tell(mut self, state: &mut State) {
        state.adopted_trusted = self.trusted;
        if !state.zones.is_empty() {
            for (node_type, zone, asked_for) in self.roomy {
                state.zone_has_room(&node_type, &zone, asked_for);
            }
        }
        // Of several that are there the largest: one that says less than it has makes no other look smaller.
        self.sizes.sort_by_cached_key(|(_, size)| {
            let total = size.total();
            (total.cpus, total.memory_mb)
        });
        for (node_type, total) in self.sizes {
            state.node_type_mut(&node_type).capacity = Some(total);
        }
        for node_type in self.ran_jobs {
            state.node_type_mut(&node_type).ran_jobs = true;
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
