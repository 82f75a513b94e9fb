//! Flags of the commands of operators: pause, drain, keep, delete, retire.

use clap::Args;

use super::{Common, Output};

#[derive(Debug, Args)]
pub struct Pause {
    #[command(flatten)]
    pub common: Common,
    /// Cloud to pause [default: all clouds]
    #[arg(value_name = "CLOUD")]
    pub cloud: Option<String>,
    /// End of the pause: a span (90min, 2h), a time of day (18:00), or a time stamp [default: until `ehos resume`]
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Text for the reports, at most 200 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
    /// Drain and delete no node either
    #[arg(long)]
    pub deletes: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// Nodes by name, or all that have something in common.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct NodeChoice {
    /// Node ids, server names, server UUIDs or host names
    #[arg(value_name = "NODE", conflicts_with_all = ["all", "flavor", "image", "cloud"])]
    pub nodes: Vec<String>,
    /// Every node
    #[arg(long, conflicts_with_all = ["flavor", "image", "cloud"])]
    pub all: bool,
    /// Nodes of a flavor
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// Nodes of an image, as configured when they were created
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Nodes of a cloud
    #[arg(long, value_name = "CLOUD")]
    pub cloud: Option<String>,
}

#[derive(Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub choice: NodeChoice,
    /// Replace the nodes: they no longer count for nodes_min and nodes_spare
    #[arg(long, conflicts_with = "cancel")]
    pub replace: bool,
    /// Withdraw the requests
    #[arg(long)]
    pub cancel: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Keep {
    #[command(flatten)]
    pub common: Common,
    /// Node ids, server names, server UUIDs or host names
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<String>,
    /// End of the keep: a span (90min, 2h), a time of day (18:00), or a time stamp [default: until --release]
    #[arg(long, value_name = "TIME", conflicts_with = "release")]
    pub until: Option<String>,
    /// Release the nodes
    #[arg(long)]
    pub release: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    pub common: Common,
    /// Node id, server name, server UUID or host name
    #[arg(value_name = "NODE")]
    pub node: String,
    /// End the jobs without a question
    #[arg(short, long)]
    pub yes: bool,
    /// Withdraw a request that no tick has carried out
    #[arg(long, conflicts_with = "yes")]
    pub cancel: bool,
    /// Output format; json needs --yes
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Retire {
    #[command(flatten)]
    pub common: Common,
    /// Print the list without any change
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Delete busy nodes too, and end their jobs; the command names these first
    #[arg(long)]
    pub now: bool,
    /// Ask no question
    #[arg(short, long)]
    pub yes: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// The longest reason of a pause.
const REASON_MAX: usize = 200;

/// One line of text.
fn reason(text: &str) -> Result<String, String> {
    let text = system::plain::clean(text.trim());
    match text.chars().count() {
        0..=REASON_MAX => Ok(text),
        length => Err(format!("{length} characters; write at most {REASON_MAX}")),
    }
}
