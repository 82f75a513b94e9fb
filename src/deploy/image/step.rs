//! Decides what comes after the first boot of a builder: the image of one cloud. Pure.
//!
//! The builder, a server of the pool that carries all that is to be known of its build, is the build: as long as it is there
//! the build goes on from where it stands, whoever began it. So it is deleted last, when the image is written down.

use std::collections::BTreeSet;
use std::fmt;

use crate::boot::{self, BootFailure, BootView, Creates, Leftover, METADATA_DIGEST, Server, Wait};
use openstack::owned_image::CLOUD;
use scaling::observation::{OwnedServer, Role, ServerRecord, ServerStatus};

/// Metadata key of a builder whose first boot is over and went well.
pub const BOOTED: &str = "ehos_booted";
/// Metadata key of a builder whose build failed, and that was left for a look.
pub const FAILED: &str = "ehos_failed";

/// How many times a snapshot is asked for.
pub const SNAPSHOTS: u32 = 2;

/// The builder and its images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildView {
    pub boot: BootView,
    /// Its first boot is over and went well, as its metadata say.
    pub is_booted: bool,
    /// The images that were made of the builder.
    pub images: Vec<ImageSnapshot>,
    /// What earlier builds have left.
    pub leftovers: Vec<Leftover>,
}

/// An image that was made of the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSnapshot {
    pub id: String,
    /// Glance's status: `queued`, `saving`, `active` …
    pub status: String,
}

impl ImageSnapshot {
    fn is_whole(&self) -> bool {
        self.status == "active"
    }

    /// It comes yet. Other states (`killed`, `deleted`, `pending_delete`, `deactivated`) never become an image.
    fn is_coming(&self) -> bool {
        matches!(
            self.status.as_str(),
            "queued" | "saving" | "uploading" | "importing"
        )
    }
}

/// What this run has done so far.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The builder that it goes on with, and its creates.
    pub creates: Creates,
    /// The server stays, switched off, and is not ours any more.
    pub keep_server: bool,
    /// The leftovers whose delete was asked for: once, for one that stays must not keep the build from going on.
    pub cleared: BTreeSet<String>,
    /// How many snapshots were asked for.
    pub snapshots: u32,
    /// The image that was written down.
    pub published: Option<String>,
    /// The builder was handed over.
    pub disowned: bool,
}

impl Attempt {
    /// None yet.
    pub fn new(creates: Creates, keep_server: bool) -> Attempt {
        Attempt {
            creates,
            keep_server,
            cleared: BTreeSet::new(),
            snapshots: 0,
            published: None,
            disowned: false,
        }
    }
}

/// What is done with a builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write into its metadata that its first boot went well.
    MarkBooted,
    /// Switch it off.
    Stop,
    /// Have the image made.
    Snapshot,
    /// Delete an image of it that is not the one.
    DeleteImage {
        id: String,
    },
    /// Write down that this is the image.
    Publish {
        id: String,
    },
    /// Leave it to whoever wants to look at it: it is ours no more.
    Disown,
    Delete,
}

/// What is to be done.
pub type Step = boot::Step<Action, BuildFailure>;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFailure {
    /// The server has not booted.
    Boot(BootFailure),
    /// The server is gone.
    Vanished,
    /// No snapshot became an image.
    Snapshot,
}

impl From<BootFailure> for BuildFailure {
    fn from(failure: BootFailure) -> BuildFailure {
        BuildFailure::Boot(failure)
    }
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildFailure::Boot(BootFailure::NoServer { creates }) => write!(
                f,
                "Nova answered none of {creates} creates properly, and lists no server"
            ),
            BuildFailure::Boot(BootFailure::Fault(Some(fault))) => write!(
                f,
                "the server is in ERROR: {}; try another flavor (--flavor) or ask the cloud's operators",
                fault.trim()
            ),
            BuildFailure::Boot(BootFailure::Fault(None)) => write!(
                f,
                "the server is in ERROR and Nova gives no reason; ask the cloud's operators"
            ),
            BuildFailure::Boot(BootFailure::Boot(line)) => write!(
                f,
                "the first boot failed: {line}; correct base.yaml, or what it installs from"
            ),
            BuildFailure::Boot(BootFailure::PoweredOff(line)) => {
                let last = match line {
                    Some(line) => format!("its last words: {line}"),
                    None => "its console is empty".to_owned(),
                };
                write!(
                    f,
                    "the server switched itself off before its first boot was over ({last}); base.yaml does so where \
                     something cannot be installed"
                )
            }
            BuildFailure::Vanished => {
                write!(f, "somebody has deleted the server; build again")
            }
            BuildFailure::Snapshot => write!(
                f,
                "Nova makes no image of the server: {SNAPSHOTS} snapshots came to nothing; ask the cloud's operators \
                 (the disk of its host may be full, or the project's quota of images)"
            ),
        }
    }
}

