//! ehos, Elastic HTCondor OpenStack Scaling: makes an HTCondor pool exactly as large as its queue needs.

pub mod act;
pub mod cli;
pub mod cloud;
pub mod cloudinit;
pub mod commands;
pub mod condor;
pub mod config;
pub mod deadline;
pub mod exit;
mod lock;
mod logging;
pub mod observe;
pub mod openstack;
pub mod pool;
pub mod report;
pub mod scaling;
pub mod simulation;
pub mod site;
pub mod state;
pub mod user_data;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use log::error;

use cli::{Cli, Command};
use config::Environment;
use exit::Exit;

/// Runs the command line `args` (the program's name first) and writes what it has to say to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(refusal) => {
            // To the terminal in colour: help to standard output, complaints to standard error.
            let printed = refusal.print();
            let asked_for_help = !refusal.use_stderr();
            return if asked_for_help && printed.is_ok() {
                Exit::Done
            } else {
                Exit::Usage
            };
        }
    };
    let environment = Environment::of_process();
    let journal = environment.variables.get("JOURNAL_STREAM");
    let journal = journal.map(String::as_str);
    let result = match &cli.command {
        Command::Tick(tick) => {
            let levels = logging::is_journal(std::io::stderr(), journal);
            logging::start(tick.common.verbose, levels);
            let levels = logging::is_journal(std::io::stdout(), journal);
            commands::tick::run(tick, &environment, levels, out)
        }
    };
    result.unwrap_or_else(|failure| {
        error!("{failure:#}");
        exit_of(&failure)
    })
}

/// The exit code that an error of a command stands for.
fn exit_of(failure: &anyhow::Error) -> Exit {
    for cause in failure.chain() {
        if cause.is::<config::Error>() || cause.is::<openstack::Error>() {
            return Exit::Configuration;
        }
        match cause.downcast_ref::<state::Error>() {
            Some(state::Error::Newer { .. }) => return Exit::Configuration,
            Some(_) => return Exit::State,
            None => {}
        }
    }
    Exit::Failed
}
