//! Names of the configuration, resolved to ids of the cloud.

use std::collections::BTreeMap;

use log::warn;
use scaling::action::Intent;
use system::deadline::Deadline;

use crate::error::Error;
use crate::items::Items;
use crate::lookups::UsedKept;
use crate::{
    ConfiguredFlavors, OpenStackCloud, ServerAttachments, as_configured, find_flavor, locked,
    surroundings,
};
use crate::{compute, image, server_group};

/// The ids that a create needs.
pub(super) struct CreateIds {
    pub(super) flavor: String,
    pub(super) image: String,
    pub(super) attachments: ServerAttachments,
    pub(super) server_group: Option<String>,
}

impl OpenStackCloud<'_> {
    /// The configured flavors that the cloud has, by name as configured, and why others of them cannot be read.
    pub(super) fn configured_flavors(
        &self,
        deadline: Deadline,
    ) -> Result<ConfiguredFlavors, Error> {
        let kept = self.lookups.flavors();
        let is_kept = kept.is_some();
        let there = match kept {
            Some(read) => Items {
                read,
                ..Items::default()
            },
            None => compute::flavors(&self.session, deadline)?,
        };
        let mut used = Vec::new();
        let mut found = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for wanted in &self.session.settings().flavors {
            match find_flavor(&self.session, wanted, &there) {
                Ok(flavor) => {
                    used.push(flavor);
                    let flavor = as_configured(self.session.settings(), wanted, flavor);
                    found.insert(wanted.clone(), flavor);
                }
                Err(Error::Unreadable { unread: item, .. }) => {
                    unread.insert(wanted.clone(), item.to_string());
                }
                Err(error) => warn!("{error}"),
            }
        }
        if !is_kept && used.len() == self.session.settings().flavors.len() {
            self.lookups.keep_flavors(used);
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
        let id = match self.lookups.has_image(wanted) {
            true => wanted.to_owned(),
            false => {
                let id = image::image_id(&self.session, wanted, deadline)?;
                // A name may become that of a newer image.
                if id == wanted {
                    self.lookups.keep_image(&id);
                }
                id
            }
        };
        known.insert(wanted.to_owned(), id.clone());
        Ok(id)
    }

    pub(super) fn surroundings(&self, deadline: Deadline) -> Result<ServerAttachments, Error> {
        let mut known = locked(&self.surroundings);
        if let Some(surroundings) = known.as_ref() {
            return Ok(surroundings.clone());
        }
        let surroundings = match self.lookups.attachments() {
            Some(kept) => kept,
            None => {
                let found = surroundings(&self.session, deadline)?;
                self.lookups.keep_attachments(&found);
                found
            }
        };
        *known = Some(surroundings.clone());
        Ok(surroundings)
    }

    /// The ids that a create needs.
    pub(super) fn create_ids(
        &self,
        intent: &Intent,
        deadline: Deadline,
    ) -> Result<CreateIds, Error> {
        let server_group = self.session.settings().server_group.as_deref();
        Ok(CreateIds {
            flavor: self.flavor_id(&intent.flavor, deadline)?,
            image: self.image_id(&intent.image, deadline)?,
            attachments: self.surroundings(deadline)?,
            server_group: server_group
                .map(|wanted| self.server_group(wanted, deadline))
                .transpose()?,
        })
    }

    /// Forgets what an earlier tick looked up. Returns whether a create with this mark can differ now.
    pub(super) fn forget_lookups(&self, used: UsedKept) -> bool {
        // What this tick has looked up itself stays, whatever is refused.
        if self.lookups.are_kept() {
            // First what creates of this tick read: none of them may take an old id for a new one.
            *locked(&self.flavors) = None;
            locked(&self.images).clear();
            *locked(&self.surroundings) = None;
            *locked(&self.server_group) = None;
        }
        self.lookups.forget(used)
    }

    /// The id of the server group of nodes.
    pub(super) fn server_group(&self, wanted: &str, deadline: Deadline) -> Result<String, Error> {
        let mut known = locked(&self.server_group);
        if let Some(id) = known.as_ref() {
            return Ok(id.clone());
        }
        let id = match self.lookups.server_group() {
            Some(kept) => kept,
            None => {
                let found = server_group::find(&self.session, wanted, deadline)?.id;
                self.lookups.keep_server_group(&found);
                found
            }
        };
        *known = Some(id.clone());
        Ok(id)
    }
}
