//! `ehos config show`: prints the merged configuration, key by key.

use std::io::Write;
use std::path::Path;

use comfy_table::{ContentArrangement, Table};
use serde_json::{Value, json};

use crate::cli::{ConfigShow, Output};
use config::{self, Origin, Setting};
use system::environment::Environment;
use system::exit::Exit;
use system::json;

/// Prints what can be read of the configuration.
///
/// # Errors
/// What is wrong with it ([`config::Error`]), after all the rest was printed.
pub fn run(
    args: &ConfigShow,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let files = &args.common.config;
    let settings = config::settings(files, environment);
    match args.output {
        Output::Text => {
            let here = &environment.working_directory;
            out.write_all(table(&settings, here).as_bytes())?;
        }
        Output::Json => {
            let all: Vec<Value> = settings.iter().map(json).collect();
            let all = json::pretty(&all)?;
            out.write_all(all.as_bytes())?;
        }
    }
    config::ensure_cluster(files, environment, true)?;
    Ok(Exit::Done)
}

fn table(settings: &[Setting], here: &Path) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        // A key is found by grep, and a value copied, only when it is not broken into lines.
        .set_content_arrangement(ContentArrangement::Disabled);
    for setting in settings {
        let origin = match &setting.origin {
            Origin::File { file, line } => Origin::File {
                file: file.strip_prefix(here).unwrap_or(file).to_owned(),
                line: *line,
            },
            other => other.clone(),
        };
        table.add_row([&setting.key, &setting.value, &origin.to_string()]);
    }
    // The table puts a space before each line, and fills it up with spaces.
    table
        .to_string()
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end()))
        .collect()
}

fn json(setting: &Setting) -> Value {
    let source = match &setting.origin {
        Origin::File { file, line } => json!({"file": file.display().to_string(), "line": line}),
        Origin::Variable(name) => json!({"variable": name}),
        Origin::Default => json!({"default": true}),
    };
    json!({"key": setting.key, "value": setting.value, "source": source})
}
