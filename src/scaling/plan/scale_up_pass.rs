//! New nodes: for the remaining demand, then for nodes_min and nodes_spare.

use std::collections::BTreeMap;

use super::choosing::{Candidate, Chosen, Market, Wanted};
use super::planner::{JobGroup, NewNode, Planner, Standing, cores};
use crate::action::{CloudAction, Intent};
use crate::allocation::Choice;
use crate::capacity::Capacity;
use crate::job_requirements::{JobFault, JobGroupKey, MatchAnswer, MatchResult};
use crate::limits::{self, Case, Limit};
use crate::nearest::Nearest;
use crate::node::Phase;
use crate::observation::{
    METADATA_IMAGE, NodeId, Observed, OwnedServer, Resources, Role, ServerStatus,
};
use crate::policy::CloudPolicy;
use crate::reason::{Made, Reason, Refuses};
use crate::sorting::IntoMap;
use crate::state::NodeType;
use crate::submitter::Submitters;

impl<'a> Planner<'a> {
    /// Packs what is left of the groups into new nodes, then makes up nodes_min and nodes_spare. A node is made for the
    /// first group that has no room yet, and takes of those behind it what fits beside: first-fit-decreasing, node by node.
    pub(super) fn create(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        self.count_requested();
        let market = self.market(&groups);
        self.counts.first_nodes = self.first_nodes(&market, &groups);
        let brake = self.create_brake();
        for position in 0..groups.len() {
            let Some((group, behind)) = groups
                .get_mut(position..)
                .and_then(<[JobGroup]>::split_first_mut)
            else {
                break;
            };
            if group.beside > 0 {
                group.why.push(Reason::FitsNew { jobs: group.beside });
            }
            if group.left > 0 {
                let jobs = group.left;
                match group.fault.take() {
                    Some(JobFault::Unread { attribute, problem }) => {
                        group.why.push(Reason::Unread {
                            jobs,
                            attribute,
                            problem,
                        });
                        continue;
                    }
                    Some(JobFault::OwnerBound { owner, bound }) => {
                        group.why.push(Reason::OwnerBound { jobs, owner, bound });
                        continue;
                    }
                    _ => {}
                }
                if let Some(why) = self.impossible(&market, &group.asks) {
                    self.doubt_capacities(&market, &group.asks);
                    group.why.push(why);
                    continue;
                }
                if let Some(brake) = &brake {
                    group.why.push(Reason::NothingMade {
                        jobs: group.left,
                        brake: brake.clone(),
                    });
                    continue;
                }
            }
            self.create_for(&market, position, group, behind);
        }
        if brake.is_none() {
            self.create_minimum_and_spare(&market);
        }
        self.groups = groups;
    }

    /// Nodes for what is left of one group.
    fn create_for(
        &mut self,
        market: &Market<'a>,
        position: usize,
        group: &mut JobGroup,
        behind: &mut [JobGroup],
    ) {
        let asked = group.left;
        let mut limits: Option<Vec<Limit>> = None;
        let mut max_new_nodes = group.max_new_nodes;
        let mut nodes = 0;
        let mut node_types: Vec<Made> = Vec::new();
        while group.left > 0 && max_new_nodes > 0 {
            max_new_nodes -= 1;
            let wanted = Wanted {
                position,
                group,
                behind,
            };
            let Chosen {
                cloud,
                node_type,
                load,
                choice,
            } = match self.choose(market, Some(wanted)) {
                Ok(chosen) => chosen,
                Err(held_by) => {
                    limits = Some(held_by);
                    break;
                }
            };
            count_kind(&mut node_types, choice.as_ref());
            let mut own = 0;
            for (offset, jobs) in load.placed {
                match offset.checked_sub(1) {
                    None => own = jobs,
                    Some(offset) => {
                        if let Some(other) = behind.get_mut(offset) {
                            other.left -= jobs;
                            other.beside += jobs;
                        }
                    }
                }
            }
            group.left -= own;
            nodes += 1;
            let why = Reason::CreateForDemand {
                jobs: own,
                request: group.asks.request,
                choice,
            };
            self.make(cloud, node_type, why, Some(group));
        }
        if asked > group.left {
            group.why.push(Reason::NewNodes {
                jobs: asked - group.left,
                nodes,
                kinds: node_types,
            });
        }
        self.say_what_waits(market, group, limits.unwrap_or_default());
    }

