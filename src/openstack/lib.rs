//! OpenStack clouds: the client, bottom up (`http`, `auth`, then one file for each service), and the adapter through
//! which the tick sees a cloud.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use log::{info, warn};

use self::items::Items;
use self::lookups::Lookups;
use self::owned_image::OwnedImage;
use self::resolve::CreateIds;
use scaling::action::{CloudAction, Done, Failure, Intent};
use scaling::console::{self, ConsoleExcerpt};
use scaling::observation::{
    CloudView, Flavor, METADATA_CONDOR_HOST, Observed, OwnedServer, Quota, ServerRecord,
    ServerStatus, execute_metadata,
};
use scaling::signing::SigningKeys;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use system::deadline::Deadline;
use system::threads::{joined, spawn};
use tick::cloud::{Cloud, LeftoverQuery};
use tick::internal_errors::same_cloud;

pub mod auth;
mod catalog;
pub mod compute;
mod error;
mod floating_ips;
mod http;
pub mod identity;
pub mod image;
pub mod items;
mod leftovers;
pub mod limits;
mod lookups;
mod message;
pub mod network;
mod new_server;
pub mod owned_image;
pub mod owned_setup;
mod resolve;
pub mod rule;
mod server;
pub mod server_group;
mod settings;
mod token_cache;
pub mod volume;
pub mod zone;

pub use catalog::Service;
pub use error::{Call, Error, ErrorResponse, RequestKind};
pub use settings::{Auth, AuthMethod, CloudSettings, INTERFACES, NameOrId, ServiceSettings};

/// Lines of a failed server's console that are kept in the log.
const CONSOLE_LINES: usize = 40;
/// A console is worth waiting for no longer than this.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Failed servers that are asked in one look why, one by one.
const FAULT_LOOKS: usize = 10;
/// The reason of a failure is worth waiting for no longer than this.
const FAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// What is left over is worth waiting for no longer than this.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(10);

/// The quota of what else nodes take is worth waiting for no longer than this.
const PARTS_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of the image is worth waiting for no longer than this.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// User data that is filled in.
#[derive(Debug)]
pub struct Filled {
    /// The user data. A node's token is in it.
    pub text: SecretString,
    /// What the server's metadata say of that token.
    pub metadata: BTreeMap<String, String>,
}

impl<T: Into<SecretString>> From<T> for Filled {
    /// User data without a token.
    fn from(text: T) -> Filled {
        Filled {
            text: text.into(),
            metadata: BTreeMap::new(),
        }
    }
}

/// Renders the user data of a node for the region it is in.
pub type UserData<'c> =
    Box<dyn Fn(&Intent, &str, Deadline) -> Result<Filled, Failure> + Send + Sync + 'c>;

/// Configured flavors, and why others cannot be read.
type ConfiguredFlavors = (BTreeMap<String, Flavor>, BTreeMap<String, String>);

/// One project of an OpenStack cloud, as the tick sees it.
pub struct OpenStackCloud<'c> {
    session: auth::Session<'c>,
    cluster: String,
    condor_host: Option<String>,
    keys: SigningKeys,
    floating_ips_of_nodes: bool,
    user_data: UserData<'c>,
    /// What names in the configuration stand for, looked up when first needed.
    lookups: Lookups,
    flavors: Mutex<Option<Items<compute::NamedFlavor>>>,
    images: Mutex<BTreeMap<String, String>>,
    surroundings: Mutex<Option<ServerAttachments>>,
    server_group: Mutex<Option<String>>,
}

/// The ids of what every server of a cloud is put into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAttachments {
    pub networks: Vec<String>,
    pub security_groups: Vec<String>,
}