/// The next step.
pub fn next(view: &BuildView, attempt: &Attempt) -> Step {
    let uncleared = |leftover: &&Leftover| !attempt.cleared.contains(leftover.id());
    if let Some(leftover) = view.leftovers.iter().find(uncleared) {
        return Step::Remove(leftover.clone());
    }
    if let Some(image) = view.images.iter().find(|image| image.is_whole()) {
        return finish(view, image, attempt);
    }
    match &view.boot.server {
        None if attempt.published.is_some() => Step::Done,
        Some(server) if !server.deleting => build(server, view, attempt),
        // It is gone, or somebody deletes it.
        _ if view.boot.has_own => Step::Fail(BuildFailure::Vanished),
        _ => boot::without_server(view.boot.request),
    }
}

/// There is a builder, and no whole image of it.
fn build(server: &Server, view: &BuildView, attempt: &Attempt) -> Step {
    if !view.is_booted {
        let step = boot::first_boot(server, view.boot.boot.as_ref());
        return step.unwrap_or(Step::Act(Action::MarkBooted));
    }
    if let Some(step) = boot::not_running(server) {
        return step;
    }
    if let Some(broken) = view.images.iter().find(|image| !image.is_coming()) {
        return Step::Act(Action::DeleteImage {
            id: broken.id.clone(),
        });
    }
    if let Some(image) = view.images.first() {
        return Step::Wait(Wait::Imaging(image.status.clone()));
    }
    match server.status {
        ServerStatus::Shutoff if attempt.snapshots < SNAPSHOTS => Step::Act(Action::Snapshot),
        ServerStatus::Shutoff => Step::Fail(BuildFailure::Snapshot),
        _ => Step::Act(Action::Stop),
    }
}

/// There is an image.
fn finish(view: &BuildView, image: &ImageSnapshot, attempt: &Attempt) -> Step {
    if let Some(other) = view.images.iter().find(|other| other.id != image.id) {
        return Step::Act(Action::DeleteImage {
            id: other.id.clone(),
        });
    }
    if attempt.published.as_deref() != Some(&image.id) {
        return Step::Act(Action::Publish {
            id: image.id.clone(),
        });
    }
    match &view.boot.server {
        None => Step::Done,
        Some(_) if attempt.disowned => Step::Done,
        Some(server) if server.deleting => Step::Wait(Wait::Deleting),
        Some(_) if attempt.keep_server => Step::Act(Action::Disown),
        Some(_) => Step::Act(Action::Delete),
    }
}

/// The next step to leave nothing behind when there will be no image.
pub fn clean(view: &BuildView) -> Step {
    if let Some(image) = view.images.iter().find(|image| !image.is_whole()) {
        return Step::Act(Action::DeleteImage {
            id: image.id.clone(),
        });
    }
    match &view.boot.server {
        None => Step::Done,
        Some(server) if server.deleting => Step::Wait(Wait::Deleting),
        Some(_) => Step::Act(Action::Delete),
    }
}

/// The builder among these servers that the build of `digest` for the cloud called `cloud` goes on with, and the builders
/// for that cloud that nobody goes on with.
pub fn sort(
    servers: &[OwnedServer],
    cloud: &str,
    digest: &str,
) -> (Option<OwnedServer>, Vec<Leftover>) {
    let mut mine: Option<&OwnedServer> = None;
    let mut leftovers = Vec::new();
    let mut leave = |record: &ServerRecord, why: &str| {
        if !record.deleting {
            leftovers.push(Leftover::Server {
                id: record.id.clone(),
                name: record.name.clone(),
                why: why.to_owned(),
            });
        }
    };
    for server in servers {
        let record = server.record();
        let said = |key| record.metadata.get(key).map(String::as_str);
        if server.role() != Role::Builder || said(CLOUD).is_some_and(|other| other != cloud) {
            continue;
        }
        if said(METADATA_DIGEST) != Some(digest) {
            leave(record, "it was to become another image");
        } else if said(FAILED).is_some() || record.status == ServerStatus::Error {
            leave(record, "its build failed");
        } else if record.age > server.lifetime() {
            leave(record, "it is too old");
        } else {
            match mine {
                Some(other) if rank(other) >= rank(server) => {
                    leave(record, "another one is further");
                }
                other => {
                    if let Some(other) = other {
                        leave(other.record(), "another one is further");
                    }
                    mine = Some(server);
                }
            }
        }
    }
    (mine.cloned(), leftovers)
}

/// How far a builder is; of two the older one.
fn rank(server: &OwnedServer) -> (bool, bool, bool, std::time::Duration) {
    let record = server.record();
    (
        !record.deleting,
        record.metadata.contains_key(BOOTED),
        record.status != ServerStatus::Build,
        record.age,
    )
}

#[cfg(test)]
mod tests;
