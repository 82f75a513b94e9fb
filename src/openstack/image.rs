//! Glance: images.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::{Request, percent_encoded};
use super::{ambiguous, looks_like_id, not_found};
use crate::deadline::Deadline;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its name, which need not be its own.
    #[serde(default)]
    pub name: Option<String>,
    /// `queued`, `saving`, `active` …: servers boot from an active one.
    pub status: String,
    /// `private`, `shared`, `community`, `public`.
    #[serde(default)]
    pub visibility: String,
    /// The id of the project that it belongs to.
    #[serde(default)]
    pub owner: Option<String>,
    /// When it was made, on Glance's clock.
    pub created_at: Timestamp,
    /// Its size in bytes, once it is whole.
    #[serde(default)]
    pub size: Option<u64>,
    /// A flavor's disk must have this many GiB.
    #[serde(default)]
    pub min_disk: u64,
    /// A flavor must have this many MiB of memory.
    #[serde(default)]
    pub min_ram: u64,
    /// It cannot be deleted.
    #[serde(default)]
    pub protected: bool,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

impl Image {
    /// A property of it (`os_distro`, or what a maker of ours wrote to it).
    pub fn property(&self, name: &str) -> Option<&str> {
        self.more.get(name).and_then(Value::as_str)
    }
}

/// All images that the project sees, newest first: every page.
pub fn images(session: &Session, deadline: Deadline) -> Result<Vec<Image>, Error> {
    listed(session, "", deadline)
}

/// Those of [`images`] whose property `name` is `value`.
pub fn images_with(
    session: &Session,
    name: &str,
    value: &str,
    deadline: Deadline,
) -> Result<Vec<Image>, Error> {
    let filter = format!("&{name}={}", percent_encoded(value));
    let mut images = listed(session, &filter, deadline)?;
    images.retain(|image| image.property(name) == Some(value));
    Ok(images)
}

fn listed(session: &Session, filter: &str, deadline: Deadline) -> Result<Vec<Image>, Error> {
    let first = format!("/images?limit=500&sort=created_at:desc{filter}");
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut images: Vec<Image> = Vec::new();
    let mut path = first.clone();
    loop {
        let answer = session.send(Service::Image, &path, &Request::get(), deadline)?;
        let page: Page = answer.json()?;
        let last = page.images.last().map(|image| image.id.clone());
        images.extend(page.images);
        // Of the link to the next page (a path without a host) only its being there is taken: below a proxy it may
        // lead astray.
        let (Some(_), Some(last)) = (page.next, last) else {
            return Ok(images);
        };
        path = format!("{first}&marker={last}");
        if !seen.insert(last) {
            return Err(Error::EndlessList { call: answer.call });
        }
    }
}

/// The image of this id; `None` when there is none.
pub fn image(session: &Session, id: &str, deadline: Deadline) -> Result<Option<Image>, Error> {
    let path = format!("/images/{id}");
    match session.send(Service::Image, &path, &Request::get(), deadline) {
        Ok(answer) => answer.json().map(Some),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes an image. One that is gone already is no error.
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/images/{id}");
    match session.send(Service::Image, &path, &Request::delete(), deadline) {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The image that is called `wanted` or has this id, and is active. Names of images need not be unique: several active
/// ones are an error, for the newest may be anybody's who shares an image with the project.
pub fn find(session: &Session, wanted: &str, deadline: Deadline) -> Result<Image, Error> {
    if looks_like_id(wanted)
        && let Some(found) = image(session, wanted, deadline)?
    {
        return the_active(session, wanted, vec![found]);
    }
    let path = format!("/images?name={}", percent_encoded(wanted));
    let answer = session.send(Service::Image, &path, &Request::get(), deadline)?;
    let Page { images, .. } = answer.json()?;
    the_active(session, wanted, images)
}

/// The id of the image that is called `wanted` or has this id, as [`find`] finds it.
pub fn image_id(session: &Session, wanted: &str, deadline: Deadline) -> Result<String, Error> {
    find(session, wanted, deadline).map(|image| image.id)
}

fn the_active(session: &Session, name: &str, images: Vec<Image>) -> Result<Image, Error> {
    let (mut active, other): (Vec<Image>, Vec<Image>) = images
        .into_iter()
        .partition(|image| image.status == "active");
    if active.len() > 1 {
        let ids = active.iter().map(|image| image.id.as_str());
        return Err(ambiguous(session, "image", name, ids));
    }
    active.pop().ok_or_else(|| {
        let hint = match other.first() {
            Some(image) => format!(" that is active (its status is {})", image.status),
            None => String::new(),
        };
        not_found(session, "image", name, hint)
    })
}

#[derive(Deserialize)]
struct Page {
    images: Vec<Image>,
    next: Option<String>,
}
