//! The command line: commands, flags and their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::civil::Date;

/// Elastic HTCondor OpenStack Scaling: autoscales the execute nodes of an HTCondor pool on OpenStack
#[derive(Debug, Parser)]
#[command(
    name = "ehos",
    version,
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
    #[command(subcommand)]
    pub command: Command,
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
    /// Show the history of a node and the reason for each decision
    ///
    /// Reads the history in the state directory only. Exit code 1: no such node.
    #[command(after_help = "\
Examples:
  ehos explain 20270115t090200-01                      By the id of the node
  ehos explain ehos-v1-execute-20270115t090200-01      By the name of the server")]
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
    /// Check configuration, HTCondor, clouds, quota, images and access, without any change
    #[command(after_help = "\
Examples:
  ehos check                   Check everything
  ehos check --cloud green     Check one cloud")]
    Check(Check),
    /// End backoff and protected mode of a cloud, so that ehos creates nodes there again
    ///
    /// Run this command after the cause of the failures was corrected. For a cloud that is no longer in the configuration,
    /// ehos forgets the nodes in it.
    Resume(Resume),
    /// Show what a configuration costs and how long jobs wait, by replaying jobs on a simulated site
    ///
    /// The planner of `ehos tick` decides on simulated clouds and a simulated pool; no service is changed. Input: the output of
    /// condor_history (-json or -long) or its file, a job event log, the history of ehos, a trace in the Standard Workload
    /// Format, CSV, or a generator. See docs/choosing.md.
    #[command(after_help = SIMULATE_EXAMPLES)]
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

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build a golden image in every cloud
    ///
    /// Boots a builder with base.yaml, waits until cloud-init has finished, stops the builder, creates a snapshot, and
    /// deletes the builder.
    Build(ImageBuild),
    /// List the golden images of this pool
    List(ImageList),
    /// Delete old, unused golden images of this pool
    Prune(ImagePrune),
}

#[derive(Debug, Subcommand)]
pub enum MasterCommand {
    /// Create the central manager, and install ehos with its timer there
    #[command(after_help = "\
Examples:
  ehos master deploy --dry-run          Show the server that ehos would create
  ehos master deploy --build-image      Build the golden image first")]
    Deploy(Box<MasterDeploy>),
}

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

const SIMULATE_EXAMPLES: &str = "\
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
    #[arg(long, value_name = "FILE", required_unless_present = "site")]
    pub jobs: Vec<PathBuf>,
    /// Format of the files [default: recognized by their contents]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Split each parallel job of a trace into single-core jobs
    #[arg(long)]
    pub split: bool,
    /// Take the jobs from condor_history, sizes and quotas from the clouds, and boot times from ehos's history
    #[arg(long, conflicts_with = "jobs")]
    pub site: bool,
    /// With --site: days of the history
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "site")]
    pub days: u64,
    /// Change a key of the configuration, as `ehos config show` prints it; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Try each of these values of a key, with each of those of other --sweep
    #[arg(long = "sweep", value_name = "KEY=V1,V2,…")]
    pub sweep: Vec<String>,
    /// Compare with a rule of another program: original-ehos, queue-cores, utilization-feedback, idle-timeout:TIME,
    /// fixed:NODES, all
    #[arg(long = "against", value_name = "RULE")]
    pub against: Vec<String>,
    /// Size of a flavor, where nothing else says it: cores, memory in GB, and price for an hour
    #[arg(long = "flavor", value_name = "NAME=CORES,GB[,PRICE]")]
    pub flavors: Vec<String>,
    /// Time from the create of a server until its startd joins; `history`: as the ticks of --state-dir saw it
    /// [default: 60s..90s; with --site: history]
    #[arg(long, value_name = "TIME[..TIME]")]
    pub boot: Option<String>,
    /// Share of servers that never join
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub boot_failures: f64,
    /// NEGOTIATOR_INTERVAL of the pool [default: 10s; with --site: that of the pool]
    #[arg(long, value_name = "TIME")]
    pub negotiator_interval: Option<String>,
    /// NEGOTIATOR_CYCLE_DELAY of the pool [default: 5s; with --site: that of the pool]
    #[arg(long, value_name = "TIME")]
    pub negotiator_cycle_delay: Option<String>,
    /// Jobs go to the emptiest node that fits, not to the fullest (NEGOTIATOR_PRE_JOB_RANK)
    #[arg(long)]
    pub breadth_first: bool,
    /// Seed of boot times, failures and generators
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = SimulateOutput::Table)]
    pub output: SimulateOutput,
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
    /// Increase log verbosity (-v: progress, -vv: each request)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
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
    /// Node id, server name, server UUID or host name; of several nodes with that name, the newest
    #[arg(value_name = "NODE")]
    pub node: String,
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
    /// Clouds in which to end backoff and protected mode; removed clouds, to forget them
    #[arg(value_name = "CLOUD", required = true)]
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
    /// Increase log verbosity (-v: progress, -vv: each request)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
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

