//! Look-ups in the cloud, kept with their age from one tick to the next.
//!
//! Owns: the file `lookups-CLOUD.json`, the age of its entries and its bounds. All of it can be lost: ehos then asks the cloud.
//! Must not: keep a quota, whose use changes with each server; an image by its name, which a newer image may take over; or
//! anything that was not found.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};
use log::debug;
use scaling::sorting::IntoMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::compute::{self, NamedFlavor};
use super::items;
use super::{ServerAttachments, locked};
use crate::CloudSettings;
use system::json;
use system::own_file;

/// Nova never changes the size of a flavor, and an id never means another object. Within this time a new right or a new
/// extra spec of a flavor counts. A create that is refused asks again at once.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(10);

/// A configuration with 100 flavors takes 15 KB.
const MAX_BYTES: u64 = 256 * 1024;

/// A cloud boots nodes from one image, and from a second one while it is exchanged.
const MAX_IMAGES: usize = 8;

/// A look-up, and when the cloud answered it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Dated<T> {
    at: Timestamp,
    found: T,
}

/// A configured flavor.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptFlavor {
    id: String,
    name: String,
    vcpus: u64,
    ram_mb: u64,
    disk_gb: u64,
    root_disk_gb: u64,
    gpus: u64,
}

/// The file.
#[derive(Debug, Clone, Default, Serialize)]
struct Stored {
    /// What asked: entries of another configuration mean nothing.
    configuration: String,
    flavors: Option<Dated<Vec<KeptFlavor>>>,
    attachments: Option<Dated<ServerAttachments>>,
    server_group: Option<Dated<String>>,
    /// Ids of active images.
    images: BTreeMap<String, Timestamp>,
}

/// The look-ups of one cloud.
pub(super) struct Lookups {
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

struct Known {
    stored: Stored,
    /// Nothing of an earlier tick is used any more.
    is_renewed: bool,
}

/// Whether a create used look-ups of an earlier tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedKept(bool);

impl Lookups {
    /// Look-ups that last as long as this process.
    pub(super) fn of_this_tick() -> Lookups {
        Lookups {
            file: None,
            known: Mutex::new(Known {
                stored: Stored::default(),
                is_renewed: true,
            }),
        }
    }

    /// Look-ups in `file`, for this user and project (`owner`) and these settings.
    pub(super) fn in_file(file: PathBuf, owner: &str, settings: &CloudSettings) -> Lookups {
        let configuration = configuration(owner, settings);
        let stored = read(&file).unwrap_or_else(|why| {
            debug!("{}: {why}; ehos asks the cloud again", file.display());
            None
        });
        let mut stored = stored
            .filter(|stored| stored.configuration == configuration)
            .unwrap_or_default();
        stored.configuration = configuration;
        stored.drop_old(compute::local_now());
        let is_renewed = stored.is_empty();
        Lookups {
            file: Some(file),
            known: Mutex::new(Known { stored, is_renewed }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }

    /// The configured flavors, if all of them were found.
    pub(super) fn flavors(&self) -> Option<Vec<NamedFlavor>> {
        let flavors = self.known().stored.flavors.clone()?;
        Some(flavors.found.into_iter().map(NamedFlavor::from).collect())
    }

    pub(super) fn keep_flavors<'f>(&self, flavors: impl IntoIterator<Item = &'f NamedFlavor>) {
        let found = flavors.into_iter().map(KeptFlavor::from).collect();
        self.keep(|stored| stored.flavors = Some(dated(found)));
    }

    pub(super) fn attachments(&self) -> Option<ServerAttachments> {
        let attachments = self.known().stored.attachments.clone();
        attachments.map(|attachments| attachments.found)
    }

    pub(super) fn keep_attachments(&self, found: &ServerAttachments) {
        self.keep(|stored| stored.attachments = Some(dated(found.clone())));
    }

    pub(super) fn server_group(&self) -> Option<String> {
        let group = self.known().stored.server_group.clone();
        group.map(|group| group.found)
    }

    pub(super) fn keep_server_group(&self, id: &str) {
        self.keep(|stored| stored.server_group = Some(dated(id.to_owned())));
    }

    /// Whether this id is that of an active image.
    pub(super) fn has_image(&self, id: &str) -> bool {
        self.known().stored.images.contains_key(id)
    }

    pub(super) fn keep_image(&self, id: &str) {
        self.keep(|stored| {
            if stored.images.len() < MAX_IMAGES {
                stored.images.insert(id.to_owned(), compute::local_now());
            }
        });
    }

    /// Whether look-ups of an earlier tick are used.
    pub(super) fn are_kept(&self) -> bool {
        !self.known().is_renewed
    }

    /// For [`Lookups::forget`], before a create looks anything up.
    pub(super) fn mark(&self) -> UsedKept {
        UsedKept(self.are_kept())
    }

    /// Forgets what an earlier tick found. Returns whether a create with this mark can differ now.
    pub(super) fn forget(&self, used: UsedKept) -> bool {
        let mut known = self.known();
        if !known.is_renewed {
            known.is_renewed = true;
            known.stored = Stored {
                configuration: std::mem::take(&mut known.stored.configuration),
                ..Stored::default()
            };
            if let Some(file) = &self.file
                && let Err(error) = fs::remove_file(file)
            {
                debug!("{}: {error}", file.display());
            }
        }
        used.0
    }

    /// Keeps a change. Without the file the next tick asks again.
    fn keep(&self, change: impl FnOnce(&mut Stored)) {
        let mut known = self.known();
        change(&mut known.stored);
        if let Some(file) = &self.file
            && let Err(error) = write(file, &known.stored)
        {
            debug!(
                "{}: {error}; the next tick asks the cloud again",
                file.display()
            );
        }
    }
}

impl Stored {
    fn is_empty(&self) -> bool {
        let Stored {
            configuration: _,
            flavors,
            attachments,
            server_group,
            images,
        } = self;
        flavors.is_none() && attachments.is_none() && server_group.is_none() && images.is_empty()
    }

