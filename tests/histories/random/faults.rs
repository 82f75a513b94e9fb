//! What stands between ehos and the world: answers that are wrong, late, half or missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use scaling::action::{CloudAction, Done, Failure, FailureKind, PoolAction, StartdIdentity};
use scaling::job_requirements::{JobGroupKey, MatchTarget, Matches};
use scaling::observation::{
    CloudView, Observed, OwnedServer, PoolView, ScheddView, ServerRecord, StartdView,
};
use simulation::{Seconds, World, locked};
use system::deadline::Deadline;
use tick::backends::Backends;
use tick::cloud::{Cloud, LeftoverQuery};
use tick::pool::{Pool, TrackedMachines};

use crate::attacker::{Attack, HostilePool};

/// How a cloud answers one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudAnswer {
    Well,
    /// Done, and no answer comes.
    DoneSilently,
    /// Not done, and no answer comes.
    NotDoneSilently,
    /// Refused with an error.
    Rejected,
    /// The connection is refused.
    NotReached,
    /// 403: a quota that `GET /limits` does not show.
    Quota,
    /// 429.
    Later(Option<u64>),
    /// A proxy sends a create twice: two servers of one name and one node.
    Twice,
}

impl CloudAnswer {
    pub fn any() -> impl Strategy<Value = CloudAnswer> {
        use CloudAnswer::*;
        prop_oneof![
            4 => Just(Well),
            2 => Just(DoneSilently),
            2 => Just(NotDoneSilently),
            1 => Just(Rejected),
            1 => Just(NotReached),
            1 => Just(Quota),
            1 => prop::option::of(1..7200u64).prop_map(Later),
            1 => Just(Twice),
        ]
    }
}

/// How a startd, or the collector, answers one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolAnswer {
    Well,
    /// The startd says that it is claimed.
    Refused,
    /// This ehos may not.
    NotAuthorized,
    DoneSilently,
    NotDoneSilently,
    NotReached,
}

impl PoolAnswer {
    pub fn any() -> impl Strategy<Value = PoolAnswer> {
        use PoolAnswer::*;
        prop_oneof![
            3 => Just(Well),
            1 => Just(Refused),
            1 => Just(NotAuthorized),
            1 => Just(DoneSilently),
            1 => Just(NotDoneSilently),
            1 => Just(NotReached),
        ]
    }
}

/// A cloud's list as it was at a time.
type Lists = VecDeque<(Seconds, Vec<OwnedServer>)>;

/// All faults that are on.
#[derive(Default)]
pub struct Faults {
    pub answers: Vec<CloudAnswer>,
    pub pool_answers: Vec<PoolAnswer>,
    pub half_queue: bool,
    /// How old each cloud's list is.
    pub lag: BTreeMap<String, Seconds>,
    /// Whether lists are kept, to be shown later.
    pub keeps_lists: bool,
    /// In this look alone: bits for collector, schedd, blue, green.
    pub blink: u8,
    /// In this look alone: a cloud, and which of its servers its list does not have.
    pub missing: Option<(String, usize)>,
    pub cluster: String,
    /// The attacker's startd has taken a drain.
    pub drained: Arc<AtomicBool>,
    /// What root on a node forges.
    pub attack: Option<Attack>,
    calls: AtomicUsize,
    pool_calls: AtomicUsize,
    lists: Mutex<BTreeMap<String, Lists>>,
}

impl Faults {
    /// What lasts for one look is over.
    pub fn next_look(&mut self) {
        self.blink = 0;
        self.missing = None;
        self.calls = AtomicUsize::new(0);
        self.pool_calls = AtomicUsize::new(0);
    }

    /// Puts the faults between a site and ehos.
    pub fn between<'a>(&'a self, mut site: Backends<'a>, world: &'a Mutex<World>) -> Backends<'a> {
        let faulty = |cloud| -> Box<dyn Cloud + 'a> {
            Box::new(FaultyCloud {
                cloud,
                faults: self,
                world,
            })
        };
        site.clouds = site.clouds.into_iter().map(faulty).collect();
        if let Some(attack) = self.attack {
            site.pool = Box::new(HostilePool::new(
                site.pool,
                attack,
                &self.cluster,
                &self.drained,
            ));
        }
        site.pool = Box::new(FaultyPool {
            pool: site.pool,
            faults: self,
        });
        site
    }

    /// What a list that lags shows now.
    fn old_list(&self, cloud: &str, now: Seconds, servers: Vec<OwnedServer>) -> Vec<OwnedServer> {
        let mut lists = self.lists.lock().unwrap();
        let lists = lists.entry(cloud.to_owned()).or_default();
        lists.push_back((now, servers.clone()));
        let lag = self.lag.get(cloud).copied().unwrap_or_default();
        while lists.front().is_some_and(|(at, _)| at + 720 < now) {
            lists.pop_front();
        }
        let shown = lists.iter().find(|(at, _)| at + lag >= now);
        shown.map_or(servers, |(_, servers)| servers.clone())
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        message: "fault".to_owned(),
    }
}

