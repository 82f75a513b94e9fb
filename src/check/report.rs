//! The findings for people and for programs.

use std::io;

use serde::Serialize;

use super::fix::FixStep;
use super::{Area, Finding, Outcome};
use report::TextOptions;
use report::status::layout::{Style, paint};
use system::exit::Exit;
use system::json;
use system::plain::line;

/// The version of the JSON: raised when something in it changes its meaning or goes.
const VERSION: u32 = 2;

/// The exit code that the findings stand for.
pub fn exit(areas: &[Area]) -> Exit {
    let failed = areas
        .iter()
        .flat_map(|area| &area.findings)
        .any(|finding| finding.outcome == Outcome::Failed);
    let mut asked = areas.iter().filter_map(|area| area.answered).peekable();
    let nobody = asked.peek().is_some() && !asked.any(|answered| answered);
    match (failed, nobody) {
        (false, _) => Exit::Done,
        (true, true) => Exit::Unavailable,
        (true, false) => Exit::Failed,
    }
}

#[derive(Serialize)]
struct Out<'a> {
    version: u32,
    exit: u8,
    findings: Vec<Row<'a>>,
    /// The changes of `--fix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fixes: Option<&'a [FixStep]>,
}

#[derive(Serialize)]
struct Row<'a> {
    area: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// The findings as one JSON object.
///
/// # Errors
/// None that a finding could cause.
pub fn json(areas: &[Area], exit: Exit, fixes: Option<&[FixStep]>) -> io::Result<String> {
    json::pretty(&Out {
        version: VERSION,
        exit: exit as u8,
        fixes,
        findings: areas
            .iter()
            .flat_map(|area| {
                area.findings.iter().map(|finding| Row {
                    area: &area.name,
                    finding,
                })
            })
            .collect(),
    })
}

/// The findings, a line each, with what to do below those that need it; at the end how many there are. With `problems_only`
/// nothing of what is well.
pub fn text(areas: &[Area], options: TextOptions) -> String {
    let is_shown = |finding: &&Finding| {
        let problems = [Outcome::Failed, Outcome::Warning];
        !options.problems_only || problems.contains(&finding.outcome)
    };
    let all = || areas.iter().flat_map(|area| &area.findings);
    let width = all().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for area in areas {
        let mut findings = area.findings.iter().filter(is_shown).peekable();
        if findings.peek().is_none() && options.problems_only {
            continue;
        }
        text.push_str(&line!("{}", area.name));
        for finding in findings {
            let indent = 2 + WORD + 2 + width + 2;
            let (style, word) = word(finding.outcome);
            text.push_str("  ");
            text.push_str(&paint(style, word, options.color));
            let rest = WORD - word.len() + 2;
            text.push_str(&line!(
                "{:rest$}{:width$}  {}",
                "",
                finding.check,
                finding.what
            ));
            if let Some(remedy) = &finding.remedy {
                text.push_str(&line!("{:indent$}→ {}", "", remedy));
            }
        }
    }
    let count = |outcome| {
        let findings = all().filter(|finding| finding.outcome == outcome);
        findings.count()
    };
    let counts = [
        (Outcome::Failed, "failed"),
        (Outcome::Warning, "warnings"),
        (Outcome::Skipped, "not checked"),
        (Outcome::Ok, "ok"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(outcome, word)| (count(outcome), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if text.is_empty() && options.problems_only {
        return text;
    }
    text + &counts.join(", ") + "\n"
}

/// The length of the longest word.
const WORD: usize = 7;

fn word(outcome: Outcome) -> (Style, &'static str) {
    match outcome {
        Outcome::Ok => (Style::Good, "ok"),
        Outcome::Skipped => (Style::Dim, "skipped"),
        Outcome::Warning => (Style::Warn, "WARNING"),
        Outcome::Failed => (Style::Bad, "FAILED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(answered: Option<bool>, findings: Vec<Finding>) -> Area {
        Area {
            name: "cloud lab".to_owned(),
            findings,
            answered,
            cloud: None,
        }
    }

    #[test]
    fn the_exit_code_says_how_bad_it_is() {
        let ok = || Finding::ok("login", "fine");
        let warning = || Finding::warning("key", "hm", "do");
        let failed = || Finding::failed("key", "no", "do");
        assert_eq!(exit(&[area(Some(true), vec![ok(), warning()])]), Exit::Done);
        assert_eq!(exit(&[area(Some(true), vec![failed()])]), Exit::Failed);
        assert_eq!(exit(&[area(None, vec![failed()])]), Exit::Failed);
        let silent = || area(Some(false), vec![failed()]);
        assert_eq!(exit(&[area(None, vec![ok()]), silent()]), Exit::Unavailable);
        assert_eq!(
            exit(&[silent(), area(Some(true), vec![ok()])]),
            Exit::Failed
        );
    }

    #[test]
    fn each_finding_is_a_line_and_what_to_do_is_below() {
        let findings = vec![
            Finding::ok("login", "fine"),
            // A name with the character that begins a terminal's commands.
            Finding::failed("port-9618", "clo\u{1b}sed", "open it"),
        ];
        let areas = [area(Some(true), findings)];
        assert_eq!(
            text(&areas, TextOptions::default()),
            "cloud lab\n  ok       login      fine\n  FAILED   port-9618  clo sed\n                      → open it\n\
             1 failed, 1 ok\n"
        );
        let problems = TextOptions {
            color: true,
            problems_only: true,
            ..TextOptions::default()
        };
        assert_eq!(
            text(&areas, problems),
            "cloud lab\n  \u{1b}[31mFAILED\u{1b}[0m   port-9618  clo sed\n                      → open it\n\
             1 failed, 1 ok\n"
        );
        let well = [area(Some(true), vec![Finding::ok("login", "fine")])];
        assert_eq!(text(&well, problems), "");
    }
}
