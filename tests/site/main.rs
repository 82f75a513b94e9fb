//! Tests against real services. Each runs only where an environment variable names a testbed (see
//! tests/testbed/README.md), and says otherwise that it was skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod condor;
mod crash;
#[path = "../crashes/mod.rs"]
mod crashes;
mod faults;
mod first;
mod first_site;
mod image;
mod machines;
mod matches;
mod openstack;
mod setup;
mod story;
mod templates;
mod tokens;
mod two_clouds;
mod watched;
#[path = "../browser/webdriver.rs"]
mod webdriver;
