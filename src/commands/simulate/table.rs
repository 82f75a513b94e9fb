//! The result for people.

use std::fmt::Write;

use replay::comparison::Comparison;

/// The text.
pub fn render(comparison: &Comparison) -> String {
    let mut text = String::new();
    let workload = &comparison.workload;
    let _ = writeln!(
        text,
        "{} jobs, {:.1} core-hours",
        workload.jobs, workload.core_hours
    );
    for run in &comparison.runs {
        let figures = &run.figures;
        let _ = writeln!(
            text,
            "{:40} paid/used {:.3} cost {:.2} wait {:.1} s p95 {} s created {} peak {} knee {} frontier {} {:?} {:?}",
            run.name,
            figures.paid_per_used.unwrap_or_default(),
            run.cost(),
            run.wait(),
            figures.wait.p95_seconds,
            figures.nodes.created,
            figures.nodes.peak,
            run.is_knee,
            run.is_on_frontier,
            figures.jobs,
            figures.limits,
        );
    }
    text += comparison.advice.as_deref().unwrap_or_default();
    text.push('\n');
    text
}
