//! `ehos image prune`: deletes old, unused golden images.

use std::io::Write;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use log::warn;
use serde_json::{Value, json};

use crate::cli::{ImagePrune, Output};
use crate::commands::state_directory;
use config::{self, Config};
use deploy::image::inventory::{in_each, look};
use deploy::image::prune::{PruneDecision, Ticks, decisions};
use deploy::master::find::has_ready_master;
use openstack::auth::Session;
use openstack::owned_image::OwnedImage;
use openstack::{Error, image};
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::line;
use tick::state_directory;

/// Where the last tick is not longer ago than this, the timer runs: it ticks every minute.
const TICKING: SignedDuration = SignedDuration::from_hours(1);

/// What became of one image.
struct Pruned {
    image: OwnedImage,
    decision: PruneDecision,
    /// It was deleted, or why not; `None` where it was not tried.
    deleted: Option<Result<(), Error>>,
}

/// Deletes old images of this pool that nothing uses, and writes what it did to `out`.
///
/// # Errors
/// The configuration. What a cloud says is no error: it is in what is written, and the exit code.
pub fn run(
    args: &ImagePrune,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let clouds = config.chosen(&args.clouds.names)?;
    let deadline = Deadline::within(config.timeouts.tick);
    let ticks = if ticks_here(args, &config, environment)? {
        Ticks::Here
    } else {
        ticks_elsewhere(&config, deadline)
    };
    let pruned = in_each(&config, &clouds, deadline, |session, deadline| {
        prune(session, &config, args, ticks, deadline)
    });
    let failed = pruned.iter().any(|(_, pruned)| match pruned {
        Ok(pruned) => pruned
            .iter()
            .any(|pruned| matches!(pruned.deleted, Some(Err(_)))),
        Err(_) => true,
    });
    let exit = if failed { Exit::Failed } else { Exit::Done };
    let printed = match args.output {
        Output::Text => pruned
            .iter()
            .map(|(cloud, pruned)| text(cloud, pruned, args.dry_run))
            .collect(),
        Output::Json => json(&pruned, args.dry_run, exit)?,
    };
    out.write_all(printed.as_bytes())
        .context("the result cannot be printed")?;
    Ok(exit)
}

/// Whether this machine ticks: the configuration here is the one that nodes are made by.
fn ticks_here(
    args: &ImagePrune,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<bool> {
    let directory = state_directory(&args.common, config, environment)?;
    let last = state_directory::load(&directory, false)?.state.last_tick;
    Ok(last.is_some_and(|last| Timestamp::now().duration_since(last) < TICKING))
}

/// Whether ticks run on a central manager, in whichever cloud it is.
fn ticks_elsewhere(config: &Config, deadline: Deadline) -> Ticks {
    let clouds: Vec<_> = config.clouds.iter().collect();
    let found = in_each(config, &clouds, deadline, |session, deadline| {
        has_ready_master(session, &config.policy.cluster, deadline)
    });
    let mut ticks = Ticks::Here;
    for (_, found) in found {
        match found {
            Ok(true) => return Ticks::OnTheMaster,
            Ok(false) => {}
            Err(error) => {
                warn!("{error}");
                ticks = Ticks::Unknown;
            }
        }
    }
    ticks
}

fn prune(
    session: &Session,
    config: &Config,
    args: &ImagePrune,
    ticks: Ticks,
    deadline: Deadline,
) -> Result<Vec<Pruned>, Error> {
    let inventory = look(session, &config.policy.cluster, deadline)?;
    // Those of all clouds: two of them may be the same project.
    let clouds: Vec<_> = config.clouds.iter().collect();
    let now = Timestamp::now();
    let decisions = decisions(
        &inventory.images,
        args.keep,
        (&inventory.in_use, inventory.more_in_use),
        &clouds,
        ticks,
        now,
    );
    let images = inventory.images.into_iter().zip(decisions);
    Ok(images
        .map(|(image, decision)| {
            let deleted = (decision == PruneDecision::Pruned && !args.dry_run)
                .then(|| image::delete(session, &image.image().id, deadline));
            Pruned {
                image,
                decision,
                deleted,
            }
        })
        .collect())
}

/// The reason to keep or delete an image.
fn why(decision: PruneDecision) -> String {
    match decision {
        PruneDecision::Configured => "named by the configuration".to_owned(),
        PruneDecision::InUse(servers) => format!("{servers} server(s) boot from it"),
        PruneDecision::UseUnknown => {
            "a server with an unreadable image may boot from it; see the warning".to_owned()
        }
        PruneDecision::Protected => "protected".to_owned(),
        PruneDecision::Newest => "one of the newest".to_owned(),
        PruneDecision::UnderWay => "not complete yet".to_owned(),
        PruneDecision::Shared => {
            "shared, and servers of other projects may boot from it; make it private".to_owned()
        }
        PruneDecision::OthersConfiguration => {
            "the configuration of the central manager may name it; run this command there"
                .to_owned()
        }
        PruneDecision::OthersUnknown => {
            "a cloud that does not answer may contain a central manager whose configuration names it".to_owned()
        }
        PruneDecision::Pruned => "unused".to_owned(),
    }
}

fn text(cloud: &str, pruned: &Result<Vec<Pruned>, Error>, dry_run: bool) -> String {
    let pruned = match pruned {
        Ok(pruned) => pruned,
        Err(error) => return line!("{cloud}: no image deleted: {error}"),
    };
    if pruned.is_empty() {
        return line!("{cloud}: no images of this pool");
    }
    let line = |Pruned {
                    image,
                    decision,
                    deleted,
                }: &Pruned| {
        let what = match (decision, deleted) {
            (_, Some(Ok(()))) => "deleted",
            (_, Some(Err(_))) => "not deleted",
            (PruneDecision::Pruned, None) if dry_run => "would be deleted",
            _ => "kept",
        };
        let why = match deleted {
            Some(Err(error)) => error.to_string(),
            _ => why(*decision),
        };
        line!(
            "{cloud}: {what}: {} ({}): {why}",
            image.name(),
            image.image().id
        )
    };
    pruned.iter().map(line).collect()
}

fn json(
    pruned: &[(String, Result<Vec<Pruned>, Error>)],
    dry_run: bool,
    exit: Exit,
) -> anyhow::Result<String> {
    let clouds: Vec<Value> = pruned
        .iter()
        .map(|(cloud, pruned)| match pruned {
            Ok(pruned) => {
                let images: Vec<Value> = pruned
                    .iter()
                    .map(
                        |Pruned {
                             image,
                             decision,
                             deleted,
                         }| {
                            json!({
                                "id": image.image().id,
                                "name": image.name(),
                                "result": match deleted {
                                    Some(Ok(())) => "deleted",
                                    Some(Err(_)) => "failed",
                                    None if *decision == PruneDecision::Pruned => "planned",
                                    None => "kept",
                                },
                                "reason": match deleted {
                                    Some(Err(error)) => error.to_string(),
                                    _ => why(*decision),
                                },
                            })
                        },
                    )
                    .collect();
                json!({"cloud": cloud, "images": images})
            }
            Err(error) => json!({"cloud": cloud, "error": error.to_string()}),
        })
        .collect();
    let whole = json!({"version": 2, "dry_run": dry_run, "exit": exit as u8, "clouds": clouds});
    Ok(json::pretty(&whole)?)
}
