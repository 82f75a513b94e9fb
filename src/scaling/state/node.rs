//! What is remembered of a node, in the parts of its life. In a state file all fields stand side by side.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::node_fields::NodeFields;
use super::{Age, NodeType, TickInstant};
use crate::job_requirements::JobGroupKey;
use crate::maintenance::Requests;
use crate::matching::host_of;
use crate::observation::{AttachedVolume, StartdView};
use crate::shared_text::SharedText;
use crate::submitter::Submitters;

/// Where a startd was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub machine: String,
    /// `MyAddress`.
    pub address: Option<String>,
}

/// More places of a node are not remembered: the first and the last ones.
const MAX_PLACES: usize = 4;

/// What is remembered of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NodeFields")]
pub struct NodeState {
    /// What it is made of.
    pub node_type: NodeType,
    /// The server's name.
    pub name: SharedText,
    /// Its availability zone, as asked for, or as Nova says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The server's UUID, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<String>,
    /// When it was decided, or adopted, by the machine's clock: for people.
    pub since: Timestamp,
    /// The same on the watched clock: its boot timer and the intent's grace start here.
    pub started: TickInstant,
    /// It was found on the cloud without a memory of it.
    pub adopted: bool,
    /// Since when a list has had its server without a valid signature, and its startd was not seen in the collector:
    /// it may be a forgery, is no capacity and is not touched. `None`: it is ehos's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<TickInstant>,
    /// The other central manager in the metadata of an adopted node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_condor_host: Option<String>,
    /// Its create is saved, and no outcome of that create: the tick that sends it still runs, or was killed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
    /// Since when a later tick has found it so: nothing of ehos waits for that request any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<TickInstant>,
    /// A server list has had it.
    pub listed: bool,
    /// Since when a whole server list has not had it, after it was listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<TickInstant>,
    /// The request that it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_for: Option<JobGroupKey>,
    /// The submitters of those jobs, as far as limits apply to them.
    #[serde(skip_serializing_if = "Submitters::is_empty")]
    pub submitters: Submitters,
    /// It was found to have failed, and that was counted.
    pub failed: bool,
    /// The volumes of its server, as last seen before a delete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<AttachedVolume>,
    /// Its startd.
    #[serde(flatten)]
    pub join: Join,
    #[serde(flatten)]
    pub silence: Silence,
    #[serde(flatten)]
    pub claims: Claims,
    #[serde(flatten)]
    pub drain: DrainState,
    #[serde(flatten)]
    pub delete: DeleteState,
    /// What its age says.
    #[serde(flatten)]
    pub age: Age,
    /// What operators have requested of it.
    #[serde(flatten)]
    pub requests: Requests,
}

/// A node's startd: where it is, and that it takes jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Join {
    /// `Machine` of its startd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// `MyAddress` of its startd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Earlier addresses of its startd on other hosts or under other names: a forged ad may have been taken for its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Place>,
    /// An ad of it has come from its own identity: others speak for it no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub identified: bool,
    /// When its startd was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<TickInstant>,
    /// Its startd has been seen to take jobs: what proves its kind.
    pub proven: bool,
    /// Since when its startd has been seen to take no jobs, though no drain is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<TickInstant>,
}

/// A node's silence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// Since when its startd has been silent in a mature collector, before or after it joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<TickInstant>,
    /// In its present silence a schedd has listed a running job on it.
    pub job_listed: bool,
    /// Since when, in its present silence, every schedd has answered and none has listed a running job on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<TickInstant>,
}

/// The claims on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// Whether its last ad had claims.
    pub claimed: bool,
    #[serde(rename = "claims", skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When that was last seen to change: what a startd says of it is out of date until its next update.
    #[serde(rename = "claims_changed", skip_serializing_if = "Option::is_none")]
    pub changed: Option<TickInstant>,
    /// A claim on it has been seen, or a trace of one.
    pub taken: bool,
}

