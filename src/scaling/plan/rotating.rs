//! Nodes of an older image than their cloud is configured with: replaced when they are idle.
//!
//! Where the configured image has proven itself, idle nodes of an older one are drained at once. Where nothing is known
//! of it yet, one node of each cloud is, so that there is room and need for a node of the new image; no other follows
//! before that one has joined.

use std::cmp::Reverse;
use std::time::Duration;

use super::Planner;
use crate::scaling::limits::{self, Limit};
use crate::scaling::memory::{Kind, Replacement};
use crate::scaling::node::{Node, Phase, drain_mark};
use crate::scaling::observation::{Resources, ServerStatus};
use crate::scaling::reason::{Reason, seconds};

/// What the reason of such a drain begins with, after the pool's mark: the startd keeps it, whatever becomes of the
/// state.
const OLDER_IMAGE: &str = "older image,";

impl Planner<'_> {
    /// What would be made in the place of a node of an older image: `None` when it is of none. A server that does not
    /// say its image may be of any.
    fn successor(&self, node: &Node<'_>) -> Option<Kind> {
        let cloud = self.policy.cloud(&node.kind.cloud)?;
        if node.kind.image.is_empty() || node.kind.image == cloud.image {
            return None;
        }
        let same = |flavor: &&String| **flavor == node.kind.flavor;
        let flavor = cloud.flavors.iter().find(same).or(cloud.flavors.first())?;
        Some(Kind {
            cloud: cloud.name.clone(),
            flavor: flavor.clone(),
            image: cloud.image.clone(),
        })
    }

    /// What stands in the way of any node of this kind.
    fn closed(&self, kind: &Kind) -> Option<Limit> {
        let cloud = self.policy.cloud(&kind.cloud)?;
        limits::closed(&self.case(cloud, kind))
    }

    /// Whether nodes of older images make room for this kind: it has proven itself and may be made.
    fn takes_over(&self, successor: &Kind) -> bool {
        self.next.proven(successor) && self.closed(successor).is_none()
    }

    /// Idle nodes of older images that can be drained, with what would take their places, the longest idle first.
    fn idle_of_older_images(&self) -> Vec<(Reverse<Duration>, usize, Kind)> {
        let mut all = Vec::new();
        for (index, node) in self.survey.nodes.iter().enumerate() {
            let Phase::Idle { idle_for } = node.phase else {
                continue;
            };
            let server = node.server.map(|server| server.record().status);
            if self.settled(index) || !node.cloud_known || server != Some(ServerStatus::Active) {
                continue;
            }
            all.extend(
                self.successor(node)
                    .map(|kind| (Reverse(idle_for), index, kind)),
            );
        }
        all.sort_unstable();
        all
    }

    /// Drains the idle nodes of older images whose successors have proven themselves: they serve no demand any more,
    /// and count for neither nodes_min nor nodes_spare.
    pub(super) fn drain_older_images(&mut self) {
        self.review_replacements();
        if self.removal_brake(false).is_some() {
            return;
        }
        for (Reverse(idle_for), index, successor) in self.idle_of_older_images() {
            if self.drains < self.policy.max_actions && self.takes_over(&successor) {
                let why = |image, configured_image| Reason::DrainOlderImage {
                    idle_seconds: seconds(idle_for),
                    image,
                    configured_image,
                };
                self.drain_older(index, idle_for, &successor, why);
            }
        }
    }

    /// Where nothing is known of the configured image: drains one idle node of an older one in each cloud, the longest
    /// idle. Under demand, nodes_min or nodes_spare a new one takes its place; where nothing needs one, it would have
    /// gone soon.
    pub(super) fn try_newer_images(&mut self) {
        if self.removal_brake(false).is_some() {
            return;
        }
        let now = self.next.now;
        for (Reverse(idle_for), index, successor) in self.idle_of_older_images() {
            if self.next.replacements.contains_key(&successor.cloud)
                || self.counts.unjoined_of_kind.contains_key(&successor)
                || self.drains >= self.policy.max_actions
                || self.next.has_failed(&successor)
                || self.next.proven(&successor)
                || self.just_returned(index)
                || self.closed(&successor).is_some()
            {
                continue;
            }
            let why = |image, configured_image| Reason::DrainToTryImage {
                idle_seconds: seconds(idle_for),
                image,
                configured_image,
            };
            if self.drain_older(index, idle_for, &successor, why)
                && let Some(node) = self.survey.nodes.get(index)
            {
                let replacement = Replacement {
                    node: node.id.clone(),
                    kind: successor.clone(),
                    at: now,
                };
                self.next.replacements.insert(successor.cloud, replacement);
            }
        }
    }

    /// Whether its drain was taken back a moment ago.
    fn just_returned(&self, index: usize) -> bool {
        let node = self.survey.nodes.get(index);
        let memory = node.and_then(|node| self.next.nodes.get(&node.id));
        memory
            .and_then(|memory| memory.returned)
            .is_some_and(|at| self.next.now.since(at) < self.policy.idle_timeout)
    }

    fn drain_older(
        &mut self,
        index: usize,
        idle_for: Duration,
        successor: &Kind,
        why: impl Fn(String, String) -> Reason,
    ) -> bool {
        let Some(node) = self.survey.nodes.get(index) else {
            return false;
        };
        let why = why(node.kind.image.clone(), successor.image.clone());
        let reason = format!("{OLDER_IMAGE} idle {} s", seconds(idle_for));
        self.drain(index, idle_for, &reason, why)
    }

    /// Whether a drain of ours stays, because the node is of an older image: it was begun for that, or would be again.
    pub(super) fn leaves_for_its_image(&self, node: &Node<'_>) -> bool {
        let Some(successor) = self.successor(node) else {
            return false;
        };
        let mark = format!("{} {OLDER_IMAGE}", drain_mark(&self.policy.cluster));
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        drain.is_some_and(|drain| drain.reason.starts_with(&mark)) || self.takes_over(&successor)
    }

    /// Forgets the replacements that are over: the new image has proven itself, it is not configured any more, or the
    /// startd did not let itself be drained.
    fn review_replacements(&mut self) {
        let now = self.next.now;
        let mut replacements = std::mem::take(&mut self.next.replacements);
        replacements.retain(|name, replacement| {
            let Replacement { node, kind, at } = replacement;
            let configured = self.policy.cloud(name).is_some_and(|cloud| {
                cloud.image == kind.image && cloud.flavors.contains(&kind.flavor)
            });
            // An ad from before the drain says nothing of it.
            let goes_on = |node: &Node<'_>| {
                matches!(node.phase, Phase::Idle { .. } | Phase::Busy | Phase::Closed)
                    && node
                        .startd
                        .is_some_and(|startd| startd.heard_ago < now.since(*at))
            };
            let mut nodes = self.survey.nodes.iter();
            let refused = nodes.any(|there| there.id == *node && goes_on(there));
            configured && !refused && !self.next.proven(kind)
        });
        self.next.replacements = replacements;
    }

    /// The kind that takes the place of a node which was drained for its image, when nothing of it is on its way: it
    /// goes before what `node_allocation` would choose, or the image would not be tried where it is configured.
    pub(super) fn replacement_for(&self, request: Option<&Resources>) -> Option<Kind> {
        let mut kinds = self.next.replacements.values().map(|entry| &entry.kind);
        let suits = |kind: &&Kind| {
            let Some(cloud) = self.policy.cloud(&kind.cloud) else {
                return false;
            };
            let holds = self
                .capacity(kind)
                .is_some_and(|capacity| request.is_none_or(|request| capacity.holds(request) > 0));
            holds
                && !self.counts.unjoined_of_kind.contains_key(*kind)
                && limits::allowance(&self.case(cloud, kind)).0 > 0
        };
        kinds.find(suits).cloned()
    }

    /// How far each cloud is, for an operator.
    pub(super) fn older_images(&self) -> Vec<String> {
        let mut notices = Vec::new();
        for cloud in &self.policy.clouds {
            let nodes = self.survey.nodes.iter();
            let successors: Vec<Kind> = nodes
                .filter(|node| node.kind.cloud == cloud.name && node.exists())
                .filter(|node| !matches!(node.phase, Phase::Deleting { .. }))
                .filter_map(|node| self.successor(node))
                .collect();
            let proven = successors.iter().filter(|kind| self.next.proven(kind));
            let (all, proven) = (successors.len(), proven.count());
            if all == 0 {
                continue;
            }
            let how = if proven == all {
                "each is replaced when it is idle".to_owned()
            } else {
                let unproven = all - proven;
                format!(
                    "{proven} can be replaced when they are idle, {unproven} wait for a node of their flavor and the \
                     new image to join and take jobs"
                )
            };
            notices.push(format!(
                "cloud {}: nodes of an older image than {}: {all}; {how}",
                cloud.name, cloud.image
            ));
        }
        notices
    }
}
