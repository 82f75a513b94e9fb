//! One cloud as the build of an image sees and changes it.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use log::{info, warn};

use super::build::Site;
use super::recipe::{Recipe, Wish, new_node};
use super::step::{Attempt, BOOTED, Builder, DIGEST, FAILED, Leftover, Seen, Snapshot, Step, sort};
use crate::deadline::Deadline;
use crate::deploy::console::{self, Boot};
use crate::openstack::auth::Session;
use crate::openstack::compute::ServerDetails;
use crate::openstack::owned_image::{self as owned, CLOUD, IMAGE_NAME, OwnedImage};
use crate::openstack::{Effect, Error, compute, image};
use crate::scaling::console::before_failure;
use crate::scaling::observation::{
    METADATA_CLUSTER, METADATA_ROLE, NodeId, OwnedServer, Role, ServerRecord, ServerStatus,
};

/// The role of a server that was handed over: none that ehos knows, so it is not ours any more.
const KEPT: &str = "kept";
/// A console is worth waiting for no longer than this: the next look asks again.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Lines of the console that are told of a failure.
const TOLD: usize = 30;
/// The longest value of metadata (`maxLength` of Nova's schema).
const LONGEST_VALUE: usize = 255;

/// An image that is whole: what is written down of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The cloud's name.
    pub cloud: String,
    /// The image's id.
    pub image_id: String,
    /// Its name.
    pub image_name: String,
    /// When it was made (RFC 3339).
    pub built: String,
}

/// Writes down that an image is whole.
pub type Publish<'a> = dyn Fn(&Finished) + Sync + 'a;

/// One cloud.
pub struct CloudSite<'a> {
    session: &'a Session<'a>,
    wish: &'a Wish<'a>,
    recipe: &'a Recipe,
    publish: &'a Publish<'a>,
    poll: Duration,
    /// The name of the image, which the builder knows when an earlier run has made it.
    image_name: String,
    console: Option<String>,
    notes: Vec<String>,
}

