//! What happened on a simulated site: the counts from which the figures of a run come.

#![warn(missing_docs)]

use std::collections::BTreeMap;

use crate::site::SiteCloud;
use crate::workload::{Seconds, Workload};

/// A job that has not started.
pub const NOT_STARTED: Seconds = Seconds::MAX;

/// About so many points of a time series are kept.
const POINTS: u32 = 720;

/// What there is at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Jobs that wait.
    pub idle: u64,
    /// Jobs that run.
    pub running: u64,
    /// Cores that they use.
    pub running_cores: u64,
    /// Servers.
    pub nodes: u64,
    /// Cores of servers.
    pub cores: u64,
}

/// Sums over one bucket of the time series, in units of the level times seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Seconds of the bucket that were simulated.
    pub seconds: u64,
    /// Idle jobs.
    pub idle: u64,
    /// Cores in use.
    pub running_cores: u64,
    /// Servers.
    pub nodes: u64,
    /// Cores of servers.
    pub cores: u64,
}

impl<'a> std::iter::Sum<&'a Sum> for Sum {
    fn sum<I: Iterator<Item = &'a Sum>>(sums: I) -> Sum {
        sums.fold(Sum::default(), |all, one| Sum {
            seconds: all.seconds + one.seconds,
            idle: all.idle + one.idle,
            running_cores: all.running_cores + one.running_cores,
            nodes: all.nodes + one.nodes,
            cores: all.cores + one.cores,
        })
    }
}

/// The waiting that one limit has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitTime {
    /// Seconds during which it kept nodes from being created.
    pub seconds: u64,
    /// Jobs that waited for these nodes, times seconds.
    pub job_seconds: u64,
}

/// The counts of a run.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The wait of each job until its first start; [`NOT_STARTED`] for the others.
    pub waits: Vec<Seconds>,
    /// Core-seconds of jobs that ended.
    pub used_core_seconds: u64,
    /// Core-seconds of jobs whose node was deleted under them.
    pub lost_core_seconds: u64,
    /// Times that a job was ended by the delete of its node.
    pub lost_jobs: u64,
    /// Jobs that ended.
    pub ended: u64,
    /// Jobs that their users removed while they were idle.
    pub removed: u64,
    /// Servers that were created.
    pub created: u64,
    /// Servers that were deleted.
    pub deleted: u64,
    /// Servers whose startds joined, and the sum of the times from the create.
    pub joined: (u64, u64),
    /// The most servers at one time.
    pub peak_nodes: u64,
    /// The most cores of servers at one time.
    pub peak_cores: u64,
    /// Core-seconds of servers, from the create until the server was gone.
    pub paid_core_seconds: u64,
    /// Node-seconds of the same.
    pub node_seconds: u64,
    /// Money, with started periods paid whole; `None` without any price.
    pub cost: Option<f64>,
    /// The end of the last job.
    pub last_end: Seconds,
    /// The end of the last server.
    pub last_server: Seconds,
    /// Passes of the rule.
    pub passes: u64,
    /// The most creates, drains and deletes of one pass.
    pub most_actions: u64,
    /// Creates, drains and deletes of all passes.
    pub actions: u64,
    /// Waiting by limit, by the name of the limit.
    pub limits: BTreeMap<String, LimitTime>,
    /// The time series, one sum a bucket.
    pub series: Vec<Sum>,
    /// Seconds of a bucket.
    pub bucket: Seconds,
    limited: BTreeMap<String, u64>,
    nodes: u64,
    cores: u64,
}

impl Record {
    /// An empty record for a workload.
    pub fn new(workload: &Workload) -> Record {
        let last = workload.jobs.last().map_or(0, |job| job.submitted);
        Record {
            waits: vec![NOT_STARTED; workload.jobs.len()],
            bucket: (last / POINTS).max(5),
            ..Record::default()
        }
    }

    /// A server was created.
    pub fn created(&mut self, vcpus: u64) {
        self.created += 1;
        self.nodes += 1;
        self.cores += vcpus;
        self.peak_nodes = self.peak_nodes.max(self.nodes);
        self.peak_cores = self.peak_cores.max(self.cores);
    }

