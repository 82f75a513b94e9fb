//! How long it takes to plan, to read what HTCondor and Nova answer, and to tell it. `cargo bench`; benches/README.md says more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod condor;
mod instructions;
mod nova;
mod plan;
mod replay_month;
mod scene;
mod seen;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--once"), Some(case)) => assert!(instructions::run(&case), "no operation {case}"),
        _ => divan::main(),
    }
}