    /// Why the rest of a group gets no nodes.
    fn say_what_waits(&self, market: &Market<'a>, group: &mut JobGroup, limits: Vec<Limit>) {
        let mut limits = limits.into_iter();
        let limit = limits.next();
        let jobs = group.left;
        let took_none = group.max_new_nodes < u64::MAX && limit.is_none();
        let refused = group.refused + if took_none { jobs } else { 0 };
        if refused > 0 {
            group.why.push(Reason::Refused { jobs: refused });
        }
        let Some(limit) = limit else {
            if jobs > 0
                && refused == 0
                && let Some(clause) = self.first_will_tell(market, &group.asks)
            {
                group.why.push(Reason::FirstNodeDecides { jobs, clause });
            }
            return;
        };
        if jobs > 0 {
            group.why.push(Reason::Limited {
                jobs,
                nodes: self.nodes_for(market, &group.asks, jobs),
                limit,
                other_limits: limits.collect(),
            });
            // A higher limit may not help these jobs.
            if let Some(clause) = self.undetermined(market, &group.asks) {
                group.why.push(Reason::MatchUndetermined { jobs, clause });
            }
        }
    }

    fn create_minimum_and_spare(&mut self, market: &Market<'a>) {
        let Standing { mut alive, .. } = self.with_silent(self.standing());
        while alive < self.policy.nodes_min {
            let Ok(Chosen {
                cloud, node_type, ..
            }) = self.choose(market, None)
            else {
                break;
            };
            self.make(
                cloud,
                node_type,
                Reason::CreateForMinimum {
                    nodes_min: self.policy.nodes_min,
                },
                None,
            );
            alive += 1;
        }
        let standing = self.standing();
        let nodes_spare = self.spare(standing.alive, standing.unneeded);
        let Standing { mut unneeded, .. } = self.with_silent(standing);
        while unneeded < nodes_spare {
            let Ok(Chosen {
                cloud, node_type, ..
            }) = self.choose(market, None)
            else {
                break;
            };
            self.make(
                cloud,
                node_type,
                Reason::CreateForSpare {
                    nodes_spare,
                    percent: self.policy.nodes_spare.percent(),
                },
                None,
            );
            unneeded += 1;
        }
    }

