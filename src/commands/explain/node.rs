//! The history of a node.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use log::{error, warn};

use super::FoundNode;
use super::text::Page;
use crate::cli::{Explain, Output};
use report::TickReport;
use report::history::UnreadDay;
use report::history::life::{ActionTaken, End, Life, LifeEvent, part_in_words};
use report::history::search::{Found, search};
use report::names::{Named, in_words};
use report::problem::is_unhealthy;
use report::status;
use report::status::layout::Style;
use report::tick_report::ActionResult;
use scaling::names::PhaseName;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::clean;

/// Searches the node of this name.
///
/// # Errors
/// The history cannot be read ([`status::Error`]).
pub(super) fn find(name: &str, folder: &Path, last: &TickReport) -> anyhow::Result<FoundNode> {
    let (found, unread) = search(folder, last, name)
        .map_err(|error| status::Error::of_file(folder, folder, error))?;
    for UnreadDay { file, why } in &unread {
        warn!("{}: not searched: {why}", folder.join(file).display());
    }
    let (life, suggestions) = match found {
        Found::Node { node, records } => (Life::of(&node, &records, last), Vec::new()),
        Found::Nothing { suggestions } => (None, suggestions),
    };
    Ok(FoundNode {
        life,
        suggestions,
        whole: unread.is_empty(),
    })
}

impl FoundNode {
    /// Says that there is no such node.
    pub(super) fn not_found(&self, name: &str, folder: &Path) -> Exit {
        let hint = match self.suggestions.as_slice() {
            [] => "the node may be older than daemon.history_days, or belong to another pool; no user of this name has jobs in \
                     the queue (a finished one: ehos explain JOB)"
                .to_owned(),
            similar => format!("similar names: {}", similar.join(", ")),
        };
        let folder = folder.display();
        error!(
            "node {}: not found in {folder}; {}",
            clean(name),
            clean(&hint)
        );
        // The node may be in a day that was not searched.
        if self.whole {
            Exit::Failed
        } else {
            Exit::State
        }
    }
}

/// Writes the history of the node to `out`.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn write(
    life: &Life,
    args: &Explain,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let printed = match args.output {
        Output::Json => json::pretty(life)?,
        Output::Text => Page::new(args, environment).life(life),
    };
    out.write_all(printed.as_bytes())
        .context("the history cannot be printed")?;
    Ok(Exit::Done)
}

impl Page {
    fn life(&self, life: &Life) -> String {
        let mut text = String::new();
        self.say(&mut text, "node     ", &life.node, Style::Bold);
        self.say(&mut text, "name     ", &life.name, Style::Plain);
        let of = |known: &Option<String>| known.clone().unwrap_or_else(|| "unknown".to_owned());
        self.say(&mut text, "server   ", &of(&life.server), Style::Plain);
        self.say(&mut text, "host     ", &of(&life.machine), Style::Plain);
        let place = format!("{} in {}, image {}", life.flavor, life.cloud, life.image);
        self.say(&mut text, "type     ", &place, Style::Plain);
        text.push('\n');
        let mut before = None;
        for step in &life.events {
            let label = format!("{}  ", self.time(&step.at));
            self.say(&mut text, &label, &happened(step, before), style(step));
            before = step.phase.as_ref().or(before);
        }
        text.push('\n');
        let phases: Vec<String> = life.phases.iter().map(part_in_words).collect();
        if !phases.is_empty() {
            self.say(&mut text, "phases   ", &phases.join(", "), Style::Plain);
        }
        if let Some(cost) = life.cost {
            self.say(
                &mut text,
                "cost     ",
                &format!("about {cost}"),
                Style::Plain,
            );
        }
        let answer = life.end.sentence(|at| self.time(at));
        self.say(&mut text, "", &answer, style_of_end(&life.end));
        text
    }
}

/// An event in a sentence.
fn happened(step: &LifeEvent, before: Option<&Named<PhaseName>>) -> String {
    let phase = step
        .phase
        .as_ref()
        .map_or_else(String::new, Named::to_string);
    let what = step.decision.as_ref().map_or_else(String::new, in_words);
    let is_new = step
        .phase
        .as_ref()
        .is_some_and(|phase| phase.is(PhaseName::New));
    // The sentence of many phases begins with their name.
    let moved = step.phase.is_some() && step.phase.as_ref() != before && !is_new;
    let moved = moved && (!what.is_empty() || !step.text.starts_with(&phase));
    let mut text = String::new();
    for part in [if moved { phase.as_str() } else { "" }, what.as_str()] {
        if !part.is_empty() {
            let separator = if text.is_empty() { "" } else { ", " };
            text += &format!("{separator}{part}");
        }
    }
    if text.is_empty() {
        text.clone_from(&step.text);
    } else {
        text += &format!(": {}", step.text);
    }
    for deed in &step.actions {
        text += &done(deed);
    }
    text
}

/// The result of an action.
fn done(deed: &ActionTaken) -> String {
    let ActionTaken {
        action,
        result,
        message,
    } = deed;
    let message = message.as_deref().unwrap_or_default();
    match result.known() {
        Some(ActionResult::Done | ActionResult::Planned) => format!(" [{action}: done]"),
        Some(ActionResult::Changed) => format!(" [{action}: skipped, {message}]"),
        Some(ActionResult::Failed) => format!(" [{action}: failed, {message}]"),
        None => format!(" [{action}: {result}, {message}]"),
    }
}

fn style(step: &LifeEvent) -> Style {
    let failed = |deed: &ActionTaken| deed.result.is(ActionResult::Failed);
    let phase = step.phase.as_ref().and_then(Named::known);
    if step.actions.iter().any(failed) || phase.is_some_and(is_unhealthy) {
        Style::Bad
    } else {
        Style::Plain
    }
}

fn style_of_end(end: &End) -> Style {
    match end {
        End::There { .. } | End::Deleted { .. } => Style::Bold,
        End::Gone { .. } | End::NotMade { .. } | End::Unknown { .. } => Style::Warn,
    }
}
