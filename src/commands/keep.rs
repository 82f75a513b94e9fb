//! `ehos keep`: ehos neither drains nor deletes the nodes.

use std::io::Write;

use super::high_availability::note;
use super::nodes::{NodeOut, named, report};
use super::pause::{now, zone};
use super::state_change::{StateChange, user};
use super::until::until;
use crate::cli::Keep;
use scaling::maintenance;
use system::environment::Environment;
use system::exit::Exit;

/// Keeps or releases the nodes, and writes the effects to `out`.
///
/// # Errors
/// The configuration, an unknown node, a time, the state directory, or a tick that does not end.
pub fn run(args: &Keep, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let mut change = StateChange::begin(&args.common, &config, environment)?;
    let now = now(&config, &change.state);
    let zone = zone(&config);
    let end = args.until.as_deref().map(|text| until(text, now, &zone));
    let keep = maintenance::Keep {
        since: now,
        until: end.transpose()?,
        by: user(environment),
    };
    let state = &mut change.state;
    let mut nodes = Vec::new();
    for name in &args.nodes {
        let node = named(state, name)?;
        let effect = match args.release {
            true => state.withdraw(&node, now, |requests| requests.keep = None),
            false => state.keep(&node, keep.clone()),
        };
        nodes.extend(effect.and_then(|effect| NodeOut::new(state, node, effect)));
    }
    change.save()?;
    let until = keep.until.map_or_else(
        || "`ehos keep --release`".to_owned(),
        |end| format!("{end:.0}"),
    );
    let changed = match args.release {
        true => "released; ehos drains and deletes it as any other node".to_owned(),
        false => format!("kept; ehos neither drains nor deletes it until {until}"),
    };
    let unchanged = match args.release {
        true => "it was not kept".to_owned(),
        false => format!("kept before, until {until}"),
    };
    let sentences = (&*changed, &*unchanged);
    report(out, args.output, &nodes, true, sentences, note(&config))
}
