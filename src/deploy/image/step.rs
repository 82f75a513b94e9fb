//! What is to be done next to make an image in one cloud. Pure: it knows what was seen, asks nobody and does nothing.
//!
//! The builder, a server of ours that carries all that is to be known of its build, is the build: as long as it is there
//! the build goes on from where it stands, whoever began it. So it is deleted last, when the image is written down.

use std::collections::BTreeSet;
use std::fmt;

use crate::deploy::console::Boot;
use crate::openstack::owned_image::CLOUD;
use crate::scaling::observation::{OwnedServer, Role, ServerRecord, ServerStatus};

/// Metadata key of a builder and of an image: what all that goes into it comes to (SHA-256).
pub const DIGEST: &str = "ehos_digest";
/// Metadata key of a builder whose first boot is over and went well.
pub const BOOTED: &str = "ehos_booted";
/// Metadata key of a builder whose build failed, and that was left for a look.
pub const FAILED: &str = "ehos_failed";

/// How often a snapshot is asked for.
pub const SNAPSHOTS: u32 = 2;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// The server stays, switched off, and is not ours any more.
    pub keep_server: bool,
}

/// What was seen in the cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The builder.
    pub builder: Option<Builder>,
    /// What its console says; `None`: it cannot be had, or was not asked for.
    pub boot: Option<Boot>,
    /// The images that were made of the builder.
    pub images: Vec<Snapshot>,
    /// What earlier builds have left.
    pub leftovers: Vec<Leftover>,
}

/// The server that becomes the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    /// Its UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What Nova says it does.
    pub status: ServerStatus,
    /// Nova is deleting it.
    pub deleting: bool,
    /// What Nova is doing with it (`task_state`).
    pub task: Option<String>,
    /// Why it is in ERROR.
    pub fault: Option<String>,
    /// Its first boot is over and went well, as its metadata say.
    pub booted: bool,
}

/// An image that was made of the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// Glance's status: `queued`, `saving`, `active` …
    pub status: String,
}

impl Snapshot {
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

/// Something of ours that no build goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// A builder.
    Server {
        /// Its UUID.
        id: String,
        /// Its name.
        name: String,
        /// Why it is of no use.
        why: &'static str,
    },
    /// An image that was never whole, whose builder is gone.
    Image {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
}

impl Leftover {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Leftover::Server { id, .. } | Leftover::Image { id, .. } => id,
        }
    }
}

/// What this run has done so far.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// The builder that it goes on with.
    pub builder: Option<String>,
    /// A create may have been heard although no answer came.
    pub may_appear: bool,
    /// The leftovers whose delete was asked for: once, for one that stays must not keep the build from going on.
    pub cleared: BTreeSet<String>,
    /// How many snapshots were asked for.
    pub snapshots: u32,
    /// The image that was written down.
    pub published: Option<String>,
    /// The builder was handed over.
    pub disowned: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Delete what an earlier build has left.
    Clear(Leftover),
    /// Ask for the builder.
    Create,
    /// Look again after a while.
    Wait(Wait),
    /// Write into the builder's metadata that its first boot went well.
    MarkBooted,
    /// Switch the builder off.
    Stop,
    /// Have the image made.
    Snapshot,
    /// Delete an image of the builder that is not the one.
    DeleteImage {
        /// Its id.
        id: String,
    },
    /// Write down that this is the image.
    Publish {
        /// Its id.
        id: String,
    },
    /// Leave the builder to whoever wants to look at it: it is ours no more.
    Disown,
    /// Delete the builder.
    Delete,
    /// All is done.
    Done {
        /// The image's id.
        id: String,
    },
    /// It cannot be done.
    Fail(Why),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A server whose create was not answered.
    Appearing,
    /// Nova to make the server.
    Building,
    /// The first boot; the last line of the console.
    Booting(Option<String>),
    /// A console that cannot be had.
    Console,
    /// Nova to be done with something else (`task_state`).
    Task(String),
    /// The image to be whole; its status.
    Imaging(String),
    /// Nova to delete the server.
    Going,
    /// Somebody to bring it back (PAUSED, RESCUE …).
    Unusual,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Appearing => write!(
                f,
                "the create was not answered: looking whether the server comes"
            ),
            Wait::Building => write!(f, "Nova makes the server"),
            Wait::Booting(Some(_)) => write!(f, "first boot"),
            Wait::Booting(None) => write!(f, "first boot; its console is empty"),
            Wait::Console => write!(f, "first boot; its console cannot be had, waiting for it"),
            Wait::Task(task) if task == "powering-off" => write!(f, "switching off"),
            Wait::Task(task) if task.starts_with("image_") => write!(f, "snapshot"),
            Wait::Task(task) => write!(f, "Nova is at it: {task}"),
            Wait::Imaging(_) => write!(f, "snapshot"),
            Wait::Going => write!(f, "deleting the server"),
            Wait::Unusual => write!(
                f,
                "the server is paused, in rescue or the like: waiting for it to run"
            ),
        }
    }
}

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nova could not make the server, or lost it.
    Fault(Option<String>),
    /// Something failed in the first boot: the line that says so.
    Boot(String),
    /// The server switched itself off before the first boot was over.
    PoweredOff(Option<String>),
    /// The server is gone.
    Vanished,
    /// No snapshot became an image.
    Snapshot,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Fault(Some(fault)) => {
                write!(f, "the server is in ERROR: {}", fault.trim())?;
                write!(
                    f,
                    "; try another flavor (--flavor) or ask the cloud's operators"
                )
            }
            Why::Fault(None) => write!(
                f,
                "the server is in ERROR and Nova does not say why; ask the cloud's operators"
            ),
            Why::Boot(line) => write!(
                f,
                "the first boot failed: {line}; correct base.yaml, or what it installs from"
            ),
            Why::PoweredOff(line) => {
                write!(
                    f,
                    "the server switched itself off before its first boot was over"
                )?;
                match line {
                    Some(line) => write!(f, " (its last words: {line})")?,
                    None => write!(f, " (its console is empty)")?,
                }
                write!(f, "; base.yaml does so where something cannot be installed")
            }
            Why::Vanished => write!(f, "somebody has deleted the server; build again"),
            Why::Snapshot => write!(
                f,
                "Nova makes no image of the server: {SNAPSHOTS} snapshots came to nothing; ask the cloud's operators \
                 (the disk of its host may be full, or the project's quota of images)"
            ),
        }
    }
}

