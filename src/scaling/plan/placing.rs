//! Places demand: into free slots, then on starting nodes, then on nodes whose drain can be cancelled.
//!
//! Groups go in decreasing order of their dominant resource, each into the smallest space that
//! fits. Of idle nodes the one that has been idle for the shortest time is filled first, so that
//! the longest idle can be drained.
//!
//! As many young jobs as there are claims without a running job need no node: a slot is claimed
//! before its job counts as running.

use std::collections::BTreeSet;
use std::time::Duration;

use super::planner::{JobGroup, Planner};
use super::returning::Returning;
use crate::capacity::Capacity;
use crate::job_requirements::MatchAnswer;
use crate::node::{NodeTypeNumber, Phase, is_fresh};
use crate::observation::{Observed, Resources, StartdView};
use crate::packing::{Class, Stock};
use crate::reason::Reason;
use crate::sender::Sender;
use crate::state::NodeType;

/// Other machines of the pool: what their ads say is left to the negotiator.
const OTHERS: Class = 0;

/// All that demand is placed into.
struct Supply {
    free: Stock,
    idle: Stock,
    coming: Stock,
    returning: Returning,
}

/// Nodes of one type are of one class.
fn class_of(node_type: NodeTypeNumber) -> Class {
    node_type + 1
}

/// How many jobs of a group were placed.
#[derive(Clone, Copy, Default)]
struct Placed {
    /// In free slots.
    now: u64,
    /// On coming nodes.
    later: u64,
    /// On nodes whose drain is cancelled.
    back: u64,
}

/// What a group asks for, and where it is not placed.
pub(super) struct Terms {
    pub(super) closed: BTreeSet<Class>,
    /// There are kinds of nodes that may or may not take them.
    pub(super) doubtful: bool,
    /// What depends on the machine is another request of each kind of node.
    pub(super) requests: Vec<(Option<Class>, Resources)>,
    /// Even the oldest of its jobs may still take a slot that has been as it is for long.
    pub(super) fresh: bool,
}

impl Terms {
    /// The request of a job on a node of this class.
    pub(super) fn request_of(&self, class: Class, group: &JobGroup) -> Resources {
        let mut requests = self.requests.iter();
        let own = requests.find(|(own, _)| own.is_none_or(|own| own == class));
        own.map_or(group.asks.request, |(_, request)| *request)
    }

    /// Places up to `jobs`; how many.
    fn put(
        &self,
        stock: &mut Stock,
        jobs: u64,
        fresh: bool,
        used: &mut impl FnMut(usize, u64),
    ) -> u64 {
        let mut placed = 0;
        for (own, request) in &self.requests {
            if placed == jobs {
                break;
            }
            let takes =
                |class: Class| !self.closed.contains(&class) && own.is_none_or(|own| own == class);
            placed += stock.place(request, jobs - placed, fresh, takes, &mut *used);
        }
        placed
    }
}

impl Supply {
    /// Offers the slots of a startd, of which no change has been seen for `seen`.
    fn offer(
        stock: &mut Stock,
        startd: &StartdView,
        settled: impl Fn(Duration) -> bool,
        class: Class,
        owner: usize,
    ) {
        for slot in startd.slots.iter().filter(|slot| slot.accepts_jobs) {
            stock.add(slot.free, settled(slot.unchanged_for), class, owner);
        }
    }

    fn place(
        &mut self,
        group: &mut JobGroup,
        terms: &Terms,
        used: &mut impl FnMut(usize, u64),
    ) -> Placed {
        // A young job may still take a slot that the others of its group have been passed over for.
        let mut young = group.young.min(group.left);
        let mut old = group.left - young;
        let mut fill = |stock: &mut Stock| {
            let olds = terms.put(stock, old, terms.fresh, used);
            let youngs = terms.put(stock, young, true, used);
            (old, young) = (old - olds, young - youngs);
            olds + youngs
        };
        let mut placed = Placed {
            now: fill(&mut self.free) + fill(&mut self.idle),
            later: fill(&mut self.coming),
            back: 0,
        };
        (group.left, group.young) = (old + young, young);
        placed.back = self.returning.place(group, terms, used);
        placed
    }
}

