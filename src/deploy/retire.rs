//! The end of a pool: its servers in the order in which they leave, and the objects that ehos created for them.
//!
//! Owns: which object `ehos retire` deletes, leaves, or waits for. Nodes, builders, ports and volumes are the ticks' to
//! delete, with their rechecks; this part deletes only what stays when a cloud has none of them.

mod objects;
pub mod report;

use std::collections::BTreeSet;

use scaling::sorting::IntoSet;
use serde::Serialize;

use crate::master::find::is_ready;
use scaling::leftover::LeftoverKind;
use scaling::observation::{CloudView, NodeId, Observed, OwnedServer, Role};
use scaling::sorting;
use scaling::state::{NodeState, State};

pub use objects::{Found, Object, look};

/// The kinds of objects, in the order in which they are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    Node,
    Builder,
    Port,
    Volume,
    Image,
    Keypair,
    ServerGroup,
    Rule,
    SecurityGroup,
    FloatingIp,
    CentralManager,
}

impl ItemKind {
    pub fn name(self) -> &'static str {
        match self {
            ItemKind::Node => "node",
            ItemKind::Builder => "builder",
            ItemKind::Port => "port",
            ItemKind::Volume => "volume",
            ItemKind::Image => "image",
            ItemKind::Keypair => "keypair",
            ItemKind::ServerGroup => "server group",
            ItemKind::Rule => "security group rule",
            ItemKind::SecurityGroup => "security group",
            ItemKind::FloatingIp => "floating IP",
            ItemKind::CentralManager => "central manager",
        }
    }

    /// The start of the command that deletes one by hand.
    fn command(self) -> &'static str {
        match self {
            ItemKind::Node | ItemKind::Builder | ItemKind::CentralManager => {
                "openstack server delete"
            }
            ItemKind::Port => "openstack port delete",
            ItemKind::Volume => "openstack volume delete",
            ItemKind::Image => "openstack image delete",
            ItemKind::Keypair => "openstack keypair delete",
            ItemKind::ServerGroup => "openstack server group delete",
            ItemKind::Rule => "openstack security group rule delete",
            ItemKind::SecurityGroup => "openstack security group delete",
            ItemKind::FloatingIp => "openstack floating ip delete",
        }
    }
}

/// The state of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemResult {
    /// A run without `--dry-run` deletes it.
    Planned,
    /// Ticks delete it, or it waits for other objects.
    Waiting,
    Deleted,
    AlreadyGone,
    /// The cloud refused the delete.
    Failed,
    /// It is the pool's, and something uses it.
    InUse,
    /// Nothing proves that ehos created it for this pool, or it is not ehos's to delete.
    Left,
}

/// One object of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    pub cloud: String,
    pub kind: ItemKind,
    pub id: String,
    pub name: String,
    pub result: ItemResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The command that deletes it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Item {
    pub(crate) fn new(cloud: &str, kind: ItemKind, id: &str, name: &str) -> Item {
        Item {
            cloud: cloud.to_owned(),
            kind,
            id: id.to_owned(),
            name: name.to_owned(),
            result: ItemResult::Planned,
            reason: None,
            command: None,
        }
    }

    /// The same with its result, and the command for what stays.
    #[must_use]
    pub fn ended(mut self, result: ItemResult, reason: impl Into<Option<String>>) -> Item {
        self.result = result;
        self.reason = reason.into();
        let stays = matches!(result, ItemResult::InUse | ItemResult::Left);
        let id = system::rights::shell_word(&self.id);
        self.command = stays.then(|| format!("{} {id}", self.kind.command()));
        self
    }

    fn waits(self, reason: &str) -> Item {
        self.ended(ItemResult::Waiting, reason.to_owned())
    }

    fn left(self, reason: &str) -> Item {
        self.ended(ItemResult::Left, reason.to_owned())
    }
}

/// The nodes, builders and leftovers of one cloud that ticks delete, then those that they leave.
pub fn servers(state: &State, cloud: &str, view: &CloudView) -> Vec<Item> {
    let mut items = Vec::new();
    for (id, memory) in &state.nodes {
        if memory.node_type.cloud != *cloud {
            continue;
        }
        let listed = view
            .servers
            .iter()
            .find(|server| is_server_of(server, id, memory));
        items.push(known_node(state, cloud, id, memory, listed));
    }
    for server in &view.servers {
        let record = server.record();
        let item = |kind| Item::new(cloud, kind, &record.id, &record.name);
        match server.role() {
            Role::Execute => {
                let mut known = state.nodes.iter();
                if !known.any(|(id, memory)| is_server_of(server, id, memory)) {
                    items.push(item(ItemKind::Node).waits("the next tick adopts it"));
                }
            }
            Role::Builder => items.push(builder(state, server, item(ItemKind::Builder))),
            Role::Master if server.record().deleting => {}
            Role::Master => items.push(
                item(ItemKind::CentralManager)
                    .left("ehos does not delete the central manager; delete it last"),
            ),
        }
    }
    items.extend(leftovers(state, cloud, view));
    sorting::by(&mut items, |a, b| {
        (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id))
    });
    items
}

