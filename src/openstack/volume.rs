//! Cinder (v3): volumes.

use serde::Deserialize;
#[cfg(fuzzing)]
use serde_json::value::RawValue;

use super::auth::Session;
use super::catalog::Service;
use super::error::Error;
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
    let answer = session.get(Service::Volume, &path, deadline)?;
    let volumes: Vec<Volume> = session.list(&answer, "volumes", "volume")?;
    Ok(volumes.into_iter().map(Volume::record).collect())
}

/// The volume of this id; `None` when it is gone.
pub fn volume(
    session: &Session,
    id: &str,
    deadline: Deadline,
) -> Result<Option<VolumeRecord>, Error> {
    let answer = session.find(Service::Volume, &format!("/volumes/{id}"), deadline)?;
    let volume: Option<Volume> = answer.map(|it| it.field("volume")).transpose()?;
    Ok(volume.map(Volume::record))
}

/// Deletes a volume. One that is gone already is no error; one that is attached is refused (400).
pub fn delete(session: &Session, id: &str, deadline: Deadline) -> Result<Done, Error> {
    session.delete(Service::Volume, &format!("/volumes/{id}"), deadline)
}

/// The names and ids of all volume types that the project may use.
pub fn volume_types(session: &Session, deadline: Deadline) -> Result<Vec<VolumeType>, Error> {
    let answer = session.get(Service::Volume, "/types", deadline)?;
    session.list(&answer, "volume_types", "volume type")
}

/// A volume type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VolumeType {
    pub id: String,
    pub name: String,
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
    if let Ok(list) = items::field::<Vec<&RawValue>>(body, "volumes") {
        let items = items::each::<Volume>("volume", &list);
        items
            .read
            .into_iter()
            .for_each(|volume| drop(volume.record()));
    }
    if let Ok(list) = items::field::<Vec<&RawValue>>(body, "volume_types") {
        drop(items::each::<VolumeType>("volume type", &list));
    }
}
