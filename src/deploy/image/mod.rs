//! Golden images: servers that were booted once with base.yaml, and that nodes are copies of.
//!
//! [`step`] decides, [`build`] is the loop around it, [`cloud`] does what it says in an OpenStack cloud.
//!
//! The metadata of the builder (`ehos_digest`, over source image, flavor and user data) says what
//! it is made of, so a run continues after an interrupt. The final message is searched in the whole
//! console: buffered output of children follows it. Nodes boot from an image id, for a name need
//! not be unique.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::cli::ImageRecipe;
use crate::cloudinit::Template;
use crate::config::{self, Config};
use crate::deadline::Deadline;
use crate::environment::Environment;
use crate::lock::{self, try_lock};
use crate::openstack::CloudSettings;
use crate::openstack::auth::Session;
use crate::openstack::token_cache;
use crate::progress::{Line, Progress};
use crate::scaling::signing::SigningKeys;
use crate::signing_key;
use crate::state;

pub mod build;
pub mod cloud;
pub mod configured;
mod error;
pub mod inventory;
pub mod prune;
pub mod recipe;
pub mod step;

pub use build::Built;
pub use error::{Cause, Error, Left};

use build::{Limits, Site};
use cloud::{CloudSite, Finished};
use recipe::{Recipe, Wish};
use step::{Attempt, Goal, Leftover};

/// The template of an image, where none is named.
const BASE: &str = "base.yaml";
/// What is wanted, the same in every cloud.
pub struct Order<'a> {
    /// What it is made of.
    pub recipe: &'a ImageRecipe,
    /// The server stays.
    pub keep_server: bool,
    /// Where base.yaml is looked for.
    pub environment: &'a Environment,
    /// Where the lock and the tokens are.
    pub state_directory: &'a Path,
    /// The configuration files as they were given: what was written is read again with them.
    pub files: &'a [PathBuf],
}

/// What came of it in each cloud, and of writing it down.
#[derive(Debug)]
pub struct Builds {
    /// By cloud.
    pub clouds: Vec<(String, Result<Built, Error>)>,
    /// Where it is written down.
    pub recorded: Recorded,
}

/// Where the images are written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The file that names them, where it was written.
    pub file: Option<PathBuf>,
    /// What could not be written down.
    pub by_hand: Vec<ByHand>,
}

/// What is to be put into the configuration by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ByHand {
    /// Why it was not written.
    pub why: String,
    /// The lines.
    pub lines: String,
}

/// What would be done in a cloud.
#[derive(Debug)]
pub struct Preview {
    /// The image that it begins with: name and id.
    pub source: String,
    /// The builder's flavor.
    pub flavor: String,
    /// What the image would be called.
    pub image_name: String,
    /// What earlier builds have left, and would be deleted.
    pub leftovers: Vec<Leftover>,
    /// The builder that it would go on with: its name.
    pub goes_on_with: Option<String>,
    /// Remarks.
    pub notes: Vec<String>,
}

/// What is known before any cloud is asked.
struct Prepared<'c> {
    template: Template,
    clouds: Vec<(&'c CloudSettings, &'c str)>,
    poll: Duration,
}

impl<'c> Prepared<'c> {
    fn new(clouds: &[&'c CloudSettings], order: &'c Order) -> anyhow::Result<Prepared<'c>> {
        let recipe = order.recipe;
        let base = match &recipe.base {
            Some(file) => order.environment.working_directory.join(file),
            None => config::template(BASE, order.environment).with_context(|| {
                let folders = config::folders(order.environment);
                let folders: Vec<String> = folders
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect();
                format!(
                    "there is no {BASE} in {}; name the cloud-init file of the image with --base",
                    folders.join(", ")
                )
            })?,
        };
        let mut chosen = Vec::new();
        for cloud in clouds {
            let Some(from) = recipe.from.as_ref().or(cloud.base_image.as_ref()) else {
                bail!(
                    "cloud {}: no image to begin with; name one with --from, or as `base_image` of the cloud or under \
                     `ehos:` in the configuration",
                    cloud.name
                );
            };
            chosen.push((*cloud, from.as_str()));
        }
        Ok(Prepared {
            template: Template::load(&base)?,
            clouds: chosen,
            poll: config::poll(order.environment)?,
        })
    }

