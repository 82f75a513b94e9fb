//! A pool that refuses some actions, and is as it was for all else.

use std::collections::BTreeSet;

use scaling::action::{Done, Failure, PoolAction, StartdIdentity};
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches};
use scaling::observation::{PoolView, StartdView};
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

pub struct RefusingPool<'a> {
    pub pool: Box<dyn Pool + 'a>,
    pub refusal: fn(&PoolAction) -> Option<Failure>,
}

impl Pool for RefusingPool<'_> {
    fn observe(&self, watch: &TrackedMachines, deadline: Deadline) -> PoolView {
        self.pool.observe(watch, deadline)
    }
    fn look(
        &self,
        startd: &StartdIdentity,
        deadline: Deadline,
    ) -> Result<Vec<StartdView>, Failure> {
        self.pool.look(startd, deadline)
    }
    fn has_job_on(&self, machine: &str, deadline: Deadline) -> Result<bool, Failure> {
        self.pool.has_job_on(machine, deadline)
    }

    fn ask(&self, address: &str, deadline: Deadline) -> Result<Vec<StartdView>, Failure> {
        self.pool.ask(address, deadline)
    }
    fn matches(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        nodes: &[MatchTarget],
        deadline: Deadline,
    ) -> Matches {
        self.pool.matches(jobs, nodes, deadline)
    }
    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure> {
        match (self.refusal)(action) {
            Some(failure) => Err(failure),
            None => self.pool.perform(action, deadline),
        }
    }
}
