//! A deterministic world that is both clouds and a pool: the demo, the tests' histories, and what-if questions.

#[cfg(feature = "engine")]
pub mod engine;
pub mod file;
mod scenario;
mod sides;
mod world;

pub use scenario::{IMAGE, Scenario, ScenarioCloud, ScenarioFlavor, ScenarioJobs};
pub use sides::{SimulatedCloud, SimulatedPool, backends, keys, locked};
pub use world::{
    Broken, JobState, Seconds, SimulatedAd, SimulatedJob, SimulatedServer, SimulatedStartd,
    SimulatedThing, World, machine,
};