/// A node's drain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DrainState {
    /// The time of the last cancel of a drain: an older ad gives no information about drains.
    #[serde(rename = "drain_cancelled", skip_serializing_if = "Option::is_none")]
    pub returned: Option<TickInstant>,
    /// The request id of that drain: an ad that shows it may have been late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<String>,
    /// Since when the cancel of that drain has been requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled_since: Option<TickInstant>,
    /// When its startd last accepted a drain: ads of it may not say so yet.
    #[serde(rename = "drain_accepted", skip_serializing_if = "Option::is_none")]
    pub accepted: Option<TickInstant>,
    /// Since when it had been idle when it was drained: what its startd says of that under a drain is not relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<TickInstant>,
    /// When a schedd last listed a running job on it, in its present drain, though its startd said that it is drained: what that
    /// says is not so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contradicted: Option<TickInstant>,
}

/// A node's delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeleteState {
    /// It was decided: from here on no drain is cancelled.
    #[serde(rename = "delete_intended", skip_serializing_if = "Option::is_none")]
    pub intended: Option<TickInstant>,
    /// The cloud has accepted it.
    #[serde(rename = "delete_accepted", skip_serializing_if = "Option::is_none")]
    pub accepted: Option<TickInstant>,
    /// Whether its ads were invalidated after that, and no new one has arrived.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalidated: bool,
}

impl NodeState {
    /// A node of which nothing is known yet but what it is made of.
    pub fn new(
        node_type: NodeType,
        name: &str,
        since: Timestamp,
        started: TickInstant,
    ) -> NodeState {
        NodeState {
            node_type,
            name: name.into(),
            zone: None,
            server_id: None,
            since,
            started,
            adopted: false,
            unsigned: None,
            other_condor_host: None,
            unanswered: false,
            abandoned: None,
            listed: false,
            missing: None,
            made_for: None,
            submitters: Submitters::default(),
            failed: false,
            volumes: Vec::new(),
            join: Join::default(),
            silence: Silence::default(),
            claims: Claims::default(),
            drain: DrainState::default(),
            delete: DeleteState::default(),
            age: Age::default(),
            requests: Requests::default(),
        }
    }

    /// Resets the timers after its cloud was not observed for a while: since then the node may have run any job.
    pub fn was_not_watched(&mut self) {
        self.missing = None;
        self.silence = Silence::default();
        self.join.closed = None;
        self.age = Age::default();
        self.claims.claimed |= self.join.joined.is_some();
    }
}

impl Join {
    /// Whether the startd is where it was.
    pub(crate) fn is_known_at(&self, startd: &StartdView) -> bool {
        self.machine.as_ref() == Some(&startd.machine) && self.address == startd.address
    }

    /// Remembers where the startd is, and where it was on another host or under another name.
    pub fn is_at(&mut self, startd: &StartdView) {
        let host = |address: Option<&str>| address.and_then(host_of).map(str::to_owned);
        let moved = host(self.address.as_deref()) != host(startd.address.as_deref());
        if let Some(machine) = &self.machine
            && (*machine != startd.machine || moved)
        {
            let place = Place {
                machine: machine.clone(),
                address: self.address.clone(),
            };
            self.former.retain(|former| {
                former.machine != place.machine
                    || host(former.address.as_deref()) != host(place.address.as_deref())
            });
            if self.former.len() >= MAX_PLACES {
                self.former.remove(1);
            }
            self.former.push(place);
        }
        if !startd.machine.is_empty() {
            self.machine = Some(startd.machine.clone());
        }
        self.address.clone_from(&startd.address);
    }

    /// Every name that the startd has had.
    pub fn machines(&self) -> impl Iterator<Item = &str> {
        let former = self.former.iter().map(|place| place.machine.as_str());
        self.machine.as_deref().into_iter().chain(former)
    }
}

impl Silence {
    /// The silence after a time without an observation, which is no silence.
    pub(crate) fn ended(&self) -> Silence {
        Silence {
            silent: None,
            unlisted: None,
            job_listed: self.job_listed,
        }
    }
}

