//! `ehos check`: finds problems before a server is created. The command changes nothing.

use std::io::Write;

use anyhow::Context;

use crate::check::{self, report};
use crate::cli::{Check, Output};
use crate::commands::directory_of_ticks;
use ::report::TextOptions;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// When a cloud is named that is not there, or the report cannot be printed. What is wrong with anything else is in the
/// report.
pub fn run(
    args: &Check,
    environment: &Environment,
    text: TextOptions,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    // A pool without an id gets none here: nothing is written.
    let (areas, exit) = match config::ensure_cluster(&args.common.config, environment, true) {
        Ok(config) => {
            let clouds = config.chosen(&args.clouds.names)?;
            let deadline = Deadline::within(config.timeouts.tick);
            let directory = directory_of_ticks(&args.common, &config, environment)?;
            let areas = check::run(&config, &clouds, environment, &directory, deadline);
            let exit = report::exit(&areas);
            (areas, exit)
        }
        Err(error) => (vec![check::unusable(&error)], Exit::Configuration),
    };
    let printed = match args.output {
        Output::Text => report::text(&areas, text),
        Output::Json => report::json(&areas, exit)? + "\n",
    };
    out.write_all(printed.as_bytes())
        .context("the report cannot be printed")?;
    Ok(exit)
}
