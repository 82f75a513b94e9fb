//! The help of `ehos`: its commands in groups.

use std::fmt::Write as _;

use clap::Command;
use clap::builder::Styles;

use report::status::layout::wrap;

/// Headings and the commands below them. A command of no group stands below the last heading.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Run the pool",
        &[
            "tick", "due", "pause", "resume", "drain", "keep", "delete", "retire",
        ],
    ),
    (
        "See the pool",
        &["status", "explain", "cost", "check", "frontend"],
    ),
    ("Choose a configuration", &["config", "simulate"]),
    ("Set up", &["cloud", "image", "master"]),
    ("Other commands", &["completions", "man", "help"]),
];

/// The columns of a terminal of the usual size.
const WIDTH: usize = 80;

/// The command with a help that lists its commands in groups.
pub(super) fn command(command: Command) -> Command {
    let text = template(&command);
    command.help_template(text)
}

fn template(command: &Command) -> String {
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let commands: Vec<_> = command.get_subcommands().collect();
    let names = commands.iter().map(|one| one.get_name().len());
    let width = names.max().unwrap_or_default();
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (index, (heading, names)) in GROUPS.iter().enumerate() {
        _ = writeln!(text, "\n{header}{heading}:{header:#}");
        let is_last = index + 1 == GROUPS.len();
        let shown = commands.iter().filter(|one| {
            let name = one.get_name();
            names.contains(&name) || is_last && !grouped(name)
        });
        for one in shown.filter(|one| !one.is_hide_set()) {
            let name = one.get_name();
            let about = one.get_about().map(ToString::to_string);
            let about = wrap(&about.unwrap_or_default(), WIDTH - width - 4);
            let mut lines = about.iter();
            let first = lines.next().map_or("", String::as_str);
            _ = writeln!(text, "  {literal}{name:width$}{literal:#}  {first}");
            for line in lines {
                _ = writeln!(text, "  {:width$}  {line}", "");
            }
        }
    }
    text + &format!("\n{header}Options:{header:#}\n{{options}}{{after-help}}")
}
