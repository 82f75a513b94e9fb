//! `ehos check --fix`: the changes that are safe, each tied to the finding that it corrects.
//!
//! Safe are: rights that others lose and the owner gains, and objects of a cloud that are created. Nothing is deleted,
//! replaced, or opened to the world: SSH and port 9618 from outside stay the choice of `ehos cloud setup`.

mod local;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::Area;
use config::Config;
use deploy::local_keys::LocalKeys;
use deploy::prerequisites::{Change, Part};
use deploy::setup::{self, CloudResult, SetupRequest, StepResult};
use openstack::CloudSettings;
use system::environment::Environment;
use system::plain::line;

/// A change that corrects a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Takes the rights of all other users away from a file of the configuration.
    HideFile { path: PathBuf },
    /// Changes the mode of the state directory: bits to set and to clear.
    DirectoryMode { path: PathBuf, set: u32, clear: u32 },
    /// Gives an entry of the state directory to the owner of the directory.
    Owner {
        directory: PathBuf,
        entry: PathBuf,
        uid: u32,
        gid: u32,
    },
    /// Creates what nodes need in the cloud of the area.
    Prerequisite(Part),
}

/// One change and its result.
#[derive(Debug, Serialize)]
pub struct FixStep {
    area: String,
    text: String,
    result: FixResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum FixResult {
    Planned,
    Done,
    Failed,
    NotDone,
}

impl FixStep {
    pub fn is_planned(&self) -> bool {
        self.result == FixResult::Planned
    }
}

/// The fixes of all findings.
#[derive(Debug, Default)]
pub struct Fixes {
    local: Vec<(String, Fix)>,
    clouds: BTreeMap<String, BTreeSet<Part>>,
}

impl Fixes {
    pub fn of(areas: &[Area]) -> Fixes {
        let mut all = Fixes::default();
        for area in areas {
            for fix in area.findings.iter().flat_map(|finding| &finding.fixes) {
                match (fix, &area.cloud) {
                    (Fix::Prerequisite(part), Some(cloud)) => {
                        all.clouds.entry(cloud.clone()).or_default().insert(*part);
                    }
                    (Fix::Prerequisite(_), None) => {}
                    (fix, _) => all.local.push((area.name.clone(), fix.clone())),
                }
            }
        }
        all
    }

    pub fn is_empty(&self) -> bool {
        self.local.is_empty() && self.clouds.is_empty()
    }

    pub fn is_any_in_a_cloud(&self) -> bool {
        !self.clouds.is_empty()
    }

    /// Makes the changes, or with `dry_run` only lists them.
    pub fn perform(
        &self,
        config: &Config,
        environment: &Environment,
        dry_run: bool,
    ) -> Vec<FixStep> {
        let mut steps: Vec<FixStep> = self
            .local
            .iter()
            .map(|(area, fix)| {
                let done = (!dry_run).then(|| local::perform(fix));
                FixStep {
                    area: area.clone(),
                    text: local::text(fix),
                    result: match &done {
                        None => FixResult::Planned,
                        Some(Ok(())) => FixResult::Done,
                        Some(Err(_)) => FixResult::Failed,
                    },
                    error: done.and_then(Result::err),
                }
            })
            .collect();
        if !self.clouds.is_empty() {
            steps.extend(self.in_clouds(config, environment, dry_run));
        }
        steps
    }

    fn in_clouds(&self, config: &Config, environment: &Environment, dry_run: bool) -> Vec<FixStep> {
        let public_key = match setup::public_key(None, environment) {
            Ok(key) => key,
            Err(error) => {
                return vec![failed("configuration", "find a public key", &error)];
            }
        };
        let here = LocalKeys::look(environment);
        // In sequence: two entries may name the same project.
        let results: Vec<(&CloudSettings, CloudResult)> = config
            .clouds
            .iter()
            .filter_map(|settings| Some((settings, self.clouds.get(&settings.name)?)))
            .map(|(settings, parts)| {
                let request = SetupRequest {
                    config,
                    public_key: public_key.clone(),
                    here: &here,
                    ssh_from: &[],
                    external: false,
                    parts: &Vec::from_iter(parts.iter().copied()),
                    dry_run,
                };
                (settings, request.perform(settings))
            })
            .collect();
        let mut steps: Vec<FixStep> = results.iter().flat_map(cloud_steps).collect();
        if dry_run {
            return steps;
        }
        match setup::keep_names(config, &results) {
            Ok(None) => {}
            Ok(Some(file)) => steps.push(FixStep {
                area: "configuration".to_owned(),
                text: format!("write the names to {}", file.display()),
                result: FixResult::Done,
                error: None,
            }),
            Err(error) => steps.push(failed("configuration", "write the names", &error.into())),
        }
        steps
    }
}

fn failed(area: &str, text: &str, error: &anyhow::Error) -> FixStep {
    FixStep {
        area: area.to_owned(),
        text: text.to_owned(),
        result: FixResult::Failed,
        error: Some(format!("{error:#}")),
    }
}

fn cloud_steps((settings, result): &(&CloudSettings, CloudResult)) -> Vec<FixStep> {
    let area = format!("cloud {}", settings.name);
    let step = |(change, result): &(Change, StepResult)| FixStep {
        area: area.clone(),
        text: change.to_string(),
        result: match result {
            StepResult::Planned => FixResult::Planned,
            StepResult::Done => FixResult::Done,
            StepResult::Failed => FixResult::Failed,
            StepResult::NotDone => FixResult::NotDone,
        },
        error: None,
    };
    let mut steps: Vec<FixStep> = result.steps.iter().map(step).collect();
    if let Some(names) = names(result) {
        let text = format!("name {names} in 40-cloud.yaml");
        steps.push(FixStep {
            area: area.clone(),
            text,
            result: FixResult::Planned,
            error: None,
        });
    }
    if let Some(error) = &result.error {
        let attempted = steps
            .iter_mut()
            .find(|step| step.result == FixResult::Failed);
        match attempted {
            Some(step) => step.error = Some(format!("{error:#}")),
            None => steps.push(failed(&area, "prepare the cloud", error)),
        }
    }
    steps
}

/// The names that the configuration gets; none once they are written.
fn names(result: &CloudResult) -> Option<String> {
    if result
        .steps
        .iter()
        .any(|(_, step)| *step != StepResult::Planned)
    {
        return None;
    }
    let names = [&result.names.key, &result.names.security_group];
    let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

/// The steps, a line each.
pub fn text(steps: &[FixStep]) -> String {
    let line = |step: &FixStep| {
        let result = match step.result {
            FixResult::Planned => "would",
            FixResult::Done => "done",
            FixResult::Failed => "failed",
            FixResult::NotDone => "not done",
        };
        let FixStep { area, text, .. } = step;
        match &step.error {
            Some(error) => line!("{area}: {result}: {text}: {error}"),
            None => line!("{area}: {result}: {text}"),
        }
    };
    steps.iter().map(line).collect()
}
