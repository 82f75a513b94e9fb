//! `ehos image build`.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::{ImageBuild, Output};
use crate::commands::state_directory;
use crate::config;
use crate::deploy::image::step::Leftover;
use crate::deploy::image::{Builds, Built, Error, Order, Preview, build_everywhere, preview};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::plain::line;
use crate::progress::Progress;

/// Makes the images, or says what would be done, and writes what came of it to `out`.
///
/// # Errors
/// The configuration, the state directory, and what stops a build before it begins. What happens in one cloud is no
/// error: it is in what is written.
pub fn run(
    args: &ImageBuild,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    let clouds = config.chosen(&args.clouds.names)?;
    let directory = state_directory(&args.common, &config, environment)?;
    let order = Order {
        recipe: &args.recipe,
        keep_server: args.keep_server,
        environment,
        state_directory: &directory,
        files: &args.common.config,
    };
    let (printed, exit) = if args.dry_run {
        let previews = preview(&config, &clouds, &order)?;
        let exit = exit(previews.iter().all(|(_, preview)| preview.is_ok()));
        let printed = match args.output {
            Output::Text => previews.iter().map(previewed).collect(),
            Output::Json => preview_json(&previews, exit)?,
        };
        (printed, exit)
    } else {
        let builds = build_everywhere(&config, &clouds, &order, &Progress::with_afterword())?;
        let well = |built: &Result<Built, Error>| {
            built
                .as_ref()
                .is_ok_and(|built| built.server_left.is_none())
        };
        let exit = exit(builds.clouds.iter().all(|(_, built)| well(built)));
        let printed = match args.output {
            Output::Text => text(&builds),
            Output::Json => builds_json(&builds, exit)?,
        };
        (printed, exit)
    };
    out.write_all(printed.as_bytes())
        .context("the result could not be printed")?;
    Ok(exit)
}

fn exit(well: bool) -> Exit {
    if well { Exit::Done } else { Exit::Failed }
}

/// The result for people.
pub fn text(builds: &Builds) -> String {
    let mut text: String = builds.clouds.iter().map(told).collect();
    if let Some(file) = &builds.recorded.file {
        text += &line!("written to {}", file.display());
    }
    for by_hand in &builds.recorded.by_hand {
        text += &line!(
            "not written: {}; put this into the configuration:",
            by_hand.why
        );
        text += &indented(&by_hand.lines, "    ");
    }
    let made = builds.clouds.iter().any(|(_, built)| built.is_ok());
    if made && builds.recorded.by_hand.is_empty() {
        text += "new nodes boot from it, and what `ehos master deploy` makes; `ehos image prune --keep 2` deletes old images
";
    }
    text
}

fn told((cloud, built): &(String, Result<Built, Error>)) -> String {
    match built {
        Ok(built) => {
            let took: Vec<String> = built
                .took
                .iter()
                .map(|(part, time)| format!("{part} {}", seconds(*time)))
                .collect();
            let mut text = line!("{cloud}: image {} ({})", built.image_name, built.image_id);
            text += &line!("    made of {}: {}", built.source, took.join(", "));
            for note in &built.notes {
                text += &line!("    note: {note}");
            }
            if let Some(why) = &built.server_left {
                text += &line!("    its server is still there: {why}");
            }
            text
        }
        Err(error) => {
            let mut text = line!("{cloud}: no image: {error}");
            if let Some(console) = &error.console {
                text += &indented(console, "    | ");
            }
            text
        }
    }
}

fn previewed((cloud, preview): &(String, Result<Preview, Error>)) -> String {
    let preview = match preview {
        Ok(preview) => preview,
        Err(error) => return line!("{cloud}: {error}"),
    };
    let mut text = line!(
        "{cloud}: would make image {} of {} on a server of flavor {}",
        preview.image_name,
        preview.source,
        preview.flavor
    );
    for leftover in &preview.leftovers {
        text += &match leftover {
            Leftover::Server { name, why, .. } => {
                line!("    would delete server {name}, which an earlier build has left: {why}")
            }
            Leftover::Image { name, .. } => {
                line!("    would delete image {name}, which an earlier build has not finished")
            }
        };
    }
    if let Some(name) = &preview.goes_on_with {
        text += &line!("    would go on with server {name}, which an earlier build has begun");
    }
    for note in &preview.notes {
        text += &line!("    note: {note}");
    }
    text
}

fn indented(text: &str, by: &str) -> String {
    text.lines().map(|line| line!("{by}{line}")).collect()
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// The result for programs.
fn builds_json(builds: &Builds, exit: Exit) -> anyhow::Result<String> {
    let clouds: Vec<Value> = builds
        .clouds
        .iter()
        .map(|(cloud, built)| match built {
            Ok(built) => {
                let steps: Vec<Value> = built
                    .took
                    .iter()
                    .map(|(part, time)| {
                        json!({"step": part.to_string(), "milliseconds": milliseconds(*time)})
                    })
                    .collect();
                json!({
                    "cloud": cloud,
                    "image": {"id": built.image_id, "name": built.image_name, "source": built.source},
                    "steps": steps,
                    "notes": built.notes,
                    "server_left": built.server_left,
                })
            }
            Err(error) => json!({
                "cloud": cloud,
                "error": error.to_string(),
                "console": error.console,
            }),
        })
        .collect();
    whole(&json!({
        "version": 1,
        "dry_run": false,
        "exit": exit as u8,
        "clouds": clouds,
        "recorded": builds.recorded,
    }))
}

fn preview_json(
    previews: &[(String, Result<Preview, Error>)],
    exit: Exit,
) -> anyhow::Result<String> {
    let clouds: Vec<Value> = previews
        .iter()
        .map(|(cloud, preview)| match preview {
            Ok(preview) => {
                let leftovers: Vec<Value> = preview
                    .leftovers
                    .iter()
                    .map(|leftover| match leftover {
                        Leftover::Server { id, name, why } => {
                            json!({"kind": "server", "id": id, "name": name, "why": why})
                        }
                        Leftover::Image { id, name } => {
                            json!({"kind": "image", "id": id, "name": name})
                        }
                    })
                    .collect();
                json!({
                    "cloud": cloud,
                    "image": {"name": preview.image_name, "source": preview.source},
                    "flavor": preview.flavor,
                    "leftovers": leftovers,
                    "goes_on_with": preview.goes_on_with,
                    "notes": preview.notes,
                })
            }
            Err(error) => json!({"cloud": cloud, "error": error.to_string()}),
        })
        .collect();
    whole(&json!({"version": 1, "dry_run": true, "exit": exit as u8, "clouds": clouds}))
}

fn whole(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
