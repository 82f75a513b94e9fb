//! Reports of resources that are no nodes: builders, leftovers and floating IPs.

use serde::{Deserialize, Serialize};

use super::ReasonReport;
use crate::names::Named;
use scaling::leftover::LeftoverKind;
use scaling::plan::{BuilderEntry, FloatingIpEntry, LeftoverEntry, NodeDecision};

/// A builder: a server that becomes an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuilderReport {
    /// Its id.
    pub node: String,
    /// Its server's UUID.
    pub server: String,
    /// Its server's name.
    pub name: String,
    pub cloud: String,
    #[serde(alias = "fate")]
    pub decision: Named<NodeDecision>,
    #[serde(flatten)]
    pub why: ReasonReport,
}

impl From<&BuilderEntry> for BuilderReport {
    fn from(line: &BuilderEntry) -> BuilderReport {
        BuilderReport {
            node: line.node.to_string(),
            server: line.server.clone(),
            name: line.name.clone(),
            cloud: line.cloud.clone(),
            decision: line.decision.into(),
            why: ReasonReport::from(&line.why),
        }
    }
}

/// A resource that outlived its server, or looks so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftoverReport {
    pub id: String,
    pub kind: Named<LeftoverKind>,
    /// Its name, or the address of a floating IP.
    pub name: String,
    pub cloud: String,
    /// The UUID of its server, where that is known.
    pub server: Option<String>,
    #[serde(alias = "fate")]
    pub decision: Named<NodeDecision>,
    #[serde(flatten)]
    pub why: ReasonReport,
}

impl From<&LeftoverEntry> for LeftoverReport {
    fn from(line: &LeftoverEntry) -> LeftoverReport {
        LeftoverReport {
            id: line.id.clone(),
            kind: line.kind.into(),
            name: line.name.clone(),
            cloud: line.cloud.clone(),
            server: line.server.clone(),
            decision: line.decision.into(),
            why: ReasonReport::from(&line.why),
        }
    }
}

/// A floating IP of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FloatingIpReport {
    pub id: String,
    pub address: String,
    pub cloud: String,
    pub node: String,
    /// The UUID of the node's server.
    pub server: String,
    #[serde(alias = "fate")]
    pub decision: Named<NodeDecision>,
    #[serde(flatten)]
    pub why: ReasonReport,
}

impl From<&FloatingIpEntry> for FloatingIpReport {
    fn from(line: &FloatingIpEntry) -> FloatingIpReport {
        FloatingIpReport {
            id: line.id.clone(),
            address: line.address.clone(),
            cloud: line.cloud.clone(),
            node: line.node.to_string(),
            server: line.server.clone(),
            decision: line.decision.into(),
            why: ReasonReport::from(&line.why),
        }
    }
}
