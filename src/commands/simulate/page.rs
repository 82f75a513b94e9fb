//! The result as one page that asks nobody for anything, drawn with the charts of `ehos frontend`.

use std::collections::BTreeSet;

use anyhow::Context;
use scaling::sorting::IntoSet;
use serde::Serialize;
use serde_json::Value;

use super::names;
use replay::comparison::{Comparison, Run, charted};
use replay::figures::Series;
use system::plain::clean;

const HTML: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");

/// A chart is no wider than about as many points.
const MAX_POINTS: usize = 720;

#[derive(Serialize)]
struct Data<'a> {
    command: &'a str,
    program: String,
    comparison: Comparison,
}

/// The page. `command` is the command line that made the comparison.
///
/// # Errors
/// A fault of ehos: the template lacks a place.
pub fn render(comparison: &Comparison, command: &str) -> anyhow::Result<String> {
    let runs = shown_runs(&comparison.runs, &names::short(&comparison.runs));
    let data = Data {
        command,
        program: format!("ehos {}", env!("CARGO_PKG_VERSION")),
        comparison: Comparison {
            version: comparison.version,
            workload: comparison.workload.clone(),
            runs,
            interrupted: comparison.interrupted,
            advice: comparison.advice.clone(),
        },
    };
    let mut data = serde_json::to_value(data).context("the figures cannot be written as JSON")?;
    clean_texts(&mut data);
    frontend::charts_page(HTML, CSS, JS, &data.to_string())
}

/// The runs, each with what the page shows of it.
fn shown_runs(runs: &[Run], names: &[String]) -> Vec<Run> {
    let charted: BTreeSet<usize> = charted(runs).into_iter().into_set();
    let longest = charted.iter().filter_map(|place| runs.get(*place));
    let longest = longest.map(|run| run.figures.series.paid_cores.len());
    let bucket = longest.max().unwrap_or_default().div_ceil(MAX_POINTS);
    let named = runs.iter().zip(names).enumerate();
    let shown = named.map(|(place, (run, name))| {
        let bucket = charted.contains(&place).then_some(bucket);
        shown(run, name, bucket)
    });
    shown.collect()
}

/// The run with its time series in steps of so many steps; without them, nor any list, where it has no name.
fn shown(run: &Run, name: &str, bucket: Option<usize>) -> Run {
    let mut figures = run.figures.clone();
    figures.series = match bucket {
        Some(bucket) => coarser(&figures.series, bucket.max(1)),
        None => Series::default(),
    };
    if !run.is_current {
        // The page shows these of the current configuration only.
        figures.wait_by_owner.clear();
        figures.wait_by_request.clear();
    }
    Run {
        name: name.to_owned(),
        settings: run.settings.clone(),
        figures,
        ..*run
    }
}

/// Means over `bucket` steps each. Three decimals are more than a chart can show.
fn coarser(series: &Series, bucket: usize) -> Series {
    let means = |values: &[f64]| -> Vec<f64> {
        let means = values.chunks(bucket).map(|chunk| {
            let mean = chunk.iter().sum::<f64>() / bucket as f64;
            (mean * 1000.0).round() / 1000.0
        });
        means.collect()
    };
    let factor = u32::try_from(bucket).unwrap_or(u32::MAX);
    Series {
        step_seconds: series.step_seconds.saturating_mul(factor),
        idle_jobs: means(&series.idle_jobs),
        used_cores: means(&series.used_cores),
        paid_cores: means(&series.paid_cores),
        nodes: means(&series.nodes),
    }
}

/// Removes control characters and marks of direction: names of owners are text of others.
fn clean_texts(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text),
        Value::Array(items) => items.iter_mut().for_each(clean_texts),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            fields.extend(old.into_iter().map(|(key, mut value)| {
                clean_texts(&mut value);
                (clean(&key), value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
