//! `ehos retire`: takes the whole pool away, step by step and again and again until nothing is left.

mod by_hand;
mod looking;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use log::warn;
use scaling::sorting::IntoSet;

use self::looking::Looked;
use super::delete::{jobs_on, named_jobs};
use super::high_availability::{refuse_standby, retire_note};
use super::pause::now;
use super::state_change::{StateChange, user};
use super::{refuse_other_pool, state_directory, system_directory};
use crate::cli::{Output, Retire};
use config::Config;
use deploy::retire::Item;
use deploy::retire::report::{ByHand, Report};
use scaling::maintenance::{DeleteRequest, OperatorPause};
use scaling::observation::NodeId;
use scaling::state::State;
use system::ask;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::line;
use tick::state_directory;

/// With a last tick not longer ago than this, this machine runs the ticks.
const TICKING: SignedDuration = SignedDuration::from_hours(1);

/// Takes away what can go now, and writes it to `out`.
///
/// # Errors
/// The configuration, no consent, the state directory, ticks that run elsewhere, or a tick that does not end.
pub fn run(args: &Retire, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = looking::configuration(&args.common, environment)?;
    let directory = state_directory(&args.common, &config, environment)?;
    if !args.dry_run {
        // Root is told before it is asked that the ticks are another user's.
        state_directory::prepare(&directory)?;
    }
    let state = state_directory::load(&directory, false)?.state;
    refuse_other_pool(&state, &config, &directory)?;
    let is_text = args.output == Output::Text;
    let mut print = |text: &str| {
        let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        printed.context("the report cannot be printed")
    };
    let looked = looking::look(&config, &directory, &state, environment)?;
    ticks_are_here(&config, &state, &looked)?;
    if !args.dry_run {
        refuse_standby(&config, &directory)?;
    }
    let planned = report(&config, args.dry_run, &looked, looked.planned());
    if is_text {
        print(&head(args, &config, &directory, &state))?;
        // The result lists the same again.
        if args.dry_run || !args.yes {
            print(&planned.list())?;
        }
    }
    let report = if args.dry_run {
        planned
    } else {
        if looked.has_work() || state.retirement().is_none() {
            consent(args, &config, is_text)?;
        }
        let state = request(args, &config, environment)?;
        // The answers from before the request are old: a tick may have created a node since.
        let looked = looking::look(&config, &directory, &state, environment)?;
        let mut report = report(&config, false, &looked, looked.remove(&config));
        report.retiring_since = state.retirement().map(|pause| pause.since);
        if !looked.is_waiting() {
            report.by_hand = by_hand(&config, &directory, &looked, environment);
        }
        report.note = retire_note(&config);
        if is_text {
            print(&report.list())?;
        }
        report
    };
    match args.output {
        Output::Text => print(&report.end())?,
        Output::Json => print(&json::pretty(&report)?)?,
    }
    Ok(report.exit())
}

fn report(config: &Config, dry_run: bool, looked: &Looked<'_>, items: Vec<Item>) -> Report {
    Report::new(&config.policy.cluster, dry_run, items, looked.unknown())
}

/// The head of the list, and with `--now` the jobs that end.
fn head(args: &Retire, config: &Config, directory: &Path, state: &State) -> String {
    let cluster = &config.policy.cluster;
    let mut text = line!("pool {cluster}: `ehos retire` takes these away, in this order");
    if args.now {
        let nodes = state.nodes.values();
        let machines: BTreeSet<String> = nodes
            .clone()
            .flat_map(|node| node.join.machines().chain([node.name.as_str()]))
            .map(str::to_owned)
            .into_set();
        let claims = nodes.filter_map(|node| node.claims.count).sum();
        text += &named_jobs(claims, &jobs_on(config, directory, &machines));
    }
    text
}

/// Ticks of another machine would create nodes while this command deletes their image.
fn ticks_are_here(config: &Config, state: &State, looked: &Looked<'_>) -> anyhow::Result<()> {
    let last = state.last_tick.filter(|_| config.simulation.is_none());
    let ticks = last.is_some_and(|last| Timestamp::now().duration_since(last) < TICKING);
    match looked.ready_master() {
        Some(master) if !ticks => bail!(
            "ticks run on the central manager {master}, not here; run `ehos retire` there first, or delete that server"
        ),
        _ => Ok(()),
    }
}

fn consent(args: &Retire, config: &Config, is_text: bool) -> anyhow::Result<()> {
    if args.yes {
        return Ok(());
    }
    let cluster = &config.policy.cluster;
    let question = format!("Type the pool id ({cluster}) to take the whole pool away:");
    let answer = if is_text { ask::line(&question)? } else { None };
    match answer {
        Some(answer) if answer == *cluster => Ok(()),
        Some(_) => bail!("the answer is not {cluster}: nothing changed"),
        None => bail!("no terminal to ask at: nothing changed; add --yes"),
    }
}

/// Saves the request: from then on ticks create nothing and drain everything.
fn request(args: &Retire, config: &Config, environment: &Environment) -> anyhow::Result<State> {
    let mut change = StateChange::begin(&args.common, config, environment)?;
    let since = now(config, &change.state);
    let by = user(environment);
    let state = &mut change.state;
    if state.retirement().is_none() {
        let pause = OperatorPause {
            since,
            until: None,
            deletes: false,
            reason: None,
            by: by.clone(),
            retiring: true,
        };
        state.pause(None, pause);
    }
    for entry in state.active_pauses(since).filter(|it| it.pause.deletes) {
        warn!("nodes stay: {entry}");
    }
    if args.now {
        let nodes: Vec<NodeId> = state.nodes.keys().cloned().collect();
        for node in nodes {
            let by = by.clone();
            state.request_delete(&node, DeleteRequest { since, by });
        }
    }
    change.save()?;
    Ok(change.state)
}

/// What ehos leaves to people.
fn by_hand(
    config: &Config,
    directory: &Path,
    looked: &Looked<'_>,
    environment: &Environment,
) -> Vec<ByHand> {
    let only = |what: String| ByHand {
        what,
        command: None,
    };
    let mut all = Vec::new();
    if looked.has_master() {
        all.push(only(
            "the central manager, and DNS records of its address".to_owned(),
        ));
    }
    all.extend(by_hand::of_host(directory, &system_directory(environment)));
    if let Some(folder) = config.folder() {
        all.push(only(format!(
            "configuration with secrets in {}",
            folder.display()
        )));
    }
    all
}
