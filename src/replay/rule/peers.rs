//! Rules of other programs, under plain names, to compare with.
//!
//! Owns: what each program decides from what it observes, with its own defaults. Each of them knows one flavor, up to `nodes_max`
//! nodes: the first one of the first cloud that holds the largest request that any of its flavors holds. The rules of the race of real pools (benches/README.md) are the same.
//! Must not: improve on the programs. What a rule does not see or do is said beside it.

#![warn(missing_docs)]

use std::collections::BTreeMap;

use super::{Pass, Rule};
use scaling::observation::Resources;

use crate::site::{Node, NodeNumber, Site, SiteCloud, SiteFlavor, Stage};
use crate::workload::{NEVER, Seconds, Workload};

/// A rule to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The original EHOS: each 30 s one node while more jobs wait than nodes are idle, by counts of jobs; else idle nodes beyond
    /// the waiting jobs are deleted in the pass that sees them. Source: `ehos.py` of the original program.
    OriginalEhos,
    /// Google's autoscaler for HTCondor: idle cores of the queue over the cores of a node; cores only, no idle timeout.
    /// Source: `autoscaler.py` of the cluster toolkit's htcondor-install module.
    QueueCores,
    /// COBalD/TARDIS: feedback on the use of running nodes, blind to the queue: its LinearController with the values of its own
    /// example, 1 core a second up above an allocation of 0.9, down below a utilisation of 0.9. It needs a running node to sense
    /// demand, so one always stays. It drains the least used nodes.
    UtilizationFeedback,
    /// Nodes for the cores that wait, less those that start or are free; each is deleted after an idle time.
    IdleTimeout(Seconds),
    /// So many nodes from the first job to the end of the last.
    Fixed(u64),
}

/// `low_utilisation` and `high_allocation`.
const CONTROL: f64 = 0.9;
/// The original's and COBalD's passes.
const PASS: Seconds = 30;

/// A peer at work.
pub struct PeerRule {
    peer: Peer,
    nodes_max: u64,
    /// Its place in the flavors of the first cloud, as of the first pass.
    flavor: Option<usize>,
    demand: f64,
    last: Seconds,
    idle_since: BTreeMap<NodeNumber, Seconds>,
}

impl PeerRule {
    /// A peer with at most so many nodes.
    pub fn new(peer: Peer, nodes_max: u64) -> PeerRule {
        PeerRule {
            peer,
            nodes_max,
            flavor: None,
            demand: 0.0,
            last: 0,
            idle_since: BTreeMap::new(),
        }
    }

    /// Cores of a node.
    fn node_cores(&self, site: &Site<'_>) -> u64 {
        let flavors = site.clouds.first().map(|cloud| &cloud.flavors);
        let flavor = flavors.and_then(|flavors| flavors.get(self.flavor?));
        flavor.map_or(1, |flavor| flavor.capacity.cpus).max(1)
    }

    fn create(&self, site: &mut Site<'_>, wanted: u64, pass: &mut Pass) {
        for _ in 0..wanted {
            if site.count() >= self.nodes_max {
                pass.limited
                    .insert("nodes_max".to_owned(), site.idle_count());
                return;
            }
            if site.create(0, self.flavor.unwrap_or_default()).is_err() {
                pass.limited.insert("quota".to_owned(), site.idle_count());
                return;
            }
            pass.actions += 1;
        }
    }
}

fn delete(site: &mut Site<'_>, nodes: &[NodeNumber], pass: &mut Pass) {
    for number in nodes {
        site.delete(*number);
        pass.actions += 1;
    }
}

/// The nodes for which this holds.
fn which(site: &Site<'_>, is: impl Fn(&Node) -> bool) -> Vec<NodeNumber> {
    let nodes = site.nodes().filter(|(_, node)| is(node));
    nodes.map(|(number, _)| number).collect()
}

fn starts(node: &Node) -> bool {
    node.stage == Stage::Booting
}

/// The first flavor that holds the largest request that any holds.
fn flavor(site: &Site<'_>) -> usize {
    let flavors = site.clouds.first().map(|cloud| cloud.flavors.as_slice());
    let flavors = flavors.unwrap_or_default();
    let requests = site.workload.classes.iter();
    let requests = requests.map(|class| class.request.rounded());
    let held: Vec<_> = requests
        .filter(|request| flavors.iter().any(|flavor| request.fits(&flavor.capacity)))
        .collect();
    let holds_all = |flavor: &SiteFlavor| held.iter().all(|request| request.fits(&flavor.capacity));
    let largest = flavors
        .iter()
        .enumerate()
        .max_by_key(|(_, flavor)| flavor.capacity.cpus);
    flavors
        .iter()
        .position(holds_all)
        .or(largest.map(|(place, _)| place))
        .unwrap_or_default()
}

