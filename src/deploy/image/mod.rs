//! Golden images: servers that were booted once with base.yaml, and that nodes are copies of.
//!
//! [`step`] decides, [`build`] is the ending of the boot loop, [`cloud`] does what it says in an OpenStack cloud.
//!
//! The metadata of the builder (`ehos_digest`, over source image, flavor and user data) says what
//! it is made of, so a run continues after an interrupt. The final message is searched in the whole
//! console: buffered output of children follows it. Nodes boot from an image id, for a name need
//! not be unique.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::boot::{Creates, Leftover};
use config::{self, Config};
use openstack::CloudSettings;
use openstack::auth::Session;
use openstack::token_cache;
use scaling::signing::SigningKeys;
use system::deadline::Deadline;
use system::environment::Environment;
use system::progress::{Line, Progress};
use userdata::cloudinit::Template;

mod build;
mod cloud;
mod configured;
mod error;
pub mod inventory;
pub mod prune;
mod recipe;
pub mod report;
mod step;

pub use error::Error;

use build::{BuildBackend, BuildLimits, Part};
use cloud::{CloudBackend, Finished, Publish};
use error::Cause;
use inventory::at_once;
use recipe::Recipe;
use step::Attempt;

/// The template of an image, where none is named.
const BASE: &str = "base.yaml";

/// What may be chosen apart from the configuration.
#[derive(Debug)]
pub struct RecipeOverrides {
    /// base.yaml; else the one in the folders of templates.
    pub base: Option<PathBuf>,
    /// The image to begin with, name or id; else `base_image` of the configuration.
    pub from: Option<String>,
    /// The builder's flavor, name or id; else the first of the cloud that is large enough.
    pub flavor: Option<String>,
    /// The image's name; else PREFIX-DATE-TIME.
    pub name: Option<String>,
    /// What failed is left as it is.
    pub keep_failed: bool,
    /// How long a build may take in all.
    pub timeout: Duration,
}

/// What is wanted, the same in every cloud.
pub struct BuildRequest<'a> {
    pub config: &'a Config,
    /// What the image is made of.
    pub recipe: RecipeOverrides,
    /// The server stays.
    pub keep_server: bool,
    /// Where base.yaml is looked for.
    pub environment: &'a Environment,
    /// Where the tokens are.
    pub state_directory: &'a Path,
    /// The configuration files as they were given: what was written is read again with them.
    pub files: &'a [PathBuf],
    /// Sign builders, and tell one of ours from a forgery.
    pub keys: &'a SigningKeys,
}

/// An image that was made.
#[derive(Debug)]
pub struct Built {
    pub image_id: String,
    pub image_name: String,
    /// The image that it began with: name and id.
    pub source: String,
    /// How long each part took in this run.
    took: Vec<(Part, Duration)>,
    /// What cloud-init warned of, flavors that are too small for it, and the like.
    notes: Vec<String>,
    /// The server, where it is still there: why.
    pub server_left: Option<String>,
}

/// What came of it in each cloud, and of writing it down.
#[derive(Debug)]
pub struct Builds {
    pub clouds: Vec<(String, Result<Built, Error>)>,
    /// Where it is written down.
    pub recorded: Recorded,
}

/// Where the images are written down.
#[derive(Debug, Default, Serialize)]
pub struct Recorded {
    /// The file that names them, where it was written.
    file: Option<PathBuf>,
    /// What could not be written down.
    pub by_hand: Vec<ByHand>,
}

/// What is to be put into the configuration by hand.
#[derive(Debug, Serialize)]
pub struct ByHand {
    /// Why it was not written.
    #[serde(rename = "cause")]
    pub why: String,
    pub lines: String,
}

/// What would be done in a cloud.
#[derive(Debug)]
pub struct BuildPreview {
    /// The image that it begins with: name and id.
    source: String,
    /// The builder's flavor.
    flavor: String,
    /// What the image would be called.
    image_name: String,
    /// What earlier builds have left, and would be deleted.
    leftovers: Vec<Leftover>,
    /// The builder that it would go on with: its name.
    goes_on_with: Option<String>,
    notes: Vec<String>,
}

/// What is known before any cloud is asked.
struct Prepared<'c> {
    request: &'c BuildRequest<'c>,
    template: Template,
    poll: Duration,
}

