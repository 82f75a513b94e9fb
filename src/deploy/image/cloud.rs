//! One cloud as the build of an image sees and changes it.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use log::warn;
use scaling::sorting::IntoMap;

use super::BuildRequest;
use super::build::BuildBackend;
use super::recipe::{Recipe, new_node};
use super::step::{Action, Attempt, BOOTED, BuildView, FAILED, ImageSnapshot, sort};
use crate::boot::{BootView, Leftover, MAX_VALUE, METADATA_DIGEST, Server, soon};
use crate::console::{self, Boot};
use openstack::auth::Session;
use openstack::compute::ServerDetails;
use openstack::owned_image::{self as owned, CLOUD, IMAGE_NAME, OwnedImage};
use openstack::{Error, compute, image};
use scaling::console::before_failure;
use scaling::observation::{
    METADATA_CLUSTER, METADATA_ROLE, NodeId, OwnedServer, Role, ServerRecord, ServerStatus,
};

/// The role of a server that was handed over: none that ehos knows, so it is not ours any more.
const KEPT: &str = "kept";
/// Lines of the console that are told of a failure.
const TOLD: usize = 30;

/// An image that is whole: what is written down of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub cloud: String,
    pub image_id: String,
    pub image_name: String,
    /// When it was made (RFC 3339).
    pub built: String,
}

/// Writes down that an image is whole.
pub type Publish<'a> = dyn Fn(&Finished) + Sync + 'a;

/// One cloud.
pub struct CloudBackend<'a> {
    session: &'a Session<'a>,
    request: &'a BuildRequest<'a>,
    recipe: &'a Recipe,
    publish: &'a Publish<'a>,
    poll: Duration,
    /// The name of the image, which the builder knows when an earlier run has made it.
    pub image_name: String,
    /// Remarks that the build gave cause for.
    pub notes: Vec<String>,
    console: Option<String>,
}

