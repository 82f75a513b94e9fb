//! Jobs that the negotiator would not start however many nodes there are: they are reported, and buy nothing.

use std::collections::BTreeMap;

use super::Planner;
use crate::scaling::needs::with_parents;
use crate::scaling::observation::{Ceiling, Demand, Seen};
use crate::scaling::reason::Reason;

/// Waiting jobs, and how many of them the negotiator would start.
pub(super) struct Startable<'a> {
    pub(super) demand: &'a Demand,
    /// Of its jobs, those that would be started.
    pub(super) jobs: u64,
    /// Why not the others.
    pub(super) held_back: Vec<Reason>,
}

/// What is left of each ceiling while jobs are counted against it.
struct Room<'a> {
    ceilings: &'a BTreeMap<String, Ceiling>,
    taken: BTreeMap<&'a str, f64>,
}

impl<'a> Room<'a> {
    fn new(ceilings: &'a BTreeMap<String, Ceiling>) -> Room<'a> {
        Room {
            ceilings,
            taken: BTreeMap::new(),
        }
    }

    /// For how many jobs of this size there is room; `None` where nothing limits them.
    fn jobs(&self, name: &str, each: f64) -> Option<u64> {
        let ceiling = self.ceilings.get(name)?;
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
        if let Some((name, _)) = self.ceilings.get_key_value(name) {
            #[allow(clippy::cast_precision_loss)] // There are not that many jobs.
            let amount = each * jobs as f64;
            *self.taken.entry(name.as_str()).or_default() += amount;
        }
    }

    fn told(&self, name: &str) -> (String, String) {
        let ceiling = self.ceilings.get(name);
        ceiling.map_or_else(Default::default, |ceiling| {
            (ceiling.used.to_string(), ceiling.limit.to_string())
        })
    }
}

impl<'a> Planner<'a> {
    /// What waits on all schedds that answered, and how many of it the negotiator would start: those that have waited
    /// longest first.
    pub(super) fn startable(&mut self) -> Vec<Startable<'a>> {
        let schedds = self.observation.pool.schedds.values();
        let mut demand: Vec<&'a Demand> = schedds
            .filter_map(Seen::known)
            .flat_map(|schedd| &schedd.demand)
            .filter(|demand| demand.jobs > 0)
            .collect();
        let free = |demand: &&&Demand| {
            demand.concurrency_limits.is_empty() && demand.accounting_group.is_none()
        };
        let negotiator = match &self.observation.pool.negotiator {
            Seen::Known(negotiator) => negotiator,
            Seen::Unknown(why) => {
                if demand.iter().any(|demand| !free(&demand)) {
                    self.notices.push(format!(
                        "whether concurrency limits and group quotas hold jobs back is not known: {why}"
                    ));
                }
                return demand.into_iter().map(whole).collect();
            }
        };
        if demand.iter().all(|demand| free(&demand)) {
            return demand.into_iter().map(whole).collect();
        }
        // The order in which schedds and groups are listed says nothing.
        demand.sort_by(|one, other| {
            let key = |demand: &Demand| (std::cmp::Reverse(demand.waiting), demand.kind());
            let limits = |demand: &Demand| {
                let limits = demand.concurrency_limits.iter();
                let limits = limits.map(|(name, each)| (name.clone(), each.to_bits()));
                (demand.accounting_group.clone(), limits.collect::<Vec<_>>())
            };
            key(one)
                .cmp(&key(other))
                .then_with(|| limits(one).cmp(&limits(other)))
        });
        let mut limits = Room::new(&negotiator.concurrency_limits);
        let mut quotas = Room::new(&negotiator.group_quotas);
        let start = |demand: &'a Demand| {
            let mut startable = whole(demand);
            #[allow(clippy::cast_precision_loss)] // A request is not that large.
            let cores = demand.kind().request.cpus as f64;
            let group = demand.accounting_group.as_deref().unwrap_or_default();
            for (name, each) in &demand.concurrency_limits {
                let jobs = limits.jobs(name, *each).unwrap_or(u64::MAX);
                if jobs < startable.jobs {
                    let (used, limit) = limits.told(name);
                    startable.held_back.push(Reason::ConcurrencyLimit {
                        jobs: startable.jobs - jobs,
                        concurrency_limit: name.clone(),
                        used,
                        limit,
                    });
                    startable.jobs = jobs;
                }
            }
            for name in with_parents(group) {
                let jobs = quotas.jobs(name, cores).unwrap_or(u64::MAX);
                if jobs < startable.jobs {
                    let (used, quota) = quotas.told(name);
                    startable.held_back.push(Reason::GroupQuota {
                        jobs: startable.jobs - jobs,
                        accounting_group: name.to_owned(),
                        used,
                        quota,
                    });
                    startable.jobs = jobs;
                }
            }
            for (name, each) in &demand.concurrency_limits {
                limits.take(name, *each, startable.jobs);
            }
            for name in with_parents(group) {
                quotas.take(name, cores, startable.jobs);
            }
            startable
        };
        demand.into_iter().map(start).collect()
    }
}

fn whole(demand: &Demand) -> Startable<'_> {
    Startable {
        demand,
        jobs: demand.jobs,
        held_back: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_once() {
        let ceiling = Ceiling {
            limit: 5.0,
            used: 1.0,
        };
        let ceilings = BTreeMap::from([("x".to_owned(), ceiling)]);
        let mut room = Room::new(&ceilings);
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
        assert_eq!(Room::new(&ceilings).jobs("x", 1.0), Some(0));
    }
}
