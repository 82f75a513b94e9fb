//! Flags of `ehos simulate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

pub(super) const SIMULATE_EXAMPLES: &str = "\
Examples:
  condor_history -json > jobs.json
  ehos simulate --jobs jobs.json --against original-ehos --against fixed:20
  ehos simulate --jobs jobs.json --sweep daemon.idle_timeout=30s,2m,10m --sweep daemon.nodes_spare=0,1,2
  ehos simulate --jobs 'poisson:rate=30/h,days=7' --set daemon.nodes_max=50 -o html > choice.html
  ehos simulate --site --days 30      (on the central manager)";

/// How the results of `ehos simulate` are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SimulateOutput {
    /// For people
    Table,
    /// For programs, see docs/json.md
    Json,
    /// One page with its plots
    Html,
}

/// `ehos simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    #[command(flatten)]
    pub common: Common,
    /// File of jobs, `-` for standard input, or a generator (poisson:…, bursts:…, week:…); several are joined
    #[arg(
        help_heading = "Jobs",
        long,
        value_name = "FILE",
        required_unless_present = "site"
    )]
    pub jobs: Vec<PathBuf>,
    /// Format of the files [default: recognized by their contents]
    #[arg(help_heading = "Jobs", long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Split each parallel job of a trace into single-core jobs
    #[arg(help_heading = "Jobs", long)]
    pub split: bool,
    /// Take the jobs from condor_history, sizes and quotas from the clouds, and boot times from ehos's history
    #[arg(help_heading = "Jobs", long, conflicts_with = "jobs")]
    pub site: bool,
    /// With --site: days of the history
    #[arg(
        help_heading = "Jobs",
        long,
        value_name = "DAYS",
        default_value_t = 30,
        requires = "site"
    )]
    pub days: u64,
    /// Change a key of the configuration, as `ehos config show` prints it; can be given several times
    #[arg(help_heading = "Comparison", long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Try each of these values of a key, with each of those of other --sweep
    #[arg(
        help_heading = "Comparison",
        long = "sweep",
        value_name = "KEY=V1,V2,…"
    )]
    pub sweep: Vec<String>,
    /// Compare with a rule of another program: original-ehos, queue-cores, utilization-feedback, idle-timeout:TIME,
    /// fixed:NODES, all
    #[arg(help_heading = "Comparison", long = "against", value_name = "RULE")]
    pub against: Vec<String>,
    /// Size of a flavor, where nothing else says it: cores, memory in GB, and price for an hour
    #[arg(
        help_heading = "Simulated site",
        long = "flavor",
        value_name = "NAME=CORES,GB[,PRICE]"
    )]
    pub flavors: Vec<String>,
    /// Time from the create of a server until its startd joins; `history`: as the ticks of --state-dir saw it
    /// [default: 60s..90s; with --site: history]
    #[arg(help_heading = "Simulated site", long, value_name = "TIME[..TIME]")]
    pub boot: Option<String>,
    /// Share of servers that never join
    #[arg(
        help_heading = "Simulated site",
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        value_parser = share
    )]
    pub boot_failures: f64,
    /// NEGOTIATOR_INTERVAL of the pool [default: 10s; with --site: that of the pool]
    #[arg(help_heading = "Simulated site", long, value_name = "TIME")]
    pub negotiator_interval: Option<String>,
    /// NEGOTIATOR_CYCLE_DELAY of the pool [default: 5s; with --site: that of the pool]
    #[arg(help_heading = "Simulated site", long, value_name = "TIME")]
    pub negotiator_cycle_delay: Option<String>,
    /// Jobs go to the emptiest node that fits, not to the fullest (NEGOTIATOR_PRE_JOB_RANK)
    #[arg(help_heading = "Simulated site", long)]
    pub breadth_first: bool,
    /// Seed of boot times, failures and generators
    #[arg(help_heading = "Jobs", long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = SimulateOutput::Table)]
    pub output: SimulateOutput,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1".to_owned())
}
