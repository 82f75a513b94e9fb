//! Flags of `ehos cost`.

use clap::{Args, ValueEnum};
use jiff::civil::Date;

use super::Common;

/// By what `ehos cost` adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CostBy {
    /// User that submitted the job
    Owner,
    /// Accounting group of the job
    AccountingGroup,
    /// Cloud of the node
    Cloud,
    /// Flavor of the node
    Flavor,
    /// Day, in the time zone of the configuration
    Day,
    /// Node
    Node,
}

/// The output formats of `ehos cost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CostOutput {
    /// For people: the 20 largest
    Table,
    /// For spreadsheets
    Csv,
    /// For programs, see docs/json.md
    Json,
}

/// `ehos cost`.
#[derive(Debug, Args)]
pub struct Cost {
    #[command(flatten)]
    pub common: Common,
    /// By what to add up
    #[arg(long, value_enum, default_value_t = CostBy::Owner)]
    pub by: CostBy,
    /// Calendar month [default: the current one]
    #[arg(long, value_name = "YYYY-MM", conflicts_with = "from", value_parser = crate::commands::cost::month)]
    pub month: Option<Date>,
    /// First day
    #[arg(long, value_name = "DATE", value_parser = crate::commands::cost::date)]
    pub from: Option<Date>,
    /// Last day, which is part of the period [default: today]
    #[arg(long, value_name = "DATE", requires = "from", value_parser = crate::commands::cost::date)]
    pub to: Option<Date>,
    /// Show boot, idle and drain time apart
    #[arg(long)]
    pub apart: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = CostOutput::Table)]
    pub output: CostOutput,
}
