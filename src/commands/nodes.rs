//! Requests for single nodes: their choice on the command line, and the report of the effect.

use std::io::Write;

use serde::Serialize;
use serde_json::json;

use super::high_availability::{note_line, with_note};
use super::print;
use crate::cli::{NodeChoice, Output};
use scaling::maintenance::{NodeChange, Requests};
use scaling::observation::NodeId;
use scaling::state::{NodeState, State};
use system::exit::Exit;
use system::plain::line;

/// One node, and the effect on it.
#[derive(Serialize)]
pub(super) struct NodeOut {
    pub(super) node: NodeId,
    name: String,
    cloud: String,
    flavor: String,
    pub(super) change: NodeChange,
    requests: Requests,
}

impl NodeOut {
    /// Whether the node is not as requested.
    pub(super) fn is_refused(&self) -> bool {
        !matches!(self.change, NodeChange::Changed | NodeChange::Unchanged)
    }

    pub(super) fn new(state: &State, node: NodeId, change: NodeChange) -> Option<NodeOut> {
        let memory = state.nodes.get(&node)?;
        Some(NodeOut {
            name: memory.name.to_string(),
            cloud: memory.node_type.cloud.clone(),
            flavor: memory.node_type.flavor.clone(),
            requests: memory.requests.clone(),
            node,
            change,
        })
    }
}

/// The one node of this name.
///
/// # Errors
/// There is none, or there are several.
pub(super) fn named(state: &State, name: &str) -> anyhow::Result<NodeId> {
    let mut found = state.nodes_called(name);
    match (found.pop(), found.is_empty()) {
        (Some(node), true) => Ok(node),
        (Some(node), false) => {
            let others: Vec<String> = found.iter().map(ToString::to_string).collect();
            anyhow::bail!(
                "node {name}: several nodes have this name; give an id: {node}, {}",
                others.join(", ")
            )
        }
        (None, _) => anyhow::bail!(
            "node {name}: not in the state; give an id, server name, server UUID or host name of `ehos status --all`"
        ),
    }
}

/// The nodes of the command line.
///
/// # Errors
/// A name that no node has, or that several have.
pub(super) fn chosen(state: &State, choice: &NodeChoice) -> anyhow::Result<Vec<NodeId>> {
    if !choice.nodes.is_empty() {
        return choice.nodes.iter().map(|name| named(state, name)).collect();
    }
    let is = |wanted: &Option<String>, there: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == there)
    };
    let is_chosen = |memory: &NodeState| {
        let node_type = &memory.node_type;
        is(&choice.cloud, &node_type.cloud)
            && is(&choice.flavor, &node_type.flavor)
            && is(&choice.image, &node_type.image)
            && memory.unsigned.is_none()
    };
    let nodes = state.nodes.iter();
    let nodes = nodes.filter(|(_, memory)| is_chosen(memory));
    Ok(nodes.map(|(id, _)| id.clone()).collect())
}

/// Writes the effects and the note to `out`; `changed` and `unchanged` are its sentences. Exit code 1 if a node that was named is not as
/// requested.
pub(super) fn report(
    out: &mut dyn Write,
    output: Output,
    nodes: &[NodeOut],
    all_must: bool,
    (changed, unchanged): (&str, &str),
    note: Option<&str>,
) -> anyhow::Result<Exit> {
    let refused = nodes.iter().any(NodeOut::is_refused);
    let exit = match all_must && refused || nodes.is_empty() {
        true => Exit::Failed,
        false => Exit::Done,
    };
    let text = || {
        if nodes.is_empty() {
            return line!("no node of the state matches; `ehos status --all` lists them");
        }
        let sentences = nodes.iter();
        let sentences = sentences.map(|node| sentence(node, changed, unchanged));
        sentences.collect::<String>() + &note_line(note)
    };
    print(out, output, text, || {
        with_note(
            json!({"version": 1, "exit": exit as u8, "nodes": nodes}),
            note,
        )
    })?;
    Ok(exit)
}

fn sentence(node: &NodeOut, changed: &str, unchanged: &str) -> String {
    let NodeOut {
        node: id, requests, ..
    } = node;
    let effect = match node.change {
        NodeChange::Changed => changed.to_owned(),
        NodeChange::Unchanged => unchanged.to_owned(),
        NodeChange::Kept => {
            format!("not changed: {requests}; first run `ehos keep --release {id}`")
        }
        NodeChange::Deleting => "not changed: the delete of its server was sent".to_owned(),
        NodeChange::NotOurs => {
            "not changed: nothing proves that it is a node of this pool; `ehos status` shows the remedy".to_owned()
        }
    };
    line!(
        "node {id} ({}, {} in {}): {effect}",
        node.name,
        node.flavor,
        node.cloud
    )
}
