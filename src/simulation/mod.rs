//! A deterministic world that is both clouds and a pool.

/// What happens in a simulated world.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {}
