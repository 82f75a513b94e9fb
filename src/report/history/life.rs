//! The history of one node, collected from the records that name it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Event, Record};
use crate::TickReport;
use crate::cost::paid;
use crate::names::{Named, ReasonName, in_words};
use crate::tick_report::{ActionReport, ActionResult, NodeReport, exists};
use scaling::money::Money;
use scaling::names::{ActionName, PhaseName};
use scaling::plan::NodeDecision;
use scaling::seconds::Seconds;

/// The version of the JSON layout: raised when a field changes its meaning or is removed.
pub const VERSION: u32 = 2;

/// A node from its create to its end, as far as the history reaches back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Life {
    pub version: u32,
    pub node: String,
    /// The name of its server.
    pub name: String,
    /// The UUID of its server, if known.
    pub server: Option<String>,
    /// Its host name, if known.
    pub machine: Option<String>,
    pub cloud: String,
    pub flavor: String,
    pub image: String,
    /// Its cores, if known.
    #[serde(default)]
    pub vcpus: Option<u64>,
    /// The memory of its startd in MiB, if known.
    #[serde(default)]
    pub memory_mb: Option<u64>,
    /// Its price per hour, if its flavor has one.
    #[serde(default)]
    pub per_hour: Option<Money>,
    pub events: Vec<LifeEvent>,
    /// The time in each phase, in the order of first entry.
    pub phases: Vec<PhaseSpan>,
    /// Its approximate cost, if its flavor has a price.
    pub cost: Option<Money>,
    pub end: End,
    /// The end in a sentence.
    pub text: String,
}

/// One tick that concerned the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LifeEvent {
    /// The time of the observation.
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Named<PhaseName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Named<NodeDecision>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Named<ReasonName>>,
    pub text: String,
    /// The numbers in the sentence.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub numbers: Map<String, Value>,
    pub actions: Vec<ActionTaken>,
}

/// An action of a tick on the node, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionTaken {
    pub action: Named<ActionName>,
    pub result: Named<ActionResult>,
    /// The failure, or the change that the recheck found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The time in one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSpan {
    pub phase: Named<PhaseName>,
    pub seconds: u64,
}

/// The end of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// The node exists as of the last tick.
    #[serde(rename = "exists")]
    There {
        phase: Named<PhaseName>,
        /// The decision of the last tick and its reason.
        #[serde(rename = "reason")]
        why: String,
    },
    /// ehos deleted its server.
    Deleted {
        /// The time of the request.
        at: Timestamp,
        #[serde(rename = "reason")]
        why: String,
    },
    /// Its server was deleted outside ehos.
    #[serde(rename = "deleted_externally")]
    Gone {
        /// The time of the tick that found it so.
        at: Timestamp,
        #[serde(rename = "reason")]
        why: String,
    },
    /// Nova never created a server.
    #[serde(rename = "not_created")]
    NotMade {
        /// The time of the request.
        at: Timestamp,
        #[serde(rename = "reason")]
        why: String,
    },
    /// The history does not contain the end.
    Unknown {
        /// The time of the last record.
        at: Timestamp,
        /// The phase then.
        phase: Named<PhaseName>,
    },
}

