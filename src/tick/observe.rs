//! Queries HTCondor and every cloud in parallel.
//!
//! Startds come first, then the queues: a job that starts in between delays a create and never
//! causes one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use scaling::sorting::{IntoMap, IntoSet};

use crate::backends::Backends;
use crate::internal_errors::asking;
use crate::pool::TrackedMachines;
use scaling::action::Failure;
use scaling::job_requirements::{JobGroupKey, Matches, candidates};
use scaling::observation::{CloudName, CloudView, Demand, Observation, Observed, PoolView};
use scaling::policy::Policy;
use scaling::state::{NodeState, Shared, State};
use system::deadline::Deadline;
use system::threads::{joined, spawn};

/// How long each source took.
pub type Durations = BTreeMap<String, Duration>;

/// Everything there is to see. A source that does not answer in time is unknown; it holds up no other.
pub fn observe(
    backends: &Backends<'_>,
    policy: &Policy,
    state: &State,
    at: Timestamp,
    deadline: Deadline,
) -> (Observation, Durations) {
    let watch = watch(state, policy, at);
    let (pool, clouds) = std::thread::scope(|scope| {
        let clouds: Vec<_> = backends
            .clouds
            .iter()
            .map(|cloud| {
                let traces = state.traces(cloud.name());
                let name = cloud.name().to_owned();
                let query = move || timed(|| cloud.observe(&traces, deadline));
                let asked = Some(name.clone());
                (name, spawn(scope, || asking(asked, query)))
            })
            .collect();
        let pool = timed(|| backends.pool.observe(&watch, deadline));
        let clouds: Vec<_> = clouds
            .into_iter()
            .map(|(name, thread)| {
                let (view, took) = joined(thread);
                (name, seen(view), took)
            })
            .collect();
        (pool, clouds)
    });
    let mut durations = Durations::from([("pool".to_owned(), pool.1)]);
    let mut views = BTreeMap::new();
    for (name, view, took) in clouds {
        durations.insert(format!("cloud {name}"), took);
        views.insert(name, view);
    }
    let (matches, took) = timed(|| matches(backends, policy, state, &pool.0, &views, deadline));
    durations.insert("matches".to_owned(), took);
    (
        Observation {
            matches,
            at,
            pool: pool.0,
            clouds: views,
        },
        durations,
    )
}

/// Which of the waiting jobs would run on which nodes. Nobody is asked when no job that waits is known.
fn matches(
    backends: &Backends<'_>,
    policy: &Policy,
    state: &State,
    pool: &PoolView,
    clouds: &BTreeMap<CloudName, Observed<CloudView>>,
    deadline: Deadline,
) -> Matches {
    let schedds = pool.schedds.values().filter_map(Observed::known);
    let jobs: BTreeSet<JobGroupKey> = schedds
        .flat_map(|schedd| &schedd.demand)
        .filter(|demand| demand.jobs > 0 && !demand.needs.is_empty() && demand.fault.is_none())
        .map(Demand::key)
        .into_set();
    if jobs.is_empty() {
        return Matches::default();
    }
    let collector = pool.collector.known();
    let startds = collector.map_or(&[][..], |collector| &collector.startds);
    let nodes = candidates(policy, state, startds, clouds);
    backends.pool.matches(&jobs, &nodes, deadline)
}

/// The same, one after the other: for a simulated backends, whose answers take less time than a thread.
pub fn observe_in_turn(
    backends: &Backends<'_>,
    policy: &Policy,
    state: &State,
    at: Timestamp,
    deadline: Deadline,
) -> Observation {
    let pool = backends.pool.observe(&watch(state, policy, at), deadline);
    let clouds = backends.clouds.iter().map(|cloud| {
        let view = cloud.observe(&state.traces(cloud.name()), deadline);
        (cloud.name().to_owned(), seen(view))
    });
    let clouds = clouds.into_map();
    Observation {
        matches: matches(backends, policy, state, &pool, &clouds, deadline),
        at,
        pool,
        clouds,
    }
}

/// The nodes whose startds have been seen, those that should have been by now (by the names of their servers), and those that are
/// gone and on which a job may still be listed.
fn watch(state: &State, policy: &Policy, at: Timestamp) -> TrackedMachines {
    let watched = |node: &Shared<NodeState>| {
        let server = node.server_id.clone();
        let mut machines: Vec<String> = node.join.machines().map(str::to_owned).collect();
        // The name of its server is none that an ad can change. One that boots has no job yet.
        if !machines.is_empty() || state.now.since(node.started) >= policy.boot_timeout / 2 {
            machines.push(node.name.to_string());
        }
        machines
            .into_iter()
            .filter_map(move |machine| Some((machine, server.clone()?)))
    };
    let nodes = state.nodes.values().flat_map(watched);
    let departed = state.departed.values().filter(|gone| !gone.jobless);
    let departed = departed.filter_map(|gone| {
        let server = gone.server_id.clone().unwrap_or_default();
        Some((gone.machine.clone()?, server))
    });
    TrackedMachines {
        machines: nodes.chain(departed).collect(),
        clusters: state.clusters.clone(),
        at,
    }
}

fn seen<T>(answer: Result<T, Failure>) -> Observed<T> {
    match answer {
        Ok(view) => Observed::Known(view),
        Err(failure) => Observed::Unknown(failure.message),
    }
}

fn timed<T>(ask: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let answer = ask();
    (answer, start.elapsed())
}
