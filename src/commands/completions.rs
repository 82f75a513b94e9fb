//! `ehos completions`: the completions for a shell.

use std::io::Write;

use anyhow::Context;
use clap_complete::Shell;

use crate::cli::{Cli, CompletionShell, Completions};
use system::exit::Exit;

/// Prints the completions to `out`.
///
/// # Errors
/// When they cannot be printed.
pub fn run(args: &Completions, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let shell = match args.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::grouped(), "ehos", &mut text);
    out.write_all(&text)
        .context("the completions cannot be printed")?;
    Ok(Exit::Done)
}
