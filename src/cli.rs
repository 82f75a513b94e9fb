//! The command line, nothing else.

use std::path::PathBuf;
use std::time::Duration;

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
    /// Say by the exit code whether a tick is due before the timer's: 0 yes, 1 no
    ///
    /// It is due when jobs came or ended, by HTCondor's event log, or when the last tick asked for it. It asks no service and
    /// needs no secret. ehos.path starts it, and it has the tick started: `ehos due && ehos tick`.
    Due(Due),
    /// Show the last tick: what is wrong, queue, nodes, clouds; asks no service
    ///
    /// It reads history/last.json of the state directory. Exit code 0: all is well; 1: something should be looked at (a
    /// source that did not answer, protected mode, a brake, a last tick that failed or is older than 3 minutes and what it
    /// took; with -o influx or prometheus only the last, for collectors throw away what comes with an error); 75: no tick yet;
    /// 74: it cannot be read; 78: a newer ehos wrote it.
    Status(Status),
    /// Tell the life of a node, why it was made and why it was deleted
    ///
    /// From the history in the state directory; asks no service. Exit code 1 when no such node is known.
    Explain(Explain),
    /// Find everything that can be wrong before a server is made
    Check(Check),
    /// Make nodes in a cloud again after failures: ends back-off and protected mode
    Resume(Resume),
    /// Serve a page that shows the pool, or write it to a file; it only reads the history
    Frontend(Frontend),
    /// Write, show and check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prepare the clouds: keypair and security group
    #[command(subcommand)]
    Cloud(CloudCommand),
    /// The golden images that nodes boot from
    #[command(subcommand)]
    Image(ImageCommand),
    /// The central manager
    #[command(subcommand)]
    Master(MasterCommand),
}

/// `ehos config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a first ehos.yaml, with what is found on the cloud
    Init(ConfigInit),
    /// Print the merged configuration and where each value comes from; secrets are masked
    Show(ConfigShow),
    /// Say what is wrong with the configuration; asks nobody
    Check(ConfigCheck),
    /// Print a template's user data with its tags filled in, to make a server by hand. The output is a secret
    ///
    /// For `openstack server create --user-data FILE`. Such a server has no metadata of ehos, so it is not ehos's: it
    /// is never counted and never deleted, though it joins the pool when it was made of execute.yaml.
    Render(ConfigRender),
    /// Print the JSON schema of ehos.yaml (draft 2020-12), for editors
    Schema,
}

/// `ehos cloud …`.
#[derive(Debug, Subcommand)]
pub enum CloudCommand {
    /// Add keypair and security group to the clouds, where they are missing
    Setup(CloudSetup),
}

/// `ehos image …`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make a golden image in every cloud: boot base.yaml, wait, stop, snapshot, clean up
    Build(ImageBuild),
    /// List the golden images of this pool
    List(ImageList),
    /// Delete old golden images of this pool that nothing uses
    Prune(ImagePrune),
}

/// `ehos master …`.
#[derive(Debug, Subcommand)]
pub enum MasterCommand {
    /// Make the central manager, with ehos itself under its timer
    Deploy(Box<MasterDeploy>),
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

/// The clouds that a command is for.
#[derive(Debug, Args)]
pub struct Clouds {
    /// Only this cloud of the configuration; can be given several times [default: all]
    #[arg(long = "cloud", value_name = "NAME")]
    pub names: Vec<String>,
}

/// How `ehos status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// For people
    Table,
    /// For programs, as `ehos tick -o json`
    Json,
    /// Lines for InfluxDB, as Telegraf takes them
    Influx,
    /// Metrics for Prometheus
    Prometheus,
}

/// `ehos status`.
#[derive(Debug, Args)]
pub struct Status {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// How to print
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "table"
    )]
    pub output: StatusOutput,
    /// Every node and every group of waiting jobs
    #[arg(short, long, visible_alias = "nodes")]
    pub all: bool,
    /// Times in UTC [default: the time zone of this machine]
    #[arg(long)]
    pub utc: bool,
    /// Go on: look for a new tick every so many seconds, redraw on a terminal, print again elsewhere [default: 2]
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = pause)]
    pub watch: Option<Duration>,
}

/// `ehos explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Its id, its server's name or UUID, or its host name; of several nodes with that name the newest is told of
    #[arg(value_name = "NODE")]
    pub node: String,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// Times in UTC [default: the time zone of this machine]
    #[arg(long)]
    pub utc: bool,
}

