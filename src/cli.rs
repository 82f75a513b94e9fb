//! The command line: commands, flags and their help.

mod cost;
mod grouped;
mod image;
mod maintenance;
mod master;
mod simulate;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub use cost::*;
pub use image::*;
pub use maintenance::*;
pub use master::*;
pub use simulate::{Simulate, SimulateOutput};

/// Elastic HTCondor OpenStack Scaling: autoscales the execute nodes of an HTCondor pool on OpenStack
#[derive(Debug, Parser)]
#[command(
    name = "ehos",
    version = option_env!("EHOS_VERSION").unwrap_or(env!("CARGO_PKG_VERSION")),
    max_term_width = 100,
    after_help = "\
Examples:
  ehos check              Find problems of the configuration, the pool and the clouds
  ehos tick --dry-run     Show the plan of a scaling pass, without any change
  ehos status             Show problems, queue, nodes and clouds
  ehos explain NODE       Show the history of a node
  ehos resume CLOUD       Create nodes again after a cause of failures was corrected"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line with its help: commands in groups, examples at the end.
    pub fn grouped() -> clap::Command {
        grouped::command(Cli::command())
    }
}

/// The flags before and behind each command.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Increase log verbosity (-v: progress, -vv: each request)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print problems only: no report without one, no progress (for cron)
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Colors: on a terminal, unless $NO_COLOR is set; always, as with $CLICOLOR_FORCE; or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value = "auto"
    )]
    pub color: ColorWhen,
}

/// When output has colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one scaling pass (started every minute by a systemd timer)
    ///
    /// Observes the pool and the clouds, plans, then creates, drains and deletes nodes. To see the plan without any change,
    /// add --dry-run.
    #[command(after_help = "\
Examples:
  ehos tick --dry-run              Show the plan, without any change
  ehos tick --dry-run -o json      Print the same plan for programs
  ehos tick --trust-silence        Delete nodes that are lost although many are silent")]
    Tick(Tick),
    /// Report by exit code whether a tick is due before the next minute: 0 yes, 1 no
    ///
    /// A tick is due if jobs were submitted or ended, by the event log of HTCondor, or if the last tick requested another
    /// one. Reads local files only. The units ehos.path and ehos-soon.service run this command.
    Due(Due),
    /// Show problems, queue, nodes and clouds as of the last tick (reads local files only)
    ///
    /// Reads history/last.json of the state directory. Exit codes: 0 no problem; 1 a problem (an unknown source, protected
    /// mode, a brake, a failed or late tick; with -o influx or prometheus only a late tick); 74 the file cannot be read; 75
    /// no tick yet; 78 a newer ehos wrote the file.
    #[command(after_help = "\
Examples:
  ehos status                 Show the last tick
  ehos status --all           Show every node and every job group
  ehos status --watch         Show each new tick
  ehos status -o prometheus   Print metrics")]
    Status(Status),
    /// Show why a job waits, where it runs or ran, or the history of a node
    ///
    /// Every user of the pool can run this command. For a job, ehos queries the schedd (condor_q, condor_history), and reads the
    /// decisions of the last tick in the state directory, or at --url. Exit codes: 0 done; 1 no such job, user or node; 74 the
    /// decisions cannot be read; 75 no tick, or the schedd does not answer.
    #[command(after_help = "\
Examples:
  ehos explain 1234.0                                  A job
  ehos explain 1234                                    All jobs of a cluster
  ehos explain alice                                   All jobs of a user
  ehos explain 1234.0 --url http://localhost:5000      On a host without the state directory, through an SSH tunnel
  ehos explain 20270115t090200-01                      A node by its id
  ehos explain ehos-v1-execute-20270115t090200-01      A node by the name of its server")]
    Explain(Explain),
    /// Show who pays: the cost of nodes, shared out over the jobs that ran on them
    ///
    /// Nodes, their times and prices come from the history of ehos, jobs from condor_history and condor_q; nothing is changed.
    /// Each job pays for the larger of its shares of cores and memory of its node, for as long as it ran. Boot, idle and drain
    /// time is shared in the same proportion. The period ends at the last tick. Exit code 75: a schedd did not answer, its jobs
    /// are unattributed. See docs/cost.md.
    #[command(after_help = "\
