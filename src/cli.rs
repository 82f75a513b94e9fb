//! The command line, nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Elastic HTCondor OpenStack Scaling: makes an HTCondor pool exactly as large as its queue needs.
#[derive(Debug, Parser)]
#[command(name = "ehos", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look, plan and act once: run every minute by a timer
    Tick(Tick),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file; later ones are merged over earlier ones [default: $EHOS_CONFIG, else ehos.yaml of the
    /// first of /etc/ehos, /usr/local/etc/ehos, /usr/share/ehos, /usr/local/share/ehos, configs that has one]
    #[arg(long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Where the state is kept [default: $STATE_DIRECTORY, state_dir of the configuration, /var/lib/ehos for root]
    #[arg(long, value_name = "DIR", env = "EHOS_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Say more on standard error: -v what is done, -vv each request
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `ehos tick`.
#[derive(Debug, Args)]
pub struct Tick {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Print the plan and why; write, make, drain and delete nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// Servers that were found without a memory of them are this pool's, even if none has been seen in its collector
    #[arg(long)]
    pub trust_adopted: bool,
    /// Many nodes that fell silent together are really gone: let them be deleted
    #[arg(long)]
    pub trust_silence: bool,
}