    /// Removes what is too old, or was written on a clock that was ahead.
    fn drop_old(&mut self, now: Timestamp) {
        let is_fresh = |at: Timestamp| {
            let age = now.duration_since(at);
            age >= SignedDuration::ZERO && age < MAX_AGE
        };
        self.flavors.take_if(|kept| !is_fresh(kept.at));
        self.attachments.take_if(|kept| !is_fresh(kept.at));
        self.server_group.take_if(|kept| !is_fresh(kept.at));
        self.images.retain(|_, at| is_fresh(*at));
    }
}

fn dated<T>(found: T) -> Dated<T> {
    Dated {
        at: compute::local_now(),
        found,
    }
}

/// All that decides what a look-up finds.
fn configuration(owner: &str, settings: &CloudSettings) -> String {
    let CloudSettings {
        region,
        interface,
        services,
        flavors,
        networks,
        key,
        security_groups,
        server_group,
        ..
    } = settings;
    format!(
        "{owner} {region:?} {interface} {services:?} {flavors:?} {networks:?} {key:?} {security_groups:?} {server_group:?}"
    )
}

/// The file; `None`: there is none. An entry that cannot be read is left out.
fn read(path: &Path) -> Result<Option<Stored>, String> {
    let file = match own_file::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| error.to_string())?,
    };
    let mut text = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("larger than {MAX_BYTES} bytes"));
    }
    let text = String::from_utf8_lossy(&text);
    let fields = items::fields(&text);
    if fields.is_empty() {
        return Err("damaged".to_owned());
    }
    let images: BTreeMap<String, &RawValue> = entry(&fields, "images").unwrap_or_default();
    Ok(Some(Stored {
        configuration: entry(&fields, "configuration").unwrap_or_default(),
        flavors: entry(&fields, "flavors"),
        attachments: entry(&fields, "attachments"),
        server_group: entry(&fields, "server_group"),
        images: images
            .into_iter()
            .filter_map(|(id, at)| Some((id, json::read(at.get()).ok()?)))
            .take(MAX_IMAGES)
            .into_map(),
    }))
}

fn entry<'a, T: Deserialize<'a>>(fields: &BTreeMap<String, &'a RawValue>, name: &str) -> Option<T> {
    json::read(fields.get(name)?.get()).ok()
}

fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(tick::state_directory::new_file::LOOKUPS)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    json::write(&mut file, stored)?;
    file.persist(path)?;
    Ok(())
}

impl From<&NamedFlavor> for KeptFlavor {
    fn from(named: &NamedFlavor) -> KeptFlavor {
        let flavor = &named.flavor;
        KeptFlavor {
            id: flavor.id.clone(),
            name: named.name.clone(),
            vcpus: flavor.vcpus,
            ram_mb: flavor.ram_mb,
            disk_gb: flavor.disk_gb,
            root_disk_gb: named.root_disk_gb,
            gpus: flavor.gpus,
        }
    }
}