impl<'c> OpenStackCloud<'c> {
    /// The cloud of `settings`, seen by the pool `cluster` (its id: `ehos_cluster` in metadata). Nothing is asked
    /// yet. Each request takes `request_timeout` at most. The token is kept in the file `token_cache` from one
    /// tick to the next. `user_data` is called for each server that is made. Fails when `cacert` cannot be used.
    pub fn new(
        settings: &'c CloudSettings,
        cluster: &str,
        request_timeout: Duration,
        token_cache: Option<PathBuf>,
        user_data: UserData<'c>,
    ) -> Result<OpenStackCloud<'c>, Error> {
        Ok(OpenStackCloud {
            session: auth::Session::new(settings, request_timeout, token_cache)?.reporting(),
            cluster: cluster.to_owned(),
            condor_host: None,
            keys: SigningKeys::default(),
            floating_ips_of_nodes: false,
            user_data,
            lookups: Lookups::of_this_tick(),
            flavors: Mutex::new(None),
            images: Mutex::new(BTreeMap::new()),
            surroundings: Mutex::new(None),
            server_group: Mutex::new(None),
        })
    }

    /// Look-ups are kept in this file from one tick to the next.
    #[must_use]
    pub fn keeping_lookups(mut self, file: Option<PathBuf>) -> OpenStackCloud<'c> {
        let settings = self.session.settings();
        if let Some(file) = file {
            self.lookups = Lookups::in_file(file, &auth::owner(settings), settings);
        }
        self
    }

    /// Its nodes are told to join this central manager, and their metadata say so.
    #[must_use]
    pub fn joining(mut self, condor_host: Option<&str>) -> OpenStackCloud<'c> {
        self.condor_host = condor_host.map(str::to_owned);
        self
    }

    /// The servers that it creates are signed, and those that it lists are checked, with these keys.
    #[must_use]
    pub fn signing(mut self, keys: SigningKeys) -> OpenStackCloud<'c> {
        self.keys = keys;
        self
    }

    /// One of this pool, with its signature checked.
    fn recognise(&self, record: ServerRecord, now: Timestamp) -> Option<OwnedServer> {
        let server = OwnedServer::recognise(record, &self.cluster)?;
        Some(server.checked(&self.keys, now))
    }

    /// It is asked for the floating IPs that lead to nodes (`purge_floating_ips`).
    #[must_use]
    pub fn finding_floating_ips(mut self, of_nodes: bool) -> OpenStackCloud<'c> {
        self.floating_ips_of_nodes = of_nodes;
        self
    }

    /// The client itself, for what the tick does not do.
    pub fn session(&self) -> &auth::Session<'c> {
        &self.session
    }

    fn view(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Error> {
        let session = &self.session;
        // Before all else: when Keystone hangs or refuses, it is asked once, not by each of the threads.
        session.token(deadline)?;
        let (servers, quota, parts, flavors, look, image_tested) = thread::scope(|scope| {
            let tested = spawn(
                scope,
                same_cloud(move || self.image_is_tested(traces, deadline)),
            );
            let look = spawn(
                scope,
                same_cloud(move || {
                    let deadline = deadline.at_most(LEFTOVERS_TIMEOUT);
                    leftovers::look(session, traces, self.floating_ips_of_nodes, deadline)
                }),
            );
            let quota = spawn(scope, same_cloud(move || limits::quota(session, deadline)));
            let parts = spawn(
                scope,
                same_cloud(move || limits::parts(session, deadline.at_most(PARTS_TIMEOUT))),
            );
            let flavors = spawn(scope, same_cloud(move || self.configured_flavors(deadline)));
            let servers = compute::servers(session, deadline);
            (
                servers,
                joined(quota),
                joined(parts),
                joined(flavors),
                joined(look),
                joined(tested),
            )
        });
        let servers = servers?;
        // Their ages were told just now.
        let now = Timestamp::now();
        let (flavors, unread_flavors) = flavors?;
        session.tell(servers.told());
        let all = servers.ids();
        let obscure = servers.obscure(&self.cluster);
        let owned: Vec<OwnedServer> = servers
            .records
            .into_iter()
            .filter_map(|record| self.recognise(record, now))
            .collect();
        // Some faults of a lookup that is no longer right show after the create.
        if owned
            .iter()
            .any(|server| server.record().status == ServerStatus::Error)
        {
            self.forget_lookups(self.lookups.mark());
        }
        let leftovers = match look {
            Ok(look) => {
                let size_gb = session.settings().scratch_size_gb;
                let mut found = look.judged(traces, &self.cluster, &all, &owned, size_gb);
                if !self.floating_ips_of_nodes {
                    found.of_nodes.clear();
                }
                Observed::Known(found)
            }
            Err(error) => Observed::Unknown(error.to_string()),
        };
        // What may be created depends on its limits, and nothing else does.
        let (quota, parts) = match (quota, parts) {
            (Ok(quota), Ok(parts)) => (quota, Observed::Known(parts)),
            (Ok(quota), Err(error)) => (quota, Observed::Unknown(error.to_string())),
            (Err(error), _) => (Quota::default(), Observed::Unknown(error.to_string())),
        };
        let mut looks = FAULT_LOOKS;
        Ok(CloudView {
            obscure,
            servers: owned
                .into_iter()
                .map(|server| self.with_fault(server, &mut looks, now, deadline))
                .collect(),
            quota,
            parts,
            flavors,
            unread_flavors,
            image_tested,
            leftovers,
            unread: session.unread(),
        })
    }

    /// Whether `ehos image build` has made the configured image for this pool in this project. It makes none of a server
    /// whose first boot did not go well. That Glance does not say it changes little: fewer nodes are created at first.
    fn image_is_tested(&self, traces: &LeftoverQuery, deadline: Deadline) -> bool {
        let session = &self.session;
        let id = &session.settings().image;
        // `ehos image build` configures ids.
        if !looks_like_id(id) || traces.joined_images.contains(id) {
            return false;
        }
        let deadline = deadline.at_most(IMAGE_TIMEOUT);
        let project = session
            .token(deadline)
            .map(|token| token.project_id.clone());
        let found = image::image(session, id, deadline);
        match (found, project) {
            (Ok(Some(image)), Ok(project)) => {
                let image = OwnedImage::recognise(image, &self.cluster, project.as_deref());
                image.is_some_and(|image| image.is_whole())
            }
            (Ok(None), _) => false,
            (Err(error), _) | (_, Err(error)) => {
                info!("{error}; the builder of this image is unknown");
                false
            }
        }
    }

    /// The same server, with the reason of its failure where the list left it out. It is for the log: that it
    /// cannot be had changes nothing.
    fn with_fault(
        &self,
        server: OwnedServer,
        looks: &mut usize,
        now: Timestamp,
        deadline: Deadline,
    ) -> OwnedServer {
        let record = server.record();
        if record.status != ServerStatus::Error || record.fault.is_some() || *looks == 0 {
            return server;
        }
        *looks -= 1;
        match compute::fault(&self.session, server.id(), deadline.at_most(FAULT_TIMEOUT)) {
            Ok(fault) => {
                let record = ServerRecord {
                    fault,
                    ..record.clone()
                };
                self.recognise(record, now).unwrap_or(server)
            }
            Err(error) => {
                info!("{error}; why server {} failed is not known", record.name);
                server
            }
        }
    }

    fn create(&self, intent: &Intent, deadline: Deadline) -> Result<Done, Failure> {
        let settings = self.session.settings();
        let mark = self.lookups.mark();
        let ids = self.create_ids(intent, deadline)?;
        let mut metadata = settings.metadata.clone();
        metadata.extend(execute_metadata(
            &self.cluster,
            &intent.node,
            &intent.flavor,
            &intent.image,
        ));
        if let Some(host) = &self.condor_host {
            metadata.insert(METADATA_CONDOR_HOST.to_owned(), host.clone());
        }
        let region = self.session.token(deadline)?.catalog.region(settings)?;
        let filled = (self.user_data)(intent, &region, deadline)?;
        metadata.extend(filled.metadata);
        self.keys
            .sign(&mut metadata, &intent.name, Timestamp::now());
        let send = |ids: &CreateIds| {
            let server = compute::NewServer {
                name: &intent.name,
                description: format!(
                    "execute node {} of the ehos pool {}",
                    intent.node, self.cluster
                ),
                flavor: &ids.flavor,
                image: &ids.image,
                networks: &ids.attachments.networks,
                key: settings.key.as_deref(),
                security_groups: &ids.attachments.security_groups,
                availability_zone: intent.zone.as_deref(),
                user_data: filled.text.clone(),
                metadata: metadata.clone(),
                scratch_size_gb: settings.scratch_size_gb,
                boot_volume: settings
                    .boot_volume_size_gb
                    .map(|size_gb| compute::BootVolume {
                        size_gb,
                        volume_type: settings.boot_volume_type.as_deref(),
                    }),
                server_group: ids.server_group.as_deref(),
                config_drive: settings.config_drive,
                tags: &settings.tags,
            };
            compute::create(&self.session, &server, deadline)
        };
        let server_id = match send(&ids) {
            // Nova has created nothing: what an earlier tick looked up may be gone.
            Err(error) if error.may_be_of_a_lookup() && self.forget_lookups(mark) => {
                info!("{error}; ehos looks up the names in the configuration again");
                send(&self.create_ids(intent, deadline)?)?
            }
            sent => sent?,
        };
        Ok(Done::Created { server_id })
    }

    /// Puts what is left of a failed server into the log. A console that cannot be had does not keep it alive.
    fn log_console(&self, server: &ServerRecord, deadline: Deadline) -> Option<ConsoleExcerpt> {
        let ServerRecord { id, name, .. } = server;
        let cloud = self.name();
        if let Some(fault) = &server.fault {
            warn!("cloud {cloud}: server {name} ({id}) failed: {fault}");
        }
        let deadline = deadline.at_most(CONSOLE_TIMEOUT);
        // The line that says what failed may stand far before the last one.
        match compute::console(&self.session, id, compute::ALL_LINES, deadline) {
            Ok(text) => {
                let lines = console::before_failure(&text, CONSOLE_LINES);
                match lines.is_empty() {
                    true => info!("cloud {cloud}: server {name} ({id}) has an empty console"),
                    false => warn!(
                        "cloud {cloud}: server {name} ({id}) before it is deleted, its console:\n{lines}"
                    ),
                }
                Some(console::excerpt(&text))
            }
            Err(error) => {
                info!("cloud {cloud}: no console of server {name} ({id}): {error}");
                None
            }
        }
    }
}

