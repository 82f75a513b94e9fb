//! Lists every cloud of the pool anew, and deletes what ticks leave.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use anyhow::bail;

use crate::cli::Common;
use crate::commands::tick::backends;
use condor::MatchFile;
use config::Config;
use deploy::retire::report::UnknownCloud;
use deploy::retire::{self, Found, Item, ItemKind, ItemResult};
use openstack::auth::Session;
use scaling::observation::CloudView;
use scaling::sorting;
use scaling::state::State;
use system::deadline::Deadline;
use system::environment::Environment;
use system::threads::{joined, spawn};
use tick::cloud::Cloud;
use tick::signing_key;
use userdata::node::NodeUserData;

/// One cloud, listed anew.
struct CloudLook<'c> {
    name: String,
    servers: Vec<Item>,
    ready_master: Option<String>,
    /// Its objects; a simulated cloud has none.
    objects: Option<(Session<'c>, Found)>,
}

/// All clouds.
pub(super) struct Looked<'c> {
    clouds: Vec<CloudLook<'c>>,
    unknown: Vec<UnknownCloud>,
}

/// The configuration of a pool with an id.
pub(super) fn configuration(common: &Common, environment: &Environment) -> anyhow::Result<Config> {
    let mut config = config::load(&common.config, environment)?;
    if let Some(scenario) = &config.simulation {
        config.policy.clouds = scenario.cloud_policies();
    }
    if config.policy.cluster.is_empty() {
        bail!("the pool has no id (ehos.cluster), so ehos has created nothing for it");
    }
    Ok(config)
}

/// Lists every cloud.
///
/// # Errors
/// The `cacert` of a cloud, or a simulated site that cannot be read. A cloud that does not answer is part of the result.
pub(super) fn look<'c>(
    config: &'c Config,
    directory: &Path,
    state: &State,
    environment: &Environment,
) -> anyhow::Result<Looked<'c>> {
    let world = match &config.simulation {
        Some(scenario) => Some(Mutex::new(simulation::file::load(directory, scenario)?)),
        None => None,
    };
    let keys = signing_key::load(directory, config.folder(), environment);
    let user_data = NodeUserData::new(&config.condor, &config.policy, config.timeouts.command);
    let backends = match &world {
        Some(world) => simulation::backends(world, &config.policy),
        None => backends::real(
            config,
            &user_data,
            None,
            MatchFile::new(directory, false),
            &keys,
        )?,
    };
    let deadline = Deadline::within(config.timeouts.tick);
    let looks: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = backends
            .clouds
            .iter()
            .map(|cloud| spawn(scope, || one(config, &**cloud, state, deadline)))
            .collect();
        running.into_iter().map(joined).collect()
    });
    let mut looked = Looked {
        clouds: Vec::new(),
        unknown: Vec::new(),
    };
    for look in looks {
        match look {
            Ok(cloud) => looked.clouds.push(cloud),
            Err(unknown) => looked.unknown.push(unknown),
        }
    }
    let removed = state.removed(|name| backends.clouds.iter().any(|it| it.name() == name));
    looked.unknown.extend(removed.into_iter().map(|cloud| UnknownCloud {
        error: "not in the configuration, and it last contained servers of the pool; restore it, or run `ehos resume` \
                with its name to forget them"
            .to_owned(),
        cloud,
    }));
    Ok(looked)
}

