//! A simulated site with ehos at work on it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::corpus::Recorder;
use scaling::plan::{NodeDecision, Plan};
use scaling::policy::Policy;
use scaling::state::{Outcome, State};
use simulation::engine::{Ticked, tick};
use simulation::{
    JobState, Scenario, ScenarioCloud, ScenarioFlavor, SimulatedServer, World, locked,
};

pub struct Site {
    pub world: Mutex<World>,
    pub policy: Policy,
    pub state: State,
    pub between: Box<dyn for<'a> Fn(tick::backends::Backends<'a>) -> tick::backends::Backends<'a>>,
    pub last: Option<(Plan, Vec<Outcome>)>,
    pub most_servers: usize,
    plans: Recorder,
}

pub fn flavor(vcpus: u64, ram_mb: u64) -> ScenarioFlavor {
    ScenarioFlavor {
        vcpus,
        ram_mb,
        disk_gb: 40,
        gpus: 0,
        price: None,
        has: Vec::new(),
    }
}

pub fn cloud(flavors: &[(&str, u64, u64)]) -> ScenarioCloud {
    ScenarioCloud {
        instances: None,
        cores: None,
        ram_mb: None,
        build_seconds: 20,
        boot_seconds: (40, 90),
        billing_period_seconds: None,
        flavors: flavors
            .iter()
            .map(|(name, vcpus, ram_mb)| ((*name).to_owned(), flavor(*vcpus, *ram_mb)))
            .collect(),
    }
}

pub fn scenario(clouds: &[(&str, ScenarioCloud)]) -> Scenario {
    Scenario {
        step_seconds: 60,
        seed: 7,
        negotiation_seconds: 60,
        update_seconds: 60,
        classad_lifetime_seconds: 900,
        token_lifetime_seconds: None,
        clouds: clouds
            .iter()
            .map(|(name, cloud)| ((*name).to_owned(), cloud.clone()))
            .collect::<BTreeMap<_, _>>(),
        jobs: Vec::new(),
    }
}

impl Site {
    pub fn new(scenario: Scenario) -> Site {
        let mut policy = Policy::new("pool-1");
        policy.clouds = scenario.cloud_policies();
        Site {
            world: Mutex::new(World::new(scenario)),
            policy,
            state: State::default(),
            between: Box::new(|site| site),
            last: None,
            most_servers: 0,
            plans: Recorder::new(),
        }
    }

    /// One cloud with nodes of 4 cores and 8 GB.
    pub fn simple() -> Site {
        Site::new(scenario(&[("blue", cloud(&[("medium", 4, 8192)]))]))
    }

    pub fn submit(&self, count: u64, cpus: u64, memory_mb: u64, runs: u64) {
        locked(&self.world).submit(count, cpus, memory_mb, runs, false);
    }

    pub fn tick(&mut self) -> &Plan {
        self.tick_while(&mut |_| {})
    }

    /// A pass `seconds` after the last one.
    pub fn tick_after(&mut self, seconds: u64) -> &Plan {
        self.pass(seconds, &mut |_| {})
    }

    pub fn tick_while(&mut self, meanwhile: &mut dyn FnMut(&Mutex<World>)) -> &Plan {
        self.pass(60, meanwhile)
    }

    pub fn pass(&mut self, seconds: u64, meanwhile: &mut dyn FnMut(&Mutex<World>)) -> &Plan {
        let Ticked {
            plan,
            outcomes,
            next,
            ..
        } = tick(
            &self.world,
            &self.policy,
            &self.state,
            seconds,
            &*self.between,
            meanwhile,
        );
        // What is remembered survives the way to the disk and back.
        let text = serde_json::to_string(&next).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), next);
        self.plans.add(&plan, &outcomes, &next);
        self.state = next;
        self.most_servers = self.most_servers.max(self.servers());
        assert!(
            self.execute_servers() <= self.policy.nodes_max || !self.only_ours(),
            "never more servers than nodes_max"
        );
        let violations = self.world().violations.clone();
        assert!(violations.is_empty(), "{violations:?}");
        self.last = Some((plan, outcomes));
        &self.last.as_ref().unwrap().0
    }

    /// Servers that are neither builders nor central managers.
    fn execute_servers(&self) -> u64 {
        // A neighbour makes as many as it likes.
        let signed = |server: &&SimulatedServer| server.metadata.contains_key("ehos_proof");
        let role = |server: &&SimulatedServer| {
            let role = server.metadata.get("ehos_role");
            role.is_none_or(|role| role == "execute")
        };
        self.world()
            .servers
            .values()
            .filter(role)
            .filter(signed)
            .count() as u64
    }

    fn only_ours(&self) -> bool {
        self.world()
            .servers
            .values()
            .all(|server| server.metadata.get("ehos_cluster") == Some(&self.policy.cluster))
    }

    pub fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// Ticks until `done`, at most `most` times; how many it took.
    pub fn until(&mut self, most: usize, what: &str, done: impl Fn(&World) -> bool) -> usize {
        for count in 0..most {
            if done(&self.world()) {
                return count;
            }
            self.tick();
        }
        panic!("not within {most} ticks: {what}\n{}", self.describe());
    }

    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        locked(&self.world)
    }

    pub fn servers(&self) -> usize {
        self.world().servers.len()
    }

    pub fn plan(&self) -> &Plan {
        &self.last.as_ref().unwrap().0
    }

    pub fn created(&self) -> usize {
        self.plan().count(NodeDecision::Create)
    }

    pub fn names(&self) -> Vec<String> {
        self.world().servers.keys().cloned().collect()
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        if let Some((plan, outcomes)) = &self.last {
            for node in &plan.nodes {
                text += &format!(
                    "  {} {} {:?}: {}\n",
                    node.node, node.phase, node.decision, node.why
                );
            }
            for line in &plan.builders {
                text += &format!(
                    "  {} builder {:?}: {}\n",
                    line.node, line.decision, line.why
                );
            }
            for group in &plan.groups {
                let why: Vec<String> = group.why.iter().map(ToString::to_string).collect();
                text += &format!("  {} x {}: {}\n", group.jobs, group.request, why.join("; "));
            }
            for brake in &plan.brakes {
                text += &format!("  brake: {brake}\n");
            }
            for outcome in outcomes {
                text += &format!(
                    "  {} {}: {:?}\n",
                    outcome.action.verb(),
                    outcome.action.node(),
                    outcome.result
                );
            }
        }
        text
    }
}

pub fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// Submits jobs and waits until all run.
pub fn running(site: &mut Site, jobs: u64, runs: u64) {
    site.submit(jobs, 1, 1024, runs);
    site.until(12, "all run", |world| {
        world
            .jobs
            .iter()
            .all(|job| matches!(job.state, JobState::Running { .. }))
    });
}
