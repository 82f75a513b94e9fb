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
mod events;
mod explain;
mod faults;
mod first;
mod first_site;
mod high_availability;
mod hostile_jobs;
mod hostile_nodes;
mod hostile_users;
mod image;
mod machines;
mod matches;
mod monitoring;
mod negotiation;
mod odd_jobs;
mod openstack;
mod package;
mod parallel_deletes;
mod setup;
mod simulate;
mod status;
mod story;
mod templates;
mod tokens;
mod two_clouds;
mod walked;
mod watched;

use testkit::{crashes, webdriver};