impl Life {
    /// Collects the history of a node from records, the oldest first, and the last tick. `None` if neither names it.
    pub fn of(node: &str, records: &[Record], last: &TickReport) -> Option<Life> {
        let shown = last.nodes.iter().find(|one| one.node == node);
        let events: Vec<(Timestamp, &Event)> = records
            .iter()
            .flat_map(|record| record.events.iter().map(|event| (record.at, event)))
            .filter(|(_, event)| event.node == node)
            .collect();
        let newest = events.last().map(|(_, event)| *event);
        let known = |of: &dyn Fn(&Event) -> Option<String>| {
            events.iter().rev().find_map(|(_, event)| of(event))
        };
        let newest_of = |of: &dyn Fn(&Event) -> Option<u64>| {
            events.iter().rev().find_map(|(_, event)| of(event))
        };
        let named = |of_event: &dyn Fn(&Event) -> &str, of_shown: &dyn Fn(&NodeReport) -> &str| {
            let name = shown.map(of_shown).or_else(|| newest.map(of_event));
            name.unwrap_or_default().to_owned()
        };
        let steps = steps(node, records);
        if steps.is_empty() && shown.is_none() {
            return None;
        }
        let end = end(node, records, &events, shown);
        let until = match &end {
            End::There { .. } => last.at,
            End::Deleted { at, .. }
            | End::Gone { at, .. }
            | End::NotMade { at, .. }
            | End::Unknown { at, .. } => *at,
        };
        Some(Life {
            version: VERSION,
            node: node.to_owned(),
            name: named(&|event| &event.name, &|shown| &shown.name),
            server: shown
                .and_then(|shown| shown.server.id.clone())
                .or_else(|| known(&|event| event.server.clone())),
            machine: shown
                .and_then(|shown| Some(shown.startd.as_ref()?.machine.clone()))
                .or_else(|| known(&|event| event.machine.clone())),
            cloud: named(&|event| &event.cloud, &|shown| &shown.cloud),
            flavor: named(&|event| &event.flavor, &|shown| &shown.flavor),
            image: named(&|event| &event.image, &|shown| &shown.server.image),
            vcpus: newest_of(&|event| event.vcpus),
            memory_mb: newest_of(&|event| event.memory_mb),
            per_hour: newest.and_then(|event| event.per_hour),
            phases: phases(&events, until),
            cost: cost(&events, until),
            text: end.sentence(|at| format!("{at:.0}")),
            events: steps,
            end,
        })
    }
}

impl End {
    /// The end in a sentence, with times formatted by `at`.
    pub fn sentence(&self, at: impl Fn(&Timestamp) -> String) -> String {
        match self {
            End::There { phase, why } if why.starts_with(&phase.to_string()) => {
                format!("The node exists: {why}.")
            }
            End::There { phase, why } => format!("The node exists, {phase}: {why}."),
            End::Deleted { at: when, why } => {
                format!("ehos deleted the node at {}: {why}.", at(when))
            }
            End::Gone { at: when, why } => {
                format!(
                    "The server was deleted outside ehos, noticed at {}: {why}.",
                    at(when)
                )
            }
            End::NotMade { at: when, why } => {
                format!(
                    "ehos requested the node at {}, but it was never created: {why}.",
                    at(when)
                )
            }
            End::Unknown { at: when, phase } => format!(
                "The node was {phase} at {} and no longer exists; the history contains nothing later.",
                at(when)
            ),
        }
    }
}

/// The actions of one tick on the node.
fn deeds(node: &str, record: &Record) -> Vec<ActionTaken> {
    let of_node = record.actions.iter().filter(|action| action.node == node);
    of_node
        .map(
            |ActionReport {
                 action,
                 result,
                 message,
                 ..
             }| ActionTaken {
                action: action.clone(),
                result: result.clone(),
                message: message.clone(),
            },
        )
        .collect()
}

fn steps(node: &str, records: &[Record]) -> Vec<LifeEvent> {
    let step = |record: &Record| {
        let actions = deeds(node, record);
        let event = record.events.iter().find(|event| event.node == node);
        match event {
            Some(event) => Some(LifeEvent {
                at: record.at,
                phase: Some(event.phase.clone()),
                decision: Some(event.decision.clone()),
                reason: Some(event.reason.clone()),
                text: event.text.clone(),
                numbers: event.numbers.clone(),
                actions,
            }),
            // A repeated action has no event of its own.
            None => (!actions.is_empty()).then(|| LifeEvent {
                at: record.at,
                phase: None,
                decision: None,
                reason: None,
                text: "repeated".to_owned(),
                numbers: Map::new(),
                actions,
            }),
        }
    };
    records.iter().filter_map(step).collect()
}

fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or_default()
}

