//! Servers that ehos boots once and looks after until they are of use: golden images and the central manager.
//!
//! Owns: one boot loop ([`boot`]) with an ending for each kind of server.
//! Must not: read the command line or the state of ticks.

mod boot;
mod console;
pub mod image;
pub mod local_keys;
pub mod master;
pub mod prerequisites;
pub mod retire;
pub mod setup;
mod ssh;