impl<'c> Prepared<'c> {
    fn new(
        request: &'c BuildRequest<'c>,
        clouds: &[&CloudSettings],
    ) -> anyhow::Result<Prepared<'c>> {
        let environment = request.environment;
        let base = match &request.recipe.base {
            Some(file) => environment.working_directory.join(file),
            None => config::template(BASE, environment).with_context(|| {
                let folders = config::folders(environment);
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
        let prepared = Prepared {
            request,
            template: Template::load(&base)?,
            poll: config::poll(environment)?,
        };
        match clouds.iter().find(|cloud| prepared.from(cloud).is_none()) {
            Some(cloud) => bail!(
                "cloud {}: no image to begin with; name one with --from, or as `base_image` of the cloud or under \
                 `ehos:` in the configuration",
                cloud.name
            ),
            None => Ok(prepared),
        }
    }

    /// The image to begin with.
    fn from<'s>(&'s self, cloud: &'s CloudSettings) -> Option<&'s str> {
        let from = self.request.recipe.from.as_ref();
        from.or(cloud.base_image.as_ref()).map(String::as_str)
    }

    fn recipe(&self, session: &Session, deadline: Deadline) -> Result<Recipe, Cause> {
        let from = self.from(session.settings()).unwrap_or_default();
        Recipe::look_up(session, self.request, &self.template, from, deadline)
    }

    fn build(&self, cloud: &CloudSettings, publish: &Publish, line: &Line) -> Result<Built, Error> {
        let recipe = &self.request.recipe;
        let failed = |cause| Error::before_it_began(&cloud.name, cause);
        line.doing("looking up image, flavor and network");
        let tokens = token_cache(self.request.state_directory, &cloud.name);
        let timeout = self.request.config.timeouts.request;
        let session =
            Session::new(cloud, timeout, Some(tokens)).map_err(|error| failed(error.into()))?;
        let deadline = Deadline::within(recipe.timeout);
        let made_of = self.recipe(&session, deadline).map_err(failed)?;
        let limits = BuildLimits {
            timeout: deadline.left(),
            keep_failed: recipe.keep_failed,
            keep_server: self.request.keep_server,
            appearance: build::APPEARANCE,
        };
        let mut backend = CloudBackend::new(&session, self.request, &made_of, publish, self.poll);
        let outcome = build::run(&mut backend, &cloud.name, limits, line)?;
        let mut notes = made_of.notes.clone();
        notes.extend(backend.notes);
        Ok(Built {
            image_id: outcome.image_id,
            image_name: backend.image_name,
            source: made_of.source_told(),
            took: outcome.took,
            notes,
            server_left: outcome.server_left,
        })
    }

    fn preview(&self, cloud: &CloudSettings) -> Result<BuildPreview, Cause> {
        let session = Session::new(cloud, self.request.config.timeouts.request, None)?;
        let deadline = Deadline::within(self.request.recipe.timeout);
        let recipe = self.recipe(&session, deadline)?;
        let publish = |_: &Finished| {};
        let mut backend = CloudBackend::new(&session, self.request, &recipe, &publish, self.poll);
        let mut attempt = Attempt::new(Creates::new(Duration::ZERO), false);
        let seen = backend.look(&mut attempt)?;
        let server = seen.boot.server.filter(|server| !server.deleting);
        Ok(BuildPreview {
            source: recipe.source_told(),
            flavor: recipe.spec.flavor.name.clone(),
            image_name: backend.image_name,
            leftovers: seen.leftovers,
            goes_on_with: server.map(|server| server.name),
            notes: recipe.notes,
        })
    }
}

/// Makes an image in each of these clouds, in all of them at once, and writes down which they are as soon as each is
/// whole. The caller has the lock of builds.
///
/// # Errors
/// When nothing was begun: no template, no image to begin with. What happens in a cloud is no error: it stands in the
/// result.
pub fn build_everywhere(
    request: &BuildRequest,
    clouds: &[&CloudSettings],
    progress: &Progress,
) -> anyhow::Result<Builds> {
    let prepared = Prepared::new(request, clouds)?;
    let recorded = Mutex::new(Recorded::default());
    let publish = |finished: &Finished| {
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        match record(request, finished) {
            Ok(path) => recorded.file = Some(path),
            Err(by_hand) => recorded.by_hand.push(by_hand),
        }
    };
    let built = at_once(clouds, |cloud| {
        let line = progress.line(&cloud.name);
        let built = prepared.build(cloud, &publish, &line);
        match &built {
            Ok(built) => line.done(&format!("image {}", built.image_name)),
            Err(_) => line.done("no image"),
        }
        built
    });
    Ok(Builds {
        clouds: built,
        recorded: recorded
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    })
}

/// What [`build_everywhere`] would do in each cloud. Nothing is written, not even tokens.
///
/// # Errors
/// As [`build_everywhere`].
pub fn preview(
    request: &BuildRequest,
    clouds: &[&CloudSettings],
) -> anyhow::Result<Vec<(String, Result<BuildPreview, Error>)>> {
    let prepared = Prepared::new(request, clouds)?;
    Ok(at_once(clouds, |cloud| {
        let preview = prepared.preview(cloud);
        preview.map_err(|cause| Error::before_it_began(&cloud.name, cause))
    }))
}

/// Writes down the image of a cloud, and makes sure that the configuration then names it. Returns the file; else what is
/// to be done by hand.
fn record(request: &BuildRequest, finished: &Finished) -> Result<PathBuf, ByHand> {
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
    let Some(main) = request.config.files.first() else {
        let why = "there is no configuration file to write it beside";
        return Err(by_hand(why.to_owned()));
    };
    let before = configured::record(main, &entry).map_err(|error| by_hand(error.to_string()))?;
    let path = configured::path(main);
    let why = match config::load(request.files, request.environment) {
        Ok(config) => {
            let mut clouds = config.clouds.iter();
            let found = clouds.find(|cloud| cloud.name == finished.cloud);
            if found.is_some_and(|cloud| cloud.image == finished.image_id) {
                return Ok(path);
            }
            "another file of the configuration, which comes later, names another image".to_owned()
        }
        // A cloud of the environment (`OS_CLOUD`, an openrc file) has no entry that could be added to.
        Err(error) => format!("with it the configuration would not do: {error}"),
    };
    Err(by_hand(
        match configured::put_back(main, before.as_deref()) {
            Ok(()) => format!("{} is as it was: {why}", path.display()),
            Err(error) => format!(
                "{}: {why}; and it cannot be put back: {error}",
                path.display()
            ),
        },
    ))
}