/// `ehos resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// The clouds in which to end back-off and protected mode, and clouds that left the configuration, to forget them
    #[arg(value_name = "CLOUD", required = true)]
    pub clouds: Vec<String>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// `ehos frontend`.
#[derive(Debug, Args)]
pub struct Frontend {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Where to listen; see docs/security.md for other addresses than this machine's own
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    pub listen: std::net::SocketAddr,
    /// A name that the page is asked for by, besides localhost; can be given several times
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Print the address with the token that the page asks for, and end
    #[arg(long, conflicts_with_all = ["once", "no_token"])]
    pub url: bool,
    /// The file of the token that the page asks for [default: frontend.token in the state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    pub token_file: Option<PathBuf>,
    /// Ask for no token: every user of this machine sees the page
    #[arg(long)]
    pub no_token: bool,
    /// The folder of the history itself [default: history in the state directory]
    #[arg(long, value_name = "DIR", conflicts_with = "state_dir")]
    pub history: Option<PathBuf>,
    /// Write the page with all that it shows to this one file instead; `-` prints it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "hosts"])]
    pub once: Option<PathBuf>,
}

/// `ehos check`.
#[derive(Debug, Args)]
pub struct Check {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which clouds.
    #[command(flatten)]
    pub clouds: Clouds,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `ehos config init`.
#[derive(Debug, Args)]
pub struct ConfigInit {
    /// Take the access from this openrc (keystone) file
    #[arg(long, value_name = "FILE", conflicts_with = "os_cloud")]
    pub openrc: Option<PathBuf>,
    /// Take the access from this entry of clouds.yaml [default: $OS_CLOUD, the OS_* variables, the only entry]
    #[arg(long, value_name = "NAME")]
    pub os_cloud: Option<String>,
    /// What the cloud is called in the configuration [default: its name in clouds.yaml, or its project's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The file to write; never over one that is there; `-` prints it, without secrets
    #[arg(short, long, value_name = "FILE", default_value = "ehos.yaml")]
    pub output: PathBuf,
    /// Cores that a node should have at least
    #[arg(long, value_name = "CORES", default_value_t = 2)]
    pub min_cores: u64,
    /// Memory that a node should have at least, in GB
    #[arg(long, value_name = "GB", default_value_t = 4.0)]
    pub min_ram: f64,
    /// Say more on standard error: -v what is done, -vv each request
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `ehos config show`.
#[derive(Debug, Args)]
pub struct ConfigShow {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `ehos config check`.
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
}

/// `ehos config render`.
#[derive(Debug, Args)]
pub struct ConfigRender {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// base.yaml, master.yaml, execute.yaml (userdata_file of the cloud), or the path of a file
    pub template: PathBuf,
    /// The cloud that the server is for [default: the first]
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// Write it to this new file, which only its owner can read [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `ehos cloud setup`.
#[derive(Debug, Args)]
pub struct CloudSetup {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which clouds.
    #[command(flatten)]
    pub clouds: Clouds,
    /// The public key to add, if the cloud does not have it [default: the first of ~/.ssh/id_{ed25519,ecdsa,rsa}.pub]
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Let servers outside the security group reach port 9618 too (nodes in several clouds)
    #[arg(long)]
    pub external: bool,
    /// Where SSH may come from; can be given several times
    #[arg(long, value_name = "CIDR", default_values = ["0.0.0.0/0", "::/0"])]
    pub ssh_from: Vec<openstack::rule::Prefix>,
    /// Print what would be done; do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `ehos image build`.
#[derive(Debug, Args)]
pub struct ImageBuild {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which clouds.
    #[command(flatten)]
    pub clouds: Clouds,
    /// What it is built of.
    #[command(flatten)]
    pub recipe: ImageRecipe,
    /// Leave the server (switched off) when the image is made
    #[arg(long)]
    pub keep_server: bool,
    /// Print what would be done; do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// What a golden image is built of, and how.
#[derive(Debug, Args)]
pub struct ImageRecipe {
    /// The cloud-init file that installs the image [default: base.yaml of the folders where templates are looked for]
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// The image to begin with, name or id [default: base_image of the configuration]
    #[arg(long, value_name = "IMAGE")]
    pub from: Option<String>,
    /// The flavor of the server that becomes the image [default: the first flavor of the cloud]
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// What the image is called [default: PROJECT_PREFIX-DATE-TIME]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Keep the server of a failed build for debugging; the next build deletes it
    #[arg(long, alias = "keep")]
    pub keep_failed: bool,
    /// How long it may take in all
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub timeout: Duration,
}

/// `ehos image list`.
#[derive(Debug, Args)]
pub struct ImageList {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which clouds.
    #[command(flatten)]
    pub clouds: Clouds,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `ehos image prune`.
#[derive(Debug, Args)]
pub struct ImagePrune {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which clouds.
    #[command(flatten)]
    pub clouds: Clouds,
    /// How many of the newest to keep in each cloud; what nodes use or the configuration names is kept always
    #[arg(long, value_name = "N")]
    pub keep: usize,
    /// Print what would be done; do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `ehos master deploy`.
#[derive(Debug, Args)]
pub struct MasterDeploy {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// The cloud that it is made in [default: the first of the configuration]
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// The golden image, name or id [default: image of the configuration]
    #[arg(long, value_name = "IMAGE", conflicts_with = "build_image")]
    pub image: Option<String>,
    /// Make a golden image first, in every cloud
    #[arg(long)]
    pub build_image: bool,
    /// With --build-image: the cloud-init file of the image [default: base.yaml]
    #[arg(long, value_name = "FILE", requires = "build_image")]
    pub base: Option<PathBuf>,
    /// With --build-image: the image to begin with [default: base_image]
    #[arg(long, value_name = "IMAGE", requires = "build_image")]
    pub from: Option<String>,
    /// The master's flavor [default: the first flavor of the cloud]
    #[arg(long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// Its server's name, which becomes its host name [default: PROJECT_PREFIX-master]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The master's cloud-init template [default: master.yaml of the folders where templates are looked for]
    #[arg(long, value_name = "FILE")]
    pub master: Option<PathBuf>,
    /// The nodes' cloud-init template, which the master gets [default: userdata_file of the configuration]
    #[arg(long, value_name = "FILE")]
    pub execute: Option<PathBuf>,
    /// TRUST_DOMAIN and UID_DOMAIN of the pool [default: condor.trust_domain, else ehos.CLUSTER]
    #[arg(long, value_name = "DOMAIN")]
    pub trust_domain: Option<String>,
    /// Give it a floating IP of this external network
    #[arg(long, value_name = "NETWORK")]
    pub floating_ip: Option<String>,
    /// The user to log in as [default: what cloud-init says on the console]
    #[arg(long, value_name = "USER")]
    pub ssh_user: Option<String>,
    /// The private key to log in with [default: that of ~/.ssh whose .pub is the keypair, else those of ssh itself]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Trust the host key that the server shows, when its console does not tell it
    #[arg(long)]
    pub accept_host_key: bool,
    /// A server of this pool without a valid ehos_proof, by its UUID: it is the central manager, and gets its secrets
    #[arg(long, value_name = "UUID", value_delimiter = ',')]
    pub trust_server: Vec<String>,
    /// The ehos binary to install there [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "package")]
    pub binary: Option<PathBuf>,
    /// A .deb, .rpm or binary that the master downloads instead; needs --sha256
    #[arg(long, value_name = "URL", requires = "sha256")]
    pub package: Option<String>,
    /// The checksum of --package, in hexadecimal
    #[arg(long, value_name = "HEX", requires = "package", value_parser = sha256)]
    pub sha256: Option<String>,
    /// Keep the server of a failed deploy for debugging; the next run continues with it
    #[arg(long, alias = "keep")]
    pub keep_failed: bool,
    /// How long it may take in all, without the image
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub timeout: Duration,
    /// Print what would be done; do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// `10m`, `90s`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    keys::duration(text)
}

/// A duration that is not 0.
fn pause(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        pause => Ok(pause),
    }
}

/// 64 hexadecimal digits.
fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("a SHA-256 has 64 hexadecimal digits, as sha256sum prints them".to_owned())
    }
}

/// `ehos due`.
#[derive(Debug, Args)]
pub struct Due {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Wait this long first, for what belongs together, and then for a tick that is due later; a minute in all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
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
    /// Servers of this pool without a valid ehos_proof, by their UUIDs: manage them as ehos's own
    #[arg(long, value_name = "UUID", value_delimiter = ',')]
    pub trust_server: Vec<String>,
    /// Many nodes that fell silent together are really gone: let them be deleted
    #[arg(long)]
    pub trust_silence: bool,
    /// How soon after this tick `ehos due` can start another one; the units say so [default: a tick a minute]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub look_again: Option<Duration>,
}
