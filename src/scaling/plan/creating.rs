//! New nodes: for the demand that is left, then for nodes_min and nodes_spare.

use super::{Action, Group, NewNode, Planner};
use crate::scaling::action::{CloudAction, Intent};
use crate::scaling::capacity::Capacity;
use crate::scaling::limits::{self, Case, Limit};
use crate::scaling::memory::Kind;
use crate::scaling::node::{Node, Phase};
use crate::scaling::observation::{NodeId, Resources, Seen};
use crate::scaling::packing::Stock;
use crate::scaling::policy::{Allocation, CloudPolicy};
use crate::scaling::reason::Reason;

impl<'a> Planner<'a> {
    /// Every (cloud, flavor) of the policy, in its order.
    pub(super) fn options(&self) -> Vec<(&'a CloudPolicy, Kind)> {
        let policy = self.policy;
        let of_cloud = |cloud: &'a CloudPolicy| {
            cloud.flavors.iter().map(move |flavor| {
                let kind = Kind {
                    cloud: cloud.name.clone(),
                    flavor: flavor.clone(),
                    image: cloud.image.clone(),
                };
                (cloud, kind)
            })
        };
        policy.clouds.iter().flat_map(of_cloud).collect()
    }

    /// Packs what is left of the groups into new nodes, then makes up nodes_min and nodes_spare.
    pub(super) fn create(&mut self, mut groups: Vec<Group>) -> Vec<Group> {
        self.count_requested();
        let mut new_space = Stock::default();
        let brake = self.create_brake();
        for group in &mut groups {
            let asked = group.left;
            group.left -= new_space.place(&group.request, group.left, true, |_, _| {});
            let nodes_before = self.new_nodes.len();
            if group.left > 0 {
                if let Some(why) = self.too_large(&group.request) {
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
            let mut limit = None;
            let mut may_buy = group.may_buy;
            while group.left > 0 && may_buy > 0 {
                may_buy -= 1;
                match self.choose(Some(&group.request)) {
                    Ok((cloud, kind, capacity)) => {
                        let jobs = capacity.holds(&group.request).min(group.left);
                        let why = Reason::CreateForDemand {
                            jobs,
                            request: group.request,
                        };
                        let index = self.new_nodes.len();
                        self.make(cloud, kind, why);
                        for space in capacity.after(&group.request, jobs) {
                            new_space.add(space, false, index);
                        }
                        group.left -= jobs;
                    }
                    Err(held_by) => {
                        limit = held_by;
                        break;
                    }
                }
            }
            let nodes = (self.new_nodes.len() - nodes_before) as u64;
            if asked > group.left {
                group.why.push(Reason::NewNodes {
                    jobs: asked - group.left,
                    nodes,
                });
            }
            let refused = group.refused
                + if group.may_buy < u64::MAX && limit.is_none() {
                    group.left
                } else {
                    0
                };
            if refused > 0 {
                group.why.push(Reason::Refused { jobs: refused });
            }
            if let (true, Some(limit)) = (group.left > 0, limit) {
                let nodes = self.nodes_for(&group.request, group.left);
                group.why.push(Reason::Limited {
                    jobs: group.left,
                    nodes,
                    limit,
                });
            }
        }
        if brake.is_none() {
            self.create_minimum_and_spare();
        }
        groups
    }

    fn create_minimum_and_spare(&mut self) {
        // A node that is silent for a while is there as long as nobody knows better.
        let away = |node: &Node<'_>| {
            matches!(
                node.phase,
                Phase::Silent { .. } | Phase::Unheard | Phase::Vanished
            )
        };
        let away = self.nodes_where(away).len() as u64;
        let mut alive = self.alive() + away;
        while alive < self.policy.nodes_min {
            let Ok((cloud, kind, _)) = self.choose(None) else {
                break;
            };
            self.make(
                cloud,
                kind,
                Reason::CreateForMinimum {
                    nodes_min: self.policy.nodes_min,
                },
            );
            alive += 1;
        }
        let mut unneeded = self.unneeded();
        let nodes_spare = self.spare();
        while unneeded < nodes_spare {
            let Ok((cloud, kind, _)) = self.choose(None) else {
                break;
            };
            self.make(
                cloud,
                kind,
                Reason::CreateForSpare {
                    nodes_spare,
                    percent: self.policy.nodes_spare.percent(),
                },
            );
            unneeded += 1;
        }
    }

    /// Intents whose servers no list has yet will take quota that the cloud does not count yet.
    fn count_requested(&mut self) {
        for index in self.nodes_where(|node| node.exists() && node.server.is_none()) {
            if let Some(kind) = self.survey.nodes.get(index).map(|node| node.kind.clone()) {
                self.count_planned(&kind);
            }
        }
    }

    fn count_planned(&mut self, kind: &Kind) {
        let view = self
            .observation
            .clouds
            .get(&kind.cloud)
            .and_then(Seen::known);
        let flavor = view.and_then(|view| view.flavors.get(&kind.flavor));
        let planned = self.planned.entry(kind.cloud.clone()).or_default();
        planned.instances += 1;
        planned.cores += flavor.map_or(0, |flavor| flavor.vcpus);
        planned.ram_mb += flavor.map_or(0, |flavor| flavor.ram_mb);
    }

    /// When no node of any kind could ever hold it; while a cloud or flavor is unknown, that is not certain.
    fn too_large(&self, request: &Resources) -> Option<Reason> {
        let capacities: Vec<Option<Capacity>> = self
            .options()
            .iter()
            .map(|(_, kind)| self.capacity(kind))
            .collect();
        let fits = |capacity: &Option<Capacity>| {
            capacity
                .as_ref()
                .is_none_or(|capacity| capacity.holds(request) > 0)
        };
        if capacities.iter().any(fits) {
            return None;
        }
        let spaces = capacities.iter().flatten().flat_map(Capacity::spaces);
        let largest = spaces.max_by_key(|space| (space.memory_mb, **space));
        Some(Reason::TooLarge {
            asks: *request,
            largest: largest.copied(),
        })
    }

    /// How many nodes `jobs` more of `request` would take.
    fn nodes_for(&self, request: &Resources, jobs: u64) -> u64 {
        let capacities = self
            .options()
            .into_iter()
            .filter_map(|(_, kind)| self.capacity(&kind));
        let each = capacities
            .map(|capacity| capacity.holds(request))
            .find(|each| *each > 0);
        jobs.div_ceil(each.unwrap_or(1))
    }

    /// The cloud and flavor of the next node, which must hold `request`; else the limit that is in the way.
    fn choose(
        &mut self,
        request: Option<&Resources>,
    ) -> Result<(&'a CloudPolicy, Kind, Capacity), Option<Limit>> {
        if let Some(kind) = self.replacement_for(request)
            && let (Some(cloud), Some(capacity)) =
                (self.policy.cloud(&kind.cloud), self.capacity(&kind))
        {
            return Ok((cloud, kind, capacity));
        }
        let mut open: Vec<(&'a CloudPolicy, Kind, Capacity)> = Vec::new();
        let mut held_by = None;
        for (cloud, kind) in self.options() {
            // The flavors of a cloud are in order of preference: the first that can is its choice.
            if open
                .last()
                .is_some_and(|(last, _, _)| last.name == cloud.name)
            {
                continue;
            }
            let (more, limit) = limits::allowance(&self.case(cloud, &kind));
            match self.capacity(&kind) {
                Some(capacity) if request.is_some_and(|request| capacity.holds(request) == 0) => {}
                Some(capacity) if more > 0 => open.push((cloud, kind, capacity)),
                Some(_) | None => {
                    held_by.get_or_insert(limit);
                }
            }
        }
        let clouds = open.len() as u64;
        if clouds == 0 {
            return Err(held_by);
        }
        let pick = match self.policy.allocation {
            Allocation::FillFirst => 0,
            Allocation::RoundRobin => self.turn_of(&open),
            Allocation::Random => {
                self.next.turn = next_random(self.next.turn);
                // The upper bits of the generator are the good ones.
                (self.next.turn >> 33) % clouds
            }
        };
        let index = usize::try_from(pick).unwrap_or(0).min(open.len() - 1);
        Ok(open.swap_remove(index))
    }

    /// Round-robin: the first open cloud at or after the one whose turn it is.
    fn turn_of(&mut self, open: &[(&CloudPolicy, Kind, Capacity)]) -> u64 {
        let clouds = &self.policy.clouds;
        let count = clouds.len().max(1);
        let first = usize::try_from(self.next.turn % count as u64).unwrap_or(0);
        for step in 0..count {
            let position = (first + step) % count;
            let name = clouds.get(position).map(|cloud| cloud.name.as_str());
            if let Some(index) = open
                .iter()
                .position(|(cloud, _, _)| Some(cloud.name.as_str()) == name)
            {
                self.next.turn = position as u64 + 1;
                return index as u64;
            }
        }
        0
    }

    pub(super) fn case<'b>(&'b self, cloud: &'b CloudPolicy, kind: &'b Kind) -> Case<'b> {
        let mut unknown = self
            .observation
            .clouds
            .iter()
            .filter(|(_, view)| !view.is_known());
        let never_seen = unknown
            .find(|(name, _)| !self.next.clouds.contains(*name))
            .map(|(name, _)| name.as_str());
        let deletes = self.removals.len() as u64 + self.builder_deletes();
        let reserved = deletes.min(self.policy.max_actions / 2);
        Case {
            policy: self.policy,
            cloud,
            view: self
                .observation
                .clouds
                .get(&cloud.name)
                .and_then(Seen::known),
            flavor: &kind.flavor,
            state: &self.next,
            never_seen,
            nodes: self.counts.nodes,
            nodes_in_cloud: self
                .counts
                .in_cloud
                .get(&cloud.name)
                .copied()
                .unwrap_or_default(),
            unjoined_of_kind: self
                .counts
                .unjoined_of_kind
                .get(kind)
                .copied()
                .unwrap_or_default(),
            planned: self.planned.get(&cloud.name).copied().unwrap_or_default(),
            costs: &self.costs,
            actions_left: self
                .policy
                .max_actions
                .saturating_sub(reserved + self.new_nodes.len() as u64),
        }
    }

    fn make(&mut self, cloud: &CloudPolicy, kind: Kind, why: Reason) {
        let id = self.fresh_id();
        let name = format!("{}-execute-{id}", self.policy.prefix);
        let intent = Intent {
            node: id.clone(),
            name: name.clone(),
            cloud: cloud.name.clone(),
            flavor: kind.flavor.clone(),
            image: kind.image.clone(),
            at: self.observation.at,
        };
        self.count_planned(&kind);
        self.costs.add(cloud, &kind.flavor);
        self.counts.add(&kind, true);
        self.next.intend(&intent);
        if let (Reason::CreateForDemand { request, .. }, Some(memory)) =
            (&why, self.next.nodes.get_mut(&intent.node))
        {
            memory.made_for = Some(*request);
        }
        self.actions.push(Action::Cloud {
            cloud: cloud.name.clone(),
            action: CloudAction::Create(intent),
        });
        self.new_nodes.push(NewNode {
            id,
            name,
            kind,
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
            let id = NodeId(format!("{stamp}-{number:02}"));
            if !taken(&id) {
                return id;
            }
            number += 1;
        }
    }
}

/// One step of a linear congruential generator (Knuth's MMIX constants): enough to choose a cloud, and the same
/// again from the same state.
fn next_random(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}
