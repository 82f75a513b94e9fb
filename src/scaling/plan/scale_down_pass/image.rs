//! Nodes with an outdated image.
//!
//! Where the configured image has proven itself, idle nodes of an older one are drained, a part of the pool at a time.
//! Where nothing is known of it yet, one node of each cloud is, so that there is room and need for a node of the new
//! image; no other follows before that one has run a job.
//!
//! The startd keeps the reason of the drain, so that a drain for the image is recognised without
//! the state. Images are compared as they are configured: a new image under an old name is no other
//! image.
//!
//! An adopted node that is younger than the configured image counts as up to date: another ehos
//! with the same pool id may have created it, and the two would replace each other's nodes without
//! end.

use std::time::Duration;

use super::{Drain, Rule, Verdict, longest_idle};
use crate::node::{Node, Phase};
use crate::observation::ServerStatus;
use crate::plan::planner::{NodePlan, Planner};
use crate::reason::Reason;
use crate::seconds::seconds;
use crate::state::Replacement;

const NAME: &str = "older image";

/// Of nodes whose successors have proven themselves: they serve no demand any more, and count for neither nodes_min nor
/// nodes_spare.
pub(super) struct OlderImage;

impl Rule for OlderImage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn begin(&mut self, planner: &mut Planner<'_>) {
        planner.remember_images();
        planner.review_replacements();
    }

    fn order(&self, planner: &Planner<'_>) -> Vec<usize> {
        longest_idle(planner, is_active)
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let successor = planner.successor(node)?;
        if planner.no_exchange(node, &successor).is_some() || !planner.takes_over(&successor) {
            return None;
        }
        let mut drain = drain(node, |idle_for| Reason::DrainOlderImage {
            idle_seconds: seconds(idle_for),
            image: node.node_type().image.clone(),
            configured_image: successor.image,
        })?;
        drain.waits = true;
        Some(Verdict::Drain(drain))
    }

    fn waits_for_share(&self) -> bool {
        true
    }

    fn insists(&self) -> bool {
        false
    }

    fn replaces(&self, planner: &Planner<'_>, node: &Node<'_>) -> bool {
        planner.successor(node).is_some()
    }

    /// A drain for an image that the state does not know is cancelled once: another ehos with this pool id requests it again.
    fn keeps_drained(&self, planner: &Planner<'_>, node: &Node<'_>) -> bool {
        let for_image = planner.is_drained_by(node, NAME);
        match planner.successor(node) {
            Some(successor) => {
                for_image
                    || planner.takes_over(&successor)
                        && planner.no_exchange(node, &successor).is_none()
            }
            None => for_image && node.memory.drain.returned.is_some(),
        }
    }
}

/// Where nothing is known of the configured image: one idle node of an older one in each cloud, the longest idle. Under
/// demand, nodes_min or nodes_spare a new one takes its place; where nothing needs one, it would have gone soon.
pub(super) struct ImageTrial;

impl Rule for ImageTrial {
    fn name(&self) -> &'static str {
        NAME
    }

    fn order(&self, planner: &Planner<'_>) -> Vec<usize> {
        longest_idle(planner, is_active)
    }

    fn wants(&mut self, planner: &Planner<'_>, node: &NodePlan<'_>) -> Option<Verdict> {
        let successor = planner.successor(node)?;
        let next = &planner.next;
        if next.replacements.contains_key(&successor.cloud)
            || planner.counts.unjoined_of_kind.contains_key(&successor)
            || next.has_failed(&successor)
            || next.proven(&successor)
            || planner.has_just_returned(node)
            || planner.no_exchange(node, &successor).is_some()
        {
            return None;
        }
        let drain = drain(node, |idle_for| Reason::DrainToTryImage {
            idle_seconds: seconds(idle_for),
            image: node.node_type().image.clone(),
            configured_image: successor.image,
        })?;
        Some(Verdict::Drain(drain))
    }

    fn insists(&self) -> bool {
        false
    }

    fn drained(&mut self, planner: &mut Planner<'_>, index: usize) {
        let node = planner.node(index);
        let Some(node_type) = planner.successor(node) else {
            return;
        };
        let cloud = node_type.cloud.clone();
        let replacement = Replacement {
            node: node.id.clone(),
            node_type,
            at: planner.next.now,
        };
        planner.next.replacements.insert(cloud, replacement);
    }
}

fn is_active(node: &NodePlan<'_>) -> bool {
    let status = node.server.map(|server| server.record().status);
    node.cloud_known && status == Some(ServerStatus::Active)
}

fn drain(node: &Node<'_>, why: impl FnOnce(Duration) -> Reason) -> Option<Drain> {
    let Phase::Idle { idle_for } = node.phase else {
        return None;
    };
    let words = format!("{NAME}, idle {} s", idle_for.as_secs());
    Some(Drain::new(idle_for, words, why(idle_for)))
}
