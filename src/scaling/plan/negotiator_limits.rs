//! Jobs that HTCondor would not start on any number of nodes: reported, but no node is created for them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use super::planner::Planner;
use crate::capacity::Capacity;
use crate::job_requirements::{JobFault, with_parents};
use crate::observation::{Ceiling, Demand, MaxRunning, NegotiatorView, Observed};
use crate::reason::Reason;
use crate::sorting;
use crate::sorting::IntoMap;
use crate::state::NodeType;

/// Waiting jobs, and how many of them the negotiator would start.
pub(super) struct StartableJobs<'a> {
    pub(super) demand: &'a Demand,
    /// Of its jobs, those that would be started.
    pub(super) jobs: u64,
    /// Why not the others.
    pub(super) held_back: Vec<Reason>,
}

/// What is left of each ceiling while jobs are counted against it.
struct Room<'a> {
    /// Nothing where they are unknown.
    ceilings: Option<&'a BTreeMap<String, Ceiling>>,
    taken: BTreeMap<&'a str, f64>,
}

impl<'a> Room<'a> {
    fn new(ceilings: Option<&'a BTreeMap<String, Ceiling>>) -> Room<'a> {
        Room {
            ceilings,
            taken: BTreeMap::new(),
        }
    }

    /// For how many jobs of this size there is room; `None` where nothing limits them.
    fn jobs(&self, name: &str, each: f64) -> Option<u64> {
        let ceiling = self.ceilings?.get(name)?;
        let taken = self.taken.get(name).copied().unwrap_or(0.0);
        if each <= 0.0 {
            return None;
        }
        // A hair more, for sums of fractions.
        let jobs = ((ceiling.left() - taken) / each + 1e-6).floor();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates.
        Some(jobs.max(0.0) as u64)
    }

    fn take(&mut self, name: &str, each: f64, jobs: u64) {
        let known = self
            .ceilings
            .and_then(|ceilings| ceilings.get_key_value(name));
        if let Some((name, _)) = known {
            #[allow(clippy::cast_precision_loss)] // There are not that many jobs.
            let amount = each * jobs as f64;
            *self.taken.entry(name.as_str()).or_default() += amount;
        }
    }

    fn told(&self, name: &str) -> (String, String) {
        let ceiling = self.ceilings.and_then(|ceilings| ceilings.get(name));
        ceiling.map_or_else(Default::default, |ceiling| {
            (ceiling.used.to_string(), ceiling.limit.to_string())
        })
    }
}

impl<'a> Planner<'a> {
    /// What waits on all schedds that answered, and how many of it would be started: those that have waited longest
    /// first.
    pub(super) fn startable(&mut self) -> Vec<StartableJobs<'a>> {
        let schedds = self.observation.pool.schedds.iter();
        let known = schedds.filter_map(|(name, schedd)| Some((name.as_str(), schedd.known()?)));
        let mut all: Vec<(&'a str, StartableJobs<'a>)> = Vec::new();
        let mut schedds: BTreeMap<&'a str, (MaxRunning, u64)> = BTreeMap::new();
        for (name, schedd) in known {
            if let Some(max) = schedd.max_running {
                schedds.insert(name, (max, max.limit.saturating_sub(max.running)));
            }
            let waiting = schedd.demand.iter().filter(|demand| demand.jobs > 0);
            all.extend(waiting.map(|demand| (name, self.by_itself(demand))));
        }
        let free = |(_, startable): &(&str, StartableJobs<'_>)| {
            let demand = startable.demand;
            demand.concurrency_limits.is_empty() && demand.accounting_group.is_none()
        };
        let all_free = all.iter().all(free);
        let negotiator: Option<&'a NegotiatorView> = match &self.observation.pool.negotiator {
            Observed::Known(negotiator) => Some(negotiator),
            Observed::Unknown(why) => {
                if !all_free {
                    self.notices.push(format!(
                        "concurrency limits and group quotas unknown, so ehos does not apply them to demand: {why}"
                    ));
                }
                None
            }
        };
        for why in negotiator.iter().flat_map(|negotiator| &negotiator.unread) {
            self.notices.push(format!(
                "a limit of the negotiator is unknown, so ehos does not apply it to demand: {why}"
            ));
        }
        let jobs_of = |name: &str| -> u64 {
            let own = all.iter().filter(|(schedd, _)| *schedd == name);
            own.fold(0, |sum, (_, startable)| sum.saturating_add(startable.jobs))
        };
        let all_start = schedds
            .iter()
            .all(|(name, (_, left))| jobs_of(name) <= *left);
        if all_free && all_start {
            return all.into_iter().map(|(_, startable)| startable).collect();
        }
        // The order in which schedds and groups are listed says nothing. Jobs that no node would run take nothing from
        // those that one would.
        let node_types = self.node_types();
        let mut all: Vec<_> = all
            .into_iter()
            .map(|(schedd, startable)| {
                let no_node = !self.may_run(&node_types, startable.demand);
                (no_node, schedd, startable)
            })
            .collect();
        sorting::by(&mut all, |(one_last, _, one), (other_last, _, other)| {
            let last = one_last.cmp(other_last);
            last.then_with(|| order(one.demand, other.demand))
        });
        let mut limits = Room::new(negotiator.map(|negotiator| &negotiator.concurrency_limits));
        let mut quotas = Room::new(negotiator.map(|negotiator| &negotiator.group_quotas));
        let start = |(_, schedd, mut startable): (bool, &'a str, StartableJobs<'a>)| {
            startable.within(&mut limits, &mut quotas, schedd, &mut schedds);
            startable
        };
        all.into_iter().map(start).collect()
    }

    /// Every kind of node that there is or that may be made, with what it offers where that is known.
    fn node_types(&self) -> BTreeMap<NodeType, Option<Capacity>> {
        let made = self.options().into_iter().map(|(_, node_type)| node_type);
        let mut all: BTreeMap<NodeType, Option<Capacity>> =
            made.map(|node_type| (node_type, None)).into_map();
        let of_nodes = self.survey.node_types.iter();
        all.extend(of_nodes.map(|node_type| (node_type.clone(), None)));
        for (node_type, capacity) in &mut all {
            *capacity = self.capacity(node_type);
        }
        all
    }

    /// Whether a node of one of these kinds may run such jobs, as far as that can be read.
    fn may_run(&self, node_types: &BTreeMap<NodeType, Option<Capacity>>, demand: &Demand) -> bool {
        let asks = demand.key();
        if demand.fault.is_some() || asks.needs.is_unread() {
            return false;
        }
        let matches = &self.observation.matches;
        node_types.iter().any(|(node_type, capacity)| {
            let request = matches.request(node_type, &asks);
            let fits = capacity.as_ref().is_none_or(|it| it.fits(&request));
            fits && matches.answer(node_type, &asks).may_use()
        })
    }

    /// The rest of the time for which no node is created for these jobs, because they start again and again.
    fn restart_backoff(&self, demand: &Demand) -> Option<Duration> {
        let left = restart_backoff(demand.starts).checked_sub(demand.waiting)?;
        (!left.is_zero()).then_some(left)
    }

    /// How many jobs would be started, whatever else waits.
    fn by_itself(&self, demand: &'a Demand) -> StartableJobs<'a> {
        let mut startable = whole(demand);
        let jobs = demand.jobs;
        let lead = self.policy.boot_timeout / 2;
        let why = match (&demand.fault, demand.deferred) {
            (Some(JobFault::Request { attribute, value }), _) => Reason::BadRequest {
                jobs,
                attribute: attribute.clone(),
                value: value.clone(),
            },
            (Some(JobFault::Missed), _) => Reason::DeferralMissed { jobs },
            (Some(JobFault::ParallelUniverse), _) => Reason::ParallelUniverse { jobs },
            (None, Some(deferred)) if deferred > lead => Reason::Deferred {
                jobs,
                seconds: deferred.into(),
            },
            (Some(JobFault::Unread { .. } | JobFault::OwnerBound { .. }) | None, _) => {
                match self.restart_backoff(demand) {
                    Some(left) => Reason::Restarting {
                        jobs,
                        starts: demand.starts,
                        seconds: left.into(),
                    },
                    None => return startable,
                }
            }
        };
        startable.held_back.push(why);
        startable.jobs = 0;
        startable
    }
}

