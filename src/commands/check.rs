//! `ehos check`: finds problems before a server is created. The command changes nothing without `--fix`.

use std::io::Write;

use anyhow::Context;

use crate::check::fix::{self, FixStep, Fixes};
use crate::check::{self, Area, report};
use crate::cli::{Check, Output};
use crate::commands::directory_of_ticks;
use ::report::TextOptions;
use config::Config;
use system::ask;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::plain::line;

/// The findings of one check.
struct Checked {
    areas: Vec<Area>,
    exit: Exit,
    /// The configuration, if it can be used.
    config: Option<Config>,
}

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
    let checked = check(args, environment)?;
    let mut print = |words: &str| {
        let printed = out.write_all(words.as_bytes()).and_then(|()| out.flush());
        printed.context("the report cannot be printed")
    };
    let is_text = args.output == Output::Text;
    if is_text {
        print(&report::text(&checked.areas, text))?;
    }
    let fixes = Fixes::of(&checked.areas);
    let (steps, checked) = if args.fix {
        fix(args, &fixes, checked, environment, text, &mut print)?
    } else {
        if is_text && !fixes.is_empty() {
            print("`ehos check --fix` shows changes that would help\n")?;
        }
        (None, checked)
    };
    if !is_text {
        print(&report::json(
            &checked.areas,
            checked.exit,
            steps.as_deref(),
        )?)?;
    }
    Ok(checked.exit)
}

fn check(args: &Check, environment: &Environment) -> anyhow::Result<Checked> {
    // A pool without an id gets none here: nothing is written.
    let config = match config::ensure_cluster(&args.common.config, environment, true) {
        Ok(config) => config,
        Err(error) => {
            return Ok(Checked {
                areas: vec![check::unusable(&error)],
                exit: Exit::Configuration,
                config: None,
            });
        }
    };
    let clouds = config.chosen(&args.clouds.names)?;
    let deadline = Deadline::within(config.timeouts.tick);
    let directory = directory_of_ticks(&args.common, &config, environment)?;
    let areas = check::run(&config, &clouds, environment, &directory, deadline);
    Ok(Checked {
        exit: report::exit(&areas),
        areas,
        config: Some(config),
    })
}

/// Shows the changes, makes them after a yes, and checks again. Returns the steps and the newest check.
fn fix(
    args: &Check,
    fixes: &Fixes,
    checked: Checked,
    environment: &Environment,
    options: TextOptions,
    print: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<(Option<Vec<FixStep>>, Checked)> {
    let is_text = args.output == Output::Text;
    let Some(config) = checked.config.as_ref().filter(|_| !fixes.is_empty()) else {
        if is_text {
            print("--fix: no change that ehos can make would help\n")?;
        }
        return Ok((Some(Vec::new()), checked));
    };
    let planned = fixes.perform(config, environment, true);
    if is_text {
        print(&fix::text(&planned))?;
    }
    let possible = planned.iter().any(FixStep::is_planned);
    let agreed = match args.yes {
        _ if !possible => false,
        true => true,
        // A program that reads JSON answers no question.
        false if !is_text => false,
        false => ask::yes("Make these changes?")?.unwrap_or(false),
    };
    if !agreed {
        if is_text {
            let why = if possible { "; add --yes" } else { "" };
            print(&line!("--fix: nothing changed{why}"))?;
        }
        return Ok((Some(planned), checked));
    }
    // The marks of created objects hold the pool id, so it must last.
    let dry_run = !fixes.is_any_in_a_cloud();
    let config = config::ensure_cluster(&args.common.config, environment, dry_run)?;
    let done = fixes.perform(&config, environment, false);
    let again = check(args, environment)?;
    if is_text {
        print(&fix::text(&done))?;
        print(&report::text(&again.areas, options))?;
    }
    Ok((Some(done), again))
}
