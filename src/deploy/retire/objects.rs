//! Images, keypair, rules and security groups that ehos created in one cloud: found by their marks, deleted after a
//! recheck.

use super::{Item, ItemKind, ItemResult};
use crate::image::inventory;
use openstack::auth::Session;
use openstack::owned_image::OwnedImage;
use openstack::owned_setup::{OwnedGroup, OwnedKeypair, OwnedRule, Removed};
use openstack::{CloudSettings, Error, called, compute, network, server_group};
use system::deadline::Deadline;

/// The security group that each project has.
const DEFAULT_GROUP: &str = "default";

/// An object that has the mark of the pool.
#[derive(Debug)]
pub enum Object {
    Image(OwnedImage),
    Keypair(OwnedKeypair),
    /// A rule in the group of others with this name.
    Rule(OwnedRule, String),
    Group(OwnedGroup),
}

/// The objects of one cloud.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order in which they are deleted.
    pub objects: Vec<Object>,
    /// Those that stay, with the reason.
    pub left: Vec<Item>,
}

/// Looks them up; `has_master`: a central manager of the pool uses the security groups, and rules of others' groups let
/// people and nodes reach it.
///
/// # Errors
/// A list failed: what may be deleted is unknown then.
pub fn look(
    session: &Session,
    cluster: &str,
    has_master: bool,
    deadline: Deadline,
) -> Result<Found, Error> {
    let mut found = Found::default();
    images(session, cluster, &mut found, deadline)?;
    keypair(session, cluster, &mut found, deadline)?;
    server_groups(session, &mut found, deadline)?;
    security_groups(session, cluster, has_master, &mut found, deadline)?;
    Ok(found)
}

fn images(
    session: &Session,
    cluster: &str,
    found: &mut Found,
    deadline: Deadline,
) -> Result<(), Error> {
    let cloud = &session.settings().name;
    let inventory = inventory::look(session, cluster, deadline)?;
    for image in inventory.images {
        let item = Item::new(cloud, ItemKind::Image, &image.image().id, image.name());
        let stays = match inventory.in_use.get(&image.image().id) {
            Some(servers) => Some(format!("{servers} server(s) boot from it")),
            None if inventory.more_in_use => {
                Some("a server with an unreadable image may boot from it".to_owned())
            }
            None if image.image().protected => Some("protected in Glance".to_owned()),
            None if image.is_shared() => {
                Some("shared, and servers of other projects may boot from it".to_owned())
            }
            None => None,
        };
        match stays {
            Some(why) => found.left.push(item.ended(ItemResult::InUse, why)),
            None => found.objects.push(Object::Image(image)),
        }
    }
    Ok(())
}

fn keypair(
    session: &Session,
    cluster: &str,
    found: &mut Found,
    deadline: Deadline,
) -> Result<(), Error> {
    let CloudSettings {
        name: cloud, key, ..
    } = session.settings();
    for pair in compute::keypairs(session, deadline)? {
        let name = pair.name.clone();
        match OwnedKeypair::recognise(pair, cluster) {
            Some(owned) => found.objects.push(Object::Keypair(owned)),
            None if Some(&name) == key.as_ref() => {
                let item = Item::new(cloud, ItemKind::Keypair, &name, &name);
                found.left.push(unmarked(item, "comment of its public key"));
            }
            None => {}
        }
    }
    Ok(())
}

fn server_groups(session: &Session, found: &mut Found, deadline: Deadline) -> Result<(), Error> {
    let settings = session.settings();
    let Some(wanted) = &settings.server_group else {
        return Ok(());
    };
    let all = server_group::server_groups(session, deadline)?;
    for group in called(&all, wanted, |group| [&group.id, &group.name]) {
        let item = Item::new(
            &settings.name,
            ItemKind::ServerGroup,
            &group.id,
            &group.name,
        );
        let why = "a server group has no mark: ehos cannot prove that it created it".to_owned();
        found.left.push(item.ended(ItemResult::Left, why));
    }
    Ok(())
}

fn security_groups(
    session: &Session,
    cluster: &str,
    has_master: bool,
    found: &mut Found,
    deadline: Deadline,
) -> Result<(), Error> {
    let settings = session.settings();
    let project = session.token(deadline)?.project_id.clone();
    let mut groups = Vec::new();
    for group in network::security_groups(session, deadline)? {
        if let Some(owned) = OwnedGroup::recognise(group.clone(), cluster, project.as_deref()) {
            groups.push(owned);
            continue;
        }
        for rule in group.rules.iter().cloned() {
            let Some(rule) = OwnedRule::recognise(rule, cluster) else {
                continue;
            };
            let item = rule_item(&settings.name, &rule, &group.name);
            if has_master {
                let why = "the central manager may use it; delete its server first".to_owned();
                found.left.push(item.ended(ItemResult::InUse, why));
            } else {
                found.objects.push(Object::Rule(rule, group.name.clone()));
            }
        }
        let mut configured = settings.security_groups.iter();
        if group.name != DEFAULT_GROUP
            && configured.any(|name| *name == group.name || *name == group.id)
        {
            let item = Item::new(
                &settings.name,
                ItemKind::SecurityGroup,
                &group.id,
                &group.name,
            );
            found.left.push(unmarked(item, "description"));
        }
    }
    found.objects.extend(groups.into_iter().map(Object::Group));
    Ok(())
}

fn unmarked(item: Item, place: &str) -> Item {
    let why = format!("ehos cannot prove that it created it: no pool id in the {place}");
    item.ended(ItemResult::Left, why)
}

fn rule_item(cloud: &str, rule: &OwnedRule, group: &str) -> Item {
    Item::new(
        cloud,
        ItemKind::Rule,
        &rule.rule().id,
        &format!("in {group}"),
    )
}

impl Object {
    /// The object in a list.
    pub fn item(&self, cloud: &str) -> Item {
        match self {
            Object::Image(image) => {
                Item::new(cloud, ItemKind::Image, &image.image().id, image.name())
            }
            Object::Keypair(pair) => Item::new(cloud, ItemKind::Keypair, pair.name(), pair.name()),
            Object::Rule(rule, group) => rule_item(cloud, rule, group),
            Object::Group(group) => {
                let group = group.group();
                Item::new(cloud, ItemKind::SecurityGroup, &group.id, &group.name)
            }
        }
    }

    /// Deletes it, if it still has its mark.
    pub fn remove(&self, session: &Session, cluster: &str, deadline: Deadline) -> Item {
        let item = self.item(&session.settings().name);
        let removed = match self {
            Object::Image(image) => image.remove(session, cluster, deadline),
            Object::Keypair(pair) => pair.remove(session, deadline),
            Object::Rule(rule, _) => rule.remove(session, cluster, deadline),
            Object::Group(group) => group.remove(session, cluster, deadline),
        };
        match removed {
            Ok(Removed::Deleted) => item.ended(ItemResult::Deleted, None),
            Ok(Removed::AlreadyGone) => item.ended(ItemResult::AlreadyGone, None),
            Ok(Removed::Foreign) => {
                let why = "it no longer has the mark of this pool".to_owned();
                item.ended(ItemResult::Left, why)
            }
            Ok(Removed::InUse) => {
                let why = "a server or port uses it, as the central manager does".to_owned();
                item.ended(ItemResult::InUse, why)
            }
            Err(error) => item.ended(ItemResult::Failed, error.to_string()),
        }
    }
}