impl<'a> CloudBackend<'a> {
    /// The cloud of `session`, looked at every `poll`.
    pub fn new(
        session: &'a Session<'a>,
        request: &'a BuildRequest<'a>,
        recipe: &'a Recipe,
        publish: &'a Publish<'a>,
        poll: Duration,
    ) -> CloudBackend<'a> {
        CloudBackend {
            session,
            request,
            recipe,
            publish,
            poll,
            image_name: recipe.image_name.clone(),
            notes: Vec::new(),
            console: None,
        }
    }

    fn cluster(&self) -> &'a str {
        &self.request.config.policy.cluster
    }

    fn cloud(&self) -> &str {
        &self.session.settings().name
    }

    /// The images of the pool among those whose property `name` is `value`.
    fn images(&self, name: &str, value: &str) -> Result<Vec<OwnedImage>, Error> {
        let deadline = soon();
        let project = self.session.token(deadline)?.project_id.clone();
        let images = image::images_with(self.session, name, value, deadline)?;
        Ok(images
            .into_iter()
            .filter_map(|image| OwnedImage::recognise(image, self.cluster(), project.as_deref()))
            .collect())
    }

    /// What is there when this run has no builder yet: one to go on with, and what nobody goes on with.
    fn first_look(&self) -> Result<(Option<ServerDetails>, Vec<Leftover>), Error> {
        let there = compute::servers(self.session, soon())?;
        self.session.tell(there.told());
        let ids = there.ids();
        let all_known = there.unread.iter().all(|server| server.item.id.is_some());
        let servers: Vec<OwnedServer> = there
            .records
            .into_iter()
            .filter_map(|record| OwnedServer::recognise(record, self.cluster()))
            .map(|server| server.checked(self.request.keys, Timestamp::now()))
            .collect();
        let servers = signed_builders(servers, self.cloud());
        let (mine, mut leftovers) = sort(&servers, self.cloud(), &self.recipe.spec.digest);
        for image in self.images(METADATA_CLUSTER, self.cluster())? {
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
            Some(server) => self.owned(server.id())?,
            None => None,
        };
        Ok((mine, leftovers))
    }

    /// The server of this id, as long as it is ours.
    fn owned(&self, id: &str) -> Result<Option<ServerDetails>, Error> {
        let details = compute::server(self.session, id, soon())?;
        Ok(details.filter(|details| {
            // Deleted, though Nova keeps it for a while (`reclaim_instance_interval`).
            let gone = details.record.deleting && details.task_state.is_none();
            let ours = OwnedServer::recognise(details.record.clone(), self.cluster()).is_some();
            ours && !gone
        }))
    }

    /// How far the first boot of the server is.
    fn boot(&mut self, server: &ServerRecord) -> Option<Boot> {
        let (boot, text) = self.recipe.spec.read_boot(self.session, &server.id)?;
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

    /// What the image is to carry.
    fn properties(&self, builder: &str) -> BTreeMap<String, String> {
        let built = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        [
            (METADATA_CLUSTER, self.cluster().to_owned()),
            (METADATA_ROLE, owned::ROLE.to_owned()),
            (CLOUD, self.cloud().to_owned()),
            (IMAGE_NAME, self.image_name.clone()),
            (METADATA_DIGEST, self.recipe.spec.digest.clone()),
            (owned::BUILDER, builder.to_owned()),
            (owned::SOURCE, self.recipe.source_told()),
            (owned::BUILT, built),
            (owned::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .into_map()
    }

    fn snapshot(&mut self, builder: &str, attempt: &mut Attempt) -> Result<(), Error> {
        let properties = self.properties(builder);
        let name = &self.image_name;
        let asked = compute::create_image(self.session, builder, name, &properties, soon());
        let heard = match &asked {
            Ok(_) => true,
            Err(error) => error.may_have_acted(),
        };
        attempt.snapshots += u32::from(heard);
        asked.map(|_| ())
    }

    /// Whether it is written down: an image that was there a moment ago may have been deleted since.
    fn publish(&mut self, id: &str) -> Result<bool, Error> {
        let Some(image) = image::image(self.session, id, soon())? else {
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

    fn mark(&self, id: &str, key: &str, value: &str) -> Result<(), Error> {
        let value = value.chars().take(MAX_VALUE).collect();
        let metadata = BTreeMap::from([(key.to_owned(), value)]);
        compute::add_metadata(self.session, id, &metadata, soon())
    }
}

impl BuildBackend for CloudBackend<'_> {
    fn look(&mut self, attempt: &mut Attempt) -> Result<BuildView, Error> {
        let (details, leftovers) = match &attempt.creates.own {
            Some(id) if attempt.published.is_some() => {
                // A create that an earlier run did not live to hear of may have come late.
                let (other, mut leftovers) = self.first_look()?;
                leftovers.extend(other.map(|other| Leftover::Server {
                    id: other.record.id,
                    name: other.record.name,
                    why: "another one has become the image".to_owned(),
                }));
                leftovers.retain(|leftover| leftover.id() != id);
                (self.owned(id)?, leftovers)
            }
            Some(id) => (self.owned(id)?, Vec::new()),
            None => self.first_look()?,
        };
        let found = details.as_ref().map(|details| &details.record);
        if let Some(record) = found
            && !record.deleting
            && attempt.creates.own.is_none()
        {
            attempt.creates.own = Some(record.id.clone());
            if let Some(name) = record.metadata.get(IMAGE_NAME)
                && !self.recipe.is_named
            {
                self.image_name.clone_from(name);
            }
        }
        let is_booted = found.is_some_and(|record| record.metadata.contains_key(BOOTED));
        // A server that is gone may have become an image.
        let images = match (found, &attempt.creates.own) {
            (Some(record), _) if is_booted => self.images(owned::BUILDER, &record.id)?,
            (None, Some(id)) => self.images(owned::BUILDER, id)?,
            _ => Vec::new(),
        };
        let is_running = |record: &&ServerRecord| {
            !record.deleting
                && matches!(record.status, ServerStatus::Active | ServerStatus::Shutoff)
        };
        let boot = match found.filter(is_running) {
            Some(record) if !is_booted => self.boot(record),
            _ => None,
        };
        let server = details.map(|details| Server {
            id: details.record.id,
            name: details.record.name,
            status: details.record.status,
            deleting: details.record.deleting,
            task: details.task_state,
            fault: details.record.fault,
            is_own: true,
            is_ready: false,
        });
        Ok(BuildView {
            boot: BootView {
                server,
                has_own: attempt.creates.own.is_some(),
                request: attempt.creates.request(),
                boot,
            },
            is_booted,
            images: images.iter().map(snapshot).collect(),
            leftovers,
        })
    }

    fn create(&mut self) -> Result<String, Error> {
        let node = new_node(self.cloud());
        self.recipe.create(self.session, &node, self.request)
    }

    fn remove(&mut self, leftover: &Leftover) -> Result<(), Error> {
        match leftover {
            Leftover::Server { id, .. } => compute::delete(self.session, id, soon()).map(|_| ()),
            Leftover::Image { id, .. } => image::delete(self.session, id, soon()),
        }
    }

    fn perform(
        &mut self,
        action: &Action,
        builder: &str,
        attempt: &mut Attempt,
    ) -> Result<(), Error> {
        let session = self.session;
        match action {
            Action::MarkBooted => self.mark(builder, BOOTED, "true"),
            Action::Stop => compute::stop(session, builder, soon()),
            Action::Snapshot => self.snapshot(builder, attempt),
            Action::DeleteImage { id } => image::delete(session, id, soon()),
            Action::Publish { id } => {
                if self.publish(id)? {
                    attempt.published = Some(id.clone());
                }
                Ok(())
            }
            Action::Disown => {
                self.mark(builder, METADATA_ROLE, KEPT)?;
                attempt.disowned = true;
                Ok(())
            }
            Action::Delete => compute::delete(session, builder, soon()).map(|_| ()),
        }
    }

    fn mark_failed(&mut self, builder: &str, why: &str) -> Result<(), Error> {
        self.mark(builder, FAILED, why)
    }

    fn pause(&mut self, longest: Duration) {
        thread::sleep(self.poll.min(longest));
    }

    fn console(&self) -> Option<String> {
        let text = self.console.as_deref()?;
        let told = before_failure(text, TOLD);
        (!told.is_empty()).then_some(told)
    }
}

fn snapshot(image: &OwnedImage) -> ImageSnapshot {
    ImageSnapshot {
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