impl From<KeptFlavor> for NamedFlavor {
    fn from(kept: KeptFlavor) -> NamedFlavor {
        NamedFlavor {
            name: kept.name,
            root_disk_gb: kept.root_disk_gb,
            flavor: scaling::observation::Flavor {
                id: kept.id,
                vcpus: kept.vcpus,
                ram_mb: kept.ram_mb,
                disk_gb: kept.disk_gb,
                gpus: kept.gpus,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CloudSettings {
        CloudSettings {
            flavors: vec!["small".to_owned()],
            ..CloudSettings::default()
        }
    }

    fn flavor() -> NamedFlavor {
        NamedFlavor {
            name: "small".to_owned(),
            root_disk_gb: 10,
            flavor: scaling::observation::Flavor {
                id: "f1".to_owned(),
                vcpus: 2,
                ram_mb: 4096,
                disk_gb: 30,
                gpus: 1,
            },
        }
    }

    fn attachments() -> ServerAttachments {
        ServerAttachments {
            networks: vec!["n1".to_owned()],
            security_groups: vec!["g1".to_owned()],
        }
    }

    /// A file with one of each, and its look-ups.
    fn filled(folder: &Path) -> (PathBuf, Lookups) {
        let file = folder.join("lookups-lab.json");
        let lookups = Lookups::in_file(file.clone(), "me", &settings());
        lookups.keep_flavors([&flavor()]);
        lookups.keep_attachments(&attachments());
        lookups.keep_server_group("s1");
        lookups.keep_image("i1");
        (file, lookups)
    }

    fn known(lookups: &Lookups) -> [bool; 4] {
        [
            lookups.flavors() == Some(vec![flavor()]),
            lookups
                .attachments()
                .is_some_and(|kept| kept.networks == ["n1"]),
            lookups.server_group().as_deref() == Some("s1"),
            lookups.has_image("i1"),
        ]
    }

    fn again(file: &Path) -> Lookups {
        Lookups::in_file(file.to_owned(), "me", &settings())
    }

    #[test]
    fn what_was_looked_up_is_known_to_the_next_tick_of_the_same_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = filled(folder.path());
        assert_eq!(known(&again(&file)), [true; 4]);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let other = Lookups::in_file(file.clone(), "another", &settings());
        assert_eq!(known(&other), [false; 4]);
        let mut changed = settings();
        changed.networks.push("other".to_owned());
        let other = Lookups::in_file(file, "me", &changed);
        assert_eq!(known(&other), [false; 4]);
    }

    #[test]
    fn old_look_ups_and_those_of_a_clock_that_was_ahead_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (_, lookups) = filled(folder.path());
        let stored = lookups.known().stored.clone();
        let now = compute::local_now();
        for (age, fresh) in [(-60, false), (0, true), (590, true), (610, false)] {
            let mut stored = stored.clone();
            stored.drop_old(now + SignedDuration::from_secs(age));
            let found = [
                stored.flavors.is_some(),
                stored.attachments.is_some(),
                stored.server_group.is_some(),
                !stored.images.is_empty(),
            ];
            assert_eq!(found, [fresh; 4], "{age}");
        }
    }

    #[test]
    fn a_damaged_entry_costs_itself_and_a_damaged_file_all() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = filled(folder.path());
        let whole: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for (field, at) in [
            ("flavors", 0),
            ("attachments", 1),
            ("server_group", 2),
            ("images", 3),
        ] {
            for odd in [serde_json::json!(7), serde_json::json!({"at": "never"})] {
                let mut damaged = whole.clone();
                damaged[field] = odd;
                fs::write(&file, damaged.to_string()).unwrap();
                let mut expected = [true; 4];
                expected[at] = false;
                assert_eq!(known(&again(&file)), expected, "{field}");
            }
        }
        let huge = " ".repeat(300_000) + &whole.to_string();
        let images: BTreeMap<String, Timestamp> = (0..100)
            .map(|n| (format!("i{n}"), compute::local_now()))
            .collect();
        let mut many = whole;
        many["images"] = serde_json::json!(images);
        for text in ["", "{", "[]", "null", "\0\u{fffd}", &huge] {
            fs::write(&file, text).unwrap();
            assert_eq!(known(&again(&file)), [false; 4]);
        }
        fs::write(&file, many.to_string()).unwrap();
        assert_eq!(again(&file).known().stored.images.len(), MAX_IMAGES);
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert_eq!(known(&again(&file)), [false; 4]);
    }

    #[test]
    fn what_an_earlier_tick_found_is_forgotten_once() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = filled(folder.path());
        let lookups = again(&file);
        let (first, second) = (lookups.mark(), lookups.mark());
        assert!(lookups.forget(first));
        assert_eq!(known(&lookups), [false; 4]);
        assert!(!file.exists());
        lookups.keep_image("i1");
        assert!(lookups.forget(second), "it used what is forgotten");
        assert!(lookups.has_image("i1"), "found anew");
        assert!(!lookups.forget(lookups.mark()));
        assert!(!Lookups::of_this_tick().forget(Lookups::of_this_tick().mark()));
    }
}