Examples:
  ehos cost                                      Costs of this month by owner
  ehos cost --by accounting-group --month 2026-11 --apart
  ehos cost --by day --from 2026-11-01 --to 2026-11-14 -o csv")]
    Cost(Cost),
    /// Check configuration, HTCondor, clouds, quota, images and access
    ///
    /// Changes nothing without --fix. With --fix, ehos shows the safe changes and asks before it makes them: owner and mode
    /// of the state directory, files with secrets that others can read, a missing keypair, security group, rule for port
    /// 9618 within the group, or server group. Then it checks again.
    #[command(after_help = "\
Examples:
  ehos check                   Check everything
  ehos check --cloud green     Check one cloud
  ehos check --fix             Show the changes that would help, and ask before making them")]
    Check(Check),
    /// Pause creates in a cloud or in all clouds, with --deletes also drains and deletes
    ///
    /// Jobs run on. Every report shows the pause; it is no problem and sends no notification. Builders of `ehos image build`
    /// are not paused. See docs/maintenance.md.
    #[command(after_help = "\
Examples:
  ehos pause                                          Create no node until `ehos resume`
  ehos pause blue --until 18:00 --reason \"new disks\"   Create none in cloud blue until 18:00
  ehos pause blue --deletes --until 2h                Drain and delete none either")]
    Pause(Pause),
    /// End a pause; with a cloud also its backoff and protected mode, so that ehos creates nodes there again
    ///
    /// Without a cloud: ends the pause of all clouds. With clouds: run this command after the cause of the failures was
    /// corrected. For a cloud that is no longer in the configuration, ehos forgets the nodes in it.
    #[command(after_help = "\
Examples:
  ehos resume          End the pause of all clouds
  ehos resume blue     End pause, backoff and protected mode of cloud blue")]
    Resume(Resume),
    /// Give nodes no new demand, and delete them once they are idle
    ///
    /// Running jobs end by themselves. ehos creates no other node in place of a drained one beyond demand, nodes_min and
    /// nodes_spare; with --replace the node no longer counts for nodes_min and nodes_spare, and a quarter of the pool is
    /// drained at a time.
    #[command(after_help = "\
Examples:
  ehos drain 20270115t090200-01           Drain one node
  ehos drain --image gold-1 --replace     Replace all nodes of an image
  ehos drain --all --cancel               Withdraw all drain requests")]
    Drain(Drain),
    /// Keep nodes: ehos neither drains nor deletes them
    ///
    /// A kept node runs jobs and counts for nodes_min, nodes_spare and nodes_max. Every report says how many nodes are kept,
    /// and what they cost per hour.
    #[command(after_help = "\
Examples:
  ehos keep 20270115t090200-01 --until 2h     Keep a node for two hours
  ehos keep --release 20270115t090200-01      Release it")]
    Keep(Keep),
    /// Delete a node, and end the jobs that run on it
    ///
    /// Names the jobs and their owners, and asks. The next tick deletes the server, whatever runs on it then. Exit code 1:
    /// nothing was requested.
    #[command(after_help = "\
Examples:
  ehos delete 20270115t090200-01              Show the jobs, ask, and delete the node
  ehos delete 20270115t090200-01 --yes        Delete it without a question
  ehos delete 20270115t090200-01 --cancel     Withdraw a request that no tick has carried out")]
    Delete(Delete),
    /// Take the whole pool away: nodes, builders, images, keypair, security groups
    ///
    /// Saves a request: ticks then create nothing, and drain and delete every node and builder. Run the command again until
    /// it ends with exit code 0. Once no node is left, it deletes what ehos created for this pool, known by its mark, and
    /// names what it leaves with the command that deletes it. The central manager stays. `ehos resume` ends the request.
    #[command(after_help = "\
Examples:
  ehos retire --dry-run     List everything in order, without any change
  ehos retire               Ask for the pool id, and take away what can go now
  ehos retire --now         Delete nodes without waiting for their jobs, which end")]
    Retire(Retire),
    /// Show what a configuration costs and how long jobs wait, by replaying jobs on a simulated site
    ///
    /// The planner of `ehos tick` decides on simulated clouds and a simulated pool; no service is changed. Input: the output of
    /// condor_history (-json or -long) or its file, a job event log, the history of ehos, a trace in the Standard Workload
    /// Format, CSV, or a generator. See docs/choosing.md.
    #[command(after_help = simulate::SIMULATE_EXAMPLES)]
    Simulate(Box<Simulate>),
    /// Serve a web page that shows the pool, or write it to a file (reads local files only)
    Frontend(Frontend),
    /// Write, show and check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prepare clouds: keypair, security group and server group
    #[command(subcommand)]
    Cloud(CloudCommand),
    /// Build, list and prune golden images, from which nodes boot
    #[command(subcommand)]
    Image(ImageCommand),
    /// Deploy the central manager
    #[command(subcommand)]
    Master(MasterCommand),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  ehos completions bash > /etc/bash_completion.d/ehos
  ehos completions zsh > /usr/local/share/zsh/site-functions/_ehos
  ehos completions fish > /etc/fish/completions/ehos.fish")]
    Completions(Completions),
    /// Print the manual page, or write the page of each command to a folder
    #[command(after_help = "\
