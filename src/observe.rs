//! Asks HTCondor and every cloud, all at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cloud::Cloud;
use crate::deadline::Deadline;
use crate::pool::Watch;
use crate::scaling::memory::{NodeMemory, State};
use crate::scaling::observation::{Observation, Seen};
use crate::site::Site;

/// How long each source took.
pub type Durations = BTreeMap<String, Duration>;

/// Everything there is to see. A source that does not answer in time is unknown; it holds up no other.
pub fn observe(
    site: &Site<'_>,
    state: &State,
    at: Timestamp,
    deadline: Deadline,
) -> (Observation, Durations) {
    let watch = watch(state);
    let (pool, clouds) = std::thread::scope(|scope| {
        let clouds: Vec<_> = site
            .clouds
            .iter()
            .map(|cloud| {
                let traces = state.traces(cloud.name());
                (
                    cloud.name().to_owned(),
                    scope.spawn(move || timed(|| cloud.observe(&traces, deadline))),
                )
            })
            .collect();
        let pool = timed(|| site.pool.observe(&watch, deadline));
        let clouds: Vec<_> = clouds
            .into_iter()
            .map(|(name, thread)| {
                let answer = match thread.join() {
                    Ok((Ok(view), took)) => (Seen::Known(view), took),
                    Ok((Err(failure), took)) => (Seen::Unknown(failure.message), took),
                    Err(_) => (
                        Seen::Unknown("ehos failed while it asked; please report this".to_owned()),
                        Duration::ZERO,
                    ),
                };
                (name, answer)
            })
            .collect();
        (pool, clouds)
    });
    let mut durations = Durations::from([("pool".to_owned(), pool.1)]);
    let mut views = BTreeMap::new();
    for (name, (view, took)) in clouds {
        durations.insert(format!("cloud {name}"), took);
        views.insert(name, view);
    }
    (
        Observation {
            at,
            pool: pool.0,
            clouds: views,
        },
        durations,
    )
}

/// The same, one after the other: for a simulated site, whose answers take less time than a thread.
pub fn observe_in_turn(
    site: &Site<'_>,
    state: &State,
    at: Timestamp,
    deadline: Deadline,
) -> Observation {
    let pool = site.pool.observe(&watch(state), deadline);
    let seen = |cloud: &dyn Cloud| match cloud.observe(&state.traces(cloud.name()), deadline) {
        Ok(view) => Seen::Known(view),
        Err(failure) => Seen::Unknown(failure.message),
    };
    let clouds = site.clouds.iter();
    let clouds = clouds.map(|cloud| (cloud.name().to_owned(), seen(cloud.as_ref())));
    Observation {
        at,
        pool,
        clouds: clouds.collect(),
    }
}

/// The nodes whose startds have been seen.
fn watch(state: &State) -> Watch {
    let watched = |node: &NodeMemory| Some((node.machine.clone()?, node.server_id.clone()?));
    state.nodes.values().filter_map(watched).collect()
}

fn timed<T>(ask: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let answer = ask();
    (answer, start.elapsed())
}
