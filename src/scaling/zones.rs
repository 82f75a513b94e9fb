//! Availability zones: nodes are spread over the configured ones, and a full zone gets a backoff.
//!
//! The flavor as a whole backs off only if all zones are full.

use serde::{Deserialize, Serialize};

use super::observation::CloudName;
use super::policy::{CloudPolicy, Policy};
use super::seconds::seconds;
use super::state::{NodeType, State, TickInstant};

/// A zone that had no room for a flavor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneState {
    pub cloud: CloudName,
    pub zone: String,
    pub flavor: String,
    /// How often in a row.
    pub failures: u32,
    /// When it last failed.
    pub failed_at: TickInstant,
    /// The end of its backoff, during which other zones are used.
    pub until: TickInstant,
    /// What the cloud said.
    #[serde(rename = "cause", alias = "why")]
    pub why: String,
}

impl ZoneState {
    fn is_of(&self, node_type: &NodeType, zone: &str) -> bool {
        self.cloud == node_type.cloud && self.flavor == node_type.flavor && self.zone == zone
    }
}

impl State {
    fn zone(&self, cloud: &str, flavor: &str, zone: &str) -> Option<&ZoneState> {
        self.zones
            .iter()
            .find(|memory| memory.cloud == cloud && memory.flavor == flavor && memory.zone == zone)
    }

    /// Whether the zone is in backoff.
    fn is_full(&self, cloud: &str, flavor: &str, zone: &str) -> bool {
        self.zone(cloud, flavor, zone)
            .is_some_and(|memory| memory.until > self.now)
    }

    /// The zone of the next node of `flavor`: the one with the fewest nodes of those that are not full, the first in the
    /// configuration of equal ones. When all are full, the one that is to be tried first.
    pub fn zone_for(&self, cloud: &CloudPolicy, flavor: &str) -> Option<String> {
        let nodes = |zone: &str| {
            let here = self.nodes.values().filter(|memory| {
                memory.node_type.cloud == cloud.name
                    && memory.zone.as_deref() == Some(zone)
                    && !memory.failed
                    && memory.delete.intended.is_none()
            });
            here.count()
        };
        let full_until = |zone: &str| {
            self.zone(&cloud.name, flavor, zone)
                .map(|memory| memory.until)
                .filter(|until| *until > self.now)
        };
        let zones = cloud.zones.iter();
        zones
            .min_by_key(|zone| (full_until(zone), nodes(zone)))
            .cloned()
    }

    /// Remembers that a zone had no room for what was asked for at `asked_for`, and passes over it for `backoff_initial`,
    /// doubling to `backoff_max`. True when another zone is left, so that the flavor itself need not wait.
    pub fn count_full_zone(
        &mut self,
        node_type: &NodeType,
        zone: &str,
        asked_for: TickInstant,
        why: &str,
        policy: &Policy,
    ) -> bool {
        let Some(cloud) = policy.cloud(&node_type.cloud) else {
            return false;
        };
        if cloud.zones.len() < 2 || !cloud.zones.iter().any(|known| known == zone) {
            return false;
        }
        let now = self.now;
        let before = self
            .zone(&node_type.cloud, &node_type.flavor, zone)
            .cloned();
        // What was asked for before says nothing new.
        if before
            .as_ref()
            .is_none_or(|memory| asked_for > memory.failed_at)
        {
            let failures = before.map_or(0, |memory| memory.failures);
            self.zones.retain(|memory| !memory.is_of(node_type, zone));
            self.zones.push(ZoneState {
                cloud: node_type.cloud.clone(),
                zone: zone.to_owned(),
                flavor: node_type.flavor.clone(),
                failures: failures.saturating_add(1),
                failed_at: now,
                until: now.plus(policy.backoff(failures)),
                why: why.to_owned(),
            });
        }
        let mut zones = cloud.zones.iter();
        zones.any(|other| !self.is_full(&node_type.cloud, &node_type.flavor, other))
    }

    /// A server that was asked for at `asked_for` runs there: the zone has room.
    pub(super) fn zone_has_room(
        &mut self,
        node_type: &NodeType,
        zone: &str,
        asked_for: TickInstant,
    ) {
        self.zones
            .retain(|memory| !memory.is_of(node_type, zone) || memory.failed_at >= asked_for);
    }

    /// Forgets zones whose last failure is older than `backoff_reset`, and those that are not configured any more.
    pub(super) fn forget_zones(&mut self, policy: &Policy) {
        let now = self.now;
        self.zones.retain(|memory| {
            let configured = policy
                .cloud(&memory.cloud)
                .is_some_and(|cloud| cloud.zones.contains(&memory.zone));
            configured && now.since(memory.failed_at) < policy.backoff_reset
        });
    }