impl Cloud for OpenStackCloud<'_> {
    fn name(&self) -> &str {
        &self.session.settings().name
    }

    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        Ok(self.view(traces, deadline)?)
    }

    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        Ok(compute::look(&self.session, server_id, deadline)?)
    }

    fn keep_console(&self, server: &OwnedServer, deadline: Deadline) -> Option<ConsoleExcerpt> {
        self.log_console(server.record(), deadline)
    }

    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        match action {
            CloudAction::Create(intent) => self.create(intent, deadline),
            CloudAction::Delete { server, .. } => {
                Ok(compute::delete(&self.session, server.id(), deadline)?)
            }
            CloudAction::Remove { leftover, .. } => {
                leftovers::remove(&self.session, leftover, &self.cluster, deadline)
            }
            CloudAction::Disassociate { floating_ip, .. } => {
                floating_ips::disassociate(&self.session, floating_ip, deadline)
            }
        }
    }
}

impl fmt::Debug for OpenStackCloud<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStackCloud")
            .field("name", &self.name())
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// What the configuration names as the surroundings of servers, looked up; an error too when there is no such keypair.
pub fn surroundings(
    session: &auth::Session,
    deadline: Deadline,
) -> Result<ServerAttachments, Error> {
    let settings = session.settings();
    if let Some(key) = &settings.key {
        // Nova's own refusal does not name it.
        let keys = compute::keypairs(session, deadline)?;
        if !keys.iter().any(|known| known.name == *key) {
            let keys: Vec<&str> = keys.iter().map(|known| known.name.as_str()).collect();
            let hint = format!(" of this user{}", among(&keys));
            return Err(not_found(session, "keypair", key, hint));
        }
    }
    Ok(ServerAttachments {
        networks: settings
            .networks
            .iter()
            .map(|name| network::network_id(session, name, deadline))
            .collect::<Result<_, _>>()?,
        security_groups: settings
            .security_groups
            .iter()
            .map(|name| network::security_group_id(session, name, deadline))
            .collect::<Result<_, _>>()?,
    })
}

