//! What an image is made of in one cloud: names of the configuration looked up, user data rendered.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::error::Cause;
use super::step::DIGEST;
use crate::cloudinit::Template;
use crate::deadline::Deadline;
use crate::openstack::CloudSettings;
use crate::openstack::auth::Session;
use crate::openstack::compute::{NamedFlavor, NewServer};
use crate::openstack::image::Image;
use crate::openstack::items::Items;
use crate::openstack::owned_image::{CLOUD, IMAGE_NAME};
use crate::openstack::{Surroundings, compute, find_flavor, image, surroundings};
use crate::scaling::observation::{Flavor, NodeId, builder_metadata};
use crate::scaling::signing::SigningKeys;

/// How much longer than its build a builder may exist: for the clean-up, and for clocks.
const SPARE_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What is wanted in one cloud.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The pool's id.
    pub cluster: &'a str,
    /// What names begin with.
    pub prefix: &'a str,
    /// base.yaml.
    pub template: &'a Template,
    /// The image to begin with, name or id.
    pub from: &'a str,
    /// The builder's flavor, name or id; else the first of the cloud that is large enough.
    pub flavor: Option<&'a str>,
    /// What the image is to be called.
    pub name: Option<&'a str>,
    /// How long the build may take.
    pub timeout: Duration,
    /// Sign the builder, and tell one of ours from a forgery.
    pub keys: &'a SigningKeys,
}

/// What an image is made of.
pub struct Recipe {
    /// The image to begin with.
    pub source: Image,
    /// The builder's flavor.
    pub flavor: NamedFlavor,
    /// The other flavors of nodes.
    pub node_flavors: Vec<NamedFlavor>,
    /// What the image is called, where a builder that is there already does not know.
    pub image_name: String,
    /// The name was asked for.
    pub named: bool,
    /// What all of it comes to.
    pub digest: String,
    /// By what the end of the first boot is known on the console.
    pub final_message: Option<String>,
    /// Remarks.
    pub notes: Vec<String>,
    surroundings: Surroundings,
    user_data: SecretString,
}

impl Recipe {
    /// Looks up what `wish` names in the cloud of `session`.
    ///
    /// # Errors
    /// When something is not there, the flavor is too small, or the template cannot be filled in.
    pub fn look_up(session: &Session, wish: &Wish, deadline: Deadline) -> Result<Recipe, Cause> {
        let settings = session.settings();
        let source = image::find(session, wish.from, deadline)?;
        let there = compute::flavors(session, deadline)?;
        let mut notes = Vec::new();
        let flavor = flavor(session, wish, &source, &there, &mut notes)?;
        let surroundings = surroundings(session, deadline)?;
        let region = session.token(deadline)?.catalog.region(settings)?;
        let values = [
            ("cloud", settings.name.as_str()),
            ("region", region.as_str()),
            ("flavor", flavor.name.as_str()),
            ("image", wish.from),
        ];
        let values: BTreeMap<&str, SecretString> = values
            .into_iter()
            .map(|(tag, value)| (tag, SecretString::from(value)))
            .collect();
        let user_data = wish.template.render(&values)?;
        let digest = digest(settings, &source, &flavor, &surroundings, &user_data);
        let node_flavors = settings
            .flavors
            .iter()
            .filter_map(|wanted| find_flavor(session, wanted, &there).ok().cloned());
        Ok(Recipe {
            image_name: wish.name.map_or_else(
                || {
                    format!(
                        "{}-{}",
                        wish.prefix,
                        Timestamp::now().strftime("%Y%m%d-%H%M%S")
                    )
                },
                str::to_owned,
            ),
            named: wish.name.is_some(),
            final_message: wish.template.final_message(),
            node_flavors: node_flavors.collect(),
            source,
            flavor,
            digest,
            notes,
            surroundings,
            user_data,
        })
    }

    /// Name and id of the image to begin with, short enough for a property.
    pub fn source_told(&self) -> String {
        let name = self.source.name.as_deref().unwrap_or_default();
        let name: String = name.chars().take(200).collect();
        format!("{name} ({})", self.source.id)
    }

    /// The server that becomes the image.
    pub fn builder<'a>(
        &'a self,
        name: &'a str,
        node: &NodeId,
        wish: &Wish,
        settings: &'a CloudSettings,
    ) -> NewServer<'a> {
        let mut metadata = settings.metadata.clone();
        metadata.extend(builder_metadata(
            wish.cluster,
            node,
            wish.timeout + SPARE_LIFETIME,
        ));
        for (key, value) in [
            (CLOUD, &settings.name),
            (DIGEST, &self.digest),
            (IMAGE_NAME, &self.image_name),
        ] {
            metadata.insert(key.to_owned(), value.clone());
        }
        wish.keys.sign(&mut metadata, name, Timestamp::now());
        NewServer {
            name,
            description: format!(
                "becomes image {} of the ehos pool {}",
                self.image_name, wish.cluster
            ),
            flavor: &self.flavor.flavor.id,
            image: &self.source.id,
            networks: &self.surroundings.networks,
            key: settings.key.as_deref(),
            security_groups: &self.surroundings.security_groups,
            availability_zone: settings.first_zone(),
            user_data: self.user_data.clone(),
            metadata,
            scratch_size_gb: None,
            boot_volume: None,
            server_group: None,
            config_drive: settings.config_drive,
            tags: &[],
        }
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
                self.flavor.name,
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
    wish: &Wish,
    source: &Image,
    there: &Items<NamedFlavor>,
    notes: &mut Vec<String>,
) -> Result<NamedFlavor, Cause> {
    let settings = session.settings();
    let wanted: Vec<&str> = match wish.flavor {
        Some(flavor) => vec![flavor],
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
                wish.from,
                source.min_disk,
                source.min_ram,
                small.join(", ")
            ));
        }
        return Ok(flavor.clone());
    }
    Err(Cause::TooSmall {
        image: wish.from.to_owned(),
        min_disk_gb: source.min_disk,
        min_ram_mb: source.min_ram,
        flavors: small.join(", "),
    })
}

/// All that makes one image differ from another: what a builder becomes that somebody else began.
fn digest(
    settings: &CloudSettings,
    source: &Image,
    flavor: &NamedFlavor,
    surroundings: &Surroundings,
    user_data: &SecretString,
) -> String {
    let mut hash = Sha256::new();
    let parts = [&settings.name, &source.id, &flavor.flavor.id].into_iter();
    let parts = parts
        .chain(&surroundings.networks)
        .chain(&surroundings.security_groups)
        .chain(&settings.key)
        .map(String::as_str)
        .chain(settings.first_zone())
        .chain([user_data.expose_secret()]);
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize())
}

/// A node id that no other builder has: of this process and this moment.
pub fn new_node(cloud: &str) -> NodeId {
    let moment = Timestamp::now().as_nanosecond();
    let hash = Sha256::digest(format!("{cloud} {} {moment}", std::process::id()));
    let text = hexadecimal(&hash);
    NodeId(format!("b-{}", text.get(..12).unwrap_or(&text)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
