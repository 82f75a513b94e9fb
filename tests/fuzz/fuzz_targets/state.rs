//! A state file of any content: it is refused, or a plan can be made with it, and what that remembers can be read again.
#![no_main]

use std::sync::{LazyLock, Mutex};

use system::deadline::Deadline;
use tick::observe::observe;
use scaling::state::State;
use scaling::observation::Observation;
use scaling::plan::plan;
use scaling::policy::Policy;
use simulation::{Scenario, ScenarioCloud, ScenarioFlavor, World, locked};
use libfuzzer_sys::fuzz_target;

/// A small site at work.
static SITE: LazyLock<(Observation, Policy)> = LazyLock::new(|| {
    let flavor = ScenarioFlavor { vcpus: 4, ram_mb: 8192, disk_gb: 40, gpus: 0, price: None, has: Vec::new() };
    let cloud = ScenarioCloud {
        instances: None,
        cores: Some(20),
        ram_mb: None,
        build_seconds: 20,
        boot_seconds: (40, 90),
        billing_period_seconds: None,
        flavors: [("medium".to_owned(), flavor)].into(),
    };
    let scenario = Scenario {
        step_seconds: 60,
        seed: 7,
        negotiation_seconds: 60,
        update_seconds: 60,
        classad_lifetime_seconds: 900,
        token_lifetime_seconds: None,
        clouds: [("blue".to_owned(), cloud)].into(),
        jobs: Vec::new(),
    };
    let mut policy = Policy::new("pool-1");
    policy.clouds = scenario.cloud_policies();
    let world = Mutex::new(World::new(scenario));
    let hour = Deadline::within(std::time::Duration::from_secs(3600));
    locked(&world).submit(9, 1, 1024, 900, false);
    let mut state = State::default();
    for minute in 0..9 {
        locked(&world).advance(60);
        let at = locked(&world).at();
        let site = simulation::backends(&world, &policy);
        let (observation, _) = observe(&site, &policy, &state, at, hour);
        if minute == 8 {
            return (observation, policy);
        }
        let plan = plan(&observation, &policy, &state);
        let outcomes = tick::act::act(&site, &plan.actions, 1, hour);
        state = plan.after(&outcomes, &policy);
    }
    unreachable!()
});

fuzz_target!(|text: &[u8]| {
    // Whole, or what is left of it where entries do not parse.
    let whole = serde_json::from_slice::<State>(text).ok();
    let Some(state) = whole.or_else(|| tick::state_directory::read_anything(text)) else {
        return;
    };
    let (observation, policy) = &*SITE;
    let plan = plan(observation, policy, &state);
    let next = serde_json::to_vec(&plan.next).unwrap();
    assert_eq!(serde_json::from_slice::<State>(&next).unwrap(), plan.next);
    assert!(plan.actions.len() as u64 <= 3 * policy.max_actions);
});