impl Claims {
    /// Learns from a fresh ad of a node that joined at `joined`; `since_previous` is the time since the pass before.
    pub(crate) fn learn(
        &mut self,
        startd: &StartdView,
        joined: Option<TickInstant>,
        now: TickInstant,
        since_previous: Duration,
    ) {
        self.claimed = startd.claims() > 0;
        if self.count.replace(startd.claims()) != Some(startd.claims()) {
            self.changed = joined.map(|_| now.minus(changed_ago(startd, since_previous)));
        }
        let joined_for = joined.map_or(Duration::ZERO, |joined| now.since(joined));
        let idle_for = startd.idle_for();
        let is_trace = |idle_for| idle_for + Duration::from_secs(60) < joined_for;
        self.taken |= idle_for.is_none_or(is_trace);
    }
}

/// How long ago the claims changed that the pass before, `since_previous` ago, has not seen. A startd sends an ad at once when a
/// claim begins or ends: it has been so since then. A later ad has the time of the change, up to RECORD_DELAY late; the
/// first one has that of the change before.
fn changed_ago(startd: &StartdView, since_previous: Duration) -> Duration {
    let recorded = startd.idle_for().filter(|time| *time <= since_previous);
    startd.heard_ago.max(recorded.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rewritten(node: &Value) -> Value {
        let memory: NodeState = serde_json::from_value(node.clone()).unwrap();
        serde_json::to_value(memory).unwrap()
    }

    #[test]
    fn a_state_file_has_all_fields_of_a_node_side_by_side() {
        let node = r#"{
            "node_type": {"cloud": "blue", "flavor": "small", "image": "i"},
            "name": "n-1",
            "zone": "z",
            "server_id": "5a",
            "since": "2027-01-15T09:40:08Z",
            "started": 1,
            "adopted": true,
            "unsigned": 2,
            "other_condor_host": "10.0.0.9",
            "unanswered": true,
            "abandoned": 3,
            "listed": true,
            "missing": 4,
            "machine": "m",
            "address": "<10.0.0.2:9618>",
            "former": [{"machine": "f", "address": null}],
            "identified": true,
            "joined": 5,
            "silent": 6,
            "proven": true,
            "expired": 7,
            "force_expired": 8,
            "token_expiring": 9,
            "claimed": true,
            "claims": 10,
            "claims_changed": 11,
            "job_listed": true,
            "unlisted": 12,
            "closed": 13,
            "drain_cancelled": 14,
            "cancelled": "c",
            "cancelled_since": 15,
            "drain_accepted": 16,
            "idle_since": 17,
            "made_for": {"cpus": 1, "memory_mb": 2, "disk_kb": 3, "gpus": 4, "requirements": "n"},
            "submitters": ["user u"],
            "contradicted": 18,
            "taken": true,
            "failed": true,
            "delete_intended": 19,
            "delete_accepted": 20,
            "invalidated": true,
            "volumes": [{"id": "v", "deleted_with_server": true}],
            "keep": {"since": "2027-01-15T09:40:08Z", "until": "2027-01-15T18:00:00Z", "by": "alice"},
            "drain_request": {"since": "2027-01-15T09:40:08Z", "by": "alice", "replace": true},
            "delete_request": {"since": "2027-01-15T09:40:08Z", "by": "bob"}
        }"#;
        let node: Value = serde_json::from_str(node).unwrap();
        assert_eq!(rewritten(&node), node);
    }

    #[test]
    fn a_state_file_of_an_earlier_version_lacks_some_fields() {
        let node = json!({
            "node_type": {"cloud": "blue", "flavor": "small", "image": "i"},
            "name": "n-1",
            "server_id": null,
            "since": "2027-01-15T09:40:08Z",
            "started": 1,
            "adopted": false,
            "listed": false,
            "missing": null,
            "machine": null,
            "joined": null,
            "silent": null,
            "proven": false,
            "claimed": false,
            "job_listed": false,
            "drain_cancelled": null,
            "idle_since": null,
            "made_for": null,
            "taken": false,
            "failed": false,
            "delete_intended": null,
            "delete_accepted": null,
        });
        let mut now = node.clone();
        now.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        assert_eq!(rewritten(&node), now, "what is not known is not written");
        for field in ["listed", "proven", "claimed", "job_listed", "taken"] {
            let mut without = node.clone();
            without.as_object_mut().unwrap().remove(field);
            let memory = serde_json::from_value::<NodeState>(without);
            assert!(memory.is_err(), "{field} says what is not known otherwise");
        }
    }
}
