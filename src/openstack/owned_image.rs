//! The images that ehos made for this pool, known by their properties.

use super::auth::Session;
use super::error::Error;
use super::image::{self, Image};
use super::owned_setup::Removed;
use scaling::observation::{METADATA_CLUSTER, METADATA_ROLE};
use system::deadline::Deadline;

/// Property of a builder and of an image: the cloud it is for, by its name in the configuration.
pub const CLOUD: &str = "ehos_cloud";
/// Property of a builder and of an image: the name of the image.
pub const IMAGE_NAME: &str = "ehos_image_name";
/// Property of an image: the server that it was made of.
pub const BUILDER: &str = "ehos_builder";
/// Property of an image: the image that it began with.
pub const SOURCE: &str = "ehos_source";
/// Property of an image: when it was made.
pub const BUILT: &str = "ehos_built";
/// Property of an image: the version of ehos that made it.
pub const VERSION: &str = "ehos_version";
/// The role of an image.
pub const ROLE: &str = "image";
/// Nova's property of a snapshot: the server that it was made of.
const INSTANCE: &str = "instance_uuid";

/// An image that ehos made for this pool, as its properties say. There is no other way to get one than
/// [`OwnedImage::recognise`], and a delete takes nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedImage(Image);

impl OwnedImage {
    /// `image` as one of ours, when it belongs to the `project` and its properties name this `cluster`; else `None`. A
    /// snapshot that somebody made of a node has all properties of the image that the node boots from: it is known by
    /// its own name and its own server.
    pub fn recognise(image: Image, cluster: &str, project: Option<&str>) -> Option<OwnedImage> {
        let builder = image.property(BUILDER)?;
        let ours = !cluster.is_empty()
            && image.property(METADATA_CLUSTER) == Some(cluster)
            && image.property(METADATA_ROLE) == Some(ROLE)
            && image.property(IMAGE_NAME).is_some()
            && image.property(IMAGE_NAME) == image.name.as_deref()
            && image
                .property(INSTANCE)
                .is_none_or(|instance| instance == builder)
            && image.owner.is_some()
            && image.owner.as_deref() == project;
        ours.then_some(OwnedImage(image))
    }

    /// All that Glance says of it.
    pub fn image(&self) -> &Image {
        &self.0
    }

    /// The server that it was made of.
    pub fn builder(&self) -> &str {
        self.0.property(BUILDER).unwrap_or_default()
    }

    /// The cloud that it was made for, by its name in the configuration.
    pub fn cloud(&self) -> Option<&str> {
        self.0.property(CLOUD)
    }

    /// The image that it began with.
    pub fn source(&self) -> Option<&str> {
        self.0.property(SOURCE)
    }

    /// It is whole: servers boot from it.
    pub fn is_whole(&self) -> bool {
        self.0.status == "active"
    }

    /// Other projects see it, and what they do with it is unknown here.
    pub fn is_shared(&self) -> bool {
        !matches!(self.0.visibility.as_str(), "" | "private")
    }

    /// Deletes it, if it still has its mark. Glance refuses (409) while a volume or a copy depends on it.
    ///
    /// # Errors
    /// The answer of Glance.
    pub fn remove(
        &self,
        session: &Session,
        cluster: &str,
        deadline: Deadline,
    ) -> Result<Removed, Error> {
        let project = session.token(deadline)?.project_id.clone();
        let Some(now) = image::image(session, &self.0.id, deadline)? else {
            return Ok(Removed::AlreadyGone);
        };
        match OwnedImage::recognise(now, cluster, project.as_deref()) {
            Some(now) if now.is_shared() => return Ok(Removed::InUse),
            Some(_) => {}
            None => return Ok(Removed::Foreign),
        }
        match image::delete(session, &self.0.id, deadline) {
            Ok(()) => Ok(Removed::Deleted),
            Err(error) if error.status() == Some(409) => Ok(Removed::InUse),
            Err(error) => Err(error),
        }
    }

    pub fn name(&self) -> &str {
        self.0.name.as_deref().unwrap_or_default()
    }
}
