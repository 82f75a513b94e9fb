//! Replays a workload against a simulated pool and simulated clouds under a rule of scaling: `ehos simulate`.
//!
//! Owns: the workloads and their readers, the simulated site, the rules to compare with, and the figures of a run.
//! Must not: ask any service, or read a clock. The same workload, site, rule and seed give the same figures.

#![forbid(unsafe_code)]

pub mod comparison;
pub mod figures;
pub mod model;
mod random;
pub mod record;
pub mod rule;
pub mod run;
pub mod site;
pub mod workload;

#[cfg(test)]
mod tests;
