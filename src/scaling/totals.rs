//! Counters that only grow and survive restarts: actions, failures, costs. For metrics only.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{CloudAction, FailureKind, PoolAction};
use super::brakes::Brake;
use super::money::Money;
use super::observation::{CloudName, NodeId};
use super::plan::{Action, NodeEntry, Plan};
use super::policy::Policy;
use super::reason::Reason;
use super::source::SourceKind;
use super::state::{NodeState, Outcome, State};

/// Rows of each list that are kept when the configuration does not name their clouds and flavors any more.
const MAX_ROWS: usize = 200;

/// Counts since the state file is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Since when is counted.
    pub since: Option<Timestamp>,
    /// When the last tick looked that ended with exit code 0.
    pub last_success: Option<Timestamp>,
    /// Acting ticks, by how they ended.
    pub ticks: Vec<TickTotal>,
    /// What happened to nodes, by cloud and flavor.
    pub nodes: Vec<NodeTotal>,
    /// Deletes of nodes that a cloud has accepted, by cloud, flavor and reason.
    pub deletes: Vec<DeleteTotal>,
    /// Actions that were not done, by cloud, action and kind of failure.
    pub failures: Vec<FailureTotal>,
    /// Sources that did not answer, each once a tick.
    #[serde(alias = "unseen")]
    pub unknown_sources: Vec<UnseenTotal>,
    /// What nodes have cost, by cloud.
    pub spent: Vec<SpentTotal>,
    /// Cores of all servers of nodes times the time that they were watched, in thousandths of a second, while the
    /// collector answered.
    pub paid_core_milliseconds: u64,
    /// The same of the cores that were claimed.
    pub claimed_core_milliseconds: u64,
}

/// Ticks that ended so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TickTotal {
    /// `done`, `failed` or `unavailable`.
    pub result: String,
    pub count: u64,
}

/// What happened to nodes of one cloud and flavor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeTotal {
    pub cloud: CloudName,
    pub flavor: String,
    /// Servers that the cloud has said to make.
    pub created: u64,
    /// Drains that their startds have taken.
    pub drained: u64,
    /// Drains that were cancelled.
    #[serde(rename = "drains_cancelled", alias = "returned")]
    pub returned: u64,
    /// New nodes that were seen in the collector for the first time.
    pub joined: u64,
    /// From the decision to make them until then, all together.
    pub boot_seconds: u64,
    /// Nodes that failed to boot, or never took a job.
    pub failed: u64,
    /// Nodes that were lost.
    pub lost: u64,
}

/// Deletes for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteTotal {
    pub cloud: CloudName,
    pub flavor: String,
    /// The reason, in a word.
    pub reason: String,
    pub count: u64,
}

/// Actions that were not done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureTotal {
    /// The cloud of what it was about; empty when that is not known any more.
    pub cloud: CloudName,
    /// The action, as reports name it.
    pub action: String,
    /// What kind of failure, in a word.
    pub kind: String,
    pub count: u64,
}

/// Sources of one kind that did not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnseenTotal {
    /// See [`SourceKind::name`].
    pub source: String,
    /// How many, each once a tick.
    pub count: u64,
}

/// What one cloud has cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpentTotal {
    pub cloud: CloudName,
    /// All that was spent in it.
    pub money: Money,
    /// The month of the last tick (`2026-11`) …
    pub month: String,
    /// … and the most that was known to be spent in it.
    pub month_money: Money,
}

/// Every kind of source there is.
pub const UNSEEN_KINDS: [&str; 11] = [
    "collector",
    "schedd",
    "matches",
    "cloud",
    "leftovers",
    "limits",
    "flavor",
    "slot",
    "startd",
    "ad",
    "jobs",
];

fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unknown => "unknown",
        FailureKind::Later(_) => "rate_limited",
        FailureKind::Quota => "quota",
        FailureKind::Refused(_) | FailureKind::Rejected => "rejected",
        FailureKind::NotIdle => "not_idle",
        FailureKind::Changed => "changed",
        FailureKind::NotAuthorized => "not_authorized",
        FailureKind::NotDone => "not_done",
    }
}

