//! Reports startds that advertise a node which they are not, or which another startd advertises as well.

use super::UnknownSource;
use super::planner::NodePlan;
use crate::observation::{NodeId, StartdView};
use crate::sender::Sender;
use crate::source::{Source, SourceKind};

/// More of them are only counted.
const MAX_TOLD: usize = 10;

/// Returns each mismatch, by node.
pub(super) fn told(
    nodes: &[NodePlan<'_>],
    noticed: &[usize],
    impostors: &[(NodeId, &StartdView)],
) -> Vec<UnknownSource> {
    let noticed = noticed.iter().filter_map(|index| nodes.get(*index));
    let contested = noticed.filter_map(|node| {
        let (one, other) = node.startd.zip(node.contested)?;
        Some(UnknownSource {
            source: Source::new(SourceKind::Startd, format!("of node {}", node.id)),
            why: format!(
                "two startds advertise this node, {} and {}: ehos neither drains nor deletes the node; stop the startd that does not \
                 run on server {}",
                one.called(),
                other.called(),
                node.name()
            ),
        })
    });
    let impostors = impostors.iter().map(|(id, startd)| UnknownSource {
        source: Source::new(SourceKind::Startd, &startd.machine),
        why: format!(
            "the startd at {} advertises node {id}{}, but {}: ehos ignores this startd; check {}",
            startd.address.as_deref().unwrap_or("an unknown address"),
            real(nodes, id),
            match &startd.sender {
                Sender::Node(node) if node == id =>
                    "its CloudInstanceID is that of another server".to_owned(),
                Sender::Node(node) => format!("the collector received its ad from node {node}"),
                sender => format!("the collector received its ad from {sender}"),
            },
            match &startd.sender {
                Sender::Node(node) => format!("node {node}, and revoke its token"),
                _ => "that machine".to_owned(),
            }
        ),
    });
    let all: Vec<UnknownSource> = contested.chain(impostors).collect();
    let more = all.len().saturating_sub(MAX_TOLD);
    let mut told: Vec<UnknownSource> = all.into_iter().take(MAX_TOLD).collect();
    if more > 0 {
        told.push(UnknownSource {
            source: Source::only(SourceKind::Startds),
            why: format!("{more} more startds advertise a node that they are not, or contradict another startd"),
        });
    }
    told
}

/// The startd that counts as the node.
fn real(nodes: &[NodePlan<'_>], id: &NodeId) -> String {
    let node = nodes.iter().find(|node| node.id == *id);
    let startd = node.and_then(|node| node.startd);
    startd.map_or_else(String::new, |startd| {
        format!(", whose startd is {}", startd.called())
    })
}
