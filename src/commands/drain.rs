//! `ehos drain`: nodes get no new demand, and are deleted once they are idle.

use std::io::Write;

use super::high_availability::note;
use super::nodes::{NodeOut, chosen, report};
use super::pause::now;
use super::state_change::{StateChange, user};
use crate::cli::Drain;
use scaling::maintenance::DrainRequest;
use system::environment::Environment;
use system::exit::Exit;

/// Requests or withdraws the drains, and writes the effects to `out`.
///
/// # Errors
/// The configuration, an unknown node, the state directory, or a tick that does not end.
pub fn run(args: &Drain, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let mut change = StateChange::begin(&args.common, &config, environment)?;
    let since = now(&config, &change.state);
    let by = user(environment);
    let state = &mut change.state;
    let nodes = chosen(state, &args.choice)?;
    let effect = |node| {
        let effect = match args.cancel {
            true => state.withdraw(&node, since, |requests| requests.drain = None),
            false => {
                let request = DrainRequest {
                    since,
                    by: by.clone(),
                    replace: args.replace,
                };
                state.request_drain(&node, request)
            }
        };
        NodeOut::new(state, node, effect?)
    };
    let nodes: Vec<NodeOut> = nodes.into_iter().filter_map(effect).collect();
    change.save()?;
    let sentences = match (args.cancel, args.replace) {
        (true, _) => ("drain request withdrawn", "no drain was requested"),
        (false, true) => (
            "drain requested; ehos replaces the node and deletes it once it is idle",
            "drain requested before",
        ),
        (false, false) => (
            "drain requested; ehos deletes the node once it is idle",
            "drain requested before",
        ),
    };
    let all_must = !args.choice.nodes.is_empty();
    report(out, args.output, &nodes, all_must, sentences, note(&config))
}
