//! The configured image of each cloud: replacements for nodes with an outdated image, and their limits.

use std::time::Duration;

use super::NodeDecision;
use super::planner::{JobGroup, NodePlan, Planner};
use crate::job_requirements::MatchAnswer;
use crate::limits::{self, Limit};
use crate::node::{Node, Phase};
use crate::observation::Observed;
use crate::state::{ConfiguredImage, NodeType, Replacement};
use crate::submitter::Submitters;

/// A server that was asked for in the tick before the image was configured may have been made after it.
const CREATED_LATE: Duration = Duration::from_secs(600);

impl Planner<'_> {
    /// Remembers since when each cloud has its image.
    pub(super) fn remember_images(&mut self) {
        let since = self.next.now;
        let images = &mut self.next.images;
        images.retain(|name, _| self.policy.cloud(name).is_some());
        for cloud in &self.policy.clouds {
            let known = images.get(&cloud.name);
            if known.is_none_or(|known| known.image != cloud.image) {
                let image = cloud.image.clone();
                images.insert(cloud.name.clone(), ConfiguredImage { image, since });
            }
        }
    }

    /// Whether the node was created before the image of its cloud was configured. A younger adopted node was created by
    /// another ehos with the same pool id, and the two would replace each other's nodes without end.
    fn made_before(&self, node: &Node<'_>) -> bool {
        let Some(configured) = self.next.images.get(&node.node_type().cloud) else {
            return false;
        };
        let age = node.server.map(|server| server.record().age);
        let since = self.next.now.since(configured.since);
        !node.memory.adopted || age.is_none_or(|age| age + CREATED_LATE >= since)
    }

    /// What would be made in the place of a node of an older image: `None` when it is of none. A server that does not
    /// say its image may be of any.
    pub(super) fn successor(&self, node: &Node<'_>) -> Option<NodeType> {
        if !node.other_image || !self.made_before(node) {
            return None;
        }
        let cloud = node.cloud(self.policy)?;
        let same = |flavor: &&String| **flavor == node.node_type().flavor;
        let flavor = cloud.flavors.iter().find(same).or(cloud.flavors.first())?;
        Some(NodeType::of(cloud, flavor))
    }

    /// What stands in the way of one of this kind in the place of a node.
    pub(super) fn no_exchange(&self, node: &Node<'_>, successor: &NodeType) -> Option<Limit> {
        let cloud = self.policy.cloud(&successor.cloud)?;
        let view = self.observation.clouds.get(&successor.cloud);
        let view = view.and_then(Observed::known);
        let leaving = view.and_then(|view| view.flavors.get(&node.node_type().flavor));
        limits::exchange(&self.case(cloud, successor, Submitters::NONE), leaving)
    }

    /// Whether nodes of older images make room for this kind: it has proven itself and may be made.
    pub(super) fn takes_over(&self, successor: &NodeType) -> bool {
        let closed = |cloud| limits::closed(&self.case(cloud, successor, Submitters::NONE));
        // A failure that this tick sees is counted later in it.
        let failed = |node: &NodePlan<'_>| {
            matches!(node.phase, Phase::Failed { .. }) && node.node_type() == successor
        };
        self.next.proven(successor)
            && self
                .policy
                .cloud(&successor.cloud)
                .and_then(closed)
                .is_none()
            && !self.ending.iter().any(|index| failed(self.node(*index)))
    }

    /// Whether its drain was cancelled recently.
    pub(super) fn has_just_returned(&self, node: &Node<'_>) -> bool {
        node.memory
            .drain
            .returned
            .is_some_and(|at| self.next.now.since(at) < self.policy.idle_timeout)
    }

    /// Forgets the replacements that are over: the new image has proven itself, it is not configured any more, or the
    /// startd did not let itself be drained.
    pub(super) fn review_replacements(&mut self) {
        let now = self.next.now;
        let mut replacements = std::mem::take(&mut self.next.replacements);
        replacements.retain(|_, replacement| {
            let Replacement {
                node,
                node_type,
                at,
            } = replacement;
            // An ad from before the drain says nothing of it.
            let goes_on = |node: &Node<'_>| {
                let heard = node.startd.map(|startd| startd.heard_ago);
                matches!(
                    node.phase,
                    Phase::Idle { .. } | Phase::Busy | Phase::StartFalse
                ) && heard.is_some_and(|ago| ago < now.since(*at))
            };
            let mut nodes = self.nodes.iter();
            let refused = nodes.any(|there| there.id == *node && goes_on(there));
            node_type.is_configured(self.policy) && !refused && !self.next.proven(node_type)
        });
        self.next.replacements = replacements;
    }

    /// The kind that takes the place of a node which was drained for its image, when nothing of it is on its way: it
    /// goes before what `node_allocation` would choose, or the image would not be tried where it is configured.
    pub(super) fn replacement_for(&self, group: Option<&JobGroup>) -> Option<NodeType> {
        let asks = group.map(|group| &group.asks);
        let submitters = group.map_or(Submitters::NONE, |group| &group.submitters);
        let mut node_types = self
            .next
            .replacements
            .values()
            .map(|entry| &entry.node_type);
        let suits = |node_type: &&NodeType| {
            let Some(cloud) = self.policy.cloud(&node_type.cloud) else {
                return false;
            };
            let holds = self.capacity(node_type).is_some_and(|capacity| {
                let holds = |asks| {
                    let request = self.observation.matches.request(node_type, asks);
                    capacity.fits(&request)
                };
                asks.is_none_or(holds)
            });
            let takes = |asks| {
                matches!(
                    self.answer(node_type, asks),
                    MatchAnswer::Takes | MatchAnswer::Perhaps(_)
                )
            };
            holds
                && asks.is_none_or(takes)
                && !self.counts.unjoined_of_kind.contains_key(*node_type)
                && limits::allowance(&self.case(cloud, node_type, submitters)).0 > 0
        };
        node_types.find(suits).cloned()
    }

    /// How far each cloud is, for an operator.
    pub(super) fn older_images(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let of_other_images: Vec<&NodePlan<'_>> =
            self.noticed().filter(|node| node.other_image).collect();
        for (place, cloud) in self.policy.clouds.iter().enumerate() {
            let nodes = of_other_images.iter().copied();
            let older: Vec<(&NodePlan<'_>, NodeType)> = nodes
                .filter(|node| node.place == Some(place))
                .filter(|node| node.may_be_replaced() && !node.is(NodeDecision::Forget))
                .filter_map(|node| Some((node, self.successor(node)?)))
                .collect();
            if older.is_empty() {
                continue;
            }
            let how = match self.policy.drains() {
                true => self.how_replaced(&older),
                false => "each accepts jobs until it shuts itself down, after idle_timeout without a claim".to_owned(),
            };
            notices.push(format!(
                "cloud {}: nodes with an outdated image (configured: {}): {}; {how}",
                cloud.name,
                cloud.image,
                older.len(),
            ));
        }
        notices
    }

    fn how_replaced(&self, older: &[(&NodePlan<'_>, NodeType)]) -> String {
        let all = older.len();
        let proven = older
            .iter()
            .filter(|(_, node_type)| self.next.proven(node_type));
        let held: Vec<Limit> = proven
            .clone()
            .filter_map(|(node, node_type)| self.no_exchange(node, node_type))
            .collect();
        let unproven = all - proven.count();
        let mut parts = Vec::new();
        match all - unproven - held.len() {
            0 => {}
            can if can == all => parts.push("ehos replaces each once it is idle".to_owned()),
            can => parts.push(format!("ehos replaces {can} once they are idle")),
        }
        if let Some(limit) = held.first() {
            parts.push(format!("{} wait, limited by {limit}", held.len()));
        }
        if unproven > 0 {
            parts.push(format!(
                "{unproven} wait until a node of their flavor with the configured image has run a job"
            ));
        }
        parts.join(", ")
    }
}
