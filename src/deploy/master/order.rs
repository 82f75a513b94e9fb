//! What a central manager is made of: names of the configuration looked up in the cloud, and the user data filled in.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};

use crate::built_in;
use crate::cloudinit::Template;
use crate::config::{Config, public};
use crate::deadline::Deadline;
use crate::openstack::CloudSettings;
use crate::openstack::auth::Session;
use crate::openstack::compute::{self, Keypair};
use crate::openstack::{Surroundings, find_flavor, image, network, surroundings};
use crate::scaling::leftover::master_floating_ip_mark;
use crate::scaling::observation::{METADATA_IMAGE, master_metadata};

/// Of what a server was made; one that is the same needs not to be made again.
pub const METADATA_DIGEST: &str = "ehos_digest";

/// What may be chosen apart from the configuration.
#[derive(Debug)]
pub struct Wishes<'a> {
    /// Flavor, name or id; else the cloud's first.
    pub flavor: Option<&'a str>,
    /// The server's name; else PREFIX-master.
    pub name: Option<&'a str>,
    /// The template of its user data.
    pub template: &'a Path,
    /// TRUST_DOMAIN and UID_DOMAIN; else the configured one, else one made of the pool's id.
    pub trust_domain: Option<&'a str>,
    /// An external network, name or id.
    pub floating_ip: Option<&'a str>,
}

/// A server that can be asked for. All references are ids.
#[derive(Debug)]
pub struct Order {
    /// The pool.
    pub cluster: String,
    /// The server's name.
    pub name: String,
    /// Flavor.
    pub flavor: String,
    /// Image, and what it is called.
    pub image: (String, String),
    /// Networks.
    pub networks: Vec<String>,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// The keypair that it is logged in to with.
    pub key: Keypair,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// It gets a config drive.
    pub config_drive: bool,
    /// User data. It holds no secret, but Nova repeats it in errors, where it is cut out.
    pub user_data: SecretString,
    /// What its last message on the console begins with; cloud-init's own when missing.
    pub final_message: Option<String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// `ehos_digest` of it.
    pub digest: String,
    /// The network that its floating IP comes from.
    pub external_network: Option<String>,
    /// TRUST_DOMAIN of the pool.
    pub trust_domain: String,
}

impl Order {
    /// Looks all up in the cloud of `session`, which is one of `config`. Changes nothing there.
    ///
    /// # Errors
    /// What is not there or does not fit, and what to do about it.
    pub fn new(
        config: &Config,
        session: &Session,
        wishes: &Wishes,
        deadline: Deadline,
    ) -> anyhow::Result<Order> {
        let settings = session.settings();
        let key = keypair(session, deadline)?;
        let trust_domain = trust_domain(config, wishes.trust_domain)?;
        let (flavor_name, flavor) = flavor(session, wishes.flavor, deadline)?;
        let image = image::find(session, &settings.image, deadline)?;
        let region = session.token(deadline)?.catalog.region(settings)?;

        let template = Template::load(wishes.template)?;
        let known = template.tags();
        for tag in ["ehos_yaml", "execute_yaml"] {
            if !known.contains(tag) {
                bail!(
                    "{} has no tag {{{tag}}}: the central manager would not get its configuration; take it over from \
                     ehos's own master.yaml",
                    wishes.template.display()
                );
            }
        }
        let mut values: BTreeMap<&str, SecretString> = BTreeMap::new();
        let mut put = |tag, value: &str| values.insert(tag, SecretString::from(value));
        put("trust_domain", &trust_domain);
        put("ehos_cluster", &config.policy.cluster);
        put("cloud", &settings.name);
        put("region", &region);
        put("flavor", &flavor_name);
        put("image", &settings.image);
        put("ehos_yaml", &BASE64.encode(public::public(config)));
        put("execute_yaml", &BASE64.encode(execute_template(config)?));
        let user_data = template.render(&values)?;

        let Surroundings {
            networks,
            security_groups,
        } = surroundings(session, deadline)?;
        let external_network = wishes
            .floating_ip
            .map(|network| external_network(session, network, deadline))
            .transpose()?;

        let mut parts = vec![user_data.expose_secret(), &image.id, &flavor, &key.name];
        parts.extend(networks.iter().chain(&security_groups).map(String::as_str));
        let digest = digest(&parts);
        let mut metadata = settings.metadata.clone();
        metadata.extend(master_metadata(&config.policy.cluster));
        metadata.insert(METADATA_DIGEST.to_owned(), digest.clone());
        metadata.insert(METADATA_IMAGE.to_owned(), settings.image.clone());
        Ok(Order {
            cluster: config.policy.cluster.clone(),
            name: match wishes.name {
                Some(name) => name.to_owned(),
                None => format!("{}-master", config.policy.prefix),
            },
            flavor,
            image: (
                image.id.clone(),
                image.name.unwrap_or_else(|| image.id.clone()),
            ),
            networks,
            security_groups,
            key,
            availability_zone: settings.first_zone().map(str::to_owned),
            config_drive: settings.config_drive,
            final_message: template.final_message(),
            user_data,
            metadata,
            digest,
            external_network,
            trust_domain,
        })
    }

