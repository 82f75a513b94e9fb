//! A tick in JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Report;
use crate::scaling::action::FailureKind;
use crate::scaling::plan::{Action, Plan};

/// The version of this layout: raised when something in it changes its meaning or goes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Out<'a> {
    version: u32,
    dry_run: bool,
    #[serde(flatten)]
    plan: &'a Plan,
    actions: Vec<ActionOut<'a>>,
    source_milliseconds: BTreeMap<&'a str, u64>,
    milliseconds: u64,
    exit: u8,
}

#[derive(Serialize)]
struct ActionOut<'a> {
    action: &'static str,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud: Option<&'a str>,
    /// `planned`, `done`, `changed` or `failed`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

fn action_out<'a>(
    action: &'a Action,
    result: &'static str,
    message: Option<&'a str>,
) -> ActionOut<'a> {
    let cloud = match action {
        Action::Cloud { cloud, .. } => Some(cloud.as_str()),
        Action::Pool(_) => None,
    };
    ActionOut {
        action: action.verb(),
        node: &action.node().0,
        cloud,
        result,
        message,
    }
}

/// The report as one JSON object.
///
/// # Errors
/// None that a report can cause.
pub fn json(report: &Report<'_>) -> serde_json::Result<String> {
    let actions = match report.outcomes {
        None => report
            .plan
            .actions
            .iter()
            .map(|action| action_out(action, "planned", None))
            .collect(),
        Some(outcomes) => outcomes
            .iter()
            .map(|outcome| match &outcome.result {
                Ok(_) => action_out(&outcome.action, "done", None),
                Err(failure) => {
                    let result = match failure.kind {
                        FailureKind::Changed => "changed",
                        _ => "failed",
                    };
                    action_out(&outcome.action, result, Some(&failure.message))
                }
            })
            .collect(),
    };
    let milliseconds =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut plan = report.plan.clone();
    plan.notices.splice(0..0, report.notices.iter().cloned());
    serde_json::to_string_pretty(&Out {
        version: VERSION,
        dry_run: report.outcomes.is_none(),
        plan: &plan,
        actions,
        source_milliseconds: report
            .durations
            .iter()
            .map(|(name, took)| (name.as_str(), milliseconds(*took)))
            .collect(),
        milliseconds: milliseconds(report.took),
        exit: report.exit() as u8,
    })
}
