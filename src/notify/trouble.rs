//! What is wrong in a tick that somebody should be told of.

use serde::{Deserialize, Serialize};

use crate::report::Snapshot;
use crate::report::snapshot::ActionResult;
use crate::scaling::source::SourceKind;

/// What sort of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing more is made of a kind of node until an operator says so.
    Protected,
    /// A month's budget is spent.
    BudgetSpent,
    /// Nothing is deleted, and perhaps nothing made.
    Brake,
    /// Jobs are listed as running on machines that are gone.
    StrandedJobs,
    /// A source does not answer, or something configured is not there.
    Unseen,
    /// Jobs wait for nodes, and all that is tried for them fails.
    NothingAchieved,
}

impl Kind {
    /// It does not pass by itself: no need to wait before it is told.
    pub fn lasts(self) -> bool {
        matches!(self, Kind::Protected | Kind::BudgetSpent)
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The same for the same trouble in another tick.
    pub key: String,
    /// What sort.
    pub kind: Kind,
    /// In a sentence.
    pub text: String,
}

/// Limits that are no decision of anybody, and no full cloud: with these alone in the way something is broken.
const BROKEN: [&str; 7] = [
    "backoff",
    "protected",
    "pause",
    "cloud_unknown",
    "never_seen",
    "flavor_unknown",
    "parts_unknown",
];

/// All that is wrong in a tick.
pub fn troubles(snapshot: &Snapshot) -> Vec<Trouble> {
    let mut all = Vec::new();
    for one in &snapshot.protected {
        all.push(Trouble {
            key: format!(
                "protected {} {} {}",
                one.what.cloud, one.what.flavor, one.what.image
            ),
            kind: Kind::Protected,
            text: format!("protected mode: {}", one.text),
        });
    }
    for one in &snapshot.budgets_spent {
        let of = one.what.cloud.as_deref().unwrap_or_default();
        all.push(Trouble {
            key: format!("budget_spent {of}"),
            kind: Kind::BudgetSpent,
            text: format!("budget spent: {}", one.text),
        });
    }
    for brake in &snapshot.brakes {
        let what = match brake.stops_creates {
            true => "no node is made or deleted",
            false => "no node is deleted",
        };
        let schedd = brake.numbers.get("schedd");
        let schedd = schedd
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        all.push(Trouble {
            key: format!("brake {} {schedd}", brake.brake),
            kind: Kind::Brake,
            text: format!("{what}: {}", brake.text),
        });
    }
    for unseen in &snapshot.unseen {
        // A brake says the same, and what follows.
        let braked = matches!(
            unseen.source.kind,
            SourceKind::Collector | SourceKind::Schedd
        );
        if !braked {
            all.push(Trouble {
                key: format!("unseen {}", unseen.source),
                kind: Kind::Unseen,
                text: format!("unknown: {}: {}", unseen.source, unseen.why),
            });
        }
    }
    if let Some(stranded) = &snapshot.stranded {
        all.push(Trouble {
            key: "stranded_jobs".to_owned(),
            kind: Kind::StrandedJobs,
            text: stranded.text.clone(),
        });
    }
    // In protected mode nothing is tried any more, and that is told.
    if snapshot.protected.is_empty()
        && let Some(text) = nothing_achieved(snapshot)
    {
        all.push(Trouble {
            key: "nothing_achieved".to_owned(),
            kind: Kind::NothingAchieved,
            text,
        });
    }
    all
}

/// Jobs wait, nothing that was tried was done, no node is on its way, and what is in the way is a fault.
fn nothing_achieved(snapshot: &Snapshot) -> Option<String> {
    let coming = ["requested", "building", "booting"];
    let coming = snapshot
        .nodes
        .iter()
        .any(|node| coming.contains(&node.phase.as_str()));
    let with = |result: ActionResult| {
        let mut actions = snapshot.actions.iter();
        actions.find(move |action| action.result == result && !action.is_minor())
    };
    if coming || with(ActionResult::Done).is_some() {
        return None;
    }
    if let Some(failed) = with(ActionResult::Failed) {
        let message = failed.message.as_deref().unwrap_or("it is not said why");
        return Some(format!(
            "nothing is achieved: {} {} failed: {message}",
            failed.action, failed.node
        ));
    }
    let reasons = snapshot.groups.iter().flat_map(|group| &group.why);
    let broken = reasons.filter(|why| why.reason == "limited").find(|why| {
        let name = why.numbers.get("limit").and_then(|limit| limit.get("name"));
        let name = name.and_then(serde_json::Value::as_str);
        name.is_some_and(|name| BROKEN.contains(&name))
    })?;
    Some(format!("nothing is achieved: {}", broken.text))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kinds(snapshot: Value) -> Vec<Kind> {
        let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
        let troubles = troubles(&snapshot);
        troubles.iter().map(|trouble| trouble.kind).collect()
    }

    fn limited_by(name: &str) -> Value {
        let why =
            json!({"reason": "limited", "text": "no node", "jobs": 3, "limit": {"name": name}});
        json!([{"request": {"cpus": 1, "memory_mb": 1, "disk_kb": 1, "gpus": 0}, "jobs": 3, "waiting_seconds": 9,
            "why": [why]}])
    }

    fn action(result: &str) -> Value {
        json!([{"action": "create", "node": "n", "result": result, "message": "m"}])
    }

    #[test]
    fn a_full_cloud_or_a_limit_that_somebody_set_is_no_trouble() {
        for name in [
            "nodes_max",
            "cores",
            "budget_per_hour",
            "max_actions",
            "unproven",
        ] {
            assert_eq!(kinds(json!({"groups": limited_by(name)})), [], "{name}");
        }
        for name in BROKEN {
            let groups = limited_by(name);
            assert_eq!(
                kinds(json!({"groups": groups})),
                [Kind::NothingAchieved],
                "{name}"
            );
        }
    }

    #[test]
    fn what_succeeds_or_is_on_its_way_is_an_achievement() {
        let groups = limited_by("backoff");
        assert_eq!(
            kinds(json!({"actions": action("failed")})),
            [Kind::NothingAchieved]
        );
        assert_eq!(kinds(json!({"actions": action("changed")})), []);
        assert_eq!(
            kinds(json!({"actions": action("done"), "groups": groups})),
            []
        );
        let coming = json!([{"node": "n", "name": "n", "cloud": "c", "flavor": "f", "phase": "booting", "fate": "keeps"}]);
        assert_eq!(kinds(json!({"nodes": coming, "groups": groups})), []);
    }

    #[test]
    fn jobs_on_machines_that_are_gone_are_trouble_that_may_pass() {
        let stranded = json!({"jobs": 4, "machines": [], "text": "4 jobs run on no machine"});
        let snapshot: Snapshot = serde_json::from_value(json!({"stranded": stranded})).unwrap();
        let troubles = troubles(&snapshot);
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].kind, Kind::StrandedJobs);
        assert_eq!(troubles[0].key, "stranded_jobs", "the same for other jobs");
        assert_eq!(troubles[0].text, "4 jobs run on no machine");
        assert!(!troubles[0].kind.lasts());
    }

    #[test]
    fn a_brake_says_for_its_source_too() {
        let brake = json!([{"brake": "collector_unknown", "text": "it does not answer", "stops_creates": true}]);
        let unseen = json!([{"source": "collector", "why": "it does not answer"}, {"source": "cloud a", "why": "x"}]);
        let kinds = kinds(json!({"brakes": brake, "unseen": unseen}));
        assert_eq!(kinds, [Kind::Brake, Kind::Unseen]);
    }
}