/// The spans from each event to the next, and from the last event `until`.
fn spans<'a>(
    events: &'a [(Timestamp, &'a Event)],
    until: Timestamp,
) -> impl Iterator<Item = (&'a Event, u64)> {
    let ends = events.iter().skip(1).map(|(at, _)| *at).chain([until]);
    events
        .iter()
        .zip(ends)
        .map(|((at, event), end)| (*event, seconds_between(*at, end)))
}

fn phases(events: &[(Timestamp, &Event)], until: Timestamp) -> Vec<PhaseSpan> {
    let mut parts: Vec<PhaseSpan> = Vec::new();
    for (event, seconds) in spans(events, until) {
        match parts.iter_mut().find(|part| part.phase == event.phase) {
            Some(part) => part.seconds += seconds,
            None => parts.push(PhaseSpan {
                phase: event.phase.clone(),
                seconds,
            }),
        }
    }
    // A phase of 0 s was never observed by two ticks.
    parts.retain(|part| part.seconds > 0);
    parts
}

fn cost(events: &[(Timestamp, &Event)], until: Timestamp) -> Option<Money> {
    let ends = events.iter().skip(1).map(|(at, _)| *at).chain([until]);
    let spans = events.iter().zip(ends).map(|((at, event), end)| {
        let length = end.as_millisecond() - at.as_millisecond();
        (event, length.max(0))
    });
    let spans = spans.filter(|(event, _)| exists(&event.phase));
    paid(spans.map(|(event, length)| (event.per_hour, length)), None)
}

fn end(
    node: &str,
    records: &[Record],
    events: &[(Timestamp, &Event)],
    shown: Option<&NodeReport>,
) -> End {
    let deed = |action: ActionName, result: ActionResult| {
        records.iter().rev().find_map(|record| {
            let mut deeds = deeds(node, record).into_iter();
            let found = deeds.find(|deed| deed.action.is(action) && deed.result.is(result))?;
            Some((record.at, found))
        })
    };
    let made = deed(ActionName::Create, ActionResult::Done).is_some();
    let refused = deed(ActionName::Create, ActionResult::Failed);
    if let Some((at, refused)) = refused.filter(|_| !made && events.len() <= 1) {
        let why = refused
            .message
            .unwrap_or_else(|| "no cause reported".to_owned());
        return End::NotMade { at, why };
    }
    if let Some(shown) = shown.filter(|shown| exists(&shown.phase)) {
        let decision = in_words(&shown.decision);
        let separator = if decision.is_empty() { "" } else { ", " };
        return End::There {
            phase: shown.phase.clone(),
            why: format!("{decision}{separator}{}", shown.words()),
        };
    }
    // The first delete has the reason; later ones repeat it.
    let first = records.iter().find_map(|record| {
        let deed = deeds(node, record)
            .into_iter()
            .find(|deed| deed.action.is(ActionName::Delete));
        deed.filter(|deed| deed.result.is(ActionResult::Done))?;
        Some(record.at)
    });
    if let Some(at) = first {
        let why = events
            .iter()
            .rev()
            .find(|(when, event)| *when <= at && event.decision.is(NodeDecision::Delete));
        let why = why.map_or("no reason recorded", |(_, event)| event.text.as_str());
        return End::Deleted {
            at,
            why: why.to_owned(),
        };
    }
    match events.last() {
        Some((at, event)) if !exists(&event.phase) || event.decision.is(NodeDecision::Forget) => {
            let first = events.iter().find(|(_, one)| one.phase == event.phase);
            End::Gone {
                at: first.map_or(*at, |(at, _)| *at),
                why: event.text.clone(),
            }
        }
        Some((at, event)) => End::Unknown {
            at: *at,
            phase: event.phase.clone(),
        },
        None => End::Unknown {
            at: records.last().map(|record| record.at).unwrap_or_default(),
            phase: Named::Other("known".to_owned()),
        },
    }
}

/// `busy 2 h`.
pub fn part_in_words(part: &PhaseSpan) -> String {
    format!("{} {}", part.phase, Seconds(part.seconds))
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
