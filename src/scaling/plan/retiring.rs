//! Clouds with `retire`, and clouds that left the configuration.

use std::collections::BTreeMap;

use super::planner::{NodePlan, Planner};
use super::{UnknownSource, phase_name};
use crate::leftover::Leftover;
use crate::money::Money;
use crate::observation::{CloudName, Observed, Role};
use crate::policy::CloudPolicy;
use crate::source::{Source, SourceKind};
use crate::state::State;

/// So many servers are named.
const NAMED: usize = 5;

impl Planner<'_> {
    /// Notices for clouds with `retire`: their nodes, builders, leftovers and cost.
    pub(super) fn retiring(&self) -> Vec<String> {
        let clouds = self.policy.clouds.iter().filter(|cloud| cloud.retire);
        clouds.map(|cloud| self.retiring_cloud(cloud)).collect()
    }

    fn retiring_cloud(&self, cloud: &CloudPolicy) -> String {
        let name = &cloud.name;
        let Some(Observed::Known(view)) = self.observation.clouds.get(name) else {
            return format!(
                "cloud {name} has retire: true and does not answer; keep it in the configuration until a report shows it empty"
            );
        };
        let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
        let nodes = self.nodes.iter();
        let nodes: Vec<&NodePlan<'_>> = nodes
            .filter(|node| node.node_type().cloud == *name && node.exists())
            .collect();
        for node in &nodes {
            *phases.entry(phase_name(&node.phase).as_str()).or_default() += 1;
        }
        let mut parts = Vec::new();
        if !nodes.is_empty() {
            let counts = phases
                .iter()
                .map(|(phase, count)| format!("{count} {phase}"));
            let counts: Vec<String> = counts.collect();
            let nodes = several(nodes.len(), "node");
            parts.push(format!("{nodes} ({})", counts.join(", ")));
        }
        let builders = self.survey.builders.iter();
        let builders = builders.filter(|builder| builder.cloud == *name).count();
        if builders > 0 {
            parts.push(several(builders, "builder"));
        }
        // A later search may still find a port or volume of a deleted server.
        let ours = view.leftovers.known().map_or(0, |found| {
            let of_no_server = |leftover: &&Leftover| {
                let server = leftover.server();
                server.is_none_or(|id| view.servers.iter().all(|server| server.id() != id))
            };
            found.ours.iter().filter(of_no_server).count()
        });
        let unsearched = self.next.departed.values();
        let unsearched = unsearched
            .filter(|gone| gone.cloud == *name && !gone.searched && gone.server_id.is_some())
            .count();
        if ours > 0 {
            parts.push(several(ours, "leftover"));
        }
        if let Observed::Unknown(_) = view.leftovers {
            parts.push("an unknown number of leftovers (the list failed)".to_owned());
        } else if unsearched > 0 {
            let servers = several(unsearched, "deleted server");
            parts.push(format!("{servers} not yet searched for leftovers"));
        }
        let masters = view.servers.iter();
        let masters = masters
            .filter(|server| server.role() == Role::Master)
            .count();
        let kept = match masters {
            0 => String::new(),
            _ => "; ehos does not delete the central manager in it".to_owned(),
        };
        if parts.is_empty() {
            return format!(
                "cloud {name} has retire: true and is empty of nodes, builders and leftovers; remove it from the \
                 configuration{kept}"
            );
        }
        let costs = self.costs.clouds.iter().find(|cost| cost.cloud == *name);
        let an_hour = costs.filter(|cost| cost.per_hour > Money::default());
        let an_hour =
            an_hour.map_or_else(String::new, |cost| format!(", {} per hour", cost.per_hour));
        let how = match self.policy.drains() {
            true => "ehos drains and deletes each node once it is idle",
            false => "each node shuts itself down after idle_timeout without a claim",
        };
        format!(
            "cloud {name} has retire: true and still contains {}{an_hour}; {how}{kept}",
            parts.join(", ")
        )
    }
}

/// `1 node`, `2 nodes`.
fn several(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Nodes and builders, as last observed, of clouds that left the configuration.
pub(super) fn removed(
    state: &State,
    configured: impl Fn(&CloudName) -> bool,
) -> Vec<UnknownSource> {
    let builders = state.builders.values().map(|builder| &builder.cloud);
    let mut clouds: BTreeMap<&CloudName, usize> = BTreeMap::new();
    for cloud in builders.filter(|cloud| !configured(cloud)) {
        *clouds.entry(cloud).or_default() += 1;
    }
    for cloud in state.removed_clouds.keys() {
        clouds.entry(cloud).or_default();
    }
    let line = |(cloud, builders): (&CloudName, usize)| {
        let none = BTreeMap::new();
        let nodes = state.removed_clouds.get(cloud).unwrap_or(&none);
        let mut what = Vec::new();
        if !nodes.is_empty() {
            let names = nodes.values().take(NAMED).map(|node| node.name.as_str());
            let names: Vec<&str> = names.collect();
            let more = if nodes.len() > NAMED { ", …" } else { "" };
            let nodes = several(nodes.len(), "node");
            what.push(format!("{nodes} ({}{more})", names.join(", ")));
        }
        if builders > 0 {
            what.push(several(builders, "builder"));
        }
        let prices = nodes.keys().filter_map(|id| state.spending.price_of(id));
        let per_hour: Money = prices.sum();
        let an_hour = if per_hour > Money::default() {
            format!(", {per_hour} per hour")
        } else {
            String::new()
        };
        UnknownSource {
            source: Source::new(SourceKind::RemovedCloud, cloud),
            why: format!(
                "no longer in the configuration, and last contained {}{an_hour}; restore it with `retire: true` until a report shows \
                 it empty, or delete these by hand and run `ehos resume {cloud}`",
                what.join(", ")
            ),
        }
    };
    clouds.into_iter().map(line).collect()
}