/// The flavor of this id or name among those that are `there`. An id goes before a name, as in OpenStack's own client.
pub fn find_flavor<'f>(
    session: &auth::Session,
    wanted: &str,
    all: &'f Items<compute::NamedFlavor>,
) -> Result<&'f compute::NamedFlavor, Error> {
    let there = &all.read;
    called(there, wanted, |it| [&it.flavor.id, &it.name])
        .first()
        .copied()
        .ok_or_else(|| {
            if let Some(item) = all.unread.iter().find(|item| item.is(wanted)) {
                return Error::Unreadable {
                    cloud: session.settings().name.clone(),
                    unread: item.told.clone(),
                };
            }
            let names: Vec<&str> = there.iter().map(|flavor| flavor.name.as_str()).collect();
            not_found(session, "flavor", wanted, among(&names))
        })
}

/// What a node of this flavor will have: its root disk is the volume that it boots from, where there is one, and its GPUs
/// are those that the configuration says, where it does.
fn as_configured(settings: &CloudSettings, wanted: &str, flavor: &compute::NamedFlavor) -> Flavor {
    let ephemeral_gb = flavor.flavor.disk_gb.saturating_sub(flavor.root_disk_gb);
    Flavor {
        disk_gb: settings
            .boot_volume_size_gb
            .map_or(flavor.flavor.disk_gb, |size_gb| size_gb + ephemeral_gb),
        gpus: settings
            .gpus
            .get(wanted)
            .copied()
            .unwrap_or(flavor.flavor.gpus),
        ..flavor.flavor.clone()
    }
}

