//! Flags of `ehos image`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Clouds, Common, Output, duration};

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