fn one<'c>(
    config: &'c Config,
    cloud: &dyn Cloud,
    state: &State,
    deadline: Deadline,
) -> Result<CloudLook<'c>, UnknownCloud> {
    let name = cloud.name();
    let unknown = |error: String| UnknownCloud {
        cloud: name.to_owned(),
        error,
    };
    let view = cloud
        .observe(&state.traces(name), deadline)
        .map_err(|failure| unknown(failure.message))?;
    whole(&view).map_err(unknown)?;
    let master = retire::ready_master(&view);
    let servers = retire::servers(state, name, &view);
    let has_master = servers.iter().any(is_master);
    let mut objects = None;
    let settings = config.clouds.iter().find(|settings| settings.name == *name);
    if let (Some(settings), None) = (settings, &config.simulation) {
        let session = Session::new(settings, config.timeouts.request, None);
        let session = session.map_err(|error| unknown(error.to_string()))?;
        let cluster = &config.policy.cluster;
        let found = retire::look(&session, cluster, has_master, deadline)
            .map_err(|error| unknown(error.to_string()))?;
        objects = Some((session, found));
    }
    Ok(CloudLook {
        name: name.to_owned(),
        servers,
        ready_master: master.map(|server| server.record().name.clone()),
        objects,
    })
}

/// A server that cannot be read may be a node.
fn whole(view: &CloudView) -> Result<(), String> {
    let Some(server) = view.obscure.first() else {
        return Ok(());
    };
    let known = server.name.as_ref().or(server.id.as_ref());
    let name = known.map_or("of unknown name", String::as_str);
    Err(format!(
        "server {name} cannot be read and may be a node of this pool; correct or delete it by hand"
    ))
}

fn waits(item: Item) -> Item {
    let why = "until nodes, builders and leftovers are gone".to_owned();
    item.ended(ItemResult::Waiting, why)
}

fn is_master(item: &Item) -> bool {
    item.kind == ItemKind::CentralManager
}

impl Looked<'_> {
    pub(super) fn unknown(&self) -> Vec<UnknownCloud> {
        self.unknown.clone()
    }

    pub(super) fn has_master(&self) -> bool {
        self.servers().any(is_master)
    }

    /// The name of a central manager on which ehos ticks.
    pub(super) fn ready_master(&self) -> Option<&str> {
        self.clouds
            .iter()
            .find_map(|cloud| cloud.ready_master.as_deref())
    }

    fn servers(&self) -> impl Iterator<Item = &Item> {
        self.clouds.iter().flat_map(|cloud| &cloud.servers)
    }

    /// Whether a cloud that answers has a node, builder or leftover.
    pub(super) fn is_waiting(&self) -> bool {
        self.servers()
            .any(|item| item.result == ItemResult::Waiting)
    }

    /// Whether a run would delete something, or waits for it.
    pub(super) fn has_work(&self) -> bool {
        let items = self.planned();
        let is_work =
            |item: &Item| matches!(item.result, ItemResult::Planned | ItemResult::Waiting);
        items.iter().any(is_work)
    }

    /// All objects in the order of the deletes, without a change.
    pub(super) fn planned(&self) -> Vec<Item> {
        self.items(|_, object_item| object_item)
    }

    /// Deletes the objects once no cloud that answers has a node, builder or leftover.
    pub(super) fn remove(&self, config: &Config) -> Vec<Item> {
        if self.is_waiting() {
            return self.items(|_, item| waits(item));
        }
        self.items(|(session, object), _| {
            let deadline = Deadline::within(config.timeouts.tick);
            object.remove(session, &config.policy.cluster, deadline)
        })
    }

    fn items(
        &self,
        mut each: impl FnMut((&Session<'_>, &retire::Object), Item) -> Item,
    ) -> Vec<Item> {
        let mut items: Vec<Item> = self.servers().cloned().collect();
        for cloud in &self.clouds {
            let Some((session, found)) = &cloud.objects else {
                continue;
            };
            let objects = found.objects.iter();
            let objects = objects.map(|it| each((session, it), it.item(&cloud.name)));
            // Nodes that are to go use some of them now.
            let left = found.left.iter().cloned();
            let left = left.map(|item| match item.result {
                ItemResult::InUse if self.is_waiting() => waits(item),
                _ => item,
            });
            let mut both: Vec<Item> = objects.chain(left).collect();
            sorting::by_key(&mut both, |item| item.kind);
            items.extend(both);
        }
        items
    }
}
