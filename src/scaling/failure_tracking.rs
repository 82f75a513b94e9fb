//! Failures of node types: backoff, and the protected mode of a node type that is broken.
//!
//! Every failure delays the next node of the type longer, up to `backoff_max`. Protected mode follows only failures that
//! show a broken type: a message about image, flavor or user data, a server that ran and never joined, or an unknown cause
//! while nodes of another type of the same cloud join. The failures are reset when a node of the type joins and runs jobs,
//! by `ehos resume`, and `backoff_reset` after the last one. Only the first two end protected mode.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::observation::CloudName;
use super::policy::Policy;
use super::refusal::About;
use super::state::{NodeType, NodeTypeState, State, TickInstant};

/// Nothing more is made of a kind of node, until an operator says so or one of it joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protected {
    /// Since when, by the machine's clock: for people.
    pub since: Timestamp,
    /// After how many failures in a row.
    pub failures: u32,
}

/// A kind of node in protected mode, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedKind {
    pub cloud: CloudName,
    pub flavor: String,
    pub image: String,
    pub since: Timestamp,
    /// After how many failures in a row.
    pub failures: u32,
    pub last_failure: String,
}

impl fmt::Display for ProtectedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProtectedKind {
            cloud,
            flavor,
            image,
            since,
            failures,
            last_failure,
        } = self;
        write!(
            f,
            "cloud {cloud}: creates of {flavor} from image {image} blocked since {since:.0}: {failures} consecutive failures, \
             the last: {last_failure}; correct the cause, then run `ehos resume {cloud}`"
        )
    }
}

/// What `ehos resume` has forgotten of one kind of node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resumed {
    /// The flavor; none where the cloud itself had asked for a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its failures in a row.
    pub failures: u32,
    /// It was in protected mode.
    pub protected: bool,
    /// The last failure, or why the cloud had asked for a pause.
    pub last_failure: String,
}

/// Whether Nova reports only that it has tried every host, without the cause.
pub fn is_no_valid_host(fault: &str) -> bool {
    fault.contains("Exhausted all hosts")
}

/// What a node has failed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its server ran, and it did not join, or takes no jobs: that is what the kind is made of.
    Boot,
    /// Its cloud refused it, or could not make it.
    Refused(About),
    /// The node did not join while many joined nodes are silent: the cause is unknown.
    Unheard,
}

impl NodeTypeState {
    /// Nothing but what it is.
    pub fn new(node_type: NodeType) -> NodeTypeState {
        NodeTypeState {
            node_type,
            joined: 0,
            ran_jobs: false,
            capacity: None,
            capacity_shown: None,
            failures: 0,
            faults: 0,
            failed_at: None,
            backoff_until: None,
            last_failure: None,
            protected: None,
        }
    }

    /// Its nodes showed a capacity that was too small for waiting jobs; the next one is to show it again.
    pub fn is_doubted(&self) -> bool {
        self.capacity.is_none() && self.capacity_shown.is_some()
    }

    /// Forgets its failures.
    pub(super) fn reset_failures(&mut self) {
        self.failures = 0;
        self.faults = 0;
        self.failed_at = None;
        self.backoff_until = None;
        self.last_failure = None;
        self.protected = None;
    }
}

impl State {
    /// Counts a failure of what was asked for at `asked_for`: the next node of the kind waits for `backoff_initial`, doubling to
    /// `backoff_max`, and so on without an end. After `protect_after` of those that show that the kind is broken there
    /// is none. What was asked for before the last failure that was counted says nothing new: several failures of one tick
    /// count once.
    pub fn count_failure(
        &mut self,
        node_type: &NodeType,
        asked_for: TickInstant,
        why: &str,
        cause: Cause,
        policy: &Policy,
    ) {
        let now = self.now;
        let at = self.last_tick;
        let broken = match cause {
            Cause::Boot => true,
            Cause::Unheard => false,
            Cause::Refused(about) => {
                about.is_of_the_kind()
                    || about.meets_all() && self.others_joined(node_type, asked_for)
            }
        };
        let memory = self.node_type_mut(node_type);
        if memory.failed_at.is_some_and(|failed| asked_for <= failed) {
            return;
        }
        let wait = policy.backoff(memory.failures);
        memory.failures = memory.failures.saturating_add(1);
        memory.faults = memory.faults.saturating_add(u32::from(broken));
        memory.failed_at = Some(now);
        memory.backoff_until = Some(now.plus(wait));
        memory.last_failure = Some(why.to_owned());
        if u64::from(memory.faults) >= policy.protect_after && memory.protected.is_none() {
            memory.protected = Some(Protected {
                since: at.unwrap_or(Timestamp::UNIX_EPOCH),
                failures: memory.faults,
            });
        }
    }

    /// Whether a node of another kind of the same cloud has joined since then: what ails the whole cloud would have met it.
    fn others_joined(&self, node_type: &NodeType, since: TickInstant) -> bool {
        self.nodes.values().any(|node| {
            node.node_type.cloud == node_type.cloud
                && node.node_type != *node_type
                && node.join.proven
                && !node.adopted
                && node.join.joined >= Some(since)
        })
    }