/// Jobs that were started so often and are idle again wait for longer and longer: one that can never end would keep a node up
/// for ever.
pub const MANY_STARTS: u64 = 5;

/// The longest such wait.
const MAX_RESTART_BACKOFF: Duration = Duration::from_secs(6 * 3600);

/// The idle time before a node is created for jobs with this many starts: a minute, doubled with each further start.
fn restart_backoff(starts: u64) -> Duration {
    let Some(more) = starts.checked_sub(MANY_STARTS) else {
        return Duration::ZERO;
    };
    let minutes = 1_u64 << more.min(10);
    Duration::from_secs(minutes * 60).min(MAX_RESTART_BACKOFF)
}

/// Those that have waited longest first.
fn order(one: &Demand, other: &Demand) -> Ordering {
    let key = |demand: &Demand| (std::cmp::Reverse(demand.waiting), demand.key());
    let limits = |demand: &Demand| {
        let limits = demand.concurrency_limits.iter();
        let limits = limits.map(|(name, each)| (name.clone(), each.to_bits()));
        let limits: Vec<_> = limits.collect();
        (demand.accounting_group.clone(), limits)
    };
    key(one)
        .cmp(&key(other))
        .then_with(|| limits(one).cmp(&limits(other)))
}

impl<'a> StartableJobs<'a> {
    /// Leaves those that negotiator and schedd would start, and takes what they take.
    fn within(
        &mut self,
        limits: &mut Room<'a>,
        quotas: &mut Room<'a>,
        schedd: &str,
        schedds: &mut BTreeMap<&'a str, (MaxRunning, u64)>,
    ) {
        let demand = self.demand;
        #[allow(clippy::cast_precision_loss)] // A request is not that large.
        let cores = demand.key().request.cpus as f64;
        let group = demand.accounting_group.as_deref().unwrap_or_default();
        for (name, each) in &demand.concurrency_limits {
            let jobs = limits.jobs(name, *each).unwrap_or(u64::MAX);
            if jobs < self.jobs {
                let (used, limit) = limits.told(name);
                self.held_back.push(Reason::ConcurrencyLimit {
                    jobs: self.jobs - jobs,
                    concurrency_limit: name.clone(),
                    used,
                    limit,
                });
                self.jobs = jobs;
            }
        }
        for name in with_parents(group) {
            let jobs = quotas.jobs(name, cores).unwrap_or(u64::MAX);
            if jobs < self.jobs {
                let (used, quota) = quotas.told(name);
                self.held_back.push(Reason::GroupQuota {
                    jobs: self.jobs - jobs,
                    accounting_group: name.to_owned(),
                    used,
                    quota,
                });
                self.jobs = jobs;
            }
        }
        if let Some((max, left)) = schedds.get_mut(schedd) {
            if *left < self.jobs {
                self.held_back.push(Reason::MaxJobsRunning {
                    jobs: self.jobs - *left,
                    schedd: schedd.to_owned(),
                    running: max.running,
                    limit: max.limit,
                });
                self.jobs = *left;
            }
            *left -= self.jobs;
        }
        for (name, each) in &demand.concurrency_limits {
            limits.take(name, *each, self.jobs);
        }
        for name in with_parents(group) {
            quotas.take(name, cores, self.jobs);
        }
    }
}

