//! The central manager: its server is created, watched until it has booted, and gets ehos over SSH.
//!
//! [`step`] decides, [`deploy`](mod@deploy) is the ending of the boot loop, [`install`] is what is put onto it.
//!
//! User data of a central manager holds no secret: each login user can ask the metadata service for
//! it. Secrets follow by SSH, with the host key that the console prints. `ehos_ready` in the
//! metadata marks the end; a ready central manager is never deleted.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use openstack::auth::Session;
use openstack::compute::ServerDetails;
use system::deadline::Deadline;
use system::progress::Progress;

mod conffile;
mod deploy;
mod error;
pub mod find;
mod floating_ip;
pub mod images;
pub mod install;
mod installer;
mod known_hosts;
mod login;
mod package;
pub mod report;
pub mod spec;
mod step;

pub use error::Error;
pub use installer::{InstallPreview, Installed};

use deploy::Deploy;
use find::{FoundMaster, Proof};
use install::Work;
use spec::MasterSpec;

/// How long looking everything up may take.
const LOOKING: Duration = Duration::from_secs(120);

fn looking() -> Deadline {
    Deadline::within(LOOKING)
}

/// How it is gone about.
#[derive(Debug)]
pub struct DeployOptions<'a> {
    /// The user to log in as; `None`: what the console says.
    pub user: Option<&'a str>,
    /// Signs the server, and tells it from a forgery.
    pub proof: Proof,
    /// A host key that the console does not tell is believed.
    pub accept_host_key: bool,
    /// What failed is left as it is.
    pub keep_failed: bool,
    /// Between two looks.
    pub poll: Duration,
}

/// A central manager that works.
#[derive(Debug)]
pub struct Deployed {
    pub server: ServerDetails,
    /// It is new; else it was there and ready, and was installed again.
    pub made: bool,
    /// The floating IP that leads to it.
    pub floating_ip: Option<String>,
    /// What was put there.
    pub installed: Installed,
}

/// Makes the central manager of `spec`, or goes on where another run was interrupted, or brings one that is there up
/// to date.
///
/// # Errors
/// [`Error`]. A server that was never ready is deleted then, unless the options say otherwise.
pub fn deploy(
    session: &Session,
    spec: &MasterSpec,
    options: &DeployOptions,
    work: &[Work],
    timeout: Duration,
) -> Result<Deployed, Error> {
    let progress = Progress::with_afterword();
    let line = progress.line(&spec.name);
    let deployed = Deploy::new(session, spec, options, work, &line, timeout).run(timeout);
    line.done(if deployed.is_ok() { "ready" } else { "failed" });
    deployed
}

/// What is there, and what a deploy would change on it.
#[derive(Debug)]
pub struct DeployPreview {
    /// The central manager that is there.
    found: Option<FoundMaster>,
    /// The changes on one that is ready, or why they cannot be seen.
    changes: Option<Result<InstallPreview, String>>,
}

/// Looks at the central manager. Nothing is changed there, nor here: host keys are learnt in a copy.
///
/// # Errors
/// What the cloud says, and where there is no room for the copy.
pub fn preview(
    session: &Session,
    spec: &MasterSpec,
    mut options: DeployOptions,
    work: &[Work],
) -> anyhow::Result<DeployPreview> {
    let deadline = looking();
    let found = find::find(session, &spec.cluster, &options.proof, deadline)?;
    let mut changes = None;
    if let Some(found) = found.as_ref().filter(|found| found.is_ready) {
        let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
        let copy = scratch.path().join("known_hosts");
        if options.proof.known_hosts.exists() {
            fs::copy(&options.proof.known_hosts, &copy)
                .context("the known host keys cannot be copied")?;
        }
        options.proof.known_hosts = copy;
        let progress = Progress::new();
        let line = progress.line(&found.record.name);
        line.doing("compares its files");
        let deploy = Deploy::new(session, spec, &options, work, &line, deadline.left());
        changes = Some(deploy.preview(&found.record));
        line.done("compared");
    }
    Ok(DeployPreview { found, changes })
}