/// The row that `is` it; at the end a `new` one.
fn row<T>(rows: &mut Vec<T>, is: impl Fn(&T) -> bool, new: T) -> &mut T {
    let position = match rows.iter().position(is) {
        Some(position) => position,
        None => {
            rows.push(new);
            rows.len() - 1
        }
    };
    #[allow(clippy::indexing_slicing)]
    // The position was found, or is that of the one just pushed.
    &mut rows[position]
}

fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

fn of_cores(cores: u64, time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    cores.saturating_mul(milliseconds)
}

impl Totals {
    fn of_kind(&mut self, cloud: &str, flavor: &str) -> &mut NodeTotal {
        row(
            &mut self.nodes,
            |row| row.cloud == cloud && row.flavor == flavor,
            NodeTotal {
                cloud: cloud.to_owned(),
                flavor: flavor.to_owned(),
                ..NodeTotal::default()
            },
        )
    }

    fn of_node(&mut self, memory: &NodeState) -> &mut NodeTotal {
        self.of_kind(&memory.node_type.cloud, &memory.node_type.flavor)
    }

    /// Counts what a tick has seen, when its plan is made; `before` is the state of the tick before it.
    pub(super) fn record_plan(&mut self, before: &State, plan: &Plan, policy: &Policy) {
        self.since.get_or_insert(plan.at);
        let step = plan.next.now.since(before.now);
        let mut known = before.nodes.iter().peekable();
        for (id, memory) in &plan.next.nodes {
            // Copies of an id are equal at first sight.
            while known
                .next_if(|(earlier, _)| *earlier != id && *earlier < id)
                .is_some()
            {}
            let before = known.next_if(|(same, _)| *same == id);
            if !before.is_some_and(|(_, before)| before.is(memory)) {
                self.saw_node(before.map(|(_, before)| &**before), memory);
            }
        }
        for unseen in &plan.unknown_sources {
            let source = unseen.source.kind.name();
            let new = UnseenTotal {
                source: source.to_owned(),
                count: 0,
            };
            let row = row(&mut self.unknown_sources, |row| row.source == source, new);
            add(&mut row.count, 1);
        }
        // Claims are unknown without a mature collector, and the report must not show a waste that does not exist.
        let unheard = |brake: &Brake| {
            matches!(
                brake,
                Brake::CollectorYoung { .. } | Brake::NodesVanished { .. }
            )
        };
        let knows_collector = plan.knows(SourceKind::Collector);
        if knows_collector && !plan.brakes.iter().any(unheard) {
            let cores = plan.cores;
            add(&mut self.paid_core_milliseconds, of_cores(cores.paid, step));
            add(
                &mut self.claimed_core_milliseconds,
                of_cores(cores.claimed, step),
            );
        }
        self.spend(plan, step);
        self.prune(policy);
    }

    fn saw_node(&mut self, before: Option<&NodeState>, memory: &NodeState) {
        let had = |which: fn(&NodeState) -> bool| before.is_some_and(which);
        // The boot time of an adopted node is unknown.
        if let Some(joined) = memory.join.joined.filter(|_| !memory.adopted)
            && !had(|before| before.join.joined.is_some())
        {
            let took = joined.since(memory.started).as_secs();
            let row = self.of_node(memory);
            add(&mut row.joined, 1);
            add(&mut row.boot_seconds, took);
        }
        if memory.failed && !had(|before| before.failed) {
            add(&mut self.of_node(memory).failed, 1);
        }
    }

    /// Adds what is spent more than at the tick before. Of a month that was not the last one's only the time since then
    /// is new, so that neither its beginning nor a clock that jumps counts anything twice.
    fn spend(&mut self, plan: &Plan, step: Duration) {
        let Some(costs) = &plan.cost else { return };
        for cost in &costs.clouds {
            let new = SpentTotal {
                cloud: cost.cloud.clone(),
                ..SpentTotal::default()
            };
            let row = row(&mut self.spent, |row| row.cloud == cost.cloud, new);
            let more = if row.month == costs.month {
                cost.spent_this_month.minus(row.month_money)
            } else {
                row.month.clone_from(&costs.month);
                row.month_money = Money::default();
                cost.per_hour.over(step)
            };
            row.money = row.money.plus(more);
            row.month_money = row.month_money.max(cost.spent_this_month);
        }
    }

