//! The life of one node, put together from the records that name it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

use super::{Event, Record};
use crate::TickReport;
use crate::names::{Named, ReasonName, in_words};
use crate::tick_report::{ActionReport, ActionResult, NodeReport, exists};
use scaling::money::Money;
use scaling::names::{ActionName, PhaseName};
use scaling::plan::NodeDecision;
use scaling::seconds::Seconds;

/// The version of its JSON: raised when something in it changes its meaning or goes.
pub const VERSION: u32 = 2;

/// A node from its beginning to its end, as far as the history goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Life {
    /// Of this layout.
    pub version: u32,
    /// Its id.
    pub node: String,
    /// Its server's name.
    pub name: String,
    /// Its server's UUID, where it is known.
    pub server: Option<String>,
    /// Its host name, where it is known.
    pub machine: Option<String>,
    /// Its cloud.
    pub cloud: String,
    /// Its flavor.
    pub flavor: String,
    /// What it boots from.
    pub image: String,
    /// What happened, in order.
    pub events: Vec<LifeEvent>,
    /// How long it was in each phase, in the order in which it first was.
    pub phases: Vec<PhaseSpan>,
    /// What it cost, about, where its flavor has a price.
    pub cost: Option<Money>,
    /// How it ended.
    pub end: End,
    /// The same in a sentence.
    pub text: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LifeEvent {
    /// When the tick looked.
    pub at: Timestamp,
    /// Where the node was in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Named<PhaseName>>,
    /// What the tick did to it.
    #[serde(rename = "decision", skip_serializing_if = "Option::is_none")]
    pub fate: Option<Named<NodeDecision>>,
    /// Why, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Named<ReasonName>>,
    /// In a sentence.
    pub text: String,
    /// The numbers in it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub numbers: Map<String, Value>,
    /// What was done.
    pub actions: Vec<ActionTaken>,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionTaken {
    /// What.
    pub action: Named<ActionName>,
    /// What came of it.
    pub result: Named<ActionResult>,
    /// What failed or has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One phase of a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseSpan {
    /// Its name.
    pub phase: Named<PhaseName>,
    /// How long, all together.
    pub seconds: u64,
}

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// The last tick has seen it.
    #[serde(rename = "exists")]
    There {
        /// Where it is in its life.
        phase: Named<PhaseName>,
        /// Why it is left so, or what is done with it.
        #[serde(rename = "reason")]
        why: String,
    },
    /// ehos deleted its server.
    Deleted {
        /// When it was asked for.
        at: Timestamp,
        /// Why.
        #[serde(rename = "reason")]
        why: String,
    },
    /// Its server went without that.
    #[serde(rename = "deleted_externally")]
    Gone {
        /// When a tick found it so.
        at: Timestamp,
        /// What is known of it.
        #[serde(rename = "reason")]
        why: String,
    },
    /// There never was a server.
    #[serde(rename = "not_created")]
    NotMade {
        /// When it was asked for.
        at: Timestamp,
        /// What failed.
        #[serde(rename = "reason")]
        why: String,
    },
    /// The history does not say.
    Unknown {
        /// When it was seen last.
        at: Timestamp,
        /// Where it was in its life then.
        phase: Named<PhaseName>,
    },
}

impl Life {
    /// Of the records that name the node, the oldest first, and the last tick. `None` when neither knows it.
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
        let named = |of_event: &dyn Fn(&Event) -> &String,
                     of_shown: &dyn Fn(&NodeReport) -> &String| {
            let name = shown.map(of_shown).or_else(|| newest.map(of_event));
            name.cloned().unwrap_or_default()
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
            phases: phases(&events, until),
            cost: cost(&events, until),
            text: end.sentence(|at| format!("{at:.0}")),
            events: steps,
            end,
        })
    }
}

impl End {
    /// In a sentence, with times as `at` writes them.
    pub fn sentence(&self, at: impl Fn(&Timestamp) -> String) -> String {
        match self {
            End::There { phase, why } if why.starts_with(&phase.to_string()) => {
                format!("It is still there: {why}.")
            }
            End::There { phase, why } => format!("It is still there, {phase}: {why}."),
            End::Deleted { at: when, why } => {
                format!("It was deleted at {} because: {why}.", at(when))
            }
            End::Gone { at: when, why } => {
                format!(
                    "It went without ehos, and was missed at {}: {why}.",
                    at(when)
                )
            }
            End::NotMade { at: when, why } => {
                format!("It was asked for at {} and never made: {why}.", at(when))
            }
            End::Unknown { at: when, phase } => format!(
                "It was {phase} at {}, and is not there any more; the history does not say more.",
                at(when)
            ),
        }
    }
}

/// What was done with the node in one tick.
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
                fate: Some(event.fate.clone()),
                reason: Some(event.reason.clone()),
                text: event.text.clone(),
                numbers: event.numbers.clone(),
                actions,
            }),
            // What is tried again is no event of its own.
            None => (!actions.is_empty()).then(|| LifeEvent {
                at: record.at,
                phase: None,
                fate: None,
                reason: None,
                text: "once more".to_owned(),
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

/// From each event to the next one, and from the last one `until`.
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
    // Ticks are a moment: what lasted none of them was only passed.
    parts.retain(|part| part.seconds > 0);
    parts
}

fn cost(events: &[(Timestamp, &Event)], until: Timestamp) -> Option<Money> {
    let costs = spans(events, until).filter(|(event, _)| exists(&event.phase));
    let costs: Vec<Money> = costs
        .filter_map(|(event, seconds)| Some(event.per_hour?.over(Duration::from_secs(seconds))))
        .collect();
    (!costs.is_empty()).then(|| costs.into_iter().sum())
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
        let why = refused.message.unwrap_or_else(|| "it failed".to_owned());
        return End::NotMade { at, why };
    }
    if let Some(shown) = shown.filter(|shown| exists(&shown.phase)) {
        let decision = in_words(&shown.fate);
        let separator = if decision.is_empty() { "" } else { ", " };
        return End::There {
            phase: shown.phase.clone(),
            why: format!("{decision}{separator}{}", shown.why.text),
        };
    }
    // The first delete has the reason; those after it are asked because it was not done yet.
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
            .find(|(when, event)| *when <= at && event.fate.is(NodeDecision::Delete));
        let why = why.map_or("it is not said", |(_, event)| event.text.as_str());
        return End::Deleted {
            at,
            why: why.to_owned(),
        };
    }
    match events.last() {
        Some((at, event)) if !exists(&event.phase) || event.fate.is(NodeDecision::Forget) => {
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

/// How long, in words.
pub fn part_in_words(part: &PhaseSpan) -> String {
    format!("{} {}", part.phase, Seconds(part.seconds))
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