/// The next step.
pub fn next(seen: &Seen, goal: Goal, attempt: &Attempt) -> Step {
    let uncleared = |leftover: &&Leftover| !attempt.cleared.contains(leftover.id());
    if let Some(leftover) = seen.leftovers.iter().find(uncleared) {
        return Step::Clear(leftover.clone());
    }
    let whole = seen.images.iter().find(|image| image.is_whole());
    if let Some(image) = whole {
        return finish(seen, image, goal, attempt);
    }
    let Some(builder) = &seen.builder else {
        return match (&attempt.published, &attempt.builder) {
            (Some(id), _) => Step::Done { id: id.clone() },
            (None, Some(_)) => Step::Fail(Why::Vanished),
            (None, None) if attempt.may_appear => Step::Wait(Wait::Appearing),
            (None, None) => Step::Create,
        };
    };
    if builder.deleting {
        return match attempt.builder {
            Some(_) => Step::Fail(Why::Vanished),
            // It is somebody else's delete of what an earlier build has left.
            None => Step::Create,
        };
    }
    if builder.status == ServerStatus::Error {
        return Step::Fail(Why::Fault(builder.fault.clone()));
    }
    if let Some(broken) = seen.images.iter().find(|image| !image.is_coming()) {
        return Step::DeleteImage {
            id: broken.id.clone(),
        };
    }
    if let Some(image) = seen.images.first() {
        return Step::Wait(Wait::Imaging(image.status.clone()));
    }
    if builder.status == ServerStatus::Build {
        return Step::Wait(Wait::Building);
    }
    if let Some(task) = &builder.task {
        return Step::Wait(Wait::Task(task.clone()));
    }
    match builder.status {
        ServerStatus::Active if builder.booted => Step::Stop,
        ServerStatus::Shutoff if builder.booted && attempt.snapshots < SNAPSHOTS => Step::Snapshot,
        ServerStatus::Shutoff if builder.booted => Step::Fail(Why::Snapshot),
        ServerStatus::Active | ServerStatus::Shutoff => booting(builder, seen.boot.as_ref()),
        _ => Step::Wait(Wait::Unusual),
    }
}

/// Of a server whose first boot may be under way.
fn booting(builder: &Builder, boot: Option<&Boot>) -> Step {
    let off = builder.status == ServerStatus::Shutoff;
    match boot {
        Some(Boot::Failed(line)) => Step::Fail(Why::Boot(line.clone())),
        // A template may end with switching off.
        Some(Boot::Finished) => Step::MarkBooted,
        Some(Boot::Running(line)) if off => Step::Fail(Why::PoweredOff(line.clone())),
        Some(Boot::Running(line)) => Step::Wait(Wait::Booting(line.clone())),
        // A console that cannot be had in one moment may be there in the next, also of a server that is off.
        None => Step::Wait(Wait::Console),
    }
}

/// There is an image.
fn finish(seen: &Seen, image: &Snapshot, goal: Goal, attempt: &Attempt) -> Step {
    if let Some(other) = seen.images.iter().find(|other| other.id != image.id) {
        return Step::DeleteImage {
            id: other.id.clone(),
        };
    }
    if attempt.published.as_deref() != Some(&image.id) {
        return Step::Publish {
            id: image.id.clone(),
        };
    }
    let done = Step::Done {
        id: image.id.clone(),
    };
    match &seen.builder {
        None => done,
        Some(_) if attempt.disowned => done,
        Some(builder) if builder.deleting => Step::Wait(Wait::Going),
        Some(_) if goal.keep_server => Step::Disown,
        Some(_) => Step::Delete,
    }
}

/// What is to be done to leave nothing behind when there will be no image; `None` when nothing is left.
pub fn clean(seen: &Seen) -> Option<Step> {
    if let Some(image) = seen.images.iter().find(|image| !image.is_whole()) {
        return Some(Step::DeleteImage {
            id: image.id.clone(),
        });
    }
    match &seen.builder {
        None => None,
        Some(builder) if builder.deleting => Some(Step::Wait(Wait::Going)),
        Some(_) => Some(Step::Delete),
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
    let mut leave = |record: &ServerRecord, why| {
        if !record.deleting {
            leftovers.push(Leftover::Server {
                id: record.id.clone(),
                name: record.name.clone(),
                why,
            });
        }
    };
    for server in servers {
        let record = server.record();
        let said = |key| record.metadata.get(key).map(String::as_str);
        if server.role() != Role::Builder || said(CLOUD).is_some_and(|other| other != cloud) {
            continue;
        }
        if said(DIGEST) != Some(digest) {
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