    /// Forgets failures whose last is older than `backoff_reset`, but for those that made a kind protected.
    pub(super) fn forget_failures(&mut self, policy: &Policy) {
        let now = self.now;
        for memory in &mut self.node_types {
            let old = memory
                .failed_at
                .is_some_and(|at| now.since(at) >= policy.backoff_reset);
            if old && memory.protected.is_none() {
                memory.reset_failures();
            }
        }
    }

    /// Forgets kinds that are not configured any more and of which there is no node: each new image is one. Those that have
    /// failed are remembered as long as their failures.
    pub(super) fn forget_kinds(&mut self, policy: &Policy) {
        let nodes = &self.nodes;
        let is_used =
            |node_type: &NodeType| nodes.values().any(|node| node.node_type == *node_type);
        self.node_types.retain(|memory| {
            let node_type = &memory.node_type;
            node_type.is_configured(policy) || memory.failures > 0 || is_used(node_type)
        });
    }

    /// The kinds of the configuration that are in protected mode.
    pub fn protected(&self, policy: &Policy) -> Vec<ProtectedKind> {
        let mut all = Vec::new();
        for cloud in &policy.clouds {
            for flavor in &cloud.flavors {
                let node_type = NodeType::of(cloud, flavor);
                if let Some(memory) = self.node_type(&node_type)
                    && let Some(protected) = &memory.protected
                {
                    all.push(ProtectedKind {
                        cloud: node_type.cloud,
                        flavor: node_type.flavor,
                        image: node_type.image,
                        since: protected.since,
                        failures: protected.failures,
                        last_failure: memory.last_failure.clone().unwrap_or_default(),
                    });
                }
            }
        }
        all
    }

