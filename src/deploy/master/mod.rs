//! The central manager: its server is made, watched until it has booted, and gets ehos over SSH.
//!
//! `step.rs` decides, without I/O; `deploy.rs` looks, asks it, and does what it says, until all is done.

pub mod conffile;
pub mod deploy;
pub mod install;
pub mod order;
pub mod step;
