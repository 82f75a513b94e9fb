//! Runs ehos on a world: the same observing, planning and acting as on a real site, on the world's clock.

use std::sync::Mutex;
use std::time::Duration;

use super::sides::{SimulatedCloud, SimulatedPool, locked};
use super::world::{Seconds, World};
use crate::act::act;
use crate::cloud::Cloud;
use crate::deadline::Deadline;
use crate::observe::{Site, observe};
use crate::pool::Pool;
use crate::scaling::memory::{Outcome, State};
use crate::scaling::plan::{Plan, plan};
use crate::scaling::policy::Policy;

/// What stands between ehos and the world: nothing, or faults.
pub trait Between {
    /// The pool as ehos is to meet it.
    fn pool<'a>(&'a self, pool: &'a SimulatedPool<'a>) -> Box<dyn Pool + 'a>;
    /// A cloud as ehos is to meet it.
    fn cloud<'a>(&'a self, cloud: &'a SimulatedCloud<'a>) -> Box<dyn Cloud + 'a>;
}

/// The sides of a world for one tick of ehos.
pub fn sides<'a>(
    world: &'a Mutex<World>,
    policy: &Policy,
) -> (SimulatedPool<'a>, Vec<SimulatedCloud<'a>>) {
    let names: Vec<String> = locked(world).scenario.clouds.keys().cloned().collect();
    let cloud = |name| SimulatedCloud {
        world,
        name,
        cluster: policy.cluster.clone(),
    };
    (
        SimulatedPool {
            world,
            min_wait: policy.negotiation_cycle,
        },
        names.into_iter().map(cloud).collect(),
    )
}

/// Moves the world on and lets ehos look, plan and act once. `meanwhile` happens between the look and the act. The
/// returned state is what would be on disk.
pub fn tick(
    world: &Mutex<World>,
    policy: &Policy,
    state: &State,
    seconds: Seconds,
    between: &dyn Between,
    meanwhile: &mut dyn FnMut(&Mutex<World>),
) -> (Plan, Vec<Outcome>, State) {
    locked(world).advance(seconds);
    let at = locked(world).at();
    let (pool, clouds) = sides(world, policy);
    let pool = between.pool(&pool);
    let clouds: Vec<Box<dyn Cloud + '_>> =
        clouds.iter().map(|cloud| between.cloud(cloud)).collect();
    let site = Site {
        pool: &*pool,
        clouds: clouds.iter().map(|cloud| &**cloud).collect(),
    };
    // The world answers at once: this deadline is never met.
    let deadline = Deadline::within(Duration::from_secs(3600));
    let (observation, _) = observe(&site, state, at, deadline);
    let plan = plan(&observation, policy, state);
    meanwhile(world);
    let outcomes = act(&site, &plan.actions, 1, deadline);
    let next = plan.next.clone().after(&outcomes, policy);
    (plan, outcomes, next)
}

/// Nothing stands in between.
pub struct Nothing;

impl Between for Nothing {
    fn pool<'a>(&'a self, pool: &'a SimulatedPool<'a>) -> Box<dyn Pool + 'a> {
        Box::new(SimulatedPool {
            world: pool.world,
            min_wait: pool.min_wait,
        })
    }

    fn cloud<'a>(&'a self, cloud: &'a SimulatedCloud<'a>) -> Box<dyn Cloud + 'a> {
        Box::new(SimulatedCloud {
            world: cloud.world,
            name: cloud.name.clone(),
            cluster: cloud.cluster.clone(),
        })
    }
}