    /// A startd joined.
    pub fn joined(&mut self, created: Seconds, now: Seconds) {
        self.joined.0 += 1;
        self.joined.1 += u64::from(now - created);
    }

    /// A server is gone, and is paid.
    pub fn deleted(
        &mut self,
        clouds: &[SiteCloud],
        cloud: usize,
        flavor: usize,
        created: Seconds,
        now: Seconds,
    ) {
        self.deleted += 1;
        self.last_server = self.last_server.max(now);
        let flavor = clouds
            .get(cloud)
            .and_then(|cloud| cloud.flavors.get(flavor));
        let Some(flavor) = flavor else { return };
        let seconds = u64::from(now - created);
        let vcpus = flavor.flavor.vcpus;
        self.nodes -= 1;
        self.cores -= vcpus;
        self.node_seconds += seconds;
        self.paid_core_seconds += seconds * vcpus;
        if let Some(price) = flavor.price {
            let billed = match flavor.billing_period {
                Some(period) if period > 0 => seconds.div_ceil(period.into()) * u64::from(period),
                _ => seconds,
            };
            *self.cost.get_or_insert(0.0) += price * billed as f64 / 3600.0;
        }
    }

    /// A job started.
    pub fn started(&mut self, workload: &Workload, job: u32, now: Seconds) {
        let submitted = workload.jobs.get(job as usize).map(|job| job.submitted);
        if let Some((wait, submitted)) = self.waits.get_mut(job as usize).zip(submitted) {
            // Only the first start counts: later ones are those of jobs that lost their nodes.
            if *wait == NOT_STARTED {
                *wait = now - submitted;
            }
        }
    }

    /// A job ended.
    pub fn ended(&mut self, started: Seconds, now: Seconds, cores: u64) {
        self.ended += 1;
        self.used_core_seconds += u64::from(now - started) * cores;
        self.last_end = self.last_end.max(now);
    }

    /// The node of a job was deleted under it.
    pub fn lost(&mut self, started: Seconds, now: Seconds, cores: u64) {
        self.lost_jobs += 1;
        self.lost_core_seconds += u64::from(now - started) * cores;
    }

    /// Users removed idle jobs.
    pub fn removed(&mut self, jobs: u64) {
        self.removed += jobs;
    }

    /// A pass of the rule took so many actions; `limited`: by the name of each limit the jobs that wait for it.
    pub fn pass(&mut self, actions: u64, limited: BTreeMap<String, u64>) {
        self.passes += 1;
        self.actions += actions;
        self.most_actions = self.most_actions.max(actions);
        self.limited = limited;
    }

    /// Joins buckets two by two until the series reaches `to` with a bounded number of them.
    fn widen(&mut self, to: Seconds) {
        while to / self.bucket >= 4 * POINTS {
            let pairs = self.series.chunks(2);
            self.series = pairs.map(|pair| pair.iter().sum()).collect();
            self.bucket = self.bucket.saturating_mul(2);
        }
    }

    /// Time passes at one level.
    pub fn pass_time(&mut self, from: Seconds, to: Seconds, level: &Level) {
        for (name, jobs) in &self.limited {
            let seconds = u64::from(to - from);
            let limit = match self.limits.get_mut(name) {
                Some(limit) => limit,
                None => self.limits.entry(name.clone()).or_default(),
            };
            limit.seconds += seconds;
            limit.job_seconds += seconds * jobs;
        }
        let mut at = from;
        self.widen(to);
        while at < to {
            let bucket = at / self.bucket;
            let end = (bucket + 1).saturating_mul(self.bucket).min(to);
            let seconds = u64::from(end - at);
            let place = bucket as usize;
            if self.series.len() <= place {
                self.series.resize(place + 1, Sum::default());
            }
            if let Some(sum) = self.series.get_mut(place) {
                sum.seconds += seconds;
                sum.idle += level.idle * seconds;
                sum.running_cores += level.running_cores * seconds;
                sum.nodes += level.nodes * seconds;
                sum.cores += level.cores * seconds;
            }
            at = end;
        }
    }
}
