//! A node in the tick report.

use serde::{Deserialize, Serialize};

use super::ReasonReport;
use crate::names::{Named, ReasonName};
use scaling::figures::{ServerFigures, StartdFigures};
use scaling::job_names::RunningJob;
use scaling::maintenance::Requests;
use scaling::names::PhaseName;
use scaling::plan::{NodeDecision, NodeEntry};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its id.
    pub node: String,
    /// Its server's name.
    pub name: String,
    pub cloud: String,
    pub flavor: String,
    /// Its availability zone, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default)]
    pub server: ServerFigures,
    /// Its startd, when the collector has an ad of it.
    #[serde(default)]
    pub startd: Option<StartdFigures>,
    /// Some of its running jobs, if the report names owners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running_jobs: Vec<RunningJob>,
    pub phase: Named<PhaseName>,
    /// The requests of operators.
    #[serde(default, skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    /// What happened to it.
    #[serde(alias = "fate")]
    pub decision: Named<NodeDecision>,
    #[serde(flatten)]
    pub why: ReasonReport,
}

/// Whether a node of this phase has a server, or may have.
pub fn exists(phase: &Named<PhaseName>) -> bool {
    phase.known().is_none_or(PhaseName::has_server)
}

impl NodeReport {
    /// The reason, and the requests of operators that it does not name.
    pub fn words(&self) -> String {
        let text = &self.why.text;
        match self.requests.is_empty() || self.why.reason.is_one_of(&ReasonName::OF_REQUESTS) {
            true => text.clone(),
            false => format!("{text}; {}", self.requests),
        }
    }

    /// Whether it has a server, or may have, and is not created by this tick.
    pub fn is_there(&self) -> bool {
        !self.phase.is(PhaseName::New) && exists(&self.phase)
    }

    /// Whether this is its id, its server's name or UUID, or its host name.
    pub fn is_called(&self, name: &str) -> bool {
        let machine = self.startd.as_ref().map(|startd| &startd.machine);
        self.node == name
            || self.name == name
            || self.server.id.as_deref() == Some(name)
            || machine.is_some_and(|machine| machine == name)
    }
}

/// The nodes of a plan. Most nodes of a large pool have one of few reasons, often that of the node before: it is worded once.
pub(super) fn reports(lines: &[NodeEntry]) -> Vec<NodeReport> {
    let mut nodes: Vec<NodeReport> = Vec::with_capacity(lines.len());
    let mut before: Option<&NodeEntry> = None;
    for line in lines {
        let same = before.filter(|before| before.why == line.why);
        let why = match (same, nodes.last()) {
            (Some(_), Some(node)) => node.why.clone(),
            _ => ReasonReport::from(&line.why),
        };
        nodes.push(NodeReport::new(line, why));
        before = Some(line);
    }
    nodes
}

impl NodeReport {
    fn new(line: &NodeEntry, why: ReasonReport) -> NodeReport {
        NodeReport {
            node: line.node.to_string(),
            name: line.name.to_string(),
            cloud: line.cloud.to_string(),
            flavor: line.flavor.to_string(),
            zone: line.zone.clone(),
            server: line.server.clone(),
            startd: line.startd.clone(),
            running_jobs: Vec::new(),
            phase: line.phase.into(),
            requests: line.requests.clone(),
            decision: line.decision.into(),
            why,
        }
    }
}
