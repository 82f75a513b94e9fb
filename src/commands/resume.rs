//! `ehos resume [CLOUD…]`: ends pauses, backoff and protected mode.

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use super::high_availability::{note, note_line};
use super::pause::now;
use super::state_change::StateChange;
use crate::cli::{Output, Resume};
use scaling::failure_tracking::Resumed;
use scaling::maintenance::PauseEntry;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::line;

/// The failures that were reset in one cloud.
#[derive(Serialize)]
struct CloudOut<'a> {
    cloud: &'a str,
    resumed: Vec<Resumed>,
    /// The number of forgotten servers of a removed cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<usize>,
    /// The pause of an operator that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<PauseEntry>,
}

#[derive(Serialize)]
struct Out<'a> {
    version: u32,
    exit: u8,
    clouds: &'a [CloudOut<'a>],
    /// The pause of all clouds that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<&'a PauseEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// Ends the pause of all clouds if no cloud is named, else resets the failures of the clouds and ends their pauses; writes
/// both to `out`.
///
/// # Errors
/// The configuration, an unknown cloud, the state directory, or a tick that does not end.
pub fn run(args: &Resume, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let mut change = StateChange::begin(&args.common, &config, environment)?;
    let now = now(&config, &change.state);
    let state = &mut change.state;
    let removed = state.removed(|name| config.clouds.iter().any(|cloud| cloud.name == name));
    let others = args.clouds.iter();
    let others =
        others.filter(|name| !removed.contains(*name) && !state.paused_clouds.contains_key(*name));
    let others: Vec<String> = others.cloned().collect();
    if !others.is_empty() {
        // The error of an unknown name lists the known names.
        super::known_clouds(&config, &others)?;
    }
    let clouds: Vec<CloudOut<'_>> = args
        .clouds
        .iter()
        .map(|cloud| CloudOut {
            cloud,
            resumed: state.resume(cloud),
            forgotten: removed.contains(cloud).then(|| state.forget_removed(cloud)),
            pause: state.end_pause(Some(cloud), now),
        })
        .collect();
    let pause = match args.clouds.is_empty() {
        true => state.end_pause(None, now),
        false => None,
    };
    let left: Vec<PauseEntry> = state.active_pauses(now).collect();
    change.save()?;
    let note = note(&config);
    let printed = match args.output {
        Output::Text => text(&clouds, pause.as_ref(), &left) + &note_line(note),
        // In the order of its fields, as ever.
        Output::Json => json::pretty(&Out {
            version: 1,
            exit: Exit::Done as u8,
            clouds: &clouds,
            pause: pause.as_ref(),
            note,
        })?,
    };
    out.write_all(printed.as_bytes())
        .context("the result cannot be printed")?;
    Ok(Exit::Done)
}

fn text(clouds: &[CloudOut<'_>], pause: Option<&PauseEntry>, left: &[PauseEntry]) -> String {
    let mut text = String::new();
    match pause {
        Some(pause) => text += &line!("pause ended: {}", pause.words()),
        None if clouds.is_empty() => text += &line!("no pause of all clouds"),
        None => {}
    }
    for CloudOut {
        cloud,
        resumed,
        forgotten,
        pause,
    } in clouds
    {
        if let Some(pause) = pause {
            text += &line!("cloud {cloud}: pause ended: {}", pause.words());
        }
        if let Some(servers) = forgotten {
            text += &line!(
                "cloud {cloud}: not in the configuration: {servers} of its servers forgotten; delete by hand those that still \
                 run"
            );
        } else if resumed.is_empty() && pause.is_none() {
            text += &line!("cloud {cloud}: no failures, backoff or protected mode");
        }
        for what in resumed {
            let Resumed {
                flavor,
                image,
                failures,
                protected,
                last_failure,
            } = what;
            let mode = if *protected {
                "protected mode ended"
            } else {
                "backoff ended"
            };
            text += &match (flavor, image) {
                (Some(flavor), Some(image)) => line!(
                    "cloud {cloud}: {flavor} from image {image}: {mode}, {failures} failures reset, the last: {last_failure}"
                ),
                _ => line!("cloud {cloud}: pause ended, after: {last_failure}"),
            };
        }
    }
    for pause in left {
        text += &line!("still paused: {pause}");
    }
    text
}
