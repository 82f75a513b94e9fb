//! `ehos image list`: lists the golden images of this pool.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::{ImageList, Output};
use config::{self, Config};
use deploy::image::inventory::{Inventory, in_each, is_configured, look};
use openstack::Error;
use system::deadline::Deadline;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::{clean, line};

/// Lists the images of this pool to `out`.
///
/// # Errors
/// The configuration. A cloud that does not answer is no error: it is in what is written, and the exit code.
pub fn run(
    args: &ImageList,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::load(&args.common.config, environment)?;
    let clouds = config.chosen(&args.clouds.names)?;
    let deadline = Deadline::within(config.timeouts.tick);
    let cluster = &config.policy.cluster;
    let seen = in_each(&config, &clouds, deadline, |session, deadline| {
        look(session, cluster, deadline)
    });
    let exit = match seen.iter().filter(|(_, seen)| seen.is_ok()).count() {
        answered if answered == seen.len() => Exit::Done,
        0 => Exit::Unavailable,
        _ => Exit::Failed,
    };
    let printed = match args.output {
        Output::Text => text(&config, &seen),
        Output::Json => json(&config, &seen, exit)?,
    };
    out.write_all(printed.as_bytes())
        .context("the list cannot be printed")?;
    Ok(exit)
}

fn text(config: &Config, seen: &[(String, Result<Inventory, Error>)]) -> String {
    let now = Timestamp::now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "CLOUD",
        "NAME",
        "ID",
        "AGE",
        "SIZE",
        "STATUS",
        "SOURCE",
        "SERVERS",
        "CONFIGURED",
    ]);
    let mut rows = 0;
    let mut unseen = String::new();
    for (cloud, inventory) in seen {
        let inventory = match inventory {
            Ok(inventory) => inventory,
            Err(error) => {
                unseen += &line!("unknown  {error}");
                continue;
            }
        };
        for owned in &inventory.images {
            let image = owned.image();
            let size = image
                .size
                .map_or_else(String::new, |bytes| format!("{:.1} GB", bytes as f64 / 1e9));
            let configured = is_configured(owned, &config.clouds);
            let cells = [
                cloud.clone(),
                owned.name().to_owned(),
                image.id.clone(),
                age(now.duration_since(image.created_at).as_secs()),
                size,
                image.status.clone(),
                owned.source().unwrap_or_default().to_owned(),
                inventory.in_use.get(&image.id).unwrap_or(&0).to_string(),
                if configured { "yes" } else { "" }.to_owned(),
            ];
            table.add_row(cells.iter().map(|cell| clean(cell)));
            rows += 1;
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    let mut text = if rows > 0 {
        lines.join("\n") + "\n"
    } else if unseen.is_empty() {
        "no images of this pool; run `ehos image build`\n".to_owned()
    } else {
        String::new()
    };
    text += &unseen;
    text
}

/// Formats an age in its largest unit.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 120 * 60 => format!("{} min", seconds / 60),
        seconds if seconds < 48 * 3600 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn json(
    config: &Config,
    seen: &[(String, Result<Inventory, Error>)],
    exit: Exit,
) -> anyhow::Result<String> {
    let clouds: Vec<Value> = seen
        .iter()
        .map(|(cloud, inventory)| match inventory {
            Ok(inventory) => {
                let images: Vec<Value> = inventory
                    .images
                    .iter()
                    .map(|owned| {
                        let image = owned.image();
                        json!({
                            "id": image.id,
                            "name": owned.name(),
                            "created": image.created_at.to_string(),
                            "bytes": image.size,
                            "status": image.status,
                            "source": owned.source(),
                            "servers": inventory.in_use.get(&image.id).unwrap_or(&0),
                            "configured": is_configured(owned, &config.clouds),
                        })
                    })
                    .collect();
                json!({"cloud": cloud, "images": images})
            }
            Err(error) => json!({"cloud": cloud, "error": error.to_string()}),
        })
        .collect();
    let whole = json!({"version": 2, "exit": exit as u8, "clouds": clouds});
    Ok(json::pretty(&whole)?)
}