impl Planner<'_> {
    /// Places the demand into what is there, and marks each node that some of it needs.
    pub(super) fn place_demand(&mut self) {
        let mut groups = self.groups();
        let settling_time = self.settling_time();
        self.remember_refusals(&mut groups, settling_time);
        let mut supply = self.supply(settling_time, self.least_request(&groups));
        let types = self.survey.node_types.iter().zip((0..).map(class_of));
        let mut classes: Vec<(&NodeType, Class)> = types.collect();
        classes.sort_unstable();
        let mut fits = vec![Placed::default(); groups.len()];
        let mut on_nodes = vec![0; self.nodes.len()];
        let mut used = |owner: usize, jobs: u64| {
            if let Some(count) = on_nodes.get_mut(owner) {
                *count += jobs;
            }
        };
        // First what HTCondor said that they take: jobs of which it did not would take the nodes that others were made
        // for, and these get more.
        let mut doubtful = vec![true; groups.len()];
        for certain in [true, false] {
            for ((group, fits), doubtful) in groups.iter_mut().zip(&mut fits).zip(&mut doubtful) {
                // A second time only into what the first time left out.
                if group.left > 0 && *doubtful {
                    let terms = self.terms(group, &classes, certain, settling_time);
                    *doubtful = terms.doubtful;
                    let placed = supply.place(group, &terms, &mut used);
                    fits.now += placed.now;
                    fits.later += placed.later;
                    fits.back += placed.back;
                }
            }
        }
        self.wait_for_claims(&mut groups);
        for (group, Placed { now, later, back }) in groups.iter_mut().zip(fits) {
            let all = [
                (now, Reason::FitsFree { jobs: now }),
                (later, Reason::FitsComing { jobs: later }),
                (back, Reason::FitsTakenBack { jobs: back }),
            ];
            let some = all.into_iter().filter(|(jobs, _)| *jobs > 0);
            group.why.extend(some.map(|(_, why)| why));
        }
        for (node, jobs) in self.nodes.iter_mut().zip(on_nodes) {
            node.jobs = jobs;
        }
        self.groups = groups;
    }

    fn terms(
        &self,
        group: &JobGroup,
        classes: &[(&NodeType, Class)],
        certain: bool,
        settling_time: Duration,
    ) -> Terms {
        let matches = &self.observation.matches;
        let mut doubtful = false;
        let mut closed = BTreeSet::new();
        // Jobs without Requirements of their own run on every node.
        let asked = classes.iter().filter(|_| !group.asks.needs.is_empty());
        for (node_type, class) in asked {
            let answer = matches.answer(node_type, &group.asks);
            let doubted = answer.may_use() && !matches!(answer, MatchAnswer::Takes);
            doubtful |= doubted;
            if !answer.may_use() || certain && doubted {
                closed.insert(*class);
            }
        }
        let of_kind = |(node_type, class): &(&NodeType, Class)| {
            (Some(*class), matches.request(node_type, &group.asks))
        };
        let others = (Some(OTHERS), group.asks.request);
        let requests = match matches.depends_on_machine(&group.asks) {
            false => vec![(None, group.asks.request)],
            true => std::iter::once(others)
                .chain(classes.iter().map(of_kind))
                .collect(),
        };
        Terms {
            closed,
            doubtful,
            requests,
            fresh: group.waiting < settling_time,
        }
    }

    /// No job of these groups requests less of anything.
    pub(super) fn least_request(&self, groups: &[JobGroup]) -> Resources {
        let requests = groups.iter().map(|group| self.least_of(group));
        let least = requests.reduce(|one, other| one.each(&other, u64::min));
        least.unwrap_or_default()
    }

    /// The least that a job of the group may request: of a request by machine nothing is known.
    pub(super) fn least_of(&self, group: &JobGroup) -> Resources {
        match self.observation.matches.depends_on_machine(&group.asks) {
            true => Resources::default(),
            false => group.asks.request,
        }
    }

    /// What there is. A slot that has been as it is for `settling_time` is settled: who has waited beside it for as long does
    /// not take it.
    fn supply(&self, settling_time: Duration, least: Resources) -> Supply {
        let mut supply = Supply {
            free: Stock::for_requests(least),
            idle: Stock::for_requests(least),
            coming: Stock::for_requests(least),
            returning: Returning::for_requests(least),
        };
        let mut idle: Vec<(Duration, usize, Class)> = Vec::new();
        let mut returning: Vec<(usize, Class, &StartdView)> = Vec::new();
        let types = self.survey.node_types.iter();
        let capacities: Vec<Option<Capacity>> = types.map(|one| self.capacity(one)).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            if node.retires() {
                continue;
            }
            let class = class_of(node.type_number);
            let settled =
                |unchanged_for: Duration| unchanged_for.min(node.unchanged_for) >= settling_time;
            match (&node.phase, node.startd) {
                (Phase::Busy, Some(startd)) => {
                    Supply::offer(&mut supply.free, startd, settled, class, index)
                }
                (Phase::Idle { idle_for }, Some(_)) if !node.is_decided() => {
                    idle.push((*idle_for, index, class));
                }
                (Phase::Draining { ours: true, .. }, Some(startd)) if self.may_return(node) => {
                    returning.push((index, class, startd));
                }
                _ if node.coming() => {
                    let capacity = capacities.get(node.type_number).and_then(Option::as_ref);
                    let coming = capacity.into_iter().flat_map(Capacity::spaces);
                    coming.for_each(|space| supply.coming.add(*space, false, class, index));
                }
                _ => {}
            }
        }
        // nodes_max may have become smaller since they were made.
        let room = self.policy.nodes_max.saturating_sub(self.standing().alive);
        returning.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        for (index, class, startd) in returning {
            let idle_since = self.node(index).memory.drain.idle_since;
            let idle_for = idle_since.map(|since| self.next.now.since(since));
            // After the cancel all its slots are free again.
            let spaces = startd.slots.iter().map(|slot| slot.total);
            supply.returning.add(index, class, idle_for, spaces);
        }
        // The node that has been idle for the shortest time is filled first, so that the longest idle one may go.
        idle.sort_unstable();
        for (_, index, class) in idle {
            let node = self.node(index);
            let settled =
                |unchanged_for: Duration| unchanged_for.min(node.unchanged_for) >= settling_time;
            if let Some(startd) = node.startd {
                Supply::offer(&mut supply.idle, startd, settled, class, index);
            }
        }
        // Unmanaged machines serve demand too, but give no information about nodes.
        let others = self.survey.others.iter();
        for startd in others.filter(|startd| startd.draining.is_none()) {
            // Any node may have sent this: its room is believed for as long as jobs may take to meet it, and no longer.
            let doubtful = startd.sender == Sender::AnyNode;
            let settled = |unchanged_for| doubtful || unchanged_for >= settling_time;
            Supply::offer(&mut supply.free, startd, settled, OTHERS, self.nodes.len());
        }
        supply
    }

    /// Young jobs that slots are claimed for: a slot is claimed some time before its job counts as running, and a schedd keeps
    /// the claim of a job that has ended for the next one. Claims of jobs that ehos does not see hold young jobs back, too: for
    /// as long as these are young.
    fn wait_for_claims(&self, groups: &mut [JobGroup]) {
        let others = self.survey.others.iter().copied();
        let fresh = others.filter(|startd| is_fresh(startd, self.policy));
        let claims = self.counts.claims + fresh.map(StartdView::claims).sum::<u64>();
        let schedds = self.observation.pool.schedds.values();
        let schedds = schedds.filter_map(Observed::known);
        let running: u64 = schedds.map(|schedd| schedd.jobs.running).sum();
        let mut unused = claims.saturating_sub(running);
        for group in groups {
            let jobs = group.young.min(group.left).min(unused);
            if jobs > 0 {
                unused -= jobs;
                group.left -= jobs;
                group.young -= jobs;
                group.why.push(Reason::FitsClaimed { jobs });
            }
        }
    }
}
