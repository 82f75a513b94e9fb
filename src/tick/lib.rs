//! One pass of a tick: observe, act after a recheck, and keep the state directory.
//!
//! HTCondor and OpenStack stand behind two traits, [`pool::Pool`] and [`cloud::Cloud`]; a simulated world can replace both.
//! Must not: depend on either, or on the configuration.

pub mod act;
pub mod backends;
pub mod cloud;
mod in_flight;
pub mod internal_errors;
pub mod observe;
pub mod pool;
pub mod recheck;
pub mod signing_key;
pub mod state_directory;
