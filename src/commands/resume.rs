//! `ehos resume CLOUD`: ends backoff and protected mode of a cloud.

use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use log::warn;
use serde::Serialize;

use crate::cli::{Output, Resume};
use crate::commands::state_directory;
use scaling::failure_tracking::Resumed;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::lock::{self, Lock, try_lock};
use system::plain::line;
use tick::state_directory;

/// The pause between attempts to take the lock.
const POLL: Duration = Duration::from_millis(100);

/// The failures that were reset in one cloud.
#[derive(Serialize)]
struct CloudOut<'a> {
    cloud: &'a str,
    resumed: Vec<Resumed>,
    /// The number of forgotten servers of a removed cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<usize>,
}

#[derive(Serialize)]
struct Out<'a> {
    version: u32,
    exit: u8,
    clouds: &'a [CloudOut<'a>],
}

/// Resets the failures of the clouds, and writes them to `out`.
///
/// # Errors
/// The configuration, an unknown cloud, the state directory, or a tick that does not end.
pub fn run(args: &Resume, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let directory = state_directory(&args.common, &config, environment)?;
    state_directory::prepare(&directory)?;
    let _lock = lock_after_tick(&directory, config.timeouts.tick)?;
    let loaded = state_directory::load(&directory, true)?;
    if let Some(notice) = loaded.notice {
        warn!("{notice}");
    }
    let mut state = loaded.state;
    let removed = state.removed(|name| config.clouds.iter().any(|cloud| cloud.name == name));
    let others: Vec<String> = args
        .clouds
        .iter()
        .filter(|name| !removed.contains(*name))
        .cloned()
        .collect();
    if !others.is_empty() {
        // The error of an unknown name lists the known names.
        config.chosen(&others)?;
    }
    let clouds: Vec<CloudOut<'_>> = args
        .clouds
        .iter()
        .map(|cloud| CloudOut {
            cloud,
            resumed: state.resume(cloud),
            forgotten: removed.contains(cloud).then(|| state.forget_removed(cloud)),
        })
        .collect();
    let changed = |cloud: &CloudOut<'_>| !cloud.resumed.is_empty() || cloud.forgotten.is_some();
    if clouds.iter().any(changed) {
        state_directory::save(&directory, &state)?;
    }
    let printed = match args.output {
        Output::Text => text(&clouds),
        Output::Json => {
            serde_json::to_string_pretty(&Out {
                version: 1,
                exit: Exit::Done as u8,
                clouds: &clouds,
            })? + "\n"
        }
    };
    out.write_all(printed.as_bytes())
        .context("the result cannot be printed")?;
    Ok(Exit::Done)
}

/// Takes the lock of the ticks: a running tick would overwrite the change.
fn lock_after_tick(directory: &Path, longest_tick: Duration) -> anyhow::Result<Lock> {
    let deadline = Deadline::within(longest_tick + Duration::from_secs(5));
    loop {
        let lock = try_lock(directory, lock::TICK)
            .map_err(|error| state_directory::unlockable(directory, lock::TICK, error))?;
        match lock {
            Some(lock) => return Ok(lock),
            None if deadline.passed() => bail!(
                "state directory {}: a tick has held the lock for longer than daemon.tick_timeout {} s; check \
                 `systemctl status ehos.service`, then try again",
                directory.display(),
                longest_tick.as_secs()
            ),
            None => thread::sleep(POLL),
        }
    }
}

fn text(clouds: &[CloudOut<'_>]) -> String {
    let mut text = String::new();
    for CloudOut {
        cloud,
        resumed,
        forgotten,
    } in clouds
    {
        if let Some(servers) = forgotten {
            text += &line!(
                "cloud {cloud}: not in the configuration: {servers} of its servers forgotten; delete by hand those that still \
                 run"
            );
        } else if resumed.is_empty() {
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
    text
}
