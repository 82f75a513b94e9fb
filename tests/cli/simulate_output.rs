//! The output of `ehos simulate` for a comparison made by hand: as a table, as JSON and as a page.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::golden::Golden;
use crate::harness::comparison;
use crate::json::{documented, fields};
use ehos::commands::simulate::{page, table};
use replay::comparison::{Comparison, Interrupted, Run};

fn view(width: usize, ascii: bool) -> table::View {
    table::View {
        width,
        colour: false,
        ascii,
    }
}

#[test]
fn a_table_of_a_few_runs() {
    let text = table::render(&comparison::small(), view(80, true));
    Golden::fixed(text).is("simulate-table-80.txt");
    let text = table::render(&comparison::small(), view(160, false));
    Golden::fixed(text).is("simulate-table-160.txt");
}

#[test]
fn a_table_of_a_sweep_shows_the_frontier() {
    let comparison = comparison::sweep(&["ada"], true, |_| {});
    let text = table::render(&comparison, view(80, false));
    let frontier = comparison.runs.iter().filter(|run| run.is_on_frontier);
    let left_out = comparison.runs.len() - frontier.count() - 1 - 5;
    assert!(
        text.contains(&format!("{left_out} runs not shown")),
        "{text}"
    );
    Golden::fixed(text).is("simulate-table-sweep.txt");
}

#[test]
fn a_table_of_a_long_frontier_is_bounded() {
    let mut comparison = comparison::small();
    let run = comparison.runs[1].clone();
    for number in 0..3000 {
        let mut run = run.clone();
        run.figures.paid_core_hours += f64::from(number);
        comparison.runs.push(run);
    }
    let text = table::render(&comparison, view(200, true));
    assert!(text.lines().count() < 100, "{text}");
    assert!(text.contains("# "), "{text}");
    assert!(text.contains(" runs not shown"), "{text}");
}

#[test]
fn a_table_without_a_sweep_has_neither_plot_nor_marks() {
    let mut comparison = comparison::small();
    comparison
        .runs
        .retain(|run| run.is_current || !run.is_of_ehos());
    comparison.advice = None;
    let text = table::render(&comparison, view(80, true));
    assert!(text.contains("\n  RUN "), "{text}");
    assert!(!text.contains("mean wait (upwards)"), "{text}");
}

#[test]
fn money_has_its_lower_bound_in_table_and_plot() {
    let mut comparison = comparison::small();
    for run in &mut comparison.runs {
        run.figures.cost = Some(run.figures.paid_core_hours * 0.05);
    }
    let text = table::render(&comparison, view(160, true));
    let bound = text
        .lines()
        .find(|line| line.contains("lower bound"))
        .unwrap();
    assert!(bound.contains("103.00"), "{text}");
    assert!(text.contains(": lower bound 103"), "{text}");
    comparison.workload.bound_cost = None;
    let text = table::render(&comparison, view(160, true));
    assert!(!text.contains(": lower bound"), "{text}");
}

#[test]
fn json_has_documented_fields() {
    let mut comparison = comparison::small();
    comparison.interrupted = Some(Interrupted {
        finished_runs: 7,
        planned_runs: 12,
    });
    let text = serde_json::to_string_pretty(&comparison).unwrap() + "\n";
    let mut value: Value = serde_json::from_str(&text).unwrap();
    Golden::fixed(text).is("simulate.json");
    // Keys that are names.
    let counts = value["workload"]["notes"]["counts"]
        .as_object_mut()
        .unwrap();
    let first = counts.values().next().unwrap().clone();
    counts.clear();
    counts.insert("REASON".to_owned(), first);
    for run in value["runs"].as_array_mut().unwrap() {
        let settings = run["settings"].as_object_mut().unwrap();
        if !settings.is_empty() {
            settings.clear();
            settings.insert("KEY".to_owned(), Value::Null);
        }
    }
    let mut found = BTreeSet::new();
    fields(&value, "", &mut found);
    // Each field has a row, and each row is of a field.
    assert_eq!(found, documented("ehos simulate"));
}

#[test]
fn a_page_holds_its_data_and_nothing_else_changes() {
    let html = page::render(&comparison::small(), "ehos simulate --jobs history.json").unwrap();
    let (head, rest) = html.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    assert!(head.contains("default-src 'none'; script-src 'sha256-"));
    let data: Value = serde_json::from_str(data).unwrap();
    Golden::fixed(serde_json::to_string_pretty(&data).unwrap() + "\n").is("simulate-page.json");
}

const ATTACK: &str = "\u{1b}[2J\u{202e}</script><img src=x onerror=alert(1)>";

/// A comparison whose texts are hostile.
fn hostile() -> Comparison {
    let mut comparison = comparison::small();
    let attack = |run: &mut Run| {
        run.name = ATTACK.to_owned();
        run.figures.wait_by_owner[0].name = ATTACK.repeat(20);
        run.figures.limits[0].limit = ATTACK.to_owned();
        if !run.is_current && run.is_of_ehos() {
            run.settings.insert(ATTACK.to_owned(), ATTACK.to_owned());
        }
    };
    comparison.runs.iter_mut().for_each(attack);
    comparison.workload.source = ATTACK.to_owned();
    comparison
        .workload
        .notes
        .count(ATTACK, || ATTACK.to_owned());
    comparison.advice = Some(ATTACK.to_owned());
    comparison
}

#[test]
fn text_of_others_leaves_neither_its_line_nor_its_element() {
    let comparison = hostile();
    for width in [1, 60, 80, 200] {
        let text = table::render(&comparison, view(width, true));
        for line in text.lines() {
            assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
            assert!(line.chars().count() <= width.max(60), "{width}: {line}");
        }
    }
    let html = page::render(&comparison, ATTACK).unwrap();
    assert_eq!(html.matches("</script").count(), 2);
    assert!(!html.contains("<img"));
    let data = html.split_once("id=\"data\">").unwrap().1;
    assert!(data.contains("\\u003c/script>\\u003cimg"));
    assert!(!data.contains(['\u{202e}', '\u{1b}']) && !data.contains("\\u001b"));
}

#[test]
fn the_page_of_a_large_sweep_is_bounded() {
    let mut comparison = comparison::small();
    let run = comparison.runs[1].clone();
    let mut run = Run {
        is_on_frontier: false,
        is_knee: false,
        ..run
    };
    run.figures.series.paid_cores = vec![1.0; 100];
    comparison.runs.extend(vec![run; 10_000]);
    comparison.runs[0].figures.series.paid_cores = vec![3.0; 100_000];
    let html = page::render(&comparison, "ehos simulate").unwrap();
    assert!(html.len() < 20_000_000, "{}", html.len());
    let data = html.split_once("id=\"data\">").unwrap().1;
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let runs = data["comparison"]["runs"].as_array().unwrap();
    assert_eq!(runs.len(), comparison.runs.len());
    let series = &runs[0]["figures"]["series"];
    let points = series["paid_cores"].as_array().unwrap();
    assert_eq!(points.len(), 720);
    assert!(points[..719].iter().all(|value| *value == 3.0));
}
