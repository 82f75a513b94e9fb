//! Passes that are left out: their plans would be that of the last one, nothing.
//!
//! A pass rests while all that a plan depends on, besides the time, is as the last plan found it: the nodes, which of them are
//! idle, and since when. Jobs may start on busy nodes and end there. Jobs may wait if no negotiation cycle has considered them
//! yet, and all of them fit beside jobs that run.

use scaling::observation::Resources;

use crate::site::{NodeNumber, Site};
use crate::workload::Seconds;

/// The tick clock advances at most 5 minutes a tick: passes are left out for less than that.
const LONGEST: Seconds = 240;
/// After this time without a node and a job all that a state remembers has lapsed.
const FORGOTTEN: Seconds = 86_400;

/// What a plan without an action saw.
pub(super) struct Rest {
    fleet: u64,
    idle: Vec<(NodeNumber, Seconds)>,
    ends: Seconds,
}

/// What of a policy lets time alone change a plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// There are nodes without demand: of several idle ones the planner chooses by time which ones.
    pub(super) keeps_nodes: bool,
    /// The planner takes what is nearer than this as reached (half the distance of ticks).
    pub(super) early: Seconds,
}

impl Rest {
    /// The rest after a plan at `site.now` that wanted the next one at `looks_again`; none where time alone can change a plan.
    pub(super) fn of(site: &Site<'_>, looks_again: Option<Seconds>, terms: Terms) -> Option<Rest> {
        let idle = idle_nodes(site)?;
        if terms.keeps_nodes && idle.len() > 1 {
            return None;
        }
        let last = site.record.last_server.max(site.record.last_end);
        let is_empty = site.count() == 0 && site.idle_count() == 0 && !terms.keeps_nodes;
        let longest = match is_empty && site.now.saturating_sub(last) > FORGOTTEN {
            true => Seconds::MAX,
            false => site.now.saturating_add(LONGEST),
        };
        let looks_again = looks_again.map(|at| at.saturating_sub(terms.early));
        Some(Rest {
            fleet: site.fleet,
            idle,
            ends: looks_again.map_or(longest, |at| at.min(longest)),
        })
    }

    /// Whether a plan at `site.now` would be the same.
    pub(super) fn lasts(&self, site: &Site<'_>) -> bool {
        site.fleet == self.fleet
            && site.now < self.ends
            && idle_nodes(site).is_some_and(|idle| idle == self.idle)
    }
}

/// The idle nodes, and since when each is idle. None if a node starts or leaves, or a job may need a node.
fn idle_nodes(site: &Site<'_>) -> Option<Vec<(NodeNumber, Seconds)>> {
    let (mut most, mut waiting) = (Resources::default(), 0);
    for idle in site.idle_jobs() {
        let class = site.workload.classes.get(idle.class as usize)?;
        if idle.young < idle.jobs {
            return None;
        }
        most = most.each(&class.request, u64::max);
        waiting += idle.jobs;
    }
    let mut nodes = Vec::new();
    let mut room: u64 = 0;
    for (number, node) in site.nodes() {
        if !node.has_joined() || node.draining {
            return None;
        }
        match node.is_idle() {
            true => nodes.push((number, node.unchanged_since)),
            // In whatever order they are placed: a node that has room for so many of the largest requests takes no fewer.
            false if waiting > 0 => room = room.saturating_add(most.times_in(&node.free)),
            false => {}
        }
    }
    (room >= waiting).then_some(nodes)
}
