//! What came of a build, or would: for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BuildPreview, Builds, Built, Error};
use crate::boot::Leftover;
use system::exit::Exit;
use system::plain::line;

/// The result of a build for people.
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
        text += "new nodes boot from it, and what `ehos master deploy` makes; `ehos image prune --keep 2` deletes old images\n";
    }
    text
}

fn told((cloud, built): &(String, Result<Built, Error>)) -> String {
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            let console = error.console.as_deref().unwrap_or_default();
            return line!("{cloud}: no image: {error}") + &indented(console, "    | ");
        }
    };
    let took: Vec<String> = built
        .took
        .iter()
        .map(|(part, time)| format!("{part} {}", seconds(*time)))
        .collect();
    let mut text = line!("{cloud}: image {} ({})", built.image_name, built.image_id);
    text += &line!("    made of {}: {}", built.source, took.join(", "));
    text += &notes(&built.notes);
    if let Some(why) = &built.server_left {
        text += &line!("    its server is still there: {why}");
    }
    text
}

fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| line!("    note: {note}")).collect()
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

/// What a build would do, for people.
pub fn preview_text(previews: &[(String, Result<BuildPreview, Error>)]) -> String {
    previews.iter().map(previewed).collect()
}

fn previewed((cloud, preview): &(String, Result<BuildPreview, Error>)) -> String {
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
        text += &line!("    would continue with server {name}, which an earlier build started");
    }
    text + &notes(&preview.notes)
}

/// The result of a build for programs.
pub fn json(builds: &Builds, exit: Exit) -> Value {
    let cloud = |(cloud, built): &(String, Result<Built, Error>)| match built {
        Ok(built) => {
            let steps = built.took.iter().map(|(part, time)| {
                let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                json!({"step": part.to_string(), "milliseconds": milliseconds})
            });
            json!({
                "cloud": cloud,
                "image": {"id": built.image_id, "name": built.image_name, "source": built.source},
                "steps": steps.collect::<Value>(),
                "notes": built.notes,
                "server_kept": built.server_left,
            })
        }
        Err(error) => json!({
            "cloud": cloud,
            "error": error.to_string(),
            "console": error.console,
        }),
    };
    json!({
        "version": 2,
        "dry_run": false,
        "exit": exit as u8,
        "clouds": builds.clouds.iter().map(cloud).collect::<Value>(),
        "recorded": builds.recorded,
    })
}

/// What a build would do, for programs.
pub fn preview_json(previews: &[(String, Result<BuildPreview, Error>)], exit: Exit) -> Value {
    let leftover = |leftover: &Leftover| match leftover {
        Leftover::Server { id, name, why } => {
            json!({"kind": "server", "id": id, "name": name, "reason": why})
        }
        Leftover::Image { id, name } => json!({"kind": "image", "id": id, "name": name}),
    };
    let cloud = |(cloud, preview): &(String, Result<BuildPreview, Error>)| match preview {
        Ok(preview) => json!({
            "cloud": cloud,
            "image": {"name": preview.image_name, "source": preview.source},
            "flavor": preview.flavor,
            "leftovers": preview.leftovers.iter().map(leftover).collect::<Value>(),
            "continues_with": preview.goes_on_with,
            "notes": preview.notes,
        }),
        Err(error) => json!({"cloud": cloud, "error": error.to_string()}),
    };
    json!({
        "version": 2, "dry_run": true, "exit": exit as u8,
        "clouds": previews.iter().map(cloud).collect::<Value>(),
    })
}