impl<'a> CloudSite<'a> {
    /// The cloud of `session`, looked at every `poll`.
    pub fn new(
        session: &'a Session<'a>,
        wish: &'a Wish<'a>,
        recipe: &'a Recipe,
        publish: &'a Publish<'a>,
        poll: Duration,
    ) -> CloudSite<'a> {
        CloudSite {
            session,
            wish,
            recipe,
            publish,
            poll,
            image_name: recipe.image_name.clone(),
            console: None,
            notes: Vec::new(),
        }
    }

    /// What the image is called.
    pub fn image_name(&self) -> &str {
        &self.image_name
    }

    fn cloud(&self) -> &str {
        &self.session.settings().name
    }

    /// The images of ours among those whose property `name` is `value`.
    fn images(
        &self,
        name: &str,
        value: &str,
        deadline: Deadline,
    ) -> Result<Vec<OwnedImage>, Error> {
        let project = self.session.token(deadline)?.project_id.clone();
        let images = image::images_with(self.session, name, value, deadline)?;
        Ok(images
            .into_iter()
            .filter_map(|image| OwnedImage::recognise(image, self.wish.cluster, project.as_deref()))
            .collect())
    }

    /// What is there when this run has no builder yet: one to go on with, and what nobody goes on with.
    fn first_look(
        &self,
        deadline: Deadline,
    ) -> Result<(Option<ServerDetails>, Vec<Leftover>), Error> {
        let there = compute::servers(self.session, deadline)?;
        self.session.tell(there.told());
        let ids = there.ids();
        let all_known = there.unread.iter().all(|server| server.item.id.is_some());
        let servers: Vec<OwnedServer> = there
            .records
            .into_iter()
            .filter_map(|record| OwnedServer::recognise(record, self.wish.cluster))
            .map(|server| server.checked(self.wish.keys, Timestamp::now()))
            .collect();
        let servers = signed_builders(servers, self.cloud());
        let (mine, mut leftovers) = sort(&servers, self.cloud(), &self.recipe.digest);
        for image in self.images(METADATA_CLUSTER, self.wish.cluster, deadline)? {
            // A server whose id cannot be read may be its builder.
            let of_nobody = all_known && !ids.contains(image.builder());
            if image.cloud() == Some(self.cloud()) && !image.is_whole() && of_nobody {
                leftovers.push(Leftover::Image {
                    id: image.image().id.clone(),
                    name: image.name().to_owned(),
                });
            }
        }
        let mine = match mine {
            Some(server) => self.owned(server.id(), deadline)?,
            None => None,
        };
        Ok((mine, leftovers))
    }

    /// The server of this id, as long as it is ours.
    fn owned(&self, id: &str, deadline: Deadline) -> Result<Option<ServerDetails>, Error> {
        let details = compute::server(self.session, id, deadline)?;
        Ok(details.filter(|details| {
            // Deleted, though Nova keeps it for a while (`reclaim_instance_interval`).
            let gone = details.record.deleting && details.task_state.is_none();
            let ours = OwnedServer::recognise(details.record.clone(), self.wish.cluster).is_some();
            ours && !gone
        }))
    }

    /// How far the first boot of the server is; `None` when its console cannot be had.
    fn boot(&mut self, server: &ServerRecord, deadline: Deadline) -> Option<Boot> {
        let deadline = deadline.at_most(CONSOLE_TIMEOUT);
        match compute::console(self.session, &server.id, compute::ALL_LINES, deadline) {
            Ok(text) => {
                let boot = console::boot(&text, self.recipe.final_message.as_deref());
                if boot == Boot::Finished {
                    let warnings = console::warnings(&text).into_iter();
                    self.notes = warnings
                        .map(|warning| format!("cloud-init warned: {warning}"))
                        .collect();
                }
                // What it says is of use as long as something may be wrong with it.
                self.console = (boot != Boot::Finished).then_some(text);
                Some(boot)
            }
            Err(error) => {
                info!("{error}");
                None
            }
        }
    }

    /// What the image is to carry.
    fn properties(&self, builder: &str) -> BTreeMap<String, String> {
        let built = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        [
            (METADATA_CLUSTER, self.wish.cluster.to_owned()),
            (METADATA_ROLE, owned::ROLE.to_owned()),
            (CLOUD, self.cloud().to_owned()),
            (IMAGE_NAME, self.image_name.clone()),
            (DIGEST, self.recipe.digest.clone()),
            (owned::BUILDER, builder.to_owned()),
            (owned::SOURCE, self.recipe.source_told()),
            (owned::BUILT, built),
            (owned::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    fn create(&self, deadline: Deadline) -> Result<String, Error> {
        let node = new_node(self.cloud());
        let name = format!("{}-builder-{node}", self.wish.prefix);
        let settings = self.session.settings();
        let server = self.recipe.builder(&name, &node, self.wish, settings);
        compute::create(self.session, &server, deadline)
    }

    fn snapshot(
        &mut self,
        builder: &Builder,
        attempt: &mut Attempt,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let properties = self.properties(&builder.id);
        let name = self.image_name.clone();
        let asked = compute::create_image(self.session, &builder.id, &name, &properties, deadline);
        let heard = match &asked {
            Ok(_) => true,
            Err(error) => error.effect() == Effect::Unknown,
        };
        attempt.snapshots += u32::from(heard);
        asked.map(|_| ())
    }

    /// Whether it is written down: an image that was there a moment ago may have been deleted since.
    fn publish(&mut self, id: &str, deadline: Deadline) -> Result<bool, Error> {
        let Some(image) = image::image(self.session, id, deadline)? else {
            return Ok(false);
        };
        self.notes.extend(self.recipe.too_small_for(image.min_disk));
        let name = image.name.clone().unwrap_or_default();
        self.image_name.clone_from(&name);
        (self.publish)(&Finished {
            cloud: self.cloud().to_owned(),
            image_id: id.to_owned(),
            image_name: name,
            built: image.property(owned::BUILT).unwrap_or_default().to_owned(),
        });
        Ok(true)
    }

    fn mark(&self, id: &str, key: &str, value: &str, deadline: Deadline) -> Result<(), Error> {
        let value = value.chars().take(LONGEST_VALUE).collect();
        let metadata = BTreeMap::from([(key.to_owned(), value)]);
        compute::add_metadata(self.session, id, &metadata, deadline)
    }
}

impl Site for CloudSite<'_> {
    fn look(&mut self, attempt: &mut Attempt, deadline: Deadline) -> Result<Seen, Error> {
        let (details, leftovers) = match &attempt.builder {
            Some(id) if attempt.published.is_some() => {
                // A create that an earlier run did not live to hear of may have come late.
                let (other, mut leftovers) = self.first_look(deadline)?;
                leftovers.extend(other.map(|other| Leftover::Server {
                    id: other.record.id,
                    name: other.record.name,
                    why: "another one has become the image",
                }));
                leftovers.retain(|leftover| leftover.id() != id);
                (self.owned(id, deadline)?, leftovers)
            }
            Some(id) => (self.owned(id, deadline)?, Vec::new()),
            None => self.first_look(deadline)?,
        };
        let Some(details) = details else {
            let images = match &attempt.builder {
                Some(id) => self.images(owned::BUILDER, id, deadline)?,
                None => Vec::new(),
            };
            return Ok(Seen {
                images: images.iter().map(snapshot).collect(),
                leftovers,
                ..Seen::default()
            });
        };
        let record = &details.record;
        let booted = record.metadata.contains_key(BOOTED);
        let images = if booted {
            self.images(owned::BUILDER, &record.id, deadline)?
        } else {
            Vec::new()
        };
        let running = matches!(record.status, ServerStatus::Active | ServerStatus::Shutoff);
        let boot = if running && !booted && !record.deleting {
            self.boot(record, deadline)
        } else {
            None
        };
        if !record.deleting && attempt.builder.is_none() {
            attempt.builder = Some(record.id.clone());
            if let Some(name) = record.metadata.get(IMAGE_NAME)
                && !self.recipe.named
            {
                self.image_name.clone_from(name);
            }
        }
        Ok(Seen {
            builder: Some(Builder {
                id: record.id.clone(),
                name: record.name.clone(),
                status: record.status,
                deleting: record.deleting,
                task: details.task_state.clone(),
                fault: record.fault.clone(),
                booted,
            }),
            boot,
            images: images.iter().map(snapshot).collect(),
            leftovers,
        })
    }

    fn perform(
        &mut self,
        step: &Step,
        seen: &Seen,
        attempt: &mut Attempt,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let session = self.session;
        match (step, &seen.builder) {
            (Step::Clear(leftover), _) => {
                attempt.cleared.insert(leftover.id().to_owned());
                match leftover {
                    Leftover::Server { id, .. } => {
                        compute::delete(session, id, deadline).map(|_| ())
                    }
                    Leftover::Image { id, .. } => image::delete(session, id, deadline),
                }
            }
            (Step::Create, _) => {
                attempt.builder = Some(self.create(deadline)?);
                Ok(())
            }
            (Step::DeleteImage { id }, _) => image::delete(session, id, deadline),
            (Step::Publish { id }, _) => {
                if self.publish(id, deadline)? {
                    attempt.published = Some(id.clone());
                }
                Ok(())
            }
            (Step::MarkBooted, Some(builder)) => self.mark(&builder.id, BOOTED, "true", deadline),
            (Step::Stop, Some(builder)) => compute::stop(session, &builder.id, deadline),
            (Step::Snapshot, Some(builder)) => self.snapshot(builder, attempt, deadline),
            (Step::Disown, Some(builder)) => {
                self.mark(&builder.id, METADATA_ROLE, KEPT, deadline)?;
                attempt.disowned = true;
                Ok(())
            }
            (Step::Delete, Some(builder)) => {
                compute::delete(session, &builder.id, deadline).map(|_| ())
            }
            (Step::Fail(why), Some(builder)) => {
                self.mark(&builder.id, FAILED, &why.to_string(), deadline)
            }
            (
                Step::MarkBooted
                | Step::Stop
                | Step::Snapshot
                | Step::Disown
                | Step::Delete
                | Step::Fail(_),
                None,
            )
            | (Step::Wait(_) | Step::Done { .. }, _) => Ok(()),
        }
    }

    fn pause(&mut self, deadline: Deadline) {
        thread::sleep(self.poll.min(deadline.left()));
    }

    fn console(&self) -> Option<String> {
        let text = self.console.as_deref()?;
        let told = before_failure(text, TOLD);
        (!told.is_empty()).then_some(told)
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

fn snapshot(image: &OwnedImage) -> Snapshot {
    Snapshot {
        id: image.image().id.clone(),
        status: image.image().status.clone(),
    }
}
/// The builders that ehos has made: neither a build goes on with a forgery, nor is one deleted. Of several with one node id
/// nobody knows which one is the copy.
fn signed_builders(servers: Vec<OwnedServer>, cloud: &str) -> Vec<OwnedServer> {
    let mut of_node: BTreeMap<NodeId, u64> = BTreeMap::new();
    let builders = servers
        .iter()
        .filter(|server| server.role() == Role::Builder);
    for node in builders.filter_map(OwnedServer::node) {
        *of_node.entry(node.clone()).or_default() += 1;
    }
    let (signed, others): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| {
        let copies = server.node().and_then(|node| of_node.get(node));
        server.is_signed() && copies.is_none_or(|copies| *copies == 1)
    });
    for server in others
        .iter()
        .filter(|server| server.role() == Role::Builder)
    {
        warn!(
            "cloud {cloud}: builder {} ({}): no valid ehos_proof: a forgery, or made with a lost key; this build leaves it alone; \
             delete it by hand when no build needs it",
            server.record().name,
            server.id()
        );
    }
    signed
}
