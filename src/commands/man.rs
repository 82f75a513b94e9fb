//! `ehos man`: the manual pages, made of the help.
//!
//! Source: man-pages(7) for the sections and their order.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{Cli, Man};
use system::environment::Environment;
use system::exit::Exit;

/// Sections of ehos(1) that the help of no command has.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/ehos/ehos.yaml, /etc/ehos/ehos.d/*.yaml",
        "The configuration. /usr/share/ehos/ehos.yaml.example is an example.",
    ),
    (
        "/etc/ehos/POOL/ehos.yaml",
        "The configuration of ehos@POOL.timer, for hosts with several pools.",
    ),
    (
        "/usr/share/ehos/*.yaml",
        "Templates of user data. A file with the same name in /etc/ehos replaces one.",
    ),
    (
        "/var/lib/ehos",
        "State, history and locks of the ticks; those of POOL are in its folder below.",
    ),
];
const EXIT_CODES: [(&str, &str); 6] = [
    ("0", "Done, or nothing to do."),
    (
        "1",
        "An action or a check failed, or a source did not answer in full.",
    ),
    ("2", "Wrong usage."),
    (
        "74",
        "The state directory is unusable, or the history is unreadable.",
    ),
    ("75", "HTCondor or all clouds did not answer; try later."),
    ("78", "The configuration has a mistake."),
];
const VARIABLES: [(&str, &str); 3] = [
    (
        "EHOS_CONFIG",
        "Configuration files in the place of --config, separated by colons.",
    ),
    ("EHOS_STATE_DIR", "State directory."),
    ("NO_COLOR, CLICOLOR_FORCE", "No colors; colors everywhere."),
];

/// Prints ehos(1) to `out`, or writes the pages of all commands to a folder.
///
/// # Errors
/// When they cannot be written.
pub fn run(args: &Man, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut top = Cli::grouped().disable_help_subcommand(true);
    // Names such as `ehos tick`, and the flags of all commands.
    top.build();
    let Some(folder) = &args.folder else {
        out.write_all(&page(&top, true)?)
            .context("the page cannot be printed")?;
        return Ok(Exit::Done);
    };
    let folder = environment.working_directory.join(folder);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{}: cannot be created", folder.display()))?;
    write(&top, true, &folder)?;
    Ok(Exit::Done)
}

fn write(command: &Command, is_top: bool, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(format!("{}.1", title(command)));
    std::fs::write(&file, page(command, is_top)?)
        .with_context(|| format!("{}: cannot be written", file.display()))?;
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        write(one, false, folder)?;
    }
    Ok(())
}

/// `ehos-tick`.
fn title(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    name.replace(' ', "-")
}

fn page(command: &Command, is_top: bool) -> std::io::Result<Vec<u8>> {
    let examples = command.get_after_help().map(ToString::to_string);
    let name = title(command);
    let version = env!("CARGO_PKG_VERSION");
    // The release, not the revision: pages change with their text only.
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("ehos {version}"))
        .manual("ehos manual");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut out)?;
    }
    let commands = command.get_subcommands().filter(|one| !one.is_hide_set());
    let commands: Vec<(String, String)> = commands
        .map(|one| {
            let about = one.get_about().map(ToString::to_string);
            (
                format!("{}(1)", title(one)),
                about.unwrap_or_default() + ".",
            )
        })
        .collect();
    let pairs = commands.iter().map(|(name, about)| (&**name, &**about));
    section("COMMANDS", pairs, &mut out)?;
    if is_top {
        section("EXIT STATUS", EXIT_CODES, &mut out)?;
        section("ENVIRONMENT", VARIABLES, &mut out)?;
        section("FILES", FILES, &mut out)?;
    }
    if let Some(examples) = examples {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        let lines = examples.lines().filter(|line| *line != "Examples:");
        for line in lines {
            roff.text([roman(line)]);
        }
        roff.control("fi", []).to_writer(&mut out)?;
    }
    let also = match is_top {
        true => [
            "condor_q(1), condor_status(1), openstack(1)",
            "/usr/share/doc/ehos",
        ],
        false => ["ehos(1)", "/usr/share/doc/ehos"],
    };
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(also.join(", "))]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// A section of terms and what they mean; none without a term.
fn section<'a>(
    heading: &str,
    terms: impl IntoIterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut terms = terms.into_iter().peekable();
    if terms.peek().is_none() {
        return Ok(());
    }
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(meaning)]);
    }
    roff.to_writer(out)
}
