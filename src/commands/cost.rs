//! `ehos cost`: the cost of nodes, shared out over the jobs that ran on them.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::civil::Date;
use jiff::{Timestamp, Unit};

use super::status::width;
use crate::cli::{Cost, CostBy, CostOutput};
use crate::commands::state_directory_of_reader;
use condor::Tools;
use condor::ran::{self, Notes, RanJob};
use config::Config;
use report::cost::{By, Job, NodeTime, NodeTimes, Options, Period, Shares, Summary, TickOfNodes};
use report::{TickReport, history, status};
use simulation::{SimulatedJob, World};
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::json;

/// A history of months is read in minutes.
const HISTORY_LIMIT: Duration = Duration::from_secs(600);

/// The end of a record in which nothing happened to a node.
const QUIET: &str = "\"events\":[],\"actions\":[]}";

/// Prints who pays how much.
///
/// # Errors
/// The configuration, the history, or a period that cannot be.
pub fn run(args: &Cost, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let directory = state_directory_of_reader(&args.common, environment)?;
    let folder = history::folder(&directory);
    let last = status::last(&folder)?;
    let period = period(args, &config, &last)?;
    let mut unknown = Vec::new();
    let nodes = nodes(&folder, &last, &period, &mut unknown)?;
    let mut exit = Exit::Done;
    let world = config.simulation.as_ref();
    let world = world.and_then(|_| simulation::file::read(&directory));
    let schedds = if config.simulation.is_some() {
        if world.is_none() {
            unknown.push("jobs are unknown: the simulated site cannot be read".to_owned());
        }
        Vec::new()
    } else {
        schedds(&config, &period, &mut unknown, &mut exit)
    };
    // A schedd that does not answer may have run jobs on any node.
    let mut is_whole = config.simulation.is_some() == world.is_some() && exit == Exit::Done;
    let known_since = schedds.iter().filter_map(|(_, since)| *since).max();
    let known_since = known_since.map_or(i64::MIN, |since| since.saturating_mul(1000));
    let policy = &config.policy;
    let billing = |cloud: &str| policy.cloud(cloud)?.billing_period;
    let mut shares = Shares::new(&nodes, &period, known_since, billing);
    let mut notes = Notes::new();
    let tools = tools(&config);
    let deadline = Deadline::within(HISTORY_LIMIT);
    if let Some(world) = &world {
        let jobs = world.jobs.iter().map(|job| simulated(world, job));
        jobs.for_each(|job| shares.add(&job));
    }
    for (schedd, _) in &schedds {
        let add = |job: RanJob| shares.add(&shared(job));
        let schedd = schedd.as_deref();
        let from = period.from / 1000;
        if let Err(error) = ran::ran_jobs(&tools, schedd, from, deadline, &mut notes, add) {
            is_whole = false;
            unknown.push(format!("jobs are unknown: {error}"));
            exit = Exit::Unavailable;
        }
    }
    if !is_whole {
        shares.forget_unused();
    }
    let time_zone = policy.time_zone.clone();
    let options = Options {
        by: by(args.by),
        apart: args.apart,
        time_zone: time_zone.clone(),
        unknown,
        notes,
    };
    let summary = Summary::new(&shares, &period, options);
    let text = match args.output {
        CostOutput::Table => summary.text(width(environment), &time_zone),
        CostOutput::Csv => summary.csv(),
        CostOutput::Json => json::pretty(&summary)?,
    };
    out.write_all(text.as_bytes())
        .context("the costs cannot be printed")?;
    Ok(exit)
}

fn tools(config: &Config) -> Tools {
    let tools = Tools::new(config.condor.bin.clone(), HISTORY_LIMIT);
    tools.of_pool(config.condor.pool.as_deref())
}

/// The schedds that answer, each with the time before which its jobs are not known.
fn schedds(
    config: &Config,
    period: &Period,
    unknown: &mut Vec<String>,
    exit: &mut Exit,
) -> Vec<(Option<String>, Option<i64>)> {
    let names: Vec<Option<String>> = match config.condor.schedds.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let tools = tools(config);
    let deadline = Deadline::within(HISTORY_LIMIT);
    let mut answering = Vec::new();
    for name in names {
        match ran::known_since(&tools, name.as_deref(), period.from / 1000, deadline) {
            Ok(since) => {
                unknown.extend(since.map(|since| before(name.as_deref(), since, config)));
                answering.push((name, since));
            }
            Err(error) => {
                unknown.push(format!("jobs are unknown: {error}"));
                *exit = Exit::Unavailable;
            }
        }
    }
    answering
}

