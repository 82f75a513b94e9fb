//! Finishes the plan: every node with its reason, figures, and notices.

use super::planner::{JobGroup, NewNode, NodePlan, Planner, Standing};
use super::unknown_sources::unseen;
use super::{
    JobGroupEntry, KnownSources, NodeDecision, NodeEntry, Plan, identity_mismatches, phase_name,
    queue, to_come,
};
use crate::figures::{self, PolicyFigures, TypeFigures};
use crate::maintenance::{KeptNodes, Requests};
use crate::money::Money;
use crate::names::PhaseName;
use crate::obscure;
use crate::observation::{NodeId, Observed};
use crate::reason::{Reason, Unheard};
use crate::state::NodeType;

impl<'a> Planner<'a> {
    /// The plan, when all passes are done.
    pub(super) fn into_plan(mut self) -> Plan {
        let (observation, policy) = (self.observation, self.policy);
        let contradictions =
            identity_mismatches::told(&self.nodes, &self.noticed, &self.survey.impostors);
        let groups = std::mem::take(&mut self.groups).into_iter();
        self.next.recent.add(self.next.now, self.actions.planned());
        let nodes = self.node_lines();
        let existing = self
            .nodes
            .iter()
            .zip(&nodes)
            .filter(|(node, _)| node.exists());
        let existing = existing.map(|(node, entry)| (entry, node.alive()));
        let node_types = self.survey.node_types.iter();
        Plan {
            at: observation.at,
            policy: PolicyFigures::of(policy),
            queue: queue(observation),
            to_come: to_come(observation),
            cores: figures::cores(existing, &self.survey.others),
            clouds: figures::clouds(
                observation,
                policy,
                &self.next,
                node_types
                    .zip(&self.counts.types)
                    .map(|(one, count)| (one, count.nodes)),
                &self.survey.uncounted,
            ),
            backoffs: figures::backoffs(policy, &self.next),
            nodes,
            groups: groups.map(|group| self.group_line(group)).collect(),
            pauses: self.next.active_pauses(observation.at).collect(),
            kept: self.kept_nodes(),
            protected: self.next.protected(policy),
            stranded: None,
            window: None,
            unknown_sources: unseen(observation, policy, &self.next)
                .into_iter()
                .chain(contradictions)
                .collect(),
            sources_seen: KnownSources {
                schedds: known(observation.pool.schedds.values()),
                clouds: known(observation.clouds.values()),
            },
            notices: self.all_notices(),
            look_again: self.look_again(),
            builders: self.builders,
            leftovers: self.leftovers,
            floating_ips: self.floating_ips,
            brakes: self.brakes,
            standby: self.standby,
            budgets_spent: self.budgets_spent,
            cost: self.costs.known(policy).then_some(self.costs),
            actions: self.actions.all,
            next: self.next,
        }
    }

    fn group_line(&self, group: JobGroup) -> JobGroupEntry {
        JobGroupEntry {
            request: group.asks.request,
            by_machine: self.observation.matches.depends_on_machine(&group.asks),
            needs: group.asks.needs,
            submitters: group.submitters,
            example: group.example,
            jobs: group.jobs,
            waiting_seconds: group.waiting.as_secs(),
            why: group.why,
        }
    }

    fn node_lines(&self) -> Vec<NodeEntry> {
        let Standing { alive, unneeded } = self.standing();
        let spare = self.spare_reason(self.spare(alive, unneeded));
        let types = self.survey.node_types.iter();
        let types: Vec<TypeFigures> = types.map(|one| self.type_figures(one)).collect();
        #[allow(clippy::indexing_slicing)] // Each node has the number of one of the types.
        let figures = |node: &NodePlan<'_>| &types[node.type_number];
        let there = self.nodes.iter();
        let mut all = Vec::with_capacity(self.nodes.len() + self.new_nodes.len());
        all.extend(there.map(|node| self.node_line(node, figures(node), &spare)));
        all.extend(self.new_nodes.iter().map(|new| self.new_line(new)));
        all
    }

    fn type_figures(&self, node_type: &NodeType) -> TypeFigures {
        TypeFigures::new(self.observation, self.policy, &self.next, node_type)
    }