Examples:
  ehos man | man -l -                  Read the page of ehos
  ehos man /usr/local/share/man/man1   Write the pages of all commands")]
    Man(Man),
}

/// `ehos completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Shell that reads the completions
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: CompletionShell,
}

/// The shells with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// `ehos man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder for ehos.1, ehos-tick.1 and the other pages; created if missing
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a first ehos.yaml with image, flavor, network and keypair of a cloud
    #[command(after_help = "\
Examples:
  ehos config init --os-cloud green             From an entry of clouds.yaml
  ehos config init --openrc green-openrc.sh     From an openrc file")]
    Init(ConfigInit),
    /// Print the merged configuration and the origin of each value; secrets are masked
    Show(ConfigShow),
    /// Check the configuration only (reads local files only)
    Check(ConfigCheck),
    /// Print the user data of a template, to create a server by hand. The output is a secret
    ///
    /// For `openstack server create --user-data FILE`. Such a server has no metadata of ehos: ehos never counts or deletes
    /// it, although a server of execute.yaml joins the pool.
    Render(ConfigRender),
    /// Print the JSON schema of ehos.yaml (draft 2020-12), for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub enum CloudCommand {
    /// Create keypair, security group and server group where they are missing
    #[command(after_help = "\
Examples:
  ehos cloud setup --dry-run                    Show the changes
  ehos cloud setup --ssh-from 192.0.2.0/24      Permit SSH from one network only")]
    Setup(CloudSetup),
}

/// How results are printed.
/// The output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people
    Text,
    /// JSON for programs
    Json,
}

/// The flags of every command.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file; repeatable, later files override earlier ones [default: $EHOS_CONFIG, else ehos.yaml in the
    /// first of /etc/ehos, /usr/local/etc/ehos, /usr/share/ehos, /usr/local/share/ehos, configs that contains one]
    #[arg(long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// State directory [default: daemon.state_dir, else $STATE_DIRECTORY, else /var/lib/ehos for root]
    #[arg(long, value_name = "DIR", env = "EHOS_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// The clouds of a command.
#[derive(Debug, Args)]
pub struct Clouds {
    /// Cloud of the configuration; repeatable [default: all]
    #[arg(long = "cloud", value_name = "NAME")]
    pub names: Vec<String>,
}

/// The output formats of `ehos status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// Table for people
    Table,
    /// JSON for programs, as `ehos tick -o json`
    Json,
    /// Lines for InfluxDB and Telegraf
    Influx,
    /// Metrics for Prometheus
    Prometheus,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub common: Common,
    /// Output format
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "table"
    )]
    pub output: StatusOutput,
    /// Show every node and every job group
    #[arg(short, long, visible_alias = "nodes")]
    pub all: bool,
    /// Print times in UTC [default: the time zone of this machine]
    #[arg(long)]
    pub utc: bool,
    /// Repeat: check for a new tick every SECONDS, and print it [default: 2]
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = pause)]
    pub watch: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub common: Common,
    /// Job (CLUSTER.PROC or SCHEDD#CLUSTER.PROC), cluster of jobs, or user; node by id, server name, server UUID or host
    /// name, of several nodes with that name the newest
    #[arg(value_name = "JOB|USER|NODE")]
    pub subject: String,
    /// Schedd of the job, by name [default: the one of this machine]
    #[arg(long, value_name = "NAME")]
    pub schedd: Option<String>,
    /// Read the last tick from the page of ehos at this address instead of the state directory
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File with the token of that page
    #[arg(long, value_name = "FILE", requires = "url")]
    pub token_file: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// Print times in UTC [default: the time zone of this machine]
    #[arg(long)]
    pub utc: bool,
}