fn whole(demand: &Demand) -> StartableJobs<'_> {
    StartableJobs {
        demand,
        jobs: demand.jobs,
        held_back: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_start_again_and_again_wait_longer_each_time() {
        let minutes = |starts| restart_backoff(starts).as_secs() / 60;
        let all: Vec<u64> = [0, 4, 5, 6, 9, 13, 14, u64::MAX].map(minutes).to_vec();
        assert_eq!(all, [0, 0, 1, 2, 16, 256, 360, 360]);
    }

    #[test]
    fn room_is_counted_once() {
        let ceiling = Ceiling {
            limit: 5.0,
            used: 1.0,
        };
        let ceilings = BTreeMap::from([("x".to_owned(), ceiling)]);
        let mut room = Room::new(Some(&ceilings));
        assert_eq!(room.jobs("x", 1.5), Some(2));
        room.take("x", 1.5, 2);
        assert_eq!(room.jobs("x", 0.5), Some(2));
        assert_eq!(room.jobs("x", 0.0), None, "nothing is taken of it");
        assert_eq!(room.jobs("y", 1.0), None, "nothing limits it");
        let over = Ceiling {
            limit: 1.0,
            used: 9.0,
        };
        let ceilings = BTreeMap::from([("x".to_owned(), over)]);
        assert_eq!(Room::new(Some(&ceilings)).jobs("x", 1.0), Some(0));
    }
}
