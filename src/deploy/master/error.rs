//! Why there is no central manager, and what became of its server.

use std::fmt;
use std::path::PathBuf;

use crate::boot::{BootFailure, Failure};

/// No central manager came of it.
#[derive(Debug)]
pub struct Error {
    pub cloud: String,
    pub name: String,
    pub cause: Box<Failure<DeployFailure>>,
    /// What became of the server.
    pub clean_up: CleanUp,
}

/// What failed, apart from what the cloud says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployFailure {
    /// It does not work.
    #[error("{0}")]
    GaveUp(String),
    /// There are several: name, id and readiness of each.
    #[error(
        "{} servers are this pool's central manager: {}; delete those that are not (openstack server delete ID), and run \
         this again",
        .0.len(),
        .0.join(", ")
    )]
    Several(Vec<String>),
    /// One says that it is, and nothing shows it: name, id and readiness of each.
    #[error(
        "{} carries the id of this pool as its central manager, without a valid ehos_proof, and this machine has not \
         deployed it: nothing is installed there, for it would get every secret; give --trust-server UUID when it is \
         yours, or delete it",
        .0.join(", ")
    )]
    Unsigned(Vec<String>),
    /// The file of the host keys cannot be read or written.
    #[error("{}: the host key of the master cannot be kept: {why}", path.display())]
    KnownHosts { path: PathBuf, why: String },
}

impl From<BootFailure> for DeployFailure {
    fn from(failure: BootFailure) -> DeployFailure {
        DeployFailure::GaveUp(match failure {
            BootFailure::NoServer { creates } => {
                format!("Nova answered none of {creates} creates properly, and lists no server")
            }
            BootFailure::Fault(fault) => {
                let fault = fault.as_deref().unwrap_or("Nova gives no reason");
                format!("its server has failed: {fault}")
            }
            BootFailure::Boot(line) => format!("its boot failed: {line}"),
            BootFailure::PoweredOff(_) => {
                "its server has switched itself off before it was ready".to_owned()
            }
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { cloud, name, .. } = self;
        match &*self.cause {
            // Errors of the client name the cloud themselves.
            Failure::Cloud(error) | Failure::Refused(error) => write!(f, "{error}")?,
            Failure::TimedOut { during } => write!(
                f,
                "cloud {cloud}: the central manager {name}: it was not done in the time given (--timeout): {during}"
            )?,
            Failure::Ending(failure) => match failure {
                DeployFailure::GaveUp(why) => {
                    write!(f, "cloud {cloud}: the central manager {name}: {why}")?;
                }
                DeployFailure::KnownHosts { .. } => write!(f, "{failure}")?,
                failure => write!(f, "cloud {cloud}: {failure}")?,
            },
        }
        write!(f, "{}", self.clean_up)
    }
}

impl std::error::Error for Error {}

/// What became of a server that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanUp {
    /// There was none.
    Nothing,
    /// It was deleted, with its floating IP.
    Deleted,
    /// It was left, as wished.
    Kept,
    /// It was left, for it had been ready before.
    Ready,
    /// It was left, for all is in place there and its timer runs.
    Installed,
    /// The cloud could not be asked.
    Unknown,
    /// It could not be deleted.
    Failed(String),
}

impl fmt::Display for CleanUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CleanUp::Nothing => "",
            CleanUp::Deleted => ". Its server was deleted (--keep-failed leaves it)",
            CleanUp::Kept => ". Its server was kept; the next run continues with it",
            CleanUp::Unknown => {
                ". Its server was kept; the next run continues with it or deletes it"
            }
            CleanUp::Ready => ". Its server was kept as it is",
            CleanUp::Installed => {
                ". Its server was left, for all is installed there: run this again, so that it is marked as ready and its \
                 timer starts"
            }
            CleanUp::Failed(why) => {
                return write!(
                    f,
                    ". Its server is still there, for it could not be deleted: {why}; the next run tries again"
                );
            }
        })
    }
}
