//! The images that ehos made for this pool, and which of them may be deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::step::{CLOUD, IMAGE_NAME};
use crate::openstack::CloudSettings;
use crate::openstack::image::Image;
use crate::scaling::observation::{METADATA_CLUSTER, METADATA_ROLE};

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

/// An image that is not whole may be on its way for so long.
const UNDER_WAY: Duration = Duration::from_secs(86_400);

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

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name.as_deref().unwrap_or_default()
    }

    /// Whether a cloud of the configuration names it: nodes are made from it, or images.
    pub fn is_configured<'c>(&self, clouds: impl IntoIterator<Item = &'c CloudSettings>) -> bool {
        clouds.into_iter().any(|cloud| {
            [Some(&cloud.image), cloud.base_image.as_ref()]
                .into_iter()
                .flatten()
                .any(|named| *named == self.0.id || Some(named) == self.0.name.as_ref())
        })
    }
}

/// Why an image stays, or that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The configuration names it.
    Configured,
    /// So many servers boot from it.
    InUse(u64),
    /// A server whose image cannot be read may boot from it.
    UseUnknown,
    /// It cannot be deleted.
    Protected,
    /// Other projects see it, and what they do with it cannot be seen from here.
    Shared,
    /// It is one of the newest.
    Newest,
    /// It may be on its way.
    UnderWay,
    /// Ticks run on this pool's central manager, whose configuration cannot be seen from here and may name it.
    OthersConfiguration,
    /// Not all clouds say whether there is such a central manager.
    OthersUnknown,
    /// It goes.
    Pruned,
}

/// Whether the configuration here is the one that nodes are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticks {
    /// Ticks run here, or there is no central manager where they could.
    Here,
    /// They run on a central manager that `ehos master deploy` made.
    OnTheMaster,
    /// A cloud where there may be such a one does not answer.
    Unknown,
}

/// What becomes of each of `images` of one cloud, in their order, when the `keep` newest that are whole stay, and all
/// that are in use: `in_use` says by image how many servers boot from it, `more_in_use` that some may boot from any. None goes but where the configuration, whose
/// clouds are `clouds`, is the one that nodes are made by.
pub fn fates(
    images: &[OwnedImage],
    keep: usize,
    (in_use, more_in_use): (&BTreeMap<String, u64>, bool),
    clouds: &[&CloudSettings],
    ticks: Ticks,
    now: Timestamp,
) -> Vec<Fate> {
    let mut ages: Vec<&OwnedImage> = images.iter().filter(|image| image.is_whole()).collect();
    ages.sort_by(|a, b| (b.0.created_at, &b.0.id).cmp(&(a.0.created_at, &a.0.id)));
    ages.truncate(keep);
    let fate = |image: &OwnedImage| {
        let age = now.duration_since(image.0.created_at);
        if image.is_configured(clouds.iter().copied()) {
            Fate::Configured
        } else if let Some(servers) = in_use.get(&image.0.id) {
            Fate::InUse(*servers)
        } else if image.0.protected {
            Fate::Protected
        } else if !matches!(image.0.visibility.as_str(), "" | "private") {
            Fate::Shared
        } else if ages.iter().any(|kept| kept.0.id == image.0.id) {
            Fate::Newest
        } else if !image.is_whole() && Duration::try_from(age).unwrap_or_default() < UNDER_WAY {
            Fate::UnderWay
        } else {
            match ticks {
                _ if more_in_use => Fate::UseUnknown,
                Ticks::Here => Fate::Pruned,
                Ticks::OnTheMaster => Fate::OthersConfiguration,
                Ticks::Unknown => Fate::OthersUnknown,
            }
        }
    };
    images.iter().map(fate).collect()
}
