//! `ehos cloud setup`: creates keypair, security group and server group where they are missing. It never changes
//! existing ones.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::cli::{CloudSetup, Output};
use config::{self, Config};
use deploy::local_keys::LocalKeys;
use deploy::prerequisites::{Change, Part};
use deploy::setup::{self, CloudResult, SetupRequest, StepResult};
use openstack::CloudSettings;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::line;

/// The version of the JSON layout: raised when a field changes its meaning or is removed.
const VERSION: u32 = 2;

/// Runs it and writes what it has to say to `out`.
///
/// # Errors
/// The configuration or the public key is invalid, or 40-cloud.yaml cannot be written. Failures on a cloud are part of the
/// report.
pub fn run(
    args: &CloudSetup,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let config = config::ensure_cluster(&args.common.config, environment, args.dry_run)?;
    if config.simulation.is_some() {
        bail!("the configuration describes a simulated site without clouds; remove `simulation:`");
    }
    let clouds = config.chosen(&args.clouds.names)?;
    let request = SetupRequest {
        config: &config,
        public_key: setup::public_key(args.public_key.as_deref(), environment)?,
        here: &LocalKeys::look(environment),
        ssh_from: &args.ssh_from,
        external: args.external,
        parts: &Part::ALL,
        dry_run: args.dry_run,
    };
    // In sequence: two entries may name the same project, and each would create a group of the same name.
    let results: Vec<(&CloudSettings, CloudResult)> = clouds
        .into_iter()
        .map(|settings| (settings, request.perform(settings)))
        .collect();
    print(args, &config, &results, out)
}

fn print(
    args: &CloudSetup,
    config: &Config,
    results: &[(&CloudSettings, CloudResult)],
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let exit = exit(results);
    let reports: Vec<Report> = results
        .iter()
        .map(|(settings, result)| Report::new(settings, result))
        .collect();
    let mut all = All {
        version: VERSION,
        dry_run: args.dry_run,
        file: None,
        exit: exit as u8,
        clouds: &reports,
    };
    // The report is printed even if the file cannot be written.
    let kept = if args.dry_run {
        Ok(None)
    } else {
        setup::keep_names(config, results)
    };
    if let Ok(file) = &kept {
        all.file.clone_from(file);
    }
    let printed = match args.output {
        Output::Text => all.text(),
        Output::Json => json::pretty(&all)?,
    };
    out.write_all(printed.as_bytes())
        .context("the report cannot be printed")?;
    kept?;
    Ok(exit)
}

fn exit(results: &[(&CloudSettings, CloudResult)]) -> Exit {
    if results.iter().all(|(_, result)| result.error.is_none()) {
        Exit::Done
    } else if results.iter().all(|(_, result)| result.is_unanswered()) {
        Exit::Unavailable
    } else {
        Exit::Failed
    }
}

/// The result of one cloud.
#[derive(Debug, Serialize)]
struct Report {
    cloud: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    changes: Vec<Step>,
    /// The remedy if no private key here fits the keypair.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Report {
    fn new(settings: &CloudSettings, result: &CloudResult) -> Report {
        let steps = result.steps.iter();
        Report {
            cloud: settings.name.clone(),
            key: result.key.clone(),
            changes: steps
                .map(|(change, result)| Step::new(change, *result))
                .collect(),
            note: result.note.clone(),
            error: result.error.as_ref().map(|error| format!("{error:#}")),
        }
    }
}

/// A change and its result.
#[derive(Debug, Serialize)]
struct Step {
    change: &'static str,
    name: String,
    #[serde(rename = "text")]
    what: String,
    /// `planned`, `done`, `failed`, or `not_done` after another failed.
    result: &'static str,
}

impl Step {
    fn new(change: &Change, result: StepResult) -> Step {
        let (kind, name) = match change {
            Change::ImportKey { name, .. } => ("import_key", name),
            Change::CreateGroup { name, .. } => ("create_security_group", name),
            Change::CreateServerGroup { name, .. } => ("create_server_group", name),
            Change::AddRule { group, .. } => ("add_rule", group),
        };
        Step {
            change: kind,
            name: name.clone(),
            what: change.to_string(),
            result: match result {
                StepResult::Planned => "planned",
                StepResult::Done => "done",
                StepResult::Failed => "failed",
                StepResult::NotDone => "not_done",
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct All<'a> {
    version: u32,
    dry_run: bool,
    clouds: &'a [Report],
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    exit: u8,
}

impl All<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        for report in self.clouds {
            let name = &report.cloud;
            for step in &report.changes {
                let result = match step.result {
                    "planned" => "would",
                    "not_done" => "not done",
                    other => other,
                };
                text.push_str(&line!("{name}: {result}: {}", step.what));
            }
            match &report.error {
                Some(error) => text.push_str(&line!("{name}: {error}")),
                None if report.changes.is_empty() => {
                    text.push_str(&line!("{name}: nothing to do"));
                }
                None => {}
            }
            if let Some(note) = &report.note {
                text.push_str(&line!("{name}: note: {note}"));
            }
        }
        if let Some(file) = &self.file {
            text.push_str(&line!(
                "{}: names keypair and security group from now on",
                file.display()
            ));
        }
        text
    }
}
