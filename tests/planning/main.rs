//! The planner alone: small sites as one tick sees them, and what is made for them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod choices;
mod oracle;
mod properties;
mod size;
mod small;
mod startable;
mod straggler_overhead;
mod submitters;