fn before(schedd: Option<&str>, since: i64, config: &Config) -> String {
    let at = Timestamp::from_second(since).unwrap_or_default();
    let at = at.to_zoned(config.policy.time_zone.clone());
    let cause = match schedd {
        Some(name) => format!(
            "condor_history of schedd {name} reaches back no further; raise HISTORY_HELPER_MAX_HISTORY or \
             MAX_HISTORY_ROTATIONS there"
        ),
        None => "condor_history reaches back no further; raise MAX_HISTORY_ROTATIONS".to_owned(),
    };
    let at = at.strftime("%Y-%m-%d %H:%M %Z");
    format!("jobs that ended before {at} are unknown: {cause}")
}

/// The period of the command line, at most until the last tick.
fn period(args: &Cost, config: &Config, last: &TickReport) -> anyhow::Result<Period> {
    let zone = &config.policy.time_zone;
    let today = last.at.to_zoned(zone.clone()).date();
    if let Some(month) = args.month {
        return Ok(Period::month(month, zone, last.at));
    }
    let Some(from) = args.from else {
        return Ok(Period::month(today, zone, last.at));
    };
    let to = args.to.unwrap_or(today);
    let days = from.until((Unit::Day, to)).map(|span| span.get_days());
    match days {
        Ok(days @ 0..=3660) if days >= 0 => Ok(Period::new(from, to, zone, last.at)),
        _ => bail!(
            "--from {from} --to {to}: no period of at most ten years; give the earlier day as --from"
        ),
    }
}

/// The times of nodes, from the history.
fn nodes(
    folder: &Path,
    last: &TickReport,
    period: &Period,
    unknown: &mut Vec<String>,
) -> anyhow::Result<Vec<NodeTime>> {
    let mut times = NodeTimes::within(period, last);
    let mut damaged = 0_u64;
    let days =
        history::days(folder).map_err(|error| status::Error::of_file(folder, folder, error))?;
    for day in days {
        let take = |line: String| {
            if times.first().is_some() && line.ends_with(QUIET) {
                return;
            }
            match history::parse::<TickOfNodes>(&line) {
                Some(record) if record.at != Timestamp::UNIX_EPOCH => times.add(&record),
                _ => damaged += u64::from(!line.is_empty()),
            }
        };
        if let Err(error) = day.each_line(take) {
            let day = day.unread(&error);
            unknown.push(format!("nodes of {} are unknown: {}", day.file, day.why));
        }
    }
    if damaged > 0 {
        unknown.push(format!("damaged lines of the history, left out: {damaged}"));
    }
    let first = times.first().unwrap_or(last.at);
    if first.as_millisecond() > period.from {
        let first = first.strftime("%Y-%m-%d %H:%M UTC");
        unknown.push(format!(
            "nodes before {first} are unknown: the history begins then"
        ));
    }
    Ok(times.build(last))
}

fn shared(job: RanJob) -> Job {
    let milliseconds = |seconds: i64| seconds.saturating_mul(1000);
    Job {
        owner: job.owner,
        group: job.group,
        cpus: job.cpus,
        memory_mb: job.memory_mb,
        host: job.host,
        queued: job.queued.map(milliseconds),
        run: job
            .run
            .map(|(from, to)| (milliseconds(from), milliseconds(to))),
        earlier_ms: job.earlier.saturating_mul(1000),
    }
}

fn simulated(world: &World, job: &SimulatedJob) -> Job {
    let time = |at: u64| world.unix_time(at).saturating_mul(1000);
    let host = job.last_run.as_ref();
    Job {
        owner: job.owner.clone(),
        group: None,
        cpus: job.request.cpus,
        memory_mb: job.request.memory_mb,
        host: host.map(|(machine, _)| machine.to_lowercase()),
        queued: Some(time(job.submitted)),
        run: job.run(world.now).map(|(from, to)| (time(from), time(to))),
        earlier_ms: job.lost_seconds.saturating_mul(1000),
    }
}

fn by(by: CostBy) -> By {
    match by {
        CostBy::Owner => By::Owner,
        CostBy::AccountingGroup => By::Group,
        CostBy::Cloud => By::Cloud,
        CostBy::Flavor => By::Flavor,
        CostBy::Day => By::Day,
        CostBy::Node => By::Node,
    }
}

/// A month of the command line: `2026-11`.
pub fn month(text: &str) -> Result<Date, String> {
    let day = |text: &str| format!("{text}-01").parse::<Date>().ok();
    day(text)
        .filter(|_| text.len() == 7)
        .ok_or_else(|| "write it as 2026-11".to_owned())
}

/// A day of the command line: `2026-11-05`.
pub fn date(text: &str) -> Result<Date, String> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == 10);
    day.ok_or_else(|| "write it as 2026-11-05".to_owned())
}