    /// Notices for the zones in backoff.
    pub(super) fn full_zones(&self, policy: &Policy) -> Vec<String> {
        let now = self.now;
        let full = self.zones.iter().filter(|memory| memory.until > now);
        let told = full.filter(|memory| policy.cloud(&memory.cloud).is_some());
        told.map(|memory| {
            let ZoneState {
                cloud,
                zone,
                flavor,
                until,
                why,
                ..
            } = memory;
            format!(
                "cloud {cloud}: zone {zone} in backoff for {flavor}, for {}, after: {}",
                seconds(until.since(now)),
                why.trim_end()
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::NodeId;
    use crate::state::NodeState;

    fn node_type() -> NodeType {
        NodeType {
            cloud: "a".into(),
            flavor: "f".into(),
            image: "i".into(),
        }
    }

    fn policy(zones: &[&str]) -> Policy {
        let mut policy = Policy::new("c");
        policy.clouds.push(CloudPolicy {
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            ..CloudPolicy::new("a", vec!["f".into()], "i")
        });
        policy
    }

    fn later(state: &mut State, minutes: u64) {
        state.now = state.now.plus(Duration::from_secs(minutes * 60));
    }

    fn next(state: &State, policy: &Policy) -> String {
        state.zone_for(&policy.clouds[0], "f").unwrap()
    }

    /// A node that was made there now has no room.
    fn fails(state: &mut State, zone: &str, policy: &Policy) -> bool {
        later(state, 1);
        let now = state.now;
        state.count_full_zone(&node_type(), zone, now, "No valid host was found. ", policy)
    }

    fn node(state: &mut State, id: &str, zone: &str) {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let mut memory = NodeState::new(node_type(), id, at, state.now);
        memory.zone = Some(zone.to_owned());
        state.nodes.insert(NodeId(id.into()), memory.into());
    }

    #[test]
    fn nodes_are_spread_over_the_zones() {
        let policy = policy(&["z1", "z2", "z3"]);
        let mut state = State::default();
        let mut seen = Vec::new();
        for number in 0..7 {
            let zone = next(&state, &policy);
            node(&mut state, &number.to_string(), &zone);
            seen.push(zone);
        }
        assert_eq!(seen, ["z1", "z2", "z3", "z1", "z2", "z3", "z1"]);
        let without = CloudPolicy::new("a", vec!["f".into()], "i");
        assert_eq!(state.zone_for(&without, "f"), None);
    }

    #[test]
    fn a_full_zone_is_passed_over_and_its_flavor_waits_only_when_all_are() {
        let policy = policy(&["z1", "z2"]);
        let mut state = State::default();
        assert!(fails(&mut state, "z1", &policy), "z2 is left");
        assert_eq!(next(&state, &policy), "z2");
        assert_eq!(
            state.full_zones(&policy),
            ["cloud a: zone z1 in backoff for f, for 5 min, after: No valid host was found."]
        );
        assert!(!fails(&mut state, "z2", &policy), "none is left");
        assert_eq!(next(&state, &policy), "z1", "the first to be tried again");
        later(&mut state, 5);
        assert!(fails(&mut state, "z1", &policy), "z2 may be tried again");
        later(&mut state, 6);
        assert_eq!(
            next(&state, &policy),
            "z2",
            "the second wait is twice as long"
        );
        assert_eq!(state.zone_for(&policy.clouds[0], "g").unwrap(), "z1");
    }

    #[test]
    fn several_of_one_tick_count_once_and_a_server_that_runs_forgives() {
        let policy = policy(&["z1", "z2"]);
        let mut state = State::default();
        let asked_for = state.now;
        later(&mut state, 1);
        for _ in 0..3 {
            state.count_full_zone(&node_type(), "z1", asked_for, "No valid host", &policy);
        }
        assert_eq!(state.zones[0].failures, 1);
        state.zone_has_room(&node_type(), "z1", asked_for);
        assert_eq!(state.zones.len(), 1, "it was asked for before");
        later(&mut state, 1);
        let asked_for = state.now;
        state.zone_has_room(&node_type(), "z1", asked_for);
        assert_eq!(state.zones, []);
    }

    #[test]
    fn one_zone_and_none_are_as_before() {
        for zones in [&["z1"][..], &[]] {
            let policy = policy(zones);
            let mut state = State::default();
            assert!(!fails(&mut state, "z1", &policy));
            assert_eq!(state.zones, [], "the flavor backs off");
        }
    }

    #[test]
    fn old_and_unconfigured_ones_are_forgotten() {
        let mut state = State::default();
        fails(&mut state, "z1", &policy(&["z1", "z2"]));
        state.forget_zones(&policy(&["z1", "z2"]));
        assert_eq!(state.zones.len(), 1);
        let mut other = state.clone();
        other.forget_zones(&policy(&["z2", "z3"]));
        assert_eq!(other.zones, []);
        later(&mut state, 180);
        state.forget_zones(&policy(&["z1", "z2"]));
        assert_eq!(state.zones, []);
    }
}