/// The file in `folder` in which the token for `cloud` is kept.
pub fn token_cache(folder: &Path, cloud: &str) -> PathBuf {
    file_of("token", folder, cloud)
}

/// The file in `folder` in which look-ups in `cloud` are kept.
pub fn lookups_file(folder: &Path, cloud: &str) -> PathBuf {
    file_of("lookups", folder, cloud)
}

fn file_of(what: &str, folder: &Path, cloud: &str) -> PathBuf {
    // A name may hold anything: only what is harmless in a file name is taken from it.
    let harmless = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c,
        '-' => c,
        _ => '_',
    };
    let name: String = cloud.chars().map(harmless).collect();
    folder.join(format!("{what}-{name}.json"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is written like an id of OpenStack: a UUID, with or without hyphens.
pub fn looks_like_id(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    let hyphens = text.chars().filter(|c| *c == '-').count();
    digits == 32 && digits + hyphens == text.chars().count() && matches!(hyphens, 0 | 4)
}

/// Those with this id; without any, those with this name: an id goes before a name, as in OpenStack's own client.
pub fn called<'t, T>(
    there: &'t [T],
    wanted: &str,
    id_and_name: for<'a> fn(&'a T) -> [&'a str; 2],
) -> Vec<&'t T> {
    let by = |field: fn([&'t str; 2]) -> &'t str| {
        let all = there.iter();
        all.filter(|thing| field(id_and_name(thing)) == wanted)
            .collect::<Vec<_>>()
    };
    let by_id = by(|[id, _]| id);
    if by_id.is_empty() {
        by(|[_, name]| name)
    } else {
        by_id
    }
}

/// What there is instead, for an error: not more than fits a line or two.
pub fn among(names: &[&str]) -> String {
    const MOST: usize = 20;
    let some = names.get(..MOST).unwrap_or(names).join(", ");
    match names.len() {
        0 => " (there is none)".to_owned(),
        count if count > MOST => format!(" (there are: {some} and {} more)", count - MOST),
        _ => format!(" (there are: {some})"),
    }
}

fn not_found(session: &auth::Session, what: &'static str, name: &str, hint: String) -> Error {
    Error::NotFound {
        cloud: session.settings().name.clone(),
        what,
        name: name.to_owned(),
        hint,
    }
}

fn ambiguous<'i>(
    session: &auth::Session,
    what: &'static str,
    name: &str,
    ids: impl IntoIterator<Item = &'i str>,
) -> Error {
    Error::Ambiguous {
        cloud: session.settings().name.clone(),
        what,
        name: name.to_owned(),
        ids: ids.into_iter().collect::<Vec<_>>().join(", "),
    }
}