struct FaultyCloud<'a> {
    cloud: Box<dyn Cloud + 'a>,
    faults: &'a Faults,
    world: &'a Mutex<World>,
}

impl Cloud for FaultyCloud<'_> {
    fn name(&self) -> &str {
        self.cloud.name()
    }

    fn observe(&self, traces: &LeftoverQuery, deadline: Deadline) -> Result<CloudView, Failure> {
        let name = self.cloud.name();
        let bit = if name == "blue" { 4 } else { 8 };
        if self.faults.blink & bit != 0 {
            return Err(failure(FailureKind::NotDone));
        }
        let mut view = self.cloud.observe(traces, deadline)?;
        if self.faults.keeps_lists {
            let now = locked(self.world).now;
            view.servers = self.faults.old_list(name, now, view.servers);
        }
        if let Some((cloud, index)) = &self.faults.missing
            && cloud == name
            && !view.servers.is_empty()
        {
            view.servers.remove(index % view.servers.len());
        }
        Ok(view)
    }

    fn look(&self, server_id: &str, deadline: Deadline) -> Result<Option<ServerRecord>, Failure> {
        self.cloud.look(server_id, deadline)
    }

    fn perform(&self, action: &CloudAction, deadline: Deadline) -> Result<Done, Failure> {
        let call = self.faults.calls.fetch_add(1, Ordering::Relaxed);
        let answers = &self.faults.answers;
        let answer = answers.get(call % answers.len().max(1));
        let creates = matches!(action, CloudAction::Create(_));
        match answer.copied().unwrap_or(CloudAnswer::Well) {
            CloudAnswer::DoneSilently => {
                self.cloud.perform(action, deadline)?;
                Err(failure(FailureKind::Unknown))
            }
            CloudAnswer::NotDoneSilently => Err(failure(FailureKind::Unknown)),
            CloudAnswer::Rejected => Err(failure(FailureKind::Rejected)),
            CloudAnswer::NotReached => Err(failure(FailureKind::NotDone)),
            CloudAnswer::Quota if creates => Err(failure(FailureKind::Quota)),
            CloudAnswer::Later(wait) => {
                let wait = wait.map(Duration::from_secs);
                Err(failure(FailureKind::Later(wait)))
            }
            CloudAnswer::Twice if creates => {
                let first = self.cloud.perform(action, deadline);
                // The second may fail: nobody hears of it.
                drop(self.cloud.perform(action, deadline));
                first
            }
            CloudAnswer::Well | CloudAnswer::Quota | CloudAnswer::Twice => {
                self.cloud.perform(action, deadline)
            }
        }
    }
}

struct FaultyPool<'a> {
    pool: Box<dyn Pool + 'a>,
    faults: &'a Faults,
}

impl Pool for FaultyPool<'_> {
    fn observe(&self, watch: &TrackedMachines, deadline: Deadline) -> PoolView {
        let mut view = self.pool.observe(watch, deadline);
        if self.faults.blink & 1 != 0 {
            view.collector = Observed::Unknown("fault".to_owned());
        }
        if self.faults.blink & 2 != 0 || self.faults.half_queue {
            for schedd in view.schedds.values_mut() {
                *schedd = Observed::Unknown("fault".to_owned());
            }
        }
        if self.faults.half_queue {
            let empty = Observed::Known(ScheddView::default());
            view.schedds.insert("second".to_owned(), empty);
        }
        view
    }

    fn matches(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        nodes: &[MatchTarget],
        deadline: Deadline,
    ) -> Matches {
        self.pool.matches(jobs, nodes, deadline)
    }
    fn look(
        &self,
        identity: &StartdIdentity,
        deadline: Deadline,
    ) -> Result<Vec<StartdView>, Failure> {
        if self.faults.blink & 1 != 0 {
            return Err(failure(FailureKind::Unknown));
        }
        self.pool.look(identity, deadline)
    }

    fn has_job_on(&self, machine: &str, deadline: Deadline) -> Result<bool, Failure> {
        self.pool.has_job_on(machine, deadline)
    }

    fn ask(&self, address: &str, deadline: Deadline) -> Result<Vec<StartdView>, Failure> {
        self.pool.ask(address, deadline)
    }

    fn perform(&self, action: &PoolAction, deadline: Deadline) -> Result<Done, Failure> {
        let call = self.faults.pool_calls.fetch_add(1, Ordering::Relaxed);
        let answers = &self.faults.pool_answers;
        let answer = answers.get(call % answers.len().max(1));
        match answer.copied().unwrap_or(PoolAnswer::Well) {
            PoolAnswer::Well => self.pool.perform(action, deadline),
            PoolAnswer::Refused => Err(failure(FailureKind::NotIdle)),
            PoolAnswer::NotAuthorized => Err(failure(FailureKind::NotAuthorized)),
            PoolAnswer::DoneSilently => {
                self.pool.perform(action, deadline)?;
                Err(failure(FailureKind::Unknown))
            }
            PoolAnswer::NotDoneSilently => Err(failure(FailureKind::Unknown)),
            PoolAnswer::NotReached => Err(failure(FailureKind::NotDone)),
        }
    }
}