    /// Forgets all failures in a cloud, and the pause that it asked for: an operator has mended it.
    pub fn resume(&mut self, cloud: &str) -> Vec<Resumed> {
        let mut all = Vec::new();
        self.zones.retain(|memory| memory.cloud != cloud);
        for memory in &mut self.node_types {
            if memory.node_type.cloud != cloud || memory.failures == 0 {
                continue;
            }
            all.push(Resumed {
                flavor: Some(memory.node_type.flavor.clone()),
                image: Some(memory.node_type.image.clone()),
                failures: memory.failures,
                protected: memory.protected.is_some(),
                last_failure: memory.last_failure.clone().unwrap_or_default(),
            });
            memory.reset_failures();
        }
        let now = self.now;
        let pause = self.pauses.remove(cloud);
        all.extend(
            pause
                .filter(|pause| pause.until > now)
                .map(|pause| Resumed {
                    flavor: None,
                    image: None,
                    failures: 0,
                    protected: false,
                    last_failure: pause.why,
                }),
        );
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::NodeId;
    use crate::policy::CloudPolicy;
    use crate::refusal::of_fault;
    use crate::state::{NodeState, Pause};

    fn node_type() -> NodeType {
        NodeType {
            cloud: "a".into(),
            flavor: "f".into(),
            image: "i".into(),
        }
    }

    fn policy() -> Policy {
        let mut policy = Policy::new("c");
        policy
            .clouds
            .push(CloudPolicy::new("a", vec!["f".into()], "i"));
        policy
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    /// A failure of a node that was asked for now; how long the next one waits, in minutes.
    fn fails(state: &mut State, why: &str) -> u64 {
        state.now = state.now.plus(minutes(1));
        let now = state.now;
        let cause = match why {
            "broken" | "broken for good" => Cause::Boot,
            _ => Cause::Refused(of_fault(why)),
        };
        state.count_failure(&node_type(), now, why, cause, &policy());
        let memory = state.node_type(&node_type()).unwrap();
        memory.backoff_until.unwrap().since(now).as_secs() / 60
    }

    #[test]
    fn failures_double_the_wait_up_to_the_longest() {
        let mut state = State::default();
        let waits: Vec<u64> = (0..6).map(|_| fails(&mut state, "broken")).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn what_was_asked_for_before_a_failure_says_nothing_new() {
        let mut state = State::default();
        let asked_for = state.now;
        fails(&mut state, "broken");
        state.now = state.now.plus(minutes(1));
        state.count_failure(
            &node_type(),
            asked_for,
            "broken too",
            Cause::Boot,
            &policy(),
        );
        assert_eq!(state.node_type(&node_type()).unwrap().failures, 1);
    }

    #[test]
    fn after_many_failures_a_kind_is_protected_and_time_does_not_end_that() {
        let mut state = State::default();
        for _ in 0..4 {
            fails(&mut state, "broken");
        }
        assert_eq!(state.protected(&policy()), []);
        fails(&mut state, "broken for good");
        let protected = state.protected(&policy());
        assert_eq!(protected.len(), 1);
        assert_eq!(
            (protected[0].failures, &*protected[0].last_failure),
            (5, "broken for good")
        );
        state.now = state.now.plus(minutes(24 * 60));
        state.forget_failures(&policy());
        assert_eq!(state.protected(&policy()).len(), 1);
        let mut other = policy();
        other.clouds[0].image = "mended".into();
        assert_eq!(
            state.protected(&other),
            [],
            "another image is another node type"
        );
    }

    #[test]
    fn want_of_room_backs_off_and_protects_from_nothing() {
        let mut state = State::default();
        let waits: Vec<u64> = (0..9)
            .map(|_| fails(&mut state, "No valid host was found. "))
            .collect();
        assert_eq!(waits.last(), Some(&60));
        assert_eq!(state.protected(&policy()), []);
    }

    #[test]
    fn what_is_not_understood_backs_off_and_protects_from_nothing() {
        for fault in [
            "Build of instance 9 aborted: something that nobody has foreseen",
            "Project 0123 is over a limit for [Resource class:PCPU is over limit of 8 due to current usage 8 and delta 2]",
            "Build of instance 9 aborted: Network 5a could not be found.",
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance 5a6.",
            "",
        ] {
            let mut state = State::default();
            let waits: Vec<u64> = (0..200).map(|_| fails(&mut state, fault)).collect();
            assert_eq!(waits.last(), Some(&60), "{fault}");
            assert_eq!(state.protected(&policy()), [], "{fault}");
        }
    }

    #[test]
    fn what_speaks_of_image_flavor_or_user_data_counts_against_the_kind() {
        for fault in [
            "Build of instance 9 aborted: Image 77 is unacceptable: Unable to convert image to raw",
            "Flavor's memory is too small for requested image.",
            "User data needs to be valid base 64.",
        ] {
            let mut state = State::default();
            for _ in 0..5 {
                fails(&mut state, fault);
            }
            assert_eq!(state.protected(&policy()).len(), 1, "{fault}");
        }
    }

    #[test]
    fn what_fails_while_others_of_its_cloud_join_is_broken_itself() {
        let joins = |state: &mut State, flavor: &str, cloud: &str| {
            let node_type = NodeType {
                cloud: cloud.into(),
                flavor: flavor.into(),
                image: "i".into(),
            };
            let at = jiff::Timestamp::UNIX_EPOCH;
            let mut node = NodeState::new(node_type, "n", at, state.now);
            node.join.joined = Some(state.now.plus(minutes(2)));
            node.join.proven = true;
            state
                .nodes
                .insert(NodeId(format!("{:?}", state.now).into()), node.into());
        };
        for (flavor, cloud, fault, protected) in [
            ("g", "a", "Build of instance 9 aborted: unforeseen", true),
            ("g", "b", "Build of instance 9 aborted: unforeseen", false),
            ("f", "a", "Build of instance 9 aborted: unforeseen", false),
            ("g", "a", "No valid host was found. ", false),
            (
                "g",
                "a",
                "Build of instance 9 aborted: Security group 5a not found.",
                false,
            ),
        ] {
            let mut state = State::default();
            for _ in 0..5 {
                joins(&mut state, flavor, cloud);
                fails(&mut state, fault);
            }
            let found = state.protected(&policy());
            assert_eq!(
                found.len(),
                usize::from(protected),
                "{flavor} {cloud} {fault}"
            );
        }
        // Those that joined before it was asked for say nothing of now.
        let mut state = State::default();
        joins(&mut state, "g", "a");
        state.now = state.now.plus(minutes(30));
        for _ in 0..9 {
            fails(&mut state, "Build of instance 9 aborted: unforeseen");
        }
        assert_eq!(state.protected(&policy()), []);
    }

    #[test]
    fn failures_are_forgotten_three_hours_after_the_last() {
        let mut state = State::default();
        fails(&mut state, "broken");
        fails(&mut state, "broken");
        state.now = state.now.plus(minutes(179));
        state.forget_failures(&policy());
        assert_eq!(state.node_type(&node_type()).unwrap().failures, 2);
        state.now = state.now.plus(minutes(1));
        state.forget_failures(&policy());
        assert_eq!(fails(&mut state, "broken"), 5, "as the first one");
    }

    #[test]
    fn resume_forgets_what_one_cloud_did() {
        let mut state = State::default();
        for _ in 0..5 {
            fails(&mut state, "broken");
        }
        let until = state.now.plus(minutes(5));
        let why = "429".to_owned();
        state.pauses.insert("a".into(), Pause { until, why });
        let before = state.clone();
        assert_eq!(state.resume("b"), []);
        assert_eq!(state, before);
        let resumed = state.resume("a");
        assert_eq!(resumed.len(), 2);
        assert!(resumed[0].protected);
        assert_eq!(resumed[1].last_failure, "429");
        assert_eq!(state.protected(&policy()), []);
        assert_eq!(fails(&mut state, "broken"), 5);
        assert_eq!(state.pauses.len(), 0);
    }
}