    fn node_line(&self, node: &NodePlan<'_>, figures: &TypeFigures, spare: &Reason) -> NodeEntry {
        let kept = || (NodeDecision::Keep, self.kept_because(node, spare));
        let (decision, why) = (node.decision.as_deref().cloned()).unwrap_or_else(kept);
        let why = match why {
            // Its cloud does answer.
            Reason::CloudUnknown
            | Reason::Unheard {
                cause: Unheard::CloudUnknown { .. },
            } if self.survey.obscured.contains(&node.id) => Reason::ServerUnread,
            why => why,
        };
        NodeEntry {
            node: node.id.clone(),
            name: node.name().clone(),
            cloud: figures.cloud.clone(),
            flavor: figures.flavor.clone(),
            // One that is forgotten has none.
            zone: node
                .memory
                .zone
                .clone()
                .filter(|_| decision != NodeDecision::Forget),
            server: figures.server_of(node, &self.next),
            startd: figures::startd_of(node),
            phase: phase_name(&node.phase),
            requests: node.requests.clone(),
            decision,
            why,
        }
    }

    fn new_line(&self, new: &NewNode) -> NodeEntry {
        let figures = self.type_figures(&new.node_type);
        NodeEntry {
            server: figures.new_server(),
            startd: None,
            node: new.id.clone(),
            name: new.name.as_str().into(),
            cloud: figures.cloud,
            flavor: figures.flavor,
            zone: new.zone.clone(),
            phase: PhaseName::New,
            requests: Requests::default(),
            decision: NodeDecision::Create,
            why: new.why.clone(),
        }
    }

    /// Nodes that operators keep, with their price.
    fn kept_nodes(&self) -> Option<KeptNodes> {
        let nodes = self.nodes.iter();
        let kept = nodes.filter(|node| node.is_kept_by_operator() && node.exists());
        let prices: Vec<Option<Money>> = kept.map(|node| self.price_of(node)).collect();
        let known: Vec<Money> = prices.iter().flatten().copied().collect();
        let (nodes, priced) = (prices.len() as u64, known.len() as u64);
        (nodes > 0).then(|| KeptNodes {
            nodes,
            per_hour: (priced > 0).then(|| known.into_iter().sum()),
            without_price: nodes - priced,
        })
    }

    /// All that an operator should know, in order.
    fn all_notices(&self) -> Vec<String> {
        let mut notices = self.notices.clone();
        notices.extend(obscure::told(self.observation));
        notices.extend(obscure::counted(&self.survey.uncounted));
        notices.extend(self.unsigned());
        notices.extend(self.outlived());
        notices.extend(self.ending_tokens());
        notices.extend(self.older_images());
        notices.extend(self.retiring());
        notices.extend(self.next.full_zones(self.policy));
        // On standby the active ehos creates the nodes, and each is adopted.
        if self.standby.is_none() {
            notices.extend(self.found());
        }
        notices
    }

    /// Servers that this state did not know.
    fn found(&self) -> Vec<String> {
        let memory = |node: &NodeId| self.next.nodes.get(node);
        let unsigned = |node: &NodeId| memory(node).is_some_and(|memory| memory.unsigned.is_some());
        let foreign =
            |node: &&NodeId| memory(node).is_some_and(|memory| memory.other_condor_host.is_some());
        let adopted = self.survey.adopted.iter().filter(|node| !unsigned(node));
        let (foreign, adopted): (Vec<&NodeId>, Vec<&NodeId>) = adopted.partition(foreign);
        let lines = [
            (adopted, "adopted", "unknown to the state"),
            (
                foreign,
                "found",
                "of this ehos.cluster with another central manager, not touched",
            ),
        ];
        let some = lines.into_iter().filter(|(nodes, ..)| !nodes.is_empty());
        some.map(|(nodes, found, what)| {
            let servers = if nodes.len() == 1 {
                "a server"
            } else {
                "servers"
            };
            let names: Vec<&str> = nodes.iter().map(|node| node.0.as_str()).collect();
            format!("{found} {servers} {what}: {}", names.join(", "))
        })
        .collect()
    }
}

fn known<'s, T: 's>(sources: impl Iterator<Item = &'s Observed<T>>) -> usize {
    sources.filter(|source| source.is_known()).count()
}
