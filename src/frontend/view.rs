//! The page's view of a tick: every decision and every word that the page's script draws.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use report::names::ReasonName;
use report::problem::{Problem, is_late, problems};
use report::tick_report::{ActionResult, TickReport};
use scaling::names::PhaseName;
use scaling::plan::NodeDecision;
use scaling::source::SourceKind;

/// The view of the last tick.
#[derive(Debug, Serialize)]
pub struct View {
    /// Every problem, the gravest first; none is known before the first tick.
    problems: Vec<Problem>,
    /// Another tick should have followed.
    is_late: bool,
    /// The counts of jobs are whole.
    knows_jobs: bool,
    /// The counts of cores are whole.
    knows_paid: bool,
    /// The claims of nodes are known.
    knows_claims: bool,
    /// The collector answered.
    knows_collector: bool,
    /// The names in `source_milliseconds` that did not answer in full.
    unknown_sources: Vec<String>,
    /// Each limit, with its jobs and an example.
    limits: Vec<Limited>,
    /// Every phase, in the order of a node's life.
    phases: Vec<PhaseView>,
    /// What happens to a node, by decision.
    decisions: Vec<DecisionView>,
    /// The words for what came of an action.
    results: Vec<ResultView>,
    /// Nodes that have a server, or may have.
    existing_nodes: usize,
    /// The actions of the tick in words, equal ones together.
    actions: Vec<String>,
    /// The reasons for which jobs wait until an operator or user acts.
    stuck: Vec<ReasonName>,
}

#[derive(Debug, Serialize)]
struct Limited {
    name: String,
    jobs: u64,
    text: String,
}

#[derive(Debug, Serialize)]
struct PhaseView {
    phase: PhaseName,
    family: Family,
    meaning: &'static str,
}

#[derive(Debug, Serialize)]
struct ResultView {
    result: ActionResult,
    words: &'static str,
}

#[derive(Debug, Serialize)]
struct DecisionView {
    decision: NodeDecision,
    /// Empty for a node that only stays: its phase has the family.
    family: Option<Family>,
    words: &'static str,
}

/// Phases that are drawn alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Family {
    Coming,
    Idle,
    Busy,
    Leaving,
    Doubt,
    Failed,
    Going,
}

impl View {
    /// The view of this tick at this time.
    pub fn of(tick: Option<&TickReport>, now: Timestamp) -> View {
        let knows = |known: &dyn Fn(&TickReport) -> bool| tick.is_some_and(known);
        View {
            problems: tick.map_or_else(Vec::new, |tick| problems(tick, now)),
            is_late: knows(&|tick| is_late(tick, now)),
            knows_jobs: knows(&TickReport::knows_jobs),
            knows_paid: knows(&TickReport::knows_paid),
            knows_claims: knows(&TickReport::knows_claims),
            knows_collector: knows(&|tick| tick.knows(SourceKind::Collector)),
            unknown_sources: tick.map_or_else(Vec::new, unknown_sources),
            limits: tick.map_or_else(Vec::new, limits),
            phases: PhaseName::ALL.iter().map(|phase| look(*phase)).collect(),
            decisions: NodeDecision::ALL
                .iter()
                .map(|decision| words(*decision))
                .collect(),
            results: ActionResult::ALL
                .iter()
                .map(|result| ResultView {
                    result: *result,
                    words: outcome(*result),
                })
                .collect(),
            existing_nodes: tick.map_or(0, |tick| {
                tick.nodes.iter().filter(|node| node.is_there()).count()
            }),
            actions: tick.map_or_else(Vec::new, actions),
            stuck: ReasonName::ALL
                .iter()
                .copied()
                .filter(|reason| reason.is_stuck())
                .collect(),
        }
    }
}

/// The pool is known when its collector and all its schedds are.
fn unknown_sources(tick: &TickReport) -> Vec<String> {
    let names = tick.source_milliseconds.keys();
    let is_known = |name: &str| match name {
        "pool" => tick.knows(SourceKind::Collector) && tick.knows(SourceKind::Schedd),
        name => !tick
            .unknown_sources
            .iter()
            .any(|one| one.source.to_string() == name),
    };
    names.filter(|name| !is_known(name)).cloned().collect()
}

fn limits(tick: &TickReport) -> Vec<Limited> {
    let mut limits: BTreeMap<&str, Limited> = BTreeMap::new();
    for why in tick.groups.iter().flat_map(|group| &group.why) {
        if let Some(name) = why.limit() {
            let limited = limits.entry(name).or_insert_with(|| Limited {
                name: name.replace('_', " "),
                jobs: 0,
                text: why.text.clone(),
            });
            limited.jobs += why.jobs();
        }
    }
    limits.into_values().collect()
}