#[derive(Debug, Args)]
pub struct ImageBuild {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub clouds: Clouds,
    #[command(flatten)]
    pub recipe: ImageRecipe,
    /// Keep the builder (stopped) after the snapshot
    #[arg(long)]
    pub keep_server: bool,
    /// Print the changes without making them
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// The recipe of a golden image.
#[derive(Debug, Args)]
pub struct ImageRecipe {
    /// Cloud-init file of the builder [default: base.yaml of the configuration folders]
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// Base image, name or id [default: base_image of the configuration]
    #[arg(long, value_name = "IMAGE")]
    pub from: Option<String>,
    /// Flavor of the builder [default: the first flavor of the cloud]
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// Name of the new image [default: PROJECT_PREFIX-DATE-TIME]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Keep the server of a failed build for debugging; the next build deletes it
    #[arg(long, alias = "keep")]
    pub keep_failed: bool,
    /// Timeout of the whole build
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct ImageList {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub clouds: Clouds,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct ImagePrune {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub clouds: Clouds,
    /// Number of newest images to keep in each cloud; used and configured images are always kept
    #[arg(long, value_name = "N")]
    pub keep: usize,
    /// Print the changes without making them
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct MasterDeploy {
    #[command(flatten)]
    pub common: Common,
    /// Cloud of the central manager [default: the first of the configuration]
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// Golden image, name or id [default: image of the configuration]
    #[arg(long, value_name = "IMAGE", conflicts_with = "build_image")]
    pub image: Option<String>,
    /// Build a golden image in every cloud first
    #[arg(long)]
    pub build_image: bool,
    /// With --build-image: cloud-init file of the builder [default: base.yaml]
    #[arg(long, value_name = "FILE", requires = "build_image")]
    pub base: Option<PathBuf>,
    /// With --build-image: base image [default: base_image]
    #[arg(long, value_name = "IMAGE", requires = "build_image")]
    pub from: Option<String>,
    /// Flavor of the central manager [default: the first flavor of the cloud]
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// Server name and host name of the central manager [default: PROJECT_PREFIX-master]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Cloud-init template of the central manager [default: master.yaml of the configuration folders]
    #[arg(long, value_name = "FILE")]
    pub master: Option<PathBuf>,
    /// Cloud-init template of nodes, copied to the central manager [default: userdata_file of the configuration]
    #[arg(long, value_name = "FILE")]
    pub execute: Option<PathBuf>,
    /// TRUST_DOMAIN and UID_DOMAIN of the pool [default: condor.trust_domain, else ehos.CLUSTER]
    #[arg(long, value_name = "DOMAIN")]
    pub trust_domain: Option<String>,
    /// Associate a floating IP of this external network
    #[arg(long, value_name = "NETWORK")]
    pub floating_ip: Option<String>,
    /// SSH user [default: the one that cloud-init prints on the console]
    #[arg(long, value_name = "USER")]
    pub ssh_user: Option<String>,
    /// SSH private key [default: the key in ~/.ssh whose .pub is the keypair, else the keys of ssh]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Trust the host key of the server if its console does not show one
    #[arg(long)]
    pub accept_host_key: bool,
    /// UUID of a server without a valid ehos_proof to trust as the central manager, which receives its secrets; repeatable
    #[arg(long, value_name = "UUID", value_delimiter = ',')]
    pub trust_server: Vec<String>,
    /// ehos binary to install [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "package")]
    pub binary: Option<PathBuf>,
    /// URL of a .deb, .rpm or binary for the central manager to download instead; needs --sha256
    #[arg(long, value_name = "URL", requires = "sha256")]
    pub package: Option<String>,
    /// SHA-256 checksum of --package, in hexadecimal
    #[arg(long, value_name = "HEX", requires = "package", value_parser = sha256)]
    pub sha256: Option<String>,
    /// Keep the server of a failed deployment for debugging; the next run continues with it
    #[arg(long, alias = "keep")]
    pub keep_failed: bool,
    /// Timeout of the deployment, without the image build
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub timeout: Duration,
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

/// 64 hexadecimal digits.
fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("must have 64 hexadecimal digits, as sha256sum prints them".to_owned())
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
