//! What an image is made of in one cloud: names of the configuration looked up, user data rendered.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::BuildRequest;
use super::error::Cause;
use crate::boot::{ServerSpec, hexadecimal, look_up_values};
use openstack::auth::Session;
use openstack::compute::{self, NamedFlavor};
use openstack::image::{self, Image};
use openstack::items::Items;
use openstack::owned_image::{CLOUD, IMAGE_NAME};
use openstack::{Error, find_flavor};
use scaling::observation::{Flavor, NodeId, builder_metadata};
use system::deadline::Deadline;
use userdata::cloudinit::Template;

/// How much longer than its build a builder may exist: for the clean-up, and for clocks.
const SPARE_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What an image is made of.
pub struct Recipe {
    /// The server that becomes the image.
    pub spec: ServerSpec,
    /// What the image is called, where a builder that is there already does not know.
    pub image_name: String,
    /// The name was asked for.
    pub is_named: bool,
    pub notes: Vec<String>,
    /// The flavors of nodes.
    node_flavors: Vec<NamedFlavor>,
}

impl Recipe {
    /// Looks up what `request` names in the cloud of `session`, beginning with the image `from` (name or id).
    ///
    /// # Errors
    /// When something is not there, the flavor is too small, or the template cannot be filled in.
    pub fn look_up(
        session: &Session,
        request: &BuildRequest,
        template: &Template,
        from: &str,
        deadline: Deadline,
    ) -> Result<Recipe, Cause> {
        let source = image::find(session, from, deadline)?;
        let there = compute::flavors(session, deadline)?;
        let mut notes = Vec::new();
        let flavor = flavor(session, request, from, &source, &there, &mut notes)?;
        let values = look_up_values(session, &flavor.name, from, deadline)?;
        let user_data = template.render(&values)?;
        let node_flavors = session
            .settings()
            .flavors
            .iter()
            .filter_map(|wanted| find_flavor(session, wanted, &there).ok().cloned())
            .collect();
        let prefix = &request.config.policy.prefix;
        let dated = || format!("{prefix}-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S"));
        Ok(Recipe {
            spec: ServerSpec::look_up(session, source, flavor, template, user_data, deadline)?,
            image_name: request.recipe.name.clone().unwrap_or_else(dated),
            is_named: request.recipe.name.is_some(),
            notes,
            node_flavors,
        })
    }

    /// Name and id of the image to begin with, short enough for a property.
    pub fn source_told(&self) -> String {
        let source = &self.spec.image;
        let name = source.name.as_deref().unwrap_or_default();
        let name: String = name.chars().take(200).collect();
        format!("{name} ({})", source.id)
    }

    /// Sends one create of the server that becomes the image, and returns its id.
    ///
    /// # Errors
    /// What the cloud says.
    pub fn create(
        &self,
        session: &Session,
        node: &NodeId,
        request: &BuildRequest,
    ) -> Result<String, Error> {
        let policy = &request.config.policy;
        let lifetime = request.recipe.timeout + SPARE_LIFETIME;
        let mut metadata = builder_metadata(&policy.cluster, node, lifetime);
        metadata.insert(CLOUD.to_owned(), session.settings().name.clone());
        metadata.insert(IMAGE_NAME.to_owned(), self.image_name.clone());
        let name = format!("{}-builder-{node}", policy.prefix);
        let description = format!(
            "becomes image {} of the ehos pool {}",
            self.image_name, policy.cluster
        );
        self.spec
            .create(session, &name, description, metadata, request.keys)
    }

    /// Which flavors of nodes have less disk than an image with this `min_disk` asks for.
    pub fn too_small_for(&self, min_disk_gb: u64) -> Option<String> {
        let small: Vec<String> = self
            .node_flavors
            .iter()
            .filter(|flavor| too_small(&flavor.flavor, min_disk_gb, 0))
            .map(|flavor| format!("{} ({} GB)", flavor.name, flavor.flavor.disk_gb))
            .collect();
        (!small.is_empty()).then(|| {
            format!(
                "the image asks for {min_disk_gb} GB of disk, as the flavor {} has that it was made with: no node of \
                 flavor {} boots from it; build it with --flavor and the smallest one",
                self.spec.flavor.name,
                small.join(", ")
            )
        })
    }
}

/// A flavor whose disk is 0 takes the image's size.
fn too_small(flavor: &Flavor, min_disk_gb: u64, min_ram_mb: u64) -> bool {
    (flavor.disk_gb > 0 && flavor.disk_gb < min_disk_gb) || flavor.ram_mb < min_ram_mb
}

fn flavor(
    session: &Session,
    request: &BuildRequest,
    from: &str,
    source: &Image,
    there: &Items<NamedFlavor>,
    notes: &mut Vec<String>,
) -> Result<NamedFlavor, Cause> {
    let settings = session.settings();
    let wanted: Vec<&str> = match &request.recipe.flavor {
        Some(flavor) => vec![flavor.as_str()],
        None => settings.flavors.iter().map(String::as_str).collect(),
    };
    let mut small = Vec::new();
    for wanted in wanted {
        let flavor = find_flavor(session, wanted, there)?;
        if too_small(&flavor.flavor, source.min_disk, source.min_ram) {
            small.push(format!(
                "flavor {} has {} GB and {} MB",
                flavor.name, flavor.flavor.disk_gb, flavor.flavor.ram_mb
            ));
            continue;
        }
        if !small.is_empty() {
            notes.push(format!(
                "made with flavor {}: image {} asks for {} GB of disk and {} MB of memory, and {}",
                flavor.name,
                from,
                source.min_disk,
                source.min_ram,
                small.join(", ")
            ));
        }
        return Ok(flavor.clone());
    }
    Err(Cause::TooSmall {
        image: from.to_owned(),
        min_disk_gb: source.min_disk,
        min_ram_mb: source.min_ram,
        flavors: small.join(", "),
    })
}

/// A node id that no other builder has: of this process and this moment.
pub fn new_node(cloud: &str) -> NodeId {
    let moment = Timestamp::now().as_nanosecond();
    let hash = Sha256::digest(format!("{cloud} {} {moment}", std::process::id()));
    let text = hexadecimal(&hash);
    NodeId(format!("b-{}", text.get(..12).unwrap_or(&text)).into())
}