    /// What marks a floating IP as this pool's master's: nothing else can be written to it.
    pub fn floating_ip_mark(&self) -> String {
        master_floating_ip_mark(&self.cluster)
    }
}

fn keypair(session: &Session, deadline: Deadline) -> anyhow::Result<Keypair> {
    let CloudSettings { name, key, .. } = session.settings();
    let Some(wanted) = key else {
        bail!(
            "cloud {name}: no keypair is configured, and without one nobody can log in to install ehos; set `key`, or \
             let `ehos cloud setup` add one"
        );
    };
    let keys = compute::keypairs(session, deadline)?;
    let there: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let there = there.join(", ");
    keys.into_iter().find(|key| key.name == *wanted).ok_or_else(|| {
        anyhow!(
            "cloud {name}: there is no keypair '{wanted}' that the API shows (there are: {there}); add its public key \
             with `ehos cloud setup`, for one that was added in a dashboard may be invisible"
        )
    })
}

fn flavor(
    session: &Session,
    wish: Option<&str>,
    deadline: Deadline,
) -> anyhow::Result<(String, String)> {
    let settings = session.settings();
    let Some(wanted) = wish.or(settings.flavors.first().map(String::as_str)) else {
        bail!(
            "cloud {}: no flavor is configured; give one with --flavor",
            settings.name
        );
    };
    let there = compute::flavors(session, deadline)?;
    let found = find_flavor(session, wanted, &there)?;
    Ok((found.name.clone(), found.flavor.id.clone()))
}

fn external_network(session: &Session, wanted: &str, deadline: Deadline) -> anyhow::Result<String> {
    let id = network::network_id(session, wanted, deadline)?;
    let networks = network::networks(session, deadline)?;
    let external: Vec<&str> = networks
        .iter()
        .filter(|network| network.external)
        .map(|network| network.name.as_str())
        .collect();
    if networks.iter().any(|net| net.id == id && net.external) {
        return Ok(id);
    }
    bail!(
        "cloud {}: network '{wanted}' is not external, so no floating IP comes from it; those that are: {}",
        session.settings().name,
        if external.is_empty() {
            "none".to_owned()
        } else {
            external.join(", ")
        }
    )
}

/// The template of the nodes of the first cloud: `/etc/ehos/execute.yaml` there.
fn execute_template(config: &Config) -> anyhow::Result<String> {
    let Some(first) = config.clouds.first() else {
        bail!("the configuration has no cloud");
    };
    // Looked at before it is carried over: on the master nobody watches.
    Template::load(&first.user_data_file)?;
    built_in::read(&first.user_data_file)
        .with_context(|| format!("{}: cannot be read", first.user_data_file.display()))
}

/// The domain of the pool. Made of its id there is no other one of that name.
fn trust_domain(config: &Config, wish: Option<&str>) -> anyhow::Result<String> {
    if let Some(domain) = wish.or(config.condor.trust_domain.as_deref()) {
        let fine = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        if !domain.split('.').all(fine) {
            bail!("'{domain}' is no domain: give letters, digits, `-` and `.` (--trust-domain)");
        }
        return Ok(domain.to_owned());
    }
    let id: String = config
        .policy
        .cluster
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    Ok(format!("ehos.{}", id.trim_matches('-')))
}

/// FNV-1a of the parts: not against anybody's will, only to know the same from another.
fn digest(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_digest_do_not_run_together() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
        assert_eq!(digest(&[]), "cbf29ce484222325");
    }
}