    /// Counts what came of a plan, the state before which is `next`.
    pub(super) fn record_outcomes(&mut self, plan: &Plan, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let line = plan
                .nodes
                .iter()
                .find(|line| line.node == *outcome.action.node());
            match &outcome.result {
                Ok(_) => self.was_done(&outcome.action, line, &plan.next),
                Err(failure) => {
                    let cloud = match &outcome.action {
                        Action::Cloud { cloud, .. } => cloud.clone(),
                        Action::Pool(action) => cloud_of(plan, action.node(), line),
                    };
                    let (action, kind) = (outcome.action.verb(), kind_name(failure.kind));
                    let is = |row: &FailureTotal| {
                        row.cloud == cloud && row.action == action && row.kind == kind
                    };
                    let new = FailureTotal {
                        cloud: cloud.clone(),
                        action: action.to_owned(),
                        kind: kind.to_owned(),
                        count: 0,
                    };
                    add(&mut row(&mut self.failures, is, new).count, 1);
                }
            }
        }
    }

    fn was_done(&mut self, action: &Action, line: Option<&NodeEntry>, before: &State) {
        // Builders and leftovers do not count.
        let Some(line) = line else { return };
        let accepted = || {
            let memory = before.nodes.get(&line.node);
            memory.is_some_and(|memory| memory.delete.accepted.is_some())
        };
        match action {
            Action::Cloud {
                action: CloudAction::Create(_),
                ..
            } => add(&mut self.of_kind(&line.cloud, &line.flavor).created, 1),
            Action::Cloud {
                action: CloudAction::Delete { .. },
                ..
            } if !accepted() => {
                let reason = line.why.name();
                let is = |row: &DeleteTotal| {
                    line.cloud == row.cloud && line.flavor == row.flavor && row.reason == reason
                };
                let new = DeleteTotal {
                    cloud: line.cloud.to_string(),
                    flavor: line.flavor.to_string(),
                    reason: reason.to_owned(),
                    count: 0,
                };
                add(&mut row(&mut self.deletes, is, new).count, 1);
                if matches!(
                    line.why,
                    Reason::Lost { .. } | Reason::UnreachableWithoutJob { .. }
                ) {
                    add(&mut self.of_kind(&line.cloud, &line.flavor).lost, 1);
                }
            }
            Action::Pool(PoolAction::Drain { .. }) => {
                add(&mut self.of_kind(&line.cloud, &line.flavor).drained, 1);
            }
            Action::Pool(PoolAction::CancelDrain { .. }) => {
                add(&mut self.of_kind(&line.cloud, &line.flavor).returned, 1);
            }
            Action::Cloud { .. } | Action::Pool(_) => {}
        }
    }

    /// Counts an acting tick that looked at `at` and ended so.
    pub fn record_tick(&mut self, at: Timestamp, result: &str, success: bool) {
        if success {
            self.last_success = Some(at);
        }
        let new = TickTotal {
            result: result.to_owned(),
            count: 0,
        };
        add(
            &mut row(&mut self.ticks, |row| row.result == result, new).count,
            1,
        );
    }

    /// Forgets clouds and flavors that are not configured any more, when there are many of them.
    fn prune(&mut self, policy: &Policy) {
        let configured = |cloud: &str, flavor: &str| {
            policy
                .cloud(cloud)
                .is_some_and(|cloud| cloud.flavors.iter().any(|name| name == flavor))
        };
        if self.nodes.len() > MAX_ROWS {
            self.nodes.retain(|row| configured(&row.cloud, &row.flavor));
        }
        if self.deletes.len() > MAX_ROWS {
            self.deletes
                .retain(|row| configured(&row.cloud, &row.flavor));
        }
        if self.failures.len() > MAX_ROWS {
            self.failures
                .retain(|row| row.cloud.is_empty() || policy.cloud(&row.cloud).is_some());
        }
        if self.spent.len() > MAX_ROWS {
            self.spent.retain(|row| policy.cloud(&row.cloud).is_some());
        }
    }
}

/// The cloud of a node; of one that is gone, as far as that is remembered.
fn cloud_of(plan: &Plan, node: &NodeId, line: Option<&NodeEntry>) -> CloudName {
    let departed = || {
        let departed = plan.next.departed.get(node)?;
        Some(departed.cloud.clone())
    };
    line.map(|line| line.cloud.to_string())
        .or_else(departed)
        .unwrap_or_default()
}
