//! Cinder (v3): volumes.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
use super::http::Request;
use scaling::action::Done;
use scaling::leftover::VolumeRecord;
use system::deadline::Deadline;

/// The project's volumes with this status: the first page of them, which has a thousand where Cinder is as it comes.
pub fn volumes(
    session: &Session,
    status: &str,
    deadline: Deadline,
) -> Result<Vec<VolumeRecord>, Error> {
    let path = format!("/volumes/detail?status={status}");
    let answer = session.send(Service::Volume, &path, &Request::get(), deadline)?;
    let VolumesBody { volumes } = answer.json()?;
    let volumes: Vec<Volume> = session.read("volume", &volumes);
    Ok(volumes.into_iter().map(Volume::record).collect())
}

/// The volume of this id; `None` when it is gone.
pub fn volume(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<VolumeRecord>, Error> {
    let path = format!("/volumes/{id}");
    match session.send(Service::Volume, &path, &Request::get(), deadline) {
        Ok(answer) => {
            let VolumeBody { volume } = answer.json()?;
            Ok(Some(volume.record()))
        }
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a volume. One that is gone already is no error; one that is attached is refused (400).
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<Done, Error> {
    let path = format!("/volumes/{id}");
    match session.send(Service::Volume, &path, &Request::delete(), deadline) {
        Ok(_) => Ok(Done::Accepted),
        Err(error) if error.status() == Some(404) => Ok(Done::AlreadyGone),
        Err(error) => Err(error),
    }
}

/// The names and ids of all volume types that the project may use.
pub fn volume_types(session: &Session, deadline: Deadline) -> Result<Vec<VolumeType>, Error> {
    let answer = session.send(Service::Volume, "/types", &Request::get(), deadline)?;
    let TypesBody { volume_types } = answer.json()?;
    Ok(session.read("volume type", &volume_types))
}

/// A volume type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VolumeType {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

#[derive(Deserialize)]
struct TypesBody<'a> {
    #[serde(borrow)]
    volume_types: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct VolumesBody<'a> {
    #[serde(borrow)]
    volumes: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct VolumeBody {
    volume: Volume,
}

#[derive(Deserialize)]
struct Volume {
    id: String,
    name: Option<String>,
    size: u64,
    status: String,
    /// It must be there: without it nothing is known to be free.
    attachments: Vec<serde::de::IgnoredAny>,
}

impl Volume {
    fn record(self) -> VolumeRecord {
        VolumeRecord {
            id: self.id,
            name: self.name.unwrap_or_default(),
            size_gb: self.size,
            status: self.status,
            attached: !self.attachments.is_empty(),
        }
    }
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8]) {
    use super::items;
    if let Ok(page) = serde_json::from_slice::<VolumesBody<'_>>(body) {
        let items = items::each::<Volume>("volume", &page.volumes);
        items
            .read
            .into_iter()
            .for_each(|volume| drop(volume.record()));
    }
    if let Ok(page) = serde_json::from_slice::<TypesBody<'_>>(body) {
        drop(items::each::<VolumeType>("volume type", &page.volume_types));
    }
}
