//! What a central manager is made of: names of the configuration looked up in the cloud, and the user data filled in.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::SecretString;

use super::images::has_image;
use super::login::identity;
use super::looking;
use crate::boot::{ServerSpec, look_up_values};
use crate::local_keys::LocalKeys;
use config::{self, Config, export};
use openstack::auth::Session;
use openstack::compute::{self, Keypair, NamedFlavor};
use openstack::{CloudSettings, Error, find_flavor, image, network};
use scaling::observation::{METADATA_IMAGE, master_metadata};
use scaling::signing::SigningKeys;
use system::deadline::Deadline;
use system::environment::Environment;
use userdata::builtin_templates;
use userdata::cloudinit::Template;

/// What may be chosen apart from the configuration.
pub struct DeployOverrides<'a> {
    /// Relative paths are relative to its working folder.
    pub environment: &'a Environment,
    /// The image of the cloud, name or id.
    pub image: Option<&'a str>,
    /// Golden images are made before.
    pub builds_image: bool,
    /// Flavor, name or id; else the cloud's first.
    pub flavor: Option<&'a str>,
    /// The server's name; else PREFIX-master.
    pub name: Option<&'a str>,
    /// The template of its user data; else master.yaml in the folders of templates.
    pub template: Option<&'a Path>,
    /// The template of nodes, which the master gets.
    pub execute: Option<&'a Path>,
    /// TRUST_DOMAIN and UID_DOMAIN; else the configured one, else one made of the pool's id.
    pub trust_domain: Option<&'a str>,
    /// An external network, name or id.
    pub floating_ip: Option<&'a str>,
    /// The private key to log in with; else the one of ~/.ssh whose public half is the keypair.
    pub identity: Option<&'a Path>,
}

impl DeployOverrides<'_> {
    /// Puts what the master gets into the configuration of the cloud that it is created in.
    ///
    /// # Errors
    /// When there is no golden image that it could boot from.
    pub fn put_into(&self, config: &mut Config, cloud: &str) -> anyhow::Result<()> {
        for settings in &mut config.clouds {
            if let Some(execute) = self.execute {
                settings.user_data_file = self.environment.working_directory.join(execute);
            }
            if settings.name != cloud {
                continue;
            }
            match self.image {
                Some(image) => image.clone_into(&mut settings.image),
                None if !self.builds_image && !has_image(settings) => bail!(
                    "cloud {cloud}: there is no golden image yet: make one with `ehos image build`, or here with \
                     --build-image, or give --image"
                ),
                None => {}
            }
        }
        Ok(())
    }

    /// The template of the server.
    ///
    /// # Errors
    /// Where there is none.
    pub fn master_template(&self) -> anyhow::Result<PathBuf> {
        match self.template {
            Some(file) => Ok(self.environment.working_directory.join(file)),
            None => config::template("master.yaml", self.environment)
                .context("no master.yaml in the folders of templates; name one with --master"),
        }
    }
}

/// A central manager that can be asked for.
#[derive(Debug)]
pub struct MasterSpec {
    /// The cloud that it is created in.
    pub cloud: String,
    pub cluster: String,
    pub name: String,
    pub image_name: String,
    /// The image, as configured.
    image: String,
    pub server: ServerSpec,
    /// The keypair that it is logged in to with.
    pub key: Keypair,
    /// The private key; `None`: those of ssh itself.
    pub identity: Option<PathBuf>,
    /// The network that its floating IP comes from.
    pub external_network: Option<String>,
    /// TRUST_DOMAIN of the pool.
    pub trust_domain: String,
}

impl MasterSpec {
    /// Looks all up in the cloud of `session`, which is one of `config`. Changes nothing there.
    ///
    /// # Errors
    /// What is not there or does not fit, and what to do about it.
    pub fn look_up(
        config: &Config,
        session: &Session,
        overrides: &DeployOverrides,
    ) -> anyhow::Result<MasterSpec> {
        let deadline = looking();
        let settings = session.settings();
        let key = keypair(session, deadline)?;
        let trust_domain = trust_domain(config, overrides.trust_domain)?;
        let flavor = flavor(session, overrides.flavor, deadline)?;
        let image = image::find(session, &settings.image, deadline)?;

        let file = overrides.master_template()?;
        let template = Template::load(&file)?;
        let known = template.tags();
        for tag in ["ehos_yaml", "execute_yaml"] {
            if !known.contains(tag) {
                bail!(
                    "{} has no tag {{{tag}}}: the central manager would not get its configuration; take it over from \
                     ehos's own master.yaml",
                    file.display()
                );
            }
        }
        let mut values = look_up_values(session, &flavor.name, &settings.image, deadline)?;
        let mut put = |tag, value: &str| values.insert(tag, SecretString::from(value));
        put("trust_domain", &trust_domain);
        put("ehos_cluster", &config.policy.cluster);
        put("ehos_yaml", &BASE64.encode(export::public(config)));
        put("execute_yaml", &BASE64.encode(execute_template(config)?));
        // It holds no secret: every user of a server can ask for its user data.
        let user_data = template.render(&values)?;

        let external_network = overrides
            .floating_ip
            .map(|network| external_network(session, network, deadline))
            .transpose()?;
        Ok(MasterSpec {
            cloud: settings.name.clone(),
            cluster: config.policy.cluster.clone(),
            name: match overrides.name {
                Some(name) => name.to_owned(),
                None => format!("{}-master", config.policy.prefix),
            },
            image_name: image.name.clone().unwrap_or_else(|| image.id.clone()),
            image: settings.image.clone(),
            server: ServerSpec::look_up(session, image, flavor, &template, user_data, deadline)?,
            identity: identity(overrides, &key.public_key, settings)?,
            key,
            external_network,
            trust_domain,
        })
    }

    /// What an operator should know of the private key, where it is not here; ssh may know of one that cannot be seen from
    /// here.
    pub fn missing_key(&self, environment: &Environment) -> Option<String> {
        if self.identity.is_some() {
            return None;
        }
        let keys = LocalKeys::look(environment);
        let missing = keys.missing(&self.key.name, &self.key.public_key)?;
        Some(missing.to_string())
    }

    /// Sends one create and returns the server's id.
    ///
    /// # Errors
    /// What the cloud says.
    pub(super) fn create(&self, session: &Session, keys: &SigningKeys) -> Result<String, Error> {
        let mut metadata = master_metadata(&self.cluster);
        metadata.insert(METADATA_IMAGE.to_owned(), self.image.clone());
        let description = format!("central manager of the ehos pool {}", self.cluster);
        self.server
            .create(session, &self.name, description, metadata, keys)
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
) -> anyhow::Result<NamedFlavor> {
    let settings = session.settings();
    let Some(wanted) = wish.or(settings.flavors.first().map(String::as_str)) else {
        bail!(
            "cloud {}: no flavor is configured; give one with --flavor",
            settings.name
        );
    };
    let there = compute::flavors(session, deadline)?;
    Ok(find_flavor(session, wanted, &there)?.clone())
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
        "cloud {}: network '{wanted}' is not external and gives no floating IPs; external networks are: {}",
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
    builtin_templates::read(&first.user_data_file)
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
