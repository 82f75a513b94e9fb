//! What images of the pool a cloud has, and how many servers boot from each.

use std::collections::BTreeMap;
use std::thread;

use config::Config;
use openstack::CloudSettings;
use openstack::auth::Session;
use openstack::owned_image::OwnedImage;
use openstack::{Error, compute, image};
use scaling::observation::METADATA_CLUSTER;
use scaling::sorting;
use system::deadline::Deadline;
use system::threads::{joined, spawn};

/// The images of the pool in one cloud.
#[derive(Debug)]
pub struct Inventory {
    /// They, the newest first.
    pub images: Vec<OwnedImage>,
    /// How many servers of the project, whoever made them, boot from an image, by its id.
    pub in_use: BTreeMap<String, u64>,
    /// A server's image cannot be read: it may be any.
    pub more_in_use: bool,
}

/// Looks it up in the cloud of `session`. Whole, or an error: what is deleted depends on it.
///
/// # Errors
/// When the cloud does not say.
pub fn look(session: &Session, cluster: &str, deadline: Deadline) -> Result<Inventory, Error> {
    let project = session.token(deadline)?.project_id.clone();
    let mut images: Vec<OwnedImage> =
        image::images_with(session, METADATA_CLUSTER, cluster, deadline)?
            .into_iter()
            .filter_map(|image| OwnedImage::recognise(image, cluster, project.as_deref()))
            .collect();
    sorting::by_key(&mut images, |image| {
        std::cmp::Reverse(image.image().created_at)
    });
    // After the images: a server that boots from one of them meanwhile is seen.
    let in_use = compute::images_in_use(session, deadline)?;
    session.tell(&in_use.unread);
    Ok(Inventory {
        images,
        in_use: in_use.servers,
        more_in_use: !in_use.unread.is_empty(),
    })
}

/// Whether a cloud of the configuration names the image: nodes are created from it, or images.
pub fn is_configured<'c>(
    image: &OwnedImage,
    clouds: impl IntoIterator<Item = &'c CloudSettings>,
) -> bool {
    clouds.into_iter().any(|cloud| {
        [Some(&cloud.image), cloud.base_image.as_ref()]
            .into_iter()
            .flatten()
            .any(|named| *named == image.image().id || Some(named) == image.image().name.as_ref())
    })
}

/// Does `work` for each of these clouds at once, and returns the results by cloud.
pub(super) fn at_once<'c, T: Send>(
    clouds: &[&'c CloudSettings],
    work: impl Fn(&'c CloudSettings) -> T + Sync,
) -> Vec<(String, T)> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = clouds
            .iter()
            .map(|cloud| (cloud.name.clone(), spawn(scope, move || work(cloud))))
            .collect();
        let running = running.into_iter();
        running
            .map(|(name, thread)| (name, joined(thread)))
            .collect()
    })
}

/// Does `work` in each of these clouds at once, each with a session of its own, and returns the results by cloud.
pub fn in_each<T: Send>(
    config: &Config,
    clouds: &[&CloudSettings],
    deadline: Deadline,
    work: impl Fn(&Session, Deadline) -> Result<T, Error> + Sync,
) -> Vec<(String, Result<T, Error>)> {
    at_once(clouds, |settings| {
        let session = Session::new(settings, config.timeouts.request, None)?;
        work(&session, deadline)
    })
}