/// Cores of idle jobs that a negotiation cycle has considered, or of all.
fn idle_cores(site: &Site<'_>, with_young: bool) -> u64 {
    let cores = |class: u32| {
        let class = site.workload.classes.get(class as usize);
        class.map_or(1, |class| class.request.rounded().cpus)
    };
    site.idle_jobs()
        .iter()
        .map(|idle| {
            let young = if with_young { 0 } else { idle.young };
            (idle.jobs - young).saturating_mul(cores(idle.class))
        })
        .fold(0, u64::saturating_add)
}

impl PeerRule {
    fn original(&self, site: &mut Site<'_>, pass: &mut Pass) {
        let idle = which(site, Node::is_idle);
        let waiting = site.idle_count() as usize;
        if waiting > idle.len() {
            self.create(site, 1, pass);
        } else {
            let surplus = idle.len() - waiting;
            delete(site, idle.get(..surplus).unwrap_or_default(), pass);
        }
    }

    fn queue_cores(&self, site: &mut Site<'_>, pass: &mut Pass) {
        let need = idle_cores(site, false).div_ceil(self.node_cores(site));
        let starting = which(site, starts);
        let idle = which(site, Node::is_idle);
        let free = (starting.len() + idle.len()) as u64;
        if need >= free {
            self.create(site, need - free, pass);
        } else {
            // The group's size shrinks: servers that start first, then idle ones.
            let surplus = (free - need) as usize;
            let gone: Vec<NodeNumber> = starting.into_iter().chain(idle).take(surplus).collect();
            delete(site, &gone, pass);
        }
    }

    fn feedback(&mut self, site: &mut Site<'_>, pass: &mut Pass) {
        let elapsed = f64::from(site.now - self.last);
        let ratios: Vec<f64> = site
            .nodes()
            .filter(|(_, node)| node.has_joined() && !node.draining)
            .map(|(_, node)| 1.0 - node.free.cpus as f64 / (node.total.cpus as f64).max(1.0))
            .collect();
        // Without a node both ratios are 1.
        let mean = match ratios.len() {
            0 => 1.0,
            count => ratios.iter().sum::<f64>() / count as f64,
        };
        if mean < CONTROL {
            self.demand -= elapsed;
        } else if mean > CONTROL {
            self.demand += elapsed;
        }
        let cores = self.node_cores(site) as f64;
        let running = which(site, |node| !node.draining && !node.is_leaving());
        self.demand = self
            .demand
            .clamp(1.0, (self.nodes_max as f64 * cores).max(1.0));
        let wanted = (self.demand / cores).ceil() as u64;
        let there = running.len() as u64;
        if wanted > there {
            self.create(site, wanted - there, pass);
        } else if !site.is_done() {
            let mut least_used: Vec<(u64, NodeNumber)> = running
                .iter()
                .filter_map(|number| Some((site.node(*number)?.jobs(), *number)))
                .collect();
            least_used.sort_unstable();
            for (_, number) in least_used.into_iter().take((there - wanted) as usize) {
                site.retire(number);
                pass.actions += 1;
            }
        }
        let drained = |node: &Node| node.draining && !node.is_leaving() && node.jobs() == 0;
        let drained = which(site, drained);
        delete(site, &drained, pass);
        if site.is_done() {
            let all = which(site, |node| !node.is_leaving());
            delete(site, &all, pass);
        }
    }

    fn idle_timeout(&mut self, site: &mut Site<'_>, timeout: Seconds, pass: &mut Pass) {
        let coming: u64 = site
            .nodes()
            .filter(|(_, node)| !node.is_leaving())
            .map(|(_, node)| node.free.cpus)
            .sum();
        let more = idle_cores(site, true).saturating_sub(coming);
        self.create(site, more.div_ceil(self.node_cores(site)), pass);
        let idle = which(site, Node::is_idle);
        self.idle_since.retain(|number, _| idle.contains(number));
        for number in idle {
            let since = site.node(number).map_or(0, |node| node.unchanged_since);
            self.idle_since.insert(number, since);
        }
        let over = |since: &Seconds| site.now.saturating_sub(*since) >= timeout;
        let over: Vec<NodeNumber> = self
            .idle_since
            .iter()
            .filter(|(_, since)| over(since))
            .map(|(number, _)| *number)
            .collect();
        delete(site, &over, pass);
    }

