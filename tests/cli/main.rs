//! The `ehos` command as an operator meets it: the real program as a child, against a simulated world, and against
//! tools of HTCondor and a cloud that play recorded answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use testkit::{crashes, double};

mod floating_ips;
mod frontend;
mod harness;

mod builders;
mod check;
mod check_fix;
mod clock;
mod cloud_setup;
mod clouds;
mod config_check;
mod config_init;
mod config_render;
mod config_show;
mod configuration;
mod crash;
mod deadline;
mod disk;
mod documents;
mod dry_run;
mod economy;
mod events;
mod explain;
mod file_calls;
mod golden;
mod history;
mod image;
mod interruption;
mod jobs;
mod json;
mod lock;
mod maintenance;
mod master;
mod matches;
mod metrics;
mod notify;
mod plain;
mod pool;
mod proxies;
mod resume;
mod retiring;
mod rights;
mod secrets;
mod simulate;
mod simulate_output;
mod state_directory;
mod status;
mod upgrade;
mod usage;
mod user_data;