/// Actions with the same name and result, by their number.
fn actions(tick: &TickReport) -> Vec<String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for action in &tick.actions {
        let name = match action.result.known() {
            Some(ActionResult::Done) => action.action.to_string(),
            Some(result) => format!("{} {}", action.action, outcome(result)),
            None => format!("{} {}", action.action, action.result),
        };
        *counts.entry(name).or_default() += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|(name, count)| format!("{count} {name}"))
        .collect()
}

fn outcome(result: ActionResult) -> &'static str {
    match result {
        ActionResult::Planned => "planned",
        ActionResult::Done => "done",
        ActionResult::Changed => "skipped after recheck",
        ActionResult::Failed => "failed",
    }
}

fn look(phase: PhaseName) -> PhaseView {
    use Family::*;
    let (family, meaning) = match phase {
        PhaseName::New => (Coming, "made by this tick"),
        PhaseName::Requested => (Coming, "asked for"),
        PhaseName::Building => (Coming, "its cloud makes it"),
        PhaseName::Booting => (Coming, "not in the pool yet"),
        PhaseName::Idle => (Idle, "in the pool, without a job"),
        PhaseName::Busy => (Busy, "runs jobs"),
        PhaseName::Closed => (Leaving, "takes no new jobs"),
        PhaseName::Draining => (Leaving, "its jobs run out"),
        PhaseName::Drained => (Leaving, "empty, to be deleted"),
        PhaseName::Silent => (Doubt, "not heard of"),
        PhaseName::Unheard => (Doubt, "not heard of yet"),
        PhaseName::Inactive => (Doubt, "its server is paused or put aside"),
        PhaseName::Unreachable => (Doubt, "not heard of, its server runs"),
        PhaseName::Unclear => (Doubt, "server and startd disagree"),
        PhaseName::Untrusted => (Doubt, "not judged"),
        PhaseName::Unsigned => (Doubt, "no valid ehos_proof"),
        PhaseName::Stopped => (Failed, "its server is off"),
        PhaseName::Failed => (Failed, "its server failed"),
        PhaseName::Lost => (Failed, "given up"),
        PhaseName::Deleting => (Going, "its server is going"),
        PhaseName::Gone => (Going, "its server is gone"),
        PhaseName::Lapsed => (Going, "never made"),
    };
    PhaseView {
        phase,
        family,
        meaning,
    }
}

fn words(decision: NodeDecision) -> DecisionView {
    let (family, words) = match decision {
        NodeDecision::Keep => (None, "keep"),
        NodeDecision::Create => (Some(Family::Coming), "create"),
        NodeDecision::Drain => (Some(Family::Leaving), "drain"),
        NodeDecision::CancelDrain => (Some(Family::Idle), "take drain back"),
        NodeDecision::Delete => (Some(Family::Going), "delete"),
        NodeDecision::Forget => (Some(Family::Going), "forget"),
        NodeDecision::Disassociate => (Some(Family::Going), "free its address"),
    };
    DecisionView {
        decision,
        family,
        words,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_view_has_what_the_script_would_have_to_decide() {
        let nodes = ["busy", "new", "gone"].map(|phase| {
            json!({"node": phase, "name": phase, "cloud": "a", "flavor": "f",
                "phase": phase, "fate": "keeps", "reason": "busy", "text": "t"})
        });
        let tick: TickReport = serde_json::from_value(json!({
            "at": "2026-11-26T12:00:00Z", "queue": {"schedds": 1},
            "source_milliseconds": {"pool": 1, "cloud a": 2, "cloud b": 3},
            "unknown_sources": [{"source": "schedd x", "cause": "w"}, {"source": "cloud b", "cause": "w"}],
            "nodes": nodes,
            "actions": [{"action": "create", "node": "a", "result": "done"}, {"action": "delete", "node": "c", "result": "changed"},
                {"action": "create", "node": "b", "result": "done"}],
            "job_groups": [{"request": {"cpus": 1, "memory_mb": 1, "disk_kb": 1, "gpus": 0}, "jobs": 9, "waiting_seconds": 1,
                "reasons": [{"reason": "limited", "text": "t", "jobs": 4, "limit": {"name": "nodes_max"}},
                    {"reason": "limited", "text": "u", "jobs": 2, "limit": {"name": "nodes_max"}}]}],
        }))
        .unwrap();
        let view = View::of(Some(&tick), "2026-11-26T12:03:01Z".parse().unwrap());
        let view = serde_json::to_value(view).unwrap();
        assert_eq!(view["is_late"], true);
        assert_eq!(view["problems"][0]["subject"], "No tick");
        assert_eq!(view["unknown_sources"], json!(["cloud b", "pool"]));
        assert_eq!(
            (&view["knows_jobs"], &view["knows_claims"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(
            view["limits"],
            json!([{"name": "nodes max", "jobs": 6, "text": "t"}])
        );
        assert_eq!(view["phases"][0]["phase"], "new");
        assert_eq!(view["existing_nodes"], 1);
        assert_eq!(
            view["actions"],
            json!(["2 create", "1 delete skipped after recheck"])
        );
    }
}
