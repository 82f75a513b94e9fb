//! Names of the configuration, resolved to ids of the cloud.

use std::collections::BTreeMap;

use log::warn;
use system::deadline::Deadline;

use crate::error::Error;
use crate::{
    ConfiguredFlavors, OpenStackCloud, ServerAttachments, as_configured, find_flavor, locked,
    surroundings,
};
use crate::{compute, image, server_group};

impl OpenStackCloud<'_> {
    /// The configured flavors that the cloud has, by name as configured, and why others of them cannot be read.
    pub(super) fn configured_flavors(
        &self,
        deadline: Deadline,
    ) -> Result<ConfiguredFlavors, Error> {
        let there = compute::flavors(&self.session, deadline)?;
        let mut found = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for wanted in &self.session.settings().flavors {
            match find_flavor(&self.session, wanted, &there) {
                Ok(flavor) => {
                    let flavor = as_configured(self.session.settings(), wanted, flavor);
                    found.insert(wanted.clone(), flavor);
                }
                Err(Error::Unreadable { unread: item, .. }) => {
                    unread.insert(wanted.clone(), item.to_string());
                }
                Err(error) => warn!("{error}"),
            }
        }
        *locked(&self.flavors) = Some(there);
        Ok((found, unread))
    }

    pub(super) fn flavor_id(&self, wanted: &str, deadline: Deadline) -> Result<String, Error> {
        let mut known = locked(&self.flavors);
        let there = match known.take() {
            Some(there) => there,
            None => compute::flavors(&self.session, deadline)?,
        };
        let there = known.insert(there);
        Ok(find_flavor(&self.session, wanted, there)?.flavor.id.clone())
    }

    pub(super) fn image_id(&self, wanted: &str, deadline: Deadline) -> Result<String, Error> {
        let mut known = locked(&self.images);
        if let Some(id) = known.get(wanted) {
            return Ok(id.clone());
        }
        let id = image::image_id(&self.session, wanted, deadline)?;
        known.insert(wanted.to_owned(), id.clone());
        Ok(id)
    }

    pub(super) fn surroundings(&self, deadline: Deadline) -> Result<ServerAttachments, Error> {
        let mut known = locked(&self.surroundings);
        if let Some(surroundings) = known.as_ref() {
            return Ok(surroundings.clone());
        }
        let surroundings = surroundings(&self.session, deadline)?;
        *known = Some(surroundings.clone());
        Ok(surroundings)
    }

    /// The id of the server group of nodes.
    pub(super) fn server_group(&self, wanted: &str, deadline: Deadline) -> Result<String, Error> {
        let mut known = locked(&self.server_group);
        if let Some(id) = known.as_ref() {
            return Ok(id.clone());
        }
        let id = server_group::find(&self.session, wanted, deadline)?.id;
        *known = Some(id.clone());
        Ok(id)
    }
}
