//! A pass of ehos: what it asks (observe), what it does (act, after a recheck), and what it keeps (the state directory).
//!
//! HTCondor and OpenStack stand behind two traits, [`pool::Pool`] and [`cloud::Cloud`]; a simulated world can take their
//! place. Must not: know of either, or of the configuration.

pub mod act;
pub mod backends;
pub mod cloud;
pub mod observe;
pub mod pool;
pub mod recheck;
pub mod signing_key;
pub mod state_directory;
