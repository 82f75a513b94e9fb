//! Histories of a simulated site: ehos looks, plans and acts on it, tick by tick, while things happen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod attacker;
mod builders;
mod corpus;
mod deleted_ads;
mod economy;
mod high_availability;
mod hostile_nodes;
mod hostile_users;
mod internal_errors;
mod interrupted;
mod last_looks;
mod leftovers;
mod maintenance;
mod masters;
mod needs;
mod neighbour;
mod node_ends;
mod obscure;
mod pace;
mod placing;
mod random;
mod reasons;
mod refusals;
mod refusing_pool;
mod retiring;
mod rotation;
mod site;
mod story;
mod suspicions;
mod tested_images;
mod tokens;
mod totals;
mod traps;
mod young_collectors;