    fn wish<'w>(
        &'w self,
        config: &'w Config,
        order: &'w Order,
        from: &'w str,
        keys: &'w SigningKeys,
    ) -> Wish<'w> {
        Wish {
            cluster: &config.policy.cluster,
            prefix: &config.policy.prefix,
            template: &self.template,
            from,
            flavor: order.recipe.flavor.as_deref(),
            name: order.recipe.name.as_deref(),
            timeout: order.recipe.timeout,
            keys,
        }
    }
}

/// Makes an image in each of these clouds, in all of them at once, and writes down which they are as soon as each is
/// whole.
///
/// # Errors
/// When nothing was begun: no template, no image to begin with, another build on this state directory. What happens in a
/// cloud is no error: it stands in the result.
pub fn build_everywhere(
    config: &Config,
    clouds: &[&CloudSettings],
    order: &Order,
    progress: &Progress,
) -> anyhow::Result<Builds> {
    let prepared = Prepared::new(clouds, order)?;
    let directory = order.state_directory;
    state::prepare(directory).map_err(|error| match error {
        // Only root can write ehos.d beside /etc/ehos/ehos.yaml.
        error @ state::Error::Foreign { .. } => anyhow::Error::from(error).context(
            "no image is built; as root give a state directory of root's own (--state-dir /root/ehos), so that \
             50-image.yaml can be written, or",
        ),
        error => error.into(),
    })?;
    let locked = try_lock(directory, lock::IMAGE)
        .map_err(|error| state::unlockable(directory, lock::IMAGE, error))?;
    let Some(_lock) = locked else {
        bail!(
            "another `ehos image build` is at work: it has the lock of {}; wait for it, or name another --state-dir",
            directory.display()
        );
    };
    let keys = signing_key::load_or_make(directory, config.folder(), order.environment);
    let recorded = Mutex::new(Recorded::default());
    let publish = |finished: &Finished| {
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        record(config, order, finished, &mut recorded);
    };
    let built = thread::scope(|scope| {
        let running: Vec<_> = prepared
            .clouds
            .iter()
            .map(|(settings, from)| {
                let line = progress.line(&settings.name);
                let wish = prepared.wish(config, order, from, &keys);
                let (poll, publish) = (prepared.poll, &publish);
                let work = move || {
                    let built = one(config, settings, order, &wish, poll, publish, &line);
                    match &built {
                        Ok(built) => line.done(&format!("image {}", built.image_name)),
                        Err(_) => line.done("no image"),
                    }
                    built
                };
                (settings.name.clone(), scope.spawn(work))
            })
            .collect();
        let joined = |(name, thread): (String, thread::ScopedJoinHandle<'_, _>)| match thread.join()
        {
            Ok(built) => (name, built),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        running.into_iter().map(joined).collect()
    });
    Ok(Builds {
        clouds: built,
        recorded: recorded
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    })
}

fn one(
    config: &Config,
    settings: &CloudSettings,
    order: &Order,
    wish: &Wish,
    poll: Duration,
    publish: &cloud::Publish,
    line: &Line,
) -> Result<Built, Error> {
    let failed = |cause: Cause| Error {
        cloud: settings.name.clone(),
        cause: Box::new(cause),
        console: None,
        left: None,
    };
    line.doing("looking up image, flavor and network");
    let tokens = token_cache(order.state_directory, &settings.name);
    let session = Session::new(settings, config.timeouts.request, Some(tokens))
        .map_err(|error| failed(error.into()))?;
    let deadline = Deadline::within(order.recipe.timeout);
    let recipe = Recipe::look_up(&session, wish, deadline).map_err(failed)?;
    let goal = Goal {
        keep_server: order.keep_server,
    };
    let limits = Limits {
        timeout: deadline.left(),
        keep: order.recipe.keep,
        appearance: build::APPEARANCE,
    };
    let mut site = CloudSite::new(&session, wish, &recipe, publish, poll);
    let outcome = build::run(&mut site, &settings.name, goal, limits, line)?;
    let mut notes = recipe.notes.clone();
    notes.extend(site.notes());
    Ok(Built {
        image_id: outcome.image_id,
        image_name: site.image_name().to_owned(),
        source: recipe.source_told(),
        took: outcome.took,
        notes,
        server_left: outcome.server_left,
    })
}

/// What [`build_everywhere`] would do in each cloud. Nothing is written, not even tokens.
///
/// # Errors
/// As [`build_everywhere`].
pub fn preview(
    config: &Config,
    clouds: &[&CloudSettings],
    order: &Order,
) -> anyhow::Result<Vec<(String, Result<Preview, Error>)>> {
    let prepared = Prepared::new(clouds, order)?;
    let keys = signing_key::load(order.state_directory, config.folder(), order.environment);
    Ok(thread::scope(|scope| {
        let running: Vec<_> = prepared
            .clouds
            .iter()
            .map(|(settings, from)| {
                let wish = prepared.wish(config, order, from, &keys);
                let poll = prepared.poll;
                let work = move || {
                    preview_one(config, settings, order, &wish, poll).map_err(|cause| Error {
                        cloud: settings.name.clone(),
                        cause: Box::new(cause),
                        console: None,
                        left: None,
                    })
                };
                (settings.name.clone(), scope.spawn(work))
            })
            .collect();
        let joined = |(name, thread): (String, thread::ScopedJoinHandle<'_, _>)| match thread.join()
        {
            Ok(preview) => (name, preview),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        running.into_iter().map(joined).collect()
    }))
}

fn preview_one(
    config: &Config,
    settings: &CloudSettings,
    order: &Order,
    wish: &Wish,
    poll: Duration,
) -> Result<Preview, Cause> {
    let session = Session::new(settings, config.timeouts.request, None)?;
    let deadline = Deadline::within(order.recipe.timeout);
    let recipe = Recipe::look_up(&session, wish, deadline)?;
    let publish = |_: &Finished| {};
    let mut site = CloudSite::new(&session, wish, &recipe, &publish, poll);
    let mut attempt = Attempt::default();
    let seen = site.look(&mut attempt, deadline)?;
    Ok(Preview {
        source: recipe.source_told(),
        flavor: recipe.flavor.name.clone(),
        image_name: site.image_name().to_owned(),
        leftovers: seen.leftovers,
        goes_on_with: seen
            .builder
            .filter(|builder| !builder.deleting)
            .map(|builder| builder.name),
        notes: recipe.notes,
    })
}

/// Writes down the image of a cloud, and makes sure that the configuration then names it.
fn record(config: &Config, order: &Order, finished: &Finished, recorded: &mut Recorded) {
    let entry = configured::Entry {
        cloud: finished.cloud.clone(),
        image: finished.image_id.clone(),
        remark: format!("{}, {}", finished.image_name, finished.built),
    };
    let by_hand = |why: String| ByHand {
        why,
        lines: format!(
            "clouds:\n  {}:\n    image: {}",
            finished.cloud, finished.image_id
        ),
    };
    let Some(main) = config.files.first() else {
        recorded.by_hand.push(by_hand(
            "there is no configuration file to write it beside".to_owned(),
        ));
        return;
    };
    let before = match configured::record(main, &entry) {
        Ok(before) => before,
        Err(error) => {
            recorded.by_hand.push(by_hand(error.to_string()));
            return;
        }
    };
    let path = configured::path(main);
    let why = match config::load(order.files, order.environment) {
        Ok(config) => {
            let found = config
                .clouds
                .iter()
                .find(|cloud| cloud.name == finished.cloud);
            match found {
                Some(cloud) if cloud.image == finished.image_id => {
                    recorded.file = Some(path);
                    return;
                }
                _ => "another file of the configuration, which comes later, names another image"
                    .to_owned(),
            }
        }
        // A cloud of the environment (`OS_CLOUD`, an openrc file) has no entry that could be added to.
        Err(error) => format!("with it the configuration would not do: {error}"),
    };
    let why = match configured::put_back(main, before.as_deref()) {
        Ok(()) => format!("{} is as it was: {why}", path.display()),
        Err(error) => format!(
            "{}: {why}; and it cannot be put back: {error}",
            path.display()
        ),
    };
    recorded.by_hand.push(by_hand(why));
}