#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    pub common: Common,
    /// Clouds in which to end pause, backoff and protected mode; removed clouds, to forget them [default: only the pause of
    /// all clouds]
    #[arg(value_name = "CLOUD")]
    pub clouds: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Frontend {
    #[command(flatten)]
    pub common: Common,
    /// Address and port; see docs/security.md before you listen on another address than loopback
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    pub listen: std::net::SocketAddr,
    /// Host name of the page besides localhost; repeatable
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Print the address of the page with its token, and exit
    #[arg(long, conflicts_with_all = ["once", "no_token"])]
    pub url: bool,
    /// File of the token of the page [default: frontend.token in the state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    pub token_file: Option<PathBuf>,
    /// Serve the page without a token: every user of this machine sees it
    #[arg(long)]
    pub no_token: bool,
    /// Folder of the history [default: history in the state directory]
    #[arg(long, value_name = "DIR", conflicts_with = "state_dir")]
    pub history: Option<PathBuf>,
    /// Write the page with its data to one file, instead of serving it; `-` prints it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "hosts"])]
    pub once: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub clouds: Clouds,
    /// Make the safe changes that would help, after a question; without a terminal, show them only
    #[arg(long)]
    pub fix: bool,
    /// With --fix: make the changes without a question
    #[arg(short, long, requires = "fix")]
    pub yes: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct ConfigInit {
    /// Read the access from this openrc (keystone) file
    #[arg(long, value_name = "FILE", conflicts_with = "os_cloud")]
    pub openrc: Option<PathBuf>,
    /// Read the access from this entry of clouds.yaml [default: $OS_CLOUD, the OS_* variables, the only entry]
    #[arg(long, value_name = "NAME")]
    pub os_cloud: Option<String>,
    /// Name of the cloud in the configuration [default: its name in clouds.yaml, else that of its project]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// File to write; never overwritten; `-` prints the configuration without secrets
    #[arg(short, long, value_name = "FILE", default_value = "ehos.yaml")]
    pub output: PathBuf,
    /// Least number of cores of a node
    #[arg(long, value_name = "CORES", default_value_t = 2)]
    pub min_cores: u64,
    /// Least memory of a node, in GB
    #[arg(long, value_name = "GB", default_value_t = 4.0)]
    pub min_ram: f64,
    /// Write a drop-in too, by which systemd passes the secret from root to the unit (LoadCredential=), such as
    /// /etc/systemd/system/ehos.service.d/50-CLOUD.conf
    #[arg(long, value_name = "FILE")]
    pub credential_drop_in: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ConfigShow {
    #[command(flatten)]
    pub common: Common,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct ConfigCheck {
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct ConfigRender {
    #[command(flatten)]
    pub common: Common,
    /// Template: base.yaml, master.yaml, execute.yaml (userdata_file of the cloud), or a path
    pub template: PathBuf,
    /// Cloud of the server [default: the first]
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// New file, readable by its owner only [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CloudSetup {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub clouds: Clouds,
    /// Public key to import, if missing in the cloud [default: the first of ~/.ssh/id_{ed25519,ecdsa,rsa}.pub]
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Permit port 9618 from outside the security group as well (nodes in several clouds)
    #[arg(long)]
    pub external: bool,
    /// Network from which SSH is permitted; repeatable
    #[arg(long, value_name = "CIDR", default_values = ["0.0.0.0/0", "::/0"])]
    pub ssh_from: Vec<openstack::rule::Prefix>,
    /// Print the changes without making them
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `10m`, `90s`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    keys::duration(text).map_err(|(problem, remedy)| match remedy {
        Some(remedy) => format!("{problem}; {remedy}"),
        None => problem,
    })
}

/// A duration that is not 0.
fn pause(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be greater than 0".to_owned()),
        pause => Ok(pause),
    }
}

#[derive(Debug, Args)]
pub struct Due {
    #[command(flatten)]
    pub common: Common,
    /// Wait this long first, to combine events, then until a later tick is due; at most 60 s in all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Tick {
    #[command(flatten)]
    pub common: Common,
    /// Print the plan and its reasons without any change
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// Trust adopted servers, even if the collector of this pool has had none of their ads
    #[arg(long)]
    pub trust_adopted: bool,
    /// UUIDs of servers without a valid ehos_proof to trust as nodes of this pool; repeatable
    #[arg(long, value_name = "UUID", value_delimiter = ',')]
    pub trust_server: Vec<String>,
    /// Allow deletes in this tick although many nodes are silent (disables the nodes_vanished brake)
    #[arg(long)]
    pub trust_silence: bool,
    /// Least time until `ehos due` reports another tick; set by the units [default: one tick per minute]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub look_again: Option<Duration>,
}
