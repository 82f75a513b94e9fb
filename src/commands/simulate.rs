//! `ehos simulate`: read jobs → build the site → run the configuration, the sweep and other rules → compare → print.

mod boot;
mod cores;
mod names;
mod output;
pub mod page;
mod plot;
mod runs;
mod site;
pub mod table;

use std::io::Write;
use std::path::Path;

use anyhow::anyhow;

use crate::cli::{Simulate, SimulateOutput};
use config::{Config, Variants};
use keys::duration;
use replay::comparison::Comparison;
use replay::model::Model;
use replay::rule::peers::LowerBound;
use replay::workload::{Format, ReadOptions, Workload, read};
use runs::{Change, Peers, Runner, Runs};
use site::Sizes;
use system::environment::Environment;
use system::exit::Exit;
use system::json;

/// The pool id of a configuration that has none.
const CLUSTER: &str = "simulated";

/// The configuration where there is no file: nodes of 1 to 16 cores at one price for each core.
const FALLBACK: &str = include_str!("simulate/site.yaml");

/// Prints what a workload costs, and how long its jobs wait.
///
/// # Errors
/// The configuration ([`config::Error`]), the jobs, flavors of unknown size, and what is wrong with an argument.
pub fn run(
    args: &Simulate,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let changes = changes(&args.set)?;
    let sweep = runs::grid(&args.sweep)?;
    let peers = Peers::parse(&args.against)?;
    let variants = Variants::read(&args.common.config, FALLBACK, environment)?;
    let config = variants.with(&changes, CLUSTER, environment)?;
    let configure = |change: &[Change]| -> anyhow::Result<Config> {
        let all: Vec<Change> = changes.iter().chain(change).cloned().collect();
        Ok(variants.with(&all, CLUSTER, environment)?)
    };
    let sizes = Sizes::new(args, &config, environment)?;
    // A mistake in the last point is told before the first run, not after hours.
    let mut clouds = sizes.clouds(&config)?;
    for point in &sweep {
        for cloud in sizes.clouds(&configure(point)?)? {
            if !clouds.contains(&cloud) {
                clouds.push(cloud);
            }
        }
    }
    let (source, workload) = match args.site {
        true => site::jobs(args, &config)?,
        false => jobs(args)?,
    };
    let model = model(args, &config, environment)?;
    let bound = LowerBound::new(&workload, &clouds);
    let runner = Runner {
        workload: &workload,
        sizes: &sizes,
        model: &model,
        seed: args.seed,
        has_series: args.output != SimulateOutput::Table,
    };
    let Runs { runs, interrupted } = runner.all(&config, &sweep, &configure, &peers)?;
    // Nothing can be compared without the current configuration.
    if let Some(interrupted) = interrupted.filter(|_| !runs.iter().any(|run| run.is_current)) {
        return Err(anyhow!("{interrupted}: there is no result"));
    }
    let mut comparison = Comparison::new(&source, &workload, bound, runs);
    comparison.interrupted = interrupted;
    let text = match args.output {
        SimulateOutput::Table => table::render(&comparison, table::View::new(environment)),
        SimulateOutput::Json => json::pretty(&comparison)?,
        SimulateOutput::Html => page::render(&comparison, &command_line())?,
    };
    output::print(&text, args.output, out, Path::new("."))?;
    Ok(match interrupted {
        Some(_) => Exit::Failed,
        None => Exit::Done,
    })
}

/// The command line of this process, as a shell takes it.
fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| {
        let word = word.to_string_lossy().into_owned();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+@%".contains(c);
        match !word.is_empty() && word.chars().all(is_plain) {
            true => word,
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    });
    let words: Vec<String> = std::iter::once("ehos".to_owned()).chain(words).collect();
    words.join(" ")
}

/// `KEY=VALUE` of the command line.
fn changes(given: &[String]) -> anyhow::Result<Vec<Change>> {
    let split = |text: &String| {
        text.split_once('=')
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .ok_or_else(|| {
                anyhow!(
                    "--set {text}: no `=`; write it as KEY=VALUE, such as daemon.idle_timeout=2m"
                )
            })
    };
    given.iter().map(split).collect()
}

/// The jobs of files and generators, and where they come from.
fn jobs(args: &Simulate) -> anyhow::Result<(String, Workload)> {
    let format = args.format.as_deref().map(str::parse::<Format>);
    let options = ReadOptions {
        format: format.transpose()?,
        split: args.split,
        seed: args.seed,
    };
    let places: Vec<String> = args
        .jobs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Ok((places.join(", "), read(&args.jobs, &options)?))
}

/// How the services of the site behave.
fn model(args: &Simulate, config: &Config, environment: &Environment) -> anyhow::Result<Model> {
    let seconds = |flag: &str, text: &str| -> anyhow::Result<u32> {
        let time = duration(text.trim())
            .map_err(|_| anyhow!("{flag} {text}: not a duration; write it as 90s or 2m"))?;
        Ok(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
    };
    let mut model = Model {
        breadth_first: args.breadth_first,
        boot_failures: args.boot_failures,
        ..Model::default()
    };
    let cycle = |flag: &str, given: &Option<String>, name: &str, otherwise: u32| match given {
        Some(text) => seconds(flag, text),
        None if args.site => Ok(site::negotiator_setting(config, name)?.unwrap_or(otherwise)),
        None => Ok(otherwise),
    };
    let interval = &args.negotiator_interval;
    let interval = cycle(
        "--negotiator-interval",
        interval,
        "NEGOTIATOR_INTERVAL",
        model.negotiation_interval,
    )?;
    let delay = &args.negotiator_cycle_delay;
    let delay = cycle(
        "--negotiator-cycle-delay",
        delay,
        "NEGOTIATOR_CYCLE_DELAY",
        model.negotiation_delay,
    )?;
    model.negotiation_interval = interval.max(1);
    model.negotiation_delay = delay;
    let of_history = args.boot.as_deref() == Some("history");
    match &args.boot {
        Some(range) if !of_history => {
            let (from, to) = range.split_once("..").unwrap_or((range, range));
            let mut times = vec![seconds("--boot", from)?, seconds("--boot", to)?];
            times.sort_unstable();
            model.boot_seconds = times;
        }
        _ if of_history || args.site => match boot::measured(&args.common, config, environment)? {
            Some(measured) => model.boot_seconds = measured,
            None => log::warn!(
                "the history has too few nodes to tell boot times: 60 to 90 s are assumed; say another time with --boot"
            ),
        },
        _ => {}
    }
    Ok(model)
}
