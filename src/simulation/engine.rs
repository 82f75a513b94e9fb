//! Runs ehos on a world: the same observing, planning and acting as on a real site, on the world's clock.

use std::sync::Mutex;
use std::time::Duration;

use super::sides::{backends, locked};
use super::world::{Seconds, World};
use ::tick::backends::Backends;
use scaling::observation::Observation;
use scaling::plan::{Plan, plan};
use scaling::policy::Policy;
use scaling::state::{Outcome, State};
use system::deadline::Deadline;
use tick::act::{Acted, act_and_listen};
use tick::observe::observe_in_turn;

/// What stands between ehos and the world: nothing, or faults.
pub type Between<'b> = &'b dyn for<'a> Fn(Backends<'a>) -> Backends<'a>;

/// What one tick saw, planned, did and remembers.
pub struct Ticked {
    /// What it saw.
    pub observation: Observation,
    /// What it planned.
    pub plan: Plan,
    /// What came of it.
    pub outcomes: Vec<Outcome>,
    /// What would be on disk now.
    pub next: State,
}

/// Moves the world on and lets ehos look, plan and act once. `meanwhile` happens between the look and the act.
pub fn tick(
    world: &Mutex<World>,
    policy: &Policy,
    state: &State,
    seconds: Seconds,
    between: Between<'_>,
    meanwhile: &mut dyn FnMut(&Mutex<World>),
) -> Ticked {
    locked(world).advance(seconds);
    let at = locked(world).at();
    let site = between(backends(world, policy));
    // The world answers at once: this deadline is never met.
    let deadline = Deadline::within(Duration::from_secs(3600));
    let observation = observe_in_turn(&site, policy, state, at, deadline);
    let mut plan = plan(&observation, policy, state);
    meanwhile(world);
    let Acted { outcomes, consoles } = act_and_listen(&site, &plan.actions, 1, deadline);
    plan.learn_consoles(&consoles);
    let next = plan.after(&outcomes, policy);
    Ticked {
        observation,
        plan,
        outcomes,
        next,
    }
}
