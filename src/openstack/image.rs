//! Glance: images.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use scaling::sorting::IntoMap;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::items;
use super::{ambiguous, looks_like_id, not_found};
use scaling::observation::Unread;
use system::deadline::Deadline;
use system::http_client::percent_encoded;
use system::json;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self")]
pub struct Image {
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
    #[serde(default, deserialize_with = "items::lenient")]
    pub size: Option<u64>,
    /// A flavor's disk must have this many GiB.
    #[serde(default, deserialize_with = "items::lenient")]
    pub min_disk: u64,
    /// A flavor must have this many MiB of memory.
    #[serde(default, deserialize_with = "items::lenient")]
    pub min_ram: u64,
    /// It cannot be deleted.
    #[serde(default)]
    pub protected: bool,
    #[serde(skip)]
    properties: BTreeMap<String, String>,
}

impl Image {
    /// A property of it (`os_distro`, or what a program of ehos wrote to it).
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }
}

/// What decides something about it must be what it should be; of its properties, those that are text.
impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Image, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        let mut from = serde_json::Deserializer::from_slice(raw.get().as_bytes());
        // The error's place in the text goes with it.
        let image = Image::deserialize(&mut from).map_err(serde::de::Error::custom);
        let mut image: Image = image?;
        let properties = items::fields(raw.get()).into_iter();
        image.properties = properties
            .filter_map(|(key, value)| Some((key, json::read(value.get()).ok()?)))
            .into_map();
        Ok(image)
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
        let answer = session.get(Service::Image, &path, deadline)?;
        let page: Page<'_> = answer.json()?;
        images.extend(session.read::<Image>("image", &page.images));
        // Of the link to the next page (a path without a host) only its being there is taken, and its marker where the
        // last image does not tell its id: below a proxy it may lead astray.
        let (Some(next), Some(last)) = (page.next, page.images.last()) else {
            return Ok(images);
        };
        let id = items::fields(last.get()).get("id").copied();
        let id = id.and_then(|id| json::read::<String>(id.get()).ok());
        let Some(marker) = id.or_else(|| marker(&next)) else {
            return Err(answer.unparsable("the link to the next page has no marker"));
        };
        path = format!("{first}&marker={}", percent_encoded(&marker));
        if !seen.insert(marker) {
            return Err(Error::EndlessList { call: answer.call });
        }
    }
}

/// The marker in the link to a next page.
fn marker(next: &str) -> Option<String> {
    let (_, query) = next.split_once('?')?;
    let mut fields = query.split('&');
    let marker = fields.find_map(|field| field.strip_prefix("marker="))?;
    Some(marker.to_owned())
}

/// The image of this id; `None` when there is none.
pub fn image(session: &Session, id: &str, deadline: Deadline) -> Result<Option<Image>, Error> {
    let answer = session.find(Service::Image, &format!("/images/{id}"), deadline)?;
    answer.map(|answer| answer.json()).transpose()
}

/// Deletes an image. One that is gone already is no error.
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/images/{id}");
    session.delete(Service::Image, &path, deadline).map(drop)
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
    let answer = session.get(Service::Image, &path, deadline)?;
    let page: Page<'_> = answer.json()?;
    let items = items::each("image", &page.images);
    let unread: Vec<&Unread> = items.unread.iter().map(|item| &item.told).collect();
    session.tell(unread.iter().copied());
    match (the_active(session, wanted, items.read), unread.first()) {
        (Err(Error::NotFound { cloud, .. }), Some(unread)) => Err(Error::Unreadable {
            cloud,
            unread: (*unread).clone(),
        }),
        (found, _) => found,
    }
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
struct Page<'a> {
    #[serde(borrow)]
    images: Vec<&'a RawValue>,
    next: Option<String>,
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    drop(serde_json::from_slice::<Image>(body));
    if let Ok(page) = serde_json::from_slice::<Page<'_>>(body) {
        drop(items::each::<Image>("image", &page.images));
        drop(page.next.as_deref().and_then(marker));
    }
}
