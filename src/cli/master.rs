//! Flags of `ehos master`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Common, Output, duration};

#[derive(Debug, Subcommand)]
pub enum MasterCommand {
    /// Create the central manager, and install ehos with its timer there
    #[command(after_help = "\
Examples:
  ehos master deploy --dry-run          Show the server that ehos would create
  ehos master deploy --build-image      Build the golden image first")]
    Deploy(Box<MasterDeploy>),
}

#[derive(Debug, Args)]
pub struct MasterDeploy {
    #[command(flatten)]
    pub common: Common,
    /// Cloud of the central manager [default: the first of the configuration]
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// Golden image, name or id [default: image of the configuration]
    #[arg(
        help_heading = "Server",
        long,
        value_name = "IMAGE",
        conflicts_with = "build_image"
    )]
    pub image: Option<String>,
    /// Build a golden image in every cloud first
    #[arg(help_heading = "Server", long)]
    pub build_image: bool,
    /// With --build-image: cloud-init file of the builder [default: base.yaml]
    #[arg(
        help_heading = "Server",
        long,
        value_name = "FILE",
        requires = "build_image"
    )]
    pub base: Option<PathBuf>,
    /// With --build-image: base image [default: base_image]
    #[arg(
        help_heading = "Server",
        long,
        value_name = "IMAGE",
        requires = "build_image"
    )]
    pub from: Option<String>,
    /// Flavor of the central manager [default: the first flavor of the cloud]
    #[arg(help_heading = "Server", long, value_name = "FLAVOR")]
    pub flavor: Option<String>,
    /// Server name and host name of the central manager [default: PROJECT_PREFIX-master]
    #[arg(help_heading = "Server", long, value_name = "NAME")]
    pub name: Option<String>,
    /// Cloud-init template of the central manager [default: master.yaml of the configuration folders]
    #[arg(help_heading = "Software and pool", long, value_name = "FILE")]
    pub master: Option<PathBuf>,
    /// Cloud-init template of nodes, copied to the central manager [default: userdata_file of the configuration]
    #[arg(help_heading = "Software and pool", long, value_name = "FILE")]
    pub execute: Option<PathBuf>,
    /// TRUST_DOMAIN and UID_DOMAIN of the pool [default: condor.trust_domain, else ehos.CLUSTER]
    #[arg(help_heading = "Software and pool", long, value_name = "DOMAIN")]
    pub trust_domain: Option<String>,
    /// Associate a floating IP of this external network
    #[arg(help_heading = "Server", long, value_name = "NETWORK")]
    pub floating_ip: Option<String>,
    /// SSH user [default: the one that cloud-init prints on the console]
    #[arg(help_heading = "Access", long, value_name = "USER")]
    pub ssh_user: Option<String>,
    /// SSH private key [default: the key in ~/.ssh whose .pub is the keypair, else the keys of ssh]
    #[arg(help_heading = "Access", long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Trust the host key of the server if its console does not show one
    #[arg(help_heading = "Access", long)]
    pub accept_host_key: bool,
    /// UUID of a server without a valid ehos_proof to trust as the central manager, which receives its secrets; repeatable
    #[arg(
        help_heading = "Access",
        long,
        value_name = "UUID",
        value_delimiter = ','
    )]
    pub trust_server: Vec<String>,
    /// ehos binary to install [default: this one]. On Debian and its like the master packs it
    #[arg(
        help_heading = "Software and pool",
        long,
        value_name = "FILE",
        conflicts_with = "package"
    )]
    pub binary: Option<PathBuf>,
    /// A .deb or .rpm to install instead, or the URL of one or of a binary for the central manager to download, with
    /// --sha256
    #[arg(help_heading = "Software and pool", long, value_name = "FILE|URL")]
    pub package: Option<String>,
    /// SHA-256 checksum of the --package at a URL, in hexadecimal
    #[arg(help_heading = "Software and pool", long, value_name = "HEX", requires = "package", value_parser = sha256)]
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

/// 64 hexadecimal digits.
fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("must have 64 hexadecimal digits, as sha256sum prints them".to_owned())
    }
}