    /// How many nodes may be on their way before one has joined, of each kind whose image is tested.
    fn first_nodes(&self, market: &Market<'a>, groups: &[JobGroup]) -> BTreeMap<NodeType, u64> {
        // The flavors of a cloud stand together, and its servers are searched once.
        let mut last: Option<(&str, bool)> = None;
        let mut is_tested = |cloud: &'a CloudPolicy| match last {
            Some((name, tested)) if name == cloud.name => tested,
            _ => {
                let tested = self.is_tested(cloud);
                last = Some((&cloud.name, tested));
                tested
            }
        };
        let tested = market.candidates.iter().filter(|candidate| {
            let joined = self.next.node_type(&candidate.node_type);
            joined.is_none_or(|memory| memory.joined == 0) && is_tested(candidate.cloud)
        });
        let share = |candidate: &Candidate<'_>| {
            // In thousandths of a node: groups share nodes.
            let needed = groups.iter().filter(|group| group.left > 0).map(|group| {
                let request = self
                    .observation
                    .matches
                    .request(&candidate.node_type, &group.asks);
                let holds = candidate.capacity.as_ref();
                let holds = holds.map_or(0, |capacity| capacity.holds(&request));
                let takes = self.answer(&candidate.node_type, &group.asks).may_use();
                let jobs = if takes { group.left } else { 0 };
                jobs.saturating_mul(1000).checked_div(holds).unwrap_or(0)
            });
            let needed = needed.fold(0, u64::saturating_add).div_ceil(1000);
            let needed = needed.saturating_add(self.counts.unjoined(&candidate.node_type));
            limits::first_nodes(needed, self.policy.max_unproven)
        };
        tested
            .map(|candidate| (candidate.node_type.clone(), share(candidate)))
            .into_map()
    }

    /// Whether the first boot of this cloud's image was seen to go well: `ehos image build` has made it, or the pool's
    /// central manager runs from it.
    fn is_tested(&self, cloud: &CloudPolicy) -> bool {
        let view = self.observation.clouds.get(&cloud.name);
        view.and_then(Observed::known).is_some_and(|view| {
            let runs_from_it = |server: &OwnedServer| {
                let record = server.record();
                server.role() == Role::Master
                    && server.is_signed()
                    && record.status == ServerStatus::Active
                    && record.metadata.get(METADATA_IMAGE) == Some(&cloud.image)
            };
            view.image_tested || view.servers.iter().any(runs_from_it)
        })
    }

    /// Intents whose servers no list has yet will take quota that the cloud does not count yet.
    fn count_requested(&mut self) {
        for index in self.nodes_where(|node| node.exists() && node.server.is_none()) {
            let node_type = self.node(index).node_type().clone();
            self.count_planned(&node_type);
        }
        // Those that are built have their servers in the quota, and not yet their ports and volumes.
        for index in self.nodes_where(|node| node.coming() && node.phase == Phase::Building) {
            let cloud = self.node(index).node_type().cloud.clone();
            self.counts.planned.entry(cloud).or_default().building += 1;
        }
    }

    fn count_planned(&mut self, node_type: &NodeType) {
        let view = self
            .observation
            .clouds
            .get(&node_type.cloud)
            .and_then(Observed::known);
        let flavor = view.and_then(|view| view.flavors.get(&node_type.flavor));
        let planned = self
            .counts
            .planned
            .entry(node_type.cloud.clone())
            .or_default();
        planned.instances += 1;
        planned.cores += flavor.map_or(0, |flavor| flavor.vcpus);
        planned.ram_mb += flavor.map_or(0, |flavor| flavor.ram_mb);
    }

    /// A node that shows less than it has, broken or in hostile hands, must not keep jobs waiting for ever: a capacity that
    /// no node has shown for the first time since `unclaimed_backoff` gives way to that of the flavor, if that would do for
    /// the jobs. `unproven` bounds what is created to see.
    fn doubt_capacities(&mut self, market: &Market<'a>, asks: &JobGroupKey) {
        let now = self.next.now;
        for candidate in &market.candidates {
            let node_type = &candidate.node_type;
            let view = self.observation.clouds.get(&node_type.cloud);
            let flavor = view.and_then(|view| view.known()?.flavors.get(&node_type.flavor));
            let request = self.observation.matches.request(node_type, asks);
            let is_old = self.next.node_type(node_type).is_some_and(|memory| {
                let shown = memory.capacity_shown;
                memory.capacity.is_some()
                    && shown.is_none_or(|at| now.since(at) > self.policy.unclaimed_backoff)
            });
            if is_old && flavor.is_some_and(|flavor| request.fits(&flavor.expected_capacity())) {
                let memory = self.next.node_type_mut(node_type);
                memory.capacity = None;
                memory.capacity_shown.get_or_insert(now);
            }
        }
    }

    /// When no node of any kind could ever run it; while a cloud, a flavor or HTCondor's answer is unknown, that is not
    /// certain, and said so.
    fn impossible(&self, market: &Market<'a>, asks: &JobGroupKey) -> Option<Reason> {
        let candidates = &market.candidates;
        let large = candidates.iter().filter(|candidate| {
            let request = self.observation.matches.request(&candidate.node_type, asks);
            let capacity = candidate.capacity.as_ref();
            capacity.is_none_or(|capacity| capacity.fits(&request))
        });
        let mut large = large.map(|candidate| &candidate.node_type).peekable();
        if large.peek().is_none() {
            let spaces = candidates.iter().flat_map(|one| {
                let spaces = one.capacity.iter().flat_map(Capacity::spaces);
                spaces.map(|space| (&one.node_type, *space))
            });
            let spaces: Vec<(&NodeType, Resources)> = spaces.collect();
            let largest = spaces.iter().map(|(_, space)| *space);
            return Some(Reason::TooLarge {
                asks: asks.request,
                largest: largest.max_by_key(|space| (space.memory_mb, *space)),
                nearest: Nearest::of(&asks.request, &spaces),
            });
        }
        let mut unanswered = None;
        let mut refused = Vec::new();
        for node_type in large {
            match self.answer(node_type, asks) {
                MatchAnswer::Takes | MatchAnswer::Perhaps(_) => return None,
                MatchAnswer::Unknown(why) => drop(unanswered.get_or_insert(why)),
                MatchAnswer::Refuses(verdict) => refused.push(Refuses {
                    cloud: node_type.cloud.clone(),
                    flavor: node_type.flavor.clone(),
                    node: *verdict == MatchResult::NodeRefuses,
                    clause: match verdict {
                        MatchResult::JobRefuses { clause } => clause.clone(),
                        _ => None,
                    },
                }),
            }
        }
        Some(match unanswered {
            Some(why) => Reason::NotAnswered {
                why: why.to_owned(),
            },
            None => Reason::NoMatch { refused },
        })
    }

    /// The number of nodes for these jobs, of the first node type that is large enough for one.
    fn nodes_for(&self, market: &Market<'_>, asks: &JobGroupKey, jobs: u64) -> u64 {
        let holds = |candidate: &Candidate<'_>| {
            let request = self.observation.matches.request(&candidate.node_type, asks);
            Some(candidate.capacity.as_ref()?.holds(&request))
        };
        let each = market.candidates.iter().filter_map(holds);
        let each = each.into_iter().find(|each| *each > 0);
        jobs.div_ceil(each.unwrap_or(1))
    }

    pub(super) fn case<'b>(
        &'b self,
        cloud: &'b CloudPolicy,
        node_type: &'b NodeType,
        submitters: &'b Submitters,
    ) -> Case<'b> {
        let mut unknown = self
            .observation
            .clouds
            .iter()
            .filter(|(_, view)| !view.is_known());
        // One that is to be removed counts with the nodes that are known of it: it may never answer again.
        let retires = |name: &str| self.policy.cloud(name).is_some_and(|cloud| cloud.retire);
        let never_seen = unknown
            .find(|(name, _)| !self.next.clouds.contains(*name) && !retires(name))
            .map(|(name, _)| name.as_str());
        let deletes = self.removals.len() as u64 + self.builder_deletes();
        let reserved = deletes.min(self.actions.changes_at_first() / 2);
        Case {
            policy: self.policy,
            cloud,
            view: self
                .observation
                .clouds
                .get(&cloud.name)
                .and_then(Observed::known),
            flavor: &node_type.flavor,
            state: &self.next,
            never_seen,
            nodes: self.counts.nodes,
            nodes_in_cloud: self
                .counts
                .in_cloud
                .get(&cloud.name)
                .copied()
                .unwrap_or_default(),
            cores: self.counts.cores,
            cores_in_cloud: self
                .counts
                .cores_in_cloud
                .get(&cloud.name)
                .copied()
                .unwrap_or_default(),
            unsized_nodes: &self.counts.unsized_nodes,
            unjoined_of_kind: self.counts.unjoined(node_type),
            first_nodes: self.counts.first_nodes.get(node_type).copied(),
            planned: self
                .counts
                .planned
                .get(&cloud.name)
                .copied()
                .unwrap_or_default(),
            costs: &self.costs,
            submitters,
            charged: &self.counts.charged,
            actions_left: self.actions.changes_left().saturating_sub(reserved),
        }
    }

    fn make(
        &mut self,
        cloud: &CloudPolicy,
        node_type: NodeType,
        why: Reason,
        group: Option<&JobGroup>,
    ) {
        let id = self.fresh_id();
        let name = format!("{}-execute-{id}", self.policy.prefix);
        let intent = Intent {
            node: id.clone(),
            name: name.clone(),
            cloud: cloud.name.clone(),
            flavor: node_type.flavor.clone(),
            image: node_type.image.clone(),
            zone: self.next.zone_for(cloud, &node_type.flavor),
            at: self.observation.at,
        };
        self.count_planned(&node_type);
        let submitters = group.map_or(Submitters::NONE, |group| &group.submitters);
        self.costs.add(cloud, &node_type.flavor, submitters);
        self.counts.add(&node_type);
        let cores = cores(&node_type, self.observation, &self.next);
        self.counts.add_cores(&cloud.name, cores);
        self.counts.charged.add(submitters, cores);
        self.next.record_intent(&intent);
        if let Some(memory) = self.next.nodes.get_mut(&intent.node) {
            memory.made_for = group.map(|group| group.asks.clone());
            memory.submitters.clone_from(submitters);
        }
        let zone = intent.zone.clone();
        self.actions
            .ask_cloud(&cloud.name, CloudAction::Create(intent));
        self.new_nodes.push(NewNode {
            id,
            name,
            zone,
            node_type,
            why,
        });
    }

    /// The observation's time and a number that is not in use.
    fn fresh_id(&self) -> NodeId {
        let stamp = self.observation.at.strftime("%Y%m%dt%H%M%S").to_string();
        let taken =
            |id: &NodeId| self.next.nodes.contains_key(id) || self.next.departed.contains_key(id);
        let mut number = self.new_nodes.len() + 1;
        loop {
            let id = NodeId(format!("{stamp}-{number:02}").into());
            if !taken(&id) {
                return id;
            }
            number += 1;
        }
    }
}

/// One more of the kind that was chosen.
fn count_kind(node_types: &mut Vec<Made>, choice: Option<&Choice>) {
    let Some(choice) = choice else { return };
    let same = |made: &&mut Made| {
        (&made.choice.cloud, &made.choice.flavor) == (&choice.cloud, &choice.flavor)
    };
    match node_types.iter_mut().find(same) {
        Some(made) => made.nodes += 1,
        None => node_types.push(Made {
            nodes: 1,
            choice: choice.clone(),
        }),
    }
}
