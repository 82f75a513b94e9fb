//! The server that is asked for: names of the configuration looked up in a cloud.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use log::info;
use scaling::sorting::IntoMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::soon;
use crate::console::{self, Boot};
use openstack::auth::Session;
use openstack::compute::{self, NamedFlavor, NewServer};
use openstack::image::Image;
use openstack::{Error, ServerAttachments, surroundings};
use scaling::signing::SigningKeys;
use system::deadline::Deadline;
use userdata::cloudinit::Template;

/// A console is worth waiting for no longer than this: the next look asks again.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Metadata key: a digest of everything that a server is made of. A run goes on with a server of the same digest.
pub const METADATA_DIGEST: &str = "ehos_digest";

/// A server that can be created. All references are ids.
#[derive(Debug)]
pub struct ServerSpec {
    /// The image that it boots from.
    pub image: Image,
    pub flavor: NamedFlavor,
    /// User data. Nova repeats it in errors, where it is cut out.
    user_data: SecretString,
    /// The beginning of the last message on the console; cloud-init's own when missing.
    final_message: Option<String>,
    /// `ehos_digest` of all of it.
    pub digest: String,
    surroundings: ServerAttachments,
}

impl ServerSpec {
    /// Looks up networks and security groups of the cloud of `session`. Changes nothing there.
    ///
    /// # Errors
    /// When the cloud does not have one of them.
    pub fn look_up(
        session: &Session,
        image: Image,
        flavor: NamedFlavor,
        template: &Template,
        user_data: SecretString,
        deadline: Deadline,
    ) -> Result<ServerSpec, Error> {
        let settings = session.settings();
        let surroundings = surroundings(session, deadline)?;
        let parts = [&settings.name, &image.id, &flavor.flavor.id].into_iter();
        let parts = parts
            .chain(&surroundings.networks)
            .chain(&surroundings.security_groups)
            .chain(&settings.key)
            .map(String::as_str)
            .chain(settings.first_zone())
            .chain([user_data.expose_secret()]);
        Ok(ServerSpec {
            digest: digest(parts),
            final_message: template.final_message(),
            image,
            flavor,
            user_data,
            surroundings,
        })
    }

    /// The state of the first boot of a server, and all of its console; `None` when that cannot be read, which can be for a
    /// while, or for good.
    pub fn read_boot(&self, session: &Session, server_id: &str) -> Option<(Boot, String)> {
        let deadline = Deadline::within(CONSOLE_TIMEOUT);
        match compute::console(session, server_id, compute::ALL_LINES, deadline) {
            Ok(text) => Some((console::boot(&text, self.final_message.as_deref()), text)),
            Err(error) => {
                info!("{error}");
                None
            }
        }
    }

    /// Sends one create and returns the server's id. `metadata` come on top of those of the configuration.
    ///
    /// # Errors
    /// After one of unknown effect the server may appear.
    pub fn create(
        &self,
        session: &Session,
        name: &str,
        description: String,
        metadata: BTreeMap<String, String>,
        keys: &SigningKeys,
    ) -> Result<String, Error> {
        let settings = session.settings();
        let mut all = settings.metadata.clone();
        all.extend(metadata);
        all.insert(METADATA_DIGEST.to_owned(), self.digest.clone());
        keys.sign(&mut all, name, Timestamp::now());
        let server = NewServer {
            name,
            description,
            flavor: &self.flavor.flavor.id,
            image: &self.image.id,
            networks: &self.surroundings.networks,
            key: settings.key.as_deref(),
            security_groups: &self.surroundings.security_groups,
            availability_zone: settings.first_zone(),
            user_data: self.user_data.clone(),
            metadata: all,
            scratch_size_gb: None,
            boot_volume: None,
            server_group: None,
            config_drive: settings.config_drive,
            tags: &[],
        };
        compute::create(session, &server, soon())
    }
}

/// The values of a template that the cloud knows: `{cloud}`, `{region}`, `{flavor}` and `{image}`.
///
/// # Errors
/// When the catalog does not tell the region.
pub fn look_up_values(
    session: &Session,
    flavor: &str,
    image: &str,
    deadline: Deadline,
) -> Result<BTreeMap<&'static str, SecretString>, Error> {
    let settings = session.settings();
    let region = session.token(deadline)?.catalog.region(settings)?;
    let values = [
        ("cloud", settings.name.as_str()),
        ("region", region.as_str()),
        ("flavor", flavor),
        ("image", image),
    ];
    let values = values.map(|(tag, value)| (tag, SecretString::from(value)));
    Ok(values.into_iter().into_map())
}

/// SHA-256 of the parts, each with its length before it.
fn digest<'p>(parts: impl IntoIterator<Item = &'p str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize())
}

/// Bytes in hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_digest_do_not_run_together() {
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
        assert_eq!(digest(["ab", "c"]), digest(["ab", "c"]));
        assert_eq!(digest([]), hexadecimal(&Sha256::digest(b"")));
    }
}
