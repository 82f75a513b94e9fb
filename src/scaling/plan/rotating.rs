//! Nodes of an older image than their cloud is configured with: replaced when they are idle.
//!
//! Where the configured image has proven itself, idle nodes of an older one are drained, a part of the pool at a time.
//! Where nothing is known of it yet, one node of each cloud is, so that there is room and need for a node of the new
//! image; no other follows before that one has run a job.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Fate, Group, Planner};
use crate::scaling::limits::{self, Limit};
use crate::scaling::memory::{ConfiguredImage, Kind, Replacement};
use crate::scaling::needs::Answer;
use crate::scaling::node::{Node, Phase, drain_mark};
use crate::scaling::observation::{Seen, ServerStatus};
use crate::scaling::reason::Reason;
use crate::scaling::seconds::seconds;
use crate::scaling::submitter::Submitters;

/// What the reason of such a drain begins with, after the pool's mark: the startd keeps it, whatever becomes of the
/// state.
const OLDER_IMAGE: &str = "older image,";

/// One of so many nodes of the pool may be away for another image or for its age at a time, and always one.
const AWAY_SHARE: u64 = 4;

/// A server that was asked for in the tick before the image was configured may have been made after it.
const CREATED_LATE: Duration = Duration::from_secs(600);

impl Planner<'_> {
    /// Remembers since when each cloud has its image.
    pub(super) fn remember_images(&mut self) {
        let now = self.next.now;
        let mut images = std::mem::take(&mut self.next.images);
        images.retain(|name, _| self.policy.cloud(name).is_some());
        for cloud in &self.policy.clouds {
            let known = images.get(&cloud.name);
            if known.is_none_or(|known| known.image != cloud.image) {
                let image = cloud.image.clone();
                images.insert(cloud.name.clone(), ConfiguredImage { image, since: now });
            }
        }
        self.next.images = images;
    }

    /// Whether it was made before its cloud's image was configured. One that was adopted and is younger was made by
    /// another ehos with the same pool id, which would take it for ours, and so on for ever.
    fn made_before(&self, node: &Node<'_>) -> bool {
        let memory = self.next.nodes.get(&node.id);
        let (Some(memory), Some(configured)) = (memory, self.next.images.get(&node.kind.cloud))
        else {
            return false;
        };
        let age = node.server.map(|server| server.record().age);
        let since = self.next.now.since(configured.since);
        !memory.adopted || age.is_none_or(|age| age + CREATED_LATE >= since)
    }

    /// What would be made in the place of a node of an older image: `None` when it is of none. A server that does not
    /// say its image may be of any.
    fn successor(&self, node: &Node<'_>) -> Option<Kind> {
        let cloud = self.policy.cloud(&node.kind.cloud)?;
        if node.kind.image.is_empty() || node.kind.image == cloud.image || !self.made_before(node) {
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
        limits::closed(&self.case(cloud, kind, Submitters::NONE))
    }

    /// What stands in the way of one of this kind in the place of a node.
    fn no_exchange(&self, node: &Node<'_>, successor: &Kind) -> Option<Limit> {
        let cloud = self.policy.cloud(&successor.cloud)?;
        let view = self.observation.clouds.get(&successor.cloud);
        let view = view.and_then(Seen::known);
        let leaving = view.and_then(|view| view.flavors.get(&node.kind.flavor));
        limits::exchange(&self.case(cloud, successor, Submitters::NONE), leaving)
    }

    /// How many nodes may be drained now for their images or their age, so that most of the pool is there while others
    /// are replaced.
    pub(super) fn may_leave(&self) -> u64 {
        let leaves = |node: &Node<'_>| node.outlived || self.successor(node).is_some();
        let (mut up, mut leaving, mut coming) = (0, 0, 0);
        for (index, node) in self.survey.nodes.iter().enumerate() {
            // What takes the place of one that is just gone is made in this tick at the earliest.
            let going = matches!(
                node.phase,
                Phase::Draining { ours: true, .. }
                    | Phase::Deleting { ours: true, .. }
                    | Phase::Gone
            ) || self.has_fate(index, Fate::Drains);
            if going && leaves(node) {
                leaving += 1;
            } else if matches!(node.phase, Phase::Idle { .. } | Phase::Busy) {
                up += 1;
            } else if node.coming() {
                coming += 1;
            }
        }
        // One that leaves and one that comes for it are one.
        let away: u64 = coming.max(leaving);
        (up + away).div_ceil(AWAY_SHARE).saturating_sub(away)
    }

    /// Whether nodes of older images make room for this kind: it has proven itself and may be made.
    fn takes_over(&self, successor: &Kind) -> bool {
        // A failure that this tick sees is counted later in it.
        let failed =
            |node: &Node<'_>| node.kind == *successor && matches!(node.phase, Phase::Failed { .. });
        self.next.proven(successor)
            && self.closed(successor).is_none()
            && !self.survey.nodes.iter().any(failed)
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
        if !self.policy.drains() || self.removal_brake(false).is_some() {
            return;
        }
        let mut left = self
            .may_leave()
            .min(self.policy.max_actions.saturating_sub(self.drains));
        for (Reverse(idle_for), index, successor) in self.idle_of_older_images() {
            let node = self.survey.nodes.get(index);
            let room = node.is_some_and(|node| self.no_exchange(node, &successor).is_none());
            if left > 0 && room && self.takes_over(&successor) {
                let why = |image, configured_image| Reason::DrainOlderImage {
                    idle_seconds: seconds(idle_for),
                    image,
                    configured_image,
                };
                left -= u64::from(self.drain_older(index, idle_for, &successor, why));
            }
        }
    }

    /// Where nothing is known of the configured image: drains one idle node of an older one in each cloud, the longest
    /// idle. Under demand, nodes_min or nodes_spare a new one takes its place; where nothing needs one, it would have
    /// gone soon.
    pub(super) fn try_newer_images(&mut self) {
        if !self.policy.drains() || self.removal_brake(false).is_some() {
            return;
        }
        let now = self.next.now;
        for (Reverse(idle_for), index, successor) in self.idle_of_older_images() {
            let node = self.survey.nodes.get(index);
            if self.next.replacements.contains_key(&successor.cloud)
                || self.counts.unjoined_of_kind.contains_key(&successor)
                || self.drains >= self.policy.max_actions
                || self.next.has_failed(&successor)
                || self.next.proven(&successor)
                || self.just_returned(index)
                || node.is_none_or(|node| self.no_exchange(node, &successor).is_some())
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
        let reason = format!("{OLDER_IMAGE} idle {} s", idle_for.as_secs());
        self.drain(index, idle_for, &reason, why)
    }

    /// Whether a drain of ours stays, because the node is of an older image: it was begun for that, or would be again.
    /// One that was begun for an image, though this state knows of no other, is taken back once: then another ehos with
    /// this pool id has begun it.
    pub(super) fn leaves_for_its_image(&self, node: &Node<'_>) -> bool {
        let mark = format!("{} {OLDER_IMAGE}", drain_mark(&self.policy.cluster));
        let drain = node.startd.and_then(|startd| startd.draining.as_ref());
        let for_image = drain.is_some_and(|drain| drain.reason.starts_with(&mark));
        match self.successor(node) {
            Some(successor) => {
                for_image
                    || self.takes_over(&successor) && self.no_exchange(node, &successor).is_none()
            }
            None => {
                let memory = self.next.nodes.get(&node.id);
                for_image && memory.is_some_and(|memory| memory.returned.is_some())
            }
        }
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
    pub(super) fn replacement_for(&self, group: Option<&Group>) -> Option<Kind> {
        let asks = group.map(|group| &group.asks);
        let submitters = group.map_or(Submitters::NONE, |group| &group.submitters);
        let mut kinds = self.next.replacements.values().map(|entry| &entry.kind);
        let suits = |kind: &&Kind| {
            let Some(cloud) = self.policy.cloud(&kind.cloud) else {
                return false;
            };
            let holds = self.capacity(kind).is_some_and(|capacity| {
                let holds = |asks| {
                    let request = self.observation.matches.request(kind, asks);
                    capacity.holds(&request) > 0
                };
                asks.is_none_or(holds)
            });
            let takes =
                |asks| matches!(self.answer(kind, asks), Answer::Takes | Answer::Perhaps(_));
            holds
                && asks.is_none_or(takes)
                && !self.counts.unjoined_of_kind.contains_key(*kind)
                && limits::allowance(&self.case(cloud, kind, submitters)).0 > 0
        };
        kinds.find(suits).cloned()
    }

    /// How far each cloud is, for an operator.
    pub(super) fn older_images(&self) -> Vec<String> {
        let mut notices = Vec::new();
        for cloud in &self.policy.clouds {
            let nodes = self.survey.nodes.iter();
            let older: Vec<(&Node<'_>, Kind)> = nodes
                .filter(|node| node.kind.cloud == cloud.name && node.exists())
                .filter(|node| !matches!(node.phase, Phase::Deleting { .. }))
                .filter_map(|node| Some((node, self.successor(node)?)))
                .collect();
            let all = older.len();
            if all == 0 {
                continue;
            }
            if !self.policy.drains() {
                notices.push(format!(
                    "cloud {}: nodes of an older image than {}: {all}; each ends by itself when nobody has claimed it for \
                     a while, and takes jobs until then",
                    cloud.name, cloud.image
                ));
                continue;
            }
            let proven = older.iter().filter(|(_, kind)| self.next.proven(kind));
            let held: Vec<Limit> = proven
                .clone()
                .filter_map(|(node, kind)| self.no_exchange(node, kind))
                .collect();
            let unproven = all - proven.count();
            let mut parts = Vec::new();
            match all - unproven - held.len() {
                0 => {}
                can if can == all => parts.push("each is replaced when it is idle".to_owned()),
                can => parts.push(format!("{can} can be replaced when they are idle")),
            }
            if let Some(limit) = held.first() {
                parts.push(format!("{} wait because of {limit}", held.len()));
            }
            if unproven > 0 {
                parts.push(format!(
                    "{unproven} wait for a node of their flavor and the new image to run a job"
                ));
            }
            let how = parts.join(", ");
            notices.push(format!(
                "cloud {}: nodes of an older image than {}: {all}; {how}",
                cloud.name, cloud.image
            ));
        }
        notices
    }
}