fn is_server_of(server: &OwnedServer, node: &NodeId, memory: &NodeState) -> bool {
    match &memory.server_id {
        Some(id) => server.id() == id,
        None => server.node() == Some(node),
    }
}

fn known_node(
    state: &State,
    cloud: &str,
    node: &NodeId,
    memory: &NodeState,
    listed: Option<&OwnedServer>,
) -> Item {
    let id = memory.server_id.as_deref().unwrap_or(&node.0);
    let item = Item::new(cloud, ItemKind::Node, id, &memory.name);
    if memory.unsigned.is_some() {
        return item.left("no valid ehos_proof: ehos never touches it");
    }
    if let Some(host) = &memory.other_condor_host {
        return item.left(&format!("created for another central manager ({host})"));
    }
    let now = state.last_tick.unwrap_or_default();
    let keep = memory.requests.keep.as_ref();
    if let Some(keep) = keep.filter(|keep| keep.is_active(now)) {
        let by = &keep.by;
        return item.waits(&format!("kept by {by}; run `ehos keep --release {node}`"));
    }
    let reason = match (listed, &memory.requests.delete) {
        (None, _) if memory.server_id.is_none() => "its create may still be under way",
        (None, _) => "its delete is under way",
        (Some(server), _) if server.record().deleting => "its delete is under way",
        (_, Some(_)) => "its delete is requested",
        (_, None) if memory.claims.claimed => "it runs jobs",
        (_, None) => "ticks drain and delete it",
    };
    item.waits(reason)
}

fn builder(state: &State, server: &OwnedServer, item: Item) -> Item {
    match state.builders.get(server.id()) {
        Some(memory) if memory.unsigned => item.left("no valid ehos_proof: ehos never touches it"),
        Some(memory) if memory.delete_accepted.is_some() => item.waits("its delete is under way"),
        _ if server.record().deleting => item.waits("its delete is under way"),
        _ => item.waits("ticks delete it, and its build ends"),
    }
}

/// Ports and volumes of deleted servers, deleted servers that no tick has searched yet, and what may be a leftover.
fn leftovers(state: &State, cloud: &str, view: &CloudView) -> Vec<Item> {
    let unsearched = state.departed.values();
    let unsearched = unsearched.filter(|gone| gone.cloud == *cloud && !gone.searched);
    let mut items: Vec<Item> = unsearched
        .filter_map(|gone| gone.server_id.as_deref())
        .map(|server| {
            let item = Item::new(cloud, ItemKind::Port, server, "of a deleted server");
            item.waits("ticks search for its ports and volumes")
        })
        .collect();
    let found = match &view.leftovers {
        Observed::Known(found) => found,
        Observed::Unknown(why) => {
            let item = Item::new(cloud, ItemKind::Port, "", "all");
            items.push(item.waits(&format!("the list failed: {why}")));
            return items;
        }
    };
    let kind = |kind| match kind {
        LeftoverKind::Port => ItemKind::Port,
        LeftoverKind::Volume => ItemKind::Volume,
        LeftoverKind::FloatingIp => ItemKind::FloatingIp,
    };
    let there: BTreeSet<&str> = view.servers.iter().map(OwnedServer::id).into_set();
    for leftover in &found.ours {
        let item = Item::new(cloud, kind(leftover.kind()), leftover.id(), leftover.name());
        match leftover.server() {
            Some(server) if there.contains(server) => {}
            Some(_) => items.push(item.waits("ticks delete it")),
            // Its address may be in DNS.
            None => items.push(item.left("the address of the central manager")),
        }
    }
    items.extend(found.unmarked.iter().map(|unmarked| {
        let item = Item::new(cloud, kind(unmarked.kind), &unmarked.id, &unmarked.name);
        item.left("it may be a leftover, and has no mark of this pool")
    }));
    items
}

/// A central manager on which ticks run.
pub fn ready_master(view: &CloudView) -> Option<&OwnedServer> {
    let mut masters = view.servers.iter();
    masters.find(|server| server.role() == Role::Master && is_ready(server.record()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_has_the_command_that_deletes_it() {
        let item = Item::new("lab", ItemKind::Keypair, "my key", "my key");
        let left = item.clone().left("no mark");
        assert_eq!(
            left.command.as_deref(),
            Some("openstack keypair delete 'my key'")
        );
        assert_eq!(item.waits("ticks").command, None);
    }

    #[test]
    fn the_order_of_kinds_is_that_of_the_deletes() {
        use ItemKind::*;
        let order = [
            Node,
            Builder,
            Port,
            Volume,
            Image,
            Keypair,
            ServerGroup,
            Rule,
            SecurityGroup,
        ];
        assert!(order.is_sorted());
    }
}
