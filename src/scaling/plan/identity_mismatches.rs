//! Tells of startds that say that they are a node which they are not, or which another startd says to be as well.

use super::UnknownSource;
use super::planner::NodePlan;
use crate::observation::{NodeId, StartdView};
use crate::sender::Sender;
use crate::source::{Source, SourceKind};

/// More of them are only counted.
const MAX_TOLD: usize = 10;

/// Each of them, by node.
pub(super) fn told(
    nodes: &[NodePlan<'_>],
    impostors: &[(NodeId, &StartdView)],
) -> Vec<UnknownSource> {
    let contested = nodes.iter().filter_map(|node| {
        let (one, other) = node.startd.zip(node.contested)?;
        Some(UnknownSource {
            source: Source::new(SourceKind::Startd, format!("of node {}", node.id)),
            why: format!(
                "two startds say that they are this node, {} and {}: ehos drains and deletes nothing of it until one of them is \
                 gone; find out which one does not run on server {}, and stop that one",
                one.called(),
                other.called(),
                node.name
            ),
        })
    });
    let impostors = impostors.iter().map(|(id, startd)| UnknownSource {
        source: Source::new(SourceKind::Startd, &startd.machine),
        why: format!(
            "it answers at {} and says that it is node {id}{}, and {}: ehos leaves the startd out; look at {}",
            startd.address.as_deref().unwrap_or("an unknown address"),
            real(nodes, id),
            match &startd.sender {
                Sender::Node(node) if node == id =>
                    "its CloudInstanceID is another server's".to_owned(),
                Sender::Node(node) => format!("the collector received its ad from node {node}"),
                sender => format!("it is not (the collector received its ad from {sender})"),
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
            why: format!("{more} more say that they are a node and are not, or contradict another"),
        });
    }
    told
}

/// Where the startd that is taken for the node is.
fn real(nodes: &[NodePlan<'_>], id: &NodeId) -> String {
    let node = nodes.iter().find(|node| node.id == *id);
    let startd = node.and_then(|node| node.startd);
    startd.map_or_else(String::new, |startd| {
        format!(", whose startd is {}", startd.called())
    })
}
