//! `ehos delete NODE`: the explicit command of design rule 2. Names the jobs that end, asks, and requests the delete.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Mutex;

use anyhow::bail;
use scaling::sorting::IntoSet;
use serde_json::json;

use super::high_availability::{delete_note, refuse_standby, with_note};
use super::nodes::{NodeOut, named, report};
use super::pause::now;
use super::state_change::{StateChange, user};
use super::{print, refuse_other_pool, state_directory};
use crate::cli::{Delete, Output};
use condor::CondorPool;
use config::Config;
use scaling::maintenance::DeleteRequest;
use scaling::state::State;
use system::ask;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::plain::Lines;
use tick::pool::{JobsThere, Pool};
use tick::state_directory;

/// The most jobs of one owner that are named.
const JOBS_NAMED: usize = 20;

/// Names the jobs on the node, asks, and requests its delete or withdraws the request.
///
/// # Errors
/// The configuration, an unknown node, no consent, the state directory, or a tick that does not end.
pub fn run(args: &Delete, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let text = args.output == Output::Text;
    let looked = match args.cancel {
        true => None,
        false => {
            // Without the lock: ticks do not wait for an answer.
            let directory = state_directory(&args.common, &config, environment)?;
            let state = state_directory::load(&directory, false)?.state;
            refuse_other_pool(&state, &config, &directory)?;
            refuse_standby(&config, &directory)?;
            let node = named(&state, &args.node)?;
            let Some(memory) = state.nodes.get(&node) else {
                bail!("node {}: not in the state", args.node);
            };
            let machines = memory.join.machines().chain([memory.name.as_str()]);
            let machines = machines.map(str::to_owned).into_set();
            let claims = memory.claims.count.unwrap_or_default();
            let jobs = jobs_on(&config, &directory, &machines);
            if text {
                print(
                    out,
                    args.output,
                    || named_jobs(claims, &jobs),
                    || json!(null),
                )?;
            }
            if !args.yes {
                consent(&args.node, text)?;
            }
            Some((node, jobs))
        }
    };
    let mut change = StateChange::begin(&args.common, &config, environment)?;
    let since = now(&config, &change.state);
    let by = user(environment);
    let state: &mut State = &mut change.state;
    // The consent is for the node of the first look: its name may be another node's by now.
    let node = match &looked {
        Some((node, _)) if state.nodes.contains_key(node) => node.clone(),
        Some((node, _)) => bail!("node {node}: gone since the question; nothing changed"),
        None => named(state, &args.node)?,
    };
    let effect = match args.cancel {
        true => state.withdraw(&node, since, |requests| requests.delete = None),
        false => state.request_delete(&node, DeleteRequest { since, by }),
    };
    let nodes: Vec<NodeOut> = effect
        .and_then(|effect| NodeOut::new(state, node, effect))
        .into_iter()
        .collect();
    change.save()?;
    let note = delete_note(&config);
    let sentences = match args.cancel {
        true => ("delete request withdrawn", "no delete was requested"),
        false => (
            "delete requested; the next tick deletes its server",
            "delete requested before",
        ),
    };
    match (args.output, looked) {
        (Output::Json, Some((_, jobs))) => as_json(out, &nodes, jobs, note),
        _ => report(out, args.output, &nodes, true, sentences, note),
    }
}

fn as_json(
    out: &mut dyn Write,
    nodes: &[NodeOut],
    jobs: Result<JobsThere, String>,
    note: Option<&str>,
) -> anyhow::Result<Exit> {
    let refused = nodes.iter().any(NodeOut::is_refused);
    let exit = if refused { Exit::Failed } else { Exit::Done };
    let (jobs, total, unknown) = match jobs {
        Ok(there) => (Some(there.jobs), Some(there.total), None),
        Err(why) => (None, None, Some(why)),
    };
    let value = json!({"version": 1, "exit": exit as u8, "nodes": nodes, "jobs": jobs, "jobs_total": total,
        "jobs_unknown": unknown});
    print(out, Output::Json, String::new, || with_note(value, note))?;
    Ok(exit)
}

/// The running jobs on these machines, or why they are unknown.
pub(super) fn jobs_on(
    config: &Config,
    directory: &std::path::Path,
    machines: &BTreeSet<String>,
) -> Result<JobsThere, String> {
    let deadline = Deadline::within(config.timeouts.command);
    let ask = |pool: &dyn Pool| {
        pool.jobs_on(machines, deadline)
            .map_err(|failure| failure.message)
    };
    if let Some(scenario) = &config.simulation {
        let world =
            simulation::file::load(directory, scenario).map_err(|error| error.to_string())?;
        let world = Mutex::new(world);
        return ask(&*simulation::backends(&world, &config.policy).pool);
    }
    let policy = &config.policy;
    ask(&CondorPool::new(
        &config.condor,
        policy.negotiation_cycle,
        policy.update_interval,
        config.timeouts.command,
    ))
}

/// The jobs that end, by owner.
pub(super) fn named_jobs(claims: u64, jobs: &Result<JobsThere, String>) -> String {
    let mut text = Lines::new();
    let mut say = |what: String| text.line(format_args!("{what}"));
    match jobs {
        Err(why) => say(format!(
            "running jobs: UNKNOWN (claimed slots as of the last tick: {claims}): {why}"
        )),
        Ok(there) if there.total == 0 && claims == 0 => say("running jobs: none".to_owned()),
        Ok(JobsThere { jobs, total }) => {
            say(format!(
                "running jobs that END: {total} (claimed slots as of the last tick: {claims})"
            ));
            if *total > jobs.len() {
                say(format!("  the first {} of them:", jobs.len()));
            }
            let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for job in jobs {
                let owner = job.owner.as_deref().unwrap_or("unknown owner");
                owners.entry(owner).or_default().push(&job.id);
            }
            for (owner, jobs) in owners {
                let named: Vec<&str> = jobs.iter().take(JOBS_NAMED).copied().collect();
                let more = match jobs.len().saturating_sub(JOBS_NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                say(format!("  {owner}: {}{more}", named.join(", ")));
            }
        }
    }
    text.into_string()
}

/// Asks at a terminal.
fn consent(node: &str, text: bool) -> anyhow::Result<()> {
    let answer = match text {
        true => ask::yes(&format!("Delete node {node}?"))?,
        false => None,
    };
    match answer {
        Some(true) => Ok(()),
        Some(false) => bail!("node {node}: the answer is not yes: not deleted"),
        None => {
            bail!("node {node}: not deleted: no terminal to ask at; add --yes to end its jobs")
        }
    }
}