    fn fixed(&self, site: &mut Site<'_>, nodes: u64, pass: &mut Pass) {
        if site.is_done() {
            let all = which(site, |node| !node.is_leaving());
            delete(site, &all, pass);
        } else {
            self.create(site, nodes.saturating_sub(site.count()), pass);
        }
    }
}

impl Rule for PeerRule {
    fn pass(&mut self, site: &mut Site<'_>) -> Pass {
        let mut pass = Pass::default();
        self.flavor.get_or_insert_with(|| flavor(site));
        match self.peer {
            Peer::OriginalEhos => self.original(site, &mut pass),
            Peer::QueueCores => self.queue_cores(site, &mut pass),
            Peer::UtilizationFeedback => self.feedback(site, &mut pass),
            Peer::IdleTimeout(timeout) => self.idle_timeout(site, timeout, &mut pass),
            Peer::Fixed(nodes) => self.fixed(site, nodes, &mut pass),
        }
        self.last = site.now;
        pass
    }

    fn next_pass(&self, _site: &Site<'_>, timer: Seconds) -> Seconds {
        match self.peer {
            Peer::OriginalEhos | Peer::UtilizationFeedback => {
                self.last.saturating_add(PASS).min(timer)
            }
            Peer::QueueCores | Peer::IdleTimeout(_) | Peer::Fixed(_) => timer,
        }
    }
}

/// What no rule pays less than.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowerBound {
    /// Core-seconds of servers.
    pub core_seconds: u64,
    /// The least price of a core of any flavor for an hour; `None` unless every flavor has a price.
    pub core_price: Option<f64>,
}

impl LowerBound {
    /// Of the jobs on flavors of these clouds.
    pub fn new(workload: &Workload, clouds: &[SiteCloud]) -> LowerBound {
        let flavors = clouds.iter().flat_map(|cloud| &cloud.flavors);
        let price = |flavor: &SiteFlavor| Some(flavor.price? / flavor.flavor.vcpus.max(1) as f64);
        let prices: Option<Vec<f64>> = flavors.map(price).collect();
        LowerBound {
            core_seconds: lower_bound(workload, clouds),
            core_price: prices.and_then(|prices| prices.into_iter().min_by(f64::total_cmp)),
        }
    }

    /// The same in hours.
    pub fn core_hours(&self) -> f64 {
        self.core_seconds as f64 / 3600.0
    }

    /// What they cost.
    pub fn cost(&self) -> Option<f64> {
        Some(self.core_price? * self.core_hours())
    }
}

/// The lower bound of every rule: core-seconds that are paid when each job starts at once, servers need no time to boot, and
/// at every moment the fewest servers of the smallest flavor exist that the running jobs fill.
///
/// Jobs that no flavor holds, and jobs that a user removes while they are idle, count for nothing.
pub(crate) fn lower_bound(workload: &Workload, clouds: &[SiteCloud]) -> u64 {
    let flavors = clouds.iter().flat_map(|cloud| &cloud.flavors);
    let smallest = flavors.clone().map(|flavor| flavor.flavor.vcpus).min();
    let smallest = smallest.unwrap_or(1).max(1);
    let holds = |request: &Resources| {
        let mut flavors = flavors.clone();
        flavors.any(|flavor| request.fits(&flavor.capacity))
    };
    let held: Vec<bool> = workload
        .classes
        .iter()
        .map(|class| holds(&class.request.rounded()))
        .collect();
    let mut changes: BTreeMap<Seconds, i64> = BTreeMap::new();
    for job in &workload.jobs {
        let is_held = held.get(job.class as usize) == Some(&true);
        let Some(class) = workload
            .class(job)
            .filter(|_| is_held && job.removed == NEVER)
        else {
            continue;
        };
        let cores = i64::try_from(class.request.rounded().cpus).unwrap_or(i64::MAX);
        let begin = changes.entry(job.submitted).or_default();
        *begin = begin.saturating_add(cores);
        let end = changes
            .entry(job.submitted.saturating_add(job.runs))
            .or_default();
        *end = end.saturating_sub(cores);
    }
    let (mut at, mut cores, mut paid) = (0, 0_i64, 0_u64);
    for (time, change) in changes {
        let servers = u64::try_from(cores).unwrap_or(0).div_ceil(smallest);
        let cost = servers
            .saturating_mul(smallest)
            .saturating_mul(u64::from(time - at));
        paid = paid.saturating_add(cost);
        (at, cores) = (time, cores.saturating_add(change));
    }
    paid
}
